#include "sluice/tools/process_meter.h"

#include <unistd.h>

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/tools/fake_proc.h"

namespace sluice::tools {
namespace {

using testing::HasSubstr;

class ProcessMeterTest : public testing::Test {
 protected:
  FakeProc proc_;
};

TEST_F(ProcessMeterTest, ReadsProcessorTimeAndMemory) {
  const absl::StatusOr<ProcessMeter> meter = ProcessMeter::Attach(FakeProc::kPid, proc_.path());
  ASSERT_TRUE(meter.ok()) << meter.status();
  const absl::StatusOr<ProcessUsage> usage = meter->Read();
  ASSERT_TRUE(usage.ok()) << usage.status();
  const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  EXPECT_EQ(usage->user, absl::Seconds(150 / ticks));
  EXPECT_EQ(usage->system, absl::Seconds(50 / ticks));
  EXPECT_EQ(usage->cpu(), absl::Seconds(200 / ticks));
  EXPECT_EQ(usage->anonymous_bytes, 1000u * 1024);
  EXPECT_EQ(usage->peak_bytes, 3000u * 1024);
  EXPECT_EQ(meter->ReadExactly()->anonymous_bytes, 1004u * 1024);
  EXPECT_EQ(meter->ReadExactly()->cpu(), usage->cpu());
}

TEST_F(ProcessMeterTest, TheProgramsNameMayBeAnything) {
  proc_.WriteStat({.name = "a) S 9 (b c) "});
  const absl::StatusOr<ProcessMeter> meter = ProcessMeter::Attach(FakeProc::kPid, proc_.path());
  ASSERT_TRUE(meter.ok()) << meter.status();
  EXPECT_EQ(meter->Read()->cpu(), absl::Seconds(200.0 / static_cast<double>(sysconf(_SC_CLK_TCK))));
}

TEST_F(ProcessMeterTest, WhatIsLessExactIsTakenWhereTheRestMayNotBeRead) {
  proc_.Remove("smaps_rollup");
  const absl::StatusOr<ProcessMeter> meter = ProcessMeter::Attach(FakeProc::kPid, proc_.path());
  ASSERT_TRUE(meter.ok()) << meter.status();
  EXPECT_EQ(meter->ReadExactly()->anonymous_bytes, 1000u * 1024);
}

TEST_F(ProcessMeterTest, AProcessThatIsNotThereIsNamed) {
  const absl::Status status = ProcessMeter::Attach(43, proc_.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("there is no process 43"));
}

TEST_F(ProcessMeterTest, AThreadOfTheKernelAndOneThatHasEndedHaveNoMemory) {
  proc_.Write("status", "Name:\tkthreadd\n");
  const absl::Status status = ProcessMeter::Attach(FakeProc::kPid, proc_.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("process 42 has no memory of its own"));
}

TEST_F(ProcessMeterTest, AnotherProcessWithItsNumberIsNotTakenForIt) {
  const absl::StatusOr<ProcessMeter> meter = ProcessMeter::Attach(FakeProc::kPid, proc_.path());
  proc_.WriteStat({.name = "other", .start = 7001});
  EXPECT_THAT(std::string(meter->Read().status().message()),
              HasSubstr("another one has its number"));
}

TEST_F(ProcessMeterTest, WithoutThoseFilesItSaysWhatHasThem) {
  const absl::Status status = ProcessMeter::Attach(FakeProc::kPid, proc_.path() + "/none").status();
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
