// The flags by which the commands are told about TLS, and the contexts that they ask for. A
// contradiction among them, and a file that is not what its flag says, is an error that names the
// flag and says what is accepted.
//
// Flags are the process's. Thread-compatible, as they are read only when a command asks.
#ifndef SLUICE_TOOLS_TLS_FLAGS_H_
#define SLUICE_TOOLS_TLS_FLAGS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "sluice/tls/context.h"
#include "sluice/tls/ticket_keys.h"
#include "sluice/tools/url.h"

namespace sluice::tls {

// Found by Abseil's flags next to the types.
bool AbslParseFlag(absl::string_view text, ClientCertificates* value, std::string* error);
std::string AbslUnparseFlag(ClientCertificates value);
bool AbslParseFlag(absl::string_view text, Version* value, std::string* error);
std::string AbslUnparseFlag(Version value);

}  // namespace sluice::tls

namespace sluice::tools {

std::vector<std::string> TlsServerFlagNames();
std::vector<std::string> TlsClientFlagNames();

// What a server's flags ask for.
struct TlsServerFlags {
  std::shared_ptr<const tls::ServerContext> context;  // null: no TLS
  absl::Duration handshake_timeout;
  std::string certificates;  // the files, as the flag has them
};
// `alpn` is the application protocol's name, for --tls_alpn=auto; empty for none. Contexts with the
// same keys resume each other's sessions.
absl::StatusOr<TlsServerFlags> ReadTlsServerFlags(const std::string& alpn,
                                                  std::shared_ptr<tls::TicketKeys> ticket_keys);

// What a client's flags ask for.
struct TlsClientFlags {
  std::shared_ptr<const tls::ClientContext> context;  // null: no TLS
  std::string server_name;                            // whom the server must be
  bool insecure = false;
};
absl::StatusOr<TlsClientFlags> ReadTlsClientFlags(const Url& url, const std::string& alpn);

// What a server's own connections to others may be told: a client's flags that are not a server's,
// too. None may be set unless TLS is `wanted`. The server name is empty unless it is set.
std::vector<std::string> TlsBackendFlagNames();
absl::StatusOr<TlsClientFlags> ReadTlsBackendFlags(bool wanted);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_TLS_FLAGS_H_
