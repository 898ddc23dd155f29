// Sections 1 to 5: framing, pings and pongs, reserved bits, opcodes, fragmentation.

#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sluice/tests/conformance/cases.h"
#include "sluice/tests/conformance/frames.h"
#include "sluice/tests/conformance/peer.h"

namespace sluice::conformance {
namespace {

constexpr int kProtocolError = 1002;

using Play = std::function<void(Peer&)>;
using Frames = std::vector<Frame>;

const std::string kHello = "Hello, world!";
const std::string kNotText("\x00\xff\xfe\xfd\xfc\xfb\x00\xff", 8);
const std::string kReserved = "reserved opcode payload";

// How a case's frames are cut into what arrives at once.
enum class Cut { kNone, kFrames, kOctets };

void SendCut(Peer& peer, const Frames& frames, Cut cut) {
  if (cut == Cut::kOctets) peer.set_chop(1);
  cut == Cut::kFrames ? peer.SendFrameByFrame(frames) : peer.Send(frames);
}

// What is sent is answered with this, and then the suite closes.
Play Answered(Frames sent, Frames answer, Cut cut = Cut::kNone) {
  return [=](Peer& peer) {
    SendCut(peer, sent, cut);
    peer.ExpectReceived(answer);
    peer.CloseCleanly();
  };
}

// What is sent is answered with this, and then the connection fails.
Play Fails(Frames sent, Frames answer = {}, Cut cut = Cut::kNone) {
  return [=](Peer& peer) {
    SendCut(peer, sent, cut);
    peer.ExpectFailed(kProtocolError, answer);
  };
}

// A text message, then something bad, then a ping: the echo comes, and no pong.
Play EchoThenFails(const Frame& bad, Cut cut = Cut::kNone) {
  return Fails({{kText, kHello}, bad, {kPing}}, {{kText, kHello}}, cut);
}

Play EchoOf(int opcode, char octet, size_t size, size_t chop = 0) {
  return [=](Peer& peer) {
    if (chop != 0) peer.set_chop(chop);
    const Frame message{opcode, std::string(size, octet)};
    peer.Send({message});
    peer.ExpectReceived({message});
    peer.CloseCleanly();
  };
}

void AddFraming(std::vector<Case>& cases) {
  for (const bool text : {true, false}) {
    const std::string section = text ? "1.1." : "1.2.";
    const int opcode = text ? kText : kBinary;
    const char octet = text ? '*' : '\xfe';
    int number = 0;
    for (const size_t size : {0, 125, 126, 127, 128, 65535, 65536})
      cases.push_back({absl::StrCat(section, ++number), EchoOf(opcode, octet, size)});
    cases.push_back({absl::StrCat(section, ++number), EchoOf(opcode, octet, 65536, /*chop=*/997)});
  }
}

void AddPings(std::vector<Case>& cases) {
  const auto pong_of = [](const std::string& payload, Cut cut = Cut::kNone) {
    return Answered({{kPing, payload}}, {{kPong, payload}}, cut);
  };
  const Frame unsolicited{kPong, "unsolicited pong payload"};
  Frames pings, pongs;
  for (int i = 0; i < 10; ++i) {
    pings.push_back({kPing, absl::StrCat("payload-", i)});
    pongs.push_back({kPong, absl::StrCat("payload-", i)});
  }
  // In 2.7 and 2.8 the suite does not wait for nothing to come.
  const auto nothing_but_a_close = [](const Frame& pong) {
    return [=](Peer& peer) {
      peer.Send({pong, {kClose, CloseWith(1000)}});
      peer.ExpectClosed(CloseWith(1000));
    };
  };
  cases.push_back({"2.1", pong_of("")});
  cases.push_back({"2.2", pong_of(kHello)});
  cases.push_back({"2.3", pong_of(kNotText)});
  cases.push_back({"2.4", pong_of(std::string(125, '\xfe'))});
  cases.push_back({"2.5", Fails({{kPing, std::string(126, '\xfe')}})});
  cases.push_back({"2.6", pong_of(std::string(125, '\xfe'), Cut::kOctets)});
  cases.push_back({"2.7", nothing_but_a_close({kPong})});
  cases.push_back({"2.8", nothing_but_a_close(unsolicited)});
  cases.push_back(
      {"2.9", Answered({unsolicited, {kPing, "ping payload"}}, {{kPong, "ping payload"}})});
  cases.push_back({"2.10", Answered(pings, pongs)});
  cases.push_back({"2.11", Answered(pings, pongs, Cut::kOctets)});
}

void AddReservedBits(std::vector<Case>& cases) {
  const auto hello = [](int rsv) { return Frame{kText, kHello, /*fin=*/true, rsv}; };
  cases.push_back({"3.1", Fails({hello(1)})});
  cases.push_back({"3.2", EchoThenFails(hello(2))});
  cases.push_back({"3.3", EchoThenFails(hello(3), Cut::kFrames)});
  cases.push_back({"3.4", EchoThenFails(hello(4), Cut::kOctets)});
  cases.push_back({"3.5", Fails({{kBinary, kNotText, true, 5}})});
  // The suite describes a ping, and sends a binary message.
  cases.push_back({"3.6", Fails({{kBinary, kHello, true, 6}})});
  cases.push_back({"3.7", Fails({{kClose, "", true, 7}})});
}

void AddOpcodes(std::vector<Case>& cases) {
  for (const bool control : {false, true}) {
    const std::string section = control ? "4.2." : "4.1.";
    const int first = control ? 11 : 3;
    cases.push_back({absl::StrCat(section, 1), Fails({{first}})});
    cases.push_back({absl::StrCat(section, 2), Fails({{first + 1, kReserved}})});
    cases.push_back({absl::StrCat(section, 3), EchoThenFails({first + 2})});
    cases.push_back({absl::StrCat(section, 4), EchoThenFails({first + 3, kHello})});
    cases.push_back({absl::StrCat(section, 5), EchoThenFails({first + 4, kHello}, Cut::kOctets)});
  }
}

// A ping within a message is answered before the rest of it comes.
Play PingsWithinAMessage(Cut cut) {
  return [=](Peer& peer) {
    const Frame ping1{kPing, "pongme 1!"};
    const Frame ping2{kPing, "pongme 2!"};
    SendCut(peer, {{kText, "fragment1", false}, {kContinuation, "fragment2", false}, ping1}, cut);
    peer.ExpectReceived({{kPong, ping1.payload}});
    SendCut(peer,
            {{kContinuation, "fragment3", false},
             {kContinuation, "fragment4", false},
             ping2,
             {kContinuation, "fragment5"}},
            cut);
    peer.ExpectReceived(
        {{kPong, ping2.payload}, {kText, "fragment1fragment2fragment3fragment4fragment5"}});
    peer.CloseCleanly();
  };
}

void AddFragmentation(std::vector<Case>& cases) {
  const Frame begin{kText, "fragment1", false};
  const Frame end{kContinuation, "fragment2"};
  const Frame whole{kText, "fragment1fragment2"};
  const Frame ping{kPing, "ping payload"};
  const Frame pong{kPong, "ping payload"};
  const Frame hello{kText, kHello};
  const auto nothing_to_continue = [](bool fin) {
    return Frame{kContinuation, "non-continuation payload", fin};
  };
  // Twice: a continuation of nothing, then a message in two fragments.
  const auto twice = [](bool fin) {
    const Frames once = {{kContinuation, "fragment1", fin},
                         {kText, "fragment2", false},
                         {kContinuation, "fragment3"}};
    Frames both = once;
    both.insert(both.end(), once.begin(), once.end());
    return both;
  };
  cases.push_back({"5.1", Fails({{kPing, "fragment1", false}, end})});
  cases.push_back({"5.2", Fails({{kPong, "fragment1", false}, end})});
  cases.push_back({"5.3", Answered({begin, end}, {whole})});
  cases.push_back({"5.4", Answered({begin, end}, {whole}, Cut::kFrames)});
  cases.push_back({"5.5", Answered({begin, end}, {whole}, Cut::kOctets)});
  cases.push_back({"5.6", Answered({begin, ping, end}, {pong, whole})});
  cases.push_back({"5.7", Answered({begin, ping, end}, {pong, whole}, Cut::kFrames)});
  cases.push_back({"5.8", Answered({begin, ping, end}, {pong, whole}, Cut::kOctets)});
  cases.push_back({"5.9", Fails({nothing_to_continue(true), hello})});
  cases.push_back({"5.10", Fails({nothing_to_continue(true), hello}, {}, Cut::kFrames)});
  cases.push_back({"5.11", Fails({nothing_to_continue(true), hello}, {}, Cut::kOctets)});
  cases.push_back({"5.12", Fails({nothing_to_continue(false), hello})});
  cases.push_back({"5.13", Fails({nothing_to_continue(false), hello}, {}, Cut::kFrames)});
  cases.push_back({"5.14", Fails({nothing_to_continue(false), hello}, {}, Cut::kOctets)});
  cases.push_back(
      {"5.15",
       Fails({begin, end, {kContinuation, "fragment3", false}, {kText, "fragment4"}}, {whole})});
  cases.push_back({"5.16", Fails(twice(false))});
  cases.push_back({"5.17", Fails(twice(true))});
  cases.push_back({"5.18", Fails({begin, {kText, "fragment2"}})});
  cases.push_back({"5.19", PingsWithinAMessage(Cut::kNone)});
  cases.push_back({"5.20", PingsWithinAMessage(Cut::kFrames)});
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  AddFraming(cases);
  AddPings(cases);
  AddReservedBits(cases);
  AddOpcodes(cases);
  AddFragmentation(cases);
  return cases;
}

}  // namespace
}  // namespace sluice::conformance

int main(int argc, char** argv) {
  return sluice::conformance::RunCases(argc, argv, sluice::conformance::Cases());
}
