// ProtocolOptions is what a user may say of a protocol on the command line, as
// --codec=NAME=VALUE,NAME=VALUE: it names members of a struct, whose values as it is made are the
// defaults, and reads, checks and describes them. No protocol has code of its own for that.
//
// Example:
//   struct GreeterOptions {
//     std::string greeting = "hello";
//     int times = 1;
//     bool loud = false;
//   };
//   ProtocolOptions<GreeterOptions> options;
//   options.Text("greeting", &GreeterOptions::greeting, "a word", "what is said first")
//       .Number("times", &GreeterOptions::times, 1, 9, "how often")
//       .Switch("loud", &GreeterOptions::loud, "in upper case");
//   options.Parse("times=2,loud=true");     // {"hello", 2, true}
//   options.Parse("times=0");               // "times=0: times takes a whole number from 1 to 9"
//
// A value has no comma in it. An option is given once at most.
//
// Thread-compatible.
#ifndef SLUICE_TOOLS_PROTOCOL_OPTIONS_H_
#define SLUICE_TOOLS_PROTOCOL_OPTIONS_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace sluice::tools {

// One option, as its users see it.
struct ProtocolOption {
  std::string name;
  std::string default_value;  // as it is written
  std::string accepted;       // "1, 2, 3, 4, 8 or varint"
  std::string meaning;        // half a line
};

namespace internal {

struct OptionValue {
  size_t index;  // of the option
  std::string value;
};

// Errors: kInvalidArgument, which says what is accepted.
absl::StatusOr<std::vector<OptionValue>> SplitOptions(absl::string_view text,
                                                      absl::Span<const ProtocolOption> accepted);
absl::Status RefuseValue(const ProtocolOption& option, absl::string_view value);

bool ParseNumber(absl::string_view text, int64_t min, int64_t max, int64_t* value);
// "a whole number from 1 to 9, or all"
std::string AcceptedNumbers(int64_t min, int64_t max, absl::Span<const std::string> words);
// "a, b or c"
std::string AcceptedWords(absl::Span<const std::string> words);

}  // namespace internal

template <typename S>
class ProtocolOptions {
 public:
  // Words that are written for values.
  template <typename V>
  using Words = std::vector<std::pair<std::string, std::type_identity_t<V>>>;

  explicit ProtocolOptions(S defaults = S()) : defaults_(std::move(defaults)) {}

  // Numbers from `min` to `max`, and words for some that may lie outside.
  template <std::integral N>
  ProtocolOptions& Number(absl::string_view name, N S::*member, int64_t min, int64_t max,
                          absl::string_view meaning, Words<N> words = {}) {
    std::string shown = WordFor<N>(words, defaults_.*member);
    if (shown.empty()) shown = std::to_string(defaults_.*member);
    Describe(name, shown, internal::AcceptedNumbers(min, max, Names<N>(words)), meaning);
    return Add([member, min, max, words = std::move(words)](absl::string_view text, S& settings) {
      if (SetWord<N>(words, text, settings.*member)) return true;
      int64_t number;
      if (!internal::ParseNumber(text, min, max, &number)) return false;
      settings.*member = static_cast<N>(number);
      return true;
    });
  }

  // One of some words, of which one stands for the default.
  template <typename V>
  ProtocolOptions& Choice(absl::string_view name, V S::*member, Words<V> words,
                          absl::string_view meaning) {
    Describe(name, WordFor<V>(words, defaults_.*member), internal::AcceptedWords(Names<V>(words)),
             meaning);
    return Add([member, words = std::move(words)](absl::string_view text, S& settings) {
      return SetWord<V>(words, text, settings.*member);
    });
  }

  ProtocolOptions& Switch(absl::string_view name, bool S::*member, absl::string_view meaning) {
    return Choice(name, member, {{"true", true}, {"false", false}}, meaning);
  }

  // Any text; `accepted` says what is meant by it, and NewCodec may refuse others.
  ProtocolOptions& Text(absl::string_view name, std::string S::*member, absl::string_view accepted,
                        absl::string_view meaning) {
    Describe(name, defaults_.*member, accepted, meaning);
    return Add([member](absl::string_view text, S& settings) {
      settings.*member = std::string(text);
      return true;
    });
  }

  const S& defaults() const { return defaults_; }
  const std::vector<ProtocolOption>& described() const { return described_; }

  // Errors: kInvalidArgument, which says what is accepted.
  absl::StatusOr<S> Parse(absl::string_view text) const {
    absl::StatusOr<std::vector<internal::OptionValue>> values =
        internal::SplitOptions(text, described_);
    if (!values.ok()) return values.status();
    S settings = defaults_;
    for (const auto& [index, value] : *values) {
      if (!setters_[index](value, settings)) return internal::RefuseValue(described_[index], value);
    }
    return settings;
  }

 private:
  // False for a value that is not accepted.
  using Setter = std::function<bool(absl::string_view, S&)>;

  void Describe(absl::string_view name, absl::string_view default_value, absl::string_view accepted,
                absl::string_view meaning) {
    described_.push_back({.name = std::string(name),
                          .default_value = std::string(default_value),
                          .accepted = std::string(accepted),
                          .meaning = std::string(meaning)});
  }
  ProtocolOptions& Add(Setter setter) {
    setters_.push_back(std::move(setter));
    return *this;
  }

  template <typename V>
  static std::vector<std::string> Names(const Words<V>& words) {
    std::vector<std::string> names;
    for (const auto& [name, value] : words) names.push_back(name);
    return names;
  }
  template <typename V>
  static std::string WordFor(const Words<V>& words, const V& wanted) {
    for (const auto& [name, value] : words) {
      if (value == wanted) return name;
    }
    return "";
  }
  template <typename V>
  static bool SetWord(const Words<V>& words, absl::string_view text, V& member) {
    for (const auto& [name, value] : words) {
      if (name != text) continue;
      member = value;
      return true;
    }
    return false;
  }

  S defaults_;
  std::vector<ProtocolOption> described_;
  std::vector<Setter> setters_;  // one for each of these
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_PROTOCOL_OPTIONS_H_
