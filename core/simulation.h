// SimulatedNetwork is a network of any number of hosts in one process, on one thread, with one
// clock that is virtual and one seed. Each host has an EventLoop; Listener, Connector, TcpStream
// and UdpSocket run on it unchanged, and so does everything that stands on them. What a real
// network does at the worst moment, it does on demand or by chance: delay, loss, resets,
// partitions, short sends and receives, connects that are refused or never answered, datagrams that
// come twice or in another order, hosts that run out of descriptors, stall or crash. The same seed
// gives the same run, byte for byte.
//
// Example: an echo whose network breaks for ten seconds.
//
//   Echo echo;  // before the network: it hears of the loops' end
//   sluice::SimulatedNetwork network(/*seed=*/7);
//   sluice::SimulatedHost& server = network.AddHost("server");
//   sluice::SimulatedHost& client = network.AddHost("client");
//   network.SetLink(server, client, {.latency = absl::Milliseconds(20), .loss = 0.01});
//   auto listener = sluice::Listener::Listen(
//       server.loop(), server.Address(9000), {},
//       [&](std::unique_ptr<sluice::Stream> s) { sluice::Stream::Run(std::move(s), echo); });
//   sluice::Connector connector(client.loop());
//   connector.Connect(server.Address(9000), {}, [&](auto stream) { talker.Start(*stream); });
//   network.After(absl::Seconds(5), [&] { network.Partition(server, client); });
//   network.After(absl::Seconds(15), [&] { network.Heal(server, client); });
//   EXPECT_TRUE(network.RunUntil([&] { return talker.done(); }, absl::Minutes(1)))
//       << network.Describe();
//
// tests/simulation/chat_test.cc is a whole one: a chat server, its clients, and its tests against a
// partition.
//
// Time. The clock stands still while callbacks run, but that a turn of a loop takes a microsecond;
// when no loop has anything to do, it jumps to the next arrival or timer. So an hour takes as long
// as what happens in it. Loops that have something to do at the same instant run in an order drawn
// from the seed. RunUntil and RunFor run all loops; EventLoop's own Run, RunUntil and RunOnce work
// too, and run the other hosts' loops while theirs waits. Other threads do not
// share this time: a wait with a deadline does not wait for what they do; one without end, on a
// network in which nothing will happen, waits for a Wake from one of them.
//
// Connections are as TCP's between two Linux systems: a send buffer, a receive window and
// back-pressure; an end after all bytes; a reset on Abort, and on Close with unread bytes, and in
// answer to bytes for a closed socket. Loss costs time (a retransmission), never bytes; bytes that
// cannot get through for `give_up_after` end their connection with ETIMEDOUT. Not simulated: the
// congestion window, keep-alive, no_delay. A connect within a host is answered at once, and its
// link is perfect unless SetLink says otherwise. Unix addresses are names within their host,
// not files; a connect to one at which nobody listens fails as to a file that is not there.
//
// Datagrams are as UDP's. What is lost, sent into a partition or under way when one begins, or sent
// to a machine that has crashed, does not arrive, and nobody hears of it. Each finds its own way:
// jitter lets one overtake another. A send buffer holds what a link has not passed on yet, a
// receive buffer what nobody has taken, at 256 bytes for each beside its own; for what finds it
// full there is a counter. A port at which nobody is answers as ICMP does, by an error at the
// sender; an address that nobody has by one after three seconds. IPv4 peers of an IPv6 socket have
// mapped addresses. Sockets that share a port share the senders, by their addresses. A datagram for
// a multicast group goes to each host, with its link's chances, and there to the members of that
// group on that port; each host has an interface eth0 to the others, and one called lo. Not
// simulated: sizes that links cannot pass on, fragments, broadcasts, routers (a TTL of 1 reaches
// every host), segmentation offload.
//
// What an OnReceive or OnDatagrams lends is overwritten when it returns, so that a reader that
// comes too late shows.
//
// Determinism ends where a test's own code looks at real time, threads, addresses of memory or
// another source of random numbers; use Random().
//
// Loop-bound: all of it, and all its loops, on one thread.
//
// Lifetime: the network owns hosts and loops. Listeners and connectors go before it, handlers after
// it: streams that are left when it is destroyed get OnClose(kCancelled).
#ifndef SLUICE_CORE_SIMULATION_H_
#define SLUICE_CORE_SIMULATION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/poller.h"
#include "sluice/core/socket_address.h"

