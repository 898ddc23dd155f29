// What UdpSocket does with a system's network: both families, ICMP, packet information, multicast,
// drops. Asked of the engines that have one.
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/socket.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/datagram.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/tcp_testing.h"
#include "sluice/core/udp.h"
#include "sluice/core/udp_testing.h"

namespace sluice {
namespace {

using test::Bytes;
using test::KeptDatagram;
using test::UdpRecorder;
using testing::HasSubstr;

// A test of what a system's network does.
class UdpNetworkTest : public test::UdpTest {
 protected:
  void SetUp() override {
    test::UdpTest::SetUp();
    if (!GetParam().has_network) GTEST_SKIP() << "not of " << GetParam().name;
  }
};

// IPv6.

TEST_P(UdpNetworkTest, AnIpv6SocketTakesBothFamiliesUnlessToldOtherwise) {
  UdpRecorder recorder;
  const SocketAddress any = *SocketAddress::Parse("[::]:0");
  std::unique_ptr<UdpSocket> both = Bind(recorder, {}, any);
  const uint16_t port = both->local_address().port();
  UdpRecorder v4_recorder, v6_recorder;
  std::unique_ptr<UdpSocket> v4 = Connect(v4_recorder, SocketAddress::Ipv4Loopback(port));
  std::unique_ptr<UdpSocket> v6 = Connect(v6_recorder, SocketAddress::Ipv6Loopback(port));
  v4->Send(Bytes("four"));
  v6->Send(Bytes("six"));
  ASSERT_TRUE(Until([&] { return recorder.received.size() == 2; }));
  for (const KeptDatagram& kept : recorder.received)
    both->Send(Bytes(absl::StrCat("to ", kept.bytes)), kept.peer);
  ASSERT_TRUE(
      Until([&] { return !v4_recorder.received.empty() && !v6_recorder.received.empty(); }));
  EXPECT_EQ(v4_recorder.received[0].bytes, "to four");
  EXPECT_EQ(v6_recorder.received[0].bytes, "to six");

  std::unique_ptr<UdpSocket> only = Bind(recorder, {.datagram = {.ipv6_only = true}}, any);
  v4 = Connect(v4_recorder, SocketAddress::Ipv4Loopback(only->local_address().port()));
  v4->Send(Bytes("nobody"));
  EXPECT_TRUE(Until([&] { return !v4_recorder.errors.empty(); }));
}

// ICMP.

TEST_P(UdpNetworkTest, AConnectedSocketLearnsThatItsPeerRefuses) {
  UdpRecorder recorder;
  const SocketAddress nobody = Nobody();
  std::unique_ptr<UdpSocket> socket = Connect(recorder, nobody);
  socket->Send(Bytes("anybody"));
  ASSERT_TRUE(Until([&] { return !recorder.errors.empty(); }));
  Settle();
  ASSERT_EQ(recorder.errors.size(), 1u) << "told once";
  EXPECT_EQ(recorder.errors[0].first.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(recorder.errors[0].first.message(), HasSubstr(nobody.ToString()));
  EXPECT_EQ(recorder.errors[0].second, nobody);

  // It goes on: the peer comes up.
  UdpRecorder peer_recorder;
  std::unique_ptr<UdpSocket> peer = Bind(peer_recorder, {}, nobody);
  socket->Send(Bytes("you"));
  EXPECT_TRUE(Until([&] { return peer_recorder.received.size() == 1; }));
}

TEST_P(UdpNetworkTest, AnUnconnectedSocketLearnsWhoRefuses) {
  UdpRecorder recorder, friend_recorder;
  std::unique_ptr<UdpSocket> socket = Bind(recorder), a_friend = Bind(friend_recorder);
  const SocketAddress nobody = Nobody();
  socket->Send(Bytes("one"), nobody);
  Settle();
  // The error of another peer costs this one nothing.
  for (int i = 0; i < 10; ++i) {
    socket->Send(Bytes("x"), nobody);
    socket->Send(Bytes("two"), a_friend->local_address());
  }
  ASSERT_TRUE(Until([&] { return friend_recorder.received.size() == 10; }));
  ASSERT_TRUE(Until([&] { return recorder.errors.size() == 11; }));
  Settle();
  EXPECT_EQ(recorder.errors.size(), 11u);
  EXPECT_EQ(recorder.errors[0].first.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(recorder.errors[0].second, nobody);
  EXPECT_EQ(socket->counters().errors, 11u);
}

TEST_P(UdpNetworkTest, ErrorsAreToldWhileReceivingIsPausedOrWhenItIsResumed) {
  UdpRecorder recorder;
  std::unique_ptr<UdpSocket> socket = Connect(recorder, Nobody());
  socket->PauseReceiving();
  socket->Send(Bytes("x"));
  Settle();
  socket->ResumeReceiving();
  EXPECT_TRUE(Until([&] { return recorder.errors.size() == 1; }));
}

TEST_P(UdpNetworkTest, AStormOfErrorsIsToldOverSeveralTurns) {
  UdpRecorder recorder;
  std::unique_ptr<UdpSocket> socket = Bind(recorder, {.datagram = {.offload = false}});
  const SocketAddress nobody = Nobody();
  socket->PauseReceiving();
  for (int i = 0; i < 50; ++i) {
    socket->Send(Bytes("x"), nobody);
    if (i % 10 == 0) Settle();
  }
  socket->ResumeReceiving();
  EXPECT_TRUE(Until([&] { return recorder.errors.size() == 50; })) << recorder.errors.size();
}

// What is told of a datagram, and what is set.

TEST_P(UdpNetworkTest, ADatagramTellsWhereItWasSentTo) {
  for (const char* any : {"0.0.0.0:0", "[::]:0"}) {
    UdpRecorder recorder, client_recorder;
    std::unique_ptr<UdpSocket> server =
        Bind(recorder, {.datagram = {.receive_local = true}}, *SocketAddress::Parse(any));
    const uint16_t port = server->local_address().port();
    const SocketAddress second = SocketAddress::Parse(absl::StrCat("127.0.0.2:", port)).value();
    std::unique_ptr<UdpSocket> client = Connect(client_recorder, second);
    client->Send(Bytes("ask"));
    ASSERT_TRUE(Until([&] { return recorder.received.size() == 1; }));
    const KeptDatagram& kept = recorder.received[0];
    ASSERT_TRUE(kept.local.has_value());
    EXPECT_THAT(kept.local->ToString(), HasSubstr("127.0.0.2"));
    EXPECT_EQ(kept.local->port(), port);
    EXPECT_NE(kept.interface, 0u);
    // An answer from there reaches who is connected to it; another would not.
    server->Send(Bytes("answer"), kept.peer, {.source = &*kept.local});
    EXPECT_TRUE(Until([&] { return client_recorder.received.size() == 1; }));
  }
}

TEST_P(UdpNetworkTest, EcnAndTtlArrive) {
  for (const SocketAddress& local :
       {SocketAddress::Ipv4Loopback(0), SocketAddress::Ipv6Loopback(0)}) {
    UdpRecorder recorder, unused;
    std::unique_ptr<UdpSocket> receiver =
        Bind(recorder, {.datagram = {.receive_ecn = true, .receive_ttl = true}}, local);
    std::unique_ptr<UdpSocket> sender =
        Bind(unused, {.datagram = {.ttl = 42, .tos = 0xB8 | 2}}, local);
    std::unique_ptr<UdpSocket> connected = Connect(unused, receiver->local_address());
    sender->Send(Bytes("own"), receiver->local_address());
    sender->Send(Bytes("one"), receiver->local_address(), {.ecn = 1});
    sender->Send(Bytes("not"), receiver->local_address(), {.ecn = 0});
    sender->Send(Bytes("ce_"), receiver->local_address(), {.ecn = 3});
    ASSERT_TRUE(Until([&] { return recorder.received.size() == 4; }));
    std::vector<int> ecns;
    for (const KeptDatagram& kept : recorder.received) {
      ecns.push_back(kept.ecn);
      EXPECT_EQ(kept.ttl, 42);
    }
    EXPECT_THAT(ecns, testing::ElementsAre(2, 1, 0, 3));
    connected->Send(Bytes("x"));
    connected->Send(Bytes("y"), {.ecn = 2});
    ASSERT_TRUE(Until([&] { return recorder.received.size() == 6; }));
    EXPECT_EQ(recorder.received[4].ecn, 0);
    EXPECT_EQ(recorder.received[5].ecn, 2);
  }
}

TEST_P(UdpNetworkTest, WhatIsNotAskedForIsNotTold) {
  UdpRecorder recorder;
  std::unique_ptr<UdpSocket> socket = Bind(recorder);
  socket->Send(Bytes("x"), socket->local_address());
  ASSERT_TRUE(Until([&] { return recorder.received.size() == 1; }));
  EXPECT_FALSE(recorder.received[0].local.has_value());
  EXPECT_EQ(recorder.received[0].ttl, -1);
}

TEST_P(UdpNetworkTest, WhatFindsNoRoomIsCounted) {
  UdpRecorder recorder, unused;
  std::unique_ptr<UdpSocket> receiver =
      Bind(recorder, {.datagram = {.receive_buffer_bytes = 1, .offload = false}});
  std::unique_ptr<UdpSocket> sender = Bind(unused, {.datagram = {.offload = false}});
  receiver->PauseReceiving();
  for (int i = 0; i < 100; ++i) sender->Send(Bytes("x"), receiver->local_address());
  ASSERT_TRUE(Until([&] { return sender->counters().sent == 100; }));
  receiver->ResumeReceiving();
  Settle();
  EXPECT_GT(receiver->counters().dropped_system, 0u);
  EXPECT_EQ(receiver->counters().dropped_system + receiver->counters().received, 100u);
  receiver->Close();
  EXPECT_EQ(receiver->counters().dropped_system + receiver->counters().received, 100u);
}

TEST_P(UdpNetworkTest, SocketsShareAPortWhereAllAskForIt) {
  UdpRecorder recorder;
  const UdpSocket::Options options = {.datagram = {.reuse_port = true}};
  std::unique_ptr<UdpSocket> first = Bind(recorder, options);
  std::unique_ptr<UdpSocket> second = Bind(recorder, options, first->local_address());
  EXPECT_EQ(second->local_address(), first->local_address());
  EXPECT_FALSE(UdpSocket::Bind(*loop_, first->local_address(), {}, recorder).ok());
}

// Multicast.

constexpr char kLoopback[] = "lo";

TEST_P(UdpNetworkTest, MembersOfAGroupGetWhatIsSentToIt) {
  UdpRecorder a_recorder, b_recorder, unused;
  const UdpSocket::Options member = {.datagram = {.reuse_address = true, .receive_local = true}};
  std::unique_ptr<UdpSocket> a = Bind(a_recorder, member, *SocketAddress::Parse("0.0.0.0:0"));
  std::unique_ptr<UdpSocket> b = Bind(b_recorder, member, a->local_address());
  std::unique_ptr<UdpSocket> sender =
      Bind(unused, {.datagram = {.multicast_interface = kLoopback}});
  const SocketAddress group =
      SocketAddress::Parse("239.192.7.7:0")->WithPort(a->local_address().port());
  ASSERT_EQ(a->JoinGroup({.group = group, .interface = kLoopback}), absl::OkStatus());
  EXPECT_FALSE(a->JoinGroup({.group = group, .interface = kLoopback}).ok()) << "it is one";
  sender->Send(Bytes("one"), group);
  ASSERT_TRUE(Until([&] { return a_recorder.received.size() == 1; }));
  EXPECT_EQ(*a_recorder.received[0].local, group);
  Settle();
  EXPECT_TRUE(b_recorder.received.empty()) << "it is no member, though another of its host is";

  ASSERT_EQ(b->JoinGroup({.group = group, .interface = kLoopback}), absl::OkStatus());
  sender->Send(Bytes("two"), group);
  ASSERT_TRUE(
      Until([&] { return a_recorder.received.size() == 2 && b_recorder.received.size() == 1; }));

  ASSERT_EQ(a->LeaveGroup({.group = group, .interface = kLoopback}), absl::OkStatus());
  EXPECT_FALSE(a->LeaveGroup({.group = group, .interface = kLoopback}).ok());
  sender->Send(Bytes("three"), group);
  ASSERT_TRUE(Until([&] { return b_recorder.received.size() == 2; }));
  Settle();
  EXPECT_EQ(a_recorder.received.size(), 2u);
}

TEST_P(UdpNetworkTest, AMemberForOneSourceHearsNoOther) {
  UdpRecorder recorder, unused;
  std::unique_ptr<UdpSocket> member = Bind(recorder, {}, *SocketAddress::Parse("0.0.0.0:0"));
  const UdpSocket::Options options = {.datagram = {.multicast_interface = kLoopback}};
  std::unique_ptr<UdpSocket> wanted = Bind(unused, options, *SocketAddress::Parse("127.0.0.2:0"));
  std::unique_ptr<UdpSocket> other = Bind(unused, options, *SocketAddress::Parse("127.0.0.3:0"));
  const SocketAddress group =
      SocketAddress::Parse("232.1.2.3:0")->WithPort(member->local_address().port());
  ASSERT_EQ(member->JoinGroup(
                {.group = group, .interface = kLoopback, .source = wanted->local_address()}),
            absl::OkStatus());
  other->Send(Bytes("other"), group);
  wanted->Send(Bytes("wanted"), group);
  ASSERT_TRUE(Until([&] { return !recorder.received.empty(); }));
  EXPECT_THAT(recorder.Texts(), testing::ElementsAre("wanted"));
}

// The loopback interface has no way for IPv6 groups on every system.
std::string InterfaceForIpv6Groups() {
  std::string name = kLoopback;
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return name;
  for (const ifaddrs* i = all; i != nullptr; i = i->ifa_next) {
    const bool fits = i->ifa_addr != nullptr && i->ifa_addr->sa_family == AF_INET6 &&
                      (i->ifa_flags & IFF_UP) != 0 && (i->ifa_flags & IFF_MULTICAST) != 0;
    if (fits) name = i->ifa_name;
  }
  freeifaddrs(all);
  return name;
}

// A group that does not leave the host.
TEST_P(UdpNetworkTest, AnIpv6GroupIsJoinedTheSameWay) {
  const std::string interface = GetParam().is_simulated ? kLoopback : InterfaceForIpv6Groups();
  UdpRecorder recorder, unused;
  std::unique_ptr<UdpSocket> member = Bind(recorder, {}, *SocketAddress::Parse("[::]:0"));
  std::unique_ptr<UdpSocket> sender = Bind(unused, {.datagram = {.multicast_interface = interface}},
                                           *SocketAddress::Parse("[::]:0"));
  const SocketAddress group =
      SocketAddress::Parse("[ff01::7:7]:0")->WithPort(member->local_address().port());
  ASSERT_EQ(member->JoinGroup({.group = group, .interface = interface}), absl::OkStatus());
  EXPECT_FALSE(member->JoinGroup({.group = group, .interface = interface}).ok()) << "it is one";
  sender->Send(Bytes("six"), group);
  ASSERT_TRUE(Until([&] { return recorder.received.size() == 1 || !unused.errors.empty(); }));
  if (!unused.errors.empty()) GTEST_SKIP() << "no way for IPv6 groups: " << unused.errors[0].first;
  ASSERT_EQ(member->LeaveGroup({.group = group, .interface = interface}), absl::OkStatus());
}

TEST_P(UdpNetworkTest, MulticastLoopIsAnOption) {
  UdpRecorder recorder, unused;
  std::unique_ptr<UdpSocket> member = Bind(recorder, {}, *SocketAddress::Parse("0.0.0.0:0"));
  const SocketAddress group =
      SocketAddress::Parse("239.192.7.8:0")->WithPort(member->local_address().port());
  ASSERT_EQ(member->JoinGroup({.group = group, .interface = kLoopback}), absl::OkStatus());
  std::unique_ptr<UdpSocket> sender =
      Bind(unused, {.datagram = {.multicast_ttl = 3, .multicast_interface = kLoopback}});
  sender->Send(Bytes("heard"), group);
  ASSERT_TRUE(Until([&] { return recorder.received.size() == 1; }));
}

TEST_P(UdpNetworkTest, AGroupThatCannotBeJoinedIsAnErrorThatSaysWhy) {
  UdpRecorder recorder;
  std::unique_ptr<UdpSocket> socket = Bind(recorder);
  EXPECT_EQ(socket->JoinGroup({}).code(), absl::StatusCode::kInvalidArgument);
  const absl::Status no_group = socket->JoinGroup({.group = SocketAddress::Ipv4Loopback(0)});
  EXPECT_EQ(no_group.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(no_group.message(), HasSubstr("127.0.0.1"));
  const absl::Status no_interface =
      socket->JoinGroup({.group = *SocketAddress::Parse("239.1.1.1:0"), .interface = "none7"});
  EXPECT_EQ(no_interface.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(no_interface.message(), HasSubstr("none7"));
  const absl::Status bad_option =
      UdpSocket::Bind(*loop_, SocketAddress::Ipv4Loopback(0),
                      {.datagram = {.multicast_interface = "none7"}}, recorder)
          .status();
  EXPECT_EQ(bad_option.code(), absl::StatusCode::kNotFound);
}

SLUICE_INSTANTIATE_UDP_TEST(UdpNetworkTest);

}  // namespace
}  // namespace sluice
