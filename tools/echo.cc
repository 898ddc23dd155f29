#include "sluice/tools/echo.h"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "sluice/core/socket_address.h"
#include "sluice/tools/codec_flag.h"
#include "sluice/tools/echo_server.h"
#include "sluice/tools/encryption.h"
#include "sluice/tools/flag_types.h"
#include "sluice/tools/poller_flag.h"
#include "sluice/tools/printable.h"
#include "sluice/tools/process_limits.h"
#include "sluice/tools/shared_flags.h"
#include "sluice/tools/signal_scope.h"

using Connections = sluice::tools::WholeNumber<1, 100'000'000>;
using sluice::tools::Timeout;

ABSL_FLAG(std::string, listen, "127.0.0.1:9000",
          "where to listen: 127.0.0.1:9000, [::1]:9000, *:9000 (all addresses), unix:/path; port 0 "
          "takes a free one");
ABSL_FLAG(std::string, protocol, "", "what the clients speak");
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

// What signals ask the server for, until it has got to it.
class Requests {
 public:
  void AskToStop() { Ask(stop_); }
  void AskToReload() { Ask(reload_); }

  // Waits. True for a reload, false to stop.
  bool AwaitReload() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return stop_ || reload_; });
    return !stop_ && std::exchange(reload_, false);
  }

 private:
  void Ask(bool& what) {
    const std::lock_guard lock(mutex_);
    what = true;
    changed_.notify_one();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stop_ = false;
  bool reload_ = false;
};

// Says why handshakes fail, once a second at most: who knocks at an open port could fill a disk
// otherwise.
class HandshakeLog {
 public:
  explicit HandshakeLog(const Invocation& invocation) : invocation_(invocation) {}

  void Add(const absl::Status& status) {
    constexpr auto kInterval = std::chrono::seconds(1);
    const std::lock_guard lock(mutex_);
    const Clock::time_point now = Clock::now();
    if (shown_at_.has_value() && now - *shown_at_ < kInterval) {
      ++skipped_;
      return;
    }
    shown_at_ = now;
    const std::string more = skipped_ == 0 ? "" : absl::StrCat(" (and ", skipped_, " before)");
    skipped_ = 0;
    invocation_.Note(absl::StrCat(PrintableLine(status.message()), more));
  }

 private:
  using Clock = std::chrono::steady_clock;

  const Invocation& invocation_;
  std::mutex mutex_;
  std::optional<Clock::time_point> shown_at_;
  uint64_t skipped_ = 0;
};

using EncryptionOr = absl::StatusOr<std::shared_ptr<const ServerEncryption>>;

EncryptionOr ReadEncryption(const ProtocolTable& protocols, const Protocol& protocol) {
  if (protocols.encryption() == nullptr) return nullptr;
  return protocols.encryption()->NewServer(protocol.alpn());
}

void Reload(const ProtocolTable& protocols, const Protocol& protocol, EchoServer& server,
            const Invocation& invocation) {
  const EncryptionOr encryption = ReadEncryption(protocols, protocol);
  if (!encryption.ok()) {
    return invocation.Note(
        absl::StrCat("not reloaded, what was there stays in use: ", encryption.status().message()));
  }
  server.SetEncryption(*encryption);
  invocation.Note(absl::StrCat("reloaded ", (*encryption)->source()));
}

// Until a signal asks for the end, and has got it.
EchoTotals Serve(const ProtocolTable& protocols, const EchoServer::Options& options,
                 EchoServer& server, const Invocation& invocation) {
  Requests requests;
  // Without TLS there is nothing to reload, and SIGHUP keeps its meaning. With it, one that comes
  // at the end must not make that a sudden one.
  std::optional<HangupScope> hangup;
  if (options.encryption != nullptr) hangup.emplace(server.loop(), [&] { requests.AskToReload(); });
  {
    SignalScope stop(server.loop(), [&] { requests.AskToStop(); });
    // Not before the signals are watched: who reads this line may send one.
    std::printf("listening on %s\n", server.address().ToString().c_str());
    std::fflush(stdout);
    while (requests.AwaitReload()) Reload(protocols, *options.protocol, server, invocation);
  }
  return server.Stop(absl::GetFlag(FLAGS_drain_timeout).value());
}

std::string TotalsLine(const EchoServer::Options& options, const EchoTotals& totals) {
  std::string line =
      absl::StrCat("totals: connections=", totals.connections,
                   options.protocol->has_messages() ? " messages=" : " pieces=", totals.messages,
                   " bytes=", totals.bytes, " errors=", totals.errors);
  if (options.encryption != nullptr)
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
  const absl::StatusOr<SocketAddress> listen = SocketAddress::Parse(absl::GetFlag(FLAGS_listen));
  if (!listen.ok())
    return invocation.BadUsage(absl::StrCat("--listen: ", listen.status().message()));
  options.listen = *listen;
  const EncryptionOr encryption = ReadEncryption(protocols, *options.protocol);
  if (!encryption.ok()) return invocation.BadUsage(encryption.status().message());
  options.encryption = *encryption;
  HandshakeLog log(invocation);
  options.on_handshake_error = [&](const absl::Status& status) { log.Add(status); };
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
  const EchoTotals totals = Serve(protocols, options, **server, invocation);
  std::printf("%s\n", TotalsLine(options, totals).c_str());
  return kSuccess;
}

}  // namespace

Command EchoCommand(const ProtocolTable& protocols) {
  // The first is the default.
  const std::vector<std::string> names = protocols.names();
  if (!names.empty()) absl::SetFlag(&FLAGS_protocol, names[0]);
  std::vector<std::string> flags = {"listen",          "protocol",     "codec",
                                    "poller",          "threads",      "max_message_bytes",
                                    "max_connections", "idle_timeout", "drain_timeout",
                                    "deflate",         "reuse_port",   "own_descriptor_tables"};
  std::string encrypted;
  if (protocols.encryption() != nullptr) {
    const std::vector<std::string> more = protocols.encryption()->server_flags();
    flags.insert(flags.end(), more.begin(), more.end());
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
      .flags = std::move(flags),
      .run = [&protocols](const Invocation& invocation) { return RunEcho(protocols, invocation); },
  };
}

}  // namespace sluice::tools
