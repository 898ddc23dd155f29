#include "sluice/core/internal/system_error.h"

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace sluice::internal {
namespace {

absl::StatusCode CodeOf(int error) {
  switch (error) {
    case EPIPE:
    case ECONNRESET:
    case ECONNABORTED:
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENETUNREACH:
    case ENETDOWN:
    case ENETRESET:
    case ENOTCONN:
    case EADDRNOTAVAIL:
      return absl::StatusCode::kUnavailable;
    case EADDRINUSE:
      return absl::StatusCode::kAlreadyExists;
    case ENOMEM:
    case ENOBUFS:
    case EMFILE:
    case ENFILE:
      return absl::StatusCode::kResourceExhausted;
    case EMSGSIZE:
      return absl::StatusCode::kInvalidArgument;
    case EAFNOSUPPORT:
    case EPROTONOSUPPORT:
      return absl::StatusCode::kUnimplemented;
    default:
      return absl::ErrnoToStatusCode(error);
  }
}

// The one error whose words do not tell what to do about it.
absl::string_view RemedyOf(int error) {
  return error == EMFILE
             ? " (RLIMIT_NOFILE: raise it with ulimit -n or LimitNOFILE=, or spread the "
               "connections over processes, or over threads with descriptor tables of "
               "their own)"
             : "";
}

}  // namespace

absl::Status SystemError(int error, absl::string_view operation, absl::string_view subject) {
  return absl::Status(CodeOf(error), absl::StrCat(subject, ": ", operation, ": ",
                                                  std::strerror(error), RemedyOf(error)));
}

bool IsExhaustion(int error) { return CodeOf(error) == absl::StatusCode::kResourceExhausted; }

}  // namespace sluice::internal
