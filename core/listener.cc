#include <algorithm>
#include <utility>

#include "sluice/core/internal/system_error.h"
#include "sluice/core/internal/tcp_stream.h"
#include "sluice/core/tcp.h"
#include "sluice/core/timer.h"

namespace sluice {
namespace {

constexpr absl::Duration kShortestBackoff = absl::Milliseconds(10);
constexpr absl::Duration kLongestBackoff = absl::Seconds(1);

}  // namespace

// Shared by the Listener and the streams that it accepted, which report their end.
class Listener::Impl final : public Poller::Acceptor, public TcpStream::Origin {
 public:
  Impl(EventLoop& loop, const Options& options, AcceptFunction on_accept)
      : Origin(options.stream),
        loop_(loop),
        max_connections_(options.max_connections),
        listen_options_(options.listen),
        on_accept_(std::move(on_accept)),
        on_shortage_(options.on_shortage),
        retry_([this] { OnRetry(); }) {}

  absl::Status Check() const {
    return max_connections_ >= 1
               ? absl::OkStatus()
               : absl::InvalidArgumentError("listen: max_connections must be at least 1");
  }

  absl::Status Listen(const SocketAddress& address) {
    absl::Status status = loop_.poller().Listen(*this, address, listen_options_);
    if (!status.ok()) return status;
    address_ = loop_.poller().LocalAddress(*this);
    return status;
  }

  absl::Status ListenShared(const Impl& other) {
    address_ = other.address_;
    return loop_.poller().ListenShared(*this, other);
  }

  void Close() {
    retry_.Cancel();
    loop_.poller().Close(*this);
    closed_ = true;
    if (!calling_) Forget();
    Unref();
  }

  void Unref() {
    if (--references_ == 0) delete this;
  }

  const SocketAddress& address() const { return address_; }
  int connections() const { return connections_; }
  Counters counters() const { return counters_; }

 private:
  void OnAccept(Poller::Accepted accepted, const SocketAddress& peer) override {
    auto stream = std::make_unique<TcpStream>(loop_, peer, *this);
    stream->Attach(std::move(accepted));
    ++connections_;
    ++counters_.accepted;
    backoff_ = absl::ZeroDuration();
    UpdateAccepting();
    ++references_;  // the stream's
    Call([&] { on_accept_(std::move(stream)); });
  }

  void OnAcceptError(int error, int shed) override {
    counters_.shed += static_cast<uint64_t>(shed);
    ++counters_.backoffs;
    backoff_ = std::clamp(backoff_ * 2, kShortestBackoff, kLongestBackoff);
    backing_off_ = true;
    UpdateAccepting();
    loop_.ArmTimer(retry_, backoff_);
    if (on_shortage_ == nullptr) return;
    Call([&] { on_shortage_(internal::SystemError(error, "accept", address_.ToString())); });
  }

  // The user's function may destroy the Listener, and the stream that it is given.
  void Call(absl::FunctionRef<void()> function) {
    ++references_;
    calling_ = true;
    function();
    calling_ = false;
    if (closed_) Forget();
    Unref();
  }

  void Forget() {
    on_accept_ = nullptr;
    on_shortage_ = nullptr;
  }

  void OnRetry() {
    backing_off_ = false;
    UpdateAccepting();
  }

  void OnConnect(TcpStream& /*stream*/, int /*error*/) override {}

  void OnStreamGone() override {
    --connections_;
    UpdateAccepting();
    Unref();
  }

  void UpdateAccepting() {
    const bool pause = backing_off_ || connections_ >= max_connections_;
    if (pause == paused_ || closed_) return;
    paused_ = pause;
    if (pause) {
      loop_.poller().PauseAccepting(*this);
    } else {
      loop_.poller().ResumeAccepting(*this);
    }
  }

  EventLoop& loop_;
  const int max_connections_;
  const ListenOptions listen_options_;
  AcceptFunction on_accept_;
  std::function<void(const absl::Status&)> on_shortage_;
  Timer retry_;
  SocketAddress address_;
  absl::Duration backoff_ = absl::ZeroDuration();
  Counters counters_;
  int references_ = 1;
  int connections_ = 0;
  bool backing_off_ = false;
  bool paused_ = false;
  bool calling_ = false;  // one of the functions
  bool closed_ = false;
};

absl::StatusOr<std::unique_ptr<Listener>> Listener::Listen(EventLoop& loop,
                                                           const SocketAddress& address,
                                                           const Options& options,
                                                           AcceptFunction on_accept) {
  return Make(new Impl(loop, options, std::move(on_accept)),
              [&](Impl& impl) { return impl.Listen(address); });
}

absl::StatusOr<std::unique_ptr<Listener>> Listener::ListenShared(EventLoop& loop,
                                                                 const Listener& other,
                                                                 const Options& options,
                                                                 AcceptFunction on_accept) {
  return Make(new Impl(loop, options, std::move(on_accept)),
              [&](Impl& impl) { return impl.ListenShared(*other.impl_); });
}

absl::StatusOr<std::unique_ptr<Listener>> Listener::Make(
    Impl* impl, absl::FunctionRef<absl::Status(Impl&)> listen) {
  absl::Status status = impl->Check();
  if (status.ok()) status = listen(*impl);
  if (!status.ok()) {
    impl->Unref();
    return status;
  }
  return std::unique_ptr<Listener>(new Listener(impl));
}

Listener::~Listener() { impl_->Close(); }

SocketAddress Listener::address() const { return impl_->address(); }
int Listener::connections() const { return impl_->connections(); }
Listener::Counters Listener::counters() const { return impl_->counters(); }

}  // namespace sluice
