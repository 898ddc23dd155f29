// Error maps what BoringSSL has to say about a failure, and is the only place that does.
#ifndef SLUICE_TLS_INTERNAL_ERROR_H_
#define SLUICE_TLS_INTERNAL_ERROR_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace sluice::tls::internal {

// The Status for what is in BoringSSL's queue of errors of this thread, which is cleared. The
// message begins with `what`: whom or what it is about ("127.0.0.1:443: TLS handshake").
absl::Status TakeError(absl::string_view what);

// The Status for an alert by which the peer has refused.
absl::Status AlertError(absl::string_view what, int alert);

}  // namespace sluice::tls::internal

#endif  // SLUICE_TLS_INTERNAL_ERROR_H_
