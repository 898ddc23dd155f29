#include "sluice/protocols/proxy/internal/tunnel.h"

#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace sluice::proxy::internal {

absl::Status CheckTarget(const Endpoint& target) {
  if (absl::Status status = target.Check(); !status.ok()) return status;
  if (!absl::StrContains(target.host, '%')) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      target.ToString(), ": an address with an interface of this host means nothing to a proxy"));
}

Tunnel::Tunnel(EventLoop& loop, const Endpoint& proxy, absl::string_view request,
               const DialOptions& options, Dialer::DialFunction done)
    : loop_(loop),
      proxy_(proxy),
      what_(absl::StrCat("proxy ", proxy.ToString(), ": ", request)),
      options_(options),
      deadline_(loop.NowExact() + options.timeout),
      done_(std::move(done)),
      timer_([this] {
        Fail(absl::StatusCode::kDeadlineExceeded,
             absl::StrCat("no answer within ", absl::FormatDuration(options_.timeout)));
      }) {}

void Tunnel::Dial(const Dialer& lower) {
  lower_ =
      lower.Dial(loop_, proxy_, options_, [this](absl::StatusOr<std::unique_ptr<Stream>> stream) {
        if (!stream.ok()) return Fail(stream.status().code(), stream.status().message());
        stream_ = *std::move(stream);
        loop_.ArmTimer(timer_, deadline_);
        OnConnected();
        stream_->SetHandler(*this);
      });
}

void Tunnel::Expect(size_t least, size_t most) {
  least_ = least;
  received_ = 0;
  stream_->ReceiveInto(absl::MakeSpan(storage_).first(most));
}

void Tunnel::OnReceive(Stream& /*stream*/, absl::Span<uint8_t> bytes) {
  received_ += bytes.size();
  if (received_ >= least_) OnExpected(absl::MakeConstSpan(storage_).first(received_));
}

void Tunnel::OnReceiveEnd(Stream& /*stream*/) {
  Fail(absl::StatusCode::kUnavailable, "the proxy ended the connection");
}

void Tunnel::OnDrain(Stream& /*stream*/) {
  Fail(absl::StatusCode::kCancelled, "the event loop drains");
}

void Tunnel::OnClose(Stream& /*stream*/, const absl::Status& status) {
  if (status.ok()) return Fail(absl::StatusCode::kUnavailable, "the connection was closed");
  Fail(status.code(), status.message());
}

void Tunnel::Succeed() {
  stream_->ClearHandler();
  Finish(std::move(stream_));
}

void Tunnel::Fail(absl::StatusCode code, absl::string_view why) {
  absl::Status status(code, absl::StrCat(what_, ": ", why));
  stream_.reset();
  Finish(std::move(status));
}

void Tunnel::Finish(absl::StatusOr<std::unique_ptr<Stream>> stream) {
  timer_.Cancel();
  Dialer::DialFunction done = std::move(done_);
  done(std::move(stream));  // may destroy this
}

}  // namespace sluice::proxy::internal
