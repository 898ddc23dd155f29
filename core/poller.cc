#include "sluice/core/poller.h"

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "sluice/core/datagram.h"

namespace sluice {
namespace {

absl::Status NoDatagrams(const Poller& poller) {
  return absl::UnimplementedError(absl::StrCat("poller ", poller.name(), ": it has no datagrams"));
}

}  // namespace

absl::string_view PollerKindName(PollerKind kind) {
  switch (kind) {
    case PollerKind::kAuto:
      return "auto";
    case PollerKind::kEpoll:
      return "epoll";
    case PollerKind::kIoUring:
      return "io_uring";
    case PollerKind::kKqueue:
      return "kqueue";
  }
  return "";
}

Poller::Accepted::~Accepted() {
  if (handle_ >= 0) poller_->CloseAccepted(handle_);
}

absl::Status Poller::OpenDatagrams(Socket&, const SocketAddress&, const DatagramOptions&) {
  return NoDatagrams(*this);
}

absl::Status Poller::ConnectDatagrams(Socket&, const SocketAddress&) { return NoDatagrams(*this); }

DatagramsSent Poller::SendDatagrams(Socket&, absl::Span<const OutgoingDatagram>) {
  return {0, ENOTSUP};
}

absl::Status Poller::JoinGroup(Socket&, const MulticastGroup&) { return NoDatagrams(*this); }

absl::Status Poller::LeaveGroup(Socket&, const MulticastGroup&) { return NoDatagrams(*this); }

int Poller::SendPipe(Socket&, internal::Pipe&) { return ENOSYS; }

bool Poller::RefusesPipes(int error) {
  return error == EINVAL || error == ENOSYS || error == EPERM || error == EOPNOTSUPP ||
         error == ENOMEM;
}

}  // namespace sluice
