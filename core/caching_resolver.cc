#include "sluice/core/caching_resolver.h"

#include <algorithm>
#include <iterator>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "sluice/core/internal/check.h"
#include "sluice/core/internal/resolver_query.h"
#include "sluice/core/monotonic_time.h"

namespace sluice {
namespace {

using AddressesOr = absl::StatusOr<internal::Addresses>;
using Key = std::pair<std::string, SocketAddress::Family>;

// For how long to remember an answer; `told` is what the resolver below said of that.
absl::Duration TimeToLive(const AddressesOr& answer, absl::Duration told,
                          const CachingResolver::Options& options) {
  const auto bounded = [&](absl::Duration untold) {
    if (told == absl::InfiniteDuration()) return untold;
    return std::max(options.least_time_to_live, std::min(options.most_time_to_live, told));
  };
  switch (answer.status().code()) {
    case absl::StatusCode::kOk:
      if (answer->size() > CachingResolver::kMostAddresses) return absl::ZeroDuration();
      return bounded(answer->empty() ? options.negative_time_to_live : options.time_to_live);
    case absl::StatusCode::kNotFound:
      return bounded(options.negative_time_to_live);
    case absl::StatusCode::kUnavailable:
      return options.unavailable_time_to_live;
    default:
      return absl::ZeroDuration();
  }
}

}  // namespace

// One that is under way below, for all who want to know. Guarded by the cache's mutex.
struct CachingResolver::Question {
  struct Asker {
    CachedQuery* query;  // touched on its loop's thread only
    EventLoop* loop;     // to be compared only
    std::shared_ptr<internal::AnswerSlot> slot;
    MonotonicTime deadline;
    bool was_there = false;  // when the question was asked
  };

  explicit Question(const Key& k) : key(k) {}

  const Key key;
  std::map<uint64_t, Asker> askers;  // in their order, by number; never none while it is under way
  uint64_t host = 0;                 // the asker who has, or is about to get, the query below
};

// An asker. One of them also holds the query below, on its own loop; before it goes, it hands that
// on.
class CachingResolver::CachedQuery final : public internal::ResolverQuery {
 public:
  CachedQuery(EventLoop& loop, absl::string_view name, SocketAddress::Family family,
              absl::Duration timeout, ResolveFunction done, std::shared_ptr<Cache> cache);
  ~CachedQuery() override { Leave(); }

 private:
  friend class Cache;

  void GiveUp() override { Leave(); }
  void Leave();

  const std::shared_ptr<Cache> cache_;
  const std::shared_ptr<internal::AnswerSlot> slot_;
  std::shared_ptr<Question> question_;
  uint64_t number_ = 0;
  std::unique_ptr<Query> below_;
};

class CachingResolver::Cache : public std::enable_shared_from_this<Cache> {
 public:
  Cache(std::shared_ptr<const Resolver> below, const Options& options)
      : below_(std::move(below)), options_(options) {
    SLUICE_CHECK(below_ != nullptr);
  }

  // On the query's loop.
  void Ask(CachedQuery& query);
  void Leave(CachedQuery& query);

  Counters counters() const;

 private:
  struct Entry {
    Key key;
    AddressesOr answer;
    MonotonicTime expires;
  };
  using Entries = std::list<Entry>;

  void AskBelow(CachedQuery& host);
  void OnAnswer(const std::shared_ptr<Question>& question, EventLoop& loop, AddressesOr answer);

  // Under the mutex.
  const Entry* Find(const Key& key, MonotonicTime now);
  void Join(CachedQuery& query, const std::shared_ptr<Question>& question);
  void HandOver(Question& question, EventLoop* loop, std::unique_ptr<Query>& below);
  absl::Duration TimeOf(const Question& question, const AddressesOr& answer) const;
  void Remember(const Key& key, const AddressesOr& answer, absl::Duration time, MonotonicTime now);
  void Forget(Entries::iterator entry);

