// Who is trusted, by which names, and who shows which certificate to whom.
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "openssl/ssl.h"
#include "sluice/core/stream_testing.h"
#include "sluice/tls/context.h"
#include "sluice/tls/context_impl.h"
#include "sluice/tls/handshake_pair.h"
#include "sluice/tls/testing.h"
#include "sluice/tls/tls_stream.h"

namespace sluice::tls {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using KeyType = TestAuthority::KeyType;
using Purpose = TestAuthority::Purpose;

class VerificationTest : public HandshakePair {
 protected:
  // Whether a client that wants to talk to `host` gets through.
  bool Accepts(absl::string_view host) {
    HandshakeAgain(host);
    return client_.ok();
  }

  std::string SubjectShownTo(absl::string_view host) {
    HandshakeAgain(host);
    if (!client_.ok()) return std::string(client_.status().message());
    return (*client_)->peer_certificates()[0].subject;
  }

  static std::string WriteFile(const std::string& name, absl::string_view contents) {
    std::string path = absl::StrCat(testing::TempDir(), "/", name);
    std::ofstream(path) << contents;
    return path;
  }
};

// Names.

TEST_F(VerificationTest, NamesAndAddressesOfTheCertificate) {
  server_options_.identities = {
      Authority().Issue({.names = {"example.org", "www.example.org", "10.0.0.1", "2001:db8::1"}})};
  EXPECT_TRUE(Accepts("example.org"));
  EXPECT_TRUE(Accepts("WWW.Example.ORG"));
  EXPECT_TRUE(Accepts("example.org."));
  EXPECT_TRUE(Accepts("10.0.0.1"));
  EXPECT_TRUE(Accepts("2001:db8::1"));
  EXPECT_TRUE(Accepts("2001:DB8:0:0::1"));
  EXPECT_FALSE(Accepts("mail.example.org"));
  EXPECT_FALSE(Accepts("10.0.0.2"));
  EXPECT_FALSE(Accepts("2001:db8::2"));
}

TEST_F(VerificationTest, AWildcardIsForOneLabel) {
  server_options_.identities = {Authority().Issue({.names = {"*.example.org"}})};
  EXPECT_TRUE(Accepts("www.example.org"));
  EXPECT_FALSE(Accepts("example.org"));
  EXPECT_FALSE(Accepts("a.b.example.org"));
}

TEST_F(VerificationTest, TheCommonNameIsNotAHostsName) {
  server_options_.identities = {Authority().Issue({.names = {}, .subject = "example.org"})};
  EXPECT_FALSE(Accepts("example.org"));
}

TEST_F(VerificationTest, AnAddressIsNotADnsName) {
  server_options_.identities = {
      Authority().Issue({.names = {"localhost"}, .subject = "127.0.0.1"})};
  EXPECT_FALSE(Accepts("127.0.0.1"));
}

// Trust.

TEST_F(VerificationTest, AnIntermediateOfTheChainLeadsToTheRoot) {
  server_options_.identities = {Authority().Intermediate("middle")->Issue()};
  Handshake();
  ASSERT_TRUE(client_.ok()) << client_.status();
  const std::vector<Certificate> chain = (*client_)->peer_certificates();
  ASSERT_EQ(chain.size(), 2);
  EXPECT_EQ(chain[1].subject, "CN=middle");
}

TEST_F(VerificationTest, AnIntermediateThatIsTrustedIsEnough) {
  const auto middle = Authority().Intermediate("middle");
  server_options_.identities = {middle->Issue()};
  client_options_.roots = middle->roots();
  Handshake();
  EXPECT_TRUE(client_.ok()) << client_.status();
}

TEST_F(VerificationTest, ASelfSignedCertificateThatIsTrusted) {
  const Identity own = TestAuthority::SelfSigned({});
  server_options_.identities = {own};
  client_options_.roots = TrustRoots();
  client_options_.roots.pem = own.chain;
  Handshake();
  EXPECT_TRUE(client_.ok()) << client_.status();
}

TEST_F(VerificationTest, RootsFromAFileAndFromAFolder) {
  const std::string file = WriteFile("root.pem", Authority().pem());
  client_options_.roots = {.files = {file}};
  MakeContexts();
  EXPECT_TRUE(Accepts("localhost"));
  client_options_.roots = {.folders = {testing::TempDir()}};
  WriteFile("other.txt", "not a certificate");
  MakeContexts();
  EXPECT_TRUE(Accepts("localhost"));
}

TEST_F(VerificationTest, RootsThatCannotBeReadAreErrorsThatNameThem) {
  const auto error = [](const TrustRoots& roots) {
    ClientOptions options;
    options.roots = roots;
    return ClientContext::Create(options).status();
  };
  const std::string missing = absl::StrCat(testing::TempDir(), "/missing");
  EXPECT_EQ(error({.files = {missing}}).code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Message(error({.files = {missing}})), HasSubstr(missing));
  EXPECT_EQ(error({.folders = {missing}}).code(), absl::StatusCode::kNotFound);
  const std::string text = WriteFile("no_certificate.txt", "hello");
  EXPECT_EQ(error({.files = {text}}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(error({.files = {text}})), HasSubstr(text + ": no certificate"));
}

TEST_F(VerificationTest, NobodyIsTrustedByDefaultWhoIsNotTrustedByTheSystem) {
  client_options_.roots = TrustRoots();
  Handshake();
  EXPECT_EQ(client_.status().code(), absl::StatusCode::kUnauthenticated);
}

TEST_F(VerificationTest, AnInsecureClientTakesAnything) {
  server_options_.identities = {
      TestAuthority::SelfSigned({.validity = TestAuthority::Validity::kPast})};
  client_options_.roots = TrustRoots();
  client_options_.insecure_accept_any_certificate = true;
  Handshake("example.org");
  EXPECT_TRUE(client_.ok()) << client_.status();
}

TEST_F(VerificationTest, AShortRsaKeyIsRefused) {
  server_options_.identities = {Authority().Issue({.key = KeyType::kRsa1024})};
  Handshake();
  EXPECT_EQ(client_.status().code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(Message(client_.status()), HasSubstr("its RSA key has 1024 bits; at least 2048"));
  EXPECT_THAT(Message(server_.status()), HasSubstr("bad certificate"));
}

TEST_F(VerificationTest, AShortRsaKeyIsRefusedAlsoWhereItIsTrustedItself) {
  const Identity own = TestAuthority::SelfSigned({.key = KeyType::kRsa1024});
  server_options_.identities = {own};
  client_options_.roots = {.pem = own.chain};
  Handshake();
  EXPECT_THAT(Message(client_.status()), HasSubstr("its RSA key has 1024 bits"));
}

TEST_F(VerificationTest, ASignatureWithSha1IsRefused) {
  server_options_.identities = {Authority().Issue({.sha1 = true})};
  Handshake();
  EXPECT_EQ(client_.status().code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(Message(client_.status()), HasSubstr("it is signed with ecdsa-with-SHA1"));
  EXPECT_THAT(Message(server_.status()), HasSubstr("bad certificate"));
}

TEST_F(VerificationTest, ASignatureByPssIsAcceptedUnlessItIsWithSha1) {
  const TestAuthority rsa("rsa root", KeyType::kRsa2048);
  client_options_.roots = rsa.roots();
  server_options_.identities = {rsa.Issue({.pss = true})};
  Handshake();
  EXPECT_TRUE(client_.ok()) << client_.status();
  server_options_.identities = {rsa.Issue({.sha1 = true, .pss = true})};
  MakeContexts();
  HandshakeAgain();
  EXPECT_EQ(client_.status().code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(Message(client_.status()), HasSubstr("it is signed with rsassaPss and sha1"));
  EXPECT_THAT(Message(server_.status()), HasSubstr("bad certificate"));
}

TEST_F(VerificationTest, HowATrustedCertificateIsSignedMakesNoDifference) {
  const Identity own = TestAuthority::SelfSigned({.sha1 = true});
  server_options_.identities = {own};
  client_options_.roots = {.pem = own.chain};
  Handshake();
  EXPECT_TRUE(client_.ok()) << client_.status();
}

// What the user's function sees.

class PathTest : public VerificationTest {
 protected:
  PathTest() {
    client_options_.verify = [this](absl::Span<const Certificate> chain) {
      subjects_.clear();
      for (const Certificate& certificate : chain) subjects_.push_back(certificate.subject);
      return absl::OkStatus();
    };
  }
  std::vector<std::string> subjects_;
};

TEST_F(PathTest, TheVerifiedPathIsShownAndNothingThatWasAppended) {
  const TestAuthority unrelated("unrelated root");
  server_options_.identities = {Authority().Intermediate("middle")->Issue()};
  server_options_.identities[0].chain += unrelated.pem();
  Handshake();
  ASSERT_TRUE(client_.ok()) << client_.status();
  EXPECT_EQ((*client_)->peer_certificates().size(), 3);
  EXPECT_THAT(subjects_, ElementsAre("CN=leaf", "CN=middle", "CN=test root"));
}

TEST_F(PathTest, ThePathEndsAtTheOneThatIsTrusted) {
  const auto middle = Authority().Intermediate("middle");
  server_options_.identities = {middle->Issue()};
  client_options_.roots = middle->roots();
  Handshake();
  ASSERT_TRUE(client_.ok()) << client_.status();
  EXPECT_THAT(subjects_, ElementsAre("CN=leaf", "CN=middle"));
}

TEST_F(PathTest, WhereNothingIsVerifiedOnlyTheLeafIsShown) {
  server_options_.identities = {Authority().Intermediate("middle")->Issue()};
  client_options_.insecure_accept_any_certificate = true;
  Handshake();
  ASSERT_TRUE(client_.ok()) << client_.status();
  EXPECT_THAT(subjects_, ElementsAre("CN=leaf"));
}

// Which certificate a server shows.

TEST_F(VerificationTest, TheNameThatTheClientWantsChoosesTheCertificate) {
  server_options_.identities = {
      Authority().Issue({.names = {"localhost", "127.0.0.1"}, .subject = "default"}),
      Authority().Issue({.names = {"example.org"}, .subject = "exact"}),
      Authority().Issue({.names = {"*.example.org"}, .subject = "wildcard"})};
  EXPECT_EQ(SubjectShownTo("example.org"), "CN=exact");
  EXPECT_EQ(SubjectShownTo("www.example.org"), "CN=wildcard");
  EXPECT_EQ(SubjectShownTo("localhost"), "CN=default");
  EXPECT_EQ(SubjectShownTo("127.0.0.1"), "CN=default") << "no name is sent";
  EXPECT_THAT(SubjectShownTo("example.com"), HasSubstr("but for localhost"));
}

TEST_F(VerificationTest, KeysOfAllTypes) {
  for (const KeyType key : {KeyType::kP256, KeyType::kP384, KeyType::kRsa2048, KeyType::kEd25519}) {
    for (const Version version : {Version::kTls12, Version::kTls13}) {
      server_options_.identities = {Authority().Issue({.key = key})};
      client_options_.max_version = version;
      MakeContexts();
      HandshakeAgain();
      ASSERT_TRUE(client_.ok()) << client_.status() << server_.status();
      EXPECT_EQ((*client_)->version(), version);
    }
  }
}

TEST_F(VerificationTest, OfSeveralKeysForANameTheFirstThatTheClientCanUse) {
  server_options_.identities = {Authority().Issue({.subject = "ed25519", .key = KeyType::kEd25519}),
                                Authority().Issue({.subject = "rsa", .key = KeyType::kRsa2048})};
  EXPECT_EQ(SubjectShownTo("localhost"), "CN=ed25519");
}

// A client that is limited in what it knows, and two certificates for its name.
class LimitedClientTest : public VerificationTest {
 protected:
  void Make(Version version, KeyType first, KeyType second) {
    server_options_.identities = {Authority().Issue({.subject = "first", .key = first}),
                                  Authority().Issue({.subject = "second", .key = second})};
    client_options_.max_version = version;
    MakeContexts();
  }
  SSL_CTX* ctx() { return internal::ContextAccess::Of(*client_context_).ctx.get(); }

  void KnowSignatures(const std::vector<uint16_t>& signatures) {
    ASSERT_EQ(SSL_CTX_set_verify_algorithm_prefs(ctx(), signatures.data(), signatures.size()), 1);
  }
  void KnowGroups(const char* names) { ASSERT_EQ(SSL_CTX_set1_curves_list(ctx(), names), 1); }
  void KnowTls12Suites(const char* names) {
    ASSERT_EQ(SSL_CTX_set_strict_cipher_list(ctx(), names), 1);
  }
  std::string Shown() { return SubjectShownTo("localhost"); }
};

TEST_F(LimitedClientTest, InTls12TheSuiteMustBeForTheKey) {
  Make(Version::kTls12, KeyType::kP256, KeyType::kRsa2048);
  KnowTls12Suites("ECDHE-RSA-AES128-GCM-SHA256");
  EXPECT_EQ(Shown(), "CN=second");
}

TEST_F(LimitedClientTest, SuitesOfTls13DoNotCountWhereTheServerSpeaksTls12) {
  server_options_.max_version = Version::kTls12;
  Make(Version::kTls13, KeyType::kP256, KeyType::kRsa2048);
  KnowTls12Suites("ECDHE-RSA-AES128-GCM-SHA256");
  EXPECT_EQ(Shown(), "CN=second");
}

TEST_F(LimitedClientTest, SuitesOfTls12DoNotCountInTls13) {
  Make(Version::kTls13, KeyType::kP256, KeyType::kRsa2048);
  KnowTls12Suites("ECDHE-RSA-AES128-GCM-SHA256");
  EXPECT_EQ(Shown(), "CN=first");
}

TEST_F(LimitedClientTest, InTls12TheCurveOfTheKeyMustBeAmongTheGroups) {
  Make(Version::kTls12, KeyType::kP256, KeyType::kRsa2048);
  EXPECT_EQ(Shown(), "CN=first");
  KnowGroups("X25519:P-384");
  EXPECT_EQ(Shown(), "CN=second");
}

TEST_F(LimitedClientTest, InTls13TheGroupsAreForTheKeyAgreementOnly) {
  Make(Version::kTls13, KeyType::kP256, KeyType::kRsa2048);
  KnowGroups("X25519");
  EXPECT_EQ(Shown(), "CN=first");
}

TEST_F(LimitedClientTest, InTls12AnyHashGoesWithAnyCurve) {
  Make(Version::kTls12, KeyType::kP384, KeyType::kRsa2048);
  KnowSignatures({SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_RSA_PSS_RSAE_SHA256});
  EXPECT_EQ(Shown(), "CN=first");
}

TEST_F(LimitedClientTest, InTls13EachCurveHasItsHash) {
  Make(Version::kTls13, KeyType::kP384, KeyType::kRsa2048);
  KnowSignatures({SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_RSA_PSS_RSAE_SHA256});
  EXPECT_EQ(Shown(), "CN=second");
}

TEST_F(LimitedClientTest, InTls13RsaKeysSignByPssOnly) {
  Make(Version::kTls13, KeyType::kRsa2048, KeyType::kP256);
  KnowSignatures({SSL_SIGN_RSA_PKCS1_SHA256, SSL_SIGN_ECDSA_SECP256R1_SHA256});
  EXPECT_EQ(Shown(), "CN=second");
  Make(Version::kTls12, KeyType::kRsa2048, KeyType::kP256);
  KnowSignatures({SSL_SIGN_RSA_PKCS1_SHA256, SSL_SIGN_ECDSA_SECP256R1_SHA256});
  EXPECT_EQ(Shown(), "CN=first");
}

// Certificates of clients.

class ClientCertificateTest : public VerificationTest {
 protected:
  ClientCertificateTest() {
    server_options_.client_certificates = ClientCertificates::kRequire;
    server_options_.client_roots = Authority().roots();
  }

  // A client of TLS 1.3 is done before the server has looked at its certificate.
  void ExpectRefused(absl::string_view why, absl::string_view alert) {
    EXPECT_EQ(server_.status().code(), absl::StatusCode::kUnauthenticated);
    EXPECT_THAT(Message(server_.status()), HasSubstr(std::string(why)));
    ASSERT_TRUE(client_.ok()) << client_.status();
    StreamRecorder client(*std::move(client_));
    loop_.RunUntilIdle();
    ASSERT_TRUE(client.closed().has_value());
    EXPECT_EQ(client.closed()->code(), absl::StatusCode::kUnauthenticated);
    EXPECT_THAT(Message(*client.closed()), HasSubstr(std::string(alert)));
  }
};

TEST_F(ClientCertificateTest, Trusted) {
  client_options_.identity = {
      Authority().Issue({.subject = "client", .purpose = Purpose::kClient})};
  Handshake();
  ASSERT_TRUE(server_.ok()) << server_.status();
  ASSERT_EQ((*server_)->peer_certificates().size(), 1);
  EXPECT_EQ((*server_)->peer_certificates()[0].subject, "CN=client");
}

TEST_F(ClientCertificateTest, RequiredAndNotShown) {
  Handshake();
  ExpectRefused("the client has shown no certificate, and one is required", "certificate required");
}

TEST_F(ClientCertificateTest, RequestedAndNotShown) {
  server_options_.client_certificates = ClientCertificates::kRequest;
  Handshake();
  ASSERT_TRUE(server_.ok()) << server_.status();
  EXPECT_THAT((*server_)->peer_certificates(), IsEmpty());
}

TEST_F(ClientCertificateTest, OfAnUnknownIssuer) {
  server_options_.client_certificates = ClientCertificates::kRequest;
  client_options_.identity = {TestAuthority("another root").Issue()};
  Handshake();
  ExpectRefused("its issuer is unknown", "unknown CA");
}

TEST_F(ClientCertificateTest, OfAnotherPurpose) {
  client_options_.identity = {Authority().Issue({.purpose = Purpose::kServer})};
  Handshake();
  ExpectRefused("it was made for another purpose", "unsupported certificate");
}

TEST_F(ClientCertificateTest, RefusedByTheUsersFunction) {
  client_options_.identity = {Authority().Issue({.subject = "mallory"})};
  server_options_.verify = [](absl::Span<const Certificate> chain) {
    return chain[0].subject == "CN=alice" ? absl::OkStatus()
                                          : absl::PermissionDeniedError("only Alice may");
  };
  Handshake();
  ExpectRefused("certificate \"CN=mallory\" was refused: only Alice may", "bad certificate");
}

// Options that cannot be right.

TEST_F(VerificationTest, BadServerOptionsAreErrors) {
  const auto error = [](const ServerOptions& options) {
    return Message(ServerContext::Create(options).status());
  };
  ServerOptions options;
  EXPECT_THAT(error(options), HasSubstr("a TLS server needs an identity"));
  options.identities = {Localhost()};
  options.identities[0].key = Authority().Issue().key;
  EXPECT_THAT(error(options), HasSubstr("identity 1: the private key does not belong to"));
  options.identities[0].key = "hello";
  EXPECT_THAT(error(options), HasSubstr("identity 1: key: no private key"));
  options.identities[0].chain = "hello";
  EXPECT_THAT(error(options), HasSubstr("identity 1: chain: no certificate"));
  options.identities = {Localhost()};
  options.min_version = Version::kTls13;
  options.max_version = Version::kTls12;
  EXPECT_THAT(error(options), HasSubstr("min_version is above max_version"));
  options.max_version = Version::kTls13;
  options.alpn = {""};
  EXPECT_THAT(error(options), HasSubstr("it may have 1 to 255 bytes"));
  options.alpn = {};
  options.client_certificates = ClientCertificates::kRequire;
  EXPECT_THAT(error(options), HasSubstr("but no client_roots"));
  options.client_certificates = ClientCertificates::kNone;
  options.client_roots = Authority().roots();
  EXPECT_THAT(error(options), HasSubstr("no client would be asked"));
  options.client_roots = {};
  options.verify = [](absl::Span<const Certificate>) { return absl::OkStatus(); };
  EXPECT_THAT(error(options), HasSubstr("verify is given, but client_certificates is kNone"));
}

// Whether a context is made with a key that is written so.
class KeyFileTest : public VerificationTest {
 protected:
  absl::Status Error(absl::string_view key) {
    server_options_.identities[0].key = std::string(key);
    return ServerContext::Create(server_options_).status();
  }
  void ExpectEncrypted(absl::string_view key) {
    EXPECT_EQ(Error(key).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(Message(Error(key)),
                HasSubstr("identity 1: key: the private key is encrypted; write it without a"));
  }
  // The key's block, whose first and last line say so.
  static std::string Block(absl::string_view name, absl::string_view header) {
    const absl::string_view plain = Localhost().key;
    const size_t begin = plain.find('\n') + 1;
    const absl::string_view body = plain.substr(begin, plain.find("-----END") - begin);
    return absl::StrCat("-----BEGIN ", name, "-----\n", header, body, "-----END ", name, "-----\n");
  }
};

constexpr char kEncryptedHeader[] =
    "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,000102030405060708090A0B0C0D0E0F\n\n";

TEST_F(KeyFileTest, AnEncryptedKeyIsRefused) {
  ExpectEncrypted(Block("ENCRYPTED PRIVATE KEY", ""));
  ExpectEncrypted(Block("EC PRIVATE KEY", kEncryptedHeader));
  ExpectEncrypted(Localhost().chain + Block("ENCRYPTED PRIVATE KEY", ""));
  ExpectEncrypted(Block("ENCRYPTED PRIVATE KEY", "") + Localhost().key);
}

TEST_F(KeyFileTest, AnEncryptedKeyOfACipherThatIsNotKnownIsRefusedAsSuch) {
  ExpectEncrypted(
      Block("EC PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: ROT-13,0001020304050607\n\n"));
}

TEST_F(KeyFileTest, WhatStandsAroundAKeyDoesNotMakeItEncrypted) {
  const std::string& key = Localhost().key;
  EXPECT_EQ(Error("This one is not ENCRYPTED.\n" + key), absl::OkStatus());
  EXPECT_EQ(Error("Proc-Type: 4,ENCRYPTED\n\n" + key), absl::OkStatus());
  EXPECT_EQ(Error(key + "The other one is ENCRYPTED.\n"), absl::OkStatus());
  EXPECT_EQ(Error("Subject: O=ENCRYPTED\n" + Localhost().chain + key), absl::OkStatus());
  EXPECT_EQ(Error(key + Block("ENCRYPTED PRIVATE KEY", "")), absl::OkStatus()) << "the first one";
}

TEST_F(VerificationTest, AnIdentityFromFiles) {
  const std::string chain = WriteFile("chain.pem", Localhost().chain);
  const std::string key = WriteFile("key.pem", Localhost().key);
  const absl::StatusOr<Identity> identity = Identity::FromFiles(chain, key);
  ASSERT_TRUE(identity.ok()) << identity.status();
  server_options_.identities = {*identity};
  Handshake();
  EXPECT_TRUE(client_.ok()) << client_.status();
  EXPECT_THAT(Message(Identity::FromFiles(key, key).status()),
              HasSubstr("key.pem: no certificate"));
  EXPECT_THAT(Message(Identity::FromFiles(chain, chain).status()),
              HasSubstr("chain.pem: no private key"));
  EXPECT_EQ(Identity::FromFiles(chain, key + ".missing").status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace sluice::tls
