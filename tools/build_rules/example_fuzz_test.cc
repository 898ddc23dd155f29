// The smallest fuzz target: it aborts on input that begins with "bug". fuzz_replay_test runs it,
// and it shows what
// --config=fuzz does, which finds the three letters within a second.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size >= 3 && data[0] == 'b' && data[1] == 'u' && data[2] == 'g') std::abort();
  return 0;
}
