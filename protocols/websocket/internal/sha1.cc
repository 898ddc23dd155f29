#include "sluice/protocols/websocket/internal/sha1.h"

#include <cstddef>
#include <cstring>

namespace sluice::websocket::internal {
namespace {

constexpr size_t kBlock = 64;

uint32_t RotateLeft(uint32_t x, unsigned bits) { return x << bits | x >> (32 - bits); }

void StoreBigEndian(uint32_t value, uint8_t* out) {
  for (int i = 0; i < 4; ++i) out[i] = static_cast<uint8_t>(value >> (24 - 8 * i));
}

void AddBlock(uint32_t (&state)[5], const uint8_t* block) {
  uint32_t w[80];
  for (int i = 0; i < 16; ++i) {
    const uint8_t* p = block + 4 * i;
    w[i] = uint32_t{p[0]} << 24 | uint32_t{p[1]} << 16 | uint32_t{p[2]} << 8 | p[3];
  }
  for (int i = 16; i < 80; ++i) {
    w[i] = RotateLeft(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
  }
  uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
  for (int i = 0; i < 80; ++i) {
    uint32_t f, k;
    if (i < 20) {
      f = (b & c) | (~b & d), k = 0x5a827999;
    } else if (i < 40) {
      f = b ^ c ^ d, k = 0x6ed9eba1;
    } else if (i < 60) {
      f = (b & c) | (b & d) | (c & d), k = 0x8f1bbcdc;
    } else {
      f = b ^ c ^ d, k = 0xca62c1d6;
    }
    const uint32_t next = RotateLeft(a, 5) + f + e + k + w[i];
    e = d;
    d = c;
    c = RotateLeft(b, 30);
    b = a;
    a = next;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
}

}  // namespace

std::array<uint8_t, 20> Sha1(absl::string_view message) {
  uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  const auto* data = reinterpret_cast<const uint8_t*>(message.data());
  size_t left = message.size();
  for (; left >= kBlock; left -= kBlock, data += kBlock) AddBlock(state, data);
  // The rest, one set bit, zeros, and the length in bits in the last 8 bytes of a block.
  uint8_t end[2 * kBlock] = {};
  if (left > 0) std::memcpy(end, data, left);
  end[left] = 0x80;
  const size_t end_bytes = left + 9 <= kBlock ? kBlock : 2 * kBlock;
  const uint64_t bits = uint64_t{message.size()} * 8;
  StoreBigEndian(static_cast<uint32_t>(bits >> 32), end + end_bytes - 8);
  StoreBigEndian(static_cast<uint32_t>(bits), end + end_bytes - 4);
  for (size_t i = 0; i < end_bytes; i += kBlock) AddBlock(state, end + i);
  std::array<uint8_t, 20> digest;
  for (size_t i = 0; i < 5; ++i) StoreBigEndian(state[i], digest.data() + 4 * i);
  return digest;
}

}  // namespace sluice::websocket::internal
