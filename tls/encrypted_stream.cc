#include "sluice/tls/encrypted_stream.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/base/optimization.h"
#include "absl/strings/str_cat.h"
#include "openssl/pool.h"
#include "openssl/ssl.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/internal/block.h"
#include "sluice/core/internal/file_queue.h"
#include "sluice/core/member.h"
#include "sluice/core/slice.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/timer.h"
#include "sluice/tls/certificate_facts.h"
#include "sluice/tls/discard.h"
#include "sluice/tls/internal/error.h"
#include "sluice/tls/internal/record_channel.h"

namespace sluice::tls {
namespace {

constexpr size_t kFullRecord = SSL3_RT_MAX_PLAIN_LENGTH;

// With its header and tag it fits a TCP segment, so that it can be decrypted when the segment has
// arrived, and not only when all of a long record has.
constexpr size_t kSmallRecord = 1340;
// So much is sent in small records: about what TCP sends in the first round trips.
constexpr uint32_t kSmallRecordsFor = 64 * 1024;
constexpr absl::Duration kIdleAfter = absl::Seconds(1);

// So much is decrypted before it is delivered, and encrypted before it is sent: it fits a block of
// the pool, records' overhead included.
constexpr size_t kBatch = 4 * kFullRecord;

// So much of a file is encrypted in one turn.
constexpr size_t kFileBytesPerTurn = 4 * kBatch;

// What a record adds, at most.
constexpr size_t kRecordOverhead = SSL3_RT_HEADER_LENGTH + 32;

// The stream beneath is told to take no more than this when it is blocked; what we have not
// encrypted yet is ours to count.
constexpr uint32_t kLowerMark = 64 * 1024;

}  // namespace

// OnClose for a stream whose transport has ended before it had a handler.
class EncryptedStream::LateClose final : private EventLoop::Member {
 public:
  LateClose(EncryptedStream& stream, absl::Status status)
      : Member(stream.loop_), stream_(stream), status_(std::move(status)) {
    Park();
  }
  ~LateClose() override {
    if (!due_) Unpark();
  }

  void OnHandlerSet() {
    if (std::exchange(due_, true)) return;
    Unpark();
    if (!left()) SettleLater();
  }

 private:
  void Settle() override {
    if (stream_.handler() == nullptr) {  // it was taken away again
      due_ = false;
      return Park();
    }
    const absl::Status status = status_;
    Leave();
    stream_.DeliverClose(status);  // this may be gone
  }
  void OnDrain() override {}
  void End(const absl::Status&) override { SettleLater(); }

  // It has no socket.
  void OnConnect(int) override {}
  void OnReceive(absl::Span<uint8_t>) override {}
  void OnReceiveEnd() override {}
  void OnSendReady() override {}
  void OnError(int) override {}

  EncryptedStream& stream_;
  const absl::Status status_;
  bool due_ = false;
};

// Files that are to be sent, and how long a stream that closes may still take for them: as long as
// the peer takes some of them.
class EncryptedStream::Files {
 public:
  explicit Files(EncryptedStream& stream) : stream_(stream), linger_([this] { OnLingerTimer(); }) {}

  sluice::internal::FileQueue queue;
  bool yields = false;  // until the next turn

  void Linger() {
    left_ = stream_.unreceived_bytes();
    stream_.loop_.ArmTimer(linger_, stream_.lower_->linger_timeout());
  }

 private:
  void OnLingerTimer() {
    if (stream_.unreceived_bytes() != left_) return Linger();
    stream_.Abort(absl::DeadlineExceededError(
        absl::StrCat(stream_.peer_address().ToString(), ": close: ", stream_.queued_bytes(),
                     " bytes could not be sent within ",
                     absl::FormatDuration(stream_.lower_->linger_timeout()))));
  }

