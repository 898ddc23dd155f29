#include "sluice/tools/load.h"

#include <algorithm>
#include <utility>

#include "sluice/tools/load_series.h"
#include "sluice/tools/signal_scope.h"

namespace sluice::tools {

Load::Load(const LoadOptions& options)
    : options_(options),
      pattern_(options.size, options.seed,
               options.text ? MessagePattern::kText : MessagePattern::kNoise),
      watch_(options.threads),
      course_(LoadSeries(options.meter, options.over_time), [this] { return ReadLatency(); }) {}

Load::~Load() {
  if (group_ == nullptr) return;
  group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
    if (static_cast<size_t>(index) < workers_.size()) workers_[static_cast<size_t>(index)].reset();
  });
}

absl::StatusOr<LoadResult> Load::Run(absl::Duration interval, Show show) {
  absl::StatusOr<std::unique_ptr<LoopGroup>> group =
      LoopGroup::Start({.threads = options_.threads,
                        .poller = options_.poller,
                        .own_descriptor_tables = options_.own_descriptor_tables});
  if (!group.ok()) return group.status();
  group_ = *std::move(group);
  SignalScope signals(group_->loop(0), [this] { watch_.Stop(); });
  if (absl::Status status = StartWorkers(); !status.ok()) return status;

  const absl::Duration look_interval = std::min(interval, LoadCourse::kLookInterval);
  const auto look = [&] { course_.Look(interval, [&] { show(TakeProgress()); }); };
  const auto on_each = [&](void (LoadWorker::*act)()) {
    group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
      (workers_[static_cast<size_t>(index)].get()->*act)();
    });
  };
  if (watch_.AwaitReady(look_interval, look)) {
    connecting_ = false;
    course_.Begin(options_.warm_up);
    on_each(&LoadWorker::Run);
    watch_.AwaitDone(/*or_stop=*/true, look_interval, look);
    course_.End();
  }
  on_each(&LoadWorker::Finish);
  watch_.AwaitDone(/*or_stop=*/false, interval, look);

  LoadResult total;
  group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
    total += workers_[static_cast<size_t>(index)]->TakeResult();
  });
  total.series = course_.TakeSeries();
  return total;
}

Histogram Load::ReadLatency() {
  Histogram latency;
  group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
    latency.Merge(workers_[static_cast<size_t>(index)]->latency());
  });
  return latency;
}

absl::Status Load::StartWorkers() {
  std::vector<std::unique_ptr<ClientFactory>> clients;
  for (int i = 0; i < options_.threads; ++i) {
    absl::StatusOr<std::unique_ptr<ClientFactory>> factory =
        options_.protocol->NewClientFactory({.max_message_bytes = options_.size.largest(),
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
        static_cast<int>(first), static_cast<int>(end - first), [this] { watch_.OnReady(); },
        [this] { watch_.OnDone(); });
  });
  return absl::OkStatus();
}

Load::Progress Load::TakeProgress() {
  Progress progress;
  progress.connecting = connecting_;
  group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
    const LoadWorker::Progress part = workers_[static_cast<size_t>(index)]->progress();
    progress.messages += part.messages;
    progress.errors += part.errors;
    progress.open += part.open;
  });
  progress.course = course_.TakeProgress(progress.messages);
  return progress;
}

}  // namespace sluice::tools
