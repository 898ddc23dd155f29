// What an echo costs once it flows, in what does not depend on the machine's speed: the server's
// allocations, of which there are none, and its system calls, of which a burst takes no more than a
// single message does. Of every protocol of the command line, plain and over TLS, on both engines
// that Linux has.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/internal/counting_calls.h"
#include "sluice/core/poller.h"
#include "sluice/core/poller_factory.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/tls/context.h"
#include "sluice/tls/testing.h"
#include "sluice/tls/tls_stream.h"
#include "sluice/tools/echo_server.h"
#include "sluice/tools/encryption.h"
#include "sluice/tools/protocol.h"
#include "sluice/tools/standard_protocols.h"

namespace sluice {
namespace {

using internal::CallCounts;
using internal::CountCalls;
using tools::EchoServer;

constexpr absl::Duration kBound = absl::Minutes(2);
constexpr int kWarmUpBursts = 50;
constexpr int kBursts = 250;

class Encryption final : public tools::ServerEncryption {
 public:
  explicit Encryption(const tls::TestAuthority& authority)
      : context_(*tls::ServerContext::Create({.identities = {authority.Issue()}})) {}
  void Accept(std::unique_ptr<Stream> stream, const StreamLimits& limits,
              tools::EncryptedFunction done) const override {
    tls::Accept(std::move(stream), context_, {.limits = limits}, std::move(done));
  }
  std::string source() const override { return "a test"; }

 private:
  const std::shared_ptr<const tls::ServerContext> context_;
};

// Sends bursts of messages, each when the one before was answered.
class Bursts final : public tools::Client::Handler {
 public:
  Bursts(EventLoop& loop, int messages, size_t size)
      : loop_(loop), messages_(messages), message_(size, 'm') {}

  void Start(std::unique_ptr<tools::Client> client) {
    client_ = std::move(client);
    if (client_->is_open()) open_ = true;
  }
  void Run(int bursts) {
    ASSERT_TRUE(loop_.RunUntil([this] { return open_ || closed_; }, kBound));
    ASSERT_FALSE(closed_) << status_;
    left_ = bursts;
    Send();
    ASSERT_TRUE(loop_.RunUntil([this] { return left_ == 0 || closed_; }, kBound));
    ASSERT_FALSE(closed_) << status_;
  }
  void Close() {
    if (client_ == nullptr || closed_) return;
    client_->Close();
    EXPECT_TRUE(loop_.RunUntil([this] { return closed_; }, kBound));
  }

 private:
  void Send() {
    unanswered_ = message_.size() * static_cast<size_t>(messages_);
    const auto* const bytes = reinterpret_cast<const uint8_t*>(message_.data());
    for (int i = 0; i < messages_; ++i)
      client_->Send(tools::Client::Kind::kBinary, {bytes, message_.size()});
  }
  void OnOpen(tools::Client& /*client*/) override { open_ = true; }
  void OnMessage(tools::Client& /*client*/, absl::Span<const uint8_t> message) override {
    unanswered_ -= message.size();
    if (unanswered_ == 0 && --left_ > 0) Send();
  }
  void OnClose(tools::Client& /*client*/, const absl::Status& status) override {
    closed_ = true;
    status_ = status;
  }

  EventLoop& loop_;
  const int messages_;
  const std::string message_;
  std::unique_ptr<tools::Client> client_;
  bool open_ = false;
  bool closed_ = false;
  absl::Status status_;
  int left_ = 0;
  size_t unanswered_ = 0;
};

struct Case {
  std::string protocol;
  PollerKind poller = PollerKind::kEpoll;
  bool encrypted = false;
  bool compress = false;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.protocol << (c.compress ? " compressed" : "") << (c.encrypted ? " over TLS" : "")
       << " on " << PollerKindName(c.poller);
}

class SteadyStateTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const absl::Status status = CreatePoller(GetParam().poller).status();
    if (absl::IsUnimplemented(status) || absl::IsPermissionDenied(status)) GTEST_SKIP() << status;
    protocol_ = protocols_.FindByName(GetParam().protocol);
    EchoServer::Options options;
    options.listen = SocketAddress::Ipv4Loopback(0);
    options.poller = GetParam().poller;
    options.protocol = protocol_.get();
    options.compress = GetParam().compress;
    if (GetParam().encrypted) options.encryption = std::make_shared<Encryption>(authority_);
    server_ = *EchoServer::Start(options);
    tools::ClientOptions client;
    client.compress = GetParam().compress;
    client.url.authority = "localhost";
    client.url.target = "/";
    clients_ = *protocol_->NewClientFactory(client);
  }

