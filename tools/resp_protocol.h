#ifndef SLUICE_TOOLS_RESP_PROTOCOL_H_
#define SLUICE_TOOLS_RESP_PROTOCOL_H_

#include <memory>

#include "sluice/tools/protocol.h"

namespace sluice::tools {

// "resp" and resp://: the Redis protocol. A line that is typed is a command, its words split as
// redis-cli splits them, and what `bench` sends is the argument of an ECHO. The server answers
// PING, ECHO, HELLO and QUIT as Redis does, and any other command with itself, as an array.
std::unique_ptr<Protocol> RespProtocol();

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_RESP_PROTOCOL_H_
