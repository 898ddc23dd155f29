// The server's and the client's handshake must come to the same however the bytes are cut, and
// write answers that are whole and hold no line but their own. The first byte chooses the side, the
// second how the bytes are cut; the rest are the bytes.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/protocols/websocket/client_handshake.h"
#include "sluice/protocols/websocket/handshake.h"

namespace sluice::websocket {
namespace {

void Check(bool condition) {
  if (!condition) std::abort();
}

// Calls read(piece) with one piece after another, of up to max_piece bytes, while it returns true.
template <typename Read>
void InPieces(const uint8_t* data, size_t size, size_t max_piece, Read read) {
  for (size_t at = 0; at < size;) {
    const size_t n = std::min(size - at, max_piece == 0 ? size : 1 + (at * 7 + 3) % max_piece);
    const std::vector<uint8_t> piece(data + at, data + at + n);
    at += n;
    if (!read(piece)) return;
  }
}

// Offers back whatever the client offers, and puts what it sent into a header.
void Echo(const HandshakeRequest& request, HandshakeReply& reply) {
  Check(!request.path().empty() && request.path().front() == '/');
  for (const HandshakeRequest::Header& header : request.headers()) {
    reply.AddHeader("X", header.value);
  }
  if (!request.subprotocols().empty()) Check(reply.ChooseSubprotocol(request.subprotocols()[0]));
}

std::string Serve(const uint8_t* data, size_t size, size_t max_piece) {
  ServerHandshake::Options options;
  options.max_head_bytes = 1000;
  options.max_headers = 10;
  ServerHandshake handshake(options);
  std::string answer;
  InPieces(data, size, max_piece, [&](absl::Span<const uint8_t> piece) {
    const ServerHandshake::Result result = handshake.Read(piece, Echo, answer);
    if (result == ServerHandshake::kNeedMore) Check(piece.empty() && answer.empty());
    return result == ServerHandshake::kNeedMore;
  });
  if (!answer.empty()) {
    Check(answer.rfind("HTTP/1.1 ", 0) == 0);
    const size_t end = answer.find("\r\n\r\n");
    Check(end != std::string::npos);
    if (handshake.status() == 101) Check(end + 4 == answer.size());
    for (size_t i = 0; i < end; ++i) {
      if (answer[i] == '\n') Check(answer[i - 1] == '\r');
    }
  }
  return absl::StrCat(handshake.status(), answer);
}

std::string Connect(const uint8_t* data, size_t size, size_t max_piece) {
  ClientHandshake::Options options;
  options.host = "h";
  options.max_head_bytes = 1000;
  options.max_headers = 10;
  absl::StatusOr<ClientHandshake> handshake = ClientHandshake::Create(options);
  std::string outcome = "more";
  InPieces(data, size, max_piece, [&](absl::Span<const uint8_t> piece) {
    const absl::StatusOr<bool> open = handshake->Read(piece);
    if (!open.ok()) outcome = open.status().ToString();
    if (open.ok() && *open) outcome = "open";
    return outcome == "more";
  });
  Check(outcome != "open");  // nothing that was written beforehand answers a new key
  return outcome;
}

}  // namespace
}  // namespace sluice::websocket

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace ws = sluice::websocket;
  if (size < 2) return 0;
  const auto run = data[0] & 1 ? ws::Connect : ws::Serve;
  const size_t max_piece = size_t{1} << (data[1] & 7);
  if (run(data + 2, size - 2, 0) != run(data + 2, size - 2, max_piece)) std::abort();
  return 0;
}
