#ifdef __APPLE__
#define __APPLE_USE_RFC_3542  // in6_pktinfo and its like
#endif

#include "sluice/core/internal/datagram_ops.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/base/optimization.h"
#include "sluice/core/internal/socket_ops.h"
#include "sluice/core/socket_address.h"

namespace sluice::internal {
namespace {

constexpr size_t kPlaces = 64;
// Room for the largest datagram, and for as much as the system joins. An odd number of cache lines:
// the beginnings of all places would otherwise share a few sets of the cache.
constexpr size_t kPlaceBytes = 1025 * 64;
// A turn that has brought more offers fewer places to the next, so that a batch stays in the cache
// and a socket with joined datagrams does not take more of a turn than others.
constexpr size_t kBatchBytes = 256 * 1024;
constexpr size_t kFewestPlaces = 4;

constexpr size_t kMessages = 64;  // in one call, and as many datagrams, of a piece each at most
constexpr size_t kSegments = 64;  // Linux's UDP_MAX_SEGMENTS, in its first version
// No system joins more; the network card of a virtual machine may say that it has.
constexpr size_t kMostJoined = 128;

#ifdef __linux__
using Message = mmsghdr;
#else
struct Message {
  msghdr msg_hdr;
  unsigned msg_len;
};
#endif

// Room for what is told of a datagram that arrives, and for what is said of one that leaves: an
// address and an interface, and two or three numbers.
constexpr size_t kControlBytes = 128;
struct Control {
  alignas(cmsghdr) char bytes[kControlBytes];
};

// The number in a control message, which is of one byte or an int.
int Number(const cmsghdr* control) {
  if (control->cmsg_len < CMSG_LEN(sizeof(int))) return *CMSG_DATA(control);
  int value;
  std::memcpy(&value, CMSG_DATA(control), sizeof(value));
  return value;
}

SocketAddress Local(const in_addr& host, uint16_t port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr = host;
  return SocketAddress::FromSockaddr(reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

SocketAddress Local(const in6_pktinfo& info, uint16_t port) {
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  address.sin6_addr = info.ipi6_addr;
  if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr) || IN6_IS_ADDR_MC_LINKLOCAL(&info.ipi6_addr))
    address.sin6_scope_id = info.ipi6_ifindex;
  return SocketAddress::FromSockaddr(reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

// Fills in what a control message of an IPv4 datagram tells.
void TakeIpv4(const cmsghdr* c, uint16_t port, SocketAddress& local, ReceivedDatagram& datagram) {
  switch (c->cmsg_type) {
#ifdef IP_PKTINFO
    case IP_PKTINFO: {
      in_pktinfo info;
      std::memcpy(&info, CMSG_DATA(c), sizeof(info));
      local = Local(info.ipi_addr, port);
      datagram.local = &local;
      datagram.interface = static_cast<uint32_t>(info.ipi_ifindex);
      return;
    }
#else
    case IP_RECVDSTADDR: {
      in_addr host;
      std::memcpy(&host, CMSG_DATA(c), sizeof(host));
      local = Local(host, port);
      datagram.local = &local;
      return;
    }
#endif
#ifdef __linux__
    case IP_TTL:
#else
    case IP_RECVTTL:
#endif
      datagram.ttl = static_cast<int16_t>(Number(c));
      return;
#ifdef __linux__
    case IP_TOS:
#else
    case IP_RECVTOS:
#endif
      datagram.ecn = static_cast<uint8_t>(Number(c) & 3);
      return;
  }
}

void TakeIpv6(const cmsghdr* c, uint16_t port, SocketAddress& local, ReceivedDatagram& datagram) {
  switch (c->cmsg_type) {
    case IPV6_PKTINFO: {
      in6_pktinfo info;
      std::memcpy(&info, CMSG_DATA(c), sizeof(info));
      local = Local(info, port);
      datagram.local = &local;
      datagram.interface = static_cast<uint32_t>(info.ipi6_ifindex);
      return;
    }
    case IPV6_HOPLIMIT:
      datagram.ttl = static_cast<int16_t>(Number(c));
      return;
    case IPV6_TCLASS:
      datagram.ecn = static_cast<uint8_t>(Number(c) & 3);
      return;
  }
}

// Writes the control messages of one message that is to leave.
class ControlWriter {
 public:
  ControlWriter(msghdr& header, Control& control) : header_(header), control_(control) {
    header_.msg_control = nullptr;
    header_.msg_controllen = 0;
  }
  template <typename T>
  void Add(int level, int type, const T& value) {
    auto* const c = reinterpret_cast<cmsghdr*>(control_.bytes + header_.msg_controllen);
    std::memset(c, 0, CMSG_SPACE(sizeof(T)));
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(sizeof(T));
    std::memcpy(CMSG_DATA(c), &value, sizeof(T));
    header_.msg_control = control_.bytes;
    header_.msg_controllen += CMSG_SPACE(sizeof(T));
  }

 private:
  msghdr& header_;
  Control& control_;
};

void AddSource(ControlWriter& to, const SocketAddress& source) {
  if (source.family() == SocketAddress::Family::kIpv6) {
    in6_pktinfo info = {};
    info.ipi6_addr = reinterpret_cast<const sockaddr_in6*>(source.data())->sin6_addr;
    to.Add(IPPROTO_IPV6, IPV6_PKTINFO, info);
  } else if (source.family() == SocketAddress::Family::kIpv4) {
    const in_addr host = reinterpret_cast<const sockaddr_in*>(source.data())->sin_addr;
#ifdef IP_PKTINFO
    in_pktinfo info = {};
    info.ipi_spec_dst = host;
    to.Add(IPPROTO_IP, IP_PKTINFO, info);
#else
    to.Add(IPPROTO_IP, IP_SENDSRCADDR, host);
#endif
  }
}

// What is set is the whole octet. A connected socket's peer is not known here: it gets both, of
// which the system takes its own.
void AddEcn(ControlWriter& to, const OutgoingDatagram& datagram, uint8_t dscp) {
  using Family = SocketAddress::Family;
  const int tos = dscp | (datagram.options.ecn & 3);
  const Family family =
      datagram.peer != nullptr ? datagram.peer->Unmapped().family() : Family::kNone;
  if (family != Family::kIpv6) to.Add(IPPROTO_IP, IP_TOS, tos);
  if (family != Family::kIpv4) to.Add(IPPROTO_IPV6, IPV6_TCLASS, tos);
}

bool Same(const SocketAddress* a, const SocketAddress* b) {
  return a == b || (a != nullptr && b != nullptr && *a == *b);
}

// Whether `next` may leave in one message with `first`, but for the sizes.
bool GoTogether(const OutgoingDatagram& first, const OutgoingDatagram& next) {
  return Same(first.peer, next.peer) && first.options.ecn == next.options.ecn &&
         Same(first.options.source, next.options.source);
}

// What is said to a run that a single datagram might pass: it is too large for the way to the peer,
// or (EIO) there is a device on it that cannot split.
bool RefusesRuns(int error) { return error == EINVAL || error == EMSGSIZE || error == EIO; }

// Whether a send may have answered with the error of an earlier one, which TellDatagramErrors tells
// with its peer: then it has done nothing. The others no network tells.
bool MayBeOfEarlier(int error) { return error != EINVAL && error != EIO && error != EPERM; }

// How many of the datagrams, from the first, may leave as one message: all but the last are of one
// size, and the last is not longer.
size_t RunLength(absl::Span<const OutgoingDatagram> datagrams, size_t segment_limit) {
  const OutgoingDatagram& first = datagrams[0];
  const size_t size = first.bytes.size();
  if (size == 0 || size > segment_limit) return 1;
  const size_t most = std::min({datagrams.size(), kSegments, kMaxDatagramBytes / size});
  size_t length = 1;
  while (length < most && datagrams[length].bytes.size() == size &&
         GoTogether(first, datagrams[length]))
    ++length;
  if (length < most && !datagrams[length].bytes.empty() && datagrams[length].bytes.size() < size &&
      GoTogether(first, datagrams[length]))
    ++length;
  return length;
}

// Writes one message of a run, and its pieces from `piece` on; returns the end of those.
iovec* WriteMessage(absl::Span<const OutgoingDatagram> run, uint8_t dscp, msghdr& header,
                    iovec* piece, Control& room) {
  const OutgoingDatagram& first = run[0];
  header = {};
  header.msg_iov = piece;
  uint8_t* end = nullptr;
  for (const OutgoingDatagram& datagram : run) {
    auto* const bytes = const_cast<uint8_t*>(datagram.bytes.data());
    // Of what was joined and goes back, all is one piece.
    if (bytes == end && bytes != nullptr) {
      piece[-1].iov_len += datagram.bytes.size();
    } else {
      *piece++ = {bytes, datagram.bytes.size()};
    }
    end = bytes + datagram.bytes.size();
  }
  header.msg_iovlen = static_cast<decltype(header.msg_iovlen)>(piece - header.msg_iov);
  if (first.peer != nullptr) {
    header.msg_name = const_cast<sockaddr*>(first.peer->data());
    header.msg_namelen = first.peer->length();
  }
  ControlWriter control(header, room);
#ifdef UDP_SEGMENT
  if (run.size() > 1)
    control.Add(IPPROTO_UDP, UDP_SEGMENT, static_cast<uint16_t>(first.bytes.size()));
#endif
  if (first.options.source != nullptr) AddSource(control, *first.options.source);
  if (first.options.ecn >= 0) AddEcn(control, first, dscp);
  return piece;
}

}  // namespace

struct DatagramOps::ReceiveBatch {
  ReceiveBatch() : memory(new uint8_t[kPlaces * kPlaceBytes]) {
    for (size_t i = 0; i < kPlaces; ++i) {
      pieces[i] = {memory.get() + i * kPlaceBytes, kPlaceBytes};
      messages[i] = {};
      messages[i].msg_hdr.msg_iov = &pieces[i];
      messages[i].msg_hdr.msg_iovlen = 1;
      messages[i].msg_hdr.msg_name = peers[i].room();
    }
    Prepare(kPlaces);
  }
  // Makes the first places as they were before they were received into.
  void Prepare(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      msghdr& header = messages[i].msg_hdr;
      header.msg_namelen = SocketAddress::kRoomBytes;
      header.msg_control = has_control ? controls[i].bytes : nullptr;
      header.msg_controllen = has_control ? kControlBytes : 0;
    }
  }

  std::unique_ptr<uint8_t[]> memory;
  bool has_control = true;
  std::array<Message, kPlaces> messages;
  std::array<iovec, kPlaces> pieces;
  std::array<SocketAddress, kPlaces> peers;
  std::array<SocketAddress, kPlaces> locals;
  std::array<Control, kPlaces> controls;
};

struct DatagramOps::SendBatch {
  std::array<Message, kMessages> messages;
  std::array<size_t, kMessages> datagrams;  // in each message
  std::array<iovec, kMessages> pieces;
  std::array<Control, kMessages> controls;
};

DatagramOps::DatagramOps(Calls calls) : calls_(calls) {}
DatagramOps::~DatagramOps() = default;

void DatagramOps::Add(int fd, const DatagramOptions& options) {
  State state;
  state.max_bytes = options.max_datagram_bytes;
  state.places = kPlaces;
  state.port = LocalAddressOf(fd).port();
  state.dscp = options.tos & 0xFC;
  bool joins = false;
#ifdef UDP_GRO
  joins = options.offload;
#endif
#ifdef UDP_SEGMENT
  // A kernel that knows the option has it at 0.
  int size = 0;
  socklen_t length = sizeof(size);
  const bool splits =
      options.offload && getsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, &length) == 0;
  state.segment_limit = splits ? kMaxDatagramBytes : 0;
#else
  state.segment_limit = 0;
#endif
  state.wants_control =
      joins || options.receive_local || options.receive_ecn || options.receive_ttl;
  sockets_[fd] = state;
}

int DatagramOps::ReceiveMessages(int fd, const State& state) {
  std::array<Message, kPlaces>& messages = receive_->messages;
#ifdef __linux__
  if (calls_ == Calls::kBatched)
    return recvmmsg(fd, messages.data(), static_cast<unsigned>(state.places), 0, nullptr);
#endif
  for (size_t i = 0; i < state.places; ++i) {
    const ssize_t n = recvmsg(fd, &messages[i].msg_hdr, 0);
    if (n < 0) return i == 0 ? -1 : static_cast<int>(i);
    messages[i].msg_len = static_cast<unsigned>(n);
  }
  return static_cast<int>(state.places);
}

absl::Span<const ReceivedDatagram> DatagramOps::Receive(int fd, int& error) {
  if (receive_ == nullptr) receive_ = std::make_unique<ReceiveBatch>();
  State& state = sockets_.find(fd)->second;
  if (receive_->has_control != state.wants_control) {
    receive_->has_control = state.wants_control;
    receive_->Prepare(kPlaces);
  }
  received_.clear();
  const int count = ReceiveMessages(fd, state);
  if (count <= 0) {
    error = errno;
    return {};
  }
  error = static_cast<size_t>(count) < state.places ? EAGAIN : 0;
  size_t bytes = 0;
  for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
    bytes += receive_->messages[i].msg_len;
    Unpack(state, i);
  }
  receive_->Prepare(static_cast<size_t>(count));
  if (bytes > kBatchBytes) {
    state.places = std::max(state.places / 2, kFewestPlaces);
  } else if (static_cast<size_t>(count) == state.places && bytes <= kBatchBytes / 2) {
    state.places = std::min(state.places * 2, kPlaces);
  }
  return received_;
}

