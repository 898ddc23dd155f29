#include "sluice/tools/command.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/reflection.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/tools/flag_types.h"

using Times = sluice::tools::WholeNumber<1, 10>;
ABSL_FLAG(bool, loud, false, "shout");
ABSL_FLAG(bool, polite, true, "do not be polite");
ABSL_FLAG(Times, times, Times(1), "how many times");
ABSL_FLAG(std::string, greeting, "hello", "what to say");

namespace sluice::tools {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

// A FILE whose contents can be read.
class Capture {
 public:
  Capture() : file_(open_memstream(&text_, &size_)) {}
  ~Capture() {
    std::fclose(file_);
    std::free(text_);
  }
  std::FILE* file() { return file_; }
  std::string text() {
    std::fflush(file_);
    return std::string(text_, size_);
  }

 private:
  char* text_ = nullptr;
  size_t size_ = 0;
  std::FILE* file_;
};

// Runs a command line of two commands. What `greet` saw is `seen`, as one line.
class CommandTest : public testing::Test {
 protected:
  int Run(std::vector<const char*> words) {
    absl::FlagSaver saver;
    seen = "nothing";
    words.insert(words.begin(), "tool");
    const Command greet = {.name = "greet",
                           .summary = "says hello",
                           .description = "A whole paragraph.",
                           .arguments = {"NAME"},
                           .flags = {"loud", "polite", "times", "greeting"},
                           .run = [this](const Invocation& invocation) {
                             seen = absl::StrCat(absl::GetFlag(FLAGS_greeting), " ",
                                                 invocation.arguments[0], " x",
                                                 absl::GetFlag(FLAGS_times).value(),
                                                 absl::GetFlag(FLAGS_loud) ? " loud" : "",
                                                 absl::GetFlag(FLAGS_polite) ? " polite" : "");
                             return static_cast<int>(kSuccess);
                           }};
    const Command fail = {.name = "fail",
                          .summary = "fails",
                          .optional_argument = "REASON",
                          .run = [](const Invocation& invocation) {
                            return invocation.Failure(invocation.arguments.empty()
                                                          ? "as it should"
                                                          : invocation.arguments[0]);
                          }};
    Capture out_file, err_file;
    const int status = RunCommandLine("tool", {greet, fail}, static_cast<int>(words.size()),
                                      words.data(), out_file.file(), err_file.file());
    out = out_file.text();
    err = err_file.text();
    return status;
  }

