#include "sluice/protocols/websocket/mask.h"

#include <atomic>
#include <cstring>

#include "absl/types/span.h"
#include "sluice/protocols/websocket/internal/mask_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

// Each kernel has the same shape. The first and the last vector are read before anything is written
// and written after everything else; they overlap the whole vectors between them, so there is no
// loop over single bytes. That holds for bytes that move down as well, because both were read from
// the untouched source, and every step of the loop between reads at or above all it has yet
// written.

namespace sluice::websocket::internal {
namespace {

template <bool kTestAscii>
bool MaskPortable(uint8_t* dst, const uint8_t* src, size_t n, uint32_t key) {
  const uint64_t wide = uint64_t{key} << 32 | key;
  const uint32_t turned = TurnMaskKey(key, n);
  uint64_t last;
  std::memcpy(&last, src + n - 8, 8);
  last ^= uint64_t{turned} << 32 | turned;
  uint64_t seen = last;
  size_t i = 0;
  for (; i + 32 <= n; i += 32) {
    uint64_t v[4];
    std::memcpy(v, src + i, 32);
    for (uint64_t& word : v) {
      word ^= wide;
      if (kTestAscii) seen |= word;
    }
    std::memcpy(dst + i, v, 32);
  }
  for (; i + 8 <= n; i += 8) {
    uint64_t v;
    std::memcpy(&v, src + i, 8);
    v ^= wide;
    if (kTestAscii) seen |= v;
    std::memcpy(dst + i, &v, 8);
  }
  std::memcpy(dst + n - 8, &last, 8);
  return (seen & kHighBits) == 0;
}

#if defined(__x86_64__)

template <bool kTestAscii>
bool MaskSse2(uint8_t* dst, const uint8_t* src, size_t n, uint32_t key) {
  const __m128i k = _mm_set1_epi32(static_cast<int>(key));
  __m128i last = _mm_loadu_si128(reinterpret_cast<const __m128i*>(src + n - 16));
  last = _mm_xor_si128(last, _mm_set1_epi32(static_cast<int>(TurnMaskKey(key, n))));
  __m128i seen = last;
  size_t i = 0;
  for (; i + 64 <= n; i += 64) {
    const auto* from = reinterpret_cast<const __m128i*>(src + i);
    auto* to = reinterpret_cast<__m128i*>(dst + i);
    const __m128i a = _mm_xor_si128(_mm_loadu_si128(from), k);
    const __m128i b = _mm_xor_si128(_mm_loadu_si128(from + 1), k);
    const __m128i c = _mm_xor_si128(_mm_loadu_si128(from + 2), k);
    const __m128i d = _mm_xor_si128(_mm_loadu_si128(from + 3), k);
    if (kTestAscii) {
      seen = _mm_or_si128(seen, _mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d)));
    }
    _mm_storeu_si128(to, a);
    _mm_storeu_si128(to + 1, b);
    _mm_storeu_si128(to + 2, c);
    _mm_storeu_si128(to + 3, d);
  }
  for (; i + 16 <= n; i += 16) {
    const __m128i v = _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(src + i)), k);
    if (kTestAscii) seen = _mm_or_si128(seen, v);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + i), v);
  }
  _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + n - 16), last);
  return _mm_movemask_epi8(seen) == 0;
}

#define SLUICE_AVX2 __attribute__((target("avx2")))

