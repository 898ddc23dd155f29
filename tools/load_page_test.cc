#include "sluice/tools/load_page.h"

#include <string>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/tools/histogram.h"
#include "sluice/tools/load_series.h"

namespace sluice::tools {
namespace {

using testing::HasSubstr;
using testing::Not;

class LoadPageTest : public testing::Test {
 protected:
  // Ten messages each second, one of them slow.
  void AddSeconds(int count) {
    series_.Add(absl::ZeroDuration(), latency_);
    for (int i = 1; i <= count; ++i) {
      for (int k = 0; k < 9; ++k) latency_.Record(absl::Microseconds(100));
      latency_.Record(absl::Milliseconds(3));
      series_.Add(i * absl::Seconds(1), latency_);
    }
  }
  std::string Render() { return page_.Render(latency_, series_); }

  Histogram latency_;
  LoadSeries series_;
  LoadPage page_ = {.title = "ws://<x>/", .subtitle = "50 & more", .noun = "messages"};
};

TEST_F(LoadPageTest, HasPicturesAndTables) {
  AddSeconds(10);
  page_.figures.push_back({"messages/s", "10"});
  page_.results.push_back({"messages", "100"});
  page_.configuration.push_back({"connections", "50"});
  const std::string html = Render();
  for (const char* part :
       {"<h1>ws://&lt;x&gt;/</h1>", "50 &amp; more", "<dt>messages/s</dt><dd>10</dd>",
        "Throughput over time", "Latency over time", "Distribution of latencies",
        "Latency by percentile", "<th scope=\"row\">p99.9</th><td class=\"short\">3.00 ms</td>",
        "<th scope=\"row\">connections</th><td class=\"short\">50</td>",
        "prefers-color-scheme: dark"}) {
    EXPECT_THAT(html, HasSubstr(part));
  }
  EXPECT_THAT(html, Not(HasSubstr("<x>")));
  EXPECT_THAT(html, Not(HasSubstr("of the server"))) << "nobody looked";
}

TEST_F(LoadPageTest, AsksForNothingElse) {
  AddSeconds(10);
  const std::string html = Render();
  for (const char* part : {"<script", "http:", "https:", "url(", "@import", "src="})
    EXPECT_THAT(html, Not(HasSubstr(part)));
}

TEST_F(LoadPageTest, WithoutAnswersItHasTheTables) {
  page_.warnings.push_back("errors: connect <7>");
  page_.configuration.push_back({"connections", "50"});
  const std::string html = Render();
  EXPECT_THAT(html, HasSubstr("<p class=\"warning\" role=\"note\">errors: connect &lt;7&gt;</p>"));
  EXPECT_THAT(html, HasSubstr("<td class=\"short\">50</td>"));
  EXPECT_THAT(html, Not(HasSubstr("<svg")));
}

TEST_F(LoadPageTest, OneAnswerIsEnough) {
  latency_.Record(absl::Nanoseconds(0));
  series_.Add(absl::ZeroDuration(), Histogram());
  series_.Add(absl::Seconds(1), latency_);
  const std::string html = Render();
  EXPECT_THAT(html, HasSubstr("Latency by percentile"));
  EXPECT_THAT(html, Not(HasSubstr("nan")));
}

}  // namespace
}  // namespace sluice::tools
