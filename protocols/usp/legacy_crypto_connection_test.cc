// Connections that are encrypted as the original does it.
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/usp/compression.h"
#include "sluice/protocols/usp/compressor.h"
#include "sluice/protocols/usp/connection.h"
#include "sluice/protocols/usp/header.h"
#include "sluice/protocols/usp/legacy_crypto.h"
#include "sluice/protocols/usp/legacy_crypto_vectors.h"
#include "sluice/protocols/usp/message_codec.h"

namespace sluice::usp {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A server answers with what it has got.
class Recorder : public Handler {
 public:
  explicit Recorder(bool echoes) : echoes_(echoes) {}

  std::vector<std::string> messages;
  bool opened = false;
  absl::Status closed = absl::UnknownError("not closed");

 private:
  void OnOpen(Connection&) override { opened = true; }
  void OnMessage(Connection& connection, const Message& message) override {
    messages.push_back(DescribeMessage(message));
    if (!echoes_) return;
    EXPECT_EQ(connection.Send(message), SendResult::kSent);
  }
  void OnClose(Connection&, const absl::Status& status) override { closed = status; }

  const bool echoes_;
};

ConnectionOptions OptionsOf(absl::StatusOr<InsecureLegacyCrypto> crypto) {
  ConnectionOptions options;
  options.make_cipher = [crypto = *std::move(crypto)] { return crypto.NewCipher(); };
  // Nothing happens but what a test does.
  options.ping_interval = absl::InfiniteDuration();
  options.heartbeat_timeout = absl::InfiniteDuration();
  options.message.compressor = &ZlibCompressor();
  options.message.compression = CompressionAlgorithm::kGzip;
  options.message.min_compress_bytes = 100;
  return options;
}
ConnectionOptions ServerOptions() {
  return OptionsOf(InsecureLegacyCrypto::ForServer(kPrivateKey));
}
ConnectionOptions ClientOptions() { return OptionsOf(InsecureLegacyCrypto::ForClient(kPublicKey)); }

// A frame of a handshake or a message that is encrypted, as the original sends it.
std::string Frame(MessageType type, bool encrypted, absl::string_view payload) {
  std::string frame(10, 0);
  frame[0] = static_cast<char>(6 + payload.size());
  frame[5] = static_cast<char>(type);
  frame[7] = encrypted ? 1 : 0;
  return frame.append(payload.data(), payload.size());
}

// A server, of which a test sees the wire. What must outlive its connection stands before the loop.
struct Served {
  Served() {
    server->Serve(pair.TakeServer(), recorder);
    client.emplace(pair.TakeClient());
  }
  void Receive(absl::string_view bytes) {
    client->stream().Send(bytes);
    loop.RunUntilIdle();
  }

  const std::unique_ptr<Server> server = Server::Create(ServerOptions()).value();
  Recorder recorder{/*echoes=*/true};
  VirtualLoop loop;
  StreamPair pair{loop.loop()};
  std::optional<StreamRecorder> client;
};

TEST(LegacyCryptoConnectionTest, ClientAndServerConverse) {
  for (const size_t chunk : {1, 7, 65536}) {
    const auto server = Server::Create(ServerOptions()).value();
    const auto client = Client::Create(ClientOptions()).value();
    Recorder at_server(/*echoes=*/true), at_client(/*echoes=*/false);
    VirtualLoop loop;
    StreamPair pair(loop.loop());
    pair.to_server().set_max_chunk(chunk);
    pair.to_client().set_max_chunk(chunk);
    server->Serve(pair.TakeServer(), at_server);
    Connection& connection = client->Open(pair.TakeClient(), at_client);
    EXPECT_EQ(connection.SendText("too soon"), SendResult::kRefused);
    loop.RunUntilIdle();
    ASSERT_TRUE(at_server.opened && at_client.opened);

    const HeaderField header[] = {{"id", "7"}};
    EXPECT_EQ(connection.SendText("hello", header), SendResult::kSent);
    EXPECT_EQ(connection.SendText(""), SendResult::kSent);
    EXPECT_EQ(connection.SendText(std::string(1000, 'm')), SendResult::kSent);
    loop.RunUntilIdle();
    EXPECT_EQ(at_server.messages.size(), 3u);
    EXPECT_EQ(at_client.messages, at_server.messages);
    EXPECT_THAT(at_client.messages[0], HasSubstr("hello"));
    connection.Close();
    loop.RunUntilIdle();
    EXPECT_EQ(at_server.closed, absl::OkStatus());
    EXPECT_EQ(at_client.closed, absl::OkStatus());
  }
}

// As OpenSSL encrypts them.
TEST(LegacyCryptoConnectionTest, AServerUnderstandsTheBytesOfTheOriginal) {
  Served served;
  served.Receive(Frame(MessageType::kHandshake, false, absl::HexStringToBytes(kHandshake16)));
  EXPECT_EQ(served.client->TakeReceived(), Frame(MessageType::kHandshake, false, ""));
  const std::string hello =
      Frame(MessageType::kText, true, absl::HexStringToBytes("674c7ef38e78cabd9cec9c125823a639"));
  served.Receive(hello);
  EXPECT_EQ(served.client->received(), hello);
  EXPECT_EQ(served.recorder.messages.size(), 1u);
}

TEST(LegacyCryptoConnectionTest, WhoHasAnotherKeyEndsItsOwnConnection) {
  struct {
    std::string sent;
    const char* error;
  } const kCases[] = {
      {Frame(MessageType::kHandshake, false, absl::HexStringToBytes(kBadHandshakes[0].bytes)) +
           Frame(MessageType::kText, true, std::string(16, 'm')),
       "cannot be decrypted"},
      {Frame(MessageType::kHandshake, false, "short"), "a handshake of 5 bytes"},
      {Frame(MessageType::kHandshake, false, absl::HexStringToBytes(kHandshake16)) +
           Frame(MessageType::kHandshake, false, absl::HexStringToBytes(kHandshake16)),
       "a second handshake"},
  };
  for (const auto& wrong : kCases) {
    Served served;
    served.Receive(wrong.sent);
    EXPECT_THAT(served.recorder.messages, IsEmpty());
    EXPECT_EQ(served.recorder.closed.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(served.recorder.closed.message()), HasSubstr(wrong.error));
  }
}

TEST(LegacyCryptoConnectionTest, NothingThatIsNotEncryptedIsDelivered) {
  Served served;
  served.Receive(Frame(MessageType::kHandshake, false, absl::HexStringToBytes(kHandshake16)) +
                 Frame(MessageType::kText, false, "hello"));
  EXPECT_THAT(served.recorder.messages, ElementsAre());
  EXPECT_FALSE(served.recorder.closed.ok());
}

}  // namespace
}  // namespace sluice::usp
