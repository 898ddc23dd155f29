// RecordPair is a connection of TLS 1.3 whose server's side is a RecordChannel and whose client's
// is BoringSSL's; and the client's keys, to seal records as BoringSSL never would.
#ifndef SLUICE_TLS_INTERNAL_RECORD_PAIR_H_
#define SLUICE_TLS_INTERNAL_RECORD_PAIR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "openssl/base.h"
#include "openssl/err.h"
#include "openssl/span.h"
#include "openssl/ssl.h"
#include "sluice/core/buffer.h"
#include "sluice/core/internal/check.h"
#include "sluice/tls/internal/channel.h"
#include "sluice/tls/internal/record_channel.h"
#include "sluice/tls/internal/record_keys.h"

namespace sluice::tls::internal {

class RecordPair {
 public:
  // Both contexts are for TLS 1.3; the client's accepts the server's certificate.
  RecordPair(SSL_CTX* server, SSL_CTX* client, uint64_t rekey_after)
      : client_(client, /*server=*/false) {
    SslChannel handshake(server, /*server=*/true);
    for (int i = 0; i < 2; ++i) {
      SSL_do_handshake(client_.ssl());
      Move(client_, handshake);
      SSL_do_handshake(handshake.ssl());
      if (SSL_in_init(handshake.ssl()) == 0) SSL_write(handshake.ssl(), nullptr, 0);
      Move(handshake, client_);
    }
    server_ = RecordChannel::TakeOver(handshake, rekey_after);
    SLUICE_CHECK(server_ != nullptr);
    ReadAtClient();  // the tickets
    bssl::Span<const uint8_t> read, write;
    SLUICE_CHECK(bssl::SSL_get_traffic_secrets(client_.ssl(), &read, &write) &&
                 keys_.Set(*SSL_get_current_cipher(client_.ssl()), {write.data(), write.size()},
                           SSL_get_write_sequence(client_.ssl())));
  }

  SslChannel& client() { return client_; }
  RecordChannel& server() { return *server_; }
  RecordKeys& client_keys() { return keys_; }

  // A record as the client would send it, of any type.
  std::string Seal(uint8_t type, absl::string_view bytes) {
    std::string record(bytes.size() + RecordKeys::kOverhead, 0);
    auto* const out = reinterpret_cast<uint8_t*>(&record[0]);
    SLUICE_CHECK(keys_.Seal(type, Bytes(bytes), out));
    return record;
  }

  void SendToServer(absl::string_view bytes) {
    server_->Lend(Bytes(bytes));
    server_->KeepRest();
  }
  void MoveToServer() { Move(client_, *server_); }
  void MoveToClient() { Move(*server_, client_); }

  std::string ReadAtServer(size_t space = 64 * 1024) { return Read(*server_, space); }
  std::string ReadAtClient() { return Read(client_, 64 * 1024); }
  int outcome() const { return outcome_; }  // of the last Read

  static void Write(Channel& channel, absl::string_view bytes) {
    Buffer plain;
    plain.Append(bytes);
    constexpr size_t kRecord = SSL3_RT_MAX_PLAIN_LENGTH;
    while (!plain.empty())
      SLUICE_CHECK(channel.Write(plain, plain.size() < kRecord ? plain.size() : kRecord));
  }

 private:
  static absl::Span<const uint8_t> Bytes(absl::string_view text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
  }

  static void Move(Channel& from, Channel& to) {
    const std::string bytes = from.TakeOutput().ToString();
    to.Lend(Bytes(bytes));
    to.KeepRest();
  }

  // All there is, in pieces of `space`.
  std::string Read(Channel& channel, size_t space) {
    std::string result;
    std::string piece(space, 0);
    size_t size;
    do {
      size = channel.Read({reinterpret_cast<uint8_t*>(&piece[0]), space}, outcome_);
      result.append(piece, 0, size);
    } while (size != 0 && outcome_ == SSL_ERROR_NONE);
    return result;
  }

  SslChannel client_;
  std::unique_ptr<RecordChannel> server_;
  RecordKeys keys_;
  int outcome_ = SSL_ERROR_NONE;
};

}  // namespace sluice::tls::internal

#endif  // SLUICE_TLS_INTERNAL_RECORD_PAIR_H_
