// EventLoop::Drain, and the end of a loop with streams on it.
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/core/tcp_testing.h"

namespace sluice {
namespace {

using test::kBound;
using test::Pair;
using test::Pattern;
using test::Recorder;
using test::Until;

class DrainTest : public testing::Test {
 protected:
  void Drain(absl::Duration timeout) {
    loop_->Drain(timeout, [this] { ++done_; });
  }
  bool UntilDone() {
    return Until(*loop_, [&] { return done_ > 0; });
  }

  std::unique_ptr<EventLoop> loop_ = test::NewLoop();
  int done_ = 0;
};

TEST_F(DrainTest, AsksEachStreamOnceAndIsDoneWhenAllHaveClosed) {
  std::vector<std::unique_ptr<Pair>> pairs;
  for (int i = 0; i < 10; ++i) pairs.push_back(std::make_unique<Pair>(*loop_));
  Drain(kBound);
  ASSERT_TRUE(UntilDone());
  for (const std::unique_ptr<Pair>& pair : pairs) {
    for (const Recorder* recorder : {&pair->client.recorder, &pair->server.recorder}) {
      EXPECT_EQ(recorder->events.front(), "drain");
      EXPECT_EQ(recorder->events.back(), "close");
      EXPECT_TRUE(recorder->close_status.ok()) << recorder->close_status;
    }
  }
  EXPECT_EQ(loop_->counters().streams, 0u);
  loop_->RunOnce(absl::ZeroDuration());
  EXPECT_EQ(done_, 1);
}

TEST_F(DrainTest, AnAnswerThatIsInFlightArrivesWhole) {
  Pair pair(*loop_);
  constexpr size_t kSize = 10'000'000;
  // The client waits for what it asked for.
  pair.client.recorder.on_drain = [](Stream&) {};
  pair.server.stream->Send(Pattern(0, kSize));
  Drain(kBound);
  ASSERT_TRUE(UntilDone());
  EXPECT_TRUE(pair.server.recorder.close_status.ok()) << pair.server.recorder.close_status;
  EXPECT_TRUE(pair.client.recorder.received == Pattern(0, kSize));
}

// What a stream does in its OnDrain must not keep others from being asked.
TEST_F(DrainTest, AStreamThatIsSentToByADrainingOneIsAskedToo) {
  std::vector<std::unique_ptr<Pair>> pairs;
  for (int i = 0; i < 10; ++i) pairs.push_back(std::make_unique<Pair>(*loop_));
  for (const std::unique_ptr<Pair>& pair : pairs) {
    pair->server.recorder.on_drain = [&](Stream& stream) {
      for (const std::unique_ptr<Pair>& other : pairs) other->server.stream->Send("goodbye");
      stream.Close();
    };
  }
  Drain(kBound);
  ASSERT_TRUE(UntilDone());
  for (const std::unique_ptr<Pair>& pair : pairs) {
    EXPECT_EQ(pair->server.recorder.events.front(), "drain");
    EXPECT_EQ(pair->client.recorder.events.front(), "drain");
  }
}

TEST_F(DrainTest, WhatDoesNotFinishIsAbortedAtTheDeadline) {
  Pair stubborn(*loop_);
  Pair willing(*loop_);
  stubborn.client.recorder.on_drain = [](Stream&) {};
  stubborn.server.recorder.on_drain = [](Stream&) {};
  Drain(absl::Milliseconds(20));
  ASSERT_TRUE(UntilDone());
  for (const Recorder* recorder : {&stubborn.client.recorder, &stubborn.server.recorder}) {
    EXPECT_EQ(recorder->close_status.code(), absl::StatusCode::kDeadlineExceeded);
    EXPECT_NE(recorder->close_status.message().find("20ms"), absl::string_view::npos)
        << recorder->close_status;
  }
  EXPECT_TRUE(willing.client.recorder.close_status.ok());
}

// A peer that does not read holds up its stream's Close, but not beyond the drain's deadline.
TEST_F(DrainTest, APeerThatDoesNotReadDoesNotHoldItUp) {
  Pair pair(*loop_);
  pair.client.stream->PauseReceiving();
  pair.client.recorder.on_drain = [](Stream&) {};
  test::SendUntilBlocked(*pair.server.stream);
  Drain(absl::Milliseconds(20));
  ASSERT_TRUE(UntilDone());
  EXPECT_EQ(pair.server.recorder.Events(), "drain close");
  EXPECT_EQ(pair.server.recorder.close_status.code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(DrainTest, WithoutATimeoutItWaits) {
  Pair pair(*loop_);
  pair.client.recorder.on_drain = [](Stream&) {};
  pair.server.recorder.on_drain = [](Stream&) {};
  Drain(absl::InfiniteDuration());
  loop_->RunUntil([] { return false; }, absl::Milliseconds(5));
  EXPECT_EQ(done_, 0);
  pair.client.stream->Close();
  ASSERT_TRUE(UntilDone());
}

TEST_F(DrainTest, ASecondDrainReplacesTheFirst) {
  Pair pair(*loop_);
  pair.client.recorder.on_drain = [](Stream&) {};
  pair.server.recorder.on_drain = [](Stream&) {};
  int first = 0;
  loop_->Drain(absl::Milliseconds(1), [&] { ++first; });
  Drain(absl::Milliseconds(30));
  const MonotonicTime start = loop_->now();
  ASSERT_TRUE(UntilDone());
  EXPECT_GE(loop_->now() - start, absl::Milliseconds(29));
  EXPECT_EQ(first, 0);
  EXPECT_EQ(done_, 1);
}

TEST_F(DrainTest, StreamsMayBeDestroyedByEachOther) {
  for (const bool run : {false, true}) {
    SCOPED_TRACE(run);
    Pair a(*loop_);
    Pair b(*loop_);
    // Whichever is asked first destroys all others.
    const auto destroy = [&](Stream& stream) {
      for (std::unique_ptr<Stream>* other :
           {&a.client.stream, &a.server.stream, &b.client.stream, &b.server.stream}) {
        if (other->get() != &stream) *other = nullptr;
      }
      stream.Close();
    };
    for (Pair* pair : {&a, &b}) {
      pair->client.recorder.on_drain = destroy;
      pair->server.recorder.on_drain = destroy;
    }
    done_ = 0;
    if (run) {
      loop_->Post([&] { Drain(kBound); });
    } else {
      Drain(kBound);
    }
    ASSERT_TRUE(UntilDone());
  }
}

// The bytes that A lends are in its queue when it asks for the drain; the next receive, into the
// same memory, is B's.
TEST_F(DrainTest, StartedInsideACallbackItKeepsWhatTheCallbackHasSent) {
  constexpr size_t kSize = 50'000;
  Pair a(*loop_);
  Pair b(*loop_);
  for (Pair* pair : {&a, &b}) {
    pair->server.recorder.on_receive = [&](Stream& stream, absl::Span<uint8_t> bytes) {
      stream.SendLent(bytes);
      Drain(kBound);
      EXPECT_FALSE(stream.closing()) << "no callback from inside a call";
    };
    pair->client.recorder.on_drain = [](Stream&) {};
  }
  a.client.stream->Send(Pattern(0, kSize));
  b.client.stream->Send(Pattern(kSize, kSize));
  loop_->RunOnce(absl::ZeroDuration());  // both leave, and arrive in one turn
  ASSERT_TRUE(Until(*loop_, [&] { return a.closed() && b.closed(); }));
  EXPECT_TRUE(a.client.recorder.received == Pattern(0, a.server.recorder.received.size()));
  EXPECT_TRUE(b.client.recorder.received == Pattern(kSize, b.server.recorder.received.size()));
  EXPECT_GT(a.server.recorder.received.size(), 0u);
}

TEST_F(DrainTest, ConnectsUnderWayAreGivenUp) {
  const test::SilentListener silent;
  Connector connector(*loop_);
  absl::Status status;
  connector.Connect(silent.address(), {}, [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
    status = stream.status();
  });
  Drain(kBound);
  EXPECT_TRUE(status.ok()) << "no callback from inside a call";
  ASSERT_TRUE(UntilDone());
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled) << status;
  EXPECT_FALSE(connector.connecting());
}

// A handler that reconnects whatever happens.
TEST_F(DrainTest, WhatIsOpenedAfterTheDeadlineIsEndedToo) {
  std::unique_ptr<Listener> listener;
  Recorder server;
  server.on_drain = [](Stream&) {};
  Listener::Options options;
  listener = *Listener::Listen(*loop_, SocketAddress::Ipv4Loopback(0), options,
                               [&](std::unique_ptr<Stream> stream) {
                                 struct Stubborn : StreamHandler {
                                   void OnReceive(Stream&, absl::Span<uint8_t>) override {}
                                   void OnReceiveEnd(Stream&) override {}
                                   void OnDrain(Stream&) override {}
                                 };
                                 Stream::Run(std::move(stream), std::make_unique<Stubborn>());
                               });
  Connector connector(*loop_);
  std::vector<std::unique_ptr<Stream>> streams;
  Recorder recorders[3];
  int connects = 0;
  std::function<void()> connect = [&] {
    connector.Connect(listener->address(), {}, [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
      if (++connects > 3) return;
      if (!stream.ok()) return connect();
      Recorder& recorder = recorders[streams.size()];
      recorder.on_drain = [](Stream&) {};
      recorder.on_close = [&](Stream&, const absl::Status&) { connect(); };
      streams.push_back(*std::move(stream));
      streams.back()->SetHandler(recorder);
    });
  };
  connect();
  ASSERT_TRUE(Until(*loop_, [&] { return connects == 1; }));
  Drain(absl::Milliseconds(10));
  ASSERT_TRUE(UntilDone());
  EXPECT_GT(connects, 1) << "told before its own timeout";
  EXPECT_EQ(loop_->counters().streams, 0u);
}

TEST_F(DrainTest, AStreamWithoutAHandlerIsClosedToo) {
  std::unique_ptr<Stream> accepted;
  const std::unique_ptr<Listener> listener =
      *Listener::Listen(*loop_, SocketAddress::Ipv4Loopback(0), {},
                        [&](std::unique_ptr<Stream> stream) { accepted = std::move(stream); });
  Connector connector(*loop_);
  connector.Connect(listener->address(), {}, [](absl::StatusOr<std::unique_ptr<Stream>>) {});
  ASSERT_TRUE(Until(*loop_, [&] { return accepted != nullptr && !connector.connecting(); }));
  Drain(kBound);
  ASSERT_TRUE(UntilDone());
  EXPECT_TRUE(accepted->closing());
  // It is told when there is somebody to tell.
  Recorder late;
  accepted->SetHandler(late);
  EXPECT_FALSE(late.closed) << "no callback from inside a call";
  ASSERT_TRUE(Until(*loop_, [&] { return late.closed; }));
  EXPECT_EQ(late.Events(), "close");
}

TEST_F(DrainTest, DoneMayDrainAgainOrStopOrPost) {
  int again = 0;
  loop_->Drain(kBound, [&] {
    loop_->Drain(kBound, [&] {
      ++again;
      loop_->Stop();
    });
  });
  loop_->Run();
  EXPECT_EQ(again, 1);
}

TEST_F(DrainTest, ItMayBeStartedAndRestartedInOnClose) {
  Pair pair(*loop_);
  pair.client.recorder.on_close = [&](Stream&, const absl::Status&) { Drain(kBound); };
  pair.client.stream->Abort(absl::AbortedError("x"));
  ASSERT_TRUE(UntilDone());
  EXPECT_TRUE(pair.server.recorder.closed);
}

// The end of the loop itself.

TEST(LoopEndTest, StreamsThatItOwnsAreToldAndDestroyedWithTheirHandlers) {
  std::unique_ptr<EventLoop> loop = test::NewLoop();
  struct Owned : StreamHandler {
    explicit Owned(std::string& l) : log(l) {}
    ~Owned() override { log += "destroyed "; }
    void OnReceive(Stream&, absl::Span<uint8_t>) override {}
    void OnClose(Stream&, const absl::Status& status) override {
      EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
      log += "closed ";
    }
    std::string& log;
  };
  std::string log;
  Pair pair(*loop);
  Recorder borrowed;
  Stream::Run(std::move(pair.client.stream), std::make_unique<Owned>(log));
  Stream::Run(std::move(pair.server.stream), borrowed);
  loop = nullptr;
  EXPECT_EQ(log, "closed destroyed ");
  EXPECT_EQ(borrowed.Events(), "close");
}

TEST(LoopEndTest, AStreamThatOutlivesItIsClosedAndHarmless) {
  std::unique_ptr<EventLoop> loop = test::NewLoop();
  Pair pair(*loop);
  loop = nullptr;
  Stream& stream = *pair.client.stream;
  EXPECT_EQ(pair.client.recorder.close_status.code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(stream.closing());
  EXPECT_EQ(stream.Send("x"), SendResult::kRefused);
  EXPECT_EQ(stream.queued_bytes(), 0u);
  stream.PauseReceiving();
  stream.ResumeReceiving();
  stream.ReceiveInto({});
  stream.ShutdownSend();
  stream.SetIdleTimeout(absl::Seconds(1));
  stream.SetLingerTimeout(absl::Seconds(1));
  stream.SetLimits({});
  stream.Close();
  stream.Abort(absl::OkStatus());
  EXPECT_NE(stream.peer_address().port(), 0);
  EXPECT_EQ(stream.local_address(), SocketAddress());
  Recorder late;
  stream.SetHandler(late);
}

TEST(LoopEndTest, AStreamWithoutAHandlerMayOutliveIt) {
  std::unique_ptr<EventLoop> loop = test::NewLoop();
  std::unique_ptr<Stream> accepted;
  {
    const std::unique_ptr<Listener> listener =
        *Listener::Listen(*loop, SocketAddress::Ipv4Loopback(0), {},
                          [&](std::unique_ptr<Stream> stream) { accepted = std::move(stream); });
    Connector connector(*loop);
    connector.Connect(listener->address(), {}, [](absl::StatusOr<std::unique_ptr<Stream>>) {});
    ASSERT_TRUE(Until(*loop, [&] { return accepted != nullptr; }));
  }
  loop = nullptr;
  Recorder late;
  accepted->SetHandler(late);
  EXPECT_FALSE(late.closed);
  accepted = nullptr;
}

TEST(LoopEndTest, OnCloseMayDestroyOtherStreams) {
  std::unique_ptr<EventLoop> loop = test::NewLoop();
  Pair pair(*loop);
  const auto destroy_both = [&](Stream&, const absl::Status&) {
    pair.client.stream = nullptr;
    pair.server.stream = nullptr;
  };
  pair.client.recorder.on_close = destroy_both;
  pair.server.recorder.on_close = destroy_both;
  loop = nullptr;
  EXPECT_NE(pair.client.recorder.closed, pair.server.recorder.closed);
}

TEST(LoopEndTest, StreamsInPostedFunctionsGoWithThem) {
  std::unique_ptr<EventLoop> loop = test::NewLoop();
  Pair pair(*loop);
  loop->Post([stream = std::move(pair.client.stream)] {});
  loop = nullptr;
  EXPECT_EQ(pair.client.recorder.Events(), "close");
}

TEST(LoopEndTest, WhatIsPostedWhileItEndsIsDestroyedToo) {
  struct PostsAtItsEnd {
    PostsAtItsEnd(EventLoop& l, std::shared_ptr<int> a) : loop(&l), alive(std::move(a)) {}
    PostsAtItsEnd(PostsAtItsEnd&& other) noexcept
        : loop(std::exchange(other.loop, nullptr)), alive(std::move(other.alive)) {}
    ~PostsAtItsEnd() {
      if (loop != nullptr) loop->Post([alive = alive] {});
    }
    EventLoop* loop;
    std::shared_ptr<int> alive;
  };
  std::unique_ptr<EventLoop> loop = test::NewLoop();
  auto alive = std::make_shared<int>(0);
  loop->Post([posts = PostsAtItsEnd(*loop, alive)] {});
  loop = nullptr;
  EXPECT_EQ(alive.use_count(), 1);
}

}  // namespace
}  // namespace sluice
