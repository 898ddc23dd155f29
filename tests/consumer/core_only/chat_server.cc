#include "chat_server.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"
#include "sluice/core/slice.h"

namespace chat {

class ChatServer::Guest final : public sluice::StreamHandler {
 public:
  Guest(ChatServer& server, std::unique_ptr<sluice::Stream> stream)
      : server_(server), stream_(std::move(stream)) {
    stream_->SetHandler(*this);
  }

  void Tell(const sluice::Slice& line) { stream_->Send(line); }

 private:
  void OnReceive(sluice::Stream& stream, absl::Span<uint8_t> bytes) override {
    unfinished_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    absl::string_view rest = unfinished_;
    for (size_t end; (end = rest.find('\n')) != rest.npos; rest.remove_prefix(end + 1)) {
      if (end > kMaxLineBytes) break;
      OnLine(absl::StripSuffix(rest.substr(0, end), "\r"));
    }
    unfinished_.erase(0, unfinished_.size() - rest.size());
    if (unfinished_.size() > kMaxLineBytes)
      stream.Abort(absl::ResourceExhaustedError("a line is too long"));
  }

  void OnLine(absl::string_view line) {
    if (name_.empty()) {
      name_ = std::string(line);
    } else {
      server_.TellOthers(*this, sluice::Slice::Take(absl::StrCat(name_, ": ", line, "\n")));
    }
  }

  void OnClose(sluice::Stream&, const absl::Status&) override { server_.Leave(*this); }

  ChatServer& server_;
  std::string name_;
  std::string unfinished_;  // the beginning of a line
  std::unique_ptr<sluice::Stream> stream_;
};

ChatServer::ChatServer() = default;
ChatServer::~ChatServer() = default;

absl::StatusOr<std::unique_ptr<ChatServer>> ChatServer::Listen(
    sluice::EventLoop& loop, const sluice::SocketAddress& address) {
  std::unique_ptr<ChatServer> server(new ChatServer);
  auto listener = sluice::Listener::Listen(
      loop, address, {}, [server = server.get()](std::unique_ptr<sluice::Stream> stream) {
        server->guests_.push_back(std::make_unique<Guest>(*server, std::move(stream)));
      });
  if (!listener.ok()) return listener.status();
  server->listener_ = *std::move(listener);
  return server;
}

void ChatServer::TellOthers(const Guest& speaker, const sluice::Slice& line) {
  for (const auto& guest : guests_) {
    if (guest.get() != &speaker) guest->Tell(line);
  }
}

void ChatServer::Leave(const Guest& left) {
  std::erase_if(guests_, [&](const auto& guest) { return guest.get() == &left; });
}

}  // namespace chat
