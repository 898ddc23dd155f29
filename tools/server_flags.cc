#include "sluice/tools/server_flags.h"

#include <utility>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/socket_address.h"
#include "sluice/tools/flag_types.h"
#include "sluice/tools/poller_flag.h"
#include "sluice/tools/shared_flags.h"

using Connections = sluice::tools::WholeNumber<1, 100'000'000>;
using sluice::tools::Pause;
using sluice::tools::Timeout;

ABSL_FLAG(std::string, listen, "127.0.0.1:9000",
          "where to listen: 127.0.0.1:9000, [::1]:9000, *:9000 (all addresses), unix:/path; port 0 "
          "takes a free one");
ABSL_FLAG(Timeout, idle_timeout, Timeout(absl::Minutes(5)),
          "closes connections on which nothing has moved for this long");
ABSL_FLAG(Connections, max_connections, Connections(100'000),
          "accepts no more than this at a time; others wait in the system's queue");
ABSL_FLAG(Timeout, drain_timeout, Timeout(absl::Seconds(10)),
          "after SIGTERM or SIGINT, how long connections have to finish");
ABSL_FLAG(Pause, busy_poll, Pause(absl::ZeroDuration()),
          "how long each thread looks for more before it sleeps, once something has happened, such "
          "as 50us: saves the microseconds that waking takes, and keeps a core busy for that long");
ABSL_FLAG(bool, proxy_protocol_in, false,
          "each connection must begin with a PROXY protocol header, version 1 or 2, before TLS: "
          "for a server that only proxies can reach");
ABSL_FLAG(bool, reuse_port, false,
          "lets other processes listen on the same port and share its connections (SO_REUSEPORT)");

namespace sluice::tools {

std::vector<std::string> WithServerFlags(const Encryption* encryption,
                                         std::vector<std::string> flags) {
  flags.insert(flags.begin(), "listen");
  flags.insert(flags.end(),
               {"poller", "threads", "busy_poll", "max_connections", "idle_timeout",
                "drain_timeout", "proxy_protocol_in", "reuse_port", "own_descriptor_tables"});
  if (encryption == nullptr) return flags;
  const std::vector<std::string> more = encryption->server_flags();
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

absl::StatusOr<StreamServer::Options> ReadServerFlags(const Encryption* encryption,
                                                      const std::string& alpn) {
  StreamServer::Options options;
  const absl::StatusOr<SocketAddress> listen = SocketAddress::Parse(absl::GetFlag(FLAGS_listen));
  if (!listen.ok())
    return absl::InvalidArgumentError(absl::StrCat("--listen: ", listen.status().message()));
  options.listen = *listen;
  if (encryption != nullptr) {
    absl::StatusOr<std::shared_ptr<const ServerEncryption>> server = encryption->NewServer(alpn);
    if (!server.ok()) return server.status();
    options.encryption = *std::move(server);
  }
  options.poller = absl::GetFlag(FLAGS_poller);
  options.threads = static_cast<int>(absl::GetFlag(FLAGS_threads).value());
  options.busy_poll = absl::GetFlag(FLAGS_busy_poll).value();
  options.own_descriptor_tables = absl::GetFlag(FLAGS_own_descriptor_tables);
  options.proxy_protocol = absl::GetFlag(FLAGS_proxy_protocol_in);
  options.reuse_port = absl::GetFlag(FLAGS_reuse_port);
  options.idle_timeout = absl::GetFlag(FLAGS_idle_timeout).value();
  options.max_connections = static_cast<int>(absl::GetFlag(FLAGS_max_connections).value());
  return options;
}

absl::Duration DrainTimeout() { return absl::GetFlag(FLAGS_drain_timeout).value(); }

}  // namespace sluice::tools
