#include "sluice/protocols/websocket/handshake.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice::websocket {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// The request of RFC 6455 section 1.3, a line each.
constexpr absl::string_view kRequest =
    "GET /chat HTTP/1.1\r\n"
    "Host: server.example.com\r\n"
    "Upgrade: websocket\r\n"
    "Connection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Origin: http://example.com\r\n"
    "Sec-WebSocket-Protocol: chat, superchat\r\n"
    "Sec-WebSocket-Version: 13\r\n"
    "\r\n";

absl::Span<const uint8_t> AsBytes(absl::string_view text) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

void AcceptAll(const HandshakeRequest&, HandshakeReply&) {}

struct Outcome {
  ServerHandshake::Result result;
  int status;
  std::string answer, subprotocol;
  std::string rest;  // what the handshake left of the bytes
};

class HandshakeTest : public testing::Test {
 protected:
  // The bytes in two pieces (or one, with split 0), each in memory of its own.
  Outcome ReadSplit(absl::string_view bytes, size_t split) {
    ServerHandshake handshake(options);
    Outcome outcome{ServerHandshake::kNeedMore, 0, "", "", ""};
    for (absl::string_view piece : {bytes.substr(0, split), bytes.substr(split)}) {
      const std::vector<uint8_t> memory(piece.begin(), piece.end());
      absl::Span<const uint8_t> left = memory;
      if (outcome.result == ServerHandshake::kNeedMore) {
        outcome.result = handshake.Read(left, decide, outcome.answer);
        if (outcome.result == ServerHandshake::kNeedMore) {
          EXPECT_TRUE(left.empty());
        }
      }
      outcome.rest.append(left.begin(), left.end());
    }
    outcome.status = handshake.status();
    outcome.subprotocol = handshake.subprotocol();
    return outcome;
  }

  // Whole, byte by byte, and split at every point; all must come to the same.
  Outcome Read(absl::string_view bytes) {
    const Outcome whole = ReadSplit(bytes, 0);
    for (size_t split = 1; split<bytes.size(); split += bytes.size()> 3000 ? 97 : 1) {
      const Outcome other = ReadSplit(bytes, split);
      EXPECT_EQ(other.result, whole.result) << "split at " << split;
      EXPECT_EQ(other.answer, whole.answer) << "split at " << split;
      if (whole.result != ServerHandshake::kRefused) {
        EXPECT_EQ(other.rest, whole.rest);
      }
    }
    ServerHandshake handshake(options);
    std::string answer;
    ServerHandshake::Result result = ServerHandshake::kNeedMore;
    for (size_t i = 0; i < bytes.size() && result == ServerHandshake::kNeedMore; ++i) {
      absl::Span<const uint8_t> byte = AsBytes(bytes.substr(i, 1));
      result = handshake.Read(byte, decide, answer);
    }
    EXPECT_EQ(result, whole.result) << "byte by byte";
    EXPECT_EQ(answer, whole.answer) << "byte by byte";
    return whole;
  }

  // The status that the example request gets with one text in it replaced.
  int StatusWith(absl::string_view text, absl::string_view replacement) {
    const std::string request = absl::StrReplaceAll(kRequest, {{text, replacement}});
    EXPECT_NE(request, kRequest) << "nothing was replaced";
    return Read(request).status;
  }
  // The same with lines added before the Host.
  int StatusWithLine(absl::string_view line) {
    return StatusWith("Host:", absl::StrCat(line, "\r\nHost:"));
  }
  std::string AnswerWith(absl::string_view text, absl::string_view replacement) {
    return Read(absl::StrReplaceAll(kRequest, {{text, replacement}})).answer;
  }

  ServerHandshake::Options options;
  std::function<void(const HandshakeRequest&, HandshakeReply&)> decide = AcceptAll;
};

