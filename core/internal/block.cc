#include "sluice/core/internal/block.h"

#include <cstddef>
#include <new>

#include "sluice/core/internal/pool.h"

namespace sluice {
namespace {

using internal::PoolClass;

constexpr PoolClass kClasses[] = {PoolClass::k4KiB, PoolClass::k17KiB, PoolClass::k65KiB};

constexpr size_t CapacityOf(PoolClass pool_class) {
  return internal::kPoolBytes[static_cast<int>(pool_class)] - sizeof(Block);
}

// malloc hands out multiples of 16 bytes, less the 8 that it keeps for itself.
constexpr size_t RoundUpToMalloc(size_t bytes) { return ((bytes + 8 + 15) & ~size_t{15}) - 8; }

}  // namespace

static_assert(sizeof(Block) == Block::kHeaderBytes);

Block* Block::New(size_t capacity) {
  if (capacity <= kSmall || capacity > kMaxPooled) return NewExact(capacity);
  int i = 0;
  while (capacity > CapacityOf(kClasses[i])) ++i;
  return new (internal::PoolAcquire(kClasses[i]))
      Block(static_cast<Kind>(i), CapacityOf(kClasses[i]));
}

Block* Block::NewExact(size_t capacity) {
  const size_t bytes = RoundUpToMalloc(sizeof(Block) + capacity);
  return new (::operator new(bytes)) Block(Kind::kHeap, bytes - sizeof(Block));
}

void Block::Free() noexcept {
  switch (kind_) {
    case Kind::k4KiB:
    case Kind::k17KiB:
    case Kind::k65KiB:
      return internal::PoolRelease(kClasses[static_cast<int>(kind_)], this);
    case Kind::kHeap:
      return ::operator delete(this);
    case Kind::kForeign: {
      ForeignBlock* self = static_cast<ForeignBlock*>(this);
      return self->destroy_(self);
    }
  }
}

}  // namespace sluice
