#include "sluice/core/internal/kqueue_shim.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "sluice/core/internal/socket_ops.h"

namespace sluice::internal::kqueue_shim {
namespace {

using Event = struct kevent;

constexpr timespec kAtOnce = {};

// A little language: changes are Add(fd, filter, ...), Look() says what there is now.
class KqueueShimTest : public testing::Test {
 protected:
  struct Pair {
    UniqueFd a, b;
  };

  static Event Make(int fd, int filter, int flags, void* udata = nullptr) {
    Event event;
    EV_SET(&event, static_cast<uintptr_t>(fd), static_cast<int16_t>(filter), flags, 0, 0, udata);
    return event;
  }

  // 0 or errno.
  int Change(int fd, int filter, int flags, void* udata = nullptr) {
    const Event change = Make(fd, filter, flags, udata);
    return kevent(queue_.get(), &change, 1, nullptr, 0, nullptr) == 0 ? 0 : errno;
  }
  int Trigger(uintptr_t ident) {
    Event change;
    EV_SET(&change, ident, EVFILT_USER, 0, NOTE_TRIGGER, 0, nullptr);
    return kevent(queue_.get(), &change, 1, nullptr, 0, nullptr) == 0 ? 0 : errno;
  }
  std::vector<Event> Look(int room = 10, const timespec* timeout = &kAtOnce) {
    std::vector<Event> events(static_cast<size_t>(room));
    const int count = kevent(queue_.get(), nullptr, 0, events.data(), room, timeout);
    EXPECT_GE(count, 0) << strerror(errno);
    events.resize(static_cast<size_t>(count < 0 ? 0 : count));
    return events;
  }

  static Pair UnixPair() {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    return {UniqueFd(fds[0]), UniqueFd(fds[1])};
  }
  static UniqueFd Listener(sockaddr_in* address) {
    UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    *address = {};
    address->sin_family = AF_INET;
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(address), sizeof(*address)), 0);
    socklen_t length = sizeof(*address);
    getsockname(fd.get(), reinterpret_cast<sockaddr*>(address), &length);
    EXPECT_EQ(listen(fd.get(), 10), 0);
    return fd;
  }
  // Connects, and waits for it.
  static UniqueFd Client(const sockaddr_in& address) {
    UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    return fd;
  }
  Pair TcpPair() {
    sockaddr_in address;
    const UniqueFd listener = Listener(&address);
    UniqueFd client = Client(address);
    return {std::move(client), UniqueFd(accept(listener.get(), nullptr, nullptr))};
  }
  static void Write(const UniqueFd& fd, const std::string& bytes) {
    EXPECT_EQ(send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  static void Reset(UniqueFd fd) { ResetOnClose(fd.get()); }

  const UniqueFd queue_{kqueue()};
};

TEST_F(KqueueShimTest, AReadEventCountsTheBytesAndIsLevelTriggered) {
  Pair pair = UnixPair();
  int tag;
  ASSERT_EQ(Change(pair.a.get(), EVFILT_READ, EV_ADD, &tag), 0);
  EXPECT_TRUE(Look().empty());
  Write(pair.b, "12345");
  for (int i = 0; i < 2; ++i) {
    const std::vector<Event> events = Look();
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].ident, static_cast<uintptr_t>(pair.a.get()));
    EXPECT_EQ(events[0].filter, EVFILT_READ);
    EXPECT_EQ(events[0].flags & EV_EOF, 0);
    EXPECT_EQ(events[0].data, 5);
    EXPECT_EQ(events[0].udata, &tag);
  }
}

TEST_F(KqueueShimTest, AListenersReadEventCountsItsBacklog) {
  sockaddr_in address;
  const UniqueFd listener = Listener(&address);
  ASSERT_EQ(Change(listener.get(), EVFILT_READ, EV_ADD), 0);
  const UniqueFd first = Client(address);
  const UniqueFd second = Client(address);
  const std::vector<Event> events = Look(10, nullptr);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].data, 2);
}

TEST_F(KqueueShimTest, AnEndIsAnEofWithTheBytesThatAreLeft) {
  Pair pair = UnixPair();
  ASSERT_EQ(Change(pair.a.get(), EVFILT_READ, EV_ADD), 0);
  Write(pair.b, "abc");
  shutdown(pair.b.get(), SHUT_WR);
  const std::vector<Event> events = Look();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_NE(events[0].flags & EV_EOF, 0);
  EXPECT_EQ(events[0].fflags, 0u);
  EXPECT_EQ(events[0].data, 3);
}

TEST_F(KqueueShimTest, AResetIsAnEofForBothFiltersAndItsErrorIsToldOnce) {
  Pair pair = TcpPair();
  ASSERT_EQ(Change(pair.a.get(), EVFILT_READ, EV_ADD), 0);
  ASSERT_EQ(Change(pair.a.get(), EVFILT_WRITE, EV_ADD), 0);
  Reset(std::move(pair.b));
  std::vector<uint32_t> errors;
  for (int i = 0; i < 2; ++i) {
    const std::vector<Event> events = Look();
    ASSERT_EQ(events.size(), 2u);
    EXPECT_NE(events[0].filter, events[1].filter);
    for (const Event& event : events) {
      EXPECT_NE(event.flags & EV_EOF, 0);
      if (event.fflags != 0) errors.push_back(event.fflags);
    }
  }
  EXPECT_EQ(errors, std::vector<uint32_t>{ECONNRESET});
}

