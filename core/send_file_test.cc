// What Stream::SendFile promises, asked of every transport: TCP and Unix sockets over each engine,
// the simulated network, and Streams joined in memory. (Over TLS: tls/send_file_test.cc. What the
// system's calls may do: system_fault_test.cc.)
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <optional>
#include <ostream>
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
#include "sluice/core/buffer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/file_for_tests.h"
#include "sluice/core/internal/tcp_stream.h"
#include "sluice/core/kqueue_poller.h"
#include "sluice/core/poller.h"
#include "sluice/core/poller_factory.h"
#include "sluice/core/simulation.h"
#include "sluice/core/slice.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/core/tcp.h"
#include "sluice/core/tcp_testing.h"

namespace sluice {
namespace {

using test::FileForTests;
using test::Pattern;
using testing::HasSubstr;

constexpr size_t kLarge = 2'000'000;

// Two ends of a connection, and what they live on.
class Connection {
 public:
  virtual ~Connection() = default;
  virtual EventLoop& loop() = 0;
  bool Until(absl::FunctionRef<bool()> done) { return test::Until(loop(), done); }

  test::End& client() { return ends_->client; }
  test::End& server() { return ends_->server; }
  bool closed() const { return ends_->client.recorder.closed && ends_->server.recorder.closed; }

 protected:
  struct Ends {
    test::End client;
    test::End server;
  };
  // Little is under way, so that a peer that does not read is soon felt.
  void Join(const SocketAddress& address) {
    Listener::Options listen;
    Connector::Options connect;
    listen.listen.socket.receive_buffer_bytes = connect.socket.send_buffer_bytes = 1;
    test::Pair pair(loop(), listen, connect, address);
    Join(std::move(pair.client.stream), std::move(pair.server.stream));
  }
  void Join(std::unique_ptr<Stream> client, std::unique_ptr<Stream> server) {
    ends_ = std::make_unique<Ends>();
    ends_->client.stream = std::move(client);
    ends_->server.stream = std::move(server);
    ends_->client.stream->SetHandler(ends_->client.recorder);
    ends_->server.stream->SetHandler(ends_->server.recorder);
  }
  // Before the loop goes.
  void Part() { ends_ = nullptr; }

 private:
  std::unique_ptr<Ends> ends_;
};

class SocketConnection final : public Connection {
 public:
  SocketConnection(std::unique_ptr<Poller> poller, bool is_unix) : loop_(std::move(poller)) {
    Join(is_unix ? directory_.Socket("s") : SocketAddress::Ipv4Loopback(0));
  }
  ~SocketConnection() override { Part(); }
  EventLoop& loop() override { return loop_; }

 private:
  test::ShortTempDir directory_;
  EventLoop loop_;
};

class SimulatedConnection final : public Connection {
 public:
  SimulatedConnection() { Join(SocketAddress::Ipv4Loopback(0)); }
  ~SimulatedConnection() override { Part(); }
  EventLoop& loop() override { return host_.loop(); }

 private:
  SimulatedNetwork network_{1, {.host = {.short_send = 0.1, .receive_buffer_bytes = 16 * 1024}}};
  SimulatedHost& host_ = network_.AddHost("host");
};

class MemoryConnection final : public Connection {
 public:
  MemoryConnection() : pair_(loop_.loop()) {
    pair_.to_server().set_capacity(16 * 1024);
    Join(pair_.TakeClient(), pair_.TakeServer());
  }
  ~MemoryConnection() override { Part(); }
  EventLoop& loop() override { return loop_.loop(); }