TEST(ServerHandshakeTest, HeaderExample) {
  std::string sent, decoded;
  const auto Send = [&](absl::string_view text) { absl::StrAppend(&sent, text); };
  const auto Decode = [&](absl::Span<const uint8_t> b) { decoded.assign(b.begin(), b.end()); };
  const auto Close = [] { ADD_FAILURE(); };
  const std::string arrived = absl::StrCat(kRequest, "frame");
  absl::Span<const uint8_t> bytes = AsBytes(arrived);

  ServerHandshake::Options options;
  options.subprotocols = {"chat.v2", "chat"};
  ServerHandshake handshake(options);
  std::string answer;
  const auto decide = [](const HandshakeRequest& request, HandshakeReply& reply) {
    if (request.path() != "/chat") reply.Respond(404, "no such room");
  };
  switch (handshake.Read(bytes, decide, answer)) {  // bytes: what just arrived
    case ServerHandshake::kNeedMore:
      break;
    case ServerHandshake::kAccepted:
      Send(answer);
      Decode(bytes);
      break;  // frames may follow
    case ServerHandshake::kRefused:
      Send(answer);
      Close();
      break;
  }
  EXPECT_THAT(sent, StartsWith("HTTP/1.1 101 "));
  EXPECT_EQ(handshake.subprotocol(), "chat");
  EXPECT_EQ(decoded, "frame");
}

TEST_F(HandshakeTest, Section13ExampleIsAcceptedWithTheAcceptOfTheRfc) {
  const Outcome outcome = Read(kRequest);
  EXPECT_EQ(outcome.result, ServerHandshake::kAccepted);
  EXPECT_EQ(outcome.status, 101);
  EXPECT_EQ(outcome.answer,
            "HTTP/1.1 101 Switching Protocols\r\n"
            "Upgrade: websocket\r\n"
            "Connection: Upgrade\r\n"
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
            "\r\n");
}

TEST_F(HandshakeTest, BytesAfterTheHeadAreLeftForTheDecoder) {
  EXPECT_EQ(Read(absl::StrCat(kRequest, "\x81\x80xxxx")).rest, "\x81\x80xxxx");
}

TEST_F(HandshakeTest, NamesAndTokensCompareInAnyCase) {
  EXPECT_EQ(StatusWith("Upgrade: websocket", "UPGRADE: WebSocket"), 101);
  EXPECT_EQ(StatusWith("Connection: Upgrade", "connection: keep-alive, uPGRADE"), 101);
  EXPECT_EQ(StatusWith("Connection: Upgrade", "Connection: keep-alive\r\nConnection: upgrade"),
            101);
  EXPECT_EQ(StatusWith("Upgrade: websocket", "Upgrade: h2c, websocket"), 101);
  EXPECT_EQ(StatusWith("Sec-WebSocket-Version: 13", "sec-websocket-version:\t13 "), 101);
}

// ---- HTTP
// -----------------------------------------------------------------------------------------

TEST_F(HandshakeTest, GarbageIsRefusedAsSoonAsItIsSeen) {
  const std::string tls_hello("\x16\x03\x01\x02\x00\x01\x00", 7);
  const Outcome outcome = Read(tls_hello);
  EXPECT_EQ(outcome.result, ServerHandshake::kRefused);
  EXPECT_EQ(outcome.status, 400);
}

TEST_F(HandshakeTest, ControlCharactersAndBareLineEndsAreRefused) {
  EXPECT_EQ(StatusWith("Host: server", std::string("Host: ser\0ver", 13)), 400);
  EXPECT_EQ(StatusWith("Host: server", "Host: ser\x01ver"), 400);
  EXPECT_EQ(StatusWith("Host: server", "Host: ser\x7fver"), 400);
  EXPECT_EQ(StatusWith("Host: server.example.com\r\n", "Host: server.example.com\n"), 400);
  EXPECT_EQ(StatusWith("Host: server.example.com\r\n", "Host: server\rexample.com\r\n"), 400);
}

TEST_F(HandshakeTest, FoldedHeadersAreRefused) {
  EXPECT_EQ(StatusWith("Upgrade: websocket", "Upgrade:\r\n websocket"), 400);
  EXPECT_EQ(StatusWith("Upgrade: websocket", "Upgrade:\r\n\twebsocket"), 400);
}

