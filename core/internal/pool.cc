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

struct Piece {
  void* memory;
  size_t bytes;
};

// Medium ones, or large ones.
struct PieceList {
  uint32_t count;
  size_t bytes;
  Piece pieces[kPoolPieces];  // the one released last is the last
};

enum class State : uint8_t { kUnused, kOpen, kClosed };

struct ThreadPool {
  FreeList lists[kPoolClasses];
  State state;
  PieceList medium;
  PieceList large;
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

PieceList& ListFor(size_t bytes) {
  return bytes > kPoolLargeAbove ? thread_pool.large : thread_pool.medium;
}

void* Take(PieceList& list, uint32_t index) {
  const Piece piece = list.pieces[index];
  std::copy(list.pieces + index + 1, list.pieces + list.count, list.pieces + index);
  --list.count;
  list.bytes -= piece.bytes;
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

void* PoolAcquirePiece(size_t& bytes) noexcept {
  PieceList& list = ListFor(bytes);
  for (uint32_t i = list.count; i-- > 0;) {
    const size_t kept = list.pieces[i].bytes;
    if (kept < bytes || kept - bytes > bytes / 8) continue;
    bytes = kept;
    void* memory = Take(list, i);
    ForgetContents(memory, bytes);
    return memory;
  }
  return ::operator new(bytes, std::nothrow);
}

void PoolReleasePiece(void* memory, size_t bytes) noexcept {
  if (thread_pool.state == State::kUnused) Open();
  if (thread_pool.state == State::kClosed || bytes > kPoolLargeBytes)
    return ::operator delete(memory);
  PieceList& list = ListFor(bytes);
  while (list.count == kPoolPieces || list.bytes + bytes > kPoolLargeBytes)
    ::operator delete(Take(list, 0));
  list.pieces[list.count++] = {memory, bytes};
  list.bytes += bytes;
  Hide(memory, bytes);
}

size_t PooledBytes() {
  size_t bytes = thread_pool.medium.bytes + thread_pool.large.bytes;
  for (int i = 0; i < kPoolClasses; ++i) bytes += thread_pool.lists[i].count * kPoolBytes[i];
  return bytes;
}

void TrimPool() {
  for (int i = 0; i < kPoolClasses; ++i) {
    FreeList& list = thread_pool.lists[i];
    if (thread_pool.state == State::kOpen) list.room += list.count;
    while (list.head != nullptr) ::operator delete(Pop(list, kPoolBytes[i]));
  }
  for (PieceList* list : {&thread_pool.medium, &thread_pool.large}) {
    while (list->count > 0) ::operator delete(Take(*list, 0));
  }
}

}  // namespace sluice::internal
