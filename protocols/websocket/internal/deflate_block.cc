#include "sluice/protocols/websocket/internal/deflate_block.h"

#include <array>
#include <cstddef>

namespace sluice::websocket::internal {
namespace {

constexpr size_t kEndOfBlock = 256;
constexpr size_t kMaxLengths = 286 + 30;

// Least significant bit first; zeros behind the end.
class BitReader {
 public:
  explicit BitReader(absl::Span<const uint8_t> bytes) : bytes_(bytes) {}

  unsigned Take(unsigned count) {
    unsigned bits = 0;
    for (unsigned i = 0; i < count; ++i) bits |= TakeBit() << i;
    return bits;
  }
  unsigned TakeBit() {
    const size_t at = position_++;
    return at / 8 < bytes_.size() ? bytes_[at / 8] >> (at % 8) & 1u : 0u;
  }

 private:
  const absl::Span<const uint8_t> bytes_;
  size_t position_ = 0;
};

// Symbols by the lengths of their codes, where shorter codes come first, and those of one length in
// the order of their symbols (section 3.2.2).
class LengthCode {
 public:
  explicit LengthCode(const std::array<uint8_t, 19>& lengths) {
    for (const uint8_t length : lengths) ++counts_[length];
    counts_[0] = 0;
    size_t next = 0;
    for (uint8_t length = 1; length < counts_.size(); ++length) {
      for (size_t symbol = 0; symbol < lengths.size(); ++symbol)
        if (lengths[symbol] == length) symbols_[next++] = static_cast<uint8_t>(symbol);
    }
  }

  // -1 for no code.
  int Take(BitReader& bits) const {
    int code = 0, first = 0, index = 0;
    for (size_t length = 1; length < counts_.size(); ++length) {
      code |= static_cast<int>(bits.TakeBit());
      if (code - first < counts_[length])
        return symbols_[static_cast<size_t>(index + code - first)];
      index += counts_[length];
      first = (first + counts_[length]) << 1;
      code <<= 1;
    }
    return -1;
  }

 private:
  std::array<int, 8> counts_{};
  std::array<uint8_t, 19> symbols_{};
};

// The lengths of the codes of literals, and of the end (section 3.2.7). False for damage.
bool ReadLengths(BitReader& bits, std::array<uint8_t, kMaxLengths>& lengths, size_t& literals) {
  static constexpr std::array<uint8_t, 19> kOrder = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                     11, 4,  12, 3, 13, 2, 14, 1, 15};
  literals = bits.Take(5) + 257;
  const size_t distances = bits.Take(5) + 1;
  const size_t lengths_of_lengths = bits.Take(4) + 4;
  std::array<uint8_t, 19> first{};
  for (size_t i = 0; i < lengths_of_lengths; ++i)
    first[kOrder[i]] = static_cast<uint8_t>(bits.Take(3));
  if (literals + distances > lengths.size()) return false;
  const LengthCode code(first);
  for (size_t have = 0; have < literals;) {
    const int symbol = code.Take(bits);
    if (symbol < 0) return false;
    if (symbol < 16) {
      lengths[have++] = static_cast<uint8_t>(symbol);
      continue;
    }
    if (symbol == 16 && have == 0) return false;
    const uint8_t repeated = symbol == 16 ? lengths[have - 1] : uint8_t{0};
    size_t times = symbol == 16   ? 3 + bits.Take(2)
                   : symbol == 17 ? 3 + bits.Take(3)
                                  : 11 + bits.Take(7);
    if (times > literals + distances - have) return false;
    for (; times > 0; --times) lengths[have++] = repeated;
  }
  return true;
}

// With how many zeros the code of the end ends; -1 for a code of nothing else, or none.
int ZerosOfTheEnd(const std::array<uint8_t, kMaxLengths>& lengths, size_t literals) {
  const uint8_t length = lengths[kEndOfBlock];
  if (length == 0) return -1;
  unsigned code = 0;
  for (uint8_t shorter = 1; shorter <= length; ++shorter) {
    code <<= 1;
    if (shorter == length) break;
    for (size_t i = 0; i < literals; ++i) code += lengths[i] == shorter;
  }
  for (size_t i = 0; i < kEndOfBlock; ++i) code += lengths[i] == length;
  return code == 0 ? -1 : __builtin_ctz(code);
}

}  // namespace

int UnusedBitsBehindBlock(absl::Span<const uint8_t> block) {
  constexpr unsigned kOwnCodes = 2;
  BitReader bits(block);
  bits.TakeBit();  // whether it is the last one
  if (bits.Take(2) != kOwnCodes) return -1;
  std::array<uint8_t, kMaxLengths> lengths{};
  size_t literals = 0;
  if (!ReadLengths(bits, lengths, literals)) return -1;
  const int zeros = ZerosOfTheEnd(lengths, literals);
  if (zeros < 0) return -1;
  size_t last = block.size();
  while (last > 0 && block[last - 1] == 0) --last;
  if (last == 0) return -1;
  const int unset = __builtin_clz(static_cast<unsigned>(block[last - 1])) - 24;
  const int unused = static_cast<int>(8 * (block.size() - last)) + unset - zeros;
  return unused >= 0 && unused < 8 ? unused : -1;
}

}  // namespace sluice::websocket::internal
