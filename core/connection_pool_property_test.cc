// What is true of a ConnectionPool whatever happens: users borrow, return, break and give up, at
// random; servers end, reset and greet connections, stop and start; the network is cut; the pool
// drains. After each step of the simulation all that must hold is looked at.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/connection_pool.h"
#include "sluice/core/connection_pool_testing.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/simulation.h"
#include "sluice/core/stream.h"

namespace sluice {
namespace {

using test::Ping;
using test::PoolBackend;
using test::PoolUser;

constexpr size_t kTargets = 3;
constexpr size_t kUsers = 14;
constexpr int kOperations = 250;
constexpr absl::Duration kSlack = absl::Milliseconds(5);
constexpr absl::Duration kMostBackoff = absl::Milliseconds(100);

class World {
 public:
  // A calm one has no faults, so that the order in which requests are served can be told.
  World(uint64_t seed, bool calm)
      : calm_(calm),
        users_(kUsers),
        network_(seed, {.link = {.latency = absl::Microseconds(100),
                                 .jitter = absl::Milliseconds(3),
                                 .loss = calm ? 0 : 0.01,
                                 .reset = calm ? 0 : 0.005,
                                 .refuse = calm ? 0 : 0.1,
                                 .ignore = calm ? 0 : 0.02}}) {
    for (size_t i = 0; i < kTargets; ++i) backends_.push_back(Start(i));
    pool_ = *ConnectionPool::Create(client_.loop(), RandomOptions());
    for (size_t i = 0; i < kTargets; ++i) {
      targets_.push_back(*pool_->GetTarget(
          {"backend", static_cast<uint16_t>(i + 1)},
          std::make_shared<FixedDialer>(server_.Address(static_cast<uint16_t>(100 + i)))));
    }
    for (User& user : users_) user.self.on_done = [this, &user] { OnDone(user); };
  }

  void Run() {
    const int drain_at = Chance(3) ? static_cast<int>(network_.Random(kOperations)) : -1;
    for (int i = 0; i < kOperations && mistake_.empty(); ++i) {
      if (i == drain_at) Drain();
      if (Chance(2)) {
        Act();
      } else {
        client_.loop().Post([this] { Act(); });
      }
      Let(absl::Microseconds(network_.Random(Chance(20) ? 200'000 : 4'000)));
    }
    if (mistake_.empty()) End();
  }

  const std::string& mistake() const { return mistake_; }
  const PoolStatistics& statistics() const { return pool_->statistics(); }

 private:
  struct User {
    PoolUser self;
    size_t target = 0;
    bool waiting = false;
    bool fresh_only = false;
    std::unique_ptr<Stream> taken;
    uint64_t order = 0;
    MonotonicTime deadline;
  };

  bool Chance(uint64_t one_in) { return network_.Random(one_in) == 0; }
  size_t Between(size_t least, size_t most) { return least + network_.Random(most - least + 1); }
  std::unique_ptr<PoolBackend> Start(size_t i) {
    return std::make_unique<PoolBackend>(server_.loop(),
                                         server_.Address(static_cast<uint16_t>(100 + i)));
  }
  void Wrong(const std::string& what) {
    if (mistake_.empty()) mistake_ = what;
  }

  ConnectionPool::Options RandomOptions() {
    of_target_ = {.max_open = Between(1, 5), .max_waiting = Between(1, 10)};
    of_target_.max_idle = Between(0, 5);
    of_target_.min_idle =
        Chance(2) ? 0 : std::min({Between(0, 2), of_target_.max_idle, of_target_.max_open});
    ConnectionPool::Options options;
    options.target = of_target_;
    options.max_open = max_open_ = Between(1, 8);
    options.max_idle = max_idle_ = Between(0, 8);
    options.max_waiting = max_waiting_ = Between(1, 14);
    options.idle_timeout = absl::Milliseconds(Between(1, 200));
    if (Chance(2)) options.life_time = absl::Milliseconds(Between(1, 200));
    options.dial.timeout = absl::Milliseconds(Between(10, 500));
    options.dial.stream.linger_timeout = absl::Milliseconds(100);
    options.least_backoff = absl::Milliseconds(5);
    options.most_backoff = kMostBackoff;
    options.check_after = absl::Milliseconds(Between(0, 20));
    options.check_timeout = absl::Milliseconds(50);
    if (Chance(2)) {
      options.check = [](Stream& stream, ConnectionPool::CheckDone done) {
        return std::make_unique<Ping>(stream, std::move(done));
      };
    }
    return options;
  }

