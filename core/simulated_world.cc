#include "sluice/core/simulated_world.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sluice/core/internal/check.h"

namespace sluice::internal {
namespace {

constexpr size_t kReceiveBytes = 256 * 1024;
constexpr int kTracedLinesOfDescription = 40;

std::string KeyOf(const SocketAddress& address) { return address.WithPort(0).ToString(); }

}  // namespace

SimulatedWorld::SimulatedWorld(uint64_t seed, const SimulatedNetwork::Options& options)
    : seed_(seed),
      options_(options),
      random_(seed),
      receive_block_(Block::NewExact(kReceiveBytes)) {}

SimulatedWorld::~SimulatedWorld() {
  for (SimulatedHostState* host : states_) host->loop = nullptr;
}

uint64_t SimulatedWorld::Below(uint64_t bound) { return bound == 0 ? 0 : random_.Next() % bound; }

bool SimulatedWorld::Chance(double chance) { return chance > 0 && random_.Fraction() < chance; }

absl::Duration SimulatedWorld::UpTo(absl::Duration most) {
  const int64_t nanoseconds = absl::ToInt64Nanoseconds(most);
  if (nanoseconds <= 0) return absl::ZeroDuration();
  return absl::Nanoseconds(Below(static_cast<uint64_t>(nanoseconds) + 1));
}

// The clock.

void SimulatedWorld::At(MonotonicTime time, absl::AnyInvocable<void()> function) {
  events_.push_back({time, next_sequence_++, std::move(function)});
  std::push_heap(events_.begin(), events_.end(), Later);
}

MonotonicTime SimulatedWorld::NextEvent() const {
  return events_.empty() ? MonotonicTime::InfiniteFuture() : events_.front().time;
}

void SimulatedWorld::RunDue() {
  while (!events_.empty() && events_.front().time <= now_) {
    std::pop_heap(events_.begin(), events_.end(), Later);
    absl::AnyInvocable<void()> run = std::move(events_.back().run);
    events_.pop_back();
    run();
  }
}

bool SimulatedWorld::Step(MonotonicTime deadline, const SimulatedPoller* waiting) {
  RunDue();
  std::vector<SimulatedHostState*> busy;
  MonotonicTime next = NextEvent();
  for (SimulatedHostState* host : states_) {
    if (host->crashed || host->stalled || host->poller == waiting) continue;
    const MonotonicTime work = host->loop->NextWork();
    if (work <= now_ || host->poller->has_work()) {
      busy.push_back(host);
    } else {
      next = std::min(next, work);
    }
  }
  if (!busy.empty()) {
    Shuffle(busy);
    for (SimulatedHostState* host : busy) {
      if (host->crashed || host->stalled) continue;
      const SimulatedHostState* outer = std::exchange(running_, host);
      host->loop->RunOnce(absl::ZeroDuration());
      running_ = outer;
    }
    return true;
  }
  if (next > deadline || next == MonotonicTime::InfiniteFuture()) {
    if (deadline != MonotonicTime::InfiniteFuture()) now_ = std::max(now_, deadline);
    return false;
  }
  now_ = std::max(now_, next);
  RunDue();
  return true;
}

void SimulatedWorld::AppendTrace(absl::string_view line) {
  absl::StrAppend(&trace_, absl::FormatDuration(now_ - start_), " ", line, "\n");
}

// Hosts.

std::vector<SocketAddress> SimulatedWorld::AddressesFor(absl::string_view name) {
  for (const std::string& text : {absl::StrCat(name, ":0"), absl::StrCat("[", name, "]:0")}) {
    if (absl::StatusOr<SocketAddress> address = SocketAddress::Parse(text); address.ok())
      return {*address};
  }
  for (const SimulatedHostState* host : states_) {
    if (host->name == name) return host->addresses;  // its successor's
  }
  const int n = next_address_++;
  return {*SocketAddress::Parse(absl::StrCat("10.0.", n >> 8, ".", n & 255, ":0")),
          *SocketAddress::Parse(absl::StrCat("[fd00::", absl::Hex(n), "]:0"))};
}

SimulatedHostState& SimulatedWorld::AddHost(std::unique_ptr<SimulatedHost> host,
                                            SimulatedHostState& state) {
  state.index = static_cast<int>(states_.size());
  for (const SocketAddress& address : state.addresses) {
    SimulatedHostState*& at = by_address_[KeyOf(address)];
    SLUICE_CHECK(at == nullptr || at->crashed);  // names and addresses are unique
    if (at != nullptr) state.index = at->index;
    at = &state;
  }
  hosts_.push_back(std::move(host));
  states_.push_back(&state);
  auto poller = std::make_unique<SimulatedPoller>(*this, state);
  state.poller = poller.get();
  state.loop = std::make_unique<EventLoop>(std::move(poller));
  ScheduleStall(state);
  return state;
}

SimulatedHostState* SimulatedWorld::HostAt(const SocketAddress& address) const {
  const auto it = by_address_.find(KeyOf(address));
  return it == by_address_.end() ? nullptr : it->second;
}

void SimulatedWorld::SetStalled(SimulatedHostState& host, bool stalled) {
  if (host.stalled == stalled) return;
  host.stalled = stalled;
  Trace(host.name, stalled ? " stalls" : " resumes");
}

void SimulatedWorld::ScheduleStall(SimulatedHostState& host) {
  if (host.options.stall_every == absl::InfiniteDuration()) return;
  const uint64_t version = host.stall_version;
  At(now_ + UpTo(2 * host.options.stall_every), [this, &host, version] {
    if (host.crashed || host.stall_version != version) return;
    SetStalled(host, true);
    At(now_ + UpTo(host.options.stall_for), [this, &host, version] {
      if (host.crashed || host.stall_version != version) return;
      SetStalled(host, false);
      ScheduleStall(host);
    });
  });
}

void SimulatedWorld::Crash(SimulatedHostState& host, bool silent) {
  SLUICE_CHECK(running_ != &host);   // its turn would go on
  SLUICE_CHECK(!host.run_by_owner);  // maybe just now
  if (host.crashed) return;
  Trace(host.name, silent ? " is gone" : " dies");
  host.crashed = true;
  host.silent = silent;
  std::vector<uint64_t> ids;
  for (const auto& [id, connection] : connections_) ids.push_back(id);
  for (const uint64_t id : ids) {
    for (int side = 0; side < 2; ++side) {
      SimulatedConnection* connection = Find(id);
      if (connection == nullptr || connection->ends[side].host != &host) continue;
      SimulatedEnd& end = connection->ends[side];
      if (!end.open && !silent) continue;
      end.vanished = silent;
      if (!silent) {
        Close(*connection, side, /*abort=*/true);
        continue;
      }
      end.open = false;
      end.poller = nullptr;
      connection->flows[side].unsent.Clear();
      connection->flows[side].end_wanted = false;  // nor does it send an end
      Probe(*connection, 1 - side);
      EraseIfOver(*connection);
    }
  }
  host.listeners.clear();
  datagrams_.Crash(host);
  host.descriptors = 0;
  for (SimulatedPoller* poller : host.pollers) poller->ForgetAll();
}

// Links.

SimulatedWorld::Link& SimulatedWorld::LinkOf(int a, int b) {
  const auto [it, is_new] = links_.try_emplace(std::minmax(a, b));
  if (is_new) {
    // Within a host the way is perfect.
    it->second.options = a == b ? SimulatedLink{.latency = absl::ZeroDuration()} : options_.link;
    SchedulePartition(a, b);
  }
  return it->second;
}

MonotonicTime SimulatedWorld::Depart(Link& link, int direction, size_t bytes) {
  MonotonicTime& free_from = link.free_from[direction];
  free_from = std::max(free_from, now_);
  if (link.options.bytes_per_second > 0)
    free_from += absl::Seconds(static_cast<double>(bytes) / link.options.bytes_per_second);
  return free_from;
}

void SimulatedWorld::SetLink(int a, int b, const SimulatedLink& options) {
  Link& link = LinkOf(a, b);
  link.options = options;
  ++link.version;
  SchedulePartition(a, b);
}

void SimulatedWorld::SetPartition(int a, int b, bool partitioned) {
  Link& link = LinkOf(a, b);
  if (link.partitioned == partitioned) return;
  link.partitioned = partitioned;
  Trace(states_[static_cast<size_t>(a)]->name, " and ", states_[static_cast<size_t>(b)]->name,
        partitioned ? " are parted" : " are joined");
  for (const auto& [id, connection] : connections_) {
    if (!Joins(*connection, a, b)) continue;
    for (int side = 0; side < 2; ++side)
      partitioned ? Probe(*connection, side) : ScheduleWindowUpdate(*connection, side);
  }
}

void SimulatedWorld::SchedulePartition(int a, int b) {
  Link& link = LinkOf(a, b);
  if (link.options.partition_every == absl::InfiniteDuration()) return;
  const uint64_t version = link.version;
  At(now_ + UpTo(2 * link.options.partition_every), [this, a, b, version] {
    Link& now = LinkOf(a, b);
    if (now.version != version) return;
    SetPartition(a, b, true);
    At(now_ + UpTo(now.options.partition_for), [this, a, b, version] {
      if (LinkOf(a, b).version != version) return;
      SetPartition(a, b, false);
      SchedulePartition(a, b);
    });
  });
}

}  // namespace sluice::internal

