// tls::Dialer makes connections with TLS over those of another Dialer, whichever that is: a direct
// one, a proxy's, another one with TLS (a proxy that is itself reached by TLS).
//
// Example:
//   auto context = *tls::ClientContext::Create({});
//   auto dialer = std::make_shared<tls::Dialer>(std::make_shared<DirectDialer>(), context);
//   auto attempt = dialer->Dial(loop, {.host = "127.0.0.1", .port = 443}, {}, done);
//
// The stream is a TlsStream (a dynamic_cast tells what was agreed on). Errors are those of
// HandshakeFunction (tls_stream.h), which IsHandshakeError tells from those of the dialer beneath.
//
// Thread-compatible, and may be shared by all loops; attempts are loop-bound.
#ifndef SLUICE_TLS_DIALER_H_
#define SLUICE_TLS_DIALER_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/tls/context.h"

namespace sluice::tls {

class Dialer final : public sluice::Dialer {
 public:
  // `server_name` is whom the server's certificate must be for, and who the server is told it
  // should be (SNI); empty for the host that is dialed.
  Dialer(std::shared_ptr<const sluice::Dialer> lower, std::shared_ptr<const ClientContext> context,
         std::string server_name = "");

  std::unique_ptr<Attempt> Dial(EventLoop& loop, const Endpoint& endpoint,
                                const DialOptions& options, DialFunction done) const override;

 private:
  const std::shared_ptr<const sluice::Dialer> lower_;
  const std::shared_ptr<const ClientContext> context_;
  const std::string server_name_;
};

// Whether there was a connection, and then no handshake: an error of a Dialer of this kind (or of
// one beneath that passes on what it was told). It is marked (a payload of the Status), so that no
// text of a peer's can be taken for it.
bool IsHandshakeError(const absl::Status& error);

}  // namespace sluice::tls

#endif  // SLUICE_TLS_DIALER_H_
