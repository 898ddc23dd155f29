// Topics delivers messages to the WebSocket connections that have subscribed to their topic, on all
// loops of a group: chat rooms, prices, positions. It keeps no history: what is published reaches
// who is subscribed then. What a subscriber that does not keep up gets, and what it costs, is the
// topic's to say (topic_options.h), and counted exactly.
//
// Topics is shared by all; each loop has a LocalTopics of it, which its Server observes connections
// with.
//
// Example, a chat room's part of one loop:
//
//   class Room : public websocket::Handler {
//    public:
//     explicit Room(websocket::Topics& topics)
//         : topics_(topics), server_({.connection = {.observer = &topics_}, .handshake = {}}) {}
//     void Accept(std::unique_ptr<Stream> stream) { server_.Serve(std::move(stream), *this); }
//
//    private:
//     void OnOpen(websocket::Connection& connection) override {
//       const absl::Status status = topics_.Subscribe(connection, "lobby");
//       if (!status.ok()) connection.Close(websocket::CloseCode::kPolicyViolation);
//     }
//     void OnMessage(websocket::Connection&, const websocket::Message& message) override {
//       topics_.Publish("lobby", websocket::PreparedMessage::Text(message.text())).IgnoreError();
//     }
//
//     websocket::LocalTopics topics_;
//     websocket::Server server_;
//   };
//
//   websocket::Topics topics({});
//   std::vector<std::unique_ptr<Room>> rooms;                       // before the loops
//   std::unique_ptr<LoopGroup> group = *LoopGroup::Start({.threads = 2});
//   // for each loop: rooms.push_back(std::make_unique<Room>(topics));
//
// Publishing. On its own loop a message is given to the connections inside of Publish, so that it
// keeps its place among other sends; they send it when the callback that they are in returns, or at
// the end of the turn, with all else that was gathered, in one system call. To each other loop with
// a subscriber it goes by a post, one for all that was published since the last, and is delivered
// to who is subscribed when that runs (to nobody, if the topic has lost its last subscriber there
// meanwhile, though it may have a new one). Messages of one thread arrive in their order, on every
// connection and across topics. Bytes are encoded once, and compressed once where the
// PreparedMessage was given the compression, and shared by all.
//
// No call here calls back, and all may be made from any callback, the OnSendReady, OnClose and
// OnSubscriptionEnd of the very connection included.
//
// Slow consumers. While a connection is blocked (Connection::blocked) its messages wait here. At
// its OnSendReady they go on, in the order in which they were published, before its handler hears
// of it, which it does though they may have filled the queue again; what the handler itself sends
// while the connection is blocked overtakes them. So a connection that does not read holds no more
// memory than its stream's high mark (and one message), and the bounds of what waits.
//
// Counts. Each message that a topic delivers to a subscriber is counted once: as delivered, as
// dropped, conflated or lost, or as waiting. Lost is what waits when the subscription ends, and
// what comes when the connection is closing.
//
// Thread safety: Topics is thread-safe; LocalTopics is loop-bound, to the loop of its connections.
// Lifetime: Topics outlives its LocalTopics, which outlive their connections, and so their loops.
//
// Memory: 160 bytes for a connection's first subscription, 90 for each further one; a topic takes
// some 350 and its name, and 250 more for each loop that has a subscriber; 80 for each message that
// waits.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_TOPICS_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_TOPICS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/handler.h"
#include "sluice/protocols/websocket/internal/waiting_line.h"
#include "sluice/protocols/websocket/prepared_message.h"
#include "sluice/protocols/websocket/topic_options.h"

namespace sluice::websocket {

class LocalTopics;

// What became of messages, each counted for each subscriber that it was meant for.
struct DeliveryCounts {
  uint64_t delivered = 0;  // accepted by the connection
  uint64_t dropped_oldest = 0;
  uint64_t dropped_newest = 0;
  uint64_t conflated = 0;  // replaced by a later one with the same key
  uint64_t lost = 0;       // at the end of the subscription, or of the connection
  uint64_t waiting = 0;    // now

  uint64_t all() const {
    return delivered + dropped_oldest + dropped_newest + conflated + lost + waiting;
  }
};

struct TopicCounts : DeliveryCounts {
  uint64_t published = 0;
  uint64_t closed = 0;       // connections, by SlowConsumerPolicy::kClose
  uint64_t subscribers = 0;  // now
};

class Topics {
 public:
  struct Options {
    TopicOptions topic;
    // For topics that differ: called when a topic gets its first subscriber, with `topic`, to
    // change. On that loop's thread, and must not use the Topics.
    std::function<void(absl::string_view name, TopicOptions& options)> configure;
    // Limits on what a peer may be allowed to choose.
    size_t max_name_bytes = 256;
    uint32_t max_topics_per_connection = 1024;
    // What may wait for one connection, of all its topics together (with 64 for each message). Past
    // it the topic that wants more goes by its policy. A single message may be larger.
    size_t max_waiting_bytes_per_connection = size_t{4} << 20;
    // Bytes (with 64 for each message) that may be on their way to one loop. A single message may
    // be larger.
    size_t max_in_transit_bytes = size_t{16} << 20;
  };

  explicit Topics(Options options);
  Topics(const Topics&) = delete;
  Topics& operator=(const Topics&) = delete;
  ~Topics();

