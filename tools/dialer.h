// Dialer makes one connection for a client: a Connector's, and over it, where there is a
// ClientEncryption, an encrypted one.
//
// Example:
//   Dialer dialer(loop, encryption.get());      // null for a plain connection
//   dialer.Connect(url.address, options, [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
//     ...
//   });
//
// Destroying it gives the attempt up; the function is then not called. Options are a Connector's;
// its timeout is for each of both steps, its limits are the finished stream's.
//
// Loop-bound.
#ifndef SLUICE_TOOLS_DIALER_H_
#define SLUICE_TOOLS_DIALER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/tools/encryption.h"

namespace sluice::tools {

class Dialer {
 public:
  // `encryption` must outlive it, and the stream.
  Dialer(EventLoop& loop, const ClientEncryption* encryption);
  ~Dialer();
  Dialer(const Dialer&) = delete;
  Dialer& operator=(const Dialer&) = delete;

  // Once. The function may destroy the Dialer.
  void Connect(const SocketAddress& address, const Connector::Options& options,
               EncryptedFunction done);

  // Whether the connection stood, so that what failed is the handshake.
  bool encrypting() const { return attempt_ != nullptr; }

 private:
  void OnConnect(absl::StatusOr<std::unique_ptr<Stream>> stream);

  const ClientEncryption* const encryption_;
  Connector connector_;
  Connector::Options options_;
  EncryptedFunction done_;
  std::unique_ptr<ClientEncryption::Attempt> attempt_;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_DIALER_H_
