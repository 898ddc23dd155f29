#include "sluice/core/tcp.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"

namespace sluice {
namespace {

// Long enough never to be reached by a test that works.
constexpr absl::Duration kBound = absl::Seconds(60);

// Notes what happens to a stream, and does in each callback what the test wants.
struct Recorder : StreamHandler {
  void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override {
    received.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    Note("receive");
    if (on_receive) on_receive(stream, bytes);
  }
  void OnReceiveEnd(Stream& stream) override {
    Note("end");
    if (on_receive_end) return on_receive_end(stream);
    StreamHandler::OnReceiveEnd(stream);
  }
  void OnSendReady(Stream& stream) override {
    Note("ready");
    if (on_send_ready) on_send_ready(stream);
  }
  void OnDrain(Stream& stream) override {
    Note("drain");
    if (on_drain) return on_drain(stream);
    StreamHandler::OnDrain(stream);
  }
  void OnClose(Stream& stream, const absl::Status& status) override {
    Note("close");
    close_status = status;
    closed = true;
    if (on_close) on_close(stream, status);
  }

  // Consecutive events of one kind are one word.
  void Note(const char* event) {
    EXPECT_FALSE(closed) << event << " after close";
    if (events.empty() || events.back() != event) events.push_back(event);
  }
  std::string Events() const { return absl::StrJoin(events, " "); }

  std::function<void(Stream&, absl::Span<uint8_t>)> on_receive;
  std::function<void(Stream&)> on_receive_end, on_send_ready, on_drain;
  std::function<void(Stream&, const absl::Status&)> on_close;
  std::vector<std::string> events;
  std::string received;
  absl::Status close_status;
  bool closed = false;
};

// Short, unlike testing::TempDir(): a Unix socket's path has 107 bytes at most.
struct ShortTempDir {
  ShortTempDir() { EXPECT_NE(mkdtemp(path), nullptr); }
  ~ShortTempDir() { rmdir(path); }
  char path[32] = "/tmp/sluice_tcp_test_XXXXXX";
};

class TcpTest : public testing::TestWithParam<const char*> {
 protected:
  struct Side {
    std::unique_ptr<Stream> stream;
    Recorder recorder;
  };

  SocketAddress ListenAddress() {
    std::string text = GetParam();
    if (text == "unix") text = absl::StrCat("unix:", directory_.path, "/socket");
    absl::StatusOr<SocketAddress> address = SocketAddress::Parse(text);
    EXPECT_TRUE(address.ok()) << address.status();
    return *address;
  }

  void Listen(const Listener::Options& options = {}) {
    absl::StatusOr<std::unique_ptr<Listener>> listener =
        Listener::Listen(*loop_, ListenAddress(), options, [this](std::unique_ptr<Stream> stream) {
          server_.stream = std::move(stream);
          server_.stream->SetHandler(server_.recorder);
        });
    ASSERT_TRUE(listener.ok()) << listener.status();
    listener_ = *std::move(listener);
  }

  // Connects client_ with server_.
  void Connect(const Listener::Options& listen = {}, const Connector::Options& connect = {}) {
    Listen(listen);
    absl::Status status = absl::UnknownError("no answer");
    Connector connector(*loop_);
    connector.Connect(listener_->address(), connect,
                      [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
                        status = stream.status();
                        if (!stream.ok()) return;
                        client_.stream = *std::move(stream);
                        client_.stream->SetHandler(client_.recorder);
                      });
    ASSERT_TRUE(Until([&] { return client_.stream != nullptr && server_.stream != nullptr; }))
        << status;
  }

  bool Until(absl::FunctionRef<bool()> done) { return loop_->RunUntil(done, kBound); }
  bool UntilBothClosed() {
    return Until([&] { return client_.recorder.closed && server_.recorder.closed; });
  }

