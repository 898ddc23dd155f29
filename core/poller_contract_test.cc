// What poller.h promises, asked of every engine. Both ends of each connection are on the engine
// under test, so that an engine without a kernel, a simulated network, can be asked the same.
//
// What a Listener makes of a lack of descriptors (its back-off, an engine without even its reserve)
// is in descriptor_exhaustion_test.cc, and how timers and deadlines keep to the engine's clock in
// timer_test.cc and deadline_test.cc.
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/buffer.h"
#include "sluice/core/file_for_tests.h"
#include "sluice/core/internal/pipe.h"
#include "sluice/core/io_uring_poller.h"
#include "sluice/core/kqueue_poller.h"
#include "sluice/core/poller.h"
#include "sluice/core/poller_factory.h"
#include "sluice/core/simulation.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/tcp_testing.h"

namespace sluice {
namespace {

using test::kBound;
using test::Pattern;
using testing::HasSubstr;

// What the tests run on. A further engine adds a line to Engines().
struct Engine {
  const char* name;
  std::function<absl::StatusOr<std::unique_ptr<Poller>>()> make;
  SimulatedHost* host = nullptr;
  // Then its time is virtual, and does not wait for what other threads do; and it makes no files.
  bool simulated() const { return host != nullptr; }
};

void PrintTo(const Engine& engine, std::ostream* out) { *out << engine.name; }

// All its engines are on one host.
Engine Simulated() {
  auto network = std::make_shared<SimulatedNetwork>(/*seed=*/1);
  SimulatedHost& host = network->AddHost("host");
  return {"Simulated", [network, &host] { return host.NewPoller(); }, &host};
}

std::vector<Engine> Engines() {
  // With room for so little that it runs dry and overflows in nearly every test.
  constexpr internal::IoUringSizes kTight = {
      .submissions = 4, .completions = 8, .buffers = 2, .buffer_bytes = 64};
  std::vector<Engine> engines = {
      {"Epoll", [] { return CreatePoller(PollerKind::kEpoll); }},
      {"IoUring", [] { return CreatePoller(PollerKind::kIoUring); }},
      {"TightIoUring", [=] { return internal::MakeIoUringPoller(kTight); }},
      {"KqueueOnShim", internal::MakeKqueuePollerOnShim},
      Simulated()};
  if (!absl::IsUnimplemented(CreatePoller(PollerKind::kKqueue).status()))
    engines.push_back({"Kqueue", [] { return CreatePoller(PollerKind::kKqueue); }});
  return engines;
}

// The least that the system gives, so that little is in flight.
constexpr SocketOptions kSmallBuffers = {.send_buffer_bytes = 1, .receive_buffer_bytes = 1};

// A socket that notes what happens to it, and does in each event what the test wants.
class TestSocket final : public Poller::Socket {
 public:
  explicit TestSocket(Poller& poller) : poller_(poller) {}
  ~TestSocket() override { Close(); }

  void Close() { poller_.Close(*this, /*abort=*/false); }
  void Abort() { poller_.Close(*this, /*abort=*/true); }

  // Queues, and sends unless the engine has more than it wants.
  void Send(absl::string_view bytes) {
    queue.Append(bytes);
    Flush();
  }
  void Flush() {
    if (blocked || queue.empty()) return;
    send_error = poller_.Send(*this, queue);
    blocked = send_error == 0 && !queue.empty();
  }

  std::string Events() const { return absl::StrJoin(events, " "); }

  // Consecutive events of one kind are one word.
  std::vector<std::string> events;
  std::string received;
  int receives = 0;
  int readies = 0;
  int error = 0;  // of OnConnect or OnError
  int send_error = 0;
  Buffer queue;
  bool blocked = false;
  absl::Span<uint8_t> space;
  int asked_for_space = 0;
  std::function<void()> on_connect, on_receive_end, on_send_ready, on_error;
  std::function<void(absl::Span<uint8_t>)> on_receive;
  std::function<void(internal::PipePtr)> on_receive_pipe;

 private:
  void OnConnect(int e) override {
    error = e;
    Note(e == 0 ? "connect" : "fail");
    Call(on_connect);
  }
  void OnReceive(absl::Span<uint8_t> bytes) override {
    EXPECT_FALSE(bytes.empty());
    received.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    ++receives;
    Note("receive");
    const auto call = on_receive;
    if (call) call(bytes);
  }
  void OnReceiveEnd() override {
    Note("end");
    Call(on_receive_end);
  }
  void OnSendReady() override {
    EXPECT_TRUE(blocked);
    blocked = false;
    ++readies;
    Note("ready");
    if (on_send_ready) return Call(on_send_ready);
    Flush();
  }
  void OnError(int e) override {
    error = e;
    Note("error");
    Call(on_error);
  }
  absl::Span<uint8_t> ReceiveSpace() override {
    ++asked_for_space;
    return space;
  }
  void OnReceivePipe(internal::PipePtr pipe) override {
    EXPECT_NE(pipe->size(), 0u);
    ++receives;
    Note("receive");
    on_receive_pipe(std::move(pipe));
  }

  void Note(const char* event) {
    EXPECT_TRUE(Poller::is_open(*this)) << event << " after close";
    if (events.empty() || events.back() != event) events.push_back(event);
  }
  // A copy, since the call may destroy this.
  static void Call(const std::function<void()>& function) {
    const std::function<void()> call = function;
    if (call) call();
  }

  Poller& poller_;
};

class TestAcceptor final : public Poller::Acceptor {
 public:
  explicit TestAcceptor(Poller& poller) : poller_(poller) {}
  ~TestAcceptor() override { Close(); }
  void Close() { poller_.Close(*this); }

  std::function<void(Poller::Accepted, const SocketAddress&)> on_accept;
  std::function<void(int error, int shed)> on_accept_error;
  int accepted = 0;

 private:
  void OnAccept(Poller::Accepted connection, const SocketAddress& peer) override {
    ++accepted;
    const auto call = on_accept;
    if (call) call(std::move(connection), peer);
  }
  void OnAcceptError(int error, int shed) override {
    if (on_accept_error) return on_accept_error(error, shed);
    ADD_FAILURE() << strerror(error);
  }

  Poller& poller_;
};

// While one of these is, so many more descriptors can be opened, and no more.
class FewDescriptors {
 public:
  FewDescriptors(const Engine& engine, int count) : host_(engine.host) {
    if (host_ != nullptr) {
      host_->set_options({.descriptors = host_->descriptors() + count});
      return;
    }
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &earlier_), 0);
    // They are given out from the lowest number on. Those below one that is in use are taken, so
    // that the limit is above all that the engine has.
    constexpr int kMostInUse = 4096;
    int highest = 0;
    for (int fd = 0; fd < kMostInUse; ++fd) {
      if (fcntl(fd, F_GETFD) >= 0) highest = fd;
    }
    do {
      taken_.push_back(open("/dev/null", O_RDONLY | O_CLOEXEC));
    } while (taken_.back() < highest);
    const rlimit limit = {static_cast<rlim_t>(taken_.back() + 1 + count), earlier_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  }
  ~FewDescriptors() {
    if (host_ != nullptr) {
      host_->set_options({});
    } else {
      setrlimit(RLIMIT_NOFILE, &earlier_);
      for (const int fd : taken_) close(fd);
    }
  }
  FewDescriptors(const FewDescriptors&) = delete;
  FewDescriptors& operator=(const FewDescriptors&) = delete;

 private:
  SimulatedHost* const host_;
  rlimit earlier_;
  std::vector<int> taken_;
};

using SocketPtr = std::unique_ptr<TestSocket>;

struct SocketPair {
  SocketPtr client;
  SocketPtr server;
};

bool Exists(const SocketAddress& address) {
  struct stat info;
  return lstat(address.path().c_str(), &info) == 0;
}

class PollerContractTest : public testing::TestWithParam<Engine> {
 protected:
  // An engine that this system does not have or forbids is skipped.
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<Poller>> poller = GetParam().make();
    if (absl::IsUnimplemented(poller.status()) || absl::IsPermissionDenied(poller.status()))
      GTEST_SKIP() << poller.status();
    ASSERT_TRUE(poller.ok()) << poller.status();
    poller_ = *std::move(poller);
  }

