#include "sluice/protocols/codec/internal/codec_stream_base.h"

#include <algorithm>
#include <new>

#include "absl/strings/str_cat.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/slice.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/timer.h"

namespace sluice::internal {
namespace {

// Beyond what is given at once, memory is at most so many times what has arrived.
constexpr size_t kGrowth = 4;

// Where a message's size is not announced.
constexpr size_t kSmallestGuess = 64;

// From so many missing bytes on, receiving them in their place saves more than the system call that
// it takes.
constexpr size_t kFillBytes = 32 * 1024;

// A frame of so many bytes is sooner copied than shared.
constexpr size_t kCopyBytes = 2048;

// How much memory for a message of which `size` bytes are there, and `want` (0: unknown) are needed
// to go on.
size_t CapacityFor(size_t size, size_t want) {
  const size_t wish = want != 0 ? want : std::max(kSmallestGuess, 2 * size);
  const size_t bound = std::max(CodecStreamBase::kAnnouncedAtOnce, kGrowth * size);
  // For a little more (sizes like 1 MiB, and a header) it would be copied once again.
  return wish <= bound + bound / 8 ? std::max(size, wish) : bound;
}

}  // namespace

// MessageSink.

Buffer& MessageSink::buffer() {
  if (!long_) {
    buffer_.Append(absl::MakeConstSpan(short_, size_));
    size_ = kShort;
    long_ = true;
  }
  return buffer_;
}

void MessageSink::AppendLong(absl::Span<const uint8_t> bytes) {
  if (!long_) buffer_.Reserve(size_ + bytes.size());
  buffer().Append(bytes);
}

SendResult MessageSink::SendOn(Stream& stream) {
  if (ABSL_PREDICT_TRUE(!long_)) return stream.Send(absl::MakeConstSpan(short_, size_));
  return stream.Send(std::move(buffer_));
}

// What is kept: at the beginning of its block, with the bytes behind it. The Stream's send queue
// may share the block (SendInPlace); the frames that it shares are consumed, and not written to any
// more.

struct CodecStreamBase::Resumption : TimerNode {
  explicit Resumption(CodecStreamBase& owner)
      : TimerNode([](TimerNode& node) {
          CodecStreamBase& base = static_cast<Resumption&>(node).stream;
          Dispatch dispatch(base);
          base.AfterCallback(dispatch);
        }),
        stream(owner) {}
  CodecStreamBase& stream;
};

struct CodecStreamBase::Kept {
  size_t begin = 0;
  size_t end = 0;
  size_t want = 0;       // from `begin` on, to go on decoding; 0: unknown
  bool filling = false;  // the transport receives into the room at the end
  std::unique_ptr<Resumption> resumption;

