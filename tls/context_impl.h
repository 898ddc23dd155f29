// What is inside of contexts: for context.cc and the handshake only.
#ifndef SLUICE_TLS_CONTEXT_IMPL_H_
#define SLUICE_TLS_CONTEXT_IMPL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "openssl/base.h"
#include "openssl/pool.h"
#include "sluice/tls/context.h"
#include "sluice/tls/verify.h"

namespace sluice::tls::internal {

// What the callbacks of BoringSSL need to know of the connection that they are called for, and what
// they found out: lives while its handshake does.
struct HandshakeState {
  const PeerName* peer_name = nullptr;  // whom a client wants to talk to
  absl::Status verdict;                 // on the peer's certificate
};
void SetHandshakeState(SSL& ssl, HandshakeState* state);

// An Identity, read.
struct LoadedIdentity {
  std::vector<bssl::UniquePtr<CRYPTO_BUFFER>> chain;
  bssl::UniquePtr<EVP_PKEY> key;
  std::vector<uint16_t> signature_algorithms;  // of which a client must know one
  uint32_t authentication;                     // SSL_CIPHER_get_auth_nid's, for TLS 1.2
  std::vector<std::string> names;              // in lower case, "*.example.org" among them
};

// What both kinds of context have.
struct ContextBase {
  bssl::UniquePtr<SSL_CTX> ctx;
  bssl::UniquePtr<X509_STORE> roots;  // null where the peer's certificate is not looked at
  VerifyFunction verify;
  KeyLogFunction key_log;
  std::string alpn;  // as it goes over the wire
  bool is_server = false;
};

struct ServerData : ContextBase {
  std::vector<LoadedIdentity> identities;
  absl::flat_hash_map<std::string, std::vector<size_t>> by_name;
};

struct ClientData : ContextBase {};

struct ContextAccess {
  static const ServerData& Of(const ServerContext& context) { return *context.data_; }
  static const ClientData& Of(const ClientContext& context) { return *context.data_; }
};

}  // namespace sluice::tls::internal

#endif  // SLUICE_TLS_CONTEXT_IMPL_H_
