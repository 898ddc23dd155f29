// For tests of servers' connections: they run over Streams in memory with a virtual clock, and
// their clients say what the test makes them say, frame by frame.
//
// Example:
//   class PingTest : public ServerFixture {};
//   TEST_F(PingTest, IsAnswered) {
//     Session& session = Open();
//     session.Say(Opcode::kPing, "p");
//     EXPECT_EQ(session.Heard(), ServerFrame(Opcode::kPong, "p"));
//   }

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_CONNECTION_FIXTURE_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_CONNECTION_FIXTURE_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/frame.h"
#include "sluice/protocols/websocket/mask.h"
#include "sluice/protocols/websocket/server.h"

namespace sluice::websocket {

constexpr absl::string_view kUpgradeRequest =
    "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

inline std::string EncodedFrame(Opcode opcode, absl::string_view payload, bool masked) {
  std::string frame(kMaxFrameHeaderBytes + payload.size(), '\0');
  auto* const out = reinterpret_cast<uint8_t*>(&frame[0]);
  FrameHeader header;
  header.opcode = opcode;
  header.masked = masked;
  header.mask_key = 0x9a3b5c7d;
  header.payload_bytes = payload.size();
  const size_t header_bytes = EncodeFrameHeader(header, out);
  if (!payload.empty()) std::memcpy(out + header_bytes, payload.data(), payload.size());
  if (masked && !payload.empty())
    ApplyMask(out + header_bytes, out + header_bytes, payload.size(), header.mask_key);
  frame.resize(header_bytes + payload.size());
  return frame;
}
inline std::string ClientFrame(Opcode opcode, absl::string_view payload) {
  return EncodedFrame(opcode, payload, /*masked=*/true);
}
inline std::string ServerFrame(Opcode opcode, absl::string_view payload) {
  return EncodedFrame(opcode, payload, /*masked=*/false);
}
inline std::string ClosePayload(int code, absl::string_view reason = "") {
  return absl::StrCat(std::string({static_cast<char>(code >> 8), static_cast<char>(code)}), reason);
}

class ServerFixture : public testing::Test {
 protected:
  // Writes down what its connection tells: "open", "text:t", "ready", "close:1001:clean:going", ...
  struct Recorder : Handler {
    void OnOpen(Connection& c) override {
      connection = &c;
      events.push_back("open");
    }
    void OnMessage(Connection& c, const Message& message) override {
      events.push_back(absl::StrCat("text:", message.text()));
      if (on_message) on_message(c, message);
    }
    void OnSendReady(Connection&) override { events.push_back("ready"); }
    void OnDrain(Connection& c) override {
      if (on_drain) return on_drain(c);
      Handler::OnDrain(c);
    }
    void OnClose(Connection&, const CloseInfo& info) override {
      events.push_back(absl::StrCat("close:", static_cast<int>(info.code),
                                    info.clean ? ":clean" : "", info.by_peer ? ":peer" : "",
                                    info.reason.empty() ? "" : ":", info.reason));
      status = info.status;
      connection = nullptr;
    }
    std::string all() const { return absl::StrJoin(events, " "); }

    std::function<void(Connection&, const Message&)> on_message;
    std::function<void(Connection&)> on_drain;
    std::vector<std::string> events;
    absl::Status status;
    Connection* connection = nullptr;  // while it is open
  };

  // A connection: both of its ends.
  struct Session {
    Session(VirtualLoop& l, Recorder& r) : loop(l), pair(l.loop()), handler(r) {}

    void Say(absl::string_view bytes) {
      client->stream().Send(bytes);
      loop.RunUntilIdle();
    }
    void Say(Opcode opcode, absl::string_view payload) { Say(ClientFrame(opcode, payload)); }
    // What the client has received since it was asked last.
    std::string Heard() { return client->TakeReceived(); }
    // The client answers the server's close frame, and is gone.
    void Leave(int code) {
      Say(Opcode::kClose, ClosePayload(code));
      client->stream().Close();
      loop.RunUntilIdle();
    }
    Connection& connection() const { return *handler.connection; }

    VirtualLoop& loop;
    StreamPair pair;
    std::unique_ptr<StreamRecorder> client;
    Recorder& handler;
  };

  // A stream to the server over which nothing was said yet.
  Session& Begin() {
    if (server == nullptr) server = std::make_unique<Server>(options);
    recorders_.emplace_back();
    sessions_.emplace_back(loop, recorders_.back());
    Session& session = sessions_.back();
    session.client = std::make_unique<StreamRecorder>(session.pair.TakeClient());
    session.client->KeepOpen();
    server->Serve(session.pair.TakeServer(), recorders_.back());
    return session;
  }
  // An open connection.
  Session& Open() {
    Session& session = Begin();
    session.Say(kUpgradeRequest);
    EXPECT_NE(session.handler.connection, nullptr);
    session.Heard();
    session.handler.events.clear();
    return session;
  }

  Server::Options options;  // before the first Begin or Open

 private:
  std::deque<Recorder> recorders_;

 protected:
  // Handlers and servers outlive the loop, which ends the connections that are left.
  std::unique_ptr<Server> server;
  VirtualLoop loop;

 private:
  std::deque<Session> sessions_;
};

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_CONNECTION_FIXTURE_H_
