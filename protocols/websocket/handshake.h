// The server's side of the opening handshake (RFC 6455 section 4.2), without I/O: it reads the
// bytes of an HTTP/1.1 request and writes those of the answer. It is no HTTP server; but whoever
// asks without wanting a WebSocket can be given a page.
//
// Example:
//   ServerHandshake::Options options;
//   options.subprotocols = {"chat.v2", "chat"};
//   ServerHandshake handshake(options);
//   std::string answer;
//   const auto decide = [](const HandshakeRequest& request, HandshakeReply& reply) {
//     if (request.path() != "/chat") reply.Respond(404, "no such room");
//   };
//   switch (handshake.Read(bytes, decide, answer)) {       // bytes: what just arrived
//     case ServerHandshake::kNeedMore: break;
//     case ServerHandshake::kAccepted: Send(answer); Decode(bytes); break;   // frames may follow
//     case ServerHandshake::kRefused: Send(answer); Close(); break;
//   }
//
// What it insists on, and the status of the refusal:
//   a head that is not HTTP, obs-fold, control characters, a bare CR or LF             400
//   no Host or two; a body; no Sec-WebSocket-Key of 16 bytes, or two; and the like     400
//   an Origin that is not on the list                                                  403
//   a method other than GET and HEAD                                                   405
//   a request line or head over Options::max_head_bytes; over max_headers         414; 431
//   no WebSocket wanted, or a version other than 13                                    426
//   HTTP/1.0, or a major version other than 1                                          505
// Extensions are ignored, which negotiates them away, but for that of Options::compression.
//
// Thread-compatible. A request's views are good only within the call that shows it.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_HANDSHAKE_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_HANDSHAKE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "sluice/protocols/internal/http_head.h"
#include "sluice/protocols/websocket/compression.h"
#include "sluice/protocols/websocket/extensions.h"

namespace sluice::websocket {

class HandshakeRequest {
 public:
  using Header = http::HttpField;

  // "GET"; or "HEAD", which asks for the same answer without its body, and for no WebSocket.
  absl::string_view method() const { return method_; }
  // As the client wrote it, percent-encoding included: "/chat?room=1".
  absl::string_view target() const { return target_; }
  absl::string_view path() const { return target_.substr(0, target_.find('?')); }
  absl::string_view query() const;  // after the '?'; empty if there is none
  // The first value of that name in the query, "name=value&...", decoded as an HTML form's is: '+'
  // is a space and %41 an 'A', so that any bytes may come out; a '%' without two hexadecimal digits
  // stands for itself. Empty for a name without '='.
  absl::optional<std::string> FindInQuery(absl::string_view name) const;
  absl::string_view host() const { return host_; }
  absl::string_view origin() const { return origin_; }  // empty if not sent: not a browser

  absl::Span<const Header> headers() const { return head_.fields(); }
  // The first header of that name, in any case.
  absl::optional<absl::string_view> Find(absl::string_view name) const { return head_.Find(name); }

  // False for a plain GET or HEAD, which can only be answered by HandshakeReply::Respond.
  bool wants_websocket() const { return wants_websocket_; }
  // What the client offers, in its order of preference.
  absl::Span<const absl::string_view> subprotocols() const { return subprotocols_; }
  absl::Span<const Extension> extensions() const { return extensions_; }

 private:
  friend class ServerHandshake;

  http::HttpHead head_;
  absl::string_view method_, target_, host_, origin_;
  std::vector<absl::string_view> subprotocols_;
  std::vector<Extension> extensions_;
  bool wants_websocket_ = false;
};

// What the application makes of a request; by default it is accepted, with the first of its own
// subprotocols that the client offers, or none.
class HandshakeReply {
 public:
  // Answers with this status and body instead of opening a WebSocket; the connection is closed
  // afterwards. Status from 200 to 599; others count as 500. A HEAD gets the body's length only.
  void Respond(int status, absl::string_view body,
               absl::string_view content_type = "text/plain; charset=utf-8");

  // Adds a header to the answer, whichever that is. False, and nothing is added, if the name is not
  // a token, the value has control characters (so CR and LF cannot smuggle anything in), or the
  // handshake itself writes that header.
  bool AddHeader(absl::string_view name, absl::string_view value);

  // False, and nothing changes, if the client did not offer it.
  bool ChooseSubprotocol(absl::string_view name);
  void ChooseNoSubprotocol() { subprotocol_.clear(); }
  const std::string& subprotocol() const { return subprotocol_; }

 private:
  friend class ServerHandshake;

  const HandshakeRequest* request_ = nullptr;
  std::string subprotocol_;
  std::string headers_;  // whole lines
  int status_ = 101;
  std::string body_, content_type_;
};

class ServerHandshake {
 public:
  // Shared by many handshakes, and must outlive them.
  struct Options {
    size_t max_head_bytes = 8192;
    size_t max_headers = 100;
    // In order of preference.
    std::vector<std::string> subprotocols = {};
    // Whole origins ("https://example.com", "null"), compared in any case; others get 403. Empty:
    // any. Requests without an Origin, which browsers always send, are not concerned.
    std::vector<std::string> allowed_origins = {};
    // Whether and how messages are compressed. Null: not.
    std::shared_ptr<const Compression> compression = nullptr;
  };

  enum Result : uint8_t { kNeedMore, kAccepted, kRefused };

  // Decides about a request that is in order, or is a plain GET or HEAD.
  using Decide = absl::FunctionRef<void(const HandshakeRequest&, HandshakeReply&)>;

  explicit ServerHandshake(const Options& options)
      : options_(options), reader_(options.max_head_bytes) {}

  // Takes the head from the front of `bytes`, and leaves in it what follows the head. Appends to
  // `answer` once it is decided. Not to be called after that.
  Result Read(absl::Span<const uint8_t>& bytes, Decide decide, std::string& answer);

  // What was decided: the status of the answer (101: accepted) and the subprotocol, if any.
  int status() const { return status_; }
  const std::string& subprotocol() const { return subprotocol_; }
  // Whether that status is Decide's word.
  bool answered_by_application() const { return answered_by_application_; }
  // What was agreed on of compression; null for none.
  Compression::SessionPtr TakeCompression() { return std::move(compression_); }

 private:
  int Examine(HandshakeRequest& request, HandshakeReply& reply);
  bool OriginAllowed(absl::string_view origin) const;
  Result Refuse(int status, absl::string_view body, std::string& answer,
                const HandshakeReply* reply = nullptr);

  const Options& options_;
  http::HeadReader reader_;
  std::string key_;
  int status_ = 0;
  bool is_head_ = false;
  bool answered_by_application_ = false;
  std::string subprotocol_;
  Compression::SessionPtr compression_;
};

// What Sec-WebSocket-Accept must be for this Sec-WebSocket-Key (RFC 6455 section 4.2.2).
std::string AcceptForKey(absl::string_view key);

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_HANDSHAKE_H_
