// Many connections on one loop, whose both ends do what a random number says, in and out of
// callbacks, to themselves and to each other. Whatever they do: each byte arrives in its place, an
// end comes after all bytes, OnClose comes once and nothing after it.
//
// The seed is in every failure's trace. The same seed gives the same actions, but not the same
// timing of the system's: bazel test --runs_per_test=N gives N different seeds.
#include <stdlib.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/buffer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/manual_clock_poller.h"
#include "sluice/core/poller_factory.h"
#include "sluice/core/slice.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/core/tcp_testing.h"

namespace sluice {
namespace {

using test::Pattern;

// What one end may send in its life, so that a run is short.
constexpr size_t kMostBytes = 1'000'000;
constexpr absl::Span<uint8_t> kNothingLent;

class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}
  size_t Below(size_t bound) {
    return std::uniform_int_distribution<size_t>(0, bound - 1)(engine_);
  }
  bool OneIn(size_t n) { return Below(n) == 0; }
  // Mostly small, now and then large.
  size_t Size() {
    constexpr size_t kBounds[] = {2, 100, 100, 1'000, 10'000, 10'000, 300'000};
    return Below(kBounds[Below(std::size(kBounds))]);
  }

 private:
  std::mt19937 engine_;
};

// One end of a connection, which outlives its stream and its loop.
class Side final : public StreamHandler {
 public:
  // A reset shows only over TCP: the end of an aborted Unix stream looks like any other.
  Side(Random& random, std::vector<std::unique_ptr<Side>>& all, bool knows_resets)
      : random_(random), all_(all), knows_resets_(knows_resets) {}

  void Begin(std::unique_ptr<Stream> stream, Side& peer) {
    peer_ = &peer;
    owned_ = std::move(stream);
    stream_ = owned_.get();
    stream_->SetHandler(*this);
  }

  bool over() const { return stream_ == nullptr; }

  // Does something to its stream. `lent` is what the stream is lending, if this is in OnReceive.
  void Act(absl::Span<uint8_t> lent) {
    if (over()) return;
    switch (random_.Below(24)) {
      case 0:
        return stream_->ShutdownSend();
      case 1:
        if (random_.OneIn(4)) stream_->Close();
        return;
      case 2:
        if (random_.OneIn(4)) stream_->Abort(absl::AbortedError("at random"));
        return;
      case 3:
        if (random_.OneIn(3)) Destroy();
        return;
      case 4:
      case 5:
        return stream_->PauseReceiving();
      case 6:
      case 7:
      case 8:
      case 9:
        return stream_->ResumeReceiving();
      case 10:
        if (!lent.empty()) return;  // it may lie in the storage
        storage_.resize(random_.Size());
        return stream_->ReceiveInto(absl::MakeSpan(storage_));
      case 11:
        return stream_->ReceiveInto({});
      case 12:
        return SetLimits();
      case 13:
        if (owned_ != nullptr && random_.OneIn(4)) Stream::Run(std::move(owned_), *this);
        return;
      case 14:
        return stream_->SetIdleTimeout(absl::Hours(1 + random_.Below(100)));
      default:
        return Send(lent);
    }
  }

  // Ends in good order, if nothing is in the way.
  void Finish() {
    if (over()) return;
    stream_->ResumeReceiving();
    stream_->Close();
  }

