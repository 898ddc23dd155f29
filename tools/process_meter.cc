#include "sluice/tools/process_meter.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace sluice::tools {
namespace {

struct Stat {
  uint64_t user = 0;
  uint64_t system = 0;
  uint64_t start = 0;
};

// proc(5). The second field is the program's name in parentheses, which may have any in it.
std::optional<Stat> ParseStat(absl::string_view text) {
  const size_t name_end = text.rfind(')');
  if (name_end == absl::string_view::npos) return std::nullopt;
  const std::vector<absl::string_view> fields =
      absl::StrSplit(text.substr(name_end + 1), absl::ByAnyChar(" \n"), absl::SkipEmpty());
  constexpr size_t kFirst = 3;  // the number of the first that is left
  Stat stat;
  if (fields.size() <= 22 - kFirst || !absl::SimpleAtoi(fields[14 - kFirst], &stat.user) ||
      !absl::SimpleAtoi(fields[15 - kFirst], &stat.system) ||
      !absl::SimpleAtoi(fields[22 - kFirst], &stat.start)) {
    return std::nullopt;
  }
  return stat;
}

// "VmHWM:      1234 kB", in bytes.
std::optional<uint64_t> FindKilobytes(absl::string_view text, absl::string_view name) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (!absl::ConsumePrefix(&line, name) || !absl::ConsumePrefix(&line, ":")) continue;
    uint64_t kilobytes = 0;
    if (!absl::ConsumeSuffix(&line, "kB") ||
        !absl::SimpleAtoi(absl::StripAsciiWhitespace(line), &kilobytes)) {
      return std::nullopt;
    }
    return kilobytes * 1024;
  }
  return std::nullopt;
}

absl::Duration Ticks(uint64_t ticks) {
  return absl::Seconds(1) * static_cast<int64_t>(ticks) /
         static_cast<int64_t>(sysconf(_SC_CLK_TCK));
}

}  // namespace

absl::StatusOr<ProcessMeter> ProcessMeter::Attach(int pid, std::string proc) {
  if (access(absl::StrCat(proc, "/self/stat").c_str(), R_OK) != 0) {
    return absl::UnimplementedError(
        absl::StrCat("what a process uses is read from ", proc, ", which only Linux has"));
  }
  ProcessMeter meter(pid, std::move(proc));
  const absl::StatusOr<std::string> text = meter.ReadFile("stat");
  if (!text.ok()) return text.status();
  meter.start_ = ParseStat(*text).value_or(Stat()).start;
  const absl::StatusOr<ProcessUsage> usage = meter.Read();
  if (!usage.ok()) return usage.status();
  return meter;
}

absl::StatusOr<ProcessUsage> ProcessMeter::Read() const {
  const absl::StatusOr<std::string> stat_text = ReadFile("stat");
  if (!stat_text.ok()) return stat_text.status();
  const absl::StatusOr<std::string> status = ReadFile("status");
  if (!status.ok()) return status.status();
  const std::optional<Stat> stat = ParseStat(*stat_text);
  const std::optional<uint64_t> peak = FindKilobytes(*status, "VmHWM");
  const std::optional<uint64_t> anonymous = FindKilobytes(*status, "RssAnon");
  if (!stat.has_value() || !peak.has_value() || !anonymous.has_value()) {
    return absl::NotFoundError(absl::StrCat(
        "process ", pid_, " has no memory of its own: it has ended, or is a thread of the kernel"));
  }
  if (stat->start != start_) {
    return absl::NotFoundError(
        absl::StrCat("process ", pid_, " has ended, and another one has its number"));
  }
  return ProcessUsage{.user = Ticks(stat->user),
                      .system = Ticks(stat->system),
                      .anonymous_bytes = *anonymous,
                      .peak_bytes = *peak};
}

absl::StatusOr<ProcessUsage> ProcessMeter::ReadExactly() const {
  absl::StatusOr<ProcessUsage> usage = Read();
  if (!usage.ok()) return usage;
  const absl::StatusOr<std::string> rollup = ReadFile("smaps_rollup");
  if (!rollup.ok()) return usage;
  usage->anonymous_bytes = FindKilobytes(*rollup, "Anonymous").value_or(usage->anonymous_bytes);
  return usage;
}

absl::StatusOr<std::string> ProcessMeter::ReadFile(const std::string& name) const {
  const std::string path = absl::StrCat(proc_, "/", pid_, "/", name);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  int error = fd < 0 ? errno : 0;
  std::string text;
  char piece[4096];
  ssize_t length = 0;
  while (error == 0 && (length = read(fd, piece, sizeof(piece))) != 0) {
    if (length > 0) text.append(piece, static_cast<size_t>(length));
    if (length < 0 && errno != EINTR) error = errno;
  }
  if (fd >= 0) close(fd);
  switch (error) {
    case 0:
      return text;
    case ENOENT:
    case ESRCH:
      return absl::NotFoundError(absl::StrCat("there is no process ", pid_));
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(
          absl::StrCat("this user may not look at process ", pid_, " (", path, ")"));
    default:
      return absl::ErrnoToStatus(error, absl::StrCat("cannot read ", path));
  }
}

}  // namespace sluice::tools
