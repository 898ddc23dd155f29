#include "sluice/protocols/websocket/url_client.h"

#include <functional>
#include <memory>
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
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/simulation.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/handler.h"
#include "sluice/protocols/websocket/server.h"

namespace sluice::websocket {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Echo : public Handler {
 public:
  std::vector<std::string> requests;
  int refuse_with = 0;

 private:
  void OnRequest(Connection&, const HandshakeRequest& request, HandshakeReply& reply) override {
    requests.push_back(absl::StrCat(request.host(), request.target()));
    if (refuse_with != 0) reply.Respond(refuse_with, "no");
  }
  void OnMessage(Connection& c, const Message& message) override { c.SendInPlace(message); }
};

class Log : public Handler {
 public:
  std::vector<std::string> events;
  Connection* connection = nullptr;
  std::function<void()> on_open = [] {};
  bool* destroyed = nullptr;

  ~Log() override {
    if (destroyed != nullptr) *destroyed = true;
  }

 private:
  void OnOpen(Connection& c) override {
    events.push_back(absl::StrCat("open", c.subprotocol()));
    connection = &c;
    c.SendText("hello");
    on_open();
  }
  void OnMessage(Connection&, const Message& m) override { events.emplace_back(m.text()); }
  void OnClose(Connection&, const CloseInfo& info) override {
    events.push_back(absl::StrCat("close ", static_cast<int>(info.code)));
    connection = nullptr;
  }
};

class UrlClientTest : public testing::Test {
 protected:
  void Listen() {
    listener_ = *Listener::Listen(
        server_host_.loop(), server_host_.Address(9000), {},
        [this](std::unique_ptr<Stream> stream) { server_.Serve(std::move(stream), echo_); });
  }
  // A server that accepts, and says only this.
  void ListenAndSay(absl::string_view text) {
    listener_ = *Listener::Listen(server_host_.loop(), server_host_.Address(9000), {},
                                  [this, text](std::unique_ptr<Stream> stream) {
                                    stream->Send(text);
                                    kept_.push_back(std::move(stream));
                                  });
  }
  void Connect(absl::string_view url = "ws://10.0.0.1:9000/chat") {
    absl::StatusOr<std::unique_ptr<UrlClient>> client =
        UrlClient::Create(client_host_.loop(), url, options_);
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
    failures_ = 0;
    begin_ = network_.now();
    attempt_ = client_->Connect(log_, [this](const absl::Status& why) { OnFailure(why); });
    EXPECT_EQ(failures_, 0);
  }
  void OnFailure(const absl::Status& why) {
    ++failures_;
    failure_ = why;
    took_ = network_.now() - begin_;
    attempt_.reset();  // which is allowed
  }
  void Run() { network_.RunFor(absl::Seconds(1)); }
  std::string Failure() const {
    return failures_ == 1 ? std::string(failure_.message()) : absl::StrCat(failures_, " failures");
  }

