// What a topic does for a subscriber that does not keep up.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_TOPIC_OPTIONS_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_TOPIC_OPTIONS_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "sluice/protocols/websocket/close_code.h"

namespace sluice::websocket {

// Messages for a subscriber go straight to its connection until a send answers kBlocked. From then
// until OnSendReady they wait, as references, and this is what happens past the bounds.
enum class SlowConsumerPolicy : uint8_t {
  kDropOldest,
  kDropNewest,
  // A message with a key takes the place of the one with the same key that waits, so that a slow
  // consumer sees fewer states, but not old ones. Past the bounds as kDropOldest.
  kConflate,
  kClose,  // the connection
};

struct TopicOptions {
  SlowConsumerPolicy policy = SlowConsumerPolicy::kDropOldest;
  // What may wait for one subscriber. A single message may be larger than max_waiting_bytes; with
  // max_waiting_messages = 0 none waits.
  size_t max_waiting_messages = 1024;
  size_t max_waiting_bytes = size_t{1} << 20;
  // Of kClose.
  CloseCode close_code = CloseCode::kTryAgainLater;
  std::string close_reason = "too slow";
};

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_TOPIC_OPTIONS_H_
