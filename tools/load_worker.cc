#include "sluice/tools/load_worker.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/dialer.h"
#include "sluice/core/stream.h"
#include "sluice/tools/encryption.h"

namespace sluice::tools {
namespace {

// More at once would overrun a listener's queue on the way, and a lost SYN costs a second.
constexpr int kMaxOpening = 256;

// How long the server has to close its side when everything was answered.
constexpr absl::Duration kCloseTimeout = absl::Seconds(2);

// A pipeline may be queued whole.
StreamLimits LimitsFor(const LoadOptions& options) {
  constexpr uint64_t kMaxHigh = 64 * 1024 * 1024;
  const uint64_t pipeline = uint64_t{options.size} * static_cast<uint64_t>(options.pipeline);
  StreamLimits limits;
  limits.high = static_cast<uint32_t>(std::clamp<uint64_t>(pipeline, limits.high, kMaxHigh));
  const uint64_t hard = uint64_t{limits.high} + options.size + 1024 * 1024;
  limits.hard = static_cast<uint32_t>(
      std::clamp<uint64_t>(hard, limits.hard, std::numeric_limits<uint32_t>::max()));
  return limits;
}

LoadErrors::Kind KindOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kDeadlineExceeded:
      return LoadErrors::kTimeout;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kFailedPrecondition:
      return LoadErrors::kProtocol;
    case absl::StatusCode::kUnauthenticated:
      return LoadErrors::kTls;
    default:
      return LoadErrors::kClosed;
  }
}

}  // namespace

class LoadWorker::Connection final : private Client::Handler {
 public:
  using State = ConnectionState;

  Connection(LoadWorker& worker, uint64_t number) : worker_(worker), number_(number) {}

  void Connect() {
    Become(State::kConnecting);
    const LoadOptions& load = worker_.options_;
    DialOptions options;
    options.timeout = load.timeout;
    options.stream.limits = LimitsFor(load);
    attempt_ = load.dialer->Dial(
        worker_.loop_, load.url.endpoint, options,
        [this](absl::StatusOr<std::unique_ptr<Stream>> stream) { OnConnect(std::move(stream)); });
  }

  // Brings what is in flight up to the pipeline, unless the stream is full.
  void Fill(MonotonicTime now) {
    const uint64_t pipeline = static_cast<uint64_t>(worker_.options_.pipeline);
    if (sent_at_.empty()) sent_at_.resize(pipeline);
    while (state_ == State::kOpen && worker_.sending() && !blocked_ &&
           sent_ - received_ < pipeline) {
      sent_at_[sent_ % pipeline] = now;
      const absl::Span<const uint8_t> message = worker_.pattern_.Message(number_, sent_);
      const auto kind = worker_.options_.text ? Client::Kind::kText : Client::Kind::kBinary;
      blocked_ =
          client_->Send(kind, message) != SendResult::kSent;  // when refused, OnClose follows
      ++sent_;
    }
  }

  // No more is sent: ends gracefully, unless answers are missing.
  void EndIfIdle() {
    if (state_ != State::kOpen || sent_ != received_) return;
    Become(State::kEnding);
    client_->Close();
  }

  // Ends at once, whatever is missing, without counting an error.
  void GiveUp() {
    if (state_ == State::kConnecting) {
      attempt_.reset();
      Become(State::kGone);
    } else if (state_ != State::kNew && state_ != State::kGone) {
      Become(State::kEnding);
      client_->Abort(absl::CancelledError("the load is over"));
    }
  }

  // Fails when what it waits for was due.
  void CheckDeadline(MonotonicTime sent_before) {
    if (state_ == State::kOpen && sent_ != received_ && oldest_in_flight() < sent_before) {
      Fail(LoadErrors::kTimeout,
           absl::StrCat("no answer for ", absl::FormatDuration(worker_.options_.timeout)));
    }
  }

 private:
  void OnConnect(absl::StatusOr<std::unique_ptr<Stream>> stream) {
    attempt_.reset();
    if (!stream.ok()) {
      const ClientEncryption* const encryption = worker_.options_.encryption.get();
      const bool connected = encryption != nullptr && encryption->FailedToEncrypt(stream.status());
      worker_.OnError(connected ? LoadErrors::kTls : LoadErrors::kConnect,
                      stream.status().message());
      return Become(State::kGone);
    }
    client_ = worker_.clients_->NewClient(*std::move(stream), *this);
    Become(client_->is_open() ? State::kOpen : State::kHandshaking);
  }

  // Client::Handler:
  void OnOpen(Client& client) override {
    if (state_ != State::kHandshaking) return;
    if (client.compresses()) ++worker_.result_.compressed;
    Become(State::kOpen);
  }
  void OnMessage(Client& /*client*/, absl::Span<const uint8_t> bytes) override {
    if (state_ != State::kOpen) return;
    const MonotonicTime now = worker_.loop_.NowExact();
    if (!Take(bytes, now))
      return Fail(LoadErrors::kMismatch, "an answer differs from what was sent");
    if (worker_.sending()) {
      Fill(now);
    } else {
      EndIfIdle();
    }
  }
  void OnSendReady(Client& /*client*/) override {
    blocked_ = false;
    Fill(worker_.loop_.NowExact());
  }
  void OnReceiveEnd(Client& /*client*/) override {
    if (state_ == State::kEnding) return;
    Fail(EarlyOr(LoadErrors::kClosed), "the server closed the connection");
  }
  void OnClose(Client& /*client*/, const absl::Status& status) override {
    if (state_ == State::kHandshaking || state_ == State::kOpen) {
      worker_.OnError(EarlyOr(KindOf(status)),
                      status.ok() ? "the server closed the connection" : status.message());
    }
    Become(State::kGone);
  }

