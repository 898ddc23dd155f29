// CompactAddress keeps a SocketAddress, which has room for all families, in 8 bytes where it is an
// IPv4 one, also as IPv6 sockets see it ([::ffff:10.0.0.1]:80), and in one small piece of the heap
// otherwise. A connection keeps its peer's so, because the system forgets it with a reset.
#ifndef SLUICE_CORE_INTERNAL_COMPACT_ADDRESS_H_
#define SLUICE_CORE_INTERNAL_COMPACT_ADDRESS_H_

#include <cstdint>

#include "sluice/core/socket_address.h"

namespace sluice::internal {

class CompactAddress {
 public:
  explicit CompactAddress(const SocketAddress& address);
  CompactAddress(const CompactAddress&) = delete;
  CompactAddress& operator=(const CompactAddress&) = delete;
  ~CompactAddress();

  SocketAddress Expand() const;

 private:
  bool is_inline() const { return (bits_ & kInline) != 0; }

  static constexpr uint64_t kInline = 1;
  static constexpr uint64_t kMapped = 2;  // with kInline: it is written as IPv6

  // 0: none. With kInline: the IPv4 host in the upper half, the port in bits 8 to 23. Else a
  // pointer to the length of the address, a byte, and the address.
  uint64_t bits_ = 0;
};

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_COMPACT_ADDRESS_H_
