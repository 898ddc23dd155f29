#include "sluice/core/system_resolver.h"

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
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
#include "sluice/core/resolver.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/tcp_testing.h"

namespace {

std::atomic<bool> no_more_threads{false};

}  // namespace

// Stands before the system's.
extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                              void* (*start)(void*), void* argument) {
  if (no_more_threads) return EAGAIN;
  static const auto real = reinterpret_cast<decltype(&pthread_create)>(  //
      dlsym(RTLD_NEXT, "pthread_create"));
  return real(thread, attributes, start, argument);
}

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Family = SocketAddress::Family;
using Addresses = std::vector<SocketAddress>;
using AddressesOr = absl::StatusOr<Addresses>;

TEST(SystemResolverTest, HeaderExample) {
  std::unique_ptr<EventLoop> owned = test::NewLoop();
  EventLoop& loop = *owned;
  Addresses got;

  std::shared_ptr<const SystemResolver> resolver = *SystemResolver::Create();
  std::unique_ptr<Resolver::Query> query = resolver->Resolve(
      loop, "localhost", SocketAddress::Family::kIpv4, absl::Seconds(5),
      [&](absl::StatusOr<std::vector<SocketAddress>> addresses) { got = *std::move(addresses); });

  ASSERT_TRUE(test::Until(loop, [&] { return !got.empty(); }));
  EXPECT_THAT(got, ElementsAre(SocketAddress::Ipv4Loopback(0)));
}

TEST(SystemResolverTest, OptionsThatCannotBeAreRefused) {
  for (const int threads : {-1, 0, 1025}) {
    EXPECT_THAT(SystemResolver::Create({.threads = threads}).status().ToString(),
                HasSubstr("accepted are 1 to 1024"));
  }
  EXPECT_THAT(SystemResolver::Create({.max_queued = -1}).status().ToString(),
              HasSubstr("accepted are 0 and more"));
}

// Look-ups that return when the test says so.
class Gate {
 public:
  AddressesOr LookUp(const std::string& name) {
    std::unique_lock lock(mutex_);
    begun_.push_back(name);
    changed_.notify_all();
    changed_.wait(lock, [&] { return all_ || released_.count(name) > 0; });
    return Addresses{SocketAddress::Ipv4Loopback(0)};
  }

  void AwaitBegun(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return begun_.size() >= count; });
  }
  std::vector<std::string> begun() {
    const std::lock_guard lock(mutex_);
    return begun_;
  }
  void Release(const std::string& name) {
    const std::lock_guard lock(mutex_);
    released_.insert(name);
    changed_.notify_all();
  }
  void ReleaseAll() {
    const std::lock_guard lock(mutex_);
    all_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> begun_;
  std::set<std::string> released_;
  bool all_ = false;
};

class GatedResolverTest : public testing::Test {
 protected:
  ~GatedResolverTest() override { gate_->ReleaseAll(); }

  struct Asked {
    std::unique_ptr<Resolver::Query> query;
    std::optional<AddressesOr> answer;
  };

  void Create(int threads, int max_queued) {
    resolver_ =
        *SystemResolver::Create({.threads = threads,
                                 .max_queued = max_queued,
                                 .look_up = [gate = gate_](const std::string& name, Family) {
                                   return gate->LookUp(name);
                                 }});
  }

  std::unique_ptr<Asked> Ask(absl::string_view name, absl::Duration timeout = test::kBound) {
    auto asked = std::make_unique<Asked>();
    asked->query = resolver_->Resolve(
        *loop_, name, Family::kIpv4, timeout,
        [&answer = asked->answer](AddressesOr addresses) { answer = std::move(addresses); });
    return asked;
  }

  bool Answered(const Asked& asked) {
    return test::Until(*loop_, [&] { return asked.answer.has_value(); });
  }

  const std::shared_ptr<Gate> gate_ = std::make_shared<Gate>();
  std::unique_ptr<EventLoop> loop_ = test::NewLoop();
  std::shared_ptr<const SystemResolver> resolver_;
};

TEST_F(GatedResolverTest, ThreadsAreMadeAsTheyAreNeeded) {
  Create(/*threads=*/2, /*max_queued=*/10);
  EXPECT_EQ(resolver_->counters().threads, 0);
  auto a = Ask("a");
  gate_->AwaitBegun(1);
  EXPECT_EQ(resolver_->counters().threads, 1);
  gate_->Release("a");
  ASSERT_TRUE(Answered(*a));
  // The one that is idle again is enough.
  auto b = Ask("b");
  gate_->AwaitBegun(2);
  EXPECT_EQ(resolver_->counters().threads, 1);
  auto c = Ask("c");
  auto d = Ask("d");
  gate_->AwaitBegun(3);
  const SystemResolver::Counters counters = resolver_->counters();
  EXPECT_EQ(counters.threads, 2);
  EXPECT_EQ(counters.busy, 2);
  EXPECT_EQ(counters.queued, 1);
  EXPECT_EQ(counters.questions, 4u);
}

