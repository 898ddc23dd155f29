// A TLS endpoint for the integration tests: it sends back every byte, and tells on standard output
// what happens to it. As a server and as a client, so that one set of tests runs in both
// directions. It tells more of TLS than the command line tool does.
//
//   tls_peer serve ADDRESS:PORT [THREADS] [--...]     prints `listening on ADDRESS:PORT`; until
//                                                     SIGTERM; SIGUSR1 rotates the keys of tickets
//   tls_peer connect ADDRESS:PORT [TEXT] [--...]      sends TEXT, in which \n is a new line; until
//                                                     the connection has ended; with --times=N so
//                                                     often, one after another
//
// The flags are those of tls_flags.h. What it gets that contains "!close" makes it close, and
// "!shut" makes it end its sending half, after the echo.
//
// It tells, in lines of words that are separated by tabs:
//   open    loop, version, cipher, group, alpn, server_name, resumed, subjects (of the peer's
//           certificates)
//   failed  status (of a handshake)
//   end     the peer's close_notify
//   rotated
//   close   bytes (received), status

#include <signal.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/loop_group.h"
#include "sluice/core/signals.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/tests/integration/tls_flags.h"
#include "sluice/tls/certificate.h"
#include "sluice/tls/context.h"
#include "sluice/tls/tls_stream.h"

namespace {

using sluice::Connector;
using sluice::EventLoop;
using sluice::GroupListener;
using sluice::LoopGroup;
using sluice::SendResult;
using sluice::SocketAddress;
using sluice::Stream;
using sluice::StreamHandler;
using sluice::TlsFlags;
using sluice::tls::Certificate;
using sluice::tls::HandshakeOptions;
using sluice::tls::TlsStream;

using StreamOr = absl::StatusOr<std::unique_ptr<TlsStream>>;

// Called on several threads; a line stays whole.
void Tell(absl::string_view event) { std::printf("%s\n", std::string(event).c_str()); }

std::string Escaped(absl::string_view text) { return absl::Utf8SafeCEscape(text); }

void TellOpen(const TlsStream& stream, int loop) {
  const std::string subjects = absl::StrJoin(
      stream.peer_certificates(), ";",
      [](std::string* out, const Certificate& one) { absl::StrAppend(out, Escaped(one.subject)); });
  Tell(absl::StrCat("open\tloop=", loop, "\tversion=", sluice::tls::VersionName(stream.version()),
                    "\tcipher=", stream.cipher(), "\tgroup=", stream.group(), "\talpn=",
                    Escaped(stream.alpn()), "\tserver_name=", Escaped(stream.server_name()),
                    "\tresumed=", stream.resumed() ? 1 : 0, "\tsubjects=", subjects));
}

void TellFailed(const absl::Status& status) {
  Tell(absl::StrCat("failed\tstatus=", Escaped(status.ToString())));
}

class Echo final : public StreamHandler {
 public:
  explicit Echo(EventLoop* stop_at_close) : stop_at_close_(stop_at_close) {}

 private:
  void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override {
    received_ += bytes.size();
    if (stream.SendLent(bytes) == SendResult::kBlocked) stream.PauseReceiving();
    const absl::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (absl::StrContains(text, "!close")) stream.Close();
    if (absl::StrContains(text, "!shut")) stream.ShutdownSend();
  }
  void OnSendReady(Stream& stream) override { stream.ResumeReceiving(); }

  void OnReceiveEnd(Stream& stream) override {
    Tell("end");
    stream.Close();
  }

  void OnClose(Stream& /*stream*/, const absl::Status& status) override {
    Tell(absl::StrCat("close\tbytes=", received_, "\tstatus=", Escaped(status.ToString())));
    if (stop_at_close_ != nullptr) stop_at_close_->Stop();
  }

  EventLoop* const stop_at_close_;
  uint64_t received_ = 0;
};

// For a server of another kind than echo: what it answers is told, line by line.
class Reader final : public StreamHandler {
 public:
  explicit Reader(EventLoop& loop) : loop_(loop) {}

