// The header Sec-WebSocket-Extensions (RFC 6455 section 9.1): what a client offers and a server
// accepts. Reading and writing its syntax; what it means is for the extension.
//
// Example:
//   absl::optional<std::vector<Extension>> offers =
//       ParseExtensions("permessage-deflate; client_max_window_bits, permessage-deflate");
//   (*offers)[0].name;                  // "permessage-deflate"
//   (*offers)[0].parameters[0].name;    // "client_max_window_bits", with no value
//
// Thread-safe: functions and values.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_EXTENSIONS_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_EXTENSIONS_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace sluice::websocket {

struct Extension {
  struct Parameter {
    std::string name;
    absl::optional<std::string> value = absl::nullopt;  // without its quotes
  };

  std::string name;
  std::vector<Parameter> parameters = {};
};

// Of one header's value, in its order; nullopt where it is malformed.
absl::optional<std::vector<Extension>> ParseExtensions(absl::string_view header);

// As it goes into a header.
std::string FormatExtension(const Extension& extension);

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_EXTENSIONS_H_
