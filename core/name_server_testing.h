// NameServer is a name server for tests: on a thread of its own, on the loopback address, over UDP
// and TCP. It knows
//   both.example    10.0.0.1, 10.0.0.2; 2001:db8::1
//   four.example    10.0.0.4, and no IPv6 address
//   down.example    SERVFAIL
//   silent.example  no answer
// and what a test adds; all else is NXDOMAIN.
//
// Example:
//   NameServer server({{"odd.example", [](const NameServer::Question& question) {
//                         const std::string answer = question.Answer({"10.0.0.1"});
//                         return std::vector<std::string>{"garbage", answer};
//                       }}});
//   ... ask server.address() ...
//   EXPECT_EQ(server.questions("odd.example"), 1);
//
// Thread-safe. The functions run on the server's thread.
#ifndef SLUICE_CORE_NAME_SERVER_TESTING_H_
#define SLUICE_CORE_NAME_SERVER_TESTING_H_

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/string_view.h"
#include "sluice/core/socket_address.h"

namespace sluice::test {

class NameServer {
 public:
  // RFC 1035 section 4.1.1.
  enum Code : uint8_t {
    kNoError = 0,
    kFormatError = 1,
    kServerFailure = 2,
    kNameError = 3,
    kRefused = 5
  };

  // By TCP, no message: the connection is reset.
  static constexpr char kReset[] = "reset";

  struct Question {
    std::string name;   // in lower case
    bool ipv6 = false;  // AAAA, else A
    bool tcp = false;
    std::string message;  // as it came

    // A message that answers: the code, and of the addresses those of the family asked for, which
    // have so many seconds to live.
    std::string Answer(const std::vector<std::string>& addresses, Code code = kNoError,
                       uint32_t seconds = 3600) const;
    // The name is another one's alias, which has the address.
    std::string AliasOf(const std::string& address, uint32_t alias_seconds,
                        uint32_t address_seconds) const;
    // One that is cut short, for a client that should come again by TCP.
    std::string Truncated() const;
  };

  // The messages that answer, of which each is sent by itself.
  using Behaviour = std::function<std::vector<std::string>(const Question& question)>;

  explicit NameServer(std::map<std::string, Behaviour> more = {});
  ~NameServer();
  NameServer(const NameServer&) = delete;
  NameServer& operator=(const NameServer&) = delete;

  SocketAddress address() const { return address_; }

  // How often the name was asked for.
  int questions(absl::string_view name) const;

 private:
  bool Bind();
  void Run();
  void ServeDatagram();
  void Accept();
  bool ServeConnection(int fd, std::string& received);
  std::vector<std::string> AnswersTo(const std::string& message, bool tcp);

  const std::map<std::string, Behaviour> behaviours_;
  SocketAddress address_;
  int udp_ = -1;
  int tcp_ = -1;
  int stop_[2] = {-1, -1};
  std::map<int, std::string> connections_;  // and what has come over each and is not answered yet
  mutable std::mutex mutex_;
  std::map<std::string, int> questions_;
  std::thread thread_;
};

}  // namespace sluice::test

#endif  // SLUICE_CORE_NAME_SERVER_TESTING_H_
