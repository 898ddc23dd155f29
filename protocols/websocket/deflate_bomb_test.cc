// A message of 1 MiB that would become 1 GiB is refused within memory that follows from the limit,
// whoever asks malloc for it. This binary's malloc counts; so the test is not run under sanitizers,
// which have one of their own.

#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/core/stream_testing.h"
#include "sluice/protocols/websocket/client.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/deflate.h"
#include "sluice/protocols/websocket/frame.h"
#include "sluice/protocols/websocket/handshake.h"
#include "sluice/protocols/websocket/server.h"

#ifdef __GLIBC__

namespace {

std::atomic<int64_t> live_bytes{0};
std::atomic<int64_t> peak_bytes{0};

void* Counted(void* memory) {
  if (memory == nullptr) return nullptr;
  const int64_t bytes = static_cast<int64_t>(malloc_usable_size(memory));
  const int64_t live = live_bytes.fetch_add(bytes) + bytes;
  for (int64_t peak = peak_bytes; live > peak && !peak_bytes.compare_exchange_weak(peak, live);) {
  }
  return memory;
}

void Forget(void* memory) {
  if (memory != nullptr) live_bytes.fetch_sub(static_cast<int64_t>(malloc_usable_size(memory)));
}

}  // namespace

extern "C" {

void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* memory, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
void __libc_free(void* memory);

void* malloc(size_t size) { return Counted(__libc_malloc(size)); }
void* calloc(size_t count, size_t size) { return Counted(__libc_calloc(count, size)); }
void* realloc(void* memory, size_t size) {
  Forget(memory);
  return Counted(__libc_realloc(memory, size));
}
void* memalign(size_t alignment, size_t size) { return Counted(__libc_memalign(alignment, size)); }
void* aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }
int posix_memalign(void** memory, size_t alignment, size_t size) {
  *memory = memalign(alignment, size);
  return *memory == nullptr ? ENOMEM : 0;
}
void free(void* memory) {
  Forget(memory);
  __libc_free(memory);
}

}  // extern "C"

namespace sluice::websocket {
namespace {

using testing::HasSubstr;

constexpr size_t kMiB = size_t{1} << 20;

// A block whose codes are one bit each for "258 times the byte before" and "1 back": each byte of
// zero is 1032 bytes of the message.
std::string Bomb(size_t bytes) {
  constexpr absl::string_view kCodesAndOneByte(
      "\xec\xe0\x81\x00\x00\x00\x00\x80\x20\xec\x4f\xbd\x48\x05", 14);
  constexpr absl::string_view kEnd("\x03", 1);
  return absl::StrCat(kCodesAndOneByte,
                      std::string(bytes - kCodesAndOneByte.size() - kEnd.size(), '\0'), kEnd);
}
// One byte and two repetitions before the zeros.
constexpr size_t Becomes(size_t bytes) { return 1 + 2 * 258 + (bytes - 15) * 1032; }
static_assert(Becomes(kMiB) >= 1024 * kMiB, "a bomb of 1 MiB is 1 GiB");

class Victim : public Handler {
 public:
  void OnMessage(Connection&, const Message& message) override {
    messages.push_back(message.payload.size());
  }
  void OnClose(Connection&, const CloseInfo& info) override {
    code = info.code;
    status = info.status;
  }

  std::vector<size_t> messages;
  CloseCode code = CloseCode::kNormal;
  absl::Status status;
};

struct Case {
  Role role;
  bool context;
  size_t limit;
  size_t fragments;
};

class DeflateBombTest : public testing::TestWithParam<Case> {
 protected:
  // Of whoever receives; the peer is this test.
  void Open() {
    ConnectionOptions options;
    options.max_message_bytes = GetParam().limit;
    options.compression = *Deflate::Create(
        {.send_context = GetParam().context, .receive_context = GetParam().context});
    if (GetParam().role == Role::kServer) {
      server_ = std::make_unique<Server>(Server::Options{.connection = options, .handshake = {}});
      server_->Serve(pair_.TakeServer(), victim_);
      peer_ = std::make_unique<StreamRecorder>(pair_.TakeClient());
      Say("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
    } else {
      Client::Options client;
      client.connection = options;
      client.handshake.host = "h";
      client_ = *Client::Create(client);
      client_->Open(pair_.TakeClient(), victim_);
      peer_ = std::make_unique<StreamRecorder>(pair_.TakeServer());
      loop_.RunUntilIdle();
      Say(Answer(peer_->TakeReceived(), options.compression));
    }
  }

  static std::string Answer(const std::string& request,
                            std::shared_ptr<const Compression> compression) {
    ServerHandshake::Options options;
    options.compression = std::move(compression);
    ServerHandshake handshake(options);
    absl::Span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(request.data()),
                                    request.size());
    std::string answer;
    handshake.Read(
        bytes, [](const HandshakeRequest&, HandshakeReply&) {}, answer);
    EXPECT_THAT(answer, HasSubstr("permessage-deflate"));
    return answer;
  }

