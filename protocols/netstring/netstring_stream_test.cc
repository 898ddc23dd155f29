#include "sluice/protocols/netstring/netstring_stream.h"

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/stream.h"
#include "sluice/protocols/codec/stream_example_testing.h"
#include "sluice/protocols/netstring/netstring_codec.h"

namespace {

using sluice::netstring::NetstringStream;

// The example of netstring_stream.h, as it stands there.
class Echo : public sluice::netstring::NetstringHandler {
  void OnMessage(NetstringStream& stream, absl::Span<uint8_t> message) override {
    if (stream.SendInPlace(message) == sluice::SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnSendReady(NetstringStream& stream) override { stream.ResumeReceiving(); }
};

}  // namespace

namespace sluice::netstring {
namespace {

using ::testing::ElementsAre;

static_assert(sizeof(NetstringStream) == 64);

TEST(NetstringStreamTest, HeaderExample) {
  Echo echo;
  codec_testing::ExpectEchoes(NetstringCodec(), echo,
                              {"", std::string(5, 'm'), std::string(1000, 'm'),
                               std::string(300'000, 'm'), std::string(7, 'm')});
}

TEST(NetstringStreamTest, AnErrorEndsTheStream) {
  const auto server = codec_testing::Receive(NetstringCodec(500), "4:fine,4:hello,");
  EXPECT_THAT(server.messages, ElementsAre("fine"));
  EXPECT_EQ(server.closed,
            absl::InvalidArgumentError(
                "127.0.0.1:1: receive: a netstring of 4 bytes is followed by 'o', not by a comma"));
}

TEST(NetstringStreamTest, AnEndInTheMiddleOfAMessageIsDataLoss) {
  const auto server = codec_testing::Receive(NetstringCodec(), "5:whole,5:cut");
  EXPECT_THAT(server.messages, ElementsAre("whole"));
  EXPECT_EQ(server.closed.code(), absl::StatusCode::kDataLoss) << server.closed;
}

}  // namespace
}  // namespace sluice::netstring
