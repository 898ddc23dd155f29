// Section 13: compressed messages after all sorts of offers and answers.

#include <vector>

#include "sluice/tests/conformance/cases.h"
#include "sluice/tests/conformance/compression_cases.h"
#include "sluice/tests/conformance/test_data.h"

int main(int argc, char** argv) {
  using namespace sluice::conformance;
  std::vector<Case> cases;
  AddCompressionCases("13.1", Kind::kJson, {{false, 0}}, cases);
  AddCompressionCases("13.2", Kind::kJson, {{true, 0}}, cases);
  AddCompressionCases("13.3", Kind::kJson, {{false, 9}}, cases);
  AddCompressionCases("13.4", Kind::kJson, {{false, 15}}, cases);
  AddCompressionCases("13.5", Kind::kJson, {{true, 9}}, cases);
  AddCompressionCases("13.6", Kind::kJson, {{true, 15}}, cases);
  AddCompressionCases("13.7", Kind::kJson, {{true, 9}, {true, 0}, {false, 0}}, cases);
  return RunCases(argc, argv, cases);
}
