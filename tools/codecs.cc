#include "sluice/tools/codecs.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/tools/json.h"
#include "sluice/tools/shared_flags.h"
#include "sluice/tools/url.h"
#include "sluice/tools/wrap.h"

namespace sluice::tools {
namespace {

using Protocols = absl::Span<const std::shared_ptr<const Protocol>>;

std::vector<UrlScheme> SchemesOf(const ProtocolTable& protocols, const Protocol& protocol) {
  std::vector<UrlScheme> schemes = {protocol.scheme()};
  if (protocols.encryption() != nullptr) schemes.push_back(protocol.encrypted_scheme());
  return schemes;
}

std::string MessageOf(const Protocol& protocol) {
  return protocol.has_messages() ? protocol.info().message : "none: bytes flow";
}

// "  url      frame://HOST:PORT ..."; nothing for no text.
std::string Line(absl::string_view name, absl::string_view text) {
  constexpr size_t kNameColumns = 9;
  constexpr size_t kIndent = 2 + kNameColumns;
  if (text.empty()) return "";
  return absl::StrCat("  ", name, std::string(kNameColumns - name.size(), ' '),
                      Wrap(text, kHelpColumns - kIndent, kIndent), "\n");
}

std::string OptionLines(absl::Span<const ProtocolOption> options) {
  constexpr absl::string_view kFirst = "  --codec=";
  size_t width = 0;
  for (const ProtocolOption& option : options)
    width = std::max(width, option.name.size() + 1 + option.default_value.size());
  const size_t indent = kFirst.size() + width + 2;
  std::string lines;
  for (const ProtocolOption& option : options) {
    const std::string shown = absl::StrCat(option.name, "=", option.default_value);
    absl::StrAppend(&lines, lines.empty() ? kFirst : std::string(kFirst.size(), ' '), shown,
                    std::string(width + 2 - shown.size(), ' '),
                    Wrap(absl::StrCat(option.meaning, " (", option.accepted, ")"),
                         kHelpColumns - indent, indent),
                    "\n");
  }
  return lines;
}

std::string Describe(const ProtocolTable& protocols, const Protocol& protocol) {
  const ProtocolInfo& info = protocol.info();
  const absl::string_view compression =
      protocol.can_compress() ? "messages, with --deflate, where the other side wants it too" : "";
  return absl::StrCat(info.name, info.summary.empty() ? "" : ": ", info.summary, "\n",
                      Line("URL", AcceptedUrls(SchemesOf(protocols, protocol))),
                      Line("message", MessageOf(protocol)), Line("limits", info.limits),
                      Line("deflate", compression), OptionLines(protocol.options()));
}

JsonObject DescribeAsJson(const ProtocolTable& protocols, const Protocol& protocol) {
  const ProtocolInfo& info = protocol.info();
  JsonObject options;
  for (const ProtocolOption& option : protocol.options()) {
    options.Add(option.name, JsonObject()
                                 .Add("default", option.default_value)
                                 .Add("accepted", option.accepted)
                                 .Add("meaning", option.meaning));
  }
  JsonObject object;
  object.Add("summary", info.summary).Add("scheme", info.scheme.name);
  if (protocols.encryption() != nullptr) object.Add("tls_scheme", protocol.encrypted_scheme().name);
  object.Add("has_messages", info.has_messages)
      .Add("message", info.message)
      .Add("text_only", info.text_only)
      .Add("limits", info.limits)
      .Add("can_compress", protocol.can_compress())
      .Add("options", options);
  return object;
}

std::string Text(const ProtocolTable& protocols, Protocols listed) {
  const std::vector<std::string> texts = [&] {
    std::vector<std::string> described;
    for (const auto& protocol : listed) described.push_back(Describe(protocols, *protocol));
    return described;
  }();
  return absl::StrCat(absl::StrJoin(texts, "\n"), "\n--max_message_bytes is ",
                      AbslUnparseFlag(kDefaultMaxMessageBytes),
                      " where it is not given; bench takes what --size says.\n");
}

std::string Json(const ProtocolTable& protocols, Protocols listed) {
  JsonObject object;
  for (const auto& protocol : listed)
    object.Add(protocol->name(), DescribeAsJson(protocols, *protocol));
  return absl::StrCat(object.ToString(), "\n");
}

int RunCodecs(const ProtocolTable& protocols, const Invocation& invocation) {
  std::vector<std::shared_ptr<const Protocol>> listed(protocols.protocols().begin(),
                                                      protocols.protocols().end());
  if (!invocation.arguments.empty()) {
    const std::string& name = invocation.arguments[0];
    listed = {protocols.FindByName(name)};
    if (listed[0] == nullptr) {
      return invocation.BadUsage(absl::StrCat("there is no protocol ", name, "; there are ",
                                              absl::StrJoin(protocols.names(), ", ")));
    }
  }
  const std::string text =
      absl::GetFlag(FLAGS_json) ? Json(protocols, listed) : Text(protocols, listed);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return kSuccess;
}

}  // namespace

Command CodecsCommand(const ProtocolTable& protocols) {
  return {
      .name = "codecs",
      .summary = "lists the protocols, with their URLs, options and limits",
      .description =
          "With PROTOCOL, that one alone. What is behind --codec= are its options, with "
          "their defaults, what they mean and what they take; several are given as "
          "--codec=NAME=VALUE,NAME=VALUE, to echo, bench and cat alike.",
      .optional_argument = "PROTOCOL",
      .flags = {"json"},
      .run =
          [&protocols](const Invocation& invocation) { return RunCodecs(protocols, invocation); },
  };
}

}  // namespace sluice::tools
