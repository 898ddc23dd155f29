// Who may go when: streams, handlers, listeners and connectors, in and out of callbacks; and what
// is told to whom at the end.
#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/core/tcp_testing.h"
#include "sluice/core/timer.h"

namespace sluice {
namespace {

using test::End;
using test::kBound;
using test::Pair;
using test::Pattern;
using test::Recorder;

using StreamOr = absl::StatusOr<std::unique_ptr<Stream>>;

class StreamLifetimeTest : public testing::Test {
 protected:
  bool Until(absl::FunctionRef<bool()> done) { return test::Until(*loop_, done); }

  std::unique_ptr<Listener> Listen(Listener::AcceptFunction on_accept,
                                   const Listener::Options& options = {}) {
    absl::StatusOr<std::unique_ptr<Listener>> listener =
        Listener::Listen(*loop_, SocketAddress::Ipv4Loopback(0), options, std::move(on_accept));
    EXPECT_TRUE(listener.ok()) << listener.status();
    return *std::move(listener);
  }

  // One that keeps what it accepts, and does nothing with it.
  std::unique_ptr<Listener> ListenQuietly() {
    return Listen([this](std::unique_ptr<Stream> stream) { kept_.push_back(std::move(stream)); });
  }

  // How many events the engine reports while nothing should happen.
  uint64_t EventsOfAQuietWhile() {
    const uint64_t before = loop_->counters().io_events;
    loop_->RunUntil([] { return false; }, absl::Milliseconds(10));
    return loop_->counters().io_events - before;
  }

