#include "sluice/protocols/usp/compression.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <new>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "sluice/protocols/usp/compressor.h"
#include "zlib.h"

namespace sluice::usp {
namespace {

constexpr int kMemoryLevel = 8;  // zlib's default
// zlib counts in 32 bits.
constexpr size_t kMaxForZlib = size_t{1} << 30;
constexpr size_t kFirstRoom = 1024;

int WindowBits(CompressionAlgorithm algorithm) {
  constexpr int kWindow = 15, kGzip = 16;
  return algorithm == CompressionAlgorithm::kGzip ? kWindow + kGzip : -kWindow;
}

Bytef* In(absl::Span<const uint8_t> bytes) { return const_cast<Bytef*>(bytes.data()); }

// zlib fails for want of memory only, here.
void NeedsMemory(int result) {
  if (result != Z_OK) throw std::bad_alloc();
}

class Deflater {
 public:
  explicit Deflater(CompressionAlgorithm algorithm) {
    NeedsMemory(deflateInit2(&z_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, WindowBits(algorithm),
                             kMemoryLevel, Z_DEFAULT_STRATEGY));
  }
  ~Deflater() { deflateEnd(&z_); }
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;

  bool Compress(absl::Span<const uint8_t> front, absl::Span<const uint8_t> rest, std::string& out) {
    deflateReset(&z_);
    out.resize(front.size() + rest.size());
    z_.next_out = reinterpret_cast<Bytef*>(out.data());
    z_.avail_out = static_cast<uInt>(out.size());
    Step(front, Z_NO_FLUSH);
    Step(rest, Z_SYNC_FLUSH);
    // Without room left, there may be more.
    if (z_.avail_out == 0) return false;
    out.resize(out.size() - z_.avail_out);
    return true;
  }

 private:
  void Step(absl::Span<const uint8_t> bytes, int flush) {
    z_.next_in = In(bytes);
    z_.avail_in = static_cast<uInt>(bytes.size());
    deflate(&z_, flush);
  }

  z_stream z_ = {};
};

class Inflater {
 public:
  explicit Inflater(CompressionAlgorithm algorithm) {
    NeedsMemory(inflateInit2(&z_, WindowBits(algorithm)));
  }
  ~Inflater() { inflateEnd(&z_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  Compressor::Outcome Decompress(absl::Span<const uint8_t> compressed, size_t max_bytes,
                                 std::vector<uint8_t>& out) {
    using Outcome = Compressor::Outcome;
    if (compressed.size() > kMaxForZlib) return Outcome::kTooLong;
    inflateReset(&z_);
    z_.next_in = In(compressed);
    z_.avail_in = static_cast<uInt>(compressed.size());
    // One more than the limit shows that it is passed.
    const size_t most = std::min(max_bytes, kMaxForZlib) + 1;
    size_t size = 0;
    for (size_t room = std::max(kFirstRoom, compressed.size() * 4);; room *= 2) {
      room = std::min(room, most);
      out.resize(room);
      z_.next_out = out.data() + size;
      z_.avail_out = static_cast<uInt>(room - size);
      const int result = inflate(&z_, Z_SYNC_FLUSH);
      size = room - z_.avail_out;
      if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
        return Outcome::kDamaged;
      if (size == most) return Outcome::kTooLong;
      // Asked before another call, which forgets it: the room may just have been enough.
      const bool whole = z_.avail_in == 0 && (result == Z_STREAM_END || IsFlushed(compressed));
      if (whole || result == Z_STREAM_END || z_.avail_out != 0) {
        out.resize(size);
        return whole ? Outcome::kDone : Outcome::kDamaged;
      }
    }
  }

 private:
  // Whether the stream, all read, ends as a flush ends: with an empty stored block.
  bool IsFlushed(absl::Span<const uint8_t> compressed) const {
    constexpr int kBetweenBlocks = 128, kUnusedBits = 63;
    constexpr uint8_t kEnd[] = {0, 0, 0xff, 0xff};
    return (z_.data_type & (kBetweenBlocks | kUnusedBits)) == kBetweenBlocks &&
           compressed.size() >= sizeof(kEnd) &&
           std::equal(std::begin(kEnd), std::end(kEnd), compressed.end() - sizeof(kEnd));
  }

  z_stream z_ = {};
};

// The thread's, from the first use on.
template <typename Coder>
Coder& OfThread(CompressionAlgorithm algorithm) {
  if (algorithm == CompressionAlgorithm::kGzip) {
    static thread_local Coder gzip(CompressionAlgorithm::kGzip);
    return gzip;
  }
  static thread_local Coder flate(CompressionAlgorithm::kFlate);
  return flate;
}

class Zlib final : public Compressor {
 public:
  bool Compress(CompressionAlgorithm algorithm, absl::Span<const uint8_t> front,
                absl::Span<const uint8_t> rest, std::string& out) const override {
    if (front.size() + rest.size() > kMaxForZlib) return false;
    return OfThread<Deflater>(algorithm).Compress(front, rest, out);
  }
  Outcome Decompress(CompressionAlgorithm algorithm, absl::Span<const uint8_t> compressed,
                     size_t max_bytes, std::vector<uint8_t>& out) const override {
    return OfThread<Inflater>(algorithm).Decompress(compressed, max_bytes, out);
  }
};

}  // namespace

const Compressor& ZlibCompressor() {
  static const Zlib* const compressor = new Zlib;
  return *compressor;
}

}  // namespace sluice::usp
