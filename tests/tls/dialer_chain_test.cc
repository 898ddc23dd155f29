// Dialers on dialers: wss over TLS over SOCKS5 over HTTP CONNECT over TLS over TCP, on a simulated
// network of five hosts.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/dialer.h"
#include "sluice/core/fake_resolver.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/name_dialer.h"
#include "sluice/core/simulation.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/core/tcp.h"
#include "sluice/protocols/proxy/http_connect.h"
#include "sluice/protocols/proxy/socks5.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/server.h"
#include "sluice/protocols/websocket/url_client.h"
#include "sluice/tests/tls/proxy_for_tests.h"
#include "sluice/tls/context.h"
#include "sluice/tls/dialer.h"
#include "sluice/tls/testing.h"
#include "sluice/tls/tls_stream.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using StreamOr = absl::StatusOr<std::unique_ptr<Stream>>;

class Echo : public websocket::Handler {
  void OnMessage(websocket::Connection& c, const websocket::Message& message) override {
    c.SendInPlace(message);
  }
};

class Talker : public websocket::Handler {
 public:
  std::vector<std::string> sent = {"hello", std::string(300'000, 'b')};
  std::vector<std::string> received;
  bool open = false;
  bool clean = false;

 private:
  void OnOpen(websocket::Connection& c) override {
    open = true;
    for (const std::string& text : sent) c.SendText(text);
  }
  void OnMessage(websocket::Connection& c, const websocket::Message& message) override {
    received.emplace_back(message.text());
    if (received.size() == sent.size()) c.Close();
  }
  void OnClose(websocket::Connection&, const websocket::CloseInfo& info) override {
    clean = info.clean;
  }
};

const tls::TestAuthority& Authority() {
  static const auto* const authority = new tls::TestAuthority;
  return *authority;
}

std::shared_ptr<const tls::ServerContext> ContextFor(const std::string& name) {
  return *tls::ServerContext::Create({.identities = {Authority().Issue({.names = {name}})}});
}

class DialerChainTest : public testing::Test {
 protected:
  DialerChainTest() {
    http_proxy_.names["10.0.0.4"] = socks_host_.Address(1080);
    socks_proxy_.names["server.example"] = server_host_.Address(443);
    socks_proxy_.names["greeter.example"] = server_host_.Address(25);
    const auto to_proxy = std::make_shared<tls::Dialer>(
        std::make_shared<FixedDialer>(http_host_.Address(3128)), client_context_);
    http_ = *proxy::HttpConnectDialer::Create({.proxy = {"proxy.example", 3128}}, to_proxy);
    socks_ = *proxy::Socks5Dialer::Create({.proxy = {"10.0.0.4", 1080}}, http_);
    secure_ = std::make_shared<tls::Dialer>(socks_, client_context_);
  }

  void Open(absl::string_view url = "wss://server.example/",
            absl::Duration timeout = absl::Seconds(10)) {
    websocket::UrlClient::Options options;
    options.secure_dialer = secure_;
    options.dial.timeout = timeout;
    client_ = *websocket::UrlClient::Create(client_host_.loop(), url, options);
    begin_ = network_.now();
    failures_ = 0;
    attempt_ = client_->Connect(talker_, [this](const absl::Status& why) {
      ++failures_;
      failure_ = why;
      took_ = network_.now() - begin_;
    });
  }
  std::string Failure() const { return std::string(failure_.message()); }

  Echo echo_;  // before the network
  Talker talker_;
  websocket::Server server_{{}};
  std::unique_ptr<websocket::UrlClient> client_;
  SimulatedNetwork network_{1};
  SimulatedHost& client_host_ = network_.AddHost("10.0.0.1");
  SimulatedHost& server_host_ = network_.AddHost("10.0.0.2");
  SimulatedHost& http_host_ = network_.AddHost("10.0.0.3");
  SimulatedHost& socks_host_ = network_.AddHost("10.0.0.4");
  const std::shared_ptr<const tls::ClientContext> client_context_ =
      *tls::ClientContext::Create({.roots = Authority().roots()});
  const std::shared_ptr<const tls::ServerContext> server_context_ = ContextFor("server.example");
  ProxyForTests http_proxy_{http_host_, 3128, ContextFor("proxy.example")};
  ProxyForTests socks_proxy_{socks_host_, 1080};
  tls::HandshakeGroup handshakes_;
  std::unique_ptr<Listener> listener_ = *Listener::Listen(
      server_host_.loop(), server_host_.Address(443), {}, [this](std::unique_ptr<Stream> stream) {
        tls::Accept(std::move(stream), server_context_, {.group = &handshakes_},
                    [this](absl::StatusOr<std::unique_ptr<tls::TlsStream>> encrypted) {
                      if (encrypted.ok()) server_.Serve(*std::move(encrypted), echo_);
                    });
      });
  std::shared_ptr<const Dialer> http_;
  std::shared_ptr<const Dialer> socks_;
  std::shared_ptr<const Dialer> secure_;
  std::unique_ptr<websocket::UrlClient::Attempt> attempt_;
  MonotonicTime begin_;
  absl::Duration took_;
  int failures_ = 0;
  absl::Status failure_;
};

TEST_F(DialerChainTest, MessagesGoThroughAllLayers) {
  Open();
  network_.RunFor(absl::Seconds(10));
  EXPECT_EQ(failure_, absl::OkStatus());
  EXPECT_EQ(talker_.received, talker_.sent);
  EXPECT_TRUE(talker_.clean);
  EXPECT_THAT(http_proxy_.asked, ElementsAre("CONNECT 10.0.0.4"));
  EXPECT_THAT(socks_proxy_.asked, ElementsAre("SOCKS5 server.example"));
}

// Bytes that come right behind the proxies' answers, through TLS and another proxy.
TEST_F(DialerChainTest, AServerMaySpeakFirst) {
  std::vector<std::unique_ptr<Stream>> greeted;
  const auto greeter = *Listener::Listen(server_host_.loop(), server_host_.Address(25), {},
                                         [&](std::unique_ptr<Stream> stream) {
                                           stream->Send("220 server.example ready\r\n");
                                           greeted.push_back(std::move(stream));
                                         });
  std::unique_ptr<Stream> stream;
  const auto attempt = socks_->Dial(client_host_.loop(), {"greeter.example", 25}, {},
                                    [&](StreamOr s) { stream = *std::move(s); });
  network_.RunFor(absl::Seconds(5));
  ASSERT_NE(stream, nullptr);
  StreamRecorder recorder(std::move(stream));
  network_.RunFor(absl::Seconds(5));
  EXPECT_EQ(recorder.received(), "220 server.example ready\r\n");
}

TEST_F(DialerChainTest, OneDeadlineIsForAllLayersWhereverItStops) {
  // Hosts that are there and say nothing, from the beginning or from some moment on.
  for (SimulatedHost* host : {&http_host_, &socks_host_, &server_host_}) {
    for (const absl::Duration after :
         {absl::ZeroDuration(), absl::Microseconds(350), absl::Microseconds(700)}) {
      SCOPED_TRACE(absl::StrCat(host->name(), " ", absl::FormatDuration(after)));
      Open("wss://server.example/", absl::Seconds(3));
      network_.RunFor(after);
      host->Stall();
      network_.RunFor(absl::Seconds(4));
      EXPECT_EQ(failures_, 1);
      EXPECT_EQ(failure_.code(), absl::StatusCode::kDeadlineExceeded) << failure_;
      EXPECT_GE(took_, absl::Seconds(3));
      EXPECT_LT(took_, absl::Seconds(3.01));
      host->Resume();
      network_.RunFor(absl::Seconds(4));
      EXPECT_FALSE(talker_.open);
    }
  }
}

TEST_F(DialerChainTest, AnAttemptMayBeGivenUpAtEveryStep) {
  int given_up = 0;
  for (int step = 0; !talker_.open; ++step) {
    ASSERT_LT(step, 1000);
    Open();
    network_.RunFor(absl::Microseconds(37 * step));
    if (talker_.open) break;
    attempt_.reset();
    client_.reset();
    ++given_up;
    network_.RunFor(absl::Seconds(10));
    EXPECT_EQ(failures_, 0);
    EXPECT_EQ(network_.connections(), 0u);
  }
  EXPECT_GT(given_up, 20);
  network_.RunFor(absl::Seconds(10));
  EXPECT_TRUE(talker_.clean);
}

TEST_F(DialerChainTest, EachLayersRefusalNamesItself) {
  socks_proxy_.names.clear();
  Open();
  network_.RunFor(absl::Seconds(1));
  EXPECT_EQ(failure_.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Failure(), HasSubstr("proxy 10.0.0.4:1080: SOCKS5 to server.example:443: refused "
                                   "with 4: host unreachable"));
  http_proxy_.names.clear();
  Open();
  network_.RunFor(absl::Seconds(1));
  EXPECT_EQ(failure_.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(Failure(), HasSubstr("proxy proxy.example:3128: CONNECT 10.0.0.4:1080: refused "
                                   "with 502 Bad Gateway"));
  EXPECT_FALSE(talker_.open);
}

TEST_F(DialerChainTest, TheServersCertificateMustBeForWhomIsDialed) {
  socks_proxy_.names["other.example"] = server_host_.Address(443);
  Open("wss://other.example/");
  network_.RunFor(absl::Seconds(1));
  EXPECT_EQ(failure_.code(), absl::StatusCode::kUnauthenticated) << failure_;
  EXPECT_THAT(Failure(), HasSubstr("other.example:443"));
  // Unless another name is asked for.
  secure_ = std::make_shared<tls::Dialer>(socks_, client_context_, "server.example");
  Open("wss://other.example/");
  network_.RunFor(absl::Seconds(10));
  EXPECT_EQ(failures_, 0);
  EXPECT_TRUE(talker_.clean);
}

// Names below all layers and in them: each is found by whoever connects.
class NamedChainTest : public DialerChainTest {
 protected:
  NamedChainTest() {
    network_.SetLink(client_host_, network_.AddHost("2001:db8::1"), {.ignore = 1});
    NameDialer::Options options;
    options.source_address = nullptr;
    names_ = *NameDialer::Create(resolver_, options);
  }
  // Of a family of addresses that leads nowhere, and of another one.
  void Name(absl::string_view name, SimulatedHost& host) {
    resolver_->Set(name, SocketAddress::Family::kIpv6,
                   {.addresses = FakeResolver::Addresses({"2001:db8::1"})});
    resolver_->Set(name, SocketAddress::Family::kIpv4, {.addresses = {{host.Address(0)}}});
  }

  const std::shared_ptr<FakeResolver> resolver_ = std::make_shared<FakeResolver>();
  std::shared_ptr<const Dialer> names_;
};

TEST_F(NamedChainTest, AServerByName) {
  Name("server.example", server_host_);
  secure_ = std::make_shared<tls::Dialer>(names_, client_context_);
  Open();
  network_.RunFor(absl::Seconds(10));
  EXPECT_EQ(failure_, absl::OkStatus());
  EXPECT_EQ(talker_.received, talker_.sent);
  EXPECT_THAT(http_proxy_.asked, IsEmpty());
}

TEST_F(NamedChainTest, ProxiesByName) {
  Name("proxy.example", http_host_);
  http_proxy_.names["socks.example"] = socks_host_.Address(1080);
  http_ = *proxy::HttpConnectDialer::Create({.proxy = {"proxy.example", 3128}},
                                            std::make_shared<tls::Dialer>(names_, client_context_));
  socks_ = *proxy::Socks5Dialer::Create({.proxy = {"socks.example", 1080}}, http_);
  secure_ = std::make_shared<tls::Dialer>(socks_, client_context_);
  Open();
  network_.RunFor(absl::Seconds(10));
  EXPECT_EQ(failure_, absl::OkStatus());
  EXPECT_EQ(talker_.received, talker_.sent);
  EXPECT_THAT(http_proxy_.asked, ElementsAre("CONNECT socks.example"));
  EXPECT_THAT(socks_proxy_.asked, ElementsAre("SOCKS5 server.example"));
  EXPECT_EQ(resolver_->questions(), 2);
}

TEST_F(NamedChainTest, WhatTheNameCameToIsInTheErrorOfTheChain) {
  http_ = *proxy::HttpConnectDialer::Create({.proxy = {"nowhere.example", 3128}}, names_);
  secure_ = std::make_shared<tls::Dialer>(http_, client_context_);
  Open();
  network_.RunFor(absl::Seconds(10));
  EXPECT_EQ(failure_.code(), absl::StatusCode::kNotFound) << failure_;
  EXPECT_THAT(Failure(), HasSubstr("nowhere.example:3128: no connection: nowhere.example: there is "
                                   "no such name"));
}

TEST_F(NamedChainTest, OneDeadlineIsForTheNameAndAllLayers) {
  Name("server.example", server_host_);
  server_host_.Stall();
  secure_ = std::make_shared<tls::Dialer>(names_, client_context_);
  Open("wss://server.example/", absl::Seconds(3));
  network_.RunFor(absl::Seconds(4));
  EXPECT_EQ(failure_.code(), absl::StatusCode::kDeadlineExceeded) << failure_;
  EXPECT_GE(took_, absl::Seconds(3));
  EXPECT_LT(took_, absl::Seconds(3.01));
}

TEST(TlsDialerTest, HeaderExample) {
  SimulatedNetwork network(1);
  EventLoop& loop = network.AddHost("client").loop();
  absl::Status status;
  const auto done = [&](StreamOr stream) { status = stream.status(); };

  auto context = *tls::ClientContext::Create({});
  auto dialer = std::make_shared<tls::Dialer>(std::make_shared<DirectDialer>(), context);
  auto attempt = dialer->Dial(loop, {.host = "127.0.0.1", .port = 443}, {}, done);

  network.RunFor(absl::Seconds(1));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
}

}  // namespace
}  // namespace sluice
