// What happens when the system's calls fail, are interrupted, or do a part of what was asked: rare
// by nature, so that they are made to happen here. Functions of this file stand before the
// system's.
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/file_for_tests.h"
#include "sluice/core/slice.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/core/tcp_testing.h"

namespace {

// Each returns the error with which a call fails, or 0 for the system's own answer.
std::function<int()> on_accept, on_receive, on_send, on_send_file;
std::function<int(int operation, uint32_t events)> on_epoll_ctl;
// The most bytes that one send takes.
size_t most_sent = SIZE_MAX;
// The most bytes that one sendfile was asked for, and all that they were.
size_t most_asked = 0;
size_t all_asked = 0;
// A sendfile takes everything and sends nothing: to a peer that is infinitely fast.
bool swallows_files = false;

template <typename Function>
Function Real(Function /*stands_before*/, const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

// True when the call fails, with errno set.
template <typename Fault, typename... Arguments>
bool Fails(const Fault& fault, Arguments... arguments) {
  if (!fault) return false;
  const int error = fault(arguments...);
  if (error == 0) return false;
  errno = error;
  return true;
}

}  // namespace

extern "C" {

int accept4(int fd, sockaddr* address, socklen_t* length, int flags) {
  static const auto real = Real(&accept4, "accept4");
  return Fails(on_accept) ? -1 : real(fd, address, length, flags);
}

int epoll_ctl(int epoll, int operation, int fd, epoll_event* event) noexcept {
  static const auto real = Real(&epoll_ctl, "epoll_ctl");
  if (Fails(on_epoll_ctl, operation, event == nullptr ? 0 : event->events)) return -1;
  return real(epoll, operation, fd, event);
}

ssize_t recv(int fd, void* bytes, size_t size, int flags) {
  static const auto real = Real(&recv, "recv");
  return Fails(on_receive) ? -1 : real(fd, bytes, size, flags);
}

// By which streams receive and send where there is no sanitizer: system_calls.h.
long syscall(long number, ...) noexcept {
  long arguments[6];
  va_list list;
  va_start(list, number);
  for (long& argument : arguments) argument = va_arg(list, long);
  va_end(list);
  const auto fd = static_cast<int>(arguments[0]);
  const auto bytes = reinterpret_cast<void*>(arguments[1]);
  if (number == SYS_recvfrom)
    return recv(fd, bytes, static_cast<size_t>(arguments[2]), static_cast<int>(arguments[3]));
  if (number == SYS_sendto)
    return send(fd, bytes, static_cast<size_t>(arguments[2]), static_cast<int>(arguments[3]));
  if (number == SYS_sendmsg)
    return sendmsg(fd, static_cast<const msghdr*>(bytes), static_cast<int>(arguments[2]));
  static const auto real = Real(&syscall, "syscall");
  return real(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
              arguments[5]);
}

ssize_t send(int fd, const void* bytes, size_t size, int flags) {
  static const auto real = Real(&send, "send");
  return Fails(on_send) ? -1 : real(fd, bytes, std::min(size, most_sent), flags);
}

ssize_t sendfile(int fd, int file, off_t* offset, size_t size) noexcept {
  static const auto real = Real(&sendfile, "sendfile");
  most_asked = std::max(most_asked, size);
  all_asked += size;
  if (swallows_files) return static_cast<ssize_t>(size);
  return Fails(on_send_file) ? -1 : real(fd, file, offset, std::min(size, most_sent));
}

ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  static const auto real = Real(&sendmsg, "sendmsg");
  if (Fails(on_send)) return -1;
  size_t whole = 0;
  for (size_t i = 0; i < message->msg_iovlen; ++i) whole += message->msg_iov[i].iov_len;
  if (whole <= most_sent) return real(fd, message, flags);
  // Of the pieces as many as fit, the last of them in part.
  std::vector<iovec> pieces(message->msg_iov, message->msg_iov + message->msg_iovlen);
  size_t left = most_sent;
  for (iovec& piece : pieces) {
    piece.iov_len = std::min(piece.iov_len, left);
    left -= piece.iov_len;
  }
  msghdr part = *message;
  part.msg_iov = pieces.data();
  return real(fd, &part, flags);
}

}  // extern "C"

namespace sluice {
namespace {

using test::Pair;
using test::Pattern;

using StreamOr = absl::StatusOr<std::unique_ptr<Stream>>;

// So many times this error, and then none.
std::function<int()> Times(int count, int error) {
  return [count, error]() mutable { return count-- > 0 ? error : 0; };
}

class SystemFaultTest : public testing::Test {
 protected:
  ~SystemFaultTest() override {
    on_accept = on_receive = on_send = on_send_file = nullptr;
    on_epoll_ctl = nullptr;
    most_sent = SIZE_MAX;
    swallows_files = false;
  }

