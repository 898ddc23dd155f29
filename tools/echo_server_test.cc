#include "sluice/tools/echo_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/socket_address.h"
#include "sluice/tools/frame_protocol.h"
#include "sluice/tools/protocol.h"
#include "sluice/tools/raw_protocol.h"

namespace sluice::tools {
namespace {

using testing::HasSubstr;

// A blocking socket, as any other program would use one.
class PlainClient {
 public:
  explicit PlainClient(const SocketAddress& address)
      : descriptor_(socket(address.data()->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    EXPECT_EQ(connect(descriptor_, address.data(), address.length()), 0);
  }
  ~PlainClient() { close(descriptor_); }

  void Send(absl::string_view text) {
    while (!text.empty()) {
      const ssize_t sent = send(descriptor_, text.data(), text.size(), MSG_NOSIGNAL);
      ASSERT_GT(sent, 0);
      text.remove_prefix(static_cast<size_t>(sent));
    }
  }
  std::string Receive(size_t size) {
    std::string text(size, '\0');
    size_t filled = 0;
    while (filled < size) {
      const ssize_t received = recv(descriptor_, &text[filled], size - filled, 0);
      if (received <= 0) break;
      filled += static_cast<size_t>(received);
    }
    text.resize(filled);
    return text;
  }
  // True when the other side ends, gracefully, with nothing more to receive.
  bool SeesTheEnd() {
    char byte;
    return recv(descriptor_, &byte, 1, 0) == 0;
  }
  void EndSending() { shutdown(descriptor_, SHUT_WR); }

 private:
  const int descriptor_;
};

class EchoServerTest : public testing::Test {
 protected:
  EchoServer::Options Options() {
    EchoServer::Options options;
    options.protocol = protocol.get();
    options.listen = SocketAddress::Ipv4Loopback(0);
    return options;
  }
  void Start(const EchoServer::Options& options) {
    absl::StatusOr<std::unique_ptr<EchoServer>> started = EchoServer::Start(options);
    ASSERT_TRUE(started.ok()) << started.status();
    server = *std::move(started);
  }

