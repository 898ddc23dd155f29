// What a load over UDP is, and what came of it.
#ifndef SLUICE_TOOLS_UDP_LOAD_OPTIONS_H_
#define SLUICE_TOOLS_UDP_LOAD_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "sluice/core/poller.h"
#include "sluice/core/socket_address.h"
#include "sluice/tools/histogram.h"
#include "sluice/tools/load_series.h"
#include "sluice/tools/message_sizes.h"
#include "sluice/tools/process_meter.h"
#include "sluice/tools/udp_exchange.h"

namespace sluice::tools {

struct UdpLoadOptions {
  SocketAddress peer = {};
  PollerKind poller = PollerKind::kAuto;
  std::optional<ProcessMeter> meter = std::nullopt;  // of the server
  bool over_time = false;                            // the result's series has samples for a page
  int sockets = 50;
  int pipeline = 1;          // datagrams in flight on each
  MessageSizes size = 1024;  // of a datagram: UdpExchange::kHeaderBytes to kMaxDatagramBytes
  std::optional<double> rate = std::nullopt;  // open loop: so many a second, over all sockets
  absl::Duration warm_up = {};                // finite; load that is not counted, before
  absl::Duration duration = absl::Seconds(5);
  absl::Duration lost_after = absl::Seconds(1);  // finite
  int threads = 1;
  bool text = false;   // behind the header; else noise
  bool verify = true;  // compares each answer with what was sent
  uint64_t seed = 1;   // of what is sent
};

struct UdpLoadResult {
  UdpCounts counts = {};
  uint64_t bytes = 0;            // of answers
  uint64_t unread = 0;           // of the lost ones: arrived, and found no room in a receive buffer
  uint64_t errors = 0;           // that the network or the system has reported
  std::string first_error = {};  // the first of them, or what a damaged answer was
  absl::Duration elapsed = {};   // from the first datagram to the end of sending or the last answer
  uint64_t unsent = 0;           // open loop: due, and not sent before the end
  Histogram latency = {};        // of answers; from sending, or from when it was due
  LoadSeries series = LoadSeries();  // of the whole load: has no part in the sum

  // The result of both together, at the same time.
  UdpLoadResult& operator+=(const UdpLoadResult& other);
  double answers_per_second() const { return PerSecond(counts.answers); }
  double bytes_per_second() const { return PerSecond(bytes); }
  // Open loop: whether what was due could be sent, but for 1%.
  bool ReachedRate() const { return counts.sent > 0 && unsent <= (counts.sent + unsent) / 100; }

 private:
  double PerSecond(uint64_t count) const;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_UDP_LOAD_OPTIONS_H_
