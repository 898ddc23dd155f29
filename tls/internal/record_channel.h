// RecordChannel speaks TLS 1.3 from the end of a handshake on: it takes a server's connection over
// from BoringSSL, which need not be kept. It decrypts from where the bytes lie to where they are
// wanted, and encrypts into what is sent, where BoringSSL copies each record into a buffer of its
// own and out of it again, both ways; and an idle connection is two keys instead of an SSL.
//
// What is left of the protocol then is in it: records, alerts, the change of keys. Keys are changed
// when the peer does, and after kRekeyAfter records, long before a key has encrypted more than it
// should (RFC 8446, 5.5). A client's connection goes on to be BoringSSL's, as a server sends it
// tickets at any time.
//
// What the peer may do without sending anything is bounded, as by BoringSSL: 32 empty records or 32
// changes of keys in a row end the connection.
//
// Thread-compatible. Source: RFC 8446, sections 4.6.3, 5 and 6.
#ifndef SLUICE_TLS_INTERNAL_RECORD_CHANNEL_H_
#define SLUICE_TLS_INTERNAL_RECORD_CHANNEL_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/types/span.h"
#include "sluice/core/buffer.h"
#include "sluice/tls/internal/channel.h"
#include "sluice/tls/internal/record_keys.h"

namespace sluice::tls::internal {

class RecordChannel final : public Channel {
 public:
  static constexpr uint64_t kRekeyAfter = uint64_t{1} << 24;

  // Null where it must go on to be BoringSSL's: a client's, one of TLS 1.2, one on which an end was
  // said. Else `channel` is of no more use.
  static std::unique_ptr<RecordChannel> TakeOver(SslChannel& channel,
                                                 uint64_t rekey_after = kRekeyAfter);

  // Channel:
  size_t Read(absl::Span<uint8_t> space, int& outcome) override;
  bool Write(Buffer& plain, size_t size) override;
  void WriteEnd() override;

 private:
  explicit RecordChannel(uint64_t rekey_after) : rekey_after_(rekey_after) {}

  absl::Span<const uint8_t> Record(size_t size, uint8_t* scratch) const;
  // These may fail.
  void ReadRecord(size_t length, absl::Span<uint8_t>& room);
  void TakeBytes(absl::Span<const uint8_t> bytes, absl::Span<uint8_t>& room);
  void TakeAlert(absl::Span<const uint8_t> bytes);
  void TakeHandshake(absl::Span<const uint8_t> bytes);
  void Fail(int reason, int alert);
  void TellFailure();

  bool Seal(uint8_t type, absl::Span<const uint8_t> bytes);
  bool ChangeKeys();

  const uint64_t rekey_after_;
  RecordKeys read_;
  RecordKeys write_;
  Buffer rest_;  // of a record that there was no room for
  uint8_t message_[5];
  uint8_t message_size_ = 0;  // of a KeyUpdate that comes in pieces
  uint8_t empty_records_ = 0;
  uint8_t key_changes_ = 0;  // since there were bytes
  bool update_owed_ = false;
  bool ended_ = false;        // close_notify was read
  bool write_ended_ = false;  // it was written, or an alert
  uint8_t alert_ = 0;         // that is owed to the peer; 0 for none
  int reason_ = 0;            // why it failed
};

}  // namespace sluice::tls::internal

#endif  // SLUICE_TLS_INTERNAL_RECORD_CHANNEL_H_
