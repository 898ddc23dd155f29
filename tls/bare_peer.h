// BarePeer is one end of a TLS connection that is BoringSSL and nothing else: the yardstick of
// benchmarks, and the other side of what they measure. Whatever certificate a server shows is
// accepted.
#ifndef SLUICE_TLS_BARE_PEER_H_
#define SLUICE_TLS_BARE_PEER_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/types/span.h"
#include "openssl/base.h"
#include "openssl/ssl.h"
#include "sluice/core/buffer.h"
#include "sluice/core/internal/check.h"
#include "sluice/tls/internal/channel.h"

namespace sluice::tls {

// For clients of TLS 1.3. Keeps the last session that a server gave a ticket for.
class BareClientContext {
 public:
  BareClientContext() : ctx_(SSL_CTX_new(TLS_with_buffers_method())) {
    SSL_CTX_set_app_data(ctx_.get(), this);
    SSL_CTX_set_min_proto_version(ctx_.get(), TLS1_3_VERSION);
    SSL_CTX_set_custom_verify(ctx_.get(), SSL_VERIFY_PEER,
                              [](SSL*, uint8_t*) { return ssl_verify_ok; });
    SSL_CTX_set_session_cache_mode(ctx_.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx_.get(), [](SSL* ssl, SSL_SESSION* session) {
      auto* const self =
          static_cast<BareClientContext*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
      self->session_.reset(session);
      return 1;
    });
  }

  SSL_CTX* ctx() const { return ctx_.get(); }
  SSL_SESSION* session() const { return session_.get(); }

 private:
  bssl::UniquePtr<SSL_CTX> ctx_;
  bssl::UniquePtr<SSL_SESSION> session_;
};

class BarePeer {
 public:
  BarePeer(SSL_CTX* ctx, bool server) : channel_(ctx, server) {
    SSL_set_shed_handshake_config(channel_.ssl(), 1);
  }

  SSL* ssl() { return channel_.ssl(); }

  // A step of the handshake, with what the other side has sent; answers whether it is done.
  bool Step(absl::Span<uint8_t> bytes) {
    channel_.Lend(bytes);
    const bool done = SSL_do_handshake(channel_.ssl()) == 1;
    // A server's tickets leave with its first write.
    if (done && SSL_is_server(channel_.ssl()) == 1) SSL_write(channel_.ssl(), nullptr, 0);
    channel_.KeepRest();
    return done;
  }

  // The plaintext of the records in `bytes`; its end is lost where it is larger than `out`.
  size_t Decrypt(absl::Span<uint8_t> bytes, absl::Span<uint8_t> out) {
    channel_.Lend(bytes);
    size_t size = 0;
    int result;
    while (size < out.size() && (result = SSL_read(channel_.ssl(), out.data() + size,
                                                   static_cast<int>(out.size() - size))) > 0) {
      size += static_cast<size_t>(result);
    }
    channel_.KeepRest();
    return size;
  }

  void Encrypt(absl::Span<const uint8_t> bytes) {
    while (!bytes.empty()) {
      const int written = SSL_write(channel_.ssl(), bytes.data(), static_cast<int>(bytes.size()));
      SLUICE_CHECK(written > 0);
      bytes.remove_prefix(static_cast<size_t>(written));
    }
  }

  // What it has to say, in one piece.
  std::string TakeOutput() { return channel_.TakeOutput().ToString(); }

 private:
  internal::SslChannel channel_;
};

inline absl::Span<uint8_t> AsBytes(std::string& text) {
  return {reinterpret_cast<uint8_t*>(&text[0]), text.size()};
}

}  // namespace sluice::tls

#endif  // SLUICE_TLS_BARE_PEER_H_
