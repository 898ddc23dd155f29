#include "sluice/protocols/websocket/client_handshake.h"

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/protocols/websocket/deflate.h"
#include "sluice/protocols/websocket/handshake.h"

namespace sluice::websocket {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

absl::Span<const uint8_t> AsBytes(absl::string_view text) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

std::string KeyOf(absl::string_view request) {
  for (absl::string_view line : absl::StrSplit(request, "\r\n")) {
    if (absl::ConsumePrefix(&line, "Sec-WebSocket-Key: ")) return std::string(line);
  }
  return "";
}

class ClientHandshakeTest : public testing::Test {
 protected:
  ClientHandshakeTest() { asked.host = "example.com"; }

  ClientHandshake Make() {
    absl::StatusOr<ClientHandshake> handshake = ClientHandshake::Create(asked);
    EXPECT_TRUE(handshake.ok()) << handshake.status();
    return *std::move(handshake);
  }

  // "open" and what is left of the bytes, "more", or the status. ACCEPT in the answer stands for
  // what the key asks for. Whole, byte by byte and split at every point must come to the same.
  std::string Read(absl::string_view answer) {
    const std::string whole = ReadSplit(answer, 0);
    for (size_t split = 1; split<answer.size(); split += answer.size()> 3000 ? 97 : 1) {
      EXPECT_EQ(ReadSplit(answer, split), whole) << "split at " << split;
    }
    return whole;
  }

  std::string ReadSplit(absl::string_view text, size_t split) {
    ClientHandshake handshake = Make();
    const std::string answer =
        absl::StrReplaceAll(text, {{"ACCEPT", AcceptForKey(KeyOf(handshake.request()))}});
    std::string rest;
    bool open = false;
    for (absl::string_view piece :
         {absl::string_view(answer).substr(0, split), absl::string_view(answer).substr(split)}) {
      const std::vector<uint8_t> memory(piece.begin(), piece.end());
      absl::Span<const uint8_t> left = memory;
      if (!open) {
        const absl::StatusOr<bool> result = handshake.Read(left);
        if (!result.ok()) return result.status().ToString();
        open = *result;
        if (!open) {
          EXPECT_TRUE(left.empty());
        }
      }
      rest.append(left.begin(), left.end());
    }
    subprotocol = handshake.subprotocol();
    return open ? absl::StrCat("open:", rest) : "more";
  }

  std::string ReadWith(absl::string_view text, absl::string_view replacement) {
    const std::string answer = absl::StrReplaceAll(kAnswer, {{text, replacement}});
    EXPECT_NE(answer, kAnswer) << "nothing was replaced";
    return Read(answer);
  }

  static constexpr absl::string_view kAnswer =
      "HTTP/1.1 101 Switching Protocols\r\n"
      "Upgrade: websocket\r\n"
      "Connection: Upgrade\r\n"
      "Sec-WebSocket-Accept: ACCEPT\r\n"
      "\r\n";

