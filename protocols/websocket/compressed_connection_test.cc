// Connections that have agreed on permessage-deflate, over Streams in memory.

#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/websocket/client.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/deflate.h"
#include "sluice/protocols/websocket/frame.h"
#include "sluice/protocols/websocket/internal/words.h"
#include "sluice/protocols/websocket/mask.h"
#include "sluice/protocols/websocket/server.h"

namespace sluice::websocket {
namespace {

using internal::Words;
using testing::HasSubstr;

// Keeps what it gets, and sends it back where that is wanted.
class Recorder : public Handler {
 public:
  explicit Recorder(bool echoes) : echoes_(echoes) {}

  void OnOpen(Connection& connection) override {
    current = &connection;
    compresses = connection.compresses();
  }
  void OnMessage(Connection& connection, const Message& message) override {
    messages.emplace_back(message.text());
    if (echoes_) connection.SendInPlace(message);
  }
  void OnClose(Connection&, const CloseInfo& info) override {
    current = nullptr;
    code = info.code;
    status = info.status;
  }

  Connection* current = nullptr;
  bool compresses = false;
  std::vector<std::string> messages;
  CloseCode code = CloseCode::kNormal;
  absl::Status status;

 private:
  const bool echoes_;
};

std::shared_ptr<const Deflate> Make(const DeflateOptions& options = {}) {
  return *Deflate::Create(options);
}

class CompressedConnectionTest : public testing::Test {
 protected:
  void Join(std::shared_ptr<const Compression> at_server,
            std::shared_ptr<const Compression> at_client, size_t max_chunk = 0) {
    server_ = std::make_unique<Server>(
        Server::Options{.connection = {.compression = std::move(at_server)}, .handshake = {}});
    Client::Options options;
    options.connection.compression = std::move(at_client);
    options.handshake.host = "h";
    client_ = *Client::Create(options);
    pair_ = std::make_unique<StreamPair>(loop_.loop());
    if (max_chunk != 0) {
      pair_->to_server().set_max_chunk(max_chunk);
      pair_->to_client().set_max_chunk(max_chunk);
    }
    server_->Serve(pair_->TakeServer(), at_server_);
    client_->Open(pair_->TakeClient(), at_client_);
    loop_.RunUntilIdle();
    ASSERT_NE(at_server_.current, nullptr);
    ASSERT_NE(at_client_.current, nullptr);
  }

