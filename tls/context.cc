#include "sluice/tls/context.h"

#include <cstring>
#include <iterator>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "openssl/bytestring.h"
#include "openssl/err.h"
#include "openssl/ex_data.h"
#include "openssl/mem.h"
#include "openssl/pool.h"
#include "openssl/sha.h"
#include "openssl/ssl.h"
#include "openssl/x509.h"
#include "sluice/tls/certificate.h"
#include "sluice/tls/certificate_facts.h"
#include "sluice/tls/context_impl.h"
#include "sluice/tls/internal/error.h"
#include "sluice/tls/internal/pem.h"
#include "sluice/tls/verify.h"

namespace sluice::tls {
namespace internal {
namespace {

// TLS 1.2 suites with forward secrecy and an AEAD; those of TLS 1.3 are all so, and BoringSSL
// prefers AES where the processor has it.
constexpr char kCiphers[] =
    "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]:"
    "[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";

// The most preferred first. (CECPQ2, the post-quantum experiment of older BoringSSLs, is no
// standard and was given up.)
#ifdef SSL_GROUP_X25519_MLKEM768
constexpr char kGroups[] = "X25519MLKEM768:X25519:P-256:P-384";
#else
constexpr char kGroups[] = "X25519:P-256:P-384";
#endif

// BoringSSL's, without SHA-1 and with Ed25519, for signing and for verifying.
constexpr uint16_t kSignatureAlgorithms[] = {
    SSL_SIGN_ED25519,          SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_RSA_PSS_RSAE_SHA256,
    SSL_SIGN_RSA_PKCS1_SHA256, SSL_SIGN_ECDSA_SECP384R1_SHA384, SSL_SIGN_RSA_PSS_RSAE_SHA384,
    SSL_SIGN_RSA_PKCS1_SHA384, SSL_SIGN_ECDSA_SECP521R1_SHA512, SSL_SIGN_RSA_PSS_RSAE_SHA512,
    SSL_SIGN_RSA_PKCS1_SHA512,
};

uint16_t Wire(Version version) {
  return version == Version::kTls12 ? TLS1_2_VERSION : TLS1_3_VERSION;
}

const ContextBase& BaseOf(const SSL* ssl) {
  return *static_cast<const ContextBase*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
}

HandshakeState* StateOf(const SSL* ssl) {
  return static_cast<HandshakeState*>(SSL_get_app_data(ssl));
}

// SSL_get_error takes whatever is in the queue of errors for the handshake's own, so each callback
// that calls a user's function, which may use the library too, clears it.

// Verification.

absl::Status AskUser(const ContextBase& context, const STACK_OF(X509) & path) {
  std::vector<Certificate> certificates;
  for (size_t i = 0; i < sk_X509_num(&path); ++i) {
    absl::StatusOr<Certificate> certificate = FactsOf(*sk_X509_value(&path, i));
    if (!certificate.ok()) return certificate.status();
    certificates.push_back(*std::move(certificate));
  }
  const absl::Status verdict = context.verify(certificates);
  if (verdict.ok()) return verdict;
  return absl::UnauthenticatedError(absl::StrCat("certificate \"", certificates.front().subject,
                                                 "\" was refused: ", verdict.message()));
}

// Where nothing is verified there is no path: what the peer sent beside its own certificate is
// nobody's word.
absl::StatusOr<bssl::UniquePtr<STACK_OF(X509)>> OnlyLeaf(const STACK_OF(CRYPTO_BUFFER) & chain) {
  bssl::UniquePtr<STACK_OF(X509)> path(sk_X509_new_null());
  bssl::UniquePtr<X509> leaf = ParseX509(*sk_CRYPTO_BUFFER_value(&chain, 0));
  if (leaf == nullptr) return TakeError("certificate 1");
  bssl::PushToStack(path.get(), std::move(leaf));
  return path;
}

// For so long a client's certificate, once verified, is not asked for again. Renewed tickets do not
// make it longer.
constexpr uint32_t kClientSessionSeconds = 2 * 60 * 60;

ssl_verify_result_t Verify(SSL* ssl, uint8_t* alert) {
  const ContextBase& context = BaseOf(ssl);
  HandshakeState* const state = StateOf(ssl);
  const STACK_OF(CRYPTO_BUFFER)* const chain = SSL_get0_peer_certificates(ssl);
  if (state == nullptr || chain == nullptr) return ssl_verify_invalid;
  // Without a name, anybody's certificate would do.
  if (context.roots != nullptr && !context.is_server && state->peer_name == nullptr) {
    *alert = SSL_AD_INTERNAL_ERROR;
    state->verdict = absl::InternalError("there is no name that the certificate must be for");
    return ssl_verify_invalid;
  }
  state->has_verified = true;
  const auto path = context.roots == nullptr
                        ? OnlyLeaf(*chain)
                        : VerifyChain(*context.roots, *chain, /*server=*/!context.is_server,
                                      state->peer_name, *alert);
  state->verdict = path.status();
  if (path.ok() && context.verify) {
    *alert = SSL_AD_BAD_CERTIFICATE;
    state->verdict = AskUser(context, **path);
  }
  if (context.is_server) SSL_SESSION_set_timeout(SSL_get_session(ssl), kClientSessionSeconds);
  ERR_clear_error();
  return state->verdict.ok() ? ssl_verify_ok : ssl_verify_invalid;
}

// Protocols of the application.

absl::StatusOr<std::string> WireAlpn(const std::vector<std::string>& protocols) {
  std::string wire;
  for (const std::string& protocol : protocols) {
    if (protocol.empty() || protocol.size() > 255) {
      return absl::InvalidArgumentError(absl::StrCat("application protocol (ALPN) \"", protocol,
                                                     "\": it may have 1 to 255 bytes"));
    }
    wire.push_back(static_cast<char>(protocol.size()));
    wire += protocol;
  }
  return wire;
}

// The server's preference decides.
int SelectAlpn(SSL* ssl, const uint8_t** out, uint8_t* out_size, const uint8_t* offered,
               unsigned offered_size, void*) {
  const std::string& ours = BaseOf(ssl).alpn;
  const auto* const bytes = reinterpret_cast<const uint8_t*>(ours.data());
  uint8_t* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, bytes, static_cast<unsigned>(ours.size()), offered,
                            offered_size) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

// The user's function decides.
int AskForAlpn(SSL* ssl, const uint8_t** out, uint8_t* out_size, const uint8_t* offered,
               unsigned offered_size, void*) {
  std::vector<absl::string_view> names;
  CBS list, name;
  CBS_init(&list, offered, offered_size);
  while (CBS_get_u8_length_prefixed(&list, &name) == 1)
    names.emplace_back(reinterpret_cast<const char*>(CBS_data(&name)), CBS_len(&name));
  const char* const server = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  const absl::StatusOr<std::string> chosen =
      static_cast<const ServerData&>(BaseOf(ssl))
          .choose_alpn(names, server == nullptr ? "" : server);
  ERR_clear_error();
  HandshakeState* const state = StateOf(ssl);
  if (!chosen.ok() && state != nullptr) {
    state->verdict = absl::FailedPreconditionError(
        absl::StrCat("no application protocol (ALPN): ", chosen.status().message()));
  }
  if (!chosen.ok()) return SSL_TLSEXT_ERR_ALERT_FATAL;
  if (chosen->empty()) return SSL_TLSEXT_ERR_NOACK;
  for (const absl::string_view candidate : names) {
    if (candidate != *chosen) continue;
    *out = reinterpret_cast<const uint8_t*>(candidate.data());
    *out_size = static_cast<uint8_t>(candidate.size());
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

void LogKey(const SSL* ssl, const char* line) {
  BaseOf(ssl).key_log(line);
  ERR_clear_error();
}

// Sessions.

const TicketKeys& TicketKeysOf(const SSL* ssl) {
  return *static_cast<const ServerData&>(BaseOf(ssl)).ticket_keys;
}

size_t TicketOverhead(SSL*) { return TicketKeys::kOverhead; }

int SealTicket(SSL* ssl, uint8_t* out, size_t* out_size, size_t max_size, const uint8_t* ticket,
               size_t size) {
  *out_size = TicketKeysOf(ssl).Seal({ticket, size}, {out, max_size});
  return *out_size != 0 ? 1 : 0;
}

ssl_ticket_aead_result_t OpenTicket(SSL* ssl, uint8_t* out, size_t* out_size, size_t max_size,
                                    const uint8_t* sealed, size_t size) {
  return TicketKeysOf(ssl).Open({sealed, size}, {out, max_size}, *out_size)
             ? ssl_ticket_aead_success
             : ssl_ticket_aead_ignore_ticket;
}

constexpr SSL_TICKET_AEAD_METHOD kTickets = {&TicketOverhead, &SealTicket, &OpenTicket};

int SessionNameIndex() {
  static const int index =
      SSL_get_ex_new_index(0, nullptr, nullptr, nullptr,
                           [](void*, void* name, CRYPTO_EX_DATA*, int, long, void*) {  // NOLINT
                             delete static_cast<std::string*>(name);
                           });
  return index;
}

int KeepSession(SSL* ssl, SSL_SESSION* session) {
  const auto* const name =
      static_cast<const std::string*>(SSL_get_ex_data(ssl, SessionNameIndex()));
  const auto& context = static_cast<const ClientData&>(BaseOf(ssl));
  if (name == nullptr || !context.sessions.has_value()) return 0;
  context.sessions->Put(*name, bssl::UniquePtr<SSL_SESSION>(session));
  return 1;
}

// Private keys of the user's.

ssl_private_key_result_t StartSigning(SSL* ssl, uint8_t*, size_t*, size_t, uint16_t algorithm,
                                      const uint8_t* message, size_t size) {
  HandshakeState* const state = StateOf(ssl);
  if (state == nullptr || state->private_key == nullptr) return ssl_private_key_failure;
  state->StartSigning(static_cast<SignatureAlgorithm>(algorithm), {message, size});
  ERR_clear_error();
  return ssl_private_key_retry;
}

// Only for the key exchange of RSA, which has no forward secrecy and is not offered.
ssl_private_key_result_t RefuseToDecrypt(SSL*, uint8_t*, size_t*, size_t, const uint8_t*, size_t) {
  return ssl_private_key_failure;
}

ssl_private_key_result_t CompleteSigning(SSL* ssl, uint8_t* out, size_t* out_size,
                                         size_t max_size) {
  HandshakeState* const state = StateOf(ssl);
  if (state == nullptr) return ssl_private_key_failure;
  if (!state->signature.has_value()) return ssl_private_key_retry;
  const absl::StatusOr<std::string> signature = *std::exchange(state->signature, std::nullopt);
  if (!signature.ok()) {
    state->verdict = absl::Status(
        signature.status().code(),
        absl::StrCat("the private key could not be used: ", signature.status().message()));
    return ssl_private_key_failure;
  }
  if (signature->size() > max_size) {
    state->verdict =
        absl::InternalError(absl::StrCat("the private key's signature has ", signature->size(),
                                         " bytes; at most ", max_size, " are possible"));
    return ssl_private_key_failure;
  }
  std::memcpy(out, signature->data(), signature->size());
  *out_size = signature->size();
  return ssl_private_key_success;
}

constexpr SSL_PRIVATE_KEY_METHOD kPrivateKeyMethod = {&StartSigning, &RefuseToDecrypt,
                                                      &CompleteSigning};

// Identities.

std::vector<CRYPTO_BUFFER*> Pointers(const LoadedIdentity& identity) {
  std::vector<CRYPTO_BUFFER*> chain;
  for (const auto& certificate : identity.chain) chain.push_back(certificate.get());
  return chain;
}

const SSL_PRIVATE_KEY_METHOD* MethodOf(const LoadedIdentity& identity) {
  return identity.private_key != nullptr ? &kPrivateKeyMethod : nullptr;
}

const uint8_t* OcspOf(const LoadedIdentity& identity) {
  return reinterpret_cast<const uint8_t*>(identity.ocsp_response.data());
}

// What the issuer says is set here for an only identity: of several, each connection's is chosen,
// and would keep the word about another where it has none of its own.
absl::Status UseInContext(ContextBase& context, const LoadedIdentity& identity, bool only) {
  SSL_CTX* const ctx = context.ctx.get();
  const std::vector<CRYPTO_BUFFER*> chain = Pointers(identity);
  context.private_key = identity.private_key;
  context.signing_units = identity.signing_units;
  const size_t ocsp_size = identity.ocsp_response.size();
  if (SSL_CTX_set_chain_and_key(ctx, chain.data(), chain.size(), identity.key.get(),
                                MethodOf(identity)) != 1 ||
      (only && ocsp_size != 0 &&
       SSL_CTX_set_ocsp_response(ctx, OcspOf(identity), ocsp_size) != 1)) {
    return TakeError("certificate");
  }
  return absl::OkStatus();
}

bool UseInConnection(SSL& ssl, const LoadedIdentity& identity) {
  const std::vector<CRYPTO_BUFFER*> chain = Pointers(identity);
  if (HandshakeState* const state = StateOf(&ssl)) {
    state->private_key = identity.private_key.get();
    state->signing_units = identity.signing_units;
  }
  const size_t ocsp_size = identity.ocsp_response.size();
  return SSL_set_chain_and_key(&ssl, chain.data(), chain.size(), identity.key.get(),
                               MethodOf(identity)) == 1 &&
         (ocsp_size == 0 || SSL_set_ocsp_response(&ssl, OcspOf(identity), ocsp_size) == 1);
}

// Which identity.

// The identities for a name, in their order; none for a name that none has.
absl::Span<const size_t> Candidates(const ServerData& context, absl::string_view name) {
  const std::string lower = absl::AsciiStrToLower(name);
  auto found = context.by_name.find(lower);
  const size_t dot = lower.find('.');
  if (found == context.by_name.end() && dot != std::string::npos)
    found = context.by_name.find("*" + lower.substr(dot));
  if (found == context.by_name.end()) return {};
  return found->second;
}

const LoadedIdentity& Choose(const ServerData& context, const SSL_CLIENT_HELLO& hello) {
  const char* const name = SSL_get_servername(hello.ssl, TLSEXT_NAMETYPE_host_name);
  if (name != nullptr) {
    for (const size_t candidate : Candidates(context, name)) {
      if (context.identities[candidate].FitsClient(hello)) return context.identities[candidate];
    }
  }
  for (const LoadedIdentity& identity : context.identities) {
    if (identity.FitsClient(hello)) return identity;
  }
  return context.identities.front();
}

ssl_select_cert_result_t SelectIdentity(const SSL_CLIENT_HELLO* hello) {
  const auto& context = static_cast<const ServerData&>(BaseOf(hello->ssl));
  return UseInConnection(*hello->ssl, Choose(context, *hello)) ? ssl_select_cert_success
                                                               : ssl_select_cert_error;
}

// What both kinds of context set.

absl::Status Prepare(ContextBase& context, Version min, Version max) {
  if (min > max) {
    return absl::InvalidArgumentError("min_version is above max_version");
  }
  context.ctx.reset(SSL_CTX_new(TLS_with_buffers_method()));
  SSL_CTX* const ctx = context.ctx.get();
  if (ctx == nullptr) return TakeError("TLS context");
  SSL_CTX_set_app_data(ctx, &context);
  SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  const bool done = SSL_CTX_set_min_proto_version(ctx, Wire(min)) == 1 &&
                    SSL_CTX_set_max_proto_version(ctx, Wire(max)) == 1 &&
                    SSL_CTX_set_strict_cipher_list(ctx, kCiphers) == 1 &&
                    SSL_CTX_set1_curves_list(ctx, kGroups) == 1 &&
                    SSL_CTX_set_signing_algorithm_prefs(ctx, kSignatureAlgorithms,
                                                        std::size(kSignatureAlgorithms)) == 1 &&
                    SSL_CTX_set_verify_algorithm_prefs(ctx, kSignatureAlgorithms,
                                                       std::size(kSignatureAlgorithms)) == 1;
  if (!done) return TakeError("TLS context");
  if (context.key_log) SSL_CTX_set_keylog_callback(ctx, &LogKey);
  return absl::OkStatus();
}

// Of cipher suites (up to TLS 1.2; among those of TLS 1.3 none is weak) and groups, our order
// decides and not the client's.
void PreferOurs(ServerData& context) {
  SSL_CTX_set_options(context.ctx.get(), SSL_OP_CIPHER_SERVER_PREFERENCE);
}

absl::Status AddIdentities(ServerData& context, const ServerOptions& options) {
  if (options.identities.empty())
    return absl::InvalidArgumentError("a TLS server needs an identity: a certificate and its key");
  for (size_t i = 0; i < options.identities.size(); ++i) {
    absl::StatusOr<LoadedIdentity> loaded = LoadedIdentity::Load(options.identities[i], i);
    if (!loaded.ok()) return loaded.status();
    for (const std::string& name : loaded->names) {
      std::vector<size_t>& of_name = context.by_name[name];
      if (of_name.empty() || of_name.back() != i) of_name.push_back(i);
    }
    context.identities.push_back(*std::move(loaded));
  }
  if (context.identities.size() > 1)
    SSL_CTX_set_select_certificate_cb(context.ctx.get(), &SelectIdentity);
  return UseInContext(context, context.identities.front(), context.identities.size() == 1);
}

std::vector<X509*> CertificatesIn(const X509_STORE& store) {
  std::vector<X509*> certificates;
  const STACK_OF(X509_OBJECT)* const objects =
      X509_STORE_get0_objects(const_cast<X509_STORE*>(&store));
  for (size_t i = 0; i < sk_X509_OBJECT_num(objects); ++i) {
    X509* const certificate = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));
    if (certificate != nullptr) certificates.push_back(certificate);
  }
  return certificates;
}

// A client is told whose certificates are trusted, and chooses by that.
absl::Status AnnounceRoots(ContextBase& context) {
  bssl::UniquePtr<STACK_OF(CRYPTO_BUFFER)> names(sk_CRYPTO_BUFFER_new_null());
  for (X509* const root : CertificatesIn(*context.roots)) {
    uint8_t* der = nullptr;
    const int size = i2d_X509_NAME(X509_get_subject_name(root), &der);
    if (size < 0) return TakeError("client_roots");
    const bssl::UniquePtr<uint8_t> owned(der);
    bssl::PushToStack(names.get(), bssl::UniquePtr<CRYPTO_BUFFER>(
                                       CRYPTO_BUFFER_new(der, static_cast<size_t>(size), nullptr)));
  }
  SSL_CTX_set0_client_CAs(context.ctx.get(), names.release());
  return absl::OkStatus();
}

// Hashes values one after another, each behind its length: no two sequences look alike.
class SequenceHash {
 public:
  SequenceHash() { SHA256_Init(&hash_); }

