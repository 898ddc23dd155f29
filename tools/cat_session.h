// CatSession is one run of `sluice cat`: it connects, sends what comes from one descriptor and
// writes what the peer sends to another, until the connection has ended.
//
// Where the protocol has messages, a line is one, without its line feed: text if it is UTF-8, else
// binary. A message that is received is written as one line, in which line breaks and what is no
// text are escaped. Plain bytes are passed on as they are, unless they are shown on a terminal.
//
// Both ways hold each other back: input is read when the connection takes it, the connection is
// read when output takes it.
//
// To be used by one thread, which runs the loop.
#ifndef SLUICE_TOOLS_CAT_SESSION_H_
#define SLUICE_TOOLS_CAT_SESSION_H_

#include <cstddef>
#include <cstdio>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "sluice/core/dialer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/stream.h"
#include "sluice/tools/encryption.h"
#include "sluice/tools/input_thread.h"
#include "sluice/tools/line_splitter.h"
#include "sluice/tools/output_thread.h"
#include "sluice/tools/printable.h"
#include "sluice/tools/protocol.h"
#include "sluice/tools/url.h"

namespace sluice::tools {

class CatSession final : private Client::Handler {
 public:
  struct Options {
    const Protocol* protocol = nullptr;
    Url url = {};
    std::shared_ptr<const Dialer> dialer = nullptr;                // to the URL's endpoint
    std::shared_ptr<const ClientEncryption> encryption = nullptr;  // the dialer's; null for none
    std::string proxy = {};  // what the log calls the one that the dialer goes through, if any
    bool compress = false;   // needs a protocol that can
    absl::Duration connect_timeout = absl::Seconds(10);
    size_t max_message_bytes = 1024 * 1024;  // also of a line
    int input = 0;
    int output = 1;
    bool output_is_terminal = false;
    std::FILE* log = nullptr;  // told what the connection is, if there is one
  };

  CatSession(EventLoop& loop, const Options& options);
  ~CatSession();
  CatSession(const CatSession&) = delete;
  CatSession& operator=(const CatSession&) = delete;

  // From connecting to the end. OK when both sides have ended gracefully and all output was
  // written. Once.
  absl::Status Run();

 private:
  void OnConnect(absl::StatusOr<std::unique_ptr<Stream>> stream);
  void Log(const Stream& stream);
  void OnInput(absl::StatusOr<absl::string_view> piece);
  void OnInputEnd();
  void OnOutput(absl::Status status);
  void Send(absl::string_view message);
  void End(absl::Status status);

  // Client::Handler:
  void OnOpen(Client& client) override;
  void OnMessage(Client& client, absl::Span<const uint8_t> message) override;
  void OnSendReady(Client& client) override;
  void OnClose(Client& client, const absl::Status& status) override;

  EventLoop& loop_;
  const Options options_;
  const bool has_messages_;
  std::unique_ptr<Dialer::Attempt> attempt_;
  std::unique_ptr<ClientFactory> factory_;
  std::unique_ptr<Client> client_;
  LineSplitter lines_;
  PrintableFlow flow_;  // of plain bytes to a terminal
  bool send_blocked_ = false;
  bool has_ended_ = false;
  absl::Status status_;
  OutputThread output_;
  InputThread input_;
};

}  // namespace sluice::tools

#endif  // SLUICE_TOOLS_CAT_SESSION_H_
