#include "sluice/tests/simulation/exploration.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/internal/counting_new.h"
#include "sluice/core/internal/pool.h"
#include "sluice/core/simulation.h"
#include "sluice/core/slice.h"
#include "sluice/core/tcp.h"
#include "sluice/core/tcp_testing.h"
#include "sluice/core/timer.h"

namespace sluice::exploration {
namespace {

constexpr uint16_t kPort = 9000;
constexpr absl::Duration kRetry = absl::Milliseconds(300);
// Small, so that back-pressure is common.
constexpr StreamLimits kLimits = {.high = 16 * 1024, .low = 4 * 1024};
// Of a connection whose peer's machine has gone; the others have none, which would hide that an end
// is never woken.
constexpr absl::Duration kIdleTimeout = absl::Seconds(30);

class Client final : private Talker {
 public:
  Client(SimulatedNetwork& network, SimulatedHost& host, const SocketAddress& server,
         Protocol& protocol, Failures& failures, Totals& totals)
      : network_(network),
        host_(host),
        server_(server),
        protocol_(protocol),
        failures_(failures),
        totals_(totals),
        connector_(std::make_unique<Connector>(host.loop())),
        retry_([this] { Connect(); }) {
    Connect();
  }

  bool done() const { return done_; }

  bool connected() const { return now_ != nullptr && !now_->witness.closed(); }

  // The server's machine has gone.
  void ServerHasGone() {
    if (connected()) now_->talk->stream().SetIdleTimeout(kIdleTimeout);
  }

  // Its own host has crashed, or the run ends. Returns the witness of the connection that dies with
  // it, or null.
  const Witness* Die() {
    dead_ = true;
    connector_ = nullptr;
    retry_.Cancel();
    return connected() ? &now_->witness : nullptr;
  }

 private:
  // One attempt at the whole conversation.
  struct Attempt {
    Attempt(Failures& failures, std::string name) : witness(failures, std::move(name)) {}
    Witness witness;
    std::unique_ptr<Talk> talk;
    size_t offset = 0;           // of its bytes in the pattern
    std::deque<size_t> to_send;  // sizes
    std::deque<size_t> to_receive;
    size_t sent = 0;
    size_t received = 0;
    bool ends_first = false;  // says that it has sent all, before it has received all
    bool ended = false;
    bool closing = false;
  };

  void Connect() {
    connector_->Connect(server_, {.stream = {.limits = kLimits}},
                        [this](absl::StatusOr<std::unique_ptr<Stream>> stream) {
                          if (stream.ok()) return Begin(*std::move(stream));
                          host_.loop().ArmTimer(retry_, kRetry);
                        });
  }

  void Begin(std::unique_ptr<Stream> stream) {
    ++totals_.connections;
    attempts_.push_back(std::make_unique<Attempt>(
        failures_, absl::StrCat(host_.name(), " attempt ", attempts_.size())));
    now_ = attempts_.back().get();
    now_->offset = network_.Random(1'000'000);
    now_->ends_first = network_.Random(2) == 0;
    const uint64_t messages = 1 + network_.Random(30);
    for (uint64_t i = 0; i < messages; ++i) {
      constexpr uint64_t kBounds[] = {1, 100, 100, 5'000, 60'000};
      now_->to_send.push_back(1 + network_.Random(kBounds[network_.Random(5)]));
    }
    now_->to_receive = now_->to_send;
    now_->talk = protocol_.Open(std::move(stream), *this, now_->witness);
  }

  void OnOpen() override { SendMore(); }
  void OnReady() override { SendMore(); }

  void SendMore() {
    SendResult result = SendResult::kSent;
    while (result == SendResult::kSent && !now_->to_send.empty()) {
      const size_t size = now_->to_send.front();
      result = now_->talk->Send(test::Pattern(now_->offset + now_->sent, size));
      if (result == SendResult::kRefused) return;  // it is breaking
      now_->to_send.pop_front();
      now_->sent += size;
    }
    if (now_->to_send.empty() && now_->ends_first && !std::exchange(now_->ended, true))
      now_->talk->EndSending();
  }

