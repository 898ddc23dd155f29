#include "sluice/core/internal/cares_channel.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "ares.h"
#include "sluice/core/internal/address_info.h"
#include "sluice/core/internal/address_order.h"
#include "sluice/core/internal/system_error.h"

namespace sluice::internal {
namespace {

constexpr int kDnsPort = 53;

bool PrepareDescriptor(int fd) {
  return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0 &&
         fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

bool IsDatagramSocket(int fd) {
  int type = 0;
  socklen_t length = sizeof(type);
  return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_DGRAM;
}

// For c-ares, a server that cannot be sent to is gone. But a datagram for which there is no room
// now is as one that is lost on its way: it is sent again when its time is up.
ares_ssize_t Send(int fd, const iovec* pieces, int count, void*) {
  const ssize_t sent = writev(fd, pieces, count);
  const bool no_room = sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS);
  if (!no_room || !IsDatagramSocket(fd)) return sent;
  return std::accumulate(pieces, pieces + count, ares_ssize_t{0}, [](auto sum, const iovec& piece) {
    return sum + static_cast<ares_ssize_t>(piece.iov_len);
  });
}

// c-ares takes a datagram without a byte for the end of a connection and fails all that was asked
// over it (CVE-2023-32067): one of the two functions that differ from c-ares' own, of five. The
// thread that runs them blocks SIGPIPE.
const ares_socket_functions kSocketFunctions = {
    .asocket =
        [](int family, int type, int protocol, void*) {
          const int fd = socket(family, type, protocol);
          if (fd < 0 || PrepareDescriptor(fd)) return fd;
          close(fd);
          return -1;
        },
    .aclose = [](int fd, void*) { return close(fd); },
    .aconnect = [](int fd, const sockaddr* address, ares_socklen_t length,
                   void*) { return connect(fd, address, length); },
    .arecvfrom = [](int fd, void* data, size_t size, int flags, sockaddr* from,
                    ares_socklen_t* from_length, void*) -> ares_ssize_t {
      const ssize_t received = recvfrom(fd, data, size, flags, from, from_length);
      if (received != 0 || from == nullptr) return received;
      errno = EAGAIN;
      return -1;
    },
    .asendv = &Send,
};

absl::Status ErrorOf(int status, absl::string_view name) {
  const std::string message = absl::StrCat(name, ": ", ares_strerror(status));
  switch (status) {
    case ARES_ENOTFOUND:
    case ARES_EBADNAME:  // as the system has it: no such name can be
      return absl::NotFoundError(message);
    case ARES_ENOMEM:
      return absl::ResourceExhaustedError(message);
    default:
      return absl::UnavailableError(message);
  }
}

// Those that are kept alone, as each costs four system calls: c-ares would sort all that a server
// invents.
void Sort(std::vector<SocketAddress>& addresses) {
  if (addresses.size() < 2) return;
  std::vector<Destination> destinations;
  for (const SocketAddress& address : addresses)
    destinations.push_back({address, SystemSourceAddress(address.WithPort(kDnsPort))});
  SortDestinations(destinations);
  for (size_t i = 0; i < addresses.size(); ++i) addresses[i] = destinations[i].address;
}

// RFC 2181 section 8: a time that would be negative is none.
absl::Duration TimeToLive(const ares_addrinfo& result) {
  int seconds = std::numeric_limits<int>::max();
  for (const ares_addrinfo_cname* name = result.cnames; name != nullptr; name = name->next)
    seconds = std::min(seconds, name->ttl);
  for (const ares_addrinfo_node* node = result.nodes; node != nullptr; node = node->ai_next)
    seconds = std::min(seconds, node->ai_ttl);
  return absl::Seconds(std::max(seconds, 0));
}

struct Asking {
  static void OnAnswer(void* self, int status, int /*timeouts*/, ares_addrinfo* result) {
    const std::unique_ptr<Asking> asking(static_cast<Asking*>(self));
    const std::unique_ptr<ares_addrinfo, void (*)(ares_addrinfo*)> owned(
        result, [](ares_addrinfo* r) { ares_freeaddrinfo(r); });
    std::vector<SocketAddress> addresses;
    absl::Duration time_to_live = absl::InfiniteDuration();
    if (status != ARES_SUCCESS && status != ARES_ENODATA)
      return asking->done(ErrorOf(status, asking->name), time_to_live);
    if (result != nullptr) {
      for (const ares_addrinfo_node* node = result->nodes; node != nullptr; node = node->ai_next)
        AddAddress(node->ai_addr, node->ai_addrlen, addresses);
    }
    if (!addresses.empty() && !asking->is_beginning) time_to_live = TimeToLive(*result);
    Sort(addresses);
    asking->done(std::move(addresses), time_to_live);
  }

