#include "sluice/protocols/websocket/internal/deflate_engine.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <utility>

#include "libdeflate.h"
#include "sluice/protocols/websocket/internal/deflate_block.h"
#include "zlib.h"

namespace sluice::websocket::internal {
namespace {

using Message = Compression::Session::Message;

// Up to here libdeflate makes one block of a message, whose end can be made a flush's.
constexpr size_t kMaxWhole = 8 * 1024;
// zlib counts in 32 bits.
constexpr size_t kMaxForZlib = size_t{1} << 30;
// zlib's default: 128 KiB beside the window.
constexpr int kMemoryLevel = 8;
// What is larger is given back.
constexpr size_t kKeptBytes = 256 * 1024;
// A peer may end its stream within a message, and begin another: so often.
constexpr int kMaxStreamEnds = 16;
constexpr size_t kWindowBytes = 32 * 1024;
constexpr int kBitsOfBlockHead = 3;

// What a flush ends with, and what then ends the stream.
constexpr uint8_t kFlushTail[] = {0, 0, 0xff, 0xff};
constexpr uint8_t kStreamTail[] = {0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff};

struct FreeCompressor {
  void operator()(libdeflate_compressor* c) const { libdeflate_free_compressor(c); }
};
struct FreeDecompressor {
  void operator()(libdeflate_decompressor* d) const { libdeflate_free_decompressor(d); }
};

std::unique_ptr<libdeflate_decompressor, FreeDecompressor> AllocateDecompressor() {
  return std::unique_ptr<libdeflate_decompressor, FreeDecompressor>(
      libdeflate_alloc_decompressor());
}

// libdeflate's first call of all chooses the code for this processor, and writes down which without
// a lock. So it is made here, before any thread has a decompressor. False for want of memory.
bool ChooseCode() {
  constexpr uint8_t kEmptyStream[] = {3, 0};
  uint8_t nothing[1];
  size_t size = 0;
  const auto decompressor = AllocateDecompressor();
  return decompressor != nullptr &&
         libdeflate_deflate_decompress(decompressor.get(), kEmptyStream, sizeof(kEmptyStream),
                                       nothing, sizeof(nothing), &size) == LIBDEFLATE_SUCCESS;
}

std::unique_ptr<libdeflate_decompressor, FreeDecompressor> NewDecompressor() {
  [[maybe_unused]] static const bool chosen = ChooseCode();
  return AllocateDecompressor();
}

// Memory of which only the first bytes, as many as are asked for, are kept when it grows.
class Space {
 public:
  uint8_t* data() const { return bytes_.get(); }
  size_t size() const { return size_; }

  void Reserve(size_t size, size_t keep = 0) {
    if (size <= size_ && (size_ <= kKeptBytes || size > size_ / 4)) return;
    if (keep == 0) Free();  // before there is more
    std::unique_ptr<uint8_t[]> bytes(new uint8_t[size]);
    if (keep != 0) std::memcpy(bytes.get(), bytes_.get(), keep);
    bytes_ = std::move(bytes);
    size_ = size;
  }

 private:
  void Free() {
    bytes_ = nullptr;
    size_ = 0;
  }

