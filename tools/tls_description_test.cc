#include "sluice/tools/tls_description.h"

#include <string>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/tls/certificate.h"

namespace sluice::tools {
namespace {

tls::Certificate Example() {
  tls::Certificate certificate;
  certificate.subject = "CN=example.org,O=Example";
  certificate.issuer = "CN=root";
  certificate.serial = "0a1b";
  certificate.dns_names = {"example.org", "*.example.org"};
  certificate.ip_addresses = {"192.0.2.1", "2001:db8::1"};
  certificate.not_before =
      absl::FromCivil(absl::CivilSecond(2020, 1, 2, 3, 4, 5), absl::UTCTimeZone());
  certificate.not_after = absl::FromCivil(absl::CivilSecond(2099, 12, 31), absl::UTCTimeZone());
  certificate.key = "ECDSA P-256";
  certificate.sha256 = "00ff";
  return certificate;
}

TEST(TlsDescriptionTest, ACertificateIsShownWhole) {
  EXPECT_EQ(DescribeCertificate(Example()),
            "  subject  CN=example.org,O=Example\n"
            "  issuer   CN=root\n"
            "  names    example.org, *.example.org, 192.0.2.1, 2001:db8::1\n"
            "  valid    2020-01-02 03:04:05 UTC to 2099-12-31 00:00:00 UTC\n"
            "  key      ECDSA P-256\n"
            "  serial   0a1b\n"
            "  SHA-256  00ff\n");
}

TEST(TlsDescriptionTest, NoNameIsSaid) {
  tls::Certificate certificate = Example();
  certificate.dns_names.clear();
  certificate.ip_addresses.clear();
  EXPECT_NE(DescribeCertificate(certificate).find("  names    none\n"), std::string::npos);
}

TEST(TlsDescriptionTest, WhatCouldDriveATerminalIsMadeSafe) {
  tls::Certificate certificate = Example();
  certificate.subject = "CN=\x1b[2Jx";
  certificate.dns_names = {"a\nb\xff"};
  certificate.ip_addresses.clear();
  const std::string text = DescribeCertificate(certificate);
  EXPECT_NE(text.find("  subject  CN=\\x1b[2Jx\n"), std::string::npos);
  EXPECT_NE(text.find("  names    a\\nb\\xff\n"), std::string::npos);
}

}  // namespace
}  // namespace sluice::tools