  const std::shared_ptr<const Resolver> below_;
  const Options options_;
  mutable std::mutex mutex_;
  Entries entries_;  // what was asked for last comes first
  std::map<Key, Entries::iterator> index_;
  std::map<Key, std::shared_ptr<Question>> questions_;
  uint64_t last_number_ = 0;
  Counters counters_;
};

CachingResolver::CachedQuery::CachedQuery(EventLoop& loop, absl::string_view name,
                                          SocketAddress::Family family, absl::Duration timeout,
                                          ResolveFunction done, std::shared_ptr<Cache> cache)
    : ResolverQuery(loop, name, family, timeout, std::move(done)),
      cache_(std::move(cache)),
      slot_(std::make_shared<internal::AnswerSlot>(*this)) {
  cache_->Ask(*this);
}

// Not before the question knows that it has left is the slot closed: others hand over to it.
void CachingResolver::CachedQuery::Leave() {
  cache_->Leave(*this);
  slot_->Close();
}

void CachingResolver::Cache::Ask(CachedQuery& query) {
  const Key key(absl::AsciiStrToLower(query.name()), query.family());
  {
    const std::lock_guard lock(mutex_);
    const MonotonicTime now = query.loop().NowExact();
    if (const Entry* known = Find(key, now)) {
      ++counters_.hits;
      return query.slot_->Deliver(known->answer, known->expires - now);
    }
    std::shared_ptr<Question>& question = questions_[key];
    const bool is_new = question == nullptr;
    if (is_new) question = std::make_shared<Question>(key);
    ++(is_new ? counters_.misses : counters_.coalesced);
    Join(query, question);
    if (!is_new) return;
    question->host = query.number_;
  }
  AskBelow(query);
}

void CachingResolver::Cache::Join(CachedQuery& query, const std::shared_ptr<Question>& question) {
  query.question_ = question;
  query.number_ = ++last_number_;
  question->askers.emplace(query.number_, Question::Asker{.query = &query,
                                                          .loop = &query.loop(),
                                                          .slot = query.slot_,
                                                          .deadline = query.deadline()});
}

// On the loop of the host, which alone can make another asker the host.
void CachingResolver::Cache::AskBelow(CachedQuery& host) {
  const std::shared_ptr<Question> question = host.question_;
  MonotonicTime latest = MonotonicTime::InfinitePast();
  {
    const std::lock_guard lock(mutex_);
    for (auto& [number, asker] : question->askers) {
      latest = std::max(latest, asker.deadline);
      asker.was_there = true;
    }
  }
  EventLoop& loop = host.loop();
  host.below_ = below_->Resolve(
      loop, host.name(), host.family(), latest - loop.NowExact(),
      [this, question, &loop](AddressesOr answer) { OnAnswer(question, loop, std::move(answer)); });
}

// On the host's loop, as the query below is that loop's.
absl::Duration CachingResolver::Cache::TimeOf(const Question& question,
                                              const AddressesOr& answer) const {
  const Query& below = *question.askers.at(question.host).query->below_;
  return TimeToLive(answer, below.time_to_live(), options_);
}

void CachingResolver::Cache::OnAnswer(const std::shared_ptr<Question>& question, EventLoop& loop,
                                      AddressesOr answer) {
  std::vector<std::shared_ptr<internal::AnswerSlot>> answered;
  absl::Duration time;
  {
    const std::lock_guard lock(mutex_);
    time = TimeOf(*question, answer);
    Remember(question->key, answer, time, loop.NowExact());
    // Who came later may have more time than the question had.
    const bool for_all = !absl::IsDeadlineExceeded(answer.status());
    for (auto it = question->askers.begin(); it != question->askers.end();) {
      const bool told = for_all || it->second.was_there;
      if (told) answered.push_back(it->second.slot);
      it = told ? question->askers.erase(it) : std::next(it);
    }
    std::unique_ptr<Query> none;
    if (question->askers.empty()) {
      questions_.erase(question->key);
    } else {
      HandOver(*question, &loop, none);
    }
  }
  for (const auto& slot : answered) slot->Deliver(answer, time);
}

void CachingResolver::Cache::Leave(CachedQuery& query) {
  // Destroyed without the mutex held, unless it is handed on.
  std::unique_ptr<Query> below = std::move(query.below_);
  const std::shared_ptr<Question> question = std::move(query.question_);
  if (question == nullptr) return;
  const std::lock_guard lock(mutex_);
  if (question->askers.erase(query.number_) == 0) return;  // the answer is on its way
  if (question->askers.empty()) {
    questions_.erase(question->key);
  } else if (question->host == query.number_) {
    HandOver(*question, &query.loop(), below);
  }
}

// The query below can go on where it was asked, if somebody is left there; else it is the first
// asker's to ask anew, in its own loop.
void CachingResolver::Cache::HandOver(Question& question, EventLoop* loop,
                                      std::unique_ptr<Query>& below) {
  for (auto& [number, asker] : question.askers) {
    if (below == nullptr || asker.loop != loop) continue;
    question.host = number;
    asker.query->below_ = std::move(below);
    return;
  }
  const auto& [number, asker] = *question.askers.begin();
  question.host = number;
  asker.slot->Post([this](internal::ResolverQuery& query) {  // which holds the cache
    AskBelow(static_cast<CachedQuery&>(query));
  });
}

const CachingResolver::Cache::Entry* CachingResolver::Cache::Find(const Key& key,
                                                                  MonotonicTime now) {
  const auto found = index_.find(key);
  if (found == index_.end()) return nullptr;
  if (found->second->expires <= now) {
    Forget(found->second);
    return nullptr;
  }
  entries_.splice(entries_.begin(), entries_, found->second);
  return &entries_.front();
}

void CachingResolver::Cache::Remember(const Key& key, const AddressesOr& answer,
                                      absl::Duration time, MonotonicTime now) {
  if (time <= absl::ZeroDuration() || options_.max_entries == 0) return;
  if (entries_.size() == options_.max_entries) {
    if (entries_.back().expires > now) ++counters_.evictions;
    Forget(std::prev(entries_.end()));
  }
  entries_.push_front({.key = key, .answer = answer, .expires = now + time});
  // Of a key of which there is an answer, there is no question.
  SLUICE_CHECK(index_.emplace(key, entries_.begin()).second);
}

void CachingResolver::Cache::Forget(Entries::iterator entry) {
  index_.erase(entry->key);
  entries_.erase(entry);
}

CachingResolver::Counters CachingResolver::Cache::counters() const {
  const std::lock_guard lock(mutex_);
  Counters result = counters_;
  result.entries = entries_.size();
  result.under_way = questions_.size();
  return result;
}

CachingResolver::CachingResolver(std::shared_ptr<const Resolver> below, const Options& options)
    : cache_(std::make_shared<Cache>(std::move(below), options)) {}

CachingResolver::~CachingResolver() = default;

std::unique_ptr<Resolver::Query> CachingResolver::Resolve(EventLoop& loop, absl::string_view name,
                                                          SocketAddress::Family family,
                                                          absl::Duration timeout,
                                                          ResolveFunction done) const {
  if (auto known = internal::AnswerWithoutAsking(loop, name, family, done)) return known;
  return std::make_unique<CachedQuery>(loop, name, family, timeout, std::move(done), cache_);
}

CachingResolver::Counters CachingResolver::counters() const { return cache_->counters(); }

}  // namespace sluice