 private:
  void OnReceive(Stream& /*stream*/, absl::Span<uint8_t> bytes) override {
    text_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

  void OnReceiveEnd(Stream& stream) override {
    Tell("end");
    stream.Close();
  }

  void OnClose(Stream& /*stream*/, const absl::Status& status) override {
    Tell(absl::StrCat("received\ttext=", Escaped(text_)));
    Tell(absl::StrCat("close\tbytes=", text_.size(), "\tstatus=", Escaped(status.ToString())));
    loop_.Stop();
  }

  EventLoop& loop_;
  std::string text_;
};

int Fail(absl::string_view why) {
  std::fprintf(stderr, "tls_peer: %s\n", std::string(why).c_str());
  return 1;
}

HandshakeOptions HandshakeOptionsOf(const TlsFlags& flags) {
  HandshakeOptions options;
  options.timeout = flags.handshake_timeout;
  return options;
}

int IndexOf(LoopGroup& group, const EventLoop& loop) {
  int index = 0;
  while (&group.loop(index) != &loop) ++index;
  return index;
}

int Serve(const SocketAddress& address, int threads, const TlsFlags& flags) {
  const auto context = flags.ServerContext();
  if (!context.ok()) return Fail(context.status().ToString());
  absl::StatusOr<std::unique_ptr<EventLoop>> loop = EventLoop::Create();
  if (!loop.ok()) return Fail(loop.status().ToString());
  const sluice::SignalWatcher signals(**loop, {SIGTERM, SIGUSR1}, [&](int signal) {
    if (signal == SIGTERM) return (*loop)->Stop();
    flags.ticket_keys->Rotate();
    Tell("rotated");
  });
  absl::StatusOr<std::unique_ptr<LoopGroup>> group = LoopGroup::Start({.threads = threads});
  if (!group.ok()) return Fail(group.status().ToString());
  absl::StatusOr<std::unique_ptr<GroupListener>> listener = GroupListener::Listen(
      **group, address, {}, [&](EventLoop& accepting, std::unique_ptr<Stream> lower) {
        const int index = IndexOf(**group, accepting);
        sluice::tls::Accept(std::move(lower), *context, HandshakeOptionsOf(flags),
                            [index](StreamOr stream) {
                              if (!stream.ok()) return TellFailed(stream.status());
                              TellOpen(**stream, index);
                              Stream::Run(*std::move(stream), std::make_unique<Echo>(nullptr));
                            });
      });
  if (!listener.ok()) return Fail(listener.status().ToString());
  Tell(absl::StrCat("listening on ", (*listener)->address().ToString()));
  (*loop)->Run();
  listener->reset();
  (*group)->Drain(absl::Seconds(10));
  return 0;
}

// Connects so often, with one context.
class Client {
 public:
  Client(EventLoop& loop, const SocketAddress& address, std::string text, const TlsFlags& flags,
         std::shared_ptr<const sluice::tls::ClientContext> context)
      : loop_(loop),
        address_(address),
        text_(std::move(text)),
        flags_(flags),
        context_(std::move(context)),
        connector_(loop) {}

  absl::Status Run() {
    connector_.Connect(address_, {}, [this](absl::StatusOr<std::unique_ptr<Stream>> lower) {
      status_ = lower.status();
      if (!status_.ok()) return loop_.Stop();
      sluice::tls::Connect(*std::move(lower), context_, flags_.host, HandshakeOptionsOf(flags_),
                           [this](StreamOr stream) { OnOpen(std::move(stream)); });
    });
    loop_.Run();
    return status_;
  }

 private:
  void OnOpen(StreamOr stream) {
    if (!stream.ok()) {
      TellFailed(stream.status());
      return loop_.Stop();
    }
    TellOpen(**stream, 0);
    if (text_.empty()) return Stream::Run(*std::move(stream), std::make_unique<Echo>(&loop_));
    (*stream)->Send(text_);
    Stream::Run(*std::move(stream), std::make_unique<Reader>(loop_));
  }

  EventLoop& loop_;
  const SocketAddress address_;
  const std::string text_;
  const TlsFlags& flags_;
  const std::shared_ptr<const sluice::tls::ClientContext> context_;
  Connector connector_;
  absl::Status status_;
};

int Connect(const SocketAddress& address, std::string text, const TlsFlags& flags) {
  auto context = flags.ClientContext();
  if (!context.ok()) return Fail(context.status().ToString());
  absl::StatusOr<std::unique_ptr<EventLoop>> loop = EventLoop::Create();
  if (!loop.ok()) return Fail(loop.status().ToString());
  Client client(**loop, address, std::move(text), flags, *std::move(context));
  for (int i = 0; i < flags.times; ++i) {
    if (const absl::Status status = client.Run(); !status.ok()) return Fail(status.ToString());
  }
  return 0;
}

int Main(std::vector<std::string> words) {
  absl::StatusOr<TlsFlags> flags = TlsFlags::Take(words);
  if (!flags.ok()) return Fail(flags.status().ToString());
  if (words.size() < 2 || words.size() > 3)
    return Fail("serve ADDRESS:PORT [THREADS] | connect ADDRESS:PORT [TEXT]");
  const absl::StatusOr<SocketAddress> address = SocketAddress::Parse(words[1]);
  if (!address.ok()) return Fail(address.status().ToString());
  if (words[0] == "serve") {
    int threads = 1;
    if (words.size() == 3 && !absl::SimpleAtoi(words[2], &threads))
      return Fail("THREADS is a number");
    return Serve(*address, threads, *flags);
  }
  std::string text;
  std::string error;
  if (words.size() == 3 && !absl::CUnescape(words[2], &text, &error)) return Fail(error);
  if (flags->host.empty()) flags->host = words[1].substr(0, words[1].rfind(':'));
  if (words[0] == "connect") return Connect(*address, text, *flags);
  return Fail("neither serve nor connect");
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  return Main(std::vector<std::string>(argv + 1, argv + argc));
}
