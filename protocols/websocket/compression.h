// Compression is what a connection asks of an extension that compresses messages: to agree with the
// peer in the opening handshake, and then to compress and decompress each one. deflate.h is one; it
// is named in ConnectionOptions, so that who names none links no compressor.
//
// Thread-safe, so that loops may share one; a Session is of its connection's loop.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_COMPRESSION_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_COMPRESSION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "sluice/protocols/websocket/close_code.h"
#include "sluice/protocols/websocket/extensions.h"

namespace sluice::websocket {

class Compression {
 public:
  // A connection's; refers to the Compression that made it.
  class Session {
   public:
    struct Message {
      absl::Span<uint8_t> bytes = {};
      // What is wrong instead, as a sentence, and what to close with.
      const char* error = nullptr;
      CloseCode code = CloseCode::kNormal;
    };

    // What is sent instead of a message; empty where that is to be sent as it is. Good until the
    // next Compress of any session on this thread.
    virtual absl::Span<const uint8_t> Compress(absl::Span<const uint8_t> message) = 0;

    // The message that was compressed, of at most `max_bytes`; what would be more is not
    // decompressed. Good until the next Decompress of any session on this thread, and may be
    // changed.
    virtual Message Decompress(absl::Span<const uint8_t> compressed, uint64_t max_bytes) = 0;

    // One message that is decompressed while it arrives. It goes before its session, and no other
    // message is decompressed meanwhile.
    class Decompression {
     public:
      virtual ~Decompression() = default;

      // The next bytes, at most 64 KiB at once, of what `compressed` comes to; what was used is
      // taken from it. `last`: the message ends with it. No bytes and no error: all was used. The
      // bytes are as those of Decompress.
      virtual Message Next(absl::Span<const uint8_t>& compressed, bool last) = 0;
    };
    virtual std::unique_ptr<Decompression> StartDecompression(uint64_t max_bytes) = 0;

    // Whether a message of that size may be sent as CompressAlone made it. What is sent after it
    // refers to nothing before it.
    virtual bool MaySendAlone(size_t message_bytes) = 0;

    // The connection needs it no more. (Connections without state of their own share one.)
    virtual void Release() = 0;

   protected:
    ~Session() = default;
  };
  struct ReleaseSession {
    void operator()(Session* session) const { session->Release(); }
  };
  using SessionPtr = std::unique_ptr<Session, ReleaseSession>;

  virtual ~Compression() = default;

  // A message compressed once, to be sent on many connections; empty where it is to be sent as it
  // is. Good until the next Compress or CompressAlone on this thread.
  virtual absl::Span<const uint8_t> CompressAlone(absl::Span<const uint8_t> message) const = 0;

  // A server's: the first of the offers that can be accepted, and what is answered. A null session
  // for none.
  struct Accepted {
    SessionPtr session;
    Extension answer;
  };
  virtual Accepted Accept(absl::Span<const Extension> offers) const = 0;

  // A client's: what it offers, and what the server's answer, to that, comes to. An error says what
  // the answer breaks.
  virtual std::vector<Extension> Offer() const = 0;
  virtual absl::StatusOr<SessionPtr> Agree(const Extension& answer) const = 0;
};

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_COMPRESSION_H_
