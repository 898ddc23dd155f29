#include "sluice/tls/internal/channel.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/base/optimization.h"
#include "openssl/bio.h"
#include "openssl/err.h"
#include "openssl/mem.h"
#include "openssl/ssl.h"
#include "sluice/core/internal/check.h"

namespace sluice::tls::internal {

void Channel::Keep() {
  kept_.Append(lent_);
  lent_ = {};
}

void Channel::DropInput() {
  kept_.Clear();
  lent_ = {};
}

void Channel::TakeBytesOf(Channel& other) {
  lent_ = std::exchange(other.lent_, {});
  kept_ = std::move(other.kept_);
  output_ = std::move(other.output_);
  input_end_ = other.input_end_;
}

void Channel::Peek(uint8_t* out, size_t size) const {
  const size_t kept = std::min(kept_.size(), size);
  if (ABSL_PREDICT_FALSE(kept != 0)) kept_.CopyTo(out, 0, kept);
  if (kept < size) std::memcpy(out + kept, lent_.data(), size - kept);
}

void Channel::Consume(size_t size) {
  const size_t kept = std::min(kept_.size(), size);
  if (kept != 0) kept_.Drain(kept);
  lent_.remove_prefix(size - kept);
}

SslChannel::SslChannel(SSL_CTX* context, bool server) : ssl_(SSL_new(context)) {
  BIO* const bio = BIO_new(Method());
  SLUICE_CHECK(ssl_ != nullptr && bio != nullptr);  // or there is no memory
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  if (server) {
    SSL_set_accept_state(ssl_.get());
  } else {
    SSL_set_connect_state(ssl_.get());
  }
}

SslChannel::~SslChannel() = default;

// SSL_read, like all that answers to SSL_get_error, begins with an empty queue of errors.
size_t SslChannel::Read(absl::Span<uint8_t> space, int& outcome) {
  size_t size = 0;
  early_ = SSL_in_init(ssl_.get()) != 0;
  outcome = SSL_ERROR_NONE;
  do {
    const int result =
        SSL_read(ssl_.get(), space.data() + size, static_cast<int>(space.size() - size));
    if (result <= 0) {
      outcome = SSL_get_error(ssl_.get(), result);
      if (outcome == SSL_ERROR_WANT_READ && at_handshake_end()) outcome = SSL_ERROR_NONE;
      failed_ = outcome == SSL_ERROR_SSL;
      // The error comes again, and until then the queue is others'.
      if (size != 0) ERR_clear_error();
      return size;
    }
    size += static_cast<size_t>(result);
    if (used_up()) {
      outcome = SSL_ERROR_WANT_READ;
      return size;
    }
  } while (size < space.size());
  return size;
}

// What follows is left to the next Read, or to who takes over: not even a change of keys is looked
// at.
bool SslChannel::at_handshake_end() const { return early_ && SSL_in_init(ssl_.get()) == 0; }

bool SslChannel::Write(Buffer& plain, size_t size) {
  if (failed_) {
    plain.Drain(size);
    return true;
  }
  uint8_t gathered[SSL3_RT_MAX_PLAIN_LENGTH];
  const uint8_t* bytes = plain.front().data();
  if (plain.front().size() < size) {
    plain.CopyTo(gathered, 0, size);
    bytes = gathered;
  }
  if (SSL_write(ssl_.get(), bytes, static_cast<int>(size)) != static_cast<int>(size)) return false;
  plain.Drain(size);
  return true;
}

void SslChannel::WriteEnd() {
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
}

// Nothing can be read now, neither bytes nor an end: saves asking SSL_read.
bool SslChannel::used_up() const {
  return input_size() == 0 && !input_end_ && SSL_has_pending(ssl_.get()) == 0;
}

const BIO_METHOD* SslChannel::Method() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* const made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sluice");
    SLUICE_CHECK(made != nullptr);
    BIO_meth_set_read(made, &SslChannel::ReadInput);
    BIO_meth_set_write(made, &SslChannel::WriteOutput);
    BIO_meth_set_ctrl(made, &SslChannel::Control);
    return made;
  }();
  return method;
}

int SslChannel::ReadInput(BIO* bio, char* out, int size) {
  auto& channel = *static_cast<SslChannel*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (ABSL_PREDICT_FALSE(channel.at_handshake_end())) {
    BIO_set_retry_read(bio);
    return -1;
  }
  const size_t taken = std::min(static_cast<size_t>(size), channel.input_size());
  if (taken != 0) {
    channel.Peek(reinterpret_cast<uint8_t*>(out), taken);
    channel.Consume(taken);
    return static_cast<int>(taken);
  }
  if (channel.input_end_) return 0;
  BIO_set_retry_read(bio);
  return -1;
}

int SslChannel::WriteOutput(BIO* bio, const char* bytes, int size) {
  auto& channel = *static_cast<SslChannel*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  channel.output_.Append(
      absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(bytes), static_cast<size_t>(size)));
  return size;
}

long SslChannel::Control(BIO*, int command, long, void*) {  // NOLINT: BIO's types
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

}  // namespace sluice::tls::internal
