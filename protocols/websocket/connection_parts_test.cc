// Messages that are sent and received in parts, between a Server and a Client over Streams in
// memory.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/internal/counting_new.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/websocket/client.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/message_source.h"
#include "sluice/protocols/websocket/message_writer.h"
#include "sluice/protocols/websocket/prepared_message.h"
#include "sluice/protocols/websocket/server.h"

namespace sluice::websocket {
namespace {

using testing::HasSubstr;

std::string Short(absl::string_view text) {
  return text.size() < 40 ? std::string(text) : absl::StrCat(text.size());
}

// One end of the connection. Writes down what happens to it: "text:...", and for parts "(" where a
// message begins and ")" where it ends.
class End : public Handler {
 public:
  void OnOpen(Connection& c) override { connection = &c; }
  void OnMessage(Connection&, const Message& message) override {
    words.push_back(absl::StrCat(message.is_text ? "text:" : "binary:", Short(message.text())));
  }
  void OnMessagePart(Connection& c, const MessagePart& part) override {
    const absl::string_view bytes(reinterpret_cast<const char*>(part.payload.data()),
                                  part.payload.size());
    if (on_part) return on_part(c, part);
    words.push_back(absl::StrCat(part.first ? part.is_text ? "t(" : "b(" : "", Short(bytes),
                                 part.last ? ")" : ""));
  }
  void OnPong(Connection&, absl::Span<const uint8_t>) override { words.push_back("pong"); }
  void OnSendReady(Connection& c) override {
    words.push_back("ready");
    if (on_ready) on_ready(c);
  }
  void OnClose(Connection&, const CloseInfo& info) override {
    words.push_back(absl::StrCat("close:", static_cast<int>(info.code)));
    status = info.status;
    connection = nullptr;
  }

  std::string Take() { return absl::StrJoin(std::exchange(words, {}), " "); }

  std::function<void(Connection&, const MessagePart&)> on_part;
  std::function<void(Connection&)> on_ready;
  std::vector<std::string> words;
  absl::Status status;
  Connection* connection = nullptr;
};

// Gives `bytes` of 'x', in pieces of any size, and then ends as it is told to.
class Xs final : public MessageSource {
 public:
  Xs(size_t bytes, absl::Status end, bool& destroyed)
      : left_(bytes), end_(std::move(end)), destroyed_(destroyed) {}
  ~Xs() override { destroyed_ = true; }

