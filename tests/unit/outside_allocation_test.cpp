// Counts heap allocations: none on the shard's thread for offload() and for bytes through Unix
// sockets and pipes once they are warm. Replaces operator new for this program.
#include <doctest/doctest.h>

#include <unistd.h>

#include <array>

#include "support/allocations.hpp"
#include "unit/back_ends.hpp"
#include "weir/broadcast.hpp"
#include "weir/shard_channel.hpp"

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

namespace {

constexpr std::size_t places = 4;

task<> send_all(weir::channel_sender<int> to, int count) {
  for (int i = 0; i < count; ++i) co_await to.send(i);
}
task<> receive_all(weir::shard_channel<int>& from, int count) {
  for (int i = 0; i < count; ++i) {
    auto got = co_await from.receive();
    CHECK(got == i);
  }
}
/// Far more than there are places: also of sends that have to wait.
task<> pass_through(shard& s, weir::shard_channel<int>& line, int count) {
  weir::scope both(s);
  both.spawn(send_all(line.sender(), count));
  both.spawn(receive_all(line, count));
  co_await both.join();
}

}  // namespace

TEST_CASE("a_channel_into_a_shard_allocates_nothing_for_a_value") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    weir::shard_channel<int> line(s, places);
    co_await pass_through(s, line, 200);
    const auto before = weir::test::allocations();
    co_await pass_through(s, line, 200);
    const auto few = weir::test::allocations() - before;
    co_await pass_through(s, line, 2000);
    CHECK(weir::test::allocations() - before == 2 * few);  // of the scopes
    CHECK(line.waited() > 0);
  });
}

TEST_CASE("a_broadcast_allocates_nothing_for_a_value_once_warm") {
  back_ends::on_kernel_back_ends([](shard& s) -> task<> {
    weir::broadcast<int> said(places);
    weir::subscription<int> heard(said, s, 8);
    std::size_t before = 0;
    for (int i = 0; i < 100; ++i) {
      if (i == 50) before = weir::test::allocations();
      co_await said.send(i);
      auto got = co_await heard.receive();
      CHECK(got == i);
    }
    CHECK(weir::test::allocations() == before);
  });
}
