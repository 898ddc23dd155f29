#include "sluice/tls/admission.h"

#include "absl/container/flat_hash_map.h"
#include "sluice/core/internal/check.h"
#include "sluice/core/monotonic_time.h"

namespace sluice::tls {
namespace {

// Of the loops of this thread that have handshakes.
using ByLoop = absl::flat_hash_map<EventLoop*, std::weak_ptr<Admission>>;
ByLoop& OfThread() {
  static thread_local ByLoop by_loop;
  return by_loop;
}

}  // namespace

void Admission::Waiter::LeaveLine() {
  if (next_ == nullptr) return;
  next_->previous_ = previous_;
  previous_->next_ = next_;
  next_ = previous_ = nullptr;
}

std::shared_ptr<Admission> Admission::Of(EventLoop& loop) {
  std::weak_ptr<Admission>& known = OfThread()[&loop];
  std::shared_ptr<Admission> admission = known.lock();
  if (admission == nullptr) {
    admission = std::make_shared<Admission>(loop);
    known = admission;
  }
  return admission;
}

Admission::Admission(EventLoop& loop) : loop_(loop), next_turn_([this] { AdmitWaiters(); }) {
  line_.next_ = line_.previous_ = &line_;
}

Admission::~Admission() {
  SLUICE_CHECK(line_empty());
  // Another may have come for this loop, or for one at the same place.
  const auto known = OfThread().find(&loop_);
  if (known != OfThread().end() && known->second.expired()) OfThread().erase(known);
}

void Admission::BeginTurn() {
  const uint64_t turn = loop_.counters().turns;
  if (turn == turn_) return;
  turn_ = turn;
  spent_ = 0;
}

bool Admission::MayStep() {
  BeginTurn();
  return spent_ < kUnitsPerTurn && line_empty();
}

void Admission::Wait(Waiter& waiter) {
  waiter.previous_ = line_.previous_;
  waiter.next_ = &line_;
  waiter.previous_->next_ = &waiter;
  line_.previous_ = &waiter;
  if (!next_turn_.armed()) loop_.ArmTimer(next_turn_, MonotonicTime());
}

void Admission::AdmitWaiters() {
  const std::shared_ptr<Admission> alive = shared_from_this();
  BeginTurn();
  while (!line_empty() && spent_ < kUnitsPerTurn) {
    Waiter& first = *line_.next_;
    first.LeaveLine();
    first.OnAdmitted();
  }
  if (!line_empty()) loop_.ArmTimer(next_turn_, MonotonicTime());
}

}  // namespace sluice::tls
