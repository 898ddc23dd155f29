// What servers and clients have in common: limits, deadlines and extensions of their connections.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_CONNECTION_OPTIONS_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_CONNECTION_OPTIONS_H_

#include <cstdint>
#include <memory>

#include "absl/time/time.h"
#include "sluice/protocols/websocket/close_code.h"
#include "sluice/protocols/websocket/compression.h"
#include "sluice/protocols/websocket/handler.h"

namespace sluice::websocket {

// How connections end when their loop drains (EventLoop::Drain, before which listeners are closed,
// and whose timeout ends those that are left). Handshakes under way are given up.
struct DrainOptions {
  // What Handler::OnDrain closes with, unless it is overridden: kGoingAway, or kServiceRestart,
  // upon which clients come back.
  CloseCode code = CloseCode::kGoingAway;
  // Each connection has its OnDrain at a time of its own, at random from the drain's beginning to
  // so long after it, so that the clients do not all come back in the same moment: n connections
  // leave at a rate of about n / spread. Until then a connection goes on. Zero: all at once. It
  // has to be shorter than the drain's timeout, by what a close takes.
  absl::Duration spread = absl::ZeroDuration();
};

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
  // Closes a connection, with kGoingAway and "idle for 5m", over which no message has come or gone
  // for so long, to the resolution of timers. A message counts while it arrives, and what is still
  // queued then has as long again while it moves; pings and pongs do not count. Time in which
  // receiving is paused does not, either. Infinite: never. (The Stream's own idle timeout, which a
  // Listener sets to 5 minutes unless told otherwise, is for peers that are gone: pings and pongs
  // count there, and there is no close frame.)
  absl::Duration idle_timeout = absl::InfiniteDuration();
  // How the connection ends when its loop drains.
  DrainOptions drain = {};
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
