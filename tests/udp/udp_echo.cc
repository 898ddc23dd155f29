// An echo of datagrams by UdpSocket beside one by a bare loop of recvmmsg(2) and sendmmsg(2) in one
// run: the server on one processor, a load of so many datagrams in flight on another, short rounds
// of one and the other by turns. Prints for each the median of the rounds: datagrams a second, the
// server's processor time for each, and how the bare loop's compares to UdpSocket's (above 1: it
// takes more).
//
//   udp_echo --size=64 --rounds=5 --seconds=1
//
// The servers: bare; bare_epoll, which waits as a loop has to that serves more than one socket;
// sluice; sluice_plain, which lets the system neither split nor join datagrams, as the bare loop
// does not; and io_uring, sluice on that engine.
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_split.h"
#include "absl/types/span.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/poller.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/udp.h"

ABSL_FLAG(int, size, 64, "bytes of a datagram");
ABSL_FLAG(int, window, 128, "datagrams in flight, of all peers");
ABSL_FLAG(int, peers, 1, "sockets of the load");
ABSL_FLAG(int, rounds, 5, "rounds of each server");
ABSL_FLAG(double, seconds, 1, "length of a round");
ABSL_FLAG(std::string, servers, "bare,bare_epoll,sluice,sluice_plain,io_uring",
          "in this order by turns");

namespace {

constexpr size_t kBatch = 64;
constexpr size_t kRoom = 2048;
constexpr int kBufferBytes = 4 << 20;

double Seconds(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);  // source_style: printed, never asserted
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

void PinTo(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  // Where there is one processor only, both run on it.
  pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

int OpenSocket() {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kBufferBytes, sizeof(kBufferBytes));
  const sluice::SocketAddress any = sluice::SocketAddress::Ipv4Loopback(0);
  if (fd < 0 || bind(fd, any.data(), any.length()) != 0) {
    perror("socket");
    _exit(1);
  }
  return fd;
}

sluice::SocketAddress AddressOf(int fd) {
  sockaddr_storage storage;
  socklen_t length = sizeof(storage);
  getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length);
  return sluice::SocketAddress::FromSockaddr(reinterpret_cast<const sockaddr*>(&storage), length);
}

// Messages to receive into, which can be sent back as they are.
struct Batch {
  Batch() : memory(kBatch * kRoom) {
    std::memset(messages.data(), 0, sizeof(messages));
    for (size_t i = 0; i < kBatch; ++i) {
      pieces[i] = {memory.data() + i * kRoom, kRoom};
      messages[i].msg_hdr.msg_iov = &pieces[i];
      messages[i].msg_hdr.msg_iovlen = 1;
      messages[i].msg_hdr.msg_name = &peers[i];
    }
  }
  int Receive(int fd) {
    for (size_t i = 0; i < kBatch; ++i) {
      messages[i].msg_hdr.msg_namelen = sizeof(peers[i]);
      pieces[i].iov_len = kRoom;
    }
    return recvmmsg(fd, messages.data(), kBatch, MSG_WAITFORONE, nullptr);
  }
  void SendBack(int fd, int count) {
    for (int i = 0; i < count; ++i) pieces[i].iov_len = messages[i].msg_len;
    for (int sent = 0; sent < count;) {
      const int n = sendmmsg(fd, &messages[sent], static_cast<unsigned>(count - sent), 0);
      sent += std::max(n, 1);
    }
  }
  std::vector<uint8_t> memory;
  std::array<mmsghdr, kBatch> messages;
  std::array<iovec, kBatch> pieces;
  std::array<sockaddr_in, kBatch> peers;
};

struct Server {
  virtual ~Server() = default;
  virtual sluice::SocketAddress address() const = 0;
  virtual void Run() = 0;  // on a thread of its own, until Stop
  virtual void Stop() = 0;
  uint64_t batches = 0;  // in which datagrams have come
};

class BareServer : public Server {
 public:
  ~BareServer() override { close(fd_); }
  sluice::SocketAddress address() const override { return AddressOf(fd_); }
  void Run() override {
    while (!stop_.load(std::memory_order_relaxed)) Turn();
  }
  void Stop() override {
    stop_ = true;
    const sluice::SocketAddress to = address();
    sendto(fd_, "", 0, 0, to.data(), to.length());
  }

 protected:
  void Turn() {
    const int n = batch_.Receive(fd_);
    if (n > 0) batch_.SendBack(fd_, n);
    ++batches;
  }

  const int fd_ = OpenSocket();
  std::atomic<bool> stop_{false};

 private:
  Batch batch_;
};

// The same, but that it waits with epoll(7), as a loop has to that serves more than one socket.
class BareEpollServer final : public BareServer {
 public:
  void Run() override {
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    epoll_event event = {};
    event.events = EPOLLIN;
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd_, &event);
    while (!stop_.load(std::memory_order_relaxed)) {
      if (epoll_wait(epoll, &event, 1, -1) == 1) Turn();
    }
    close(epoll);
  }
};

