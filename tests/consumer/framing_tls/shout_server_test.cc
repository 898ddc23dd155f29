// Server and client over the loopback interface of this machine.
#include "shout_server.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/protocols/framing/frame_codec.h"
#include "sluice/protocols/framing/frame_stream.h"
#include "sluice/tls/context.h"
#include "sluice/tls/dialer.h"
#include "sluice/tls/testing.h"

namespace shout {
namespace {

namespace framing = sluice::framing;
namespace tls = sluice::tls;

constexpr absl::Duration kFarTooLong = absl::Minutes(1);

class ShoutServerTest : public testing::Test {
 protected:
  // What a client that trusts `roots` gets.
  absl::StatusOr<std::unique_ptr<sluice::Stream>> Connect(const tls::TrustRoots& roots) {
    const tls::Dialer dialer(std::make_shared<sluice::DirectDialer>(),
                             *tls::ClientContext::Create({.roots = roots}));
    absl::StatusOr<std::unique_ptr<sluice::Stream>> result =
        absl::UnknownError("there is no answer");
    bool done = false;
    const auto attempt =
        dialer.Dial(*loop_, {.host = "127.0.0.1", .port = listener_->address().port()}, {},
                    [&](absl::StatusOr<std::unique_ptr<sluice::Stream>> stream) {
                      result = std::move(stream);
                      done = true;
                    });
    loop_->RunUntil([&] { return done; }, kFarTooLong);
    return result;
  }

  const tls::TestAuthority authority_;
  ShoutServer server_{
      *tls::ServerContext::Create({.identities = {authority_.Issue({.names = {"127.0.0.1"}})}})};
  const std::unique_ptr<sluice::EventLoop> loop_ = *sluice::EventLoop::Create();
  const std::unique_ptr<sluice::Listener> listener_ =
      *server_.Listen(*loop_, sluice::SocketAddress::Ipv4Loopback(0));
};

class Listening : public framing::FrameHandler {
 public:
  std::vector<std::string> heard;

 private:
  void OnMessage(framing::FrameStream&, absl::Span<uint8_t> text) override {
    heard.emplace_back(text.begin(), text.end());
  }
};

TEST_F(ShoutServerTest, AnswersInCapitalLetters) {
  auto stream = Connect(authority_.roots());
  ASSERT_TRUE(stream.ok()) << stream.status();
  Listening listening;
  framing::FrameStream frames(*std::move(stream), framing::FrameCodec(), listening);
  const std::string long_text(100'000, 'x');
  frames.Send("hello, World");
  frames.Send("");
  frames.Send(long_text);
  ASSERT_TRUE(loop_->RunUntil([&] { return listening.heard.size() == 3; }, kFarTooLong));
  EXPECT_THAT(listening.heard,
              testing::ElementsAre("HELLO, WORLD", "", std::string(long_text.size(), 'X')));
}

TEST_F(ShoutServerTest, AClientThatDoesNotTrustItsCertificateTurnsAway) {
  const tls::TestAuthority other;
  EXPECT_EQ(Connect(other.roots()).status().code(), absl::StatusCode::kUnauthenticated);
}

}  // namespace
}  // namespace shout
