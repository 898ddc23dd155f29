#ifndef SLUICE_CORE_INTERNAL_COUNTING_NEW_H_
#define SLUICE_CORE_INTERNAL_COUNTING_NEW_H_

#include <cstdint>

namespace sluice::internal {

// A test or benchmark that links this has a global operator new that counts, so that leaks and
// needless allocations show. Thread-safe.
//
// Example:
//   const AllocationCounts before = CountAllocations();
//   ...
//   EXPECT_EQ(CountAllocations().live, before.live);
struct AllocationCounts {
  int64_t ever = 0;
  int64_t live = 0;
  int64_t live_bytes = 0;  // with what malloc rounds up
};

AllocationCounts CountAllocations();

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_COUNTING_NEW_H_
