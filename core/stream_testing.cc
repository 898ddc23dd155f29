#include "sluice/core/stream_testing.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "sluice/core/idle_poller.h"
#include "sluice/core/internal/block.h"
#include "sluice/core/internal/check.h"
#include "sluice/core/internal/file_queue.h"
#include "sluice/core/member.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/timer.h"

namespace sluice {
namespace {

// The clock stands at each Wait's deadline when that is over.
class VirtualPoller final : public IdlePoller {
 public:
  VirtualPoller() : IdlePoller(woken_) {}

  absl::string_view name() const override { return "virtual"; }
  size_t Wait(MonotonicTime deadline) override {
    if (woken_.exchange(0) != 0) return 0;
    // If this fails, the loop waits for something that cannot happen.
    SLUICE_CHECK(deadline != MonotonicTime::InfiniteFuture());
    now = std::max(now, deadline);
    return 0;
  }

 private:
  std::atomic<int> woken_{0};
};

// A callback's sends beyond this are passed on before it returns, as a TCP stream does.
constexpr size_t kCorkBytes = 128 * 1024;

constexpr uint8_t kPoison = 0xdb;

}  // namespace

VirtualLoop::VirtualLoop() : loop_(std::make_unique<VirtualPoller>()) {}

void VirtualLoop::RunUntilIdle() {
  // What is sent outside of callbacks moves at the end of one turn and arrives in the next.
  constexpr int kTurnsThatShowIdleness = 3;
  constexpr int kTooManyTurns = 1'000'000;
  int idle = 0;
  for (int turn = 0; idle < kTurnsThatShowIdleness; ++turn) {
    SLUICE_CHECK(turn < kTooManyTurns);  // something goes round in circles
    const EventLoop::Counters before = loop_.counters();
    loop_.RunOnce(absl::ZeroDuration());
    const EventLoop::Counters after = loop_.counters();
    const bool worked = after.timers != before.timers || after.posts != before.posts ||
                        after.streams != before.streams;
    idle = worked ? 0 : idle + 1;
  }
}

void VirtualLoop::Advance(absl::Duration duration) {
  RunUntilIdle();
  const MonotonicTime end = loop_.NowExact() + duration + TimerWheel::kResolution;
  while (loop_.NowExact() < end) {
    loop_.RunOnce(end - loop_.now());
    RunUntilIdle();
  }
}

// One of the two Streams. What arrives is delivered by a timer that is due at once, so that it
// takes its turn in the loop; everything else is as in a stream with a socket.
class StreamPair::Side final : public Stream, private EventLoop::Member {
 public:
  Side(EventLoop& loop, std::shared_ptr<Wires> links, Wire& in, Wire& out, SocketAddress local,
       SocketAddress peer)
      : Member(loop),
        arrival_(*this),
        deadline_(*this),
        wires_(std::move(links)),
        in_(in),
        out_(out),
        local_(local),
        peer_(peer) {
    in_.receiver_ = this;
    out_.sender_ = this;
  }

  ~Side() override {
    if (parked_) Unpark();
    if (!ended_) Cut(/*reset=*/true);
  }

  EventLoop& loop() const override { return owning_loop(); }

  using Stream::Send;
  SendResult Send(absl::Span<const uint8_t> bytes) override {
    if (!MayQueue(bytes.size(), 0)) return SendResult::kRefused;
    queue_.Append(bytes);
    return Queued();
  }
  SendResult Send(Slice slice) override {
    if (!MayQueue(slice.size(), 0)) return SendResult::kRefused;
    queue_.Append(std::move(slice));
    return Queued();
  }
  SendResult Send(Buffer buffer) override {
    if (!MayQueue(buffer.size(), 0)) return SendResult::kRefused;
    queue_.Append(std::move(buffer));
    return Queued();
  }
  SendResult SendLent(absl::Span<const uint8_t> bytes) override {
    SLUICE_CHECK(lending_ != nullptr);  // SendLent outside of OnReceive
    lending_->Expect(bytes);
    return Send(bytes);
  }
  SendResult SendControl(absl::Span<const uint8_t> bytes) override {
    SLUICE_CHECK(bytes.size() <= 256);
    if (!MayQueue(bytes.size(), kControlReserve)) return SendResult::kRefused;
    queue_.Append(bytes);
    return Queued();
  }
  absl::StatusOr<SendResult> SendFile(int fd, uint64_t offset, uint64_t length) override {
    if (closing_ || ended_ || shutting_down_) return SendResult::kRefused;
    absl::StatusOr<internal::FileRange> file = internal::FileRange::Of(fd, offset, length);
    if (!file.ok()) return file.status();
    if (length == 0) return Queued();
    if (absl::Status status = files_.MayPush(); !status.ok()) return status;
    files_.Push(std::exchange(queue_, Buffer()), *std::move(file));
    return Queued();
  }
  void RequestFlush() override {
    if (ended_) return;
    flush_asked_ = true;
    SettleLater();
  }
  size_t queued_bytes() const override { return ended_ ? unsent_ : queued(); }

