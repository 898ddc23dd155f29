#include "sluice/tools/protocol_options.h"

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sluice::tools {
namespace {

struct GreeterOptions {
  std::string greeting = "hello";
  int times = 1;
  bool loud = false;
};

ProtocolOptions<GreeterOptions> Greeter() {
  ProtocolOptions<GreeterOptions> options;
  options.Text("greeting", &GreeterOptions::greeting, "a word", "what is said first")
      .Number("times", &GreeterOptions::times, 1, 9, "how often")
      .Switch("loud", &GreeterOptions::loud, "in upper case");
  return options;
}

TEST(ProtocolOptionsTest, HeaderExample) {
  const ProtocolOptions<GreeterOptions> options = Greeter();
  const absl::StatusOr<GreeterOptions> loud = options.Parse("times=2,loud=true");
  ASSERT_TRUE(loud.ok()) << loud.status();
  EXPECT_EQ(loud->greeting, "hello");
  EXPECT_EQ(loud->times, 2);
  EXPECT_TRUE(loud->loud);
  EXPECT_EQ(options.Parse("times=0").status().message(),
            "times=0: times takes a whole number from 1 to 9");
}

TEST(ProtocolOptionsTest, NothingGivenLeavesTheDefaults) {
  GreeterOptions defaults;
  defaults.times = 7;
  ProtocolOptions<GreeterOptions> options(defaults);
  options.Number("times", &GreeterOptions::times, 1, 9, "how often");
  EXPECT_EQ(options.Parse("")->times, 7);
  EXPECT_EQ(options.described()[0].default_value, "7");
}

TEST(ProtocolOptionsTest, TextMayBeEmptyAndHoldEquals) {
  EXPECT_EQ(Greeter().Parse("greeting=")->greeting, "");
  EXPECT_EQ(Greeter().Parse("greeting=a=b,times=3")->greeting, "a=b");
}

TEST(ProtocolOptionsTest, DescribesWhatIsAccepted) {
  const ProtocolOptions<GreeterOptions> options = Greeter();
  ASSERT_EQ(options.described().size(), 3u);
  EXPECT_EQ(options.described()[0].accepted, "a word");
  EXPECT_EQ(options.described()[0].default_value, "hello");
  EXPECT_EQ(options.described()[1].name, "times");
  EXPECT_EQ(options.described()[1].meaning, "how often");
  EXPECT_EQ(options.described()[1].default_value, "1");
  EXPECT_EQ(options.described()[2].accepted, "true or false");
  EXPECT_EQ(options.described()[2].default_value, "false");
}

TEST(ProtocolOptionsTest, RefusesWhatIsNotThere) {
  for (absl::string_view text : {"time=2", "=2", "loud=true,time=2", "Times=2"}) {
    const std::string message(Greeter().Parse(text).status().message());
    EXPECT_THAT(message, testing::HasSubstr("there is no option \"")) << text;
    EXPECT_THAT(message, testing::HasSubstr(
                             "\"; there are greeting (a word), times (a whole number from 1 to 9), "
                             "loud (true or false)"))
        << text;
  }
  EXPECT_THAT(std::string(Greeter().Parse("times").status().message()),
              testing::HasSubstr("times needs a value: times=1; there are greeting"));
  EXPECT_EQ(Greeter().Parse("times=2,times=2").status().message(), "times is given twice");
}

TEST(ProtocolOptionsTest, RefusesValuesThatAreNotAccepted) {
  for (absl::string_view text :
       {"times=", "times=10", "times=-1", "times=+1", "times= 1", "times=1x", "times=0x1",
        "times=99999999999999999999", "times=-", "loud=1", "loud=yes", "loud="}) {
    const absl::StatusOr<GreeterOptions> parsed = Greeter().Parse(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_THAT(std::string(parsed.status().message()), testing::HasSubstr(" takes ")) << text;
  }
}

enum class Order : uint8_t { kBig, kLittle };
struct NumberOptions {
  int64_t adjustment = 0;
  int32_t strip = -1;
  Order order = Order::kLittle;
};

ProtocolOptions<NumberOptions> Numbers() {
  ProtocolOptions<NumberOptions> options;
  options.Number("adjustment", &NumberOptions::adjustment, -10, 10, "added")
      .Number("strip", &NumberOptions::strip, 0, 10, "left out", {{"all", -1}, {"none", 0}})
      .Choice("order", &NumberOptions::order, {{"big", Order::kBig}, {"little", Order::kLittle}},
              "which end");
  return options;
}

TEST(ProtocolOptionsTest, NumbersMayBeNegativeAndHaveWords) {
  EXPECT_EQ(Numbers().Parse("adjustment=-10")->adjustment, -10);
  EXPECT_EQ(Numbers().Parse("strip=4")->strip, 4);
  EXPECT_EQ(Numbers().Parse("strip=all")->strip, -1);
  EXPECT_FALSE(Numbers().Parse("strip=-1").ok());  // a word's value is not a number to be given
  EXPECT_EQ(Numbers().described()[1].default_value, "all");
  EXPECT_EQ(Numbers().described()[1].accepted, "a whole number from 0 to 10, or all or none");
}

TEST(ProtocolOptionsTest, ChoicesAreWords) {
  EXPECT_EQ(Numbers().Parse("order=big")->order, Order::kBig);
  EXPECT_EQ(Numbers().described()[2].default_value, "little");
  EXPECT_EQ(Numbers().Parse("order=middle").status().message(),
            "order=middle: order takes big or little");
}

}  // namespace
}  // namespace sluice::tools
