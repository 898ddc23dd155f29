#include "sluice/protocols/websocket/utf8.h"

#include <atomic>
#include <cstring>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/protocols/websocket/internal/utf8_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace sluice::websocket {
namespace internal {
namespace {

// ---- one unit of the table in RFC 3629 section 4 at a time
// ----------------------------------------------------------

// What may follow a lead byte: how many bytes, and the range of the first of them.
struct Sequence {
  uint8_t missing, low, high;
};

constexpr uint8_t kNoLead = 0xff;

constexpr Sequence SequenceAfter(uint8_t lead) {
  if (lead < 0x80) return {0, 0x80, 0xbf};
  if (lead < 0xc2) return {kNoLead, 0, 0};
  if (lead < 0xe0) return {1, 0x80, 0xbf};
  if (lead < 0xf0) {
    return {2, static_cast<uint8_t>(lead == 0xe0 ? 0xa0 : 0x80),
            static_cast<uint8_t>(lead == 0xed ? 0x9f : 0xbf)};
  }
  if (lead < 0xf5) {
    return {3, static_cast<uint8_t>(lead == 0xf0 ? 0x90 : 0x80),
            static_cast<uint8_t>(lead == 0xf4 ? 0x8f : 0xbf)};
  }
  return {kNoLead, 0, 0};
}

bool ValidPortable(const uint8_t* data, size_t size) {
  const uint8_t* const end = data + size;
  while (data != end) {
    if (end - data >= 16) {
      uint64_t words[2];
      std::memcpy(words, data, 16);
      if (((words[0] | words[1]) & 0x8080808080808080) == 0) {
        data += 16;
        continue;
      }
    }
    const uint8_t lead = *data++;
    if (lead < 0x80) continue;
    const Sequence sequence = SequenceAfter(lead);
    if (sequence.missing == kNoLead || end - data < sequence.missing) return false;
    if (data[0] < sequence.low || data[0] > sequence.high) return false;
    for (unsigned i = 1; i < sequence.missing; ++i) {
      if ((data[i] & 0xc0) != 0x80) return false;
    }
    data += sequence.missing;
  }
  return true;
}

// ---- vectors
// --------------------------------------------------------------------------------------------------------

#if defined(__x86_64__)

#define SLUICE_UTF8_TARGET __attribute__((target("ssse3")))
namespace ssse3 {
using Vector = __m128i;
constexpr size_t kWidth = 16;
SLUICE_UTF8_TARGET inline Vector Load(const uint8_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}
SLUICE_UTF8_TARGET inline Vector Repeat16(const uint8_t* p) {
  return _mm_load_si128(reinterpret_cast<const __m128i*>(p));
}
SLUICE_UTF8_TARGET inline Vector Or(Vector a, Vector b) { return _mm_or_si128(a, b); }
SLUICE_UTF8_TARGET inline Vector And(Vector a, Vector b) { return _mm_and_si128(a, b); }
SLUICE_UTF8_TARGET inline Vector Xor(Vector a, Vector b) { return _mm_xor_si128(a, b); }
SLUICE_UTF8_TARGET inline Vector SubtractSaturated(Vector a, Vector b) {
  return _mm_subs_epu8(a, b);
}
SLUICE_UTF8_TARGET inline Vector HighNibbles(Vector v) {
  return _mm_and_si128(_mm_srli_epi16(v, 4), _mm_set1_epi8(15));
}
SLUICE_UTF8_TARGET inline Vector Lookup(Vector table, Vector indexes) {
  return _mm_shuffle_epi8(table, indexes);
}
template <int kBytes>
SLUICE_UTF8_TARGET inline Vector Behind(Vector v) {
  return _mm_slli_si128(v, kBytes);
}
SLUICE_UTF8_TARGET inline bool AnyHighBit(Vector v) { return _mm_movemask_epi8(v) != 0; }
SLUICE_UTF8_TARGET inline bool AnyBit(Vector v) {
  return _mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_setzero_si128())) != 0xffff;
}
#include "internal/utf8_lookup.inc"
}  // namespace ssse3
#undef SLUICE_UTF8_TARGET

#define SLUICE_UTF8_TARGET __attribute__((target("avx2")))
namespace avx2 {
using Vector = __m256i;
constexpr size_t kWidth = 32;
SLUICE_UTF8_TARGET inline Vector Load(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
SLUICE_UTF8_TARGET inline Vector Repeat16(const uint8_t* p) {
  return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(p)));
}
SLUICE_UTF8_TARGET inline Vector Or(Vector a, Vector b) { return _mm256_or_si256(a, b); }
SLUICE_UTF8_TARGET inline Vector And(Vector a, Vector b) { return _mm256_and_si256(a, b); }
SLUICE_UTF8_TARGET inline Vector Xor(Vector a, Vector b) { return _mm256_xor_si256(a, b); }
SLUICE_UTF8_TARGET inline Vector SubtractSaturated(Vector a, Vector b) {
  return _mm256_subs_epu8(a, b);
}
SLUICE_UTF8_TARGET inline Vector HighNibbles(Vector v) {
  return _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi8(15));
}
SLUICE_UTF8_TARGET inline Vector Lookup(Vector table, Vector indexes) {
  return _mm256_shuffle_epi8(table, indexes);
}
template <int kBytes>
SLUICE_UTF8_TARGET inline Vector Behind(Vector v) {
  return _mm256_alignr_epi8(v, _mm256_permute2x128_si256(v, v, 0x08), 16 - kBytes);
}
SLUICE_UTF8_TARGET inline bool AnyHighBit(Vector v) { return _mm256_movemask_epi8(v) != 0; }
SLUICE_UTF8_TARGET inline bool AnyBit(Vector v) { return _mm256_testz_si256(v, v) == 0; }
#include "internal/utf8_lookup.inc"
}  // namespace avx2
#undef SLUICE_UTF8_TARGET

