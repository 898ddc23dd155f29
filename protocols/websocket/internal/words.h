// Words are what messages of text are like, for tests of compression: they become about a third.
#ifndef SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_WORDS_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_WORDS_H_

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"

namespace sluice::websocket::internal {

inline std::string Words(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::string text;
  while (text.size() < size) absl::StrAppend(&text, "word", random() % 500, " ");
  text.resize(size);
  return text;
}

}  // namespace sluice::websocket::internal

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_WORDS_H_
