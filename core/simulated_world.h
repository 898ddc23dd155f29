// What the parts of the simulation share: the world (clock, seed, events, hosts, links), and the
// connections in it. simulation.h says what they do.
#ifndef SLUICE_CORE_SIMULATED_WORLD_H_
#define SLUICE_CORE_SIMULATED_WORLD_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sluice/core/buffer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/internal/block.h"
#include "sluice/core/internal/split_mix.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/poller.h"
#include "sluice/core/simulated_datagrams.h"
#include "sluice/core/simulation.h"
#include "sluice/core/socket_address.h"

namespace sluice::internal {

class SimulatedPoller;
struct SimulatedConnection;

// A listening socket: what several acceptors may share.
struct SimulatedListenQueue {
  SocketAddress address;
  ListenOptions options;
  std::deque<uint64_t> waiting;  // connections that are to be accepted
  std::vector<std::pair<SimulatedPoller*, int32_t>> acceptors;
};

struct SimulatedHostState {
  int index;  // for links: a successor has that of the host which has crashed
  std::string name;
  std::vector<SocketAddress> addresses;  // with port 0
  SimulatedHostOptions options;
  int descriptors = 0;
  uint16_t next_port = 49152;
  // By address; of those that share a port, in their order.
  std::map<std::string, std::vector<std::shared_ptr<SimulatedListenQueue>>> listeners;
  // By port, in the order of their opening.
  std::map<uint16_t, std::vector<SimulatedDatagramSocket*>> datagram_sockets;
  std::vector<SimulatedPoller*> pollers;
  SimulatedPoller* poller = nullptr;  // the loop's
  std::unique_ptr<EventLoop> loop;
  bool stalled = false;
  uint64_t stall_version = 0;  // stalls of options that were replaced do not come
  bool crashed = false;
  bool silent = false;        // nobody answers for it
  bool run_by_owner = false;  // one of its loops was, not by a Step

  uint16_t NextPort() {
    const uint16_t port = next_port;
    next_port = port == 65535 ? 49152 : static_cast<uint16_t>(port + 1);
    return port;
  }
  // Whether one can listen at `address` here.
  bool Has(const SocketAddress& address) const;
};

// One direction of a connection.
struct SimulatedFlow {
  struct Segment {
    enum class Kind : uint8_t { kSyn, kSynAck, kRefused, kBytes, kEnd, kReset };
    Kind kind;
    MonotonicTime arrival;
    Buffer bytes;
  };

  Buffer unsent;                  // in the sender's system
  std::deque<Segment> under_way;  // in the order in which they arrive
  Buffer unread;                  // in the receiver's system
  size_t send_room = 0;           // how much `unsent` may hold
  size_t window = 0;              // how much may be under way and unread,
  size_t window_used = 0;         // is, as far as the sender knows,
  size_t newly_read = 0;          // and was, which it does not know yet
  bool update_under_way = false;
  bool arrival_scheduled = false;
  bool end_wanted = false;   // after `unsent`
  bool end_sent = false;     // is under way, or has arrived
  bool end_arrived = false;  // behind `unread`
  MonotonicTime last_arrival;
  int tries = 0;  // of the first segment under way, that did not get through
  MonotonicTime first_try;
};

struct SimulatedEnd {
  SimulatedHostState* host = nullptr;
  SimulatedPoller* poller = nullptr;  // null: in a listener's queue, or closed
  Poller::Socket* socket = nullptr;
  int32_t handle = -1;
  SocketAddress local;
  bool open = false;      // somebody owns it, or will
  bool vanished = false;  // its machine has crashed
  bool connecting = false;
  bool answered = false;  // the connect's outcome is there: `error`
  bool receiving = false;
  bool send_blocked = false;
  bool ready_owed = false;
  bool end_told = false;
  bool dead = false;  // broken: nothing can be sent
  bool reset_sent = false;
  int error = 0;  // to be told
};

struct SimulatedConnection {
  uint64_t id;
  SimulatedEnd ends[2];    // 0 has connected, 1 has accepted
  SimulatedFlow flows[2];  // [i] is sent by ends[i]
  SocketAddress target;    // that was connected to
};

class SimulatedWorld {
 public:
  SimulatedWorld(uint64_t seed, const SimulatedNetwork::Options& options);
  ~SimulatedWorld();

  // Time and chance.

