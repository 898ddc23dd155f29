#include "sluice/tests/conformance/cases.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"

namespace sluice::conformance {
namespace {

class CaseTest : public testing::Test {
 public:
  CaseTest(const Case& played, Role sluice) : case_(played), sluice_(sluice) {}

  void TestBody() override {
    if (case_.deflating.empty()) Play(nullptr);
    for (const Deflating& deflating : case_.deflating) Play(&deflating);
  }

 private:
  void Play(const Deflating* deflating) {
    SCOPED_TRACE(deflating == nullptr
                     ? ""
                     : absl::StrCat("with setting ", deflating - case_.deflating.data()));
    Peer peer(sluice_, deflating);
    if (!HasFailure()) case_.play(peer);
  }

  const Case& case_;
  const Role sluice_;
};

void Register(const Case& played, Role sluice) {
  const std::string suite = absl::StrCat("Case_", absl::StrReplaceAll(played.id, {{".", "_"}}));
  testing::RegisterTest(
      suite.c_str(), sluice == Role::kServer ? "AsServer" : "AsClient", nullptr, nullptr, __FILE__,
      __LINE__, [&played, sluice]() -> testing::Test* { return new CaseTest(played, sluice); });
}

}  // namespace

int RunCases(int argc, char** argv, const std::vector<Case>& cases) {
  testing::InitGoogleTest(&argc, argv);
  for (const Case& played : cases) {
    Register(played, Role::kServer);
    Register(played, Role::kClient);
  }
  return RUN_ALL_TESTS();
}

}  // namespace sluice::conformance
