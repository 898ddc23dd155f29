#include "sluice/core/internal/counting_calls.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <new>
#include <thread>

#include "gtest/gtest.h"

namespace sluice::internal {
namespace {

TEST(CountingCallsTest, AllocationsOfAnyKindAreCounted) {
  const CallCounts before = CountCalls();
  auto number = std::make_unique<int>(1);
  void* volatile memory = malloc(10);  // or a compiler may leave it out
  memory = realloc(memory, 20);
  void* aligned = operator new(64, std::align_val_t(64));
  const CallCounts counts = CountCalls() - before;
  operator delete(aligned, std::align_val_t(64));
  free(memory);
  EXPECT_EQ(counts.allocations, 4);
  EXPECT_EQ(counts.system_calls, 0);
}

TEST(CountingCallsTest, SystemCallsAreCounted) {
  const CallCounts before = CountCalls();
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  char byte = 'x';
  EXPECT_EQ(send(ends[0], &byte, 1, 0), 1);
  byte = 'y';
  EXPECT_EQ(recv(ends[1], &byte, 1, 0), 1);
  EXPECT_EQ(byte, 'x');
  EXPECT_EQ(syscall(SYS_dup3, ends[0], ends[1], 0), ends[1]);
  close(ends[0]);
  close(ends[1]);
  const CallCounts counts = CountCalls() - before;
  EXPECT_EQ(counts.allocations, 0);
  EXPECT_EQ(counts.system_calls, 5);  // all but socketpair
}

TEST(CountingCallsTest, EachThreadCountsItsOwn) {
  const CallCounts before = CountCalls();
  CallCounts of_thread;
  std::thread thread([&] {
    const CallCounts begin = CountCalls();
    for (int i = 0; i < 1000; ++i) {
      void* volatile memory = malloc(10);  // or a compiler may leave both out
      free(memory);
    }
    of_thread = CountCalls() - begin;
  });
  thread.join();
  EXPECT_EQ(of_thread.allocations, 1000);
  EXPECT_LT((CountCalls() - before).allocations, 100);
}

}  // namespace
}  // namespace sluice::internal
