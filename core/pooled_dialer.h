// PooledDialer makes connections through a ConnectionPool: it hands out those that the pool holds
// in reserve, or dials, within the pool's limits, and waits where they are reached. Each is used
// once. It is for protocols that open a connection, keep it and close it, and so cannot return it;
// other dialers stand on it as on any. One that does is best no dialer of that same pool's targets:
// each of its connections then needs two places within the limits, and may wait for itself.
//
// Example: TLS over TCP connections of which two are always ready.
//
//   auto direct = std::make_shared<DirectDialer>();
//   auto pool = *ConnectionPool::Create(loop, {});
//   auto reserve = *pool->GetTarget({.host = "127.0.0.1", .port = 443}, direct, {.min_idle = 2});
//   auto pooled = std::make_shared<PooledDialer>(*pool, direct);
//   auto dialer = std::make_shared<tls::Dialer>(pooled, context);
//   auto attempt = dialer->Dial(loop, {.host = "127.0.0.1", .port = 443}, {}, done);
//
// What comes out is the lower dialer's Stream itself, so that nothing stands between its user and
// the bytes. Its place within the limits (max_open) is held by the attempt: it counts until that is
// destroyed, which should be when the stream is no more. Who destroys it earlier makes room for a
// connection more.
//
// Of DialOptions, the timeout is for all of it, waiting included, and the stream's options are set
// on what the pool has; the socket's are the pool's (ConnectionPool::Options::dial). Errors are
// those of ConnectionPool::Borrow.
//
// Loop-bound, unlike other dialers, as the pool is: to be dialed on its loop only, which is
// checked. The pool must outlive calls of Dial; attempts may outlive both.
#ifndef SLUICE_CORE_POOLED_DIALER_H_
#define SLUICE_CORE_POOLED_DIALER_H_

#include <memory>
#include <utility>

#include "sluice/core/connection_pool.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"

namespace sluice {

class PooledDialer final : public Dialer {
 public:
  PooledDialer(ConnectionPool& pool, std::shared_ptr<const Dialer> lower)
      : pool_(pool), lower_(std::move(lower)) {}

  std::unique_ptr<Attempt> Dial(EventLoop& loop, const Endpoint& endpoint,
                                const DialOptions& options, DialFunction done) const override;

 private:
  ConnectionPool& pool_;
  const std::shared_ptr<const Dialer> lower_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_POOLED_DIALER_H_
