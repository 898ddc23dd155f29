#include "sluice/core/loop_group.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <latch>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/config.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/core/tcp_testing.h"

namespace {

// How many more threads there may be; fewer than 0 for no limit.
std::atomic<int> threads_left{-1};

}  // namespace

// Stands before the system's.
extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                              void* (*start)(void*), void* argument) {
  if (threads_left == 0) return EAGAIN;
  if (threads_left > 0) --threads_left;
  static const auto real = reinterpret_cast<decltype(&pthread_create)>(  //
      dlsym(RTLD_NEXT, "pthread_create"));
  return real(thread, attributes, start, argument);
}

namespace sluice {
namespace {

using test::kBound;
using test::Recorder;
using test::Until;

struct Echo : StreamHandler {
  void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override {
    if (stream.SendLent(bytes) == SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnSendReady(Stream& stream) override { stream.ResumeReceiving(); }
};

std::unique_ptr<LoopGroup> StartGroup(int threads, bool own_descriptor_tables = false) {
  absl::StatusOr<std::unique_ptr<LoopGroup>> group =
      LoopGroup::Start({.threads = threads, .own_descriptor_tables = own_descriptor_tables});
  EXPECT_TRUE(group.ok()) << group.status();
  return *std::move(group);
}

// Connects of one loop, all at once.
class Clients {
 public:
  Clients(EventLoop& loop, const SocketAddress& address, int count) {
    for (int i = 0; i < count; ++i) {
      clients_.push_back(std::make_unique<Client>(loop));
      Client& client = *clients_.back();
      client.connector.Connect(address, {}, [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
        EXPECT_TRUE(stream.ok()) << stream.status();
        if (!stream.ok()) return;
        client.stream = *std::move(stream);
        client.stream->SetHandler(client.recorder);
        client.stream->Send("hello");
      });
    }
  }
  bool answered() const {
    return std::all_of(clients_.begin(), clients_.end(), [](const std::unique_ptr<Client>& client) {
      return client->recorder.received == "hello";
    });
  }
  bool closed() const {
    return std::all_of(clients_.begin(), clients_.end(), [](const std::unique_ptr<Client>& client) {
      return client->recorder.closed;
    });
  }
  const Recorder& recorder(size_t i) const { return clients_[i]->recorder; }

 private:
  struct Client {
    explicit Client(EventLoop& loop) : connector(loop) {}
    Connector connector;
    Recorder recorder;
    std::unique_ptr<Stream> stream;
  };
  std::vector<std::unique_ptr<Client>> clients_;
};

class LoopGroupTest : public testing::Test {
 protected:
  std::unique_ptr<GroupListener> ListenWithEcho(LoopGroup& group, const SocketAddress& address,
                                                const Listener::Options& options = {}) {
    absl::StatusOr<std::unique_ptr<GroupListener>> listener = GroupListener::Listen(
        group, address, options, [this](EventLoop& loop, std::unique_ptr<Stream> stream) {
          EXPECT_TRUE(loop.InLoopThread());
          EXPECT_EQ(&stream->loop(), &loop);
          Stream::Run(std::move(stream), echo_);
        });
    EXPECT_TRUE(listener.ok()) << listener.status();
    return *std::move(listener);
  }

  // For what happens on other threads, of which this test's own loop hears nothing.
  bool UntilElsewhere(absl::FunctionRef<bool()> done) {
    const MonotonicTime deadline = loop_->NowExact() + kBound;
    while (!done() && loop_->now() < deadline) loop_->RunOnce(absl::Milliseconds(1));
    return done();
  }

  Echo echo_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
};

TEST_F(LoopGroupTest, HeaderExample) {
  const SocketAddress address = SocketAddress::Ipv4Loopback(0);
  std::unique_ptr<LoopGroup> group = *LoopGroup::Start({.threads = 4});
  std::unique_ptr<GroupListener> listener =
      *GroupListener::Listen(*group, address, {}, [](EventLoop&, std::unique_ptr<Stream>) {});
  EXPECT_NE(listener->address().port(), 0);
}

TEST_F(LoopGroupTest, RunsAFunctionOnEachLoopsOwnThreadInOrder) {
  std::unique_ptr<LoopGroup> group = StartGroup(4);
  ASSERT_EQ(group->size(), 4);
  std::vector<std::thread::id> threads = {std::this_thread::get_id()};
  group->RunOnEach([&](EventLoop& loop, int index) {
    EXPECT_EQ(index + 1, static_cast<int>(threads.size()));
    EXPECT_EQ(&loop, &group->loop(index));
    EXPECT_TRUE(loop.InLoopThread());
    threads.push_back(std::this_thread::get_id());
  });
  std::sort(threads.begin(), threads.end());
  EXPECT_EQ(std::unique(threads.begin(), threads.end()) - threads.begin(), 5);
}

TEST_F(LoopGroupTest, RefusesANumberOfThreadsThatMakesNoSense) {
  for (const int threads : {0, -1, 1025}) {
    const absl::Status status = LoopGroup::Start({.threads = threads}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_NE(status.message().find("1 to 1024"), absl::string_view::npos) << status;
  }
}

TEST_F(LoopGroupTest, AThreadThatCannotBeHadIsAnError) {
  for (const int possible : {0, 2}) {
    threads_left = possible;
    const absl::Status status = LoopGroup::Start({.threads = 4}).status();
    threads_left = -1;
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  }
}

// No thread may still be on its way into its loop, or out of it, when the group goes.
TEST_F(LoopGroupTest, MayGoAsSoonAsItHasStarted) {
  for (int i = 0; i < 100; ++i) StartGroup(3);
}

TEST_F(LoopGroupTest, ALoopThatIsStoppedGoesOnUntilTheGroupGoes) {
  std::unique_ptr<LoopGroup> group = StartGroup(2);
  for (int i = 0; i < 100; ++i) {
    group->loop(0).Stop();
    group->RunOnEach([](EventLoop& loop, int) { loop.Stop(); });
  }
}

TEST_F(LoopGroupTest, ConnectionsSpreadOverAllLoops) {
  std::unique_ptr<LoopGroup> group = StartGroup(3);
  for (const SocketAddress& address :
       {SocketAddress::Ipv4Loopback(0), SocketAddress::Ipv6Loopback(0)}) {
    const std::unique_ptr<GroupListener> listener = ListenWithEcho(*group, address);
    const Clients clients(*loop_, listener->address(), 90);
    ASSERT_TRUE(Until(*loop_, [&] { return clients.answered(); }));
    EXPECT_EQ(listener->connections(), 90);
    EXPECT_EQ(listener->counters().accepted, 90u);
    group->RunOnEach([](EventLoop& loop, int) { EXPECT_GT(loop.counters().streams, 0u); });
  }
}

TEST_F(LoopGroupTest, LoopsShareAUnixSocket) {
  test::ShortTempDir directory;
  std::unique_ptr<LoopGroup> group = StartGroup(3);
  const std::unique_ptr<GroupListener> listener =
      ListenWithEcho(*group, directory.Socket("shared"));
  const Clients clients(*loop_, listener->address(), 60);
  ASSERT_TRUE(Until(*loop_, [&] { return clients.answered(); }));
  EXPECT_EQ(listener->connections(), 60);
  EXPECT_EQ(listener->counters().accepted, 60u);
}

TEST_F(LoopGroupTest, APortInUseIsAnErrorForAGroupToo) {
  std::unique_ptr<LoopGroup> group = StartGroup(2);
  const auto listen = [&](const SocketAddress& address, const Listener::Options& options = {}) {
    return GroupListener::Listen(*group, address, options,
                                 [](EventLoop&, std::unique_ptr<Stream>) {})
        .status();
  };
  const std::unique_ptr<Listener> single =
      *Listener::Listen(*loop_, SocketAddress::Ipv4Loopback(0), {}, [](std::unique_ptr<Stream>) {});
  EXPECT_EQ(listen(single->address()).code(), absl::StatusCode::kAlreadyExists);
  const std::unique_ptr<GroupListener> shared =
      ListenWithEcho(*group, SocketAddress::Ipv4Loopback(0));
  const absl::Status status = listen(shared->address());
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists) << status;
  EXPECT_NE(status.message().find(shared->address().ToString()), absl::string_view::npos);
  // Whoever asks to join may.
  Listener::Options join;
  join.listen.reuse_port = ListenOptions::ReusePort::kJoin;
  EXPECT_TRUE(listen(shared->address(), join).ok());
}

TEST_F(LoopGroupTest, AGroupOfOneDoesNotSharePorts) {
  std::unique_ptr<LoopGroup> group = StartGroup(1);
  const std::unique_ptr<GroupListener> listener =
      ListenWithEcho(*group, SocketAddress::Ipv4Loopback(0));
  Listener::Options join;
  join.listen.reuse_port = ListenOptions::ReusePort::kJoin;
  const absl::Status status =
      Listener::Listen(*loop_, listener->address(), join, [](std::unique_ptr<Stream>) {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists) << status;
}

TEST_F(LoopGroupTest, MaxConnectionsAreDividedAmongTheLoops) {
  std::unique_ptr<LoopGroup> group = StartGroup(3);
  Listener::Options options;
  options.max_connections = 3;
  const std::unique_ptr<GroupListener> listener =
      ListenWithEcho(*group, SocketAddress::Ipv4Loopback(0), options);
  const Clients clients(*loop_, listener->address(), 60);
  // Of 60 connections each loop gets one at least.
  ASSERT_TRUE(UntilElsewhere([&] { return listener->connections() == 3; }));
  group->RunOnEach([](EventLoop& loop, int) { EXPECT_EQ(loop.counters().streams, 1u); });
}

TEST_F(LoopGroupTest, DrainReturnsWhenAllLoopsAreDone) {
  std::unique_ptr<LoopGroup> group = StartGroup(3);
  std::unique_ptr<GroupListener> listener = ListenWithEcho(*group, SocketAddress::Ipv4Loopback(0));
  const Clients clients(*loop_, listener->address(), 30);
  ASSERT_TRUE(Until(*loop_, [&] { return clients.answered(); }));
  listener = nullptr;
  std::thread drain([&] { group->Drain(kBound); });
  ASSERT_TRUE(Until(*loop_, [&] { return clients.closed(); }));
  drain.join();
  EXPECT_TRUE(clients.recorder(0).close_status.ok()) << clients.recorder(0).close_status;
  group->RunOnEach([](EventLoop& loop, int) { EXPECT_EQ(loop.counters().streams, 0u); });
}

TEST_F(LoopGroupTest, DrainGivesUpAtItsDeadline) {
  std::unique_ptr<LoopGroup> group = StartGroup(2);
  struct Stubborn : Echo {
    void OnDrain(Stream&) override {}
  } stubborn;
  const std::unique_ptr<GroupListener> listener = *GroupListener::Listen(
      *group, SocketAddress::Ipv4Loopback(0), {}, [&](EventLoop&, std::unique_ptr<Stream> stream) {
        Stream::Run(std::move(stream), stubborn);
      });
  const Clients clients(*loop_, listener->address(), 10);
  ASSERT_TRUE(Until(*loop_, [&] { return clients.answered(); }));
  group->Drain(absl::Milliseconds(10));
  EXPECT_EQ(listener->connections(), 0);
}

// A handler that passes its stream's end on to another loop, as a hub of many loops does.
TEST_F(LoopGroupTest, HandlersMayPostToOtherLoopsAtTheEndOfTheGroup) {
  struct Gossip : StreamHandler {
    explicit Gossip(LoopGroup& g) : group(g) {}
    void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override { stream.SendLent(bytes); }
    void OnClose(Stream&, const absl::Status& status) override {
      EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
      ++closed;
      for (int i = 0; i < group.size(); ++i) group.loop(i).Post([] {});
    }
    LoopGroup& group;
    std::atomic<int> closed{0};
  };
  std::unique_ptr<LoopGroup> group = StartGroup(4);
  Gossip gossip(*group);
  std::unique_ptr<GroupListener> listener = *GroupListener::Listen(
      *group, SocketAddress::Ipv4Loopback(0), {},
      [&](EventLoop&, std::unique_ptr<Stream> stream) { Stream::Run(std::move(stream), gossip); });
  const Clients clients(*loop_, listener->address(), 100);
  ASSERT_TRUE(Until(*loop_, [&] { return clients.answered(); }));
  listener = nullptr;
  group = nullptr;
  EXPECT_EQ(gossip.closed, 100);
}

// Descriptor tables.

class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t most) {
    getrlimit(RLIMIT_NOFILE, &earlier_);
    const rlimit lowered = {most, earlier_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &lowered);
  }
  ~DescriptorLimit() { setrlimit(RLIMIT_NOFILE, &earlier_); }

 private:
  rlimit earlier_;
};

TEST_F(LoopGroupTest, OwnDescriptorTablesHoldMoreThanOneTableCan) {
#ifdef ABSL_HAVE_THREAD_SANITIZER
  GTEST_SKIP() << "tsan takes a number that is open in two tables for one descriptor";
#endif
  constexpr int kConnections = 80;  // two descriptors each
  std::unique_ptr<LoopGroup> group = StartGroup(2, /*own_descriptor_tables=*/true);
  const DescriptorLimit limit(130);
  // The first loop accepts, the second connects.
  std::unique_ptr<Listener> listener;
  std::unique_ptr<Clients> clients;
  SocketAddress address;
  group->RunOnEach([&](EventLoop& loop, int index) {
    if (index == 0) {
      listener = *Listener::Listen(
          loop, SocketAddress::Ipv4Loopback(0), {},
          [&](std::unique_ptr<Stream> stream) { Stream::Run(std::move(stream), echo_); });
      address = listener->address();
    } else {
      clients = std::make_unique<Clients>(loop, address, kConnections);
    }
  });
  EXPECT_TRUE(UntilElsewhere([&] {
    bool answered = false;
    group->RunOnEach([&](EventLoop&, int index) { answered = index == 1 && clients->answered(); });
    return answered;
  }));
  group->RunOnEach([&](EventLoop& loop, int index) {
    EXPECT_EQ(loop.counters().streams, static_cast<uint64_t>(kConnections));
    if (index == 0) {
      EXPECT_EQ(listener->counters().shed, 0u);
    }
  });
  group->RunOnEach([&](EventLoop&, int index) {
    if (index == 0) listener = nullptr;
    if (index == 1) clients = nullptr;
  });
}

TEST_F(LoopGroupTest, OwnDescriptorTablesDoNotShareAUnixSocket) {
  test::ShortTempDir directory;
  std::unique_ptr<LoopGroup> group = StartGroup(2, /*own_descriptor_tables=*/true);
  const absl::Status status = GroupListener::Listen(*group, directory.Socket("s"), {},
                                                    [](EventLoop&, std::unique_ptr<Stream>) {})
                                  .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  group = StartGroup(1, /*own_descriptor_tables=*/true);
  ListenWithEcho(*group, directory.Socket("s"));
}

}  // namespace
}  // namespace sluice
