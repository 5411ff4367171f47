// Counts heap allocations: none per request once an io_uring echo server is warm. Replaces operator
// new for this program.
#include <doctest/doctest.h>

#include <array>

#include "support/allocations.hpp"
#include "uring_world.hpp"

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

task<> request(tcp_stream& peer, std::span<std::byte> data) {
  co_await peer.write_all(data);
  co_await peer.read_exactly(data);
}

}  // namespace

TEST_CASE("echo_allocates_nothing_once_warm") {
  if (!uring_test::allowed()) return;
  for (auto* session : {&echo, &echo_lent, &echo_owned}) {
    uring_test::world w;
    std::size_t counted = 1;
    w.run([&](shard& s) -> task<> {
      auto listener = s.listen({"127.0.0.1", 0});
      auto client = co_await weir::connect(listener.local_endpoint());
      auto accepted = co_await listener.accept();
      weir::scope sessions(s);
      sessions.spawn(session(*accepted));
      std::array<std::byte, 512> data{};
      for (int i = 0; i < 100; ++i) co_await request(client, data);
      auto before = weir::test::allocations();
      for (int i = 0; i < 2000; ++i) co_await request(client, data);
      counted = weir::test::allocations() - before;
      client.close();
      co_await sessions.join();
    });
    CHECK(counted == 0);
  }
}