namespace sluice {

namespace internal {
class SimulatedWorld;
struct SimulatedHostState;
}  // namespace internal

// How the way between two hosts behaves, in both directions. A chance is from 0 to 1.
struct SimulatedLink {
  absl::Duration latency = absl::Microseconds(100);  // of each segment or datagram,
  absl::Duration jitter = absl::ZeroDuration();      // and up to so much more. Segments of one
                                                     // connection keep their order; those of two,
                                                     // and datagrams, overtake one another.
  double bytes_per_second = 0;                       // of each direction; 0: as many as come
  // Of a segment: it arrives 200 ms later, twice lost 400 ms more, ... Of a datagram: for ever.
  double loss = 0;
  double reset = 0;      // of a connection, with each segment: both ends see ECONNRESET
  double refuse = 0;     // of a connect: ECONNREFUSED
  double ignore = 0;     // of a connect: no answer, and ETIMEDOUT after two minutes
  double duplicate = 0;  // of a datagram: it arrives twice, each time with a jitter of its own
  double reorder = 0;    // of a datagram: it arrives later, by once more its latency and 1 ms
  // Partitions that come by themselves: so long apart on average, each lasting up to so long.
  absl::Duration partition_every = absl::InfiniteDuration();
  absl::Duration partition_for = absl::Seconds(10);
};

struct SimulatedHostOptions {
  int descriptors = 1'000'000;  // listeners, connections and sockets of datagrams; then EMFILE
  double short_send = 0;  // a Send takes only some of the bytes (datagrams) that there is room for
  double short_receive = 0;  // a receive brings only some of the bytes (datagrams) that are there
  // Of sockets that ask for no others. At least 4 KiB.
  size_t send_buffer_bytes = 256 * 1024;
  size_t receive_buffer_bytes = 256 * 1024;
  // Stalls that come by themselves: so long apart on average, each lasting up to so long.
  absl::Duration stall_every = absl::InfiniteDuration();
  absl::Duration stall_for = absl::Seconds(10);
};

class SimulatedHost {
 public:
  SimulatedHost(const SimulatedHost&) = delete;
  SimulatedHost& operator=(const SimulatedHost&) = delete;
  ~SimulatedHost();

  EventLoop& loop();
  const std::string& name() const;
  // Where the host is for others. Within it the loopback addresses lead to it as well.
  SocketAddress Address(uint16_t port) const;

  // Sizes of buffers are for sockets to come. A stall that is on stays until Resume.
  void set_options(const SimulatedHostOptions& options);

  // The process stops for a while (SIGSTOP, a debugger, a long computation): its loop does not run,
  // and its peers are held back by full buffers.
  void Stall();
  void Resume();

  // The process dies, and its system resets the connections and refuses new ones; or the whole
  // machine does, and nobody answers. Its loop never runs again, so what belongs to it is to be
  // destroyed as after any run. AddHost of the same name brings up a successor, which has its
  // links, and answers the old connections with resets. Not to be called in a callback of the
  // host's own loop, nor for a host of which the caller runs, or has run, a loop itself (by
  // EventLoop's Run, RunUntil or RunOnce, or over NewPoller); both are checked.
  enum class Crash : uint8_t { kProcess, kMachine };
  void CrashNow(Crash crash);

  // Listeners, connections and sockets of datagrams that are open.
  int descriptors() const;

  // A further engine on this host for a loop of the caller's, which drives it; the network's own
  // RunUntil does not. It goes before the network.
  std::unique_ptr<Poller> NewPoller();

 private:
  friend class SimulatedNetwork;
  SimulatedHost(internal::SimulatedWorld& world, std::unique_ptr<internal::SimulatedHostState>);

  internal::SimulatedWorld& world_;
  const std::unique_ptr<internal::SimulatedHostState> state_;
};

class SimulatedNetwork {
 public:
  struct Options {
    SimulatedLink link = {};         // between hosts for which SetLink was not called
    SimulatedHostOptions host = {};  // of hosts that are added without any
    absl::Duration give_up_after = absl::Minutes(15);
    bool trace = false;
  };

  explicit SimulatedNetwork(uint64_t seed) : SimulatedNetwork(seed, Options()) {}
  SimulatedNetwork(uint64_t seed, const Options& options);
  ~SimulatedNetwork();
  SimulatedNetwork(const SimulatedNetwork&) = delete;
  SimulatedNetwork& operator=(const SimulatedNetwork&) = delete;

  // `name` is an IP address, or any name, which gets one: 10.0.0.1, 10.0.0.2, ... Names and
  // addresses are unique among the hosts that have not crashed.
  SimulatedHost& AddHost(absl::string_view name);
  SimulatedHost& AddHost(absl::string_view name, const SimulatedHostOptions& options);

  // For what is sent from now on. A partition that is on stays until Heal.
  void SetLink(SimulatedHost& a, SimulatedHost& b, const SimulatedLink& link);

  // Nothing passes between the two hosts from now on until Heal; what is under way is sent again
  // and again, at most 2 s apart (but datagrams are lost), and so is the question whether a peer
  // with a full window is still there.
  void Partition(SimulatedHost& a, SimulatedHost& b);
  void Heal(SimulatedHost& a, SimulatedHost& b);

  // Breaks the connections between the two hosts: both ends see ECONNRESET, and what is under way
  // is lost.
  void ResetConnections(SimulatedHost& a, SimulatedHost& b);

  // Runs `function` when so much time has passed: outside of all loops, but inside the wait of one
  // that runs by itself.
  void After(absl::Duration time, absl::AnyInvocable<void()> function);

  // Runs all loops until `done` returns true, asked before each step, or `timeout` has passed, or,
  // when that is infinite, nothing can happen any more. Returns what `done` returned last.
  bool RunUntil(absl::FunctionRef<bool()> done, absl::Duration timeout);
  void RunFor(absl::Duration time);

  MonotonicTime now() const;
  uint64_t seed() const;

  // A number from 0 to `bound` - 1, drawn from the seed.
  uint64_t Random(uint64_t bound);

  // Connections of which an end is still open.
  size_t connections() const;

  // With Options::trace, what happened so far, a line for each event: time, connection, event. The
  // same for each run of a seed.
  const std::string& trace() const;
  void Note(absl::string_view line);  // adds a line

  // The seed, the time, and the end of the trace: for the message of a failing test.
  std::string Describe() const;

 private:
  const std::unique_ptr<internal::SimulatedWorld> world_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_SIMULATION_H_
