// Stream is an ordered, reliable, two-way flow of bytes that belongs to one EventLoop: a TCP or
// Unix connection, TLS over another Stream, a connection of a simulated network. Protocols are
// written against this interface and so run over all of them. It is not a socket (there is no
// descriptor here) and it does not block: bytes arrive in StreamHandler::OnReceive, and Send
// queues.
//
// Example: an echo server's whole handler.
//
//   class Echo : public sluice::StreamHandler {
//     void OnReceive(sluice::Stream& stream, absl::Span<uint8_t> bytes) override {
//       if (stream.SendLent(bytes) == sluice::SendResult::kBlocked) stream.PauseReceiving();
//     }
//     void OnSendReady(sluice::Stream& stream) override { stream.ResumeReceiving(); }
//   };
//
// Loop-bound: every call, and every callback, is on the loop's thread.
//
// Callbacks. No call on a Stream runs a callback inside itself: what a call causes (OnClose above
// all) is delivered by the loop, at the end of the turn; what is caused there, inside an
// OnSendReady or OnClose, at the end of the next one, which follows without waiting. A callback may
// call anything on its Stream, and may destroy it.
//
// Receiving. The span given to OnReceive is lent: it is valid, and writable, until the callback
// returns. What must outlive it is copied by the handler, or received straight into its own storage
// (ReceiveInto).
//
// Sending. What a callback sends is gathered and leaves in one system call when the callback has
// returned; what is sent outside of one leaves at the end of the loop's turn. Bytes that the kernel
// does not take yet wait in a queue with a high mark, a low mark and a hard limit (StreamLimits).
// A stream that is layered on another one gathers by RequestFlush.
//
// Files. SendFile queues a part of a file, in its place between other sends: the kernel sends it
// (sendfile) where there is nothing between it and the network, and where there is (TLS) it is read
// and passed on piece by piece as the queue drains. Either way it needs no memory of its size.
//
//   const int fd = open("page.html", O_RDONLY | O_CLOEXEC);
//   stream.Send(head);
//   absl::StatusOr<sluice::SendResult> sent = stream.SendFile(fd, 0, size);
//   close(fd);                                               // the stream has its own
//   if (!sent.ok()) stream.Abort(sent.status());             // no file to send, for instance
//
// The end. OnClose is called exactly once and is the last callback, whoever ended the stream and
// however: after Close, Abort, a peer's reset, an idle or linger deadline, a broken limit, the
// loop's own destruction (kCancelled). Only destroying the Stream suppresses it: nothing is called
// after the destructor. A destroyed Stream that was not closed is aborted, and what it had queued
// is lost.
#ifndef SLUICE_CORE_STREAM_H_
#define SLUICE_CORE_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/core/buffer.h"

namespace sluice {

class EventLoop;
class SocketAddress;
class Stream;

// What became of bytes given to a Send.
enum class SendResult : uint8_t {
  kSent,     // Accepted. The queue is below its high mark: go on.
  kBlocked,  // Accepted, but the queue is above its high mark: wait for OnSendReady.
  kRefused,  // Not accepted: the stream is closed or closing, its sending half is shut, or the hard
             // limit is passed (the stream then ends with kResourceExhausted).
};

// Bounds of a stream's send queue, in bytes. `high` and `low` are of all that is queued, `hard` is
// of what lies in memory (not in a file). A send that would take a non-empty queue past `hard`
// is refused and ends the stream; a single send to an empty queue may be larger, since its sender
// holds those bytes anyway.
struct StreamLimits {
  uint32_t high = 256 * 1024;
  uint32_t low = 64 * 1024;
  uint32_t hard = 16 * 1024 * 1024;
};

// What a stream starts with; each can be changed on it later.
struct StreamOptions {
  StreamLimits limits = {};
  absl::Duration idle_timeout = absl::InfiniteDuration();
  absl::Duration linger_timeout = absl::Seconds(5);
};

// What the user of a Stream implements.
class StreamHandler {
 public:
  virtual ~StreamHandler() = default;

