#include "sluice/tools/udp_load_worker.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "sluice/core/udp.h"

namespace sluice::tools {
namespace {

// A pipeline may be queued whole.
UdpSocket::Options OptionsFor(const UdpLoadOptions& load) {
  UdpSocket::Options options;
  const auto pipeline = static_cast<size_t>(load.pipeline);
  options.max_queued_datagrams = std::max(options.max_queued_datagrams, pipeline);
  options.max_queued_bytes = std::max(options.max_queued_bytes, pipeline * load.size.largest());
  return options;
}

}  // namespace

class UdpLoadWorker::Socket final : private UdpHandler {
 public:
  Socket(UdpLoadWorker& worker, int number)
      : worker_(worker),
        number_(static_cast<uint64_t>(number)),
        may_send_(worker.schedule_.has_value() ? 0 : std::numeric_limits<uint64_t>::max()),
        exchange_(worker.pattern_, static_cast<uint32_t>(number),
                  static_cast<uint32_t>(worker.options_.pipeline), worker.options_.verify) {}

  absl::Status Open() {
    absl::StatusOr<std::unique_ptr<UdpSocket>> socket = UdpSocket::Connect(
        worker_.loop_, worker_.options_.peer, OptionsFor(worker_.options_), *this);
    if (!socket.ok()) return socket.status();
    socket_ = *std::move(socket);
    return absl::OkStatus();
  }

  // Brings what is in flight up to the pipeline, as far as it may go.
  void Fill(MonotonicTime now) {
    while (worker_.sending_ && sent_ < may_send_ && exchange_.has_room()) {
      ++sent_;
      socket_->Send(exchange_.Next(now, absl::MakeSpan(worker_.datagram_)));
    }
    CountBusy();
  }

  // Open loop: one datagram more is due.
  void OnDue(MonotonicTime now) {
    ++may_send_;
    Fill(now);
  }
  uint64_t unsent() const { return worker_.schedule_.has_value() ? may_send_ - sent_ : 0; }

  void BeginCounting() {
    exchange_.BeginCounting();
    unread_before_ = socket_->counters().dropped_system;
  }

  void GiveUp(MonotonicTime sent_before) {
    exchange_.GiveUp(sent_before);
    CountBusy();
  }

  const UdpCounts& counts() const { return exchange_.counts(); }
  uint64_t unread() const { return socket_->counters().dropped_system - unread_before_; }

 private:
  // UdpHandler:
  void OnDatagrams(UdpSocket& /*socket*/, absl::Span<const ReceivedDatagram> datagrams) override {
    const MonotonicTime now = worker_.loop_.NowExact();
    for (const ReceivedDatagram& datagram : datagrams) {
      const UdpExchange::Taken taken = exchange_.Take(datagram.bytes, now);
      if (taken.kind == UdpExchange::Kind::kAnswer)
        worker_.OnAnswer(LatencyOf(taken, now), now, datagram.bytes.size());
      if (taken.kind == UdpExchange::Kind::kDamaged) worker_.OnDamaged(datagram);
    }
    Fill(now);
  }
  void OnError(UdpSocket& /*socket*/, const absl::Status& status,
               const SocketAddress& /*peer*/) override {
    worker_.OnError(status.message());
  }

  absl::Duration LatencyOf(const UdpExchange::Taken& taken, MonotonicTime now) const {
    if (!worker_.schedule_.has_value()) return taken.latency;
    return now - worker_.schedule_->DueAt(taken.sequence * worker_.sockets_.size() + number_ -
                                          worker_.first_);
  }

  void CountBusy() {
    const bool busy = exchange_.in_flight() > 0;
    if (busy == std::exchange(is_busy_, busy)) return;
    worker_.busy_ += busy ? 1 : -1;
    if (!busy && !worker_.check_.armed())
      worker_.loop_.ArmTimer(worker_.check_, absl::ZeroDuration());
  }

