// A small server that speaks the Redis protocol: strings in memory, without persistence. It is an
// example of how one is written with sluice, and a peer for redis-cli and redis-benchmark.
//
//   key_value_server --listen=127.0.0.1:6379 --max_memory=64000000 [--busy_poll]
//
// Commands: PING ECHO SET GET DEL HELLO CONFIG GET COMMAND QUIT. It prints `listening on
// ADDRESS:PORT` once it accepts, and ends on SIGTERM and SIGINT when what has arrived is answered.
#include <signal.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/signals.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/protocols/resp/command_codec.h"
#include "sluice/protocols/resp/resp_stream.h"

ABSL_FLAG(std::string, listen, "127.0.0.1:6379",
          "where to listen: 127.0.0.1:6379, [::1]:6379, unix:/path; port 0 takes a free one");
ABSL_FLAG(int64_t, max_memory, 64'000'000, "bytes that keys and values may take, at least 1");
ABSL_FLAG(bool, busy_poll, false,
          "never sleep: takes a whole processor, and spares clients the time to wake the server");

namespace sluice::resp {
namespace {

// Strings by name, whose memory has a bound.
class Store {
 public:
  explicit Store(size_t max_bytes) : max_bytes_(max_bytes) {}

  // False where that would take more memory than there may be.
  bool Set(absl::string_view key, absl::string_view value) {
    const auto found = values_.find(key);
    const size_t old_bytes = found == values_.end() ? 0 : Bytes(found->first, found->second);
    if (bytes_ - old_bytes + Bytes(key, value) > max_bytes_) return false;
    bytes_ += Bytes(key, value) - old_bytes;
    // A new string each time: one that is assigned to may take twice what it needs.
    if (found == values_.end()) {
      values_.emplace(key, value);
    } else {
      found->second = std::string(value);
    }
    return true;
  }

  // Null for a key that is not there.
  const std::string* Get(absl::string_view key) const {
    const auto found = values_.find(key);
    return found == values_.end() ? nullptr : &found->second;
  }

  bool Delete(absl::string_view key) {
    const auto found = values_.find(key);
    if (found == values_.end()) return false;
    bytes_ -= Bytes(found->first, found->second);
    values_.erase(found);
    return true;
  }

  size_t max_bytes() const { return max_bytes_; }

 private:
  // With an entry's place in a table that is half full, and the heads of two allocations.
  static size_t Bytes(absl::string_view key, absl::string_view value) {
    constexpr size_t kEntryBytes = 2 * (sizeof(std::pair<std::string, std::string>) + 1) + 32;
    return key.size() + value.size() + kEntryBytes;
  }

  absl::flat_hash_map<std::string, std::string> values_;
  const size_t max_bytes_;
  size_t bytes_ = 0;
};

// What all connections of the loop share.
class KeyValueServer : public ServerHandler {
 public:
  explicit KeyValueServer(size_t max_bytes) : store_(max_bytes) {}

 private:
  // One command of the server, and what clients are told about it.
  struct Entry {
    absl::string_view name;
    size_t least;  // arguments, with the name
    size_t most;
    int first_key;  // 0: none
    int last_key;   // from the end where it is negative
    void (KeyValueServer::*run)(ServerStream& stream, const Command& command);

    // As Redis says it: negative where there may be more.
    int64_t arity() const {
      return least == most ? static_cast<int64_t>(least) : -static_cast<int64_t>(least);
    }
  };
  static absl::Span<const Entry> Entries();

  void OnMessage(ServerStream& stream, Command command) override {
    const absl::string_view name = command.name();
    for (const Entry& entry : Entries()) {
      if (!absl::EqualsIgnoreCase(entry.name, name)) continue;
      if (command.size() < entry.least || command.size() > entry.most) {
        return Refuse(stream, absl::StrCat("ERR wrong number of arguments for '",
                                           absl::AsciiStrToLower(name), "' command"));
      }
      return (this->*entry.run)(stream, command);
    }
    OnUnknown(stream, command);
  }
  void OnSendReady(ServerStream& stream) override { stream.ResumeReceiving(); }

