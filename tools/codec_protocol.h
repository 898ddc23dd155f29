// CodecProtocol makes a Protocol of a codec, so that a user's own codec has `echo`, `bench` and
// `cat` too, and its place in `codecs`.
//
// Example: the codec of the example in codec.h.
//
//   protocols.Add(CodecProtocol<ShortTextCodec>({.name = "short"}));
//   sluice echo --protocol=short ...          sluice bench short://127.0.0.1:9000
//
// Example: one with options, members of a struct (protocol_options.h), and a limit.
//
//   struct ShortTextOptions {
//     int length_bytes = 1;
//   };
//   ProtocolOptions<ShortTextOptions> options;
//   options.Number("length_bytes", &ShortTextOptions::length_bytes, 1, 2, "bytes of the length");
//   protocols.Add(CodecProtocol<ShortTextCodec>(
//       {.name = "short", .summary = "text behind its length"}, options,
//       [](const ShortTextOptions& options, size_t max_message_bytes) {
//         return ShortTextCodec(options.length_bytes, max_message_bytes);
//       }));
//   sluice cat short://127.0.0.1:9000 --codec=length_bytes=2
//
// The function makes the codec of a connection, for messages from the peer (as Show shows them) of
// up to a size. It may also return an absl::StatusOr, and answer options that do not go together
// with kInvalidArgument. Each connection has a copy of one codec, or, where it cannot be copied,
// one of its own made, which must not fail then.
//
// A codec with messages that are not bytes says with a second type how they are typed and shown
// (codec_text.h).
#ifndef SLUICE_TOOLS_CODEC_PROTOCOL_H_
#define SLUICE_TOOLS_CODEC_PROTOCOL_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/buffer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/stream.h"
#include "sluice/core/timer.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/codec/codec_stream.h"
#include "sluice/tools/codec_text.h"
#include "sluice/tools/protocol.h"
#include "sluice/tools/protocol_options.h"

namespace sluice::tools {
namespace internal {

// A codec for each connection.
template <Codec C>
class CodecSource {
 public:
  using Make = std::function<absl::StatusOr<C>()>;

  static absl::StatusOr<CodecSource> Create(Make make) {
    absl::StatusOr<C> first = make();
    if (!first.ok()) return first.status();
    return CodecSource(*std::move(first), std::move(make));
  }

  C Next() const {
    if constexpr (std::copy_constructible<C>) {
      return first_;
    } else {
      return make_().value();
    }
  }

 private:
  CodecSource(C first, Make make) : first_(std::move(first)), make_(std::move(make)) {}

  C first_;
  Make make_;
};

// Why a stream has refused a message, where that is for what the message is.
template <typename C, typename M>
absl::Status CannotEncode(C& codec, M&& message) {
  Buffer scratch;
  switch (codec.Encode(std::forward<M>(message), scratch)) {
    case EncodeResult::kEncoded:
      break;
    case EncodeResult::kTooLong:
      return absl::InvalidArgumentError(
          "a message is longer than the protocol can carry, or than the limit "
          "(--max_message_bytes)");
    case EncodeResult::kInvalid:
      return absl::InvalidArgumentError(
          "a message is none that the protocol, set up so, can carry");
  }
  return absl::OkStatus();
}

// One handler for all connections of a loop.
template <Codec C, CodecText<C> Text>
class CodecEcho final : public EchoService, private CodecHandler<C> {
 public:
  CodecEcho(CodecSource<C> codecs, Text text)
      : codecs_(std::move(codecs)), text_(std::move(text)) {}

  void Serve(std::unique_ptr<Stream> stream) override {
    ++totals_.connections;
    CodecStream<C>::Run(std::move(stream), codecs_.Next(), *this);
  }

 private:
  void OnMessage(CodecStream<C>& stream, typename C::Message message) override {
    if constexpr (requires { text_.AtServer(stream, message); }) {
      if (text_.AtServer(stream, message)) return;
    }
    ++totals_.messages;
    totals_.bytes += AsBytes(text_.Show(message)).size();
    if constexpr (requires { text_.Answer(message); }) {
      Send(stream, text_.Answer(message));
    } else {
      Send(stream, message);
    }
  }
  void OnSendReady(CodecStream<C>& stream) override { stream.ResumeReceiving(); }
  void OnClose(CodecStream<C>& /*stream*/, const absl::Status& status) override {
    if (!status.ok()) ++totals_.errors;
  }

