#ifndef SLUICE_CORE_INTERNAL_BLOCK_H_
#define SLUICE_CORE_INTERNAL_BLOCK_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "sluice/core/internal/pool.h"

namespace sluice {

// Block is a counted piece of memory that Slices share: a header of 16 bytes with the bytes behind
// it in the same allocation. A foreign block has no bytes of its own: it keeps something alive that
// has (a std::string, a user's memory).
//
//   | references | kind | capacity | storage: capacity bytes ... |
//
// Example (an I/O engine's receive buffer, lent to whoever handles the bytes):
//   BlockPtr receive(Block::New(64 * 1024));
//   ssize_t n = recv(fd, receive->storage(), receive->capacity(), 0);
//   buffer.AppendFrom(*receive, {receive->storage(), n});    // shares the block, copies nothing
//   if (!receive->unique()) ...                              // somebody still holds the bytes
//
// Only who holds the sole reference may write to the storage. The count is atomic: a reference may
// be dropped on any thread, and the one that drops the last frees the block (pooled ones,
// medium and large ones go to the pool of its thread). Thread-compatible otherwise.
class Block {
 public:
  static constexpr size_t kHeaderBytes = 16;

  // The capacities of the pool's smallest and largest blocks.
  static constexpr size_t kMinPooled =
      internal::kPoolBytes[static_cast<int>(internal::PoolClass::k4KiB)] - kHeaderBytes;
  static constexpr size_t kMaxPooled =
      internal::kPoolBytes[static_cast<int>(internal::PoolClass::k65KiB)] - kHeaderBytes;

  // A block with one reference and at least `capacity` bytes: from the pool where one of its sizes
  // fits well, which leaves room to grow, else exact.
  static Block* New(size_t capacity);

  // The same from the heap, of `capacity` rounded up to the granularity of malloc (3 bytes cost
  // 32): for bytes that are kept. One of more than 1,000 bytes may come from the pool and be an
  // eighth larger.
  static Block* NewExact(size_t capacity);

  // The same, but null when there is no memory, for sizes that a peer decides.
  static Block* TryNewExact(size_t capacity) noexcept;

  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

  void Ref() { references_.fetch_add(1, std::memory_order_relaxed); }

  // Frees the block when this was the last reference. A sole owner pays for no atomic write.
  void Unref() {
    if (unique() || references_.fetch_sub(1, std::memory_order_acq_rel) == 1) Free();
  }

  // Whether there is one reference: the caller's.
  bool unique() const { return references_.load(std::memory_order_acquire) == 1; }

  // Whether the caller, who holds a reference, may write to the storage.
  bool writable() const { return kind_ != Kind::kForeign && unique(); }

  uint8_t* storage() { return reinterpret_cast<uint8_t*>(this + 1); }
  size_t capacity() const { return capacity_; }

  // All memory that the block keeps, the header included.
  size_t footprint() const { return sizeof(Block) + capacity_; }

 protected:
  enum class Kind : uint32_t { k4KiB, k17KiB, k65KiB, kHeap, kForeign };

  Block(Kind kind, size_t capacity) noexcept : references_(1), kind_(kind), capacity_(capacity) {}
  ~Block() = default;

 private:
  void Free() noexcept;

  std::atomic<uint32_t> references_;
  const Kind kind_;
  const size_t capacity_;
};

// The base of a block that keeps something else alive; `destroy` ends that and frees the block.
class ForeignBlock : public Block {
 protected:
  using Destroy = void (*)(ForeignBlock*) noexcept;

  // `bytes` is what it keeps, for footprint().
  ForeignBlock(size_t bytes, Destroy destroy) : Block(Kind::kForeign, bytes), destroy_(destroy) {}
  ~ForeignBlock() = default;

 private:
  friend class Block;

  const Destroy destroy_;
};

struct BlockUnref {
  void operator()(Block* block) const { block->Unref(); }
};

// Owns one reference.
using BlockPtr = std::unique_ptr<Block, BlockUnref>;

}  // namespace sluice

#endif  // SLUICE_CORE_INTERNAL_BLOCK_H_
