#include "sluice/protocols/resp/client.h"

#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/types/span.h"

namespace sluice::resp {
namespace {

// Whether a command is confirmed for each of its channels.
bool Subscribes(absl::string_view name) {
  for (const absl::string_view subscribing :
       {"subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe"}) {
    if (absl::EqualsIgnoreCase(name, subscribing)) return true;
  }
  return false;
}

}  // namespace

Client::Client(std::unique_ptr<Stream> stream, Options options, Handler& handler)
    : handler_(handler),
      max_calls_(options.max_calls),
      stream_(std::move(stream), std::move(options.codec), *this) {}

Client::~Client() {
  if (destroyed_ != nullptr) *destroyed_ = true;
  if (outliving_codec_ != nullptr) *outliving_codec_ = std::move(stream_.codec());
}

SendResult Client::Call(const Arguments& command, ReplyFunction on_reply) {
  const absl::Span<const absl::string_view> parts = command.parts();
  if (draining_ || parts.empty() || calls_.size() >= max_calls_) return SendResult::kRefused;
  PendingCall call{std::move(on_reply)};
  if (Subscribes(parts[0])) {
    call.subscribes = absl::AsciiStrToLower(parts[0]);
    call.confirmations = parts.size() - 1;
    // There would be as many confirmations as channels that the server knows of.
    if (call.confirmations == 0) return SendResult::kRefused;
  }
  const SendResult result = stream_.Send(command);
  if (result != SendResult::kRefused) calls_.push_back(std::move(call));
  return result;
}

// Whether this is a confirmation of the call whose turn it is.
bool Client::Confirms(const Value& value) const {
  if (calls_.empty() || calls_.front().subscribes.empty()) return false;
  const bool has_its_form = value.kind() == Kind::kPush || value.kind() == Kind::kArray;
  return has_its_form && absl::EqualsIgnoreCase(value[0].string(), calls_.front().subscribes);
}

void Client::OnMessage(ClientStream& stream, Value value) {
  std::optional<ReplyCodec> outliving_codec;
  outliving_codec_ = &outliving_codec;
  Deliver(stream, value);
  if (!outliving_codec.has_value()) outliving_codec_ = nullptr;
}

// Destroys this, or may.
void Client::Deliver(ClientStream& stream, const Value& value) {
  if (Confirms(value)) {
    if (--calls_.front().confirmations == 0) return Answer(value);
    return handler_.OnPush(*this, value);
  }
  if (value.kind() == Kind::kPush) return handler_.OnPush(*this, value);
  if (calls_.empty()) {
    return stream.Abort(absl::InvalidArgumentError("a reply that no command has asked for"));
  }
  Answer(value);
}

// Destroys this, or may.
void Client::Answer(absl::StatusOr<Value> reply) {
  ReplyFunction on_reply = std::move(calls_.front().on_reply);
  calls_.pop_front();
  if (draining_ && calls_.empty()) stream_.Close();
  on_reply(std::move(reply));
}

void Client::OnSendReady(ClientStream& /*stream*/) { handler_.OnSendReady(*this); }

// What was called is answered before the end.
void Client::OnDrain(ClientStream& stream) {
  draining_ = true;
  if (calls_.empty()) stream.Close();
}

void Client::OnClose(ClientStream& /*stream*/, const absl::Status& status) {
  const absl::Status unanswered =
      status.ok() ? absl::UnavailableError("the connection ended before the reply") : status;
  bool destroyed = false;
  destroyed_ = &destroyed;
  while (!calls_.empty()) {
    Answer(unanswered);
    if (destroyed) return;
  }
  destroyed_ = nullptr;
  handler_.OnClose(*this, status);
}

}  // namespace sluice::resp
