#ifndef SLUICE_PROTOCOLS_RESP_INTERNAL_WORD_H_
#define SLUICE_PROTOCOLS_RESP_INTERNAL_WORD_H_

#include <cstddef>
#include <cstdint>

namespace sluice::resp::internal {

// One word of a line, as Redis splits it.
struct Word {
  size_t size;    // unescaped, it stands where it began
  size_t end;     // in the line, behind the word as it was written
  bool balanced;  // whether each quote is closed, and a space or the end follows
};

// Reads the word that begins at `at`, and unescapes it in place.
Word ReadWord(uint8_t* line, size_t at, size_t size);

}  // namespace sluice::resp::internal

#endif  // SLUICE_PROTOCOLS_RESP_INTERNAL_WORD_H_
