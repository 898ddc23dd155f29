#include "sluice/protocols/websocket/decoder.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "gtest/gtest.h"
#include "sluice/core/slice.h"
#include "sluice/protocols/websocket/utf8.h"

namespace sluice::websocket {
namespace {

using Event = FrameDecoder::Event;

// ---- the language of these tests
// ------------------------------------------------------------------
//
// Frames are written as words:  text:Hello  bin:\x01\x02  text+:Hel cont:lo  ping:a  pong
// close:1000:bye
//   +             FIN is not set
//   70000*a       70000 times a
//   rsv4.text:a   with reserved bits        bare.text:a    masked where it must not be, and the
//   reverse long2.text:a  length in 2 or 8 bytes    says9.text:a   announces 9 bytes, whatever
//   follows op11:         an opcode by number       closed:\x03    a close frame with this payload
//   hex:8a00      bytes as they are
// Events likewise:  text:Hello  bin:..  ping:a  pong:  close:1000:bye  close:1005:  error:1002

std::string Payload(absl::string_view text) {
  if (text.empty()) return "";
  std::vector<absl::string_view> parts = absl::StrSplit(text, absl::MaxSplits('*', 1));
  size_t times = 0;
  std::string bytes;
  if (parts.size() == 2 && absl::SimpleAtoi(parts[0], &times)) {
    EXPECT_TRUE(absl::CUnescape(parts[1], &bytes));
    std::string repeated;
    for (size_t i = 0; i < times; ++i) repeated += bytes;
    return repeated;
  }
  EXPECT_TRUE(absl::CUnescape(text, &bytes)) << text;
  return bytes;
}

std::string CloseCodeBytes(int code) {
  return {static_cast<char>(code >> 8), static_cast<char>(code)};
}

class Writer {
 public:
  explicit Writer(Role to) : masked_(to == Role::kServer) {}

  std::string Frame(absl::string_view word) {
    bool masked = masked_;
    int rsv = 0, opcode = 0, form = 0;
    uint64_t says = 0;
    bool has_says = false;
    std::pair<absl::string_view, absl::string_view> kind_and_payload =
        absl::StrSplit(word, absl::MaxSplits(':', 1));
    absl::string_view kind = kind_and_payload.first;
    absl::string_view text = kind_and_payload.second;
    if (kind == "hex") return absl::HexStringToBytes(text);
    while (absl::StrContains(kind, '.')) {
      const std::pair<absl::string_view, absl::string_view> split =
          absl::StrSplit(kind, absl::MaxSplits('.', 1));
      absl::string_view modifier = split.first;
      kind = split.second;
      if (modifier == "bare") {
        masked = !masked;
      } else if (absl::ConsumePrefix(&modifier, "rsv")) {
        EXPECT_TRUE(absl::SimpleAtoi(modifier, &rsv));
      } else if (absl::ConsumePrefix(&modifier, "long")) {
        EXPECT_TRUE(absl::SimpleAtoi(modifier, &form));
      } else if (absl::ConsumePrefix(&modifier, "says")) {
        EXPECT_TRUE(absl::SimpleAtoi(modifier, &says));
        has_says = true;
      } else {
        ADD_FAILURE() << "unknown modifier in " << word;
      }
    }
    const bool fin = !absl::ConsumeSuffix(&kind, "+");
    std::string payload = kind == "close" ? "" : Payload(text);
    if (kind == "text") opcode = 1;
    if (kind == "bin") opcode = 2;
    if (kind == "ping") opcode = 9;
    if (kind == "pong") opcode = 10;
    if (kind == "closed") opcode = 8;
    if (kind == "close") {
      opcode = 8;
      const std::vector<std::string> parts = absl::StrSplit(text, absl::MaxSplits(':', 1));
      int code = 0;
      if (!parts.empty() && absl::SimpleAtoi(parts[0], &code)) {
        payload = CloseCodeBytes(code) + (parts.size() > 1 ? Payload(parts[1]) : "");
      }
    }
    if (absl::ConsumePrefix(&kind, "op")) {
      EXPECT_TRUE(absl::SimpleAtoi(kind, &opcode));
    }
    return Encode(fin, rsv, opcode, masked, form, has_says ? says : payload.size(), payload);
  }

  std::string Frames(absl::string_view script) {
    std::string bytes;
    for (absl::string_view word : absl::StrSplit(script, ' ', absl::SkipEmpty())) {
      bytes += Frame(word);
    }
    return bytes;
  }

 private:
  std::string Encode(bool fin, int rsv, int opcode, bool masked, int form, uint64_t says,
                     std::string payload) {
    if (form == 0) form = says <= 125 ? 1 : says <= 0xffff ? 2 : 8;
    std::string frame;
    frame.push_back(static_cast<char>((fin ? 0x80 : 0) | rsv << 4 | opcode));
    const int code = form == 1 ? static_cast<int>(says) : form == 2 ? 126 : 127;
    frame.push_back(static_cast<char>((masked ? 0x80 : 0) | code));
    for (int i = form - 1; i >= 0 && form > 1; --i) {
      frame.push_back(static_cast<char>(says >> (8 * i)));
    }
    if (masked) {
      char key[4];
      for (char& k : key) k = static_cast<char>(rng_());
      frame.append(key, 4);
      for (size_t i = 0; i < payload.size(); ++i) payload[i] ^= key[i % 4];
    }
    return frame + payload;
  }

