#include "sluice/core/internal/counting_new.h"

#include <malloc.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace {

std::atomic<int64_t> ever{0};
std::atomic<int64_t> live{0};
std::atomic<int64_t> live_bytes{0};

int64_t BytesAt(void* memory) { return static_cast<int64_t>(malloc_usable_size(memory)); }

}  // namespace

void* operator new(size_t size) {
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  ever.fetch_add(1, std::memory_order_relaxed);
  live.fetch_add(1, std::memory_order_relaxed);
  live_bytes.fetch_add(BytesAt(memory), std::memory_order_relaxed);
  return memory;
}

void* operator new(size_t size, const std::nothrow_t&) noexcept { return operator new(size); }

void operator delete(void* memory) noexcept {
  if (memory == nullptr) return;
  live.fetch_sub(1, std::memory_order_relaxed);
  live_bytes.fetch_sub(BytesAt(memory), std::memory_order_relaxed);
  std::free(memory);
}

void operator delete(void* memory, size_t) noexcept { operator delete(memory); }

namespace sluice::internal {

AllocationCounts CountAllocations() {
  return {ever.load(std::memory_order_relaxed), live.load(std::memory_order_relaxed),
          live_bytes.load(std::memory_order_relaxed)};
}

}  // namespace sluice::internal