  std::unique_ptr<uint8_t[]> bytes_;
  size_t size_ = 0;
};

// The libraries fail for want of memory only, here.
void NeedsMemory(bool done) {
  if (!done) throw std::bad_alloc();
}

Message Wrong(const char* why) { return {.error = why, .code = CloseCode::kInvalidPayload}; }
Message Damaged() { return Wrong("a compressed message is damaged"); }
Message TooBig() {
  return {.error = "a message is over the limit", .code = CloseCode::kMessageTooBig};
}

Bytef* In(absl::Span<const uint8_t> bytes) { return const_cast<Bytef*>(bytes.data()); }

// How much room a message gets that wants so much, and may have `most`: that, or a quarter of it,
// or a quarter of that... So what a message has outgrown is never much beside what it gets.
size_t Room(uint64_t wanted, uint64_t most) {
  while (most / 4 >= wanted) most /= 4;
  return static_cast<size_t>(most);
}

// At first.
size_t FirstRoom(size_t compressed, uint64_t most) {
  return Room(std::max<uint64_t>(uint64_t{compressed} * 4, 4096), most);
}

// The same bytes as z's output so far, of which a peer's next stream may yet use the last 32 KiB.
bool RestartKeepingWindow(z_stream& z) {
  Bytef window[kWindowBytes];
  uInt size = 0;
  return inflateGetDictionary(&z, window, &size) == Z_OK && inflateReset(&z) == Z_OK &&
         inflateSetDictionary(&z, window, size) == Z_OK;
}

}  // namespace

struct DeflateStream::State {
  z_stream z = {};
  int level;
  int window_bits;
};

DeflateStream::DeflateStream(int level, int window_bits) : state_(std::make_unique<State>()) {
  state_->level = level;
  state_->window_bits = window_bits;
  NeedsMemory(deflateInit2(&state_->z, level, Z_DEFLATED, -window_bits, kMemoryLevel,
                           Z_DEFAULT_STRATEGY) == Z_OK);
}

DeflateStream::~DeflateStream() { deflateEnd(&state_->z); }

void DeflateStream::Forget() { deflateReset(&state_->z); }

// As zconf.h says.
size_t DeflateStream::MemoryBytes(int window_bits) {
  constexpr size_t kState = 8 * 1024;
  return (size_t{1} << (window_bits + 2)) + (size_t{1} << (kMemoryLevel + 9)) + kState;
}

struct InflateStream::State {
  z_stream z = {};
};

// zlib takes a window of 8 bits here, and sends none.
InflateStream::InflateStream(int window_bits) : state_(std::make_unique<State>()) {
  NeedsMemory(inflateInit2(&state_->z, -window_bits) == Z_OK);
}

InflateStream::~InflateStream() { inflateEnd(&state_->z); }

size_t InflateStream::MemoryBytes(int window_bits) {
  constexpr size_t kState = 8 * 1024;
  return (size_t{1} << window_bits) + kState;
}

struct DeflateEngine::State {
  // From the first use on.
  libdeflate_decompressor* Decompressor() {
    if (decompressor == nullptr) decompressor = NewDecompressor();
    NeedsMemory(decompressor != nullptr);
    return decompressor.get();
  }

