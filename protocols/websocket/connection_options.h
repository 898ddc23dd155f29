// What servers and clients have in common: limits, deadlines and extensions of their connections.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_CONNECTION_OPTIONS_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_CONNECTION_OPTIONS_H_

#include <cstdint>
#include <memory>

#include "absl/time/time.h"
#include "sluice/protocols/websocket/compression.h"
#include "sluice/protocols/websocket/handler.h"

namespace sluice::websocket {

struct ConnectionOptions {
  // A message is all its fragments together.
  uint64_t max_message_bytes = uint64_t{1} << 20;
  // From the stream's beginning to the end of the opening handshake.
  absl::Duration handshake_timeout = absl::Seconds(10);
  // How long the peer has to answer a close frame.
  absl::Duration close_timeout = absl::Seconds(5);
  // Every ping_interval, a peer that has sent nothing since the last time is sent a ping, and has
  // pong_timeout to send something; that it takes what was queued for it counts, too. Infinite: no
  // pings.
  absl::Duration ping_interval = absl::InfiniteDuration();
  absl::Duration pong_timeout = absl::Seconds(10);
  // Pings and pongs that a peer may send in each second of the loop's clock; one more and the
  // connection is closed with kPolicyViolation. They may come all at once, so around the turn of a
  // second twice as many. At most 4095; 0 for any number. Pongs that answer our own pings count:
  // who pings more often raises it. (Fragments without payload are limited within a message, see
  // FrameDecoder::Options; messages without payload are messages.)
  uint16_t max_control_frames_per_second = 100;
  // Whether and how messages are compressed, where the peer agrees: deflate.h. Null: not.
  std::shared_ptr<const Compression> compression = nullptr;
  // Null: none.
  ConnectionObserver* observer = nullptr;
};

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_CONNECTION_OPTIONS_H_
