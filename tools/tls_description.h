// What a TLS handshake agreed on, in words: what `sluice cat --verbose` shows.
#ifndef SLUICE_TOOLS_TLS_DESCRIPTION_H_
#define SLUICE_TOOLS_TLS_DESCRIPTION_H_

#include <string>

#include "sluice/tls/certificate.h"
#include "sluice/tls/tls_stream.h"

namespace sluice::tools {

// Lines about one certificate. What its issuer has put into it is made safe to show.
std::string DescribeCertificate(const tls::Certificate& certificate);

// Lines about a connection and about each of the peer's certificates, leaf first.
std::string DescribeTls(const tls::TlsStream& stream);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_TLS_DESCRIPTION_H_
