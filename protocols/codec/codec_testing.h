// What an author needs to prove a codec, in a few lines: that the messages are the same however the
// bytes were cut, that encoding and decoding are each other's inverse, that limits hold, that
// memory stays under them, that nothing beyond the bytes is read, that garbage gives an error and
// nothing worse.
//
// Example: all of it. The second argument makes messages, any that the codec takes.
//
//   TEST(ShortTextCodecTest, KeepsItsPromises) {
//     codec_testing::ExpectKeepsPromises(ShortTextCodec(), [](std::minstd_rand& random) {
//       return std::string(random() % 256, 'x');
//     });
//   }
//
// And its parts, for what is peculiar to a protocol:
//
//   TEST(ShortTextCodecTest, DecodesHoweverTheBytesAreCut) {
//     codec_testing::Decoded decoded =
//         codec_testing::DecodeEveryWay(ShortTextCodec(), "\x02hi\x03you\x05trun");
//     EXPECT_THAT(decoded.messages, testing::ElementsAre("hi", "you"));
//     EXPECT_EQ(decoded.unfinished, 5);
//   }
//
// The fuzz target is the macro codec_fuzz_test (//protocols:codec_fuzz_test.bzl), which calls Fuzz.
// A conversation over a bad network is codec_conversation_testing.h.
//
// A codec is given as it is before it has decoded anything, and copied for each run. A broken
// promise of codec.h is a GoogleTest failure; a read or write beyond the bytes that Decode was
// given ends the test, with a word about it (AddressSanitizer's, where that is on). Give a codec
// whose limit is small, up to 64 KiB, so that what lies beyond it can be tried.
//
// For a codec whose messages are not bytes, a function std::string DescribeMessage(const Message&)
// beside the Message type (found by its namespace) says what a message is, and one for what the
// generator returns, where that is another type, says the same of it.
#ifndef SLUICE_PROTOCOLS_CODEC_CODEC_TESTING_H_
#define SLUICE_PROTOCOLS_CODEC_CODEC_TESTING_H_

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <ostream>
#include <random>
#include <string>
#include <utility>
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
inline std::string DescribeMessage(const std::string& message) { return message; }

// A copy of some bytes that ends where memory does: a read or write behind them ends the process.
// With AddressSanitizer, also one before them, and one after this is gone. (Before what Decode is
// given lie the frames that came with it: looking back at those is not seen.)
class FencedBytes {
 public:
  explicit FencedBytes(absl::string_view bytes);
  ~FencedBytes();
  FencedBytes(const FencedBytes&) = delete;
  FencedBytes& operator=(const FencedBytes&) = delete;

  absl::Span<uint8_t> span() const { return {begin_, size_}; }

 private:
  struct Memory;

  const std::unique_ptr<Memory> memory_;
  const size_t size_;
  uint8_t* begin_;
};

// Plays the driver for one codec. The bytes lie elsewhere after each Feed, and end at a fence.
template <Codec C>
class Feeder {
 public:
  explicit Feeder(const C& fresh) : codec_(fresh) {}

  // More bytes have arrived.
  void Feed(absl::string_view bytes) {
    if (failed_) return;
    kept_.append(bytes.data(), bytes.size());
    const FencedBytes fenced(kept_);
    absl::Span<uint8_t> rest = fenced.span();
    while (DecodeOne(rest)) {
    }
    kept_ = failed_ ? "" : DescribeMessage(rest);
    decoded_.unfinished = kept_.size();
    decoded_.most_kept = std::max(decoded_.most_kept, kept_.size());
  }

  // What has come so far.
  Decoded decoded() const {
    Decoded decoded = decoded_;
    decoded.status = codec_.status();
    return decoded;
  }
  bool failed() const { return failed_; }
  const C& codec() const { return codec_; }

  // Called with each message, as it was decoded.
  void set_on_message(std::function<void(typename C::Message&)> on_message) {
    on_message_ = std::move(on_message);
  }

