// A WebSocket client for the integration tests that goes through proxies: it sends one text,
// expects it back, closes, and tells on standard output how it went.
//
//   proxied_client URL TEXT [PROXY...] [--...]
//
//   http=[USER:PASSWORD@]HOST:PORT     the proxies, the first of them the one that is connected to
//   socks5=[USER:PASSWORD@]HOST:PORT
//
// With a URL of wss://, TLS is as tls_flags.h says.
//
// Prints `received<tab>TEXT` and `closed<tab>CODE`, or `failed<tab>CODE<tab>MESSAGE`.

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/protocols/proxy/http_connect.h"
#include "sluice/protocols/proxy/socks5.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/url_client.h"
#include "sluice/tests/integration/tls_flags.h"
#include "sluice/tls/dialer.h"

namespace {

using sluice::Dialer;
using sluice::Endpoint;
using sluice::EventLoop;
using sluice::TlsFlags;
using sluice::websocket::CloseInfo;
using sluice::websocket::Connection;
using sluice::websocket::Message;
using sluice::websocket::UrlClient;

using DialerPtr = std::shared_ptr<const Dialer>;

void Tell(absl::string_view event) {
  std::printf("%s\n", std::string(event).c_str());
  std::fflush(stdout);
}

void TellFailed(const absl::Status& status) {
  Tell(absl::StrCat("failed\t", absl::StatusCodeToString(status.code()), "\t", status.message()));
}

class Talker : public sluice::websocket::Handler {
 public:
  Talker(EventLoop& loop, std::string text) : loop_(loop), text_(std::move(text)) {}

 private:
  void OnOpen(Connection& connection) override { connection.SendText(text_); }
  void OnMessage(Connection& connection, const Message& message) override {
    Tell(absl::StrCat("received\t", message.text()));
    connection.Close();
  }
  void OnClose(Connection&, const CloseInfo& info) override {
    Tell(absl::StrCat("closed\t", static_cast<int>(info.code)));
    loop_.Stop();
  }

  EventLoop& loop_;
  const std::string text_;
};

// "USER:PASSWORD@HOST:PORT" without its scheme.
struct Proxy {
  std::string user, password;
  Endpoint endpoint;
};

absl::StatusOr<Proxy> ParseProxy(absl::string_view text) {
  Proxy proxy;
  if (const size_t at = text.rfind('@'); at != absl::string_view::npos) {
    const absl::string_view credentials = text.substr(0, at);
    const size_t colon = credentials.find(':');
    proxy.user = std::string(credentials.substr(0, colon));
    if (colon != absl::string_view::npos)
      proxy.password = std::string(credentials.substr(colon + 1));
    text.remove_prefix(at + 1);
  }
  const size_t colon = text.rfind(':');
  uint32_t port = 0;
  if (colon == absl::string_view::npos || !absl::SimpleAtoi(text.substr(colon + 1), &port))
    return absl::InvalidArgumentError("a proxy is [USER:PASSWORD@]HOST:PORT");
  proxy.endpoint = {std::string(text.substr(0, colon)), static_cast<uint16_t>(port)};
  return proxy;
}

// Through the proxy, which is reached by `lower`.
absl::StatusOr<DialerPtr> Through(absl::string_view word, DialerPtr lower) {
  const bool http = absl::ConsumePrefix(&word, "http=");
  if (!http && !absl::ConsumePrefix(&word, "socks5="))
    return absl::InvalidArgumentError("a proxy begins with http= or socks5=");
  const absl::StatusOr<Proxy> proxy = ParseProxy(word);
  if (!proxy.ok()) return proxy.status();
  if (http) {
    sluice::proxy::HttpConnectDialer::Options options;
    options.proxy = proxy->endpoint;
    options.user = proxy->user;
    options.password = proxy->password;
    return sluice::proxy::HttpConnectDialer::Create(options, std::move(lower));
  }
  return sluice::proxy::Socks5Dialer::Create(
      {.proxy = proxy->endpoint, .user = proxy->user, .password = proxy->password},
      std::move(lower));
}

absl::Status Run(std::vector<std::string> words) {
  const absl::StatusOr<TlsFlags> flags = TlsFlags::Take(words);
  if (!flags.ok()) return flags.status();
  if (words.size() < 2) return absl::InvalidArgumentError("proxied_client URL TEXT [PROXY...]");
  DialerPtr dialer = std::make_shared<sluice::DirectDialer>();
  for (size_t i = 2; i < words.size(); ++i) {
    absl::StatusOr<DialerPtr> next = Through(words[i], std::move(dialer));
    if (!next.ok()) return next.status();
    dialer = *std::move(next);
  }
  const auto context = flags->ClientContext();
  if (!context.ok()) return context.status();
  absl::StatusOr<std::unique_ptr<EventLoop>> loop = EventLoop::Create();
  if (!loop.ok()) return loop.status();

  UrlClient::Options options;
  options.dialer = dialer;
  options.secure_dialer = std::make_shared<sluice::tls::Dialer>(dialer, *context, flags->host);
  const auto client = UrlClient::Create(**loop, words[0], options);
  if (!client.ok()) return client.status();
  Talker talker(**loop, words[1]);
  absl::Status failure;
  const auto attempt = (*client)->Connect(talker, [&](const absl::Status& why) {
    failure = why;
    (*loop)->Stop();
  });
  (*loop)->Run();
  return failure;
}

}  // namespace

int main(int argc, char** argv) {
  const absl::Status status = Run({argv + 1, argv + argc});
  if (status.ok()) return 0;
  TellFailed(status);
  return 1;
}
