// Agreement is what a handshake has agreed on, for those who ask the stream later.
#ifndef SLUICE_TLS_AGREEMENT_H_
#define SLUICE_TLS_AGREEMENT_H_

#include <cstdint>
#include <string>

#include "openssl/base.h"
#include "openssl/pool.h"
#include "sluice/tls/context.h"

namespace sluice::tls::internal {

struct Agreement {
  // Of a handshake that is over.
  static Agreement Of(const SSL& ssl);

  Version version;
  bool resumed;
  uint16_t group;
  const SSL_CIPHER* cipher;
  std::string alpn;
  std::string server_name;
  bssl::UniquePtr<STACK_OF(CRYPTO_BUFFER)> peer_chain;  // null for none
  bssl::UniquePtr<CRYPTO_BUFFER> ocsp_response;         // null for none
};

}  // namespace sluice::tls::internal

#endif  // SLUICE_TLS_AGREEMENT_H_
