#include "sluice/protocols/codec/codec_stream.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
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
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/codec/codec_stream_fixture.h"

namespace sluice::codec_stream_test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

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

using ShoutStreamTest = Fixture<ShoutCodec>;

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
  EXPECT_LE(stream_->kept_bytes(), 5004u * 9 / 8 + kOverhead);
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
  EXPECT_LE(stream_->kept_bytes(), kAtOnce * 9 / 8 + kOverhead);
  for (size_t sent = 4; sent < 3 * kMiB;) {
    Receive(std::string(50'000, 'x'));
    sent += 50'000;
    EXPECT_LE(stream_->kept_bytes(), std::max(kAtOnce, 4 * sent) * 9 / 8 + kOverhead);
  }
}

TEST_F(CodecStreamTest, AHeaderDoesNotMakeTheMemoryOfAMessageOfRoundSizeGrowOnceMore) {
  constexpr size_t kAtOnce = CodecStream<LengthCodec>::kAnnouncedAtOnce;
  Start(LengthCodec(kAtOnce));
  Receive(LengthCodec::Length(kAtOnce));
  EXPECT_GE(stream_->kept_bytes(), kAtOnce + 4);
  EXPECT_LE(stream_->kept_bytes(), (kAtOnce + 4) * 9 / 8 + kOverhead);
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
  EXPECT_LE(stream_->kept_bytes(), 10'000 * 9 / 8 + kOverhead);
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
  EXPECT_LE(stream_->kept_bytes(), 2004 * 9 / 8 + kOverhead);
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

}  // namespace
}  // namespace sluice::codec_stream_test
