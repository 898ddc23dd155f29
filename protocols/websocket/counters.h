// Counters of what has happened on the connections of one Server or Client. They only grow, but for
// `handshaking` and `open`, which are of now; nothing is ever reset.
//
// Example, a server on each loop of a group, all in all:
//   websocket::Counters total;
//   group.RunOnEach([&](EventLoop&, int i) { total += servers[i]->counters(); });
//   std::cout << total.open << " connections, " << total.in.messages << " messages, "
//             << total.closed[CloseCode::kNormal].by_peer << " left";
//
// At any time, but inside of callbacks that tell of the event itself:
//   connections begun = handshaking + opened + timed_out + broken_off + all of `refused`
//   opened = open + all of `closed`
//
// Thread-compatible; those of a Server are written by its loop.
//
// Memory: about 400 bytes, and 48 for each status in `refused` and each code in `closed`; of these
// there are at most 402 and 2016.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_COUNTERS_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_COUNTERS_H_

#include <cstdint>
#include <map>

#include "sluice/protocols/websocket/close_code.h"

namespace sluice::websocket {

struct Counters {
  // What came, or what went. Payloads without headers. Of a message in parts the bytes count as
  // they pass, and the message with its end.
  struct Traffic {
    uint64_t messages = 0;
    uint64_t bytes = 0;  // before compressing and after decompressing
    // Those of the messages that were compressed on the wire, and their bytes as in `bytes` and on
    // the wire.
    uint64_t compressed_messages = 0;
    uint64_t plain_bytes = 0;
    uint64_t compressed_bytes = 0;
    uint64_t pings = 0;
    uint64_t pongs = 0;

    // compressed_bytes / plain_bytes; 1 while nothing was compressed.
    double CompressedRatio() const;

    Traffic& operator+=(const Traffic& other);
  };
  struct Closed {
    uint64_t by_peer = 0;  // its close frame was the first
    uint64_t by_us = 0;    // all others
    Closed& operator+=(const Closed& other);
  };

  // Now.
  uint64_t handshaking = 0;
  uint64_t open = 0;

  // Handshakes that have ended, those that failed when their connection was gone.
  uint64_t opened = 0;
  uint64_t timed_out = 0;
  uint64_t broken_off = 0;  // by either side, without an answer
  // By the status of the answer that was not a WebSocket: a server's own answers (pages, too); for
  // a client, the server's. There 0 stands for one that was no HTTP, and 101 for a wrong
  // acceptance.
  std::map<int, uint64_t> refused;
  uint64_t refused_by_handler = 0;  // of those, the answers of Handler::OnRequest

  // Connections that were open and have ended, by CloseInfo::code: kAbnormal without a close frame.
  std::map<CloseCode, Closed> closed;

  Traffic in;   // as delivered to handlers
  Traffic out;  // as accepted
  // Messages, and parts of some, that were not accepted (SendResult::kRefused). What is written to
  // a MessageWriter that is not open is not counted.
  uint64_t sends_refused = 0;

  Counters& operator+=(const Counters& other);
};

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_COUNTERS_H_
