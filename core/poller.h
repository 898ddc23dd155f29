// Poller is the I/O engine beneath an EventLoop. It is not a watcher of descriptors: its interface
// is in operations (listen, accept, connect, receive, send, shut down, close, wait, wake), so that
// one contract fits readiness engines (epoll, kqueue), completion engines (io_uring) and a
// simulated network. Only EventLoop, Listener, Connector and TcpStream use it; users of the library
// choose an engine (PollerKind) and then meet Streams.
//
// Loop-bound, except Wake, which any thread, and a signal handler, may call.
//
// What every engine promises (poller_contract_test.cc runs over each):
//  * Events are delivered from Wait only, one after another, never from inside another call of the
//    poller.
//  * A Socket or Acceptor gets no event after Close, even in the same turn; it may be closed and
//    destroyed inside any event, its own included.
//  * Received bytes are lent: the span is writable and valid until OnReceive returns. It lies in
//    receive_block(), unless it lies in the socket's own receive space. One turn receives at most
//    once for each socket, so a busy one cannot starve the others; but where that has filled the
//    block, it may receive once more, into a space that the socket has by then.
//  * Send keeps no reference to lent memory: what it could not pass on of it stays in the queue as
//    an owned copy.
//  * An end (OnReceiveEnd), an error and a connect's outcome are each reported once.
//  * Datagrams are lent in the same way, those of a turn in one OnDatagrams, of which the number is
//    bounded. What arrives after StopReceiving waits in the system. SendDatagrams keeps no
//    reference either; what it did not take is the caller's to keep.
#ifndef SLUICE_CORE_POLLER_H_
#define SLUICE_CORE_POLLER_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/internal/pipe.h"
#include "sluice/core/monotonic_time.h"

namespace sluice {

class Block;
class Buffer;
class SocketAddress;
struct DatagramOptions;
struct DatagramsSent;
struct MulticastGroup;
struct OutgoingDatagram;
struct ReceivedDatagram;

// Which engine. kAuto is epoll on Linux, kqueue on macOS and the BSDs; kIoUring is asked for by
// name only.
enum class PollerKind : uint8_t { kAuto, kEpoll, kIoUring, kKqueue };

absl::string_view PollerKindName(PollerKind kind);

// Options of sockets, for those an acceptor makes and for connecting ones. Unix sockets ignore the
// TCP ones.
struct SocketOptions {
  bool no_delay = true;           // TCP_NODELAY
  bool keep_alive = false;        // SO_KEEPALIVE, with the three values below where they are not 0
  int keep_alive_idle_s = 0;      // TCP_KEEPIDLE
  int keep_alive_interval_s = 0;  // TCP_KEEPINTVL
  int keep_alive_probes = 0;      // TCP_KEEPCNT
  int send_buffer_bytes = 0;      // SO_SNDBUF, 0: the system's
  int receive_buffer_bytes = 0;   // SO_RCVBUF, 0: the system's
};

struct ListenOptions {
  SocketOptions socket = {};
  int backlog = 4096;
  // SO_REUSEPORT: sockets of one user listen on the same port, and the system spreads the
  // connections over them. kJoin does so whoever came first; kFirst binds alone, so that a port in
  // use is an error, and then lets others join.
  enum class ReusePort : uint8_t { kNo, kFirst, kJoin };
  ReusePort reuse_port = ReusePort::kNo;
  bool ipv6_only = false;  // IPV6_V6ONLY
};

class Poller {
 public:
  // A connected or connecting socket, or one of datagrams, as an engine sees it: the base of what
  // owns it.
  class Socket {
   public:
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;

    // The connect has succeeded (0) or failed (errno); after a failure the socket is to be closed.
    virtual void OnConnect(int error) = 0;
    // Bytes have arrived.
    virtual void OnReceive(absl::Span<uint8_t> bytes) = 0;
    // The peer has ended its half.
    virtual void OnReceiveEnd() = 0;
    // After a Send, SendPipe or SendFile that left something: it may be called again.
    virtual void OnSendReady() = 0;
    // The socket is broken (errno: ECONNRESET, ETIMEDOUT, ...) and is to be closed.
    virtual void OnError(int error) = 0;
    // Where the next bytes are wanted. Asked only while set_has_receive_space(true).
    virtual absl::Span<uint8_t> ReceiveSpace() { return {}; }
    // Bytes have arrived, and are in the pipe. Called only while set_receives_pipes(true), and even
    // then an engine that has no pipe, or none to spare, calls OnReceive.
    virtual void OnReceivePipe(internal::PipePtr /*pipe*/) {}

