#include "sluice/tls/internal/record_channel.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/base/optimization.h"
#include "openssl/err.h"
#include "openssl/span.h"
#include "openssl/ssl.h"

namespace sluice::tls::internal {
namespace {

constexpr size_t kHeaderBytes = RecordKeys::kHeaderBytes;
constexpr size_t kMaxPlain = SSL3_RT_MAX_PLAIN_LENGTH;
constexpr size_t kMaxSealed = kMaxPlain + 256;
constexpr int kMaxEmptyRecords = 32;
constexpr int kMaxKeyChanges = 32;

// In the queue of errors, as BoringSSL would put it there.
void PutError(int reason) { ERR_put_error(ERR_LIB_SSL, 0, reason, __FILE__, __LINE__); }

}  // namespace

std::unique_ptr<RecordChannel> RecordChannel::TakeOver(SslChannel& channel, uint64_t rekey_after) {
  const SSL* const ssl = channel.ssl();
  bssl::Span<const uint8_t> read, write;
  if (SSL_is_server(ssl) != 1 || SSL_version(ssl) != TLS1_3_VERSION || SSL_in_init(ssl) != 0 ||
      SSL_get_shutdown(ssl) != 0 || SSL_has_pending(ssl) != 0 ||
      !bssl::SSL_get_traffic_secrets(ssl, &read, &write)) {
    return nullptr;
  }
  std::unique_ptr<RecordChannel> taken(new RecordChannel(rekey_after));
  const SSL_CIPHER& suite = *SSL_get_current_cipher(ssl);
  if (!taken->read_.Set(suite, {read.data(), read.size()}, SSL_get_read_sequence(ssl)) ||
      !taken->write_.Set(suite, {write.data(), write.size()}, SSL_get_write_sequence(ssl))) {
    ERR_clear_error();
    return nullptr;
  }
  taken->TakeBytesOf(channel);
  return taken;
}

// Reading.

size_t RecordChannel::Read(absl::Span<uint8_t> space, int& outcome) {
  ERR_clear_error();
  outcome = SSL_ERROR_NONE;
  absl::Span<uint8_t> room = space;
  if (ABSL_PREDICT_FALSE(!rest_.empty())) {
    const size_t size = std::min(rest_.size(), room.size());
    rest_.CopyTo(room.data(), 0, size);
    rest_.Drain(size);
    room.remove_prefix(size);
  }
  while (!room.empty()) {
    if (ABSL_PREDICT_FALSE(reason_ != 0)) {
      // What came before it is delivered first, and the answers to that leave before the alert.
      if (room.size() != space.size()) break;
      TellFailure();
      outcome = SSL_ERROR_SSL;
      break;
    }
    if (ABSL_PREDICT_FALSE(ended_)) {
      outcome = SSL_ERROR_ZERO_RETURN;
      break;
    }
    uint8_t header[kHeaderBytes];
    const bool begun = input_size() >= kHeaderBytes;
    if (begun) Peek(header, kHeaderBytes);
    if (ABSL_PREDICT_FALSE(begun && header[0] != SSL3_RT_APPLICATION_DATA)) {
      Fail(SSL_R_UNEXPECTED_RECORD, SSL_AD_UNEXPECTED_MESSAGE);
      continue;
    }
    const size_t length = begun ? size_t{header[3]} << 8 | header[4] : 0;
    if (ABSL_PREDICT_FALSE(length > kMaxSealed)) {
      Fail(SSL_R_ENCRYPTED_LENGTH_TOO_LONG, SSL_AD_RECORD_OVERFLOW);
      continue;
    }
    if (!begun || input_size() < kHeaderBytes + length) {
      outcome = input_end_ ? SSL_ERROR_SYSCALL : SSL_ERROR_WANT_READ;
      break;
    }
    // What there is already is delivered first, and then there is room.
    if (length > RecordKeys::kTagBytes + room.size() && room.size() != space.size()) break;
    ReadRecord(length, room);
  }
  return space.size() - room.size();
}

// The input's first bytes in one piece, which they mostly are.
absl::Span<const uint8_t> RecordChannel::Record(size_t size, uint8_t* scratch) const {
  if (ABSL_PREDICT_TRUE(kept_.empty())) return lent_.first(size);
  Peek(scratch, size);
  return {scratch, size};
}

// Of `length` behind its header. Where there is no room for it, `room` is all of the caller's.
void RecordChannel::ReadRecord(size_t length, absl::Span<uint8_t>& room) {
  if (length <= RecordKeys::kTagBytes)
    return Fail(SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, SSL_AD_BAD_RECORD_MAC);
  uint8_t scratch[kHeaderBytes + kMaxSealed];
  const absl::Span<const uint8_t> record = Record(kHeaderBytes + length, scratch);
  size_t size = length - RecordKeys::kTagBytes;
  uint8_t* const bytes =
      ABSL_PREDICT_TRUE(size <= room.size()) ? room.data() : scratch + kHeaderBytes;
  if (ABSL_PREDICT_FALSE(!read_.Open(record, bytes))) {
    ERR_clear_error();
    return Fail(SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, SSL_AD_BAD_RECORD_MAC);
  }
  Consume(record.size());
  if (ABSL_PREDICT_FALSE(size > kMaxPlain + 1))
    return Fail(SSL_R_DATA_LENGTH_TOO_LONG, SSL_AD_RECORD_OVERFLOW);
  // The type comes behind the bytes, and padding behind the type.
  while (size != 0 && bytes[size - 1] == 0) --size;
  if (ABSL_PREDICT_FALSE(size == 0))
    return Fail(SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, SSL_AD_UNEXPECTED_MESSAGE);
  const uint8_t type = bytes[--size];
  if (ABSL_PREDICT_FALSE(message_size_ != 0 && type != SSL3_RT_HANDSHAKE))
    return Fail(SSL_R_UNEXPECTED_RECORD, SSL_AD_UNEXPECTED_MESSAGE);
  switch (type) {
    case SSL3_RT_APPLICATION_DATA:
      return TakeBytes({bytes, size}, room);
    case SSL3_RT_ALERT:
      return TakeAlert({bytes, size});
    case SSL3_RT_HANDSHAKE:
      return TakeHandshake({bytes, size});
    default:
      return Fail(SSL_R_UNEXPECTED_RECORD, SSL_AD_UNEXPECTED_MESSAGE);
  }
}

void RecordChannel::TakeBytes(absl::Span<const uint8_t> bytes, absl::Span<uint8_t>& room) {
  if (ABSL_PREDICT_FALSE(bytes.empty())) {
    if (++empty_records_ <= kMaxEmptyRecords) return;
    return Fail(SSL_R_TOO_MANY_EMPTY_FRAGMENTS, SSL_AD_UNEXPECTED_MESSAGE);
  }
  empty_records_ = key_changes_ = 0;
  const size_t size = std::min(bytes.size(), room.size());
  if (ABSL_PREDICT_FALSE(bytes.data() != room.data())) {
    std::memcpy(room.data(), bytes.data(), size);
    rest_.Append(bytes.subspan(size));
  }
  room.remove_prefix(size);
}

// All but these two end the connection, whatever level they say (RFC 8446, 6).
void RecordChannel::TakeAlert(absl::Span<const uint8_t> bytes) {
  constexpr size_t kAlertBytes = 2;
  if (bytes.size() != kAlertBytes) {
    return Fail(SSL_R_BAD_ALERT, bytes.empty() ? SSL_AD_UNEXPECTED_MESSAGE : SSL_AD_DECODE_ERROR);
  }
  switch (const int alert = bytes[1]) {
    case SSL_AD_CLOSE_NOTIFY:
      ended_ = true;
      return;
    case SSL_AD_USER_CANCELLED:  // and a close_notify will follow
      if (++empty_records_ <= kMaxEmptyRecords) return;
      return Fail(SSL_R_TOO_MANY_WARNING_ALERTS, SSL_AD_DECODE_ERROR);
    default:
      reason_ = SSL_AD_REASON_OFFSET + alert;
  }
}

// The one message that a client sends after a handshake is KeyUpdate.
void RecordChannel::TakeHandshake(absl::Span<const uint8_t> bytes) {
  constexpr uint8_t kHead[] = {SSL3_MT_KEY_UPDATE, 0, 0, 1};
  static_assert(sizeof(message_) == sizeof(kHead) + 1);
  if (bytes.empty()) return Fail(SSL_R_UNEXPECTED_RECORD, SSL_AD_UNEXPECTED_MESSAGE);
  // It ends its record, as the next one has other keys.
  if (bytes.size() > sizeof(message_) - message_size_) {
    const bool is_update = (message_size_ != 0 ? message_[0] : bytes[0]) == kHead[0];
    return Fail(is_update ? SSL_R_EXCESS_HANDSHAKE_DATA : SSL_R_UNEXPECTED_MESSAGE,
                SSL_AD_UNEXPECTED_MESSAGE);
  }
  std::memcpy(message_ + message_size_, bytes.data(), bytes.size());
  message_size_ = static_cast<uint8_t>(message_size_ + bytes.size());
  if (message_[0] != kHead[0]) return Fail(SSL_R_UNEXPECTED_MESSAGE, SSL_AD_UNEXPECTED_MESSAGE);
  if (std::memcmp(message_, kHead, std::min<size_t>(message_size_, sizeof(kHead))) != 0)
    return Fail(SSL_R_DECODE_ERROR, SSL_AD_DECODE_ERROR);
  if (message_size_ < sizeof(message_)) return;
  message_size_ = 0;
  const uint8_t request = message_[sizeof(kHead)];
  if (request > 1) return Fail(SSL_R_DECODE_ERROR, SSL_AD_ILLEGAL_PARAMETER);
  if (++key_changes_ > kMaxKeyChanges)
    return Fail(SSL_R_TOO_MANY_KEY_UPDATES, SSL_AD_UNEXPECTED_MESSAGE);
  if (!read_.Update()) return Fail(ERR_R_INTERNAL_ERROR, SSL_AD_INTERNAL_ERROR);
  // The answer waits for the next bytes: so any number of requests cost one.
  update_owed_ = update_owed_ || request == 1;
}

void RecordChannel::Fail(int reason, int alert) {
  reason_ = reason;
  alert_ = static_cast<uint8_t>(alert);
}

void RecordChannel::TellFailure() {
  PutError(reason_);
  const uint8_t bytes[] = {SSL3_AL_FATAL, std::exchange(alert_, uint8_t{0})};
  if (bytes[1] == 0 || write_ended_) return;
  write_ended_ = true;
  Seal(SSL3_RT_ALERT, bytes);
}

// Writing.

bool RecordChannel::Write(Buffer& plain, size_t size) {
  if (ABSL_PREDICT_FALSE(update_owed_ || write_.sequence() >= rekey_after_) && !ChangeKeys())
    return false;
  const absl::Span<uint8_t> out = output_.Reserve(size + RecordKeys::kOverhead);
  const uint8_t* bytes = plain.front().data();
  if (ABSL_PREDICT_FALSE(plain.front().size() < size)) {
    plain.CopyTo(out.data() + kHeaderBytes, 0, size);
    bytes = out.data() + kHeaderBytes;
  }
  if (!write_.Seal(SSL3_RT_APPLICATION_DATA, {bytes, size}, out.data())) return false;
  output_.Commit(size + RecordKeys::kOverhead);
  plain.Drain(size);
  return true;
}

void RecordChannel::WriteEnd() {
  constexpr uint8_t kBytes[] = {SSL3_AL_WARNING, SSL_AD_CLOSE_NOTIFY};
  if (std::exchange(write_ended_, true)) return;
  Seal(SSL3_RT_ALERT, kBytes);
}

bool RecordChannel::Seal(uint8_t type, absl::Span<const uint8_t> bytes) {
  const size_t size = bytes.size() + RecordKeys::kOverhead;
  const bool sealed = write_.Seal(type, bytes, output_.Reserve(size).data());
  output_.Commit(sealed ? size : 0);
  return sealed;
}

bool RecordChannel::ChangeKeys() {
  constexpr uint8_t kUpdate[] = {SSL3_MT_KEY_UPDATE, 0, 0, 1, SSL_KEY_UPDATE_NOT_REQUESTED};
  update_owed_ = false;
  return Seal(SSL3_RT_HANDSHAKE, kUpdate) && write_.Update();
}

}  // namespace sluice::tls::internal
