#include "sluice/protocols/proxy/proxy_protocol.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "sluice/protocols/proxy/internal/proxy_header.h"

namespace sluice::proxy {

using internal::StartsAs;

absl::StatusOr<ProxyHeaderPart> ReadProxyHeader(absl::Span<const uint8_t> bytes,
                                                const ProxyHeaderOptions& options) {
  const bool may_be_v1 = options.accept_v1 && StartsAs(bytes, internal::kTextStart);
  const bool may_be_v2 = options.accept_v2 && StartsAs(bytes, internal::kSignature);
  if (!may_be_v1 && !may_be_v2) {
    const absl::string_view accepted = !options.accept_v2   ? "1"
                                       : !options.accept_v1 ? "2"
                                                            : "1 or 2";
    return absl::InvalidArgumentError(absl::StrCat("there is no PROXY protocol header, of version ",
                                                   accepted, ", at the connection's beginning"));
  }
  // Of nothing yet, too: version 1's shortest is shorter than what each of version 2 has.
  if (may_be_v1) return internal::ReadTextHeader(bytes);
  return internal::ReadBinaryHeader(bytes, options.max_bytes);
}

absl::StatusOr<std::string> WriteProxyHeader(const ProxyHeader& header) {
  if (header.version == ProxyHeader::Version::k2) return internal::WriteBinaryHeader(header);
  if (header.is_local || header.has_checksum || !header.values.empty()) {
    return absl::InvalidArgumentError(
        "version 1 of the PROXY protocol has no values, no checksum and no LOCAL");
  }
  return internal::WriteTextHeader(header);
}

}  // namespace sluice::proxy