    // Of sockets of datagrams only, which of the above get OnSendReady and OnError.

    // Datagrams have arrived, at least one.
    virtual void OnDatagrams(absl::Span<const ReceivedDatagram> /*datagrams*/) {}
    // What was sent to `peer` (no address: not known) has not got there, or the socket has failed
    // to receive (errno). It goes on.
    virtual void OnDatagramError(int /*error*/, const SocketAddress& /*peer*/) {}

   protected:
    Socket() = default;
    virtual ~Socket() = default;

   private:
    friend class Poller;
    int32_t handle_ = -1;  // the engine's: a descriptor, an index
    uint32_t flags_ = 0;   // the engine's
  };

  // An accepted socket on its way to its owner. Closed when it is not attached.
  class Accepted {
   public:
    Accepted(Poller& poller, int32_t handle) : poller_(&poller), handle_(handle) {}
    Accepted(Accepted&& other) noexcept : poller_(other.poller_), handle_(other.Release()) {}
    Accepted& operator=(Accepted&&) = delete;
    ~Accepted();
    int32_t Release() {
      const int32_t handle = handle_;
      handle_ = -1;
      return handle;
    }

   private:
    Poller* poller_;
    int32_t handle_;
  };

  // A listening socket.
  class Acceptor {
   public:
    Acceptor(const Acceptor&) = delete;
    Acceptor& operator=(const Acceptor&) = delete;
    virtual void OnAccept(Accepted accepted, const SocketAddress& peer) = 0;
    // Accepting failed for want of descriptors or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM). With
    // its reserve descriptor the engine has accepted and closed `shed` connections. The owner
    // should pause accepting for a while.
    virtual void OnAcceptError(int error, int shed) = 0;

   protected:
    Acceptor() = default;
    virtual ~Acceptor() = default;

   private:
    friend class Poller;
    int32_t handle_ = -1;
    uint32_t flags_ = 0;
  };

  Poller() = default;
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;
  virtual ~Poller() = default;

  virtual absl::string_view name() const = 0;

  // The engine's clock: CLOCK_MONOTONIC, or a simulation's.
  virtual MonotonicTime Now() = 0;

  // Whether that clock runs by itself, as a simulation's does not: while a loop looks for events
  // without waiting, its time passes.
  virtual bool clock_runs() const { return false; }

  // Waits for events until `deadline` (a time in the past, such as MonotonicTime(): looks only),
  // delivers those of one turn, and returns how many there were. Returns early after Wake, which is
  // an event, too, where the clock runs.
  virtual size_t Wait(MonotonicTime deadline) = 0;

  // Makes the current or the next Wait return at once. Thread-safe and async-signal-safe.
  virtual void Wake() = 0;

  // Errors: kInvalidArgument, kAlreadyExists (address in use), kPermissionDenied,
  // kResourceExhausted, ...; they name the address. The file that a Unix address makes goes with
  // the acceptor's Close, unless another one has taken its path.
  virtual absl::Status Listen(Acceptor& acceptor, const SocketAddress& address,
                              const ListenOptions& options) = 0;
  // A further acceptor on the socket that `other`, of another loop's poller of the same kind,
  // listens on.
  virtual absl::Status ListenShared(Acceptor& acceptor, const Acceptor& other) = 0;
  virtual void PauseAccepting(Acceptor& acceptor) = 0;
  virtual void ResumeAccepting(Acceptor& acceptor) = 0;
  virtual void Close(Acceptor& acceptor) = 0;
  virtual SocketAddress LocalAddress(const Acceptor& acceptor) const = 0;

  // Starts to connect; the outcome is reported to OnConnect, unless it is an error already now.
  virtual absl::Status Connect(Socket& socket, const SocketAddress& address,
                               const SocketOptions& options) = 0;
  virtual void Attach(Socket& socket, Accepted accepted) = 0;

  // Whether bytes are wanted. A new socket does not receive.
  virtual void StartReceiving(Socket& socket) = 0;
  virtual void StopReceiving(Socket& socket) = 0;

  // Sends from the front of `queue`. Returns 0, or the errno of a broken socket. What the transport
  // has taken is drained from the queue; when something is left, OnSendReady follows, and Send must
  // not be called before it.
  virtual int Send(Socket& socket, Buffer& queue) = 0;

