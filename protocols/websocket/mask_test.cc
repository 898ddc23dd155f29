#include "sluice/protocols/websocket/mask.h"

#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/protocols/websocket/internal/mask_kernels.h"

namespace sluice::websocket {
namespace {

uint32_t Key(uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
  const uint8_t bytes[] = {a, b, c, d};
  uint32_t key;
  std::memcpy(&key, bytes, 4);
  return key;
}

// RFC 6455 section 5.3, word by word.
std::vector<uint8_t> Reference(const std::vector<uint8_t>& in, uint32_t key) {
  uint8_t k[4];
  std::memcpy(k, &key, 4);
  std::vector<uint8_t> out(in.size());
  for (size_t i = 0; i < in.size(); ++i) out[i] = in[i] ^ k[i % 4];
  return out;
}

std::vector<uint8_t> RandomBytes(size_t n, std::mt19937& rng) {
  std::vector<uint8_t> bytes(n);
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(rng());
  return bytes;
}

// Sizes around every vector width and unrolled step, then some larger ones.
std::vector<size_t> Sizes() {
  std::vector<size_t> sizes;
  for (size_t n = 0; n <= 330; ++n) sizes.push_back(n);
  for (size_t n : {511, 512, 513, 1000, 1024, 4095, 4099}) sizes.push_back(n);
  return sizes;
}

using Masker = void (*)(uint8_t* dst, const uint8_t* src, size_t n, uint32_t key);

// Masks n bytes that lie `shift` above their destination, at several alignments, and checks that
// nothing outside the destination changed but what was source.
void CheckMove(Masker mask, size_t n, size_t shift, std::mt19937& rng) {
  constexpr size_t kEdge = 64;
  for (const size_t alignment : {0, 1, 13, 31}) {
    const std::vector<uint8_t> memory = RandomBytes(kEdge * 2 + alignment + shift + n, rng);
    const size_t to = kEdge + alignment;
    const size_t from = to + shift;
    const uint32_t key = rng();
    std::vector<uint8_t> expected = memory;
    const std::vector<uint8_t> source(memory.begin() + from, memory.begin() + from + n);
    const std::vector<uint8_t> masked = Reference(source, key);
    std::copy(masked.begin(), masked.end(), expected.begin() + to);
    std::vector<uint8_t> actual = memory;
    mask(actual.data() + to, actual.data() + from, n, key);
    ASSERT_EQ(actual, expected) << "n=" << n << " shift=" << shift << " alignment=" << alignment;
  }
}

TEST(MaskTest, HeaderExample) {
  const uint8_t frame[] = {0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58};
  const uint8_t* part1 = frame + 6;
  const uint8_t* part2 = frame + 9;
  const size_t n1 = 3, n2 = 2;
  uint8_t out[5];
  uint32_t key;
  std::memcpy(&key, frame + 2, sizeof(key));
  ApplyMask(out, part1, n1, key);
  ApplyMask(out + n1, part2, n2, TurnMaskKey(key, n1));
  EXPECT_EQ(std::string(out, out + 5), "Hello");  // the example of RFC 6455 section 5.7
}

TEST(MaskTest, TurnedKeyStartsWithTheByteThatFollows) {
  const uint32_t key = Key(1, 2, 3, 4);
  EXPECT_EQ(TurnMaskKey(key, 0), key);
  EXPECT_EQ(TurnMaskKey(key, 1), Key(2, 3, 4, 1));
  EXPECT_EQ(TurnMaskKey(key, 2), Key(3, 4, 1, 2));
  EXPECT_EQ(TurnMaskKey(key, 3), Key(4, 1, 2, 3));
  EXPECT_EQ(TurnMaskKey(key, uint64_t{1} << 40 | 5), Key(2, 3, 4, 1));
}

TEST(MaskTest, MasksInPlaceAndMovingDownByAnyDistance) {
  std::mt19937 rng(1);
  for (const size_t n : Sizes()) {
    for (const size_t shift : {0, 1, 3, 4, 6, 15, 16, 17, 33, 64, 100}) {
      CheckMove(ApplyMask, n, shift, rng);
    }
  }
}

TEST(MaskTest, EveryKernelMasksInPlaceAndMovingDown) {
  std::mt19937 rng(2);
  for (const internal::MaskKernel& kernel : internal::UsableMaskKernels()) {
    SCOPED_TRACE(kernel.name);
    for (const size_t n : Sizes()) {
      if (n < 16) continue;
      for (const size_t shift : {0, 1, 4, 31, 65}) CheckMove(kernel.mask, n, shift, rng);
    }
  }
}

TEST(MaskTest, MasksToASeparatePlaceAbove) {
  std::mt19937 rng(3);
  for (const size_t n : Sizes()) {
    const std::vector<uint8_t> in = RandomBytes(n, rng);
    const uint32_t key = rng();
    std::vector<uint8_t> memory(2 * n);
    std::copy(in.begin(), in.end(), memory.begin());
    ApplyMask(memory.data() + n, memory.data(), n, key);
    EXPECT_EQ(std::vector<uint8_t>(memory.begin() + n, memory.end()), Reference(in, key));
  }
}

TEST(MaskTest, TestingFindsTheOneByteThatIsNotAsciiWhereverItIs) {
  std::mt19937 rng(4);
  std::vector<decltype(internal::MaskKernel::mask_testing_ascii)> forms = {ApplyMaskTestingAscii};
  for (const internal::MaskKernel& kernel : internal::UsableMaskKernels()) {
    forms.push_back(kernel.mask_testing_ascii);
  }
  for (size_t form = 0; form < forms.size(); ++form) {
    for (size_t n = form == 0 ? 0 : 16; n <= 300; n = n < 140 ? n + 1 : n + 37) {
      const uint32_t key = rng();
      std::vector<uint8_t> text(n, 'a');
      std::vector<uint8_t> masked = Reference(text, key);
      std::vector<uint8_t> out(n);
      EXPECT_TRUE(forms[form](out.data(), masked.data(), n, key)) << n;
      EXPECT_EQ(out, text);
      for (size_t at = 0; at < n; ++at) {
        masked[at] ^= 0x80;
        ASSERT_FALSE(forms[form](out.data(), masked.data(), n, key)) << n << " at " << at;
        masked[at] ^= 0x80;
      }
    }
  }
}

TEST(MaskTest, AnySplitGivesTheSameBytes) {
  std::mt19937 rng(5);
  const std::vector<uint8_t> in = RandomBytes(150, rng);
  const uint32_t key = rng();
  const std::vector<uint8_t> expected = Reference(in, key);
  for (size_t split = 0; split <= in.size(); ++split) {
    std::vector<uint8_t> out(in.size());
    ApplyMask(out.data(), in.data(), split, key);
    ApplyMask(out.data() + split, in.data() + split, in.size() - split, TurnMaskKey(key, split));
    ASSERT_EQ(out, expected) << split;
  }
}

}  // namespace
}  // namespace sluice::websocket
