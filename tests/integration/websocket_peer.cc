// A WebSocket endpoint for the integration tests: it sends back every message, does what a message
// that begins with
// '!' says, and tells on standard output what happens to it. As a server and as a client, so that
// one set of tests runs in both directions.
//
//   websocket_peer serve ADDRESS:PORT [SUBPROTOCOL...] [--...]
//       prints `listening on ADDRESS:PORT`; until SIGTERM
//   websocket_peer connect ws://ADDRESS:PORT/TARGET [SUBPROTOCOL...] [--...]
//       until the connection has ended
//
// --deflate=alone or --deflate=contexts: agrees on compressed messages, each by itself or with what
// came before it.
// A server with an --identity, and a client with a URL of wss://, speak TLS: tls_flags.h.
//
// Messages that it obeys:
//   !close CODE REASON     begins the closing handshake; code 1005: without a code
//   !ping PAYLOAD          sends a ping; its pong is reported
//   !abort                 resets the connection
//
// As a server it refuses the target /refused with 403. With --page=FILE it answers plain requests
// with that page, which may ask for /tell?TEXT: the text is told as it is in the target, with its
// percent signs.

#include <signal.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/signals.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/protocols/websocket/client.h"
#include "sluice/protocols/websocket/close_code.h"
#include "sluice/protocols/websocket/compression.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/deflate.h"
#include "sluice/protocols/websocket/server.h"
#include "sluice/tests/integration/tls_flags.h"
#include "sluice/tls/tls_stream.h"

