#include "sluice/tls/internal/record_channel.h"

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "openssl/err.h"
#include "openssl/ssl.h"
#include "sluice/core/buffer.h"
#include "sluice/core/slice.h"
#include "sluice/tls/bare_peer.h"
#include "sluice/tls/context.h"
#include "sluice/tls/context_impl.h"
#include "sluice/tls/internal/error.h"
#include "sluice/tls/internal/record_pair.h"
#include "sluice/tls/testing.h"

namespace sluice::tls::internal {
namespace {

const ServerContext& Context() {
  static const auto* const context = [] {
    ServerOptions options;
    options.identities = {TestAuthority().Issue()};
    return new std::shared_ptr<const ServerContext>(*ServerContext::Create(options));
  }();
  return **context;
}

class RecordChannelTest : public testing::Test {
 protected:
  void Connect(uint64_t rekey_after = RecordChannel::kRekeyAfter) {
    pair_ = std::make_unique<RecordPair>(ContextAccess::Of(Context()).ctx.get(), clients_.ctx(),
                                         rekey_after);
  }
  void SetUp() override { Connect(); }

  RecordChannel& server() { return pair_->server(); }
  SslChannel& client() { return pair_->client(); }

  // What the server finds wrong with the input, and which alert the client sees. The server finds
  // the same again whenever it is asked.
  void ExpectFailure(absl::string_view message, int alert) {
    for (int i = 0; i < 2; ++i) {
      pair_->ReadAtServer();
      ASSERT_EQ(pair_->outcome(), SSL_ERROR_SSL);
      EXPECT_EQ(TakeError("TLS").message(), absl::StrCat("TLS: ", message));
    }
    EXPECT_EQ(AlertAtClient(), alert);
  }

  int AlertAtClient() {
    pair_->MoveToClient();
    pair_->ReadAtClient();
    if (pair_->outcome() != SSL_ERROR_SSL) return -1;
    const int reason = ERR_GET_REASON(ERR_peek_error());
    ERR_clear_error();
    return reason - SSL_AD_REASON_OFFSET;
  }

  // Bytes pass in both directions.
  void ExpectWorks() {
    RecordPair::Write(client(), "ping");
    pair_->MoveToServer();
    EXPECT_EQ(pair_->ReadAtServer(), "ping");
    RecordPair::Write(server(), "pong");
    pair_->MoveToClient();
    EXPECT_EQ(pair_->ReadAtClient(), "pong");
  }

