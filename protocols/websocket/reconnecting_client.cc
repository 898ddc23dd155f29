#include "sluice/protocols/websocket/reconnecting_client.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "sluice/protocols/websocket/frame.h"
#include "sluice/protocols/websocket/internal/random.h"

namespace sluice::websocket {
namespace {

// What a message costs beside its payload.
constexpr size_t kMessageBytes = 64;

// How soon to look whether the transport has taken what was given to it, where nothing tells.
constexpr absl::Duration kPumpInterval = absl::Milliseconds(50);

uint64_t SeedFromSystem() {
  uint64_t seed;
  internal::FillRandom(&seed, sizeof(seed));
  return seed;
}

// Why a connection that was open is there no more; OK for a normal end.
absl::Status StatusOf(const CloseInfo& info) {
  if (!info.status.ok() || !info.by_peer || info.code == CloseCode::kNormal) return info.status;
  const std::string message =
      absl::StrCat("the peer closed with ", static_cast<int>(info.code),
                   info.reason.empty() ? "" : ": ", absl::Utf8SafeCHexEscape(info.reason));
  return ReconnectingClient::MayReconnect(info) ? absl::UnavailableError(message)
                                                : absl::FailedPreconditionError(message);
}

// The handler of a connection that outlives its ReconnectingClient for a moment, and needs what has
// made it until then.
class Farewell final : public Handler {
 public:
  explicit Farewell(std::shared_ptr<UrlClient> url_client) : url_client_(std::move(url_client)) {}

 private:
  void OnMessage(Connection&, const Message&) override {}

