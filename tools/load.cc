#include "sluice/tools/load.h"

#include <algorithm>
#include <utility>

#include "sluice/tools/signal_scope.h"

namespace sluice::tools {
namespace {

constexpr absl::Duration kLookInterval = absl::Milliseconds(100);

}  // namespace

Load::Load(const LoadOptions& options)
    : options_(options),
      pattern_(options.size, options.seed,
               options.text ? MessagePattern::kText : MessagePattern::kNoise),
      watch_(options.threads),
      series_(options.meter) {}

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
  watch_.Begin();
  if (absl::Status status = StartWorkers(); !status.ok()) return status;

  const absl::Duration look_interval = std::min(interval, kLookInterval);
  const auto look = [&] { Look(interval, show); };
  const auto on_each = [&](void (LoadWorker::*act)()) {
    group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
      (workers_[static_cast<size_t>(index)].get()->*act)();
    });
  };
  if (watch_.AwaitReady(look_interval, look)) {
    connecting_ = false;
    watch_.Begin();
    series_.Add(-options_.warm_up, latency_);
    on_each(&LoadWorker::Run);
    watch_.AwaitDone(/*or_stop=*/true, look_interval, look);
    series_.End(watch_.elapsed() - options_.warm_up, TakeLatency());
  }
  on_each(&LoadWorker::Finish);
  watch_.AwaitDone(/*or_stop=*/false, interval, [&] { show(TakeProgress()); });

  LoadResult total;
  group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
    total += workers_[static_cast<size_t>(index)]->TakeResult();
  });
  total.series = std::move(series_);
  return total;
}

// Adds to the series, and shows how far it has come when it is time to.
void Load::Look(absl::Duration interval, Show show) {
  if (!connecting_) series_.Add(watch_.elapsed() - options_.warm_up, TakeLatency());
  if (watch_.since_shown() >= interval) show(TakeProgress());
}

const Histogram& Load::TakeLatency() {
  latency_ = Histogram();
  group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
    latency_.Merge(workers_[static_cast<size_t>(index)]->latency());
  });
  return latency_;
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
  if (connecting_) {
    progress.elapsed = watch_.elapsed();
  } else {
    progress.elapsed = std::max(watch_.elapsed() - options_.warm_up, absl::ZeroDuration());
    progress.warming_up = watch_.elapsed() < options_.warm_up;
  }
  group_->RunOnEach([&](EventLoop& /*loop*/, int index) {
    const LoadWorker::Progress part = workers_[static_cast<size_t>(index)]->progress();
    progress.messages += part.messages;
    progress.errors += part.errors;
    progress.open += part.open;
  });
  progress.p99 = latency_.Since(shown_).Quantile(0.99);
  shown_ = latency_;
  progress.messages_per_second = watch_.RateOf(progress.messages);
  return progress;
}

}  // namespace sluice::tools
