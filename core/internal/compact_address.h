// CompactAddress keeps a SocketAddress, which has room for all families, in 8 bytes where it is an
// IPv4 one, and on the heap otherwise. A connection keeps its peer's so, because the system forgets
// it with a reset.
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
  // 0: none. Lowest bit set: IPv4, the host in the upper half, the port in bits 8 to 23. Else a
  // pointer to the address: for IPv6 a sockaddr_in6, for Unix the length and the path.
  uint64_t bits_ = 0;
};

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_COMPACT_ADDRESS_H_
