#include "sluice/core/internal/tcp_stream.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <limits>
#include <utility>

#include "absl/base/optimization.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/internal/system_error.h"

namespace sluice {
namespace {

// A callback that writes more than this before it returns has it sent at once: the gathering has
// paid by then, and memory is bounded.
constexpr size_t kCorkBytes = 128 * 1024;

// Deadlines are kept in milliseconds of 32 bits, and compared by their distance: half of the range
// is the longest.
uint32_t ToMs(absl::Duration duration) {
  constexpr int64_t kLongest = std::numeric_limits<int32_t>::max();
  if (duration <= absl::ZeroDuration()) return 1;
  return static_cast<uint32_t>(
      std::clamp<int64_t>(absl::ToInt64Milliseconds(duration), 1, kLongest));
}

bool Contains(Block& block, absl::Span<const uint8_t> bytes) {
  return bytes.data() >= block.storage() &&
         bytes.data() + bytes.size() <= block.storage() + block.capacity();
}

uint32_t ToIdleMs(absl::Duration timeout) {
  return timeout == absl::InfiniteDuration() ? 0 : ToMs(timeout);
}

}  // namespace

TcpStream::TcpStream(EventLoop& loop, const StreamOptions& options, const SocketAddress& peer,
                     Origin* origin)
    : Member(loop),
      TimerNode([](TimerNode& node) { static_cast<TcpStream&>(node).OnTimer(); }),
      origin_(origin),
      peer_(peer),
      limits_(options.limits),
      idle_ms_(ToIdleMs(options.idle_timeout)),
      linger_ms_(ToMs(options.linger_timeout)),
      active_ms_(NowMs()) {}

TcpStream::~TcpStream() {
  if (!state_.ended) poller().Close(*this, /*abort=*/state_.connected);
  if (origin_ != nullptr) origin_->OnStreamGone();
}

void TcpStream::Attach(Poller::Accepted accepted) {
  poller().Attach(*this, std::move(accepted));
  state_.connected = true;
  if (idle_ms_ != 0) ArmTimer(idle_ms_);
}

absl::Status TcpStream::Connect(const SocketAddress& address, const SocketOptions& options) {
  return poller().Connect(*this, address, options);
}

void TcpStream::OnConnect(int error) {
  state_.connected = error == 0;
  active_ms_ = NowMs();
  if (state_.connected && idle_ms_ != 0) ArmTimer(idle_ms_);
  origin_->OnConnect(*this, error);  // may destroy this
}

EventLoop& TcpStream::loop() const { return owning_loop(); }

SocketAddress TcpStream::local_address() const {
  return state_.ended ? SocketAddress() : poller().LocalAddress(*this);
}

absl::Status TcpStream::Error(int error, absl::string_view operation) const {
  return internal::SystemError(error, operation, peer_address().ToString());
}

// Receiving.

void TcpStream::OnHandlerSet() {
  CheckThread();
  UpdateReceiving();
}

// A closing stream receives, in order to discard: it waits for the peer's end.
void TcpStream::UpdateReceiving() {
  if (state_.ended || state_.receive_ended || !state_.connected) return;
  if (state_.closing || (handler() != nullptr && !state_.paused)) {
    poller().StartReceiving(*this);
  } else {
    poller().StopReceiving(*this);
  }
}

void TcpStream::PauseReceiving() {
  CheckThread();
  if (state_.paused) return;
  state_.paused = true;
  UpdateReceiving();
}

void TcpStream::ResumeReceiving() {
  CheckThread();
  if (!state_.paused) return;
  state_.paused = false;
  UpdateReceiving();
}

void TcpStream::ReceiveInto(absl::Span<uint8_t> storage) {
  CheckThread();
  if (storage.empty()) {
    receive_space_.reset();
  } else if (receive_space_ != nullptr) {
    *receive_space_ = storage;
  } else {
    receive_space_ = std::make_unique<absl::Span<uint8_t>>(storage);
  }
  Poller::set_has_receive_space(*this, receive_space_ != nullptr);
}

void TcpStream::FillReceiveSpace(size_t bytes) {
  receive_space_->remove_prefix(bytes);
  if (receive_space_->empty()) ReceiveInto({});
}

void TcpStream::OnReceive(absl::Span<uint8_t> bytes) {
  if (ABSL_PREDICT_FALSE(state_.closing)) return;  // discarded
  active_ms_ = NowMs();
  if (ABSL_PREDICT_FALSE(receive_space_ != nullptr) && bytes.data() == receive_space_->data())
    FillReceiveSpace(bytes.size());
  {
    Callback callback(*this);
    handler()->OnReceive(*this, bytes);
    if (callback.destroyed()) return;
  }
  if (!state_.ended) Flush();
}

void TcpStream::OnReceiveEnd() {
  state_.receive_ended = true;
  active_ms_ = NowMs();
  if (state_.closing) {
    if (state_.send_shut) Finish(absl::OkStatus(), /*abort=*/false);
    return;
  }
  {
    Callback callback(*this);
    handler()->OnReceiveEnd(*this);
    if (callback.destroyed()) return;
  }
  if (state_.ended) return;
  // Both halves are over: nothing can happen any more.
  if (state_.send_shut) return Finish(absl::OkStatus(), /*abort=*/false);
  Flush();
}

// Sending.

bool TcpStream::MayQueue(size_t bytes, size_t reserve) {
  CheckThread();
  if (ABSL_PREDICT_FALSE(state_.closing || state_.ended || state_.shutting_down)) return false;
  const size_t queued = queue_.size();
  if (ABSL_PREDICT_TRUE(queued == 0 || queued + bytes <= limits_.hard + reserve)) return true;
  if (reserve == 0) {
    Finish(absl::ResourceExhaustedError(absl::StrCat(peer_address().ToString(), ": send: ", queued,
                                                     " bytes are queued, and ", bytes,
                                                     " more pass the limit of ", limits_.hard)),
           /*abort=*/true);
  }
  return false;
}

// What was gathered leaves when the callback returns, or at the end of the turn, but a lot of it at
// once.
SendResult TcpStream::Queued() {
  if (ABSL_PREDICT_FALSE(queue_.size() > kCorkBytes) && !state_.send_blocked) {
    Flush();
    if (state_.ended) return SendResult::kRefused;
  }
  if (!in_callback()) SettleLater();
  if (ABSL_PREDICT_TRUE(queue_.size() <= limits_.high)) return SendResult::kSent;
  state_.blocked_told = true;
  return SendResult::kBlocked;
}

SendResult TcpStream::Send(absl::Span<const uint8_t> bytes) {
  if (!MayQueue(bytes.size(), 0)) return SendResult::kRefused;
  queue_.Append(bytes);
  return Queued();
}

SendResult TcpStream::Send(Slice slice) {
  if (!MayQueue(slice.size(), 0)) return SendResult::kRefused;
  queue_.Append(std::move(slice));
  return Queued();
}

SendResult TcpStream::Send(Buffer buffer) {
  if (!MayQueue(buffer.size(), 0)) return SendResult::kRefused;
  queue_.Append(std::move(buffer));
  return Queued();
}

SendResult TcpStream::SendLent(absl::Span<const uint8_t> bytes) {
  if (!MayQueue(bytes.size(), 0)) return SendResult::kRefused;
  Block& lent = poller().receive_block();
  // Bytes that will be overwritten before this stream is flushed, because they are another's or lie
  // elsewhere, are copied; so is what waits behind a blocked queue.
  if (ABSL_PREDICT_TRUE(in_callback() && !state_.send_blocked && Contains(lent, bytes))) {
    queue_.AppendFrom(lent, bytes);
  } else {
    queue_.Append(bytes);
  }
  return Queued();
}

SendResult TcpStream::SendControl(absl::Span<const uint8_t> bytes) {
  if (!MayQueue(bytes.size(), kControlReserve)) return SendResult::kRefused;
  queue_.Append(bytes);
  return Queued();
}

void TcpStream::Flush() {
  if (state_.send_blocked || !state_.connected) return;
  if (!queue_.empty()) {
    const size_t queued = queue_.size();
    const int error = poller().Send(*this, queue_);
    if (ABSL_PREDICT_FALSE(error != 0)) return Finish(Error(error, "send"), /*abort=*/true);
    state_.send_blocked = !queue_.empty();
    if (queue_.size() != queued) active_ms_ = NowMs();
  }
  if (ABSL_PREDICT_FALSE(state_.blocked_told) && queue_.size() <= limits_.low) SettleLater();
  if (ABSL_PREDICT_FALSE(state_.shutting_down) && queue_.empty()) OnQueueEmpty();
}

// Everything has left that was to leave before the FIN.
void TcpStream::OnQueueEmpty() {
  if (state_.receive_ended)
    return Finish(absl::OkStatus(), /*abort=*/false);  // closing the socket sends the FIN
  if (state_.send_shut) return;
  poller().ShutdownSend(*this);
  state_.send_shut = true;
}

void TcpStream::OnSendReady(size_t completed) {
  queue_.Drain(completed);
  state_.send_blocked = false;
  active_ms_ = NowMs();
  Flush();
  if (!state_.ended) TellSendReady();
}

void TcpStream::TellSendReady() {
  if (!state_.blocked_told || queue_.size() > limits_.low) return;
  state_.blocked_told = false;
  if (state_.closing || handler() == nullptr) return;
  {
    Callback callback(*this);
    handler()->OnSendReady(*this);
    if (callback.destroyed()) return;
  }
  if (!state_.ended) Flush();
}

// The end.

void TcpStream::ShutdownSend() {
  CheckThread();
  if (state_.shutting_down || state_.ended) return;
  state_.shutting_down = true;
  if (!in_callback()) SettleLater();
}

void TcpStream::Close() {
  CheckThread();
  if (state_.closing || state_.ended) return;
  state_.closing = true;
  state_.shutting_down = true;
  ReceiveInto({});
  if (!state_.connected) return Finish(absl::OkStatus(), /*abort=*/false);
  UpdateReceiving();
  ArmTimer(linger_ms_);
  SettleLater();
}

void TcpStream::Abort(absl::Status status) {
  CheckThread();
  if (!state_.ended) Finish(std::move(status), /*abort=*/true);
}

void TcpStream::OnError(int error) {
  // A peer that resets after it was told that we are done has only cut the farewell short.
  if (state_.closing && state_.send_shut) return Finish(absl::OkStatus(), /*abort=*/false);
  Finish(Error(error, "receive"), /*abort=*/false);
}

void TcpStream::Finish(absl::Status status, bool abort) {
  state_.ended = true;
  end_status_ = std::move(status);
  TimerNode::Cancel();
  poller().Close(*this, abort);
  queue_.Clear();
  receive_space_.reset();
  SettleLater();
}

void TcpStream::Settle() {
  if (!state_.ended) Flush();
  if (!state_.ended) return TellSendReady();
  const absl::Status status = std::move(end_status_);
  if (origin_ != nullptr) std::exchange(origin_, nullptr)->OnStreamGone();
  Leave();
  DeliverClose(status);  // this may be gone
}

void TcpStream::OnDrain() {
  if (closing()) return;
  if (!state_.connected) return origin_->OnConnect(*this, ECANCELED);  // destroys this
  if (handler() == nullptr) return Close();
  Callback callback(*this);
  handler()->OnDrain(*this);
}

void TcpStream::End(const absl::Status& status) {
  if (!state_.ended) Finish(status, /*abort=*/true);
}

// Deadlines.

uint32_t TcpStream::NowMs() const { return static_cast<uint32_t>(now().nanoseconds() / 1'000'000); }

void TcpStream::ArmTimer(uint32_t milliseconds) {
  owning_loop().ArmTimer(*this, absl::Milliseconds(milliseconds));
}

// The idle timer is not moved whenever something happens; when it is due, it is armed again for
// what is left.
void TcpStream::OnTimer() {
  if (state_.closing) {
    absl::Status status;
    if (!queue_.empty()) {
      status = absl::DeadlineExceededError(
          absl::StrCat(peer_address().ToString(), ": close: ", queue_.size(),
                       " bytes could not be sent within ", linger_ms_, " ms"));
    }
    return Finish(std::move(status), /*abort=*/true);
  }
  const uint32_t idle = NowMs() - active_ms_;
  if (idle < idle_ms_) return ArmTimer(idle_ms_ - idle);
  Finish(absl::DeadlineExceededError(
             absl::StrCat(peer_address().ToString(), ": idle for ", idle_ms_, " ms")),
         /*abort=*/false);
}

void TcpStream::SetIdleTimeout(absl::Duration timeout) {
  CheckThread();
  idle_ms_ = ToIdleMs(timeout);
  if (state_.closing || state_.ended) return;
  TimerNode::Cancel();
  active_ms_ = NowMs();
  if (idle_ms_ != 0) ArmTimer(idle_ms_);
}

void TcpStream::SetLingerTimeout(absl::Duration timeout) { linger_ms_ = ToMs(timeout); }

}  // namespace sluice
