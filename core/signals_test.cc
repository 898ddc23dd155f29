#include "sluice/core/signals.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp_testing.h"

namespace sluice {
namespace {

using test::Until;

// What SIGUSR1 and SIGUSR2 do without a watcher: nothing, so that a late one does not end the test.
class SignalsTest : public testing::Test {
 protected:
  SignalsTest() {
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);
  }
  ~SignalsTest() override {
    signal(SIGUSR1, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);
  }

  void RunOnce() { loop_->RunOnce(absl::ZeroDuration()); }

  std::unique_ptr<EventLoop> loop_ = test::NewLoop();
  std::vector<int> seen_;
  std::function<void(int)> note_ = [this](int signal) { seen_.push_back(signal); };
};

TEST_F(SignalsTest, HeaderExample) {
  SignalWatcher signals(*loop_, {SIGTERM, SIGINT}, [&](int /*signal*/) { loop_->Stop(); });
  raise(SIGTERM);
  loop_->Run();
}

TEST_F(SignalsTest, TellsWhichSignalHasComeInTheirOrder) {
  const SignalWatcher watcher(*loop_, {SIGUSR1, SIGUSR2}, note_);
  raise(SIGUSR2);
  raise(SIGUSR1);
  EXPECT_TRUE(seen_.empty()) << "only the loop calls";
  RunOnce();
  EXPECT_EQ(seen_, std::vector<int>({SIGUSR2, SIGUSR1}));
}

TEST_F(SignalsTest, SeveralOfOneSignalInATurnAreOneCall) {
  const SignalWatcher watcher(*loop_, {SIGUSR1}, note_);
  for (int i = 0; i < 10; ++i) raise(SIGUSR1);
  RunOnce();
  RunOnce();
  EXPECT_EQ(seen_.size(), 1u);
  raise(SIGUSR1);
  RunOnce();
  EXPECT_EQ(seen_.size(), 2u);
}

TEST_F(SignalsTest, OneThatComesDuringTheCallIsAnotherCall) {
  SignalWatcher watcher(*loop_, {SIGUSR1}, [&](int signal) {
    seen_.push_back(signal);
    if (seen_.size() < 3) raise(SIGUSR1);
  });
  raise(SIGUSR1);
  RunOnce();
  EXPECT_EQ(seen_.size(), 1u) << "waits for the next turn";
  RunOnce();
  RunOnce();
  RunOnce();
  EXPECT_EQ(seen_.size(), 3u);
}

// Wherever the system delivers it.
TEST_F(SignalsTest, CallsOnTheLoopsThreadWhicheverThreadGetsTheSignal) {
  std::thread::id called_on;
  SignalWatcher watcher(*loop_, {SIGUSR1}, [&](int) { called_on = std::this_thread::get_id(); });
  std::thread other([] { pthread_kill(pthread_self(), SIGUSR1); });
  ASSERT_TRUE(Until(*loop_, [&] { return called_on != std::thread::id(); }));
  other.join();
  EXPECT_EQ(called_on, std::this_thread::get_id());
}

TEST_F(SignalsTest, WakesALoopThatSleepsWithoutEnd) {
  SignalWatcher watcher(*loop_, {SIGUSR1}, [&](int) { loop_->Stop(); });
  std::thread runner([&] { loop_->Run(); });
  pthread_kill(pthread_self(), SIGUSR1);  // this thread, which is not the loop's
  runner.join();
}

TEST_F(SignalsTest, IsHeardByABusyLoopWithinATurnOrTwo) {
  const SignalWatcher watcher(*loop_, {SIGUSR1}, note_);
  std::function<void()> again = [&] { loop_->Post(again); };
  for (int i = 0; i < 100; ++i) loop_->Post(again);
  RunOnce();
  loop_->Post([] { raise(SIGUSR1); });
  RunOnce();
  RunOnce();
  EXPECT_EQ(seen_.size(), 1u);
}

TEST_F(SignalsTest, InterruptedSystemCallsAreNoErrors) {
  SignalWatcher watcher(*loop_, {SIGUSR1}, note_);
  test::Pair pair(*loop_);
  std::atomic<bool> done{false};
  std::thread storm([&, loop_thread = pthread_self()] {
    while (!done) {
      pthread_kill(loop_thread, SIGUSR1);
      std::this_thread::yield();
    }
  });
  constexpr size_t kSize = 5'000'000;
  pair.client.stream->Send(test::Pattern(0, kSize));
  EXPECT_TRUE(Until(*loop_, [&] { return pair.server.recorder.received.size() == kSize; }));
  done = true;
  storm.join();
  EXPECT_FALSE(seen_.empty());
  EXPECT_TRUE(pair.server.recorder.received == test::Pattern(0, kSize));
}

// The end of a watcher.

std::atomic<int> handled{0};

TEST_F(SignalsTest, RestoresTheEarlierDisposition) {
  struct sigaction earlier = {};
  earlier.sa_handler = [](int) { ++handled; };
  earlier.sa_flags = SA_NODEFER;
  sigaddset(&earlier.sa_mask, SIGUSR2);
  sigaction(SIGUSR1, &earlier, nullptr);
  {
    const SignalWatcher watcher(*loop_, {SIGUSR1, SIGUSR2}, note_);
    raise(SIGUSR1);
    RunOnce();
    EXPECT_EQ(seen_.size(), 1u);
    EXPECT_EQ(handled, 0);
  }
  raise(SIGUSR1);
  raise(SIGUSR2);  // ignored, as before
  EXPECT_EQ(handled, 1);
  struct sigaction now = {};
  sigaction(SIGUSR1, nullptr, &now);
  EXPECT_EQ(now.sa_handler, earlier.sa_handler);
  EXPECT_EQ(now.sa_flags & SA_NODEFER, SA_NODEFER);
  EXPECT_EQ(sigismember(&now.sa_mask, SIGUSR2), 1);
  RunOnce();
  EXPECT_EQ(seen_.size(), 1u);
}

TEST_F(SignalsTest, MayBeDestroyedInItsOwnCall) {
  auto kept = std::make_shared<int>(0);
  std::unique_ptr<SignalWatcher> watcher;
  bool held_until_the_end = false;
  watcher = std::make_unique<SignalWatcher>(*loop_, std::initializer_list<int>{SIGUSR1, SIGUSR2},
                                            [&, kept](int) {
                                              watcher = nullptr;
                                              held_until_the_end = kept.use_count() == 2;
                                            });
  raise(SIGUSR1);
  raise(SIGUSR2);  // on its way when the watcher goes
  RunOnce();
  RunOnce();
  EXPECT_EQ(watcher, nullptr);
  EXPECT_TRUE(held_until_the_end);
  EXPECT_EQ(kept.use_count(), 1);
}

TEST_F(SignalsTest, OneThatIsOnItsWayWhenTheWatcherGoesIsNotReported) {
  {
    const SignalWatcher watcher(*loop_, {SIGUSR1}, note_);
    raise(SIGUSR1);
  }
  RunOnce();
  EXPECT_TRUE(seen_.empty());
}

TEST_F(SignalsTest, ANewWatcherDoesNotGetTheOldOnesSignal) {
  std::optional<SignalWatcher> watcher;
  watcher.emplace(*loop_, std::initializer_list<int>{SIGUSR1}, note_);
  raise(SIGUSR1);
  watcher.reset();
  int news = 0;
  watcher.emplace(*loop_, std::initializer_list<int>{SIGUSR1}, [&](int) { ++news; });
  RunOnce();
  EXPECT_EQ(news, 0);
  raise(SIGUSR1);
  RunOnce();
  EXPECT_EQ(news, 1);
  EXPECT_TRUE(seen_.empty());
}

TEST_F(SignalsTest, ALoopMayGoWithASignalOnItsWay) {
  {
    const SignalWatcher watcher(*loop_, {SIGUSR1}, note_);
    raise(SIGUSR1);
  }
  loop_ = nullptr;
}

TEST_F(SignalsTest, WatchersComeAndGoWhileSignalsArriveOnOtherThreads) {
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      while (!done) {
        pthread_kill(pthread_self(), SIGUSR1);
        std::this_thread::yield();
      }
    });
  }
  int calls = 0;
  for (int i = 0; i < 300; ++i) {
    SignalWatcher watcher(*loop_, {SIGUSR1}, [&](int) { ++calls; });
    RunOnce();
    if (i % 2 == 0) RunOnce();
  }
  SignalWatcher last(*loop_, {SIGUSR1}, [&](int) { ++calls; });
  const int before = calls;
  EXPECT_TRUE(Until(*loop_, [&] { return calls > before; }));
  done = true;
  for (std::thread& thread : threads) thread.join();
}

TEST(SignalsDeathTest, TwoWatchersOfOneSignalAreABug) {
  const std::unique_ptr<EventLoop> loop = test::NewLoop();
  const SignalWatcher first(*loop, {SIGUSR1}, [](int) {});
  EXPECT_DEATH(SignalWatcher(*loop, {SIGUSR1}, [](int) {}), "check failed");
}

}  // namespace
}  // namespace sluice
