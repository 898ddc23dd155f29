#ifndef SLUICE_CORE_TIMER_H_
#define SLUICE_CORE_TIMER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "sluice/core/monotonic_time.h"

namespace sluice {

class TimerWheel;

namespace internal {

// A place in a circular, doubly linked list. A list is a TimerLink that is linked to itself when
// empty; a node that is in no list has null pointers. Unlinking touches the neighbours only, so a
// node need not know its wheel.
struct TimerLink {
  TimerLink* prev = nullptr;
  TimerLink* next = nullptr;
};

}  // namespace internal

// TimerNode is the part of a timer that a TimerWheel links: 32 bytes, to be a base or a member of
// the object that waits. `expire` runs when the deadline has passed, with the node already
// disarmed: it may arm it again, arm, cancel or destroy any other timer, and destroy the node
// itself. For a timer with a closure, see Timer.
//
// Example:
//   struct Session : TimerNode {
//     Session() : TimerNode([](TimerNode& node) { static_cast<Session&>(node).OnIdle(); }) {}
//     void OnIdle() { idle = true; }
//     bool idle = false;
//   };
//   TimerWheel wheel(start);
//   Session session;
//   wheel.Arm(session, start + absl::Seconds(30));
//
// Destroying an armed node disarms it. It cannot be copied or moved. Loop-bound, as the wheel is.
class TimerNode : private internal::TimerLink {
 public:
  using ExpireFunction = void (*)(TimerNode&);

  explicit TimerNode(ExpireFunction expire) : expire_(expire) {}
  TimerNode(const TimerNode&) = delete;
  TimerNode& operator=(const TimerNode&) = delete;
  ~TimerNode() { Cancel(); }

  bool armed() const { return next != nullptr; }

  // What the node was last armed for; InfiniteFuture() before that. Kept when the timer expires or
  // is cancelled.
  MonotonicTime deadline() const { return deadline_; }

  // Disarms; nothing happens when the node is not armed.
  void Cancel() {
    if (next == nullptr) return;
    prev->next = next;
    next->prev = prev;
    prev = nullptr;
    next = nullptr;
  }

 private:
  friend class TimerWheel;

  MonotonicTime deadline_ = MonotonicTime::InfiniteFuture();
  ExpireFunction expire_;
};

// Timer is a TimerNode that owns a closure. The closure may destroy its own Timer: what it has
// captured lives until it returns. See TimerWheel for an example.
class Timer : public TimerNode {
 public:
  explicit Timer(absl::AnyInvocable<void()> callback)
      : TimerNode(&Timer::Run), callback_(std::move(callback)) {}

 private:
  static void Run(TimerNode& node);

  absl::AnyInvocable<void()> callback_;
};

// TimerWheel orders timers by deadline. It reads no clock and never sleeps: EventLoop drives it.
//
// Example:
//   TimerWheel wheel(start);
//   Timer idle([&] { connection.Close(absl::DeadlineExceededError("idle for 30s")); });
//   wheel.Arm(idle, start + absl::Seconds(30));
//   wheel.AdvanceTo(start + absl::Seconds(31));          // runs it
//
// Arm, re-arm and Cancel cost O(1), whatever is pending. The wheel allocates nothing, ever; it is
// an object of 128 KiB. A timer never runs before its deadline, and AdvanceTo(deadline +
// kResolution) runs it for certain; kResolution is 65.5 microseconds. Deadlines reach as far as
// MonotonicTime does.
//
// Time is counted in ticks of kResolution, in eight levels of 64 slots. A slot of level 0 is
// sixteen ticks wide, one of level n + 1 as wide as the whole level n. A timer stands in the lowest
// level in which its tick lies in the same round of 64 slots as the present tick; when time reaches
// the slot, its timers move down to where they then belong, each of them seven times at most:
//
//   level 2   |    4.3 s    |    4.3 s    |   ...      64 slots of 2^16 ticks
//   level 1   |67ms|67ms| ...                          64 slots of 2^10 ticks
//   level 0   ||||||||                                 64 slots of 16 ticks
//
// A slot has sixteen lists, its lanes; the lowest four bits of a timer's tick choose one. So in
// level 0 a list is one tick. Above it, lanes are there for speed alone: timers are scattered over
// memory, and a list of them is read no faster than one cache miss after the other, but sixteen
// lists are read with sixteen misses at a time. All timers of one tick are always in the same list,
// in the order in which they were armed. Bitmaps of the occupied slots and lanes spare the walk
// over the empty ones.
//
// Timers and wheel may be destroyed in either order: whichever goes first leaves the other
// disarmed. Loop-bound: use it and its timers on one thread.
class TimerWheel {
 public:
  static constexpr absl::Duration kResolution = absl::Nanoseconds(1 << 16);

