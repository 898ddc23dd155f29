// What a ConnectionPool counts. Everything is counted at the moment at which it is decided, so the
// sums below hold exactly whenever the pool is not in the middle of a call:
//
//   borrows         ==  reused + fresh + failed + refused + timed_out + given_up + cancelled
//                       + now.waiting + now.ready
//   reused + fresh  ==  returned + closed.dropped + closed.taken + now.lent
//   dials           ==  opened + dial_failures + dials_given_up + now.dialing
//   opened          ==  closed.total() + now.idle + now.checking + now.ready + now.lent
#ifndef SLUICE_CORE_POOL_STATISTICS_H_
#define SLUICE_CORE_POOL_STATISTICS_H_

#include <cstddef>
#include <cstdint>

namespace sluice {

// What there is at this moment, in a pool or of one target.
struct PoolCounts {
  size_t idle = 0;
  size_t checking = 0;  // idle ones that are being asked whether they still work
  size_t ready = 0;     // found for a request that will hear of it in this turn or the next
  size_t lent = 0;
  size_t closing = 0;  // out of use; their farewell is under way
  size_t dialing = 0;  // in the making
  size_t waiting = 0;  // requests; no connections

  // What max_open bounds.
  size_t open() const { return idle + checking + ready + lent + closing + dialing; }
};

// What has happened so far, and `now`.
struct PoolStatistics {
  // Connections that are no longer in use, by reason.
  struct Closed {
    uint64_t dropped = 0;           // the lease was destroyed, not returned
    uint64_t taken = 0;             // and so was that of a stream that was taken out
    uint64_t unclean = 0;           // returned, but closing, paused or with bytes in its queue
    uint64_t ended = 0;             // the peer, or an error, ended it while it was idle
    uint64_t unexpected_bytes = 0;  // arrived while it was idle
    uint64_t failed_check = 0;      // or was idle for longer than one that did not answer
    uint64_t idle_timeout = 0;
    uint64_t life_time = 0;
    uint64_t evicted = 0;  // to make room for another connection
    uint64_t surplus = 0;  // more than max_idle
    uint64_t drained = 0;  // the pool or its loop is draining

    uint64_t total() const {
      return dropped + taken + unclean + ended + unexpected_bytes + failed_check + idle_timeout +
             life_time + evicted + surplus + drained;
    }
  };

  uint64_t borrows = 0;    // calls of Borrow, and of TryBorrow where that found one
  uint64_t misses = 0;     // calls of TryBorrow that found none
  uint64_t reused = 0;     // leases on a connection that had been idle, or another's before
  uint64_t fresh = 0;      // leases on one that was just made
  uint64_t failed = 0;     // requests that were told why a dial failed
  uint64_t refused = 0;    // requests that found too many others waiting, or the pool draining
  uint64_t timed_out = 0;  // requests
  uint64_t given_up = 0;   // requests that were destroyed
  uint64_t cancelled = 0;  // requests that waited when the pool or its loop drained
  uint64_t returned = 0;   // calls of Return

  uint64_t dials = 0;
  uint64_t dial_failures = 0;
  uint64_t dials_given_up = 0;  // nobody needed them, and others needed room; or the pool drained
  uint64_t opened = 0;          // connections
  uint64_t checks_passed = 0;
  Closed closed = {};

  PoolCounts now = {};
};

}  // namespace sluice

#endif  // SLUICE_CORE_POOL_STATISTICS_H_
