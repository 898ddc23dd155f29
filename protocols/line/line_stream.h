// LineStream is a Stream of lines: LineCodec (line_codec.h: the endings, limits and errors) over
// any Stream (codec_stream.h: what is called when, ownership, memory).
//
// Example: a server that sends every line back.
//
//   class Echo : public sluice::line::LineHandler {
//     void OnMessage(LineStream& stream, absl::Span<uint8_t> line) override {
//       if (stream.Send(line) == sluice::SendResult::kBlocked) stream.PauseReceiving();
//     }
//     void OnSendReady(LineStream& stream) override { stream.ResumeReceiving(); }
//   };
//   Echo echo;  // outlives the loop
//   auto listener = sluice::Listener::Listen(
//       *loop, address, {}, [&](std::unique_ptr<sluice::Stream> stream) {
//         LineStream::Run(std::move(stream), LineCodec(), echo);
//       });
//
// Loop-bound. 64 bytes, and nothing else while no line is incomplete.
#ifndef SLUICE_PROTOCOLS_LINE_LINE_STREAM_H_
#define SLUICE_PROTOCOLS_LINE_LINE_STREAM_H_

#include "sluice/protocols/codec/codec_stream.h"
#include "sluice/protocols/line/line_codec.h"

namespace sluice {

extern template class CodecStream<line::LineCodec>;

namespace line {

using LineStream = CodecStream<LineCodec>;
using LineHandler = CodecHandler<LineCodec>;

}  // namespace line
}  // namespace sluice

#endif  // SLUICE_PROTOCOLS_LINE_LINE_STREAM_H_
