// TcpStream is the Stream over a socket of the loop's engine, made by Listener and Connector. Its
// size is the memory of an idle connection: what few streams need, or need for a short time only,
// is allocated when it is needed.
#ifndef SLUICE_CORE_INTERNAL_TCP_STREAM_H_
#define SLUICE_CORE_INTERNAL_TCP_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/base/optimization.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/core/buffer.h"
#include "sluice/core/internal/compact_address.h"
#include "sluice/core/internal/file_queue.h"
#include "sluice/core/internal/pipe.h"
#include "sluice/core/member.h"
#include "sluice/core/stream.h"
#include "sluice/core/timer.h"

namespace sluice {

// Stream is the last base so that the stream's own small members fill the room behind it.
class TcpStream final : public EventLoop::Member, private TimerNode, public Stream {
 public:
  // Where a stream comes from: its Listener or Connector, which outlives it or is forgotten.
  class Origin {
   public:
    explicit Origin(const StreamOptions& options) : stream_options_(options) {}
    virtual void OnConnect(TcpStream& stream, int error) = 0;  // connecting streams
    virtual void OnStreamGone() = 0;                           // accepted ones
    const StreamOptions& stream_options() const { return stream_options_; }

   protected:
    ~Origin() = default;
    StreamOptions stream_options_;  // of all its streams, as long as they are not changed
  };

  // With the options of its origin.
  TcpStream(EventLoop& loop, const SocketAddress& peer, Origin& origin);
  ~TcpStream() override;

  // Before either the stream is not connected.
  void Attach(Poller::Accepted accepted);
  absl::Status Connect(const SocketAddress& address, const SocketOptions& options);
  // The origin goes, or has nothing more to learn.
  void ForgetOrigin();

  // For bytes that another stream of the loop lends in its OnReceive: sends at once, straight from
  // where they lie, and copies only what the system does not take. Answers kBlocked while that, or
  // anything else, waits, however little; and if the stream ends in this call, whose OnClose then
  // counts those bytes as queued. kRefused is for bytes that were never the stream's.
  SendResult SendNow(absl::Span<const uint8_t> bytes);
  // The same for a pipe that another stream has received; what the system does not take waits in
  // it.
  SendResult SendNow(internal::PipePtr pipe);
  // The same for nothing: in OnSendReady it asks for the next one, if something still waits.
  SendResult SendWaiting();

  // From now on what arrives comes in pipes, as long as the engine has any, and in bytes as ever
  // when it has none. Null for bytes only.
  void ReceivePipes(internal::PipeReceiver* receiver);

  // Stream:
  EventLoop& loop() const override;
  using Stream::Send;
  SendResult Send(absl::Span<const uint8_t> bytes) override;
  SendResult Send(Slice slice) override;
  SendResult Send(Buffer buffer) override;
  SendResult SendLent(absl::Span<const uint8_t> bytes) override;
  SendResult SendControl(absl::Span<const uint8_t> bytes) override;
  absl::StatusOr<SendResult> SendFile(int fd, uint64_t offset, uint64_t length) override;
  void RequestFlush() override;
  size_t queued_bytes() const override;
  size_t unreceived_bytes() const override;
  void PauseReceiving() override;
  void ResumeReceiving() override;
  bool receiving_paused() const override { return state_.paused; }
  void ReceiveInto(absl::Span<uint8_t> storage) override;
  void ShutdownSend() override;
  void Close() override;
  void Abort(absl::Status status) override;
  bool closing() const override { return state_.closing || state_.ended; }
  void SetIdleTimeout(absl::Duration timeout) override;
  void SetLingerTimeout(absl::Duration timeout) override;
  absl::Duration linger_timeout() const override { return options().linger_timeout; }
  void SetLimits(const StreamLimits& limits) override;
  StreamLimits limits() const override { return options().limits; }
  SocketAddress peer_address() const override { return peer_.Expand(); }
  SocketAddress local_address() const override;

