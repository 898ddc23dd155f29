// Channel is one end of a TLS connection without a transport: an SSL object whose input is lent to
// it and whose output is gathered in a Buffer. BoringSSL reads from where the bytes lie, and what
// it writes is ready to be sent.
//
// Example:
//   Channel channel(context, /*server=*/true);
//   channel.Lend(bytes);                       // received from below
//   int result = SSL_do_handshake(channel.ssl());
//   lower.Send(channel.TakeOutput());
//   channel.KeepRest();                        // the bytes go back to who lent them
//
// Thread-compatible.
#ifndef SLUICE_TLS_INTERNAL_CHANNEL_H_
#define SLUICE_TLS_INTERNAL_CHANNEL_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/types/span.h"
#include "openssl/base.h"
#include "sluice/core/buffer.h"

namespace sluice::tls::internal {

class Channel {
 public:
  Channel(SSL_CTX* context, bool server);
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  ~Channel();

  SSL* ssl() const { return ssl_.get(); }

  // Input: first what was kept, then what is lent. `bytes` stay valid until KeepRest.
  void Lend(absl::Span<const uint8_t> bytes) { lent_ = bytes; }
  // Copies what was lent and not read.
  void KeepRest();
  size_t input_size() const { return kept_.size() + lent_.size(); }
  void DropInput();
  // Whether nothing can be read now, neither bytes nor an end: saves asking SSL_read.
  bool used_up() const;

  // There will be no more input.
  void SetInputEnd() { input_end_ = true; }
  bool input_end() const { return input_end_; }

  bool has_output() const { return !output_.empty(); }
  size_t output_size() const { return output_.size(); }
  // Room for so many bytes, where the output is empty: saves growing.
  void ReserveOutput(size_t size) { output_.Reserve(size); }
  Buffer TakeOutput() { return std::exchange(output_, Buffer()); }

 private:
  static const BIO_METHOD* Method();
  static int Read(BIO* bio, char* out, int size);
  static int Write(BIO* bio, const char* bytes, int size);
  static long Control(BIO* bio, int command, long number, void* pointer);  // NOLINT: BIO's types

  size_t TakeInput(uint8_t* out, size_t size);

  bssl::UniquePtr<SSL> ssl_;
  absl::Span<const uint8_t> lent_;
  Buffer kept_;
  Buffer output_;
  bool input_end_ = false;
};

}  // namespace sluice::tls::internal

#endif  // SLUICE_TLS_INTERNAL_CHANNEL_H_
