#include "sluice/tools/tls_flags.h"

#include <sys/stat.h>

#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/reflection.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/tls/context.h"
#include "sluice/tls/testing.h"
#include "sluice/tls/ticket_keys.h"
#include "sluice/tools/url.h"

namespace sluice::tools {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

// Sets flags until its end.
class TlsFlagsTest : public testing::Test {
 protected:
  TlsFlagsTest() : authority_("root") {
    Write("ca.pem", authority_.pem());
    WriteIdentity("a", authority_.Issue());
    WriteIdentity("b", authority_.Issue());
    url_.scheme = "tls";
    url_.encrypted = true;
    url_.endpoint.host = "localhost";
  }

  static std::string Path(absl::string_view name) {
    return absl::StrCat(testing::TempDir(), "/", name);
  }
  static void Write(absl::string_view name, const std::string& text) {
    std::FILE* const file = std::fopen(Path(name).c_str(), "w");
    ASSERT_NE(file, nullptr);
    EXPECT_EQ(std::fwrite(text.data(), 1, text.size(), file), text.size());
    std::fclose(file);
  }
  static void WriteIdentity(absl::string_view name, const tls::Identity& identity) {
    Write(absl::StrCat(name, ".pem"), identity.chain);
    Write(absl::StrCat(name, ".key"), identity.key);
    Write(absl::StrCat(name, ".both"), absl::StrCat(identity.key, identity.chain));
  }
  static void Set(absl::string_view name, absl::string_view value) {
    std::string error;
    EXPECT_TRUE(absl::FindCommandLineFlag(name)->ParseFrom(value, &error)) << error;
  }
  static std::string Refused(absl::string_view name, absl::string_view value) {
    std::string error;
    EXPECT_FALSE(absl::FindCommandLineFlag(name)->ParseFrom(value, &error));
    return error;
  }
  static void SetIdentity(absl::string_view cert, absl::string_view key) {
    Set("tls_cert", Path(cert));
    Set("tls_key", Path(key));
  }

  absl::StatusOr<TlsServerFlags> Server() {
    return ReadTlsServerFlags("http/1.1", std::make_shared<tls::TicketKeys>());
  }
  absl::StatusOr<TlsClientFlags> Client() { return ReadTlsClientFlags(url_, "http/1.1"); }
  std::string ServerError() { return std::string(Server().status().message()); }
  std::string ClientError() { return std::string(Client().status().message()); }

