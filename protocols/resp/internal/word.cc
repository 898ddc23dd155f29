#include "sluice/protocols/resp/internal/word.h"

#include "absl/strings/ascii.h"

namespace sluice::resp::internal {
namespace {

int HexDigit(uint8_t c) {
  return absl::ascii_isdigit(c) ? c - '0' : absl::ascii_tolower(c) - 'a' + 10;
}

// What '\' and this letter stand for.
uint8_t Unescaped(uint8_t letter) {
  switch (letter) {
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'b':
      return '\b';
    case 'a':
      return '\a';
    default:
      return letter;
  }
}

class WordReader {
 public:
  WordReader(uint8_t* line, size_t at, size_t size)
      : line_(line), begin_(at), at_(at), size_(size), put_(at) {}

  Word Read() {
    while (at_ < size_) {
      const uint8_t c = line_[at_];
      if (c == '"' || c == '\'') {
        ++at_;
        const bool closed = c == '"' ? ReadDoubleQuoted() : ReadSingleQuoted();
        const bool ends = closed && (at_ == size_ || absl::ascii_isspace(line_[at_]));
        return Done(ends);
      }
      if (c == ' ' || c == '\n' || c == '\r' || c == '\t') break;
      Put(c, 1);
    }
    return Done(true);
  }

 private:
  Word Done(bool balanced) const { return {put_ - begin_, at_, balanced}; }

  // The byte that the next `taken` ones stand for.
  void Put(uint8_t c, size_t taken) {
    line_[put_++] = c;
    at_ += taken;
  }

  bool ReadDoubleQuoted() {
    while (at_ < size_) {
      const uint8_t c = line_[at_];
      if (c == '"') {
        ++at_;
        return true;
      }
      if (c != '\\' || at_ + 1 == size_) {
        Put(c, 1);
      } else if (IsHexEscape()) {
        Put(static_cast<uint8_t>(HexDigit(line_[at_ + 2]) * 16 + HexDigit(line_[at_ + 3])), 4);
      } else {
        Put(Unescaped(line_[at_ + 1]), 2);
      }
    }
    return false;
  }

  bool ReadSingleQuoted() {
    while (at_ < size_) {
      const uint8_t c = line_[at_];
      if (c == '\'') {
        ++at_;
        return true;
      }
      const bool quote = c == '\\' && at_ + 1 < size_ && line_[at_ + 1] == '\'';
      Put(quote ? '\'' : c, quote ? 2 : 1);
    }
    return false;
  }

  bool IsHexEscape() const {
    return at_ + 3 < size_ && line_[at_ + 1] == 'x' && absl::ascii_isxdigit(line_[at_ + 2]) &&
           absl::ascii_isxdigit(line_[at_ + 3]);
  }

  uint8_t* const line_;
  const size_t begin_;
  size_t at_;
  const size_t size_;
  size_t put_;
};

}  // namespace

Word ReadWord(uint8_t* line, size_t at, size_t size) { return WordReader(line, at, size).Read(); }

}  // namespace sluice::resp::internal
