// What a stream allocates while bytes pass through it.
#include <cstdint>
#include <string>
#include <utility>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/buffer.h"
#include "sluice/core/internal/counting_new.h"
#include "sluice/core/stream_testing.h"
#include "sluice/tls/bare_peer.h"
#include "sluice/tls/memory_server.h"
#include "sluice/tls/memory_stream.h"

namespace sluice::tls {
namespace {

using sluice::internal::CountAllocations;

class AllocationTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string to_client;
    for (bool done = false; !done || !server_.done();) {
      done = client_.Step(AsBytes(to_client));
      std::string to_server = client_.TakeOutput();
      server_.Receive(AsBytes(to_server));
      to_client = server_.TakeSent();
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
    server_.Receive(AsBytes(to_server));
    Buffer sent = server_.transport().TakeSent();
    const int64_t allocations = CountAllocations().ever - before;
    std::string answer = sent.ToString();
    std::string echo(message.size() * static_cast<size_t>(messages), 0);
    EXPECT_EQ(client_.Decrypt(AsBytes(answer), AsBytes(echo)), echo.size());
    EXPECT_EQ(echo.substr(echo.size() - message.size()), message);
    return allocations;
  }

  MemoryEcho echo_;
  VirtualLoop loop_;
  MemoryServer server_{loop_, MemoryServer::MakeContext(), echo_};
  BareClientContext clients_;
  BarePeer client_{clients_.ctx(), /*server=*/false};
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
