// AnyCodec holds a codec with messages of bytes whose type is chosen at run time: what a program
// needs that picks its protocol by a name. It is itself a codec, so CodecStream<AnyCodec> runs it.
// A program that knows its protocol names the codec's type instead, and pays for no virtual call.
//
// Example: the codecs of a program, by the names that its users give them.
//
//   const std::map<std::string, sluice::AnyCodec> protocols = {
//       {"text", sluice::AnyCodec(ShortTextCodec())},
//       {"blocks", sluice::AnyCodec(BlocksCodec(512))},
//   };
//   sluice::CodecStream<sluice::AnyCodec>::Run(std::move(stream), protocols.at(name), handler);
//
// A copy is a codec of its own, in the state of the original: an AnyCodec that has decoded nothing
// serves as a model for each new stream. Thread-compatible. One allocation, of the codec's size and
// a pointer. A moved-from AnyCodec may only be assigned to and destroyed.
#ifndef SLUICE_PROTOCOLS_CODEC_ANY_CODEC_H_
#define SLUICE_PROTOCOLS_CODEC_ANY_CODEC_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "sluice/core/buffer.h"
#include "sluice/protocols/codec/codec.h"

namespace sluice {

class AnyCodec {
 public:
  using Message = absl::Span<uint8_t>;

  template <ByteCodec C>
  requires(!std::same_as<C, AnyCodec> && std::copyable<C>) explicit AnyCodec(C codec)
      : held_(std::make_unique<Holder<C>>(std::move(codec))) {}

  AnyCodec(const AnyCodec& other) : held_(other.held_->Copy()) {}
  AnyCodec(AnyCodec&& other) = default;
  AnyCodec& operator=(AnyCodec other) noexcept {
    held_ = std::move(other.held_);
    return *this;
  }

  DecodeResult Decode(absl::Span<uint8_t> in, Message& message) {
    return held_->Decode(in, message);
  }
  EncodeResult Encode(absl::Span<const uint8_t> message, Buffer& out) {
    return held_->Encode(message, out);
  }
  void ReleaseMemory() { held_->ReleaseMemory(); }
  absl::Status status() const { return held_->status(); }
  size_t max_frame_bytes() const { return held_->max_frame_bytes(); }

 private:
  class Held {
   public:
    virtual ~Held() = default;
    virtual std::unique_ptr<Held> Copy() const = 0;
    virtual DecodeResult Decode(absl::Span<uint8_t> in, Message& message) = 0;
    virtual EncodeResult Encode(absl::Span<const uint8_t> message, Buffer& out) = 0;
    virtual void ReleaseMemory() = 0;
    virtual absl::Status status() const = 0;
    virtual size_t max_frame_bytes() const = 0;
  };

  template <typename C>
  class Holder final : public Held {
   public:
    explicit Holder(C codec) : codec_(std::move(codec)) {}
    std::unique_ptr<Held> Copy() const override { return std::make_unique<Holder>(codec_); }
    DecodeResult Decode(absl::Span<uint8_t> in, Message& message) override {
      return codec_.Decode(in, message);
    }
    EncodeResult Encode(absl::Span<const uint8_t> message, Buffer& out) override {
      return codec_.Encode(message, out);
    }
    void ReleaseMemory() override {
      if constexpr (requires { codec_.ReleaseMemory(); }) codec_.ReleaseMemory();
    }
    absl::Status status() const override { return codec_.status(); }
    size_t max_frame_bytes() const override { return codec_.max_frame_bytes(); }

   private:
    C codec_;
  };

  std::unique_ptr<Held> held_;
};

static_assert(ByteCodec<AnyCodec>);

}  // namespace sluice

#endif  // SLUICE_PROTOCOLS_CODEC_ANY_CODEC_H_