  std::string seen, out, err;
};

TEST_F(CommandTest, PassesArgumentsAndDefaults) {
  EXPECT_EQ(Run({"greet", "Ada"}), kSuccess);
  EXPECT_EQ(seen, "hello Ada x1 polite");
  EXPECT_EQ(err, "");
}

TEST_F(CommandTest, TakesFlagsInEveryForm) {
  EXPECT_EQ(Run({"greet", "--greeting=good day", "Ada", "--times", "3", "--loud", "--nopolite"}),
            kSuccess);
  EXPECT_EQ(seen, "good day Ada x3 loud");
  EXPECT_EQ(Run({"greet", "Ada", "-times=4", "--loud=false", "--polite=true", "--greeting="}),
            kSuccess);
  EXPECT_EQ(seen, " Ada x4 polite");
}

TEST_F(CommandTest, TheLastFlagOfANameCounts) {
  EXPECT_EQ(Run({"greet", "--times=3", "--times=5", "Ada"}), kSuccess);
  EXPECT_EQ(seen, "hello Ada x5 polite");
}

TEST_F(CommandTest, TwoDashesEndTheFlags) {
  EXPECT_EQ(Run({"greet", "--loud", "--", "--help"}), kSuccess);
  EXPECT_EQ(seen, "hello --help x1 loud polite");
}

TEST_F(CommandTest, UnknownFlagNamesTheKnownOnes) {
  for (const char* word : {"--lout", "--lout=1", "--notimes", "--", "--no", "---loud"}) {
    if (std::string(word) == "--") continue;
    EXPECT_EQ(Run({"greet", word, "Ada"}), kBadUsage) << word;
    EXPECT_THAT(err,
                StartsWith(absl::StrCat("tool greet: unknown flag ", word,
                                        "\nIt accepts --loud, --polite, --times, --greeting.\n")));
    EXPECT_EQ(seen, "nothing");
  }
}

TEST_F(CommandTest, AFlagOfAnotherCommandIsUnknown) {
  EXPECT_EQ(Run({"fail", "--loud"}), kBadUsage);
  EXPECT_THAT(err, StartsWith("tool fail: unknown flag --loud\nIt accepts no flags.\n"));
}

TEST_F(CommandTest, BadValueSaysWhatIsAccepted) {
  EXPECT_EQ(Run({"greet", "--times=11", "Ada"}), kBadUsage);
  EXPECT_THAT(err, StartsWith("tool greet: --times=11: --times takes a whole number from 1 to "
                              "10\nUsage: tool greet NAME"));
  EXPECT_EQ(Run({"greet", "--loud=perhaps", "Ada"}), kBadUsage);
  EXPECT_THAT(err, StartsWith("tool greet: --loud=perhaps: --loud takes true or false\n"));
}

TEST_F(CommandTest, MissingValueIsNamed) {
  EXPECT_EQ(Run({"greet", "Ada", "--times"}), kBadUsage);
  EXPECT_THAT(err, StartsWith("tool greet: --times needs a value: --times=1\n"));
}

TEST_F(CommandTest, AnArgumentMayBeOptional) {
  EXPECT_EQ(Run({"fail"}), kFailure);
  EXPECT_EQ(err, "tool fail: as it should\n");
  EXPECT_EQ(Run({"fail", "differently"}), kFailure);
  EXPECT_EQ(err, "tool fail: differently\n");
  EXPECT_EQ(Run({"fail", "twice", "over"}), kBadUsage);
  EXPECT_THAT(err, StartsWith("tool fail: unexpected argument over\nUsage: tool fail [REASON]\n"));
}

TEST_F(CommandTest, CountsArguments) {
  EXPECT_EQ(Run({"greet"}), kBadUsage);
  EXPECT_THAT(err, StartsWith("tool greet: NAME is missing\n"));
  EXPECT_EQ(Run({"greet", "Ada", "Grace"}), kBadUsage);
  EXPECT_THAT(err, StartsWith("tool greet: unexpected argument Grace\n"));
}

TEST_F(CommandTest, UnknownCommandNamesTheKnownOnes) {
  EXPECT_EQ(Run({"great"}), kBadUsage);
  EXPECT_EQ(err, "tool: there is no command great\nThere are greet, fail and help.\n");
  EXPECT_EQ(Run({"help", "great"}), kBadUsage);
  EXPECT_EQ(Run({"--loud"}), kBadUsage);
}

TEST_F(CommandTest, NoWordsAtAllIsBadUsageWithHelp) {
  EXPECT_EQ(Run({}), kBadUsage);
  EXPECT_THAT(err, AllOf(HasSubstr("greet"), HasSubstr("says hello")));
  EXPECT_EQ(out, "");
}

TEST_F(CommandTest, HelpListsCommands) {
  for (const char* word : {"help", "--help", "-h"}) {
    EXPECT_EQ(Run({word}), kSuccess);
    EXPECT_THAT(out, AllOf(HasSubstr("  greet  says hello\n"), HasSubstr("  fail   fails\n")));
    EXPECT_EQ(err, "");
  }
}

TEST_F(CommandTest, HelpOfACommandShowsItsFlagsWithDefaults) {
  for (const std::vector<const char*>& words : {std::vector<const char*>{"help", "greet"},
                                                {"greet", "--help"},
                                                {"greet", "--lout", "-h"}}) {
    EXPECT_EQ(Run(words), kSuccess);
    EXPECT_THAT(out, StartsWith("Usage: tool greet NAME [--flag=value ...]\n\ngreet says "
                                "hello.\n\nA whole paragraph.\n"));
    EXPECT_THAT(out, HasSubstr("  --loud            shout\n"
                               "  --nopolite        do not be polite\n"
                               "  --times=1         how many times\n"
                               "  --greeting=hello  what to say\n"));
    EXPECT_EQ(seen, "nothing");
  }
}

TEST_F(CommandTest, FailureHasItsOwnStatus) {
  EXPECT_EQ(Run({"fail"}), kFailure);
  EXPECT_EQ(err, "tool fail: as it should\n");
}

TEST_F(CommandTest, OutputThatDoesNotArriveIsAFailure) {
  std::FILE* full = std::fopen("/dev/full", "w");
  ASSERT_NE(full, nullptr);
  Capture err_file;
  const char* words[] = {"tool", "help"};
  EXPECT_EQ(RunCommandLine("tool", {}, 2, words, full, err_file.file()), kFailure);
  EXPECT_EQ(err_file.text(), "tool: cannot write to standard output\n");
  std::fclose(full);
}

TEST(RefuseFlagsTest, NamesTheFlagThatIsNotAtItsDefault) {
  absl::FlagSaver saver;
  const std::vector<std::string> names = {"loud", "times"};
  EXPECT_TRUE(RefuseFlags(names, "whispers").ok());
  absl::SetFlag(&FLAGS_times, Times(3));
  absl::SetFlag(&FLAGS_polite, false);
  EXPECT_EQ(RefuseFlags(names, "whispers"),
            absl::InvalidArgumentError("--times means nothing with whispers"));
}

}  // namespace
}  // namespace sluice::tools
