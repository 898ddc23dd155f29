#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/status/statusor.h"
#include "sluice/core/buffer.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/codec/codec_testing.h"
#include "sluice/protocols/framing/frame_codec.h"

namespace sluice::framing {
namespace {

// The options that a fuzzer's first bytes stand for.
FrameOptions OptionsFrom(const uint8_t* bytes) {
  constexpr int kLengthBytes[] = {1, 2, 3, 4, 8, FrameOptions::kVarint};
  FrameOptions options;
  options.length_bytes = kLengthBytes[bytes[0] % 6];
  options.byte_order = bytes[0] >= 128 ? ByteOrder::kLittleEndian : ByteOrder::kBigEndian;
  options.length_offset = bytes[1] % 16;
  options.length_adjustment = static_cast<int8_t>(bytes[2]);
  options.bytes_to_strip = bytes[3] % 32 - 1;
  options.max_message_bytes = 1 + bytes[3] / 32 * 500;
  return options;
}

// A message that was decoded, encoded and decoded again is the same.
void CheckRoundTrip(const FrameCodec& codec, const codec_testing::Decoded& decoded) {
  for (const std::string& message : decoded.messages) {
    Buffer out;
    if (codec.Encode(message, out) != EncodeResult::kEncoded) std::abort();
    const codec_testing::Decoded again = codec_testing::Decode(codec, out.ToString());
    if (again.messages.size() != 1 || again.messages[0] != message) std::abort();
  }
}

}  // namespace
}  // namespace sluice::framing

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kOptionBytes = 4;
  if (size <= kOptionBytes) return 0;
  const absl::StatusOr<sluice::framing::FrameCodec> codec =
      sluice::framing::FrameCodec::Create(sluice::framing::OptionsFrom(data));
  if (!codec.ok()) return 0;
  data += kOptionBytes;
  size -= kOptionBytes;
  sluice::codec_testing::Fuzz(*codec, data, size);
  if (codec->can_encode()) {
    const std::string bytes(reinterpret_cast<const char*>(data), size);
    sluice::framing::CheckRoundTrip(*codec, sluice::codec_testing::Decode(*codec, bytes));
  }
  return 0;
}
