// A WebSocket server on Boost.Beast.
//
//   beast websocket [--tls=CHAIN,KEY | --deflate | --broadcast]
//
// Messages are not cut into frames, and are written from where they were read. The io_context is
// told that there is one thread, and the sockets know its executor's type. No timeouts. With
// SAVE_MEMORY in the environment OpenSSL gives back its buffers.

#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/ssl.hpp>
#include <boost/beast/websocket.hpp>
#include <boost/beast/websocket/ssl.hpp>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <string>
#include <type_traits>
#include <unordered_set>
#include <vector>

namespace net = boost::asio;
namespace beast = boost::beast;
namespace websocket = beast::websocket;
using beast::error_code;
using Executor = net::io_context::executor_type;
using Socket = net::basic_stream_socket<net::ip::tcp, Executor>;
using Acceptor = net::basic_socket_acceptor<net::ip::tcp, Executor>;
using Message = std::shared_ptr<const beast::flat_buffer>;

namespace {

bool is_deflate, is_broadcast;

template <typename Next>
class Connection : public std::enable_shared_from_this<Connection<Next>> {
 public:
  template <typename... Arguments>
  explicit Connection(Arguments&&... arguments) : stream_(std::forward<Arguments>(arguments)...) {
    error_code ignored;
    beast::get_lowest_layer(stream_).set_option(net::ip::tcp::no_delay(true), ignored);
    stream_.auto_fragment(false);
    stream_.read_message_max(16 << 20);
    websocket::permessage_deflate deflate;
    deflate.server_enable = is_deflate;
    deflate.compLevel = 1;
    stream_.set_option(deflate);
  }
  ~Connection() { all().erase(this); }

  void Start() {
    if constexpr (std::is_same_v<Next, Socket>)
      Accept();
    else
      stream_.next_layer().async_handshake(net::ssl::stream_base::server,
                                           [self = this->shared_from_this()](error_code error) {
                                             if (!error) self->Accept();
                                           });
  }

 private:
  static std::unordered_set<Connection*>& all() {
    static std::unordered_set<Connection*> connections;
    return connections;
  }

  void Accept() {
    stream_.async_accept([self = this->shared_from_this()](error_code error) {
      if (error) return;
      all().insert(self.get());
      self->Read();
    });
  }

  void Read() {
    stream_.async_read(buffer_, [self = this->shared_from_this()](error_code error, size_t) {
      if (error) return;
      if (is_broadcast)
        self->Broadcast();
      else
        self->Echo();
    });
  }

  void Echo() {
    stream_.text(stream_.got_text());
    stream_.async_write(buffer_.data(),
                        [self = this->shared_from_this()](error_code error, size_t) {
                          if (error) return;
                          self->buffer_.clear();
                          self->Read();
                        });
  }

  void Broadcast() {
    const Message message = std::make_shared<const beast::flat_buffer>(std::move(buffer_));
    buffer_ = {};
    for (Connection* connection : all()) connection->Queue(message);
    Read();
  }

  void Queue(Message message) {
    queue_.push_back(std::move(message));
    if (queue_.size() == 1) WriteFirst();
  }

  void WriteFirst() {
    stream_.binary(true);
    stream_.async_write(queue_.front()->data(),
                        [self = this->shared_from_this()](error_code error, size_t) {
                          if (error) return;
                          self->queue_.pop_front();
                          if (!self->queue_.empty()) self->WriteFirst();
                        });
  }

  websocket::stream<Next> stream_;
  beast::flat_buffer buffer_;
  std::deque<Message> queue_;
};

void AcceptAll(Acceptor& acceptor, net::ssl::context* tls) {
  acceptor.async_accept([&acceptor, tls](error_code error, Socket socket) {
    if (!error && tls)
      std::make_shared<Connection<net::ssl::stream<Socket>>>(std::move(socket), *tls)->Start();
    else if (!error)
      std::make_shared<Connection<Socket>>(std::move(socket))->Start();
    AcceptAll(acceptor, tls);
  });
}

}  // namespace

int main(int argc, char** argv) {
  const std::string option = argc > 2 ? argv[2] : "";
  is_deflate = option == "--deflate";
  is_broadcast = option == "--broadcast";
  net::ssl::context tls(net::ssl::context::tls_server);
  const bool is_tls = option.rfind("--tls=", 0) == 0;
  if (is_tls) {
    const size_t comma = option.find(',');
    tls.use_certificate_chain_file(option.substr(6, comma - 6));
    tls.use_private_key_file(option.substr(comma + 1), net::ssl::context::pem);
    if (std::getenv("SAVE_MEMORY")) SSL_CTX_set_mode(tls.native_handle(), SSL_MODE_RELEASE_BUFFERS);
  }
  net::io_context context(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);
  Acceptor acceptor(context.get_executor(),
                    net::ip::tcp::endpoint(net::ip::address_v4::loopback(), 0));
  acceptor.listen(4096);
  AcceptAll(acceptor, is_tls ? &tls : nullptr);
  std::printf("listening on 127.0.0.1:%d\n", acceptor.local_endpoint().port());
  std::fflush(stdout);
  context.run();
}
