#include "sluice/tools/cat_session.h"

#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"

namespace sluice::tools {
namespace {

absl::string_view AsText(absl::Span<const uint8_t> bytes) {
  return absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

absl::Span<const uint8_t> AsBytes(absl::string_view text) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

}  // namespace

CatSession::CatSession(EventLoop& loop, const Options& options)
    : loop_(loop),
      options_(options),
      has_messages_(options.protocol->has_messages()),
      lines_(options.max_message_bytes),
      output_(options.output, loop, [this](absl::Status status) { OnOutput(std::move(status)); }),
      input_(options.input, loop,
             [this](absl::StatusOr<absl::string_view> piece) { OnInput(std::move(piece)); }) {}

CatSession::~CatSession() = default;

absl::Status CatSession::Run() {
  absl::StatusOr<std::unique_ptr<ClientFactory>> factory =
      options_.protocol->NewClientFactory({.max_message_bytes = options_.max_message_bytes,
                                           .handshake_timeout = options_.connect_timeout,
                                           .compress = options_.compress,
                                           .url = options_.url});
  if (!factory.ok()) return factory.status();
  factory_ = *std::move(factory);
  attempt_ = options_.dialer->Dial(
      loop_, options_.url.endpoint, {.timeout = options_.connect_timeout},
      [this](absl::StatusOr<std::unique_ptr<Stream>> stream) { OnConnect(std::move(stream)); });
  loop_.Run();
  const absl::Status written = output_.Finish();
  return status_.ok() ? written : status_;
}

void CatSession::OnConnect(absl::StatusOr<std::unique_ptr<Stream>> stream) {
  attempt_.reset();
  if (!stream.ok()) return End(stream.status());
  if (options_.log != nullptr) Log(**stream);
  client_ = factory_->NewClient(*std::move(stream), *this);
  if (client_->is_open()) OnOpen(*client_);
}

void CatSession::Log(const Stream& stream) {
  const std::string peer = stream.peer_address().ToString();
  std::string text =
      options_.proxy.empty()
          ? absl::StrCat("connected to ", peer, "\n")
          : absl::StrCat("connected to ", options_.url.endpoint.ToString(), " through the proxy ",
                         options_.proxy, ", which is ", peer, "\n");
  if (options_.encryption != nullptr) absl::StrAppend(&text, options_.encryption->Describe(stream));
  std::fwrite(text.data(), 1, text.size(), options_.log);
}

void CatSession::OnOpen(Client& client) {
  if (options_.log != nullptr && options_.compress) {
    std::fputs(client.compresses() ? "messages are compressed\n"
                                   : "messages are not compressed: the server does not want it\n",
               options_.log);
  }
  input_.Continue();
}

void CatSession::OnInput(absl::StatusOr<absl::string_view> piece) {
  if (has_ended_) return;
  if (!piece.ok()) return client_->Abort(piece.status());
  if (piece->empty()) return OnInputEnd();
  if (!has_messages_) {
    Send(*piece);
  } else if (!lines_.Add(*piece, [this](absl::string_view line) { Send(line); })) {
    return client_->Abort(absl::ResourceExhaustedError(
        absl::StrCat("a line is longer than --max_message_bytes=", options_.max_message_bytes)));
  }
  if (!send_blocked_) input_.Continue();
}

void CatSession::OnInputEnd() {
  lines_.End([this](absl::string_view line) { Send(line); });
  client_->End();
}

void CatSession::Send(absl::string_view message) {
  const Client::Kind kind = IsUtf8(message) ? Client::Kind::kText : Client::Kind::kBinary;
  if (client_->Send(kind, AsBytes(message)) == SendResult::kBlocked) send_blocked_ = true;
}

void CatSession::OnSendReady(Client& /*client*/) {
  if (std::exchange(send_blocked_, false)) input_.Continue();
}

void CatSession::OnMessage(Client& client, absl::Span<const uint8_t> message) {
  const absl::string_view text = AsText(message);
  bool go_on;
  if (has_messages_) {
    go_on = output_.Write(absl::StrCat(PrintableLine(text), "\n"));
  } else if (options_.output_is_terminal) {
    go_on = output_.Write(flow_.Add(text));
  } else {
    go_on = output_.Write(text);
  }
  if (!go_on) client.PauseReceiving();
}

void CatSession::OnOutput(absl::Status status) {
  if (has_ended_) return;
  if (status.ok()) {
    client_->ResumeReceiving();
  } else {
    client_->Abort(std::move(status));
  }
}

void CatSession::OnClose(Client& /*client*/, const absl::Status& status) {
  output_.Write(flow_.End());
  End(status);
}

void CatSession::End(absl::Status status) {
  has_ended_ = true;
  status_ = std::move(status);
  loop_.Stop();
}

}  // namespace sluice::tools
