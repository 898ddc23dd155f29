// UDP in the simulated network. What UdpSocket promises on every engine is in udp_test.cc.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/simulation.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/udp.h"

namespace sluice {
namespace {

absl::Span<const uint8_t> Bytes(absl::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

SocketAddress Address(absl::string_view text) { return *SocketAddress::Parse(text); }

// A port of a host that is no more than simulated.
SocketAddress At(absl::string_view host, uint16_t port) {
  return Address(absl::StrCat(host, ":0")).WithPort(port);
}

// A socket, and what has happened to it.
struct End final : UdpHandler {
  void OnDatagrams(UdpSocket& of, absl::Span<const ReceivedDatagram> datagrams) override {
    ++calls;
    for (const ReceivedDatagram& datagram : datagrams) {
      received.emplace_back(datagram.bytes.begin(), datagram.bytes.end());
      peers.push_back(datagram.peer->ToString());
    }
    if (on_datagrams) on_datagrams(of, datagrams);
  }
  void OnSendReady(UdpSocket&) override {
    ++readies;
    if (on_send_ready) on_send_ready();
  }
  void OnError(UdpSocket&, const absl::Status& status, const SocketAddress& peer) override {
    errors.push_back(absl::StrCat(absl::StatusCodeToString(status.code()), " ", peer.ToString()));
    if (on_error) on_error();
  }

  void Send(absl::string_view bytes) { socket->Send(Bytes(bytes)); }
  SocketAddress address() const { return socket->local_address(); }

  std::unique_ptr<UdpSocket> socket;
  std::vector<std::string> received;
  std::vector<std::string> peers;
  std::vector<std::string> errors;
  int calls = 0;
  int readies = 0;
  std::function<void(UdpSocket&, absl::Span<const ReceivedDatagram>)> on_datagrams;
  std::function<void()> on_send_ready, on_error;
};

class SimulatedDatagramsTest : public testing::Test {
 protected:
  static absl::Status Bind(End& end, SimulatedHost& host, const SocketAddress& local,
                           const DatagramOptions& options = {}) {
    absl::StatusOr<std::unique_ptr<UdpSocket>> bound =
        UdpSocket::Bind(host.loop(), local, {.datagram = options}, end);
    if (bound.ok()) end.socket = *std::move(bound);
    return bound.status();
  }
  static absl::Status Connect(End& end, SimulatedHost& host, const SocketAddress& peer,
                              const UdpSocket::Options& options = {}) {
    absl::StatusOr<std::unique_ptr<UdpSocket>> connected =
        UdpSocket::Connect(host.loop(), peer, options, end);
    if (connected.ok()) end.socket = *std::move(connected);
    return connected.status();
  }
  // A server on the one host, and a client of it on the other.
  void Open(const DatagramOptions& options = {}) {
    ASSERT_TRUE(Bind(server_, server_host_, server_host_.Address(9000), options).ok());
    ASSERT_TRUE(Connect(client_, client_host_, server_host_.Address(9000)).ok());
  }
  bool Until(absl::FunctionRef<bool()> done, absl::Duration timeout = absl::Hours(1)) {
    return network_.RunUntil(done, timeout);
  }
  void RunFor(absl::Duration time) { network_.RunFor(time); }

  // Sends numbers, each a millisecond after the other, and waits until the last would be there.
  void SendNumbers(int count) {
    for (int i = 0; i < count; ++i) {
      client_.Send(absl::StrCat(i));
      RunFor(absl::Milliseconds(1));
    }
    RunFor(absl::Seconds(10));
  }

  End server_, client_;  // before the network: they hear of the loops' end
  SimulatedNetwork network_{1, {.trace = true}};
  SimulatedHost& server_host_ = network_.AddHost("server");
  SimulatedHost& client_host_ = network_.AddHost("client");
};

TEST_F(SimulatedDatagramsTest, AnAnswerTakesTheLatencyThereAndBack) {
  network_.SetLink(server_host_, client_host_, {.latency = absl::Milliseconds(50)});
  Open();
  server_.on_datagrams = [](UdpSocket& socket, absl::Span<const ReceivedDatagram> datagrams) {
    for (const ReceivedDatagram& datagram : datagrams)
      socket.SendLent(datagram.bytes, *datagram.peer);
  };
  const MonotonicTime start = network_.now();
  client_.Send("hello");
  ASSERT_TRUE(Until([&] { return !client_.received.empty(); }));
  EXPECT_GE(network_.now() - start, absl::Milliseconds(100));
  EXPECT_LT(network_.now() - start, absl::Milliseconds(101));
  EXPECT_EQ(client_.received[0], "hello");
  EXPECT_EQ(client_.peers[0], server_host_.Address(9000).ToString());
  EXPECT_EQ(server_.peers[0], client_.address().ToString());
  EXPECT_EQ(client_.address(), client_host_.Address(client_.address().port()));
}

TEST_F(SimulatedDatagramsTest, LossDuplicatesAndReorderingKeepToTheirChances) {
  network_.SetLink(
      server_host_, client_host_,
      {.latency = absl::Milliseconds(5), .loss = 0.2, .duplicate = 0.1, .reorder = 0.05});
  Open();
  constexpr int kCount = 10'000;
  SendNumbers(kCount);
  const std::set<std::string> distinct(server_.received.begin(), server_.received.end());
  int overtaken = 0;
  int highest = -1;
  for (const std::string& number : server_.received) {
    if (std::stoi(number) < highest) ++overtaken;
    highest = std::max(highest, std::stoi(number));
  }
  // Five standard deviations and more to either side.
  EXPECT_NEAR(static_cast<int>(distinct.size()), 8'000, 250);
  EXPECT_NEAR(static_cast<int>(server_.received.size() - distinct.size()), 800, 150);
  EXPECT_NEAR(overtaken, 8'800 * 0.05, 120);
  EXPECT_EQ(server_.socket->counters().dropped_system, 0u);
  for (const char* event : {"loses", "twice", "brings"})
    EXPECT_NE(network_.trace().find(event), std::string::npos) << event;
}

TEST_F(SimulatedDatagramsTest, JitterLetsThemOvertakeOneAnother) {
  network_.SetLink(server_host_, client_host_, {.jitter = absl::Milliseconds(20)});
  Open();
  SendNumbers(100);
  ASSERT_EQ(server_.received.size(), 100u);
  const auto is_less = [](const std::string& a, const std::string& b) {
    return std::stoi(a) < std::stoi(b);
  };
  EXPECT_FALSE(std::is_sorted(server_.received.begin(), server_.received.end(), is_less));
}

// Bursts of random sizes, of which no two may be in the buffer together and find it full.
TEST(SimulatedDatagramsPropertyTest, APerfectLinkLosesNothingBelowTheQueueLimit) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    End server, client;
    SimulatedNetwork network(seed, {.host = {.short_send = 0.1, .short_receive = 0.3}});
    SimulatedHost& server_host = network.AddHost("server");
    SimulatedHost& client_host = network.AddHost("client");
    server.socket = *UdpSocket::Bind(server_host.loop(), server_host.Address(1), {}, server);
    client.socket = *UdpSocket::Connect(
        client_host.loop(), server_host.Address(1),
        {.max_queued_datagrams = 1'000'000, .max_queued_bytes = 1 << 30}, client);
    constexpr size_t kLimit = 256 * 1024;
    std::vector<std::string> sent;
    for (int burst = 0; burst < 20; ++burst) {
      for (size_t room = kLimit;;) {
        std::string bytes(network.Random(network.Random(4) == 0 ? 65'508 : 300),
                          static_cast<char>('a' + sent.size() % 26));
        if (bytes.size() + 256 > room) break;
        room -= bytes.size() + 256;
        client.Send(bytes);
        sent.push_back(std::move(bytes));
      }
      network.RunFor(absl::Milliseconds(1 + network.Random(3)));
    }
    EXPECT_TRUE(
        network.RunUntil([&] { return server.received.size() == sent.size(); }, absl::Seconds(1)))
        << "seed " << seed << ": " << server.received.size() << " of " << sent.size();
    EXPECT_TRUE(server.received == sent) << "seed " << seed;
    EXPECT_EQ(server.socket->counters().dropped_system, 0u);
    EXPECT_EQ(client.socket->counters().sent, sent.size());
  }
}

TEST_F(SimulatedDatagramsTest, WhatFindsTheReceiveBufferFullIsDroppedAndCounted) {
  Open({.receive_buffer_bytes = 10 * 1024});
  server_.socket->PauseReceiving();
  for (int i = 0; i < 30; ++i) client_.Send(std::string(768, 'x'));
  RunFor(absl::Seconds(1));
  EXPECT_EQ(server_.socket->counters().dropped_system, 20u);
  server_.socket->ResumeReceiving();
  RunFor(absl::Seconds(1));
  EXPECT_EQ(server_.received.size(), 10u);
  client_.Send("there is room again");
  ASSERT_TRUE(Until([&] { return server_.received.size() == 11; }));
}

TEST_F(SimulatedDatagramsTest, OneAlwaysFits) {
  Open({.receive_buffer_bytes = 1});
  client_.Send(std::string(kMaxDatagramBytes, 'x'));
  ASSERT_TRUE(Until([&] { return server_.received.size() == 1; }));
  EXPECT_EQ(server_.received[0].size(), kMaxDatagramBytes);
}

TEST_F(SimulatedDatagramsTest, AStalledHostDropsWhatItsBufferHasNoRoomFor) {
  Open();
  server_host_.Stall();
  for (int i = 0; i < 10; ++i) client_.Send(std::string(50'000, 'x'));
  RunFor(absl::Minutes(1));
  server_host_.Resume();
  RunFor(absl::Seconds(1));
  EXPECT_EQ(server_.received.size(), 5u);
  EXPECT_EQ(server_.socket->counters().dropped_system, 5u);
}

TEST_F(SimulatedDatagramsTest, NothingPassesAPartitionNorWaitsForItsEnd) {
  network_.SetLink(server_host_, client_host_, {.latency = absl::Milliseconds(100)});
  Open();
  client_.Send("under way");
  RunFor(absl::Milliseconds(50));
  network_.Partition(server_host_, client_host_);
  client_.Send("parted");
  RunFor(absl::Milliseconds(150));
  client_.Send("still parted");
  RunFor(absl::Milliseconds(10));
  network_.Heal(server_host_, client_host_);
  RunFor(absl::Minutes(1));
  EXPECT_TRUE(server_.received.empty());
  client_.Send("joined");
  ASSERT_TRUE(Until([&] { return !server_.received.empty(); }));
  EXPECT_EQ(server_.received[0], "joined");
  EXPECT_TRUE(client_.errors.empty());
}

TEST_F(SimulatedDatagramsTest, AProcessThatDiedRefusesAndAMachineThatIsGoneIsSilent) {
  Open();
  server_host_.CrashNow(SimulatedHost::Crash::kProcess);
  client_.Send("anybody there?");
  ASSERT_TRUE(Until([&] { return !client_.errors.empty(); }));
  EXPECT_EQ(client_.errors[0], absl::StrCat("UNAVAILABLE ", server_host_.Address(9000).ToString()));

  SimulatedHost& other = network_.AddHost("other");
  End gone;
  ASSERT_TRUE(Connect(gone, client_host_, other.Address(1)).ok());
  other.CrashNow(SimulatedHost::Crash::kMachine);
  gone.Send("anybody there?");
  RunFor(absl::Minutes(1));
  EXPECT_TRUE(gone.errors.empty());
}

TEST_F(SimulatedDatagramsTest, ASuccessorHasTheAddressAndNothingThatWasThere) {
  network_.SetLink(server_host_, client_host_, {.latency = absl::Milliseconds(100)});
  Open();
  server_host_.CrashNow(SimulatedHost::Crash::kMachine);
  client_.Send("under way");
  SimulatedHost& successor = network_.AddHost("server");
  End end;
  ASSERT_TRUE(Bind(end, successor, successor.Address(9000)).ok());
  ASSERT_TRUE(Until([&] { return !end.received.empty(); }));
  EXPECT_EQ(end.received[0], "under way");
  EXPECT_TRUE(server_.received.empty());
}

TEST_F(SimulatedDatagramsTest, APortAtWhichNobodyIsIsToldWithItsAddress) {
  network_.SetLink(server_host_, client_host_, {.latency = absl::Milliseconds(50)});
  ASSERT_TRUE(Bind(client_, client_host_, Address("[::]:0")).ok());
  client_.socket->Send(Bytes("x"), server_host_.Address(7));
  client_.socket->Send(Bytes("x"), At("[::1]", 8));
  RunFor(absl::Milliseconds(90));
  EXPECT_EQ(client_.errors, std::vector<std::string>{"UNAVAILABLE [::1]:8"});
  RunFor(absl::Milliseconds(20));
  ASSERT_EQ(client_.errors.size(), 2u);
  EXPECT_EQ(
      client_.errors[1],
      absl::StrCat("UNAVAILABLE [::ffff:", server_host_.Address(7).ToString().substr(0, 8), "]:7"));
}

TEST_F(SimulatedDatagramsTest, AnAddressThatNobodyHasIsUnreachableAfterAWhile) {
  ASSERT_TRUE(Connect(client_, client_host_, At("192.0.2.1", 80)).ok());
  client_.Send("x");
  RunFor(absl::Seconds(2));
  EXPECT_TRUE(client_.errors.empty());
  ASSERT_TRUE(Until([&] { return !client_.errors.empty(); }, absl::Seconds(2)));
}

TEST_F(SimulatedDatagramsTest, BandwidthTakesTimeAndHoldsTheSenderBack) {
  network_.SetLink(server_host_, client_host_, {.bytes_per_second = 1'000'000});
  ASSERT_TRUE(Bind(server_, server_host_, server_host_.Address(9000)).ok());
  ASSERT_TRUE(Connect(client_, client_host_, server_host_.Address(9000),
                      {.datagram = {.send_buffer_bytes = 10'000}, .max_queued_datagrams = 20})
                  .ok());
  // Ten are in the send buffer, twenty in the socket's queue.
  int dropped = 0;
  for (int i = 0; i < 40; ++i) {
    if (client_.socket->Send(Bytes(std::string(1'000, 'x'))) == UdpSendResult::kDropped) ++dropped;
    if (i == 9) RunFor(absl::Microseconds(10));
  }
  EXPECT_EQ(dropped, 10);
  const MonotonicTime start = network_.now();
  ASSERT_TRUE(Until([&] { return client_.readies == 1; }));
  EXPECT_GE(network_.now() - start, absl::Milliseconds(19));
  ASSERT_TRUE(Until([&] { return server_.received.size() == 30; }));
  EXPECT_GE(network_.now() - start, absl::Milliseconds(29));
  EXPECT_LT(network_.now() - start, absl::Milliseconds(32));
}

TEST_F(SimulatedDatagramsTest, ReceiversAreFoundByFamilyAddressAndPeer) {
  const SocketAddress ipv6 = At("[fd00::1]", 9000);
  End any, ipv4, connected, ipv6_only;
  ASSERT_TRUE(Connect(client_, client_host_, server_host_.Address(9000)).ok());
  ASSERT_TRUE(Bind(any, server_host_, At("[::]", 9000), {.reuse_port = true}).ok());
  client_.Send("1");
  client_.socket->Send(Bytes("none"), At("127.0.0.1", 9000));
  RunFor(absl::Seconds(1));
  EXPECT_EQ(any.received, std::vector<std::string>{"1"});
  EXPECT_EQ(any.peers[0].substr(0, 9), "[::ffff:1");

  ASSERT_TRUE(Bind(ipv4, server_host_, server_host_.Address(9000), {.reuse_port = true}).ok());
  client_.Send("2");
  RunFor(absl::Seconds(1));
  EXPECT_EQ(ipv4.received, std::vector<std::string>{"2"});
  EXPECT_EQ(ipv4.peers[0], client_.address().ToString());

  ASSERT_TRUE(Connect(connected, server_host_, client_.address(),
                      {.datagram = {.reuse_port = true}, .local = server_host_.Address(9000)})
                  .ok());
  client_.Send("3");
  End ipv6_client;
  ASSERT_TRUE(Connect(ipv6_client, client_host_, ipv6).ok());
  ipv6_client.Send("4");
  RunFor(absl::Seconds(1));
  EXPECT_EQ(connected.received, std::vector<std::string>{"3"});
  EXPECT_EQ(any.received, (std::vector<std::string>{"1", "4"}));
  EXPECT_EQ(any.peers[1], ipv6_client.address().ToString());

  any.socket = nullptr;
  ipv4.socket = nullptr;
  connected.socket = nullptr;
  ASSERT_TRUE(Bind(ipv6_only, server_host_, At("[::]", 9000), {.ipv6_only = true}).ok());
  client_.Send("5");
  RunFor(absl::Seconds(1));
  EXPECT_TRUE(ipv6_only.received.empty());
  EXPECT_EQ(client_.errors.size(), 2u) << "of that to its own host, and of this one";
}

TEST_F(SimulatedDatagramsTest, AConnectedSocketHearsOfItsPeerOnly) {
  Open();
  End stranger;
  ASSERT_TRUE(Bind(stranger, server_host_, server_host_.Address(0)).ok());
  stranger.socket->Send(Bytes("who am I?"), client_.address());
  server_.socket->Send(Bytes("hello"), client_.address());
  ASSERT_TRUE(Until([&] { return !stranger.errors.empty() && !client_.received.empty(); }));
  EXPECT_EQ(client_.received, std::vector<std::string>{"hello"});
}

TEST_F(SimulatedDatagramsTest, PortsAreTakenWhereAddressesMeet) {
  const auto bind = [&](const SocketAddress& local, const DatagramOptions& options = {}) {
    End end;
    return Bind(end, server_host_, local, options).code();
  };
  End taken;
  ASSERT_TRUE(Bind(taken, server_host_, server_host_.Address(9000), {.reuse_port = true}).ok());
  constexpr auto kTaken = absl::StatusCode::kAlreadyExists;
  EXPECT_EQ(bind(server_host_.Address(9000)), kTaken);
  EXPECT_EQ(bind(At("0.0.0.0", 9000)), kTaken);
  EXPECT_EQ(bind(At("[::]", 9000)), kTaken);
  EXPECT_EQ(bind(At("[::]", 9000), {.ipv6_only = true}), absl::StatusCode::kOk);
  EXPECT_EQ(bind(At("127.0.0.1", 9000)), absl::StatusCode::kOk);
  EXPECT_EQ(bind(At("0.0.0.0", 9000), {.reuse_port = true}), absl::StatusCode::kOk);
  EXPECT_EQ(bind(At("0.0.0.0", 9000), {.reuse_address = true}), kTaken);
  EXPECT_EQ(bind(client_host_.Address(1)), absl::StatusCode::kUnavailable);
  EXPECT_EQ(bind(Address("unix:/tmp/x")), absl::StatusCode::kInvalidArgument);
  taken.socket = nullptr;
  EXPECT_EQ(bind(server_host_.Address(9000)), absl::StatusCode::kOk);
}

TEST_F(SimulatedDatagramsTest, SocketsCostDescriptors) {
  server_host_.set_options({.descriptors = 1});
  ASSERT_TRUE(Bind(server_, server_host_, server_host_.Address(0)).ok());
  EXPECT_EQ(server_host_.descriptors(), 1);
  End more;
  EXPECT_EQ(Bind(more, server_host_, server_host_.Address(0)).code(),
            absl::StatusCode::kResourceExhausted);
  server_.socket->Close();
  EXPECT_EQ(server_host_.descriptors(), 0);
  EXPECT_TRUE(Bind(more, server_host_, server_host_.Address(0)).ok());
}

TEST_F(SimulatedDatagramsTest, SocketsThatShareAPortShareTheSenders) {
  End servers[4];
  for (End& server : servers)
    ASSERT_TRUE(Bind(server, server_host_, server_host_.Address(1), {.reuse_port = true}).ok());
  for (int i = 0; i < 100; ++i) {
    End client;
    ASSERT_TRUE(Connect(client, client_host_, server_host_.Address(1)).ok());
    for (int j = 0; j < 3; ++j) client.Send(absl::StrCat(i));
    RunFor(absl::Milliseconds(1));
  }
  size_t received = 0;
  for (const End& server : servers) {
    received += server.received.size();
    EXPECT_GT(server.received.size(), 30u);
    EXPECT_EQ(server.received.size() % 3, 0u) << "one sender has one receiver";
  }
  EXPECT_EQ(received, 300u);
}

TEST_F(SimulatedDatagramsTest, AGroupIsItsMembersOnAllHosts) {
  SimulatedHost& third_host = network_.AddHost("third");
  const SocketAddress group = At("239.1.2.3", 5000);
  End here, there, too, filtered, stranger;
  const DatagramOptions shared = {.reuse_address = true};
  ASSERT_TRUE(Bind(here, server_host_, At("0.0.0.0", 5000), shared).ok());
  ASSERT_TRUE(Bind(there, client_host_, At("0.0.0.0", 5000), shared).ok());
  ASSERT_TRUE(Bind(too, client_host_, group, shared).ok());
  ASSERT_TRUE(Bind(filtered, third_host, At("0.0.0.0", 5000), shared).ok());
  ASSERT_TRUE(Bind(stranger, third_host, At("0.0.0.0", 5000), shared).ok());
  for (End* end : {&here, &there, &too}) ASSERT_TRUE(end->socket->JoinGroup({.group = group}).ok());
  ASSERT_TRUE(filtered.socket->JoinGroup({.group = group, .source = client_host_.Address(0)}).ok());
  EXPECT_EQ(here.socket->JoinGroup({.group = group}).code(), absl::StatusCode::kAlreadyExists);

  End sender;
  ASSERT_TRUE(Bind(sender, server_host_, server_host_.Address(0)).ok());
  sender.socket->Send(Bytes("1"), group);
  there.socket->Send(Bytes("2"), group);
  RunFor(absl::Seconds(1));
  EXPECT_EQ(here.received, (std::vector<std::string>{"1", "2"}));
  EXPECT_EQ(too.received.size(), 2u);
  EXPECT_EQ(there.received.size(), 2u);
  EXPECT_EQ(filtered.received, std::vector<std::string>{"2"});
  EXPECT_TRUE(stranger.received.empty());

  ASSERT_TRUE(too.socket->LeaveGroup({.group = group}).ok());
  EXPECT_EQ(too.socket->LeaveGroup({.group = group}).code(), absl::StatusCode::kUnavailable);
  sender.socket->Send(Bytes("3"), group);
  RunFor(absl::Seconds(1));
  EXPECT_EQ(too.received.size(), 2u);
  EXPECT_EQ(here.received.size(), 3u);
  EXPECT_TRUE(sender.errors.empty());
}

TEST_F(SimulatedDatagramsTest, AGroupMayStayWithinTheHostOrOutsideOfIt) {
  const SocketAddress group = At("[ff05::1]", 5000);
  ASSERT_TRUE(Bind(server_, server_host_, At("[::]", 5000)).ok());
  ASSERT_TRUE(Bind(client_, client_host_, At("[::]", 5000)).ok());
  for (End* end : {&server_, &client_}) ASSERT_TRUE(end->socket->JoinGroup({.group = group}).ok());
  End within, outside;
  ASSERT_TRUE(Bind(within, server_host_, Address("[::]:0"), {.multicast_ttl = 0}).ok());
  ASSERT_TRUE(Bind(outside, server_host_, Address("[::]:0"), {.multicast_loop = false}).ok());
  within.socket->Send(Bytes("within"), group);
  outside.socket->Send(Bytes("outside"), group);
  RunFor(absl::Seconds(1));
  EXPECT_EQ(server_.received, std::vector<std::string>{"within"});
  EXPECT_EQ(client_.received, std::vector<std::string>{"outside"});
}

TEST_F(SimulatedDatagramsTest, WhatIsNoGroupIsRefused) {
  Open();
  const auto join = [&](const MulticastGroup& group) {
    return server_.socket->JoinGroup(group).code();
  };
  EXPECT_EQ(join({.group = Address("10.0.0.1:0")}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(join({.group = Address("[ff02::1]:0")}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(join({}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(join({.group = Address("239.1.1.1:0"), .interface = "eth7"}),
            absl::StatusCode::kNotFound);
}

TEST_F(SimulatedDatagramsTest, WhatIsToldOfADatagram) {
  ASSERT_TRUE(Bind(server_, server_host_, At("0.0.0.0", 9000),
                   {.max_datagram_bytes = 5,
                    .receive_local = true,
                    .receive_ecn = true,
                    .receive_ttl = true})
                  .ok());
  ASSERT_TRUE(
      Connect(client_, client_host_, server_host_.Address(9000), {.datagram = {.ttl = 7, .tos = 2}})
          .ok());
  std::string told;
  server_.on_datagrams = [&](UdpSocket&, absl::Span<const ReceivedDatagram> datagrams) {
    for (const ReceivedDatagram& datagram : datagrams)
      absl::StrAppend(&told, datagram.local->ToString(), " ttl ", datagram.ttl, " ecn ",
                      static_cast<int>(datagram.ecn), datagram.truncated ? " cut" : "", "\n");
  };
  client_.Send("12345");
  client_.socket->Send(Bytes("123456"), server_host_.Address(9000), {.ecn = 1});
  ASSERT_TRUE(Until([&] { return server_.received.size() == 2; }));
  const std::string local = server_host_.Address(9000).ToString();
  EXPECT_EQ(told, absl::StrCat(local, " ttl 7 ecn 2\n", local, " ttl 7 ecn 1 cut\n"));
  EXPECT_EQ(server_.received[1], "12345");
  EXPECT_EQ(server_.socket->counters().truncated, 1u);
}

TEST_F(SimulatedDatagramsTest, ASourceMustBeAnAddressOfTheHost) {
  ASSERT_TRUE(Bind(server_, server_host_, server_host_.Address(9000)).ok());
  ASSERT_TRUE(Bind(client_, client_host_, Address("0.0.0.0:0")).ok());
  const SocketAddress own = client_host_.Address(0);
  const SocketAddress foreign = server_host_.Address(0);
  client_.socket->Send(Bytes("x"), server_host_.Address(9000), {.source = &own});
  client_.socket->Send(Bytes("y"), server_host_.Address(9000), {.source = &foreign});
  RunFor(absl::Seconds(1));
  EXPECT_EQ(server_.received, std::vector<std::string>{"x"});
  ASSERT_EQ(client_.errors.size(), 1u);
  EXPECT_EQ(client_.errors[0].substr(0, 16), "INVALID_ARGUMENT");
}

TEST_F(SimulatedDatagramsTest, WhatWasLentIsOverwritten) {
  Open();
  absl::Span<uint8_t> kept;
  server_.on_datagrams = [&](UdpSocket&, absl::Span<const ReceivedDatagram> datagrams) {
    kept = datagrams.back().bytes;
  };
  client_.Send("one");
  client_.Send("hello");
  ASSERT_TRUE(Until([&] { return !server_.received.empty(); }));
  EXPECT_EQ(std::string(kept.begin(), kept.end()), "\xdb\xdb\xdb\xdb\xdb");
}

TEST_F(SimulatedDatagramsTest, ASocketMayBeDestroyedInAnyOfItsCallbacks) {
  Open();
  server_.on_datagrams = [&](UdpSocket&, absl::Span<const ReceivedDatagram>) {
    server_.socket = nullptr;
  };
  client_.on_error = [&] { client_.socket = nullptr; };
  for (int i = 0; i < 200; ++i) client_.Send("x");
  ASSERT_TRUE(Until([&] { return server_.socket == nullptr; }));
  client_.Send("nobody is there now");
  ASSERT_TRUE(Until([&] { return client_.socket == nullptr; }));
  EXPECT_EQ(server_.calls, 1);
  EXPECT_EQ(client_.errors.size(), 1u);

  network_.SetLink(server_host_, client_host_, {.bytes_per_second = 1000});
  ASSERT_TRUE(Connect(client_, client_host_, server_host_.Address(9000),
                      {.datagram = {.send_buffer_bytes = 1}, .max_queued_datagrams = 1})
                  .ok());
  client_.on_send_ready = [&] { client_.socket = nullptr; };
  for (int i = 0; i < 10; ++i) {
    client_.Send(std::string(4096, 'x'));
    RunFor(absl::Milliseconds(1));
  }
  ASSERT_TRUE(Until([&] { return client_.socket == nullptr; }));
}

// An error whose answer causes the next does not keep the loop from its other work.
TEST_F(SimulatedDatagramsTest, ErrorsWithoutEndLeaveTurnsToOthers) {
  ASSERT_TRUE(Connect(client_, client_host_, At("127.0.0.1", 9)).ok());
  client_.on_error = [&] { client_.Send("x"); };
  client_.Send("x");
  RunFor(absl::Milliseconds(10));
  EXPECT_GT(client_.errors.size(), 10u);
}

std::string TraceOf(uint64_t seed) {
  End server, clients[3];
  SimulatedNetwork network(
      seed,
      {.link = {.jitter = absl::Milliseconds(20), .loss = 0.1, .duplicate = 0.1, .reorder = 0.1},
       .host = {.short_send = 0.1, .short_receive = 0.1},
       .trace = true});
  SimulatedHost& server_host = network.AddHost("server");
  server.socket = *UdpSocket::Bind(server_host.loop(), server_host.Address(1), {}, server);
  server.on_datagrams = [](UdpSocket& socket, absl::Span<const ReceivedDatagram> datagrams) {
    for (const ReceivedDatagram& datagram : datagrams)
      socket.SendLent(datagram.bytes, *datagram.peer);
  };
  for (End& client : clients) {
    SimulatedHost& host = network.AddHost(absl::StrCat("client", &client - clients));
    client.socket = *UdpSocket::Connect(host.loop(), server_host.Address(1), {}, client);
  }
  for (int i = 0; i < 300; ++i) {
    clients[network.Random(3)].Send(std::string(network.Random(1000), 'x'));
    network.RunFor(absl::Milliseconds(network.Random(5)));
  }
  network.RunFor(absl::Seconds(1));
  return network.trace();
}

TEST(SimulatedDatagramsSeedTest, ASeedIsARunByteForByte) {
  const std::string first = TraceOf(5);
  EXPECT_GT(first.size(), 10'000u);
  EXPECT_TRUE(TraceOf(5) == first);
  EXPECT_FALSE(TraceOf(6) == first);
}

}  // namespace
}  // namespace sluice