  ClientHandshake::Options asked;
  std::string subprotocol;
};

TEST_F(ClientHandshakeTest, HeaderExample) {
  std::string sent, decoded;
  const auto Send = [&](absl::string_view text) { absl::StrAppend(&sent, text); };
  const auto Decode = [&](absl::Span<const uint8_t> b) { decoded.assign(b.begin(), b.end()); };
  const auto open_connection = [&]() -> absl::Status {
    ClientHandshake::Options options;
    options.host = "example.com";
    options.target = "/chat";
    absl::StatusOr<ClientHandshake> handshake = ClientHandshake::Create(options);
    if (!handshake.ok()) return handshake.status();
    Send(handshake->request());
    const std::string answer = absl::StrCat(
        absl::StrReplaceAll(kAnswer, {{"ACCEPT", AcceptForKey(KeyOf(sent))}}), "frame");
    absl::Span<const uint8_t> bytes = AsBytes(answer);
    absl::StatusOr<bool> open = handshake->Read(bytes);  // whenever bytes arrive
    if (!open.ok()) return open.status();
    if (*open) Decode(bytes);  // frames may follow
    return absl::OkStatus();
  };
  EXPECT_TRUE(open_connection().ok());
  EXPECT_THAT(sent, StartsWith("GET /chat HTTP/1.1\r\nHost: example.com\r\n"));
  EXPECT_EQ(decoded, "frame");
}

TEST_F(ClientHandshakeTest, TheRequestHasWhatSection41AsksFor) {
  asked.target = "/chat?x=1";
  const ClientHandshake handshake = Make();
  const std::string key = KeyOf(handshake.request());
  EXPECT_EQ(key.size(), 24u);
  EXPECT_EQ(handshake.request(), absl::StrCat("GET /chat?x=1 HTTP/1.1\r\n"
                                              "Host: example.com\r\n"
                                              "Upgrade: websocket\r\n"
                                              "Connection: Upgrade\r\n"
                                              "Sec-WebSocket-Key: ",
                                              key,
                                              "\r\n"
                                              "Sec-WebSocket-Version: 13\r\n"
                                              "\r\n"));
}

TEST_F(ClientHandshakeTest, TheRequestHasOriginSubprotocolsAndHeadersAsGiven) {
  asked.origin = "https://example.com";
  asked.subprotocols = {"v2", "v1"};
  asked.headers = {{"Cookie", "a=b"}, {"Authorization", "Basic eA=="}};
  EXPECT_THAT(std::string(Make().request()), EndsWith("Version: 13\r\n"
                                                      "Origin: https://example.com\r\n"
                                                      "Sec-WebSocket-Protocol: v2, v1\r\n"
                                                      "Cookie: a=b\r\n"
                                                      "Authorization: Basic eA==\r\n"
                                                      "\r\n"));
}

TEST_F(ClientHandshakeTest, Section41EachKeyIsNew) {
  std::set<std::string> keys;
  for (int i = 0; i < 100; ++i) keys.insert(KeyOf(Make().request()));
  EXPECT_EQ(keys.size(), 100u);
}

TEST_F(ClientHandshakeTest, AServerOfOurOwnAcceptsIt) {
  asked.subprotocols = {"v2", "v1"};
  ClientHandshake client = Make();
  ServerHandshake::Options server_options;
  server_options.subprotocols = {"v1"};
  ServerHandshake server(server_options);
  std::string answer;
  absl::Span<const uint8_t> request = AsBytes(client.request());
  ASSERT_EQ(server.Read(
                request, [](const HandshakeRequest&, HandshakeReply&) {}, answer),
            ServerHandshake::kAccepted);
  absl::Span<const uint8_t> bytes = AsBytes(answer);
  const absl::StatusOr<bool> open = client.Read(bytes);
  ASSERT_TRUE(open.ok()) << open.status();
  EXPECT_TRUE(*open);
  EXPECT_EQ(client.subprotocol(), "v1");
}

TEST_F(ClientHandshakeTest, OptionsThatMakeNoRequestAreRefused) {
  const auto refused = [](const ClientHandshake::Options& options) {
    return absl::IsInvalidArgument(ClientHandshake::Create(options).status());
  };
  ClientHandshake::Options good;
  good.host = "h";
  EXPECT_FALSE(refused(good));
  EXPECT_TRUE(refused({}));
  for (absl::string_view host : {"a b", "a\r\nX: y", "caf\xc3\xa9"}) {
    ClientHandshake::Options bad = good;
    bad.host = std::string(host);
    EXPECT_TRUE(refused(bad)) << host;
  }
  for (absl::string_view target : {"", "x", "/a b", "/a#b", "/a\r\nX: y", "/caf\xc3\xa9"}) {
    ClientHandshake::Options bad = good;
    bad.target = std::string(target);
    EXPECT_TRUE(refused(bad)) << target;
  }
  ClientHandshake::Options bad = good;
  bad.origin = "x\r\ny";
  EXPECT_TRUE(refused(bad));
  bad = good;
  bad.subprotocols = {"a b"};
  EXPECT_TRUE(refused(bad));
  for (absl::string_view name : {"Host", "upgrade", "Connection", "Sec-WebSocket-Key", "a b", ""}) {
    bad = good;
    bad.headers = {{std::string(name), "x"}};
    EXPECT_TRUE(refused(bad)) << name;
  }
  bad = good;
  bad.headers = {{"X", "a\r\nY: b"}};
  EXPECT_TRUE(refused(bad));
}

TEST_F(ClientHandshakeTest, Section41SubprotocolsAreUnique) {
  asked.subprotocols = {"v2", "v1", "v2"};
  const absl::Status status = ClientHandshake::Create(asked).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("the subprotocol \"v2\" is there twice"));
}

// ---- answers
// --------------------------------------------------------------------------------------

TEST_F(ClientHandshakeTest, BytesAfterTheHeadAreLeftForTheDecoder) {
  EXPECT_EQ(Read(kAnswer), "open:");
  EXPECT_EQ(Read(absl::StrCat(kAnswer, "frames")), "open:frames");
}

