#include "sluice/tools/balancer.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/monotonic_time.h"

namespace sluice::tools {
namespace {

using testing::ElementsAre;

class BalancerTest : public testing::Test {
 protected:
  // The next of all.
  size_t Begin() { return *backends_.Begin(now_, std::vector<bool>(backends_.size())); }
  size_t Connect() {
    const size_t backend = Begin();
    backends_.OnConnected(backend);
    return backend;
  }
  std::vector<size_t> ConnectTimes(int times) {
    std::vector<size_t> connected;
    for (int i = 0; i < times; ++i) connected.push_back(Connect());
    return connected;
  }
  void Fail(size_t backend, int times) {
    std::vector<bool> others(backends_.size(), true);
    others[backend] = false;
    for (int i = 0; i < times; ++i) {
      EXPECT_EQ(backends_.Begin(now_, others), backend);
      backends_.OnFailed(backend, now_);
    }
  }
  // How long it takes until it is chosen again, of several without connections.
  absl::Duration OutFor(size_t backend) {
    const MonotonicTime begin = now_;
    for (;; now_ += absl::Milliseconds(100)) {
      for (size_t i = 0; i < backends_.size(); ++i) {
        const size_t chosen = Begin();
        if (chosen != backend) {
          backends_.OnEnded(chosen);
          continue;
        }
        backends_.OnFailed(backend, now_);
        return now_ - begin;
      }
    }
  }

  Balancer backends_{3};
  MonotonicTime now_ = MonotonicTime() + absl::Hours(1);
};

TEST(BalancerExampleTest, HeaderExample) {
  Balancer backends(2);
  const auto Connect = [](size_t backend) { return backend == 1; };
  const MonotonicTime now;
  const auto example = [&] {
    std::vector<bool> tried(backends.size());
    while (std::optional<size_t> backend = backends.Begin(now, tried)) {
      tried[*backend] = true;
      if (Connect(*backend)) {
        backends.OnConnected(*backend);
        return backends.OnEnded(*backend);
      }
      backends.OnFailed(*backend, now);
    }
  };
  example();
  EXPECT_EQ(backends.counters(0).failed, 1u);
  EXPECT_EQ(backends.counters(1).total, 1u);
  EXPECT_EQ(backends.counters(1).open, 0u);
}

TEST_F(BalancerTest, EqualsTakeTurns) {
  EXPECT_THAT(ConnectTimes(7), ElementsAre(0, 1, 2, 0, 1, 2, 0));
}

TEST_F(BalancerTest, EqualsTakeTurnsAlsoWhenNothingStaysOpen) {
  for (const size_t expected : {0, 1, 2, 0}) {
    EXPECT_EQ(Connect(), expected);
    backends_.OnEnded(expected);
  }
}

TEST_F(BalancerTest, TheOneWithTheFewestIsNext) {
  ConnectTimes(6);
  backends_.OnEnded(1);
  backends_.OnEnded(1);
  EXPECT_THAT(ConnectTimes(2), ElementsAre(1, 1));
}

TEST_F(BalancerTest, TriesUnderWayCount) {
  EXPECT_EQ(Begin(), 0u);
  EXPECT_EQ(Begin(), 1u);
  EXPECT_EQ(Begin(), 2u);
  backends_.OnEnded(1);
  EXPECT_EQ(Begin(), 1u);
}

TEST_F(BalancerTest, WhatWasTriedIsNotChosen) {
  EXPECT_EQ(backends_.Begin(now_, {true, true, false}), 2u);
  EXPECT_EQ(backends_.Begin(now_, {true, true, true}), std::nullopt);
}

TEST_F(BalancerTest, FailuresInARowPutItOut) {
  Fail(1, Balancer::kFailuresUntilOut - 1);
  EXPECT_FALSE(backends_.counters(1).is_out);
  Fail(1, 1);
  EXPECT_TRUE(backends_.counters(1).is_out);
  const std::vector<size_t> connected = ConnectTimes(10);
  EXPECT_EQ(std::count(connected.begin(), connected.end(), 1u), 0);
}

TEST_F(BalancerTest, AConnectionBetweenFailuresKeepsItIn) {
  for (int i = 0; i < 5; ++i) {
    Fail(1, Balancer::kFailuresUntilOut - 1);
    EXPECT_EQ(backends_.Begin(now_, {true, false, true}), 1u);
    backends_.OnConnected(1);
    backends_.OnEnded(1);
  }
  EXPECT_FALSE(backends_.counters(1).is_out);
}

TEST_F(BalancerTest, TheTimeOutDoubles) {
  Fail(1, Balancer::kFailuresUntilOut);
  EXPECT_EQ(OutFor(1), absl::Seconds(1));
  EXPECT_EQ(OutFor(1), absl::Seconds(2));
  EXPECT_EQ(OutFor(1), absl::Seconds(4));
  for (int i = 0; i < 100; ++i) OutFor(1);
  EXPECT_EQ(OutFor(1), absl::Minutes(1));
}

TEST_F(BalancerTest, OneConnectionShowsWhetherItIsBack) {
  Fail(1, Balancer::kFailuresUntilOut);
  ConnectTimes(4);  // so that it has the fewest
  now_ += absl::Seconds(1);
  EXPECT_EQ(Begin(), 1u);
  EXPECT_NE(Begin(), 1u);
  EXPECT_NE(Begin(), 1u);
  backends_.OnConnected(1);
  EXPECT_FALSE(backends_.counters(1).is_out);
  EXPECT_EQ(Begin(), 1u);
}

TEST_F(BalancerTest, WhenAllAreOutTheOneThatWasOutForLongestIsTried) {
  for (const size_t backend : {2, 0, 1}) {
    Fail(backend, Balancer::kFailuresUntilOut);
    now_ += absl::Milliseconds(10);
  }
  EXPECT_EQ(Begin(), 2u);
  EXPECT_EQ(Begin(), 0u);
  EXPECT_EQ(Begin(), 1u);
}

TEST_F(BalancerTest, CountersAddUp) {
  ConnectTimes(4);
  Fail(1, 1);
  backends_.OnEnded(0);
  backends_.AddBytes(0, 10, 20);
  backends_.AddBytes(2, 1, 2);
  Balancer::Counters all;
  for (size_t i = 0; i < backends_.size(); ++i) all += backends_.counters(i);
  EXPECT_EQ(all.open, 3u);
  EXPECT_EQ(all.total, 4u);
  EXPECT_EQ(all.failed, 1u);
  EXPECT_EQ(all.bytes_up, 11u);
  EXPECT_EQ(all.bytes_down, 22u);
}

}  // namespace
}  // namespace sluice::tools
