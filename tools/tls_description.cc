#include "sluice/tools/tls_description.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "sluice/tools/printable.h"

namespace sluice::tools {
namespace {

std::string Line(absl::string_view name, absl::string_view value) {
  constexpr size_t kColumns = 9;
  return absl::StrCat("  ", name, std::string(kColumns - name.size(), ' '), PrintableLine(value),
                      "\n");
}

std::string UtcTime(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", time, absl::UTCTimeZone());
}

}  // namespace

std::string DescribeCertificate(const tls::Certificate& certificate) {
  std::vector<std::string> names = certificate.dns_names;
  names.insert(names.end(), certificate.ip_addresses.begin(), certificate.ip_addresses.end());
  return absl::StrCat(Line("subject", certificate.subject), Line("issuer", certificate.issuer),
                      Line("names", names.empty() ? "none" : absl::StrJoin(names, ", ")),
                      Line("valid", absl::StrCat(UtcTime(certificate.not_before), " to ",
                                                 UtcTime(certificate.not_after))),
                      Line("key", certificate.key), Line("serial", certificate.serial),
                      Line("SHA-256", certificate.sha256));
}

std::string DescribeTls(const tls::TlsStream& stream) {
  const std::string alpn = stream.alpn();
  std::string text =
      absl::StrCat(tls::VersionName(stream.version()), "\n", Line("cipher", stream.cipher()),
                   Line("group", stream.group()), Line("ALPN", alpn.empty() ? "none" : alpn),
                   Line("session", stream.resumed() ? "resumed" : "new"));
  int number = 0;
  for (const tls::Certificate& certificate : stream.peer_certificates())
    absl::StrAppend(&text, "certificate ", ++number, "\n", DescribeCertificate(certificate));
  return text;
}

}  // namespace sluice::tools