  template <typename M>
  static void Send(CodecStream<C>& stream, M&& message) {
    const SendResult sent = SendOrReuse(stream, message);
    if (sent == SendResult::kBlocked) return stream.PauseReceiving();
    if (sent != SendResult::kRefused) return;
    absl::Status status = CannotEncode(stream.codec(), message);
    if (!status.ok()) stream.Abort(std::move(status));
  }
  template <typename M>
  static SendResult SendOrReuse(CodecStream<C>& stream, M& message) {
    if constexpr (requires { stream.SendInPlace(message); }) {
      return stream.SendInPlace(message);
    } else {
      return stream.Send(message);
    }
  }

  const CodecSource<C> codecs_;
  const Text text_;
};

template <Codec C, CodecText<C> Text>
class CodecClient final : public Client, private CodecHandler<C> {
 public:
  CodecClient(std::unique_ptr<Stream> stream, C codec, Text text, Handler& handler)
      : handler_(handler),
        text_(std::move(text)),
        give_up_([this] { GiveUp(); }),
        stream_(std::move(stream), std::move(codec), *this) {}

  SendResult Send(Kind kind, absl::Span<const uint8_t> bytes) override {
    return SendParsed(text_.Parse(kind, bytes));
  }
  void End() override {
    stream_.ShutdownSend();
    has_ended_ = true;
    if (peer_has_ended_) return stream_.Close();
    AwaitPeer();
  }
  void Close() override { stream_.Close(); }
  // Silence that is our own doing does not count.
  void PauseReceiving() override {
    stream_.PauseReceiving();
    give_up_.Cancel();
  }
  void ResumeReceiving() override {
    stream_.ResumeReceiving();
    AwaitPeer();
  }
  void Abort(absl::Status status) override { stream_.Abort(std::move(status)); }

 private:
  template <typename M>
  SendResult SendParsed(absl::StatusOr<M> message) {
    if (!message.ok()) return Refuse(message.status());
    return SendParsed(*std::move(message));
  }
  template <typename M>
  SendResult SendParsed(M message) {
    const SendResult result = stream_.Send(message);
    if (result != SendResult::kRefused) return result;
    return Refuse(CannotEncode(stream_.codec(), message));
  }
  SendResult Refuse(absl::Status status) {
    if (!status.ok()) stream_.Abort(std::move(status));
    return SendResult::kRefused;
  }

  // For a peer that may not end, however long one waits.
  void AwaitPeer() {
    if constexpr (requires { text_.PeerSilence(); }) {
      if (has_ended_) stream_.transport().loop().ArmTimer(give_up_, text_.PeerSilence());
    }
  }
  void GiveUp() {
    if (stream_.queued_bytes() == 0) return stream_.Close();
    AwaitPeer();
  }

  void OnMessage(CodecStream<C>& stream, typename C::Message message) override {
    AwaitPeer();
    if constexpr (requires { text_.AtClient(stream, message); }) {
      if (text_.AtClient(stream, message)) return;
    }
    const auto& shown = text_.Show(message);  // which may be a temporary
    handler_.OnMessage(*this, AsBytes(shown));
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
    give_up_.Cancel();
    handler_.OnClose(*this, status);
  }

  Handler& handler_;
  const Text text_;
  bool has_ended_ = false;
  bool peer_has_ended_ = false;
  Timer give_up_;
  CodecStream<C> stream_;
};

template <Codec C, CodecText<C> Text>
class CodecClientFactory final : public ClientFactory {
 public:
  CodecClientFactory(CodecSource<C> codecs, Text text)
      : codecs_(std::move(codecs)), text_(std::move(text)) {}

  std::unique_ptr<Client> NewClient(std::unique_ptr<Stream> stream,
                                    Client::Handler& handler) override {
    return std::make_unique<CodecClient<C, Text>>(std::move(stream), codecs_.Next(), text_,
                                                  handler);
  }

