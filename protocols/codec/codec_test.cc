#include "sluice/protocols/codec/codec.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest-spi.h"
#include "gtest/gtest.h"
#include "sluice/core/buffer.h"
#include "sluice/protocols/codec/codec_conversation_testing.h"
#include "sluice/protocols/codec/codec_testing.h"
#include "sluice/protocols/codec/short_text_codec.h"

static_assert(sluice::Codec<ShortTextCodec>);

namespace sluice {
namespace {

using ::testing::ElementsAre;

static_assert(ByteCodec<ShortTextCodec>);
static_assert(EncoderOf<ShortTextCodec, absl::Span<uint8_t>>);
static_assert(!EncoderOf<ShortTextCodec, int>);
static_assert(!Codec<int>);

// Lines, for a message that is no span, bytes that carry no message, and an end that is found only
// when it is there.
class LineCodec {
 public:
  struct Message {
    std::string line;
  };
  friend std::string DescribeMessage(const Message& message) { return message.line; }

  DecodeResult Decode(absl::Span<uint8_t> in, Message& message) {
    if (failed_) return DecodeResult::Error();
    const uint8_t* const begin = in.data();
    const uint8_t* const end = begin + in.size();
    const uint8_t* const newline = std::find(begin + looked_at_, end, '\n');
    if (static_cast<size_t>(newline - begin) >= kMax) {
      failed_ = true;
      return DecodeResult::Error();
    }
    if (newline == end) {
      looked_at_ = in.size();
      return DecodeResult::NeedMore(0);
    }
    looked_at_ = 0;
    if (newline == begin) return DecodeResult::Skipped(1);
    message.line.assign(begin, newline);
    return DecodeResult::Message(static_cast<size_t>(newline - begin) + 1);
  }
  absl::Status status() const {
    return failed_ ? absl::ResourceExhaustedError("a line is over the limit of 9 bytes")
                   : absl::OkStatus();
  }
  size_t max_frame_bytes() const { return kMax; }

