#include "sluice/core/stream_testing.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/buffer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/slice.h"
#include "sluice/core/stream.h"
#include "sluice/core/timer.h"

// The example of stream.h, which stream_testing.h uses.
class Echo : public sluice::StreamHandler {
  void OnReceive(sluice::Stream& stream, absl::Span<uint8_t> bytes) override {
    if (stream.SendLent(bytes) == sluice::SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnSendReady(sluice::Stream& stream) override { stream.ResumeReceiving(); }
};

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

absl::Span<const uint8_t> AsSpan(absl::string_view text) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

std::string AsString(absl::Span<const uint8_t> bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

// Writes down what happens, and does what the test says in each callback.
class Script : public StreamHandler {
 public:
  std::function<void(Stream&, absl::Span<uint8_t>)> on_receive = [](Stream&, absl::Span<uint8_t>) {
  };
  std::function<void(Stream&)> on_receive_end = [](Stream&) {};
  std::function<void(Stream&)> on_send_ready = [](Stream&) {};
  std::function<void(Stream&)> on_flush = [](Stream&) {};
  std::function<void(Stream&)> on_close = [](Stream&) {};
  std::vector<std::string> events;

 private:
  void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override {
    events.push_back(AsString(bytes));
    on_receive(stream, bytes);
  }
  void OnReceiveEnd(Stream& stream) override {
    events.push_back("<end>");
    on_receive_end(stream);
  }
  void OnSendReady(Stream& stream) override {
    events.push_back("<ready>");
    on_send_ready(stream);
  }
  void OnFlush(Stream& stream) override {
    events.push_back("<flush>");
    on_flush(stream);
  }
  void OnClose(Stream& stream, const absl::Status& status) override {
    events.push_back("<close " + absl::StatusCodeToString(status.code()) + ">");
    on_close(stream);
  }
};

class StreamPairTest : public testing::Test {
 protected:
  void Start() {
    client_ = pair_.TakeClient();
    server_ = pair_.TakeServer();
    client_->SetHandler(client_script_);
    server_->SetHandler(server_script_);
  }
  void Run() { loop_.RunUntilIdle(); }

  VirtualLoop loop_;
  StreamPair pair_{loop_.loop()};
  Script client_script_;
  Script server_script_;
  std::unique_ptr<Stream> client_;
  std::unique_ptr<Stream> server_;
};

TEST(StreamTestingTest, HeaderExample) {
  Echo echo;
  sluice::VirtualLoop loop;
  sluice::StreamPair pair(loop.loop());
  pair.to_server().set_max_chunk(1);
  sluice::Stream::Run(pair.TakeServer(), echo);
  sluice::StreamRecorder client(pair.TakeClient());
  client.stream().Send("hello");
  loop.RunUntilIdle();
  EXPECT_EQ(client.received(), "hello");
  EXPECT_EQ(pair.to_server().chunks_arrived(), 5u);
  EXPECT_EQ(pair.to_client().bytes_arrived(), 5u);
}

TEST_F(StreamPairTest, NothingArrivesInsideACall) {
  Start();
  EXPECT_EQ(client_->Send("a"), SendResult::kSent);
  EXPECT_THAT(server_script_.events, IsEmpty());
  Run();
  EXPECT_THAT(server_script_.events, ElementsAre("a"));
}

TEST_F(StreamPairTest, WhatIsSentTogetherArrivesTogetherInOrder) {
  Start();
  client_->Send("one ");
  client_->Send(Slice::Copy("two "));
  Buffer buffer;
  buffer.Append("three ");
  client_->Send(std::move(buffer));
  client_->SendControl(AsSpan("four"));
  EXPECT_EQ(client_->queued_bytes(), 18u);
  Run();
  EXPECT_EQ(client_->queued_bytes(), 0u);
  EXPECT_THAT(server_script_.events, ElementsAre("one two three four"));
}

TEST_F(StreamPairTest, NothingIsDeliveredBeforeThereIsAHandler) {
  client_ = pair_.TakeClient();
  client_->SetHandler(client_script_);
  client_->Send("early");
  Run();
  EXPECT_EQ(pair_.to_server().bytes_under_way(), 5u);
  server_ = pair_.TakeServer();
  server_->SetHandler(server_script_);
  Run();
  EXPECT_THAT(server_script_.events, ElementsAre("early"));
}

TEST_F(StreamPairTest, BytesComeInChunksOfAtMostTheGivenSize) {
  Start();
  pair_.to_server().set_max_chunk(3);
  client_->Send("abcdefgh");
  Run();
  EXPECT_THAT(server_script_.events, ElementsAre("abc", "def", "gh"));
}

TEST_F(StreamPairTest, AHeldWireDeliversNothingUntilItIsReleased) {
  Start();
  pair_.to_server().Hold();
  client_->Send("abc");
  client_->ShutdownSend();
  Run();
  EXPECT_THAT(server_script_.events, IsEmpty());
  pair_.to_server().Release();
  Run();
  EXPECT_THAT(server_script_.events, ElementsAre("abc", "<end>"));
}

TEST_F(StreamPairTest, APausedStreamReceivesNeitherBytesNorTheEnd) {
  Start();
  server_->PauseReceiving();
  EXPECT_TRUE(server_->receiving_paused());
  client_->Send("abc");
  client_->ShutdownSend();
  Run();
  EXPECT_THAT(server_script_.events, IsEmpty());
  server_->ResumeReceiving();
  EXPECT_THAT(server_script_.events, IsEmpty());
  Run();
  EXPECT_THAT(server_script_.events, ElementsAre("abc", "<end>"));
}

TEST_F(StreamPairTest, APauseInsideACallbackHoldsTheNextChunk) {
  Start();
  pair_.to_server().set_max_chunk(1);
  server_script_.on_receive = [](Stream& stream, absl::Span<uint8_t>) { stream.PauseReceiving(); };
  client_->Send("ab");
  Run();
  EXPECT_THAT(server_script_.events, ElementsAre("a"));
  server_->ResumeReceiving();
  Run();
  EXPECT_THAT(server_script_.events, ElementsAre("a", "b"));
}

// Sending.

TEST_F(StreamPairTest, AQueueAboveItsHighMarkIsToldOfAtItsLowMark) {
  Start();
  client_->SetLimits({/*high=*/10, /*low=*/4, /*hard=*/100});
  pair_.to_server().set_capacity(0);
  EXPECT_EQ(client_->Send("1234567890"), SendResult::kSent);
  EXPECT_EQ(client_->Send("1"), SendResult::kBlocked);
  Run();
  EXPECT_EQ(client_->queued_bytes(), 11u);
  EXPECT_THAT(client_script_.events, IsEmpty());
  server_->PauseReceiving();
  pair_.to_server().set_capacity(6);
  Run();
  EXPECT_EQ(client_->queued_bytes(), 5u);
  EXPECT_THAT(client_script_.events, IsEmpty());
  pair_.to_server().set_capacity(7);
  Run();
  EXPECT_THAT(client_script_.events, ElementsAre("<ready>"));
  server_->ResumeReceiving();
  Run();
  EXPECT_THAT(client_script_.events, ElementsAre("<ready>"));
  EXPECT_THAT(server_script_.events, ElementsAre("1234567", "8901"));
}

TEST_F(StreamPairTest, AQueuePastItsHardLimitEndsTheStream) {
  Start();
  client_->SetLimits({/*high=*/5, /*low=*/4, /*hard=*/10});
  pair_.to_server().set_capacity(0);
  EXPECT_EQ(client_->Send("more than the limit is fine for an empty queue"), SendResult::kBlocked);
  EXPECT_EQ(client_->Send("x"), SendResult::kRefused);
  EXPECT_TRUE(client_->closing());
  Run();
  EXPECT_THAT(client_script_.events, ElementsAre("<close RESOURCE_EXHAUSTED>"));
  EXPECT_THAT(server_script_.events, ElementsAre("<close UNAVAILABLE>"));
}

TEST_F(StreamPairTest, ControlMessagesHaveAReserve) {
  Start();
  client_->SetLimits({/*high=*/5, /*low=*/4, /*hard=*/10});
  pair_.to_server().set_capacity(0);
  client_->Send("1234567890");
  const std::string control(256, 'c');
  for (size_t i = 0; i < Stream::kControlReserve / 256; ++i) {
    EXPECT_EQ(client_->SendControl(AsSpan(control)), SendResult::kBlocked);
  }
  EXPECT_EQ(client_->SendControl(AsSpan("c")), SendResult::kRefused);
  EXPECT_FALSE(client_->closing());
}

TEST_F(StreamPairTest, LentBytesAreSentInTheirPlace) {
  Start();
  server_script_.on_receive = [](Stream& stream, absl::Span<uint8_t> bytes) {
    stream.Send("<");
    bytes[0] = 'H';
    stream.SendLent(bytes.first(2));
    stream.Send("|");
    stream.SendLent(bytes.subspan(2));
    stream.Send(">");
  };
  client_->Send("hello");
  Run();
  EXPECT_THAT(client_script_.events, ElementsAre("<He|llo>"));
}

using StreamPairDeathTest = StreamPairTest;

TEST_F(StreamPairDeathTest, LentBytesMustNotChangeAfterSendLent) {
  Start();
  server_script_.on_receive = [](Stream& stream, absl::Span<uint8_t> bytes) {
    stream.SendLent(bytes);
    bytes[0] = 'x';
  };
  client_->Send("hello");
  EXPECT_DEATH(Run(), "check failed: std::equal");
}

TEST_F(StreamPairDeathTest, SendLentTakesOnlyWhatIsLent) {
  Start();
  static const uint8_t kElsewhere[3] = {};
  server_script_.on_receive = [](Stream& stream, absl::Span<uint8_t>) {
    stream.SendLent(kElsewhere);
  };
  client_->Send("hello");
  EXPECT_DEATH(Run(), "check failed: bytes.data");
  EXPECT_DEATH(server_->SendLent(kElsewhere), "check failed: lending_");
}

#if defined(__SANITIZE_ADDRESS__)
TEST_F(StreamPairDeathTest, LentBytesAreGoneWhenTheCallbackHasReturned) {
  Start();
  const uint8_t* kept = nullptr;
  server_script_.on_receive = [&](Stream&, absl::Span<uint8_t> bytes) { kept = bytes.data(); };
  client_->Send("hello");
  Run();
  EXPECT_DEATH(server_script_.events.push_back(std::string(1, static_cast<char>(*kept))),
               "heap-use-after-free");
}
#endif

// Receiving into the handler's storage.

TEST_F(StreamPairTest, ReceiveIntoFillsTheStorageBeforeAnythingElse) {
  Start();
  std::string storage(5, '.');
  const absl::Span<uint8_t> span(reinterpret_cast<uint8_t*>(&storage[0]), storage.size());
  std::vector<bool> in_place;
  server_script_.on_receive = [&](Stream&, absl::Span<uint8_t> bytes) {
    in_place.push_back(bytes.data() >= span.data() && bytes.data() < span.data() + span.size());
  };
  server_->ReceiveInto(span);
  client_->Send("abc");
  Run();
  client_->Send("defgh");
  Run();
  EXPECT_THAT(server_script_.events, ElementsAre("abc", "de", "fgh"));
  EXPECT_THAT(in_place, ElementsAre(true, true, false));
  EXPECT_EQ(storage, "abcde");
}

TEST_F(StreamPairTest, ReceiveIntoCanBeCancelled) {
  Start();
  std::string storage(5, '.');
  server_->ReceiveInto(absl::MakeSpan(reinterpret_cast<uint8_t*>(&storage[0]), storage.size()));
  client_->Send("ab");
  Run();
  server_->ReceiveInto({});
  client_->Send("cd");
  Run();
  EXPECT_THAT(server_script_.events, ElementsAre("ab", "cd"));
  EXPECT_EQ(storage, "ab...");
}

// Ends.

TEST_F(StreamPairTest, WhatOnFlushSendsLeavesInTheSameTurn) {
  Start();
  client_script_.on_flush = [](Stream& stream) { stream.Send("flushed"); };
  client_->RequestFlush();
  client_->Send("gathered and ");
  EXPECT_THAT(client_script_.events, IsEmpty());
  loop_.RunUntilIdle();
  EXPECT_THAT(client_script_.events, ElementsAre("<flush>"));
  EXPECT_THAT(server_script_.events, ElementsAre("gathered and flushed"));
}

TEST_F(StreamPairTest, HalfCloseLetsTheOtherHalfGoOn) {
  Start();
  client_->ShutdownSend();
  EXPECT_EQ(client_->Send("late"), SendResult::kRefused);
  Run();
  EXPECT_THAT(server_script_.events, ElementsAre("<end>"));
  server_->Send("answer");
  Run();
  EXPECT_THAT(client_script_.events, ElementsAre("answer"));
  server_->ShutdownSend();
  Run();
  EXPECT_THAT(client_script_.events, ElementsAre("answer", "<end>", "<close OK>"));
  EXPECT_THAT(server_script_.events, ElementsAre("<end>", "<close OK>"));
}

TEST_F(StreamPairTest, CloseSendsWhatIsQueuedAndWaitsForThePeer) {
  Start();
  server_script_.on_receive_end = [](Stream& stream) { stream.Close(); };
  server_->Send("discarded");
  client_->Send("last words");
  client_->Close();
  EXPECT_TRUE(client_->closing());
  Run();
  EXPECT_THAT(client_script_.events, ElementsAre("<close OK>"));
  EXPECT_THAT(server_script_.events, ElementsAre("last words", "<end>", "<close OK>"));
}

TEST_F(StreamPairTest, CloseLingersOnlySoLong) {
  Start();
  client_->SetLingerTimeout(absl::Seconds(2));
  client_->Close();
  loop_.Advance(absl::Milliseconds(1900));
  EXPECT_THAT(client_script_.events, IsEmpty());
  loop_.Advance(absl::Milliseconds(100));
  EXPECT_THAT(client_script_.events, ElementsAre("<close OK>"));
}

TEST_F(StreamPairTest, CloseThatCannotSendEverythingSaysSo) {
  Start();
  pair_.to_server().set_capacity(3);
  server_->PauseReceiving();
  client_->Send("abcdef");
  client_->Close();
  loop_.Advance(absl::Seconds(5));
  EXPECT_THAT(client_script_.events, ElementsAre("<close DEADLINE_EXCEEDED>"));
}

TEST_F(StreamPairTest, AbortLosesWhatIsUnderWayAndThePeerSeesAReset) {
  Start();
  client_->Send("lost");
  client_->Abort(absl::InternalError("enough"));
  EXPECT_THAT(client_script_.events, IsEmpty());
  Run();
  EXPECT_THAT(client_script_.events, ElementsAre("<close INTERNAL>"));
  EXPECT_THAT(server_script_.events, ElementsAre("<close UNAVAILABLE>"));
  EXPECT_EQ(client_->Send("x"), SendResult::kRefused);
}

TEST_F(StreamPairTest, ADestroyedStreamIsAbortedAndSilent) {
  Start();
  client_->Send("lost");
  client_.reset();
  Run();
  EXPECT_THAT(client_script_.events, IsEmpty());
  EXPECT_THAT(server_script_.events, ElementsAre("<close UNAVAILABLE>"));
}

TEST_F(StreamPairTest, BytesForAPeerThatHasGoneAreAnsweredWithAReset) {
  Start();
  server_->SetIdleTimeout(absl::Seconds(1));
  pair_.to_client().Hold();
  loop_.Advance(absl::Seconds(2));
  EXPECT_THAT(server_script_.events, ElementsAre("<close DEADLINE_EXCEEDED>"));
  client_->Send("anybody?");
  Run();
  pair_.to_client().Release();
  Run();
  EXPECT_THAT(client_script_.events, ElementsAre("<close UNAVAILABLE>"));
}

TEST_F(StreamPairTest, ABreakEndsBothWithItsStatus) {
  Start();
  client_->Send("lost");
  pair_.Break(absl::AbortedError("cable"));
  Run();
  EXPECT_THAT(client_script_.events, ElementsAre("<close ABORTED>"));
  EXPECT_THAT(server_script_.events, ElementsAre("<close ABORTED>"));
}

TEST_F(StreamPairTest, AnIdleStreamEndsButABusyOneDoesNot) {
  Start();
  client_->SetIdleTimeout(absl::Seconds(10));
  for (int i = 0; i < 3; ++i) {
    loop_.Advance(absl::Seconds(9));
    server_->Send(".");
  }
  loop_.Advance(absl::Seconds(9));
  EXPECT_THAT(client_script_.events, ElementsAre(".", ".", "."));
  loop_.Advance(absl::Seconds(2));
  EXPECT_THAT(client_script_.events, ElementsAre(".", ".", ".", "<close DEADLINE_EXCEEDED>"));
}

TEST_F(StreamPairTest, AStreamMayBeDestroyedInEachOfItsCallbacks) {
  for (const char* where : {"receive", "end", "ready", "close"}) {
    SCOPED_TRACE(where);
    VirtualLoop loop;
    StreamPair pair(loop.loop());
    Script script;
    StreamRecorder peer(pair.TakeClient());
    std::unique_ptr<Stream> stream = pair.TakeServer();
    const std::string place = where;
    script.on_receive = [&](Stream& s, absl::Span<uint8_t> bytes) {
      s.SendLent(bytes);
      if (place == "receive") stream.reset();
    };
    script.on_receive_end = [&](Stream&) {
      if (place == "end") stream.reset();
    };
    script.on_send_ready = [&](Stream&) {
      if (place == "ready") stream.reset();
    };
    script.on_close = [&](Stream&) {
      if (place == "close") stream.reset();
    };
    stream->SetHandler(script);
    stream->SetLimits({1, 1, 100});
    stream->Send("abc");
    if (place == "close") stream->Close();
    peer.stream().Send("hello");
    peer.stream().ShutdownSend();
    loop.RunUntilIdle();
    EXPECT_EQ(stream, nullptr);
  }
}

TEST_F(StreamPairTest, StreamsThatOutliveTheirLoopEndWithCancelled) {
  Script script;
  std::unique_ptr<Stream> stream;
  {
    VirtualLoop loop;
    StreamPair pair(loop.loop());
    stream = pair.TakeClient();
    stream->SetHandler(script);
    stream->Send("x");
  }
  EXPECT_THAT(script.events, ElementsAre("<close CANCELLED>"));
  EXPECT_EQ(stream->Send("x"), SendResult::kRefused);
  stream->ResumeReceiving();
  stream->Close();
}

TEST_F(StreamPairTest, AfterClearHandlerNothingComesUntilThereIsAHandlerAgain) {
  Start();
  Script second;
  client_->Send("one");
  Run();
  server_->ClearHandler();
  client_->Send("two");
  client_->Close();
  Run();
  EXPECT_THAT(server_script_.events, ElementsAre("one"));
  server_->SetHandler(second);
  Run();
  EXPECT_THAT(second.events, ElementsAre("two", "<end>"));
}

TEST_F(StreamPairTest, AnEndWithoutAHandlerIsToldToTheNextOne) {
  Start();
  Script second;
  server_->ClearHandler();
  pair_.Break();
  Run();
  server_->SetHandler(second);
  Run();
  EXPECT_THAT(second.events, ElementsAre("<close UNAVAILABLE>"));
}

TEST_F(StreamPairTest, InOnCloseAStreamKnowsWhatItHasNotSent) {
  Start();
  pair_.to_server().set_capacity(100);
  pair_.to_server().Hold();
  client_->Send(std::string(150, 'x'));
  Run();
  pair_.Break();
  Run();
  EXPECT_EQ(client_->queued_bytes(), 50u);
}

TEST(StreamTestingTest, ALoopThatGoesCancelsItsStreams) {
  Script owned;
  Script given;
  std::unique_ptr<Stream> stream;
  std::unique_ptr<StreamPair> pair;
  {
    VirtualLoop loop;
    pair = std::make_unique<StreamPair>(loop.loop());
    stream = pair->TakeClient();
    stream->SetHandler(owned);
    Stream::Run(pair->TakeServer(), given);
  }
  EXPECT_THAT(owned.events, ElementsAre("<close CANCELLED>"));
  EXPECT_THAT(given.events, ElementsAre("<close CANCELLED>"));
}

TEST(StreamTestingTest, ADrainAsksTheStreamsOfAPairToo) {
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  StreamRecorder client(pair.TakeClient());
  StreamRecorder server(pair.TakeServer());
  bool done = false;
  loop.loop().Drain(absl::Seconds(5), [&] { done = true; });
  loop.RunUntilIdle();
  EXPECT_TRUE(client.drained() && server.drained());
  EXPECT_TRUE(done);
  EXPECT_EQ(client.closed(), absl::OkStatus());
}

TEST(VirtualLoopTest, TimePassesOnlyWhenToldAndTimersRunInOrder) {
  VirtualLoop loop;
  std::vector<int> ran;
  Timer second([&] { ran.push_back(2); });
  Timer first([&] {
    ran.push_back(1);
    loop.loop().ArmTimer(second, absl::Hours(1));
  });
  loop.loop().ArmTimer(first, absl::Hours(24));
  loop.RunUntilIdle();
  EXPECT_THAT(ran, IsEmpty());
  loop.Advance(absl::Hours(24) - absl::Milliseconds(1));
  EXPECT_THAT(ran, IsEmpty());
  loop.Advance(absl::Hours(2));
  EXPECT_THAT(ran, ElementsAre(1, 2));
}

TEST(VirtualLoopTest, RunsWhatIsPosted) {
  VirtualLoop loop;
  int posts = 0;
  loop.loop().Post([&] {
    ++posts;
    loop.loop().Post([&] { ++posts; });
  });
  loop.RunUntilIdle();
  EXPECT_EQ(posts, 2);
}

TEST(VirtualLoopDeathTest, ALoopThatWaitsForNothingEndsTheTest) {
  VirtualLoop loop;
  EXPECT_DEATH(loop.loop().Run(), "InfiniteFuture");
}

}  // namespace
}  // namespace sluice
