// Whatever a peer calls a compressed message must be refused, or become at most what the limit
// allows; and what one side compresses must be the same on the other. The first two bytes choose
// which of both it is, what is agreed on, the limit and the level; the rest is messages, each
// behind a byte that says how long it is (255: to the end).

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "sluice/protocols/websocket/close_code.h"
#include "sluice/protocols/websocket/compression.h"
#include "sluice/protocols/websocket/deflate.h"
#include "sluice/protocols/websocket/extensions.h"

namespace sluice::websocket {
namespace {

using Bytes = std::vector<uint8_t>;
using SessionPtr = Compression::SessionPtr;

void Check(bool condition) {
  if (!condition) std::abort();
}

struct Choice {
  bool context = false;     // of both ways
  int receive_window = 15;  // 8 to 15
  int send_window = 15;     // 9 to 15
  uint64_t limit = 0;       // of a message that comes
  int level = 1;
};

Choice Choose(uint8_t first, uint8_t second) {
  constexpr uint64_t kLimits[] = {0, 100, 5000, 20'000};
  const int window = 8 + (first >> 1 & 7);
  return {.context = (first & 1) != 0,
          .receive_window = window,
          .send_window = std::max(window, 9),
          .limit = kLimits[first >> 4 & 3],
          .level = 1 + second % 9};
}

// No more than a few: what more of them would find, few find sooner.
std::vector<Bytes> Messages(const uint8_t* data, size_t size) {
  constexpr size_t kMost = 12;
  std::vector<Bytes> messages;
  for (size_t at = 0; at < size && messages.size() < kMost;) {
    const size_t wanted = data[at] == 255 ? size : data[at];
    ++at;
    const size_t n = std::min(wanted, size - at);
    messages.emplace_back(data + at, data + at + n);
    at += n;
  }
  return messages;
}

std::shared_ptr<const Deflate> Make(const Choice& choice) {
  return *Deflate::Create({.level = choice.level,
                           .min_message_bytes = 0,
                           .send_context = choice.context,
                           .receive_context = choice.context,
                           .send_window_bits = choice.send_window,
                           .receive_window_bits = choice.receive_window});
}

// Both ends, as they agree.
std::pair<SessionPtr, SessionPtr> Join(const Deflate& deflate) {
  Compression::Accepted accepted = deflate.Accept(deflate.Offer());
  Check(accepted.session != nullptr);
  auto agreed = deflate.Agree(accepted.answer);
  Check(agreed.ok());
  return {std::move(accepted.session), *std::move(agreed)};
}

// What a message becomes, and false if it is refused.
bool Receive(Compression::Session& session, const Bytes& compressed, uint64_t limit, Bytes& bytes) {
  const Compression::Session::Message message = session.Decompress(compressed, limit);
  if (message.error != nullptr) {
    Check(message.code == CloseCode::kInvalidPayload || message.code == CloseCode::kMessageTooBig);
    return false;
  }
  Check(message.bytes.size() <= limit);
  bytes.assign(message.bytes.begin(), message.bytes.end());
  std::fill(message.bytes.begin(), message.bytes.end(), 0xdd);  // which is allowed
  return true;
}

// The same in pieces: `cut` compressed bytes at a time.
bool ReceiveInPieces(Compression::Session& session, const Bytes& compressed, uint64_t limit,
                     size_t cut, Bytes& bytes) {
  const auto decompression = session.StartDecompression(limit);
  bytes.clear();
  for (size_t at = 0;;) {
    const size_t n = std::min(cut, compressed.size() - at);
    absl::Span<const uint8_t> rest(compressed.data() + at, n);
    at += n;
    const bool last = at == compressed.size();
    for (;;) {
      const Compression::Session::Message message = decompression->Next(rest, last);
      if (message.error != nullptr) return false;
      if (message.bytes.empty()) break;
      bytes.insert(bytes.end(), message.bytes.begin(), message.bytes.end());
    }
    Check(rest.empty() && bytes.size() <= limit);
    if (last) return true;
  }
}

// Of a server that its client leaves all the choice.
SessionPtr Receiver(const Deflate& deflate) {
  const Extension offer{"permessage-deflate", {{"client_max_window_bits"}}};
  return deflate.Accept(absl::MakeConstSpan(&offer, 1)).session;
}

void ReceiveWhateverComes(const Choice& choice, const std::vector<Bytes>& messages) {
  const auto with = *Deflate::Create(
      {.receive_context = choice.context, .receive_window_bits = choice.receive_window});
  const auto without = *Deflate::Create({});
  const SessionPtr server = Receiver(*with), in_pieces = Receiver(*with);
  Bytes bytes, alone, pieces;
  bool first = true;
  for (const Bytes& message : messages) {
    const bool received = Receive(*server, message, choice.limit, bytes);
    const size_t cut = 1 + message.size() % 7;
    Check(ReceiveInPieces(*in_pieces, message, choice.limit, cut, pieces) == received);
    if (!received) return;
    Check(pieces == bytes);
    if (!std::exchange(first, false)) continue;
    // It has no context yet, and both libraries must agree on what it is.
    Check(Receive(*Receiver(*without), message, choice.limit, alone));
    Check(alone == bytes);
  }
}

void PassOn(Compression::Session& from, Compression::Session& to, const Bytes& message) {
  const absl::Span<const uint8_t> sent = from.Compress(message);
  if (sent.empty()) return;
  Check(sent.size() < message.size());
  Bytes arrived;
  Check(Receive(to, Bytes(sent.begin(), sent.end()), message.size(), arrived));
  Check(arrived == message);
}

// Messages that were compressed by themselves are among the others.
void PassOnAlone(const Deflate& deflate, Compression::Session& from, Compression::Session& to,
                 const Bytes& message) {
  const absl::Span<const uint8_t> sent = deflate.CompressAlone(message);
  if (sent.empty() || !from.MaySendAlone(message.size())) return;
  Bytes arrived;
  Check(Receive(to, Bytes(sent.begin(), sent.end()), message.size(), arrived));
  Check(arrived == message);
}

void SendBothWays(const Choice& choice, const std::vector<Bytes>& messages) {
  const auto deflate = Make(choice);
  const auto [server, client] = Join(*deflate);
  for (const Bytes& message : messages) {
    PassOn(*server, *client, message);
    PassOn(*client, *server, message);
    PassOnAlone(*deflate, *server, *client, message);
  }
}

}  // namespace
}  // namespace sluice::websocket

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace ws = sluice::websocket;
  if (size < 2) return 0;
  const ws::Choice choice = ws::Choose(data[0], data[1]);
  const std::vector<ws::Bytes> messages = ws::Messages(data + 2, size - 2);
  if (data[0] & 0x80) {
    ws::SendBothWays(choice, messages);
  } else {
    ws::ReceiveWhateverComes(choice, messages);
  }
  return 0;
}
