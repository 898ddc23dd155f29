// Connections that have agreed on permessage-deflate, over Streams in memory.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/websocket/client.h"
#include "sluice/protocols/websocket/client_handshake.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/deflate.h"
#include "sluice/protocols/websocket/frame.h"
#include "sluice/protocols/websocket/handshake.h"
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

// What the two sides agree on: whether each has a context, and the windows of both, from 8 bits on.
struct Agreement {
  bool server_context;
  bool client_context;
  int window;
};

class EachAgreement : public CompressedConnectionTest,
                      public testing::WithParamInterface<Agreement> {
 protected:
  void JoinAsAgreed(size_t max_chunk) {
    const auto [server_context, client_context, window] = GetParam();
    // A server sends with the window of the client's wish, which may be of 8 bits.
    Join(Make({.send_context = server_context,
               .receive_context = client_context,
               .receive_window_bits = window}),
         Make({.send_context = client_context,
               .receive_context = server_context,
               .receive_window_bits = window}),
         max_chunk);
    ASSERT_TRUE(at_server_.compresses);
    ASSERT_TRUE(at_client_.compresses);
  }
  // All are answered; the client's answers are the server's messages.
  void Send(const std::vector<std::string>& messages) {
    for (const std::string& message : messages) {
      at_client_.current->SendText(message);
      loop_.RunUntilIdle();  // so that the queue's limits are of no concern
    }
    EXPECT_TRUE(at_server_.messages == messages);
    EXPECT_TRUE(at_client_.messages == messages);
  }
};

TEST_P(EachAgreement, DifferentMessagesInARowComeBack) {
  JoinAsAgreed(/*max_chunk=*/0);
  std::vector<std::string> messages;
  size_t bytes = 0;
  for (uint32_t i = 0; i < 256; ++i) {
    messages.push_back(Words(i * 4, i));
    // In a window of 8 bits only short ones are compressed.
    if (GetParam().window == 8) messages.back().resize(std::min<size_t>(i, 256));
    bytes += messages.back().size();
  }
  Send(messages);
  EXPECT_LT(pair_->to_server().bytes_arrived(), bytes * 9 / 10) << "they were compressed";
  EXPECT_LT(pair_->to_client().bytes_arrived(), bytes * 9 / 10) << "they were compressed";
}

TEST_P(EachAgreement, MessagesInPiecesOfAFewBytesComeBack) {
  for (const size_t chunk : {1, 3}) {
    JoinAsAgreed(chunk);
    std::vector<std::string> messages;
    for (uint32_t i = 0; i < 6; ++i) messages.push_back(Words(64 + i * 60, i / 2));
    Send(messages);
    at_server_.messages.clear();
    at_client_.messages.clear();
    at_client_.current->Close();
    loop_.RunUntilIdle();
  }
}

std::vector<Agreement> Agreements() {
  std::vector<Agreement> all;
  for (int window = 8; window <= 15; ++window) {
    for (const bool server : {false, true}) {
      for (const bool client : {false, true}) all.push_back({server, client, window});
    }
  }
  return all;
}

std::string NameOf(const testing::TestParamInfo<Agreement>& one) {
  const auto [server_context, client_context, window] = one.param;
  return absl::StrCat(server_context ? "ServerContext" : "", client_context ? "ClientContext" : "",
                      server_context || client_context ? "" : "NoContext", "Window", window);
}

INSTANTIATE_TEST_SUITE_P(, EachAgreement, testing::ValuesIn(Agreements()), NameOf);

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

// The budget of contexts, over any number of connections on a loop.
class Connections {
 public:
  Connections(std::shared_ptr<const Compression> at_server,
              std::shared_ptr<const Compression> at_client)
      : server_({.connection = {.compression = std::move(at_server)}, .handshake = {}}) {
    Client::Options options;
    options.connection.compression = std::move(at_client);
    options.handshake.host = "h";
    client_ = *Client::Create(options);
  }

  struct Ends {
    Recorder server{/*echoes=*/true};
    Recorder client{/*echoes=*/false};
    std::unique_ptr<StreamPair> pair;
  };

  Ends& Open() {
    Ends& ends = *ends_.emplace_back(std::make_unique<Ends>());
    ends.pair = std::make_unique<StreamPair>(loop_.loop());
    server_.Serve(ends.pair->TakeServer(), ends.server);
    client_->Open(ends.pair->TakeClient(), ends.client);
    loop_.RunUntilIdle();
    return ends;
  }
  // Whether the server's second answer, which is the same, refers to the first.
  bool HasContext(Ends& ends) {
    const std::string message = Words(1000, 1);
    uint64_t before = 0;
    for (int i = 0; i < 2; ++i) {
      before = ends.pair->to_client().bytes_arrived();
      ends.client.current->SendText(message);
      loop_.RunUntilIdle();
      EXPECT_TRUE(ends.client.messages.back() == message);
    }
    return ends.pair->to_client().bytes_arrived() - before < 60;
  }
  void RunUntilIdle() { loop_.RunUntilIdle(); }

 private:
  std::vector<std::unique_ptr<Ends>> ends_;  // outlive the loop, as makers do
  Server server_;
  std::unique_ptr<Client> client_;
  VirtualLoop loop_;
};

