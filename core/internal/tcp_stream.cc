#include "sluice/core/internal/tcp_stream.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/optimization.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/internal/system_error.h"

namespace sluice {
namespace {

// Room for what a callback gathers: a block of the pool, given back when it has left.
constexpr size_t kGatherBytes = 4000;

// A shared slice costs a node and a share of its block. Smaller ones than this are copied where
// they will wait: a queue of ten-byte slices would cost seven times its bytes, and the limits count
// bytes.
constexpr size_t kCopyUpTo = 256;

// So much of several files leaves at once; of one, the engine has a bound.
constexpr uint64_t kFileBytesPerFlush = 1024 * 1024;

bool Contains(Block& block, absl::Span<const uint8_t> bytes) {
  return bytes.data() >= block.storage() &&
         bytes.data() + bytes.size() <= block.storage() + block.capacity();
}

// The memory of an idle connection, in one malloc of 144 bytes.
static_assert(sizeof(void*) != 8 || sizeof(TcpStream) <= 136);

}  // namespace

TcpStream::TcpStream(EventLoop& loop, const SocketAddress& peer, Origin& origin)
    : Member(loop),
      TimerNode([](TimerNode& node) { static_cast<TcpStream&>(node).OnTimer(); }),
      active_ms_(NowMs()),
      origin_(&origin),
      peer_(peer) {}

TcpStream::~TcpStream() {
  if (state_.parked) Unpark();
  if (!state_.ended) poller().Close(*this, /*abort=*/state_.connected);
  if (origin_ != nullptr) origin_->OnStreamGone();
}

TcpStream::Extras& TcpStream::extras() {
  if (extras_ == nullptr) {
    auto extras = std::make_unique<Extras>();
    extras->options = options();
    extras_ = std::move(extras);
  }
  return *extras_;
}

void TcpStream::ForgetOrigin() {
  extras();
  origin_ = nullptr;
}

void TcpStream::Attach(Poller::Accepted accepted) {
  poller().Attach(*this, std::move(accepted));
  state_.connected = true;
  ArmIdleTimer();
}

absl::Status TcpStream::Connect(const SocketAddress& address, const SocketOptions& options) {
  return poller().Connect(*this, address, options);
}

void TcpStream::OnConnect(int error) {
  state_.connected = error == 0;
  active_ms_ = NowMs();
  if (state_.connected) ArmIdleTimer();
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
  if (ABSL_PREDICT_FALSE(state_.parked)) {
    state_.parked = false;
    Unpark();
    if (!left()) SettleLater();
  }
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
  if (storage.empty() && extras_ == nullptr) return;
  extras().receive_space = storage;
  Poller::set_has_receive_space(*this, !storage.empty());
}

absl::Span<uint8_t> TcpStream::ReceiveSpace() { return extras_->receive_space; }

void TcpStream::FillReceiveSpace(size_t bytes) {
  ReceiveInto(extras_->receive_space.subspan(bytes));
}

void TcpStream::OnReceive(absl::Span<uint8_t> bytes) {
  if (ABSL_PREDICT_FALSE(state_.closing)) return;  // discarded
  active_ms_ = NowMs();
  if (ABSL_PREDICT_FALSE(extras_ != nullptr) && bytes.data() == extras_->receive_space.data()) {
    FillReceiveSpace(bytes.size());
  }
  {
    Callback callback(*this);
    handler()->OnReceive(*this, bytes);
    if (callback.destroyed()) return;
  }
  if (!state_.ended) Flush();
}

void TcpStream::ReceivePipes(internal::PipeReceiver* receiver) {
  CheckThread();
  if (receiver == nullptr && extras_ == nullptr) return;
  extras().pipe_receiver = receiver;
  Poller::set_receives_pipes(*this, receiver != nullptr);
}

void TcpStream::OnReceivePipe(internal::PipePtr pipe) {
  active_ms_ = NowMs();
  {
    Callback callback(*this);
    extras_->pipe_receiver->OnReceivePipe(std::move(pipe));
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

size_t TcpStream::queued_bytes() const {
  return ABSL_PREDICT_FALSE(state_.ended && extras_ != nullptr) ? extras_->unsent : queued();
}

size_t TcpStream::unreceived_bytes() const {
  if (state_.ended || !state_.connected) return queued_bytes();
  return queued() + poller().UnacknowledgedBytes(*this);
}

inline bool TcpStream::MayQueue(size_t bytes, size_t reserve) {
  CheckThread();
  if (ABSL_PREDICT_FALSE(state_.closing || state_.ended || state_.shutting_down)) return false;
  const size_t queued = queued_memory();
  return ABSL_PREDICT_TRUE(queued == 0 || queued + bytes <= options().limits.hard + reserve) ||
         MakeRoom(bytes, reserve);
}

bool TcpStream::MakeRoom(size_t bytes, size_t reserve) {
  // What was only gathered so far does not count.
  Flush();
  if (state_.ended) return false;
  const size_t queued = queued_memory();
  const size_t limit = limits().hard + reserve;
  if (queued == 0 || queued + bytes <= limit) return true;
  if (reserve == 0) {
    Finish(absl::ResourceExhaustedError(absl::StrCat(peer_address().ToString(), ": send: ", queued,
                                                     " bytes are queued, and ", bytes,
                                                     " more pass the limit of ", limit)),
           /*abort=*/true);
  }
  return false;
}

// What was gathered leaves when the callback returns, or at the end of the turn, but a lot of it at
// once: nobody is told of back-pressure before the transport has refused something.
inline SendResult TcpStream::Queued(size_t gather) {
  if (ABSL_PREDICT_FALSE(queued() > std::min<size_t>(gather, options().limits.high)))
    return QueuedMuch();
  if (!in_callback()) SettleLater();
  return SendResult::kSent;
}

SendResult TcpStream::QueuedMuch() {
  if (!state_.send_blocked) {
    Flush();
    if (state_.ended) return SendResult::kRefused;
  }
  if (!in_callback()) SettleLater();
  if (ABSL_PREDICT_TRUE(queued() <= limits().high)) return SendResult::kSent;
  state_.blocked_told = true;
  return SendResult::kBlocked;
}

SendResult TcpStream::Send(absl::Span<const uint8_t> bytes) {
  if (!MayQueue(bytes.size(), 0)) return SendResult::kRefused;
  // More will follow in the same callback, and all of it leaves at its end.
  if (queue_.empty() && in_callback() && !bytes.empty())
    queue_.Reserve(std::max(bytes.size(), kGatherBytes));
  queue_.Append(bytes);
  return Queued();
}

SendResult TcpStream::Send(Slice slice) {
  if (!MayQueue(slice.size(), 0)) return SendResult::kRefused;
  if (ABSL_PREDICT_FALSE(state_.send_blocked && slice.size() <= kCopyUpTo)) {
    queue_.Append(slice.span());
  } else {
    queue_.Append(std::move(slice));
  }
  return Queued();
}

SendResult TcpStream::Send(Buffer buffer) {
  if (!MayQueue(buffer.size(), 0)) return SendResult::kRefused;
  while (ABSL_PREDICT_FALSE(state_.send_blocked) && !buffer.empty()) {
    const absl::Span<const uint8_t> piece = buffer.front();
    if (piece.size() <= kCopyUpTo) {
      queue_.Append(piece);
      buffer.Drain(piece.size());
    } else {
      queue_.Append(buffer.Split(piece.size()));
    }
  }
  queue_.Append(std::move(buffer));
  return Queued();
}

// Bytes that will be overwritten before this stream is flushed, because they are another's or lie
// elsewhere, are copied; so is what waits behind a blocked queue or a file.
inline void TcpStream::AppendLent(absl::Span<const uint8_t> bytes, bool leaves_in_time) {
  Block& lent = poller().receive_block();
  if (ABSL_PREDICT_TRUE(leaves_in_time && !state_.send_blocked && !state_.has_files &&
                        Contains(lent, bytes))) {
    queue_.AppendFrom(lent, bytes);
  } else {
    queue_.Append(bytes);
  }
}

SendResult TcpStream::SendLent(absl::Span<const uint8_t> bytes) {
  if (!MayQueue(bytes.size(), 0)) return SendResult::kRefused;
  AppendLent(bytes, in_callback());
  // No more can be lent than was received at once: that leaves in one piece.
  return Queued(SIZE_MAX);
}

SendResult TcpStream::SendNow(absl::Span<const uint8_t> bytes) {
  if (!MayQueue(bytes.size(), 0)) return SendResult::kRefused;
  AppendLent(bytes, /*leaves_in_time=*/true);
  return SendWaiting();
}

SendResult TcpStream::SendWaiting() {
  Flush();
  if (ABSL_PREDICT_TRUE(queued() == 0 && !state_.ended)) return SendResult::kSent;
  state_.blocked_told = true;
  return SendResult::kBlocked;
}

SendResult TcpStream::SendNow(internal::PipePtr pipe) {
  if (!MayQueue(0, 0)) return SendResult::kRefused;
  if (ABSL_PREDICT_TRUE(queued() == 0)) {
    extras().pipe = std::move(pipe);
    state_.has_pipe = true;
  } else {
    pipe->ReadTo(queue_);
  }
  return SendWaiting();
}

SendResult TcpStream::SendControl(absl::Span<const uint8_t> bytes) {
  if (!MayQueue(bytes.size(), kControlReserve)) return SendResult::kRefused;
  queue_.Append(bytes);
  return Queued();
}

// What was queued comes before the file, and the queue is for what comes after.
absl::StatusOr<SendResult> TcpStream::SendFile(int fd, uint64_t offset, uint64_t length) {
  CheckThread();
  if (state_.closing || state_.ended || state_.shutting_down) return SendResult::kRefused;
  absl::StatusOr<internal::FileRange> file = internal::FileRange::Of(fd, offset, length);
  if (!file.ok()) return file.status();
  if (length == 0) return Queued();
  if (!state_.has_files) extras().files = std::make_unique<internal::FileQueue>();
  state_.has_files = true;
  internal::FileQueue& files = *extras_->files;
  if (absl::Status status = files.MayPush(); !status.ok()) return status;
  files.Push(std::exchange(queue_, Buffer()), *std::move(file));
  return Queued();
}

void TcpStream::RequestFlush() {
  CheckThread();
  if (state_.ended) return;
  state_.flush_asked = true;
  SettleLater();
}

// Answers false when this is gone.
bool TcpStream::AnswerFlush() {
  state_.flush_asked = false;
  if (state_.ended || handler() == nullptr) return true;
  Callback callback(*this);
  handler()->OnFlush(*this);
  return !callback.destroyed();
}

void TcpStream::Flush() {
  if (state_.send_blocked || !state_.connected) return;
  const bool alone = ABSL_PREDICT_TRUE(!state_.has_files && !state_.has_pipe) || FlushAhead();
  if (alone && !queue_.empty()) SendFrom(queue_);
  if (ABSL_PREDICT_FALSE(state_.ended)) return;
  if (ABSL_PREDICT_FALSE(state_.blocked_told) && queued() <= limits().low) SettleLater();
  if (ABSL_PREDICT_FALSE(state_.shutting_down) && queued() == 0) OnQueueEmpty();
}

// Answers whether all of it has left; if not, the stream is blocked or has ended.
bool TcpStream::SendFrom(Buffer& queue) {
  const size_t queued = queue.size();
  const int error = poller().Send(*this, queue);
  if (ABSL_PREDICT_FALSE(error != 0)) {
    Finish(Error(error, "send"), /*abort=*/true);
    return false;
  }
  state_.send_blocked = !queue.empty();
  if (ABSL_PREDICT_FALSE(state_.send_blocked)) queue.ShrinkToFit();  // it will wait
  if (queue.size() != queued) active_ms_ = NowMs();
  return !state_.send_blocked;
}

bool TcpStream::SendFrom(internal::FileRange& file) {
  const Poller::FileSent sent =
      poller().SendFile(*this, file.fd(), file.offset(), static_cast<size_t>(file.left()));
  file.Advance(sent.bytes);
  if (sent.bytes != 0) {
    active_ms_ = NowMs();
    if (state_.closing) PeerHasTaken();  // to compare with
  }
  if (sent.error != 0 || sent.file_ended) {
    Finish(
        sent.error != 0 ? Error(sent.error, "send file") : file.Failure(peer_address().ToString()),
        /*abort=*/true);
    return false;
  }
  state_.send_blocked = file.left() != 0;
  return !state_.send_blocked;
}

// What comes before the queue. Answers whether all of it has left.
bool TcpStream::FlushAhead() {
  if (state_.has_files) FlushFiles();
  if (!state_.has_files && state_.has_pipe) FlushPipe();
  return !state_.has_files && !state_.has_pipe;
}

// Leaves no files, or a stream that is blocked or has ended; or, with many files for a peer that
// takes everything, some for the next turn.
void TcpStream::FlushFiles() {
  internal::FileQueue& files = *extras_->files;
  for (uint64_t sent = 0; !files.empty(); files.Pop()) {
    if (sent >= kFileBytesPerFlush) return SettleLater();
    sent += files.file().left();
    if (!files.before().empty() && !SendFrom(files.before())) return;
    if (!SendFrom(files.file())) return;
  }
  extras_->files = nullptr;
  state_.has_files = false;
  if (state_.closing) owning_loop().ArmTimer(*this, options().linger_timeout);
}

// Leaves no pipe, or a stream that is blocked or has ended.
void TcpStream::FlushPipe() {
  internal::Pipe& pipe = *extras_->pipe;
  const size_t size = pipe.size();
  const int error = poller().SendPipe(*this, pipe);
  if (pipe.size() != size) active_ms_ = NowMs();
  if (ABSL_PREDICT_FALSE(Poller::RefusesPipes(error))) {
    Buffer behind = std::exchange(queue_, Buffer());
    pipe.ReadTo(queue_);
    queue_.Append(std::move(behind));
  } else if (ABSL_PREDICT_FALSE(error != 0)) {
    return Finish(Error(error, "send"), /*abort=*/true);
  }
  state_.send_blocked = pipe.size() != 0;
  state_.has_pipe = state_.send_blocked;
  if (!state_.has_pipe) extras_->pipe = nullptr;
}

size_t TcpStream::queued_elsewhere() const {
  return (state_.has_files ? extras_->files->bytes() : 0) +
         (state_.has_pipe ? extras_->pipe->size() : 0);
}

// Everything has left that was to leave before the FIN.
void TcpStream::OnQueueEmpty() {
  if (state_.receive_ended)
    return Finish(absl::OkStatus(), /*abort=*/false);  // closing the socket sends the FIN
  if (state_.send_shut) return;
  poller().ShutdownSend(*this);
  state_.send_shut = true;
}

void TcpStream::OnSendReady() {
  state_.send_blocked = false;
  active_ms_ = NowMs();
  Flush();
  if (!state_.ended) TellSendReady();
}

void TcpStream::TellSendReady() {
  if (!state_.blocked_told || queued() > limits().low) return;
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
  ReceivePipes(nullptr);
  if (!state_.connected) return Finish(absl::OkStatus(), /*abort=*/false);
  if (state_.has_files) PeerHasTaken();  // to compare with
  UpdateReceiving();
  owning_loop().ArmTimer(*this, options().linger_timeout);
  SettleLater();
}

void TcpStream::Abort(absl::Status status) {
  CheckThread();
  if (!state_.ended) Finish(std::move(status), /*abort=*/true);
}

void TcpStream::OnError(int error) {
  if (!state_.connected && origin_ != nullptr) return origin_->OnConnect(*this, error);
  // A peer that resets after it was told that we are done has only cut the farewell short.
  if (state_.closing && state_.send_shut) return Finish(absl::OkStatus(), /*abort=*/false);
  Finish(Error(error, "receive"), /*abort=*/false);
}

void TcpStream::Finish(absl::Status status, bool abort) {
  state_.ended = true;
  if (!status.ok()) extras().end_status = std::move(status);
  if (const size_t unsent = queued(); unsent != 0) extras().unsent = unsent;
  TimerNode::Cancel();
  poller().Close(*this, abort);
  queue_.Clear();
  if (ABSL_PREDICT_FALSE(state_.has_files)) extras_->files = nullptr;
  state_.has_files = false;
  if (ABSL_PREDICT_FALSE(state_.has_pipe)) extras_->pipe = nullptr;
  state_.has_pipe = false;
  ReceiveInto({});
  SettleLater();
}

void TcpStream::Settle() {
  if (ABSL_PREDICT_FALSE(state_.flush_asked) && !AnswerFlush()) return;
  if (!state_.ended) Flush();
  if (!state_.ended) return TellSendReady();
  const absl::Status status = extras_ != nullptr ? extras_->end_status : absl::OkStatus();
  if (origin_ != nullptr) std::exchange(origin_, nullptr)->OnStreamGone();
  if (ABSL_PREDICT_FALSE(handler() == nullptr)) {
    state_.parked = true;
    return Park();
  }
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
  if (state_.ended) return;
  if (!state_.connected) return origin_->OnConnect(*this, ECANCELED);  // destroys this
  Finish(status, /*abort=*/true);
}

// Deadlines.

uint32_t TcpStream::NowMs() const { return static_cast<uint32_t>(now().nanoseconds() / 1'000'000); }

void TcpStream::ArmIdleTimer() {
  const absl::Duration timeout = options().idle_timeout;
  if (timeout != absl::InfiniteDuration()) owning_loop().ArmTimer(*this, timeout);
}

// The idle timer is not moved whenever something happens; when it is due, it is armed again for
// what is left.
void TcpStream::OnTimer() {
  if (state_.closing) return OnLingerTimer();
  const absl::Duration timeout = options().idle_timeout;
  const absl::Duration idle = absl::Milliseconds(NowMs() - active_ms_);
  if (idle < timeout) return owning_loop().ArmTimer(*this, timeout - idle);
  Finish(absl::DeadlineExceededError(
             absl::StrCat(peer_address().ToString(), ": idle for ", absl::FormatDuration(timeout))),
         /*abort=*/false);
}

// Since it was last asked.
bool TcpStream::PeerHasTaken() {
  const size_t unreceived = unreceived_bytes();
  return std::exchange(extras().unreceived, unreceived) != unreceived;
}

// Files may take longer, if they move: to the system, or, since that has last taken some, to the
// peer.
void TcpStream::OnLingerTimer() {
  const absl::Duration timeout = options().linger_timeout;
  if (state_.has_files) {
    const absl::Duration idle = absl::Milliseconds(NowMs() - active_ms_);
    if (idle < timeout) return owning_loop().ArmTimer(*this, timeout - idle);
    if (PeerHasTaken()) return owning_loop().ArmTimer(*this, timeout);
  }
  const size_t unsent = queued();
  absl::Status status;
  if (unsent != 0) {
    status = absl::DeadlineExceededError(
        absl::StrCat(peer_address().ToString(), ": close: ", unsent,
                     " bytes could not be sent within ", absl::FormatDuration(timeout)));
  }
  // What the system holds by now still leaves, if the peer reads on: only what we hold is lost.
  Finish(std::move(status), /*abort=*/unsent != 0);
}

void TcpStream::SetIdleTimeout(absl::Duration timeout) {
  CheckThread();
  if (closing()) return;
  extras().options.idle_timeout = timeout;
  TimerNode::Cancel();
  active_ms_ = NowMs();
  ArmIdleTimer();
}

void TcpStream::SetLingerTimeout(absl::Duration timeout) {
  CheckThread();
  extras().options.linger_timeout = timeout;
  if (state_.closing && !state_.ended) owning_loop().ArmTimer(*this, timeout);
}

void TcpStream::SetLimits(const StreamLimits& limits) {
  CheckThread();
  extras().options.limits = limits;
}

}  // namespace sluice