  // Handlers and makers outlive the loop, which ends the connections that are left.
  Recorder at_server_{/*echoes=*/true};
  Recorder at_client_{/*echoes=*/false};
  std::unique_ptr<Server> server_;
  std::unique_ptr<Client> client_;
  VirtualLoop loop_;
  std::unique_ptr<StreamPair> pair_;
};

TEST_F(CompressedConnectionTest, ManyDifferentMessagesComeBack) {
  for (const bool context : {false, true}) {
    const auto deflate = Make({.send_context = context, .receive_context = context});
    Join(deflate, deflate);
    EXPECT_TRUE(at_client_.compresses);
    std::vector<std::string> sent;
    for (uint32_t i = 0; i < 256; ++i) {
      sent.push_back(Words(i * 17, i));
      at_client_.current->SendText(sent.back());
    }
    loop_.RunUntilIdle();
    EXPECT_TRUE(at_server_.messages == sent);
    EXPECT_TRUE(at_client_.messages == sent);
    at_client_.current->Close();
    loop_.RunUntilIdle();
    at_server_.messages.clear();
    at_client_.messages.clear();
  }
}

TEST_F(CompressedConnectionTest, InPiecesOfAFewBytes) {
  for (const size_t chunk : {1, 2, 3, 7}) {
    const auto deflate = Make({.send_context = true, .receive_context = true});
    Join(deflate, deflate, chunk);
    const std::string message = Words(5000, static_cast<uint32_t>(chunk));
    for (int i = 0; i < 3; ++i) at_client_.current->SendText(message);
    loop_.RunUntilIdle();
    EXPECT_TRUE(at_client_.messages == std::vector<std::string>(3, message)) << chunk;
    at_client_.messages.clear();
    at_client_.current->Close();
    loop_.RunUntilIdle();
  }
}

TEST_F(CompressedConnectionTest, OnlyWhereBothWantIt) {
  Join(Make(), nullptr);
  EXPECT_FALSE(at_server_.compresses);
  at_client_.current->SendText(Words(1000, 1));
  loop_.RunUntilIdle();
  EXPECT_EQ(at_client_.messages.size(), 1u);
  at_client_.current->Close();
  loop_.RunUntilIdle();
  Join(nullptr, Make());
  EXPECT_FALSE(at_client_.compresses);
}

// Compressed for those that compress, and as it is for the others, with a context and without.
TEST_F(CompressedConnectionTest, APreparedMessageIsForAll) {
  const auto alone = Make();
  const std::string text = Words(3000, 1);
  const PreparedMessage prepared = PreparedMessage::Text(text, alone.get());
  for (const auto& options :
       {DeflateOptions{}, DeflateOptions{.send_context = true, .receive_context = true},
        DeflateOptions{.send_window_bits = 9}}) {
    const auto deflate = Make(options);
    Join(deflate, deflate);
    for (int i = 0; i < 3; ++i) {
      at_server_.current->Send(prepared);
      at_server_.current->SendText(text);
    }
    loop_.RunUntilIdle();
    EXPECT_TRUE(at_client_.messages == std::vector<std::string>(6, text));
    at_client_.messages.clear();
    at_client_.current->Close();
    loop_.RunUntilIdle();
  }
  Join(nullptr, nullptr);
  at_server_.current->Send(prepared);
  loop_.RunUntilIdle();
  EXPECT_EQ(at_client_.messages, std::vector<std::string>{text});
}

// A server whose peer says what the test makes it say.
class RawPeerTest : public CompressedConnectionTest {
 protected:
  void SetUp() override {
    Server::Options options;
    options.connection.compression = Make();
    options.connection.max_message_bytes = 100'000;
    server_ = std::make_unique<Server>(options);
    pair_ = std::make_unique<StreamPair>(loop_.loop());
    peer_ = std::make_unique<StreamRecorder>(pair_->TakeClient());
    server_->Serve(pair_->TakeServer(), at_server_);
    Say("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n");
    EXPECT_THAT(peer_->TakeReceived(),
                HasSubstr("Sec-WebSocket-Extensions: permessage-deflate; "
                          "server_no_context_takeover; client_no_context_takeover\r\n"));
  }

