// NetstringStream is a Stream of netstrings: NetstringCodec (netstring_codec.h: the format, limits
// and errors) over any Stream (codec_stream.h: what is called when, ownership, memory).
//
// Example: a server that sends every message back, without copying it.
//
//   class Echo : public sluice::netstring::NetstringHandler {
//     void OnMessage(NetstringStream& stream, absl::Span<uint8_t> message) override {
//       if (stream.SendInPlace(message) == sluice::SendResult::kBlocked) stream.PauseReceiving();
//     }
//     void OnSendReady(NetstringStream& stream) override { stream.ResumeReceiving(); }
//   };
//   Echo echo;  // outlives the loop
//   auto listener = sluice::Listener::Listen(
//       *loop, address, {}, [&](std::unique_ptr<sluice::Stream> stream) {
//         NetstringStream::Run(std::move(stream), NetstringCodec(), echo);
//       });
//
// Loop-bound. 64 bytes, and nothing else while no message is incomplete.
#ifndef SLUICE_PROTOCOLS_NETSTRING_NETSTRING_STREAM_H_
#define SLUICE_PROTOCOLS_NETSTRING_NETSTRING_STREAM_H_

#include "sluice/protocols/codec/codec_stream.h"
#include "sluice/protocols/netstring/netstring_codec.h"

namespace sluice {

extern template class CodecStream<netstring::NetstringCodec>;

namespace netstring {

using NetstringStream = CodecStream<NetstringCodec>;
using NetstringHandler = CodecHandler<NetstringCodec>;

}  // namespace netstring
}  // namespace sluice

#endif  // SLUICE_PROTOCOLS_NETSTRING_NETSTRING_STREAM_H_
