#include "sluice/protocols/websocket/topics.h"

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include "absl/base/optimization.h"
#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/stream.h"

namespace sluice::websocket {

using internal::Publication;
using internal::WaitingLine;

namespace {

// What a message on its way costs beside its bytes.
constexpr size_t kTransitBytes = 64;

}  // namespace

struct Topics::Topic {
  Topic(absl::string_view n, const TopicOptions& o) : name(n), options(o) {}
  const std::string name;
  TopicOptions options;
  std::vector<std::shared_ptr<Local>> locals;  // of loops that have a subscriber
  TopicCounts past;  // published by all, the rest on loops that had subscribers
};

// Shared with what is on its way, which may come when nobody is subscribed any more. Of its loop's
// thread, but for the counts and the constants.
struct Topics::Local {
  Local(Topic& t, LocalTopics& o) : topic(&t), owner(o) {}
  // Both are there, and the owner keeps its inbox, while there are subscribers.
  Topic* const topic;
  LocalTopics& owner;
  std::vector<LocalTopics::Subscription*> subscribers;
  uint64_t arrived = 0;
  AtomicCounts counts;
};

// Posts are made while the mutex is held and the loop has a subscriber; its loop's end ends its
// connections, and so its subscriptions, first. So nobody posts to a loop that is gone.
struct Topics::Inbox {
  struct Message {
    std::shared_ptr<Local> local;
    std::shared_ptr<const Publication> publication;
  };
  Inbox(EventLoop& l, LocalTopics& o) : loop(l), owner(&o) {}
  EventLoop& loop;
  LocalTopics* owner;  // null when it is gone; its loop's thread only
  std::vector<Message> messages;
  size_t bytes = 0;
  bool posted = false;
};

struct LocalTopics::Subscription {
  Subscription(Connection& c, Local& l) : connection(&c), local(&l), since(l.arrived) {}
  Connection* const connection;
  Local* const local;
  const uint64_t since;
  std::unique_ptr<Slow> slow;
  // Those of its connection.
  Subscription* next = nullptr;
  Subscription* previous = nullptr;
  uint32_t index = 0;  // in local->subscribers
};

struct LocalTopics::Slow : WaitingLine::Lane {
  explicit Slow(Subscription& s) : subscription(&s) {}
  Subscription* const subscription;
  std::array<uint64_t, Topics::kCounts> counts{};  // but for kDelivered
};

// Counts.

void Topics::AtomicCounts::Add(Count count, uint64_t n) {
  std::atomic<uint64_t>& value = values[count];
  value.store(value.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

void Topics::AtomicCounts::AddTo(TopicCounts& sum) const {
  const auto value = [this](Count count) { return values[count].load(std::memory_order_relaxed); };
  sum.delivered += value(kDelivered);
  sum.dropped_oldest += value(kDroppedOldest);
  sum.dropped_newest += value(kDroppedNewest);
  sum.conflated += value(kConflated);
  sum.lost += value(kLost);
  sum.waiting += value(kWaiting);
  sum.closed += value(kClosed);
  sum.subscribers += value(kSubscribers);
}

void LocalTopics::Tell(Local& local, Topics::Count count, uint64_t n) {
  local.counts.Add(count, n);
  totals_.Add(count, n);
}

void LocalTopics::Tell(Subscription& subscription, Topics::Count count, uint64_t n) {
  if (subscription.slow == nullptr) subscription.slow = std::make_unique<Slow>(subscription);
  subscription.slow->counts[count] += n;
  Tell(*subscription.local, count, n);
}

// What arrived and met no other fate was delivered: so a delivery need not write to a subscription.
DeliveryCounts LocalTopics::CountsOf(const Subscription& subscription) const {
  DeliveryCounts counts;
  const uint64_t arrived = subscription.local->arrived - subscription.since;
  if (const Slow* const slow = subscription.slow.get()) {
    counts.dropped_oldest = slow->counts[Topics::kDroppedOldest];
    counts.dropped_newest = slow->counts[Topics::kDroppedNewest];
    counts.conflated = slow->counts[Topics::kConflated];
    counts.lost = slow->counts[Topics::kLost];
    counts.waiting = slow->messages;
  }
  counts.delivered = arrived - counts.all();
  return counts;
}

// Topics.

Topics::Topics(Options options) : options_(std::move(options)) {}
Topics::~Topics() = default;

absl::Status Topics::CheckName(absl::string_view topic) const {
  if (!topic.empty() && topic.size() <= options_.max_name_bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("a topic's name of ", topic.size(),
                                                 " bytes; accepted are 1 to ",
                                                 options_.max_name_bytes, " (max_name_bytes)"));
}

absl::Status Topics::Publish(absl::string_view topic, PreparedMessage message,
                             absl::string_view key) {
  Local* none = nullptr;
  return Publish(
      topic, std::make_shared<const Publication>(Publication{std::move(message), std::string(key)}),
      nullptr, &none);
}

// `own` becomes the topic's part of the publisher's loop, where it has one.
absl::Status Topics::Publish(absl::string_view topic,
                             const std::shared_ptr<const Publication>& publication,
                             const LocalTopics* from, Local** own) {
  if (absl::Status status = CheckName(topic); ABSL_PREDICT_FALSE(!status.ok())) return status;
  const size_t bytes = kTransitBytes + publication->bytes();
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = topics_.find(topic);
  if (found == topics_.end()) {
    ++past_.published;
    return absl::OkStatus();
  }
  Topic& to = *found->second;
  for (const std::shared_ptr<Local>& local : to.locals) {
    const Inbox& inbox = *local->owner.inbox_;
    if (&local->owner == from || inbox.bytes == 0) continue;
    if (ABSL_PREDICT_FALSE(inbox.bytes + bytes > options_.max_in_transit_bytes)) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "publish: a loop is behind by ", inbox.bytes, " bytes, and ", bytes,
          " more pass the limit of ", options_.max_in_transit_bytes, " (max_in_transit_bytes)"));
    }
  }
  ++past_.published;
  ++to.past.published;
  for (const std::shared_ptr<Local>& local : to.locals) {
    if (&local->owner == from) {
      *own = local.get();
      continue;
    }
    Inbox& inbox = *local->owner.inbox_;
    inbox.messages.push_back({local, publication});
    inbox.bytes += bytes;
    if (std::exchange(inbox.posted, true)) continue;
    inbox.loop.Post([to_inbox = local->owner.inbox_] {
      if (to_inbox->owner != nullptr) to_inbox->owner->Receive(*to_inbox);
    });
  }
  return absl::OkStatus();
}

