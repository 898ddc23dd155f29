// DatagramOps receives and sends datagrams for one engine over the system's sockets: in batches
// (recvmmsg, sendmmsg), with runs of datagrams of one size and peer as one message that the system
// splits (UDP_SEGMENT), and with what it has joined (UDP_GRO) taken apart. It waits for nothing: it
// is called when a socket is ready.
//
// Example:
//   DatagramOps ops(DatagramOps::Calls::kBatched);
//   absl::StatusOr<UniqueFd> fd = OpenDatagramSocket(local, options);
//   ops.Add(fd->get(), options);
//   int error = 0;
//   socket.OnDatagrams(ops.Receive(fd->get(), error));
//
// One batch of memory serves all sockets of an engine: 64 places of 64 KiB, of which the system
// backs only those pages that datagrams have reached so far.
//
// Loop-bound. Source: udp(7), recvmmsg(2).
#ifndef SLUICE_CORE_INTERNAL_DATAGRAM_OPS_H_
#define SLUICE_CORE_INTERNAL_DATAGRAM_OPS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "absl/types/span.h"
#include "sluice/core/datagram.h"

namespace sluice::internal {

class DatagramOps {
 public:
  // kSingle: recvmsg and sendmsg in a loop, for systems that have no calls for many, or have them
  // as such a loop in their library.
  enum class Calls : uint8_t { kBatched, kSingle };

  explicit DatagramOps(Calls calls);
  ~DatagramOps();
  DatagramOps(const DatagramOps&) = delete;
  DatagramOps& operator=(const DatagramOps&) = delete;

  // A bound socket is known here until Forget, which comes before its close.
  void Add(int fd, const DatagramOptions& options);
  void Forget(int fd) { sockets_.erase(fd); }

  // What one turn brings; valid until the next call. `error` is 0 when there may be more, EAGAIN
  // when there is not, and else why there are none.
  absl::Span<const ReceivedDatagram> Receive(int fd, int& error);

  // As Poller::SendDatagrams.
  DatagramsSent Send(int fd, absl::Span<const OutgoingDatagram> datagrams);

 private:
  struct State {
    size_t max_bytes;
    // Runs of datagrams of up to this size may be sent as one message; 0: none, as a network card
    // has been met that cannot split. A way that takes only smaller ones may refuse them, too.
    size_t segment_limit;
    size_t places;  // how many the next receive offers
    uint16_t port;
    uint8_t dscp;  // of what is sent, in its place in the octet
    bool wants_control;
  };
  struct ReceiveBatch;
  struct SendBatch;

  int ReceiveMessages(int fd, const State& state);
  size_t TakeControl(const State& state, size_t place, ReceivedDatagram& datagram);
  void Unpack(const State& state, size_t place);
  size_t WriteMessages(absl::Span<const OutgoingDatagram> datagrams, size_t segment_limit,
                       uint8_t dscp);
  int SendMessages(int fd, size_t first, size_t end);

  const Calls calls_;
  std::unordered_map<int, State> sockets_;
  std::unique_ptr<ReceiveBatch> receive_;  // from the first receive on
  std::unique_ptr<SendBatch> send_;        // from the first send on
  std::vector<ReceivedDatagram> received_;
};

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_DATAGRAM_OPS_H_
