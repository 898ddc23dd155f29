#ifndef SLUICE_CORE_INTERNAL_CHECK_H_
#define SLUICE_CORE_INTERNAL_CHECK_H_

// SLUICE_CHECK(condition) ends the process when an invariant is broken or a caller has made a
// mistake that would corrupt memory. It is compiled in always. SLUICE_DCHECK is the same in debug
// builds and nothing with NDEBUG: for what is too costly to check always. Bytes from a peer never
// reach either: a peer's mistakes are errors, not bugs.
//
// (Abseil's CHECK came after the oldest Abseil that sluice supports.)
#define SLUICE_CHECK(condition)                      \
  (__builtin_expect(static_cast<bool>(condition), 1) \
       ? (void)0                                     \
       : ::sluice::internal::CheckFailed(__FILE__, __LINE__, #condition))

#ifdef NDEBUG
#define SLUICE_DCHECK(condition) ((void)sizeof(static_cast<bool>(condition)))
#else
#define SLUICE_DCHECK(condition) SLUICE_CHECK(condition)
#endif

namespace sluice::internal {

// Prints "file:line: check failed: condition" on standard error and aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition);

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_CHECK_H_
