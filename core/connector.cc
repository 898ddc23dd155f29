#include <utility>

#include "absl/strings/str_cat.h"
#include "sluice/core/internal/system_error.h"
#include "sluice/core/internal/tcp_stream.h"
#include "sluice/core/tcp.h"
#include "sluice/core/timer.h"

namespace sluice {

class Connector::Impl final : public TcpStream::Origin {
 public:
  explicit Impl(EventLoop& loop) : Origin({}), loop_(loop), timer_([this] { OnTimer(); }) {}
  virtual ~Impl() { Cancel(); }

  void Connect(const SocketAddress& address, const Options& options, ConnectFunction on_connect) {
    Cancel();
    address_ = address;
    on_connect_ = std::move(on_connect);
    timeout_ = options.timeout;
    stream_options_ = options.stream;
    stream_ = std::make_unique<TcpStream>(loop_, address, *this);
    error_ = stream_->Connect(address, options.socket);
    // What failed already is told by the timer, too: never from inside this call.
    loop_.ArmTimer(timer_, error_.ok() ? timeout_ : absl::ZeroDuration());
  }

  void Cancel() {
    timer_.Cancel();
    on_connect_ = nullptr;
    DropStream();
  }

  bool connecting() const { return stream_ != nullptr; }

 private:
  void OnConnect(TcpStream& /*stream*/, int error) override {
    if (error != 0) return Fail(internal::SystemError(error, "connect", address_.ToString()));
    timer_.Cancel();
    stream_->ForgetOrigin();
    ConnectFunction on_connect = std::move(on_connect_);
    on_connect(std::move(stream_));  // may destroy this
  }

  void OnStreamGone() override {}

  void OnTimer() {
    if (!error_.ok()) return Fail(std::move(error_));
    Fail(absl::DeadlineExceededError(absl::StrCat(
        address_.ToString(), ": connect: no answer within ", absl::FormatDuration(timeout_))));
  }

  void Fail(absl::Status status) {
    timer_.Cancel();
    DropStream();
    ConnectFunction on_connect = std::move(on_connect_);
    on_connect(std::move(status));  // may destroy this
  }

  void DropStream() {
    if (stream_ == nullptr) return;
    stream_->ForgetOrigin();
    stream_.reset();
  }

  EventLoop& loop_;
  Timer timer_;
  SocketAddress address_;
  absl::Duration timeout_;
  ConnectFunction on_connect_;
  std::unique_ptr<TcpStream> stream_;
  absl::Status error_;
};

Connector::Connector(EventLoop& loop) : impl_(std::make_unique<Impl>(loop)) {}
Connector::~Connector() = default;

void Connector::Connect(const SocketAddress& address, const Options& options,
                        ConnectFunction on_connect) {
  impl_->Connect(address, options, std::move(on_connect));
}

void Connector::Cancel() { impl_->Cancel(); }
bool Connector::connecting() const { return impl_->connecting(); }

}  // namespace sluice