  ShortTempDir directory_;
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  std::unique_ptr<Listener> listener_;
  Side client_;
  Side server_;
};

std::string NameOf(const testing::TestParamInfo<const char*>& info) {
  constexpr const char* kNames[] = {"Ipv4", "Ipv6", "Unix"};
  return kNames[info.index];
}

INSTANTIATE_TEST_SUITE_P(Addresses, TcpTest, testing::Values("127.0.0.1:0", "[::1]:0", "unix"),
                         NameOf);

TEST_P(TcpTest, CarriesBytesBothWays) {
  Connect();
  client_.stream->Send("hello");
  server_.recorder.on_receive = [](Stream& stream, absl::Span<uint8_t> bytes) {
    stream.SendLent(bytes);
  };
  ASSERT_TRUE(Until([&] { return client_.recorder.received == "hello"; }));
  EXPECT_EQ(server_.recorder.received, "hello");
}

TEST_P(TcpTest, AClosedStreamEndsBothSidesWithOk) {
  Connect();
  client_.stream->Send("last words");
  client_.stream->Close();
  ASSERT_TRUE(UntilBothClosed());
  EXPECT_TRUE(client_.recorder.close_status.ok()) << client_.recorder.close_status;
  EXPECT_TRUE(server_.recorder.close_status.ok()) << server_.recorder.close_status;
  EXPECT_EQ(server_.recorder.received, "last words");
  EXPECT_EQ(server_.recorder.Events(), "receive end close");
  EXPECT_EQ(client_.recorder.Events(), "close");
}

// The linger timeout bounds how long we keep the stream, not what the system has taken over.
TEST_P(TcpTest, AClosedStreamWhosePeerReadsLateLosesNothing) {
  Connect();
  client_.stream->PauseReceiving();
  const std::string text(100'000, 'x');
  server_.stream->SetLingerTimeout(absl::Milliseconds(1));
  server_.stream->Send(text);
  server_.stream->Close();
  ASSERT_TRUE(Until([&] { return server_.recorder.closed; }));
  EXPECT_TRUE(server_.recorder.close_status.ok()) << server_.recorder.close_status;
  client_.stream->ResumeReceiving();
  ASSERT_TRUE(Until([&] { return client_.recorder.closed; }));
  EXPECT_EQ(client_.recorder.received.size(), text.size());
  EXPECT_TRUE(client_.recorder.close_status.ok()) << client_.recorder.close_status;
}

TEST_P(TcpTest, AnAbortedStreamLosesWhatIsQueuedAndSaysWhy) {
  Connect();
  client_.stream->Send("lost");
  client_.stream->Abort(absl::AbortedError("enough"));
  EXPECT_FALSE(client_.recorder.closed) << "no callback from inside a call";
  ASSERT_TRUE(UntilBothClosed());
  EXPECT_EQ(client_.recorder.close_status, absl::AbortedError("enough"));
  EXPECT_EQ(server_.recorder.received, "");
  if (listener_->address().is_ip()) {  // a Unix socket knows no reset
    EXPECT_EQ(server_.recorder.close_status.code(), absl::StatusCode::kUnavailable);
    EXPECT_NE(
        server_.recorder.close_status.message().find(server_.stream->peer_address().ToString()),
        absl::string_view::npos)
        << server_.recorder.close_status;
  }
}

TEST_P(TcpTest, HalfCloseLetsTheOtherHalfGoOn) {
  Connect();
  server_.recorder.on_receive_end = [](Stream& stream) {
    stream.Send("the answer");
    stream.ShutdownSend();
  };
  client_.stream->Send("the question");
  client_.stream->ShutdownSend();
  EXPECT_EQ(client_.stream->Send("too late"), SendResult::kRefused);
  ASSERT_TRUE(UntilBothClosed());
  EXPECT_EQ(server_.recorder.received, "the question");
  EXPECT_EQ(client_.recorder.received, "the answer");
  EXPECT_TRUE(client_.recorder.close_status.ok()) << client_.recorder.close_status;
  EXPECT_TRUE(server_.recorder.close_status.ok()) << server_.recorder.close_status;
}

TEST_P(TcpTest, AWriterIsToldOfBackPressureAndOfItsEnd) {
  Connect();
  server_.stream->PauseReceiving();
  const std::string piece(64 * 1024, 'x');
  size_t sent = 0;
  SendResult result = SendResult::kSent;
  // The system's buffers fill first, then the queue, up to its high mark.
  ASSERT_TRUE(Until([&] {
    result = client_.stream->Send(piece);
    sent += piece.size();
    return result != SendResult::kSent;
  }));
  EXPECT_EQ(result, SendResult::kBlocked);
  const StreamLimits limits;
  EXPECT_GT(client_.stream->queued_bytes(), limits.high);
  EXPECT_LE(client_.stream->queued_bytes(), limits.high + 2 * piece.size());
  EXPECT_EQ(client_.recorder.Events(), "");
  size_t queued_when_ready = SIZE_MAX;
  client_.recorder.on_send_ready = [&](Stream& stream) {
    queued_when_ready = stream.queued_bytes();
  };
  server_.stream->ResumeReceiving();
  ASSERT_TRUE(Until([&] { return queued_when_ready != SIZE_MAX; }));
  EXPECT_LE(queued_when_ready, limits.low);
  ASSERT_TRUE(Until([&] { return server_.recorder.received.size() == sent; }));
  EXPECT_EQ(client_.recorder.Events(), "ready");
}

TEST_P(TcpTest, PastTheHardLimitTheStreamEndsAndMemoryWasBounded) {
  Listener::Options options;
  options.stream.limits = {.high = 1000, .low = 100, .hard = 200'000};
  Connect(options);
  client_.stream->PauseReceiving();
  const std::string piece(10'000, 'x');
  size_t most = 0;
  ASSERT_TRUE(Until([&] {
    const SendResult result = server_.stream->Send(piece);
    most = std::max(most, server_.stream->queued_bytes());
    return result == SendResult::kRefused;
  }));
  EXPECT_LE(most, options.stream.limits.hard);
  EXPECT_EQ(server_.stream->Send("more"), SendResult::kRefused);
  ASSERT_TRUE(Until([&] { return server_.recorder.closed; }));
  EXPECT_EQ(server_.recorder.close_status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(server_.recorder.close_status.message().find("200000"), absl::string_view::npos)
      << server_.recorder.close_status;
}

TEST_P(TcpTest, ReceivesStraightIntoStorage) {
  Connect();
  std::vector<uint8_t> storage(10);
  server_.stream->ReceiveInto(absl::MakeSpan(storage));
  std::vector<const uint8_t*> places;
  server_.recorder.on_receive = [&](Stream&, absl::Span<uint8_t> bytes) {
    places.push_back(bytes.data());
  };
  client_.stream->Send("0123");
  ASSERT_TRUE(Until([&] { return server_.recorder.received.size() == 4; }));
  client_.stream->Send("456789and the rest");
  ASSERT_TRUE(Until([&] { return server_.recorder.received.size() == 22; }));
  EXPECT_EQ(std::string(storage.begin(), storage.end()), "0123456789");
  EXPECT_EQ(server_.recorder.received, "0123456789and the rest");
  ASSERT_GE(places.size(), 3u);
  EXPECT_EQ(places[0], storage.data());
  EXPECT_EQ(places[1], storage.data() + 4);
}

TEST_P(TcpTest, EachCallbackMayDestroyTheStream) {
  for (const char* where : {"receive", "end", "ready", "drain", "close"}) {
    SCOPED_TRACE(where);
    server_ = Side();
    client_ = Side();
    listener_ = nullptr;
    Connect();
    auto destroy = [&](Stream&) { server_.stream = nullptr; };
    server_.recorder.on_receive = [&](Stream& stream, absl::Span<uint8_t>) {
      if (absl::string_view(where) == "receive") destroy(stream);
    };
    server_.recorder.on_receive_end = destroy;
    server_.recorder.on_send_ready = destroy;
    server_.recorder.on_drain = destroy;
    server_.recorder.on_close = [&](Stream& stream, const absl::Status&) { destroy(stream); };
    if (absl::string_view(where) == "receive") client_.stream->Send("x");
    if (absl::string_view(where) == "end") client_.stream->Close();
    if (absl::string_view(where) == "close") server_.stream->Abort(absl::AbortedError("x"));
    if (absl::string_view(where) == "drain") loop_->Drain(absl::Seconds(5), nullptr);
    if (absl::string_view(where) == "ready") {
      const std::string piece(1 << 20, 'x');
      while (server_.stream->Send(piece) == SendResult::kSent) {
      }
    }
    ASSERT_TRUE(Until([&] { return server_.stream == nullptr; }));
    ASSERT_TRUE(Until([&] { return client_.recorder.closed; }));
    EXPECT_EQ(server_.recorder.events.back(), where);
  }
}

TEST_P(TcpTest, EachCallbackMayCloseTheStream) {
  for (const char* where : {"receive", "end", "drain"}) {
    SCOPED_TRACE(where);
    server_ = Side();
    client_ = Side();
    listener_ = nullptr;
    Connect();
    server_.recorder.on_receive = [&](Stream& stream, absl::Span<uint8_t>) {
      stream.Send("bye");
      stream.Close();
      EXPECT_TRUE(stream.closing());
      EXPECT_EQ(stream.Send("too late"), SendResult::kRefused);
    };
    if (absl::string_view(where) == "receive") client_.stream->Send("x");
    if (absl::string_view(where) == "end") client_.stream->ShutdownSend();
    if (absl::string_view(where) == "drain") loop_->Drain(absl::Seconds(5), nullptr);
    ASSERT_TRUE(UntilBothClosed());
    EXPECT_EQ(server_.recorder.Events(), absl::string_view(where) == "receive"
                                             ? "receive close"
                                             : absl::StrCat(where, " close"));
    if (absl::string_view(where) == "receive") {
      EXPECT_EQ(client_.recorder.received, "bye");
    }
    EXPECT_TRUE(server_.recorder.close_status.ok()) << server_.recorder.close_status;
  }
}

TEST_P(TcpTest, AListenerAtItsLimitLetsTheNextOneInWhenOneHasClosed) {
  Listener::Options options;
  options.max_connections = 1;
  Connect(options);
  Side second;
  Connector connector(*loop_);
  connector.Connect(listener_->address(), {}, [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
    ASSERT_TRUE(stream.ok());
    second.stream = *std::move(stream);
    second.stream->SetHandler(second.recorder);
  });
  ASSERT_TRUE(Until([&] { return second.stream != nullptr; }));
  EXPECT_EQ(listener_->counters().accepted, 1u);
  EXPECT_EQ(listener_->connections(), 1);
  client_.stream->Close();
  ASSERT_TRUE(Until([&] { return listener_->counters().accepted == 2; }));
  EXPECT_EQ(listener_->connections(), 1);
}

TEST_P(TcpTest, AnAddressInUseIsAnErrorThatNamesIt) {
  Listen();
  const absl::StatusOr<std::unique_ptr<Listener>> second =
      Listener::Listen(*loop_, listener_->address(), {}, [](std::unique_ptr<Stream>) {});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_NE(second.status().message().find(listener_->address().ToString()),
            absl::string_view::npos)
      << second.status();
}

TEST_P(TcpTest, AListenerThatMayAcceptNothingIsRefused) {
  Listen();
  for (const int max_connections : {0, -1}) {
    Listener::Options options;
    options.max_connections = max_connections;
    options.listen.reuse_port = ListenOptions::ReusePort::kJoin;
    const auto accept = [](std::unique_ptr<Stream>) {};
    for (const auto& listener :
         {Listener::Listen(*loop_, *SocketAddress::Parse("127.0.0.1:0"), options, accept).status(),
          Listener::ListenShared(*loop_, *listener_, options, accept).status()}) {
      EXPECT_EQ(listener.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_EQ(listener.message(), "listen: max_connections must be at least 1");
    }
  }
}

TEST_P(TcpTest, AStreamGivenToTheLoopLivesUntilItsEnd) {
  bool handler_destroyed = false;
  struct Given : StreamHandler {
    explicit Given(bool* flag) : destroyed(flag) {}
    ~Given() override { *destroyed = true; }
    void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override { stream.SendLent(bytes); }
    bool* destroyed;
  };
  Connect();
  client_.stream->Send("x");
  Stream::Run(std::move(server_.stream), std::make_unique<Given>(&handler_destroyed));
  ASSERT_TRUE(Until([&] { return client_.recorder.received == "x"; }));
  EXPECT_FALSE(handler_destroyed);
  client_.stream->Close();
  ASSERT_TRUE(Until([&] { return handler_destroyed; }));
}

TEST_P(TcpTest, StreamsThatOutliveTheirLoopAreTold) {
  Connect();
  listener_ = nullptr;
  loop_ = nullptr;
  EXPECT_EQ(client_.recorder.close_status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(server_.recorder.close_status.code(), absl::StatusCode::kCancelled);
}

TEST_P(TcpTest, AConnectThatIsRefusedNamesTheAddress) {
  Listen();
  const SocketAddress address = listener_->address();
  listener_ = nullptr;
  absl::Status status;
  Connector connector(*loop_);
  connector.Connect(address, {}, [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
    status = stream.status();
  });
  EXPECT_TRUE(status.ok()) << "no callback from inside a call";
  ASSERT_TRUE(Until([&] { return !status.ok(); }));
  EXPECT_NE(status.message().find(address.ToString()), absl::string_view::npos) << status;
  if (address.is_ip()) {
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  }
  EXPECT_FALSE(connector.connecting());
}

TEST_P(TcpTest, ACancelledConnectIsNotReported) {
  Listen();
  Connector connector(*loop_);
  connector.Connect(listener_->address(), {},
                    [](absl::StatusOr<std::unique_ptr<Stream>>) { FAIL(); });
  connector.Cancel();
  EXPECT_FALSE(connector.connecting());
  loop_->RunOnce(absl::Milliseconds(1));
}

}  // namespace
}  // namespace sluice
