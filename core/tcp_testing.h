// What the tests of streams share: a handler that notes what happens, bytes that tell where they
// belong, and connected pairs of streams on one loop.
//
// Tests that have a second target, NAME_io_uring, run on the engine that it names; where the system
// refuses it, they are skipped.
//
// Example:
//   std::unique_ptr<EventLoop> loop = test::NewLoop();
//   test::Pair pair(*loop);
//   pair.client.stream->Send("hello");
//   ASSERT_TRUE(test::Until(*loop, [&] { return pair.server.recorder.received == "hello"; }));
//
// Loop-bound.
#ifndef SLUICE_CORE_TCP_TESTING_H_
#define SLUICE_CORE_TCP_TESTING_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/poller.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"

namespace sluice::test {

// Long enough never to be reached by a test that works.
constexpr absl::Duration kBound = absl::Seconds(30);

// The engine that this run of the test is about: SLUICE_TEST_POLLER of the environment, which the
// targets set, or kAuto.
PollerKind EngineUnderTest();
std::unique_ptr<EventLoop> NewLoop();

// Runs the loop until `done`; false when the bound was reached.
inline bool Until(EventLoop& loop, absl::FunctionRef<bool()> done) {
  return loop.RunUntil(done, kBound);
}

// `size` bytes of an endless sequence from `offset` on. It does not repeat at any distance that
// buffers are likely to be mistaken by, so that lost, doubled and swapped bytes show.
std::string Pattern(size_t offset, size_t size);

// Notes what happens to a stream, and does in each callback what the test wants. A callback after
// OnClose fails the test.
struct Recorder : StreamHandler {
  void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override;
  void OnReceiveEnd(Stream& stream) override;
  void OnSendReady(Stream& stream) override;
  void OnFlush(Stream& stream) override;
  void OnDrain(Stream& stream) override;
  void OnClose(Stream& stream, const absl::Status& status) override;

  // Which callbacks came, in order, separated by spaces; consecutive ones of one kind are one word.
  std::string Events() const;

  // In addition to the noting; the first two of the three replace what StreamHandler does.
  std::function<void(Stream&)> on_receive_end, on_drain, on_send_ready, on_flush;
  std::function<void(Stream&, absl::Span<uint8_t>)> on_receive;
  std::function<void(Stream&, const absl::Status&)> on_close;

  std::vector<std::string> events;
  std::string received;
  int receives = 0;
  int readies = 0;
  bool closed = false;
  absl::Status close_status;

 private:
  void Note(const char* event);
};

// One end of a connection. The recorder outlives the stream.
struct End {
  Recorder recorder;
  std::unique_ptr<Stream> stream;
};

// Two streams of one loop, connected with each other, each with its recorder as its handler.
struct Pair {
  explicit Pair(EventLoop& loop, const Listener::Options& listen = {},
                const Connector::Options& connect = {},
                const SocketAddress& address = SocketAddress::Ipv4Loopback(0));

  bool closed() const { return client.recorder.closed && server.recorder.closed; }

  End client;
  End server;
};

// Sends on `stream` until it answers kBlocked, and returns how many bytes of Pattern(0) it took.
size_t SendUntilBlocked(Stream& stream, size_t piece = 64 * 1024);

// An address at which connects stay unanswered: of a listener whose queue is full.
class SilentListener {
 public:
  SilentListener();
  ~SilentListener();
  SilentListener(const SilentListener&) = delete;
  SilentListener& operator=(const SilentListener&) = delete;
  SocketAddress address() const;

 private:
  int listener_;
  int filler_;
};

// A directory that goes when it is empty. Its path is short, unlike testing::TempDir(): a Unix
// socket's path has 107 bytes at most.
class ShortTempDir {
 public:
  ShortTempDir();
  ~ShortTempDir();
  ShortTempDir(const ShortTempDir&) = delete;
  ShortTempDir& operator=(const ShortTempDir&) = delete;
  const char* path() const { return path_; }
  SocketAddress Socket(absl::string_view name) const;

 private:
  char path_[24] = "/tmp/sluice_test_XXXXXX";
};

}  // namespace sluice::test

#endif  // SLUICE_CORE_TCP_TESTING_H_
