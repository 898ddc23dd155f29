// ProcessMeter reads what a process, by its number, has used of the processor and of memory: the
// server's, beside a load. It is Linux's /proc, and needs no rights but for another user's process
// where that hides it.
//
// Example:
//   absl::StatusOr<ProcessMeter> meter = ProcessMeter::Attach(pid);
//   const absl::StatusOr<ProcessUsage> before = meter->Read();
//   ...
//   const absl::StatusOr<ProcessUsage> after = meter->ReadExactly();
//   absl::Duration cpu = after->cpu() - before->cpu();
//
// Thread-compatible.
#ifndef SLUICE_TOOLS_PROCESS_METER_H_
#define SLUICE_TOOLS_PROCESS_METER_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace sluice::tools {

struct ProcessUsage {
  absl::Duration user = {};      // processor time of all threads since it began, in the
  absl::Duration system = {};    // system's ticks, most often of 10 ms
  uint64_t anonymous_bytes = 0;  // resident memory that is no file's: heap and stacks; unless read
                                 // exactly, behind by up to 64 pages a thread
  uint64_t peak_bytes = 0;       // the most that was ever resident, with files

  absl::Duration cpu() const { return user + system; }
};

class ProcessMeter {
 public:
  // kNotFound where there is no such process, kPermissionDenied where it may not be looked at,
  // kUnimplemented where the system has no such files.
  static absl::StatusOr<ProcessMeter> Attach(int pid, std::string proc = "/proc");

  // The same errors; kNotFound also when the process has ended and another one has its number.
  absl::StatusOr<ProcessUsage> Read() const;
  // Walks through the page tables of the process, which meanwhile gets no memory: not for a while
  // in which that is measured. No more exact than Read where the process is another user's.
  absl::StatusOr<ProcessUsage> ReadExactly() const;

 private:
  ProcessMeter(int pid, std::string proc) : pid_(pid), proc_(std::move(proc)) {}

  // One of its files, and what an error means.
  absl::StatusOr<std::string> ReadFile(const std::string& name) const;

  int pid_;
  std::string proc_;
  uint64_t start_ = 0;  // the time of its start, in ticks
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_PROCESS_METER_H_
