#include "sluice/tools/udp_exchange.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/tools/message_pattern.h"
#include "sluice/tools/message_sizes.h"

namespace sluice::tools {
namespace {

using Datagram = std::vector<uint8_t>;

class UdpExchangeTest : public testing::Test {
 protected:
  Datagram Send() {
    Datagram datagram(kSize);
    exchange_.Next(now_, absl::MakeSpan(datagram));
    now_ += absl::Milliseconds(1);
    return datagram;
  }
  std::vector<Datagram> SendAll() {
    std::vector<Datagram> sent;
    while (exchange_.has_room()) sent.push_back(Send());
    return sent;
  }
  UdpExchange::Kind Take(const Datagram& datagram) { return exchange_.Take(datagram, now_).kind; }

  // What is not 0, in the order of UdpCounts.
  std::string Counts() const {
    const UdpCounts& counts = exchange_.counts();
    std::string text = absl::StrCat("sent ", counts.sent);
    const auto add = [&](const char* name, uint64_t count) {
      if (count > 0) absl::StrAppend(&text, " ", name, " ", count);
    };
    add("answers", counts.answers);
    add("late", counts.late);
    add("lost", counts.lost);
    add("duplicated", counts.duplicated);
    add("reordered", counts.reordered);
    add("damaged", counts.damaged);
    return text;
  }

