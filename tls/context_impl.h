// What is inside of contexts: for context.cc and the handshake only.
#ifndef SLUICE_TLS_CONTEXT_IMPL_H_
#define SLUICE_TLS_CONTEXT_IMPL_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "openssl/base.h"
#include "openssl/pool.h"
#include "sluice/tls/context.h"
#include "sluice/tls/loaded_identity.h"
#include "sluice/tls/private_key.h"
#include "sluice/tls/session_cache.h"
#include "sluice/tls/ticket_keys.h"
#include "sluice/tls/verify.h"

namespace sluice::tls::internal {

// What the callbacks of BoringSSL need to know of the connection that they are called for, and what
// they found out: lives while its handshake does.
struct HandshakeState {
  // Asks private_key; its answer is to be put into `signature`, and the handshake to be gone on
  // with.
  virtual void StartSigning(SignatureAlgorithm algorithm, absl::Span<const uint8_t> message) = 0;

  const PeerName* peer_name = nullptr;  // whom a client wants to talk to
  absl::Status verdict;                 // what is wrong, where BoringSSL does not know it
  const PrivateKey* private_key = nullptr;
  std::optional<absl::StatusOr<std::string>> signature;
  int signing_units = 1;      // of the identity that is shown
  bool has_verified = false;  // a chain, in this step

 protected:
  ~HandshakeState() = default;
};
void SetHandshakeState(SSL& ssl, HandshakeState* state);

// By which name the sessions of a client's connection are kept.
void SetSessionName(SSL& ssl, std::string name);

// What both kinds of context have.
struct ContextBase {
  bssl::UniquePtr<SSL_CTX> ctx;
  bssl::UniquePtr<X509_STORE> roots;  // null where the peer's certificate is not looked at
  VerifyFunction verify;
  KeyLogFunction key_log;
  std::string alpn;  // as it goes over the wire
  bool is_server = false;
  // Of the only identity:
  std::shared_ptr<const PrivateKey> private_key;
  int signing_units = 1;
};

struct ServerData : ContextBase {
  std::vector<LoadedIdentity> identities;
  absl::flat_hash_map<std::string, std::vector<size_t>> by_name;
  AlpnFunction choose_alpn;
  std::shared_ptr<TicketKeys> ticket_keys;
};

struct ClientData : ContextBase {
  mutable std::optional<SessionCache> sessions;
};

struct ContextAccess {
  static const ServerData& Of(const ServerContext& context) { return *context.data_; }
  static const ClientData& Of(const ClientContext& context) { return *context.data_; }
};

}  // namespace sluice::tls::internal

#endif  // SLUICE_TLS_CONTEXT_IMPL_H_
