#include "sluice/tools/tls_flags.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"
#include "sluice/tools/command.h"
#include "sluice/tools/flag_types.h"

using Files = std::vector<std::string>;

ABSL_FLAG(Files, tls_cert, {},
          "who this side says to be: files with a chain of certificates each (PEM, leaf first), "
          "separated by commas; a server shows the one that has the name that the client asks for "
          "(SNI), else the first");
ABSL_FLAG(Files, tls_key, {},
          "files with the private keys of --tls_cert (PEM, without a password), in the same order");
ABSL_FLAG(Files, tls_client_ca, {},
          "files (PEM) and folders with the certificates that may vouch for clients");
ABSL_FLAG(sluice::tls::ClientCertificates, tls_client_cert, sluice::tls::ClientCertificates::kNone,
          "whether clients are asked for a certificate: none, request (one that has none is served "
          "too) or require; with --tls_client_ca");
ABSL_FLAG(std::string, tls_alpn, "auto",
          "application protocols (ALPN), the most preferred first, separated by commas; auto is "
          "http/1.1 for websocket and none for others, and an empty list is none");
ABSL_FLAG(sluice::tls::Version, tls_min_version, sluice::tls::Version::kTls12,
          "the oldest version of TLS that is spoken: 1.2 or 1.3");
ABSL_FLAG(sluice::tools::Timeout, tls_handshake_timeout, sluice::tools::Timeout(absl::Seconds(10)),
          "how long a client may take for its TLS handshake");
ABSL_FLAG(Files, tls_ca, {},
          "files (PEM) and folders with the certificates that may vouch for the server, instead of "
          "the system's");
ABSL_FLAG(std::string, tls_server_name, "",
          "the name (or address) that the server's certificate must have, instead of the URL's "
          "host; a name is also told to the server (SNI)");
ABSL_FLAG(bool, insecure, false,
          "takes any certificate for any name: whoever answers, or is on the way, can read and "
          "change everything");

namespace sluice::tls {
namespace {

// Sets `value` to the one of `values` that is called `text`.
template <typename T, size_t kCount>
bool ParseOneOf(const std::pair<absl::string_view, T> (&values)[kCount], absl::string_view text,
                T* value, std::string* error) {
  for (const auto& [name, candidate] : values) {
    if (name != text) continue;
    *value = candidate;
    return true;
  }
  *error = absl::StrCat("takes ",
                        absl::StrJoin(values, " or ", [](std::string* out, const auto& candidate) {
                          absl::StrAppend(out, candidate.first);
                        }));
  return false;
}

template <typename T, size_t kCount>
std::string NameOf(const std::pair<absl::string_view, T> (&values)[kCount], T value) {
  for (const auto& [name, candidate] : values) {
    if (candidate == value) return std::string(name);
  }
  return "";
}

constexpr std::pair<absl::string_view, ClientCertificates> kClientCertificates[] = {
    {"none", ClientCertificates::kNone},
    {"request", ClientCertificates::kRequest},
    {"require", ClientCertificates::kRequire}};
constexpr std::pair<absl::string_view, Version> kVersions[] = {{"1.2", Version::kTls12},
                                                               {"1.3", Version::kTls13}};

}  // namespace

bool AbslParseFlag(absl::string_view text, ClientCertificates* value, std::string* error) {
  return ParseOneOf(kClientCertificates, text, value, error);
}
std::string AbslUnparseFlag(ClientCertificates value) { return NameOf(kClientCertificates, value); }
bool AbslParseFlag(absl::string_view text, Version* value, std::string* error) {
  return ParseOneOf(kVersions, text, value, error);
}
std::string AbslUnparseFlag(Version value) { return NameOf(kVersions, value); }

}  // namespace sluice::tls