std::shared_ptr<const Deflate> Contexts(std::shared_ptr<ContextBudget> budget = nullptr) {
  return Make({.send_context = true, .receive_context = true, .budget = std::move(budget)});
}

TEST(BudgetTest, PastItNewConnectionsHaveNoContext) {
  const auto budget = std::make_shared<ContextBudget>(700'000);
  Connections connections(Contexts(budget), Contexts());
  auto& first = connections.Open();
  const size_t of_one = budget->used_bytes();
  EXPECT_GT(of_one, 256u * 1024) << "zlib's two windows, and more";
  auto& second = connections.Open();
  EXPECT_EQ(budget->used_bytes(), 2 * of_one);
  auto& third = connections.Open();
  EXPECT_EQ(budget->used_bytes(), 2 * of_one);
  EXPECT_TRUE(connections.HasContext(first));
  EXPECT_TRUE(connections.HasContext(second));
  EXPECT_TRUE(third.client.compresses);
  EXPECT_FALSE(connections.HasContext(third));

  first.client.current->Close();
  connections.RunUntilIdle();
  EXPECT_EQ(budget->used_bytes(), of_one);
  EXPECT_TRUE(connections.HasContext(connections.Open())) << "there is room again";
}

TEST(BudgetTest, EachEndOfAConnectionGivesItBack) {
  const auto budget = std::make_shared<ContextBudget>(1'000'000);
  Connections connections(Contexts(budget), Contexts(budget));
  using Ends = Connections::Ends;
  for (void (*end)(Ends&) :
       {+[](Ends& ends) { ends.client.current->Close(); },
        +[](Ends& ends) { ends.server.current->Close(); },
        +[](Ends& ends) { ends.server.current->Abort(absl::AbortedError("")); },
        +[](Ends& ends) { ends.pair->Break(); }}) {
    Ends& ends = connections.Open();
    EXPECT_GT(budget->used_bytes(), 600'000u) << "both sides take of it";
    end(ends);
    connections.RunUntilIdle();
    EXPECT_EQ(ends.client.current, nullptr);
    EXPECT_EQ(budget->used_bytes(), 0u);
  }
  {
    Connections others(Contexts(budget), Contexts(budget));
    others.Open();
  }
  EXPECT_EQ(budget->used_bytes(), 0u) << "after the loop's end";
}

// The rest of an answer is wrong; the compression that was agreed on before was taken back.
TEST(BudgetTest, AFailedHandshakeGivesItBack) {
  const auto budget = std::make_shared<ContextBudget>(1'000'000);
  ClientHandshake::Options options;
  options.host = "h";
  options.compression = Contexts(budget);
  {
    auto handshake = *ClientHandshake::Create(options);
    const std::string request(handshake.request());
    const std::string key = request.substr(request.find("-Key: ") + 6, 24);
    const std::string answer = absl::StrCat(
        "HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
        AcceptForKey(key),
        "\r\nSec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: x\r\n\r\n");
    absl::Span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(answer.data()), answer.size());
    EXPECT_THAT(std::string(handshake.Read(bytes).status().message()), HasSubstr("subprotocol"));
  }
  EXPECT_EQ(budget->used_bytes(), 0u);
}

// Ends the connection while it decides about the request.
TEST(BudgetTest, AServerThatEndsTheConnectionInOnRequestGivesItBack) {
  class Aborting : public Recorder {
   public:
    Aborting() : Recorder(/*echoes=*/false) {}
    void OnRequest(Connection&, const HandshakeRequest&, HandshakeReply&) override {
      connection->Abort(absl::AbortedError(""));
    }
    Connection* connection = nullptr;
  };
  const auto budget = std::make_shared<ContextBudget>(1'000'000);
  Aborting at_server;
  Recorder at_client(/*echoes=*/false);
  const Server server({.connection = {.compression = Contexts(budget)}, .handshake = {}});
  Client::Options options;
  options.connection.compression = Contexts();
  options.handshake.host = "h";
  const auto client = *Client::Create(options);
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  at_server.connection = &server.Serve(pair.TakeServer(), at_server);
  client->Open(pair.TakeClient(), at_client);
  loop.RunUntilIdle();
  EXPECT_EQ(at_server.current, nullptr);
  EXPECT_EQ(budget->used_bytes(), 0u);
}

// What it lends is never more than it has, and all comes back.
TEST(BudgetTest, LoopsShareOne) {
  const auto budget = std::make_shared<ContextBudget>(1'500'000);
  const auto deflate = Contexts(budget);
  const PreparedMessage prepared = PreparedMessage::Text(Words(500, 9), deflate.get());
  const auto run = [&] {
    Connections connections(deflate, Contexts());
    for (int round = 0; round < 10; ++round) {
      std::vector<Connections::Ends*> open;
      for (int i = 0; i < 4; ++i) open.push_back(&connections.Open());
      for (auto* const ends : open) {
        connections.HasContext(*ends);
        ends->server.current->Send(prepared);
        EXPECT_LE(budget->used_bytes(), budget->max_bytes());
        ends->client.current->Close();
        connections.RunUntilIdle();
      }
    }
  };
  std::thread other(run);
  run();
  other.join();
  EXPECT_EQ(budget->used_bytes(), 0u);
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
