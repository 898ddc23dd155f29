#include "sluice/tests/conformance/peer.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/stream.h"
#include "sluice/protocols/websocket/connection_options.h"
#include "sluice/protocols/websocket/handshake.h"

namespace sluice::conformance {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr size_t kLargestMessage = size_t{16} << 20;
// Either side may queue the largest message.
constexpr StreamLimits kLimits = {
    .high = 256 * 1024, .low = 64 * 1024, .hard = 2 * uint32_t{kLargestMessage}};
constexpr int kCompressed = 4;

// A header's value; "" where it is not there.
std::string Header(const std::string& head, absl::string_view name) {
  for (absl::string_view line : absl::StrSplit(head, "\r\n")) {
    if (absl::ConsumePrefix(&line, name) && absl::ConsumePrefix(&line, ": "))
      return std::string(line);
  }
  return "";
}

using Parameters = std::vector<std::string>;

// Of the only extension in a header, which must be permessage-deflate.
Parameters DeflateParameters(const std::string& header) {
  Parameters parameters = absl::StrSplit(header, "; ");
  EXPECT_EQ(parameters.front(), "permessage-deflate") << header;
  return parameters;
}

bool Has(const Parameters& parameters, absl::string_view name) {
  return std::any_of(parameters.begin(), parameters.end(),
                     [&](absl::string_view one) { return one.substr(0, one.find('=')) == name; });
}

// 0 where it is not there, or has no value.
int Bits(const Parameters& parameters, absl::string_view name) {
  for (absl::string_view one : parameters) {
    int bits = 0;
    if (absl::ConsumePrefix(&one, name) && absl::ConsumePrefix(&one, "=") &&
        absl::SimpleAtoi(one, &bits))
      return bits;
  }
  return 0;
}

DeflateTerms Terms(const Parameters& agreed, absl::string_view side) {
  const int bits = Bits(agreed, absl::StrCat(side, "_max_window_bits"));
  return {.context = !Has(agreed, absl::StrCat(side, "_no_context_takeover")),
          .window_bits = bits == 0 ? 15 : bits};
}

std::string Offers(const std::vector<Deflating::Request>& requests) {
  std::vector<std::string> offers;
  for (const Deflating::Request& request : requests) {
    offers.push_back(absl::StrCat(
        "permessage-deflate; client_no_context_takeover; client_max_window_bits",
        request.no_context ? "; server_no_context_takeover" : "",
        request.window_bits != 0 ? absl::StrCat("; server_max_window_bits=", request.window_bits)
                                 : ""));
  }
  return absl::StrJoin(offers, ", ");
}

}  // namespace

void Echo::OnOpen(websocket::Connection& connection) {
  opened = true;
  connection.stream().SetLimits(kLimits);
}

void Echo::OnMessage(websocket::Connection& connection, const websocket::Message& message) {
  if (connection.SendInPlace(message) == SendResult::kBlocked) connection.PauseReceiving();
}

void Echo::OnSendReady(websocket::Connection& connection) { connection.ResumeReceiving(); }

void Echo::OnClose(websocket::Connection& /*connection*/, const websocket::CloseInfo& info) {
  ++closes;
  clean = info.clean;
  by_peer = info.by_peer;
  code = static_cast<int>(info.code);
}

Peer::Peer(Role sluice, const Deflating* deflating)
    : sluice_(sluice),
      masks_(sluice == Role::kServer),
      deflating_(deflating),
      pair_(loop_.loop()),
      reader_(/*masked=*/sluice == Role::kClient) {
  websocket::ConnectionOptions options;
  options.max_message_bytes = kLargestMessage;
  if (deflating != nullptr) options.compression = deflating->compression;
  if (sluice == Role::kServer) {
    server_ = std::make_unique<websocket::Server>(websocket::Server::Options{options, {}});
    server_->Serve(pair_.TakeServer(), echo_);
    stream_ = std::make_unique<StreamRecorder>(pair_.TakeClient());
  } else {
    websocket::Client::Options client;
    client.connection = options;
    client.handshake.host = "suite";
    client_ = *websocket::Client::Create(client);
    client_->Open(pair_.TakeClient(), echo_);
    stream_ = std::make_unique<StreamRecorder>(pair_.TakeServer());
  }
  stream_->KeepOpen();
  stream_->stream().SetLimits(kLimits);
  sluice == Role::kServer ? OpenAsClient() : OpenAsServer();
  EXPECT_TRUE(echo_.opened);
}

