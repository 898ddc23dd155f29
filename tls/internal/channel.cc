#include "sluice/tls/internal/channel.h"

#include <algorithm>
#include <cstring>

#include "openssl/bio.h"
#include "openssl/mem.h"
#include "openssl/ssl.h"
#include "sluice/core/internal/check.h"

namespace sluice::tls::internal {

Channel::Channel(SSL_CTX* context, bool server) : ssl_(SSL_new(context)) {
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

Channel::~Channel() = default;

void Channel::KeepRest() {
  kept_.Append(lent_);
  lent_ = {};
}

void Channel::DropInput() {
  kept_.Clear();
  lent_ = {};
}

bool Channel::used_up() const {
  return kept_.empty() && lent_.empty() && !input_end_ && SSL_has_pending(ssl_.get()) == 0;
}

const BIO_METHOD* Channel::Method() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* const made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sluice");
    SLUICE_CHECK(made != nullptr);
    BIO_meth_set_read(made, &Channel::Read);
    BIO_meth_set_write(made, &Channel::Write);
    BIO_meth_set_ctrl(made, &Channel::Control);
    return made;
  }();
  return method;
}

size_t Channel::TakeInput(uint8_t* out, size_t size) {
  if (!kept_.empty()) {
    const size_t taken = std::min(size, kept_.size());
    kept_.CopyTo(out, 0, taken);
    kept_.Drain(taken);
    return taken;
  }
  const size_t taken = std::min(size, lent_.size());
  if (taken != 0) std::memcpy(out, lent_.data(), taken);
  lent_.remove_prefix(taken);
  return taken;
}

int Channel::Read(BIO* bio, char* out, int size) {
  auto& channel = *static_cast<Channel*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const size_t taken =
      channel.TakeInput(reinterpret_cast<uint8_t*>(out), static_cast<size_t>(size));
  if (taken != 0) return static_cast<int>(taken);
  if (channel.input_end_) return 0;
  BIO_set_retry_read(bio);
  return -1;
}

int Channel::Write(BIO* bio, const char* bytes, int size) {
  auto& channel = *static_cast<Channel*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  channel.output_.Append(
      absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(bytes), static_cast<size_t>(size)));
  return size;
}

long Channel::Control(BIO*, int command, long, void*) {  // NOLINT: BIO's types
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

}  // namespace sluice::tls::internal
