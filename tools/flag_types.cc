#include "sluice/tools/flag_types.h"

#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"

namespace sluice::tools {
namespace {

struct Unit {
  absl::string_view name;  // its first letter alone will do
  int shift;
};
constexpr Unit kUnits[] = {{"GiB", 30}, {"MiB", 20}, {"KiB", 10}};

// Takes a unit from the end of `text` and returns its shift.
int ConsumeUnit(absl::string_view* text) {
  for (const Unit& unit : kUnits) {
    for (absl::string_view suffix : {unit.name, unit.name.substr(0, 1)}) {
      if (absl::EndsWithIgnoreCase(*text, suffix)) {
        text->remove_suffix(suffix.size());
        return unit.shift;
      }
    }
  }
  return 0;
}

// absl::SimpleAtoi takes white space and signs too.
bool ParseDigits(absl::string_view text, int64_t* value) {
  return text.find_first_not_of("0123456789") == absl::string_view::npos &&
         absl::SimpleAtoi(text, value);
}

}  // namespace

namespace internal {

bool ParseWholeNumber(absl::string_view text, int64_t min, int64_t max, int64_t* value,
                      std::string* error) {
  if (ParseDigits(text, value) && *value >= min && *value <= max) return true;
  *error = absl::StrCat("takes a whole number from ", min, " to ", max);
  return false;
}

std::string FormatWholeNumber(int64_t value) { return absl::StrCat(value); }

bool ParseByteCount(absl::string_view text, int64_t min, int64_t max, int64_t* value,
                    std::string* error) {
  absl::string_view digits = text;
  const int shift = ConsumeUnit(&digits);
  int64_t number = 0;
  if (ParseDigits(digits, &number) && number <= (std::numeric_limits<int64_t>::max() >> shift)) {
    *value = number << shift;
    if (*value >= min && *value <= max) return true;
  }
  *error = absl::StrCat("takes a number of bytes from ", FormatByteCount(min), " to ",
                        FormatByteCount(max), ", such as 1024, 64KiB, 16MiB or 1GiB");
  return false;
}

std::string FormatByteCount(int64_t value) {
  for (const Unit& unit : kUnits) {
    const int64_t size = int64_t{1} << unit.shift;
    if (value >= 16 * 1024 && value % size == 0) return absl::StrCat(value / size, unit.name);
  }
  return absl::StrCat(value);
}

}  // namespace internal

bool AbslParseFlag(absl::string_view text, Timeout* flag, std::string* error) {
  if (absl::ParseDuration(text, &flag->value_) && flag->value_ > absl::ZeroDuration()) return true;
  *error = "takes a positive duration, such as 500ms, 5s or 1m30s, or inf";
  return false;
}

std::string AbslUnparseFlag(const Timeout& flag) { return absl::FormatDuration(flag.value_); }

bool AbslParseFlag(absl::string_view text, Pause* flag, std::string* error) {
  if (absl::ParseDuration(text, &flag->value_) && flag->value_ >= absl::ZeroDuration() &&
      flag->value_ < absl::InfiniteDuration()) {
    return true;
  }
  *error = "takes a duration of 0 or more, such as 500ms, 5s or 1m30s";
  return false;
}

std::string AbslUnparseFlag(const Pause& flag) { return absl::FormatDuration(flag.value_); }

bool AbslParseFlag(absl::string_view text, Frequency* flag, std::string* error) {
  if (text.find_first_not_of("0123456789.") == absl::string_view::npos &&
      absl::SimpleAtod(text, &flag->per_second_) && flag->per_second_ >= 0.001 &&
      flag->per_second_ <= 1e7) {
    return true;
  }
  *error = "takes a number from 0.001 to 10000000, such as 0.5 or 20000";
  return false;
}

std::string AbslUnparseFlag(const Frequency& flag) {
  return absl::StrFormat("%.15g", flag.per_second_);
}

}  // namespace sluice::tools
