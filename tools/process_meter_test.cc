#include "sluice/tools/process_meter.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice::tools {
namespace {

using testing::HasSubstr;

// A folder with what the kernel would tell of process 42.
class ProcessMeterTest : public testing::Test {
 protected:
  ProcessMeterTest() {
    const auto* const test = testing::UnitTest::GetInstance()->current_test_info();
    proc_ = absl::StrCat(testing::TempDir(), "/proc_", test->name());
    for (const char* folder : {"", "/self", "/42"}) mkdir((proc_ + folder).c_str(), 0700);
    Write("self/stat", "");
    WriteStat("server", 150, 50, 7000);
    Write("42/status", "Name:\tserver\nVmHWM:\t    3000 kB\nRssAnon:\t    1000 kB\n");
    Write("42/smaps_rollup", "Rss:    2000 kB\nAnonymous:          1004 kB\n");
  }

  void Write(absl::string_view name, absl::string_view text) {
    std::FILE* const file = std::fopen(absl::StrCat(proc_, "/", name).c_str(), "w");
    ASSERT_NE(file, nullptr);
    std::fwrite(text.data(), 1, text.size(), file);
    std::fclose(file);
  }
  void WriteStat(absl::string_view name, int user, int system, int start) {
    Write("42/stat",
          absl::StrCat("42 (", name, ") S 1 42 42 0 -1 4194560 9 8 7 6 ", user, " ", system,
                       " 3 2 20 0 1 0 ", start, " 12345 678 18446744073709551615\n"));
  }
  void Remove(absl::string_view name) { unlink(absl::StrCat(proc_, "/", name).c_str()); }

  std::string proc_;
};

TEST_F(ProcessMeterTest, ReadsProcessorTimeAndMemory) {
  const absl::StatusOr<ProcessMeter> meter = ProcessMeter::Attach(42, proc_);
  ASSERT_TRUE(meter.ok()) << meter.status();
  const absl::StatusOr<ProcessUsage> usage = meter->Read();
  ASSERT_TRUE(usage.ok()) << usage.status();
  const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  EXPECT_EQ(usage->user, absl::Seconds(150 / ticks));
  EXPECT_EQ(usage->system, absl::Seconds(50 / ticks));
  EXPECT_EQ(usage->cpu(), absl::Seconds(200 / ticks));
  EXPECT_EQ(usage->anonymous_bytes, 1004u * 1024);
  EXPECT_EQ(usage->peak_bytes, 3000u * 1024);
}

TEST_F(ProcessMeterTest, TheProgramsNameMayBeAnything) {
  WriteStat("a) S 9 (b c) ", 150, 50, 7000);
  const absl::StatusOr<ProcessMeter> meter = ProcessMeter::Attach(42, proc_);
  ASSERT_TRUE(meter.ok()) << meter.status();
  EXPECT_EQ(meter->Read()->cpu(), absl::Seconds(200.0 / static_cast<double>(sysconf(_SC_CLK_TCK))));
}

TEST_F(ProcessMeterTest, WhatIsLessExactIsTakenWhereTheRestMayNotBeRead) {
  Remove("42/smaps_rollup");
  EXPECT_EQ(ProcessMeter::Attach(42, proc_)->Read()->anonymous_bytes, 1000u * 1024);
}

TEST_F(ProcessMeterTest, AProcessThatIsNotThereIsNamed) {
  const absl::Status status = ProcessMeter::Attach(43, proc_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("there is no process 43"));
}

TEST_F(ProcessMeterTest, AThreadOfTheKernelAndOneThatHasEndedHaveNoMemory) {
  Write("42/status", "Name:\tkthreadd\n");
  const absl::Status status = ProcessMeter::Attach(42, proc_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("process 42 has no memory of its own"));
}

TEST_F(ProcessMeterTest, AnotherProcessWithItsNumberIsNotTakenForIt) {
  const absl::StatusOr<ProcessMeter> meter = ProcessMeter::Attach(42, proc_);
  WriteStat("other", 1, 1, 7001);
  EXPECT_THAT(std::string(meter->Read().status().message()),
              HasSubstr("another one has its number"));
}

TEST_F(ProcessMeterTest, WithoutThoseFilesItSaysWhatHasThem) {
  const absl::Status status = ProcessMeter::Attach(42, proc_ + "/none").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(status.message()), HasSubstr("which only Linux has"));
}

TEST(ProcessMeterHereTest, ReadsThisProcess) {
  const absl::StatusOr<ProcessMeter> meter = ProcessMeter::Attach(getpid());
  ASSERT_TRUE(meter.ok()) << meter.status();
  const absl::StatusOr<ProcessUsage> usage = meter->Read();
  ASSERT_TRUE(usage.ok()) << usage.status();
  EXPECT_GT(usage->anonymous_bytes, 0u);
  EXPECT_GE(usage->peak_bytes, usage->anonymous_bytes);
}

}  // namespace
}  // namespace sluice::tools
