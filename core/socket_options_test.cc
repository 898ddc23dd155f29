// That options reach the sockets, seen from the system's side, and what listening on each kind of
// address does.
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/poller.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/core/tcp_testing.h"

namespace sluice {
namespace {

using test::Pair;
using test::Until;

std::set<int> OpenDescriptors() {
  std::set<int> fds;
  DIR* directory = opendir("/proc/self/fd");
  EXPECT_NE(directory, nullptr);
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] != '.') fds.insert(std::atoi(entry->d_name));
  }
  fds.erase(dirfd(directory));
  closedir(directory);
  return fds;
}

int Option(int fd, int level, int name) {
  int value = -1;
  socklen_t length = sizeof(value);
  EXPECT_EQ(getsockopt(fd, level, name, &value, &length), 0);
  return value;
}

class SocketOptionsTest : public testing::Test {
 protected:
  // The descriptors of a pair's two sockets.
  std::set<int> Connect(const SocketOptions& options,
                        const SocketAddress& address = SocketAddress::Ipv4Loopback(0)) {
    const std::set<int> before = OpenDescriptors();
    Listener::Options listen;
    listen.listen.socket = options;
    Connector::Options connect;
    connect.socket = options;
    pair_ = std::make_unique<Pair>(*loop_, listen, connect, address);
    const std::set<int> after = OpenDescriptors();
    std::set<int> fds;
    std::set_difference(after.begin(), after.end(), before.begin(), before.end(),
                        std::inserter(fds, fds.end()));
    EXPECT_EQ(fds.size(), 2u);
    return fds;
  }

  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  std::unique_ptr<Pair> pair_;
};

