#include "sluice/tls/session_cache.h"

#include "openssl/ssl.h"

namespace sluice::tls {

void SessionCache::Put(const std::string& server, bssl::UniquePtr<SSL_SESSION> session) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto [found, is_new] = by_name_.try_emplace(server);
  if (is_new) {
    servers_.push_front({server, {}});
    found->second = servers_.begin();
  }
  Server& entry = *found->second;
  servers_.splice(servers_.begin(), servers_, found->second);
  entry.sessions.push_front(std::move(session));
  if (entry.sessions.size() > kPerServer) entry.sessions.pop_back();
  if (servers_.size() <= max_servers_) return;
  by_name_.erase(servers_.back().name);
  servers_.pop_back();
}

bssl::UniquePtr<SSL_SESSION> SessionCache::Take(const std::string& server) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = by_name_.find(server);
  if (found == by_name_.end()) return nullptr;
  Server& entry = *found->second;
  servers_.splice(servers_.begin(), servers_, found->second);
  if (SSL_SESSION_should_be_single_use(entry.sessions.front().get()) != 1)
    return bssl::UpRef(entry.sessions.front());
  bssl::UniquePtr<SSL_SESSION> session = std::move(entry.sessions.front());
  entry.sessions.pop_front();
  if (entry.sessions.empty()) {
    servers_.erase(found->second);
    by_name_.erase(found);
  }
  return session;
}

}  // namespace sluice::tls
