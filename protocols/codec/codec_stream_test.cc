#include "sluice/protocols/codec/codec_stream.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
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
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/buffer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/slice.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/codec/short_text_codec.h"

// The example of codec_stream.h, as it stands there.
class Echo : public sluice::CodecHandler<ShortTextCodec> {
  using TextStream = sluice::CodecStream<ShortTextCodec>;
  void OnMessage(TextStream& stream, absl::Span<uint8_t> text) override {
    if (stream.Send(text) == sluice::SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnSendReady(TextStream& stream) override { stream.ResumeReceiving(); }
};

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string AsString(absl::Span<const uint8_t> bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

absl::Span<const uint8_t> AsSpan(absl::string_view text) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

// Frames of a length of four bytes, little endian; a length of 0xffffffff is wrong, one of
// 0xfffffffe a frame without a message.
class LengthCodec {
 public:
  using Message = absl::Span<uint8_t>;
  static constexpr bool kFrameIsReusable = true;

  explicit LengthCodec(size_t limit = 1024 * 1024) : limit_(limit) {}

  static std::string Frame(absl::string_view message) {
    return Length(message.size()) + std::string(message);
  }
  static std::string Length(size_t size) {
    std::string bytes;
    for (int i = 0; i < 4; ++i) bytes += static_cast<char>(size >> (8 * i));
    return bytes;
  }
  static std::string Wrong() { return Length(0xffffffff); }
  static std::string WithoutMessage() { return Length(0xfffffffe); }

  DecodeResult Decode(absl::Span<uint8_t> in, Message& message) {
    if (failed_) return DecodeResult::Error();
    if (in.size() < 4) return DecodeResult::NeedMore(4);
    size_t size = 0;
    for (int i = 0; i < 4; ++i) size |= size_t{in[static_cast<size_t>(i)]} << (8 * i);
    if (size == 0xfffffffe) return DecodeResult::Skipped(4);
    if (size > limit_) {
      failed_ = true;
      return DecodeResult::Error();
    }
    if (in.size() < 4 + size) return DecodeResult::NeedMore(4 + size);
    message = in.subspan(4, size);
    return DecodeResult::Message(4 + size);
  }
  template <typename Sink>
  EncodeResult Encode(absl::Span<const uint8_t> message, Sink& out) const {
    if (message.size() > limit_) return EncodeResult::kTooLong;
    out.Append(absl::string_view(Length(message.size())));
    out.Append(message);
    return EncodeResult::kEncoded;
  }
  template <typename Sink>
  EncodeResult Encode(Slice message, Sink& out) const {
    out.Append(absl::string_view(Length(message.size())));
    out.Append(std::move(message));
    return EncodeResult::kEncoded;
  }
  absl::Status status() const {
    return failed_ ? absl::OutOfRangeError("over the limit") : absl::OkStatus();
  }
  size_t max_frame_bytes() const { return 4 + limit_; }

 private:
  size_t limit_;
  bool failed_ = false;
};
static_assert(ByteCodec<LengthCodec>);

// Lines, of which nobody knows in advance how long they are. It decodes in place (letters become
// capitals) what it looks at, and looks at nothing twice: bytes that are not shown to it as it has
// left them are seen.
class ShoutCodec {
 public:
  using Message = absl::Span<uint8_t>;

  DecodeResult Decode(absl::Span<uint8_t> in, Message& message) {
    for (size_t i = 0; i < looked_at_; ++i) {
      if (in[i] >= 'a' && in[i] <= 'z') return DecodeResult::Error();
    }
    for (size_t i = looked_at_; i < in.size(); ++i) {
      if (in[i] >= 'a' && in[i] <= 'z') in[i] = static_cast<uint8_t>(in[i] - 'a' + 'A');
    }
    looked_at_ = in.size();
    const auto newline = std::find(in.begin(), in.end(), '\n');
    if (newline == in.end()) return DecodeResult::NeedMore(0);
    const size_t size = static_cast<size_t>(newline - in.begin());
    looked_at_ -= size + 1;
    message = in.first(size);
    return DecodeResult::Message(size + 1);
  }
  EncodeResult Encode(absl::Span<const uint8_t> message, Buffer& out) const {
    out.Append(message);
    out.Append("\n");
    return EncodeResult::kEncoded;
  }
  absl::Status status() const { return absl::OkStatus(); }
  size_t max_frame_bytes() const { return 1024 * 1024; }

 private:
  size_t looked_at_ = 0;
};

// Messages of one byte each, of which each is one only when three more are there.
class LookaheadCodec {
 public:
  using Message = absl::Span<uint8_t>;
  static constexpr size_t kLookahead = 3;

  DecodeResult Decode(absl::Span<uint8_t> in, Message& message) {
    if (in.size() <= kLookahead) return DecodeResult::NeedMore(1 + kLookahead);
    message = in.first(1);
    return DecodeResult::Message(1);
  }
  absl::Status status() const { return absl::OkStatus(); }
  size_t max_frame_bytes() const { return 1 + kLookahead; }
};

// Writes down what happens, and does what the test says in each callback.
template <Codec C>
class Script : public CodecHandler<C> {
 public:
  using Messages = CodecStream<C>;
  std::function<void(Messages&, absl::Span<uint8_t>)> on_message = [](Messages&,
                                                                      absl::Span<uint8_t>) {};
  std::function<void(Messages&)> on_receive_end = [](Messages& s) { s.Close(); };
  std::function<void(Messages&)> on_send_ready = [](Messages&) {};
  std::function<void(Messages&)> on_drain = [](Messages& s) { s.Close(); };
  std::function<void(Messages&, const absl::Status&)> on_error =
      [](Messages& s, const absl::Status& status) { s.Abort(status); };
  std::function<void(Messages&)> on_close = [](Messages&) {};
  std::vector<std::string> events;
  absl::Status closed = absl::UnknownError("not closed");

  void OnMessage(Messages& stream, absl::Span<uint8_t> message) override {
    events.push_back(AsString(message));
    on_message(stream, message);
  }
  void OnReceiveEnd(Messages& stream) override {
    events.push_back("<end>");
    on_receive_end(stream);
  }
  void OnSendReady(Messages& stream) override {
    events.push_back("<ready>");
    on_send_ready(stream);
  }
  void OnDrain(Messages& stream) override {
    events.push_back("<drain>");
    on_drain(stream);
  }
  void OnError(Messages& stream, const absl::Status& status) override {
    events.push_back("<error>");
    on_error(stream, status);
  }
  void OnClose(Messages& stream, const absl::Status& status) override {
    events.push_back("<close>");
    closed = status;
    on_close(stream);
  }
};

template <Codec C>
class Fixture : public testing::Test {
 protected:
  using Messages = CodecStream<C>;

  void Start(C codec = C()) {
    stream_ = std::make_unique<Messages>(pair_.TakeServer(), std::move(codec), script_);
    client_ = std::make_unique<StreamRecorder>(pair_.TakeClient());
  }
  void Run() { loop_.RunUntilIdle(); }
  void Receive(absl::string_view bytes) {
    client_->stream().Send(bytes);
    Run();
  }

  VirtualLoop loop_;
  StreamPair pair_{loop_.loop()};
  Script<C> script_;
  std::unique_ptr<Messages> stream_;
  std::unique_ptr<StreamRecorder> client_;
};

using CodecStreamTest = Fixture<LengthCodec>;
using ShoutStreamTest = Fixture<ShoutCodec>;

std::string Frames(const std::vector<std::string>& messages) {
  std::string bytes;
  for (const std::string& message : messages) bytes += LengthCodec::Frame(message);
  return bytes;
}

// So many bytes of which no two stretches are alike.
std::string Pattern(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 7 + i / 251);
  return bytes;
}

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

// Receiving.

void ExpectMessagesInChunks(const std::vector<std::string>& messages, size_t chunk) {
  SCOPED_TRACE(chunk);
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  pair.to_server().set_max_chunk(chunk);
  pair.to_server().set_capacity(1'000'000);
  Script<LengthCodec> script;
  CodecStream<LengthCodec> stream(pair.TakeServer(), LengthCodec(), script);
  StreamRecorder client(pair.TakeClient());
  client.stream().Send(Frames(messages));
  loop.RunUntilIdle();
  EXPECT_TRUE(script.events == messages);
  EXPECT_EQ(stream.kept_bytes(), 0u);
}

TEST_F(CodecStreamTest, GivesTheSameMessagesHoweverTheBytesAreCut) {
  const std::vector<std::string> few = {"", "a",           Pattern(3), Pattern(1000),
                                        "", Pattern(5000), "end"};
  for (const size_t chunk : {1, 2, 3, 5, 64}) ExpectMessagesInChunks(few, chunk);
  const std::vector<std::string> many = {
      "", "a", Pattern(1000), Pattern(70'000), "b", "", Pattern(300'000), Pattern(40'000), "end"};
  for (const size_t chunk : {1001, 4096, 33'000, 65'536, 1'000'000}) {
    ExpectMessagesInChunks(many, chunk);
  }
}

TEST_F(CodecStreamTest, GivesTheSameMessagesCutInTwoAtEveryPoint) {
  const std::vector<std::string> messages = {"one", "", "three", "4"};
  const std::string bytes = Frames(messages);
  for (size_t cut = 1; cut < bytes.size(); ++cut) {
    VirtualLoop loop;
    StreamPair pair(loop.loop());
    Script<LengthCodec> script;
    CodecStream<LengthCodec> stream(pair.TakeServer(), LengthCodec(), script);
    StreamRecorder client(pair.TakeClient());
    client.stream().Send(absl::string_view(bytes).substr(0, cut));
    loop.RunUntilIdle();
    client.stream().Send(absl::string_view(bytes).substr(cut));
    loop.RunUntilIdle();
    EXPECT_EQ(script.events, messages);
    EXPECT_EQ(stream.kept_bytes(), 0u);
  }
}

TEST_F(ShoutStreamTest, ShowsTheCodecItsBytesAsItHasLeftThem) {
  std::string bytes;
  std::vector<std::string> lines;
  for (const size_t size : {0, 1, 63, 64, 65, 200, 5000, 3}) {
    bytes += std::string(size, 'x') + '\n';
    lines.push_back(std::string(size, 'X'));
  }
  for (const size_t chunk : {1, 2, 3, 7, 64, 65, 66, 100, 1000, 65'536}) {
    SCOPED_TRACE(chunk);
    VirtualLoop loop;
    StreamPair pair(loop.loop());
    pair.to_server().set_max_chunk(chunk);
    Script<ShoutCodec> script;
    CodecStream<ShoutCodec> stream(pair.TakeServer(), ShoutCodec(), script);
    StreamRecorder client(pair.TakeClient());
    client.stream().Send(bytes);
    loop.RunUntilIdle();
    EXPECT_EQ(script.events, lines);
    EXPECT_EQ(stream.kept_bytes(), 0u);
  }
}

TEST_F(CodecStreamTest, ACodecMayNeedToSeeMoreThanItTakes) {
  for (const size_t chunk : {1, 2, 3, 4, 5, 100}) {
    for (const bool pause : {false, true}) {
      SCOPED_TRACE(absl::StrCat("chunks of ", chunk, pause ? ", paused" : ""));
      VirtualLoop loop;
      StreamPair pair(loop.loop());
      pair.to_server().set_max_chunk(chunk);
      Script<LookaheadCodec> script;
      CodecStream<LookaheadCodec> stream(pair.TakeServer(), LookaheadCodec(), script);
      if (pause) script.on_message = [&](auto& s, absl::Span<uint8_t>) { s.PauseReceiving(); };
      StreamRecorder client(pair.TakeClient());
      client.stream().Send("abcdefghijklmnopqrstuvwxyz");
      for (int i = 0; i < 26; ++i) {
        loop.RunUntilIdle();
        stream.ResumeReceiving();
      }
      std::string received;
      for (const std::string& event : script.events) received += event;
      EXPECT_EQ(received, "abcdefghijklmnopqrstuvw");
    }
  }
}

// Counts how often it is asked.
struct CountingCodec : LengthCodec {
  explicit CountingCodec(int& calls) : LengthCodec(1'000'000), calls_(calls) {}
  DecodeResult Decode(absl::Span<uint8_t> in, Message& message) {
    ++calls_;
    return LengthCodec::Decode(in, message);
  }
  int& calls_;
};

TEST(CodecStreamCountTest, ACodecThatSaysWhatItWantsIsNotAskedBefore) {
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  pair.to_server().set_max_chunk(1);
  int calls = 0;
  Script<CountingCodec> script;
  CodecStream<CountingCodec> stream(pair.TakeServer(), CountingCodec(calls), script);
  StreamRecorder client(pair.TakeClient());
  client.stream().Send(LengthCodec::Frame(Pattern(5000)));
  loop.RunUntilIdle();
  EXPECT_EQ(script.events.size(), 1u);
  EXPECT_EQ(calls, 3);  // for the first byte, for the length, for the message
}

TEST_F(CodecStreamTest, WholeMessagesAreDecodedWhereTheyLie) {
  Start();
  std::vector<const uint8_t*> places;
  script_.on_message = [&](Messages& stream, absl::Span<uint8_t> message) {
    EXPECT_EQ(stream.kept_bytes(), 0u);
    places.push_back(message.data());
  };
  Receive(Frames({"one", "two", "three"}));
  EXPECT_THAT(script_.events, ElementsAre("one", "two", "three"));
  EXPECT_EQ(places[1] - places[0], 3 + 4);
  EXPECT_EQ(places[2] - places[1], 3 + 4);
}

TEST_F(CodecStreamTest, BytesWithoutAMessageAreSkipped) {
  Start();
  Receive(LengthCodec::WithoutMessage() + LengthCodec::Frame("a") + LengthCodec::WithoutMessage());
  EXPECT_THAT(script_.events, ElementsAre("a"));
  EXPECT_EQ(stream_->kept_bytes(), 0u);
}

// Memory.

constexpr size_t kOverhead = 100;

TEST_F(CodecStreamTest, AnIncompleteMessageCostsItsSizeAndNothingIsKeptAfterIt) {
  Start();
  Receive(LengthCodec::Length(5000) + "x");
  EXPECT_GE(stream_->kept_bytes(), 5004u);
  EXPECT_LE(stream_->kept_bytes(), 5004u + kOverhead);
  Receive(std::string(4999, 'x'));
  EXPECT_EQ(script_.events.size(), 1u);
  EXPECT_EQ(stream_->kept_bytes(), 0u);
}

TEST_F(CodecStreamTest, ThreeBytesOfALengthCostLittle) {
  Start();
  Receive(LengthCodec::Length(5000).substr(0, 3));
  EXPECT_LE(stream_->kept_bytes(), 4u + kOverhead);
}

TEST_F(CodecStreamTest, APeerThatAnnouncesMuchAndSendsLittleCostsLittle) {
  constexpr size_t kMiB = 1024 * 1024;
  Start(LengthCodec(1024 * kMiB));
  pair_.to_server().set_max_chunk(10'000);
  constexpr size_t kAtOnce = CodecStream<LengthCodec>::kAnnouncedAtOnce;
  Receive(LengthCodec::Length(1024 * kMiB));
  EXPECT_LE(stream_->kept_bytes(), kAtOnce + kOverhead);
  for (size_t sent = 4; sent < 3 * kMiB;) {
    Receive(std::string(50'000, 'x'));
    sent += 50'000;
    EXPECT_LE(stream_->kept_bytes(), std::max(kAtOnce, 4 * sent) + kOverhead);
  }
}

TEST_F(CodecStreamTest, AHeaderDoesNotMakeTheMemoryOfAMessageOfRoundSizeGrowOnceMore) {
  constexpr size_t kAtOnce = CodecStream<LengthCodec>::kAnnouncedAtOnce;
  Start(LengthCodec(kAtOnce));
  Receive(LengthCodec::Length(kAtOnce));
  EXPECT_GE(stream_->kept_bytes(), kAtOnce + 4);
  EXPECT_LE(stream_->kept_bytes(), kAtOnce + 4 + kOverhead);
}

TEST_F(CodecStreamTest, AMessageOfMoreThanIsGivenAtOnceArrivesWhole) {
  Start(LengthCodec(8'000'000));
  const std::string message = Pattern(5'000'000);
  Receive(Frames({message, "next"}));
  while (script_.events.size() < 2 && pair_.to_server().bytes_under_way() != 0) Run();
  ASSERT_EQ(script_.events.size(), 2u);
  EXPECT_TRUE(script_.events[0] == message);
  EXPECT_EQ(stream_->kept_bytes(), 0u);
}

TEST_F(CodecStreamTest, ALongRestIsReceivedStraightIntoItsPlace) {
  Start();
  pair_.to_server().set_max_chunk(50'000);
  Receive(Frames({Pattern(100'000), "next"}));
  // 50,000 where the transport likes; the remaining 50,004 into their place, for which the
  // transport needs two chunks and takes nothing behind them; then the next message.
  EXPECT_EQ(pair_.to_server().chunks_arrived(), 4u);
  ASSERT_EQ(script_.events.size(), 2u);
  EXPECT_TRUE(script_.events[0] == Pattern(100'000));
}

TEST_F(CodecStreamTest, AShortRestIsNotWorthACallOfItsOwn) {
  Start();
  pair_.to_server().set_max_chunk(900);
  Receive(Frames({Pattern(1000), "next"}));
  EXPECT_EQ(pair_.to_server().chunks_arrived(), 2u);
  EXPECT_EQ(script_.events.size(), 2u);
}

// Pausing.

TEST_F(CodecStreamTest, APauseInTheMiddleOfABurstHoldsTheRestBack) {
  Start();
  script_.on_message = [](Messages& stream, absl::Span<uint8_t> message) {
    if (AsString(message) == "two") stream.PauseReceiving();
  };
  Receive(Frames({"one", "two", "three", "four"}));
  EXPECT_THAT(script_.events, ElementsAre("one", "two"));
  EXPECT_TRUE(stream_->receiving_paused());
  EXPECT_TRUE(stream_->transport().receiving_paused());
  Receive(Frames({"five"}));
  EXPECT_THAT(script_.events, ElementsAre("one", "two"));
  stream_->ResumeReceiving();
  EXPECT_THAT(script_.events, ElementsAre("one", "two"));  // not inside the call
  Run();
  EXPECT_THAT(script_.events, ElementsAre("one", "two", "three", "four", "five"));
  EXPECT_FALSE(stream_->transport().receiving_paused());
  EXPECT_EQ(stream_->kept_bytes(), 0u);
}

TEST_F(CodecStreamTest, APauseAfterEachMessageGivesOneMessageEach) {
  const std::vector<std::string> messages = {"one", "", "three", Pattern(5000), "five", "six"};
  for (const size_t chunk : {1, 3, 9, 2000, 65'536}) {
    SCOPED_TRACE(chunk);
    VirtualLoop loop;
    StreamPair pair(loop.loop());
    pair.to_server().set_max_chunk(chunk);
    Script<LengthCodec> script;
    CodecStream<LengthCodec> stream(pair.TakeServer(), LengthCodec(), script);
    script.on_message = [](Messages& s, absl::Span<uint8_t>) { s.PauseReceiving(); };
    StreamRecorder client(pair.TakeClient());
    client.stream().Send(Frames(messages));
    for (size_t i = 1; i <= messages.size(); ++i) {
      loop.RunUntilIdle();
      EXPECT_EQ(script.events.size(), i);
      stream.ResumeReceiving();
    }
    EXPECT_TRUE(script.events == messages);
    EXPECT_EQ(stream.kept_bytes(), 0u);
  }
}

TEST_F(CodecStreamTest, WhatIsHeldBackIsNoMoreThanWhatWasLent) {
  Start();
  pair_.to_server().set_max_chunk(10'000);
  script_.on_message = [](Messages& stream, absl::Span<uint8_t>) { stream.PauseReceiving(); };
  std::string flood;
  for (int i = 0; i < 10'000; ++i) flood += LengthCodec::Frame("message");
  Receive(flood);
  EXPECT_EQ(script_.events.size(), 1u);
  EXPECT_LE(stream_->kept_bytes(), 10'000 + kOverhead);
}

TEST_F(CodecStreamTest, APauseThatIsTakenBackInTheSameCallbackChangesNothing) {
  Start();
  script_.on_message = [](Messages& stream, absl::Span<uint8_t>) {
    stream.PauseReceiving();
    stream.ResumeReceiving();
  };
  Receive(Frames({"one", "two", "three"}));
  EXPECT_THAT(script_.events, ElementsAre("one", "two", "three"));
  EXPECT_FALSE(stream_->transport().receiving_paused());
}

TEST_F(CodecStreamTest, ResumingWhenTheQueueHasDrainedDeliversWhatWasHeldBack) {
  Start();
  stream_->transport().SetLimits({/*high=*/10, /*low=*/5, /*hard=*/1000});
  pair_.to_client().set_capacity(0);
  script_.on_message = [](Messages& stream, absl::Span<uint8_t> message) {
    if (stream.SendInPlace(message) == SendResult::kBlocked) stream.PauseReceiving();
  };
  script_.on_send_ready = [](Messages& stream) { stream.ResumeReceiving(); };
  Receive(Frames({"one", "two", "three", "four"}));
  EXPECT_THAT(script_.events, ElementsAre("one", "two"));
  pair_.to_client().set_capacity(1000);
  Run();
  EXPECT_THAT(script_.events, ElementsAre("one", "two", "<ready>", "three", "four", "<ready>"));
  EXPECT_EQ(client_->received(), Frames({"one", "two", "three", "four"}));
}

TEST_F(CodecStreamTest, APauseBeforeAnythingArrives) {
  Start();
  stream_->PauseReceiving();
  stream_->PauseReceiving();
  Receive(Frames({"one"}));
  EXPECT_THAT(script_.events, IsEmpty());
  stream_->ResumeReceiving();
  stream_->ResumeReceiving();
  Run();
  EXPECT_THAT(script_.events, ElementsAre("one"));
}

TEST_F(CodecStreamTest, APauseAgainBeforeWhatIsHeldBackWasDelivered) {
  Start();
  script_.on_message = [](Messages& stream, absl::Span<uint8_t>) { stream.PauseReceiving(); };
  Receive(Frames({"one", "two"}));
  stream_->ResumeReceiving();
  stream_->PauseReceiving();
  Run();
  EXPECT_THAT(script_.events, ElementsAre("one"));
  stream_->ResumeReceiving();
  Run();
  EXPECT_THAT(script_.events, ElementsAre("one", "two"));
}

TEST_F(CodecStreamTest, AnIncompleteMessageBehindThoseHeldBackIsFinishedLater) {
  Start();
  script_.on_message = [](Messages& stream, absl::Span<uint8_t>) { stream.PauseReceiving(); };
  const std::string bytes = Frames({"one", "two", Pattern(2000)});
  Receive(absl::string_view(bytes).substr(0, 20));
  stream_->ResumeReceiving();
  Run();
  stream_->ResumeReceiving();
  Run();
  EXPECT_THAT(script_.events, ElementsAre("one", "two"));
  EXPECT_FALSE(stream_->transport().receiving_paused());
  EXPECT_LE(stream_->kept_bytes(), 2004 + kOverhead);
  Receive(absl::string_view(bytes).substr(20));
  EXPECT_EQ(script_.events.size(), 3u);
  EXPECT_EQ(stream_->kept_bytes(), 0u);
}

TEST_F(CodecStreamTest, TheEndComesAfterWhatIsHeldBack) {
  Start();
  script_.on_message = [](Messages& stream, absl::Span<uint8_t>) { stream.PauseReceiving(); };
  client_->stream().Send(Frames({"one", "two"}));
  client_->stream().ShutdownSend();
  Run();
  EXPECT_THAT(script_.events, ElementsAre("one"));
  stream_->ResumeReceiving();
  Run();
  stream_->ResumeReceiving();
  Run();
  EXPECT_THAT(script_.events, ElementsAre("one", "two", "<end>", "<close>"));
  EXPECT_EQ(script_.closed, absl::OkStatus());
}

// Cuts, pauses and resumptions as they come, the same on every run.
template <Codec C>
void ExpectMessagesWhateverHappens(const std::string& bytes,
                                   const std::vector<std::string>& messages, uint32_t seed) {
  SCOPED_TRACE(seed);
  std::minstd_rand random(seed);
  const auto one_in = [&](uint32_t n) { return random() % n == 0; };
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  Script<C> script;
  CodecStream<C> stream(pair.TakeServer(), C(), script);
  script.on_message = [&](auto& s, absl::Span<uint8_t>) {
    if (one_in(3)) s.PauseReceiving();
    if (one_in(4)) s.ResumeReceiving();
  };
  StreamRecorder client(pair.TakeClient());
  client.stream().Send(bytes);
  for (int turn = 0; script.events.size() < messages.size() && turn < 10'000; ++turn) {
    pair.to_server().set_max_chunk(1 + random() % (one_in(2) ? 20 : 50'000));
    loop.loop().RunOnce(absl::ZeroDuration());
    if (one_in(5)) stream.PauseReceiving();
    if (one_in(2)) stream.ResumeReceiving();
  }
  EXPECT_TRUE(script.events == messages);
  stream.ResumeReceiving();
  loop.RunUntilIdle();
  EXPECT_EQ(stream.kept_bytes(), 0u);
  EXPECT_EQ(script.events.size(), messages.size());
}

TEST(CodecStreamRandomTest, GivesTheSameMessagesWhateverHappens) {
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    std::minstd_rand random(seed);
    std::vector<std::string> messages;
    std::vector<std::string> lines;
    std::string text;
    for (int i = 0; i < 30; ++i) {
      messages.push_back(Pattern(random() % (random() % 8 == 0 ? 90'000 : 40)));
      const size_t line = random() % 150;
      text += std::string(line, 'x') + '\n';
      lines.push_back(std::string(line, 'X'));
    }
    ExpectMessagesWhateverHappens<LengthCodec>(Frames(messages), messages, seed);
    ExpectMessagesWhateverHappens<ShoutCodec>(text, lines, seed);
    if (testing::Test::HasFailure()) break;
  }
}

// Sending.

TEST_F(CodecStreamTest, SendsSpansSlicesAndLongMessages) {
  Start();
  const Slice slice = Slice::Copy("slice");
  EXPECT_EQ(stream_->Send(AsSpan("span")), SendResult::kSent);
  EXPECT_EQ(stream_->Send(slice), SendResult::kSent);
  std::string expected = Frames({"span", "slice"});
  for (const size_t size : {0, 2107, 2108, 2109, 2112, 2113, 5000, 100'000}) {
    stream_->Send(AsSpan(Pattern(size)));
    expected += LengthCodec::Frame(Pattern(size));
  }
  Run();
  EXPECT_TRUE(client_->received() == expected);
}

TEST_F(CodecStreamTest, AMessageThatCannotBeEncodedIsRefusedAndTheStreamLivesOn) {
  Start(LengthCodec(10));
  EXPECT_EQ(stream_->Send(AsSpan("eleven byte")), SendResult::kRefused);
  EXPECT_FALSE(stream_->closing());
  EXPECT_EQ(stream_->Send(AsSpan("ten  bytes")), SendResult::kSent);
  Run();
  EXPECT_EQ(client_->received(), LengthCodec::Frame("ten  bytes"));
}

TEST_F(CodecStreamTest, AMessageIsOneSendForTheLimits) {
  Start();
  stream_->transport().SetLimits({/*high=*/10, /*low=*/5, /*hard=*/20});
  pair_.to_client().set_capacity(0);
  // An empty queue takes a message of any size, although a length goes before it.
  EXPECT_EQ(stream_->Send(AsSpan("more than twenty bytes")), SendResult::kBlocked);
  EXPECT_FALSE(stream_->closing());
}

TEST_F(CodecStreamTest, NothingIsDeliveredOnceASendHasPassedTheHardLimit) {
  Start();
  stream_->transport().SetLimits({/*high=*/10, /*low=*/5, /*hard=*/20});
  pair_.to_client().set_capacity(0);
  script_.on_message = [](Messages& stream, absl::Span<uint8_t> message) { stream.Send(message); };
  Receive(Frames({"one", "two", "three", "four", "five"}));
  EXPECT_THAT(script_.events, ElementsAre("one", "two", "three", "<close>"));
  EXPECT_EQ(script_.closed.code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(CodecStreamTest, SendInPlaceSendsTheFrameAsItLies) {
  for (const size_t chunk : {50, 1000, 20'000, 65'536}) {
    SCOPED_TRACE(chunk);
    VirtualLoop loop;
    StreamPair pair(loop.loop());
    pair.to_server().set_max_chunk(chunk);
    pair.to_client().set_capacity(1'000'000);
    Script<LengthCodec> script;
    CodecStream<LengthCodec> stream(pair.TakeServer(), LengthCodec(), script);
    script.on_message = [](Messages& s, absl::Span<uint8_t> message) {
      if (!message.empty()) message[0] = '!';
      EXPECT_NE(s.SendInPlace(message), SendResult::kRefused);
    };
    StreamRecorder client(pair.TakeClient());
    std::vector<std::string> messages = {"one",         "",    Pattern(100), Pattern(100'000),
                                         Pattern(3000), "last"};
    client.stream().Send(Frames(messages));
    loop.RunUntilIdle();
    for (std::string& message : messages) {
      if (!message.empty()) message[0] = '!';
    }
    EXPECT_TRUE(client.received() == Frames(messages));
  }
}

// A Stream that writes down how it is given what is sent.
class SendRecorder final : public Stream {
 public:
  explicit SendRecorder(EventLoop& loop) : loop_(loop) {}
  void Receive(absl::Span<uint8_t> bytes) { handler()->OnReceive(*this, bytes); }
  std::vector<std::string> calls;
  std::vector<const uint8_t*> places;

  EventLoop& loop() const override { return loop_; }
  SendResult Send(absl::Span<const uint8_t> bytes) override { return Record("copy", bytes.data()); }
  SendResult Send(Slice slice) override { return Record("slice", slice.data()); }
  SendResult Send(Buffer buffer) override { return Record("buffer", buffer.front().data()); }
  SendResult SendLent(absl::Span<const uint8_t> bytes) override {
    return Record("lent", bytes.data());
  }
  SendResult SendControl(absl::Span<const uint8_t> bytes) override { return Send(bytes); }
  size_t queued_bytes() const override { return 0; }
  void PauseReceiving() override {}
  void ResumeReceiving() override {}
  bool receiving_paused() const override { return false; }
  void ReceiveInto(absl::Span<uint8_t>) override {}
  void ShutdownSend() override {}
  void Close() override {}
  void Abort(absl::Status) override {}
  bool closing() const override { return false; }
  void SetIdleTimeout(absl::Duration) override {}
  void SetLingerTimeout(absl::Duration) override {}
  void SetLimits(const StreamLimits&) override {}
  SocketAddress peer_address() const override { return {}; }
  SocketAddress local_address() const override { return {}; }

 private:
  void OnHandlerSet() override {}
  SendResult Record(const char* call, const uint8_t* place) {
    calls.push_back(call);
    places.push_back(place);
    return SendResult::kSent;
  }
  EventLoop& loop_;
};

TEST_F(CodecStreamTest, SendInPlaceCopiesOnlyWhatIsShortAndNotLent) {
  auto transport = std::make_unique<SendRecorder>(loop_.loop());
  SendRecorder& sends = *transport;
  CodecStream<LengthCodec> stream(std::move(transport), LengthCodec(), script_);
  std::vector<const uint8_t*> messages;
  script_.on_message = [&](Messages& s, absl::Span<uint8_t> message) {
    messages.push_back(message.data());
    s.SendInPlace(message);
  };
  std::string bytes = Frames({"lent", Pattern(1000), Pattern(5000)});
  const absl::Span<uint8_t> span(reinterpret_cast<uint8_t*>(&bytes[0]), bytes.size());
  sends.Receive(span.first(500));
  sends.Receive(span.subspan(500, 1000));
  sends.Receive(span.subspan(1500));
  EXPECT_THAT(sends.calls, ElementsAre("lent", "copy", "slice"));
  EXPECT_EQ(sends.places[0], messages[0] - 4);
  EXPECT_EQ(sends.places[2], messages[2] - 4);
}

TEST_F(CodecStreamTest, AShortMessageIsSentAsOnePieceAndALongOneAsABuffer) {
  auto transport = std::make_unique<SendRecorder>(loop_.loop());
  SendRecorder& sends = *transport;
  CodecStream<LengthCodec> stream(std::move(transport), LengthCodec(), script_);
  stream.Send(AsSpan(Pattern(2000)));
  stream.Send(AsSpan(Pattern(3000)));
  EXPECT_THAT(sends.calls, ElementsAre("copy", "buffer"));
}

TEST_F(CodecStreamTest, SendInPlaceOfAPartOrOfAnythingElseIsASend) {
  Start();
  std::string other = "other";
  script_.on_message = [&](Messages& stream, absl::Span<uint8_t> message) {
    stream.SendInPlace(message.first(2));
    stream.SendInPlace(message.subspan(1));
    stream.SendInPlace(absl::MakeSpan(reinterpret_cast<uint8_t*>(&other[0]), other.size()));
  };
  Receive(Frames({"abc"}));
  stream_->SendInPlace(absl::MakeSpan(reinterpret_cast<uint8_t*>(&other[0]), other.size()));
  Run();
  EXPECT_EQ(client_->received(), Frames({"ab", "bc", "other", "other"}));
}

TEST_F(CodecStreamTest, FramesSentInPlaceWhileTheyAreHeldBackAreNotDisturbedByWhatFollows) {
  Start();
  pair_.to_client().Hold();
  script_.on_message = [](Messages& stream, absl::Span<uint8_t> message) {
    stream.SendInPlace(message);
    stream.PauseReceiving();
  };
  std::vector<std::string> messages;
  for (size_t i = 0; i < 6; ++i) messages.push_back(Pattern(3000 + i));
  const std::string bytes = Frames(messages);
  // Ends in the middle of a message, whose rest is then put behind what was sent.
  Receive(absl::string_view(bytes).substr(0, 14'000));
  client_->stream().Send(absl::string_view(bytes).substr(14'000));
  for (size_t i = 0; i < messages.size(); ++i) {
    stream_->ResumeReceiving();
    Run();
  }
  pair_.to_client().Release();
  Run();
  EXPECT_TRUE(client_->received() == bytes);
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
}  // namespace sluice
