// A ticker: what one WebSocket client sends goes to all of them, compressed for those that can
// (permessage-deflate).
#ifndef TICKER_TICKER_H_
#define TICKER_TICKER_H_

#include <memory>
#include <utility>

#include "sluice/core/stream.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/counters.h"
#include "sluice/protocols/websocket/deflate.h"
#include "sluice/protocols/websocket/handler.h"
#include "sluice/protocols/websocket/server.h"
#include "sluice/protocols/websocket/topics.h"

namespace ticker {

// One loop's part of it. To be destroyed after its loop, and before the topics.
class Ticker final : private sluice::websocket::Handler {
 public:
  explicit Ticker(sluice::websocket::Topics& topics);

  void Serve(std::unique_ptr<sluice::Stream> stream) { server_.Serve(std::move(stream), *this); }
  const sluice::websocket::Counters& counters() const { return server_.counters(); }

 private:
  void OnOpen(sluice::websocket::Connection& connection) override;
  void OnMessage(sluice::websocket::Connection& connection,
                 const sluice::websocket::Message& message) override;

  const std::shared_ptr<const sluice::websocket::Deflate> deflate_;
  sluice::websocket::LocalTopics topics_;
  sluice::websocket::Server server_;
};

}  // namespace ticker

#endif  // TICKER_TICKER_H_
