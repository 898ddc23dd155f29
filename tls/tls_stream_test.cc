#include "sluice/tls/tls_stream.h"

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "openssl/err.h"
#include "openssl/ssl.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/tls/bare_peer.h"
#include "sluice/tls/context.h"
#include "sluice/tls/handshake_pair.h"
#include "sluice/tls/testing.h"

namespace sluice::tls {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using TlsStreamTest = HandshakePair;

// The example of core/stream.h.
class Echo : public StreamHandler {
  void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override {
    if (stream.SendLent(bytes) == SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnSendReady(Stream& stream) override { stream.ResumeReceiving(); }
};

std::string Bytes(size_t size) {
  std::string bytes(size, 0);
  uint32_t state = 1;
  for (char& byte : bytes) byte = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return bytes;
}

TEST_F(TlsStreamTest, BytesGoBothWays) {
  Start();
  at_client_->stream().Send("a question");
  loop_.RunUntilIdle();
  EXPECT_EQ(at_server_->received(), "a question");
  at_server_->stream().Send("the answer");
  loop_.RunUntilIdle();
  EXPECT_EQ(at_client_->received(), "the answer");
}

TEST_F(TlsStreamTest, AHandshakeIsNeverDoneInsideACall) {
  StartHandshake();
  EXPECT_EQ(server_.status().code(), absl::StatusCode::kUnknown);
  EXPECT_EQ(client_.status().code(), absl::StatusCode::kUnknown);
  loop_.RunUntilIdle();
  EXPECT_TRUE(server_.ok()) << server_.status();
  EXPECT_TRUE(client_.ok()) << client_.status();
}

TEST_F(TlsStreamTest, TheStreamTellsWhatWasAgreedOn) {
  server_options_.alpn = {"h2", "http/1.1"};
  client_options_.alpn = {"http/1.1", "h2"};
  Handshake();
  ASSERT_TRUE(client_.ok()) << client_.status();
  TlsStream& client = **client_;
  EXPECT_EQ(client.version(), Version::kTls13);
  EXPECT_EQ(client.cipher(), (*server_)->cipher());
  EXPECT_THAT(std::string(client.cipher()), HasSubstr("TLS_"));
  EXPECT_EQ(client.group(), "X25519");
  EXPECT_EQ(client.alpn(), "h2") << "the server's preference";
  EXPECT_EQ((*server_)->alpn(), "h2");
  EXPECT_EQ((*server_)->server_name(), "localhost");
  EXPECT_FALSE(client.resumed());
  ASSERT_EQ(client.peer_certificates().size(), 1);
  EXPECT_EQ(client.peer_certificates()[0].subject, "CN=leaf");
  EXPECT_EQ(client.peer_certificates()[0].issuer, "CN=test root");
  EXPECT_EQ(client.peer_certificates()[0].key, "ECDSA P-256");
  EXPECT_THAT(client.peer_certificates()[0].dns_names, ElementsAre("localhost"));
  EXPECT_THAT(client.peer_certificates()[0].ip_addresses, ElementsAre("127.0.0.1"));
  EXPECT_THAT((*server_)->peer_certificates(), IsEmpty());
}

TEST_F(TlsStreamTest, MegabytesAreEchoedInAnyChunks) {
  MakeContexts();
  static Echo echo;  // hears of the end of the loop
  pair_->to_client().set_max_chunk(977);
  Accept(pair_->TakeServer(), server_context_, {},
         [&](StreamOr stream) { Stream::Run(*std::move(stream), echo); });
  StartClient();
  loop_.RunUntilIdle();
  ASSERT_TRUE(client_.ok()) << client_.status();
  StreamRecorder client(*std::move(client_));
  const std::string sent = Bytes(3'000'000);
  client.stream().Send(sent);
  loop_.RunUntilIdle();
  EXPECT_TRUE(client.received() == sent) << client.received().size();
  client.stream().Close();
  loop_.RunUntilIdle();
}

TEST_F(TlsStreamTest, AClientHelloInOneByteWrites) {
  pair_->to_server().set_max_chunk(1);
  pair_->to_client().set_max_chunk(1);
  Start();
  at_client_->stream().Send("and all the rest");
  loop_.RunUntilIdle();
  EXPECT_EQ(at_server_->received(), "and all the rest");
}

TEST_F(TlsStreamTest, CloseIsSaidAndHeard) {
  Start();
  at_client_->stream().Send("last words");
  at_client_->stream().Close();
  loop_.RunUntilIdle();
  EXPECT_EQ(at_server_->received(), "last words");
  EXPECT_TRUE(at_server_->ended());
  ASSERT_TRUE(at_server_->closed().has_value());
  EXPECT_TRUE(at_server_->closed()->ok()) << *at_server_->closed();
  ASSERT_TRUE(at_client_->closed().has_value());
  EXPECT_TRUE(at_client_->closed()->ok()) << *at_client_->closed();
}

TEST_F(TlsStreamTest, AHalfClosedStreamStillReceives) {
  Start();
  at_server_->KeepOpen();
  at_client_->stream().Send("that is all");
  at_client_->stream().ShutdownSend();
  loop_.RunUntilIdle();
  EXPECT_EQ(at_server_->received(), "that is all");
  EXPECT_TRUE(at_server_->ended());
  EXPECT_EQ(at_client_->stream().Send("more"), SendResult::kRefused);
  at_server_->stream().Send("a late answer");
  at_server_->stream().ShutdownSend();
  loop_.RunUntilIdle();
  EXPECT_EQ(at_client_->received(), "a late answer");
  ASSERT_TRUE(at_client_->closed().has_value() && at_server_->closed().has_value());
  EXPECT_TRUE(at_client_->closed()->ok() && at_server_->closed()->ok());
}

TEST_F(TlsStreamTest, WhatIsSentInOneTurnIsOneRecordInOnePiece) {
  Start();
  const uint64_t before = pair_->to_server().bytes_arrived();
  const uint64_t chunks = pair_->to_server().chunks_arrived();
  for (int i = 0; i < 100; ++i) at_client_->stream().Send("0123456789");
  loop_.RunUntilIdle();
  EXPECT_EQ(at_server_->received().size(), 1000);
  EXPECT_EQ(pair_->to_server().chunks_arrived() - chunks, 1);
  constexpr size_t kRecordOverhead = 5 + 1 + 16;
  EXPECT_EQ(pair_->to_server().bytes_arrived() - before, 1000 + kRecordOverhead);
}

// What 16,000 bytes cost on the wire tells into how many records they were put.
TEST_F(TlsStreamTest, RecordsAreSmallAtFirstThenFullAndSmallAgainAfterIdleness) {
  Start();
  const auto cost = [&] {
    const uint64_t before = pair_->to_server().bytes_arrived();
    at_client_->stream().Send(std::string(16'000, 'x'));
    loop_.RunUntilIdle();
    return (pair_->to_server().bytes_arrived() - before - 16'000) / 22;
  };
  EXPECT_EQ(cost(), 12) << "records of a packet each";
  for (int i = 0; i < 4; ++i) cost();
  EXPECT_EQ(cost(), 1);
  loop_.Advance(absl::Seconds(2));
  EXPECT_EQ(cost(), 12);
}

TEST_F(TlsStreamTest, AWriterAboveTheMarkIsToldAndToldAgain) {
  handshake_options_.limits = {.high = 1000, .low = 100, .hard = 100'000};
  Start();
  pair_->to_server().set_capacity(0);
  EXPECT_EQ(at_client_->stream().Send(std::string(900, 'x')), SendResult::kSent);
  EXPECT_EQ(at_client_->stream().Send(std::string(200, 'x')), SendResult::kBlocked);
  loop_.RunUntilIdle();
  EXPECT_EQ(at_client_->send_readies(), 0);
  EXPECT_GE(at_client_->stream().queued_bytes(), 1100);
  pair_->to_server().set_capacity(1'000'000);
  loop_.RunUntilIdle();
  EXPECT_EQ(at_client_->send_readies(), 1);
  EXPECT_EQ(at_client_->stream().queued_bytes(), 0);
  EXPECT_EQ(at_server_->received().size(), 1100);
}

// As who opens a connection through a proxy does.
TEST_F(TlsStreamTest, AfterClearHandlerNothingComesUntilThereIsAHandlerAgain) {
  class Opener : public StreamHandler {
   public:
    uint8_t storage[3];
    std::string received;

   private:
    void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override {
      received.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      if (received.size() == 3) stream.ClearHandler();
    }
  };
  Opener opener;
  Start();
  at_server_->stream().ReceiveInto(absl::MakeSpan(opener.storage));
  at_server_->stream().SetHandler(opener);
  at_client_->stream().Send("onetwo");
  loop_.RunUntilIdle();
  at_client_->stream().Send("three");
  loop_.RunUntilIdle();
  EXPECT_EQ(opener.received, "one");
  at_server_->stream().SetHandler(*at_server_);
  loop_.RunUntilIdle();
  EXPECT_EQ(at_server_->received(), "twothree");
}

TEST_F(TlsStreamTest, InOnCloseAStreamKnowsAtLeastWhatItHasNotSent) {
  Start();
  pair_->to_server().set_capacity(1000);
  pair_->to_server().Hold();
  for (int i = 0; i < 300; ++i) at_client_->stream().Send(Bytes(1000));
  loop_.RunUntilIdle();
  at_client_->stream().Send("and this");
  pair_->Break();
  loop_.RunUntilIdle();
  ASSERT_TRUE(at_client_->closed().has_value());
  EXPECT_GE(at_client_->stream().queued_bytes(), 300'008u - 1000u);
  EXPECT_LE(at_client_->stream().queued_bytes(), 320'000u);
}

TEST_F(TlsStreamTest, AClosedWriterThatWaitedForRoomLeavesTheLoopAlone) {
  handshake_options_.limits = {.high = 1000, .low = 100, .hard = 100'000};
  Start();
  pair_->to_server().Hold();
  pair_->to_server().set_capacity(0);
  EXPECT_EQ(at_client_->stream().Send(std::string(1100, 'x')), SendResult::kBlocked);
  at_client_->stream().Close();
  pair_->to_server().set_capacity(1'000'000);
  for (int turn = 0; turn < 10; ++turn) loop_.loop().RunOnce(absl::ZeroDuration());
  EXPECT_FALSE(at_client_->closed().has_value()) << "the server's end is awaited";
  EXPECT_GT(loop_.loop().NextWork(), loop_.loop().now());
  pair_->to_server().Release();
  loop_.RunUntilIdle();
  EXPECT_EQ(at_server_->received().size(), 1100);
}

TEST_F(TlsStreamTest, AWriterPastTheHardLimitIsEnded) {
  handshake_options_.limits = {.high = 1000, .low = 100, .hard = 100'000};
  Start();
  pair_->to_server().set_capacity(0);
  SendResult result = SendResult::kSent;
  for (int i = 0; i < 200 && result != SendResult::kRefused; ++i)
    result = at_client_->stream().Send(std::string(1000, 'x'));
  EXPECT_EQ(result, SendResult::kRefused);
  EXPECT_LE(at_client_->stream().queued_bytes(), 100'000);
  loop_.RunUntilIdle();
  ASSERT_TRUE(at_client_->closed().has_value());
  EXPECT_EQ(at_client_->closed()->code(), absl::StatusCode::kResourceExhausted);
}

// An echo whose peer sends and does not read: what waits at the server is bounded.
TEST_F(TlsStreamTest, APeerThatFloodsAndDoesNotReadIsHeldBack) {
  MakeContexts();
  static Echo echo;  // hears of the end of the loop
  TlsStream* server = nullptr;
  Accept(pair_->TakeServer(), server_context_, {}, [&](StreamOr stream) {
    server = stream->get();
    Stream::Run(*std::move(stream), echo);
  });
  StartClient();
  loop_.RunUntilIdle();
  ASSERT_TRUE(client_.ok()) << client_.status();
  StreamRecorder client(*std::move(client_));
  client.stream().PauseReceiving();
  const std::string sent = Bytes(8'000'000);
  client.stream().Send(sent);
  loop_.RunUntilIdle();
  EXPECT_LT(server->queued_bytes(), 1'000'000);
  EXPECT_GT(client.stream().queued_bytes(), 6'000'000);
  client.stream().ResumeReceiving();
  loop_.RunUntilIdle();
  EXPECT_TRUE(client.received() == sent) << client.received().size();
}

TEST_F(TlsStreamTest, APauseHoldsWhatIsDecryptedAlready) {
  class PauseEachTime : public StreamHandler {
   public:
    std::vector<size_t> sizes;
    bool ended = false;

   private:
    void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override {
      sizes.push_back(bytes.size());
      stream.PauseReceiving();
    }
    void OnReceiveEnd(Stream&) override { ended = true; }
  };
  Handshake();
  ASSERT_TRUE(server_.ok() && client_.ok());
  PauseEachTime pausing;
  (*server_)->SetHandler(pausing);
  (*client_)->Send(std::string(200'000, 'x'));
  (*client_)->ShutdownSend();
  size_t total = 0;
  for (size_t calls = 1; total < 200'000; ++calls) {
    loop_.RunUntilIdle();
    ASSERT_EQ(pausing.sizes.size(), calls) << "nothing comes while it is paused";
    ASSERT_FALSE(pausing.ended);
    total += pausing.sizes.back();
    (*server_)->ResumeReceiving();
    ASSERT_EQ(pausing.sizes.size(), calls) << "inside a call";
  }
  loop_.RunUntilIdle();
  EXPECT_EQ(total, 200'000);
  EXPECT_TRUE(pausing.ended);
  server_ = absl::UnknownError("over");  // before its handler
}

TEST_F(TlsStreamTest, ReceiveIntoFillsTheStorageFirst) {
  Start();
  std::vector<uint8_t> storage(10);
  at_server_->stream().ReceiveInto(absl::MakeSpan(storage));
  at_client_->stream().Send("0123456789 and more");
  loop_.RunUntilIdle();
  EXPECT_EQ(std::string(storage.begin(), storage.end()), "0123456789");
  EXPECT_EQ(at_server_->received(), "0123456789 and more");
}

// Into storage that is smaller than a record, again and again, with pauses between.
TEST_F(TlsStreamTest, RecordsLargerThanTheStorageArriveInPieces) {
  class IntoStorage : public StreamHandler {
   public:
    explicit IntoStorage(size_t size) : storage(size) {}
    std::vector<uint8_t> storage;
    std::string received;
    bool ended = false;

   private:
    void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override {
      EXPECT_EQ(bytes.end(), storage.data() + filled_ + bytes.size());
      received.append(bytes.begin(), bytes.end());
      filled_ += bytes.size();
      if (filled_ < storage.size()) return;
      filled_ = 0;
      stream.ReceiveInto(absl::MakeSpan(storage));
      if (++count_ % 3 == 0) stream.PauseReceiving();
    }
    void OnReceiveEnd(Stream&) override { ended = true; }

    size_t filled_ = 0;
    int count_ = 0;
  };
  const std::string sent = Bytes(100'000);
  for (const size_t size : {size_t{1000}, size_t{1341}, size_t{16384}, size_t{16385}}) {
    HandshakeAgain();
    ASSERT_TRUE(server_.ok() && client_.ok());
    IntoStorage handler(size);
    (*server_)->ReceiveInto(absl::MakeSpan(handler.storage));
    (*server_)->SetHandler(handler);
    (*client_)->Send(sent);
    (*client_)->ShutdownSend();
    loop_.RunUntilIdle();
    while (!handler.ended && (*server_)->receiving_paused()) {
      (*server_)->ResumeReceiving();
      loop_.RunUntilIdle();
    }
    EXPECT_TRUE(handler.ended);
    EXPECT_TRUE(handler.received == sent) << size << ": " << handler.received.size();
    server_ = absl::UnknownError("over");  // before its handler
  }
}

TEST_F(TlsStreamTest, ACloseEndsWhatIsDecryptedAlready) {
  class CloseAtOnce : public StreamHandler {
   public:
    std::string received;
    std::optional<absl::Status> closed;

   private:
    void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override {
      received.append(bytes.begin(), bytes.end());
      stream.Send("that will do");
      stream.Close();
    }
    void OnClose(Stream&, const absl::Status& status) override { closed = status; }
  };
  Handshake();
  ASSERT_TRUE(server_.ok() && client_.ok());
  CloseAtOnce handler;
  std::vector<uint8_t> storage(10);
  (*server_)->ReceiveInto(absl::MakeSpan(storage));
  (*server_)->SetHandler(handler);
  StreamRecorder client(*std::move(client_));
  client.stream().Send("0123456789 and more");
  client.stream().Send(Bytes(50'000));
  loop_.RunUntilIdle();
  EXPECT_EQ(handler.received, "0123456789");
  EXPECT_EQ(client.received(), "that will do");
  ASSERT_TRUE(handler.closed.has_value());
  EXPECT_TRUE(handler.closed->ok()) << *handler.closed;
  server_ = absl::UnknownError("over");  // before its handler
}

TEST_F(TlsStreamTest, TlsRunsInTls) {
  Handshake();
  ASSERT_TRUE(server_.ok() && client_.ok());
  std::unique_ptr<Stream> outer_server = *std::move(server_);
  std::unique_ptr<Stream> outer_client = *std::move(client_);
  Accept(std::move(outer_server), server_context_, {},
         [this](StreamOr stream) { server_ = std::move(stream); });
  Connect(std::move(outer_client), client_context_, "localhost", {},
          [this](StreamOr stream) { client_ = std::move(stream); });
  loop_.RunUntilIdle();
  ASSERT_TRUE(server_.ok()) << server_.status();
  ASSERT_TRUE(client_.ok()) << client_.status();
  StreamRecorder server(*std::move(server_));
  StreamRecorder client(*std::move(client_));
  const std::string sent = Bytes(500'000);
  client.stream().Send(sent);
  loop_.RunUntilIdle();
  EXPECT_TRUE(server.received() == sent) << server.received().size();
  client.stream().Close();
  loop_.RunUntilIdle();
  ASSERT_TRUE(server.closed().has_value() && client.closed().has_value());
  EXPECT_TRUE(server.closed()->ok() && client.closed()->ok());
}

// What is sent by the streams of one turn is encrypted at its end: one record in one piece, also
// through two layers.
TEST_F(TlsStreamTest, AFlushReachesThroughLayers) {
  Handshake();
  ASSERT_TRUE(server_.ok() && client_.ok());
  Accept(*std::move(server_), server_context_, {},
         [this](StreamOr stream) { server_ = std::move(stream); });
  Connect(*std::move(client_), client_context_, "localhost", {},
          [this](StreamOr stream) { client_ = std::move(stream); });
  loop_.RunUntilIdle();
  ASSERT_TRUE(server_.ok() && client_.ok());
  StreamRecorder server(*std::move(server_));
  const uint64_t before = pair_->to_server().bytes_arrived();
  (*client_)->Send("one, ");
  (*client_)->Send("two");
  loop_.loop().RunOnce(absl::ZeroDuration());
  loop_.loop().RunOnce(absl::ZeroDuration());
  EXPECT_EQ(server.received(), "one, two");
  EXPECT_EQ(pair_->to_server().bytes_arrived() - before, 8 + 2 * 22);
}

// What no client of ours would send.

// A client that is BoringSSL alone, and the server's stream that it has a connection to.
class BareClient {
 public:
  BareClient(std::unique_ptr<Stream> transport, int version)
      : transport_(std::move(transport)), peer_(Prepared(version), /*server=*/false) {}

  // Steps of the handshake; what the client says at its end is held back.
  std::string Handshake(VirtualLoop& loop) {
    for (bool done = false; !done;) {
      std::string bytes = transport_.TakeReceived();
      done = peer_.Step(AsBytes(bytes));
      if (done) break;
      transport_.stream().Send(peer_.TakeOutput());
      loop.RunUntilIdle();
    }
    return peer_.TakeOutput();
  }

  std::string Encrypt(absl::string_view text) {
    peer_.Encrypt({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
    return peer_.TakeOutput();
  }
  void Send(absl::string_view bytes) { transport_.stream().Send(bytes); }

  // What was received, up to an error.
  std::string Read() {
    std::string bytes = transport_.TakeReceived();
    std::string text(bytes.size(), 0);
    text.resize(peer_.Decrypt(AsBytes(bytes), AsBytes(text)));
    return text;
  }
  // The alert that ended Read; -1 for none.
  int alert() const { return ERR_GET_REASON(ERR_peek_error()) - SSL_AD_REASON_OFFSET; }

 private:
  SSL_CTX* Prepared(int version) {
    SSL_CTX_set_min_proto_version(context_.ctx(), static_cast<uint16_t>(version));
    SSL_CTX_set_max_proto_version(context_.ctx(), static_cast<uint16_t>(version));
    return context_.ctx();
  }

  StreamRecorder transport_;
  BareClientContext context_;
  BarePeer peer_;
};

class EchoUntilClosed : public StreamHandler {
 public:
  std::optional<absl::Status> closed;

 private:
  void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override { stream.SendLent(bytes); }
  void OnClose(Stream&, const absl::Status& status) override { closed = status; }
};

// A server's stream whose client is a BareClient.
class BareClientTest : public HandshakePair {
 protected:
  void Connect(int version) {
    MakeContexts();
    StartServer();
    client_.emplace(pair_->TakeClient(), version);
    client_->Send(client_->Handshake(loop_));
    loop_.RunUntilIdle();
    ASSERT_TRUE(server_.ok()) << server_.status();
    (*server_)->SetHandler(echo_);
  }
  void TearDown() override { server_ = absl::UnknownError("over"); }  // before its handler

  void ExpectClosed(absl::string_view message) {
    ASSERT_TRUE(echo_.closed.has_value());
    EXPECT_THAT(Message(*echo_.closed), HasSubstr(std::string(message)));
  }

  EchoUntilClosed echo_;
  std::optional<BareClient> client_;
};

// The handshake's end, records and a half one in one piece, or byte by byte: what takes over from
// BoringSSL loses nothing of it.
TEST_F(BareClientTest, WhatComesWithTheHandshakesEndIsDelivered) {
  MakeContexts();
  for (const size_t chunk : {size_t{64 * 1024}, size_t{1}}) {
    pair_.emplace(loop_.loop());
    pair_->to_server().set_max_chunk(chunk);
    StartServer();
    client_.emplace(pair_->TakeClient(), TLS1_3_VERSION);
    std::string bytes = client_->Handshake(loop_);
    for (const char* text : {"one, ", "two, ", "three"}) bytes += client_->Encrypt(text);
    client_->Send(bytes.substr(0, bytes.size() - 3));
    loop_.RunUntilIdle();
    ASSERT_TRUE(server_.ok()) << server_.status();
    (*server_)->SetHandler(echo_);  // late: what there is has waited
    loop_.RunUntilIdle();
    client_->Send(bytes.substr(bytes.size() - 3));
    loop_.RunUntilIdle();
    EXPECT_EQ(client_->Read(), "one, two, three");
    server_ = absl::UnknownError("over");
  }
}

// In one piece: the client has its answer before the alert.
TEST_F(BareClientTest, WhatCameBeforeAFailureIsAnswered) {
  Connect(TLS1_3_VERSION);
  client_->Send(client_->Encrypt("good") + "\x17\3\3\xff\xff");
  loop_.RunUntilIdle();
  ExpectClosed("TLS: encrypted length too long");
  EXPECT_EQ(client_->Read(), "good");
  EXPECT_EQ(client_->alert(), SSL_AD_RECORD_OVERFLOW);
}

// BoringSSL has ended its sending half by then: the answer is lost, but the error is the right one.
TEST_F(BareClientTest, AFailureBehindBytesIsNamedInTls12) {
  Connect(TLS1_2_VERSION);
  client_->Send(client_->Encrypt("good") + "\x17\3\3\xff\xff");
  loop_.RunUntilIdle();
  ExpectClosed("TLS: encrypted length too long");
  EXPECT_EQ(client_->Read(), "");
  EXPECT_EQ(client_->alert(), SSL_AD_RECORD_OVERFLOW);
}

// Reload.

TEST_F(TlsStreamTest, ANewContextIsForNewConnectionsAndTheOldOnesGoOn) {
  Start();
  server_options_.identities = {Authority().Issue({.subject = "renewed"})};
  server_context_ = *ServerContext::Create(server_options_);
  pair_.emplace(loop_.loop());  // the streams outlive their pair
  Handshake();
  ASSERT_TRUE(client_.ok()) << client_.status();
  EXPECT_EQ((*client_)->peer_certificates()[0].subject, "CN=renewed");
  at_client_->stream().Send("still here");
  loop_.RunUntilIdle();
  EXPECT_EQ(at_server_->received(), "still here");
}

// Lifetimes.

TEST_F(TlsStreamTest, AStreamMayBeDestroyedInEachOfItsCallbacks) {
  enum Event { kReceive, kReceiveEnd, kSendReady, kClose };
  class Destroyer : public StreamHandler {
   public:
    std::unique_ptr<TlsStream> stream;
    Event when;

   private:
    void On(Event event) {
      if (event == when) stream.reset();
    }
    void OnReceive(Stream&, absl::Span<uint8_t>) override { On(kReceive); }
    void OnReceiveEnd(Stream&) override { On(kReceiveEnd); }
    void OnSendReady(Stream&) override { On(kSendReady); }
    void OnClose(Stream&, const absl::Status&) override { On(kClose); }
  };
  handshake_options_.limits = {.high = 1000, .low = 100, .hard = 100'000};
  MakeContexts();
  for (const Event event : {kReceive, kReceiveEnd, kSendReady, kClose}) {
    HandshakeAgain();
    ASSERT_TRUE(server_.ok() && client_.ok());
    Destroyer destroyer;
    destroyer.when = event;
    destroyer.stream = *std::move(server_);
    destroyer.stream->SetHandler(destroyer);
    destroyer.stream->Send(std::string(2000, 'x'));
    (*client_)->Send("bytes");
    StreamRecorder client(*std::move(client_));
    client.stream().ShutdownSend();
    if (event == kClose) destroyer.stream->Abort(absl::CancelledError("enough"));
    loop_.RunUntilIdle();
    EXPECT_EQ(destroyer.stream, nullptr) << event;
    ASSERT_TRUE(client.closed().has_value()) << event;
  }
}

TEST_F(TlsStreamTest, AnAbortIsToldOnceAndNotInsideTheCall) {
  Start();
  at_client_->stream().Abort(absl::CancelledError("enough"));
  at_client_->stream().Abort(absl::InternalError("again"));
  EXPECT_TRUE(at_client_->stream().closing());
  EXPECT_FALSE(at_client_->closed().has_value());
  loop_.RunUntilIdle();
  EXPECT_EQ(at_client_->closed(), absl::CancelledError("enough"));
  ASSERT_TRUE(at_server_->closed().has_value());
  EXPECT_EQ(at_server_->closed()->code(), absl::StatusCode::kUnavailable);
}

TEST_F(TlsStreamTest, AnEndBeforeThereIsAHandlerIsToldToTheHandlerThatComes) {
  Handshake();
  ASSERT_TRUE(server_.ok() && client_.ok());
  (*server_)->Abort(absl::CancelledError("early"));
  loop_.RunUntilIdle();
  StreamRecorder server(*std::move(server_));
  EXPECT_FALSE(server.closed().has_value()) << "inside SetHandler";
  loop_.RunUntilIdle();
  EXPECT_EQ(server.closed(), absl::CancelledError("early"));
}

TEST_F(TlsStreamTest, ALoopThatDrainsClosesItsStreams) {
  Start();
  bool drained = false;
  loop_.loop().Drain(absl::Seconds(5), [&] { drained = true; });
  loop_.RunUntilIdle();
  EXPECT_TRUE(drained);
  EXPECT_TRUE(at_server_->drained());
  ASSERT_TRUE(at_server_->closed().has_value() && at_client_->closed().has_value());
  EXPECT_TRUE(at_server_->closed()->ok() && at_client_->closed()->ok());
}

TEST_F(TlsStreamTest, AnIdleStreamEnds) {
  Start();
  at_server_->stream().SetIdleTimeout(absl::Seconds(30));
  loop_.Advance(absl::Seconds(31));
  ASSERT_TRUE(at_server_->closed().has_value());
  EXPECT_EQ(at_server_->closed()->code(), absl::StatusCode::kDeadlineExceeded);
}

TEST(TlsStreamLoopTest, ALoopThatGoesCancelsStreamsAndHandshakes) {
  StreamOr server = absl::UnknownError(""), client = absl::UnknownError("");
  StreamOr stalled = absl::UnknownError("");
  std::optional<StreamRecorder> at_server, at_client;
  {
    VirtualLoop loop;
    StreamPair pair(loop.loop()), silent(loop.loop());
    auto server_context = *ServerContext::Create({.identities = {Localhost()}});
    ClientOptions options;
    options.roots = Authority().roots();
    auto client_context = *ClientContext::Create(options);
    Accept(pair.TakeServer(), server_context, {}, [&](StreamOr s) { server = std::move(s); });
    Connect(pair.TakeClient(), client_context, "localhost", {},
            [&](StreamOr s) { client = std::move(s); });
    Accept(silent.TakeServer(), server_context, {}, [&](StreamOr s) { stalled = std::move(s); });
    loop.RunUntilIdle();
    ASSERT_TRUE(server.ok() && client.ok());
    at_server.emplace(*std::move(server));
    at_client.emplace(*std::move(client));
  }
  EXPECT_EQ(stalled.status().code(), absl::StatusCode::kCancelled);
  ASSERT_TRUE(at_server->closed().has_value() && at_client->closed().has_value());
  EXPECT_EQ(at_server->closed()->code(), absl::StatusCode::kCancelled);
}

TEST_F(TlsStreamTest, AGroupThatGoesGivesItsHandshakesUpAndTheirFunctionsAreNotCalled) {
  auto group = std::make_unique<HandshakeGroup>();
  handshake_options_.group = group.get();
  StartHandshake();
  EXPECT_EQ(group->size(), 2);
  group.reset();
  loop_.RunUntilIdle();
  EXPECT_EQ(server_.status().code(), absl::StatusCode::kUnknown);
  EXPECT_EQ(client_.status().code(), absl::StatusCode::kUnknown);
}

// Some of the handshakes wait in line for a turn of their own when all of them go.
TEST_F(TlsStreamTest, AGroupThatGoesInAStormTakesThoseWithItThatWaitInLine) {
  MakeContexts();
  for (int turns = 0; turns < 12; ++turns) {
    SCOPED_TRACE(turns);
    auto group = std::make_unique<HandshakeGroup>();
    std::deque<StreamPair> pairs;
    std::vector<StreamOr> done;
    for (int i = 0; i < 30; ++i) {
      StreamPair& pair = pairs.emplace_back(loop_.loop());
      const auto keep = [&](StreamOr stream) { done.push_back(std::move(stream)); };
      Accept(pair.TakeServer(), server_context_, {.group = group.get()}, keep);
      Connect(pair.TakeClient(), client_context_, "localhost", {.group = group.get()}, keep);
    }
    for (int turn = 0; turn < turns; ++turn) loop_.loop().RunOnce(absl::ZeroDuration());
    EXPECT_GT(group->size(), 0);
    group.reset();
    const size_t finished = done.size();
    loop_.RunUntilIdle();
    EXPECT_EQ(done.size(), finished);
  }
}

TEST_F(TlsStreamTest, AGroupMayGoInTheFunctionOfOneOfItsHandshakes) {
  MakeContexts();
  auto group = std::make_unique<HandshakeGroup>();
  handshake_options_.group = group.get();
  StartServer();
  Connect(pair_->TakeClient(), client_context_, "localhost", handshake_options_,
          [&](StreamOr stream) {
            client_ = std::move(stream);
            group.reset();
          });
  loop_.RunUntilIdle();
  EXPECT_TRUE(client_.ok()) << client_.status();
  EXPECT_EQ(server_.status().code(), absl::StatusCode::kUnknown) << "it was not called";
}

#if GTEST_HAS_DEATH_TEST
TEST_F(TlsStreamTest, AGroupThatGoesWhileOneOfItsHandshakesComputesIsABug) {
  auto group = std::make_unique<HandshakeGroup>();
  handshake_options_.group = group.get();
  client_options_.verify = [&](absl::Span<const Certificate>) {
    group.reset();
    return absl::OkStatus();
  };
  EXPECT_DEATH(Handshake(), "a HandshakeGroup is destroyed by a function of its handshake");
  client_options_.verify = {};
  server_options_.choose_alpn = [&](absl::Span<const absl::string_view>, absl::string_view) {
    group.reset();
    return absl::StatusOr<std::string>("");
  };
  client_options_.alpn = {"h2"};
  EXPECT_DEATH(Handshake(), "a HandshakeGroup is destroyed by a function of its handshake");
}
#endif

TEST_F(TlsStreamTest, AFinishedHandshakeHasLeftItsGroup) {
  HandshakeGroup group;
  handshake_options_.group = &group;
  Handshake();
  EXPECT_EQ(group.size(), 0);
  EXPECT_TRUE(server_.ok() && client_.ok());
}

}  // namespace
}  // namespace sluice::tls
