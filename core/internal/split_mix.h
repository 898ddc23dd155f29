// SplitMix64 (Steele, Lea, Flood 2014) makes 64-bit numbers out of a seed: the same ones with every
// compiler and standard library, which the distributions of <random> do not promise. For jitter,
// patterns and simulations; nothing secret, as whoever sees one number knows the next.
//
// Example:
//   SplitMix64 random(/*seed=*/1);
//   const absl::Duration wait = most * random.Fraction();
//
// Thread-compatible.
#ifndef SLUICE_CORE_INTERNAL_SPLIT_MIX_H_
#define SLUICE_CORE_INTERNAL_SPLIT_MIX_H_

#include <cstdint>

namespace sluice::internal {

class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }

  // From 0 to 1, without that.
  double Fraction() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

 private:
  uint64_t state_;
};

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_SPLIT_MIX_H_
