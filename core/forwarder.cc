#include "sluice/core/forwarder.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/internal/check.h"
#include "sluice/core/internal/tcp_stream.h"
#include "sluice/core/socket_address.h"

namespace sluice {
namespace {

// To receive into a pipe and send from it costs more system calls than to copy, and less for each
// byte. Receives of so much and more go by pipes, and those of so little and less by copies again,
// once so many of them have come in a row.
constexpr size_t kBulkBytes = 64 * 1024;
constexpr size_t kSmallBytes = 16 * 1024;
constexpr uint8_t kInARow = 4;

// Within an idle timeout.
constexpr int kIdleChecks = 4;

}  // namespace

Forwarder::Forwarder(std::unique_ptr<Stream> first, std::unique_ptr<Stream> second,
                     const Options& options)
    : options_(options),
      first_(*this, second_, std::move(first)),
      second_(*this, first_, std::move(second)) {
  SLUICE_CHECK(&first_.stream().loop() == &second_.stream().loop());
}

Forwarder::~Forwarder() = default;

void Forwarder::Start(DoneFunction done) {
  done_ = std::move(done);
  for (Side* side : {&first_, &second_}) {
    Stream& stream = side->stream();
    stream.SetIdleTimeout(absl::InfiniteDuration());
    stream.ReceiveInto({});
    stream.SetHandler(*side);
    stream.ResumeReceiving();
  }
  if (options_.idle_timeout == absl::InfiniteDuration()) return;
  idle_timer_ = std::make_unique<Timer>([this] { CheckIdle(); });
  moved_before_ = BytesMoved();
  first_.stream().loop().ArmTimer(*idle_timer_, options_.idle_timeout / kIdleChecks);
}

// Differs from before when a byte has come from a side, or the peer of one has taken one: while one
// side is held back, or has sent all, that the other one takes bytes is all that happens.
uint64_t Forwarder::BytesMoved() {
  uint64_t moved = 0;
  for (Side* side : {&first_, &second_})
    moved += side->end().received + side->end().sent - side->stream().unreceived_bytes();
  return moved;
}

void Forwarder::CheckIdle() {
  const uint64_t moved = BytesMoved();
  quiet_checks_ = moved == moved_before_ ? quiet_checks_ + 1 : 0;
  moved_before_ = moved;
  if (quiet_checks_ == kIdleChecks) return EndAsIdle();
  first_.stream().loop().ArmTimer(*idle_timer_, options_.idle_timeout / kIdleChecks);
}

// Not by Close: neither peer may take for complete what it has got.
void Forwarder::EndAsIdle() {
  const absl::Status status = absl::DeadlineExceededError(
      absl::StrCat(first_.stream().peer_address().ToString(), " and ",
                   second_.stream().peer_address().ToString(), ": idle for ",
                   absl::FormatDuration(options_.idle_timeout)));
  first_.stream().Abort(status);
  second_.stream().Abort(status);
}

// Both streams are asked.
void Forwarder::Drain() {
  if (drain_timer_ != nullptr) return;
  drain_timer_ = std::make_unique<Timer>([this] { CloseWhenQuiet(); });
  received_before_ = first_.end().received + second_.end().received;
  first_.stream().loop().ArmTimer(*drain_timer_, options_.drain_quiet);
}

// What the system holds still leaves, also after the linger timeout, but what waits here has only
// that, which is not for a peer that reads slowly. Nothing waits when they close: so it may be
// short enough for the time that the drain has.
void Forwarder::CloseWhenQuiet() {
  const uint64_t received = first_.end().received + second_.end().received;
  const size_t waiting = first_.stream().queued_bytes() + second_.stream().queued_bytes();
  if (received == received_before_ && waiting == 0) {
    idle_timer_ = nullptr;
    for (Side* side : {&first_, &second_}) {
      Stream& stream = side->stream();
      stream.SetLingerTimeout(std::min(stream.linger_timeout(), options_.drain_quiet));
      stream.Close();
    }
    return;
  }
  received_before_ = received;
  first_.stream().loop().ArmTimer(*drain_timer_, options_.drain_quiet);
}

// A stream whose own kind is known here once and for all: each message asks.
Forwarder::Side::Side(Forwarder& forwarder, Side& other, std::unique_ptr<Stream> stream)
    : forwarder_(forwarder),
      other_(other),
      stream_(std::move(stream)),
      socket_(dynamic_cast<TcpStream*>(stream_.get())) {}

SendResult Forwarder::Side::Send(absl::Span<const uint8_t> bytes) {
  const SendResult result = socket_ != nullptr ? socket_->SendNow(bytes) : stream_->Send(bytes);
  if (result != SendResult::kRefused) end_.sent += bytes.size();
  return result;
}

void Forwarder::Side::OnReceive(Stream& stream, absl::Span<uint8_t> bytes) {
  if (other_.socket_ != nullptr && socket_ != nullptr) AdaptTo(bytes.size());
  end_.received += bytes.size();
  // One that refuses has ended, and its OnClose is on the way.
  if (other_.Send(bytes) != SendResult::kSent) stream.PauseReceiving();
}

void Forwarder::Side::OnReceivePipe(internal::PipePtr pipe) {
  const size_t size = pipe->size();
  AdaptTo(size);
  end_.received += size;
  const SendResult result = other_.socket_->SendNow(std::move(pipe));
  if (result != SendResult::kRefused) other_.end_.sent += size;
  if (result != SendResult::kSent) stream_->PauseReceiving();
}

void Forwarder::Side::AdaptTo(size_t received) {
  if (by_pipes_ ? received > kSmallBytes : received < kBulkBytes) {
    unlike_ = 0;
  } else if (++unlike_ == kInARow) {
    unlike_ = 0;
    by_pipes_ = !by_pipes_;
    socket_->ReceivePipes(by_pipes_ ? this : nullptr);
  }
}

void Forwarder::Side::OnReceiveEnd(Stream&) {
  receive_ended_ = true;
  other_.stream().ShutdownSend();
}

void Forwarder::Side::OnSendReady(Stream&) {
  // At a stream's low mark something may still wait.
  if (socket_ != nullptr && socket_->SendWaiting() == SendResult::kBlocked) return;
  other_.stream().ResumeReceiving();
}

void Forwarder::Side::OnDrain(Stream&) { forwarder_.Drain(); }

void Forwarder::Side::OnClose(Stream& stream, const absl::Status& status) {
  closed_ = true;
  end_.status = status;
  end_.sent -= std::min<uint64_t>(end_.sent, stream.queued_bytes());
  if (!other_.closed()) return other_.OnOtherClosed(status);
  forwarder_.idle_timer_ = nullptr;
  forwarder_.drain_timer_ = nullptr;
  DoneFunction done = std::move(forwarder_.done_);
  done({forwarder_.first_.end(), forwarder_.second_.end()});  // this may be gone
}

void Forwarder::Side::OnOtherClosed(const absl::Status& status) {
  if (!status.ok()) {
    stream_->Abort(absl::AbortedError(
        absl::StrCat("forwarder: the other side has ended: ", status.message())));
  } else if (!receive_ended_ || !other_.receive_ended_) {
    stream_->Close();  // the other one was closed; else what is left ends by itself
  }
}

}  // namespace sluice
