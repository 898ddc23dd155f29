#include "sluice/tools/load_course.h"

#include <optional>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/tools/histogram.h"
#include "sluice/tools/load_series.h"

namespace sluice::tools {
namespace {

class LoadCourseTest : public testing::Test {
 protected:
  // One more answer has come.
  void Answer(absl::Duration latency) { latency_.Record(latency); }

  void LookAndShow() {
    course_.Look(absl::ZeroDuration(), [&] { progress_ = course_.TakeProgress(latency_.count()); });
  }
  void LookOnly() {
    course_.Look(absl::InfiniteDuration(), [] { FAIL() << "it is never time to show it"; });
  }

  Histogram latency_;
  int reads_ = 0;
  LoadCourse course_{LoadSeries(std::nullopt, /*over_time=*/false), [this] {
                       ++reads_;
                       return latency_;
                     }};
  LoadCourse::Progress progress_;
};

TEST_F(LoadCourseTest, LatenciesAreReadWhenSomethingIsShownAndAtTheEnd) {
  LookOnly();
  course_.Begin(absl::ZeroDuration());
  for (int i = 0; i < 10; ++i) LookOnly();
  EXPECT_EQ(reads_, 0);
  LookAndShow();
  EXPECT_EQ(reads_, 1);
  Answer(absl::Milliseconds(1));
  course_.End();
  EXPECT_EQ(reads_, 2);
  LookOnly();
  EXPECT_EQ(reads_, 2);
  const LoadSeries series = course_.TakeSeries();
  ASSERT_EQ(series.samples().size(), 1u);
  EXPECT_EQ(series.samples()[0].latency.count(), 1u);
}

TEST_F(LoadCourseTest, EachProgressIsOfTheAnswersSinceTheOneBefore) {
  course_.Begin(absl::ZeroDuration());
  Answer(absl::Milliseconds(1));
  LookAndShow();
  EXPECT_FALSE(progress_.warming_up);
  EXPECT_GT(progress_.per_second, 0);
  EXPECT_NEAR(absl::ToDoubleMilliseconds(progress_.p99), 1, 0.01);
  Answer(absl::Milliseconds(7));
  LookAndShow();
  EXPECT_NEAR(absl::ToDoubleMilliseconds(progress_.p99), 7, 0.1);
  LookAndShow();
  EXPECT_EQ(progress_.p99, absl::ZeroDuration());
}

TEST_F(LoadCourseTest, AnswersAfterTheEndAreShownAndNotInTheSeries) {
  course_.Begin(absl::ZeroDuration());
  course_.End();
  Answer(absl::Milliseconds(3));
  LookAndShow();
  EXPECT_NEAR(absl::ToDoubleMilliseconds(progress_.p99), 3, 0.05);
  const LoadSeries series = course_.TakeSeries();
  ASSERT_EQ(series.samples().size(), 1u);
  EXPECT_EQ(series.samples()[0].latency.count(), 0u);
}

TEST_F(LoadCourseTest, AWarmUpIsNotCounted) {
  LookAndShow();
  EXPECT_FALSE(progress_.warming_up);
  course_.Begin(absl::Hours(1));
  LookAndShow();
  EXPECT_TRUE(progress_.warming_up);
  EXPECT_EQ(progress_.elapsed, absl::ZeroDuration());
  course_.End();
  EXPECT_TRUE(course_.TakeSeries().samples().empty());
}

}  // namespace
}  // namespace sluice::tools