class SluiceServer final : public Server, public sluice::UdpHandler {
 public:
  SluiceServer(sluice::PollerKind engine, bool offload) {
    absl::StatusOr<std::unique_ptr<sluice::EventLoop>> loop = sluice::EventLoop::Create(engine);
    if (!loop.ok()) Fail(loop.status());
    loop_ = *std::move(loop);
    absl::StatusOr<std::unique_ptr<sluice::UdpSocket>> socket = sluice::UdpSocket::Bind(
        *loop_, sluice::SocketAddress::Ipv4Loopback(0),
        {.datagram = {.receive_buffer_bytes = kBufferBytes, .offload = offload}}, *this);
    if (!socket.ok()) Fail(socket.status());
    socket_ = *std::move(socket);
  }
  sluice::SocketAddress address() const override { return socket_->local_address(); }
  void Run() override { loop_->Run(); }
  void Stop() override { loop_->Stop(); }

 private:
  void OnDatagrams(sluice::UdpSocket& socket,
                   absl::Span<const sluice::ReceivedDatagram> datagrams) override {
    ++batches;
    for (const sluice::ReceivedDatagram& datagram : datagrams)
      socket.SendLent(datagram.bytes, *datagram.peer);
  }
  [[noreturn]] static void Fail(const absl::Status& status) {
    fprintf(stderr, "%s\n", status.ToString().c_str());
    _exit(1);
  }
  std::unique_ptr<sluice::EventLoop> loop_;
  std::unique_ptr<sluice::UdpSocket> socket_;
};

std::unique_ptr<Server> MakeServer(const std::string& name) {
  using sluice::PollerKind;
  if (name == "bare_epoll") return std::make_unique<BareEpollServer>();
  if (name == "bare") return std::make_unique<BareServer>();
  if (name == "sluice") return std::make_unique<SluiceServer>(PollerKind::kAuto, true);
  if (name == "sluice_plain") return std::make_unique<SluiceServer>(PollerKind::kAuto, false);
  if (name == "io_uring") return std::make_unique<SluiceServer>(PollerKind::kIoUring, true);
  fprintf(stderr, "--servers: \"%s\" is none of bare, bare_epoll, sluice, sluice_plain, io_uring\n",
          name.c_str());
  _exit(2);
}

// Keeps the window full until the time is up; returns how many came back.
uint64_t Load(const sluice::SocketAddress& server) {
  std::vector<int> sockets;
  const int peers = absl::GetFlag(FLAGS_peers);
  const std::string bytes(static_cast<size_t>(absl::GetFlag(FLAGS_size)), 'x');
  for (int i = 0; i < peers; ++i) {
    sockets.push_back(OpenSocket());
    if (connect(sockets.back(), server.data(), server.length()) != 0) _exit(1);
    const timeval lost = {2, 0};
    setsockopt(sockets.back(), SOL_SOCKET, SO_RCVTIMEO, &lost, sizeof(lost));
  }
  for (int i = 0; i < absl::GetFlag(FLAGS_window); ++i)
    send(sockets[static_cast<size_t>(i % peers)], bytes.data(), bytes.size(), 0);
  Batch batch;
  uint64_t received = 0;
  const double end = Seconds(CLOCK_MONOTONIC) + absl::GetFlag(FLAGS_seconds);
  while (Seconds(CLOCK_MONOTONIC) < end) {
    for (const int fd : sockets) {
      const int n = batch.Receive(fd);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) {
        fprintf(stderr, "lost: nothing came back for 2 s\n");
        continue;
      }
      received += static_cast<uint64_t>(n);
      batch.SendBack(fd, n);
    }
  }
  for (const int fd : sockets) close(fd);
  return received;
}

struct Result {
  double rate;   // a second
  double cost;   // microseconds of the server's processor for each
  double batch;  // received together
};

Result Round(const std::string& name) {
  const std::unique_ptr<Server> server = MakeServer(name);
  double used = 0;
  std::thread thread([&] {
    PinTo(0);
    pthread_setname_np(pthread_self(), "server");
    const double begin = Seconds(CLOCK_THREAD_CPUTIME_ID);
    server->Run();
    used = Seconds(CLOCK_THREAD_CPUTIME_ID) - begin;
  });
  const double begin = Seconds(CLOCK_MONOTONIC);
  const uint64_t count = Load(server->address());
  const double time = Seconds(CLOCK_MONOTONIC) - begin;
  server->Stop();
  thread.join();
  const double datagrams = static_cast<double>(count);
  return {datagrams / time, used * 1e6 / datagrams,
          datagrams / static_cast<double>(server->batches)};
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  PinTo(1);
  const std::vector<std::string> names = absl::StrSplit(absl::GetFlag(FLAGS_servers), ',');
  std::map<std::string, std::vector<double>> rates, costs, ratios, batches;
  for (int round = 0; round < absl::GetFlag(FLAGS_rounds); ++round) {
    double bare = 0;
    for (const std::string& name : names) {
      const Result result = Round(name);
      if (name == "bare") bare = result.cost;
      rates[name].push_back(result.rate);
      costs[name].push_back(result.cost);
      ratios[name].push_back(bare / result.cost);
      batches[name].push_back(result.batch);
    }
  }
  printf("%d bytes, %d in flight, %d peers\n", absl::GetFlag(FLAGS_size),
         absl::GetFlag(FLAGS_window), absl::GetFlag(FLAGS_peers));
  for (const std::string& name : names) {
    printf("%-12s %9.0f/s %7.3f us each, %4.1f at once  bare / this: %.2f\n", name.c_str(),
           Median(rates[name]), Median(costs[name]), Median(batches[name]), Median(ratios[name]));
  }
}
