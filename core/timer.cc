#include "sluice/core/timer.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/base/optimization.h"
#include "absl/functional/any_invocable.h"
#include "absl/numeric/bits.h"
#include "absl/time/time.h"
#include "sluice/core/internal/check.h"
#include "sluice/core/monotonic_time.h"

namespace sluice {
namespace {

using Link = internal::TimerLink;

constexpr int kTickBits = 16;
constexpr int kLaneBits = 4;
constexpr int kSlotBits = 6;
constexpr uint64_t kTickMask = (uint64_t{1} << kTickBits) - 1;

// NextDeadline looks at no more timers than this to tell when the first of them is due.
constexpr int kLookAt = 8;

// Nanoseconds since InfinitePast(): the order of int64_t, without a sign.
constexpr uint64_t Unsigned(MonotonicTime time) {
  return static_cast<uint64_t>(time.nanoseconds()) ^ (uint64_t{1} << 63);
}

constexpr uint64_t TickAt(MonotonicTime time) { return Unsigned(time) >> kTickBits; }

// The first tick at which a timer may run.
constexpr uint64_t TickNotBefore(MonotonicTime deadline) {
  return (Unsigned(deadline) + kTickMask) >> kTickBits;
}

constexpr MonotonicTime TimeOf(uint64_t tick) {
  return MonotonicTime::FromNanoseconds(
      static_cast<int64_t>((tick << kTickBits) ^ (uint64_t{1} << 63)));
}

// A slot of `level` is 1 << ShiftOf(level) ticks wide.
constexpr int ShiftOf(int level) { return kLaneBits + level * kSlotBits; }

// It will be written to.
void Prefetch(const Link* link) { __builtin_prefetch(link, 1); }

bool IsEmpty(const Link& list) { return list.next == &list; }

void MakeEmpty(Link& list) { list.prev = list.next = &list; }

void Append(Link& list, Link& link) {
  link.prev = list.prev;
  link.next = &list;
  list.prev->next = &link;
  list.prev = &link;
}

void MoveAll(Link& from, Link& to) {
  if (IsEmpty(from)) return MakeEmpty(to);
  to = from;
  to.next->prev = &to;
  to.prev->next = &to;
  MakeEmpty(from);
}

void DisarmAll(Link& list) {
  for (Link* link = list.next; link != &list;) *std::exchange(link, link->next) = Link();
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
  static_assert(kResolution == absl::Nanoseconds(kTickMask + 1));
  static_assert(kSlots == 1 << kSlotBits && kLanes == 1 << kLaneBits);
  static_assert(ShiftOf(kLevels) >= 64 - kTickBits, "the levels reach over all ticks");
  for (auto& level : slots_) {
    for (Slot& slot : level) {
      for (Link& list : slot) MakeEmpty(list);
    }
  }
  MakeEmpty(overdue_);
}

TimerWheel::~TimerWheel() {
  SLUICE_CHECK(!advancing_);
  DisarmAll(overdue_);
  for (Position first; FindFirst(&first);) {
    for (Link& list : slots_[first.level][first.slot]) {
      DisarmAll(list);
      MakeEmpty(list);
    }
  }
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
  now_ = std::max(now_, now);
  const uint64_t last_tick = TickAt(now_);
  if (ABSL_PREDICT_TRUE(last_tick < first_tick_ && IsEmpty(overdue_))) {
    tick_ = last_tick;
    return 0;
  }
  advancing_ = true;
  next_.list = nullptr;
  size_t expired = Expire(overdue_);
  // What callbacks arm is either overdue or later than last_tick: the loop ends.
  Position first;
  bool found;
  while ((found = FindFirst(&first)) && first.first_tick <= last_tick) {
    tick_ = first.first_tick;
    if (first.level == 0) {
      expired += ExpireSlot(first.slot, last_tick);
    } else {
      Cascade(first);
    }
  }
  first_tick_ = found ? first.first_tick : kNever;
  tick_ = last_tick;
  advancing_ = false;
  return expired;
}

MonotonicTime TimerWheel::NextDeadline() const {
  if (!IsEmpty(overdue_)) return now_;
  if (ABSL_PREDICT_FALSE(next_.list == nullptr || next_.list->next != next_.first ||
                         DeadlineOf(*next_.first) != next_.deadline)) {
    next_ = FindNext();
    if (next_.list == nullptr) return MonotonicTime::InfiniteFuture();
  }
  return TimeOf(next_.tick);
}

// Without a list when nothing is armed.
TimerWheel::Answer TimerWheel::FindNext() const {
  Position first;
  if (!FindFirst(&first)) return {};
  Answer earliest;
  int seen = 0;
  for (uint32_t lanes = lanes_[first.level][first.slot]; lanes != 0; lanes &= lanes - 1) {
    const Link& list = slots_[first.level][first.slot][absl::countr_zero(lanes)];
    for (const Link* link = list.next; link != &list; link = link->next) {
      if (first.level == 0 || ++seen > kLookAt)
        return {&list, list.next, DeadlineOf(*list.next), first.first_tick};
      const uint64_t tick = TickNotBefore(DeadlineOf(*link));
      if (tick < earliest.tick) earliest = {&list, link, DeadlineOf(*link), tick};
    }
  }
  return earliest;
}

size_t TimerWheel::size() const {
  size_t count = 0;
  auto add = [&count](const Link& list) {
    for (const Link* link = list.next; link != &list; link = link->next) ++count;
  };
  add(overdue_);
  for (const auto& level : slots_) {
    for (const Slot& slot : level) std::for_each(slot.begin(), slot.end(), add);
  }
  return count;
}

// A lower level holds earlier timers than a higher one, and the slots of a level come in the order
// of time; those before the present tick's own are empty. In level 0, first_tick is that of the
// first lane with a timer.
bool TimerWheel::FindFirst(Position* first) const {
  for (uint32_t levels = occupied_levels_; levels != 0; levels &= levels - 1) {
    const int level = absl::countr_zero(levels);
    const int shift = ShiftOf(level);
    const uint64_t present = (tick_ >> shift) % kSlots;
    for (uint64_t ahead = occupied_[level] & (~uint64_t{0} << present); ahead != 0;
         ahead &= ahead - 1) {
      const int slot = absl::countr_zero(ahead);
      if (const uint16_t lanes = OccupiedLanes(level, slot); lanes != 0) {
        const uint64_t first_tick = ((tick_ >> shift) - present + slot) << shift;
        *first = {level, slot, level == 0 ? first_tick + absl::countr_zero(lanes) : first_tick};
        return true;
      }
      occupied_[level] &= ~(uint64_t{1} << slot);
    }
    occupied_levels_ &= ~(uint32_t{1} << level);
  }
  return false;
}

// The lanes that may have timers, without those that turn out to be empty before the first that
// has.
uint16_t TimerWheel::OccupiedLanes(int level, int slot) const {
  uint16_t& lanes = lanes_[level][slot];
  while (lanes != 0 && IsEmpty(slots_[level][slot][absl::countr_zero(lanes)])) lanes &= lanes - 1;
  return lanes;
}

// Links a node whose tick is not before tick_.
void TimerWheel::Place(TimerNode& node) {
  const uint64_t tick = TickNotBefore(node.deadline_);
  const int highest_other_bit = 63 - absl::countl_zero((tick ^ tick_) | kLanes);
  const int level = (highest_other_bit - kLaneBits) / kSlotBits;
  const int slot = (tick >> ShiftOf(level)) % kSlots;
  Append(slots_[level][slot][tick % kLanes], node);
  const uint64_t first_tick = level == 0 ? tick : tick >> ShiftOf(level) << ShiftOf(level);
  first_tick_ = std::min(first_tick_, first_tick);
  if (tick < next_.tick) next_.list = nullptr;
  lanes_[level][slot] |= 1 << (tick % kLanes);
  occupied_[level] |= uint64_t{1} << slot;
  occupied_levels_ |= uint32_t{1} << level;
}

// Moves the timers of a slot that begins at tick_ to lower levels. They are scattered over memory,
// and only a timer itself tells where the next one is. So all lanes are read at once, and each from
// both ends: forward to place the timers, backward to have the later ones in the cache by then.
void TimerWheel::Cascade(const Position& first) {
  struct Reader {
    Link* next;
    Link* fetch;  // null once the two have met
    Link* list;
  };
  std::array<Reader, kLanes> readers;
  int unread = 0;
  uint32_t lanes = std::exchange(lanes_[first.level][first.slot], 0);
  for (; lanes != 0; lanes &= lanes - 1) {
    Link& list = slots_[first.level][first.slot][absl::countr_zero(lanes)];
    Prefetch(list.next);
    Prefetch(list.prev);
    readers[unread++] = {list.next, list.prev, &list};
  }
  while (unread > 0) {
    for (int i = unread - 1; i >= 0; --i) {
      auto& [next, fetch, list] = readers[i];
      Link* const link = next;
      if (link == list) {
        MakeEmpty(*list);
        readers[i] = readers[--unread];
        continue;
      }
      next = link->next;
      Prefetch(next);
      if (fetch == link || fetch == next) fetch = nullptr;
      if (fetch != nullptr) {
        fetch = fetch->prev;
        Prefetch(fetch);
      }
      Place(static_cast<TimerNode&>(*link));
    }
  }
}

// Runs the timers of a slot of level 0, from tick_ up to last_tick.
size_t TimerWheel::ExpireSlot(int slot, uint64_t last_tick) {
  const uint64_t first_tick = tick_ - tick_ % kLanes;
  size_t expired = 0;
  for (uint32_t lanes = lanes_[0][slot]; lanes != 0; lanes &= lanes - 1) {
    const int lane = absl::countr_zero(lanes);
    if (first_tick + lane > last_tick) break;
    tick_ = first_tick + lane;
    expired += Expire(slots_[0][slot][lane]);
  }
  return expired;
}

// Runs the timers of a list. Callbacks may cancel or destroy those that still wait there, and arm
// others.
size_t TimerWheel::Expire(Link& list) {
  if (IsEmpty(list)) return 0;
  Link expiring;
  MoveAll(list, expiring);
  size_t expired = 0;
  while (!IsEmpty(expiring)) {
    TimerNode& node = static_cast<TimerNode&>(*expiring.next);
    Prefetch(node.next);
    node.Cancel();
    ++expired;
    node.expire_(node);
  }
  return expired;
}

}  // namespace sluice
