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
// Memory of other sizes is for messages that are gathered, and so mostly of the size of the ones
// before. A thread keeps a few of the pieces that it has released last, also while it is idle;
// older ones make room for newer ones: of medium ones (kPoolMediumAbove) as many as
// kPoolPieces, and as many large ones (kPoolLargeAbove), of no more than kPoolLargeBytes together.
// Large memory malloc would give back to the system as soon as it is free, and each page then costs
// a fault when it is used again: twice the price of an echo of 1 MiB. In all, a thread keeps no
// more than 6 MiB.
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

// Memory of more than this is medium; malloc is as fast only up to there.
inline constexpr size_t kPoolMediumAbove = 1'000;

// Memory of more than this is large.
inline constexpr size_t kPoolLargeAbove = kPoolBytes[static_cast<int>(PoolClass::k65KiB)];

// How many free pieces a thread keeps, medium and large ones each.
inline constexpr uint32_t kPoolPieces = 8;

// Of how many bytes the large ones are together: four messages of 1 MiB with room for what a
// protocol puts around them, and a receive buffer.
inline constexpr size_t kPoolLargeBytes = 4 * 1024 * 1024 + 512 * 1024;

// `bytes`, above kPoolMediumAbove, becomes the size of what is handed out: at most an eighth more.
// Null when there is no memory.
void* PoolAcquirePiece(size_t& bytes) noexcept;
// `bytes` as they were then.
void PoolReleasePiece(void* memory, size_t bytes) noexcept;

// The bytes that the calling thread keeps free.
size_t PooledBytes();

// Gives what the calling thread keeps free back to operator delete.
void TrimPool();

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_POOL_H_
