#include "sluice/protocols/usp/zlib_frame_stream.h"

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/codec/stream_example_testing.h"
#include "sluice/protocols/usp/zlib_frame_codec.h"

namespace {

using sluice::usp::ZlibFrameStream;

// The example of zlib_frame_stream.h, as it stands there.
class Echo : public sluice::usp::ZlibFrameHandler {
  void OnMessage(ZlibFrameStream& stream, absl::Span<uint8_t> message) override {
    if (stream.Send(message) == sluice::SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnSendReady(ZlibFrameStream& stream) override { stream.ResumeReceiving(); }
};

}  // namespace

namespace sluice::usp {
namespace {

using ::testing::ElementsAre;

TEST(ZlibFrameStreamTest, HeaderExample) {
  Echo echo;
  codec_testing::ExpectEchoes(ZlibFrameCodec(), echo,
                              {"", "m", std::string(1000, 'm'), std::string(70'000, 'm'), "mmm"});
}

TEST(ZlibFrameStreamTest, AnErrorOfTheCodecEndsTheStream) {
  const auto server = codec_testing::Receive(ZlibFrameCodec(), "GET / HTTP/1.1\r\n\r\n");
  EXPECT_THAT(server.messages, ElementsAre());
  EXPECT_EQ(server.closed, absl::ResourceExhaustedError(
                               "127.0.0.1:1: receive: a frame of 542393671 compressed bytes is "
                               "over the limit of 1048909 (max_compressed_bytes)"));
}

// A frame of 1 KiB can be 1 MiB: many silent connections would hold that many of them.
TEST(ZlibFrameStreamTest, ALargeMessageIsNotKeptBehindItsCallback) {
  for (const bool pauses : {false, true}) {
    VirtualLoop loop;
    StreamPair pair(loop.loop());
    codec_testing::Recorder<ZlibFrameCodec> server, client;
    server.pauses = pauses;
    ZlibFrameStream to(pair.TakeServer(), ZlibFrameCodec(), server);
    ZlibFrameStream from(pair.TakeClient(), ZlibFrameCodec(), client);
    from.Send(std::string(1024 * 1024, 'x'));
    loop.RunUntilIdle();
    ASSERT_EQ(server.messages.size(), 1u);
    EXPECT_LE(to.codec().memory_bytes(), 4096u);
  }
}

TEST(ZlibFrameStreamTest, AMessageThatIsTooLongIsRefusedAndTheStreamLivesOn) {
  codec_testing::Pair<ZlibFrameCodec> pair{ZlibFrameCodec()};
  EXPECT_EQ(pair.from().Send(std::string(1024 * 1024 + 1, 'x')), SendResult::kRefused);
  EXPECT_EQ(pair.from().Send("fine"), SendResult::kSent);
  EXPECT_THAT(pair.arrived(), ElementsAre("fine"));
}

}  // namespace
}  // namespace sluice::usp
