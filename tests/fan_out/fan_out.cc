// What it costs to publish one message to many subscribers, beside the bare cost of as many send(2)
// calls of the same frame, and what stalled readers do to the others.
//
//   tools/bazel run -c opt //tests/fan_out -- --subscribers=10000 --rounds=7
//
// Two servers take turns in short rounds, each with as many connections over loopback, which a
// process of its own reads: one is Topics over two loops, the other two threads that send the frame
// to one socket after the other. Compared is the CPU time of each one's two threads. Then 1% of the
// readers stop, and the latency of the others is compared with what it was before. Servers and
// readers have a processor each, so that the latency is not the scheduler's choice between them.
//
// It asserts that nothing is lost and that memory stays below the marks; the ratios are printed.

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/loop_group.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/frame.h"
#include "sluice/protocols/websocket/prepared_message.h"
#include "sluice/protocols/websocket/server.h"
#include "sluice/protocols/websocket/topics.h"

ABSL_FLAG(int, subscribers, 10'000, "connections of each server");
ABSL_FLAG(int, messages, 20, "messages a round");
ABSL_FLAG(int, rounds, 7, "how often the servers take turns");
ABSL_FLAG(int, payload, 256, "bytes of a message");

namespace {

namespace ws = sluice::websocket;

constexpr int kThreads = 2;
constexpr int kStalledOneIn = 100;
constexpr uint32_t kHighMark = 256 * 1024;
constexpr size_t kFillBytes = 4000;
constexpr size_t kMostWaiting = 16;

[[noreturn]] void Die(const std::string& what) {
  fprintf(stderr, "fan_out: %s: %s\n", what.c_str(), strerror(errno));
  exit(1);
}

void Check(bool good, absl::string_view what) {
  if (!good) Die(std::string(what));
}

int64_t Nanoseconds(clockid_t clock) {
  timespec time;
  clock_gettime(clock, &time);  // source_style: printed, never asserted
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

template <typename T>
void Tell(int fd, const T& value) {
  Check(write(fd, &value, sizeof value) == sizeof value, "write");
}
template <typename T>
T Hear(int fd) {
  T value;
  Check(recv(fd, &value, sizeof value, MSG_WAITALL) == sizeof value, "the other process has ended");
  return value;
}

struct Order {
  enum Kind : int { kConnect, kPublish, kStall, kResume, kFinish } kind;
  int value = 0;  // kConnect: the port; kPublish: how many messages
};
struct Report {
  int64_t cpu_ns = 0;
  int64_t wall_ns = 0;
  int64_t p50_ns = 0;
  int64_t p99_ns = 0;
  uint64_t most_queued = 0;  // by a connection that is stalled
  uint64_t most_waiting = 0;
};

// ---- the readers

// One process that is all subscribers of a server. For each message that all who read have got, it
// tells the server so.
class Readers {
 public:
  explicit Readers(int server) : server_(server), epoll_(epoll_create1(0)) {
    Watch(server_, kServer);
    payload_ = static_cast<size_t>(absl::GetFlag(FLAGS_payload));
    frame_bytes_ = payload_ + (payload_ < 126 ? 2 : 4);
  }

  void Run() {
    std::vector<epoll_event> events(1024);
    for (;;) {
      const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
      for (int i = 0; i < count; ++i) {
        const auto index = static_cast<uint32_t>(events[static_cast<size_t>(i)].data.u32);
        if (index == kServer) {
          if (!Obey()) return;
        } else {
          Receive(index);
        }
      }
    }
  }

 private:
  static constexpr uint32_t kServer = ~0u;
  struct Reader {
    int fd;
    std::string part;  // of a frame
  };

  static bool Stalls(uint32_t index) { return index % kStalledOneIn == kStalledOneIn - 1; }

  void Watch(int fd, uint32_t index) {
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.u32 = index;
    Check(epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
  }

  bool Obey() {
    Order order;
    if (recv(server_, &order, sizeof order, MSG_WAITALL) != sizeof order) return false;
    switch (order.kind) {
      case Order::kConnect:
        Connect(order.value);
        break;
      case Order::kPublish:
        if (order.value > 0) {  // comes next
          latencies_.clear();
          return true;
        }
        return TellLatencies();
      case Order::kStall:
      case Order::kResume:
        SetStalled(order.kind == Order::kStall);
        break;
      case Order::kFinish:
        ReadAll();
        break;
    }
    Tell(server_, 'k');
    return true;
  }

  void Connect(int port) {
    const int count = absl::GetFlag(FLAGS_subscribers);
    for (int i = 0; i < count; ++i) {
      const auto index = static_cast<uint32_t>(i);
      const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      Check(fd >= 0, "socket");
      sockaddr_in address = {};
      address.sin_family = AF_INET;
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      address.sin_port = htons(static_cast<uint16_t>(port));  // source_style: the server's own
      Check(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, "connect");
      const std::string request = absl::StrCat(
          "GET ", Stalls(index) ? "/stalls" : "/",
          " HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n");
      Check(send(fd, request.data(), request.size(), 0) > 0, "send");
      std::string answer;
      char byte;
      while (answer.find("\r\n\r\n") == std::string::npos) {
        Check(recv(fd, &byte, 1, 0) == 1, "recv");
        answer += byte;
      }
      Check(fcntl(fd, F_SETFL, O_NONBLOCK) == 0, "fcntl");
      readers_.push_back({fd, {}});
      Watch(fd, index);
      active_ += Stalls(index) ? 0 : 1;
    }
  }

  void SetStalled(bool stalled) {
    for (uint32_t i = 0; i < readers_.size(); ++i) {
      if (!Stalls(i)) continue;
      if (stalled) {
        epoll_ctl(epoll_, EPOLL_CTL_DEL, readers_[i].fd, nullptr);
      } else {
        Watch(readers_[i].fd, i);
      }
    }
  }

  // What the system holds of those that were stalled, so that it is no burden to what is measured
  // next.
  void ReadAll() {
    char bytes[64 * 1024];
    for (uint32_t i = 0; i < readers_.size(); ++i) {
      if (!Stalls(i)) continue;
      while (recv(readers_[i].fd, bytes, sizeof bytes, 0) > 0) continue;
    }
  }

  void Receive(uint32_t index) {
    char bytes[64 * 1024];
    Reader& reader = readers_[index];
    const ssize_t received = recv(reader.fd, bytes, sizeof bytes, 0);
    if (received < 0 && (errno == EAGAIN || errno == EINTR)) return;
    Check(received > 0, "a connection has ended");
    if (Stalls(index)) return;  // it is there to be a burden
    absl::string_view rest(bytes, static_cast<size_t>(received));
    if (!reader.part.empty()) {
      reader.part.append(rest.data(), rest.size());
      rest = reader.part;
    }
    for (; rest.size() >= frame_bytes_; rest.remove_prefix(frame_bytes_))
      Got(rest.substr(frame_bytes_ - payload_));
    reader.part = std::string(rest);
  }

  void Got(absl::string_view payload) {
    int64_t sent;
    memcpy(&sent, payload.data(), sizeof sent);
    latencies_.push_back(Nanoseconds(CLOCK_MONOTONIC) - sent);
    if (++got_ < active_) return;
    got_ = 0;
    Tell(server_, 'k');
  }

  bool TellLatencies() {
    std::sort(latencies_.begin(), latencies_.end());
    Report report;
    report.p50_ns = latencies_[latencies_.size() / 2];
    report.p99_ns = latencies_[latencies_.size() * 99 / 100];
    Tell(server_, report);
    return true;
  }

  const int server_;
  const int epoll_;
  size_t payload_;
  size_t frame_bytes_;
  std::vector<Reader> readers_;
  std::vector<int64_t> latencies_;
  int active_ = 0;
  int got_ = 0;
};

// ---- the servers

// What is the same for both: it obeys the parent, and has readers.
class MeasuredServer {
 public:
  MeasuredServer(int parent, int readers) : parent_(parent), readers_(readers) {}
  virtual ~MeasuredServer() = default;

  void Run() {
    Order order;
    while (recv(parent_, &order, sizeof order, MSG_WAITALL) == sizeof order) {
      switch (order.kind) {
        case Order::kConnect:
          Ask({Order::kConnect, Listen()});
          AwaitConnections();
          Tell(parent_, Report());
          break;
        case Order::kPublish:
          Tell(parent_, Measure(order.value));
          break;
        case Order::kStall:
          Ask(order);
          Fill();
          Tell(parent_, Report());
          break;
        case Order::kResume:
          Ask(order);
          AwaitEmpty();
          Ask({Order::kFinish});
          Tell(parent_, Report());
          break;
        case Order::kFinish:
          break;  // the readers' own
      }
    }
  }

 protected:
  virtual int Listen() = 0;
  virtual void AwaitConnections() {}
  virtual void Publish(absl::string_view payload) = 0;
  virtual void Fill() {}
  virtual void AwaitEmpty() {}
  virtual void Burden(Report&) {}

  // Waits a little, so that others can go on.
  static void Pause() { poll(nullptr, 0, 5); }

  std::vector<clockid_t> clocks_;  // of the threads that publish

 private:
  void Ask(const Order& order) {
    Tell(readers_, order);
    Hear<char>(readers_);
  }

  int64_t Cpu() const {
    int64_t sum = 0;
    for (const clockid_t clock : clocks_) sum += Nanoseconds(clock);
    return sum;
  }

  Report Measure(int messages) {
    Tell(readers_, Order{Order::kPublish, messages});
    std::string payload(static_cast<size_t>(absl::GetFlag(FLAGS_payload)), 'x');
    const int64_t cpu = Cpu();
    const int64_t wall = Nanoseconds(CLOCK_MONOTONIC);
    for (int i = 0; i < messages; ++i) {
      const int64_t now = Nanoseconds(CLOCK_MONOTONIC);
      memcpy(&payload[0], &now, sizeof now);
      Publish(payload);
      Hear<char>(readers_);
    }
    const int64_t wall_after = Nanoseconds(CLOCK_MONOTONIC);
    const int64_t cpu_after = Cpu();
    Tell(readers_, Order{Order::kPublish, 0});
    Report report = Hear<Report>(readers_);
    report.cpu_ns = (cpu_after - cpu) / messages;
    report.wall_ns = (wall_after - wall) / messages;
    Burden(report);
    return report;
  }

  const int parent_;
  const int readers_;
};

// The bare cost: two threads, each with half of the sockets.
class BareServer final : public MeasuredServer {
 public:
  using MeasuredServer::MeasuredServer;

 private:
  int Listen() override {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    Check(bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0, "bind");
    Check(listen(listener_, 4096) == 0, "listen");
    Check(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0, "getsockname");
    acceptor_ = std::thread([this] { Accept(); });
    return ntohs(address.sin_port);
  }

  void Accept() {
    const int count = absl::GetFlag(FLAGS_subscribers);
    for (int i = 0; i < count; ++i) {
      const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      Check(fd >= 0, "accept");
      const int one = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      const absl::string_view answer = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
      Check(send(fd, answer.data(), answer.size(), 0) > 0, "send");
      halves_[i % kThreads].sockets.push_back(fd);
    }
  }

  void AwaitConnections() override {
    acceptor_.join();
    for (Half& half : halves_) {
      half.go = eventfd(0, 0);
      half.thread = std::thread([this, &half] { SendForEver(half); });
      clockid_t clock;
      Check(pthread_getcpuclockid(half.thread.native_handle(), &clock) == 0, "getcpuclockid");
      clocks_.push_back(clock);
      half.thread.detach();
    }
  }

  struct Half {
    std::vector<int> sockets;
    int go = -1;
    std::thread thread;
  };

  void SendForEver(const Half& half) {
    uint64_t times;
    while (read(half.go, &times, sizeof times) == sizeof times) {
      for (const int fd : half.sockets) {
        const ssize_t sent = send(fd, frame_.data(), frame_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        Check(sent == static_cast<ssize_t>(frame_.size()), "send");
      }
    }
  }

  // The last one has been read by all.
  void Publish(absl::string_view payload) override {
    ws::FrameHeader header;
    header.opcode = ws::Opcode::kBinary;
    header.payload_bytes = payload.size();
    frame_.resize(ws::kMaxFrameHeaderBytes);
    frame_.resize(ws::EncodeFrameHeader(header, reinterpret_cast<uint8_t*>(&frame_[0])));
    frame_.append(payload.data(), payload.size());
    for (const Half& half : halves_) Tell(half.go, uint64_t{1});
  }

  int listener_ = -1;
  std::thread acceptor_;
  Half halves_[kThreads];
  std::string frame_;
};

class TopicsServer final : public MeasuredServer {
 public:
  using MeasuredServer::MeasuredServer;

 private:
  class Part final : private ws::Handler {
   public:
    explicit Part(ws::Topics& topics)
        : topics_(topics), server_({.connection = {.observer = &topics_}, .handshake = {}}) {}
    void Accept(std::unique_ptr<sluice::Stream> stream) { server_.Serve(std::move(stream), *this); }
    ws::LocalTopics& topics() { return topics_; }
    const std::vector<ws::Connection*>& stalling() const { return stalling_; }

   private:
    void OnRequest(ws::Connection&, const ws::HandshakeRequest& request,
                   ws::HandshakeReply&) override {
      stalls_ = request.target() == "/stalls";
    }
    void OnOpen(ws::Connection& connection) override {
      Check(topics_.Subscribe(connection, "news").ok(), "subscribe");
      if (!stalls_) return;
      Check(topics_.Subscribe(connection, "fill").ok(), "subscribe");
      stalling_.push_back(&connection);
    }
    void OnMessage(ws::Connection&, const ws::Message&) override {}

    ws::LocalTopics topics_;
    ws::Server server_;
    bool stalls_ = false;
    std::vector<ws::Connection*> stalling_;
  };

  static ws::Topics::Options TopicsOptions() {
    ws::Topics::Options options;
    options.topic.max_waiting_messages = kMostWaiting;
    return options;
  }

  int Listen() override {
    group_ = *sluice::LoopGroup::Start({.threads = kThreads});
    group_->RunOnEach([this](sluice::EventLoop& loop, int) {
      parts_.push_back(std::make_unique<Part>(topics_));
      loops_.push_back(&loop);
      clockid_t clock;
      Check(pthread_getcpuclockid(pthread_self(), &clock) == 0, "getcpuclockid");
      clocks_.push_back(clock);
    });
    sluice::Listener::Options options;
    options.stream.limits = {.high = kHighMark, .low = kHighMark / 4};
    absl::StatusOr<std::unique_ptr<sluice::GroupListener>> listener = sluice::GroupListener::Listen(
        *group_, *sluice::SocketAddress::Parse("127.0.0.1:0"), options,
        [this](sluice::EventLoop& loop, std::unique_ptr<sluice::Stream> stream) {
          parts_[&loop == loops_[0] ? 0 : 1]->Accept(std::move(stream));
        });
    Check(listener.ok(), listener.status().message());
    listener_ = *std::move(listener);
    return listener_->address().port();
  }

  void AwaitConnections() override {
    const auto count = static_cast<size_t>(absl::GetFlag(FLAGS_subscribers));
    while (topics_.SubscribersOf("news") < count) Pause();
  }

  void Publish(absl::string_view payload) override {
    const auto* bytes = reinterpret_cast<const uint8_t*>(payload.data());
    loops_[0]->Post([this, message = ws::PreparedMessage::Binary({bytes, payload.size()})] {
      Check(parts_[0]->topics().Publish("news", message).ok(), "publish");
    });
  }

  template <typename Function>
  void ForEachStalling(Function function) {
    group_->RunOnEach([&](sluice::EventLoop&, int i) {
      for (ws::Connection* connection : parts_[static_cast<size_t>(i)]->stalling())
        function(*connection, parts_[static_cast<size_t>(i)]->topics());
    });
  }

  // Until all that are stalled are blocked.
  void Fill() override {
    const std::vector<uint8_t> bytes(kFillBytes, 'f');
    const ws::PreparedMessage message = ws::PreparedMessage::Binary(bytes);
    for (bool all = false; !all;) {
      for (int i = 0; i < 16; ++i) Check(topics_.Publish("fill", message).ok(), "publish");
      all = true;
      ForEachStalling(
          [&](ws::Connection& connection, ws::LocalTopics&) { all = all && connection.blocked(); });
    }
  }

  void AwaitEmpty() override {
    for (bool all = false; !all;) {
      Pause();
      all = true;
      ForEachStalling([&](ws::Connection& connection, ws::LocalTopics&) {
        all = all && connection.queued_bytes() == 0;
      });
    }
    Check(topics_.Totals().waiting == 0, "something waits though nobody is blocked");
  }

  // And that all is accounted for, the readers having told that everything came.
  void Burden(Report& report) override {
    ForEachStalling([&](ws::Connection& connection, ws::LocalTopics& topics) {
      report.most_queued = std::max<uint64_t>(report.most_queued, connection.queued_bytes());
      for (absl::string_view topic : {"news", "fill"})
        report.most_waiting =
            std::max(report.most_waiting, topics.CountsOf(connection, topic)->waiting);
    });
    Check(report.most_queued <= kHighMark + kFillBytes + 4, "the send queue is past its mark");
    Check(report.most_waiting <= kMostWaiting, "more waits than may");
    const ws::TopicCounts counts = *topics_.CountsOf("news");
    Check(counts.published * counts.subscribers == counts.all(), "counts do not add up");
    Check(counts.lost == 0, "messages were lost");
  }

  ws::Topics topics_{TopicsOptions()};
  std::vector<std::unique_ptr<Part>> parts_;
  std::vector<sluice::EventLoop*> loops_;
  std::unique_ptr<sluice::LoopGroup> group_;
  std::unique_ptr<sluice::GroupListener> listener_;
};

// ---- the comparison

// This process, and what it starts, on the first processor that it may use, or on the last.
void StayOn(bool first) {
  cpu_set_t allowed;
  Check(sched_getaffinity(0, sizeof allowed, &allowed) == 0, "sched_getaffinity");
  int chosen = -1;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    chosen = cpu;
    if (first) break;
  }
  CPU_ZERO(&allowed);
  CPU_SET(chosen, &allowed);
  Check(sched_setaffinity(0, sizeof allowed, &allowed) == 0, "sched_setaffinity");
}

// A server in a process of its own, and its readers in another.
class Arm {
 public:
  template <typename Server>
  static Arm Start() {
    int parent[2];
    Check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, parent) == 0, "socketpair");
    const pid_t pid = fork();
    Check(pid >= 0, "fork");
    if (pid > 0) {
      close(parent[1]);
      return Arm(parent[0], pid);
    }
    close(parent[0]);
    int readers[2];
    Check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, readers) == 0, "socketpair");
    const pid_t reader_pid = fork();
    Check(reader_pid >= 0, "fork");
    if (reader_pid == 0) {
      close(parent[1]);
      close(readers[0]);
      StayOn(/*first=*/false);
      Readers(readers[1]).Run();
      _exit(0);
    }
    close(readers[1]);
    StayOn(/*first=*/true);
    Server server(parent[1], readers[0]);
    server.Run();
    // The readers first, so that none of them sees its connection break.
    shutdown(readers[0], SHUT_RDWR);
    waitpid(reader_pid, nullptr, 0);
    _exit(0);
  }

  Report Do(Order::Kind kind, int value = 0) const {
    Tell(fd_, Order{kind, value});
    return Hear<Report>(fd_);
  }

  // Not close: the other arm's processes have a copy of the descriptor.
  void Stop() const {
    shutdown(fd_, SHUT_RDWR);
    int status = 0;
    Check(waitpid(pid_, &status, 0) == pid_ && status == 0, "a server has failed");
  }

 private:
  Arm(int fd, pid_t pid) : fd_(fd), pid_(pid) {}
  int fd_;
  pid_t pid_;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void Compare() {
  const Arm bare = Arm::Start<BareServer>();
  const Arm topics = Arm::Start<TopicsServer>();
  bare.Do(Order::kConnect);
  topics.Do(Order::kConnect);
  const int messages = absl::GetFlag(FLAGS_messages);
  const double each = absl::GetFlag(FLAGS_subscribers) * 1e3;
  // One that is not measured comes first: what was done before has left the caches to others.
  const auto publish = [&](const Arm& arm) {
    arm.Do(Order::kPublish, 1);
    return arm.Do(Order::kPublish, messages);
  };
  std::vector<double> cpu, wall, stalled_cpu, p99, stalled_p99;
  printf(
      "per message and subscriber, us: bare cpu, topics cpu, ratio | p99 ms, with stalled, "
      "ratio\n");
  for (int round = 0; round < absl::GetFlag(FLAGS_rounds); ++round) {
    const Report floor = publish(bare);
    Report free, burdened;
    for (const bool stalled : {round % 2 == 1, round % 2 == 0}) {
      if (!stalled) {
        free = publish(topics);
        continue;
      }
      topics.Do(Order::kStall);
      burdened = publish(topics);
      topics.Do(Order::kResume);
    }
    const auto ratio = [](int64_t a, int64_t b) {
      return static_cast<double>(a) / static_cast<double>(b);
    };
    cpu.push_back(ratio(free.cpu_ns, floor.cpu_ns));
    wall.push_back(ratio(free.wall_ns, floor.wall_ns));
    stalled_cpu.push_back(ratio(burdened.cpu_ns, floor.cpu_ns));
    p99.push_back(static_cast<double>(free.p99_ns) / 1e6);
    stalled_p99.push_back(static_cast<double>(burdened.p99_ns) / 1e6);
    printf("  %6.3f %6.3f %6.3f | %8.2f %8.2f | stalled: queued %llu, waiting %llu\n",
           static_cast<double>(floor.cpu_ns) / each, static_cast<double>(free.cpu_ns) / each,
           cpu.back(), p99.back(), stalled_p99.back(),
           static_cast<unsigned long long>(burdened.most_queued),
           static_cast<unsigned long long>(burdened.most_waiting));
    fflush(stdout);
  }
  bare.Stop();
  topics.Stop();
  printf(
      "medians: cpu / bare %.3f, with 1%% stalled %.3f; wall / bare %.3f; p99 with 1%% stalled / "
      "without %.3f\n",
      Median(cpu), Median(stalled_cpu), Median(wall), Median(stalled_p99) / Median(p99));
}

}  // namespace

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  Check(absl::GetFlag(FLAGS_payload) >= 8 && absl::GetFlag(FLAGS_payload) < 65536,
        "--payload: 8 to 65535");
  Check(absl::GetFlag(FLAGS_messages) > 0 && absl::GetFlag(FLAGS_rounds) > 0,
        "--messages and --rounds: at least 1");
  Check(absl::GetFlag(FLAGS_subscribers) >= kStalledOneIn,
        absl::StrCat("--subscribers: at least ", kStalledOneIn));
  Compare();
  return 0;
}
