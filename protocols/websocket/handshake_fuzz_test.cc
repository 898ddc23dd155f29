// The server's and the client's handshake must come to the same however the bytes are cut, and
// write answers that are whole and hold no line but their own. The first byte chooses the side and
// what it does of compression, the second how the bytes are cut; the rest are the bytes. In those
// for a client, an accept of @ stands for the one that answers its key.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/protocols/websocket/client_handshake.h"
#include "sluice/protocols/websocket/deflate.h"
#include "sluice/protocols/websocket/handshake.h"

namespace sluice::websocket {
namespace {

void Check(bool condition) {
  if (!condition) std::abort();
}

// None, or one of a few. What it lends of its budget must come back.
class Compressor {
 public:
  explicit Compressor(uint8_t choice) {
    if ((choice & 3) == 0) return;
    deflate_ = *Deflate::Create({.send_context = (choice & 2) != 0,
                                 .receive_context = (choice & 2) != 0,
                                 .send_window_bits = choice & 4 ? 10 : 15,
                                 .receive_window_bits = choice & 8 ? 8 : 15,
                                 .budget = budget_});
  }
  ~Compressor() { Check(budget_->used_bytes() == 0); }

  const std::shared_ptr<const Deflate>& deflate() const { return deflate_; }

 private:
  const std::shared_ptr<ContextBudget> budget_ = std::make_shared<ContextBudget>(1'000'000);
  std::shared_ptr<const Deflate> deflate_;
};

// Calls read(piece) with one piece after another, of up to max_piece bytes, while it returns true.
template <typename Read>
void InPieces(absl::string_view bytes, size_t max_piece, Read read) {
  const size_t size = bytes.size();
  for (size_t at = 0; at < size;) {
    const size_t n = std::min(size - at, max_piece == 0 ? size : 1 + (at * 7 + 3) % max_piece);
    const std::vector<uint8_t> piece(bytes.begin() + at, bytes.begin() + at + n);
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
  if (const auto decoded = request.FindInQuery("q"); decoded.has_value()) {
    Check(decoded->size() <= request.query().size());
    reply.AddHeader("Q", *decoded);
  }
  if (!request.subprotocols().empty()) Check(reply.ChooseSubprotocol(request.subprotocols()[0]));
}

std::string Serve(uint8_t choice, absl::string_view bytes, size_t max_piece) {
  const Compressor compressor(choice);
  ServerHandshake::Options options;
  options.compression = compressor.deflate();
  options.max_head_bytes = 1000;
  options.max_headers = 10;
  ServerHandshake handshake(options);
  std::string answer;
  InPieces(bytes, max_piece, [&](absl::Span<const uint8_t> piece) {
    const ServerHandshake::Result result = handshake.Read(piece, Echo, answer);
    if (result == ServerHandshake::kNeedMore) Check(piece.empty() && answer.empty());
    return result == ServerHandshake::kNeedMore;
  });
  if (!answer.empty()) {
    Check(answer.rfind("HTTP/1.1 ", 0) == 0);
    const size_t end = answer.find("\r\n\r\n");
    Check(end != std::string::npos);
    if (handshake.status() == 101) Check(end + 4 == answer.size());
    Check((handshake.TakeCompression() != nullptr) ==
          (answer.find("\r\nSec-WebSocket-Extensions: ") < end));
    for (size_t i = 0; i < end; ++i) {
      if (answer[i] == '\n') Check(answer[i - 1] == '\r');
    }
  }
  return absl::StrCat(handshake.status(), answer);
}

// What the key in a client's request is answered with.
std::string AcceptFor(absl::string_view request) {
  constexpr absl::string_view kKey = "\r\nSec-WebSocket-Key: ";
  const size_t at = request.find(kKey);
  Check(at != absl::string_view::npos);
  return AcceptForKey(request.substr(at + kKey.size(), 24));
}

std::string Connect(uint8_t choice, absl::string_view bytes, size_t max_piece) {
  const Compressor compressor(choice);
  ClientHandshake::Options options;
  options.host = "h";
  options.max_head_bytes = 1000;
  options.max_headers = 10;
  options.compression = compressor.deflate();
  absl::StatusOr<ClientHandshake> handshake = ClientHandshake::Create(options);
  const std::string accept = AcceptFor(handshake->request());
  std::string outcome = "more";
  constexpr absl::string_view kAccept = "\nSec-WebSocket-Accept: ";
  const std::string answer =
      absl::StrReplaceAll(bytes, {{absl::StrCat(kAccept, "@"), absl::StrCat(kAccept, accept)}});
  InPieces(answer, max_piece, [&](absl::Span<const uint8_t> piece) {
    const absl::StatusOr<bool> open = handshake->Read(piece);
    if (!open.ok()) outcome = open.status().ToString();
    if (open.ok() && *open) outcome = "open";
    return outcome == "more";
  });
  if (outcome == "open") {
    const bool compresses = handshake->TakeCompression() != nullptr;
    Check(!compresses || compressor.deflate() != nullptr);
    absl::StrAppend(&outcome, compresses ? ", and compresses" : "");
  }
  return outcome;
}

}  // namespace
}  // namespace sluice::websocket

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace ws = sluice::websocket;
  if (size < 2) return 0;
  const auto run = data[0] & 1 ? ws::Connect : ws::Serve;
  const uint8_t compression = data[0] >> 1;
  const size_t max_piece = size_t{1} << (data[1] & 7);
  const absl::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  ws::Check(run(compression, bytes, 0) == run(compression, bytes, max_piece));
  return 0;
}
