// STARTTLS: a connection that has begun in clear goes on as TLS, as in SMTP, IMAP, LDAP or XMPP. An
// open Stream becomes a TlsStream, on the same connection. It is not the protocol's part of it, the
// command and its answer: those are said in clear, and then one of these functions is called.
//
// Example: what a server does when a client asks for it.
//
//   class Server : public StreamHandler {
//     void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override {
//       constexpr absl::string_view kCommand = "STARTTLS\r\n";
//       const absl::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
//       if (!absl::StartsWith(text, kCommand)) return stream.Close();
//       stream.Send("220 go ahead\r\n");  // leaves in clear
//       tls::AcceptStartTls(std::move(stream_), bytes.subspan(kCommand.size()), context_, {},
//                           [this](absl::StatusOr<std::unique_ptr<tls::TlsStream>> upgraded) {
//                             if (!upgraded.ok()) return;  // what came behind it, perhaps
//                             stream_ = *std::move(upgraded);
//                             stream_->SetHandler(encrypted_);
//                           });
//     }
//     std::unique_ptr<Stream> stream_;
//     ...
//   };
//
// Bytes behind the command. Somebody in between may add bytes of his own to what is sent in clear.
// What he adds behind the command must not be taken for something that the peer has said under
// TLS: that was CVE-2011-0411, in many servers at once, and works towards clients as well. So who
// calls hands over all that was received behind the command (behind its answer: a client) and not
// yet used: the rest of OnReceive's span, and what a codec holds. It must be nothing: otherwise the
// upgrade fails with kFailedPrecondition, which tells how many bytes there were, and the connection
// is closed. What has not been received by then goes to the handshake, which fails if it is no TLS.
//
// The Stream. It is owned by the caller until here: one given to its loop (Stream::Run) stays that.
// What was sent on it before leaves before the handshake, files too. From here on it has no handler
// of the user's, and ReceiveInto is cancelled. Receiving goes on if it was paused, as the handshake
// needs it; the TlsStream is not paused. Limits, idle and linger timeout of the TlsStream are those
// that the Stream had. The functions may be called inside of the Stream's callbacks.
//
// To give up, destroy the HandshakeGroup. Loop-bound, as the Stream. Errors, and when the function
// is called: HandshakeFunction.
#ifndef SLUICE_TLS_START_TLS_H_
#define SLUICE_TLS_START_TLS_H_

#include <cstdint>
#include <memory>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/core/stream.h"
#include "sluice/tls/context.h"
#include "sluice/tls/tls_stream.h"

namespace sluice::tls {

struct StartTlsOptions {
  // From now until the TlsStream is handed over; past it, kDeadlineExceeded.
  absl::Duration timeout = absl::Seconds(10);
  // Whose destruction gives the handshake up.
  HandshakeGroup* group = nullptr;
};

struct AcceptStartTlsOptions {
  absl::Duration timeout = absl::Seconds(10);
  HandshakeGroup* group = nullptr;
  // For a protocol whose clients do not wait for an answer to the command: what was received behind
  // it is the beginning of the handshake, and is handed on to that. Nothing of it reaches the user.
  bool received_is_handshake = false;
};

// The server's side. `received` is what has come behind the client's command.
void AcceptStartTls(std::unique_ptr<Stream> stream, absl::Span<const uint8_t> received,
                    std::shared_ptr<const ServerContext> context,
                    const AcceptStartTlsOptions& options, HandshakeFunction done);

// The client's side. `received` is what has come behind the server's answer, and `host` whom the
// server's certificate must be for, as in Connect.
void ConnectStartTls(std::unique_ptr<Stream> stream, absl::Span<const uint8_t> received,
                     std::shared_ptr<const ClientContext> context, absl::string_view host,
                     const StartTlsOptions& options, HandshakeFunction done);

}  // namespace sluice::tls

#endif  // SLUICE_TLS_START_TLS_H_
