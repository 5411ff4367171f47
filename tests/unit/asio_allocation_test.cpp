// Counts heap allocations: none per request once an Asio echo server is warm. Replaces operator new
// for this program.
#include <doctest/doctest.h>

#include <array>

#include "asio_world.hpp"
#include "support/allocations.hpp"

using weir::shard;
using weir::task;
using weir::tcp_stream;
using namespace std::chrono_literals;

namespace {

task<> echo(tcp_stream& peer) {
  std::array<std::byte, 4096> buffer;
  for (;;) {
    auto n = co_await peer.read_some(buffer).timeout(30s);
    if (n == 0) break;
    co_await peer.write_all(std::span(buffer).first(n));
  }
}

task<> echo_lent(tcp_stream& peer) {
  for (;;) {
    auto lent = co_await peer.receive();
    if (!lent) break;
    co_await peer.write_all(lent.bytes());
  }
}

task<> echo_owned(tcp_stream& peer) {
  for (;;) {
    auto lent = co_await peer.receive();
    if (!lent) break;
    co_await peer.write_all(std::move(lent));
  }
}

}  // namespace

TEST_CASE("echo_allocates_nothing_once_warm") {
  for (auto* session : {&echo, &echo_lent, &echo_owned}) {
    asio_test::world w;
    std::size_t counted = 1;
    w.run([&](shard& s) -> task<> {
      auto listener = s.listen({"127.0.0.1", 0});
      auto client = co_await weir::connect(listener.local_endpoint());
      auto accepted = co_await listener.accept();
      weir::scope sessions(s);
      sessions.spawn(session(*accepted));
      std::array<std::byte, 512> data{};
      std::size_t before = 0;
      for (int i = 0; i < 2100; ++i) {
        if (i == 100) before = weir::test::allocations();
        co_await client.write_all(data);
        co_await client.read_exactly(data);
      }
      counted = weir::test::allocations() - before;
      client.close();
      co_await sessions.join();
    });
    CHECK(counted == 0);
  }
}