  std::unique_ptr<EventLoop> loop_ = test::NewLoop();
  std::vector<std::unique_ptr<Stream>> kept_;
};

// The example of stream.h and tcp.h.
class Echo : public StreamHandler {
  void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override {
    if (stream.SendLent(bytes) == SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnSendReady(Stream& stream) override { stream.ResumeReceiving(); }
};

TEST_F(StreamLifetimeTest, HeaderExample) {
  Echo echo;  // has no state, so one serves all; it outlives the loop, and so all streams
  std::unique_ptr<EventLoop> loop = test::NewLoop();
  auto listener = Listener::Listen(
      *loop, *SocketAddress::Parse("127.0.0.1:0"), {},
      [&](std::unique_ptr<Stream> stream) { Stream::Run(std::move(stream), echo); });
  ASSERT_TRUE(listener.ok());
  Connector connector(*loop);
  End client;
  constexpr size_t kSize = 2'000'000;
  connector.Connect((*listener)->address(), {}, [&](StreamOr stream) {
    client.stream = *std::move(stream);
    client.stream->SetHandler(client.recorder);
    client.stream->Send(Pattern(0, kSize));
  });
  ASSERT_TRUE(test::Until(*loop, [&] { return client.recorder.received.size() == kSize; }));
  EXPECT_TRUE(client.recorder.received == Pattern(0, kSize));
}

// What a callback causes.

TEST_F(StreamLifetimeTest, AnEndCausedInsideOnCloseIsToldInTheNextTurnWhichDoesNotWait) {
  Pair first(*loop_), second(*loop_);
  uint64_t turn = 0;
  first.client.recorder.on_close = [&](Stream&, const absl::Status&) {
    turn = loop_->counters().turns;
    second.client.stream->Abort(absl::CancelledError("by the other"));
    EXPECT_FALSE(second.client.recorder.closed) << "inside Abort";
  };
  uint64_t told = 0;
  second.client.recorder.on_close = [&](Stream&, const absl::Status&) {
    told = loop_->counters().turns;
  };
  first.client.stream->Abort(absl::CancelledError("first"));
  EXPECT_FALSE(first.client.recorder.closed) << "inside Abort";
  ASSERT_TRUE(Until([&] { return second.client.recorder.closed; }));
  EXPECT_EQ(told, turn + 1);
}

TEST_F(StreamLifetimeTest, WhatOnSendReadyEndsIsClosedAtTheLatestInTheNextTurn) {
  Pair pair(*loop_);
  pair.server.stream->PauseReceiving();
  test::SendUntilBlocked(*pair.client.stream);
  uint64_t turn = 0;
  uint64_t told = 0;
  pair.client.recorder.on_send_ready = [&](Stream& stream) {
    turn = loop_->counters().turns;
    stream.Abort(absl::CancelledError("enough"));
    EXPECT_FALSE(pair.client.recorder.closed) << "inside Abort";
  };
  pair.client.recorder.on_close = [&](Stream&, const absl::Status&) {
    told = loop_->counters().turns;
  };
  pair.server.stream->ResumeReceiving();
  ASSERT_TRUE(Until([&] { return pair.client.recorder.closed; }));
  EXPECT_LE(told, turn + 1);
}

// RequestFlush.

TEST_F(StreamLifetimeTest, WhatOnFlushSendsLeavesInTheSameTurnWithWhatWasGathered) {
  Pair pair(*loop_);
  pair.client.recorder.on_flush = [](Stream& stream) { stream.Send("at its end"); };
  pair.client.stream->RequestFlush();
  pair.client.stream->RequestFlush();
  pair.client.stream->Send("in the turn, ");
  EXPECT_EQ(pair.client.recorder.Events(), "") << "inside RequestFlush";
  ASSERT_TRUE(Until([&] { return !pair.server.recorder.received.empty(); }));
  EXPECT_EQ(pair.server.recorder.received, "in the turn, at its end");
  EXPECT_EQ(pair.server.recorder.receives, 1);
  EXPECT_EQ(pair.client.recorder.Events(), "flush");
}

TEST_F(StreamLifetimeTest, AFlushAskedForInOnFlushIsAnsweredInTheNextTurn) {
  Pair pair(*loop_);
  std::vector<uint64_t> turns;
  pair.client.recorder.on_flush = [&](Stream& stream) {
    turns.push_back(loop_->counters().turns);
    if (turns.size() == 1) stream.RequestFlush();
  };
  pair.client.stream->RequestFlush();
  ASSERT_TRUE(Until([&] { return turns.size() == 2; }));
  EXPECT_EQ(turns[1], turns[0] + 1);
}

TEST_F(StreamLifetimeTest, OnFlushMayDestroyTheStream) {
  Pair pair(*loop_);
  pair.client.recorder.on_flush = [&](Stream&) { pair.client.stream.reset(); };
  pair.client.stream->RequestFlush();
  ASSERT_TRUE(Until([&] { return pair.server.recorder.closed; }));
  EXPECT_EQ(pair.client.recorder.Events(), "flush");
}

TEST_F(StreamLifetimeTest, OnFlushDoesNotComeAfterTheEnd) {
  Pair pair(*loop_);
  pair.client.stream->RequestFlush();
  pair.client.stream->Abort(absl::CancelledError("enough"));
  pair.client.stream->RequestFlush();
  ASSERT_TRUE(Until([&] { return pair.closed(); }));
  EXPECT_EQ(pair.client.recorder.Events(), "close");
}

// Stop.

TEST_F(StreamLifetimeTest, StopInAnyCallbackEndsRunWhichMayBeResumed) {
  Pair pair(*loop_);
  const auto stop = [&](Stream&) { loop_->Stop(); };
  pair.server.recorder.on_receive = [&](Stream& stream, absl::Span<uint8_t>) { stop(stream); };
  pair.server.recorder.on_receive_end = stop;
  pair.server.recorder.on_close = [&](Stream& stream, const absl::Status&) { stop(stream); };
  pair.client.stream->Send("x");
  loop_->Run();
  EXPECT_EQ(pair.server.recorder.Events(), "receive");
  pair.client.stream->ShutdownSend();
  loop_->Run();
  EXPECT_EQ(pair.server.recorder.Events(), "receive end");
  pair.server.stream->Close();
  loop_->Run();
  EXPECT_EQ(pair.server.recorder.Events(), "receive end close");
  Timer timer([&] { loop_->Stop(); });
  loop_->ArmTimer(timer, absl::Milliseconds(1));
  loop_->Run();
  loop_->Post([&] { loop_->Stop(); });
  loop_->Run();
}

// Listeners.

TEST_F(StreamLifetimeTest, AListenerMayGoInItsAcceptFunction) {
  for (const bool keep : {false, true}) {
    SCOPED_TRACE(keep);
    std::unique_ptr<Listener> listener;
    End accepted;
    auto captured = std::make_shared<int>(0);
    long users = 0;
    listener = Listen([&, captured](std::unique_ptr<Stream> stream) {
      listener = nullptr;
      users = captured.use_count();
      if (keep) accepted.stream = std::move(stream);
    });
    std::vector<std::unique_ptr<Connector>> connectors;
    for (int i = 0; i < 3; ++i) {
      connectors.push_back(std::make_unique<Connector>(*loop_));
      connectors.back()->Connect(listener->address(), {}, [](StreamOr) {});
    }
    ASSERT_TRUE(Until([&] { return users != 0; }));
    EXPECT_EQ(users, 2) << "what the function has captured lives while it runs";
    EXPECT_EQ(captured.use_count(), 1) << "and no longer";
    if (!keep) continue;
    accepted.stream->SetHandler(accepted.recorder);
    ASSERT_TRUE(Until([&] { return accepted.recorder.closed; })) << "what was accepted lives on";
  }
}

TEST_F(StreamLifetimeTest, AStreamOutlivesItsListener) {
  Pair pair(*loop_);  // which has closed its listener
  pair.client.stream->Send("hello");
  ASSERT_TRUE(Until([&] { return pair.server.recorder.received == "hello"; }));
  pair.server.stream->SetLimits({.high = 10, .low = 5, .hard = 20});
  EXPECT_EQ(pair.server.stream->Send("x"), SendResult::kSent);
}

TEST_F(StreamLifetimeTest, AListenerNeverHasMoreConnectionsThanItsLimit) {
  Listener::Options options;
  options.max_connections = 3;
  std::vector<std::unique_ptr<Stream>> streams;
  Listener* counting = nullptr;
  int most = 0;
  const std::unique_ptr<Listener> listener = Listen(
      [&](std::unique_ptr<Stream> stream) {
        streams.push_back(std::move(stream));
        most = std::max(most, counting->connections());
      },
      options);
  counting = listener.get();
  std::vector<std::unique_ptr<Connector>> connectors;
  for (int i = 0; i < 20; ++i) {
    connectors.push_back(std::make_unique<Connector>(*loop_));
    connectors.back()->Connect(listener->address(), {}, [](StreamOr) {});
  }
  for (size_t wanted = 3; wanted <= 20; ++wanted) {
    ASSERT_TRUE(Until([&] { return listener->counters().accepted >= wanted; }));
    streams.erase(streams.begin());  // lets one more in
  }
  EXPECT_EQ(most, 3);
}

TEST_F(StreamLifetimeTest, AnAcceptFunctionMayRefuseByDroppingTheStream) {
  const std::unique_ptr<Listener> listener = Listen([](std::unique_ptr<Stream>) {});
  Connector connector(*loop_);
  End client;
  absl::Status status;
  connector.Connect(listener->address(), {}, [&](StreamOr stream) {
    status = stream.status();
    if (!stream.ok()) return;
    client.stream = *std::move(stream);
    client.stream->SetHandler(client.recorder);
  });
  // The reset may come before the connect's success has been seen.
  ASSERT_TRUE(Until([&] { return client.recorder.closed || !status.ok(); }));
  if (client.recorder.closed) status = client.recorder.close_status;
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_EQ(listener->counters().accepted, 1u);
  EXPECT_EQ(listener->connections(), 0);
}

TEST_F(StreamLifetimeTest, BothEndsKnowEachOther) {
  std::unique_ptr<Stream> accepted;
  const std::unique_ptr<Listener> listener =
      Listen([&](std::unique_ptr<Stream> stream) { accepted = std::move(stream); });
  std::unique_ptr<Stream> connected;
  Connector connector(*loop_);
  connector.Connect(listener->address(), {},
                    [&](StreamOr stream) { connected = *std::move(stream); });
  ASSERT_TRUE(Until([&] { return accepted != nullptr && connected != nullptr; }));
  EXPECT_EQ(accepted->local_address(), listener->address());
  EXPECT_EQ(connected->peer_address(), listener->address());
  EXPECT_EQ(accepted->peer_address(), connected->local_address());
  const SocketAddress peer = accepted->peer_address();
  Recorder recorder;
  accepted->SetHandler(recorder);
  accepted->Abort(absl::AbortedError("x"));
  EXPECT_EQ(accepted->peer_address(), peer) << "also at the end, for a log";
}

// Connectors.

TEST_F(StreamLifetimeTest, AConnectorMayGoInItsFunctionWhateverTheOutcome) {
  std::unique_ptr<Listener> listener = ListenQuietly();
  const SocketAddress open = listener->address();
  std::unique_ptr<Listener> other = ListenQuietly();
  const SocketAddress closed = other->address();
  other = nullptr;
  const test::SilentListener silent;
  const struct {
    SocketAddress address;
    absl::StatusCode outcome;
  } kCases[] = {{open, absl::StatusCode::kOk},
                {closed, absl::StatusCode::kUnavailable},
                {silent.address(), absl::StatusCode::kDeadlineExceeded},
                {SocketAddress(), absl::StatusCode::kInvalidArgument}};
  for (const auto& each : kCases) {
    SCOPED_TRACE(each.address.ToString());
    auto connector = std::make_unique<Connector>(*loop_);
    auto captured = std::make_shared<int>(0);
    long users = 0;
    absl::Status status;
    Connector::Options options;
    options.timeout = absl::Milliseconds(20);
    connector->Connect(each.address, options, [&, captured](StreamOr stream) {
      connector = nullptr;
      users = captured.use_count();
      status = stream.status();
    });
    ASSERT_TRUE(Until([&] { return users != 0; }));
    EXPECT_EQ(users, 2);
    EXPECT_EQ(captured.use_count(), 1);
    EXPECT_EQ(status.code(), each.outcome) << status;
  }
}

TEST_F(StreamLifetimeTest, AConnectorMayTryAgainInItsFunction) {
  std::unique_ptr<Listener> listener = ListenQuietly();
  const SocketAddress address = listener->address();
  listener = nullptr;
  Connector connector(*loop_);
  int tries = 0;
  bool connected = false;
  std::function<void()> connect = [&] {
    ++tries;
    connector.Connect(address, {}, [&](StreamOr stream) {
      connected = stream.ok();
      if (connected) return;
      if (tries == 3) {
        listener = *Listener::Listen(*loop_, address, {}, [&](std::unique_ptr<Stream> accepted) {
          kept_.push_back(std::move(accepted));
        });
      }
      connect();
    });
  };
  connect();
  ASSERT_TRUE(Until([&] { return connected; }));
  EXPECT_EQ(tries, 4);
}

TEST_F(StreamLifetimeTest, ANewConnectGivesUpTheOneUnderWay) {
  const test::SilentListener silent;
  const std::unique_ptr<Listener> listener = ListenQuietly();
  Connector connector(*loop_);
  connector.Connect(silent.address(), {}, [](StreamOr) { FAIL(); });
  bool connected = false;
  connector.Connect(listener->address(), {}, [&](StreamOr stream) { connected = stream.ok(); });
  ASSERT_TRUE(Until([&] { return connected; }));
}

TEST_F(StreamLifetimeTest, AConnectorThatGoesIsNotCalled) {
  const test::SilentListener silent;
  const std::unique_ptr<Listener> listener = ListenQuietly();
  for (const SocketAddress& address : {silent.address(), listener->address(), SocketAddress()}) {
    for (const bool cancel : {false, true}) {
      Connector connector(*loop_);
      connector.Connect(address, {}, [](StreamOr) { FAIL(); });
      if (cancel) connector.Cancel();
      connector.Cancel();
    }
  }
  EXPECT_EQ(loop_->counters().streams, 0u);
  EventsOfAQuietWhile();
}

// Handlers.

TEST_F(StreamLifetimeTest, ANewHandlerGetsWhatFollowsAlsoFromInsideACallback) {
  Pair pair(*loop_);
  Recorder second;
  Recorder third;
  second.on_receive_end = [&](Stream& stream) { stream.SetHandler(third); };
  pair.server.recorder.on_receive = [&](Stream& stream, absl::Span<uint8_t>) {
    stream.SetHandler(second);
    stream.Send("answer");  // leaves, whoever is the handler now
  };
  pair.client.stream->Send("one");
  ASSERT_TRUE(Until([&] { return pair.client.recorder.received == "answer"; }));
  pair.client.stream->Send("two");
  ASSERT_TRUE(Until([&] { return second.received == "two"; }));
  pair.client.stream->ShutdownSend();
  ASSERT_TRUE(Until([&] { return second.Events() == "receive end"; }));
  pair.server.stream->Abort(absl::AbortedError("x"));
  ASSERT_TRUE(Until([&] { return third.closed; }));
  EXPECT_EQ(pair.server.recorder.Events(), "receive");
  EXPECT_EQ(second.Events(), "receive end");
  EXPECT_EQ(third.Events(), "close");
}

TEST_F(StreamLifetimeTest, AfterClearHandlerNothingComesUntilThereIsAHandlerAgain) {
  Pair pair(*loop_);
  Recorder second;
  // Takes three bytes, and hands on what follows.
  uint8_t storage[3];
  pair.server.stream->ReceiveInto(absl::MakeSpan(storage));
  pair.server.recorder.on_receive = [&](Stream& stream, absl::Span<uint8_t>) {
    if (pair.server.recorder.received.size() == 3) stream.ClearHandler();
  };
  pair.client.stream->Send("onetwo");
  pair.client.stream->ShutdownSend();
  ASSERT_TRUE(Until([&] { return pair.server.recorder.received.size() == 3; }));
  EXPECT_EQ(EventsOfAQuietWhile(), 0u);
  EXPECT_EQ(pair.server.recorder.received, "one");
  pair.server.stream->SetHandler(second);
  ASSERT_TRUE(Until([&] { return second.Events() == "receive end close"; }));
  EXPECT_EQ(second.received, "two");
  EXPECT_EQ(pair.server.recorder.Events(), "receive");
}

TEST_F(StreamLifetimeTest, TheEndOfAStreamWhoseHandlerWasClearedIsToldToTheNextOne) {
  Pair pair(*loop_);
  Recorder second;
  pair.server.stream->ClearHandler();
  pair.server.stream->Abort(absl::AbortedError("x"));
  EXPECT_LE(EventsOfAQuietWhile(), 1u);  // the peer's
  pair.server.stream->SetHandler(second);
  ASSERT_TRUE(Until([&] { return second.closed; }));
  EXPECT_EQ(second.close_status, absl::AbortedError("x"));
  EXPECT_EQ(pair.server.recorder.Events(), "");
}

TEST_F(StreamLifetimeTest, InOnCloseAStreamKnowsWhatItHasNotSent) {
  Pair pair(*loop_);
  pair.server.stream->PauseReceiving();
  test::SendUntilBlocked(*pair.client.stream);
  loop_->RunOnce(absl::ZeroDuration());
  const size_t queued = pair.client.stream->queued_bytes();
  ASSERT_GT(queued, 0u);
  size_t unsent = 0;
  pair.client.recorder.on_close = [&](Stream& stream, const absl::Status&) {
    unsent = stream.queued_bytes();
  };
  pair.client.stream->Abort(absl::AbortedError("x"));
  ASSERT_TRUE(Until([&] { return pair.client.recorder.closed; }));
  EXPECT_EQ(unsent, queued);
}

// What a handler that was given away has destroyed, and in which order.
struct Given : Recorder {
  explicit Given(std::string& l) : log(l) {}
  ~Given() override { log += closed ? "destroyed" : "destroyed before OnClose"; }
  std::string& log;
};

TEST_F(StreamLifetimeTest, AStreamGivenAwayInItsOwnCallbackLivesUntilItsEnd) {
  Pair pair(*loop_);
  std::string log;
  pair.server.recorder.on_receive = [&](Stream&, absl::Span<uint8_t> bytes) {
    auto given = std::make_unique<Given>(log);
    given->on_receive = [](Stream& stream, absl::Span<uint8_t> more) { stream.SendLent(more); };
    pair.server.stream->SendLent(bytes);
    Stream::Run(std::move(pair.server.stream), std::move(given));
  };
  pair.client.stream->Send("one");
  ASSERT_TRUE(Until([&] { return pair.client.recorder.received == "one"; }));
  pair.client.stream->Send("two");
  ASSERT_TRUE(Until([&] { return pair.client.recorder.received == "onetwo"; }));
  EXPECT_EQ(log, "");
  pair.client.stream->Close();
  ASSERT_TRUE(Until([&] { return !log.empty(); }));
  EXPECT_EQ(log, "destroyed");
}

TEST_F(StreamLifetimeTest, AStreamMayBeGivenAwayAfterItsEndBegan) {
  Pair pair(*loop_);
  pair.server.stream->Abort(absl::AbortedError("x"));
  std::string log;
  Stream::Run(std::move(pair.server.stream), std::make_unique<Given>(log));
  ASSERT_TRUE(Until([&] { return !log.empty(); }));
  EXPECT_EQ(log, "destroyed");
}

TEST_F(StreamLifetimeTest, ABorrowedHandlerServesManyAndStays) {
  struct Counting : Echo {
    void OnClose(Stream&, const absl::Status&) override { ++closed; }
    int closed = 0;
  } handler;
  {
    std::vector<std::unique_ptr<Pair>> pairs;
    for (int i = 0; i < 10; ++i) {
      pairs.push_back(std::make_unique<Pair>(*loop_));
      Stream::Run(std::move(pairs.back()->server.stream), handler);
      pairs.back()->client.stream->Send("x");
    }
    ASSERT_TRUE(Until([&] {
      return std::all_of(pairs.begin(), pairs.end(), [](const std::unique_ptr<Pair>& pair) {
        return pair->client.recorder.received == "x";
      });
    }));
  }
  ASSERT_TRUE(Until([&] { return handler.closed == 10; }));
  EXPECT_EQ(loop_->counters().streams, 0u);
}

TEST_F(StreamLifetimeTest, AHandlerMayDestroyItselfAndItsStreamInOnClose) {
  struct Session : StreamHandler {
    Session(std::unique_ptr<Stream> s, bool* f) : stream(std::move(s)), flag(f) {
      stream->SetHandler(*this);
    }
    ~Session() override { *flag = true; }
    void OnReceive(Stream&, absl::Span<uint8_t>) override {}
    void OnClose(Stream&, const absl::Status&) override { delete this; }
    std::unique_ptr<Stream> stream;
    bool* flag;
  };
  Pair pair(*loop_);
  bool destroyed = false;
  new Session(std::move(pair.server.stream), &destroyed);
  pair.client.stream->Close();
  ASSERT_TRUE(Until([&] { return destroyed; }));
}

// The other connection has an event in the same turn, and goes in the first one's callback.
TEST_F(StreamLifetimeTest, ACallbackMayDestroyAnotherStreamThatHasAnEventToo) {
  for (const std::string where : {"receive", "end", "ready", "close"}) {
    SCOPED_TRACE(where);
    Pair a(*loop_);
    Pair b(*loop_);
    int calls = 0;
    for (auto [mine, others] : {std::pair(&a, &b), std::pair(&b, &a)}) {
      const auto destroy = [&calls, mine = mine, others = others](Stream&) {
        ++calls;
        others->server.stream = nullptr;
        if (calls % 2 == 0) mine->server.stream = nullptr;
      };
      Recorder& recorder = mine->server.recorder;
      if (where == "receive") {
        recorder.on_receive = [=](Stream& stream, absl::Span<uint8_t>) { destroy(stream); };
        mine->client.stream->Send("x");
      } else if (where == "end") {
        recorder.on_receive_end = destroy;
        mine->client.stream->ShutdownSend();
      } else if (where == "ready") {
        recorder.on_send_ready = destroy;
        mine->server.stream->SetLimits({.high = 1, .low = 0, .hard = 100'000'000});
        EXPECT_EQ(test::SendUntilBlocked(*mine->server.stream, 1'000'000) % 1'000'000, 0u);
      } else {
        recorder.on_close = [=](Stream& stream, const absl::Status&) { destroy(stream); };
        mine->server.stream->Abort(absl::AbortedError("x"));
      }
    }
    ASSERT_TRUE(Until([&] { return calls > 0; }));
    EventsOfAQuietWhile();
    EXPECT_EQ(calls, 1);
  }
}

// Pauses.

TEST_F(StreamLifetimeTest, APauseInACallbackHoldsBackWhatFollowsEvenTheEnd) {
  Pair pair(*loop_);
  pair.server.recorder.on_receive = [](Stream& stream, absl::Span<uint8_t>) {
    stream.PauseReceiving();
  };
  pair.client.stream->Send("one");
  ASSERT_TRUE(Until([&] { return pair.server.recorder.received == "one"; }));
  EXPECT_TRUE(pair.server.stream->receiving_paused());
  pair.client.stream->Send("two");
  pair.client.stream->Close();
  EXPECT_LE(EventsOfAQuietWhile(), 4u);
  EXPECT_EQ(EventsOfAQuietWhile(), 0u) << "nothing spins";
  EXPECT_EQ(pair.server.recorder.Events(), "receive");
  pair.server.stream->ResumeReceiving();
  ASSERT_TRUE(Until([&] { return pair.server.recorder.received == "onetwo"; }));
  EXPECT_TRUE(pair.server.stream->receiving_paused());
  EXPECT_EQ(EventsOfAQuietWhile(), 0u);
  EXPECT_EQ(pair.server.recorder.Events(), "receive");
  pair.server.stream->ResumeReceiving();
  ASSERT_TRUE(Until([&] { return pair.closed(); }));
  EXPECT_EQ(pair.server.recorder.Events(), "receive end close");
}

TEST_F(StreamLifetimeTest, APausedStreamWhoseBothHalvesHaveEndedDoesNotSpin) {
  Pair pair(*loop_);
  pair.server.stream->PauseReceiving();
  pair.server.stream->ShutdownSend();
  pair.client.recorder.on_receive_end = [](Stream& stream) {
    stream.Send("last words");
    stream.ShutdownSend();
  };
  ASSERT_TRUE(Until([&] { return pair.client.recorder.closed; }));
  EventsOfAQuietWhile();
  EXPECT_EQ(EventsOfAQuietWhile(), 0u);
  EXPECT_EQ(pair.server.recorder.Events(), "");
  pair.server.stream->ResumeReceiving();
  ASSERT_TRUE(Until([&] { return pair.server.recorder.closed; }));
  EXPECT_EQ(pair.server.recorder.Events(), "receive end close");
  EXPECT_TRUE(pair.server.recorder.close_status.ok()) << pair.server.recorder.close_status;
}

TEST_F(StreamLifetimeTest, AResetWhilePausedIsToldOnceAndDoesNotSpin) {
  Pair pair(*loop_);
  pair.server.recorder.on_receive = [](Stream& stream, absl::Span<uint8_t>) {
    stream.PauseReceiving();
  };
  pair.client.stream->Send("one");
  ASSERT_TRUE(Until([&] { return pair.server.recorder.received == "one"; }));
  pair.client.stream->Send("two");
  ASSERT_TRUE(Until([&] { return pair.client.stream->queued_bytes() == 0; }));
  pair.client.stream->Abort(absl::AbortedError("x"));
  EventsOfAQuietWhile();
  EXPECT_EQ(EventsOfAQuietWhile(), 0u);
  pair.server.stream->ResumeReceiving();
  ASSERT_TRUE(Until([&] { return pair.server.recorder.closed; }));
  EXPECT_EQ(pair.server.recorder.close_status.code(), absl::StatusCode::kUnavailable);
}

TEST_F(StreamLifetimeTest, APausedStreamMayBeClosed) {
  Pair pair(*loop_);
  pair.server.stream->PauseReceiving();
  pair.client.stream->Send(Pattern(0, 3'000'000));  // nobody will read it
  pair.server.stream->Send("goodbye");
  pair.server.stream->Close();
  ASSERT_TRUE(Until([&] { return pair.closed(); }));
  EXPECT_EQ(pair.server.recorder.Events(), "close");
  EXPECT_TRUE(pair.server.recorder.close_status.ok()) << pair.server.recorder.close_status;
  EXPECT_EQ(pair.client.recorder.received, "goodbye");
  EXPECT_TRUE(pair.client.recorder.close_status.ok()) << pair.client.recorder.close_status;
}

TEST_F(StreamLifetimeTest, ResumedInTheSameCallbackNothingIsLost) {
  Pair pair(*loop_);
  pair.server.recorder.on_receive = [](Stream& stream, absl::Span<uint8_t>) {
    stream.PauseReceiving();
    stream.PauseReceiving();
    stream.ResumeReceiving();
  };
  pair.client.stream->Send(Pattern(0, 1'000'000));
  ASSERT_TRUE(Until([&] { return pair.server.recorder.received.size() == 1'000'000; }));
  EXPECT_TRUE(pair.server.recorder.received == Pattern(0, 1'000'000));
}

// Ends.

// The system resets a connection that is closed with unread bytes, and a reset overtakes what was
// sent. So a stream that is closed goes on reading.
TEST_F(StreamLifetimeTest, AnAnswerIsNotLostBecauseTheRequestWasNotReadToItsEnd) {
  Pair pair(*loop_);
  constexpr size_t kAnswer = 3'000'000;
  pair.server.recorder.on_receive = [](Stream& stream, absl::Span<uint8_t>) {
    stream.Send(Pattern(0, kAnswer));
    stream.Close();
  };
  pair.client.stream->Send(Pattern(0, 10'000'000));
  ASSERT_TRUE(Until([&] { return pair.closed(); }));
  EXPECT_TRUE(pair.client.recorder.received == Pattern(0, kAnswer));
  EXPECT_EQ(pair.server.recorder.receives, 1) << "nothing is delivered after Close";
  EXPECT_TRUE(pair.server.recorder.close_status.ok()) << pair.server.recorder.close_status;
}

TEST_F(StreamLifetimeTest, OnCloseComesOnceHoweverOftenAStreamIsEnded) {
  using Step = std::function<void(Stream&)>;
  const Step close = [](Stream& stream) { stream.Close(); };
  const Step abort = [](Stream& stream) { stream.Abort(absl::AbortedError("x")); };
  const Step shut = [](Stream& stream) { stream.ShutdownSend(); };
  const std::vector<Step> steps[] = {{close, close}, {close, abort}, {abort, close}, {abort, abort},
                                     {shut, close},  {shut, abort},  {close, shut},  {shut, shut}};
  for (const std::vector<Step>& each : steps) {
    for (const bool in_callback : {false, true}) {
      Pair pair(*loop_);
      pair.server.recorder.on_close = [&](Stream& stream, const absl::Status&) {
        for (const Step& step : each) step(stream);
        EXPECT_EQ(stream.Send("x"), SendResult::kRefused);
        stream.ResumeReceiving();
        stream.SetIdleTimeout(absl::Milliseconds(1));
      };
      const auto run = [&](Stream& stream) {
        for (const Step& step : each) step(stream);
      };
      if (in_callback) {
        pair.server.recorder.on_receive = [&](Stream& stream, absl::Span<uint8_t>) { run(stream); };
        pair.client.stream->Send("x");
      } else {
        run(*pair.server.stream);
      }
      ASSERT_TRUE(Until([&] { return pair.closed(); }));
      EventsOfAQuietWhile();
      EXPECT_EQ(pair.server.recorder.events.back(), "close");
    }
  }
}

TEST_F(StreamLifetimeTest, ADestroyedStreamResetsItsPeer) {
  Pair pair(*loop_);
  pair.server.stream = nullptr;
  ASSERT_TRUE(Until([&] { return pair.client.recorder.closed; }));
  EXPECT_EQ(pair.client.recorder.close_status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(pair.client.recorder.Events(), "close");
  EXPECT_EQ(pair.server.recorder.Events(), "");
}

TEST_F(StreamLifetimeTest, AHalfClosedStreamSendsItsQueueBeforeTheEnd) {
  Pair pair(*loop_);
  pair.server.stream->PauseReceiving();
  const size_t sent = test::SendUntilBlocked(*pair.client.stream);
  pair.client.stream->ShutdownSend();
  pair.server.recorder.on_receive_end = [](Stream& stream) {
    stream.Send("answer");
    stream.Close();
  };
  pair.server.stream->ResumeReceiving();
  ASSERT_TRUE(Until([&] { return pair.closed(); }));
  EXPECT_TRUE(pair.server.recorder.received == Pattern(0, sent));
  EXPECT_EQ(pair.client.recorder.received, "answer");
}

TEST_F(StreamLifetimeTest, APeersEndNeedNotEndAStream) {
  Pair pair(*loop_);
  pair.server.recorder.on_receive_end = [](Stream&) {};
  pair.client.stream->ShutdownSend();
  ASSERT_TRUE(Until([&] { return pair.server.recorder.Events() == "end"; }));
  EXPECT_EQ(EventsOfAQuietWhile(), 0u);
  for (int i = 0; i < 3; ++i) {
    pair.server.stream->Send("more");
    ASSERT_TRUE(Until([&] { return pair.client.recorder.receives > i; }));
  }
  pair.server.stream->Close();
  ASSERT_TRUE(Until([&] { return pair.closed(); }));
  EXPECT_EQ(pair.client.recorder.received, "moremoremore");
  EXPECT_EQ(pair.server.recorder.Events(), "end close");
}

// Storage of the handler's own.

TEST_F(StreamLifetimeTest, StorageIsFilledPieceByPieceAndMayBeChangedOnTheWay) {
  Pair pair(*loop_);
  // A length of 4 bytes, and then so many bytes of payload, into storage of their own.
  std::vector<std::vector<uint8_t>> messages;
  std::string header;
  size_t missing = 0;
  pair.server.recorder.on_receive = [&](Stream& stream, absl::Span<uint8_t> bytes) {
    while (!bytes.empty()) {
      if (missing == 0) {
        header.push_back(static_cast<char>(bytes[0]));
        bytes.remove_prefix(1);
        if (header.size() < 4) continue;
        missing = std::stoul(header);
        header.clear();
        messages.emplace_back();
        messages.back().reserve(missing);
        messages.back().resize(missing);
        const size_t here = std::min(missing, bytes.size());
        std::copy_n(bytes.begin(), here, messages.back().begin());
        bytes.remove_prefix(here);
        missing -= here;
        if (missing > 0) stream.ReceiveInto(absl::MakeSpan(messages.back()).subspan(here));
      } else {
        const size_t at = messages.back().size() - missing;
        EXPECT_EQ(bytes.data(), messages.back().data() + at);
        EXPECT_LE(bytes.size(), missing);
        missing -= bytes.size();
        bytes = {};
      }
    }
  };
  std::string wire;
  std::vector<std::string> expected;
  for (size_t i = 0; i < 200; ++i) {
    const size_t size = 1 + i * 7919 % 9'999;
    expected.push_back(Pattern(wire.size(), size));
    absl::StrAppend(&wire, std::string(4 - absl::StrCat(size).size(), '0'), size, expected.back());
  }
  // In pieces that end anywhere.
  for (size_t at = 0, piece = 1; at < wire.size(); at += piece, piece = piece * 3 % 40'009 + 1) {
    piece = std::min(piece, wire.size() - at);
    pair.client.stream->Send(absl::string_view(wire).substr(at, piece));
    loop_->RunOnce(absl::ZeroDuration());
  }
  ASSERT_TRUE(Until([&] { return pair.server.recorder.received.size() == wire.size(); }));
  EXPECT_EQ(missing, 0u);
  ASSERT_EQ(messages.size(), expected.size());
  for (size_t i = 0; i < messages.size(); ++i) {
    EXPECT_TRUE(std::string(messages[i].begin(), messages[i].end()) == expected[i]) << i;
  }
}

TEST_F(StreamLifetimeTest, StorageThatIsGivenUpIsNotWrittenTo) {
  for (const std::string how : {"cancel", "close", "abort"}) {
    SCOPED_TRACE(how);
    Pair pair(*loop_);
    auto storage = std::make_unique<std::vector<uint8_t>>(1'000);
    pair.server.stream->ReceiveInto(absl::MakeSpan(*storage));
    pair.client.stream->Send("x");
    ASSERT_TRUE(Until([&] { return pair.server.recorder.received == "x"; }));
    if (how == "cancel") pair.server.stream->ReceiveInto({});
    if (how == "close") pair.server.stream->Close();
    if (how == "abort") pair.server.stream->Abort(absl::AbortedError("x"));
    EXPECT_EQ((*storage)[0], 'x');
    storage = nullptr;  // a write would be seen by asan
    pair.client.stream->Send(Pattern(0, 500));
    if (how == "cancel") {
      ASSERT_TRUE(Until([&] { return pair.server.recorder.received.size() == 501; }));
    } else {
      ASSERT_TRUE(Until([&] { return pair.closed(); }));
    }
  }
}

}  // namespace
}  // namespace sluice