  // What happens.

  void Act() {
    if (!calm_ && Chance(4)) return Disturb();
    User& user = users_[network_.Random(users_.size())];
    if (user.waiting) {
      if (Chance(4)) GiveUp(user);
    } else if (!user.self.has()) {
      Borrow(user);
    } else {
      Use(user);
    }
  }

  void Borrow(User& user) {
    user.target = network_.Random(kTargets);
    if (Chance(3)) {
      user.order = 0;
      if (user.self.TryBorrow(*pool_, targets_[user.target])) OnLease(user);
      return;
    }
    const absl::Duration timeout = absl::Milliseconds(Between(0, Chance(2) ? 10 : 500));
    user.waiting = true;
    user.fresh_only = Chance(5);
    user.order = ++order_;
    user.deadline = client_.loop().NowExact() + timeout;
    user.self.Borrow(*pool_, targets_[user.target],
                     {.timeout = timeout, .fresh_only = user.fresh_only});
    if (!user.waiting) Wrong("the function was called from inside Borrow");
  }

  void GiveUp(User& user) {
    user.waiting = false;
    user.self.request = {};
  }

  void Use(User& user) {
    if (user.taken != nullptr) return LetGo(user);
    Stream& stream = user.self.lease.stream();
    switch (network_.Random(11)) {
      case 0:
        user.self.lease = {};
        break;
      case 1:
        stream.PauseReceiving();
        user.self.lease.Return();
        break;
      case 2:
        stream.Send("x");
        user.self.lease.Return();
        break;
      case 3:
        stream.Close();
        Chance(2) ? user.self.lease.Return() : (void)(user.self.lease = {});
        break;
      case 4:
        user.taken = user.self.lease.TakeStream();
        user.taken->SetHandler(user.self);
        break;
      case 5:
        stream.Send("question");  // and perhaps returned before the answer, which is a mistake
        break;
      default:
        user.self.lease.Return();
    }
  }

  void LetGo(User& user) {
    user.taken.reset();
    user.self.lease = {};
  }

  void OnDone(User& user) {
    if (!user.waiting) Wrong("a function was called twice, or after it was given up");
    user.waiting = false;
    if (user.self.has() && user.fresh_only && user.self.lease.reused()) Wrong("it is not fresh");
    if (user.self.has()) OnLease(user);
    if (Chance(4) && user.self.has()) user.self.lease.Return();
    if (Chance(4) && !user.self.has()) Borrow(user);
  }

  void OnLease(const User& user) {
    if (drain_begun_) Wrong("a connection was lent after the drain had begun");
    if (!calm_) return;
    for (const User& other : users_) {
      const bool could = other.waiting && other.target == user.target &&
                         (!other.fresh_only || !user.self.lease.reused());
      // One that did not wait is served only where nobody else could have been.
      if (could && (user.order == 0 || other.order < user.order))
        Wrong(absl::StrCat("request ", user.order, " was served before ", other.order));
    }
  }

  void Disturb() {
    const size_t i = network_.Random(kTargets);
    PoolBackend& backend = *backends_[i];
    if (Chance(8)) {
      cut_ ? network_.Heal(client_, server_) : network_.Partition(client_, server_);
      cut_ = !cut_;
      return;
    }
    if (Chance(8)) {
      listening_[i] ? backend.StopListening() : backend.Listen(server_.loop());
      listening_[i] = !listening_[i];
      return;
    }
    std::vector<PoolBackend::Peer*> open;
    for (const auto& peer : backend.peers) {
      if (!peer->closed()) open.push_back(peer.get());
    }
    if (open.empty()) return;
    PoolBackend::Peer& peer = *open[network_.Random(open.size())];
    switch (network_.Random(4)) {
      case 0:
        return peer.stream().Close();
      case 1:
        return peer.stream().Abort(absl::InternalError("broken"));
      case 2:
        return peer.stream().ShutdownSend();
      default:
        peer.stream().Send("nobody asked");
    }
  }

