// Admission bounds what handshakes may compute in one turn of a loop, so that a storm of them does
// not hold up the streams that are established: those past the budget wait in line for the next
// turns. What a step will cost is not known before it is done, so the last of a turn may exceed the
// budget.
//
// Loop-bound.
#ifndef SLUICE_TLS_ADMISSION_H_
#define SLUICE_TLS_ADMISSION_H_

#include <cstdint>
#include <memory>

#include "sluice/core/event_loop.h"
#include "sluice/core/timer.h"

namespace sluice::tls {

class Admission : public std::enable_shared_from_this<Admission> {
 public:
  // What waits. In no line or one; it leaves the line before it lets go of the Admission, whose
  // line that is.
  class Waiter {
   public:
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;
    virtual void OnAdmitted() = 0;  // may destroy this

   protected:
    Waiter() = default;
    virtual ~Waiter() = default;
    bool waits() const { return next_ != nullptr; }
    void LeaveLine();

   private:
    friend class Admission;
    Waiter* next_ = nullptr;
    Waiter* previous_ = nullptr;
  };

  // Units of some 0.1 to 0.2 ms; LoadedIdentity knows what a signature costs in them.
  static constexpr int kUnitsPerTurn = 8;

  // The one of a loop, shared by its handshakes.
  static std::shared_ptr<Admission> Of(EventLoop& loop);

  explicit Admission(EventLoop& loop);
  ~Admission();

  // Whether a step may be done now. If not, Wait.
  bool MayStep();
  // A step was done that did cost something: so many units.
  void Charge(int units) { spent_ += units; }
  void Wait(Waiter& waiter);

 private:
  struct Line : Waiter {
    void OnAdmitted() override {}
  };

  void BeginTurn();
  void AdmitWaiters();
  bool line_empty() const { return line_.next_ == &line_; }

  EventLoop& loop_;
  uint64_t turn_ = 0;
  int spent_ = 0;
  Line line_;  // its head
  Timer next_turn_;
};

}  // namespace sluice::tls

#endif  // SLUICE_TLS_ADMISSION_H_
