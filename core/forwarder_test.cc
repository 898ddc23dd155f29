#include "sluice/core/forwarder.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/internal/counting_new.h"
#include "sluice/core/internal/pool.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/core/tcp.h"
#include "sluice/core/tcp_testing.h"

namespace sluice {
namespace {

using test::Pair;
using test::Pattern;
using test::Recorder;

constexpr size_t kMiB = 1024 * 1024;

// Without what the pool keeps for later.
int64_t BytesInUse() {
  return internal::CountAllocations().live_bytes - static_cast<int64_t>(internal::PooledBytes());
}

// An endless sequence of bytes that costs nothing to make, a lot of it: Pattern, again and again
// after a number of bytes that no buffer has. What there is of it in one piece from `offset` on.
absl::Span<const uint8_t> Tape(size_t offset) {
  static const std::string* const round = new std::string(Pattern(0, 1'000'003));
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(round->data()), round->size())
      .subspan(offset % round->size());
}

// Sends `size` bytes of the Tape, as fast as they are taken, and then ends its half.
class Source {
 public:
  Source(Stream& stream, Recorder& recorder, size_t size) : stream_(stream), size_(size) {
    recorder.on_send_ready = [this](Stream&) { SendMore(); };
    SendMore();
  }
  size_t sent() const { return sent_; }

 private:
  void SendMore() {
    while (sent_ < size_) {
      absl::Span<const uint8_t> piece = Tape(sent_);
      piece = piece.first(std::min<size_t>({size_ - sent_, 64 * 1024, piece.size()}));
      const SendResult result = stream_.Send(piece);
      if (result == SendResult::kRefused) return;
      sent_ += piece.size();
      if (result == SendResult::kBlocked) return;
    }
    stream_.ShutdownSend();
  }

  Stream& stream_;
  const size_t size_;
  size_t sent_ = 0;
};

// Checks the Tape as it comes, and keeps none of it.
class Sink {
 public:
  explicit Sink(Recorder& recorder) {
    recorder.on_receive = [this, &recorder](Stream&, absl::Span<uint8_t> bytes) {
      Check(bytes);
      recorder.received.clear();
    };
  }
  size_t received() const { return received_; }
  bool right() const { return right_; }

 private:
  void Check(absl::Span<const uint8_t> bytes) {
    while (!bytes.empty()) {
      absl::Span<const uint8_t> piece = Tape(received_);
      piece = piece.first(std::min(piece.size(), bytes.size()));
      right_ = right_ && std::equal(piece.begin(), piece.end(), bytes.begin());
      received_ += piece.size();
      bytes.remove_prefix(piece.size());
    }
  }

  size_t received_ = 0;
  bool right_ = true;
};

// client <-> first (forwarder) second <-> backend, all on one loop. Neither end of it closes when
// the other one ends its half.
class ForwarderTest : public testing::Test {
 protected:
  void Join(const Listener::Options& listen = {}, const Connector::Options& connect = {},
            const SocketAddress& first = SocketAddress::Ipv4Loopback(0),
            const SocketAddress& second = SocketAddress::Ipv4Loopback(0)) {
    Connect(listen, connect, first, second);
    Forward();
  }
  void Connect(const Listener::Options& listen = {}, const Connector::Options& connect = {},
               const SocketAddress& first = SocketAddress::Ipv4Loopback(0),
               const SocketAddress& second = SocketAddress::Ipv4Loopback(0)) {
    left_ = std::make_unique<Pair>(*loop_, listen, connect, first);
    right_ = std::make_unique<Pair>(*loop_, listen, connect, second);
    for (Recorder* recorder : {&client(), &backend()}) recorder->on_receive_end = [](Stream&) {};
  }
  void Forward() {
    forwarder_ = std::make_unique<Forwarder>(std::move(left_->server.stream),
                                             std::move(right_->client.stream));
    forwarder_->Start([this](const Forwarder::Outcome& outcome) {
      EXPECT_FALSE(outcome_.has_value()) << "done twice";
      outcome_ = outcome;
    });
  }
  // With little room in the system.
  void JoinNarrow() {
    const SocketOptions narrow = {.send_buffer_bytes = 1, .receive_buffer_bytes = 1};
    Listener::Options listen;
    listen.listen.socket = narrow;
    Connector::Options connect;
    connect.socket = narrow;
    Join(listen, connect);
  }

