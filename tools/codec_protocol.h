// CodecProtocol makes a Protocol of a codec whose messages are bytes, so that a user's own codec
// has `echo`, `bench` and `cat` too.
//
// Example:
//   protocols.Add(CodecProtocol<ShortTextCodec>("short"));
//   sluice echo --protocol=short ...          sluice bench short://127.0.0.1:9000
#ifndef SLUICE_TOOLS_CODEC_PROTOCOL_H_
#define SLUICE_TOOLS_CODEC_PROTOCOL_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/stream.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/codec/codec_stream.h"
#include "sluice/tools/protocol.h"

namespace sluice::tools {
namespace internal {

// One handler for all connections of a loop.
template <ByteCodec C>
class CodecEcho final : public EchoService, private CodecHandler<C> {
 public:
  explicit CodecEcho(C codec) : codec_(std::move(codec)) {}

  void Serve(std::unique_ptr<Stream> stream) override {
    ++totals_.connections;
    CodecStream<C>::Run(std::move(stream), codec_, *this);
  }

 private:
  void OnMessage(CodecStream<C>& stream, absl::Span<uint8_t> message) override {
    ++totals_.messages;
    totals_.bytes += message.size();
    if (Answer(stream, message) == SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnSendReady(CodecStream<C>& stream) override { stream.ResumeReceiving(); }
  void OnClose(CodecStream<C>& /*stream*/, const absl::Status& status) override {
    if (!status.ok()) ++totals_.errors;
  }

  static SendResult Answer(CodecStream<C>& stream, absl::Span<uint8_t> message) {
    if constexpr (requires { stream.SendInPlace(message); }) {
      return stream.SendInPlace(message);
    } else {
      return stream.Send(absl::Span<const uint8_t>(message));
    }
  }

  const C codec_;
};

template <ByteCodec C>
class CodecClient final : public Client, private CodecHandler<C> {
 public:
  CodecClient(std::unique_ptr<Stream> stream, C codec, Handler& handler)
      : handler_(handler), stream_(std::move(stream), std::move(codec), *this) {}

  SendResult Send(Kind /*kind*/, absl::Span<const uint8_t> message) override {
    return stream_.Send(message);
  }
  void End() override {
    stream_.ShutdownSend();
    has_ended_ = true;
    if (peer_has_ended_) stream_.Close();
  }
  void Close() override { stream_.Close(); }
  void PauseReceiving() override { stream_.PauseReceiving(); }
  void ResumeReceiving() override { stream_.ResumeReceiving(); }
  void Abort(absl::Status status) override { stream_.Abort(std::move(status)); }

 private:
  void OnMessage(CodecStream<C>& /*stream*/, absl::Span<uint8_t> message) override {
    handler_.OnMessage(*this, message);
  }
  void OnReceiveEnd(CodecStream<C>& stream) override {
    peer_has_ended_ = true;
    if (has_ended_) {
      stream.Close();
    } else {
      handler_.OnReceiveEnd(*this);
    }
  }
  void OnSendReady(CodecStream<C>& /*stream*/) override { handler_.OnSendReady(*this); }
  void OnClose(CodecStream<C>& /*stream*/, const absl::Status& status) override {
    handler_.OnClose(*this, status);
  }

  Handler& handler_;
  bool has_ended_ = false;
  bool peer_has_ended_ = false;
  CodecStream<C> stream_;
};

template <ByteCodec C>
class CodecClientFactory final : public ClientFactory {
 public:
  explicit CodecClientFactory(C codec) : codec_(std::move(codec)) {}

  std::unique_ptr<Client> NewClient(std::unique_ptr<Stream> stream,
                                    Client::Handler& handler) override {
    return std::make_unique<CodecClient<C>>(std::move(stream), codec_, handler);
  }

 private:
  const C codec_;
};

template <ByteCodec C, typename NewCodec>
class CodecProtocolImpl final : public Protocol {
 public:
  CodecProtocolImpl(absl::string_view name, NewCodec new_codec)
      : Protocol(name, {.name = std::string(name)}, /*has_messages=*/true),
        new_codec_(std::move(new_codec)) {}

  std::unique_ptr<EchoService> NewEchoService(const ServerOptions& options) const override {
    return std::make_unique<CodecEcho<C>>(new_codec_(options.max_message_bytes));
  }
  absl::StatusOr<std::unique_ptr<ClientFactory>> NewClientFactory(
      const ClientOptions& options) const override {
    return std::make_unique<CodecClientFactory<C>>(new_codec_(options.max_message_bytes));
  }

 private:
  const NewCodec new_codec_;
};

}  // namespace internal

// `name` is that of the protocol and of its URL scheme. `new_codec` makes a codec that takes
// messages up to a size from its peer; each connection has a copy of it.
template <ByteCodec C, std::invocable<size_t> NewCodec>
std::unique_ptr<Protocol> CodecProtocol(absl::string_view name, NewCodec new_codec) {
  return std::make_unique<internal::CodecProtocolImpl<C, NewCodec>>(name, std::move(new_codec));
}

// The same for a codec whose limit is fixed.
template <ByteCodec C>
std::unique_ptr<Protocol> CodecProtocol(absl::string_view name) {
  return CodecProtocol<C>(name, [](size_t /*max_message_bytes*/) { return C(); });
}

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_CODEC_PROTOCOL_H_