  void PauseReceiving() override { paused_ = true; }
  void ResumeReceiving() override {
    paused_ = false;
    ScheduleArrival();
  }
  bool receiving_paused() const override { return paused_; }

  void ReceiveInto(absl::Span<uint8_t> storage) override { storage_ = storage; }

  void ShutdownSend() override {
    if (shutting_down_ || ended_) return;
    shutting_down_ = true;
    if (!in_callback()) SettleLater();
  }

  void Close() override {
    if (closing_ || ended_) return;
    closing_ = true;
    shutting_down_ = true;
    owning_loop().ArmTimer(deadline_, linger_timeout_);
    ScheduleArrival();
    SettleLater();
  }

  void Abort(absl::Status status) override {
    if (!ended_) Finish(std::move(status), /*reset=*/true);
  }

  bool closing() const override { return closing_ || ended_; }

  void SetIdleTimeout(absl::Duration timeout) override {
    idle_timeout_ = timeout;
    if (closing_ || ended_) return;
    Touch();
    owning_loop().ArmTimer(deadline_, idle_timeout_);
  }
  void SetLingerTimeout(absl::Duration timeout) override { linger_timeout_ = timeout; }
  absl::Duration linger_timeout() const override { return linger_timeout_; }
  void SetLimits(const StreamLimits& limits) override { limits_ = limits; }
  StreamLimits limits() const override { return limits_; }
  SocketAddress peer_address() const override { return peer_; }
  SocketAddress local_address() const override { return local_; }

  // From the wire: something may have arrived, and something may have room.
  void ScheduleArrival() {
    if (!ended_ && HasArrival()) owning_loop().ArmTimer(arrival_, MonotonicTime());
  }
  void OnRoom() {
    if (ended_) return;
    room_ = true;
    owning_loop().ArmTimer(arrival_, MonotonicTime());
  }
  void Break(const absl::Status& status) {
    if (!ended_) Finish(status, /*reset=*/false);
  }

 private:
  struct Arrival : TimerNode {
    explicit Arrival(Side& owner)
        : TimerNode([](TimerNode& node) { static_cast<Arrival&>(node).side.OnArrival(); }),
          side(owner) {}
    Side& side;
  };
  struct Deadline : TimerNode {
    explicit Deadline(Side& owner)
        : TimerNode([](TimerNode& node) { static_cast<Deadline&>(node).side.OnDeadline(); }),
          side(owner) {}
    Side& side;
  };

  // The span that the current OnReceive lends, and what SendLent was given of it.
  class Lending {
   public:
    explicit Lending(absl::Span<const uint8_t> lent) : lent_(lent) {}

    void Expect(absl::Span<const uint8_t> bytes) {
      // If this fails, the bytes do not lie in what OnReceive lends.
      SLUICE_CHECK(bytes.data() >= lent_.data() &&
                   bytes.data() + bytes.size() <= lent_.data() + lent_.size());
      sent_.push_back({bytes, std::vector<uint8_t>(bytes.begin(), bytes.end())});
    }
    void CheckUnchanged() const {
      for (const Sent& sent : sent_) {
        // If this fails, bytes that were given to SendLent were changed before the callback
        // returned.
        SLUICE_CHECK(std::equal(sent.bytes.begin(), sent.bytes.end(), sent.copy.begin()));
      }
    }