TEST_F(HandshakeTest, MalformedHeaderNamesAreRefused) {
  EXPECT_EQ(StatusWithLine("no colon"), 400);
  EXPECT_EQ(StatusWithLine(": no name"), 400);
  EXPECT_EQ(StatusWithLine("Space : before colon"), 400);
  EXPECT_EQ(StatusWithLine("Na(me: x"), 400);
  EXPECT_EQ(StatusWithLine("Caf\xc3\xa9: x"), 400);
  EXPECT_EQ(StatusWithLine("Fine: caf\xc3\xa9"), 101);
  EXPECT_EQ(StatusWithLine("Empty:"), 101);
}

TEST_F(HandshakeTest, MalformedRequestLinesAreRefused) {
  const absl::string_view line = "GET /chat HTTP/1.1";
  for (absl::string_view bad : {"GET /chat",
                                "GET",
                                "",
                                "GET  /chat HTTP/1.1",
                                "GET /chat  HTTP/1.1",
                                " GET /chat HTTP/1.1",
                                "GET /ch at HTTP/1.1",
                                "GET /chat HTTP/1.1 ",
                                "GET /chat http/1.1",
                                "GET /chat HTTP/11",
                                "GET /chat HTTP/1.",
                                "GET /chat FTP/1.1",
                                "G(T /chat HTTP/1.1",
                                "GET chat HTTP/1.1",
                                "GET * HTTP/1.1",
                                "GET /chat#x HTTP/1.1",
                                "GET /caf\xc3\xa9 HTTP/1.1",
                                "GET http:///chat HTTP/1.1",
                                "GET http://h?q HTTP/1.1",
                                "GET ftp://h/ HTTP/1.1"}) {
    EXPECT_EQ(StatusWith(line, bad), 400) << bad;
  }
}

TEST_F(HandshakeTest, OtherMethodsAreRefusedWith405) {
  for (absl::string_view method : {"POST", "OPTIONS", "get", "head"}) {
    EXPECT_EQ(StatusWith("GET", method), 405);
  }
  EXPECT_THAT(AnswerWith("GET", "POST"), HasSubstr("\r\nAllow: GET, HEAD\r\n"));
}

TEST_F(HandshakeTest, Section421VersionOfHttpIsAtLeast11) {
  EXPECT_EQ(StatusWith("HTTP/1.1", "HTTP/1.0"), 505);
  EXPECT_EQ(StatusWith("HTTP/1.1", "HTTP/0.9"), 505);
  EXPECT_EQ(StatusWith("HTTP/1.1", "HTTP/2.0"), 505);
  EXPECT_EQ(StatusWith("HTTP/1.1", "HTTP/1.2"), 101);
}

TEST_F(HandshakeTest, BodiesAreRefused) {
  EXPECT_EQ(StatusWithLine("Content-Length: 5"), 400);
  EXPECT_EQ(StatusWithLine("Content-Length: 0"), 101);
  EXPECT_EQ(StatusWithLine("Content-Length: 0\r\nContent-Length: 5"), 400);
  EXPECT_EQ(StatusWithLine("Transfer-Encoding: chunked"), 400);
}

TEST_F(HandshakeTest, HeadOverItsLimitIsRefused) {
  options.max_head_bytes = 1000;
  EXPECT_EQ(StatusWithLine("X: " + std::string(1000, 'x')), 431);
  EXPECT_EQ(StatusWith("/chat", "/" + std::string(1000, 'x')), 414);
  // Exactly at the limit it is accepted, and not one byte above.
  const std::string filler(1000 - kRequest.size() - 5, 'x');
  EXPECT_EQ(StatusWithLine("X: " + filler), 101);
  EXPECT_EQ(StatusWithLine("X: " + filler + "x"), 431);
}

TEST_F(HandshakeTest, HeadOverItsLimitIsRefusedBeforeItEnds) {
  ServerHandshake handshake(options);
  std::string answer;
  const std::string piece(1024, 'x');
  size_t fed = 0;
  for (;;) {
    absl::Span<const uint8_t> bytes = AsBytes(piece);
    fed += piece.size();
    if (handshake.Read(bytes, decide, answer) != ServerHandshake::kNeedMore) break;
    ASSERT_LT(fed, 8192u);
  }
  EXPECT_EQ(handshake.status(), 414);
}