  static Block& New(size_t capacity) {
    Block& block = *Block::NewExact(sizeof(Kept) + capacity);
    new (block.storage()) Kept;
    return block;
  }
  static Kept& In(Block& block) { return *std::launder(reinterpret_cast<Kept*>(block.storage())); }
  static uint8_t* Bytes(Block& block) { return block.storage() + sizeof(Kept); }
  static size_t Capacity(const Block& block) { return block.capacity() - sizeof(Kept); }
  static absl::Span<uint8_t> Contents(Block& block) {
    return absl::MakeSpan(Bytes(block) + In(block).begin, In(block).size());
  }
  size_t size() const { return end - begin; }
};

CodecStreamBase::Kept& CodecStreamBase::kept() const { return Kept::In(*kept_); }

size_t CodecStreamBase::kept_bytes() const { return kept_ == nullptr ? 0 : kept_->footprint(); }

// Replaces what is kept; `bytes` may lie in it.
void CodecStreamBase::Keep(absl::Span<const uint8_t> bytes, size_t want) {
  Block& block = Kept::New(CapacityFor(bytes.size(), want));
  std::memcpy(Kept::Bytes(block), bytes.data(), bytes.size());
  Kept::In(block).end = bytes.size();
  Kept::In(block).want = want;
  DropKept();
  kept_ = &block;
}

void CodecStreamBase::KeepMore(absl::Span<const uint8_t> bytes) {
  if (bytes.empty()) return;
  const absl::Span<const uint8_t> contents = Kept::Contents(*kept_);
  if (kept().end + bytes.size() > Kept::Capacity(*kept_)) {
    Keep(contents, contents.size() + bytes.size());
  }
  std::memcpy(Kept::Bytes(*kept_) + kept().end, bytes.data(), bytes.size());
  kept().end += bytes.size();
}

void CodecStreamBase::DropKept() {
  if (kept_ == nullptr) return;
  if (kept().filling) transport_->ReceiveInto({});
  kept().~Kept();
  std::exchange(kept_, nullptr)->Unref();
}

// The transport puts a long rest into its place itself.
void CodecStreamBase::FillFromTransport() {
  const bool full_but_unfinished =
      kept().end == Kept::Capacity(*kept_) && kept().size() < kept().want;
  if (full_but_unfinished) Keep(Kept::Contents(*kept_), kept().want);
  Kept& state = kept();
  const size_t full = std::min(state.begin + state.want, Kept::Capacity(*kept_));
  if (state.filling || full < state.end + kFillBytes) return;
  state.filling = true;
  transport_->ReceiveInto(absl::MakeSpan(Kept::Bytes(*kept_) + state.end, full - state.end));
}

// The beginning and the end.

CodecStreamBase::~CodecStreamBase() {
  if (dispatch_ != nullptr) {
    dispatch_->stream_ = nullptr;
    dispatch_->stopped_ = true;
  }
  // A transport of the loop's is gone by now, or is about to go.
  if (owns_transport_) delete transport_;
  if (kept_ != nullptr) {
    kept().filling = false;
    DropKept();
  }
}

void CodecStreamBase::Own(std::unique_ptr<Stream> transport) {
  owns_transport_ = true;
  transport.release()->SetHandler(*this);
}

void CodecStreamBase::GiveToLoop(std::unique_ptr<Stream> transport) {
  Stream::Run(std::move(transport), std::unique_ptr<StreamHandler>(this));
}

void CodecStreamBase::Stop() {
  if (dispatch_ != nullptr) {
    dispatch_->stopped_ = true;
  } else if (closed_) {
    DropKept();
  }
}

void CodecStreamBase::Close() {
  closed_ = true;
  transport_->Close();
  Stop();
}

void CodecStreamBase::Abort(absl::Status status) {
  closed_ = true;
  transport_->Abort(std::move(status));
  Stop();
}

void CodecStreamBase::OnClose(Stream&, const absl::Status& status) {
  closed_ = true;
  DropKept();
  // Destroys this, or may.
  DeliverClose(status.ok() && fault_ != Fault::kNone ? FaultStatus() : status);
}

absl::Status CodecStreamBase::FaultStatus() const {
  absl::Status status;
  switch (fault_) {
    case Fault::kNone:
      return status;
    case Fault::kCodecError:
      status = CodecStatus();
      break;
    case Fault::kCodecMisbehaved:
      status = absl::InternalError(absl::StrCat(
          "the codec took bytes that are not there, or none, or wanted more than its limit of ",
          MaxFrameBytes()));
      break;
    case Fault::kTruncated:
      status = absl::DataLossError("the peer ended in the middle of a message");
      break;
  }
  return absl::Status(status.code(), absl::StrCat(transport_->peer_address().ToString(),
                                                  ": receive: ", status.message()));
}

// Receiving.

void CodecStreamBase::OnReceive(Stream&, absl::Span<uint8_t> bytes) {
  if (ABSL_PREDICT_FALSE(fault_ != Fault::kNone)) return;  // nothing can be decoded any more
  Dispatch dispatch(*this);
  if (ABSL_PREDICT_FALSE(kept_ != nullptr)) {
    FeedKept(bytes, dispatch);
    if (dispatch.destroyed()) return;
  }
  if (!bytes.empty()) {
    const Progress progress = DecodeAndDeliver(bytes, dispatch);
    if (dispatch.destroyed()) return;
    AfterDecoding(progress, bytes.subspan(progress.consumed));
    if (dispatch.destroyed()) return;
  }
  AfterCallback(dispatch);
}

// `rest` is what has not been consumed, and is not kept yet.
void CodecStreamBase::AfterDecoding(const Progress& progress, absl::Span<const uint8_t> rest) {
  switch (progress.outcome) {
    case Progress::kNeedMore:
      if (ABSL_PREDICT_TRUE(rest.empty())) return;
      if (!WantIsWithinLimit(progress.want, rest.size())) {
        return Fail(Fault::kCodecMisbehaved);
      }
      Keep(rest, progress.want);
      return FillFromTransport();
    case Progress::kStopped:
      if (closed_ || rest.empty()) return;
      Keep(rest, rest.size());
      held_ = true;
      return;
    case Progress::kError:
      return Fail(Fault::kCodecError);
    case Progress::kMisbehaved:
      return Fail(Fault::kCodecMisbehaved);
  }
}

bool CodecStreamBase::WantIsWithinLimit(size_t want, size_t size) const {
  const size_t limit = MaxFrameBytes();
  return want <= limit && size < limit && (want == 0 || want > size);
}

// Adds received bytes to what is kept until that makes a message. What is left in `bytes` then is
// to be decoded in its place; nothing is left of them when they are kept, or not wanted.
void CodecStreamBase::FeedKept(absl::Span<uint8_t>& bytes, Dispatch& dispatch) {
  while (kept_ != nullptr && !bytes.empty()) {
    const size_t copied = TakeIntoKept(bytes);
    if (kept().size() < kept().want) continue;
    const Progress progress = DecodeKept(dispatch);
    if (dispatch.destroyed()) return;
    const size_t left = kept().size();
    if (left <= copied) {
      GiveBack(bytes, left);
      // What stands in `bytes` was decoded up to its front: it will be seen again.
      if (progress.outcome == Progress::kNeedMore) continue;
      const absl::Span<const uint8_t> rest = std::exchange(bytes, {});
      return AfterDecoding(progress, rest);
    }
    if (progress.outcome == Progress::kNeedMore) {
      if (!WantIsWithinLimit(progress.want, left)) {
        bytes = {};
        return Fail(Fault::kCodecMisbehaved);
      }
      kept().want = progress.want;
      continue;
    }
    const absl::Span<const uint8_t> rest = std::exchange(bytes, {});
    if (progress.outcome != Progress::kStopped) return AfterDecoding(progress, rest);
    if (closed_) return;
    KeepMore(rest);
    held_ = true;
    return;
  }
  if (kept_ != nullptr) FillFromTransport();
}

// Takes as many bytes as are wanted and have room, where there must be some. Returns how many it
// has copied; those that the transport has put into their place need no copying.
size_t CodecStreamBase::TakeIntoKept(absl::Span<uint8_t>& bytes) {
  uint8_t* const end = Kept::Bytes(*kept_) + kept().end;
  if (kept().filling && bytes.data() == end) {
    kept().end += bytes.size();
    const size_t full = std::min(kept().begin + kept().want, Kept::Capacity(*kept_));
    kept().filling = kept().end < full;
    bytes = {};
    return 0;
  }
  if (kept().filling) {  // a transport that does not use the place, after all
    transport_->ReceiveInto({});
    kept().filling = false;
  }
  const size_t size = kept().size();
  if (kept().end == Kept::Capacity(*kept_)) Keep(Kept::Contents(*kept_), kept().want);
  const size_t room = Kept::Capacity(*kept_) - kept().end;
  const size_t wanted = kept().want > size ? kept().want - size : room;
  const absl::Span<uint8_t> taken = bytes.first(std::min({bytes.size(), room, wanted}));
  std::memcpy(Kept::Bytes(*kept_) + kept().end, taken.data(), taken.size());
  kept().end += taken.size();
  bytes.remove_prefix(taken.size());
  return taken.size();
}

// The last `size` bytes of what is kept, which is all of it, were copied from before `bytes`: they
// go back there, as the codec has left them.
void CodecStreamBase::GiveBack(absl::Span<uint8_t>& bytes, size_t size) {
  bytes = absl::MakeSpan(bytes.data() - size, bytes.size() + size);
  if (size != 0) std::memcpy(bytes.data(), Kept::Contents(*kept_).data(), size);
  DropKept();
}

CodecStreamBase::Progress CodecStreamBase::DecodeKept(Dispatch& dispatch) {
  // A callback that destroys the stream may still look at its message, as at one that the transport
  // lends.
  kept_->Ref();
  const BlockPtr lent(kept_);
  dispatch.block_ = kept_;
  const Progress progress = DecodeAndDeliver(Kept::Contents(*kept_), dispatch);
  if (dispatch.destroyed()) return progress;
  dispatch.block_ = nullptr;
  kept().begin += progress.consumed;
  return progress;
}

// Pausing.

void CodecStreamBase::PauseReceiving() {
  if (paused_) return;
  paused_ = true;
  if (dispatch_ != nullptr) {
    dispatch_->stopped_ = true;
  } else if (!closed_) {
    transport_paused_ = true;
    transport_->PauseReceiving();
  }
}

void CodecStreamBase::ResumeReceiving() {
  if (!paused_) return;
  paused_ = false;
  if (closed_) return;
  if (dispatch_ != nullptr) {
    dispatch_->stopped_ = false;  // AfterCallback does the rest
  } else if (held_) {
    ResumeLater();
  } else if (transport_paused_) {
    transport_paused_ = false;
    transport_->ResumeReceiving();
  }
}

// The messages that are held back may not be delivered inside ResumeReceiving.
void CodecStreamBase::ResumeLater() {
  if (kept().resumption == nullptr) kept().resumption = std::make_unique<Resumption>(*this);
  transport_->loop().ArmTimer(*kept().resumption, MonotonicTime());
}

void CodecStreamBase::DeliverHeld(Dispatch& dispatch) {
  held_ = false;
  const Progress progress = DecodeKept(dispatch);
  if (dispatch.destroyed()) return;
  // What is left gets memory of its own size.
  if (kept().size() == 0) {
    DropKept();
    return AfterDecoding(progress, {});
  }
  if (progress.outcome == Progress::kStopped) {
    held_ = true;
    return;
  }
  AfterDecoding(progress, Kept::Contents(*kept_));
}

// Whatever was called inside of it takes effect.
void CodecStreamBase::AfterCallback(Dispatch& dispatch) {
  while (held_ && !paused_ && !closed_) {
    DeliverHeld(dispatch);
    if (dispatch.destroyed()) return;
  }
  if (closed_) return DropKept();
  if (ABSL_PREDICT_TRUE(paused_ == transport_paused_)) return;
  transport_paused_ = paused_;
  if (paused_) {
    transport_->PauseReceiving();
  } else {
    transport_->ResumeReceiving();
  }
}

// May destroy this, as any callback.
void CodecStreamBase::Fail(Fault fault) {
  fault_ = fault;
  held_ = false;
  DropKept();
  DeliverError(FaultStatus());
}

// Other callbacks.

void CodecStreamBase::OnReceiveEnd(Stream&) {
  Dispatch dispatch(*this);
  if (kept_ != nullptr && fault_ == Fault::kNone) fault_ = Fault::kTruncated;
  DropKept();
  DeliverReceiveEnd();
  if (!dispatch.destroyed()) AfterCallback(dispatch);
}

void CodecStreamBase::OnSendReady(Stream&) {
  Dispatch dispatch(*this);
  DeliverSendReady();
  if (!dispatch.destroyed()) AfterCallback(dispatch);
}

void CodecStreamBase::OnDrain(Stream&) {
  Dispatch dispatch(*this);
  DeliverDrain();
  if (!dispatch.destroyed()) AfterCallback(dispatch);
}

// Sending.

// A transport that has ended refuses, and then nothing more is to be delivered.
void CodecStreamBase::AfterRefusal() {
  if (!transport_->closing()) return;
  closed_ = true;
  Stop();
}

SendResult CodecStreamBase::SendKeptFrame() {
  const absl::Span<const uint8_t> frame = dispatch_->frame_;
  if (frame.size() <= kCopyBytes) return Sent(transport_->Send(frame));
  return Sent(transport_->Send(Slice::FromBlock(*dispatch_->block_, frame)));
}

}  // namespace sluice::internal
