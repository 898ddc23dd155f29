#include "sluice/tools/target.h"

#include <utility>

#include "absl/flags/flag.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "sluice/core/socket_address.h"
#include "sluice/tools/codec_flag.h"
#include "sluice/tools/proxy_flag.h"
#include "sluice/tools/shared_flags.h"
#include "sluice/tools/system_dialer.h"

namespace sluice::tools {

namespace {

absl::StatusOr<ProxyFlag> ReadDialer(const Url& url) {
  const bool is_unix = url.unix_socket.family() != SocketAddress::Family::kNone;
  absl::StatusOr<std::shared_ptr<const Dialer>> lower =
      is_unix ? std::make_shared<FixedDialer>(url.unix_socket) : NewSystemDialer();
  if (!lower.ok()) return lower.status();
  absl::StatusOr<ProxyFlag> flag = ReadProxyFlag(*std::move(lower));
  if (flag.ok() && is_unix && !flag->proxy.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--proxy: a proxy does not reach Unix sockets, and ",
                     url.unix_socket.ToString(), " is one"));
  }
  return flag;
}

}  // namespace

std::vector<UrlScheme> TargetSchemes(const ProtocolTable& protocols) {
  std::vector<UrlScheme> schemes = protocols.schemes();
  schemes.push_back(UdpScheme());
  return schemes;
}

absl::StatusOr<Target> ReadTarget(const ProtocolTable& protocols, const Invocation& invocation) {
  absl::StatusOr<Url> url = ParseUrl(invocation.arguments[0], TargetSchemes(protocols));
  if (!url.ok()) return url.status();
  absl::Status of_udp = RefuseFlags({"lost_after"}, absl::StrCat(url->scheme, "://"));
  if (!of_udp.ok()) return of_udp;
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
  absl::StatusOr<ProxyFlag> dialer = ReadDialer(target.url);
  if (!dialer.ok()) return dialer.status();
  target.dialer = std::move(dialer->dialer);
  target.proxy = std::move(dialer->proxy);
  if (protocols.encryption() == nullptr) return target;
  auto encryption = protocols.encryption()->NewClient(target.url, target.protocol->alpn());
  if (!encryption.ok()) return encryption.status();
  target.encryption = *std::move(encryption);
  if (target.encryption == nullptr) return target;
  target.dialer = target.encryption->Over(std::move(target.dialer));
  if (!target.encryption->warning().empty()) invocation.Note(target.encryption->warning());
  return target;
}

std::vector<std::string> WithClientFlags(const ProtocolTable& protocols,
                                         std::vector<std::string> flags) {
  flags.insert(flags.end(), {"codec", "deflate", "proxy"});
  if (protocols.encryption() == nullptr) return flags;
  const std::vector<std::string> more = protocols.encryption()->client_flags();
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

}  // namespace sluice::tools
