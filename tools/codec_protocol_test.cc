#include "sluice/tools/codec_protocol.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/buffer.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/codec/codec_stream.h"
#include "sluice/protocols/framing/frame_codec.h"
#include "sluice/tools/codec_text.h"
#include "sluice/tools/protocol.h"
#include "sluice/tools/protocol_options.h"

namespace sluice::tools {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A struct behind a byte of its text's length and one of its id. Those with an id of 0 are what
// peers say between themselves.
struct Entry {
  uint8_t id = 0;
  absl::string_view text;
};

class EntryCodec {
 public:
  using Message = Entry;

  explicit EntryCodec(size_t max_text = 100) : max_text_(max_text) {}
  // One that cannot be copied.
  EntryCodec(EntryCodec&&) = default;
  EntryCodec& operator=(EntryCodec&&) = default;

  DecodeResult Decode(absl::Span<uint8_t> in, Message& message) {
    if (in.size() < 2) return DecodeResult::NeedMore(2);
    if (in[0] > max_text_) {
      failed_ = true;
      return DecodeResult::Error();
    }
    const size_t size = size_t{2} + in[0];
    if (in.size() < size) return DecodeResult::NeedMore(size);
    message = {in[1], AsText(in.subspan(2, in[0]))};
    return DecodeResult::Message(size);
  }
  EncodeResult Encode(const Entry& entry, Buffer& out) const {
    if (entry.text.size() > max_text_) return EncodeResult::kTooLong;
    if (entry.text.find('!') != absl::string_view::npos) return EncodeResult::kInvalid;
    const uint8_t head[] = {static_cast<uint8_t>(entry.text.size()), entry.id};
    out.Append(absl::MakeConstSpan(head));
    out.Append(AsBytes(entry.text));
    return EncodeResult::kEncoded;
  }
  absl::Status status() const {
    return failed_ ? absl::ResourceExhaustedError("a long text") : absl::OkStatus();
  }
  size_t max_frame_bytes() const { return 2 + max_text_; }

 private:
  size_t max_text_;
  bool failed_ = false;
};

// As codec_text.h has it.
struct EntryText {
  Entry Parse(Client::Kind /*kind*/, absl::Span<const uint8_t> bytes) const {
    return {1, AsText(bytes)};
  }
  absl::string_view Show(const Entry& entry) const { return entry.text; }
};

struct AnsweringText : EntryText {
  Entry Answer(const Entry& question) const { return {question.id, "42"}; }
};

struct ImpatientText : EntryText {
  absl::Duration PeerSilence() const { return absl::Seconds(2); }
};

struct EntryOptions {
  int id = 1;
  bool limited = false;
};

class OptionalText {
 public:
  OptionalText() = default;
  explicit OptionalText(const EntryOptions& options) : id_(static_cast<uint8_t>(options.id)) {}

  absl::StatusOr<Entry> Parse(Client::Kind kind, absl::Span<const uint8_t> bytes) const {
    if (AsText(bytes) == "?") return absl::InvalidArgumentError("a question");
    return Entry{kind == Client::Kind::kText ? id_ : uint8_t{9}, AsText(bytes)};
  }
  std::string Show(const Entry& entry) const {
    return absl::StrCat(static_cast<int>(entry.id), " ", entry.text);
  }
  bool AtServer(CodecStream<EntryCodec>& stream, const Entry& entry) const {
    if (entry.id != 0) return false;
    stream.Send(Entry{0, "pong"});
    return true;
  }
  bool AtClient(CodecStream<EntryCodec>& /*stream*/, const Entry& entry) const {
    return entry.id == 0;
  }

 private:
  uint8_t id_ = 1;
};

std::unique_ptr<Protocol> EntryProtocol() {
  ProtocolOptions<EntryOptions> options;
  options.Number("id", &EntryOptions::id, 0, 255, "of what is sent")
      .Switch("limited", &EntryOptions::limited, "whether a limit is needed");
  return CodecProtocol<EntryCodec, OptionalText>(
      {.name = "entry"}, options,
      [](const EntryOptions& chosen, size_t max_message_bytes) -> absl::StatusOr<EntryCodec> {
        if (chosen.limited && max_message_bytes > 100)
          return absl::InvalidArgumentError("limited takes 100 bytes at most");
        return EntryCodec(max_message_bytes < 100 ? max_message_bytes : 100);
      });
}

// Collects what a client is told. It must outlive the client.
class Log final : public Client::Handler {
 public:
  void OnMessage(Client& /*client*/, absl::Span<const uint8_t> message) override {
    messages.emplace_back(AsText(message));
  }
  void OnClose(Client& /*client*/, const absl::Status& status) override { closed = status; }