  Recorder& client() { return left_->client.recorder; }
  Recorder& backend() { return right_->server.recorder; }
  Stream& client_stream() { return *left_->client.stream; }
  Stream& backend_stream() { return *right_->server.stream; }

  bool Until(absl::FunctionRef<bool()> condition) { return test::Until(*loop_, condition); }
  bool UntilDone() {
    return Until([&] { return outcome_.has_value() && client().closed && backend().closed; });
  }
  void Turns(int turns) {
    for (int i = 0; i < turns; ++i) loop_->RunOnce(absl::ZeroDuration());
  }
  bool ClientEnded() const { return left_->client.recorder.Events().ends_with("end"); }
  bool BackendEnded() const { return right_->server.recorder.Events().ends_with("end"); }

  void ExpectCounts(uint64_t to_backend, uint64_t to_client) {
    EXPECT_EQ(outcome_->first.received, to_backend);
    EXPECT_EQ(outcome_->second.sent, to_backend);
    EXPECT_EQ(outcome_->second.received, to_client);
    EXPECT_EQ(outcome_->first.sent, to_client);
  }

  std::unique_ptr<EventLoop> loop_ = test::NewLoop();
  std::unique_ptr<Pair> left_, right_;
  std::optional<Forwarder::Outcome> outcome_;
  std::unique_ptr<Forwarder> forwarder_;
};

TEST(ForwarderExampleTest, HeaderExample) {
  std::unique_ptr<EventLoop> loop = test::NewLoop();
  uint64_t sent_by_client = 0, sent_by_backend = 0;
  const auto LogBytes = [&](uint64_t client, uint64_t backend) {
    sent_by_client = client;
    sent_by_backend = backend;
  };

  std::unordered_map<sluice::Forwarder*, std::unique_ptr<sluice::Forwarder>> open;
  const auto join = [&](std::unique_ptr<sluice::Stream> client,
                        std::unique_ptr<sluice::Stream> backend) {
    auto forwarder = std::make_unique<sluice::Forwarder>(std::move(client), std::move(backend));
    sluice::Forwarder* const key = forwarder.get();
    key->Start([&, key](const sluice::Forwarder::Outcome& outcome) {
      LogBytes(outcome.first.received, outcome.second.received);
      open.erase(key);  // destroys the forwarder, which may be done here
    });
    open.emplace(key, std::move(forwarder));
  };

  Pair left(*loop), right(*loop);
  right.server.recorder.on_receive = [](Stream& stream, absl::Span<uint8_t> bytes) {
    stream.SendLent(bytes);
    stream.Send("!");
  };
  join(std::move(left.server.stream), std::move(right.client.stream));
  left.client.stream->Send("hello");
  ASSERT_TRUE(test::Until(*loop, [&] { return left.client.recorder.received == "hello!"; }));
  left.client.stream->Close();
  ASSERT_TRUE(test::Until(*loop, [&] { return open.empty(); }));
  EXPECT_EQ(sent_by_client, 5u);
  EXPECT_EQ(sent_by_backend, 6u);
}

// What passes.

TEST_F(ForwarderTest, EachSideGetsWhatTheOtherOneSends) {
  Join();
  client_stream().Send("question");
  ASSERT_TRUE(Until([&] { return backend().received == "question"; }));
  backend_stream().Send("answer");
  ASSERT_TRUE(Until([&] { return client().received == "answer"; }));
  client_stream().Close();
  backend_stream().Close();
  ASSERT_TRUE(UntilDone());
  EXPECT_TRUE(outcome_->first.status.ok()) << outcome_->first.status;
  EXPECT_TRUE(outcome_->second.status.ok()) << outcome_->second.status;
  ExpectCounts(8, 6);
}

TEST_F(ForwarderTest, ALotPassesBothWaysAtOnceInOrder) {
  for (const bool narrow : {false, true}) {
    outcome_.reset();
    narrow ? JoinNarrow() : Join();
    const size_t size = narrow ? 2 * kMiB : 16 * kMiB;
    Sink to_backend(backend()), to_client(client());
    Source from_client(client_stream(), client(), size);
    Source from_backend(backend_stream(), backend(), size);
    ASSERT_TRUE(UntilDone());
    EXPECT_EQ(to_backend.received(), size);
    EXPECT_EQ(to_client.received(), size);
    EXPECT_TRUE(to_backend.right());
    EXPECT_TRUE(to_client.right());
    EXPECT_TRUE(outcome_->first.status.ok()) << outcome_->first.status;
    EXPECT_TRUE(outcome_->second.status.ok()) << outcome_->second.status;
    ExpectCounts(size, size);
  }
}

TEST_F(ForwarderTest, BulkAndSmallMessagesTakeTurns) {
  Join();
  Sink sink(backend());
  size_t sent = 0;
  const auto send = [&](size_t size) {
    for (const size_t end = sent + size; sent < end;) {
      absl::Span<const uint8_t> piece = Tape(sent);
      piece = piece.first(std::min<size_t>({end - sent, 256 * 1024, piece.size()}));
      client_stream().Send(piece);
      sent += piece.size();
      if (client_stream().queued_bytes() > kMiB) {
        ASSERT_TRUE(Until([&] { return client_stream().queued_bytes() == 0; }));
      }
    }
    ASSERT_TRUE(Until([&] { return sink.received() == sent; }));
  };
  for (int round = 0; round < 4; ++round) {
    send(8 * kMiB);
    for (int i = 0; i < 100; ++i) send(1 + i);
  }
  EXPECT_TRUE(sink.right());
  client_stream().Close();
  backend_stream().Close();
  ASSERT_TRUE(UntilDone());
  ExpectCounts(sent, 0);
}

TEST_F(ForwarderTest, JoinsUnixSocketsAndTcp) {
  test::ShortTempDir directory;
  for (const bool both : {false, true}) {
    outcome_.reset();
    Join({}, {}, directory.Socket("first"),
         both ? directory.Socket("second") : SocketAddress::Ipv4Loopback(0));
    Sink to_backend(backend()), to_client(client());
    Source from_client(client_stream(), client(), 8 * kMiB);
    Source from_backend(backend_stream(), backend(), 8 * kMiB);
    ASSERT_TRUE(UntilDone());
    EXPECT_TRUE(to_backend.right());
    EXPECT_TRUE(to_client.right());
    ExpectCounts(8 * kMiB, 8 * kMiB);
  }
}

// What is left of their former user.

void LeavePaused(Stream& stream, absl::Span<uint8_t> storage) {
  stream.PauseReceiving();
  stream.ReceiveInto(storage);
}

TEST_F(ForwarderTest, StreamsThatWerePausedAreResumedAndReceiveIntoIsTakenBack) {
  Connect();
  std::vector<uint8_t> storage(100);
  LeavePaused(*left_->server.stream, absl::MakeSpan(storage));
  LeavePaused(*right_->client.stream, absl::MakeSpan(storage));
  Forward();
  client_stream().Send("question");
  ASSERT_TRUE(Until([&] { return backend().received == "question"; }));
  backend_stream().Send("answer");
  ASSERT_TRUE(Until([&] { return client().received == "answer"; }));
  EXPECT_EQ(storage, std::vector<uint8_t>(100)) << "it was written to";
}

// Streams that are no socket's own, such as TLS.

class ForwarderOverOtherStreamsTest : public testing::Test {
 protected:
  ForwarderOverOtherStreamsTest() {
    client_.KeepOpen();
    backend_.KeepOpen();
    forwarder_.Start([this](const Forwarder::Outcome& outcome) { outcome_ = outcome; });
  }

