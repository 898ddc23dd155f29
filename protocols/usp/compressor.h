// Compressor is what a codec asks of a compression of messages. compression.h has one; who names
// none links none, and a message that is compressed is an error.
//
// Thread-safe.

#ifndef SLUICE_PROTOCOLS_USP_COMPRESSOR_H_
#define SLUICE_PROTOCOLS_USP_COMPRESSOR_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace sluice::usp {

// As a frame has it.
enum class CompressionAlgorithm : uint8_t { kNone = 0, kGzip = 1, kFlate = 2 };

class Compressor {
 public:
  virtual ~Compressor() = default;

  // Sets `out` to what is sent for `front` and `rest` together. False where that would not be
  // smaller; `out` is then of no use.
  virtual bool Compress(CompressionAlgorithm algorithm, absl::Span<const uint8_t> front,
                        absl::Span<const uint8_t> rest, std::string& out) const = 0;

  enum class Outcome : uint8_t { kDone, kTooLong, kDamaged };
  // Sets `out` to what was compressed, of at most `max_bytes`: it does not grow beyond them,
  // whatever it would become.
  virtual Outcome Decompress(CompressionAlgorithm algorithm, absl::Span<const uint8_t> compressed,
                             size_t max_bytes, std::vector<uint8_t>& out) const = 0;
};

}  // namespace sluice::usp

#endif  // SLUICE_PROTOCOLS_USP_COMPRESSOR_H_
