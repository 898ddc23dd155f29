// What a server's process pays (the CPU column) for sending a file of 1 GiB from the system's cache
// over loopback TCP: a Stream's SendFile, and a bare loop of epoll and sendfile(2), which is the
// floor. The receiver is another process, and copies nothing.
//
// Measure with `tools/bazel run -c opt //core:send_file_benchmark --` and
//   --benchmark_repetitions=5 --benchmark_enable_random_interleaving=true
// and divide the medians.
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "benchmark/benchmark.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/internal/benchmark_calls.h"
#include "sluice/core/internal/check.h"
#include "sluice/core/internal/unique_fd.h"
#include "sluice/core/poller.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"

namespace sluice {
namespace {

using internal::UniqueFd;

constexpr size_t kFileBytes = size_t{1} << 30;

// All of it in the system's cache.
int File() {
  static const int file = [] {
    const char* const directory = getenv("TEST_TMPDIR");
    std::string path = std::string(directory != nullptr ? directory : "/tmp") + "/file_XXXXXX";
    const int fd = mkostemp(path.data(), O_CLOEXEC);
    SLUICE_CHECK(fd >= 0 && ftruncate(fd, kFileBytes) == 0);
    unlink(path.c_str());
    std::string room(1 << 20, '\0');
    while (read(fd, room.data(), room.size()) > 0) {
    }
    return fd;
  }();
  return file;
}

// A process that connects, and answers each file with a byte, until the connection ends.
class Receiver {
 public:
  explicit Receiver(const SocketAddress& server) : process_(fork()) {
    SLUICE_CHECK(process_ >= 0);
    if (process_ == 0) Run(server);
  }
  ~Receiver() { waitpid(process_, nullptr, 0); }
  Receiver(const Receiver&) = delete;
  Receiver& operator=(const Receiver&) = delete;

 private:
  [[noreturn]] static void Run(const SocketAddress& server) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, server.data(), server.length()) != 0) _exit(1);
    for (;;) {
      for (size_t left = kFileBytes; left != 0;) {
        const ssize_t n = recv(fd, nullptr, left < (1 << 20) ? left : 1 << 20, MSG_TRUNC);
        if (n <= 0) _exit(0);
        left -= static_cast<size_t>(n);
      }
      if (send(fd, "!", 1, MSG_NOSIGNAL) != 1) _exit(0);
    }
  }

  const pid_t process_;
};

class Answer : public StreamHandler {
 public:
  bool there = false;

 private:
  void OnReceive(Stream&, absl::Span<uint8_t>) override { there = true; }
};

void BM_SendFile(benchmark::State& state) {
  const auto engine = static_cast<PollerKind>(state.range(0));
  absl::StatusOr<std::unique_ptr<EventLoop>> loop = EventLoop::Create(engine);
  if (!loop.ok()) return state.SkipWithError(std::string(loop.status().message()).c_str());
  File();
  Answer answer;
  std::unique_ptr<Stream> stream;
  const std::unique_ptr<Listener> listener =
      *Listener::Listen(**loop, SocketAddress::Ipv4Loopback(0), {},
                        [&](std::unique_ptr<Stream> accepted) { stream = std::move(accepted); });
  const Receiver receiver(listener->address());
  (*loop)->RunUntil([&] { return stream != nullptr; });
  stream->SetHandler(answer);
  const internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    answer.there = false;
    SLUICE_CHECK(stream->SendFile(File(), 0, kFileBytes).ok());
    (*loop)->RunUntil([&] { return answer.there; });
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(kFileBytes));
  stream = nullptr;
}
BENCHMARK(BM_SendFile)
    ->Arg(static_cast<int>(PollerKind::kEpoll))
    ->Arg(static_cast<int>(PollerKind::kIoUring))
    ->Iterations(4)
    ->Unit(benchmark::kMillisecond)
    ->MeasureProcessCPUTime()
    ->UseRealTime();

int Listen(SocketAddress& address) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const SocketAddress any_port = SocketAddress::Ipv4Loopback(0);
  SLUICE_CHECK(bind(fd, any_port.data(), any_port.length()) == 0 && listen(fd, 1) == 0);
  sockaddr_in bound;
  socklen_t length = sizeof(bound);
  getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &length);
  address = SocketAddress::FromSockaddr(reinterpret_cast<const sockaddr*>(&bound), length);
  return fd;
}

// Watches one socket.
class Watch {
 public:
  explicit Watch(int fd) : fd_(fd) { Control(EPOLL_CTL_ADD, 0); }
  void Wait(uint32_t events) {
    if (events != events_) Control(EPOLL_CTL_MOD, events);
    epoll_event event;
    // A ring that another benchmark has closed may interrupt it.
    while (epoll_wait(epoll_.get(), &event, 1, -1) != 1) SLUICE_CHECK(errno == EINTR);
  }

 private:
  void Control(int operation, uint32_t events) {
    epoll_event event = {};
    event.events = events_ = events;
    SLUICE_CHECK(epoll_ctl(epoll_.get(), operation, fd_, &event) == 0);
  }

  const UniqueFd epoll_{epoll_create1(EPOLL_CLOEXEC)};
  const int fd_;
  uint32_t events_ = 0;
};

void BM_BareLoop(benchmark::State& state) {
  File();
  SocketAddress address;
  const UniqueFd listener(Listen(address));
  const Receiver receiver(address);
  const UniqueFd fd(accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  Watch watch(fd.get());
  const internal::BenchmarkCalls calls(state);
  for (auto _ : state) {
    off_t offset = 0;
    while (offset < static_cast<off_t>(kFileBytes)) {
      const ssize_t n =
          sendfile(fd.get(), File(), &offset, kFileBytes - static_cast<size_t>(offset));
      SLUICE_CHECK(n > 0 || errno == EAGAIN || errno == EINTR);
      if (n < 0 && errno == EAGAIN) watch.Wait(EPOLLOUT);
    }
    watch.Wait(EPOLLIN);
    char answer;
    SLUICE_CHECK(read(fd.get(), &answer, 1) == 1);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(kFileBytes));
}
BENCHMARK(BM_BareLoop)
    ->Iterations(4)
    ->Unit(benchmark::kMillisecond)
    ->MeasureProcessCPUTime()
    ->UseRealTime();

}  // namespace
}  // namespace sluice
