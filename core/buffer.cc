#include "sluice/core/buffer.h"

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "absl/types/span.h"
#include "sluice/core/internal/block.h"
#include "sluice/core/internal/check.h"
#include "sluice/core/internal/pool.h"
#include "sluice/core/slice.h"

namespace sluice {
namespace {

using internal::PoolAcquire;
using internal::PoolClass;
using internal::PoolRelease;

// Prepend takes a block with room for some more headers in front of the first.
constexpr size_t kPrependRoom = 40;

}  // namespace

struct Buffer::Node {
  Node* next;
  Slice slice;
};

// Where the bytes of a Slice lie in its block, which the caller may write to.
uint8_t* Buffer::Writable(const Slice& slice) {
  uint8_t* storage = slice.block_->storage();
  return storage + (slice.data_ - storage);
}

uint8_t* Buffer::WritableEnd(const Slice& slice) { return Writable(slice) + slice.size_; }

void Buffer::Append(absl::Span<const uint8_t> bytes) {
  if (bytes.size() <= TailRoom()) {
    FillTail(bytes);
  } else {
    AppendGrowing(bytes);
  }
}

void Buffer::Append(Slice slice) {
  if (slice.empty()) return;
  DropReserved();
  size_ += slice.size();
  if (tail_ != nullptr) {
    Slice& last = tail_->slice;
    if (last.block_ == slice.block_ && last.data_ + last.size_ == slice.data_) {
      last.size_ += slice.size_;
      return;
    }
  }
  LinkLast(std::move(slice));
}

void Buffer::AppendFrom(Block& block, absl::Span<const uint8_t> bytes) {
  if (tail_ != nullptr) {
    Slice& last = tail_->slice;
    if (last.block_ == &block && last.data_ + last.size_ == bytes.data()) {
      last.size_ += bytes.size();
      size_ += bytes.size();
      return;
    }
  }
  ShareFrom(block, bytes);
}

// Apart, so that what is joined pays for no stack frame.
[[gnu::noinline]] void Buffer::ShareFrom(Block& block, absl::Span<const uint8_t> bytes) {
  Slice slice = Slice::FromBlock(block, bytes);
  if (tail_ != nullptr || bytes.empty()) return Append(std::move(slice));
  size_ = bytes.size();
  LinkLast(std::move(slice));
}

void Buffer::Append(Buffer&& other) {
  SLUICE_DCHECK(this != &other);
  if (other.tail_ == nullptr) return;
  DropReserved();
  if (tail_ == nullptr) {
    swap(*this, other);
    return;
  }
  // The first Slice goes by itself: it may continue our last.
  Node* first = other.tail_->next;
  const size_t first_size = first->slice.size();
  Append(std::move(first->slice));
  size_ += other.size_ - first_size;
  other.size_ = 0;
  if (first == other.tail_) {
    other.tail_ = nullptr;
  } else {
    Node* front = tail_->next;
    tail_->next = first->next;
    tail_ = std::exchange(other.tail_, nullptr);
    tail_->next = front;
  }
  FreeNode(first);
}

void Buffer::Prepend(absl::Span<const uint8_t> bytes) {
  if (bytes.empty()) return;
  DropReserved();
  if (tail_ != nullptr) {
    Slice& first = tail_->next->slice;
    Block* block = first.block_;
    if (block != nullptr && block->writable() &&
        static_cast<size_t>(first.data_ - block->storage()) >= bytes.size()) {
      first.data_ -= bytes.size();
      first.size_ += bytes.size();
      size_ += bytes.size();
      std::memcpy(Writable(first), bytes.data(), bytes.size());
      return;
    }
  }
  Block* block = Block::NewExact(std::max(bytes.size(), kPrependRoom));
  uint8_t* data = block->storage() + block->capacity() - bytes.size();
  std::memcpy(data, bytes.data(), bytes.size());
  size_ += bytes.size();
  LinkFirst(Slice(block, {data, bytes.size()}));
}

void Buffer::Prepend(Slice slice) {
  if (slice.empty()) return;
  DropReserved();
  size_ += slice.size();
  if (tail_ != nullptr) {
    Slice& first = tail_->next->slice;
    if (first.block_ == slice.block_ && slice.data_ + slice.size_ == first.data_) {
      first.data_ = slice.data_;
      first.size_ += slice.size_;
      return;
    }
  }
  LinkFirst(std::move(slice));
}

void Buffer::Prepend(Buffer&& other) {
  other.Append(std::move(*this));
  swap(*this, other);
}

absl::Span<uint8_t> Buffer::Reserve(size_t size) {
  size_t room = TailRoom();
  if (room < size) {
    DropReserved();
    LinkEmpty(size);
    room = TailRoom();
  }
  if (room == 0) return {};
  return {WritableEnd(tail_->slice), room};
}

void Buffer::Commit(size_t size) {
  SLUICE_CHECK(size <= TailRoom());
  if (size == 0) return DropReserved();
  tail_->slice.size_ += size;
  size_ += size;
}

void Buffer::Drain(size_t size) {
  SLUICE_CHECK(size <= size_);
  if (size == 0) return;
  if (size == size_) return FreeChain();
  const Buffer drained = TakeSlices(size);
  CutFront(size - drained.size_);
}

Buffer Buffer::Split(size_t size) {
  SLUICE_CHECK(size <= size_);
  if (size == 0) return Buffer();
  if (size == size_) return std::move(*this);
  Buffer out = TakeSlices(size);
  const size_t rest = size - out.size_;
  if (rest > 0) {
    out.LinkLast(tail_->next->slice.Subslice(0, rest));
    out.size_ += rest;
    CutFront(rest);
  }
  return out;
}

Buffer Buffer::Share(size_t offset, size_t size) const {
  SLUICE_CHECK(offset <= size_ && size <= size_ - offset);
  Buffer out;
  if (size == 0) return out;
  out.size_ = size;
  const Node* node = tail_->next;
  for (; offset >= node->slice.size_; node = node->next) offset -= node->slice.size_;
  for (; size > 0; node = node->next) {
    const size_t piece = std::min(size, node->slice.size_ - offset);
    out.LinkLast(node->slice.Subslice(offset, piece));
    size -= piece;
    offset = 0;
  }
  return out;
}

absl::Span<const uint8_t> Buffer::front() const {
  return tail_ == nullptr ? absl::Span<const uint8_t>() : tail_->next->slice.span();
}

absl::Span<const uint8_t> Buffer::Linearize(size_t size) {
  SLUICE_CHECK(size <= size_);
  if (front().size() >= size) return front().first(size);
  const Buffer pieces = Split(size);
  const Slice& first = pieces.tail_->next->slice;
  Block* block = first.block_;
  uint8_t* data;
  if (block != nullptr && block->writable() && block->capacity() >= size) {
    data = Writable(first);
    if (data + size > block->storage() + block->capacity()) {
      data = static_cast<uint8_t*>(std::memmove(block->storage(), data, first.size_));
    }
    pieces.CopyTo(data + first.size_, first.size_, size - first.size_);
    block->Ref();
  } else {
    block = Block::New(size);
    data = block->storage();
    pieces.CopyTo(data, 0, size);
  }
  size_ += size;
  LinkFirst(Slice(block, {data, size}));
  return front();
}

size_t Buffer::IoVecs(absl::Span<struct iovec> pieces) const {
  if (size_ == 0) return 0;
  size_t count = 0;
  const Node* node = tail_;
  do {
    node = node->next;
    if (node->slice.empty()) break;  // reserved room: the end
    if (count == pieces.size()) break;
    pieces[count++] = {const_cast<uint8_t*>(node->slice.data_), node->slice.size_};
  } while (node != tail_);
  return count;
}

void Buffer::CopyTo(uint8_t* out, size_t offset, size_t size) const {
  SLUICE_CHECK(offset <= size_ && size <= size_ - offset);
  if (size == 0) return;
  const Node* node = tail_->next;
  for (; offset >= node->slice.size_; node = node->next) offset -= node->slice.size_;
  for (; size > 0; node = node->next) {
    const size_t piece = std::min(size, node->slice.size_ - offset);
    std::memcpy(out, node->slice.data_ + offset, piece);
    out += piece;
    size -= piece;
    offset = 0;
  }
}

std::string Buffer::ToString() const {
  std::string bytes(size_, '\0');
  CopyTo(reinterpret_cast<uint8_t*>(bytes.data()), 0, size_);
  return bytes;
}

bool Buffer::Refers(const Block& block) const {
  if (tail_ == nullptr) return false;
  const Node* node = tail_;
  do {
    node = node->next;
    if (node->slice.block_ == &block) return true;
  } while (node != tail_);
  return false;
}

void Buffer::OwnFrom(const Block& lent) {
  if (!Refers(lent)) return;
  DropReserved();
  Buffer old = std::move(*this);
  while (!old.empty()) {
    // Slices in `lent` that follow each other become one.
    const size_t run = old.LeadingBytesIn(lent);
    if (run == 0) {
      Append(old.Split(old.front().size()));
      continue;
    }
    Block* block = Block::NewExact(run);
    old.CopyTo(block->storage(), 0, run);
    old.Drain(run);
    Append(Slice(block, {block->storage(), run}));
  }
}

void Buffer::ShrinkToFit() {
  DropReserved();
  if (tail_ == nullptr) return;
  Node* node = tail_;
  do {
    node = node->next;
    Slice& slice = node->slice;
    if (slice.block_ != nullptr && slice.block_->writable() &&
        slice.size_ < slice.block_->capacity() / 2) {
      slice = Slice::Copy(slice.span());
    }
  } while (node != tail_);
}

size_t Buffer::allocated_bytes() const {
  if (tail_ == nullptr) return 0;
  size_t bytes = 0;
  const Block* previous = nullptr;
  const Node* node = tail_;
  do {
    node = node->next;
    const Block* block = node->slice.block_;
    bytes += sizeof(Node);
    if (block != nullptr && block != previous) bytes += block->footprint();
    previous = block;
  } while (node != tail_);
  return bytes;
}

inline Buffer::Node* Buffer::NewNode(Slice&& slice) {
  static_assert(sizeof(Buffer) == 16);
  static_assert(sizeof(Node) == internal::kPoolBytes[static_cast<int>(PoolClass::kNode)]);
  return new (PoolAcquire(PoolClass::kNode)) Node{nullptr, std::move(slice)};
}

void Buffer::FreeNode(Node* node) {
  node->~Node();
  PoolRelease(PoolClass::kNode, node);
}

// Releasing a Slice may run a user's code, which may use this Buffer: it is empty before that.
void Buffer::FreeChain() {
  Node* node = std::exchange(tail_->next, nullptr);
  tail_ = nullptr;
  size_ = 0;
  while (node != nullptr) FreeNode(std::exchange(node, node->next));
}

// Moves out the Slices that lie within the first `size` bytes as a whole. There are more bytes.
Buffer Buffer::TakeSlices(size_t size) {
  Buffer out;
  Node* const front = tail_->next;
  Node* node = front;
  while (node->slice.size_ <= size - out.size_) {
    out.size_ += node->slice.size_;
    out.tail_ = node;
    node = node->next;
  }
  if (out.tail_ == nullptr) return out;
  out.tail_->next = front;
  tail_->next = node;
  size_ -= out.size_;
  return out;
}

// Takes `size` bytes, fewer than it has, off the first Slice.
void Buffer::CutFront(size_t size) {
  Slice& first = tail_->next->slice;
  first.data_ += size;
  first.size_ -= size;
  size_ -= size;
}

inline void Buffer::LinkLast(Slice&& slice) {
  LinkFirst(std::move(slice));
  tail_ = tail_->next;
}

// Room for `capacity` bytes behind the last one.
void Buffer::LinkEmpty(size_t capacity) {
  Block* block = Block::New(capacity);
  LinkLast(Slice(block, {block->storage(), 0}));
}

inline void Buffer::LinkFirst(Slice&& slice) {
  Node* node = NewNode(std::move(slice));
  if (tail_ == nullptr) {
    node->next = node;
    tail_ = node;
  } else {
    node->next = tail_->next;
    tail_->next = node;
  }
}

// There are two nodes at least.
void Buffer::UnlinkAfter(Node* node) {
  Node* unlinked = node->next;
  node->next = unlinked->next;
  if (tail_ == unlinked) tail_ = node;
  FreeNode(unlinked);
}

void Buffer::DropReserved() {
  if (tail_ == nullptr || !tail_->slice.empty()) return;
  if (size_ == 0) return FreeChain();
  Node* before = tail_;
  while (before->next != tail_) before = before->next;
  UnlinkAfter(before);
}

size_t Buffer::LeadingBytesIn(const Block& block) const {
  size_t bytes = 0;
  const Node* node = tail_;
  do {
    node = node->next;
    if (node->slice.block_ != &block) break;
    bytes += node->slice.size_;
  } while (node != tail_);
  return bytes;
}

// The bytes that may be written behind the last Slice.
size_t Buffer::TailRoom() const {
  if (tail_ == nullptr) return 0;
  const Slice& last = tail_->slice;
  Block* block = last.block_;
  if (block == nullptr || !block->writable()) return 0;
  return block->storage() + block->capacity() - (last.data_ + last.size_);
}

// There is room.
void Buffer::FillTail(absl::Span<const uint8_t> bytes) {
  if (bytes.empty()) return;
  Slice& last = tail_->slice;
  std::memcpy(WritableEnd(last), bytes.data(), bytes.size());
  last.size_ += bytes.size();
  size_ += bytes.size();
}

void Buffer::AppendGrowing(absl::Span<const uint8_t> bytes) {
  if (GrowInOnePiece(bytes.size())) return FillTail(bytes);
  const size_t room = TailRoom();
  const absl::Span<const uint8_t> rest = bytes.subspan(room);
  const size_t capacity = NextCapacity(rest.size());
  FillTail(bytes.first(room));
  LinkEmpty(capacity);
  FillTail(rest);
}

// Makes room for `more` bytes behind a last Slice that is small, by moving it: to the front of its
// block if at least as many bytes are free there as move (so that each byte pays for one move), or
// to a larger block.
bool Buffer::GrowInOnePiece(size_t more) {
  if (tail_ == nullptr) return false;
  Slice& last = tail_->slice;
  Block* block = last.block_;
  const size_t total = last.size_ + more;
  if (block == nullptr || total > Block::kMinPooled || !block->writable()) return false;
  uint8_t* storage = block->storage();
  if (block->capacity() >= total && static_cast<size_t>(last.data_ - storage) >= last.size_) {
    std::memcpy(storage, last.data_, last.size_);
    last.data_ = storage;
    return true;
  }
  if (block->capacity() >= Block::kMinPooled) return false;
  block = Block::New(std::max(total, std::min(4 * block->capacity(), Block::kMinPooled)));
  std::memcpy(block->storage(), last.data_, last.size_);
  last = Slice(block, {block->storage(), last.size_});
  return true;
}

// For the block that follows the last one: larger than that if it was filled by Append, too.
size_t Buffer::NextCapacity(size_t size) const {
  if (tail_ == nullptr) return size;
  const Block* block = tail_->slice.block_;
  if (block == nullptr || !block->writable()) return size;
  return std::max(size, std::min(4 * block->capacity(), Block::kMaxPooled));
}

}  // namespace sluice
