#include "sluice/protocols/varint/varint_stream.h"

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/stream.h"
#include "sluice/protocols/codec/stream_example_testing.h"
#include "sluice/protocols/varint/varint_codec.h"

namespace {

using sluice::varint::VarintStream;

// The example of varint_stream.h, as it stands there.
class Echo : public sluice::varint::VarintHandler {
  void OnMessage(VarintStream& stream, absl::Span<uint8_t> message) override {
    if (stream.SendInPlace(message) == sluice::SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnSendReady(VarintStream& stream) override { stream.ResumeReceiving(); }
};

}  // namespace

namespace sluice::varint {
namespace {

using ::testing::ElementsAre;

static_assert(sizeof(VarintStream) == 64);

TEST(VarintStreamTest, HeaderExample) {
  Echo echo;
  codec_testing::ExpectEchoes(VarintCodec(), echo,
                              {"", std::string(5, 'm'), std::string(1000, 'm'),
                               std::string(300'000, 'm'), std::string(7, 'm')});
}

TEST(VarintStreamTest, AnErrorEndsTheStream) {
  const auto server = codec_testing::Receive(VarintCodec(500), "\4fine\xff\x7f");
  EXPECT_THAT(server.messages, ElementsAre("fine"));
  EXPECT_EQ(server.closed,
            absl::ResourceExhaustedError("127.0.0.1:1: receive: a message of 16383 bytes is over "
                                         "the limit of 500 (max_message_bytes)"));
}

TEST(VarintStreamTest, AnEndInTheMiddleOfAMessageIsDataLoss) {
  const auto server = codec_testing::Receive(VarintCodec(), "\5whole\5cut");
  EXPECT_THAT(server.messages, ElementsAre("whole"));
  EXPECT_EQ(server.closed.code(), absl::StatusCode::kDataLoss) << server.closed;
}

}  // namespace
}  // namespace sluice::varint
