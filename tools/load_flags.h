// The flags that describe a load, which `bench` and `demo` share.
#ifndef SLUICE_TOOLS_LOAD_FLAGS_H_
#define SLUICE_TOOLS_LOAD_FLAGS_H_

#include <string>
#include <vector>

#include "sluice/tools/load_options.h"

namespace sluice::tools {

// Their names: connections, pipeline, size, duration, threads.
std::vector<std::string> LoadFlagNames();

// What they say; protocol and url are the caller's to set.
LoadOptions LoadOptionsFromFlags();

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_LOAD_FLAGS_H_
