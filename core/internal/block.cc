#include "sluice/core/internal/block.h"

#include <cstddef>
#include <new>

#include "sluice/core/internal/pool.h"

namespace sluice {
namespace {

using internal::PoolClass;

constexpr size_t CapacityOf(PoolClass pool_class) {
  return internal::kPoolBytes[static_cast<int>(pool_class)] - sizeof(Block);
}

// A size class serves who asks for half of it or more, so that a queue of blocks costs no more than
// twice its bytes.
struct SizeClass {
  PoolClass pool_class;
  size_t above;
  size_t up_to;
};
constexpr SizeClass kSizeClasses[] = {
    {PoolClass::k4KiB, internal::kPoolMediumAbove, CapacityOf(PoolClass::k4KiB)},
    {PoolClass::k17KiB, CapacityOf(PoolClass::k17KiB) / 2, CapacityOf(PoolClass::k17KiB)},
    {PoolClass::k65KiB, CapacityOf(PoolClass::k65KiB) / 2, CapacityOf(PoolClass::k65KiB)},
};

// malloc hands out multiples of 16 bytes, less the 8 that it keeps for itself.
constexpr size_t RoundUpToMalloc(size_t bytes) { return ((bytes + 8 + 15) & ~size_t{15}) - 8; }

}  // namespace

static_assert(sizeof(Block) == Block::kHeaderBytes);

Block* Block::New(size_t capacity) {
  int kind = 0;
  for (const SizeClass& size_class : kSizeClasses) {
    if (capacity > size_class.above && capacity <= size_class.up_to) {
      void* memory = internal::PoolAcquire(size_class.pool_class);
      return new (memory) Block(static_cast<Kind>(kind), size_class.up_to);
    }
    ++kind;
  }
  return NewExact(capacity);
}

Block* Block::NewExact(size_t capacity) {
  size_t bytes = RoundUpToMalloc(sizeof(Block) + capacity);
  void* memory = bytes > internal::kPoolMediumAbove ? internal::PoolAcquirePiece(bytes) : nullptr;
  if (memory == nullptr) memory = ::operator new(bytes);
  return new (memory) Block(Kind::kHeap, bytes - sizeof(Block));
}

Block* Block::TryNewExact(size_t capacity) noexcept {
  size_t bytes = RoundUpToMalloc(sizeof(Block) + capacity);
  void* memory = bytes > internal::kPoolMediumAbove ? internal::PoolAcquirePiece(bytes)
                                                    : ::operator new(bytes, std::nothrow);
  if (memory == nullptr) return nullptr;
  return new (memory) Block(Kind::kHeap, bytes - sizeof(Block));
}

void Block::Free() noexcept {
  switch (kind_) {
    case Kind::k4KiB:
    case Kind::k17KiB:
    case Kind::k65KiB:
      return internal::PoolRelease(kSizeClasses[static_cast<int>(kind_)].pool_class, this);
    case Kind::kHeap:
      if (footprint() > internal::kPoolMediumAbove)
        return internal::PoolReleasePiece(this, footprint());
      return ::operator delete(this);
    case Kind::kForeign: {
      ForeignBlock* self = static_cast<ForeignBlock*>(this);
      return self->destroy_(self);
    }
  }
}

}  // namespace sluice
