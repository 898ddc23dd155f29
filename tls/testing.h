// For tests of what runs over TLS: an authority that issues certificates, good ones and such as
// must be refused, and a pair of TlsStreams.
//
// Example:
//   tls::TestAuthority authority;
//   tls::ServerOptions server;
//   server.identities = {authority.Issue({.names = {"example.org", "127.0.0.1"}})};
//   tls::ClientOptions client;
//   client.roots = authority.roots();
//
// Keys are made anew in each run: nothing secret is in the repository, and nothing expires. Times
// are far from today on both sides.
#ifndef SLUICE_TLS_TESTING_H_
#define SLUICE_TLS_TESTING_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "sluice/tls/context.h"
#include "sluice/tls/private_key.h"

namespace sluice::tls {

class TestAuthority {
 public:
  enum class KeyType : uint8_t { kP256, kP384, kRsa1024, kRsa2048, kEd25519 };
  enum class Purpose : uint8_t { kBoth, kServer, kClient, kCodeSigning };
  enum class Validity : uint8_t { kNow, kPast, kFuture };

  struct Request {
    std::vector<std::string> names = {"localhost", "127.0.0.1"};  // of hosts, and IP addresses
    std::string subject = "leaf";                                 // its common name
    KeyType key = KeyType::kP256;
    Purpose purpose = Purpose::kBoth;
    Validity validity = Validity::kNow;
    bool sha1 = false;  // signed with SHA-1
    bool pss = false;   // signed by RSASSA-PSS: by an RSA key
  };

  explicit TestAuthority(absl::string_view name = "test root", KeyType key = KeyType::kP256);
  ~TestAuthority();
  TestAuthority(const TestAuthority&) = delete;
  TestAuthority& operator=(const TestAuthority&) = delete;

  // Its own certificate.
  const std::string& pem() const { return pem_; }
  TrustRoots roots() const;

  Identity Issue(const Request& request) const;
  Identity Issue() const { return Issue(Request()); }

  // One that nobody vouches for.
  static Identity SelfSigned(const Request& request);

  // What a PrivateKey would answer that has this key (ECDSA P-256, Ed25519).
  static absl::StatusOr<std::string> SignMessage(absl::string_view key,
                                                 SignatureAlgorithm algorithm,
                                                 absl::string_view message);

  // An authority that this one vouches for; what it issues has both certificates in its chain.
  std::unique_ptr<TestAuthority> Intermediate(absl::string_view name) const;

 private:
  struct Impl;
  TestAuthority(std::unique_ptr<Impl> impl, std::string chain);
  std::unique_ptr<Impl> impl_;
  std::string pem_;
  std::string chain_;  // what follows a leaf
};

}  // namespace sluice::tls

#endif  // SLUICE_TLS_TESTING_H_