  void OnMessage(absl::Span<const uint8_t> message) override {
    const absl::string_view bytes(reinterpret_cast<const char*>(message.data()), message.size());
    if (now_->received + bytes.size() > now_->sent) return now_->witness.Fail("more than was sent");
    if (bytes != test::Pattern(now_->offset + now_->received, bytes.size()))
      now_->witness.Fail(absl::StrCat("other bytes than were sent, at ", now_->received));
    if (protocol_.keeps_messages() && bytes.size() != now_->to_receive.front())
      now_->witness.Fail(absl::StrCat("a message of another size, at ", now_->received));
    now_->received += bytes.size();
    for (size_t left = bytes.size(); left != 0;) {
      size_t& size = now_->to_receive.front();
      const size_t part = std::min(left, size);
      left -= part;
      size -= part;
      if (size != 0) continue;
      now_->to_receive.pop_front();
      ++totals_.messages;
    }
    if (now_->to_receive.empty() && !std::exchange(now_->closing, true)) now_->talk->Close();
  }

  void OnEnd() override {
    // With nothing sent back yet, the server may have been out of descriptors, and not have served.
    if (now_->received != 0 && !now_->to_receive.empty())
      now_->witness.Fail("the server ends before it has sent all back");
  }

  void OnClosed() override {
    if (dead_) return;  // the end of all
    if (now_->closing) {
      done_ = true;
      return;
    }
    ++totals_.broken;
    host_.loop().ArmTimer(retry_, kRetry);
  }

  SimulatedNetwork& network_;
  SimulatedHost& host_;
  const SocketAddress server_;
  Protocol& protocol_;
  Failures& failures_;
  Totals& totals_;
  std::unique_ptr<Connector> connector_;
  Timer retry_;
  std::vector<std::unique_ptr<Attempt>> attempts_;  // kept, so that late calls are noticed
  Attempt* now_ = nullptr;
  bool done_ = false;
  bool dead_ = false;
};

// Faults of a kind are in some runs, and not in others.
class Faults {
 public:
  explicit Faults(SimulatedNetwork& network) : network_(network) {}

  SimulatedLink Link() {
    return {.latency = Up(absl::Milliseconds(100)),
            .jitter = Maybe() ? Up(absl::Milliseconds(100)) : absl::ZeroDuration(),
            .bytes_per_second = Maybe() ? 20'000.0 + static_cast<double>(Below(1'000'000)) : 0,
            .loss = Maybe() ? Chance(10) : 0,
            .reset = Maybe() ? Chance(50) : 0,
            .refuse = Maybe() ? Chance(4) : 0,
            .ignore = Maybe() ? Chance(10) : 0,
            .partition_every = Maybe() ? absl::Seconds(5) : absl::InfiniteDuration(),
            .partition_for = absl::Seconds(8)};
  }

  SimulatedHostOptions Host() {
    SimulatedHostOptions options;
    options.short_send = Maybe() ? Chance(2) : 0;
    options.short_receive = Maybe() ? Chance(2) : 0;
    if (Maybe()) options.descriptors = 2 + static_cast<int>(Below(3));
    if (Maybe()) options.send_buffer_bytes = options.receive_buffer_bytes = 4096;
    options.stall_every = Maybe() ? absl::Seconds(5) : absl::InfiniteDuration();
    return options;
  }

  // Between two crashes, on average half of it; infinite where none is to come.
  absl::Duration CrashInterval() {
    if (Maybe()) return absl::InfiniteDuration();
    return absl::Seconds(Maybe() ? 2 : 20);
  }
  SimulatedHost::Crash Crash() {
    return Maybe() ? SimulatedHost::Crash::kProcess : SimulatedHost::Crash::kMachine;
  }

  bool Maybe() { return Below(2) == 0; }
  absl::Duration Up(absl::Duration most) {
    return absl::Nanoseconds(Below(static_cast<uint64_t>(absl::ToInt64Nanoseconds(most))));
  }

 private:
  uint64_t Below(uint64_t bound) { return network_.Random(bound); }
  // At most one in `n`.
  double Chance(uint64_t n) {
    return static_cast<double>(Below(1000)) / (1000.0 * static_cast<double>(n));
  }

  SimulatedNetwork& network_;
};

class Run {
 public:
  Run(const Scenario& scenario, uint64_t seed, bool trace, std::vector<Slice>& leaked,
      Failures& failures, Totals& totals)
      : failures_(failures),
        totals_(totals),
        make_protocol_(
            [=, &leaked] { return MakeProtocol(scenario.protocol, scenario.bug, leaked); }),
        network_(
            std::make_unique<SimulatedNetwork>(seed, SimulatedNetwork::Options{.trace = trace})),
        faults_(*network_) {
    StartServer();
    clients_.resize(1 + network_->Random(3));
    for (size_t i = 0; i < clients_.size(); ++i) {
      StartClient(i);
      network_->SetLink(*server_, *clients_[i].host, faults_.Link());
    }
    trouble_ = absl::Seconds(1) + faults_.Up(absl::Seconds(60));
    crash_interval_ = faults_.CrashInterval();
    ScheduleCrash();
  }

