#include "sluice/tools/udp_cat_session.h"

#include <fcntl.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/udp.h"

namespace sluice::tools {
namespace {

using testing::HasSubstr;

struct Pipe {
  Pipe() { EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0); }
  ~Pipe() {
    CloseRead();
    CloseWrite();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void CloseRead() { Close(ends[0]); }
  void CloseWrite() { Close(ends[1]); }
  static void Close(int& descriptor) {
    if (descriptor >= 0) close(std::exchange(descriptor, -1));
  }

  int ends[2];
};

std::string ReadAll(int descriptor) {
  std::string text;
  char piece[65536];
  for (ssize_t size; (size = read(descriptor, piece, sizeof(piece))) > 0;)
    text.append(piece, static_cast<size_t>(size));
  return text;
}

// The session runs on a thread of its own, the server on the test's.
class UdpCatSessionTest : public testing::Test, private UdpHandler {
 protected:
  UdpCatSessionTest() : server(*UdpSocket::Bind(*loop, SocketAddress::Ipv4Loopback(0), {}, *this)) {
    options.peer = server->local_address();
    options.lost_after = absl::Seconds(30);
  }

  // Given all this input and its end. Returns the output.
  std::string Run(absl::string_view text) {
    options.input = input.ends[0];
    options.output = output.ends[1];
    std::thread session([this] {
      std::unique_ptr<EventLoop> own_loop = *EventLoop::Create();
      status = UdpCatSession(*own_loop, options).Run();
      output.CloseWrite();
      loop->Stop();
    });
    std::thread writing([&] {
      while (!text.empty()) {
        const ssize_t written = write(input.ends[1], text.data(), text.size());
        if (written <= 0) break;
        text.remove_prefix(static_cast<size_t>(written));
      }
      input.CloseWrite();
    });
    std::string all;
    std::thread reading([&] { all = ReadAll(output.ends[0]); });
    loop->Run();
    session.join();
    input.CloseRead();
    writing.join();
    reading.join();
    return all;
  }

  void OnDatagrams(UdpSocket& socket, absl::Span<const ReceivedDatagram> datagrams) override {
    for (const ReceivedDatagram& datagram : datagrams) {
      ++received;
      answer(socket, datagram);
    }
  }

  std::function<void(UdpSocket&, const ReceivedDatagram&)> answer =
      [](UdpSocket& socket, const ReceivedDatagram& datagram) {
        socket.SendLent(datagram.bytes, *datagram.peer);
      };
  int received = 0;
  const std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  std::unique_ptr<UdpSocket> server;
  UdpCatSession::Options options;
  Pipe input, output;
  absl::Status status;
};

TEST_F(UdpCatSessionTest, ALineIsADatagram) {
  EXPECT_EQ(Run("one\n\nGrüße\nno text \xff\r\nlast"), "one\n\nGrüße\nno text \\xff\\r\nlast\n");
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(received, 5);
}

TEST_F(UdpCatSessionTest, NoInputAtAllIsTheEnd) {
  EXPECT_EQ(Run(""), "");
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(received, 0);
}

TEST_F(UdpCatSessionTest, SeveralAnswersToOneLineAreAllPrinted) {
  answer = [](UdpSocket& socket, const ReceivedDatagram& datagram) {
    for (int i = 0; i < 3; ++i) socket.Send(datagram.bytes, *datagram.peer);
  };
  EXPECT_EQ(Run("x\ny\n"), "x\nx\nx\ny\ny\ny\n");
}

TEST_F(UdpCatSessionTest, AnswersThatDoNotComeAreNotAwaitedForEver) {
  options.lost_after = absl::Milliseconds(50);
  answer = [](UdpSocket&, const ReceivedDatagram&) {};
  EXPECT_EQ(Run("anybody there?\n"), "");
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(received, 1);
}

TEST_F(UdpCatSessionTest, TheLongestDatagramPassesAndALongerLineIsAnError) {
  const std::string longest(kMaxDatagramBytes, 'x');
  EXPECT_TRUE(Run(absl::StrCat(longest, "\n")) == absl::StrCat(longest, "\n"));
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(UdpCatSessionTest, ALineThatNoDatagramCanHoldIsAnError) {
  Run(std::string(kMaxDatagramBytes + 1, 'x'));
  EXPECT_THAT(std::string(status.message()), HasSubstr("65507 bytes"));
}

// As many as any receive buffer holds, so that none need get lost on the way.
TEST_F(UdpCatSessionTest, ManyLinesAreAllSent) {
  std::string lines;
  for (int i = 0; i < 200; ++i) absl::StrAppend(&lines, i, "\n");
  options.lost_after = absl::Milliseconds(1);
  answer = [](UdpSocket&, const ReceivedDatagram&) {};
  Run(lines);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(loop->RunUntil([&] { return received == 200; }, absl::Seconds(30))) << received;
}

TEST_F(UdpCatSessionTest, NobodyThereIsAnError) {
  const std::string address = server->local_address().ToString();
  server.reset();
  EXPECT_EQ(Run("x\n"), "");
  EXPECT_THAT(std::string(status.message()), HasSubstr(address));
}

}  // namespace
}  // namespace sluice::tools
