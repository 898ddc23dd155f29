// What an idle connection keeps, that has spoken once.
#include <malloc.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/tls/context.h"
#include "sluice/tls/handshake_pair.h"
#include "sluice/tls/tls_stream.h"

namespace sluice::tls {
namespace {

size_t Allocated() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

class Echo : public StreamHandler {
  void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override { stream.SendLent(bytes); }
};
class Ignore : public StreamHandler {
  void OnReceive(Stream&, absl::Span<uint8_t>) override {}
};

class IdleMemoryTest : public HandshakePair {};

TEST_F(IdleMemoryTest, AnIdleStreamCostsAtMostTwelveKibibytes) {
  static Echo echo;  // hear of the loop's end
  static Ignore ignore;
  client_options_.session_cache_servers = 0;
  MakeContexts();
  std::deque<StreamPair> pairs;
  std::vector<std::unique_ptr<TlsStream>> streams;
  const auto connect = [&](int connections) {
    for (int i = 0; i < connections; ++i) {
      StreamPair& pair = pairs.emplace_back(loop_.loop());
      Accept(pair.TakeServer(), server_context_, {}, [&](StreamOr stream) {
        ASSERT_TRUE(stream.ok()) << stream.status();
        (*stream)->SetHandler(echo);
        streams.push_back(*std::move(stream));
      });
      Connect(pair.TakeClient(), client_context_, "localhost", {}, [&](StreamOr stream) {
        ASSERT_TRUE(stream.ok()) << stream.status();
        (*stream)->SetHandler(ignore);
        (*stream)->Send("a word");
        streams.push_back(*std::move(stream));
      });
      loop_.RunUntilIdle();
    }
  };
  constexpr int kConnections = 500;
  connect(10);  // what is allocated once
  const size_t before = Allocated();
  connect(kConnections);
  ASSERT_EQ(streams.size(), 2 * (10 + kConnections));
  const size_t each = (Allocated() - before) / (2 * kConnections);
  RecordProperty("bytes", static_cast<int>(each));
  std::printf("%zu bytes a stream, the transport's included\n", each);
  EXPECT_LE(each, 12 * 1024);
  loop_.RunUntilIdle();
}

}  // namespace
}  // namespace sluice::tls