namespace {

using sluice::Connector;
using sluice::EventLoop;
using sluice::Listener;
using sluice::SendResult;
using sluice::SocketAddress;
using sluice::Stream;
using sluice::TlsFlags;
using sluice::tls::TlsStream;
using sluice::websocket::Client;
using sluice::websocket::CloseCode;
using sluice::websocket::CloseInfo;
using sluice::websocket::Connection;
using sluice::websocket::HandshakeReply;
using sluice::websocket::HandshakeRequest;
using sluice::websocket::Message;
using sluice::websocket::Server;

// One line: words that are separated by tabs, the first of them the name.
void Tell(absl::string_view event) {
  std::printf("%s\n", std::string(event).c_str());
  std::fflush(stdout);
}

std::string Escaped(absl::string_view text) { return absl::Utf8SafeCEscape(text); }

absl::string_view AsText(absl::Span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class Peer : public sluice::websocket::Handler {
 public:
  Peer(EventLoop& loop, bool stop_at_close, std::string page = "")
      : loop_(loop), stop_at_close_(stop_at_close), page_(std::move(page)) {}

 private:
  void OnRequest(Connection& /*connection*/, const HandshakeRequest& request,
                 HandshakeReply& reply) override {
    if (request.path() == "/refused") return reply.Respond(403, "not here");
    if (request.wants_websocket() || page_.empty()) return;
    if (request.path() == "/tell") Tell(absl::StrCat("told\ttext=", request.query()));
    reply.Respond(200, page_, "text/html; charset=utf-8");
  }

  void OnOpen(Connection& connection) override {
    open_.insert(&connection);
    Tell(absl::StrCat("open\tsubprotocol=", connection.subprotocol()));
  }

  void OnMessage(Connection& connection, const Message& message) override {
    absl::string_view text = message.text();
    if (message.is_text && absl::ConsumePrefix(&text, "!")) return Obey(connection, text);
    if (connection.SendInPlace(message) == SendResult::kBlocked) connection.PauseReceiving();
  }

  void OnSendReady(Connection& connection) override { connection.ResumeReceiving(); }

  void OnPing(Connection& /*connection*/, absl::Span<const uint8_t> payload) override {
    Tell(absl::StrCat("ping\tpayload=", Escaped(AsText(payload))));
  }

  void OnPong(Connection& /*connection*/, absl::Span<const uint8_t> payload) override {
    Tell(absl::StrCat("pong\tpayload=", Escaped(AsText(payload))));
  }

  void OnClose(Connection& connection, const CloseInfo& info) override {
    Tell(absl::StrCat("close\tcode=", static_cast<int>(info.code),
                      "\tby=", info.by_peer ? "peer" : "sluice", "\tclean=", info.clean ? 1 : 0,
                      "\topened=", open_.erase(&connection), "\treason=", Escaped(info.reason),
                      "\tstatus=", Escaped(info.status.ToString())));
    if (stop_at_close_) loop_.Stop();
  }

  static void Obey(Connection& connection, absl::string_view command) {
    const std::pair<absl::string_view, absl::string_view> words =
        absl::StrSplit(command, absl::MaxSplits(' ', 1));
    if (words.first == "ping") {
      connection.SendPing(absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(words.second.data()),
                                              words.second.size()));
    } else if (words.first == "abort") {
      connection.Abort(absl::AbortedError("asked to"));
    } else if (words.first == "close") {
      const std::pair<absl::string_view, absl::string_view> why =
          absl::StrSplit(words.second, absl::MaxSplits(' ', 1));
      int code = 0;
      if (absl::SimpleAtoi(why.first, &code))
        connection.Close(static_cast<CloseCode>(code), why.second);
    }
  }

  EventLoop& loop_;
  const bool stop_at_close_;
  const std::string page_;
  std::set<const Connection*> open_;
};

void TellFailed(const absl::Status& status) {
  Tell(absl::StrCat("failed\tstatus=", Escaped(status.ToString())));
}

int Fail(absl::string_view why) {
  std::fprintf(stderr, "websocket_peer: %s\n", std::string(why).c_str());
  return 1;
}

using StreamOr = absl::StatusOr<std::unique_ptr<Stream>>;
using TlsStreamOr = absl::StatusOr<std::unique_ptr<TlsStream>>;

sluice::tls::HandshakeOptions HandshakeOptionsOf(const TlsFlags& flags) {
  sluice::tls::HandshakeOptions options;
  options.timeout = flags.handshake_timeout;
  return options;
}

using Compression = std::shared_ptr<const sluice::websocket::Compression>;

int Serve(EventLoop& loop, absl::string_view where, std::vector<std::string> subprotocols,
          Compression compression, std::string page, const TlsFlags& flags) {
  const absl::StatusOr<SocketAddress> address = SocketAddress::Parse(where);
  if (!address.ok()) return Fail(address.status().ToString());
  std::shared_ptr<const sluice::tls::ServerContext> context;
  if (!flags.identities.empty()) {
    auto made = flags.ServerContext();
    if (!made.ok()) return Fail(made.status().ToString());
    context = *std::move(made);
  }
  Peer peer(loop, /*stop_at_close=*/false, std::move(page));
  Server::Options options;
  options.connection.compression = std::move(compression);
  options.handshake.subprotocols = std::move(subprotocols);
  const Server server(std::move(options));
  absl::StatusOr<std::unique_ptr<Listener>> listener =
      Listener::Listen(loop, *address, {}, [&](std::unique_ptr<Stream> stream) {
        if (context == nullptr) {
          server.Serve(std::move(stream), peer);
          return;
        }
        sluice::tls::Accept(std::move(stream), context, HandshakeOptionsOf(flags),
                            [&](TlsStreamOr encrypted) {
                              if (!encrypted.ok()) return TellFailed(encrypted.status());
                              server.Serve(*std::move(encrypted), peer);
                            });
      });
  if (!listener.ok()) return Fail(listener.status().ToString());
  const sluice::SignalWatcher signals(loop, {SIGTERM}, [&](int /*signal*/) {
    listener->reset();
    loop.Drain(absl::Seconds(10), [&] { loop.Stop(); });
  });
  Tell(absl::StrCat("listening on ", (*listener)->address().ToString()));
  loop.Run();
  return 0;
}

int Connect(EventLoop& loop, absl::string_view url, std::vector<std::string> subprotocols,
            Compression compression, const TlsFlags& flags) {
  const bool encrypted = absl::ConsumePrefix(&url, "wss://");
  if (!encrypted && !absl::ConsumePrefix(&url, "ws://"))
    return Fail("the URL is ws://ADDRESS:PORT/TARGET or wss://ADDRESS:PORT/TARGET");
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(url, absl::MaxSplits('/', 1));
  const absl::StatusOr<SocketAddress> address = SocketAddress::Parse(parts.first);
  if (!address.ok()) return Fail(address.status().ToString());
  Client::Options options;
  options.connection.compression = std::move(compression);
  options.handshake.host = std::string(parts.first);
  options.handshake.target = absl::StrCat("/", parts.second);
  options.handshake.subprotocols = std::move(subprotocols);
  const absl::StatusOr<std::unique_ptr<Client>> client = Client::Create(std::move(options));
  if (!client.ok()) return Fail(client.status().ToString());
  const auto context = flags.ClientContext();
  if (!context.ok()) return Fail(context.status().ToString());

  Peer peer(loop, /*stop_at_close=*/true);
  Connector connector(loop);
  absl::Status connected;
  const auto open = [&](StreamOr stream) {
    connected = stream.status();
    if (!connected.ok()) return loop.Stop();
    (*client)->Open(*std::move(stream), peer);
  };
  connector.Connect(*address, {}, [&](StreamOr stream) {
    if (!encrypted || !stream.ok()) return open(std::move(stream));
    const absl::string_view host = parts.first.substr(0, parts.first.rfind(':'));
    sluice::tls::Connect(*std::move(stream), *context, flags.host.empty() ? host : flags.host,
                         HandshakeOptionsOf(flags), open);
  });
  loop.Run();
  return connected.ok() ? 0 : Fail(connected.ToString());
}

// Takes the word that begins with `flag` out of the command line; the rest of it.
absl::optional<std::string> Take(std::vector<std::string>& words, absl::string_view flag) {
  const auto found = std::find_if(words.begin(), words.end(), [&](const std::string& word) {
    return absl::StartsWith(word, flag);
  });
  if (found == words.end()) return absl::nullopt;
  std::string value = found->substr(flag.size());
  words.erase(found);
  return value;
}

absl::StatusOr<Compression> TakeCompression(std::vector<std::string>& words) {
  const absl::optional<std::string> kind = Take(words, "--deflate=");
  if (!kind.has_value()) return nullptr;
  const bool contexts = *kind == "contexts";
  if (!contexts && *kind != "alone")
    return absl::InvalidArgumentError("--deflate is alone or contexts");
  auto deflate =
      sluice::websocket::Deflate::Create({.send_context = contexts, .receive_context = contexts});
  if (!deflate.ok()) return deflate.status();
  return *std::move(deflate);
}

absl::StatusOr<std::string> TakePage(std::vector<std::string>& words) {
  const absl::optional<std::string> path = Take(words, "--page=");
  if (!path.has_value()) return "";
  std::ifstream file(*path);
  std::string page(std::istreambuf_iterator<char>(file), {});
  if (page.empty()) return absl::NotFoundError(absl::StrCat("there is nothing in ", *path));
  return page;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  absl::StatusOr<Compression> compression = TakeCompression(words);
  if (!compression.ok()) return Fail(compression.status().ToString());
  absl::StatusOr<std::string> page = TakePage(words);
  if (!page.ok()) return Fail(page.status().ToString());
  const absl::StatusOr<TlsFlags> flags = TlsFlags::Take(words);
  if (!flags.ok()) return Fail(flags.status().ToString());
  if (words.size() < 2) return Fail("serve ADDRESS:PORT | connect URL, and subprotocols");
  std::vector<std::string> subprotocols(words.begin() + 2, words.end());
  absl::StatusOr<std::unique_ptr<EventLoop>> loop = EventLoop::Create();
  if (!loop.ok()) return Fail(loop.status().ToString());
  if (words[0] == "serve")
    return Serve(**loop, words[1], std::move(subprotocols), *std::move(compression),
                 *std::move(page), *flags);
  if (words[0] == "connect")
    return Connect(**loop, words[1], std::move(subprotocols), *std::move(compression), *flags);
  return Fail("neither serve nor connect");
}
