// FrameStream is a Stream of length-prefixed frames: FrameCodec (frame_codec.h: the formats, limits
// and errors) over any Stream (codec_stream.h: what is called when, ownership, memory).
//
// Example: a server that sends every frame back, without copying it.
//
//   class Echo : public sluice::framing::FrameHandler {
//     void OnMessage(FrameStream& stream, absl::Span<uint8_t> message) override {
//       if (stream.SendInPlace(message) == sluice::SendResult::kBlocked) stream.PauseReceiving();
//     }
//     void OnSendReady(FrameStream& stream) override { stream.ResumeReceiving(); }
//   };
//   Echo echo;  // outlives the loop
//   auto listener = sluice::Listener::Listen(
//       *loop, address, {}, [&](std::unique_ptr<sluice::Stream> stream) {
//         FrameStream::Run(std::move(stream), FrameCodec(), echo);
//       });
//
// Loop-bound. 80 bytes, and nothing else while no frame is incomplete.
#ifndef SLUICE_PROTOCOLS_FRAMING_FRAME_STREAM_H_
#define SLUICE_PROTOCOLS_FRAMING_FRAME_STREAM_H_

#include "sluice/protocols/codec/codec_stream.h"
#include "sluice/protocols/framing/frame_codec.h"

namespace sluice {

extern template class CodecStream<framing::FrameCodec>;

namespace framing {

using FrameStream = CodecStream<FrameCodec>;
using FrameHandler = CodecHandler<FrameCodec>;

}  // namespace framing
}  // namespace sluice

#endif  // SLUICE_PROTOCOLS_FRAMING_FRAME_STREAM_H_
