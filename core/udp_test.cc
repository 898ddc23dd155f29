// What udp.h promises, asked of every engine.
#include "sluice/core/udp.h"

#include <algorithm>
#include <atomic>
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
#include "sluice/core/idle_poller.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/tcp_testing.h"
#include "sluice/core/udp_testing.h"

namespace sluice {
namespace {

using test::Bytes;
using test::KeptDatagram;
using test::Pattern;
using test::ReluctantPoller;
using test::UdpRecorder;
using test::UdpTest;
using testing::HasSubstr;

// Opening.

TEST_P(UdpTest, HeaderExample) {
  test::UdpEcho echo;
  std::unique_ptr<UdpSocket> server = Bind(echo);
  UdpRecorder recorder;
  std::unique_ptr<UdpSocket> client = Connect(recorder, server->local_address());
  EXPECT_EQ(client->peer_address(), server->local_address());
  EXPECT_EQ(client->Send(Bytes("hello")), UdpSendResult::kSent);
  ASSERT_TRUE(Until([&] { return recorder.received.size() == 1; }));
  EXPECT_EQ(recorder.received[0].bytes, "hello");
  EXPECT_EQ(recorder.received[0].peer, server->local_address());
}

TEST_P(UdpTest, APortInUseIsAnErrorThatNamesTheAddress) {
  UdpRecorder recorder;
  std::unique_ptr<UdpSocket> socket = Bind(recorder);
  const absl::Status status =
      UdpSocket::Bind(*loop_, socket->local_address(), {}, recorder).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(status.message(), HasSubstr(socket->local_address().ToString()));
}

TEST_P(UdpTest, APortIsFreeOnceItsSocketIsClosed) {
  UdpRecorder recorder;
  std::unique_ptr<UdpSocket> socket = Bind(recorder);
  loop_->RunOnce(absl::ZeroDuration());
  const SocketAddress address = socket->local_address();
  socket->Close();
  EXPECT_TRUE(UdpSocket::Bind(*loop_, address, {}, recorder).ok());
}

TEST_P(UdpTest, OnlyIpAddressesHaveDatagrams) {
  UdpRecorder recorder;
  for (const SocketAddress& address : {*SocketAddress::Parse("unix:/tmp/x"), SocketAddress()}) {
    const absl::Status bound = UdpSocket::Bind(*loop_, address, {}, recorder).status();
    EXPECT_EQ(bound.code(), absl::StatusCode::kInvalidArgument) << bound;
    EXPECT_THAT(bound.message(), HasSubstr(address.ToString()));
    const absl::Status connected = UdpSocket::Connect(*loop_, address, {}, recorder).status();
    EXPECT_EQ(connected.code(), absl::StatusCode::kInvalidArgument) << connected;
    EXPECT_THAT(connected.message(), HasSubstr(address.ToString()));
  }
  EXPECT_EQ(loop_->counters().streams, 0u);
}

TEST_P(UdpTest, AConnectedSocketHearsItsPeerOnly) {
  UdpRecorder recorder, other_recorder;
  std::unique_ptr<UdpSocket> peer = Bind(other_recorder);
  std::unique_ptr<UdpSocket> other = Bind(other_recorder);
  std::unique_ptr<UdpSocket> socket =
      Connect(recorder, peer->local_address(), {.local = SocketAddress::Ipv4Loopback(0)});
  other->Send(Bytes("other"), socket->local_address());
  peer->Send(Bytes("peer"), socket->local_address());
  ASSERT_TRUE(Until([&] { return !recorder.received.empty(); }));
  Settle();
  EXPECT_THAT(recorder.Texts(), testing::ElementsAre("peer"));
}

// Sizes.

TEST_P(UdpTest, EachDatagramComesWholeWhateverItsSize) {
  UdpRecorder recorder;
  std::unique_ptr<UdpSocket> receiver = Bind(recorder);
  UdpRecorder unused;
  std::unique_ptr<UdpSocket> sender = Connect(unused, receiver->local_address());
  size_t expected = 0;
  for (const size_t size : {size_t{0}, size_t{1}, size_t{1472}, size_t{1473}, size_t{9000},
                            size_t{0}, kMaxDatagramBytes}) {
    EXPECT_EQ(sender->Send(Bytes(Pattern(size, size))), UdpSendResult::kSent);
    ++expected;
    ASSERT_TRUE(Until([&] { return recorder.received.size() == expected; })) << size;
    EXPECT_EQ(recorder.received.back().bytes, Pattern(size, size));
    EXPECT_FALSE(recorder.received.back().truncated);
  }
  EXPECT_TRUE(unused.errors.empty());
}

TEST_P(UdpTest, WhatIsLongerThanAnyDatagramIsRefused) {
  UdpRecorder recorder;
  std::unique_ptr<UdpSocket> socket = Bind(recorder);
  const std::string bytes = Pattern(0, kMaxDatagramBytes + 1);
  EXPECT_EQ(socket->Send(Bytes(bytes), socket->local_address()), UdpSendResult::kRefused);
  EXPECT_TRUE(recorder.errors.empty()) << "inside the call";
  ASSERT_TRUE(Until([&] { return !recorder.errors.empty(); }));
  EXPECT_EQ(recorder.errors[0].first.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(recorder.errors[0].second, socket->local_address());
  EXPECT_EQ(socket->counters().errors, 1u);
}

TEST_P(UdpTest, WithoutAPeerASendIsRefused) {
  UdpRecorder recorder;
  std::unique_ptr<UdpSocket> socket = Bind(recorder);
  EXPECT_EQ(socket->Send(Bytes("whom")), UdpSendResult::kRefused);
  EXPECT_EQ(socket->Send(Bytes("whom"), SocketAddress()), UdpSendResult::kRefused);
  ASSERT_TRUE(Until([&] { return !recorder.errors.empty(); }));
  EXPECT_EQ(recorder.errors.size(), 1u) << "one is told a turn";
  EXPECT_EQ(recorder.errors[0].first.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(socket->counters().errors, 2u);
}

TEST_P(UdpTest, WhatIsLongerThanWantedIsCutAndMarked) {
  for (const bool offload : {false, true}) {
    UdpRecorder recorder;
    std::unique_ptr<UdpSocket> receiver =
        Bind(recorder, {.datagram = {.max_datagram_bytes = 100, .offload = offload}});
    UdpRecorder unused;
    std::unique_ptr<UdpSocket> sender = Connect(unused, receiver->local_address());
    for (const size_t size : {100, 101, 101, 101, 5000, 3}) sender->Send(Bytes(Pattern(0, size)));
    ASSERT_TRUE(Until([&] { return recorder.received.size() == 6; }));
    std::vector<bool> truncated;
    for (const KeptDatagram& kept : recorder.received) {
      truncated.push_back(kept.truncated);
      EXPECT_EQ(kept.bytes, Pattern(0, kept.bytes.size()));
      EXPECT_LE(kept.bytes.size(), 100u);
    }
    EXPECT_THAT(truncated, testing::ElementsAre(false, true, true, true, true, false));
    EXPECT_EQ(receiver->counters().truncated, 4u);
  }
}

// Batches.

// With and without the system's splitting and joining, in every pairing.
TEST_P(UdpTest, RunsOfDatagramsKeepTheirBoundariesAndOrder) {
  for (const bool sender_offload : {false, true}) {
    for (const bool receiver_offload : {false, true}) {
      UdpRecorder recorder;
      std::unique_ptr<UdpSocket> receiver = Bind(
          recorder, {.datagram = {.receive_buffer_bytes = 1 << 20, .offload = receiver_offload}});
      UdpRecorder unused;
      std::unique_ptr<UdpSocket> sender = Bind(unused, {.datagram = {.offload = sender_offload}});
      std::vector<std::string> sent;
      // Runs of one size, some with a shorter last one; sizes that rise and fall; empty ones.
      for (const size_t size : {64, 64, 64,  64,  10,  64,  64,  200,  200,  0,    200,  0, 0,
                                1,  1,  300, 300, 299, 300, 300, 1200, 1200, 1200, 1200, 7}) {
        sent.push_back(Pattern(sent.size() * 1000, size));
        sender->Send(Bytes(sent.back()), receiver->local_address());
      }
      ASSERT_TRUE(Until([&] { return recorder.received.size() >= sent.size(); }));
      Settle();
      EXPECT_EQ(recorder.Texts(), sent) << sender_offload << receiver_offload;
      EXPECT_EQ(sender->counters().sent, sent.size());
      EXPECT_EQ(receiver->counters().received, sent.size());
      EXPECT_EQ(receiver->counters().received_bytes, sender->counters().sent_bytes);
    }
  }
}

TEST_P(UdpTest, DatagramsToSeveralPeersReachTheirOwn) {
  constexpr size_t kPeers = 5;
  UdpRecorder recorders[kPeers];
  std::vector<std::unique_ptr<UdpSocket>> peers;
  for (UdpRecorder& recorder : recorders) peers.push_back(Bind(recorder));
  UdpRecorder unused;
  std::unique_ptr<UdpSocket> sender = Bind(unused);
  std::vector<std::vector<std::string>> sent(kPeers);
  for (size_t i = 0; i < 100; ++i) {
    const size_t peer = i * i % kPeers;
    sent[peer].push_back(Pattern(i, 32));
    sender->Send(Bytes(sent[peer].back()), peers[peer]->local_address());
  }
  for (size_t i = 0; i < kPeers; ++i) {
    ASSERT_TRUE(Until([&] { return recorders[i].received.size() >= sent[i].size(); }));
    EXPECT_EQ(recorders[i].Texts(), sent[i]);
  }
}

TEST_P(UdpTest, NothingIsLostBelowTheBuffersOfTheSystem) {
  test::UdpEcho echo;
  const UdpSocket::Options options = {.datagram = {.receive_buffer_bytes = 1 << 20}};
  std::unique_ptr<UdpSocket> server = Bind(echo, options);
  for (const size_t size : {64, 1200}) {
    UdpRecorder recorder;
    std::unique_ptr<UdpSocket> client = Connect(recorder, server->local_address(), options);
    constexpr size_t kCount = 5000, kWindow = 100;
    size_t sent = 0;
    const auto send = [&](UdpSocket& socket) {
      for (; sent < kCount && sent < recorder.received.size() + kWindow; ++sent)
        EXPECT_EQ(socket.Send(Bytes(Pattern(sent, size))), UdpSendResult::kSent);
    };
    recorder.on_datagrams = send;
    send(*client);
    ASSERT_TRUE(Until([&] { return recorder.received.size() == kCount; }))
        << recorder.received.size();
    for (size_t i = 0; i < kCount; ++i)
      ASSERT_EQ(recorder.received[i].bytes, Pattern(i, size)) << i;
    EXPECT_EQ(client->counters().dropped_queue, 0u);
    EXPECT_EQ(client->counters().dropped_system, 0u);
  }
}

TEST_P(UdpTest, ABusySocketDoesNotStarveAnother) {
  UdpRecorder busy_recorder, other_recorder, unused;
  const UdpSocket::Options options = {.datagram = {.receive_buffer_bytes = 1 << 20}};
  std::unique_ptr<UdpSocket> busy = Bind(busy_recorder, options);
  std::unique_ptr<UdpSocket> other = Bind(other_recorder, options);
  std::unique_ptr<UdpSocket> sender = Bind(unused, {.datagram = {.offload = false}});
  busy->PauseReceiving();
  other->PauseReceiving();
  for (size_t i = 0; i < 300; ++i) sender->Send(Bytes("busy"), busy->local_address());
  sender->Send(Bytes("other"), other->local_address());
  ASSERT_TRUE(Until([&] { return sender->counters().sent == 301; }));
  size_t busy_received = 0;
  other_recorder.on_datagrams = [&](UdpSocket&) { busy_received = busy_recorder.received.size(); };
  busy->ResumeReceiving();
  other->ResumeReceiving();
  ASSERT_TRUE(Until([&] { return other_recorder.received.size() == 1; }));
  EXPECT_LE(busy_received, 128u);
  ASSERT_TRUE(Until([&] { return busy_recorder.received.size() == 300; }));
  EXPECT_LE(*std::max_element(busy_recorder.batches.begin(), busy_recorder.batches.end()), 64u);
}

// The bounded queue.

TEST_P(UdpTest, AFullQueueDropsAndSaysSo) {
  ReluctantPoller& engine = UseReluctantPoller();
  UdpRecorder recorder, sender_recorder;
  std::unique_ptr<UdpSocket> receiver = Bind(recorder);
  std::unique_ptr<UdpSocket> sender = Bind(sender_recorder, {.max_queued_datagrams = 10});
  std::vector<std::string> accepted;
  for (int i = 0; i < 15; ++i) {
    const std::string text = absl::StrCat("datagram ", i);
    const UdpSendResult result = sender->Send(Bytes(text), receiver->local_address());
    EXPECT_EQ(result, i < 10 ? UdpSendResult::kSent : UdpSendResult::kDropped) << i;
    if (result == UdpSendResult::kSent) accepted.push_back(text);
  }
  EXPECT_EQ(sender->queued_datagrams(), 10u);
  EXPECT_EQ(sender->counters().dropped_queue, 5u);
  engine.Take(4);
  ASSERT_TRUE(Until([&] { return recorder.received.size() == 4; }));
  EXPECT_EQ(sender->queued_datagrams(), 6u);
  EXPECT_EQ(sender_recorder.readies, 0) << "the queue is not empty";
  engine.Take(100);
  ASSERT_TRUE(Until([&] { return sender_recorder.readies == 1; }));
  ASSERT_TRUE(Until([&] { return recorder.received.size() == 10; }));
  EXPECT_EQ(recorder.Texts(), accepted);
  EXPECT_EQ(sender->counters().sent, 10u);
  EXPECT_EQ(sender->queued_datagrams(), 0u);
}

TEST_P(UdpTest, TheQueueIsBoundedInBytesToo) {
  UseReluctantPoller();
  UdpRecorder recorder;
  std::unique_ptr<UdpSocket> sender = Bind(recorder, {.max_queued_bytes = 1000});
  const SocketAddress peer = sender->local_address();
  EXPECT_EQ(sender->Send(Bytes(Pattern(0, 2000)), peer), UdpSendResult::kSent) << "one always may";
  EXPECT_EQ(sender->Send(Bytes(Pattern(0, 1)), peer), UdpSendResult::kDropped);
  EXPECT_EQ(sender->queued_datagrams(), 1u);
}

TEST_P(UdpTest, ReadyComesOnlyToWhoWasRefused) {
  ReluctantPoller& engine = UseReluctantPoller();
  UdpRecorder recorder;
  std::unique_ptr<UdpSocket> socket = Bind(recorder);
  socket->Send(Bytes("late"), socket->local_address());
  Settle();
  EXPECT_EQ(socket->queued_datagrams(), 1u);
  engine.Take(10);
  ASSERT_TRUE(Until([&] { return recorder.received.size() == 1; }));
  EXPECT_EQ(recorder.readies, 0);
}

TEST_P(UdpTest, LentBytesThatHaveToWaitAreCopied) {
  ReluctantPoller& engine = UseReluctantPoller();
  engine.Take(1);
  UdpRecorder recorder, server_recorder;
  std::unique_ptr<UdpSocket> client = Bind(recorder);
  std::string lent = "reply";
  server_recorder.on_datagrams = [&](UdpSocket& socket) {
    socket.SendLent(Bytes(lent), client->local_address());
  };
  std::unique_ptr<UdpSocket> server = Bind(server_recorder);
  client->Send(Bytes("request"), server->local_address());
  ASSERT_TRUE(Until([&] { return server->queued_datagrams() == 1; }));
  lent = "XXXXX";
  engine.Take(10);
  ASSERT_TRUE(Until([&] { return recorder.received.size() == 1; }));
  EXPECT_EQ(recorder.received[0].bytes, "reply");
}

TEST_P(UdpTest, LentBytesAreCopiedOutsideOfACallbackOfTheSocket) {
  UdpRecorder recorder;
  std::unique_ptr<UdpSocket> socket = Bind(recorder);
  std::string lent = "bytes";
  socket->SendLent(Bytes(lent), socket->local_address());
  lent = "XXXXX";
  ASSERT_TRUE(Until([&] { return recorder.received.size() == 1; }));
  EXPECT_EQ(recorder.received[0].bytes, "bytes");
}

TEST_P(UdpTest, MoreThanIsGatheredAtOnceLeavesInOrder) {
  UdpRecorder recorder, client_recorder;
  constexpr size_t kCount = 200;
  std::unique_ptr<UdpSocket> client =
      Bind(client_recorder, {.datagram = {.receive_buffer_bytes = 1 << 20, .offload = false}});
  recorder.on_datagrams = [&](UdpSocket& socket) {
    for (size_t i = 0; i < kCount; ++i)
      EXPECT_EQ(socket.Send(Bytes(Pattern(i, 900)), client->local_address()), UdpSendResult::kSent);
  };
  std::unique_ptr<UdpSocket> server = Bind(recorder);
  client->Send(Bytes("go"), server->local_address());
  ASSERT_TRUE(Until([&] { return client_recorder.received.size() == kCount; }));
  for (size_t i = 0; i < kCount; ++i)
    EXPECT_EQ(client_recorder.received[i].bytes, Pattern(i, 900)) << i;
}

// Receiving and callbacks.

TEST_P(UdpTest, WhileReceivingIsPausedDatagramsWait) {
  UdpRecorder recorder;
  std::unique_ptr<UdpSocket> socket = Bind(recorder);
  recorder.on_datagrams = [](UdpSocket& s) { s.PauseReceiving(); };
  socket->Send(Bytes("one"), socket->local_address());
  ASSERT_TRUE(Until([&] { return recorder.received.size() == 1; }));
  socket->Send(Bytes("two"), socket->local_address());
  socket->Send(Bytes("three"), socket->local_address());
  Settle();
  EXPECT_EQ(recorder.received.size(), 1u);
  recorder.on_datagrams = nullptr;
  socket->ResumeReceiving();
  ASSERT_TRUE(Until([&] { return recorder.received.size() == 3; }));
  EXPECT_THAT(recorder.Texts(), testing::ElementsAre("one", "two", "three"));
}

TEST_P(UdpTest, NoCallRunsACallback) {
  UdpRecorder recorder;
  std::unique_ptr<UdpSocket> socket = Bind(recorder);
  socket->Send(Bytes("one"), socket->local_address());
  socket->Send(Bytes(Pattern(0, kMaxDatagramBytes + 1)), socket->local_address());
  socket->PauseReceiving();
  socket->ResumeReceiving();
  EXPECT_TRUE(recorder.received.empty() && recorder.errors.empty());
}

TEST_P(UdpTest, ASocketMayBeDestroyedInItsCallbacks) {
  UdpRecorder unused;
  std::unique_ptr<UdpSocket> sender = Bind(unused);
  {
    UdpRecorder recorder;
    std::unique_ptr<UdpSocket> socket = Bind(recorder);
    recorder.on_datagrams = [&](UdpSocket& s) {
      s.Send(Bytes("bye"), sender->local_address());
      socket.reset();
    };
    for (int i = 0; i < 100; ++i) sender->Send(Bytes("x"), socket->local_address());
    ASSERT_TRUE(Until([&] { return socket == nullptr; }));
    ASSERT_TRUE(Until([&] { return !unused.received.empty(); }));
    EXPECT_THAT(unused.Texts(), testing::ElementsAre("bye"));
  }
  {
    UdpRecorder recorder;
    std::unique_ptr<UdpSocket> socket = Bind(recorder);
    recorder.on_error = [&](UdpSocket&) { socket.reset(); };
    socket->Send(Bytes("whom"));
    ASSERT_TRUE(Until([&] { return socket == nullptr; }));
  }
  {
    UdpRecorder recorder;
    std::unique_ptr<UdpSocket> socket = Bind(recorder);
    recorder.on_drain = [&](UdpSocket&) { socket.reset(); };
    bool drained = false;
    sender.reset();
    loop_->Drain(absl::Seconds(10), [&] { drained = true; });
    ASSERT_TRUE(Until([&] { return drained; }));
    EXPECT_EQ(socket, nullptr);
  }
}

TEST_P(UdpTest, ASocketMayBeDestroyedWhenItIsReadyAgain) {
  ReluctantPoller& engine = UseReluctantPoller();
  UdpRecorder recorder;
  std::unique_ptr<UdpSocket> socket = Bind(recorder, {.max_queued_datagrams = 1});
  recorder.on_send_ready = [&](UdpSocket&) { socket.reset(); };
  socket->Send(Bytes("one"), socket->local_address());
  EXPECT_EQ(socket->Send(Bytes("two"), socket->local_address()), UdpSendResult::kDropped);
  engine.Take(10);
  ASSERT_TRUE(Until([&] { return socket == nullptr; }));
}

// Another socket, of which something was to be told in the same turn.
TEST_P(UdpTest, ASocketMayBeDestroyedInACallbackOfAnother) {
  UdpRecorder a_recorder, b_recorder, unused;
  std::unique_ptr<UdpSocket> a = Bind(a_recorder), b = Bind(b_recorder), sender = Bind(unused);
  a_recorder.on_datagrams = [&](UdpSocket&) { b.reset(); };
  b_recorder.on_datagrams = [&](UdpSocket&) { a.reset(); };
  sender->Send(Bytes("x"), a->local_address());
  sender->Send(Bytes("x"), b->local_address());
  ASSERT_TRUE(Until([&] { return a == nullptr || b == nullptr; }));
  Settle();
  EXPECT_EQ(a_recorder.received.size() + b_recorder.received.size(), 1u);
}

// The end.

TEST_P(UdpTest, CloseSendsWhatWasGatheredAndNothingFollows) {
  UdpRecorder recorder, closed_recorder;
  std::unique_ptr<UdpSocket> receiver = Bind(recorder);
  std::unique_ptr<UdpSocket> socket = Bind(closed_recorder);
  socket->Send(Bytes("last"), receiver->local_address());
  receiver->Send(Bytes("too late"), socket->local_address());
  Settle();
  closed_recorder.received.clear();
  socket->Send(Bytes("very last"), receiver->local_address());
  receiver->Send(Bytes("too late"), socket->local_address());
  socket->Close();
  EXPECT_TRUE(socket->closed());
  EXPECT_EQ(socket->Send(Bytes("x"), receiver->local_address()), UdpSendResult::kRefused);
  socket->PauseReceiving();
  socket->ResumeReceiving();
  EXPECT_EQ(socket->JoinGroup({}).code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(Until([&] { return recorder.received.size() == 2; }));
  Settle();
  EXPECT_TRUE(closed_recorder.received.empty());
  EXPECT_EQ(socket->counters().sent, 2u);
}

TEST_P(UdpTest, ADrainClosesSockets) {
  UdpRecorder recorder;
  std::unique_ptr<UdpSocket> socket = Bind(recorder);
  EXPECT_EQ(loop_->counters().streams, 1u);
  bool drained = false;
  loop_->Drain(absl::Seconds(10), [&] { drained = true; });
  ASSERT_TRUE(Until([&] { return drained; }));
  EXPECT_EQ(recorder.drains, 1);
  EXPECT_TRUE(socket->closed());
}

TEST_P(UdpTest, ADrainsDeadlineClosesWhoDoesNotFinish) {
  UdpRecorder recorder;
  recorder.on_drain = [](UdpSocket&) {};
  std::unique_ptr<UdpSocket> socket = Bind(recorder);
  bool drained = false;
  loop_->Drain(absl::Milliseconds(1), [&] { drained = true; });
  ASSERT_TRUE(Until([&] { return drained; }));
  EXPECT_TRUE(socket->closed());
}

TEST_P(UdpTest, ASocketMayOutliveItsLoop) {
  UdpRecorder recorder;
  std::unique_ptr<UdpSocket> socket = Bind(recorder);
  socket->Send(Bytes("x"), socket->local_address());
  loop_.reset();
  EXPECT_TRUE(socket->closed());
  EXPECT_EQ(socket->Send(Bytes("x"), socket->local_address()), UdpSendResult::kRefused);
  EXPECT_EQ(socket->counters().sent, 1u);
}

SLUICE_INSTANTIATE_UDP_TEST(UdpTest);

TEST(UdpWithoutDatagramsTest, AnEngineThatHasNoneSaysSo) {
  std::atomic<int> wakes{0};
  EventLoop loop(std::make_unique<IdlePoller>(wakes));
  UdpRecorder recorder;
  const absl::Status status =
      UdpSocket::Bind(loop, SocketAddress::Ipv4Loopback(0), {}, recorder).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(status.message(), HasSubstr("idle"));
}

}  // namespace
}  // namespace sluice