  const absl::FlagSaver saver_;
  const tls::TestAuthority authority_;
  Url url_;
};

TEST_F(TlsFlagsTest, WithoutFlagsThereIsNoServerTls) {
  const absl::StatusOr<TlsServerFlags> flags = Server();
  ASSERT_TRUE(flags.ok()) << flags.status();
  EXPECT_EQ(flags->context, nullptr);
}

TEST_F(TlsFlagsTest, AServerOfSeveralIdentities) {
  Set("tls_cert", absl::StrCat(Path("a.pem"), ",", Path("b.both")));
  Set("tls_key", absl::StrCat(Path("a.key"), ",", Path("b.both")));
  Set("tls_handshake_timeout", "3s");
  const absl::StatusOr<TlsServerFlags> flags = Server();
  ASSERT_TRUE(flags.ok()) << flags.status();
  EXPECT_NE(flags->context, nullptr);
  EXPECT_EQ(flags->handshake_timeout, absl::Seconds(3));
  EXPECT_EQ(flags->certificates, absl::StrCat(Path("a.pem"), ", ", Path("b.both")));
}

TEST_F(TlsFlagsTest, EveryServerFlagAloneIsRefused) {
  const std::vector<std::pair<std::string, std::string>> values = {
      {"tls_key", Path("a.key")},     {"tls_client_ca", Path("ca.pem")},
      {"tls_client_cert", "require"}, {"tls_alpn", "h2"},
      {"tls_min_version", "1.3"},     {"tls_handshake_timeout", "3s"}};
  EXPECT_EQ(values.size() + 1, TlsServerFlagNames().size());
  for (const auto& [name, value] : values) {
    const absl::FlagSaver saver;
    Set(name, value);
    EXPECT_EQ(ServerError(),
              absl::StrCat("--", name, ": TLS needs --tls_cert=FILE and --tls_key=FILE, too"));
  }
}

TEST_F(TlsFlagsTest, AFileThatIsNotGoodIsNamedWithItsFlag) {
  Write("empty", "");
  SetIdentity("empty", "a.key");
  EXPECT_THAT(ServerError(), AllOf(StartsWith(absl::StrCat("--tls_cert=", Path("empty"))),
                                   HasSubstr("no certificate"), HasSubstr("accepted are PEM")));
  SetIdentity("a.pem", "empty");
  EXPECT_THAT(ServerError(), AllOf(HasSubstr(absl::StrCat("--tls_key=", Path("empty"))),
                                   HasSubstr("no private key")));
  SetIdentity("none", "a.key");
  EXPECT_THAT(ServerError(), HasSubstr("No such file"));
  SetIdentity("a.pem", "b.key");
  EXPECT_THAT(ServerError(),
              HasSubstr(": the private key does not belong to the chain's first certificate; "));
}

TEST_F(TlsFlagsTest, TheIdentityThatIsNotGoodIsNamed) {
  Set("tls_cert", absl::StrCat(Path("a.pem"), ",", Path("b.pem")));
  Set("tls_key", absl::StrCat(Path("a.key"), ",", Path("a.key")));
  EXPECT_THAT(ServerError(), StartsWith(absl::StrCat("--tls_cert=", Path("b.pem"), " --tls_key=",
                                                     Path("a.key"), ": the private key")));
}

TEST_F(TlsFlagsTest, ClientCertificatesAndTheirAuthoritiesGoTogether) {
  SetIdentity("a.pem", "a.key");
  Set("tls_client_cert", "request");
  EXPECT_THAT(ServerError(), StartsWith("--tls_client_cert=request: --tls_client_ca must say"));
  Set("tls_client_ca", Path("ca.pem"));
  EXPECT_TRUE(Server().ok()) << ServerError();
  Set("tls_client_ca", Path("a.key"));
  EXPECT_THAT(ServerError(), StartsWith(absl::StrCat("--tls_client_ca=", Path("a.key"), ": ")));
  Set("tls_client_cert", "none");
  EXPECT_THAT(ServerError(), HasSubstr("no client is asked"));
}

TEST_F(TlsFlagsTest, ApplicationProtocols) {
  SetIdentity("a.pem", "a.key");
  for (const char* good : {"auto", "", "h2", "h2,http/1.1"}) {
    Set("tls_alpn", good);
    EXPECT_TRUE(Server().ok()) << ServerError();
  }
  for (const std::string& bad : {std::string(","), std::string("h2,"), std::string(256, 'x')}) {
    Set("tls_alpn", bad);
    EXPECT_EQ(ServerError(),
              absl::StrCat("--tls_alpn=", bad,
                           ": takes names of 1 to 255 bytes, separated by commas, or auto"));
  }
}

TEST_F(TlsFlagsTest, EnumerationsSayWhatTheyTake) {
  EXPECT_THAT(Refused("tls_client_cert", "yes"), HasSubstr("takes none or request or require"));
  EXPECT_THAT(Refused("tls_min_version", "1.1"), HasSubstr("takes 1.2 or 1.3"));
  for (const char* value : {"none", "request", "require"}) {
    Set("tls_client_cert", value);
    EXPECT_EQ(absl::FindCommandLineFlag("tls_client_cert")->CurrentValue(), value);
  }
}

TEST_F(TlsFlagsTest, AClientTrustsWhatItIsToldToTrust) {
  Set("tls_ca", Path("ca.pem"));
  const absl::StatusOr<TlsClientFlags> flags = Client();
  ASSERT_TRUE(flags.ok()) << flags.status();
  EXPECT_NE(flags->context, nullptr);
  EXPECT_EQ(flags->server_name, "localhost");
  EXPECT_FALSE(flags->insecure);
  Set("tls_ca", Path("a.key"));
  EXPECT_THAT(ClientError(), StartsWith(absl::StrCat("--tls_ca=", Path("a.key"), ": ")));
}

TEST_F(TlsFlagsTest, AFolderOfAuthorities) {
  const std::string folder = Path("authorities");
  mkdir(folder.c_str(), 0700);
  Set("tls_ca", folder);
  EXPECT_THAT(ClientError(), HasSubstr(folder));  // it is empty
  Write("authorities/ca.pem", authority_.pem());
  EXPECT_TRUE(Client().ok()) << ClientError();
}

TEST_F(TlsFlagsTest, AnotherServerNameThanTheUrls) {
  Set("tls_ca", Path("ca.pem"));
  Set("tls_server_name", "example.org");
  EXPECT_EQ(Client()->server_name, "example.org");
}

TEST_F(TlsFlagsTest, InsecureAndTrustContradictOneAnother) {
  Set("insecure", "true");
  EXPECT_TRUE(Client()->insecure);
  Set("tls_ca", Path("ca.pem"));
  EXPECT_THAT(ClientError(), StartsWith("--insecure and --tls_ca: one of them"));
}

TEST_F(TlsFlagsTest, AClientHasOneIdentityAtMost) {
  Set("tls_ca", Path("ca.pem"));
  SetIdentity("a.pem", "a.key");
  EXPECT_TRUE(Client().ok()) << ClientError();
  Set("tls_cert", absl::StrCat(Path("a.pem"), ",", Path("b.pem")));
  EXPECT_THAT(ClientError(), StartsWith("--tls_cert has 2 and --tls_key has 1: "));
  Set("tls_key", absl::StrCat(Path("a.key"), ",", Path("b.key")));
  EXPECT_THAT(ClientError(), HasSubstr("a client has one of each at most"));
}

TEST_F(TlsFlagsTest, APlainUrlAllowsNoneOfThem) {
  url_.scheme = "ws";
  url_.encrypted = false;
  EXPECT_EQ(Client()->context, nullptr);
  const std::vector<std::pair<std::string, std::string>> values = {
      {"tls_ca", Path("ca.pem")}, {"tls_server_name", "x"}, {"tls_cert", Path("a.pem")},
      {"tls_key", Path("a.key")}, {"tls_alpn", "h2"},       {"tls_min_version", "1.3"},
      {"insecure", "true"}};
  EXPECT_EQ(values.size(), TlsClientFlagNames().size());
  for (const auto& [name, value] : values) {
    const absl::FlagSaver saver;
    Set(name, value);
    EXPECT_THAT(ClientError(),
                StartsWith(absl::StrCat("--", name, ": this is for TLS, and ws:// is plain")));
  }
}

}  // namespace
}  // namespace sluice::tools