namespace sluice::tools {
namespace {

constexpr absl::string_view kIdentityFiles =
    "; accepted are PEM files: a chain of certificates, leaf first, and its private key";

absl::Status Refuse(absl::string_view what, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(what, ": ", why));
}

// That none of these flags is set.
absl::Status RefuseSet(const std::vector<std::string>& names, absl::string_view why) {
  for (const std::string& name : names) {
    if (IsFlagSet(name)) return Refuse(absl::StrCat("--", name), why);
  }
  return absl::OkStatus();
}

absl::StatusOr<tls::Identity> ReadIdentity(const std::string& cert, const std::string& key) {
  const std::string what = absl::StrCat("--tls_cert=", cert, " --tls_key=", key);
  absl::StatusOr<tls::Identity> identity = tls::Identity::FromFiles(cert, key);
  if (!identity.ok())
    return Refuse(what, absl::StrCat(identity.status().message(), kIdentityFiles));
  // Alone, so that an error is surely this one's.
  tls::ServerOptions options;
  options.identities = {*identity};
  if (const auto context = tls::ServerContext::Create(options); !context.ok()) {
    absl::string_view why = context.status().message();
    absl::ConsumePrefix(&why, "identity 1: ");
    return Refuse(what, absl::StrCat(why, kIdentityFiles));
  }
  return identity;
}

// --tls_cert and --tls_key.
absl::StatusOr<std::vector<tls::Identity>> ReadIdentities() {
  const Files certs = absl::GetFlag(FLAGS_tls_cert);
  const Files keys = absl::GetFlag(FLAGS_tls_key);
  if (certs.size() != keys.size()) {
    return Refuse(absl::StrCat("--tls_cert has ", certs.size(), " and --tls_key has ", keys.size()),
                  "each chain of certificates needs its key, in the same order (a file that holds "
                  "both is named by both)");
  }
  std::vector<tls::Identity> identities;
  for (size_t i = 0; i < certs.size(); ++i) {
    absl::StatusOr<tls::Identity> identity = ReadIdentity(certs[i], keys[i]);
    if (!identity.ok()) return identity.status();
    identities.push_back(*std::move(identity));
  }
  return identities;
}

bool HasAutoAlpn() { return absl::GetFlag(FLAGS_tls_alpn) == "auto"; }

// Those that the flag names.
absl::StatusOr<std::vector<std::string>> ReadAlpn() {
  const std::string text = absl::GetFlag(FLAGS_tls_alpn);
  std::vector<std::string> protocols;
  if (!text.empty() && !HasAutoAlpn()) protocols = absl::StrSplit(text, ',');
  for (const std::string& protocol : protocols) {
    if (protocol.empty() || protocol.size() > 255) {
      return Refuse(absl::StrCat("--tls_alpn=", text),
                    "takes names of 1 to 255 bytes, separated by commas, or auto");
    }
  }
  return protocols;
}

// Takes `name` from a client that offers it. One that does not may mean well, so it is not refused.
tls::AlpnFunction TakeIfOffered(const std::string& name) {
  return [name](absl::Span<const absl::string_view> offered, absl::string_view /*server_name*/) {
    const bool is_offered = std::find(offered.begin(), offered.end(), name) != offered.end();
    return is_offered ? name : std::string();
  };
}

tls::TrustRoots RootsOf(const Files& paths) {
  tls::TrustRoots roots;
  for (const std::string& path : paths) {
    struct stat status;
    const bool is_folder = stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
    (is_folder ? roots.folders : roots.files).push_back(path);
  }
  return roots;
}

std::string NamedFiles(absl::string_view flag, const Files& files) {
  return absl::StrCat("--", flag, "=", absl::StrJoin(files, ","));
}

absl::Status ReadClientCertificates(tls::ServerOptions& options) {
  const Files roots = absl::GetFlag(FLAGS_tls_client_ca);
  options.client_certificates = absl::GetFlag(FLAGS_tls_client_cert);
  const bool asks = options.client_certificates != tls::ClientCertificates::kNone;
  if (asks && roots.empty()) {
    return Refuse(absl::StrCat("--tls_client_cert=", AbslUnparseFlag(options.client_certificates)),
                  "--tls_client_ca must say who may vouch for clients");
  }
  if (!asks && !roots.empty()) {
    return Refuse(NamedFiles("tls_client_ca", roots),
                  "no client is asked for a certificate without --tls_client_cert=request or "
                  "--tls_client_cert=require");
  }
  options.client_roots = RootsOf(roots);
  return absl::OkStatus();
}

absl::Status ReadTrust(tls::ClientOptions& options) {
  const Files roots = absl::GetFlag(FLAGS_tls_ca);
  options.insecure_accept_any_certificate = absl::GetFlag(FLAGS_insecure);
  if (!roots.empty()) {
    if (options.insecure_accept_any_certificate) {
      return Refuse("--insecure and --tls_ca",
                    "one of them: no certificate is looked at with --insecure");
    }
    options.roots = RootsOf(roots);
  }
  return absl::OkStatus();
}

absl::StatusOr<TlsClientFlags> MakeClient(const tls::ClientOptions& options) {
  auto context = tls::ClientContext::Create(options);
  if (!context.ok()) {
    const Files roots = absl::GetFlag(FLAGS_tls_ca);
    if (!roots.empty()) return Refuse(NamedFiles("tls_ca", roots), context.status().message());
    return absl::InvalidArgumentError(
        absl::StrCat(context.status().message(), "; --tls_ca=FILE names what to trust instead"));
  }
  TlsClientFlags flags;
  flags.context = *std::move(context);
  flags.server_name = absl::GetFlag(FLAGS_tls_server_name);
  flags.insecure = options.insecure_accept_any_certificate;
  return flags;
}

}  // namespace

