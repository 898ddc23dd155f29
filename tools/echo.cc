#include "sluice/tools/echo.h"

#include <cstdio>
#include <latch>
#include <memory>
#include <string>

#include "absl/flags/flag.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "sluice/core/socket_address.h"
#include "sluice/tools/echo_server.h"
#include "sluice/tools/flag_types.h"
#include "sluice/tools/poller_flag.h"
#include "sluice/tools/process_limits.h"
#include "sluice/tools/shared_flags.h"
#include "sluice/tools/signal_scope.h"

using Connections = sluice::tools::WholeNumber<1, 100'000'000>;
using sluice::tools::Timeout;

ABSL_FLAG(std::string, listen, "127.0.0.1:9000",
          "where to listen: 127.0.0.1:9000, [::1]:9000, *:9000 (all addresses), unix:/path; port 0 "
          "takes a free one");
ABSL_FLAG(std::string, protocol, "raw", "what the clients speak");
ABSL_FLAG(Timeout, idle_timeout, Timeout(absl::Minutes(5)),
          "closes connections on which nothing has moved for this long");
ABSL_FLAG(Connections, max_connections, Connections(100'000),
          "accepts no more than this at a time; others wait in the system's queue");
ABSL_FLAG(Timeout, drain_timeout, Timeout(absl::Seconds(10)),
          "after SIGTERM or SIGINT, how long connections have to finish");
ABSL_FLAG(bool, reuse_port, false,
          "lets other processes listen on the same port and share its connections (SO_REUSEPORT)");
ABSL_FLAG(bool, own_descriptor_tables, false,
          "gives each thread a table of descriptors of its own, so that each may hold as many "
          "connections as a process "
          "may (Linux; not with unix:)");

namespace sluice::tools {
namespace {

int RunEcho(const ProtocolTable& protocols, const Invocation& invocation) {
  EchoServer::Options options;
  const std::string protocol = absl::GetFlag(FLAGS_protocol);
  options.protocol = protocols.FindByName(protocol);
  if (options.protocol == nullptr) {
    return invocation.BadUsage(absl::StrCat("--protocol=", protocol, ": --protocol takes one of ",
                                            absl::StrJoin(protocols.names(), ", ")));
  }
  const absl::StatusOr<SocketAddress> listen = SocketAddress::Parse(absl::GetFlag(FLAGS_listen));
  if (!listen.ok())
    return invocation.BadUsage(absl::StrCat("--listen: ", listen.status().message()));
  options.listen = *listen;
  options.poller = absl::GetFlag(FLAGS_poller);
  options.threads = static_cast<int>(absl::GetFlag(FLAGS_threads).value());
  options.own_descriptor_tables = absl::GetFlag(FLAGS_own_descriptor_tables);
  options.reuse_port = absl::GetFlag(FLAGS_reuse_port);
  options.max_message_bytes = static_cast<size_t>(absl::GetFlag(FLAGS_max_message_bytes).value());
  options.idle_timeout = absl::GetFlag(FLAGS_idle_timeout).value();
  options.max_connections = static_cast<int>(absl::GetFlag(FLAGS_max_connections).value());

  RaiseDescriptorLimit();
  absl::StatusOr<std::unique_ptr<EchoServer>> server = EchoServer::Start(options);
  if (!server.ok()) return invocation.Failure(server.status().message());
  {
    std::latch asked_to_stop(1);
    SignalScope signals((*server)->loop(), [&] { asked_to_stop.count_down(); });
    // Not before the signals are watched: who reads this line may send one.
    std::printf("listening on %s\n", (*server)->address().ToString().c_str());
    std::fflush(stdout);
    asked_to_stop.wait();
  }

  const EchoTotals totals = (*server)->Stop(absl::GetFlag(FLAGS_drain_timeout).value());
  std::printf("%s\n",
              absl::StrCat("totals: connections=", totals.connections,
                           options.protocol->has_messages() ? " messages=" : " pieces=",
                           totals.messages, " bytes=", totals.bytes, " errors=", totals.errors)
                  .c_str());
  return kSuccess;
}

}  // namespace

Command EchoCommand(const ProtocolTable& protocols) {
  return {
      .name = "echo",
      .summary = "serves clients by sending back what they send",
      .description = absl::StrCat(
          "Prints `listening on ADDRESS:PORT` once it accepts. On SIGTERM and SIGINT it stops "
          "accepting, answers what has arrived, closes the connections, and prints one line of "
          "totals."
          "\n\n"
          "Protocols: ",
          absl::StrJoin(protocols.names(), ", "), "."),
      .flags = {"listen", "protocol", "poller", "threads", "max_message_bytes", "max_connections",
                "idle_timeout", "drain_timeout", "reuse_port", "own_descriptor_tables"},
      .run = [&protocols](const Invocation& invocation) { return RunEcho(protocols, invocation); },
  };
}

}  // namespace sluice::tools
