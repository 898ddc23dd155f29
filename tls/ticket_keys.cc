#include "sluice/tls/ticket_keys.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "openssl/aead.h"
#include "openssl/err.h"
#include "openssl/mem.h"
#include "openssl/rand.h"
#include "sluice/core/internal/check.h"

namespace sluice::tls {
namespace {

constexpr size_t kNameBytes = 16;
constexpr size_t kNonceBytes = 12;
constexpr size_t kTagBytes = 16;

int64_t NextDue(MonotonicTime now, absl::Duration after) { return (now + after).nanoseconds(); }

}  // namespace

// AES-GCM-SIV: that two loops or machines draw the same nonce for one key is unlikely, and does no
// harm.
class TicketKeys::Key {
 public:
  explicit Key(absl::string_view secret) {
    std::memcpy(name_, secret.data(), kNameBytes);
    const auto* const key = reinterpret_cast<const uint8_t*>(secret.data()) + kNameBytes;
    SLUICE_CHECK(EVP_AEAD_CTX_init(&aead_, EVP_aead_aes_256_gcm_siv(), key,
                                   kSecretBytes - kNameBytes, kTagBytes, nullptr) == 1);
  }
  ~Key() {
    EVP_AEAD_CTX_cleanup(&aead_);
    OPENSSL_cleanse(&aead_, sizeof(aead_));
  }
  Key(const Key&) = delete;
  Key& operator=(const Key&) = delete;

  static std::shared_ptr<const Key> Random() {
    char secret[kSecretBytes];
    // BoringSSL's always succeeds, or ends the process.
    RAND_bytes(reinterpret_cast<uint8_t*>(secret), sizeof(secret));
    auto key = std::make_shared<const Key>(absl::string_view(secret, sizeof(secret)));
    OPENSSL_cleanse(secret, sizeof(secret));
    return key;
  }

  size_t Seal(absl::Span<const uint8_t> ticket, absl::Span<uint8_t> out) const {
    uint8_t* const nonce = out.data() + kNameBytes;
    uint8_t* const sealed = nonce + kNonceBytes;
    std::memcpy(out.data(), name_, kNameBytes);
    RAND_bytes(nonce, kNonceBytes);
    size_t size = 0;
    if (EVP_AEAD_CTX_seal(&aead_, sealed, &size, out.size() - kNameBytes - kNonceBytes, nonce,
                          kNonceBytes, ticket.data(), ticket.size(), name_, kNameBytes) != 1) {
      ERR_clear_error();
      return 0;
    }
    return kNameBytes + kNonceBytes + size;
  }

  bool HasSealed(absl::Span<const uint8_t> sealed) const {
    return std::memcmp(sealed.data(), name_, kNameBytes) == 0;
  }

  bool Open(absl::Span<const uint8_t> sealed, absl::Span<uint8_t> out, size_t& size) const {
    const uint8_t* const nonce = sealed.data() + kNameBytes;
    const bool open =
        EVP_AEAD_CTX_open(&aead_, out.data(), &size, out.size(), nonce, kNonceBytes,
                          nonce + kNonceBytes, sealed.size() - kNameBytes - kNonceBytes, name_,
                          kNameBytes) == 1;
    ERR_clear_error();
    return open;
  }

 private:
  uint8_t name_[kNameBytes];
  EVP_AEAD_CTX aead_;
};

TicketKeys::TicketKeys() : TicketKeys(Options()) {}

TicketKeys::TicketKeys(const Options& options) : options_(options), due_(kNotUsedYet) {
  keys_ = std::make_shared<const Keys>(Keys{Key::Random()});
}

TicketKeys::~TicketKeys() = default;

std::shared_ptr<const TicketKeys::Keys> TicketKeys::Snapshot() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return keys_;
}

void TicketKeys::Rotate() {
  std::shared_ptr<const Key> fresh = Key::Random();
  const std::lock_guard<std::mutex> lock(mutex_);
  PutInFront(std::move(fresh));
  if (due_.load(std::memory_order_relaxed) == kNever) due_ = kNotUsedYet;
}

void TicketKeys::PutInFront(std::shared_ptr<const Key> key) {
  Keys keys = {std::move(key)};
  const size_t kept = std::min(options_.keep, keys_->size());
  keys.insert(keys.end(), keys_->begin(), keys_->begin() + static_cast<ptrdiff_t>(kept));
  keys_ = std::make_shared<const Keys>(std::move(keys));
}

absl::Status TicketKeys::Use(absl::Span<const std::string> secrets) {
  if (secrets.empty()) return absl::InvalidArgumentError("ticket keys: at least one is needed");
  Keys keys;
  for (const std::string& secret : secrets) {
    if (secret.size() != kSecretBytes) {
      return absl::InvalidArgumentError(absl::StrCat("ticket key ", keys.size() + 1, ": it has ",
                                                     secret.size(), " bytes; it must have ",
                                                     kSecretBytes));
    }
    keys.push_back(std::make_shared<const Key>(secret));
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  keys_ = std::make_shared<const Keys>(std::move(keys));
  due_ = kNever;
  return absl::OkStatus();
}

// The first to see that it is due does it.
void TicketKeys::RotateWhenDue(MonotonicTime now) {
  if (options_.rotate_after == absl::InfiniteDuration()) return;
  const auto is_later = [&] {
    const int64_t due = due_.load(std::memory_order_relaxed);
    return due != kNotUsedYet && now.nanoseconds() < due;
  };
  if (is_later()) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  if (is_later()) return;  // another one did it meanwhile, or Use did away with it
  if (due_ != kNotUsedYet) PutInFront(Key::Random());
  due_ = NextDue(now, options_.rotate_after);
}

size_t TicketKeys::Seal(absl::Span<const uint8_t> ticket, absl::Span<uint8_t> out) const {
  return Snapshot()->front()->Seal(ticket, out);
}

bool TicketKeys::Open(absl::Span<const uint8_t> sealed, absl::Span<uint8_t> out,
                      size_t& size) const {
  if (sealed.size() < kOverhead) return false;
  const std::shared_ptr<const Keys> keys = Snapshot();
  for (const std::shared_ptr<const Key>& key : *keys) {
    if (key->HasSealed(sealed)) return key->Open(sealed, out, size);
  }
  return false;
}

}  // namespace sluice::tls
