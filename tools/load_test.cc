#include "sluice/tools/load.h"

#include <signal.h>

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/dialer.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/tools/echo_server.h"
#include "sluice/tools/frame_protocol.h"
#include "sluice/tools/load_course.h"
#include "sluice/tools/protocol.h"
#include "sluice/tools/raw_protocol.h"
#include "sluice/tools/websocket_protocol.h"

namespace sluice::tools {
namespace {

using testing::HasSubstr;

// A server of plain bytes that does something else than to echo.
class Misbehaving final : public Protocol {
 public:
  using OnReceive = void (*)(Stream& stream, absl::Span<uint8_t> bytes, uint64_t& received);

  explicit Misbehaving(OnReceive on_receive)
      : Protocol({.name = "misbehaving", .has_messages = false}), on_receive_(on_receive) {}

  absl::StatusOr<std::unique_ptr<EchoService>> NewEchoService(
      const ServerOptions& /*options*/) const override {
    return std::make_unique<Service>(on_receive_);
  }
  absl::StatusOr<std::unique_ptr<ClientFactory>> NewClientFactory(
      const ClientOptions& /*options*/) const override {
    return absl::UnimplementedError("servers only");
  }

 private:
  class Service final : public EchoService, private StreamHandler {
   public:
    explicit Service(Misbehaving::OnReceive on_receive) : on_receive_(on_receive) {}
    void Serve(std::unique_ptr<Stream> stream) override { Stream::Run(std::move(stream), *this); }

   private:
    void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override {
      on_receive_(stream, bytes, totals_.bytes);
    }
    const Misbehaving::OnReceive on_receive_;
  };

  const OnReceive on_receive_;
};

class LoadTest : public testing::Test {
 protected:
  // Starts a server of `protocol` that the load will connect to.
  void Serve(const Protocol& protocol, size_t max_message_bytes = 1 << 20, bool compress = false) {
    absl::StatusOr<std::unique_ptr<EchoServer>> started =
        EchoServer::Start({{.listen = SocketAddress::Ipv4Loopback(0), .threads = 2},
                           &protocol,
                           max_message_bytes,
                           compress});
    ASSERT_TRUE(started.ok()) << started.status();
    server = *std::move(started);
    options.protocol = &protocol;
    options.dialer = std::make_shared<FixedDialer>(server->address());
    options.url.authority = server->address().ToString();
  }

  LoadResult Run() {
    Load load(options);
    absl::StatusOr<LoadResult> result =
        load.Run(absl::Seconds(1), [](const Load::Progress& /*progress*/) {});
    EXPECT_TRUE(result.ok()) << result.status();
    return *std::move(result);
  }

