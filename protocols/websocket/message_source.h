// MessageSource is what a large message is read from while it is sent, in fragments, as fast as the
// peer takes it; it is never in memory as a whole. It has to have its bytes at once: who must wait
// for them writes them with a MessageWriter.
//
// Example: a file.
//   connection.SendFrom(MessageType::kBinary, FileSource::Take(descriptor));
//
// Loop-bound.

#ifndef SLUICE_PROTOCOLS_WEBSOCKET_MESSAGE_SOURCE_H_
#define SLUICE_PROTOCOLS_WEBSOCKET_MESSAGE_SOURCE_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace sluice::websocket {

class MessageSource {
 public:
  MessageSource() = default;
  MessageSource(const MessageSource&) = delete;
  MessageSource& operator=(const MessageSource&) = delete;
  virtual ~MessageSource() = default;

  // Puts the next bytes into `to`, which is not empty, and returns how many; 0 at the end. After an
  // error the connection is closed with kInternalError, and CloseInfo::status is the error. Not to
  // call anything on the connection; the destructor may.
  virtual absl::StatusOr<size_t> Read(absl::Span<uint8_t> to) = 0;
};

// A file, or a part of it. Reading blocks the loop where the file is not in the page cache.
class FileSource final : public MessageSource {
 public:
  static constexpr uint64_t kToTheEnd = ~uint64_t{0};

  // The descriptor's owner from now on. `bytes` from `offset` on, or up to the end; a file that
  // ends before them is an error (kOutOfRange).
  static std::unique_ptr<FileSource> Take(int descriptor, uint64_t offset = 0,
                                          uint64_t bytes = kToTheEnd);
  ~FileSource() override;

  absl::StatusOr<size_t> Read(absl::Span<uint8_t> to) override;

 private:
  FileSource(int descriptor, uint64_t offset, uint64_t bytes)
      : descriptor_(descriptor), offset_(offset), left_(bytes) {}

  const int descriptor_;
  uint64_t offset_;
  uint64_t left_;
};

}  // namespace sluice::websocket

#endif  // SLUICE_PROTOCOLS_WEBSOCKET_MESSAGE_SOURCE_H_
