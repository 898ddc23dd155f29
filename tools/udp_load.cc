#include "sluice/tools/udp_load.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "sluice/tools/signal_scope.h"

namespace sluice::tools {
namespace {

constexpr absl::Duration kLookInterval = absl::Milliseconds(100);

}  // namespace

UdpLoad::UdpLoad(const UdpLoadOptions& options)
    : options_(options),
      pattern_(options.size, options.seed,
               options.text ? MessagePattern::kText : MessagePattern::kNoise),
      watch_(options.threads),
      series_(options.meter) {}

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
  SignalScope signals(group_->loop(0), [this] { watch_.Stop(); });
  if (absl::Status status = StartWorkers(); !status.ok()) return status;

  const auto look = [&] { Look(interval, show); };
  const auto on_each = [&](void (UdpLoadWorker::*act)()) {
    group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
      (workers_[static_cast<size_t>(index)].get()->*act)();
    });
  };
  watch_.Begin();
  series_.Add(-options_.warm_up, latency_);
  on_each(&UdpLoadWorker::Run);
  watch_.AwaitDone(/*or_stop=*/true, std::min(interval, kLookInterval), look);
  series_.End(watch_.elapsed() - options_.warm_up, TakeLatency());
  on_each(&UdpLoadWorker::Finish);
  watch_.AwaitDone(/*or_stop=*/false, interval, [&] { show(TakeProgress()); });

  UdpLoadResult total;
  group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
    total += workers_[static_cast<size_t>(index)]->TakeResult();
  });
  total.series = std::move(series_);
  return total;
}

// Adds to the series, and shows how far it has come when it is time to.
void UdpLoad::Look(absl::Duration interval, Show show) {
  series_.Add(watch_.elapsed() - options_.warm_up, TakeLatency());
  if (watch_.since_shown() >= interval) show(TakeProgress());
}

const Histogram& UdpLoad::TakeLatency() {
  latency_ = Histogram();
  group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
    latency_.Merge(workers_[static_cast<size_t>(index)]->latency());
  });
  return latency_;
}

absl::Status UdpLoad::StartWorkers() {
  workers_.resize(static_cast<size_t>(options_.threads));
  absl::Status status;
  group_->RunOnEach([&](EventLoop& loop, int index) {
    // As even as it can be.
    const int64_t first = int64_t{options_.sockets} * index / options_.threads;
    const int64_t end = int64_t{options_.sockets} * (index + 1) / options_.threads;
    auto& worker = workers_[static_cast<size_t>(index)];
    worker =
        std::make_unique<UdpLoadWorker>(loop, options_, pattern_, static_cast<int>(first),
                                        static_cast<int>(end - first), [this] { watch_.OnDone(); });
    status.Update(worker->Open());
  });
  return status;
}

UdpLoad::Progress UdpLoad::TakeProgress() {
  Progress progress;
  progress.elapsed = std::max(watch_.elapsed() - options_.warm_up, absl::ZeroDuration());
  progress.warming_up = watch_.elapsed() < options_.warm_up;
  group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
    const UdpLoadWorker::Progress part = workers_[static_cast<size_t>(index)]->progress();
    progress.answers += part.answers;
    progress.lost += part.lost;
  });
  progress.p99 = latency_.Since(shown_).Quantile(0.99);
  shown_ = latency_;
  progress.answers_per_second = watch_.RateOf(progress.answers);
  return progress;
}

}  // namespace sluice::tools