  std::vector<std::string> messages;
  std::optional<absl::Status> closed;
};

class CodecProtocolTest : public testing::Test {
 protected:
  // A client and the echo service of a protocol, joined in memory.
  void Join(const Protocol& protocol, size_t limit = 1000) {
    absl::StatusOr<std::unique_ptr<EchoService>> made =
        protocol.NewEchoService({.max_message_bytes = limit});
    ASSERT_TRUE(made.ok()) << made.status();
    service = *std::move(made);
    service->Serve(pair.TakeServer());
    absl::StatusOr<std::unique_ptr<ClientFactory>> clients = protocol.NewClientFactory({});
    ASSERT_TRUE(clients.ok()) << clients.status();
    client = (*clients)->NewClient(pair.TakeClient(), log);
    factory = *std::move(clients);
  }
  SendResult Send(absl::string_view text, Client::Kind kind = Client::Kind::kText) {
    return client->Send(kind, AsBytes(text));
  }

  Log log;
  std::unique_ptr<EchoService> service;
  std::unique_ptr<ClientFactory> factory;
  VirtualLoop loop;
  StreamPair pair{loop.loop()};
  std::unique_ptr<Client> client;
};

TEST_F(CodecProtocolTest, HeaderExample) {
  Join(*CodecProtocol<EntryCodec, EntryText>({.name = "entry"}));
  Send("hello");
  loop.RunUntilIdle();
  EXPECT_THAT(log.messages, ElementsAre("hello"));
  EXPECT_EQ(service->totals().bytes, 5u);
}

TEST_F(CodecProtocolTest, MessagesOfAnyTypeAreParsedAndShown) {
  Join(*EntryProtocol());
  Send("one");
  Send("two", Client::Kind::kBinary);
  loop.RunUntilIdle();
  EXPECT_THAT(log.messages, ElementsAre("1 one", "9 two"));
  EXPECT_EQ(service->totals().messages, 2u);
  EXPECT_EQ(service->totals().bytes, 10u);  // as they are shown
  client->End();
  loop.RunUntilIdle();
  EXPECT_EQ(log.closed, absl::OkStatus());
  EXPECT_EQ(service->totals().errors, 0u);
}

TEST_F(CodecProtocolTest, AServerMayAnswerSomethingElse) {
  Join(*CodecProtocol<EntryCodec, AnsweringText>({.name = "entry"}));
  Send("what?");
  loop.RunUntilIdle();
  EXPECT_THAT(log.messages, ElementsAre("42"));
  EXPECT_EQ(service->totals().messages, 1u);
  EXPECT_EQ(service->totals().bytes, 5u);
}

TEST_F(CodecProtocolTest, AServerThatDoesNotEndIsLeftOnceItIsSilent) {
  StreamRecorder peer(pair.TakeServer());
  peer.KeepOpen();
  factory = *CodecProtocol<EntryCodec, ImpatientText>({.name = "entry"})->NewClientFactory({});
  client = factory->NewClient(pair.TakeClient(), log);
  loop.Advance(absl::Seconds(9));
  client->End();
  loop.Advance(absl::Seconds(1.5));
  peer.stream().Send("\x03\x01one");
  loop.Advance(absl::Seconds(1.5));
  client->PauseReceiving();
  loop.Advance(absl::Seconds(9));
  client->ResumeReceiving();
  loop.Advance(absl::Seconds(1.5));
  peer.stream().Send("\x03\x01two");
  loop.RunUntilIdle();
  EXPECT_THAT(log.messages, ElementsAre("one", "two"));
  EXPECT_FALSE(log.closed.has_value());
  loop.Advance(absl::Seconds(9));
  EXPECT_EQ(log.closed, absl::OkStatus());
}

TEST_F(CodecProtocolTest, OtherwiseAServerIsWaitedFor) {
  StreamRecorder peer(pair.TakeServer());
  peer.KeepOpen();
  factory = *CodecProtocol<EntryCodec, EntryText>({.name = "entry"})->NewClientFactory({});
  client = factory->NewClient(pair.TakeClient(), log);
  client->End();
  loop.Advance(absl::Hours(1));
  EXPECT_FALSE(log.closed.has_value());
}

TEST_F(CodecProtocolTest, WhatPeersSayBetweenThemselvesIsNeitherEchoedNorShownNorCounted) {
  Join(**EntryProtocol()->WithOptions("id=0"));
  Send("ping");
  loop.RunUntilIdle();
  EXPECT_THAT(log.messages, ElementsAre());
  EXPECT_EQ(service->totals().messages, 0u);
  EXPECT_EQ(pair.to_client().bytes_arrived(), 6u);  // AtServer's answer
}

TEST_F(CodecProtocolTest, OptionsReachTheTextAndTheCodec) {
  const absl::StatusOr<std::unique_ptr<Protocol>> seven = EntryProtocol()->WithOptions("id=7");
  ASSERT_TRUE(seven.ok()) << seven.status();
  EXPECT_EQ((*seven)->name(), "entry");
  EXPECT_EQ((*seven)->scheme().name, "entry");
  Join(**seven);
  Send("one");
  loop.RunUntilIdle();
  EXPECT_THAT(log.messages, ElementsAre("7 one"));
}

TEST_F(CodecProtocolTest, OptionsAreListedAndCheckedTogether) {
  const std::vector<ProtocolOption> options = EntryProtocol()->options();
  ASSERT_EQ(options.size(), 2u);
  EXPECT_EQ(options[0].name, "id");
  EXPECT_EQ(EntryProtocol()->WithOptions("id=256").status().message(),
            "id=256: id takes a whole number from 0 to 255");
  // Alone it is fine, but not with the limit that there is unless told otherwise.
  EXPECT_EQ(EntryProtocol()->WithOptions("limited=true").status().message(),
            "limited takes 100 bytes at most");
}

TEST_F(CodecProtocolTest, LimitsHoldForWhatThePeerSends) {
  Join(*EntryProtocol(), /*limit=*/3);
  Send("four");
  loop.RunUntilIdle();
  EXPECT_EQ(service->totals().errors, 1u);
  EXPECT_TRUE(log.closed.has_value());
}

TEST_F(CodecProtocolTest, AMessageThatCannotBeSentEndsTheConnectionWithTheReason) {
  const struct {
    std::string text;
    absl::string_view says;
  } cases[] = {{std::string(101, 'x'), "longer than the protocol can carry"},
               {"hey!", "none that the protocol, set up so, can carry"},
               {"?", "a question"}};
  for (const auto& refused : cases) {
    StreamPair one(loop.loop());
    Log told;
    const std::unique_ptr<ClientFactory> clients = *EntryProtocol()->NewClientFactory({});
    const std::unique_ptr<Client> sender = clients->NewClient(one.TakeClient(), told);
    const std::unique_ptr<Stream> peer = one.TakeServer();
    EXPECT_EQ(sender->Send(Client::Kind::kText, AsBytes(refused.text)), SendResult::kRefused);
    EXPECT_FALSE(told.closed.has_value());  // never from inside a call
    loop.RunUntilIdle();
    ASSERT_TRUE(told.closed.has_value()) << refused.says;
    EXPECT_EQ(told.closed->code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(told.closed->message()), HasSubstr(std::string(refused.says)));
  }
}

TEST_F(CodecProtocolTest, AMessageThatCannotBeEchoedEndsTheConnection) {
  Join(*EntryProtocol());
  client.reset();
  StreamPair other(loop.loop());
  service->Serve(other.TakeServer());
  StreamRecorder peer(other.TakeClient());
  peer.stream().Send("\x01\x05!");
  loop.RunUntilIdle();
  EXPECT_EQ(service->totals().errors, 1u + 1u);  // and that of the first client, which has gone
  EXPECT_EQ(peer.received(), "");
}

TEST_F(CodecProtocolTest, ACodecOfBytesNeedsItsNameOnly) {
  const std::unique_ptr<Protocol> protocol = CodecProtocol<framing::FrameCodec>({.name = "plain"});
  EXPECT_EQ(protocol->scheme().name, "plain");
  EXPECT_THAT(protocol->options(), ElementsAre());
  EXPECT_EQ(protocol->WithOptions("length_bytes=2").status().message(),
            "this protocol has no options");
  Join(*protocol);
  Send("hello");
  Send("");
  loop.RunUntilIdle();
  EXPECT_THAT(log.messages, ElementsAre("hello", ""));
}

}  // namespace
}  // namespace sluice::tools
