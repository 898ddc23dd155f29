// ConnectionOptions::idle_timeout, alone and beside ping_interval.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/core/timer.h"
#include "sluice/protocols/websocket/connection_fixture.h"
#include "sluice/protocols/websocket/frame.h"
#include "sluice/protocols/websocket/prepared_message.h"

namespace sluice::websocket {
namespace {

class IdleTimeoutTest : public ServerFixture {
 protected:
  IdleTimeoutTest() { options.connection.idle_timeout = kIdle; }

  static bool IsOpen(const Session& session) {
    return session.handler.connection != nullptr && session.connection().open();
  }
  // That it becomes idle after `left`, not before and not later.
  void ExpectIdleAfter(Session& session, absl::Duration left) {
    loop.Advance(left - kStep);
    EXPECT_TRUE(IsOpen(session)) << "too early";
    loop.Advance(kStep);
    EXPECT_FALSE(IsOpen(session)) << "too late";
    loop.RunUntilIdle();
  }

  static constexpr absl::Duration kIdle = absl::Seconds(30);
  static constexpr absl::Duration kStep = absl::Milliseconds(1);
};

TEST_F(IdleTimeoutTest, ClosesGracefullyWithGoingAway) {
  Session& session = Open();
  ExpectIdleAfter(session, kIdle);
  EXPECT_EQ(session.Heard(), ServerFrame(Opcode::kClose, ClosePayload(1001, "idle for 30s")));
  session.Leave(1001);
  EXPECT_EQ(session.handler.all(), "close:1001:clean:idle for 30s");
  EXPECT_TRUE(session.handler.status.ok());
}

TEST_F(IdleTimeoutTest, EachMessageThatComesOrGoesStartsItAnew) {
  const uint8_t bytes[] = {1, 2, 3};
  const PreparedMessage prepared = PreparedMessage::Text("p");
  const std::vector<std::function<void(Session&)>> moves = {
      [](Session& s) { s.Say(Opcode::kText, "t"); },
      [](Session& s) { s.Say(Opcode::kBinary, ""); },
      [](Session& s) { s.connection().SendText("t"); },
      [&](Session& s) { s.connection().SendBinary(bytes); },
      [&](Session& s) { s.connection().Send(prepared); },
  };
  Session& all = Open();
  for (const auto& move : moves) {
    Session& session = Open();
    for (const absl::Duration after : {absl::Seconds(20), absl::Seconds(29), kIdle - kStep}) {
      loop.Advance(after);
      ASSERT_TRUE(IsOpen(session));
      move(session);
      if (IsOpen(all)) all.Say(Opcode::kText, "t");
    }
    loop.RunUntilIdle();
    ExpectIdleAfter(session, kIdle);
  }
}

TEST_F(IdleTimeoutTest, PingsAndPongsDoNot) {
  Session& session = Open();
  for (int i = 0; i < 29; ++i) {
    session.Say(Opcode::kPing, "");
    session.Say(Opcode::kPong, "");
    session.connection().SendPing();
    loop.Advance(absl::Seconds(1));
  }
  ExpectIdleAfter(session, absl::Seconds(1) - 28 * TimerWheel::kResolution);
}

TEST_F(IdleTimeoutTest, AMessageThatIsStillArrivingDoes) {
  Session& session = Open();
  const std::string frame = ClientFrame(Opcode::kBinary, std::string(1000, 'm'));
  for (size_t at = 0; at < 900; at += 100) {
    session.Say(frame.substr(at, 100));
    loop.Advance(kIdle - kStep);
    ASSERT_TRUE(IsOpen(session));
  }
}

TEST_F(IdleTimeoutTest, WhatIsQueuedDoesWhileItMoves) {
  Session& session = Open();
  session.pair.to_client().Hold();
  session.pair.to_client().set_capacity(0);
  session.connection().SendBinary(std::vector<uint8_t>(1000));
  for (size_t taken = 100; taken <= 500; taken += 100) {
    session.pair.to_client().set_capacity(taken);
    loop.Advance(kIdle);
    ASSERT_TRUE(IsOpen(session)) << taken;
  }
  loop.Advance(kIdle);
  EXPECT_FALSE(IsOpen(session)) << "the client takes no more";
}

TEST_F(IdleTimeoutTest, PausedTimeDoesNotCount) {
  Session& session = Open();
  session.connection().PauseReceiving();
  loop.Advance(absl::Seconds(1000));
  EXPECT_TRUE(IsOpen(session));
  session.connection().ResumeReceiving();
  ExpectIdleAfter(session, kIdle);
}

TEST_F(IdleTimeoutTest, KeepAliveGoesOnBesideIt) {
  options.connection.ping_interval = absl::Seconds(7);
  options.connection.pong_timeout = absl::Seconds(2);
  Session& session = Open();
  std::string pings;
  for (int i = 0; i < 29; ++i) {
    loop.Advance(absl::Seconds(1));
    const std::string heard = session.Heard();
    if (heard.empty()) continue;
    EXPECT_EQ(heard, ServerFrame(Opcode::kPing, ""));
    session.Say(Opcode::kPong, "");
    absl::StrAppend(&pings, i + 1, " ");
  }
  EXPECT_EQ(pings, "14 23 ");
  ExpectIdleAfter(session, absl::Seconds(1) - 28 * TimerWheel::kResolution);
  Session& silent = Open();
  loop.Advance(absl::Seconds(17));
  EXPECT_EQ(silent.handler.all(), "close:1006") << "it did not answer a ping";
}

TEST_F(IdleTimeoutTest, KeepAliveIsNotHeldUpByMessages) {
  options.connection.idle_timeout = absl::Seconds(5);
  options.connection.ping_interval = absl::Seconds(7);
  Session& session = Open();
  for (int i = 0; i < 15; ++i) {
    session.connection().SendText("t");
    loop.Advance(absl::Seconds(1));
  }
  const std::string heard = session.Heard();
  EXPECT_NE(heard.find(ServerFrame(Opcode::kPing, "")), std::string::npos);
}

TEST_F(IdleTimeoutTest, WithoutItAConnectionLivesOn) {
  options.connection.idle_timeout = absl::InfiniteDuration();
  Session& session = Open();
  loop.Advance(absl::Hours(1000));
  EXPECT_TRUE(IsOpen(session));
}

// ---- what its peer takes is a sign of life

TEST_F(IdleTimeoutTest, APeerThatTakesAllOfTheQueueIsAlive) {
  options.connection.ping_interval = absl::Seconds(10);
  options.connection.pong_timeout = absl::Seconds(10);
  options.connection.idle_timeout = absl::InfiniteDuration();
  Session& session = Open();
  session.pair.to_client().Hold();
  session.pair.to_client().set_capacity(0);
  session.connection().SendBinary(std::vector<uint8_t>(1000));
  loop.Advance(absl::Seconds(10.5));  // queue appeared: counts as moved
  loop.Advance(absl::Seconds(10));    // ping is queued
  session.pair.to_client().set_capacity(500);
  loop.Advance(absl::Seconds(1));
  session.pair.to_client().set_capacity(5000);
  loop.Advance(absl::Seconds(8));
  ASSERT_EQ(session.handler.all(), "");
  EXPECT_EQ(session.connection().queued_bytes(), 0u);
  loop.Advance(absl::Seconds(1));
  EXPECT_EQ(session.handler.all(), "");
}

TEST_F(IdleTimeoutTest, TheIdleLookLeavesKeepAliveItsEvidence) {
  options.connection.ping_interval = absl::Seconds(10);
  options.connection.pong_timeout = absl::Seconds(10);
  options.connection.idle_timeout = absl::Seconds(18);
  Session& session = Open();
  session.pair.to_client().Hold();
  session.pair.to_client().set_capacity(0);
  session.connection().SendBinary(std::vector<uint8_t>(1000));
  loop.Advance(absl::Seconds(10.5));           // look at 10: moved (grown); idle then due at 28
  loop.Advance(absl::Seconds(10));             // ping at 20, pong due at 30
  session.pair.to_client().set_capacity(500);  // the peer takes 500 bytes at 20.5
  loop.Advance(absl::Seconds(8));              // idle look at 28: moved
  EXPECT_EQ(session.handler.all(), "");
  loop.Advance(absl::Seconds(2));  // 30.5
  EXPECT_EQ(session.handler.all(), "");
}

TEST_F(IdleTimeoutTest, ACloseBehindAQueueThatEmptiesLateIsWaitedFor) {
  Session& session = Open();
  session.pair.to_client().Hold();
  session.pair.to_client().set_capacity(0);
  session.connection().SendBinary(std::vector<uint8_t>(1000));
  loop.RunUntilIdle();
  session.connection().Close();
  loop.Advance(absl::Seconds(4.9));
  session.pair.to_client().set_capacity(5000);
  loop.Advance(absl::Seconds(0.2));
  EXPECT_EQ(session.handler.all(), "");
}

}  // namespace
}  // namespace sluice::websocket
