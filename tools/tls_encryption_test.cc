#include "sluice/tools/tls_encryption.h"

#include <signal.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/reflection.h"
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
#include "sluice/core/tcp.h"
#include "sluice/tls/context.h"
#include "sluice/tls/testing.h"
#include "sluice/tools/echo_server.h"
#include "sluice/tools/encryption.h"
#include "sluice/tools/frame_protocol.h"
#include "sluice/tools/load.h"
#include "sluice/tools/load_options.h"
#include "sluice/tools/protocol.h"
#include "sluice/tools/raw_protocol.h"
#include "sluice/tools/url.h"
#include "sluice/tools/websocket_protocol.h"

namespace sluice::tools {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

using StreamOr = absl::StatusOr<std::unique_ptr<Stream>>;

// Stops the loop at the end of a connection.
struct UntilEnd : StreamHandler {
  void OnReceive(Stream&, absl::Span<uint8_t>) override {}
  void OnClose(Stream& stream, const absl::Status&) override { stream.loop().Stop(); }
};

class TlsEncryptionTest : public testing::Test {
 protected:
  TlsEncryptionTest() {
    Write("ca.pem", authority.pem());
    Set("tls_ca", Path("ca.pem"));
    Set("tls_handshake_timeout", "inf");
    Install("first");
  }

  static std::string Path(absl::string_view name) {
    return absl::StrCat(testing::TempDir(), "/", name);
  }
  static void Write(absl::string_view name, const std::string& text) {
    std::FILE* const file = std::fopen(Path(name).c_str(), "w");
    ASSERT_NE(file, nullptr);
    EXPECT_EQ(std::fwrite(text.data(), 1, text.size(), file), text.size());
    std::fclose(file);
  }
  static void Set(absl::string_view name, absl::string_view value) {
    std::string error;
    EXPECT_TRUE(absl::FindCommandLineFlag(name)->ParseFrom(value, &error)) << error;
  }

  // What servers are made of from now on.
  void Install(absl::string_view subject) {
    tls::TestAuthority::Request request;
    request.subject = std::string(subject);
    const tls::Identity identity = authority.Issue(request);
    Write("server.pem", identity.chain);
    Write("server.key", identity.key);
    Set("tls_cert", Path("server.pem"));
    Set("tls_key", Path("server.key"));
  }
  std::shared_ptr<const ServerEncryption> NewServer(const std::string& alpn = "") {
    auto made = encryption->NewServer(alpn);
    EXPECT_TRUE(made.ok()) << made.status();
    return *std::move(made);
  }
  // Without an identity.
  std::shared_ptr<const ClientEncryption> NewClient() {
    Set("tls_cert", "");
    Set("tls_key", "");
    Url url;
    url.scheme = "tls";
    url.encrypted = true;
    url.endpoint.host = "127.0.0.1";
    auto made = encryption->NewClient(url, "");
    EXPECT_TRUE(made.ok()) << made.status();
    return *std::move(made);
  }

  void Serve(const Protocol& protocol) {
    EchoServer::Options serving;
    serving.protocol = &protocol;
    serving.listen = SocketAddress::Ipv4Loopback(0);
    serving.threads = 2;
    serving.encryption = NewServer();
    serving.on_refused = [this](const absl::Status& status) {
      const std::lock_guard lock(mutex);
      handshake_errors.push_back(status.ToString());
    };
    absl::StatusOr<std::unique_ptr<EchoServer>> started = EchoServer::Start(serving);
    ASSERT_TRUE(started.ok()) << started.status();
    server = *std::move(started);
    options.protocol = &protocol;
    options.encryption = NewClient();
    options.dialer = options.encryption->Over(std::make_shared<FixedDialer>(server->address()));
    options.url.endpoint = {"127.0.0.1", server->address().port()};
    options.url.authority = options.url.endpoint.ToString();
  }

  LoadResult RunLoad() {
    Load load(options);
    absl::StatusOr<LoadResult> result =
        load.Run(absl::Milliseconds(1), [this](const Load::Progress& now) {
          if (!now.connecting && now.messages > 0) under_way = true;
        });
    EXPECT_TRUE(result.ok()) << result.status();
    return *std::move(result);
  }

  // One connection's description, or error.
  std::string Dial(const SocketAddress& address) {
    const std::unique_ptr<EventLoop> loop = *EventLoop::Create();
    const std::shared_ptr<const ClientEncryption> client = NewClient();
    UntilEnd until_end;
    std::string text;
    const auto attempt = client->Over(std::make_shared<FixedDialer>(address))
                             ->Dial(*loop, {"127.0.0.1", 1}, {.timeout = absl::InfiniteDuration()},
                                    [&](StreamOr stream) {
                                      if (!stream.ok()) {
                                        failed_to_encrypt =
                                            client->FailedToEncrypt(stream.status());
                                        text = stream.status().ToString();
                                        return loop->Stop();
                                      }
                                      text = client->Describe(**stream);
                                      Stream& open = **stream;
                                      Stream::Run(*std::move(stream), until_end);
                                      open.Close();
                                    });
    loop->Run();
    return text;
  }

