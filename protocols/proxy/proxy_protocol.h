// The PROXY protocol of HAProxy: a header, before anything else on a connection, by which a proxy
// tells a server whom it connects for. Version 1 is a line of text, version 2 is binary and can
// carry further values (TLVs). This reads and writes both: bytes in, addresses out. What reads it
// from a Stream is AcceptProxied (accept_proxied.h).
//
// Example:
//   std::string header = *WriteProxyHeader(
//       ProxyHeader{.source = client.peer_address(), .destination = client.local_address()});
//   server.Send(header);                       // before anything else
//
//   absl::StatusOr<ProxyHeaderPart> part = ReadProxyHeader(bytes, {});
//   if (!part.ok()) return part.status();      // and so it is whatever would follow
//   if (part->size == 0) ReceiveMore(part->missing);
//   else Serve(part->header.source, bytes.subspan(part->size));
//
// Whoever may send a header may say that it is anybody: it must be taken from proxies only, and
// then always (a server that takes connections with and without one lets its clients choose).
//
// Errors: kInvalidArgument for bytes that are no header, or one of a version that is not accepted;
// kResourceExhausted for one over the limit; kDataLoss for a wrong checksum.
//
// Thread-safe: functions and values.
#ifndef SLUICE_PROTOCOLS_PROXY_PROXY_PROTOCOL_H_
#define SLUICE_PROTOCOLS_PROXY_PROXY_PROTOCOL_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "sluice/core/socket_address.h"

namespace sluice::proxy {

struct ProxyHeader {
  enum class Version : uint8_t { k1 = 1, k2 = 2 };

  // A value of version 2, of the types that the protocol's text lists (1 is ALPN, 2 the name that
  // the client asked for, ...). A checksum is none.
  struct Value {
    uint8_t type = 0;
    std::string bytes = {};
    friend bool operator==(const Value&, const Value&) = default;
  };

  Version version = Version::k2;
  // Whose connection it is, and where the client has connected to. Both none where the proxy does
  // not know, or speaks for itself: the connection's own then.
  SocketAddress source = {};
  SocketAddress destination = {};
  // Version 2's LOCAL: the proxy's own connection, such as a health check.
  bool is_local = false;
  std::vector<Value> values = {};
  bool has_checksum = false;  // CRC32c; one that was read was right

  friend bool operator==(const ProxyHeader&, const ProxyHeader&) = default;
};

struct ProxyHeaderOptions {
  bool accept_v1 = true;
  bool accept_v2 = true;
  // Of version 2, in all. This is what surely fits into a first segment; all addresses fit. Version
  // 1 has 107 at most.
  size_t max_bytes = 536;
};

// A header, or what there is of it.
struct ProxyHeaderPart {
  size_t size = 0;  // of the header; 0 while it is not whole
  size_t missing =
      0;  // then: so many more bytes belong to it surely, and perhaps others after them
  ProxyHeader header = {};  // once it is whole
};

// `bytes` is the connection's beginning, which may go on behind the header.
absl::StatusOr<ProxyHeaderPart> ReadProxyHeader(absl::Span<const uint8_t> bytes,
                                                const ProxyHeaderOptions& options);

// Addresses of different families, or, in version 1, Unix ones, are written as not known; IPv4
// addresses that are written as IPv6 (a listener for both has such) as IPv4. kInvalidArgument for
// what the version cannot say: values, a checksum or LOCAL in version 1, and more than 65,535
// bytes.
absl::StatusOr<std::string> WriteProxyHeader(const ProxyHeader& header);

}  // namespace sluice::proxy

#endif  // SLUICE_PROTOCOLS_PROXY_PROXY_PROTOCOL_H_