  // What a SendFile has done.
  struct FileSent {
    size_t bytes = 0;         // taken by the transport
    int error = 0;            // the errno of a broken socket, or of a file that cannot be read
    bool file_ended = false;  // the file has no more bytes: it has become shorter
  };

  // Sends `length` bytes, at least one, of a regular file from `offset` on: as many as the
  // transport takes, but no more in one turn than leaves the others theirs. When these are not all,
  // and there is nothing wrong, OnSendReady follows, and neither Send nor SendFile must be called
  // before it. Reading the file may wait for a disk.
  virtual FileSent SendFile(Socket& socket, int file, uint64_t offset, size_t length) = 0;

  // As Send, from a pipe that OnReceivePipe has given. An errno for which RefusesPipes is true
  // says that the bytes must leave in another way.
  virtual int SendPipe(Socket& socket, internal::Pipe& pipe);

  // So much of what was sent the peer's system has not taken yet, more or less: while the peer
  // takes it, it changes, which OnSendReady does not tell, as a system waits for a lot of room (a
  // third of its buffer on Linux, which for a slow peer is long). 0 where the system does not say.
  virtual size_t UnacknowledgedBytes(const Socket& /*socket*/) const { return 0; }

  // FIN, once everything sent has left.
  virtual void ShutdownSend(Socket& socket) = 0;

  // Ends the socket: with a reset when `abort`, else as close(2) does. The socket may be destroyed
  // at once. No-op on a closed one.
  virtual void Close(Socket& socket, bool abort) = 0;

  virtual SocketAddress LocalAddress(const Socket& socket) const = 0;

  // Datagrams: a Socket that is opened by OpenDatagrams, and for which StartReceiving,
  // StopReceiving, Close and LocalAddress are as for others. An engine that knows none answers
  // kUnimplemented.

  // Bound to `local`. Errors: as Listen.
  virtual absl::Status OpenDatagrams(Socket& socket, const SocketAddress& local,
                                     const DatagramOptions& options);
  // From now on only datagrams of `peer` arrive.
  virtual absl::Status ConnectDatagrams(Socket& socket, const SocketAddress& peer);
  // Sends them in their order. With EAGAIN, OnSendReady follows.
  virtual DatagramsSent SendDatagrams(Socket& socket, absl::Span<const OutgoingDatagram> datagrams);
  virtual absl::Status JoinGroup(Socket& socket, const MulticastGroup& group);
  virtual absl::Status LeaveGroup(Socket& socket, const MulticastGroup& group);
  // How many have arrived for the socket and were dropped by the system, for want of room above
  // all. 0 where it does not tell.
  virtual uint64_t DroppedDatagrams(const Socket& /*socket*/) const { return 0; }

  // The block in which lent bytes lie during OnReceive.
  Block& receive_block() const { return *receive_block_; }

  static bool is_open(const Socket& socket) { return socket.handle_ >= 0; }
  static void set_has_receive_space(Socket& socket, bool has) {
    SetFlag(socket, kHasReceiveSpace, has);
  }
  static void set_receives_pipes(Socket& socket, bool receives) {
    SetFlag(socket, kReceivesPipes, receives);
  }

  // Whether this is the system's way to say that it does not splice such sockets.
  static bool RefusesPipes(int error);

 protected:
  // The low bits of a socket's flags; the others belong to the engine.
  static constexpr uint32_t kHasReceiveSpace = 1 << 0;
  static constexpr uint32_t kReceivesPipes = 1 << 1;

  static int32_t& handle(Socket& socket) { return socket.handle_; }
  static int32_t handle(const Socket& socket) { return socket.handle_; }
  static uint32_t& flags(Socket& socket) { return socket.flags_; }
  static int32_t& handle(Acceptor& acceptor) { return acceptor.handle_; }
  static int32_t handle(const Acceptor& acceptor) { return acceptor.handle_; }
  static uint32_t& flags(Acceptor& acceptor) { return acceptor.flags_; }
  static uint32_t flags(const Acceptor& acceptor) { return acceptor.flags_; }

  // Set by the engine: once, or before each OnReceive.
  void set_receive_block(Block& block) { receive_block_ = &block; }

  virtual void CloseAccepted(int32_t handle) = 0;

 private:
  static void SetFlag(Socket& socket, uint32_t flag, bool on) {
    socket.flags_ = on ? socket.flags_ | flag : socket.flags_ & ~flag;
  }

  Block* receive_block_ = nullptr;
};

}  // namespace sluice

#endif  // SLUICE_CORE_POLLER_H_
