#include "sluice/core/name_server_testing.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/internal/check.h"

namespace sluice::test {
namespace {

constexpr size_t kHeaderBytes = 12;
constexpr size_t kAnswersPlace = 6;
constexpr size_t kTypeAndClassBytes = 4;
constexpr char kTypeA = 1;
constexpr char kTypeCname = 5;
constexpr char kTypeAaaa = 28;

std::string Short(size_t value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value & 0xff)};
}

// A record of class IN. The name is what stands at that place of the message.
std::string Record(size_t name, char type, uint32_t seconds, absl::string_view data) {
  return absl::StrCat(Short(0xc000 | name), Short(type), Short(1), Short(seconds >> 16),
                      Short(seconds & 0xffff), Short(data.size()), data);
}

std::string Bytes(const std::string& address) {
  std::string bytes(sizeof(in6_addr), 0);
  if (inet_pton(AF_INET6, address.c_str(), bytes.data()) == 1) return bytes;
  SLUICE_CHECK(inet_pton(AF_INET, address.c_str(), bytes.data()) == 1);
  return bytes.substr(0, sizeof(in_addr));
}

std::map<std::string, NameServer::Behaviour> WithTheUsual(
    std::map<std::string, NameServer::Behaviour> behaviours) {
  using Question = NameServer::Question;
  using Answers = std::vector<std::string>;
  behaviours["both.example"] = [](const Question& question) {
    return Answers{question.Answer({"10.0.0.1", "10.0.0.2", "2001:db8::1"})};
  };
  behaviours["four.example"] = [](const Question& question) {
    return Answers{question.Answer({"10.0.0.4"})};
  };
  behaviours["down.example"] = [](const Question& question) {
    return Answers{question.Answer({}, NameServer::kServerFailure)};
  };
  behaviours["silent.example"] = [](const Question&) { return Answers(); };
  return behaviours;
}

// Closing it will reset the connection.
bool Reset(int fd) {
  const linger at_once = {.l_onoff = 1, .l_linger = 0};
  SLUICE_CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) == 0);
  return false;
}

// The name that begins after the header, in lower case, and where it ends.
std::string NameOf(const std::string& message, size_t& end) {
  std::string name;
  for (end = kHeaderBytes; end < message.size() && message[end] != 0;) {
    const auto length = static_cast<size_t>(message[end]);
    absl::StrAppend(&name, name.empty() ? "" : ".", message.substr(end + 1, length));
    end += 1 + length;
  }
  ++end;
  return absl::AsciiStrToLower(name);
}

}  // namespace

std::string NameServer::Question::Answer(const std::vector<std::string>& addresses, Code code,
                                         uint32_t seconds) const {
  std::string records;
  size_t count = 0;
  for (const std::string& address : addresses) {
    const std::string bytes = Bytes(address);
    if ((bytes.size() == sizeof(in6_addr)) != ipv6) continue;
    records += Record(kHeaderBytes, ipv6 ? kTypeAaaa : kTypeA, seconds, bytes);
    ++count;
  }
  size_t question_end;
  NameOf(message, question_end);
  const char flags[] = {static_cast<char>(0x81), static_cast<char>(0x80 | code)};
  return absl::StrCat(
      message.substr(0, 2), absl::string_view(flags, 2), Short(1), Short(count), Short(0), Short(0),
      message.substr(kHeaderBytes, question_end + kTypeAndClassBytes - kHeaderBytes), records);
}

std::string NameServer::Question::AliasOf(const std::string& address, uint32_t alias_seconds,
                                          uint32_t address_seconds) const {
  std::string answer = Answer({});
  answer[kAnswersPlace + 1] = 2;
  // "other", below the name itself.
  const std::string other = absl::StrCat("\5other", Short(0xc000 | kHeaderBytes));
  answer += Record(kHeaderBytes, kTypeCname, alias_seconds, other);
  return answer + Record(answer.size() - other.size(), ipv6 ? kTypeAaaa : kTypeA, address_seconds,
                         Bytes(address));
}

std::string NameServer::Question::Truncated() const {
  std::string answer = Answer({});
  answer[2] |= 2;
  return answer;
}

NameServer::NameServer(std::map<std::string, Behaviour> more)
    : behaviours_(WithTheUsual(std::move(more))) {
  // The port that UDP was given may be taken for TCP.
  while (!Bind()) continue;
  SLUICE_CHECK(pipe(stop_) == 0);
  thread_ = std::thread([this] { Run(); });
}

