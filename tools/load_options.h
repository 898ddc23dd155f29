// What a load is, and what came of it: the words that Load, its workers and the commands share.
#ifndef SLUICE_TOOLS_LOAD_OPTIONS_H_
#define SLUICE_TOOLS_LOAD_OPTIONS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "sluice/core/dialer.h"
#include "sluice/core/poller.h"
#include "sluice/tools/encryption.h"
#include "sluice/tools/histogram.h"
#include "sluice/tools/load_series.h"
#include "sluice/tools/message_sizes.h"
#include "sluice/tools/process_meter.h"
#include "sluice/tools/protocol.h"
#include "sluice/tools/url.h"

namespace sluice::tools {

struct LoadOptions {
  const Protocol* protocol = nullptr;                            // must outlive the load
  std::shared_ptr<const Dialer> dialer = nullptr;                // to the URL's endpoint
  std::shared_ptr<const ClientEncryption> encryption = nullptr;  // the dialer's; null for none
  Url url = {};
  PollerKind poller = PollerKind::kAuto;
  std::optional<ProcessMeter> meter = std::nullopt;  // of the server
  bool over_time = false;                            // the result's series has samples for a page
  int connections = 50;
  int pipeline = 1;  // messages in flight on each: so many, or, with a rate, at most
  std::optional<double> rate = std::nullopt;  // open loop: so many a second, over all connections
  absl::Duration think_time = {};  // closed loop: from an answer to the message it makes room for
  std::optional<uint64_t> reconnect = std::nullopt;  // after so many messages of a connection
  MessageSizes size = 1024;                          // of a message
  absl::Duration warm_up = {};                       // finite; load that is not counted, before
  absl::Duration duration = absl::Seconds(5);
  absl::Duration timeout = absl::Seconds(5);  // for a connection to open, and for an answer
  int threads = 1;
  bool own_descriptor_tables = false;  // for each thread, see LoopGroup
  bool compress = false;               // needs a protocol that can
  bool text = false;                   // is sent, which compresses; else noise, which does not
  bool verify = true;                  // compares each answer with what was sent
  uint64_t seed = 1;                   // of what is sent
};

// What went wrong, by kind. One failed connection counts once.
struct LoadErrors {
  enum Kind : uint8_t {
    kConnect,   // did not open
    kTimeout,   // an answer was late
    kMismatch,  // an answer was not what was sent
    kClosed,    // the server ended the connection, or it broke
    kProtocol,  // the server sent what the protocol does not allow
    kTls,       // a handshake failed, or one side refused the other
  };
  static constexpr int kKinds = 6;
  static absl::string_view Name(int kind);

  void Add(Kind kind, absl::string_view what);
  LoadErrors& operator+=(const LoadErrors& other);
  uint64_t total() const;

  uint64_t count[kKinds] = {};
  std::string first = {};  // what was wrong the first time
};

struct LoadResult {
  int connections = 0;             // that opened, before the first message
  int compressed = 0;              // of these, with a server that agreed to compress
  uint64_t messages = 0;           // answers
  uint64_t bytes = 0;              // that they carried, which is as much as was sent for them
  uint64_t unsent = 0;             // open loop: due, and not sent before the end
  absl::Duration elapsed = {};     // that counts: to the end of sending, or to the last answer
  Histogram latency = {};          // from Send, or when it was due by the rate, to the whole answer
  Histogram time_to_connect = {};  // of connections that followed others, until they were open
  LoadErrors errors = {};
  LoadSeries series = LoadSeries();  // of the whole load: has no part in the sum

  // The result of both together, at the same time.
  LoadResult& operator+=(const LoadResult& other);
  double messages_per_second() const { return PerSecond(messages); }
  double bytes_per_second() const { return PerSecond(bytes); }
  double reconnects_per_second() const { return PerSecond(time_to_connect.count()); }
  // Open loop: whether what was due could be sent, but for 1%.
  bool ReachedRate() const { return messages > 0 && unsent <= (messages + unsent) / 100; }

 private:
  double PerSecond(uint64_t count) const;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_LOAD_OPTIONS_H_
