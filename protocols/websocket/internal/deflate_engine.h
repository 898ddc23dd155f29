// DeflateEngine compresses and decompresses the messages of permessage-deflate (RFC 7692 section
// 7.2) for all connections of a thread: what it needs for that is there once for each thread, and
// grows to the largest message of late. DeflateStream and InflateStream are what a connection has
// whose messages refer to earlier ones.
//
// A message ends with an empty block of the stored kind, of which the last four bytes, 00 00 ff ff,
// are not sent.
//
// Thread-bound.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_DEFLATE_ENGINE_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_DEFLATE_ENGINE_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/types/span.h"
#include "sluice/protocols/websocket/compression.h"

namespace sluice::websocket::internal {

class DeflateStream {
 public:
  DeflateStream(int level, int window_bits);  // 9 to 15
  ~DeflateStream();
  DeflateStream(const DeflateStream&) = delete;
  DeflateStream& operator=(const DeflateStream&) = delete;

  static size_t MemoryBytes(int window_bits);

  // What comes next refers to nothing before it.
  void Forget();

 private:
  friend class DeflateEngine;
  struct State;
  const std::unique_ptr<State> state_;
};

class InflateStream {
 public:
  explicit InflateStream(int window_bits);  // 8 to 15
  ~InflateStream();
  InflateStream(const InflateStream&) = delete;
  InflateStream& operator=(const InflateStream&) = delete;

  static size_t MemoryBytes(int window_bits);

 private:
  friend class DeflateEngine;
  friend class Inflation;
  struct State;
  const std::unique_ptr<State> state_;
};

class DeflateEngine {
 public:
  static DeflateEngine& OfThread();
  ~DeflateEngine();
  DeflateEngine(const DeflateEngine&) = delete;
  DeflateEngine& operator=(const DeflateEngine&) = delete;

  // Results lie in the engine: those of Compress until the next Compress, those of Decompress until
  // the next Decompress.

  // A message by itself, that refers to nothing farther than 2^window_bits bytes back. Empty where
  // it would not be smaller.
  absl::Span<const uint8_t> Compress(int level, int window_bits, absl::Span<const uint8_t> message);
  // One after those before it. Empty where it would not be smaller, and then nothing before it is
  // referred to any more.
  absl::Span<const uint8_t> Compress(DeflateStream& stream, absl::Span<const uint8_t> message);

  Compression::Session::Message Decompress(absl::Span<const uint8_t> compressed,
                                           uint64_t max_bytes);
  Compression::Session::Message Decompress(InflateStream& stream,
                                           absl::Span<const uint8_t> compressed,
                                           uint64_t max_bytes);

  // A message piece by piece: over a connection's stream, or, where that is null, one of its own.
  static std::unique_ptr<Compression::Session::Decompression> StartDecompression(
      InflateStream* stream, uint64_t max_bytes);

 private:
  class Pieces;
  struct State;

  DeflateEngine();
  size_t CompressWhole(int level, absl::Span<const uint8_t> message);
  size_t EndByTrial(int level, absl::Span<const uint8_t> message, size_t size);
  size_t CompressByZlib(int level, int window_bits, absl::Span<const uint8_t> message);
  InflateStream& Spare();

  const std::unique_ptr<State> state_;
};

}  // namespace sluice::websocket::internal

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_INTERNAL_DEFLATE_ENGINE_H_
