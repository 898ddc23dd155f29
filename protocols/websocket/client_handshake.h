// The client's side of the opening handshake (RFC 6455 section 4.1), without I/O: it writes the
// bytes of the request and reads those of the answer.
//
// Example:
//   ClientHandshake::Options options;
//   options.host = "example.com";
//   options.target = "/chat";
//   absl::StatusOr<ClientHandshake> handshake = ClientHandshake::Create(options);
//   if (!handshake.ok()) return handshake.status();
//   Send(handshake->request());
//   absl::StatusOr<bool> open = handshake->Read(bytes);       // whenever bytes arrive
//   if (!open.ok()) return open.status();
//   if (*open) Decode(bytes);                                 // frames may follow
//
// Errors of Read, each with a message that names the host, the status and its reason:
//   kPermissionDenied     401, 403, 407
//   kNotFound             404, 410
//   kResourceExhausted    429, or an answer over the limits
//   kUnavailable          500 and above: worth another try
//   kFailedPrecondition   all other statuses, and answers that break the protocol: a wrong
//                         Sec-WebSocket-Accept, a subprotocol or extension that was not offered,
//                         ...
//
// Thread-compatible.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_CLIENT_HANDSHAKE_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_CLIENT_HANDSHAKE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/protocols/internal/http_head.h"
#include "sluice/protocols/websocket/compression.h"

namespace sluice::websocket {

class ClientHandshake {
 public:
  struct Options {
    std::string host = {};     // the Host header, with the port unless it is the default: url.h
    std::string target = "/";  // path and query, percent-encoded
    std::string origin = {};   // only browsers need one
    std::vector<std::string> subprotocols = {};                     // in order of preference
    std::vector<std::pair<std::string, std::string>> headers = {};  // further ones, such as cookies
    // Whether and how messages are compressed, where the server agrees. Null: not.
    std::shared_ptr<const Compression> compression = nullptr;
    // Of the answer.
    size_t max_head_bytes = 8192;
    size_t max_headers = 100;
  };

  // kInvalidArgument if the options do not make a request: an empty host, characters that a header
  // cannot have, a subprotocol twice, a header that the handshake writes itself.
  static absl::StatusOr<ClientHandshake> Create(const Options& options);

  absl::string_view request() const { return request_; }

  // Takes the answer's head from the front of `bytes`, and leaves in it what follows. True when the
  // connection is open, false while more is needed. Not to be called after true or an error.
  absl::StatusOr<bool> Read(absl::Span<const uint8_t>& bytes);

  // The status of the answer; 0 while none was understood.
  int status() const { return status_; }
  // Once open: the one of the offered subprotocols that the server chose; empty if none.
  const std::string& subprotocol() const { return subprotocol_; }
  // What was agreed on of compression; null for none.
  Compression::SessionPtr TakeCompression() { return std::move(compression_); }

 private:
  ClientHandshake(const Options& options, const std::string& key);

  absl::Status Examine(const http::HttpHead& head);
  absl::Status AgreeOnCompression(const http::HttpHead& head);
  absl::Status Refusal(const http::StatusLine& line, const http::HttpHead& head) const;
  absl::Status BadAnswer(absl::string_view why) const;

  std::string host_;
  std::vector<std::string> offered_;
  size_t max_headers_;
  std::string request_;
  std::string expected_accept_;
  http::HeadReader reader_;
  int interim_answers_ = 0;
  int status_ = 0;
  std::string subprotocol_;
  std::shared_ptr<const Compression> offered_compression_;
  Compression::SessionPtr compression_;
};

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_CLIENT_HANDSHAKE_H_
