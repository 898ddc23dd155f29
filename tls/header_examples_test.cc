// The examples of the public headers, over TCP.
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/core/tcp.h"
#include "sluice/tls/certificate.h"
#include "sluice/tls/context.h"
#include "sluice/tls/private_key.h"
#include "sluice/tls/testing.h"
#include "sluice/tls/ticket_keys.h"
#include "sluice/tls/tls_stream.h"

#ifdef OPENSSL_IS_BORINGSSL
#error "a public header includes one of BoringSSL's"
#endif

namespace sluice {
namespace {

constexpr absl::Duration kBound = absl::Seconds(30);

class Echo : public StreamHandler {
  void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override {
    if (stream.SendLent(bytes) == SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnSendReady(Stream& stream) override { stream.ResumeReceiving(); }
};

std::string WriteFile(absl::string_view name, absl::string_view contents) {
  std::string path = absl::StrCat(testing::TempDir(), "/", name);
  std::ofstream(path) << contents;
  return path;
}

std::string Describe(const tls::TlsStream& stream) {
  std::string result;
  for (const tls::Certificate& certificate : stream.peer_certificates())
    absl::StrAppend(&result, certificate.subject, ", until ",
                    absl::FormatTime("%Y", certificate.not_after, absl::UTCTimeZone()));
  return result;
}

TEST(TlsHeaderExamplesTest, AnEchoServerAndItsClient) {
  const tls::TestAuthority authority;
  const tls::Identity issued = authority.Issue({.names = {"example.org", "127.0.0.1"}});
  const std::string chain = WriteFile("chain.pem", issued.chain);
  const std::string key = WriteFile("key.pem", issued.key);
  const std::string ca = WriteFile("ca.pem", authority.pem());

  Echo echo;
  auto loop = *EventLoop::Create();
  auto identity = *tls::Identity::FromFiles(chain, key);
  tls::ServerOptions options;
  options.identities = {identity};
  options.alpn = {"http/1.1"};
  options.ticket_keys = std::make_shared<tls::TicketKeys>();
  auto context = *tls::ServerContext::Create(options);
  auto listener = Listener::Listen(
      *loop, *SocketAddress::Parse("127.0.0.1:0"), {}, [&](std::unique_ptr<Stream> tcp) {
        tls::Accept(std::move(tcp), context, {},
                    [&](absl::StatusOr<std::unique_ptr<tls::TlsStream>> stream) {
                      if (stream.ok()) Stream::Run(*std::move(stream), echo);
                    });
      });
  ASSERT_TRUE(listener.ok()) << listener.status();

  tls::ClientOptions trusting;
  trusting.roots = {.files = {ca}};
  absl::StatusOr<std::shared_ptr<const tls::ClientContext>> client_context =
      tls::ClientContext::Create(trusting);
  ASSERT_TRUE(client_context.ok()) << client_context.status();
  std::optional<StreamRecorder> client;
  std::string description;
  Connector connector(*loop);
  connector.Connect((*listener)->address(), {}, [&](absl::StatusOr<std::unique_ptr<Stream>> tcp) {
    ASSERT_TRUE(tcp.ok()) << tcp.status();
    tls::Connect(*std::move(tcp), *client_context, "example.org", {},
                 [&](absl::StatusOr<std::unique_ptr<tls::TlsStream>> stream) {
                   ASSERT_TRUE(stream.ok()) << stream.status();
                   description = Describe(**stream);
                   client.emplace(*std::move(stream));
                   client->stream().Send(std::string(1'000'000, 'x'));
                 });
  });
  EXPECT_TRUE(loop->RunUntil(
      [&] { return client.has_value() && client->received().size() == 1'000'000; }, kBound));
  EXPECT_EQ(description, "CN=leaf, until 2099");
  client->stream().Close();
  EXPECT_TRUE(loop->RunUntil([&] { return client->closed().has_value(); }, kBound));
  EXPECT_TRUE(client->closed()->ok()) << *client->closed();
}

// The one of private_key.h, without a pool.
class Signer : public tls::PrivateKey {
 public:
  explicit Signer(std::string key) : key_(std::move(key)) {}
  ~Signer() override {
    for (std::thread& thread : threads_) thread.join();
  }

  void Sign(tls::SignatureAlgorithm algorithm, absl::Span<const uint8_t> message,
            Done done) const override {
    threads_.emplace_back([this, algorithm, message = std::string(message.begin(), message.end()),
                           done = std::move(done)]() mutable {
      done(tls::TestAuthority::SignMessage(key_, algorithm, message));
    });
  }

 private:
  const std::string key_;
  mutable std::vector<std::thread> threads_;
};

TEST(TlsHeaderExamplesTest, AKeyThatIsUsedOnOtherThreads) {
  const tls::TestAuthority authority;
  auto loop = *EventLoop::Create();
  tls::Identity identity = authority.Issue();
  auto signer = std::make_shared<Signer>(identity.key);
  identity.key.clear();
  identity.private_key = signer;
  auto server_context = *tls::ServerContext::Create({.identities = {identity}});
  auto client_context = *tls::ClientContext::Create({.roots = authority.roots()});
  StreamPair pair(*loop);
  absl::StatusOr<std::unique_ptr<tls::TlsStream>> server = absl::UnknownError("none yet");
  absl::StatusOr<std::unique_ptr<tls::TlsStream>> client = absl::UnknownError("none yet");
  tls::Accept(pair.TakeServer(), server_context, {}, [&](auto s) { server = std::move(s); });
  tls::Connect(pair.TakeClient(), client_context, "localhost", {},
               [&](auto s) { client = std::move(s); });
  EXPECT_TRUE(loop->RunUntil([&] { return server.ok() && client.ok(); }, kBound));
}

}  // namespace
}  // namespace sluice
