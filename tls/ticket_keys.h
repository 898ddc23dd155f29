// TicketKeys encrypt the session tickets that a server gives to its clients, by which they resume
// without a full handshake. Contexts that share a TicketKeys, one after another (a reload) or on
// many threads, resume each other's sessions, if their certificates are for the same names and they
// trust the same clients (ServerOptions::ticket_keys).
//
// Example:
//   auto keys = std::make_shared<tls::TicketKeys>();
//   options.ticket_keys = keys;            // for this context and the ones that replace it
//
// Whoever learns a key can read what was sent over the sessions that resumed by it without a new
// key agreement, so keys do not live long: a new one takes over after Options::rotate_after, on the
// clock of the loops that use it, and earlier ones, which still open tickets, are dropped when
// Options::keep newer ones have come. A ticket that no key opens costs its client a full handshake.
// Who hands out the keys of several machines (Use) also decides when they change: each machine's
// own next one would be none that the others know.
//
// Thread-safe.
#ifndef SLUICE_TLS_TICKET_KEYS_H_
#define SLUICE_TLS_TICKET_KEYS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/core/monotonic_time.h"

namespace sluice::tls {

class TicketKeys {
 public:
  struct Options {
    absl::Duration rotate_after = absl::Hours(12);  // infinite: only by Rotate and Use
    size_t keep = 2;                                // earlier keys that still open tickets
  };

  TicketKeys();
  explicit TicketKeys(const Options& options);
  ~TicketKeys();
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;

  // A new random key takes over now. After Use, rotation by the clock begins anew.
  void Rotate();

  // Replaces all keys, for servers on several machines that share theirs: the first of `secrets`
  // seals, all open. Each is kSecretBytes of randomness; kInvalidArgument otherwise. From then on
  // nothing rotates by the clock, until Rotate is called: Use them again, with a new one in front,
  // within the time that a key is to live.
  absl::Status Use(absl::Span<const std::string> secrets);
  static constexpr size_t kSecretBytes = 48;

  // For the contexts.

  void RotateWhenDue(MonotonicTime now);
  static constexpr size_t kOverhead = 16 + 12 + 16;  // the key's name, nonce, tag
  // `out` has room for kOverhead more bytes than `ticket`. Answers the size, 0 on failure.
  size_t Seal(absl::Span<const uint8_t> ticket, absl::Span<uint8_t> out) const;
  // Answers false where no key opens it.
  bool Open(absl::Span<const uint8_t> sealed, absl::Span<uint8_t> out, size_t& size) const;

 private:
  class Key;
  using Keys = std::vector<std::shared_ptr<const Key>>;  // the first one seals

  std::shared_ptr<const Keys> Snapshot() const;
  void PutInFront(std::shared_ptr<const Key> key);  // holds mutex_

  const Options options_;
  // In nanoseconds of MonotonicTime; changed with mutex_ held.
  static constexpr int64_t kNotUsedYet = 0, kNever = std::numeric_limits<int64_t>::max();
  std::atomic<int64_t> due_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Keys> keys_;  // guarded by mutex_
};

}  // namespace sluice::tls

#endif  // SLUICE_TLS_TICKET_KEYS_H_
