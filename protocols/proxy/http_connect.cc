#include "sluice/protocols/proxy/http_connect.h"

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "sluice/protocols/internal/http_head.h"
#include "sluice/protocols/internal/http_status.h"
#include "sluice/protocols/proxy/internal/tunnel.h"

namespace sluice::proxy {
namespace {

// 100 Continue, 103 Early Hints and the like, which may come before the answer (RFC 9110 section
// 15.2).
constexpr int kMostInterimAnswers = 8;

bool HasControlCharacter(absl::string_view text) {
  for (const char c : text) {
    if (static_cast<uint8_t>(c) < 0x20 || c == 0x7f) return true;
  }
  return false;
}

absl::Status CheckCredentials(const HttpConnectDialer::Options& options) {
  if (absl::StrContains(options.user, ':') || HasControlCharacter(options.user)) {
    return absl::InvalidArgumentError(
        "HTTP proxy: a user name must not have ':' or control characters");
  }
  if (HasControlCharacter(options.password)) {
    return absl::InvalidArgumentError("HTTP proxy: a password must not have control characters");
  }
  if (options.user.empty() && !options.password.empty()) {
    return absl::InvalidArgumentError("HTTP proxy: there is a password, and no user name");
  }
  return absl::OkStatus();
}

bool IsWrittenHere(absl::string_view header, bool with_user) {
  return absl::EqualsIgnoreCase(header, "Host") ||
         absl::EqualsIgnoreCase(header, "Content-Length") ||
         absl::EqualsIgnoreCase(header, "Transfer-Encoding") ||
         (with_user && absl::EqualsIgnoreCase(header, "Proxy-Authorization"));
}

absl::Status CheckOptions(const HttpConnectDialer::Options& options) {
  if (absl::Status status = options.proxy.Check(); !status.ok())
    return absl::Status(status.code(), absl::StrCat("HTTP proxy: ", status.message()));
  if (absl::Status status = CheckCredentials(options); !status.ok()) return status;
  for (const auto& [name, value] : options.headers) {
    if (!http::IsToken(name) || !http::IsFieldText(value) ||
        IsWrittenHere(name, !options.user.empty())) {
      return absl::InvalidArgumentError(absl::StrCat("HTTP proxy: the header \"",
                                                     absl::CHexEscape(name),
                                                     "\" is malformed or not to be given here"));
    }
  }
  return absl::OkStatus();
}

class ConnectAttempt final : public internal::Tunnel {
 public:
  ConnectAttempt(EventLoop& loop, const HttpConnectDialer::Options& proxy,
                 absl::string_view headers, const Endpoint& target, const DialOptions& options,
                 Dialer::DialFunction done)
      : Tunnel(loop, proxy.proxy, absl::StrCat("CONNECT ", target.ToString()), options,
               std::move(done)),
        request_(absl::StrCat("CONNECT ", target.ToString(),
                              " HTTP/1.1\r\nHost: ", target.ToString(), "\r\n", headers, "\r\n")),
        with_user_(!proxy.user.empty()),
        max_headers_(proxy.max_headers),
        reader_(proxy.max_head_bytes) {}

 private:
  void OnConnected() override {
    Send(request_);
    ExpectUpTo(reader_.missing_bytes());
  }

  void OnExpected(absl::Span<const uint8_t> bytes) override {
    switch (reader_.Read(bytes)) {
      case http::HeadReader::kNeedMore:
        return ExpectUpTo(reader_.missing_bytes());
      case http::HeadReader::kMalformed:
        return FailAnswer("it is not HTTP");
      case http::HeadReader::kTooLong:
        return Fail(absl::StatusCode::kResourceExhausted,
                    absl::StrCat("the answer's head is over ", reader_.max_bytes(), " bytes"));
      case http::HeadReader::kWhole:
        return OnHead();
    }
  }

  void OnHead() {
    http::HttpHead head;
    switch (head.Parse(reader_.head(), max_headers_)) {
      case http::HttpHead::kMalformed:
        return FailAnswer("a header is malformed");
      case http::HttpHead::kTooManyFields:
        return Fail(absl::StatusCode::kResourceExhausted,
                    absl::StrCat("the answer has more than ", max_headers_, " headers"));
      case http::HttpHead::kParsed:
        break;
    }
    const absl::optional<http::StatusLine> line = http::ParseStatusLine(head.start_line());
    if (!line.has_value()) return FailAnswer("its status line is malformed");
    if (line->status == 101) return FailAnswer("it switches to a protocol that nobody asked for");
    if (line->status >= 300) return OnRefusal(*line);
    if (line->status >= 200) return Succeed();  // and has no body, whatever its headers say
    if (++interim_answers_ > kMostInterimAnswers) return FailAnswer("it never comes to the point");
    reader_ = http::HeadReader(reader_.max_bytes());
    ExpectUpTo(reader_.missing_bytes());
  }

  void OnRefusal(const http::StatusLine& line) {
    // Some proxies say 401, as a server would, to a wrong password.
    const bool about_user = line.status == 407 || line.status == 401;
    const absl::string_view hint = !about_user ? ""
                                   : with_user_
                                       ? " (the proxy does not accept this user name and password)"
                                       : " (the proxy wants a user name and password)";
    Fail(http::RefusalCode(line.status),
         absl::StrCat(
             "refused with ", line.status, " ",
             line.reason.empty() ? http::ReasonPhrase(line.status) : absl::CHexEscape(line.reason),
             hint));
  }

  void FailAnswer(absl::string_view why) {
    Fail(absl::StatusCode::kFailedPrecondition, absl::StrCat("the answer is wrong: ", why));
  }

  const std::string request_;
  const bool with_user_;
  const size_t max_headers_;
  http::HeadReader reader_;
  int interim_answers_ = 0;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const HttpConnectDialer>> HttpConnectDialer::Create(
    const Options& options, std::shared_ptr<const Dialer> lower) {
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  if (lower == nullptr) lower = std::make_shared<DirectDialer>();
  return std::shared_ptr<const HttpConnectDialer>(new HttpConnectDialer(options, std::move(lower)));
}

HttpConnectDialer::HttpConnectDialer(const Options& options, std::shared_ptr<const Dialer> lower)
    : options_(options), lower_(std::move(lower)) {
  if (!options.user.empty()) {
    headers_ =
        absl::StrCat("Proxy-Authorization: Basic ",
                     absl::Base64Escape(absl::StrCat(options.user, ":", options.password)), "\r\n");
  }
  for (const auto& [name, value] : options.headers)
    absl::StrAppend(&headers_, name, ": ", value, "\r\n");
}

std::unique_ptr<Dialer::Attempt> HttpConnectDialer::Dial(EventLoop& loop, const Endpoint& endpoint,
                                                         const DialOptions& options,
                                                         DialFunction done) const {
  if (absl::Status status = internal::CheckTarget(endpoint); !status.ok())
    return Dialer::Fail(loop, std::move(status), std::move(done));
  auto attempt = std::make_unique<ConnectAttempt>(loop, options_, headers_, endpoint, options,
                                                  std::move(done));
  attempt->Dial(*lower_);
  return attempt;
}

}  // namespace sluice::proxy
