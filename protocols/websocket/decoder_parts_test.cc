// Messages in parts: FrameDecoder::DeliverInParts.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "sluice/protocols/websocket/decoder.h"
#include "sluice/protocols/websocket/frame.h"
#include "sluice/protocols/websocket/mask.h"

namespace sluice::websocket {
namespace {

using Event = FrameDecoder::Event;

// What the decoder gives out, one word an event: "(" begins a message, ")" ends it.
class PartsTest : public testing::TestWithParam<Role> {
 protected:
  PartsTest() { decoder_.DeliverInParts(true); }

  static FrameDecoder::Options OptionsOf(Role role) {
    FrameDecoder::Options options;
    options.role = role;
    options.max_message_bytes = 100'000;
    return options;
  }

  std::string Frame(Opcode opcode, absl::string_view payload, bool fin = true, uint8_t rsv = 0) {
    FrameHeader header{.opcode = opcode, .fin = fin, .rsv = rsv, .payload_bytes = payload.size()};
    header.masked = GetParam() == Role::kServer;
    header.mask_key = 0x9a3b5c7d;
    std::string frame(kMaxFrameHeaderBytes + payload.size(), '\0');
    auto* const out = reinterpret_cast<uint8_t*>(frame.data());
    const size_t n = EncodeFrameHeader(header, out);
    std::copy(payload.begin(), payload.end(), out + n);
    if (header.masked) ApplyMask(out + n, out + n, payload.size(), header.mask_key);
    frame.resize(n + payload.size());
    return frame;
  }

  // One piece of input, in memory of its own.
  void Feed(absl::string_view piece) {
    std::vector<uint8_t> memory(piece.begin(), piece.end());
    FrameDecoder::Input input{memory.data(), memory.data() + memory.size(), memory.data()};
    for (;;) {
      const Event event = decoder_.Next(input);
      if (event.kind == Event::kNeedMore) break;
      if (event.kind == Event::kError) {
        words_.push_back(absl::StrCat("error:", static_cast<int>(event.code)));
        return;
      }
      if (event.kind == Event::kPart) {
        ASSERT_EQ(event.payload + event.size, input.writable_from) << "it may be overwritten";
      }
      Note(event);
    }
    EXPECT_EQ(input.begin, input.end);
  }

  void Note(const Event& event) {
    const bool data = event.kind == Event::kMessage || event.kind == Event::kPart;
    if (!data) {
      words_.push_back(absl::StrCat("control:", event.text()));
      return;
    }
    parts_ += event.kind == Event::kPart;
    messages_ += event.first ? absl::StrCat("(", event.is_text ? "t" : "b", event.rsv, " ") : "";
    messages_ += std::string(event.text());
    messages_ += event.last ? ")" : "";
    words_.push_back(absl::StrCat(event.first ? "(" : "", event.text(), event.last ? ")" : ""));
  }

  std::string words() { return absl::StrJoin(words_, " "); }

