#include "sluice/core/cares_resolver.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/name_server_testing.h"
#include "sluice/core/resolver.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/tcp_testing.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;
using Family = SocketAddress::Family;
using Addresses = std::vector<SocketAddress>;
using AddressesOr = absl::StatusOr<Addresses>;
using Question = test::NameServer::Question;
using Answers = std::vector<std::string>;
using Behaviours = std::map<std::string, test::NameServer::Behaviour>;

SocketAddress Ip(absl::string_view text) { return *SocketAddress::Parse(text); }

TEST(CaresResolverTest, HeaderExample) {
  std::unique_ptr<EventLoop> owned = test::NewLoop();
  EventLoop& loop = *owned;
  test::NameServer name_server;
  const SocketAddress server = name_server.address();
  Addresses got;

  std::shared_ptr<const CaresResolver> resolver = *CaresResolver::Create({.servers = {server}});
  std::unique_ptr<Resolver::Query> query = resolver->Resolve(
      loop, "both.example", SocketAddress::Family::kIpv4, absl::Seconds(5),
      [&](absl::StatusOr<std::vector<SocketAddress>> addresses) { got = *std::move(addresses); });

  ASSERT_TRUE(test::Until(loop, [&] { return !got.empty(); }));
  EXPECT_THAT(got, UnorderedElementsAre(Ip("10.0.0.1:0"), Ip("10.0.0.2:0")));
}

