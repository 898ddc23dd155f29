#include "sluice/core/slice.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/internal/block.h"
#include "sluice/core/internal/check.h"

namespace sluice {
namespace {

// Up to this, one allocation and a copy beat a block that holds a string that holds the bytes.
constexpr size_t kCopyUpTo = 128;

class StringBlock : public ForeignBlock {
 public:
  explicit StringBlock(std::string bytes)
      : ForeignBlock(sizeof(StringBlock) - sizeof(Block) + bytes.capacity(), &Destroy),
        bytes_(std::move(bytes)) {}

  const std::string& bytes() const { return bytes_; }

 private:
  static void Destroy(ForeignBlock* block) noexcept { delete static_cast<StringBlock*>(block); }

  const std::string bytes_;
};

class ReleaseBlock : public ForeignBlock {
 public:
  ReleaseBlock(size_t bytes, absl::AnyInvocable<void()> release)
      : ForeignBlock(sizeof(ReleaseBlock) - sizeof(Block) + bytes, &Destroy),
        release_(std::move(release)) {}

 private:
  static void Destroy(ForeignBlock* block) noexcept {
    ReleaseBlock* self = static_cast<ReleaseBlock*>(block);
    self->release_();
    delete self;
  }

  absl::AnyInvocable<void()> release_;
};

}  // namespace

Slice Slice::Copy(absl::Span<const uint8_t> bytes) {
  static_assert(sizeof(Slice) == 24);
  if (bytes.empty()) return Slice();
  Block* block = Block::NewExact(bytes.size());
  std::memcpy(block->storage(), bytes.data(), bytes.size());
  return Slice(block, {block->storage(), bytes.size()});
}

Slice Slice::Copy(absl::string_view bytes) { return Copy(AsBytes(bytes)); }

Slice Slice::Take(std::string bytes) {
  if (bytes.size() <= kCopyUpTo) return Copy(bytes);
  StringBlock* block = new StringBlock(std::move(bytes));
  return Slice(block, AsBytes(block->bytes()));
}

Slice Slice::External(absl::Span<const uint8_t> bytes, absl::AnyInvocable<void()> release) {
  return Slice(new ReleaseBlock(bytes.size(), std::move(release)), bytes);
}

Slice Slice::Subslice(size_t offset, size_t size) const {
  SLUICE_CHECK(offset <= size_ && size <= size_ - offset);
  if (size == 0) return Slice();
  if (block_ != nullptr) block_->Ref();
  return Slice(block_, {data_ + offset, size});
}

}  // namespace sluice
