// ServerStream and ClientStream are the two ends of the Redis protocol over any Stream:
// CommandCodec and ReplyCodec (command_codec.h, reply_codec.h: what is spoken, limits and errors)
// with a CodecStream (codec_stream.h: what is called when, ownership, memory). A client has more
// use for Client (client.h), which knows which reply belongs to which command.
//
// Example: a server that knows PING.
//
//   class Pong : public sluice::resp::ServerHandler {
//     void OnMessage(ServerStream& stream, sluice::resp::Command command) override {
//       const auto result = stream.Send([&](auto& reply) {
//         if (command.name() == "PING") return reply.SimpleString("PONG");
//         reply.Error("ERR unknown command");
//       });
//       if (result == sluice::SendResult::kBlocked) stream.PauseReceiving();
//     }
//     void OnSendReady(ServerStream& stream) override { stream.ResumeReceiving(); }
//   };
//   Pong pong;  // outlives the loop
//   auto listener = sluice::Listener::Listen(
//       *loop, address, {}, [&](std::unique_ptr<sluice::Stream> stream) {
//         ServerStream::Run(std::move(stream), CommandCodec(), pong);
//       });
//
// key_value_server.cc is a whole one. Loop-bound.
#ifndef SLUICE_PROTOCOLS_RESP_RESP_STREAM_H_
#define SLUICE_PROTOCOLS_RESP_RESP_STREAM_H_

#include "absl/status/status.h"
#include "sluice/protocols/codec/codec_stream.h"
#include "sluice/protocols/resp/command_codec.h"
#include "sluice/protocols/resp/reply_codec.h"

namespace sluice::resp {

using ServerStream = CodecStream<CommandCodec>;
using ClientStream = CodecStream<ReplyCodec>;
using ClientHandler = CodecHandler<ReplyCodec>;

class ServerHandler : public CodecHandler<CommandCodec> {
 public:
  // Tells the client what was wrong, as Redis does, and closes.
  void OnError(ServerStream& stream, const absl::Status& status) override;
};

}  // namespace sluice::resp

#endif  // SLUICE_PROTOCOLS_RESP_RESP_STREAM_H_
