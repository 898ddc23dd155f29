// The pool over real sockets, on each engine.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/connection_pool.h"
#include "sluice/core/connection_pool_testing.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/pooled_dialer.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp_testing.h"

namespace sluice {
namespace {

using test::PoolBackend;
using test::PoolUser;

class ConnectionPoolEngineTest : public testing::Test {
 protected:
  void Create(ConnectionPool::Options options = {}) {
    pool_ = *ConnectionPool::Create(*loop_, std::move(options));
    target_ = *pool_->GetTarget({"backend", 1}, dialer_);
  }
  bool Until(absl::FunctionRef<bool()> done) {
    return test::Until(*loop_, [&] {
      EXPECT_EQ(test::Mistake(pool_->statistics()), "");
      return done();
    });
  }
  void Get(PoolUser& user, const ConnectionPool::BorrowOptions& options = {}) {
    user.Borrow(*pool_, target_, options);
    ASSERT_TRUE(Until([&] { return user.status.has_value(); }));
    ASSERT_EQ(*user.status, absl::OkStatus());
  }
  const PoolStatistics& stats() const { return pool_->statistics(); }

  PoolUser a_, b_;
  std::unique_ptr<EventLoop> loop_ = test::NewLoop();
  PoolBackend backend_{*loop_, SocketAddress::Ipv4Loopback(0)};
  std::shared_ptr<const Dialer> dialer_ = std::make_shared<FixedDialer>(backend_.address());
  std::unique_ptr<ConnectionPool> pool_;
  ConnectionPool::Target target_;
};

TEST_F(ConnectionPoolEngineTest, AReturnedConnectionIsLentAgain) {
  Create();
  Get(a_);
  a_.lease.stream().Send("one");
  ASSERT_TRUE(Until([&] { return a_.received == "one"; }));
  a_.lease.Return();
  ASSERT_TRUE(b_.TryBorrow(*pool_, target_));
  EXPECT_TRUE(b_.lease.reused());
  b_.lease.stream().Send("two");
  ASSERT_TRUE(Until([&] { return b_.received == "two"; }));
  EXPECT_EQ(a_.received, "one");
  EXPECT_EQ(stats().dials, 1u);
}

TEST_F(ConnectionPoolEngineTest, WhatEndsOrSpeaksWhileIdleIsTakenOut) {
  Create();
  for (int how = 0; how < 3; ++how) {
    Get(a_, {.fresh_only = true});
    ASSERT_TRUE(Until([&] { return backend_.open() == 1; }));
    a_.lease.Return();
    Stream& peer = backend_.peers.back()->stream();
    if (how == 0) peer.Close();
    if (how == 1) peer.Abort(absl::InternalError("reset"));
    if (how == 2) peer.Send("nobody asked");
    ASSERT_TRUE(Until([&] { return stats().now.open() == 0 && backend_.open() == 0; })) << how;
  }
  EXPECT_EQ(stats().closed.ended, 2u);
  EXPECT_EQ(stats().closed.unexpected_bytes, 1u);
}

TEST_F(ConnectionPoolEngineTest, ATakenStreamReceivesWhatCameBeforeItHadAHandler) {
  Create();
  Get(a_);
  ASSERT_TRUE(Until([&] { return backend_.open() == 1; }));
  a_.lease.Return();
  PooledDialer dialer(*pool_, dialer_);
  std::unique_ptr<Stream> stream;
  const auto attempt =
      dialer.Dial(*loop_, {"backend", 1}, {}, [&](absl::StatusOr<std::unique_ptr<Stream>> result) {
        stream = *std::move(result);
        backend_.peers[0]->stream().Send("early");
      });
  ASSERT_TRUE(Until([&] { return stream != nullptr; }));
  ASSERT_TRUE(Until([&] { return backend_.peers[0]->stream().queued_bytes() == 0; }));
  stream->SetHandler(b_);
  EXPECT_TRUE(Until([&] { return b_.received == "early"; }));
  EXPECT_EQ(stats().dials, 1u);
}

TEST_F(ConnectionPoolEngineTest, ADrainEndsWithWhatIsLent) {
  Create({.target = {.max_open = 1, .max_idle = 1}});
  Get(a_);
  b_.Borrow(*pool_, target_);
  bool drained = false;
  pool_->Drain(test::kBound, [&] { drained = true; });
  ASSERT_TRUE(Until([&] { return b_.status.has_value(); }));
  EXPECT_EQ(b_.code(), absl::StatusCode::kCancelled);
  a_.lease.Return();
  EXPECT_TRUE(Until([&] { return drained && backend_.open() == 0; }));
}

TEST_F(ConnectionPoolEngineTest, TheLoopMayEndFirstForLeases) {
  Create();
  Get(a_);
  pool_.reset();
  backend_.StopListening();
  loop_.reset();
  EXPECT_TRUE(a_.closed.has_value());
  a_.lease = {};
}

// Asks and asks.
class Asker final : public StreamHandler {
 public:
  Asker(ConnectionPool& pool, const ConnectionPool::Target& target, int times)
      : pool_(pool), target_(target), left_(times) {}
  void Ask() {
    if (left_ == 0) return;
    if ((lease_ = pool_.TryBorrow(target_))) return Send();
    request_ = pool_.Borrow(target_, {.timeout = test::kBound},
                            [this](absl::StatusOr<ConnectionPool::Lease> lease) {
                              ASSERT_EQ(lease.status(), absl::OkStatus());
                              lease_ = *std::move(lease);
                              Send();
                            });
  }
  int left() const { return left_; }

 private:
  void Send() {
    lease_.stream().SetHandler(*this);
    lease_.stream().Send("?");
  }
  void OnReceive(Stream& /*stream*/, absl::Span<uint8_t> bytes) override {
    EXPECT_EQ(bytes.size(), 1u);
    --left_;
    lease_.Return();
    Ask();
  }

  ConnectionPool& pool_;
  const ConnectionPool::Target& target_;
  int left_;
  ConnectionPool::Lease lease_;
  ConnectionPool::Request request_;
};

TEST_F(ConnectionPoolEngineTest, AHundredThousandRequestsNeedSixtyFourConnections) {
  Create({.target = {.max_open = 64}});
  constexpr int kAskers = 100;
  constexpr int kTimes = 1000;
  std::vector<std::unique_ptr<Asker>> askers;
  for (int i = 0; i < kAskers; ++i) {
    askers.push_back(std::make_unique<Asker>(*pool_, target_, kTimes));
    askers.back()->Ask();
  }
  size_t first = 0;
  ASSERT_TRUE(test::Until(*loop_, [&] {
    while (first < askers.size() && askers[first]->left() == 0) ++first;
    return first == askers.size();
  }));
  EXPECT_EQ(stats().borrows, uint64_t{kAskers} * kTimes);
  EXPECT_EQ(stats().reused + stats().fresh, stats().borrows);
  EXPECT_GT(static_cast<double>(stats().reused) / static_cast<double>(stats().borrows), 0.999);
  EXPECT_LE(stats().dials, 64u);
  EXPECT_EQ(stats().closed.total(), 0u);
  EXPECT_EQ(test::Mistake(stats()), "");
}

}  // namespace
}  // namespace sluice