  std::array<std::unique_ptr<libdeflate_compressor, FreeCompressor>, 10> compressors;  // by level
  std::unique_ptr<libdeflate_decompressor, FreeDecompressor> decompressor;
  std::unique_ptr<DeflateStream> deflate;  // for messages by themselves
  std::unique_ptr<InflateStream> inflate;
  Space compressed;    // results of Compress
  Space input;         // of Decompress, with what ends it
  Space decompressed;  // results of Decompress
  Space tried;
};

DeflateEngine& DeflateEngine::OfThread() {
  static thread_local DeflateEngine engine;
  return engine;
}

DeflateEngine::DeflateEngine() : state_(std::make_unique<State>()) {}
DeflateEngine::~DeflateEngine() = default;

// Compressing.

absl::Span<const uint8_t> DeflateEngine::Compress(int level, int window_bits,
                                                  absl::Span<const uint8_t> message) {
  if (message.size() > kMaxForZlib || message.empty()) return {};
  state_->compressed.Reserve(message.size() + sizeof(kStreamTail));
  size_t size = 0;
  if (message.size() <= std::min(kMaxWhole, size_t{1} << window_bits)) {
    size = CompressWhole(level, message);
  } else if (window_bits >= 9) {
    size = CompressByZlib(level, window_bits, message);
  }
  return {state_->compressed.data(), size < message.size() ? size : 0};
}

// libdeflate ends a stream with its message. Of one block that is the last, the mark that it is is
// the first bit; without it, the block is followed by the head of the empty one: three bits of
// zero. They fit into what is left of the last byte, or need one more.
size_t DeflateEngine::CompressWhole(int level, absl::Span<const uint8_t> message) {
  auto& compressor = state_->compressors[static_cast<size_t>(level)];
  if (compressor == nullptr) compressor.reset(libdeflate_alloc_compressor(level));
  NeedsMemory(compressor != nullptr);
  uint8_t* const out = state_->compressed.data();
  // One byte less, so that what is appended below has its room too.
  const size_t size = libdeflate_deflate_compress(compressor.get(), message.data(), message.size(),
                                                  out, message.size() - 1);
  if (size == 0) return message.size();  // it does not become smaller
  if ((out[0] & 1) == 0) return CompressByZlib(level, 15, message);
  out[0] &= 0xfe;
  const int unused = UnusedBitsBehindBlock({out, size});
  if (unused < 0) return EndByTrial(level, message, size);
  out[size] = 0;
  return unused >= kBitsOfBlockHead ? size : size + 1;
}

// Where the block does not tell where it ends, reading it does.
size_t DeflateEngine::EndByTrial(int level, absl::Span<const uint8_t> message, size_t size) {
  uint8_t* const out = state_->compressed.data();
  state_->tried.Reserve(message.size());
  for (int more = 0; more < 2; ++more) {
    std::memcpy(out + size, kStreamTail, sizeof(kStreamTail));
    size_t used = 0, read = 0;
    if (libdeflate_deflate_decompress_ex(state_->Decompressor(), out, size + sizeof(kStreamTail),
                                         state_->tried.data(), message.size(), &used,
                                         &read) == LIBDEFLATE_SUCCESS &&
        read == message.size() && used == size + sizeof(kStreamTail)) {
      return size;
    }
    out[size++] = 0;
  }
  return CompressByZlib(level, 15, message);
}

size_t DeflateEngine::CompressByZlib(int level, int window_bits,
                                     absl::Span<const uint8_t> message) {
  std::unique_ptr<DeflateStream>& stream = state_->deflate;
  if (stream == nullptr || stream->state_->level != level ||
      stream->state_->window_bits != window_bits) {
    stream = std::make_unique<DeflateStream>(level, window_bits);
  }
  z_stream& z = stream->state_->z;
  stream->Forget();
  z.next_in = In(message);
  z.avail_in = static_cast<uInt>(message.size());
  z.next_out = state_->compressed.data();
  z.avail_out = static_cast<uInt>(message.size());
  deflate(&z, Z_SYNC_FLUSH);
  if (z.avail_out == 0) return message.size();
  return message.size() - z.avail_out - sizeof(kFlushTail);
}

absl::Span<const uint8_t> DeflateEngine::Compress(DeflateStream& stream,
                                                  absl::Span<const uint8_t> message) {
  if (message.size() > kMaxForZlib || message.empty()) return {};
  z_stream& z = stream.state_->z;
  z.next_in = In(message);
  z.avail_in = static_cast<uInt>(message.size());
  size_t size = 0;
  do {
    const size_t room = std::max<size_t>(message.size() / 2 + 64, 1024);
    state_->compressed.Reserve(size + room, size);
    z.next_out = state_->compressed.data() + size;
    z.avail_out = static_cast<uInt>(state_->compressed.size() - size);
    deflate(&z, Z_SYNC_FLUSH);
    size = state_->compressed.size() - z.avail_out;
  } while (z.avail_out == 0);
  size -= sizeof(kFlushTail);
  if (size < message.size()) return {state_->compressed.data(), size};
  stream.Forget();
  return {};
}

// Decompressing.

Message DeflateEngine::Decompress(absl::Span<const uint8_t> compressed, uint64_t max_bytes) {
  State& state = *state_;
  const size_t input = compressed.size() + sizeof(kStreamTail);
  state.input.Reserve(input);
  if (!compressed.empty()) std::memcpy(state.input.data(), compressed.data(), compressed.size());
  std::memcpy(state.input.data() + compressed.size(), kStreamTail, sizeof(kStreamTail));
  for (size_t room = FirstRoom(compressed.size(), max_bytes);;) {
    state.decompressed.Reserve(std::max<size_t>(room, 1));
    size_t used = 0, size = 0;
    const libdeflate_result result =
        libdeflate_deflate_decompress_ex(state.Decompressor(), state.input.data(), input,
                                         state.decompressed.data(), room, &used, &size);
    if (result == LIBDEFLATE_SUCCESS && used == input)
      return {.bytes = {state.decompressed.data(), size}};
    // The peer has ended its stream within the message.
    if (result == LIBDEFLATE_SUCCESS) {
      inflateReset(&Spare().state_->z);
      return Decompress(Spare(), compressed, max_bytes);
    }
    if (result != LIBDEFLATE_INSUFFICIENT_SPACE) return Damaged();
    if (room >= max_bytes) return TooBig();
    room = Room(uint64_t{room} + 1, max_bytes);
  }
}

InflateStream& DeflateEngine::Spare() {
  if (state_->inflate == nullptr) state_->inflate = std::make_unique<InflateStream>(15);
  return *state_->inflate;
}

// A message on its way through a stream.
class Inflation {
 public:
  Inflation(InflateStream& stream, uint64_t max_bytes) : z_(stream.state_->z), left_(max_bytes) {}

