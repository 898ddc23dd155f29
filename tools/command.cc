#include "sluice/tools/command.h"

#include <algorithm>
#include <utility>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/reflection.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "sluice/tools/wrap.h"

namespace sluice::tools {
namespace {

void Print(std::FILE* file, absl::string_view text) {
  std::fwrite(text.data(), 1, text.size(), file);
}

bool IsHelp(absl::string_view word) { return word == "--help" || word == "-help" || word == "-h"; }

bool IsBool(const absl::CommandLineFlag& flag) { return flag.IsOfType<bool>(); }

std::string FlagList(const Command& command) {
  if (command.flags.empty()) return "It accepts no flags.";
  return absl::StrCat("It accepts --", absl::StrJoin(command.flags, ", --"), ".");
}

std::string Usage(absl::string_view program, const Command& command) {
  std::string usage = absl::StrCat(program, " ", command.name);
  for (const std::string& argument : command.arguments) absl::StrAppend(&usage, " ", argument);
  if (!command.optional_argument.empty())
    absl::StrAppend(&usage, " [", command.optional_argument, "]");
  if (!command.flags.empty()) absl::StrAppend(&usage, " [--flag=value ...]");
  return usage;
}

void PrintRows(std::FILE* out, absl::Span<const std::pair<std::string, std::string>> rows) {
  size_t width = 0;
  for (const auto& row : rows) width = std::max(width, row.first.size());
  for (const auto& [name, text] : rows) {
    Print(out, absl::StrCat("  ", name, std::string(width - name.size() + 2, ' '),
                            Wrap(text, kHelpColumns - width - 4, width + 4), "\n"));
  }
}

void PrintHelp(absl::string_view program, absl::Span<const Command> commands, std::FILE* out) {
  Print(out, absl::StrCat("Usage: ", program, " COMMAND [ARGUMENT] [--flag=value ...]\n\n"));
  std::vector<std::pair<std::string, std::string>> rows;
  for (const Command& command : commands) rows.emplace_back(command.name, command.summary);
  rows.emplace_back("help", "prints this, and `help COMMAND` all about one");
  PrintRows(out, rows);
}

void PrintHelpOf(absl::string_view program, const Command& command, std::FILE* out) {
  Print(out, absl::StrCat("Usage: ", Usage(program, command), "\n\n", command.name, " ",
                          command.summary, ".\n"));
  for (absl::string_view paragraph :
       absl::StrSplit(command.description, "\n\n", absl::SkipEmpty())) {
    Print(out, absl::StrCat("\n", Wrap(paragraph, kHelpColumns, 0), "\n"));
  }
  if (command.flags.empty()) return;
  std::vector<std::pair<std::string, std::string>> rows;
  for (const std::string& name : command.flags) {
    const absl::CommandLineFlag* flag = absl::FindCommandLineFlag(name);
    const std::string value = flag->CurrentValue();
    std::string shown = absl::StrCat("--", name);
    if (!IsBool(*flag)) {
      absl::StrAppend(&shown, "=", value);
    } else if (value == "true") {
      shown = absl::StrCat("--no", name);
    }
    rows.emplace_back(shown, flag->Help());
  }
  Print(out, "\nFlags and their defaults:\n");
  PrintRows(out, rows);
}

// Reads one flag, of which `words` begins with the first word, and sets it. Returns how many words
// it took.
absl::StatusOr<size_t> ParseFlag(const Command& command, absl::Span<const char* const> words) {
  absl::string_view word = words[0];
  if (!absl::ConsumePrefix(&word, "--")) absl::ConsumePrefix(&word, "-");
  const size_t equals = word.find('=');
  absl::string_view name = word.substr(0, equals);
  const auto accepts = [&](absl::string_view wanted) {
    return std::find(command.flags.begin(), command.flags.end(), wanted) != command.flags.end();
  };

  bool negated = false;
  if (!accepts(name) && equals == absl::string_view::npos && absl::StartsWith(name, "no") &&
      accepts(name.substr(2))) {
    negated = true;
    name.remove_prefix(2);
  }
  absl::CommandLineFlag* flag = accepts(name) ? absl::FindCommandLineFlag(name) : nullptr;
  if (flag == nullptr || (negated && !IsBool(*flag))) {
    return absl::InvalidArgumentError(
        absl::StrCat("unknown flag ", words[0], "\n", FlagList(command)));
  }

  size_t taken = 1;
  absl::string_view value;
  if (equals != absl::string_view::npos) {
    value = word.substr(equals + 1);
  } else if (IsBool(*flag)) {
    value = negated ? "false" : "true";
  } else if (words.size() > 1) {
    value = words[1];
    taken = 2;
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("--", name, " needs a value: --", name, "=", flag->DefaultValue()));
  }
  std::string error;
  if (!flag->ParseFrom(value, &error)) {
    // Abseil puts a frame of its own around what a type's AbslParseFlag has to say.
    absl::string_view accepted = error;
    absl::ConsumePrefix(
        &accepted, absl::StrCat("Illegal value '", value, "' specified for flag '", name, "'"));
    absl::ConsumePrefix(&accepted, "; ");
    if (accepted.empty())
      accepted = IsBool(*flag) ? "takes true or false" : "does not take this value";
    return absl::InvalidArgumentError(
        absl::StrCat("--", name, "=", value, ": --", name, " ", accepted));
  }
  return taken;
}

// Sets the flags among `words` and returns the other words.
absl::StatusOr<std::vector<std::string>> ParseWords(const Command& command,
                                                    absl::Span<const char* const> words) {
  std::vector<std::string> arguments;
  bool flags_ended = false;
  while (!words.empty()) {
    const absl::string_view word = words[0];
    size_t taken = 1;
    if (!flags_ended && word == "--") {
      flags_ended = true;
    } else if (!flags_ended && word.size() > 1 && word[0] == '-') {
      absl::StatusOr<size_t> parsed = ParseFlag(command, words);
      if (!parsed.ok()) return parsed.status();
      taken = *parsed;
    } else {
      arguments.emplace_back(word);
    }
    words.remove_prefix(taken);
  }
  const size_t most = command.arguments.size() + (command.optional_argument.empty() ? 0 : 1);
  if (arguments.size() > most)
    return absl::InvalidArgumentError(absl::StrCat("unexpected argument ", arguments[most]));
  if (arguments.size() < command.arguments.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(command.arguments[arguments.size()], " is missing"));
  }
  return arguments;
}

