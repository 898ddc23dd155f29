#include "sluice/tools/load_worker.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/time/time.h"
#include "sluice/tools/message_schedule.h"

namespace sluice::tools {
namespace {

// More at once would overrun a listener's queue on the way, and a lost SYN costs a second.
constexpr int kMaxOpening = 256;

// How long the server has to close its side when everything was answered.
constexpr absl::Duration kCloseTimeout = absl::Seconds(2);

// The part of the rate that connections `first` to `first + count - 1` have.
std::optional<MessageSchedule> ScheduleOf(const LoadOptions& options, int first, int count) {
  if (!options.rate.has_value()) return std::nullopt;
  return MessageSchedule(*options.rate * count / options.connections,
                         static_cast<double>(first) / options.connections);
}

}  // namespace

LoadWorker::LoadWorker(EventLoop& loop, const LoadOptions& options, const MessagePattern& pattern,
                       std::unique_ptr<ClientFactory> clients, int first, int count,
                       absl::AnyInvocable<void()> on_ready, absl::AnyInvocable<void()> on_done)
    : loop_(loop),
      options_(options),
      clients_(std::move(clients)),
      on_ready_(std::move(on_ready)),
      on_done_(std::move(on_done)),
      shared_{.loop = loop,
              .options = options,
              .pattern = pattern,
              .clients = *clients_,
              .owner = *this,
              .first = static_cast<uint64_t>(first),
              .count = static_cast<uint64_t>(count),
              .schedule = ScheduleOf(options, first, count)},
      check_([this] { CheckPhase(); }),
      tick_([this] { CheckDeadlines(); }),
      end_([this] { OnPhaseTimeout(); }),
      pace_([this] { SendWhatIsDue(loop_.NowExact()); }) {
  for (int i = 0; i < count; ++i) {
    connections_.push_back(
        std::make_unique<LoadConnection>(shared_, static_cast<uint64_t>(first + i)));
    waiting_.push_back(connections_.back().get());
  }
  loop_.ArmTimer(check_, absl::ZeroDuration());
  ArmTick();
}

LoadWorker::~LoadWorker() = default;

void LoadWorker::Run() {
  if (phase_ != Phase::kReady) return;
  phase_ = Phase::kRunning;
  const MonotonicTime now = loop_.NowExact();
  began_ = shared_.counted_from = now + options_.warm_up;
  if (options_.duration < absl::InfiniteDuration())
    loop_.ArmTimer(end_, began_ + options_.duration);
  shared_.sending = true;
  for (const auto& connection : connections_) connection->Begin(loop_.NowExact());
  if (shared_.schedule.has_value()) {
    shared_.schedule->Begin(now);
    SendWhatIsDue(loop_.NowExact());
  }
  loop_.ArmTimer(check_, absl::ZeroDuration());
}

// Also what the timer has come too late for: so the rate is right on average.
void LoadWorker::SendWhatIsDue(MonotonicTime now) {
  const MonotonicTime last = began_ + options_.duration - absl::Nanoseconds(1);
  for (const uint64_t due = shared_.schedule->DueBy(std::min(now, last)); due_ < due; ++due_)
    connections_[due_ % shared_.count]->OnDue(now);
  loop_.ArmTimer(pace_, shared_.schedule->DueAt(due_));
}

void LoadWorker::Finish() {
  if (phase_ >= Phase::kFinishing) return;
  const bool was_running = phase_ == Phase::kRunning;
  if (was_running) {
    const MonotonicTime now = loop_.NowExact();
    if (shared_.schedule.has_value()) SendWhatIsDue(now);
    shared_.result.elapsed = std::max(now - began_, absl::ZeroDuration());
    shared_.sending = false;
    for (const auto& connection : connections_) shared_.result.unsent += connection->unsent();
  }
  phase_ = Phase::kFinishing;
  loop_.CancelTimer(pace_);
  loop_.CancelTimer(end_);
  for (const auto& connection : connections_) {
    if (was_running) {
      connection->EndIfIdle();
    } else {
      connection->GiveUp();
    }
  }
  loop_.ArmTimer(check_, absl::ZeroDuration());
}

void LoadWorker::CheckPhase() {
  switch (phase_) {
    case Phase::kOpening:
      ConnectSome();
      if (opening_ == 0) {
        phase_ = Phase::kReady;
        std::exchange(on_ready_, nullptr)();
      }
      break;
    case Phase::kReady:
      break;
    case Phase::kRunning:
      ConnectSome();
      if (open_ + opening_ + ending_ == 0) Finish();
      break;
    case Phase::kFinishing:
      if (open_ + opening_ + ending_ == 0) {
        phase_ = Phase::kDone;
        loop_.CancelTimer(tick_);
        loop_.CancelTimer(end_);
        if (on_ready_ != nullptr) std::exchange(on_ready_, nullptr)();
        on_done_();
      } else if (open_ == 0 && !end_.armed()) {
        loop_.ArmTimer(end_, kCloseTimeout);
      }
      break;
    case Phase::kDone:
      break;
  }
}

void LoadWorker::ConnectSome() {
  while (!waiting_.empty() && opening_ < kMaxOpening) {
    LoadConnection& next = *waiting_.front();
    waiting_.pop_front();
    next.Connect();
  }
}

void LoadWorker::OnPhaseTimeout() {
  if (phase_ == Phase::kRunning) return Finish();
  for (const auto& connection : connections_) connection->GiveUp();
}

void LoadWorker::ArmTick() {
  if (options_.timeout == absl::InfiniteDuration()) return;
  loop_.ArmTimer(tick_, std::clamp(options_.timeout / 8, absl::Milliseconds(1), absl::Seconds(1)));
}

void LoadWorker::CheckDeadlines() {
  const MonotonicTime sent_before = loop_.NowExact() - options_.timeout;
  for (const auto& connection : connections_) connection->CheckDeadline(sent_before);
  ArmTick();
}

// Counts what a connection's state counts as.
int* LoadWorker::CounterOf(LoadConnection::State state) {
  switch (state) {
    case LoadConnection::State::kConnecting:
    case LoadConnection::State::kHandshaking:
      return &opening_;
    case LoadConnection::State::kOpen:
      return &open_;
    case LoadConnection::State::kEnding:
      return &ending_;
    case LoadConnection::State::kNew:
    case LoadConnection::State::kGone:
      break;
  }
  return nullptr;
}

void LoadWorker::OnChange(LoadConnection::State before, LoadConnection::State after) {
  if (int* counter = CounterOf(before)) --*counter;
  if (int* counter = CounterOf(after)) ++*counter;
  if (after == LoadConnection::State::kOpen && phase_ == Phase::kOpening)
    ++shared_.result.connections;
  // Not here, under the connection's feet.
  if (!check_.armed()) loop_.ArmTimer(check_, absl::ZeroDuration());
}

void LoadWorker::OnError(LoadErrors::Kind kind, absl::string_view what) {
  shared_.result.errors.Add(kind, what);
}

void LoadWorker::OnRenewal(LoadConnection& connection) {
  waiting_.push_back(&connection);
  ConnectSome();
}

LoadWorker::Progress LoadWorker::progress() const {
  return {
      .messages = shared_.result.messages, .errors = shared_.result.errors.total(), .open = open_};
}

LoadResult LoadWorker::TakeResult() {
  LoadResult& result = shared_.result;
  if (result.messages > 0) result.elapsed = std::max(result.elapsed, shared_.last_answer - began_);
  return std::move(result);
}

}  // namespace sluice::tools
