#include "sluice/tools/usp_protocol.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/stream.h"
#include "sluice/core/timer.h"
#include "sluice/protocols/usp/compression.h"
#include "sluice/protocols/usp/compressor.h"
#include "sluice/protocols/usp/connection.h"
#include "sluice/protocols/usp/message_codec.h"
#include "sluice/tools/protocol_options.h"

namespace sluice::tools {
namespace {

using usp::CompressionAlgorithm;
using usp::MessageOptions;

constexpr size_t kMaxMessageBytes = size_t{1} << 30;

ProtocolOptions<MessageOptions> Options() {
  MessageOptions defaults;
  defaults.compressor = &usp::ZlibCompressor();
  ProtocolOptions<MessageOptions> options(defaults);
  options
      .Choice("compression", &MessageOptions::compression,
              {{"none", CompressionAlgorithm::kNone},
               {"gzip", CompressionAlgorithm::kGzip},
               {"flate", CompressionAlgorithm::kFlate}},
              "of what is sent; what comes may be compressed by either")
      .Number("min_compress_bytes", &MessageOptions::min_compress_bytes, 0, kMaxMessageBytes,
              "smaller messages are sent as they are");
  return options;
}

usp::ConnectionOptions ConnectionOptionsOf(MessageOptions message, size_t max_message_bytes) {
  message.max_message_bytes = std::min(max_message_bytes, kMaxMessageBytes);
  usp::ConnectionOptions options;
  options.message = message;
  return options;
}

// Why an open connection, which lives on, has refused a message.
absl::Status CannotSend() {
  return absl::InvalidArgumentError(
      "a message is longer than the protocol can carry, or than the limit (--max_message_bytes)");
}

// One handler for all connections of a loop.
class UspEcho final : private usp::Handler, public EchoService {
 public:
  explicit UspEcho(std::unique_ptr<usp::Server> server) : server_(std::move(server)) {}

  void Serve(std::unique_ptr<Stream> stream) override {
    ++totals_.connections;
    server_->Serve(std::move(stream), *this);
  }

 private:
  void OnMessage(usp::Connection& connection, const usp::Message& message) override {
    ++totals_.messages;
    totals_.bytes += message.body.size();
    const SendResult sent = connection.Send(message);
    if (sent == SendResult::kBlocked) return connection.PauseReceiving();
    if (sent == SendResult::kRefused && connection.open()) connection.Abort(CannotSend());
  }
  void OnSendReady(usp::Connection& connection) override { connection.ResumeReceiving(); }
  void OnClose(usp::Connection& /*connection*/, const absl::Status& status) override {
    if (!status.ok()) ++totals_.errors;
  }

  const std::unique_ptr<usp::Server> server_;
};

// After a client's End. A peer of the original drops what it has not answered when it sees the end
// of the stream, and does not end it itself: so this side ends when nothing has come for a moment,
// and does not wait for ever.
constexpr absl::Duration kQuiet = absl::Milliseconds(300);
constexpr absl::Duration kEndTimeout = absl::Seconds(5);

class UspClient final : public Client, private usp::Handler {
 public:
  UspClient(const usp::Client& client, std::unique_ptr<Stream> stream, Client::Handler& handler)
      : handler_(handler),
        end_timer_([this] { GoOnEnding(); }),
        connection_(client.Open(std::move(stream), *this)) {}

  bool is_open() const override { return connection_.open(); }
  SendResult Send(Kind kind, absl::Span<const uint8_t> message) override {
    usp::Message sent;
    sent.type = kind == Kind::kText ? usp::MessageType::kText : usp::MessageType::kBinary;
    sent.body = message;
    const SendResult result = connection_.Send(sent);
    if (result == SendResult::kRefused && connection_.open()) connection_.Abort(CannotSend());
    return result;
  }
  void End() override {
    if (end_ != Ending::kNot) return;
    end_ = Ending::kAwaitingSilence;
    ArmEndTimer();
  }
  void Close() override { connection_.Close(); }
  // Silence that is our own doing does not count.
  void PauseReceiving() override {
    connection_.PauseReceiving();
    is_paused_ = true;
    end_timer_.Cancel();
  }
  void ResumeReceiving() override {
    connection_.ResumeReceiving();
    is_paused_ = false;
    ArmEndTimer();
  }
  void Abort(absl::Status status) override { connection_.Abort(std::move(status)); }

