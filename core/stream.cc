#include "sluice/core/stream.h"

#include <memory>

#include "absl/status/status.h"

namespace sluice {

void StreamHandler::OnReceiveEnd(Stream& stream) { stream.Close(); }

void StreamHandler::OnDrain(Stream& stream) { stream.Close(); }

void Stream::SetHandler(StreamHandler& handler) {
  handler_ = &handler;
  OnHandlerSet();
}

void Stream::ClearHandler() {
  handler_ = nullptr;
  OnHandlerSet();
}

void Stream::Run(std::unique_ptr<Stream> stream, std::unique_ptr<StreamHandler> handler) {
  stream->handler_owned_ = true;
  Run(std::move(stream), *handler.release());
}

void Stream::Run(std::unique_ptr<Stream> stream, StreamHandler& handler) {
  Stream* given = stream.release();
  given->owned_by_loop_ = true;
  given->SetHandler(handler);
}

void Stream::DeliverClose(const absl::Status& status) {
  // Read before the call: a user who owns the stream may destroy it in OnClose.
  const bool owned = owned_by_loop_;
  StreamHandler* const handler = handler_;
  StreamHandler* const owned_handler = handler_owned_ ? handler_ : nullptr;
  if (handler != nullptr) handler->OnClose(*this, status);
  if (!owned) return;
  delete this;
  delete owned_handler;
}

}  // namespace sluice
