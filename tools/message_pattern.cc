#include "sluice/tools/message_pattern.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sluice/core/internal/split_mix.h"

namespace sluice::tools {
namespace {

using sluice::internal::SplitMix64;

std::vector<uint8_t> Noise(size_t size, uint64_t seed) {
  SplitMix64 random(seed);
  std::vector<uint8_t> block(size);
  for (uint8_t& byte : block) byte = static_cast<uint8_t>(random.Next() >> 56);
  return block;
}

std::vector<uint8_t> Text(size_t size, uint64_t seed) {
  static constexpr const char* kCities[] = {"Athens", "Bergen", "Lisbon", "Nairobi",
                                            "Osaka",  "Quito",  "Tunis",  "Vienna"};
  SplitMix64 random(seed);
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

MessagePattern::MessagePattern(MessageSizes sizes, uint64_t seed, Content content)
    : sizes_(std::move(sizes)),
      seed_(seed),
      block_(content == kText ? Text(sizes_.largest() + kWindows, seed)
                              : Noise(sizes_.largest() + kWindows, seed)) {}

}  // namespace sluice::tools