TEST_F(ClientHandshakeTest, NamesAndTokensCompareInAnyCase) {
  EXPECT_EQ(ReadWith("Upgrade: websocket", "upgrade: WebSocket"), "open:");
  EXPECT_EQ(ReadWith("Connection: Upgrade", "CONNECTION: keep-alive, upgrade"), "open:");
  EXPECT_EQ(ReadWith("Switching Protocols", "whatever"), "open:");
  EXPECT_EQ(ReadWith(" Switching Protocols", ""), "open:");
}

TEST_F(ClientHandshakeTest, Section41AcceptMustAnswerTheKey) {
  EXPECT_THAT(ReadWith("ACCEPT", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
              HasSubstr("FAILED_PRECONDITION: WebSocket handshake with example.com: the answer is "
                        "wrong: its Sec-WebSocket-Accept"));
  EXPECT_THAT(ReadWith("Sec-WebSocket-Accept: ACCEPT\r\n", ""), StartsWith("FAILED_PRECONDITION"));
  EXPECT_THAT(ReadWith("Sec-WebSocket-Accept: ACCEPT\r\n",
                       "Sec-WebSocket-Accept: ACCEPT\r\nSec-WebSocket-Accept: ACCEPT\r\n"),
              StartsWith("FAILED_PRECONDITION"));
}

TEST_F(ClientHandshakeTest, Section41AcceptMayHaveSpaceAroundIt) {
  EXPECT_EQ(ReadWith("Accept: ACCEPT", "Accept:\t  ACCEPT \t"), "open:");
  EXPECT_EQ(ReadWith("Accept: ACCEPT", "Accept:ACCEPT"), "open:");
}

TEST_F(ClientHandshakeTest, Section41UpgradeAndConnectionAreNeeded) {
  for (absl::string_view line : {"", "Upgrade: h2c\r\n", "Upgrade: websocket, h2c\r\n",
                                 "Upgrade: websocket\r\nUpgrade: websocket\r\n"}) {
    EXPECT_THAT(ReadWith("Upgrade: websocket\r\n", line), HasSubstr("Upgrade header")) << line;
  }
  EXPECT_THAT(ReadWith("Connection: Upgrade\r\n", ""), HasSubstr("Connection header"));
  EXPECT_THAT(ReadWith("Connection: Upgrade", "Connection: close"), HasSubstr("Connection header"));
}

TEST_F(ClientHandshakeTest, Section41ExtensionsThatWereNotOfferedAreErrors) {
  EXPECT_THAT(ReadWith("Upgrade:", "Sec-WebSocket-Extensions: permessage-deflate\r\nUpgrade:"),
              HasSubstr("extension that was not offered"));
}

TEST_F(ClientHandshakeTest, Rfc7692Section5AnAnswerThatTheOfferDoesNotAllowIsAnError) {
  asked.compression = *Deflate::Create({});
  const auto read = [&](absl::string_view value) {
    return ReadWith("Upgrade:", absl::StrCat("Sec-WebSocket-Extensions: ", value, "\r\nUpgrade:"));
  };
  const std::string good = "permessage-deflate; server_no_context_takeover";
  EXPECT_EQ(read(good), "open:");
  EXPECT_EQ(Read(kAnswer), "open:") << "the server does not compress";
  EXPECT_THAT(read("permessage-bzip2"), HasSubstr("was not offered"));
  EXPECT_THAT(read("permessage-deflate"), HasSubstr("is missing, though it was asked for"));
  for (absl::string_view bad : {"; what", "; client_max_window_bits", "; server_max_window_bits=16",
                                "; server_no_context_takeover"}) {
    EXPECT_THAT(read(absl::StrCat(good, bad)), HasSubstr("is unknown, there twice or has a value"))
        << bad;
  }
}

TEST_F(ClientHandshakeTest, Section91MalformedExtensionsAreErrors) {
  asked.compression = *Deflate::Create({});
  for (absl::string_view bad : {"", "permessage-deflate;", "permessage-deflate; a=\"b c\""}) {
    EXPECT_THAT(
        ReadWith("Upgrade:", absl::StrCat("Sec-WebSocket-Extensions: ", bad, "\r\nUpgrade:")),
        HasSubstr("an extension is malformed"))
        << bad;
  }
}

TEST_F(ClientHandshakeTest, Section1132ExtensionsAreAnsweredInOneHeader) {
  asked.compression = *Deflate::Create({});
  const std::string header =
      "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";
  EXPECT_EQ(ReadWith("Upgrade:", absl::StrCat(header, "Upgrade:")), "open:");
  EXPECT_THAT(ReadWith("Upgrade:", absl::StrCat(header, header, "Upgrade:")),
              HasSubstr("more extensions than were offered"));
}

TEST_F(ClientHandshakeTest, Section41SubprotocolsThatWereNotOfferedAreErrors) {
  EXPECT_THAT(ReadWith("Upgrade:", "Sec-WebSocket-Protocol: v1\r\nUpgrade:"),
              HasSubstr("subprotocol that was not offered"));
  asked.subprotocols = {"v2", "v1"};
  EXPECT_EQ(ReadWith("Upgrade:", "Sec-WebSocket-Protocol: v1\r\nUpgrade:"), "open:");
  EXPECT_EQ(subprotocol, "v1");
  EXPECT_THAT(ReadWith("Upgrade:", "Sec-WebSocket-Protocol: v2, v1\r\nUpgrade:"),
              HasSubstr("subprotocol that was not offered"));
  EXPECT_THAT(
      ReadWith("Upgrade:", "Sec-WebSocket-Protocol: v1\r\nSec-WebSocket-Protocol: v1\r\nUpgrade:"),
      HasSubstr("subprotocol that was not offered"));
  EXPECT_EQ(Read(kAnswer), "open:");
  EXPECT_EQ(subprotocol, "");
}

TEST_F(ClientHandshakeTest, RefusalsTellStatusAndReason) {
  EXPECT_EQ(Read("HTTP/1.1 403 Keep Out\r\n\r\n"),
            "PERMISSION_DENIED: WebSocket handshake with example.com: refused with 403 Keep Out");
  EXPECT_EQ(Read("HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n"),
            "NOT_FOUND: WebSocket handshake with example.com: refused with 404 Not Found");
  EXPECT_EQ(Read("HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n"),
            "FAILED_PRECONDITION: WebSocket handshake with example.com: refused with 302 Found to "
            "/there");
  EXPECT_THAT(Read("HTTP/1.1 401 x\r\n\r\n"), StartsWith("PERMISSION_DENIED"));
  EXPECT_THAT(Read("HTTP/1.1 410 x\r\n\r\n"), StartsWith("NOT_FOUND"));
  EXPECT_THAT(Read("HTTP/1.1 426 x\r\n\r\n"), StartsWith("FAILED_PRECONDITION"));
  EXPECT_THAT(Read("HTTP/1.1 429 x\r\n\r\n"), StartsWith("RESOURCE_EXHAUSTED"));
  EXPECT_THAT(Read("HTTP/1.1 200 OK\r\n\r\n"), StartsWith("FAILED_PRECONDITION"));
  EXPECT_THAT(Read("HTTP/1.1 503 x\r\n\r\n"), StartsWith("UNAVAILABLE"));
}

TEST_F(ClientHandshakeTest, InterimAnswersAreSkippedButNotForEver) {
  EXPECT_EQ(
      Read(absl::StrCat("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nLink: y\r\n\r\n", kAnswer)),
      "open:");
  std::string many;
  for (int i = 0; i < 9; ++i) many += "HTTP/1.1 100 Continue\r\n\r\n";
  EXPECT_THAT(Read(absl::StrCat(many, kAnswer)), HasSubstr("comes to the point"));
}

TEST_F(ClientHandshakeTest, AnswersThatAreNotHttpAreErrors) {
  for (absl::string_view bad :
       {"SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.0 101 x\r\n\r\n", "HTTP/2 101 x\r\n\r\n", "\r\n",
        "HTTP/1.1 1x1 x\r\n\r\n", "HTTP/1.1 1011 x\r\n\r\n", "HTTP/1.1 101x\r\n\r\n",
        "HTTP/1.1 601 x\r\n\r\n", "HTTP/1.1  101 x\r\n\r\n", "HTTP/1.1 101 x\n",
        "HTTP/1.1 101 x\r\n folded: x\r\n\r\n", "HTTP/1.1 101 x\r\nno colon\r\n\r\n"}) {
    EXPECT_THAT(Read(bad), StartsWith("FAILED_PRECONDITION")) << bad;
  }
}

TEST_F(ClientHandshakeTest, AnswersOverTheLimitsAreErrors) {
  EXPECT_THAT(Read("HTTP/1.1 101 x\r\nX: " + std::string(9000, 'x')),
              StartsWith("RESOURCE_EXHAUSTED"));
  std::string many = "HTTP/1.1 101 x\r\n";
  for (int i = 0; i < 101; ++i) absl::StrAppend(&many, "X: y\r\n");
  EXPECT_THAT(Read(many + "\r\n"), StartsWith("RESOURCE_EXHAUSTED"));
}

}  // namespace
}  // namespace sluice::websocket
