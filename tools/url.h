// ParseUrl reads what `sluice bench` and `sluice cat` connect to. The schemes are the protocols
// that the tool was built with.
//
//   tcp://127.0.0.1:9000                an address and a port
//   tcp://example.com:9000              a name and a port
//   ws://localhost/chat?room=1          and a target, where the protocol has one
//   unix:///run/echo.sock               a Unix socket's path; short for tcp+unix://
//   frame+unix:///run/echo.sock
//   ws+unix:///run/echo.sock:/chat      with a target, after a colon
//   unix://@name                        a name in Linux's abstract name space
//   udp://127.0.0.1:9000                datagrams
//   wss://127.0.0.1/, tls://, frames://  the same over TLS, where the tool has it; tls+unix:///...
//
// A host is an address, or a name, which whoever connects looks up. A Unix path is taken as it is
// written; nothing is percent-decoded.
//
// Thread-safe.
#ifndef SLUICE_TOOLS_URL_H_
#define SLUICE_TOOLS_URL_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/dialer.h"
#include "sluice/core/socket_address.h"

namespace sluice::tools {

struct UrlScheme {
  std::string name;           // "ws"
  uint16_t default_port = 0;  // 0: the port must be given
  bool has_target = false;    // whether a path and a query may follow
  bool encrypted = false;
  bool has_unix = true;  // whether it is spoken over Unix sockets, too
};

// UDP's, which is no protocol of streams: the commands have a part of their own for it.
inline constexpr absl::string_view kUdp = "udp";
UrlScheme UdpScheme();

struct Url {
  std::string scheme;  // one of those that were accepted, without "+unix"
  bool encrypted = false;
  Endpoint endpoint;          // {"localhost", 0} over a Unix socket
  SocketAddress unix_socket;  // none where a host is connected to
  std::string
      authority;  // host and port as they were written: HTTP's Host. "localhost" over a Unix socket
  std::string target = "/";  // "/chat?room=1"; "/" where none was written
};

// Errors: kInvalidArgument, which says what is accepted.
absl::StatusOr<Url> ParseUrl(absl::string_view text, absl::Span<const UrlScheme> schemes);

// What ParseUrl accepts: "tcp://HOST:PORT, ...".
std::string AcceptedUrls(absl::Span<const UrlScheme> schemes);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_URL_H_