  // A client that does not read its replies is not listened to.
  template <typename Write>
  static void Reply(ServerStream& stream, Write&& write) {
    if (stream.Send(std::forward<Write>(write)) == SendResult::kBlocked) stream.PauseReceiving();
  }
  static void Refuse(ServerStream& stream, absl::string_view error) {
    Reply(stream, [&](auto& reply) { reply.Error(error); });
  }

  static void OnUnknown(ServerStream& stream, const Command& command) {
    const absl::string_view name = command.name();
    // A browser that was talked into posting commands: Redis listens to no more of it, either.
    if (absl::EqualsIgnoreCase(name, "POST") || absl::EqualsIgnoreCase(name, "Host:")) {
      return stream.Abort(absl::InvalidArgumentError("a client speaks HTTP"));
    }
    Refuse(stream, absl::StrCat("ERR unknown command '", name.substr(0, 128), "'"));
  }

  void Ping(ServerStream& stream, const Command& command) {
    Reply(stream, [&](auto& reply) {
      if (command.size() == 1) return reply.SimpleString("PONG");
      reply.BulkString(command[1]);
    });
  }
  void Echo(ServerStream& stream, const Command& command) {
    Reply(stream, [&](auto& reply) { reply.BulkString(command[1]); });
  }
  void Set(ServerStream& stream, const Command& command) {
    if (!store_.Set(command[1], command[2])) {
      return Refuse(stream, "OOM command not allowed when used memory > 'maxmemory'.");
    }
    Reply(stream, [](auto& reply) { reply.SimpleString("OK"); });
  }
  void Get(ServerStream& stream, const Command& command) {
    const std::string* const value = store_.Get(command[1]);
    Reply(stream, [&](auto& reply) {
      if (value == nullptr) return reply.Null();
      reply.BulkString(*value);
    });
  }
  void Delete(ServerStream& stream, const Command& command) {
    int64_t deleted = 0;
    for (size_t i = 1; i < command.size(); ++i) deleted += store_.Delete(command[i]) ? 1 : 0;
    Reply(stream, [&](auto& reply) { reply.Integer(deleted); });
  }

  // HELLO [2|3]
  void Hello(ServerStream& stream, const Command& command) {
    if (command.size() > 1) {
      if (command[1] != "2" && command[1] != "3") {
        return Refuse(stream, "NOPROTO unsupported protocol version");
      }
      stream.codec().set_version(command[1] == "3" ? Version::kResp3 : Version::kResp2);
    }
    Reply(stream, [](auto& reply) {
      reply.Map(5);
      reply.BulkString("server");
      reply.BulkString("sluice");
      reply.BulkString("version");
      reply.BulkString("1.0.0");
      reply.BulkString("proto");
      reply.Integer(static_cast<int64_t>(reply.version()));
      reply.BulkString("mode");
      reply.BulkString("standalone");
      reply.BulkString("role");
      reply.BulkString("master");
    });
  }

  // CONFIG GET NAME...
  void Config(ServerStream& stream, const Command& command) {
    if (!absl::EqualsIgnoreCase(command[1], "GET")) {
      return Refuse(stream, "ERR unknown subcommand of CONFIG; there is GET");
    }
    const std::pair<absl::string_view, std::string> settings[] = {
        {"save", ""}, {"appendonly", "no"}, {"maxmemory", absl::StrCat(store_.max_bytes())}};
    const auto is_asked_for = [&](const auto& setting) {
      return std::any_of(++command.begin(), command.end(), [&](absl::string_view name) {
        return absl::EqualsIgnoreCase(setting.first, name);
      });
    };
    const auto count = std::count_if(std::begin(settings), std::end(settings), is_asked_for);
    Reply(stream, [&](auto& reply) {
      reply.Map(static_cast<size_t>(count));
      for (const auto& setting : settings) {
        if (!is_asked_for(setting)) continue;
        reply.BulkString(setting.first);
        reply.BulkString(setting.second);
      }
    });
  }

