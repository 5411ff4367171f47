// sim::network itself: coroutines on simulated hosts, the virtual clock, failures, determinism.
#include <doctest/doctest.h>

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include "sim/servers.hpp"

using namespace std::chrono_literals;
using namespace sim_test;
using weir::endpoint;
using weir::shard;
using weir::task;

namespace {

constexpr std::uint16_t echo_port = 7;

/// A server with an echo service and a client, one link between them.
struct echo_world {
  explicit echo_world(const weir::sim::link_options& how = {},
                      const weir::sim::network_options& options = {})
      : net(options),
        server(net.add_host("10.0.0.1/24")),
        client(net.add_host("10.0.0.2/24")),
        link(net.link(server, client, how)) {
    net.start(server, [this](shard& s) { return serve_echo(s, where()); });
  }
  endpoint where() const { return {server.address(), echo_port}; }
  void stop() { server.shard().request_stop(); }

  weir::sim::network net;
  weir::sim::host& server;
  weir::sim::host& client;
  weir::sim::link& link;
};

}  // namespace

TEST_CASE("echo_over_a_simulated_link") {
  echo_world world({.delay = 10ms});
  weir::instant answered;
  world.net.start(world.client, [&](shard& s) -> task<> {
    auto peer = co_await s.connect(world.where());
    co_await peer.write_all("hello");
    std::array<std::byte, 5> back;
    co_await peer.read_exactly(back);
    answered = s.now();
    CHECK(std::memcmp(back.data(), "hello", 5) == 0);
    world.stop();
  });
  world.net.run();
  CHECK(answered ==
        weir::instant::from_ns(40'000'000));  // two round trips: a handshake and an echo
}

TEST_CASE("an_hour_of_an_idle_server_takes_no_time") {
  echo_world world;
  world.net.run_for(1h);
  CHECK(world.net.now() == weir::instant() + 1h);
  CHECK(world.net.running() == 1);
  world.stop();
  world.net.run();
}

TEST_CASE("a_bulk_transfer_comes_back_whole") {
  echo_world world({.delay = 1ms});
  world.net.start(world.client, [&](shard& s) -> task<> {
    co_await exchange(s, world.where(), 1, 3'000'000);
    world.stop();
  });
  world.net.run();
  CHECK(world.link.counters(0).lost == 0);
}

TEST_CASE("what_a_task_throws_comes_out_of_run") {
  weir::sim::network net;
  auto& host = net.add_host("10.0.0.1/24");
  net.start(host, [](shard&) -> task<> {
    co_await weir::sleep_for(1s);
    throw std::runtime_error("as asked");
  });
  CHECK_THROWS_WITH(net.run(), "as asked");
}

TEST_CASE("a_task_that_waits_for_ever_is_reported_as_stalled") {
  weir::sim::network net;
  auto& host = net.add_host("10.0.0.1/24");
  net.start(host, [&](shard& s) -> task<> {
    auto listener = s.listen({host.address(), 1});
    auto peer = co_await listener.accept();
    CHECK_FALSE(peer);
  });
  CHECK_THROWS_AS(net.run(), weir::sim::stalled);
  CHECK(net.running() == 0);
}

TEST_CASE("what_stalled_says_names_the_host_and_what_its_tasks_wait_for") {
  weir::sim::network net;
  auto& host = net.add_host("10.0.0.1/24", {.name = "server"});
  net.start(host, [&](shard& s) -> task<> {
    auto listener = s.listen({host.address(), 1});
    auto peer = co_await listener.accept();
    CHECK_FALSE(peer);
  });
  std::string said;
  try {
    net.run();
  } catch (const weir::sim::stalled& error) {
    said = error.what();
  }
  CAPTURE(said);
  CHECK(said.starts_with("a task waits for what cannot happen any more\n  server: 1 x "));
  CHECK(said.find("accept 10.0.0.1:1") != said.npos);
}

