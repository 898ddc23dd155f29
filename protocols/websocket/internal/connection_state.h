// What a Connection keeps beside itself, for as long as it needs it. Of the Connection's own
// sources.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_CONNECTION_STATE_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_CONNECTION_STATE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/slice.h"
#include "sluice/core/timer.h"
#include "sluice/protocols/websocket/client_handshake.h"
#include "sluice/protocols/websocket/close_code.h"
#include "sluice/protocols/websocket/compression.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/decoder.h"
#include "sluice/protocols/websocket/handler.h"
#include "sluice/protocols/websocket/handshake.h"
#include "sluice/protocols/websocket/internal/outgoing_messages.h"
#include "sluice/protocols/websocket/utf8.h"

namespace sluice::websocket {

// While a message in parts is being sent.
struct Connection::Ordered {
  explicit Ordered(Connection& connection)
      : messages(connection.role()), turn([&connection] { connection.AdvanceOrdered(); }) {}

  internal::OutgoingMessages messages;
  Timer turn;  // there is more to do, by the loop
};

// A compressed message that is delivered in parts.
struct Connection::Inflating {
  std::unique_ptr<Compression::Session::Decompression> decompression;
  MessagePart part = {};
  Utf8Validator utf8 = {};
  // Receiving was paused within it, before this was decompressed.
  bool paused = false;
  std::vector<uint8_t> held = {};
  bool held_last = false;
};

// What only few connections need at a time.
struct Connection::Extras {
  explicit Extras(Connection& connection)
      : timer([&connection] { connection.OnTimer(); }),
        release([&connection] { connection.ReleaseHeld(); }),
        pong([&connection] { connection.AnswerPing(); }) {}

  std::unique_ptr<ServerHandshake> server_handshake;  // until OnOpen has returned, one of them
  std::unique_ptr<ClientHandshake> client_handshake;
  Timer timer;    // the deadline of the handshake or of the close, or the next of an open one's
  Timer release;  // held bytes are delivered when it runs: never from inside ResumeReceiving
  Timer pong;     // while a ping waits or a pong is queued
  std::vector<uint8_t> held;
  MonotonicTime keep_alive_at = MonotonicTime::InfiniteFuture();
  MonotonicTime drain_at = MonotonicTime::InfiniteFuture();
  MonotonicTime active_at;  // when a message came or went last
  size_t queued = 0;        // by the stream, when OnTimer looked last
  bool awaiting_pong = false;
  bool pong_queued = false;  // behind more than kPongQueueBytes, and perhaps still so
  bool ping_waits = false;   // a ping that could not be answered yet, and its payload
  std::vector<uint8_t> ping;
  size_t since_pong = 0;  // bytes of messages sent since then
  std::unique_ptr<Ordered> ordered;
  size_t dropped = 0;  // what waited in it when the end came
  std::unique_ptr<Inflating> inflating;
  enum class HandshakeEnd : uint8_t { kBrokenOff, kRefused, kTimedOut };
  HandshakeEnd handshake_end = HandshakeEnd::kBrokenOff;  // if it fails
  // The first close frame.
  CloseCode close_code = CloseCode::kAbnormal;
  std::string close_reason;
  bool close_by_peer = false;
  absl::Status failure;
};

// The message that OnMessage is being called with.
struct Connection::Delivery {
  Delivery(const Connection& c, const FrameDecoder::Event& e, bool l)
      : connection(&c), event(e), lent(l) {}

  const Connection* const connection;
  const FrameDecoder::Event& event;
  const bool lent;            // it lies in what the Stream lends
  mutable Slice taken;        // keeps the payload's memory, once it was sent with it
  mutable bool used = false;  // its room holds a header already
};

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_CONNECTION_STATE_H_
