// UdpExchange is one socket's part of a load over UDP, without the socket: it says what the next
// datagram is, and what one that has come means. It keeps a number of datagrams in flight; each
// carries its sequence number and the time at which it left, and behind them bytes of a
// MessagePattern, all of which an echo sends back.
//
// Example:
//   UdpExchange exchange(pattern, /*connection=*/0, /*pipeline=*/4, /*verify=*/true);
//   while (exchange.has_room()) Send(exchange.Next(now, bytes));
//   ...                                                 // an answer has come
//   switch (exchange.Take(bytes, now).kind) {...}
//   exchange.GiveUp(now - absl::Seconds(1));            // what was sent before is lost
//
// A datagram that was given up makes room for the next; if its answer comes after all, it is late,
// and not lost. Late ones are told from duplicates among the last kRemembered that were lost.
//
// Thread-compatible. Takes 40 bytes for each datagram that may be in flight.
#ifndef SLUICE_TOOLS_UDP_EXCHANGE_H_
#define SLUICE_TOOLS_UDP_EXCHANGE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/tools/message_pattern.h"

namespace sluice::tools {

// All that was sent was answered, in time or late, or was lost, or is in flight.
struct UdpCounts {
  uint64_t sent = 0;
  uint64_t answers = 0;     // in time
  uint64_t late = 0;        // after they were given up
  uint64_t lost = 0;        // given up, and not late
  uint64_t duplicated = 0;  // further answers to what was answered
  uint64_t reordered = 0;   // of the answers, those that came after one to a later datagram
  uint64_t damaged = 0;     // what came and was no answer to anything sent

  UdpCounts& operator+=(const UdpCounts& other);
};

class UdpExchange {
 public:
  // In front of the pattern's bytes. A datagram is at least so long.
  static constexpr size_t kHeaderBytes = 24;
  static constexpr size_t kRemembered = 1024;

  enum class Kind : uint8_t { kAnswer, kLate, kDuplicate, kDamaged };
  struct Taken {
    Kind kind;
    uint64_t sequence = 0;        // of an answer: of the datagram it answers, from 0 on
    absl::Duration latency = {};  // of an answer
  };

  // The pattern must outlive it; its sizes are those of datagrams. What distinguishes this exchange
  // from the others of a load is `connection`. Without `verify` only sizes and headers are looked
  // at.
  UdpExchange(const MessagePattern& pattern, uint32_t connection, uint32_t pipeline, bool verify);

  // Whether another datagram may be sent.
  bool has_room() const { return free_ != end(); }
  size_t in_flight() const { return in_flight_; }

  // Writes the next datagram, which is in flight from now on, to `bytes`, which has room for it,
  // and returns the part that it takes.
  absl::Span<const uint8_t> Next(MonotonicTime now, absl::Span<uint8_t> bytes);

  Taken Take(absl::Span<const uint8_t> bytes, MonotonicTime now);

  // Those in flight that left before `sent_before` are lost. Returns how many.
  size_t GiveUp(MonotonicTime sent_before);

  // Counts from here on; what is in flight now is as if sent afterwards. Damage is not forgotten.
  void BeginCounting();
  const UdpCounts& counts() const { return counts_; }

 private:
  struct Header {
    uint64_t sequence;
    int64_t sent_at;
    uint32_t connection;
    uint32_t slot;
  };
  static_assert(sizeof(Header) == kHeaderBytes);

  // Of one datagram in flight, or free. Those in flight are a ring in the order of their sending,
  // through an end that is no datagram; the free ones are a chain.
  struct Slot {
    uint64_t sequence = 0;
    MonotonicTime sent_at;
    uint32_t previous = 0;
    uint32_t next = 0;
    bool in_flight = false;
  };

  uint32_t end() const { return static_cast<uint32_t>(slots_.size() - 1); }
  void Free(uint32_t index);
  bool IsSound(absl::Span<const uint8_t> bytes, const Header& header) const;
  bool WasLost(uint64_t sequence);

  const MessagePattern& pattern_;
  const uint32_t connection_;
  const bool verify_;
  std::vector<Slot> slots_;
  uint32_t free_;
  size_t in_flight_ = 0;
  uint64_t next_sequence_ = 0;
  uint64_t counted_from_ = 0;  // a sequence number
  uint64_t after_highest_answer_ = 0;
  std::deque<uint64_t> lost_;  // sequence numbers, ascending
  UdpCounts counts_;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_UDP_EXCHANGE_H_