// For n >= 32. Stores that cross a cache line cost twice, so the loop writes aligned vectors where
// it is long.
template <bool kTestAscii>
SLUICE_AVX2 bool MaskAvx2(uint8_t* dst, const uint8_t* src, size_t n, uint32_t key) {
  if (n < 32) return MaskSse2<kTestAscii>(dst, src, n, key);
  const __m256i k = _mm256_set1_epi32(static_cast<int>(key));
  __m256i first = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(src));
  first = _mm256_xor_si256(first, k);
  __m256i last = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(src + n - 32));
  last = _mm256_xor_si256(last, _mm256_set1_epi32(static_cast<int>(TurnMaskKey(key, n))));
  __m256i seen = _mm256_or_si256(first, last);
  size_t i = 32 - reinterpret_cast<uintptr_t>(dst) % 32;
  const __m256i turned = _mm256_set1_epi32(static_cast<int>(TurnMaskKey(key, i)));
  for (; i + 128 <= n; i += 128) {
    const auto* from = reinterpret_cast<const __m256i*>(src + i);
    auto* to = reinterpret_cast<__m256i*>(dst + i);
    const __m256i a = _mm256_xor_si256(_mm256_loadu_si256(from), turned);
    const __m256i b = _mm256_xor_si256(_mm256_loadu_si256(from + 1), turned);
    const __m256i c = _mm256_xor_si256(_mm256_loadu_si256(from + 2), turned);
    const __m256i d = _mm256_xor_si256(_mm256_loadu_si256(from + 3), turned);
    if (kTestAscii) {
      seen = _mm256_or_si256(seen, _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d)));
    }
    _mm256_store_si256(to, a);
    _mm256_store_si256(to + 1, b);
    _mm256_store_si256(to + 2, c);
    _mm256_store_si256(to + 3, d);
  }
  for (; i + 32 <= n; i += 32) {
    const __m256i v =
        _mm256_xor_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(src + i)), turned);
    if (kTestAscii) seen = _mm256_or_si256(seen, v);
    _mm256_store_si256(reinterpret_cast<__m256i*>(dst + i), v);
  }
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst), first);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst + n - 32), last);
  return _mm256_movemask_epi8(seen) == 0;
}

#undef SLUICE_AVX2
#define SLUICE_AVX512 __attribute__((target("avx512f,avx512bw")))

template <bool kTestAscii>
SLUICE_AVX512 bool MaskAvx512(uint8_t* dst, const uint8_t* src, size_t n, uint32_t key) {
  if (n < 64) return MaskAvx2<kTestAscii>(dst, src, n, key);
  const __m512i k = _mm512_set1_epi32(static_cast<int>(key));
  const __m512i first = _mm512_xor_si512(_mm512_loadu_si512(src), k);
  const __m512i last = _mm512_xor_si512(_mm512_loadu_si512(src + n - 64),
                                        _mm512_set1_epi32(static_cast<int>(TurnMaskKey(key, n))));
  __m512i seen = _mm512_or_si512(first, last);
  size_t i = 64 - reinterpret_cast<uintptr_t>(dst) % 64;
  const __m512i turned = _mm512_set1_epi32(static_cast<int>(TurnMaskKey(key, i)));
  for (; i + 256 <= n; i += 256) {
    const __m512i a = _mm512_xor_si512(_mm512_loadu_si512(src + i), turned);
    const __m512i b = _mm512_xor_si512(_mm512_loadu_si512(src + i + 64), turned);
    const __m512i c = _mm512_xor_si512(_mm512_loadu_si512(src + i + 128), turned);
    const __m512i d = _mm512_xor_si512(_mm512_loadu_si512(src + i + 192), turned);
    if (kTestAscii) {
      seen = _mm512_or_si512(seen, _mm512_or_si512(_mm512_or_si512(a, b), _mm512_or_si512(c, d)));
    }
    _mm512_store_si512(dst + i, a);
    _mm512_store_si512(dst + i + 64, b);
    _mm512_store_si512(dst + i + 128, c);
    _mm512_store_si512(dst + i + 192, d);
  }
  for (; i + 64 <= n; i += 64) {
    const __m512i v = _mm512_xor_si512(_mm512_loadu_si512(src + i), turned);
    if (kTestAscii) seen = _mm512_or_si512(seen, v);
    _mm512_store_si512(dst + i, v);
  }
  _mm512_storeu_si512(dst, first);
  _mm512_storeu_si512(dst + n - 64, last);
  return _mm512_movepi8_mask(seen) == 0;
}

#undef SLUICE_AVX512

#elif defined(__aarch64__)

