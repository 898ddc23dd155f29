#include "sluice/tools/codec_flag.h"

#include <string>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

ABSL_FLAG(std::string, codec, "",
          "options of the protocol, as NAME=VALUE,NAME=VALUE; `codecs` lists them");

namespace sluice::tools {

absl::StatusOr<std::shared_ptr<const Protocol>> WithCodecFlag(
    std::shared_ptr<const Protocol> protocol) {
  const std::string text = absl::GetFlag(FLAGS_codec);
  if (text.empty()) return protocol;
  absl::StatusOr<std::unique_ptr<Protocol>> configured = protocol->WithOptions(text);
  if (!configured.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("--codec=", text, ": ", protocol->name(), ": ",
                                                   configured.status().message()));
  }
  return std::shared_ptr<const Protocol>(*std::move(configured));
}

}  // namespace sluice::tools
