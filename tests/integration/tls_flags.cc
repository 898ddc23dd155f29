#include "sluice/tests/integration/tls_flags.h"

#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"
#include "sluice/tls/certificate.h"

namespace sluice {
namespace {

absl::StatusOr<tls::Version> ParseVersion(absl::string_view text) {
  if (text == "1.2") return tls::Version::kTls12;
  if (text == "1.3") return tls::Version::kTls13;
  return absl::InvalidArgumentError(absl::StrCat("version ", text, ": neither 1.2 nor 1.3"));
}

absl::Status Refuse(const std::string& subject, absl::Span<const tls::Certificate> chain) {
  if (chain.front().subject != subject) return absl::OkStatus();
  return absl::PermissionDeniedError("revoked by hand");
}

}  // namespace

absl::Status TlsFlags::Set(absl::string_view name, absl::string_view value) {
  absl::Status status;
  if (name == "identity") {
    const std::pair<absl::string_view, absl::string_view> files = absl::StrSplit(value, ',');
    auto identity = tls::Identity::FromFiles(files.first, files.second);
    status = identity.status();
    if (identity.ok()) identities.push_back(*std::move(identity));
  } else if (name == "ocsp" && !identities.empty()) {
    std::ifstream file{std::string(value), std::ios::binary};
    identities.back().ocsp_response.assign(std::istreambuf_iterator<char>(file), {});
    if (!file) status = absl::NotFoundError(value);
  } else if (name == "roots") {
    roots.files.emplace_back(value);
  } else if (name == "client_certificates") {
    client_certificates =
        value == "require" ? tls::ClientCertificates::kRequire : tls::ClientCertificates::kRequest;
  } else if (name == "refuse") {
    verify = [subject = std::string(value)](absl::Span<const tls::Certificate> chain) {
      return Refuse(subject, chain);
    };
  } else if (name == "insecure") {
    insecure = true;
  } else if (name == "alpn") {
    alpn = absl::StrSplit(value, ',');
  } else if (name == "min" || name == "max") {
    auto version = ParseVersion(value);
    status = version.status();
    if (version.ok()) (name == "min" ? min : max) = *version;
  } else if (name == "handshake_timeout") {
    if (!absl::ParseDuration(value, &handshake_timeout))
      status = absl::InvalidArgumentError("--handshake_timeout is a duration");
  } else if (name == "host") {
    host = std::string(value);
  } else if (name == "times") {
    if (!absl::SimpleAtoi(value, &times))
      status = absl::InvalidArgumentError("--times is a number");
  } else {
    status = absl::InvalidArgumentError(absl::StrCat("--", name, " is not known"));
  }
  return status;
}

absl::StatusOr<TlsFlags> TlsFlags::Take(std::vector<std::string>& words) {
  TlsFlags flags;
  std::vector<std::string> others;
  for (std::string& word : words) {
    absl::string_view flag = word;
    if (!absl::ConsumePrefix(&flag, "--")) {
      others.push_back(std::move(word));
      continue;
    }
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(flag, absl::MaxSplits('=', 1));
    if (absl::Status status = flags.Set(parts.first, parts.second); !status.ok()) return status;
  }
  words = std::move(others);
  return flags;
}

absl::StatusOr<std::shared_ptr<const tls::ServerContext>> TlsFlags::ServerContext() const {
  tls::ServerOptions options;
  options.identities = identities;
  options.ticket_keys = ticket_keys;
  options.alpn = alpn;
  options.min_version = min;
  options.max_version = max;
  options.client_certificates = client_certificates;
  options.client_roots = roots;
  options.verify = verify;
  return tls::ServerContext::Create(options);
}

absl::StatusOr<std::shared_ptr<const tls::ClientContext>> TlsFlags::ClientContext() const {
  tls::ClientOptions options;
  if (!roots.empty()) options.roots = roots;
  options.verify = verify;
  options.insecure_accept_any_certificate = insecure;
  options.identity = identities;
  options.alpn = alpn;
  options.min_version = min;
  options.max_version = max;
  return tls::ClientContext::Create(options);
}

}  // namespace sluice
