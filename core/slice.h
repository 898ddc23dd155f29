#ifndef SLUICE_CORE_SLICE_H_
#define SLUICE_CORE_SLICE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/internal/block.h"

namespace sluice {

// Slice is a view of bytes that shares in the ownership of the memory that holds them. Copying it
// copies no bytes; the memory goes when the last Slice that refers to it goes. Bytes that are
// shared do not change. For a queue of bytes in many pieces, see Buffer.
//
// Example (one message, encoded once, to any number of receivers):
//   Slice message = Slice::Copy("tick 42");
//   for (Buffer& queue : queues) queue.Append(message);
//
// Thread-compatible; Slices that share memory may be used and destroyed on different threads.
class Slice {
 public:
  Slice() = default;
  Slice(const Slice& other) : data_(other.data_), size_(other.size_), block_(other.block_) {
    if (block_ != nullptr) block_->Ref();
  }
  Slice(Slice&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        block_(std::exchange(other.block_, nullptr)) {}
  Slice& operator=(Slice other) noexcept {
    swap(*this, other);
    return *this;
  }
  ~Slice() {
    if (block_ != nullptr) block_->Unref();
  }

  // Copies the bytes into memory of the right size: header and bytes, rounded up to 16.
  static Slice Copy(absl::Span<const uint8_t> bytes);
  static Slice Copy(absl::string_view bytes);

  // Takes over the string without copying its bytes, unless it is so short that copying is cheaper.
  static Slice Take(std::string bytes);

  // Refers to memory that the caller keeps valid and unchanged until `release` is called: when the
  // last Slice of it goes, on the thread where that happens.
  static Slice External(absl::Span<const uint8_t> bytes, absl::AnyInvocable<void()> release);

  // Refers to memory that lives and stays the same for ever, such as a string literal.
  static Slice Static(absl::Span<const uint8_t> bytes) { return Slice(nullptr, bytes); }
  static Slice Static(absl::string_view bytes) { return Static(AsBytes(bytes)); }

  // Adds a reference to `block`, which holds `bytes`.
  static Slice FromBlock(Block& block, absl::Span<const uint8_t> bytes) {
    block.Ref();
    return Slice(&block, bytes);
  }
  static Slice FromBlock(Block& block, const uint8_t* data, size_t size) {
    return FromBlock(block, {data, size});
  }

  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  absl::Span<const uint8_t> span() const { return {data_, size_}; }
  absl::string_view AsStringView() const { return {reinterpret_cast<const char*>(data_), size_}; }

  // `size` bytes from `offset` on; both must lie within.
  Slice Subslice(size_t offset, size_t size) const;

  // Whether no other Slice shares the memory. False for Static and empty Slices, which own none.
  bool unique() const { return block_ != nullptr && block_->unique(); }

  friend void swap(Slice& a, Slice& b) noexcept {
    std::swap(a.data_, b.data_);
    std::swap(a.size_, b.size_);
    std::swap(a.block_, b.block_);
  }

 private:
  friend class Buffer;

  // Takes over a reference.
  Slice(Block* block, absl::Span<const uint8_t> bytes)
      : data_(bytes.data()), size_(bytes.size()), block_(block) {}

  static absl::Span<const uint8_t> AsBytes(absl::string_view text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
  }

  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
  Block* block_ = nullptr;
};

}  // namespace sluice

#endif  // SLUICE_CORE_SLICE_H_
