#include "sluice/protocols/websocket/utf8.h"

#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/protocols/websocket/internal/utf8_kernels.h"

namespace sluice::websocket {
namespace {

std::string Bytes(std::initializer_list<int> values) {
  std::string bytes;
  for (int v : values) bytes.push_back(static_cast<char>(v));
  return bytes;
}

absl::Span<const uint8_t> AsSpan(absl::string_view text) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

// The reference: decodes a code point as the definition has it and asks whether it is one, and in
// its shortest form. Returns its length, or 0.
size_t DecodeOne(absl::Span<const uint8_t> s) {
  static constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  const uint8_t lead = s[0];
  if (lead < 0x80) return 1;
  size_t length = 0;
  uint32_t point = 0;
  if ((lead & 0xe0) == 0xc0) {
    length = 2, point = lead & 0x1f;
  } else if ((lead & 0xf0) == 0xe0) {
    length = 3, point = lead & 0x0f;
  } else if ((lead & 0xf8) == 0xf0) {
    length = 4, point = lead & 0x07;
  } else {
    return 0;
  }
  if (s.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((s[i] & 0xc0) != 0x80) return 0;
    point = point << 6 | (s[i] & 0x3f);
  }
  if (point < kLeast[length] || point > 0x10ffff) return 0;
  return point >= 0xd800 && point <= 0xdfff ? 0 : length;
}

bool ReferenceValid(absl::Span<const uint8_t> s) {
  while (!s.empty()) {
    const size_t length = DecodeOne(s);
    if (length == 0) return false;
    s.remove_prefix(length);
  }
  return true;
}

// Whether some continuation makes it valid: it is valid but for at most three bytes at the end,
// which some one, two or three continuation bytes complete.
bool ReferenceCanBecomeValid(absl::Span<const uint8_t> s) {
  for (size_t cut = 0; cut <= 3 && cut <= s.size(); ++cut) {
    if (!ReferenceValid(s.subspan(0, s.size() - cut))) continue;
    if (cut == 0) return true;
    std::vector<uint8_t> open(s.end() - static_cast<ptrdiff_t>(cut), s.end());
    for (int missing = 1; missing <= 3; ++missing) {
      // 0x80, 0x90 and 0xa0 reach a valid second byte for each lead byte that has one.
      for (uint8_t next : {0x80, 0x90, 0xa0}) {
        std::vector<uint8_t> whole = open;
        whole.push_back(next);
        while (whole.size() < cut + static_cast<size_t>(missing)) whole.push_back(0x80);
        if (DecodeOne(whole) == whole.size()) return true;
      }
    }
  }
  return false;
}

std::string Utf8Of(uint32_t point) {
  if (point < 0x80) return Bytes({static_cast<int>(point)});
  if (point < 0x800) {
    return Bytes({static_cast<int>(0xc0 | point >> 6), static_cast<int>(0x80 | (point & 63))});
  }
  if (point < 0x10000) {
    return Bytes({static_cast<int>(0xe0 | point >> 12), static_cast<int>(0x80 | (point >> 6 & 63)),
                  static_cast<int>(0x80 | (point & 63))});
  }
  return Bytes({static_cast<int>(0xf0 | point >> 18), static_cast<int>(0x80 | (point >> 12 & 63)),
                static_cast<int>(0x80 | (point >> 6 & 63)), static_cast<int>(0x80 | (point & 63))});
}

// Feeds every prefix: the validator must say no exactly where no continuation could help, and know
// where it is complete.
void CheckAgainstReference(absl::string_view text) {
  Utf8Validator by_byte;
  bool alive = true;
  for (size_t n = 1; n <= text.size(); ++n) {
    const absl::Span<const uint8_t> prefix = AsSpan(text.substr(0, n));
    alive = by_byte.Update(prefix.subspan(n - 1));
    const std::string context = absl::CHexEscape(text.substr(0, n));
    ASSERT_EQ(alive, ReferenceCanBecomeValid(prefix)) << context;
    ASSERT_EQ(by_byte.complete(), ReferenceValid(prefix)) << context;
    Utf8Validator whole;
    ASSERT_EQ(whole.Update(prefix), alive) << context;
    ASSERT_EQ(whole.complete(), by_byte.complete()) << context;
    if (!alive) break;
  }
}

TEST(Utf8ValidatorTest, HeaderExample) {
  const std::string text = "caf\xc3\xa9";
  const std::vector<absl::Span<const uint8_t>> pieces = {AsSpan(text).subspan(0, 4),
                                                         AsSpan(text).subspan(4)};
  bool failed = false;
  const auto Fail = [&] { failed = true; };
  [&] {
    Utf8Validator validator;
    for (absl::Span<const uint8_t> piece : pieces) {
      if (!validator.Update(piece)) return Fail();
    }
    if (!validator.complete()) return Fail();  // ends within a character
  }();
  EXPECT_FALSE(failed);
}

TEST(Utf8ValidatorTest, AcceptsTheBordersOfEachLength) {
  for (uint32_t point : {0x0u, 0x7fu, 0x80u, 0x7ffu, 0x800u, 0xd7ffu, 0xe000u, 0xfffdu, 0xffffu,
                         0x10000u, 0x10ffffu}) {
    EXPECT_TRUE(IsValidUtf8(Utf8Of(point))) << point;
  }
}

TEST(Utf8ValidatorTest, RejectsOverlongForms) {
  EXPECT_FALSE(IsValidUtf8(Bytes({0xc0, 0x80})));
  EXPECT_FALSE(IsValidUtf8(Bytes({0xc1, 0xbf})));
  EXPECT_FALSE(IsValidUtf8(Bytes({0xe0, 0x80, 0x80})));
  EXPECT_FALSE(IsValidUtf8(Bytes({0xe0, 0x9f, 0xbf})));
  EXPECT_FALSE(IsValidUtf8(Bytes({0xf0, 0x80, 0x80, 0x80})));
  EXPECT_FALSE(IsValidUtf8(Bytes({0xf0, 0x8f, 0xbf, 0xbf})));
}

TEST(Utf8ValidatorTest, RejectsSurrogates) {
  EXPECT_FALSE(IsValidUtf8(Bytes({0xed, 0xa0, 0x80})));
  EXPECT_FALSE(IsValidUtf8(Bytes({0xed, 0xbf, 0xbf})));
  EXPECT_FALSE(IsValidUtf8(Bytes({0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80})));
}

TEST(Utf8ValidatorTest, RejectsWhatLiesAboveTheLastCodePoint) {
  EXPECT_FALSE(IsValidUtf8(Bytes({0xf4, 0x90, 0x80, 0x80})));
  EXPECT_FALSE(IsValidUtf8(Bytes({0xf5, 0x80, 0x80, 0x80})));
  EXPECT_FALSE(IsValidUtf8(Bytes({0xff})));
}

TEST(Utf8ValidatorTest, SaysNoWithTheFirstByteThatCannotFollow) {
  Utf8Validator validator;
  EXPECT_TRUE(validator.Update(AsSpan(Bytes({0xce, 0xba, 0xf4}))));
  EXPECT_FALSE(validator.complete());
  EXPECT_FALSE(validator.Update(AsSpan(Bytes({0x90}))));
}

TEST(Utf8ValidatorTest, StaysFailed) {
  Utf8Validator validator;
  EXPECT_FALSE(validator.Update(AsSpan(Bytes({0xff}))));
  EXPECT_FALSE(validator.Update(AsSpan("plain")));
  EXPECT_FALSE(validator.Update(AsSpan("")));
  EXPECT_FALSE(validator.complete());
}

TEST(Utf8ValidatorTest, AnEmptyPieceChangesNothing) {
  Utf8Validator validator;
  EXPECT_TRUE(validator.Update(AsSpan("")));
  EXPECT_TRUE(validator.complete());
  EXPECT_TRUE(validator.Update(AsSpan("\xe2\x82")));
  EXPECT_TRUE(validator.Update(AsSpan("")));
  EXPECT_FALSE(validator.complete());
  EXPECT_TRUE(validator.Update(AsSpan("\xac")));
  EXPECT_TRUE(validator.complete());
}

TEST(Utf8ValidatorTest, EveryCodePointIsValidAtAnySplit) {
  std::string all;
  for (uint32_t point = 0; point <= 0x10ffff; ++point) {
    if (point < 0xd800 || point > 0xdfff) all += Utf8Of(point);
  }
  EXPECT_TRUE(IsValidUtf8(all));
  for (const internal::Utf8Kernel& kernel : internal::UsableUtf8Kernels()) {
    // Shifted, so that every character crosses the edge of a vector once.
    for (size_t shift = 0; shift < 64; shift += 7) {
      const std::string shifted = std::string(shift, ' ') + all;
      EXPECT_TRUE(kernel.valid(AsSpan(shifted).data(), shifted.size())) << kernel.name;
    }
  }
  for (const size_t piece : {1, 2, 3, 5, 31, 32, 33, 127, 4096}) {
    Utf8Validator validator;
    for (size_t at = 0; at < all.size(); at += piece) {
      ASSERT_TRUE(validator.Update(AsSpan(absl::string_view(all).substr(at, piece)))) << at;
    }
    EXPECT_TRUE(validator.complete());
  }
}

// Bytes on both sides of each border in the table of RFC 3629 section 4.
constexpr uint8_t kBorders[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed,
                                0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff};

TEST(Utf8ValidatorTest, AgreesWithTheReferenceOnAllPairsAndOnAllBordersOfLongerSequences) {
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) CheckAgainstReference(Bytes({a, b}));
  }
  for (int a : kBorders) {
    for (int b : kBorders) {
      for (int c : kBorders) {
        for (int d : {0x00, 0x7f, 0x80, 0xbf, 0xc0, 0xf4}) {
          CheckAgainstReference(Bytes({a, b, c, d}));
        }
      }
    }
  }
}

