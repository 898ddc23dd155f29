#include "sluice/tools/udp_load.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "sluice/tools/load_series.h"
#include "sluice/tools/signal_scope.h"

namespace sluice::tools {

UdpLoad::UdpLoad(const UdpLoadOptions& options)
    : options_(options),
      pattern_(options.size, options.seed,
               options.text ? MessagePattern::kText : MessagePattern::kNoise),
      watch_(options.threads),
      course_(LoadSeries(options.meter, options.over_time), [this] { return ReadLatency(); }) {}

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

  const auto look = [&] { course_.Look(interval, [&] { show(TakeProgress()); }); };
  const auto on_each = [&](void (UdpLoadWorker::*act)()) {
    group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
      (workers_[static_cast<size_t>(index)].get()->*act)();
    });
  };
  course_.Begin(options_.warm_up);
  on_each(&UdpLoadWorker::Run);
  watch_.AwaitDone(/*or_stop=*/true, std::min(interval, LoadCourse::kLookInterval), look);
  course_.End();
  on_each(&UdpLoadWorker::Finish);
  watch_.AwaitDone(/*or_stop=*/false, interval, look);

  UdpLoadResult total;
  group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
    total += workers_[static_cast<size_t>(index)]->TakeResult();
  });
  total.series = course_.TakeSeries();
  return total;
}

Histogram UdpLoad::ReadLatency() {
  Histogram latency;
  group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
    latency.Merge(workers_[static_cast<size_t>(index)]->latency());
  });
  return latency;
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
  group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
    const UdpLoadWorker::Progress part = workers_[static_cast<size_t>(index)]->progress();
    progress.answers += part.answers;
    progress.lost += part.lost;
  });
  progress.course = course_.TakeProgress(progress.answers);
  return progress;
}

}  // namespace sluice::tools
