#include "sluice/tools/dialer.h"

#include <utility>

namespace sluice::tools {

Dialer::Dialer(EventLoop& loop, const ClientEncryption* encryption)
    : encryption_(encryption), connector_(loop) {}

Dialer::~Dialer() = default;

void Dialer::Connect(const SocketAddress& address, const Connector::Options& options,
                     EncryptedFunction done) {
  if (encryption_ == nullptr) return connector_.Connect(address, options, std::move(done));
  options_ = options;
  done_ = std::move(done);
  connector_.Connect(address, options, [this](absl::StatusOr<std::unique_ptr<Stream>> stream) {
    OnConnect(std::move(stream));
  });
}

// Whoever is called back may destroy this, and done_ with it, so it is called from elsewhere.
void Dialer::OnConnect(absl::StatusOr<std::unique_ptr<Stream>> stream) {
  EncryptedFunction done = std::move(done_);
  if (!stream.ok()) return done(stream.status());
  attempt_ = encryption_->Connect(*std::move(stream), options_.stream.limits, options_.timeout,
                                  std::move(done));
}

}  // namespace sluice::tools