TEST_F(KqueueShimTest, AWriteEventTellsTheRoomAndComesWhenThereIsSome) {
  Pair pair = UnixPair();
  ASSERT_EQ(Change(pair.a.get(), EVFILT_WRITE, EV_ADD), 0);
  std::vector<Event> events = Look();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].filter, EVFILT_WRITE);
  EXPECT_GT(events[0].data, 0);
  const std::string piece(10'000, 'x');
  while (send(pair.a.get(), piece.data(), piece.size(), MSG_NOSIGNAL) > 0) {
  }
  EXPECT_TRUE(Look().empty());
}

TEST_F(KqueueShimTest, ADisabledFilterIsSilentAndAnEnabledOneIsNot) {
  Pair pair = UnixPair();
  ASSERT_EQ(Change(pair.a.get(), EVFILT_READ, EV_ADD), 0);
  Write(pair.b, "x");
  ASSERT_EQ(Change(pair.a.get(), EVFILT_READ, EV_DISABLE), 0);
  EXPECT_TRUE(Look().empty());
  pair.b = UniqueFd();  // a hang-up, which epoll reports unasked
  EXPECT_TRUE(Look().empty());
  ASSERT_EQ(Change(pair.a.get(), EVFILT_READ, EV_ENABLE), 0);
  EXPECT_EQ(Look().size(), 1u);
  ASSERT_EQ(Change(pair.a.get(), EVFILT_READ, EV_DISABLE), 0);
  ASSERT_EQ(Change(pair.a.get(), EVFILT_READ, EV_ADD), 0);
  EXPECT_TRUE(Look().empty()) << "adding again does not enable";
  ASSERT_EQ(Change(pair.a.get(), EVFILT_READ, EV_ADD | EV_ENABLE), 0);
  EXPECT_EQ(Look().size(), 1u);
}

TEST_F(KqueueShimTest, ADeletedFilterIsGoneAndTheOtherOneStays) {
  Pair pair = UnixPair();
  Write(pair.b, "x");
  ASSERT_EQ(Change(pair.a.get(), EVFILT_READ, EV_ADD), 0);
  ASSERT_EQ(Change(pair.a.get(), EVFILT_WRITE, EV_ADD), 0);
  EXPECT_EQ(Look().size(), 2u);
  ASSERT_EQ(Change(pair.a.get(), EVFILT_READ, EV_DELETE), 0);
  const std::vector<Event> events = Look();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].filter, EVFILT_WRITE);
  EXPECT_EQ(Change(pair.a.get(), EVFILT_READ, EV_DELETE), ENOENT);
  EXPECT_EQ(Change(pair.a.get(), EVFILT_READ, EV_ENABLE), ENOENT);
  ASSERT_EQ(Change(pair.a.get(), EVFILT_WRITE, EV_DELETE), 0);
  EXPECT_TRUE(Look().empty());
}

TEST_F(KqueueShimTest, AOneShotFilterReportsOnceAndIsThenGone) {
  Pair pair = UnixPair();
  ASSERT_EQ(Change(pair.a.get(), EVFILT_WRITE, EV_ADD | EV_ONESHOT), 0);
  EXPECT_EQ(Look().size(), 1u);
  EXPECT_TRUE(Look().empty());
  EXPECT_EQ(Change(pair.a.get(), EVFILT_WRITE, EV_DELETE), ENOENT);
  ASSERT_EQ(Change(pair.a.get(), EVFILT_WRITE, EV_ADD | EV_ONESHOT), 0);
  EXPECT_EQ(Look().size(), 1u);
}

TEST_F(KqueueShimTest, AddingAgainModifiesTheOneEvent) {
  Pair pair = UnixPair();
  Write(pair.b, "x");
  int first, second;
  ASSERT_EQ(Change(pair.a.get(), EVFILT_READ, EV_ADD, &first), 0);
  ASSERT_EQ(Change(pair.a.get(), EVFILT_READ, EV_ADD, &second), 0);
  const std::vector<Event> events = Look();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].udata, &second);
}

TEST_F(KqueueShimTest, ACloseRemovesTheEvents) {
  Pair pair = UnixPair();
  Write(pair.b, "x");
  ASSERT_EQ(Change(pair.a.get(), EVFILT_READ, EV_ADD), 0);
  const int fd = pair.a.get();
  pair.a = UniqueFd();
  EXPECT_TRUE(Look().empty());
  EXPECT_EQ(Change(fd, EVFILT_READ, EV_ENABLE), EBADF);
}

