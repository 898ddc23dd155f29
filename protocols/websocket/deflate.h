// Deflate is the extension permessage-deflate (RFC 7692): messages that are compressed, as server
// and as client.
//
// Example:
//   absl::StatusOr<std::shared_ptr<const Deflate>> deflate = Deflate::Create({});
//   websocket::Server server({.connection = {.compression = *deflate}});
//
// By default each message is compressed by itself (no context takeover), so that a connection keeps
// nothing: the compressors are the thread's. With a context a message may refer to those before it,
// which makes small messages that are alike much smaller, and costs memory for each connection:
// that is asked for by send_context and receive_context, and bounded by a budget for all of them,
// past which new connections agree on no context.
//
// Messages that are sent by themselves and are not large go through libdeflate, and received ones
// too; the rest through zlib. (libdeflate takes about half the time, but knows no stream.)
//
// A compressed message that is received in parts (Connection::ReceiveInParts) takes some 40 KiB
// while it is incomplete, outside of the budget.
//
// What does not become smaller is sent as it is. A received message is decompressed to the
// connection's max_message_bytes and no further, whatever it would become.
//
// Compression before encryption can tell who sees the sizes of encrypted messages what is in them,
// where one message has both a secret and something of an attacker's choice (RFC 7692 section 9,
// CRIME, BREACH). A context joins all messages of a connection.
//
// Thread-safe.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_DEFLATE_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_DEFLATE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "sluice/protocols/websocket/compression.h"
#include "sluice/protocols/websocket/extensions.h"

namespace sluice::websocket {

// What the contexts of all connections that share it may take.
class ContextBudget {
 public:
  explicit ContextBudget(size_t max_bytes) : max_bytes_(max_bytes) {}
  ContextBudget(const ContextBudget&) = delete;
  ContextBudget& operator=(const ContextBudget&) = delete;

  size_t max_bytes() const { return max_bytes_; }
  size_t used_bytes() const { return used_.load(std::memory_order_relaxed); }

  // False, and nothing is taken, where it would be too much.
  bool Take(size_t bytes);
  // For a context that was agreed on already.
  void TakeAnyway(size_t bytes) { used_.fetch_add(bytes, std::memory_order_relaxed); }
  void Give(size_t bytes) { used_.fetch_sub(bytes, std::memory_order_relaxed); }

 private:
  const size_t max_bytes_;
  std::atomic<size_t> used_{0};
};

struct DeflateOptions {
  // From 1, fast, to 9, small. 1 KiB of JSON becomes 456 bytes with 1, and 452 with 6, which takes
  // half as long again.
  int level = 1;
  // Shorter messages are sent as they are.
  size_t min_message_bytes = 64;

  // Whether a message may refer to those that were sent, and received, before it. The peer may
  // refuse both.
  bool send_context = false;
  bool receive_context = false;
  // How far back: 2^bits bytes, from 9 to 15, and 8 for what is received. The peer may ask for less
  // of what it receives.
  int send_window_bits = 15;
  int receive_window_bits = 15;
  // For contexts. Null: 64 MiB for this Deflate.
  std::shared_ptr<ContextBudget> budget = nullptr;
};

class Deflate final : public Compression {
 public:
  // kInvalidArgument for what the options do not allow.
  static absl::StatusOr<std::shared_ptr<const Deflate>> Create(const DeflateOptions& options);
  ~Deflate() override;

  const DeflateOptions& options() const { return options_; }

  // Compression:
  absl::Span<const uint8_t> CompressAlone(absl::Span<const uint8_t> message) const override;
  Accepted Accept(absl::Span<const Extension> offers) const override;
  std::vector<Extension> Offer() const override;
  absl::StatusOr<SessionPtr> Agree(const Extension& answer) const override;

 private:
  struct Terms;
  class TermsSession;

  explicit Deflate(const DeflateOptions& options);
  size_t TakeBudget(Terms& terms) const;
  SessionPtr NewSession(const Terms& terms, size_t taken) const;

  const DeflateOptions options_;
  const std::unique_ptr<TermsSession> shared_;
};

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_DEFLATE_H_