 private:
  void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override {
    Check(stream);
    EXPECT_FALSE(stream.closing());
    EXPECT_FALSE(stream.receiving_paused());
    EXPECT_FALSE(ended_);
    const absl::string_view got(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    EXPECT_TRUE(got == absl::string_view(peer_->accepted_).substr(received_, got.size()))
        << "at " << received_;
    received_ += got.size();
    ActALittle(bytes);
  }

  void OnReceiveEnd(Stream& stream) override {
    Check(stream);
    EXPECT_FALSE(std::exchange(ended_, true));
    if (knows_resets_) {
      EXPECT_EQ(received_, peer_->accepted_.size());
    }
    ActALittle(kNothingLent);
    if (!over() && random_.OneIn(2)) stream_->Close();
  }

  void OnSendReady(Stream& stream) override {
    Check(stream);
    EXPECT_TRUE(std::exchange(told_blocked_, false));
    EXPECT_FALSE(stream.closing());
    ActALittle(kNothingLent);
  }

  void OnClose(Stream& stream, const absl::Status&) override {
    Check(stream);
    EXPECT_TRUE(stream.closing());
    EXPECT_EQ(stream.Send("x"), SendResult::kRefused);
    stream_ = nullptr;
    if (random_.OneIn(2)) owned_ = nullptr;
    ActALittle(kNothingLent);  // on others
  }

  void Check(Stream& stream) {
    EXPECT_EQ(&stream, stream_) << "after OnClose, or after it was destroyed";
  }

  void ActALittle(absl::Span<uint8_t> lent) {
    for (size_t i = random_.Below(3); i > 0; --i) Act(lent);
    if (random_.OneIn(4)) all_[random_.Below(all_.size())]->Act(kNothingLent);
  }

  void Destroy() {
    if (owned_ == nullptr) return;  // it is its loop's
    stream_ = nullptr;
    owned_ = nullptr;
  }

  void SetLimits() {
    const auto hard = static_cast<uint32_t>(1 + random_.Below(2'000'000));
    const auto high = static_cast<uint32_t>(random_.Below(hard));
    stream_->SetLimits(
        {.high = high, .low = static_cast<uint32_t>(random_.Below(high + 1)), .hard = hard});
  }

  void Send(absl::Span<uint8_t> lent) {
    const std::string bytes = Pattern(accepted_.size(), random_.Size());
    if (accepted_.size() + bytes.size() > kMostBytes) return;
    const auto span =
        absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    switch (random_.Below(5)) {
      case 0:
        return Sent(bytes, stream_->Send(span));
      case 1:
        return Sent(bytes, stream_->Send(Slice::Copy(span)));
      case 2: {
        Buffer chain;
        for (size_t at = 0, piece = 1; at < bytes.size(); at += piece, piece = piece * 5 + 1) {
          const absl::string_view part = absl::string_view(bytes).substr(at, piece);
          piece % 2 == 0 ? chain.Append(part) : chain.Append(Slice::Copy(part));
        }
        return Sent(bytes, stream_->Send(std::move(chain)));
      }
      case 3: {
        const auto few = span.first(std::min<size_t>(span.size(), 256));
        return Sent(bytes.substr(0, few.size()), stream_->SendControl(few));
      }
      case 4: {
        if (lent.empty()) return Sent(bytes, stream_->SendLent(span));
        const size_t from = random_.Below(lent.size());
        const auto part = lent.subspan(from, 1 + random_.Below(lent.size() - from));
        const std::string copy(part.begin(), part.end());
        return Sent(copy, stream_->SendLent(part));
      }
    }
  }

  void Sent(absl::string_view bytes, SendResult result) {
    if (result == SendResult::kRefused) return;
    absl::StrAppend(&accepted_, bytes);
    if (result == SendResult::kBlocked) told_blocked_ = true;
  }

  Random& random_;
  std::vector<std::unique_ptr<Side>>& all_;
  const bool knows_resets_;
  Side* peer_ = nullptr;
  Stream* stream_ = nullptr;       // until it is over
  std::unique_ptr<Stream> owned_;  // unless it was given to the loop
  std::vector<uint8_t> storage_;   // for ReceiveInto
  std::string accepted_;           // what the stream has taken, in all
  size_t received_ = 0;
  bool ended_ = false;
  bool told_blocked_ = false;
};

class StreamStressTest : public testing::TestWithParam<uint32_t> {
 protected:
  void Connect(bool unix_socket) {
    const SocketOptions sockets =
        random_.OneIn(2) ? SocketOptions{}
                         : SocketOptions{.send_buffer_bytes = 1, .receive_buffer_bytes = 1};
    Listener::Options listen;
    listen.listen.socket = sockets;
    Connector::Options connect;
    connect.socket = sockets;
    test::Pair pair(loop_, listen, connect,
                    unix_socket ? directory_.Socket("s") : SocketAddress::Ipv4Loopback(0));
    auto client = std::make_unique<Side>(random_, sides_, !unix_socket);
    auto server = std::make_unique<Side>(random_, sides_, !unix_socket);
    // Both before anything happens: an action may be on any of them.
    client->Begin(std::move(pair.client.stream), *server);
    server->Begin(std::move(pair.server.stream), *client);
    sides_.push_back(std::move(client));
    sides_.push_back(std::move(server));
  }

