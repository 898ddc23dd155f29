#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sluice/protocols/proxy/internal/proxy_header.h"

namespace sluice::proxy::internal {
namespace {

using Bytes = absl::Span<const uint8_t>;
using Family = SocketAddress::Family;

// Signature, version and command, family and transport, and the length of what follows.
constexpr size_t kFixed = 16;
constexpr size_t kMostAfterFixed = 65535;
constexpr uint8_t kLocal = 0x20;
constexpr uint8_t kProxy = 0x21;
constexpr uint8_t kChecksumType = 0x03;
constexpr size_t kChecksumBytes = 4;
constexpr size_t kPathBytes = 108;

absl::Status Malformed(absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("a malformed PROXY protocol header of version 2: ", what));
}

size_t ReadLength(const uint8_t* bytes) { return static_cast<size_t>(bytes[0] << 8 | bytes[1]); }

// CRC32c of the header, where its own four bytes, at `place`, count as zero.
uint32_t Checksum(Bytes header, size_t place) {
  uint32_t crc = ~uint32_t{0};
  for (size_t i = 0; i < header.size(); ++i) {
    crc ^= i >= place && i < place + kChecksumBytes ? 0 : header[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
  }
  return ~crc;
}

// Of both addresses together.
size_t AddressBytes(Family family) {
  switch (family) {
    case Family::kIpv4:
      return 12;
    case Family::kIpv6:
      return 36;
    case Family::kUnix:
      return 2 * kPathBytes;
    case Family::kNone:
      return 0;
  }
  return 0;
}

SocketAddress UnixAddress(const uint8_t* path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path, kPathBytes);
  // An abstract name may have any byte, so it is taken to end at the zeros that fill the field. A
  // path ends with one, which counts; it may fill all of the field.
  size_t size = kPathBytes;
  while (size > 0 && path[size - 1] == 0) --size;
  if (size > 0 && path[0] != 0) size = std::min(strnlen(address.sun_path, size) + 1, kPathBytes);
  return SocketAddress::FromSockaddr(
      reinterpret_cast<const sockaddr*>(&address),
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size));
}

void ReadAddresses(Family family, const uint8_t* at, ProxyHeader& header) {
  if (family == Family::kUnix) {
    header.source = UnixAddress(at);
    header.destination = UnixAddress(at + kPathBytes);
  } else if (family != Family::kNone) {
    const size_t host = family == Family::kIpv4 ? 4 : 16;
    header.source = IpAddress(at, host, at + 2 * host);
    header.destination = IpAddress(at + host, host, at + 2 * host + 2);
  }
}

absl::Status CheckChecksum(Bytes header, size_t place) {
  const uint8_t* const at = header.data() + place;
  const uint32_t said = static_cast<uint32_t>(at[0]) << 24 | static_cast<uint32_t>(at[1]) << 16 |
                        static_cast<uint32_t>(at[2]) << 8 | at[3];
  const uint32_t is = Checksum(header, place);
  if (is == said) return absl::OkStatus();
  return absl::DataLossError(absl::StrFormat(
      "a PROXY protocol header of version 2 says that its CRC32c is %08x, and it is %08x", said,
      is));
}

// The values from `at` to the header's end.
absl::Status ReadValues(Bytes bytes, size_t at, ProxyHeader& header) {
  while (at < bytes.size()) {
    const size_t size = bytes.size() - at < 3 ? bytes.size() : ReadLength(&bytes[at + 1]);
    const uint8_t type = bytes[at];
    if (bytes.size() - at < 3 + size) return Malformed("a value goes beyond its end");
    at += 3;
    if (type != kChecksumType) {
      header.values.push_back(
          {type, std::string(reinterpret_cast<const char*>(bytes.data() + at), size)});
    } else {
      if (size != kChecksumBytes || header.has_checksum)
        return Malformed("its checksum has not 4 bytes, or is not the only one");
      header.has_checksum = true;
      if (absl::Status status = CheckChecksum(bytes, at); !status.ok()) return status;
    }
    at += size;
  }
  return absl::OkStatus();
}

// kNone for what is not specified; that the family and the transport are ones that there are.
absl::StatusOr<Family> FamilyOf(uint8_t byte) {
  constexpr Family kFamilies[] = {Family::kNone, Family::kIpv4, Family::kIpv6, Family::kUnix};
  if (byte >> 4 > 3 || (byte & 0xf) > 2)
    return Malformed(absl::StrFormat("the family and transport are %#04x", byte));
  return kFamilies[byte >> 4];
}

// Version and command, in the 13th byte.
absl::Status CheckCommand(uint8_t byte) {
  if (byte == kLocal || byte == kProxy) return absl::OkStatus();
  return Malformed(absl::StrFormat("the version and command are %#04x", byte));
}

