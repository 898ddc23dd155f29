// What an echo costs in TLS, at both ends together and without a transport, beside the bare cost of
// the same records in the same AEAD.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "benchmark/benchmark.h"
#include "openssl/aead.h"
#include "sluice/core/buffer.h"
#include "sluice/core/event_loop.h"
#include "sluice/core/slice.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/tls/context.h"
#include "sluice/tls/testing.h"
#include "sluice/tls/tls_stream.h"

namespace sluice::tls {
namespace {

// Keeps what is sent until it is carried to the other end, as a receive buffer would lend it.
class Wire final : public Stream {
 public:
  explicit Wire(EventLoop& loop) : loop_(loop) {}

  // Delivers what `from` has sent.
  void Carry(Wire& from) {
    from.Flush();
    while (!from.queue_.empty()) {
      const size_t size = std::min(from.queue_.size(), received_.size());
      from.queue_.CopyTo(received_.data(), 0, size);
      from.queue_.Drain(size);
      handler()->OnReceive(*this, absl::MakeSpan(received_).first(size));
    }
  }
  void Flush() {
    if (std::exchange(flush_asked_, false)) handler()->OnFlush(*this);
  }

  EventLoop& loop() const override { return loop_; }
  SendResult Send(absl::Span<const uint8_t> bytes) override {
    queue_.Append(bytes);
    return SendResult::kSent;
  }
  SendResult Send(Slice slice) override {
    queue_.Append(std::move(slice));
    return SendResult::kSent;
  }
  SendResult Send(Buffer buffer) override {
    queue_.Append(std::move(buffer));
    return SendResult::kSent;
  }
  SendResult SendLent(absl::Span<const uint8_t> bytes) override { return Send(bytes); }
  SendResult SendControl(absl::Span<const uint8_t> bytes) override { return Send(bytes); }
  void RequestFlush() override { flush_asked_ = true; }
  size_t queued_bytes() const override { return 0; }
  void PauseReceiving() override {}
  void ResumeReceiving() override {}
  bool receiving_paused() const override { return false; }
  void ReceiveInto(absl::Span<uint8_t>) override {}
  void ShutdownSend() override {}
  void Close() override {}
  void Abort(absl::Status) override {}
  bool closing() const override { return false; }
  void SetIdleTimeout(absl::Duration) override {}
  void SetLingerTimeout(absl::Duration) override {}
  void SetLimits(const StreamLimits&) override {}
  SocketAddress peer_address() const override { return {}; }
  SocketAddress local_address() const override { return {}; }

 private:
  void OnHandlerSet() override {}

  EventLoop& loop_;
  Buffer queue_;
  std::vector<uint8_t> received_ = std::vector<uint8_t>(256 * 1024);
  bool flush_asked_ = false;
};

class Echo : public StreamHandler {
  void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override { stream.SendLent(bytes); }
};
class Count : public StreamHandler {
 public:
  size_t received = 0;

 private:
  void OnReceive(Stream&, absl::Span<uint8_t> bytes) override { received += bytes.size(); }
};

struct Ends {
  Ends() {
    const TestAuthority authority;
    ServerOptions server_options;
    server_options.identities = {authority.Issue()};
    ClientOptions client_options;
    client_options.roots = authority.roots();
    auto server_wire = std::make_unique<Wire>(*loop);
    auto client_wire = std::make_unique<Wire>(*loop);
    at_server = server_wire.get();
    at_client = client_wire.get();
    Accept(std::move(server_wire), *ServerContext::Create(server_options), {},
           [this](auto stream) { server = *std::move(stream); });
    Connect(std::move(client_wire), *ClientContext::Create(client_options), "localhost", {},
            [this](auto stream) { client = *std::move(stream); });
    while (server == nullptr || client == nullptr) {
      at_server->Carry(*at_client);
      at_client->Carry(*at_server);
      loop->RunOnce(absl::ZeroDuration());  // the next turn: there is a budget of handshakes
    }
    server->SetHandler(echo);
    client->SetHandler(count);
    at_server->Flush();
    at_client->Flush();
  }

  std::unique_ptr<EventLoop> loop = *EventLoop::Create();
  Echo echo;
  Count count;
  Wire* at_server = nullptr;
  Wire* at_client = nullptr;
  std::unique_ptr<TlsStream> server, client;
};

// Messages of so many bytes, so many at once.
void BM_Echo(benchmark::State& state) {
  const std::string message(static_cast<size_t>(state.range(0)), 'm');
  const int at_once = static_cast<int>(state.range(1));
  Ends ends;
  for (auto _ : state) {
    for (int i = 0; i < at_once; ++i) ends.client->Send(message);
    ends.at_server->Carry(*ends.at_client);
    ends.at_client->Carry(*ends.at_server);
  }
  if (ends.count.received != message.size() * static_cast<size_t>(state.iterations() * at_once))
    state.SkipWithError("bytes are missing");
  state.SetItemsProcessed(state.iterations() * at_once);
}

// The same bytes in records of 16 KiB, sealed and opened twice.
void BM_Aead(benchmark::State& state) {
  const size_t total = static_cast<size_t>(state.range(0) * state.range(1));
  constexpr size_t kRecord = 16 * 1024;
  const uint8_t key[16] = {}, nonce[12] = {}, header[5] = {};
  EVP_AEAD_CTX aead;
  EVP_AEAD_CTX_init(&aead, EVP_aead_aes_128_gcm(), key, sizeof(key), 16, nullptr);
  std::vector<uint8_t> plain(kRecord), sealed(kRecord + 16);
  for (auto _ : state) {
    for (size_t done = 0; done < total; done += kRecord) {
      const size_t bytes = std::min(kRecord, total - done);
      for (int twice = 0; twice < 2; ++twice) {
        size_t size = 0;
        EVP_AEAD_CTX_seal(&aead, sealed.data(), &size, sealed.size(), nonce, sizeof(nonce),
                          plain.data(), bytes, header, sizeof(header));
        EVP_AEAD_CTX_open(&aead, plain.data(), &size, plain.size(), nonce, sizeof(nonce),
                          sealed.data(), size, header, sizeof(header));
      }
    }
  }
  EVP_AEAD_CTX_cleanup(&aead);
  state.SetItemsProcessed(state.iterations() * state.range(1));
}

#define CELLS ArgsProduct({{64, 1024, 16 * 1024}, {1, 16}})
BENCHMARK(BM_Echo)->CELLS;
BENCHMARK(BM_Aead)->CELLS;

}  // namespace
}  // namespace sluice::tls
