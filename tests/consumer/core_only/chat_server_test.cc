#include "chat_server.h"

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/simulation.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/core/tcp.h"

namespace chat {
namespace {

class ChatServerTest : public testing::Test {
 protected:
  // A guest who has connected.
  std::unique_ptr<sluice::StreamRecorder> NewGuest(absl::string_view host) {
    std::unique_ptr<sluice::StreamRecorder> guest;
    sluice::Connector connector(network_.AddHost(host).loop());
    connector.Connect(server_->address(), {},
                      [&](absl::StatusOr<std::unique_ptr<sluice::Stream>> stream) {
                        guest = std::make_unique<sluice::StreamRecorder>(*std::move(stream));
                      });
    network_.RunUntil([&] { return guest != nullptr; }, absl::Minutes(1));
    return guest;
  }
  void Run() { network_.RunFor(absl::Seconds(1)); }

  sluice::SimulatedNetwork network_{/*seed=*/1};
  sluice::SimulatedHost& host_ = network_.AddHost("server");
  std::unique_ptr<ChatServer> server_ = *ChatServer::Listen(host_.loop(), host_.Address(9000));
};

TEST_F(ChatServerTest, TellsTheOthersWhatOneSays) {
  const auto ann = NewGuest("ann"), bob = NewGuest("bob"), cid = NewGuest("cid");
  ann->stream().Send("Ann\nhello\n");
  Run();
  EXPECT_EQ(ann->received(), "");
  EXPECT_EQ(bob->received(), "Ann: hello\n");
  EXPECT_EQ(cid->received(), "Ann: hello\n");
}

TEST_F(ChatServerTest, ALineMayArriveInPiecesAndEndAsTelnetEndsIt) {
  const auto ann = NewGuest("ann"), bob = NewGuest("bob");
  for (const absl::string_view piece : {"An", "n\r", "\nhow ", "are you?\r\nwe", "ll?\r\n"}) {
    ann->stream().Send(piece);
    Run();
  }
  EXPECT_EQ(bob->received(), "Ann: how are you?\nAnn: well?\n");
}

TEST_F(ChatServerTest, ALineThatNeverEndsIsNotKept) {
  const auto ann = NewGuest("ann"), bob = NewGuest("bob");
  ann->stream().Send(std::string(ChatServer::kMaxLineBytes + 1, 'a'));
  bob->stream().Send("Bob\n" + std::string(ChatServer::kMaxLineBytes, 'b') + "\n");
  Run();
  EXPECT_TRUE(ann->closed().has_value());
  EXPECT_FALSE(bob->closed().has_value());
  EXPECT_EQ(server_->guests(), 1);
}

TEST_F(ChatServerTest, WhoLeavesIsForgotten) {
  const auto ann = NewGuest("ann"), bob = NewGuest("bob");
  bob->stream().Close();
  Run();
  EXPECT_EQ(server_->guests(), 1);
  ann->stream().Send("Ann\nare you there?\n");
  Run();
  EXPECT_EQ(bob->received(), "");
}

}  // namespace
}  // namespace chat
