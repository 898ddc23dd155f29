// What becomes of the bytes around an urgent one (MSG_OOB), which any peer may send: the urgent one
// is dropped, and all others arrive, whether they are received by recv(2) or by splice(2), and
// without a loop that spins.
#include <errno.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/forwarder.h"
#include "sluice/core/internal/unique_fd.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/core/tcp_testing.h"

namespace sluice {
namespace {

using test::Pattern;

// So much is received by pipes when it is forwarded, and in bursts by io_uring.
constexpr size_t kBulk = 8 * 1024 * 1024;

// `peer_`, which is no Stream, is connected with `stream_`.
class UrgentDataTest : public testing::Test {
 protected:
  UrgentDataTest() {
    listener_ =
        *Listener::Listen(*loop_, SocketAddress::Ipv4Loopback(0), {},
                          [this](std::unique_ptr<Stream> stream) { stream_ = std::move(stream); });
    peer_ = internal::UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const SocketAddress address = listener_->address();
    EXPECT_EQ(connect(peer_.get(), address.data(), address.length()), 0);
    EXPECT_TRUE(Until([&] { return stream_ != nullptr; }));
  }

  bool Until(absl::FunctionRef<bool()> done) { return test::Until(*loop_, done); }

  void SendUrgent(absl::string_view before, absl::string_view behind) {
    expected_.append(before).append(behind);
    ASSERT_EQ(send(peer_.get(), before.data(), before.size(), 0), Size(before));
    ASSERT_EQ(send(peer_.get(), "U", 1, MSG_OOB), 1);
    ASSERT_EQ(send(peer_.get(), behind.data(), behind.size(), 0), Size(behind));
  }
  void SendBulk() {
    const std::string bytes = Pattern(0, kBulk);
    expected_ += bytes;
    for (absl::string_view left = bytes; !left.empty();) {
      const ssize_t n = send(peer_.get(), left.data(), left.size(), MSG_DONTWAIT);
      if (n > 0) left.remove_prefix(static_cast<size_t>(n));
      if (n < 0) {
        ASSERT_EQ(errno, EAGAIN);
        loop_->RunOnce(absl::Milliseconds(10));
      }
    }
  }
  void ExpectAllArrives(test::Recorder& recorder) {
    ASSERT_TRUE(Until([&] { return recorder.received.size() >= expected_.size(); }))
        << expected_.size() - recorder.received.size() << " bytes are missing";
    EXPECT_TRUE(recorder.received == expected_);
    expected_.clear();
    recorder.received.clear();
  }
  void ExpectRest() {
    for (int i = 0; i < 10; ++i) loop_->RunOnce(absl::ZeroDuration());
    const uint64_t events = loop_->counters().io_events;
    for (int i = 0; i < 100; ++i) loop_->RunOnce(absl::ZeroDuration());
    EXPECT_EQ(loop_->counters().io_events, events) << "it spins";
  }

  std::unique_ptr<EventLoop> loop_ = test::NewLoop();
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<Stream> stream_;
  internal::UniqueFd peer_;
  std::string expected_;

 private:
  static ssize_t Size(absl::string_view bytes) { return static_cast<ssize_t>(bytes.size()); }
};

TEST_F(UrgentDataTest, BytesAroundAnUrgentOneAreReceived) {
  test::Recorder recorder;
  stream_->SetHandler(recorder);
  SendUrgent("", "behind");
  ExpectAllArrives(recorder);
  SendBulk();
  ExpectAllArrives(recorder);
  // All of it is there before it is received: nothing tells of what is behind the urgent one.
  SendUrgent(Pattern(0, 10'000), "behind");
  ExpectAllArrives(recorder);
  ExpectRest();
  stream_ = nullptr;
}

class ForwardedUrgentDataTest : public UrgentDataTest {
 protected:
  ForwardedUrgentDataTest() {
    backend().on_receive_end = [](Stream&) {};
    forwarder_ = std::make_unique<Forwarder>(std::move(stream_), std::move(pair_.client.stream));
    forwarder_->Start([](const Forwarder::Outcome&) {});
  }
  test::Recorder& backend() { return pair_.server.recorder; }

  test::Pair pair_{*loop_};
  std::unique_ptr<Forwarder> forwarder_;
};

TEST_F(ForwardedUrgentDataTest, BytesAroundAnUrgentOneArriveAndNothingSpins) {
  SendBulk();
  ExpectAllArrives(backend());
  SendUrgent("", "behind");
  ExpectAllArrives(backend());
  ExpectRest();
  SendUrgent("before", "behind");
  ExpectAllArrives(backend());
  ExpectRest();
  SendBulk();
  SendUrgent("before", "behind");
  ExpectAllArrives(backend());
}

TEST_F(ForwardedUrgentDataTest, BytesBehindAnUrgentOneComeBeforeTheEnd) {
  SendBulk();
  ExpectAllArrives(backend());
  SendUrgent("", "behind");
  ASSERT_EQ(shutdown(peer_.get(), SHUT_WR), 0);
  ExpectAllArrives(backend());
  ASSERT_TRUE(Until([&] { return backend().Events().ends_with("end"); }));
}

}  // namespace
}  // namespace sluice
