// PreparedMessage is a message that was encoded once, to be sent on many CodecStreams without being
// encoded or copied again: they share its bytes.
//
// Example: what one client of a chat says, all of them hear.
//
//   using TextStream = sluice::CodecStream<ShortTextCodec>;
//   class Room : public sluice::CodecHandler<ShortTextCodec> {
//    public:
//     void Add(std::unique_ptr<sluice::Stream> stream) {
//       members_.insert(&TextStream::Run(std::move(stream), codec_, *this));
//     }
//
//    private:
//     void OnMessage(TextStream& /*from*/, absl::Span<uint8_t> text) override {
//       const sluice::PreparedMessage<ShortTextCodec> message(codec_, text);
//       for (TextStream* member : members_) member->Send(message);
//     }
//     void OnClose(TextStream& stream, const absl::Status& /*status*/) override {
//       members_.erase(&stream);
//     }
//     ShortTextCodec codec_;
//     std::set<TextStream*> members_;
//   };
//   Room room;  // outlives the loop
//
// The codec is to encode as those of the streams do: of the same options, and, where they have been
// told something since (a version, a key), told the same.
//
// Thread-compatible; copies share their memory, and may be used and destroyed on different threads.
#ifndef SLUICE_PROTOCOLS_CODEC_PREPARED_MESSAGE_H_
#define SLUICE_PROTOCOLS_CODEC_PREPARED_MESSAGE_H_

#include <utility>

#include "sluice/core/buffer.h"
#include "sluice/core/slice.h"
#include "sluice/protocols/codec/codec.h"

namespace sluice {

template <Codec C>
class PreparedMessage {
 public:
  // Of anything that the codec's Encode takes.
  template <typename M>
  requires EncoderOf<C, M> PreparedMessage(C& codec, M&& message) {
    Buffer frame;
    result_ = codec.Encode(std::forward<M>(message), frame);
    if (result_ == EncodeResult::kEncoded) frame_ = Slice::Copy(frame.Linearize(frame.size()));
  }

  // Whether it could be encoded. If not, each Send of it is refused, and the streams live on.
  EncodeResult result() const { return result_; }

  // Its bytes, as they are sent.
  const Slice& frame() const { return frame_; }

 private:
  EncodeResult result_;
  Slice frame_;
};

}  // namespace sluice

#endif  // SLUICE_PROTOCOLS_CODEC_PREPARED_MESSAGE_H_
