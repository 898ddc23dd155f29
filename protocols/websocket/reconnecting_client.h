// ReconnectingClient keeps a WebSocket connection to a URL: when it cannot be made or breaks, it is
// made again, after waits that grow and are drawn at random, so that the clients of a server that
// comes back do not all come at once. Messages may be sent at any time: what is sent while there is
// no connection waits for the next one.
//
// Example:
//   class Chat : public websocket::ReconnectHandler {
//     void OnMessage(websocket::Connection&, const websocket::Message& m) override {
//       Show(m.text());
//     }
//     void OnUnsent(std::vector<websocket::UnsentMessage> messages) override { Keep(messages); }
//     void OnEnd(const absl::Status& why) override { Complain(why); }
//   };
//   Chat chat;
//   auto client = websocket::ReconnectingClient::Create(loop, "ws://10.0.0.1:9000/", {}, chat);
//   if (!client.ok()) return client.status();
//   (*client)->SendText("hello");  // waits until the connection stands
//
// Nothing is lost silently. An accepted message is either handed to the transport whole (the
// system, or the peer, may still lose it: only an answer proves that it arrived), or stays with the
// client for the next connection, or is reported to OnUnsent: when the connection that it was given
// to breaks before the transport has taken all of it, and when the client ends. Over TLS and with
// compression more may be reported than had not left, never less. For this, messages are kept until
// they have left, but only while the transport does not keep up.
//
// Waits are "full jitter": the n-th in a row is drawn evenly from 0 to first_wait * factor^(n-1),
// and that is at most max_wait. A connection that was open for steady_after makes the next one the
// first again.
//
// The end comes by Close; by an error or a close that another attempt would not mend (MayRetry); or
// after max_attempts failures in a row.
//
// Loop-bound. It must be destroyed before its loop, and may be at any time, also in its callbacks:
// an open connection is then aborted, and nothing is called any more. The handler is of this client
// alone, and must outlive it.
#ifndef SLUICE_PROTOCOLS_WEBSOCKET_RECONNECTING_CLIENT_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_RECONNECTING_CLIENT_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/internal/split_mix.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/stream.h"
#include "sluice/core/timer.h"
#include "sluice/protocols/websocket/close_code.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/handler.h"
#include "sluice/protocols/websocket/url_client.h"

namespace sluice::websocket {

class ReconnectingClient;

// A message that was accepted and not handed to the transport, or not all of it.
struct UnsentMessage {
  bool is_text = false;
  std::string payload;
  // It was given to a connection, so that the peer may have got some of it, over TLS even all.
  // False: it has certainly not left.
  bool may_have_left = false;
};

// What the user of a ReconnectingClient implements: a Handler, of all its connections, and more.
class ReconnectHandler : public Handler {
 public:
  // A connection is open, or was, as Handler::OnOpen and OnClose have it. What OnConnected sends on
  // the connection itself precedes the messages that have waited.
  virtual void OnConnected(Connection& /*connection*/) {}
  virtual void OnDisconnected(Connection& /*connection*/, const CloseInfo& /*info*/) {}

  // After a send that answered kBlocked: nothing waits any more.
  virtual void OnReadyToSend() {}

  // Messages that will not be sent by this client, in their order. Comes after OnDisconnected, and
  // before OnEnd.
  virtual void OnUnsent(std::vector<UnsentMessage> messages) = 0;

  // The next attempt follows after this wait.
  virtual void OnRetry(const absl::Status& /*why*/, absl::Duration /*wait*/) {}

  // The last call: there will be no further connection. OK after a Close that the peer has answered
  // and after a peer's normal close.
  virtual void OnEnd(const absl::Status& why) = 0;

 private:
  friend class ReconnectingClient;

  void OnOpen(Connection& connection) final;
  void OnSendReady(Connection& connection) final;
  void OnClose(Connection& connection, const CloseInfo& info) final;

  ReconnectingClient* client_ = nullptr;
};

class ReconnectingClient {
 public:
  // Whether an attempt that failed so is worth another: not kInvalidArgument, kPermissionDenied,
  // kUnauthenticated, kNotFound, kFailedPrecondition, kUnimplemented and kCancelled.
  static bool MayRetry(const absl::Status& failure);
  // The same for a connection that was open: not after a close of ours, by idle_timeout or by a
  // drain as little as by Close; nor after one of the peer's
  // with 1000 (normal), 1008 (policy), or a code by which either side complains about what
  // the other sends (1002, 1003, 1007, 1009, 1010).
  static bool MayReconnect(const CloseInfo& info);