  static constexpr size_t kSize = 100;
  const MessagePattern pattern_{kSize, /*seed=*/1};
  MonotonicTime now_ = MonotonicTime() + absl::Hours(1);
  UdpExchange exchange_{pattern_, /*connection=*/5, /*pipeline=*/3, /*verify=*/true};
};

using Kind = UdpExchange::Kind;

TEST_F(UdpExchangeTest, AsManyAreInFlightAsThePipelineSays) {
  std::vector<Datagram> sent = SendAll();
  EXPECT_EQ(sent.size(), 3u);
  EXPECT_EQ(exchange_.in_flight(), 3u);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(Take(sent[0]), Kind::kAnswer);
    ASSERT_TRUE(exchange_.has_room());
    sent.erase(sent.begin());
    sent.push_back(Send());
    ASSERT_FALSE(exchange_.has_room());
  }
  EXPECT_EQ(Counts(), "sent 1003 answers 1000");
}

TEST_F(UdpExchangeTest, AnAnswersLatencyIsTheTimeSinceItsDatagramLeft) {
  const Datagram sent = Send();
  now_ += absl::Milliseconds(19);
  EXPECT_EQ(exchange_.Take(sent, now_).latency, absl::Milliseconds(20));
}

TEST_F(UdpExchangeTest, NoTwoDatagramsAreAlike) {
  std::vector<Datagram> sent = SendAll();
  UdpExchange other(pattern_, /*connection=*/6, /*pipeline=*/3, /*verify=*/true);
  Datagram datagram(kSize);
  other.Next(now_, absl::MakeSpan(datagram));
  sent.push_back(datagram);
  std::sort(sent.begin(), sent.end());
  EXPECT_EQ(std::adjacent_find(sent.begin(), sent.end()), sent.end());
  EXPECT_EQ(Take(datagram), Kind::kDamaged) << "it belongs to another socket";
}

TEST_F(UdpExchangeTest, AnAnswerThatASecondFollowsIsDuplicated) {
  const std::vector<Datagram> sent = SendAll();
  EXPECT_EQ(Take(sent[1]), Kind::kAnswer);
  EXPECT_EQ(Take(sent[1]), Kind::kDuplicate);
  Send();  // takes its place
  EXPECT_EQ(Take(sent[1]), Kind::kDuplicate);
  EXPECT_EQ(Counts(), "sent 4 answers 1 duplicated 2");
}

TEST_F(UdpExchangeTest, AnAnswerThatWasOvertakenIsReordered) {
  const std::vector<Datagram> sent = SendAll();
  EXPECT_EQ(Take(sent[2]), Kind::kAnswer);
  EXPECT_EQ(Take(sent[0]), Kind::kAnswer);
  EXPECT_EQ(Take(sent[1]), Kind::kAnswer);
  EXPECT_EQ(Take(Send()), Kind::kAnswer);
  EXPECT_EQ(Counts(), "sent 4 answers 4 reordered 2");
}

TEST_F(UdpExchangeTest, WhatWasSentBeforeADeadlineIsLost) {
  const MonotonicTime start = now_;
  const std::vector<Datagram> sent = SendAll();
  EXPECT_EQ(Take(sent[0]), Kind::kAnswer);
  EXPECT_EQ(exchange_.GiveUp(start + absl::Milliseconds(1)), 0u);
  EXPECT_EQ(exchange_.GiveUp(start + absl::Milliseconds(2)), 1u);
  EXPECT_EQ(Counts(), "sent 3 answers 1 lost 1");
  EXPECT_EQ(exchange_.in_flight(), 1u);
  EXPECT_EQ(SendAll().size(), 2u);
}

TEST_F(UdpExchangeTest, ALostOneThatComesAfterAllIsLate) {
  const std::vector<Datagram> sent = SendAll();
  EXPECT_EQ(exchange_.GiveUp(now_), 3u);
  SendAll();
  EXPECT_EQ(Take(sent[1]), Kind::kLate);
  EXPECT_EQ(Take(sent[1]), Kind::kDuplicate);
  EXPECT_EQ(Counts(), "sent 6 late 1 lost 2 duplicated 1");
}

TEST_F(UdpExchangeTest, LateOnesAreToldFromDuplicatesForAWhile) {
  const Datagram first = Send();
  EXPECT_EQ(exchange_.GiveUp(now_), 1u);
  const Datagram second = Send();
  EXPECT_EQ(exchange_.GiveUp(now_), 1u);
  for (size_t i = 1; i < UdpExchange::kRemembered; ++i) {
    Send();
    EXPECT_EQ(exchange_.GiveUp(now_), 1u);
  }
  EXPECT_EQ(Take(first), Kind::kDuplicate);
  EXPECT_EQ(Take(second), Kind::kLate);
}

TEST_F(UdpExchangeTest, EachByteThatChangesIsSeen) {
  for (size_t i = 0; i < kSize; ++i) {
    Datagram changed = Send();
    const Datagram sent = changed;
    changed[i] ^= 0x81;
    EXPECT_EQ(Take(changed), Kind::kDamaged) << i;
    EXPECT_EQ(Take(sent), Kind::kAnswer) << i;
  }
  EXPECT_EQ(exchange_.counts().answers, kSize);
  EXPECT_EQ(exchange_.counts().damaged, kSize);
}

TEST_F(UdpExchangeTest, AnotherSizeIsDamage) {
  const Datagram sent = Send();
  for (size_t size = 0; size < sent.size(); ++size)
    EXPECT_EQ(Take(Datagram(sent.begin(), sent.begin() + size)), Kind::kDamaged) << size;
  Datagram longer = sent;
  longer.push_back(0);
  EXPECT_EQ(Take(longer), Kind::kDamaged);
  EXPECT_EQ(Take(sent), Kind::kAnswer);
}

TEST_F(UdpExchangeTest, WhatWasNeverSentIsDamage) {
  UdpExchange ahead(pattern_, /*connection=*/5, /*pipeline=*/3, /*verify=*/true);
  Datagram datagram(kSize);
  ahead.Next(now_, absl::MakeSpan(datagram));
  EXPECT_EQ(Take(datagram), Kind::kDamaged);
  EXPECT_EQ(Counts(), "sent 0 damaged 1");
}

TEST_F(UdpExchangeTest, WithoutVerifyingTheContentIsNotLookedAt) {
  UdpExchange trusting(pattern_, /*connection=*/5, /*pipeline=*/3, /*verify=*/false);
  Datagram datagram(kSize);
  trusting.Next(now_, absl::MakeSpan(datagram));
  datagram.back() ^= 1;
  EXPECT_EQ(trusting.Take(datagram, now_).kind, Kind::kAnswer);
}

TEST(UdpExchangeSizeTest, AHeaderIsTheLeastThatADatagramHas) {
  const MessagePattern pattern(UdpExchange::kHeaderBytes, /*seed=*/1);
  UdpExchange exchange(pattern, 0, 1, /*verify=*/true);
  Datagram datagram(UdpExchange::kHeaderBytes);
  exchange.Next(MonotonicTime(), absl::MakeSpan(datagram));
  EXPECT_EQ(exchange.Take(datagram, MonotonicTime()).kind, Kind::kAnswer);
}

TEST_F(UdpExchangeTest, CountingBeginsWithWhatIsInFlight) {
  std::vector<Datagram> before = SendAll();
  now_ += absl::Seconds(1);
  exchange_.GiveUp(now_);
  std::vector<Datagram> in_flight = SendAll();
  exchange_.BeginCounting();
  EXPECT_EQ(Counts(), "sent 3");
  EXPECT_EQ(Take(before[0]), Kind::kLate);
  EXPECT_EQ(Take(before[0]), Kind::kDuplicate);
  EXPECT_EQ(Counts(), "sent 3");
  EXPECT_EQ(Take(in_flight[0]), Kind::kAnswer);
  EXPECT_EQ(Take(in_flight[0]), Kind::kDuplicate);
  now_ += absl::Seconds(1);
  exchange_.GiveUp(now_);
  EXPECT_EQ(Take(in_flight[1]), Kind::kLate);
  EXPECT_EQ(Counts(), "sent 3 answers 1 late 1 lost 1 duplicated 1");
}

TEST_F(UdpExchangeTest, DamageBeforeCountingBeginsIsNotForgotten) {
  Datagram changed = Send();
  changed.back() ^= 1;
  EXPECT_EQ(Take(changed), Kind::kDamaged);
  exchange_.BeginCounting();
  EXPECT_EQ(Counts(), "sent 1 damaged 1");
}

TEST(UdpExchangeSizesTest, DatagramsOfMixedSizesHaveTheirs) {
  const MessagePattern pattern(*MessageSizes::Parse("30:1,300:1"), /*seed=*/1);
  UdpExchange exchange(pattern, /*connection=*/0, /*pipeline=*/1, /*verify=*/true);
  std::vector<uint8_t> room(300);
  size_t large = 0;
  for (uint64_t sequence = 0; sequence < 100; ++sequence) {
    const absl::Span<const uint8_t> sent = exchange.Next(MonotonicTime(), absl::MakeSpan(room));
    if (sent.size() == 300) ++large;
    EXPECT_EQ(sent.size(), pattern.SizeOf(0, sequence));
    EXPECT_EQ(exchange.Take(absl::MakeSpan(room).first(sent.size() - 1), MonotonicTime()).kind,
              UdpExchange::Kind::kDamaged);
    const UdpExchange::Taken taken = exchange.Take(sent, MonotonicTime());
    EXPECT_EQ(taken.kind, UdpExchange::Kind::kAnswer);
    EXPECT_EQ(taken.sequence, sequence);
  }
  EXPECT_GT(large, 20u);
}

}  // namespace
}  // namespace sluice::tools
