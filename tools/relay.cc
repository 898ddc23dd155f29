#include "sluice/tools/relay.h"

#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/protocols/proxy/proxy_protocol.h"
#include "sluice/tools/encryption.h"
#include "sluice/tools/flag_types.h"
#include "sluice/tools/process_limits.h"
#include "sluice/tools/relay_service.h"
#include "sluice/tools/server_flags.h"
#include "sluice/tools/serving.h"
#include "sluice/tools/stream_server.h"
#include "sluice/tools/system_dialer.h"
#include "sluice/tools/url.h"

using Reserve = sluice::tools::WholeNumber<0, 1000>;
using sluice::tools::Timeout;

ABSL_FLAG(std::vector<std::string>, to, {},
          "the backends, separated by commas: example.com:8080, [::1]:8080, unix:/path");
ABSL_FLAG(bool, to_tls, false,
          "speaks TLS to the backends: their certificates must be for the host of --to (localhost "
          "for unix:), or for --tls_server_name");
ABSL_FLAG(Timeout, connect_timeout, Timeout(absl::Seconds(10)),
          "how long it may take until a connection has a backend, all tries and TLS included");
ABSL_FLAG(Reserve, pool_idle, Reserve(0),
          "each thread keeps so many connections to each backend open in reserve, for clients to "
          "come: for backends that wait for a client to speak first");
ABSL_FLAG(std::string, proxy_protocol_out, "",
          "tells each backend whose connection it gets, by a PROXY protocol header: v1 or v2");
ABSL_FLAG(Timeout, stats, Timeout(absl::InfiniteDuration()),
          "prints a line of counters to standard error this often");

namespace sluice::tools {
namespace {

using Version = proxy::ProxyHeader::Version;

absl::Status BadFlag(absl::string_view flag, absl::string_view value, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("--", flag, "=", value, ": ", why));
}

absl::StatusOr<RelayOptions::Backend> ReadBackend(const std::string& text) {
  absl::string_view path = text;
  const bool is_unix = absl::ConsumePrefix(&path, "unix:");
  const absl::StatusOr<Url> url =
      ParseUrl(absl::StrCat(is_unix ? "unix://" : "tcp://", path), {{.name = "tcp"}});
  if (!url.ok() || path.empty() || (!is_unix && url->authority != path)) {
    return BadFlag("to", text,
                   "takes HOST:PORT, [::1]:PORT or unix:/path, several separated by commas");
  }
  RelayOptions::Backend backend = {.name = text, .endpoint = url->endpoint};
  if (is_unix) backend.dialer = std::make_shared<FixedDialer>(url->unix_socket);
  return backend;
}

absl::StatusOr<std::vector<RelayOptions::Backend>> ReadBackends(const Encryption* encryption,
                                                                const Invocation& invocation) {
  const std::vector<std::string> texts = absl::GetFlag(FLAGS_to);
  if (texts.empty()) return absl::InvalidArgumentError("--to=HOST:PORT must say where to relay to");
  std::shared_ptr<const ClientEncryption> over;
  if (encryption != nullptr) {
    auto made = encryption->NewBackend(absl::GetFlag(FLAGS_to_tls));
    if (!made.ok()) return made.status();
    over = *std::move(made);
  }
  const absl::StatusOr<std::shared_ptr<const Dialer>> system = NewSystemDialer();
  if (!system.ok()) return system.status();
  std::vector<RelayOptions::Backend> backends;
  for (const std::string& text : texts) {
    absl::StatusOr<RelayOptions::Backend> backend = ReadBackend(text);
    if (!backend.ok()) return backend.status();
    if (backend->dialer == nullptr) backend->dialer = *system;
    backend->encryption = over;
    backends.push_back(*std::move(backend));
  }
  if (over != nullptr && !over->warning().empty()) invocation.Note(over->warning());
  return backends;
}

absl::StatusOr<std::optional<Version>> ReadHeaderVersion() {
  const std::string text = absl::GetFlag(FLAGS_proxy_protocol_out);
  if (text.empty()) return std::nullopt;
  if (text == "v1") return Version::k1;
  if (text == "v2") return Version::k2;
  return BadFlag("proxy_protocol_out", text, "takes v1 or v2");
}

absl::StatusOr<RelayOptions> ReadRelayFlags(const ProtocolTable& protocols,
                                            const StreamServer::Options& streams,
                                            const Invocation& invocation) {
  RelayOptions options;
  auto backends = ReadBackends(protocols.encryption(), invocation);
  if (!backends.ok()) return backends.status();
  options.backends = *std::move(backends);
  const absl::StatusOr<std::optional<Version>> header = ReadHeaderVersion();
  if (!header.ok()) return header.status();
  options.header = *header;
  options.connect_timeout = absl::GetFlag(FLAGS_connect_timeout).value();
  options.pool_idle = static_cast<size_t>(absl::GetFlag(FLAGS_pool_idle).value());
  options.forwarder.idle_timeout = streams.idle_timeout;
  // Who pauses for so long while the relay drains (or twice as long) has probably said all. Three
  // times that must fit in what StreamServer::Stop leaves of it.
  options.forwarder.drain_quiet = DrainTimeout() / 5;
  return options;
}

using Services = std::vector<std::unique_ptr<RelayService>>;  // one for each thread

RelayTotals TotalsOf(StreamServer& server, const Services& services) {
  RelayTotals totals;
  server.RunOnEach([&](EventLoop& /*loop*/, int index) {
    totals += services[static_cast<size_t>(index)]->totals();
  });
  return totals;
}

std::string StatsLine(const RelayOptions& options, const RelayTotals& totals) {
  std::string line =
      absl::StrCat("stats: connections=", totals.connections, " errors=", totals.errors);
  for (size_t i = 0; i < totals.backends.size(); ++i) {
    const Balancer::Counters& backend = totals.backends[i];
    absl::StrAppend(&line, "; ", options.backends[i].name, " open=", backend.open,
                    " total=", backend.total, " failed=", backend.failed,
                    " bytes_up=", backend.bytes_up, " bytes_down=", backend.bytes_down,
                    backend.is_out ? " out" : "");
  }
  return line;
}

std::string TotalsLine(const RelayTotals& totals, uint64_t refused) {
  Balancer::Counters all;
  for (const Balancer::Counters& backend : totals.backends) all += backend;
  return absl::StrCat("totals: connections=", totals.connections, " bytes_up=", all.bytes_up,
                      " bytes_down=", all.bytes_down, " errors=", totals.errors,
                      " refused=", refused);
}

int RunRelay(const ProtocolTable& protocols, const Invocation& invocation) {
  absl::StatusOr<StreamServer::Options> streams = ReadServerFlags(protocols.encryption(), "");
  if (!streams.ok()) return invocation.BadUsage(streams.status().message());
  absl::StatusOr<RelayOptions> options = ReadRelayFlags(protocols, *streams, invocation);
  if (!options.ok()) return invocation.BadUsage(options.status().message());
  TroubleLog log(invocation);
  streams->on_refused = options->on_trouble = [&](const absl::Status& status) { log.Add(status); };

  RaiseDescriptorLimit();
  Services services;
  std::vector<StreamServer::Service*> pointers;
  for (int i = 0; i < streams->threads; ++i) {
    services.push_back(std::make_unique<RelayService>(*options));
    pointers.push_back(services.back().get());
  }
  auto server = StreamServer::Start(*streams, pointers);
  if (!server.ok()) return invocation.Failure(server.status().message());
  ServingOptions serving = {
      .report_every = absl::GetFlag(FLAGS_stats).value(),
      .report = [&] { invocation.Note(StatsLine(*options, TotalsOf(**server, services))); },
      .stop = [&] { (*server)->Stop(DrainTimeout()); }};
  if (streams->encryption != nullptr) {
    serving.reload = [&] {
      ReplaceEncryption(**server, protocols.encryption()->NewServer(""), invocation);
    };
  }
  Serve((*server)->loop(), (*server)->address(), serving);
  std::printf("%s\n", TotalsLine(TotalsOf(**server, services), (*server)->refused()).c_str());
  return kSuccess;
}

}  // namespace

