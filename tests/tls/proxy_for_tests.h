// ProxyForTests is a proxy of both kinds, HTTP CONNECT and SOCKS5, as each client asks: on a host
// of a simulated network, with or without TLS. It knows names only from a table, and trusts its
// clients.
//
// Example:
//   ProxyForTests proxy(host, 3128);
//   proxy.names["server.example"] = server.Address(443);
//
// Loop-bound. It goes before the network.
#ifndef SLUICE_TESTS_TLS_PROXY_FOR_TESTS_H_
#define SLUICE_TESTS_TLS_PROXY_FOR_TESTS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "sluice/core/simulation.h"
#include "sluice/core/socket_address.h"
#include "sluice/core/stream.h"
#include "sluice/core/tcp.h"
#include "sluice/tls/context.h"
#include "sluice/tls/tls_stream.h"

namespace sluice {

class ProxyForTests {
 public:
  ProxyForTests(SimulatedHost& host, uint16_t port,
                std::shared_ptr<const tls::ServerContext> context = nullptr)
      : host_(host), context_(std::move(context)) {
    listener_ =
        *Listener::Listen(host.loop(), host.Address(port), {},
                          [this](std::unique_ptr<Stream> stream) { Accept(std::move(stream)); });
  }

  // By host, without port: where to connect to.
  std::map<std::string, SocketAddress> names;
  // What was asked for: "CONNECT server.example" or "SOCKS5 server.example".
  std::vector<std::string> asked;

 private:
  class Session final : public StreamHandler {
   public:
    Session(ProxyForTests& proxy, std::unique_ptr<Stream> client)
        : proxy_(proxy), client_(std::move(client)), connector_(proxy.host_.loop()) {
      client_->SetHandler(*this);
    }

   private:
    void OnReceive(Stream& stream, absl::Span<uint8_t> bytes) override {
      if (&stream == server_.get()) {
        client_->Send(bytes);
      } else if (server_ != nullptr) {
        server_->Send(bytes);
      } else {
        input_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        Advance();
      }
    }
    void OnReceiveEnd(Stream& stream) override {
      stream.Close();
      End(stream);
    }
    void OnClose(Stream& stream, const absl::Status&) override { End(stream); }
    void End(Stream& stream) {
      Stream* const other = &stream == client_.get() ? server_.get() : client_.get();
      if (other != nullptr) other->Close();
    }

    void Advance() {
      if (input_.empty() || connector_.connecting()) return;
      return input_[0] == 5 ? AdvanceSocks() : AdvanceHttp();
    }
    void AdvanceHttp() {
      if (input_.find("\r\n\r\n") == std::string::npos) return;
      const std::string host = input_.substr(8, input_.find(':') - 8);
      Connect("CONNECT", host, "HTTP/1.1 200 Connection established\r\n\r\n",
              "HTTP/1.1 502 Bad Gateway\r\n\r\n");
    }
    void AdvanceSocks() {
      if (!greeted_) {
        if (input_.size() < 3) return;
        input_.erase(0, 2 + static_cast<size_t>(input_[1]));
        greeted_ = true;
        client_->Send(absl::string_view("\x05\x00", 2));
        return;
      }
      // The tests dial names only.
      if (input_.size() < 5 || input_.size() < 7u + static_cast<uint8_t>(input_[4])) return;
      Connect("SOCKS5", input_.substr(5, static_cast<uint8_t>(input_[4])),
              std::string("\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", 10),
              std::string("\x05\x04\x00\x01", 4));
    }
    void Connect(absl::string_view kind, const std::string& host, const std::string& yes,
                 const std::string& no) {
      proxy_.asked.push_back(absl::StrCat(kind, " ", host));
      const auto found = proxy_.names.find(host);
      if (found == proxy_.names.end()) {
        client_->Send(no);
        return client_->Close();
      }
      connector_.Connect(found->second, {}, [this, yes, no](auto stream) {
        if (client_->closing()) return;
        client_->Send(stream.ok() ? yes : no);
        if (!stream.ok()) return client_->Close();
        server_ = *std::move(stream);
        server_->SetHandler(*this);
      });
    }

    ProxyForTests& proxy_;
    std::unique_ptr<Stream> client_;
    std::unique_ptr<Stream> server_;
    Connector connector_;
    std::string input_;
    bool greeted_ = false;
  };

  void Accept(std::unique_ptr<Stream> stream) {
    if (context_ == nullptr) return Start(std::move(stream));
    tls::Accept(std::move(stream), context_, {.group = &handshakes_},
                [this](absl::StatusOr<std::unique_ptr<tls::TlsStream>> encrypted) {
                  if (encrypted.ok()) Start(*std::move(encrypted));
                });
  }
  void Start(std::unique_ptr<Stream> stream) {
    sessions_.push_back(std::make_unique<Session>(*this, std::move(stream)));
  }

  SimulatedHost& host_;
  const std::shared_ptr<const tls::ServerContext> context_;
  std::vector<std::unique_ptr<Session>> sessions_;
  tls::HandshakeGroup handshakes_;
  std::unique_ptr<Listener> listener_;
};

}  // namespace sluice

#endif  // SLUICE_TESTS_TLS_PROXY_FOR_TESTS_H_
