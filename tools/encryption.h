// Encryption is what the command line has to know of TLS: which flags it adds, and how a stream is
// encrypted as they say. main() puts one into its ProtocolTable (TlsEncryption in tls_encryption.h)
// or leaves it out, and with it BoringSSL: the table has then no tls:// and wss:// either.
//
// Example:
//   ProtocolTable protocols = StandardProtocols();
//   protocols.SetEncryption(TlsEncryption());
//
// Thread-safe: one Encryption, and what it makes, serves all loops.
#ifndef SLUICE_TOOLS_ENCRYPTION_H_
#define SLUICE_TOOLS_ENCRYPTION_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sluice/core/dialer.h"
#include "sluice/core/stream.h"
#include "sluice/tools/url.h"

namespace sluice::tools {

// Gets the encrypted stream, or why there is none, with the peer's address. Called once, by the
// loop, never from inside the call that it was given to.
using EncryptedFunction = absl::AnyInvocable<void(absl::StatusOr<std::unique_ptr<Stream>>)>;

// A server's side, with the certificates that it was made with. A snapshot: new files make a new
// one.
class ServerEncryption {
 public:
  ServerEncryption() = default;
  ServerEncryption(const ServerEncryption&) = delete;
  ServerEncryption& operator=(const ServerEncryption&) = delete;
  virtual ~ServerEncryption() = default;

  // `limits` are those of the encrypted stream.
  virtual void Accept(std::unique_ptr<Stream> stream, const StreamLimits& limits,
                      EncryptedFunction done) const = 0;

  // The files that it was made of, for messages.
  virtual std::string source() const = 0;
};

// A client's side, for one server, or for all backends of one.
class ClientEncryption {
 public:
  ClientEncryption() = default;
  ClientEncryption(const ClientEncryption&) = delete;
  ClientEncryption& operator=(const ClientEncryption&) = delete;
  virtual ~ClientEncryption() = default;

  // Encrypts what `lower` connects.
  virtual std::shared_ptr<const Dialer> Over(std::shared_ptr<const Dialer> lower) const = 0;

  // Whether an error of such a dialer is its own, so that there was a connection.
  virtual bool FailedToEncrypt(const absl::Status& error) const = 0;

  // What was agreed on for a stream of such a dialer, and whom the server says to be: lines.
  virtual std::string Describe(const Stream& stream) const = 0;

  // What the user has to be warned of in each run; empty for nothing.
  virtual std::string warning() const = 0;
};

class Encryption {
 public:
  Encryption() = default;
  Encryption(const Encryption&) = delete;
  Encryption& operator=(const Encryption&) = delete;
  virtual ~Encryption() = default;

  // The names of the flags that a server's and a client's commands accept, and those that a server
  // accepts for its own connections to others.
  virtual std::vector<std::string> server_flags() const = 0;
  virtual std::vector<std::string> client_flags() const = 0;
  virtual std::vector<std::string> backend_flags() const = 0;

  // As the flags say now, and the files that they name; null when they ask for none. `alpn` is what
  // the application protocol is called, or empty. Error: kInvalidArgument and others, naming the
  // flag.
  virtual absl::StatusOr<std::shared_ptr<const ServerEncryption>> NewServer(
      const std::string& alpn) const = 0;

  // The same; null for a URL that asks for none, with which no flag may be given.
  virtual absl::StatusOr<std::shared_ptr<const ClientEncryption>> NewClient(
      const Url& url, const std::string& alpn) const = 0;

  // As backend_flags() say, for servers that are whom each endpoint names. None of the flags may be
  // given unless it is `wanted`; null then.
  virtual absl::StatusOr<std::shared_ptr<const ClientEncryption>> NewBackend(bool wanted) const = 0;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_ENCRYPTION_H_
