#!/bin/sh
# Runs a command without address space randomization where the system lets it: ThreadSanitizer of g++ 12 and clang 14
# cannot place its shadow memory under the wide randomization (vm.mmap_rnd_bits above 28) of newer kernels.
if setarch -R true 2>/dev/null; then
  exec setarch -R "$@"
fi
exec "$@"