  // Returns the trace.
  std::string Go() {
    network_->RunUntil([this] { return Done(); }, trouble_);
    EndFaults();
    if (!network_->RunUntil([this] { return Done(); }, absl::Minutes(10)))
      failures_.push_back("a client is not done, though the network is well");
    // A connection that the server has accepted only after its client's machine had gone.
    for (const Place& place : clients_) {
      if (place.was_gone) TellServicesOf(place);
    }
    network_->RunFor(2 * kIdleTimeout);
    for (size_t i = first_alive_; i < services_.size(); ++i) {
      if (!services_[i]->witness().closed())
        failures_.push_back("a connection of the server's is not closed");
    }
    for (const auto& [host, client, was_gone] : clients_) client->Die();  // where it is not done
    listener_ = nullptr;
    CheckNothingIsLeft(*server_);
    for (const auto& [host, client, was_gone] : clients_) CheckNothingIsLeft(*host);
    for (const auto& [witness, calls] : dead_) {
      if (witness->calls() != calls) witness->Fail("is called after its host has crashed");
    }
    if (network_->connections() != 0) failures_.push_back("the network has connections still");
    std::string trace = network_->trace();
    network_ = nullptr;
    for (const auto& [witness, calls] : dead_) {
      if (!witness->closed()) witness->Fail("is not closed at the end of its loop");
    }
    return trace;
  }

 private:
  struct Place {
    SimulatedHost* host = nullptr;
    std::unique_ptr<Client> client;
    bool was_gone = false;  // the machine, at least once
  };

  bool Done() const {
    return std::all_of(clients_.begin(), clients_.end(),
                       [](const Place& place) { return place.client->done(); });
  }

  SimulatedHost& AddHost(absl::string_view name) {
    return network_->AddHost(name, well_ ? SimulatedHostOptions() : faults_.Host());
  }

  void StartServer() {
    server_ = &AddHost("server");
    Protocol& protocol = NewProtocol();
    listener_ = *Listener::Listen(
        server_->loop(), server_->Address(kPort), {.stream = {.limits = kLimits}},
        [this, &protocol](std::unique_ptr<Stream> stream) {
          services_.push_back(protocol.Serve(
              std::move(stream), Witness(failures_, absl::StrCat("server's ", services_.size()))));
        });
  }

  void StartClient(size_t i) {
    Place& place = clients_[i];
    place.host = &AddHost(absl::StrCat("client", i));
    place.client = std::make_unique<Client>(*network_, *place.host, server_->Address(kPort),
                                            NewProtocol(), failures_, totals_);
  }

  Protocol& NewProtocol() {
    protocols_.push_back(make_protocol_());
    return *protocols_.back();
  }

  // Crashes. Whoever has crashed is back soon, and knows nothing.

  void ScheduleCrash() {
    if (crash_interval_ == absl::InfiniteDuration()) return;
    network_->After(faults_.Up(crash_interval_), [this] {
      if (well_) return;
      faults_.Maybe() ? CrashServer() : CrashClient(network_->Random(clients_.size()));
      ScheduleCrash();
    });
  }

  void CrashServer() {
    if (listener_ == nullptr) return;  // it has not come back yet
    ++totals_.crashes;
    const SimulatedHost::Crash crash = faults_.Crash();
    server_->CrashNow(crash);
    listener_ = nullptr;
    for (; first_alive_ < services_.size(); ++first_alive_)
      Mourn(services_[first_alive_]->witness());
    if (crash == SimulatedHost::Crash::kMachine) {
      for (const auto& [host, client, was_gone] : clients_) client->ServerHasGone();
    }
    network_->After(faults_.Up(absl::Seconds(5)), [this] { StartServer(); });
  }

  void CrashClient(size_t i) {
    Place& place = clients_[i];
    if (place.client->done()) return;
    ++totals_.crashes;
    const SimulatedHost::Crash crash = faults_.Crash();
    place.host->CrashNow(crash);
    if (const Witness* witness = place.client->Die()) Mourn(*witness);
    dead_clients_.push_back(std::move(place.client));
    if (crash == SimulatedHost::Crash::kMachine) {
      place.was_gone = true;
      TellServicesOf(place);
    }
    StartClient(i);
  }

