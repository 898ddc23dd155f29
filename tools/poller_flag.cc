#include "sluice/tools/poller_flag.h"

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"

ABSL_FLAG(sluice::PollerKind, poller, sluice::PollerKind::kAuto,
          "the I/O engine: auto (the best that this system surely has), epoll, io_uring or kqueue");

namespace sluice {
namespace {

constexpr PollerKind kKinds[] = {PollerKind::kAuto, PollerKind::kEpoll, PollerKind::kIoUring,
                                 PollerKind::kKqueue};

}  // namespace

bool AbslParseFlag(absl::string_view text, PollerKind* kind, std::string* error) {
  for (PollerKind candidate : kKinds) {
    if (PollerKindName(candidate) == text) {
      *kind = candidate;
      return true;
    }
  }
  *error = "takes auto, epoll, io_uring or kqueue";
  return false;
}

std::string AbslUnparseFlag(PollerKind kind) { return std::string(PollerKindName(kind)); }

}  // namespace sluice
