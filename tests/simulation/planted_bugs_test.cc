// Each invariant of exploration.h is broken on purpose once, and found out.
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/tests/simulation/exploration.h"

namespace sluice::exploration {
namespace {

using testing::AnyOf;
using testing::ContainsRegex;
using testing::HasSubstr;

// The report of a server with that bug. Few seeds are enough.
std::string ReportOf(Bug bug) {
  Totals totals;
  return Explore({.protocol = ProtocolKind::kRaw, .bug = bug}, 1, 40, totals).value_or("");
}

TEST(PlantedBugsTest, ASoundServerPasses) {
  Totals totals;
  EXPECT_EQ(Explore({}, 1, 40, totals), std::nullopt);
  EXPECT_GT(totals.messages, 0u);
  EXPECT_GT(totals.broken, 0u);
}

TEST(PlantedBugsTest, TheTroubleIsThere) {
  std::string traces;
  for (uint64_t seed = 1; seed <= 40; ++seed) absl::StrAppend(&traces, TraceOf({}, seed));
  for (const char* event :
       {"loses a segment", "is reset by the network", "is refused", "are parted", "stalls", "sheds",
        "server dies", "server is gone", "client0 dies", "client0 is gone"}) {
    EXPECT_THAT(traces, HasSubstr(event));
  }
}

TEST(PlantedBugsTest, ALostWakeUpIsFound) {
  // What waits for ever is a client, or the server for the end of one that has got all.
  EXPECT_THAT(ReportOf(Bug::kLostWakeUp),
              AnyOf(HasSubstr("a client is not done"), HasSubstr("server's is not closed")));
}

TEST(PlantedBugsTest, ADoubleCloseIsFound) {
  EXPECT_THAT(ReportOf(Bug::kDoubleClose), HasSubstr("closed twice"));
}

TEST(PlantedBugsTest, ACallbackAfterTheCloseIsFound) {
  EXPECT_THAT(ReportOf(Bug::kCallbackAfterClose), HasSubstr("a timer after the close"));
}

TEST(PlantedBugsTest, ALeakedSliceIsFound) {
  EXPECT_THAT(ReportOf(Bug::kLeakedSlice), HasSubstr("allocations are left"));
}

TEST(PlantedBugsTest, AForgottenTimerIsFound) {
  EXPECT_THAT(ReportOf(Bug::kForgottenTimer), HasSubstr("server: a timer is left"));
}

TEST(PlantedBugsTest, AReportHasTheFlagsThatRunTheSeedAndATrace) {
  const std::string report = ReportOf(Bug::kDoubleClose);
  EXPECT_THAT(report, ContainsRegex("^FAILED: --protocol=raw --first_seed=[0-9]+ --seeds=1 "
                                    "--fresh_seeds=0\n"));
  EXPECT_THAT(report, HasSubstr("#1> is connected"));
  EXPECT_EQ(report, ReportOf(Bug::kDoubleClose)) << "a seed is a run";
}

}  // namespace
}  // namespace sluice::exploration