  const std::unique_ptr<Protocol> raw = RawProtocol();
  const std::unique_ptr<Protocol> frame = FrameProtocol();
  const std::unique_ptr<Protocol> websocket = WebSocketProtocol();
  std::unique_ptr<EchoServer> server;
  LoadOptions options = {.connections = 7,
                         .pipeline = 3,
                         .size = 1000,
                         .duration = absl::Milliseconds(100),
                         .timeout = absl::Minutes(1),
                         .threads = 2};
};

TEST_F(LoadTest, EveryMessageOfEveryProtocolComesBack) {
  for (const Protocol* protocol : {raw.get(), frame.get(), websocket.get()}) {
    SCOPED_TRACE(protocol->name());
    Serve(*protocol);
    const LoadResult result = Run();
    EXPECT_EQ(result.connections, 7);
    EXPECT_EQ(result.errors.total(), 0u) << result.errors.first;
    EXPECT_GE(result.messages, 21u);
    EXPECT_EQ(result.bytes, result.messages * 1000);
    EXPECT_EQ(result.latency.count(), result.messages);
    EXPECT_GE(result.elapsed, absl::Milliseconds(100));
    const EchoTotals totals = server->Stop(absl::Minutes(1));
    EXPECT_EQ(totals.connections, 7u);
    EXPECT_EQ(totals.bytes, result.bytes);
    EXPECT_EQ(totals.errors, 0u);
    if (protocol->has_messages()) {
      EXPECT_EQ(totals.messages, result.messages);
    }
  }
}

TEST_F(LoadTest, CompressedMessagesComeBackWhereTheServerAgrees) {
  options.compress = true;
  for (const bool compress : {false, true}) {
    for (const bool text : {false, true}) {
      Serve(*websocket, 1 << 20, compress);
      options.text = text;
      const LoadResult result = Run();
      EXPECT_EQ(result.compressed, compress ? 7 : 0);
      EXPECT_EQ(result.errors.total(), 0u) << result.errors.first;
      EXPECT_GE(result.messages, 21u);
      EXPECT_EQ(server->Stop(absl::Minutes(1)).bytes, result.bytes);
    }
  }
}

TEST_F(LoadTest, SizesFromOneByteToMoreThanAQueue) {
  for (const Protocol* protocol : {raw.get(), frame.get(), websocket.get()}) {
    for (size_t size : {size_t{1}, size_t{125}, size_t{126}, size_t{65'536}, size_t{3'000'000}}) {
      SCOPED_TRACE(absl::StrCat(protocol->name(), " ", size));
      options.size = size;
      options.connections = 2;
      Serve(*protocol, size);
      const LoadResult result = Run();
      EXPECT_EQ(result.errors.total(), 0u) << result.errors.first;
      EXPECT_GE(result.messages, 6u);
      EXPECT_EQ(server->Stop(absl::Minutes(1)).bytes, result.bytes);
    }
  }
}

TEST_F(LoadTest, ProgressIsShownAndASignalEndsTheRunEarly) {
  Serve(*raw);
  options.duration = absl::InfiniteDuration();
  Load load(options);
  Load::Progress last;
  const auto show = [&](const Load::Progress& progress) {
    if (progress.messages > 0 && last.messages == 0) raise(SIGINT);
    last = progress;
  };
  const absl::StatusOr<LoadResult> result = load.Run(absl::Milliseconds(1), show);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_FALSE(last.connecting);
  EXPECT_GT(last.messages, 0u);
  EXPECT_LE(last.messages, result->messages);
  EXPECT_EQ(result->errors.total(), 0u) << result->errors.first;
  EXPECT_EQ(server->Stop(absl::Minutes(1)).bytes, result->bytes);
}

TEST_F(LoadTest, TheSeriesIsOverTimeOnlyWhereThatIsAskedFor) {
  options.duration = absl::InfiniteDuration();
  for (const bool over_time : {false, true}) {
    Serve(*raw);
    options.over_time = over_time;
    Load load(options);
    int shown = 0;
    const absl::StatusOr<LoadResult> result =
        load.Run(LoadCourse::kLookInterval, [&](const Load::Progress& progress) {
          if (!progress.connecting && ++shown == 2) raise(SIGINT);
        });
    ASSERT_TRUE(result.ok()) << result.status();
    if (over_time) {
      EXPECT_GE(result->series.samples().size(), 2u);
    } else {
      EXPECT_EQ(result->series.samples().size(), 1u);
    }
  }
}

TEST_F(LoadTest, AnAnswerThatDiffersIsAMismatch) {
  const Misbehaving corrupting([](Stream& stream, absl::Span<uint8_t> bytes, uint64_t& received) {
    received += bytes.size();
    if (received > 10'000) bytes.back() ^= 1;
    stream.SendLent(bytes);
  });
  Serve(corrupting);
  options.protocol = raw.get();
  options.duration = absl::InfiniteDuration();  // ends when no connection is left
  const LoadResult result = Run();
  EXPECT_EQ(result.errors.count[LoadErrors::kMismatch], 7u);
  EXPECT_EQ(result.errors.total(), 7u);
  EXPECT_THAT(result.errors.first, HasSubstr("differs"));
  EXPECT_GT(result.messages, 0u);
}

TEST_F(LoadTest, WithoutVerifyingOnlySizesCount) {
  const Misbehaving corrupting(
      [](Stream& stream, absl::Span<uint8_t> bytes, uint64_t& /*received*/) {
        bytes.back() ^= 1;
        stream.SendLent(bytes);
      });
  Serve(corrupting);
  options.protocol = raw.get();
  options.verify = false;
  EXPECT_EQ(Run().errors.total(), 0u);
}

TEST_F(LoadTest, MoreThanWasSentIsAMismatch) {
  const Misbehaving doubling([](Stream& stream, absl::Span<uint8_t> bytes, uint64_t& /*received*/) {
    stream.Send(absl::Span<const uint8_t>(bytes));
    stream.SendLent(bytes);
  });
  Serve(doubling);
  options.protocol = raw.get();
  options.duration = absl::InfiniteDuration();
  EXPECT_EQ(Run().errors.count[LoadErrors::kMismatch], 7u);
}

TEST_F(LoadTest, AServerThatStallsIsATimeout) {
  const Misbehaving stalling([](Stream& stream, absl::Span<uint8_t> bytes, uint64_t& received) {
    received += bytes.size();
    if (received < 10'000) stream.SendLent(bytes);
  });
  Serve(stalling);
  options.protocol = raw.get();
  options.timeout = absl::Milliseconds(200);
  options.duration = absl::InfiniteDuration();
  const LoadResult result = Run();
  EXPECT_EQ(result.errors.count[LoadErrors::kTimeout], 7u);
  EXPECT_EQ(result.errors.total(), 7u);
  EXPECT_THAT(result.errors.first, HasSubstr("no answer for 200ms"));
}

TEST_F(LoadTest, AnEndBeforeTheLastAnswerIsClosed) {
  const Misbehaving closing([](Stream& stream, absl::Span<uint8_t> bytes, uint64_t& received) {
    received += bytes.size();
    stream.SendLent(bytes);
    if (received > 10'000) stream.Close();
  });
  Serve(closing);
  options.protocol = raw.get();
  options.duration = absl::InfiniteDuration();
  const LoadResult result = Run();
  EXPECT_EQ(result.errors.count[LoadErrors::kClosed], 7u);
  EXPECT_EQ(result.errors.total(), 7u);
}

TEST_F(LoadTest, AResetIsClosed) {
  const Misbehaving resetting([](Stream& stream, absl::Span<uint8_t>, uint64_t& /*received*/) {
    stream.Abort(absl::CancelledError("as the test wants"));
  });
  Serve(resetting);
  options.protocol = raw.get();
  options.duration = absl::InfiniteDuration();
  const LoadResult result = Run();
  EXPECT_EQ(result.errors.count[LoadErrors::kClosed], 7u);
  EXPECT_EQ(result.messages, 0u);
}

TEST_F(LoadTest, WhatIsNotOfTheProtocolIsAProtocolError) {
  const Misbehaving overlong([](Stream& stream, absl::Span<uint8_t>, uint64_t& /*received*/) {
    stream.Send(absl::string_view("\xff\xff\xff\xff", 4));
  });
  Serve(overlong);
  options.protocol = frame.get();
  options.duration = absl::InfiniteDuration();
  EXPECT_EQ(Run().errors.count[LoadErrors::kProtocol], 7u);
}

TEST_F(LoadTest, ARefusedHandshakeIsAConnectError) {
  const Misbehaving refusing([](Stream& stream, absl::Span<uint8_t>, uint64_t& /*received*/) {
    stream.Send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    stream.Close();
  });
  Serve(refusing);
  options.protocol = websocket.get();
  options.duration = absl::InfiniteDuration();
  const LoadResult result = Run();
  EXPECT_EQ(result.errors.count[LoadErrors::kConnect], 7u);
  EXPECT_EQ(result.connections, 0);
  EXPECT_THAT(result.errors.first, HasSubstr("404"));
}

TEST_F(LoadTest, AHandshakeThatStallsIsAConnectError) {
  const Misbehaving silent([](Stream&, absl::Span<uint8_t>, uint64_t& /*received*/) {});
  Serve(silent);
  options.protocol = websocket.get();
  options.timeout = absl::Milliseconds(100);
  options.duration = absl::InfiniteDuration();
  EXPECT_EQ(Run().errors.count[LoadErrors::kConnect], 7u);
}

TEST_F(LoadTest, NobodyThereIsAConnectError) {
  Serve(*raw);
  server.reset();
  const LoadResult result = Run();
  EXPECT_EQ(result.errors.count[LoadErrors::kConnect], 7u);
  EXPECT_EQ(result.errors.total(), 7u);
  EXPECT_EQ(result.messages_per_second(), 0);
}

TEST_F(LoadTest, AMessageOverTheServersLimitEndsTheConnection) {
  for (const Protocol* protocol : {frame.get(), websocket.get()}) {
    Serve(*protocol, /*max_message_bytes=*/999);
    options.duration = absl::InfiniteDuration();
    const LoadResult result = Run();
    EXPECT_EQ(result.errors.total(), 7u);
    EXPECT_EQ(result.messages, 0u);
    EXPECT_EQ(server->Stop(absl::Minutes(1)).errors, 7u);
  }
}

}  // namespace
}  // namespace sluice::tools