  // COMMAND [COUNT | DOCS]
  void DescribeCommands(ServerStream& stream, const Command& command) {
    if (command.size() == 1) return ListCommands(stream);
    if (absl::EqualsIgnoreCase(command[1], "COUNT")) {
      return Reply(stream, [](auto& reply) { reply.Integer(Entries().size()); });
    }
    if (absl::EqualsIgnoreCase(command[1], "DOCS")) {
      return Reply(stream, [](auto& reply) { reply.Map(0); });
    }
    Refuse(stream, "ERR unknown subcommand of COMMAND; there are COUNT and DOCS");
  }
  static void ListCommands(ServerStream& stream) {
    Reply(stream, [](auto& reply) {
      reply.Array(Entries().size());
      for (const Entry& entry : Entries()) {
        reply.Array(6);
        reply.BulkString(absl::AsciiStrToLower(entry.name));
        reply.Integer(entry.arity());
        reply.Array(0);  // no flags
        reply.Integer(entry.first_key);
        reply.Integer(entry.last_key);
        reply.Integer(entry.first_key == 0 ? 0 : 1);
      }
    });
  }

  void Quit(ServerStream& stream, const Command& /*command*/) {
    Reply(stream, [](auto& reply) { reply.SimpleString("OK"); });
    stream.Close();
  }

  Store store_;
};

absl::Span<const KeyValueServer::Entry> KeyValueServer::Entries() {
  constexpr size_t kAny = SIZE_MAX;
  static constexpr Entry kEntries[] = {
      {"GET", 2, 2, 1, 1, &KeyValueServer::Get},
      {"SET", 3, 3, 1, 1, &KeyValueServer::Set},
      {"PING", 1, 2, 0, 0, &KeyValueServer::Ping},
      {"DEL", 2, kAny, 1, -1, &KeyValueServer::Delete},
      {"ECHO", 2, 2, 0, 0, &KeyValueServer::Echo},
      {"HELLO", 1, 2, 0, 0, &KeyValueServer::Hello},
      {"CONFIG", 3, kAny, 0, 0, &KeyValueServer::Config},
      {"COMMAND", 1, kAny, 0, 0, &KeyValueServer::DescribeCommands},
      {"QUIT", 1, kAny, 0, 0, &KeyValueServer::Quit},
  };
  return kEntries;
}

int Fail(int exit_status, absl::string_view message) {
  std::fprintf(stderr, "key_value_server: %.*s\n", static_cast<int>(message.size()),
               message.data());
  return exit_status;
}

int Main() {
  const absl::StatusOr<SocketAddress> address = SocketAddress::Parse(absl::GetFlag(FLAGS_listen));
  if (!address.ok()) return Fail(2, absl::StrCat("--listen: ", address.status().message()));
  const int64_t max_memory = absl::GetFlag(FLAGS_max_memory);
  if (max_memory < 1) {
    return Fail(2, absl::StrCat("--max_memory=", max_memory, ": accepted is 1 and more"));
  }
  KeyValueServer server(static_cast<size_t>(max_memory));
  absl::StatusOr<std::unique_ptr<EventLoop>> loop = EventLoop::Create();
  if (!loop.ok()) return Fail(1, loop.status().message());
  absl::StatusOr<std::unique_ptr<Listener>> listener =
      Listener::Listen(**loop, *address, {}, [&](std::unique_ptr<Stream> stream) {
        ServerStream::Run(std::move(stream), CommandCodec(), server);
      });
  if (!listener.ok()) return Fail(1, listener.status().message());
  bool is_over = false;
  const SignalWatcher signals(**loop, {SIGTERM, SIGINT}, [&](int /*signal*/) {
    listener->reset();
    (*loop)->Drain(absl::Seconds(5), [&] { is_over = true; });
  });
  // Not before the signals are watched: who reads this line may send one.
  std::printf("listening on %s\n", (*listener)->address().ToString().c_str());
  std::fflush(stdout);
  const absl::Duration most =
      absl::GetFlag(FLAGS_busy_poll) ? absl::ZeroDuration() : absl::InfiniteDuration();
  while (!is_over) (*loop)->RunOnce(most);
  return 0;
}

}  // namespace
}  // namespace sluice::resp

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "a small server that speaks the Redis protocol: PING ECHO SET GET DEL HELLO, CONFIG GET, "
      "COMMAND, QUIT");
  absl::ParseCommandLine(argc, argv);
  return sluice::resp::Main();
}