  // A little at a time, so that the way to the victim keeps next to nothing.
  void Say(absl::string_view bytes) {
    for (; !bytes.empty(); bytes.remove_prefix(std::min<size_t>(bytes.size(), 16 * 1024))) {
      peer_->stream().Send(bytes.substr(0, 16 * 1024));
      loop_.RunUntilIdle();
    }
  }

  void SayCompressed(absl::string_view message) {
    const size_t fragments = GetParam().fragments;
    for (size_t i = 0; i < fragments; ++i) {
      const size_t begin = message.size() * i / fragments;
      const size_t end = message.size() * (i + 1) / fragments;
      uint8_t header[kMaxFrameHeaderBytes];
      const size_t n =
          EncodeFrameHeader({.opcode = i == 0 ? Opcode::kBinary : Opcode::kContinuation,
                             .fin = i + 1 == fragments,
                             .rsv = static_cast<uint8_t>(i == 0 ? 4 : 0),
                             .masked = GetParam().role == Role::kServer,  // with a key of zeros
                             .payload_bytes = end - begin},
                            header);
      Say({reinterpret_cast<const char*>(header), n});
      Say(message.substr(begin, end - begin));
    }
  }

  // Handlers and makers outlive the loop.
  Victim victim_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<Client> client_;
  VirtualLoop loop_;
  StreamPair pair_{loop_.loop()};
  std::unique_ptr<StreamRecorder> peer_;
};

// On a thread of its own, which has no memory from messages before.
TEST_P(DeflateBombTest, IsRefusedWithinTheLimitsMemory) {
  int64_t most = 0;
  std::thread([&] {
    Open();
    // It is the limit that the bomb breaks, and nothing else.
    SayCompressed(Bomb(100));
    ASSERT_EQ(victim_.messages, std::vector<size_t>{Becomes(100)}) << victim_.status;
    const std::string bomb = Bomb(kMiB);
    const int64_t before = live_bytes;
    peak_bytes = before;
    SayCompressed(bomb);
    most = peak_bytes - before;
  }).join();

  const size_t limit = GetParam().limit;
  EXPECT_EQ(victim_.messages.size(), 1u);
  EXPECT_EQ(victim_.code, CloseCode::kMessageTooBig);
  EXPECT_THAT(std::string(victim_.status.message()),
              HasSubstr(absl::StrCat("over the limit of ", limit)));
  // What was received: where it is gathered, which for fragments is up to four times of what is
  // there, and once more with what ends it; what becomes of it, up to the limit, and a quarter of
  // that while it grows; and what the libraries and the stream need.
  const size_t received = (GetParam().fragments == 1 ? 1 : 4) * kMiB + kMiB;
  EXPECT_LE(static_cast<size_t>(most), received + limit + limit / 4 + kMiB / 4);
  EXPECT_GE(static_cast<size_t>(most), limit / 4) << "the counter counts";
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const Role role : {Role::kServer, Role::kClient}) {
    for (const bool context : {false, true}) {
      for (const size_t limit : {kMiB, 16 * kMiB}) {
        for (const size_t fragments : {1, 16}) cases.push_back({role, context, limit, fragments});
      }
    }
  }
  return cases;
}

std::string Name(const testing::TestParamInfo<Case>& one) {
  const Case& c = one.param;
  return absl::StrCat(c.role == Role::kServer ? "Server" : "Client",
                      c.context ? "WithContext" : "WithoutContext", "LimitOf", c.limit / kMiB,
                      "MiB", c.fragments == 1 ? "Whole" : "InFragments");
}

INSTANTIATE_TEST_SUITE_P(, DeflateBombTest, testing::ValuesIn(Cases()), Name);

}  // namespace
}  // namespace sluice::websocket

#endif  // __GLIBC__
