// What a stream does when its peer does not read: the writer is told, memory is bounded, and no
// byte is lost or changed.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/buffer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/internal/counting_new.h"
#include "sluice/core/internal/pool.h"
#include "sluice/core/slice.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/core/tcp_testing.h"

namespace sluice {
namespace {

using test::Pair;
using test::Pattern;
using test::Recorder;
using test::Until;

// Without what the pool keeps for later.
int64_t BytesInUse() {
  return internal::CountAllocations().live_bytes - static_cast<int64_t>(internal::PooledBytes());
}

constexpr StreamLimits kSmallLimits = {.high = 100'000, .low = 20'000, .hard = 400'000};

class BackPressureTest : public testing::Test {
 protected:
  // The client writes. The system holds little, and so do the limits.
  static Listener::Options ListenOptionsOf(const StreamLimits& limits) {
    Listener::Options options;
    options.listen.socket.send_buffer_bytes = 1;
    options.listen.socket.receive_buffer_bytes = 1;
    options.stream.limits = limits;
    return options;
  }
  static Connector::Options ConnectOptionsOf(const StreamLimits& limits) {
    Connector::Options options;
    options.socket.send_buffer_bytes = 1;
    options.socket.receive_buffer_bytes = 1;
    options.stream.limits = limits;
    return options;
  }
  std::unique_ptr<Pair> NewPair(const StreamLimits& limits = kSmallLimits) {
    return std::make_unique<Pair>(*loop_, ListenOptionsOf(limits), ConnectOptionsOf(limits));
  }

  // A pair whose client has filled what lies between the two, while the server does not read.
  std::unique_ptr<Pair> NewBlockedPair(const StreamLimits& limits = kSmallLimits) {
    std::unique_ptr<Pair> pair = NewPair(limits);
    pair->server.stream->PauseReceiving();
    sent_ = test::SendUntilBlocked(*pair->client.stream, 10'000);
    return pair;
  }

  // Lets the server read, until it has so many bytes.
  void Receive(Pair& pair, size_t bytes) {
    pair.server.stream->ResumeReceiving();
    ASSERT_TRUE(Until(*loop_, [&] { return pair.server.recorder.received.size() >= bytes; }));
    EXPECT_EQ(pair.server.recorder.received.size(), bytes);
  }

  std::unique_ptr<EventLoop> loop_ = test::NewLoop();
  size_t sent_ = 0;
};

// Being told.

TEST_F(BackPressureTest, AWriterIsNotToldWhileTheTransportTakesWhatItWrites) {
  Pair pair(*loop_);
  pair.client.stream->SetLimits({.high = 1'000, .low = 100, .hard = 100'000});
  EXPECT_EQ(pair.client.stream->Send(Pattern(0, 50'000)), SendResult::kSent);
  ASSERT_TRUE(Until(*loop_, [&] { return pair.server.recorder.received.size() == 50'000; }));
  EXPECT_EQ(pair.client.recorder.readies, 0);
}

TEST_F(BackPressureTest, OnSendReadyComesOnceForEachRise) {
  std::unique_ptr<Pair> pair = NewPair();
  Stream& writer = *pair->client.stream;
  size_t sent = 0;
  for (int rise = 1; rise <= 5; ++rise) {
    pair->server.stream->PauseReceiving();
    SendResult result = SendResult::kSent;
    for (; result == SendResult::kSent; sent += 10'000) result = writer.Send(Pattern(sent, 10'000));
    EXPECT_EQ(result, SendResult::kBlocked);
    // Further ones belong to the same rise.
    for (int i = 0; i < 3; ++i, sent += 1'000) {
      EXPECT_EQ(writer.Send(Pattern(sent, 1'000)), SendResult::kBlocked);
    }
    loop_->RunOnce(absl::ZeroDuration());
    EXPECT_EQ(pair->client.recorder.readies, rise - 1);
    Receive(*pair, sent);
    ASSERT_TRUE(Until(*loop_, [&] { return pair->client.recorder.readies >= rise; }));
    loop_->RunOnce(absl::ZeroDuration());
    EXPECT_EQ(pair->client.recorder.readies, rise);
  }
  EXPECT_TRUE(pair->server.recorder.received == Pattern(0, sent));
}

TEST_F(BackPressureTest, OnSendReadyComesAtTheLowMarkAndMayBlockAgain) {
  std::unique_ptr<Pair> pair = NewBlockedPair();
  size_t sent = sent_;
  int rises = 1;
  pair->client.recorder.on_send_ready = [&](Stream& stream) {
    EXPECT_LE(stream.queued_bytes(), kSmallLimits.low);
    if (rises == 20) return;
    SendResult result = SendResult::kSent;
    for (; result == SendResult::kSent; sent += 7'000) result = stream.Send(Pattern(sent, 7'000));
    EXPECT_EQ(result, SendResult::kBlocked);
    EXPECT_LE(stream.queued_bytes(), kSmallLimits.high + 7'000);
    ++rises;
  };
  pair->server.stream->ResumeReceiving();
  ASSERT_TRUE(Until(*loop_, [&] { return pair->client.recorder.readies == 20; }));
  Receive(*pair, sent);
  EXPECT_EQ(pair->client.recorder.readies, 20);
  EXPECT_TRUE(pair->server.recorder.received == Pattern(0, sent));
}

TEST_F(BackPressureTest, AStreamThatIsClosedWhileBlockedIsNotToldThatItMaySend) {
  std::unique_ptr<Pair> pair = NewBlockedPair();
  pair->client.stream->Close();
  Receive(*pair, sent_);
  ASSERT_TRUE(Until(*loop_, [&] { return pair->closed(); }));
  EXPECT_EQ(pair->client.recorder.Events(), "close");
  EXPECT_TRUE(pair->client.recorder.close_status.ok()) << pair->client.recorder.close_status;
  EXPECT_TRUE(pair->server.recorder.received == Pattern(0, sent_));
}

// The hard limit.

TEST_F(BackPressureTest, PastTheHardLimitTheStreamEndsAndNeverHoldsMore) {
  std::unique_ptr<Pair> pair = NewBlockedPair();
  Stream& writer = *pair->client.stream;
  SendResult result = SendResult::kBlocked;
  while (result == SendResult::kBlocked) {
    result = writer.Send(Pattern(0, 9'999));
    EXPECT_LE(writer.queued_bytes(), kSmallLimits.hard);
  }
  EXPECT_EQ(result, SendResult::kRefused);
  EXPECT_LE(writer.queued_bytes(), kSmallLimits.hard) << "what was not sent";
  EXPECT_TRUE(writer.closing());
  EXPECT_FALSE(pair->client.recorder.closed) << "no callback from inside a call";
  pair->server.stream->ResumeReceiving();
  ASSERT_TRUE(Until(*loop_, [&] { return pair->closed(); }));
  EXPECT_EQ(pair->client.recorder.close_status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(pair->client.recorder.close_status.message().find("400000"), absl::string_view::npos)
      << pair->client.recorder.close_status;
  EXPECT_EQ(pair->server.recorder.close_status.code(), absl::StatusCode::kUnavailable)
      << "the peer sees a reset";
}

TEST_F(BackPressureTest, WhatWasOnlyGatheredDoesNotCountAgainstTheHardLimit) {
  constexpr size_t kLarge = 50'000;
  for (const bool in_callback : {false, true}) {
    Pair pair(*loop_);
    pair.client.stream->SetLimits({.high = 1'000, .low = 100, .hard = 10'000});
    const auto send = [&](Stream& stream) {
      EXPECT_NE(stream.Send(Pattern(0, 4)), SendResult::kRefused);  // a header
      EXPECT_NE(stream.Send(Pattern(4, kLarge)), SendResult::kRefused);
    };
    if (in_callback) {
      pair.client.recorder.on_receive = [&](Stream& stream, absl::Span<uint8_t>) { send(stream); };
      pair.server.stream->Send("go");
    } else {
      send(*pair.client.stream);
    }
    ASSERT_TRUE(Until(*loop_, [&] { return pair.server.recorder.received.size() >= kLarge + 4; }));
    EXPECT_TRUE(pair.server.recorder.received == Pattern(0, kLarge + 4));
  }
}

TEST_F(BackPressureTest, ASingleSendToAnEmptyQueueMayBeLarger) {
  std::unique_ptr<Pair> pair = NewPair();
  EXPECT_EQ(pair->client.stream->Send(Pattern(0, 1'000'000)), SendResult::kBlocked);
  Receive(*pair, 1'000'000);
  EXPECT_TRUE(pair->server.recorder.received == Pattern(0, 1'000'000));
}

TEST_F(BackPressureTest, ControlMessagesHaveAReserveWhoseEndDoesNotEndTheStream) {
  std::unique_ptr<Pair> pair = NewBlockedPair();
  Stream& writer = *pair->client.stream;
  const size_t rest = kSmallLimits.hard - writer.queued_bytes();
  EXPECT_EQ(writer.Send(Pattern(sent_, rest)), SendResult::kBlocked);
  EXPECT_EQ(writer.queued_bytes(), kSmallLimits.hard);
  size_t sent = sent_ + rest;
  const auto control = [&](size_t offset) {
    const std::string bytes = Pattern(offset, 256);
    return writer.SendControl(
        absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
  };
  for (size_t i = 0; i < Stream::kControlReserve / 256; ++i, sent += 256) {
    EXPECT_EQ(control(sent), SendResult::kBlocked);
  }
  EXPECT_EQ(control(sent), SendResult::kRefused);
  EXPECT_FALSE(writer.closing());
  Receive(*pair, sent);
  EXPECT_TRUE(pair->server.recorder.received == Pattern(0, sent));
  EXPECT_EQ(control(sent), SendResult::kSent);
  Receive(*pair, sent + 256);
}

// Memory.

// However the bytes are given, and in whatever pieces, what waits costs little more than it is.
TEST_F(BackPressureTest, TheMemoryOfABlockedQueueIsBounded) {
  constexpr StreamLimits kLimits = {.high = 100'000, .low = 20'000, .hard = 500'000};
  enum How { kSpans, kSlices, kBuffers, kLent };
  for (const size_t piece : {1, 10, 100, 1'000, 10'000}) {
    for (const How how : {kSpans, kSlices, kBuffers, kLent}) {
      SCOPED_TRACE(absl::StrCat("pieces of ", piece, " bytes, given as ", how));
      std::unique_ptr<Pair> pair = NewBlockedPair(kLimits);
      Stream& writer = *pair->client.stream;
      const std::string bytes = Pattern(0, piece);
      const auto span =
          absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
      const auto send = [&] {
        if (how == kSpans) return writer.Send(span);
        if (how == kLent) return writer.SendLent(span);
        if (how == kSlices) return writer.Send(Slice::Copy(span));
        Buffer chain;
        for (size_t i = 0; i < 10 && (i + 1) * piece <= 1'000; ++i) chain.Append(Slice::Copy(span));
        return writer.Send(std::move(chain));
      };
      const int64_t before = BytesInUse();
      const size_t queued = writer.queued_bytes();
      while (writer.queued_bytes() + std::max<size_t>(piece, 1'000) <= kLimits.hard) {
        ASSERT_EQ(send(), SendResult::kBlocked);
        if (how == kBuffers && piece > 1'000) break;
      }
      const int64_t cost = BytesInUse() - before;
      const auto added = static_cast<int64_t>(writer.queued_bytes() - queued);
      EXPECT_LT(cost, added * 5 / 4 + 100'000);
    }
  }
}

TEST_F(BackPressureTest, AConnectionThatHasSpokenAndHasNothingToSendOwnsNothing) {
  Pair pair(*loop_);
  int64_t before = 0;
  pair.server.recorder.on_receive = [&](Stream& stream, absl::Span<uint8_t>) {
    if (pair.server.recorder.receives == 1) {
      stream.Send("answer");
    } else {
      before = BytesInUse();
      stream.Send("");  // of nothing, such as an empty part of a message
      EXPECT_EQ(BytesInUse(), before);
    }
  };
  for (int i = 1; i <= 2; ++i) {
    pair.client.stream->Send("x");
    ASSERT_TRUE(Until(*loop_, [&] { return pair.server.recorder.receives == i; }));
  }
}

TEST_F(BackPressureTest, ABroadcastIsHeldOnceHoweverManyWaitForIt) {
  constexpr size_t kMessage = 200'000;
  constexpr int kStreams = 20;
  std::vector<std::unique_ptr<Pair>> pairs;
  for (int i = 0; i < kStreams; ++i) {
    pairs.push_back(NewPair());
    pairs.back()->server.stream->PauseReceiving();
  }
  bool released = false;
  const int64_t before = BytesInUse();
  {
    const std::string message = Pattern(0, kMessage);
    auto kept = std::make_shared<std::string>(message);
    const Slice slice = Slice::External(
        absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(kept->data()), kept->size()),
        [kept, &released] { released = true; });
    for (const std::unique_ptr<Pair>& pair : pairs) {
      EXPECT_EQ(pair->client.stream->Send(slice), SendResult::kBlocked);
    }
  }
  EXPECT_LT(BytesInUse() - before, static_cast<int64_t>(2 * kMessage));
  EXPECT_FALSE(released);
  for (const std::unique_ptr<Pair>& pair : pairs) {
    Receive(*pair, kMessage);
    EXPECT_TRUE(pair->server.recorder.received == Pattern(0, kMessage));
  }
  EXPECT_TRUE(released);
}

// A reader that is slower than the one it relays for.
TEST_F(BackPressureTest, ARelayStopsReadingInsteadOfGathering) {
  constexpr size_t kTotal = 5'000'000;
  std::unique_ptr<Pair> in = NewPair();
  std::unique_ptr<Pair> out = NewPair();
  Stream& source = *in->server.stream;
  Stream& sink = *out->client.stream;
  size_t most = 0;
  in->server.recorder.on_receive = [&](Stream&, absl::Span<uint8_t> bytes) {
    in->server.recorder.received.clear();
    if (sink.SendLent(bytes) == SendResult::kBlocked) source.PauseReceiving();
    most = std::max(most, sink.queued_bytes());
  };
  out->client.recorder.on_send_ready = [&](Stream&) { source.ResumeReceiving(); };
  size_t sent = 0;
  const auto send = [&](Stream& stream) {
    SendResult result = SendResult::kSent;
    for (; result == SendResult::kSent && sent < kTotal; sent += 10'000) {
      result = stream.Send(Pattern(sent, 10'000));
    }
  };
  in->client.recorder.on_send_ready = send;
  // It reads one piece, and then not before a turn in which nothing else happens.
  out->server.recorder.on_receive = [&](Stream& stream, absl::Span<uint8_t>) {
    stream.PauseReceiving();
    loop_->Post([&] { stream.ResumeReceiving(); });
  };
  send(*in->client.stream);
  ASSERT_TRUE(Until(*loop_, [&] { return out->server.recorder.received.size() >= kTotal; }));
  EXPECT_TRUE(out->server.recorder.received == Pattern(0, kTotal));
  EXPECT_LE(most, kSmallLimits.high + 256 * 1024);
}

// Lent bytes.

// Each connection's echo waits behind a full queue while the others receive into the same memory.
TEST_F(BackPressureTest, LentBytesThatCouldNotLeaveSurviveTheNextReceives) {
  constexpr size_t kEach = 300'000;
  std::vector<std::unique_ptr<Pair>> pairs;
  for (size_t i = 0; i < 4; ++i) {
    pairs.push_back(NewPair({.high = 1'000'000, .low = 1'000, .hard = 2'000'000}));
    Pair& pair = *pairs.back();
    pair.server.recorder.on_receive = [](Stream& stream, absl::Span<uint8_t> bytes) {
      // In two pieces, with something of its own between.
      const size_t half = bytes.size() / 2;
      stream.SendLent(bytes.first(half));
      stream.Send("|");
      stream.SendLent(bytes.subspan(half));
    };
    pair.client.stream->PauseReceiving();
    pair.client.stream->Send(Pattern(i * kEach, kEach));
  }
  ASSERT_TRUE(Until(*loop_, [&] {
    return std::all_of(pairs.begin(), pairs.end(), [](const std::unique_ptr<Pair>& pair) {
      return pair->server.recorder.received.size() == kEach;
    });
  }));
  for (size_t i = 0; i < pairs.size(); ++i) {
    Pair& pair = *pairs[i];
    EXPECT_GT(pair.server.stream->queued_bytes(), 100'000u);
    const size_t total = kEach + static_cast<size_t>(pair.server.recorder.receives);
    pair.client.stream->ResumeReceiving();
    ASSERT_TRUE(Until(*loop_, [&] { return pair.client.recorder.received.size() == total; }));
    // Without the separators, which stand where the pattern is interrupted.
    const std::string& got = pair.client.recorder.received;
    const std::string expected = Pattern(i * kEach, kEach);
    size_t at = 0;
    int separators = 0;
    for (size_t position = 0; position < got.size(); ++position) {
      if (at < kEach && got[position] == expected[at]) {
        ++at;
      } else {
        ASSERT_EQ(got[position], '|') << position;
        ++separators;
      }
    }
    EXPECT_EQ(at, kEach);
    EXPECT_EQ(separators, pair.server.recorder.receives);
  }
}

// What one stream lends is sent on another, which is flushed only after others have received.
TEST_F(BackPressureTest, LentBytesMayBeSentOnOtherStreams) {
  constexpr size_t kEach = 20'000;
  constexpr size_t kSources = 6;
  Pair sink(*loop_);
  std::vector<std::unique_ptr<Pair>> sources;
  std::string expected;
  for (size_t i = 0; i < kSources; ++i) {
    sources.push_back(std::make_unique<Pair>(*loop_));
    sources.back()->server.recorder.on_receive = [&](Stream& stream, absl::Span<uint8_t> bytes) {
      expected.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      EXPECT_EQ(sink.client.stream->SendLent(bytes), SendResult::kSent);
      stream.SendLent(bytes);
    };
    sources.back()->client.stream->Send(Pattern(i * kEach, kEach));
  }
  ASSERT_TRUE(Until(*loop_, [&] {
    return sink.server.recorder.received.size() == kSources * kEach &&
           std::all_of(sources.begin(), sources.end(), [&](const std::unique_ptr<Pair>& source) {
             return source->client.recorder.received.size() == kEach;
           });
  }));
  EXPECT_TRUE(sink.server.recorder.received == expected);
  for (size_t i = 0; i < kSources; ++i) {
    EXPECT_TRUE(sources[i]->client.recorder.received == Pattern(i * kEach, kEach));
  }
}

TEST_F(BackPressureTest, BytesThatAreNotLentMayBeGivenToSendLent) {
  Pair pair(*loop_);
  const auto send_mine = [](Stream& stream) {
    std::string mine = Pattern(0, 30'000);
    stream.SendLent(absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(mine.data()), 30'000));
    std::fill(mine.begin(), mine.end(), '!');
  };
  pair.client.recorder.on_receive = [&](Stream& stream, absl::Span<uint8_t>) { send_mine(stream); };
  send_mine(*pair.client.stream);
  pair.server.stream->Send("once more, in a callback");
  ASSERT_TRUE(Until(*loop_, [&] { return pair.server.recorder.received.size() == 60'000; }));
  EXPECT_TRUE(pair.server.recorder.received == Pattern(0, 30'000) + Pattern(0, 30'000));
}

// Order, whatever was copied, shared or lent.
TEST_F(BackPressureTest, MixedSendsKeepTheirOrder) {
  std::unique_ptr<Pair> pair = NewPair({.high = 1'000, .low = 100, .hard = 8'000'000});
  std::string expected;
  int round = 0;
  pair->client.recorder.on_receive = [&](Stream& stream, absl::Span<uint8_t> bytes) {
    const size_t sizes[] = {1, 100, 1'000, 10'000, 140'000};
    const std::string piece = Pattern(expected.size(), sizes[round % 5]);
    Buffer chain;
    chain.Append(piece);
    chain.Append(Slice::Copy(piece));
    const std::string chained = chain.ToString();
    stream.Send(piece);
    stream.Send(Slice::Copy(piece));
    stream.SendLent(bytes);
    stream.Send(std::move(chain));
    stream.SendLent(bytes);
    absl::StrAppend(&expected, piece, piece,
                    absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()),
                    chained,
                    absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    ++round;
  };
  for (int i = 0; i < 10; ++i) {
    pair->server.stream->Send(Pattern(static_cast<size_t>(i) * 500, 500));
    ASSERT_TRUE(Until(*loop_, [&] { return round > i; }));
  }
  Receive(*pair, expected.size());
  EXPECT_TRUE(pair->server.recorder.received == expected);
}

}  // namespace
}  // namespace sluice
