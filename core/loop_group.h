// LoopGroup runs N EventLoops, each on a thread of its own. Nothing is shared between them: a
// connection lives on the loop that accepted it. GroupListener listens on one address with all of
// them.
//
// Example:
//   std::unique_ptr<LoopGroup> group = *LoopGroup::Start({.threads = 4});
//   std::unique_ptr<GroupListener> listener = *GroupListener::Listen(
//       *group, *SocketAddress::Parse("0.0.0.0:9000"), {},
//       [](EventLoop& loop, std::unique_ptr<Stream> stream) { ... });  // on the accepting loop's
//       thread
//
// To be used by the thread that made it. From others: loop(i).Post.
#ifndef SLUICE_CORE_LOOP_GROUP_H_
#define SLUICE_CORE_LOOP_GROUP_H_

#include <functional>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/tcp.h"

namespace sluice {

class LoopGroup {
 public:
  struct Options {
    int threads = 1;  // 1 to 1024
    PollerKind poller = PollerKind::kAuto;
    // EventLoop::SetBusyPoll, of each loop.
    absl::Duration busy_poll = absl::ZeroDuration();
    // Gives each thread a descriptor table of its own (unshare(2), CLONE_FILES), so that each may
    // hold as many connections as a process may. A descriptor that one thread opens afterwards
    // means nothing to the others; one that is open already is open in every table, so that closing
    // it in one ends nothing. Start such a group before anything is connected; the
    // three descriptors of each loop stay open in the starter's table when the group is gone. Linux
    // only.
    bool own_descriptor_tables = false;
  };

  // Starts the threads. Errors: as CreatePoller; kInvalidArgument; kResourceExhausted when a thread
  // cannot be had.
  static absl::StatusOr<std::unique_ptr<LoopGroup>> Start(const Options& options);

  // Stops the loops, ends their streams (kCancelled), destroys each loop on its own thread, and
  // joins the threads. Handlers may post to all loops of the group until the last stream has ended.
  ~LoopGroup();
  LoopGroup(const LoopGroup&) = delete;
  LoopGroup& operator=(const LoopGroup&) = delete;

  int size() const { return static_cast<int>(workers_.size()); }
  EventLoop& loop(int index);

  // Runs `function` on each loop's thread, one loop after another, and waits for it. Not from a
  // loop's thread.
  void RunOnEach(absl::FunctionRef<void(EventLoop& loop, int index)> function);

  // EventLoop::Drain on all loops at the same time; returns when the last is done. Not from a
  // loop's thread.
  void Drain(absl::Duration timeout);

 private:
  struct Worker;
  LoopGroup();
  friend class GroupListener;

  std::vector<std::unique_ptr<Worker>> workers_;
  bool own_descriptor_tables_ = false;
};

class GroupListener {
 public:
  // Each loop has a copy, and calls it on its own thread.
  using AcceptFunction = std::function<void(EventLoop& loop, std::unique_ptr<Stream> stream)>;

  // One Listener a loop: with SO_REUSEPORT for IP addresses, on one shared socket for Unix ones
  // (kInvalidArgument with own_descriptor_tables). A port in use is an error, unless
  // options.listen.reuse_port is kJoin. max_connections is divided among the loops, rounded up;
  // a loop that has its share accepts no more, whatever the others have. Each loop calls a copy of
  // on_shortage on its own thread.
  static absl::StatusOr<std::unique_ptr<GroupListener>> Listen(LoopGroup& group,
                                                               const SocketAddress& address,
                                                               const Listener::Options& options,
                                                               AcceptFunction on_accept);

  // Closes the listening sockets, each on its loop; before the group.
  ~GroupListener();
  GroupListener(const GroupListener&) = delete;
  GroupListener& operator=(const GroupListener&) = delete;

  const SocketAddress& address() const { return address_; }
  // The sums over all loops.
  Listener::Counters counters();
  int connections();

 private:
  explicit GroupListener(LoopGroup& group);
  absl::Status ListenOnEach(const SocketAddress& address, Listener::Options options,
                            const AcceptFunction& on_accept);

  LoopGroup& group_;
  std::vector<std::unique_ptr<Listener>> listeners_;  // each touched on its loop's thread only
  SocketAddress address_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_LOOP_GROUP_H_
