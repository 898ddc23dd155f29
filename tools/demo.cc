#include "sluice/tools/demo.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sluice/core/dialer.h"
#include "sluice/core/socket_address.h"
#include "sluice/tools/echo_server.h"
#include "sluice/tools/format.h"
#include "sluice/tools/load_flags.h"
#include "sluice/tools/load_options.h"
#include "sluice/tools/load_report.h"
#include "sluice/tools/poller_flag.h"
#include "sluice/tools/process_limits.h"
#include "sluice/tools/terminal.h"
#include "sluice/tools/url.h"

namespace sluice::tools {
namespace {

constexpr absl::Duration kDrainTimeout = absl::Seconds(5);

void Print(absl::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

absl::StatusOr<std::unique_ptr<EchoServer>> StartServer(const LoadOptions& load) {
  EchoServer::Options options;
  options.protocol = load.protocol;
  options.listen = SocketAddress::Ipv4Loopback(0);
  options.poller = load.poller;
  options.threads = load.threads;
  options.max_message_bytes = load.size.largest();
  options.max_connections = std::max(load.connections, options.max_connections);
  return EchoServer::Start(options);
}

int RunDemo(const ProtocolTable& protocols, const Invocation& invocation) {
  LoadOptions options = LoadOptionsFromFlags();
  const std::shared_ptr<const Protocol> protocol = protocols.FindByName(kDemoProtocol);
  options.protocol = protocol.get();
  options.poller = absl::GetFlag(FLAGS_poller);
  if (options.threads > options.connections) {
    return invocation.BadUsage("--threads may not be more than --connections");
  }

  RaiseDescriptorLimit();
  absl::StatusOr<std::unique_ptr<EchoServer>> server = StartServer(options);
  if (!server.ok()) return invocation.Failure(server.status().message());
  options.url.scheme = options.protocol->scheme().name;
  options.url.authority = (*server)->address().ToString();
  options.dialer = std::make_shared<FixedDialer>((*server)->address());
  const std::string url = absl::StrCat(options.url.scheme, "://", options.url.authority, "/");
  Print(absl::StrCat("A WebSocket echo server of this process listens on ", options.url.authority,
                     ", and a load is put on it for ", absl::FormatDuration(options.duration),
                     ".\n\n"));

  const absl::StatusOr<LoadResult> result = RunLoad(options);
  if (!result.ok()) return invocation.Failure(result.status().message());
  const EchoTotals served = (*server)->Stop(kDrainTimeout);
  const Terminal terminal = DetectTerminal(stdout);
  Print(LoadReport(absl::StrCat("Load on ", url), options, *result, terminal));
  Print(absl::StrCat("\nThe server saw ", FormatCount(served.connections), " connections, ",
                     FormatCount(served.messages), " messages and ", FormatCount(served.errors),
                     " errors.\n"));
  const bool complete = result->messages > 0 && served.messages == result->messages;
  return complete && result->errors.total() == 0 && served.errors == 0 ? kSuccess : kFailure;
}

}  // namespace

Command DemoCommand(const ProtocolTable& protocols) {
  std::vector<std::string> flags = LoadFlagNames();
  flags.push_back("poller");
  return {
      .name = "demo",
      .summary = "starts a WebSocket echo server, puts a load on it and draws the latencies",
      .description =
          "All in this process, over loopback; server and load have --threads threads each. The "
          "exit status is 0 only if every message came back intact.",
      .flags = std::move(flags),
      .run = [&protocols](const Invocation& invocation) { return RunDemo(protocols, invocation); },
  };
}

}  // namespace sluice::tools
