// Whatever a peer sends to a server that expects TLS, its handshake ends once, within its deadline,
// and nothing is left. The first byte chooses how the bytes are cut and what ends them.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/tls/context.h"
#include "sluice/tls/testing.h"
#include "sluice/tls/tls_stream.h"

namespace sluice::tls {
namespace {

void Check(bool condition) {
  if (!condition) std::abort();
}

std::shared_ptr<const ServerContext> MakeContext() {
  const TestAuthority authority;
  ServerOptions options;
  options.identities = {authority.Issue(), authority.Issue({.names = {"*.example.org"}})};
  options.alpn = {"h2"};
  options.client_certificates = ClientCertificates::kRequest;
  options.client_roots = authority.roots();
  return *ServerContext::Create(options);
}

void Serve(uint8_t how, absl::Span<const uint8_t> bytes) {
  static const auto* const context = new std::shared_ptr<const ServerContext>(MakeContext());
  VirtualLoop loop;
  StreamPair pair(loop.loop());
  if ((how & 3) != 0) pair.to_server().set_max_chunk(how & 3);
  int calls = 0;
  Accept(pair.TakeServer(), *context, {}, [&](absl::StatusOr<std::unique_ptr<TlsStream>> stream) {
    ++calls;
    Check(!stream.ok());
  });
  StreamRecorder peer(pair.TakeClient());
  peer.stream().Send(bytes);
  loop.RunUntilIdle();
  if ((how & 4) != 0) peer.stream().Close();
  if ((how & 8) != 0) pair.Break();
  loop.Advance(absl::Seconds(11));
  Check(calls == 1);
  peer.Destroy();
  loop.RunUntilIdle();
  Check(loop.loop().counters().streams == 0);
}

}  // namespace
}  // namespace sluice::tls

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  sluice::tls::Serve(data[0], absl::MakeConstSpan(data + 1, size - 1));
  return 0;
}
