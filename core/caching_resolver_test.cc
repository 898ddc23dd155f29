#include "sluice/core/caching_resolver.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
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
#include "sluice/core/fake_resolver.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/resolver.h"
#include "sluice/core/simulation.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/system_resolver.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Family = SocketAddress::Family;
using Addresses = std::vector<SocketAddress>;
using AddressesOr = absl::StatusOr<Addresses>;

constexpr absl::Duration kLong = absl::Hours(1);

struct Asked {
  std::unique_ptr<Resolver::Query> query;
  std::optional<AddressesOr> answer;
  absl::StatusCode code() const { return answer->status().code(); }
};

class CachingResolverTest : public testing::Test {
 protected:
  void Create(const CachingResolver::Options& options) {
    resolver_ = std::make_shared<CachingResolver>(below_, options);
  }

  // The addresses of a name that come with a time to live. None: the name is there alone.
  void SetTime(absl::string_view name, std::initializer_list<absl::string_view> addresses,
               absl::Duration time_to_live) {
    below_->Set(name, Family::kIpv4,
                {.addresses = FakeResolver::Addresses(addresses), .time_to_live = time_to_live});
  }

  // Asks until the resolver below is asked again, and tells how long that was, to a second.
  absl::Duration TimeRemembered(absl::string_view name) {
    EXPECT_TRUE(Ask(name).ok());
    const MonotonicTime start = network_.now();
    const int questions = below_->questions();
    while (below_->questions() == questions && network_.now() - start < kLong) {
      network_.RunFor(absl::Seconds(1));
      EXPECT_TRUE(Ask(name).ok());
    }
    return absl::Floor(network_.now() - start, absl::Seconds(1));
  }

  void SetAddress(absl::string_view name, absl::string_view address,
                  absl::Duration delay = absl::ZeroDuration()) {
    below_->Set(name, Family::kIpv4,
                {.addresses = FakeResolver::Addresses({address}), .delay = delay});
  }

  std::unique_ptr<Asked> Begin(EventLoop& loop, absl::string_view name,
                               absl::Duration timeout = kLong) {
    auto asked = std::make_unique<Asked>();
    asked->query = resolver_->Resolve(
        loop, name, Family::kIpv4, timeout,
        [this, name = std::string(name), &answer = asked->answer](AddressesOr addresses) {
          EXPECT_FALSE(answer.has_value());
          answer = std::move(addresses);
          order_.push_back(name);
        });
    EXPECT_FALSE(asked->answer.has_value());
    return asked;
  }

  bool Answered(const Asked& asked) {
    return network_.RunUntil([&] { return asked.answer.has_value(); }, 2 * kLong);
  }

  AddressesOr Ask(absl::string_view name, absl::Duration timeout = kLong) {
    auto asked = Begin(loop_, name, timeout);
    EXPECT_TRUE(Answered(*asked));
    return asked->answer.value_or(absl::UnknownError("no answer"));
  }

  std::string AddressOf(absl::string_view name) {
    const AddressesOr addresses = Ask(name);
    return addresses.ok() && !addresses->empty() ? addresses->at(0).ToString()
                                                 : addresses.status().ToString();
  }

  SimulatedNetwork network_{1};
  EventLoop& loop_ = network_.AddHost("a").loop();
  EventLoop& other_ = network_.AddHost("b").loop();
  std::shared_ptr<FakeResolver> below_ = std::make_shared<FakeResolver>();
  std::shared_ptr<const CachingResolver> resolver_ = std::make_shared<CachingResolver>(below_);
  std::vector<std::string> order_;
};

TEST(CachingResolverExampleTest, HeaderExample) {
  std::unique_ptr<EventLoop> owned = *EventLoop::Create();
  EventLoop& loop = *owned;
  Addresses got;

  auto resolver = std::make_shared<const CachingResolver>(
      *SystemResolver::Create(), CachingResolver::Options{.time_to_live = absl::Minutes(1)});
  std::unique_ptr<Resolver::Query> query = resolver->Resolve(
      loop, "localhost", SocketAddress::Family::kIpv4, absl::Seconds(5),
      [&](absl::StatusOr<std::vector<SocketAddress>> addresses) { got = *std::move(addresses); });

  ASSERT_TRUE(loop.RunUntil([&] { return !got.empty(); }, absl::Seconds(30)));
  EXPECT_EQ(resolver->counters().entries, 1u);
}

