// Whatever records a client seals with the right keys, the server's side delivers bytes of them,
// ends, or finds them wrong, once and for all; and what it keeps is bounded. The input is a list of
// records: a type, a length of two bytes, the bytes. Type 255 changes the client's keys as if a
// KeyUpdate had been sent; 254 sends the bytes as they are.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "openssl/err.h"
#include "openssl/ssl.h"
#include "sluice/tls/bare_peer.h"
#include "sluice/tls/context.h"
#include "sluice/tls/context_impl.h"
#include "sluice/tls/internal/record_pair.h"
#include "sluice/tls/testing.h"

namespace sluice::tls::internal {
namespace {

void Check(bool condition) {
  if (!condition) std::abort();
}

std::shared_ptr<const ServerContext> MakeContext() {
  ServerOptions options;
  options.identities = {TestAuthority().Issue()};
  return *ServerContext::Create(options);
}

void Run(absl::string_view input) {
  static const auto* const context = new std::shared_ptr<const ServerContext>(MakeContext());
  static const auto* const clients = new BareClientContext;
  RecordPair pair(ContextAccess::Of(**context).ctx.get(), clients->ctx(), 4);
  const size_t space = input.empty() ? 1 : 1 + static_cast<uint8_t>(input[0]) * 100;
  size_t sent = 0, read = 0;
  int last = SSL_ERROR_WANT_READ;
  while (input.size() >= 3) {
    const auto type = static_cast<uint8_t>(input[0]);
    const size_t size = static_cast<uint8_t>(input[1]) << 8 | static_cast<uint8_t>(input[2]);
    input.remove_prefix(3);
    const absl::string_view bytes = input.substr(0, std::min<size_t>(size, 17'000));
    input.remove_prefix(bytes.size());
    if (type == 255) {
      pair.client_keys().Update();
    } else {
      pair.SendToServer(type == 254 ? std::string(bytes) : pair.Seal(type, bytes));
      sent += bytes.size();
    }
    read += pair.ReadAtServer(space).size();
    Check(read <= sent);
    if (last != SSL_ERROR_WANT_READ) Check(pair.outcome() == last);
    last = pair.outcome();
    Check(last == SSL_ERROR_WANT_READ || last == SSL_ERROR_ZERO_RETURN || last == SSL_ERROR_SSL);
    if (last == SSL_ERROR_WANT_READ) {
      Check(pair.server().input_size() < 17'000);
      RecordPair::Write(pair.server(), "answer");
    }
    ERR_clear_error();
    pair.server().TakeOutput();
  }
}

}  // namespace
}  // namespace sluice::tls::internal

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::tls::internal::Run({reinterpret_cast<const char*>(data), size});
  return 0;
}
