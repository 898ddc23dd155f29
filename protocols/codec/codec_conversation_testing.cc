#include "sluice/protocols/codec/codec_conversation_testing.h"

namespace sluice::codec_testing {

SimulatedNetwork::Options BadNetwork(uint64_t seed) {
  SimulatedNetwork::Options options;
  options.link.latency = absl::Milliseconds(20);
  options.link.jitter = absl::Milliseconds(30);
  options.link.loss = 0.05;
  options.link.reset = BreaksConnections(seed) ? 0.05 : 0;
  options.host.short_send = 0.3;
  options.host.short_receive = 0.5;
  options.host.send_buffer_bytes = 4096;
  options.host.receive_buffer_bytes = 4096;
  return options;
}

}  // namespace sluice::codec_testing