  // Bytes have arrived; never empty. They are lent until the callback returns.
  virtual void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) = 0;

  // The peer has sent all it will (FIN, close_notify). Sending is still possible. The default
  // closes gracefully.
  virtual void OnReceiveEnd(Stream& stream);

  // After a Send that answered kBlocked: the send queue has fallen to its low mark. Once for each
  // such rise.
  virtual void OnSendReady(Stream& /*stream*/) {}

  // After RequestFlush: the turn ends, and what is sent now leaves with it.
  virtual void OnFlush(Stream& /*stream*/) {}

  // The loop is draining (EventLoop::Drain): finish what is in flight and close. The default closes
  // gracefully.
  virtual void OnDrain(Stream& stream);

  // The stream has ended; the last callback. OK after a graceful end by either side. The handler
  // may destroy the stream, and itself, here.
  virtual void OnClose(Stream& /*stream*/, const absl::Status& /*status*/) {}
};

class Stream {
 public:
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  virtual ~Stream() = default;

  // Sets or replaces the handler, which must outlive the stream or be replaced before it dies; the
  // caller remains the owner of both. The first call starts receiving. From inside a callback, the
  // new handler gets the events that follow.
  void SetHandler(StreamHandler& handler);

  // Takes the handler away: until the next SetHandler nothing is received and no callback comes, as
  // with a stream that is new. For who opens a connection (a proxy's client) and then hands it on.
  // Together with ReceiveInto, by which no more is received than is asked for, nothing that the
  // peer has sent beyond that is lost. Not for a stream given to its loop.
  void ClearHandler();

  // Gives the stream to its loop: stream and handler live until OnClose has returned, and are then
  // destroyed. Such a stream keeps its handler.
  static void Run(std::unique_ptr<Stream> stream, std::unique_ptr<StreamHandler> handler);

  // The same with a handler that outlives the stream (and so its loop, which ends the streams that
  // are left when it is destroyed), such as one stateless handler for all connections.
  static void Run(std::unique_ptr<Stream> stream, StreamHandler& handler);

  virtual EventLoop& loop() const = 0;

