// Stream::SendFile over TLS: the file is read and encrypted as the queue drains. What it refuses is
// as everywhere, and in core/send_file_test.cc.
#include <dirent.h>
#include <fcntl.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/file_for_tests.h"
#include "sluice/core/internal/counting_new.h"
#include "sluice/core/simulation.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/core/tcp.h"
#include "sluice/tls/handshake_pair.h"
#include "sluice/tls/tls_stream.h"

namespace sluice::tls {
namespace {

using ::sluice::test::FileForTests;
using ::testing::HasSubstr;

constexpr size_t kLarge = 2'000'000;

std::string Bytes(size_t size) {
  std::string bytes(size, 0);
  uint32_t state = 1;
  for (char& byte : bytes) byte = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return bytes;
}

int Descriptors() {
  DIR* const directory = opendir("/proc/self/fd");
  int count = 0;
  while (readdir(directory) != nullptr) ++count;
  closedir(directory);
  return count;
}

class TlsSendFileTest : public HandshakePair {
 protected:
  static void Send(Stream& stream, const FileForTests& file) {
    const absl::StatusOr<SendResult> sent = file.SendOn(stream);
    ASSERT_TRUE(sent.ok()) << sent.status();
    EXPECT_NE(*sent, SendResult::kRefused);
  }
  Stream& client() { return at_client_->stream(); }
  Stream& server() { return at_server_->stream(); }

