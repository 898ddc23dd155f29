// Forwarder joins two Streams of one loop: each gets what the other one receives, until both have
// ended. It is the middle of a relay, a proxy or a tunnel, over any two Streams: TCP, Unix, TLS,
// simulated. It neither opens connections nor looks at what passes.
//
// Example: a server that passes every connection on to another one.
//
//   std::unordered_map<sluice::Forwarder*, std::unique_ptr<sluice::Forwarder>> open;
//   const auto join = [&](std::unique_ptr<sluice::Stream> client,
//                         std::unique_ptr<sluice::Stream> backend) {
//     auto forwarder =
//         std::make_unique<sluice::Forwarder>(std::move(client), std::move(backend));
//     sluice::Forwarder* const key = forwarder.get();
//     key->Start([&open, key](const sluice::Forwarder::Outcome& outcome) {
//       LogBytes(outcome.first.received, outcome.second.received);
//       open.erase(key);  // destroys the forwarder, which may be done here
//     });
//     open.emplace(key, std::move(forwarder));
//   };
//
// Back-pressure. Who does not take its bytes holds back the other side's sender: nothing is
// received from a side while something of what it has sent waits here. So one direction holds at
// most one receive (256 KiB) of this process's memory; towards a Stream that is not a socket's own
// (TLS), its limits' high mark and one receive. Where both are plain sockets, and the system can,
// bulk does not pass through this process at all (splice(2)).
//
// The end. When one side has sent all it will, and all of it has been passed on, the other one's
// sending half is shut (ShutdownSend); the other direction goes on. When both have, both streams
// end, in good order. A side that ends in any other way (a reset, an idle timeout, the lack of a
// close_notify) takes the other one with it: that is aborted, so that its peer does not take for
// complete what is not.
//
// Idle. What passes in either direction counts for both sides, which a stream's own idle timeout
// does not know of: Start turns those off, and Options::idle_timeout is for the two together. It
// ends them as a reset does. (Unix sockets have no reset: the peer may see a plain end.) What
// a peer takes of what the system holds counts, too, as far as the system tells
// (Stream::unreceived_bytes).
//
// When the loop drains, the two go on for as long as something passes, and are closed in good order
// once nothing waits here and nothing has come for Options::drain_quiet to twice that. A peer that
// does not answer that end within drain_quiet (or the linger timeout of its stream, if that is
// shorter) is not waited for, which is no error: so a quiet connection is gone after three times
// drain_quiet.
//
// Loop-bound. Destroyed before it is done, it aborts both streams, and nothing is called.
#ifndef SLUICE_CORE_FORWARDER_H_
#define SLUICE_CORE_FORWARDER_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/core/internal/pipe.h"
#include "sluice/core/stream.h"
#include "sluice/core/timer.h"

namespace sluice {

class TcpStream;

class Forwarder {
 public:
  struct Options {
    absl::Duration drain_quiet = absl::Seconds(1);
    // When nothing has passed for so long, or a quarter more, both sides end with
    // kDeadlineExceeded. Infinite for never.
    absl::Duration idle_timeout = absl::InfiniteDuration();
  };

  // How a side has ended.
  struct End {
    absl::Status status;    // OnClose's; kAborted where the other side was the first to fail
    uint64_t received = 0;  // bytes that came from it
    uint64_t sent = 0;      // bytes that its transport has taken
  };
  struct Outcome {
    End first, second;
  };

  // Called once, by the loop, when both streams have ended. May destroy the forwarder.
  using DoneFunction = absl::AnyInvocable<void(const Outcome&)>;

  // The streams may have been used before: what was sent on them comes first, and what was received
  // from them is not forwarded. Start resumes one that is paused, and takes back a ReceiveInto that
  // was not filled. Their limits must leave room for a receive (256 KiB) between the low mark and
  // the hard one.
  Forwarder(std::unique_ptr<Stream> first, std::unique_ptr<Stream> second)
      : Forwarder(std::move(first), std::move(second), Options()) {}
  Forwarder(std::unique_ptr<Stream> first, std::unique_ptr<Stream> second, const Options& options);
  Forwarder(const Forwarder&) = delete;
  Forwarder& operator=(const Forwarder&) = delete;
  ~Forwarder();

  // Begins. To be called once; `done` is never called from inside this.
  void Start(DoneFunction done);

  // What has passed so far; `sent` is then what was given to the stream.
  Outcome so_far() const { return {first_.end(), second_.end()}; }

 private:
  // One of the streams, and the direction from it to the other.
  class Side final : public StreamHandler, private internal::PipeReceiver {
   public:
    Side(Forwarder& forwarder, Side& other, std::unique_ptr<Stream> stream);

    Stream& stream() { return *stream_; }
    const End& end() const { return end_; }
    bool closed() const { return closed_; }

   private:
    void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override;
    void OnReceiveEnd(Stream& stream) override;
    void OnSendReady(Stream& stream) override;
    void OnDrain(Stream& stream) override;
    void OnClose(Stream& stream, const absl::Status& status) override;
    void OnReceivePipe(internal::PipePtr pipe) override;

    SendResult Send(absl::Span<const uint8_t> bytes);
    void AdaptTo(size_t received);
    void OnOtherClosed(const absl::Status& status);

    Forwarder& forwarder_;
    Side& other_;
    const std::unique_ptr<Stream> stream_;
    TcpStream* const socket_;  // the stream, where it is a socket's own
    End end_;
    bool receive_ended_ = false;
    bool closed_ = false;
    bool by_pipes_ = false;
    uint8_t unlike_ = 0;  // receives in a row for which the other way would be better
  };

  uint64_t BytesMoved();
  void CheckIdle();
  void EndAsIdle();
  void Drain();
  void CloseWhenQuiet();

  const Options options_;
  DoneFunction done_;
  std::unique_ptr<Timer> idle_timer_;  // null for none
  uint64_t moved_before_ = 0;          // at the last check
  int quiet_checks_ = 0;
  std::unique_ptr<Timer> drain_timer_;  // from OnDrain on
  uint64_t received_before_ = 0;        // when it was armed
  Side first_, second_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_FORWARDER_H_