  std::unique_ptr<Poller> NewPoller() {
    absl::StatusOr<std::unique_ptr<Poller>> poller = GetParam().make();
    EXPECT_TRUE(poller.ok()) << poller.status();
    return *std::move(poller);
  }

  // `done` must become true by what the engine reports.
  bool Until(absl::FunctionRef<bool()> done) {
    const MonotonicTime deadline = poller_->Now() + kBound;
    while (!done() && poller_->Now() < deadline) poller_->Wait(deadline);
    return done();
  }

  // Turns until a whole millisecond is quiet. Fails when the engine does not come to rest.
  void UntilQuiet() {
    for (int turn = 0; turn < 10'000; ++turn) {
      if (poller_->Wait(poller_->Now() + absl::Milliseconds(1)) == 0) return;
    }
    ADD_FAILURE() << "the engine reports events without end";
  }

  void Listen(TestAcceptor& acceptor, const ListenOptions& options = {},
              const SocketAddress& address = SocketAddress::Ipv4Loopback(0)) {
    const absl::Status status = poller_->Listen(acceptor, address, options);
    ASSERT_TRUE(status.ok()) << status;
  }

  SocketPtr StartToConnect(const SocketAddress& address, const SocketOptions& options = {}) {
    auto socket = std::make_unique<TestSocket>(*poller_);
    const absl::Status status = poller_->Connect(*socket, address, options);
    EXPECT_TRUE(status.ok()) << status;
    return socket;
  }

  // A connected pair, of which the server receives.
  SocketPair Connect(const SocketOptions& options = {},
                     const SocketAddress& address = SocketAddress::Ipv4Loopback(0)) {
    TestAcceptor acceptor(*poller_);
    ListenOptions listen;
    listen.socket = options;
    SocketPair pair;
    acceptor.on_accept = [&](Poller::Accepted accepted, const SocketAddress&) {
      pair.server = std::make_unique<TestSocket>(*poller_);
      poller_->Attach(*pair.server, std::move(accepted));
      poller_->StartReceiving(*pair.server);
    };
    Listen(acceptor, listen, address);
    pair.client = StartToConnect(poller_->LocalAddress(acceptor), options);
    EXPECT_TRUE(Until([&] { return pair.server != nullptr && !pair.client->events.empty(); }));
    EXPECT_EQ(pair.client->Events(), "connect");
    pair.client->events.clear();
    return pair;
  }

  // Sends until the engine has more than it wants.
  static size_t SendUntilBlocked(TestSocket& socket) {
    size_t sent = 0;
    while (!socket.blocked && socket.send_error == 0) {
      socket.Send(Pattern(sent, 100'000));
      sent += 100'000;
    }
    EXPECT_EQ(socket.send_error, 0);
    return sent;
  }

  std::unique_ptr<Poller> poller_;
};

INSTANTIATE_TEST_SUITE_P(Engines, PollerContractTest, testing::ValuesIn(Engines()),
                         [](const auto& engine) { return engine.param.name; });

// Time and waking.

TEST_P(PollerContractTest, WaitsUntilTheDeadlineAndNotLess) {
  const MonotonicTime deadline = poller_->Now() + absl::Milliseconds(3);
  while (poller_->Now() < deadline) EXPECT_EQ(poller_->Wait(deadline), 0u);
  // How late it is, the system's load decides; a simulated turn takes a microsecond.
  if (GetParam().simulated()) {
    EXPECT_EQ(poller_->Now() - deadline, absl::Microseconds(1));
  }
}

TEST_P(PollerContractTest, ADeadlineInThePastOnlyLooks) {
  EXPECT_EQ(poller_->Wait(MonotonicTime()), 0u);
  EXPECT_EQ(poller_->Wait(MonotonicTime::InfinitePast()), 0u);
  EXPECT_EQ(poller_->Wait(poller_->Now()), 0u);
}

TEST_P(PollerContractTest, AWakeEndsTheNextWaitAndManyAreOne) {
  for (int i = 0; i < 1000; ++i) poller_->Wake();
  EXPECT_EQ(poller_->Wait(MonotonicTime::InfiniteFuture()), poller_->clock_runs() ? 1u : 0u);
  EXPECT_EQ(poller_->Wait(poller_->Now() + absl::Milliseconds(1)), 0u);
}

TEST_P(PollerContractTest, AWakeInsideAnEventEndsTheNextWait) {
  SocketPair pair = Connect();
  pair.server->on_receive = [&](absl::Span<uint8_t>) { poller_->Wake(); };
  pair.client->Send("x");
  ASSERT_TRUE(Until([&] { return pair.server->receives == 1; }));
  poller_->Wait(MonotonicTime::InfiniteFuture());
}

// The other thread answers only once its last wake has been seen, so that a lost one shows.
TEST_P(PollerContractTest, NoWakeOfAnotherThreadIsLost) {
  constexpr int kRounds = 2'000;
  std::atomic<int> asked{0};
  std::atomic<int> seen{0};
  std::thread other([&] {
    for (int round = 1; round <= kRounds; ++round) {
      asked.store(round);
      poller_->Wake();
      while (seen.load() < round) std::this_thread::yield();
    }
  });
  const MonotonicTime deadline =
      GetParam().simulated() ? MonotonicTime::InfiniteFuture() : poller_->Now() + kBound;
  while (seen.load() < kRounds && poller_->Now() < deadline) {
    while (asked.load() == seen.load() && poller_->Now() < deadline) poller_->Wait(deadline);
    seen.store(asked.load());
  }
  EXPECT_EQ(seen.load(), kRounds);
  seen.store(kRounds);
  other.join();
}

TEST_P(PollerContractTest, WakesOfEightThreadsAtOnceAreNoRace) {
  std::vector<std::thread> threads;
  std::atomic<int> running{8};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 500; ++round) poller_->Wake();
      --running;
      poller_->Wake();
    });
  }
  while (running.load() != 0) poller_->Wait(MonotonicTime::InfiniteFuture());
  for (std::thread& thread : threads) thread.join();
}

// A loop may be set up on one thread and run by another, and then by a third.
TEST_P(PollerContractTest, MayBeWaitedOnByOneThreadAfterAnother) {
  TestAcceptor acceptor(*poller_);
  Listen(acceptor);
  SocketPair pair = Connect(kSmallBuffers);
  size_t sent = 0;
  SocketPtr client;
  for (int round = 1; round <= 3; ++round) {
    std::thread([&] {
      poller_->StopReceiving(*pair.server);
      const size_t before = pair.server->received.size();
      sent += SendUntilBlocked(*pair.client);
      poller_->StartReceiving(*pair.server);
      EXPECT_TRUE(Until([&] { return pair.server->received.size() > before; }));
      client = StartToConnect(poller_->LocalAddress(acceptor));
      EXPECT_TRUE(Until([&] { return acceptor.accepted == round; }));
      poller_->Wake();
      poller_->Wait(MonotonicTime::InfiniteFuture());
    }).join();
  }
  ASSERT_TRUE(Until([&] { return pair.client->queue.empty(); }));
  ASSERT_TRUE(Until([&] { return pair.server->received.size() >= sent; }));
  EXPECT_EQ(pair.server->received.size(), sent);
}

// Listening and accepting.

TEST_P(PollerContractTest, AClosedListenersAddressIsFreeAtOnce) {
  TestAcceptor first(*poller_);
  Listen(first);
  const SocketAddress address = poller_->LocalAddress(first);
  UntilQuiet();
  first.Close();
  TestAcceptor second(*poller_);
  Listen(second, {}, address);
}

