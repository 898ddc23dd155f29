#include "sluice/protocols/websocket/client_handshake.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/optional.h"
#include "sluice/protocols/internal/http_status.h"
#include "sluice/protocols/websocket/extensions.h"
#include "sluice/protocols/websocket/handshake.h"
#include "sluice/protocols/websocket/internal/random.h"

namespace sluice::websocket {
namespace {

// 100 Continue, 103 Early Hints and the like, which may come before the answer (RFC 9110 section
// 15.2).
constexpr int kMostInterimAnswers = 8;

bool IsWrittenByTheHandshake(absl::string_view header) {
  for (absl::string_view name :
       {"Host", "Connection", "Upgrade", "Origin", "Content-Length", "Transfer-Encoding"}) {
    if (absl::EqualsIgnoreCase(header, name)) return true;
  }
  return absl::StartsWithIgnoreCase(header, "Sec-WebSocket-");
}

absl::Status CheckOptions(const ClientHandshake::Options& options) {
  const auto visible = [](char c) { return c > ' ' && c < 0x7f; };
  if (options.host.empty() || !std::all_of(options.host.begin(), options.host.end(), visible)) {
    return absl::InvalidArgumentError("WebSocket handshake: the host is empty or malformed");
  }
  if (!absl::StartsWith(options.target, "/") ||
      !std::all_of(options.target.begin(), options.target.end(),
                   [visible](char c) { return visible(c) && c != '#'; })) {
    return absl::InvalidArgumentError(
        "WebSocket handshake: the target must begin with / and be percent-encoded");
  }
  if (!http::IsFieldText(options.origin)) {
    return absl::InvalidArgumentError("WebSocket handshake: the origin is malformed");
  }
  const std::vector<std::string>& names = options.subprotocols;
  for (auto name = names.begin(); name != names.end(); ++name) {
    const auto refuse = [&](absl::string_view why) {
      return absl::InvalidArgumentError(absl::StrCat("WebSocket handshake: the subprotocol \"",
                                                     absl::CHexEscape(*name), "\" is ", why));
    };
    if (!http::IsToken(*name)) return refuse("malformed");
    if (std::find(names.begin(), name, *name) != name) return refuse("there twice");
  }
  for (const auto& [name, value] : options.headers) {
    if (!http::IsToken(name) || !http::IsFieldText(value) || IsWrittenByTheHandshake(name)) {
      return absl::InvalidArgumentError(absl::StrCat("WebSocket handshake: the header \"",
                                                     absl::CHexEscape(name),
                                                     "\" is malformed or not to be given here"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ClientHandshake> ClientHandshake::Create(const Options& options) {
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  char nonce[16];
  internal::FillRandom(nonce, sizeof(nonce));
  return ClientHandshake(options, absl::Base64Escape(absl::string_view(nonce, sizeof(nonce))));
}

ClientHandshake::ClientHandshake(const Options& options, const std::string& key)
    : host_(options.host),
      offered_(options.subprotocols),
      max_headers_(options.max_headers),
      expected_accept_(AcceptForKey(key)),
      reader_(options.max_head_bytes),
      offered_compression_(options.compression) {
  absl::StrAppend(&request_, "GET ", options.target, " HTTP/1.1\r\nHost: ", options.host,
                  "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ", key,
                  "\r\nSec-WebSocket-Version: 13\r\n");
  if (!options.origin.empty()) absl::StrAppend(&request_, "Origin: ", options.origin, "\r\n");
  if (!offered_.empty()) {
    absl::StrAppend(&request_, "Sec-WebSocket-Protocol: ", absl::StrJoin(offered_, ", "), "\r\n");
  }
  if (offered_compression_ != nullptr) {
    std::vector<std::string> offers;
    for (const Extension& offer : offered_compression_->Offer())
      offers.push_back(FormatExtension(offer));
    absl::StrAppend(&request_, "Sec-WebSocket-Extensions: ", absl::StrJoin(offers, ", "), "\r\n");
  }
  for (const auto& [name, value] : options.headers) {
    absl::StrAppend(&request_, name, ": ", value, "\r\n");
  }
  absl::StrAppend(&request_, "\r\n");
}

absl::StatusOr<bool> ClientHandshake::Read(absl::Span<const uint8_t>& bytes) {
  for (;;) {
    switch (reader_.Read(bytes)) {
      case http::HeadReader::kNeedMore:
        return false;
      case http::HeadReader::kMalformed:
        return BadAnswer("it is not HTTP");
      case http::HeadReader::kTooLong:
        return absl::ResourceExhaustedError(absl::StrCat("WebSocket handshake with ", host_,
                                                         ": the answer's head is over ",
                                                         reader_.max_bytes(), " bytes"));
      case http::HeadReader::kWhole:
        break;
    }
    http::HttpHead head;
    switch (head.Parse(reader_.head(), max_headers_)) {
      case http::HttpHead::kMalformed:
        return BadAnswer("a header is malformed");
      case http::HttpHead::kTooManyFields:
        return absl::ResourceExhaustedError(absl::StrCat("WebSocket handshake with ", host_,
                                                         ": the answer has more than ",
                                                         max_headers_, " headers"));
      case http::HttpHead::kParsed:
        break;
    }
    const absl::optional<http::StatusLine> line = http::ParseStatusLine(head.start_line());
    if (!line.has_value() || line->minor_version == 0)
      return BadAnswer("its status line is malformed");
    const int status = line->status;
    if (status >= 200 || status == 101) status_ = status;
    if (status == 101) {
      if (absl::Status examined = Examine(head); !examined.ok()) return examined;
      return true;
    }
    if (line->status >= 200) return Refusal(*line, head);
    if (++interim_answers_ > kMostInterimAnswers) return BadAnswer("it never comes to the point");
    reader_ = http::HeadReader(reader_.max_bytes());
  }
}

absl::Status ClientHandshake::Examine(const http::HttpHead& head) {
  if (head.Count("Upgrade") != 1 || !absl::EqualsIgnoreCase(*head.Find("Upgrade"), "websocket")) {
    return BadAnswer("its Upgrade header does not say websocket");
  }
  if (!head.AnyListHas("Connection", "upgrade")) {
    return BadAnswer("its Connection header does not list Upgrade");
  }
  if (head.Count("Sec-WebSocket-Accept") != 1 ||
      *head.Find("Sec-WebSocket-Accept") != expected_accept_) {
    return BadAnswer("its Sec-WebSocket-Accept does not answer the request's key");
  }
  if (absl::Status status = AgreeOnCompression(head); !status.ok()) return status;
  const size_t protocols = head.Count("Sec-WebSocket-Protocol");
  if (protocols == 0) return absl::OkStatus();
  subprotocol_ = std::string(*head.Find("Sec-WebSocket-Protocol"));
  if (protocols > 1 ||
      std::find(offered_.begin(), offered_.end(), subprotocol_) == offered_.end()) {
    return BadAnswer("it has a subprotocol that was not offered");
  }
  return absl::OkStatus();
}

absl::Status ClientHandshake::AgreeOnCompression(const http::HttpHead& head) {
  const size_t answers = head.Count("Sec-WebSocket-Extensions");
  if (answers == 0) return absl::OkStatus();
  if (offered_compression_ == nullptr) return BadAnswer("it has an extension that was not offered");
  const auto extensions = ParseExtensions(*head.Find("Sec-WebSocket-Extensions"));
  if (!extensions.has_value()) return BadAnswer("an extension is malformed");
  if (answers > 1 || extensions->size() > 1)
    return BadAnswer("it has more extensions than were offered");
  absl::StatusOr<Compression::SessionPtr> agreed = offered_compression_->Agree(extensions->front());
  if (!agreed.ok()) return BadAnswer(agreed.status().message());
  compression_ = *std::move(agreed);
  return absl::OkStatus();
}

absl::Status ClientHandshake::Refusal(const http::StatusLine& line,
                                      const http::HttpHead& head) const {
  std::string message = absl::StrCat(
      "WebSocket handshake with ", host_, ": refused with ", line.status, " ",
      line.reason.empty() ? http::ReasonPhrase(line.status) : absl::CHexEscape(line.reason));
  if (const auto location = head.Find("Location"); line.status < 400 && location.has_value()) {
    absl::StrAppend(&message, " to ", absl::CHexEscape(*location));
  }
  return absl::Status(http::RefusalCode(line.status), message);
}

absl::Status ClientHandshake::BadAnswer(absl::string_view why) const {
  return absl::FailedPreconditionError(
      absl::StrCat("WebSocket handshake with ", host_, ": the answer is wrong: ", why));
}

}  // namespace sluice::websocket
