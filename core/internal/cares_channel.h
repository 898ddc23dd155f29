// CaresChannel is c-ares' channel with the sockets that it has open: what can be asked, waited for
// and processed on one thread.
#ifndef SLUICE_CORE_INTERNAL_CARES_CHANNEL_H_
#define SLUICE_CORE_INTERNAL_CARES_CHANNEL_H_

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "sluice/core/internal/socket_ops.h"
#include "sluice/core/socket_address.h"

struct ares_channeldata;

namespace sluice::internal {

class CaresChannel {
 public:
  struct Options {
    std::vector<SocketAddress> servers;  // none: the system's
    absl::Duration timeout;
    int tries;
    bool hosts_file;
  };
  // The time to live is the shortest of the records that led to the addresses. Infinite: there are
  // no addresses, or they are of /etc/hosts.
  using AnswerFunction = absl::AnyInvocable<void(
      absl::StatusOr<std::vector<SocketAddress>> addresses, absl::Duration time_to_live)>;

  static absl::StatusOr<std::unique_ptr<CaresChannel>> Create(const Options& options);
  CaresChannel(const CaresChannel&) = delete;
  CaresChannel& operator=(const CaresChannel&) = delete;
  // What is under way is answered with kUnavailable.
  ~CaresChannel();

  // Calls `done` once: in this call, or in one of Wait.
  void Ask(const std::string& name, SocketAddress::Family family, AnswerFunction done);

  // Waits for something to happen, Wake, or a time-out, and does what is to be done then.
  void Wait();

  // Ends the present Wait, or the next. Thread-safe, and the only call that is.
  void Wake();

 private:
  CaresChannel() = default;
  absl::Status Open(const Options& options);
  absl::Status SetServers(const std::vector<SocketAddress>& servers);
  int MillisecondsToWait() const;
  static void OnSocketState(void* self, int fd, int readable, int writable);

  ares_channeldata* channel_ = nullptr;
  bool is_asking_ = false;
  std::unordered_map<int, short> sockets_;  // what c-ares waits for, for poll(2)
  UniqueFd wake_reader_;
  UniqueFd wake_writer_;
};

}  // namespace sluice::internal

#endif  // SLUICE_CORE_INTERNAL_CARES_CHANNEL_H_
