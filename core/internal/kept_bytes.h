// KeptBytes are bytes that were received for a socket whose owner had stopped receiving, in memory
// of their own until it starts again.
//
// Example:
//   std::unique_ptr<KeptBytes> kept;
//   std::memcpy(KeptBytes::Extend(kept, received.size()), received.data(), received.size());
//   const size_t n = Deliver(kept->bytes());
//   kept->RemovePrefix(n);
//
// A socket has room for a pointer to them only, since hardly one ever has any.
#ifndef SLUICE_CORE_INTERNAL_KEPT_BYTES_H_
#define SLUICE_CORE_INTERNAL_KEPT_BYTES_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/types/span.h"
#include "sluice/core/internal/block.h"

namespace sluice::internal {

class KeptBytes {
 public:
  // Makes room behind what is kept (null: nothing), and answers where that is.
  static uint8_t* Extend(std::unique_ptr<KeptBytes>& kept, size_t more);

  absl::Span<uint8_t> bytes() { return {block_->storage() + begin_, end_ - begin_}; }
  void RemovePrefix(size_t size) { begin_ += size; }
  Block& block() { return *block_; }

 private:
  BlockPtr block_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_KEPT_BYTES_H_
