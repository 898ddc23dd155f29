#include "sluice/protocols/usp/compression.h"

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/protocols/usp/compressor.h"

namespace sluice::usp {
namespace {

using Outcome = Compressor::Outcome;

constexpr CompressionAlgorithm kBoth[] = {CompressionAlgorithm::kGzip,
                                          CompressionAlgorithm::kFlate};
constexpr size_t kLimit = 1 << 20;
constexpr char kFlushEnd[] = "0000ffff";

absl::Span<const uint8_t> Bytes(absl::string_view text) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

// What a decompression comes to: its bytes, or "too long" or "damaged".
std::string Decompressed(CompressionAlgorithm algorithm, absl::string_view compressed,
                         size_t max_bytes = kLimit) {
  std::vector<uint8_t> out;
  const Outcome outcome = ZlibCompressor().Decompress(algorithm, Bytes(compressed), max_bytes, out);
  EXPECT_LE(out.capacity(), 2 * (max_bytes + 1));
  if (outcome == Outcome::kTooLong) return "too long";
  if (outcome == Outcome::kDamaged) return "damaged";
  return std::string(out.begin(), out.end());
}

std::string Compressed(CompressionAlgorithm algorithm, absl::string_view text) {
  std::string out;
  EXPECT_TRUE(ZlibCompressor().Compress(algorithm, {}, Bytes(text), out));
  return out;
}

std::string Noise(size_t size) {
  std::minstd_rand random(1);
  std::string noise(size, ' ');
  for (char& c : noise) c = static_cast<char>(random() >> 8);
  return noise;
}

// What Go's compress/flate and compress/gzip made of "hello".
constexpr char kGoFlate[] = "ca48cdc9c907000000ffff";
constexpr char kGoGzip[] = "1f8b08000000000000ffca48cdc9c907000000ffff";
// Python's gzip.compress(b"hello", mtime=0): with a trailer.
constexpr char kFinishedGzip[] = "1f8b0800000000000203cb48cdc9c9070086a6103605000000";

TEST(CompressionTest, ReadsWhatGoWrites) {
  EXPECT_EQ(Decompressed(CompressionAlgorithm::kFlate, absl::HexStringToBytes(kGoFlate)), "hello");
  EXPECT_EQ(Decompressed(CompressionAlgorithm::kGzip, absl::HexStringToBytes(kGoGzip)), "hello");
}

TEST(CompressionTest, ReadsFinishedStreams) {
  EXPECT_EQ(Decompressed(CompressionAlgorithm::kGzip, absl::HexStringToBytes(kFinishedGzip)),
            "hello");
  EXPECT_EQ(Decompressed(CompressionAlgorithm::kFlate, absl::HexStringToBytes("cb48cdc9c90700")),
            "hello");
}

TEST(CompressionTest, SendsStreamsThatAreFlushedAndNotFinished) {
  for (const CompressionAlgorithm algorithm : kBoth) {
    const std::string text(1000, 'x');
    const std::string compressed = Compressed(algorithm, text);
    EXPECT_EQ(absl::BytesToHexString(compressed.substr(compressed.size() - 4)), kFlushEnd);
    EXPECT_EQ(Decompressed(algorithm, compressed), text);
  }
}

TEST(CompressionTest, JoinsFrontAndRest) {
  for (const CompressionAlgorithm algorithm : kBoth) {
    const std::string front(100, 'f'), rest(5000, 'r');
    std::string out;
    ASSERT_TRUE(ZlibCompressor().Compress(algorithm, Bytes(front), Bytes(rest), out));
    EXPECT_EQ(Decompressed(algorithm, out), front + rest);
    ASSERT_TRUE(ZlibCompressor().Compress(algorithm, Bytes(front), {}, out));
    EXPECT_EQ(Decompressed(algorithm, out), front);
  }
}

TEST(CompressionTest, ManySizesComeBack) {
  for (const CompressionAlgorithm algorithm : kBoth) {
    for (const size_t size : {100, 1023, 1024, 1025, 4096, 70'000, 300'000}) {
      std::string text = Noise(size / 2);
      text += std::string(size - text.size(), 'x');
      EXPECT_EQ(Decompressed(algorithm, Compressed(algorithm, text)), text) << size;
    }
  }
}

// Where the first room, or one of those that it grows to, is as large as the message.
TEST(CompressionTest, MessagesAsLargeAsTheRoomForThemComeBack) {
  for (const CompressionAlgorithm algorithm : kBoth) {
    for (size_t size = 64; size <= 4200; ++size) {
      const std::string text = std::string(size - size / 16, 'x') + Noise(size / 16);
      const std::string compressed = Compressed(algorithm, text);
      ASSERT_TRUE(Decompressed(algorithm, compressed) == text) << size;
    }
  }
}

TEST(CompressionTest, WhatDoesNotBecomeSmallerIsNotCompressed) {
  for (const CompressionAlgorithm algorithm : kBoth) {
    std::string out;
    EXPECT_FALSE(ZlibCompressor().Compress(algorithm, {}, Bytes(Noise(10'000)), out));
    EXPECT_FALSE(ZlibCompressor().Compress(algorithm, {}, Bytes("hello"), out));
    EXPECT_FALSE(ZlibCompressor().Compress(algorithm, {}, {}, out));
    // And the compressor is good for the next one.
    EXPECT_EQ(Decompressed(algorithm, Compressed(algorithm, std::string(99, 'x'))),
              std::string(99, 'x'));
  }
}

TEST(CompressionTest, DecompressesToTheLimitAndNoFurther) {
  for (const CompressionAlgorithm algorithm : kBoth) {
    const std::string compressed = Compressed(algorithm, std::string(100'000, '0'));
    EXPECT_EQ(Decompressed(algorithm, compressed, 100'000).size(), 100'000u);
    EXPECT_EQ(Decompressed(algorithm, compressed, 99'999), "too long");
    EXPECT_EQ(Decompressed(algorithm, compressed, 1), "too long");
  }
}

TEST(CompressionTest, ABombStaysSmall) {
  for (const CompressionAlgorithm algorithm : kBoth) {
    const std::string bomb = Compressed(algorithm, std::string(64 << 20, '0'));
    EXPECT_LT(bomb.size(), 100'000u);
    EXPECT_EQ(Decompressed(algorithm, bomb, 200'000), "too long");
  }
}

TEST(CompressionTest, AnEndThatIsNoFlushIsDamage) {
  for (const CompressionAlgorithm algorithm : kBoth) {
    const std::string compressed = Compressed(algorithm, std::string(1000, 'x') + "and more");
    for (size_t size = 0; size < compressed.size(); ++size) {
      EXPECT_EQ(Decompressed(algorithm, compressed.substr(0, size)), "damaged") << size;
    }
  }
}

TEST(CompressionTest, BytesBehindTheEndAreDamage) {
  EXPECT_EQ(Decompressed(CompressionAlgorithm::kGzip, absl::HexStringToBytes(kFinishedGzip) + "x"),
            "damaged");
  EXPECT_EQ(
      Decompressed(CompressionAlgorithm::kFlate, absl::HexStringToBytes("cb48cdc9c90700") + "x"),
      "damaged");
}

TEST(CompressionTest, AWrongChecksumIsDamage) {
  std::string bytes = absl::HexStringToBytes(kFinishedGzip);
  bytes[bytes.size() - 5] ^= 1;
  EXPECT_EQ(Decompressed(CompressionAlgorithm::kGzip, bytes), "damaged");
}

TEST(CompressionTest, OneAlgorithmIsNotTheOther) {
  EXPECT_EQ(Decompressed(CompressionAlgorithm::kGzip, absl::HexStringToBytes(kGoFlate)), "damaged");
  EXPECT_EQ(Decompressed(CompressionAlgorithm::kFlate, absl::HexStringToBytes(kGoGzip)), "damaged");
}

TEST(CompressionTest, NoiseIsDamage) {
  for (const CompressionAlgorithm algorithm : kBoth) {
    EXPECT_EQ(Decompressed(algorithm, "\xff" + Noise(1000)), "damaged");
  }
}

}  // namespace
}  // namespace sluice::usp
