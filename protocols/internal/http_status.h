// Names of HTTP statuses (RFC 9110 section 15), for status lines and messages.

#ifndef SLUICE_PROTOCOLS_INTERNAL_HTTP_STATUS_H_
#define SLUICE_PROTOCOLS_INTERNAL_HTTP_STATUS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace sluice::http {

// A name for every status from 200 to 599: those that are unknown have the name of their class.
absl::string_view ReasonPhrase(int status);

// What a client makes of a refusal, a status from 300 on: kPermissionDenied (401, 403, 407),
// kNotFound (404, 410), kResourceExhausted (429), kUnavailable (500 and above: worth another try),
// kFailedPrecondition (all others).
absl::StatusCode RefusalCode(int status);

}  // namespace sluice::http

#endif  // SLUICE_PROTOCOLS_INTERNAL_HTTP_STATUS_H_
