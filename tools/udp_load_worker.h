// UdpLoadWorker is the part of a UdpLoad that lives on one loop: its sockets, each with its
// exchange.
//
// Loop-bound.
#ifndef SLUICE_TOOLS_UDP_LOAD_WORKER_H_
#define SLUICE_TOOLS_UDP_LOAD_WORKER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "sluice/core/datagram.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/timer.h"
#include "sluice/tools/histogram.h"
#include "sluice/tools/message_pattern.h"
#include "sluice/tools/message_schedule.h"
#include "sluice/tools/udp_load_options.h"

namespace sluice::tools {

class UdpLoadWorker {
 public:
  struct Progress {
    uint64_t answers = 0;
    uint64_t lost = 0;
  };

  // Its sockets are number `first` to `first + count - 1` of the load. `on_done` is called once, on
  // the loop's thread, and never from inside a call of the worker. Options and pattern must outlive
  // it.
  UdpLoadWorker(EventLoop& loop, const UdpLoadOptions& options, const MessagePattern& pattern,
                int first, int count, absl::AnyInvocable<void()> on_done);
  ~UdpLoadWorker();
  UdpLoadWorker(const UdpLoadWorker&) = delete;
  UdpLoadWorker& operator=(const UdpLoadWorker&) = delete;

  // Opens the sockets. Error: that of the first that does not open.
  absl::Status Open();
  // Keeps `pipeline` datagrams in flight on each, or sends as many as are due by the rate while
  // there is room for them, for `warm_up`, which is not counted, and `duration`, or until Finish.
  void Run();
  // Sends no more; done when what is in flight was answered or is lost.
  void Finish();

  Progress progress() const;
  const Histogram& latency() const { return result_.latency; }
  UdpLoadResult TakeResult();

 private:
  class Socket;

  void BeginCounting();
  void SendWhatIsDue(MonotonicTime now);
  void Check();
  void GiveUp();

  // From sockets.
  void OnAnswer(absl::Duration latency, MonotonicTime now, size_t size);
  void OnDamaged(const ReceivedDatagram& datagram);
  void OnError(absl::string_view what);

  EventLoop& loop_;
  const UdpLoadOptions& options_;
  const MessagePattern& pattern_;
  absl::AnyInvocable<void()> on_done_;
  std::vector<std::unique_ptr<Socket>> sockets_;
  std::vector<uint8_t> datagram_;  // that is being made
  int busy_ = 0;                   // sockets with something in flight
  bool sending_ = false;
  MonotonicTime began_;
  MonotonicTime last_answer_;
  UdpLoadResult result_;
  const size_t first_;
  std::optional<MessageSchedule> schedule_;  // open loop; as that of LoadConnection::Shared
  uint64_t due_ = 0;                         // open loop: datagrams so far
  Timer check_;                              // Check, soon
  Timer tick_;                               // looks for lost datagrams
  Timer end_;                                // of sending
  Timer warm_;                               // the warm-up is over
  Timer pace_;                               // open loop: a datagram is due
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_UDP_LOAD_WORKER_H_
