// What a Forwarder makes of splice(2): that bulk goes by it and small messages do not, and what
// happens when it fails, is interrupted, or does a part of what was asked. Functions of this file
// stand before the system's.
#include "sluice/core/forwarder.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/core/tcp_testing.h"

namespace {

// Each returns the error with which a call fails, or 0 for the system's own answer.
std::function<int()> on_receive, on_send, on_pipe;
// The most bytes that one splice moves to a socket.
size_t most_sent = SIZE_MAX;
// What splice has received from sockets.
size_t spliced = 0;
int receives = 0;

template <typename Function>
Function Real(Function /*stands_before*/, const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

bool Fails(const std::function<int()>& fault) {
  if (!fault) return false;
  const int error = fault();
  if (error == 0) return false;
  errno = error;
  return true;
}

bool IsSocket(int fd) {
  struct stat info;
  return fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode);
}

}  // namespace

extern "C" {

ssize_t splice(int from, off64_t* from_at, int to, off64_t* to_at, size_t size, unsigned flags) {
  static const auto real = Real(&splice, "splice");
  if (!IsSocket(from))
    return Fails(on_send) ? -1 : real(from, from_at, to, to_at, std::min(size, most_sent), flags);
  ++receives;
  if (Fails(on_receive)) return -1;
  const ssize_t n = real(from, from_at, to, to_at, size, flags);
  if (n > 0) spliced += static_cast<size_t>(n);
  return n;
}

int pipe2(int* fds, int flags) noexcept {
  static const auto real = Real(&pipe2, "pipe2");
  return Fails(on_pipe) ? -1 : real(fds, flags);
}

}  // extern "C"

namespace sluice {
namespace {

using test::Pair;
using test::Pattern;

constexpr size_t kMiB = 1024 * 1024;

std::function<int()> Always(int error) {
  return [error] { return error; };
}

// Every n-th time this error.
std::function<int()> Sometimes(int n, int error) {
  return [n, error, count = 0]() mutable { return ++count % n == 0 ? error : 0; };
}

class ForwarderFaultTest : public testing::Test {
 protected:
  ForwarderFaultTest() {
    spliced = 0;
    receives = 0;
    for (test::Recorder* recorder : {&left_.client.recorder, &right_.server.recorder})
      recorder->on_receive_end = [](Stream&) {};
    forwarder_.Start([this](const Forwarder::Outcome& outcome) { outcome_ = outcome; });
  }
  ~ForwarderFaultTest() override {
    on_receive = on_send = on_pipe = nullptr;
    most_sent = SIZE_MAX;
  }

  bool Until(absl::FunctionRef<bool()> done) { return test::Until(*loop_, done); }

  // From the client to the backend.
  void Send(size_t size) {
    sent_ += size;
    left_.client.stream->Send(Pattern(sent_ - size, size));
  }
  void ExpectAllArrives() {
    std::string& received = right_.server.recorder.received;
    ASSERT_TRUE(Until([&] { return checked_ + received.size() == sent_; })) << received.size();
    EXPECT_TRUE(received == Pattern(checked_, received.size()));
    checked_ = sent_;
    received.clear();
  }
  void ExpectGoodOrder() {
    ExpectAllArrives();
    left_.client.stream->ShutdownSend();
    right_.server.stream->ShutdownSend();
    ASSERT_TRUE(Until([&] { return outcome_.has_value(); }));
    EXPECT_TRUE(outcome_->first.status.ok()) << outcome_->first.status;
    EXPECT_TRUE(outcome_->second.status.ok()) << outcome_->second.status;
    EXPECT_EQ(outcome_->first.received, sent_);
    EXPECT_EQ(outcome_->second.sent, sent_);
  }
  void ExpectFailure(const absl::Status& broken, const absl::Status& other) {
    EXPECT_TRUE(absl::IsUnavailable(broken)) << broken;
    EXPECT_TRUE(absl::IsAborted(other)) << other;
  }

