#include "sluice/core/poller.h"

namespace sluice {

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

}  // namespace sluice
