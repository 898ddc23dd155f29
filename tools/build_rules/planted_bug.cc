// A program with bugs, one for each sanitizer: .ci/run sees that each configuration finds its own.

#include <cstdio>
#include <string_view>
#include <thread>

namespace {

int shared = 0;

void Overflow() {
  // Of a size that the compiler does not know, or ubsan would find it first.
  volatile int size = 4;
  volatile char* array = new char[size];
  array[size] = 1;
  delete[] array;
}

void Leak() {
  char* volatile array = new char[400];
  array = nullptr;
  static_cast<void>(array);
}

void Undefined() {
  volatile int big = 0x7fffffff;
  big = big + 1;
}

void Race() {
  std::thread first([] { shared = 1; });
  std::thread second([] { shared = 2; });
  first.join();
  second.join();
  std::printf("%d\n", shared);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view bug = argc == 2 ? argv[1] : "";
  if (bug == "overflow") {
    Overflow();
  } else if (bug == "leak") {
    Leak();
  } else if (bug == "undefined") {
    Undefined();
  } else if (bug == "race") {
    Race();
  } else {
    std::fprintf(stderr, "usage: planted_bug overflow|leak|undefined|race\n");
    return 2;
  }
  return 0;
}
