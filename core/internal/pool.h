#ifndef SLUICE_CORE_INTERNAL_POOL_H_
#define SLUICE_CORE_INTERNAL_POOL_H_

#include <cstddef>
#include <cstdint>

namespace sluice::internal {

// A pool hands out memory of a few fixed sizes from free lists that belong to the calling thread,
// last in, first out, so that what is handed out is likely still in the cache. It is for memory
// that comes and goes with every message: the blocks and nodes of Buffers.
//
// Memory may be released on another thread than the one that acquired it; it then serves that
// thread. What a thread keeps is bounded (kPoolLimit of each class, 1 MiB in all); more than that
// goes back to operator delete at once, and the rest when the thread ends. Under AddressSanitizer,
// memory in a free list is poisoned.
//
// Large memory, of any size above the largest class, is for messages that are gathered. malloc
// gives such memory back to the system as soon as it is free, and each page then costs a fault
// when it is used again: twice the price of an echo of 1 MiB. So a thread keeps a few of the pieces
// that it has released last (kPoolLargePieces and kPoolLargeBytes), also while it is idle; older
// ones make room for newer ones. In all, a thread keeps no more than 6 MiB.
//
// Thread-safe.
enum class PoolClass : uint8_t { kNode, k4KiB, k17KiB, k65KiB };

inline constexpr int kPoolClasses = 4;

// The size of a piece. Each leaves the 8 bytes that malloc adds. 17 KiB and 65 KiB hold a payload
// of 16 KiB or 64 KiB with room for what a protocol puts around it (a TLS record, for one).
inline constexpr size_t kPoolBytes[kPoolClasses] = {32, 4 * 1024 - 8, 17 * 1024 - 8, 65 * 1024 - 8};

// How many free pieces a thread keeps.
inline constexpr uint32_t kPoolLimit[kPoolClasses] = {1024, 64, 16, 7};

void* PoolAcquire(PoolClass pool_class);
void PoolRelease(PoolClass pool_class, void* memory) noexcept;

// Memory of more than this is large.
inline constexpr size_t kPoolLargeAbove = kPoolBytes[static_cast<int>(PoolClass::k65KiB)];

// How many free large pieces a thread keeps, and of how many bytes together: four messages of 1 MiB
// with room for what a protocol puts around them, and a receive buffer.
inline constexpr uint32_t kPoolLargePieces = 8;
inline constexpr size_t kPoolLargeBytes = 4 * 1024 * 1024 + 512 * 1024;

// `bytes`, above kPoolLargeAbove, becomes the size of what is handed out: at most an eighth more.
// Null when there is no memory.
void* PoolAcquireLarge(size_t& bytes) noexcept;
// `bytes` as they were then.
void PoolReleaseLarge(void* memory, size_t bytes) noexcept;

// The bytes that the calling thread keeps free.
size_t PooledBytes();

// Gives what the calling thread keeps free back to operator delete.
void TrimPool();

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_POOL_H_
