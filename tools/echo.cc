#include "sluice/tools/echo.h"

#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "sluice/tools/codec_flag.h"
#include "sluice/tools/echo_server.h"
#include "sluice/tools/process_limits.h"
#include "sluice/tools/server_flags.h"
#include "sluice/tools/serving.h"
#include "sluice/tools/shared_flags.h"
#include "sluice/tools/stream_server.h"

ABSL_FLAG(std::string, protocol, "", "what the clients speak");

namespace sluice::tools {
namespace {

std::string TotalsLine(const EchoServer::Options& options, const EchoTotals& totals) {
  std::string line =
      absl::StrCat("totals: connections=", totals.connections,
                   options.protocol->has_messages() ? " messages=" : " pieces=", totals.messages,
                   " bytes=", totals.bytes, " errors=", totals.errors);
  if (options.encryption != nullptr || options.proxy_protocol)
    absl::StrAppend(&line, " handshake_errors=", totals.handshake_errors);
  return line;
}

// As --protocol and --codec say.
absl::StatusOr<std::shared_ptr<const Protocol>> ReadProtocol(const ProtocolTable& protocols) {
  const std::string name = absl::GetFlag(FLAGS_protocol);
  std::shared_ptr<const Protocol> protocol = protocols.FindByName(name);
  if (protocol == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--protocol=", name, ": --protocol takes one of ", absl::StrJoin(protocols.names(), ", ")));
  }
  return WithCodecFlag(std::move(protocol));
}

int RunEcho(const ProtocolTable& protocols, const Invocation& invocation) {
  EchoServer::Options options;
  const absl::StatusOr<std::shared_ptr<const Protocol>> protocol = ReadProtocol(protocols);
  if (!protocol.ok()) return invocation.BadUsage(protocol.status().message());
  options.protocol = protocol->get();
  options.compress = absl::GetFlag(FLAGS_deflate);
  if (options.compress && !options.protocol->can_compress()) {
    return invocation.BadUsage(absl::StrCat("--deflate: --protocol=", (*protocol)->name(),
                                            " does not compress; websocket does"));
  }
  options.max_message_bytes = static_cast<size_t>(absl::GetFlag(FLAGS_max_message_bytes).value());
  const absl::StatusOr<StreamServer::Options> streams =
      ReadServerFlags(protocols.encryption(), options.protocol->alpn());
  if (!streams.ok()) return invocation.BadUsage(streams.status().message());
  static_cast<StreamServer::Options&>(options) = *streams;
  TroubleLog log(invocation);
  options.on_refused = [&](const absl::Status& status) { log.Add(status); };

  RaiseDescriptorLimit();
  absl::StatusOr<std::unique_ptr<EchoServer>> server = EchoServer::Start(options);
  if (!server.ok()) return invocation.Failure(server.status().message());
  EchoTotals totals;
  ServingOptions serving = {.stop = [&] { totals = (*server)->Stop(DrainTimeout()); }};
  if (options.encryption != nullptr) {
    serving.new_encryption = [&] {
      return protocols.encryption()->NewServer(options.protocol->alpn());
    };
  }
  Serve((*server)->streams(), serving, invocation);
  std::printf("%s\n", TotalsLine(options, totals).c_str());
  return kSuccess;
}

}  // namespace

Command EchoCommand(const ProtocolTable& protocols) {
  // The first is the default.
  const std::vector<std::string> names = protocols.names();
  if (!names.empty()) absl::SetFlag(&FLAGS_protocol, names[0]);
  std::string encrypted;
  if (protocols.encryption() != nullptr) {
    encrypted =
        "\n\n"
        "With --tls_cert and --tls_key each is spoken over TLS. On SIGHUP the files are read "
        "again, "
        "for connections that come from then on; files that are not good are told on standard "
        "error, and change nothing. So are handshakes that fail, one a second at most, and the "
        "totals count them as handshake_errors.";
  }
  return {
      .name = "echo",
      .summary = "serves clients by sending back what they send",
      .description = absl::StrCat(
          "Prints `listening on ADDRESS:PORT` once it accepts. On SIGTERM and SIGINT it stops "
          "accepting, answers what has arrived, closes the connections, and prints one line of "
          "totals."
          "\n\n"
          "Protocols: ",
          absl::StrJoin(names, ", "), ".", encrypted),
      .flags = WithServerFlags(protocols.encryption(),
                               {"protocol", "codec", "max_message_bytes", "deflate"}),
      .run = [&protocols](const Invocation& invocation) { return RunEcho(protocols, invocation); },
  };
}

}  // namespace sluice::tools
