// The 18 cases that sections 12 and 13 have of each kind.
#ifndef SLUICE_TESTS_CONFORMANCE_COMPRESSION_CASES_H_
#define SLUICE_TESTS_CONFORMANCE_COMPRESSION_CASES_H_

#include <string>
#include <vector>

#include "sluice/tests/conformance/cases.h"
#include "sluice/tests/conformance/peer.h"
#include "sluice/tests/conformance/test_data.h"

namespace sluice::conformance {

// `section` is "12.1". Each is played with sluice's default, where every message is compressed by
// itself, and with contexts on both sides.
void AddCompressionCases(const std::string& section, Kind kind,
                         const std::vector<Deflating::Request>& requests, std::vector<Case>& cases);

}  // namespace sluice::conformance

#endif  // SLUICE_TESTS_CONFORMANCE_COMPRESSION_CASES_H_