TEST_F(KqueueShimTest, ACloseRemovesTheEventsAlsoWhenADuplicateLivesOn) {
  Pair pair = UnixPair();
  Pair other = UnixPair();
  ASSERT_EQ(Change(pair.a.get(), EVFILT_READ, EV_ADD), 0);
  ASSERT_EQ(Change(other.a.get(), EVFILT_READ, EV_ADD), 0);
  Write(pair.b, "x");
  const UniqueFd duplicate(fcntl(pair.a.get(), F_DUPFD_CLOEXEC, 0));
  pair.a = UniqueFd();
  EXPECT_TRUE(Look().empty());
  EXPECT_TRUE(Look().empty());
  Write(other.b, "x");
  const std::vector<Event> events = Look();
  ASSERT_EQ(events.size(), 1u) << "what else is watched still is";
  EXPECT_EQ(events[0].ident, static_cast<uintptr_t>(other.a.get()));
}

TEST_F(KqueueShimTest, ADescriptorUsedAgainInheritsNoFilter) {
  Pair pair = UnixPair();
  Pair other = UnixPair();
  const int fd = pair.a.get();
  ASSERT_EQ(Change(fd, EVFILT_READ, EV_ADD), 0);
  ASSERT_EQ(dup3(other.a.get(), fd, O_CLOEXEC), fd);
  Write(other.b, "x");
  EXPECT_EQ(Change(fd, EVFILT_READ, EV_ENABLE), ENOENT);
  ASSERT_EQ(Change(fd, EVFILT_WRITE, EV_ADD), 0);
  const std::vector<Event> events = Look();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].filter, EVFILT_WRITE);
}

TEST_F(KqueueShimTest, AUserEventIsReportedOnceHoweverOftenItWasTriggered) {
  int tag;
  ASSERT_EQ(Change(7, EVFILT_USER, EV_ADD | EV_CLEAR, &tag), 0);
  EXPECT_TRUE(Look().empty());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Trigger(7), 0);
  const std::vector<Event> events = Look();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].ident, 7u);
  EXPECT_EQ(events[0].filter, EVFILT_USER);
  EXPECT_EQ(events[0].udata, &tag);
  EXPECT_TRUE(Look().empty());
  EXPECT_EQ(Trigger(8), ENOENT);
}

TEST_F(KqueueShimTest, ATriggerOfAnotherThreadEndsAWait) {
  ASSERT_EQ(Change(0, EVFILT_USER, EV_ADD | EV_CLEAR), 0);
  std::thread other([&] { EXPECT_EQ(Trigger(0), 0); });
  EXPECT_EQ(Look(10, nullptr).size(), 1u);
  other.join();
}

TEST_F(KqueueShimTest, ErrorsOfChangesComeAsEventsWhereThereIsRoomAndTheOthersAreMade) {
  Pair pair = UnixPair();
  Write(pair.b, "x");
  const Event changes[] = {Make(pair.b.get(), EVFILT_READ, EV_DELETE),
                           Make(pair.a.get(), EVFILT_READ, EV_ADD)};
  Event events[4];
  ASSERT_EQ(kevent(queue_.get(), changes, 2, events, 4, nullptr), 1);
  EXPECT_EQ(events[0].flags, EV_ERROR);
  EXPECT_EQ(events[0].data, ENOENT);
  EXPECT_EQ(events[0].ident, static_cast<uintptr_t>(pair.b.get()));
  EXPECT_EQ(Look().size(), 1u);
}

TEST_F(KqueueShimTest, ReceiptsAnswerEachChangeAndTakeNoEvent) {
  Pair pair = UnixPair();
  Write(pair.b, "x");
  const Event changes[] = {Make(pair.a.get(), EVFILT_READ, EV_ADD | EV_RECEIPT),
                           Make(pair.b.get(), EVFILT_READ, EV_ENABLE | EV_RECEIPT)};
  Event events[4];
  ASSERT_EQ(kevent(queue_.get(), changes, 2, events, 4, nullptr), 2);
  EXPECT_EQ(events[0].flags, EV_ERROR);
  EXPECT_EQ(events[0].data, 0);
  EXPECT_EQ(events[1].data, ENOENT);
  EXPECT_EQ(Look().size(), 1u);
}

TEST_F(KqueueShimTest, NoMoreEventsThanThereIsRoomFor) {
  Pair pair = UnixPair();
  Write(pair.b, "x");
  ASSERT_EQ(Change(pair.a.get(), EVFILT_READ, EV_ADD), 0);
  ASSERT_EQ(Change(pair.a.get(), EVFILT_WRITE, EV_ADD), 0);
  EXPECT_EQ(Look(1).size(), 1u);
  EXPECT_EQ(Look(2).size(), 2u);
}

TEST_F(KqueueShimTest, WhatItDoesNotKnowIsRefused) {
  Pair pair = UnixPair();
  EXPECT_EQ(Change(pair.a.get(), EVFILT_READ, EV_ADD | EV_CLEAR), EINVAL);
  EXPECT_EQ(Change(pair.a.get(), -7, EV_ADD), EINVAL);
  EXPECT_EQ(Change(0, EVFILT_USER, EV_ADD), EINVAL) << "without EV_CLEAR";
  EXPECT_EQ(kevent(pair.a.get(), nullptr, 0, nullptr, 0, nullptr), -1) << "no kqueue";
  EXPECT_EQ(errno, EBADF);
}

}  // namespace
}  // namespace sluice::internal::kqueue_shim
