#ifndef SLUICE_CORE_BUFFER_H_
#define SLUICE_CORE_BUFFER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/slice.h"

struct iovec;  // <sys/uio.h>

namespace sluice {

// Buffer is a queue of bytes: a chain of Slices. Bytes enter at the tail (or are put in front), by
// copy or by sharing a Slice, and leave at the front. It is no stream and no ring: nothing in it is
// bounded, who fills it looks at size().
//
// Example:
//   Buffer out;
//   out.Append("HTTP/1.1 200 OK\r\n\r\n");         // copied
//   out.Append(page);                             // a Slice: shared, not copied
//   iovec pieces[16];
//   size_t count = out.IoVecs(pieces);
//   ssize_t sent = writev(fd, pieces, count);
//   if (sent > 0) out.Drain(sent);
//
// The memory:
//
//   Buffer { tail, size }        16 bytes; an empty Buffer owns nothing else
//             |
//             v
//     +---> [tail node] ---> [first node] ---> ... ---+      nodes of 32 bytes: a link and a Slice
//     +-----------------------------------------------+
//
// Append(bytes) fills the room behind the last Slice if nobody shares its block. Otherwise a small
// Buffer gets a block of the right size (3 bytes cost 32, and the node) and grows as a vector does,
// in one piece, up to 4 KiB; then it takes pooled blocks, each larger than the one before, up to 64
// KiB. A writer who knows that much will follow calls Reserve first and saves the growing.
//
// Spans and iovecs that a Buffer gives out are valid until its next non-const call. Bytes that are
// appended or prepended must not lie in the Buffer itself. Offsets and sizes beyond size() are bugs
// of the caller and end the process.
//
// Letting go of bytes may run the release function of a Slice::External. That may use the Buffer,
// which has then removed the bytes already, for instance to append more; but not where Linearize,
// which gives out a span, let go of them.
//
// Thread-compatible. Two Buffers that share Slices may be used on two threads.
class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;  // Share() is the explicit copy
  Buffer(Buffer&& other) noexcept
      : tail_(std::exchange(other.tail_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer other) noexcept {
    swap(*this, other);
    return *this;
  }
  ~Buffer() { Clear(); }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Copies.
  void Append(absl::Span<const uint8_t> bytes);
  void Append(absl::string_view bytes) { Append(AsBytes(bytes)); }

  // Shares, never copies. A Slice that continues the last one in the same memory is joined with it:
  // many small Slices of one block, appended in order, stay one piece.
  void Append(Slice slice);

  // The same as Append(Slice::FromBlock(block, bytes)), but cheaper where the bytes are joined.
  void AppendFrom(Block& block, absl::Span<const uint8_t> bytes);

  // Moves all of `other` to the end.
  void Append(Buffer&& other);

  // Copies to the front: into the room before the first Slice if nobody shares its block, so that a
  // header can be put where drained bytes were.
  void Prepend(absl::Span<const uint8_t> bytes);
  void Prepend(absl::string_view bytes) { Prepend(AsBytes(bytes)); }
  void Prepend(Slice slice);
  void Prepend(Buffer&& other);

  // At least `size` contiguous bytes to write to, behind the last byte; then Commit(n) appends the
  // first n of them. Their contents are undefined. A call of any other non-const function in
  // between may give the room to others.
  absl::Span<uint8_t> Reserve(size_t size);

  // `size` is at most that of the span that Reserve gave. Commit(0) to an empty Buffer frees the
  // room, so that a Buffer that waits for bytes owns nothing.
  void Commit(size_t size);

  // Removes the first `size` bytes. Slices that are used up are let go at once.
  void Drain(size_t size);

  // Removes all and frees all, reserved room too.
  void Clear() {
    if (tail_ != nullptr) FreeChain();
  }

  // Moves the first `size` bytes out, without copying; a Slice that is cut is shared by both.
  Buffer Split(size_t size);

  // The same bytes a second time, without copying.
  Buffer Share() const { return Share(0, size_); }
  Buffer Share(size_t offset, size_t size) const;

  // The first Slice's bytes; empty only when the Buffer is.
  absl::Span<const uint8_t> front() const;

  // The first `size` bytes in one piece. They are copied only when they are not in one piece yet,
  // and then stay so.
  absl::Span<const uint8_t> Linearize(size_t size);

  // Describes the bytes from the front on, for writev and the like, and returns how many entries
  // were filled. More bytes than fit into `pieces` are left out.
  size_t IoVecs(absl::Span<struct iovec> pieces) const;

  void CopyTo(uint8_t* out, size_t offset, size_t size) const;
  std::string ToString() const;

  // Whether any of the bytes lie in `block`.
  bool Refers(const Block& block) const;

  // Replaces what lies in `lent` by copies of the right size, so that the block can be used again.
  // Costs nothing when nothing does.
  void OwnFrom(const Block& lent);

  // Gives back spare room for a Buffer that will wait: blocks that it alone owns and fills to less
  // than half are replaced by copies of the right size.
  void ShrinkToFit();

  // The memory that the Buffer keeps alive: nodes and whole blocks, those that it shares too.
  size_t allocated_bytes() const;

  friend void swap(Buffer& a, Buffer& b) noexcept {
    std::swap(a.tail_, b.tail_);
    std::swap(a.size_, b.size_);
  }

 private:
  struct Node;

  static absl::Span<const uint8_t> AsBytes(absl::string_view text) { return Slice::AsBytes(text); }

  static Node* NewNode(Slice&& slice);
  static void FreeNode(Node* node);
  static uint8_t* Writable(const Slice& slice);
  static uint8_t* WritableEnd(const Slice& slice);

  void FreeChain();
  Buffer TakeSlices(size_t size);
  void CutFront(size_t size);
  void ShareFrom(Block& block, absl::Span<const uint8_t> bytes);
  void LinkLast(Slice&& slice);
  void LinkEmpty(size_t capacity);
  void LinkFirst(Slice&& slice);
  void UnlinkAfter(Node* node);
  void DropReserved();

  size_t LeadingBytesIn(const Block& block) const;
  size_t TailRoom() const;
  void FillTail(absl::Span<const uint8_t> bytes);
  void AppendGrowing(absl::Span<const uint8_t> bytes);
  bool GrowInOnePiece(size_t more);
  size_t NextCapacity(size_t size) const;

  // Null when the Buffer owns nothing. Else no node is empty, but that the tail may be an empty
  // Slice that holds reserved room.
  Node* tail_ = nullptr;
  size_t size_ = 0;
};

}  // namespace sluice

#endif  // SLUICE_CORE_BUFFER_H_
