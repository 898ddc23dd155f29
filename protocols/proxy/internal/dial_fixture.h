// DialFixture is a client and a proxy that does what the test says, on a simulated network.
//
// Example:
//   Dial(*dialer, {"example.com", 443});
//   EXPECT_EQ(Asked(), "CONNECT ...");
//   Answer("HTTP/1.1 200 OK\r\n\r\n");
//   EXPECT_TRUE(opened());
#ifndef SLUICE_PROTOCOLS_PROXY_INTERNAL_DIAL_FIXTURE_H_
#define SLUICE_PROTOCOLS_PROXY_INTERNAL_DIAL_FIXTURE_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sluice/core/dialer.h"
#include "sluice/core/monotonic_time.h"
#include "sluice/core/simulation.h"
#include "sluice/core/stream.h"
#include "sluice/core/stream_testing.h"
#include "sluice/core/tcp.h"

namespace sluice::proxy::internal {

class DialFixture : public testing::Test {
 protected:
  // Where the proxy is.
  Endpoint proxy() const { return {"10.0.0.1", 3128}; }

  // Runs until there is nothing more to do for now.
  void Run() { network_.RunFor(absl::Milliseconds(5)); }

  void Dial(const Dialer& dialer, const Endpoint& endpoint, const DialOptions& options = {}) {
    calls_ = 0;
    status_ = absl::UnknownError("not called yet");
    stream_.reset();
    at_proxy_.reset();
    begin_ = network_.now();
    attempt_ = dialer.Dial(client_.loop(), endpoint, options,
                           [this](absl::StatusOr<std::unique_ptr<Stream>> stream) {
                             ++calls_;
                             took_ = network_.now() - begin_;
                             status_ = stream.status();
                             if (stream.ok()) stream_ = *std::move(stream);
                             attempt_.reset();  // which is allowed
                           });
    EXPECT_EQ(calls_, 0);
    Run();
  }

  // What the client has sent since the last time.
  std::string Asked() { return at_proxy_ == nullptr ? "" : at_proxy_->TakeReceived(); }

  void Answer(absl::string_view bytes) {
    at_proxy_->stream().Send(bytes);
    Run();
  }
  void AnswerInTwo(absl::string_view bytes, size_t first) {
    Answer(bytes.substr(0, first));
    Answer(bytes.substr(first));
  }
  void AnswerByteByByte(absl::string_view bytes) {
    for (size_t i = 0; i < bytes.size(); ++i) Answer(bytes.substr(i, 1));
  }

  bool opened() const { return calls_ == 1 && status_.ok(); }
  // "" while it has not failed (once).
  std::string Error() const {
    return calls_ == 1 && !status_.ok() ? std::string(status_.message()) : "";
  }

  // What the stream's user gets who comes late.
  std::string Received() {
    StreamRecorder recorder(std::move(stream_));
    Run();
    return recorder.received();
  }

  SimulatedNetwork network_{1};
  SimulatedHost& proxy_host_ = network_.AddHost("10.0.0.1");
  SimulatedHost& client_ = network_.AddHost("10.0.0.2");
  std::unique_ptr<StreamRecorder> at_proxy_;
  std::unique_ptr<Listener> listener_ = *Listener::Listen(
      proxy_host_.loop(), proxy_host_.Address(3128), {}, [this](std::unique_ptr<Stream> stream) {
        at_proxy_ = std::make_unique<StreamRecorder>(std::move(stream));
      });
  std::unique_ptr<Dialer::Attempt> attempt_;
  std::unique_ptr<Stream> stream_;
  MonotonicTime begin_;
  absl::Duration took_;
  absl::Status status_;
  int calls_ = 0;
};

}  // namespace sluice::proxy::internal

#endif  // SLUICE_PROTOCOLS_PROXY_INTERNAL_DIAL_FIXTURE_H_