  BareClientContext clients_;
  std::unique_ptr<RecordPair> pair_;
};

std::string Text(size_t size) {
  std::string text(size, 0);
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + (i * 7 + i / 251) % 26);
  return text;
}

std::string Update() { return std::string("\x18\0\0\1\0", 5); }
std::string UpdateAndAnswer() { return std::string("\x18\0\0\1\1", 5); }

TEST_F(RecordChannelTest, BytesOfAllSizesArriveBothWays) {
  for (const size_t size : {size_t{1}, size_t{15}, size_t{16}, size_t{1000}, size_t{16384},
                            size_t{16385}, size_t{100'000}}) {
    const std::string text = Text(size);
    RecordPair::Write(client(), text);
    pair_->MoveToServer();
    EXPECT_EQ(pair_->ReadAtServer(), text);
    EXPECT_EQ(pair_->outcome(), SSL_ERROR_WANT_READ);
    RecordPair::Write(server(), text);
    pair_->MoveToClient();
    EXPECT_EQ(pair_->ReadAtClient(), text);
  }
}

TEST_F(RecordChannelTest, ARecordMayArriveByteByByte) {
  RecordPair::Write(client(), "one");
  RecordPair::Write(client(), "two");
  const std::string input = client().TakeOutput().ToString();
  std::string read;
  for (const char c : input) {
    pair_->SendToServer(absl::string_view(&c, 1));
    read += pair_->ReadAtServer();
    EXPECT_EQ(pair_->outcome(), SSL_ERROR_WANT_READ);
  }
  EXPECT_EQ(read, "onetwo");
}

TEST_F(RecordChannelTest, ARecordThatDoesNotFitIsReadInPieces) {
  const std::string text = Text(40'000);
  for (const size_t space : {size_t{1}, size_t{7}, size_t{1024}, size_t{16384}, size_t{16385}}) {
    RecordPair::Write(client(), text);
    pair_->MoveToServer();
    EXPECT_EQ(pair_->ReadAtServer(space), text) << space;
  }
}

TEST_F(RecordChannelTest, BytesInManyPiecesAreOneRecord) {
  Buffer plain;
  for (int i = 0; i < 100; ++i) plain.Append(Slice::Copy(Text(17)));
  const std::string text = plain.ToString();
  ASSERT_TRUE(server().Write(plain, 1000));
  EXPECT_EQ(plain.size(), 700u);
  EXPECT_EQ(server().output_size(), 1000 + RecordKeys::kOverhead);
  ASSERT_TRUE(server().Write(plain, 700));
  pair_->MoveToClient();
  EXPECT_EQ(pair_->ReadAtClient(), text);
}

TEST_F(RecordChannelTest, PaddingIsTakenOff) {
  pair_->SendToServer(pair_->Seal(0, absl::StrCat("text", "\x17", std::string(100, '\0'))));
  EXPECT_EQ(pair_->ReadAtServer(), "text");
  // As much as there may be: the bytes, their type and the padding are 16,385.
  const std::string most = absl::StrCat("text", "\x17", std::string(16'384 - 5, '\0'));
  pair_->SendToServer(pair_->Seal(0, most));
  EXPECT_EQ(pair_->ReadAtServer(), "text");
}

// The end.

TEST_F(RecordChannelTest, TheEndIsToldBothWays) {
  SSL_shutdown(client().ssl());
  pair_->MoveToServer();
  EXPECT_EQ(pair_->ReadAtServer(), "");
  EXPECT_EQ(pair_->outcome(), SSL_ERROR_ZERO_RETURN);
  pair_->ReadAtServer();
  EXPECT_EQ(pair_->outcome(), SSL_ERROR_ZERO_RETURN);
  // The other half is open yet.
  RecordPair::Write(server(), "more");
  server().WriteEnd();
  pair_->MoveToClient();
  EXPECT_EQ(pair_->ReadAtClient(), "more");
  pair_->ReadAtClient();
  EXPECT_EQ(pair_->outcome(), SSL_ERROR_ZERO_RETURN);
}

TEST_F(RecordChannelTest, WhatComesAfterTheEndIsNotRead) {
  std::string input = pair_->Seal(23, "last");
  input += pair_->Seal(21, absl::string_view("\1\0", 2));
  input += pair_->Seal(23, "late");
  pair_->SendToServer(input + "and no record");
  EXPECT_EQ(pair_->ReadAtServer(), "last");
  EXPECT_EQ(pair_->outcome(), SSL_ERROR_ZERO_RETURN);
}

TEST_F(RecordChannelTest, AnEndThatWasNotToldIsNone) {
  const std::string record = pair_->Seal(23, "cut");
  pair_->SendToServer(record.substr(0, record.size() - 1));
  server().SetInputEnd();
  EXPECT_EQ(pair_->ReadAtServer(), "");
  EXPECT_EQ(pair_->outcome(), SSL_ERROR_SYSCALL);
}

TEST_F(RecordChannelTest, AnAlertIsTheError) {
  pair_->SendToServer(pair_->Seal(21, absl::string_view("\2\x2a", 2)));
  pair_->ReadAtServer();
  EXPECT_EQ(pair_->outcome(), SSL_ERROR_SSL);
  EXPECT_EQ(TakeError("TLS").code(), absl::StatusCode::kUnauthenticated);
  EXPECT_FALSE(server().has_output());
}

// Whatever its level: a warning that BoringSSL would not heed, either.
TEST_F(RecordChannelTest, AnAlertOfLevelWarningIsAnError) {
  pair_->SendToServer(pair_->Seal(21, absl::string_view("\1\x0a", 2)));
  pair_->ReadAtServer();
  EXPECT_EQ(pair_->outcome(), SSL_ERROR_SSL);
  EXPECT_NE(TakeError("TLS").message().find("unexpected"), absl::string_view::npos);
}

TEST_F(RecordChannelTest, UserCancelledIsFollowedByTheEnd) {
  pair_->SendToServer(pair_->Seal(21, "\1\x5a"));
  pair_->SendToServer(pair_->Seal(21, absl::string_view("\1\0", 2)));
  pair_->ReadAtServer();
  EXPECT_EQ(pair_->outcome(), SSL_ERROR_ZERO_RETURN);
}

TEST_F(RecordChannelTest, AnAlertOfAnotherSizeIsRefused) {
  pair_->SendToServer(pair_->Seal(21, "\2"));
  ExpectFailure("bad alert", SSL_AD_DECODE_ERROR);
  Connect();
  pair_->SendToServer(pair_->Seal(21, ""));
  ExpectFailure("bad alert", SSL_AD_UNEXPECTED_MESSAGE);
}

// What it says is not read any more.
TEST_F(RecordChannelTest, AFailureAfterTheEndIsNotToldToThePeer) {
  server().WriteEnd();
  server().TakeOutput();
  pair_->SendToServer(pair_->Seal(99, "bad"));
  pair_->ReadAtServer();
  EXPECT_EQ(pair_->outcome(), SSL_ERROR_SSL);
  EXPECT_FALSE(server().has_output());
}

// What the client could not have sent.

TEST_F(RecordChannelTest, EachBitOfARecordIsProtected) {
  const std::string record = pair_->Seal(23, "text");
  for (size_t i = 0; i < record.size(); ++i) {
    // The type has a test of its own. The length: more is waited for, or the rest is no record.
    if (i == 0 || i == 3 || i == 4) continue;
    Connect();
    std::string damaged = pair_->Seal(23, "text");
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << (i % 8)));
    pair_->SendToServer(damaged);
    ExpectFailure("a record was damaged on its way or forged", SSL_AD_BAD_RECORD_MAC);
  }
}

TEST_F(RecordChannelTest, ARecordIsReadOnceAndInOrder) {
  const std::string first = pair_->Seal(23, "first");
  pair_->SendToServer(first);
  EXPECT_EQ(pair_->ReadAtServer(), "first");
  pair_->SendToServer(first);
  ExpectFailure("a record was damaged on its way or forged", SSL_AD_BAD_RECORD_MAC);

  Connect();
  pair_->Seal(23, "lost");
  pair_->SendToServer(pair_->Seal(23, "second"));
  ExpectFailure("a record was damaged on its way or forged", SSL_AD_BAD_RECORD_MAC);
}

TEST_F(RecordChannelTest, WhatWasReadBeforeAFailureIsKept) {
  pair_->SendToServer(absl::StrCat(pair_->Seal(23, "good"), "\x17\3\3\x41\1"));
  EXPECT_EQ(pair_->ReadAtServer(), "good");
  ExpectFailure("encrypted length too long", SSL_AD_RECORD_OVERFLOW);
}

// The failure is told when it is asked for, so that the answer to "good" comes before the alert.
TEST_F(RecordChannelTest, WhatWasReadBeforeAFailureCanBeAnswered) {
  for (const bool too_long : {false, true}) {
    Connect();
    pair_->SendToServer(pair_->Seal(23, "good"));
    pair_->SendToServer(too_long ? "\x17\3\3\x41\1" : pair_->Seal(99, "bad"));
    uint8_t space[100];
    int outcome;
    EXPECT_EQ(server().Read(absl::MakeSpan(space), outcome), 4u);
    EXPECT_EQ(outcome, SSL_ERROR_NONE);
    EXPECT_EQ(ERR_peek_error(), 0u);
    RecordPair::Write(server(), "answer");
    pair_->MoveToClient();
    EXPECT_EQ(pair_->ReadAtClient(), "answer");
    EXPECT_EQ(server().Read(absl::MakeSpan(space), outcome), 0u);
    EXPECT_EQ(outcome, SSL_ERROR_SSL);
    EXPECT_NE(AlertAtClient(), -1);
  }
}

TEST_F(RecordChannelTest, ARecordThatIsTooShortIsRefused) {
  pair_->SendToServer(absl::StrCat(absl::string_view("\x17\3\3\0\x10", 5), std::string(16, 'x')));
  ExpectFailure("a record was damaged on its way or forged", SSL_AD_BAD_RECORD_MAC);
}

// At its header: the rest is not waited for.
TEST_F(RecordChannelTest, ARecordThatIsTooLongIsRefused) {
  pair_->SendToServer("\x17\3\3\x41\1");
  ExpectFailure("encrypted length too long", SSL_AD_RECORD_OVERFLOW);
  Connect();
  pair_->SendToServer(pair_->Seal(23, Text(16'385)));
  ExpectFailure("data length too long", SSL_AD_RECORD_OVERFLOW);
}

TEST_F(RecordChannelTest, ARecordWithoutATypeIsRefused) {
  pair_->SendToServer(pair_->Seal(0, std::string(10, '\0')));
  ExpectFailure("a record was damaged on its way or forged", SSL_AD_UNEXPECTED_MESSAGE);
}

TEST_F(RecordChannelTest, OtherTypesAreRefused) {
  for (const uint8_t type : {uint8_t{20}, uint8_t{24}, uint8_t{99}}) {
    Connect();
    pair_->SendToServer(pair_->Seal(type, "\1"));
    ExpectFailure("unexpected record", SSL_AD_UNEXPECTED_MESSAGE);
  }
}

// At its header: they are not encrypted, or no records.
TEST_F(RecordChannelTest, OtherTypesInTheHeaderAreRefused) {
  for (const absl::string_view bytes :
       {absl::string_view("\x14\3\3\0\1\1", 6), absl::string_view("\x15\3\3\0\2\2\x28", 7),
        absl::string_view("GET / HTTP/1.1\r\n\r\n")}) {
    Connect();
    pair_->SendToServer(bytes);
    ExpectFailure("unexpected record", SSL_AD_UNEXPECTED_MESSAGE);
  }
}

TEST_F(RecordChannelTest, AFewEmptyRecordsAreAllowed) {
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 32; ++i) pair_->SendToServer(pair_->Seal(23, ""));
    pair_->SendToServer(pair_->Seal(23, "x"));
    EXPECT_EQ(pair_->ReadAtServer(), "x");
  }
  for (int i = 0; i < 33; ++i) pair_->SendToServer(pair_->Seal(23, ""));
  ExpectFailure("the peer sends empty records only", SSL_AD_UNEXPECTED_MESSAGE);
}

// Changes of keys.

TEST_F(RecordChannelTest, ThePeerMayChangeItsKeys) {
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(SSL_key_update(client().ssl(),
                             i % 2 == 0 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED),
              1);
    ExpectWorks();
  }
}

TEST_F(RecordChannelTest, KeysAreChangedAfterManyRecords) {
  Connect(/*rekey_after=*/10);
  const std::string text = Text(100);
  for (int i = 0; i < 100; ++i) {
    RecordPair::Write(server(), text);
    pair_->MoveToClient();
    ASSERT_EQ(pair_->ReadAtClient(), text);
  }
  ExpectWorks();
}

TEST_F(RecordChannelTest, AChangeOfKeysMayComeInPieces) {
  for (const char c : Update()) pair_->SendToServer(pair_->Seal(22, absl::string_view(&c, 1)));
  pair_->client_keys().Update();
  pair_->SendToServer(pair_->Seal(23, "text"));
  EXPECT_EQ(pair_->ReadAtServer(), "text");
}

// However often it is asked for, and only when there is something to send.
TEST_F(RecordChannelTest, TheAnswerToAChangeOfKeysIsOne) {
  for (int i = 0; i < 20; ++i) {
    pair_->SendToServer(pair_->Seal(22, UpdateAndAnswer()));
    pair_->client_keys().Update();
  }
  pair_->ReadAtServer();
  EXPECT_FALSE(server().has_output());
  RecordPair::Write(server(), "x");
  EXPECT_EQ(server().output_size(), 1 + 5 + 2 * RecordKeys::kOverhead);
  pair_->MoveToClient();
  EXPECT_EQ(pair_->ReadAtClient(), "x");
}

TEST_F(RecordChannelTest, AChangeOfKeysIsNotAnsweredAfterTheEnd) {
  server().WriteEnd();
  server().TakeOutput();
  pair_->SendToServer(pair_->Seal(22, UpdateAndAnswer()));
  pair_->client_keys().Update();
  pair_->SendToServer(pair_->Seal(23, "text"));
  EXPECT_EQ(pair_->ReadAtServer(), "text");
  EXPECT_FALSE(server().has_output());
}

TEST_F(RecordChannelTest, ManyChangesOfKeysNeedBytesBetweenThem) {
  for (int i = 0; i < 33; ++i) {
    pair_->SendToServer(pair_->Seal(22, Update()));
    pair_->client_keys().Update();
  }
  ExpectFailure("the peer changes its keys without sending anything", SSL_AD_UNEXPECTED_MESSAGE);
}

TEST_F(RecordChannelTest, AChangeOfKeysThatIsNotOneIsRefused) {
  struct Case {
    std::string bytes;
    absl::string_view message;
    int alert;
  };
  for (const Case& c : {
           Case{std::string("\x18\0\0\1\2", 5), "decode error", SSL_AD_ILLEGAL_PARAMETER},
           Case{std::string("\x18\0\0\2", 4), "decode error", SSL_AD_DECODE_ERROR},
           Case{std::string("\x18\1\0\1", 4), "decode error", SSL_AD_DECODE_ERROR},
           Case{Update() + "x", "excess handshake data", SSL_AD_UNEXPECTED_MESSAGE},
           Case{Update() + Update(), "excess handshake data", SSL_AD_UNEXPECTED_MESSAGE},
           Case{"", "unexpected record", SSL_AD_UNEXPECTED_MESSAGE},
       }) {
    Connect();
    pair_->SendToServer(pair_->Seal(22, c.bytes));
    ExpectFailure(c.message, c.alert);
  }
}

// A ClientHello would be a renegotiation; tickets are a server's; the rest is of the handshake.
TEST_F(RecordChannelTest, OtherMessagesOfTheHandshakeAreRefused) {
  for (const char type : {'\0', '\1', '\2', '\4', '\x0b', '\x0d', '\x0f', '\x14'}) {
    for (const absl::string_view rest : {"", "abcdefgh"}) {
      Connect();
      pair_->SendToServer(pair_->Seal(22, absl::StrCat(std::string(1, type), rest)));
      ExpectFailure("unexpected message", SSL_AD_UNEXPECTED_MESSAGE);
    }
  }
}

TEST_F(RecordChannelTest, NothingComesBetweenThePiecesOfAMessage) {
  pair_->SendToServer(pair_->Seal(22, Update().substr(0, 2)));
  pair_->SendToServer(pair_->Seal(23, "text"));
  ExpectFailure("unexpected record", SSL_AD_UNEXPECTED_MESSAGE);
}

// Who may take over.

TEST_F(RecordChannelTest, AClientAndAHandshakeStayBoringSsls) {
  EXPECT_EQ(RecordChannel::TakeOver(client()), nullptr);
  SslChannel fresh(ContextAccess::Of(Context()).ctx.get(), /*server=*/true);
  EXPECT_EQ(RecordChannel::TakeOver(fresh), nullptr);
}

}  // namespace
}  // namespace sluice::tls::internal
