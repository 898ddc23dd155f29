// Client sends commands to a Redis server and brings each reply to the command that it answers. It
// runs over any Stream: TCP, TLS, Unix sockets. It neither connects nor connects again, and has no
// opinion about commands.
//
// Example:
//   class Cache : public sluice::resp::Client::Handler {};   // pushes are not wanted
//   Cache cache;
//   sluice::resp::Client client(std::move(stream), {}, cache);
//   client.Call({"SET", "greeting", "hello"}, [](absl::StatusOr<Value>) {});
//   client.Call({"GET", "greeting"}, [&](absl::StatusOr<Value> reply) {
//     if (reply.ok()) greeting = std::string(reply->string());
//   });
//
// Commands may be sent at any time, without waiting for the replies of others (pipelining): what
// one callback sends leaves in one system call. Each callback is called once: with the reply, which
// may be an error of the server's (Value::is_error), or with the status with which the connection
// ended before. Never from inside Call; and not at all when the Client is destroyed.
//
// RESP3: client.Call({"HELLO", "3"}, ...) asks for it, {"HELLO", "3", "AUTH", user, password} with
// a password; no option is needed for what comes then. Only in RESP3 can a connection be used for
// publish/subscribe beside other commands: messages are pushes, and go to Handler::OnPush.
// SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE and their UN... have a confirmation for each channel: the
// callback gets the last one, when all are in force, OnPush the others. Those that unsubscribe must
// name their channels. (Confirmations are told apart by their name, not by their channel: one that
// the server sends unasked, as Redis Cluster does with sunsubscribe when a slot moves, counts for
// the call of that name that is awaited.) Commands that turn replies off (CLIENT REPLY) or make the
// server talk unasked in RESP2 (MONITOR) cannot be used: a reply that no command has asked for ends
// the connection.
//
// Limits: ReplyCodec's, of one reply; Options::max_calls, of replies that are awaited; the
// Stream's, of what waits to be sent.
//
// Loop-bound. A callback may call anything, and may destroy the Client. A reply is a view, valid
// until the callback returns, also when that destroys the Client.
#ifndef SLUICE_PROTOCOLS_RESP_CLIENT_H_
#define SLUICE_PROTOCOLS_RESP_CLIENT_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "sluice/core/stream.h"
#include "sluice/protocols/resp/encode.h"
#include "sluice/protocols/resp/reply_codec.h"
#include "sluice/protocols/resp/resp_stream.h"
#include "sluice/protocols/resp/value.h"

namespace sluice::resp {

class Client : private ClientHandler {
 public:
  using ReplyFunction = absl::AnyInvocable<void(absl::StatusOr<Value> reply)>;

  struct Options {
    ReplyCodec codec = {};
    size_t max_calls = 1'000'000;  // without a reply yet; further ones are refused
  };

  class Handler {
   public:
    virtual ~Handler() = default;

    // What the server says unasked (RESP3): messages of subscriptions, invalidated keys.
    virtual void OnPush(Client& /*client*/, const Value& /*push*/) {}
    // After a Call that answered kBlocked: go on.
    virtual void OnSendReady(Client& /*client*/) {}
    // The last callback. OK after a graceful end by either side.
    virtual void OnClose(Client& /*client*/, const absl::Status& /*status*/) {}
  };

  // The handler must outlive the Client.
  Client(std::unique_ptr<Stream> stream, Options options, Handler& handler);
  ~Client() override;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Refused (kRefused), and then `on_reply` is not called: when the connection is closing, when
  // max_calls replies are awaited, and a command that cannot be sent: one without a name, one that
  // unsubscribes without naming channels.
  SendResult Call(const Arguments& command, ReplyFunction on_reply);

  // Calls whose replies have not come.
  size_t calls() const { return calls_.size(); }

  // Ends gracefully now: replies that have not come are not waited for.
  void Close() { stream_.Close(); }
  void Abort(absl::Status status) { stream_.Abort(std::move(status)); }
  bool closing() const { return stream_.closing(); }

  // For its addresses, limits and loop.
  Stream& transport() const { return stream_.transport(); }

 private:
  struct PendingCall {
    ReplyFunction on_reply;
    // For those that subscribe: their name, which each confirmation begins with, and how many of
    // these are still to come.
    std::string subscribes = {};
    size_t confirmations = 0;
  };

  void OnMessage(ClientStream& stream, Value value) override;
  void OnSendReady(ClientStream& stream) override;
  void OnDrain(ClientStream& stream) override;
  void OnClose(ClientStream& stream, const absl::Status& status) override;

  bool Confirms(const Value& value) const;
  void Deliver(ClientStream& stream, const Value& value);
  void Answer(absl::StatusOr<Value> reply);

  Handler& handler_;
  const size_t max_calls_;
  std::deque<PendingCall> calls_;
  bool draining_ = false;
  bool* destroyed_ = nullptr;  // where OnClose is under way
  // Where a message is delivered: gets the codec, whose memory the message refers to, when a
  // callback destroys this.
  std::optional<ReplyCodec>* outliving_codec_ = nullptr;
  ClientStream stream_;
};

}  // namespace sluice::resp

#endif  // SLUICE_PROTOCOLS_RESP_CLIENT_H_
