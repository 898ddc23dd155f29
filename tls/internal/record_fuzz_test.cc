// Whatever records a client seals with the right keys, the server's side delivers bytes of them,
// ends, or finds them wrong, once and for all; what it keeps is bounded, and what it answers can be
// read. The input is a list of records: a type, a length of two bytes, the bytes. Type 255 changes
// the client's keys as if a KeyUpdate had been sent; 254 sends the bytes as they are; 253 has no
// bytes: so many of the next record arrive only with the one after it; 252 ends the server's half.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

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

class Exchange {
 public:
  explicit Exchange(size_t space) : pair_(ServerCtx(), ClientCtx(), 4), space_(space) {}

  // Answers what is left of `input`.
  absl::string_view Step(absl::string_view input) {
    const auto type = static_cast<uint8_t>(input[0]);
    const size_t size = static_cast<uint8_t>(input[1]) << 8 | static_cast<uint8_t>(input[2]);
    input.remove_prefix(3);
    if (type == 253) {
      late_ = size;
      return input;
    }
    const absl::string_view bytes = input.substr(0, std::min<size_t>(size, 17'000));
    input.remove_prefix(bytes.size());
    if (type == 255) {
      pair_.client_keys().Update();
    } else if (type == 252) {
      pair_.server().WriteEnd();
      write_ended_ = true;
      pair_.server().TakeOutput();
    } else {
      Send(type == 254 ? std::string(bytes) : pair_.Seal(type, bytes));
      sent_ += bytes.size();
    }
    Read();
    return input;
  }

 private:
  static SSL_CTX* ServerCtx() {
    static const auto* const context = new std::shared_ptr<const ServerContext>(MakeContext());
    return ContextAccess::Of(**context).ctx.get();
  }
  static SSL_CTX* ClientCtx() {
    static const auto* const context = new BareClientContext;
    return context->ctx();
  }

  void Send(const std::string& bytes) {
    under_way_ += bytes;
    const size_t size = under_way_.size() - std::min(std::exchange(late_, 0), under_way_.size());
    pair_.SendToServer(under_way_.substr(0, size));
    under_way_.erase(0, size);
  }

  void Read() {
    read_ += pair_.ReadAtServer(space_).size();
    const int outcome = pair_.outcome();
    ERR_clear_error();
    Check(read_ <= sent_);
    Check(last_ == SSL_ERROR_WANT_READ || outcome == last_);
    Check(outcome == SSL_ERROR_WANT_READ || outcome == SSL_ERROR_ZERO_RETURN ||
          outcome == SSL_ERROR_SSL);
    last_ = outcome;
    if (outcome == SSL_ERROR_WANT_READ) Check(pair_.server().input_size() < 17'000);
    Check(!write_ended_ || !pair_.server().has_output());
    if (outcome == SSL_ERROR_SSL) pair_.server().TakeOutput();
    if (outcome != SSL_ERROR_SSL && !write_ended_) Answer();
  }

  void Answer() {
    RecordPair::Write(pair_.server(), "answer");
    pair_.MoveToClient();
    Check(pair_.ReadAtClient() == "answer");
  }

  RecordPair pair_;
  const size_t space_;
  size_t sent_ = 0;
  size_t read_ = 0;
  std::string under_way_;  // it arrives with what is sent next
  size_t late_ = 0;
  int last_ = SSL_ERROR_WANT_READ;
  bool write_ended_ = false;
};

void Run(absl::string_view input) {
  Exchange exchange(input.empty() ? 1 : 1 + static_cast<uint8_t>(input[0]) * 100);
  while (input.size() >= 3) input = exchange.Step(input);
}

}  // namespace
}  // namespace sluice::tls::internal

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  sluice::tls::internal::Run({reinterpret_cast<const char*>(data), size});
  return 0;
}