// Fills in what is told of a datagram, and returns the size of those that are joined in it; 0:
// none.
size_t DatagramOps::TakeControl(const State& state, size_t place, ReceivedDatagram& datagram) {
  msghdr& header = receive_->messages[place].msg_hdr;
  SocketAddress& local = receive_->locals[place];
  size_t segment = 0;
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level == IPPROTO_IP) TakeIpv4(c, state.port, local, datagram);
    if (c->cmsg_level == IPPROTO_IPV6) TakeIpv6(c, state.port, local, datagram);
#ifdef UDP_GRO
    if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
      segment = static_cast<size_t>(std::max(Number(c), 0));
#endif
  }
  return segment;
}

// Adds what lies in one place to those that are received: one datagram, or several of one size that
// the system has joined.
void DatagramOps::Unpack(const State& state, size_t place) {
  const Message& message = receive_->messages[place];
  SocketAddress& peer = receive_->peers[place];
  peer.SetLength(message.msg_hdr.msg_namelen);
  ReceivedDatagram datagram = {.bytes = {}, .peer = &peer};
  const size_t size = message.msg_len;
  size_t segment = 0;
  if (message.msg_hdr.msg_controllen != 0) segment = TakeControl(state, place, datagram);
  if (segment == 0) segment = size;
  if (ABSL_PREDICT_FALSE(size > segment * kMostJoined)) return;
  uint8_t* const bytes = receive_->memory.get() + place * kPlaceBytes;
  size_t offset = 0;
  do {
    const size_t piece = std::min(segment, size - offset);
    datagram.bytes = {bytes + offset, std::min(piece, state.max_bytes)};
    datagram.truncated = piece > state.max_bytes;
    received_.push_back(datagram);
    offset += piece;
  } while (offset < size);
}

