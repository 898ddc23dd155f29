#include "sluice/tls/internal/error.h"

#include <cstdint>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "openssl/err.h"
#include "openssl/ssl.h"

namespace sluice::tls::internal {
namespace {

struct Known {
  int reason;
  absl::StatusCode code;
  absl::string_view message;
};

// Those that a user meets and whose name says less than it could.
constexpr Known kKnown[] = {
    {SSL_R_HTTP_REQUEST, absl::StatusCode::kInvalidArgument,
     "plain HTTP was sent where TLS is spoken"},
    {SSL_R_HTTPS_PROXY_REQUEST, absl::StatusCode::kInvalidArgument,
     "a plain HTTP CONNECT was sent where TLS is spoken"},
    {SSL_R_WRONG_VERSION_NUMBER, absl::StatusCode::kInvalidArgument,
     "what was received is not TLS"},
    {SSL_R_UNSUPPORTED_PROTOCOL, absl::StatusCode::kFailedPrecondition, "no TLS version in common"},
    {SSL_R_NO_SHARED_CIPHER, absl::StatusCode::kFailedPrecondition, "no cipher suite in common"},
    {SSL_R_NO_SHARED_GROUP, absl::StatusCode::kFailedPrecondition,
     "no group for the key agreement in common"},
    {SSL_R_NO_COMMON_SIGNATURE_ALGORITHMS, absl::StatusCode::kFailedPrecondition,
     "no signature algorithm in common that fits the certificate's key"},
    {SSL_R_NO_APPLICATION_PROTOCOL, absl::StatusCode::kFailedPrecondition,
     "no application protocol (ALPN) in common"},
    {SSL_R_INVALID_ALPN_PROTOCOL, absl::StatusCode::kInvalidArgument,
     "the peer chose an application protocol (ALPN) that was not offered"},
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, absl::StatusCode::kUnauthenticated,
     "the client has shown no certificate, and one is required"},
    {SSL_R_NO_RENEGOTIATION, absl::StatusCode::kInvalidArgument,
     "the peer asked for a renegotiation, which is refused"},
    {SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, absl::StatusCode::kDataLoss,
     "a record was damaged on its way or forged"},
    {SSL_R_PRIVATE_KEY_OPERATION_FAILED, absl::StatusCode::kInternal,
     "the private key could not be used"},
    {SSL_R_TOO_MANY_KEY_UPDATES, absl::StatusCode::kResourceExhausted,
     "the peer changes its keys without sending anything"},
    {SSL_R_TOO_MANY_EMPTY_FRAGMENTS, absl::StatusCode::kResourceExhausted,
     "the peer sends empty records only"},
};

// BoringSSL counts a received alert from here on.
constexpr int kFirstAlert = SSL_AD_REASON_OFFSET;

// Alerts by which a peer says that it does not trust our certificate, or wants one.
bool IsAboutCertificates(int alert) {
  return (alert >= SSL_AD_BAD_CERTIFICATE && alert <= SSL_AD_CERTIFICATE_UNKNOWN) ||
         alert == SSL_AD_UNKNOWN_CA || alert == SSL_AD_ACCESS_DENIED ||
         alert == SSL_AD_CERTIFICATE_REQUIRED;
}

// "BAD_SIGNATURE" -> "bad signature".
std::string Words(const char* reason) {
  if (reason == nullptr) return "unknown error";
  return absl::StrReplaceAll(absl::AsciiStrToLower(reason), {{"_", " "}});
}

}  // namespace

absl::Status AlertError(absl::string_view what, int alert) {
  if (alert == SSL_AD_CLOSE_NOTIFY)
    return absl::UnavailableError(absl::StrCat(what, ": the peer ended the connection"));
  const absl::StatusCode code = IsAboutCertificates(alert) ? absl::StatusCode::kUnauthenticated
                                                           : absl::StatusCode::kFailedPrecondition;
  return absl::Status(code, absl::StrCat(what, ": the peer refused: alert \"",
                                         SSL_alert_desc_string_long(alert), "\" (", alert, ")"));
}

absl::Status TakeError(absl::string_view what) {
  uint32_t error = ERR_get_error();
  // A cipher's complaint comes before that of the protocol, which says what it means.
  while (const uint32_t next = ERR_get_error()) {
    if (ERR_GET_LIB(error) != ERR_LIB_SSL) error = next;
  }
  // BoringSSL gives none for some extensions that it cannot parse.
  if (error == 0)
    return absl::InvalidArgumentError(absl::StrCat(what, ": a message was not understood"));
  const int reason = ERR_GET_REASON(error);
  if (ERR_GET_LIB(error) == ERR_LIB_SSL) {
    if (reason >= kFirstAlert) return AlertError(what, reason - kFirstAlert);
    for (const Known& known : kKnown) {
      if (known.reason == reason)
        return absl::Status(known.code, absl::StrCat(what, ": ", known.message));
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat(what, ": ", Words(ERR_reason_error_string(error))));
}

}  // namespace sluice::tls::internal
