// Protocol is what the command line has to know of a protocol: its name (--protocol=NAME), its URL
// scheme, its options (--codec=NAME=VALUE,...), how a server echoes over a Stream, and how a client
// exchanges messages over one. main() puts those that it wants into a ProtocolTable; nothing
// registers itself. A codec becomes one with CodecProtocol (codec_protocol.h), in one line. Each is
// spoken over TLS too, where the table has an Encryption: its scheme is then the plain one with an
// s, tls:// for tcp://.
//
// Example: the whole command line with one protocol more.
//
//   int main(int argc, char** argv) {
//     sluice::tools::ProtocolTable protocols = sluice::tools::StandardProtocols();
//     protocols.Add(sluice::tools::CodecProtocol<ShortTextCodec>({.name = "short"}));
//     return sluice::tools::SluiceMain(protocols, argc, argv);
//   }
//
// A Protocol and a filled table are thread-safe; what they make belongs to one loop.
#ifndef SLUICE_TOOLS_PROTOCOL_H_
#define SLUICE_TOOLS_PROTOCOL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/core/stream.h"
#include "sluice/tools/encryption.h"
#include "sluice/tools/protocol_options.h"
#include "sluice/tools/url.h"

namespace sluice::tools {

// What a server has done, on one loop or on all.
struct EchoTotals {
  uint64_t connections = 0;
  uint64_t messages = 0;          // pieces, as they came, where the protocol has no messages
  uint64_t bytes = 0;             // of what the messages carry
  uint64_t errors = 0;            // connections that did not end gracefully
  uint64_t handshake_errors = 0;  // further ones, on which no encryption was agreed on

  EchoTotals& operator+=(const EchoTotals& other);
};

// Sends back what arrives, on all connections of one loop.
class EchoService {
 public:
  EchoService() = default;
  EchoService(const EchoService&) = delete;
  EchoService& operator=(const EchoService&) = delete;
  virtual ~EchoService() = default;

  // Takes a connection on, until it ends. The service must outlive it.
  virtual void Serve(std::unique_ptr<Stream> stream) = 0;

  const EchoTotals& totals() const { return totals_; }

 protected:
  EchoTotals totals_;
};

// One connection, seen by its client. It must live until Handler::OnClose, and may be destroyed
// there.
class Client {
 public:
  enum class Kind : uint8_t { kText, kBinary };

  // What the user of a Client implements.
  class Handler {
   public:
    // The handshake is over, and messages may be sent. Not called where there is none: is_open() is
    // then true from the beginning.
    virtual void OnOpen(Client& /*client*/) {}
    // A whole message, or, where the protocol has none, the bytes that have come. They are valid
    // until the callback returns.
    virtual void OnMessage(Client& client, absl::Span<const uint8_t> message) = 0;
    // After a Send that answered kBlocked: go on.
    virtual void OnSendReady(Client& /*client*/) {}
    // The peer will send nothing more, and this side has not ended yet.
    virtual void OnReceiveEnd(Client& client) { client.End(); }
    // The last callback. OK after a graceful end by either side.
    virtual void OnClose(Client& client, const absl::Status& status) = 0;

   protected:
    ~Handler() = default;
  };

  Client() = default;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  virtual ~Client() = default;

  virtual bool is_open() const { return true; }
  // Once it is open: whether the server has agreed to ClientOptions::compress.
  virtual bool compresses() const { return false; }
  // Copies the message. One that the protocol cannot carry is refused, and ends the connection with
  // kInvalidArgument.
  virtual SendResult Send(Kind kind, absl::Span<const uint8_t> message) = 0;
  // No message follows. Answers to what was sent are still received; then it ends gracefully.
  virtual void End() = 0;
  // Ends gracefully now: what the peer still sends is discarded.
  virtual void Close() = 0;
  virtual void PauseReceiving() = 0;
  virtual void ResumeReceiving() = 0;
  virtual void Abort(absl::Status status) = 0;
};

// Makes the clients of one loop.
class ClientFactory {
 public:
  ClientFactory() = default;
  ClientFactory(const ClientFactory&) = delete;
  ClientFactory& operator=(const ClientFactory&) = delete;
  virtual ~ClientFactory() = default;

