// What an author needs to prove a codec, in a few lines: that the messages are the same however the
// bytes were cut, that encoding and decoding are each other's inverse, that memory stays under the
// limit, that garbage gives an error and nothing worse.
//
// Example:
//   TEST(ShortTextCodecTest, DecodesHoweverTheBytesAreCut) {
//     codec_testing::Decoded decoded = codec_testing::DecodeEveryWay(ShortTextCodec(),
//     "\x02hi\x03you\x05trun"); EXPECT_THAT(decoded.messages, testing::ElementsAre("hi", "you"));
//     EXPECT_EQ(decoded.unfinished, 5);
//   }
//   TEST(ShortTextCodecTest, RoundTrips) { codec_testing::ExpectRoundTrip(ShortTextCodec(), {"",
//   "hi", "you"}); } TEST(ShortTextCodecTest, SurvivesGarbage) {
//   codec_testing::ExpectSurvivesGarbage(ShortTextCodec(), "\x02hi", 1000); }
//
// and as a fuzz target (a binary built with -fsanitize=fuzzer; otherwise call it with the files of
// a corpus):
//   extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
//     return codec_testing::Fuzz(ShortTextCodec(), data, size);
//   }
//
// A codec is given as it is before it has decoded anything, and copied for each run. A broken
// promise of codec.h is a GoogleTest failure. For a codec whose messages are not bytes, a function
// std::string DescribeMessage(const Message&) beside the Message type (found by its namespace) says
// what a message is.
#ifndef SLUICE_PROTOCOLS_CODEC_CODEC_TESTING_H_
#define SLUICE_PROTOCOLS_CODEC_CODEC_TESTING_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/buffer.h"
#include "sluice/protocols/codec/codec.h"

namespace sluice::codec_testing {

// What came of decoding some bytes.
struct Decoded {
  std::vector<std::string> messages;
  absl::Status status;    // the codec's, at the end
  size_t unfinished = 0;  // bytes that wait for more; 0 after an error
  // The most bytes that a driver had to keep between two calls. Depends on how the bytes were cut:
  // not compared.
  size_t most_kept = 0;

  friend bool operator==(const Decoded& a, const Decoded& b) {
    return a.messages == b.messages && a.status == b.status && a.unfinished == b.unfinished;
  }
  friend std::ostream& operator<<(std::ostream& out, const Decoded& decoded);
};

// "whole", "byte by byte", "cut after 3 and 7 bytes": sizes of the pieces in which bytes arrive.
// What is left after the last piece arrives as one.
using Pieces = std::vector<size_t>;
std::string DescribePieces(const Pieces& pieces);

inline std::string DescribeMessage(absl::Span<const uint8_t> message) {
  return std::string(reinterpret_cast<const char*>(message.data()), message.size());
}

// Plays the driver for one codec. Each call of Decode gets an allocation of its own, of just the
// right size, so that AddressSanitizer sees a read beyond the bytes or of bytes of an earlier call.
template <Codec C>
class Feeder {
 public:
  explicit Feeder(const C& fresh) : codec_(fresh) {}

  // More bytes have arrived.
  void Feed(absl::string_view bytes) {
    kept_.append(bytes.data(), bytes.size());
    while (!failed_ && DecodeOne()) {
    }
    if (failed_) kept_.clear();
    decoded_.unfinished = kept_.size();
    decoded_.most_kept = std::max(decoded_.most_kept, kept_.size());
  }

  // What has come so far.
  Decoded decoded() const {
    Decoded decoded = decoded_;
    decoded.status = codec_.status();
    return decoded;
  }
  const C& codec() const { return codec_; }

 private:
  // Whether to go on.
  bool DecodeOne() {
    const size_t size = kept_.size();
    // One byte at least, so that there is something to point to.
    const std::unique_ptr<uint8_t[]> bytes(new uint8_t[size == 0 ? 1 : size]);
    if (size != 0) std::memcpy(bytes.get(), kept_.data(), size);
    typename C::Message message{};
    const DecodeResult result = codec_.Decode(absl::MakeSpan(bytes.get(), size), message);
    if (result.kind != DecodeResult::Kind::kNeedMore && size < want_) {
      ADD_FAILURE() << "Decode wanted " << want_ << " bytes, and then went on with " << size;
    }
    switch (result.kind) {
      case DecodeResult::Kind::kMessage:
        decoded_.messages.push_back(DescribeMessage(message));
        return Take(bytes.get(), result.consumed());
      case DecodeResult::Kind::kSkipped:
        return Take(bytes.get(), result.consumed());
      case DecodeResult::Kind::kNeedMore:
        CheckWant(result.want());
        kept_.assign(reinterpret_cast<const char*>(bytes.get()), size);
        return false;
      case DecodeResult::Kind::kError:
        CheckFailed();
        return false;
    }
    ADD_FAILURE() << "Decode answered with an unknown kind";
    return false;
  }

  bool Take(const uint8_t* bytes, size_t consumed) {
    EXPECT_TRUE(codec_.status().ok()) << codec_.status();
    if (consumed == 0 || consumed > kept_.size()) {
      ADD_FAILURE() << "Decode took " << consumed << " of " << kept_.size() << " bytes";
      failed_ = true;
      return false;
    }
    EXPECT_LE(consumed, codec_.max_frame_bytes()) << "a frame is longer than max_frame_bytes()";
    kept_.assign(reinterpret_cast<const char*>(bytes) + consumed, kept_.size() - consumed);
    want_ = 0;
    return true;
  }