  EncryptedStream& stream_;
  Timer linger_;
  size_t left_ = 0;  // when the timer was armed
};

// While one of the user's callbacks runs: what is sent in it is sent by a Flush after it. Sees
// whether the stream is destroyed. There is one at a time, as no call on a stream runs a callback.
class EncryptedStream::Callback {
 public:
  explicit Callback(EncryptedStream& stream) : stream_(stream) {
    stream_.calling_ = true;
    stream_.gone_ = &gone_;
  }
  ~Callback() {
    if (gone_) return;
    stream_.calling_ = false;
    stream_.gone_ = nullptr;
  }
  Callback(const Callback&) = delete;
  Callback& operator=(const Callback&) = delete;
  bool destroyed() const { return gone_; }

 private:
  EncryptedStream& stream_;
  bool gone_ = false;
};

// What is still known after a failure, when the stream beneath has been left.
struct EncryptedStream::LastWords {
  SocketAddress peer;
};

// Of a stream whose handshake is not over yet, or whose user wants to be told that it is.
struct EncryptedStream::Unconfirmed {
  internal::SslChannel* channel = nullptr;  // null when it is over
  absl::AnyInvocable<void()> tell;
};

EncryptedStream::EncryptedStream(std::unique_ptr<Stream> lower,
                                 std::unique_ptr<internal::SslChannel> channel,
                                 internal::Agreement agreement, std::shared_ptr<const void> context,
                                 const StreamLimits& limits)
    : loop_(lower->loop()),
      context_(std::move(context)),
      lower_(std::move(lower)),
      agreement_(std::move(agreement)),
      paused_(false),
      lower_paused_(false),
      stalled_(false),
      receive_ended_(false),
      lower_blocked_(false),
      blocked_told_(false),
      flush_asked_(false),
      flush_owed_(false),
      shutting_down_(false),
      send_shut_(false),
      closing_(false),
      ended_(false) {
  UseChannel(std::move(channel));
  SetLimits(limits);
  lower_->SetHandler(*this);
}

void EncryptedStream::UseChannel(std::unique_ptr<internal::SslChannel> channel) {
  channel_ = internal::RecordChannel::TakeOver(*channel);
  if (channel_ != nullptr) return;
  if (SSL_is_server(channel->ssl()) == 1 && SSL_in_init(channel->ssl()) != 0) {
    unconfirmed_ = std::make_unique<Unconfirmed>();
    unconfirmed_->channel = channel.get();
  }
  channel_ = std::move(channel);
}

EncryptedStream::~EncryptedStream() {
  if (gone_ != nullptr) *gone_ = true;
}

void EncryptedStream::Begin() {
  gone_ = nullptr;
  if (!ended_) Process();
}

// Facts.

Version EncryptedStream::version() const { return agreement_.version; }

absl::string_view EncryptedStream::cipher() const {
  return SSL_CIPHER_standard_name(agreement_.cipher);
}

absl::string_view EncryptedStream::group() const {
  const char* const name = SSL_get_curve_name(agreement_.group);
  return name == nullptr ? "" : name;
}

std::string EncryptedStream::alpn() const { return agreement_.alpn; }

std::string EncryptedStream::server_name() const { return agreement_.server_name; }

bool EncryptedStream::resumed() const { return agreement_.resumed; }

std::vector<Certificate> EncryptedStream::peer_certificates() const {
  std::vector<Certificate> result;
  const STACK_OF(CRYPTO_BUFFER)* const chain = agreement_.peer_chain.get();
  for (size_t i = 0; chain != nullptr && i < sk_CRYPTO_BUFFER_num(chain); ++i) {
    absl::StatusOr<Certificate> certificate = internal::FactsOf(*sk_CRYPTO_BUFFER_value(chain, i));
    if (certificate.ok()) result.push_back(*std::move(certificate));
  }
  return result;
}

std::string EncryptedStream::ocsp_response() const {
  const CRYPTO_BUFFER* const response = agreement_.ocsp_response.get();
  if (response == nullptr) return "";
  return std::string(reinterpret_cast<const char*>(CRYPTO_BUFFER_data(response)),
                     CRYPTO_BUFFER_len(response));
}

bool EncryptedStream::may_be_replay() const {
  return unconfirmed_ != nullptr && unconfirmed_->channel != nullptr;
}

void EncryptedStream::WhenConfirmed(absl::AnyInvocable<void()> function) {
  if (ended_) return;
  if (unconfirmed_ == nullptr) unconfirmed_ = std::make_unique<Unconfirmed>();
  unconfirmed_->tell = std::move(function);
  if (unconfirmed_->channel == nullptr) AskFlush();
}

SocketAddress EncryptedStream::peer_address() const {
  return lower_ != nullptr ? lower_->peer_address() : last_words_->peer;
}

SocketAddress EncryptedStream::local_address() const {
  return lower_ != nullptr ? lower_->local_address() : SocketAddress();
}

// Receiving.

void EncryptedStream::OnHandlerSet() {
  if (late_close_ != nullptr) return late_close_->OnHandlerSet();
  if (ended_ || paused_) return;
  if (stalled_) AskFlush();
}

void EncryptedStream::PauseReceiving() {
  if (paused_ || ended_) return;
  paused_ = true;
  PauseLower();
}

// What was left of the input comes first, and not inside of this call.
void EncryptedStream::ResumeReceiving() {
  if (!paused_ || ended_) return;
  paused_ = false;
  if (stalled_) return AskFlush();
  ResumeLower();
}

void EncryptedStream::PauseLower() {
  if (lower_paused_) return;
  lower_paused_ = true;
  lower_->PauseReceiving();
}

void EncryptedStream::ResumeLower() {
  if (!lower_paused_) return;
  lower_paused_ = false;
  lower_->ResumeReceiving();
}

bool EncryptedStream::MayDeliver() const {
  return handler() != nullptr && !paused_ && !closing_ && !ended_ && !receive_ended_;
}

void EncryptedStream::OnReceive(Stream&, absl::Span<uint8_t> bytes) {
  channel_->Lend(bytes);
  Process();
}

// The transport's end: everything that came before it was processed, unless we are stalled, and
// then it is not delivered.
void EncryptedStream::OnReceiveEnd(Stream&) {
  if (receive_ended_ || closing_) return;
  channel_->SetInputEnd();
  Process();
}

bool EncryptedStream::Process() {
  for (Next next = Next::kMore; next == Next::kMore && MayDeliver();) {
    next = ProcessSome();
    if (next == Next::kEnded) return false;
    if (ABSL_PREDICT_FALSE(unconfirmed_ != nullptr) && !ConfirmWhenFinished()) return false;
  }
  if (receive_ended_ || closing_) channel_->DropInput();
  channel_->KeepRest();
  stalled_ = !MayDeliver() && !receive_ended_ && !closing_;
  if (ABSL_PREDICT_FALSE(stalled_)) {
    PauseLower();
  } else if (!paused_) {
    ResumeLower();
  }
  // Answers of the protocol's own, such as to a change of keys.
  if (ABSL_PREDICT_FALSE(channel_->has_output())) SendOutput();
  return true;
}

EncryptedStream::Next EncryptedStream::ProcessSome() {
  int outcome = SSL_ERROR_NONE;
  size_t size;
  bool alive;
  if (ABSL_PREDICT_FALSE(!storage_.empty())) {
    const absl::Span<uint8_t> space = storage_;
    size = channel_->Read(space, outcome);
    storage_.remove_prefix(size);
    alive = size == 0 || Deliver(space.first(size), nullptr);
  } else {
    // Always the same one of the pool, as it comes back before there is another.
    const BlockPtr block(Block::New(Block::kMaxPooled));
    const absl::Span<uint8_t> space(block->storage(), block->capacity());
    size = channel_->Read(space, outcome);
    alive = size == 0 || Deliver(space.first(size), block.get());
  }
  if (!alive) return Next::kEnded;
  if (outcome == SSL_ERROR_WANT_READ) return Next::kWait;
  return size != 0 ? Next::kMore : OnOutcome(outcome);
}

bool EncryptedStream::Deliver(absl::Span<uint8_t> bytes, Block* block) {
  {
    Callback callback(*this);
    lending_ = block;
    handler()->OnReceive(*this, bytes);
    if (callback.destroyed()) return false;
    lending_ = nullptr;
  }
  if (ended_) return false;
  Flush();
  // What could not leave yet waits in memory of its own.
  if (block != nullptr && !block->unique()) plain_.OwnFrom(*block);
  return true;
}

EncryptedStream::Next EncryptedStream::OnOutcome(int outcome) {
  switch (outcome) {
    case SSL_ERROR_NONE:
      return Next::kMore;
    case SSL_ERROR_ZERO_RETURN:
      return DeliverEnd() ? Next::kWait : Next::kEnded;
    case SSL_ERROR_SYSCALL:
      if (channel_->input_end()) {
        Fail(absl::DataLossError(absl::StrCat(
            peer_address().ToString(),
            ": TLS: the connection ended without a close_notify: data may be missing")));
        return Next::kEnded;
      }
      [[fallthrough]];
    default:
      Fail(internal::TakeError(absl::StrCat(peer_address().ToString(), ": TLS")));
      return Next::kEnded;
  }
}

bool EncryptedStream::DeliverEnd() {
  receive_ended_ = true;
  {
    Callback callback(*this);
    handler()->OnReceiveEnd(*this);
    if (callback.destroyed()) return false;
  }
  if (ended_) return false;
  Flush();
  if (ended_) return false;
  if (closing_ || !send_shut_) return true;
  // Both halves are over.
  closing_ = true;
  lower_->Close();
  return true;
}

// What was delivered until here may be a replay: who has only recorded it cannot make the client's
// end of the handshake, which has come now.
bool EncryptedStream::ConfirmWhenFinished() {
  internal::SslChannel* const channel = unconfirmed_->channel;
  if (channel == nullptr || SSL_in_init(channel->ssl()) != 0) return true;
  unconfirmed_->channel = nullptr;
  if (auto taken = internal::RecordChannel::TakeOver(*channel)) channel_ = std::move(taken);
  return TellConfirmed();
}

bool EncryptedStream::TellConfirmed() {
  absl::AnyInvocable<void()> tell = std::move(std::exchange(unconfirmed_, nullptr)->tell);
  if (!tell) return true;
  {
    Callback callback(*this);
    tell();
    if (callback.destroyed()) return false;
  }
  if (ended_) return false;
  Flush();
  return !ended_;
}

// Sending.

size_t EncryptedStream::queued_bytes() const {
  const size_t here = unsent_ + waiting() + channel_->output_size();
  return lower_ != nullptr ? here + lower_->queued_bytes() : here;
}

size_t EncryptedStream::unreceived_bytes() const {
  const size_t queued = queued_bytes();
  return lower_ != nullptr ? queued - lower_->queued_bytes() + lower_->unreceived_bytes() : queued;
}

// To be encrypted.
size_t EncryptedStream::waiting() const {
  return plain_.size() + (ABSL_PREDICT_FALSE(files_ != nullptr) ? files_->queue.bytes() : 0);
}

// Of the bytes that are queued, those that are not in a file.
size_t EncryptedStream::queued_memory() const {
  const size_t queued = queued_bytes();
  if (ABSL_PREDICT_TRUE(files_ == nullptr)) return queued;
  return queued - files_->queue.bytes() + files_->queue.memory();
}

bool EncryptedStream::MayQueue(size_t bytes, size_t reserve) {
  if (ABSL_PREDICT_FALSE(closing_ || ended_ || shutting_down_)) return false;
  const size_t limit = size_t{limits_.hard} + reserve;
  size_t queued = queued_memory();
  if (ABSL_PREDICT_TRUE(queued == 0 || queued + bytes <= limit)) return true;
  Flush();
  if (closing_ || ended_) return false;
  queued = queued_memory();
  if (queued == 0 || queued + bytes <= limit) return true;
  if (reserve == 0) {
    Abort(absl::ResourceExhaustedError(absl::StrCat(peer_address().ToString(), ": send: ", queued,
                                                    " bytes are queued, and ", bytes,
                                                    " more pass the limit of ", limit)));
  }
  return false;
}

SendResult EncryptedStream::Queued() {
  if (ABSL_PREDICT_FALSE(waiting() > std::min<size_t>(kBatch, limits_.high)) && !lower_blocked_) {
    Flush();
    if (closing_ || ended_) return SendResult::kRefused;
  }
  if (!calling_) AskFlush();
  if (ABSL_PREDICT_TRUE(queued_bytes() <= limits_.high)) return SendResult::kSent;
  blocked_told_ = true;
  return SendResult::kBlocked;
}

SendResult EncryptedStream::Send(absl::Span<const uint8_t> bytes) {
  if (!MayQueue(bytes.size(), 0)) return SendResult::kRefused;
  // More will follow in the same callback, up to a record.
  if (plain_.empty() && calling_ && !bytes.empty())
    plain_.Reserve(std::max(bytes.size(), Block::kMinPooled));
  plain_.Append(bytes);
  return Queued();
}

SendResult EncryptedStream::Send(Slice slice) {
  if (!MayQueue(slice.size(), 0)) return SendResult::kRefused;
  plain_.Append(std::move(slice));
  return Queued();
}

SendResult EncryptedStream::Send(Buffer buffer) {
  if (!MayQueue(buffer.size(), 0)) return SendResult::kRefused;
  plain_.Append(std::move(buffer));
  return Queued();
}

SendResult EncryptedStream::SendLent(absl::Span<const uint8_t> bytes) {
  if (!MayQueue(bytes.size(), 0)) return SendResult::kRefused;
  if (calling_ && lending_ != nullptr && bytes.data() >= lending_->storage() &&
      bytes.data() + bytes.size() <= lending_->storage() + lending_->capacity()) {
    plain_.AppendFrom(*lending_, bytes);
  } else {
    plain_.Append(bytes);
  }
  return Queued();
}

SendResult EncryptedStream::SendControl(absl::Span<const uint8_t> bytes) {
  if (!MayQueue(bytes.size(), kControlReserve)) return SendResult::kRefused;
  plain_.Append(bytes);
  return Queued();
}

// What was queued comes before the file, and plain_ is for what comes after.
absl::StatusOr<SendResult> EncryptedStream::SendFile(int fd, uint64_t offset, uint64_t length) {
  if (closing_ || ended_ || shutting_down_) return SendResult::kRefused;
  absl::StatusOr<sluice::internal::FileRange> file =
      sluice::internal::FileRange::Of(fd, offset, length);
  if (!file.ok()) return file.status();
  if (length == 0) return Queued();
  if (files_ == nullptr) files_ = std::make_unique<Files>(*this);
  if (absl::Status status = files_->queue.MayPush(); !status.ok()) return status;
  files_->queue.Push(std::exchange(plain_, Buffer()), *std::move(file));
  return Queued();
}

void EncryptedStream::AskFlush() {
  if (flush_asked_ || ended_) return;
  flush_asked_ = true;
  lower_->RequestFlush();
}

void EncryptedStream::RequestFlush() {
  if (ended_) return;
  flush_owed_ = true;
  AskFlush();
}

void EncryptedStream::OnFlush(Stream&) {
  flush_asked_ = false;
  if (ABSL_PREDICT_FALSE(files_ != nullptr)) files_->yields = false;
  if (ABSL_PREDICT_FALSE(flush_owed_) && handler() != nullptr) {
    flush_owed_ = false;
    Callback callback(*this);
    handler()->OnFlush(*this);
    if (callback.destroyed()) return;
  }
  if (ABSL_PREDICT_FALSE(unconfirmed_ != nullptr) && !may_be_replay() && !TellConfirmed()) return;
  if (ABSL_PREDICT_FALSE(stalled_) && MayDeliver() && !Process()) return;
  if (ended_) return;
  Flush();
  if (!ended_) TellSendReady();
}

void EncryptedStream::OnSendReady(Stream&) {
  lower_blocked_ = false;
  Flush();
  if (!ended_) TellSendReady();
}

void EncryptedStream::TellSendReady() {
  if (!blocked_told_ || closing_ || queued_bytes() > limits_.low) return;
  blocked_told_ = false;
  if (handler() == nullptr) return;
  {
    Callback callback(*this);
    handler()->OnSendReady(*this);
    if (callback.destroyed()) return;
  }
  if (!ended_) Flush();
}

// Of the next record.
size_t EncryptedStream::RecordBytes() const {
  return burst_bytes_ < kSmallRecordsFor ? kSmallRecord : kFullRecord;
}

// A block of the pool, which costs less than one of the right size, and is not kept for long.
size_t EncryptedStream::RoomFor(size_t batch) const {
  const size_t records = batch / RecordBytes() + 1;
  const size_t room = batch + records * kRecordOverhead;
  return std::clamp(room, Block::kMinPooled, Block::kMaxPooled);
}

bool EncryptedStream::EncryptSome(Buffer& plain) {
  const MonotonicTime now = loop_.now();
  if (now - last_sent_ > kIdleAfter) burst_bytes_ = 0;
  last_sent_ = now;
  const size_t batch = std::min(plain.size(), kBatch);
  if (!channel_->has_output()) channel_->ReserveOutput(RoomFor(batch));
  for (size_t done = 0; done < batch && !plain.empty();) {
    const size_t size = std::min(plain.size(), RecordBytes());
    if (!channel_->Write(plain, size)) return false;
    done += size;
    burst_bytes_ = std::min(burst_bytes_ + static_cast<uint32_t>(size), kSmallRecordsFor);
  }
  return true;
}

void EncryptedStream::SendOutput() {
  const size_t size = channel_->output_size();
  switch (lower_->Send(channel_->TakeOutput())) {
    case SendResult::kSent:
      return;
    case SendResult::kBlocked:
      lower_blocked_ = true;
      return;
    case SendResult::kRefused:  // it is over, and OnClose will come
      unsent_ += size;
      DropPlain();
      return;
  }
}

void EncryptedStream::Flush() {
  if (ABSL_PREDICT_FALSE(files_ != nullptr)) {
    const bool all_left = FlushFiles();
    if (all_left && closing_) return FinishClose();
    if (closing_) return;  // what is left waits, or was lost
  }
  while (!plain_.empty() && !lower_blocked_ && ABSL_PREDICT_TRUE(files_ == nullptr)) {
    if (!EncryptSome(plain_)) return AbortUnencrypted();
    SendOutput();
  }
  if (ABSL_PREDICT_FALSE(shutting_down_) && waiting() == 0 && !send_shut_) SayEnd();
  if (ABSL_PREDICT_FALSE(blocked_told_) && queued_bytes() <= limits_.low) AskFlush();
}

// Piece by piece, no more in one turn than leaves the others theirs. Answers whether they have all
// left; if not, the stream is blocked, or goes on in the next turn, or is ending. The last of them
// is there until the stream beneath is not blocked by it any more.
bool EncryptedStream::FlushFiles() {
  size_t sent = 0;
  while (files_ != nullptr && !files_->queue.empty()) {
    if (lower_blocked_ || files_->yields) return false;
    Buffer& before = files_->queue.before();
    sluice::internal::FileRange& file = files_->queue.file();
    if (before.empty() && file.left() == 0) {
      files_->queue.Pop();
    } else if (sent >= kFileBytesPerTurn) {
      files_->yields = true;
      AskFlush();
      return false;
    } else {
      if (before.empty() && !file.ReadTo(before, kBatch)) {
        Abort(file.Failure(peer_address().ToString()));
        return false;
      }
      const size_t size = before.size();
      if (!EncryptSome(before)) {
        AbortUnencrypted();
        return false;
      }
      sent += size - before.size();
      SendOutput();
    }
  }
  if (files_ == nullptr) return false;
  files_ = nullptr;
  return true;
}

void EncryptedStream::AbortUnencrypted() {
  Abort(internal::TakeError(absl::StrCat(peer_address().ToString(), ": TLS: send")));
}

// Nothing is sent after it.
void EncryptedStream::SayEnd() {
  send_shut_ = true;
  channel_->WriteEnd();
  SendOutput();
  if (closing_) return;
  lower_->ShutdownSend();
  if (!receive_ended_) return;
  closing_ = true;
  lower_->Close();
}

// The end.

void EncryptedStream::ShutdownSend() {
  if (shutting_down_ || ended_) return;
  shutting_down_ = true;
  if (!calling_) AskFlush();
}

void EncryptedStream::Close() {
  if (closing_ || ended_) return;
  closing_ = true;
  shutting_down_ = true;
  blocked_told_ = false;  // nobody waits for room any more
  storage_ = {};
  if (ABSL_PREDICT_TRUE(files_ == nullptr)) return FinishClose();
  // It says when all of the files has left it, where the linger timeout begins.
  lower_->SetLimits({0, 0, std::numeric_limits<uint32_t>::max()});
  files_->Linger();
  AskFlush();
}

// From here on the stream beneath holds everything, and lingers for it.
void EncryptedStream::FinishClose() {
  lower_blocked_ = false;
  while (!plain_.empty()) {
    if (!EncryptSome(plain_)) DropPlain();
    SendOutput();
  }
  if (!send_shut_) SayEnd();
  lower_->Close();
}

void EncryptedStream::Abort(absl::Status status) {
  if (ended_) return;
  closing_ = true;
  blocked_told_ = false;
  DropPlain();
  storage_ = {};
  lower_->Abort(std::move(status));
}

void EncryptedStream::DropPlain() {
  unsent_ += waiting();
  plain_.Clear();
  files_ = nullptr;
}

// The peer has broken the protocol, or was cut off. The stream beneath goes its own way, so that
// an alert arrives.
void EncryptedStream::Fail(absl::Status status) {
  ended_ = true;
  last_words_ = std::make_unique<LastWords>(LastWords{lower_->peer_address()});
  DropPlain();
  unsent_ += channel_->output_size() + lower_->queued_bytes();
  storage_ = {};
  if (channel_->has_output()) lower_->Send(channel_->TakeOutput());
  CloseAndForget(std::move(lower_));
  DeliverCloseOrWait(std::move(status));
}

void EncryptedStream::OnDrain(Stream&) {
  if (closing()) return;
  if (handler() == nullptr) return Close();
  {
    Callback callback(*this);
    handler()->OnDrain(*this);
    if (callback.destroyed()) return;
  }
  if (!ended_) Flush();
}

void EncryptedStream::OnClose(Stream&, const absl::Status& status) {
  ended_ = true;
  DropPlain();
  storage_ = {};
  DeliverCloseOrWait(status);
}

void EncryptedStream::DeliverCloseOrWait(absl::Status status) {
  if (handler() != nullptr) return DeliverClose(status);  // this may be gone
  late_close_ = std::make_unique<LateClose>(*this, std::move(status));
}

void EncryptedStream::SetIdleTimeout(absl::Duration timeout) {
  if (!ended_) lower_->SetIdleTimeout(timeout);
}

void EncryptedStream::SetLingerTimeout(absl::Duration timeout) {
  if (ended_) return;
  lower_->SetLingerTimeout(timeout);
  if (closing_ && files_ != nullptr) files_->Linger();
}

absl::Duration EncryptedStream::linger_timeout() const {
  return lower_ != nullptr ? lower_->linger_timeout() : absl::ZeroDuration();
}

void EncryptedStream::SetLimits(const StreamLimits& limits) {
  limits_ = limits;
  if (ended_ || closing_) return;
  // High and low are one: where it has said that it is blocked, it tells when a user of ours who
  // waits for `low` may be told.
  const uint32_t mark = std::min(kLowerMark, limits.low);
  lower_->SetLimits({mark, mark, std::numeric_limits<uint32_t>::max()});
}

}  // namespace sluice::tls
