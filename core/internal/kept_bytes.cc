#include "sluice/core/internal/kept_bytes.h"

#include <cstring>
#include <utility>

namespace sluice::internal {

uint8_t* KeptBytes::Extend(std::unique_ptr<KeptBytes>& kept, size_t more) {
  const std::unique_ptr<KeptBytes> old = std::move(kept);
  const size_t size = old == nullptr ? 0 : old->bytes().size();
  kept = std::make_unique<KeptBytes>();
  kept->block_.reset(Block::NewExact(size + more));
  kept->end_ = size + more;
  uint8_t* const storage = kept->block_->storage();
  if (size != 0) std::memcpy(storage, old->bytes().data(), size);
  return storage + size;
}

}  // namespace sluice::internal
