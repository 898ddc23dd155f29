#include "sluice/protocols/websocket/counters.h"

namespace sluice::websocket {

double Counters::Traffic::CompressedRatio() const {
  return plain_bytes == 0
             ? 1
             : static_cast<double>(compressed_bytes) / static_cast<double>(plain_bytes);
}

Counters::Traffic& Counters::Traffic::operator+=(const Traffic& other) {
  messages += other.messages;
  bytes += other.bytes;
  compressed_messages += other.compressed_messages;
  plain_bytes += other.plain_bytes;
  compressed_bytes += other.compressed_bytes;
  pings += other.pings;
  pongs += other.pongs;
  return *this;
}

Counters::Closed& Counters::Closed::operator+=(const Closed& other) {
  by_peer += other.by_peer;
  by_us += other.by_us;
  return *this;
}

Counters& Counters::operator+=(const Counters& other) {
  handshaking += other.handshaking;
  open += other.open;
  opened += other.opened;
  timed_out += other.timed_out;
  broken_off += other.broken_off;
  for (const auto& [status, count] : other.refused) refused[status] += count;
  refused_by_handler += other.refused_by_handler;
  for (const auto& [code, count] : other.closed) closed[code] += count;
  in += other.in;
  out += other.out;
  sends_refused += other.sends_refused;
  return *this;
}

}  // namespace sluice::websocket
