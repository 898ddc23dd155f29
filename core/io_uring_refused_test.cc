// Where the kernel refuses io_uring, a loop that asks for it by name learns what is missing. A
// filter of system calls, in a child process, refuses here as an old kernel or a container does.
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/poller.h"

namespace sluice {
namespace {

// From now on `call` fails with `error` in this process.
bool Refuse(int call, int error) {
  sock_filter instructions[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(call), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter = {4, instructions};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

// In the child: prints what Create says, and ends with its code.
[[noreturn]] void CreateRefused(int call, int error) {
  if (!Refuse(call, error)) _exit(100);
  const absl::Status status = EventLoop::Create(PollerKind::kIoUring).status();
  const std::string text = status.ToString();
  [[maybe_unused]] const ssize_t n = write(STDERR_FILENO, text.data(), text.size());
  _exit(status.raw_code());
}

auto ExitsWith(absl::StatusCode code) { return testing::ExitedWithCode(static_cast<int>(code)); }

TEST(IoUringRefusedTest, AKernelWithoutItIsNamedWithWhatIsNeeded) {
  EXPECT_EXIT(CreateRefused(SYS_io_uring_setup, ENOSYS),
              ExitsWith(absl::StatusCode::kUnimplemented),
              "io_uring_setup: this kernel has no io_uring .*needs Linux 6.1");
}

TEST(IoUringRefusedTest, AnOldKernelIsNamedWithWhatItLacks) {
  EXPECT_EXIT(CreateRefused(SYS_io_uring_setup, EINVAL),
              ExitsWith(absl::StatusCode::kUnimplemented),
              "too old: it lacks .*DEFER_TASKRUN.*needs Linux 6.1");
}

TEST(IoUringRefusedTest, AProhibitionOfEachCallIsNamedWithWhoMayHaveMadeIt) {
  EXPECT_EXIT(CreateRefused(SYS_io_uring_setup, EPERM),
              ExitsWith(absl::StatusCode::kPermissionDenied),
              "io_uring_setup: forbidden.*io_uring_disabled.*seccomp");
  // These are met only where the first call is allowed.
  if (!EventLoop::Create(PollerKind::kIoUring).ok()) return;
  EXPECT_EXIT(CreateRefused(SYS_io_uring_enter, EPERM),
              ExitsWith(absl::StatusCode::kPermissionDenied), "io_uring_enter: forbidden");
  EXPECT_EXIT(CreateRefused(SYS_io_uring_register, EPERM),
              ExitsWith(absl::StatusCode::kPermissionDenied), "io_uring_register: forbidden");
}

TEST(IoUringRefusedTest, AWantOfLockedMemoryIsNamed) {
  EXPECT_EXIT(CreateRefused(SYS_io_uring_setup, ENOMEM),
              ExitsWith(absl::StatusCode::kResourceExhausted), "RLIMIT_MEMLOCK");
}

TEST(IoUringRefusedTest, AutoDoesNotAskForIt) {
  EXPECT_EXIT(
      {
        if (!Refuse(SYS_io_uring_setup, EPERM)) _exit(100);
        _exit(EventLoop::Create(PollerKind::kAuto).ok() ? 0 : 1);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace sluice