 private:
  VirtualLoop loop_;
  StreamPair pair_;
};

struct Transport {
  const char* name;
  std::function<absl::StatusOr<std::unique_ptr<Connection>>()> connect;
};

void PrintTo(const Transport& transport, std::ostream* out) { *out << transport.name; }

Transport Socket(const char* name, bool is_unix,
                 std::function<absl::StatusOr<std::unique_ptr<Poller>>()> make) {
  return {name, [=]() -> absl::StatusOr<std::unique_ptr<Connection>> {
            absl::StatusOr<std::unique_ptr<Poller>> poller = make();
            if (!poller.ok()) return poller.status();
            return std::make_unique<SocketConnection>(*std::move(poller), is_unix);
          }};
}

std::vector<Transport> Transports() {
  const auto native = [] { return CreatePoller(PollerKind::kAuto); };
  const auto io_uring = [] { return CreatePoller(PollerKind::kIoUring); };
  return {
      Socket("Tcp", false, native),
      Socket("Unix", true, native),
      Socket("TcpOverIoUring", false, io_uring),
      Socket("UnixOverIoUring", true, io_uring),
      Socket("TcpOverKqueueShim", false, internal::MakeKqueuePollerOnShim),
      {"Simulated", [] { return std::make_unique<SimulatedConnection>(); }},
      {"Memory", [] { return std::make_unique<MemoryConnection>(); }},
  };
}

// How many descriptors this process has.
int Descriptors() {
  DIR* const directory = opendir("/proc/self/fd");
  int count = 0;
  while (readdir(directory) != nullptr) ++count;
  closedir(directory);
  return count;
}

class SendFileTest : public testing::TestWithParam<Transport> {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<Connection>> connection = GetParam().connect();
    if (absl::IsUnimplemented(connection.status()) || absl::IsPermissionDenied(connection.status()))
      GTEST_SKIP() << connection.status();
    ASSERT_TRUE(connection.ok()) << connection.status();
    connection_ = *std::move(connection);
  }

  Stream& client() { return *connection_->client().stream; }
  Stream& server() { return *connection_->server().stream; }
  test::Recorder& client_events() { return connection_->client().recorder; }
  test::Recorder& server_events() { return connection_->server().recorder; }
  const std::string& received() { return server_events().received; }
  bool Until(absl::FunctionRef<bool()> done) { return connection_->Until(done); }

  // The descriptor is closed at once, as a caller may.
  absl::StatusOr<SendResult> SendFile(const FileForTests& file, uint64_t offset, uint64_t length) {
    const int fd = file.Open(O_RDONLY);
    absl::StatusOr<SendResult> result = client().SendFile(fd, offset, length);
    close(fd);
    return result;
  }
  void SendWhole(const FileForTests& file) {
    const absl::StatusOr<SendResult> sent = SendFile(file, 0, file.size());
    ASSERT_TRUE(sent.ok()) << sent.status();
    EXPECT_NE(*sent, SendResult::kRefused);
  }

  // A client that has more of a file queued than its peer, which does not read, has room for.
  void SendToSilentServer(const FileForTests& file) {
    server().PauseReceiving();
    SendWhole(file);
    for (int turn = 0; turn < 10; ++turn) connection_->loop().RunOnce(absl::ZeroDuration());
    ASSERT_GT(client().queued_bytes(), 1'000'000u);
  }

