// What a stream allocates while bytes pass through it.
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/buffer.h"
#include "sluice/core/internal/counting_new.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/tls/bare_peer.h"
#include "sluice/tls/context.h"
#include "sluice/tls/memory_stream.h"
#include "sluice/tls/testing.h"
#include "sluice/tls/tls_stream.h"

namespace sluice::tls {
namespace {

using sluice::internal::CountAllocations;

class Echo : public StreamHandler {
  void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override { stream.SendLent(bytes); }
};

class AllocationTest : public testing::Test {
 protected:
  void SetUp() override {
    auto transport = std::make_unique<MemoryStream>(loop_.loop());
    transport_ = transport.get();
    Accept(std::move(transport), context_, {},
           [this](absl::StatusOr<std::unique_ptr<TlsStream>> stream) {
             ASSERT_TRUE(stream.ok()) << stream.status();
             stream_ = *std::move(stream);
             stream_->SetHandler(echo_);
           });
    transport_->Flush();
    std::string to_client;
    for (bool done = false; !done || stream_ == nullptr;) {
      done = client_.Step(AsBytes(to_client));
      std::string to_server = client_.TakeOutput();
      transport_->Receive(AsBytes(to_server));
      to_client = transport_->TakeSent().ToString();
    }
    client_.Decrypt(AsBytes(to_client), {});
  }

  // Of the server, for so many messages that arrive at once; BoringSSL uses malloc, and the pool
  // keeps what it has once allocated.
  int64_t AllocationsOfAnEcho(const std::string& message, int messages) {
    for (int i = 0; i < messages; ++i)
      client_.Encrypt({reinterpret_cast<const uint8_t*>(message.data()), message.size()});
    std::string to_server = client_.TakeOutput();
    const int64_t before = CountAllocations().ever;
    transport_->Receive(AsBytes(to_server));
    Buffer sent = transport_->TakeSent();
    const int64_t allocations = CountAllocations().ever - before;
    std::string answer = sent.ToString();
    std::string echo(message.size() * static_cast<size_t>(messages), 0);
    EXPECT_EQ(client_.Decrypt(AsBytes(answer), AsBytes(echo)), echo.size());
    EXPECT_EQ(echo.substr(echo.size() - message.size()), message);
    return allocations;
  }

  static std::shared_ptr<const ServerContext> MakeContext() {
    ServerOptions options;
    options.identities = {TestAuthority().Issue()};
    return *ServerContext::Create(options);
  }

  Echo echo_;
  VirtualLoop loop_;
  const std::shared_ptr<const ServerContext> context_ = MakeContext();
  BareClientContext clients_;
  BarePeer client_{clients_.ctx(), /*server=*/false};
  MemoryStream* transport_ = nullptr;
  std::unique_ptr<TlsStream> stream_;
};

TEST_F(AllocationTest, AnEchoAllocatesNothing) {
  for (const auto& [size, messages] : {std::pair(64, 1), std::pair(1024, 1), std::pair(1024, 16),
                                       std::pair(16384, 1), std::pair(16384, 3)}) {
    const std::string message(static_cast<size_t>(size), 'm');
    AllocationsOfAnEcho(message, messages);  // fills the pool
    EXPECT_EQ(AllocationsOfAnEcho(message, messages), 0) << size << " x " << messages;
  }
}

}  // namespace
}  // namespace sluice::tls
