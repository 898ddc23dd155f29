#include "sluice/tools/stream_server.h"

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/core/tcp.h"

namespace sluice::tools {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// Tells each client whose connection it has.
class Greeter : public StreamServer::Service {
 public:
  void OnStart(EventLoop& /*loop*/) override { ++starts; }
  void Serve(StreamServer::Client client) override {
    client.stream->Send(
        absl::StrCat(client.source().ToString(), " to ", client.destination().ToString()));
    clients_.push_back(std::make_unique<StreamRecorder>(std::move(client.stream)));
  }
  void OnEnd() override {
    ++ends;
    clients_.clear();
  }

  int starts = 0;
  int ends = 0;

 private:
  std::vector<std::unique_ptr<StreamRecorder>> clients_;
};

class StreamServerTest : public testing::Test {
 protected:
  void Start(bool proxy_protocol) {
    StreamServer::Options options;
    options.listen = SocketAddress::Ipv4Loopback(0);
    options.threads = 2;
    options.proxy_protocol = proxy_protocol;
    options.on_refused = [this](const absl::Status& status) {
      const std::lock_guard lock(mutex_);
      refused_.push_back(status);
    };
    auto server = StreamServer::Start(options, {&greeters_[0], &greeters_[1]});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  // A client that sends this, until something has come or it has ended.
  void Connect(absl::string_view text) {
    connector_.Connect(server_->address(), {}, [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
      ASSERT_TRUE(stream.ok()) << stream.status();
      client_ = std::make_unique<StreamRecorder>(*std::move(stream));
      client_->stream().Send(text);
    });
    EXPECT_TRUE(loop_->RunUntil(
        [&] { return client_ != nullptr && (!client_->received().empty() || client_->closed()); },
        absl::Minutes(1)));
  }

  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  Connector connector_{*loop_};
  std::unique_ptr<StreamRecorder> client_;
  Greeter greeters_[2];
  std::mutex mutex_;
  std::vector<absl::Status> refused_;
  std::unique_ptr<StreamServer> server_;
};

TEST_F(StreamServerTest, HeaderExample) {
  Greeter greeter;
  std::unique_ptr<StreamServer> server =
      *StreamServer::Start({.listen = SocketAddress::Ipv4Loopback(0)}, {&greeter});
  server->Stop(absl::Seconds(5));
  server.reset();
  EXPECT_EQ(greeter.ends, 1);
}

TEST_F(StreamServerTest, AClientIsWhomTheSocketSays) {
  Start(false);
  Connect("x");
  EXPECT_EQ(client_->received(), absl::StrCat(client_->stream().local_address().ToString(), " to ",
                                              server_->address().ToString()));
}

TEST_F(StreamServerTest, AClientIsWhomTheHeaderSays) {
  Start(true);
  Connect("PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n");
  EXPECT_EQ(client_->received(), "192.0.2.1:5 to 192.0.2.2:6");
}

TEST_F(StreamServerTest, AHeaderThatKnowsNobodyLeavesItToTheSocket) {
  Start(true);
  Connect("PROXY UNKNOWN\r\n");
  EXPECT_THAT(client_->received(), HasSubstr(server_->address().ToString()));
}

TEST_F(StreamServerTest, WhoHasNoHeaderIsRefused) {
  Start(true);
  Connect("hello");
  EXPECT_EQ(client_->received(), "");
  EXPECT_EQ(server_->refused(), 1u);
  ASSERT_EQ(refused_.size(), 1u);
  EXPECT_THAT(std::string(refused_[0].message()),
              AllOf(HasSubstr("127.0.0.1:"), HasSubstr("no PROXY protocol header")));
}

TEST_F(StreamServerTest, EachServiceHearsOfTheBeginningAndTheEnd) {
  Start(false);
  EXPECT_EQ(greeters_[0].starts, 1);
  EXPECT_EQ(greeters_[1].starts, 1);
  Connect("x");
  server_.reset();
  EXPECT_EQ(greeters_[0].ends, 1);
  EXPECT_EQ(greeters_[1].ends, 1);
}

}  // namespace
}  // namespace sluice::tools
