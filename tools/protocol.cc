#include "sluice/tools/protocol.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace sluice::tools {

EchoTotals& EchoTotals::operator+=(const EchoTotals& other) {
  connections += other.connections;
  messages += other.messages;
  bytes += other.bytes;
  errors += other.errors;
  return *this;
}

void ProtocolTable::Add(std::unique_ptr<Protocol> protocol) {
  if (FindByName(protocol->name()) != nullptr || FindByScheme(protocol->scheme().name) != nullptr) {
    std::fprintf(stderr, "the protocol %s (%s://) was added before\n", protocol->name().c_str(),
                 protocol->scheme().name.c_str());
    std::abort();
  }
  protocols_.push_back(std::move(protocol));
}

const Protocol* ProtocolTable::FindByName(absl::string_view name) const {
  for (const auto& protocol : protocols_) {
    if (protocol->name() == name) return protocol.get();
  }
  return nullptr;
}

const Protocol* ProtocolTable::FindByScheme(absl::string_view scheme) const {
  for (const auto& protocol : protocols_) {
    if (protocol->scheme().name == scheme) return protocol.get();
  }
  return nullptr;
}

std::vector<UrlScheme> ProtocolTable::schemes() const {
  std::vector<UrlScheme> schemes;
  for (const auto& protocol : protocols_) schemes.push_back(protocol->scheme());
  return schemes;
}

std::vector<std::string> ProtocolTable::names() const {
  std::vector<std::string> names;
  for (const auto& protocol : protocols_) names.push_back(protocol->name());
  return names;
}

}  // namespace sluice::tools
