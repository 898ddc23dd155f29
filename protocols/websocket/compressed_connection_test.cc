// Connections that have agreed on permessage-deflate, over Streams in memory.

#include <algorithm>
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
  // Joins the parts of a message again.
  void OnMessagePart(Connection& connection, const MessagePart& part) override {
    if (part.first) messages.emplace_back();
    EXPECT_EQ(part.first, !std::exchange(in_message, !part.last)) << "of part " << parts;
    messages.back().append(reinterpret_cast<const char*>(part.payload.data()), part.payload.size());
    largest_part = std::max(largest_part, part.payload.size());
    ++parts;
    if (pauses) connection.PauseReceiving();
  }
  void OnClose(Connection&, const CloseInfo& info) override {
    current = nullptr;
    code = info.code;
    status = info.status;
  }

  Connection* current = nullptr;
  bool compresses = false;
  std::vector<std::string> messages;
  bool pauses = false;  // after each part
  bool in_message = false;
  int parts = 0;
  size_t largest_part = 0;
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

// Receives in parts what a client sends compressed.
class CompressedPartsTest : public CompressedConnectionTest {
 protected:
  void JoinInParts(bool context, size_t max_chunk = 0) {
    const auto deflate = Make({.send_context = context, .receive_context = context});
    Join(deflate, deflate, max_chunk);
    at_server_.current->ReceiveInParts();
  }
  Connection& server() { return *at_server_.current; }
  void Send(const std::string& text) {
    at_client_.current->SendText(text);
    loop_.RunUntilIdle();
  }
};

TEST_F(CompressedPartsTest, PartsAreDecompressedAsTheyArrive) {
  for (const bool context : {false, true}) {
    for (const size_t chunk : {1, 7, 1000, 0}) {
      at_server_.messages.clear();
      JoinInParts(context, chunk);
      std::vector<std::string> sent;
      for (const uint32_t size : {1u, 100u, 5000u, 300'000u, 60u}) {
        sent.push_back(Words(size, size));
        Send(sent.back());
      }
      sent.emplace_back(1'000'000, 'a');
      Send(sent.back());
      EXPECT_TRUE(at_server_.messages == sent) << context << " " << chunk;
      EXPECT_LE(at_server_.largest_part, 64u * 1024);
      at_client_.current->Abort(absl::AbortedError("done"));
      loop_.RunUntilIdle();
    }
  }
}

TEST_F(CompressedPartsTest, WholeMessagesAndPartsMayAlternate) {
  JoinInParts(/*context=*/true);
  std::vector<std::string> sent;
  for (uint32_t i = 0; i < 20; ++i) {
    server().ReceiveInParts(i % 2 == 0);
    sent.push_back(Words(3000, i));
    Send(sent.back());
  }
  EXPECT_TRUE(at_server_.messages == sent);
}

TEST_F(CompressedPartsTest, ReceivingMayBePausedAfterEachPart) {
  for (const bool context : {false, true}) {
    at_server_.messages.clear();
    at_server_.pauses = true;
    JoinInParts(context);
    std::vector<std::string> sent = {std::string(1'000'000, 'a'), Words(200'000, 1), "short",
                                     std::string(100'000, 'b')};
    for (const std::string& text : sent) Send(text);
    int resumed = 0;
    while (at_server_.messages.size() < sent.size() || at_server_.in_message) {
      const int before = at_server_.parts;
      ASSERT_LT(++resumed, 1000);
      server().ResumeReceiving();
      loop_.RunUntilIdle();
      ASSERT_EQ(at_server_.parts, before + 1) << "one, and then it is paused again";
    }
    EXPECT_TRUE(at_server_.messages == sent);
    at_client_.current->Abort(absl::AbortedError("done"));
    loop_.RunUntilIdle();
  }
}

TEST_F(CompressedPartsTest, TheLimitEndsAMessageOfWhichPartsWereDelivered) {
  JoinInParts(/*context=*/false);
  Send(std::string((1 << 20) + 1, 'a'));
  EXPECT_EQ(at_server_.code, CloseCode::kMessageTooBig);
  EXPECT_TRUE(absl::IsResourceExhausted(at_server_.status)) << at_server_.status;
  ASSERT_EQ(at_server_.messages.size(), 1u);
  EXPECT_LE(at_server_.messages[0].size(), size_t{1} << 20);
}

TEST_F(CompressedPartsTest, TextThatIsNotUtf8EndsTheConnection) {
  JoinInParts(/*context=*/false);
  std::string text = Words(200'000, 5);
  text[150'000] = '\xff';
  Send(text);
  EXPECT_EQ(at_server_.code, CloseCode::kInvalidPayload);
  ASSERT_EQ(at_server_.messages.size(), 1u);
  EXPECT_TRUE(text.compare(0, at_server_.messages[0].size(), at_server_.messages[0]) == 0);
}

TEST_F(CompressedPartsTest, ACharacterMayBeCutByAPart) {
  JoinInParts(/*context=*/false);
  std::string text = "x";
  while (text.size() < 500'000) text += "\xe2\x82\xac";
  Send(text);
  ASSERT_EQ(at_server_.messages.size(), 1u);
  EXPECT_TRUE(at_server_.messages[0] == text);
  Send("z" + text + "\xe2\x82");
  EXPECT_EQ(at_server_.code, CloseCode::kInvalidPayload);
}

}  // namespace
}  // namespace sluice::websocket
