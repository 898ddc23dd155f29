#include "sluice/core/internal/pool.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>

#include "absl/base/config.h"
#ifdef ABSL_HAVE_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif
#ifdef ABSL_HAVE_MEMORY_SANITIZER
#include <sanitizer/msan_interface.h>
#endif

namespace sluice::internal {
namespace {

struct FreePiece {
  FreePiece* next;
};

struct FreeList {
  FreePiece* head;
  uint32_t count;
  // How many more fit. 0 before the thread has released anything, so that the fast path of
  // PoolRelease needs no other test, and again when the thread's pool has been closed.
  uint32_t room;
};

struct LargePiece {
  void* memory;
  size_t bytes;
};

enum class State : uint8_t { kUnused, kOpen, kClosed };

struct ThreadPool {
  FreeList lists[kPoolClasses];
  State state;
  uint32_t large_count;
  size_t large_bytes;
  LargePiece large[kPoolLargePieces];  // the one released last is the last
};

// Constant-initialized and trivially destructible: reading it needs no guard, and it is still there
// when other thread_local objects release memory in their destructors.
constinit thread_local ThreadPool thread_pool = {};

// Frees the lists when the thread ends.
struct Closer {
  ~Closer() {
    for (FreeList& list : thread_pool.lists) list.room = 0;
    thread_pool.state = State::kClosed;
    TrimPool();
  }
};

void Open() {
  thread_local Closer closer;
  thread_pool.state = State::kOpen;
  for (int i = 0; i < kPoolClasses; ++i) thread_pool.lists[i].room = kPoolLimit[i];
}

void Hide([[maybe_unused]] void* memory, [[maybe_unused]] size_t bytes) {
#ifdef ABSL_HAVE_ADDRESS_SANITIZER
  ASAN_POISON_MEMORY_REGION(memory, bytes);
#endif
}

void Unhide([[maybe_unused]] void* memory, [[maybe_unused]] size_t bytes) {
#ifdef ABSL_HAVE_ADDRESS_SANITIZER
  ASAN_UNPOISON_MEMORY_REGION(memory, bytes);
#endif
}

void ForgetContents([[maybe_unused]] void* memory, [[maybe_unused]] size_t bytes) {
#ifdef ABSL_HAVE_MEMORY_SANITIZER
  __msan_allocated_memory(memory, bytes);
#endif
}

void* TakeLarge(uint32_t index) {
  ThreadPool& pool = thread_pool;
  const LargePiece piece = pool.large[index];
  std::copy(pool.large + index + 1, pool.large + pool.large_count, pool.large + index);
  --pool.large_count;
  pool.large_bytes -= piece.bytes;
  Unhide(piece.memory, piece.bytes);
  return piece.memory;
}

void* Pop(FreeList& list, size_t bytes) {
  FreePiece* piece = list.head;
  Unhide(piece, bytes);
  list.head = piece->next;
  --list.count;
  return piece;
}

// The pool is full, or this is the thread's first release, or the thread is ending.
[[gnu::noinline]] void ReleaseSlowly(PoolClass pool_class, void* memory) {
  if (thread_pool.state == State::kUnused) {
    Open();
    PoolRelease(pool_class, memory);
  } else {
    ::operator delete(memory);
  }
}

}  // namespace

void* PoolAcquire(PoolClass pool_class) {
  const int i = static_cast<int>(pool_class);
  FreeList& list = thread_pool.lists[i];
  if (list.head == nullptr) return ::operator new(kPoolBytes[i]);
  void* memory = Pop(list, kPoolBytes[i]);
  ++list.room;
  ForgetContents(memory, kPoolBytes[i]);
  return memory;
}

void PoolRelease(PoolClass pool_class, void* memory) noexcept {
  const int i = static_cast<int>(pool_class);
  FreeList& list = thread_pool.lists[i];
  if (list.room == 0) return ReleaseSlowly(pool_class, memory);
  list.head = new (memory) FreePiece{list.head};
  ++list.count;
  --list.room;
  Hide(memory, kPoolBytes[i]);
}

void* PoolAcquireLarge(size_t& bytes) noexcept {
  for (uint32_t i = thread_pool.large_count; i-- > 0;) {
    const size_t kept = thread_pool.large[i].bytes;
    if (kept < bytes || kept - bytes > bytes / 8) continue;
    bytes = kept;
    void* memory = TakeLarge(i);
    ForgetContents(memory, bytes);
    return memory;
  }
  return ::operator new(bytes, std::nothrow);
}

void PoolReleaseLarge(void* memory, size_t bytes) noexcept {
  ThreadPool& pool = thread_pool;
  if (pool.state == State::kUnused) Open();
  if (pool.state == State::kClosed || bytes > kPoolLargeBytes) return ::operator delete(memory);
  while (pool.large_count == kPoolLargePieces || pool.large_bytes + bytes > kPoolLargeBytes)
    ::operator delete(TakeLarge(0));
  pool.large[pool.large_count++] = {memory, bytes};
  pool.large_bytes += bytes;
  Hide(memory, bytes);
}

size_t PooledBytes() {
  size_t bytes = thread_pool.large_bytes;
  for (int i = 0; i < kPoolClasses; ++i) bytes += thread_pool.lists[i].count * kPoolBytes[i];
  return bytes;
}

void TrimPool() {
  for (int i = 0; i < kPoolClasses; ++i) {
    FreeList& list = thread_pool.lists[i];
    if (thread_pool.state == State::kOpen) list.room += list.count;
    while (list.head != nullptr) ::operator delete(Pop(list, kPoolBytes[i]));
  }
  while (thread_pool.large_count > 0) ::operator delete(TakeLarge(0));
}

}  // namespace sluice::internal
