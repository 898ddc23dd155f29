#include "cobs/cobs_codec.h"

#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/protocols/codec/codec_conversation_testing.h"
#include "sluice/protocols/codec/codec_testing.h"

namespace cobs {
namespace {

namespace codec_testing = sluice::codec_testing;
using testing::ElementsAre;
using testing::HasSubstr;

// With long runs without a 0, and with zeros that follow one another.
std::string AnyMessage(std::minstd_rand& random) {
  std::string message(random() % 600, '\0');
  const uint32_t zeros = random() % 300;
  for (char& c : message) c = random() % 300 < zeros ? '\0' : static_cast<char>(random());
  return message;
}

TEST(CobsCodecTest, KeepsItsPromises) {
  codec_testing::ExpectKeepsPromises(CobsCodec(600), AnyMessage);
}

TEST(CobsCodecTest, ConversesOverABadNetwork) {
  codec_testing::ExpectConverses(CobsCodec(600), AnyMessage);
}

TEST(CobsCodecTest, EncodesAsThePaperSays) {
  const std::string run(254, 'x');
  const std::string encoded = codec_testing::ExpectRoundTrip(
      CobsCodec(600), {"", std::string("\0", 1), std::string("a\0\0b", 4), run, run + "y",
                       absl::StrCat(run, std::string("\0", 1))});
  EXPECT_EQ(encoded,
            absl::StrCat(std::string("\1\0", 2), std::string("\1\1\0", 3),
                         std::string("\2a\1\2b\0", 6), "\xff", run, std::string("\0", 1), "\xff",
                         run, std::string("\2y\0", 3), "\xff", run, std::string("\1\1\0", 3)));
}

TEST(CobsCodecTest, AMessageThatIsTooLongIsAnErrorThatSaysSo) {
  const auto decoded =
      codec_testing::DecodeEveryWay(CobsCodec(4), std::string("\2a\0\0\6bcdef\0", 11));
  EXPECT_THAT(decoded.messages, ElementsAre("a"));
  EXPECT_THAT(std::string(decoded.status.message()), HasSubstr("more than 4 bytes"));
}

TEST(CobsCodecTest, ABlockThatIsTornIsAnError) {
  const auto decoded = codec_testing::DecodeEveryWay(CobsCodec(40), std::string("\5abc\0", 5));
  EXPECT_THAT(std::string(decoded.status.message()), HasSubstr("a block"));
}

}  // namespace
}  // namespace cobs
