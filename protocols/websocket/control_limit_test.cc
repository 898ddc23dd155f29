// The limit on pings and pongs, ConnectionOptions::max_control_frames_per_second.

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/protocols/websocket/connection_fixture.h"
#include "sluice/protocols/websocket/frame.h"

namespace sluice::websocket {
namespace {

using testing::HasSubstr;

class ControlLimitTest : public ServerFixture {
 protected:
  void Say(Session& session, Opcode opcode, int count) {
    std::string frames;
    for (int i = 0; i < count; ++i) frames += ClientFrame(opcode, "");
    session.Say(frames);
  }
  // To the last instant of the clock's second, by the resolution of the loop's timers.
  void AwaitEndOfSecond() {
    const absl::Duration since = loop.loop().NowExact() - MonotonicTime();
    const absl::Duration left = absl::Ceil(since, absl::Seconds(1)) - since;
    if (left > kTick) loop.Advance(left - kTick);
  }
  static bool IsOpen(const Session& session) { return session.handler.connection != nullptr; }
  static constexpr absl::Duration kTick = absl::Milliseconds(1);
};

TEST_F(ControlLimitTest, AsManyAsTheLimitMayComeAtOnceAndOneMoreClosesWith1008) {
  for (const Opcode opcode : {Opcode::kPing, Opcode::kPong}) {
    Session& session = Open();
    Say(session, opcode, 100);
    session.Say(Opcode::kText, "t");
    EXPECT_EQ(session.handler.all(), "text:t");
    session.Heard();
    session.Say(ClientFrame(opcode, "") + ClientFrame(Opcode::kText, "after"));
    EXPECT_EQ(session.Heard(),
              ServerFrame(Opcode::kClose,
                          ClosePayload(1008, "more than 100 pings and pongs in a second")));
    session.client->stream().Close();
    loop.RunUntilIdle();
    EXPECT_EQ(session.handler.all(), "text:t close:1008:more than 100 pings and pongs in a second");
    EXPECT_TRUE(absl::IsResourceExhausted(session.handler.status));
    EXPECT_EQ(session.handler.status.message(),
              "127.0.0.1:1: more than 100 pings and pongs in a second "
              "(max_control_frames_per_second)");
  }
}

TEST_F(ControlLimitTest, PingsAndPongsCountTogetherAndMessagesDoNot) {
  options.connection.max_control_frames_per_second = 10;
  Session& session = Open();
  for (int i = 0; i < 5; ++i) {
    Say(session, Opcode::kPing, 1);
    Say(session, Opcode::kText, 100);
    Say(session, Opcode::kPong, 1);
  }
  EXPECT_TRUE(IsOpen(session));
  Say(session, Opcode::kPong, 1);
  session.client->stream().Close();
  loop.RunUntilIdle();
  EXPECT_FALSE(IsOpen(session));
}

TEST_F(ControlLimitTest, ItCountsAnewInEachSecondOfTheClock) {
  options.connection.max_control_frames_per_second = 7;
  Session& over = Open();
  Session& within = Open();
  for (int second = 0; second < 5; ++second) {
    AwaitEndOfSecond();
    Say(within, Opcode::kPing, 3);
    loop.Advance(kTick);  // the next second
    Say(within, Opcode::kPing, 4);
  }
  EXPECT_TRUE(IsOpen(within));
  AwaitEndOfSecond();
  Say(over, Opcode::kPing, 7);
  loop.Advance(kTick);
  Say(over, Opcode::kPing, 7);
  EXPECT_TRUE(IsOpen(over)) << "twice as many around the turn of a second";
  AwaitEndOfSecond();
  EXPECT_TRUE(IsOpen(over));
  Say(over, Opcode::kPing, 1);
  EXPECT_THAT(over.Heard(), HasSubstr("more than 7 pings"));
}

TEST_F(ControlLimitTest, ItsEndsAre0ForNoneAnd4095) {
  options.connection.max_control_frames_per_second = 0;
  Session& unlimited = Open();
  Say(unlimited, Opcode::kPong, 100'000);
  EXPECT_TRUE(IsOpen(unlimited));
  unlimited.pair.Break();
  loop.RunUntilIdle();
  server = nullptr;
  options.connection.max_control_frames_per_second = 65535;
  Session& limited = Open();
  Say(limited, Opcode::kPong, 4095);
  EXPECT_TRUE(IsOpen(limited));
  Say(limited, Opcode::kPong, 1);
  EXPECT_THAT(limited.Heard(), HasSubstr("more than 4095 pings"));
}

TEST_F(ControlLimitTest, WhileClosingItEndsTheConnection) {
  options.connection.max_control_frames_per_second = 10;
  Session& session = Open();
  session.connection().Close(CloseCode::kNormal, "done");
  Say(session, Opcode::kPing, 10);
  EXPECT_FALSE(session.client->ended());
  Say(session, Opcode::kPing, 1);
  EXPECT_EQ(session.Heard(), ServerFrame(Opcode::kClose, ClosePayload(1000, "done")))
      << "one close frame";
  EXPECT_TRUE(session.client->ended());
}

}  // namespace
}  // namespace sluice::websocket