  struct Options {
    UrlClient::Options connect = {};
    absl::Duration first_wait = absl::Milliseconds(500);
    absl::Duration max_wait = absl::Seconds(30);
    double factor = 2;
    absl::Duration steady_after = absl::Seconds(10);
    // 0: no end.
    int max_attempts = 0;
    // Of messages that wait, and of those that the transport has not taken yet, each: payloads, and
    // 64 bytes a message. Sends past it are refused.
    size_t max_queued_bytes = size_t{1} << 20;
    std::function<bool(const absl::Status&)> may_retry = &MayRetry;
    std::function<bool(const CloseInfo&)> may_reconnect = &MayReconnect;
    // Of the waits; from the system unless set.
    absl::optional<uint64_t> seed = absl::nullopt;
  };

  // Begins at once, but nothing is called from inside this. kInvalidArgument: as UrlClient::Create,
  // and for waits that are not positive and finite, or a factor under 1.
  static absl::StatusOr<std::unique_ptr<ReconnectingClient>> Create(EventLoop& loop,
                                                                    absl::string_view url,
                                                                    const Options& options,
                                                                    ReconnectHandler& handler);
  ~ReconnectingClient();
  ReconnectingClient(const ReconnectingClient&) = delete;
  ReconnectingClient& operator=(const ReconnectingClient&) = delete;

  // kSent: given to the connection. kBlocked: accepted, but it waits, or the connection's queue is
  // above its high mark: OnReadyToSend will come. kRefused: max_queued_bytes is passed, or the end
  // has come.
  SendResult SendText(absl::string_view text) { return Send(/*is_text=*/true, text); }
  SendResult SendBinary(absl::Span<const uint8_t> bytes) {
    return Send(/*is_text=*/false, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }

  // The one that is open; null for none. What is sent on it directly is not kept and not reported.
  // Its handler is not to be replaced.
  Connection* connection() const;

  // Closes the connection, after what waits has been given to it, and makes no other. OnEnd
  // follows.
  void Close(CloseCode code = CloseCode::kNormal, absl::string_view reason = {});

 private:
  friend class ReconnectHandler;

  struct Kept {
    bool is_text;
    std::string payload;
    size_t frame_bytes = 0;  // at least, on the wire
  };

  ReconnectingClient(EventLoop& loop, std::unique_ptr<UrlClient> url_client, const Options& options,
                     ReconnectHandler& handler);

  void Connect();
  void OnFailure(const absl::Status& status);
  void OnOpen(Connection& connection);
  void OnSendReady();
  void OnClose(Connection& connection, const CloseInfo& info);
  void OnTimer();
  void Retry(const absl::Status& why);
  void End(const absl::Status& why);
  absl::Duration NextWait();

  SendResult Send(bool is_text, absl::string_view payload);
  bool MayGive(size_t payload_bytes) const;
  bool Fits(size_t payload_bytes) const;
  SendResult Give(bool is_text, absl::string_view payload);
  void DropWhatHasLeft();
  void GiveWaiting();
  bool GiveFirst();
  void ArmPump();
  void Pump();
  void TellReady();
  static std::vector<UnsentMessage> Unsent(std::deque<Kept> messages, bool may_have_left);
  std::vector<UnsentMessage> TakeGiven();
  std::vector<UnsentMessage> TakeWaiting();

  EventLoop& loop_;
  const Options options_;
  ReconnectHandler& handler_;
  std::shared_ptr<UrlClient> url_client_;
  std::unique_ptr<UrlClient::Attempt> attempt_;
  Connection* connection_ = nullptr;  // until its OnClose has returned
  MonotonicTime opened_at_;
  sluice::internal::SplitMix64 random_;
  int failures_ = 0;  // in a row
  Timer timer_;       // the wait for the next attempt, or for the end

  std::deque<Kept> waiting_;  // for a connection, or for room in it
  size_t waiting_bytes_ = 0;
  std::deque<Kept> given_;  // to the connection, and perhaps not taken by its transport
  size_t given_bytes_ = 0;
  size_t given_frame_bytes_ = 0;
  Timer pump_;  // looks whether they have left, where nobody tells

  bool blocked_ = false;     // the connection's OnSendReady will come
  bool ready_owed_ = false;  // OnReadyToSend
  bool closing_ = false;
  bool ended_ = false;
  bool* gone_ = nullptr;  // told by the destructor
};

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_RECONNECTING_CLIENT_H_
