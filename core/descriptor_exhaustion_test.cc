// Out of descriptors: a listener sheds, backs off, and recovers; what is established goes on.
//
// The limit is lowered in this process, so that these tests have a program of their own. Clients'
// sockets are made before; a connect needs no further descriptor.
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/kqueue_poller.h"
#include "sluice/core/poller.h"
#include "sluice/core/poller_factory.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/core/tcp_testing.h"

namespace sluice {
namespace {

using test::Until;

// A client without a loop, whose calls do not block.
class RawClient {
 public:
  RawClient() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    EXPECT_GE(fd_, 0);
  }
  ~RawClient() { close(fd_); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  void Connect(const SocketAddress& address) {
    const int result = connect(fd_, address.data(), address.length());
    EXPECT_TRUE(result == 0 || errno == EINPROGRESS) << strerror(errno);
  }
  void Send(absl::string_view bytes) {
    EXPECT_EQ(send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  // What has come since the last call.
  std::string Receive() {
    char bytes[1000];
    const ssize_t n = recv(fd_, bytes, sizeof(bytes), 0);
    return std::string(bytes, n > 0 ? static_cast<size_t>(n) : 0);
  }
  // Whether the peer has ended or reset the connection.
  bool ended() {
    char byte;
    const ssize_t n = recv(fd_, &byte, 1, MSG_PEEK);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINPROGRESS && errno != ENOTCONN);
  }

 private:
  const int fd_;
};

struct Engine {
  const char* name;
  absl::StatusOr<std::unique_ptr<Poller>> (*make)();
};

class DescriptorExhaustionTest : public testing::TestWithParam<Engine> {
 protected:
  DescriptorExhaustionTest() { getrlimit(RLIMIT_NOFILE, &earlier_); }
  ~DescriptorExhaustionTest() override { setrlimit(RLIMIT_NOFILE, &earlier_); }

  // From now on so many descriptors can be opened, and no more.
  void LeaveDescriptors(int count) {
    LiftLimit();
    int fds[64];
    int highest = -1;
    ASSERT_LT(count, 64);
    for (int i = 0; i < count; ++i) highest = fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    // Those that follow the last one: descriptors are given out from the lowest number on.
    const int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < count; ++i) close(fds[i]);
    close(next);
    ASSERT_GT(next, highest);
    SetLimit(next);
  }
  void SetLimit(int descriptors) {
    const rlimit limit = {static_cast<rlim_t>(descriptors), earlier_.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  }
  void LiftLimit() { setrlimit(RLIMIT_NOFILE, &earlier_); }

  void Listen() {
    const Listener::Options options = {.on_shortage = [this](const absl::Status& status) {
      shortages_.push_back(status);
      if (on_shortage_) on_shortage_(status);
    }};
    absl::StatusOr<std::unique_ptr<Listener>> listener = Listener::Listen(
        *loop_, SocketAddress::Ipv4Loopback(0), options, [this](std::unique_ptr<Stream> stream) {
          accepted_.push_back(std::make_unique<test::End>());
          test::End& end = *accepted_.back();
          end.recorder.on_receive = [](Stream& s, absl::Span<uint8_t> bytes) { s.SendLent(bytes); };
          end.stream = std::move(stream);
          end.stream->SetHandler(end.recorder);
        });
    ASSERT_TRUE(listener.ok()) << listener.status();
    listener_ = *std::move(listener);
  }

  std::vector<std::unique_ptr<RawClient>> NewClients(int count) {
    std::vector<std::unique_ptr<RawClient>> clients;
    for (int i = 0; i < count; ++i) clients.push_back(std::make_unique<RawClient>());
    return clients;
  }

  // Whether the loop still serves a connection that it has.
  bool Echoes(RawClient& client) {
    client.Send("still here");
    std::string answer;
    return Until(*loop_, [&] {
      answer += client.Receive();
      return answer == "still here";
    });
  }

  rlimit earlier_;
  std::unique_ptr<EventLoop> loop_ = std::make_unique<EventLoop>(*GetParam().make());
  std::unique_ptr<Listener> listener_;
  std::vector<absl::Status> shortages_;
  std::function<void(const absl::Status&)> on_shortage_;
  std::vector<std::unique_ptr<test::End>> accepted_;
};

INSTANTIATE_TEST_SUITE_P(
    Engines, DescriptorExhaustionTest,
    testing::Values(Engine{"UnderTest", [] { return CreatePoller(test::EngineUnderTest()); }},
                    Engine{"KqueueOnShim", internal::MakeKqueuePollerOnShim}),
    [](const auto& engine) { return engine.param.name; });

TEST_P(DescriptorExhaustionTest, AListenerTellsThoseThatItCannotServe) {
  Listen();
  const auto clients = NewClients(20);
  LeaveDescriptors(5);
  for (const auto& client : clients) client->Connect(listener_->address());
  ASSERT_TRUE(Until(*loop_, [&] { return listener_->counters().shed == 15; }));
  EXPECT_EQ(listener_->counters().accepted, 5u);
  EXPECT_EQ(listener_->connections(), 5);
  EXPECT_EQ(std::count_if(clients.begin(), clients.end(), [](auto& c) { return c->ended(); }), 15);
  for (const auto& client : clients) {
    if (!client->ended()) {
      EXPECT_TRUE(Echoes(*client));
    }
  }
}

TEST_P(DescriptorExhaustionTest, TheOwnerIsToldOfEachBackoffAndOfWhatHelps) {
  Listen();
  const auto clients = NewClients(2);
  LeaveDescriptors(1);
  for (const auto& client : clients) client->Connect(listener_->address());
  ASSERT_TRUE(Until(*loop_, [&] { return listener_->counters().shed == 1; }));
  EXPECT_EQ(shortages_.size(), listener_->counters().backoffs);
  ASSERT_FALSE(shortages_.empty());
  EXPECT_EQ(shortages_[0].code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(
      absl::StartsWith(shortages_[0].message(),
                       absl::StrCat(listener_->address().ToString(),
                                    ": accept: Too many open files (RLIMIT_NOFILE: raise it")))
      << shortages_[0];
}

TEST_P(DescriptorExhaustionTest, WhoIsToldMayDestroyTheListener) {
  on_shortage_ = [this](const absl::Status& /*status*/) { listener_.reset(); };
  Listen();
  const auto clients = NewClients(2);
  LeaveDescriptors(1);
  for (const auto& client : clients) client->Connect(listener_->address());
  ASSERT_TRUE(Until(*loop_, [&] { return listener_ == nullptr; }));
  const auto served =
      std::find_if(clients.begin(), clients.end(), [](auto& c) { return !c->ended(); });
  ASSERT_NE(served, clients.end());
  EXPECT_TRUE(Echoes(**served));
}

TEST_P(DescriptorExhaustionTest, AStormOfConnectionsDoesNotMakeItSpinOrForgetTheOthers) {
  Listen();
  const auto clients = NewClients(200);
  LeaveDescriptors(1);
  clients[0]->Connect(listener_->address());
  ASSERT_TRUE(Until(*loop_, [&] { return listener_->connections() == 1; }));
  size_t connected = 1;
  while (connected < clients.size()) {
    for (int i = 0; i < 10 && connected < clients.size(); ++i) {
      clients[connected++]->Connect(listener_->address());
    }
    ASSERT_TRUE(Echoes(*clients[0]));
  }
  ASSERT_TRUE(Until(*loop_, [&] { return listener_->counters().shed == clients.size() - 1; }));
  const uint64_t backoffs = listener_->counters().backoffs;
  EXPECT_GT(backoffs, 0u);
  // Each turn of the loop had a cause: an echo, a failed accept, the retry that follows it.
  EXPECT_LE(loop_->counters().turns, 100 + 3 * backoffs);
}

// No descriptor at all, not even the reserve: those that connect wait in the system's queue.
TEST_P(DescriptorExhaustionTest, WithoutAReserveItBacksOffAndServesThemLater) {
  Listen();
  const auto clients = NewClients(10);
  SetLimit(0);
  for (const auto& client : clients) client->Connect(listener_->address());
  const uint64_t turns = loop_->counters().turns;
  // 10, 20, 40 and 80 ms: a retry each, and its failure.
  loop_->RunUntil([] { return false; }, absl::Milliseconds(150));
  EXPECT_LE(loop_->counters().turns, turns + 20);
  EXPECT_GE(listener_->counters().backoffs, 1u);
  EXPECT_LE(listener_->counters().backoffs, 5u);
  EXPECT_EQ(listener_->counters().accepted, 0u);
  EXPECT_EQ(listener_->counters().shed, 0u);
  LiftLimit();
  ASSERT_TRUE(Until(*loop_, [&] { return listener_->connections() == 10; }));
  EXPECT_TRUE(Echoes(*clients[9]));
}

TEST_P(DescriptorExhaustionTest, TheReserveComesBackWithTheDescriptors) {
  Listen();
  const auto clients = NewClients(20);
  SetLimit(0);
  clients[0]->Connect(listener_->address());
  ASSERT_TRUE(Until(*loop_, [&] { return listener_->counters().backoffs == 1; }));
  LeaveDescriptors(4);
  for (size_t i = 1; i < clients.size(); ++i) clients[i]->Connect(listener_->address());
  ASSERT_TRUE(Until(*loop_, [&] { return listener_->counters().shed == 17; }));
  EXPECT_EQ(listener_->connections(), 3) << "one of the four is the reserve";
}

TEST_P(DescriptorExhaustionTest, ItAcceptsAgainWhenConnectionsHaveClosed) {
  Listen();
  const auto clients = NewClients(10);
  LeaveDescriptors(3);
  for (int i = 0; i < 5; ++i) clients[i]->Connect(listener_->address());
  ASSERT_TRUE(Until(*loop_, [&] { return listener_->counters().shed == 2; }));
  accepted_.clear();
  EXPECT_EQ(listener_->connections(), 0);
  for (int i = 5; i < 8; ++i) clients[i]->Connect(listener_->address());
  ASSERT_TRUE(Until(*loop_, [&] { return listener_->connections() == 3; }));
  EXPECT_EQ(listener_->counters().shed, 2u);
  EXPECT_TRUE(Echoes(*clients[7]));
}

TEST_P(DescriptorExhaustionTest, AListenerMayGoWhileItBacksOff) {
  Listen();
  const auto clients = NewClients(5);
  LeaveDescriptors(1);
  for (const auto& client : clients) client->Connect(listener_->address());
  ASSERT_TRUE(Until(*loop_, [&] { return listener_->counters().backoffs == 1; }));
  listener_ = nullptr;
  loop_->RunUntil([] { return false; }, absl::Milliseconds(30));  // beyond the back-off
}

TEST_P(DescriptorExhaustionTest, WhatNeedsADescriptorSaysThatThereIsNone) {
  Listen();
  const SocketAddress address = listener_->address();
  LeaveDescriptors(0);
  absl::Status status;
  Connector connector(*loop_);
  connector.Connect(address, {}, [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
    status = stream.status();
  });
  ASSERT_TRUE(Until(*loop_, [&] { return !status.ok(); }));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_NE(status.message().find(address.ToString()), absl::string_view::npos) << status;
  status =
      Listener::Listen(*loop_, SocketAddress::Ipv4Loopback(0), {}, [](std::unique_ptr<Stream>) {
      }).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  status = Listener::ListenShared(*loop_, *listener_, {}, [](std::unique_ptr<Stream>) {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  status = GetParam().make().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  LeaveDescriptors(1);  // enough for the first of an engine's descriptors
  status = GetParam().make().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  LiftLimit();
  EXPECT_TRUE(GetParam().make().ok());
}

}  // namespace
}  // namespace sluice
