#include "sluice/core/cares_resolver.h"

#include <mutex>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/internal/cares_channel.h"
#include "sluice/core/internal/detached_thread.h"
#include "sluice/core/internal/resolver_query.h"

namespace sluice {
namespace {

constexpr int kMostTries = 10;
// c-ares has 65,536 numbers for questions, and looks for a free one by chance.
constexpr int kMostUnderWay = 10'000;

absl::Status CheckOptions(const CaresResolver::Options& options) {
  for (const SocketAddress& server : options.servers) {
    // c-ares has no place for the interface of an address.
    if (!server.is_ip() || server.ToString().find('%') != std::string::npos) {
      return absl::InvalidArgumentError(absl::StrCat(
          "c-ares resolver: the server ", server.ToString(),
          " must be an IPv4 or IPv6 address without an interface, with the port of DNS, or 0"));
    }
  }
  if (options.timeout < absl::Milliseconds(1) || options.timeout > absl::Minutes(1)) {
    return absl::InvalidArgumentError(absl::StrCat("c-ares resolver: the timeout of a server is ",
                                                   absl::FormatDuration(options.timeout),
                                                   "; accepted are 1ms to 1m"));
  }
  if (options.tries < 1 || options.tries > kMostTries) {
    return absl::InvalidArgumentError(absl::StrCat("c-ares resolver: ", options.tries,
                                                   " tries of each server; accepted are 1 to ",
                                                   kMostTries));
  }
  if (options.max_under_way < 1 || options.max_under_way > kMostUnderWay) {
    return absl::InvalidArgumentError(absl::StrCat("c-ares resolver: ", options.max_under_way,
                                                   " questions at once; accepted are 1 to ",
                                                   kMostUnderWay));
  }
  return absl::OkStatus();
}

}  // namespace

// What the resolver, its queries and its thread hold together, and whoever is left last destroys.
class CaresResolver::Engine : public std::enable_shared_from_this<Engine> {
 public:
  struct Job {
    const std::string name;
    const SocketAddress::Family family;
    const std::shared_ptr<internal::AnswerSlot> slot;
    // By the engine, under its mutex.
    bool over = true;
    bool abandoned = false;
  };

  Engine(std::unique_ptr<internal::CaresChannel> channel, int max_under_way)
      : max_under_way_(max_under_way), channel_(std::move(channel)) {}

  absl::Status Add(const std::shared_ptr<Job>& job);
  void Abandon(Job& job);
  void Close();
  Counters counters() const;

 private:
  void Work();
  bool TakeAdded(std::vector<std::shared_ptr<Job>>& jobs);
  void End(Job& job);

  const int max_under_way_;
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<Job>> added_;
  Counters counters_;
  bool has_thread_ = false;
  bool closed_ = false;
  // The thread's, but for Wake. The last member: its end answers what is under way, by End.
  const std::unique_ptr<internal::CaresChannel> channel_;
};

absl::Status CaresResolver::Engine::Add(const std::shared_ptr<Job>& job) {
  const std::lock_guard lock(mutex_);
  ++counters_.questions;
  absl::Status status;
  if (counters_.under_way >= max_under_way_) {
    status = absl::ResourceExhaustedError(absl::StrCat(
        job->name, ": ", counters_.under_way, " names are being looked up, and no more may be"));
  } else if (!has_thread_) {
    status = internal::StartDetachedThread(absl::StrCat(job->name, ": c-ares resolver"),
                                           [self = shared_from_this()] { self->Work(); });
    has_thread_ = status.ok();
  }
  if (!status.ok()) {
    ++counters_.refused;
    return status;
  }
  ++counters_.under_way;
  job->over = false;
  added_.push_back(job);
  channel_->Wake();
  return status;
}

void CaresResolver::Engine::Work() {
  std::vector<std::shared_ptr<Job>> jobs;
  while (TakeAdded(jobs)) {
    for (std::shared_ptr<Job>& job : jobs) {
      channel_->Ask(job->name, job->family,
                    [this, job](absl::StatusOr<std::vector<SocketAddress>> addresses,
                                absl::Duration time_to_live) {
                      End(*job);
                      job->slot->Deliver(std::move(addresses), time_to_live);
                    });
    }
    jobs.clear();
    channel_->Wait();
  }
}

// False when the resolver has gone, and nobody waits for an answer.
bool CaresResolver::Engine::TakeAdded(std::vector<std::shared_ptr<Job>>& jobs) {
  const std::lock_guard lock(mutex_);
  jobs.swap(added_);
  return !closed_ || counters_.under_way > counters_.abandoned;
}

void CaresResolver::Engine::End(Job& job) {
  const std::lock_guard lock(mutex_);
  job.over = true;
  --counters_.under_way;
  if (job.abandoned) --counters_.abandoned;
}

void CaresResolver::Engine::Abandon(Job& job) {
  const std::lock_guard lock(mutex_);
  if (job.over) return;
  job.abandoned = true;
  ++counters_.abandoned;
  if (closed_) channel_->Wake();
}

void CaresResolver::Engine::Close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  channel_->Wake();
}

CaresResolver::Counters CaresResolver::Engine::counters() const {
  const std::lock_guard lock(mutex_);
  return counters_;
}

absl::StatusOr<std::shared_ptr<const CaresResolver>> CaresResolver::Create(const Options& options) {
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  absl::StatusOr<std::unique_ptr<internal::CaresChannel>> channel =
      internal::CaresChannel::Create({.servers = options.servers,
                                      .timeout = options.timeout,
                                      .tries = options.tries,
                                      .hosts_file = options.hosts_file});
  if (!channel.ok()) return channel.status();
  auto engine = std::make_shared<Engine>(*std::move(channel), options.max_under_way);
  return std::shared_ptr<const CaresResolver>(new CaresResolver(std::move(engine)));
}

CaresResolver::CaresResolver(std::shared_ptr<Engine> engine) : engine_(std::move(engine)) {}

CaresResolver::~CaresResolver() { engine_->Close(); }

std::unique_ptr<Resolver::Query> CaresResolver::Resolve(EventLoop& loop, absl::string_view name,
                                                        SocketAddress::Family family,
                                                        absl::Duration timeout,
                                                        ResolveFunction done) const {
  if (auto known = internal::AnswerWithoutAsking(loop, name, family, done)) return known;
  return std::make_unique<internal::JobQuery<Engine>>(loop, name, family, timeout, std::move(done),
                                                      engine_);
}

CaresResolver::Counters CaresResolver::counters() const { return engine_->counters(); }

}  // namespace sluice
