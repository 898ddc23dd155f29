// A server and a client that begin in clear and go on under TLS, as in SMTP, for the integration
// tests of STARTTLS; and what is sent of files, with TLS and without.
//
//   start_tls_peer serve ADDRESS:PORT [--...]
//     prints `listening on ADDRESS:PORT`; until SIGTERM
//   start_tls_peer connect ADDRESS:PORT [--...]
//     EHLO, STARTTLS, EHLO, NOOP, QUIT; until the connection has ended
//
// The flags are those of tls_flags.h. The server knows EHLO, STARTTLS, QUIT, and FILE PATH, which
// it answers with "250 SIZE" and the file; to everything else it says 250.
//
// It tells, in lines of words that are separated by tabs:
//   said    text (a line of the other side), encrypted (1 or 0)
//   open    version
//   failed  status (of an upgrade)
//   close   status

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/signals.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/tests/integration/tls_flags.h"
#include "sluice/tls/context.h"
#include "sluice/tls/start_tls.h"
#include "sluice/tls/tls_stream.h"

namespace {

using sluice::Connector;
using sluice::EventLoop;
using sluice::Listener;
using sluice::SendResult;
using sluice::SocketAddress;
using sluice::Stream;
using sluice::StreamHandler;
using sluice::TlsFlags;
using sluice::tls::TlsStream;

using StreamOr = absl::StatusOr<std::unique_ptr<TlsStream>>;

void Tell(absl::string_view event) { std::printf("%s\n", std::string(event).c_str()); }

int Fail(absl::string_view why) {
  std::fprintf(stderr, "start_tls_peer: %s\n", std::string(why).c_str());
  return 1;
}

// One end of a connection; goes with it.
class Session : public StreamHandler {
 public:
  void Begin(std::unique_ptr<Stream> stream) {
    stream_ = std::move(stream);
    stream_->SetHandler(*this);
  }

 protected:
  virtual void OnLine(absl::string_view line) = 0;
  virtual void OnEncrypted() {}

  void Say(absl::string_view line) { stream_->Send(absl::StrCat(line, "\r\n")); }
  bool encrypted() const { return encrypted_; }
  Stream& stream() { return *stream_; }

  // For an upgrade: the stream, and what it has received and nobody has used.
  std::unique_ptr<Stream> TakeStream() { return std::move(stream_); }
  absl::Span<const uint8_t> received() const {
    return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text_.data()), text_.size());
  }
  void OnUpgraded(StreamOr stream) {
    if (!stream.ok()) {
      Tell(absl::StrCat("failed\tstatus=", absl::CEscape(stream.status().ToString())));
      return Finish();
    }
    Tell(absl::StrCat("open\tversion=", sluice::tls::VersionName((*stream)->version())));
    encrypted_ = true;
    Begin(*std::move(stream));
    OnEncrypted();
  }

 private:
  virtual void OnFinished() {}

  void OnReceive(Stream&, absl::Span<uint8_t> bytes) override {
    text_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    for (size_t end; stream_ != nullptr && (end = text_.find("\r\n")) != std::string::npos;) {
      const std::string line = text_.substr(0, end);
      text_.erase(0, end + 2);
      Tell(absl::StrCat("said\ttext=", absl::CEscape(line), "\tencrypted=", encrypted_ ? 1 : 0));
      OnLine(line);
    }
  }
  void OnClose(Stream&, const absl::Status& status) override {
    Tell(absl::StrCat("close\tstatus=", absl::CEscape(status.ToString())));
    Finish();
  }
  void Finish() {
    OnFinished();
    delete this;
  }

  std::unique_ptr<Stream> stream_;
  std::string text_;
  bool encrypted_ = false;
};

class ServerSession final : public Session {
 public:
  explicit ServerSession(std::shared_ptr<const sluice::tls::ServerContext> context)
      : context_(std::move(context)) {}

  void Greet() { Say("220 localhost"); }

