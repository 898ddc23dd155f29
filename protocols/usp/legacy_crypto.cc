#include "sluice/protocols/usp/legacy_crypto.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "openssl/aes.h"
#include "openssl/base.h"
#include "openssl/bio.h"
#include "openssl/bytestring.h"
#include "openssl/digest.h"
#include "openssl/err.h"
#include "openssl/evp.h"
#include "openssl/hmac.h"
#include "openssl/mem.h"
#include "openssl/pem.h"
#include "openssl/rand.h"
#include "openssl/rsa.h"
#include "openssl/sha.h"

namespace sluice::usp {
namespace {

constexpr size_t kBlockBytes = AES_BLOCK_SIZE;
constexpr size_t kNewKeyBytes = 16;
// Of AES.
constexpr size_t kKeyBytes[] = {16, 24, 32};
constexpr size_t kMaxKeyBytes = 32;
constexpr int kMinRsaBytes = 1024 / 8;
constexpr int kMaxRsaBytes = 8192 / 8;

// BoringSSL fails for want of memory only, where this stands.
void NeedsMemory(bool done) {
  if (!done) throw std::bad_alloc();
}

// Bytes that are wiped when they are no longer used.
class Secret {
 public:
  explicit Secret(size_t size) : bytes_(size) {}
  ~Secret() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;

  uint8_t* data() { return bytes_.data(); }
  const uint8_t* data() const { return bytes_.data(); }
  size_t size() const { return bytes_.size(); }
  uint8_t operator[](size_t i) const { return bytes_[i]; }

 private:
  std::vector<uint8_t> bytes_;
};

// AES.

class Aes {
 public:
  explicit Aes(absl::Span<const uint8_t> key) {
    const unsigned bits = static_cast<unsigned>(8 * key.size());
    // They fail for another number of bits only.
    AES_set_encrypt_key(key.data(), bits, &encrypt_);
    AES_set_decrypt_key(key.data(), bits, &decrypt_);
  }
  ~Aes() {
    OPENSSL_cleanse(&encrypt_, sizeof(encrypt_));
    OPENSSL_cleanse(&decrypt_, sizeof(decrypt_));
  }
  Aes(const Aes&) = delete;
  Aes& operator=(const Aes&) = delete;

  void EncryptBlock(uint8_t* block) const { AES_encrypt(block, block, &encrypt_); }
  void DecryptBlock(uint8_t* block) const { AES_decrypt(block, block, &decrypt_); }

 private:
  AES_KEY encrypt_;
  AES_KEY decrypt_;
};

void EncryptPadded(const Aes& aes, std::string& bytes) {
  const size_t padding = kBlockBytes - bytes.size() % kBlockBytes;
  bytes.append(padding, static_cast<char>(padding));
  uint8_t* const data = reinterpret_cast<uint8_t*>(bytes.data());
  for (size_t at = 0; at < bytes.size(); at += kBlockBytes) aes.EncryptBlock(data + at);
}

absl::StatusOr<absl::Span<uint8_t>> DecryptPadded(const Aes& aes, absl::Span<uint8_t> bytes) {
  if (bytes.empty() || bytes.size() % kBlockBytes != 0) {
    return absl::InvalidArgumentError(absl::StrCat("an encrypted message of ", bytes.size(),
                                                   " bytes; accepted: a multiple of ", kBlockBytes,
                                                   ", and not 0"));
  }
  for (size_t at = 0; at < bytes.size(); at += kBlockBytes) aes.DecryptBlock(bytes.data() + at);
  const size_t padding = bytes.back();
  bool right = padding >= 1 && padding <= kBlockBytes;
  for (size_t i = 1; right && i <= padding; ++i) right = bytes[bytes.size() - i] == padding;
  if (!right) {
    return absl::InvalidArgumentError(
        "an encrypted message cannot be decrypted: it is damaged, or the peer has another key");
  }
  return bytes.first(bytes.size() - padding);
}

// PEM.

// The first block of a text.
struct PemBlock {
  bssl::UniquePtr<char> name;
  bssl::UniquePtr<char> header;
  bssl::UniquePtr<uint8_t> der;
  size_t size = 0;

