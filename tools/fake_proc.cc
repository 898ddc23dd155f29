#include "sluice/tools/fake_proc.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace sluice::tools {

FakeProc::FakeProc()
    : path_(absl::StrCat(testing::TempDir(), "/proc_",
                         testing::UnitTest::GetInstance()->current_test_info()->name())) {
  for (const std::string& folder : {path_, path_ + "/self", absl::StrCat(path_, "/", kPid)})
    mkdir(folder.c_str(), 0700);
  Write("../self/stat", "");
  WriteStat({});
  Write("status", "Name:\tserver\nVmHWM:\t    3000 kB\nRssAnon:\t    1000 kB\n");
  Write("smaps_rollup", "Rss:    2000 kB\nAnonymous:          1004 kB\n");
}

void FakeProc::Write(absl::string_view name, absl::string_view text) {
  std::FILE* const file = std::fopen(PathOf(name).c_str(), "w");
  ASSERT_NE(file, nullptr) << PathOf(name);
  std::fwrite(text.data(), 1, text.size(), file);
  std::fclose(file);
}

void FakeProc::WriteStat(const Stat& stat) {
  Write("stat", absl::StrCat(kPid, " (", stat.name, ") S 1 42 42 0 -1 4194560 9 8 7 6 ", stat.user,
                             " ", stat.system, " 3 2 20 0 1 0 ", stat.start,
                             " 12345 678 18446744073709551615\n"));
}

void FakeProc::Remove(absl::string_view name) { unlink(PathOf(name).c_str()); }

std::string FakeProc::PathOf(absl::string_view name) const {
  return absl::StrCat(path_, "/", kPid, "/", name);
}

}  // namespace sluice::tools
