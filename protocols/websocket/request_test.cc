// What a server's handler makes of a request: Handler::OnRequest, and Connection::SetHandler.

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/connection_fixture.h"
#include "sluice/protocols/websocket/frame.h"
#include "sluice/protocols/websocket/server.h"

namespace sluice::websocket {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

std::string Request(absl::string_view method, absl::string_view target) {
  return absl::StrCat(method, " ", target, " ", kUpgradeRequest.substr(6));
}

// Of connection.h's example.
class Guest : public Handler {
 public:
  Guest(std::string room, const SocketAddress& address)
      : name_(absl::StrCat(room, " from ", address.ToString())) {}

 private:
  void OnOpen(Connection& c) override { c.SendText(absl::StrCat("welcome to ", name_)); }
  void OnMessage(Connection& c, const Message&) override { c.SendText(name_); }

  const std::string name_;
};

class RequestTest : public testing::Test {
 protected:
  void Ask(Handler& handler, absl::string_view bytes) {
    pair_ = std::make_unique<StreamPair>(loop_.loop());
    client_ = std::make_unique<StreamRecorder>(pair_->TakeClient());
    client_->KeepOpen();
    server_.Serve(pair_->TakeServer(), handler);
    Say(bytes);
  }
  void Ask(std::unique_ptr<Handler> handler, absl::string_view bytes) {
    pair_ = std::make_unique<StreamPair>(loop_.loop());
    client_ = std::make_unique<StreamRecorder>(pair_->TakeClient());
    client_->KeepOpen();
    server_.Serve(pair_->TakeServer(), std::move(handler));
    Say(bytes);
  }
  void Say(absl::string_view bytes) {
    client_->stream().Send(bytes);
    loop_.RunUntilIdle();
  }
  // Each test ends so, before its handlers go.
  void Break() {
    pair_->Break();
    loop_.RunUntilIdle();
  }
  std::string Heard() { return client_->TakeReceived(); }