  const std::shared_ptr<UrlClient> url_client_;
};

absl::Status CheckOptions(const ReconnectingClient::Options& options) {
  const auto is_wait = [](absl::Duration wait) {
    return wait > absl::ZeroDuration() && wait < absl::InfiniteDuration();
  };
  if (!is_wait(options.first_wait) || !is_wait(options.max_wait))
    return absl::InvalidArgumentError("reconnecting: waits must be positive and finite");
  if (!(options.factor >= 1) || std::isinf(options.factor))
    return absl::InvalidArgumentError("reconnecting: the factor must be at least 1 and finite");
  if (options.max_attempts < 0)
    return absl::InvalidArgumentError("reconnecting: max_attempts must not be negative");
  return absl::OkStatus();
}

}  // namespace

void ReconnectHandler::OnOpen(Connection& connection) { client_->OnOpen(connection); }
void ReconnectHandler::OnSendReady(Connection& /*connection*/) { client_->OnSendReady(); }
void ReconnectHandler::OnClose(Connection& connection, const CloseInfo& info) {
  client_->OnClose(connection, info);
}

bool ReconnectingClient::MayRetry(const absl::Status& failure) {
  switch (failure.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kCancelled:
      return false;
    default:
      return true;
  }
}

bool ReconnectingClient::MayReconnect(const CloseInfo& info) {
  if (!info.by_peer && info.code != CloseCode::kAbnormal) return false;
  switch (info.code) {
    case CloseCode::kNormal:
    case CloseCode::kProtocolError:
    case CloseCode::kUnsupportedData:
    case CloseCode::kInvalidPayload:
    case CloseCode::kPolicyViolation:
    case CloseCode::kMessageTooBig:
    case CloseCode::kMissingExtension:
      return false;
    default:
      return info.status.code() != absl::StatusCode::kCancelled;
  }
}

absl::StatusOr<std::unique_ptr<ReconnectingClient>> ReconnectingClient::Create(
    EventLoop& loop, absl::string_view url, const Options& options, ReconnectHandler& handler) {
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  absl::StatusOr<std::unique_ptr<UrlClient>> url_client =
      UrlClient::Create(loop, url, options.connect);
  if (!url_client.ok()) return url_client.status();
  std::unique_ptr<ReconnectingClient> client(
      new ReconnectingClient(loop, *std::move(url_client), options, handler));
  client->Connect();
  return client;
}

ReconnectingClient::ReconnectingClient(EventLoop& loop, std::unique_ptr<UrlClient> url_client,
                                       const Options& options, ReconnectHandler& handler)
    : loop_(loop),
      options_(options),
      handler_(handler),
      url_client_(std::move(url_client)),
      random_(options.seed.has_value() ? *options.seed : SeedFromSystem()),
      timer_([this] { OnTimer(); }),
      pump_([this] { Pump(); }) {
  handler_.client_ = this;
}

ReconnectingClient::~ReconnectingClient() {
  if (gone_ != nullptr) *gone_ = true;
  if (connection_ == nullptr) return;
  connection_->SetHandler(std::make_unique<Farewell>(url_client_));
  connection_->Abort(absl::CancelledError("the client is gone"));
}

Connection* ReconnectingClient::connection() const {
  return connection_ != nullptr && connection_->open() ? connection_ : nullptr;
}

// Connecting.

void ReconnectingClient::Connect() {
  attempt_ = url_client_->Connect(handler_, [this](const absl::Status& why) { OnFailure(why); });
}

void ReconnectingClient::OnFailure(const absl::Status& status) {
  attempt_.reset();
  if (options_.may_retry(status)) return Retry(status);
  End(status);
}

void ReconnectingClient::OnOpen(Connection& connection) {
  connection_ = &connection;
  opened_at_ = loop_.now();
  blocked_ = false;
  bool gone = false;
  gone_ = &gone;
  handler_.OnConnected(connection);
  if (gone) return;
  gone_ = nullptr;
  attempt_.reset();
  GiveWaiting();
  TellReady();
}

void ReconnectingClient::OnClose(Connection& connection, const CloseInfo& info) {
  pump_.Cancel();
  std::vector<UnsentMessage> unsent = TakeGiven();
  if (loop_.now() - opened_at_ >= options_.steady_after) failures_ = 0;
  bool gone = false;
  gone_ = &gone;
  handler_.OnDisconnected(connection, info);
  if (!gone && !unsent.empty()) handler_.OnUnsent(std::move(unsent));
  if (gone) return;
  gone_ = nullptr;
  connection.SetHandler(std::make_unique<Farewell>(url_client_));  // it goes after us
  connection_ = nullptr;
  if (closing_) return End(info.clean ? absl::OkStatus() : info.status);
  if (options_.may_reconnect(info)) return Retry(StatusOf(info));
  End(StatusOf(info));
}

// Waiting.

absl::Duration ReconnectingClient::NextWait() {
  const double limit = std::min(
      absl::ToDoubleSeconds(options_.max_wait),
      absl::ToDoubleSeconds(options_.first_wait) * std::pow(options_.factor, failures_ - 1));
  return absl::Seconds(limit * random_.Fraction());
}

void ReconnectingClient::Retry(const absl::Status& why) {
  ++failures_;
  if (options_.max_attempts > 0 && failures_ >= options_.max_attempts) {
    return End(absl::Status(
        why.code(), absl::StrCat("given up after ", failures_, " attempts: ", why.message())));
  }
  const absl::Duration wait = NextWait();
  loop_.ArmTimer(timer_, wait);
  handler_.OnRetry(why, wait);  // may destroy this
}

void ReconnectingClient::OnTimer() {
  if (closing_) return End(absl::OkStatus());
  Connect();
}

// The end.

void ReconnectingClient::Close(CloseCode code, absl::string_view reason) {
  if (closing_ || ended_) return;
  closing_ = true;
  if (connection() != nullptr) {
    while (!waiting_.empty() && Fits(waiting_.front().payload.size()) && GiveFirst()) {
    }
    return connection_->Close(code, reason);
  }
  if (connection_ != nullptr) return;  // it is closing already
  attempt_.reset();
  loop_.ArmTimer(timer_, absl::ZeroDuration());
}

void ReconnectingClient::End(const absl::Status& why) {
  ended_ = true;
  timer_.Cancel();
  std::vector<UnsentMessage> unsent = TakeWaiting();
  if (!unsent.empty()) {
    bool gone = false;
    gone_ = &gone;
    handler_.OnUnsent(std::move(unsent));
    if (gone) return;
    gone_ = nullptr;
  }
  handler_.OnEnd(why);  // may destroy this
}

// Sending.

SendResult ReconnectingClient::Send(bool is_text, absl::string_view payload) {
  if (closing_ || ended_) return SendResult::kRefused;
  if (waiting_.empty() && MayGive(payload.size())) {
    const SendResult result = Give(is_text, payload);
    if (result == SendResult::kBlocked) ready_owed_ = true;
    if (result != SendResult::kRefused) return result;
  }
  const size_t bytes = payload.size() + kMessageBytes;
  if (waiting_bytes_ + bytes > options_.max_queued_bytes) return SendResult::kRefused;
  waiting_bytes_ += bytes;
  waiting_.push_back({is_text, std::string(payload)});
  ready_owed_ = true;
  if (connection() != nullptr) ArmPump();
  return SendResult::kBlocked;
}

// What is not given stays here, and is certainly not sent; so nothing is given that the transport
// will not take soon, nor what would end the connection by passing its hard limit.
bool ReconnectingClient::MayGive(size_t payload_bytes) const {
  if (connection() == nullptr || blocked_) return false;
  return connection_->queued_bytes() == 0 ||
         (given_bytes_ <= options_.max_queued_bytes && Fits(payload_bytes));
}

// Under the hard limit, by which the connection would end.
bool ReconnectingClient::Fits(size_t payload_bytes) const {
  const size_t queued = connection_->queued_bytes();
  return queued == 0 ||
         queued + payload_bytes + kMaxFrameHeaderBytes <= connection_->stream().limits().hard;
}

SendResult ReconnectingClient::Give(bool is_text, absl::string_view payload) {
  const SendResult result =
      is_text ? connection_->SendText(payload)
              : connection_->SendBinary(absl::MakeConstSpan(
                    reinterpret_cast<const uint8_t*>(payload.data()), payload.size()));
  if (result == SendResult::kRefused) return result;
  blocked_ = result == SendResult::kBlocked;
  if (connection_->queued_bytes() == 0) {
    DropWhatHasLeft();
    return result;
  }
  // A compressed message may have any size.
  const size_t frame_bytes =
      connection_->compresses()
          ? FrameHeaderBytes(0, /*masked=*/true)
          : FrameHeaderBytes(payload.size(), /*masked=*/true) + payload.size();
  given_.push_back({is_text, std::string(payload), frame_bytes});
  given_bytes_ += payload.size() + kMessageBytes;
  given_frame_bytes_ += frame_bytes;
  DropWhatHasLeft();
  ArmPump();
  return result;
}

// A message has left when all that is queued can be accounted for by those behind it.
void ReconnectingClient::DropWhatHasLeft() {
  const size_t queued = connection_->queued_bytes();
  while (!given_.empty() && given_frame_bytes_ - given_.front().frame_bytes >= queued) {
    given_frame_bytes_ -= given_.front().frame_bytes;
    given_bytes_ -= given_.front().payload.size() + kMessageBytes;
    given_.pop_front();
  }
}

void ReconnectingClient::GiveWaiting() {
  while (!waiting_.empty() && MayGive(waiting_.front().payload.size()) && GiveFirst()) {
  }
  if (!waiting_.empty() && connection() != nullptr) ArmPump();
}

// Of those that wait. False, and it waits on, where the connection refuses it.
bool ReconnectingClient::GiveFirst() {
  const Kept& message = waiting_.front();
  if (Give(message.is_text, message.payload) == SendResult::kRefused) return false;
  waiting_bytes_ -= message.payload.size() + kMessageBytes;
  waiting_.pop_front();
  return true;
}

void ReconnectingClient::ArmPump() {
  if (!pump_.armed()) loop_.ArmTimer(pump_, kPumpInterval);
}

void ReconnectingClient::OnSendReady() {
  blocked_ = false;
  DropWhatHasLeft();
  GiveWaiting();
  TellReady();
}

void ReconnectingClient::Pump() {
  if (connection() == nullptr) return;
  DropWhatHasLeft();
  GiveWaiting();
  if (!given_.empty() || !waiting_.empty()) ArmPump();
  TellReady();
}

// The last thing that a caller does: the user may destroy this.
void ReconnectingClient::TellReady() {
  if (!ready_owed_ || blocked_ || !waiting_.empty()) return;
  ready_owed_ = false;
  handler_.OnReadyToSend();
}

std::vector<UnsentMessage> ReconnectingClient::Unsent(std::deque<Kept> messages,
                                                      bool may_have_left) {
  std::vector<UnsentMessage> unsent;
  unsent.reserve(messages.size());
  for (Kept& message : messages)
    unsent.push_back({message.is_text, std::move(message.payload), may_have_left});
  return unsent;
}

std::vector<UnsentMessage> ReconnectingClient::TakeGiven() {
  DropWhatHasLeft();
  given_bytes_ = given_frame_bytes_ = 0;
  return Unsent(std::exchange(given_, {}), /*may_have_left=*/true);
}

std::vector<UnsentMessage> ReconnectingClient::TakeWaiting() {
  waiting_bytes_ = 0;
  return Unsent(std::exchange(waiting_, {}), /*may_have_left=*/false);
}

}  // namespace sluice::websocket
