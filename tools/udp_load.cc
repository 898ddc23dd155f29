#include "sluice/tools/udp_load.h"

#include "absl/status/status.h"
#include "sluice/tools/signal_scope.h"

namespace sluice::tools {
namespace {

absl::Duration Since(std::chrono::steady_clock::time_point time) {
  return absl::FromChrono(std::chrono::steady_clock::now() - time);
}

}  // namespace

UdpLoad::UdpLoad(const UdpLoadOptions& options)
    : options_(options),
      pattern_(options.size, options.seed,
               options.text ? MessagePattern::kText : MessagePattern::kNoise) {}

UdpLoad::~UdpLoad() {
  if (group_ == nullptr) return;
  group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
    if (static_cast<size_t>(index) < workers_.size()) workers_[static_cast<size_t>(index)].reset();
  });
}

absl::StatusOr<UdpLoadResult> UdpLoad::Run(absl::Duration interval, Show show) {
  absl::StatusOr<std::unique_ptr<LoopGroup>> group =
      LoopGroup::Start({.threads = options_.threads, .poller = options_.poller});
  if (!group.ok()) return group.status();
  group_ = *std::move(group);
  SignalScope signals(group_->loop(0), [this] { Tell([this] { stopped_ = true; }); });
  if (absl::Status status = StartWorkers(); !status.ok()) return status;

  const auto on_each = [&](void (UdpLoadWorker::*act)()) {
    group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
      (workers_[static_cast<size_t>(index)].get()->*act)();
    });
  };
  began_ = shown_at_ = Clock::now();
  on_each(&UdpLoadWorker::Run);
  Await(/*or_stop=*/true, interval, show);
  on_each(&UdpLoadWorker::Finish);
  Await(/*or_stop=*/false, interval, show);

  UdpLoadResult total;
  group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
    total += workers_[static_cast<size_t>(index)]->TakeResult();
  });
  return total;
}

absl::Status UdpLoad::StartWorkers() {
  workers_.resize(static_cast<size_t>(options_.threads));
  absl::Status status;
  group_->RunOnEach([&](EventLoop& loop, int index) {
    // As even as it can be.
    const int64_t first = int64_t{options_.sockets} * index / options_.threads;
    const int64_t end = int64_t{options_.sockets} * (index + 1) / options_.threads;
    auto& worker = workers_[static_cast<size_t>(index)];
    worker = std::make_unique<UdpLoadWorker>(loop, options_, pattern_, static_cast<int>(first),
                                             static_cast<int>(end - first),
                                             [this] { Tell([this] { ++done_; }); });
    status.Update(worker->Open());
  });
  return status;
}

void UdpLoad::Tell(absl::FunctionRef<void()> what) {
  const std::lock_guard lock(mutex_);
  what();
  changed_.notify_one();
}

void UdpLoad::Await(bool or_stop, absl::Duration interval, Show show) {
  const auto is_over = [&] { return done_ == options_.threads || (or_stop && stopped_); };
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      if (changed_.wait_for(lock, absl::ToChronoNanoseconds(interval), is_over)) return;
    }
    show(TakeProgress());
  }
}

UdpLoad::Progress UdpLoad::TakeProgress() {
  Progress progress;
  progress.elapsed = Since(began_);
  for (const std::unique_ptr<UdpLoadWorker>& worker : workers_) {
    progress.answers += worker->progress().answers.load(std::memory_order_relaxed);
    progress.lost += worker->progress().lost.load(std::memory_order_relaxed);
  }
  const double seconds = absl::ToDoubleSeconds(Since(shown_at_));
  progress.answers_per_second = static_cast<double>(progress.answers - shown_answers_) / seconds;
  shown_at_ = Clock::now();
  shown_answers_ = progress.answers;
  return progress;
}

}  // namespace sluice::tools