 private:
  static constexpr size_t kMax = 10;
  size_t looked_at_ = 0;
  bool failed_ = false;
};
static_assert(Codec<LineCodec>);
static_assert(!ByteCodec<LineCodec>);

TEST(CodecTest, HeaderExample) {
  Buffer out;
  ShortTextCodec codec;
  const std::string hi = "hi";
  EXPECT_EQ(codec.Encode(absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(hi.data()), 2), out),
            EncodeResult::kEncoded);
  EXPECT_EQ(out.ToString(), "\x02hi");
}

TEST(CodecTestingTest, HeaderExample) {
  codec_testing::Decoded decoded =
      codec_testing::DecodeEveryWay(ShortTextCodec(), "\x02hi\x03you\x05trun");
  EXPECT_THAT(decoded.messages, ElementsAre("hi", "you"));
  EXPECT_EQ(decoded.unfinished, 5u);
  codec_testing::ExpectKeepsPromises(
      ShortTextCodec(), [](std::minstd_rand& random) { return std::string(random() % 256, 'x'); });
}

TEST(CodecConversationTestingTest, HeaderExample) {
  codec_testing::ExpectConverses(
      ShortTextCodec(), [](std::minstd_rand& random) { return std::string(random() % 256, 'x'); });
}

TEST(CodecConversationTestingTest, SaysThatAMessageCannotBeEncoded) {
  testing::TestPartResultArray failures;
  {
    testing::ScopedFakeTestPartResultReporter reporter(&failures);
    codec_testing::ExpectConverses(ShortTextCodec(),
                                   [](std::minstd_rand&) { return std::string(256, 'x'); });
  }
  ASSERT_GE(failures.size(), 1);
  EXPECT_THAT(failures.GetTestPartResult(0).message(), testing::HasSubstr("cannot be encoded"));
}

TEST(CodecTestingTest, MessagesThatAreNoBytesAndBytesThatAreNoMessage) {
  const codec_testing::Decoded decoded =
      codec_testing::DecodeEveryWay(LineCodec(), "one\n\n\ntwo\nthr");
  EXPECT_THAT(decoded.messages, ElementsAre("one", "two"));
  EXPECT_EQ(decoded.unfinished, 3u);
  EXPECT_EQ(decoded.status, absl::OkStatus());
}

TEST(CodecTestingTest, AnErrorEndsTheMessages) {
  const codec_testing::Decoded decoded =
      codec_testing::DecodeEveryWay(LineCodec(), "one\nfar too long\ntwo\n");
  EXPECT_THAT(decoded.messages, ElementsAre("one"));
  EXPECT_EQ(decoded.unfinished, 0u);
  EXPECT_EQ(decoded.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_LE(decoded.most_kept, 10u);
}

TEST(CodecTestingTest, SurvivesGarbage) {
  codec_testing::ExpectSurvivesGarbage(LineCodec(), "one\ntwo\n", 1000);
}

TEST(CodecTestingTest, EveryWayCutsAtEveryPoint) {
  const std::vector<codec_testing::Pieces> ways = codec_testing::EveryWay(12);
  for (size_t cut = 1; cut < 12; ++cut) {
    EXPECT_THAT(ways, testing::Contains(codec_testing::Pieces{cut}));
  }
  EXPECT_THAT(ways, testing::Contains(codec_testing::Pieces(12, 1)));
}

// The kit must see what it is there for. Each of these breaks one promise of codec.h.

struct PromiseBreaker {
  using Message = absl::Span<uint8_t>;
  EncodeResult Encode(absl::Span<const uint8_t> message, Buffer& out) const {
    out.Append(message);
    return EncodeResult::kEncoded;
  }
  absl::Status status() const { return absl::OkStatus(); }
  size_t max_frame_bytes() const { return 4; }
};

struct TakesMoreThanThereIs : PromiseBreaker {
  DecodeResult Decode(absl::Span<uint8_t> in, Message&) {
    return DecodeResult::Message(in.size() + 1);
  }
};
struct TakesNothing : PromiseBreaker {
  DecodeResult Decode(absl::Span<uint8_t>, Message&) { return DecodeResult::Message(0); }
};
struct KeepsMoreThanItsLimit : PromiseBreaker {
  DecodeResult Decode(absl::Span<uint8_t>, Message&) { return DecodeResult::NeedMore(0); }
};
struct WantsWhatItHas : PromiseBreaker {
  DecodeResult Decode(absl::Span<uint8_t> in, Message&) {
    return in.empty() ? DecodeResult::NeedMore(1) : DecodeResult::NeedMore(in.size());
  }
};
struct FailsWithoutAStatus : PromiseBreaker {
  DecodeResult Decode(absl::Span<uint8_t>, Message&) { return DecodeResult::Error(); }
};
// A message is whatever has arrived.
struct DependsOnTheCuts : PromiseBreaker {
  DecodeResult Decode(absl::Span<uint8_t> in, Message& message) {
    if (in.empty()) return DecodeResult::NeedMore(1);
    message = in;
    return DecodeResult::Message(in.size());
  }
};

// Messages of two bytes, and one of them is looked for where only one is there.
struct ReadsBeyondTheBytes : PromiseBreaker {
  DecodeResult Decode(absl::Span<uint8_t> in, Message& message) {
    if (in.empty() || in.data()[1] == '!') return DecodeResult::NeedMore(in.size() + 1);
    if (in.size() < 2) return DecodeResult::NeedMore(2);
    message = in.first(2);
    return DecodeResult::Message(2);
  }
};

// Blocks of four bytes; each variant below has one fault.
struct BlockCodec : PromiseBreaker {
  DecodeResult Decode(absl::Span<uint8_t> in, Message& message) {
    if (in.size() < 4) return DecodeResult::NeedMore(4);
    message = in.first(4);
    return DecodeResult::Message(4);
  }
  EncodeResult Encode(absl::Span<const uint8_t> message, Buffer& out) const {
    if (message.size() != 4) return EncodeResult::kInvalid;
    out.Append(message);
    return EncodeResult::kEncoded;
  }
};
struct TakesLessThanItEncodes : BlockCodec {
  EncodeResult Encode(absl::Span<const uint8_t> message, Buffer& out) const {
    if (message.size() > 4) return EncodeResult::kTooLong;
    out.Append(message);
    return EncodeResult::kEncoded;
  }
};
struct AppendsBeforeItRefuses : BlockCodec {
  EncodeResult Encode(absl::Span<const uint8_t> message, Buffer& out) const {
    out.Append(message);
    return message.size() == 4 ? EncodeResult::kEncoded : EncodeResult::kInvalid;
  }
};
struct FailsWhenTruncated : BlockCodec {
  DecodeResult Decode(absl::Span<uint8_t> in, Message& message) {
    failed = failed || in.size() == 3;
    return failed ? DecodeResult::Error() : BlockCodec::Decode(in, message);
  }
  absl::Status status() const { return failed ? absl::DataLossError("3") : absl::OkStatus(); }
  bool failed = false;
};
struct HoldsAllThatCame : BlockCodec {
  DecodeResult Decode(absl::Span<uint8_t> in, Message& message) {
    all.append(reinterpret_cast<const char*>(in.data()), std::min<size_t>(in.size(), 4));
    return BlockCodec::Decode(in, message);
  }
  std::string all;
};
struct ChangesReusableFrames : BlockCodec {
  static constexpr bool kFrameIsReusable = true;
  DecodeResult Decode(absl::Span<uint8_t> in, Message& message) {
    const DecodeResult result = BlockCodec::Decode(in, message);
    if (result.kind == DecodeResult::Kind::kMessage) in[0] = 0;
    return result;
  }
};

std::string Block(std::minstd_rand& random) {
  return std::string(4, static_cast<char>('a' + random() % 26));
}

// The first failure of the whole kit for a codec, or "".
template <typename C>
std::string FailureOf(const C& codec) {
  testing::TestPartResultArray failures;
  {
    testing::ScopedFakeTestPartResultReporter reporter(&failures);
    codec_testing::ExpectKeepsPromises(codec, Block);
  }
  return failures.size() == 0 ? "" : failures.GetTestPartResult(0).message();
}

TEST(CodecTestingTest, FindsNothingWrongWithARightCodec) { EXPECT_EQ(FailureOf(BlockCodec()), ""); }
TEST(CodecTestingTest, SeesACodecThatIsWrong) {
  using ::testing::HasSubstr;
  EXPECT_THAT(FailureOf(TakesLessThanItEncodes()), HasSubstr("was encoded, but is decoded to"));
  EXPECT_THAT(FailureOf(AppendsBeforeItRefuses()), HasSubstr("was refused, but Encode appended"));
  EXPECT_THAT(FailureOf(FailsWhenTruncated()),
              HasSubstr("Decode wanted 4 bytes, and then went on with 3"));
  EXPECT_THAT(FailureOf(ChangesReusableFrames()), HasSubstr("Decode has changed the bytes"));
}
TEST(CodecTestingTest, SeesACodecThatHoldsMoreAndMore) {
  if (codec_testing::AllocatedBytes() == 0) GTEST_SKIP() << "a sanitizer has its own malloc";
  EXPECT_THAT(FailureOf(HoldsAllThatCame()), testing::HasSubstr("holds more and more memory"));
}
TEST(CodecTestingDeathTest, SeesACodecThatReadsBeyondTheBytes) {
  EXPECT_DEATH(codec_testing::Decode(ReadsBeyondTheBytes(), "x"),
               "Decode used bytes beyond those that it was given|heap-buffer-overflow");
}

TEST(CodecTestingTest, SeesACodecThatTakesMoreThanThereIs) {
  EXPECT_NONFATAL_FAILURE(codec_testing::Decode(TakesMoreThanThereIs(), "x"),
                          "Decode took 2 of 1 bytes");
}
TEST(CodecTestingTest, SeesACodecThatTakesNothing) {
  EXPECT_NONFATAL_FAILURE(codec_testing::Decode(TakesNothing(), "x"), "Decode took 0 of 1 bytes");
}
TEST(CodecTestingTest, SeesACodecThatKeepsMoreThanItsLimit) {
  EXPECT_NONFATAL_FAILURE(codec_testing::Decode(KeepsMoreThanItsLimit(), "xxxx"),
                          "as long as the limit");
}
TEST(CodecTestingTest, SeesACodecThatWantsWhatItHas) {
  EXPECT_NONFATAL_FAILURE(codec_testing::Decode(WantsWhatItHas(), "x"), "Decode wants what it has");
}
TEST(CodecTestingTest, SeesACodecThatFailsWithoutAStatus) {
  testing::TestPartResultArray failures;
  {
    testing::ScopedFakeTestPartResultReporter reporter(&failures);
    codec_testing::Decode(FailsWithoutAStatus(), "x");
  }
  EXPECT_GE(failures.size(), 1);
}
TEST(CodecTestingTest, SeesACodecThatDependsOnHowTheBytesWereCut) {
  testing::TestPartResultArray failures;
  {
    testing::ScopedFakeTestPartResultReporter reporter(&failures);
    codec_testing::DecodeEveryWay(DependsOnTheCuts(), "abcd");
  }
  EXPECT_GE(failures.size(), 1);
}
TEST(CodecTestingTest, SeesACodecWhoseEncodingIsNotTheInverse) {
  testing::TestPartResultArray failures;
  {
    testing::ScopedFakeTestPartResultReporter reporter(&failures);
    codec_testing::ExpectSameWhenEncodedAgain(DependsOnTheCuts(),
                                              "ab");  // says ab when whole, but a, b when cut
    codec_testing::ExpectRoundTrip(DependsOnTheCuts(), {"ab", "cd"});
  }
  EXPECT_GE(failures.size(), 1);
}

}  // namespace
}  // namespace sluice
