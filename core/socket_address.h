// SocketAddress is where a socket listens or whom it talks to: an IPv4 or IPv6 address with a port,
// or a Unix socket's path. It is a value. It resolves no names.
//
// Example:
//   absl::StatusOr<SocketAddress> address = SocketAddress::Parse("[::1]:9000");
//   address->ToString();                                   // "[::1]:9000"
//
// Thread-compatible.
#ifndef SLUICE_CORE_SOCKET_ADDRESS_H_
#define SLUICE_CORE_SOCKET_ADDRESS_H_

#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sluice {

class SocketAddress {
 public:
  enum class Family : uint8_t { kNone, kIpv4, kIpv6, kUnix };

  // No address; ToString() is "(none)".
  SocketAddress();

  // Accepts, and says so in its error:
  //   127.0.0.1:9000   [::1]:9000   [fe80::1%eth0]:9000   *:9000 (any IPv6 and, where the system
  //   allows it, IPv4 address) unix:/path/to/socket   unix:@name (Linux's abstract name space)
  // Ports are 0 to 65535; a path has at most 107 bytes.
  static absl::StatusOr<SocketAddress> Parse(absl::string_view text);

  // From what the system calls fill in. A family that is none of the three gives no address.
  static SocketAddress FromSockaddr(const sockaddr* address, socklen_t length);

  static SocketAddress Ipv4Loopback(uint16_t port);
  static SocketAddress Ipv6Loopback(uint16_t port);

  Family family() const;
  bool is_ip() const { return family() == Family::kIpv4 || family() == Family::kIpv6; }

  // Whether it is no host in particular: 0.0.0.0 or [::], with any port.
  bool is_any() const;

  // 0 for a Unix address.
  uint16_t port() const;
  // The same address with another port; a Unix address is unchanged.
  SocketAddress WithPort(uint16_t port) const;
  // An IPv4 address that is written as IPv6, as IPv6 sockets see their IPv4 peers
  // ([::ffff:10.0.0.1]:80), as IPv4. Any other address is unchanged.
  SocketAddress Unmapped() const;
  // The path of a Unix address, with a leading '@' for an abstract one; empty for others.
  std::string path() const;

  std::string ToString() const;

  // For system calls.
  const sockaddr* data() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t length() const { return length_; }

  // For one that fills an address in, over and over: room for any, and then how long it is.
  sockaddr* room() { return reinterpret_cast<sockaddr*>(&storage_); }
  static constexpr socklen_t kRoomBytes = sizeof(sockaddr_storage);
  void SetLength(socklen_t length);

  friend bool operator==(const SocketAddress& a, const SocketAddress& b);

 private:
  sockaddr_storage storage_;
  socklen_t length_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_SOCKET_ADDRESS_H_
