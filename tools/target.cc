#include "sluice/tools/target.h"

#include <utility>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "sluice/tools/codec_flag.h"
#include "sluice/tools/shared_flags.h"

namespace sluice::tools {

absl::StatusOr<Target> ReadTarget(const ProtocolTable& protocols, const Invocation& invocation) {
  const std::vector<UrlScheme> schemes = protocols.schemes();
  absl::StatusOr<Url> url = ParseUrl(invocation.arguments[0], schemes);
  if (!url.ok()) return url.status();
  Target target;
  absl::StatusOr<std::shared_ptr<const Protocol>> protocol =
      WithCodecFlag(protocols.FindByScheme(url->scheme));
  if (!protocol.ok()) return protocol.status();
  target.protocol = *std::move(protocol);
  target.compress = absl::GetFlag(FLAGS_deflate);
  if (target.compress && !target.protocol->can_compress()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--deflate: ", url->scheme, ":// does not compress; ws:// does"));
  }
  target.url = *std::move(url);
  if (protocols.encryption() == nullptr) return target;
  auto encryption = protocols.encryption()->NewClient(target.url, target.protocol->alpn());
  if (!encryption.ok()) return encryption.status();
  target.encryption = *std::move(encryption);
  if (target.encryption != nullptr && !target.encryption->warning().empty())
    invocation.Note(target.encryption->warning());
  return target;
}

std::vector<std::string> WithClientFlags(const ProtocolTable& protocols,
                                         std::vector<std::string> flags) {
  flags.insert(flags.end(), {"codec", "deflate"});
  if (protocols.encryption() == nullptr) return flags;
  const std::vector<std::string> more = protocols.encryption()->client_flags();
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

}  // namespace sluice::tools
