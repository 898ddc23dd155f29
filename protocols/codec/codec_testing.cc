#include "sluice/protocols/codec/codec_testing.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace sluice::codec_testing {

std::ostream& operator<<(std::ostream& out, const Decoded& decoded) {
  out << decoded.messages.size() << " messages";
  for (const std::string& message : decoded.messages) {
    constexpr size_t kShown = 80;
    out << "\n  " << testing::PrintToString(message.substr(0, kShown));
    if (message.size() > kShown) out << "... (" << message.size() << " bytes)";
  }
  return out << "\n  then " << decoded.unfinished << " bytes unfinished, " << decoded.status;
}

std::string DescribePieces(const Pieces& pieces) {
  constexpr size_t kShown = 20;
  const size_t shown = std::min(pieces.size(), kShown);
  return absl::StrCat("into pieces of ",
                      absl::StrJoin(pieces.begin(), pieces.begin() + shown, ", "),
                      shown < pieces.size() ? ", ..." : "", " bytes and the rest");
}

std::vector<Pieces> EveryWay(size_t bytes) {
  std::vector<Pieces> ways;
  for (const size_t size : {1, 2, 3, 5, 7, 16, 100, 1000}) {
    if (size < bytes) ways.push_back(Pieces(bytes / size, size));
  }
  constexpr size_t kCuts = 500;
  const size_t step = 1 + bytes / kCuts;
  for (size_t cut = 1; cut < bytes; cut += step) ways.push_back({cut});
  std::minstd_rand random(1);
  for (int i = 0; i < 20; ++i) {
    Pieces pieces;
    for (size_t cut = 0; cut < bytes; cut += pieces.back()) {
      pieces.push_back(1 + random() % (1 + bytes / 3));
    }
    ways.push_back(std::move(pieces));
  }
  return ways;
}

std::string Garbage(absl::string_view seed, size_t number) {
  std::string bytes(seed);
  if (number == 0) return bytes;
  std::minstd_rand random(static_cast<uint32_t>(number));
  const auto below = [&](size_t bound) { return static_cast<size_t>(random()) % bound; };
  for (size_t changes = 1 + below(8); changes > 0; --changes) {
    const size_t at = below(bytes.size() + 1);
    const size_t size = std::min(bytes.size() - at, below(16));
    switch (below(5)) {
      case 0:
        for (size_t i = at; i < at + size; ++i) bytes[i] = static_cast<char>(below(256));
        break;
      case 1:
        for (size_t i = at; i < at + size; ++i) bytes[i] = static_cast<char>(below(2) * 0xff);
        break;
      case 2:
        bytes.erase(at, size);
        break;
      case 3:
        bytes.insert(at, bytes.substr(at, size));
        break;
      case 4:
        bytes.insert(at, 1, static_cast<char>(below(256)));
        break;
    }
  }
  return bytes;
}

}  // namespace sluice::codec_testing