  const absl::FlagSaver saver;
  const tls::TestAuthority authority;
  const std::unique_ptr<Encryption> encryption = TlsEncryption();
  const std::unique_ptr<Protocol> raw = RawProtocol();
  const std::unique_ptr<Protocol> frame = FrameProtocol();
  const std::unique_ptr<Protocol> websocket = WebSocketProtocol();
  std::mutex mutex;
  std::vector<std::string> handshake_errors;  // under mutex
  std::unique_ptr<EchoServer> server;
  LoadOptions options = {.connections = 7,
                         .pipeline = 3,
                         .size = 1000,
                         .duration = absl::Milliseconds(100),
                         .timeout = absl::Minutes(1),
                         .threads = 2};
  std::atomic<bool> under_way = false;
  bool failed_to_encrypt = false;
};

TEST_F(TlsEncryptionTest, EveryMessageOfEveryProtocolComesBack) {
  for (const Protocol* protocol : {raw.get(), frame.get(), websocket.get()}) {
    SCOPED_TRACE(protocol->name());
    Install("server");
    Serve(*protocol);
    const LoadResult result = RunLoad();
    EXPECT_EQ(result.connections, 7);
    EXPECT_EQ(result.errors.total(), 0u) << result.errors.first;
    EXPECT_GE(result.messages, 21u);
    const EchoTotals totals = server->Stop(absl::Minutes(1));
    EXPECT_EQ(totals.bytes, result.bytes);
    EXPECT_EQ(totals.errors + totals.handshake_errors, 0u);
  }
}

TEST_F(TlsEncryptionTest, LargeMessagesAndDeepPipelines) {
  Serve(*frame);
  options.size = 1 << 20;
  options.connections = 2;
  options.pipeline = 8;
  const LoadResult result = RunLoad();
  EXPECT_EQ(result.errors.total(), 0u) << result.errors.first;
  EXPECT_GE(result.messages, 16u);
}

TEST_F(TlsEncryptionTest, ANewCertificateIsForNewConnectionsAndEndsNone) {
  Serve(*raw);
  options.duration = absl::InfiniteDuration();
  options.connections = 20;
  LoadResult result;
  std::thread loading([&] { result = RunLoad(); });
  while (!under_way) std::this_thread::yield();
  for (int i = 0; i < 20; ++i) {
    const std::string subject = absl::StrCat("number ", i);
    Install(subject);
    server->streams().SetEncryption(NewServer());
    for (int connection = 0; connection < 3; ++connection)  // on either loop
      EXPECT_THAT(Dial(server->address()), HasSubstr(absl::StrCat("subject  CN=", subject, "\n")));
  }
  raise(SIGINT);  // ends the load
  loading.join();
  EXPECT_EQ(result.connections, 20);
  EXPECT_EQ(result.errors.total(), 0u) << result.errors.first;
  server->Stop(absl::Minutes(1));
  EXPECT_THAT(handshake_errors, IsEmpty());
}

TEST_F(TlsEncryptionTest, AServerThatIsNotTrustedIsAnErrorOnBothSides) {
  Write("ca.pem", tls::TestAuthority().pem());
  Serve(*frame);
  const LoadResult result = RunLoad();
  EXPECT_EQ(result.connections, 0);
  EXPECT_EQ(result.errors.count[LoadErrors::kTls], 7u);
  EXPECT_EQ(result.errors.total(), 7u);
  EXPECT_THAT(result.errors.first,
              AllOf(StartsWith(server->address().ToString()), HasSubstr("TLS handshake: ")));
  const EchoTotals totals = server->Stop(absl::Minutes(1));
  EXPECT_EQ(totals.handshake_errors, 7u);
  EXPECT_EQ(totals.connections, 0u);
  EXPECT_EQ(handshake_errors.size(), 7u);
  EXPECT_THAT(handshake_errors.front(), HasSubstr("the peer refused: alert"));
}

TEST_F(TlsEncryptionTest, AMissingClientCertificateIsATlsErrorHoweverLateItIsSaid) {
  Set("tls_client_cert", "require");
  Set("tls_client_ca", Path("ca.pem"));
  for (const Protocol* protocol : {raw.get(), frame.get(), websocket.get()}) {
    SCOPED_TRACE(protocol->name());
    Install("server");
    Serve(*protocol);
    options.duration = absl::InfiniteDuration();
    const LoadResult result = RunLoad();
    EXPECT_EQ(result.errors.count[LoadErrors::kTls], 7u);
    EXPECT_EQ(result.errors.total(), 7u);
    EXPECT_THAT(result.errors.first, HasSubstr("certificate required"));
  }
}

TEST_F(TlsEncryptionTest, AnErrorTellsWhichStepFailed) {
  Serve(*raw);
  EXPECT_THAT(Dial(server->address()), StartsWith("TLS 1.3\n"));
  Write("ca.pem", tls::TestAuthority().pem());
  EXPECT_THAT(Dial(server->address()), StartsWith("UNAUTHENTICATED: "));
  EXPECT_TRUE(failed_to_encrypt);
  const SocketAddress address = server->address();
  server.reset();
  EXPECT_THAT(Dial(address), HasSubstr(address.ToString()));
  EXPECT_FALSE(failed_to_encrypt);
}

// A server that accepts, and says nothing.
class SilentServer {
 public:
  explicit SilentServer(EventLoop& loop)
      : listener_(*Listener::Listen(loop, SocketAddress::Ipv4Loopback(0), {},
                                    [this](std::unique_ptr<Stream> stream) {
                                      stream_ = std::move(stream);
                                      stream_->SetHandler(handler_);
                                    })) {}
  SocketAddress address() const { return listener_->address(); }

