// Deadlines of streams, connects, drains and back-offs, in virtual time.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/file_for_tests.h"
#include "sluice/core/simulation.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/core/tcp_testing.h"

namespace sluice {
namespace {

using test::Pair;
using test::Pattern;

// Deadlines come late by the timer's resolution and by the millisecond in which times of activity
// are kept.
constexpr absl::Duration kSlack = absl::Milliseconds(2);

class DeadlineTest : public testing::Test {
 protected:
  bool Until(absl::FunctionRef<bool()> done) { return network_.RunUntil(done, absl::Minutes(1)); }
  void Advance(absl::Duration duration) { network_.RunFor(duration); }

  // An address at which connects stay unanswered.
  SocketAddress SilentAddress() {
    SimulatedHost& silent = network_.AddHost("silent");
    network_.Partition(host_, silent);
    return silent.Address(9000);
  }

  // The client, which does not read, does until something has moved.
  void ReadSome(Pair& pair) {
    const size_t before = pair.client.recorder.received.size();
    pair.client.stream->ResumeReceiving();
    ASSERT_TRUE(Until([&] { return pair.client.recorder.received.size() > before + 20'000; }));
    pair.client.stream->PauseReceiving();
  }

  // The system takes little, so that a peer that does not read is soon felt.
  SimulatedNetwork network_{
      1, {.host = {.send_buffer_bytes = 16 * 1024, .receive_buffer_bytes = 16 * 1024}}};
  SimulatedHost& host_ = network_.AddHost("host");
  EventLoop& loop_ = host_.loop();
};

// Idle.

TEST_F(DeadlineTest, AHalfOpenPeerIsGivenUpAfterTheIdleTimeoutAndNotBefore) {
  Pair pair(loop_);
  pair.server.stream->SetIdleTimeout(absl::Seconds(30));
  Advance(absl::Seconds(30) - kSlack);
  EXPECT_FALSE(pair.server.recorder.closed);
  Advance(2 * kSlack);
  ASSERT_TRUE(pair.server.recorder.closed);
  const absl::Status& status = pair.server.recorder.close_status;
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_NE(status.message().find("idle for 30s"), absl::string_view::npos) << status;
  EXPECT_NE(status.message().find(pair.server.stream->peer_address().ToString()),
            absl::string_view::npos)
      << status;
  EXPECT_TRUE(Until([&] { return pair.client.recorder.closed; }));
}

TEST_F(DeadlineTest, APeerThatSendsAByteNowAndThenIsNotIdle) {
  Pair pair(loop_);
  pair.server.stream->SetIdleTimeout(absl::Seconds(30));
  for (int i = 1; i <= 10; ++i) {
    Advance(absl::Seconds(29));
    pair.client.stream->Send("x");
    ASSERT_TRUE(Until([&] { return pair.server.recorder.receives == i; }));
  }
  Advance(absl::Seconds(30) - kSlack);
  EXPECT_FALSE(pair.server.recorder.closed);
  Advance(2 * kSlack);
  EXPECT_TRUE(pair.server.recorder.closed) << "and then it is";
}

TEST_F(DeadlineTest, AStreamThatOnlySendsIsNotIdle) {
  Pair pair(loop_);
  pair.server.stream->SetIdleTimeout(absl::Seconds(30));
  for (int i = 0; i < 10; ++i) {
    Advance(absl::Seconds(29));
    pair.server.stream->Send("x");
    loop_.RunOnce(absl::ZeroDuration());
  }
  Advance(absl::Seconds(30) - kSlack);
  EXPECT_FALSE(pair.server.recorder.closed);
  Advance(2 * kSlack);
  EXPECT_TRUE(pair.server.recorder.closed);
}

// It goes on sending into its queue, but nothing leaves.
TEST_F(DeadlineTest, APeerThatDoesNotReadIsIdle) {
  Pair pair(loop_);
  pair.client.stream->PauseReceiving();
  test::SendUntilBlocked(*pair.server.stream);
  size_t last = 0;
  const auto at_rest = [&] {  // the system has taken all that it will
    return last == std::exchange(last, pair.server.stream->queued_bytes());
  };
  ASSERT_TRUE(Until(at_rest));
  pair.server.stream->SetIdleTimeout(absl::Seconds(30));
  for (int i = 0; i < 5; ++i) {
    Advance(absl::Seconds(10));
    pair.server.stream->Send("x");
  }
  EXPECT_TRUE(pair.server.recorder.closed);
  EXPECT_EQ(pair.server.recorder.close_status.code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(DeadlineTest, APeerThatReadsSlowlyIsNotIdle) {
  Connector::Options small;
  small.socket.send_buffer_bytes = 1;
  Listener::Options small_listener;
  small_listener.listen.socket.receive_buffer_bytes = 1;
  Pair pair(loop_, small_listener, small);
  pair.server.stream->PauseReceiving();
  const size_t sent = test::SendUntilBlocked(*pair.client.stream);
  pair.client.stream->SetIdleTimeout(absl::Seconds(30));
  pair.server.recorder.on_receive = [](Stream& stream, absl::Span<uint8_t>) {
    stream.PauseReceiving();
  };
  for (int i = 0; i < 5; ++i) {
    Advance(absl::Seconds(29));
    const size_t before = pair.client.stream->queued_bytes();
    ASSERT_TRUE(Until([&] {
      pair.server.stream->ResumeReceiving();
      return pair.client.stream->queued_bytes() < before || pair.client.recorder.closed;
    }));
    ASSERT_FALSE(pair.client.recorder.closed);
  }
  pair.server.recorder.on_receive = nullptr;
  pair.server.stream->ResumeReceiving();
  ASSERT_TRUE(Until([&] { return pair.server.recorder.received.size() == sent; }));
}

TEST_F(DeadlineTest, AFileThatMovesIsNotIdleAndOneThatDoesNotIs) {
  Pair pair(loop_);
  const test::FileForTests file(Pattern(0, 1'000'000));
  pair.client.stream->PauseReceiving();
  pair.server.stream->SetIdleTimeout(absl::Seconds(30));
  ASSERT_TRUE(file.SendOn(*pair.server.stream).ok());
  for (int i = 0; i < 5; ++i) {
    Advance(absl::Seconds(20));
    ReadSome(pair);
    ASSERT_FALSE(pair.server.recorder.closed);
  }
  Advance(absl::Seconds(31));
  ASSERT_TRUE(pair.server.recorder.closed);
  EXPECT_EQ(pair.server.recorder.close_status.code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(DeadlineTest, TheIdleTimeoutMayBeChangedAndTakenAway) {
  Pair pair(loop_);
  Stream& stream = *pair.server.stream;
  stream.SetIdleTimeout(absl::Seconds(1));
  stream.SetIdleTimeout(absl::InfiniteDuration());
  Advance(absl::Seconds(5));
  EXPECT_FALSE(pair.server.recorder.closed);
  stream.SetIdleTimeout(absl::Seconds(10));
  Advance(absl::Seconds(9));
  EXPECT_FALSE(pair.server.recorder.closed);
  stream.SetIdleTimeout(absl::Seconds(1));  // counts from here
  Advance(absl::Seconds(1) - kSlack);
  EXPECT_FALSE(pair.server.recorder.closed);
  Advance(2 * kSlack);
  EXPECT_TRUE(pair.server.recorder.closed);
}

TEST_F(DeadlineTest, TheIdleTimeoutOfTheOptionsCountsFromTheBeginning) {
  Listener::Options listen;
  listen.stream.idle_timeout = absl::Seconds(1);
  Connector::Options connect;
  connect.stream.idle_timeout = absl::Seconds(1);
  Pair servers(loop_, listen, Connector::Options());
  Pair clients(loop_, Listener::Options(), connect);
  Advance(absl::Seconds(1) - kSlack);
  EXPECT_FALSE(servers.server.recorder.closed || clients.client.recorder.closed);
  Advance(2 * kSlack);
  EXPECT_TRUE(servers.server.recorder.closed && clients.client.recorder.closed);
}

// A connection that is never given a handler is not kept for ever, and whoever comes late is told.
TEST_F(DeadlineTest, AStreamWithoutAHandlerIsIdleToo) {
  std::unique_ptr<Stream> accepted;
  Listener::Options options;
  options.stream.idle_timeout = absl::Seconds(1);
  const std::unique_ptr<Listener> listener =
      *Listener::Listen(loop_, SocketAddress::Ipv4Loopback(0), options,
                        [&](std::unique_ptr<Stream> stream) { accepted = std::move(stream); });
  Connector connector(loop_);
  test::End client;
  connector.Connect(listener->address(), {}, [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
    client.stream = *std::move(stream);
  });
  ASSERT_TRUE(Until([&] { return accepted != nullptr && client.stream != nullptr; }));
  Advance(absl::Seconds(1) + kSlack);
  EXPECT_EQ(listener->connections(), 0);
  test::Recorder late;
  accepted->SetHandler(late);
  ASSERT_TRUE(Until([&] { return late.closed; }));
  EXPECT_EQ(late.close_status.code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(DeadlineTest, AHandlerMayDestroyItsStreamWhenItWasIdle) {
  Pair pair(loop_);
  pair.server.stream->SetIdleTimeout(absl::Seconds(1));
  pair.server.recorder.on_close = [&](Stream&, const absl::Status&) {
    pair.server.stream = nullptr;
  };
  Advance(absl::Seconds(2));
  EXPECT_EQ(pair.server.stream, nullptr);
}

// Linger.

TEST_F(DeadlineTest, ACloseWaitsForAPeerThatDoesNotCloseOnlyForTheLingerTimeout) {
  Pair pair(loop_);
  pair.client.recorder.on_receive_end = [](Stream&) {};  // keeps its half open
  pair.server.stream->Send("bye");
  pair.server.stream->Close();
  Advance(absl::Seconds(5) - kSlack);  // the default
  EXPECT_FALSE(pair.server.recorder.closed);
  EXPECT_EQ(pair.client.recorder.Events(), "receive end");
  Advance(2 * kSlack);
  ASSERT_TRUE(pair.server.recorder.closed);
  EXPECT_TRUE(pair.server.recorder.close_status.ok()) << pair.server.recorder.close_status;
}

TEST_F(DeadlineTest, APeerThatNeitherReadsNorClosesIsGivenUpAndTheLossIsTold) {
  Pair pair(loop_);
  pair.client.stream->PauseReceiving();
  pair.server.stream->SetLingerTimeout(absl::Seconds(2));
  test::SendUntilBlocked(*pair.server.stream);
  pair.server.stream->Close();
  Advance(absl::Seconds(2) - kSlack);
  EXPECT_FALSE(pair.server.recorder.closed);
  const size_t queued = pair.server.stream->queued_bytes();
  EXPECT_GT(queued, 0u);
  Advance(2 * kSlack);
  ASSERT_TRUE(pair.server.recorder.closed);
  const absl::Status& status = pair.server.recorder.close_status;
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_NE(status.message().find("2s"), absl::string_view::npos) << status;
  EXPECT_NE(status.message().find(std::to_string(queued)), absl::string_view::npos) << status;
  EXPECT_EQ(pair.server.stream->queued_bytes(), queued) << "what was not sent";
}

TEST_F(DeadlineTest, AClosesFileMayTakeLongerThanTheLingerTimeoutIfItMoves) {
  const test::FileForTests file(Pattern(0, 1'000'000));
  for (const bool moves : {true, false}) {
    SCOPED_TRACE(moves);
    Pair pair(loop_);
    pair.client.stream->PauseReceiving();
    pair.server.stream->SetLingerTimeout(absl::Seconds(5));
    ASSERT_TRUE(file.SendOn(*pair.server.stream).ok());
    pair.server.stream->Close();
    for (int i = 0; i < 4; ++i) {
      Advance(absl::Seconds(3));
      ReadSome(pair);
      ASSERT_FALSE(pair.server.recorder.closed);
    }
    if (moves) {
      // From when it has left on, the peer has the whole timeout to close.
      pair.client.recorder.on_receive_end = [](Stream&) {};
      pair.client.stream->ResumeReceiving();
      ASSERT_TRUE(Until([&] { return pair.client.recorder.received.size() == file.size(); }));
      Advance(absl::Seconds(4));
      ASSERT_FALSE(pair.server.recorder.closed);
      Advance(absl::Seconds(2));
      EXPECT_EQ(pair.server.recorder.close_status, absl::OkStatus());
    } else {
      Advance(absl::Seconds(6));
      EXPECT_EQ(pair.server.recorder.close_status.code(), absl::StatusCode::kDeadlineExceeded);
      EXPECT_NE(pair.server.recorder.close_status.message().find("bytes could not be sent within"),
                absl::string_view::npos);
    }
    ASSERT_TRUE(pair.server.recorder.closed);
  }
}

// Its system says after 13 s each that it takes more.
TEST_F(DeadlineTest, AClosesFileIsNotCutOffWhileThePeerReadsSlowly) {
  network_.SetLink(host_, host_, {.bytes_per_second = 50'000});
  Listener::Options listen;
  listen.listen.socket.send_buffer_bytes = 2'000'000;
  const test::FileForTests file(Pattern(0, 5'000'000));
  for (const bool stops : {false, true}) {
    SCOPED_TRACE(stops);
    Pair pair(loop_, listen);
    ASSERT_TRUE(file.SendOn(*pair.server.stream).ok());
    pair.server.stream->Close();
    Advance(absl::Seconds(20));
    ASSERT_FALSE(pair.server.recorder.closed) << pair.server.recorder.close_status;
    if (stops) {
      pair.client.stream->PauseReceiving();
      Advance(absl::Seconds(12));
      ASSERT_TRUE(pair.server.recorder.closed);
      EXPECT_EQ(pair.server.recorder.close_status.code(), absl::StatusCode::kDeadlineExceeded);
    } else {
      Advance(absl::Minutes(2));
      ASSERT_TRUE(pair.closed());
      EXPECT_EQ(pair.server.recorder.close_status, absl::OkStatus());
      EXPECT_TRUE(pair.client.recorder.received == Pattern(0, file.size()));
    }
  }
}

TEST_F(DeadlineTest, AClosesFileIsNotCutOffSoonAfterTheSystemHasTakenSome) {
  network_.SetLink(host_, host_, {.latency = absl::Milliseconds(1)});
  Listener::Options listen;
  listen.listen.socket.send_buffer_bytes = 2'000'000;
  const test::FileForTests file(Pattern(0, 8'000'000));
  Pair pair(loop_, listen);
  pair.server.stream->SetLingerTimeout(absl::Seconds(5));
  ASSERT_TRUE(file.SendOn(*pair.server.stream).ok());
  pair.server.stream->Close();
  // The system has taken more, some milliseconds after the Close, and then has room for long.
  ASSERT_TRUE(Until([&] { return pair.client.recorder.received.size() > 1'000'000; }));
  pair.client.stream->PauseReceiving();
  Advance(absl::Seconds(3));
  ReadSome(pair);
  Advance(absl::Milliseconds(2100));
  ASSERT_FALSE(pair.server.recorder.closed) << pair.server.recorder.close_status;
  Advance(absl::Seconds(6));
  ASSERT_TRUE(pair.server.recorder.closed);
  EXPECT_EQ(pair.server.recorder.close_status.code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(DeadlineTest, ACloseEndsTheIdleDeadlineAndStartsTheLingerDeadline) {
  Pair pair(loop_);
  pair.client.recorder.on_receive_end = [](Stream&) {};
  pair.server.stream->SetIdleTimeout(absl::Seconds(1));
  pair.server.stream->SetLingerTimeout(absl::Seconds(10));
  pair.server.stream->Close();
  pair.server.stream->SetIdleTimeout(absl::Seconds(1));
  Advance(absl::Seconds(10) - kSlack);
  EXPECT_FALSE(pair.server.recorder.closed);
  Advance(2 * kSlack);
  ASSERT_TRUE(pair.server.recorder.closed);
  EXPECT_TRUE(pair.server.recorder.close_status.ok()) << pair.server.recorder.close_status;
}

TEST_F(DeadlineTest, AStreamThatLingersDoesNotDeliverWhatStillComes) {
  Pair pair(loop_);
  pair.client.recorder.on_receive_end = [](Stream& stream) { stream.Send(Pattern(0, 1'000'000)); };
  pair.server.stream->Close();
  Advance(absl::Seconds(6));
  ASSERT_TRUE(pair.server.recorder.closed);
  EXPECT_EQ(pair.server.recorder.Events(), "close");
  EXPECT_TRUE(pair.server.recorder.close_status.ok());
}

TEST_F(DeadlineTest, AnAbortEndsALingeringStreamAtOnce) {
  Pair pair(loop_);
  pair.client.recorder.on_receive_end = [](Stream&) {};
  pair.server.stream->Close();
  loop_.RunOnce(absl::ZeroDuration());
  pair.server.stream->Abort(absl::AbortedError("enough"));
  loop_.RunOnce(absl::ZeroDuration());
  EXPECT_EQ(pair.server.recorder.close_status, absl::AbortedError("enough"));
}

// Connects and drains.

TEST_F(DeadlineTest, AConnectWithoutAnAnswerEndsAtItsDeadline) {
  const SocketAddress silent = SilentAddress();
  Connector connector(loop_);
  absl::Status status;
  connector.Connect(silent, {}, [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
    status = stream.status();
  });
  Advance(absl::Seconds(10) - kSlack);  // the default
  EXPECT_TRUE(status.ok());
  EXPECT_TRUE(connector.connecting());
  Advance(2 * kSlack);
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_NE(status.message().find(silent.ToString()), absl::string_view::npos) << status;
  EXPECT_NE(status.message().find("10s"), absl::string_view::npos) << status;
  EXPECT_FALSE(connector.connecting());
  EXPECT_EQ(loop_.counters().streams, 0u);
}

TEST_F(DeadlineTest, AConnectHasAllItsTimeAlsoWhenTheLoopHasNotRunForLong) {
  const SocketAddress silent = SilentAddress();
  host_.Stall();  // the program does something else
  Advance(absl::Minutes(1));
  host_.Resume();
  Connector connector(loop_);
  connector.Connect(silent, {}, [](absl::StatusOr<std::unique_ptr<Stream>>) {});
  Advance(absl::Seconds(10) - kSlack);
  EXPECT_TRUE(connector.connecting());
  Advance(2 * kSlack);
  EXPECT_FALSE(connector.connecting());
}

TEST_F(DeadlineTest, ADrainEndsAtItsDeadlineAndNotBefore) {
  Pair pair(loop_);
  pair.client.recorder.on_drain = [](Stream&) {};
  pair.server.recorder.on_drain = [](Stream&) {};
  bool done = false;
  loop_.Drain(absl::Seconds(20), [&] { done = true; });
  Advance(absl::Seconds(20) - kSlack);
  EXPECT_FALSE(done);
  Advance(2 * kSlack);
  EXPECT_TRUE(done);
  EXPECT_TRUE(pair.closed());
}

// Back-offs.

TEST_F(DeadlineTest,
       AListenerWithoutDescriptorsTriesAfterTenMillisecondsAndTwiceAsLongUpToASecond) {
  const std::unique_ptr<Listener> listener = *Listener::Listen(
      loop_, host_.Address(9000), {}, [](std::unique_ptr<Stream>) { FAIL() << "accepted"; });
  host_.set_options({.descriptors = 1});  // the listener's
  SimulatedHost& client = network_.AddHost("client");
  std::vector<std::unique_ptr<Connector>> connectors;
  std::vector<test::End> clients(1'000);
  for (size_t i = 0; i < clients.size(); ++i) {  // one each 5 ms, so that one always waits
    network_.After(absl::Milliseconds(5) * i, [&, i] {
      connectors.push_back(std::make_unique<Connector>(client.loop()));
      connectors.back()->Connect(host_.Address(9000), {}, [&, i](auto stream) {
        clients[i].stream = *std::move(stream);
        clients[i].stream->SetHandler(clients[i].recorder);
      });
    });
  }
  Advance(absl::Seconds(1.2));
  // Out at 0, 10, 30, 70, 150, 310 and 630 ms,
  EXPECT_EQ(listener->counters().backoffs, 7u);
  Advance(absl::Seconds(9));
  // at 1.27 s, and then each second until 9.27 s.
  EXPECT_EQ(listener->counters().backoffs, 7u + 9u);
}

}  // namespace
}  // namespace sluice
