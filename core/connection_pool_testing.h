// What the tests of ConnectionPool share: a server whose connections the test commands, a user of
// the pool, and the sums that its statistics must have.
#ifndef SLUICE_CORE_CONNECTION_POOL_TESTING_H_
#define SLUICE_CORE_CONNECTION_POOL_TESTING_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "sluice/core/connection_pool.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/pool_statistics.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"

namespace sluice::test {

// Which of the sums of pool_statistics.h does not hold; empty when all do.
inline std::string Mistake(const PoolStatistics& s) {
  const PoolCounts& now = s.now;
  const uint64_t lent = s.reused + s.fresh;
  if (s.borrows != lent + s.failed + s.refused + s.timed_out + s.given_up + s.cancelled +
                       now.waiting + now.ready)
    return absl::StrCat("borrows: ", s.borrows);
  if (lent != s.returned + s.closed.dropped + s.closed.taken + now.lent)
    return absl::StrCat("lent: ", lent);
  if (s.dials != s.opened + s.dial_failures + s.dials_given_up + now.dialing)
    return absl::StrCat("dials: ", s.dials);
  if (s.opened != s.closed.total() + now.idle + now.checking + now.ready + now.lent)
    return absl::StrCat("opened: ", s.opened);
  return "";
}

// Answers what it receives with the same, unless it is told to be silent.
class PoolBackend {
 public:
  class Peer final : public StreamHandler {
   public:
    Peer(PoolBackend& backend, std::unique_ptr<Stream> stream)
        : stream_(std::move(stream)), backend_(backend) {
      stream_->SetHandler(*this);
    }
    Stream& stream() { return *stream_; }
    bool closed() const { return closed_; }
    bool clean() const { return clean_; }  // it was closed, and without a reset

   private:
    void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override {
      backend_.received_ += bytes.size();
      if (!backend_.silent) stream.Send(bytes);
    }
    void OnClose(Stream& /*stream*/, const absl::Status& status) override {
      closed_ = true;
      clean_ = status.ok();
    }

    std::unique_ptr<Stream> stream_;
    PoolBackend& backend_;
    bool closed_ = false;
    bool clean_ = false;
  };

  PoolBackend(EventLoop& loop, const SocketAddress& address) : address_(address) {
    Listen(loop);
    address_ = listener_->address();
  }

  const SocketAddress& address() const { return address_; }
  size_t received() const { return received_; }
  size_t open() const {
    size_t count = 0;
    for (const auto& peer : peers) count += peer->closed() ? 0 : 1;
    return count;
  }
  void StopListening() { listener_.reset(); }
  void Listen(EventLoop& loop) {
    listener_ = *Listener::Listen(loop, address_, {}, [this](std::unique_ptr<Stream> stream) {
      if (closes_at_once) return stream.reset();
      peers.push_back(std::make_unique<Peer>(*this, std::move(stream)));
      if (greets) peers.back()->stream().Send("welcome");
    });
  }

  bool silent = false;
  bool greets = false;
  bool closes_at_once = false;
  std::vector<std::unique_ptr<Peer>> peers;  // in the order of their coming

 private:
  size_t received_ = 0;
  std::unique_ptr<Listener> listener_;
  SocketAddress address_;
};

// Borrows, and notes what becomes of it.
class PoolUser final : public StreamHandler {
 public:
  void Borrow(ConnectionPool& pool, const ConnectionPool::Target& target,
              const ConnectionPool::BorrowOptions& options = {}) {
    status.reset();
    request = pool.Borrow(target, options, [this](absl::StatusOr<ConnectionPool::Lease> result) {
      status = result.status();
      if (result.ok()) Take(*std::move(result));
      if (on_done) on_done();
    });
  }
  // False when there was none.
  bool TryBorrow(ConnectionPool& pool, const ConnectionPool::Target& target) {
    ConnectionPool::Lease got = pool.TryBorrow(target);
    if (!got) return false;
    status = absl::OkStatus();
    Take(std::move(got));
    return true;
  }
  void Take(ConnectionPool::Lease got) {
    received.clear();
    closed.reset();
    lease = std::move(got);
    lease.stream().SetHandler(*this);
  }
  bool has() const { return static_cast<bool>(lease); }
  absl::StatusCode code() const { return status.has_value() ? status->code() : kNone; }
  static constexpr absl::StatusCode kNone = static_cast<absl::StatusCode>(99);

  ConnectionPool::Request request;
  ConnectionPool::Lease lease;
  std::optional<absl::Status> status;  // of the last borrow
  std::optional<absl::Status> closed;  // of the stream
  std::string received;
  absl::AnyInvocable<void()> on_done;

 private:
  void OnReceive(Stream& /*stream*/, absl::Span<uint8_t> bytes) override {
    received.append(bytes.begin(), bytes.end());
  }
  void OnClose(Stream& /*stream*/, const absl::Status& why) override { closed = why; }
};

// A check that asks a backend, which answers with the same.
class Ping : public StreamHandler {
 public:
  Ping(Stream& stream, ConnectionPool::CheckDone done) : done_(std::move(done)) {
    stream.Send("ping");
  }

 private:
  void OnReceive(Stream& /*stream*/, absl::Span<uint8_t> bytes) override {
    answer_.append(bytes.begin(), bytes.end());
    if (answer_.size() == 4) done_(answer_ == "ping");
  }
  void OnClose(Stream& /*stream*/, const absl::Status& /*status*/) override { done_(false); }

  ConnectionPool::CheckDone done_;
  std::string answer_;
};

}  // namespace sluice::test

#endif  // SLUICE_CORE_CONNECTION_POOL_TESTING_H_
