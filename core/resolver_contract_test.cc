// What all resolvers have in common, whomever they ask. Each of them is given the same names:
//   both.example    10.0.0.1, 10.0.0.2; 2001:db8::1
//   four.example    10.0.0.4, and no IPv6 address
//   absent.example  does not exist
//   down.example    nobody can say
//   silent.example  nobody answers
//   flaps.example   10.0.0.1, when nobody could say for a while
#include <net/if.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
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
#include "sluice/core/caching_resolver.h"
#include "sluice/core/cares_resolver.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/fake_resolver.h"
#include "sluice/core/name_server_testing.h"
#include "sluice/core/resolver.h"
#include "sluice/core/simulation.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/system_resolver.h"
#include "sluice/core/tcp_testing.h"

namespace sluice {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;
using Family = SocketAddress::Family;
using Addresses = std::vector<SocketAddress>;
using AddressesOr = absl::StatusOr<Addresses>;

SocketAddress Ip(absl::string_view text) { return *SocketAddress::Parse(text); }

// A resolver that knows the names above, and whom it asks.
class Subject {
 public:
  virtual ~Subject() = default;
  virtual std::unique_ptr<EventLoop> NewLoop() { return test::NewLoop(); }
  virtual bool knows_threads() const { return true; }
  // Of the addresses of both.example.
  virtual absl::Duration time_to_live() const { return absl::Hours(1); }

  std::shared_ptr<const Resolver> resolver;
};

class FakeSubject : public Subject {
 public:
  FakeSubject() {
    auto fake = std::make_shared<FakeResolver>();
    Fill(*fake);
    resolver = std::move(fake);
  }

  static void Fill(FakeResolver& fake) {
    fake.Set("both.example", Family::kIpv4,
             {.addresses = FakeResolver::Addresses({"10.0.0.1", "10.0.0.2"}),
              .time_to_live = absl::Hours(1)});
    fake.Set("both.example", Family::kIpv6,
             {.addresses = FakeResolver::Addresses({"2001:db8::1"})});
    fake.Set("four.example", Family::kIpv4, {.addresses = FakeResolver::Addresses({"10.0.0.4"})});
    const FakeResolver::Answer down = {.addresses = absl::UnavailableError("SERVFAIL")};
    fake.Set("flaps.example", Family::kIpv4,
             {down, down, {.addresses = FakeResolver::Addresses({"10.0.0.1"})}});
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
      fake.Set("down.example", family, down);
      fake.Set("silent.example", family, {.delay = absl::InfiniteDuration()});
    }
  }
};

class SystemSubject final : public Subject {
 public:
  SystemSubject() {
    resolver = *SystemResolver::Create(
        {.look_up = [silence = silence_, flaps = std::make_shared<std::atomic<int>>(0)](
                        const std::string& name, Family family) {
          if (name == "flaps.example" && ++*flaps > 2)
            return AddressesOr(Addresses{Ip("10.0.0.1:0")});
          return LookUp(name, family, *silence);
        }});
  }
  ~SystemSubject() override {
    const std::lock_guard lock(silence_->mutex);
    silence_->over = true;
    silence_->changed.notify_all();
  }
  absl::Duration time_to_live() const override { return absl::InfiniteDuration(); }

 private:
  struct Silence {
    std::mutex mutex;
    std::condition_variable changed;
    bool over = false;
  };

  static AddressesOr LookUp(const std::string& name, Family family, Silence& silence) {
    if (name == "silent.example") {
      std::unique_lock lock(silence.mutex);
      silence.changed.wait(lock, [&] { return silence.over; });
    }
    if (name == "absent.example") return absl::NotFoundError(absl::StrCat(name, ": NXDOMAIN"));
    if (name == "both.example" && family == Family::kIpv4)
      return Addresses{Ip("10.0.0.1:0"), Ip("10.0.0.2:0")};
    if (name == "both.example") return Addresses{Ip("[2001:db8::1]:0")};
    if (name == "four.example" && family == Family::kIpv4) return Addresses{Ip("10.0.0.4:0")};
    if (name == "four.example") return Addresses{};
    return absl::UnavailableError(absl::StrCat(name, ": SERVFAIL"));
  }

  const std::shared_ptr<Silence> silence_ = std::make_shared<Silence>();
};

class CaresSubject final : public Subject {
 public:
  CaresSubject() { resolver = *CaresResolver::Create({.servers = {server_.address()}}); }

 private:
  // Asked three times, for one question.
  std::atomic<int> flaps_{0};
  test::NameServer server_{{{"flaps.example", [this](const test::NameServer::Question& question) {
                               return std::vector<std::string>{
                                   ++flaps_ <= 6
                                       ? question.Answer({}, test::NameServer::kServerFailure)
                                       : question.Answer({"10.0.0.1"})};
                             }}}};
};

