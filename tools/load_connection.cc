#include "sluice/tools/load_connection.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sluice/tools/encryption.h"

namespace sluice::tools {
namespace {

constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();

// A pipeline may be queued whole.
StreamLimits LimitsFor(const LoadOptions& options) {
  constexpr uint64_t kMaxHigh = 64 * 1024 * 1024;
  const uint64_t largest = options.size.largest();
  const uint64_t pipeline = largest * static_cast<uint64_t>(options.pipeline);
  StreamLimits limits;
  limits.high = static_cast<uint32_t>(std::clamp<uint64_t>(pipeline, limits.high, kMaxHigh));
  const uint64_t hard = uint64_t{limits.high} + largest + 1024 * 1024;
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

LoadConnection::LoadConnection(Shared& shared, uint64_t number)
    : TimerNode([](TimerNode& node) { static_cast<LoadConnection&>(node).OnThought(); }),
      shared_(shared),
      number_(number),
      allowed_(kUnlimited),
      renewed_at_(shared.options.reconnect.value_or(kUnlimited)) {
  Allow(shared.schedule.has_value() || shared_.thinks ? 0 : kUnlimited);
}

LoadConnection::~LoadConnection() = default;

void LoadConnection::Connect() {
  Become(State::kConnecting);
  connecting_since_ = shared_.loop.NowExact();
  blocked_ = false;
  const LoadOptions& load = shared_.options;
  DialOptions options;
  options.timeout = load.timeout;
  options.stream.limits = LimitsFor(load);
  attempt_ = load.dialer->Dial(
      shared_.loop, load.url.endpoint, options,
      [this](absl::StatusOr<std::unique_ptr<Stream>> stream) { OnConnect(std::move(stream)); });
}

void LoadConnection::Begin(MonotonicTime now) {
  const uint64_t pipeline = shared_.pipeline;
  sent_at_.resize(pipeline);
  if (!shared_.thinks) return Fill(now);
  const double all =
      static_cast<double>(shared_.options.connections) * static_cast<double>(pipeline);
  for (size_t i = 0; i < pipeline; ++i) {
    const double place = static_cast<double>(number_ * pipeline + i) / all;
    sent_at_[i] = now + shared_.options.think_time * place;
  }
  ArmThinking();
}

void LoadConnection::OnDue(MonotonicTime now) {
  Allow(allowed_ + 1);
  Fill(now);
}

void LoadConnection::Allow(uint64_t allowed) {
  allowed_ = allowed;
  may_send_ = std::min(allowed_, renewed_at_);
}

void LoadConnection::ArmThinking() {
  if (allowed_ < received_ + shared_.pipeline)
    shared_.loop.ArmTimer(*this, sent_at_[allowed_ % shared_.pipeline]);
}

void LoadConnection::OnThought() {
  const MonotonicTime now = shared_.loop.NowExact();
  uint64_t allowed = allowed_;
  while (allowed < received_ + shared_.pipeline && sent_at_[allowed % shared_.pipeline] <= now)
    ++allowed;
  Allow(allowed);
  ArmThinking();
  Fill(now);
}

// Brings what is in flight up to the pipeline, as far as it may go, unless the stream is full.
void LoadConnection::Fill(MonotonicTime now) {
  if (state_ != State::kOpen || !shared_.sending) return;
  const uint64_t pipeline = shared_.pipeline;
  while (sent_ < may_send_ && sent_ - received_ < pipeline && !blocked_) {
    sent_at_[sent_ % pipeline] = now;
    // When it is refused, OnClose follows.
    blocked_ =
        client_->Send(shared_.kind, shared_.pattern.Message(number_, sent_)) != SendResult::kSent;
    ++sent_;
  }
}

void LoadConnection::EndIfIdle() {
  if (state_ != State::kOpen || sent_ != received_) return;
  Become(State::kEnding);
  client_->Close();
}

void LoadConnection::GiveUp() {
  if (state_ == State::kConnecting) {
    attempt_.reset();
    Become(State::kGone);
  } else if (state_ != State::kNew && state_ != State::kGone) {
    Become(State::kEnding);
    client_->Abort(absl::CancelledError("the load is over"));
  }
}

void LoadConnection::CheckDeadline(MonotonicTime sent_before) {
  if (state_ == State::kOpen && sent_ != received_ && oldest_in_flight() < sent_before) {
    Fail(LoadErrors::kTimeout,
         absl::StrCat("no answer for ", absl::FormatDuration(shared_.options.timeout)));
  }
}

void LoadConnection::OnConnect(absl::StatusOr<std::unique_ptr<Stream>> stream) {
  attempt_.reset();
  if (!stream.ok()) {
    const ClientEncryption* const encryption = shared_.options.encryption.get();
    const bool connected = encryption != nullptr && encryption->FailedToEncrypt(stream.status());
    shared_.owner.OnError(connected ? LoadErrors::kTls : LoadErrors::kConnect,
                          stream.status().message());
    return Become(State::kGone);
  }
  client_ = shared_.clients.NewClient(*std::move(stream), *this);
  if (client_->is_open()) return OnOpened();
  Become(State::kHandshaking);
}

void LoadConnection::OnOpened() {
  Become(State::kOpen);
  if (sent_at_.empty()) return;  // Begin comes
  const MonotonicTime now = shared_.loop.NowExact();
  shared_.OnReconnect(connecting_since_, now);
  if (!shared_.sending) return EndIfIdle();
  Fill(now);
}

// All that this connection was to carry was answered.
void LoadConnection::Renew() {
  renewed_at_ += *shared_.options.reconnect;
  Allow(allowed_);
  renewing_ = true;
  Become(State::kEnding);
  client_->Close();
}

void LoadConnection::OnOpen(Client& client) {
  if (state_ != State::kHandshaking) return;
  if (client.compresses() && sent_at_.empty()) ++shared_.result.compressed;
  OnOpened();
}

// Takes answers, or a part of one where the protocol has no messages. False when they are not what
// is due.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline bool LoadConnection::Take(absl::Span<const uint8_t> bytes,
                                                              MonotonicTime now) {
  absl::Span<const uint8_t> expected = shared_.pattern.Message(number_, received_);
  if (shared_.has_messages && bytes.size() != expected.size()) return false;
  while (received_ != sent_) {
    const size_t length = std::min(bytes.size(), expected.size() - position_);
    if (shared_.verify && std::memcmp(bytes.data(), expected.data() + position_, length) != 0)
      return false;
    bytes.remove_prefix(length);
    position_ += length;
    if (position_ < expected.size()) return true;
    position_ = 0;
    shared_.OnAnswer(oldest_in_flight(), measured_from(), now, expected.size());
    if (shared_.thinks) sent_at_[received_ % shared_.pipeline] = now + shared_.options.think_time;
    ++received_;
    if (bytes.empty()) return true;
    expected = shared_.pattern.Message(number_, received_);
  }
  return false;
}

void LoadConnection::OnMessage(Client& /*client*/, absl::Span<const uint8_t> bytes) {
  if (state_ != State::kOpen) return;
  const MonotonicTime now = shared_.loop.NowExact();
  if (!Take(bytes, now)) return Fail(LoadErrors::kMismatch, "an answer differs from what was sent");
  if (!shared_.sending) return EndIfIdle();
  if (shared_.thinks && !armed()) ArmThinking();
  if (received_ == renewed_at_) return Renew();
  Fill(now);
}

void LoadConnection::OnSendReady(Client& /*client*/) {
  blocked_ = false;
  Fill(shared_.loop.NowExact());
}

void LoadConnection::OnReceiveEnd(Client& /*client*/) {
  if (state_ == State::kEnding) return;
  Fail(EarlyOr(LoadErrors::kClosed), "the server closed the connection");
}

void LoadConnection::OnClose(Client& /*client*/, const absl::Status& status) {
  if (state_ == State::kHandshaking || state_ == State::kOpen) {
    shared_.owner.OnError(EarlyOr(KindOf(status)),
                          status.ok() ? "the server closed the connection" : status.message());
  }
  Become(State::kGone);
  if (std::exchange(renewing_, false) && shared_.sending) shared_.owner.OnRenewal(*this);
}

void LoadConnection::Fail(LoadErrors::Kind kind, absl::string_view what) {
  shared_.owner.OnError(kind, what);
  Become(State::kEnding);
  client_->Abort(absl::AbortedError(what));
}

void LoadConnection::Become(State state) {
  const State before = std::exchange(state_, state);
  shared_.owner.OnChange(before, state);
}

}  // namespace sluice::tools
