// ZlibFrameStream is a Stream of the messages of zlib_frame_codec.h (the form, limits and errors)
// over any Stream (protocols/codec/codec_stream.h: what is called when, ownership, memory).
//
// Example: a server that sends every message back.
//
//   class Echo : public sluice::usp::ZlibFrameHandler {
//     void OnMessage(ZlibFrameStream& stream, absl::Span<uint8_t> message) override {
//       if (stream.Send(message) == sluice::SendResult::kBlocked) stream.PauseReceiving();
//     }
//     void OnSendReady(ZlibFrameStream& stream) override { stream.ResumeReceiving(); }
//   };
//   Echo echo;  // outlives the loop
//   auto on_accept = [&](std::unique_ptr<sluice::Stream> stream) {
//     ZlibFrameStream::Run(std::move(stream), ZlibFrameCodec(), echo);
//   };
//
// Loop-bound.

#ifndef SLUICE_PROTOCOLS_USP_ZLIB_FRAME_STREAM_H_
#define SLUICE_PROTOCOLS_USP_ZLIB_FRAME_STREAM_H_

#include "sluice/protocols/codec/codec_stream.h"
#include "sluice/protocols/usp/zlib_frame_codec.h"

namespace sluice {

extern template class CodecStream<usp::ZlibFrameCodec>;

namespace usp {

using ZlibFrameStream = CodecStream<ZlibFrameCodec>;
using ZlibFrameHandler = CodecHandler<ZlibFrameCodec>;

}  // namespace usp
}  // namespace sluice

#endif  // SLUICE_PROTOCOLS_USP_ZLIB_FRAME_STREAM_H_