// A cache over another subject's resolver.
template <typename Below>
class CachingSubject : public Subject {
 public:
  explicit CachingSubject(const CachingResolver::Options& options) : options_(options) {
    resolver = std::make_shared<CachingResolver>(std::move(below_.resolver), options);
  }
  absl::Duration time_to_live() const override {
    const absl::Duration told = below_.time_to_live();
    return told == absl::InfiniteDuration() ? options_.time_to_live : told;
  }

 private:
  const CachingResolver::Options options_;
  Below below_;
};

// The same on loops of a simulated network.
template <typename Base>
class Simulated final : public Base {
 public:
  using Base::Base;
  std::unique_ptr<EventLoop> NewLoop() override {
    return std::make_unique<EventLoop>(host_.NewPoller());
  }
  bool knows_threads() const override { return false; }

 private:
  SimulatedNetwork network_{1};
  SimulatedHost& host_ = network_.AddHost("host");
};

struct Kind {
  const char* name;
  std::function<std::unique_ptr<Subject>()> make;
};

class ResolverContractTest : public testing::TestWithParam<Kind> {
 protected:
  // Asks and awaits the answer.
  AddressesOr Ask(absl::string_view name, Family family, absl::Duration timeout = test::kBound) {
    std::optional<AddressesOr> answer;
    auto query = resolver().Resolve(*loop_, name, family, timeout,
                                    [&](AddressesOr addresses) { answer = std::move(addresses); });
    EXPECT_FALSE(answer.has_value()) << "answered from inside Resolve";
    EXPECT_TRUE(test::Until(*loop_, [&] { return answer.has_value(); }));
    return answer.value_or(absl::UnknownError("no answer"));
  }

  std::unique_ptr<Resolver::Query> AskInVain(EventLoop& loop, absl::string_view name) {
    return resolver().Resolve(loop, name, Family::kIpv4, test::kBound, [](AddressesOr) {
      ADD_FAILURE() << "answered after it was given up";
    });
  }

  const Resolver& resolver() { return *subject_->resolver; }

  std::unique_ptr<Subject> subject_ = GetParam().make();
  std::unique_ptr<EventLoop> loop_ = subject_->NewLoop();
};

TEST_P(ResolverContractTest, AddressesHavePortZero) {
  EXPECT_THAT(*Ask("both.example", Family::kIpv4),
              UnorderedElementsAre(Ip("10.0.0.1:0"), Ip("10.0.0.2:0")));
  EXPECT_THAT(*Ask("both.example", Family::kIpv6), UnorderedElementsAre(Ip("[2001:db8::1]:0")));
}

TEST_P(ResolverContractTest, NoAddressOfTheFamilyIsNoError) {
  EXPECT_THAT(*Ask("four.example", Family::kIpv4), UnorderedElementsAre(Ip("10.0.0.4:0")));
  EXPECT_THAT(*Ask("four.example", Family::kIpv6), IsEmpty());
}

TEST_P(ResolverContractTest, ANameThatIsNotThereIsToldFromOneThatMayBe) {
  const absl::Status absent = Ask("absent.example", Family::kIpv4).status();
  EXPECT_EQ(absent.code(), absl::StatusCode::kNotFound) << absent;
  EXPECT_THAT(absent.ToString(), HasSubstr("absent.example"));
  const absl::Status down = Ask("down.example", Family::kIpv6).status();
  EXPECT_EQ(down.code(), absl::StatusCode::kUnavailable) << down;
  EXPECT_THAT(down.ToString(), HasSubstr("down.example"));
}

TEST_P(ResolverContractTest, ANameThatFlapsIsAnsweredAsItIs) {
  for (int failures = 0; failures < 2; ++failures) {
    EXPECT_EQ(Ask("flaps.example", Family::kIpv4).status().code(), absl::StatusCode::kUnavailable);
  }
  EXPECT_THAT(*Ask("flaps.example", Family::kIpv4), UnorderedElementsAre(Ip("10.0.0.1:0")));
}

TEST_P(ResolverContractTest, TheTimeToLiveIsToldWithTheAnswer) {
  std::unique_ptr<Resolver::Query> query;
  std::optional<absl::Duration> told;
  query = resolver().Resolve(*loop_, "both.example", Family::kIpv4, test::kBound,
                             [&](const AddressesOr&) { told = query->time_to_live(); });
  EXPECT_EQ(query->time_to_live(), absl::InfiniteDuration());
  ASSERT_TRUE(test::Until(*loop_, [&] { return told.has_value(); }));
  EXPECT_EQ(told, subject_->time_to_live());
  EXPECT_EQ(query->time_to_live(), told);
}

