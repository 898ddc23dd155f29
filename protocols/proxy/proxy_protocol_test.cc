#include "sluice/protocols/proxy/proxy_protocol.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/socket_address.h"

namespace sluice::proxy {
namespace {

using ::testing::HasSubstr;
using Value = ProxyHeader::Value;

absl::Span<const uint8_t> Bytes(absl::string_view text) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

absl::StatusOr<ProxyHeaderPart> Read(absl::string_view text,
                                     const ProxyHeaderOptions& options = {}) {
  return ReadProxyHeader(Bytes(text), options);
}

SocketAddress At(absl::string_view text) { return *SocketAddress::Parse(text); }

const std::string kSignature("\r\n\r\n\0\r\nQUIT\n", 12);

// Version 2, with these bytes after the signature, up to the length, and behind it.
std::string Binary(uint8_t command, uint8_t family, absl::string_view rest) {
  std::string header = kSignature;
  for (const size_t byte : {size_t{command}, size_t{family}, rest.size() >> 8, rest.size() & 0xff})
    header.push_back(static_cast<char>(byte));
  return absl::StrCat(header, rest);
}

// 192.0.2.1:56324 to 198.51.100.2:443.
const std::string kIpv4Bytes = absl::HexStringToBytes("c0000201c6336402dc0401bb");

// Made by another implementation: the same addresses, ALPN "h2" and a checksum.
const std::string kWithChecksum = absl::HexStringToBytes(
    "0d0a0d0a000d0a515549540a21110018c0000201c6336402dc0401bb0100026832030004f2c57571");

// All of a good header: read whole with other bytes behind it; never whole, never past its end, and
// never wrong before.
ProxyHeader Whole(absl::string_view text) {
  const auto whole = Read(absl::StrCat(text, "PROXY and more"));
  EXPECT_TRUE(whole.ok()) << whole.status();
  if (!whole.ok()) return {};
  EXPECT_EQ(whole->size, text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const auto part = Read(text.substr(0, i));
    EXPECT_TRUE(part.ok()) << i << part.status();
    if (!part.ok()) continue;
    EXPECT_EQ(part->size, 0u) << i;
    EXPECT_GT(part->missing, 0u) << i;
    EXPECT_LE(i + part->missing, text.size()) << i;
  }
  return whole->header;
}

// How often it takes to read it, when all that is asked for comes.
int Rounds(absl::string_view text) {
  size_t received = 0;
  for (int rounds = 0;; ++rounds) {
    const auto part = Read(text.substr(0, received));
    if (part->size > 0) return rounds;
    received += part->missing;
  }
}

// The error of a bad header, which is one whatever follows.
std::string Error(absl::string_view text, const ProxyHeaderOptions& options = {}) {
  const auto bad = Read(text, options);
  if (bad.ok()) return "";
  EXPECT_FALSE(Read(absl::StrCat(text, "\r\n"), options).ok());
  EXPECT_FALSE(Read(absl::StrCat(text, std::string(200, 'x')), options).ok());
  return std::string(bad.status().message());
}

TEST(ProxyProtocolTest, HeaderExample) {
  const SocketAddress client = At("192.0.2.1:56324");
  std::string header =
      *WriteProxyHeader(ProxyHeader{.source = client, .destination = At("198.51.100.2:443")});
  const std::string sent = header + "hello";
  const auto bytes = Bytes(sent);
  const auto example = [&]() -> absl::Status {
    absl::StatusOr<ProxyHeaderPart> part = ReadProxyHeader(bytes, {});
    if (!part.ok()) return part.status();
    EXPECT_NE(part->size, 0u);
    EXPECT_EQ(part->header.source, client);
    EXPECT_EQ(bytes.subspan(part->size), Bytes("hello"));
    return absl::OkStatus();
  };
  EXPECT_EQ(example(), absl::OkStatus());
}

TEST(ProxyProtocolTest, TextOfIpv4) {
  const ProxyHeader header = Whole("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n");
  EXPECT_EQ(header.version, ProxyHeader::Version::k1);
  EXPECT_EQ(header.source, At("192.0.2.1:56324"));
  EXPECT_EQ(header.destination, At("198.51.100.2:443"));
  EXPECT_FALSE(header.is_local);
}

TEST(ProxyProtocolTest, TextOfIpv6) {
  const ProxyHeader header = Whole("PROXY TCP6 2001:db8::1 ::1 0 65535\r\n");
  EXPECT_EQ(header.source, At("[2001:db8::1]:0"));
  EXPECT_EQ(header.destination, At("[::1]:65535"));
}

TEST(ProxyProtocolTest, TheShortestTexts) {
  Whole("PROXY UNKNOWN\r\n");
  Whole("PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n");
  Whole("PROXY TCP6 :: :: 1 1\r\n");
}

TEST(ProxyProtocolTest, TextOfTheUnknownMaySayAnything) {
  for (const absl::string_view text :
       {"PROXY UNKNOWN\r\n", "PROXY UNKNOWN \r\n", "PROXY UNKNOWN ffff::1 what ever\r\n"}) {
    const ProxyHeader header = Whole(text);
    EXPECT_EQ(header.source, SocketAddress());
    EXPECT_EQ(header.destination, SocketAddress());
  }
}

TEST(ProxyProtocolTest, TheLongestTextHas107Bytes) {
  Whole(absl::StrCat("PROXY UNKNOWN ", std::string(91, 'x'), "\r\n"));
  EXPECT_THAT(Error(absl::StrCat("PROXY UNKNOWN ", std::string(92, 'x'), "\r\n")),
              HasSubstr("more than 107 bytes"));
  EXPECT_THAT(Error(absl::StrCat("PROXY TCP4 ", std::string(96, '1'))),
              HasSubstr("more than 107 bytes"));
}

// However little of it is left for what has to follow.
TEST(ProxyProtocolTest, ATextIsNotTooLongBeforeItIs) {
  const std::string text = absl::StrCat("PROXY TCP4 1", std::string(84, '1'), " 1 1 1 11\r");
  ASSERT_EQ(text.size(), 106);
  for (size_t size = 0; size <= text.size(); ++size) {
    const auto part = ReadProxyHeader(Bytes(absl::string_view(text).substr(0, size)), {});
    ASSERT_TRUE(part.ok()) << size << ": " << part.status();
    EXPECT_LE(size + part->missing, 107);
  }
}

TEST(ProxyProtocolTest, MalformedText) {
  for (const absl::string_view words : {
           "TCP4",
           "TCP4 1.1.1.1",
           "TCP4 1.1.1.1 1.1.1.1 1",
           "TCP4 1.1.1.1 1.1.1.1 1 1 ",
           "TCP4 1.1.1.1 1.1.1.1 1 1 1",
           "TCP4  1.1.1.1 1.1.1.1 1 1",
           "TCP4 1.1.1.1 1.1.1.1 01 1",
           "TCP4 1.1.1.1 1.1.1.1 1 65536",
           "TCP4 1.1.1.1 1.1.1.1 1 -1",
           "TCP4 1.1.1.1 1.1.1.1 1 +1",
           "TCP4 1.1.1.1 1.1.1.1 1 123456",
           "TCP4 1.1.1.01 1.1.1.1 1 1",
           "TCP4 1.1.1 1.1.1.1 1 1",
           "TCP4 ::1 ::1 1 1",
           "TCP6 1.1.1.1 1.1.1.1 1 1",
           "TCP6 ::1 fe80::1%1 1 1",
           "tcp4 1.1.1.1 1.1.1.1 1 1",
           "UNKNOWNS",
           "UDP4 1.1.1.1 1.1.1.1 1 1",
           "",
       }) {
    EXPECT_THAT(Error(absl::StrCat("PROXY ", words, "\r\n")), HasSubstr("malformed")) << words;
  }
  EXPECT_THAT(Error("PROXY UNKNOWN\n"), HasSubstr("malformed"));
  EXPECT_THAT(Error("PROXY UNKNOWN\rx"), HasSubstr("malformed"));
  EXPECT_THAT(Error(absl::string_view("PROXY TCP4 1.1.1.1\0 1.1.1.1 1 1\r\n", 34)),
              HasSubstr("malformed"));
}

TEST(ProxyProtocolTest, BinaryOfIpv4) {
  const ProxyHeader header = Whole(Binary(0x21, 0x11, kIpv4Bytes));
  EXPECT_EQ(header.version, ProxyHeader::Version::k2);
  EXPECT_EQ(header.source, At("192.0.2.1:56324"));
  EXPECT_EQ(header.destination, At("198.51.100.2:443"));
  EXPECT_TRUE(header.values.empty());
  EXPECT_FALSE(header.has_checksum);
}

TEST(ProxyProtocolTest, BinaryOfIpv6) {
  const ProxyHeader header = Whole(Binary(0x21, 0x21,
                                          absl::HexStringToBytes("20010db8000000000000000000000001"
                                                                 "00000000000000000000000000000001"
                                                                 "0001ffff")));
  EXPECT_EQ(header.source, At("[2001:db8::1]:1"));
  EXPECT_EQ(header.destination, At("[::1]:65535"));
}

TEST(ProxyProtocolTest, BinaryOfUnix) {
  std::string paths = "/run/client";
  paths.resize(108);
  paths += std::string("\0abstract", 9);
  paths.resize(216);
  ProxyHeader header = Whole(Binary(0x21, 0x31, paths));
  EXPECT_EQ(header.source, At("unix:/run/client"));
  EXPECT_EQ(header.destination, At("unix:@abstract"));
  EXPECT_EQ(*WriteProxyHeader(header), Binary(0x21, 0x31, paths));

  header = Whole(Binary(0x21, 0x31, std::string(216, 'x')));
  EXPECT_EQ(header.source.path(), std::string(108, 'x'));
  EXPECT_EQ(*WriteProxyHeader(header), Binary(0x21, 0x31, std::string(216, 'x')));

  header = Whole(Binary(0x21, 0x31, std::string(216, '\0')));
  EXPECT_EQ(header.source.family(), SocketAddress::Family::kUnix);
  EXPECT_EQ(header.source.path(), "");
}

TEST(ProxyProtocolTest, LocalIsTheProxysOwnWhateverFollows) {
  for (const absl::string_view rest :
       {absl::string_view(), absl::string_view("anything"), absl::string_view(kIpv4Bytes)}) {
    const ProxyHeader header = Whole(Binary(0x20, rest.empty() ? 0x00 : 0x11, rest));
    EXPECT_TRUE(header.is_local);
    EXPECT_EQ(header.source, SocketAddress());
  }
}

TEST(ProxyProtocolTest, WhatIsNotSpecifiedHasNoAddresses) {
  const ProxyHeader header = Whole(Binary(0x21, 0x00, absl::string_view("\5\0\2id", 5)));
  EXPECT_FALSE(header.is_local);
  EXPECT_EQ(header.source, SocketAddress());
  EXPECT_EQ(header.values, (std::vector<Value>{{5, "id"}}));
}

TEST(ProxyProtocolTest, ValuesAndChecksum) {
  const ProxyHeader header = Whole(kWithChecksum);
  EXPECT_EQ(header.source, At("192.0.2.1:56324"));
  EXPECT_EQ(header.values, (std::vector<Value>{{1, "h2"}}));
  EXPECT_TRUE(header.has_checksum);
  EXPECT_EQ(absl::BytesToHexString(*WriteProxyHeader(header)),
            absl::BytesToHexString(kWithChecksum));
}

TEST(ProxyProtocolTest, EachDamagedBitIsFound) {
  for (size_t bit = 16 * 8; bit < kWithChecksum.size() * 8; ++bit) {
    std::string damaged = kWithChecksum;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ 1 << bit % 8);
    // In a value's type or length it may make another header of it: one without a checksum.
    const auto part = Read(damaged);
    EXPECT_TRUE(!part.ok() || !part->header.has_checksum) << bit;
  }
  std::string damaged = kWithChecksum;
  damaged[16] = 'x';
  EXPECT_EQ(Read(damaged).status().code(), absl::StatusCode::kDataLoss);
}

TEST(ProxyProtocolTest, MalformedBinary) {
  EXPECT_THAT(Error(Binary(0x21, 0x11, kIpv4Bytes.substr(1))), HasSubstr("too short"));
  EXPECT_THAT(Error(Binary(0x21, 0x21, kIpv4Bytes)), HasSubstr("too short"));
  EXPECT_THAT(Error(Binary(0x11, 0x11, kIpv4Bytes)), HasSubstr("version and command are 0x11"));
  EXPECT_THAT(Error(Binary(0x22, 0x11, kIpv4Bytes)), HasSubstr("version and command are 0x22"));
  EXPECT_THAT(Error(Binary(0x21, 0x13, kIpv4Bytes)), HasSubstr("family and transport are 0x13"));
  EXPECT_THAT(Error(Binary(0x21, 0x41, kIpv4Bytes)), HasSubstr("family and transport are 0x41"));
  for (const absl::string_view values :
       {absl::string_view("\1", 1), absl::string_view("\1\0", 2), absl::string_view("\1\0\1", 3),
        absl::string_view("\1\xff\xffxx", 5)}) {
    EXPECT_THAT(Error(Binary(0x21, 0x11, absl::StrCat(kIpv4Bytes, values))),
                HasSubstr("goes beyond its end"));
  }
  EXPECT_THAT(Error(Binary(0x21, 0x00, absl::string_view("\3\0\1x", 4))), HasSubstr("checksum"));
}

TEST(ProxyProtocolTest, TheLengthOfBinaryIsBounded) {
  Whole(Binary(0x20, 0, std::string(520, 'x')));
  EXPECT_THAT(Error(Binary(0x20, 0, std::string(521, 'x'))),
              HasSubstr("has 537 bytes, and may have 536"));
  // Known from the length alone.
  EXPECT_EQ(Read(Binary(0x20, 0, std::string(521, 'x')).substr(0, 16)).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(ProxyProtocolTest, OtherProtocolsAreKnownAtOnce) {
  for (const absl::string_view text : {"G", "PR ", "PROXY-", "\r\n\r\n\r", "\x16\x03\x01"})
    EXPECT_THAT(Error(text), HasSubstr("no PROXY protocol header, of version 1 or 2")) << text;
}

TEST(ProxyProtocolTest, VersionsThatAreNotAccepted) {
  EXPECT_THAT(Error("PROXY UNKNOWN\r\n", {.accept_v1 = false}), HasSubstr("of version 2"));
  EXPECT_THAT(Error(Binary(0x20, 0, ""), {.accept_v2 = false}), HasSubstr("of version 1"));
  EXPECT_EQ(Read("", {.accept_v1 = false})->missing, 16u);
}

TEST(ProxyProtocolTest, IsReadInFewPieces) {
  EXPECT_EQ(Rounds(Binary(0x21, 0x11, kIpv4Bytes)), 3);
  EXPECT_EQ(Rounds("PROXY UNKNOWN\r\n"), 1);
  EXPECT_LE(Rounds("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"), 6);
}

TEST(ProxyProtocolTest, WritesWhatItReads) {
  for (const absl::string_view text :
       {"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", "PROXY TCP6 2001:db8::1 ::1 0 65535\r\n",
        "PROXY UNKNOWN\r\n"}) {
    EXPECT_EQ(*WriteProxyHeader(Whole(text)), text);
  }
  for (const std::string& bytes :
       {Binary(0x21, 0x11, kIpv4Bytes), Binary(0x20, 0, ""), Binary(0x21, 0, "")}) {
    EXPECT_EQ(*WriteProxyHeader(Whole(bytes)), bytes);
  }
}

TEST(ProxyProtocolTest, Ipv4InIpv6IsWrittenAsIpv4) {
  ProxyHeader header = {.version = ProxyHeader::Version::k1,
                        .source = At("[::ffff:192.0.2.1]:5"),
                        .destination = At("[::ffff:192.0.2.2]:6")};
  EXPECT_EQ(*WriteProxyHeader(header), "PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n");
  header.destination = At("192.0.2.2:6");
  EXPECT_EQ(*WriteProxyHeader(header), "PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n");
}

TEST(ProxyProtocolTest, AddressesThatDoNotGoTogetherAreNotKnown) {
  ProxyHeader header = {.version = ProxyHeader::Version::k1,
                        .source = At("192.0.2.1:5"),
                        .destination = At("[::1]:6")};
  EXPECT_EQ(*WriteProxyHeader(header), "PROXY UNKNOWN\r\n");
  header.source = header.destination = At("unix:/run/x");
  EXPECT_EQ(*WriteProxyHeader(header), "PROXY UNKNOWN\r\n");
  header.version = ProxyHeader::Version::k2;
  header.source = At("192.0.2.1:5");
  EXPECT_EQ(*WriteProxyHeader(header), Binary(0x21, 0, ""));
}

TEST(ProxyProtocolTest, WhatAVersionCannotSayIsRefused) {
  const auto code = [](const ProxyHeader& header) {
    return WriteProxyHeader(header).status().code();
  };
  constexpr auto kRefused = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(code({.version = ProxyHeader::Version::k1, .is_local = true}), kRefused);
  EXPECT_EQ(code({.version = ProxyHeader::Version::k1, .values = {{1, "h2"}}}), kRefused);
  EXPECT_EQ(code({.version = ProxyHeader::Version::k1, .has_checksum = true}), kRefused);
  EXPECT_EQ(code({.values = {{3, "1234"}}}), kRefused);
  EXPECT_EQ(code({.values = {{1, std::string(65533, 'x')}}}), kRefused);
  EXPECT_EQ(code({.values = {{1, std::string(65532, 'x')}}}), absl::StatusCode::kOk);
}

}  // namespace
}  // namespace sluice::proxy
