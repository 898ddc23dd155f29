// TlsStream is a Stream that is encrypted and authenticated by TLS on its way over another Stream:
// over TCP, a Unix socket, a simulated connection, another TlsStream. It keeps all the promises of
// core/stream.h, so any protocol runs over it unchanged. It begins when the handshake is over:
// Accept and Connect carry that out and hand over the finished stream.
//
// Example: an echo server.
//
//   Echo echo;  // of core/stream.h
//   auto identity = *tls::Identity::FromFiles("chain.pem", "key.pem");
//   auto context = *tls::ServerContext::Create({.identities = {identity}});
//   auto listener = Listener::Listen(
//       *loop, *SocketAddress::Parse("127.0.0.1:9000"), {}, [&](std::unique_ptr<Stream> stream) {
//         tls::Accept(std::move(stream), context, {},
//                     [&](absl::StatusOr<std::unique_ptr<tls::TlsStream>> stream) {
//                       if (stream.ok()) Stream::Run(*std::move(stream), echo);
//                     });
//       });
//
// Loop-bound, as the Stream beneath is; contexts may be shared between loops.
//
// What is sent. All that is gathered in a callback, or in a turn outside of callbacks, is encrypted
// at its end into as few records as hold it, and sent in one go. Records are small (they fit a
// packet) when a connection begins or was idle for a second, so that the first bytes can be read at
// once, and of 16 KiB when it flows.
//
// The end. Close and ShutdownSend say so to the peer (close_notify). A peer that ends its side
// without having said so may have been cut short: the stream then ends with kDataLoss. What breaks
// the protocol ends it with an error that names the peer's address and what was wrong; the peer is
// told by an alert.
//
// Limits: those of the Stream (StreamLimits), of plain bytes and encrypted ones together.
#ifndef SLUICE_TLS_TLS_STREAM_H_
#define SLUICE_TLS_TLS_STREAM_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "sluice/core/stream.h"
#include "sluice/tls/certificate.h"
#include "sluice/tls/context.h"

namespace sluice::tls {

class TlsStream : public Stream {
 public:
  // What the handshake agreed on.
  virtual Version version() const = 0;
  virtual absl::string_view cipher() const = 0;  // "TLS_AES_128_GCM_SHA256"
  virtual absl::string_view group() const = 0;   // of the key agreement: "X25519"
  virtual std::string alpn() const = 0;          // empty for none

  // The server that the client has named; empty for none.
  virtual std::string server_name() const = 0;

  // Whether an earlier session went on, so that no certificates were sent.
  virtual bool resumed() const = 0;

  // As the peer sent them, leaf first. Empty where a server did not ask. Only the leaf was
  // verified: anybody can append others, so who pins an issuer does it in the VerifyFunction.
  virtual std::vector<Certificate> peer_certificates() const = 0;

  // What the server showed of its issuer's word on revocation (OCSP, DER); empty for nothing. It is
  // for the user to look at: nothing here does.
  virtual std::string ocsp_response() const = 0;

  // Of a server's stream that was handed over before its handshake was over, as the client has sent
  // early data (ServerOptions::accept_replayable_early_data). True until the client has shown that
  // it is there now; in OnReceive, whether these bytes may have been recorded and sent again.
  // Always false for all others.
  virtual bool may_be_replay() const = 0;

  // Calls the function when may_be_replay() has become false, by the loop: for a handler that would
  // rather wait with what it was asked for. At the end of the turn where it is false already; not
  // while receiving is paused, nor when the stream ends before. A second function takes the first
  // one's place.
  virtual void WhenConfirmed(absl::AnyInvocable<void()> function) = 0;
};

// "TLS 1.3".
absl::string_view VersionName(Version version);

class HandshakeGroup;

struct HandshakeOptions {
  // From now until the stream is handed over; past it, kDeadlineExceeded.
  absl::Duration timeout = absl::Seconds(10);
  // Of the stream.
  StreamLimits limits = {};
  // Whose destruction gives the handshake up.
  HandshakeGroup* group = nullptr;
  // A client's first bytes, which are sent before any others. Where a session is resumed and the
  // server allows it they leave with the first packet (0-RTT), which saves a round trip; else, and
  // where the server refuses them, when the handshake is over. WHOEVER RECORDS THEM THEN CAN SEND
  // THEM AGAIN, and the server may carry them out each time: so only what does no harm when it is
  // done twice, such as a question. Empty for none; a server has none.
  std::string replayable_early_data = {};
};

// Gets the stream, which has no handler yet; or what went wrong, with the peer's address:
//   kUnauthenticated      a certificate is not trusted: expired, of another name, of an unknown
//                         issuer, for another purpose, refused by the VerifyFunction
//   kFailedPrecondition   no version, cipher suite or protocol in common; the peer refused (its
//                         alert is named)
//   kInvalidArgument      the peer does not speak TLS, or not correctly
//   kDeadlineExceeded     not finished in time
//   kUnavailable, ...     the connection broke
// Called once, by the loop, never from inside Accept or Connect.
using HandshakeFunction = absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<TlsStream>>)>;

// The server's side of a connection.
void Accept(std::unique_ptr<Stream> stream, std::shared_ptr<const ServerContext> context,
            const HandshakeOptions& options, HandshakeFunction done);

// The client's side. `host` is whom the server's certificate must be for: a DNS name, which is also
// told to the server (SNI), or an IP address.
void Connect(std::unique_ptr<Stream> stream, std::shared_ptr<const ClientContext> context,
             absl::string_view host, const HandshakeOptions& options, HandshakeFunction done);

// The handshakes that belong to somebody: their functions refer to it, so when the group goes the
// ones under way are given up, and their functions not called.
//
//   class Server {
//     tls::HandshakeGroup handshakes_;   // {.group = &handshakes_}
//   };
//
// It must not go inside of the functions that one of its handshakes calls while it computes: a
// VerifyFunction, an AlpnFunction, a KeyLogFunction or a PrivateKey's Sign. That ends the process.
// (In a HandshakeFunction, it may.)
//
// Loop-bound, as the streams in it.
class HandshakeGroup {
 public:
  HandshakeGroup() = default;
  ~HandshakeGroup();
  HandshakeGroup(const HandshakeGroup&) = delete;
  HandshakeGroup& operator=(const HandshakeGroup&) = delete;

  // Under way now.
  size_t size() const { return size_; }

 private:
  friend class Handshake;
  class Handshake* first_ = nullptr;
  size_t size_ = 0;
};

}  // namespace sluice::tls

#endif  // SLUICE_TLS_TLS_STREAM_H_
