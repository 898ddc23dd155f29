// VarintStream is a Stream of frames behind a varint: VarintCodec (varint_codec.h: the format,
// limits and errors) over any Stream (codec_stream.h: what is called when, ownership, memory).
//
// Example: a server that sends every message back, without copying it.
//
//   class Echo : public sluice::varint::VarintHandler {
//     void OnMessage(VarintStream& stream, absl::Span<uint8_t> message) override {
//       if (stream.SendInPlace(message) == sluice::SendResult::kBlocked) stream.PauseReceiving();
//     }
//     void OnSendReady(VarintStream& stream) override { stream.ResumeReceiving(); }
//   };
//   Echo echo;  // outlives the loop
//   auto listener = sluice::Listener::Listen(
//       *loop, address, {}, [&](std::unique_ptr<sluice::Stream> stream) {
//         VarintStream::Run(std::move(stream), VarintCodec(), echo);
//       });
//
// Loop-bound. 64 bytes, and nothing else while no message is incomplete.
#ifndef SLUICE_PROTOCOLS_VARINT_VARINT_STREAM_H_
#define SLUICE_PROTOCOLS_VARINT_VARINT_STREAM_H_

#include "sluice/protocols/codec/codec_stream.h"
#include "sluice/protocols/varint/varint_codec.h"

namespace sluice {

extern template class CodecStream<varint::VarintCodec>;

namespace varint {

using VarintStream = CodecStream<VarintCodec>;
using VarintHandler = CodecHandler<VarintCodec>;

}  // namespace varint
}  // namespace sluice

#endif  // SLUICE_PROTOCOLS_VARINT_VARINT_STREAM_H_
