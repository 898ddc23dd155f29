// Certificate is what a peer's certificate says, read out into plain values, to be shown or to be
// decided upon.
//
// Example:
//   for (const tls::Certificate& certificate : stream.peer_certificates())
//     std::printf("%s, until %s\n", certificate.subject.c_str(),
//                 absl::FormatTime(certificate.not_after).c_str());
//
// Thread-compatible; a value.
#ifndef SLUICE_TLS_CERTIFICATE_H_
#define SLUICE_TLS_CERTIFICATE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace sluice::tls {

struct Certificate {
  std::string subject;  // "CN=example.org,O=Example", as RFC 2253 writes it
  std::string issuer;
  std::string serial;                     // hexadecimal
  std::vector<std::string> dns_names;     // what it is for: names, "*.example.org" among them,
  std::vector<std::string> ip_addresses;  // and addresses
  absl::Time not_before;
  absl::Time not_after;
  std::string key;     // "ECDSA P-256", "RSA 2048", "Ed25519"
  std::string sha256;  // of `der`, hexadecimal: what is called its fingerprint
  std::string der;

  // From DER. Error: kInvalidArgument.
  static absl::StatusOr<Certificate> Parse(absl::string_view der);
};

}  // namespace sluice::tls

#endif  // SLUICE_TLS_CERTIFICATE_H_