NameServer::~NameServer() {
  close(stop_[1]);
  thread_.join();
  for (const int fd : {udp_, tcp_, stop_[0]}) close(fd);
  for (const auto& [fd, received] : connections_) close(fd);
}

bool NameServer::Bind() {
  udp_ = socket(AF_INET, SOCK_DGRAM, 0);
  tcp_ = socket(AF_INET, SOCK_STREAM, 0);
  const SocketAddress any = SocketAddress::Ipv4Loopback(0);
  SLUICE_CHECK(udp_ >= 0 && tcp_ >= 0 && bind(udp_, any.data(), any.length()) == 0);
  sockaddr_storage storage;
  socklen_t length = sizeof(storage);
  SLUICE_CHECK(getsockname(udp_, reinterpret_cast<sockaddr*>(&storage), &length) == 0);
  address_ = SocketAddress::FromSockaddr(reinterpret_cast<const sockaddr*>(&storage), length);
  if (bind(tcp_, address_.data(), address_.length()) == 0 && listen(tcp_, 16) == 0) return true;
  close(udp_);
  close(tcp_);
  return false;
}

int NameServer::questions(absl::string_view name) const {
  const std::lock_guard lock(mutex_);
  const auto found = questions_.find(std::string(name));
  return found == questions_.end() ? 0 : found->second;
}

void NameServer::Run() {
  for (;;) {
    std::vector<pollfd> polled = {{.fd = stop_[0], .events = POLLIN, .revents = 0},
                                  {.fd = udp_, .events = POLLIN, .revents = 0},
                                  {.fd = tcp_, .events = POLLIN, .revents = 0}};
    for (const auto& [fd, received] : connections_)
      polled.push_back({.fd = fd, .events = POLLIN, .revents = 0});
    if (poll(polled.data(), static_cast<nfds_t>(polled.size()), -1) < 0 || polled[0].revents != 0)
      return;
    if (polled[1].revents != 0) ServeDatagram();
    for (size_t i = 3; i < polled.size(); ++i) {
      const int fd = polled[i].fd;
      if (polled[i].revents == 0 || ServeConnection(fd, connections_[fd])) continue;
      connections_.erase(fd);
      close(fd);
    }
    if (polled[2].revents != 0) Accept();
  }
}

void NameServer::ServeDatagram() {
  char buffer[65536];
  sockaddr_storage from;
  socklen_t from_length = sizeof(from);
  const ssize_t size =
      recvfrom(udp_, buffer, sizeof(buffer), 0, reinterpret_cast<sockaddr*>(&from), &from_length);
  if (size < static_cast<ssize_t>(kHeaderBytes)) return;
  for (const std::string& answer :
       AnswersTo(std::string(buffer, static_cast<size_t>(size)), false)) {
    sendto(udp_, answer.data(), answer.size(), MSG_NOSIGNAL,
           reinterpret_cast<const sockaddr*>(&from), from_length);
  }
}

void NameServer::Accept() {
  const int fd = accept(tcp_, nullptr, nullptr);
  if (fd >= 0) connections_[fd] = "";
}

// Answers the questions that are there; false when the client has closed.
bool NameServer::ServeConnection(int fd, std::string& received) {
  char buffer[65536];
  const ssize_t size = recv(fd, buffer, sizeof(buffer), 0);
  if (size <= 0) return false;
  received.append(buffer, static_cast<size_t>(size));
  while (received.size() >= 2) {
    const size_t length =
        static_cast<uint8_t>(received[0]) * size_t{256} + static_cast<uint8_t>(received[1]);
    if (received.size() < 2 + length) break;
    for (const std::string& answer : AnswersTo(received.substr(2, length), true)) {
      if (answer == kReset) return Reset(fd);
      const std::string framed = absl::StrCat(Short(answer.size()), answer);
      send(fd, framed.data(), framed.size(), MSG_NOSIGNAL);
    }
    received.erase(0, 2 + length);
  }
  return true;
}

std::vector<std::string> NameServer::AnswersTo(const std::string& message, bool tcp) {
  size_t end;
  Question question{.name = NameOf(message, end), .tcp = tcp, .message = message};
  question.ipv6 = end + 1 < message.size() && message[end + 1] == kTypeAaaa;
  {
    const std::lock_guard lock(mutex_);
    ++questions_[question.name];
  }
  const auto found = behaviours_.find(question.name);
  if (found == behaviours_.end()) return {question.Answer({}, kNameError)};
  return found->second(question);
}

}  // namespace sluice::test
