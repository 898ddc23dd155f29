// Topics over loops on threads of their own, and sockets.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/loop_group.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/core/timer.h"
#include "sluice/protocols/websocket/client.h"
#include "sluice/protocols/websocket/server.h"
#include "sluice/protocols/websocket/topics.h"

namespace sluice {
namespace {

using testing::ElementsAre;

constexpr absl::Duration kBound = absl::Seconds(60);

websocket::Client::Options ClientOptions() {
  websocket::Client::Options options;
  options.handshake.host = "h";
  return options;
}

// Clients of one server, all on the test's own loop.
class Clients {
 public:
  class Client : private websocket::Handler {
   public:
    Client(EventLoop& loop, const SocketAddress& server)
        : client_(*websocket::Client::Create(ClientOptions())), connector_(loop) {
      connector_.Connect(server, {}, [this](absl::StatusOr<std::unique_ptr<Stream>> stream) {
        EXPECT_TRUE(stream.ok()) << stream.status();
        if (stream.ok()) client_->Open(*std::move(stream), *this);
      });
    }
    bool open() const { return connection_ != nullptr; }
    void Say(absl::string_view text) { connection_->SendText(text); }
    void Leave() { connection_->Close(); }
    const std::vector<std::string>& heard() const { return heard_; }

   private:
    void OnOpen(websocket::Connection& connection) override { connection_ = &connection; }
    void OnMessage(websocket::Connection&, const websocket::Message& message) override {
      heard_.emplace_back(message.text());
    }
    void OnClose(websocket::Connection&, const websocket::CloseInfo&) override {
      connection_ = nullptr;
    }

    std::unique_ptr<websocket::Client> client_;
    websocket::Connection* connection_ = nullptr;
    std::vector<std::string> heard_;
    Connector connector_;
  };

  ~Clients() { loop_ = nullptr; }

  Client& Add(const SocketAddress& server) {
    if (loop_ == nullptr) loop_ = *EventLoop::Create();
    clients_.push_back(std::make_unique<Client>(*loop_, server));
    return *clients_.back();
  }
  // `done` may depend on other threads, which do not wake this loop: it is asked again and again.
  template <typename Done>
  bool Until(Done done) {
    Timer again([&] { loop_->ArmTimer(again, absl::Milliseconds(1)); });
    loop_->ArmTimer(again, absl::Milliseconds(1));
    return loop_->RunUntil(done, kBound);
  }
  // Has so many more, and they are in the lobby.
  bool Enter(size_t count, const SocketAddress& server, const websocket::Topics& topics) {
    for (size_t i = 0; i < count; ++i) Add(server);
    return Until([&] {
      for (const auto& client : clients_)
        if (!client->open()) return false;
      return topics.SubscribersOf("lobby") == clients_.size();
    });
  }
  std::vector<std::unique_ptr<Client>>& all() { return clients_; }

 private:
  std::vector<std::unique_ptr<Client>> clients_;
  std::unique_ptr<EventLoop> loop_;
};

// The example of topics.h.
class Room : public websocket::Handler {
 public:
  explicit Room(websocket::Topics& topics)
      : topics_(topics), server_({.connection = {.observer = &topics_}, .handshake = {}}) {}
  void Accept(std::unique_ptr<Stream> stream) { server_.Serve(std::move(stream), *this); }

 private:
  void OnOpen(websocket::Connection& connection) override {
    const absl::Status status = topics_.Subscribe(connection, "lobby");
    if (!status.ok()) connection.Close(websocket::CloseCode::kPolicyViolation);
  }
  void OnMessage(websocket::Connection&, const websocket::Message& message) override {
    topics_.Publish("lobby", websocket::PreparedMessage::Text(message.text())).IgnoreError();
  }