  MonotonicTime now() const { return now_; }
  uint64_t seed() const { return seed_; }
  uint64_t Below(uint64_t bound);
  bool Chance(double chance);
  absl::Duration UpTo(absl::Duration most);
  template <typename T>
  void Shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[Below(i)]);
  }

  void At(MonotonicTime time, absl::AnyInvocable<void()> function);

  // Lets what is due happen; then runs the loops that have something to do, but not that of
  // `waiting`; or, if none has, moves the clock to what comes next, at most to `deadline`. False
  // when there is nothing before that.
  bool Step(MonotonicTime deadline, const SimulatedPoller* waiting);
  void RunDue();
  // Whose loop runs in a Step; null: none, or one that its owner runs.
  const SimulatedHostState* running() const { return running_; }
  void PassTurn() { now_ += absl::Microseconds(1); }

  // The trace.

  template <typename... Args>
  void Trace(const Args&... args) {
    if (options_.trace) AppendTrace(absl::StrCat(args...));
  }
  const std::string& trace() const { return trace_; }

  // Hosts and links.

  SimulatedHostState& AddHost(std::unique_ptr<SimulatedHost> host, SimulatedHostState& state);
  std::vector<SocketAddress> AddressesFor(absl::string_view name);
  SimulatedHostState* HostAt(const SocketAddress& address) const;
  const std::vector<SimulatedHostState*>& hosts() const { return states_; }
  struct Link {
    SimulatedLink options;
    bool partitioned = false;
    uint64_t version = 0;        // partitions of links that were replaced do not come
    MonotonicTime free_from[2];  // when a direction has passed on what it was given
  };
  Link& LinkOf(int a, int b);
  // Gives one direction so many bytes; returns when it has passed them on.
  MonotonicTime Depart(Link& link, int direction, size_t bytes);
  void SetLink(int a, int b, const SimulatedLink& link);
  void SetPartition(int a, int b, bool partitioned);
  void SetStalled(SimulatedHostState& host, bool stalled);
  void Crash(SimulatedHostState& host, bool silent);
  void ScheduleStall(SimulatedHostState& host);
  const SimulatedNetwork::Options& options() const { return options_; }
  Block& receive_block() { return *receive_block_; }
  SimulatedDatagrams& datagrams() { return datagrams_; }

  // Connections. `side` is the end that acts.

  // Returns the handle.
  absl::StatusOr<int32_t> Connect(SimulatedPoller& poller, Poller::Socket& socket,
                                  const SocketAddress& address, const SocketOptions& options);
  int Send(SimulatedConnection& connection, int side, Buffer& queue);
  void ShutdownSend(SimulatedConnection& connection, int side);
  void Close(SimulatedConnection& connection, int side, bool abort);
  void HaveRead(SimulatedConnection& connection, int side, size_t bytes);
  void ResetConnections(int a, int b);
  void CloseListener(SimulatedHostState& host, SimulatedListenQueue& queue);
  SimulatedConnection* Find(uint64_t id);
  size_t connections() const { return connections_.size(); }

 private:
  friend class ::sluice::SimulatedNetwork;
  using Segment = SimulatedFlow::Segment;

  struct Event {
    MonotonicTime time;
    uint64_t sequence;
    absl::AnyInvocable<void()> run;
  };
  static bool Later(const Event& a, const Event& b) {
    return a.time != b.time ? a.time > b.time : a.sequence > b.sequence;
  }
  void AppendTrace(absl::string_view line);
  MonotonicTime NextEvent() const;
  void SchedulePartition(int a, int b);
  static bool Joins(const SimulatedConnection& connection, int a, int b);
  bool Partitioned(const SimulatedConnection& connection);

  void SetBuffers(SimulatedConnection& connection, int side, const SocketOptions& options);
  void StartToConnect(SimulatedConnection& connection);
  void FailToConnect(SimulatedConnection& connection, int error, absl::Duration after);
  void Launch(SimulatedConnection& connection, int side);
  void Probe(SimulatedConnection& connection, int side);
  void Put(SimulatedConnection& connection, int side, Segment::Kind kind, Buffer bytes = {});
  void ScheduleArrival(SimulatedConnection& connection, int side);
  void Arrive(uint64_t id, int side);
  bool GetsThrough(SimulatedConnection& connection, int side);
  void TryAgainLater(SimulatedConnection& connection, int side, absl::Duration first,
                     absl::Duration most, absl::Duration give_up);
  void Take(SimulatedConnection& connection, int from, Segment segment);
  void TakeSyn(SimulatedConnection& connection);
  void SendReset(SimulatedConnection& connection, int side);
  void Break(SimulatedConnection& connection, int side, int error);
  void ScheduleWindowUpdate(SimulatedConnection& connection, int side);
  void UpdateWindow(uint64_t id, int side);
  void EraseIfOver(SimulatedConnection& connection);

  const uint64_t seed_;
  const SimulatedNetwork::Options options_;
  SplitMix64 random_;
  // Not the epoch: a loop takes a deadline at the epoch for one that has passed.
  MonotonicTime now_ = MonotonicTime() + absl::Hours(1);
  const MonotonicTime start_ = now_;
  uint64_t next_sequence_ = 0;
  std::vector<Event> events_;  // a heap
  const SimulatedHostState* running_ = nullptr;
  std::string trace_;

  const BlockPtr receive_block_;
  std::vector<std::unique_ptr<SimulatedHost>> hosts_;
  std::vector<SimulatedHostState*> states_;
  std::map<std::string, SimulatedHostState*> by_address_;
  int next_address_ = 1;
  std::map<std::pair<int, int>, Link> links_;
  uint64_t next_connection_ = 1;
  std::map<uint64_t, std::unique_ptr<SimulatedConnection>> connections_;
  SimulatedDatagrams datagrams_{*this};
};

