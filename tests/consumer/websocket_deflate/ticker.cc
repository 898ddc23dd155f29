#include "ticker.h"

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "sluice/protocols/websocket/close_code.h"
#include "sluice/protocols/websocket/deflate.h"
#include "sluice/protocols/websocket/prepared_message.h"

namespace ticker {
namespace {

namespace websocket = sluice::websocket;

constexpr char kTopic[] = "ticks";

websocket::Server::Options ServerOptions(websocket::LocalTopics& topics,
                                         std::shared_ptr<const websocket::Deflate> deflate) {
  websocket::Server::Options options;
  options.connection.max_message_bytes = 64 * 1024;
  options.connection.observer = &topics;
  options.connection.compression = std::move(deflate);
  return options;
}

}  // namespace

Ticker::Ticker(websocket::Topics& topics)
    : deflate_(*websocket::Deflate::Create({})),
      topics_(topics),
      server_(ServerOptions(topics_, deflate_)) {}

void Ticker::OnOpen(websocket::Connection& connection) {
  const absl::Status status = topics_.Subscribe(connection, kTopic);
  if (!status.ok()) connection.Close(websocket::CloseCode::kInternalError);
}

void Ticker::OnMessage(websocket::Connection& connection, const websocket::Message& message) {
  if (!message.is_text) return connection.Close(websocket::CloseCode::kUnsupportedData);
  topics_.Publish(kTopic, websocket::PreparedMessage::Text(message.text(), deflate_.get()))
      .IgnoreError();
}

}  // namespace ticker