  // Queues bytes: a copy; a shared slice (no copy: what a broadcast uses); a chain.
  virtual SendResult Send(absl::Span<const uint8_t> bytes) = 0;
  virtual SendResult Send(Slice slice) = 0;
  virtual SendResult Send(Buffer buffer) = 0;
  SendResult Send(absl::string_view text) {
    return Send(absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
  }

  // Queues `length` bytes of a regular file from `offset` on. The stream has a descriptor of its
  // own (a duplicate) from here until they have left: the caller may close `fd` at once. The file's
  // position plays no part, and several streams may send one file.
  //
  // An answer that is an error leaves the stream as it was; it names what is wrong:
  //   kInvalidArgument     `fd` is not open, cannot be read, or is no regular file
  //   kOutOfRange          the file has no `length` bytes from `offset` on
  //   kResourceExhausted   64 files are queued already, or the process has no descriptor left
  // Otherwise it is that of a Send. The bytes count as queued_bytes, and so for the marks: above
  // the high one it is kBlocked, and OnSendReady comes as ever. They need no memory, and so do not
  // count for the hard limit.
  //
  // The peer gets what is in the file when it is its turn, or later: the file should not change. A
  // file that has become shorter by then ends the stream with kDataLoss, as what was promised
  // cannot be kept. ShutdownSend and Close wait for the file; the linger timeout begins when it has
  // left, and until then ends a stream of which the peer has taken nothing (unreceived_bytes has
  // not changed) for so long, which is looked at once in each such time.
  //
  // The file is read on the loop's thread. From the system's cache that costs no more than a copy;
  // but a disk that is slow, or far away, holds up the loop.
  virtual absl::StatusOr<SendResult> SendFile(int fd, uint64_t offset, uint64_t length) = 0;

  // Queues bytes that lie in the span that this stream is lending in the current OnReceive, without
  // copying them. They must not change until the callback returns. Ranges that follow one another
  // in memory leave as one.
  virtual SendResult SendLent(absl::Span<const uint8_t> bytes) = 0;

  // Like Send for a short control message (at most 256 bytes: a pong, a close), which may use a
  // reserve of kControlReserve bytes past the hard limit; when that is used up too, the message is
  // refused and the stream lives on.
  virtual SendResult SendControl(absl::Span<const uint8_t> bytes) = 0;
  static constexpr size_t kControlReserve = 4096;

  // OnFlush will be called once, at the end of this turn, just before the stream sends what was
  // gathered: for a handler that is itself a stream (TLS), and encrypts at once what its own user
  // has sent piece by piece outside of callbacks. Not called when the stream ends before.
  virtual void RequestFlush() = 0;

  // Bytes accepted and not yet taken by the transport. From OnClose on: those that it never took.
  virtual size_t queued_bytes() const = 0;

  // These, and what the transport has taken of the rest and the peer has not, as far as the system
  // tells: it changes while the peer takes bytes, however slowly. More or less: a layered stream
  // counts what it has made of them.
  virtual size_t unreceived_bytes() const { return queued_bytes(); }

  // Receiving stops until resumed: no OnReceive, no OnReceiveEnd; the peer is held back by the
  // transport's own flow control. Bytes of the current OnReceive stay with the handler. Idempotent.
  virtual void PauseReceiving() = 0;
  virtual void ResumeReceiving() = 0;
  virtual bool receiving_paused() const = 0;

  // The bytes that arrive next are placed into `storage`, until it is full, before any other place
  // is used; OnReceive then gives the part of it that was filled. An empty span cancels. The
  // storage must stay valid until full, cancelled or the stream is destroyed.
  virtual void ReceiveInto(absl::Span<uint8_t> storage) = 0;

  // Half-close: what is queued is sent, then the peer sees the end (FIN). Receiving goes on.
  virtual void ShutdownSend() = 0;

  // Graceful end: nothing more is delivered to OnReceive; what is queued is sent; the peer's end is
  // awaited, and what it still sends discarded, for at most the linger timeout; then OnClose(OK).
  virtual void Close() = 0;

  // Ends at once: what is queued is lost, the peer sees a reset. OnClose gets `status`.
  virtual void Abort(absl::Status status) = 0;

  // True from Close or Abort, or the transport's failure, on.
  virtual bool closing() const = 0;

  // Ends the stream with kDeadlineExceeded when nothing was received, and nothing that was queued
  // could be sent, for this long. Infinite (the default) for never. Resolution: 1 ms.
  virtual void SetIdleTimeout(absl::Duration timeout) = 0;

  // How long Close waits for queued bytes to leave and for the peer's end. Default: 5 s.
  virtual void SetLingerTimeout(absl::Duration timeout) = 0;
  virtual absl::Duration linger_timeout() const = 0;

  virtual void SetLimits(const StreamLimits& limits) = 0;
  virtual StreamLimits limits() const = 0;

  // The transport's addresses; for a layered stream those of the lowest layer.
  virtual SocketAddress peer_address() const = 0;
  virtual SocketAddress local_address() const = 0;

 protected:
  // Called after handler() has changed: receive, or, where there is none any more, stop that.
  virtual void OnHandlerSet() = 0;

  StreamHandler* handler() const { return handler_; }

  // True once Run has given the stream away.
  bool owned_by_loop() const { return owned_by_loop_; }

  // The last thing that an implementation does with itself: calls OnClose and, for a stream given
  // to its loop, destroys handler and stream. Either way `this` may be gone afterwards.
  void DeliverClose(const absl::Status& status);

 private:
  StreamHandler* handler_ = nullptr;
  bool owned_by_loop_ = false;
  bool handler_owned_ = false;
};

}  // namespace sluice

#endif  // SLUICE_CORE_STREAM_H_
