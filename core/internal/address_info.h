// What getaddrinfo(3) says, as a resolver's answer.
#ifndef SLUICE_CORE_INTERNAL_ADDRESS_INFO_H_
#define SLUICE_CORE_INTERNAL_ADDRESS_INFO_H_

#include <netdb.h>
#include <sys/socket.h>

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "sluice/core/socket_address.h"

namespace sluice::internal {

// Asks the system, and blocks for as long as it takes.
absl::StatusOr<std::vector<SocketAddress>> AskSystem(const std::string& name,
                                                     SocketAddress::Family family);

// Frees what the system keeps of AskSystem for this thread, which does not ask again. glibc does so
// at a thread's end, but so late that LeakSanitizer, at a program's end, has taken it for a leak.
void ForgetSystem();

// More than anybody will try: what answers have beyond them is dropped.
constexpr size_t kMostAddresses = 256;

// Adds the address, with port 0, unless it is there already, is no IP address, or is too many.
void AddAddress(const sockaddr* address, socklen_t length, std::vector<SocketAddress>& addresses);

// From getaddrinfo's return value, errno, and list. The codes are those of resolver.h.
absl::StatusOr<std::vector<SocketAddress>> FromAddressInfo(absl::string_view name, int code,
                                                           int error, const addrinfo* list);

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_ADDRESS_INFO_H_
