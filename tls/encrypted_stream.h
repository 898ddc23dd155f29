// EncryptedStream is the TlsStream that a Handshake makes when it is done.
//
// It has no place of its own in the loop: the stream beneath calls it for everything, and at the
// end of a turn too, where it has asked for that (RequestFlush).
#ifndef SLUICE_TLS_ENCRYPTED_STREAM_H_
#define SLUICE_TLS_ENCRYPTED_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/core/buffer.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/stream.h"
#include "sluice/tls/agreement.h"
#include "sluice/tls/internal/channel.h"
#include "sluice/tls/tls_stream.h"

namespace sluice::tls {

class EncryptedStream final : public TlsStream, private StreamHandler {
 public:
  // From a handshake that is over, or of which a server awaits the end. `context` is kept alive.
  // Becomes the handler of `lower`.
  EncryptedStream(std::unique_ptr<Stream> lower, std::unique_ptr<internal::SslChannel> channel,
                  internal::Agreement agreement, std::shared_ptr<const void> context,
                  const StreamLimits& limits);
  ~EncryptedStream() override;

  // `gone` becomes true when the stream is destroyed, until Begin.
  void WatchUntilBegin(bool& gone) { gone_ = &gone; }
  // In a callback of `lower`: goes on with what the handshake has left of the input.
  void Begin();

  // TlsStream:
  Version version() const override;
  absl::string_view cipher() const override;
  absl::string_view group() const override;
  std::string alpn() const override;
  std::string server_name() const override;
  bool resumed() const override;
  std::vector<Certificate> peer_certificates() const override;
  std::string ocsp_response() const override;
  bool may_be_replay() const override;
  void WhenConfirmed(absl::AnyInvocable<void()> function) override;

  // Stream:
  EventLoop& loop() const override { return loop_; }
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
  bool receiving_paused() const override { return paused_; }
  void ReceiveInto(absl::Span<uint8_t> storage) override { storage_ = storage; }
  void ShutdownSend() override;
  void Close() override;
  void Abort(absl::Status status) override;
  bool closing() const override { return closing_ || ended_; }
  void SetIdleTimeout(absl::Duration timeout) override;
  void SetLingerTimeout(absl::Duration timeout) override;
  absl::Duration linger_timeout() const override;
  void SetLimits(const StreamLimits& limits) override;
  StreamLimits limits() const override { return limits_; }
  SocketAddress peer_address() const override;
  SocketAddress local_address() const override;

 private:
  class LateClose;
  class Callback;
  class Files;
  struct LastWords;
  struct Unconfirmed;
  // After a step of receiving. kEnded: this may be gone.
  enum class Next : uint8_t { kMore, kWait, kEnded };

  // StreamHandler, of the stream beneath:
  void OnReceive(Stream& lower, absl::Span<uint8_t> bytes) override;
  void OnReceiveEnd(Stream& lower) override;
  void OnSendReady(Stream& lower) override;
  void OnFlush(Stream& lower) override;
  void OnDrain(Stream& lower) override;
  void OnClose(Stream& lower, const absl::Status& status) override;

  // Stream:
  void OnHandlerSet() override;

  // Receiving. Those that answer a bool answer false when the stream has ended: this may be gone.
  void PauseLower();
  void ResumeLower();
  bool MayDeliver() const;
  bool Process();
  Next ProcessSome();
  bool Deliver(absl::Span<uint8_t> bytes, class Block* block);
  Next OnOutcome(int outcome);
  bool DeliverEnd();
  void UseChannel(std::unique_ptr<internal::SslChannel> channel);
  bool ConfirmWhenFinished();
  bool TellConfirmed();

  // Sending.
  bool MayQueue(size_t bytes, size_t reserve);
  SendResult Queued();
  void AskFlush();
  size_t RecordBytes() const;
  size_t RoomFor(size_t batch) const;
  bool EncryptSome(Buffer& plain);
  void SendOutput();
  void Flush();
  bool FlushFiles();
  void AbortUnencrypted();
  size_t waiting() const;
  size_t queued_memory() const;
  void FinishClose();
  void SayEnd();
  void TellSendReady();

  // The end.
  void DropPlain();
  void Fail(absl::Status status);
  void DeliverCloseOrWait(absl::Status status);

  EventLoop& loop_;
  std::shared_ptr<const void> context_;
  std::unique_ptr<Stream> lower_;  // null after Fail
  std::unique_ptr<internal::Channel> channel_;
  const internal::Agreement agreement_;
  std::unique_ptr<Files> files_;  // to be encrypted before `plain_`; mostly null
  Buffer plain_;                  // to be encrypted
  absl::Span<uint8_t> storage_;
  class Block* lending_ = nullptr;  // where the bytes of the current OnReceive lie
  bool* gone_ = nullptr;            // of the current Callback
  size_t unsent_ = 0;               // dropped, as the stream was ending
  StreamLimits limits_;
  MonotonicTime last_sent_;
  uint32_t burst_bytes_ = 0;  // sent since the stream was idle
  bool calling_ = false;      // the user, who is followed by Flush
  bool paused_ : 1;           // by the user
  bool lower_paused_ : 1;
  bool stalled_ : 1;        // processing stopped though there may be input
  bool receive_ended_ : 1;  // close_notify was seen
  bool lower_blocked_ : 1;  // OnSendReady will come from beneath
  bool blocked_told_ : 1;   // OnSendReady is owed to the user
  bool flush_asked_ : 1;    // OnFlush will come from beneath
  bool flush_owed_ : 1;     // OnFlush is owed to the user
  bool shutting_down_ : 1;  // close_notify is to be sent after the queue
  bool send_shut_ : 1;      // and was
  bool closing_ : 1;
  bool ended_ : 1;
  std::unique_ptr<Unconfirmed> unconfirmed_;  // mostly null
  std::unique_ptr<LateClose> late_close_;
  std::unique_ptr<LastWords> last_words_;
};

}  // namespace sluice::tls

#endif  // SLUICE_TLS_ENCRYPTED_STREAM_H_
