// EventLoop::Member is the base of what lives on a loop and owns a socket of its engine. It is for
// implementers of transports; users meet Streams.
//
// The loop knows all its members, settles at the end of a turn those that asked for it, and asks
// them to finish when it drains or dies. A member may be destroyed at any time, also inside any of
// these calls.
#ifndef SLUICE_CORE_MEMBER_H_
#define SLUICE_CORE_MEMBER_H_

#include <cstddef>

#include "absl/base/optimization.h"
#include "absl/status/status.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/internal/check.h"
#include "sluice/core/poller.h"

namespace sluice {

// Links of an intrusive circular list. Unlinked is alone.
struct EventLoop::Link {
  Link() = default;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  bool alone() const { return next == this; }
  void Unlink() {
    previous->next = next;
    next->previous = previous;
    previous = next = this;
  }
  void InsertBefore(Link& other) {
    previous = other.previous;
    next = &other;
    previous->next = this;
    other.previous = this;
  }
  // Everything in the list that `other` heads moves to the end of the one that this heads.
  void TakeAll(Link& other) {
    if (other.alone()) return;
    other.next->previous = previous;
    previous->next = other.next;
    other.previous->next = this;
    previous = other.previous;
    other.next = other.previous = &other;
  }

  Link* previous = this;
  Link* next = this;
};

class EventLoop::Member : public Poller::Socket, private EventLoop::Link {
 protected:
  explicit Member(EventLoop& loop);
  ~Member() override;

  // Dangles once the member has left and the loop is gone.
  EventLoop& owning_loop() const { return *loop_; }
  bool left() const { return alone(); }
  Poller& poller() const { return *loop_->poller_; }
  MonotonicTime now() const { return loop_->now(); }

  // Settle will be called once at the end of this turn.
  void SettleLater();

  // While one of the user's callbacks runs for a member, the loop knows which; a member that is
  // destroyed in it takes itself out.
  //   Callback callback(*this);
  //   handler()->OnReceive(*this, bytes);
  //   if (callback.destroyed()) return;
  class Callback {
   public:
    explicit Callback(Member& member) : loop_(*member.loop_), member_(&member) {
      loop_.running_ = &member;
    }
    ~Callback() { loop_.running_ = nullptr; }
    bool destroyed() const { return loop_.running_ != member_; }

   private:
    EventLoop& loop_;
    Member* const member_;
  };
  bool in_callback() const { return loop_->running_ == this; }

  // For the beginning of each loop-bound call.
  void CheckThread() const { SLUICE_DCHECK(left() || loop_->InLoopThread()); }

  // Leaves the loop's lists, for good.
  void Leave();

  // Over, but somebody is still to be told, who is not known yet: it is not open, and the loop asks
  // nothing of it, until Unpark, which is to be called before the destructor, too. The loop may go
  // meanwhile; then the member has left.
  void Park();
  void Unpark();

 private:
  friend class EventLoop;

  virtual void Settle() = 0;
  virtual void OnDrain() = 0;
  // The loop is being destroyed, or its drain's time is up: end now, as if for this reason.
  virtual void End(const absl::Status& status) = 0;

  EventLoop* loop_;
};

// The lists: every member of a loop is in exactly one of them.
struct EventLoop::Members {
  Link resting;
  Link settling;      // to be settled at the turn's end
  Link settling_now;  // what remains of those while they are settled
  Link parked;        // not counted
  size_t count = 0;
  // All members are being visited, and all of them will be settled: one that asks for that must not
  // leave the list before its visit, and one that is new begins among those.
  bool visiting = false;

  Link& NewcomersList() { return visiting ? settling : resting; }
};

inline void EventLoop::Member::SettleLater() {
  if (ABSL_PREDICT_FALSE(loop_->members_->visiting)) return;
  Unlink();
  InsertBefore(loop_->members_->settling);
}

}  // namespace sluice

#endif  // SLUICE_CORE_MEMBER_H_
