// The words of a command line: `sluice COMMAND [--flag=value ...] [ARGUMENT ...]`. Each command
// lists the Abseil flags that it accepts and gets no others. A usage error is answered with what
// would have been accepted, and exit status 2 (Abseil's own parser exits with 1, and takes every
// flag that is linked in); help goes to standard output, with 0.
//
// Example:
//   ABSL_FLAG(bool, loud, false, "shout");
//   Command greet = {.name = "greet",
//                    .summary = "says hello",
//                    .arguments = {"NAME"},
//                    .flags = {"loud"},
//                    .run = [](const Invocation& invocation) { ...; return kSuccess; }};
//   return RunCommandLine("tool", {greet}, argc, argv, stdout, stderr);
//
// Flags are written --name=value or --name value; a bool one --name or --noname too; `--` ends
// them. The last one of a name counts. What a flag is before they are read is its default.
//
// Thread-compatible; flags are the process's.
#ifndef SLUICE_TOOLS_COMMAND_H_
#define SLUICE_TOOLS_COMMAND_H_

#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace sluice::tools {

enum ExitStatus : int {
  kSuccess = 0,
  kFailure = 1,
  kBadUsage = 2,
};

// What a command is run with.
struct Invocation {
  absl::Span<const std::string> arguments;  // as many as the command asked for, or one more
  std::string command;                      // "sluice echo", for messages
  std::FILE* err = stderr;

  // For a command that finds its flags or arguments wrong: reports it as the parser does, and
  // returns kBadUsage.
  int BadUsage(absl::string_view problem) const;
  // Reports a failed run and returns kFailure.
  int Failure(absl::string_view problem) const;
  // Says what the user should know meanwhile.
  void Note(absl::string_view text) const;
};

struct Command {
  std::string name;
  std::string summary;                      // half a line, for the list of commands
  std::string description = {};             // paragraphs, for its own help, a blank line between
  std::vector<std::string> arguments = {};  // what usage calls them; all are required
  std::string optional_argument = {};       // one more, which may be left out; empty for none
  std::vector<std::string> flags = {};      // the names of those that it accepts
  std::function<int(const Invocation&)> run;
};

// Whether the flag, which has to be there, has another value than its default.
bool IsFlagSet(absl::string_view name);

// kInvalidArgument where one of these flags has another value than its default: "--codec means
// nothing with udp://".
absl::Status RefuseFlags(absl::Span<const std::string> names, absl::string_view with);

// Runs the command that `argv` names, or help. Returns the exit status: also kFailure when what was
// written to standard output did not get there.
int RunCommandLine(absl::string_view program, absl::Span<const Command> commands, int argc,
                   const char* const* argv, std::FILE* out, std::FILE* err);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_COMMAND_H_