  void Drain() {
    drain_begun_ = true;
    dials_at_drain_ = pool_->statistics().dials;
    pool_->Drain(absl::Milliseconds(Between(0, 300)), [this] {
      if (std::exchange(drained_, true)) Wrong("drained twice");
      const PoolCounts& now = pool_->statistics().now;
      if (now.open() != now.lent) Wrong("something is open after the drain");
    });
  }

  // What must hold.

  void Let(absl::Duration time) {
    network_.RunUntil(
        [this] {
          Check();
          return !mistake_.empty();
        },
        time);
  }

  void Check() {
    const PoolStatistics& s = pool_->statistics();
    if (const std::string wrong = test::Mistake(s); !wrong.empty()) Wrong(wrong);
    CheckLimits(s.now);
    CheckUsers(s.now);
    if (drain_begun_ && s.dials != dials_at_drain_) Wrong("a dial after the drain had begun");
    for (size_t i = 0; i < kTargets; ++i) {
      CheckProgress(s.now, targets_[i].counts(), since_[i]);
      CheckReserve(s.now, targets_[i].counts(), missing_since_[i]);
    }
  }

  void CheckLimits(const PoolCounts& now) {
    if (now.open() > max_open_) Wrong(absl::StrCat("open: ", now.open()));
    if (now.idle > max_idle_) Wrong(absl::StrCat("idle: ", now.idle));
    // Above max_waiting: those whose connection ended before they heard of it.
    if (now.waiting > max_waiting_ + max_open_) Wrong(absl::StrCat("waiting: ", now.waiting));
    size_t open = 0;
    for (const ConnectionPool::Target& target : targets_) {
      const PoolCounts counts = target.counts();
      open += counts.open();
      if (counts.open() > of_target_.max_open) Wrong("open of a target");
      if (counts.idle > of_target_.max_idle) Wrong("idle of a target");
      if (counts.waiting > of_target_.max_waiting + of_target_.max_open)
        Wrong("waiting of a target");
    }
    if (open != now.open()) Wrong("the targets do not make the whole");
  }

  void CheckUsers(const PoolCounts& now) {
    std::set<Stream*> streams;
    size_t waiting = 0;
    for (const User& user : users_) {
      if (user.self.has()) {
        Stream* const stream = user.taken != nullptr ? user.taken.get() : &user.self.lease.stream();
        if (!streams.insert(stream).second) Wrong("one connection was lent to two");
      }
      waiting += user.waiting ? 1 : 0;
      if (user.waiting && network_.now() > user.deadline + kSlack) Wrong("a deadline has passed");
    }
    if (streams.size() != now.lent) Wrong("a lease is lost");
    if (waiting < now.waiting + now.ready) Wrong("a request is lost");
  }

  // Nobody waits for nothing: who waits has a dial or a check under way, or there is no room.
  void CheckProgress(const PoolCounts& all, const PoolCounts& of, MonotonicTime& since) {
    const bool room = of.open() < of_target_.max_open &&
                      (all.open() < max_open_ || all.idle > 0 || all.closing > 0);
    const bool idle = of.idle > 0 && of.waiting > of.checking + of.dialing;
    const bool stuck = (room && of.waiting > of.dialing + of.checking) || idle;
    if (!stuck) since = MonotonicTime::InfiniteFuture();
    if (stuck && since == MonotonicTime::InfiniteFuture()) since = network_.now();
    if (stuck && network_.now() - since > kSlack) Wrong("who waits was forgotten");
  }

  // A reserve that has room is being filled, but for the pauses after failures.
  void CheckReserve(const PoolCounts& all, const PoolCounts& of, MonotonicTime& since) {
    const bool missing = of.idle + of.checking < of_target_.min_idle && of.dialing == 0;
    const bool room = of.open() < of_target_.max_open && all.open() < max_open_ &&
                      all.idle + all.dialing < max_idle_;
    const bool due = missing && room && !drain_begun_;
    if (!due) since = MonotonicTime::InfiniteFuture();
    if (due && since == MonotonicTime::InfiniteFuture()) since = network_.now();
    if (due && network_.now() - since > kMostBackoff + kSlack) Wrong("a reserve was forgotten");
  }

