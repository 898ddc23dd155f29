// The flags that the commands which accept connections have in common: where to listen, on how many
// threads, limits, and TLS.
//
// Flags are the process's. Thread-compatible, as they are read only when a command asks.
#ifndef SLUICE_TOOLS_SERVER_FLAGS_H_
#define SLUICE_TOOLS_SERVER_FLAGS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/tools/encryption.h"
#include "sluice/tools/stream_server.h"

namespace sluice::tools {

// `flags` and these. `encryption` is the table's; null for none.
std::vector<std::string> WithServerFlags(const Encryption* encryption,
                                         std::vector<std::string> flags);

// As the flags say. `alpn` is what the application protocol is called, or empty. An error is bad
// usage.
absl::StatusOr<StreamServer::Options> ReadServerFlags(const Encryption* encryption,
                                                      const std::string& alpn);

// --drain_timeout.
absl::Duration DrainTimeout();

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_SERVER_FLAGS_H_