  std::unique_ptr<EventLoop> loop_ = test::NewLoop();
  Pair left_{*loop_}, right_{*loop_};
  std::optional<Forwarder::Outcome> outcome_;
  Forwarder forwarder_{std::move(left_.server.stream), std::move(right_.client.stream)};
  size_t sent_ = 0;
  size_t checked_ = 0;  // of what has arrived
};

TEST_F(ForwarderFaultTest, BulkGoesByPipesAndSmallMessagesDoNot) {
  const auto send_small = [&](int messages) {
    for (int i = 0; i < messages; ++i) {
      Send(1'000);
      ExpectAllArrives();
    }
  };
  send_small(20);
  EXPECT_EQ(receives, 0);
  for (int round = 0; round < 2; ++round) {
    const size_t before = spliced;
    Send(4 * kMiB);
    ExpectAllArrives();
    EXPECT_GT(spliced - before, 2 * kMiB);
    send_small(10);
    const int receives_before = receives;
    send_small(20);
    EXPECT_EQ(receives, receives_before) << "back to copies";
  }
  ExpectGoodOrder();
}

TEST_F(ForwarderFaultTest, WhereTheSystemDoesNotSpliceFromASocketBytesAreCopied) {
  on_receive = Always(EINVAL);
  Send(4 * kMiB);
  ExpectGoodOrder();
  EXPECT_EQ(receives, 1) << "it is not asked again";
}

TEST_F(ForwarderFaultTest, WantOfMemoryIsForOneReceiveOnly) {
  on_receive = [count = 0]() mutable { return ++count == 1 ? ENOMEM : 0; };
  Send(4 * kMiB);
  ExpectAllArrives();
  EXPECT_GT(receives, 1);
  on_send = [count = 0]() mutable { return ++count == 1 ? ENOMEM : 0; };
  for (int round = 0; round < 2; ++round) {
    receives = 0;
    Send(4 * kMiB);
    ExpectAllArrives();
    EXPECT_GT(receives, 1);
  }
  ExpectGoodOrder();
}

TEST_F(ForwarderFaultTest, WhereTheSystemDoesNotSpliceToASocketNothingInThePipeIsLost) {
  for (const int error : {EINVAL, EPERM}) {
    on_send = [error, count = 0]() mutable { return ++count > 2 ? error : 0; };
    Send(4 * kMiB);
    ExpectAllArrives();
  }
  EXPECT_GT(spliced, 0u);
  ExpectGoodOrder();
}

TEST_F(ForwarderFaultTest, WithoutDescriptorsForAPipeBytesAreCopied) {
  on_pipe = Always(EMFILE);
  Send(4 * kMiB);
  ExpectAllArrives();
  EXPECT_EQ(spliced, 0u);
  on_pipe = nullptr;
  Send(4 * kMiB);
  ExpectGoodOrder();
  EXPECT_GT(spliced, 0u) << "and go by pipes once there are any";
}

TEST_F(ForwarderFaultTest, PartsInterruptionsAndDelaysChangeNothing) {
  on_receive = Sometimes(3, EINTR);
  on_send = Sometimes(5, EINTR);
  most_sent = 10'000;
  Send(2 * kMiB);
  ExpectAllArrives();
  on_receive = Sometimes(2, EAGAIN);
  on_send = Sometimes(20, EAGAIN);
  Send(2 * kMiB);
  ExpectGoodOrder();
  EXPECT_GT(spliced, kMiB) << "but what a splice did not bring was copied";
}

TEST_F(ForwarderFaultTest, AReceivingSideThatBreaksResetsTheOther) {
  on_receive = [count = 0]() mutable { return ++count == 3 ? ECONNRESET : 0; };
  Send(4 * kMiB);
  ASSERT_TRUE(Until([&] { return outcome_.has_value() && right_.server.recorder.closed; }));
  ExpectFailure(outcome_->first.status, outcome_->second.status);
}

// The signal of a real splice(2): the default would end the process.
TEST_F(ForwarderFaultTest, ASendingSideThatBreaksResetsTheOtherAndIsNoSignal) {
  on_send = [count = 0]() mutable {
    if (++count != 3) return 0;
    raise(SIGPIPE);
    return EPIPE;
  };
  Send(4 * kMiB);
  ASSERT_TRUE(Until([&] { return outcome_.has_value() && left_.client.recorder.closed; }));
  ExpectFailure(outcome_->second.status, outcome_->first.status);
  EXPECT_LT(outcome_->second.sent, outcome_->first.received);
  sigset_t pending;
  sigpending(&pending);
  EXPECT_EQ(sigismember(&pending, SIGPIPE), 0);
}

}  // namespace
}  // namespace sluice