Command RelayCommand(const ProtocolTable& protocols) {
  std::vector<std::string> flags = {"to", "connect_timeout", "pool_idle", "proxy_protocol_out",
                                    "stats"};
  std::string encrypted;
  if (protocols.encryption() != nullptr) {
    flags.push_back("to_tls");
    const std::vector<std::string> more = protocols.encryption()->backend_flags();
    flags.insert(flags.end(), more.begin(), more.end());
    encrypted =
        "\n\nWith --tls_cert and --tls_key clients speak TLS, and with --to_tls backends do. On "
        "SIGHUP the files of --tls_cert and --tls_key are read again.";
  }
  return {
      .name = "relay",
      .summary = "passes connections on to one of several servers",
      .description = absl::StrCat(
          "Whatever the protocol is, bytes go both ways, as fast as the slower side takes them, "
          "until both sides have ended. Each connection goes to the backend that has the fewest. "
          "One that cannot be connected to is passed over for another, and, after ",
          Balancer::kFailuresUntilOut,
          " times in a row, left out for a while: from 1 s, doubling up to 1 min."
          "\n\nPrints `listening on ADDRESS:PORT` once it accepts. On SIGTERM and SIGINT it stops "
          "accepting, lets the connections finish (one on which nothing moves for 2/5 of "
          "--drain_timeout is closed, and what is left at its end is cut), and prints one line of "
          "totals: bytes_up are those that went to backends, refused are clients without a proper "
          "TLS handshake or PROXY protocol header.",
          encrypted),
      .flags = WithServerFlags(protocols.encryption(), std::move(flags)),
      .run = [&protocols](const Invocation& invocation) { return RunRelay(protocols, invocation); },
  };
}

}  // namespace sluice::tools