const Command* Find(absl::Span<const Command> commands, absl::string_view name) {
  for (const Command& command : commands) {
    if (command.name == name) return &command;
  }
  return nullptr;
}

int UnknownCommand(absl::string_view program, absl::Span<const Command> commands,
                   absl::string_view name, std::FILE* err) {
  std::vector<std::string> names;
  for (const Command& command : commands) names.push_back(command.name);
  Print(err, absl::StrCat(program, ": there is no command ", name, "\nThere are ",
                          absl::StrJoin(names, ", "), " and help.\n"));
  return kBadUsage;
}

// What the words say, but for the state of the output.
int Dispatch(absl::string_view program, absl::Span<const Command> commands,
             absl::Span<const char* const> words, std::FILE* out, std::FILE* err) {
  if (words.empty()) {
    PrintHelp(program, commands, err);
    return kBadUsage;
  }
  if (IsHelp(words[0]) || (absl::string_view(words[0]) == "help" && words.size() == 1)) {
    PrintHelp(program, commands, out);
    return kSuccess;
  }
  const bool asks_help = absl::string_view(words[0]) == "help";
  if (asks_help) words.remove_prefix(1);
  const Command* command = Find(commands, words[0]);
  if (command == nullptr) return UnknownCommand(program, commands, words[0], err);
  words.remove_prefix(1);
  const auto flags_end = std::find(words.begin(), words.end(), absl::string_view("--"));
  if (asks_help || std::any_of(words.begin(), flags_end, IsHelp)) {
    PrintHelpOf(program, *command, out);
    return kSuccess;
  }

  Invocation invocation;
  invocation.err = err;
  invocation.command = absl::StrCat(program, " ", command->name);
  absl::StatusOr<std::vector<std::string>> arguments = ParseWords(*command, words);
  if (!arguments.ok()) {
    Print(err, absl::StrCat(invocation.command, ": ", arguments.status().message(),
                            "\nUsage: ", Usage(program, *command), "\nMore: ", program, " help ",
                            command->name, "\n"));
    return kBadUsage;
  }
  invocation.arguments = *arguments;
  return command->run(invocation);
}

}  // namespace

int Invocation::BadUsage(absl::string_view problem) const {
  Print(err, absl::StrCat(command, ": ", problem, "\n"));
  return kBadUsage;
}

int Invocation::Failure(absl::string_view problem) const {
  Print(err, absl::StrCat(command, ": ", problem, "\n"));
  return kFailure;
}

void Invocation::Note(absl::string_view text) const {
  Print(err, absl::StrCat(command, ": ", text, "\n"));
}

bool IsFlagSet(absl::string_view name) {
  const absl::CommandLineFlag* const flag = absl::FindCommandLineFlag(name);
  return flag->CurrentValue() != flag->DefaultValue();
}

absl::Status RefuseFlags(absl::Span<const std::string> names, absl::string_view with) {
  for (const std::string& name : names) {
    if (IsFlagSet(name))
      return absl::InvalidArgumentError(absl::StrCat("--", name, " means nothing with ", with));
  }
  return absl::OkStatus();
}

int RunCommandLine(absl::string_view program, absl::Span<const Command> commands, int argc,
                   const char* const* argv, std::FILE* out, std::FILE* err) {
  const int status = Dispatch(
      program, commands, absl::MakeConstSpan(argv, static_cast<size_t>(argc)).subspan(1), out, err);
  if (std::fflush(out) == 0 && std::ferror(out) == 0) return status;
  Print(err, absl::StrCat(program, ": cannot write to standard output\n"));
  return status == kSuccess ? kFailure : status;
}

}  // namespace sluice::tools
