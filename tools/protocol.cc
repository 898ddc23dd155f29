#include "sluice/tools/protocol.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"

namespace sluice::tools {

EchoTotals& EchoTotals::operator+=(const EchoTotals& other) {
  connections += other.connections;
  messages += other.messages;
  bytes += other.bytes;
  errors += other.errors;
  handshake_errors += other.handshake_errors;
  return *this;
}

namespace {

// The scheme has the protocol's name, where it has none.
ProtocolInfo WithScheme(ProtocolInfo info) {
  if (info.scheme.name.empty()) info.scheme.name = info.name;
  return info;
}

}  // namespace

Protocol::Protocol(ProtocolInfo info) : info_(WithScheme(std::move(info))) {}

absl::StatusOr<std::unique_ptr<Protocol>> Protocol::WithOptions(absl::string_view /*text*/) const {
  return absl::InvalidArgumentError("this protocol has no options");
}

UrlScheme Protocol::encrypted_scheme() const {
  UrlScheme scheme = info_.scheme;
  scheme.name = scheme.name == "tcp" ? "tls" : absl::StrCat(scheme.name, "s");
  scheme.default_port = encrypted_default_port();
  scheme.encrypted = true;
  return scheme;
}

void ProtocolTable::SetEncryption(std::unique_ptr<Encryption> encryption) {
  encryption_ = std::move(encryption);
}

void ProtocolTable::Add(std::unique_ptr<Protocol> protocol) {
  if (protocol->name() == kUdp || protocol->scheme().name == kUdp ||
      FindByName(protocol->name()) != nullptr || FindByScheme(protocol->scheme().name) != nullptr ||
      FindByScheme(protocol->encrypted_scheme().name) != nullptr) {
    std::fprintf(stderr, "the protocol %s (%s://) was added before\n", protocol->name().c_str(),
                 protocol->scheme().name.c_str());
    std::abort();
  }
  protocols_.push_back(std::move(protocol));
}

std::shared_ptr<const Protocol> ProtocolTable::FindByName(absl::string_view name) const {
  for (const auto& protocol : protocols_) {
    if (protocol->name() == name) return protocol;
  }
  return nullptr;
}

std::shared_ptr<const Protocol> ProtocolTable::FindByScheme(absl::string_view scheme) const {
  for (const auto& protocol : protocols_) {
    if (protocol->scheme().name == scheme || protocol->encrypted_scheme().name == scheme)
      return protocol;
  }
  return nullptr;
}

std::vector<UrlScheme> ProtocolTable::schemes() const {
  std::vector<UrlScheme> schemes;
  for (const auto& protocol : protocols_) schemes.push_back(protocol->scheme());
  if (encryption_ == nullptr) return schemes;
  for (const auto& protocol : protocols_) schemes.push_back(protocol->encrypted_scheme());
  return schemes;
}

std::vector<std::string> ProtocolTable::names() const {
  std::vector<std::string> names;
  for (const auto& protocol : protocols_) names.push_back(protocol->name());
  return names;
}

}  // namespace sluice::tools
