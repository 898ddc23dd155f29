// Masking of frame payloads (RFC 6455 section 5.3): byte i of the payload is XORed with byte i mod
// 4 of the key. The same operation masks and unmasks. This is bytes only; frames are in frame.h and
// decoder.h.
//
// A key travels as four bytes. Here it is a uint32_t that holds them in the order of the wire, as
// memcpy puts them there, so that no host ever swaps bytes.
//
// Example, a payload that arrives in two parts:
//   uint32_t key;
//   std::memcpy(&key, frame + 2, sizeof(key));
//   ApplyMask(out, part1, n1, key);
//   ApplyMask(out + n1, part2, n2, TurnMaskKey(key, n1));
//
// Thread-safe: functions without state. The vector unit is chosen at run time, at the first call.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_MASK_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_MASK_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace sluice::websocket {

namespace internal {
// For n >= 16. The second says whether all bytes written are ASCII.
void MaskLong(uint8_t* dst, const uint8_t* src, size_t n, uint32_t key);
bool MaskLongTestingAscii(uint8_t* dst, const uint8_t* src, size_t n, uint32_t key);
}  // namespace internal

// The key for the bytes that follow the first n: its first byte is for payload byte n.
constexpr uint32_t TurnMaskKey(uint32_t key, uint64_t n) {
  const unsigned bits = static_cast<unsigned>(n % 4) * 8;
  if (bits == 0) return key;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  return key >> bits | key << (32 - bits);
#else
  return key << bits | key >> (32 - bits);
#endif
}

namespace internal {

// For n < 16, without a loop over bytes. All loads come before the stores, as the ranges may
// overlap. Returns the OR of all bytes written, so that a set bit 7 anywhere tells that they are
// not ASCII.
inline uint64_t MaskShort(uint8_t* dst, const uint8_t* src, size_t n, uint32_t key) {
  const uint64_t wide = uint64_t{key} << 32 | key;
  if (n >= 8) {
    uint64_t head, tail;
    std::memcpy(&head, src, 8);
    std::memcpy(&tail, src + n - 8, 8);
    const uint32_t turned = TurnMaskKey(key, n);
    head ^= wide;
    tail ^= uint64_t{turned} << 32 | turned;
    std::memcpy(dst, &head, 8);
    std::memcpy(dst + n - 8, &tail, 8);
    return head | tail;
  }
  if (n >= 4) {
    uint32_t head, tail;
    std::memcpy(&head, src, 4);
    std::memcpy(&tail, src + n - 4, 4);
    head ^= key;
    tail ^= TurnMaskKey(key, n);
    std::memcpy(dst, &head, 4);
    std::memcpy(dst + n - 4, &tail, 4);
    return head | tail;
  }
  if (n == 0) return 0;
  uint8_t k[4];
  std::memcpy(k, &key, 4);
  const size_t middle = n / 2;  // 0, 1, 1 for 1, 2, 3 bytes
  const uint8_t a = src[0] ^ k[0];
  const uint8_t b = src[middle] ^ k[middle];
  const uint8_t c = src[n - 1] ^ k[n - 1];
  dst[0] = a;
  dst[middle] = b;
  dst[n - 1] = c;
  return static_cast<uint64_t>(a | b | c);
}

inline constexpr uint64_t kHighBits = 0x8080808080808080;

}  // namespace internal

// Writes src[0, n) XOR key to dst[0, n). The ranges may be apart, the same, or overlap with dst
// below src (the bytes move down); dst may not lie inside (src, src + n).
inline void ApplyMask(uint8_t* dst, const uint8_t* src, size_t n, uint32_t key) {
  if (n < 16) {
    internal::MaskShort(dst, src, n, key);
  } else {
    internal::MaskLong(dst, src, n, key);
  }
}

// The same, and says whether all bytes written are ASCII: for text that costs nothing over
// ApplyMask, and ASCII needs no further check of its UTF-8.
inline bool ApplyMaskTestingAscii(uint8_t* dst, const uint8_t* src, size_t n, uint32_t key) {
  if (n < 16) return (internal::MaskShort(dst, src, n, key) & internal::kHighBits) == 0;
  return internal::MaskLongTestingAscii(dst, src, n, key);
}

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_MASK_H_