TEST_F(SocketOptionsTest, ByDefaultSmallMessagesDoNotWaitAndThereIsNoKeepAlive) {
  for (const int fd : Connect({})) {
    EXPECT_EQ(Option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    EXPECT_EQ(Option(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
  }
}

TEST_F(SocketOptionsTest, NoDelayMayBeTakenAway) {
  for (const int fd : Connect({.no_delay = false})) {
    EXPECT_EQ(Option(fd, IPPROTO_TCP, TCP_NODELAY), 0);
  }
}

TEST_F(SocketOptionsTest, KeepAliveIsSetOnBothEndsWithItsTimes) {
  for (const SocketAddress& address :
       {SocketAddress::Ipv4Loopback(0), SocketAddress::Ipv6Loopback(0)}) {
    for (const int fd : Connect({.keep_alive = true,
                        .keep_alive_idle_s = 11,
                        .keep_alive_interval_s = 12,
                        .keep_alive_probes = 13},
                                address)) {
      EXPECT_EQ(Option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
      EXPECT_EQ(Option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 11);
      EXPECT_EQ(Option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 12);
      EXPECT_EQ(Option(fd, IPPROTO_TCP, TCP_KEEPCNT), 13);
    }
  }
}

TEST_F(SocketOptionsTest, BufferSizesAreSetOnBothEnds) {
  for (const int fd : Connect({.send_buffer_bytes = 50'000, .receive_buffer_bytes = 60'000})) {
    // Linux doubles them, for its own book-keeping: socket(7).
    EXPECT_EQ(Option(fd, SOL_SOCKET, SO_SNDBUF), 100'000);
    EXPECT_EQ(Option(fd, SOL_SOCKET, SO_RCVBUF), 120'000);
  }
}

TEST_F(SocketOptionsTest, UnixSocketsIgnoreTheOptionsOfTcp) {
  test::ShortTempDir directory;
  for (const int fd :
       Connect({.keep_alive = true, .keep_alive_idle_s = 11, .send_buffer_bytes = 50'000},
               directory.Socket("s"))) {
    EXPECT_EQ(Option(fd, SOL_SOCKET, SO_SNDBUF), 100'000);
  }
}

TEST_F(SocketOptionsTest, NoDescriptorIsInheritedByProgramsThatAreStartedOrBlocks) {
  const std::set<int> before = OpenDescriptors();
  const std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  const std::unique_ptr<Listener> listener =
      *Listener::Listen(*loop, SocketAddress::Ipv4Loopback(0), {}, [](std::unique_ptr<Stream>) {});
  const Pair pair(*loop);
  int descriptors = 0;
  for (const int fd : OpenDescriptors()) {
    if (before.count(fd) != 0) continue;
    ++descriptors;
    EXPECT_EQ(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC) << fd;
    struct stat info;
    ASSERT_EQ(fstat(fd, &info), 0);
    if (S_ISSOCK(info.st_mode)) {
      EXPECT_EQ(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK) << fd;
    }
  }
  EXPECT_EQ(descriptors, 6) << "the engine's three, the listener, two ends";
}

TEST_F(SocketOptionsTest, EverythingIsClosedInTheEnd) {
  const std::set<int> before = OpenDescriptors();
  {
    std::unique_ptr<EventLoop> loop = *EventLoop::Create();
    const test::SilentListener silent;
    Connector connector(*loop);
    connector.Connect(silent.address(), {}, [](absl::StatusOr<std::unique_ptr<Stream>>) {});
    const Pair destroyed(*loop);
    Pair closed(*loop);
    closed.client.stream->Close();
    ASSERT_TRUE(Until(*loop, [&] { return closed.closed(); }));
  }
  EXPECT_EQ(OpenDescriptors(), before);
}

// Addresses.

class ListenTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<Listener>> TryToListen(const SocketAddress& address,
                                                        const Listener::Options& options = {}) {
    return Listener::Listen(*loop_, address, options, [this](std::unique_ptr<Stream> stream) {
      streams_.push_back(std::move(stream));
    });
  }
  std::unique_ptr<Listener> Listen(const SocketAddress& address,
                                   const Listener::Options& options = {}) {
    absl::StatusOr<std::unique_ptr<Listener>> listener = TryToListen(address, options);
    EXPECT_TRUE(listener.ok()) << listener.status();
    return *std::move(listener);
  }
  // How a connect to there ends.
  absl::Status Connect(const SocketAddress& address) {
    absl::Status status;
    bool done = false;
    Connector connector(*loop_);
    connector.Connect(address, {}, [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
      status = stream.status();
      if (stream.ok()) streams_.push_back(*std::move(stream));
      done = true;
    });
    EXPECT_TRUE(Until(*loop_, [&] { return done; }));
    return status;
  }

  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  std::vector<std::unique_ptr<Stream>> streams_;
};

TEST_F(ListenTest, TheStarAcceptsBothFamiliesUnlessToldOtherwise) {
  const SocketAddress star = *SocketAddress::Parse("*:0");
  {
    const std::unique_ptr<Listener> listener = Listen(star);
    const uint16_t port = listener->address().port();
    EXPECT_TRUE(Connect(SocketAddress::Ipv4Loopback(port)).ok());
    EXPECT_TRUE(Connect(SocketAddress::Ipv6Loopback(port)).ok());
  }
  Listener::Options only;
  only.listen.ipv6_only = true;
  const std::unique_ptr<Listener> listener = Listen(star, only);
  const uint16_t port = listener->address().port();
  EXPECT_EQ(Connect(SocketAddress::Ipv4Loopback(port)).code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(Connect(SocketAddress::Ipv6Loopback(port)).ok());
}

// Whoever closes first keeps the port for a while (TIME_WAIT), and a server must be able to start
// again.
TEST_F(ListenTest, APortMayBeUsedAgainRightAfterItsConnectionsEnded) {
  std::unique_ptr<Listener> listener = Listen(SocketAddress::Ipv4Loopback(0));
  const SocketAddress address = listener->address();
  ASSERT_TRUE(Connect(address).ok());
  ASSERT_TRUE(Until(*loop_, [&] { return streams_.size() == 2; }));
  test::Recorder recorders[2];
  for (size_t i = 0; i < 2; ++i) streams_[i]->SetHandler(recorders[i]);
  for (const std::unique_ptr<Stream>& stream : streams_) {
    if (stream->local_address() == address) stream->Close();
  }
  ASSERT_TRUE(Until(*loop_, [&] { return recorders[0].closed && recorders[1].closed; }));
  listener = nullptr;
  listener = Listen(address);
}

class UnixSocketTest : public ListenTest {
 protected:
  // What a process leaves that ended without tidying up, or one that listens there.
  int BindRaw(const SocketAddress& address, int type = SOCK_STREAM) {
    const int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    EXPECT_EQ(bind(fd, address.data(), address.length()), 0);
    return fd;
  }
  static bool Exists(const SocketAddress& address) {
    struct stat info;
    return lstat(address.path().c_str(), &info) == 0;
  }
  void ExpectInUse(const SocketAddress& address) {
    const absl::Status status = TryToListen(address).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists) << status;
    EXPECT_NE(status.message().find(address.path()), absl::string_view::npos) << status;
    EXPECT_TRUE(Exists(address)) << "it is not ours to remove";
  }

  test::ShortTempDir directory_;
  const SocketAddress address_ = directory_.Socket("s");
};

TEST_F(UnixSocketTest, ThePathIsThereWhileTheListenerIs) {
  std::unique_ptr<Listener> listener = Listen(address_);
  EXPECT_EQ(listener->address(), address_);
  EXPECT_TRUE(Exists(address_));
  EXPECT_TRUE(Connect(address_).ok());
  listener = nullptr;
  EXPECT_FALSE(Exists(address_));
}

TEST_F(UnixSocketTest, APathThatAnotherHasTakenIsNotRemoved) {
  std::unique_ptr<Listener> first = Listen(address_);
  ASSERT_EQ(unlink(address_.path().c_str()), 0);
  std::unique_ptr<Listener> second = Listen(address_);
  first = nullptr;
  EXPECT_TRUE(Exists(address_));
  second = nullptr;
  EXPECT_FALSE(Exists(address_));
}

TEST_F(UnixSocketTest, AStalePathIsReplaced) {
  close(BindRaw(address_));
  EXPECT_TRUE(Exists(address_));
  EXPECT_EQ(Connect(address_).code(), absl::StatusCode::kUnavailable);
  const std::unique_ptr<Listener> listener = Listen(address_);
  EXPECT_TRUE(Connect(address_).ok());
}

TEST_F(UnixSocketTest, APathOnWhichSomebodyListensIsNot) {
  const std::unique_ptr<Listener> listener = Listen(address_);
  ExpectInUse(address_);
  EXPECT_TRUE(Connect(address_).ok());
}

TEST_F(UnixSocketTest, NorWhenItsQueueIsFull) {
  const int busy = BindRaw(address_);
  EXPECT_EQ(listen(busy, 0), 0);
  ASSERT_TRUE(Connect(address_).ok());
  const absl::Status status = Connect(address_);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  ExpectInUse(address_);
  close(busy);
  unlink(address_.path().c_str());
}

TEST_F(UnixSocketTest, WhatIsNoStreamSocketIsNeverRemoved) {
  const SocketAddress file = directory_.Socket("file");
  std::ofstream(file.path()) << "precious";
  ExpectInUse(file);
  const SocketAddress link = directory_.Socket("link");
  ASSERT_EQ(symlink(file.path().c_str(), link.path().c_str()), 0);
  ExpectInUse(link);
  const SocketAddress folder = directory_.Socket("folder");
  ASSERT_EQ(mkdir(folder.path().c_str(), 0700), 0);
  ExpectInUse(folder);
  const SocketAddress datagrams = directory_.Socket("datagrams");
  const int datagram_socket = BindRaw(datagrams, SOCK_DGRAM);
  ExpectInUse(datagrams);
  close(datagram_socket);
  for (const SocketAddress& each : {file, link, folder, datagrams}) {
    EXPECT_EQ(remove(each.path().c_str()), 0);
  }
}

TEST_F(UnixSocketTest, AnAbstractNameNeedsNoFile) {
  const SocketAddress name =
      *SocketAddress::Parse(absl::StrCat("unix:@", directory_.path(), "/abstract"));
  std::unique_ptr<Listener> listener = Listen(name);
  EXPECT_EQ(listener->address(), name);
  EXPECT_TRUE(Connect(name).ok());
  EXPECT_EQ(TryToListen(name).status().code(), absl::StatusCode::kAlreadyExists);
  listener = nullptr;
  EXPECT_EQ(Connect(name).code(), absl::StatusCode::kUnavailable);
  Listen(name);
}

TEST_F(UnixSocketTest, AMissingDirectoryIsSaid) {
  const SocketAddress nowhere = directory_.Socket("missing/s");
  EXPECT_EQ(TryToListen(nowhere).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Connect(nowhere).code(), absl::StatusCode::kNotFound);
}

TEST_F(UnixSocketTest, TheLongestPathWorksEndToEnd) {
  const std::string prefix = absl::StrCat(directory_.path(), "/");
  const SocketAddress longest = directory_.Socket(std::string(107 - prefix.size(), 'x'));
  const std::unique_ptr<Listener> listener = Listen(longest);
  EXPECT_EQ(listener->address(), longest);
  EXPECT_TRUE(Connect(longest).ok());
}

}  // namespace
}  // namespace sluice
