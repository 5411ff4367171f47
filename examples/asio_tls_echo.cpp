// asio_tls_echo: what is written for Asio on weir's sockets. Asio's own ssl::stream lies on a
// stream of weir's, on whichever back end, and a coroutine of weir's awaits its operations.
//
//   asio_tls_echo --certificate server.pem --key server.key --backend stack --echo 198.18.0.2:7443
#include <array>
#include <asio/ssl.hpp>
#include <asio/write.hpp>
#include <cstdio>
#include <string>
#include <weir/asio.hpp>
#include <weir/weir.hpp>

using namespace std::chrono_literals;
namespace ssl = asio::ssl;
using secured_stream = ssl::stream<weir::asio_stream>;

namespace {

struct settings {
  weir::endpoint where;
  std::string certificate = "server.pem", key = "server.key";
};

weir::task<> session(weir::shard_context& here, weir::tcp_stream peer, ssl::context& ours) {
  secured_stream secured(weir::asio_stream(here, std::move(peer)), ours);
  auto refused = co_await secured.async_handshake(secured_stream::server, weir::use_await)
                     .timeout(5s)
                     .nothrow();
  if (refused) co_return;
  std::array<char, 16384> buffer;
  for (;;) {
    auto got = co_await secured.async_read_some(asio::buffer(buffer), weir::use_await)
                   .timeout(30s)
                   .nothrow();
    if (got.ec) break;  // asio::error::eof: the peer said goodbye
    auto sent =
        co_await asio::async_write(secured, asio::buffer(buffer.data(), got.n), weir::use_await)
            .nothrow();
    if (sent.ec) co_return;
  }
  (void)co_await secured.async_shutdown(weir::use_await).timeout(5s).nothrow();
}

weir::task<> serve(weir::shard& shard, const settings& wanted) {
  weir::shard_context here(shard);  // outlives the sessions
  ssl::context ours(ssl::context::tls_server);
  ours.use_certificate_chain_file(wanted.certificate);
  ours.use_private_key_file(wanted.key, ssl::context::pem);
  auto listener = shard.listen(wanted.where);
  std::printf("listening echo %s\n", listener.local_endpoint().to_string().c_str());
  std::fflush(stdout);
  weir::scope sessions(shard, {.max = 10'000});
  while (auto peer = co_await listener.accept())
    sessions.spawn(session(here, std::move(*peer), ours));
  co_await sessions.drain(5s);
}

}  // namespace

int main(int argc, char** argv) {
  settings wanted;
  std::string listen = "127.0.0.1:7443";
  weir::config_parser options("asio_tls_echo", "an echo server behind Asio's ssl::stream");
  options.value("--echo", "ADDR:PORT", "where to listen", listen);
  options.value("--certificate", "FILE", "its certificate and their issuers, PEM",
                wanted.certificate);
  options.value("--key", "FILE", "its private key, PEM", wanted.key);
  const auto settings = options.parse_or_exit(argc, argv);
  const auto where = weir::endpoint::parse(listen);
  if (!where) return std::fputs("asio_tls_echo: --echo: must be ADDR:PORT\n", stderr), 2;
  wanted.where = *where;
  return weir::run(settings, [&](weir::shard& shard) { return serve(shard, wanted); });
}