  absl::StatusOr<size_t> Read(absl::Span<uint8_t> to) override {
    EXPECT_FALSE(to.empty());
    if (left_ == 0 && !end_.ok()) return end_;
    const size_t size = std::min({to.size(), left_, size_t{50'000}});
    std::fill_n(to.data(), size, static_cast<uint8_t>('x'));
    left_ -= size;
    return size;
  }

 private:
  size_t left_;
  const absl::Status end_;
  bool& destroyed_;
};

// `ours` is the sending end: a server's in one half of the tests, a client's in the other.
class InPartsTest : public testing::TestWithParam<Role> {
 protected:
  void Open() {
    server_ = std::make_unique<Server>(Server::Options{options_, {}});
    client_ = *Client::Create({options_, {.host = "h"}});
    pair_ = std::make_unique<StreamPair>(loop_.loop());
    const bool serving = GetParam() == Role::kServer;
    server_->Serve(pair_->TakeServer(), serving ? ours_ : theirs_);
    client_->Open(pair_->TakeClient(), serving ? theirs_ : ours_);
    loop_.RunUntilIdle();
    ASSERT_NE(ours_.connection, nullptr);
    ASSERT_NE(theirs_.connection, nullptr);
  }
  Connection& ours() { return *ours_.connection; }
  StreamPair::Wire& wire() {
    return GetParam() == Role::kServer ? pair_->to_client() : pair_->to_server();
  }
  std::string Received() {
    loop_.RunUntilIdle();
    return theirs_.Take();
  }
  std::unique_ptr<MessageSource> Source(size_t bytes, absl::Status end = absl::OkStatus()) {
    return std::make_unique<Xs>(bytes, std::move(end), source_destroyed_);
  }

  ConnectionOptions options_ = {.max_message_bytes = uint64_t{1} << 40};
  bool source_destroyed_ = false;
  End ours_, theirs_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<Client> client_;
  VirtualLoop loop_;
  std::unique_ptr<StreamPair> pair_;
};

TEST_P(InPartsTest, HeaderExample) {
  Open();
  Connection& connection = ours();
  MessageWriter log = connection.StartMessage(MessageType::kText);
  log.Write("compiling\n");
  if (log.Write("linking\n") == SendResult::kBlocked) {
    // go on in Handler::OnSendReady
  }
  log.Finish("done\n");
  EXPECT_EQ(Received(), "text:compiling\nlinking\ndone\n");
}

// ---- sending

TEST_P(InPartsTest, EachWriteIsAFragment) {
  Open();
  theirs_.connection->ReceiveInParts();
  MessageWriter writer = ours().StartMessage(MessageType::kBinary);
  EXPECT_EQ(writer.Write("one"), SendResult::kSent);
  EXPECT_EQ(writer.Write(""), SendResult::kSent);
  EXPECT_EQ(writer.Write("two"), SendResult::kSent);
  EXPECT_EQ(Received(), "b(one two");
  EXPECT_TRUE(writer.open());
  EXPECT_EQ(writer.Finish(), SendResult::kSent);
  EXPECT_EQ(Received(), ")");
  EXPECT_FALSE(writer.open());
  EXPECT_EQ(writer.Write("more"), SendResult::kRefused);
  EXPECT_EQ(writer.Finish(), SendResult::kRefused);
  EXPECT_EQ(Received(), "");
}

TEST_P(InPartsTest, AMessageMayBeFinishedAtOnce) {
  Open();
  ours().StartMessage(MessageType::kText).Finish("whole");
  ours().StartMessage(MessageType::kText).Finish();
  ours().SendText("next");
  EXPECT_EQ(Received(), "text:whole text: text:next");
}

TEST_P(InPartsTest, OtherMessagesWaitBehindItInTheirOrder) {
  Open();
  MessageWriter writer = ours().StartMessage(MessageType::kText);
  writer.Write("a");
  EXPECT_EQ(ours().SendText("b"), SendResult::kSent);
  EXPECT_EQ(ours().Send(PreparedMessage::Text("c")), SendResult::kSent);
  EXPECT_GT(ours().queued_bytes(), 0u);
  loop_.RunUntilIdle();
  EXPECT_GT(ours().queued_bytes(), 0u) << "they wait";
  EXPECT_EQ(Received(), "");
  writer.Write("A");
  writer.Finish();
  EXPECT_EQ(ours().SendBinary({}), SendResult::kSent);
  EXPECT_EQ(Received(), "text:aA text:b text:c binary:");
  EXPECT_EQ(ours().queued_bytes(), 0u);
}

TEST_P(InPartsTest, ControlFramesDoNotWait) {
  Open();
  MessageWriter writer = ours().StartMessage(MessageType::kText);
  writer.Write("a");
  ours().SendPing();
  theirs_.connection->SendPing();
  loop_.RunUntilIdle();
  EXPECT_EQ(ours_.Take(), "pong");
  EXPECT_EQ(Received(), "pong");
  writer.Finish("z");
  EXPECT_EQ(Received(), "text:az");
}

TEST_P(InPartsTest, SeveralAreSentInTheOrderInWhichTheyWereStarted) {
  Open();
  MessageWriter first = ours().StartMessage(MessageType::kText);
  MessageWriter second = ours().StartMessage(MessageType::kText);
  ours().SendText("between");
  MessageWriter third = ours().StartMessage(MessageType::kBinary);
  third.Write("3");
  second.Write("2");
  first.Write("1");
  third.Finish("c");
  EXPECT_EQ(Received(), "");
  first.Finish("a");
  EXPECT_EQ(Received(), "text:1a");
  second.Write("b");
  second.Finish();
  EXPECT_EQ(Received(), "text:2b text:between binary:3c");
}

TEST_P(InPartsTest, AWriterIsToldWhenThePeerDoesNotRead) {
  Open();
  ours().stream().SetLimits({/*high=*/100'000, /*low=*/10'000, /*hard=*/1'000'000});
  wire().set_capacity(1000);
  wire().Hold();
  MessageWriter writer = ours().StartMessage(MessageType::kBinary);
  EXPECT_EQ(writer.Write(std::string(50'000, 'x')), SendResult::kSent);
  EXPECT_EQ(writer.Write(std::string(60'000, 'x')), SendResult::kBlocked);
  EXPECT_EQ(ours_.Take(), "");
  wire().Release();
  loop_.RunUntilIdle();
  EXPECT_EQ(ours_.Take(), "ready");
  writer.Finish();
  EXPECT_EQ(Received(), "binary:110000");
}

TEST_P(InPartsTest, WhatWaitsIsBoundedByTheStreamsLimit) {
  Open();
  ours().stream().SetLimits({/*high=*/1000, /*low=*/500, /*hard=*/5000});
  MessageWriter writer = ours().StartMessage(MessageType::kBinary);
  writer.Write("x");
  loop_.RunUntilIdle();
  EXPECT_EQ(ours().SendText(std::string(900, 'b')), SendResult::kSent);
  EXPECT_EQ(ours().SendText(std::string(900, 'b')), SendResult::kBlocked);
  EXPECT_EQ(ours().SendText(std::string(4000, 'b')), SendResult::kRefused);
  loop_.RunUntilIdle();
  EXPECT_EQ(ours_.Take(), "close:1006");
  EXPECT_TRUE(absl::IsResourceExhausted(ours_.status));
  EXPECT_THAT(ours_.status.message(), HasSubstr("pass the limit of 5000"));
  EXPECT_EQ(writer.Write("y"), SendResult::kRefused);
}

TEST_P(InPartsTest, WhoWasBlockedByWhatWaitsIsToldWhenItHasLeft) {
  Open();
  ours().stream().SetLimits({/*high=*/1000, /*low=*/500, /*hard=*/50'000});
  MessageWriter first = ours().StartMessage(MessageType::kBinary);
  MessageWriter second = ours().StartMessage(MessageType::kBinary);
  EXPECT_EQ(second.Write(std::string(2000, 'b')), SendResult::kBlocked);
  loop_.RunUntilIdle();
  EXPECT_EQ(ours_.Take(), "");
  first.Finish("a");
  loop_.RunUntilIdle();
  EXPECT_EQ(ours_.Take(), "ready");
  second.Finish();
  EXPECT_EQ(Received(), "binary:a binary:2000");
  EXPECT_EQ(ours_.Take(), "") << "once";
}

TEST_P(InPartsTest, AMessageThatIsGivenUpClosesTheConnection) {
  Open();
  { ours().StartMessage(MessageType::kText).Write("half"); }
  EXPECT_EQ(Received(), "close:1011");
  EXPECT_EQ(ours_.Take(), "close:1011");
}

TEST_P(InPartsTest, OneOfWhichNothingHasLeftIsTakenBack) {
  Open();
  { MessageWriter nothing = ours().StartMessage(MessageType::kText); }
  ours().SendText("a");
  MessageWriter first = ours().StartMessage(MessageType::kText);
  first.Write("b");
  {
    MessageWriter behind = ours().StartMessage(MessageType::kText);
    behind.Write("never seen");
  }
  ours().SendText("c");
  first.Finish();
  EXPECT_EQ(Received(), "text:a text:b text:c");
  EXPECT_EQ(ours().queued_bytes(), 0u);
}

TEST_P(InPartsTest, AfterATakenBackMessageOthersAreSentBeforeItsWaitersAreTold) {
  Open();
  ours().stream().SetLimits({/*high=*/1000, /*low=*/500, /*hard=*/50'000});
  {
    MessageWriter first = ours().StartMessage(MessageType::kText);
    MessageWriter second = ours().StartMessage(MessageType::kText);
    EXPECT_EQ(second.Write(std::string(2000, 'b')), SendResult::kBlocked);
  }
  ours().SendText("next");
  EXPECT_EQ(Received(), "text:next");
  EXPECT_EQ(ours_.Take(), "ready");
}

TEST_P(InPartsTest, AWriterMayBeMovedAndOutliveItsConnection) {
  Open();
  MessageWriter writer;
  EXPECT_FALSE(writer.open());
  EXPECT_EQ(writer.Write("x"), SendResult::kRefused);
  writer = ours().StartMessage(MessageType::kText);
  MessageWriter moved = std::move(writer);
  moved.Write("a");
  ours().Abort(absl::AbortedError("enough"));
  EXPECT_FALSE(moved.open());
  loop_.RunUntilIdle();
  EXPECT_EQ(ours_.Take(), "close:1006");
  EXPECT_EQ(moved.Write("b"), SendResult::kRefused);
}

TEST_P(InPartsTest, CloseCutsItOff) {
  Open();
  theirs_.connection->ReceiveInParts();
  MessageWriter writer = ours().StartMessage(MessageType::kText);
  writer.Write("a");
  ours().SendText("waits");
  ours().Close(CloseCode::kNormal);
  EXPECT_EQ(writer.Write("b"), SendResult::kRefused);
  EXPECT_EQ(ours().StartMessage(MessageType::kText).Finish("c"), SendResult::kRefused);
  EXPECT_EQ(ours().SendFrom(MessageType::kText, Source(1)), SendResult::kRefused);
  EXPECT_EQ(Received(), "t(a close:1000");
}

// ---- from a source

TEST_P(InPartsTest, ASourceIsReadToItsEnd) {
  Open();
  for (size_t size : {0, 1, 125, 126, 50'000, 50'001, 1'000'000}) {
    source_destroyed_ = false;
    EXPECT_EQ(ours().SendFrom(MessageType::kBinary, Source(size)), SendResult::kSent);
    EXPECT_EQ(Received(), absl::StrCat("binary:", Short(std::string(size, 'x'))));
    EXPECT_TRUE(source_destroyed_);
  }
}

TEST_P(InPartsTest, ASourceIsReadNoFasterThanThePeerTakesIt) {
  Open();
  wire().set_capacity(10'000);
  wire().Hold();
  ours().SendFrom(MessageType::kBinary, Source(50'000'000));
  loop_.RunUntilIdle();
  const StreamLimits limits = ours().stream().limits();
  EXPECT_LE(ours().queued_bytes(), limits.high + 128 * 1024);
  wire().Release();
  EXPECT_EQ(Received(), "binary:50000000");
  EXPECT_EQ(ours_.Take(), "") << "nobody was told to wait";
}

TEST_P(InPartsTest, MessagesWaitBehindASource) {
  Open();
  ours().SendFrom(MessageType::kBinary, Source(300'000));
  ours().SendText("a");
  ours().SendFrom(MessageType::kText, Source(60'000));
  MessageWriter writer = ours().StartMessage(MessageType::kText);
  writer.Finish("b");
  EXPECT_EQ(Received(), "binary:300000 text:a text:60000 text:b");
}

TEST_P(InPartsTest, ASourceThatFailsClosesTheConnection) {
  Open();
  ours().SendFrom(MessageType::kBinary, Source(100'000, absl::DataLossError("a bad sector")));
  EXPECT_EQ(Received(), "close:1011");
  EXPECT_EQ(ours_.Take(), "close:1011");
  EXPECT_EQ(ours_.status, absl::DataLossError("a bad sector"));
  EXPECT_TRUE(source_destroyed_);
}

TEST_P(InPartsTest, ASourceGoesWithItsConnection) {
  Open();
  wire().Hold();
  ours().SendFrom(MessageType::kBinary, Source(10'000'000));
  loop_.RunUntilIdle();
  EXPECT_FALSE(source_destroyed_);
  pair_->Break();
  loop_.RunUntilIdle();
  EXPECT_TRUE(source_destroyed_);
}

class File {
 public:
  explicit File(absl::string_view content) {
    std::string path = absl::StrCat(std::getenv("TEST_TMPDIR"), "/source.XXXXXX");
    descriptor_ = mkstemp(path.data());
    EXPECT_GE(descriptor_, 0);
    unlink(path.c_str());
    EXPECT_EQ(write(descriptor_, content.data(), content.size()), content.size());
  }
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

TEST_P(InPartsTest, AFileIsSentAsAMessage) {
  Open();
  std::string content;
  for (int i = 0; content.size() < 200'000; ++i) absl::StrAppend(&content, i, " ");
  std::string got;
  theirs_.connection->ReceiveInParts();
  theirs_.on_part = [&](Connection&, const MessagePart& part) {
    got.append(reinterpret_cast<const char*>(part.payload.data()), part.payload.size());
    if (part.last) got += "|";
  };
  const File whole(content), middle(content);
  ours().SendFrom(MessageType::kText, FileSource::Take(whole.descriptor()));
  ours().SendFrom(MessageType::kText, FileSource::Take(middle.descriptor(), 1000, 70'000));
  loop_.RunUntilIdle();
  EXPECT_EQ(got, absl::StrCat(content, "|", content.substr(1000, 70'000), "|"));
  EXPECT_EQ(fcntl(whole.descriptor(), F_GETFD), -1) << "it is closed";
}

TEST_P(InPartsTest, AFileThatIsShorterThanWasSaidIsAnError) {
  Open();
  ours().SendFrom(MessageType::kText, FileSource::Take(File("0123456789").descriptor(), 5, 6));
  EXPECT_EQ(Received(), "close:1011");
  loop_.RunUntilIdle();
  EXPECT_TRUE(absl::IsOutOfRange(ours_.status)) << ours_.status;
  EXPECT_THAT(ours_.status.message(), HasSubstr("ends at byte 10, 1 bytes too early"));
}

// ---- receiving

TEST_P(InPartsTest, PartsComeAsTheyArrive) {
  Open();
  theirs_.connection->ReceiveInParts();
  wire().set_max_chunk(1000);
  ours().SendText(std::string(2500, 'x'));
  ours().SendText("short");
  const std::string words = Received();
  EXPECT_THAT(words, testing::StartsWith("t("));
  EXPECT_THAT(words, HasSubstr(" 1000 "));
  EXPECT_THAT(words, testing::EndsWith(") t(short)"));
  theirs_.connection->ReceiveInParts(false);
  ours().SendText(std::string(2500, 'x'));
  EXPECT_EQ(Received(), "text:2500");
}

TEST_P(InPartsTest, ReceivingMayBePausedWithinAMessage) {
  Open();
  theirs_.connection->ReceiveInParts();
  MessageWriter writer = ours().StartMessage(MessageType::kText);
  theirs_.on_part = [&](Connection& c, const MessagePart& part) {
    theirs_.words.push_back(absl::StrCat(part.payload.size()));
    c.PauseReceiving();
  };
  writer.Write("a");
  writer.Write("bb");
  writer.Finish("ccc");
  EXPECT_EQ(Received(), "1");
  theirs_.connection->ResumeReceiving();
  EXPECT_EQ(Received(), "2");
  theirs_.connection->ResumeReceiving();
  EXPECT_EQ(Received(), "3");
}

TEST_P(InPartsTest, TheLimitHoldsForMessagesInParts) {
  options_.max_message_bytes = 100;
  Open();
  theirs_.connection->ReceiveInParts();
  MessageWriter writer = ours().StartMessage(MessageType::kText);
  writer.Write(std::string(60, 'x'));
  writer.Write(std::string(60, 'x'));
  EXPECT_EQ(Received(), "t(60 close:1009");
  EXPECT_TRUE(absl::IsResourceExhausted(theirs_.status));
}

// An echo in parts, of a message that is many times larger than what both ends may keep.
TEST_P(InPartsTest, AHugeMessageIsEchoedInLittleMemory) {
  constexpr size_t kMessageBytes = size_t{1} << 30;
  Open();
  MessageWriter echo;
  theirs_.connection->ReceiveInParts();
  theirs_.on_part = [&](Connection& c, const MessagePart& part) {
    if (part.first) echo = c.StartMessage(MessageType::kBinary);
    const SendResult result = part.last ? echo.Finish(part.payload) : echo.Write(part.payload);
    if (result == SendResult::kBlocked) c.PauseReceiving();
  };
  theirs_.on_ready = [](Connection& c) { c.ResumeReceiving(); };

  const int64_t before = ::sluice::internal::CountAllocations().live_bytes;
  int64_t most = 0;
  size_t got = 0;
  bool whole = false;
  ours().ReceiveInParts();
  ours_.on_part = [&](Connection&, const MessagePart& part) {
    got += part.payload.size();
    whole = part.last;
    most = std::max(most, ::sluice::internal::CountAllocations().live_bytes - before);
  };
  ours().SendFrom(MessageType::kBinary, Source(kMessageBytes));
  loop_.RunUntilIdle();
  EXPECT_EQ(got, kMessageBytes);
  EXPECT_TRUE(whole);
  EXPECT_LT(most, 4 << 20);
}

TEST_P(InPartsTest, WhoBecomesTheFirstKeepsItsOrder) {
  Open();
  MessageWriter first = ours().StartMessage(MessageType::kText);
  MessageWriter second = ours().StartMessage(MessageType::kText);
  second.Write("a");
  { MessageWriter gone = std::move(first); }
  second.Write("b");
  second.Finish("c");
  EXPECT_EQ(Received(), "text:abc");
}

TEST_P(InPartsTest, SeveralMayBeTakenBack) {
  Open();
  {
    MessageWriter first = ours().StartMessage(MessageType::kText);
    MessageWriter second = ours().StartMessage(MessageType::kText);
    second.Write("a");
    { MessageWriter gone = std::move(first); }
  }
  ours().SendText("next");
  EXPECT_EQ(Received(), "text:next");
}

TEST_P(InPartsTest, AWriterIsToldThoughOthersWaitBehindIt) {
  Open();
  ours().stream().SetLimits({/*high=*/100'000, /*low=*/10'000, /*hard=*/1'000'000});
  wire().set_capacity(1000);
  wire().Hold();
  MessageWriter writer = ours().StartMessage(MessageType::kBinary);
  EXPECT_EQ(ours().SendBinary(std::vector<uint8_t>(20'000)), SendResult::kSent);
  EXPECT_EQ(writer.Write(std::string(110'000, 'x')), SendResult::kBlocked);
  wire().Release();
  loop_.RunUntilIdle();
  EXPECT_EQ(ours().stream().queued_bytes(), 0u);
  EXPECT_FALSE(ours().blocked());
  EXPECT_EQ(ours_.Take(), "ready");
}

TEST_P(InPartsTest, WhoIsBlockedByNothingThatWaitsIsNotTold) {
  Open();
  ours().stream().SetLimits({/*high=*/100'000, /*low=*/10'000, /*hard=*/1'000'000});
  wire().set_capacity(1000);
  wire().Hold();
  MessageWriter writer = ours().StartMessage(MessageType::kBinary);
  EXPECT_EQ(writer.Write(std::string(95'000, 'x')), SendResult::kSent);
  EXPECT_EQ(ours().SendBinary(std::vector<uint8_t>(8'000)), SendResult::kSent);
  wire().Release();
  loop_.RunUntilIdle();
  EXPECT_EQ(ours().queued_bytes(), 8'004u + (GetParam() == Role::kClient ? 4 : 0));
  EXPECT_FALSE(ours().blocked());
}

TEST_P(InPartsTest, AWriterIsNotOpenAfterThePeersClose) {
  Open();
  MessageWriter writer = ours().StartMessage(MessageType::kText);
  writer.Write("a");
  loop_.RunUntilIdle();
  wire().Hold();
  theirs_.connection->Close();
  loop_.RunUntilIdle();
  EXPECT_FALSE(writer.open());
}

// Closes the connection when it goes.
class Closer final : public MessageSource {
 public:
  explicit Closer(Connection& c) : c_(c) {}
  ~Closer() override { c_.Close(); }
  absl::StatusOr<size_t> Read(absl::Span<uint8_t>) override { return 0; }
  Connection& c_;
};

TEST_P(InPartsTest, ASourceMayCloseWhenItGoes) {
  Open();
  ours().SendFrom(MessageType::kText, std::make_unique<Closer>(ours()));
  ours().SendText("x");
  EXPECT_EQ(Received(), "text: text:x close:1000");
}

TEST_P(InPartsTest, SmallMessagesThatWaitTakeLittleMemory) {
  Open();
  MessageWriter writer = ours().StartMessage(MessageType::kText);
  const auto before = ::sluice::internal::CountAllocations().live_bytes;
  for (int i = 0; i < 10'000; ++i) ours().SendText("a");
  EXPECT_LT(::sluice::internal::CountAllocations().live_bytes - before, 150'000)
      << ours().queued_bytes();
  writer.Finish();
}

TEST_P(InPartsTest, WhatWasAcceptedIsSentThoughTheStreamIsFull) {
  Open();
  ours().stream().SetLimits({/*high=*/20'000, /*low=*/1'000, /*hard=*/50'000});
  wire().set_capacity(0);
  wire().Hold();
  MessageWriter writer = ours().StartMessage(MessageType::kBinary);
  EXPECT_EQ(ours().SendBinary(std::vector<uint8_t>(45'000)), SendResult::kBlocked);
  EXPECT_EQ(writer.Write(std::string(30'000, 'x')), SendResult::kBlocked);
  EXPECT_EQ(writer.Finish(), SendResult::kBlocked);
  loop_.RunUntilIdle();
  EXPECT_EQ(ours_.Take(), "");
  wire().set_capacity(200'000);
  wire().Release();
  EXPECT_EQ(Received(), "binary:30000 binary:45000");
}

INSTANTIATE_TEST_SUITE_P(From, InPartsTest, testing::Values(Role::kServer, Role::kClient),
                         [](const auto& role) {
                           return role.param == Role::kServer ? "Server" : "Client";
                         });

}  // namespace
}  // namespace sluice::websocket