  // Takes from `in` what fits into `out`, and sets `made`. Nothing made and nothing left of `in`:
  // it needs more.
  Message Step(absl::Span<const uint8_t>& in, absl::Span<uint8_t> out, size_t& made) {
    z_.next_in = In(in);
    z_.avail_in = static_cast<uInt>(std::min(in.size(), kMaxForZlib));
    z_.next_out = out.data();
    z_.avail_out = static_cast<uInt>(out.size());
    const int result = inflate(&z_, Z_SYNC_FLUSH);
    in.remove_prefix(static_cast<size_t>(z_.next_in - in.data()));
    made = static_cast<size_t>(z_.next_out - out.data());
    if (made > left_) return TooBig();
    left_ -= made;
    if (result == Z_STREAM_END) {
      if (++ends_ > kMaxStreamEnds) return Wrong("a compressed message ends too often");
      return RestartKeepingWindow(z_) ? Message() : Damaged();
    }
    return result == Z_OK || result == Z_BUF_ERROR ? Message() : Damaged();
  }

  // Between two blocks and at a byte's end, and not in the middle of one.
  bool MayEnd() const {
    constexpr int kBetweenBlocks = 128, kUnusedBits = 63;
    return (z_.data_type & (kBetweenBlocks | kUnusedBits)) == kBetweenBlocks;
  }

 private:
  z_stream& z_;
  uint64_t left_;
  int ends_ = 0;
};

Message DeflateEngine::Decompress(InflateStream& stream, absl::Span<const uint8_t> compressed,
                                  uint64_t max_bytes) {
  if (compressed.size() > kMaxForZlib) return TooBig();
  Space& out = state_->decompressed;
  // One more than the limit shows that it is passed.
  const uint64_t limit = std::min<uint64_t>(max_bytes, kMaxForZlib);
  const uint64_t most = limit + 1;
  size_t room = FirstRoom(compressed.size(), most);
  out.Reserve(room);
  size_t size = 0;
  Inflation inflation(stream, limit);
  for (absl::Span<const uint8_t> piece : {compressed, absl::MakeConstSpan(kFlushTail)}) {
    do {
      if (size == room) {
        room = Room(room + 1, most);
        out.Reserve(room, size);
      }
      size_t made = 0;
      const Message message = inflation.Step(piece, {out.data() + size, room - size}, made);
      if (message.error != nullptr) return message;
      size += made;
    } while (!piece.empty() || size == room);
  }
  if (!inflation.MayEnd()) return Damaged();
  return {.bytes = {out.data(), size}};
}

// In pieces.

class DeflateEngine::Pieces final : public Compression::Session::Decompression {
 public:
  Pieces(std::unique_ptr<InflateStream> own, InflateStream& stream, uint64_t max_bytes)
      : own_(std::move(own)), inflation_(stream, max_bytes) {}

  Message Next(absl::Span<const uint8_t>& compressed, bool last) override {
    Space& space = OfThread().state_->decompressed;
    space.Reserve(kPieceBytes);
    const absl::Span<uint8_t> out(space.data(), kPieceBytes);
    for (;;) {
      absl::Span<const uint8_t>& in = last && compressed.empty() ? tail_ : compressed;
      if (in.empty() && !full_) break;
      size_t made = 0;
      const Message message = inflation_.Step(in, out, made);
      if (message.error != nullptr) return message;
      full_ = made == out.size();
      if (made > 0) return {.bytes = out.first(made)};
    }
    return !last || inflation_.MayEnd() ? Message() : Damaged();
  }

 private:
  static constexpr size_t kPieceBytes = 64 * 1024;

  const std::unique_ptr<InflateStream> own_;
  Inflation inflation_;
  absl::Span<const uint8_t> tail_ = kFlushTail;
  bool full_ = false;  // there may be more without further input
};

std::unique_ptr<Compression::Session::Decompression> DeflateEngine::StartDecompression(
    InflateStream* stream, uint64_t max_bytes) {
  auto own = stream == nullptr ? std::make_unique<InflateStream>(15) : nullptr;
  InflateStream& used = stream == nullptr ? *own : *stream;
  return std::make_unique<Pieces>(std::move(own), used, max_bytes);
}

}  // namespace sluice::websocket::internal
