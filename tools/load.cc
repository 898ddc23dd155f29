#include "sluice/tools/load.h"

#include <utility>

#include "sluice/tools/signal_scope.h"

namespace sluice::tools {
namespace {

absl::Duration Since(std::chrono::steady_clock::time_point time) {
  return absl::FromChrono(std::chrono::steady_clock::now() - time);
}

}  // namespace

Load::Load(const LoadOptions& options)
    : options_(options),
      pattern_(options.size, options.seed,
               options.text ? MessagePattern::kText : MessagePattern::kNoise) {}

Load::~Load() {
  if (group_ == nullptr) return;
  group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
    if (static_cast<size_t>(index) < workers_.size()) workers_[static_cast<size_t>(index)].reset();
  });
}

absl::StatusOr<LoadResult> Load::Run(absl::Duration interval, Show show) {
  absl::StatusOr<std::unique_ptr<LoopGroup>> group =
      LoopGroup::Start({.threads = options_.threads, .poller = options_.poller});
  if (!group.ok()) return group.status();
  group_ = *std::move(group);
  SignalScope signals(group_->loop(0), [this] { Stop(); });
  began_ = shown_at_ = Clock::now();
  if (absl::Status status = StartWorkers(); !status.ok()) return status;

  const auto on_each = [&](void (LoadWorker::*act)()) {
    group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
      (workers_[static_cast<size_t>(index)].get()->*act)();
    });
  };
  if (Await(ready_, /*or_stop=*/true, interval, show)) {
    connecting_ = false;
    began_ = shown_at_ = Clock::now();
    on_each(&LoadWorker::Run);
    Await(done_, /*or_stop=*/true, interval, show);
  }
  on_each(&LoadWorker::Finish);
  Await(done_, /*or_stop=*/false, interval, show);

  LoadResult total;
  group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
    total += workers_[static_cast<size_t>(index)]->TakeResult();
  });
  return total;
}

absl::Status Load::StartWorkers() {
  std::vector<std::unique_ptr<ClientFactory>> clients;
  for (int i = 0; i < options_.threads; ++i) {
    absl::StatusOr<std::unique_ptr<ClientFactory>> factory =
        options_.protocol->NewClientFactory({.max_message_bytes = options_.size,
                                             .handshake_timeout = options_.timeout,
                                             .compress = options_.compress,
                                             .url = options_.url});
    if (!factory.ok()) return factory.status();
    clients.push_back(*std::move(factory));
  }
  workers_.resize(clients.size());
  group_->RunOnEach([&](EventLoop& loop, int index) {
    // As even as it can be.
    const int64_t first = int64_t{options_.connections} * index / options_.threads;
    const int64_t end = int64_t{options_.connections} * (index + 1) / options_.threads;
    workers_[static_cast<size_t>(index)] = std::make_unique<LoadWorker>(
        loop, options_, pattern_, std::move(clients[static_cast<size_t>(index)]),
        static_cast<int>(first), static_cast<int>(end - first), [this] { Count(ready_); },
        [this] { Count(done_); });
  });
  return absl::OkStatus();
}

void Load::Count(int& count) {
  const std::lock_guard lock(mutex_);
  ++count;
  changed_.notify_one();
}

bool Load::Await(const int& count, bool or_stop, absl::Duration interval, Show show) {
  const auto is_over = [&] { return count == options_.threads || (or_stop && stopped_); };
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      if (changed_.wait_for(lock, absl::ToChronoNanoseconds(interval), is_over)) {
        return count == options_.threads;
      }
    }
    show(TakeProgress());
  }
}

Load::Progress Load::TakeProgress() {
  Progress progress;
  progress.connecting = connecting_;
  progress.elapsed = Since(began_);
  for (const std::unique_ptr<LoadWorker>& worker : workers_) {
    progress.messages += worker->progress().messages.load(std::memory_order_relaxed);
    progress.errors += worker->progress().errors.load(std::memory_order_relaxed);
    progress.open += worker->progress().open.load(std::memory_order_relaxed);
  }
  const double seconds = absl::ToDoubleSeconds(Since(shown_at_));
  progress.messages_per_second = static_cast<double>(progress.messages - shown_messages_) / seconds;
  shown_at_ = Clock::now();
  shown_messages_ = progress.messages;
  return progress;
}

void Load::Stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  changed_.notify_one();
}

}  // namespace sluice::tools
