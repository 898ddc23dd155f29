#ifdef __APPLE__
#define __APPLE_USE_RFC_3542  // IPV6_RECVPKTINFO and its like
#endif

#include "sluice/core/internal/datagram_socket.h"

#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/uio.h>

#ifdef __linux__
#include <linux/errqueue.h>
#include <linux/sock_diag.h>
#endif

#include <cerrno>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "sluice/core/internal/socket_ops.h"
#include "sluice/core/internal/system_error.h"

namespace sluice::internal {
namespace {

using Family = SocketAddress::Family;

// Sets options of one socket until one fails.
class Options {
 public:
  Options(int fd, const SocketAddress& local) : fd_(fd), local_(local) {}

  Options& Set(int level, int name, int value, const char* what) {
    if (status_.ok() && setsockopt(fd_, level, name, &value, sizeof(value)) != 0)
      status_ = SystemError(errno, absl::StrCat("setsockopt ", what), local_.ToString());
    return *this;
  }
  // For what a system may lack, or know for one family only.
  void Try(int level, int name, int value) { setsockopt(fd_, level, name, &value, sizeof(value)); }
  bool is_ipv6() const { return local_.family() == Family::kIpv6; }
  void Fail(absl::Status status) {
    if (status_.ok()) status_ = std::move(status);
  }
  const SocketAddress& local() const { return local_; }
  const absl::Status& status() const { return status_; }