std::vector<std::string> TlsServerFlagNames() {
  return {"tls_cert", "tls_key",         "tls_client_ca",        "tls_client_cert",
          "tls_alpn", "tls_min_version", "tls_handshake_timeout"};
}

std::vector<std::string> TlsClientFlagNames() {
  return {"tls_ca",   "tls_server_name", "tls_cert", "tls_key",
          "tls_alpn", "tls_min_version", "insecure"};
}

absl::StatusOr<TlsServerFlags> ReadTlsServerFlags(const std::string& alpn,
                                                  std::shared_ptr<tls::TicketKeys> ticket_keys) {
  const Files certificates = absl::GetFlag(FLAGS_tls_cert);
  if (certificates.empty()) {
    const absl::Status status =
        RefuseSet(TlsServerFlagNames(), "TLS needs --tls_cert=FILE and --tls_key=FILE, too");
    if (!status.ok()) return status;
    return TlsServerFlags();
  }
  tls::ServerOptions options;
  absl::StatusOr<std::vector<tls::Identity>> identities = ReadIdentities();
  if (!identities.ok()) return identities.status();
  options.identities = *std::move(identities);
  absl::StatusOr<std::vector<std::string>> protocols = ReadAlpn();
  if (!protocols.ok()) return protocols.status();
  options.alpn = *std::move(protocols);
  if (HasAutoAlpn() && !alpn.empty()) options.choose_alpn = TakeIfOffered(alpn);
  options.ticket_keys = std::move(ticket_keys);
  options.min_version = absl::GetFlag(FLAGS_tls_min_version);
  if (absl::Status status = ReadClientCertificates(options); !status.ok()) return status;

  auto context = tls::ServerContext::Create(options);
  if (!context.ok()) {
    return Refuse(NamedFiles("tls_client_ca", absl::GetFlag(FLAGS_tls_client_ca)),
                  context.status().message());
  }
  TlsServerFlags flags;
  flags.context = *std::move(context);
  flags.handshake_timeout = absl::GetFlag(FLAGS_tls_handshake_timeout).value();
  flags.certificates = absl::StrJoin(certificates, ", ");
  return flags;
}

absl::StatusOr<TlsClientFlags> ReadTlsClientFlags(const Url& url, const std::string& alpn) {
  if (!url.encrypted) {
    const absl::Status status = RefuseSet(
        TlsClientFlagNames(), absl::StrCat("this is for TLS, and ", url.scheme,
                                           ":// is plain; accepted are tls://, wss:// and so on"));
    if (!status.ok()) return status;
    return TlsClientFlags();
  }
  tls::ClientOptions options;
  absl::StatusOr<std::vector<tls::Identity>> identities = ReadIdentities();
  if (!identities.ok()) return identities.status();
  if (identities->size() > 1)
    return Refuse("--tls_cert and --tls_key", "a client has one of each at most");
  options.identity = *std::move(identities);
  absl::StatusOr<std::vector<std::string>> protocols = ReadAlpn();
  if (!protocols.ok()) return protocols.status();
  options.alpn = *std::move(protocols);
  if (HasAutoAlpn() && !alpn.empty()) options.alpn = {alpn};
  // Each connection of a run is opened once, and the process then ends.
  options.session_cache_servers = 0;
  options.min_version = absl::GetFlag(FLAGS_tls_min_version);
  if (absl::Status status = ReadTrust(options); !status.ok()) return status;

  absl::StatusOr<TlsClientFlags> flags = MakeClient(options);
  if (flags.ok() && flags->server_name.empty()) flags->server_name = url.endpoint.host;
  return flags;
}

std::vector<std::string> TlsBackendFlagNames() { return {"tls_ca", "tls_server_name", "insecure"}; }

absl::StatusOr<TlsClientFlags> ReadTlsBackendFlags(bool wanted) {
  if (!wanted) {
    const absl::Status status =
        RefuseSet(TlsBackendFlagNames(), "this is for TLS to the backends: --to_tls");
    if (!status.ok()) return status;
    return TlsClientFlags();
  }
  tls::ClientOptions options;
  if (absl::Status status = ReadTrust(options); !status.ok()) return status;
  return MakeClient(options);
}

}  // namespace sluice::tools
