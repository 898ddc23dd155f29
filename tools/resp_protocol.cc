#include "sluice/tools/resp_protocol.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/stream.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/resp/command_codec.h"
#include "sluice/protocols/resp/encode.h"
#include "sluice/protocols/resp/reply_codec.h"
#include "sluice/protocols/resp/resp_stream.h"
#include "sluice/tools/codec_protocol.h"
#include "sluice/tools/codec_text.h"
#include "sluice/tools/resp_text.h"

namespace sluice::tools {
namespace {

// What a message has beside its longest string.
constexpr uint64_t kOverhead = 64 * 1024;

int64_t Limit(uint64_t bytes) {
  return static_cast<int64_t>(std::min<uint64_t>(bytes, std::numeric_limits<int32_t>::max()));
}

resp::CommandCodec NewCommandCodec(uint64_t max_message_bytes) {
  return *resp::CommandCodec::Create({.max_bulk_bytes = Limit(max_message_bytes),
                                      .max_frame_bytes = Limit(max_message_bytes + kOverhead)});
}

resp::ReplyCodec NewReplyCodec(uint64_t max_message_bytes) {
  return *resp::ReplyCodec::Create({.max_bulk_bytes = Limit(max_message_bytes),
                                    .max_frame_bytes = Limit(max_message_bytes + kOverhead)});
}

// One handler for all connections of a loop.
class RespEcho final : public EchoService, private resp::ServerHandler {
 public:
  explicit RespEcho(const ServerOptions& options)
      : codec_(NewCommandCodec(options.max_message_bytes)) {}

  void Serve(std::unique_ptr<Stream> stream) override {
    ++totals_.connections;
    resp::ServerStream::Run(std::move(stream), codec_, *this);
  }

 private:
  void OnMessage(resp::ServerStream& stream, resp::Command command) override {
    ++totals_.messages;
    for (const absl::string_view argument : command) totals_.bytes += argument.size();
    if (Answer(stream, command) == SendResult::kBlocked) stream.PauseReceiving();
    if (Is(command, "QUIT", 1)) stream.Close();
  }
  void OnSendReady(resp::ServerStream& stream) override { stream.ResumeReceiving(); }
  void OnClose(resp::ServerStream& /*stream*/, const absl::Status& status) override {
    if (!status.ok()) ++totals_.errors;
  }

  static bool Is(const resp::Command& command, absl::string_view name, size_t size) {
    return command.size() == size && absl::EqualsIgnoreCase(command.name(), name);
  }
  static SendResult Answer(resp::ServerStream& stream, const resp::Command& command) {
    if (Is(command, "PING", 1)) {
      return stream.Send([](auto& reply) { reply.SimpleString("PONG"); });
    }
    if (Is(command, "PING", 2) || Is(command, "ECHO", 2)) {
      return stream.Send([&](auto& reply) { reply.BulkString(command[1]); });
    }
    if (Is(command, "QUIT", 1)) {
      return stream.Send([](auto& reply) { reply.SimpleString("OK"); });
    }
    if (Is(command, "HELLO", 2)) return Greet(stream, command[1]);
    return stream.Send(command);
  }
  static SendResult Greet(resp::ServerStream& stream, absl::string_view version) {
    if (version != "2" && version != "3") {
      return stream.Send([](auto& reply) { reply.Error("NOPROTO unsupported protocol version"); });
    }
    stream.codec().set_version(version == "3" ? resp::Version::kResp3 : resp::Version::kResp2);
    return stream.Send([](auto& reply) {
      reply.Map(2);
      reply.BulkString("server");
      reply.BulkString("sluice");
      reply.BulkString("proto");
      reply.Integer(static_cast<int64_t>(reply.version()));
    });
  }

  const resp::CommandCodec codec_;
};

class RespProtocolImpl final : public Protocol {
 public:
  RespProtocolImpl()
      : Protocol({.name = "resp",
                  .scheme = {.name = "resp", .default_port = 6379},
                  .summary = "the Redis protocol, RESP2 and RESP3",
                  .message = "a command, as one types it for redis-cli; bench sends ECHO",
                  .limits = "a string of at most --max_message_bytes; a message of 64 KiB more"}) {}

  absl::StatusOr<std::unique_ptr<EchoService>> NewEchoService(
      const ServerOptions& options) const override {
    return std::make_unique<RespEcho>(options);
  }
  absl::StatusOr<std::unique_ptr<ClientFactory>> NewClientFactory(
      const ClientOptions& options) const override {
    using Codecs = internal::CodecSource<resp::ReplyCodec>;
    absl::StatusOr<Codecs> codecs =
        Codecs::Create([size = options.max_message_bytes]() -> absl::StatusOr<resp::ReplyCodec> {
          return NewReplyCodec(size);
        });
    if (!codecs.ok()) return codecs.status();
    return std::make_unique<internal::CodecClientFactory<resp::ReplyCodec, RespText>>(
        *std::move(codecs), RespText());
  }
};

}  // namespace

std::unique_ptr<Protocol> RespProtocol() { return std::make_unique<RespProtocolImpl>(); }

}  // namespace sluice::tools
