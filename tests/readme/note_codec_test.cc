#include "notes/note_codec.h"

#include "gtest/gtest.h"
#include "sluice/protocols/codec/codec_conversation_testing.h"
#include "sluice/protocols/codec/codec_testing.h"

namespace codec_testing = sluice::codec_testing;

Note AnyNote(std::minstd_rand& random) {
  static const std::string text(500, 'x');
  return {uint8_t(random()), absl::string_view(text).substr(random() % 500)};
}

TEST(NoteCodecTest, KeepsItsPromises) {
  codec_testing::ExpectKeepsPromises(NoteCodec(500), AnyNote);
}

TEST(NoteCodecTest, ConversesOverABadNetwork) {
  codec_testing::ExpectConverses(NoteCodec(500), AnyNote);
}

TEST(NoteCodecTest, SendsNothingOfANoteThatIsTooLong) {
  static const std::string text(70'000, 'x');
  std::vector<Note> notes;
  for (const size_t size : {499, 500, 501, 65'535, 65'536, 65'540, 70'000})
    notes.push_back({1, absl::string_view(text).substr(0, size)});
  codec_testing::ExpectEncodesOrRefuses(NoteCodec(500), notes);
}

TEST(NoteCodecTest, ANoteOverTheLimitIsAnErrorThatSaysSo) {
  const auto decoded = codec_testing::DecodeEveryWay(NoteCodec(4), std::string("\1\0\5hello", 8));
  EXPECT_EQ(decoded.status.message(), "a note of 5 bytes; the limit is 4");
}