  void Add(uint64_t number) {
    uint8_t bytes[sizeof(number)];
    for (uint8_t& byte : bytes) {
      byte = static_cast<uint8_t>(number);
      number >>= 8;
    }
    SHA256_Update(&hash_, bytes, sizeof(bytes));
  }
  void Add(absl::Span<const uint8_t> bytes) {
    Add(bytes.size());
    SHA256_Update(&hash_, bytes.data(), bytes.size());
  }
  void Add(const std::set<std::string>& texts) {
    Add(texts.size());
    for (const std::string& text : texts)
      Add(absl::Span<const uint8_t>(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
  }

  std::string Finish() {
    std::string digest(SHA256_DIGEST_LENGTH, 0);
    SHA256_Final(reinterpret_cast<uint8_t*>(&digest[0]), &hash_);
    return digest;
  }

 private:
  SHA256_CTX hash_;
};

// Whom a context's certificates are for. Not the certificates: renewed ones are for the same.
void AddNames(const ServerData& context, SequenceHash& hash) {
  std::set<std::string> names, addresses;
  for (const LoadedIdentity& identity : context.identities) {
    names.insert(identity.names.begin(), identity.names.end());
    addresses.insert(identity.addresses.begin(), identity.addresses.end());
  }
  hash.Add(names);
  hash.Add(addresses);
}

absl::Status AddRoots(const ContextBase& context, SequenceHash& hash) {
  const auto roots =
      context.roots == nullptr ? std::vector<X509*>() : CertificatesIn(*context.roots);
  hash.Add(roots.size());
  for (X509* const root : roots) {
    uint8_t* der = nullptr;
    const int size = i2d_X509(root, &der);
    if (size < 0) return TakeError("client_roots");
    const bssl::UniquePtr<uint8_t> owned(der);
    hash.Add(absl::Span<const uint8_t>(der, static_cast<size_t>(size)));
  }
  return absl::OkStatus();
}

// A session goes on only where the same certificates would be trusted, and where the server could
// have shown one for the same names: a client that somebody has led to another server, which has
// the same ticket keys, must not take that one for the one that it wants.
absl::StatusOr<std::string> SessionContext(const ServerData& context,
                                           const ServerOptions& options) {
  SequenceHash hash;
  hash.Add(static_cast<uint64_t>(options.client_certificates));
  AddNames(context, hash);
  if (absl::Status status = AddRoots(context, hash); !status.ok()) return status;
  return hash.Finish();
}

// The clients keep the sessions, in tickets: nothing here grows with their number.
absl::Status SetUpSessions(ServerData& context, const ServerOptions& options) {
  SSL_CTX* const ctx = context.ctx.get();
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  if (!options.session_tickets) {
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    if (options.accept_replayable_early_data) {
      return absl::InvalidArgumentError(
          "accept_replayable_early_data is true, but session_tickets is false: no client could "
          "send "
          "any");
    }
    if (options.ticket_keys == nullptr) return absl::OkStatus();
    return absl::InvalidArgumentError("ticket_keys are given, but session_tickets is false");
  }
  context.ticket_keys = options.ticket_keys;
  if (context.ticket_keys == nullptr) context.ticket_keys = std::make_shared<TicketKeys>();
  SSL_CTX_set_ticket_aead_method(ctx, &kTickets);
  SSL_CTX_set_early_data_enabled(ctx, options.accept_replayable_early_data ? 1 : 0);
  const absl::StatusOr<std::string> id = SessionContext(context, options);
  if (!id.ok()) return id.status();
  if (SSL_CTX_set_session_id_context(ctx, reinterpret_cast<const uint8_t*>(id->data()),
                                     id->size()) == 1) {
    return absl::OkStatus();
  }
  return TakeError("session tickets");
}

absl::Status SetUpAlpn(ServerData& context, const ServerOptions& options) {
  absl::StatusOr<std::string> alpn = WireAlpn(options.alpn);
  if (!alpn.ok()) return alpn.status();
  context.alpn = *std::move(alpn);
  context.choose_alpn = options.choose_alpn;
  if (context.choose_alpn && !context.alpn.empty())
    return absl::InvalidArgumentError("both alpn and choose_alpn are given; one of them decides");
  SSL_CTX* const ctx = context.ctx.get();
  if (context.choose_alpn) SSL_CTX_set_alpn_select_cb(ctx, &AskForAlpn, nullptr);
  if (!context.alpn.empty()) SSL_CTX_set_alpn_select_cb(ctx, &SelectAlpn, nullptr);
  return absl::OkStatus();
}

absl::Status AskForCertificates(ContextBase& context, const ServerOptions& options) {
  if (options.client_certificates == ClientCertificates::kNone) {
    if (options.verify) {
      return absl::InvalidArgumentError(
          "verify is given, but client_certificates is kNone: it would never be called");
    }
    if (options.client_roots.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        "client_roots are given, but client_certificates is kNone: no client would be asked");
  }
  if (options.client_roots.empty())
    return absl::InvalidArgumentError("client_certificates are asked for, but no client_roots");
  auto roots = LoadRoots(options.client_roots);
  if (!roots.ok()) return roots.status();
  context.roots = *std::move(roots);
  const int required = options.client_certificates == ClientCertificates::kRequire
                           ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                           : 0;
  SSL_CTX_set_custom_verify(context.ctx.get(), SSL_VERIFY_PEER | required, &Verify);
  return AnnounceRoots(context);
}

}  // namespace

void SetHandshakeState(SSL& ssl, HandshakeState* state) { SSL_set_app_data(&ssl, state); }

void SetSessionName(SSL& ssl, std::string name) {
  SSL_set_ex_data(&ssl, SessionNameIndex(), new std::string(std::move(name)));
}

}  // namespace internal

absl::StatusOr<Identity> Identity::FromFiles(absl::string_view chain, absl::string_view key) {
  absl::StatusOr<std::string> chain_pem = internal::ReadFile(chain);
  if (!chain_pem.ok()) return chain_pem.status();
  absl::StatusOr<std::string> key_pem = internal::ReadFile(key);
  if (!key_pem.ok()) return key_pem.status();
  // Read here, too, so that an error names the file.
  if (auto read = internal::ReadCertificates(*chain_pem, chain); !read.ok()) return read.status();
  if (auto read = internal::ReadPrivateKey(*key_pem, key); !read.ok()) return read.status();
  Identity identity;
  identity.chain = *std::move(chain_pem);
  identity.key = *std::move(key_pem);
  return identity;
}

absl::StatusOr<std::shared_ptr<const ServerContext>> ServerContext::Create(
    const ServerOptions& options) {
  auto data = std::make_unique<internal::ServerData>();
  data->is_server = true;
  data->verify = options.verify;
  data->key_log = options.key_log;
  absl::Status status = internal::Prepare(*data, options.min_version, options.max_version);
  if (status.ok()) internal::PreferOurs(*data);
  if (status.ok()) status = internal::AddIdentities(*data, options);
  if (status.ok()) status = internal::AskForCertificates(*data, options);
  if (status.ok()) status = internal::SetUpSessions(*data, options);
  if (status.ok()) status = internal::SetUpAlpn(*data, options);
  if (!status.ok()) return status;
  return std::shared_ptr<const ServerContext>(new ServerContext(std::move(data)));
}

absl::StatusOr<std::shared_ptr<const ClientContext>> ClientContext::Create(
    const ClientOptions& options) {
  auto data = std::make_unique<internal::ClientData>();
  data->verify = options.verify;
  data->key_log = options.key_log;
  absl::Status status = internal::Prepare(*data, options.min_version, options.max_version);
  if (!status.ok()) return status;
  SSL_CTX* const ctx = data->ctx.get();
  SSL_CTX_set_custom_verify(ctx, SSL_VERIFY_PEER, &internal::Verify);
  SSL_CTX_set_reverify_on_resume(ctx, 1);
  SSL_CTX_enable_ocsp_stapling(ctx);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  if (options.session_cache_servers != 0) {
    data->sessions.emplace(options.session_cache_servers);
    SSL_CTX_sess_set_new_cb(ctx, &internal::KeepSession);
  }
  if (!options.insecure_accept_any_certificate) {
    auto roots = internal::LoadRoots(options.roots);
    if (!roots.ok()) return roots.status();
    data->roots = *std::move(roots);
  }
  if (options.identity.size() > 1)
    return absl::InvalidArgumentError("a TLS client has one identity at most");
  if (!options.identity.empty()) {
    absl::StatusOr<internal::LoadedIdentity> loaded =
        internal::LoadedIdentity::Load(options.identity.front(), 0);
    if (!loaded.ok()) return loaded.status();
    status = internal::UseInContext(*data, *loaded, /*only=*/true);
    if (!status.ok()) return status;
  }
  absl::StatusOr<std::string> alpn = internal::WireAlpn(options.alpn);
  if (!alpn.ok()) return alpn.status();
  if (!alpn->empty() && SSL_CTX_set_alpn_protos(ctx, reinterpret_cast<const uint8_t*>(alpn->data()),
                                                static_cast<unsigned>(alpn->size())) != 0) {
    return internal::TakeError("application protocols (ALPN)");
  }
  return std::shared_ptr<const ClientContext>(new ClientContext(std::move(data)));
}

ServerContext::ServerContext(std::unique_ptr<internal::ServerData> data) : data_(std::move(data)) {}
ServerContext::~ServerContext() = default;
ClientContext::ClientContext(std::unique_ptr<internal::ClientData> data) : data_(std::move(data)) {}
ClientContext::~ClientContext() = default;

}  // namespace sluice::tls
