// Names of HTTP statuses (RFC 9110 section 15), for status lines and messages.

#ifndef SLUICE_PROTOCOLS_INTERNAL_HTTP_STATUS_H_
#define SLUICE_PROTOCOLS_INTERNAL_HTTP_STATUS_H_

#include "absl/strings/string_view.h"

namespace sluice::http {

// A name for every status from 200 to 599: those that are unknown have the name of their class.
absl::string_view ReasonPhrase(int status);

}  // namespace sluice::http

#endif  // SLUICE_PROTOCOLS_INTERNAL_HTTP_STATUS_H_
