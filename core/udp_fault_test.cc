// What a UdpSocket makes of system calls that fail, or do a part of what was asked. Functions of
// this file stand before the system's.
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/poller.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/tcp_testing.h"
#include "sluice/core/udp.h"
#include "sluice/core/udp_testing.h"

namespace {

// Each returns the error with which a call fails, or 0 for the system's own answer.
std::function<int(const msghdr& first)> on_send;
std::function<int()> on_receive, on_epoll_ctl;
// Is called before a socket is connected.
std::function<void(int fd)> on_connect;
// Hears what a call was to bring, and what it has brought.
std::function<void(absl::Span<const mmsghdr> places, int count)> after_receive;
// The most messages that one call takes.
unsigned most_sent = UINT_MAX;

template <typename Function>
Function Real(Function /*stands_before*/, const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

// True when the call fails, with errno set.
template <typename Fault, typename... Arguments>
bool Fails(const Fault& fault, const Arguments&... arguments) {
  if (!fault) return false;
  const int error = fault(arguments...);
  if (error == 0) return false;
  errno = error;
  return true;
}

// The size of the datagrams that the system is to make of a message; 0: it is one.
size_t SegmentOf(const msghdr& message) {
  const cmsghdr* const control = CMSG_FIRSTHDR(&message);
  if (control == nullptr || control->cmsg_type != UDP_SEGMENT) return 0;
  return *reinterpret_cast<const uint16_t*>(CMSG_DATA(control));
}

}  // namespace

extern "C" {

int sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
  static const auto real = Real(&sendmmsg, "sendmmsg");
  if (Fails(on_send, messages[0].msg_hdr)) return -1;
  return real(fd, messages, std::min(count, most_sent), flags);
}

int recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
  static const auto real = Real(&recvmmsg, "recvmmsg");
  if (Fails(on_receive)) return -1;
  const int received = real(fd, messages, count, flags, timeout);
  if (after_receive) after_receive({messages, count}, received);
  return received;
}

int connect(int fd, const sockaddr* address, socklen_t length) {
  static const auto real = Real(&connect, "connect");
  if (on_connect) on_connect(fd);
  return real(fd, address, length);
}

int epoll_ctl(int epoll, int operation, int fd, epoll_event* event) noexcept {
  static const auto real = Real(&epoll_ctl, "epoll_ctl");
  return Fails(on_epoll_ctl) ? -1 : real(epoll, operation, fd, event);
}

}  // extern "C"

namespace sluice {
namespace {

using test::Bytes;
using test::Pattern;
using test::UdpRecorder;

class UdpFaultTest : public testing::Test {
 protected:
  ~UdpFaultTest() override {
    on_send = nullptr;
    on_receive = on_epoll_ctl = nullptr;
    on_connect = nullptr;
    after_receive = nullptr;
    most_sent = UINT_MAX;
  }

  std::unique_ptr<UdpSocket> Bind(UdpHandler& handler) {
    const UdpSocket::Options options = {.datagram = {.receive_buffer_bytes = 1 << 20}};
    return UdpSocket::Bind(*loop_, SocketAddress::Ipv4Loopback(0), options, handler).value();
  }

  bool Until(absl::FunctionRef<bool()> done) { return test::Until(*loop_, done); }

  // Sends some of each size, in a few runs, and expects them to arrive as they were sent.
  void ExpectDelivery(std::vector<size_t> sizes = {64, 64, 64, 1200, 1200, 1200, 300, 300, 1}) {
    recorder_.received.clear();
    std::vector<std::string> sent;
    for (int round = 0; round < 10; ++round) {
      for (const size_t size : sizes) {
        sent.push_back(Pattern(sent.size() * 7, size));
        EXPECT_EQ(sender_->Send(Bytes(sent.back()), receiver_->local_address()),
                  UdpSendResult::kSent);
      }
    }
    ASSERT_TRUE(Until([&] { return recorder_.received.size() >= sent.size(); }))
        << recorder_.received.size();
    EXPECT_TRUE(recorder_.Texts() == sent);
  }