  std::unique_ptr<Connection> connection_;
};

INSTANTIATE_TEST_SUITE_P(Transports, SendFileTest, testing::ValuesIn(Transports()),
                         [](const auto& transport) { return transport.param.name; });

// What arrives.

TEST_P(SendFileTest, FilesOfEachSizeArriveWhole) {
  std::string expected;
  for (const size_t size : std::vector<size_t>{0, 1, 7, 4'096, 65'536, 65'537, kLarge}) {
    SCOPED_TRACE(size);
    const FileForTests file(Pattern(expected.size(), size));
    SendWhole(file);
    expected += Pattern(expected.size(), size);
    ASSERT_TRUE(Until([&] { return received().size() >= expected.size(); }));
    ASSERT_TRUE(received() == expected);
    EXPECT_EQ(client().queued_bytes(), 0u);
  }
}

TEST_P(SendFileTest, APartIsWhatWasAskedFor) {
  const FileForTests file(Pattern(0, kLarge));
  const std::pair<size_t, size_t> kParts[] = {
      {0, 1}, {1, 0}, {kLarge - 1, 1}, {kLarge, 0}, {12'345, 1'000'000}, {4'096, 4'096}};
  std::string expected;
  for (const auto& [offset, length] : kParts) {
    const absl::StatusOr<SendResult> sent = SendFile(file, offset, length);
    ASSERT_TRUE(sent.ok()) << sent.status();
    expected += Pattern(offset, length);
  }
  ASSERT_TRUE(Until([&] { return received().size() >= expected.size(); }));
  EXPECT_TRUE(received() == expected);
}

TEST_P(SendFileTest, KeepsItsPlaceBetweenOtherSends) {
  const FileForTests small("<file>");
  const FileForTests large(Pattern(0, kLarge));
  client().Send("head ");
  SendWhole(small);
  client().Send(" middle ");
  client().Send(Slice::Copy(Pattern(0, 10'000)));
  SendWhole(large);
  SendWhole(small);
  client().SendControl(absl::MakeConstSpan(reinterpret_cast<const uint8_t*>("!"), 1));
  Buffer chain;
  chain.Append("tail");
  client().Send(std::move(chain));
  const std::string expected =
      absl::StrCat("head <file> middle ", Pattern(0, 10'000), Pattern(0, kLarge), "<file>!tail");
  EXPECT_LE(client().queued_bytes(), expected.size());
  ASSERT_TRUE(Until([&] { return received().size() >= expected.size(); }));
  EXPECT_TRUE(received() == expected);
}

// Lent bytes are gone when the callback returns, wherever in the queue they stand.
TEST_P(SendFileTest, LentBytesBeforeAndBehindAFileArrive) {
  const FileForTests file(Pattern(0, kLarge));
  client_events().on_receive = [&](Stream& stream, absl::Span<uint8_t> bytes) {
    stream.SendLent(bytes);
    SendWhole(file);
    stream.SendLent(bytes);
    SendWhole(file);
    stream.SendLent(bytes);
  };
  server().Send("echo");
  const std::string expected =
      absl::StrCat("echo", Pattern(0, kLarge), "echo", Pattern(0, kLarge), "echo");
  ASSERT_TRUE(Until([&] { return received().size() >= expected.size(); }));
  EXPECT_TRUE(received() == expected);
}

// What a Forwarder calls for bytes that another stream of the loop has received.
TEST(SendFileAndForwardTest, WhatAnotherStreamLendsIsKeptBehindAFile) {
  const std::unique_ptr<EventLoop> loop = test::NewLoop();
  const SocketOptions narrow = {.send_buffer_bytes = 1, .receive_buffer_bytes = 1};
  Listener::Options listen;
  listen.listen.socket = narrow;
  Connector::Options connect;
  connect.socket = narrow;
  test::Pair from(*loop), to(*loop, listen, connect);
  to.server.stream->PauseReceiving();
  const FileForTests file(Pattern(0, 100'000));
  from.server.recorder.on_receive = [&](Stream&, absl::Span<uint8_t> bytes) {
    if (from.server.recorder.receives != 1) return;
    ASSERT_TRUE(file.SendOn(*to.client.stream).ok());
    EXPECT_EQ(dynamic_cast<TcpStream&>(*to.client.stream).SendNow(bytes), SendResult::kBlocked);
  };
  from.client.stream->Send(std::string(1000, 'a'));
  ASSERT_TRUE(test::Until(*loop, [&] { return from.server.recorder.received.size() == 1000; }));
  from.client.stream->Send(std::string(1000, 'b'));
  ASSERT_TRUE(test::Until(*loop, [&] { return from.server.recorder.received.size() == 2000; }));
  to.server.stream->ResumeReceiving();
  ASSERT_TRUE(test::Until(*loop, [&] { return to.server.recorder.received.size() == 101'000; }));
  EXPECT_TRUE(to.server.recorder.received == Pattern(0, 100'000) + std::string(1000, 'a'));
}

TEST_P(SendFileTest, BothEndsMaySendOneFileAtOnce) {
  const FileForTests file(Pattern(0, kLarge));
  SendWhole(file);
  const int fd = file.Open(O_RDWR);
  ASSERT_TRUE(server().SendFile(fd, 0, kLarge).ok());
  EXPECT_EQ(lseek(fd, 0, SEEK_CUR), 0) << "the position plays no part";
  close(fd);
  ASSERT_TRUE(Until(
      [&] { return received().size() >= kLarge && client_events().received.size() >= kLarge; }));
  EXPECT_TRUE(received() == Pattern(0, kLarge));
  EXPECT_TRUE(client_events().received == Pattern(0, kLarge));
}

// Limits.

TEST_P(SendFileTest, IsBlockedByTheMarksButNotByTheHardLimit) {
  const FileForTests file(Pattern(0, kLarge));
  client().SetLimits({.high = 100'000, .low = 50'000, .hard = 200'000});
  server().PauseReceiving();
  absl::StatusOr<SendResult> sent = SendFile(file, 0, kLarge);
  ASSERT_TRUE(sent.ok()) << sent.status();
  EXPECT_EQ(*sent, SendResult::kBlocked);
  EXPECT_GT(client().queued_bytes(), 1'000'000u);
  EXPECT_EQ(client().Send("tail"), SendResult::kBlocked) << "the file is not in memory";
  EXPECT_EQ(client_events().readies, 0);
  client_events().on_send_ready = [](Stream& stream) { EXPECT_LE(stream.queued_bytes(), 50'000u); };
  server().ResumeReceiving();
  ASSERT_TRUE(Until([&] { return received().size() == kLarge + 4; }));
  ASSERT_TRUE(Until([&] { return client_events().readies == 1; }));
}

TEST_P(SendFileTest, BytesBeforeAndBehindFilesCountForTheHardLimit) {
  const FileForTests file(Pattern(0, kLarge));
  client().SetLimits({.high = 100'000, .low = 50'000, .hard = 200'000});
  SendToSilentServer(file);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(client().Send(Pattern(0, 60'000)), SendResult::kBlocked);
    SendWhole(file);
  }
  EXPECT_FALSE(client().closing());
  EXPECT_EQ(client().Send(Pattern(0, 60'000)), SendResult::kRefused);
  ASSERT_TRUE(Until([&] { return client_events().closed; }));
  EXPECT_EQ(client_events().close_status.code(), absl::StatusCode::kResourceExhausted);
}

TEST_P(SendFileTest, AWriterThatWaitsForOnSendReadySendsFileAfterFile) {
  const FileForTests file(Pattern(0, 400'000));
  int files = 0;
  const auto send = [&](Stream&) {
    absl::StatusOr<SendResult> sent = SendResult::kSent;
    while (files < 8 && sent.ok() && *sent == SendResult::kSent) {
      sent = SendFile(file, 0, file.size());
      ++files;
    }
    EXPECT_TRUE(sent.ok()) << sent.status();
  };
  client_events().on_send_ready = send;
  send(client());
  ASSERT_TRUE(Until([&] { return received().size() >= 8 * file.size(); }));
  EXPECT_EQ(received().size(), 8 * file.size());
}

TEST_P(SendFileTest, NoMoreThanSixtyFourFilesAreQueued) {
  const FileForTests file(Pattern(0, kLarge));
  SendToSilentServer(file);
  absl::StatusOr<SendResult> sent = SendResult::kSent;
  int queued = 1;
  for (; sent.ok() && queued < 1'000; ++queued) sent = SendFile(file, 0, 10);
  EXPECT_EQ(sent.status().code(), absl::StatusCode::kResourceExhausted) << sent.status();
  EXPECT_THAT(sent.status().message(), HasSubstr("64 files"));
  EXPECT_EQ(queued, 65 + 1 - 1);
  EXPECT_FALSE(client().closing());
  server().ResumeReceiving();
  ASSERT_TRUE(Until([&] { return received().size() == kLarge + 63 * 10; }));
}

// What is refused.

TEST_P(SendFileTest, WhatIsNoRegularFileIsRefusedAndNamed) {
  const FileForTests file("hello");
  int pipe_ends[2], sockets[2];
  ASSERT_EQ(pipe2(pipe_ends, O_CLOEXEC), 0);
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
  const struct {
    int fd;
    const char* what;
  } kCases[] = {{open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "a directory"},
                {open("/dev/null", O_RDONLY | O_CLOEXEC), "a device"},
                {pipe_ends[0], "a pipe"},
                {sockets[0], "a socket"},
                {file.Open(O_WRONLY), "open for writing only"},
                {file.Open(O_PATH), "open as a path only"},
                {-1, "not open"}};
  for (const auto& each : kCases) {
    SCOPED_TRACE(each.what);
    const absl::Status status = client().SendFile(each.fd, 0, 0).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(status.message(),
                HasSubstr(absl::StrCat("descriptor ", each.fd, " is ", each.what)));
    EXPECT_THAT(status.message(), HasSubstr("must be a regular file"));
    if (each.fd >= 0) close(each.fd);
  }
  close(pipe_ends[1]);
  close(sockets[1]);
  client().Send("lives on");
  ASSERT_TRUE(Until([&] { return received() == "lives on"; }));
}

TEST_P(SendFileTest, APartBeyondTheFileIsRefused) {
  const FileForTests file("hello");
  const std::pair<uint64_t, uint64_t> kParts[] = {
      {0, 6}, {5, 1}, {6, 0}, {UINT64_MAX, 1}, {1, UINT64_MAX}, {UINT64_MAX, UINT64_MAX}};
  for (const auto& [offset, length] : kParts) {
    const absl::Status status = SendFile(file, offset, length).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange) << status;
    EXPECT_THAT(status.message(), HasSubstr("end of a file of 5"));
  }
  SendWhole(file);
  ASSERT_TRUE(Until([&] { return received() == "hello"; }));
}

TEST_P(SendFileTest, AStreamThatEndsTakesNoFile) {
  const FileForTests file("hello");
  client().ShutdownSend();
  EXPECT_EQ(*SendFile(file, 0, 5), SendResult::kRefused);
  client().Close();
  EXPECT_EQ(*SendFile(file, 0, 5), SendResult::kRefused);
  ASSERT_TRUE(Until([&] { return connection_->closed(); }));
  EXPECT_EQ(*SendFile(file, 0, 5), SendResult::kRefused);
  EXPECT_EQ(received(), "");
}

// The end.

TEST_P(SendFileTest, CloseWaitsForTheFile) {
  const FileForTests file(Pattern(0, kLarge));
  SendToSilentServer(file);
  client().Send("tail");
  client().Close();
  server().ResumeReceiving();
  ASSERT_TRUE(Until([&] { return connection_->closed(); }));
  EXPECT_TRUE(received() == Pattern(0, kLarge) + "tail");
  EXPECT_TRUE(client_events().close_status.ok()) << client_events().close_status;
  EXPECT_EQ(client().queued_bytes(), 0u);
}

TEST_P(SendFileTest, AHalfCloseWaitsForTheFile) {
  const FileForTests file(Pattern(0, kLarge));
  server_events().on_receive_end = [&](Stream& stream) {
    EXPECT_TRUE(received() == Pattern(0, kLarge));
    stream.Send("bye");
    stream.Close();
  };
  SendWhole(file);
  client().ShutdownSend();
  ASSERT_TRUE(Until([&] { return connection_->closed(); }));
  EXPECT_EQ(client_events().received, "bye");
  EXPECT_TRUE(client_events().close_status.ok()) << client_events().close_status;
}

TEST_P(SendFileTest, AFileThatWasCutShortEndsTheStream) {
  const FileForTests file(Pattern(0, kLarge));
  SendToSilentServer(file);
  file.Truncate(1);
  server().ResumeReceiving();
  ASSERT_TRUE(Until([&] { return connection_->closed(); }));
  const absl::Status& status = client_events().close_status;
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(status.message(), HasSubstr("cut short"));
  // A Unix socket knows no reset.
  EXPECT_EQ(server_events().close_status.ok(),
            absl::string_view(GetParam().name).starts_with("Unix"))
      << "the peer is not told that this was all";
  EXPECT_GT(client().queued_bytes(), 0u);
}

// SIGPIPE's default ends the process.
TEST_P(SendFileTest, APeerThatHasGoneIsAnErrorAndNoSignal) {
  const FileForTests file(Pattern(0, kLarge));
  connection_->server().stream = nullptr;
  for (int i = 0; i < 3 && !client().closing(); ++i) {
    ASSERT_TRUE(SendFile(file, 0, kLarge).ok());
    connection_->loop().RunOnce(absl::ZeroDuration());
  }
  ASSERT_TRUE(Until([&] { return client_events().closed; }));
  EXPECT_EQ(client_events().close_status.code(), absl::StatusCode::kUnavailable)
      << client_events().close_status;
}

TEST_P(SendFileTest, APeerThatResetsInTheMiddleIsAnErrorAndNoSignal) {
  const FileForTests file(Pattern(0, kLarge));
  SendToSilentServer(file);
  server().Abort(absl::AbortedError("enough"));
  ASSERT_TRUE(Until([&] { return connection_->closed(); }));
  EXPECT_EQ(client_events().close_status.code(), absl::StatusCode::kUnavailable)
      << client_events().close_status;
  EXPECT_GT(client().queued_bytes(), 1'000'000u);
}

TEST_P(SendFileTest, EachWayToTheEndClosesTheDescriptors) {
  const FileForTests file(Pattern(0, kLarge));
  const std::function<void()> kWays[] = {[&] { connection_->client().stream = nullptr; },
                                         [&] { client().Abort(absl::AbortedError("enough")); },
                                         [&] { server().Abort(absl::AbortedError("enough")); },
                                         [&] {
                                           client().Close();
                                           server().ResumeReceiving();
                                         }};
  for (const auto& way : kWays) {
    connection_ = nullptr;
    connection_ = *GetParam().connect();
    server().PauseReceiving();
    const int before = Descriptors();
    for (int i = 0; i < 3; ++i) SendWhole(file);
    EXPECT_EQ(Descriptors(), before + 3);
    way();
    ASSERT_TRUE(
        Until([&] { return connection_->client().stream == nullptr || client_events().closed; }));
    EXPECT_LE(Descriptors(), before);
  }
}

TEST_P(SendFileTest, AStreamMayBeDestroyedWhenItSaysThatTheFileHasLeft) {
  const FileForTests file(Pattern(0, kLarge));
  client_events().on_send_ready = [&](Stream&) { connection_->client().stream = nullptr; };
  SendWhole(file);
  ASSERT_TRUE(Until([&] { return connection_->client().stream == nullptr; }));
  EXPECT_FALSE(client_events().closed);
  ASSERT_TRUE(Until([&] { return server_events().closed; }));
}

TEST_P(SendFileTest, HeaderExample) {
  const FileForTests file("<p>hello</p>");
  const std::string path = file.path();
  Stream& stream = client();
  const std::string head = "HTTP/1.1 200 OK\r\n\r\n";
  const size_t size = 12;

  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  stream.Send(head);
  absl::StatusOr<sluice::SendResult> sent = stream.SendFile(fd, 0, size);
  close(fd);  // the stream has its own
  if (!sent.ok()) stream.Abort(sent.status());

  ASSERT_TRUE(Until([&] { return received() == head + "<p>hello</p>"; }));
}

}  // namespace
}  // namespace sluice
