// For tests of what runs over a Stream. A StreamPair is two Streams, each the other's peer, joined
// in memory without a socket. A VirtualLoop is an EventLoop without I/O whose clock moves only when
// the test says so. With them a protocol's test is deterministic, and can cut, hold up and break
// the flow of bytes at will.
//
// Example: an echo, fed byte by byte.
//
//   Echo echo;                     // before the loop: it hears of the loop's end
//   sluice::VirtualLoop loop;
//   sluice::StreamPair pair(loop.loop());
//   pair.to_server().set_max_chunk(1);
//   sluice::Stream::Run(pair.TakeServer(), echo);
//   sluice::StreamRecorder client(pair.TakeClient());
//   client.stream().Send("hello");
//   loop.RunUntilIdle();
//   EXPECT_EQ(client.received(), "hello");
//
// The Streams keep all promises of stream.h, and are strict with their users: the bytes that
// OnReceive lends lie in memory of their own, which is overwritten and freed when the callback
// returns; the bytes given to SendLent are compared then, and a change of them ends the test, as
// does a range that was not lent. Bytes travel in no time: the clock is there for deadlines only.
//
// Loop-bound. Streams, pair and recorders may go in any order. The loop goes last; or before its
// Streams, which then end with kCancelled.
#ifndef SLUICE_CORE_STREAM_TESTING_H_
#define SLUICE_CORE_STREAM_TESTING_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/core/buffer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/stream.h"

namespace sluice {

// An EventLoop over a Poller that has no I/O and a virtual clock. A loop that is to wait for ever,
// with nothing that could end it, ends the test.
class VirtualLoop {
 public:
  VirtualLoop();

  EventLoop& loop() { return loop_; }

  // Runs turns, without letting time pass, until nothing is left to do.
  void RunUntilIdle();

  // Lets time pass, and runs all that is due within `duration` (and one resolution of the
  // TimerWheel).
  void Advance(absl::Duration duration);

 private:
  EventLoop loop_;
};

class StreamPair {
  class Side;

 public:
  // One direction of the flow.
  class Wire {
   public:
    // At most so many bytes arrive in one OnReceive. 64 KiB unless set.
    void set_max_chunk(size_t bytes) { max_chunk_ = bytes; }

    // So many bytes may be under way; further ones wait in the sender's queue. 256 KiB unless set.
    void set_capacity(size_t bytes);

    // From now on nothing arrives, neither bytes nor an end, until Release.
    void Hold() { held_ = true; }
    void Release();

    size_t bytes_under_way() const { return under_way_.size(); }
    uint64_t bytes_arrived() const { return bytes_arrived_; }
    uint64_t chunks_arrived() const { return chunks_arrived_; }

   private:
    friend class StreamPair;

    friend class Side;

    Side* sender_ = nullptr;  // null when it is gone
    Side* receiver_ = nullptr;
    Buffer under_way_;
    bool end_ = false;    // of the flow, behind the bytes
    bool reset_ = false;  // by the sender
    bool held_ = false;
    size_t max_chunk_ = 64 * 1024;
    size_t capacity_ = 256 * 1024;
    uint64_t bytes_arrived_ = 0;
    uint64_t chunks_arrived_ = 0;
  };

  explicit StreamPair(EventLoop& loop);
  ~StreamPair();
  StreamPair(const StreamPair&) = delete;
  StreamPair& operator=(const StreamPair&) = delete;

  // The two Streams, to be taken once each. One that is never taken goes with the pair.
  std::unique_ptr<Stream> TakeClient();
  std::unique_ptr<Stream> TakeServer();

  Wire& to_client() { return wires_->to_client; }
  Wire& to_server() { return wires_->to_server; }

  // The connection breaks: what is under way is lost, and each Stream that has not ended ends with
  // `status`.
  void Break(absl::Status status = absl::UnavailableError("connection reset"));

 private:
  struct Wires {
    Wire to_client;
    Wire to_server;
  };

  // Shared with the Streams, which may outlive the pair.
  std::shared_ptr<Wires> wires_;
  std::unique_ptr<Stream> client_;
  std::unique_ptr<Stream> server_;
};

// A handler that owns its Stream and writes down what happens.
class StreamRecorder : public StreamHandler {
 public:
  explicit StreamRecorder(std::unique_ptr<Stream> stream);

  Stream& stream() { return *stream_; }
  // Aborts the Stream, where it has not ended.
  void Destroy() { stream_.reset(); }

  const std::string& received() const { return received_; }
  std::string TakeReceived();
  bool ended() const { return ended_; }  // OnReceiveEnd
  int send_readies() const { return send_readies_; }
  bool drained() const { return drained_; }
  // OnClose's status; nullopt before.
  const std::optional<absl::Status>& closed() const { return closed_; }

  // Leaves the Stream open when the peer ends or the loop drains. Otherwise it is closed, which is
  // the default.
  void KeepOpen() { keep_open_ = true; }

 private:
  void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override;
  void OnReceiveEnd(Stream& stream) override;
  void OnSendReady(Stream& stream) override;
  void OnDrain(Stream& stream) override;
  void OnClose(Stream& stream, const absl::Status& status) override;

  std::unique_ptr<Stream> stream_;
  std::string received_;
  bool ended_ = false;
  bool drained_ = false;
  bool keep_open_ = false;
  int send_readies_ = 0;
  std::optional<absl::Status> closed_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_STREAM_TESTING_H_
