#include "sluice/core/buffer.h"

#include <sys/uio.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "sluice/core/internal/block.h"
#include "sluice/core/internal/counting_new.h"
#include "sluice/core/internal/pool.h"
#include "sluice/core/slice.h"

namespace sluice {
namespace {

std::string Text(size_t size, int start = 0) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>('!' + (start + i * 7) % 90);
  return text;
}

absl::Span<const uint8_t> Bytes(absl::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

absl::string_view View(absl::Span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<std::string> Pieces(const Buffer& buffer) {
  std::vector<iovec> pieces(1'000);
  pieces.resize(buffer.IoVecs(absl::MakeSpan(pieces)));
  std::vector<std::string> texts;
  for (const iovec& piece : pieces) {
    texts.emplace_back(static_cast<const char*>(piece.iov_base), piece.iov_len);
  }
  return texts;
}

int64_t Allocations() { return internal::CountAllocations().ever; }

using Strings = std::vector<std::string>;

BlockPtr Lend(absl::string_view text) {
  BlockPtr block(Block::New(std::max<size_t>(text.size(), 4'000)));
  std::memcpy(block->storage(), text.data(), text.size());
  return block;
}

TEST(BufferTest, HeaderExample) {
  const Slice page = Slice::Static("<html>");
  Buffer out;
  out.Append("HTTP/1.1 200 OK\r\n\r\n");
  out.Append(page);
  iovec pieces[16];
  size_t count = out.IoVecs(pieces);
  ASSERT_EQ(count, 2u);
  const ssize_t sent = static_cast<ssize_t>(pieces[0].iov_len);  // writev was short
  if (sent > 0) out.Drain(sent);
  EXPECT_EQ(out.ToString(), "<html>");
}

TEST(BufferTest, AnEmptyBufferIsSixteenBytesAndOwnsNothing) {
  static_assert(sizeof(Buffer) == 16);
  const int64_t before = Allocations();
  Buffer buffer;
  EXPECT_TRUE(buffer.empty());
  EXPECT_EQ(buffer.size(), 0u);
  EXPECT_TRUE(buffer.front().empty());
  EXPECT_TRUE(buffer.Linearize(0).empty());
  EXPECT_EQ(buffer.ToString(), "");
  buffer.Append("");
  buffer.Append(Slice());
  buffer.Append(Buffer());
  buffer.Prepend("");
  buffer.Drain(0);
  buffer.Clear();
  buffer.ShrinkToFit();
  EXPECT_TRUE(buffer.Split(0).empty());
  EXPECT_TRUE(buffer.Share().empty());
  EXPECT_EQ(buffer.allocated_bytes(), 0u);
  EXPECT_EQ(Allocations(), before);
}

TEST(BufferTest, AppendCopies) {
  Buffer buffer;
  std::string text = "one";
  buffer.Append(text);
  text = "xxx";
  buffer.Append(Bytes("two"));
  EXPECT_EQ(buffer.size(), 6u);
  EXPECT_EQ(buffer.ToString(), "onetwo");
}

TEST(BufferTest, AFewBytesCostFewBytes) {
  Buffer buffer;
  buffer.Append("abc");
  EXPECT_LE(buffer.allocated_bytes(), 64u) << "a node of 32 and a block of 32";
  buffer.Append("defgh");
  EXPECT_EQ(Pieces(buffer), Strings{"abcdefgh"}) << "fits into the same block";
  EXPECT_LE(buffer.allocated_bytes(), 64u);
}

TEST(BufferTest, ASmallBufferGrowsInOnePiece) {
  Buffer buffer;
  std::string expected;
  int64_t allocated = 0;
  while (expected.size() < 4'000) {
    const std::string text = Text(50, static_cast<int>(expected.size()));
    const int64_t before = Allocations();
    buffer.Append(text);
    allocated += Allocations() - before;
    expected += text;
  }
  EXPECT_EQ(Pieces(buffer), Strings{expected});
  EXPECT_LE(allocated, 5) << "a node and blocks of 50, 200, 800 and 4000 bytes";
}

TEST(BufferTest, ALongBufferTakesLargerAndLargerBlocks) {
  Buffer buffer;
  std::string expected;
  for (int i = 0; i < 4'000; ++i) {
    const std::string text = Text(50, i);
    buffer.Append(text);
    expected += text;
  }
  EXPECT_EQ(buffer.ToString(), expected);
  EXPECT_LE(Pieces(buffer).size(), 6u) << "200 kB in blocks of 4, 17, 65, 65, 65 KiB";
  EXPECT_LE(buffer.allocated_bytes(), 300'000u);
}

TEST(BufferTest, AppendingASliceSharesIt) {
  const Slice slice = Slice::Copy("shared bytes");
  Buffer a, b;
  a.Append(slice);
  b.Append(slice);
  EXPECT_EQ(a.front().data(), slice.data());
  EXPECT_EQ(b.front().data(), slice.data());
}

TEST(BufferTest, AppendDoesNotWriteBehindASharedSlice) {
  Buffer buffer;
  buffer.Append("abc");
  Buffer other = buffer.Share();
  buffer.Append("1");
  other.Append("2");
  EXPECT_EQ(buffer.ToString(), "abc1");
  EXPECT_EQ(other.ToString(), "abc2");
}

TEST(BufferTest, SlicesThatContinueEachOtherAreJoined) {
  BlockPtr lent = Lend("one two three");
  Buffer buffer;
  buffer.Append(Slice::FromBlock(*lent, lent->storage(), 4));
  buffer.AppendFrom(*lent, {lent->storage() + 4, 4});
  buffer.Append(Slice::FromBlock(*lent, lent->storage() + 8, 5));
  EXPECT_EQ(Pieces(buffer), Strings{"one two three"});
  buffer.AppendFrom(*lent, {lent->storage(), 3});
  EXPECT_EQ(Pieces(buffer), (Strings{"one two three", "one"}));
  buffer.Clear();
  EXPECT_TRUE(lent->unique());
}

TEST(BufferTest, PartsThatWereSplitAreJoinedAgain) {
  Buffer buffer;
  buffer.Append("one two three");
  Buffer first = buffer.Split(4);
  first.Append(std::move(buffer));
  EXPECT_EQ(Pieces(first), Strings{"one two three"});
  Buffer second = first.Split(4);
  first.Prepend(std::move(second));
  EXPECT_EQ(Pieces(first), Strings{"one two three"});
}

TEST(BufferTest, AppendingABufferMovesItsSlices) {
  Buffer a, b;
  a.Append(Slice::Static("1"));
  b.Append(Slice::Static("2"));
  b.Append(Slice::Static("3"));
  a.Append(std::move(b));
  EXPECT_EQ(Pieces(a), (Strings{"1", "2", "3"}));
  EXPECT_TRUE(b.empty());  // NOLINT(bugprone-use-after-move): it is empty by contract
  b.Append("again");
  EXPECT_EQ(b.ToString(), "again");
}

TEST(BufferTest, PrependUsesTheRoomOfDrainedBytes) {
  Buffer buffer;
  buffer.Append("12345678payload");
  buffer.Drain(8);
  const uint8_t* payload = buffer.front().data();
  buffer.Prepend("head");
  EXPECT_EQ(Pieces(buffer), Strings{"headpayload"});
  EXPECT_EQ(buffer.front().data(), payload - 4);
}

TEST(BufferTest, PrependDoesNotWriteBeforeASharedSlice) {
  Buffer buffer;
  buffer.Append("12345678payload");
  Buffer all = buffer.Share();
  buffer.Drain(8);
  buffer.Prepend("head");
  EXPECT_EQ(Pieces(buffer), (Strings{"head", "payload"}));
  EXPECT_EQ(all.ToString(), "12345678payload");
}

TEST(BufferTest, HeadersInFrontOfHeadersShareABlock) {
  Buffer buffer;
  buffer.Append(Slice::Static("payload"));
  buffer.Prepend("inner ");
  buffer.Prepend("outer ");
  EXPECT_EQ(Pieces(buffer), (Strings{"outer inner ", "payload"}));
}

TEST(BufferTest, PrependsSlicesAndBuffers) {
  Buffer buffer;
  buffer.Append("3");
  buffer.Prepend(Slice::Static("2"));
  Buffer front;
  front.Append("1");
  buffer.Prepend(std::move(front));
  EXPECT_EQ(buffer.ToString(), "123");
  EXPECT_TRUE(front.empty());  // NOLINT(bugprone-use-after-move): it is empty by contract
}

TEST(BufferTest, DrainPastASliceReleasesIt) {
  BlockPtr a = Lend("aaaa"), b = Lend("bbbb");
  Buffer buffer;
  buffer.Append(Slice::FromBlock(*a, a->storage(), 4));
  buffer.Append(Slice::FromBlock(*b, b->storage(), 4));
  buffer.Drain(3);
  EXPECT_FALSE(a->unique());
  buffer.Drain(1);
  EXPECT_TRUE(a->unique());
  EXPECT_FALSE(b->unique());
  buffer.Drain(2);
  EXPECT_EQ(buffer.ToString(), "bb");
  buffer.Drain(2);
  EXPECT_TRUE(b->unique());
  EXPECT_EQ(buffer.allocated_bytes(), 0u);
}

TEST(BufferTest, SplitMovesTheFirstBytesOutWithoutCopying) {
  Buffer buffer;
  buffer.Append(Slice::Static("abc"));
  buffer.Append(Slice::Static("defg"));
  const uint8_t* second = buffer.IoVecs({}) == 0 ? nullptr : buffer.front().data();
  EXPECT_EQ(second, nullptr);
  Buffer none = buffer.Split(0);
  EXPECT_TRUE(none.empty());
  Buffer first = buffer.Split(5);
  EXPECT_EQ(Pieces(first), (Strings{"abc", "de"}));
  EXPECT_EQ(Pieces(buffer), Strings{"fg"});
  Buffer rest = buffer.Split(2);
  EXPECT_TRUE(buffer.empty());
  EXPECT_EQ(rest.ToString(), "fg");
}

TEST(BufferTest, SplitAtASliceBoundaryCutsNone) {
  Buffer buffer;
  Slice a = Slice::Copy("abc");
  buffer.Append(std::move(a));
  buffer.Append(Slice::Copy("def"));
  const int64_t before = Allocations();
  Buffer first = buffer.Split(3);
  EXPECT_EQ(Allocations(), before);
  first.Append("!");  // alone in its block: in place
  EXPECT_EQ(Pieces(first), Strings{"abc!"});
  EXPECT_EQ(buffer.ToString(), "def");
}

TEST(BufferTest, SharesAnyPart) {
  Buffer buffer;
  buffer.Append(Slice::Static("abc"));
  buffer.Append(Slice::Static("def"));
  buffer.Append(Slice::Static("ghi"));
  for (size_t offset = 0; offset <= 9; ++offset) {
    for (size_t size = 0; offset + size <= 9; ++size) {
      Buffer part = buffer.Share(offset, size);
      EXPECT_EQ(part.ToString(), std::string("abcdefghi").substr(offset, size));
      EXPECT_EQ(part.size(), size);
    }
  }
  EXPECT_EQ(buffer.ToString(), "abcdefghi");
}

TEST(BufferTest, LinearizeCopiesOnlyWhatIsNotInOnePiece) {
  Buffer buffer;
  buffer.Append(Slice::Static("abc"));
  buffer.Append(Slice::Static("def"));
  buffer.Append(Slice::Static("gh"));
  const uint8_t* data = buffer.front().data();
  EXPECT_EQ(View(buffer.Linearize(3)), "abc");
  EXPECT_EQ(buffer.front().data(), data);
  EXPECT_EQ(View(buffer.Linearize(7)), "abcdefg");
  EXPECT_EQ(Pieces(buffer), (Strings{"abcdefg", "h"}));
  data = buffer.front().data();
  EXPECT_EQ(View(buffer.Linearize(8)), "abcdefgh");
  EXPECT_EQ(buffer.front().data(), data) << "the block had room";
  EXPECT_EQ(Pieces(buffer), Strings{"abcdefgh"});
}

TEST(BufferTest, ReserveAndCommitAppendInPlace) {
  Buffer buffer;
  buffer.Append("abc");
  absl::Span<uint8_t> room = buffer.Reserve(10'000);
  ASSERT_GE(room.size(), 10'000u);
  std::memcpy(room.data(), "defgh", 5);
  buffer.Commit(3);
  EXPECT_EQ(buffer.ToString(), "abcdef");
  absl::Span<uint8_t> more = buffer.Reserve(5'000);
  EXPECT_EQ(more.data(), room.data() + 3) << "the room that is left";
  buffer.Commit(0);
  buffer.Append("!");
  EXPECT_EQ(buffer.ToString(), "abcdef!");
  EXPECT_EQ(Pieces(buffer).size(), 2u) << "appended in the reserved block";
}

TEST(BufferTest, AppendFillsReservedRoom) {
  Buffer buffer;
  absl::Span<uint8_t> room = buffer.Reserve(4'000);
  for (int i = 0; i < 80; ++i) buffer.Append(Text(50, i));
  EXPECT_EQ(buffer.front().data(), room.data());
  EXPECT_EQ(buffer.front().size(), 4'000u);
}

TEST(BufferTest, ReservedRoomIsNoPartOfTheBytes) {
  Buffer buffer;
  buffer.Reserve(100);
  EXPECT_TRUE(buffer.empty());
  EXPECT_EQ(Pieces(buffer), Strings{});
  EXPECT_TRUE(buffer.front().empty());
  EXPECT_GT(buffer.allocated_bytes(), 0u);
  buffer.Append(Slice::Static("slice"));
  buffer.Reserve(100);
  EXPECT_EQ(Pieces(buffer), Strings{"slice"});
  buffer.Append(Slice::Static("other"));
  EXPECT_EQ(Pieces(buffer), (Strings{"slice", "other"}));
}

TEST(BufferTest, CommittingNothingFreesTheRoom) {
  Buffer buffer;
  buffer.Reserve(100);
  buffer.Commit(0);
  EXPECT_EQ(buffer.allocated_bytes(), 0u);
}

TEST(BufferTest, IoVecsFillsWhatThereIsRoomFor) {
  Buffer buffer;
  buffer.Append(Slice::Static("a"));
  buffer.Append(Slice::Static("b"));
  buffer.Append(Slice::Static("c"));
  iovec pieces[2] = {};
  EXPECT_EQ(buffer.IoVecs(pieces), 2u);
  EXPECT_EQ(*static_cast<const char*>(pieces[1].iov_base), 'b');
  EXPECT_EQ(buffer.IoVecs({}), 0u);
}

TEST(BufferTest, CopiesAnyPartOut) {
  Buffer buffer;
  buffer.Append(Slice::Static("abc"));
  buffer.Append(Slice::Static("def"));
  for (size_t offset = 0; offset <= 6; ++offset) {
    for (size_t size = 0; offset + size <= 6; ++size) {
      std::string out(size, '.');
      buffer.CopyTo(reinterpret_cast<uint8_t*>(out.data()), offset, size);
      EXPECT_EQ(out, std::string("abcdef").substr(offset, size));
    }
  }
}

TEST(BufferTest, OwnFromLetsGoOfALentBlock) {
  BlockPtr lent = Lend("one two three");
  Buffer buffer;
  buffer.Append(Slice::Static("["));
  buffer.AppendFrom(*lent, {lent->storage() + 8, 5});
  buffer.AppendFrom(*lent, {lent->storage(), 3});
  buffer.Append(Slice::Static("]"));
  buffer.AppendFrom(*lent, {lent->storage() + 4, 3});
  EXPECT_TRUE(buffer.Refers(*lent));
  buffer.OwnFrom(*lent);
  EXPECT_FALSE(buffer.Refers(*lent));
  EXPECT_TRUE(lent->unique());
  std::memset(lent->storage(), 'x', 13);
  EXPECT_EQ(Pieces(buffer), (Strings{"[", "threeone", "]", "two"}));
  EXPECT_LE(buffer.allocated_bytes(), 4u * 32 + 2 * 32);
  buffer.OwnFrom(*lent);  // nothing to do
  EXPECT_EQ(buffer.ToString(), "[threeone]two");
}

TEST(BufferTest, ShrinkToFitGivesBackSpareRoom) {
  Buffer buffer;
  buffer.Reserve(60'000);
  buffer.Append("tail");
  EXPECT_GT(buffer.allocated_bytes(), 60'000u);
  buffer.ShrinkToFit();
  EXPECT_LE(buffer.allocated_bytes(), 64u);
  EXPECT_EQ(buffer.ToString(), "tail");
}

TEST(BufferTest, MovingLeavesAnEmptyBuffer) {
  Buffer a;
  a.Append("abc");
  Buffer b = std::move(a);
  EXPECT_TRUE(a.empty());  // NOLINT(bugprone-use-after-move): it is empty by contract
  EXPECT_EQ(b.ToString(), "abc");
  a.Append("old");
  a = std::move(b);
  EXPECT_EQ(a.ToString(), "abc");
  EXPECT_TRUE(b.empty());  // NOLINT(bugprone-use-after-move): it is empty by contract
}

// What is a user's is released when the Buffer has done with it: the release function may use it.
TEST(BufferTest, AReleaseFunctionMayAppendToTheBufferThatLetGo) {
  for (int way = 0; way < 4; ++way) {
    Buffer buffer;
    bool released = false;
    buffer.Append(Slice::External(Bytes("external"), [&] {
      released = true;
      EXPECT_EQ(buffer.size(), way == 0 ? 4u : 0u);
      buffer.Append("appended in release");
      buffer.Drain(9);
    }));
    if (way == 0) {
      buffer.Append("more bytes");
      buffer.Drain(14);
      EXPECT_EQ(buffer.ToString(), "ded in release") << "'ytes' and 'appen' were drained";
    } else if (way == 1) {
      buffer.Drain(8);
    } else if (way == 2) {
      buffer.Clear();
    } else {
      buffer = Buffer();
    }
    EXPECT_TRUE(released);
    if (way != 0) {
      EXPECT_EQ(buffer.ToString(), "in release");
    }
  }
}

TEST(BufferTest, AQueueOfBlocksCostsAtMostTwiceItsBytes) {
  for (size_t size : {2'100, 3'000, 4'096, 5'000, 8'192, 16'384, 20'000, 32'768, 65'536, 100'000}) {
    Buffer buffer;
    buffer.Append(Text(size));
    EXPECT_LE(buffer.allocated_bytes(), 2 * size + 64) << size;
  }
}

TEST(BufferTest, ASteadyFlowAllocatesNothing) {
  Buffer buffer;
  const std::string text = Text(1'200);
  int64_t before = 0;
  for (int i = 0; i < 200; ++i) {
    if (i == 100) before = Allocations();
    buffer.Reserve(4'000);
    buffer.Append(text);
    buffer.Append(text);
    buffer.Drain(buffer.size());
  }
  EXPECT_EQ(Allocations(), before);
}

TEST(BufferTest, ASmallQueueThatMovesAlongStaysSmall) {
  Buffer buffer;
  std::string expected;
  for (int i = 0; i < 10'000; ++i) {
    const std::string text = Text(30, i);
    buffer.Append(text);
    expected += text;
    if (expected.size() > 100) {
      buffer.Drain(30);
      expected.erase(0, 30);
    }
    ASSERT_EQ(buffer.ToString(), expected);
    ASSERT_LE(buffer.allocated_bytes(), 1'100u);
  }
}

TEST(BufferTest, AFullBlockIsNotMovedToMakeRoom) {
  Buffer buffer;
  buffer.Reserve(4'000);
  buffer.Append(Text(4'072));
  buffer.Drain(100);
  const uint8_t* data = buffer.front().data();
  buffer.Append(Text(50));
  EXPECT_EQ(buffer.front().data(), data);
  EXPECT_EQ(Pieces(buffer).size(), 2u);
}

// Some Buffers against strings, in a random order of all operations.
class Differential {
 public:
  explicit Differential(uint32_t seed) : random_(seed) {}

  void Run(int steps) {
    for (int i = 0; i < steps && !testing::Test::HasFailure(); ++i) {
      const size_t a = Below(kBuffers);
      Step(a);
      Check(a);
      if (Below(50) == 0) {
        for (size_t b = 0; b < kBuffers; ++b) Check(b);
      }
    }
  }

 private:
  static constexpr size_t kBuffers = 4;

  size_t Below(size_t n) { return random_() % n; }

  // Mostly small; also around the sizes at which blocks change.
  size_t RandomSize() {
    static constexpr size_t kEdges[] = {8, 16, 40, 984, 1'000, 4'072, 17'384, 66'536};
    switch (Below(12)) {
      case 0:
        return Below(3);
      case 1:
        return kEdges[Below(std::size(kEdges))] + Below(5) - 2;
      case 2:
        return Below(20'000);
      case 3:
      case 4:
        return Below(2'000);
      default:
        return Below(60);
    }
  }

  std::string RandomText() { return Text(RandomSize(), static_cast<int>(Below(90))); }

  Slice RandomSlice(std::string* text) {
    *text = RandomText();
    switch (Below(5)) {
      case 0:
        return Slice::Take(*text);
      case 1: {
        auto kept = std::make_shared<std::string>(*text);
        return Slice::External(Bytes(*kept), [kept] {});
      }
      case 2: {  // a part of something larger
        Slice whole = Slice::Copy("<<" + *text + ">>");
        return whole.Subslice(2, text->size());
      }
      default:
        return Slice::Copy(*text);
    }
  }

  // The next bytes of a block that several Buffers share.
  absl::Span<const uint8_t> Lent() {
    const size_t size = std::min(Below(200) + 1, kLentBytes);
    if (lent_ == nullptr || lent_used_ + size > kLentBytes || Below(30) == 0) NewLent();
    const absl::Span<const uint8_t> bytes(lent_->storage() + lent_used_, size);
    lent_used_ += size;
    return bytes;
  }

  void NewLent() {
    if (lent_ != nullptr && Below(2) == 0) {
      for (Buffer& buffer : buffers_) {
        buffer.OwnFrom(*lent_);
        ASSERT_FALSE(buffer.Refers(*lent_));
      }
      ASSERT_TRUE(lent_->unique());
    } else {
      lent_.reset(Block::New(kLentBytes));
    }
    const std::string text = Text(kLentBytes, static_cast<int>(Below(90)));
    std::memcpy(lent_->storage(), text.data(), kLentBytes);
    lent_used_ = 0;
  }

  void Step(size_t a) {
    Buffer& buffer = buffers_[a];
    std::string& model = models_[a];
    const size_t b = (a + 1 + Below(kBuffers - 1)) % kBuffers;
    std::string text;
    switch (Below(22)) {
      case 0:
      case 1:
      case 2:
        text = RandomText();
        buffer.Append(text);
        model += text;
        break;
      case 3:
        buffer.Append(RandomSlice(&text));
        model += text;
        break;
      case 4:
      case 5: {
        const absl::Span<const uint8_t> bytes = Lent();
        if (Below(2) == 0) {
          buffer.AppendFrom(*lent_, bytes);
        } else {
          buffer.Append(Slice::FromBlock(*lent_, bytes));
        }
        model += std::string(View(bytes));
        break;
      }
      case 6:
        buffer.Append(std::move(buffers_[b]));
        model += std::exchange(models_[b], "");
        break;
      case 7:
        text = RandomText();
        buffer.Prepend(text);
        model.insert(0, text);
        break;
      case 8:
        buffer.Prepend(RandomSlice(&text));
        model.insert(0, text);
        break;
      case 9:
        buffer.Prepend(std::move(buffers_[b]));
        model.insert(0, std::exchange(models_[b], ""));
        break;
      case 10:
      case 11: {
        const size_t size = std::min(RandomSize(), model.size());
        buffer.Drain(size);
        model.erase(0, size);
        break;
      }
      case 12:
      case 13: {
        const size_t size =
            Below(4) == 0 ? Below(model.size() + 1) : std::min(RandomSize(), model.size());
        buffers_[b] = buffer.Split(size);
        models_[b] = model.substr(0, size);
        model.erase(0, size);
        break;
      }
      case 14: {
        const size_t offset = Below(model.size() + 1);
        const size_t size = Below(model.size() - offset + 1);
        buffers_[b] = buffer.Share(offset, size);
        models_[b] = model.substr(offset, size);
        break;
      }
      case 15: {
        const size_t size = std::min(RandomSize(), model.size());
        ASSERT_EQ(View(buffer.Linearize(size)), model.substr(0, size));
        ASSERT_GE(buffer.front().size(), size);
        break;
      }
      case 16:
      case 17: {
        const size_t size = RandomSize();
        const absl::Span<uint8_t> room = buffer.Reserve(size);
        ASSERT_GE(room.size(), size);
        text = Text(std::min(size, Below(size + 1)), static_cast<int>(Below(90)));
        if (Below(4) == 0) break;  // reserved room stays behind
        if (!text.empty()) std::memcpy(room.data(), text.data(), text.size());
        buffer.Commit(text.size());
        model += text;
        break;
      }
      case 18:
        buffer.ShrinkToFit();
        ASSERT_LE(buffer.allocated_bytes(),
                  70'000u + 3 * model.size() + 70'000u * Pieces(buffer).size());
        break;
      case 19: {
        const size_t offset = Below(model.size() + 1);
        text.resize(Below(model.size() - offset + 1));
        buffer.CopyTo(reinterpret_cast<uint8_t*>(text.data()), offset, text.size());
        ASSERT_EQ(text, model.substr(offset, text.size()));
        break;
      }
      case 20:
        std::swap(buffers_[a], buffers_[b]);
        std::swap(models_[a], models_[b]);
        break;
      case 21:
        if (model.size() > 100'000 || Below(10) == 0) {
          buffer.Clear();
          model.clear();
          ASSERT_EQ(buffer.allocated_bytes(), 0u);
        }
        break;
    }
    Check(b);
  }

  void Check(size_t a) {
    const Buffer& buffer = buffers_[a];
    ASSERT_EQ(buffer.size(), models_[a].size());
    ASSERT_EQ(buffer.empty(), models_[a].empty());
    ASSERT_TRUE(buffer.ToString() == models_[a]) << "buffer " << a;
    std::vector<iovec> pieces(std::min<size_t>(buffer.size() + 1, 4'096));
    const size_t count = buffer.IoVecs(absl::MakeSpan(pieces));
    size_t offset = 0;
    for (size_t i = 0; i < count; ++i) {
      ASSERT_GT(pieces[i].iov_len, 0u);
      ASSERT_EQ(std::memcmp(pieces[i].iov_base, models_[a].data() + offset, pieces[i].iov_len), 0);
      offset += pieces[i].iov_len;
    }
    if (count < pieces.size()) {
      ASSERT_EQ(offset, buffer.size());
    }
    ASSERT_EQ(buffer.front().size(), count == 0 ? 0 : pieces[0].iov_len);
  }

  static constexpr size_t kLentBytes = 3'000;

  std::mt19937 random_;
  BlockPtr lent_;
  size_t lent_used_ = 0;
  Buffer buffers_[kBuffers];
  std::string models_[kBuffers];
};

TEST(BufferTest, BehavesAsAStringDoes) {
  for (uint32_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    internal::TrimPool();
    const int64_t before = internal::CountAllocations().live;
    Differential(seed).Run(1'500);
    internal::TrimPool();
    if (HasFailure()) return;
    ASSERT_EQ(internal::CountAllocations().live, before) << "leaked";
  }
}

TEST(BufferTest, SharedBytesMayBeReadAndReleasedOnAnotherThread) {
  for (int round = 0; round < 200; ++round) {
    Buffer mine;
    mine.Append(Text(100));
    mine.Append(Slice::Copy(Text(5'000)));
    mine.Append(Slice::Take(Text(300)));
    Buffer theirs = mine.Share();
    const std::string expected = mine.ToString();
    std::thread other([&, theirs = std::move(theirs)]() mutable {
      EXPECT_EQ(theirs.ToString(), expected);
      theirs.Drain(50);
      theirs.Append("more");
    });
    EXPECT_EQ(mine.ToString(), expected);
    mine.Append("and more");
    mine.Clear();
    other.join();
  }
}

// One thread's unique blocks are written to again after another thread has read and released them.
TEST(BufferTest, ABlockThatAnotherThreadHasReleasedMayBeWrittenAgain) {
  Buffer buffer;
  buffer.Reserve(4'000);
  buffer.Append("first");
  std::atomic<bool> released{false};
  Buffer shared = buffer.Share();
  std::thread other([&] {
    EXPECT_EQ(shared.ToString(), "first");
    shared.Clear();
    released.store(true, std::memory_order_relaxed);  // orders nothing: the count must
  });
  while (!released.load(std::memory_order_relaxed)) std::this_thread::yield();
  buffer.Append(" second");
  EXPECT_EQ(Pieces(buffer), Strings{"first second"});
  other.join();
}

#if GTEST_HAS_DEATH_TEST
TEST(BufferDeathTest, GoingBeyondTheEndIsABug) {
  Buffer buffer;
  buffer.Append("abc");
  uint8_t out[8];
  EXPECT_DEATH(buffer.Drain(4), "check failed");
  EXPECT_DEATH(buffer.Split(4), "check failed");
  EXPECT_DEATH(buffer.Share(2, 2), "check failed");
  EXPECT_DEATH(buffer.Share(4, 0), "check failed");
  EXPECT_DEATH(buffer.Linearize(4), "check failed");
  EXPECT_DEATH(buffer.CopyTo(out, 1, 3), "check failed");
  EXPECT_DEATH(buffer.Commit(100), "check failed");
}
#endif

}  // namespace
}  // namespace sluice
