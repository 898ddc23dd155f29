// RespText is how commands and replies of the Redis protocol look on the command line
// (codec_text.h).
//
//   GET "a key"           a line becomes a command, its words split as redis-cli splits them
//   some bytes            what bench sends (Client::Kind::kBinary) becomes the argument of an ECHO
//
// A string is shown as it is; everything else so that it cannot be taken for one, as redis-cli
// shows it: (nil), (integer) 5, (error) ERR unknown command. Aggregates take one line: ["a", 1,
// (nil)],
// {"key": "value"}, a set ~["a"], a push >["message"], attributes |{"ttl": 1} before their value.
//
// Thread-safe.
#ifndef SLUICE_TOOLS_RESP_TEXT_H_
#define SLUICE_TOOLS_RESP_TEXT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "sluice/protocols/resp/value.h"
#include "sluice/tools/protocol.h"

namespace sluice::tools {

// A command of words, which a ReplyCodec encodes. Without a word it is an array that servers skip.
struct RespWords {
  template <typename ReplyWriter>
  void operator()(ReplyWriter& command) const {
    command.Array(words.size());
    for (const std::string& word : words) command.BulkString(word);
  }

  std::vector<std::string> words;
};

class RespText {
 public:
  // kInvalidArgument for quotes that are not closed.
  absl::StatusOr<RespWords> Parse(Client::Kind kind, absl::Span<const uint8_t> bytes) const;
  std::string Show(const resp::Value& value) const;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_RESP_TEXT_H_
