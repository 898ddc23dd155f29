#include "sluice/tools/resp_text.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "sluice/protocols/codec/codec.h"
#include "sluice/protocols/resp/command_codec.h"
#include "sluice/tools/codec_text.h"

namespace sluice::tools {
namespace {

using resp::Kind;
using resp::Value;

void Append(const Value& value, std::string& out);

// "[", the elements and "]". As deep as the codec's limit allows.
void AppendElements(const Value& value, std::string& out) {
  out += '[';
  absl::string_view separator = "";
  for (const Value& element : value) {
    out.append(separator.data(), separator.size());
    Append(element, out);
    separator = ", ";
  }
  out += ']';
}

void AppendPairs(const Value& value, std::string& out) {
  out += '{';
  bool is_key = true;
  absl::string_view separator = "";
  for (const Value& element : value) {
    out.append(separator.data(), separator.size());
    Append(element, out);
    separator = is_key ? ": " : ", ";
    is_key = !is_key;
  }
  out += '}';
}

// What says of itself what it is, alone and in an aggregate.
void AppendPlain(const Value& value, std::string& out) {
  switch (value.kind()) {
    case Kind::kArray:
      return AppendElements(value, out);
    case Kind::kSet:
      out += '~';
      return AppendElements(value, out);
    case Kind::kPush:
      out += '>';
      return AppendElements(value, out);
    case Kind::kMap:
      return AppendPairs(value, out);
    case Kind::kAttribute:
      out += '|';
      return AppendPairs(value, out);
    case Kind::kError:
    case Kind::kBulkError:
      return absl::StrAppend(&out, "(error) ", value.string());
    case Kind::kBoolean:
      return absl::StrAppend(&out, value.boolean() ? "(true)" : "(false)");
    default:
      return absl::StrAppend(&out, "(nil)");
  }
}

void AppendAttributes(const Value& value, std::string& out) {
  if (!value.has_attributes()) return;
  Append(value.attributes(), out);
  out += ' ';
}

// In an aggregate: strings in quotes, numbers bare.
void Append(const Value& value, std::string& out) {
  AppendAttributes(value, out);
  if (value.is_string()) return absl::StrAppend(&out, "\"", absl::CEscape(value.string()), "\"");
  switch (value.kind()) {
    case Kind::kInteger:
      return absl::StrAppend(&out, value.integer());
    case Kind::kDouble:
      return absl::StrAppend(&out, value.number());
    case Kind::kBigNumber:
      return absl::StrAppend(&out, value.string());
    default:
      return AppendPlain(value, out);
  }
}

}  // namespace

absl::StatusOr<RespWords> RespText::Parse(Client::Kind kind,
                                          absl::Span<const uint8_t> bytes) const {
  if (kind == Client::Kind::kBinary) return RespWords{{"ECHO", std::string(AsText(bytes))}};
  // The codec knows how to split an inline command, which this is; behind a space, so that it is
  // none that begins as an array does.
  resp::CommandCodec codec;
  resp::Command command;
  std::string line = absl::StrCat(" ", AsText(bytes), "\n");
  const DecodeResult result =
      codec.Decode(absl::MakeSpan(reinterpret_cast<uint8_t*>(line.data()), line.size()), command);
  if (result.kind == DecodeResult::Kind::kError) return codec.status();
  return RespWords{std::vector<std::string>(command.begin(), command.end())};
}

std::string RespText::Show(const Value& value) const {
  std::string out;
  AppendAttributes(value, out);
  if (value.is_string()) {
    absl::StrAppend(&out, value.string());
    return out;
  }
  switch (value.kind()) {
    case Kind::kInteger:
      absl::StrAppend(&out, "(integer) ", value.integer());
      break;
    case Kind::kDouble:
      absl::StrAppend(&out, "(double) ", value.number());
      break;
    case Kind::kBigNumber:
      absl::StrAppend(&out, "(big number) ", value.string());
      break;
    default:
      AppendPlain(value, out);
      break;
  }
  return out;
}

}  // namespace sluice::tools
