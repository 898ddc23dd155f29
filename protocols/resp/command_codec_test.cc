#include "sluice/protocols/resp/command_codec.h"

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/buffer.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/codec/codec_testing.h"

namespace sluice::resp {
namespace {

using namespace std::string_literals;  // NOLINT: bytes with zeros in them
using ::testing::ElementsAre;
using ::testing::HasSubstr;

static_assert(EncoderOf<CommandCodec, Command>);
static_assert(EncoderOf<CommandCodec, Arguments>);
static_assert(EncoderOf<CommandCodec, Value>);

using Words = std::vector<std::string>;

CommandCodec Make(const CommandOptions& options) {
  absl::StatusOr<CommandCodec> codec = CommandCodec::Create(options);
  EXPECT_TRUE(codec.ok()) << codec.status();
  return codec.ok() ? *codec : CommandCodec();
}

// The limits of the tests: small.
CommandCodec Small() {
  return Make({.max_bulk_bytes = 100, .max_arguments = 5, .max_frame_bytes = 400});
}

// A codec with these bytes in it, which were cut in every way on the way there.
codec_testing::Feeder<CommandCodec> Fed(const CommandCodec& fresh, absl::string_view bytes,
                                        std::vector<Words>& commands) {
  codec_testing::DecodeEveryWay(fresh, bytes);
  codec_testing::Feeder<CommandCodec> feeder(fresh);
  feeder.set_on_message(
      [&](const Command& command) { commands.emplace_back(command.begin(), command.end()); });
  feeder.Feed(bytes);
  return feeder;
}

std::vector<Words> Commands(absl::string_view bytes) {
  std::vector<Words> commands;
  const auto feeder = Fed(CommandCodec(), bytes, commands);
  EXPECT_EQ(feeder.codec().status(), absl::OkStatus());
  EXPECT_EQ(feeder.decoded().unfinished, 0u);
  return commands;
}

// What a server would answer to bytes that are wrong.
std::string ErrorReply(absl::string_view bytes, const CommandCodec& codec = Small()) {
  std::vector<Words> commands;
  const auto feeder = Fed(codec, bytes, commands);
  EXPECT_TRUE(feeder.failed());
  return feeder.codec().error_reply();
}

std::string ErrorText(absl::string_view bytes) {
  std::vector<Words> commands;
  return std::string(Fed(Small(), bytes, commands).codec().status().message());
}

absl::Span<uint8_t> AsSpan(std::string& bytes) {
  return absl::MakeSpan(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size());
}

TEST(CommandCodecTest, HeaderExample) {
  std::string bytes = "*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n";
  const absl::Span<uint8_t> in = AsSpan(bytes);
  Buffer out;
  sluice::resp::CommandCodec codec;
  sluice::resp::Command command;
  EXPECT_EQ(codec.Decode(in, command), DecodeResult::Message(bytes.size()));
  EXPECT_EQ(command.size(), 2u);
  EXPECT_EQ(command[1], "hi");
  EXPECT_EQ(command[1].data(), bytes.data() + 18);
  codec.Encode([&](auto& reply) { reply.BulkString(command[1]); }, out);
  EXPECT_EQ(out.ToString(), "$2\r\nhi\r\n");
}

TEST(CommandCodecTest, DecodesArraysOfBulkStrings) {
  EXPECT_THAT(Commands("*1\r\n$4\r\nPING\r\n"), ElementsAre(Words{"PING"}));
  EXPECT_THAT(Commands("*3\r\n$3\r\nSET\r\n$0\r\n\r\n$4\r\n\r\n\0x\r\n"s),
              ElementsAre(Words{"SET", "", "\r\n\0x"s}));
  EXPECT_THAT(Commands("*1\r\n$1\r\na\r\n*2\r\n$1\r\nb\r\n$1\r\nc\r\nd\r\n"),
              ElementsAre(Words{"a"}, Words{"b", "c"}, Words{"d"}));
}

TEST(CommandCodecTest, SkipsWhatIsNoCommand) {
  EXPECT_THAT(Commands("*0\r\n*-1\r\n\r\n\n  \t\r\n*1\r\n$1\r\na\r\n"), ElementsAre(Words{"a"}));
}

TEST(CommandCodecTest, SplitsInlineCommandsAsRedisDoes) {
  EXPECT_THAT(Commands("PING\r\n"), ElementsAre(Words{"PING"}));
  EXPECT_THAT(Commands("  get \t k\n"), ElementsAre(Words{"get", "k"}));
  EXPECT_THAT(Commands("set k \"a b\"\r\n"), ElementsAre(Words{"set", "k", "a b"}));
  EXPECT_THAT(Commands("e \"\\x41\\n\\r\\t\\b\\a\\\\\\\"\\q\"\r\n"),
              ElementsAre(Words{"e", "A\n\r\t\b\a\\\"q"}));
  EXPECT_THAT(Commands("e \"\\x4\" \"\\xzz\"\n"), ElementsAre(Words{"e", "x4", "xzz"}));
  EXPECT_THAT(Commands("e '\\n' 'it\\'s' ''\n"), ElementsAre(Words{"e", "\\n", "it's", ""}));
  EXPECT_THAT(Commands("foo\"bar\" a'b'\n"), ElementsAre(Words{"foobar", "ab"}));
  EXPECT_THAT(Commands("e \"it's\" '\"'\n"), ElementsAre(Words{"e", "it's", "\""}));
  EXPECT_THAT(Commands("e a\rb\n"), ElementsAre(Words{"e", "a", "b"}));
  // Redis stops at a NUL, for reasons of C.
  EXPECT_THAT(Commands("e a\0b\n"s), ElementsAre(Words{"e", "a\0b"s}));
}

TEST(CommandCodecTest, RefusesUnbalancedQuotesInRedissWords) {
  for (const char* const line :
       {"e \"abc\n", "e 'abc\n", "e \"a\"b\n", "e 'a'b\n", "e \"a\\\n", "e \"a\"\"b\"\n", "\"\n"}) {
    EXPECT_EQ(ErrorReply(line), "ERR Protocol error: unbalanced quotes in request") << line;
  }
}

TEST(CommandCodecTest, RefusesWhatRedisRefusesInItsWords) {
  for (const char* const count :
       {"*x", "*", "*+1", "*01", "*-0", "*1x", "*1\n", "*99999999999999999999",
        "*9223372036854775808", "*6", "* 1", "*-"}) {
    EXPECT_EQ(ErrorReply(absl::StrCat(count, "\r\n")),
              "ERR Protocol error: invalid multibulk length")
        << count;
  }
  for (const char* const length :
       {"$x", "$", "$-1", "$-5", "$01", "$101", "$9223372036854775807"}) {
    EXPECT_EQ(ErrorReply(absl::StrCat("*2\r\n", length, "\r\n")),
              "ERR Protocol error: invalid bulk length")
        << length;
  }
  EXPECT_EQ(ErrorReply("*1\r\n:1\r\n"), "ERR Protocol error: expected '$', got ':'");
  EXPECT_EQ(ErrorReply("*2\r\n$1\r\na\r\n*1\r\n"), "ERR Protocol error: expected '$', got '*'");
  EXPECT_EQ(ErrorReply("*1\r\n$1\r\nabc\r\n"),
            "ERR Protocol error: expected CRLF behind a bulk string");
  EXPECT_EQ(ErrorReply("*1\r\n$1\r\na\n\r"),
            "ERR Protocol error: expected CRLF behind a bulk string");
}

TEST(CommandCodecTest, NamesTheLimitsThatAreBroken) {
  EXPECT_EQ(ErrorText("*6\r\n"), "a command of 6 arguments is over the limit of 5 (max_arguments)");
  EXPECT_EQ(ErrorText("*1\r\n$101\r\n"),
            "an argument of 101 bytes is over the limit of 100 (max_bulk_bytes)");
  EXPECT_THAT(ErrorText("a b c d e f\r\n"), HasSubstr("more than 5 words (max_arguments)"));
  EXPECT_THAT(ErrorText(std::string(101, 'x') + "\r\n"), HasSubstr("100 bytes (max_bulk_bytes)"));
  const std::string argument = "$100\r\n" + std::string(100, 'x') + "\r\n";
  EXPECT_EQ(ErrorText("*4\r\n" + argument + argument + argument + argument),
            "a command is over the limit of 400 (max_frame_bytes)");
  EXPECT_EQ(ErrorText(std::string(400, 'x')),
            "a command is over the limit of 400 (max_frame_bytes)");
}

TEST(CommandCodecTest, AFrameThatIsJustAsLongAsTheLimitIsDecoded) {
  const auto frame = [](size_t last) {
    const std::string argument = "$100\r\n" + std::string(100, 'x') + "\r\n";
    return absl::StrCat("*4\r\n", argument, argument, argument, "$", last, "\r\n",
                        std::string(last, 'y'), "\r\n");
  };
  ASSERT_EQ(frame(65).size(), 400u);
  std::vector<Words> commands;
  EXPECT_FALSE(Fed(Small(), frame(65), commands).failed());
  EXPECT_EQ(commands.size(), 1u);
  EXPECT_EQ(ErrorReply(frame(66)), "ERR Protocol error: too big mbulk request");
}

TEST(CommandCodecTest, AnInlineCommandHasRedissLimit) {
  const std::string longest = std::string(CommandCodec::kMaxInlineBytes - 1, 'x') + "\n";
  for (const codec_testing::Pieces& pieces : {codec_testing::Pieces{}, {1, 65'534}, {65'536}}) {
    EXPECT_EQ(codec_testing::Decode(CommandCodec(), longest, pieces).messages.size(), 1u);
    EXPECT_EQ(codec_testing::Decode(CommandCodec(), "x" + longest, pieces).status,
              absl::ResourceExhaustedError(
                  "an inline command is over the limit of 65536 (kMaxInlineBytes)"));
  }
}

TEST(CommandCodecTest, WantsAllOfALongArgumentAtOnce) {
  CommandCodec codec;
  Command command;
  std::string bytes = "*2\r\n$3\r\nSET\r\n$1000\r\nx";
  EXPECT_EQ(codec.Decode(AsSpan(bytes), command), DecodeResult::NeedMore(bytes.size() - 1 + 1002));
}

// What a client announces costs nothing, and each byte of it is looked at a few times at most:
// bytes that were decoded already may be anything.
TEST(CommandCodecTest, GoesOnWhereItWas) {
  CommandCodec codec;
  Command command;
  std::string bytes = "*65536\r\n";
  EXPECT_EQ(codec.Decode(AsSpan(bytes), command).kind, DecodeResult::Kind::kNeedMore);
  for (int i = 0; i < 65535; ++i) {
    bytes += "$1\r\na\r\n";
    ASSERT_EQ(codec.Decode(AsSpan(bytes), command).kind, DecodeResult::Kind::kNeedMore);
    bytes[bytes.size() - 7] = '?';
  }
  bytes += "$1\r\nb\r\n";
  EXPECT_EQ(codec.Decode(AsSpan(bytes), command), DecodeResult::Message(bytes.size()));
  EXPECT_EQ(command.size(), 65536u);
  EXPECT_EQ(command[65535], "b");
}

TEST(CommandCodecTest, OptionsOutOfRangeAreNamed) {
  EXPECT_EQ(CommandCodec::Create({.max_bulk_bytes = -1}).status(),
            absl::InvalidArgumentError("max_bulk_bytes is -1; accepted: 0 to 2147483647"));
  EXPECT_EQ(CommandCodec::Create({.max_arguments = 0}).status(),
            absl::InvalidArgumentError("max_arguments is 0; accepted: 1 to 2147483647"));
  EXPECT_EQ(
      CommandCodec::Create({.max_frame_bytes = int64_t{1} << 31}).status(),
      absl::InvalidArgumentError("max_frame_bytes is 2147483648; accepted: 64 to 2147483647"));
}

// What the kit makes commands of.
struct Sent {
  Words words;
};
std::string DescribeMessage(const Sent& sent) {
  Buffer out;
  const std::vector<absl::string_view> views(sent.words.begin(), sent.words.end());
  EXPECT_EQ(CommandCodec().Encode(Arguments(views), out), EncodeResult::kEncoded);
  return out.ToString();
}
// A codec that encodes what a client sends.
class CommandSender : public CommandCodec {
 public:
  using CommandCodec::CommandCodec;
  EncodeResult Encode(const Sent& sent, Buffer& out) const {
    const std::vector<absl::string_view> views(sent.words.begin(), sent.words.end());
    return CommandCodec::Encode(Arguments(views), out);
  }
};

TEST(CommandCodecTest, KeepsItsPromises) {
  codec_testing::ExpectKeepsPromises(CommandSender(), Small(), [](std::minstd_rand& random) {
    Sent sent;
    for (size_t i = 1 + random() % 5; i > 0; --i) {
      sent.words.push_back(std::string(random() % 60, static_cast<char>(random())));
    }
    return sent;
  });
}

TEST(CommandCodecTest, SurvivesGarbage) {
  codec_testing::ExpectSurvivesGarbage(
      Small(), "*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\nset k \"a\\x41 b\" 'c'\r\n*0\r\n\r\nping\n", 5000);
}

}  // namespace
}  // namespace sluice::resp