  // Nothing that the client sends arrives, until it is released.
  void SendAndHold(const FileForTests& file) {
    pair_->to_server().Hold();
    Send(client(), file);
    loop_.RunUntilIdle();
  }
};

// A client's records are BoringSSL's, a server's our own.
TEST_F(TlsSendFileTest, FilesKeepTheirPlaceBetweenOtherSendsBothWays) {
  Start();
  std::string expected;
  for (const size_t size : {size_t{0}, size_t{1}, size_t{65'536}, kLarge}) {
    SCOPED_TRACE(size);
    const FileForTests file(Bytes(size));
    for (Stream* const stream : {&client(), &server()}) {
      stream->Send("head");
      Send(*stream, file);
      stream->Send("middle");
      Send(*stream, file);
      stream->Send("tail");
    }
    loop_.RunUntilIdle();
    expected = absl::StrCat("head", Bytes(size), "middle", Bytes(size), "tail");
    EXPECT_TRUE(at_server_->TakeReceived() == expected);
    EXPECT_TRUE(at_client_->TakeReceived() == expected);
    EXPECT_EQ(client().queued_bytes(), 0u);
  }
}

TEST_F(TlsSendFileTest, APartIsWhatWasAskedFor) {
  Start();
  const FileForTests file(Bytes(kLarge));
  const int fd = file.Open(O_RDONLY);
  ASSERT_TRUE(client().SendFile(fd, 1'000, 100'000).ok());
  ASSERT_TRUE(client().SendFile(fd, 0, 1).ok());
  close(fd);
  loop_.RunUntilIdle();
  EXPECT_TRUE(at_server_->received() == Bytes(kLarge).substr(1'000, 100'000) + Bytes(1));
}

TEST_F(TlsSendFileTest, HoldsNoMoreThanTheHighMarkInMemory) {
  Start();
  constexpr int64_t kWire = 256 * 1024;
  const FileForTests file(Bytes(4 * kLarge));
  const int64_t before = ::sluice::internal::CountAllocations().live_bytes;
  SendAndHold(file);
  EXPECT_GT(client().queued_bytes(), 3 * kLarge);
  EXPECT_LE(::sluice::internal::CountAllocations().live_bytes - before,
            kWire + StreamLimits().high);
  pair_->to_server().Release();
  loop_.RunUntilIdle();
  EXPECT_TRUE(at_server_->received() == Bytes(4 * kLarge));
}

TEST_F(TlsSendFileTest, IsBlockedByTheMarksButNotByTheHardLimit) {
  Start();
  const FileForTests file(Bytes(kLarge));
  client().SetLimits({.high = 100'000, .low = 50'000, .hard = 400'000});
  pair_->to_server().Hold();
  EXPECT_EQ(*file.SendOn(client()), SendResult::kBlocked);
  EXPECT_EQ(client().Send("tail"), SendResult::kBlocked);
  loop_.RunUntilIdle();
  EXPECT_EQ(at_client_->send_readies(), 0);
  pair_->to_server().Release();
  loop_.RunUntilIdle();
  EXPECT_EQ(at_client_->send_readies(), 1);
  EXPECT_EQ(at_server_->received().size(), kLarge + 4);
}

TEST_F(TlsSendFileTest, BytesBeforeAndBehindFilesCountForTheHardLimit) {
  Start();
  client().SetLimits({.high = 100'000, .low = 50'000, .hard = 400'000});
  const FileForTests file(Bytes(kLarge));
  SendAndHold(file);
  EXPECT_EQ(client().Send(Bytes(100'000)), SendResult::kBlocked);
  Send(client(), file);
  EXPECT_EQ(client().Send(Bytes(100'000)), SendResult::kBlocked);
  EXPECT_EQ(client().Send(Bytes(300'000)), SendResult::kRefused);
  loop_.RunUntilIdle();
  ASSERT_TRUE(at_client_->closed().has_value());
  EXPECT_EQ(at_client_->closed()->code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(TlsSendFileTest, ATurnSendsABoundedPartOfAFile) {
  Start();
  pair_->to_server().set_capacity(8 * kLarge);
  const FileForTests file(Bytes(kLarge));
  Send(client(), file);
  EXPECT_GT(client().queued_bytes(), kLarge / 2);
  client().Send("within a turn others do not add to it");
  EXPECT_GT(client().queued_bytes(), kLarge / 2);
  for (int turn = 0; turn < 3; ++turn) {
    const size_t before = client().queued_bytes();
    loop_.loop().RunOnce(absl::ZeroDuration());
    EXPECT_LT(before - client().queued_bytes(), 400'000u);
  }
  loop_.RunUntilIdle();
  EXPECT_EQ(client().queued_bytes(), 0u);
}

// The end.

TEST_F(TlsSendFileTest, CloseAndHalfCloseWaitForTheFile) {
  for (const bool half : {false, true}) {
    SCOPED_TRACE(half);
    pair_.emplace(loop_.loop());
    Start();
    const FileForTests file(Bytes(kLarge));
    SendAndHold(file);
    client().Send("tail");
    half ? client().ShutdownSend() : client().Close();
    EXPECT_EQ(*file.SendOn(client()), SendResult::kRefused);
    loop_.RunUntilIdle();
    EXPECT_FALSE(at_client_->closed().has_value());
    pair_->to_server().Release();
    loop_.RunUntilIdle();
    EXPECT_TRUE(at_server_->received() == Bytes(kLarge) + "tail");
    EXPECT_TRUE(at_server_->ended());
    EXPECT_EQ(at_client_->closed(), absl::OkStatus());
    EXPECT_EQ(at_server_->closed(), absl::OkStatus());
  }
}

TEST_F(TlsSendFileTest, ACloseWhoseFileDoesNotMoveEndsAfterTheLingerTimeout) {
  Start();
  const FileForTests file(Bytes(kLarge));
  client().SetLingerTimeout(absl::Seconds(3));
  SendAndHold(file);
  client().Close();
  loop_.Advance(absl::Seconds(2));
  EXPECT_FALSE(at_client_->closed().has_value());
  loop_.Advance(absl::Seconds(2));
  ASSERT_TRUE(at_client_->closed().has_value());
  EXPECT_EQ(at_client_->closed()->code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(Message(*at_client_->closed()), HasSubstr("bytes could not be sent within 3s"));
}

TEST_F(TlsSendFileTest, ALingerTimeoutThatIsSetWhileAFileIsWaitedForBeginsAtOnce) {
  Start();
  const FileForTests file(Bytes(kLarge));
  SendAndHold(file);
  client().Close();
  client().SetLingerTimeout(absl::Seconds(1));
  loop_.Advance(absl::Seconds(2));
  ASSERT_TRUE(at_client_->closed().has_value());
  EXPECT_THAT(Message(*at_client_->closed()), HasSubstr("bytes could not be sent within 1s"));
}

TEST_F(TlsSendFileTest, ACloseWhoseFileMovesMayTakeLonger) {
  Start();
  const FileForTests file(Bytes(kLarge));
  SendAndHold(file);
  client().Close();
  for (int i = 0; i < 4; ++i) {
    loop_.Advance(absl::Seconds(4));
    ASSERT_FALSE(at_client_->closed().has_value());
    const size_t before = client().queued_bytes();
    pair_->to_server().Release();
    while (client().queued_bytes() == before) loop_.loop().RunOnce(absl::ZeroDuration());
    pair_->to_server().Hold();
  }
  pair_->to_server().Release();
  loop_.RunUntilIdle();
  EXPECT_EQ(at_client_->closed(), absl::OkStatus());
  EXPECT_TRUE(at_server_->received() == Bytes(kLarge));
}

// 8 KiB each 2 s: the 64 KiB that the stream beneath holds when it is blocked take 16 s.
TEST_F(TlsSendFileTest, ASlowReaderIsNotTakenForOneThatHasStopped) {
  Start();
  const size_t kSize = 6 * 64 * 1024;  // so that as much is left there at the end
  pair_->to_server().set_capacity(8 * 1024);
  const FileForTests file(Bytes(kSize));
  SendAndHold(file);
  client().Close();
  for (int i = 0; i < 100 && !at_client_->closed().has_value(); ++i) {
    const size_t before = at_server_->received().size();
    pair_->to_server().Release();
    for (int turn = 0; turn < 4 && at_server_->received().size() < before + 6000; ++turn)
      loop_.loop().RunOnce(absl::ZeroDuration());
    pair_->to_server().Hold();
    loop_.Advance(absl::Seconds(2));
  }
  ASSERT_TRUE(at_client_->closed().has_value());
  EXPECT_EQ(*at_client_->closed(), absl::OkStatus());
  EXPECT_TRUE(at_server_->received() == Bytes(kSize));
}

// Over TCP, in a simulated network: the server's system takes 2 MB at once.
class TlsSendFileOverTcpTest : public TlsSendFileTest {
 protected:
  void StartOver(const SimulatedLink& link) {
    MakeContexts();
    network_.SetLink(host_, host_, link);
    Listener::Options listen;
    listen.listen.socket.send_buffer_bytes = 2'000'000;
    auto listener =
        Listener::Listen(host_.loop(), SocketAddress::Ipv4Loopback(0), listen,
                         [this](std::unique_ptr<Stream> stream) {
                           Accept(std::move(stream), server_context_, {},
                                  [this](StreamOr accepted) { server_ = std::move(accepted); });
                         });
    connector_.Connect((*listener)->address(), {},
                       [this](absl::StatusOr<std::unique_ptr<Stream>> stream) {
                         Connect(*std::move(stream), client_context_, "localhost", {},
                                 [this](StreamOr made) { client_ = std::move(made); });
                       });
    network_.RunFor(absl::Seconds(2));
    ASSERT_TRUE(server_.ok() && client_.ok()) << server_.status() << client_.status();
    at_server_.emplace(*std::move(server_));
    at_client_.emplace(*std::move(client_));
  }

  SimulatedNetwork network_{1};
  SimulatedHost& host_ = network_.AddHost("host");
  Connector connector_{host_.loop()};
};

// The system beneath says after 13 s each that it takes more.
TEST_F(TlsSendFileOverTcpTest, APeerBehindASlowNetworkIsNotCutOff) {
  StartOver({.bytes_per_second = 50'000});
  const FileForTests file(Bytes(5'000'000));
  Send(server(), file);
  server().Close();
  network_.RunFor(absl::Minutes(3));
  ASSERT_TRUE(at_server_->closed().has_value());
  EXPECT_EQ(*at_server_->closed(), absl::OkStatus());
  EXPECT_TRUE(at_client_->received() == Bytes(file.size()));
}

TEST_F(TlsSendFileOverTcpTest, WhatWaitsBehindAFileLeavesAsFastAsTheFileDoes) {
  StartOver({});
  const FileForTests file(Bytes(kLarge / 4)), end("end");
  Send(server(), file);
  server().Send(Bytes(kLarge));
  Send(server(), end);
  for (int turn = 0; turn < 4; ++turn) {
    const size_t before = server().queued_bytes();
    host_.loop().RunOnce(absl::ZeroDuration());
    EXPECT_GT(before - server().queued_bytes(), 200'000u);
    EXPECT_LT(before - server().queued_bytes(), 400'000u);
  }
  network_.RunFor(absl::Seconds(2));
  EXPECT_TRUE(at_client_->received() == absl::StrCat(Bytes(kLarge / 4), Bytes(kLarge), "end"));
}

TEST_F(TlsSendFileTest, AFileThatWasCutShortEndsTheStream) {
  const std::function<void()> kBefore[] = {[] {}, [this] { client().ShutdownSend(); },
                                           [this] { client().Close(); }};
  for (const auto& before : kBefore) {
    pair_.emplace(loop_.loop());
    Start();
    const FileForTests file(Bytes(kLarge));
    SendAndHold(file);
    before();
    file.Truncate(1);
    pair_->to_server().Release();
    loop_.RunUntilIdle();
    ASSERT_TRUE(at_client_->closed().has_value());
    EXPECT_EQ(at_client_->closed()->code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(Message(*at_client_->closed()), HasSubstr("cut short"));
    EXPECT_FALSE(at_server_->ended());
    EXPECT_FALSE(at_server_->closed()->ok());
    EXPECT_GT(client().queued_bytes(), 1'000'000u);
    EXPECT_LT(client().queued_bytes(), kLarge);
  }
}

TEST_F(TlsSendFileTest, EachWayToTheEndClosesTheDescriptors) {
  const FileForTests file(Bytes(kLarge));
  for (int way = 0; way < 4; ++way) {
    SCOPED_TRACE(way);
    pair_.emplace(loop_.loop());
    Start();
    const int before = Descriptors();
    SendAndHold(file);
    Send(client(), file);
    EXPECT_EQ(Descriptors(), before + 2);
    switch (way) {
      case 0:
        at_client_->Destroy();
        break;
      case 1:
        client().Abort(absl::AbortedError("enough"));
        break;
      case 2:
        pair_->Break();
        break;
      case 3:
        client().Close();
        client().Abort(absl::AbortedError("enough"));
        break;
    }
    loop_.RunUntilIdle();
    EXPECT_EQ(Descriptors(), before);
  }
}

TEST_F(TlsSendFileTest, WhatCannotBeSentIsRefusedAndTheStreamLivesOn) {
  Start();
  const FileForTests file("hello");
  const int directory = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  EXPECT_EQ(client().SendFile(directory, 0, 1).status().code(), absl::StatusCode::kInvalidArgument);
  close(directory);
  EXPECT_EQ(client().SendFile(-1, 0, 1).status().code(), absl::StatusCode::kInvalidArgument);
  const int fd = file.Open(O_RDONLY);
  EXPECT_EQ(client().SendFile(fd, 1, 5).status().code(), absl::StatusCode::kOutOfRange);
  close(fd);
  Send(client(), file);
  loop_.RunUntilIdle();
  EXPECT_EQ(at_server_->received(), "hello");
}

}  // namespace
}  // namespace sluice::tls