  std::unique_ptr<Protocol> protocol = RawProtocol();
  std::unique_ptr<EchoServer> server;
};

TEST_F(EchoServerTest, SendsBackWhatItGets) {
  Start(Options());
  PlainClient client(server->address());
  client.Send("hello");
  EXPECT_EQ(client.Receive(5), "hello");
  client.EndSending();
  EXPECT_TRUE(client.SeesTheEnd());
  const EchoTotals totals = server->Stop(absl::Minutes(1));
  EXPECT_EQ(totals.connections, 1u);
  EXPECT_EQ(totals.bytes, 5u);
  EXPECT_EQ(totals.errors, 0u);
}

TEST_F(EchoServerTest, StopAnswersWhatWasSentBefore) {
  Start(Options());
  std::vector<std::unique_ptr<PlainClient>> clients;
  const std::string sent(100'000, 'x');
  for (int i = 0; i < 10; ++i) {
    clients.push_back(std::make_unique<PlainClient>(server->address()));
    // So that it is past the system's queue, from where nobody would accept it any more.
    clients.back()->Send("y");
    EXPECT_EQ(clients.back()->Receive(1), "y");
  }
  for (auto& client : clients) client->Send(sent);
  std::thread stopping([&] { EXPECT_EQ(server->Stop(absl::Minutes(1)).bytes, 10 * 100'001u); });
  for (auto& client : clients) {
    EXPECT_EQ(client->Receive(sent.size()), sent);
    EXPECT_TRUE(client->SeesTheEnd());
  }
  clients.clear();
  stopping.join();
}

TEST_F(EchoServerTest, StopCutsWhoDoesNotEnd) {
  Start(Options());
  PlainClient client(server->address());
  client.Send("x");
  EXPECT_EQ(client.Receive(1), "x");
  EXPECT_EQ(server->Stop(absl::Milliseconds(50)).errors, 1u);
}

TEST_F(EchoServerTest, DestroyedWithoutStopItCutsConnections) {
  Start(Options());
  PlainClient client(server->address());
  client.Send("x");
  EXPECT_EQ(client.Receive(1), "x");
  server.reset();
  EXPECT_EQ(client.Receive(1), "");
}

TEST_F(EchoServerTest, APeerThatDoesNotReadIsHeldBack) {
  Start(Options());
  PlainClient client(server->address());
  // Far more than the queue and all the sockets' buffers hold; a server that kept reading would
  // keep it all.
  const std::string sent(48 << 20, 'z');
  std::thread sending([&] { client.Send(sent); });
  EXPECT_EQ(client.Receive(sent.size()), sent);
  sending.join();
}

TEST_F(EchoServerTest, AnIdleConnectionIsClosed) {
  EchoServer::Options options = Options();
  options.idle_timeout = absl::Milliseconds(20);
  Start(options);
  PlainClient client(server->address());
  EXPECT_EQ(client.Receive(1), "");
  EXPECT_EQ(server->Stop(absl::Minutes(1)).errors, 1u);
}

TEST_F(EchoServerTest, ConnectionsOverTheLimitWaitTheirTurn) {
  EchoServer::Options options = Options();
  options.max_connections = 1;
  Start(options);
  auto first = std::make_unique<PlainClient>(server->address());
  PlainClient second(server->address());
  second.Send("second");
  first->Send("first");
  EXPECT_EQ(first->Receive(5), "first");
  first.reset();
  EXPECT_EQ(second.Receive(6), "second");
}

TEST_F(EchoServerTest, ManyThreadsServeOneAddress) {
  EchoServer::Options options = Options();
  options.threads = 4;
  Start(options);
  for (int i = 0; i < 32; ++i) {
    PlainClient client(server->address());
    client.Send("x");
    EXPECT_EQ(client.Receive(1), "x");
  }
  EXPECT_EQ(server->Stop(absl::Minutes(1)).connections, 32u);
}

TEST_F(EchoServerTest, UnixSockets) {
  // Not in TempDir: the path of a socket is at most 107 bytes long.
  char directory[] = "/tmp/echo_server_test.XXXXXX";
  ASSERT_NE(mkdtemp(directory), nullptr);
  const std::string path = absl::StrCat(directory, "/socket");
  EchoServer::Options options = Options();
  options.listen = *SocketAddress::Parse(absl::StrCat("unix:", path));
  options.threads = 2;
  Start(options);
  PlainClient client(server->address());
  client.Send("over a path");
  EXPECT_EQ(client.Receive(11), "over a path");
  EXPECT_EQ(access(path.c_str(), F_OK), 0);
  client.EndSending();
  EXPECT_TRUE(client.SeesTheEnd());
  server->Stop(absl::Minutes(1));
  EXPECT_NE(access(path.c_str(), F_OK), 0);
  EXPECT_EQ(rmdir(directory), 0);
}

TEST_F(EchoServerTest, APortInUseIsAnErrorThatNamesIt) {
  Start(Options());
  EchoServer::Options options = Options();
  options.listen = server->address();
  for (int threads : {1, 2}) {
    options.threads = threads;
    const absl::StatusOr<std::unique_ptr<EchoServer>> second = EchoServer::Start(options);
    EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
    EXPECT_THAT(std::string(second.status().message()), HasSubstr(server->address().ToString()));
  }
}

TEST_F(EchoServerTest, AFrameOverTheLimitEndsItsConnectionOnly) {
  protocol = FrameProtocol();
  EchoServer::Options options = Options();
  options.max_message_bytes = 16;
  Start(options);
  PlainClient good(server->address());
  PlainClient bad(server->address());
  bad.Send(absl::string_view("\0\0\0\x11", 4));
  EXPECT_EQ(bad.Receive(1), "");
  const std::string frame(
      "\0\0\0\x03"
      "abc",
      7);
  good.Send(frame);
  EXPECT_EQ(good.Receive(7), frame);
  good.EndSending();
  EXPECT_TRUE(good.SeesTheEnd());
  const EchoTotals totals = server->Stop(absl::Minutes(1));
  EXPECT_EQ(totals.messages, 1u);
  EXPECT_EQ(totals.errors, 1u);
}

}  // namespace
}  // namespace sluice::tools
