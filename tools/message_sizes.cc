#include "sluice/tools/message_sizes.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "sluice/core/internal/split_mix.h"
#include "sluice/tools/flag_types.h"

namespace sluice::tools {
namespace {

using sluice::internal::SplitMix64;

using Size = ByteCount<1, int64_t{MessageSizes::kMaxSize}>;
using Weight = WholeNumber<1, MessageSizes::kMaxWeight>;

absl::Status Wrong(absl::string_view part, absl::string_view error) {
  return absl::InvalidArgumentError(
      absl::StrCat("takes one size, or up to ", MessageSizes::kMaxParts,
                   " with weights, such as 64:80,4KiB:15,64KiB:5; of ", part, " ", error));
}

}  // namespace

absl::StatusOr<MessageSizes> MessageSizes::Parse(absl::string_view text) {
  Size size(1);
  Weight weight(1);
  std::string error;
  if (text.find_first_of(":,") == absl::string_view::npos) {
    if (!AbslParseFlag(text, &size, &error)) {
      return absl::InvalidArgumentError(
          absl::StrCat(error, ", or several with weights, such as 64:80,4KiB:15,64KiB:5"));
    }
    return MessageSizes(static_cast<size_t>(size.value()));
  }
  MessageSizes sizes(1);
  sizes.parts_.clear();
  sizes.weight_ = 0;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const std::pair<absl::string_view, absl::string_view> words =
        absl::StrSplit(part, absl::MaxSplits(':', 1));
    const std::string shown = absl::StrCat("\"", part, "\"");
    if (!AbslParseFlag(words.first, &size, &error))
      return Wrong(shown, absl::StrCat("the size ", error));
    if (!AbslParseFlag(words.second, &weight, &error))
      return Wrong(shown, absl::StrCat("the weight ", error));
    sizes.parts_.push_back(
        {static_cast<size_t>(size.value()), static_cast<uint64_t>(weight.value())});
    sizes.weight_ += static_cast<uint64_t>(weight.value());
  }
  if (sizes.parts_.size() > kMaxParts)
    return Wrong("these", absl::StrCat("there are ", sizes.parts_.size()));
  sizes.only_ = sizes.parts_.size() == 1 ? sizes.parts_[0].size : 0;
  return sizes;
}

std::string MessageSizes::ToString() const {
  const auto size_of = [](const Part& part) {
    return AbslUnparseFlag(Size(static_cast<int64_t>(part.size)));
  };
  if (!mixed()) return size_of(parts_.front());
  return absl::StrJoin(parts_, ",", [&](std::string* out, const Part& part) {
    absl::StrAppend(out, size_of(part), ":", part.weight);
  });
}

size_t MessageSizes::smallest() const {
  const auto less = [](const Part& a, const Part& b) { return a.size < b.size; };
  return std::min_element(parts_.begin(), parts_.end(), less)->size;
}

size_t MessageSizes::largest() const {
  const auto less = [](const Part& a, const Part& b) { return a.size < b.size; };
  return std::max_element(parts_.begin(), parts_.end(), less)->size;
}

double MessageSizes::mean() const {
  double sum = 0;
  for (const Part& part : parts_)
    sum += static_cast<double>(part.size) * static_cast<double>(part.weight);
  return sum / static_cast<double>(weight_);
}

size_t MessageSizes::Draw(uint64_t seed, uint64_t connection, uint64_t sequence) const {
  uint64_t drawn =
      SplitMix64(seed ^ SplitMix64(connection << 40 ^ sequence).Next()).Next() % weight_;
  for (const Part& part : parts_) {
    if (drawn < part.weight) return part.size;
    drawn -= part.weight;
  }
  return parts_.back().size;
}

bool AbslParseFlag(absl::string_view text, MessageSizes* flag, std::string* error) {
  absl::StatusOr<MessageSizes> sizes = MessageSizes::Parse(text);
  if (!sizes.ok()) {
    *error = std::string(sizes.status().message());
    return false;
  }
  *flag = *std::move(sizes);
  return true;
}

}  // namespace sluice::tools
