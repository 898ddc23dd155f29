#include "sluice/core/timer.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/numeric/bits.h"
#include "sluice/core/internal/check.h"
#include "sluice/core/monotonic_time.h"

namespace sluice {
namespace {

constexpr int kTickBits = 16;
constexpr int kLevelBits = 8;
constexpr uint64_t kTickMask = TimerWheel::kResolutionNanoseconds - 1;

// NextDeadline looks at no more timers than this to tell when the first of them is due.
constexpr int kLookAt = 8;

// Nanoseconds since InfinitePast(): the order of int64_t, without a sign.
constexpr uint64_t Unsigned(MonotonicTime time) {
  return static_cast<uint64_t>(time.nanoseconds()) ^ (uint64_t{1} << 63);
}

// Stands in for a closure while that runs, and tells if the timer was destroyed meanwhile.
class DestructionWatch {
 public:
  explicit DestructionWatch(bool* destroyed) : destroyed_(destroyed) {}
  DestructionWatch(DestructionWatch&& other) noexcept
      : destroyed_(std::exchange(other.destroyed_, nullptr)) {}
  DestructionWatch& operator=(DestructionWatch&&) = delete;
  ~DestructionWatch() {
    if (destroyed_ != nullptr) *destroyed_ = true;
  }
  void operator()() const {}