// A sequence of up to four bytes at an offset in a text of ASCII, checked by each kernel and by the
// validator.
class KernelProbe {
 public:
  static constexpr size_t kSize = 200;

  KernelProbe() : text_(kSize, 'x') {}

  void Check(absl::Span<const uint8_t> sequence, size_t at) {
    std::memcpy(text_.data() + at, sequence.data(), sequence.size());
    const bool cut_at_end = internal::UnfinishedTail(text_.data(), kSize) != 0;
    const bool expected = ReferenceValid(sequence);
    if (!cut_at_end) {
      for (const internal::Utf8Kernel& kernel : kernels_) {
        if (kernel.valid(text_.data(), kSize) != expected) {
          ADD_FAILURE() << kernel.name << " at " << at << ": " << Hex(sequence);
        }
      }
    }
    if (IsValidUtf8(text_) != expected) ADD_FAILURE() << "at " << at << ": " << Hex(sequence);
    std::memset(text_.data() + at, 'x', sequence.size());
  }

 private:
  static std::string Hex(absl::Span<const uint8_t> sequence) {
    return absl::BytesToHexString(
        absl::string_view(reinterpret_cast<const char*>(sequence.data()), sequence.size()));
  }

  const absl::Span<const internal::Utf8Kernel> kernels_ = internal::UsableUtf8Kernels();
  std::vector<uint8_t> text_;
};