// Of a header that is there as a whole.
absl::StatusOr<ProxyHeader> ParseWhole(Bytes bytes) {
  ProxyHeader header;
  header.is_local = bytes[12] == kLocal;
  // "must discard the protocol block, including the family, which is ignored".
  if (header.is_local) return header;
  const absl::StatusOr<Family> family = FamilyOf(bytes[13]);
  if (!family.ok()) return family.status();
  const size_t addresses = AddressBytes(*family);
  if (bytes.size() < kFixed + addresses) return Malformed("it is too short for its addresses");
  ReadAddresses(*family, bytes.data() + kFixed, header);
  if (absl::Status status = ReadValues(bytes, kFixed + addresses, header); !status.ok())
    return status;
  return header;
}

void AppendLength(std::string& out, size_t length) {
  out.push_back(static_cast<char>(length >> 8));
  out.push_back(static_cast<char>(length));
}

void AppendAddresses(std::string& out, const AddressPair& pair) {
  const auto append = [&](const void* bytes, size_t size) {
    out.append(static_cast<const char*>(bytes), size);
  };
  switch (pair.family) {
    case Family::kIpv4: {
      const auto* const source = reinterpret_cast<const sockaddr_in*>(pair.source.data());
      const auto* const destination = reinterpret_cast<const sockaddr_in*>(pair.destination.data());
      append(&source->sin_addr, 4);
      append(&destination->sin_addr, 4);
      break;
    }
    case Family::kIpv6: {
      const auto* const source = reinterpret_cast<const sockaddr_in6*>(pair.source.data());
      const auto* const destination =
          reinterpret_cast<const sockaddr_in6*>(pair.destination.data());
      append(&source->sin6_addr, 16);
      append(&destination->sin6_addr, 16);
      break;
    }
    case Family::kUnix: {
      for (const SocketAddress* const address : {&pair.source, &pair.destination}) {
        sockaddr_un path = {};
        std::memcpy(&path, address->data(), address->length());
        append(path.sun_path, kPathBytes);
      }
      return;
    }
    case Family::kNone:
      return;
  }
  AppendLength(out, pair.source.port());
  AppendLength(out, pair.destination.port());
}

void AppendValue(std::string& out, uint8_t type, absl::string_view bytes) {
  out.push_back(static_cast<char>(type));
  AppendLength(out, bytes.size());
  out.append(bytes.data(), bytes.size());
}

uint8_t FamilyByte(Family family) {
  switch (family) {
    case Family::kIpv4:
      return 0x11;  // over TCP
    case Family::kIpv6:
      return 0x21;
    case Family::kUnix:
      return 0x31;  // a stream
    case Family::kNone:
      return 0;
  }
  return 0;
}

}  // namespace

absl::StatusOr<ProxyHeaderPart> ReadBinaryHeader(Bytes bytes, size_t max_bytes) {
  if (bytes.size() > 12) {
    if (absl::Status status = CheckCommand(bytes[12]); !status.ok()) return status;
  }
  if (bytes.size() < kFixed) return ProxyHeaderPart{.missing = kFixed - bytes.size()};
  const size_t size = kFixed + ReadLength(&bytes[14]);
  if (size > max_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat("a PROXY protocol header of version 2 has ",
                                                     size, " bytes, and may have ", max_bytes));
  }
  if (bytes.size() < size) return ProxyHeaderPart{.missing = size - bytes.size()};
  absl::StatusOr<ProxyHeader> header = ParseWhole(bytes.first(size));
  if (!header.ok()) return header.status();
  return ProxyHeaderPart{.size = size, .header = *std::move(header)};
}

absl::StatusOr<std::string> WriteBinaryHeader(const ProxyHeader& header) {
  const AddressPair pair = header.is_local ? AddressPair() : PairOf(header);
  std::string out(kSignature);
  out.push_back(static_cast<char>(header.is_local ? kLocal : kProxy));
  out.push_back(static_cast<char>(FamilyByte(pair.family)));
  std::string rest;
  AppendAddresses(rest, pair);
  for (const ProxyHeader::Value& value : header.values) {
    if (value.type == kChecksumType || value.bytes.size() > kMostAfterFixed)
      return absl::InvalidArgumentError("a value is a checksum, or too long");
    AppendValue(rest, value.type, value.bytes);
  }
  if (header.has_checksum) AppendValue(rest, kChecksumType, std::string(kChecksumBytes, '\0'));
  if (rest.size() > kMostAfterFixed) {
    return absl::InvalidArgumentError(
        absl::StrCat("a PROXY protocol header of version 2 has at most ", kMostAfterFixed,
                     " bytes of addresses and values, and these are ", rest.size()));
  }
  AppendLength(out, rest.size());
  out += rest;
  if (!header.has_checksum) return out;
  const size_t place = out.size() - kChecksumBytes;
  const uint32_t crc =
      Checksum(Bytes(reinterpret_cast<const uint8_t*>(out.data()), out.size()), place);
  for (size_t i = 0; i < kChecksumBytes; ++i)
    out[place + i] = static_cast<char>(crc >> (24 - 8 * i));
  return out;
}

}  // namespace sluice::proxy::internal