// The engine of one loop.
class SimulatedPoller final : public Poller {
 public:
  SimulatedPoller(SimulatedWorld& world, SimulatedHostState& host) : world_(world), host_(host) {
    set_receive_block(world.receive_block());
    host.pollers.push_back(this);
  }
  ~SimulatedPoller() override;

  absl::string_view name() const override { return "simulated"; }
  MonotonicTime Now() override { return world_.now(); }
  size_t Wait(MonotonicTime deadline) override;
  void Wake() override;

  absl::Status Listen(Acceptor& acceptor, const SocketAddress& address,
                      const ListenOptions& options) override;
  absl::Status ListenShared(Acceptor& acceptor, const Acceptor& other) override;
  void PauseAccepting(Acceptor& acceptor) override;
  void ResumeAccepting(Acceptor& acceptor) override;
  void Close(Acceptor& acceptor) override;
  SocketAddress LocalAddress(const Acceptor& acceptor) const override;

  absl::Status Connect(Socket& socket, const SocketAddress& address,
                       const SocketOptions& options) override;
  void Attach(Socket& socket, Accepted accepted) override;
  void StartReceiving(Socket& socket) override;
  void StopReceiving(Socket& socket) override;
  int Send(Socket& socket, Buffer& queue) override;
  FileSent SendFile(Socket& socket, int file, uint64_t offset, size_t length) override;
  size_t UnacknowledgedBytes(const Socket& socket) const override;
  void ShutdownSend(Socket& socket) override;
  void Close(Socket& socket, bool abort) override;
  SocketAddress LocalAddress(const Socket& socket) const override;

  // In simulated_datagram_poller.cc.
  absl::Status OpenDatagrams(Socket& socket, const SocketAddress& local,
                             const DatagramOptions& options) override;
  absl::Status ConnectDatagrams(Socket& socket, const SocketAddress& peer) override;
  DatagramsSent SendDatagrams(Socket& socket,
                              absl::Span<const OutgoingDatagram> datagrams) override;
  absl::Status JoinGroup(Socket& socket, const MulticastGroup& group) override;
  absl::Status LeaveGroup(Socket& socket, const MulticastGroup& group) override;
  uint64_t DroppedDatagrams(const Socket& socket) const override;

  // For the world.

  SimulatedHostState& host() const { return host_; }
  bool has_work() const { return !ready_.empty() || woken_.load(std::memory_order_relaxed) != 0; }
  // A handle of this host for an end of a connection.
  int32_t Open(SimulatedConnection& connection, int side);
  void Queue(int32_t handle);
  void QueueIfReady(SimulatedEnd& end, const SimulatedFlow& in);
  void QueueIfReady(const SimulatedDatagramSocket& socket);
  // The host has crashed: what is open is no more.
  void ForgetAll() {
    targets_.clear();
    ready_.clear();
  }

 protected:
  void CloseAccepted(int32_t handle) override;

 private:
  // What a handle stands for.
  struct Target {
    uint64_t connection = 0;
    int side = 0;
    Acceptor* acceptor = nullptr;
    std::shared_ptr<SimulatedListenQueue> queue;
    uint64_t datagrams = 0;  // a socket of datagrams, if it is one
    bool queued = false;
  };
  struct Ends {
    SimulatedConnection& connection;
    SimulatedEnd& mine;
    SimulatedFlow& in;
    int side;
  };

  absl::Status OpenAcceptor(Acceptor& acceptor, std::shared_ptr<SimulatedListenQueue> queue);
  std::optional<Ends> EndsOf(int32_t handle);
  // Null where the handle is nothing, or something else.
  SimulatedDatagramSocket* DatagramsOf(int32_t handle) const;
  void CloseHandle(int32_t handle, bool abort);
  size_t DeliverTurn();
  size_t Deliver(int32_t handle);
  size_t DeliverReceive(const Ends& ends);
  size_t DeliverAccepts(int32_t handle);
  size_t DeliverDatagrams(int32_t handle);
  void DeliverBatch(SimulatedDatagramSocket& socket);
  int Shed(SimulatedListenQueue& queue);

  SimulatedWorld& world_;
  SimulatedHostState& host_;
  std::unordered_map<int32_t, Target> targets_;  // looked up only, never walked
  int32_t next_handle_ = 0;
  std::vector<int32_t> ready_;
  std::atomic<int> woken_{0};
};

}  // namespace sluice::internal

#endif  // SLUICE_CORE_SIMULATED_WORLD_H_
