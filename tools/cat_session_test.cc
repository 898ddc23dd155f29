#include "sluice/tools/cat_session.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/tools/echo_server.h"
#include "sluice/tools/frame_protocol.h"
#include "sluice/tools/protocol.h"
#include "sluice/tools/raw_protocol.h"
#include "sluice/tools/websocket_protocol.h"

namespace sluice::tools {
namespace {

using testing::HasSubstr;

struct Pipe {
  Pipe() { Open(); }
  ~Pipe() {
    CloseRead();
    CloseWrite();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void Open() { EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0); }
  void Reopen() {
    CloseRead();
    CloseWrite();
    Open();
  }
  int read_end() const { return ends[0]; }
  int write_end() const { return ends[1]; }
  void CloseRead() { Close(ends[0]); }
  void CloseWrite() { Close(ends[1]); }
  static void Close(int& descriptor) {
    if (descriptor >= 0) close(std::exchange(descriptor, -1));
  }

  int ends[2];
};

void WriteAll(int descriptor, absl::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(descriptor, text.data(), text.size());
    ASSERT_GT(written, 0);
    text.remove_prefix(static_cast<size_t>(written));
  }
}

std::string ReadAll(int descriptor) {
  std::string text;
  char piece[65536];
  for (ssize_t size; (size = read(descriptor, piece, sizeof(piece))) > 0;) {
    text.append(piece, static_cast<size_t>(size));
  }
  return text;
}

// Speaks plain bytes: greets, and does to the connection what it is told.
class Greeter final : public Protocol {
 public:
  using AfterGreeting = void (*)(Stream& stream);

  Greeter(std::string greeting, AfterGreeting after)
      : Protocol({.name = "greeter", .has_messages = false}),
        greeting_(std::move(greeting)),
        after_(after) {}

  absl::StatusOr<std::unique_ptr<EchoService>> NewEchoService(
      const ServerOptions& /*options*/) const override {
    return std::make_unique<Service>(*this);
  }
  absl::StatusOr<std::unique_ptr<ClientFactory>> NewClientFactory(
      const ClientOptions& /*options*/) const override {
    return absl::UnimplementedError("servers only");
  }

 private:
  class Service final : public EchoService, private StreamHandler {
   public:
    explicit Service(const Greeter& greeter) : greeter_(greeter) {}
    void Serve(std::unique_ptr<Stream> stream) override {
      Stream& served = *stream;
      Stream::Run(std::move(stream), *this);
      served.Send(greeter_.greeting_);
      greeter_.after_(served);
    }

   private:
    void OnReceive(Stream& /*stream*/, absl::Span<uint8_t> /*bytes*/) override {}
    const Greeter& greeter_;
  };

  const std::string greeting_;
  const AfterGreeting after_;
};

class CatSessionTest : public testing::Test {
 protected:
  // A session with a server of `protocol`, as a client of `as`.
  void Serve(const Protocol& protocol, const Protocol& as) {
    absl::StatusOr<std::unique_ptr<EchoServer>> started =
        EchoServer::Start({{.listen = SocketAddress::Ipv4Loopback(0)}, &protocol});
    ASSERT_TRUE(started.ok()) << started.status();
    server = *std::move(started);
    options.protocol = &as;
    options.dialer = std::make_shared<FixedDialer>(server->address());
    options.url.authority = server->address().ToString();
  }
  void Serve(const Protocol& protocol) { Serve(protocol, protocol); }

  // Runs the session in a thread of its own, which closes the output when it has ended.
  void Start() {
    options.input = input.read_end();
    options.output = output.write_end();
    running = std::thread([this] {
      std::unique_ptr<EventLoop> loop = *EventLoop::Create();
      status = CatSession(*loop, options).Run();
      output.CloseWrite();
    });
  }
  // All that it writes until it ends.
  std::string Finish() {
    std::string text = ReadAll(output.read_end());
    running.join();
    return text;
  }
  // Given all this input and its end.
  std::string Run(absl::string_view text) {
    Start();
    std::thread writing([&] {
      WriteAll(input.write_end(), text);
      input.CloseWrite();
    });
    std::string all = Finish();
    writing.join();
    return all;
  }

