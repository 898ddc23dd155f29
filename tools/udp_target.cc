#include "sluice/tools/udp_target.h"

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/resolver.h"
#include "sluice/core/system_resolver.h"
#include "sluice/tools/target.h"
#include "sluice/tools/url.h"

namespace sluice::tools {
namespace {

constexpr absl::Duration kLookUpTimeout = absl::Seconds(5);

absl::StatusOr<std::vector<SocketAddress>> Ask(EventLoop& loop, const Resolver& resolver,
                                               const Endpoint& endpoint,
                                               SocketAddress::Family family) {
  absl::StatusOr<std::vector<SocketAddress>> answer;
  const std::unique_ptr<Resolver::Query> query =
      resolver.Resolve(loop, endpoint.host, family, kLookUpTimeout,
                       [&](absl::StatusOr<std::vector<SocketAddress>> addresses) {
                         answer = std::move(addresses);
                         loop.Stop();
                       });
  loop.Run();
  return answer;
}

}  // namespace

bool NamesUdp(const Invocation& invocation) {
  return absl::StartsWith(invocation.arguments[0], absl::StrCat(kUdp, "://"));
}

absl::StatusOr<Endpoint> ReadUdpTarget(const ProtocolTable& protocols, const Invocation& invocation,
                                       const std::vector<std::string>& flags) {
  absl::StatusOr<Url> url = ParseUrl(invocation.arguments[0], {UdpScheme()});
  if (!url.ok()) return url.status();
  absl::Status status = RefuseFlags(WithClientFlags(protocols, flags), "udp://");
  if (!status.ok()) return status;
  return url->endpoint;
}

absl::StatusOr<SocketAddress> LookUp(const Endpoint& endpoint) {
  if (SocketAddress address = endpoint.Address(); address.is_ip()) return address;
  const absl::StatusOr<std::shared_ptr<const SystemResolver>> resolver = SystemResolver::Create();
  if (!resolver.ok()) return resolver.status();
  const absl::StatusOr<std::unique_ptr<EventLoop>> loop = EventLoop::Create();
  if (!loop.ok()) return loop.status();
  absl::Status status = absl::NotFoundError(absl::StrCat(endpoint.host, " has no address"));
  for (const auto family : {SocketAddress::Family::kIpv4, SocketAddress::Family::kIpv6}) {
    const absl::StatusOr<std::vector<SocketAddress>> found =
        Ask(**loop, **resolver, endpoint, family);
    if (!found.ok()) {
      status = found.status();
    } else if (!found->empty()) {
      return found->front().WithPort(endpoint.port);
    }
  }
  return status;
}

}  // namespace sluice::tools
