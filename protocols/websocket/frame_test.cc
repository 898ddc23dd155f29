#include "sluice/protocols/websocket/frame.h"

#include <cstring>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "sluice/protocols/websocket/mask_key.h"

namespace sluice::websocket {
namespace {

std::string HexOf(const FrameHeader& header) {
  uint8_t out[kMaxFrameHeaderBytes];
  const size_t n = EncodeFrameHeader(header, out);
  EXPECT_EQ(n, FrameHeaderBytes(header.payload_bytes, header.masked));
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(out), n));
}

TEST(FrameTest, HeaderExample) {
  uint8_t frame[kMaxFrameHeaderBytes + 5];
  size_t n = EncodeFrameHeader({.opcode = Opcode::kText, .payload_bytes = 5}, frame);
  std::memcpy(frame + n, "Hello", 5);
  EXPECT_EQ(absl::BytesToHexString(absl::string_view(reinterpret_cast<char*>(frame), n + 5)),
            "810548656c6c6f");  // RFC 6455 section 5.7
}

TEST(FrameTest, LengthTakesTheShortestFormThatHoldsIt) {
  EXPECT_EQ(HexOf({.payload_bytes = 0}), "8200");
  EXPECT_EQ(HexOf({.payload_bytes = 125}), "827d");
  EXPECT_EQ(HexOf({.payload_bytes = 126}), "827e007e");
  EXPECT_EQ(HexOf({.payload_bytes = 256}), "827e0100");
  EXPECT_EQ(HexOf({.payload_bytes = 65535}), "827effff");
  EXPECT_EQ(HexOf({.payload_bytes = 65536}), "827f0000000000010000");
  EXPECT_EQ(HexOf({.payload_bytes = 0x0123456789abcdef}), "827f0123456789abcdef");
}

TEST(FrameTest, MaskedHeaderEndsWithTheKey) {
  uint32_t key;
  std::memcpy(&key, "\x37\xfa\x21\x3d", 4);
  EXPECT_EQ(HexOf({.opcode = Opcode::kText, .masked = true, .mask_key = key, .payload_bytes = 5}),
            "818537fa213d");
  EXPECT_EQ(HexOf({.masked = true, .mask_key = key, .payload_bytes = 256}), "82fe010037fa213d");
  EXPECT_EQ(HexOf({.masked = true, .mask_key = key, .payload_bytes = 65536}),
            "82ff000000000001000037fa213d");
}

TEST(FrameTest, FirstByteHasFinReservedBitsAndOpcode) {
  EXPECT_EQ(HexOf({.opcode = Opcode::kText, .fin = false}), "0100");
  EXPECT_EQ(HexOf({.opcode = Opcode::kContinuation}), "8000");
  EXPECT_EQ(HexOf({.opcode = Opcode::kText, .rsv = 4}), "c100");
  EXPECT_EQ(HexOf({.opcode = Opcode::kPing, .payload_bytes = 125}), "897d");
  EXPECT_EQ(HexOf({.opcode = Opcode::kClose}), "8800");
}

TEST(MaskKeyTest, KeysDifferFromOneAnotherAndBetweenThreads) {
  std::vector<uint32_t> first, second;
  const auto draw = [](std::vector<uint32_t>& keys) {
    for (int i = 0; i < 1000; ++i) keys.push_back(NextMaskKey());
  };
  std::thread other(draw, std::ref(second));
  draw(first);
  other.join();
  std::set<uint32_t> all(first.begin(), first.end());
  all.insert(second.begin(), second.end());
  // Two in 2000 random ones are the same once in two thousand runs; four, never.
  EXPECT_GE(all.size(), 1997u);
}

}  // namespace
}  // namespace sluice::websocket
