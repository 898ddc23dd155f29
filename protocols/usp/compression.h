// The compression of lxzan/socket: gzip (RFC 1952) and flate, a bare deflate stream (RFC 1951),
// each message by itself.
//
// Example:
//   usp::MessageOptions options;
//   options.compressor = &usp::ZlibCompressor();
//   options.compression = usp::CompressionAlgorithm::kGzip;
//
// A stream is sent as the original sends it: flushed, and never finished: it ends with an empty
// stored block that is not the last one, and gzip's trailer, with the checksum, is missing. What is
// received has to be flushed or finished; a trailer that is there is checked. Bytes behind the end
// of a stream are damage.
//
// Compression before encryption can tell who sees the sizes of encrypted messages what is in them.
//
// Thread-safe. For each of the two, a thread that compresses keeps some 270 KiB, and one that
// decompresses 40 KiB.

#ifndef SLUICE_PROTOCOLS_USP_COMPRESSION_H_
#define SLUICE_PROTOCOLS_USP_COMPRESSION_H_

#include "sluice/protocols/usp/compressor.h"

namespace sluice::usp {

// There is one, for ever.
const Compressor& ZlibCompressor();

}  // namespace sluice::usp

#endif  // SLUICE_PROTOCOLS_USP_COMPRESSION_H_