// Where sequences of n bytes begin: at the ends of the text, and so that each of their bytes once
// is the first of a vector of 16 and of 32, of a step of four vectors, and of the vector that
// overlaps the others at the end.
std::vector<size_t> Places(size_t n) {
  std::vector<size_t> places = {0, KernelProbe::kSize - n};
  for (size_t edge : {16, 32, 80, 96, 144, 160, 168, 184}) {
    for (size_t before = 0; before <= n; ++before) places.push_back(edge - before);
  }
  return places;
}

TEST(Utf8KernelTest, EverySequenceOfOneOrTwoBytesAtEveryEdge) {
  KernelProbe probe;
  for (int a = 0; a < 256; ++a) {
    const uint8_t one[] = {static_cast<uint8_t>(a)};
    for (size_t at : Places(1)) probe.Check(one, at);
    for (int b = 0; b < 256; ++b) {
      const uint8_t two[] = {static_cast<uint8_t>(a), static_cast<uint8_t>(b)};
      if (b % 16 == 0 || b % 16 == 15) {
        for (size_t at : Places(2)) probe.Check(two, at);
      } else {
        probe.Check(two, 31);
      }
    }
  }
}

TEST(Utf8KernelTest, EverySequenceOfThreeOrFourBytesAtABorder) {
  KernelProbe probe;
  const std::vector<size_t> places3 = Places(3), places4 = Places(4);
  size_t turn = 0;
  for (uint8_t a : kBorders) {
    for (uint8_t b : kBorders) {
      for (uint8_t c : kBorders) {
        const uint8_t three[] = {a, b, c};
        for (int i = 0; i < 3; ++i) probe.Check(three, places3[turn++ % places3.size()]);
        for (uint8_t d : kBorders) {
          const uint8_t four[] = {a, b, c, d};
          probe.Check(four, places4[turn++ % places4.size()]);
        }
      }
    }
  }
}