 private:
  bool* destroyed_;
};

}  // namespace

void Timer::Run(TimerNode& node) {
  Timer& timer = static_cast<Timer&>(node);
  bool destroyed = false;
  absl::AnyInvocable<void()> callback = std::move(timer.callback_);
  timer.callback_ = DestructionWatch(&destroyed);
  callback();
  if (!destroyed) timer.callback_ = std::move(callback);
}

TimerWheel::TimerWheel(MonotonicTime start) : now_(start), tick_(TickAt(start)) {
  for (auto& level : slots_) {
    for (Link& slot : level) slot.prev = slot.next = &slot;
  }
  overdue_.prev = overdue_.next = &overdue_;
}

TimerWheel::~TimerWheel() {
  SLUICE_CHECK(!advancing_);
  DisarmAll(overdue_);
  for (Slot slot; FindFirst(&slot);) DisarmAll(slots_[slot.level][slot.index]);
}

void TimerWheel::Arm(TimerNode& node, MonotonicTime deadline) {
  node.Cancel();
  node.deadline_ = deadline;
  if (deadline <= now_) {
    Append(overdue_, node);
  } else if (Unsigned(deadline) <= ~kTickMask) {
    Place(node);
  }
}

size_t TimerWheel::AdvanceTo(MonotonicTime now) {
  SLUICE_CHECK(!advancing_);
  advancing_ = true;
  now_ = std::max(now_, now);
  const uint64_t last_tick = TickAt(now_);
  size_t expired = Expire(overdue_);
  // What callbacks arm is either overdue or later than last_tick: the loop ends.
  for (Slot slot; FindFirst(&slot) && slot.first_tick <= last_tick;) {
    tick_ = slot.first_tick;
    if (slot.level > 0) Cascade(slots_[slot.level][slot.index]);
    expired += Expire(slots_[0][tick_ % kSlots]);
  }
  tick_ = last_tick;
  advancing_ = false;
  return expired;
}

MonotonicTime TimerWheel::NextDeadline() const {
  if (overdue_.next != &overdue_) return now_;
  Slot slot;
  if (!FindFirst(&slot)) return MonotonicTime::InfiniteFuture();
  if (slot.level == 0) return TimeOf(slot.first_tick);
  return EarliestIn(slots_[slot.level][slot.index], slot.first_tick);
}

size_t TimerWheel::size() const {
  size_t count = Count(overdue_);
  for (const auto& level : slots_) {
    for (const Link& slot : level) count += Count(slot);
  }
  return count;
}

uint64_t TimerWheel::TickAt(MonotonicTime time) { return Unsigned(time) >> kTickBits; }

uint64_t TimerWheel::TickNotBefore(MonotonicTime deadline) {
  return (Unsigned(deadline) + kTickMask) >> kTickBits;
}

MonotonicTime TimerWheel::TimeOf(uint64_t tick) {
  return MonotonicTime::FromNanoseconds(
      static_cast<int64_t>((tick << kTickBits) ^ (uint64_t{1} << 63)));
}

void TimerWheel::Append(Link& list, Link& link) {
  link.prev = list.prev;
  link.next = &list;
  list.prev->next = &link;
  list.prev = &link;
}

void TimerWheel::MoveAll(Link& from, Link& to) {
  to.prev = to.next = &to;
  if (from.next == &from) return;
  to.next = from.next;
  to.prev = from.prev;
  to.next->prev = &to;
  to.prev->next = &to;
  from.prev = from.next = &from;
}

size_t TimerWheel::Count(const Link& list) {
  size_t count = 0;
  for (const Link* link = list.next; link != &list; link = link->next) ++count;
  return count;
}

void TimerWheel::DisarmAll(Link& list) {
  while (list.next != &list) static_cast<TimerNode*>(list.next)->Cancel();
}

// A lower level holds earlier timers than a higher one, and in a level the slots beyond the present
// tick's own come in the order of time. Those up to the present tick's own are empty.
bool TimerWheel::FindFirst(Slot* slot) const {
  for (uint32_t levels = occupied_levels_; levels != 0; levels &= levels - 1) {
    const int level = absl::countr_zero(levels);
    const int shift = level * kLevelBits;
    const int present = (tick_ >> shift) & (kSlots - 1);
    uint64_t mask = (~uint64_t{0} << (present % 64)) << 1;
    for (int word = present / 64; word < kWords; ++word, mask = ~uint64_t{0}) {
      uint64_t& bits = occupied_[level][word];
      for (uint64_t candidates = bits & mask; candidates != 0; candidates &= candidates - 1) {
        const int index = word * 64 + absl::countr_zero(candidates);
        const Link& list = slots_[level][index];
        if (list.next != &list) {
          const uint64_t above = tick_ >> shift >> kLevelBits;
          *slot = {level, index, ((above << kLevelBits) | index) << shift};
          return true;
        }
        bits &= ~(candidates & -candidates);
      }
    }
    occupied_levels_ &= ~(uint32_t{1} << level);
  }
  return false;
}

// Places a node whose tick is later than tick_; or equal to it, while Cascade moves timers down.
void TimerWheel::Place(TimerNode& node) {
  const uint64_t tick = TickNotBefore(node.deadline_);
  const int level = (63 - absl::countl_zero((tick ^ tick_) | 1)) / kLevelBits;
  const int index = (tick >> (level * kLevelBits)) & (kSlots - 1);
  Append(slots_[level][index], node);
  occupied_[level][index / 64] |= uint64_t{1} << (index % 64);
  occupied_levels_ |= uint32_t{1} << level;
}

// Moves the timers of a slot that begins at tick_ to lower levels, in their order.
void TimerWheel::Cascade(Link& list) {
  for (Link* link = list.next; link != &list;) {
    TimerNode& node = static_cast<TimerNode&>(*link);
    link = link->next;
    Place(node);
  }
  list.prev = list.next = &list;
}

// Runs the timers of `list`. Callbacks may cancel or destroy those that still wait there, and arm
// others into `list`.
size_t TimerWheel::Expire(Link& list) {
  Link expiring;
  MoveAll(list, expiring);
  size_t expired = 0;
  while (expiring.next != &expiring) {
    TimerNode& node = static_cast<TimerNode&>(*expiring.next);
    node.Cancel();
    ++expired;
    node.expire_(node);
  }
  return expired;
}

MonotonicTime TimerWheel::EarliestIn(const Link& list, uint64_t first_tick) const {
  uint64_t earliest = ~uint64_t{0};
  int seen = 0;
  for (const Link* link = list.next; link != &list; link = link->next) {
    if (++seen > kLookAt) return TimeOf(first_tick);
    earliest = std::min(earliest, TickNotBefore(static_cast<const TimerNode&>(*link).deadline_));
  }
  return TimeOf(earliest);
}

}  // namespace sluice
