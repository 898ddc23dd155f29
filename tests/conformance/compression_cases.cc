#include "sluice/tests/conformance/compression_cases.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "sluice/protocols/websocket/deflate.h"
#include "sluice/tests/conformance/frames.h"

namespace sluice::conformance {
namespace {

// The suite sends 1000 messages whatever their size, which for the large ones is a matter of time
// only.
constexpr size_t kMostMessages = 1000;
constexpr size_t kFewestMessages = 3;
constexpr size_t kBytesOfACase = 128 * 1024;
// Of text, at least so large, sluice compresses every message.
constexpr size_t kSurelyCompressed = 256;

struct Size {
  size_t message;
  size_t fragment;  // 0: one frame
};

constexpr Size kSizes[] = {
    {16, 0},      {64, 0},      {256, 0},      {1024, 0},      {4096, 0},      {8192, 0},
    {16384, 0},   {32768, 0},   {65536, 0},    {131072, 0},    {8192, 256},    {16384, 256},
    {32768, 256}, {65536, 256}, {131072, 256}, {131072, 1024}, {131072, 4096}, {131072, 32768},
};

void PlayMessages(Peer& peer, Kind kind, const Size& size) {
  ASSERT_TRUE(peer.deflates());
  TestData data(kind);
  const size_t count = std::clamp(kBytesOfACase / size.message, kFewestMessages, kMostMessages);
  for (size_t i = 0; i < count; ++i) {
    const Frame message{data.is_text() ? kText : kBinary, data.Next(size.message)};
    peer.SendMessage(message.opcode, message.payload, size.fragment);
    peer.ExpectReceived({message});
    if (testing::Test::HasFailure()) return;
  }
  if (data.is_text() && size.message >= kSurelyCompressed) {
    EXPECT_EQ(peer.compressed_messages(), static_cast<int>(count));
  }
  peer.CloseCleanly();
}

}  // namespace

void AddCompressionCases(const std::string& section, Kind kind,
                         const std::vector<Deflating::Request>& requests,
                         std::vector<Case>& cases) {
  const std::vector<Deflating> settings = {
      {requests, *websocket::Deflate::Create({})},
      {requests, *websocket::Deflate::Create(
                     {.min_message_bytes = 0, .send_context = true, .receive_context = true})}};
  int number = 0;
  for (const Size& size : kSizes) {
    cases.push_back({absl::StrCat(section, ".", ++number),
                     [=](Peer& peer) { PlayMessages(peer, kind, size); }, settings});
  }
}

}  // namespace sluice::conformance