  void TellServicesOf(const Place& place) {
    for (size_t i = first_alive_; i < services_.size(); ++i) {
      if (services_[i]->witness().closed()) continue;
      Stream& stream = services_[i]->stream();
      if (stream.peer_address().WithPort(0) == place.host->Address(0))
        stream.SetIdleTimeout(kIdleTimeout);
    }
  }

  void Mourn(const Witness& witness) {
    if (!witness.closed()) dead_.emplace_back(&witness, witness.calls());
  }

  void EndFaults() {
    network_->Note("the network is well");
    well_ = true;
    for (const auto& [host, client, was_gone] : clients_) {
      network_->SetLink(*server_, *host, {});
      network_->Heal(*server_, *host);
      host->set_options({});
      host->Resume();
    }
    server_->set_options({});
    server_->Resume();
  }

  void CheckNothingIsLeft(SimulatedHost& host) {
    if (host.loop().NextWork() != MonotonicTime::InfiniteFuture())
      failures_.push_back(absl::StrCat(host.name(), ": a timer is left"));
    if (host.loop().counters().streams != 0)
      failures_.push_back(absl::StrCat(host.name(), ": a stream is left"));
    if (host.descriptors() != 0)
      failures_.push_back(absl::StrCat(host.name(), ": a descriptor is left"));
  }

  Failures& failures_;
  Totals& totals_;
  const std::function<std::unique_ptr<Protocol>()> make_protocol_;
  std::vector<std::unique_ptr<Protocol>> protocols_;  // one for each loop
  // Kept until the network is gone, so that late calls are noticed: what has served, the
  // connections that died with their hosts, and how often each had been called.
  std::vector<std::unique_ptr<Service>> services_;
  std::vector<std::unique_ptr<Client>> dead_clients_;
  std::vector<std::pair<const Witness*, int>> dead_;
  size_t first_alive_ = 0;  // of the services
  std::unique_ptr<SimulatedNetwork> network_;
  Faults faults_;
  SimulatedHost* server_ = nullptr;
  std::unique_ptr<Listener> listener_;
  std::vector<Place> clients_;
  absl::Duration trouble_;
  absl::Duration crash_interval_;
  bool well_ = false;
};

int64_t LiveAllocations() {
  internal::TrimPool();
  return internal::CountAllocations().live;
}

Failures RunSeed(const Scenario& scenario, uint64_t seed, Totals& totals, std::string* trace) {
  Failures failures;
  failures.reserve(64);
  std::vector<Slice> leaked;
  const int64_t before = LiveAllocations();
  {
    Run run(scenario, seed, trace != nullptr, leaked, failures, totals);
    std::string all = run.Go();
    if (trace != nullptr) *trace = std::move(all);
  }
  if (failures.empty() && trace == nullptr && LiveAllocations() != before)
    failures.push_back(absl::StrCat(LiveAllocations() - before, " allocations are left"));
  return failures;
}

}  // namespace

std::string TraceOf(const Scenario& scenario, uint64_t seed) {
  Totals none;
  std::string trace;
  RunSeed(scenario, seed, none, &trace);
  return trace;
}

std::optional<std::string> Explore(const Scenario& scenario, uint64_t first_seed, uint64_t seeds,
                                   Totals& totals) {
  // What is allocated once in a process is allocated now.
  Totals none;
  Scenario sound = scenario;
  sound.bug = Bug::kNone;
  RunSeed(sound, first_seed, none, nullptr);
  for (uint64_t seed = first_seed; seed != first_seed + seeds; ++seed) {
    ++totals.seeds;
    const Failures failures = RunSeed(scenario, seed, totals, nullptr);
    if (failures.empty()) continue;
    std::string trace;
    const Failures again = RunSeed(scenario, seed, none, &trace);
    return absl::StrCat(
        "FAILED: --protocol=", ProtocolName(scenario.protocol), " --first_seed=", seed,
        " --seeds=1 --fresh_seeds=0\n", absl::StrJoin(failures, "\n"), "\n",
        again == failures || again.empty() ? "" : "THE SECOND RUN DIFFERS\n", trace);
  }
  return std::nullopt;
}

}  // namespace sluice::exploration
