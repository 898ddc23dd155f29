// What CaresResolver makes of a system that has no room for datagrams, and what it asks of the
// system for an answer. Functions of this file stand before the system's.
#include <dlfcn.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/cares_resolver.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/name_server_testing.h"
#include "sluice/core/resolver.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/tcp_testing.h"

namespace {

// So many datagrams find no room.
std::atomic<int> refused_datagrams{0};
std::atomic<int> error_of_refusal{EAGAIN};
std::atomic<int> sockets{0};

bool IsDatagramSocket(int fd) {
  int type = 0;
  socklen_t length = sizeof(type);
  return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_DGRAM;
}

}  // namespace

extern "C" {

ssize_t writev(int fd, const iovec* pieces, int count) {
  static const auto real = reinterpret_cast<decltype(&writev)>(dlsym(RTLD_NEXT, "writev"));
  if (refused_datagrams > 0 && IsDatagramSocket(fd)) {
    --refused_datagrams;
    errno = error_of_refusal;
    return -1;
  }
  return real(fd, pieces, count);
}

int socket(int family, int type, int protocol) noexcept {
  static const auto real = reinterpret_cast<decltype(&socket)>(dlsym(RTLD_NEXT, "socket"));
  ++sockets;
  return real(family, type, protocol);
}

}  // extern "C"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using AddressesOr = absl::StatusOr<std::vector<SocketAddress>>;
using Question = test::NameServer::Question;
using Answers = std::vector<std::string>;

class CaresFaultTest : public testing::Test {
 protected:
  ~CaresFaultTest() override { refused_datagrams = 0; }

  AddressesOr Ask(absl::string_view name, const CaresResolver::Options& options) {
    const std::shared_ptr<const CaresResolver> resolver = *CaresResolver::Create(options);
    std::optional<AddressesOr> answer;
    auto query = resolver->Resolve(*loop_, name, SocketAddress::Family::kIpv4, test::kBound,
                                   [&](AddressesOr addresses) { answer = std::move(addresses); });
    EXPECT_TRUE(test::Until(*loop_, [&] { return answer.has_value(); }));
    return answer.value_or(absl::UnknownError("no answer"));
  }

  std::unique_ptr<EventLoop> loop_ = test::NewLoop();
};

TEST_F(CaresFaultTest, ADatagramThatFindsNoRoomIsSentAgain) {
  const test::NameServer first;
  const test::NameServer second;
  for (const int error : {EAGAIN, ENOBUFS}) {
    SCOPED_TRACE(error);
    error_of_refusal = error;
    refused_datagrams = 2;  // one to each server
    const AddressesOr addresses =
        Ask("four.example", {.servers = {first.address(), second.address()},
                             .timeout = absl::Milliseconds(50),
                             .tries = 8});
    ASSERT_TRUE(addresses.ok()) << addresses.status();
    EXPECT_THAT(*addresses, ElementsAre(*SocketAddress::Parse("10.0.0.4:0")));
    EXPECT_EQ(refused_datagrams, 0);
  }
}

TEST_F(CaresFaultTest, AServerThatCannotBeSentToIsSilentAndNotGone) {
  const test::NameServer server;
  refused_datagrams = 1'000;
  const absl::Status status =
      Ask("four.example",
          {.servers = {server.address()}, .timeout = absl::Milliseconds(1), .tries = 2})
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(status.ToString(), HasSubstr("four.example: Timeout"));
}

TEST_F(CaresFaultTest, OtherErrorsEndTheQuestion) {
  const test::NameServer server;
  error_of_refusal = EPERM;  // as of a packet filter
  refused_datagrams = 1'000;
  const absl::Status status =
      Ask("four.example", {.servers = {server.address()}, .timeout = absl::Minutes(1), .tries = 2})
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
}

// Each address costs a socket.
TEST_F(CaresFaultTest, OfALongAnswerOnlyWhatIsKeptIsSorted) {
  const test::NameServer server({{"big.example", [](const Question& question) {
                                    if (!question.tcp) return Answers{question.Truncated()};
                                    std::vector<std::string> addresses;
                                    for (int i = 0; i < 1000; ++i)
                                      addresses.push_back(
                                          absl::StrCat("127.0.", i / 250, ".", i % 250 + 1));
                                    return Answers{question.Answer(addresses)};
                                  }}});
  const int before = sockets;
  const AddressesOr addresses = Ask("big.example", {.servers = {server.address()}, .tries = 1});
  ASSERT_TRUE(addresses.ok()) << addresses.status();
  EXPECT_THAT(*addresses, SizeIs(256));
  EXPECT_LT(sockets - before, 300);
}

}  // namespace
}  // namespace sluice