// A loop's thread has been joined, and its listener goes on the one that has made it.
TEST_P(PollerContractTest, AListenerClosedOnAnotherThreadFreesItsAddressAtOnce) {
  for (const SocketAddress& loopback :
       {SocketAddress::Ipv4Loopback(0), SocketAddress::Ipv6Loopback(0)}) {
    TestAcceptor first(*poller_);
    Listen(first, {}, loopback);
    const SocketAddress address = poller_->LocalAddress(first);
    std::thread([&] { UntilQuiet(); }).join();
    first.Close();
    TestAcceptor second(*poller_);
    Listen(second, {}, address);
    const SocketPtr client = StartToConnect(address);
    ASSERT_TRUE(Until([&] { return second.accepted == 1; }));
  }
}

TEST_P(PollerContractTest, AnAcceptedSocketKnowsItsEnds) {
  TestAcceptor acceptor(*poller_);
  Listen(acceptor);
  TestSocket server(*poller_);
  SocketAddress peer;
  acceptor.on_accept = [&](Poller::Accepted accepted, const SocketAddress& address) {
    peer = address;
    poller_->Attach(server, std::move(accepted));
  };
  const SocketAddress address = poller_->LocalAddress(acceptor);
  EXPECT_NE(address.port(), 0);
  const SocketPtr client = StartToConnect(address);
  ASSERT_TRUE(Until([&] { return acceptor.accepted == 1 && !client->events.empty(); }));
  EXPECT_EQ(peer, poller_->LocalAddress(*client));
  EXPECT_EQ(poller_->LocalAddress(server), address);
}

TEST_P(PollerContractTest, ASecondListenerOnAnAddressIsRefused) {
  TestAcceptor first(*poller_);
  Listen(first);
  const SocketAddress address = poller_->LocalAddress(first);
  TestAcceptor second(*poller_);
  for (const auto reuse : {ListenOptions::ReusePort::kNo, ListenOptions::ReusePort::kFirst,
                           ListenOptions::ReusePort::kJoin}) {
    const absl::Status status = poller_->Listen(second, address, {.reuse_port = reuse});
    EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists) << status;
    EXPECT_NE(status.message().find(address.ToString()), absl::string_view::npos) << status;
  }
  first.Close();
  Listen(second, {}, address);
}

TEST_P(PollerContractTest, OthersJoinTheFirstOnASharedPortButNobodyIsFirstTwice) {
  TestAcceptor first(*poller_);
  Listen(first, {.reuse_port = ListenOptions::ReusePort::kFirst});
  const SocketAddress address = poller_->LocalAddress(first);
  TestAcceptor second(*poller_);
  EXPECT_EQ(
      poller_->Listen(second, address, {.reuse_port = ListenOptions::ReusePort::kFirst}).code(),
      absl::StatusCode::kAlreadyExists);
  Listen(second, {.reuse_port = ListenOptions::ReusePort::kJoin}, address);
  std::vector<SocketPtr> clients;
  for (int i = 0; i < 64; ++i) clients.push_back(StartToConnect(address));
  ASSERT_TRUE(Until([&] { return first.accepted + second.accepted == 64; }));
  EXPECT_GT(first.accepted, 0);
  EXPECT_GT(second.accepted, 0);
}

