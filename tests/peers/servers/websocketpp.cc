// A WebSocket server on websocketpp.
//
//   websocketpp websocket [--tls=CHAIN,KEY | --deflate | --broadcast]
//
// Without logs, without locks (one thread), without timeouts. A message that was read is handed to
// send as it is; a broadcast is prepared once. With SAVE_MEMORY in the environment OpenSSL gives
// back its buffers.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <websocketpp/concurrency/none.hpp>
#include <websocketpp/config/asio.hpp>
#include <websocketpp/extensions/permessage_deflate/enabled.hpp>
#include <websocketpp/logger/stub.hpp>
#include <websocketpp/server.hpp>

namespace {

template <typename Base>
struct Config : Base {
  using type = Config;
  using base = Base;
  using concurrency_type = websocketpp::concurrency::none;
  static const bool enable_multithreading = false;  // no strands
  using alog_type = websocketpp::log::stub;
  using elog_type = websocketpp::log::stub;
  using rng_type = typename Base::rng_type;
  struct transport_config : Base::transport_config {
    using concurrency_type = websocketpp::concurrency::none;
    static const bool enable_multithreading = false;
    using alog_type = websocketpp::log::stub;
    using elog_type = websocketpp::log::stub;
    using request_type = typename Base::transport_config::request_type;
    using response_type = typename Base::transport_config::response_type;
    using socket_type = typename Base::transport_config::socket_type;
  };
  using transport_type = websocketpp::transport::asio::endpoint<transport_config>;
  static const long timeout_open_handshake = 0;
};

struct Deflating : Config<websocketpp::config::asio> {
  using type = Deflating;
  struct permessage_deflate_config {};
  using permessage_deflate_type =
      websocketpp::extensions::permessage_deflate::enabled<permessage_deflate_config>;
};

using Handle = websocketpp::connection_hdl;

template <typename Configuration>
void Serve(bool is_broadcast, const std::string& tls) {
  using Server = websocketpp::server<Configuration>;
  using MessagePtr = typename Server::message_ptr;
  websocketpp::lib::asio::io_service service(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);
  Server server;
  std::set<Handle, std::owner_less<Handle>> all;
  server.init_asio(&service);
  server.set_listen_backlog(4096);
  if constexpr (std::is_same_v<Configuration, Config<websocketpp::config::asio_tls>>) {
    server.set_tls_init_handler([tls](Handle) {
      static const auto context = [&] {
        namespace ssl = websocketpp::lib::asio::ssl;
        auto made = websocketpp::lib::make_shared<ssl::context>(ssl::context::tls_server);
        made->use_certificate_chain_file(tls.substr(0, tls.find(',')));
        made->use_private_key_file(tls.substr(tls.find(',') + 1), ssl::context::pem);
        if (std::getenv("SAVE_MEMORY"))
          SSL_CTX_set_mode(made->native_handle(), SSL_MODE_RELEASE_BUFFERS);
        return made;
      }();
      return context;
    });
  }
  server.set_tcp_pre_init_handler([&server](Handle handle) {
    websocketpp::lib::error_code ignored;
    auto connection = server.get_con_from_hdl(handle, ignored);
    websocketpp::lib::asio::error_code also_ignored;
    connection->get_raw_socket().set_option(websocketpp::lib::asio::ip::tcp::no_delay(true),
                                            also_ignored);
  });
  websocketpp::lib::error_code error;
  if (is_broadcast) {
    server.set_open_handler([&all](Handle handle) { all.insert(handle); });
    server.set_close_handler([&all](Handle handle) { all.erase(handle); });
    server.set_fail_handler([&all](Handle handle) { all.erase(handle); });
    server.set_message_handler([&](Handle from, MessagePtr message) {
      websocketpp::lib::error_code ignored;
      const auto connection = server.get_con_from_hdl(from, ignored);
      const auto prepared =
          connection->get_message(message->get_opcode(), message->get_payload().size());
      prepared->set_header(websocketpp::frame::prepare_header(
          websocketpp::frame::basic_header(message->get_opcode(), message->get_payload().size(),
                                           true, false),
          websocketpp::frame::extended_header(message->get_payload().size())));
      prepared->set_payload(message->get_payload());
      prepared->set_prepared(true);
      for (const Handle& handle : all) server.send(handle, prepared, ignored);
    });
  } else {
    server.set_message_handler([&](Handle handle, MessagePtr message) {
      websocketpp::lib::error_code ignored;
      server.send(handle, message, ignored);
    });
  }
  server.listen(websocketpp::lib::asio::ip::tcp::endpoint(
      websocketpp::lib::asio::ip::address_v4::loopback(), 0));
  server.start_accept();
  websocketpp::lib::asio::error_code ignored;
  std::printf("listening on 127.0.0.1:%d\n", server.get_local_endpoint(ignored).port());
  std::fflush(stdout);
  server.run();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string option = argc > 2 ? argv[2] : "";
  if (option.rfind("--tls=", 0) == 0)
    Serve<Config<websocketpp::config::asio_tls>>(false, option.substr(6));
  else if (option == "--deflate")
    Serve<Deflating>(false, "");
  else
    Serve<Config<websocketpp::config::asio>>(option == "--broadcast", "");
}
