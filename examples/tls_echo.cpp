// An echo server behind TLS: examples/echo.cpp and three lines.
//
//   tls_echo --tls.certificate server.pem --tls.key server.key
//   openssl s_client -connect 127.0.0.1:7443 -CAfile authority.pem
#include <array>
#include <weir/tls.hpp>
#include <weir/weir.hpp>
using namespace std::chrono_literals;

weir::task<> session(weir::tcp_stream plain, weir::tls::server_context& ours) {
  auto peer = co_await weir::tls::accept(std::move(plain), ours);
  std::array<std::byte, 4096> buffer;
  while (auto n = co_await peer.read_some(buffer).timeout(30s))  // 0: the peer said goodbye
    co_await peer.write_all(std::span(buffer).first(n));
  co_await peer.close_notify().timeout(5s);
}
weir::task<> serve(weir::shard& shard) {
  weir::tls::server_context ours(shard.settings().tls);
  auto listener = shard.listen({"127.0.0.1", 7443});
  weir::scope sessions(shard, {.max = 10'000});
  while (auto peer = co_await listener.accept()) sessions.spawn(session(std::move(*peer), ours));
  co_await sessions.drain(5s);
}
int main(int argc, char** argv) { return weir::run(weir::config::from_args(argc, argv), serve); }
