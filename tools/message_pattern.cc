#include "sluice/tools/message_pattern.h"

namespace sluice::tools {

MessagePattern::MessagePattern(size_t size, uint64_t seed) : size_(size), noise_(size + kWindows) {
  uint64_t state = seed;
  for (uint8_t& byte : noise_) {
    // SplitMix64 (Steele, Lea, Flood 2014); one byte of each number.
    state += 0x9E3779B97F4A7C15;
    uint64_t mixed = state;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
    byte = static_cast<uint8_t>((mixed ^ (mixed >> 31)) >> 56);
  }
}

}  // namespace sluice::tools
