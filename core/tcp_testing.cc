#include "sluice/core/tcp_testing.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "sluice/core/poller_factory.h"

namespace sluice::test {
namespace {

class SkipWhereRefused : public testing::Environment {
  void SetUp() override {
    const absl::Status status = CreatePoller(EngineUnderTest()).status();
    if (absl::IsUnimplemented(status) || absl::IsPermissionDenied(status)) GTEST_SKIP() << status;
  }
};

[[maybe_unused]] const testing::Environment* const skip_where_refused =
    testing::AddGlobalTestEnvironment(new SkipWhereRefused);

}  // namespace

PollerKind EngineUnderTest() {
  const char* const name = getenv("SLUICE_TEST_POLLER");
  if (name == nullptr) return PollerKind::kAuto;
  EXPECT_EQ(absl::string_view(name), PollerKindName(PollerKind::kIoUring));
  return PollerKind::kIoUring;
}

std::unique_ptr<EventLoop> NewLoop() { return *EventLoop::Create(EngineUnderTest()); }

std::string Pattern(size_t offset, size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) {
    // The upper bits of a multiplicative hash of the position.
    const uint64_t hash = (offset + i) * uint64_t{0x9E3779B97F4A7C15};
    bytes[i] = static_cast<char>(hash >> 56);
  }
  return bytes;
}

void Recorder::OnReceive(Stream& stream, absl::Span<uint8_t> bytes) {
  EXPECT_FALSE(bytes.empty());
  received.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  ++receives;
  Note("receive");
  if (on_receive) on_receive(stream, bytes);
}

void Recorder::OnReceiveEnd(Stream& stream) {
  Note("end");
  if (on_receive_end) return on_receive_end(stream);
  StreamHandler::OnReceiveEnd(stream);
}

void Recorder::OnSendReady(Stream& stream) {
  ++readies;
  Note("ready");
  if (on_send_ready) on_send_ready(stream);
}

void Recorder::OnFlush(Stream& stream) {
  Note("flush");
  if (on_flush) on_flush(stream);
}

void Recorder::OnDrain(Stream& stream) {
  Note("drain");
  if (on_drain) return on_drain(stream);
  StreamHandler::OnDrain(stream);
}

void Recorder::OnClose(Stream& stream, const absl::Status& status) {
  Note("close");
  close_status = status;
  closed = true;
  if (on_close) on_close(stream, status);
}

void Recorder::Note(const char* event) {
  EXPECT_FALSE(closed) << event << " after close";
  if (events.empty() || events.back() != event) events.push_back(event);
}

std::string Recorder::Events() const { return absl::StrJoin(events, " "); }

Pair::Pair(EventLoop& loop, const Listener::Options& listen, const Connector::Options& connect,
           const SocketAddress& address) {
  absl::StatusOr<std::unique_ptr<Listener>> listener =
      Listener::Listen(loop, address, listen, [this](std::unique_ptr<Stream> stream) {
        server.stream = std::move(stream);
        server.stream->SetHandler(server.recorder);
      });
  EXPECT_TRUE(listener.ok()) << listener.status();
  if (!listener.ok()) return;
  absl::Status status = absl::UnknownError("no answer");
  Connector connector(loop);
  connector.Connect((*listener)->address(), connect,
                    [&](absl::StatusOr<std::unique_ptr<Stream>> stream) {
                      status = stream.status();
                      if (!stream.ok()) return;
                      client.stream = *std::move(stream);
                      client.stream->SetHandler(client.recorder);
                    });
  EXPECT_TRUE(Until(loop, [&] { return client.stream != nullptr && server.stream != nullptr; }))
      << status;
}

size_t SendUntilBlocked(Stream& stream, size_t piece) {
  size_t sent = 0;
  SendResult result = SendResult::kSent;
  while (result == SendResult::kSent) {
    result = stream.Send(Pattern(sent, piece));
    sent += piece;
  }
  EXPECT_EQ(result, SendResult::kBlocked);
  return sent;
}

SilentListener::SilentListener()
    : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
      filler_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  const SocketAddress any_port = SocketAddress::Ipv4Loopback(0);
  EXPECT_EQ(bind(listener_, any_port.data(), any_port.length()), 0);
  EXPECT_EQ(listen(listener_, 0), 0);
  // Linux takes one more than the backlog says.
  EXPECT_EQ(connect(filler_, address().data(), address().length()), 0);
}

SilentListener::~SilentListener() {
  close(filler_);
  close(listener_);
}

SocketAddress SilentListener::address() const {
  sockaddr_storage storage;
  socklen_t length = sizeof(storage);
  EXPECT_EQ(getsockname(listener_, reinterpret_cast<sockaddr*>(&storage), &length), 0);
  return SocketAddress::FromSockaddr(reinterpret_cast<const sockaddr*>(&storage), length);
}

ShortTempDir::ShortTempDir() { EXPECT_NE(mkdtemp(path_), nullptr); }

ShortTempDir::~ShortTempDir() { rmdir(path_); }

SocketAddress ShortTempDir::Socket(absl::string_view name) const {
  absl::StatusOr<SocketAddress> address =
      SocketAddress::Parse(absl::StrCat("unix:", path_, "/", name));
  EXPECT_TRUE(address.ok()) << address.status();
  return *address;
}

}  // namespace sluice::test
