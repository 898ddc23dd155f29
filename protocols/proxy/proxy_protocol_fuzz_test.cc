// A header is read in the same way however its bytes are cut, never past its end, and one that was
// read, written and read again is the same.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "sluice/core/socket_address.h"
#include "sluice/protocols/proxy/proxy_protocol.h"

namespace sluice::proxy {
namespace {

void Check(bool holds) {
  if (!holds) std::abort();
}

// Beginnings of a good header are not wrong, and those of a bad one may be.
void CheckBeginnings(absl::Span<const uint8_t> bytes, const ProxyHeaderOptions& options) {
  const auto whole = ReadProxyHeader(bytes, options);
  const size_t size = whole.ok() && whole->size > 0 ? whole->size : bytes.size() + 1;
  for (size_t i = 0; i < std::min(bytes.size() + 1, size); ++i) {
    const auto part = ReadProxyHeader(bytes.first(i), options);
    if (!part.ok()) return Check(!whole.ok());
    Check(part->size == 0 && part->missing > 0);
    if (whole.ok() && whole->size > 0) Check(i + part->missing <= size);
  }
}

void CheckRoundTrip(const ProxyHeader& header) {
  const absl::StatusOr<std::string> written = WriteProxyHeader(header);
  Check(written.ok());
  const auto again = ReadProxyHeader(
      absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(written->data()), written->size()),
      {.max_bytes = 70000});
  Check(again.ok() && again->size == written->size());
  // IPv4 in IPv6 is written as IPv4, and so only the second time is as the first.
  Check(*WriteProxyHeader(again->header) == *written);
  if (header.source.family() != SocketAddress::Family::kIpv6) Check(again->header == header);
}

}  // namespace
}  // namespace sluice::proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const sluice::proxy::ProxyHeaderOptions options = {
      .accept_v1 = (data[0] & 1) != 0,
      .accept_v2 = (data[0] & 2) != 0,
      .max_bytes = (data[0] & 4) != 0 ? size_t{65551} : size_t{536}};
  const auto bytes = absl::MakeConstSpan(data + 1, size - 1);
  sluice::proxy::CheckBeginnings(bytes, options);
  const auto part = sluice::proxy::ReadProxyHeader(bytes, options);
  if (part.ok() && part->size > 0) sluice::proxy::CheckRoundTrip(part->header);
  return 0;
}
