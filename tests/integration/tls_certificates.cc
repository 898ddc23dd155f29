// Writes the certificates of the integration tests, with new keys, into a folder:
//
//   tls_certificates FOLDER      NAME.pem (a chain) and NAME.key for each name in the table below,
//                                root.pem, intermediate.pem, and other_root.pem, which nobody
//                                trusts

#include <cstdio>
#include <fstream>
#include <memory>
#include <string>

#include "sluice/tls/context.h"
#include "sluice/tls/testing.h"

namespace {

using sluice::tls::Identity;
using sluice::tls::TestAuthority;
using KeyType = TestAuthority::KeyType;
using Purpose = TestAuthority::Purpose;
using Request = TestAuthority::Request;
using Validity = TestAuthority::Validity;

struct Entry {
  const char* file;
  Request request;
};

const Entry kOfTheRoot[] = {
    {"p256", {.subject = "p256"}},
    {"p384", {.subject = "p384", .key = KeyType::kP384}},
    {"rsa", {.subject = "rsa", .key = KeyType::kRsa2048}},
    {"ed25519", {.subject = "ed25519", .key = KeyType::kEd25519}},
    {"wildcard", {.names = {"*.example.org"}, .subject = "wildcard"}},
    {"exact", {.names = {"exact.example.org"}, .subject = "exact"}},
    {"expired", {.subject = "expired", .validity = Validity::kPast}},
    {"future", {.subject = "future", .validity = Validity::kFuture}},
    {"code_signing", {.subject = "code_signing", .purpose = Purpose::kCodeSigning}},
    {"server_only", {.subject = "server_only", .purpose = Purpose::kServer}},
    {"client_only", {.subject = "client_only", .purpose = Purpose::kClient}},
    {"client", {.names = {}, .subject = "client", .purpose = Purpose::kClient}},
    {"revoked", {.subject = "revoked"}},
};

bool Write(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  return file.flush().good();
}

bool Write(const std::string& folder, const std::string& name, const Identity& identity) {
  return Write(folder + "/" + name + ".pem", identity.chain) &&
         Write(folder + "/" + name + ".key", identity.key);
}

bool WriteAll(const std::string& folder) {
  const TestAuthority root("test root");
  const TestAuthority other("other root");
  const std::unique_ptr<TestAuthority> intermediate = root.Intermediate("intermediate");
  bool written = Write(folder + "/root.pem", root.pem()) &&
                 Write(folder + "/other_root.pem", other.pem()) &&
                 Write(folder + "/intermediate.pem", intermediate->pem());
  for (const Entry& entry : kOfTheRoot)
    written = written && Write(folder, entry.file, root.Issue(entry.request));
  return written &&
         Write(folder, "self_signed", TestAuthority::SelfSigned({.subject = "self_signed"})) &&
         Write(folder, "unknown", other.Issue({.subject = "unknown"})) &&
         Write(folder, "chained", intermediate->Issue({.subject = "chained"}));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && WriteAll(argv[1])) return 0;
  std::fprintf(stderr, "tls_certificates: needs a folder that it can write to\n");
  return 1;
}
