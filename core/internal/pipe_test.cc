#include "sluice/core/internal/pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/buffer.h"

namespace sluice::internal {
namespace {

class PipePoolTest : public testing::Test {
 protected:
  // A user whose processes have used up what the system has for pipes gets small ones, and few.
  void SetUp() override {
    const PipePtr pipe = pool_.Take();
    if (pipe == nullptr || fcntl(pipe->in(), F_GETPIPE_SZ) < PipePool::kBytes)
      GTEST_SKIP() << "this system has no pipes to spare";
  }

  static void Write(Pipe& pipe, const std::string& bytes) {
    ASSERT_EQ(write(pipe.in(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    pipe.Added(bytes.size());
  }

  PipePool pool_;
};

TEST_F(PipePoolTest, APipeThatComesBackEmptyIsLentAgain) {
  PipePtr pipe = pool_.Take();
  const int in = pipe->in();
  pipe = nullptr;
  EXPECT_EQ(pool_.Take()->in(), in);
}

TEST_F(PipePoolTest, BytesThatAreGivenUpNeverReachAnotherOne) {
  PipePtr pipe = pool_.Take();
  const int out = pipe->out();
  Write(*pipe, "lost");
  pipe = nullptr;
  EXPECT_EQ(fcntl(out, F_GETFD), -1) << "it is closed";
  EXPECT_EQ(pool_.Take()->size(), 0u);
}

TEST_F(PipePoolTest, LendsNoMoreThanAProcessCanSpareAndKeepsFew) {
  std::vector<PipePtr> lent;
  do {
    lent.push_back(pool_.Take());
  } while (lent.back() != nullptr);
  lent.pop_back();
  // Fewer where the system has a limit for what all processes of one user have.
  ASSERT_LE(lent.size(), PipePool::kMostLent);
  if (lent.size() <= PipePool::kMostIdle) GTEST_SKIP() << "this system has few pipes to spare";
  std::vector<int> ends;
  for (const PipePtr& pipe : lent) ends.push_back(pipe->in());
  lent.pop_back();
  EXPECT_NE(pool_.Take(), nullptr) << "one came back";
  lent.clear();
  size_t open = 0;
  for (const int end : ends) open += fcntl(end, F_GETFD) != -1 ? 1 : 0;
  EXPECT_EQ(open, PipePool::kMostIdle);
}

TEST_F(PipePoolTest, LendsNoneAfterTheSystemHasRefused) {
  PipePtr before = pool_.Take();
  pool_.RefuseAfter(ENOMEM);
  EXPECT_NE(pool_.Take(), nullptr) << "memory comes back";
  pool_.RefuseAfter(EINVAL);
  EXPECT_EQ(pool_.Take(), nullptr);
  before = nullptr;
  EXPECT_EQ(pool_.Take(), nullptr);
}

TEST_F(PipePoolTest, WhatIsInAPipeCanBeReadBehindWhatIsInABuffer) {
  const std::string bytes(200'000, 'x');
  PipePtr pipe = pool_.Take();
  Write(*pipe, bytes);
  Buffer buffer;
  buffer.Append("before ");
  pipe->ReadTo(buffer);
  EXPECT_EQ(pipe->size(), 0u);
  EXPECT_TRUE(buffer.ToString() == "before " + bytes);
}

}  // namespace
}  // namespace sluice::internal
