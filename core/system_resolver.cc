#include "sluice/core/system_resolver.h"

#include <condition_variable>
#include <map>
#include <mutex>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/internal/address_info.h"
#include "sluice/core/internal/detached_thread.h"
#include "sluice/core/internal/resolver_query.h"

namespace sluice {
namespace {

constexpr int kMostThreads = 1024;

}  // namespace

// What the resolver, its queries and its threads hold together, and whoever is left last destroys.
class SystemResolver::Pool : public std::enable_shared_from_this<Pool> {
 public:
  struct Job {
    enum class State : uint8_t { kQueued, kRunning, kOver };

    const std::string name;
    const SocketAddress::Family family;
    const std::shared_ptr<internal::AnswerSlot> slot;
    // By the pool, under its mutex.
    uint64_t number = 0;
    State state = State::kOver;
    bool abandoned = false;
  };

  explicit Pool(const Options& options)
      : options_(options),
        look_up_(options.look_up != nullptr ? options.look_up : &internal::AskSystem) {}

  absl::Status Add(const std::shared_ptr<Job>& job);
  void Abandon(Job& job);
  void Close();
  Counters counters() const;

 private:
  absl::Status MakeThreadFor(const Job& job);
  void Work();
  void Run(const std::shared_ptr<Job>& job);

  const Options options_;
  const LookUpFunction look_up_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint64_t, std::shared_ptr<Job>> queue_;  // in the order of asking
  Counters counters_;
  bool closed_ = false;
};

absl::Status SystemResolver::Pool::Add(const std::shared_ptr<Job>& job) {
  const std::lock_guard lock(mutex_);
  job->number = counters_.questions++;
  const int idle = counters_.threads - counters_.busy;
  const int waiting = static_cast<int>(queue_.size());
  absl::Status status;
  if (waiting >= idle && counters_.threads < options_.threads) status = MakeThreadFor(*job);
  // Those for which a thread is free do not count. Not added to max_queued, which may be INT_MAX.
  if (status.ok() && waiting - (counters_.threads - counters_.busy) >= options_.max_queued) {
    status = absl::ResourceExhaustedError(
        absl::StrCat(job->name, ": too many names are being looked up: ", counters_.busy, ", and ",
                     waiting, " wait (at most ", options_.max_queued, ")"));
  }
  if (!status.ok()) {
    ++counters_.refused;
    return status;
  }
  job->state = Job::State::kQueued;
  queue_.emplace(job->number, job);
  changed_.notify_one();
  return status;
}

// One thread less than wanted is no error, but none is.
absl::Status SystemResolver::Pool::MakeThreadFor(const Job& job) {
  absl::Status status = internal::StartDetachedThread(
      absl::StrCat(job.name, ": system resolver"), [self = shared_from_this()] { self->Work(); });
  if (status.ok()) ++counters_.threads;
  return counters_.threads > 0 ? absl::OkStatus() : status;
}

void SystemResolver::Pool::Work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return closed_ || !queue_.empty(); });
    if (queue_.empty()) {
      internal::ForgetSystem();
      break;
    }
    const std::shared_ptr<Job> job = queue_.begin()->second;
    queue_.erase(queue_.begin());
    job->state = Job::State::kRunning;
    ++counters_.busy;
    lock.unlock();
    Run(job);
    lock.lock();
  }
  --counters_.threads;
}

void SystemResolver::Pool::Run(const std::shared_ptr<Job>& job) {
  absl::StatusOr<std::vector<SocketAddress>> addresses = look_up_(job->name, job->family);
  {
    const std::lock_guard lock(mutex_);
    --counters_.busy;
    if (job->abandoned) --counters_.abandoned;
    job->state = Job::State::kOver;
  }
  job->slot->Deliver(std::move(addresses));
}

void SystemResolver::Pool::Abandon(Job& job) {
  const std::lock_guard lock(mutex_);
  if (job.state == Job::State::kQueued) {
    job.state = Job::State::kOver;
    queue_.erase(job.number);
  } else if (job.state == Job::State::kRunning) {
    job.abandoned = true;
    ++counters_.abandoned;
  }
}

void SystemResolver::Pool::Close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

SystemResolver::Counters SystemResolver::Pool::counters() const {
  const std::lock_guard lock(mutex_);
  Counters result = counters_;
  result.queued = static_cast<int>(queue_.size());
  return result;
}

absl::StatusOr<std::shared_ptr<const SystemResolver>> SystemResolver::Create(
    const Options& options) {
  if (options.threads < 1 || options.threads > kMostThreads) {
    return absl::InvalidArgumentError(absl::StrCat("a system resolver of ", options.threads,
                                                   " threads; accepted are 1 to ", kMostThreads));
  }
  if (options.max_queued < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a system resolver with a queue of ", options.max_queued, "; accepted are 0 and more"));
  }
  return std::shared_ptr<const SystemResolver>(new SystemResolver(options));
}

SystemResolver::SystemResolver(const Options& options) : pool_(std::make_shared<Pool>(options)) {}

SystemResolver::~SystemResolver() { pool_->Close(); }

std::unique_ptr<Resolver::Query> SystemResolver::Resolve(EventLoop& loop, absl::string_view name,
                                                         SocketAddress::Family family,
                                                         absl::Duration timeout,
                                                         ResolveFunction done) const {
  if (auto known = internal::AnswerWithoutAsking(loop, name, family, done)) return known;
  return std::make_unique<internal::JobQuery<Pool>>(loop, name, family, timeout, std::move(done),
                                                    pool_);
}

SystemResolver::Counters SystemResolver::counters() const { return pool_->counters(); }

}  // namespace sluice
