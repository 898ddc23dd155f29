// SessionCache keeps, for a ClientContext, the sessions that servers offered to resume.
#ifndef SLUICE_TLS_SESSION_CACHE_H_
#define SLUICE_TLS_SESSION_CACHE_H_

#include <cstddef>
#include <list>
#include <mutex>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "openssl/base.h"

namespace sluice::tls {

// By server, the one that was used longest ago is dropped first. Thread-safe.
class SessionCache {
 public:
  explicit SessionCache(size_t max_servers) : max_servers_(max_servers) {}

  void Put(const std::string& server, bssl::UniquePtr<SSL_SESSION> session);

  // The newest one, or null. One of TLS 1.3 is used once only, so that nobody can tell from it that
  // two connections are of the same client.
  bssl::UniquePtr<SSL_SESSION> Take(const std::string& server);

 private:
  struct Server {
    std::string name;
    std::list<bssl::UniquePtr<SSL_SESSION>> sessions;  // the newest first
  };
  using Servers = std::list<Server>;

  static constexpr size_t kPerServer = 2;  // a server gives two at a time

  const size_t max_servers_;
  std::mutex mutex_;
  // Guarded by mutex_:
  Servers servers_;  // the last used first
  absl::flat_hash_map<std::string, Servers::iterator> by_name_;
};

}  // namespace sluice::tls

#endif  // SLUICE_TLS_SESSION_CACHE_H_