  VirtualLoop loop_;
  StreamPair left_{loop_.loop()}, right_{loop_.loop()};
  StreamRecorder client_{left_.TakeClient()}, backend_{right_.TakeServer()};
  std::optional<Forwarder::Outcome> outcome_;
  Forwarder forwarder_{
      left_.TakeServer(), right_.TakeClient(),
      Forwarder::Options{.drain_quiet = absl::Seconds(1), .idle_timeout = absl::Minutes(1)}};
};

TEST_F(ForwarderOverOtherStreamsTest, PassesBytesAndEndsBothWays) {
  client_.stream().Send("question");
  client_.stream().ShutdownSend();
  backend_.stream().Send("answer");
  loop_.RunUntilIdle();
  EXPECT_EQ(backend_.received(), "question");
  EXPECT_TRUE(backend_.ended());
  EXPECT_EQ(client_.received(), "answer");
  EXPECT_FALSE(client_.ended());
  backend_.stream().ShutdownSend();
  loop_.RunUntilIdle();
  EXPECT_TRUE(client_.ended());
  ASSERT_TRUE(outcome_.has_value());
  EXPECT_TRUE(outcome_->first.status.ok() && outcome_->second.status.ok());
  EXPECT_EQ(outcome_->second.sent, 8u);
  EXPECT_EQ(outcome_->first.sent, 6u);
}

TEST_F(ForwarderOverOtherStreamsTest, WhatIsNotTakenHoldsBackTheSender) {
  constexpr size_t kSize = 4 * kMiB;
  right_.to_server().Hold();
  client_.stream().Send(Pattern(0, kSize));
  loop_.RunUntilIdle();
  EXPECT_GT(client_.stream().queued_bytes(), kSize / 2);
  right_.to_server().Release();
  loop_.RunUntilIdle();
  EXPECT_TRUE(backend_.received() == Pattern(0, kSize));
}

TEST_F(ForwarderOverOtherStreamsTest, ABreakOfOneResetsTheOther) {
  left_.Break();
  loop_.RunUntilIdle();
  ASSERT_TRUE(outcome_.has_value());
  EXPECT_TRUE(absl::IsUnavailable(*backend_.closed())) << *backend_.closed();
  EXPECT_TRUE(absl::IsAborted(outcome_->second.status)) << outcome_->second.status;
}

TEST_F(ForwarderOverOtherStreamsTest, AnIdleConnectionIsResetOnBothSides) {
  client_.stream().Send("x");
  loop_.RunUntilIdle();
  loop_.Advance(absl::Seconds(59));
  EXPECT_FALSE(outcome_.has_value());
  loop_.Advance(absl::Seconds(17));
  ASSERT_TRUE(outcome_.has_value());
  for (const Forwarder::End& end : {outcome_->first, outcome_->second}) {
    EXPECT_TRUE(absl::IsDeadlineExceeded(end.status)) << end.status;
    EXPECT_TRUE(end.status.message().ends_with(": idle for 1m")) << end.status;
  }
  for (const StreamRecorder* peer : {&client_, &backend_}) {
    EXPECT_FALSE(peer->ended());
    ASSERT_TRUE(peer->closed().has_value());
    EXPECT_TRUE(absl::IsUnavailable(*peer->closed())) << *peer->closed();
  }
}

// Both have to see it, and neither answers.
TEST_F(ForwarderOverOtherStreamsTest, ADrainDoesNotWaitForPeersThatDoNotAnswerItsEnd) {
  loop_.loop().Drain(absl::Minutes(1), [] {});
  loop_.Advance(absl::Milliseconds(1100));
  EXPECT_TRUE(client_.ended() && backend_.ended());
  EXPECT_FALSE(outcome_.has_value());
  loop_.Advance(absl::Seconds(1));
  ASSERT_TRUE(outcome_.has_value());
  EXPECT_TRUE(outcome_->first.status.ok()) << outcome_->first.status;
  EXPECT_TRUE(outcome_->second.status.ok()) << outcome_->second.status;
}

TEST(ForwarderUsedStreamTest, StreamsThatWerePausedAreResumedAndReceiveIntoIsTakenBack) {
  VirtualLoop loop;
  StreamPair left(loop.loop()), right(loop.loop());
  StreamRecorder client(left.TakeClient()), backend(right.TakeServer());
  std::unique_ptr<Stream> first = left.TakeServer(), second = right.TakeClient();
  std::vector<uint8_t> storage(100);
  LeavePaused(*first, absl::MakeSpan(storage));
  LeavePaused(*second, absl::MakeSpan(storage));
  Forwarder forwarder(std::move(first), std::move(second));
  forwarder.Start([](const Forwarder::Outcome&) {});
  client.stream().Send("question");
  backend.stream().Send("answer");
  loop.RunUntilIdle();
  EXPECT_EQ(backend.received(), "question");
  EXPECT_EQ(client.received(), "answer");
  EXPECT_EQ(storage, std::vector<uint8_t>(100)) << "it was written to";
}

TEST(ForwarderClosedStreamTest, AStreamThatIsClosedAlreadyClosesTheOther) {
  VirtualLoop loop;
  StreamPair left(loop.loop()), right(loop.loop());
  StreamRecorder client(left.TakeClient()), backend(right.TakeServer());
  std::unique_ptr<Stream> first = left.TakeServer();
  first->Close();
  Forwarder forwarder(std::move(first), right.TakeClient());
  std::optional<Forwarder::Outcome> outcome;
  forwarder.Start([&](const Forwarder::Outcome& o) { outcome = o; });
  loop.RunUntilIdle();
  ASSERT_TRUE(outcome.has_value());
  EXPECT_TRUE(outcome->first.status.ok() && outcome->second.status.ok());
  EXPECT_TRUE(backend.closed().has_value() && backend.closed()->ok());
}

// Back-pressure.

TEST_F(ForwarderTest, ASlowReaderStopsTheSenderAndNothingGrows) {
  constexpr size_t kSize = 64 * kMiB;
  Join();
  Sink sink(backend());
  backend_stream().PauseReceiving();
  const int64_t before = BytesInUse();
  Source source(client_stream(), client(), kSize);
  // Until nothing moves any more.
  for (size_t last = 1; last != source.sent();) {
    last = source.sent();
    Turns(100);
  }
  EXPECT_LT(source.sent(), kSize);
  const auto own_queue = static_cast<int64_t>(client_stream().queued_bytes());
  EXPECT_LT(BytesInUse() - before - own_queue, 640 * 1024);
  const uint64_t events = loop_->counters().io_events;
  Turns(100);
  EXPECT_EQ(loop_->counters().io_events, events) << "it spins";
  backend().on_receive_end = [](Stream& stream) { stream.Close(); };
  backend_stream().ResumeReceiving();
  ASSERT_TRUE(Until([&] { return backend().closed && outcome_.has_value(); }));
  EXPECT_EQ(sink.received(), kSize);
  EXPECT_TRUE(sink.right());
  ExpectCounts(kSize, 0);
}

TEST_F(ForwarderTest, AReaderThatPausesNowAndThenGetsEveryByte) {
  Join();
  constexpr size_t kSize = 32 * kMiB;
  Sink sink(backend());
  Source source(client_stream(), client(), kSize);
  while (sink.received() < kSize) {
    backend_stream().PauseReceiving();
    Turns(7);
    backend_stream().ResumeReceiving();
    const size_t target = std::min(kSize, sink.received() + kMiB);
    ASSERT_TRUE(Until([&] { return sink.received() >= target; }));
  }
  ASSERT_TRUE(Until([&] { return BackendEnded(); }));
  EXPECT_TRUE(sink.right());
}

// The end of one half.

TEST_F(ForwarderTest, AHalfThatEndsIsTheEndOfOneDirectionOnly) {
  for (const bool client_first : {true, false}) {
    outcome_.reset();
    Join();
    Stream& early = client_first ? client_stream() : backend_stream();
    Stream& late = client_first ? backend_stream() : client_stream();
    Recorder& late_hears = client_first ? backend() : client();
    Recorder& early_hears = client_first ? client() : backend();
    early.Send("bye");
    early.ShutdownSend();
    ASSERT_TRUE(Until([&] { return late_hears.Events() == "receive end"; }));
    EXPECT_EQ(late_hears.received, "bye");
    Turns(10);
    EXPECT_FALSE(outcome_.has_value());
    for (size_t sent = 0; sent < 3 * kMiB; sent += kMiB) {
      late.Send(Pattern(sent, kMiB));
      ASSERT_TRUE(Until([&] { return early_hears.received.size() == sent + kMiB; }));
    }
    EXPECT_TRUE(early_hears.received == Pattern(0, 3 * kMiB));
    late.ShutdownSend();
    ASSERT_TRUE(UntilDone());
    EXPECT_TRUE(client().close_status.ok()) << client().close_status;
    EXPECT_TRUE(backend().close_status.ok()) << backend().close_status;
    EXPECT_TRUE(outcome_->first.status.ok() && outcome_->second.status.ok());
    client_first ? ExpectCounts(3, 3 * kMiB) : ExpectCounts(3 * kMiB, 3);
  }
}

TEST_F(ForwarderTest, TheEndComesAfterAllBytesHoweverSlowlyTheyAreRead) {
  for (const size_t size : {size_t{1}, 100 * size_t{1024}, 4 * kMiB}) {
    outcome_.reset();
    JoinNarrow();
    Sink sink(backend());
    backend_stream().PauseReceiving();
    Source source(client_stream(), client(), size);
    Turns(50);
    backend_stream().ResumeReceiving();
    ASSERT_TRUE(Until([&] { return BackendEnded(); }));
    EXPECT_EQ(sink.received(), size);
    EXPECT_TRUE(sink.right());
    backend_stream().Close();
    ASSERT_TRUE(UntilDone());
    ExpectCounts(size, 0);
  }
}

// Other ends.

TEST_F(ForwarderTest, AResetOfOneSideResetsTheOther) {
  for (const bool by_client : {true, false}) {
    outcome_.reset();
    Join();
    client_stream().Send("hello");
    ASSERT_TRUE(Until([&] { return backend().received == "hello"; }));
    (by_client ? client_stream() : backend_stream()).Abort(absl::CancelledError("enough"));
    ASSERT_TRUE(UntilDone());
    const Recorder& other = by_client ? backend() : client();
    EXPECT_TRUE(absl::IsUnavailable(other.close_status)) << other.close_status;
    EXPECT_EQ(other.Events().find("end"), std::string::npos) << other.Events();
    const absl::Status& broken = (by_client ? outcome_->first : outcome_->second).status;
    const absl::Status& aborted = (by_client ? outcome_->second : outcome_->first).status;
    EXPECT_TRUE(absl::IsUnavailable(broken)) << broken;
    EXPECT_TRUE(absl::IsAborted(aborted)) << aborted;
  }
}

TEST_F(ForwarderTest, AResetInTheMiddleOfBulkResetsTheOther) {
  for (const bool by_receiver : {true, false}) {
    for (const bool paused : {true, false}) {
      outcome_.reset();
      Join();
      Sink sink(backend());
      Source source(client_stream(), client(), 64 * kMiB);
      ASSERT_TRUE(Until([&] { return sink.received() > 8 * kMiB; }));
      if (paused) {
        backend_stream().PauseReceiving();
        Turns(100);
      }
      (by_receiver ? backend_stream() : client_stream()).Abort(absl::CancelledError("enough"));
      ASSERT_TRUE(UntilDone());
      EXPECT_TRUE(sink.right());
      const Recorder& other = by_receiver ? client() : backend();
      EXPECT_FALSE(other.close_status.ok());
      EXPECT_EQ(other.Events().find("end"), std::string::npos) << other.Events();
      EXPECT_LE(outcome_->second.sent, outcome_->first.received);
      EXPECT_GE(outcome_->second.sent, sink.received());
    }
  }
}

TEST_F(ForwarderTest, DestroyedItAbortsBothAndCallsNothing) {
  Join();
  Source source(client_stream(), client(), 64 * kMiB);
  backend_stream().PauseReceiving();
  Turns(50);
  forwarder_.reset();
  backend_stream().ResumeReceiving();
  ASSERT_TRUE(Until([&] { return client().closed && backend().closed; }));
  EXPECT_TRUE(absl::IsUnavailable(client().close_status)) << client().close_status;
  EXPECT_TRUE(absl::IsUnavailable(backend().close_status)) << backend().close_status;
  EXPECT_FALSE(outcome_.has_value());
}

TEST_F(ForwarderTest, StreamsThatEndedBeforeAreToldOfByTheLoop) {
  Pair left(*loop_), right(*loop_);
  left.server.stream->ClearHandler();
  left.client.stream->Abort(absl::CancelledError("gone"));
  Turns(10);
  Forwarder forwarder(std::move(left.server.stream), std::move(right.client.stream));
  forwarder.Start([this](const Forwarder::Outcome& outcome) { outcome_ = outcome; });
  EXPECT_FALSE(outcome_.has_value());
  ASSERT_TRUE(Until([&] { return outcome_.has_value() && right.server.recorder.closed; }));
  EXPECT_TRUE(absl::IsUnavailable(outcome_->first.status)) << outcome_->first.status;
  EXPECT_TRUE(absl::IsUnavailable(right.server.recorder.close_status));
}

TEST_F(ForwarderTest, TheLoopsEndIsTheEndOfBoth) {
  Join();
  Source source(client_stream(), client(), 64 * kMiB);
  Turns(20);
  loop_.reset();
  ASSERT_TRUE(outcome_.has_value());
  EXPECT_TRUE(absl::IsCancelled(outcome_->first.status)) << outcome_->first.status;
  EXPECT_TRUE(absl::IsCancelled(outcome_->second.status)) << outcome_->second.status;
}

}  // namespace
}  // namespace sluice
