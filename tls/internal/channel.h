// Channel is one end of a TLS connection without a transport: its input is lent to it, and its
// output is gathered in a Buffer, ready to be sent. What speaks the protocol is BoringSSL
// (SslChannel), or, once the handshake is over, our own records (record_channel.h).
//
// Example:
//   SslChannel channel(context, /*server=*/true);
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
  Channel() = default;
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  virtual ~Channel() = default;

  // Decrypts one record after the other into `space`, until there are no more or the next one has
  // no room. At the end of a handshake that is still going on it stops, so that what came before
  // and what came after are told apart. Answers how many bytes there are, and why there are no more
  // as SSL_get_error does:
  //   SSL_ERROR_NONE         there was no room, or it is to be asked again
  //   SSL_ERROR_WANT_READ    more input is needed
  //   SSL_ERROR_ZERO_RETURN  the peer has said that it ends (close_notify)
  //   SSL_ERROR_SYSCALL      with input_end: it has not
  //   anything else          the protocol was broken: the queue of errors (TakeError) says how, and
  //                          the output tells the peer
  virtual size_t Read(absl::Span<uint8_t> space, int& outcome) = 0;

  // Encrypts the first `size` bytes, at least one and at most a record's, and drains them. False
  // with an error in the queue. Where Read has failed, or would next, they may be lost.
  virtual bool Write(Buffer& plain, size_t size) = 0;

  // Nothing is written after it.
  virtual void WriteEnd() = 0;

  // Input: first what was kept, then what is lent. `bytes` stay valid until KeepRest.
  void Lend(absl::Span<const uint8_t> bytes) { lent_ = bytes; }
  // Copies what was lent and not read.
  void KeepRest() {
    if (!lent_.empty()) Keep();
  }
  size_t input_size() const { return kept_.size() + lent_.size(); }
  void DropInput();

  // There will be no more input.
  void SetInputEnd() { input_end_ = true; }
  bool input_end() const { return input_end_; }

  bool has_output() const { return !output_.empty(); }
  size_t output_size() const { return output_.size(); }
  // Room for so many bytes, where the output is empty: saves growing.
  void ReserveOutput(size_t size) { output_.Reserve(size); }
  Buffer TakeOutput() { return std::exchange(output_, Buffer()); }

 protected:
  // Goes on where `other` has stopped.
  void TakeBytesOf(Channel& other);
  // The input's first bytes, which are there.
  void Peek(uint8_t* out, size_t size) const;
  void Consume(size_t size);
  void Keep();

  absl::Span<const uint8_t> lent_;
  Buffer kept_;
  Buffer output_;
  bool input_end_ = false;
};

class SslChannel final : public Channel {
 public:
  SslChannel(SSL_CTX* context, bool server);
  ~SslChannel() override;

  SSL* ssl() const { return ssl_.get(); }

  // Channel:
  size_t Read(absl::Span<uint8_t> space, int& outcome) override;
  bool Write(Buffer& plain, size_t size) override;
  void WriteEnd() override;

 private:
  static const BIO_METHOD* Method();
  static int ReadInput(BIO* bio, char* out, int size);
  static int WriteOutput(BIO* bio, const char* bytes, int size);
  static long Control(BIO* bio, int command, long number, void* pointer);  // NOLINT: BIO's types

  bool at_handshake_end() const;
  bool used_up() const;

  bssl::UniquePtr<SSL> ssl_;
  bool early_ = false;   // the handshake was going on when the last Read began
  bool failed_ = false;  // an alert was written, and nothing is after it
};

}  // namespace sluice::tls::internal

#endif  // SLUICE_TLS_INTERNAL_CHANNEL_H_