TEST_F(CachingResolverTest, AnAnswerIsRememberedForItsTime) {
  Create({.time_to_live = absl::Seconds(10)});
  SetAddress("a.example", "10.0.0.1");
  EXPECT_EQ(AddressOf("a.example"), "10.0.0.1:0");
  SetAddress("a.example", "10.0.0.2");
  network_.RunFor(absl::Seconds(9));
  EXPECT_EQ(AddressOf("A.Example"), "10.0.0.1:0");
  EXPECT_EQ(below_->questions(), 1);
  network_.RunFor(absl::Seconds(2));
  EXPECT_EQ(AddressOf("a.example"), "10.0.0.2:0");
  EXPECT_EQ(below_->questions(), 2);
  EXPECT_EQ(resolver_->counters().hits, 1u);
  EXPECT_EQ(resolver_->counters().misses, 2u);
  EXPECT_EQ(resolver_->counters().entries, 1u);
}

TEST_F(CachingResolverTest, AnAnswerThatTellsItsTimeIsRememberedForThat) {
  Create({.time_to_live = absl::Seconds(10), .negative_time_to_live = absl::Seconds(5)});
  SetTime("short.example", {"10.0.0.1"}, absl::Seconds(3));
  SetTime("long.example", {"10.0.0.1"}, absl::Seconds(300));
  SetTime("empty.example", {}, absl::Seconds(20));
  SetTime("untold.example", {"10.0.0.1"}, absl::InfiniteDuration());
  EXPECT_EQ(TimeRemembered("short.example"), absl::Seconds(3));
  EXPECT_EQ(TimeRemembered("long.example"), absl::Seconds(300));
  EXPECT_EQ(TimeRemembered("empty.example"), absl::Seconds(20));
  EXPECT_EQ(TimeRemembered("untold.example"), absl::Seconds(10));
}

TEST_F(CachingResolverTest, ATimeThatIsToldHasBounds) {
  SetTime("zero.example", {"10.0.0.1"}, absl::ZeroDuration());
  SetTime("negative.example", {"10.0.0.1"}, absl::Seconds(-5));
  SetTime("year.example", {"10.0.0.1"}, absl::Hours(24) * 365);
  for (const char* name : {"zero.example", "negative.example"}) {
    for (int i = 0; i < 2; ++i) EXPECT_TRUE(Ask(name).ok());
    EXPECT_EQ(below_->questions(name, Family::kIpv4), 2) << "not to be remembered";
  }
  Create({.least_time_to_live = absl::Seconds(5), .most_time_to_live = absl::Minutes(1)});
  EXPECT_EQ(TimeRemembered("zero.example"), absl::Seconds(5));
  EXPECT_EQ(TimeRemembered("negative.example"), absl::Seconds(5));
  EXPECT_EQ(TimeRemembered("year.example"), absl::Minutes(1));
}

TEST_F(CachingResolverTest, WhatIsLeftOfTheTimeIsTold) {
  Create({.most_time_to_live = absl::Minutes(5)});
  SetTime("a.example", {"10.0.0.1"}, absl::Hours(1));
  auto first = Begin(loop_, "a.example");
  auto joined = Begin(other_, "a.example");
  ASSERT_TRUE(Answered(*first));
  ASSERT_TRUE(Answered(*joined));
  EXPECT_EQ(first->query->time_to_live(), absl::Minutes(5));
  EXPECT_EQ(joined->query->time_to_live(), absl::Minutes(5));
  network_.RunFor(absl::Minutes(4));
  auto later = Begin(loop_, "a.example");
  ASSERT_TRUE(Answered(*later));
  EXPECT_EQ(absl::Ceil(later->query->time_to_live(), absl::Seconds(1)), absl::Minutes(1));
}