  // From any thread; a loop's own use that of its LocalTopics. Messages with the same `key` (not
  // "") replace one another where the topic conflates. A topic without subscribers is none yet, and
  // that is no error. Errors: kInvalidArgument (the name is empty or too long);
  // kResourceExhausted (a loop is behind by max_in_transit_bytes): nobody gets the message then.
  absl::Status Publish(absl::string_view topic, PreparedMessage message,
                       absl::string_view key = {});

  // On all loops.
  size_t SubscribersOf(absl::string_view topic) const;

  // Of a topic, since it got its first subscriber; nullopt when it has none. Exact when the loops
  // are at rest, else a moment's impression.
  std::optional<TopicCounts> CountsOf(absl::string_view topic) const;

  // Of all topics that ever were.
  TopicCounts Totals() const;

 private:
  friend class LocalTopics;

  struct Local;  // a topic's part of one loop
  struct Topic;
  struct Inbox;  // what is on its way to one loop
  enum Count : size_t {
    kDelivered,
    kDroppedOldest,
    kDroppedNewest,
    kConflated,
    kLost,
    kWaiting,
    kClosed,
    kSubscribers,
    kCounts
  };
  // Written by one thread.
  struct AtomicCounts {
    void Add(Count count, uint64_t n);
    void AddTo(TopicCounts& sum) const;
    std::array<std::atomic<uint64_t>, kCounts> values{};
  };

  absl::Status CheckName(absl::string_view topic) const;
  absl::Status Publish(absl::string_view topic,
                       const std::shared_ptr<const internal::Publication>& publication,
                       const LocalTopics* from, Local** own);
  std::shared_ptr<Local> Enter(absl::string_view topic, LocalTopics& local);
  void Leave(Local& local);
  Local* Find(absl::string_view topic, const LocalTopics& local) const;

  const Options options_;
  mutable std::mutex mutex_;  // of all that follows
  absl::flat_hash_map<absl::string_view, std::unique_ptr<Topic>> topics_;
  absl::flat_hash_set<const LocalTopics*> locals_;
  TopicCounts past_;  // published by all, the rest by LocalTopics that are gone
};

class LocalTopics final : public ConnectionObserver {
 public:
  explicit LocalTopics(Topics& topics);
  LocalTopics(const LocalTopics&) = delete;
  LocalTopics& operator=(const LocalTopics&) = delete;
  ~LocalTopics();

  // Nothing changes where the connection is subscribed already. A subscription ends with its
  // connection, whose server must have this as its observer. Errors: kInvalidArgument (the name; a
  // connection that this does not observe, or of another loop);
  // kFailedPrecondition (the connection is not open); kResourceExhausted
  // (max_topics_per_connection).
  absl::Status Subscribe(Connection& connection, absl::string_view topic);

  // What waits is lost. Returns the subscription's last counts, or kNotFound.
  absl::StatusOr<DeliveryCounts> Unsubscribe(Connection& connection, absl::string_view topic);

  // As Topics::Publish.
  absl::Status Publish(absl::string_view topic, PreparedMessage message,
                       absl::string_view key = {});

  // Of a subscription; kNotFound.
  absl::StatusOr<DeliveryCounts> CountsOf(const Connection& connection,
                                          absl::string_view topic) const;
  uint32_t TopicsOf(const Connection& connection) const;

  // Tells the last counts of each subscription that a connection had when it ended, once all of
  // them have ended and before its handler's OnClose. To be set while there are none.
  using EndFunction = absl::AnyInvocable<void(Connection& connection, absl::string_view topic,
                                              const DeliveryCounts& counts)>;
  void OnSubscriptionEnd(EndFunction on_end) { on_end_ = std::move(on_end); }

 private:
  friend class Topics;

  using Local = Topics::Local;
  using PublicationPtr = std::shared_ptr<const internal::Publication>;
  struct Subscription;
  struct Slow;  // what a subscription has once something did not go straight
  struct Member {
    Subscription* first = nullptr;
    uint32_t count = 0;
    std::unique_ptr<internal::WaitingLine> line;  // while something waits
  };
  using Key = std::pair<const Connection*, const Local*>;
  struct Hash {
    using is_transparent = void;
    size_t operator()(const Key& key) const;
    size_t operator()(const std::unique_ptr<Subscription>& subscription) const;
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const std::unique_ptr<Subscription>& a, const Key& b) const;
    bool operator()(const std::unique_ptr<Subscription>& a,
                    const std::unique_ptr<Subscription>& b) const;
  };

  // ConnectionObserver:
  void OnSendReady(Connection& connection) override;
  void OnClose(Connection& connection, const CloseInfo& info) override;

  void Bind(Connection& connection);
  Subscription* Find(const Connection& connection, absl::string_view topic) const;
  DeliveryCounts CountsOf(const Subscription& subscription) const;
  DeliveryCounts End(Subscription& subscription, Member& member);
  void Receive(Topics::Inbox& inbox);
  void Deliver(Local& local, const PublicationPtr& publication);
  void Wait(Subscription& subscription, const PublicationPtr& publication);
  void CloseSlow(Connection& connection, Member& member, const TopicOptions& options);
  void ClearLane(Subscription& subscription, Member& member);
  void Tell(Subscription& subscription, Topics::Count count, uint64_t n);
  void Tell(Local& local, Topics::Count count, uint64_t n);

  Topics& topics_;
  std::shared_ptr<Topics::Inbox> inbox_;
  absl::flat_hash_map<const Connection*, Member> members_;
  absl::flat_hash_set<std::unique_ptr<Subscription>, Hash, Equal> subscriptions_;
  Topics::AtomicCounts totals_;
  EndFunction on_end_;
};

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_TOPICS_H_