Peer::~Peer() { EXPECT_TRUE(over_) << "the case does not end the connection"; }

void Peer::OpenAsClient() {
  std::string extensions;
  if (deflating_ != nullptr)
    extensions = absl::StrCat("Sec-WebSocket-Extensions: ", Offers(deflating_->requests), "\r\n");
  SendBytes(absl::StrCat(
      "GET /case HTTP/1.1\r\nHost: suite\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
      extensions, "\r\n"));
  const std::string answer = stream_->TakeReceived();
  ASSERT_THAT(answer, StartsWith("HTTP/1.1 101 "));
  EXPECT_EQ(Header(answer, "Sec-WebSocket-Accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  ASSERT_THAT(answer, testing::EndsWith("\r\n\r\n"));
  AgreeAsClient(Header(answer, "Sec-WebSocket-Extensions"));
}

void Peer::OpenAsServer() {
  loop_.RunUntilIdle();
  const std::string request = stream_->TakeReceived();
  ASSERT_THAT(request, StartsWith("GET / HTTP/1.1\r\n"));
  const std::string agreed = AgreeAsServer(Header(request, "Sec-WebSocket-Extensions"));
  SendBytes(absl::StrCat(
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
      "Sec-WebSocket-Accept: ", websocket::AcceptForKey(Header(request, "Sec-WebSocket-Key")),
      "\r\n", agreed.empty() ? "" : absl::StrCat("Sec-WebSocket-Extensions: ", agreed, "\r\n"),
      "\r\n"));
}

// That the server has accepted one of the offers, with all that the offer asks for.
void Peer::AgreeAsClient(const std::string& answer) {
  if (deflating_ == nullptr) {
    EXPECT_EQ(answer, "");
    return;
  }
  const Parameters agreed = DeflateParameters(answer);
  const int bits = Bits(agreed, "server_max_window_bits");
  EXPECT_TRUE(
      std::any_of(deflating_->requests.begin(), deflating_->requests.end(),
                  [&](const Deflating::Request& request) {
                    return (!request.no_context || Has(agreed, "server_no_context_takeover")) &&
                           (request.window_bits == 0 || (bits != 0 && bits <= request.window_bits));
                  }))
      << answer;
  StartDeflate(Terms(agreed, "client"), Terms(agreed, "server"));
}

std::string Peer::AgreeAsServer(const std::string& offer) {
  if (deflating_ == nullptr) {
    EXPECT_EQ(offer, "");
    return "";
  }
  const Parameters offered = DeflateParameters(offer);
  EXPECT_TRUE(Has(offered, "client_max_window_bits")) << offer;
  Deflating::Request request = deflating_->requests.front();
  // Where there is a choice it is the first that the offer names.
  if (deflating_->requests.size() > 1 && !Has(offered, "client_no_context_takeover"))
    request = deflating_->requests.back();
  Parameters agreed = {"permessage-deflate"};
  if (Has(offered, "server_no_context_takeover")) agreed.push_back("server_no_context_takeover");
  if (const int bits = Bits(offered, "server_max_window_bits"); bits != 0)
    agreed.push_back(absl::StrCat("server_max_window_bits=", bits));
  if (request.no_context) agreed.push_back("client_no_context_takeover");
  if (request.window_bits != 0)
    agreed.push_back(absl::StrCat("client_max_window_bits=", request.window_bits));
  StartDeflate(Terms(agreed, "server"), Terms(agreed, "client"));
  return absl::StrJoin(agreed, "; ");
}

void Peer::StartDeflate(const DeflateTerms& sends, const DeflateTerms& receives) {
  compressor_ = std::make_unique<Compressor>(sends);
  decompressor_ = std::make_unique<Decompressor>(receives);
}

void Peer::set_chop(size_t octets) {
  (sluice_ == Role::kServer ? pair_.to_server() : pair_.to_client()).set_max_chunk(octets);
}

void Peer::Send(const std::vector<Frame>& frames) {
  std::string bytes;
  for (const Frame& frame : frames) bytes += Encode(frame);
  SendBytes(bytes);
}

void Peer::SendFrameByFrame(const std::vector<Frame>& frames) {
  for (const Frame& frame : frames) SendBytes(Encode(frame));
}

void Peer::SendBytes(absl::string_view bytes) {
  stream_->stream().Send(bytes);
  loop_.RunUntilIdle();
}

void Peer::SendMessage(int opcode, std::string message, size_t fragment) {
  int rsv = 0;
  if (compressor_ != nullptr) {
    message = compressor_->Compress(std::move(message));
    rsv = kCompressed;
  }
  if (fragment == 0) fragment = std::max(message.size(), size_t{1});
  std::string bytes;
  size_t at = 0;
  do {
    const bool last = message.size() - at <= fragment;
    bytes += Encode(
        {at == 0 ? opcode : kContinuation, message.substr(at, fragment), last, at == 0 ? rsv : 0});
    at += fragment;
  } while (at < message.size());
  SendBytes(bytes);
}

void Peer::Receive() {
  reader_.Append(stream_->TakeReceived());
  while (std::optional<Frame> frame = reader_.Next()) {
    if (frame->opcode >= 8) {
      EXPECT_EQ(frame->rsv, 0) << "in a control frame";
      received_.push_back(*std::move(frame));
    } else {
      TakeData(*std::move(frame));
    }
  }
  EXPECT_EQ(reader_.error(), "");
  EXPECT_TRUE(reader_.empty()) << "a frame came in part";
}

void Peer::TakeData(Frame frame) {
  EXPECT_EQ(frame.opcode == kContinuation, partial_.has_value()) << frame;
  if (!partial_.has_value()) {
    EXPECT_TRUE(frame.rsv == 0 || (frame.rsv == kCompressed && deflates())) << frame;
    partial_ = std::move(frame);
  } else {
    EXPECT_EQ(frame.rsv, 0) << "in a continuation";
    partial_->payload += frame.payload;
    partial_->fin = frame.fin;
  }
  if (!partial_->fin) return;
  if (partial_->rsv == kCompressed && deflates()) {
    ++compressed_messages_;
    std::optional<std::string> message = decompressor_->Decompress(std::move(partial_->payload));
    EXPECT_TRUE(message.has_value()) << "a message was not compressed as was agreed on";
    partial_->payload = std::move(message).value_or("");
  }
  partial_->rsv = 0;
  received_.push_back(*std::exchange(partial_, std::nullopt));
}

void Peer::ExpectReceived(const std::vector<Frame>& expected) {
  Receive();
  EXPECT_THAT(std::exchange(received_, {}), testing::ContainerEq(expected));
  EXPECT_FALSE(stream_->ended()) << "the connection has ended";
  EXPECT_EQ(echo_.closes, 0);
}

void Peer::CloseCleanly() {
  Send({{kClose, CloseWith(1000)}});
  ExpectClosed(CloseWith(1000));
}

void Peer::ExpectClosed(const std::string& payload, const std::vector<Frame>& messages) {
  ExpectClose(messages, [&](const Frame& close) { EXPECT_EQ(close, (Frame{kClose, payload})); });
  // It is the server that ends the connection.
  EXPECT_EQ(stream_->ended(), sluice_ == Role::kServer);
  stream_->stream().Close();
  loop_.RunUntilIdle();
  EXPECT_EQ(echo_.closes, 1);
  EXPECT_TRUE(echo_.clean);
  EXPECT_TRUE(echo_.by_peer);
}

void Peer::ExpectFailed(int code, const std::vector<Frame>& messages) {
  ExpectClose(messages,
              [&](const Frame& close) { EXPECT_THAT(close.payload, StartsWith(CloseWith(code))); });
  EXPECT_TRUE(stream_->ended()) << "the connection has not ended";
  stream_->stream().Close();
  loop_.RunUntilIdle();
  EXPECT_EQ(echo_.closes, 1);
  EXPECT_FALSE(echo_.clean);
  EXPECT_FALSE(echo_.by_peer);
  EXPECT_EQ(echo_.code, code);
}

void Peer::ExpectClose(const std::vector<Frame>& messages,
                       const std::function<void(const Frame&)>& check) {
  over_ = true;
  Receive();
  std::vector<Frame> received = std::exchange(received_, {});
  ASSERT_FALSE(received.empty()) << "no close frame has come";
  EXPECT_EQ(received.back().opcode, kClose) << received.back();
  check(received.back());
  received.pop_back();
  EXPECT_THAT(received, testing::ContainerEq(messages));
}

}  // namespace sluice::conformance