 private:
  // Whether to go on, behind what was taken.
  bool DecodeOne(absl::Span<uint8_t>& rest) {
    std::string before;
    if constexpr (HasReusableFrames<C>) before = DescribeMessage(rest);
    typename C::Message message{};
    const DecodeResult result = codec_.Decode(rest, message);
    if (result.kind != DecodeResult::Kind::kNeedMore && rest.size() < want_) {
      ADD_FAILURE() << "Decode wanted " << want_ << " bytes, and then went on with " << rest.size();
    }
    switch (result.kind) {
      case DecodeResult::Kind::kMessage:
      case DecodeResult::Kind::kSkipped:
        if (!CheckTaken(rest.size(), result.consumed())) return false;
        break;
      case DecodeResult::Kind::kNeedMore:
        CheckWant(result.want(), rest.size());
        return false;
      case DecodeResult::Kind::kError:
        CheckFailed();
        return false;
    }
    if constexpr (HasReusableFrames<C>) {
      EXPECT_TRUE(DescribeMessage(rest) == before)
          << "kFrameIsReusable, but Decode has changed the bytes";
    }
    if (result.kind == DecodeResult::Kind::kMessage) {
      decoded_.messages.push_back(DescribeMessage(message));
      if (on_message_) on_message_(message);
    }
    rest.remove_prefix(result.consumed());
    want_ = 0;
    return true;
  }

  bool CheckTaken(size_t size, size_t consumed) {
    EXPECT_TRUE(codec_.status().ok()) << codec_.status();
    EXPECT_LE(consumed, codec_.max_frame_bytes()) << "a frame is longer than max_frame_bytes()";
    if (consumed != 0 && consumed <= size) return true;
    ADD_FAILURE() << "Decode took " << consumed << " of " << size << " bytes";
    failed_ = true;
    return false;
  }

