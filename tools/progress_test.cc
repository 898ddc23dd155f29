#include "sluice/tools/progress.h"

#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/functional/function_ref.h"
#include "gtest/gtest.h"

namespace sluice::tools {
namespace {

// What `use` makes a Progress print, from its beginning to its end.
std::string Printed(const Terminal& terminal, absl::FunctionRef<void(Progress&)> use) {
  char* text = nullptr;
  size_t size = 0;
  std::FILE* file = open_memstream(&text, &size);
  {
    Progress progress(file, terminal);
    use(progress);
  }
  std::fclose(file);
  const std::string printed(text, size);
  std::free(text);
  return printed;
}

TEST(ProgressTest, ALogGetsPlainLines) {
  EXPECT_EQ(Printed({},
                    [](Progress& progress) {
                      progress.Show("one");
                      progress.Show("two");
                    }),
            "one\ntwo\n");
}

TEST(ProgressTest, ATerminalGetsOneLineThatGoesAway) {
  EXPECT_EQ(Printed({.interactive = true},
                    [](Progress& progress) {
                      progress.Show("one");
                      progress.Show("two");
                    }),
            "\r\x1b[Kone\r\x1b[Ktwo\r\x1b[K");
}

TEST(ProgressTest, ATerminalLineIsCutAtACharacter) {
  EXPECT_EQ(Printed({.interactive = true, .columns = 5},
                    [](Progress& progress) { progress.Show("12µµ567"); }),
            "\r\x1b[K12µµ\r\x1b[K");
}

TEST(ProgressTest, NothingShownPrintsNothing) {
  EXPECT_EQ(Printed({.interactive = true}, [](Progress& progress) { progress.Clear(); }), "");
}

TEST(ProgressTest, ALogIsWrittenLessOften) {
  EXPECT_LT(Progress(stderr, {.interactive = true}).interval(), absl::Seconds(1));
  EXPECT_GE(Progress(stderr, {}).interval(), absl::Seconds(1));
}

}  // namespace
}  // namespace sluice::tools
