#include "sluice/core/loop_group.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <latch>
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
  // pthread_create, because std::thread has no way to fail but an exception.
  absl::Status Start(bool own_descriptor_table) {
    Beginning beginning{.worker = *this, .own_descriptor_table = own_descriptor_table};
    if (const int error = pthread_create(&thread, nullptr, &Worker::Main, &beginning); error != 0) {
      // EAGAIN, of which the general meaning is another.
      return absl::ResourceExhaustedError(
          internal::SystemError(error, "pthread_create", "loop group").message());
    }
    started = true;
    beginning.done.wait();
    return beginning.error == 0 ? absl::OkStatus()
                                : internal::SystemError(beginning.error, "unshare", "loop group");
  }

  std::unique_ptr<EventLoop> loop;
  pthread_t thread;
  bool started = false;
  // The end, step by step: the thread leaves Run, ends the loop's streams, and destroys the loop.
  std::atomic<bool> quit{false};
  std::latch streams_ended{1};
  std::latch may_destroy{1};

 private:
  struct Beginning {
    Worker& worker;
    bool own_descriptor_table;
    int error = 0;
    std::latch done{1};
  };

  static void* Main(void* argument) {
    auto& beginning = *static_cast<Beginning*>(argument);
    Worker& worker = beginning.worker;
    if (beginning.own_descriptor_table && unshare(CLONE_FILES) != 0) beginning.error = errno;
    beginning.done.count_down();  // it is gone from here on
    while (!worker.quit.load(std::memory_order_acquire)) worker.loop->Run();
    worker.loop->EndMembers();
    worker.streams_ended.count_down();
    worker.may_destroy.wait();
    worker.loop.reset();
    return nullptr;
  }
};

LoopGroup::LoopGroup() = default;

absl::StatusOr<std::unique_ptr<LoopGroup>> LoopGroup::Start(const Options& options) {
  if (options.threads < 1 || options.threads > kMostThreads) {
    return absl::InvalidArgumentError(absl::StrCat("a loop group of ", options.threads,
                                                   " threads; accepted are 1 to ", kMostThreads));
  }
  std::unique_ptr<LoopGroup> group(new LoopGroup());
  group->own_descriptor_tables_ = options.own_descriptor_tables;
  // All engines before all threads: the descriptors with which loops wake each other must be in
  // every thread's table.
  for (int i = 0; i < options.threads; ++i) {
    absl::StatusOr<std::unique_ptr<EventLoop>> loop = EventLoop::Create(options.poller);
    if (!loop.ok()) return loop.status();
    (*loop)->SetBusyPoll(options.busy_poll);
    group->workers_.push_back(std::make_unique<Worker>());
    group->workers_.back()->loop = *std::move(loop);
  }
  for (const std::unique_ptr<Worker>& worker : group->workers_) {
    if (absl::Status status = worker->Start(options.own_descriptor_tables); !status.ok())
      return status;
  }
  return group;
}

// No loop goes before all have stopped: what a stream's handler does at its end may be to post to
// another loop of the group.
LoopGroup::~LoopGroup() {
  const auto for_each_started = [this](absl::FunctionRef<void(Worker&)> function) {
    for (const std::unique_ptr<Worker>& worker : workers_) {
      if (worker->started) function(*worker);
    }
  };
  for_each_started([](Worker& worker) {
    worker.quit.store(true, std::memory_order_release);
    worker.loop->Stop();
  });
  for_each_started([](Worker& worker) { worker.streams_ended.wait(); });
  for_each_started([](Worker& worker) { worker.may_destroy.count_down(); });
  for_each_started([](Worker& worker) { pthread_join(worker.thread, nullptr); });
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
  if (loops > 1 && !address.is_ip() && group_.own_descriptor_tables_) {
    return absl::InvalidArgumentError(
        absl::StrCat(address.ToString(),
                     ": loops that have descriptor tables of their own cannot "
                     "share a listening socket; use an IP address"));
  }
  options.max_connections =
      options.max_connections / loops + (options.max_connections % loops > 0 ? 1 : 0);
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
