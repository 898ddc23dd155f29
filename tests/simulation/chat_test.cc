// How users test a server of their own on a simulated network: a chat server over frames, in a
// hundred lines, and what becomes of it when the network is cut in two.
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/simulation.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/core/timer.h"
#include "sluice/protocols/framing/frame_codec.h"
#include "sluice/protocols/framing/frame_stream.h"

namespace {

using sluice::EventLoop;
using sluice::framing::FrameCodec;
using sluice::framing::FrameHandler;
using sluice::framing::FrameStream;
using testing::ElementsAre;
using testing::IsEmpty;

absl::string_view Text(absl::Span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

absl::Span<const uint8_t> Bytes(absl::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// What the user has written, for real networks.

// Both sides say something at least so often, and give up a peer that was silent for three times
// as long. (A stream's own idle time-out does not see that: what the system takes of a Send counts,
// also when it gets nowhere.)
constexpr absl::Duration kSignOfLife = absl::Seconds(10);
constexpr absl::Duration kSilence = absl::Seconds(30);

// Passes on what a member says to all members, and tells them when one is gone.
class ChatServer {
 public:
  ChatServer(EventLoop& loop, const sluice::SocketAddress& address)
      : loop_(loop),
        listener_(*sluice::Listener::Listen(
            loop, address, {}, [this](std::unique_ptr<sluice::Stream> stream) {
              seats_.push_back(std::make_unique<Seat>(*this, std::move(stream)));
            })) {}

  size_t members() const { return seats_.size(); }

 private:
  class Seat final : public FrameHandler {
   public:
    Seat(ChatServer& chat, std::unique_ptr<sluice::Stream> stream)
        : chat_(chat),
          silence_([this] { stream_.Abort(absl::DeadlineExceededError("silent")); }),
          stream_(std::move(stream), FrameCodec(), *this) {
      chat_.loop_.ArmTimer(silence_, kSilence);
    }
    void Tell(absl::Span<const uint8_t> text) { stream_.Send(text); }

   private:
    void OnMessage(FrameStream& stream, absl::Span<uint8_t> text) override {
      chat_.loop_.ArmTimer(silence_, kSilence);
      if (!text.empty()) return chat_.TellAll(text);
      stream.Send(text);  // the answer to a sign of life
    }
    void OnClose(FrameStream&, const absl::Status&) override { chat_.Leave(*this); }

    ChatServer& chat_;
    sluice::Timer silence_;
    FrameStream stream_;
  };

  void Leave(const Seat& left) {
    std::erase_if(seats_, [&](const auto& seat) { return seat.get() == &left; });
    TellAll(Bytes(absl::StrCat(seats_.size(), " are left")));
  }
  void TellAll(absl::Span<const uint8_t> text) {
    for (const auto& seat : seats_) seat->Tell(text);
  }

  EventLoop& loop_;
  std::vector<std::unique_ptr<Seat>> seats_;
  std::unique_ptr<sluice::Listener> listener_;
};

// Stays in the chat: connects again when the connection breaks.
class Member final : public FrameHandler {
 public:
  Member(EventLoop& loop, const sluice::SocketAddress& server)
      : loop_(loop),
        server_(server),
        connector_(loop),
        again_([this] { Connect(); }),
        alive_([this] { Live(); }),
        silence_([this] { stream_->Abort(absl::DeadlineExceededError("silent")); }) {
    Connect();
    Live();
  }

  bool connected() const { return stream_ != nullptr; }
  bool Say(absl::string_view text) {
    return connected() && stream_->Send(Bytes(text)) != sluice::SendResult::kRefused;
  }
  const std::vector<std::string>& heard() const { return heard_; }

 private:
  void Connect() {
    connector_.Connect(server_, {.timeout = absl::Seconds(5)},
                       [this](absl::StatusOr<std::unique_ptr<sluice::Stream>> stream) {
                         if (!stream.ok()) return loop_.ArmTimer(again_, absl::Seconds(1));
                         stream_ =
                             std::make_unique<FrameStream>(*std::move(stream), FrameCodec(), *this);
                         loop_.ArmTimer(silence_, kSilence);
                       });
  }
  void Live() {
    Say("");
    loop_.ArmTimer(alive_, kSignOfLife);
  }
  void OnMessage(FrameStream&, absl::Span<uint8_t> text) override {
    loop_.ArmTimer(silence_, kSilence);
    if (!text.empty()) heard_.emplace_back(Text(text));
  }
  void OnClose(FrameStream&, const absl::Status&) override {
    silence_.Cancel();
    stream_ = nullptr;
    loop_.ArmTimer(again_, absl::Seconds(1));
  }

  EventLoop& loop_;
  const sluice::SocketAddress server_;
  sluice::Connector connector_;
  sluice::Timer again_;
  sluice::Timer alive_;
  sluice::Timer silence_;
  std::unique_ptr<FrameStream> stream_;
  std::vector<std::string> heard_;
};

// What the user tests with it.

class ChatTest : public testing::TestWithParam<uint64_t> {
 protected:
  void SetUp() override {
    ASSERT_TRUE(Until([&] {
      return server_.members() == 2 && ann_.connected() && bob_.connected();
    })) << network_.Describe();
  }

  bool Until(absl::FunctionRef<bool()> done) { return network_.RunUntil(done, absl::Minutes(2)); }

  sluice::SimulatedNetwork network_{
      GetParam(),
      {.link = {.latency = absl::Milliseconds(30), .jitter = absl::Milliseconds(30), .loss = 0.02},
       .trace = true}};
  sluice::SimulatedHost& server_host_ = network_.AddHost("server");
  sluice::SimulatedHost& ann_host_ = network_.AddHost("ann");
  sluice::SimulatedHost& bob_host_ = network_.AddHost("bob");
  // After the network, and so gone before it: they have listeners, connectors and streams.
  ChatServer server_{server_host_.loop(), server_host_.Address(7000)};
  Member ann_{ann_host_.loop(), server_host_.Address(7000)};
  Member bob_{bob_host_.loop(), server_host_.Address(7000)};
};

INSTANTIATE_TEST_SUITE_P(Seeds, ChatTest, testing::Range<uint64_t>(1, 21));

TEST_P(ChatTest, AShortCutDelaysWhatIsSaid) {
  network_.Partition(server_host_, bob_host_);
  ann_.Say("one");
  ann_.Say("two");
  network_.RunFor(absl::Seconds(10));
  EXPECT_THAT(ann_.heard(), ElementsAre("one", "two"));
  EXPECT_THAT(bob_.heard(), IsEmpty());
  network_.Heal(server_host_, bob_host_);
  ASSERT_TRUE(Until([&] { return bob_.heard().size() == 2; })) << network_.Describe();
  EXPECT_THAT(bob_.heard(), ElementsAre("one", "two"));
}

TEST_P(ChatTest, ALongCutIsNoticedOnBothSidesAndMended) {
  network_.Partition(server_host_, bob_host_);
  ASSERT_TRUE(Until([&] { return server_.members() == 1; })) << network_.Describe();
  ASSERT_TRUE(Until([&] { return !bob_.connected(); })) << network_.Describe();
  ASSERT_TRUE(Until([&] { return !ann_.heard().empty(); }));
  EXPECT_THAT(ann_.heard(), ElementsAre("1 are left"));
  network_.Heal(server_host_, bob_host_);
  ASSERT_TRUE(Until([&] { return server_.members() == 2 && bob_.connected(); }))
      << network_.Describe();
  ann_.Say("welcome back");
  ASSERT_TRUE(Until([&] { return !bob_.heard().empty(); })) << network_.Describe();
  EXPECT_THAT(bob_.heard(), ElementsAre("welcome back"));
}

}  // namespace