  absl::string_view name_view() const { return name.get(); }
  bool is_encrypted() const {
    return name_view() == PEM_STRING_PKCS8 ||
           absl::StartsWith(header.get(), "Proc-Type: 4,ENCRYPTED");
  }
  CBS Bytes() const {
    CBS bytes;
    CBS_init(&bytes, der.get(), size);
    return bytes;
  }
};

absl::Status WrongKey(absl::string_view what, absl::string_view found, absl::string_view accepted) {
  ERR_clear_error();
  return absl::InvalidArgumentError(absl::StrCat(what, ": ", found, "; accepted: ", accepted));
}

bool ReadPem(absl::string_view pem, PemBlock& block) {
  const bssl::UniquePtr<BIO> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  char* name = nullptr;
  char* header = nullptr;
  uint8_t* der = nullptr;
  long size = 0;  // NOLINT: PEM's type
  const bool read = bio != nullptr && PEM_read_bio(bio.get(), &name, &header, &der, &size) == 1;
  ERR_clear_error();
  if (!read) return false;
  block.name.reset(name);
  block.header.reset(header);
  block.der.reset(der);
  block.size = static_cast<size_t>(size);
  return true;
}

bssl::UniquePtr<RSA> ParsePublic(CBS der) {
  const bssl::UniquePtr<EVP_PKEY> key(EVP_parse_public_key(&der));
  if (key == nullptr || CBS_len(&der) != 0) return nullptr;
  return bssl::UniquePtr<RSA>(EVP_PKEY_get1_RSA(key.get()));
}

bssl::UniquePtr<RSA> ParsePrivate(CBS der, absl::string_view form) {
  if (form == PEM_STRING_RSA) {
    bssl::UniquePtr<RSA> rsa(RSA_parse_private_key(&der));
    return CBS_len(&der) == 0 ? std::move(rsa) : nullptr;
  }
  const bssl::UniquePtr<EVP_PKEY> key(EVP_parse_private_key(&der));
  if (key == nullptr || CBS_len(&der) != 0) return nullptr;
  return bssl::UniquePtr<RSA>(EVP_PKEY_get1_RSA(key.get()));
}

absl::StatusOr<bssl::UniquePtr<RSA>> ReadKey(absl::string_view pem, absl::string_view what,
                                             bool is_private) {
  const absl::string_view accepted =
      is_private ? "a block RSA PRIVATE KEY or PRIVATE KEY in PEM" : "a block PUBLIC KEY in PEM";
  PemBlock block;
  if (!ReadPem(pem, block)) return WrongKey(what, "no PEM block is there", accepted);
  if (is_private && block.is_encrypted())
    return WrongKey(what, "it is encrypted", "one that is not encrypted");
  const absl::string_view form = block.name_view();
  if (is_private ? form != PEM_STRING_RSA && form != PEM_STRING_PKCS8INF
                 : form != PEM_STRING_PUBLIC) {
    return WrongKey(what, absl::StrCat("a PEM block ", form), accepted);
  }
  bssl::UniquePtr<RSA> rsa =
      is_private ? ParsePrivate(block.Bytes(), form) : ParsePublic(block.Bytes());
  if (rsa == nullptr)
    return WrongKey(what, absl::StrCat("its block ", form, " holds no sound RSA key"), accepted);
  const int size = static_cast<int>(RSA_size(rsa.get()));
  if (size < kMinRsaBytes || size > kMaxRsaBytes) {
    return WrongKey(what, absl::StrCat("an RSA key of ", 8 * size, " bits"),
                    absl::StrCat(8 * kMinRsaBytes, " to ", 8 * kMaxRsaBytes, " bits"));
  }
  ERR_clear_error();
  return rsa;
}

// RSA.

// 1 for 0, and 0 for 1 to 255, without a branch.
uint32_t IsZero(uint32_t byte) { return (byte - 1) >> 31; }

// All ones where the block is 00 02, bytes that are not zero, 00, and a key of so many bytes; 0
// elsewhere. How long that takes does not depend on the block's bytes.
uint32_t HoldsKey(const Secret& block, size_t key_bytes) {
  const size_t separator = block.size() - key_bytes - 1;
  uint32_t wrong = block[0] | (uint32_t{block[1]} ^ 2) | block[separator];
  for (size_t i = 2; i < separator; ++i) wrong |= IsZero(block[i]);
  return 0 - IsZero(wrong);
}

}  // namespace

// A pair's half that this side has.
class InsecureLegacyCrypto::Key {
 public:
  Key(bssl::UniquePtr<RSA> rsa, bool is_private)
      : rsa_(std::move(rsa)), is_private_(is_private), fallback_(SHA256_DIGEST_LENGTH) {
    if (is_private_) MakeFallback();
  }