  // Everybody gives back what he has: nothing is left, here or at the servers.
  void End() {
    if (cut_) network_.Heal(client_, server_);
    Let(absl::Seconds(1));
    for (User& user : users_) {
      if (user.waiting) GiveUp(user);
      user.self.on_done = nullptr;
      LetGo(user);
    }
    targets_.clear();
    network_.RunFor(absl::Seconds(5));
    const PoolStatistics& s = pool_->statistics();
    if (s.now.open() + s.now.waiting != 0) Wrong("something is left");
    if (drain_begun_ && !drained_) Wrong("the drain has not ended");
    if (const std::string wrong = test::Mistake(s); !wrong.empty()) Wrong(wrong);
    for (const auto& backend : backends_) {
      if (backend->open() != 0) Wrong("a connection is left at a server");
    }
  }

  const bool calm_;
  std::vector<User> users_;  // hear of the loops' end
  SimulatedNetwork network_;
  SimulatedHost& server_ = network_.AddHost("server");
  SimulatedHost& client_ = network_.AddHost("client");
  std::vector<std::unique_ptr<PoolBackend>> backends_;
  std::unique_ptr<ConnectionPool> pool_;
  std::vector<ConnectionPool::Target> targets_;
  ConnectionPool::TargetOptions of_target_;
  size_t max_open_ = 0, max_idle_ = 0, max_waiting_ = 0;
  uint64_t order_ = 0;
  bool cut_ = false;
  bool listening_[kTargets] = {true, true, true};
  bool drain_begun_ = false, drained_ = false;
  uint64_t dials_at_drain_ = 0;
  MonotonicTime since_[kTargets] = {MonotonicTime::InfiniteFuture(),
                                    MonotonicTime::InfiniteFuture(),
                                    MonotonicTime::InfiniteFuture()};
  MonotonicTime missing_since_[kTargets] = {MonotonicTime::InfiniteFuture(),
                                            MonotonicTime::InfiniteFuture(),
                                            MonotonicTime::InfiniteFuture()};
  std::string mistake_;
};

// What happened in all runs, by counter.
using Sums = std::map<std::string, uint64_t>;

void Add(Sums& sums, const PoolStatistics& s) {
  const PoolStatistics::Closed& closed = s.closed;
  for (const auto& [name, count] :
       std::vector<std::pair<const char*, uint64_t>>{{"misses", s.misses},
                                                     {"reused", s.reused},
                                                     {"fresh", s.fresh},
                                                     {"failed", s.failed},
                                                     {"refused", s.refused},
                                                     {"timed_out", s.timed_out},
                                                     {"given_up", s.given_up},
                                                     {"cancelled", s.cancelled},
                                                     {"dials_given_up", s.dials_given_up},
                                                     {"checks_passed", s.checks_passed},
                                                     {"dropped", closed.dropped},
                                                     {"taken", closed.taken},
                                                     {"unclean", closed.unclean},
                                                     {"ended", closed.ended},
                                                     {"unexpected_bytes", closed.unexpected_bytes},
                                                     {"failed_check", closed.failed_check},
                                                     {"idle_timeout", closed.idle_timeout},
                                                     {"life_time", closed.life_time},
                                                     {"evicted", closed.evicted},
                                                     {"surplus", closed.surplus},
                                                     {"drained", closed.drained}})
    sums[name] += count;
}

Sums RunSeeds(uint64_t first, uint64_t count, bool calm) {
  Sums sums;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    World world(seed, calm);
    world.Run();
    EXPECT_EQ(world.mistake(), "") << "seed " << seed;
    if (!world.mistake().empty()) break;
    Add(sums, world.statistics());
  }
  return sums;
}

TEST(ConnectionPoolPropertyTest, WhateverHappensItKeepsItsPromises) {
  for (const auto& [name, count] : RunSeeds(1, 200, /*calm=*/false))
    EXPECT_GT(count, 10u) << name << " hardly ever happened, so little was shown";
}

TEST(ConnectionPoolPropertyTest, RequestsAreServedInTheirOrder) {
  EXPECT_GT(RunSeeds(1001, 60, /*calm=*/true)["reused"], 500u);
}

}  // namespace
}  // namespace sluice