 private:
  struct Handler : StreamHandler {
    void OnReceive(Stream&, absl::Span<uint8_t>) override {}
  };

  Handler handler_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Listener> listener_;
};

// What it says may be a peer's words.
class FailingDialer final : public Dialer {
 public:
  std::unique_ptr<Attempt> Dial(EventLoop& loop, const Endpoint&, const DialOptions&,
                                DialFunction done) const override {
    return Fail(loop, absl::UnavailableError("a proxy: 10.0.0.1:443: TLS handshake: no"),
                std::move(done));
  }
};

// Resets each connection that says something.
class ResettingServer {
 public:
  explicit ResettingServer(EventLoop& loop)
      : listener_(*Listener::Listen(loop, SocketAddress::Ipv4Loopback(0), {},
                                    [this](std::unique_ptr<Stream> stream) {
                                      stream_ = std::move(stream);
                                      stream_->SetHandler(handler_);
                                    })) {}
  SocketAddress address() const { return listener_->address(); }

 private:
  struct Handler : StreamHandler {
    void OnReceive(Stream& stream, absl::Span<uint8_t>) override {
      stream.Abort(absl::CancelledError("no"));
    }
  };

  Handler handler_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Listener> listener_;
};

TEST_F(TlsEncryptionTest, AHandshakesErrorIsKnownByItsMarkAndNotByItsText) {
  const std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  ResettingServer resetting(*loop);
  const std::shared_ptr<const ClientEncryption> client = NewClient();
  const auto error_over = [&](std::shared_ptr<const Dialer> lower) {
    absl::Status error;
    const auto attempt =
        client->Over(std::move(lower))
            ->Dial(*loop, {"127.0.0.1", resetting.address().port()}, {}, [&](StreamOr stream) {
              error = stream.status();
              loop->Stop();
            });
    loop->Run();
    return error;
  };
  absl::Status error = error_over(std::make_shared<FailingDialer>());
  EXPECT_EQ(error.code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(client->FailedToEncrypt(error)) << error;
  error = error_over(std::make_shared<FixedDialer>(resetting.address()));
  EXPECT_EQ(error.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(client->FailedToEncrypt(error)) << error;
}

TEST_F(TlsEncryptionTest, AHandshakeHasADeadline) {
  const std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  SilentServer silent(*loop);
  const std::shared_ptr<const ClientEncryption> client = NewClient();
  absl::Status status;
  const auto attempt = client->Over(std::make_shared<FixedDialer>(silent.address()))
                           ->Dial(*loop, {"127.0.0.1", 1}, {.timeout = absl::Milliseconds(50)},
                                  [&](StreamOr stream) {
                                    status = stream.status();
                                    loop->Stop();
                                  });
  loop->Run();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(client->FailedToEncrypt(status)) << status;
}

TEST_F(TlsEncryptionTest, AServerThatStopsEndsHandshakesUnderWay) {
  Serve(*raw);
  const std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  Connector connector(*loop);
  std::unique_ptr<Stream> half;
  connector.Connect(server->address(), {}, [&](StreamOr stream) {
    half = *std::move(stream);
    loop->Stop();
  });
  loop->Run();
  half->Send(absl::string_view("\x16\x03\x01", 3));  // the beginning of a record
  std::thread stopping([&] { EXPECT_EQ(server->Stop(absl::Minutes(1)).handshake_errors, 1u); });
  UntilEnd handler;
  half->SetHandler(handler);
  loop->Run();
  stopping.join();
}

TEST(EncryptionTest, ATableHasEncryptedSchemesOnlyWithAnEncryption) {
  ProtocolTable protocols;
  protocols.Add(RawProtocol());
  protocols.Add(WebSocketProtocol());
  EXPECT_EQ(protocols.schemes().size(), 2u);
  protocols.SetEncryption(TlsEncryption());
  const std::vector<UrlScheme> schemes = protocols.schemes();
  ASSERT_EQ(schemes.size(), 4u);
  EXPECT_EQ(schemes[2].name, "tls");
  EXPECT_TRUE(schemes[2].encrypted);
  EXPECT_EQ(schemes[3].name, "wss");
  EXPECT_EQ(schemes[3].default_port, 443);
  EXPECT_TRUE(schemes[3].has_target);
  EXPECT_EQ(protocols.FindByScheme("wss"), protocols.FindByName("websocket"));
  EXPECT_EQ(protocols.FindByScheme("tls"), protocols.FindByScheme("tcp"));
}

}  // namespace
}  // namespace sluice::tools
