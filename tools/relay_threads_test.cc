// Several loops of a relay before several loops of a server, while they are asked for their counts.
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/core/tcp.h"
#include "sluice/protocols/proxy/proxy_protocol.h"
#include "sluice/tools/echo_server.h"
#include "sluice/tools/frame_protocol.h"
#include "sluice/tools/load.h"
#include "sluice/tools/load_options.h"
#include "sluice/tools/protocol.h"
#include "sluice/tools/relay_service.h"
#include "sluice/tools/stream_server.h"

namespace sluice::tools {
namespace {

class RelayThreadsTest : public testing::Test {
 protected:
  void StartEcho() {
    EchoServer::Options options;
    options.listen = SocketAddress::Ipv4Loopback(0);
    options.threads = 2;
    options.protocol = protocol_.get();
    options.proxy_protocol = true;
    echo_ = *EchoServer::Start(options);
  }

  void StartRelay() {
    options_.backends = {{.name = "echo",
                          .endpoint = {.host = "127.0.0.1", .port = echo_->address().port()},
                          .dialer = std::make_shared<DirectDialer>()}};
    options_.header = proxy::ProxyHeader::Version::k2;
    options_.pool_idle = 2;
    std::vector<StreamServer::Service*> pointers;
    for (int i = 0; i < 2; ++i) {
      services_.push_back(std::make_unique<RelayService>(options_));
      pointers.push_back(services_.back().get());
    }
    relay_ =
        *StreamServer::Start({.listen = SocketAddress::Ipv4Loopback(0), .threads = 2}, pointers);
  }

  RelayTotals Totals() {
    RelayTotals totals;
    relay_->RunOnEach([&](EventLoop& /*loop*/, int index) {
      totals += services_[static_cast<size_t>(index)]->totals();
    });
    return totals;
  }

  LoadResult RunLoad() {
    LoadOptions options = {.connections = 16,
                           .pipeline = 3,
                           .size = 1000,
                           .duration = absl::Milliseconds(200),
                           .timeout = absl::Minutes(1),
                           .threads = 2};
    options.protocol = protocol_.get();
    options.dialer = std::make_shared<FixedDialer>(relay_->address());
    options.url.authority = relay_->address().ToString();
    absl::StatusOr<LoadResult> result =
        Load(options).Run(absl::Milliseconds(10), [this](const Load::Progress&) { Totals(); });
    EXPECT_TRUE(result.ok()) << result.status();
    return *std::move(result);
  }

  const std::unique_ptr<Protocol> protocol_ = FrameProtocol();
  std::unique_ptr<EchoServer> echo_;
  RelayOptions options_;
  std::vector<std::unique_ptr<RelayService>> services_;
  std::unique_ptr<StreamServer> relay_;
};

TEST_F(RelayThreadsTest, EveryMessageComesBackAndIsCounted) {
  StartEcho();
  StartRelay();
  const LoadResult result = RunLoad();
  EXPECT_EQ(result.errors.total(), 0u) << result.errors.first;
  EXPECT_GE(result.messages, 48u);
  relay_->Stop(absl::Minutes(1));
  const RelayTotals totals = Totals();
  EXPECT_EQ(totals.connections, 16u);
  EXPECT_EQ(totals.errors, 0u);
  EXPECT_EQ(totals.backends[0].open, 0u);
  EXPECT_EQ(totals.backends[0].bytes_up, result.messages * 1004);
  EXPECT_EQ(totals.backends[0].bytes_down, result.messages * 1004);
}

TEST_F(RelayThreadsTest, WithoutAStopAllIsCut) {
  StartEcho();
  StartRelay();
  std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  std::vector<std::unique_ptr<StreamRecorder>> clients;
  Connector connector(*loop);
  for (int i = 0; i < 8; ++i) {
    connector.Connect(relay_->address(), {}, [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
      ASSERT_TRUE(stream.ok()) << stream.status();
      clients.push_back(std::make_unique<StreamRecorder>(*std::move(stream)));
    });
    const size_t before = clients.size();
    ASSERT_TRUE(loop->RunUntil([&] { return clients.size() > before; }, absl::Minutes(1)));
  }
  relay_.reset();
  for (const auto& client : clients) {
    EXPECT_TRUE(loop->RunUntil([&] { return client->closed().has_value(); }, absl::Minutes(1)));
  }
}

}  // namespace
}  // namespace sluice::tools
