// A conformance case, and the main function of a test of cases: each is two tests,
// Case_6_4_2.AsServer and .AsClient, which are the roles of the code under test.
//
// Example:
//   int main(int argc, char** argv) {
//     return RunCases(argc, argv, {{"1.1.1", [](Peer& peer) { ... }}});
//   }
#ifndef SLUICE_TESTS_CONFORMANCE_CASES_H_
#define SLUICE_TESTS_CONFORMANCE_CASES_H_

#include <functional>
#include <string>
#include <vector>

#include "sluice/tests/conformance/peer.h"

namespace sluice::conformance {

struct Case {
  std::string id;
  std::function<void(Peer&)> play;
  // Each case is played once for each of them; none: without compression.
  std::vector<Deflating> deflating = {};
};

int RunCases(int argc, char** argv, const std::vector<Case>& cases);

}  // namespace sluice::conformance

#endif  // SLUICE_TESTS_CONFORMANCE_CASES_H_
