// What a command does while its server serves: it says where, reads certificates again on SIGHUP,
// says what goes wrong, and ends on SIGTERM or SIGINT.
//
// Example:
//   TroubleLog log(invocation);
//   options.on_refused = [&](const absl::Status& status) { log.Add(status); };
//   ...
//   Serve(server->loop(), server->address(),
//         {.reload = [&] { ReplaceEncryption(*server, ReadAgain(), invocation); },
//          .stop = [&] { server->Stop(DrainTimeout()); }});
#ifndef SLUICE_TOOLS_SERVING_H_
#define SLUICE_TOOLS_SERVING_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/tools/command.h"
#include "sluice/tools/encryption.h"
#include "sluice/tools/stream_server.h"

namespace sluice::tools {

// Says what has failed, once a second at most: who knocks at an open port could fill a disk
// otherwise. Thread-safe.
class TroubleLog {
 public:
  explicit TroubleLog(const Invocation& invocation) : invocation_(invocation) {}

  void Add(const absl::Status& status);

 private:
  using Clock = std::chrono::steady_clock;

  const Invocation& invocation_;
  std::mutex mutex_;
  std::optional<Clock::time_point> shown_at_;
  uint64_t skipped_ = 0;
};

struct ServingOptions {
  // Reads the files again, on SIGHUP. Null where there is nothing to read: SIGHUP then keeps its
  // meaning. This and all others are called on the thread of Serve.
  std::function<void()> reload = nullptr;
  // Called so often.
  absl::Duration report_every = absl::InfiniteDuration();
  std::function<void()> report = nullptr;
  // Stops the server, once a signal has asked for that.
  std::function<void()> stop;
};

// Prints `listening on ADDRESS`, and returns when the server, of which `loop` is one, has been
// stopped.
void Serve(EventLoop& loop, const SocketAddress& address, const ServingOptions& options);

// Connections that come from now on use `encryption`, or, where that is an error, what was there.
// Says which.
void ReplaceEncryption(StreamServer& server,
                       const absl::StatusOr<std::shared_ptr<const ServerEncryption>>& encryption,
                       const Invocation& invocation);

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_SERVING_H_
