// Peer plays the suite's side of a conformance case against an echo of sluice's, over Streams in
// memory.
//
// Example, a case that plays against both roles:
//   void Play(Peer& peer) {
//     peer.Send({{kText, "Hello"}, {kPing, "p"}});
//     peer.ExpectReceived({{kText, "Hello"}, {kPong, "p"}});
//     peer.CloseCleanly();
//   }
//   Peer peer(Role::kServer);          // sluice is the server, the suite the client
//   Play(peer);
//
// What is sent arrives at once, and is answered, before Send returns: no time passes. A case that
// does not end the connection in one of the ways below fails.
//
// Loop-bound.
#ifndef SLUICE_TESTS_CONFORMANCE_PEER_H_
#define SLUICE_TESTS_CONFORMANCE_PEER_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/websocket/client.h"
#include "sluice/protocols/websocket/compression.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/frame.h"
#include "sluice/protocols/websocket/handler.h"
#include "sluice/protocols/websocket/server.h"
#include "sluice/tests/conformance/frames.h"
#include "sluice/tests/conformance/peer_deflate.h"

namespace sluice::conformance {

using websocket::Role;

// What the suite asks for of permessage-deflate in section 13.
struct Deflating {
  struct Request {
    bool no_context = false;
    int window_bits = 0;  // 0: none is asked for
  };
  // As a client: its offers, in order. All let the server ask for as much of the client.
  // As a server: what it asks for of the client, the first that the client's offer allows; and to
  // what the client asks for, it agrees.
  std::vector<Request> requests;
  // Sluice's.
  std::shared_ptr<const websocket::Compression> compression;
};

// Sends back what comes, and stops receiving while the peer does not read.
class Echo : public websocket::Handler {
 public:
  void OnOpen(websocket::Connection& connection) override;
  void OnMessage(websocket::Connection& connection, const websocket::Message& message) override;
  void OnSendReady(websocket::Connection& connection) override;
  void OnClose(websocket::Connection& connection, const websocket::CloseInfo& info) override;

  bool opened = false;
  int closes = 0;
  // Of the last OnClose.
  bool clean = false;
  bool by_peer = false;
  int code = 0;
};

class Peer {
 public:
  // `sluice` is the role of the code under test.
  explicit Peer(Role sluice, const Deflating* deflating = nullptr);
  ~Peer();

  // As the suite's chopsize: what is sent from now on arrives in pieces of so many octets.
  void set_chop(size_t octets);

  void Send(const std::vector<Frame>& frames);
  void SendFrameByFrame(const std::vector<Frame>& frames);
  void SendBytes(absl::string_view bytes);
  // A message, compressed where that was agreed on, in frames of `fragment` octets; 0: in one.
  void SendMessage(int opcode, std::string message, size_t fragment = 0);
  std::string Encode(const Frame& frame) const { return conformance::Encode(frame, masks_); }

  // All that has come since the last time, messages put together; and the connection is open.
  void ExpectReceived(const std::vector<Frame>& expected);

  // Sends a close frame, and expects the same code back, and nothing else.
  void CloseCleanly();
  // The suite has sent a close frame: that sluice has sent `messages`, and then a close frame with
  // this payload, and nothing else, and that the server then ends the connection.
  void ExpectClosed(const std::string& payload, const std::vector<Frame>& messages = {});
  // That sluice has sent `messages`, and then failed the connection with this code.
  void ExpectFailed(int code, const std::vector<Frame>& messages = {});

  // Of the messages received.
  int compressed_messages() const { return compressed_messages_; }
  bool deflates() const { return compressor_ != nullptr; }

 private:
  void OpenAsClient();
  void OpenAsServer();
  void AgreeAsClient(const std::string& answer);
  std::string AgreeAsServer(const std::string& offer);
  void StartDeflate(const DeflateTerms& sends, const DeflateTerms& receives);
  void Receive();
  void TakeData(Frame frame);
  void ExpectClose(const std::vector<Frame>& messages,
                   const std::function<void(const Frame&)>& check);

  const Role sluice_;
  const bool masks_;
  const Deflating* const deflating_;
  // Handlers and makers outlive the loop, which ends the connections that are left.
  Echo echo_;
  std::unique_ptr<websocket::Server> server_;
  std::unique_ptr<websocket::Client> client_;
  VirtualLoop loop_;
  StreamPair pair_;
  std::unique_ptr<StreamRecorder> stream_;
  std::unique_ptr<Compressor> compressor_;
  std::unique_ptr<Decompressor> decompressor_;
  FrameReader reader_;
  std::optional<Frame> partial_;  // of a fragmented message
  std::vector<Frame> received_;
  int compressed_messages_ = 0;
  bool over_ = false;
};

}  // namespace sluice::conformance

#endif  // SLUICE_TESTS_CONFORMANCE_PEER_H_