 private:
  // Waits for silence, and then, with this side's end sent, for the peer's.
  enum class Ending : uint8_t { kNot, kAwaitingSilence, kHalfClosed };

  void OnMessage(usp::Connection& /*connection*/, const usp::Message& message) override {
    ArmEndTimer();
    handler_.OnMessage(*this, message.body);
  }
  void OnSendReady(usp::Connection& /*connection*/) override { handler_.OnSendReady(*this); }
  void OnClose(usp::Connection& /*connection*/, const absl::Status& status) override {
    end_timer_.Cancel();
    handler_.OnClose(*this, status);
  }

  void ArmEndTimer() {
    if (end_ == Ending::kNot || is_paused_) return;
    connection_.stream().loop().ArmTimer(end_timer_,
                                         end_ == Ending::kAwaitingSilence ? kQuiet : kEndTimeout);
  }
  void GoOnEnding() {
    if (end_ == Ending::kHalfClosed) return connection_.Close();
    // What waits to be sent is still to be answered.
    if (connection_.queued_bytes() == 0) {
      end_ = Ending::kHalfClosed;
      connection_.ShutdownSend();
    }
    ArmEndTimer();
  }

  Client::Handler& handler_;
  Ending end_ = Ending::kNot;
  bool is_paused_ = false;
  Timer end_timer_;
  usp::Connection& connection_;  // its own; until OnClose
};

class UspClientFactory final : public ClientFactory {
 public:
  explicit UspClientFactory(std::unique_ptr<usp::Client> client) : client_(std::move(client)) {}

  std::unique_ptr<Client> NewClient(std::unique_ptr<Stream> stream,
                                    Client::Handler& handler) override {
    return std::make_unique<UspClient>(*client_, std::move(stream), handler);
  }

 private:
  const std::unique_ptr<usp::Client> client_;
};

class Usp final : public Protocol {
 public:
  explicit Usp(const MessageOptions& message = Options().defaults())
      : Protocol({.name = "usp",
                  .summary = "the messages of lxzan/socket, with its heartbeat",
                  .message = "any bytes",
                  .limits = "a message of at most --max_message_bytes, 1073741824 at most, also "
                            "when decompressed; a header of 65535"}),
        message_(message) {}

  std::vector<ProtocolOption> options() const override { return Options().described(); }
  absl::StatusOr<std::unique_ptr<Protocol>> WithOptions(absl::string_view text) const override {
    absl::StatusOr<MessageOptions> message = Options().Parse(text);
    if (!message.ok()) return message.status();
    return std::make_unique<Usp>(*message);
  }

  absl::StatusOr<std::unique_ptr<EchoService>> NewEchoService(
      const ServerOptions& options) const override {
    absl::StatusOr<std::unique_ptr<usp::Server>> server =
        usp::Server::Create(ConnectionOptionsOf(message_, options.max_message_bytes));
    if (!server.ok()) return server.status();
    return std::make_unique<UspEcho>(*std::move(server));
  }
  absl::StatusOr<std::unique_ptr<ClientFactory>> NewClientFactory(
      const ClientOptions& options) const override {
    absl::StatusOr<std::unique_ptr<usp::Client>> client =
        usp::Client::Create(ConnectionOptionsOf(message_, options.max_message_bytes));
    if (!client.ok()) return client.status();
    return std::make_unique<UspClientFactory>(*std::move(client));
  }

 private:
  const MessageOptions message_;
};

}  // namespace

std::unique_ptr<Protocol> UspProtocol() { return std::make_unique<Usp>(); }

}  // namespace sluice::tools
