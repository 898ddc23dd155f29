// Section 12: compressed messages of many sizes and five kinds.

#include <vector>

#include "sluice/tests/conformance/cases.h"
#include "sluice/tests/conformance/compression_cases.h"
#include "sluice/tests/conformance/test_data.h"

int main(int argc, char** argv) {
  using namespace sluice::conformance;
  std::vector<Case> cases;
  AddCompressionCases("12.1", Kind::kJson, {{}}, cases);
  AddCompressionCases("12.2", Kind::kBitmap, {{}}, cases);
  AddCompressionCases("12.3", Kind::kBook, {{}}, cases);
  AddCompressionCases("12.4", Kind::kHtml, {{}}, cases);
  AddCompressionCases("12.5", Kind::kPdf, {{}}, cases);
  return RunCases(argc, argv, cases);
}