  Echo echo_;  // before the network
  Log log_;
  Server server_{{}};
  UrlClient::Options options_;
  std::unique_ptr<UrlClient> client_;
  SimulatedNetwork network_{1};
  SimulatedHost& server_host_ = network_.AddHost("10.0.0.1");
  SimulatedHost& client_host_ = network_.AddHost("10.0.0.2");
  std::vector<std::unique_ptr<Stream>> kept_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<UrlClient::Attempt> attempt_;
  MonotonicTime begin_;
  absl::Duration took_;
  int failures_ = 0;
  absl::Status failure_;
};

TEST_F(UrlClientTest, HeaderExample) {
  EventLoop& loop = client_host_.loop();
  Log& handler = log_;
  const auto Complain = [](const absl::Status&) {};
  const auto example = [&]() -> absl::Status {
    websocket::UrlClient::Options options;
    options.client.handshake.subprotocols = {"chat"};
    auto client = websocket::UrlClient::Create(loop, "ws://127.0.0.1:9000/chat", options);
    if (!client.ok()) return client.status();
    auto attempt = (*client)->Connect(handler, [&](const absl::Status& why) { Complain(why); });
    return absl::OkStatus();
  };
  EXPECT_EQ(example(), absl::OkStatus());
}

TEST_F(UrlClientTest, OpensTalksAndCloses) {
  Listen();
  Connect("ws://10.0.0.1:9000/chat?room=1");
  EXPECT_THAT(log_.events, IsEmpty());
  Run();
  EXPECT_THAT(log_.events, ElementsAre("open", "hello"));
  EXPECT_THAT(echo_.requests, ElementsAre("10.0.0.1:9000/chat?room=1"));
  attempt_.reset();  // of no importance any more
  log_.connection->Close();
  Run();
  EXPECT_THAT(log_.events, ElementsAre("open", "hello", "close 1000"));
  EXPECT_EQ(failures_, 0);
}

TEST_F(UrlClientTest, TheHostMayBeAnotherOne) {
  options_.client.handshake.host = "example.com";
  Listen();
  Connect();
  Run();
  EXPECT_THAT(echo_.requests, ElementsAre("example.com/chat"));
}

TEST_F(UrlClientTest, OneClientMakesManyConnections) {
  Listen();
  Connect();
  Log other;
  const auto second = client_->Connect(other, [](const absl::Status&) {});
  Run();
  EXPECT_THAT(log_.events, ElementsAre("open", "hello"));
  EXPECT_THAT(other.events, ElementsAre("open", "hello"));
  other.connection->Close();
  Run();
}

TEST_F(UrlClientTest, ADialerMakesTheConnection) {
  Listen();
  options_.dialer = std::make_shared<FixedDialer>(server_host_.Address(9000));
  Connect("ws://example.com/");
  Run();
  EXPECT_THAT(log_.events, ElementsAre("open", "hello"));
  EXPECT_THAT(echo_.requests, ElementsAre("example.com/"));
}

TEST_F(UrlClientTest, ASecureUrlNeedsItsOwnDialer) {
  options_.dialer = std::make_shared<FixedDialer>(server_host_.Address(1));
  const absl::Status status =
      UrlClient::Create(client_host_.loop(), "wss://example.com/", options_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("tls::Dialer"));
  Listen();
  options_.secure_dialer = std::make_shared<FixedDialer>(server_host_.Address(9000));
  Connect("wss://example.com/");
  Run();
  EXPECT_THAT(log_.events, ElementsAre("open", "hello"));
}

TEST_F(UrlClientTest, WhatMakesNoRequestIsRefused) {
  const auto code = [&](absl::string_view url) {
    return UrlClient::Create(client_host_.loop(), url, options_).status().code();
  };
  EXPECT_EQ(code("http://example.com/"), absl::StatusCode::kInvalidArgument);
  options_.client.handshake.headers = {{"Host", "x"}};
  EXPECT_EQ(code("ws://example.com/"), absl::StatusCode::kInvalidArgument);
}

TEST_F(UrlClientTest, AFailureToConnectIsToldOnce) {
  Connect();
  Run();
  EXPECT_EQ(failure_.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Failure(), HasSubstr("10.0.0.1:9000"));
  EXPECT_THAT(log_.events, IsEmpty());
}

TEST_F(UrlClientTest, ARefusedHandshakeIsToldOnceWithItsStatus) {
  Listen();
  echo_.refuse_with = 403;
  Connect();
  Run();
  EXPECT_EQ(failure_.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(Failure(), HasSubstr("403"));
  EXPECT_THAT(log_.events, IsEmpty());
}

TEST_F(UrlClientTest, AnAnswerThatIsNoHandshakeIsToldOnce) {
  ListenAndSay("SSH-2.0-x\r\n\r\n");
  Connect();
  Run();
  EXPECT_EQ(failure_.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(failures_, 1);
  EXPECT_THAT(log_.events, IsEmpty());
}

TEST_F(UrlClientTest, OneDeadlineIsForTheConnectionAndTheHandshake) {
  ListenAndSay("");
  network_.SetLink(server_host_, client_host_, {.latency = absl::Milliseconds(700)});
  options_.dial.timeout = absl::Seconds(3);
  Connect();
  network_.RunFor(absl::Seconds(10));
  EXPECT_EQ(failure_.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(Failure(), HasSubstr("10.0.0.1:9000: the opening handshake"));
  EXPECT_GE(took_, absl::Seconds(3));
  EXPECT_LT(took_, absl::Seconds(3.01));
}

TEST_F(UrlClientTest, ADeadlineEndsAConnectTooAndNothingThatIsOpen) {
  network_.SetLink(server_host_, client_host_, {.ignore = 1});
  options_.dial.timeout = absl::Seconds(3);
  Connect();
  network_.RunFor(absl::Seconds(10));
  EXPECT_EQ(failure_.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_LT(took_, absl::Seconds(3.01));

  network_.SetLink(server_host_, client_host_, {});
  Listen();
  Connect();
  network_.RunFor(absl::Seconds(10));
  EXPECT_THAT(log_.events, ElementsAre("open", "hello"));
  EXPECT_EQ(failures_, 0);
}

TEST_F(UrlClientTest, AnAttemptMayBeGivenUpAtAnyTime) {
  Listen();
  // From before the connection stands to after it is open, in steps of less than a way there.
  network_.SetLink(server_host_, client_host_, {.latency = absl::Milliseconds(10)});
  bool opened = false;
  for (int step = 0; !opened; ++step) {
    ASSERT_LT(step, 100);
    Connect();
    network_.RunFor(absl::Milliseconds(3 * step));
    opened = !log_.events.empty();
    attempt_.reset();
    if (!opened) client_.reset();  // it may go at once, too
    Run();
    EXPECT_EQ(failures_, 0);
    if (!opened) {
      EXPECT_THAT(log_.events, IsEmpty());
      EXPECT_EQ(network_.connections(), 0u);
    }
  }
  EXPECT_THAT(log_.events, ElementsAre("open", "hello"));
}

TEST_F(UrlClientTest, AnAttemptMayGoWhenItOpens) {
  Listen();
  log_.on_open = [this] { attempt_.reset(); };
  Connect();
  Run();
  EXPECT_THAT(log_.events, ElementsAre("open", "hello"));
}

TEST_F(UrlClientTest, AGivenHandlerGoesWithTheConnectionOrTheFailure) {
  bool destroyed = false;
  const auto connect = [&] {
    Connect();
    auto handler = std::make_unique<Log>();
    handler->destroyed = &destroyed;
    attempt_ =
        client_->Connect(std::move(handler), [this](const absl::Status& why) { OnFailure(why); });
  };
  connect();
  Run();
  EXPECT_TRUE(destroyed);
  EXPECT_EQ(failures_, 1);

  Listen();
  destroyed = false;
  connect();
  Run();
  EXPECT_FALSE(destroyed);
  network_.ResetConnections(server_host_, client_host_);
  Run();
  EXPECT_TRUE(destroyed);

  destroyed = false;
  connect();
  attempt_.reset();
  EXPECT_TRUE(destroyed);
}

}  // namespace
}  // namespace sluice::websocket