  const bool masked_;
  std::mt19937 rng_{1};
};

std::string Show(absl::string_view payload) {
  if (payload.size() > 40 &&
      payload.find_first_not_of(payload.substr(0, 1)) == absl::string_view::npos) {
    return absl::StrCat(payload.size(), "*", absl::CHexEscape(payload.substr(0, 1)));
  }
  return absl::CHexEscape(payload);
}

std::string Show(const Event& event) {
  const int code = static_cast<int>(event.code);
  switch (event.kind) {
    case Event::kNeedMore:
      return "more";
    case Event::kMessage:
      return absl::StrCat(event.rsv ? absl::StrCat("rsv", event.rsv, ".") : "",
                          event.is_text ? "text:" : "bin:", Show(event.text()));
    case Event::kPart:
      return absl::StrCat("part:", Show(event.text()));
    case Event::kPing:
      return absl::StrCat("ping:", Show(event.text()));
    case Event::kPong:
      return absl::StrCat("pong:", Show(event.text()));
    case Event::kClose:
      return absl::StrCat("close:", code, ":", Show(event.text()));
    case Event::kError:
      EXPECT_NE(event.error, nullptr);
      return absl::StrCat("error:", code);
  }
  return "?";
}

// Feeds a decoder and holds it to its word on the way: what it consumes, where payloads lie, what
// may be overwritten.
class Feeder {
 public:
  Feeder(const FrameDecoder::Options& options, uint8_t allowed_rsv)
      : role_(options.role), decoder_(options, allowed_rsv) {}

  // One piece, in memory of its own of exactly its size, behind `slack` bytes that may be
  // overwritten.
  void Feed(absl::string_view piece, size_t slack) {
    std::vector<uint8_t> memory(slack + piece.size(), 0xee);
    std::copy(piece.begin(), piece.end(), memory.begin() + static_cast<ptrdiff_t>(slack));
    uint8_t* const begin = memory.data() + slack;
    FrameDecoder::Input input{begin, begin + piece.size(), memory.data()};
    std::vector<std::pair<const uint8_t*, std::string>> given;
    for (;;) {
      uint8_t* const writable_before = input.writable_from;
      const Event event = decoder_.Next(input);
      EXPECT_LE(input.begin, input.end);
      EXPECT_LE(input.writable_from, input.begin);
      if (event.kind == Event::kNeedMore) {
        EXPECT_EQ(input.begin, input.end) << "it must consume everything";
        break;
      }
      if (event.kind == Event::kError) {
        if (!failed_) log_.push_back(Show(event));
        failed_ = true;
        break;
      }
      EXPECT_FALSE(failed_) << "an error must stay";
      log_.push_back(Show(event));
      if (role_ == Role::kServer) {
        EXPECT_GE(event.room, FrameHeaderBytes(event.size));
      }
      const bool in_input =
          event.payload >= memory.data() && event.payload <= memory.data() + memory.size();
      if (in_input) {
        EXPECT_EQ(event.payload - event.room, writable_before);
        EXPECT_EQ(event.payload + event.size, input.writable_from);
        given.emplace_back(event.payload, std::string(event.text()));
        ++in_place_;
      } else if (event.kind == Event::kMessage) {
        ++gathered_;
      }
      std::memset(event.payload - event.room, 0xdd, event.room);
    }
    for (const auto& [payload, copy] : given) {
      EXPECT_EQ(std::string(reinterpret_cast<const char*>(payload), copy.size()), copy)
          << "a payload changed after it was given out";
    }
  }

  std::string log() const { return absl::StrJoin(log_, " "); }
  bool failed() const { return failed_; }
  FrameDecoder& decoder() { return decoder_; }
  int in_place() const { return in_place_; }
  int gathered() const { return gathered_; }

 private:
  const Role role_;
  FrameDecoder decoder_;
  std::vector<std::string> log_;
  bool failed_ = false;
  int in_place_ = 0;
  int gathered_ = 0;
};

class DecoderTest : public testing::Test {
 protected:
  std::string Frames(absl::string_view script) { return Writer(options.role).Frames(script); }

  std::string Log(absl::string_view bytes, const std::vector<size_t>& cuts, size_t slack) {
    Feeder feeder(options, allowed_rsv);
    size_t at = 0;
    for (size_t cut : cuts) {
      feeder.Feed(bytes.substr(at, cut - at), slack);
      at = cut;
    }
    feeder.Feed(bytes.substr(at), slack);
    if (feeder.failed()) feeder.Feed(Frames("text:more"), slack);  // which must not matter
    return feeder.log();
  }

