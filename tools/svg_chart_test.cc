#include "sluice/tools/svg_chart.h"

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice::tools {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string Label(double value) { return absl::StrCat("<", value, ">"); }

SvgChart Chart(std::vector<std::pair<double, double>> points) {
  SvgChart chart = {.id = "c", .title = "A & B", .description = "\"quoted\""};
  chart.x = {.title = "seconds", .label = Label};
  chart.y = {.title = "a second", .label = Label};
  chart.lines.push_back({.name = "first", .points = std::move(points)});
  return chart;
}

size_t CountOf(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++count;
  return count;
}

TEST(EscapeHtmlTest, WhatWouldBeMarkupIsText) {
  EXPECT_EQ(EscapeHtml("a<b>&\"c'"), "a&lt;b&gt;&amp;&quot;c&#39;");
  EXPECT_EQ(EscapeHtml("µ"), "µ");
}

TEST(SvgChartTest, HasATitleAndADescription) {
  const std::string svg = Chart({{0, 1}, {1, 2}}).Render();
  EXPECT_THAT(svg, HasSubstr("role=\"img\" aria-labelledby=\"c-title c-desc\""));
  EXPECT_THAT(svg, HasSubstr("<title id=\"c-title\">A &amp; B</title>"));
  EXPECT_THAT(svg, HasSubstr("<desc id=\"c-desc\">&quot;quoted&quot;</desc>"));
}

TEST(SvgChartTest, LinearAxesBeginAtZeroAndHaveRoundTicks) {
  const std::string svg = Chart({{0, 4800}, {9, 5100}}).Render();
  for (const char* tick : {"0", "1000", "5000", "6000"})
    EXPECT_THAT(svg, HasSubstr(absl::StrCat(">&lt;", tick, "&gt;<")));
  EXPECT_THAT(svg, Not(HasSubstr("&lt;7000&gt;")));
}

TEST(SvgChartTest, LogarithmicAxesHaveTicksAtDecades) {
  SvgChart chart = Chart({{0, 20}, {1, 70'000}});
  chart.y.logarithmic = true;
  const std::string svg = chart.Render();
  for (const char* tick : {"100", "1000", "10000", "100000"})
    EXPECT_THAT(svg, HasSubstr(absl::StrCat(">&lt;", tick, "&gt;<")));
}

TEST(SvgChartTest, ThereAreNeverManyTicks) {
  for (const bool logarithmic : {false, true}) {
    for (const double most : {1e-3, 0.7, 1.0, 3.0, 99.0, 1e5, 7e12}) {
      SvgChart chart = Chart({{0, most / 1e6}, {most, most}});
      chart.y.logarithmic = logarithmic;
      const size_t ticks = CountOf(chart.Render(), "&lt;");
      EXPECT_GE(ticks, 4u) << most;
      EXPECT_LE(ticks, 14u) << most;
    }
  }
}

TEST(SvgChartTest, LabelsDoNotOverlap) {
  SvgChart chart = Chart({{0, 1}, {10, 2}});
  chart.x.label = [](double value) { return std::string(30, static_cast<char>('a' + value)); };
  for (int i = 0; i <= 10; ++i) chart.x.ticks.push_back(i);
  const std::string svg = chart.Render();
  EXPECT_EQ(CountOf(svg, "aaa"), 10u);
  EXPECT_EQ(CountOf(svg, "bbb"), 0u);
}

TEST(SvgChartTest, OneValueIsEnough) {
  for (const bool logarithmic : {false, true}) {
    SvgChart chart = Chart({{1, 5}});
    chart.y.logarithmic = logarithmic;
    const std::string svg = chart.Render();
    EXPECT_THAT(svg, Not(HasSubstr("nan")));
    EXPECT_THAT(svg, Not(HasSubstr("inf")));
  }
  EXPECT_THAT(Chart({{0, 0}}).Render(), Not(HasSubstr("nan")));
}

TEST(SvgChartTest, NothingIsSaid) {
  EXPECT_THAT(Chart({}).Render(), HasSubstr("There is nothing to show."));
}

TEST(SvgChartTest, SeveralLinesHaveALegendAndAreDashedDifferently) {
  SvgChart chart = Chart({{0, 1}, {1, 2}});
  EXPECT_THAT(chart.Render(), Not(HasSubstr("first")));
  chart.lines.push_back({.name = "sec<nd", .points = {{0, 2}, {1, 3}}, .dashed = true});
  const std::string svg = chart.Render();
  EXPECT_THAT(svg, HasSubstr(">first<"));
  EXPECT_THAT(svg, HasSubstr(">sec&lt;nd<"));
  EXPECT_EQ(CountOf(svg, "class=\"line c0\""), 2u);
  EXPECT_EQ(CountOf(svg, "class=\"line c1 dashed\""), 2u);
}

TEST(SvgChartTest, EachBarIsDrawnHoweverSmall) {
  SvgChart chart = Chart({{1, 100}, {10, 0.0001}, {100, 0}, {1000, 1}, {10'000, 0}});
  chart.x.logarithmic = true;
  chart.lines[0].bars = true;
  EXPECT_EQ(CountOf(chart.Render(), "Z"), 3u);
}

}  // namespace
}  // namespace sluice::tools
