#include "sluice/tools/tls_encryption.h"

#include <utility>

#include "sluice/tls/dialer.h"
#include "sluice/tls/ticket_keys.h"
#include "sluice/tls/tls_stream.h"
#include "sluice/tools/tls_description.h"
#include "sluice/tools/tls_flags.h"

namespace sluice::tools {
namespace {

class TlsServer final : public ServerEncryption {
 public:
  explicit TlsServer(TlsServerFlags flags) : flags_(std::move(flags)) {}

  void Accept(std::unique_ptr<Stream> stream, const StreamLimits& limits,
              EncryptedFunction done) const override {
    tls::HandshakeOptions options;
    options.timeout = flags_.handshake_timeout;
    options.limits = limits;
    tls::Accept(std::move(stream), flags_.context, options,
                [done = std::move(done)](
                    absl::StatusOr<std::unique_ptr<tls::TlsStream>> encrypted) mutable {
                  if (!encrypted.ok()) return done(encrypted.status());
                  done(std::unique_ptr<Stream>(*std::move(encrypted)));
                });
  }
  std::string source() const override { return flags_.certificates; }

 private:
  const TlsServerFlags flags_;
};

class TlsClient final : public ClientEncryption {
 public:
  explicit TlsClient(TlsClientFlags flags) : flags_(std::move(flags)) {}

  std::shared_ptr<const Dialer> Over(std::shared_ptr<const Dialer> lower) const override {
    return std::make_shared<tls::Dialer>(std::move(lower), flags_.context, flags_.server_name);
  }

  bool FailedToEncrypt(const absl::Status& error) const override {
    return tls::IsHandshakeError(error);
  }

  std::string Describe(const Stream& stream) const override {
    return DescribeTls(dynamic_cast<const tls::TlsStream&>(stream));
  }

  std::string warning() const override {
    if (!flags_.insecure) return "";
    return "WARNING: --insecure: the server's certificate is not verified; whoever answers, or is "
           "on the way, can read and change everything";
  }

 private:
  const TlsClientFlags flags_;
};

class Tls final : public Encryption {
 public:
  std::vector<std::string> server_flags() const override { return TlsServerFlagNames(); }
  std::vector<std::string> client_flags() const override { return TlsClientFlagNames(); }
  std::vector<std::string> backend_flags() const override { return TlsBackendFlagNames(); }

  absl::StatusOr<std::shared_ptr<const ServerEncryption>> NewServer(
      const std::string& alpn) const override {
    absl::StatusOr<TlsServerFlags> flags = ReadTlsServerFlags(alpn, ticket_keys_);
    if (!flags.ok()) return flags.status();
    if (flags->context == nullptr) return nullptr;
    return std::make_shared<const TlsServer>(*std::move(flags));
  }

  absl::StatusOr<std::shared_ptr<const ClientEncryption>> NewClient(
      const Url& url, const std::string& alpn) const override {
    absl::StatusOr<TlsClientFlags> flags = ReadTlsClientFlags(url, alpn);
    if (!flags.ok()) return flags.status();
    if (flags->context == nullptr) return nullptr;
    return std::make_shared<const TlsClient>(*std::move(flags));
  }

  absl::StatusOr<std::shared_ptr<const ClientEncryption>> NewBackend(bool wanted) const override {
    absl::StatusOr<TlsClientFlags> flags = ReadTlsBackendFlags(wanted);
    if (!flags.ok()) return flags.status();
    if (flags->context == nullptr) return nullptr;
    return std::make_shared<const TlsClient>(*std::move(flags));
  }

 private:
  // Sessions outlive a reload.
  const std::shared_ptr<tls::TicketKeys> ticket_keys_ = std::make_shared<tls::TicketKeys>();
};

}  // namespace

std::unique_ptr<Encryption> TlsEncryption() { return std::make_unique<Tls>(); }

}  // namespace sluice::tools
