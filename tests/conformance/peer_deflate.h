// The suite's side of permessage-deflate (RFC 7692), by zlib, keeping strictly to what was agreed
// on.
//
// Example:
//   Compressor compressor({.context = true, .window_bits = 9});
//   Decompressor decompressor({.context = true, .window_bits = 9});
//   std::optional<std::string> same = decompressor.Decompress(compressor.Compress(message));
//
// Thread-compatible.
#ifndef SLUICE_TESTS_CONFORMANCE_PEER_DEFLATE_H_
#define SLUICE_TESTS_CONFORMANCE_PEER_DEFLATE_H_

#include <memory>
#include <optional>
#include <string>

#include "zlib.h"

namespace sluice::conformance {

// Of one direction.
struct DeflateTerms {
  bool context = true;  // takeover
  int window_bits = 15;
};

class Compressor {
 public:
  explicit Compressor(const DeflateTerms& terms);
  ~Compressor();
  Compressor(const Compressor&) = delete;
  Compressor& operator=(const Compressor&) = delete;

  std::string Compress(std::string message);

 private:
  const DeflateTerms terms_;
  z_stream stream_ = {};
};

class Decompressor {
 public:
  explicit Decompressor(const DeflateTerms& terms);
  ~Decompressor();
  Decompressor(const Decompressor&) = delete;
  Decompressor& operator=(const Decompressor&) = delete;

  // nullopt for what cannot be decompressed on these terms.
  std::optional<std::string> Decompress(std::string compressed);

 private:
  const DeflateTerms terms_;
  z_stream stream_ = {};
};

}  // namespace sluice::conformance

#endif  // SLUICE_TESTS_CONFORMANCE_PEER_DEFLATE_H_
