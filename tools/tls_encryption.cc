#include "sluice/tools/tls_encryption.h"

#include <utility>

#include "sluice/tls/ticket_keys.h"
#include "sluice/tls/tls_stream.h"
#include "sluice/tools/tls_description.h"
#include "sluice/tools/tls_flags.h"

namespace sluice::tools {
namespace {

using TlsStreamOr = absl::StatusOr<std::unique_ptr<tls::TlsStream>>;

tls::HandshakeFunction Adapt(EncryptedFunction done) {
  return [done = std::move(done)](TlsStreamOr stream) mutable {
    if (!stream.ok()) return done(stream.status());
    done(std::unique_ptr<Stream>(*std::move(stream)));
  };
}

class TlsServer final : public ServerEncryption {
 public:
  explicit TlsServer(TlsServerFlags flags) : flags_(std::move(flags)) {}

  void Accept(std::unique_ptr<Stream> stream, const StreamLimits& limits,
              EncryptedFunction done) const override {
    tls::HandshakeOptions options;
    options.timeout = flags_.handshake_timeout;
    options.limits = limits;
    tls::Accept(std::move(stream), flags_.context, options, Adapt(std::move(done)));
  }
  std::string source() const override { return flags_.certificates; }

 private:
  const TlsServerFlags flags_;
};

class TlsAttempt final : public ClientEncryption::Attempt {
 public:
  tls::HandshakeGroup& group() { return group_; }

 private:
  tls::HandshakeGroup group_;
};

class TlsClient final : public ClientEncryption {
 public:
  explicit TlsClient(TlsClientFlags flags) : flags_(std::move(flags)) {}

  std::unique_ptr<Attempt> Connect(std::unique_ptr<Stream> stream, const StreamLimits& limits,
                                   absl::Duration timeout, EncryptedFunction done) const override {
    auto attempt = std::make_unique<TlsAttempt>();
    tls::HandshakeOptions options;
    options.timeout = timeout;
    options.limits = limits;
    options.group = &attempt->group();
    tls::Connect(std::move(stream), flags_.context, flags_.server_name, options,
                 Adapt(std::move(done)));
    return attempt;
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

 private:
  // Sessions outlive a reload.
  const std::shared_ptr<tls::TicketKeys> ticket_keys_ = std::make_shared<tls::TicketKeys>();
};

}  // namespace

std::unique_ptr<Encryption> TlsEncryption() { return std::make_unique<Tls>(); }

}  // namespace sluice::tools