TEST(CaresResolverTest, OptionsThatCannotBeAreRefused) {
  const auto error = [](const CaresResolver::Options& options) {
    const absl::Status status = CaresResolver::Create(options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return status.ToString();
  };
  EXPECT_THAT(error({.servers = {Ip("unix:/x")}}), HasSubstr("unix:/x must be an IPv4 or IPv6"));
  EXPECT_THAT(error({.servers = {Ip("[fe80::1%1]:0")}}), HasSubstr("without an interface"));
  EXPECT_THAT(error({.timeout = absl::ZeroDuration()}), HasSubstr("accepted are 1ms to 1m"));
  EXPECT_THAT(error({.timeout = absl::InfiniteDuration()}), HasSubstr("accepted are 1ms to 1m"));
  EXPECT_THAT(error({.tries = 0}), HasSubstr("accepted are 1 to 10"));
  EXPECT_THAT(error({.tries = 11}), HasSubstr("accepted are 1 to 10"));
  EXPECT_THAT(error({.max_under_way = 0}), HasSubstr("accepted are 1 to 10000"));
  EXPECT_THAT(error({.max_under_way = 10'001}), HasSubstr("accepted are 1 to 10000"));
  EXPECT_TRUE(CaresResolver::Create({.max_under_way = 10'000}).ok());
}

TEST(CaresResolverTest, LocalhostNeedsNoServer) {
  std::unique_ptr<EventLoop> loop = test::NewLoop();
  std::shared_ptr<const CaresResolver> resolver = *CaresResolver::Create();
  std::optional<AddressesOr> answer;
  auto query = resolver->Resolve(*loop, "localhost", Family::kIpv4, test::kBound,
                                 [&](AddressesOr addresses) { answer = std::move(addresses); });
  ASSERT_TRUE(test::Until(*loop, [&] { return answer.has_value(); }));
  EXPECT_THAT(**answer, UnorderedElementsAre(SocketAddress::Ipv4Loopback(0)));
  EXPECT_EQ(query->time_to_live(), absl::InfiniteDuration());
}

// A resolver of servers that behave as the test wants.
class CaresServerTest : public testing::Test {
 protected:
  void Create(Behaviours behaviours, CaresResolver::Options options = {.tries = 1}) {
    server_ = std::make_unique<test::NameServer>(std::move(behaviours));
    options.servers.push_back(server_->address());
    resolver_ = *CaresResolver::Create(options);
  }

  AddressesOr Ask(absl::string_view name, Family family = Family::kIpv4,
                  absl::Duration timeout = test::kBound) {
    std::optional<AddressesOr> answer;
    auto query = resolver_->Resolve(*loop_, name, family, timeout,
                                    [&](AddressesOr addresses) { answer = std::move(addresses); });
    EXPECT_TRUE(test::Until(*loop_, [&] { return answer.has_value(); }));
    time_to_live_ = query->time_to_live();
    return answer.value_or(absl::UnknownError("no answer"));
  }

  std::unique_ptr<EventLoop> loop_ = test::NewLoop();
  absl::Duration time_to_live_;  // of what was asked last
  std::unique_ptr<test::NameServer> server_;
  std::shared_ptr<const CaresResolver> resolver_;
};

TEST_F(CaresServerTest, WhatIsNoAnswerToTheQuestionIsPassedOver) {
  // Each is followed by the answer.
  const std::map<std::string, std::string (*)(const Question&)> before = {
      {"garbage", [](const Question&) { return std::string("garbage that is long enough"); }},
      {"short", [](const Question& question) { return question.message.substr(0, 5); }},
      {"empty", [](const Question&) { return std::string(); }},
      {"number",
       [](const Question& question) {
         std::string other = question.Answer({"10.6.6.6"});
         other[0] ^= 1;
         return other;
       }},
      {"name", [](const Question& question) {
         std::string other = question.Answer({"10.6.6.6"});
         other[13] ^= 1;
         return other;
       }}};
  Behaviours behaviours;
  for (const auto& [name, make] : before) {
    behaviours[name + ".example"] = [make = make](const Question& question) {
      return Answers{make(question), question.Answer({"10.0.0.1"})};
    };
  }
  Create(behaviours);
  for (const auto& [name, make] : before) {
    const AddressesOr addresses = Ask(name + ".example");
    ASSERT_TRUE(addresses.ok()) << name << ": " << addresses.status();
    EXPECT_THAT(*addresses, UnorderedElementsAre(Ip("10.0.0.1:0"))) << name;
    EXPECT_EQ(server_->questions(name + ".example"), 1);
  }
}

TEST_F(CaresServerTest, AnAnswerThatDoesNotParseIsNoAnswer) {
  Create({{"loop.example",
           [](const Question& question) {
             // The name of the record points to itself.
             std::string answer = question.Answer({"10.0.0.1"});
             const size_t record = answer.size() - 16;
             answer[record] = static_cast<char>(0xc0);
             answer[record + 1] = static_cast<char>(record);
             return Answers{answer};
           }},
          {"cut.example", [](const Question& question) {
             const std::string answer = question.Answer({"10.0.0.1"});
             return Answers{answer.substr(0, answer.size() - 2)};
           }}});
  for (const char* name : {"loop.example", "cut.example"}) {
    const AddressesOr addresses = Ask(name);
    EXPECT_EQ(addresses.status().code(), absl::StatusCode::kUnavailable) << addresses.status();
    EXPECT_THAT(addresses.status().ToString(), HasSubstr(name));
  }
}

TEST_F(CaresServerTest, ALongAnswerComesByTcp) {
  Create({{"big.example", [](const Question& question) {
             if (!question.tcp) return Answers{question.Truncated()};
             std::vector<std::string> addresses;
             for (int i = 0; i < 1000; ++i)
               addresses.push_back(absl::StrCat("10.0.", i / 250, ".", i % 250));
             return Answers{question.Answer(addresses)};
           }}});
  const AddressesOr addresses = Ask("big.example");
  ASSERT_TRUE(addresses.ok()) << addresses.status();
  EXPECT_THAT(*addresses, SizeIs(256));
  EXPECT_EQ(server_->questions("big.example"), 2);
}

TEST_F(CaresServerTest, WithoutTheHostsFileThereIsNoLocalhost) {
  Create({}, {.hosts_file = false});
  EXPECT_EQ(Ask("localhost").status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(server_->questions("localhost"), 0);
}

TEST_F(CaresServerTest, AddressesComeInTheOrderOfRfc6724) {
  // The first has no source of its scope, if any.
  Create({{"sorted.example", [](const Question& question) {
             return Answers{question.Answer({"169.254.1.1", "127.0.0.1"})};
           }}});
  EXPECT_THAT(*Ask("sorted.example"), ElementsAre(Ip("127.0.0.1:0"), Ip("169.254.1.1:0")));
}

TEST_F(CaresServerTest, ManyAddressesComeInOneAnswer) {
  std::vector<std::string> many;
  for (int i = 0; i < 25; ++i) many.push_back(absl::StrCat("2001:db8::", i + 1));
  many.push_back("2001:db8::1");
  Create({{"many.example",
           [many](const Question& question) { return Answers{question.Answer(many)}; }}});
  EXPECT_THAT(*Ask("many.example", Family::kIpv6), SizeIs(25));
  EXPECT_THAT(*Ask("many.example", Family::kIpv4), IsEmpty());
}

TEST_F(CaresServerTest, TheShortestTimeToLiveOfTheRecordsIsTold) {
  const auto alias = [](uint32_t alias_seconds, uint32_t address_seconds) {
    return [=](const Question& question) {
      return Answers{question.AliasOf("10.0.0.1", alias_seconds, address_seconds)};
    };
  };
  const auto address = [](uint32_t seconds) {
    return [=](const Question& question) {
      return Answers{question.Answer({"10.0.0.1"}, test::NameServer::kNoError, seconds)};
    };
  };
  Create({{"alias.example", alias(20, 300)},
          {"brief.example", alias(300, 20)},
          {"zero.example", address(0)},
          {"year.example", address(31'536'000)},
          {"negative.example", address(0x8000'0001)}});
  const std::map<std::string, absl::Duration> expected = {
      {"alias.example", absl::Seconds(20)},
      {"brief.example", absl::Seconds(20)},
      {"zero.example", absl::ZeroDuration()},
      {"year.example", absl::Hours(24) * 365},
      {"negative.example", absl::ZeroDuration()}};
  for (const auto& [name, time_to_live] : expected) {
    EXPECT_THAT(*Ask(name), ElementsAre(Ip("10.0.0.1:0"))) << name;
    EXPECT_EQ(time_to_live_, time_to_live) << name;
  }
}

TEST_F(CaresServerTest, OfWhatIsNotThereNoTimeToLiveIsTold) {
  Create({});
  EXPECT_THAT(*Ask("four.example", Family::kIpv6), IsEmpty());
  EXPECT_EQ(time_to_live_, absl::InfiniteDuration());
  EXPECT_EQ(Ask("absent.example").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(time_to_live_, absl::InfiniteDuration());
}

TEST_F(CaresServerTest, AServerThatRefusesIsNoServerThatAnswers) {
  Create({{"refused.example", [](const Question& question) {
             return Answers{question.Answer({}, test::NameServer::kRefused)};
           }}});
  EXPECT_EQ(Ask("refused.example").status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(CaresServerTest, SilenceIsOverAfterTheTries) {
  Create({}, {.timeout = absl::Milliseconds(1), .tries = 3});
  const absl::Status status = Ask("silent.example").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_THAT(status.ToString(), HasSubstr("silent.example: Timeout"));
  EXPECT_EQ(resolver_->counters().under_way, 0);
}

TEST_F(CaresServerTest, AnotherServerAnswersWhereTheFirstIsGone) {
  SocketAddress gone;
  {
    test::NameServer first;
    gone = first.address();
  }
  Create({}, {.servers = {gone}, .tries = 1});
  EXPECT_THAT(*Ask("four.example"), UnorderedElementsAre(Ip("10.0.0.4:0")));
}

TEST_F(CaresServerTest, WhereNoServerIsThereNobodyCanSay) {
  Create({});
  server_.reset();
  EXPECT_EQ(Ask("both.example").status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(CaresServerTest, ANameThatCannotBeDoesNotExist) {
  Create({});
  EXPECT_EQ(Ask("a..b").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Ask(std::string(64, 'a')).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(CaresServerTest, WhatIsGivenUpStaysUnderWayAndIsCounted) {
  Create({}, {.timeout = absl::Minutes(1), .max_under_way = 1});
  EXPECT_EQ(Ask("silent.example", Family::kIpv4, absl::Milliseconds(1)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(resolver_->counters().under_way, 1);
  EXPECT_EQ(resolver_->counters().abandoned, 1);
  const absl::Status full = Ask("both.example").status();
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(full.ToString(), HasSubstr("both.example: 1 names are being looked up"));
  EXPECT_EQ(resolver_->counters().refused, 1u);
}

// Right answers with some bytes changed: whatever comes of it, it is an answer, and no crash.
TEST_F(CaresServerTest, DamagedAnswersDoNoHarm) {
  auto random = std::make_shared<std::mt19937>(1);
  Behaviours behaviours;
  constexpr int kNames = 400;
  for (int i = 0; i < kNames; ++i) {
    behaviours[absl::StrCat("damaged", i, ".example")] = [random, i](const Question& question) {
      std::string answer = question.Answer({"10.0.0.1", "10.0.0.2", "10.0.0.3"});
      // Of every other the records alone: with another question it would be passed over.
      const size_t begin = i % 2 == 0 ? 2 : question.message.size();
      for (unsigned changes = (*random)() % 6 + 1; changes > 0; --changes)
        answer[begin + (*random)() % (answer.size() - begin)] = static_cast<char>((*random)());
      if ((*random)() % 4 == 0) answer.resize((*random)() % answer.size());
      return Answers{answer};
    };
  }
  Create(behaviours, {.timeout = absl::Milliseconds(200), .tries = 2});
  std::vector<std::unique_ptr<Resolver::Query>> queries;
  int answers = 0;
  int silence = 0;
  for (int i = 0; i < kNames; ++i) {
    queries.push_back(resolver_->Resolve(
        *loop_, absl::StrCat("damaged", i, ".example"), Family::kIpv4, test::kBound,
        [&](const AddressesOr& addresses) {
          ++answers;
          if (absl::EndsWith(addresses.status().message(), "Timeout while contacting DNS servers"))
            ++silence;
          EXPECT_FALSE(absl::IsDeadlineExceeded(addresses.status()));
        }));
  }
  EXPECT_TRUE(test::Until(*loop_, [&] { return answers == kNames; }));
  // To those it were no answers.
  EXPECT_LT(silence, kNames / 2);
}

// One that has its answer by TCP leaves the connection open while others have none.
TEST_F(CaresServerTest, AConnectionHoldsUpNobody) {
  Create({{"tcp.example",
           [](const Question& question) {
             if (!question.tcp) return Answers{question.Truncated()};
             return Answers{question.Answer({"10.0.0.1"})};
           }}},
         {.timeout = absl::Minutes(1), .tries = 1});
  auto silent = resolver_->Resolve(*loop_, "silent.example", Family::kIpv4, test::kBound,
                                   [](const AddressesOr&) {});
  for (const char* name : {"tcp.example", "four.example"}) {
    const AddressesOr addresses = Ask(name);
    ASSERT_TRUE(addresses.ok()) << addresses.status();
    EXPECT_THAT(*addresses, SizeIs(1));
  }
}

// The sequence of CVE-2026-33630: one question is answered twice, first with an error, and then the
// connection goes, over which another one waits.
TEST_F(CaresServerTest, TwoAnswersAndAResetByTcpAreOneAnswer) {
  bool is_asked = false;
  Create({{"waits.example",
           [&, times = 0](const Question& question) mutable {
             if (!question.tcp) return Answers{question.Truncated()};
             loop_->Post([&] { is_asked = true; });
             return ++times == 1 ? Answers() : Answers{question.Answer({"10.0.0.1"})};
           }},
          {"resets.example",
           [](const Question& question) {
             if (!question.tcp) return Answers{question.Truncated()};
             return Answers{question.Answer({}, test::NameServer::kFormatError),
                            question.Answer({"10.6.6.6"}), test::NameServer::kReset};
           }}},
         {.timeout = absl::Minutes(1), .tries = 3});
  std::optional<AddressesOr> waited;
  auto waits = resolver_->Resolve(*loop_, "waits.example", Family::kIpv4, test::kBound,
                                  [&](AddressesOr addresses) {
                                    EXPECT_FALSE(waited.has_value());
                                    waited = std::move(addresses);
                                  });
  ASSERT_TRUE(test::Until(*loop_, [&] { return is_asked; }));
  EXPECT_EQ(Ask("resets.example").status().code(), absl::StatusCode::kUnavailable);
  ASSERT_TRUE(test::Until(*loop_, [&] { return waited.has_value(); }));
  ASSERT_TRUE(waited->ok()) << waited->status();
  EXPECT_THAT(**waited, ElementsAre(Ip("10.0.0.1:0")));
  EXPECT_THAT(*Ask("four.example"), ElementsAre(Ip("10.0.0.4:0")));
}

}  // namespace
}  // namespace sluice
