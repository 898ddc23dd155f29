// write_test_certificates FOLDER: certificates and keys for tests that run programs, made anew each
// time. NAME.pem is a chain, NAME.key its key:
//
//   ca         an authority's own certificate (no key); so is other_ca
//   server     for localhost, 127.0.0.1 and ::1, by ca
//   renewed    the same, another one
//   example    for example.org and *.example.org, by ca through an intermediate authority, RSA
//   expired    for localhost and 127.0.0.1, by ca
//   client     for a client only, by ca
//   stranger   for localhost and 127.0.0.1, and for clients too, by other_ca

#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "sluice/tls/context.h"
#include "sluice/tls/testing.h"

namespace {

using sluice::tls::Identity;
using sluice::tls::TestAuthority;

// To be used by main alone.
class Folder {
 public:
  explicit Folder(absl::string_view path) : path_(path) {}

  void Write(absl::string_view name, const std::string& text) {
    const std::string path = absl::StrCat(path_, "/", name);
    std::FILE* const file = std::fopen(path.c_str(), "w");
    const bool written = file != nullptr && std::fwrite(text.data(), 1, text.size(), file) != 0;
    if (file == nullptr || std::fclose(file) != 0 || !written) {
      std::perror(path.c_str());
      ok_ = false;
    }
  }
  void Write(absl::string_view name, const Identity& identity) {
    Write(absl::StrCat(name, ".pem"), identity.chain);
    Write(absl::StrCat(name, ".key"), identity.key);
  }

  bool ok() const { return ok_; }

 private:
  const std::string path_;
  bool ok_ = true;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: write_test_certificates FOLDER\n");
    return 2;
  }
  Folder folder(argv[1]);
  const TestAuthority ca("test root");
  const TestAuthority other_ca("another root");
  const std::unique_ptr<TestAuthority> intermediate = ca.Intermediate("test intermediate");
  folder.Write("ca.pem", ca.pem());
  folder.Write("other_ca.pem", other_ca.pem());

  TestAuthority::Request server;
  server.names = {"localhost", "127.0.0.1", "::1"};
  server.subject = "server";
  folder.Write("server", ca.Issue(server));
  server.subject = "renewed";
  folder.Write("renewed", ca.Issue(server));

  TestAuthority::Request example;
  example.names = {"example.org", "*.example.org"};
  example.subject = "example";
  example.key = TestAuthority::KeyType::kRsa2048;
  folder.Write("example", intermediate->Issue(example));

  TestAuthority::Request expired;
  expired.validity = TestAuthority::Validity::kPast;
  folder.Write("expired", ca.Issue(expired));

  TestAuthority::Request client;
  client.names = {};
  client.subject = "client";
  client.purpose = TestAuthority::Purpose::kClient;
  folder.Write("client", ca.Issue(client));

  folder.Write("stranger", other_ca.Issue());
  return folder.ok() ? 0 : 1;
}
