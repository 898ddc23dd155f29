#include "sluice/tls/internal/record_keys.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <new>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "openssl/ssl.h"

namespace sluice::tls::internal {
namespace {

absl::Span<const uint8_t> Bytes(absl::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// RFC 8448, section 3: the client's traffic secret, its first record, and what is in it.
TEST(RecordKeys, AgreeWithTheRfcsTrace) {
  const std::string secret =
      absl::HexStringToBytes("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5");
  const std::string record = absl::HexStringToBytes(
      "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20"
      "441e2b62974e1f5a6292a2977014bd1e3deae63aeebb21694915e4");
  std::string plain;
  for (int i = 0; i < 50; ++i) plain.push_back(static_cast<char>(i));

  const SSL_CIPHER& suite = *SSL_get_cipher_by_value(0x1301);
  RecordKeys seals, opens;
  ASSERT_TRUE(seals.Set(suite, Bytes(secret), 0));
  ASSERT_TRUE(opens.Set(suite, Bytes(secret), 0));
  std::string sealed(plain.size() + RecordKeys::kOverhead, 0);
  ASSERT_TRUE(seals.Seal(23, Bytes(plain), reinterpret_cast<uint8_t*>(&sealed[0])));
  EXPECT_EQ(absl::BytesToHexString(sealed), absl::BytesToHexString(record));

  std::string opened(plain.size() + 1, 0);
  ASSERT_TRUE(opens.Open(Bytes(record), reinterpret_cast<uint8_t*>(&opened[0])));
  EXPECT_EQ(opened, plain + '\x17');
}

// Neither the secret nor what a cipher has made of its key: what is left is who was who.
TEST(RecordKeys, LeaveNoKeyBehind) {
  for (const uint16_t suite : {0x1301, 0x1302, 0x1303}) {
    alignas(RecordKeys) uint8_t memory[sizeof(RecordKeys)] = {};
    const auto used = [&memory] {
      return sizeof(memory) - std::count(std::begin(memory), std::end(memory), 0);
    };
    auto* const keys = new (memory) RecordKeys;
    const std::string secret(suite == 0x1302 ? 48 : 32, 's');
    ASSERT_TRUE(keys->Set(*SSL_get_cipher_by_value(suite), Bytes(secret), 0));
    EXPECT_GT(used(), secret.size() + 32);
    keys->~RecordKeys();
    EXPECT_LE(used(), sizeof(void*) + 8u) << suite;
  }
}

TEST(RecordKeys, TakeSuitesOfTls13Only) {
  const std::string secret(32, 's');
  RecordKeys keys;
  EXPECT_TRUE(keys.Set(*SSL_get_cipher_by_value(0x1301), Bytes(secret), 0));
  EXPECT_TRUE(keys.Set(*SSL_get_cipher_by_value(0x1303), Bytes(secret), 0));
  EXPECT_FALSE(keys.Set(*SSL_get_cipher_by_value(0x1302), Bytes(secret), 0));  // of SHA-384: 48
  EXPECT_TRUE(keys.Set(*SSL_get_cipher_by_value(0x1302), Bytes(std::string(48, 's')), 0));
  EXPECT_FALSE(keys.Set(*SSL_get_cipher_by_value(0xC02F), Bytes(secret), 0));
}

// A nonce is never used twice.
TEST(RecordKeys, EndWithTheLastNumber) {
  RecordKeys keys;
  ASSERT_TRUE(
      keys.Set(*SSL_get_cipher_by_value(0x1301), Bytes(std::string(32, 's')), UINT64_MAX - 1));
  uint8_t record[RecordKeys::kOverhead];
  EXPECT_TRUE(keys.Seal(23, {}, record));
  EXPECT_FALSE(keys.Seal(23, {}, record));
}

}  // namespace
}  // namespace sluice::tls::internal
