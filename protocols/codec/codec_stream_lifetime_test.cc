#include "sluice/protocols/codec/codec_stream.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/codec/codec_stream_fixture.h"
#include "sluice/protocols/codec/short_text_codec.h"

// The example of codec_stream.h, as it stands there.
class Echo : public sluice::CodecHandler<ShortTextCodec> {
  using TextStream = sluice::CodecStream<ShortTextCodec>;
  void OnMessage(TextStream& stream, absl::Span<uint8_t> text) override {
    if (stream.Send(text) == sluice::SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnSendReady(TextStream& stream) override { stream.ResumeReceiving(); }
};

namespace sluice::codec_stream_test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(CodecStreamExampleTest, HeaderExample) {
  Echo echo;
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  auto on_accept = [&](std::unique_ptr<sluice::Stream> stream) {
    sluice::CodecStream<ShortTextCodec>::Run(std::move(stream), ShortTextCodec(), echo);
  };
  on_accept(pair.TakeServer());
  StreamRecorder client(pair.TakeClient());
  client.stream().Send("\x02hi\x05there");
  client.stream().ShutdownSend();
  loop.RunUntilIdle();
  EXPECT_EQ(client.received(), "\x02hi\x05there");
  EXPECT_EQ(client.closed(), absl::OkStatus());
}

TEST(CodecStreamSizeTest, IsFortyEightBytesAndTheCodec) {
  static_assert(sizeof(CodecStream<LengthCodec>) == 48 + sizeof(LengthCodec));
}

// Errors.

TEST_F(CodecStreamTest, AnErrorComesAfterTheMessagesBeforeItAndAborts) {
  Start();
  Receive(LengthCodec::Frame("one") + LengthCodec::Wrong() + LengthCodec::Frame("two"));
  EXPECT_THAT(script_.events, ElementsAre("one", "<error>", "<close>"));
  EXPECT_EQ(script_.closed, absl::OutOfRangeError("127.0.0.1:1: receive: over the limit"));
  EXPECT_EQ(client_->closed()->code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(stream_->kept_bytes(), 0u);
}

TEST_F(CodecStreamTest, AnErrorInWhatIsKeptIsAnErrorToo) {
  Start();
  pair_.to_server().set_max_chunk(1);
  Receive(LengthCodec::Frame("one") + LengthCodec::Wrong());
  EXPECT_THAT(script_.events, ElementsAre("one", "<error>", "<close>"));
}

TEST_F(CodecStreamTest, AnErrorInWhatIsHeldBackIsAnErrorToo) {
  Start();
  script_.on_message = [](Messages& stream, absl::Span<uint8_t>) { stream.PauseReceiving(); };
  Receive(LengthCodec::Frame("one") + LengthCodec::Wrong());
  EXPECT_THAT(script_.events, ElementsAre("one"));
  stream_->ResumeReceiving();
  Run();
  EXPECT_THAT(script_.events, ElementsAre("one", "<error>", "<close>"));
}

TEST_F(CodecStreamTest, AHandlerMaySayGoodbyeAfterAnError) {
  Start();
  script_.on_error = [](Messages& stream, const absl::Status& status) {
    stream.Send(AsSpan(status.message()));
    stream.Close();
  };
  Receive(LengthCodec::Wrong() + LengthCodec::Frame("ignored"));
  EXPECT_THAT(script_.events, ElementsAre("<error>", "<close>"));
  EXPECT_EQ(script_.closed.code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(client_->received(), LengthCodec::Frame("127.0.0.1:1: receive: over the limit"));
  EXPECT_EQ(client_->closed(), absl::OkStatus());
}

TEST_F(CodecStreamTest, WhatFollowsAnErrorIsDiscardedAsLongAsTheStreamIsOpen) {
  Start();
  script_.on_error = [](Messages&, const absl::Status&) {};
  Receive(LengthCodec::Wrong());
  Receive(LengthCodec::Frame("ignored"));
  EXPECT_THAT(script_.events, ElementsAre("<error>"));
  EXPECT_EQ(stream_->Send(AsSpan("bye")), SendResult::kSent);
  stream_->Close();
  Run();
  EXPECT_THAT(script_.events, ElementsAre("<error>", "<close>"));
  EXPECT_EQ(script_.closed.code(), absl::StatusCode::kOutOfRange);
}

TEST_F(CodecStreamTest, APeerThatEndsInTheMiddleOfAMessageIsToldOf) {
  Start();
  client_->stream().Send(LengthCodec::Frame("one") + LengthCodec::Length(10) + "half");
  client_->stream().ShutdownSend();
  script_.on_receive_end = [](Messages& stream) {
    stream.Send(AsSpan("bye"));
    stream.Close();
  };
  Run();
  EXPECT_THAT(script_.events, ElementsAre("one", "<end>", "<close>"));
  EXPECT_EQ(script_.closed.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(script_.closed.message()),
              HasSubstr("127.0.0.1:1: receive: the peer ended in the middle of a message"));
  EXPECT_EQ(client_->received(), LengthCodec::Frame("bye"));
}

TEST_F(CodecStreamTest, AResetInTheMiddleOfAMessageFreesWhatWasKept) {
  Start();
  Receive(LengthCodec::Length(100'000) + Pattern(50'000));
  EXPECT_GT(stream_->kept_bytes(), 0u);
  client_->Destroy();
  Run();
  EXPECT_THAT(script_.events, ElementsAre("<close>"));
  EXPECT_EQ(script_.closed.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(stream_->kept_bytes(), 0u);
}

// A codec that breaks its contract ends its stream, and does no harm.
struct BrokenCodec {
  using Message = absl::Span<uint8_t>;
  DecodeResult answer = DecodeResult::Error();
  DecodeResult Decode(absl::Span<uint8_t> in, Message& message) {
    message = in;
    return answer;
  }
  absl::Status status() const { return absl::OkStatus(); }
  size_t max_frame_bytes() const { return 10; }
};

TEST(CodecStreamBrokenCodecTest, EndsTheStreamWithInternal) {
  const auto run = [](DecodeResult answer, absl::string_view bytes) {
    VirtualLoop loop;
    StreamPair pair(loop.loop());
    Script<BrokenCodec> script;
    CodecStream<BrokenCodec> stream(pair.TakeServer(), BrokenCodec{answer}, script);
    StreamRecorder client(pair.TakeClient());
    client.stream().Send(bytes);
    loop.RunUntilIdle();
    return script.closed.code();
  };
  EXPECT_EQ(run(DecodeResult::Message(0), "abc"), absl::StatusCode::kInternal);
  EXPECT_EQ(run(DecodeResult::Message(4), "abc"), absl::StatusCode::kInternal);
  EXPECT_EQ(run(DecodeResult::Skipped(0), "abc"), absl::StatusCode::kInternal);
  EXPECT_EQ(run(DecodeResult::NeedMore(3), "abc"), absl::StatusCode::kInternal);
  EXPECT_EQ(run(DecodeResult::NeedMore(11), "abc"), absl::StatusCode::kInternal);
  EXPECT_EQ(run(DecodeResult::NeedMore(0), "0123456789"), absl::StatusCode::kInternal);
}

// Calls from inside the callbacks.

TEST_F(CodecStreamTest, NoMessageFollowsACloseOrAnAbort) {
  for (const bool abort : {false, true}) {
    for (const size_t chunk : {1, 10, 65'536}) {
      VirtualLoop loop;
      StreamPair pair(loop.loop());
      pair.to_server().set_max_chunk(chunk);
      Script<LengthCodec> script;
      CodecStream<LengthCodec> stream(pair.TakeServer(), LengthCodec(), script);
      script.on_message = [abort](Messages& s, absl::Span<uint8_t>) {
        if (abort) {
          s.Abort(absl::AbortedError("enough"));
        } else {
          s.Close();
        }
        EXPECT_EQ(s.Send(AsSpan("late")), SendResult::kRefused);
      };
      StreamRecorder client(pair.TakeClient());
      client.stream().Send(Frames({"one", "two", "three"}));
      loop.RunUntilIdle();
      EXPECT_THAT(script.events, ElementsAre("one", "<close>"));
      EXPECT_EQ(script.closed.code(), abort ? absl::StatusCode::kAborted : absl::StatusCode::kOk);
      EXPECT_EQ(stream.kept_bytes(), 0u);
    }
  }
}

TEST_F(CodecStreamTest, ClosingInACallbackFreesWhatIsKeptBeforeThePeerHasAnswered) {
  Start();
  client_->KeepOpen();
  Receive(LengthCodec::Length(1000) + "half");
  EXPECT_GT(stream_->kept_bytes(), 0u);
  loop_.loop().Drain(absl::Seconds(1), [] {});
  Run();
  EXPECT_THAT(script_.events, ElementsAre("<drain>"));
  EXPECT_EQ(stream_->kept_bytes(), 0u);
}

TEST_F(CodecStreamTest, MayBeDestroyedInEachOfItsCallbacks) {
  for (const std::string where : {"message", "end", "ready", "drain", "error", "close"}) {
    for (const size_t chunk : {1, 5, 65'536}) {
      SCOPED_TRACE(absl::StrCat(where, " with chunks of ", chunk));
      VirtualLoop loop;
      StreamPair pair(loop.loop());
      pair.to_server().set_max_chunk(chunk);
      Script<LengthCodec> script;
      auto stream =
          std::make_unique<CodecStream<LengthCodec>>(pair.TakeServer(), LengthCodec(), script);
      const auto destroy = [&](absl::string_view place) {
        if (place == where) stream.reset();
      };
      script.on_message = [&](Messages&, absl::Span<uint8_t>) { destroy("message"); };
      script.on_receive_end = [&](Messages&) { destroy("end"); };
      script.on_send_ready = [&](Messages&) { destroy("ready"); };
      script.on_drain = [&](Messages&) { destroy("drain"); };
      script.on_error = [&](Messages&, const absl::Status&) { destroy("error"); };
      script.on_close = [&](Messages&) { destroy("close"); };
      StreamRecorder client(pair.TakeClient());
      client.stream().Send(Frames({"one", "two"}));
      if (where == "error") client.stream().Send(LengthCodec::Wrong() + "more");
      if (where == "end") client.stream().ShutdownSend();
      if (where == "ready") {
        stream->transport().SetLimits({1, 1, 1000});
        stream->Send(AsSpan("abc"));
      }
      if (where == "close") stream->Close();
      if (where == "drain") loop.loop().Drain(absl::Seconds(1), [] {});
      loop.RunUntilIdle();
      EXPECT_EQ(stream, nullptr);
      EXPECT_EQ(script.events.empty(), false);
      EXPECT_EQ(script.events.back(), where == "message" ? "one" : absl::StrCat("<", where, ">"));
    }
  }
}

TEST_F(CodecStreamTest, MayBeDestroyedWhileMessagesAreHeldBack) {
  Start();
  script_.on_message = [](Messages& stream, absl::Span<uint8_t>) { stream.PauseReceiving(); };
  Receive(Frames({"one", "two"}));
  stream_->ResumeReceiving();  // the delivery is under way
  stream_.reset();
  Run();
  EXPECT_THAT(script_.events, ElementsAre("one"));
}

TEST_F(CodecStreamTest, MayBeDestroyedByAMessageThatWasHeldBack) {
  Start();
  script_.on_message = [&](Messages& stream, absl::Span<uint8_t> message) {
    if (AsString(message) == "two") {
      stream_.reset();
    } else {
      stream.PauseReceiving();
    }
  };
  Receive(Frames({"one", "two", "three"}));
  stream_->ResumeReceiving();
  Run();
  EXPECT_THAT(script_.events, ElementsAre("one", "two"));
  EXPECT_EQ(client_->closed()->code(), absl::StatusCode::kUnavailable);
}

TEST_F(CodecStreamTest, AMessageOutlivesTheStreamThatItsCallbackDestroys) {
  for (const size_t chunk : {size_t{3}, size_t{50'000}, size_t{1'000'000}}) {
    VirtualLoop loop;
    StreamPair pair(loop.loop());
    pair.to_server().set_max_chunk(chunk);
    Script<LengthCodec> script;
    auto stream =
        std::make_unique<CodecStream<LengthCodec>>(pair.TakeServer(), LengthCodec(), script);
    std::string seen;
    script.on_message = [&](Messages&, absl::Span<uint8_t> message) {
      stream.reset();
      for (uint8_t& byte : message) ++byte;
      seen = AsString(message);
    };
    StreamRecorder client(pair.TakeClient());
    client.stream().Send(Frames({std::string(100'000, 'a')}));
    loop.RunUntilIdle();
    EXPECT_EQ(seen, std::string(100'000, 'b')) << chunk;
  }
}

TEST_F(CodecStreamTest, MayBeDestroyedWhileTheTransportFillsItsMemory) {
  Start();
  Receive(LengthCodec::Length(100'000) + Pattern(10'000));
  stream_.reset();
  Receive(Pattern(50'000));
  EXPECT_THAT(script_.events, IsEmpty());
}

TEST_F(CodecStreamTest, ClosingWhileTheTransportFillsItsMemoryFreesIt) {
  Start();
  Receive(LengthCodec::Length(100'000) + Pattern(10'000));
  EXPECT_GT(stream_->kept_bytes(), 0u);
  stream_->Close();
  EXPECT_EQ(stream_->kept_bytes(), 0u);
  Receive(Pattern(50'000));
  EXPECT_THAT(script_.events, ElementsAre("<close>"));
}

TEST_F(CodecStreamTest, DrainingClosesGracefully) {
  Start();
  bool done = false;
  loop_.loop().Drain(absl::Seconds(1), [&] { done = true; });
  Run();
  EXPECT_THAT(script_.events, ElementsAre("<drain>", "<close>"));
  EXPECT_TRUE(done);
}

// Ownership.

class CountedHandler : public CodecHandler<LengthCodec> {
 public:
  explicit CountedHandler(int& alive) : alive_(alive) { ++alive_; }
  ~CountedHandler() override { --alive_; }
  void OnMessage(CodecStream<LengthCodec>& stream, absl::Span<uint8_t> message) override {
    stream.SendInPlace(message);
  }

 private:
  int& alive_;
};

TEST(CodecStreamOwnershipTest, WhatTheLoopWasGivenGoesWithTheStream) {
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  int handlers = 0;
  CodecStream<LengthCodec>& stream = CodecStream<LengthCodec>::Run(
      pair.TakeServer(), LengthCodec(), std::make_unique<CountedHandler>(handlers));
  EXPECT_EQ(stream.Send(AsSpan("hello")), SendResult::kSent);
  StreamRecorder client(pair.TakeClient());
  client.stream().Send(Frames({"one"}));
  loop.RunUntilIdle();
  EXPECT_EQ(client.received(), Frames({"hello", "one"}));
  EXPECT_EQ(handlers, 1);
  client.stream().Close();
  loop.RunUntilIdle();
  EXPECT_EQ(handlers, 0);
  EXPECT_EQ(client.closed(), absl::OkStatus());
}

TEST(CodecStreamOwnershipTest, ALoopThatGoesTakesWithItWhatItWasGiven) {
  int handlers = 0;
  {
    VirtualLoop loop;
    StreamPair pair(loop.loop());
    CodecStream<LengthCodec>::Run(pair.TakeServer(), LengthCodec(),
                                  std::make_unique<CountedHandler>(handlers));
    StreamRecorder client(pair.TakeClient());
    client.stream().Send(LengthCodec::Length(100'000) + "half");
    loop.RunUntilIdle();
    EXPECT_EQ(handlers, 1);
  }
  EXPECT_EQ(handlers, 0);
}

}  // namespace
}  // namespace sluice::codec_stream_test
