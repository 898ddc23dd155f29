#include "sluice/tools/protocol_options.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace sluice::tools::internal {
namespace {

// "length_bytes (1, 2 or 4), byte_order (big or little)"
std::string AcceptedOptions(absl::Span<const ProtocolOption> accepted) {
  return absl::StrJoin(accepted, ", ", [](std::string* out, const ProtocolOption& option) {
    absl::StrAppend(out, option.name, " (", option.accepted, ")");
  });
}

absl::Status Refuse(absl::string_view problem, absl::Span<const ProtocolOption> accepted) {
  return absl::InvalidArgumentError(
      absl::StrCat(problem, "; there are ", AcceptedOptions(accepted)));
}

}  // namespace

absl::StatusOr<std::vector<OptionValue>> SplitOptions(absl::string_view text,
                                                      absl::Span<const ProtocolOption> accepted) {
  std::vector<OptionValue> values;
  for (absl::string_view word : absl::StrSplit(text, ',', absl::SkipEmpty())) {
    const size_t equals = word.find('=');
    const absl::string_view name = word.substr(0, equals);
    const auto option =
        std::find_if(accepted.begin(), accepted.end(),
                     [&](const ProtocolOption& candidate) { return candidate.name == name; });
    if (option == accepted.end())
      return Refuse(absl::StrCat("there is no option \"", name, "\""), accepted);
    if (equals == absl::string_view::npos)
      return Refuse(absl::StrCat(name, " needs a value: ", name, "=", option->default_value),
                    accepted);
    const size_t index = static_cast<size_t>(option - accepted.begin());
    if (std::any_of(values.begin(), values.end(),
                    [&](const OptionValue& value) { return value.index == index; })) {
      return absl::InvalidArgumentError(absl::StrCat(name, " is given twice"));
    }
    values.push_back({index, std::string(word.substr(equals + 1))});
  }
  return values;
}

absl::Status RefuseValue(const ProtocolOption& option, absl::string_view value) {
  return absl::InvalidArgumentError(
      absl::StrCat(option.name, "=", value, ": ", option.name, " takes ", option.accepted));
}

bool ParseNumber(absl::string_view text, int64_t min, int64_t max, int64_t* value) {
  // absl::SimpleAtoi takes white space and a plus, too.
  const absl::string_view digits = text.substr(!text.empty() && text[0] == '-' ? 1 : 0);
  return digits.find_first_not_of("0123456789") == absl::string_view::npos &&
         absl::SimpleAtoi(text, value) && *value >= min && *value <= max;
}

std::string AcceptedNumbers(int64_t min, int64_t max, absl::Span<const std::string> words) {
  return absl::StrCat("a whole number from ", min, " to ", max, words.empty() ? "" : ", or ",
                      AcceptedWords(words));
}

std::string AcceptedWords(absl::Span<const std::string> words) {
  if (words.size() < 2) return absl::StrJoin(words, "");
  return absl::StrCat(absl::StrJoin(words.first(words.size() - 1), ", "), " or ", words.back());
}

}  // namespace sluice::tools::internal
