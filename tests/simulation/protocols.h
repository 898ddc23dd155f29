// The same conversation over different protocols: a client that sends messages, a server that sends
// them back, and for each end a Witness that notes what must not happen.
#ifndef SLUICE_TESTS_SIMULATION_PROTOCOLS_H_
#define SLUICE_TESTS_SIMULATION_PROTOCOLS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/slice.h"
#include "sluice/core/stream.h"

namespace sluice::exploration {

// Mistakes of a server, to show that they are found.
enum class Bug : uint8_t {
  kNone,
  kLostWakeUp,          // it pauses, and forgets to resume
  kDoubleClose,         // it takes the peer's end for the close, and then the close, too
  kCallbackAfterClose,  // a timer of its own calls when the connection is over
  kLeakedSlice,         // it keeps a message of a connection that broke
  kForgottenTimer,      // it leaves a timer armed when the connection is over
};

// What goes wrong in a run.
using Failures = std::vector<std::string>;

// Watches the callbacks of one end of one connection.
class Witness {
 public:
  Witness(Failures& failures, std::string name) : failures_(failures), name_(std::move(name)) {}
  void Called(absl::string_view callback);
  void Closed();
  bool closed() const { return closes_ != 0; }
  int calls() const { return calls_; }
  void Fail(absl::string_view what) const;

 private:
  Failures& failures_;
  const std::string name_;
  int calls_ = 0;
  int closes_ = 0;
};

// What a client does with its connection; the connection's end is told to Talker::OnClosed.
class Talk {
 public:
  virtual ~Talk() = default;
  virtual SendResult Send(absl::string_view message) = 0;
  // Nothing more will be sent; what comes back is still wanted. Does nothing where there is no such
  // thing (WebSocket).
  virtual void EndSending() = 0;
  virtual void Close() = 0;
  virtual Stream& stream() = 0;  // until the end
};

// What a client is told.
class Talker {
 public:
  virtual ~Talker() = default;
  virtual void OnOpen() = 0;  // not inside Protocol::Open
  virtual void OnMessage(absl::Span<const uint8_t> message) = 0;
  virtual void OnReady() = 0;
  virtual void OnEnd() = 0;  // the server has sent all it will
  virtual void OnClosed() = 0;
};

// The server's end of a connection. Lives until the run ends, so that late calls are noticed.
class Service {
 public:
  virtual ~Service() = default;
  virtual const Witness& witness() const = 0;
  virtual Stream& stream() = 0;  // until the end
};

// For the connections of one loop.
class Protocol {
 public:
  virtual ~Protocol() = default;
  // Else the bytes arrive as they come.
  virtual bool keeps_messages() const = 0;
  // Talk and Service outlive the stream.
  virtual std::unique_ptr<Talk> Open(std::unique_ptr<Stream> stream, Talker& talker,
                                     Witness& witness) = 0;
  virtual std::unique_ptr<Service> Serve(std::unique_ptr<Stream> stream, Witness witness) = 0;
};

enum class ProtocolKind : uint8_t { kRaw, kFraming, kWebSocket };
absl::string_view ProtocolName(ProtocolKind kind);

// Bugs are in the raw one's server. `leaked` is where that keeps what it should not.
std::unique_ptr<Protocol> MakeProtocol(ProtocolKind kind, Bug bug, std::vector<Slice>& leaked);

}  // namespace sluice::exploration

#endif  // SLUICE_TESTS_SIMULATION_PROTOCOLS_H_
