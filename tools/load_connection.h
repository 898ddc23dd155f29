// LoadConnection is one connection of a load: it opens, sends its messages when they may go,
// compares the answers with them, and closes. When messages may go is one of
//   closed loop     up to `pipeline` are in flight, always
//   open loop       as they are due by a MessageSchedule; what is due while `pipeline` are in
//                   flight waits as a count, and is measured from the time at which it was due
//
// Loop-bound.
#ifndef SLUICE_TOOLS_LOAD_CONNECTION_H_
#define SLUICE_TOOLS_LOAD_CONNECTION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/stream.h"
#include "sluice/core/timer.h"
#include "sluice/tools/load_options.h"
#include "sluice/tools/message_pattern.h"
#include "sluice/tools/message_schedule.h"
#include "sluice/tools/protocol.h"

namespace sluice::tools {

class LoadConnection final : private Client::Handler, private TimerNode {
 public:
  enum class State : uint8_t {
    kNew,
    kConnecting,
    kHandshaking,
    kOpen,
    kEnding,  // by us, or by an error that was counted; its OnClose follows
    kGone,
  };

  // Is told of what does not happen with each message.
  class Owner {
   public:
    // Not the place to destroy a connection.
    virtual void OnChange(State before, State after) = 0;
    virtual void OnError(LoadErrors::Kind kind, absl::string_view what) = 0;
    // It was closed to be opened again: is to call Connect, here or when there is time for it.
    virtual void OnRenewal(LoadConnection& connection) = 0;

   protected:
    ~Owner() = default;
  };

  // What the connections of a loop share; it must outlive them.
  struct Shared {
    EventLoop& loop;
    const LoadOptions& options;
    const MessagePattern& pattern;
    ClientFactory& clients;
    Owner& owner;
    const uint64_t first;  // of their numbers
    const uint64_t count;  // of them
    // What each message asks.
    const uint64_t pipeline = static_cast<uint64_t>(options.pipeline);
    const Client::Kind kind = options.text ? Client::Kind::kText : Client::Kind::kBinary;
    const bool has_messages = options.protocol->has_messages();
    const bool verify = options.verify;
    const bool thinks = options.think_time > absl::ZeroDuration();
    // Open loop; message m of number n is message m * count + n - first of it.
    std::optional<MessageSchedule> schedule = {};
    bool sending = false;
    MonotonicTime counted_from = {};  // what was sent, or begun, earlier is not counted
    MonotonicTime last_answer = {};
    LoadResult result = {};

    // `from` is where its latency begins: that may be in the warm-up, which leaves a backlog where
    // the server does not keep up.
    void OnAnswer(MonotonicTime sent, MonotonicTime from, MonotonicTime now, size_t size) {
      if (sent < counted_from) return;
      result.latency.RecordNanoseconds(now.nanoseconds() - from.nanoseconds());
      last_answer = now;
      ++result.messages;
      result.bytes += size;
    }
    void OnReconnect(MonotonicTime from, MonotonicTime now) {
      if (from >= counted_from) result.time_to_connect.Record(now - from);
    }
  };

  LoadConnection(Shared& shared, uint64_t number);
  ~LoadConnection();
  LoadConnection(const LoadConnection&) = delete;
  LoadConnection& operator=(const LoadConnection&) = delete;

  void Connect();

  // Sends what may go, from now on.
  void Begin(MonotonicTime now);
  // Open loop: one message more is due.
  void OnDue(MonotonicTime now);
  // Sends no more: ends gracefully, unless answers are missing, or once it is open.
  void EndIfIdle();
  // Ends at once, whatever is missing, without counting an error.
  void GiveUp();
  // Fails when what it waits for was due.
  void CheckDeadline(MonotonicTime sent_before);

  // Open loop: how many messages were due and not sent.
  uint64_t unsent() const { return shared_.schedule.has_value() ? allowed_ - sent_ : 0; }

 private:
  void Allow(uint64_t allowed);
  void Fill(MonotonicTime now);
  void ArmThinking();
  void OnThought();
  void OnOpened();
  void Renew();
  void OnConnect(absl::StatusOr<std::unique_ptr<Stream>> stream);
  inline bool Take(absl::Span<const uint8_t> bytes, MonotonicTime now);
  void Fail(LoadErrors::Kind kind, absl::string_view what);
  void Become(State state);

  // Client::Handler:
  void OnOpen(Client& client) override;
  void OnMessage(Client& client, absl::Span<const uint8_t> bytes) override;
  void OnSendReady(Client& client) override;
  void OnReceiveEnd(Client& client) override;
  void OnClose(Client& client, const absl::Status& status) override;

  // Before it is open, all that goes wrong is that it does not open.
  LoadErrors::Kind EarlyOr(LoadErrors::Kind kind) const {
    return state_ == State::kHandshaking && kind != LoadErrors::kTls ? LoadErrors::kConnect : kind;
  }
  MonotonicTime oldest_in_flight() const { return sent_at_[received_ % shared_.pipeline]; }
  // Where the latency of the next answer begins.
  MonotonicTime measured_from() const {
    if (!shared_.schedule.has_value()) return oldest_in_flight();
    return shared_.schedule->DueAt(received_ * shared_.count + number_ - shared_.first);
  }

  Shared& shared_;
  const uint64_t number_;
  State state_ = State::kNew;
  bool blocked_ = false;
  bool renewing_ = false;  // is ending, and opens again
  std::unique_ptr<Dialer::Attempt> attempt_;
  std::unique_ptr<Client> client_;
  uint64_t sent_ = 0;
  uint64_t received_ = 0;
  // Up to so many in all: by rate or think time, and before the connection is renewed.
  uint64_t allowed_;
  uint64_t renewed_at_;
  uint64_t may_send_ = 0;  // the lesser of both
  size_t position_ = 0;    // in the answer that is due
  MonotonicTime connecting_since_;
  // By sequence number modulo the pipeline: when those in flight were sent, and, with a think time,
  // when those that are not may be.
  std::vector<MonotonicTime> sent_at_;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_LOAD_CONNECTION_H_