  const std::unique_ptr<EventLoop> loop_ = test::NewLoop();
  UdpRecorder recorder_, sender_recorder_;
  const std::unique_ptr<UdpSocket> receiver_ = Bind(recorder_);
  const std::unique_ptr<UdpSocket> sender_ = Bind(sender_recorder_);
};

TEST_F(UdpFaultTest, WhatTheSystemHasNoRoomForLeavesWhenItHas) {
  int refused = 0;
  on_send = [&](const msghdr&) { return ++refused % 3 != 0 ? EAGAIN : 0; };
  ExpectDelivery();
  EXPECT_GT(refused, 3);
  EXPECT_EQ(sender_->queued_datagrams(), 0u);
  EXPECT_EQ(sender_->counters().errors, 0u);
}

TEST_F(UdpFaultTest, ACallThatTakesAFewIsFollowedByOthers) {
  most_sent = 1;
  ExpectDelivery();
}

TEST_F(UdpFaultTest, AnInterruptedCallIsMadeAgain) {
  int calls = 0;
  on_send = [&](const msghdr&) { return ++calls % 2 != 0 ? EINTR : 0; };
  ExpectDelivery();
  EXPECT_EQ(sender_->counters().errors, 0u);
}

// As where a network card cannot split.
TEST_F(UdpFaultTest, WhereRunsCannotBeSplitEachDatagramIsSentByItself) {
  int runs = 0;
  on_send = [&](const msghdr& first) {
    if (SegmentOf(first) == 0) return 0;
    ++runs;
    return EIO;
  };
  ExpectDelivery();
  ExpectDelivery();
  EXPECT_EQ(runs, 1) << "it is not tried again";
  EXPECT_EQ(sender_->counters().errors, 0u);
}

// As where the way to the peer takes no packets of that size in one piece.
TEST_F(UdpFaultTest, RunsOfDatagramsThatAreTooLargeForTheWayAreSentOneByOne) {
  size_t largest_run = 0;
  on_send = [&](const msghdr& first) {
    if (SegmentOf(first) > 1000) return EINVAL;
    largest_run = std::max(largest_run, SegmentOf(first));
    return 0;
  };
  ExpectDelivery({1200, 1200, 1200});
  EXPECT_EQ(largest_run, 0u);
  ExpectDelivery({300, 300, 300});
  EXPECT_EQ(largest_run, 300u);
  EXPECT_EQ(sender_->counters().errors, 0u);
}

// Nothing can be sent to port 0, from which anybody may write.
TEST_F(UdpFaultTest, APeerThatCannotBeSentToCostsOthersNoRuns) {
  const SocketAddress nobody = receiver_->local_address().WithPort(0);
  for (int i = 0; i < 64; ++i) sender_->Send(Bytes("x"), nobody);
  ASSERT_TRUE(Until([&] { return sender_->counters().errors == 64; }));
  size_t largest_run = 0;
  on_send = [&](const msghdr& first) {
    largest_run = std::max(largest_run, SegmentOf(first));
    return 0;
  };
  ExpectDelivery({1200, 1200, 1200});
  EXPECT_EQ(largest_run, 1200u);
}

// As from a router that says so of what was sent before.
TEST_F(UdpFaultTest, AnEarlierDatagramThatWasTooLargeCostsOthersNoRuns) {
  size_t calls = 0, largest_run = 0;
  on_send = [&](const msghdr& first) {
    largest_run = std::max(largest_run, SegmentOf(first));
    return ++calls == 1 ? EMSGSIZE : 0;
  };
  for (int i = 0; i < 2; ++i) {
    largest_run = 0;
    ExpectDelivery({1200, 1200, 1200});
    EXPECT_EQ(largest_run, 1200u);
  }
  EXPECT_EQ(sender_->counters().errors, 0u);
}

// What is refused as it is was not another's error, and so is not tried twice.
TEST_F(UdpFaultTest, EachDatagramThatCannotBeSentCostsOneCall) {
  int calls = 0;
  on_send = [&](const msghdr&) { return ++calls, EINVAL; };
  for (int i = 0; i < 20; ++i) {
    sender_->Send(Bytes("x"), receiver_->local_address());
    sender_->Send(Bytes("x"), sender_->local_address());
  }
  ASSERT_TRUE(Until([&] { return sender_->counters().errors == 40; }));
  EXPECT_EQ(calls, 40);
}

// A send tells of what became of an earlier one, and has done nothing then.
TEST_F(UdpFaultTest, AnErrorThatIsAnothersLosesNothing) {
  bool told = false;
  on_send = [&](const msghdr&) { return std::exchange(told, true) ? 0 : ECONNREFUSED; };
  ExpectDelivery();
  EXPECT_EQ(sender_->counters().errors, 0u);
}

TEST_F(UdpFaultTest, ADatagramThatCannotBeSentIsReportedAndTheOthersLeave) {
  UdpRecorder unused;
  const std::unique_ptr<UdpSocket> unreachable = Bind(unused);
  const uint16_t port = unreachable->local_address().port();
  most_sent = 1;
  on_send = [&](const msghdr& first) {
    return ntohs(static_cast<const sockaddr_in*>(first.msg_name)->sin_port) == port ? ENETUNREACH
                                                                                    : 0;
  };
  sender_->Send(Bytes("one"), receiver_->local_address());
  sender_->Send(Bytes("two"), unreachable->local_address());
  sender_->Send(Bytes("three"), receiver_->local_address());
  ASSERT_TRUE(Until([&] { return recorder_.received.size() == 2; }));
  EXPECT_THAT(recorder_.Texts(), testing::ElementsAre("one", "three"));
  ASSERT_TRUE(Until([&] { return !sender_recorder_.errors.empty(); }));
  EXPECT_EQ(sender_recorder_.errors[0].first.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(sender_recorder_.errors[0].second, unreachable->local_address());
  EXPECT_EQ(sender_->counters().sent, 2u);
  EXPECT_EQ(sender_->counters().errors, 1u);
}

// Where this fails, the kernel is older than Linux 5.0, or nothing is gained any more.
TEST_F(UdpFaultTest, RunsAreSplitAndJoinedByTheSystem) {
  size_t split = 0, joined = 0;
  on_send = [&](const msghdr& first) {
    split += SegmentOf(first) != 0 ? 1 : 0;
    return 0;
  };
  after_receive = [&](absl::Span<const mmsghdr> places, int count) {
    for (int i = 0; i < count; ++i) joined += places[static_cast<size_t>(i)].msg_len > 100 ? 1 : 0;
  };
  ExpectDelivery({100, 100, 100, 100, 100});
  EXPECT_GT(split, 0u);
  EXPECT_GT(joined, 0u);
}

// As the network card of a virtual machine might say it. They are not taken, and none is after
// them.
TEST_F(UdpFaultTest, MoreDatagramsThanASystemJoinsAreNone) {
  bool told = false;
  after_receive = [&](absl::Span<const mmsghdr> places, int count) {
    for (int i = 0; i < count; ++i) {
      const msghdr& place = places[static_cast<size_t>(i)].msg_hdr;
      for (cmsghdr* c = CMSG_FIRSTHDR(&place); c != nullptr && !told;
           c = CMSG_NXTHDR(const_cast<msghdr*>(&place), c)) {
        if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != UDP_GRO) continue;
        *reinterpret_cast<int*>(CMSG_DATA(c)) = 1;
        told = true;
      }
    }
  };
  const std::string bytes = Pattern(0, 100);
  for (int i = 0; i < 5; ++i) sender_->Send(Bytes(bytes), receiver_->local_address());
  ASSERT_TRUE(Until([&] { return told; }));
  EXPECT_TRUE(recorder_.received.empty()) << recorder_.received.size();
  ExpectDelivery();
}

// So that joined datagrams do not take more of a turn, and of the cache, than others.
TEST_F(UdpFaultTest, AfterALargeBatchThereIsRoomForFewer) {
  size_t large = 0, next = 0;
  bool look = false;
  after_receive = [&](absl::Span<const mmsghdr> places, int count) {
    if (std::exchange(look, false)) next = places.size();
    size_t bytes = 0;
    for (int i = 0; i < count; ++i) bytes += places[static_cast<size_t>(i)].msg_len;
    if (bytes <= 256 * 1024 || large != 0) return;
    large = places.size();
    look = true;
  };
  receiver_->PauseReceiving();
  const std::string bytes = Pattern(0, 60'000);
  for (int i = 0; i < 8; ++i) sender_->Send(Bytes(bytes), receiver_->local_address());
  ASSERT_TRUE(Until([&] { return sender_->counters().sent == 8; }));
  receiver_->ResumeReceiving();
  ASSERT_TRUE(Until([&] {
    const UdpSocket::Counters counters = receiver_->counters();
    return counters.received + counters.dropped_system == 8;
  }));
  ExpectDelivery();
  if (large == 0) GTEST_SKIP() << "the system's receive buffers are too small";
  EXPECT_EQ(next, large / 2);
}

TEST_F(UdpFaultTest, AFailureToReceiveIsReportedAndTheSocketGoesOn) {
  bool failed = false;
  on_receive = [&] { return std::exchange(failed, true) ? 0 : ENOMEM; };
  ExpectDelivery();
  ASSERT_EQ(recorder_.errors.size(), 1u);
  EXPECT_EQ(recorder_.errors[0].first.code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(UdpFaultTest, ThePeerOfAnErrorOutlivesTheSocketThatItsHandlerDestroys) {
  struct Handler : UdpHandler {
    void OnDatagrams(UdpSocket&, absl::Span<const ReceivedDatagram>) override {}
    void OnError(UdpSocket&, const absl::Status&, const SocketAddress& peer) override {
      socket.reset();
      seen = peer;
    }
    std::unique_ptr<UdpSocket> socket;
    SocketAddress seen;
  } handler;
  handler.socket = UdpSocket::Connect(*loop_, receiver_->local_address(), {}, handler).value();
  receiver_->Send(Bytes("something to receive"), handler.socket->local_address());
  on_receive = [] { return ENOMEM; };
  ASSERT_TRUE(Until([&] { return handler.socket == nullptr; }));
  EXPECT_EQ(handler.seen, receiver_->local_address());
}

// Whoever sprays the port has a moment for it while the socket is bound and not connected.
TEST_F(UdpFaultTest, AConnectedSocketReceivesNothingOfWhatOthersSentBefore) {
  on_connect = [&](int fd) {
    SocketAddress local;
    socklen_t length = SocketAddress::kRoomBytes;
    ASSERT_EQ(getsockname(fd, local.room(), &length), 0);
    const int stranger = socket(AF_INET, SOCK_DGRAM, 0);
    EXPECT_EQ(sendto(stranger, "strange", 7, 0, local.data(), length), 7);
    close(stranger);
  };
  UdpRecorder recorder;
  const UdpSocket::Options options = {.local = SocketAddress::Ipv4Loopback(0)};
  const std::unique_ptr<UdpSocket> connected =
      UdpSocket::Connect(*loop_, receiver_->local_address(), options, recorder).value();
  receiver_->Send(Bytes("the peer's"), connected->local_address());
  ASSERT_TRUE(Until([&] { return !recorder.received.empty(); }));
  EXPECT_THAT(recorder.Texts(), testing::ElementsAre("the peer's"));
}

TEST_F(UdpFaultTest, TheEcnOfOneDatagramLeavesTheSocketsDscp) {
  const UdpSocket::Options options = {.datagram = {.tos = 0xB8 | 2}};
  const auto marked =
      UdpSocket::Bind(*loop_, SocketAddress::Ipv4Loopback(0), options, sender_recorder_).value();
  int tos = -1;
  on_send = [&](const msghdr& first) {
    const cmsghdr* const control = CMSG_FIRSTHDR(&first);
    if (control != nullptr && control->cmsg_type == IP_TOS)
      tos = *reinterpret_cast<const int*>(CMSG_DATA(control));
    return 0;
  };
  marked->Send(Bytes("one"), receiver_->local_address(), {.ecn = 1});
  ASSERT_TRUE(Until([&] { return !recorder_.received.empty(); }));
  EXPECT_EQ(tos, 0xB8 | 1);
}

TEST_F(UdpFaultTest, ASocketThatCannotBeWatchedIsClosed) {
  if (test::EngineUnderTest() == PollerKind::kIoUring) GTEST_SKIP() << "it watches by submissions";
  UdpRecorder recorder;
  on_epoll_ctl = [] { return ENOSPC; };
  const std::unique_ptr<UdpSocket> socket = Bind(recorder);
  EXPECT_TRUE(recorder.errors.empty());
  ASSERT_TRUE(Until([&] { return socket->closed(); }));
  EXPECT_EQ(recorder.errors.size(), 1u);
}

}  // namespace
}  // namespace sluice
