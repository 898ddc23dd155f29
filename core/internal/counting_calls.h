#ifndef SLUICE_CORE_INTERNAL_COUNTING_CALLS_H_
#define SLUICE_CORE_INTERNAL_COUNTING_CALLS_H_

#include <cstdint>

namespace sluice::internal {

// In a test or benchmark that links this, the functions of this target stand before malloc and its
// kin, and before the system calls that an engine, a stream or a resolver makes, and count: what a
// message costs, whatever the machine's speed. Each thread counts its own.
//
// Example:
//   const CallCounts before = CountCalls();
//   ...
//   EXPECT_EQ((CountCalls() - before).allocations, 0);
//
// What the C library does within itself is not seen, nor are posix_memalign and its kin, nor calls
// that never enter the kernel (clock_gettime). For glibc. Not for sanitizers, which have a malloc
// of their own.
struct CallCounts {
  int64_t allocations = 0;  // malloc and operator new, of libraries in C too
  int64_t system_calls = 0;

  friend CallCounts operator-(CallCounts a, CallCounts b) {
    return {a.allocations - b.allocations, a.system_calls - b.system_calls};
  }
};

// Of the calling thread, ever.
CallCounts CountCalls();

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_COUNTING_CALLS_H_