  const FrameDecoder::Options options_ = OptionsOf(GetParam());
  FrameDecoder decoder_{options_, /*allowed_rsv=*/4};
  std::vector<std::string> words_;
  std::string messages_;
  int parts_ = 0;
};

TEST_P(PartsTest, AMessageThatHasArrivedWholeComesWhole) {
  Feed(Frame(Opcode::kText, "hello"));
  EXPECT_EQ(words(), "(hello)");
  EXPECT_TRUE(decoder_.idle());
}

TEST_P(PartsTest, WhatHasArrivedOfAFrameIsGivenOutAtOnce) {
  const std::string frame = Frame(Opcode::kBinary, "abcdefghij");
  Feed(absl::string_view(frame).substr(0, frame.size() - 6));
  EXPECT_EQ(words(), "(abcd");
  Feed(absl::string_view(frame).substr(frame.size() - 6, 5));
  EXPECT_EQ(words(), "(abcd efghi");
  Feed(absl::string_view(frame).substr(frame.size() - 1));
  EXPECT_EQ(words(), "(abcd efghi j)");
  Feed("");
  EXPECT_TRUE(decoder_.idle());
}

TEST_P(PartsTest, FragmentsAreParts) {
  Feed(Frame(Opcode::kText, "one", false) + Frame(Opcode::kContinuation, "", false) +
       Frame(Opcode::kPing, "?") + Frame(Opcode::kContinuation, "two", false) +
       Frame(Opcode::kContinuation, "three"));
  EXPECT_EQ(words(), "(one control:? two three)");
}

TEST_P(PartsTest, AnEmptyLastFragmentEndsTheMessage) {
  Feed(Frame(Opcode::kText, "one", false) + Frame(Opcode::kContinuation, ""));
  EXPECT_EQ(words(), "(one )");
}

TEST_P(PartsTest, AMessageOfEmptyFragmentsIsOneEmptyPart) {
  Feed(Frame(Opcode::kText, "", false) + Frame(Opcode::kContinuation, ""));
  EXPECT_EQ(words(), "()");
}

TEST_P(PartsTest, AHeaderInPiecesIsPutTogether) {
  for (char byte : Frame(Opcode::kText, std::string(300, 'x'), false)) Feed({&byte, 1});
  Feed(Frame(Opcode::kContinuation, "y"));
  EXPECT_EQ(parts_, 301);
  EXPECT_EQ(messages_, absl::StrCat("(t0 ", std::string(300, 'x'), "y)"));
}

TEST_P(PartsTest, ACharacterMayBeCut) {
  const std::string frame = Frame(Opcode::kText, "a\xe2\x82\xac");
  Feed(absl::string_view(frame).substr(0, frame.size() - 2));
  EXPECT_EQ(words(), "(a\xe2");
  Feed(absl::string_view(frame).substr(frame.size() - 2));
  EXPECT_EQ(messages_, "(t0 a\xe2\x82\xac)");
}

TEST_P(PartsTest, TextThatBecomesInvalidEndsAtOnce) {
  const std::string frame = Frame(Opcode::kText, "good\xff then more");
  Feed(absl::string_view(frame).substr(0, frame.size() - 11));
  EXPECT_EQ(words(), "(good");
  Feed(absl::string_view(frame).substr(frame.size() - 11, 1));
  EXPECT_EQ(words(), "(good error:1007");
}

TEST_P(PartsTest, TextThatEndsWithinACharacterIsInvalid) {
  Feed(Frame(Opcode::kText, "abc", false) + Frame(Opcode::kContinuation, "\xe2\x82"));
  EXPECT_EQ(words(), "(abc error:1007");
}

TEST_P(PartsTest, TheLimitIsOfTheWholeMessage) {
  for (int i = 0; i < 10; ++i) {
    Feed(Frame(i == 0 ? Opcode::kBinary : Opcode::kContinuation, std::string(10'000, 'x'), false));
  }
  EXPECT_EQ(parts_, 10);
  Feed(Frame(Opcode::kContinuation, "x"));
  EXPECT_EQ(words_.back(), "error:1009");
}

TEST_P(PartsTest, EmptyFragmentsAreBoundedStill) {
  Feed(Frame(Opcode::kBinary, "x", false));
  for (int i = 0; i < 100; ++i) Feed(Frame(Opcode::kContinuation, "", false));
  EXPECT_EQ(words_.at(1), "error:1008");
}

TEST_P(PartsTest, AnExtensionsMessageIsNoTextYet) {
  Feed(Frame(Opcode::kText, "\xff", false, /*rsv=*/4) + Frame(Opcode::kContinuation, "\xfe"));
  EXPECT_EQ(messages_, "(t4 \xff\xfe)");
}

TEST_P(PartsTest, ItAppliesFromTheNextMessageOn) {
  decoder_.DeliverInParts(false);
  Feed(Frame(Opcode::kText, "a", false));
  decoder_.DeliverInParts(true);
  Feed(Frame(Opcode::kContinuation, "b"));
  EXPECT_EQ(words(), "(ab)");
  Feed(Frame(Opcode::kText, "c", false));
  decoder_.DeliverInParts(false);
  Feed(Frame(Opcode::kContinuation, "d"));
  EXPECT_EQ(words(), "(ab) (c d)");
  Feed(Frame(Opcode::kText, "e", false) + Frame(Opcode::kContinuation, "f"));
  EXPECT_EQ(words(), "(ab) (c d) (ef)");
}

TEST_P(PartsTest, NothingOfAMessageIsKept) {
  Feed(Frame(Opcode::kBinary, "", false));
  const size_t before = decoder_.allocated_bytes();
  for (int i = 0; i < 9; ++i) {
    Feed(Frame(Opcode::kContinuation, std::string(10'000, 'x'), false));
    EXPECT_EQ(decoder_.ReceiveSpace().size(), 0u);
  }
  EXPECT_EQ(decoder_.allocated_bytes(), before);
  EXPECT_LT(before, 512u);
}

// However the bytes are cut, the parts are the messages.
TEST_P(PartsTest, AnyCutGivesTheSameMessages) {
  std::mt19937 random(20261128);
  for (int round = 0; round < 200; ++round) {
    std::string bytes, expected;
    for (int message = 0; message < 5; ++message) {
      const bool text = random() % 2 == 0;
      expected += text ? "(t0 " : "(b0 ";
      const size_t fragments = 1 + random() % 4;
      for (size_t i = 0; i < fragments; ++i) {
        std::string payload;
        for (size_t n = random() % 200; n > 0; --n) payload += text ? "\xc3\xa4" : "\xff\xfe";
        if (payload.empty() && i + 1 < fragments) payload = "z";
        bytes += Frame(i > 0  ? Opcode::kContinuation
                       : text ? Opcode::kText
                              : Opcode::kBinary,
                       payload, i + 1 == fragments);
        expected += payload;
      }
      expected += ")";
    }
    FrameDecoder decoder(options_);
    decoder.DeliverInParts(true);
    messages_.clear();
    for (size_t at = 0; at < bytes.size();) {
      const size_t size = std::min<size_t>(1 + random() % 300, bytes.size() - at);
      std::vector<uint8_t> piece(bytes.begin() + static_cast<ptrdiff_t>(at),
                                 bytes.begin() + static_cast<ptrdiff_t>(at + size));
      FrameDecoder::Input input{piece.data(), piece.data() + size, piece.data()};
      for (Event event = decoder.Next(input); event.kind != Event::kNeedMore;
           event = decoder.Next(input)) {
        ASSERT_NE(event.kind, Event::kError) << event.error;
        Note(event);
      }
      at += size;
    }
    ASSERT_EQ(messages_, expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Roles, PartsTest, testing::Values(Role::kServer, Role::kClient),
                         [](const auto& role) {
                           return role.param == Role::kServer ? "Server" : "Client";
                         });

}  // namespace
}  // namespace sluice::websocket