namespace sluice {

using internal::SimulatedHostState;
using internal::SimulatedPoller;
using internal::SimulatedWorld;

SimulatedHost::SimulatedHost(SimulatedWorld& world, std::unique_ptr<SimulatedHostState> state)
    : world_(world), state_(std::move(state)) {}
SimulatedHost::~SimulatedHost() = default;

EventLoop& SimulatedHost::loop() { return *state_->loop; }
const std::string& SimulatedHost::name() const { return state_->name; }
SocketAddress SimulatedHost::Address(uint16_t port) const {
  return state_->addresses.front().WithPort(port);
}
void SimulatedHost::set_options(const SimulatedHostOptions& options) {
  state_->options = options;
  ++state_->stall_version;
  world_.ScheduleStall(*state_);
}
void SimulatedHost::Stall() { world_.SetStalled(*state_, true); }
void SimulatedHost::Resume() { world_.SetStalled(*state_, false); }
void SimulatedHost::CrashNow(Crash crash) { world_.Crash(*state_, crash == Crash::kMachine); }
int SimulatedHost::descriptors() const { return state_->descriptors; }
std::unique_ptr<Poller> SimulatedHost::NewPoller() {
  return std::make_unique<SimulatedPoller>(world_, *state_);
}

SimulatedNetwork::SimulatedNetwork(uint64_t seed, const Options& options)
    : world_(std::make_unique<SimulatedWorld>(seed, options)) {}
SimulatedNetwork::~SimulatedNetwork() = default;

SimulatedHost& SimulatedNetwork::AddHost(absl::string_view name) {
  return AddHost(name, world_->options().host);
}

SimulatedHost& SimulatedNetwork::AddHost(absl::string_view name,
                                         const SimulatedHostOptions& options) {
  auto state = std::make_unique<SimulatedHostState>();
  state->name = std::string(name);
  state->options = options;
  state->addresses = world_->AddressesFor(name);
  SimulatedHostState& its_state = *state;
  std::unique_ptr<SimulatedHost> host(new SimulatedHost(*world_, std::move(state)));
  SimulatedHost& result = *host;
  world_->AddHost(std::move(host), its_state);
  return result;
}

void SimulatedNetwork::SetLink(SimulatedHost& a, SimulatedHost& b, const SimulatedLink& link) {
  world_->SetLink(a.state_->index, b.state_->index, link);
}
void SimulatedNetwork::Partition(SimulatedHost& a, SimulatedHost& b) {
  world_->SetPartition(a.state_->index, b.state_->index, true);
}
void SimulatedNetwork::Heal(SimulatedHost& a, SimulatedHost& b) {
  world_->SetPartition(a.state_->index, b.state_->index, false);
}
void SimulatedNetwork::ResetConnections(SimulatedHost& a, SimulatedHost& b) {
  world_->ResetConnections(a.state_->index, b.state_->index);
}
void SimulatedNetwork::After(absl::Duration time, absl::AnyInvocable<void()> function) {
  world_->At(now() + time, std::move(function));
}

bool SimulatedNetwork::RunUntil(absl::FunctionRef<bool()> done, absl::Duration timeout) {
  const MonotonicTime deadline = now() + timeout;
  while (!done()) {
    if (!world_->Step(deadline, nullptr) || now() > deadline) return done();
  }
  return true;
}

void SimulatedNetwork::RunFor(absl::Duration time) {
  RunUntil([] { return false; }, time);
}

MonotonicTime SimulatedNetwork::now() const { return world_->now(); }
uint64_t SimulatedNetwork::seed() const { return world_->seed(); }
uint64_t SimulatedNetwork::Random(uint64_t bound) { return world_->Below(bound); }
size_t SimulatedNetwork::connections() const { return world_->connections(); }
const std::string& SimulatedNetwork::trace() const { return world_->trace(); }
void SimulatedNetwork::Note(absl::string_view line) { world_->Trace(line); }

std::string SimulatedNetwork::Describe() const {
  const std::string& trace = world_->trace();
  size_t from = trace.size();
  for (int line = 0; line <= internal::kTracedLinesOfDescription && from != 0; ++line)
    from = from == 1 ? 0 : trace.rfind('\n', from - 2) + 1;
  return absl::StrCat("seed ", seed(), ", ", absl::FormatDuration(now() - world_->start_),
                      " after the start\n", absl::string_view(trace).substr(from));
}

}  // namespace sluice
