// A client of the Redis protocol for integration tests. It reads commands from standard input, one
// a line, words split at spaces, sends them all at once, and prints each reply and each push as it
// is written in RESP3, escaped as in C. It ends when all commands are answered.
//
//   resp_peer --connect=unix:/path

#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/protocols/resp/client.h"
#include "sluice/protocols/resp/encode.h"
#include "sluice/protocols/resp/reply_codec.h"
#include "sluice/protocols/resp/value.h"

ABSL_FLAG(std::string, connect, "", "the server's address");

namespace sluice::resp {
namespace {

class Peer : public Client::Handler {
 public:
  explicit Peer(EventLoop& loop) : loop_(loop), connector_(loop) {}

  void Run(const SocketAddress& address, const std::vector<std::string>& lines) {
    connector_.Connect(address, {}, [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
      if (!stream.ok()) return End(stream.status());
      client_ = std::make_unique<Client>(*std::move(stream), Client::Options(), *this);
      for (const std::string& line : lines) Call(line);
      if (client_->calls() == 0) client_->Close();
    });
    loop_.RunUntil([&] { return status_.has_value(); });
  }
  const absl::Status& status() const { return *status_; }

 private:
  void Call(absl::string_view line) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
    const SendResult result = client_->Call(Arguments(words), [this](absl::StatusOr<Value> reply) {
      if (!reply.ok()) return Print("failed", reply.status().message());
      Print("reply", DescribeMessage(*reply));
      if (client_->calls() == 0) client_->Close();
    });
    if (result == SendResult::kRefused) Print("refused", line);
  }

  static void Print(absl::string_view what, absl::string_view text) {
    std::cout << what << " " << absl::CEscape(text) << "\n" << std::flush;
  }

  void OnPush(Client&, const Value& push) override { Print("push", DescribeMessage(push)); }
  void OnClose(Client&, const absl::Status& status) override { End(status); }
  void End(const absl::Status& status) { status_ = status; }

  EventLoop& loop_;
  Connector connector_;
  std::unique_ptr<Client> client_;
  std::optional<absl::Status> status_;
};

int Main() {
  const absl::StatusOr<SocketAddress> address = SocketAddress::Parse(absl::GetFlag(FLAGS_connect));
  if (!address.ok()) {
    std::cerr << "resp_peer: --connect: " << address.status().message() << "\n";
    return 2;
  }
  std::vector<std::string> lines;
  for (std::string line; std::getline(std::cin, line);) lines.push_back(line);
  std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  Peer peer(*loop);
  peer.Run(*address, lines);
  if (!peer.status().ok()) std::cerr << "resp_peer: " << peer.status() << "\n";
  return peer.status().ok() ? 0 : 1;
}

}  // namespace
}  // namespace sluice::resp

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  return sluice::resp::Main();
}
