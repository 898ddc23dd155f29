// UdpCatSession is one run of `sluice cat udp://...`: it sends each line that comes from one
// descriptor as a datagram, without its line feed, and writes each datagram of the peer to another,
// as one line, in which line breaks and what is no text are escaped.
//
// When the input has ended, it goes on until nothing has come for a while: kQuiet, once as many
// datagrams have come as were sent, and before that Options::lost_after. An error that the network
// reports, such as that nobody is there, ends it.
//
// Input is read when the socket takes it, and the socket is read when output takes it; what the
// system has no room for meanwhile is lost.
//
// To be used by one thread, which runs the loop.
#ifndef SLUICE_TOOLS_UDP_CAT_SESSION_H_
#define SLUICE_TOOLS_UDP_CAT_SESSION_H_

#include <cstdint>
#include <cstdio>
#include <deque>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/timer.h"
#include "sluice/core/udp.h"
#include "sluice/tools/input_thread.h"
#include "sluice/tools/line_splitter.h"
#include "sluice/tools/output_thread.h"

namespace sluice::tools {

class UdpCatSession final : private UdpHandler {
 public:
  static constexpr absl::Duration kQuiet = absl::Milliseconds(100);

  struct Options {
    SocketAddress peer = {};
    absl::Duration lost_after = absl::Seconds(1);
    int input = 0;
    int output = 1;
    std::FILE* log = nullptr;  // told where datagrams go, if there is one
  };

  UdpCatSession(EventLoop& loop, const Options& options);
  ~UdpCatSession() override;
  UdpCatSession(const UdpCatSession&) = delete;
  UdpCatSession& operator=(const UdpCatSession&) = delete;

  // From opening the socket to the end. OK when all input was sent and all output was written.
  // Once.
  absl::Status Run();

 private:
  void OnInput(absl::StatusOr<absl::string_view> piece);
  void OnOutput(absl::Status status);
  void Send(absl::string_view line);
  void OnAllSent();
  void AwaitQuiet();
  void End(absl::Status status);

  // UdpHandler:
  void OnDatagrams(UdpSocket& socket, absl::Span<const ReceivedDatagram> datagrams) override;
  void OnSendReady(UdpSocket& socket) override;
  void OnError(UdpSocket& socket, const absl::Status& status, const SocketAddress& peer) override;

  EventLoop& loop_;
  const Options options_;
  std::unique_ptr<UdpSocket> socket_;
  LineSplitter lines_;
  std::deque<std::string> unsent_;  // of one piece of input, for which the socket had no room
  uint64_t sent_ = 0;
  uint64_t received_ = 0;
  bool input_has_ended_ = false;
  bool has_ended_ = false;
  absl::Status status_;
  Timer quiet_;
  OutputThread output_;
  InputThread input_;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_UDP_CAT_SESSION_H_
