#include "sluice/core/internal/io_uring_operations.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/internal/id_table.h"
#include "sluice/core/internal/provided_buffers.h"
#include "sluice/core/internal/socket_ops.h"
#include "sluice/core/internal/unique_fd.h"
#include "sluice/core/monotonic_time.h"

namespace sluice::internal {
namespace {

struct Completion {
  IoUringOperation operation;
  EntryId id;
  int32_t result;

  bool operator==(const Completion&) const = default;
};

class IoUringOperationsTest : public testing::Test {
 protected:
  void SetUp() override { Open({}); }

  void Open(const IoUringRing::Sizes& sizes) {
    const absl::Status status = operations_.Open(sizes, buffers_);
    if (absl::IsUnimplemented(status) || absl::IsPermissionDenied(status)) GTEST_SKIP() << status;
    ASSERT_TRUE(status.ok()) << status;
  }

  // What has completed by now.
  std::vector<Completion> Look() {
    EXPECT_EQ(operations_.Enter(MonotonicTime()), 0);
    std::vector<Completion> completions;
    operations_.TakeCompletions(
        SIZE_MAX, [&](IoUringOperation operation, EntryId id, const io_uring_cqe& cqe) {
          completions.push_back({operation, id, cqe.res});
        });
    return completions;
  }
  void Write(uint64_t count) {
    ASSERT_EQ(write(event_.get(), &count, sizeof(count)), static_cast<ssize_t>(sizeof(count)));
  }

  const EntryId id_ = {UINT32_MAX, EntryId::kGenerations - 1};
  UniqueFd event_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  ProvidedBuffers buffers_{{.count = 4, .bytes = 8}};
  IoUringOperations operations_;
};

TEST_F(IoUringOperationsTest, HeaderExample) {
  ASSERT_TRUE(operations_.Watch(IoUringOperation::kWritable, id_, event_.get(), POLLOUT));
  EXPECT_EQ(operations_.Enter(MonotonicTime::InfiniteFuture()), 0);
  EXPECT_EQ(operations_.TakeCompletions(
                512,
                [this](IoUringOperation operation, EntryId id, const io_uring_cqe& cqe) {
                  EXPECT_EQ(operation, IoUringOperation::kWritable);
                  EXPECT_EQ(id, id_);
                  EXPECT_EQ(cqe.res, POLLOUT);
                }),
            1u);
}

TEST_F(IoUringOperationsTest, AWatchOfOneShotCompletesOnce) {
  const std::vector<Completion> readable = {{IoUringOperation::kReadable, id_, POLLIN}};
  ASSERT_TRUE(operations_.Watch(IoUringOperation::kReadable, id_, event_.get(), POLLIN));
  EXPECT_TRUE(Look().empty());
  Write(1);
  EXPECT_EQ(Look(), readable);
  Write(1);
  EXPECT_TRUE(Look().empty());
}

TEST_F(IoUringOperationsTest, AWatchOfManyShotsCompletesEachTime) {
  const std::vector<Completion> woken = {{IoUringOperation::kWake, id_, POLLIN}};
  ASSERT_TRUE(operations_.Watch(IoUringOperation::kWake, id_, event_.get(), POLLIN,
                                IoUringOperations::Shots::kMany));
  EXPECT_TRUE(Look().empty());
  for (int i = 0; i < 3; ++i) {
    Write(1);
    EXPECT_EQ(Look(), woken) << i;
  }
}

TEST_F(IoUringOperationsTest, AReceiveCompletesForEachBufferAndForTheEnd) {
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  const UniqueFd ours(fds[0]);
  UniqueFd theirs(fds[1]);
  ASSERT_EQ(write(theirs.get(), "0123456789", 10), 10);
  ASSERT_TRUE(operations_.Receive(id_, ours.get()));
  EXPECT_EQ(Look(), (std::vector<Completion>{{IoUringOperation::kReceive, id_, 8},
                                             {IoUringOperation::kReceive, id_, 2}}));
  for (uint16_t buffer = 0; buffer < 2; ++buffer) {
    buffers_.Take(buffer);
    buffers_.Give(buffer);
  }
  buffers_.Publish();
  shutdown(theirs.get(), SHUT_WR);
  EXPECT_EQ(Look(), (std::vector<Completion>{{IoUringOperation::kReceive, id_, 0}}));
}

TEST_F(IoUringOperationsTest, WhatIsCancelledSaysSoAndTheCancellationOnlyIfThereWasNothing) {
  ASSERT_TRUE(operations_.Watch(IoUringOperation::kReadable, id_, event_.get(), POLLIN));
  EXPECT_TRUE(Look().empty());
  ASSERT_TRUE(operations_.Cancel(IoUringOperation::kReadable, id_));
  EXPECT_EQ(Look(), (std::vector<Completion>{{IoUringOperation::kReadable, id_, -ECANCELED}}));
  ASSERT_TRUE(operations_.Cancel(IoUringOperation::kReadable, id_));
  EXPECT_EQ(Look(), (std::vector<Completion>{{IoUringOperation::kCancel, {0, 0}, -ENOENT}}));
}

TEST_F(IoUringOperationsTest, CancelsForLaterAreHandedOverHoweverMany) {
  Open({.submissions = 4, .completions = 64});
  for (uint32_t i = 0; i < 10; ++i) {
    if (!operations_.Watch(IoUringOperation::kReadable, {i, 0}, event_.get(), POLLIN)) {
      EXPECT_TRUE(Look().empty());
      ASSERT_TRUE(operations_.Watch(IoUringOperation::kReadable, {i, 0}, event_.get(), POLLIN));
    }
  }
  EXPECT_TRUE(Look().empty());
  for (uint32_t i = 0; i < 10; ++i) operations_.CancelLater(IoUringOperation::kReadable, {i, 0});
  EXPECT_TRUE(Look().empty()) << "not submitted yet";
  EXPECT_EQ(operations_.HandOverCancels(), 0);
  EXPECT_EQ(Look().size(), 10u);
  EXPECT_TRUE(operations_.SubmitCancels());
  EXPECT_TRUE(Look().empty()) << "nothing is left to cancel";
}

TEST_F(IoUringOperationsTest, AnotherRingKnowsNothingOfWhatWasUnderWay) {
  ASSERT_TRUE(operations_.Watch(IoUringOperation::kReadable, id_, event_.get(), POLLIN));
  EXPECT_TRUE(Look().empty());
  operations_.CancelLater(IoUringOperation::kReadable, id_);
  Open({});
  Write(1);
  EXPECT_TRUE(operations_.SubmitCancels());
  EXPECT_TRUE(Look().empty());
}

TEST_F(IoUringOperationsTest, ACompletionEndsAWait) {
  ASSERT_TRUE(operations_.Watch(IoUringOperation::kReadable, id_, event_.get(), POLLIN));
  Write(1);
  EXPECT_EQ(operations_.Enter(SystemNow() + absl::Hours(1)), 0);
}

TEST_F(IoUringOperationsTest, ADeadlineThatHasPassedIsNotWaitedFor) {
  EXPECT_EQ(operations_.Enter(MonotonicTime::FromNanoseconds(1)), 0);
  EXPECT_EQ(operations_.Enter(SystemNow()), 0);
}

}  // namespace
}  // namespace sluice::internal
