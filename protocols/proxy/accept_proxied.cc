#include "sluice/protocols/proxy/accept_proxied.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/timer.h"

namespace sluice::proxy {
namespace {

// Owns itself: each of its callbacks either leaves the stream waiting for the next, or is the last.
// The loop's end is one, too (OnClose).
class Acceptance final : public StreamHandler {
 public:
  Acceptance(std::unique_ptr<Stream> stream, const AcceptProxiedOptions& options,
             ProxiedFunction done)
      : options_(options), done_(std::move(done)), stream_(std::move(stream)), timer_([this] {
          Fail(absl::DeadlineExceededError(absl::StrCat("no PROXY protocol header within ",
                                                        absl::FormatDuration(options_.timeout))));
        }) {
    stream_->loop().ArmTimer(timer_, options_.timeout);
    Expect(ReadProxyHeader({}, options_.header)->missing);
    stream_->SetHandler(*this);
  }

 private:
  // No more than what is the header's, so that the stream keeps what follows.
  void Expect(size_t missing) {
    const size_t received = storage_.size();
    storage_.resize(received + missing);
    filled_ = received;
    stream_->ReceiveInto(absl::MakeSpan(storage_).subspan(received));
  }

  void OnReceive(Stream& /*stream*/, absl::Span<uint8_t> bytes) override {
    filled_ += bytes.size();
    absl::StatusOr<ProxyHeaderPart> part =
        ReadProxyHeader(absl::MakeConstSpan(storage_).first(filled_), options_.header);
    if (!part.ok()) return Fail(part.status());
    if (part->size != 0) return Succeed(std::move(part->header));
    if (filled_ == storage_.size()) Expect(part->missing);
  }

  void OnReceiveEnd(Stream& /*stream*/) override {
    Fail(absl::UnavailableError("the connection ended before its PROXY protocol header"));
  }

  void OnDrain(Stream& /*stream*/) override { Fail(absl::CancelledError("the event loop drains")); }

  void OnClose(Stream& /*stream*/, const absl::Status& status) override {
    Fail(status.ok() ? absl::UnavailableError("the connection was closed") : status);
  }

  void Succeed(ProxyHeader header) {
    stream_->ClearHandler();
    Finish(Proxied{std::move(stream_), std::move(header)});
  }

  // The stream's own errors name the peer already.
  void Fail(const absl::Status& status) {
    const std::string peer = absl::StrCat(stream_->peer_address().ToString(), ": ");
    absl::Status named = absl::StartsWith(status.message(), peer)
                             ? status
                             : absl::Status(status.code(), absl::StrCat(peer, status.message()));
    stream_.reset();
    Finish(std::move(named));
  }

  void Finish(absl::StatusOr<Proxied> proxied) {
    ProxiedFunction done = std::move(done_);
    delete this;
    done(std::move(proxied));
  }

  const AcceptProxiedOptions options_;
  ProxiedFunction done_;
  std::vector<uint8_t> storage_;  // outlives the stream, which receives into it
  size_t filled_ = 0;
  std::unique_ptr<Stream> stream_;
  Timer timer_;
};

}  // namespace

void AcceptProxied(std::unique_ptr<Stream> stream, const AcceptProxiedOptions& options,
                   ProxiedFunction done) {
  new Acceptance(std::move(stream), options, std::move(done));
}

}  // namespace sluice::proxy
