// MessageSizes says how large the messages of a load are: all the same, or several sizes, each with
// its share of the messages, mixed at random but always the same for one seed.
//
// Example:
//   const MessageSizes sizes = *MessageSizes::Parse("64:80,4KiB:15,64KiB:5");
//   const double mean = sizes.mean();  // 3942.4
//   // The first message of the third connection: as 80 of 100, it has most likely 64.
//   const size_t size = sizes.Of(/*seed=*/1, /*connection=*/2, /*sequence=*/0);
//
// Thread-compatible.
#ifndef SLUICE_TOOLS_MESSAGE_SIZES_H_
#define SLUICE_TOOLS_MESSAGE_SIZES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sluice::tools {

class MessageSizes {
 public:
  static constexpr size_t kMaxSize = size_t{1} << 30;
  static constexpr int64_t kMaxWeight = 1'000'000;
  static constexpr size_t kMaxParts = 16;

  // All of one size. Implicit, as that is what most loads have.
  MessageSizes(size_t size)  // NOLINT(runtime/explicit)
      : only_(size), parts_{{size, 1}}, weight_(1) {}

  // "1024", or sizes with weights, "64:80,4KiB:15". An error says what is accepted.
  static absl::StatusOr<MessageSizes> Parse(absl::string_view text);
  std::string ToString() const;

  bool mixed() const { return only_ == 0; }
  size_t smallest() const;
  size_t largest() const;
  double mean() const;

  size_t Of(uint64_t seed, uint64_t connection, uint64_t sequence) const {
    return only_ != 0 ? only_ : Draw(seed, connection, sequence);
  }

  friend bool AbslParseFlag(absl::string_view text, MessageSizes* flag, std::string* error);
  friend std::string AbslUnparseFlag(const MessageSizes& flag) { return flag.ToString(); }

 private:
  struct Part {
    size_t size;
    uint64_t weight;
  };

  size_t Draw(uint64_t seed, uint64_t connection, uint64_t sequence) const;

  size_t only_;              // the size of all; 0 where there are several
  std::vector<Part> parts_;  // at least one
  uint64_t weight_;          // of all
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_MESSAGE_SIZES_H_
