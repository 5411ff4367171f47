// Counts heap allocations: none on the shard's thread for offload() and for bytes through Unix
// sockets and pipes once they are warm. Replaces operator new for this program.
#include <doctest/doctest.h>

#include <unistd.h>

#include <array>

#include "support/allocations.hpp"
#include "unit/back_ends.hpp"

using weir::shard;
using weir::task;

TEST_CASE("offload_allocates_nothing_once_warm") {
  weir::config settings;
  settings.offload.threads = 1;  // a second one would be made when it is needed, which is no call's
  back_ends::on_kernel_back_ends(
      [](shard&) -> task<> {
        std::size_t sum = 0;
        for (int i = 0; i < 50; ++i) sum += co_await weir::offload([] { return std::size_t(1); });
        const auto before = weir::test::allocations();
        for (int i = 0; i < 200; ++i) sum += co_await weir::offload([] { return std::size_t(1); });
        CHECK(weir::test::allocations() == before);
        CHECK(sum == 250);
      },
      settings);
}

namespace {

task<> echo(weir::any_stream& peer) {
  for (;;) {
    auto chunk = co_await peer.receive();
    if (!chunk) break;
    co_await peer.write_all(chunk.bytes());
  }
}

task<> ask(weir::any_stream& to, weir::any_stream& from, int times) {
  std::array<std::byte, 100> bytes{};
  for (int i = 0; i < times; ++i) {
    co_await to.write_all(bytes);
    co_await from.read_exactly(bytes);
  }
}

}  // namespace

TEST_CASE("unix_streams_and_pipes_allocate_nothing_once_warm") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    auto pair = weir::make_unix_pair(s);
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    auto in = weir::adopt_pipe(s, weir::unique_fd(ends[0]));
    auto out = weir::adopt_pipe(s, weir::unique_fd(ends[1]));
    weir::scope tasks(s);
    tasks.spawn(echo(pair.second));
    co_await ask(pair.first, pair.first, 50);
    co_await ask(out, in, 50);
    const auto before = weir::test::allocations();
    co_await ask(pair.first, pair.first, 200);
    co_await ask(out, in, 200);
    CHECK(weir::test::allocations() == before);
    pair.first.close();
    co_await tasks.join();
  });
}