   private:
    struct Sent {
      absl::Span<const uint8_t> bytes;
      std::vector<uint8_t> copy;
    };
    const absl::Span<const uint8_t> lent_;
    std::vector<Sent> sent_;
  };

  void OnHandlerSet() override {
    if (std::exchange(parked_, false)) {
      Unpark();
      if (!left()) SettleLater();
    }
    ScheduleArrival();
  }

  // Receiving.

  bool HasArrival() const {
    if (in_.held_) return false;
    if (in_.reset_) return true;
    if (receive_ended_ || (in_.under_way_.empty() && !in_.end_)) return false;
    return closing_ || (handler() != nullptr && !paused_);
  }

  void OnArrival() {
    if (std::exchange(room_, false)) Flush();
    if (ended_ || !HasArrival()) return;
    if (in_.reset_) return OnReset();
    Touch();
    if (!in_.under_way_.empty()) {
      if (!OnBytes()) return;
    } else if (!DeliverEnd()) {
      return;
    }
    ScheduleArrival();
  }

  void OnReset() {
    if (closing_ && send_shut_) return Finish(absl::OkStatus(), /*reset=*/false);
    Finish(absl::UnavailableError(absl::StrCat(peer_.ToString(), ": reset by the peer")),
           /*reset=*/false);
  }

  // Both answer false when this is gone, or at its end.
  bool OnBytes() {
    const size_t size = std::min(in_.under_way_.size(), in_.max_chunk_);
    if (closing_) return Discard();
    if (!storage_.empty()) {
      const absl::Span<uint8_t> bytes = storage_.first(std::min(size, storage_.size()));
      storage_.remove_prefix(bytes.size());
      TakeArrived(bytes.size(), bytes.data());
      return Deliver(bytes);
    }
    std::vector<uint8_t> bytes(size);
    TakeArrived(size, bytes.data());
    const bool alive = Deliver(absl::MakeSpan(bytes));
    std::memset(bytes.data(), kPoison, bytes.size());
    return alive;
  }

  // Storage that was given to ReceiveInto, and not taken back before Close, is still this stream's
  // to write to.
  bool Discard() {
    if (!storage_.empty()) std::memset(storage_.data(), kPoison, storage_.size());
    TakeArrived(in_.under_way_.size(), nullptr);
    return true;
  }

  void TakeArrived(size_t size, uint8_t* to) {
    if (to != nullptr) in_.under_way_.CopyTo(to, 0, size);
    in_.under_way_.Drain(size);
    in_.bytes_arrived_ += size;
    ++in_.chunks_arrived_;
    if (in_.sender_ != nullptr) in_.sender_->OnRoom();
  }

  bool Deliver(absl::Span<uint8_t> bytes) {
    Lending lending(bytes);
    {
      Callback callback(*this);
      lending_ = &lending;
      handler()->OnReceive(*this, bytes);
      if (callback.destroyed()) return false;
      lending_ = nullptr;
    }
    lending.CheckUnchanged();
    if (!ended_) Flush();
    return !ended_;
  }

  bool DeliverEnd() {
    receive_ended_ = true;
    if (!closing_) {
      Callback callback(*this);
      handler()->OnReceiveEnd(*this);
      if (callback.destroyed()) return false;
    }
    if (ended_) return false;
    if (send_shut_) {
      Finish(absl::OkStatus(), /*reset=*/false);
      return false;
    }
    Flush();
    return !ended_;
  }

  // Sending.

  bool MayQueue(size_t bytes, size_t reserve) {
    if (closing_ || ended_ || shutting_down_) return false;
    const size_t held = queue_.size() + files_.memory();
    if (held == 0 || held + bytes <= limits_.hard + reserve) return true;
    if (reserve == 0) {
      Finish(absl::ResourceExhaustedError(absl::StrCat(peer_.ToString(), ": send: ", held,
                                                       " bytes are queued, and ", bytes,
                                                       " more pass the limit of ", limits_.hard)),
             /*reset=*/true);
    }
    return false;
  }

  SendResult Queued() {
    if (queued() > kCorkBytes) Flush();
    if (ended_) return SendResult::kRefused;
    if (!in_callback()) SettleLater();
    if (queued() <= limits_.high) return SendResult::kSent;
    ready_owed_ = true;
    return SendResult::kBlocked;
  }

