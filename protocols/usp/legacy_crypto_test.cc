#include "sluice/protocols/usp/legacy_crypto.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sluice/protocols/usp/cipher.h"
#include "sluice/protocols/usp/connection.h"
#include "sluice/protocols/usp/legacy_crypto_vectors.h"

namespace sluice::usp {
namespace {

using ::testing::HasSubstr;

constexpr char kCannotDecrypt[] =
    "an encrypted message cannot be decrypted: it is damaged, or the peer has another key";

absl::Span<const uint8_t> AsBytes(absl::string_view text) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

std::unique_ptr<Cipher> NewClient() {
  return InsecureLegacyCrypto::ForClient(kPublicKey).value().NewCipher();
}
std::unique_ptr<Cipher> NewServer() {
  return InsecureLegacyCrypto::ForServer(kPrivateKey).value().NewCipher();
}
// One that has got a handshake, in hex.
std::unique_ptr<Cipher> NewServerWith(absl::string_view handshake) {
  std::unique_ptr<Cipher> server = NewServer();
  const auto answer = server->OnHandshake(AsBytes(absl::HexStringToBytes(handshake)));
  EXPECT_TRUE(answer.ok()) << answer.status();
  EXPECT_TRUE(answer.ok() && *answer == std::string());
  EXPECT_TRUE(server->ready());
  return server;
}

std::string Encrypted(Cipher& cipher, std::string text) {
  const size_t before = text.size();
  cipher.Encrypt(text);
  EXPECT_GT(text.size(), before);
  EXPECT_LE(text.size(), before + Cipher::kMaxOverhead);
  return text;
}
std::string EncryptedHex(Cipher& cipher, std::string text) {
  return absl::BytesToHexString(Encrypted(cipher, std::move(text)));
}

absl::StatusOr<std::string> Decrypted(Cipher& cipher, std::string bytes) {
  const absl::StatusOr<absl::Span<uint8_t>> plain =
      cipher.Decrypt({reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()});
  if (!plain.ok()) return plain.status();
  return std::string(reinterpret_cast<const char*>(plain->data()), plain->size());
}
absl::StatusOr<std::string> DecryptedHex(Cipher& cipher, absl::string_view hex) {
  return Decrypted(cipher, absl::HexStringToBytes(hex));
}

// Both ready.
void ShakeHands(Cipher& client, Cipher& server) {
  const auto hello = client.Begin();
  ASSERT_TRUE(hello.ok() && hello->has_value()) << hello.status();
  const auto answer = server.OnHandshake(AsBytes(**hello));
  ASSERT_TRUE(answer.ok() && answer->has_value()) << answer.status();
  const auto nothing = client.OnHandshake(AsBytes(**answer));
  ASSERT_TRUE(nothing.ok()) << nothing.status();
  EXPECT_EQ(*nothing, std::nullopt);
}

TEST(InsecureLegacyCryptoTest, HeaderExample) {
  const std::string private_key_pem = kPrivateKey;
  absl::StatusOr<InsecureLegacyCrypto> crypto = InsecureLegacyCrypto::ForServer(private_key_pem);
  ASSERT_TRUE(crypto.ok()) << crypto.status();
  sluice::usp::ConnectionOptions options;
  options.make_cipher = [crypto = *crypto] { return crypto.NewCipher(); };
  EXPECT_FALSE(options.make_cipher()->ready());
}

TEST(InsecureLegacyCryptoTest, ClientAndServerUnderstandOneAnother) {
  const auto client = NewClient();
  const auto server = NewServer();
  EXPECT_FALSE(client->ready() || server->ready());
  ShakeHands(*client, *server);
  ASSERT_TRUE(client->ready() && server->ready());
  for (size_t size = 1; size < 100; ++size) {
    const std::string text(size, 'm');
    EXPECT_EQ(Decrypted(*server, Encrypted(*client, text)).value(), text);
    EXPECT_EQ(Decrypted(*client, Encrypted(*server, text)).value(), text);
  }
}

TEST(InsecureLegacyCryptoTest, EachConnectionHasItsOwnKey) {
  const InsecureLegacyCrypto crypto = InsecureLegacyCrypto::ForClient(kPublicKey).value();
  const auto one = crypto.NewCipher(), two = crypto.NewCipher();
  const auto server_one = NewServer(), server_two = NewServer();
  ShakeHands(*one, *server_one);
  ShakeHands(*two, *server_two);
  EXPECT_NE(Encrypted(*one, "hello"), Encrypted(*two, "hello"));
}

TEST(InsecureLegacyCryptoTest, ThreadsShareAKey) {
  const InsecureLegacyCrypto crypto = InsecureLegacyCrypto::ForServer(kPrivateKey).value();
  const std::string handshake = absl::HexStringToBytes(kHandshake16);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int connection = 0; connection < 20; ++connection) {
        const std::unique_ptr<Cipher> server = crypto.NewCipher();
        ASSERT_TRUE(server->OnHandshake(AsBytes(handshake)).ok());
        EXPECT_EQ(DecryptedHex(*server, "674c7ef38e78cabd9cec9c125823a639").value(), "hello");
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// With OpenSSL.

TEST(InsecureLegacyCryptoTest, AServerTakesKeysOfEverySizeThatAesHas) {
  struct {
    const char* handshake;
    const char* hello;
    const char* block;  // "sixteen bytes ok"
  } const kCases[] = {
      {kHandshake16, "674c7ef38e78cabd9cec9c125823a639",
       "1ee149dc138a7c83d3408afec5e19ae1377222e061a924c591cd9c27ea163ed4"},
      {kHandshake24, "f7a333a7fc96d25cff1637562648e58c",
       "caf537fc39471a72c2673355a71151dc0c6753b5ae0c25080ab6d0e32e318d32"},
      {kHandshake32, "c7a117314c7a68412b3db9b12fa5902d",
       "3cff7700ed8895cf09b076cece269e5bed2254cee9bb36e19121a4eb95aad26b"},
  };
  for (const auto& known : kCases) {
    const auto server = NewServerWith(known.handshake);
    EXPECT_EQ(EncryptedHex(*server, "hello"), known.hello);
    EXPECT_EQ(EncryptedHex(*server, "sixteen bytes ok"), known.block);
    EXPECT_EQ(DecryptedHex(*server, known.hello).value(), "hello");
    EXPECT_EQ(DecryptedHex(*server, known.block).value(), "sixteen bytes ok");
  }
}

TEST(InsecureLegacyCryptoTest, AServersKeyMayBePkcs8) {
  const auto server = InsecureLegacyCrypto::ForServer(kPrivateKeyPkcs8).value().NewCipher();
  ASSERT_TRUE(server->OnHandshake(AsBytes(absl::HexStringToBytes(kHandshake16))).ok());
  EXPECT_EQ(DecryptedHex(*server, "674c7ef38e78cabd9cec9c125823a639").value(), "hello");
}

TEST(InsecureLegacyCryptoTest, AnEmptyMessageOfNothingButPaddingIsDecrypted) {
  const auto server = NewServerWith(kHandshake16);
  EXPECT_EQ(DecryptedHex(*server, "377222e061a924c591cd9c27ea163ed4").value(), "");
}

// What a peer may send.

TEST(InsecureLegacyCryptoTest, AMessageThatIsNoneIsAnError) {
  const auto server = NewServerWith(kHandshake16);
  for (const size_t size : {0, 1, 15, 17, 31, 33}) {
    EXPECT_EQ(Decrypted(*server, std::string(size, 'm')).status(),
              absl::InvalidArgumentError(absl::StrCat("an encrypted message of ", size,
                                                      " bytes; accepted: a multiple of 16, and "
                                                      "not 0")));
  }
  // Paddings of 0, of 17, and of 3 bytes that are not alike.
  for (const char* bytes : {"56052e5b553e71f7263c93f843875d5d", "6188491e4a7cd293f937fe3711bcb14c",
                            "b645e6bf9bd07e9864079725b88a71df"}) {
    EXPECT_EQ(DecryptedHex(*server, bytes).status(), absl::InvalidArgumentError(kCannotDecrypt));
  }
}

// A handshake whose padding is wrong is answered as one that is right, so that nobody learns which
// it is. But no key that a peer knows opens what follows.
TEST(InsecureLegacyCryptoTest, AHandshakeWithoutAKeyLooksLikeOneWithAKey) {
  for (const BadHandshake& bad : kBadHandshakes) {
    SCOPED_TRACE(bad.what);
    const auto server = NewServerWith(bad.bytes);
    EXPECT_NE(EncryptedHex(*server, "hello"), "674c7ef38e78cabd9cec9c125823a639");
    // Again, and in another process with the same key: the same.
    const auto again = NewServerWith(bad.bytes);
    EXPECT_EQ(EncryptedHex(*again, "hello"), EncryptedHex(*server, "hello"));
    for (const BadHandshake& other : kBadHandshakes) {
      if (&other == &bad) continue;
      const auto different = NewServerWith(other.bytes);
      EXPECT_NE(EncryptedHex(*different, "hello"), EncryptedHex(*server, "hello"));
    }
  }
}

TEST(InsecureLegacyCryptoTest, AHandshakeOfTheWrongSizeIsAnError) {
  const std::string good = absl::HexStringToBytes(kHandshake16);
  for (const size_t size : {0, 1, 127, 129}) {
    std::string bytes = good;
    bytes.resize(size);
    const auto server = NewServer();
    EXPECT_EQ(server->OnHandshake(AsBytes(bytes)).status(),
              absl::InvalidArgumentError(
                  absl::StrCat("a handshake of ", size, " bytes; this server's key takes 128")));
    EXPECT_FALSE(server->ready());
  }
}

TEST(InsecureLegacyCryptoTest, ANumberBeyondTheKeysModulusIsAnError) {
  const auto server = NewServer();
  EXPECT_EQ(server->OnHandshake(AsBytes(std::string(128, '\xff'))).status(),
            absl::InvalidArgumentError("a handshake for another server's key"));
  EXPECT_FALSE(server->ready());
}

TEST(InsecureLegacyCryptoTest, ASecondHandshakeIsAnError) {
  const auto server = NewServerWith(kHandshake16);
  EXPECT_EQ(server->OnHandshake(AsBytes(absl::HexStringToBytes(kHandshake16))).status(),
            absl::InvalidArgumentError("a second handshake"));
  EXPECT_EQ(server->OnHandshake({}).status(), absl::InvalidArgumentError("a second handshake"));
}

TEST(InsecureLegacyCryptoTest, AClientTakesOneEmptyAnswerAndNothingElse) {
  const absl::Status no_question =
      absl::InvalidArgumentError("a handshake message that answers nothing");
  const auto client = NewClient();
  EXPECT_EQ(client->OnHandshake({}).status(), no_question);
  ASSERT_TRUE(client->Begin().ok());
  EXPECT_FALSE(client->ready());
  EXPECT_EQ(client->OnHandshake(AsBytes("hi")).status(),
            absl::InvalidArgumentError(
                "the answer to the handshake has a body of 2 bytes; accepted: none"));
  EXPECT_FALSE(client->ready());
  EXPECT_TRUE(client->OnHandshake({}).ok());
  EXPECT_TRUE(client->ready());
  EXPECT_EQ(client->OnHandshake({}).status(), no_question);
}

TEST(InsecureLegacyCryptoTest, AServerBeginsWithNothing) {
  const auto begin = NewServer()->Begin();
  ASSERT_TRUE(begin.ok());
  EXPECT_EQ(*begin, std::nullopt);
}

// Keys.

TEST(InsecureLegacyKeyTest, APublicKeyThatIsNoneIsRefused) {
  const auto error = [](absl::string_view pem) {
    return InsecureLegacyCrypto::ForClient(pem).status();
  };
  for (const char* nothing : {"", "no PEM", "-----BEGIN PUBLIC KEY-----\nMIGf\n"}) {
    EXPECT_EQ(error(nothing), absl::InvalidArgumentError(
                                  "the server's public key: no PEM block is there; accepted: a "
                                  "block PUBLIC KEY in PEM"));
  }
  EXPECT_EQ(error(kPrivateKey).message(),
            "the server's public key: a PEM block RSA PRIVATE KEY; accepted: a block PUBLIC KEY "
            "in PEM");
  EXPECT_EQ(error(kPublicKeyPkcs1).message(),
            "the server's public key: a PEM block RSA PUBLIC KEY; accepted: a block PUBLIC KEY in "
            "PEM");
  EXPECT_EQ(error(kPublicKeyOfP256).message(),
            "the server's public key: its block PUBLIC KEY holds no sound RSA key; accepted: a "
            "block PUBLIC KEY in PEM");
  EXPECT_THAT(
      std::string(error("-----BEGIN PUBLIC KEY-----\nMIGf\n-----END PUBLIC KEY-----\n").message()),
      HasSubstr("holds no sound RSA key"));
  EXPECT_EQ(error(kPublicKeyOf512Bits).message(),
            "the server's public key: an RSA key of 512 bits; accepted: 1024 to 8192 bits");
}

TEST(InsecureLegacyKeyTest, APrivateKeyThatIsNoneIsRefused) {
  const auto error = [](absl::string_view pem) {
    return InsecureLegacyCrypto::ForServer(pem).status();
  };
  EXPECT_EQ(error(""), absl::InvalidArgumentError(
                           "the server's private key: no PEM block is there; accepted: a block RSA "
                           "PRIVATE KEY or PRIVATE KEY in PEM"));
  EXPECT_EQ(error(kPublicKey).message(),
            "the server's private key: a PEM block PUBLIC KEY; accepted: a block RSA PRIVATE KEY "
            "or PRIVATE KEY in PEM");
  for (const char* encrypted : {kEncryptedPrivateKey, kEncryptedPrivateKeyPkcs8}) {
    EXPECT_EQ(error(encrypted).message(),
              "the server's private key: it is encrypted; accepted: one that is not encrypted");
  }
  EXPECT_THAT(std::string(error(kPrivateKeyOfP256).message()), HasSubstr("no sound RSA key"));
  // One digit of the modulus is another.
  std::string damaged = kPrivateKey;
  damaged[100] = damaged[100] == 'A' ? 'B' : 'A';
  EXPECT_THAT(std::string(error(damaged).message()), HasSubstr("no sound RSA key"));
}

}  // namespace
}  // namespace sluice::usp