  const std::unique_ptr<Protocol> raw = RawProtocol();
  const std::unique_ptr<Protocol> frame = FrameProtocol();
  const std::unique_ptr<Protocol> websocket = WebSocketProtocol();
  std::unique_ptr<EchoServer> server;
  CatSession::Options options;
  Pipe input, output;
  std::thread running;
  absl::Status status;
};

TEST_F(CatSessionTest, PlainBytesComeBackAsTheyAre) {
  Serve(*raw);
  const std::string sent("line\n\x1b[2J no text \xff\0 and no end", 32);
  EXPECT_EQ(Run(sent), sent);
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(CatSessionTest, OnATerminalPlainBytesAreMadeSafe) {
  Serve(*raw);
  options.output_is_terminal = true;
  EXPECT_EQ(Run("line\n\x1b[2J \xff \xe4\xb8"), "line\n\\x1b[2J \\xff \\xe4\\xb8");
}

TEST_F(CatSessionTest, LinesBecomeMessages) {
  for (const Protocol* protocol : {frame.get(), websocket.get()}) {
    SCOPED_TRACE(protocol->name());
    input.Reopen();
    output.Reopen();
    Serve(*protocol);
    EXPECT_EQ(Run("one\n\nGrüße\nno text \xff\r\nlast"), "one\n\nGrüße\nno text \\xff\\r\nlast\n");
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(server->Stop(absl::Minutes(1)).messages, 5u);
  }
}

TEST_F(CatSessionTest, NoInputAtAllIsAGracefulEnd) {
  for (const Protocol* protocol : {raw.get(), frame.get(), websocket.get()}) {
    SCOPED_TRACE(protocol->name());
    input.Reopen();
    output.Reopen();
    Serve(*protocol);
    EXPECT_EQ(Run(""), "");
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(server->Stop(absl::Minutes(1)).errors, 0u);
  }
}

TEST_F(CatSessionTest, MegabytesPassThroughBothWays) {
  std::string lines;
  for (int i = 0; i < 100'000; ++i) absl::StrAppend(&lines, "this is line number ", i, "\n");
  for (const Protocol* protocol : {raw.get(), frame.get(), websocket.get()}) {
    SCOPED_TRACE(protocol->name());
    input.Reopen();
    output.Reopen();
    Serve(*protocol);
    EXPECT_TRUE(Run(lines) == lines);
    EXPECT_TRUE(status.ok()) << status;
  }
}

TEST_F(CatSessionTest, AnswersArriveWhileInputIsOpen) {
  Serve(*websocket);
  Start();
  for (const char* line : {"first\n", "second\n"}) {
    WriteAll(input.write_end(), line);
    char answer[16];
    const ssize_t size = read(output.read_end(), answer, sizeof(answer));
    ASSERT_GT(size, 0);
    EXPECT_EQ(absl::string_view(answer, static_cast<size_t>(size)), line);
  }
  input.CloseWrite();
  EXPECT_EQ(Finish(), "");
}

TEST_F(CatSessionTest, TheServersEndIsTheEnd) {
  const Greeter greeter("bye", [](Stream& stream) { stream.Close(); });
  Serve(greeter, *raw);
  Start();  // with an input that goes on
  EXPECT_EQ(Finish(), "bye");
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(CatSessionTest, AResetIsAnError) {
  const Greeter greeter("", [](Stream& stream) { stream.Abort(absl::CancelledError("test")); });
  Serve(greeter, *raw);
  Start();
  EXPECT_EQ(Finish(), "");
  EXPECT_FALSE(status.ok());
}

TEST_F(CatSessionTest, AServerThatIsNotOfTheProtocolIsAnError) {
  const Greeter greeter("\xff\xff\xff\xff", [](Stream& /*stream*/) {});
  Serve(greeter, *frame);
  Start();
  EXPECT_EQ(Finish(), "");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
}

TEST_F(CatSessionTest, ALineOverTheLimitIsAnError) {
  Serve(*frame);
  options.max_message_bytes = 10;
  EXPECT_EQ(Run("short\nlonger than that\n"), "");
  EXPECT_THAT(std::string(status.message()), HasSubstr("--max_message_bytes=10"));
}

TEST_F(CatSessionTest, NobodyThereIsAnError) {
  Serve(*raw);
  const std::string address = server->address().ToString();
  server.reset();
  EXPECT_EQ(Run(""), "");
  EXPECT_THAT(std::string(status.message()), HasSubstr(address));
}

TEST_F(CatSessionTest, OutputThatNobodyReadsIsAnError) {
  const sighandler_t before = signal(SIGPIPE, SIG_IGN);
  Serve(*raw);
  output.CloseRead();
  Start();
  WriteAll(input.write_end(), "x");
  running.join();
  EXPECT_THAT(std::string(status.message()), HasSubstr("cannot write to standard output"));
  signal(SIGPIPE, before);
}

TEST_F(CatSessionTest, InputThatCannotBeReadIsAnError) {
  Serve(*raw);
  input.CloseRead();
  input.ends[0] = open("/", O_RDONLY | O_CLOEXEC);
  Start();
  EXPECT_EQ(Finish(), "");
  EXPECT_THAT(std::string(status.message()), HasSubstr("cannot read standard input"));
}

// Nothing is read from the connection while output does not take it, and then all of it arrives.
TEST_F(CatSessionTest, OutputThatIsReadLateLosesNothing) {
  const std::string sent(8 << 20, 'x');
  const Greeter greeter(sent, [](Stream& stream) { stream.Close(); });
  Serve(greeter, *raw);
  Start();
  // Until the pipe is full.
  for (int waiting = 0; waiting < 60'000; std::this_thread::yield()) {
    ASSERT_EQ(ioctl(output.read_end(), FIONREAD, &waiting), 0);
  }
  EXPECT_TRUE(Finish() == sent);
  EXPECT_TRUE(status.ok()) << status;
}

}  // namespace
}  // namespace sluice::tools