  size_t queued() const { return queue_.size() + files_.bytes(); }
  size_t room() const { return out_.capacity_ - std::min(out_.capacity_, out_.under_way_.size()); }

  void Flush() {
    const bool had_files = !files_.empty();
    while (!files_.empty() && FlushFile()) {
    }
    if (ended_) return;
    if (files_.empty()) PassOn(queue_);
    if (had_files && files_.empty() && closing_) owning_loop().ArmTimer(deadline_, linger_timeout_);
    if (ready_owed_ && queued() <= limits_.low) SettleLater();
    if (shutting_down_ && queued() == 0) OnQueueEmpty();
    if (out_.receiver_ != nullptr) out_.receiver_->ScheduleArrival();
  }

  void PassOn(Buffer& queue) {
    const size_t passed = std::min(room(), queue.size());
    if (passed == 0) return;
    out_.under_way_.Append(queue.Split(passed));
    Touch();
    if (out_.receiver_ == nullptr) OnSentToNobody();
  }

  // One step; answers whether there may be a next one.
  bool FlushFile() {
    Buffer& before = files_.before();
    internal::FileRange& file = files_.file();
    if (before.empty() && file.left() == 0) {
      files_.Pop();
      return true;
    }
    if (room() == 0) return false;
    if (before.empty() && !file.ReadTo(before, room())) {
      Finish(file.Failure(peer_.ToString()), /*reset=*/true);
      return false;
    }
    PassOn(before);
    return out_.receiver_ != nullptr;
  }

  // A system answers bytes for a socket that is closed with a reset.
  void OnSentToNobody() {
    out_.under_way_.Clear();
    in_.reset_ = true;
    ScheduleArrival();
  }

  void OnQueueEmpty() {
    out_.end_ = true;
    send_shut_ = true;
    if (receive_ended_) Finish(absl::OkStatus(), /*reset=*/false);
  }

  void TellSendReady() {
    if (!ready_owed_ || queued() > limits_.low) return;
    ready_owed_ = false;
    if (closing_ || handler() == nullptr) return;
    {
      Callback callback(*this);
      handler()->OnSendReady(*this);
      if (callback.destroyed()) return;
    }
    if (!ended_) Flush();
  }

  // The end.

  void Finish(absl::Status status, bool reset) {
    ended_ = true;
    end_status_ = std::move(status);
    unsent_ = queued();
    queue_.Clear();
    files_ = {};
    storage_ = {};
    arrival_.Cancel();
    deadline_.Cancel();
    Cut(reset);
    SettleLater();
  }

  // Leaves the wire: with a reset, what is under way to the peer is lost.
  void Cut(bool reset) {
    in_.receiver_ = nullptr;
    in_.under_way_.Clear();
    out_.sender_ = nullptr;
    if (!reset && !send_shut_) out_.end_ = true;
    if (reset) {
      out_.under_way_.Clear();
      out_.reset_ = true;
    }
    if (out_.receiver_ != nullptr) out_.receiver_->ScheduleArrival();
    if (in_.sender_ != nullptr) in_.sender_->OnRoom();
  }

  void Settle() override {
    if (flush_asked_ && !AnswerFlush()) return;
    if (!ended_) Flush();
    if (!ended_) return TellSendReady();
    if (handler() == nullptr) {
      parked_ = true;
      return Park();
    }
    const absl::Status status = std::move(end_status_);
    Leave();
    DeliverClose(status);  // this may be gone
  }

  // Answers false when this is gone.
  bool AnswerFlush() {
    flush_asked_ = false;
    if (ended_ || handler() == nullptr) return true;
    Callback callback(*this);
    handler()->OnFlush(*this);
    return !callback.destroyed();
  }

  void OnDrain() override {
    if (closing()) return;
    if (handler() == nullptr) return Close();
    Callback callback(*this);
    handler()->OnDrain(*this);
  }

  void End(const absl::Status& status) override {
    if (!ended_) Finish(status, /*reset=*/true);
  }

  // No engine has a socket of this.
  void OnConnect(int) override {}
  void OnReceive(absl::Span<uint8_t>) override {}
  void OnReceiveEnd() override {}
  void OnSendReady() override {}
  void OnError(int) override {}

