#include "sluice/protocols/websocket/deflate.h"

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/protocols/websocket/close_code.h"
#include "sluice/protocols/websocket/compression.h"
#include "sluice/protocols/websocket/extensions.h"
#include "sluice/protocols/websocket/internal/words.h"

namespace sluice::websocket {
namespace {

using internal::Words;
using SessionPtr = Compression::SessionPtr;

constexpr uint64_t kLimit = uint64_t{1} << 20;

absl::Span<const uint8_t> Bytes(absl::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
std::string Text(absl::Span<const uint8_t> bytes) {
  return std::string(bytes.begin(), bytes.end());
}

std::string Noise(size_t size) {
  std::mt19937 random(7);
  std::string text(size, 0);
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

// Both sides of a connection.
struct Sides {
  SessionPtr client, server;
  std::string answer;  // of the server
};

Sides Join(const Deflate& client, const Deflate& server) {
  Sides sides;
  Compression::Accepted accepted = server.Accept(client.Offer());
  EXPECT_NE(accepted.session, nullptr);
  sides.server = std::move(accepted.session);
  sides.answer = FormatExtension(accepted.answer);
  auto agreed = client.Agree(accepted.answer);
  EXPECT_TRUE(agreed.ok()) << agreed.status();
  if (agreed.ok()) sides.client = *std::move(agreed);
  return sides;
}

std::shared_ptr<const Deflate> Make(const DeflateOptions& options = {}) {
  auto deflate = Deflate::Create(options);
  EXPECT_TRUE(deflate.ok()) << deflate.status();
  return *deflate;
}

// What arrives of a message; it is sent as it is where it does not become smaller.
std::string Pass(Compression::Session& from, Compression::Session& to, const std::string& message) {
  const std::string compressed = Text(from.Compress(Bytes(message)));
  if (compressed.empty()) return message;
  const Compression::Session::Message arrived = to.Decompress(Bytes(compressed), kLimit);
  EXPECT_EQ(arrived.error, nullptr) << arrived.error;
  return Text(arrived.bytes);
}

class EachWay : public testing::TestWithParam<DeflateOptions> {};

TEST_P(EachWay, MessagesOfAllSizesArrive) {
  const auto deflate = Make(GetParam());
  const Sides sides = Join(*deflate, *deflate);
  for (const size_t size : {0, 1, 63, 64, 65, 200, 255, 256, 257, 1000, 4000, 8191, 8192, 8193,
                            10'000, 40'000, 70'000, 200'000}) {
    for (const std::string& message :
         {Words(size, static_cast<uint32_t>(size)), std::string(size, 'a'), Noise(size)}) {
      EXPECT_TRUE(Pass(*sides.client, *sides.server, message) == message) << size;
      EXPECT_TRUE(Pass(*sides.server, *sides.client, message) == message) << size;
    }
  }
}

TEST_P(EachWay, ManyDifferentMessagesInARowArrive) {
  const auto deflate = Make(GetParam());
  const Sides sides = Join(*deflate, *deflate);
  for (uint32_t i = 0; i < 1000; ++i) {
    const std::string message = Words(100 + i * 3, i);
    ASSERT_TRUE(Pass(*sides.client, *sides.server, message) == message) << i;
  }
}

// Of few symbols or of many, evenly or not, with repetitions or without: where the block of a
// message ends is known in a different way for each.
TEST(DeflateTest, MessagesOfAllKindsArriveAtAllLevels) {
  std::mt19937 random(20261128);
  for (int level = 1; level <= 9; ++level) {
    const auto deflate = Make({.level = level, .min_message_bytes = 0});
    const Sides sides = Join(*deflate, *deflate);
    for (int i = 0; i < 500; ++i) {
      const uint32_t symbols = 1 + random() % 256;
      const uint32_t skew = 1 + random() % 8;
      std::string message(random() % 3000, '\0');
      for (char& c : message) {
        uint32_t symbol = random() % symbols;
        for (uint32_t n = 1; n < skew; ++n) symbol = random() % (symbol + 1);
        c = static_cast<char>(symbol);
      }
      if (i % 3 == 0) message += message.substr(message.size() / 2);
      ASSERT_TRUE(Pass(*sides.client, *sides.server, message) == message) << level << " " << i;
    }
  }
}

TEST_P(EachWay, WhatIsCompressedIsSmaller) {
  const auto deflate = Make(GetParam());
  const Sides sides = Join(*deflate, *deflate);
  const size_t size = sides.client->Compress(Bytes(Words(256, 1))).size();
  EXPECT_GT(size, 0u);
  EXPECT_LT(size, 200u);
}

INSTANTIATE_TEST_SUITE_P(
    , EachWay,
    testing::Values(DeflateOptions{}, DeflateOptions{.level = 6}, DeflateOptions{.level = 9},
                    DeflateOptions{.send_context = true, .receive_context = true},
                    DeflateOptions{.level = 9,
                                   .send_context = true,
                                   .receive_context = true,
                                   .send_window_bits = 9,
                                   .receive_window_bits = 9},
                    DeflateOptions{.send_window_bits = 9, .receive_window_bits = 9},
                    DeflateOptions{.send_window_bits = 10, .receive_window_bits = 8},
                    DeflateOptions{.send_context = true, .receive_window_bits = 12}));

TEST(DeflateTest, WithAContextTheSameMessageBecomesTiny) {
  const auto deflate = Make({.send_context = true, .receive_context = true});
  const Sides sides = Join(*deflate, *deflate);
  const std::string message = Words(1024, 1);
  EXPECT_EQ(Pass(*sides.client, *sides.server, message), message);
  EXPECT_LT(sides.client->Compress(Bytes(message)).size(), 30u);
}

// It is sent as it is, so that nothing changes for those after it.
TEST(DeflateTest, AnEmptyMessageLeavesTheContext) {
  const auto deflate =
      Make({.min_message_bytes = 0, .send_context = true, .receive_context = true});
  const Sides sides = Join(*deflate, *deflate);
  const std::string message = Words(1024, 1);
  EXPECT_EQ(Pass(*sides.client, *sides.server, message), message);
  EXPECT_TRUE(sides.client->Compress({}).empty());
  EXPECT_LT(sides.client->Compress(Bytes(message)).size(), 30u);
}

TEST(DeflateTest, ShortMessagesAreSentAsTheyAre) {
  const auto deflate = Make({.min_message_bytes = 100});
  const Sides sides = Join(*deflate, *deflate);
  EXPECT_TRUE(sides.client->Compress(Bytes(std::string(99, 'a'))).empty());
  EXPECT_FALSE(sides.client->Compress(Bytes(std::string(100, 'a'))).empty());
}

TEST(DeflateTest, NoiseIsSentAsItIs) {
  const auto deflate = Make();
  const Sides sides = Join(*deflate, *deflate);
  for (const size_t size : {100, 8000, 100'000})
    EXPECT_TRUE(sides.client->Compress(Bytes(Noise(size))).empty()) << size;
}

// What peers may send.

std::string Inflate(absl::string_view compressed, uint64_t limit = kLimit) {
  const auto deflate = Make();
  const Sides sides = Join(*deflate, *deflate);
  const Compression::Session::Message message = sides.server->Decompress(Bytes(compressed), limit);
  if (message.error != nullptr)
    return absl::StrCat(message.error, " (", static_cast<int>(message.code), ")");
  return Text(message.bytes);
}

// RFC 7692, section 7.2.3.
TEST(DeflateTest, TheRfcsExamples) {
  EXPECT_EQ(Inflate("\xf2\x48\xcd\xc9\xc9\x07" + std::string(1, 0)), "Hello");
  EXPECT_EQ(Inflate(std::string("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 11)), "Hello")
      << "a block without compression";
  EXPECT_EQ(Inflate(std::string("\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 8)), "Hello")
      << "a block that is the last one";
  EXPECT_EQ(Inflate(std::string("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 13)),
            "Hello")
      << "two blocks";
  EXPECT_EQ(Inflate(std::string(1, 0)), "") << "an empty message";
}

// The second example refers to the first.
TEST(DeflateTest, TheRfcsExampleOfAContext) {
  const auto deflate = Make({.send_context = true, .receive_context = true});
  const Sides sides = Join(*deflate, *deflate);
  EXPECT_EQ(
      Text(sides.server->Decompress(Bytes("\xf2\x48\xcd\xc9\xc9\x07" + std::string(1, 0)), kLimit)
               .bytes),
      "Hello");
  EXPECT_EQ(
      Text(sides.server->Decompress(Bytes(std::string("\xf2\x00\x11\x00\x00", 5)), kLimit).bytes),
      "Hello");
}

// Each end of the stream in a message begins another, which may refer to what came before.
TEST(DeflateTest, APeerThatEndsItsStreamGoesOn) {
  const std::string ended("\xf3\x48\xcd\xc9\xc9\x07\x00", 7);
  EXPECT_EQ(Inflate(ended + ended + std::string(1, 0)), "HelloHello");
  std::string often;
  for (int i = 0; i < 17; ++i) often += ended;
  EXPECT_EQ(Inflate(often), "a compressed message ends too often (1007)");
}

TEST(DeflateTest, WhatIsDamagedIsRefused) {
  EXPECT_EQ(Inflate("\xff\xff\xff"), "a compressed message is damaged (1007)");
  EXPECT_EQ(Inflate("\xf2\x48\xcd"), "a compressed message is damaged (1007)") << "cut short";
  for (const bool context : {false, true}) {
    const auto deflate = Make({.send_context = context, .receive_context = context});
    const Sides sides = Join(*deflate, *deflate);
    const auto message = sides.server->Decompress(Bytes("\xf2\x48\xcd"), kLimit);
    EXPECT_NE(message.error, nullptr) << context;
  }
}

// With what is appended to it, it ends between two blocks, but before the last bit: the code that
// ends its block is 15 ones, and what is appended ends in 16.
TEST(DeflateTest, AMessageThatEndsWithinAByteIsDamaged) {
  constexpr absl::string_view kMessage(
      "\x04\xe0\x81\x96\x24\x49\x92\x24\x49\x02\x12\x8b\x9a\x47\x56\xcf\xde\xff\x7f\xee\x3d", 21);
  for (const bool context : {false, true}) {
    const auto deflate = Make({.send_context = context, .receive_context = context});
    const Sides sides = Join(*deflate, *deflate);
    const auto message = sides.server->Decompress(Bytes(kMessage), kLimit);
    EXPECT_NE(message.error, nullptr) << context;
  }
}

TEST(DeflateTest, ReferencesBehindTheBeginningAreRefused) {
  EXPECT_EQ(Inflate(std::string("\xf2\x00\x11\x00\x00", 5)),
            "a compressed message is damaged (1007)");
}

// What would be more than the limit is never decompressed, and exactly the limit is no more.
TEST(DeflateTest, ABombIsStoppedAtTheLimit) {
  for (const bool context : {false, true}) {
    const auto deflate = Make({.send_context = context, .receive_context = context});
    const Sides sides = Join(*deflate, *deflate);
    const std::string bomb = Text(sides.client->Compress(Bytes(std::string(1'000'000, 0))));
    EXPECT_LT(bomb.size(), 5000u);
    const auto message = sides.server->Decompress(Bytes(bomb), 999'999);
    EXPECT_EQ(message.error, absl::string_view("a message is over the limit"));
    EXPECT_EQ(message.code, CloseCode::kMessageTooBig);
    const Sides others = Join(*deflate, *deflate);
    EXPECT_EQ(others.server->Decompress(Bytes(bomb), 1'000'000).bytes.size(), 1'000'000u);
  }
}

TEST(DeflateTest, ALimitOfNothing) {
  EXPECT_EQ(Inflate(std::string(1, 0), 0), "");
  EXPECT_EQ(Inflate("\xf2\x48\xcd\xc9\xc9\x07" + std::string(1, 0), 0),
            "a message is over the limit (1009)");
}

// Agreeing. Offers, and what is answered: "none" where there is nothing to accept.

std::string Answer(const DeflateOptions& options, absl::string_view offers) {
  const auto parsed = ParseExtensions(offers);
  EXPECT_TRUE(parsed.has_value()) << offers;
  const auto deflate = Make(options);
  const Compression::Accepted accepted = deflate->Accept(*parsed);
  const std::string answer =
      accepted.session == nullptr ? "none" : FormatExtension(accepted.answer);
  return std::string(absl::StripPrefix(answer, "permessage-deflate"));
}

TEST(DeflateTest, AServerAnswersWhatItWillDo) {
  constexpr absl::string_view kNo = "; server_no_context_takeover; client_no_context_takeover";
  EXPECT_EQ(Answer({}, "permessage-deflate"), kNo);
  EXPECT_EQ(Answer({}, "x-webkit-deflate-frame, permessage-deflate; client_max_window_bits"), kNo);
  EXPECT_EQ(Answer({}, "permessage-deflate; server_max_window_bits=10"),
            absl::StrCat(kNo, "; server_max_window_bits=10"));
  EXPECT_EQ(Answer({}, "permessage-deflate; server_max_window_bits=8"),
            absl::StrCat(kNo, "; server_max_window_bits=8"));
  EXPECT_EQ(Answer({.receive_window_bits = 10}, "permessage-deflate; client_max_window_bits"),
            absl::StrCat(kNo, "; client_max_window_bits=10"));
  EXPECT_EQ(Answer({.receive_window_bits = 10}, "permessage-deflate"), kNo)
      << "not where the client does not know the parameter";
  const DeflateOptions contexts{.send_context = true, .receive_context = true};
  EXPECT_EQ(Answer(contexts, "permessage-deflate"), "");
  EXPECT_EQ(Answer(contexts, "permessage-deflate; client_no_context_takeover"),
            "; client_no_context_takeover");
  EXPECT_EQ(Answer(contexts, "permessage-deflate; server_no_context_takeover"),
            "; server_no_context_takeover");
  EXPECT_EQ(Answer(contexts, "permessage-deflate; server_max_window_bits=8"),
            "; server_no_context_takeover; server_max_window_bits=8")
      << "zlib has no context so small";
  EXPECT_EQ(Answer(contexts, "permessage-deflate; server_no_context_takeover, permessage-deflate"),
            "; server_no_context_takeover")
      << "the first is the client's preference";
}

TEST(DeflateTest, AnOfferThatIsNotUnderstoodIsPassedOver) {
  for (const absl::string_view offer :
       {"permessage-bzip2", "permessage-deflate; what",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=08",
        "permessage-deflate; server_max_window_bits=+8",
        "permessage-deflate; server_max_window_bits=x",
        "permessage-deflate; client_max_window_bits=100",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=10"}) {
    EXPECT_EQ(Answer({}, offer), "none") << offer;
    EXPECT_NE(Answer({}, absl::StrCat(offer, ", permessage-deflate")), "none") << offer;
  }
}

absl::Status Agree(const DeflateOptions& options, absl::string_view answer) {
  return Make(options)->Agree(ParseExtensions(answer)->front()).status();
}

TEST(DeflateTest, AClientOffersWhatItWants) {
  EXPECT_EQ(FormatExtension(Make()->Offer().front()),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
            "client_max_window_bits");
  EXPECT_EQ(FormatExtension(Make({.send_context = true,
                                  .receive_context = true,
                                  .send_window_bits = 12,
                                  .receive_window_bits = 11})
                                ->Offer()
                                .front()),
            "permessage-deflate; server_max_window_bits=11; client_max_window_bits=12");
}

TEST(DeflateTest, AClientRefusesAnAnswerThatItCannotKeepTo) {
  EXPECT_TRUE(Agree({}, "permessage-deflate; server_no_context_takeover").ok());
  EXPECT_TRUE(
      Agree({}, "permessage-deflate; server_no_context_takeover; client_max_window_bits=8").ok());
  for (const absl::string_view answer :
       {"permessage-bzip2", "permessage-deflate", "permessage-deflate; what",
        "permessage-deflate; server_no_context_takeover; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover; client_max_window_bits=08",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=16",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover"}) {
    EXPECT_EQ(Agree({}, answer).code(), absl::StatusCode::kFailedPrecondition) << answer;
  }
  const DeflateOptions small{.receive_context = true, .receive_window_bits = 10};
  EXPECT_TRUE(Agree(small, "permessage-deflate; server_max_window_bits=10").ok());
  EXPECT_FALSE(Agree(small, "permessage-deflate; server_max_window_bits=11").ok());
  EXPECT_FALSE(Agree(small, "permessage-deflate").ok());
  EXPECT_FALSE(Agree({.send_window_bits = 10},
                     "permessage-deflate; server_no_context_takeover; client_max_window_bits=11")
                   .ok());
}

// A client whose server asks for a window of 8 bits sends nothing that needs more.
TEST(DeflateTest, AWindowOfEightBits) {
  const auto client = Make();
  auto session = client->Agree(
      {"permessage-deflate", {{"server_no_context_takeover"}, {"client_max_window_bits", "8"}}});
  ASSERT_TRUE(session.ok());
  EXPECT_FALSE((*session)->Compress(Bytes(Words(256, 1))).empty());
  EXPECT_TRUE((*session)->Compress(Bytes(Words(257, 1))).empty());
}

TEST(DeflateTest, ContextsHaveABudget) {
  const auto budget = std::make_shared<ContextBudget>(700'000);
  const auto deflate = Make({.send_context = true, .receive_context = true, .budget = budget});
  const std::vector<Extension> offers = {{"permessage-deflate"}};
  {
    std::vector<Compression::Accepted> accepted;
    for (int i = 0; i < 3; ++i) accepted.push_back(deflate->Accept(offers));
    EXPECT_TRUE(accepted[0].answer.parameters.empty());
    EXPECT_TRUE(accepted[1].answer.parameters.empty());
    EXPECT_EQ(accepted[2].answer.parameters.size(), 2u) << "no contexts any more";
    EXPECT_GT(budget->used_bytes(), 500'000u);
    EXPECT_LE(budget->used_bytes(), budget->max_bytes());
  }
  EXPECT_EQ(budget->used_bytes(), 0u);
  EXPECT_TRUE(deflate->Accept(offers).answer.parameters.empty());
}

TEST(DeflateTest, OptionsThatDoNotExistAreRefused) {
  for (const DeflateOptions& options :
       {DeflateOptions{.level = 0}, DeflateOptions{.level = 10},
        DeflateOptions{.send_window_bits = 8}, DeflateOptions{.send_window_bits = 16},
        DeflateOptions{.receive_window_bits = 7}, DeflateOptions{.receive_window_bits = 16}}) {
    EXPECT_EQ(Deflate::Create(options).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace sluice::websocket
