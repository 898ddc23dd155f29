// An echo server on Boost.Asio, of bytes or of frames.
//
//   asio raw|frame
//
// It waits for a socket to be readable and then receives into one shared buffer: async_read_some
// would try a receive first that finds nothing, and needs a buffer for each connection. What a send
// does not take is written by async_write. The io_context is told that there is one thread, and the
// sockets know its executor's type.

#include <boost/asio.hpp>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "frames.h"

namespace net = boost::asio;
using boost::system::error_code;
using Executor = net::io_context::executor_type;
using Socket = net::basic_stream_socket<net::ip::tcp, Executor>;
using Acceptor = net::basic_socket_acceptor<net::ip::tcp, Executor>;

namespace {

bool is_frame;
uint8_t shared[1 << 18];

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  explicit Connection(Socket socket) : socket_(std::move(socket)) {
    error_code ignored;
    socket_.set_option(net::ip::tcp::no_delay(true), ignored);
    socket_.non_blocking(true, ignored);
  }
  ~Connection() { frames_free(&frames_); }

  void Wait() {
    socket_.async_wait(Socket::wait_read, [self = shared_from_this()](error_code error) {
      if (!error) self->Receive();
    });
  }

 private:
  void Receive() {
    error_code error;
    const size_t count = socket_.read_some(net::buffer(shared), error);
    if (error && error != net::error::would_block) return;
    if (is_frame)
      frames_take(&frames_, shared, count, Put, this);
    else if (count > 0)
      Put(this, shared, count);
    if (unsent_.empty()) return Wait();
    net::async_write(socket_, net::buffer(unsent_),
                     [self = shared_from_this()](error_code failed, size_t) {
                       self->unsent_.clear();
                       self->unsent_.shrink_to_fit();
                       if (!failed) self->Wait();
                     });
  }

  static void Put(void* context, const uint8_t* bytes, size_t count) {
    auto& self = *static_cast<Connection*>(context);
    error_code error;
    const size_t sent =
        self.unsent_.empty() ? self.socket_.write_some(net::buffer(bytes, count), error) : 0;
    self.unsent_.insert(self.unsent_.end(), bytes + sent, bytes + count);
  }

  Socket socket_;
  frames frames_{};
  std::vector<uint8_t> unsent_;
};

void Accept(Acceptor& acceptor) {
  acceptor.async_accept([&acceptor](error_code error, Socket socket) {
    if (!error) std::make_shared<Connection>(std::move(socket))->Wait();
    Accept(acceptor);
  });
}

}  // namespace

int main(int argc, char** argv) {
  is_frame = argc > 1 && std::strcmp(argv[1], "frame") == 0;
  net::io_context context(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);
  Acceptor acceptor(context.get_executor(),
                    net::ip::tcp::endpoint(net::ip::address_v4::loopback(), 0));
  acceptor.listen(4096);
  Accept(acceptor);
  std::printf("listening on 127.0.0.1:%d\n", acceptor.local_endpoint().port());
  std::fflush(stdout);
  context.run();
}
