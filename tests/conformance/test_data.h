// What the messages of sections 12 and 13 are cut from: like the suite's five files in kind and
// size, but generated.
//
// Not thread-safe: the files are made once for all.
#ifndef SLUICE_TESTS_CONFORMANCE_TEST_DATA_H_
#define SLUICE_TESTS_CONFORMANCE_TEST_DATA_H_

#include <cstddef>
#include <string>
#include <vector>

namespace sluice::conformance {

enum class Kind { kJson, kBitmap, kBook, kHtml, kPdf };  // in the suite's order

class TestData {
 public:
  explicit TestData(Kind kind);

  // JSON and HTML go as text, and their sizes are in characters; the others as octets.
  bool is_text() const { return contents_.is_text; }

  // The next so many, of the beginning again after the end.
  std::string Next(size_t size);

 private:
  struct Contents {
    bool is_text;
    std::string bytes;
    std::vector<size_t> starts;  // of the characters
  };
  static Contents Generate(Kind kind);
  static const Contents& Of(Kind kind);

  const Contents& contents_;
  size_t at_ = 0;
};

}  // namespace sluice::conformance

#endif  // SLUICE_TESTS_CONFORMANCE_TEST_DATA_H_
