// Pools of connections with TLS, and TLS over connections of a pool, on a simulated network.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/connection_pool.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/pooled_dialer.h"
#include "sluice/core/simulation.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/tls/context.h"
#include "sluice/tls/dialer.h"
#include "sluice/tls/testing.h"
#include "sluice/tls/tls_stream.h"

namespace sluice {
namespace {

class Echo : public StreamHandler {
  void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override { stream.Send(bytes); }
};

class Client : public StreamHandler {
 public:
  std::string received;

 private:
  void OnReceive(Stream& /*stream*/, absl::Span<uint8_t> bytes) override {
    received.append(bytes.begin(), bytes.end());
  }
};

class TlsPoolTest : public testing::Test {
 protected:
  void Accept(std::unique_ptr<Stream> stream) {
    tls::Accept(std::move(stream), server_context_, {},
                [this](absl::StatusOr<std::unique_ptr<tls::TlsStream>> encrypted) {
                  if (!encrypted.ok()) return;  // one of the reserve, which nobody has used
                  accepted_.push_back(*std::move(encrypted));
                  accepted_.back()->SetHandler(echo_);
                });
  }
  bool Until(absl::FunctionRef<bool()> done) { return network_.RunUntil(done, absl::Minutes(1)); }
  ConnectionPool::Lease Borrow(const ConnectionPool::Target& target) {
    ConnectionPool::Lease lease;
    const ConnectionPool::Request request =
        pool_->Borrow(target, {}, [&](absl::StatusOr<ConnectionPool::Lease> result) {
          ASSERT_EQ(result.status(), absl::OkStatus());
          lease = *std::move(result);
        });
    EXPECT_TRUE(Until([&] { return static_cast<bool>(lease); }));
    return lease;
  }

  const Endpoint endpoint_ = {"server.example", 443};
  tls::TestAuthority authority_;
  std::shared_ptr<const tls::ServerContext> server_context_ = *tls::ServerContext::Create(
      {.identities = {authority_.Issue({.names = {"server.example", "127.0.0.1"}})}});
  std::shared_ptr<const tls::ClientContext> client_context_ =
      *tls::ClientContext::Create({.roots = authority_.roots()});

  Echo echo_;  // hear of the loops' end
  Client client_handler_;
  SimulatedNetwork network_{1};
  SimulatedHost& server_ = network_.AddHost("server");
  SimulatedHost& client_ = network_.AddHost("client");
  std::vector<std::unique_ptr<Stream>> accepted_;
  std::unique_ptr<Listener> listener_ =
      *Listener::Listen(server_.loop(), server_.Address(443), {},
                        [this](std::unique_ptr<Stream> stream) { Accept(std::move(stream)); });
  std::shared_ptr<const Dialer> tcp_ = std::make_shared<FixedDialer>(server_.Address(443));
  std::unique_ptr<ConnectionPool> pool_ = *ConnectionPool::Create(client_.loop(), {});
};

// That of pooled_dialer.h.
TEST_F(TlsPoolTest, HeaderExample) {
  EventLoop& loop = client_.loop();
  const std::shared_ptr<const tls::ClientContext> context = client_context_;
  std::unique_ptr<Stream> stream;
  const auto done = [&](absl::StatusOr<std::unique_ptr<Stream>> result) {
    ASSERT_EQ(result.status(), absl::OkStatus());
    stream = *std::move(result);
  };

  auto direct =
      std::make_shared<FixedDialer>(server_.Address(443));  // DirectDialer outside of tests
  auto pool = *ConnectionPool::Create(loop, {});
  auto reserve = *pool->GetTarget({.host = "127.0.0.1", .port = 443}, direct, {.min_idle = 2});
  auto pooled = std::make_shared<PooledDialer>(*pool, direct);
  auto dialer = std::make_shared<tls::Dialer>(pooled, context);
  auto attempt = dialer->Dial(loop, {.host = "127.0.0.1", .port = 443}, {}, done);

  ASSERT_TRUE(Until([&] { return stream != nullptr && reserve.counts().idle == 2; }));
  EXPECT_NE(dynamic_cast<tls::TlsStream*>(stream.get()), nullptr);
  EXPECT_EQ(pool->statistics().dials, 3u);
}

TEST_F(TlsPoolTest, AHandshakeServesManyRequests) {
  const auto target =
      *pool_->GetTarget(endpoint_, std::make_shared<tls::Dialer>(tcp_, client_context_));
  for (int i = 0; i < 3; ++i) {
    ConnectionPool::Lease lease = Borrow(target);
    EXPECT_EQ(lease.reused(), i > 0);
    client_handler_.received.clear();
    lease.stream().SetHandler(client_handler_);
    lease.stream().Send("hello");
    ASSERT_TRUE(Until([&] { return client_handler_.received == "hello"; }));
    lease.Return();
    network_.RunFor(absl::Seconds(1));  // tickets of the handshake are no unexpected bytes
  }
  EXPECT_EQ(pool_->statistics().dials, 1u);
  EXPECT_EQ(pool_->statistics().now.idle, 1u);
  accepted_[0]->Close();
  ASSERT_TRUE(Until([&] { return pool_->statistics().now.open() == 0; }));
  EXPECT_EQ(pool_->statistics().closed.ended, 1u);
}

TEST_F(TlsPoolTest, TlsStandsOnAConnectionOfTheReserve) {
  const auto reserve = *pool_->GetTarget(endpoint_, tcp_, {.min_idle = 1});
  ASSERT_TRUE(Until([&] { return reserve.counts().idle == 1; }));
  const tls::Dialer dialer(std::make_shared<PooledDialer>(*pool_, tcp_), client_context_);
  std::unique_ptr<Stream> stream;
  const auto attempt = dialer.Dial(client_.loop(), endpoint_, {},
                                   [&](absl::StatusOr<std::unique_ptr<Stream>> result) {
                                     ASSERT_EQ(result.status(), absl::OkStatus());
                                     stream = *std::move(result);
                                   });
  ASSERT_TRUE(Until([&] { return stream != nullptr; }));
  EXPECT_EQ(pool_->statistics().reused, 1u);
  EXPECT_NE(dynamic_cast<tls::TlsStream*>(stream.get()), nullptr);
  stream->SetHandler(client_handler_);
  stream->Send("hello");
  EXPECT_TRUE(Until([&] { return client_handler_.received == "hello"; }));
  EXPECT_EQ(reserve.counts().lent, 1u);
}

}  // namespace
}  // namespace sluice