  // A client over a connected stream. Factory and handler must outlive it.
  virtual std::unique_ptr<Client> NewClient(std::unique_ptr<Stream> stream,
                                            Client::Handler& handler) = 0;
};

struct ServerOptions {
  size_t max_message_bytes = 1024 * 1024;
  bool compress = false;  // messages, where the client wants it and the protocol can
};

struct ClientOptions {
  size_t max_message_bytes = 1024 * 1024;
  absl::Duration handshake_timeout = absl::Seconds(10);
  bool compress = false;  // messages, where the server wants it and the protocol can
  Url url = {};
};

// What a protocol is called, and what `sluice codecs` tells of it.
struct ProtocolInfo {
  std::string name;
  UrlScheme scheme = {};     // its name is the protocol's, where it has none
  std::string summary = {};  // half a line: "messages behind their length"
  std::string message = {};  // what one is: "any bytes", "a line of text, without its end"
  std::string limits = {};   // "a message of at most --max_message_bytes"; others that there are
  bool has_messages = true;  // else it carries a flow of bytes
  bool text_only = false;    // its messages are text without line breaks: bench sends such
};

class Protocol {
 public:
  explicit Protocol(ProtocolInfo info);
  Protocol(const Protocol&) = delete;
  Protocol& operator=(const Protocol&) = delete;
  virtual ~Protocol() = default;

  const ProtocolInfo& info() const { return info_; }
  const std::string& name() const { return info_.name; }
  const UrlScheme& scheme() const { return info_.scheme; }
  UrlScheme encrypted_scheme() const;
  // Whether ServerOptions::compress, and that of clients, mean something.
  virtual bool can_compress() const { return false; }
  bool has_messages() const { return info_.has_messages; }

  // What WithOptions takes.
  virtual std::vector<ProtocolOption> options() const { return {}; }
  // The same protocol with other options: "length_bytes=2,byte_order=little". kInvalidArgument for
  // what it does not take, which says what is accepted.
  virtual absl::StatusOr<std::unique_ptr<Protocol>> WithOptions(absl::string_view text) const;

  // What the protocol is called where a TLS handshake agrees on one (ALPN); empty where it has no
  // registered name.
  virtual std::string alpn() const { return ""; }
  // The port of the encrypted scheme where none is given; 0: it must be.
  virtual uint16_t encrypted_default_port() const { return 0; }

  // kInvalidArgument for limits that do not go with the protocol's options.
  virtual absl::StatusOr<std::unique_ptr<EchoService>> NewEchoService(
      const ServerOptions& options) const = 0;

  // The same, and for a URL that the protocol cannot use.
  virtual absl::StatusOr<std::unique_ptr<ClientFactory>> NewClientFactory(
      const ClientOptions& options) const = 0;

 private:
  const ProtocolInfo info_;
};

class ProtocolTable {
 public:
  // The name and the schemes must not be taken, as kUdp is.
  void Add(std::unique_ptr<Protocol> protocol);

  // All protocols are spoken encrypted, too.
  void SetEncryption(std::unique_ptr<Encryption> encryption);
  // Null for none.
  const Encryption* encryption() const { return encryption_.get(); }

  // Null for one that is not there.
  std::shared_ptr<const Protocol> FindByName(absl::string_view name) const;
  std::shared_ptr<const Protocol> FindByScheme(absl::string_view scheme) const;

  // In the order in which they were added.
  absl::Span<const std::shared_ptr<const Protocol>> protocols() const { return protocols_; }

  // The encrypted ones after the plain ones.
  std::vector<UrlScheme> schemes() const;
  std::vector<std::string> names() const;

 private:
  std::vector<std::shared_ptr<const Protocol>> protocols_;
  std::unique_ptr<Encryption> encryption_;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_PROTOCOL_H_