Topics::Local* Topics::Find(absl::string_view topic, const LocalTopics& owner) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = topics_.find(topic);
  if (found == topics_.end()) return nullptr;
  for (const std::shared_ptr<Local>& local : found->second->locals) {
    if (&local->owner == &owner) return local.get();
  }
  return nullptr;
}

// Makes what is not there yet.
std::shared_ptr<Topics::Local> Topics::Enter(absl::string_view name, LocalTopics& owner) {
  const std::lock_guard<std::mutex> lock(mutex_);
  auto found = topics_.find(name);
  if (found == topics_.end()) {
    auto topic = std::make_unique<Topic>(name, options_.topic);
    if (options_.configure) options_.configure(topic->name, topic->options);
    const absl::string_view key = topic->name;
    found = topics_.emplace(key, std::move(topic)).first;
  }
  Topic& topic = *found->second;
  for (const std::shared_ptr<Local>& local : topic.locals) {
    if (&local->owner == &owner) return local;
  }
  topic.locals.push_back(std::make_shared<Local>(topic, owner));
  return topic.locals.back();
}

// Its last subscriber has gone. What is on its way finds nobody.
void Topics::Leave(Local& local) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Topic& topic = *local.topic;
  local.counts.AddTo(topic.past);
  const auto place = std::find_if(topic.locals.begin(), topic.locals.end(),
                                  [&](const auto& other) { return other.get() == &local; });
  topic.locals.erase(place);
  if (topic.locals.empty()) topics_.erase(topics_.find(topic.name));
}

size_t Topics::SubscribersOf(absl::string_view topic) const {
  const std::optional<TopicCounts> counts = CountsOf(topic);
  return counts.has_value() ? counts->subscribers : 0;
}

std::optional<TopicCounts> Topics::CountsOf(absl::string_view topic) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = topics_.find(topic);
  if (found == topics_.end()) return std::nullopt;
  TopicCounts sum = found->second->past;
  for (const std::shared_ptr<Local>& local : found->second->locals) local->counts.AddTo(sum);
  return sum;
}

TopicCounts Topics::Totals() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  TopicCounts sum = past_;
  for (const LocalTopics* local : locals_) local->totals_.AddTo(sum);
  return sum;
}

// LocalTopics.

size_t LocalTopics::Hash::operator()(const Key& key) const { return absl::HashOf(key); }
size_t LocalTopics::Hash::operator()(const std::unique_ptr<Subscription>& subscription) const {
  return (*this)(Key(subscription->connection, subscription->local));
}
bool LocalTopics::Equal::operator()(const std::unique_ptr<Subscription>& a, const Key& b) const {
  return Key(a->connection, a->local) == b;
}
bool LocalTopics::Equal::operator()(const std::unique_ptr<Subscription>& a,
                                    const std::unique_ptr<Subscription>& b) const {
  return a == b;
}

