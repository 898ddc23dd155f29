#include "sluice/protocols/codec/codec_testing.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace sluice::codec_testing {

namespace {

#ifndef __has_feature  // clang's way
#define __has_feature(feature) 0
#endif
#ifdef __SANITIZE_ADDRESS__
constexpr bool kHasAsan = true;
#else
constexpr bool kHasAsan = __has_feature(address_sanitizer);
#endif
#ifdef __SANITIZE_THREAD__
constexpr bool kHasTsan = true;
#else
constexpr bool kHasTsan = __has_feature(thread_sanitizer);
#endif

size_t PageBytes() {
  static const size_t bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

// Memory that ends at a page that nobody may use.
class Fence {
 public:
  explicit Fence(size_t bytes)
      : bytes_((bytes + PageBytes() - 1) / PageBytes() * PageBytes() + PageBytes()) {
    begin_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (begin_ == MAP_FAILED || mprotect(at(), PageBytes(), PROT_NONE) != 0) std::abort();
  }
  ~Fence() { munmap(begin_, bytes_); }
  Fence(const Fence&) = delete;
  Fence& operator=(const Fence&) = delete;

  // Where the memory ends.
  uint8_t* at() const { return static_cast<uint8_t*>(begin_) + bytes_ - PageBytes(); }
  size_t capacity() const { return bytes_ - PageBytes(); }

 private:
  size_t bytes_;
  void* begin_;
};

// The fences that stand: the last one put up, and, so that not each costs system calls, one that is
// there for the next.
thread_local const uint8_t* fence_at = nullptr;
thread_local std::unique_ptr<Fence> spare;

// Says what has happened, and lets it happen again without this.
void OnSegmentationFault(int signal, siginfo_t* info, void*) {
  const uint8_t* const at = static_cast<const uint8_t*>(info->si_addr);
  if (fence_at != nullptr && at >= fence_at && at < fence_at + PageBytes()) {
    constexpr char kWord[] = "codec_testing: Decode used bytes beyond those that it was given\n";
    (void)!write(STDERR_FILENO, kWord, sizeof(kWord) - 1);
  }
  ::signal(signal, SIG_DFL);
}

void CatchSegmentationFaults() {
  struct sigaction action = {};
  action.sa_sigaction = OnSegmentationFault;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, nullptr);
  sigaction(SIGBUS, &action, nullptr);  // of other systems
}

std::unique_ptr<Fence> TakeFence(size_t bytes) {
  static const bool caught = (CatchSegmentationFaults(), true);
  (void)caught;
  std::unique_ptr<Fence> fence = std::move(spare);
  if (fence == nullptr || fence->capacity() < bytes) fence = std::make_unique<Fence>(bytes);
  return fence;
}

}  // namespace

struct FencedBytes::Memory {
  std::unique_ptr<Fence> fence;
  std::unique_ptr<uint8_t[]> heap;  // with AddressSanitizer, which sees more
};

FencedBytes::FencedBytes(absl::string_view bytes)
    : memory_(std::make_unique<Memory>()), size_(bytes.size()) {
  if (kHasAsan) {
    memory_->heap.reset(new uint8_t[size_]);
    begin_ = memory_->heap.get();
  } else {
    memory_->fence = TakeFence(size_);
    fence_at = memory_->fence->at();
    begin_ = memory_->fence->at() - size_;
  }
  if (size_ != 0) std::memcpy(begin_, bytes.data(), size_);
}

FencedBytes::~FencedBytes() {
  if (memory_->fence != nullptr) spare = std::move(memory_->fence);
}

size_t AllocatedBytes() {
  if (kHasAsan || kHasTsan) return 0;  // their malloc does not tell
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
#else
  return 0;
#endif
}

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

std::vector<std::pair<std::string, char>> EndlessFrames(absl::string_view seed) {
  constexpr size_t kFronts = 32;
  constexpr char kFillers[] = {0, 1, 0x7f, '\x80', '\xff', '0', '1', '9', 'a', ' ', '\n'};
  std::vector<std::pair<std::string, char>> frames;
  for (size_t size = 0; size <= std::min(seed.size(), kFronts); ++size) {
    for (const char filler : kFillers) frames.emplace_back(seed.substr(0, size), filler);
  }
  return frames;
}

}  // namespace sluice::codec_testing
