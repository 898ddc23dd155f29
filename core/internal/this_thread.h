// A number for the calling thread that no other living thread has, for checks only. Never 0.
#ifndef SLUICE_CORE_INTERNAL_THIS_THREAD_H_
#define SLUICE_CORE_INTERNAL_THIS_THREAD_H_

#include <cstdint>

namespace sluice::internal {

inline uint64_t ThisThread() {
  thread_local const char mark = 0;
  return reinterpret_cast<uint64_t>(&mark);
}

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_THIS_THREAD_H_
