#include "sluice/tests/conformance/peer_deflate.h"

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"

namespace sluice::conformance {
namespace {

constexpr absl::string_view kTail("\0\0\xff\xff", 4);

Bytef* Bytes(std::string& text) { return reinterpret_cast<Bytef*>(&text[0]); }

}  // namespace

Compressor::Compressor(const DeflateTerms& terms) : terms_(terms) {
  EXPECT_EQ(deflateInit2(&stream_, /*level=*/1, Z_DEFLATED, -terms.window_bits, /*memLevel=*/8,
                         Z_DEFAULT_STRATEGY),
            Z_OK);
}

Compressor::~Compressor() { deflateEnd(&stream_); }

std::string Compressor::Compress(std::string message) {
  std::string out(deflateBound(&stream_, message.size()) + 64, '\0');
  stream_.next_in = Bytes(message);
  stream_.avail_in = static_cast<uInt>(message.size());
  stream_.next_out = Bytes(out);
  stream_.avail_out = static_cast<uInt>(out.size());
  deflate(&stream_, Z_SYNC_FLUSH);
  EXPECT_NE(stream_.avail_out, 0u);
  out.resize(out.size() - stream_.avail_out);
  EXPECT_TRUE(absl::EndsWith(out, kTail));
  out.resize(out.size() - kTail.size());
  if (!terms_.context) deflateReset(&stream_);
  return out;
}

Decompressor::Decompressor(const DeflateTerms& terms) : terms_(terms) {
  EXPECT_EQ(inflateInit2(&stream_, -terms.window_bits), Z_OK);
}

Decompressor::~Decompressor() { inflateEnd(&stream_); }

std::optional<std::string> Decompressor::Decompress(std::string compressed) {
  compressed.append(kTail.data(), kTail.size());
  std::string message;
  // zlib looks further back than its window while that is still in the output: little of it makes
  // it strict.
  std::string piece(terms_.window_bits < 15 ? 64 : 64 * 1024, '\0');
  stream_.next_in = Bytes(compressed);
  stream_.avail_in = static_cast<uInt>(compressed.size());
  do {
    stream_.next_out = Bytes(piece);
    stream_.avail_out = static_cast<uInt>(piece.size());
    const int result = inflate(&stream_, Z_SYNC_FLUSH);
    if (result != Z_OK && result != Z_BUF_ERROR) return std::nullopt;
    message.append(piece, 0, piece.size() - stream_.avail_out);
  } while (stream_.avail_out == 0);
  if (stream_.avail_in != 0) return std::nullopt;
  if (!terms_.context) inflateReset(&stream_);
  return message;
}

}  // namespace sluice::conformance