#elif defined(__aarch64__)

#define SLUICE_UTF8_TARGET
namespace neon {
using Vector = uint8x16_t;
constexpr size_t kWidth = 16;
inline Vector Load(const uint8_t* p) { return vld1q_u8(p); }
inline Vector Repeat16(const uint8_t* p) { return vld1q_u8(p); }
inline Vector Or(Vector a, Vector b) { return vorrq_u8(a, b); }
inline Vector And(Vector a, Vector b) { return vandq_u8(a, b); }
inline Vector Xor(Vector a, Vector b) { return veorq_u8(a, b); }
inline Vector SubtractSaturated(Vector a, Vector b) { return vqsubq_u8(a, b); }
inline Vector HighNibbles(Vector v) { return vshrq_n_u8(v, 4); }
inline Vector Lookup(Vector table, Vector indexes) { return vqtbl1q_u8(table, indexes); }
template <int kBytes>
inline Vector Behind(Vector v) {
  return vextq_u8(vdupq_n_u8(0), v, 16 - kBytes);
}
inline bool AnyHighBit(Vector v) { return vmaxvq_u8(v) >= 0x80; }
inline bool AnyBit(Vector v) { return vmaxvq_u8(v) != 0; }
#include "internal/utf8_lookup.inc"
}  // namespace neon
#undef SLUICE_UTF8_TARGET

#endif

constexpr Utf8Kernel kKernels[] = {
#if defined(__x86_64__)
    {"avx2", avx2::Valid},
    {"ssse3", ssse3::Valid},
#elif defined(__aarch64__)
    {"neon", neon::Valid},
#endif
    {"portable", ValidPortable},
};

size_t FirstUsable() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2")) return 0;
  if (__builtin_cpu_supports("ssse3")) return 1;
  return 2;
#else
  return 0;
#endif
}

// As in mask.cc: constant-initialized to a function that chooses.
bool Choose(const uint8_t* data, size_t size);

constinit std::atomic<decltype(Utf8Kernel::valid)> chosen{Choose};

bool Choose(const uint8_t* data, size_t size) {
  const Utf8Kernel& best = UsableUtf8Kernels().front();
  chosen.store(best.valid, std::memory_order_relaxed);
  return best.valid(data, size);
}

}  // namespace

absl::Span<const Utf8Kernel> UsableUtf8Kernels() {
  return absl::MakeConstSpan(kKernels).subspan(FirstUsable());
}

size_t UnfinishedTail(const uint8_t* data, size_t size) {
  if (size >= 1 && data[size - 1] >= 0xc0) return 1;
  if (size >= 2 && data[size - 2] >= 0xe0) return 2;
  if (size >= 3 && data[size - 3] >= 0xf0) return 3;
  return 0;
}

}  // namespace internal

bool Utf8Validator::Step(uint8_t byte) {
  if (missing_ == 0) {
    const internal::Sequence sequence = internal::SequenceAfter(byte);
    missing_ = sequence.missing;
    low_ = sequence.low;
    high_ = sequence.high;
    static_assert(internal::kNoLead == kFailed);
    return missing_ != kFailed;
  }
  if (byte < low_ || byte > high_) {
    missing_ = kFailed;
    return false;
  }
  --missing_;
  low_ = 0x80;
  high_ = 0xbf;
  return true;
}

bool Utf8Validator::Steps(const uint8_t* data, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    if (!Step(data[i])) return false;
  }
  return true;
}

bool Utf8Validator::Update(const uint8_t* data, size_t size) {
  constexpr size_t kWorthVectors = 16;
  if (missing_ == kFailed) return false;
  while (missing_ != 0 && size != 0) {
    if (!Step(*data)) return false;
    ++data;
    --size;
  }
  if (size < kWorthVectors) return Steps(data, size);
  // Text up to the character that the end of the piece cuts, if it does, in one go; then the
  // beginning of that.
  const size_t tail = internal::UnfinishedTail(data, size);
  const size_t whole = size - tail;
  if (internal::UnfinishedTail(data, whole) != 0 ||
      !internal::chosen.load(std::memory_order_relaxed)(data, whole)) {
    missing_ = kFailed;
    return false;
  }
  return Steps(data + whole, tail);
}

bool IsValidUtf8(absl::Span<const uint8_t> text) {
  Utf8Validator validator;
  return validator.Update(text) && validator.complete();
}

bool IsValidUtf8(absl::string_view text) {
  return IsValidUtf8(
      absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

}  // namespace sluice::websocket
