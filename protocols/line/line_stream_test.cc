#include "sluice/protocols/line/line_stream.h"

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/stream.h"
#include "sluice/protocols/codec/stream_example_testing.h"
#include "sluice/protocols/line/line_codec.h"

namespace {

using sluice::line::LineStream;

// The example of line_stream.h, as it stands there.
class Echo : public sluice::line::LineHandler {
  void OnMessage(LineStream& stream, absl::Span<uint8_t> line) override {
    if (stream.Send(line) == sluice::SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnSendReady(LineStream& stream) override { stream.ResumeReceiving(); }
};

}  // namespace

namespace sluice::line {
namespace {

using ::testing::ElementsAre;

static_assert(sizeof(LineStream) == 64);

TEST(LineStreamTest, HeaderExample) {
  Echo echo;
  codec_testing::ExpectEchoes(LineCodec(), echo, {"one", "", "three"});
}

TEST(LineStreamTest, ALastLineWithoutItsEndingIsDataLoss) {
  const auto server = codec_testing::Receive(LineCodec(), "whole\nnot who");
  EXPECT_THAT(server.messages, ElementsAre("whole"));
  EXPECT_EQ(server.closed.code(), absl::StatusCode::kDataLoss) << server.closed;
}

TEST(LineStreamTest, ALineOverTheLimitEndsTheStream) {
  const auto server = codec_testing::Receive(LineCodec({.max_line_bytes = 5}), "fine\nsixsix");
  EXPECT_THAT(server.messages, ElementsAre("fine"));
  EXPECT_EQ(
      server.closed,
      absl::ResourceExhaustedError(
          "127.0.0.1:1: receive: a line is longer than the limit of 5 bytes (max_line_bytes)"));
}

TEST(LineStreamTest, AMessageThatIsNoLineIsRefusedAndTheStreamLivesOn) {
  codec_testing::Pair pair(LineCodec({.max_line_bytes = 5}));
  EXPECT_EQ(pair.from().Send("a\nb"), SendResult::kRefused);
  EXPECT_EQ(pair.from().Send("sixsix"), SendResult::kRefused);
  EXPECT_EQ(pair.from().Send("fiver"), SendResult::kSent);
  EXPECT_THAT(pair.arrived(), ElementsAre("fiver"));
}

}  // namespace
}  // namespace sluice::line
