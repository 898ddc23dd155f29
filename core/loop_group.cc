#include "sluice/core/loop_group.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <latch>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/internal/system_error.h"

namespace sluice {
namespace {

constexpr int kMostThreads = 1024;

}  // namespace

// The thread owns the loop, so that its descriptors are closed in the table in which they were
// opened.
struct LoopGroup::Worker {
  void Run() {
    while (!quit.load(std::memory_order_acquire)) loop->Run();
    loop.reset();
  }

  std::unique_ptr<EventLoop> loop;
  std::atomic<bool> quit{false};
  std::thread thread;
};

LoopGroup::LoopGroup() = default;

absl::StatusOr<std::unique_ptr<LoopGroup>> LoopGroup::Start(const Options& options) {
  if (options.threads < 1 || options.threads > kMostThreads) {
    return absl::InvalidArgumentError(absl::StrCat("a loop group of ", options.threads,
                                                   " threads; accepted are 1 to ", kMostThreads));
  }
  std::unique_ptr<LoopGroup> group(new LoopGroup());
  // All engines before all threads: the descriptors with which loops wake each other must be in
  // every thread's table.
  for (int i = 0; i < options.threads; ++i) {
    absl::StatusOr<std::unique_ptr<EventLoop>> loop = EventLoop::Create(options.poller);
    if (!loop.ok()) return loop.status();
    group->workers_.push_back(std::make_unique<Worker>());
    group->workers_.back()->loop = *std::move(loop);
  }
  for (const std::unique_ptr<Worker>& worker : group->workers_) {
    std::latch started(1);
    int error = 0;
    worker->thread = std::thread(
        [&started, &error, own_table = options.own_descriptor_tables, &worker = *worker] {
          if (own_table && unshare(CLONE_FILES) != 0) error = errno;
          started.count_down();  // the references to this frame dangle from here on
          worker.Run();
        });
    started.wait();
    if (error != 0) return internal::SystemError(error, "unshare", "loop group");
  }
  return group;
}

LoopGroup::~LoopGroup() {
  for (const std::unique_ptr<Worker>& worker : workers_) {
    worker->quit.store(true, std::memory_order_release);
    if (worker->thread.joinable()) worker->loop->Stop();
  }
  for (const std::unique_ptr<Worker>& worker : workers_) {
    if (worker->thread.joinable()) worker->thread.join();
  }
}

EventLoop& LoopGroup::loop(int index) { return *workers_[static_cast<size_t>(index)]->loop; }

void LoopGroup::RunOnEach(absl::FunctionRef<void(EventLoop&, int)> function) {
  for (int i = 0; i < size(); ++i) {
    std::latch done(1);
    loop(i).Post([&] {
      function(loop(i), i);
      done.count_down();
    });
    done.wait();
  }
}

void LoopGroup::Drain(absl::Duration timeout) {
  std::latch done(static_cast<ptrdiff_t>(workers_.size()));
  RunOnEach([&](EventLoop& loop, int) { loop.Drain(timeout, [&done] { done.count_down(); }); });
  done.wait();
}

GroupListener::GroupListener(LoopGroup& group)
    : group_(group), listeners_(static_cast<size_t>(group.size())) {}

absl::StatusOr<std::unique_ptr<GroupListener>> GroupListener::Listen(
    LoopGroup& group, const SocketAddress& address, const Listener::Options& options,
    AcceptFunction on_accept) {
  std::unique_ptr<GroupListener> listener(new GroupListener(group));
  if (absl::Status status = listener->ListenOnEach(address, options, on_accept); !status.ok())
    return status;
  return listener;
}

absl::Status GroupListener::ListenOnEach(const SocketAddress& address, Listener::Options options,
                                         const AcceptFunction& on_accept) {
  using ReusePort = ListenOptions::ReusePort;
  const int loops = group_.size();
  options.max_connections = std::max(1, (options.max_connections + loops - 1) / loops);
  if (loops > 1 && options.listen.reuse_port == ReusePort::kNo)
    options.listen.reuse_port = ReusePort::kFirst;
  address_ = address;
  absl::Status status;
  group_.RunOnEach([&](EventLoop& loop, int i) {
    if (!status.ok()) return;
    auto accept = [&loop, on_accept](std::unique_ptr<Stream> stream) {
      on_accept(loop, std::move(stream));
    };
    const bool share = i > 0 && !address_.is_ip();
    absl::StatusOr<std::unique_ptr<Listener>> made =
        share ? Listener::ListenShared(loop, *listeners_[0], options, std::move(accept))
              : Listener::Listen(loop, address_, options, std::move(accept));
    status = made.status();
    if (!made.ok()) return;
    listeners_[static_cast<size_t>(i)] = *std::move(made);
    // The others take the port that the first was given.
    if (i == 0) address_ = listeners_[0]->address();
    options.listen.reuse_port = ReusePort::kJoin;
  });
  return status;
}

GroupListener::~GroupListener() {
  group_.RunOnEach([&](EventLoop&, int i) { listeners_[static_cast<size_t>(i)].reset(); });
}

Listener::Counters GroupListener::counters() {
  Listener::Counters sum;
  group_.RunOnEach([&](EventLoop&, int i) {
    const Listener::Counters counters = listeners_[static_cast<size_t>(i)]->counters();
    sum.accepted += counters.accepted;
    sum.shed += counters.shed;
    sum.backoffs += counters.backoffs;
  });
  return sum;
}

int GroupListener::connections() {
  int sum = 0;
  group_.RunOnEach(
      [&](EventLoop&, int i) { sum += listeners_[static_cast<size_t>(i)]->connections(); });
  return sum;
}

}  // namespace sluice
