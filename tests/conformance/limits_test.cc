// Sections 9 and 10: large messages, in fragments and in chops; round trips; automatic
// fragmentation. The suite looks at the sizes of the answers (and at the time they take); this
// looks at what is in them, too.

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sluice/tests/conformance/cases.h"
#include "sluice/tests/conformance/frames.h"
#include "sluice/tests/conformance/peer.h"

namespace sluice::conformance {
namespace {

constexpr size_t kKiB = 1024;
constexpr size_t kMiB = 1024 * kKiB;

std::string Repeated(const std::string& pattern, size_t size) {
  std::string all = pattern;
  while (all.size() < size) all += all;
  all.resize(size);
  return all;
}

std::string Pattern(int opcode) {
  return opcode == kText ? std::string("BAsd7&jh23") : std::string("\x00\xfe\x23\xfa\xf0", 5);
}

// An echo of a message in frames of `fragment` octets, that arrives in pieces of `chop`; 0: as it
// comes.
Case EchoOf(const std::string& id, int opcode, const std::string& pattern, size_t size,
            size_t fragment, size_t chop) {
  return {id, [=](Peer& peer) {
            if (chop != 0) peer.set_chop(chop);
            const std::string message = Repeated(pattern, size);
            peer.SendMessage(opcode, message, fragment);
            peer.ExpectReceived({{opcode, message}});
            peer.CloseCleanly();
          }};
}

Case RoundTrips(const std::string& id, int opcode, const std::string& message) {
  return {id, [=](Peer& peer) {
            constexpr int kRoundTrips = 1000;
            for (int i = 0; i < kRoundTrips; ++i) {
              peer.Send({{opcode, message}});
              peer.ExpectReceived({{opcode, message}});
            }
            peer.CloseCleanly();
          }};
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const int opcode : {kText, kBinary}) {
    const bool text = opcode == kText;
    const std::string pattern = Pattern(opcode);
    int number = 0;
    for (const size_t size : {64 * kKiB, 256 * kKiB, 1 * kMiB, 4 * kMiB, 8 * kMiB, 16 * kMiB})
      cases.push_back(
          EchoOf(absl::StrCat(text ? "9.1." : "9.2.", ++number), opcode, pattern, size, 0, 0));
    number = 0;
    for (const size_t fragment : {size_t{64}, size_t{256}, 1 * kKiB, 4 * kKiB, 16 * kKiB, 64 * kKiB,
                                  256 * kKiB, 1 * kMiB, 4 * kMiB}) {
      // The suite's octet in 9.4.1; in the others it is an asterisk.
      const std::string octet = !text && number == 0 ? "\xfe" : "*";
      cases.push_back(EchoOf(absl::StrCat(text ? "9.3." : "9.4.", ++number), opcode, octet,
                             4 * kMiB, fragment, 0));
    }
    number = 0;
    for (const size_t chop : {64, 128, 256, 512, 1024, 2048})
      cases.push_back(EchoOf(absl::StrCat(text ? "9.5." : "9.6.", ++number), opcode, pattern,
                             1 * kMiB, 0, chop));
    number = 0;
    for (const size_t size : {0, 16, 64, 256, 1024, 4096})
      cases.push_back(RoundTrips(absl::StrCat(text ? "9.7." : "9.8.", ++number), opcode,
                                 std::string(size, text ? '*' : '\xfe')));
  }
  cases.push_back(EchoOf("10.1.1", kText, "*", 65536, /*fragment=*/1300, /*chop=*/0));
  return cases;
}

}  // namespace
}  // namespace sluice::conformance

int main(int argc, char** argv) {
  return sluice::conformance::RunCases(argc, argv, sluice::conformance::Cases());
}
