// ServerContext and ClientContext are what TLS connections have in common: certificates and keys,
// trust, and choices. A context is an immutable snapshot: it is made once from its options, shared
// by any number of connections, loops and threads, and never changed. Who reloads a certificate
// makes a new context and uses it from then on; connections keep the one that they began with, and
// a new one that cannot be made is an error that leaves the old one in use.
//
// Example: a server's and a client's.
//
//   absl::StatusOr<tls::Identity> identity = tls::Identity::FromFiles("chain.pem", "key.pem");
//   tls::ServerOptions options;
//   options.identities = {*identity};
//   options.alpn = {"http/1.1"};
//   absl::StatusOr<std::shared_ptr<const tls::ServerContext>> server =
//       tls::ServerContext::Create(options);
//
//   tls::ClientOptions trusting;
//   trusting.roots = {.files = {"ca.pem"}};      // instead of the system's
//   absl::StatusOr<std::shared_ptr<const tls::ClientContext>> client =
//       tls::ClientContext::Create(trusting);
//
// What is always so: TLS 1.2 and 1.3 only, and only cipher suites with forward secrecy and an AEAD;
// key agreement by X25519, P-256 or P-384; no renegotiation, and no compression. 0-RTT data, which
// can be replayed, are neither sent nor accepted unless asked for. A client verifies its server's
// certificate, name and purpose unless told otherwise. RSA keys under 2048 bits are not accepted in
// what is verified, nor are certificates signed with MD5 or SHA-1.
//
// Errors name the file and the line of thought: kNotFound for a file that is not there,
// kInvalidArgument for what cannot be read or does not belong together.
//
// Thread-safe: contexts. Options and the rest are values.
#ifndef SLUICE_TLS_CONTEXT_H_
#define SLUICE_TLS_CONTEXT_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/tls/certificate.h"
#include "sluice/tls/private_key.h"
#include "sluice/tls/ticket_keys.h"

namespace sluice::tls {

namespace internal {
struct ContextAccess;
struct ServerData;
struct ClientData;
}  // namespace internal

enum class Version : uint8_t { kTls12, kTls13 };

// Who one says to be: a certificate, those between it and a trusted root, and its private key.
// ECDSA (P-256, P-384, P-521), RSA and Ed25519.
struct Identity {
  std::string chain = {};  // PEM, the leaf first
  std::string key = {};    // PEM, PKCS #8 or the older forms; not encrypted

  // Signs instead of `key`, which is then empty.
  std::shared_ptr<const PrivateKey> private_key = nullptr;

  // What the issuer says about the certificate's revocation (OCSP, DER), to be shown to clients
  // that want to see it. Empty for nothing.
  std::string ocsp_response = {};

  // Reads both; one file may hold both, and be named twice.
  static absl::StatusOr<Identity> FromFiles(absl::string_view chain, absl::string_view key);
};

// Certificates that are trusted to vouch for others: all that are named here. One that vouches for
// itself is trusted as itself.
struct TrustRoots {
  std::vector<std::string> files = {};    // PEM, any number in each
  std::vector<std::string> folders = {};  // all PEM files in each; whether OpenSSL's c_rehash was
                                          // there makes no difference
  std::string pem = {};
  bool system = false;  // those of the operating system

