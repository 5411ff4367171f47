// beast_echo: Boost.Beast's WebSocket on weir's sockets, on whichever back end, awaited by weir's
// coroutines. Made with the target weir::asio_boost.
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket.hpp>
#include <cstdio>
#include <string>
#include <weir/asio.hpp>
#include <weir/weir.hpp>

using namespace std::chrono_literals;
namespace beast = boost::beast;
namespace websocket = boost::beast::websocket;

namespace {

weir::task<> session(weir::shard_context& here, weir::tcp_stream peer) {
  websocket::stream<weir::asio_stream> socket(here, std::move(peer));
  socket.set_option(websocket::stream_base::timeout::suggested(beast::role_type::server));
  socket.read_message_max(16u << 20);
  // Boost 1.74 has no cancellation slots: what ends a wait early goes through the stream below.
  const auto awaited = weir::use_await.cancelling(beast::get_lowest_layer(socket));
  auto refused = co_await socket.async_accept(awaited).timeout(5s).nothrow();
  if (refused) co_return;
  beast::flat_buffer buffer;
  for (;;) {
    auto got = co_await socket.async_read(buffer, awaited).nothrow();
    if (got.ec) co_return;  // websocket::error::closed: the peer said goodbye, and was answered
    socket.text(socket.got_text());
    auto sent = co_await socket.async_write(buffer.data(), awaited).nothrow();
    if (sent.ec) co_return;
    buffer.consume(buffer.size());
  }
}

weir::task<> serve(weir::shard& shard, weir::endpoint where) {
  weir::shard_context here(shard);  // outlives the sessions
  auto listener = shard.listen(where);
  std::printf("listening echo %s\n", listener.local_endpoint().to_string().c_str());
  std::fflush(stdout);
  weir::scope sessions(shard, {.max = 10'000});
  while (auto peer = co_await listener.accept()) sessions.spawn(session(here, std::move(*peer)));
  co_await sessions.drain(5s);
}

}  // namespace

int main(int argc, char** argv) {
  std::string listen = "127.0.0.1:7080";
  weir::config_parser options("beast_echo", "a WebSocket echo server made with Boost.Beast");
  options.value("--echo", "ADDR:PORT", "where to listen", listen);
  const auto settings = options.parse_or_exit(argc, argv);
  const auto where = weir::endpoint::parse(listen);
  if (!where) return std::fputs("beast_echo: --echo: must be ADDR:PORT\n", stderr), 2;
  return weir::run(settings, [&](weir::shard& shard) { return serve(shard, *where); });
}