TEST_F(CachingResolverTest, ACacheOverACacheAddsNothing) {
  Create({});
  resolver_ = std::make_shared<CachingResolver>(resolver_);
  SetTime("a.example", {"10.0.0.1"}, absl::Seconds(60));
  EXPECT_EQ(TimeRemembered("a.example"), absl::Seconds(60));
}

TEST_F(CachingResolverTest, NegativeAnswersHaveATimeOfTheirOwn) {
  Create({.time_to_live = kLong, .negative_time_to_live = absl::Seconds(5)});
  below_->Set("empty.example", Family::kIpv4, FakeResolver::Answer());
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Ask("absent.example").status().code(), absl::StatusCode::kNotFound);
    EXPECT_THAT(*Ask("empty.example"), IsEmpty());
  }
  EXPECT_EQ(below_->questions(), 2);
  network_.RunFor(absl::Seconds(6));
  SetAddress("absent.example", "10.0.0.1");
  EXPECT_EQ(AddressOf("absent.example"), "10.0.0.1:0");
  EXPECT_THAT(*Ask("empty.example"), IsEmpty());
  EXPECT_EQ(below_->questions(), 4);
}

TEST_F(CachingResolverTest, ThatNobodyAnsweredIsRememberedOnlyOnDemand) {
  below_->Set("a.example", Family::kIpv4, {.addresses = absl::UnavailableError("SERVFAIL")});
  for (int i = 0; i < 2; ++i)
    EXPECT_EQ(Ask("a.example").status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(below_->questions(), 2);
  Create({.unavailable_time_to_live = absl::Seconds(1)});
  for (int i = 0; i < 2; ++i)
    EXPECT_EQ(Ask("a.example").status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(below_->questions(), 3);
}

TEST_F(CachingResolverTest, WhatIsNoAnswerIsNotRemembered) {
  Create({.unavailable_time_to_live = kLong});
  below_->Set("a.example", Family::kIpv4, {.addresses = absl::ResourceExhaustedError("full")});
  for (int i = 0; i < 2; ++i)
    EXPECT_EQ(Ask("a.example").status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(below_->questions(), 2);
  EXPECT_EQ(resolver_->counters().entries, 0u);
}

TEST_F(CachingResolverTest, AVeryLongAnswerIsPassedOnOnly) {
  for (const size_t size : {CachingResolver::kMostAddresses, CachingResolver::kMostAddresses + 1}) {
    const std::string name = absl::StrCat("name", size);
    below_->Set(name, Family::kIpv4,
                {.addresses = Addresses(size, SocketAddress::Ipv4Loopback(0))});
    for (int i = 0; i < 2; ++i) EXPECT_EQ(Ask(name)->size(), size);
    EXPECT_EQ(below_->questions(name, Family::kIpv4),
              size == CachingResolver::kMostAddresses ? 1 : 2);
  }
}

TEST_F(CachingResolverTest, TheNameThatWasNotAskedForTheLongestGoes) {
  Create({.max_entries = 2});
  for (const char* name : {"a", "b", "c"}) SetAddress(name, "10.0.0.1");
  for (const char* name : {"a", "b", "a", "c"}) EXPECT_EQ(AddressOf(name), "10.0.0.1:0");
  EXPECT_EQ(resolver_->counters().evictions, 1u);
  EXPECT_EQ(resolver_->counters().entries, 2u);
  EXPECT_EQ(below_->questions(), 3);
  EXPECT_EQ(AddressOf("a"), "10.0.0.1:0");
  EXPECT_EQ(below_->questions(), 3);
  EXPECT_EQ(AddressOf("b"), "10.0.0.1:0");
  EXPECT_EQ(below_->questions(), 4);
}

TEST_F(CachingResolverTest, ATrailingDotMakesAnotherName) {
  SetAddress("a.example", "10.0.0.1");
  SetAddress("a.example.", "10.0.0.2");
  EXPECT_EQ(AddressOf("a.example"), "10.0.0.1:0");
  EXPECT_EQ(AddressOf("a.example."), "10.0.0.2:0");
}

TEST_F(CachingResolverTest, FamiliesAreQuestionsOfTheirOwn) {
  SetAddress("a.example", "10.0.0.1");
  EXPECT_EQ(AddressOf("a.example"), "10.0.0.1:0");
  std::optional<AddressesOr> answer;
  auto query = resolver_->Resolve(loop_, "a.example", Family::kIpv6, kLong,
                                  [&](AddressesOr addresses) { answer = std::move(addresses); });
  ASSERT_TRUE(network_.RunUntil([&] { return answer.has_value(); }, kLong));
  EXPECT_THAT(**answer, IsEmpty());
}

TEST_F(CachingResolverTest, EqualQuestionsAreAskedOnceAndAnsweredInOrder) {
  SetAddress("a.example", "10.0.0.1", absl::Seconds(1));
  std::vector<std::unique_ptr<Asked>> asked;
  for (const char* name : {"A.example", "a.Example", "a.eXample"})
    asked.push_back(Begin(loop_, name));
  auto elsewhere = Begin(other_, "a.example");
  EXPECT_EQ(resolver_->counters().under_way, 1u);
  ASSERT_TRUE(Answered(*asked.back()));
  ASSERT_TRUE(Answered(*elsewhere));
  std::erase(order_, "a.example");
  EXPECT_THAT(order_, ElementsAre("A.example", "a.Example", "a.eXample"));
  EXPECT_EQ(elsewhere->answer->value()[0].ToString(), "10.0.0.1:0");
  EXPECT_EQ(below_->questions(), 1);
  EXPECT_EQ(resolver_->counters().misses, 1u);
  EXPECT_EQ(resolver_->counters().coalesced, 3u);
  EXPECT_EQ(resolver_->counters().under_way, 0u);
}

TEST_F(CachingResolverTest, EachAskerHasItsOwnDeadline) {
  SetAddress("a.example", "10.0.0.1", absl::Seconds(10));
  auto patient = Begin(loop_, "a.example", absl::Seconds(20));
  auto hasty = Begin(loop_, "a.example", absl::Seconds(1));
  ASSERT_TRUE(Answered(*hasty));
  EXPECT_EQ(hasty->code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(below_->pending(), 1);
  ASSERT_TRUE(Answered(*patient));
  EXPECT_TRUE(patient->answer->ok());
  EXPECT_EQ(below_->questions(), 1);
}

TEST_F(CachingResolverTest, AQuestionIsAskedAnewForWhoHasMoreTime) {
  SetAddress("a.example", "10.0.0.1", absl::Seconds(3));
  auto hasty = Begin(loop_, "a.example", absl::Seconds(2));
  network_.RunFor(absl::Seconds(1));
  auto patient = Begin(other_, "a.example", absl::Seconds(20));
  ASSERT_TRUE(Answered(*hasty));
  EXPECT_EQ(hasty->code(), absl::StatusCode::kDeadlineExceeded);
  ASSERT_TRUE(Answered(*patient));
  EXPECT_TRUE(patient->answer->ok()) << patient->answer->status();
  EXPECT_EQ(below_->questions(), 2);
}

TEST_F(CachingResolverTest, TheQuestionGoesOnWhenItsAskerLeavesOthersOnTheLoop) {
  SetAddress("a.example", "10.0.0.1", absl::Seconds(1));
  auto first = Begin(loop_, "a.example");
  auto elsewhere = Begin(other_, "a.example");
  auto second = Begin(loop_, "a.example");
  first.reset();
  ASSERT_TRUE(Answered(*second));
  ASSERT_TRUE(Answered(*elsewhere));
  EXPECT_EQ(below_->questions(), 1);
  EXPECT_EQ(below_->given_up(), 0);
}

TEST_F(CachingResolverTest, TheQuestionIsAskedAnewWhenItsLoopLeaves) {
  SetAddress("a.example", "10.0.0.1", absl::Seconds(1));
  auto first = Begin(loop_, "a.example");
  auto elsewhere = Begin(other_, "a.example");
  auto later = Begin(other_, "a.example");
  network_.RunFor(absl::Milliseconds(500));
  first.reset();
  EXPECT_EQ(below_->pending(), 0);
  // Who was to ask leaves before it can.
  elsewhere.reset();
  ASSERT_TRUE(Answered(*later));
  EXPECT_EQ(later->answer->value()[0].ToString(), "10.0.0.1:0");
  EXPECT_EQ(below_->questions(), 2);
  EXPECT_EQ(below_->given_up(), 1);
}

TEST_F(CachingResolverTest, TheLastAskerGivesTheQuestionUp) {
  SetAddress("a.example", "10.0.0.1", absl::Seconds(1));
  auto first = Begin(loop_, "a.example");
  auto second = Begin(other_, "a.example", absl::Milliseconds(1));
  first.reset();
  ASSERT_TRUE(Answered(*second));
  EXPECT_EQ(second->code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(below_->pending(), 0);
  EXPECT_EQ(resolver_->counters().under_way, 0u);
}

// Asks, gives up and lets time pass at random, on three loops, over names that are slow, failing,
// silent and changing.
class Schedule {
 public:
  explicit Schedule(uint64_t seed) : network_(seed) {
    for (const char* host : {"a", "b", "c"}) loops_.push_back(&network_.AddHost(host).loop());
    options_ = {.max_entries = Random(8),
                .time_to_live = absl::Milliseconds(Random(2'000)),
                .negative_time_to_live = absl::Milliseconds(Random(2'000)),
                .unavailable_time_to_live = absl::Milliseconds(Random(3) * 100),
                .least_time_to_live = absl::Milliseconds(Random(500)),
                .most_time_to_live = absl::Milliseconds(500 + Random(2'000))};
    resolver_ = std::make_shared<CachingResolver>(below_, options_);
    for (int name = 0; name < kNames; ++name) Change(name);
  }

  void Run() {
    for (int step = 0; step < 400; ++step) {
      switch (Random(8)) {
        case 0:
          Change(static_cast<int>(Random(kNames)));
          break;
        case 1:
        case 2:
          if (!asked_.empty()) GiveUp(Random(asked_.size()));
          break;
        case 3:
          network_.RunFor(absl::Milliseconds(Random(300)));
          CheckThatEachQuestionIsAsked();
          break;
        default:
          Ask();
      }
      Check();
    }
    ending_ = true;
    network_.RunFor(kMostTime + absl::Seconds(1));
    Check();
    for (const auto& each : asked_) EXPECT_EQ(each->answers, 1) << network_.Describe();
    EXPECT_EQ(below_->pending(), 0);
    EXPECT_EQ(resolver_->counters().under_way, 0u);
  }

 private:
  static constexpr int kNames = 12;
  static constexpr absl::Duration kMostDelay = absl::Milliseconds(500);
  static constexpr absl::Duration kMostTime = absl::Seconds(1);

  struct Question {
    std::unique_ptr<Resolver::Query> query;
    MonotonicTime deadline;
    int answers = 0;
  };

  uint64_t Random(uint64_t bound) { return network_.Random(bound); }

  // What was answered with this version of a name is to be forgotten after a while.
  void Change(int name) {
    const MonotonicTime now = network_.now();
    if (version_of_.count(name) > 0) replaced_[version_of_[name]] = now;
    const uint32_t version = static_cast<uint32_t>(versions_.size());
    versions_.push_back(name);
    version_of_[name] = version;
    FakeResolver::Answer answer{.delay = absl::Milliseconds(Random(500))};
    times_.push_back(options_.time_to_live);
    if (Random(2) == 0) {
      answer.time_to_live = absl::Milliseconds(Random(3'000));
      times_.back() =
          std::clamp(answer.time_to_live, options_.least_time_to_live, options_.most_time_to_live);
    }
    switch (Random(6)) {
      case 0:
        answer.addresses = absl::UnavailableError("down");
        break;
      case 1:
        answer.addresses = absl::NotFoundError("absent");
        break;
      case 2:
        answer.delay = absl::InfiniteDuration();
        break;
      default:
        answer.addresses =
            FakeResolver::Addresses({absl::StrCat("10.0.", version / 256, ".", version % 256)});
    }
    below_->Set(absl::StrCat("name", name), Family::kIpv4, std::move(answer));
  }

  void Ask() {
    const int name = static_cast<int>(Random(kNames));
    EventLoop& loop = *loops_[Random(loops_.size())];
    const auto timeout = absl::Milliseconds(Random(1'000));
    asked_.push_back(std::make_unique<Question>());
    Question& question = *asked_.back();
    question.deadline = network_.now() + timeout;
    ++questions_;
    question.query = resolver_->Resolve(
        loop, absl::StrCat(Random(2) == 0 ? "name" : "NAME", name), Family::kIpv4, timeout,
        [this, &question, name](AddressesOr answer) { OnAnswer(question, name, answer); });
    EXPECT_EQ(question.answers, 0);
  }

  void OnAnswer(Question& question, int name, const AddressesOr& answer) {
    EXPECT_EQ(++question.answers, 1);
    EXPECT_LE(network_.now() - question.deadline, absl::Milliseconds(1));
    if (absl::IsDeadlineExceeded(answer.status())) {
      EXPECT_GE(network_.now(), question.deadline);
    }
    if (answer.ok() && !answer->empty()) {
      ASSERT_EQ(answer->size(), 1u);
      unsigned high, low;
      ASSERT_EQ(std::sscanf(answer->at(0).ToString().c_str(), "10.0.%u.%u:0", &high, &low), 2);
      const uint32_t version = high * 256 + low;
      ASSERT_LT(version, versions_.size());
      EXPECT_EQ(versions_[version], name);
      if (replaced_.count(version) > 0) {
        EXPECT_LE(network_.now() - replaced_[version],
                  times_[version] + kMostDelay + absl::Milliseconds(1));
      }
    }
    if (Random(3) == 0) question.query.reset();
    if (!ending_ && Random(4) == 0) Ask();
  }

  void GiveUp(size_t index) {
    std::swap(asked_[index], asked_.back());
    asked_.pop_back();  // an answer that came later would touch what is gone
  }

  // Whoever may have handed it over, or left.
  void CheckThatEachQuestionIsAsked() {
    EXPECT_TRUE(network_.RunUntil(
        [this] {
          return static_cast<size_t>(below_->pending()) == resolver_->counters().under_way;
        },
        absl::Milliseconds(5)))
        << network_.Describe();
  }

  void Check() {
    const CachingResolver::Counters counters = resolver_->counters();
    EXPECT_LE(counters.entries, options_.max_entries);
    EXPECT_EQ(counters.hits + counters.misses + counters.coalesced, questions_);
    EXPECT_LE(counters.under_way, size_t{kNames});
    EXPECT_LE(static_cast<size_t>(below_->pending()), counters.under_way);
  }

  SimulatedNetwork network_;
  std::vector<EventLoop*> loops_;
  std::shared_ptr<FakeResolver> below_ = std::make_shared<FakeResolver>();
  CachingResolver::Options options_;
  std::shared_ptr<const CachingResolver> resolver_;
  std::vector<std::unique_ptr<Question>> asked_;
  uint64_t questions_ = 0;
  bool ending_ = false;
  std::vector<int> versions_;                   // the name of each
  std::vector<absl::Duration> times_;           // for how long each may be remembered
  std::map<int, uint32_t> version_of_;          // the present one of each name
  std::map<uint32_t, MonotonicTime> replaced_;  // when
};

TEST(CachingResolverPropertyTest, NothingIsLostDoubledOrStaleInAnySchedule) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Schedule(seed).Run();
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace sluice
