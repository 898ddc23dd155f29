// A chat by lines of text, as nc and telnet speak it. The first line of a guest is a name; each
// further one goes to all others, with the name in front.
#ifndef CHAT_CHAT_SERVER_H_
#define CHAT_CHAT_SERVER_H_

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"

namespace chat {

class ChatServer {
 public:
  // Who sends a longer line is shown the door.
  static constexpr size_t kMaxLineBytes = 1000;

  static absl::StatusOr<std::unique_ptr<ChatServer>> Listen(sluice::EventLoop& loop,
                                                            const sluice::SocketAddress& address);
  ~ChatServer();

  sluice::SocketAddress address() const { return listener_->address(); }
  size_t guests() const { return guests_.size(); }

 private:
  class Guest;

  ChatServer();
  void TellOthers(const Guest& speaker, const sluice::Slice& line);
  void Leave(const Guest& guest);

  std::vector<std::unique_ptr<Guest>> guests_;
  std::unique_ptr<sluice::Listener> listener_;
};

}  // namespace chat

#endif  // CHAT_CHAT_SERVER_H_
