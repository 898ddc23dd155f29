// IoUringAcceptors are the listening sockets of the io_uring engine, which knows each by the index
// that Add returns.
//
// A listener is watched, and accepted from by accept4(2). A multishot accept would take connections
// that a paused acceptor, or one at its limit, leaves to the system's queue, would not stop at a
// turn's budget, and has no descriptor in reserve when there are no others; and where a connection
// comes from would take one more call for each, which has no answer for one that is reset by then.
// It would gain little: connecting, one message and closing cost 0.94 of what they cost with epoll.
//
// Example, of the steps of a turn:
//   acceptors.Submit();
//   // for each completion of kAcceptable:
//   acceptors.TakeAcceptable(id, cqe.res);
//   if (acceptors.any_ready()) events += acceptors.Handle(poller);
//
// Loop-bound.
#ifndef SLUICE_CORE_INTERNAL_IO_URING_ACCEPTORS_H_
#define SLUICE_CORE_INTERNAL_IO_URING_ACCEPTORS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "sluice/core/internal/id_table.h"
#include "sluice/core/internal/io_uring_operations.h"
#include "sluice/core/internal/socket_ops.h"
#include "sluice/core/internal/unique_fd.h"
#include "sluice/core/poller.h"

namespace sluice::internal {

class IoUringAcceptors {
 public:
  struct Listener {
    UniqueFd fd;
    bool sets_buffer_sizes = false;  // its connections get its own
    bool is_duplicate = false;       // of the descriptor of an acceptor that listens on
    UnixPath path = {};              // what it has made; none where it shares another one's
  };

  // `stand_in`: as AcceptLoop's. Both outlive it.
  IoUringAcceptors(IoUringOperations& operations, int stand_in)
      : operations_(operations), accept_loop_(stand_in) {}

  uint32_t Add(Poller::Acceptor& acceptor, Listener listener);
  void Pause(uint32_t index);
  void Resume(uint32_t index);
  void Close(uint32_t index);

  // Asks for the watches that have become due. False when the queue of submissions is full.
  bool Submit();
  void TakeAcceptable(EntryId id, int32_t result);

  // Accepts, for those that became acceptable since the last call, and returns how many they were.
  bool any_ready() const { return !ready_.empty(); }
  size_t Handle(Poller& poller);

  // All watches have gone, with their ring.
  void ForgetOperations();

 private:
  struct Entry {
    Poller::Acceptor* acceptor = nullptr;
    uint32_t generation = 0;
    bool used = false;
    bool paused = false;
    bool armed = false;
    bool ready = false;
    bool dirty = false;
    Listener listener;
  };

  void MakeDirty(EntryId id);
  void Accept(Poller& poller, EntryId id);

  IoUringOperations& operations_;
  AcceptLoop accept_loop_;
  IdTable<Entry> entries_;
  std::vector<EntryId> dirty_;  // what is in the kernel is not what is wanted
  std::vector<EntryId> ready_;  // for the next turn
  std::vector<EntryId> turn_;
};

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_IO_URING_ACCEPTORS_H_