  std::string name;
  // What c-ares knows at once is of /etc/hosts, for which it says 0 seconds.
  const bool& is_beginning;
  CaresChannel::AnswerFunction done;
};

}  // namespace

absl::StatusOr<std::unique_ptr<CaresChannel>> CaresChannel::Create(const Options& options) {
  std::unique_ptr<CaresChannel> channel(new CaresChannel());
  if (absl::Status status = channel->Open(options); !status.ok()) return status;
  return channel;
}

absl::Status CaresChannel::Open(const Options& options) {
  int ends[2];
  if (pipe(ends) != 0) return SystemError(errno, "pipe", "c-ares resolver");
  wake_reader_ = UniqueFd(ends[0]);
  wake_writer_ = UniqueFd(ends[1]);
  if (!PrepareDescriptor(ends[0]) || !PrepareDescriptor(ends[1]))
    return SystemError(errno, "fcntl", "c-ares resolver");
  static const int library = ares_library_init(ARES_LIB_INIT_ALL);
  ares_options ares = {};
  ares.timeout = static_cast<int>(absl::ToInt64Milliseconds(options.timeout));
  ares.tries = options.tries;
  ares.lookups = const_cast<char*>(options.hosts_file ? "fb" : "b");
  ares.sock_state_cb = &CaresChannel::OnSocketState;
  ares.sock_state_cb_data = this;
  const int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB;
  const int status = library != ARES_SUCCESS ? library : ares_init_options(&channel_, &ares, mask);
  if (status != ARES_SUCCESS) return ErrorOf(status, "c-ares resolver");
  ares_set_socket_functions(channel_, &kSocketFunctions, nullptr);
  return options.servers.empty() ? absl::OkStatus() : SetServers(options.servers);
}

absl::Status CaresChannel::SetServers(const std::vector<SocketAddress>& servers) {
  std::vector<ares_addr_port_node> nodes(servers.size());
  for (size_t i = 0; i < servers.size(); ++i) {
    ares_addr_port_node& node = nodes[i];
    node.next = i + 1 < nodes.size() ? &nodes[i + 1] : nullptr;
    node.family = servers[i].data()->sa_family;
    node.udp_port = node.tcp_port = servers[i].port() == 0 ? kDnsPort : servers[i].port();
    if (node.family == AF_INET) {
      node.addr.addr4 = reinterpret_cast<const sockaddr_in*>(servers[i].data())->sin_addr;
    } else {
      std::memcpy(&node.addr.addr6,
                  &reinterpret_cast<const sockaddr_in6*>(servers[i].data())->sin6_addr,
                  sizeof(in6_addr));
    }
  }
  const int status = ares_set_servers_ports(channel_, nodes.data());
  return status == ARES_SUCCESS ? absl::OkStatus() : ErrorOf(status, "c-ares resolver");
}

CaresChannel::~CaresChannel() {
  if (channel_ != nullptr) ares_destroy(channel_);
}

void CaresChannel::OnSocketState(void* self, int fd, int readable, int writable) {
  auto& sockets = static_cast<CaresChannel*>(self)->sockets_;
  if (readable == 0 && writable == 0) {
    sockets.erase(fd);
    return;
  }
  sockets[fd] = static_cast<short>((readable != 0 ? POLLIN : 0) | (writable != 0 ? POLLOUT : 0));
}

void CaresChannel::Ask(const std::string& name, SocketAddress::Family family, AnswerFunction done) {
  ares_addrinfo_hints hints = {};
  hints.ai_flags = ARES_AI_NOSORT;
  hints.ai_family = family == SocketAddress::Family::kIpv4 ? AF_INET : AF_INET6;
  hints.ai_socktype = SOCK_STREAM;
  is_asking_ = true;
  ares_getaddrinfo(channel_, name.c_str(), nullptr, &hints, &Asking::OnAnswer,
                   new Asking{.name = name, .is_beginning = is_asking_, .done = std::move(done)});
  is_asking_ = false;
}

int CaresChannel::MillisecondsToWait() const {
  timeval buffer;
  const timeval* time = ares_timeout(channel_, nullptr, &buffer);
  if (time == nullptr) return -1;
  // c-ares rounds down, and would have it tried over and over in the last millisecond.
  return static_cast<int>(time->tv_sec * 1'000 + time->tv_usec / 1'000 + 1);
}

void CaresChannel::Wait() {
  std::vector<pollfd> polled = {{.fd = wake_reader_.get(), .events = POLLIN, .revents = 0}};
  for (const auto& [fd, events] : sockets_)
    polled.push_back({.fd = fd, .events = events, .revents = 0});
  poll(polled.data(), static_cast<nfds_t>(polled.size()), MillisecondsToWait());
  char byte[64];
  while (read(wake_reader_.get(), byte, sizeof(byte)) > 0) continue;
  // Each call also sees to what has timed out.
  ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
  for (size_t i = 1; i < polled.size(); ++i) {
    const pollfd& socket = polled[i];
    const int broken = socket.revents & (POLLERR | POLLHUP);
    const bool readable = (socket.revents & POLLIN) != 0 || broken != 0;
    const bool writable =
        (socket.revents & POLLOUT) != 0 || (broken != 0 && (socket.events & POLLOUT) != 0);
    if (!readable && !writable) continue;
    ares_process_fd(channel_, readable ? socket.fd : ARES_SOCKET_BAD,
                    writable ? socket.fd : ARES_SOCKET_BAD);
  }
}

void CaresChannel::Wake() {
  const char byte = 0;
  // When the pipe is full, there is a wake-up in it.
  [[maybe_unused]] const ssize_t written = write(wake_writer_.get(), &byte, 1);
}

}  // namespace sluice::internal