// Writes messages for the datagrams, of which those up to `segment_limit` may leave in runs, as
// many as there is room for; returns how many messages.
size_t DatagramOps::WriteMessages(absl::Span<const OutgoingDatagram> datagrams,
                                  size_t segment_limit, uint8_t dscp) {
  datagrams = datagrams.first(std::min(datagrams.size(), kMessages));
  size_t count = 0;
  iovec* piece = send_->pieces.data();
  while (!datagrams.empty()) {
    const size_t length = RunLength(datagrams, segment_limit);
    piece = WriteMessage(datagrams.first(length), dscp, send_->messages[count].msg_hdr, piece,
                         send_->controls[count]);
    send_->datagrams[count++] = length;
    datagrams.remove_prefix(length);
  }
  return count;
}

int DatagramOps::SendMessages(int fd, size_t first, size_t end) {
  Message* const messages = send_->messages.data();
#ifdef __linux__
  if (calls_ == Calls::kBatched)
    return sendmmsg(fd, messages + first, static_cast<unsigned>(end - first), 0);
#endif
  int sent = 0;
  for (; first < end && sendmsg(fd, &messages[first].msg_hdr, 0) >= 0; ++first) ++sent;
  return sent != 0 ? sent : -1;
}

DatagramsSent DatagramOps::Send(int fd, absl::Span<const OutgoingDatagram> datagrams) {
  if (send_ == nullptr) send_ = std::make_unique<SendBatch>();
  State& state = sockets_.find(fd)->second;
  size_t segment_limit = state.segment_limit;
  size_t taken = 0;
  size_t next = 0, end = 0;  // of the messages, those that are yet to be sent
  bool again = false;
  while (taken < datagrams.size()) {
    if (next == end) {
      next = 0;
      end = WriteMessages(datagrams.subspan(taken), segment_limit, state.dscp);
    }
    const int sent = SendMessages(fd, next, end);
    if (ABSL_PREDICT_TRUE(sent > 0)) {
      for (int i = 0; i < sent; ++i) taken += send_->datagrams[next++];
      again = false;
      continue;
    }
    const int error = errno;
    if (error == EINTR) continue;
    if (error == EAGAIN) return {taken, EAGAIN};
    if (MayBeOfEarlier(error) && !std::exchange(again, true)) continue;
    if (send_->datagrams[next] == 1 || !RefusesRuns(error)) return {taken, error};
    // One way that is too small says nothing of other peers', nor of later.
    if (error == EIO) state.segment_limit = 0;
    segment_limit = std::min(state.segment_limit, datagrams[taken].bytes.size() - 1);
    again = false;
    next = end;
  }
  return {taken, 0};
}

}  // namespace sluice::internal