LocalTopics::LocalTopics(Topics& topics) : topics_(topics) {
  const std::lock_guard<std::mutex> lock(topics_.mutex_);
  topics_.locals_.insert(this);
}

LocalTopics::~LocalTopics() {
  if (inbox_ != nullptr) inbox_->owner = nullptr;
  const std::lock_guard<std::mutex> lock(topics_.mutex_);
  topics_.locals_.erase(this);
  totals_.AddTo(topics_.past_);
}

// Without subscriptions there is no loop: the last one's may be gone.
void LocalTopics::Bind(Connection& connection) {
  if (!subscriptions_.empty()) return;
  if (inbox_ != nullptr) inbox_->owner = nullptr;
  inbox_ = std::make_shared<Topics::Inbox>(connection.stream().loop(), *this);
}

absl::Status LocalTopics::Subscribe(Connection& connection, absl::string_view topic) {
  if (absl::Status status = topics_.CheckName(topic); !status.ok()) return status;
  if (!connection.open())
    return absl::FailedPreconditionError("subscribe: the connection is not open");
  if (connection.options().observer != this)
    return absl::InvalidArgumentError(
        "subscribe: this LocalTopics does not observe the connection");
  Bind(connection);
  if (&inbox_->loop != &connection.stream().loop())
    return absl::InvalidArgumentError("subscribe: the connection belongs to another loop");
  if (Find(connection, topic) != nullptr) return absl::OkStatus();
  const uint32_t count = TopicsOf(connection);
  if (count >= topics_.options_.max_topics_per_connection) {
    return absl::ResourceExhaustedError(
        absl::StrCat("subscribe: the connection has ", count, " topics; the limit is ",
                     topics_.options_.max_topics_per_connection, " (max_topics_per_connection)"));
  }
  Member& member = members_[&connection];
  const std::shared_ptr<Local> local = topics_.Enter(topic, *this);
  auto subscription = std::make_unique<Subscription>(connection, *local);
  subscription->index = static_cast<uint32_t>(local->subscribers.size());
  local->subscribers.push_back(subscription.get());
  subscription->next = member.first;
  if (member.first != nullptr) member.first->previous = subscription.get();
  member.first = subscription.get();
  ++member.count;
  subscriptions_.insert(std::move(subscription));
  Tell(*local, Topics::kSubscribers, 1);
  return absl::OkStatus();
}

LocalTopics::Subscription* LocalTopics::Find(const Connection& connection,
                                             absl::string_view topic) const {
  const Local* const local = topics_.Find(topic, *this);
  if (local == nullptr) return nullptr;
  const auto found = subscriptions_.find(Key(&connection, local));
  return found != subscriptions_.end() ? found->get() : nullptr;
}

absl::StatusOr<DeliveryCounts> LocalTopics::Unsubscribe(Connection& connection,
                                                        absl::string_view topic) {
  Subscription* const subscription = Find(connection, topic);
  if (subscription == nullptr)
    return absl::NotFoundError("unsubscribe: the connection is not subscribed to the topic");
  const auto member = members_.find(&connection);
  const DeliveryCounts counts = End(*subscription, member->second);
  if (member->second.count == 0) members_.erase(member);
  return counts;
}

absl::StatusOr<DeliveryCounts> LocalTopics::CountsOf(const Connection& connection,
                                                     absl::string_view topic) const {
  const Subscription* const subscription = Find(connection, topic);
  if (subscription == nullptr)
    return absl::NotFoundError("the connection is not subscribed to the topic");
  return CountsOf(*subscription);
}

uint32_t LocalTopics::TopicsOf(const Connection& connection) const {
  const auto member = members_.find(&connection);
  return member != members_.end() ? member->second.count : 0;
}

DeliveryCounts LocalTopics::End(Subscription& subscription, Member& member) {
  ClearLane(subscription, member);
  const DeliveryCounts counts = CountsOf(subscription);
  Local& local = *subscription.local;
  Subscription* const last = local.subscribers.back();
  local.subscribers[subscription.index] = last;
  last->index = subscription.index;
  local.subscribers.pop_back();
  if (subscription.next != nullptr) subscription.next->previous = subscription.previous;
  (subscription.previous != nullptr ? subscription.previous->next : member.first) =
      subscription.next;
  --member.count;
  Tell(local, Topics::kSubscribers, uint64_t(-1));
  subscriptions_.erase(subscriptions_.find(Key(subscription.connection, &local)));
  if (local.subscribers.empty()) topics_.Leave(local);
  return counts;
}