  bool empty() const { return files.empty() && folders.empty() && pem.empty() && !system; }
  static TrustRoots System() {
    TrustRoots roots;
    roots.system = true;
    return roots;
  }
};

// A last word on a peer's certificates, after everything else was found in order: an error ends the
// handshake with its message. Called on the loops' threads, on several at once.
//
// The chain is the path that was verified, from the leaf to the one that is trusted, each signed by
// the next: who pins an issuer may look for it here. What else the peer sent is not in it. Where
// nothing is verified (insecure_accept_any_certificate), it is the leaf alone.
//
// A client looks again when it resumes a session, and calls it with the certificates that the
// session began with. A server does not: a client that was let in may resume for two hours, in
// which neither the expiry of its certificate nor a new verdict is noticed.
using VerifyFunction = std::function<absl::Status(absl::Span<const Certificate> chain)>;

// Chooses from the protocols that a client offers (ALPN), which are not empty: one of them, or none
// by an empty string. An error refuses the client. Called as VerifyFunction is.
using AlpnFunction = std::function<absl::StatusOr<std::string>(
    absl::Span<const absl::string_view> offered, absl::string_view server_name)>;

// Gets lines in the format of SSLKEYLOGFILE, with which everything that was ever sent over the
// connection can be read. For debugging. Called on several threads at once.
using KeyLogFunction = std::function<void(absl::string_view line)>;

// Whether a server asks its clients for a certificate.
enum class ClientCertificates : uint8_t {
  kNone,
  kRequest,  // and goes on where there is none; one that is there must be trusted
  kRequire,
};

struct ServerOptions {
  // At least one. For a client that names a server (SNI), the first whose certificate has that name
  // and whose key the client can use; the first of all where none has it.
  std::vector<Identity> identities = {};

  // Protocols, the most preferred first. A client that offers only others is refused; one that
  // offers none goes on without.
  std::vector<std::string> alpn = {};
  // Instead of `alpn`.
  AlpnFunction choose_alpn = {};

  Version min_version = Version::kTls12;
  Version max_version = Version::kTls13;

  ClientCertificates client_certificates = ClientCertificates::kNone;
  TrustRoots client_roots = {};  // not empty unless kNone
  VerifyFunction verify = {};    // none where kNone

  // Clients may resume sessions, by tickets. The keys are of this context alone unless given. A
  // session that began with another context is resumed only where the identities of both are for
  // the same names and addresses, all in all, and client_certificates and client_roots are the
  // same: after certificates were renewed, but not by a server for other names that shares the
  // keys.
  bool session_tickets = true;
  std::shared_ptr<TicketKeys> ticket_keys = {};

  // Takes what clients that resume a session send with their first packet (0-RTT, at most 14,336
  // bytes), and hands the stream over at once, before the handshake is over. WHOEVER HAS RECORDED
  // THAT PACKET CAN SEND IT AGAIN, to this server and to all that share its ticket keys, for about
  // a minute: it is decrypted and delivered each time. So only for protocols in which it does no
  // harm to carry out the same first bytes many times, or whose handler looks at
  // TlsStream::may_be_replay(). The end of the handshake has no deadline then but the stream's own
  // (SetIdleTimeout). Needs session_tickets. Source: RFC 8446, 8 and E.5.
  bool accept_replayable_early_data = false;

  KeyLogFunction key_log = {};
};

struct ClientOptions {
  TrustRoots roots = TrustRoots::System();
  VerifyFunction verify = {};

  // Takes any certificate for any name. Who does this talks to whoever answers.
  bool insecure_accept_any_certificate = false;

  // What to show a server that asks: none, or one.
  std::vector<Identity> identity = {};

  // Protocols, the most preferred first.
  std::vector<std::string> alpn = {};

  // Sessions are kept for so many servers, to be resumed. 0 for none.
  size_t session_cache_servers = 256;

  Version min_version = Version::kTls12;
  Version max_version = Version::kTls13;

  KeyLogFunction key_log = {};
};

class ServerContext {
 public:
  static absl::StatusOr<std::shared_ptr<const ServerContext>> Create(const ServerOptions& options);
  ~ServerContext();
  ServerContext(const ServerContext&) = delete;
  ServerContext& operator=(const ServerContext&) = delete;

 private:
  friend struct internal::ContextAccess;
  explicit ServerContext(std::unique_ptr<internal::ServerData> data);
  const std::unique_ptr<internal::ServerData> data_;
};

class ClientContext {
 public:
  static absl::StatusOr<std::shared_ptr<const ClientContext>> Create(const ClientOptions& options);
  ~ClientContext();
  ClientContext(const ClientContext&) = delete;
  ClientContext& operator=(const ClientContext&) = delete;

 private:
  friend struct internal::ContextAccess;
  explicit ClientContext(std::unique_ptr<internal::ClientData> data);
  const std::unique_ptr<internal::ClientData> data_;
};

}  // namespace sluice::tls

#endif  // SLUICE_TLS_CONTEXT_H_
