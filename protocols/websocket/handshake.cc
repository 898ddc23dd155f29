#include "sluice/protocols/websocket/handshake.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "sluice/protocols/internal/http_status.h"
#include "sluice/protocols/websocket/internal/query.h"
#include "sluice/protocols/websocket/internal/sha1.h"

namespace sluice::websocket {
namespace {

constexpr absl::string_view kVersion = "13";

// 16 bytes in base64: 22 digits and two signs of padding.
bool IsKey(absl::string_view key) {
  return key.size() == 24 && key.substr(22) == "==" &&
         std::all_of(key.begin(), key.begin() + 22, [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '+' || c == '/';
         });
}

// A request target in one of the forms of RFC 9112 section 3.2 that a GET may have: /path?query, or
// an absolute URI, whose authority then counts instead of the Host header. Path empty for all else.
struct Target {
  absl::string_view authority, path;
};

Target ParseTarget(absl::string_view target) {
  if (!std::all_of(target.begin(), target.end(),
                   [](char c) { return c > ' ' && c < 0x7f && c != '#'; })) {
    return {};
  }
  if (absl::StartsWith(target, "/")) return {"", target};
  for (absl::string_view scheme : {"http://", "https://", "ws://", "wss://"}) {
    if (!absl::StartsWithIgnoreCase(target, scheme)) continue;
    target.remove_prefix(scheme.size());
    const size_t end = target.find_first_of("/?");
    if (end == 0) return {};
    if (end == absl::string_view::npos) return {target, "/"};
    if (target[end] == '?') return {};
    return {target.substr(0, end), target.substr(end)};
  }
  return {};
}

// The version in "HTTP/1.1", as 11; 0 if it is none.
int HttpVersion(absl::string_view text) {
  if (!absl::ConsumePrefix(&text, "HTTP/") || text.size() != 3 || text[1] != '.' ||
      !absl::ascii_isdigit(static_cast<unsigned char>(text[0])) ||
      !absl::ascii_isdigit(static_cast<unsigned char>(text[2]))) {
    return 0;
  }
  return (text[0] - '0') * 10 + (text[2] - '0');
}

bool IsWrittenByTheHandshake(absl::string_view header) {
  for (absl::string_view name :
       {"Connection", "Upgrade", "Content-Length", "Content-Type", "Transfer-Encoding"}) {
    if (absl::EqualsIgnoreCase(header, name)) return true;
  }
  return absl::StartsWithIgnoreCase(header, "Sec-WebSocket-");
}

}  // namespace

std::string AcceptForKey(absl::string_view key) {
  const auto digest = internal::Sha1(absl::StrCat(key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
  return absl::Base64Escape(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
}

absl::string_view HandshakeRequest::query() const {
  const size_t mark = target_.find('?');
  return mark == absl::string_view::npos ? "" : target_.substr(mark + 1);
}

absl::optional<std::string> HandshakeRequest::FindInQuery(absl::string_view name) const {
  return internal::FindInQuery(query(), name);
}

void HandshakeReply::Respond(int status, absl::string_view body, absl::string_view content_type) {
  status_ = status >= 200 && status <= 599 ? status : 500;
  body_ = std::string(body);
  content_type_ = std::string(http::IsFieldText(content_type) ? content_type : "text/plain");
}

bool HandshakeReply::AddHeader(absl::string_view name, absl::string_view value) {
  if (!http::IsToken(name) || !http::IsFieldText(value) || IsWrittenByTheHandshake(name)) {
    return false;
  }
  absl::StrAppend(&headers_, name, ": ", value, "\r\n");
  return true;
}

bool HandshakeReply::ChooseSubprotocol(absl::string_view name) {
  const absl::Span<const absl::string_view> offered = request_->subprotocols();
  if (std::find(offered.begin(), offered.end(), name) == offered.end()) return false;
  subprotocol_ = std::string(name);
  return true;
}

ServerHandshake::Result ServerHandshake::Read(absl::Span<const uint8_t>& bytes, Decide decide,
                                              std::string& answer) {
  switch (reader_.Read(bytes)) {
    case http::HeadReader::kNeedMore:
      return kNeedMore;
    case http::HeadReader::kMalformed:
      return Refuse(400, "not an HTTP request", answer);
    case http::HeadReader::kTooLong:
      return reader_.within_first_line() ? Refuse(414, "the request line is too long", answer)
                                         : Refuse(431, "the request's head is too long", answer);
    case http::HeadReader::kWhole:
      break;
  }
  HandshakeRequest request;
  HandshakeReply reply;
  reply.request_ = &request;
  switch (request.head_.Parse(reader_.head(), options_.max_headers)) {
    case http::HttpHead::kMalformed:
      return Refuse(400, "a header is malformed", answer);
    case http::HttpHead::kTooManyFields:
      return Refuse(431, "the request has too many headers", answer);
    case http::HttpHead::kParsed:
      break;
  }
  if (const int status = Examine(request, reply); status != 101) {
    return Refuse(status, reply.body_, answer);
  }
  decide(request, reply);
  answered_by_application_ = reply.status_ != 101;
  if (answered_by_application_) return Refuse(reply.status_, reply.body_, answer, &reply);
  if (!request.wants_websocket_) return Refuse(426, "this is a WebSocket server", answer);
  status_ = 101;
  subprotocol_ = reply.subprotocol_;
  absl::StrAppend(&answer,
                  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                  "Connection: Upgrade\r\nSec-WebSocket-Accept: ",
                  AcceptForKey(key_), "\r\n");
  if (!subprotocol_.empty()) {
    absl::StrAppend(&answer, "Sec-WebSocket-Protocol: ", subprotocol_, "\r\n");
  }
  if (options_.compression != nullptr) {
    Compression::Accepted accepted = options_.compression->Accept(request.extensions_);
    compression_ = std::move(accepted.session);
    if (compression_ != nullptr) {
      absl::StrAppend(&answer, "Sec-WebSocket-Extensions: ", FormatExtension(accepted.answer),
                      "\r\n");
    }
  }
  absl::StrAppend(&answer, reply.headers_, "\r\n");
  return kAccepted;
}

// Fills in the request and the default reply. Returns 101 if all is in order, or the status of the
// refusal, with its text in reply.body_.
int ServerHandshake::Examine(HandshakeRequest& request, HandshakeReply& reply) {
  const auto refuse = [&reply](int status, absl::string_view why) {
    reply.body_ = std::string(why);
    return status;
  };
  const http::HttpHead& head = request.head_;

  const absl::string_view line = head.start_line();
  const size_t space1 = line.find(' ');
  const size_t space2 = line.rfind(' ');
  if (space1 == space2) return refuse(400, "the request line is malformed");
  const absl::string_view method = line.substr(0, space1);
  const int version = HttpVersion(line.substr(space2 + 1));
  if (!http::IsToken(method) || version == 0) {
    return refuse(400, "the request line is malformed");
  }
  if (version / 10 != 1 || version < 11) return refuse(505, "only HTTP/1.1 is spoken here");
  is_head_ = method == "HEAD";
  if (method != "GET" && !is_head_) return refuse(405, "only GET opens a WebSocket");
  request.method_ = method;
  const Target target = ParseTarget(line.substr(space1 + 1, space2 - space1 - 1));
  request.target_ = target.path;
  if (request.target_.empty()) return refuse(400, "the request target is malformed");

  if (head.Count("Host") != 1) return refuse(400, "exactly one Host header is needed");
  request.host_ = *head.Find("Host");
  if (request.host_.empty()) return refuse(400, "the Host header is empty");
  if (!target.authority.empty()) request.host_ = target.authority;
  if (head.Find("Transfer-Encoding").has_value() ||
      head.Find("Content-Length").value_or("0") != "0" || head.Count("Content-Length") > 1) {
    return refuse(400, "a body is not expected");
  }
  if (head.Count("Origin") > 1) return refuse(400, "more than one Origin header");
  request.origin_ = head.Find("Origin").value_or("");

  request.wants_websocket_ = !is_head_ && head.AnyListHas("Upgrade", "websocket");
  if (!request.wants_websocket_) return 101;  // a plain GET: the application may know an answer
  if (!head.AnyListHas("Connection", "upgrade")) {
    return refuse(400, "the Connection header does not list Upgrade");
  }
  if (head.Count("Sec-WebSocket-Version") != 1 || *head.Find("Sec-WebSocket-Version") != kVersion) {
    return refuse(426, "only version 13 of the WebSocket protocol is spoken here");
  }
  if (head.Count("Sec-WebSocket-Key") != 1 || !IsKey(*head.Find("Sec-WebSocket-Key"))) {
    return refuse(400, "exactly one Sec-WebSocket-Key of 16 bytes is needed");
  }
  key_ = std::string(*head.Find("Sec-WebSocket-Key"));
  for (const HandshakeRequest::Header& header : head.fields()) {
    if (absl::EqualsIgnoreCase(header.name, "Sec-WebSocket-Extensions")) {
      auto extensions = ParseExtensions(header.value);
      if (!extensions.has_value()) return refuse(400, "an extension is malformed");
      request.extensions_.insert(request.extensions_.end(),
                                 std::make_move_iterator(extensions->begin()),
                                 std::make_move_iterator(extensions->end()));
    }
    if (!absl::EqualsIgnoreCase(header.name, "Sec-WebSocket-Protocol")) continue;
    for (absl::string_view name : http::ListElements(header.value)) {
      if (!http::IsToken(name)) return refuse(400, "a subprotocol's name is malformed");
      request.subprotocols_.push_back(name);
    }
  }
  if (!OriginAllowed(request.origin_)) return refuse(403, "this origin is not allowed");
  for (const std::string& name : options_.subprotocols) {
    if (reply.ChooseSubprotocol(name)) break;
  }
  return 101;
}

bool ServerHandshake::OriginAllowed(absl::string_view origin) const {
  const std::vector<std::string>& allowed = options_.allowed_origins;
  return allowed.empty() || origin.empty() ||
         std::any_of(allowed.begin(), allowed.end(), [origin](const std::string& one) {
           return absl::EqualsIgnoreCase(one, origin);
         });
}

ServerHandshake::Result ServerHandshake::Refuse(int status, absl::string_view body,
                                                std::string& answer, const HandshakeReply* reply) {
  status_ = status;
  std::string text(body);
  if (reply == nullptr) absl::StrAppend(&text, "\n");
  absl::StrAppend(&answer, "HTTP/1.1 ", status, " ", http::ReasonPhrase(status), "\r\n");
  // RFC 9110 sections 15.5.6 and 15.5.22, RFC 6455 section 4.4.
  if (status == 405 && reply == nullptr) absl::StrAppend(&answer, "Allow: GET, HEAD\r\n");
  if (status == 426) {
    absl::StrAppend(&answer, "Upgrade: websocket\r\nSec-WebSocket-Version: ", kVersion,
                    "\r\nConnection: Upgrade, close\r\n");
  } else {
    absl::StrAppend(&answer, "Connection: close\r\n");
  }
  // RFC 9110 sections 8.6 and 15.3.5: no body, and no length, where the status allows none.
  if (status == 204 || status == 304) {
    absl::StrAppend(&answer, reply != nullptr ? reply->headers_ : "", "\r\n");
    return kRefused;
  }
  absl::StrAppend(&answer, "Content-Type: ",
                  reply != nullptr ? reply->content_type_ : "text/plain; charset=utf-8",
                  "\r\nContent-Length: ", text.size(), "\r\n",
                  reply != nullptr ? reply->headers_ : "", "\r\n", is_head_ ? "" : text);
  return kRefused;
}

}  // namespace sluice::websocket
