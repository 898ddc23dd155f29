#include "sluice/tools/udp_cat_session.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "sluice/tools/printable.h"

namespace sluice::tools {
namespace {

absl::string_view AsText(absl::Span<const uint8_t> bytes) {
  return absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

absl::Span<const uint8_t> AsBytes(absl::string_view text) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

}  // namespace

UdpCatSession::UdpCatSession(EventLoop& loop, const Options& options)
    : loop_(loop),
      options_(options),
      lines_(kMaxDatagramBytes),
      quiet_([this] { End(absl::OkStatus()); }),
      output_(options.output, loop, [this](absl::Status status) { OnOutput(std::move(status)); }),
      input_(options.input, loop,
             [this](absl::StatusOr<absl::string_view> piece) { OnInput(std::move(piece)); }) {}

UdpCatSession::~UdpCatSession() = default;

absl::Status UdpCatSession::Run() {
  absl::StatusOr<std::unique_ptr<UdpSocket>> socket =
      UdpSocket::Connect(loop_, options_.peer, {}, *this);
  if (!socket.ok()) return socket.status();
  socket_ = *std::move(socket);
  if (options_.log != nullptr) {
    std::fprintf(options_.log, "datagrams go from %s to %s\n",
                 socket_->local_address().ToString().c_str(), options_.peer.ToString().c_str());
  }
  input_.Continue();
  loop_.Run();
  socket_.reset();
  const absl::Status written = output_.Finish();
  return status_.ok() ? written : status_;
}

void UdpCatSession::OnInput(absl::StatusOr<absl::string_view> piece) {
  if (has_ended_) return;
  if (!piece.ok()) return End(piece.status());
  input_has_ended_ = piece->empty();
  const auto send = [this](absl::string_view line) { Send(line); };
  if (input_has_ended_) {
    lines_.End(send);
  } else if (!lines_.Add(*piece, send)) {
    return End(absl::ResourceExhaustedError(
        absl::StrCat("a line is longer than a datagram can be, ", kMaxDatagramBytes, " bytes")));
  }
  if (unsent_.empty()) OnAllSent();
}

void UdpCatSession::Send(absl::string_view line) {
  if (!unsent_.empty() || socket_->Send(AsBytes(line)) == UdpSendResult::kDropped) {
    unsent_.emplace_back(line);
  } else {
    ++sent_;
  }
}

void UdpCatSession::OnSendReady(UdpSocket& /*socket*/) {
  while (!unsent_.empty()) {
    if (socket_->Send(AsBytes(unsent_.front())) == UdpSendResult::kDropped) return;
    ++sent_;
    unsent_.pop_front();
  }
  OnAllSent();
}

void UdpCatSession::OnAllSent() {
  if (!input_has_ended_) return input_.Continue();
  if (sent_ == 0) return End(absl::OkStatus());
  AwaitQuiet();
}

void UdpCatSession::AwaitQuiet() {
  loop_.ArmTimer(quiet_, received_ < sent_ ? options_.lost_after : kQuiet);
}

void UdpCatSession::OnDatagrams(UdpSocket& socket, absl::Span<const ReceivedDatagram> datagrams) {
  bool go_on = true;
  for (const ReceivedDatagram& datagram : datagrams)
    go_on = output_.Write(absl::StrCat(PrintableLine(AsText(datagram.bytes)), "\n"));
  if (!go_on) socket.PauseReceiving();
  received_ += datagrams.size();
  if (quiet_.armed()) AwaitQuiet();
}

void UdpCatSession::OnOutput(absl::Status status) {
  if (has_ended_) return;
  if (!status.ok()) return End(std::move(status));
  socket_->ResumeReceiving();
  if (quiet_.armed()) AwaitQuiet();
}

void UdpCatSession::OnError(UdpSocket& /*socket*/, const absl::Status& status,
                            const SocketAddress& /*peer*/) {
  End(status);
}

void UdpCatSession::End(absl::Status status) {
  if (std::exchange(has_ended_, true)) return;
  status_ = std::move(status);
  loop_.Stop();
}

}  // namespace sluice::tools