TEST_F(GatedResolverTest, QuestionsAreTakenInTheirOrder) {
  Create(/*threads=*/1, /*max_queued=*/10);
  std::vector<std::unique_ptr<Asked>> asked;
  for (const char* name : {"a", "b", "c", "d"}) asked.push_back(Ask(name));
  gate_->ReleaseAll();
  ASSERT_TRUE(Answered(*asked.back()));
  EXPECT_THAT(gate_->begun(), ElementsAre("a", "b", "c", "d"));
  for (const auto& each : asked) EXPECT_TRUE(each->answer.has_value());
}

TEST_F(GatedResolverTest, MoreThanMayWaitAreRefused) {
  Create(/*threads=*/1, /*max_queued=*/2);
  auto a = Ask("a");
  gate_->AwaitBegun(1);
  auto b = Ask("b");
  auto c = Ask("c");
  auto d = Ask("d");
  ASSERT_TRUE(Answered(*d));
  EXPECT_EQ(d->answer->status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(d->answer->status().ToString(), HasSubstr("d: too many names are being looked up"));
  EXPECT_EQ(resolver_->counters().refused, 1u);
  // One that is given up makes room.
  b.reset();
  auto e = Ask("e");
  gate_->ReleaseAll();
  ASSERT_TRUE(Answered(*e));
  EXPECT_TRUE(e->answer->ok());
  EXPECT_THAT(gate_->begun(), ElementsAre("a", "c", "e"));
}

TEST_F(GatedResolverTest, WithoutAQueueAThreadThatIsFreeIsEnough) {
  Create(/*threads=*/1, /*max_queued=*/0);
  auto a = Ask("a");
  auto b = Ask("b");
  ASSERT_TRUE(Answered(*b));
  EXPECT_EQ(b->answer->status().code(), absl::StatusCode::kResourceExhausted);
  gate_->ReleaseAll();
  ASSERT_TRUE(Answered(*a));
  EXPECT_TRUE(a->answer->ok());
}

TEST_F(GatedResolverTest, AQueueMayBeWithoutALimit) {
  Create(/*threads=*/2, /*max_queued=*/std::numeric_limits<int>::max());
  gate_->ReleaseAll();
  auto a = Ask("a");
  ASSERT_TRUE(Answered(*a));
  EXPECT_TRUE(a->answer->ok()) << a->answer->status();
}

TEST_F(GatedResolverTest, AStuckLookUpKeepsItsThreadAndIsCounted) {
  Create(/*threads=*/1, /*max_queued=*/10);
  auto a = Ask("a", absl::Milliseconds(1));
  gate_->AwaitBegun(1);
  ASSERT_TRUE(Answered(*a));
  EXPECT_EQ(a->answer->status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(resolver_->counters().abandoned, 1);
  a.reset();
  EXPECT_EQ(resolver_->counters().abandoned, 1);
  // A question that waits behind it has its own deadline.
  auto b = Ask("b", absl::Milliseconds(1));
  ASSERT_TRUE(Answered(*b));
  EXPECT_EQ(b->answer->status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(resolver_->counters().queued, 0);
  auto c = Ask("c");
  gate_->ReleaseAll();
  ASSERT_TRUE(Answered(*c));
  EXPECT_TRUE(c->answer->ok());
  EXPECT_THAT(gate_->begun(), ElementsAre("a", "c"));
  EXPECT_EQ(resolver_->counters().abandoned, 0);
  EXPECT_EQ(resolver_->counters().busy, 0);
}

TEST_F(GatedResolverTest, AResolverGoesThoughALookUpIsStuck) {
  Create(/*threads=*/1, /*max_queued=*/10);
  auto a = Ask("a");
  auto b = Ask("b");
  gate_->AwaitBegun(1);
  resolver_.reset();
  a.reset();
  gate_->ReleaseAll();
  ASSERT_TRUE(Answered(*b));
  EXPECT_TRUE(b->answer->ok());
}

TEST_F(GatedResolverTest, AThreadEndsAfterTheLoopOfItsQuestion) {
  Create(/*threads=*/1, /*max_queued=*/10);
  auto a = Ask("a");
  gate_->AwaitBegun(1);
  a.reset();
  loop_ = test::NewLoop();
  auto b = Ask("b");
  gate_->ReleaseAll();
  ASSERT_TRUE(Answered(*b));
}

TEST_F(GatedResolverTest, ASystemWithoutThreadsIsAnError) {
  Create(/*threads=*/1, /*max_queued=*/10);
  no_more_threads = true;
  auto a = Ask("a");
  no_more_threads = false;
  ASSERT_TRUE(Answered(*a));
  EXPECT_EQ(a->answer->status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(a->answer->status().ToString(), HasSubstr("a: system resolver: pthread_create"));
  auto b = Ask("b");
  gate_->ReleaseAll();
  ASSERT_TRUE(Answered(*b));
  EXPECT_TRUE(b->answer->ok()) << b->answer->status();
}

}  // namespace
}  // namespace sluice
