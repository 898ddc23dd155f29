// Pings, pongs and close frames of a connection whose peer reads slowly or not at all.

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/websocket/close_code.h"
#include "sluice/protocols/websocket/connection_fixture.h"
#include "sluice/protocols/websocket/frame.h"

namespace sluice::websocket {
namespace {

class ControlReserveTest : public ServerFixture {
 protected:
  // A connection to a client that does not read, with a queue that stands at the hard limit to the
  // byte, and what is in it.
  Session& OpenAtTheHardLimit() {
    Session& session = Open();
    session.pair.to_client().Hold();
    session.pair.to_client().set_capacity(0);
    session.connection().stream().SetLimits({.high = 1000, .low = 500, .hard = kHard});
    for (const size_t size : {size_t{4000}, size_t{4000}, kHard - 2 * (4 + 4000) - 4}) {
      const std::string text(size, 'x');
      EXPECT_NE(session.connection().SendText(text), SendResult::kRefused);
      queued_ += ServerFrame(Opcode::kText, text);
    }
    loop.RunUntilIdle();
    EXPECT_EQ(session.connection().queued_bytes(), kHard);
    return session;
  }
  // The client reads.
  std::string HeardOnceItReads(Session& session) {
    session.pair.to_client().set_capacity(1'000'000);
    session.pair.to_client().Release();
    loop.RunUntilIdle();
    loop.Advance(absl::Seconds(1));
    return session.Heard();
  }

  static constexpr size_t kHard = 10'000;
  std::string queued_;
};

TEST_F(ControlReserveTest, AtTheHardLimitPingPongAndCloseAreAcceptedBehindTheData) {
  Session& session = OpenAtTheHardLimit();
  const uint8_t payload[] = {'m', 'e'};
  EXPECT_EQ(session.connection().SendPing(payload), SendResult::kBlocked);
  session.Say(Opcode::kPing, "you");
  EXPECT_EQ(session.connection().queued_bytes(), kHard + 4 + 5);
  session.connection().Close(CloseCode::kGoingAway, "enough");
  EXPECT_TRUE(HeardOnceItReads(session) ==
              absl::StrCat(queued_, ServerFrame(Opcode::kPing, "me"),
                           ServerFrame(Opcode::kPong, "you"),
                           ServerFrame(Opcode::kClose, ClosePayload(1001, "enough"))));
  session.Leave(1001);
  EXPECT_EQ(session.handler.all(), "close:1001:clean:enough");
}

TEST_F(ControlReserveTest, ThePeersCloseIsAnsweredAtTheHardLimit) {
  Session& session = OpenAtTheHardLimit();
  session.Say(Opcode::kClose, ClosePayload(1000));
  EXPECT_TRUE(HeardOnceItReads(session) ==
              absl::StrCat(queued_, ServerFrame(Opcode::kClose, ClosePayload(1000))));
  session.client->stream().Close();
  loop.RunUntilIdle();
  EXPECT_EQ(session.handler.all(), "close:1000:clean:peer");
}

// Pings of our own use the reserve up.
TEST_F(ControlReserveTest, WithTheReserveUsedUpPongAndCloseLeaveWhenThePeerReads) {
  for (const bool close : {false, true}) {
    queued_.clear();
    Session& session = OpenAtTheHardLimit();
    const std::vector<uint8_t> payload(100, 'p');
    while (session.connection().SendPing(payload) != SendResult::kRefused)
      queued_ += ServerFrame(Opcode::kPing, std::string(100, 'p'));
    while (session.connection().SendPing() != SendResult::kRefused)
      queued_ += ServerFrame(Opcode::kPing, "");
    session.Say(Opcode::kPing, "1");
    session.Say(Opcode::kPing, "2");
    if (close) session.connection().Close(CloseCode::kNormal, "late");
    loop.Advance(absl::Seconds(1));
    EXPECT_LE(session.connection().queued_bytes(), kHard + Stream::kControlReserve);
    EXPECT_TRUE(HeardOnceItReads(session) ==
                queued_ + (close ? ServerFrame(Opcode::kClose, ClosePayload(1000, "late"))
                                 : ServerFrame(Opcode::kPong, "2")));
    if (!close) continue;
    session.Leave(1000);
    EXPECT_EQ(session.handler.all(), "close:1000:clean:late");
  }
}

TEST_F(ControlReserveTest, ACloseThatCouldNotLeaveIsNotClean) {
  Session& session = OpenAtTheHardLimit();
  while (session.connection().SendPing() != SendResult::kRefused) {
  }
  session.connection().Close(CloseCode::kNormal, "late");
  session.Say(Opcode::kClose, ClosePayload(1001));
  session.pair.Break();
  loop.RunUntilIdle();
  EXPECT_EQ(session.handler.all(), "close:1001:peer");
}

// Its queue never empties, and never passes the high mark.
TEST_F(ControlReserveTest, ASlowReaderIsAnsweredBehindWhatWasQueuedWhenItPinged) {
  for (const size_t queue : {size_t{10'000}, size_t{100'000}}) {
    Session& session = Open();
    session.pair.to_client().Hold();
    size_t taken = 0;
    session.pair.to_client().set_capacity(taken);
    session.connection().SendBinary(std::vector<uint8_t>(queue));
    // It takes 10,000 bytes a second, and as many are sent to it.
    for (int second = 0; second < 60; ++second) {
      session.Say(Opcode::kPing, absl::StrCat(second));
      session.connection().SendBinary(std::vector<uint8_t>(10'000 - 4));
      for (int tenth = 0; tenth < 10; ++tenth) {
        session.pair.to_client().set_capacity(taken += 1000);
        loop.Advance(absl::Milliseconds(100));
      }
      EXPECT_GT(session.connection().queued_bytes(), 5000u);
      EXPECT_LT(session.connection().queued_bytes(), 140'000u);
    }
    session.pair.to_client().set_capacity(session.connection().queued_bytes() + taken);
    session.pair.to_client().Release();
    loop.RunUntilIdle();
    const std::string heard = session.Heard();
    const auto pongs = std::count(heard.begin(), heard.end(), '\x8a');
    // One each time that the queue has been read once.
    EXPECT_GE(pongs, queue == 10'000 ? 25 : 4) << queue;
    EXPECT_LE(pongs, queue == 10'000 ? 60 : 8) << queue;
    session.pair.Break();
    loop.RunUntilIdle();
  }
}

TEST_F(ControlReserveTest, PongsAloneDoNotMakeAQueueGrow) {
  options.connection.max_control_frames_per_second = 0;
  Session& session = Open();
  session.pair.to_client().set_capacity(0);
  session.pair.to_client().Hold();
  session.connection().SendBinary(std::vector<uint8_t>(50'000));
  size_t capacity = 0;
  for (int i = 0; i < 1000; ++i) {
    session.Say(Opcode::kPing, std::string(125, 'p'));
    session.pair.to_client().set_capacity(++capacity);  // it reads a byte
    loop.Advance(absl::Milliseconds(100));
    ASSERT_LE(session.connection().queued_bytes(), 50'000u + 4 + 127);
  }
}

}  // namespace
}  // namespace sluice::websocket