TEST(Utf8KernelTest, AgreesWithTheReferenceOnRandomMixtures) {
  std::mt19937 rng(7);
  const absl::Span<const internal::Utf8Kernel> kernels = internal::UsableUtf8Kernels();
  int valid_ones = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string text;
    const size_t wanted = rng() % 300 + 1;
    const uint32_t widest = 1u << (7 + rng() % 15);
    while (text.size() < wanted) {
      const uint32_t point = rng() % widest;
      if (point <= 0x10ffff && (point < 0xd800 || point > 0xdfff)) text += Utf8Of(point);
    }
    if (round % 2 == 1) text[rng() % text.size()] = static_cast<char>(rng());
    const bool expected = ReferenceValid(AsSpan(text));
    valid_ones += expected;
    if (internal::UnfinishedTail(AsSpan(text).data(), text.size()) == 0) {
      for (const internal::Utf8Kernel& kernel : kernels) {
        ASSERT_EQ(kernel.valid(AsSpan(text).data(), text.size()), expected)
            << kernel.name << " " << absl::CHexEscape(text);
      }
    }
    ASSERT_EQ(IsValidUtf8(text), expected) << absl::CHexEscape(text);
    const size_t split = rng() % (text.size() + 1);
    Utf8Validator validator;
    const bool fed = validator.Update(AsSpan(text).subspan(0, split)) &&
                     validator.Update(AsSpan(text).subspan(split));
    ASSERT_EQ(fed && validator.complete(), expected) << split << " " << absl::CHexEscape(text);
  }
  EXPECT_GT(valid_ones, 2000);
  EXPECT_LT(valid_ones, 3000);
}

TEST(Utf8KernelTest, ReadsNothingOutsideTheText) {
  // Poisoned or foreign memory around texts of each size: address sanitizer watches the heap, and
  // the bytes outside, were they read as text, would spoil it.
  for (size_t size = 1; size < 300; ++size) {
    const std::vector<uint8_t> exact(size, 'x');
    std::vector<uint8_t> within(size + 128, 0xff);
    std::memset(within.data() + 64, 'x', size);
    for (const internal::Utf8Kernel& kernel : internal::UsableUtf8Kernels()) {
      EXPECT_TRUE(kernel.valid(exact.data(), size)) << kernel.name;
      EXPECT_TRUE(kernel.valid(within.data() + 64, size)) << kernel.name;
    }
  }
}

}  // namespace
}  // namespace sluice::websocket