  UdpLoadWorker& worker_;
  const uint64_t number_;
  uint64_t may_send_;  // up to so many in all
  uint64_t sent_ = 0;
  UdpExchange exchange_;
  uint64_t unread_before_ = 0;  // counting began
  std::unique_ptr<UdpSocket> socket_;
  bool is_busy_ = false;
};

UdpLoadWorker::UdpLoadWorker(EventLoop& loop, const UdpLoadOptions& options,
                             const MessagePattern& pattern, int first, int count,
                             absl::AnyInvocable<void()> on_done)
    : loop_(loop),
      options_(options),
      pattern_(pattern),
      on_done_(std::move(on_done)),
      datagram_(options.size.largest()),
      first_(static_cast<size_t>(first)),
      check_([this] { Check(); }),
      tick_([this] { GiveUp(); }),
      end_([this] { Finish(); }),
      warm_([this] { BeginCounting(); }),
      pace_([this] { SendWhatIsDue(loop_.NowExact()); }) {
  if (options.rate.has_value()) {
    schedule_.emplace(*options.rate * count / options.sockets,
                      static_cast<double>(first) / options.sockets);
  }
  for (int i = 0; i < count; ++i) sockets_.push_back(std::make_unique<Socket>(*this, first + i));
}

UdpLoadWorker::~UdpLoadWorker() = default;

absl::Status UdpLoadWorker::Open() {
  for (const auto& socket : sockets_) {
    if (absl::Status status = socket->Open(); !status.ok()) return status;
  }
  return absl::OkStatus();
}

void UdpLoadWorker::Run() {
  sending_ = true;
  const MonotonicTime now = loop_.NowExact();
  began_ = now + options_.warm_up;
  if (options_.warm_up > absl::ZeroDuration()) loop_.ArmTimer(warm_, began_);
  if (options_.duration < absl::InfiniteDuration())
    loop_.ArmTimer(end_, began_ + options_.duration);
  for (const auto& socket : sockets_) socket->Fill(loop_.NowExact());
  if (schedule_.has_value()) {
    schedule_->Begin(now);
    SendWhatIsDue(loop_.NowExact());
  }
  GiveUp();
}

// What was sent and answered until now was the warm-up.
void UdpLoadWorker::BeginCounting() {
  began_ = loop_.NowExact();
  for (const auto& socket : sockets_) socket->BeginCounting();
}

// Also what the timer has come too late for: so the rate is right on average.
void UdpLoadWorker::SendWhatIsDue(MonotonicTime now) {
  const MonotonicTime last = began_ + options_.duration - absl::Nanoseconds(1);
  for (const uint64_t due = schedule_->DueBy(std::min(now, last)); due_ < due; ++due_)
    sockets_[due_ % sockets_.size()]->OnDue(now);
  loop_.ArmTimer(pace_, schedule_->DueAt(due_));
}

void UdpLoadWorker::Finish() {
  if (!sending_) return;
  const MonotonicTime now = loop_.NowExact();
  if (warm_.armed()) BeginCounting();  // there will be nothing
  if (schedule_.has_value()) SendWhatIsDue(now);
  sending_ = false;
  for (const auto& socket : sockets_) result_.unsent += socket->unsent();
  loop_.CancelTimer(pace_);
  loop_.CancelTimer(end_);
  loop_.CancelTimer(warm_);
  result_.elapsed = std::max(now - began_, absl::ZeroDuration());
  loop_.ArmTimer(check_, absl::ZeroDuration());
}

void UdpLoadWorker::Check() {
  if (sending_ || busy_ > 0 || on_done_ == nullptr) return;
  loop_.CancelTimer(tick_);
  std::exchange(on_done_, nullptr)();
}

void UdpLoadWorker::GiveUp() {
  const MonotonicTime now = loop_.NowExact();
  for (const auto& socket : sockets_) {
    socket->GiveUp(now - options_.lost_after);
    socket->Fill(now);
  }
  loop_.ArmTimer(tick_,
                 std::clamp(options_.lost_after / 8, absl::Milliseconds(1), absl::Seconds(1)));
}

void UdpLoadWorker::OnAnswer(absl::Duration latency, MonotonicTime now, size_t size) {
  if (warm_.armed()) return;
  result_.bytes += size;
  result_.latency.Record(latency);
  last_answer_ = now;
}

void UdpLoadWorker::OnDamaged(const ReceivedDatagram& datagram) {
  if (!result_.first_error.empty()) return;
  result_.first_error = absl::StrCat("an answer of ", datagram.bytes.size(), " bytes from ",
                                     datagram.peer->ToString(), " is nothing that was sent");
}

void UdpLoadWorker::OnError(absl::string_view what) {
  ++result_.errors;
  if (result_.first_error.empty()) result_.first_error = std::string(what);
}

UdpLoadWorker::Progress UdpLoadWorker::progress() const {
  Progress progress = {.answers = result_.latency.count()};
  for (const auto& socket : sockets_) progress.lost += socket->counts().lost;
  return progress;
}

UdpLoadResult UdpLoadWorker::TakeResult() {
  for (const auto& socket : sockets_) {
    result_.counts += socket->counts();
    result_.unread += socket->unread();
  }
  if (result_.counts.answers > 0)
    result_.elapsed = std::max(result_.elapsed, last_answer_ - began_);
  return std::move(result_);
}

}  // namespace sluice::tools
