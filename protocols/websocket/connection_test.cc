#include "sluice/protocols/websocket/connection.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/tcp.h"
#include "sluice/protocols/websocket/client.h"
#include "sluice/protocols/websocket/server.h"

namespace sluice::websocket {
namespace {

constexpr absl::Duration kBound = absl::Seconds(60);

TEST(ConnectionTest, HeaderExample) {
  class Echo : public Handler {
    void OnMessage(Connection& connection, const Message& message) override {
      connection.SendInPlace(message);
    }
  };
  struct Asker : Handler {
    void OnOpen(Connection& connection) override { connection.SendText("hello"); }
    void OnMessage(Connection& connection, const Message& message) override {
      answer = std::string(message.text());
      connection.Close();
    }
    void OnClose(Connection&, const CloseInfo& info) override {
      clean = info.clean;
      closed = true;
    }
    std::string answer;
    bool closed = false;
    bool clean = false;
  };
  // Before the loop, which ends the connections that are left and calls OnClose.
  Echo echo;
  Asker asker;
  Server server({});
  std::unique_ptr<Client> client;
  std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  auto on_accept = [&](std::unique_ptr<Stream> stream) { server.Serve(std::move(stream), echo); };
  auto listener = *Listener::Listen(*loop, SocketAddress::Ipv4Loopback(0), {}, on_accept);

  Client::Options options;
  options.handshake.host = listener->address().ToString();
  client = *Client::Create(options);
  Connector connector(*loop);
  connector.Connect(listener->address(), {}, [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
    ASSERT_TRUE(stream.ok()) << stream.status();
    client->Open(*std::move(stream), asker);
  });
  ASSERT_TRUE(loop->RunUntil([&] { return asker.closed; }, kBound));
  EXPECT_EQ(asker.answer, "hello");
  EXPECT_TRUE(asker.clean);
}

}  // namespace
}  // namespace sluice::websocket
