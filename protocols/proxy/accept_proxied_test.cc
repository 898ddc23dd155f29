#include "sluice/protocols/proxy/accept_proxied.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream_testing.h"
#include "sluice/core/tcp.h"

namespace sluice::proxy {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

constexpr absl::string_view kText = "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n";

class AcceptProxiedTest : public testing::Test {
 protected:
  void Accept(const AcceptProxiedOptions& options = {}) {
    calls_ = 0;
    pair_ = std::make_unique<StreamPair>(loop_->loop());
    proxied_.reset();
    client_ = std::make_unique<StreamRecorder>(pair_->TakeClient());
    AcceptProxied(pair_->TakeServer(), options, [this](absl::StatusOr<Proxied> proxied) {
      ++calls_;
      proxied_ = std::move(proxied);
    });
    EXPECT_EQ(calls_, 0);
    loop_->RunUntilIdle();
  }
  void Send(absl::string_view bytes) {
    client_->stream().Send(bytes);
    loop_->RunUntilIdle();
  }
  bool accepted() const { return calls_ == 1 && proxied_->ok(); }
  absl::Status Error() const {
    return calls_ == 1 ? proxied_->status() : absl::UnknownError("not called once");
  }
  // What the stream's next user gets.
  std::string Rest() {
    StreamRecorder recorder(std::move((*proxied_)->stream));
    loop_->RunUntilIdle();
    return recorder.received();
  }

  int calls_ = 0;
  std::optional<absl::StatusOr<Proxied>> proxied_;
  std::unique_ptr<VirtualLoop> loop_ = std::make_unique<VirtualLoop>();
  std::unique_ptr<StreamPair> pair_;
  std::unique_ptr<StreamRecorder> client_;
};

TEST_F(AcceptProxiedTest, HeaderExample) {
  std::unique_ptr<EventLoop> system_loop = *EventLoop::Create();
  EventLoop& loop = *system_loop;
  const SocketAddress address = SocketAddress::Ipv4Loopback(0);
  SocketAddress served;
  const auto Serve = [&](std::unique_ptr<Stream>, const SocketAddress& source) { served = source; };

  auto listener = Listener::Listen(loop, address, {}, [&](std::unique_ptr<Stream> stream) {
    proxy::AcceptProxied(std::move(stream), {}, [&](absl::StatusOr<proxy::Proxied> proxied) {
      if (proxied.ok()) Serve(std::move(proxied->stream), proxied->header.source);
    });
  });

  std::unique_ptr<Stream> client;
  Connector connector(loop);
  connector.Connect((*listener)->address(), {},
                    [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
                      client = *std::move(stream);
                      client->Send(kText);
                    });
  EXPECT_TRUE(loop.RunUntil([&] { return served.is_ip(); }, absl::Seconds(30)));
  EXPECT_EQ(served.ToString(), "192.0.2.1:56324");
}

// At each place where the bytes can be cut in two, and one by one.
TEST_F(AcceptProxiedTest, NothingBehindTheHeaderIsLostOrTaken) {
  const std::string binary = *WriteProxyHeader({.values = {{1, "h2"}}, .has_checksum = true});
  for (const std::string& header : {std::string(kText), std::string("PROXY UNKNOWN\r\n"), binary}) {
    const std::string sent = header + "hello";
    for (size_t cut = 1; cut <= sent.size(); ++cut) {
      Accept();
      Send(sent.substr(0, cut));
      Send(sent.substr(cut));
      ASSERT_TRUE(accepted()) << Error();
      EXPECT_EQ(Rest(), "hello");
    }
    Accept();
    for (const char byte : sent) Send(std::string(1, byte));
    ASSERT_TRUE(accepted()) << Error();
    EXPECT_EQ(Rest(), "hello");
  }
}

TEST_F(AcceptProxiedTest, TellsWhomTheProxyConnectsFor) {
  Accept();
  Send(kText);
  ASSERT_TRUE(accepted());
  EXPECT_EQ((*proxied_)->header.source.ToString(), "192.0.2.1:56324");
  EXPECT_EQ((*proxied_)->header.destination.ToString(), "198.51.100.2:443");
}

TEST_F(AcceptProxiedTest, AServerMaySpeakFirst) {
  Accept();
  Send(kText);
  ASSERT_TRUE(accepted());
  (*proxied_)->stream->Send("220 ready");
  loop_->RunUntilIdle();
  EXPECT_EQ(client_->received(), "220 ready");
}

TEST_F(AcceptProxiedTest, OtherBytesEndTheConnectionAtOnce) {
  Accept();
  Send("GET");
  EXPECT_EQ(Error().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(Error().message()), HasSubstr("no PROXY protocol header"));
  EXPECT_TRUE(client_->closed().has_value());
}

TEST_F(AcceptProxiedTest, ThereIsADeadline) {
  Accept({.timeout = absl::Seconds(3)});
  loop_->Advance(absl::Seconds(2));
  Send(kText.substr(0, 20));
  EXPECT_EQ(calls_, 0);
  loop_->Advance(absl::Seconds(2));
  EXPECT_EQ(Error().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(Error().message()), HasSubstr("within 3s"));
  EXPECT_TRUE(client_->closed().has_value());
}

TEST_F(AcceptProxiedTest, TheDeadlineEndsWithTheHeader) {
  Accept({.timeout = absl::Seconds(3)});
  Send(kText);
  loop_->Advance(absl::Minutes(1));
  EXPECT_TRUE(accepted());
  Send("later");
  EXPECT_EQ(Rest(), "later");
}

TEST_F(AcceptProxiedTest, AnEndBeforeTheHeader) {
  Accept();
  Send("PROXY ");
  client_->stream().Close();
  loop_->RunUntilIdle();
  EXPECT_EQ(Error().code(), absl::StatusCode::kUnavailable);
}

TEST_F(AcceptProxiedTest, AReset) {
  Accept();
  client_->Destroy();
  loop_->RunUntilIdle();
  EXPECT_EQ(Error().code(), absl::StatusCode::kUnavailable);
}

TEST_F(AcceptProxiedTest, AnErrorNamesThePeerOnce) {
  Accept();
  pair_->Break(absl::UnavailableError("broken"));
  loop_->RunUntilIdle();
  const absl::Status named = Error();
  EXPECT_THAT(std::string(named.message()), EndsWith(": broken"));
  // As a socket's stream names it.
  Accept();
  pair_->Break(named);
  loop_->RunUntilIdle();
  EXPECT_EQ(Error(), named);
}

TEST_F(AcceptProxiedTest, ADrainDoesNotWaitForTheHeader) {
  Accept();
  bool drained = false;
  loop_->loop().Drain(absl::Minutes(1), [&] { drained = true; });
  loop_->RunUntilIdle();
  EXPECT_EQ(Error().code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(drained);
}

TEST_F(AcceptProxiedTest, TheLoopsEnd) {
  Accept();
  loop_.reset();
  EXPECT_EQ(Error().code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace sluice::proxy