  // Before it is open, all that goes wrong is that it does not open.
  LoadErrors::Kind EarlyOr(LoadErrors::Kind kind) const {
    return state_ == State::kHandshaking && kind != LoadErrors::kTls ? LoadErrors::kConnect : kind;
  }

  // Takes answers, or a part of one where the protocol has no messages. False when they are not
  // what is due.
  bool Take(absl::Span<const uint8_t> bytes, MonotonicTime now) {
    const size_t size = worker_.pattern_.size();
    if (worker_.options_.protocol->has_messages() && bytes.size() != size) return false;
    while (!bytes.empty()) {
      if (received_ == sent_) return false;
      const size_t length = std::min(bytes.size(), size - position_);
      if (worker_.options_.verify) {
        const absl::Span<const uint8_t> expected =
            worker_.pattern_.Message(number_, received_).subspan(position_, length);
        if (std::memcmp(bytes.data(), expected.data(), length) != 0) return false;
      }
      bytes.remove_prefix(length);
      position_ += length;
      if (position_ < size) break;
      position_ = 0;
      worker_.OnAnswer(oldest_in_flight(), now);
      ++received_;
    }
    return true;
  }

  void Fail(LoadErrors::Kind kind, absl::string_view what) {
    worker_.OnError(kind, what);
    Become(State::kEnding);
    client_->Abort(absl::AbortedError(what));
  }

  void Become(State state) {
    const State before = std::exchange(state_, state);
    worker_.OnChange(before, state);
  }

  MonotonicTime oldest_in_flight() const { return sent_at_[received_ % sent_at_.size()]; }

  LoadWorker& worker_;
  const uint64_t number_;
  State state_ = State::kNew;
  bool blocked_ = false;
  std::unique_ptr<Dialer::Attempt> attempt_;
  std::unique_ptr<Client> client_;
  uint64_t sent_ = 0;
  uint64_t received_ = 0;
  size_t position_ = 0;  // in the answer that is due
  std::vector<MonotonicTime>
      sent_at_;  // of those in flight, by sequence number modulo the pipeline
};

LoadWorker::LoadWorker(EventLoop& loop, const LoadOptions& options, const MessagePattern& pattern,
                       std::unique_ptr<ClientFactory> clients, int first, int count,
                       absl::AnyInvocable<void()> on_ready, absl::AnyInvocable<void()> on_done)
    : loop_(loop),
      options_(options),
      pattern_(pattern),
      clients_(std::move(clients)),
      on_ready_(std::move(on_ready)),
      on_done_(std::move(on_done)),
      check_([this] { CheckPhase(); }),
      tick_([this] { CheckDeadlines(); }),
      end_([this] { OnPhaseTimeout(); }) {
  for (int i = 0; i < count; ++i) {
    connections_.push_back(std::make_unique<Connection>(*this, static_cast<uint64_t>(first + i)));
  }
  loop_.ArmTimer(check_, absl::ZeroDuration());
  ArmTick();
}

LoadWorker::~LoadWorker() = default;

void LoadWorker::Run() {
  if (phase_ != Phase::kReady) return;
  phase_ = Phase::kRunning;
  began_ = loop_.NowExact();
  if (options_.duration < absl::InfiniteDuration())
    loop_.ArmTimer(end_, began_ + options_.duration);
  for (const auto& connection : connections_) connection->Fill(loop_.NowExact());
  loop_.ArmTimer(check_, absl::ZeroDuration());
}

void LoadWorker::Finish() {
  if (phase_ >= Phase::kFinishing) return;
  const bool was_running = phase_ == Phase::kRunning;
  phase_ = Phase::kFinishing;
  loop_.CancelTimer(end_);
  if (was_running) result_.elapsed = loop_.NowExact() - began_;
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
      while (next_ < connections_.size() && opening_ < kMaxOpening)
        connections_[next_++]->Connect();
      if (opening_ == 0) {
        phase_ = Phase::kReady;
        std::exchange(on_ready_, nullptr)();
      }
      break;
    case Phase::kReady:
      break;
    case Phase::kRunning:
      if (open_ == 0) Finish();
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
int* LoadWorker::CounterOf(ConnectionState state) {
  switch (state) {
    case ConnectionState::kConnecting:
    case ConnectionState::kHandshaking:
      return &opening_;
    case ConnectionState::kOpen:
      return &open_;
    case ConnectionState::kEnding:
      return &ending_;
    case ConnectionState::kNew:
    case ConnectionState::kGone:
      break;
  }
  return nullptr;
}

void LoadWorker::OnChange(ConnectionState before, ConnectionState after) {
  if (int* counter = CounterOf(before)) --*counter;
  if (int* counter = CounterOf(after)) ++*counter;
  if (after == ConnectionState::kOpen) ++result_.connections;
  progress_.open.store(open_, std::memory_order_relaxed);
  // Not here, under the connection's feet.
  if (!check_.armed()) loop_.ArmTimer(check_, absl::ZeroDuration());
}

void LoadWorker::OnAnswer(MonotonicTime sent, MonotonicTime now) {
  result_.latency.RecordNanoseconds(now.nanoseconds() - sent.nanoseconds());
  last_answer_ = now;
  progress_.messages.store(++result_.messages, std::memory_order_relaxed);
}

void LoadWorker::OnError(LoadErrors::Kind kind, absl::string_view what) {
  result_.errors.Add(kind, what);
  progress_.errors.store(result_.errors.total(), std::memory_order_relaxed);
}

LoadResult LoadWorker::TakeResult() {
  if (result_.messages > 0) result_.elapsed = std::max(result_.elapsed, last_answer_ - began_);
  result_.bytes = result_.messages * pattern_.size();
  return std::move(result_);
}

}  // namespace sluice::tools
