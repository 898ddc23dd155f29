#include "sluice/protocols/resp/resp_stream.h"

#include <string>

namespace sluice::resp {

void ServerHandler::OnError(ServerStream& stream, const absl::Status& status) {
  const std::string error = stream.codec().error_reply();
  // A codec that has misbehaved has no words for it.
  if (error.empty()) return stream.Abort(status);
  stream.Send([&](auto& reply) { reply.Error(error); });
  stream.Close();
}

}  // namespace sluice::resp
