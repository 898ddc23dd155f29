#include "sluice/core/internal/io_uring_acceptors.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "sluice/core/socket_address.h"

namespace sluice::internal {

uint32_t IoUringAcceptors::Add(Poller::Acceptor& acceptor, Listener listener) {
  const EntryId id = entries_.Add();
  Entry& entry = entries_.At(id.index);
  entry.acceptor = &acceptor;
  entry.listener = std::move(listener);
  MakeDirty(id);
  return id.index;
}

void IoUringAcceptors::Pause(uint32_t index) { entries_.At(index).paused = true; }

void IoUringAcceptors::Resume(uint32_t index) {
  entries_.At(index).paused = false;
  MakeDirty(entries_.IdOf(index));
}

void IoUringAcceptors::Close(uint32_t index) {
  Entry& entry = entries_.At(index);
  entry.listener.path.Remove();
  if (entry.armed) {
    // The watch keeps the listener, and others may want its address at once. Where the ring is
    // another thread's, the watch stays for as long as the ring, and the socket stops listening.
    operations_.CancelLater(IoUringOperation::kAcceptable, entries_.IdOf(index));
    if (operations_.HandOverCancels() != 0 && !entry.listener.is_duplicate)
      shutdown(entry.listener.fd.get(), SHUT_RDWR);
  }
  entries_.Remove(index);
}

void IoUringAcceptors::MakeDirty(EntryId id) {
  Entry& entry = entries_.At(id.index);
  if (!entry.dirty) dirty_.push_back(id);
  entry.dirty = true;
}

bool IoUringAcceptors::Submit() {
  while (!dirty_.empty()) {
    const EntryId id = dirty_.back();
    if (Entry* const entry = entries_.Find(id); entry != nullptr) {
      if (!entry->paused && !entry->armed) {
        entry->armed =
            operations_.Watch(IoUringOperation::kAcceptable, id, entry->listener.fd.get(), POLLIN);
        if (!entry->armed) return false;
      }
      entry->dirty = false;
    }
    dirty_.pop_back();
  }
  return true;
}

void IoUringAcceptors::TakeAcceptable(EntryId id, int32_t result) {
  Entry* const entry = entries_.Find(id);
  if (entry == nullptr) return;
  entry->armed = false;
  MakeDirty(id);
  if (result == -ECANCELED || entry->paused || entry->ready) return;
  entry->ready = true;
  ready_.push_back(id);
}

size_t IoUringAcceptors::Handle(Poller& poller) {
  turn_.swap(ready_);
  const size_t events = turn_.size();
  for (const EntryId id : turn_) Accept(poller, id);
  turn_.clear();
  return events;
}

void IoUringAcceptors::Accept(Poller& poller, EntryId id) {
  Entry* entry = entries_.Find(id);
  if (entry == nullptr) return;
  entry->ready = false;
  if (entry->paused) return;
  Poller::Acceptor& acceptor = *entry->acceptor;
  const AcceptLoop::Shortage shortage =
      accept_loop_.Run(entry->listener.fd.get(), entry->listener.sets_buffer_sizes,
                       [&](int fd, const SocketAddress& peer) {
                         acceptor.OnAccept(Poller::Accepted(poller, fd), peer);
                         entry = entries_.Find(id);
                         return entry != nullptr && !entry->paused;
                       });
  if (shortage.error != 0) acceptor.OnAcceptError(shortage.error, shortage.shed);
}

void IoUringAcceptors::ForgetOperations() {
  entries_.ForEach([this](EntryId id, Entry& entry) {
    entry.armed = false;
    MakeDirty(id);
  });
}

}  // namespace sluice::internal