template <bool kTestAscii>
bool MaskNeon(uint8_t* dst, const uint8_t* src, size_t n, uint32_t key) {
  const uint8x16_t k = vreinterpretq_u8_u32(vdupq_n_u32(key));
  const uint8x16_t last =
      veorq_u8(vld1q_u8(src + n - 16), vreinterpretq_u8_u32(vdupq_n_u32(TurnMaskKey(key, n))));
  uint8x16_t seen = last;
  size_t i = 0;
  for (; i + 64 <= n; i += 64) {
    const uint8x16_t a = veorq_u8(vld1q_u8(src + i), k);
    const uint8x16_t b = veorq_u8(vld1q_u8(src + i + 16), k);
    const uint8x16_t c = veorq_u8(vld1q_u8(src + i + 32), k);
    const uint8x16_t d = veorq_u8(vld1q_u8(src + i + 48), k);
    if (kTestAscii) seen = vorrq_u8(seen, vorrq_u8(vorrq_u8(a, b), vorrq_u8(c, d)));
    vst1q_u8(dst + i, a);
    vst1q_u8(dst + i + 16, b);
    vst1q_u8(dst + i + 32, c);
    vst1q_u8(dst + i + 48, d);
  }
  for (; i + 16 <= n; i += 16) {
    const uint8x16_t v = veorq_u8(vld1q_u8(src + i), k);
    if (kTestAscii) seen = vorrq_u8(seen, v);
    vst1q_u8(dst + i, v);
  }
  vst1q_u8(dst + n - 16, last);
  return vmaxvq_u8(seen) < 0x80;
}

#endif

// Kernels return a bool in either form; the plain form drops it.
template <bool (*kKernel)(uint8_t*, const uint8_t*, size_t, uint32_t)>
void Plain(uint8_t* dst, const uint8_t* src, size_t n, uint32_t key) {
  kKernel(dst, src, n, key);
}

constexpr MaskKernel kKernels[] = {
#if defined(__x86_64__)
    {"avx512", Plain<MaskAvx512<false>>, MaskAvx512<true>},
    {"avx2", Plain<MaskAvx2<false>>, MaskAvx2<true>},
    {"sse2", Plain<MaskSse2<false>>, MaskSse2<true>},
#elif defined(__aarch64__)
    {"neon", Plain<MaskNeon<false>>, MaskNeon<true>},
#endif
    {"portable", Plain<MaskPortable<false>>, MaskPortable<true>},
};

size_t FirstUsable() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  // Processors older than those with VBMI2 lower their clock for 512-bit vectors.
  if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi2")) return 0;
  if (__builtin_cpu_supports("avx2")) return 1;
  return 2;
#else
  return 0;
#endif
}

// The chosen kernel, behind pointers that start at functions which choose. Constant-initialized, so
// that code which runs before main() may use it too; two threads that choose at once choose alike.
void ChooseMask(uint8_t* dst, const uint8_t* src, size_t n, uint32_t key);
bool ChooseMaskTestingAscii(uint8_t* dst, const uint8_t* src, size_t n, uint32_t key);

constinit std::atomic<decltype(MaskKernel::mask)> chosen_mask{ChooseMask};
constinit std::atomic<decltype(MaskKernel::mask_testing_ascii)> chosen_mask_testing_ascii{
    ChooseMaskTestingAscii};

void ChooseMask(uint8_t* dst, const uint8_t* src, size_t n, uint32_t key) {
  const MaskKernel& best = UsableMaskKernels().front();
  chosen_mask.store(best.mask, std::memory_order_relaxed);
  best.mask(dst, src, n, key);
}

bool ChooseMaskTestingAscii(uint8_t* dst, const uint8_t* src, size_t n, uint32_t key) {
  const MaskKernel& best = UsableMaskKernels().front();
  chosen_mask_testing_ascii.store(best.mask_testing_ascii, std::memory_order_relaxed);
  return best.mask_testing_ascii(dst, src, n, key);
}

}  // namespace

absl::Span<const MaskKernel> UsableMaskKernels() {
  return absl::MakeConstSpan(kKernels).subspan(FirstUsable());
}

void MaskLong(uint8_t* dst, const uint8_t* src, size_t n, uint32_t key) {
#if defined(__x86_64__)
  if (n <= 64) {
    MaskSse2<false>(dst, src, n, key);
    return;
  }
#endif
  chosen_mask.load(std::memory_order_relaxed)(dst, src, n, key);
}

bool MaskLongTestingAscii(uint8_t* dst, const uint8_t* src, size_t n, uint32_t key) {
#if defined(__x86_64__)
  if (n <= 64) return MaskSse2<true>(dst, src, n, key);
#endif
  return chosen_mask_testing_ascii.load(std::memory_order_relaxed)(dst, src, n, key);
}

}  // namespace sluice::websocket::internal