  void Connect(Bursts& bursts) {
    connector_.Connect(server_->address(), {}, [&](absl::StatusOr<std::unique_ptr<Stream>> made) {
      ASSERT_TRUE(made.ok()) << made.status();
      if (!GetParam().encrypted) return bursts.Start(clients_->NewClient(*std::move(made), bursts));
      tls::Connect(*std::move(made), *tls::ClientContext::Create({.roots = authority_.roots()}),
                   "localhost", {}, [&](absl::StatusOr<std::unique_ptr<tls::TlsStream>> stream) {
                     ASSERT_TRUE(stream.ok()) << stream.status();
                     bursts.Start(clients_->NewClient(*std::move(stream), bursts));
                   });
    });
  }

  // What the server's thread has done until now.
  CallCounts CountOfServer() {
    CallCounts counts;
    server_->streams().RunOnEach([&](EventLoop&, int) { counts = CountCalls(); });
    return counts;
  }

  // What the server does for kBursts bursts of so many messages.
  CallCounts CountFor(int messages, size_t size) {
    Bursts client(*loop_, messages, size);
    Connect(client);
    client.Run(kWarmUpBursts);
    if (HasFatalFailure()) return {};
    const CallCounts before = CountOfServer();
    client.Run(kBursts);
    const CallCounts counts = CountOfServer() - before;
    client.Close();
    return counts;
  }

  const tools::ProtocolTable protocols_ = tools::StandardProtocols();
  std::shared_ptr<const tools::Protocol> protocol_;
  const tls::TestAuthority authority_;
  std::unique_ptr<EchoServer> server_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  std::unique_ptr<tools::ClientFactory> clients_;
  Connector connector_{*loop_};
};

// What a burst keeps comes from pools. They grow until they hold the most that was ever in use, and
// how that is depends on the pieces in which long bursts arrive: now and then one adds something.
TEST_P(SteadyStateTest, AllocatesNothingForAMessage) {
  for (const size_t size : {64, 1024, 16 * 1024}) {
    if (size > 4096 && GetParam().protocol == "usp-zlib") break;  // inflates into new memory
    for (const int messages : {1, 16}) {
      int64_t allocations = 1;
      for (int run = 0; run < 5 && allocations != 0; ++run)
        allocations = CountFor(messages, size).allocations;
      EXPECT_EQ(allocations, 0) << messages << " of " << size << " bytes";
    }
  }
}

// To wait, to receive (which is part of the wait with io_uring), to send. Short bursts, that the
// client's system hands over in one piece.
TEST_P(SteadyStateTest, ABurstTakesAsManySystemCallsAsAMessage) {
  const int64_t calls = GetParam().poller == PollerKind::kIoUring ? 2 : 3;
  constexpr int kTurnsWithoutBurst = 50;  // timers, and the counting itself
  for (const int messages : {1, 16}) {
    EXPECT_LE(CountFor(messages, 64).system_calls, kBursts * calls + kTurnsWithoutBurst)
        << messages;
  }
}

// What compresses is slow, and not another one over TLS.
std::vector<Case> Cases() {
  std::vector<Case> cases = {{.protocol = "usp-zlib"}, {.protocol = "websocket", .compress = true}};
  for (const PollerKind poller : {PollerKind::kEpoll, PollerKind::kIoUring}) {
    for (const bool encrypted : {false, true}) {
      for (const std::string& protocol : tools::StandardProtocols().names()) {
        if (protocol != "usp-zlib") cases.push_back({protocol, poller, encrypted});
      }
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, SteadyStateTest, testing::ValuesIn(Cases()));

}  // namespace
}  // namespace sluice
