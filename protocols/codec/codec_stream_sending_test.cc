#include "sluice/protocols/codec/codec_stream.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/buffer.h"
#include "sluice/core/passive_stream.h"
#include "sluice/core/slice.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/codec/codec_stream_fixture.h"
#include "sluice/protocols/codec/prepared_message.h"
#include "sluice/protocols/codec/short_text_codec.h"

namespace {

// The example of prepared_message.h, as it stands there.
using TextStream = sluice::CodecStream<ShortTextCodec>;
class Room : public sluice::CodecHandler<ShortTextCodec> {
 public:
  void Add(std::unique_ptr<sluice::Stream> stream) {
    members_.insert(&TextStream::Run(std::move(stream), codec_, *this));
  }

 private:
  void OnMessage(TextStream& /*from*/, absl::Span<uint8_t> text) override {
    const sluice::PreparedMessage<ShortTextCodec> message(codec_, text);
    for (TextStream* member : members_) member->Send(message);
  }
  void OnClose(TextStream& stream, const absl::Status& /*status*/) override {
    members_.erase(&stream);
  }
  ShortTextCodec codec_;
  std::set<TextStream*> members_;
};

}  // namespace

namespace sluice::codec_stream_test {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

// Sending.

TEST_F(CodecStreamTest, SendsSpansSlicesAndLongMessages) {
  Start();
  const Slice slice = Slice::Copy("slice");
  EXPECT_EQ(stream_->Send(AsSpan("span")), SendResult::kSent);
  EXPECT_EQ(stream_->Send(slice), SendResult::kSent);
  std::string expected = Frames({"span", "slice"});
  for (const size_t size : {0, 2107, 2108, 2109, 2112, 2113, 5000, 100'000}) {
    stream_->Send(AsSpan(Pattern(size)));
    expected += LengthCodec::Frame(Pattern(size));
  }
  Run();
  EXPECT_TRUE(client_->received() == expected);
}

TEST_F(CodecStreamTest, AMessageThatCannotBeEncodedIsRefusedAndTheStreamLivesOn) {
  Start(LengthCodec(10));
  EXPECT_EQ(stream_->Send(AsSpan("eleven byte")), SendResult::kRefused);
  EXPECT_FALSE(stream_->closing());
  EXPECT_EQ(stream_->Send(AsSpan("ten  bytes")), SendResult::kSent);
  Run();
  EXPECT_EQ(client_->received(), LengthCodec::Frame("ten  bytes"));
}

TEST_F(CodecStreamTest, AMessageIsOneSendForTheLimits) {
  Start();
  stream_->transport().SetLimits({/*high=*/10, /*low=*/5, /*hard=*/20});
  pair_.to_client().set_capacity(0);
  // An empty queue takes a message of any size, although a length goes before it.
  EXPECT_EQ(stream_->Send(AsSpan("more than twenty bytes")), SendResult::kBlocked);
  EXPECT_FALSE(stream_->closing());
}

TEST_F(CodecStreamTest, NothingIsDeliveredOnceASendHasPassedTheHardLimit) {
  Start();
  stream_->transport().SetLimits({/*high=*/10, /*low=*/5, /*hard=*/20});
  pair_.to_client().set_capacity(0);
  script_.on_message = [](Messages& stream, absl::Span<uint8_t> message) { stream.Send(message); };
  Receive(Frames({"one", "two", "three", "four", "five"}));
  EXPECT_THAT(script_.events, ElementsAre("one", "two", "three", "<close>"));
  EXPECT_EQ(script_.closed.code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(CodecStreamTest, SendInPlaceSendsTheFrameAsItLies) {
  for (const size_t chunk : {50, 1000, 20'000, 65'536}) {
    SCOPED_TRACE(chunk);
    VirtualLoop loop;
    StreamPair pair(loop.loop());
    pair.to_server().set_max_chunk(chunk);
    pair.to_client().set_capacity(1'000'000);
    Script<LengthCodec> script;
    CodecStream<LengthCodec> stream(pair.TakeServer(), LengthCodec(), script);
    script.on_message = [](Messages& s, absl::Span<uint8_t> message) {
      if (!message.empty()) message[0] = '!';
      EXPECT_NE(s.SendInPlace(message), SendResult::kRefused);
    };
    StreamRecorder client(pair.TakeClient());
    std::vector<std::string> messages = {"one",         "",    Pattern(100), Pattern(100'000),
                                         Pattern(3000), "last"};
    client.stream().Send(Frames(messages));
    loop.RunUntilIdle();
    for (std::string& message : messages) {
      if (!message.empty()) message[0] = '!';
    }
    EXPECT_TRUE(client.received() == Frames(messages));
  }
}

// A Stream that writes down how it is given what is sent.
class SendRecorder final : public PassiveStream {
 public:
  using PassiveStream::PassiveStream;
  void Receive(absl::Span<uint8_t> bytes) { handler()->OnReceive(*this, bytes); }
  std::vector<std::string> calls;
  std::vector<const uint8_t*> places;

  SendResult Send(absl::Span<const uint8_t> bytes) override { return Record("copy", bytes.data()); }
  SendResult Send(Slice slice) override { return Record("slice", slice.data()); }
  SendResult Send(Buffer buffer) override { return Record("buffer", buffer.front().data()); }
  SendResult SendLent(absl::Span<const uint8_t> bytes) override {
    return Record("lent", bytes.data());
  }

 private:
  SendResult Record(const char* call, const uint8_t* place) {
    calls.push_back(call);
    places.push_back(place);
    return SendResult::kSent;
  }
};

TEST_F(CodecStreamTest, SendInPlaceCopiesOnlyWhatIsShortAndNotLent) {
  auto transport = std::make_unique<SendRecorder>(loop_.loop());
  SendRecorder& sends = *transport;
  CodecStream<LengthCodec> stream(std::move(transport), LengthCodec(), script_);
  std::vector<const uint8_t*> messages;
  script_.on_message = [&](Messages& s, absl::Span<uint8_t> message) {
    messages.push_back(message.data());
    s.SendInPlace(message);
  };
  std::string bytes = Frames({"lent", Pattern(1000), Pattern(5000)});
  const absl::Span<uint8_t> span(reinterpret_cast<uint8_t*>(&bytes[0]), bytes.size());
  sends.Receive(span.first(500));
  sends.Receive(span.subspan(500, 1000));
  sends.Receive(span.subspan(1500));
  EXPECT_THAT(sends.calls, ElementsAre("lent", "copy", "slice"));
  EXPECT_EQ(sends.places[0], messages[0] - 4);
  EXPECT_EQ(sends.places[2], messages[2] - 4);
}

TEST_F(CodecStreamTest, AShortMessageIsSentAsOnePieceAndALongOneAsABuffer) {
  auto transport = std::make_unique<SendRecorder>(loop_.loop());
  SendRecorder& sends = *transport;
  CodecStream<LengthCodec> stream(std::move(transport), LengthCodec(), script_);
  stream.Send(AsSpan(Pattern(2000)));
  stream.Send(AsSpan(Pattern(3000)));
  EXPECT_THAT(sends.calls, ElementsAre("copy", "buffer"));
}

TEST_F(CodecStreamTest, APreparedMessageIsSharedByAllThatSendIt) {
  LengthCodec codec(10'000);
  const PreparedMessage<LengthCodec> message(codec, AsSpan(Pattern(1000)));
  EXPECT_EQ(message.frame().AsStringView(), LengthCodec::Frame(Pattern(1000)));
  auto transport = std::make_unique<SendRecorder>(loop_.loop());
  SendRecorder& sends = *transport;
  CodecStream<LengthCodec> stream(std::move(transport), codec, script_);
  EXPECT_EQ(stream.Send(message), SendResult::kSent);
  EXPECT_EQ(stream.Send(PreparedMessage<LengthCodec>(message)), SendResult::kSent);
  EXPECT_THAT(sends.calls, Each(std::string("slice")));
  EXPECT_THAT(sends.places, ElementsAre(message.frame().data(), message.frame().data()));
}

TEST_F(CodecStreamTest, AMessageThatCannotBePreparedIsRefusedAndTheStreamLivesOn) {
  Start(LengthCodec(10));
  const PreparedMessage<LengthCodec> message(stream_->codec(), AsSpan("eleven byte"));
  EXPECT_EQ(message.result(), EncodeResult::kTooLong);
  EXPECT_EQ(stream_->Send(message), SendResult::kRefused);
  EXPECT_FALSE(stream_->closing());
}

TEST(PreparedMessageTest, HeaderExample) {
  Room room;  // outlives the loop
  VirtualLoop loop;
  StreamPair ann_pair(loop.loop()), bob_pair(loop.loop());
  room.Add(ann_pair.TakeServer());
  room.Add(bob_pair.TakeServer());
  StreamRecorder ann(ann_pair.TakeClient());
  auto bob = std::make_unique<StreamRecorder>(bob_pair.TakeClient());
  bob->stream().Send("\5hello");
  loop.RunUntilIdle();
  EXPECT_EQ(bob->received(), "\5hello");
  bob.reset();
  loop.RunUntilIdle();
  ann.stream().Send("\3bye");
  loop.RunUntilIdle();
  EXPECT_EQ(ann.received(), "\5hello\3bye");
}

TEST_F(CodecStreamTest, SendInPlaceOfAPartOrOfAnythingElseIsASend) {
  Start();
  std::string other = "other";
  script_.on_message = [&](Messages& stream, absl::Span<uint8_t> message) {
    stream.SendInPlace(message.first(2));
    stream.SendInPlace(message.subspan(1));
    stream.SendInPlace(absl::MakeSpan(reinterpret_cast<uint8_t*>(&other[0]), other.size()));
  };
  Receive(Frames({"abc"}));
  stream_->SendInPlace(absl::MakeSpan(reinterpret_cast<uint8_t*>(&other[0]), other.size()));
  Run();
  EXPECT_EQ(client_->received(), Frames({"ab", "bc", "other", "other"}));
}

TEST_F(CodecStreamTest, FramesSentInPlaceWhileTheyAreHeldBackAreNotDisturbedByWhatFollows) {
  Start();
  pair_.to_client().Hold();
  script_.on_message = [](Messages& stream, absl::Span<uint8_t> message) {
    stream.SendInPlace(message);
    stream.PauseReceiving();
  };
  std::vector<std::string> messages;
  for (size_t i = 0; i < 6; ++i) messages.push_back(Pattern(3000 + i));
  const std::string bytes = Frames(messages);
  // Ends in the middle of a message, whose rest is then put behind what was sent.
  Receive(absl::string_view(bytes).substr(0, 14'000));
  client_->stream().Send(absl::string_view(bytes).substr(14'000));
  for (size_t i = 0; i < messages.size(); ++i) {
    stream_->ResumeReceiving();
    Run();
  }
  pair_.to_client().Release();
  Run();
  EXPECT_TRUE(client_->received() == bytes);
}

}  // namespace
}  // namespace sluice::codec_stream_test
