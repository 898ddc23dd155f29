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
#include "sluice/tools/encryption.h"
#include "sluice/tools/process_limits.h"
#include "sluice/tools/server_flags.h"
#include "sluice/tools/serving.h"
#include "sluice/tools/shared_flags.h"
#include "sluice/tools/stream_server.h"
#include "sluice/tools/udp_echo_server.h"
#include "sluice/tools/url.h"

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

std::string TotalsLine(const UdpEchoTotals& totals) {
  return absl::StrCat("totals: datagrams=", totals.datagrams, " bytes=", totals.bytes,
                      " unread=", totals.unread, " unsent=", totals.unsent,
                      " errors=", totals.errors);
}

// As --protocol and --codec say.
absl::StatusOr<std::shared_ptr<const Protocol>> ReadProtocol(const ProtocolTable& protocols) {
  const std::string name = absl::GetFlag(FLAGS_protocol);
  std::shared_ptr<const Protocol> protocol = protocols.FindByName(name);
  if (protocol == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("--protocol=", name, ": --protocol takes one of ",
                     absl::StrJoin(protocols.names(), ", "), ", ", kUdp));
  }
  return WithCodecFlag(std::move(protocol));
}

// What is of connections means nothing.
absl::StatusOr<UdpEchoServer::Options> ReadUdpFlags(const Encryption* encryption) {
  std::vector<std::string> flags = {"codec",
                                    "deflate",
                                    "max_message_bytes",
                                    "idle_timeout",
                                    "max_connections",
                                    "own_descriptor_tables",
                                    "proxy_protocol_in"};
  if (encryption != nullptr) {
    const std::vector<std::string> more = encryption->server_flags();
    flags.insert(flags.end(), more.begin(), more.end());
  }
  if (absl::Status status = RefuseFlags(flags, "--protocol=udp"); !status.ok()) return status;
  const absl::StatusOr<StreamServer::Options> options = ReadServerFlags(nullptr, "");
  if (!options.ok()) return options.status();
  if (!options->listen.is_ip()) {
    return absl::InvalidArgumentError(
        "--listen: UDP has no Unix sockets; accepted are 127.0.0.1:9000, [::1]:9000 and *:9000");
  }
  return UdpEchoServer::Options{.listen = options->listen,
                                .poller = options->poller,
                                .threads = options->threads,
                                .busy_poll = options->busy_poll,
                                .reuse_port = options->reuse_port};
}

int RunUdpEcho(const ProtocolTable& protocols, const Invocation& invocation) {
  const absl::StatusOr<UdpEchoServer::Options> options = ReadUdpFlags(protocols.encryption());
  if (!options.ok()) return invocation.BadUsage(options.status().message());
  const absl::StatusOr<std::unique_ptr<UdpEchoServer>> server = UdpEchoServer::Start(*options);
  if (!server.ok()) return invocation.Failure(server.status().message());
  UdpEchoTotals totals;
  Serve((*server)->loop(), (*server)->address(),
        {.stop = [&] { totals = (*server)->Stop(DrainTimeout()); }});
  std::printf("%s\n", TotalsLine(totals).c_str());
  return kSuccess;
}

int RunEcho(const ProtocolTable& protocols, const Invocation& invocation) {
  if (absl::GetFlag(FLAGS_protocol) == kUdp) return RunUdpEcho(protocols, invocation);
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
  StreamServer& stream_server = (*server)->streams();
  EchoTotals totals;
  ServingOptions serving = {.stop = [&] { totals = (*server)->Stop(DrainTimeout()); }};
  if (options.encryption != nullptr) {
    serving.reload = [&] {
      ReplaceEncryption(stream_server, protocols.encryption()->NewServer(options.protocol->alpn()),
                        invocation);
    };
  }
  Serve(stream_server.loop(), stream_server.address(), serving);
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
          absl::StrJoin(names, ", "), ".", encrypted,
          "\n\n"
          "With --protocol=udp each datagram is sent back to where it came from. (One with a "
          "forged sender makes two such servers answer each other for ever: do not listen where "
          "strangers can send.) The totals are then of datagrams, and tell what came and found "
          "the receive buffers full (unread, as the system counts it: on Linux a run that was "
          "sent as one is one), the answers for which the send queues had no room (unsent), and "
          "those that could not be sent or did not get there (errors)."),
      .flags = WithServerFlags(protocols.encryption(),
                               {"protocol", "codec", "max_message_bytes", "deflate"}),
      .run = [&protocols](const Invocation& invocation) { return RunEcho(protocols, invocation); },
  };
}

}  // namespace sluice::tools