  websocket::LocalTopics topics_;
  websocket::Server server_;
};

std::unique_ptr<GroupListener> Serve(LoopGroup& group, std::vector<std::unique_ptr<Room>>& rooms,
                                     websocket::Topics& topics) {
  for (int i = 0; i < group.size(); ++i) rooms.push_back(std::make_unique<Room>(topics));
  return *GroupListener::Listen(group, *SocketAddress::Parse("127.0.0.1:0"), {},
                                [&](EventLoop& loop, std::unique_ptr<Stream> stream) {
                                  for (int i = 0; i < group.size(); ++i) {
                                    if (&group.loop(i) == &loop)
                                      rooms[static_cast<size_t>(i)]->Accept(std::move(stream));
                                  }
                                });
}

TEST(TopicsGroupTest, HeaderExample) {
  websocket::Topics topics({});
  std::vector<std::unique_ptr<Room>> rooms;
  std::unique_ptr<LoopGroup> group = *LoopGroup::Start({.threads = 2});
  std::unique_ptr<GroupListener> listener = Serve(*group, rooms, topics);

  Clients clients;
  ASSERT_TRUE(clients.Enter(8, listener->address(), topics));
  clients.all()[0]->Say("hello");
  ASSERT_TRUE(clients.Until([&] {
    for (const auto& client : clients.all())
      if (client->heard().empty()) return false;
    return true;
  }));
  for (const auto& client : clients.all()) EXPECT_THAT(client->heard(), ElementsAre("hello"));
}

// What is published on two loops and on two other threads, while subscribers come and go.
TEST(TopicsGroupTest, NothingIsLostAndEachPublishersOrderIsKept) {
  constexpr int kStay = 12;
  constexpr int kMessages = 200;
  websocket::Topics topics({});
  std::vector<std::unique_ptr<Room>> rooms;
  std::unique_ptr<LoopGroup> group = *LoopGroup::Start({.threads = 3});
  std::unique_ptr<GroupListener> listener = Serve(*group, rooms, topics);

  Clients clients;
  ASSERT_TRUE(clients.Enter(kStay, listener->address(), topics));

  std::vector<std::thread> threads;
  for (const char* name : {"x", "y"}) {
    threads.emplace_back([&topics, name] {
      for (int i = 0; i < kMessages; ++i) {
        EXPECT_TRUE(
            topics.Publish("lobby", websocket::PreparedMessage::Text(absl::StrCat(name, 1000 + i)))
                .ok());
        topics.Totals();
        topics.CountsOf("lobby");
      }
    });
  }
  for (int i = 0; i < kMessages; ++i) {
    clients.all()[0]->Say(absl::StrCat("a", 1000 + i));
    clients.all()[1]->Say(absl::StrCat("b", 1000 + i));
    if (i % 20 == 0) {
      Clients::Client& passing = clients.Add(listener->address());
      ASSERT_TRUE(clients.Until([&] { return passing.open(); }));
      passing.Leave();
    }
  }
  ASSERT_TRUE(clients.Until([&] {
    for (int i = 0; i < kStay; ++i)
      if (clients.all()[static_cast<size_t>(i)]->heard().size() < 4 * kMessages) return false;
    return topics.SubscribersOf("lobby") == kStay;
  }));
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < kStay; ++i) {
    std::vector<std::string> of[4];
    for (const std::string& text : clients.all()[static_cast<size_t>(i)]->heard()) {
      const size_t publisher = absl::string_view("abxy").find(text[0]);
      ASSERT_NE(publisher, absl::string_view::npos);
      of[publisher].push_back(text);
    }
    for (size_t p = 0; p < 4; ++p) {
      ASSERT_EQ(of[p].size(), size_t{kMessages});
      for (int k = 0; k < kMessages; ++k)
        ASSERT_EQ(of[p][static_cast<size_t>(k)], absl::StrCat(std::string(1, "abxy"[p]), 1000 + k));
    }
  }
}

// The group's loops end one after the other, while a thread publishes on.
TEST(TopicsGroupTest, TheLoopsMayEndWhileAnotherThreadPublishes) {
  websocket::Topics topics({});
  std::vector<std::unique_ptr<Room>> rooms;
  std::unique_ptr<LoopGroup> group = *LoopGroup::Start({.threads = 2});
  std::unique_ptr<GroupListener> listener = Serve(*group, rooms, topics);
  Clients clients;
  ASSERT_TRUE(clients.Enter(8, listener->address(), topics));

  std::atomic<bool> over{false};
  std::thread publisher([&] {
    const websocket::PreparedMessage message = websocket::PreparedMessage::Text("still here");
    uint64_t accepted = 0;
    while (!over) accepted += topics.Publish("lobby", message).ok() ? 1 : 0;
    EXPECT_EQ(topics.Totals().published, accepted);
  });
  ASSERT_TRUE(clients.Until([&] { return !clients.all()[0]->heard().empty(); }));
  listener = nullptr;
  group = nullptr;
  EXPECT_EQ(topics.SubscribersOf("lobby"), 0u);
  over = true;
  publisher.join();
}

}  // namespace
}  // namespace sluice
