// MemoryServer is the server's side of a TLS connection over a MemoryStream, from the first bytes
// of its handshake on: what benchmarks set beside BoringSSL alone (bare_peer.h). A handshake that
// fails ends the process.
#ifndef SLUICE_TLS_MEMORY_SERVER_H_
#define SLUICE_TLS_MEMORY_SERVER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "sluice/core/internal/check.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/tls/context.h"
#include "sluice/tls/memory_stream.h"
#include "sluice/tls/testing.h"
#include "sluice/tls/tls_stream.h"

namespace sluice::tls {

class MemoryServer {
 public:
  // `handler` becomes the stream's when the handshake is done, and outlives this.
  MemoryServer(VirtualLoop& loop, std::shared_ptr<const ServerContext> context,
               StreamHandler& handler) {
    auto transport = std::make_unique<MemoryStream>(loop.loop());
    transport_ = transport.get();
    Accept(std::move(transport), std::move(context), {},
           [this, &handler](absl::StatusOr<std::unique_ptr<TlsStream>> stream) {
             SLUICE_CHECK(stream.ok());
             stream_ = *std::move(stream);
             stream_->SetHandler(handler);
           });
    transport_->Flush();
  }

  bool done() const { return stream_ != nullptr; }
  void Receive(absl::Span<uint8_t> bytes) { transport_->Receive(bytes); }
  std::string TakeSent() { return transport_->TakeSent().ToString(); }
  MemoryStream& transport() { return *transport_; }

  // With a certificate of an authority of its own.
  static std::shared_ptr<const ServerContext> MakeContext() {
    ServerOptions options;
    options.identities = {TestAuthority().Issue()};
    return *ServerContext::Create(options);
  }

 private:
  MemoryStream* transport_;
  std::unique_ptr<TlsStream> stream_;
};

// Sends back what it receives, without copying it.
class MemoryEcho : public StreamHandler {
  void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override { stream.SendLent(bytes); }
};

}  // namespace sluice::tls

#endif  // SLUICE_TLS_MEMORY_SERVER_H_
