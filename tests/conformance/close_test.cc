// Section 7: the closing handshake, begun by the suite.

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sluice/tests/conformance/cases.h"
#include "sluice/tests/conformance/frames.h"
#include "sluice/tests/conformance/peer.h"

namespace sluice::conformance {
namespace {

constexpr int kNormal = 1000;
constexpr int kProtocolError = 1002;
constexpr int kInvalidPayload = 1007;

using Frames = std::vector<Frame>;

const Frame kCloseNormal{kClose, CloseWith(kNormal)};

// What is sent has a good close frame in it: it is answered with the same code, after these
// messages.
Case Closes(const std::string& id, const Frames& sent,
            const std::string& answer = CloseWith(kNormal), const Frames& messages = {}) {
  return {id, [=](Peer& peer) {
            peer.Send(sent);
            peer.ExpectClosed(answer, messages);
          }};
}

Case Fails(const std::string& id, const std::string& close_payload, int code) {
  return {id, [=](Peer& peer) {
            peer.Send({{kClose, close_payload}});
            peer.ExpectFailed(code);
          }};
}

std::string Repeated(const std::string& pattern, size_t size) {
  std::string all = pattern;
  while (all.size() < size) all += all;
  all.resize(size);
  return all;
}

void AddAroundTheClose(std::vector<Case>& cases) {
  const Frame hello{kText, "Hello World!"};
  const Frame large{kText, Repeated("BAsd7&jh23", 256 * 1024)};
  cases.push_back({"7.1.1", [=](Peer& peer) {
                     peer.Send({hello});
                     peer.ExpectReceived({hello});
                     peer.CloseCleanly();
                   }});
  cases.push_back(Closes("7.1.2", {kCloseNormal, {kClose}}));
  cases.push_back(Closes("7.1.3", {kCloseNormal, {kPing}}));
  cases.push_back(Closes("7.1.4", {kCloseNormal, hello}));
  cases.push_back(
      Closes("7.1.5", {{kText, "fragment1", false}, kCloseNormal, {kContinuation, "fragment2"}}));
  // The suite takes any answer here. Sluice echoes what came before the close frame.
  cases.push_back(
      Closes("7.1.6", {large, hello, kCloseNormal, {kPing}}, CloseWith(kNormal), {large, hello}));
}

void AddPayloads(std::vector<Case>& cases) {
  cases.push_back(Closes("7.3.1", {{kClose}}, ""));
  cases.push_back(Fails("7.3.2", "a", kProtocolError));
  cases.push_back(Closes("7.3.3", {kCloseNormal}));
  cases.push_back(Closes("7.3.4", {{kClose, CloseWith(kNormal, "Hello World!")}}));
  cases.push_back(Closes("7.3.5", {{kClose, CloseWith(kNormal, std::string(123, '*'))}}));
  cases.push_back(Fails("7.3.6", CloseWith(kNormal, std::string(124, '*')), kProtocolError));
  // The suite would take 1002, too.
  cases.push_back(Fails("7.5.1",
                        CloseWith(kNormal,
                                  "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80"
                                  "edited"),
                        kInvalidPayload));
}

void AddCodes(std::vector<Case>& cases) {
  int number = 0;
  for (const int code :
       {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999})
    cases.push_back(
        Closes(absl::StrCat("7.7.", ++number), {{kClose, CloseWith(code)}}, CloseWith(code)));
  number = 0;
  for (const int code : {0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999})
    cases.push_back(Fails(absl::StrCat("7.9.", ++number), CloseWith(code), kProtocolError));
  // Undefined, so that the suite takes any answer. Sluice knows no such codes.
  cases.push_back(Fails("7.13.1", CloseWith(5000), kProtocolError));
  cases.push_back(Fails("7.13.2", CloseWith(65535), kProtocolError));
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  AddAroundTheClose(cases);
  AddPayloads(cases);
  AddCodes(cases);
  return cases;
}

}  // namespace
}  // namespace sluice::conformance

int main(int argc, char** argv) {
  return sluice::conformance::RunCases(argc, argv, sluice::conformance::Cases());
}