 private:
  const CodecSource<C> codecs_;
  const Text text_;
};

template <Codec C, CodecText<C> Text, typename S>
class CodecProtocolImpl final : public Protocol {
 public:
  using NewCodec = std::function<absl::StatusOr<C>(const S&, size_t)>;

  CodecProtocolImpl(ProtocolInfo info, ProtocolOptions<S> accepted, S settings, NewCodec new_codec)
      : Protocol(std::move(info)),
        accepted_(std::move(accepted)),
        settings_(std::move(settings)),
        new_codec_(std::move(new_codec)) {}

  std::vector<ProtocolOption> options() const override { return accepted_.described(); }
  absl::StatusOr<std::unique_ptr<Protocol>> WithOptions(absl::string_view text) const override {
    if (accepted_.described().empty()) return Protocol::WithOptions(text);
    absl::StatusOr<S> settings = accepted_.Parse(text);
    if (!settings.ok()) return settings.status();
    auto protocol =
        std::make_unique<CodecProtocolImpl>(info(), accepted_, *std::move(settings), new_codec_);
    // Options may be good, but not together.
    const auto codecs = protocol->Codecs(ServerOptions().max_message_bytes);
    if (!codecs.ok()) return codecs.status();
    return protocol;
  }

  absl::StatusOr<std::unique_ptr<EchoService>> NewEchoService(
      const ServerOptions& options) const override {
    absl::StatusOr<CodecSource<C>> codecs = Codecs(options.max_message_bytes);
    if (!codecs.ok()) return codecs.status();
    return std::make_unique<CodecEcho<C, Text>>(*std::move(codecs), NewText());
  }
  absl::StatusOr<std::unique_ptr<ClientFactory>> NewClientFactory(
      const ClientOptions& options) const override {
    absl::StatusOr<CodecSource<C>> codecs = Codecs(options.max_message_bytes);
    if (!codecs.ok()) return codecs.status();
    return std::make_unique<CodecClientFactory<C, Text>>(*std::move(codecs), NewText());
  }

 private:
  absl::StatusOr<CodecSource<C>> Codecs(size_t max_message_bytes) const {
    return CodecSource<C>::Create(
        [new_codec = new_codec_, settings = settings_, max_message_bytes]() -> absl::StatusOr<C> {
          return new_codec(settings, max_message_bytes);
        });
  }
  Text NewText() const {
    if constexpr (std::constructible_from<Text, const S&>) {
      return Text(settings_);
    } else {
      return Text();
    }
  }

  const ProtocolOptions<S> accepted_;
  const S settings_;
  const NewCodec new_codec_;
};

struct NoOptions {};

}  // namespace internal

template <Codec C, CodecText<C> Text = PlainText, typename S,
          std::invocable<const S&, size_t> NewCodec>
std::unique_ptr<Protocol> CodecProtocol(ProtocolInfo info, ProtocolOptions<S> options,
                                        NewCodec new_codec) {
  S defaults = options.defaults();
  return std::make_unique<internal::CodecProtocolImpl<C, Text, S>>(
      std::move(info), std::move(options), std::move(defaults), std::move(new_codec));
}

// The same without options.
template <Codec C, CodecText<C> Text = PlainText, std::invocable<size_t> NewCodec>
std::unique_ptr<Protocol> CodecProtocol(ProtocolInfo info, NewCodec new_codec) {
  return CodecProtocol<C, Text>(
      std::move(info), ProtocolOptions<internal::NoOptions>(),
      [new_codec = std::move(new_codec)](const internal::NoOptions& /*options*/,
                                         size_t max_message_bytes) {
        return new_codec(max_message_bytes);
      });
}

// The same for a codec whose limit is fixed.
template <Codec C, CodecText<C> Text = PlainText>
std::unique_ptr<Protocol> CodecProtocol(ProtocolInfo info) {
  return CodecProtocol<C, Text>(std::move(info), [](size_t /*max_message_bytes*/) { return C(); });
}

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_CODEC_PROTOCOL_H_