  void Say(absl::string_view bytes) {
    peer_->stream().Send(bytes);
    loop_.RunUntilIdle();
  }
  static std::string Frame(Opcode opcode, uint8_t rsv, absl::string_view payload, bool fin = true) {
    std::string frame(kMaxFrameHeaderBytes + payload.size(), '\0');
    auto* const out = reinterpret_cast<uint8_t*>(&frame[0]);
    const FrameHeader header{.opcode = opcode,
                             .fin = fin,
                             .rsv = rsv,
                             .masked = true,
                             .mask_key = 0x9a3b5c7d,
                             .payload_bytes = payload.size()};
    const size_t n = EncodeFrameHeader(header, out);
    ApplyMask(out + n, reinterpret_cast<const uint8_t*>(payload.data()), payload.size(),
              header.mask_key);
    frame.resize(n + payload.size());
    return frame;
  }
  static std::string Compressed(const std::string& text) {
    const auto deflate = Make({.min_message_bytes = 0});
    const auto bytes =
        deflate->CompressAlone({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
    return std::string(bytes.begin(), bytes.end());
  }
  void ExpectFailure(CloseCode code, absl::string_view why) {
    EXPECT_EQ(at_server_.code, code);
    EXPECT_THAT(std::string(at_server_.status.message()), HasSubstr(std::string(why)));
    EXPECT_TRUE(at_server_.messages.empty());
  }

  std::unique_ptr<StreamRecorder> peer_;
};

constexpr absl::string_view kHello("\xf2\x48\xcd\xc9\xc9\x07\x00", 7);

// RFC 7692, section 7.2.3.1.
TEST_F(RawPeerTest, AMessageInOneFrameAndInTwo) {
  Say(Frame(Opcode::kText, 4, kHello));
  Say(Frame(Opcode::kText, 4, kHello.substr(0, 3), /*fin=*/false));
  Say(Frame(Opcode::kPing, 0, "between"));
  Say(Frame(Opcode::kContinuation, 0, kHello.substr(3)));
  Say(Frame(Opcode::kText, 0, "plain"));
  EXPECT_EQ(at_server_.messages, (std::vector<std::string>{"Hello", "Hello", "plain"}));
}

TEST_F(RawPeerTest, OnlyTheFirstFrameSaysThatAMessageIsCompressed) {
  Say(Frame(Opcode::kText, 4, kHello.substr(0, 3), /*fin=*/false));
  Say(Frame(Opcode::kContinuation, 4, kHello.substr(3)));
  ExpectFailure(CloseCode::kProtocolError, "a reserved bit is set");
}

TEST_F(RawPeerTest, AControlFrameIsNeverCompressed) {
  Say(Frame(Opcode::kPing, 4, kHello));
  ExpectFailure(CloseCode::kProtocolError, "a reserved bit is set");
}

TEST_F(RawPeerTest, OtherReservedBitsAreRefused) {
  Say(Frame(Opcode::kText, 6, kHello));
  ExpectFailure(CloseCode::kProtocolError, "a reserved bit is set");
}

TEST_F(RawPeerTest, DamageIsRefused) {
  Say(Frame(Opcode::kText, 4, "\xff\xff\xff"));
  ExpectFailure(CloseCode::kInvalidPayload, "a compressed message is damaged");
}

TEST_F(RawPeerTest, TextMustBeUtf8WhenItIsDecompressed) {
  Say(Frame(Opcode::kText, 4, Compressed(std::string(200, '\xff'))));
  ExpectFailure(CloseCode::kInvalidPayload, "a text message is not UTF-8");
}

TEST_F(RawPeerTest, BytesNeedNotBeText) {
  Say(Frame(Opcode::kBinary, 4, Compressed(std::string(200, '\xff'))));
  EXPECT_EQ(at_server_.messages, std::vector<std::string>{std::string(200, '\xff')});
}

// What does not compress is larger than the message, which is what the limit is for.
TEST_F(RawPeerTest, AMessageOfTheLimitMayBeSentAsALargerOne) {
  std::mt19937 random(1);
  std::string noise(100'000, 0);
  for (char& c : noise) c = static_cast<char>(random());
  std::string stored;
  for (size_t at = 0; at < noise.size(); at += 10'000) {
    constexpr uint16_t kSize = 10'000;
    stored += std::string({'\0', kSize & 0xff, kSize >> 8, static_cast<char>(~kSize & 0xff),
                           static_cast<char>(~kSize >> 8 & 0xff)});
    stored += noise.substr(at, kSize);
  }
  stored.push_back('\0');
  ASSERT_GT(stored.size(), noise.size());
  Say(Frame(Opcode::kBinary, 4, stored));
  EXPECT_TRUE(at_server_.messages == std::vector<std::string>{noise});
}

TEST_F(RawPeerTest, ABombIsRefused) {
  Say(Frame(Opcode::kBinary, 4, Compressed(std::string(100'000, 'x'))));
  EXPECT_EQ(at_server_.messages.size(), 1u);
  at_server_.messages.clear();
  Say(Frame(Opcode::kBinary, 4, Compressed(std::string(100'001, 'x'))));
  ExpectFailure(CloseCode::kMessageTooBig, "a message is over the limit of 100000");
}

}  // namespace
}  // namespace sluice::websocket