  test::ShortTempDir directory_;
  Random random_{GetParam()};
  std::vector<std::unique_ptr<Side>> sides_;
  ManualClockPoller& clock_ = *new ManualClockPoller(*CreatePoller(test::EngineUnderTest()));
  EventLoop loop_{std::unique_ptr<Poller>(&clock_)};
};

// A different one for each of Bazel's runs: "Test encyclopedia", TEST_RANDOM_SEED.
uint32_t FirstSeed() {
  const char* run = getenv("TEST_RANDOM_SEED");
  return run == nullptr ? 0 : static_cast<uint32_t>(atoi(run)) * 1'000;
}

INSTANTIATE_TEST_SUITE_P(Seeds, StreamStressTest, testing::Range(FirstSeed(), FirstSeed() + 20));

TEST_P(StreamStressTest, EveryByteInItsPlaceAndOneEndEach) {
  SCOPED_TRACE(absl::StrCat("seed ", GetParam()));
  for (int round = 0; round < 8; ++round) {
    for (int i = 0; i < 8; ++i) Connect(/*unix_socket=*/i % 4 == 0);
    for (int turn = 0; turn < 30 && !HasFailure(); ++turn) {
      for (int i = 0; i < 16; ++i) sides_[random_.Below(sides_.size())]->Act(kNothingLent);
      loop_.RunOnce(absl::ZeroDuration());
    }
  }
  for (const std::unique_ptr<Side>& side : sides_) side->Finish();
  for (int turn = 0; turn < 10'000 && loop_.counters().streams > 0 && !HasFailure(); ++turn) {
    // Some wait for peers that have stopped reading: until their linger deadline.
    clock_.now += absl::Milliseconds(10);
    loop_.RunOnce(absl::ZeroDuration());
  }
  loop_.RunOnce(absl::ZeroDuration());
  for (const std::unique_ptr<Side>& side : sides_) EXPECT_TRUE(side->over());
  EXPECT_EQ(loop_.counters().streams, 0u);
  const uint64_t events = loop_.counters().io_events;
  for (int turn = 0; turn < 10; ++turn) loop_.RunOnce(absl::ZeroDuration());
  EXPECT_EQ(loop_.counters().io_events, events) << "nothing goes on";
}

// The same, cut short by the loop's own end.
TEST_P(StreamStressTest, TheEndOfTheLoopIsTheEndOfAll) {
  SCOPED_TRACE(absl::StrCat("seed ", GetParam()));
  for (int i = 0; i < 12; ++i) Connect(/*unix_socket=*/i % 3 == 0);
  for (int turn = 0; turn < 30 && !HasFailure(); ++turn) {
    for (int i = 0; i < 16; ++i) sides_[random_.Below(sides_.size())]->Act(kNothingLent);
    loop_.RunOnce(absl::ZeroDuration());
  }
  if (random_.OneIn(2)) {
    bool drained = false;
    loop_.Drain(absl::Seconds(1), [&] { drained = true; });
    for (int turn = 0; turn < 1'000 && !drained; ++turn) {
      clock_.now += absl::Milliseconds(10);
      loop_.RunOnce(absl::ZeroDuration());
    }
    EXPECT_TRUE(drained);
    for (const std::unique_ptr<Side>& side : sides_) EXPECT_TRUE(side->over());
  }
}

}  // namespace
}  // namespace sluice