 private:
  void OnLine(absl::string_view line) override {
    if (line == "STARTTLS" && !encrypted()) {
      Say("220 go ahead");
      return sluice::tls::AcceptStartTls(
          TakeStream(), received(), context_, {},
          [this](StreamOr upgraded) { OnUpgraded(std::move(upgraded)); });
    }
    if (absl::StartsWithIgnoreCase(line, "EHLO"))
      return Say(encrypted() ? "250 localhost" : "250-localhost\r\n250 STARTTLS");
    if (absl::ConsumePrefix(&line, "FILE ")) return SendFile(std::string(line));
    const bool quits = absl::EqualsIgnoreCase(line, "QUIT");
    Say(quits ? "221 bye" : absl::StrCat("250 ", line));
    if (quits) stream().Close();
  }

  void SendFile(const std::string& path) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat info = {};
    fstat(fd, &info);
    Say(absl::StrCat("250 ", info.st_size));
    const absl::StatusOr<SendResult> sent =
        stream().SendFile(fd, 0, static_cast<uint64_t>(info.st_size));
    close(fd);
    if (!sent.ok()) stream().Abort(sent.status());
  }

  const std::shared_ptr<const sluice::tls::ServerContext> context_;
};

class ClientSession final : public Session {
 public:
  ClientSession(EventLoop& loop, std::shared_ptr<const sluice::tls::ClientContext> context,
                std::string host)
      : loop_(loop), context_(std::move(context)), host_(std::move(host)) {}

 private:
  // Each answer brings the next question; 250- is not the last line of one.
  void OnLine(absl::string_view line) override {
    if (absl::StartsWith(line, "250-")) return;
    if (absl::StartsWith(line, "5")) return stream().Close();
    switch (++answers_) {
      case 1:
        return Say("EHLO client");
      case 2:
        return Say("STARTTLS");
      case 3:
        return sluice::tls::ConnectStartTls(
            TakeStream(), received(), context_, host_, {},
            [this](StreamOr upgraded) { OnUpgraded(std::move(upgraded)); });
      case 4:
        return Say("NOOP");
      case 5:
        return Say("QUIT");
      default:
        return stream().Close();
    }
  }
  void OnEncrypted() override { Say("EHLO client"); }
  void OnFinished() override { loop_.Stop(); }

  EventLoop& loop_;
  const std::shared_ptr<const sluice::tls::ClientContext> context_;
  const std::string host_;
  int answers_ = 0;
};

int Serve(EventLoop& loop, const SocketAddress& address, const TlsFlags& flags) {
  const auto context = flags.ServerContext();
  if (!context.ok()) return Fail(context.status().ToString());
  const sluice::SignalWatcher signals(loop, {SIGTERM}, [&](int) { loop.Stop(); });
  absl::StatusOr<std::unique_ptr<Listener>> listener =
      Listener::Listen(loop, address, {}, [&](std::unique_ptr<Stream> stream) {
        auto* const session = new ServerSession(*context);
        session->Begin(std::move(stream));
        session->Greet();
      });
  if (!listener.ok()) return Fail(listener.status().ToString());
  Tell(absl::StrCat("listening on ", (*listener)->address().ToString()));
  loop.Run();
  return 0;
}

int Connect(EventLoop& loop, const SocketAddress& address, const TlsFlags& flags) {
  const auto context = flags.ClientContext();
  if (!context.ok()) return Fail(context.status().ToString());
  Connector connector(loop);
  absl::Status status;
  connector.Connect(address, {}, [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
    status = stream.status();
    if (!status.ok()) return loop.Stop();
    (new ClientSession(loop, *context, flags.host))->Begin(*std::move(stream));
  });
  loop.Run();
  return status.ok() ? 0 : Fail(status.ToString());
}

int Main(std::vector<std::string> words) {
  const absl::StatusOr<TlsFlags> flags = TlsFlags::Take(words);
  if (!flags.ok()) return Fail(flags.status().ToString());
  if (words.size() != 2 || (words[0] != "serve" && words[0] != "connect"))
    return Fail("serve ADDRESS:PORT | connect ADDRESS:PORT");
  const absl::StatusOr<SocketAddress> address = SocketAddress::Parse(words[1]);
  if (!address.ok()) return Fail(address.status().ToString());
  const absl::StatusOr<std::unique_ptr<EventLoop>> loop = EventLoop::Create();
  if (!loop.ok()) return Fail(loop.status().ToString());
  return words[0] == "serve" ? Serve(**loop, *address, *flags) : Connect(**loop, *address, *flags);
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  return Main(std::vector<std::string>(argv + 1, argv + argc));
}
