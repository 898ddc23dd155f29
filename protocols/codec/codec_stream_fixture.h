// What the tests of CodecStream share: a codec of frames with a length, a handler that does what
// the test says, and a CodecStream of them over one end of a StreamPair.
//
// Loop-bound.
#ifndef SLUICE_PROTOCOLS_CODEC_CODEC_STREAM_FIXTURE_H_
#define SLUICE_PROTOCOLS_CODEC_CODEC_STREAM_FIXTURE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/slice.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/codec/codec_stream.h"

namespace sluice::codec_stream_test {

inline std::string AsString(absl::Span<const uint8_t> bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

inline absl::Span<const uint8_t> AsSpan(absl::string_view text) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

// Frames of a length of four bytes, little endian; a length of 0xffffffff is wrong, one of
// 0xfffffffe a frame without a message.
class LengthCodec {
 public:
  using Message = absl::Span<uint8_t>;
  static constexpr bool kFrameIsReusable = true;

  explicit LengthCodec(size_t limit = 1024 * 1024) : limit_(limit) {}

  static std::string Frame(absl::string_view message) {
    return Length(message.size()) + std::string(message);
  }
  static std::string Length(size_t size) {
    std::string bytes;
    for (int i = 0; i < 4; ++i) bytes += static_cast<char>(size >> (8 * i));
    return bytes;
  }
  static std::string Wrong() { return Length(0xffffffff); }
  static std::string WithoutMessage() { return Length(0xfffffffe); }

  DecodeResult Decode(absl::Span<uint8_t> in, Message& message) {
    if (failed_) return DecodeResult::Error();
    if (in.size() < 4) return DecodeResult::NeedMore(4);
    size_t size = 0;
    for (int i = 0; i < 4; ++i) size |= size_t{in[static_cast<size_t>(i)]} << (8 * i);
    if (size == 0xfffffffe) return DecodeResult::Skipped(4);
    if (size > limit_) {
      failed_ = true;
      return DecodeResult::Error();
    }
    if (in.size() < 4 + size) return DecodeResult::NeedMore(4 + size);
    message = in.subspan(4, size);
    return DecodeResult::Message(4 + size);
  }
  template <typename Sink>
  EncodeResult Encode(absl::Span<const uint8_t> message, Sink& out) const {
    if (message.size() > limit_) return EncodeResult::kTooLong;
    out.Append(absl::string_view(Length(message.size())));
    out.Append(message);
    return EncodeResult::kEncoded;
  }
  template <typename Sink>
  EncodeResult Encode(Slice message, Sink& out) const {
    out.Append(absl::string_view(Length(message.size())));
    out.Append(std::move(message));
    return EncodeResult::kEncoded;
  }
  absl::Status status() const {
    return failed_ ? absl::OutOfRangeError("over the limit") : absl::OkStatus();
  }
  size_t max_frame_bytes() const { return 4 + limit_; }

 private:
  size_t limit_;
  bool failed_ = false;
};
static_assert(ByteCodec<LengthCodec>);

// Writes down what happens, and does what the test says in each callback.
template <Codec C>
class Script : public CodecHandler<C> {
 public:
  using Messages = CodecStream<C>;
  std::function<void(Messages&, absl::Span<uint8_t>)> on_message = [](Messages&,
                                                                      absl::Span<uint8_t>) {};
  std::function<void(Messages&)> on_receive_end = [](Messages& s) { s.Close(); };
  std::function<void(Messages&)> on_send_ready = [](Messages&) {};
  std::function<void(Messages&)> on_drain = [](Messages& s) { s.Close(); };
  std::function<void(Messages&, const absl::Status&)> on_error =
      [](Messages& s, const absl::Status& status) { s.Abort(status); };
  std::function<void(Messages&)> on_close = [](Messages&) {};
  std::vector<std::string> events;
  absl::Status closed = absl::UnknownError("not closed");

  void OnMessage(Messages& stream, absl::Span<uint8_t> message) override {
    events.push_back(AsString(message));
    on_message(stream, message);
  }
  void OnReceiveEnd(Messages& stream) override {
    events.push_back("<end>");
    on_receive_end(stream);
  }
  void OnSendReady(Messages& stream) override {
    events.push_back("<ready>");
    on_send_ready(stream);
  }
  void OnDrain(Messages& stream) override {
    events.push_back("<drain>");
    on_drain(stream);
  }
  void OnError(Messages& stream, const absl::Status& status) override {
    events.push_back("<error>");
    on_error(stream, status);
  }
  void OnClose(Messages& stream, const absl::Status& status) override {
    events.push_back("<close>");
    closed = status;
    on_close(stream);
  }
};

template <Codec C>
class Fixture : public testing::Test {
 protected:
  using Messages = CodecStream<C>;

  void Start(C codec = C()) {
    stream_ = std::make_unique<Messages>(pair_.TakeServer(), std::move(codec), script_);
    client_ = std::make_unique<StreamRecorder>(pair_.TakeClient());
  }
  void Run() { loop_.RunUntilIdle(); }
  void Receive(absl::string_view bytes) {
    client_->stream().Send(bytes);
    Run();
  }

  VirtualLoop loop_;
  StreamPair pair_{loop_.loop()};
  Script<C> script_;
  std::unique_ptr<Messages> stream_;
  std::unique_ptr<StreamRecorder> client_;
};

using CodecStreamTest = Fixture<LengthCodec>;

inline std::string Frames(const std::vector<std::string>& messages) {
  std::string bytes;
  for (const std::string& message : messages) bytes += LengthCodec::Frame(message);
  return bytes;
}

// So many bytes of which no two stretches are alike.
inline std::string Pattern(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 7 + i / 251);
  return bytes;
}

}  // namespace sluice::codec_stream_test

#endif  // SLUICE_PROTOCOLS_CODEC_CODEC_STREAM_FIXTURE_H_
