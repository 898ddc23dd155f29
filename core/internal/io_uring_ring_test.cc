#include "sluice/core/internal/io_uring_ring.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "sluice/core/internal/provided_buffers.h"

namespace sluice::internal {
namespace {

class IoUringRingTest : public testing::Test {
 protected:
  void SetUp() override { Open({}); }

  void Open(const IoUringRing::Sizes& sizes) {
    absl::StatusOr<std::unique_ptr<IoUringRing>> ring = IoUringRing::Create(sizes);
    if (absl::IsUnimplemented(ring.status()) || absl::IsPermissionDenied(ring.status()))
      GTEST_SKIP() << ring.status();
    ASSERT_TRUE(ring.ok()) << ring.status();
    ring_ = *std::move(ring);
  }

  bool SubmitNothing(uint64_t tag) {
    io_uring_sqe* const sqe = ring_->NextSubmission();
    if (sqe == nullptr) return false;
    sqe->opcode = IORING_OP_NOP;
    sqe->user_data = tag;
    return true;
  }

  std::vector<uint64_t> Take(size_t limit = SIZE_MAX) {
    std::vector<uint64_t> tags;
    ring_->TakeCompletions(limit, [&](const io_uring_cqe& cqe) { tags.push_back(cqe.user_data); });
    return tags;
  }

  std::unique_ptr<IoUringRing> ring_;
};

TEST_F(IoUringRingTest, HeaderExample) {
  io_uring_sqe* sqe = ring_->NextSubmission();
  sqe->opcode = IORING_OP_NOP;
  sqe->user_data = 42;
  EXPECT_EQ(ring_->Enter(/*wait_for=*/1, nullptr), 0);
  EXPECT_EQ(
      ring_->TakeCompletions(1, [](const io_uring_cqe& cqe) { EXPECT_EQ(cqe.user_data, 42u); }),
      1u);
}

TEST_F(IoUringRingTest, ATimeoutEndsAWaitForNothing) {
  const __kernel_timespec timeout = {0, 1'000'000};
  EXPECT_EQ(ring_->Enter(1, &timeout), ETIME);
  EXPECT_TRUE(Take().empty());
}

TEST_F(IoUringRingTest, AFullQueueHasRoomAgainOnceItWasHandedOver) {
  Open({.submissions = 4, .completions = 64});
  for (uint64_t i = 0; i < 4; ++i) EXPECT_TRUE(SubmitNothing(i));
  EXPECT_FALSE(SubmitNothing(4));
  EXPECT_EQ(ring_->Enter(4, nullptr), 0);
  EXPECT_TRUE(SubmitNothing(4));
  EXPECT_EQ(ring_->Enter(1, nullptr), 0);
  EXPECT_EQ(Take(2), (std::vector<uint64_t>{0, 1}));
  EXPECT_EQ(Take(), (std::vector<uint64_t>{2, 3, 4}));
}

TEST_F(IoUringRingTest, CompletionsThatFindNoRoomAreNotLost) {
  Open({.submissions = 4, .completions = 4});
  for (uint64_t i = 0; i < 20; ++i) {
    while (!SubmitNothing(i)) ring_->Enter(0, nullptr);
  }
  std::vector<uint64_t> all;
  for (int turn = 0; turn < 20 && all.size() < 20; ++turn) {
    ring_->Enter(0, nullptr);
    const std::vector<uint64_t> some = Take();
    EXPECT_LE(some.size(), 4u);
    all.insert(all.end(), some.begin(), some.end());
  }
  for (uint64_t i = 0; i < 20; ++i) EXPECT_EQ(all.at(i), i);
}

TEST_F(IoUringRingTest, BelongsToTheFirstThreadThatEnters) {
  std::thread([&] {
    SubmitNothing(1);
    EXPECT_EQ(ring_->Enter(1, nullptr), 0);
    EXPECT_EQ(Take().size(), 1u);
  }).join();
  SubmitNothing(2);
  EXPECT_EQ(ring_->Enter(0, nullptr), EEXIST);
}

class ProvidedBuffersTest : public IoUringRingTest {
 protected:
  void SetUp() override {
    IoUringRingTest::SetUp();
    if (IsSkipped()) return;
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds_), 0);
  }
  ~ProvidedBuffersTest() override {
    for (const int fd : fds_) close(fd);
  }

  // What matters of an io_uring_cqe, which not every compiler lets a lambda capture.
  struct Completion {
    int32_t res;
    uint32_t flags;
  };

  // Receives once, what is there.
  Completion Receive() {
    io_uring_sqe* const sqe = ring_->NextSubmission();
    sqe->opcode = IORING_OP_RECV;
    sqe->fd = fds_[0];
    sqe->flags = IOSQE_BUFFER_SELECT;
    EXPECT_EQ(ring_->Enter(1, nullptr), 0);
    Completion result = {};
    const auto take = [&](const io_uring_cqe& cqe) { result = {cqe.res, cqe.flags}; };
    EXPECT_EQ(ring_->TakeCompletions(1, take), 1u);
    return result;
  }
  static uint16_t BufferOf(const Completion& cqe) {
    EXPECT_NE(cqe.flags & IORING_CQE_F_BUFFER, 0u);
    return static_cast<uint16_t>(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
  }

  int fds_[2] = {-1, -1};
};

TEST_F(ProvidedBuffersTest, RunsDryAndServesAgainWhatIsGivenBack) {
  ProvidedBuffers buffers({.count = 2, .bytes = 8});
  ASSERT_TRUE(buffers.Register(*ring_).ok());
  ASSERT_EQ(write(fds_[1], "0123456789abcdefghijklmn", 24), 24);
  std::vector<uint16_t> taken;
  for (const std::string expected : {"01234567", "89abcdef"}) {
    const Completion cqe = Receive();
    ASSERT_EQ(cqe.res, 8);
    taken.push_back(BufferOf(cqe));
    buffers.Take(taken.back());
    EXPECT_EQ(std::string(reinterpret_cast<char*>(buffers.data(taken.back())), 8), expected);
  }
  EXPECT_EQ(buffers.data(taken[1]), buffers.data(taken[0]) + 8) << "one piece of memory";
  EXPECT_EQ(buffers.available(), 0u);
  EXPECT_EQ(Receive().res, -ENOBUFS);
  buffers.Give(taken[1]);
  EXPECT_EQ(Receive().res, -ENOBUFS) << "not published yet";
  buffers.Publish();
  const Completion cqe = Receive();
  EXPECT_EQ(cqe.res, 8);
  EXPECT_EQ(BufferOf(cqe), taken[1]);
}

TEST_F(ProvidedBuffersTest, ASecondRingGetsAllButWhatIsTaken) {
  ProvidedBuffers buffers({.count = 2, .bytes = 8});
  ASSERT_TRUE(buffers.Register(*ring_).ok());
  ASSERT_EQ(write(fds_[1], "0123456789abcdef", 16), 16);
  const uint16_t taken = BufferOf(Receive());
  buffers.Take(taken);
  Open({});
  ASSERT_TRUE(buffers.Register(*ring_).ok());
  EXPECT_EQ(buffers.available(), 1u);
  EXPECT_NE(BufferOf(Receive()), taken);
}

}  // namespace
}  // namespace sluice::internal