  void CheckWant(size_t want, size_t size) {
    EXPECT_TRUE(codec_.status().ok()) << codec_.status();
    EXPECT_TRUE(want == 0 || want > size) << "Decode wants what it has";
    EXPECT_LE(want, codec_.max_frame_bytes()) << "Decode wants more than max_frame_bytes()";
    EXPECT_LT(size, codec_.max_frame_bytes()) << "an unfinished frame is as long as the limit";
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
  std::function<void(typename C::Message&)> on_message_;
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

// What Encode takes of a message that a test has made.
inline absl::Span<const uint8_t> ToEncode(const std::string& message) {
  return {reinterpret_cast<const uint8_t*>(message.data()), message.size()};
}
inline absl::Span<const uint8_t> ToEncode(absl::Span<uint8_t> message) { return message; }
template <typename M>
const M& ToEncode(const M& message) {
  return message;
}

template <Codec C, typename Messages>
std::string Encode(C& codec, const Messages& messages) {
  Buffer out;
  for (const auto& message : messages) {
    EXPECT_EQ(codec.Encode(ToEncode(message), out), EncodeResult::kEncoded)
        << "for " << testing::PrintToString(DescribeMessage(message));
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

// Expects that each front part of these bytes gives a front part of the messages, and no error: a
// peer that is slow, or gone, is not one that is wrong.
template <Codec C>
void ExpectWaitsWhenTruncated(const C& fresh, absl::string_view bytes) {
  const std::vector<std::string> all = Decode(fresh, bytes).messages;
  for (size_t size = 0; size < bytes.size(); size += 1 + bytes.size() / 500) {
    const Decoded decoded = Decode(fresh, bytes.substr(0, size));
    EXPECT_EQ(decoded.status, absl::OkStatus()) << "after " << size << " bytes";
    ASSERT_LE(decoded.messages.size(), all.size()) << "after " << size << " bytes";
    for (size_t i = 0; i < decoded.messages.size(); ++i) {
      ASSERT_EQ(decoded.messages[i], all[i]) << "after " << size << " bytes";
    }
  }
}

// Fronts of `seed` that go on for ever, each with another byte: what claims that never end look
// like.
std::vector<std::pair<std::string, char>> EndlessFrames(absl::string_view seed);

// The largest limit that is tried.
inline constexpr size_t kLargestLimit = 64 * 1024;

// Expects that a frame that never ends is an error before it is longer than max_frame_bytes(),
// however it starts.
template <Codec C>
void ExpectLimitsWhatItKeeps(const C& fresh, absl::string_view seed) {
  const size_t limit = fresh.max_frame_bytes();
  ASSERT_LE(limit, kLargestLimit)
      << "max_frame_bytes() is too large to try what lies beyond it: set the codec up with less";
  for (const auto& [front, filler] : EndlessFrames(seed)) {
    Feeder<C> feeder(fresh);
    feeder.Feed(front);
    const std::string piece(limit / 8 + 1, filler);
    for (int i = 0; i < 10 && !feeder.failed(); ++i) feeder.Feed(piece);
    if (testing::Test::HasFailure()) {
      ADD_FAILURE() << "with a frame of " << testing::PrintToString(front) << " and then only "
                    << testing::PrintToString(filler);
      return;
    }
  }
}

// Expects that Encode makes of a message a frame that is decoded again, or appends nothing.
template <Codec Encoder, Codec Decoder, typename M>
void ExpectEncodesOrRefusesOne(const Encoder& fresh_encoder, const Decoder& fresh_decoder,
                               const M& message) {
  const std::string described = DescribeMessage(message);
  Encoder encoder = fresh_encoder;
  Buffer out;
  if (encoder.Encode(ToEncode(message), out) != EncodeResult::kEncoded) {
    EXPECT_TRUE(out.empty()) << "a message of " << described.size()
                             << " bytes was refused, but Encode appended " << out.size();
    return;
  }
  const Decoded decoded = Decode(fresh_decoder, out.ToString());
  EXPECT_TRUE(decoded.messages.size() == 1 && decoded.messages[0] == described)
      << "a message of " << described.size() << " bytes was encoded, but is decoded to " << decoded;
}

// The same of each of these messages: give some that are as large as the limit, one larger, and
// larger than the protocol can say. (ExpectKeepsPromises makes such ones itself only where messages
// are bytes.)
template <Codec C, typename M>
void ExpectEncodesOrRefuses(const C& fresh, const std::vector<M>& messages) {
  for (const M& message : messages) ExpectEncodesOrRefusesOne(fresh, fresh, message);
}

// The same of messages of all sizes that may be special, made of the bytes of `seed`.
template <ByteCodec C>
void ExpectEncodesOrRefuses(const C& fresh, absl::string_view seed) {
  if (seed.empty()) seed = "x";
  const size_t limit = fresh.max_frame_bytes();
  std::vector<size_t> sizes = {0, limit + 1, 2 * limit};
  for (size_t power = 1; power <= limit; power *= 2) {
    sizes.insert(sizes.end(), {power - 1, power, power + 1});
  }
  for (size_t less = 0; less <= std::min(limit, size_t{40}); ++less) sizes.push_back(limit - less);
  for (const size_t size : sizes) {
    std::string message;
    while (message.size() < size) message.append(seed.substr(0, size - message.size()));
    ExpectEncodesOrRefusesOne(fresh, fresh, message);
    if (testing::Test::HasFailure()) return;
  }
}

// The memory that malloc has given out, where it can be told (not under a sanitizer).
size_t AllocatedBytes();

// Expects that a codec that has encoded and decoded the same messages over and over holds no more
// memory than after the first times.
template <Codec Encoder, Codec Decoder, typename Messages>
void ExpectMemoryStaysTheSame(const Encoder& fresh_encoder, const Decoder& fresh_decoder,
                              const Messages& messages) {
  Encoder encoder = fresh_encoder;
  Decoder decoder = fresh_decoder;
  size_t before = 0;
  constexpr int kWarmUps = 20;
  for (int round = 0; round < 10 * kWarmUps; ++round) {
    if (round == kWarmUps) before = AllocatedBytes();
    std::string bytes = Encode(encoder, messages);
    absl::Span<uint8_t> rest(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size());
    while (!rest.empty()) {
      typename Decoder::Message message{};
      const size_t consumed = decoder.Decode(rest, message).consumed();
      ASSERT_TRUE(consumed != 0 && consumed <= rest.size()) << decoder.status();
      rest.remove_prefix(consumed);
    }
  }
  const size_t after = AllocatedBytes();
  EXPECT_LE(after, before + fresh_decoder.max_frame_bytes() + 16 * 1024)
      << "the codec holds more and more memory";
}

// Makes messages: returns what Encode takes, or std::string for a codec with messages of bytes.
template <typename G>
concept MessageGenerator = std::invocable<G&, std::minstd_rand&>;

// Expects all promises of codec.h, of a protocol whose two directions differ: what `encoder` makes
// is what `decoder` is to understand. Two it cannot try without help: what Encode refuses, where
// messages are not bytes (ExpectEncodesOrRefuses with messages around the limit); and that the
// limit is this one and not one more (a test with a frame that is one over it).
template <Codec Encoder, Codec Decoder, MessageGenerator Generate>
void ExpectKeepsPromises(const Encoder& fresh_encoder, const Decoder& fresh_decoder,
                         Generate generate) {
  std::minstd_rand random(1);
  std::vector<std::decay_t<decltype(generate(random))>> messages;
  std::vector<std::string> expected;
  while (messages.size() < 64) {
    messages.push_back(generate(random));
    expected.push_back(DescribeMessage(messages.back()));
  }
  Encoder encoder = fresh_encoder;
  const std::string bytes = Encode(encoder, messages);
  const Decoded decoded = DecodeEveryWay(fresh_decoder, bytes);
  EXPECT_EQ(decoded.messages, expected);
  EXPECT_EQ(decoded.status, absl::OkStatus());
  EXPECT_EQ(decoded.unfinished, 0u);
  if (testing::Test::HasFailure()) return;

  const absl::string_view seed = absl::string_view(bytes).substr(0, 2048);
  ExpectWaitsWhenTruncated(fresh_decoder, bytes);
  ExpectSurvivesGarbage(fresh_decoder, seed, 1000);
  ExpectLimitsWhatItKeeps(fresh_decoder, seed);
  ExpectMemoryStaysTheSame(fresh_encoder, fresh_decoder, messages);
  if constexpr (ByteCodec<Encoder> && std::same_as<Encoder, Decoder>) {
    for (size_t i = 0; i < 8 && !testing::Test::HasFailure(); ++i) {
      ExpectEncodesOrRefuses(fresh_decoder, expected[i]);
    }
  }
}

// The same of a protocol whose two directions are alike.
template <Codec C, MessageGenerator Generate>
void ExpectKeepsPromises(const C& fresh, Generate generate) {
  ExpectKeepsPromises(fresh, fresh, std::move(generate));
}

// One run of a fuzz target: the first byte says how the rest is cut. Aborts where a promise is
// broken: how the bytes were cut must not matter, and a decoded message that can be encoded is the
// same when it is decoded again. Returns 0.
template <Codec C>
int Fuzz(const C& fresh, const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const absl::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t piece = size_t{data[0]} + 1;
  const Decoded cut = Decode(fresh, bytes, Pieces(bytes.size() / piece, piece));

  Feeder<C> whole(fresh);
  Buffer encoded;
  std::vector<std::string> expected;
  using Encoded = decltype(ToEncode(std::declval<typename C::Message&>()));
  if constexpr (EncoderOf<C, Encoded>) {
    whole.set_on_message([&, encoder = fresh](typename C::Message& message) mutable {
      if (encoder.Encode(ToEncode(message), encoded) != EncodeResult::kEncoded) return;
      expected.push_back(DescribeMessage(message));
    });
  }
  whole.Feed(bytes);
  const bool same = cut == whole.decoded();
  const bool round_trips = Decode(fresh, encoded.ToString()).messages == expected;
  if (!same || !round_trips || testing::Test::HasFailure()) std::abort();
  return 0;
}

}  // namespace sluice::codec_testing

#endif  // SLUICE_PROTOCOLS_CODEC_CODEC_TESTING_H_
