#ifndef NOTES_NOTE_CODEC_H_
#define NOTES_NOTE_CODEC_H_

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/buffer.h"
#include "sluice/protocols/codec/codec.h"

struct Note {
  uint8_t channel = 0;
  absl::string_view text;  // lent
};
inline std::string DescribeMessage(const Note& note) {  // for tests
  return absl::StrCat(note.channel, ": ", note.text);
}

// A note is | channel: 1 byte | size of the text: 2 bytes, big endian | text |.
class NoteCodec {
 public:
  using Message = Note;
  explicit NoteCodec(uint16_t max_text_bytes = 4096) : max_text_bytes_(max_text_bytes) {}

  sluice::DecodeResult Decode(absl::Span<uint8_t> in, Note& note) {
    if (too_long_ != 0) return sluice::DecodeResult::Error();
    if (in.size() < 3) return sluice::DecodeResult::NeedMore(3);
    const size_t size = size_t{in[1]} << 8 | in[2];
    if (size > max_text_bytes_) {
      too_long_ = size;
      return sluice::DecodeResult::Error();
    }
    if (in.size() < 3 + size) return sluice::DecodeResult::NeedMore(3 + size);
    note = {in[0], {reinterpret_cast<const char*>(in.data()) + 3, size}};
    return sluice::DecodeResult::Message(3 + size);
  }

  sluice::EncodeResult Encode(const Note& note, sluice::Buffer& out) const {
    const size_t size = note.text.size();
    if (size > max_text_bytes_) return sluice::EncodeResult::kTooLong;
    const uint8_t header[] = {note.channel, uint8_t(size >> 8), uint8_t(size)};
    out.Append(absl::MakeConstSpan(header));
    out.Append(note.text);
    return sluice::EncodeResult::kEncoded;
  }

  absl::Status status() const {
    if (too_long_ == 0) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        absl::StrCat("a note of ", too_long_, " bytes; the limit is ", max_text_bytes_));
  }
  size_t max_frame_bytes() const { return 3 + max_text_bytes_; }

 private:
  size_t max_text_bytes_;
  size_t too_long_ = 0;  // the size that was wrong
};

#endif  // NOTES_NOTE_CODEC_H_