TEST_CASE("a_server_is_asked_to_stop_when_all_others_have_ended") {
  weir::sim::network net;
  auto& server = net.add_host("10.0.0.1/24");
  auto& client = net.add_host("10.0.0.2/24");
  net.link(server, client, {.delay = 10ms});
  bool drained = false;
  net.serve(server, [&](shard& s) -> task<> {
    auto listener = s.listen({"10.0.0.1", 7});
    weir::scope sessions(s);
    while (auto peer = co_await listener.accept())
      sessions.spawn([](weir::tcp_stream held) -> task<> {
        co_await weir::sleep_for(2s);  // longer than the client stays
        held.close();
      }(std::move(*peer)));
    const auto outcome = co_await sessions.drain(5s);
    drained = outcome.in_time;
  });
  net.start(client, [](shard& s) -> task<> {
    auto peer = co_await s.connect({"10.0.0.1", 7});
    co_await weir::sleep_for(1s);
  });
  net.run();
  CHECK(drained);
  CHECK(net.running() == 0);
  CHECK(net.now() >= weir::instant() + 2s);
}

TEST_CASE("a_server_that_does_not_heed_the_stop_is_reported_as_stalled") {
  weir::sim::network net;
  auto& host = net.add_host("10.0.0.1/24");
  net.serve(host, [&](shard& s) -> task<> {
    weir::event never;
    CHECK_FALSE(s.stop_requested());
    co_await never.wait();
  });
  CHECK_THROWS_AS(net.run(), weir::sim::stalled);
  CHECK(net.running() == 0);
}

namespace {

/// Notes its own end.
struct witness {
  bool* gone;
  explicit witness(bool& flag) : gone(&flag) {}
  witness(witness&& other) noexcept : gone(std::exchange(other.gone, nullptr)) {}
  ~witness() {
    if (gone != nullptr) *gone = true;
  }
};

/// Waits for ever, and looks at the end whether what it refers to is there.
task<> look_at_the_end(const bool& gone, bool& looked_late) {
  try {
    co_await weir::sleep_for(1000h);
  } catch (...) {
    looked_late |= gone;
    throw;
  }
}

}  // namespace

TEST_CASE("what_a_task_refers_to_is_there_until_it_ends_whatever_run_throws") {
  for (const bool fails : {false, true}) {
    CAPTURE(fails);
    bool gone = false, looked_late = false;
    try {
      weir::sim::network net;
      auto& host = net.add_host("10.0.0.1/24");
      witness declared_later(gone);
      net.start(host, [&](shard&) { return look_at_the_end(gone, looked_late); });
      if (fails)
        net.start(host, [](shard&) -> task<> {
          co_await weir::sleep_for(1s);
          throw std::runtime_error("as asked");
        });
      net.run(5s);
    } catch (const std::exception& error) {
      CHECK(std::string(error.what()).empty() == false);
    }
    CHECK(gone);
    CHECK_FALSE(looked_late);
  }
}

TEST_CASE("what_a_network_keeps_goes_after_every_task") {
  bool gone = false, looked_late = false;
  try {
    weir::sim::network net;
    auto& host = net.add_host("10.0.0.1/24");
    net.keep(witness(gone));
    net.start(host, [&](shard&) { return look_at_the_end(gone, looked_late); });
    net.run_for(1s);
    throw std::runtime_error("a check of the test's own");
  } catch (const std::runtime_error&) {
  }
  CHECK(gone);
  CHECK_FALSE(looked_late);
}

TEST_CASE("a_refused_connection_is_an_error_at_once") {
  echo_world world({.delay = 10ms});
  world.net.start(world.client, [&](shard& s) -> task<> {
    auto got = co_await s.connect({world.server.address(), 9}).nothrow();
    CHECK(!got);
    CHECK(got.error() == std::errc::connection_refused);
    CHECK(s.now() == weir::instant() + 20ms);
    world.stop();
  });
  world.net.run();
}

TEST_CASE("a_timeout_passes_in_virtual_time") {
  echo_world world;
  world.net.start(world.client, [&](shard& s) -> task<> {
    auto peer = co_await s.connect(world.where());
    auto began = s.now();
    std::array<std::byte, 1> byte;
    auto got = co_await peer.read_some(byte).timeout(30s).nothrow();
    CHECK(got.ec == std::errc::timed_out);
    auto took = s.now() - began;
    CHECK((took >= 30s && took < 30s + 1ms));
    world.stop();
  });
  world.net.run();
}