 private:
  // Poller::Socket:
  void OnConnect(int error) override;
  void OnReceive(absl::Span<uint8_t> bytes) override;
  void OnReceiveEnd() override;
  void OnSendReady() override;
  void OnError(int error) override;
  absl::Span<uint8_t> ReceiveSpace() override;
  void OnReceivePipe(internal::PipePtr pipe) override;
  // EventLoop::Member:
  void Settle() override;
  void OnDrain() override;
  void End(const absl::Status& status) override;
  // Stream:
  void OnHandlerSet() override;

  // What is true of the stream; a graceful end goes through them from top to bottom.
  struct State {
    bool connected : 1;
    bool paused : 1;
    bool receive_ended : 1;  // the peer's FIN was seen
    bool send_blocked : 1;   // the engine will say when it takes more
    bool blocked_told : 1;   // a Send has answered kBlocked, and OnSendReady is owed
    bool shutting_down : 1;  // FIN is to be sent after the queue
    bool send_shut : 1;      // and was
    bool closing : 1;        // Close was called
    bool ended : 1;          // OnClose is owed, or was delivered
    bool parked : 1;         // owed to a handler that is not set yet
    bool flush_asked : 1;    // OnFlush is owed
    bool has_files : 1;      // Extras::files come before the queue
    bool has_pipe : 1;       // Extras::pipe does, behind them
  };

  static constexpr StreamOptions kDefaultOptions = {};

  // What most streams never need, or only at their end.
  struct Extras {
    StreamOptions options;
    absl::Span<uint8_t> receive_space;
    absl::Status end_status;
    size_t unsent = 0;      // of the queue, at the end
    size_t unreceived = 0;  // when a closing stream with files was last looked at
    std::unique_ptr<internal::FileQueue> files;
    internal::PipePtr pipe;
    internal::PipeReceiver* pipe_receiver = nullptr;
  };

  Extras& extras();
  const StreamOptions& options() const {
    if (extras_ != nullptr) return extras_->options;
    return origin_ != nullptr ? origin_->stream_options() : kDefaultOptions;  // none: after the end
  }
  // All that is to be sent, and what of that lies in memory.
  size_t queued() const {
    return queue_.size() +
           (ABSL_PREDICT_FALSE(state_.has_files || state_.has_pipe) ? queued_elsewhere() : 0);
  }
  size_t queued_elsewhere() const;
  size_t queued_memory() const {
    return queue_.size() + (ABSL_PREDICT_FALSE(state_.has_files) ? extras_->files->memory() : 0);
  }
  bool MayQueue(size_t bytes, size_t reserve);
  bool MakeRoom(size_t bytes, size_t reserve);
  // A callback that writes more than this before it returns has it sent at once: the gathering has
  // paid by then, and memory is bounded.
  static constexpr size_t kCorkBytes = 128 * 1024;
  SendResult Queued(size_t gather = kCorkBytes);
  SendResult QueuedMuch();
  void AppendLent(absl::Span<const uint8_t> bytes, bool leaves_in_time);
  bool AnswerFlush();
  void Flush();
  bool FlushAhead();
  void FlushFiles();
  void FlushPipe();
  bool SendFrom(Buffer& queue);
  bool SendFrom(internal::FileRange& file);
  void OnQueueEmpty();
  void TellSendReady();
  void Finish(absl::Status status, bool abort);
  void FillReceiveSpace(size_t bytes);
  void UpdateReceiving();
  void ArmIdleTimer();
  void OnTimer();
  void OnLingerTimer();
  bool PeerHasTaken();
  uint32_t NowMs() const;
  absl::Status Error(int error, absl::string_view operation) const;

  State state_ = {};
  uint32_t active_ms_;  // when something last moved
  Buffer queue_;
  std::unique_ptr<Extras> extras_;
  Origin* origin_;
  internal::CompactAddress peer_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_INTERNAL_TCP_STREAM_H_