  void CheckWant(size_t want) {
    EXPECT_TRUE(codec_.status().ok()) << codec_.status();
    EXPECT_TRUE(want == 0 || want > kept_.size()) << "Decode wants what it has";
    EXPECT_LE(want, codec_.max_frame_bytes()) << "Decode wants more than max_frame_bytes()";
    EXPECT_LT(kept_.size(), codec_.max_frame_bytes())
        << "an unfinished frame is as long as the limit";
    want_ = want;
  }

  void CheckFailed() {
    failed_ = true;
    const absl::Status status = codec_.status();
    EXPECT_FALSE(status.ok()) << "Decode answered kError, but status() is OK";
    EXPECT_FALSE(status.message().empty());
    // Sticky, whatever comes.
    for (const size_t size : {size_t{0}, size_t{1}, size_t{100}}) {
      std::vector<uint8_t> zeros(size);
      typename C::Message message{};
      EXPECT_EQ(codec_.Decode(absl::MakeSpan(zeros), message), DecodeResult::Error())
          << "an error is not sticky";
    }
    EXPECT_EQ(codec_.status(), status);
  }

  C codec_;
  std::string kept_;
  size_t want_ = 0;
  bool failed_ = false;
  Decoded decoded_;
};

template <Codec C>
Decoded Decode(const C& fresh, absl::string_view bytes, const Pieces& pieces = {}) {
  Feeder<C> feeder(fresh);
  for (const size_t piece : pieces) {
    feeder.Feed(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
  }
  if (!bytes.empty()) feeder.Feed(bytes);
  return feeder.decoded();
}

// The ways of DecodeEveryWay for so many bytes: whole; byte by byte; in equal pieces of several
// sizes; cut in two at every point (at 500 points spread over more than that); cut at random, the
// same on every run.
std::vector<Pieces> EveryWay(size_t bytes);

// Decodes the bytes cut in every way, expects the same of each, and returns it.
template <Codec C>
Decoded DecodeEveryWay(const C& fresh, absl::string_view bytes) {
  Decoded whole = Decode(fresh, bytes);
  for (const Pieces& pieces : EveryWay(bytes.size())) {
    const Decoded decoded = Decode(fresh, bytes, pieces);
    EXPECT_EQ(decoded, whole) << "when cut " << DescribePieces(pieces);
    whole.most_kept = std::max(whole.most_kept, decoded.most_kept);
    if (testing::Test::HasFailure()) break;
  }
  return whole;
}

template <Codec C>
std::string Encode(C& codec, absl::Span<const std::string> messages) {
  Buffer out;
  for (const std::string& message : messages) {
    EXPECT_EQ(codec.Encode(absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(message.data()),
                                               message.size()),
                           out),
              EncodeResult::kEncoded);
  }
  return out.ToString();
}

// Expects that encoding these messages and decoding what comes of it, cut in every way, gives them
// again. Returns the encoded bytes.
template <ByteCodec C>
std::string ExpectRoundTrip(const C& fresh, const std::vector<std::string>& messages) {
  C codec = fresh;
  const std::string bytes = Encode(codec, messages);
  const Decoded decoded = DecodeEveryWay(fresh, bytes);
  EXPECT_EQ(decoded.messages, messages);
  EXPECT_EQ(decoded.status, absl::OkStatus());
  EXPECT_EQ(decoded.unfinished, 0u);
  return bytes;
}

// Expects that decoding these bytes and encoding what comes of it gives them again.
template <ByteCodec C>
Decoded ExpectSameWhenEncodedAgain(const C& fresh, absl::string_view bytes) {
  const Decoded decoded = DecodeEveryWay(fresh, bytes);
  C codec = fresh;
  EXPECT_EQ(Encode(codec, decoded.messages), bytes);
  return decoded;
}

// One of many inputs made from `seed`: bytes are changed, doubled, dropped and put in; number 0 is
// `seed` itself.
std::string Garbage(absl::string_view seed, size_t number);

// Decodes `rounds` inputs made from `seed`, whole and cut at random, and expects the same of both.
template <Codec C>
void ExpectSurvivesGarbage(const C& fresh, absl::string_view seed, size_t rounds) {
  for (size_t round = 0; round < rounds && !testing::Test::HasFailure(); ++round) {
    const std::string bytes = Garbage(seed, round);
    std::minstd_rand random(static_cast<uint32_t>(round));
    Pieces pieces;
    for (size_t cut = 0; cut < bytes.size();) {
      pieces.push_back(1 + random() % 16);
      cut += pieces.back();
    }
    EXPECT_EQ(Decode(fresh, bytes, pieces), Decode(fresh, bytes)) << "in round " << round;
  }
}

// One run of a fuzz target: the first byte says how the rest is cut. Aborts where a promise is
// broken. Returns 0.
template <Codec C>
int Fuzz(const C& fresh, const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const absl::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t piece = size_t{data[0]} + 1;
  const Decoded cut = Decode(fresh, bytes, Pieces(bytes.size() / piece, piece));
  if (!(cut == Decode(fresh, bytes)) || testing::Test::HasFailure()) std::abort();
  return 0;
}

}  // namespace sluice::codec_testing

#endif  // SLUICE_PROTOCOLS_CODEC_CODEC_TESTING_H_
