#include "sluice/tools/shared_flags.h"

#include "absl/flags/flag.h"

ABSL_FLAG(sluice::tools::Threads, threads, sluice::tools::Threads(1),
          "event loops, each on a thread of its own");
ABSL_FLAG(sluice::tools::MessageBytes, max_message_bytes, sluice::tools::kDefaultMaxMessageBytes,
          "longer messages from the peer are refused, and end the connection");
ABSL_FLAG(sluice::tools::Timeout, timeout, sluice::tools::Timeout(absl::Seconds(5)),
          "how long a connection may take to open, and, for bench, an answer to come");
ABSL_FLAG(sluice::tools::Timeout, lost_after, sluice::tools::Timeout(absl::Seconds(1)),
          "udp: an answer that has not come by then is taken for lost");
ABSL_FLAG(bool, json, false, "prints one JSON object instead of text");
ABSL_FLAG(bool, own_descriptor_tables, false,
          "gives each thread a table of descriptors of its own, so that each may hold as many "
          "connections as a process may (Linux; servers not with unix:)");
ABSL_FLAG(
    bool, deflate, false,
    "compresses messages, where the other side wants it, too (websocket: permessage-deflate)");