TEST_P(ResolverContractTest, TimeIsUpThoughNobodyAnswers) {
  const absl::Status status = Ask("silent.example", Family::kIpv4, absl::Milliseconds(1)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_THAT(status.ToString(), HasSubstr("silent.example: no IPv4 address within 1ms"));
  EXPECT_TRUE(Ask("both.example", Family::kIpv4).ok());
}

TEST_P(ResolverContractTest, ATimeoutOfNothingIsOverInTheNextTurn) {
  for (const absl::Duration timeout : {absl::ZeroDuration(), absl::Seconds(-1)}) {
    EXPECT_EQ(Ask("silent.example", Family::kIpv4, timeout).status().code(),
              absl::StatusCode::kDeadlineExceeded);
  }
}

TEST_P(ResolverContractTest, ALiteralIsItsOwnAnswer) {
  EXPECT_THAT(*Ask("127.0.0.1", Family::kIpv4), UnorderedElementsAre(Ip("127.0.0.1:0")));
  EXPECT_THAT(*Ask("127.0.0.1", Family::kIpv6), IsEmpty());
  EXPECT_THAT(*Ask("::1", Family::kIpv6), UnorderedElementsAre(Ip("[::1]:0")));
  EXPECT_THAT(*Ask("::1", Family::kIpv4), IsEmpty());
  EXPECT_THAT(*Ask("::ffff:10.0.0.1", Family::kIpv6),
              UnorderedElementsAre(Ip("[::ffff:10.0.0.1]:0")));
}

TEST_P(ResolverContractTest, ALiteralKeepsItsScope) {
  char interface[IF_NAMESIZE];
  if (if_indextoname(1, interface) == nullptr) GTEST_SKIP() << "there is no first interface";
  EXPECT_THAT(*Ask(absl::StrCat("fe80::1%", interface), Family::kIpv6),
              UnorderedElementsAre(Ip("[fe80::1%1]:0")));
}

TEST_P(ResolverContractTest, WhatIsNoHostIsRefused) {
  for (const std::string& name :
       {std::string(), std::string(256, 'a'), std::string("[::1]"), std::string("a b"),
        std::string("a:1"), std::string("127.0.0.1\0x", 11), std::string("unix:/x"),
        std::string("fe80::1%no-such-interface"), std::string("a\r\nb")}) {
    const absl::Status status = Ask(name, Family::kIpv4).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(status.ToString(), HasSubstr("is no host: it must be"));
  }
  for (const Family family : {Family::kNone, Family::kUnix})
    EXPECT_EQ(Ask("both.example", family).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_P(ResolverContractTest, AQueryMayBeDestroyedInItsAnswer) {
  for (const char* name : {"both.example", "absent.example", "127.0.0.1", "a b"}) {
    std::unique_ptr<Resolver::Query> query;
    bool answered = false;
    query = resolver().Resolve(*loop_, name, Family::kIpv4, test::kBound,
                               [&, kept = std::string(100, 'x')](AddressesOr) {
                                 query.reset();
                                 answered = kept.size() == 100;
                               });
    EXPECT_TRUE(test::Until(*loop_, [&] { return answered; })) << name;
  }
  std::unique_ptr<Resolver::Query> query;
  query = resolver().Resolve(*loop_, "silent.example", Family::kIpv4, absl::Milliseconds(1),
                             [&](AddressesOr) { query.reset(); });
  EXPECT_TRUE(test::Until(*loop_, [&] { return query == nullptr; }));
}

TEST_P(ResolverContractTest, AQuestionMayBeAskedInAnAnswer) {
  std::vector<std::unique_ptr<Resolver::Query>> queries;
  int answers = 0;
  std::function<void(AddressesOr)> again = [&](AddressesOr addresses) {
    EXPECT_TRUE(addresses.ok()) << addresses.status();
    if (++answers == 20) return;
    queries.push_back(
        resolver().Resolve(*loop_, "both.example", Family::kIpv4, test::kBound, again));
    EXPECT_EQ(static_cast<size_t>(answers) + 1, queries.size());
  };
  queries.push_back(resolver().Resolve(*loop_, "both.example", Family::kIpv4, test::kBound, again));
  EXPECT_TRUE(test::Until(*loop_, [&] { return answers == 20; }));
}

TEST_P(ResolverContractTest, AQueryThatIsDestroyedIsNotAnswered) {
  for (const int turns : {0, 1, 2}) {
    for (const char* name : {"both.example", "absent.example", "silent.example", "::1", "a b"}) {
      auto query = std::make_unique<std::unique_ptr<Resolver::Query>>();
      bool answered = false;
      *query = resolver().Resolve(*loop_, name, Family::kIpv6, test::kBound, [&](AddressesOr) {
        EXPECT_NE(query, nullptr) << "answered after it was given up";
        answered = true;
      });
      for (int i = 0; i < turns && !answered; ++i) loop_->RunOnce(absl::ZeroDuration());
      query.reset();
      EXPECT_TRUE(Ask("both.example", Family::kIpv4).ok());
    }
  }
}

TEST_P(ResolverContractTest, ALoopMayGoWhenItsQueriesAreGone) {
  for (const char* name : {"both.example", "silent.example", "127.0.0.1"}) {
    std::unique_ptr<EventLoop> other = subject_->NewLoop();
    auto query = AskInVain(*other, name);
    query.reset();
    other.reset();
  }
  EXPECT_TRUE(Ask("both.example", Family::kIpv4).ok());
}

TEST_P(ResolverContractTest, AResolverMayGoBeforeItsQueries) {
  int answers = 0;
  std::vector<std::unique_ptr<Resolver::Query>> queries;
  for (const char* name : {"both.example", "absent.example", "127.0.0.1", "both.example"}) {
    queries.push_back(resolver().Resolve(*loop_, name, Family::kIpv4, test::kBound,
                                         [&](AddressesOr) { ++answers; }));
  }
  auto silent = AskInVain(*loop_, "silent.example");
  subject_->resolver.reset();
  EXPECT_TRUE(test::Until(*loop_, [&] { return answers == 4; }));
}

// One of several loops, each on its thread: asks, gives up some of its questions, and counts.
void AskAtRandom(const Resolver& resolver, unsigned seed) {
  std::mt19937 random(seed);
  std::unique_ptr<EventLoop> loop = test::NewLoop();
  const std::vector<std::string> names = {"both.example", "four.example", "absent.example",
                                          "down.example", "10.0.0.1"};
  for (int round = 0; round < 30; ++round) {
    std::vector<std::unique_ptr<Resolver::Query>> queries(8);
    std::vector<int> answers(queries.size());
    for (size_t i = 0; i < queries.size(); ++i) {
      queries[i] = resolver.Resolve(*loop, names[random() % names.size()],
                                    random() % 2 == 0 ? Family::kIpv4 : Family::kIpv6, test::kBound,
                                    [&answers, i](AddressesOr) { ++answers[i]; });
    }
    for (size_t i = 0; i < queries.size(); ++i) {
      if (random() % 4 == 0) queries[i].reset();
      if (random() % 4 == 0) loop->RunOnce(absl::ZeroDuration());
    }
    ASSERT_TRUE(test::Until(*loop, [&] {
      for (size_t i = 0; i < queries.size(); ++i)
        if (queries[i] != nullptr && answers[i] == 0) return false;
      return true;
    }));
    for (const int count : answers) EXPECT_LE(count, 1);
  }
}

TEST_P(ResolverContractTest, LoopsOnManyThreadsShareOne) {
  if (!subject_->knows_threads()) GTEST_SKIP() << "a simulation has one thread";
  std::vector<std::thread> threads;
  for (unsigned seed = 0; seed < 4; ++seed)
    threads.emplace_back([this, seed] { AskAtRandom(resolver(), seed); });
  for (std::thread& thread : threads) thread.join();
}

INSTANTIATE_TEST_SUITE_P(
    All, ResolverContractTest,
    testing::Values(Kind{"fake", [] { return std::make_unique<FakeSubject>(); }},
                    Kind{"fake_simulated",
                         [] { return std::make_unique<Simulated<FakeSubject>>(); }},
                    Kind{"caching_simulated",
                         [] {
                           return std::make_unique<Simulated<CachingSubject<FakeSubject>>>(
                               CachingResolver::Options());
                         }},
                    Kind{"system", [] { return std::make_unique<SystemSubject>(); }},
                    Kind{"cares", [] { return std::make_unique<CaresSubject>(); }},
                    Kind{"caching",
                         [] {
                           return std::make_unique<CachingSubject<FakeSubject>>(
                               CachingResolver::Options());
                         }},
                    Kind{"coalescing",
                         [] {
                           return std::make_unique<CachingSubject<SystemSubject>>(
                               CachingResolver::Options{.max_entries = 0});
                         }}),
    [](const testing::TestParamInfo<Kind>& kind) { return std::string(kind.param.name); });

}  // namespace
}  // namespace sluice
