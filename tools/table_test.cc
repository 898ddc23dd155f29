#include "sluice/tools/table.h"

#include "gtest/gtest.h"

namespace sluice::tools {
namespace {

TEST(TableTest, LinesUpColumns) {
  Table table({"latency", "p50", "p99"});
  table.AddRow({"echo", "12.3 us", "1.00 ms"});
  table.AddRow({"x", "900 ns"});
  EXPECT_EQ(table.Render({}),
            "latency      p50      p99\n"
            "-------------------------\n"
            "echo     12.3 us  1.00 ms\n"
            "x         900 ns\n");
}

TEST(TableTest, CountsCharactersNotBytes) {
  Table table({"a", "b"});
  table.AddRow({"", "12 µs"});
  table.AddRow({"", "120 ns"});
  EXPECT_EQ(table.Render({.unicode = true}),
            "a       b\n"
            "─────────\n"
            "    12 µs\n"
            "   120 ns\n");
}

}  // namespace
}  // namespace sluice::tools