TEST_F(HandshakeTest, TooManyHeadersAreRefused) {
  std::string many;
  for (int i = 0; i < 93; ++i) absl::StrAppend(&many, "X", i, ": y\r\n");
  EXPECT_EQ(StatusWith("Host:", many + "Host:"), 101);  // with its own 7, they are 100
  EXPECT_EQ(StatusWith("Host:", many + "Z: y\r\nHost:"), 431);
}

// ---- RFC 6455 section 4.2.1
// -----------------------------------------------------------------------

TEST_F(HandshakeTest, Section421HostIsNeededOnce) {
  EXPECT_EQ(StatusWith("Host: server.example.com\r\n", ""), 400);
  EXPECT_EQ(StatusWith("Host: server.example.com\r\n", "Host:\r\n"), 400);
  EXPECT_EQ(StatusWithLine("Host: another"), 400);
}

TEST_F(HandshakeTest, Section421ConnectionMustListUpgrade) {
  EXPECT_EQ(StatusWith("Connection: Upgrade", "Connection: keep-alive"), 400);
  EXPECT_EQ(StatusWith("Connection: Upgrade", "Connection: Upgraded"), 400);
  EXPECT_EQ(StatusWith("Connection: Upgrade\r\n", ""), 400);
}

TEST_F(HandshakeTest, Section421KeyIsNeededOnceAndHas16Bytes) {
  const absl::string_view key = "dGhlIHNhbXBsZSBub25jZQ==";
  EXPECT_EQ(StatusWith("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), 400);
  EXPECT_EQ(StatusWithLine(absl::StrCat("Sec-WebSocket-Key: ", key)), 400);
  for (absl::string_view bad :
       {"", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZWU=",
        "dGhlIHNhbXBsZSBub25jZQ===", "dGhlIHNhbXBsZSBub25jZ-==", "dGhl IHNhbXBsZSBub25jZ==",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="}) {
    EXPECT_EQ(StatusWith(key, bad), 400) << bad;
  }
}

TEST_F(HandshakeTest, Section44OtherVersionsGet426AndTheVersionThatIsSpoken) {
  for (absl::string_view version : {"8", "12", "14", "013", "13, 8", "", "x"}) {
    EXPECT_EQ(StatusWith("Version: 13", absl::StrCat("Version: ", version)), 426) << version;
  }
  EXPECT_EQ(StatusWith("Sec-WebSocket-Version: 13\r\n", ""), 426);
  EXPECT_EQ(StatusWithLine("Sec-WebSocket-Version: 8"), 426);
  EXPECT_THAT(AnswerWith("Version: 13", "Version: 8"),
              HasSubstr("\r\nSec-WebSocket-Version: 13\r\n"));
}

TEST_F(HandshakeTest, PlainGetIsToldToUpgrade) {
  const Outcome outcome = Read("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(outcome.result, ServerHandshake::kRefused);
  EXPECT_EQ(outcome.answer,
            "HTTP/1.1 426 Upgrade Required\r\n"
            "Upgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\n"
            "Connection: Upgrade, close\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n"
            "Content-Length: 27\r\n"
            "\r\n"
            "this is a WebSocket server\n");
  EXPECT_EQ(StatusWith("Upgrade: websocket", "Upgrade: h2c"), 426);
}

TEST_F(HandshakeTest, Section91ExtensionsAreNegotiatedAway) {
  const Outcome outcome = Read(absl::StrReplaceAll(
      kRequest, {{"Host:", "Sec-WebSocket-Extensions: permessage-deflate; x=1\r\nHost:"}}));
  EXPECT_EQ(outcome.status, 101);
  EXPECT_THAT(outcome.answer, Not(HasSubstr("Extensions")));
}

TEST_F(HandshakeTest, Section91MalformedExtensionsAreRefused) {
  for (absl::string_view bad : {"a;", "a;;b", "a;b=", "a b", "a;b=\"c d\"", "a;b=\"c"}) {
    EXPECT_EQ(StatusWithLine(absl::StrCat("Sec-WebSocket-Extensions: ", bad)), 400) << bad;
  }
}

TEST_F(HandshakeTest, Section1132ExtensionsMayBeOfferedInSeveralHeaders) {
  std::vector<std::string> names;
  const auto look = [&](const HandshakeRequest& request, HandshakeReply&) {
    names.clear();
    for (const Extension& extension : request.extensions()) names.push_back(extension.name);
  };
  decide = look;
  EXPECT_EQ(StatusWithLine("Sec-WebSocket-Extensions: a, b; x\r\nSec-WebSocket-Extensions: c"),
            101);
  EXPECT_THAT(names, ElementsAre("a", "b", "c"));
}

// ---- subprotocols and origins
// ---------------------------------------------------------------------

TEST_F(HandshakeTest, TheServersFirstSubprotocolThatIsOfferedIsChosen) {
  options.subprotocols = {"v3", "superchat", "chat"};
  const Outcome outcome = Read(kRequest);
  EXPECT_EQ(outcome.subprotocol, "superchat");
  EXPECT_THAT(outcome.answer, HasSubstr("\r\nSec-WebSocket-Protocol: superchat\r\n"));
}

TEST_F(HandshakeTest, WithoutACommonSubprotocolNoneIsChosen) {
  options.subprotocols = {"v3", "CHAT"};
  const Outcome outcome = Read(kRequest);
  EXPECT_EQ(outcome.status, 101);
  EXPECT_EQ(outcome.subprotocol, "");
  EXPECT_THAT(outcome.answer, Not(HasSubstr("Sec-WebSocket-Protocol")));
}

TEST_F(HandshakeTest, SubprotocolsMayBeOfferedInSeveralHeaders) {
  options.subprotocols = {"v3"};
  const Outcome outcome = Read(
      absl::StrReplaceAll(kRequest, {{"superchat", "superchat\r\nSec-WebSocket-Protocol: v3"}}));
  EXPECT_EQ(outcome.subprotocol, "v3");
}

TEST_F(HandshakeTest, MalformedSubprotocolsAreRefused) {
  EXPECT_EQ(StatusWith("superchat", "super chat"), 400);
  EXPECT_EQ(StatusWith("superchat", "\"superchat\""), 400);
}

TEST_F(HandshakeTest, OriginsThatAreNotAllowedGet403) {
  options.allowed_origins = {"https://one.example", "HTTP://example.com"};
  EXPECT_EQ(Read(kRequest).status, 101);
  EXPECT_EQ(StatusWith("http://example.com", "http://example.org"), 403);
  EXPECT_EQ(StatusWith("http://example.com", "http://example.com.evil"), 403);
  EXPECT_EQ(StatusWith("http://example.com", "null"), 403);
  EXPECT_EQ(StatusWith("Origin: http://example.com\r\n", ""), 101);
  EXPECT_EQ(StatusWithLine("Origin: https://one.example"), 400);
}

// ---- the application's part
// -----------------------------------------------------------------------

TEST_F(HandshakeTest, TheApplicationSeesTheRequest) {
  bool called = false;
  const auto look = [&](const HandshakeRequest& request, HandshakeReply&) {
    called = true;
    EXPECT_EQ(request.target(), "/a%20b/c?room=1?&x");
    EXPECT_EQ(request.path(), "/a%20b/c");
    EXPECT_EQ(request.query(), "room=1?&x");
    EXPECT_EQ(request.host(), "server.example.com");
    EXPECT_EQ(request.origin(), "http://example.com");
    EXPECT_THAT(request.subprotocols(), ElementsAre("chat", "superchat"));
    EXPECT_EQ(request.headers().size(), 7u);
    EXPECT_EQ(request.Find("sec-websocket-version"), "13");
    EXPECT_EQ(request.Find("cookie"), absl::nullopt);
    EXPECT_TRUE(request.wants_websocket());
  };
  decide = look;
  EXPECT_EQ(StatusWith("/chat HTTP", "/a%20b/c?room=1?&x HTTP"), 101);
  EXPECT_TRUE(called);
}

TEST_F(HandshakeTest, AnAbsoluteTargetNamesTheHost) {
  std::string seen;
  const auto look = [&](const HandshakeRequest& request, HandshakeReply&) {
    seen = absl::StrCat(request.host(), " ", request.target());
  };
  decide = look;
  EXPECT_EQ(StatusWith("/chat HTTP", "ws://other:81/chat?x HTTP"), 101);
  EXPECT_EQ(seen, "other:81 /chat?x");
  EXPECT_EQ(StatusWith("/chat HTTP", "HTTP://other HTTP"), 101);
  EXPECT_EQ(seen, "other /");
}

TEST_F(HandshakeTest, TheApplicationMayRefuseWithAnyStatus) {
  const auto refuse = [](const HandshakeRequest&, HandshakeReply& reply) {
    EXPECT_TRUE(reply.AddHeader("WWW-Authenticate", "Basic"));
    reply.Respond(401, "who are you?");
  };
  decide = refuse;
  const Outcome outcome = Read(kRequest);
  EXPECT_EQ(outcome.result, ServerHandshake::kRefused);
  EXPECT_EQ(outcome.answer,
            "HTTP/1.1 401 Unauthorized\r\n"
            "Connection: close\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n"
            "Content-Length: 12\r\n"
            "WWW-Authenticate: Basic\r\n"
            "\r\n"
            "who are you?");
}

TEST_F(HandshakeTest, TheApplicationMayAnswerAPlainGetWithAPage) {
  const auto page = [](const HandshakeRequest& request, HandshakeReply& reply) {
    EXPECT_FALSE(request.wants_websocket());
    reply.Respond(200, "<html>", "text/html");
  };
  decide = page;
  const Outcome outcome = Read("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(outcome.answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(outcome.answer, HasSubstr("\r\nContent-Type: text/html\r\nContent-Length: 6\r\n"));
  EXPECT_THAT(outcome.answer, EndsWith("\r\n\r\n<html>"));
}

TEST_F(HandshakeTest, AHeadGetsTheAnswerOfAGetWithoutItsBody) {
  std::string seen;
  const auto page = [&](const HandshakeRequest& request, HandshakeReply& reply) {
    absl::StrAppend(&seen, request.method(), request.wants_websocket() ? "! " : " ");
    reply.Respond(200, "<html>", "text/html");
  };
  decide = page;
  const std::string get = Read("GET / HTTP/1.1\r\nHost: h\r\n\r\n").answer;
  seen.clear();
  EXPECT_EQ(ReadSplit("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", 0).answer + "<html>", get);
  EXPECT_EQ(seen, "HEAD ");
}

TEST_F(HandshakeTest, AHeadOpensNoWebSocketAndItsRefusalHasNoBody) {
  const Outcome outcome = Read(absl::StrReplaceAll(kRequest, {{"GET", "HEAD"}}));
  EXPECT_EQ(outcome.status, 426);
  EXPECT_THAT(outcome.answer, EndsWith("\r\nContent-Length: 27\r\n\r\n"));
}

TEST_F(HandshakeTest, WhoseAnswerItIsCanBeAsked) {
  for (const int by_application : {0, 404}) {
    const auto answer = [&](const HandshakeRequest&, HandshakeReply& reply) {
      if (by_application != 0) reply.Respond(by_application, "");
    };
    for (const absl::string_view request :
         {absl::string_view("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), absl::string_view("\1")}) {
      ServerHandshake handshake(options);
      absl::Span<const uint8_t> bytes = AsBytes(request);
      std::string ignored;
      EXPECT_EQ(handshake.Read(bytes, answer, ignored), ServerHandshake::kRefused);
      EXPECT_EQ(handshake.answered_by_application(), by_application != 0 && request.size() > 1);
    }
  }
}

TEST_F(HandshakeTest, WhatStandsInTheQueryCanBeAskedFor) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"/", "none"},
      {"/?", "none"},
      {"/?rooms=1", "none"},
      {"/?xroom=1&roo=2", "none"},
      {"/?room=1", "=1"},
      {"/?room", "="},
      {"/?room=", "="},
      {"/?room=1&room=2", "=1"},
      {"/?a=b&&room=1=2&c", "=1=2"},
      {"/?room=a+b%20c%2Bd%26%3d", "=a b c+d&="},
      {"/?%72oom=1", "=1"},
      {"/?room=caf%C3%a9", "=caf\xc3\xa9"},
      {"/?room=%0d%0a", "=\r\n"},
      {"/?room=100%", "=100%"},
      {"/?room=%4", "=%4"},
      {"/?room=%zz%4g%g4", "=%zz%4g%g4"},
      {"/?room=%41", "=A"},
      {"/?room=a?b/c", "=a?b/c"},
  };
  for (const auto& [target, expected] : cases) {
    std::string seen = "not asked";
    const auto look = [&seen](const HandshakeRequest& request, HandshakeReply&) {
      const absl::optional<std::string> room = request.FindInQuery("room");
      seen = room.has_value() ? "=" + *room : "none";
    };
    decide = look;
    EXPECT_EQ(StatusWith("/chat HTTP", target + " HTTP"), 101);
    EXPECT_EQ(seen, expected) << target;
  }
}

TEST_F(HandshakeTest, AnswersThatMayHaveNoBodyHaveNone) {
  const auto nothing = [](const HandshakeRequest&, HandshakeReply& reply) {
    reply.Respond(204, "lost");
  };
  decide = nothing;
  EXPECT_EQ(Read(kRequest).answer, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
}

TEST_F(HandshakeTest, StatusesThatAreNoAnswerCountAs500) {
  for (int status : {-1, 0, 99, 100, 101, 199, 600, 70000}) {
    const auto odd = [status](const HandshakeRequest&, HandshakeReply& reply) {
      reply.Respond(status, "");
    };
    decide = odd;
    EXPECT_EQ(Read(kRequest).status, 500) << status;
  }
}

TEST_F(HandshakeTest, TheApplicationMayAddHeadersButNotSmuggleAny) {
  const auto add = [](const HandshakeRequest&, HandshakeReply& reply) {
    EXPECT_TRUE(reply.AddHeader("Set-Cookie", "id=1; HttpOnly"));
    EXPECT_FALSE(reply.AddHeader("X", "a\r\nSet-Cookie: id=2"));
    EXPECT_FALSE(reply.AddHeader("X", "a\nb"));
    EXPECT_FALSE(reply.AddHeader("X", absl::string_view("a\0b", 3)));
    EXPECT_FALSE(reply.AddHeader("X\r\nY", "a"));
    EXPECT_FALSE(reply.AddHeader("", "a"));
    for (absl::string_view own : {"upgrade", "Connection", "content-length", "Transfer-Encoding",
                                  "Sec-WebSocket-Accept", "sec-websocket-protocol"}) {
      EXPECT_FALSE(reply.AddHeader(own, "a")) << own;
    }
  };
  decide = add;
  EXPECT_THAT(Read(kRequest).answer,
              EndsWith("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSet-Cookie: id=1; HttpOnly\r\n\r\n"));
}

TEST_F(HandshakeTest, TheApplicationMayChooseAmongTheOfferedSubprotocols) {
  options.subprotocols = {"chat"};
  const auto choose = [](const HandshakeRequest&, HandshakeReply& reply) {
    EXPECT_EQ(reply.subprotocol(), "chat");
    EXPECT_FALSE(reply.ChooseSubprotocol("v3"));
    EXPECT_EQ(reply.subprotocol(), "chat");
    EXPECT_TRUE(reply.ChooseSubprotocol("superchat"));
  };
  decide = choose;
  EXPECT_EQ(Read(kRequest).subprotocol, "superchat");
  const auto none = [](const HandshakeRequest&, HandshakeReply& reply) {
    reply.ChooseNoSubprotocol();
  };
  decide = none;
  EXPECT_EQ(Read(kRequest).subprotocol, "");
}

TEST_F(HandshakeTest, TheApplicationIsNotAskedAboutRequestsThatAreRefusedAnyway) {
  options.allowed_origins = {"https://one.example"};
  const auto never = [](const HandshakeRequest&, HandshakeReply&) { ADD_FAILURE(); };
  decide = never;
  EXPECT_EQ(Read(kRequest).status, 403);
  EXPECT_EQ(StatusWith("Version: 13", "Version: 8"), 426);
}

}  // namespace
}  // namespace sluice::websocket