// What waits is lost.
void LocalTopics::ClearLane(Subscription& subscription, Member& member) {
  if (subscription.slow == nullptr || subscription.slow->messages == 0) return;
  const uint64_t waiting = subscription.slow->messages;
  member.line->Clear(*subscription.slow);
  Tell(*subscription.local, Topics::kWaiting, -waiting);
  Tell(subscription, Topics::kLost, waiting);
}

void LocalTopics::OnClose(Connection& connection, const CloseInfo& /*info*/) {
  const auto found = members_.find(&connection);
  if (found == members_.end()) return;
  Member member = std::move(found->second);
  members_.erase(found);
  std::vector<std::pair<std::string, DeliveryCounts>> ended;
  while (member.first != nullptr) {
    Subscription& subscription = *member.first;
    std::string name;
    if (on_end_) name = subscription.local->topic->name;
    const DeliveryCounts counts = End(subscription, member);
    if (on_end_) ended.emplace_back(std::move(name), counts);
  }
  for (const auto& [topic, counts] : ended) on_end_(connection, topic, counts);
}

// Delivery. Nothing here calls back: neither Send nor Close does.

absl::Status LocalTopics::Publish(absl::string_view topic, PreparedMessage message,
                                  absl::string_view key) {
  const auto publication =
      std::make_shared<const Publication>(Publication{std::move(message), std::string(key)});
  Local* own = nullptr;
  absl::Status status = topics_.Publish(topic, publication, this, &own);
  if (own != nullptr) Deliver(*own, publication);
  return status;
}

void LocalTopics::Receive(Topics::Inbox& inbox) {
  std::vector<Topics::Inbox::Message> messages;
  {
    const std::lock_guard<std::mutex> lock(topics_.mutex_);
    messages.swap(inbox.messages);
    inbox.bytes = 0;
    inbox.posted = false;
  }
  for (const Topics::Inbox::Message& message : messages)
    Deliver(*message.local, message.publication);
}

void LocalTopics::Deliver(Local& local, const PublicationPtr& publication) {
  ++local.arrived;
  uint64_t delivered = 0;
  for (Subscription* const subscription : local.subscribers) {
    Connection& connection = *subscription->connection;
    if (ABSL_PREDICT_FALSE(connection.blocked())) {
      Wait(*subscription, publication);
    } else if (ABSL_PREDICT_TRUE(connection.Send(publication->message) != SendResult::kRefused)) {
      ++delivered;
    } else {
      Tell(*subscription, Topics::kLost, 1);
    }
  }
  Tell(local, Topics::kDelivered, delivered);
}

void LocalTopics::Wait(Subscription& subscription, const PublicationPtr& publication) {
  Connection& connection = *subscription.connection;
  if (!connection.open()) return Tell(subscription, Topics::kLost, 1);
  if (subscription.slow == nullptr) subscription.slow = std::make_unique<Slow>(subscription);
  Member& member = members_.find(&connection)->second;
  if (member.line == nullptr) member.line = std::make_unique<WaitingLine>();
  const TopicOptions& options = subscription.local->topic->options;
  const size_t before = subscription.slow->messages;
  const WaitingLine::Effect effect = member.line->Add(
      *subscription.slow, publication, options, topics_.options_.max_waiting_bytes_per_connection);
  Tell(*subscription.local, Topics::kWaiting, subscription.slow->messages - before);
  if (effect.dropped_oldest > 0) Tell(subscription, Topics::kDroppedOldest, effect.dropped_oldest);
  if (effect.dropped_newest) Tell(subscription, Topics::kDroppedNewest, 1);
  if (effect.conflated) Tell(subscription, Topics::kConflated, 1);
  if (!effect.full) return;
  Tell(subscription, Topics::kLost, 1);
  Tell(*subscription.local, Topics::kClosed, 1);
  CloseSlow(connection, member, options);
}

void LocalTopics::CloseSlow(Connection& connection, Member& member, const TopicOptions& options) {
  connection.Close(options.close_code, options.close_reason);
  for (Subscription* s = member.first; s != nullptr; s = s->next) ClearLane(*s, member);
}

void LocalTopics::OnSendReady(Connection& connection) {
  const auto found = members_.find(&connection);
  if (found == members_.end() || found->second.line == nullptr) return;
  WaitingLine& line = *found->second.line;
  while (!line.empty() && !connection.blocked()) {
    const WaitingLine::Entry entry = line.PopFront();
    Subscription& subscription = *static_cast<Slow*>(entry.lane)->subscription;
    Tell(*subscription.local, Topics::kWaiting, uint64_t(-1));
    if (connection.Send(entry.publication->message) != SendResult::kRefused) {
      Tell(*subscription.local, Topics::kDelivered, 1);
    } else {
      Tell(subscription, Topics::kLost, 1);
    }
  }
  if (line.empty()) found->second.line = nullptr;
}

}  // namespace sluice::websocket
