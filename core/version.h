// The version of sluice, for programs and build files that must know which one they have.
//
// Example:
//   std::cout << "built with sluice " << sluice::kVersion << "\n";

#ifndef SLUICE_CORE_VERSION_H_
#define SLUICE_CORE_VERSION_H_

#include "absl/strings/string_view.h"

namespace sluice {

// MAJOR.MINOR.PATCH, the same as in MODULE.bazel.
inline constexpr absl::string_view kVersion = "0.1.0";

}  // namespace sluice

#endif  // SLUICE_CORE_VERSION_H_
