#include "sluice/tls/agreement.h"

#include <cstddef>

#include "openssl/mem.h"
#include "openssl/ssl.h"

namespace sluice::tls::internal {

Agreement Agreement::Of(const SSL& ssl) {
  Agreement agreement;
  agreement.version = SSL_version(&ssl) == TLS1_2_VERSION ? Version::kTls12 : Version::kTls13;
  agreement.resumed = SSL_session_reused(&ssl) == 1;
  agreement.group = SSL_get_curve_id(&ssl);
  agreement.cipher = SSL_get_current_cipher(&ssl);

  const uint8_t* bytes = nullptr;
  unsigned alpn_size = 0;
  SSL_get0_alpn_selected(&ssl, &bytes, &alpn_size);
  agreement.alpn.assign(reinterpret_cast<const char*>(bytes), alpn_size);
  const char* const name = SSL_get_servername(&ssl, TLSEXT_NAMETYPE_host_name);
  if (name != nullptr) agreement.server_name = name;

  const STACK_OF(CRYPTO_BUFFER)* const chain = SSL_get0_peer_certificates(&ssl);
  if (chain != nullptr && sk_CRYPTO_BUFFER_num(chain) != 0) {
    agreement.peer_chain.reset(sk_CRYPTO_BUFFER_new_null());
    for (size_t i = 0; i < sk_CRYPTO_BUFFER_num(chain); ++i)
      bssl::PushToStack(agreement.peer_chain.get(), bssl::UpRef(sk_CRYPTO_BUFFER_value(chain, i)));
  }
  size_t size = 0;
  SSL_get0_ocsp_response(&ssl, &bytes, &size);
  if (size != 0) agreement.ocsp_response.reset(CRYPTO_BUFFER_new(bytes, size, nullptr));
  return agreement;
}

}  // namespace sluice::tls::internal
