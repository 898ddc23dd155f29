#include "sluice/tests/simulation/protocols.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/timer.h"
#include "sluice/protocols/framing/frame_codec.h"
#include "sluice/protocols/framing/frame_stream.h"
#include "sluice/protocols/websocket/client.h"
#include "sluice/protocols/websocket/connection.h"
#include "sluice/protocols/websocket/server.h"

namespace sluice::exploration {

using framing::FrameCodec;
using framing::FrameHandler;
using framing::FrameStream;

void Witness::Called(absl::string_view callback) {
  ++calls_;
  if (closed()) Fail(absl::StrCat(callback, " after the close"));
}

void Witness::Closed() {
  ++calls_;
  if (++closes_ > 1) Fail("closed twice");
}

void Witness::Fail(absl::string_view what) const {
  failures_.push_back(absl::StrCat(name_, ": ", what));
}

namespace {

absl::Span<const uint8_t> AsBytes(absl::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// Opens tell of themselves by a timer, since no call of a client's runs its callback.
class Opening {
 public:
  Opening(EventLoop& loop, Talker& talker) : timer_([&talker] { talker.OnOpen(); }) {
    loop.ArmTimer(timer_, absl::ZeroDuration());
  }
  void Cancel() { timer_.Cancel(); }

 private:
  Timer timer_;
};

// Raw bytes.

class RawTalk final : public Talk, private StreamHandler {
 public:
  RawTalk(std::unique_ptr<Stream> stream, Talker& talker, Witness& witness)
      : talker_(talker), witness_(witness), opening_(stream->loop(), talker) {
    stream_ = std::move(stream);
    stream_->SetHandler(*this);
  }
  SendResult Send(absl::string_view message) override { return stream_->Send(message); }
  void EndSending() override { stream_->ShutdownSend(); }
  void Close() override { stream_->Close(); }
  Stream& stream() override { return *stream_; }

 private:
  void OnReceive(Stream&, absl::Span<uint8_t> bytes) override {
    witness_.Called("OnReceive");
    talker_.OnMessage(bytes);
  }
  void OnReceiveEnd(Stream& stream) override {
    witness_.Called("OnReceiveEnd");
    talker_.OnEnd();
    stream.Close();
  }
  void OnSendReady(Stream&) override {
    witness_.Called("OnSendReady");
    talker_.OnReady();
  }
  void OnClose(Stream&, const absl::Status&) override {
    witness_.Closed();
    opening_.Cancel();
    talker_.OnClosed();
  }

  Talker& talker_;
  Witness& witness_;
  Opening opening_;
  std::unique_ptr<Stream> stream_;
};

class RawService final : public Service, private StreamHandler {
 public:
  RawService(std::unique_ptr<Stream> stream, Witness witness, Bug bug, std::vector<Slice>& leaked)
      : witness_(std::move(witness)),
        bug_(bug),
        leaked_(leaked),
        timer_([this] { witness_.Called("a timer"); }),
        stream_(std::move(stream)) {
    stream_->SetHandler(*this);
  }
  const Witness& witness() const override { return witness_; }
  Stream& stream() override { return *stream_; }

 private:
  void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override {
    witness_.Called("OnReceive");
    if (bug_ == Bug::kCallbackAfterClose) stream.loop().ArmTimer(timer_, absl::Seconds(3));
    if (bug_ == Bug::kLeakedSlice) last_ = Slice::Copy(bytes.first(1));
    if (stream.SendLent(bytes) == SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnReceiveEnd(Stream& stream) override {
    witness_.Called("OnReceiveEnd");
    if (bug_ == Bug::kDoubleClose) witness_.Closed();
    stream.Close();
  }
  void OnSendReady(Stream& stream) override {
    witness_.Called("OnSendReady");
    if (bug_ != Bug::kLostWakeUp) stream.ResumeReceiving();
  }
  void OnClose(Stream& stream, const absl::Status& status) override {
    witness_.Closed();
    if (bug_ == Bug::kLeakedSlice && !status.ok()) leaked_.push_back(std::move(last_));
    if (bug_ == Bug::kForgottenTimer) stream.loop().ArmTimer(timer_, absl::Hours(10));
  }

  Witness witness_;
  const Bug bug_;
  std::vector<Slice>& leaked_;
  Slice last_;
  Timer timer_;
  std::unique_ptr<Stream> stream_;
};

class RawProtocol final : public Protocol {
 public:
  RawProtocol(Bug bug, std::vector<Slice>& leaked) : bug_(bug), leaked_(leaked) {}
  bool keeps_messages() const override { return false; }
  std::unique_ptr<Talk> Open(std::unique_ptr<Stream> stream, Talker& talker,
                             Witness& witness) override {
    return std::make_unique<RawTalk>(std::move(stream), talker, witness);
  }
  std::unique_ptr<Service> Serve(std::unique_ptr<Stream> stream, Witness witness) override {
    return std::make_unique<RawService>(std::move(stream), std::move(witness), bug_, leaked_);
  }

 private:
  const Bug bug_;
  std::vector<Slice>& leaked_;
};

// Frames.

class FrameTalk final : public Talk, private FrameHandler {
 public:
  FrameTalk(std::unique_ptr<Stream> stream, Talker& talker, Witness& witness)
      : talker_(talker),
        witness_(witness),
        opening_(stream->loop(), talker),
        stream_(std::move(stream), FrameCodec(), *this) {}
  SendResult Send(absl::string_view message) override { return stream_.Send(AsBytes(message)); }
  void EndSending() override { stream_.ShutdownSend(); }
  void Close() override { stream_.Close(); }
  Stream& stream() override { return stream_.transport(); }

 private:
  void OnMessage(FrameStream&, absl::Span<uint8_t> message) override {
    witness_.Called("OnMessage");
    talker_.OnMessage(message);
  }
  void OnReceiveEnd(FrameStream& stream) override {
    witness_.Called("OnReceiveEnd");
    talker_.OnEnd();
    stream.Close();
  }
  void OnSendReady(FrameStream&) override {
    witness_.Called("OnSendReady");
    talker_.OnReady();
  }
  void OnClose(FrameStream&, const absl::Status&) override {
    witness_.Closed();
    opening_.Cancel();
    talker_.OnClosed();
  }

  Talker& talker_;
  Witness& witness_;
  Opening opening_;
  FrameStream stream_;
};

class FrameService final : public Service, private FrameHandler {
 public:
  FrameService(std::unique_ptr<Stream> stream, Witness witness)
      : witness_(std::move(witness)), stream_(std::move(stream), FrameCodec(), *this) {}
  const Witness& witness() const override { return witness_; }
  Stream& stream() override { return stream_.transport(); }

 private:
  void OnMessage(FrameStream& stream, absl::Span<uint8_t> message) override {
    witness_.Called("OnMessage");
    if (stream.SendInPlace(message) == SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnSendReady(FrameStream& stream) override {
    witness_.Called("OnSendReady");
    stream.ResumeReceiving();
  }
  void OnError(FrameStream& stream, const absl::Status& status) override {
    witness_.Fail(status.ToString());
    stream.Abort(status);
  }
  void OnClose(FrameStream&, const absl::Status&) override { witness_.Closed(); }

  Witness witness_;
  FrameStream stream_;
};

class FramingProtocol final : public Protocol {
 public:
  bool keeps_messages() const override { return true; }
  std::unique_ptr<Talk> Open(std::unique_ptr<Stream> stream, Talker& talker,
                             Witness& witness) override {
    return std::make_unique<FrameTalk>(std::move(stream), talker, witness);
  }
  std::unique_ptr<Service> Serve(std::unique_ptr<Stream> stream, Witness witness) override {
    return std::make_unique<FrameService>(std::move(stream), std::move(witness));
  }
};

// WebSocket.

class WebSocketTalk final : public Talk, private websocket::Handler {
 public:
  WebSocketTalk(websocket::Client& client, std::unique_ptr<Stream> stream, Talker& talker,
                Witness& witness)
      : talker_(talker), witness_(witness), connection_(client.Open(std::move(stream), *this)) {}
  SendResult Send(absl::string_view message) override {
    return connection_.SendBinary(AsBytes(message));
  }
  void EndSending() override {}
  void Close() override { connection_.Close(); }
  Stream& stream() override { return connection_.stream(); }

 private:
  void OnOpen(websocket::Connection&) override {
    witness_.Called("OnOpen");
    talker_.OnOpen();
  }
  void OnMessage(websocket::Connection&, const websocket::Message& message) override {
    witness_.Called("OnMessage");
    talker_.OnMessage(message.payload);
  }
  void OnSendReady(websocket::Connection&) override {
    witness_.Called("OnSendReady");
    talker_.OnReady();
  }
  void OnClose(websocket::Connection&, const websocket::CloseInfo& info) override {
    witness_.Closed();
    if (info.status.code() == absl::StatusCode::kInvalidArgument)
      witness_.Fail(info.status.ToString());
    talker_.OnClosed();
  }

  Talker& talker_;
  Witness& witness_;
  websocket::Connection& connection_;  // until OnClose
};

class WebSocketService final : public Service, private websocket::Handler {
 public:
  WebSocketService(websocket::Server& server, std::unique_ptr<Stream> stream, Witness witness)
      : witness_(std::move(witness)), connection_(server.Serve(std::move(stream), *this)) {}
  const Witness& witness() const override { return witness_; }
  Stream& stream() override { return connection_.stream(); }

 private:
  void OnMessage(websocket::Connection& connection, const websocket::Message& message) override {
    witness_.Called("OnMessage");
    if (connection.SendInPlace(message) == SendResult::kBlocked) connection.PauseReceiving();
  }
  void OnSendReady(websocket::Connection& connection) override {
    witness_.Called("OnSendReady");
    connection.ResumeReceiving();
  }
  void OnClose(websocket::Connection&, const websocket::CloseInfo& info) override {
    witness_.Closed();
    if (info.status.code() == absl::StatusCode::kInvalidArgument)
      witness_.Fail(info.status.ToString());
  }

  Witness witness_;
  websocket::Connection& connection_;  // until OnClose
};

class WebSocketProtocol final : public Protocol {
 public:
  WebSocketProtocol() : server_({}), client_(*websocket::Client::Create(ClientOptions())) {}
  bool keeps_messages() const override { return true; }
  std::unique_ptr<Talk> Open(std::unique_ptr<Stream> stream, Talker& talker,
                             Witness& witness) override {
    return std::make_unique<WebSocketTalk>(*client_, std::move(stream), talker, witness);
  }
  std::unique_ptr<Service> Serve(std::unique_ptr<Stream> stream, Witness witness) override {
    return std::make_unique<WebSocketService>(server_, std::move(stream), std::move(witness));
  }

 private:
  static websocket::Client::Options ClientOptions() {
    websocket::Client::Options options;
    options.handshake.host = "server";
    return options;
  }

  websocket::Server server_;
  std::unique_ptr<websocket::Client> client_;
};

}  // namespace

absl::string_view ProtocolName(ProtocolKind kind) {
  switch (kind) {
    case ProtocolKind::kRaw:
      return "raw";
    case ProtocolKind::kFraming:
      return "framing";
    case ProtocolKind::kWebSocket:
      return "websocket";
  }
  return "";
}

std::unique_ptr<Protocol> MakeProtocol(ProtocolKind kind, Bug bug, std::vector<Slice>& leaked) {
  switch (kind) {
    case ProtocolKind::kRaw:
      return std::make_unique<RawProtocol>(bug, leaked);
    case ProtocolKind::kFraming:
      return std::make_unique<FramingProtocol>();
    case ProtocolKind::kWebSocket:
      return std::make_unique<WebSocketProtocol>();
  }
  return nullptr;
}

}  // namespace sluice::exploration
