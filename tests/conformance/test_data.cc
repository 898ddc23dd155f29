#include "sluice/tests/conformance/test_data.h"

#include <cstdint>
#include <iterator>
#include <map>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace sluice::conformance {
namespace {

constexpr size_t kJsonBytes = 194056;
constexpr size_t kBitmapBytes = 263222;
constexpr size_t kBookBytes = 222218;
constexpr size_t kHtmlBytes = 263647;
constexpr size_t kPdfBytes = 1042328;

constexpr absl::string_view kWords[] = {
    "der",    "und",  "nicht", "Geist",  "Welt",  "was",  "für",     "schön", "über",
    "Nacht",  "wär",  "ich",   "Doktor", "sein",  "groß", "Teufel",  "Licht", "Stunde",
    "würde",  "kein", "nach",  "Seele",  "immer", "Herz", "wieder",  "Mut",   "sagt",
    "Garten", "Tür",  "alles", "wohl",   "zu",    "mir",  "Magister"};

using Random = std::mt19937;

absl::string_view Word(Random& random) { return kWords[random() % std::size(kWords)]; }

std::string Sentence(Random& random) {
  std::string sentence;
  const size_t words = 4 + random() % 8;
  for (size_t i = 0; i < words; ++i) absl::StrAppend(&sentence, i == 0 ? "" : " ", Word(random));
  return sentence;
}

std::string Json(Random& random) {
  std::string text = "[\n";
  for (int id = 0; text.size() < kJsonBytes; ++id) {
    absl::StrAppend(&text, "  {\"id\": ", id, ", \"name\": \"", Word(random), "\", \"about\": \"",
                    Sentence(random), "\", \"balance\": ", random() % 100000, ".", random() % 100,
                    ", \"active\": ", random() % 2 == 0 ? "true" : "false", "},\n");
  }
  return text;
}

std::string Html(Random& random) {
  std::string text = "<!DOCTYPE html>\n<html><body>\n";
  while (text.size() < kHtmlBytes) {
    absl::StrAppend(&text, "<div class=\"entry c", random() % 20, "\"><a href=\"/", random() % 5000,
                    "\">", Word(random), "</a><p>", Sentence(random), ".</p></div>\n");
  }
  return text;
}

std::string Book(Random& random) {
  std::string text;
  while (text.size() < kBookBytes)
    absl::StrAppend(&text, Sentence(random), random() % 3 == 0 ? ".\r\n\r\n" : ",\r\n");
  return text;
}

// A header, and 512 x 512 shades of grey with some noise.
std::string Bitmap(Random& random) {
  std::string bytes("BM");
  bytes.resize(kBitmapBytes - 512 * 512);
  for (int y = 0; y < 512; ++y) {
    for (int x = 0; x < 512; ++x)
      bytes.push_back(static_cast<char>((x / 3 + y / 5 + static_cast<int>(random() % 4)) & 0xff));
  }
  return bytes;
}

// A few lines of text between streams that do not compress.
std::string Pdf(Random& random) {
  std::string bytes = "%PDF-1.4\n";
  for (int object = 1; bytes.size() < kPdfBytes; ++object) {
    absl::StrAppend(&bytes, object, " 0 obj << /Length 4096 /Filter /FlateDecode >> stream\n");
    for (int i = 0; i < 4096; ++i) bytes.push_back(static_cast<char>(random()));
    absl::StrAppend(&bytes, "\nendstream endobj\n");
  }
  return bytes;
}

std::string GenerateBytes(Kind kind) {
  Random random(static_cast<uint32_t>(kind));
  switch (kind) {
    case Kind::kJson:
      return Json(random);
    case Kind::kBitmap:
      return Bitmap(random);
    case Kind::kBook:
      return Book(random);
    case Kind::kHtml:
      return Html(random);
    case Kind::kPdf:
      return Pdf(random);
  }
  return "";
}

bool StartsCharacter(char octet) { return (octet & 0xc0) != 0x80; }

}  // namespace

TestData::TestData(Kind kind) : contents_(Of(kind)) {}

TestData::Contents TestData::Generate(Kind kind) {
  Contents contents{kind == Kind::kJson || kind == Kind::kHtml, GenerateBytes(kind), {}};
  for (size_t i = 0; i < contents.bytes.size(); ++i) {
    if (!contents.is_text || StartsCharacter(contents.bytes[i])) contents.starts.push_back(i);
  }
  return contents;
}

// Made once.
const TestData::Contents& TestData::Of(Kind kind) {
  static auto* const made = new std::map<Kind, Contents>;
  const auto found = made->find(kind);
  return found != made->end() ? found->second : made->emplace(kind, Generate(kind)).first->second;
}

std::string TestData::Next(size_t size) {
  const auto& [is_text, bytes, starts] = contents_;
  const size_t from = at_;
  at_ = (at_ + size) % starts.size();
  if (at_ > from) return bytes.substr(starts[from], starts[at_] - starts[from]);
  return bytes.substr(starts[from]) + bytes.substr(0, starts[at_]);
}

}  // namespace sluice::conformance
