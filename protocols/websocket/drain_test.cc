// What connections do when their loop drains: DrainOptions.

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/websocket/close_code.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/connection_fixture.h"
#include "sluice/protocols/websocket/frame.h"

namespace sluice::websocket {
namespace {

class DrainTest : public ServerFixture {
 protected:
  void OpenMany(int count) {
    for (int i = 0; i < count; ++i) sessions_.push_back(&Open());
  }
  void Drain(absl::Duration timeout) {
    loop.loop().Drain(timeout, [this] { done_ = true; });
    loop.RunUntilIdle();
  }
  // The clients answer what they have been told; so many have been closed now.
  size_t Closed() {
    size_t closed = 0;
    for (Session* const session : sessions_) {
      if (session->Heard() == ServerFrame(Opcode::kClose, ClosePayload(code_))) {
        session->Leave(code_);
        EXPECT_EQ(session->handler.all(), absl::StrCat("close:", code_, ":clean"));
      }
      if (!session->handler.events.empty()) ++closed;
    }
    return closed;
  }

  std::vector<Session*> sessions_;
  int code_ = 1001;
  bool done_ = false;
};

TEST_F(DrainTest, ByDefaultAllAreClosedAtOnceAsGoingAway) {
  OpenMany(5);
  Drain(absl::Seconds(30));
  EXPECT_EQ(Closed(), 5u);
  EXPECT_TRUE(done_);
}

TEST_F(DrainTest, WithASpreadTheyAreClosedOneByOneWithTheChosenCode) {
  options.connection.drain.spread = absl::Seconds(20);
  options.connection.drain.code = CloseCode::kServiceRestart;
  code_ = 1012;
  OpenMany(400);
  loop.Advance(absl::Hours(1));
  EXPECT_EQ(Closed(), 0u) << "before the drain";
  Drain(absl::Seconds(30));
  std::vector<size_t> closed = {Closed()};
  for (int second = 0; second < 20; ++second) {
    EXPECT_FALSE(done_);
    loop.Advance(absl::Seconds(1));
    closed.push_back(Closed());
  }
  EXPECT_EQ(closed.back(), 400u) << "all by the end of the spread";
  EXPECT_TRUE(done_);
  // Random, but a quarter more or less than expected at half time is ten standard deviations.
  EXPECT_LT(closed[0], 40u);
  EXPECT_GT(closed[10], 100u);
  EXPECT_LT(closed[10], 300u);
  // 20 are expected in each second: 80 would be thirteen standard deviations more.
  for (size_t second = 1; second < closed.size(); ++second)
    EXPECT_LT(closed[second] - closed[second - 1], 80u) << second;
}

TEST_F(DrainTest, UntilItsTimeAConnectionGoesOn) {
  options.connection.drain.spread = absl::Seconds(1000);
  options.connection.ping_interval = absl::Seconds(10);
  OpenMany(20);
  for (Session* const session : sessions_) {
    session->handler.on_message = [](Connection& c, const Message& m) { c.SendText(m.text()); };
  }
  Drain(absl::Seconds(2000));
  size_t talked = 0;
  for (Session* const session : sessions_) {
    session->Say(Opcode::kText, "still here?");
    if (session->Heard() == ServerFrame(Opcode::kText, "still here?")) ++talked;
    session->handler.events.clear();
  }
  EXPECT_GE(talked, 10u);
  loop.Advance(absl::Seconds(21));
  size_t pinged = 0;
  for (Session* const session : sessions_) {
    if (session->Heard() == ServerFrame(Opcode::kPing, "")) ++pinged;
    if (session->handler.connection != nullptr) session->Say(Opcode::kPong, "");
  }
  EXPECT_GE(pinged, 10u) << "keep-alive goes on";
}

TEST_F(DrainTest, OnesThatEndMeanwhileAreNoMatter) {
  options.connection.drain.spread = absl::Seconds(20);
  OpenMany(30);
  Drain(absl::Seconds(30));
  for (size_t i = 0; i < sessions_.size(); i += 3) sessions_[i]->pair.Break();
  for (size_t i = 1; i < sessions_.size(); i += 3) {
    if (sessions_[i]->handler.connection != nullptr) sessions_[i]->connection().Close();
  }
  loop.Advance(absl::Seconds(20));
  for (Session* const session : sessions_) {
    session->client->stream().Close();
    loop.RunUntilIdle();
    EXPECT_EQ(session->handler.events.size(), 1u) << session->handler.all();
  }
  EXPECT_TRUE(done_);
}

TEST_F(DrainTest, TheDeadlineEndsThoseThatStillWait) {
  options.connection.drain.spread = absl::InfiniteDuration();
  OpenMany(3);
  Drain(absl::Seconds(30));
  loop.Advance(absl::Seconds(29));
  EXPECT_EQ(Closed(), 0u);
  EXPECT_FALSE(done_);
  loop.Advance(absl::Seconds(1));
  EXPECT_TRUE(done_);
  for (const Session* const session : sessions_) {
    EXPECT_EQ(session->handler.all(), "close:1006");
    EXPECT_TRUE(absl::IsDeadlineExceeded(session->handler.status)) << session->handler.status;
  }
}

TEST_F(DrainTest, HandshakesUnderWayEndAtOnce) {
  options.connection.drain.spread = absl::Seconds(20);
  Session& session = Begin();
  session.Say("GET / HTTP/1.1\r\n");
  Drain(absl::Seconds(30));
  EXPECT_TRUE(session.client->ended());
}

TEST_F(DrainTest, EachHandlerIsAskedOnceAndAgainByASecondDrain) {
  options.connection.drain.spread = absl::Seconds(10);
  OpenMany(10);
  int asked = 0;
  for (Session* const session : sessions_)
    session->handler.on_drain = [&](Connection&) { ++asked; };
  Drain(absl::Seconds(100));
  loop.Advance(absl::Seconds(1));
  const int before = asked;
  Drain(absl::Seconds(100));  // those that wait keep their time
  loop.Advance(absl::Seconds(9));
  EXPECT_GE(asked, 10);
  EXPECT_LE(asked, 10 + before);
  loop.Advance(absl::Seconds(10));
  EXPECT_EQ(asked, 10 + before);
}

TEST_F(DrainTest, AHandlerMayAbortWhenItIsAsked) {
  options.connection.drain.spread = absl::Seconds(10);
  OpenMany(10);
  for (Session* const session : sessions_)
    session->handler.on_drain = [](Connection& c) { c.Abort(absl::CancelledError("enough")); };
  Drain(absl::Seconds(100));
  loop.Advance(absl::Seconds(10));
  EXPECT_TRUE(done_);
}

}  // namespace
}  // namespace sluice::websocket