 private:
  const int fd_;
  const SocketAddress& local_;
  absl::Status status_;
};

absl::StatusOr<unsigned> InterfaceIndex(const std::string& name) {
  if (name.empty()) return 0u;
  const unsigned index = if_nametoindex(name.c_str());
  if (index == 0) return absl::NotFoundError(absl::StrCat("there is no interface \"", name, "\""));
  return index;
}

struct Option {
  int name;
  const char* what;
};

// A socket for both families needs the options of both: those of IPv4 hold for its IPv4 peers.
void SetBoth(Options& to, const Option& ipv6, const Option& ipv4, int value) {
  if (to.is_ipv6()) {
    to.Set(IPPROTO_IPV6, ipv6.name, value, ipv6.what);
    to.Try(IPPROTO_IP, ipv4.name, value);
  } else {
    to.Set(IPPROTO_IP, ipv4.name, value, ipv4.what);
  }
}

void SetReceiving(Options& to, const DatagramOptions& options) {
  if (options.receive_local) {
    if (to.is_ipv6()) to.Set(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO");
#ifdef IP_PKTINFO
    if (!to.is_ipv6()) to.Set(IPPROTO_IP, IP_PKTINFO, 1, "IP_PKTINFO");
#else
    if (!to.is_ipv6()) to.Set(IPPROTO_IP, IP_RECVDSTADDR, 1, "IP_RECVDSTADDR");
#endif
  }
  if (options.receive_ecn)
    SetBoth(to, {IPV6_RECVTCLASS, "IPV6_RECVTCLASS"}, {IP_RECVTOS, "IP_RECVTOS"}, 1);
  if (options.receive_ttl)
    SetBoth(to, {IPV6_RECVHOPLIMIT, "IPV6_RECVHOPLIMIT"}, {IP_RECVTTL, "IP_RECVTTL"}, 1);
#ifdef IP_RECVERR
  to.Try(IPPROTO_IP, IP_RECVERR, 1);
  if (to.is_ipv6()) to.Try(IPPROTO_IPV6, IPV6_RECVERR, 1);
#endif
#ifdef UDP_GRO
  if (options.offload) to.Try(IPPROTO_UDP, UDP_GRO, 1);
#endif
}

void SetSending(Options& to, const DatagramOptions& options) {
  if (options.ttl != 0)
    SetBoth(to, {IPV6_UNICAST_HOPS, "IPV6_UNICAST_HOPS"}, {IP_TTL, "IP_TTL"}, options.ttl);
  if (options.tos != 0) SetBoth(to, {IPV6_TCLASS, "IPV6_TCLASS"}, {IP_TOS, "IP_TOS"}, options.tos);
}

// Linux gives a socket what any other of the host has joined, unless it is told not to.
void SetMulticast(Options& to, const DatagramOptions& options) {
#ifdef IP_MULTICAST_ALL
  to.Try(IPPROTO_IP, IP_MULTICAST_ALL, 0);
#endif
#ifdef IPV6_MULTICAST_ALL
  if (to.is_ipv6()) to.Try(IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0);
#endif
  const int loop = options.multicast_loop ? 1 : 0;
  if (to.is_ipv6()) {
    to.Set(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, options.multicast_ttl, "IPV6_MULTICAST_HOPS");
    to.Set(IPPROTO_IPV6, IPV6_MULTICAST_LOOP, loop, "IPV6_MULTICAST_LOOP");
  } else {
    to.Set(IPPROTO_IP, IP_MULTICAST_TTL, options.multicast_ttl, "IP_MULTICAST_TTL");
    to.Set(IPPROTO_IP, IP_MULTICAST_LOOP, loop, "IP_MULTICAST_LOOP");
  }
}

void SetMulticastInterface(Options& to, int fd, const std::string& name) {
  if (name.empty()) return;
  const absl::StatusOr<unsigned> index = InterfaceIndex(name);
  if (!index.ok()) return to.Fail(index.status());
  if (to.is_ipv6()) {
    to.Set(IPPROTO_IPV6, IPV6_MULTICAST_IF, static_cast<int>(*index), "IPV6_MULTICAST_IF");
    return;
  }
  ip_mreqn request = {};
  request.imr_ifindex = static_cast<int>(*index);
  if (setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof(request)) != 0)
    to.Fail(SystemError(errno, "setsockopt IP_MULTICAST_IF", to.local().ToString()));
}

absl::Status SetOptions(int fd, const SocketAddress& local, const DatagramOptions& options) {
  Options to(fd, local);
  if (options.send_buffer_bytes != 0)
    to.Set(SOL_SOCKET, SO_SNDBUF, options.send_buffer_bytes, "SO_SNDBUF");
  if (options.receive_buffer_bytes != 0)
    to.Set(SOL_SOCKET, SO_RCVBUF, options.receive_buffer_bytes, "SO_RCVBUF");
  if (options.reuse_port) to.Set(SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT");
  if (options.reuse_address) to.Set(SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
  if (to.is_ipv6()) to.Set(IPPROTO_IPV6, IPV6_V6ONLY, options.ipv6_only ? 1 : 0, "IPV6_V6ONLY");
  SetReceiving(to, options);
  SetSending(to, options);
  SetMulticast(to, options);
  SetMulticastInterface(to, fd, options.multicast_interface);
  return to.status();
}

absl::Status ChangeGroup(int fd, const MulticastGroup& group, bool join) {
  if (!group.group.is_ip())
    return absl::InvalidArgumentError("multicast: no group is given, as in 239.1.2.3:0");
  const absl::StatusOr<unsigned> index = InterfaceIndex(group.interface);
  if (!index.ok()) return index.status();
  const int level = group.group.family() == Family::kIpv6 ? IPPROTO_IPV6 : IPPROTO_IP;
  group_source_req request = {};
  request.gsr_interface = *index;
  std::memcpy(&request.gsr_group, group.group.data(), group.group.length());
  int result;
  if (group.source.is_ip()) {
    std::memcpy(&request.gsr_source, group.source.data(), group.source.length());
    const int name = join ? MCAST_JOIN_SOURCE_GROUP : MCAST_LEAVE_SOURCE_GROUP;
    result = setsockopt(fd, level, name, &request, sizeof(request));
  } else {
    group_req any = {};
    any.gr_interface = *index;
    any.gr_group = request.gsr_group;
    result = setsockopt(fd, level, join ? MCAST_JOIN_GROUP : MCAST_LEAVE_GROUP, &any, sizeof(any));
  }
  if (result == 0) return absl::OkStatus();
  return SystemError(errno, join ? "join" : "leave", group.group.ToString());
}

#ifdef IP_RECVERR
// What the network says in answer to something that was sent, unlike what a send was told itself.
int NetworkError(const msghdr& message) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr;
       c = CMSG_NXTHDR(const_cast<msghdr*>(&message), c)) {
    if (!(c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) &&
        !(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
      continue;
    sock_extended_err error;
    std::memcpy(&error, CMSG_DATA(c), sizeof(error));
    if (error.ee_origin == SO_EE_ORIGIN_ICMP || error.ee_origin == SO_EE_ORIGIN_ICMP6)
      return static_cast<int>(error.ee_errno);
  }
  return 0;
}

// Takes the next error that the system keeps for the socket, and whom it concerns: an errno, or 0
// when there is none.
int TakeError(int fd, SocketAddress& peer) {
  for (;;) {
    uint8_t byte;  // of what was sent; of no concern
    iovec piece = {&byte, 1};
    alignas(cmsghdr) char control[256];
    msghdr message = {};
    message.msg_name = peer.room();
    message.msg_namelen = SocketAddress::kRoomBytes;
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    if (recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return 0;
    peer.SetLength(message.msg_namelen);
    if (const int error = NetworkError(message); error != 0) return error;
  }
}
#else
int TakeError(int, SocketAddress&) { return 0; }
#endif

}  // namespace

absl::StatusOr<UniqueFd> OpenDatagramSocket(const SocketAddress& local,
                                            const DatagramOptions& options) {
  if (!local.is_ip()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "udp: ", local.ToString(), " is no IP address with a port, as 0.0.0.0:0 and [::]:9000"));
  }
  UniqueFd fd = OpenSocket(local, SOCK_DGRAM);
  if (!fd.ok()) return SystemError(errno, "socket", local.ToString());
  if (absl::Status status = SetOptions(fd.get(), local, options); !status.ok()) return status;
  if (bind(fd.get(), local.data(), local.length()) != 0)
    return SystemError(errno, "bind", local.ToString());
  return fd;
}

absl::Status ConnectDatagramSocket(int fd, const SocketAddress& peer) {
  if (!peer.is_ip())
    return absl::InvalidArgumentError(
        absl::StrCat("udp: ", peer.ToString(), " is no IP address with a port"));
  if (connect(fd, peer.data(), peer.length()) != 0)
    return SystemError(errno, "connect", peer.ToString());
  // What others have sent since the bind is not the peer's; from now on the system refuses it.
  uint8_t byte;
  while (recv(fd, &byte, sizeof(byte), MSG_DONTWAIT) >= 0) {
  }
  return absl::OkStatus();
}

absl::Status JoinDatagramGroup(int fd, const MulticastGroup& group) {
  return ChangeGroup(fd, group, true);
}

absl::Status LeaveDatagramGroup(int fd, const MulticastGroup& group) {
  return ChangeGroup(fd, group, false);
}

int TellDatagramErrors(int fd, Poller::Socket& socket, int error,
                       absl::FunctionRef<bool()> is_open) {
  SocketAddress peer;
  int told = 0;
  for (; told < kDatagramErrorsPerTurn && is_open(); ++told) {
    const int taken = TakeError(fd, peer);
    if (taken == 0) break;
    socket.OnDatagramError(taken, peer);
  }
  if (told != 0) return told;
  // Taken in any case: some systems would tell it again.
  const int pending = PendingError(fd);
  if (error == 0) error = pending;
  if (error == 0) return 0;
  socket.OnDatagramError(error, SocketAddress());
  return 1;
}

#ifdef SO_MEMINFO
uint64_t DroppedDatagramsOf(int fd) {
  uint32_t info[SK_MEMINFO_VARS] = {};
  socklen_t length = sizeof(info);
  return getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &length) == 0 ? info[SK_MEMINFO_DROPS] : 0;
}
#else
uint64_t DroppedDatagramsOf(int) { return 0; }
#endif

}  // namespace sluice::internal
