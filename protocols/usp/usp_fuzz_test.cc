// The codec of a peer whose bytes are anything: with both compressions, one of which it sends by.
#include <cstddef>
#include <cstdint>

#include "sluice/protocols/codec/codec_testing.h"
#include "sluice/protocols/usp/compression.h"
#include "sluice/protocols/usp/compressor.h"
#include "sluice/protocols/usp/message_codec.h"

namespace sluice::usp {
namespace {

MessageCodec Codec(CompressionAlgorithm compression) {
  return *MessageCodec::Create({.max_message_bytes = 3000,
                                .max_header_fields = 8,
                                .compressor = &ZlibCompressor(),
                                .compression = compression,
                                .min_compress_bytes = 1});
}

}  // namespace
}  // namespace sluice::usp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using sluice::usp::CompressionAlgorithm;
  static const auto* const gzip = new auto(sluice::usp::Codec(CompressionAlgorithm::kGzip));
  static const auto* const flate = new auto(sluice::usp::Codec(CompressionAlgorithm::kFlate));
  const bool by_gzip = size != 0 && data[0] >= 128;
  return sluice::codec_testing::Fuzz(by_gzip ? *gzip : *flate, data, size);
}