  bool is_private() const { return is_private_; }
  size_t size() const { return RSA_size(rsa_.get()); }

  // What is sent for an AES key.
  absl::StatusOr<std::string> Wrap(const Secret& key) const {
    std::string wrapped(size(), 0);
    size_t made = 0;
    if (RSA_encrypt(rsa_.get(), &made, reinterpret_cast<uint8_t*>(wrapped.data()), wrapped.size(),
                    key.data(), key.size(), RSA_PKCS1_PADDING) != 1) {
      ERR_clear_error();
      return absl::InvalidArgumentError("the server's public key cannot encrypt");
    }
    return wrapped;
  }

  // The AES key of what has come; one that only this server can know where there is none. Null
  // where the bytes are no number that the key is for, which everyone can see.
  std::unique_ptr<Aes> Unwrap(absl::Span<const uint8_t> wrapped) const {
    Secret block(size());
    size_t made = 0;
    if (RSA_decrypt(rsa_.get(), &made, block.data(), block.size(), wrapped.data(), wrapped.size(),
                    RSA_NO_PADDING) != 1) {
      ERR_clear_error();
      return nullptr;
    }
    Secret key(kMaxKeyBytes);
    NeedsMemory(Hmac(fallback_, wrapped, key));
    uint32_t key_bytes = kNewKeyBytes;
    for (const size_t size : kKeyBytes) {
      const uint32_t holds = HoldsKey(block, size);
      for (size_t i = 0; i < size; ++i) {
        const uint32_t found = block[block.size() - size + i];
        key.data()[i] = static_cast<uint8_t>((key[i] & ~holds) | (found & holds));
      }
      key_bytes = (key_bytes & ~holds) | (static_cast<uint32_t>(size) & holds);
    }
    return std::make_unique<Aes>(absl::MakeConstSpan(key.data(), key_bytes));
  }

 private:
  static bool Hmac(absl::Span<const uint8_t> key, absl::Span<const uint8_t> bytes, Secret& out) {
    unsigned size = 0;
    return HMAC(EVP_sha256(), key.data(), key.size(), bytes.data(), bytes.size(), out.data(),
                &size) != nullptr &&
           size == out.size();
  }

  // From the private key, so that all processes that have it answer alike.
  void MakeFallback() {
    uint8_t* der = nullptr;
    size_t size = 0;
    NeedsMemory(RSA_private_key_to_bytes(&der, &size, rsa_.get()) == 1);
    const bssl::UniquePtr<uint8_t> owned(der);  // which wipes it
    constexpr uint8_t kLabel[] = "sluice usp InsecureLegacyCrypto";
    NeedsMemory(Hmac(kLabel, absl::MakeConstSpan(der, size), fallback_));
  }

