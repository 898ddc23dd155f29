#ifndef SLUICE_CORE_TIMER_H_
#define SLUICE_CORE_TIMER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/functional/any_invocable.h"
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
// an object of 25 KiB. A timer never runs before its deadline, and by less than kResolution later
// than the time given to AdvanceTo allows: AdvanceTo(deadline + kResolution) runs it for certain.
// Deadlines reach as far as MonotonicTime does.
//
// Six levels of 256 slots: a slot of level 0 is one tick (kResolution) wide, a slot of level n + 1
// is as wide as the whole level n. A timer stands in the level of the highest byte in which its
// tick differs from the present tick, in the slot that this byte names:
//
//   present tick 00'00'00'00'12'34     due at tick 00'00'00'00'12'40 -> level 0, slot 0x40
//                                                  00'00'00'00'15'00 -> level 1, slot 0x15; down to
//                                                  level 0 at tick 15'00
//
// So all timers of one tick are always in the same list, in the order in which they were armed, and
// each one moves down at most five times before it runs. A bitmap a level finds the next slot
// without a walk over the empty ones.
//
// The wheel must outlive no timer and no timer the wheel: whichever goes first, the other is left
// disarmed. Loop-bound: use it and its timers on one thread.
class TimerWheel {
 public:
  // 65.536 microseconds.
  static constexpr int64_t kResolutionNanoseconds = int64_t{1} << 16;

  // AdvanceTo starts from `start`; deadlines up to it have passed.
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
  // higher level with more than a few others. InfiniteFuture() when nothing is armed.
  MonotonicTime NextDeadline() const;

  // How many timers are armed. Counts them one by one: for tests and diagnostics.
  size_t size() const;

 private:
  using Link = internal::TimerLink;
  static constexpr int kLevels = 6;
  static constexpr int kSlots = 256;
  static constexpr int kWords = kSlots / 64;

  struct Slot {
    int level;
    int index;
    uint64_t first_tick;
  };

  // Ticks count from InfinitePast(), so that they are not negative; 48 bits.
  static uint64_t TickAt(MonotonicTime time);
  static uint64_t TickNotBefore(MonotonicTime deadline);
  static MonotonicTime TimeOf(uint64_t tick);

  static void Append(Link& list, Link& link);
  static void MoveAll(Link& from, Link& to);
  static size_t Count(const Link& list);
  static void DisarmAll(Link& list);

  bool FindFirst(Slot* slot) const;
  void Place(TimerNode& node);
  void Cascade(Link& list);
  size_t Expire(Link& list);
  MonotonicTime EarliestIn(const Link& list, uint64_t first_tick) const;

  std::array<std::array<Link, kSlots>, kLevels> slots_;
  // A clear bit says that the slot, or the level beyond the present tick, is empty. A set bit may
  // be out of date, because a cancelled node does not know its wheel; who finds it so clears it.
  mutable std::array<std::array<uint64_t, kWords>, kLevels> occupied_ = {};
  mutable uint32_t occupied_levels_ = 0;
  bool advancing_ = false;
  Link overdue_;
  MonotonicTime now_;
  uint64_t tick_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_TIMER_H_