  bool Until(absl::FunctionRef<bool()> done) { return test::Until(*loop_, done); }

  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
};

// Sending.

TEST_F(SystemFaultTest, SendsThatTakeAPartKeepTheRestInOrder) {
  for (const size_t most : {1, 2, 3, 7, 100, 1'000}) {
    SCOPED_TRACE(most);
    Pair pair(*loop_);
    most_sent = most;
    std::string expected;
    for (int i = 0; i < 20; ++i) {
      const std::string piece = Pattern(expected.size(), 50);
      pair.client.stream->Send(i % 2 == 0 ? Slice() : Slice::Copy(piece));
      pair.client.stream->Send(piece);
      expected += i % 2 == 0 ? piece : piece + piece;
    }
    ASSERT_TRUE(Until([&] { return pair.server.recorder.received.size() >= expected.size(); }));
    EXPECT_TRUE(pair.server.recorder.received == expected);
    most_sent = SIZE_MAX;
  }
}

TEST_F(SystemFaultTest, LentBytesOfWhichAPartLeavesArriveWhole) {
  Pair pair(*loop_);
  constexpr size_t kSize = 20'000;
  pair.server.recorder.on_receive = [](Stream& stream, absl::Span<uint8_t> bytes) {
    stream.SendLent(bytes);
  };
  most_sent = 333;
  pair.client.stream->Send(Pattern(0, kSize));
  ASSERT_TRUE(Until([&] { return pair.client.recorder.received.size() >= kSize; }));
  EXPECT_TRUE(pair.client.recorder.received == Pattern(0, kSize));
}

TEST_F(SystemFaultTest, InterruptedAndMomentarilyImpossibleCallsAreTriedAgain) {
  for (const int error : {EINTR, EAGAIN, ENOBUFS}) {
    SCOPED_TRACE(strerror(error));
    Pair pair(*loop_);
    on_send = Times(3, error);
    if (error != ENOBUFS) on_receive = Times(3, error);
    if (error != ENOBUFS) on_accept = Times(1, error);
    pair.client.stream->Send("hello");
    ASSERT_TRUE(Until([&] { return pair.server.recorder.received == "hello"; }));
    const Pair another(*loop_);
  }
}

TEST_F(SystemFaultTest, AnErrorOfAStreamEndsItAndIsNamed) {
  const struct {
    int error;
    absl::StatusCode code;
  } kCases[] = {{ECONNRESET, absl::StatusCode::kUnavailable},
                {ETIMEDOUT, absl::StatusCode::kDeadlineExceeded},
                {EHOSTUNREACH, absl::StatusCode::kUnavailable},
                {ENOMEM, absl::StatusCode::kResourceExhausted}};
  for (const auto& each : kCases) {
    for (const bool sending : {false, true}) {
      SCOPED_TRACE(strerror(each.error));
      Pair pair(*loop_);
      test::End& end = sending ? pair.client : pair.server;
      (sending ? on_send : on_receive) = Times(1, each.error);
      pair.client.stream->Send("hello");
      ASSERT_TRUE(Until([&] { return end.recorder.closed; }));
      const absl::Status& status = end.recorder.close_status;
      EXPECT_EQ(status.code(), each.code) << status;
      EXPECT_EQ(status.message(),
                absl::StrCat(end.stream->peer_address().ToString(), ": ",
                             sending ? "send: " : "receive: ", strerror(each.error)));
    }
  }
}

// An error in the middle of a callback's sends: the caller is told, and OnClose comes later.
TEST_F(SystemFaultTest, ASendThatFindsTheStreamBrokenIsRefused) {
  Pair pair(*loop_);
  bool refused = false;
  pair.server.recorder.on_receive = [&](Stream& stream, absl::Span<uint8_t>) {
    on_send = Times(1, EPIPE);
    refused = stream.Send(Pattern(0, 1'000'000)) == SendResult::kRefused;
    EXPECT_TRUE(stream.closing());
    EXPECT_FALSE(pair.server.recorder.closed);
  };
  pair.client.stream->Send("x");
  ASSERT_TRUE(Until([&] { return pair.server.recorder.closed; }));
  EXPECT_TRUE(refused);
  EXPECT_EQ(pair.server.recorder.close_status.code(), absl::StatusCode::kUnavailable);
}

// Sending files.

constexpr size_t kFileBytes = 1'000'000;

TEST_F(SystemFaultTest, FilesOfWhichAPartLeavesArriveWhole) {
  const test::FileForTests file(Pattern(0, kFileBytes));
  for (const size_t most : {1'000, 4'095, 4'096, 100'000}) {
    SCOPED_TRACE(most);
    Pair pair(*loop_);
    most_sent = most;
    pair.client.stream->Send("head");
    ASSERT_TRUE(file.SendOn(*pair.client.stream).ok());
    pair.client.stream->Send("tail");
    ASSERT_TRUE(Until([&] { return pair.server.recorder.received.size() >= kFileBytes + 8; }));
    EXPECT_TRUE(pair.server.recorder.received == "head" + Pattern(0, kFileBytes) + "tail");
    most_sent = SIZE_MAX;
  }
}

TEST_F(SystemFaultTest, InterruptedAndMomentarilyImpossibleFilesAreTriedAgain) {
  const test::FileForTests file(Pattern(0, kFileBytes));
  for (const int error : {EINTR, EAGAIN, ENOBUFS}) {
    SCOPED_TRACE(strerror(error));
    Pair pair(*loop_);
    on_send_file = Times(3, error);
    ASSERT_TRUE(file.SendOn(*pair.client.stream).ok());
    ASSERT_TRUE(Until([&] { return pair.server.recorder.received.size() >= kFileBytes; }));
    EXPECT_TRUE(pair.server.recorder.received == Pattern(0, kFileBytes));
  }
}

TEST_F(SystemFaultTest, AFileThatTheSystemCannotSendByItselfIsRead) {
  const test::FileForTests file(Pattern(0, kFileBytes));
  for (const int error : {EINVAL, ENOSYS, EOPNOTSUPP}) {
    SCOPED_TRACE(strerror(error));
    Pair pair(*loop_);
    on_send_file = [=] { return error; };
    on_send = Times(2, EINTR);
    most_sent = 70'001;
    ASSERT_TRUE(file.SendOn(*pair.client.stream).ok());
    ASSERT_TRUE(Until([&] { return pair.server.recorder.received.size() >= kFileBytes; }));
    EXPECT_TRUE(pair.server.recorder.received == Pattern(0, kFileBytes));
  }
}

TEST_F(SystemFaultTest, AFileThatIsReadAndWasCutShortEndsTheStream) {
  const test::FileForTests file(Pattern(0, 4 * kFileBytes));
  Pair pair(*loop_);
  on_send_file = [=] { return EINVAL; };
  ASSERT_TRUE(file.SendOn(*pair.client.stream).ok());
  file.Truncate(1);
  ASSERT_TRUE(Until([&] { return pair.closed(); }));
  EXPECT_EQ(pair.client.recorder.close_status.code(), absl::StatusCode::kDataLoss);
}

TEST_F(SystemFaultTest, AnErrorOfAFileEndsTheStreamAndIsNamed) {
  const test::FileForTests file(Pattern(0, kFileBytes));
  for (const int error : {EIO, ECONNRESET}) {
    SCOPED_TRACE(strerror(error));
    Pair pair(*loop_);
    on_send_file = Times(1, error);
    EXPECT_EQ(*file.SendOn(*pair.client.stream), SendResult::kRefused) << "a lot is sent at once";
    ASSERT_TRUE(Until([&] { return pair.client.recorder.closed; }));
    EXPECT_EQ(pair.client.recorder.close_status.message(),
              absl::StrCat(pair.client.stream->peer_address().ToString(),
                           ": send file: ", strerror(error)));
    EXPECT_EQ(pair.client.stream->queued_bytes(), kFileBytes);
  }
}

// sendfile(2) sends piece by piece. When a later one meets a peer that has gone, it answers what
// those before have sent, and there is the signal all the same.
TEST_F(SystemFaultTest, ABrokenPipeInTheMiddleOfAFileIsNoSignal) {
  const test::FileForTests file(Pattern(0, kFileBytes));
  Pair pair(*loop_);
  most_sent = 10'000;
  on_send_file = [count = 1]() mutable {
    if (count-- == 1) raise(SIGPIPE);
    return 0;
  };
  ASSERT_TRUE(file.SendOn(*pair.client.stream).ok());
  ASSERT_TRUE(Until([&] { return pair.server.recorder.received.size() == kFileBytes; }));
  sigset_t pending;
  sigpending(&pending);
  EXPECT_EQ(sigismember(&pending, SIGPIPE), 0);
}

// The signal of a real sendfile(2), whether or not the thread holds such signals back itself.
TEST_F(SystemFaultTest, ABrokenPipeIsNoSignalAndLeavesOthersAlone) {
  const test::FileForTests file(Pattern(0, kFileBytes));
  sigset_t sigpipe, before, pending;
  sigemptyset(&sigpipe);
  sigaddset(&sigpipe, SIGPIPE);
  for (const bool held_back : {false, true}) {
    for (const bool was_pending : {false, true}) {
      if (was_pending && !held_back) continue;
      SCOPED_TRACE(absl::StrCat(held_back, was_pending));
      Pair pair(*loop_);
      pthread_sigmask(held_back ? SIG_BLOCK : SIG_UNBLOCK, &sigpipe, &before);
      if (was_pending) raise(SIGPIPE);
      on_send_file = [count = 1]() mutable {
        if (count-- == 0) return 0;
        raise(SIGPIPE);
        return EPIPE;
      };
      EXPECT_EQ(*file.SendOn(*pair.client.stream), SendResult::kRefused);
      sigpending(&pending);
      EXPECT_EQ(sigismember(&pending, SIGPIPE), was_pending ? 1 : 0);
      const timespec at_once = {};
      EXPECT_EQ(sigtimedwait(&sigpipe, nullptr, &at_once), was_pending ? SIGPIPE : -1);
      sigset_t after;
      pthread_sigmask(SIG_SETMASK, &before, &after);
      EXPECT_EQ(sigismember(&after, SIGPIPE), held_back ? 1 : 0);
    }
  }
}

// A large file does not hold up the loop, however fast its peer is.
TEST_F(SystemFaultTest, ATurnSendsABoundedPartOfAFile) {
  const test::FileForTests file(Pattern(0, 4 * kFileBytes));
  Pair pair(*loop_);
  most_asked = 0;
  ASSERT_TRUE(file.SendOn(*pair.client.stream).ok());
  ASSERT_TRUE(Until([&] { return pair.server.recorder.received.size() >= 4 * kFileBytes; }));
  EXPECT_GT(most_asked, 0u);
  EXPECT_LE(most_asked, 1024u * 1024);
}

TEST_F(SystemFaultTest, ATurnSendsABoundedPartOfManyFiles) {
  const test::FileForTests file(Pattern(0, kFileBytes / 2));
  Pair pair(*loop_);
  pair.server.stream->PauseReceiving();
  test::SendUntilBlocked(*pair.client.stream);
  loop_->RunOnce(absl::ZeroDuration());
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(file.SendOn(*pair.client.stream).ok());
  swallows_files = true;
  pair.server.stream->ResumeReceiving();
  const size_t queued = pair.client.stream->queued_bytes();
  ASSERT_GE(queued, 60 * file.size());
  while (pair.client.stream->queued_bytes() != 0) {
    all_asked = 0;
    loop_->RunOnce(absl::Seconds(1));
    EXPECT_LE(all_asked, 4'000'000u);
  }
}

// Accepting.

TEST_F(SystemFaultTest, AnErrorOfOneConnectionDoesNotKeepOthersOut) {
  for (const int error : {ECONNABORTED, EPROTO, EPERM, ENETDOWN}) {
    on_accept = Times(3, error);
    const Pair pair(*loop_);
  }
}

TEST_F(SystemFaultTest, AListenerBacksOffWhenTheSystemHasRunOut) {
  for (const int error : {EMFILE, ENFILE, ENOBUFS, ENOMEM}) {
    SCOPED_TRACE(strerror(error));
    std::vector<std::unique_ptr<Stream>> streams;
    const std::unique_ptr<Listener> listener = *Listener::Listen(
        *loop_, SocketAddress::Ipv4Loopback(0), {},
        [&](std::unique_ptr<Stream> stream) { streams.push_back(std::move(stream)); });
    on_accept = Times(4, error);  // two accepts and two tries to shed
    Connector connector(*loop_);
    connector.Connect(listener->address(), {}, [&](StreamOr stream) {
      ASSERT_TRUE(stream.ok()) << stream.status();
      streams.push_back(*std::move(stream));
    });
    ASSERT_TRUE(Until([&] { return streams.size() == 2; }));
    EXPECT_EQ(listener->counters().backoffs, 2u);
    EXPECT_EQ(listener->counters().shed, 0u);
  }
}

// Watching. epoll_ctl(2): ENOSPC past /proc/sys/fs/epoll/max_user_watches, ENOMEM.

TEST_F(SystemFaultTest, AConnectThatCannotBeWatchedFails) {
  const test::SilentListener silent;
  Connector connector(*loop_);
  absl::Status status;
  on_epoll_ctl = [](int, uint32_t) { return ENOSPC; };
  connector.Connect(silent.address(), {}, [&](StreamOr stream) { status = stream.status(); });
  EXPECT_TRUE(status.ok()) << "no callback from inside a call";
  loop_->RunOnce(absl::ZeroDuration());
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_NE(status.message().find(silent.address().ToString()), absl::string_view::npos);
}

TEST_F(SystemFaultTest, WhoConnectsAgainAtOnceDoesNotHoldUpTheLoop) {
  const test::SilentListener silent;
  for (const absl::Duration busy_poll : {absl::ZeroDuration(), absl::InfiniteDuration()}) {
    loop_->SetBusyPoll(busy_poll);
    loop_->Post([] {});
    loop_->RunOnce(absl::ZeroDuration());  // after which it polls
    on_epoll_ctl = [](int, uint32_t) { return ENOSPC; };
    Connector connector(*loop_);
    int failures = 0;
    std::function<void()> connect = [&] {
      connector.Connect(silent.address(), {}, [&](const StreamOr&) {
        ++failures;
        connect();
      });
    };
    connect();
    for (int turn = 1; turn <= 3; ++turn) {
      loop_->RunOnce(absl::Minutes(1));
      EXPECT_EQ(failures, turn);
    }
    on_epoll_ctl = nullptr;
  }
}

TEST_F(SystemFaultTest, AStreamThatCannotBeWatchedEnds) {
  // Adding is what an accepted stream needs to receive, changing what a blocked one needs to send.
  for (const int operation : {EPOLL_CTL_ADD, EPOLL_CTL_MOD}) {
    SCOPED_TRACE(operation);
    Pair pair(*loop_);
    if (operation == EPOLL_CTL_ADD) {
      // Taken out of the engine's watch by both ends' end, it is to be watched again.
      pair.server.stream->PauseReceiving();
      pair.server.stream->ShutdownSend();
      pair.client.recorder.on_receive_end = [](Stream& stream) { stream.ShutdownSend(); };
      ASSERT_TRUE(Until([&] { return pair.client.recorder.closed; }));
      loop_->RunOnce(absl::Milliseconds(1));
      on_epoll_ctl = [=](int o, uint32_t) { return o == operation ? ENOMEM : 0; };
      pair.server.stream->ResumeReceiving();
    } else {
      pair.client.stream->PauseReceiving();
      on_epoll_ctl = [=](int o, uint32_t events) {
        return o == operation && (events & EPOLLOUT) != 0 ? ENOMEM : 0;
      };
      test::SendUntilBlocked(*pair.server.stream);
    }
    EXPECT_FALSE(pair.server.recorder.closed);
    ASSERT_TRUE(Until([&] { return pair.server.recorder.closed; }));
    EXPECT_EQ(pair.server.recorder.close_status.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(pair.server.recorder.Events(), "close");
    on_epoll_ctl = nullptr;
  }
}

TEST_F(SystemFaultTest, AStreamThatCannotBeWatchedMayBeDestroyedBeforeItIsTold) {
  Pair pair(*loop_);
  pair.client.stream->PauseReceiving();
  on_epoll_ctl = [](int, uint32_t) { return ENOMEM; };
  test::SendUntilBlocked(*pair.server.stream);
  pair.server.stream = nullptr;
  on_epoll_ctl = nullptr;
  ASSERT_TRUE(Until([&] { return pair.client.recorder.closed || true; }));
  loop_->RunOnce(absl::ZeroDuration());
  EXPECT_EQ(pair.server.recorder.Events(), "");
}

TEST_F(SystemFaultTest, AListenerOrEngineThatCannotBeWatchedIsAnError) {
  on_epoll_ctl = [](int, uint32_t) { return ENOSPC; };
  const absl::Status status =
      Listener::Listen(*loop_, SocketAddress::Ipv4Loopback(0), {}, [](std::unique_ptr<Stream>) {
      }).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(EventLoop::Create().status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(SystemFaultTest, AListenerThatCannotBeWatchedLeavesNoPath) {
  const test::ShortTempDir directory;
  const SocketAddress address = directory.Socket("s");
  on_epoll_ctl = [](int, uint32_t) { return ENOSPC; };
  const absl::Status status =
      Listener::Listen(*loop_, address, {}, [](std::unique_ptr<Stream>) {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_NE(access(address.path().c_str(), F_OK), 0);
}

}  // namespace
}  // namespace sluice
