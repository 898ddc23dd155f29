#include "sluice/tools/cat.h"

#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/tools/cat_session.h"
#include "sluice/tools/flag_types.h"
#include "sluice/tools/poller_flag.h"
#include "sluice/tools/printable.h"
#include "sluice/tools/shared_flags.h"
#include "sluice/tools/target.h"
#include "sluice/tools/udp_cat_session.h"
#include "sluice/tools/udp_target.h"
#include "sluice/tools/url.h"

ABSL_FLAG(bool, verbose, false,
          "tells on standard error what the connection is: the address, the proxy and, over TLS, "
          "version, "
          "cipher, and the server's certificates; with --deflate, whether the server compresses");

namespace sluice::tools {
namespace {

int RunUdpCat(const ProtocolTable& protocols, const Invocation& invocation) {
  const absl::StatusOr<Endpoint> endpoint =
      ReadUdpTarget(protocols, invocation, {"timeout", "max_message_bytes"});
  if (!endpoint.ok()) return invocation.BadUsage(endpoint.status().message());
  const absl::StatusOr<SocketAddress> peer = LookUp(*endpoint);
  if (!peer.ok()) return invocation.Failure(peer.status().message());
  const absl::StatusOr<std::unique_ptr<EventLoop>> loop =
      EventLoop::Create(absl::GetFlag(FLAGS_poller));
  if (!loop.ok()) return invocation.Failure(loop.status().message());
  UdpCatSession session(**loop, {.peer = *peer,
                                 .lost_after = absl::GetFlag(FLAGS_lost_after).value(),
                                 .input = STDIN_FILENO,
                                 .output = STDOUT_FILENO,
                                 .log = absl::GetFlag(FLAGS_verbose) ? invocation.err : nullptr});
  const absl::Status status = session.Run();
  return status.ok() ? kSuccess : invocation.Failure(status.message());
}

int RunCat(const ProtocolTable& protocols, const Invocation& invocation) {
  if (NamesUdp(invocation)) return RunUdpCat(protocols, invocation);
  const absl::StatusOr<Target> target = ReadTarget(protocols, invocation);
  if (!target.ok()) return invocation.BadUsage(target.status().message());
  const absl::StatusOr<std::unique_ptr<EventLoop>> loop =
      EventLoop::Create(absl::GetFlag(FLAGS_poller));
  if (!loop.ok()) return invocation.Failure(loop.status().message());

  CatSession session(
      **loop,
      {.protocol = target->protocol.get(),
       .url = target->url,
       .dialer = target->dialer,
       .encryption = target->encryption,
       .proxy = target->proxy,
       .compress = target->compress,
       .connect_timeout = absl::GetFlag(FLAGS_timeout).value(),
       .max_message_bytes = static_cast<size_t>(absl::GetFlag(FLAGS_max_message_bytes).value()),
       .input = STDIN_FILENO,
       .output = STDOUT_FILENO,
       .output_is_terminal = isatty(STDOUT_FILENO) != 0,
       .log = absl::GetFlag(FLAGS_verbose) ? invocation.err : nullptr});
  const absl::Status status = session.Run();
  // A certificate's names may be in it, which are the server's words.
  return status.ok() ? kSuccess : invocation.Failure(PrintableLine(status.message()));
}

}  // namespace

Command CatCommand(const ProtocolTable& protocols) {
  return {
      .name = "cat",
      .summary = "connects standard input and output to a server, like nc and wscat",
      .description = absl::StrCat(
          "Lines typed become messages; messages received are printed as lines, in which control "
          "characters and what is no text are escaped. Over tcp:// and unix:// (and tls://) bytes "
          "are passed on "
          "as they are, line feeds included (escaped only where they are shown on a terminal)."
          "\n\n"
          "The end of standard input ends the sending half of the connection; over ws:// (and "
          "wss://) it begins "
          "the closing handshake, once the server has answered a ping and been silent for 0.3 s "
          "(after 5 s at most); over usp:// it waits for as long a silence, and over usp-zlib:// "
          "2 s of it end the connection. What the server still sends is printed, until it ends its "
          "half too. The exit status is 0 after such an end, "
          "whichever side began it, and 1 otherwise."
          "\n\n"
          "Over udp:// a line is a datagram. When standard input has ended, what still comes is "
          "printed, until nothing has come for 0.1 s once as many datagrams have come as were "
          "sent, and for --lost_after before that. The exit status is 0 then, and 1 when the "
          "network says that nobody is there."
          "\n\n"
          "URL: ",
          AcceptedUrls(TargetSchemes(protocols)),
          "; HOST is a name, or an address (an IPv6 one in brackets)."),
      .arguments = {"URL"},
      .flags = WithClientFlags(protocols,
                               {"timeout", "lost_after", "max_message_bytes", "poller", "verbose"}),
      .run = [&protocols](const Invocation& invocation) { return RunCat(protocols, invocation); },
  };
}

}  // namespace sluice::tools
