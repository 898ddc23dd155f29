#include "sluice/tools/message_pattern.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace sluice::tools {
namespace {

// SplitMix64 (Steele, Lea, Flood 2014).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    state_ += 0x9E3779B97F4A7C15;
    uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
    return mixed ^ (mixed >> 31);
  }

 private:
  uint64_t state_;
};

std::vector<uint8_t> Noise(size_t size, uint64_t seed) {
  Random random(seed);
  std::vector<uint8_t> block(size);
  for (uint8_t& byte : block) byte = static_cast<uint8_t>(random.Next() >> 56);
  return block;
}

std::vector<uint8_t> Text(size_t size, uint64_t seed) {
  static constexpr const char* kCities[] = {"Athens", "Bergen", "Lisbon", "Nairobi",
                                            "Osaka",  "Quito",  "Tunis",  "Vienna"};
  Random random(seed);
  std::string text;
  while (text.size() < size) {
    const uint64_t number = random.Next();
    absl::StrAppend(&text, "{\"id\": ", number % 1'000'000, ", \"city\": \"",
                    kCities[number >> 32 & 7], "\", \"celsius\": ", number >> 35 & 31, ".",
                    (number >> 40) % 10, ", \"sunny\": ", number >> 63 ? "true" : "false", "}, ");
  }
  return std::vector<uint8_t>(text.begin(), text.begin() + static_cast<ptrdiff_t>(size));
}

}  // namespace

MessagePattern::MessagePattern(size_t size, uint64_t seed, Content content)
    : size_(size),
      block_(content == kText ? Text(size + kWindows, seed) : Noise(size + kWindows, seed)) {}

}  // namespace sluice::tools
