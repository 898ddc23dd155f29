// The query of a request target, as HTML forms write it: "name=value&name=value", percent-encoded.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_QUERY_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_QUERY_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace sluice::websocket::internal {

// See HandshakeRequest::FindInQuery. Names are decoded before they are compared.
absl::optional<std::string> FindInQuery(absl::string_view query, absl::string_view name);

}  // namespace sluice::websocket::internal

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_QUERY_H_