TEST_P(PollerContractTest, NoAddressIsAnError) {
  TestAcceptor acceptor(*poller_);
  EXPECT_EQ(poller_->Listen(acceptor, SocketAddress(), {}).code(),
            absl::StatusCode::kInvalidArgument);
  TestSocket socket(*poller_);
  EXPECT_EQ(poller_->Connect(socket, SocketAddress(), {}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(Poller::is_open(socket));
}

TEST_P(PollerContractTest, AConnectionThatNobodyTakesIsClosed) {
  TestAcceptor acceptor(*poller_);
  Listen(acceptor);
  const SocketPtr client = StartToConnect(poller_->LocalAddress(acceptor));
  client->on_connect = [&] { poller_->StartReceiving(*client); };
  ASSERT_TRUE(Until([&] { return client->Events() == "connect end"; })) << client->Events();
}

TEST_P(PollerContractTest, APauseInsideAnAcceptLetsNoFurtherOneIn) {
  TestAcceptor acceptor(*poller_);
  Listen(acceptor);
  poller_->PauseAccepting(acceptor);
  std::vector<SocketPtr> clients;
  for (int i = 0; i < 5; ++i) {
    clients.push_back(StartToConnect(poller_->LocalAddress(acceptor)));
  }
  ASSERT_TRUE(Until([&] {
    return std::all_of(clients.begin(), clients.end(),
                       [](const SocketPtr& client) { return client->Events() == "connect"; });
  })) << "the system completes connections that nobody has accepted yet";
  EXPECT_EQ(acceptor.accepted, 0);
  acceptor.on_accept = [&](Poller::Accepted, const SocketAddress&) {
    poller_->PauseAccepting(acceptor);
  };
  for (int i = 1; i <= 5; ++i) {
    poller_->ResumeAccepting(acceptor);
    ASSERT_TRUE(Until([&] { return acceptor.accepted >= i; }));
    UntilQuiet();
    EXPECT_EQ(acceptor.accepted, i);
  }
}

TEST_P(PollerContractTest, AnAcceptorMayBeClosedInsideItsEvent) {
  auto acceptor = std::make_unique<TestAcceptor>(*poller_);
  Listen(*acceptor);
  const SocketAddress address = poller_->LocalAddress(*acceptor);
  TestSocket server(*poller_);
  acceptor->on_accept = [&](Poller::Accepted accepted, const SocketAddress&) {
    poller_->Attach(server, std::move(accepted));
    acceptor = nullptr;
  };
  std::vector<SocketPtr> clients;
  for (int i = 0; i < 5; ++i) clients.push_back(StartToConnect(address));
  ASSERT_TRUE(Until([&] { return acceptor == nullptr; }));
  UntilQuiet();
  EXPECT_TRUE(Poller::is_open(server)) << "what was accepted lives on";
}

TEST_P(PollerContractTest, TwoEnginesAcceptFromOneSharedListener) {
  const std::unique_ptr<Poller> second_poller = NewPoller();
  TestAcceptor first(*poller_);
  TestAcceptor second(*second_poller);
  Listen(first);
  ASSERT_TRUE(second_poller->ListenShared(second, first).ok());
  EXPECT_EQ(second_poller->LocalAddress(second), poller_->LocalAddress(first));
  std::vector<SocketPtr> clients;
  const auto connect = [&] {
    clients.push_back(StartToConnect(poller_->LocalAddress(first)));
    ASSERT_TRUE(Until([&] { return !clients.back()->events.empty(); }));
  };
  poller_->PauseAccepting(first);
  connect();
  second_poller->Wait(second_poller->Now() + kBound);
  EXPECT_EQ(second.accepted, 1);
  second.Close();
  connect();
  EXPECT_EQ(second_poller->Wait(second_poller->Now() + absl::Milliseconds(1)), 0u);
  poller_->ResumeAccepting(first);
  ASSERT_TRUE(Until([&] { return first.accepted == 1; })) << "the other's end does not close it";
}

TEST_P(PollerContractTest, WithoutDescriptorsItShedsAndSaysSoAndLaterAcceptsAgain) {
  if (!GetParam().simulated() && getenv("UBSAN_OPTIONS") != nullptr)
    GTEST_SKIP() << "the sanitizer's checks need descriptors of their own";
  TestAcceptor acceptor(*poller_);
  Listen(acceptor);
  std::vector<SocketPtr> servers;
  acceptor.on_accept = [&](Poller::Accepted accepted, const SocketAddress&) {
    servers.push_back(std::make_unique<TestSocket>(*poller_));
    poller_->Attach(*servers.back(), std::move(accepted));
  };
  int shed = 0;
  acceptor.on_accept_error = [&](int error, int count) {
    EXPECT_EQ(error, EMFILE);
    shed += count;
    poller_->PauseAccepting(acceptor);
  };
  poller_->PauseAccepting(acceptor);
  std::vector<SocketPtr> clients;
  const auto connect = [&] {
    clients.push_back(StartToConnect(poller_->LocalAddress(acceptor)));
    clients.back()->on_connect = [this, client = clients.back().get()] {
      poller_->StartReceiving(*client);
    };
  };
  const auto clients_with = [&](absl::string_view events) {
    return std::count_if(clients.begin(), clients.end(),
                         [&](const SocketPtr& client) { return client->Events() == events; });
  };
  for (int i = 0; i < 5; ++i) connect();
  ASSERT_TRUE(Until([&] { return clients_with("connect") == 5; }));
  UntilQuiet();

  const FewDescriptors few(GetParam(), 2);
  poller_->ResumeAccepting(acceptor);
  ASSERT_TRUE(Until([&] { return clients_with("connect end") == 3; })) << shed << " are shed";
  UntilQuiet();
  EXPECT_EQ(servers.size(), 2u);
  EXPECT_EQ(shed, 3);
  EXPECT_EQ(clients_with("connect"), 2);

  servers.clear();
  UntilQuiet();
  connect();
  poller_->ResumeAccepting(acceptor);
  ASSERT_TRUE(Until([&] { return servers.size() == 1; }));
  EXPECT_EQ(shed, 3);
}

// Where a system knows files.

TEST_P(PollerContractTest, AUnixListenersPathIsThereAsLongAsItListens) {
  const test::ShortTempDir directory;
  const SocketAddress address = directory.Socket("s");
  TestAcceptor acceptor(*poller_);
  Listen(acceptor, {}, address);
  EXPECT_EQ(Exists(address), !GetParam().simulated());
  acceptor.Close();
  EXPECT_FALSE(Exists(address));
  Listen(acceptor, {}, address);
  EXPECT_EQ(Exists(address), !GetParam().simulated()) << "again, in the same place";
}

TEST_P(PollerContractTest, AUnixListenerLeavesAFileThatHasTakenItsPath) {
  const test::ShortTempDir directory;
  const SocketAddress address = directory.Socket("s");
  TestAcceptor acceptor(*poller_);
  Listen(acceptor, {}, address);
  unlink(address.path().c_str());
  std::ofstream(address.path()) << "precious";
  acceptor.Close();
  EXPECT_TRUE(Exists(address));
  unlink(address.path().c_str());
}

TEST_P(PollerContractTest, AUnixListenerThatSharesNeverRemovesThePath) {
  const test::ShortTempDir directory;
  const SocketAddress address = directory.Socket("s");
  const std::unique_ptr<Poller> second_poller = NewPoller();
  TestAcceptor first(*poller_);
  TestAcceptor second(*second_poller);
  Listen(first, {}, address);
  ASSERT_TRUE(second_poller->ListenShared(second, first).ok());
  second.Close();
  EXPECT_EQ(Exists(address), !GetParam().simulated());
  ASSERT_TRUE(second_poller->ListenShared(second, first).ok());
  first.Close();
  EXPECT_FALSE(Exists(address)) << "it goes with the one that has made it";
}

// Connecting.

TEST_P(PollerContractTest, NothingIsReportedBeforeWait) {
  TestAcceptor acceptor(*poller_);
  Listen(acceptor);
  const SocketPtr client = StartToConnect(poller_->LocalAddress(acceptor));
  EXPECT_EQ(client->Events(), "");
  EXPECT_EQ(acceptor.accepted, 0);
  ASSERT_TRUE(Until([&] { return !client->events.empty(); }));
}

TEST_P(PollerContractTest, ARefusedConnectIsReportedOnce) {
  TestAcceptor acceptor(*poller_);
  Listen(acceptor);
  const SocketAddress address = poller_->LocalAddress(acceptor);
  acceptor.Close();
  const SocketPtr client = StartToConnect(address);
  ASSERT_TRUE(Until([&] { return !client->events.empty(); }));
  EXPECT_EQ(client->Events(), "fail");
  EXPECT_EQ(client->error, ECONNREFUSED);
  client->Close();
  UntilQuiet();
  EXPECT_EQ(client->Events(), "fail");
}

TEST_P(PollerContractTest, AConnectMayBeGivenUpBeforeItsOutcome) {
  TestAcceptor acceptor(*poller_);
  Listen(acceptor);
  const SocketPtr client = StartToConnect(poller_->LocalAddress(acceptor));
  client->Close();
  EXPECT_FALSE(Poller::is_open(*client));
  ASSERT_TRUE(Until([&] { return acceptor.accepted == 1; }));
  UntilQuiet();
  EXPECT_EQ(client->Events(), "");
}

TEST_P(PollerContractTest, AConnectToAUnixPathThatIsNotThereFailsAtOnce) {
  const test::ShortTempDir directory;
  const SocketAddress path = directory.Socket("s");
  for (const auto& [address, error] :
       {std::pair(path, ENOENT),
        std::pair(*SocketAddress::Parse("unix:@sluice_test_nobody"), ECONNREFUSED)}) {
    TestSocket socket(*poller_);
    const absl::Status status = poller_->Connect(socket, address, {});
    EXPECT_THAT(std::string(status.message()), HasSubstr(strerror(error)));
    EXPECT_THAT(std::string(status.message()), HasSubstr(address.ToString()));
    EXPECT_FALSE(Poller::is_open(socket));
  }
}

TEST_P(PollerContractTest, AConnectToAUnixListenerWhoseQueueIsFullFailsAtOnce) {
  const test::ShortTempDir directory;
  TestAcceptor acceptor(*poller_);
  Listen(acceptor, {.backlog = 0}, directory.Socket("s"));
  poller_->PauseAccepting(acceptor);
  const SocketPtr first = StartToConnect(poller_->LocalAddress(acceptor));
  TestSocket second(*poller_);
  const absl::Status status = poller_->Connect(second, poller_->LocalAddress(acceptor), {});
  EXPECT_THAT(std::string(status.message()), HasSubstr(strerror(EAGAIN)));
  EXPECT_FALSE(Poller::is_open(second));
  ASSERT_TRUE(Until([&] { return first->Events() == "connect"; }));
}

// A listener whose queue is full does not answer. How long a system waits it decides itself; only
// the simulated one is awaited.
TEST_P(PollerContractTest, AConnectThatIsNotAnsweredStaysPendingUntilItIsGivenUp) {
  TestAcceptor acceptor(*poller_);
  Listen(acceptor, {.backlog = 0});
  poller_->PauseAccepting(acceptor);
  const SocketPtr first = StartToConnect(poller_->LocalAddress(acceptor));
  ASSERT_TRUE(Until([&] { return first->Events() == "connect"; }));
  SocketPtr second = StartToConnect(poller_->LocalAddress(acceptor));
  UntilQuiet();
  EXPECT_EQ(second->Events(), "");
  if (GetParam().simulated()) {
    poller_->Wait(poller_->Now() + absl::Minutes(3));
    EXPECT_EQ(second->Events(), "fail");
    EXPECT_EQ(second->error, ETIMEDOUT);
  }
  second = nullptr;
  UntilQuiet();
}

// Bytes.

TEST_P(PollerContractTest, CarriesBytesInOrderOverEachFamily) {
  test::ShortTempDir directory;
  const std::string path = directory.Socket("s").path();
  for (const SocketAddress& address :
       {SocketAddress::Ipv4Loopback(0), SocketAddress::Ipv6Loopback(0), directory.Socket("s")}) {
    SCOPED_TRACE(address.ToString());
    SocketPair pair = Connect({}, address);
    poller_->StartReceiving(*pair.client);
    constexpr size_t kSize = 3'000'000;
    pair.client->Send(Pattern(0, kSize));
    pair.server->Send(Pattern(kSize, kSize));
    ASSERT_TRUE(Until([&] {
      return pair.server->received.size() >= kSize && pair.client->received.size() >= kSize;
    }));
    EXPECT_TRUE(pair.server->received == Pattern(0, kSize));
    EXPECT_TRUE(pair.client->received == Pattern(kSize, kSize));
  }
  remove(path.c_str());
}

TEST_P(PollerContractTest, PartialSendsArriveWholeAndInOrder) {
  SocketPair pair = Connect(kSmallBuffers);
  constexpr size_t kSize = 1'000'000;
  // Many pieces, of sizes that fit no buffer.
  Buffer& queue = pair.client->queue;
  for (size_t offset = 0, size = 1; offset < kSize; offset += size, size = size * 3 % 7919 + 1) {
    size = std::min(size, kSize - offset);
    queue.Append(Slice::Copy(Pattern(offset, size)));
  }
  pair.client->Flush();
  EXPECT_TRUE(pair.client->blocked);
  ASSERT_TRUE(Until([&] { return pair.server->received.size() >= kSize; }));
  EXPECT_TRUE(pair.server->received == Pattern(0, kSize));
  EXPECT_GT(pair.client->readies, 1);
  EXPECT_TRUE(queue.empty());
}

TEST_P(PollerContractTest, SaysThatItTakesMoreOnceAndOnlyWhenThePeerReads) {
  SocketPair pair = Connect(kSmallBuffers);
  poller_->StopReceiving(*pair.server);
  const size_t sent = SendUntilBlocked(*pair.client);
  UntilQuiet();
  EXPECT_EQ(pair.client->readies, 0);
  pair.client->on_send_ready = [] {};  // takes note and sends nothing
  poller_->StartReceiving(*pair.server);
  ASSERT_TRUE(Until([&] { return pair.client->readies == 1; }));
  UntilQuiet();
  EXPECT_EQ(pair.client->readies, 1) << "each only after a Send that left something";
  pair.client->on_send_ready = nullptr;
  pair.client->Flush();
  ASSERT_TRUE(Until([&] { return pair.server->received.size() == sent; }));
  EXPECT_TRUE(pair.server->received == Pattern(0, sent));
}

// Sending files.

// Sends all of it, as OnSendReady allows; the last answer.
class FileSender {
 public:
  FileSender(Poller& poller, TestSocket& socket, const test::FileForTests& file)
      : poller_(poller), socket_(socket), fd_(file.Open(O_RDONLY)), size_(file.size()) {
    socket.on_send_ready = [this] { Send(); };
    Send();
  }
  ~FileSender() { close(fd_); }

  size_t sent() const { return sent_; }
  const Poller::FileSent& last() const { return last_; }

 private:
  void Send() {
    if (sent_ == size_) return;
    last_ = poller_.SendFile(socket_, fd_, sent_, size_ - sent_);
    sent_ += last_.bytes;
    EXPECT_LE(sent_, size_);
    socket_.blocked = last_.error == 0 && !last_.file_ended && sent_ != size_;
  }

  Poller& poller_;
  TestSocket& socket_;
  const int fd_;
  const size_t size_;
  size_t sent_ = 0;
  Poller::FileSent last_;
};

TEST_P(PollerContractTest, FilesArriveWholeAndInOrder) {
  constexpr size_t kSize = 1'500'000;
  const test::FileForTests file(Pattern(0, kSize));
  SocketPair pair = Connect(kSmallBuffers);
  pair.client->Send("head");
  ASSERT_FALSE(pair.client->blocked);
  const FileSender sender(*poller_, *pair.client, file);
  ASSERT_TRUE(Until([&] { return sender.sent() == kSize; }));
  EXPECT_FALSE(pair.client->blocked);
  pair.client->on_send_ready = nullptr;
  pair.client->Send("tail");
  ASSERT_TRUE(Until([&] { return pair.server->received.size() >= kSize + 8; }));
  EXPECT_TRUE(pair.server->received == "head" + Pattern(0, kSize) + "tail");
  UntilQuiet();
}

TEST_P(PollerContractTest, AFilesSenderIsToldOnceAndOnlyWhenThePeerReads) {
  const test::FileForTests file(Pattern(0, 5'000'000));
  SocketPair pair = Connect(kSmallBuffers);
  poller_->StopReceiving(*pair.server);
  const FileSender sender(*poller_, *pair.client, file);
  UntilQuiet();
  const size_t sent = sender.sent();
  EXPECT_LT(sent, file.size());
  const int before = pair.client->readies;
  pair.client->on_send_ready = [] {};  // takes note and sends nothing
  poller_->StartReceiving(*pair.server);
  ASSERT_TRUE(Until([&] { return pair.client->readies == before + 1; }));
  UntilQuiet();
  EXPECT_EQ(pair.client->readies, before + 1);
  EXPECT_EQ(pair.server->received.size(), sent);
}

TEST_P(PollerContractTest, AFileThatEndsEarlyIsTold) {
  const test::FileForTests file("hello");
  SocketPair pair = Connect();
  const int fd = file.Open(O_RDONLY);
  Poller::FileSent sent = poller_->SendFile(*pair.client, fd, 2, 10);
  size_t bytes = sent.bytes;
  pair.client->blocked = !sent.file_ended;
  pair.client->on_send_ready = [&] {
    sent = poller_->SendFile(*pair.client, fd, 2 + bytes, 10 - bytes);
    bytes += sent.bytes;
  };
  ASSERT_TRUE(Until([&] { return sent.file_ended; }));
  EXPECT_EQ(sent.error, 0);
  EXPECT_EQ(bytes, 3u);
  ASSERT_TRUE(Until([&] { return pair.server->received == "llo"; }));
  close(fd);
}

// The default of SIGPIPE ends the process.
TEST_P(PollerContractTest, AFileForAPeerThatIsGoneIsAnErrorAndNoSignal) {
  const test::FileForTests file(Pattern(0, 100'000));
  test::ShortTempDir directory;
  for (const bool unix_socket : {false, true}) {
    if (unix_socket && GetParam().simulated()) continue;
    SocketPair pair =
        Connect({}, unix_socket ? directory.Socket("s") : SocketAddress::Ipv4Loopback(0));
    pair.server->Abort();
    UntilQuiet();
    const FileSender sender(*poller_, *pair.client, file);
    ASSERT_TRUE(Until([&] { return sender.last().error != 0 || pair.client->error != 0; }));
    EXPECT_NE(poller_->SendFile(*pair.client, file.Open(O_RDONLY), 0, 10).error, 0);
  }
}

TEST_P(PollerContractTest, LendsWritableBytesOfItsReceiveBlock) {
  SocketPair pair = Connect();
  pair.server->on_receive = [&](absl::Span<uint8_t> bytes) {
    Block& block = poller_->receive_block();
    EXPECT_GE(bytes.data(), block.storage());
    EXPECT_LE(bytes.data() + bytes.size(), block.storage() + block.capacity());
    for (uint8_t& byte : bytes) byte ^= 0xFF;
  };
  pair.client->Send("one");
  ASSERT_TRUE(Until([&] { return pair.server->receives == 1; }));
  pair.client->Send("two");
  ASSERT_TRUE(Until([&] { return pair.server->received == "onetwo"; }));
}

// Bytes lent by one receive are sent while the block is used for the next.
TEST_P(PollerContractTest, SendKeepsNoReferenceToLentMemory) {
  SocketPair source = Connect();
  SocketPair sink = Connect(kSmallBuffers);
  poller_->StopReceiving(*sink.server);
  const size_t before = SendUntilBlocked(*sink.client);
  sink.client->on_send_ready = [] {};
  // Room for a part of what follows.
  poller_->StartReceiving(*sink.server);
  ASSERT_TRUE(Until([&] { return sink.client->readies == 1; }));
  size_t forwarded = 0;
  source.server->on_receive = [&](absl::Span<uint8_t> bytes) {
    forwarded += bytes.size();
    if (sink.client->blocked) return sink.client->queue.Append(bytes);
    Block& block = poller_->receive_block();
    sink.client->queue.AppendFrom(block, bytes);
    sink.client->Flush();
    EXPECT_FALSE(sink.client->queue.Refers(block)) << sink.client->queue.size() << " bytes left";
    std::fill(bytes.begin(), bytes.end(), '!');
  };
  poller_->StopReceiving(*sink.server);
  source.client->Send(Pattern(before, 200'000));
  ASSERT_TRUE(Until([&] { return forwarded == 200'000; }));
  EXPECT_FALSE(sink.client->queue.empty());
  sink.client->on_send_ready = nullptr;
  poller_->StartReceiving(*sink.server);
  ASSERT_TRUE(Until([&] { return sink.server->received.size() == before + 200'000; }));
  EXPECT_TRUE(sink.server->received == Pattern(0, before + 200'000));
}

TEST_P(PollerContractTest, ReceivesIntoTheSocketsOwnSpaceAndThenElsewhere) {
  SocketPair pair = Connect();
  std::vector<uint8_t> space(1000);
  pair.server->space = absl::MakeSpan(space);
  Poller::set_has_receive_space(*pair.server, true);
  pair.server->on_receive = [&](absl::Span<uint8_t> bytes) {
    if (pair.server->received.size() > space.size()) return;
    EXPECT_EQ(bytes.data(), pair.server->space.data());
    pair.server->space.remove_prefix(bytes.size());
  };
  pair.client->Send(Pattern(0, 5000));
  ASSERT_TRUE(Until([&] { return pair.server->received.size() == 5000; }));
  EXPECT_EQ(pair.server->received, Pattern(0, 5000));
  EXPECT_EQ(std::string(space.begin(), space.end()), Pattern(0, 1000));
}

// A large message that begins in the block, which it fills, and goes on in a place of its own.
class FillingTheBlock {
 public:
  static constexpr size_t kBytes = 3'000'000;

  // The bytes wait for StartReceiving.
  FillingTheBlock(Poller& poller, TestSocket& client, TestSocket& server)
      : poller_(poller), server_(server) {
    poller.StopReceiving(server);
    client.Send(Pattern(0, kBytes));
    server.on_receive = [this](absl::Span<uint8_t> bytes) { OnReceive(bytes); };
  }
  std::function<void()> on_full;
  int full() const { return full_; }
  size_t in_space() const { return in_space_; }

 private:
  void OnReceive(absl::Span<uint8_t> bytes) {
    Block& block = poller_.receive_block();
    if (!server_.space.empty()) {
      EXPECT_EQ(bytes.data(), server_.space.data());
      in_space_ += bytes.size();
      server_.space.remove_prefix(bytes.size());
    } else if (bytes.data() == block.storage() && bytes.size() == block.capacity()) {
      ++full_;
      server_.space = absl::MakeSpan(space_);
    }
    Poller::set_has_receive_space(server_, !server_.space.empty());
    if (full_ != 0 && on_full) on_full();
  }

  Poller& poller_;
  TestSocket& server_;
  std::vector<uint8_t> space_ = std::vector<uint8_t>(300'000);
  int full_ = 0;
  size_t in_space_ = 0;
};

TEST_P(PollerContractTest, WhatHasFilledTheBlockGoesOnInTheSpaceGivenForIt) {
  SocketPair pair = Connect();
  FillingTheBlock filling(*poller_, *pair.client, *pair.server);
  UntilQuiet();
  poller_->StartReceiving(*pair.server);
  ASSERT_TRUE(Until([&] { return pair.server->received.size() == FillingTheBlock::kBytes; }));
  EXPECT_TRUE(pair.server->received == Pattern(0, FillingTheBlock::kBytes));
  EXPECT_EQ(filling.in_space() != 0, filling.full() != 0);
}

TEST_P(PollerContractTest, ASocketMayBeDestroyedWhenItHasFilledTheBlock) {
  SocketPair pair = Connect();
  FillingTheBlock filling(*poller_, *pair.client, *pair.server);
  filling.on_full = [&] { pair.server = nullptr; };
  UntilQuiet();
  poller_->StartReceiving(*pair.server);
  EXPECT_TRUE(Until([&] {
    return pair.server == nullptr || pair.server->received.size() == FillingTheBlock::kBytes;
  }));
}

// From one connection to another, by pipes where the engine has them, and by bytes where not.
class PassingOn {
 public:
  PassingOn(Poller& poller, TestSocket& from, TestSocket& to)
      : poller_(poller), from_(from), to_(to) {
    Poller::set_receives_pipes(from, true);
    from.on_receive_pipe = [this](internal::PipePtr pipe) {
      EXPECT_TRUE(pipe_ == nullptr && to_.queue.empty()) << "it has stopped";
      ++pipes_;
      pipe_ = std::move(pipe);
      SendPipe();
    };
    from.on_receive = [this](absl::Span<uint8_t> bytes) {
      EXPECT_TRUE(pipe_ == nullptr && to_.queue.empty()) << "it has stopped";
      to_.Send({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
      if (to_.blocked) poller_.StopReceiving(from_);
    };
    from.on_receive_end = [this] { poller_.ShutdownSend(to_); };
    to.on_send_ready = [this] {
      if (pipe_ != nullptr) SendPipe();
      to_.Flush();
      if (!to_.blocked) poller_.StartReceiving(from_);
    };
  }
  int pipes() const { return pipes_; }

 private:
  void SendPipe() {
    EXPECT_EQ(poller_.SendPipe(to_, *pipe_), 0);
    to_.blocked = pipe_->size() != 0;
    if (to_.blocked) return poller_.StopReceiving(from_);
    pipe_ = nullptr;
  }

  Poller& poller_;
  TestSocket& from_;
  TestSocket& to_;
  internal::PipePtr pipe_;
  int pipes_ = 0;
};

TEST_P(PollerContractTest, PassesOnByPipesAllBytesInOrderAndThenTheEnd) {
  for (const bool small : {false, true}) {
    const SocketOptions options = small ? kSmallBuffers : SocketOptions();
    SocketPair left = Connect(options), right = Connect(options);
    PassingOn passing(*poller_, *left.server, *right.client);
    poller_->StopReceiving(*right.server);
    const size_t sent = SendUntilBlocked(*left.client) + 1'000'000;
    left.client->Send(Pattern(sent - 1'000'000, 1'000'000));
    UntilQuiet();
    poller_->StartReceiving(*right.server);
    ASSERT_TRUE(Until([&] { return left.client->queue.empty(); }));
    poller_->ShutdownSend(*left.client);
    ASSERT_TRUE(Until([&] { return right.server->Events() == "receive end"; }));
    EXPECT_TRUE(right.server->received == Pattern(0, sent));
    EXPECT_EQ(left.server->Events(), "receive end");
    UntilQuiet();
    if (!GetParam().simulated()) {
      EXPECT_GT(passing.pipes(), 0);
    }
  }
}

// Its end, at the latest, is received where pipes are of no use.
TEST_P(PollerContractTest, WhatThePeerHasNotTakenIsTold) {
  SocketPair pair = Connect(kSmallBuffers);
  EXPECT_EQ(poller_->UnacknowledgedBytes(*pair.client), 0u);
  poller_->StopReceiving(*pair.server);
  SendUntilBlocked(*pair.client);
  UntilQuiet();
  EXPECT_GT(poller_->UnacknowledgedBytes(*pair.client), 0u);
  poller_->StartReceiving(*pair.server);
  ASSERT_TRUE(Until([&] { return pair.client->queue.empty(); }));
  EXPECT_TRUE(Until([&] { return poller_->UnacknowledgedBytes(*pair.client) == 0; }));
}

TEST_P(PollerContractTest, ASocketThatReceivesPipesIsNotAskedForSpace) {
  SocketPair pair = Connect();
  Poller::set_receives_pipes(*pair.server, true);
  size_t received = 0;
  pair.server->on_receive_pipe = [&](internal::PipePtr pipe) { received += pipe->size(); };
  pair.server->on_receive = [&](absl::Span<uint8_t> bytes) { received += bytes.size(); };
  pair.client->Send(Pattern(0, 1000));
  poller_->ShutdownSend(*pair.client);
  ASSERT_TRUE(Until([&] { return pair.server->Events() == "receive end"; }));
  EXPECT_EQ(received, 1000u);
  EXPECT_EQ(pair.server->asked_for_space, 0);
}

TEST_P(PollerContractTest, ASocketThatReceivesPipesMayBeDestroyedInsideIt) {
  if (GetParam().simulated()) GTEST_SKIP() << "it has no pipes";
  SocketPair pair = Connect();
  Poller::set_receives_pipes(*pair.server, true);
  const auto destroy = [&] { pair.server = nullptr; };
  pair.server->on_receive_pipe = [&](internal::PipePtr) { destroy(); };
  pair.server->on_receive = [&](absl::Span<uint8_t>) { destroy(); };
  pair.client->Send(Pattern(0, 100'000));
  ASSERT_TRUE(Until([&] { return pair.server == nullptr; }));
  UntilQuiet();
}

TEST_P(PollerContractTest, ReceivesNothingBeforeItIsAskedAndAfterItIsToldToStop) {
  SocketPair pair = Connect();
  poller_->StopReceiving(*pair.server);
  pair.client->Send("x");
  UntilQuiet();
  EXPECT_EQ(pair.server->Events(), "");
  pair.server->on_receive = [&](absl::Span<uint8_t>) { poller_->StopReceiving(*pair.server); };
  poller_->StartReceiving(*pair.server);
  ASSERT_TRUE(Until([&] { return pair.server->received == "x"; }));
  pair.client->Send("y");
  UntilQuiet();
  EXPECT_EQ(pair.server->received, "x");
  poller_->StartReceiving(*pair.server);
  ASSERT_TRUE(Until([&] { return pair.server->received == "xy"; }));
}

// Fairness.

TEST_P(PollerContractTest, ReceivesAtMostOnceForASocketInATurn) {
  SocketPair pair = Connect();
  pair.client->Send(Pattern(0, 3'000'000));
  const MonotonicTime deadline = poller_->Now() + kBound;
  while (pair.server->received.size() < 3'000'000 && poller_->Now() < deadline) {
    const int before = pair.server->receives;
    poller_->Wait(deadline);
    EXPECT_LE(pair.server->receives, before + 1);
  }
  EXPECT_EQ(pair.server->received.size(), 3'000'000u);
  EXPECT_GT(pair.server->receives, 1);
}

TEST_P(PollerContractTest, BusyConnectionsDoNotStarveAQuietOne) {
  std::vector<SocketPair> busy;
  for (int i = 0; i < 8; ++i) {
    busy.push_back(Connect());
    TestSocket* client = busy.back().client.get();
    client->on_send_ready = [client] { SendUntilBlocked(*client); };
    SendUntilBlocked(*client);
    busy.back().server->on_receive = [server = busy.back().server.get()](absl::Span<uint8_t>) {
      server->received.clear();
    };
  }
  SocketPair quiet = Connect();
  for (int i = 1; i <= 20; ++i) {
    quiet.client->Send("x");
    int turns = 0;
    while (quiet.server->receives < i && turns < 100) {
      poller_->Wait(poller_->Now() + kBound);
      ++turns;
    }
    EXPECT_LE(turns, 3);
  }
}

// Ends.

TEST_P(PollerContractTest, AHalfCloseEndsOneDirectionAndIsReportedOnce) {
  SocketPair pair = Connect();
  pair.client->Send("question");
  poller_->ShutdownSend(*pair.client);
  ASSERT_TRUE(Until([&] { return pair.server->Events() == "receive end"; }));
  EXPECT_EQ(pair.server->received, "question");
  poller_->StartReceiving(*pair.server);
  UntilQuiet();
  EXPECT_EQ(pair.server->Events(), "receive end");
  poller_->StartReceiving(*pair.client);
  pair.server->Send("answer");
  poller_->ShutdownSend(*pair.server);
  ASSERT_TRUE(Until([&] { return pair.client->Events() == "receive end"; }));
  EXPECT_EQ(pair.client->received, "answer");
  UntilQuiet();
  EXPECT_EQ(pair.client->Events(), "receive end");
  EXPECT_EQ(pair.server->Events(), "receive end");
}

TEST_P(PollerContractTest, AnEndComesAfterAllBytes) {
  SocketPair pair = Connect(kSmallBuffers);
  const size_t sent = SendUntilBlocked(*pair.client);
  pair.client->on_send_ready = [&] {
    pair.client->Flush();
    if (pair.client->queue.empty()) poller_->ShutdownSend(*pair.client);
  };
  ASSERT_TRUE(Until([&] { return pair.server->Events() == "receive end"; }));
  EXPECT_TRUE(pair.server->received == Pattern(0, sent));
}

TEST_P(PollerContractTest, ACloseIsThePeersEnd) {
  SocketPair pair = Connect();
  pair.client->Send("last words");
  pair.client->Close();
  ASSERT_TRUE(Until([&] { return pair.server->Events() == "receive end"; }));
  EXPECT_EQ(pair.server->received, "last words");
  EXPECT_EQ(pair.client->Events(), "");
}

TEST_P(PollerContractTest, AResetInTheMiddleOfAMessageIsReportedOnce) {
  SocketPair pair = Connect();
  pair.client->Send("half a mess");
  ASSERT_TRUE(Until([&] { return pair.server->received == "half a mess"; }));
  pair.client->Abort();
  ASSERT_TRUE(Until([&] { return pair.server->error != 0; }));
  EXPECT_EQ(pair.server->Events(), "receive error");
  EXPECT_EQ(pair.server->error, ECONNRESET);
  pair.server->Close();
  UntilQuiet();
}

// A paused socket may be told of a reset at once or when it receives again, but once, and nothing
// spins meanwhile.
TEST_P(PollerContractTest, AResetWhilePausedIsReportedOnceAndDoesNotSpin) {
  SocketPair pair = Connect();
  poller_->StopReceiving(*pair.server);
  pair.server->on_error = [&] { pair.server->Close(); };
  pair.client->Send("unread");
  pair.client->Abort();
  UntilQuiet();
  if (Poller::is_open(*pair.server)) poller_->StartReceiving(*pair.server);
  ASSERT_TRUE(Until([&] { return pair.server->error != 0; }));
  EXPECT_EQ(pair.server->events.back(), "error");
  EXPECT_EQ(pair.server->error, ECONNRESET);
  UntilQuiet();
}

TEST_P(PollerContractTest, AnEndWhilePausedWaitsAndDoesNotSpin) {
  for (const bool both_halves : {false, true}) {
    SocketPair pair = Connect();
    poller_->StopReceiving(*pair.server);
    if (both_halves) poller_->ShutdownSend(*pair.server);
    pair.client->Send("unread");
    poller_->ShutdownSend(*pair.client);
    UntilQuiet();
    EXPECT_EQ(pair.server->Events(), "");
    poller_->StartReceiving(*pair.server);
    ASSERT_TRUE(Until([&] { return pair.server->Events() == "receive end"; }));
    EXPECT_EQ(pair.server->received, "unread");
    UntilQuiet();
  }
}

TEST_P(PollerContractTest, ASenderLearnsThatItsPeerIsGone) {
  SocketPair pair = Connect(kSmallBuffers);
  poller_->StopReceiving(*pair.server);
  SendUntilBlocked(*pair.client);
  bool told = false;
  pair.client->on_error = [&] { told = true; };
  pair.client->on_send_ready = [&] {
    pair.client->Flush();
    told = pair.client->send_error != 0;
  };
  pair.server->Abort();
  ASSERT_TRUE(Until([&] { return told; }));
  pair.client->Close();
  UntilQuiet();
}

// Closing and destroying inside events.

TEST_P(PollerContractTest, ASocketMayBeDestroyedInsideEachOfItsEvents) {
  for (const std::string where : {"connect", "fail", "receive", "end", "ready", "error"}) {
    SCOPED_TRACE(where);
    SocketPair pair = Connect(kSmallBuffers);
    SocketPtr victim;
    std::function<void()> destroy = [&] { victim = nullptr; };
    if (where == "connect" || where == "fail") {
      TestAcceptor acceptor(*poller_);
      Listen(acceptor);
      const SocketAddress address = poller_->LocalAddress(acceptor);
      if (where == "fail") acceptor.Close();
      victim = StartToConnect(address);
      victim->on_connect = destroy;
      ASSERT_TRUE(Until([&] { return victim == nullptr; }));
      continue;
    }
    if (where == "ready") {
      victim = std::move(pair.client);
      victim->on_send_ready = destroy;
      SendUntilBlocked(*victim);
    } else {
      victim = std::move(pair.server);
      victim->on_receive = [&](absl::Span<uint8_t>) {
        if (where == "receive") destroy();
      };
      victim->on_receive_end = destroy;
      victim->on_error = destroy;
      if (where == "receive") pair.client->Send("x");
      if (where == "end") pair.client->Close();
      if (where == "error") pair.client->Abort();
    }
    ASSERT_TRUE(Until([&] { return victim == nullptr; }));
    UntilQuiet();
  }
}

// Readable and writable at once; the first of the two events ends it.
TEST_P(PollerContractTest, NoEventFollowsACloseInTheSameTurn) {
  SocketPair pair = Connect(kSmallBuffers);
  TestSocket& victim = *pair.client;
  poller_->StopReceiving(*pair.server);
  SendUntilBlocked(victim);
  poller_->StartReceiving(victim);
  victim.on_send_ready = [&] { victim.Close(); };
  victim.on_receive = [&](absl::Span<uint8_t>) { victim.Close(); };
  pair.server->Send("x");
  pair.server->on_receive = [&](absl::Span<uint8_t>) {};
  poller_->StartReceiving(*pair.server);
  ASSERT_TRUE(Until([&] { return !Poller::is_open(victim); }));
  UntilQuiet();
  EXPECT_EQ(victim.events.size(), 1u) << victim.Events();
}

// Both sockets have an event in the same turn, and whichever comes first destroys the other. In the
// other's place a new socket is made, at the same address, which must not get the old one's event.
TEST_P(PollerContractTest, ASocketMayDestroyAnotherThatHasAnEventInTheSameTurn) {
  TestAcceptor silent(*poller_);
  Listen(silent, {.backlog = 0});
  poller_->PauseAccepting(silent);
  const SocketPtr filler = StartToConnect(poller_->LocalAddress(silent));
  ASSERT_TRUE(Until([&] { return !filler->events.empty(); }));

  std::optional<TestSocket> sockets[2];
  TestAcceptor acceptor(*poller_);
  int attached = 0;
  acceptor.on_accept = [&](Poller::Accepted accepted, const SocketAddress&) {
    TestSocket& socket = sockets[attached++].emplace(*poller_);
    poller_->Attach(socket, std::move(accepted));
    poller_->StartReceiving(socket);
  };
  Listen(acceptor);
  SocketPtr clients[2];
  for (SocketPtr& client : clients) client = StartToConnect(poller_->LocalAddress(acceptor));
  ASSERT_TRUE(Until(
      [&] { return attached == 2 && !clients[0]->events.empty() && !clients[1]->events.empty(); }));

  int receives = 0;
  for (int i = 0; i < 2; ++i) {
    sockets[i]->on_receive = [&, i](absl::Span<uint8_t>) {
      ++receives;
      TestSocket& other = sockets[1 - i].emplace(*poller_);
      EXPECT_TRUE(poller_->Connect(other, poller_->LocalAddress(silent), {}).ok());
    };
    clients[i]->Send("x");
  }
  ASSERT_TRUE(Until([&] { return receives > 0; }));
  UntilQuiet();
  EXPECT_EQ(receives, 1);
  EXPECT_EQ(sockets[0]->Events() + sockets[1]->Events(), "receive");
}

TEST_P(PollerContractTest, EachPendingOperationMayBeGivenUp) {
  for (const bool abort : {false, true}) {
    SocketPair receiving = Connect();
    SocketPair sending = Connect(kSmallBuffers);
    poller_->StopReceiving(*sending.server);
    SendUntilBlocked(*sending.client);
    TestAcceptor acceptor(*poller_);
    Listen(acceptor);
    const SocketPtr connecting = StartToConnect(poller_->LocalAddress(acceptor));
    for (TestSocket* socket : {receiving.server.get(), sending.client.get(), connecting.get()}) {
      poller_->Close(*socket, abort);
      poller_->Close(*socket, abort);  // a second time does nothing
      EXPECT_FALSE(Poller::is_open(*socket));
    }
    acceptor.Close();
    acceptor.Close();
    UntilQuiet();
    EXPECT_EQ(receiving.server->Events() + sending.client->Events() + connecting->Events(), "");
  }
}

// Many.

// Ten thousand, or as many as a process may hold both ends of.
size_t ManyPairs(const Engine& engine) {
  constexpr size_t kWanted = 10'000;
  if (engine.simulated()) return kWanted;
  rlimit limit;
  EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  const size_t pairs = std::min<size_t>(kWanted, (limit.rlim_cur - 100) / 2);
  if (pairs < kWanted) {
    std::printf("only %zu connections: the limit of descriptors is %zu\n", pairs,
                static_cast<size_t>(limit.rlim_cur));
  }
  if (getenv("CI") != nullptr) {
    EXPECT_GE(pairs, 9'000u) << "raise the limit of descriptors (ulimit -Hn)";
  }
  return pairs;
}

TEST_P(PollerContractTest, CarriesTenThousandConnections) {
  const size_t kPairs = ManyPairs(GetParam());
  TestAcceptor acceptor(*poller_);
  std::vector<SocketPtr> servers;
  size_t ended = 0;
  acceptor.on_accept = [&](Poller::Accepted accepted, const SocketAddress&) {
    servers.push_back(std::make_unique<TestSocket>(*poller_));
    TestSocket* const server = servers.back().get();
    poller_->Attach(*server, std::move(accepted));
    server->on_receive = [server](absl::Span<uint8_t> bytes) {
      server->Send({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    };
    server->on_receive_end = [&ended, server] {
      server->Close();
      ++ended;
    };
    poller_->StartReceiving(*server);
  };
  Listen(acceptor);
  std::vector<SocketPtr> clients;
  size_t answered = 0;
  for (size_t i = 0; i < kPairs; ++i) {
    clients.push_back(StartToConnect(poller_->LocalAddress(acceptor)));
    TestSocket* const client = clients.back().get();
    client->on_connect = [this, client, i] {
      ASSERT_EQ(client->error, 0);
      poller_->StartReceiving(*client);
      client->Send(Pattern(i, 100));
    };
    client->on_receive = [&answered, client, i](absl::Span<uint8_t>) {
      if (client->received.size() < 100) return;
      EXPECT_EQ(client->received, Pattern(i, 100));
      ++answered;
    };
    // As fast as they are accepted, so that no queue of the system overflows.
    if (i % 100 == 0) poller_->Wait(MonotonicTime());
  }
  ASSERT_TRUE(Until([&] { return answered == kPairs; })) << answered;
  for (const SocketPtr& client : clients) client->Close();
  ASSERT_TRUE(Until([&] { return ended == kPairs; })) << ended;
  UntilQuiet();
}

}  // namespace
}  // namespace sluice