  Server server_{{}};
  VirtualLoop loop_;
  std::unique_ptr<StreamPair> pair_;
  std::unique_ptr<StreamRecorder> client_;
};

TEST_F(RequestTest, HeaderExample) {
  class Lobby : public Handler {
    void OnRequest(Connection& c, const HandshakeRequest& request, HandshakeReply& reply) override {
      if (request.path() == "/health") return reply.Respond(200, "well\n");
      const auto room = request.FindInQuery("room");
      if (!room.has_value()) return reply.Respond(404, "which room?\n");
      c.SetHandler(std::make_unique<Guest>(*room, c.stream().peer_address()));
    }
    void OnMessage(Connection&, const Message&) override {}
  };
  Lobby lobby;
  Ask(lobby, Request("GET", "/chat?room=caf%C3%A9+1"));
  EXPECT_THAT(Heard(), EndsWith(ServerFrame(Opcode::kText,
                                            "welcome to caf\xc3\xa9 1 from "
                                            "127.0.0.1:1")));
  Say(ClientFrame(Opcode::kText, "who am I?"));
  EXPECT_THAT(Heard(), HasSubstr("caf\xc3\xa9 1 from 127.0.0.1:1"));
  Break();
  Ask(lobby, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n");
  const std::string health = Heard();
  EXPECT_THAT(health, StartsWith("HTTP/1.1 200 OK\r\nConnection: close\r\n"));
  EXPECT_THAT(health, EndsWith("\r\n\r\nwell\n"));
  EXPECT_TRUE(client_->ended()) << "one answer a connection";
  Break();
  Ask(lobby, "HEAD /health HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(Heard() + "well\n", health);
  Break();
  Ask(lobby, Request("GET", "/chat"));
  EXPECT_THAT(Heard(), StartsWith("HTTP/1.1 404 "));
  Break();
}

// Does in each callback what a test asks for, and tells of its life.
struct Probe : Handler {
  Probe(std::string& l, std::string n) : log(l), name(std::move(n)) {}
  ~Probe() override { Tell("gone"); }
  void Tell(absl::string_view what) { absl::StrAppend(&log, name, ".", what, " "); }

  void OnRequest(Connection& c, const HandshakeRequest&, HandshakeReply& reply) override {
    Tell("request");
    EXPECT_FALSE(c.open());
    EXPECT_EQ(c.SendText("too early"), SendResult::kRefused);
    if (on_request) std::exchange(on_request, nullptr)(c, reply);
  }
  void OnOpen(Connection& c) override {
    Tell("open");
    if (on_open) std::exchange(on_open, nullptr)(c);
    Tell("opened");  // is still there
  }
  void OnMessage(Connection& c, const Message& message) override {
    Tell(message.text());
    if (on_message) std::exchange(on_message, nullptr)(c);
    Tell("heard");
  }
  void OnClose(Connection& c, const CloseInfo& info) override {
    Tell("close");
    status = info.status;
    if (on_close) std::exchange(on_close, nullptr)(c);
  }

  std::string& log;
  const std::string name;
  absl::Status status;
  std::function<void(Connection&, HandshakeReply&)> on_request;
  std::function<void(Connection&)> on_open, on_message, on_close;
};

TEST_F(RequestTest, AHandlerMayBeReplacedInEachCallback) {
  std::string log;
  auto a = std::make_unique<Probe>(log, "a");
  a->on_request = [&](Connection& c, HandshakeReply&) {
    auto b = std::make_unique<Probe>(log, "b");
    b->on_open = [&](Connection& c2) {
      auto d = std::make_unique<Probe>(log, "d");
      d->on_message = [&](Connection& c3) {
        auto e = std::make_unique<Probe>(log, "e");
        e->on_close = [&](Connection& c4) { c4.SetHandler(std::make_unique<Probe>(log, "f")); };
        c3.SetHandler(std::move(e));
      };
      c2.SetHandler(std::move(d));
    };
    c.SetHandler(std::move(b));
  };
  Ask(std::move(a), absl::StrCat(kUpgradeRequest, ClientFrame(Opcode::kText, "1"),
                                 ClientFrame(Opcode::kText, "2")));
  EXPECT_EQ(log, "a.request b.open b.opened d.1 d.heard e.2 e.heard a.gone b.gone d.gone ");
  log.clear();
  Break();
  EXPECT_EQ(log, "e.close f.gone e.gone ");
}

TEST_F(RequestTest, BorrowedHandlersStayWithTheirOwner) {
  std::string log;
  Probe a(log, "a");
  Probe b(log, "b");
  a.on_request = [&](Connection& c, HandshakeReply&) { c.SetHandler(b); };
  b.on_open = [&](Connection& c) { c.SetHandler(std::make_unique<Probe>(log, "c")); };
  b.on_message = [&](Connection& c) { c.SetHandler(a); };
  Ask(a, kUpgradeRequest);
  Break();
  EXPECT_EQ(log, "a.request b.open b.opened c.close c.gone ");
}

TEST_F(RequestTest, WhoIsRefusedHasItsNewHandlerTold) {
  std::string log;
  Probe a(log, "a");
  Probe b(log, "b");
  a.on_request = [&](Connection& c, HandshakeReply& reply) {
    c.SetHandler(b);
    reply.Respond(403, "no");
  };
  Ask(a, kUpgradeRequest);
  EXPECT_THAT(Heard(), StartsWith("HTTP/1.1 403 "));
  Break();
  EXPECT_EQ(log, "a.request b.close ");
  EXPECT_THAT(std::string(b.status.message()), HasSubstr("status 403"));
}

TEST_F(RequestTest, AnAbortWithinARequestEndsItWithoutAnAnswer) {
  std::string log;
  Probe a(log, "a");
  a.on_request = [](Connection& c, HandshakeReply&) {
    c.Abort(absl::PermissionDeniedError("this address is banned"));
  };
  Ask(a, absl::StrCat(kUpgradeRequest, ClientFrame(Opcode::kText, "1")));
  EXPECT_EQ(Heard(), "");
  EXPECT_EQ(log, "a.request a.close ");
  EXPECT_EQ(a.status, absl::PermissionDeniedError("this address is banned"));
}

TEST_F(RequestTest, APauseWithinARequestHoldsBackMessages) {
  std::string log;
  Probe a(log, "a");
  Connection* connection = nullptr;
  a.on_request = [&](Connection& c, HandshakeReply&) {
    connection = &c;
    c.PauseReceiving();
  };
  Ask(a, absl::StrCat(kUpgradeRequest, ClientFrame(Opcode::kText, "1")));
  EXPECT_EQ(log, "a.request a.open a.opened ");
  connection->ResumeReceiving();
  loop_.RunUntilIdle();
  EXPECT_EQ(log, "a.request a.open a.opened a.1 a.heard ");
  Break();
}

}  // namespace
}  // namespace sluice::websocket