  // Time begins at `start`: deadlines up to it have passed.
  explicit TimerWheel(MonotonicTime start);
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  // Disarms what is armed. Not to be called from a timer's callback.
  ~TimerWheel();

  // Arms `node`, or moves it when it is armed (also from another wheel). Nothing runs inside this
  // call: a deadline that has passed is due at the next AdvanceTo. InfiniteFuture(), and what is
  // within one resolution of it, never comes: it disarms.
  void Arm(TimerNode& node, MonotonicTime deadline);

  // The same as node.Cancel().
  void Cancel(TimerNode& node) { node.Cancel(); }

  // Runs the timers whose deadline has passed at `now` and returns how many. They run in the order
  // of their deadlines rounded up to ticks, those of one tick in the order of arming; first of all
  // those that were armed when their deadline had already passed, in the order of arming. A timer
  // that a callback arms for `now` or earlier waits for the next call, also when that has the same
  // `now`: so the call ends. A `now` before that of an earlier call counts as that one. Costs
  // O(timers that run or move down), however far the clock has jumped. Not to be called from a
  // timer's callback.
  size_t AdvanceTo(MonotonicTime now);

  // A time up to which AdvanceTo would run nothing, so that a loop may sleep until it: at or before
  // the time at which the earliest timer is due, and exactly that unless it shares a slot of a
  // higher level with more than a few others, or did when this was last asked. InfiniteFuture()
  // when nothing is armed.
  MonotonicTime NextDeadline() const;

  // How many timers are armed. Counts them one by one: for tests and diagnostics.
  size_t size() const;

 private:
  using Link = internal::TimerLink;
  static constexpr int kLevels = 8;
  static constexpr int kSlots = 64;
  static constexpr int kLanes = 16;
  static constexpr uint64_t kNever = ~uint64_t{0};  // the tick of no timer
  using Slot = std::array<Link, kLanes>;

  struct Position {
    int level;
    int slot;
    uint64_t first_tick;
  };

  // The answer of NextDeadline, as long as the timer `first` is still the first of `list` and armed
  // for `deadline`.
  struct Answer {
    const Link* list = nullptr;  // null: none is known
    const Link* first = nullptr;
    MonotonicTime deadline;
    uint64_t tick = kNever;
  };

  static MonotonicTime DeadlineOf(const Link& link) {
    return static_cast<const TimerNode&>(link).deadline_;
  }

  bool FindFirst(Position* first) const;
  Answer FindNext() const;
  uint16_t OccupiedLanes(int level, int slot) const;
  void Place(TimerNode& node);
  void Cascade(const Position& first);
  size_t ExpireSlot(int slot, uint64_t last_tick);
  size_t Expire(Link& list);

  std::array<std::array<Slot, kSlots>, kLevels> slots_;
  // Which lanes of a slot, slots of a level and levels may have timers. A clear bit is certain; a
  // set bit may be out of date, because a node that is cancelled does not know its wheel, and who
  // finds it so clears it.
  mutable std::array<std::array<uint16_t, kSlots>, kLevels> lanes_ = {};
  mutable std::array<uint64_t, kLevels> occupied_ = {};
  mutable uint32_t occupied_levels_ = 0;
  // No slot with timers begins before this tick, so that most advances need not look for one.
  uint64_t first_tick_ = 0;
  mutable Answer next_;
  bool advancing_ = false;
  Link overdue_;
  MonotonicTime now_;
  // Ticks count from InfinitePast(), so that they are not negative; 48 bits. In an advance, the
  // tick that it has reached. No timer in slots_ is due at or before it, except while a slot moves
  // down.
  uint64_t tick_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_TIMER_H_
