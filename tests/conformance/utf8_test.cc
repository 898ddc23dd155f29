// Section 6: text that is UTF-8, and text that is not, which fails the connection at its first
// wrong octet.

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "sluice/tests/conformance/cases.h"
#include "sluice/tests/conformance/frames.h"
#include "sluice/tests/conformance/peer.h"

namespace sluice::conformance {
namespace {

constexpr int kInvalidPayload = 1007;

using Frames = std::vector<Frame>;

// "Hello-µ@ßöäüàá-UTF-8!!" in its two fragments, and "κόσμε".
const std::string kHello1 = "Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4";
const std::string kHello2 = "\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!";
const std::string kKosme = "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5";

Frames InFragmentsOfOneOctet(const std::string& text) {
  Frames frames;
  for (size_t i = 0; i < text.size(); ++i)
    frames.push_back({i == 0 ? kText : kContinuation, text.substr(i, 1), i + 1 == text.size()});
  return frames;
}

Case Good(const std::string& id, const Frames& sent, const std::string& text) {
  return {id, [=](Peer& peer) {
            peer.Send(sent);
            peer.ExpectReceived({{kText, text}});
            peer.CloseCleanly();
          }};
}

Case Bad(const std::string& id, const Frames& sent) {
  return {id, [=](Peer& peer) {
            peer.Send(sent);
            peer.ExpectFailed(kInvalidPayload);
          }};
}

// The first part is good, and waits for more. The next octets make the message wrong: the
// connection fails although the message, and in the latter two cases the frame, is not at its end.
void AddFailFast(std::vector<Case>& cases) {
  const std::string too_high = "\xf4\x90\x80\x80";  // U+110000
  const std::string whole = kKosme + too_high + "edited";
  const auto in_frames = [&](const std::string& id, const std::string& good,
                             const std::string& bad) {
    cases.push_back({id, [=](Peer& peer) {
                       peer.Send({{kText, good, false}});
                       peer.ExpectReceived({});
                       peer.Send({{kContinuation, bad, false}});
                       peer.ExpectFailed(kInvalidPayload);
                     }});
  };
  const auto in_chops = [&](const std::string& id, size_t good, size_t bad) {
    cases.push_back({id, [=](Peer& peer) {
                       const std::string frame = peer.Encode({kText, whole});
                       const size_t header = frame.size() - whole.size();
                       peer.SendBytes(frame.substr(0, header + good));
                       peer.ExpectReceived({});
                       peer.SendBytes(frame.substr(header + good, bad));
                       peer.ExpectFailed(kInvalidPayload);
                     }});
  };
  in_frames("6.4.1", kKosme, too_high);
  in_frames("6.4.2", whole.substr(0, 12), whole.substr(12, 1));
  in_chops("6.4.3", kKosme.size(), too_high.size());
  in_chops("6.4.4", 12, 1);
}

struct Sequences {
  const char* section;
  bool good;
  std::vector<std::string> hex;
};

const std::vector<Sequences>& AllSequences() {
  static const auto* const all = new std::vector<Sequences>{
      // Some that are good, and all prefixes of the last.
      {"6.5",
       true,
       {"68656c6c6f24776f726c64", "68656c6c6fc2a2776f726c64", "68656c6c6fe282ac776f726c64",
        "68656c6c6ff0a4ada2776f726c64", "cebae1bdb9cf83cebcceb5"}},
      {"6.6", false, {"ce"}},
      {"6.6", true, {"ceba"}},
      {"6.6", false, {"cebae1", "cebae1bd"}},
      {"6.6", true, {"cebae1bdb9"}},
      {"6.6", false, {"cebae1bdb9cf"}},
      {"6.6", true, {"cebae1bdb9cf83"}},
      {"6.6", false, {"cebae1bdb9cf83ce"}},
      {"6.6", true, {"cebae1bdb9cf83cebc"}},
      {"6.6", false, {"cebae1bdb9cf83cebcce"}},
      {"6.6", true, {"cebae1bdb9cf83cebcceb5"}},
      // The first and the last of each length, of 1 to 4 octets and beyond what there is; other
      // boundaries.
      {"6.7", true, {"00", "c280", "e0a080", "f0908080"}},
      {"6.8", false, {"f888808080", "fc8480808080"}},
      {"6.9", true, {"7f", "dfbf", "efbfbf", "f48fbfbf"}},
      {"6.10", false, {"f7bfbfbf", "fbbfbfbfbf", "fdbfbfbfbfbf"}},
      {"6.11", true, {"ed9fbf", "ee8080", "efbfbd", "f48fbfbf"}},
      {"6.11", false, {"f4908080"}},
      // Continuations of nothing.
      {"6.12",
       false,
       {"80", "bf", "80bf", "80bf80", "80bf80bf", "80bf80bf80", "80bf80bf80bf",
        "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabac"
        "adaeafb0b1b2b3b4b5b6"
        "b7b8b9babbbcbdbe"}},
      // Beginnings, each with a space behind it.
      {"6.13",
       false,
       {"c020c120c220c320c420c520c620c720c820c920ca20cb20cc20cd20ce20cf20d020d120d220d320d420d520d6"
        "20d720d820d920da20db20"
        "dc20dd20de20",
        "e020e120e220e320e420e520e620e720e820e920ea20eb20ec20ed20ee20",
        "f020f120f220f320f420f520f620", "f820f920fa20", "fc20"}},
      // The last octet is missing; all those together.
      {"6.14",
       false,
       {"c0", "e080", "f08080", "f8808080", "fc80808080", "df", "efbf", "f7bfbf", "fbbfbfbf",
        "fdbfbfbfbf"}},
      {"6.15", false, {"c0e080f08080f8808080fc80808080dfefbff7bfbffbbfbfbffdbfbfbfbf"}},
      {"6.16", false, {"fe", "ff", "fefeffff"}},
      // Longer than they need be: '/', the largest of each length, NUL.
      {"6.17", false, {"c0af", "e080af", "f08080af", "f8808080af", "fc80808080af"}},
      {"6.18", false, {"c1bf", "e09fbf", "f08fbfbf", "f887bfbfbf", "fc83bfbfbfbf"}},
      {"6.19", false, {"c080", "e08080", "f0808080", "f880808080", "fc8080808080"}},
      // Surrogates, alone and in pairs.
      {"6.20", false, {"eda080", "edadbf", "edae80", "edafbf", "edb080", "edbe80", "edbfbf"}},
      {"6.21",
       false,
       {"eda080edb080", "eda080edbfbf", "edadbfedb080", "edadbfedbfbf", "edae80edb080",
        "edae80edbfbf", "edafbfedb080", "edafbfedbfbf"}},
      // What is no character, and special ones.
      {"6.22", true, {"efbfbe",   "efbfbf",   "f09fbfbe", "f09fbfbf", "f0afbfbe", "f0afbfbf",
                      "f0bfbfbe", "f0bfbfbf", "f18fbfbe", "f18fbfbf", "f19fbfbe", "f19fbfbf",
                      "f1afbfbe", "f1afbfbf", "f1bfbfbe", "f1bfbfbf", "f28fbfbe", "f28fbfbf",
                      "f29fbfbe", "f29fbfbf", "f2afbfbe", "f2afbfbf", "f2bfbfbe", "f2bfbfbf",
                      "f38fbfbe", "f38fbfbf", "f39fbfbe", "f39fbfbf", "f3afbfbe", "f3afbfbf",
                      "f3bfbfbe", "f3bfbfbf", "f48fbfbe", "f48fbfbf"}},
      {"6.23", true, {"efbfb9", "efbfba", "efbfbb", "efbfbc", "efbfbd", "efbfbe", "efbfbf"}},
  };
  return *all;
}

void AddSequences(std::vector<Case>& cases) {
  std::string section;
  int number = 0;
  for (const Sequences& sequences : AllSequences()) {
    if (section != sequences.section) number = 0;
    section = sequences.section;
    for (const std::string& hex : sequences.hex) {
      const std::string id = absl::StrCat(section, ".", ++number);
      const std::string text = absl::HexStringToBytes(hex);
      cases.push_back(sequences.good ? Good(id, {{kText, text}}, text) : Bad(id, {{kText, text}}));
    }
  }
}

std::vector<Case> Cases() {
  const std::string surrogate = "\xed\xa0\x80";
  const std::string bad = kKosme + surrogate + "edited";
  std::vector<Case> cases = {
      Good("6.1.1", {{kText}}, ""),
      Good("6.1.2", {{kText, "", false}, {kContinuation, "", false}, {kContinuation}}, ""),
      Good("6.1.3",
           {{kText, "", false}, {kContinuation, "middle frame payload", false}, {kContinuation}},
           "middle frame payload"),
      Good("6.2.1", {{kText, kHello1 + kHello2}}, kHello1 + kHello2),
      Good("6.2.2", {{kText, kHello1, false}, {kContinuation, kHello2}}, kHello1 + kHello2),
      Good("6.2.3", InFragmentsOfOneOctet(kHello1 + kHello2), kHello1 + kHello2),
      Good("6.2.4", InFragmentsOfOneOctet(kKosme), kKosme),
      Bad("6.3.1", {{kText, bad}}),
      Bad("6.3.2", InFragmentsOfOneOctet(bad)),
  };
  AddFailFast(cases);
  AddSequences(cases);
  return cases;
}

}  // namespace
}  // namespace sluice::conformance

int main(int argc, char** argv) {
  return sluice::conformance::RunCases(argc, argv, sluice::conformance::Cases());
}