  // Time.

  void Touch() { active_ = now(); }

  void OnDeadline() {
    if (closing_) {
      if (!files_.empty() &&
          now() - active_ < linger_timeout_)  // they may take longer, if they move
        return owning_loop().ArmTimer(deadline_, active_ + linger_timeout_);
      absl::Status status;
      if (queued() != 0) {
        status = absl::DeadlineExceededError(absl::StrCat(peer_.ToString(), ": close: ", queued(),
                                                          " bytes could not be sent within ",
                                                          absl::FormatDuration(linger_timeout_)));
      }
      return Finish(std::move(status), /*reset=*/true);
    }
    if (now() - active_ < idle_timeout_)
      return owning_loop().ArmTimer(deadline_, active_ + idle_timeout_);
    Finish(absl::DeadlineExceededError(
               absl::StrCat(peer_.ToString(), ": idle for ", absl::FormatDuration(idle_timeout_))),
           /*reset=*/false);
  }

  Arrival arrival_;
  Deadline deadline_;  // of idleness, or of lingering
  const std::shared_ptr<Wires> wires_;
  Wire& in_;
  Wire& out_;
  const SocketAddress local_;
  const SocketAddress peer_;
  internal::FileQueue files_;  // before the queue
  Buffer queue_;
  Lending* lending_ = nullptr;
  absl::Span<uint8_t> storage_;
  StreamLimits limits_;
  MonotonicTime active_ = now();
  absl::Duration idle_timeout_ = absl::InfiniteDuration();
  absl::Duration linger_timeout_ = absl::Seconds(5);
  absl::Status end_status_;
  bool room_ = false;
  bool flush_asked_ = false;
  bool paused_ = false;
  bool receive_ended_ = false;
  bool ready_owed_ = false;
  bool shutting_down_ = false;
  bool send_shut_ = false;
  bool closing_ = false;
  bool ended_ = false;
  bool parked_ = false;  // OnClose is owed to a handler that is not set yet
  size_t unsent_ = 0;    // of the queue, at the end
};

void StreamPair::Wire::set_capacity(size_t bytes) {
  capacity_ = bytes;
  if (sender_ != nullptr) sender_->OnRoom();
}

void StreamPair::Wire::Release() {
  held_ = false;
  if (receiver_ != nullptr) receiver_->ScheduleArrival();
}

StreamPair::StreamPair(EventLoop& loop) : wires_(std::make_shared<Wires>()) {
  const SocketAddress client = SocketAddress::Ipv4Loopback(1);
  const SocketAddress server = SocketAddress::Ipv4Loopback(2);
  client_ = std::make_unique<Side>(loop, wires_, to_client(), to_server(), client, server);
  server_ = std::make_unique<Side>(loop, wires_, to_server(), to_client(), server, client);
}

StreamPair::~StreamPair() = default;

std::unique_ptr<Stream> StreamPair::TakeClient() {
  SLUICE_CHECK(client_ != nullptr);
  return std::move(client_);
}

std::unique_ptr<Stream> StreamPair::TakeServer() {
  SLUICE_CHECK(server_ != nullptr);
  return std::move(server_);
}

void StreamPair::Break(absl::Status status) {
  Side* const client = to_server().sender_;
  Side* const server = to_client().sender_;
  if (client != nullptr) client->Break(status);
  if (server != nullptr) server->Break(status);
}

StreamRecorder::StreamRecorder(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {
  stream_->SetHandler(*this);
}

std::string StreamRecorder::TakeReceived() { return std::exchange(received_, {}); }

void StreamRecorder::OnReceive(Stream&, absl::Span<uint8_t> bytes) {
  received_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

void StreamRecorder::OnReceiveEnd(Stream& stream) {
  ended_ = true;
  if (!keep_open_) stream.Close();
}

void StreamRecorder::OnSendReady(Stream&) { ++send_readies_; }

void StreamRecorder::OnDrain(Stream& stream) {
  drained_ = true;
  if (!keep_open_) stream.Close();
}

void StreamRecorder::OnClose(Stream&, const absl::Status& status) { closed_ = status; }

}  // namespace sluice
