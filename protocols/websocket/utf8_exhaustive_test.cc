// All 2^32 sequences of four bytes (and with them all shorter ones), across the edge of a vector,
// through every kernel. Minutes with -c opt, so it is run by hand after a change of the kernels:
//   tools/bazel test -c opt //protocols/websocket:utf8_exhaustive_test

#include <cstdint>
#include <cstring>

#include "gtest/gtest.h"
#include "sluice/protocols/websocket/internal/utf8_kernels.h"

namespace sluice::websocket {
namespace {

// The table of RFC 3629 section 4, as a function from lead and second byte. Returns the length, 0
// for none.
int LengthOfLead(uint8_t a, uint8_t b) {
  if (a < 0x80) return 1;
  if (a >= 0xc2 && a <= 0xdf) return b >= 0x80 && b <= 0xbf ? 2 : 0;
  if (a == 0xe0) return b >= 0xa0 && b <= 0xbf ? 3 : 0;
  if (a == 0xed) return b >= 0x80 && b <= 0x9f ? 3 : 0;
  if (a >= 0xe1 && a <= 0xef) return b >= 0x80 && b <= 0xbf ? 3 : 0;
  if (a == 0xf0) return b >= 0x90 && b <= 0xbf ? 4 : 0;
  if (a == 0xf4) return b >= 0x80 && b <= 0x8f ? 4 : 0;
  if (a >= 0xf1 && a <= 0xf3) return b >= 0x80 && b <= 0xbf ? 4 : 0;
  return 0;
}

// s has four bytes and ASCII after them.
bool Valid4(const uint8_t* s) {
  int i = 0;
  while (i < 4) {
    const int length = LengthOfLead(s[i], s[i + 1]);
    if (length == 0 || i + length > 4) return false;
    if (length >= 3 && (s[i + 2] & 0xc0) != 0x80) return false;
    if (length == 4 && (s[i + 3] & 0xc0) != 0x80) return false;
    i += length;
  }
  return true;
}

TEST(Utf8ExhaustiveTest, EverySequenceOfFourBytes) {
  constexpr size_t kAt = 30;
  uint64_t wrong = 0;
  for (const internal::Utf8Kernel& kernel : internal::UsableUtf8Kernels()) {
    uint8_t text[64];
    std::memset(text, 'x', sizeof(text));
    for (uint64_t sequence = 0; sequence < uint64_t{1} << 32; ++sequence) {
      const uint32_t bytes = static_cast<uint32_t>(sequence);
      std::memcpy(text + kAt, &bytes, 4);
      wrong += kernel.valid(text, sizeof(text)) != Valid4(text + kAt);
    }
    EXPECT_EQ(wrong, 0u) << kernel.name;
  }
}

}  // namespace
}  // namespace sluice::websocket