  const bssl::UniquePtr<RSA> rsa_;
  const bool is_private_;
  Secret fallback_;
};

class InsecureLegacyCrypto::ClientCipher final : public Cipher {
 public:
  explicit ClientCipher(std::shared_ptr<const Key> key) : key_(std::move(key)) {}

  absl::StatusOr<std::optional<std::string>> Begin() override {
    Secret key(kNewKeyBytes);
    RAND_bytes(key.data(), key.size());
    absl::StatusOr<std::string> wrapped = key_->Wrap(key);
    if (!wrapped.ok()) return wrapped.status();
    aes_ = std::make_unique<Aes>(key);
    return *std::move(wrapped);
  }

  absl::StatusOr<std::optional<std::string>> OnHandshake(absl::Span<const uint8_t> body) override {
    if (aes_ == nullptr || ready_)
      return absl::InvalidArgumentError("a handshake message that answers nothing");
    if (!body.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("the answer to the handshake has a body of ",
                                                     body.size(), " bytes; accepted: none"));
    }
    ready_ = true;
    return std::nullopt;
  }

  bool ready() const override { return ready_; }
  void Encrypt(std::string& bytes) override { EncryptPadded(*aes_, bytes); }
  absl::StatusOr<absl::Span<uint8_t>> Decrypt(absl::Span<uint8_t> bytes) override {
    return DecryptPadded(*aes_, bytes);
  }

 private:
  const std::shared_ptr<const Key> key_;
  std::unique_ptr<Aes> aes_;
  bool ready_ = false;
};

class InsecureLegacyCrypto::ServerCipher final : public Cipher {
 public:
  explicit ServerCipher(std::shared_ptr<const Key> key) : key_(std::move(key)) {}

  absl::StatusOr<std::optional<std::string>> Begin() override { return std::nullopt; }

  absl::StatusOr<std::optional<std::string>> OnHandshake(absl::Span<const uint8_t> body) override {
    if (ready()) return absl::InvalidArgumentError("a second handshake");
    if (body.size() != key_->size()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "a handshake of ", body.size(), " bytes; this server's key takes ", key_->size()));
    }
    aes_ = key_->Unwrap(body);
    if (aes_ == nullptr) return absl::InvalidArgumentError("a handshake for another server's key");
    return std::string();
  }

  bool ready() const override { return aes_ != nullptr; }
  void Encrypt(std::string& bytes) override { EncryptPadded(*aes_, bytes); }
  absl::StatusOr<absl::Span<uint8_t>> Decrypt(absl::Span<uint8_t> bytes) override {
    return DecryptPadded(*aes_, bytes);
  }

 private:
  const std::shared_ptr<const Key> key_;
  std::unique_ptr<Aes> aes_;
};

absl::StatusOr<InsecureLegacyCrypto> InsecureLegacyCrypto::ForClient(
    absl::string_view public_key_pem) {
  absl::StatusOr<bssl::UniquePtr<RSA>> rsa =
      ReadKey(public_key_pem, "the server's public key", /*is_private=*/false);
  if (!rsa.ok()) return rsa.status();
  return InsecureLegacyCrypto(std::make_shared<Key>(*std::move(rsa), /*is_private=*/false));
}

absl::StatusOr<InsecureLegacyCrypto> InsecureLegacyCrypto::ForServer(
    absl::string_view private_key_pem) {
  absl::StatusOr<bssl::UniquePtr<RSA>> rsa =
      ReadKey(private_key_pem, "the server's private key", /*is_private=*/true);
  if (!rsa.ok()) return rsa.status();
  return InsecureLegacyCrypto(std::make_shared<Key>(*std::move(rsa), /*is_private=*/true));
}

std::unique_ptr<Cipher> InsecureLegacyCrypto::NewCipher() const {
  if (key_->is_private()) return std::make_unique<ServerCipher>(key_);
  return std::make_unique<ClientCipher>(key_);
}

}  // namespace sluice::usp
