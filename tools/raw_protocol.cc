#include "sluice/tools/raw_protocol.h"

#include <cstdint>
#include <utility>

namespace sluice::tools {
namespace {

// One handler for all connections of a loop: a connection costs no more memory than its stream.
class RawEcho final : public EchoService, private StreamHandler {
 public:
  void Serve(std::unique_ptr<Stream> stream) override {
    ++totals_.connections;
    Stream::Run(std::move(stream), *this);
  }

 private:
  void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override {
    ++totals_.messages;
    totals_.bytes += bytes.size();
    if (stream.SendLent(bytes) == SendResult::kBlocked) stream.PauseReceiving();
  }
  void OnSendReady(Stream& stream) override { stream.ResumeReceiving(); }
  void OnClose(Stream& /*stream*/, const absl::Status& status) override {
    if (!status.ok()) ++totals_.errors;
  }
};

class RawClient final : public Client, private StreamHandler {
 public:
  RawClient(std::unique_ptr<Stream> stream, Handler& handler)
      : stream_(std::move(stream)), handler_(handler) {
    stream_->SetHandler(*this);
  }

  SendResult Send(Kind /*kind*/, absl::Span<const uint8_t> message) override {
    return stream_->Send(message);
  }
  void End() override {
    stream_->ShutdownSend();
    has_ended_ = true;
    if (peer_has_ended_) stream_->Close();
  }
  void Close() override { stream_->Close(); }
  void PauseReceiving() override { stream_->PauseReceiving(); }
  void ResumeReceiving() override { stream_->ResumeReceiving(); }
  void Abort(absl::Status status) override { stream_->Abort(std::move(status)); }

 private:
  void OnReceive(Stream& /*stream*/, absl::Span<uint8_t> bytes) override {
    handler_.OnMessage(*this, bytes);
  }
  void OnReceiveEnd(Stream& stream) override {
    peer_has_ended_ = true;
    if (has_ended_) {
      stream.Close();
    } else {
      handler_.OnReceiveEnd(*this);
    }
  }
  void OnSendReady(Stream& /*stream*/) override { handler_.OnSendReady(*this); }
  void OnClose(Stream& /*stream*/, const absl::Status& status) override {
    handler_.OnClose(*this, status);
  }

  const std::unique_ptr<Stream> stream_;
  Handler& handler_;
  bool has_ended_ = false;
  bool peer_has_ended_ = false;
};

class RawClientFactory final : public ClientFactory {
 public:
  std::unique_ptr<Client> NewClient(std::unique_ptr<Stream> stream,
                                    Client::Handler& handler) override {
    return std::make_unique<RawClient>(std::move(stream), handler);
  }
};

class Raw final : public Protocol {
 public:
  Raw()
      : Protocol({.name = "raw",
                  .scheme = {.name = "tcp"},
                  .summary = "plain bytes, passed on as they come",
                  .has_messages = false}) {}

  absl::StatusOr<std::unique_ptr<EchoService>> NewEchoService(
      const ServerOptions& /*options*/) const override {
    return std::make_unique<RawEcho>();
  }
  absl::StatusOr<std::unique_ptr<ClientFactory>> NewClientFactory(
      const ClientOptions& /*options*/) const override {
    return std::make_unique<RawClientFactory>();
  }
};

}  // namespace

std::unique_ptr<Protocol> RawProtocol() { return std::make_unique<Raw>(); }

}  // namespace sluice::tools