  // Whole, byte by byte, split at every point (of long ones at the ends and at some), with and
  // without room in front.
  void ExpectBytes(absl::string_view bytes, absl::string_view events) {
    for (size_t slack : {0, 3, 16}) {
      ASSERT_EQ(Log(bytes, {}, slack), events) << "whole, slack " << slack;
      std::vector<size_t> each;
      for (size_t i = 1; i < bytes.size(); ++i) each.push_back(i);
      if (bytes.size() < 2000) {
        ASSERT_EQ(Log(bytes, each, slack), events) << "byte by byte, slack " << slack;
      }
      const size_t step = bytes.size() < 1000 ? 1 : bytes.size() / 61;
      for (size_t i = 1; i < bytes.size(); i += i < 40 || i + 40 > bytes.size() ? 1 : step) {
        ASSERT_EQ(Log(bytes, {i}, slack), events) << "split at " << i << ", slack " << slack;
      }
    }
  }

  void Expect(absl::string_view script, absl::string_view events) {
    SCOPED_TRACE(script);
    ExpectBytes(Frames(script), events);
  }

  FrameDecoder::Options options;
  uint8_t allowed_rsv = 0;
};

class ClientDecoderTest : public DecoderTest {
 protected:
  ClientDecoderTest() { options.role = Role::kClient; }
};

// ---- messages
// ---------------------------------------------------------------------------------------------------------

TEST_F(DecoderTest, HeaderExample) {
  std::string bytes = Frames("text:Hello text:you");
  uint8_t* const begin = reinterpret_cast<uint8_t*>(&bytes[0]);
  uint8_t* const end = begin + bytes.size();
  std::string printed;
  const auto Print = [&](absl::string_view text) { absl::StrAppend(&printed, text, ";"); };
  const auto Fail = [](CloseCode, const char* error) { ADD_FAILURE() << error; };

  FrameDecoder decoder(options);                 // options.role: which end one is
  FrameDecoder::Input input{begin, end, begin};  // what just arrived
  for (;;) {
    FrameDecoder::Event event = decoder.Next(input);
    if (event.kind == FrameDecoder::Event::kNeedMore) break;  // all of the input is consumed
    if (event.kind == FrameDecoder::Event::kError) {
      Fail(event.code, event.error);
      break;
    }
    if (event.kind == FrameDecoder::Event::kMessage) Print(event.text());
  }
  EXPECT_EQ(printed, "Hello;you;");
}

TEST_F(DecoderTest, ExamplesOfRfc6455Section57FromAClient) {
  ExpectBytes(absl::HexStringToBytes("818537fa213d7f9f4d5158"), "text:Hello");
  ExpectBytes(absl::HexStringToBytes("8a8537fa213d7f9f4d5158"), "pong:Hello");
}

TEST_F(ClientDecoderTest, ExamplesOfRfc6455Section57FromAServer) {
  ExpectBytes(absl::HexStringToBytes("810548656c6c6f"), "text:Hello");
  ExpectBytes(absl::HexStringToBytes("010348656c80026c6f"), "text:Hello");
  ExpectBytes(absl::HexStringToBytes("890548656c6c6f"), "ping:Hello");
  ExpectBytes(absl::HexStringToBytes("827e0100") + std::string(256, 'b'), "bin:256*b");
  ExpectBytes(absl::HexStringToBytes("827f0000000000010000") + std::string(65536, 'b'),
              "bin:65536*b");
}

TEST_F(DecoderTest, TextAndBinaryMessagesInOrder) {
  Expect("text:a bin:\\x00\\xff text: bin:", "text:a bin:\\x00\\xff text: bin:");
}

TEST_F(DecoderTest, PayloadsOfEachLengthForm) {
  Expect("bin:125*a text:126*b bin:127*c text:300*d", "bin:125*a text:126*b bin:127*c text:300*d");
  Expect("text:65535*e ping:x", "text:65535*e ping:x");
  Expect("text:65536*f ping:x", "text:65536*f ping:x");
}

TEST_F(DecoderTest, FragmentsMakeOneMessage) {
  Expect("text+:Hel cont+:lo\\x20 cont:you text:next", "text:Hello you text:next");
  Expect("bin+: cont+: cont:", "bin:");
  Expect("bin+:1 cont:", "bin:1");
  Expect("bin+: cont:70000*x", "bin:70000*x");
}

TEST_F(DecoderTest, ControlFramesMayStandBetweenFragments) {
  Expect("text+:a ping:1 cont+:b pong: ping:2 cont:c", "ping:1 pong: ping:2 text:abc");
}

TEST_F(DecoderTest, ControlFramesHaveUpTo125Bytes) {
  Expect("ping:125*p pong:125*q", "ping:125*p pong:125*q");
}

TEST_F(ClientDecoderTest, MessagesFragmentsAndControlFrames) {
  Expect("text:Hello bin:200*z text+:a ping:1 cont:b pong:2 close:1001:",
         "text:Hello bin:200*z ping:1 text:ab pong:2 close:1001:");
}

// ---- errors: RFC 6455 section 5
// ---------------------------------------------------------------------------------------

TEST_F(DecoderTest, Section51UnmaskedFrameFromAClientIsAnError) {
  Expect("text:ok bare.text:Hello", "text:ok error:1002");
  Expect("bare.ping", "error:1002");
}

TEST_F(ClientDecoderTest, Section51MaskedFrameFromAServerIsAnError) {
  Expect("text:ok bare.text:Hello", "text:ok error:1002");
}

TEST_F(DecoderTest, Section52ReservedBitsAreErrorsUnlessNegotiated) {
  for (int rsv = 1; rsv < 8; ++rsv) {
    Expect(absl::StrCat("rsv", rsv, ".text:a"), "error:1002");
    Expect(absl::StrCat("rsv", rsv, ".ping:a"), "error:1002");
  }
}

TEST_F(DecoderTest, AllowedReservedBitsAreToldAndLeaveTextUnchecked) {
  allowed_rsv = 4;
  Expect("rsv4.text:\\xff text:a rsv4.bin+:b cont:c", "rsv4.text:\\xff text:a rsv4.bin:bc");
  Expect("rsv4.text+:\\xff cont:\\xff", "rsv4.text:\\xff\\xff");
  Expect("rsv2.text:a", "error:1002");
  Expect("rsv6.text:a", "error:1002");
}

TEST_F(DecoderTest, AllowedReservedBitsStandOnlyOnTheFirstFrameOfAMessage) {
  allowed_rsv = 4;
  Expect("rsv4.text+:a rsv4.cont:b", "error:1002");
  Expect("rsv4.ping:", "error:1002");
}

TEST_F(DecoderTest, Section52ReservedOpcodesAreErrors) {
  for (int opcode : {3, 4, 5, 6, 7, 11, 12, 13, 14, 15}) {
    Expect(absl::StrCat("op", opcode, ":a"), "error:1002");
    Expect(absl::StrCat("op", opcode, "+:a"), "error:1002");
  }
}

TEST_F(DecoderTest, Section52LengthMustBeInItsShortestForm) {
  Expect("long2.text:a", "error:1002");
  Expect("long2.text:125*a", "error:1002");
  Expect("long8.text:a", "error:1002");
  Expect("long8.text:65535*a", "error:1002");
  Expect("long2.text:126*a", "text:126*a");
}

TEST_F(DecoderTest, Section52LengthWithItsTopBitSetIsAnError) {
  Expect("says9223372036854775808.bin:a", "error:1002");
  Expect("says18446744073709551615.bin:a", "error:1002");
  Expect("says9223372036854775807.bin:a", "error:1009");
}

TEST_F(DecoderTest, Section54ContinuationOfNothingIsAnError) {
  Expect("cont:a", "error:1002");
  Expect("cont+:a", "error:1002");
  Expect("text+:a cont:b cont:c", "text:ab error:1002");
}

TEST_F(DecoderTest, Section54MessageWithinAFragmentedMessageIsAnError) {
  Expect("text+:a text:b", "error:1002");
  Expect("text+:a ping: bin+:b", "ping: error:1002");
}

TEST_F(DecoderTest, Section55FragmentedControlFrameIsAnError) {
  Expect("ping+:a", "error:1002");
  Expect("close+:1000:", "error:1002");
}

TEST_F(DecoderTest, Section55ControlFrameOver125BytesIsAnError) {
  Expect("ping:126*a", "error:1002");
  Expect("long2.ping:a", "error:1002");
  Expect("says70000.pong:", "error:1002");
}

TEST_F(DecoderTest, Section551CloseWithAndWithoutCodeAndReason) {
  Expect("close", "close:1005:");
  Expect("close:1000:", "close:1000:");
  Expect("close:1001:going", "close:1001:going");
  Expect("close:4999:123*r", "close:4999:123*r");
}

TEST_F(DecoderTest, Section551NothingIsReadAfterAClose) {
  Expect("close:1000: text:a op15:a", "close:1000:");
}

TEST_F(DecoderTest, Section551CloseOfOneByteIsAnError) { Expect("closed:\\x03", "error:1002"); }

TEST_F(DecoderTest, Section551CloseReasonMustBeUtf8) {
  Expect("close:1000:caf\\xc3\\xa9", "close:1000:caf\\xc3\\xa9");
  Expect("close:1000:caf\\xc3", "error:1007");
  Expect("close:1000:\\xed\\xa0\\x80", "error:1007");
}

TEST_F(DecoderTest, Section74CloseCodesThatMayNotBeSentAreErrors) {
  for (int code : {0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535}) {
    Expect(absl::StrCat("close:", code, ":"), "error:1002");
  }
  for (int code : {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000,
                   3999, 4000, 4999}) {
    Expect(absl::StrCat("close:", code, ":"), absl::StrCat("close:", code, ":"));
  }
}

// ---- text
// ---------------------------------------------------------------------------------------------------------------

TEST_F(DecoderTest, Section81TextMustBeUtf8) {
  Expect("text:\\xce\\xba\\xe1\\xbd\\xb9", "text:\\xce\\xba\\xe1\\xbd\\xb9");
  Expect("text:a\\xff", "error:1007");
  Expect("text:\\xed\\xa0\\x80", "error:1007");
  Expect("text:caf\\xc3", "error:1007");
  Expect("bin:\\xff\\xfe", "bin:\\xff\\xfe");
  Expect("text:100*\\xc3\\xa9", absl::StrCat("text:", absl::CHexEscape(Payload("100*\\xc3\\xa9"))));
}

TEST_F(DecoderTest, Section56CharactersMayBeSplitBetweenFragments) {
  Expect("text+:\\xf0\\x9f cont+: cont+:\\x99 ping:x cont:\\x82",
         "ping:x text:\\xf0\\x9f\\x99\\x82");
  Expect("text+:\\xf0\\x9f cont:a", "error:1007");
  Expect("text+:\\xf0\\x9f cont:", "error:1007");
}

TEST_F(DecoderTest, Section81BadTextFailsBeforeTheMessageIsComplete) {
  Expect("text+:ok\\xed ping:1 cont+:\\xa0", "ping:1 error:1007");
  // Announces 100 bytes; the third of those that came can follow nothing.
  Expect("says100.text:ab\\xff", "error:1007");
  Expect("says100.text:ab\\xf4\\x90", "error:1007");
  Expect("says100.text:ab\\xf4\\x8f", "");
}

// ---- limits
// -------------------------------------------------------------------------------------------------------------

TEST_F(DecoderTest, MessageOverTheLimitIsRefusedByItsHeader) {
  options.max_message_bytes = 1000;
  Expect("bin:1000*a says1001.bin:", "bin:1000*a error:1009");
}

TEST_F(DecoderTest, FragmentsTogetherStayUnderTheLimit) {
  options.max_message_bytes = 1000;
  Expect("bin+:400*a cont+:500*a cont:100*a", "bin:1000*a");
  Expect("bin+:400*a cont+:500*a says101.cont:", "error:1009");
}

// 1000 / 512 + 64 more.
TEST_F(DecoderTest, AnExtensionsMessageMayBeALittleLarger) {
  options.max_message_bytes = 1000;
  allowed_rsv = 4;
  Expect("rsv4.bin:1065*a rsv4.says1066.bin:", "rsv4.bin:1065*a error:1009");
  Expect("rsv4.bin+:1000*a cont:65*a rsv4.bin+:1000*a says66.cont:", "rsv4.bin:1065*a error:1009");
  Expect("bin:1000*a says1001.bin:", "bin:1000*a error:1009");
  options.max_message_bytes = ~uint64_t{0};
  Expect("rsv4.bin:10*a", "rsv4.bin:aaaaaaaaaa");
}

TEST_F(DecoderTest, FrameOverItsLimitIsRefusedByItsHeader) {
  options.max_frame_bytes = 300;
  Expect("bin+:300*a cont:300*a says301.bin:", "bin:600*a error:1009");
}

TEST_F(DecoderTest, ControlFramesAreNotMeasuredByTheLimitOfMessages) {
  options.max_message_bytes = 10;
  Expect("text+:10*a ping:100*b cont:", "ping:100*b text:aaaaaaaaaa");
}

TEST_F(DecoderTest, TooManyEmptyFragmentsAreRefused) {
  options.max_empty_fragments = 3;
  Expect("bin+: cont+: cont+:x cont+: cont:", "bin:x");
  Expect("bin+: cont+: cont+: cont:y bin+: cont+: cont+: cont:z", "bin:y bin:z");
  Expect("bin+: cont+: cont+: ping:1 cont+:", "ping:1 error:1008");
}

TEST_F(DecoderTest, ADefaultDecoderTakesAMebibyteAndNoMore) {
  const std::string bytes = Frames("bin:1048576*a says1048577.bin:");
  EXPECT_EQ(Log(bytes, {}, 0), "bin:1048576*a error:1009");
  EXPECT_EQ(Log(bytes, {7, 500000}, 0), "bin:1048576*a error:1009");
}

// ---- memory
// -------------------------------------------------------------------------------------------------------------

TEST_F(DecoderTest, IsSmallAndHoldsNoHeapWhenIdle) {
  EXPECT_LE(sizeof(FrameDecoder), 32u);
  Feeder feeder(options, 0);
  feeder.Feed(Frames("text:a bin+:b cont:c ping:d says100.bin:xyz"), 0);
  EXPECT_GT(feeder.decoder().allocated_bytes(), 0u);
  EXPECT_FALSE(feeder.decoder().idle());
  feeder.Feed(std::string(97, 'x'), 0);
  EXPECT_TRUE(feeder.decoder().idle());
  EXPECT_EQ(feeder.decoder().allocated_bytes(), 0u);
}

TEST_F(DecoderTest, AnIncompleteHeaderNeedsNoHeap) {
  const std::string frame = Frames("bin:70000*a");
  for (size_t n = 1; n < 14; ++n) {
    Feeder feeder(options, 0);
    feeder.Feed(frame.substr(0, n), 0);
    EXPECT_EQ(feeder.decoder().allocated_bytes(), 0u);
    EXPECT_FALSE(feeder.decoder().idle());
  }
}

TEST_F(DecoderTest, AnnouncingMuchAndSendingLittleCostsLittle) {
  options.max_message_bytes = uint64_t{1} << 40;
  Feeder feeder(options, 0);
  feeder.Feed(Frames("says1000000000000.bin:abc"), 0);
  EXPECT_LE(feeder.decoder().allocated_bytes(), 289u * 1024);
  size_t sent = 3;
  const std::string more(50000, 'x');
  for (int i = 0; i < 100; ++i) {
    feeder.Feed(more, 0);
    sent += more.size();
    EXPECT_LE(feeder.decoder().allocated_bytes(),
              std::max<size_t>(289 * 1024, sent * 9 / 2 + 1024));
  }
}

TEST_F(DecoderTest, AMessageOfRoundSizeGetsItsMemoryWhenAQuarterIsThere) {
  Feeder feeder(options, 0);
  feeder.Feed(Frames("says1048576.bin:240000*a"), 0);
  EXPECT_GE(feeder.decoder().allocated_bytes(), 900'000u);
  feeder.Feed(std::string(1048576 - 240000, 'a'), 0);
  EXPECT_TRUE(feeder.decoder().idle());
}

TEST_F(DecoderTest, SmallSizesAreAllocatedAsAnnounced) {
  Feeder feeder(options, 0);
  feeder.Feed(Frames("says1000.bin:abc"), 0);
  // What the thread's pool has may be an eighth larger.
  EXPECT_LE(feeder.decoder().allocated_bytes(), 1000u * 9 / 8 + 256);
}

TEST_F(DecoderTest, ManySmallFragmentsAreGatheredInLinearTime) {
  std::string script = "bin+:a";
  for (int i = 0; i < 50000; ++i) script += " cont+:64*a";
  options.max_message_bytes = 4 << 20;
  Feeder feeder(options, 0);
  const std::string bytes = Frames(script + " cont:");
  for (size_t at = 0; at < bytes.size(); at += 65536) feeder.Feed(bytes.substr(at, 65536), 0);
  EXPECT_EQ(feeder.log(), "bin:3200001*a");
}

TEST_F(DecoderTest, ErrorsFreeWhatWasGathered) {
  for (absl::string_view script : {"text+:abc cont+:\\xff", "text+:abc text:d",
                                   "text+:abc\\xe2 cont:", "text+:abc closed:a"}) {
    Feeder feeder(options, 0);
    feeder.Feed(Frames(script), 0);
    EXPECT_TRUE(feeder.failed());
    EXPECT_EQ(feeder.decoder().allocated_bytes(), 0u);
  }
}

// ---- in place
// -----------------------------------------------------------------------------------------------------------

TEST_F(DecoderTest, WholeMessagesAreDecodedInPlace) {
  Feeder feeder(options, 0);
  feeder.Feed(Frames("text:a bin:300*b ping:c text:70000*d"), 0);
  EXPECT_EQ(feeder.in_place(), 4);
  EXPECT_EQ(feeder.gathered(), 0);
}

TEST_F(DecoderTest, AHeaderThatCameBeforeIsNoObstacleWhereThereIsRoomInFront) {
  const std::string frame = Frames("text:70000*a");
  for (size_t n = 1; n < 14; ++n) {
    Feeder feeder(options, 0);
    feeder.Feed(frame.substr(0, n), 16);
    feeder.Feed(frame.substr(n), 16);
    EXPECT_EQ(feeder.in_place(), 1) << n;
  }
}

TEST_F(ClientDecoderTest, PayloadsStayWhereTheyAre) {
  std::string bytes = Frames("text:abc bin:200*x");
  const std::string before = bytes;
  uint8_t* const begin = reinterpret_cast<uint8_t*>(&bytes[0]);
  FrameDecoder decoder(options);
  FrameDecoder::Input input{begin, begin + bytes.size(), begin};
  EXPECT_EQ(decoder.Next(input).payload, begin + 2);
  EXPECT_EQ(decoder.Next(input).payload, begin + 5 + 4);
  EXPECT_EQ(decoder.Next(input).kind, Event::kNeedMore);
  EXPECT_EQ(bytes, before);
}

TEST_F(DecoderTest, AnEchoOfABurstIsOneRange) {
  const std::string script = "text:Hello bin:200*x text: bin:70000*y text:you";
  for (size_t slack : {0, 16}) {
    std::string memory = std::string(slack, '.') + Frames(script);
    uint8_t* const start = reinterpret_cast<uint8_t*>(&memory[0]);
    FrameDecoder decoder(options);
    FrameDecoder::Input input{start + slack, start + memory.size(), start};
    for (;;) {
      const Event event = decoder.Next(input);
      if (event.kind == Event::kNeedMore) break;
      ASSERT_EQ(event.kind, Event::kMessage);
      EncodeFrameHeader(
          {.opcode = event.is_text ? Opcode::kText : Opcode::kBinary, .payload_bytes = event.size},
          event.payload - FrameHeaderBytes(event.size));
    }
    const std::string echoed(start, input.writable_from);
    EXPECT_EQ(echoed, Writer(Role::kClient).Frames(script));
  }
}

TEST_F(DecoderTest, StorageOfAGatheredMessageCanBeTaken) {
  const std::string frame = Frames("bin:5000*a");
  FrameDecoder decoder(options);
  std::string part1 = frame.substr(0, 100), part2 = frame.substr(100) + Frames("text:next");
  const auto input_of = [](std::string& s) {
    uint8_t* const p = reinterpret_cast<uint8_t*>(&s[0]);
    return FrameDecoder::Input{p, p + s.size(), p};
  };
  FrameDecoder::Input input1 = input_of(part1), input2 = input_of(part2);
  EXPECT_EQ(decoder.Next(input1).kind, Event::kNeedMore);
  EXPECT_EQ(decoder.TakeStorage(), nullptr) << "it is not complete";
  const Event event = decoder.Next(input2);
  EXPECT_EQ(Show(event), "bin:5000*a");
  const BlockPtr storage = decoder.TakeStorage();
  EXPECT_NE(storage, nullptr);
  EXPECT_EQ(decoder.TakeStorage(), nullptr);
  EXPECT_EQ(decoder.allocated_bytes(), 0u);
  EXPECT_EQ(Show(decoder.Next(input2)), "text:next");
  EXPECT_EQ(decoder.TakeStorage(), nullptr) << "that one lies in the input";
  EXPECT_EQ(Show(event), "bin:5000*a");
}

TEST_F(DecoderTest, ALongRestIsDecodedInItsPlace) {
  for (const Role role : {Role::kServer, Role::kClient}) {
    options.role = role;
    for (const char* script : {"bin:1000000*a", "text:1000000*a"}) {
      const std::string frame = Frames(script);
      FrameDecoder decoder(options);
      size_t at = 5000;
      std::string part = frame.substr(0, at);
      uint8_t* const p = reinterpret_cast<uint8_t*>(&part[0]);
      FrameDecoder::Input input{p, p + at, p};
      ASSERT_EQ(decoder.Next(input).kind, Event::kNeedMore);
      int spaces = 0;
      Event event;
      while (event.kind == Event::kNeedMore) {
        const absl::Span<uint8_t> space = decoder.ReceiveSpace();
        ASSERT_FALSE(space.empty());
        ASSERT_LE(space.size(), frame.size() - at);
        ASSERT_LE(decoder.allocated_bytes(), std::max<size_t>(289 * 1024, at * 9 / 2 + 1024));
        frame.copy(reinterpret_cast<char*>(space.data()), space.size(), at);
        at += space.size();
        ++spaces;
        FrameDecoder::Input rest{space.data(), space.data() + space.size(), space.data()};
        event = decoder.Next(rest);
      }
      EXPECT_EQ(Show(event), script);
      EXPECT_EQ(at, frame.size());
      EXPECT_EQ(spaces, 2);
      EXPECT_TRUE(decoder.ReceiveSpace().empty());
    }
  }
}

TEST_F(DecoderTest, AShortRestHasNoPlaceOfItsOwn) {
  FrameDecoder decoder(options);
  for (const size_t missing : {size_t{0}, size_t{30'000}}) {
    std::string frame = Frames("bin:200000*a");
    frame.resize(frame.size() - missing);
    uint8_t* const p = reinterpret_cast<uint8_t*>(&frame[0]);
    FrameDecoder::Input input{p, p + frame.size(), p};
    decoder.Next(input);
    EXPECT_TRUE(decoder.ReceiveSpace().empty()) << missing;
  }
}

TEST_F(DecoderTest, AnEmptyInputGivesNothing) {
  FrameDecoder decoder(options);
  FrameDecoder::Input input{nullptr, nullptr, nullptr};
  EXPECT_EQ(decoder.Next(input).kind, Event::kNeedMore);
  EXPECT_TRUE(decoder.idle());
}

// ---- at random
// ----------------------------------------------------------------------------------------------------------

// A plain decoder for a server with the default limits: looks at the whole stream, copies
// everything.
std::string ReferenceLog(absl::string_view s) {
  std::vector<std::string> log;
  std::string message;
  int message_opcode = -1, empty = 0;
  Utf8Validator utf8;
  const auto done = [&](absl::string_view last) {
    if (!last.empty()) log.emplace_back(last);
    return absl::StrJoin(log, " ");
  };
  for (;;) {
    const auto byte = [&](size_t i) { return static_cast<uint8_t>(s[i]); };
    if (s.size() < 2) return done("");
    const bool fin = byte(0) & 0x80;
    const int opcode = byte(0) & 15;
    if (byte(0) & 0x70) return done("error:1002");
    if (!(byte(1) & 0x80)) return done("error:1002");
    uint64_t length = byte(1) & 0x7f;
    const bool control = opcode >= 8;
    if (opcode > 10 || (opcode > 2 && !control)) return done("error:1002");
    if (control && (!fin || length > 125)) return done("error:1002");
    if (!control && (opcode == 0) != (message_opcode >= 0)) return done("error:1002");
    const size_t extra = length == 126 ? 2 : length == 127 ? 8 : 0;
    if (s.size() < 2 + extra + 4) return done("");
    if (extra > 0) {
      length = 0;
      for (size_t i = 0; i < extra; ++i) length = length << 8 | byte(2 + i);
      if (length <= (extra == 2 ? 125u : 0xffffu) || length >> 63) return done("error:1002");
    }
    if (!control && length + message.size() > (1u << 20)) return done("error:1009");
    const absl::string_view key = s.substr(2 + extra, 4);
    s.remove_prefix(2 + extra + 4);
    std::string payload(s.substr(0, std::min<uint64_t>(length, s.size())));
    for (size_t i = 0; i < payload.size(); ++i) payload[i] ^= key[i % 4];
    s.remove_prefix(payload.size());
    const bool whole = payload.size() == length;
    if (control) {
      if (!whole) return done("");
      if (opcode == 9) log.push_back("ping:" + Show(payload));
      if (opcode == 10) log.push_back("pong:" + Show(payload));
      if (opcode != 8) continue;
      if (length == 0) return done("close:1005:");
      if (length == 1) return done("error:1002");
      const int code = static_cast<uint8_t>(payload[0]) << 8 | static_cast<uint8_t>(payload[1]);
      if (!MayBeSent(static_cast<uint16_t>(code))) return done("error:1002");
      if (!IsValidUtf8(payload.substr(2))) return done("error:1007");
      return done(absl::StrCat("close:", code, ":", Show(payload.substr(2))));
    }
    if (opcode != 0) {
      message_opcode = opcode;
      utf8 = Utf8Validator();
      empty = 0;
    }
    if (!fin && length == 0 && ++empty > 64) return done("error:1008");
    message += payload;
    if (message_opcode == 1 &&
        !utf8.Update(reinterpret_cast<const uint8_t*>(payload.data()), payload.size())) {
      return done("error:1007");
    }
    if (!whole) return done("");
    if (!fin) continue;
    if (message_opcode == 1 && !utf8.complete()) return done("error:1007");
    log.push_back((message_opcode == 1 ? "text:" : "bin:") + Show(message));
    message.clear();
    message_opcode = -1;
  }
}

std::string RandomScript(std::mt19937& rng) {
  static constexpr absl::string_view kText[] = {
      "", "a", "Hello", "\\xc3\\xa9", "\\xe2\\x82\\xac", "130*x", "20*\\xf0\\x9f\\x99\\x82"};
  static constexpr absl::string_view kControl[] = {"ping:", "ping:abc", "pong:x", "ping:125*z"};
  std::string script;
  const int messages = 1 + static_cast<int>(rng() % 5);
  for (int m = 0; m < messages; ++m) {
    const bool text = rng() % 2;
    const int fragments = rng() % 3 == 0 ? 1 + static_cast<int>(rng() % 4) : 1;
    for (int f = 0; f < fragments; ++f) {
      if (rng() % 4 == 0) absl::StrAppend(&script, " ", kControl[rng() % std::size(kControl)]);
      absl::StrAppend(&script,
                      f > 0  ? " cont"
                      : text ? " text"
                             : " bin",
                      f + 1 < fragments ? "+:" : ":", kText[rng() % std::size(kText)]);
    }
  }
  if (rng() % 8 == 0) absl::StrAppend(&script, " close:1000:bye");
  return script;
}

std::vector<size_t> RandomCuts(size_t size, std::mt19937& rng) {
  std::vector<size_t> cuts;
  const size_t most = 1 + rng() % 40;
  for (size_t at = rng() % most; at < size; at += 1 + rng() % most) cuts.push_back(at);
  return cuts;
}

TEST_F(DecoderTest, RandomMessagesComeBackHoweverTheyAreCut) {
  std::mt19937 rng(11);
  for (int round = 0; round < 600; ++round) {
    const std::string bytes = Frames(RandomScript(rng));
    const std::string expected = ReferenceLog(bytes);
    ASSERT_FALSE(absl::StrContains(expected, "error")) << expected;
    for (int cut = 0; cut < 4; ++cut) {
      ASSERT_EQ(Log(bytes, RandomCuts(bytes.size(), rng), rng() % 20), expected);
    }
  }
}

TEST_F(DecoderTest, DamagedStreamsGiveWhatAPlainDecoderGivesHoweverTheyAreCut) {
  std::mt19937 rng(12);
  int errors = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = Frames(RandomScript(rng));
    for (uint32_t i = 1 + rng() % 3; i > 0; --i) {
      const size_t at = rng() % bytes.size();
      switch (rng() % 4) {
        case 0:
          bytes[at] = static_cast<char>(bytes[at] ^ 1 << rng() % 8);
          break;
        case 1:
          bytes[at] = static_cast<char>(rng());
          break;
        case 2:
          bytes.erase(at, 1 + rng() % 3);
          break;
        case 3:
          bytes.insert(at, 1, static_cast<char>(rng()));
          break;
      }
      if (bytes.empty()) bytes = "x";
    }
    const std::string expected = ReferenceLog(bytes);
    errors += absl::StrContains(expected, "error");
    ASSERT_EQ(Log(bytes, {}, 0), expected) << absl::BytesToHexString(bytes);
    ASSERT_EQ(Log(bytes, RandomCuts(bytes.size(), rng), rng() % 20), expected)
        << absl::BytesToHexString(bytes);
  }
  EXPECT_GT(errors, 1000);
}

}  // namespace
}  // namespace sluice::websocket