TEST_CASE("a_partition_is_survived_when_it_heals") {
  echo_world world({.delay = 5ms});
  bool done = false;
  world.net.start(world.client, [&](shard& s) -> task<> {
    auto peer = co_await s.connect(world.where());
    world.link.set_down(true);
    co_await peer.write_all("hello");
    co_await weir::sleep_for(10s);
    world.link.set_down(false);
    std::array<std::byte, 5> back;
    co_await peer.read_exactly(back);
    done = true;
    world.stop();
  });
  world.net.run();
  CHECK(done);
  CHECK(world.client.stack().counters()[weir::stack::counter::timeouts] > 0);
}

TEST_CASE("a_slow_link_takes_the_time_that_its_rate_allows") {
  // 100,000 bytes a second each way: half a megabyte there takes five seconds at least.
  echo_world world({.delay = 10ms, .rate = 100'000, .queue = 64 * 1024});
  world.net.start(world.client, [&](shard& s) -> task<> {
    co_await exchange(s, world.where(), 1, 500'000);
    CHECK(s.now() > weir::instant() + 5s);
    CHECK(s.now() < weir::instant() + 60s);
    world.stop();
  });
  world.net.run();
}

TEST_CASE("a_path_with_a_smaller_mtu_is_discovered") {
  echo_world world({.delay = 10ms, .mtu = 1300});
  world.net.start(world.client, [&](shard& s) -> task<> {
    co_await exchange(s, world.where(), 1, 500'000);
    world.stop();
  });
  world.net.run(2min);
  CHECK(world.link.counters(1).too_long > 0);
}

TEST_CASE("a_stalled_reader_stalls_its_writer_and_no_more") {
  echo_world world({.delay = 1ms});
  world.net.start(world.client, [&](shard& s) -> task<> {
    auto slow = co_await s.connect(world.where());
    std::vector<std::byte> much(40'000'000);
    auto written = co_await slow.write_all(much).timeout(1min).nothrow();
    CHECK(written.ec ==
          std::errc::timed_out);  // the server stopped reading: nobody takes what it echoes
    CHECK(world.server.stack().memory_in_use() < 64u << 20);
    co_await exchange(s, world.where(), 1, 100'000);
    slow.abort();
    world.stop();
  });
  world.net.run();
}

TEST_CASE("a_listener_on_an_address_of_somebody_else_is_refused") {
  echo_world world;
  auto tried = world.server.shard().try_listen({world.client.address(), 80});
  REQUIRE(!tried);
  CHECK(tried.error() == std::errc::address_not_available);
  auto wildcard = world.server.shard().try_listen({weir::ip_address(), 80});
  REQUIRE(!wildcard);
  CHECK(wildcard.error() == std::errc::permission_denied);
  world.stop();
  world.net.run();
}

TEST_CASE("equal_seeds_give_equal_runs_and_others_do_not") {
  auto trace = [](std::uint64_t seed) {
    echo_world world({.delay = 1ms,
                      .jitter = 1ms,
                      .loss = 0.02,
                      .reorder = 0.05,
                      .duplicate = 0.02,
                      .corrupt = 0.01},
                     {.seed = seed});
    world.net.start(world.client, [&](shard& s) -> task<> {
      co_await exchange(s, world.where(), seed, 200'000);
      world.stop();
    });
    world.net.run();
    return world.net.trace();
  };
  auto first = trace(7);
  CHECK(first == trace(7));
  CHECK(first != trace(8));
}

TEST_CASE("run_until_idle_ends_when_nothing_is_left_to_happen") {
  echo_world world({.delay = 1ms});
  world.net.start(world.client,
                  [&](shard& s) -> task<> { co_await exchange(s, world.where(), 1, 1000); });
  CHECK(world.net.run_until_idle());
  CHECK(world.net.running() == 1);                   // the server, which waits for connections
  CHECK(world.net.now() < weir::instant() + 10min);  // TIME_WAIT and no more
  world.stop();
  world.net.run();
}

TEST_CASE("a_network_in_which_nothing_is_to_be_done_is_run_and_run_again") {
  weir::sim::network empty;
  for (int i = 0; i < 2; ++i) {
    empty.run();
    CHECK(empty.run_until_idle());
    empty.run_for(1s);
  }
  CHECK(empty.now() == weir::instant() + 2s);
  echo_world world({.delay = 1ms});
  world.net.start(world.client,
                  [&](shard& s) -> task<> { co_await exchange(s, world.where(), 1, 1000); });
  CHECK(world.net.run_until_idle());
  const auto idle_since = world.net.now();
  CHECK(world.net.run_until_idle());
  CHECK_FALSE(world.net.run_until([] { return false; }));
  CHECK(world.net.now() == idle_since);
  world.net.run_for(1s);
  CHECK(world.net.now() == idle_since + 1s);
  world.stop();
  world.net.run();
  world.net.run();
}

TEST_CASE("hosts_without_a_link_do_not_reach_each_other") {
  weir::sim::network net;
  auto& a = net.add_host("10.0.0.1/24");
  net.add_host("10.0.0.2/24");
  net.start(a, [](shard& s) -> task<> {
    auto got = co_await s.connect({"10.0.0.2", 7}).timeout(10s).nothrow();
    CHECK(!got);
    CHECK(got.error() == std::errc::timed_out);
  });
  net.run();
  CHECK(net.wires().unroutable() > 0);
}

TEST_CASE("a_network_that_goes_early_cancels_what_runs") {
  bool cancelled = false;
  {
    echo_world world;
    world.net.start(world.client, [&](shard& s) -> task<> {
      auto peer = co_await s.connect(world.where());
      std::array<std::byte, 1> byte;
      auto got = co_await peer.read_some(byte).nothrow();
      cancelled = got.ec == std::errc::operation_canceled;
    });
    world.net.run_for(1s);
  }
  CHECK(cancelled);
}

TEST_CASE("a_silent_peer_is_probed_as_often_as_was_said_and_given_up") {
  echo_world world({.delay = 10ms});
  std::error_code why;
  weir::duration took{};
  world.net.start(world.client, [&](shard& s) -> task<> {
    auto peer = co_await s.connect(world.where(), {.stream = {.keep_alive = true,
                                                              .keep_alive_idle = 5s,
                                                              .keep_alive_interval = 2s,
                                                              .keep_alive_probes = 3}});
    world.link.set_down(true);
    const auto begun = s.now();
    std::array<std::byte, 5> back;
    auto got = co_await peer.read_some(back).nothrow();
    why = got.ec;
    took = s.now() - begun;
    world.link.set_down(false);
    world.stop();
  });
  world.net.run();
  CHECK(why == std::errc::timed_out);
  CHECK(took >= 5s + 3 * 2s - 100ms);
  CHECK(took <= 5s + 3 * 2s + 100ms);
}

TEST_CASE("a_bad_address_is_refused_by_name") {
  weir::sim::network net;
  CHECK_THROWS_WITH_AS(net.add_host("10.0.0.300/24"), doctest::Contains("10.0.0.300"),
                       std::invalid_argument);
}

TEST_CASE("a_capture_of_a_simulation_is_the_same_every_time") {
  auto capture = [](const char* path) {
    {
      echo_world world({.delay = 1ms, .loss = 0.05}, {.seed = 3, .pcap = path});
      world.net.start(world.client, [&](shard& s) -> task<> {
        co_await exchange(s, world.where(), 1, 20'000);
        world.stop();
      });
      world.net.run();
    }
    std::ifstream in(path, std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(in)), {});
    std::remove(path);
    return bytes;
  };
  char path[] = "/tmp/weir-sim-XXXXXX";
  int fd = ::mkstemp(path);
  REQUIRE(fd >= 0);
  ::close(fd);
  auto first = capture(path);
  CHECK(first.size() > 40'000);
  CHECK(first == capture(path));
}
