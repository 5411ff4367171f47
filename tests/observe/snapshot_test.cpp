// What a shard shows, on the stack in a simulated network: exact, since every queue is ours; and
// how the shards of a process are asked.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <latch>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/observe/collector.hpp"
#include "runtime/observe/exposition.hpp"
#include "runtime/observe/sockets_json.hpp"
#include "runtime/observe/take_snapshot.hpp"
#include "weir/admin.hpp"
#include "weir/detail/shown_counts.hpp"
#include "weir/net.hpp"
#include "weir/runtime.hpp"
#include "weir/sim.hpp"
#include "weir/timing.hpp"
#include "weir/weir.hpp"
#include "weir/when.hpp"

using namespace std::chrono_literals;
using namespace weir::detail;
using weir::shard;
using weir::task;

namespace {

struct two_hosts {
  weir::sim::network net{{.seed = 1}};
  weir::sim::host& server;
  weir::sim::host& client = net.add_host("10.0.0.2/24");
  weir::sim::link& link = net.link(server, client, {.delay = 1ms});

  explicit two_hosts(const weir::config& settings = {})
      : server(net.add_host("10.0.0.1/24", {.settings = settings})) {}
  shard_snapshot look(std::size_t connections = 100) {
    return take_snapshot(server.shard(), {.connections = connections});
  }
};

task<> connect_and_stay(shard& s, weir::endpoint to, std::size_t count, weir::event& leave) {
  std::vector<weir::tcp_stream> peers;
  for (std::size_t i = 0; i < count; ++i) {
    auto peer = co_await s.connect(to);
    peers.push_back(std::move(peer));
  }
  co_await leave.wait();
}

/// The most that `read` grows by while this coroutine waits for its next turn.
task<> note_longest(const int& read, int& longest, const bool& ended) {
  int last = 0;
  while (!ended) {
    co_await weir::yield();
    longest = std::max(longest, read - last);
    last = read;
  }
}

}  // namespace

TEST_CASE("an_accept_queue_is_shown_while_it_fills_and_when_it_has_drained") {
  weir::config settings;
  settings.listen.backlog = 4;
  settings.listen.syn_backlog = 16;
  two_hosts w(settings);
  weir::event accept_now, leave;
  w.net.start(w.server, [&](shard& s) -> task<> {
    auto listener = s.listen({w.server.address(), 7});
    co_await accept_now.wait();
    std::vector<weir::tcp_stream> taken;
    for (int i = 0; i < 3; ++i) {
      auto peer = co_await listener.accept();
      taken.push_back(std::move(*peer));
    }
    co_await leave.wait();
  });
  w.net.start(w.client,
              [&](shard& s) { return connect_and_stay(s, {w.server.address(), 7}, 3, leave); });
  w.net.run_for(1s);

  auto full = w.look();
  CHECK(full.backend == "sim");
  REQUIRE(full.listeners.size() == 1);
  auto l = full.listeners[0];
  CHECK(l.local == weir::endpoint(w.server.address(), 7));
  CHECK(l.accept_queue == 3u);
  CHECK(l.backlog == 4u);
  CHECK(l.syn_queue == 0u);
  CHECK(l.syn_queue_peak.value() >= 1);  // a SYN may pass the ACK of the one before
  CHECK(l.syn_backlog == 16u);
  CHECK(l.accepted == 0u);
  CHECK_FALSE(l.accepted_ahead.has_value());
  CHECK(full.connections_total == 3);
  REQUIRE(full.connections.size() == 3);
  CHECK(full.connections[0].state == "established");
  CHECK_FALSE(full.connections[0].read_waits.has_value());  // nobody holds it

  accept_now.set();
  w.net.run_for(1s);
  l = w.look().listeners[0];
  CHECK(l.accept_queue == 0u);
  CHECK(l.accept_queue_peak == 3u);
  CHECK(l.accepted == 3u);
  // They came within the first milliseconds and were taken after a second.
  CHECK(*l.accept_wait_longest > 980'000'000u);
  CHECK(*l.accept_wait_longest <= 1'000'000'000u);
  CHECK(*l.accept_wait > 2 * 980'000'000u);
  leave.set();
  w.net.run();
}

TEST_CASE("buffers_are_shown_filling_and_who_waits_for_them") {
  two_hosts w;
  weir::event leave;
  w.net.start(w.server, [&](shard& s) -> task<> {
    auto listener = s.listen({w.server.address(), 7});
    auto peer = co_await listener.accept();
    const std::vector<std::byte> much(8u
                                      << 20);  // more than the client's window and our queue hold
    auto sent = co_await peer->write_all(std::span(much)).nothrow();
    CHECK(sent.ec);  // the client goes with data unread
  });
  w.net.start(w.client, [&](shard& s) -> task<> {
    auto peer = co_await s.connect({w.server.address(), 7});
    co_await leave.wait();
  });
  w.net.run_for(10s);
  auto shown = w.look();
  REQUIRE(shown.connections.size() == 1);
  auto& c = shown.connections[0];
  CHECK(c.write_waits == 1u);
  CHECK(c.read_waits == 0u);
  CHECK(*c.send_queued > 0);
  CHECK(*c.send_queued <= *c.send_limit);
  CHECK(*c.send_queued * 3 > *c.send_limit * 2);  // full: a writer waits for a third to be free
  CHECK(c.send_window == 0u);
  CHECK(*c.rtt >= 2'000'000u);  // two milliseconds there and back
  CHECK(c.retransmissions == 0u);
  auto other = take_snapshot(w.client.shard(), {.connections = 1});
  REQUIRE(other.connections.size() == 1);
  CHECK(*other.connections[0].receive_queued > 0);
  CHECK(other.connections[0].local == c.remote);
  leave.set();
  w.net.run();
}

TEST_CASE("a_listeners_name_is_shown_while_it_is_there_and_forgotten_with_it") {
  two_hosts w;
  weir::event close_now;
  w.net.start(w.server, [&](shard& s) -> task<> {
    auto listener = s.listen({w.server.address(), 7});
    s.local<weir::admin_pages>().name_socket(listener.local_endpoint(), "web");
    co_await close_now.wait();
    listener.close();
    co_await weir::sleep_for(1s);
    auto again = s.listen({w.server.address(), 7});
    co_await weir::stop_requested();
  });
  w.net.run_for(1s);
  REQUIRE(w.look().listeners.size() == 1);
  CHECK(w.look().listeners[0].name == "web");
  process_snapshot all;
  all.shards.push_back(w.look());
  CHECK(to_metrics(all, {}).find("listener=\"10.0.0.1:7\",name=\"web\",") != std::string::npos);
  close_now.set();
  w.net.run_for(500ms);
  CHECK(w.look().listeners.empty());
  w.net.run_for(1s);
  REQUIRE(w.look().listeners.size() == 1);
  CHECK(w.look().listeners[0].name.empty());
  w.server.shard().request_stop();
  w.net.run();
}

TEST_CASE("pages_and_names_are_bounded_and_bad_ones_are_refused") {
  two_hosts w;
  auto& pages = w.server.shard().local<weir::admin_pages>();
  const auto page = [](std::string_view) { return weir::admin_answer(); };
  for (auto* bad : {"", "a/b", "A", "\n", "a b"})
    CHECK_THROWS_AS(pages.add(bad, page), std::invalid_argument);
  CHECK_THROWS_AS(pages.add("a", nullptr), std::invalid_argument);
  for (std::size_t i = 0; i < weir::admin_pages::most_pages; ++i)
    pages.add("p" + std::to_string(i), page);
  CHECK_THROWS_AS(pages.add("p0", page), std::invalid_argument);
  CHECK_THROWS_AS(pages.add("more", page), std::invalid_argument);
  pages.remove("p0");
  pages.add("more", page);
  CHECK(w.look().pages.size() == weir::admin_pages::most_pages);
  for (std::uint16_t port = 1; port <= weir::admin_pages::most_names + 1; ++port)
    pages.name_socket({w.server.address(), port}, "x");
  CHECK(pages.name_of({w.server.address(), weir::admin_pages::most_names}) == "x");
  CHECK(pages.name_of({w.server.address(), weir::admin_pages::most_names + 1}).empty());
  pages.name_socket({w.server.address(), 1}, "");
  CHECK(pages.name_of({w.server.address(), 1}).empty());
}

TEST_CASE("what_layers_count_is_summed_and_stays_when_they_go") {
  two_hosts w;
  auto& shown = w.server.shard().local<shown_counts>();
  const auto add = [&](std::uint64_t n) {
    auto of = std::make_shared<std::uint64_t>(n);
    shown.add(of, [](const void* at, shown_counts::numbers& out) {
      const auto value = *static_cast<const std::uint64_t*>(at);
      out.push_back({"layer", "done", "what was done", value});
      out.push_back({"layer", "now", "what is there", value, true});
    });
    return of;
  };
  const auto value_of = [&](std::string_view name) {
    for (const auto& one : w.look().counts)
      if (one.group == "layer" && one.name == name) return one.value;
    return UINT64_MAX;
  };
  auto first = add(3), second = add(4);
  CHECK(value_of("done") == 7);
  CHECK(value_of("now") == 7);
  first.reset();
  *second = 5;
  CHECK(value_of("done") == 8);
  CHECK(value_of("now") == 5);
  for (int i = 0; i < 1000; ++i) add(1);  // each gone at once
  CHECK(value_of("done") == 1008);
  CHECK(value_of("now") == 5);
}

TEST_CASE("a_snapshot_keeps_to_its_bounds_and_tells_the_totals") {
  two_hosts w;
  weir::event leave;
  w.net.start(w.server, [&](shard& s) -> task<> {
    auto first = s.listen({w.server.address(), 7});
    auto second = s.listen({w.server.address(), 8});
    co_await leave.wait();
  });
  w.net.start(w.client,
              [&](shard& s) { return connect_and_stay(s, {w.server.address(), 7}, 5, leave); });
  w.net.run_for(1s);
  auto shown = take_snapshot(w.server.shard(), {.listeners = 1, .connections = 2});
  CHECK(shown.listeners.size() == 1);
  CHECK(shown.listeners_total == 2);
  CHECK(shown.connections.size() == 2);
  CHECK(shown.connections_total == 5);
  leave.set();
  w.net.run();
}

TEST_CASE("a_deferred_accept_from_the_configuration_is_shown_and_waits_for_data") {
  weir::config settings;
  settings.listen.defer_accept_ms = 30'000;
  two_hosts w(settings);
  std::size_t accepted = 0;
  weir::event leave;
  w.net.start(w.server, [&](shard& s) -> task<> {
    auto listener = s.listen({w.server.address(), 7});
    auto at_once = s.listen({w.server.address(), 8}, {.defer_accept = weir::duration(0)});
    auto peer = co_await listener.accept();
    ++accepted;
    co_await leave.wait();
  });
  weir::event talk;
  w.net.start(w.client, [&](shard& s) -> task<> {
    auto peer = co_await s.connect({w.server.address(), 7});
    co_await talk.wait();
    co_await peer.write_all("?");
    co_await leave.wait();
  });
  w.net.run_for(5s);
  auto shown = w.look();
  REQUIRE(shown.listeners.size() == 2);
  CHECK(shown.listeners[0].defer_accept == 30'000'000'000u);
  CHECK(shown.listeners[0].deferred == 1u);
  CHECK(shown.listeners[0].accept_queue == 0u);
  CHECK(shown.listeners[0].syn_queue == 1u);
  CHECK(shown.listeners[1].defer_accept == 0u);  // what is asked for wins over the configuration
  CHECK(accepted == 0);
  talk.set();
  w.net.run_for(1s);
  CHECK(accepted == 1);
  leave.set();
  w.net.run();
}

TEST_CASE("an_owner_key_from_the_configuration_keeps_others_out_and_is_never_shown") {
  weir::config settings;
  settings.listen.owner_key = 7'000'000'007;
  settings.listen.sharing = weir::sharing::sharded;
  settings.listen.policy = weir::sharding_policy::least_loaded;
  two_hosts w(settings);
  weir::event leave;
  w.net.start(w.server, [&](shard& s) -> task<> {
    auto listener = s.listen({"0.0.0.0", 7}, {.allow_wildcard = true});
    const weir::endpoint nearer(w.server.address(), 7);
    auto stolen = s.try_listen(nearer, {.owner_key = 8});
    CHECK(stolen.error() == std::errc::address_in_use);
    auto ours = s.try_listen(nearer);  // with the configuration's key
    CHECK(ours);
    auto open = s.listen({w.server.address(), 8}, {.sharing = weir::sharing::exclusive});
    co_await leave.wait();
  });
  w.net.run_for(1s);
  const auto shown = w.look();
  REQUIRE(shown.listeners.size() == 3);
  const auto& l = shown.listeners[0];
  CHECK(l.owner_key == 1u);
  CHECK(l.sharing == "sharded");
  CHECK(l.policy == "least_loaded");
  CHECK(l.members == 1u);
  CHECK(shown.listeners[2].sharing == "exclusive");
  CHECK(shown.listeners[2].policy.empty());
  process_snapshot all;
  all.shards.push_back(shown);
  for (const auto& text : {to_metrics(all, {}), to_sockets_json(all, {}, 10)}) {
    CHECK(text.find("7000000007") == std::string::npos);
    CHECK(text.find("least_loaded") != std::string::npos);
  }
  leave.set();
  w.net.run();
}

TEST_CASE("a_reader_that_never_has_to_wait_lets_others_run_all_the_same") {
  two_hosts w;
  constexpr int bytes = 4096;
  int read = 0, longest = 0;
  w.net.start(w.server, [&](shard& s) -> task<> {
    auto listener = s.listen({w.server.address(), 7});
    auto peer = co_await listener.accept();
    co_await weir::sleep_for(1s);  // then everything is there
    bool ended = false;
    auto reads = [&]() -> task<> {
      std::array<std::byte, 1> one;
      while (read < bytes) {
        auto n = co_await peer->read_some(one);
        read += static_cast<int>(n);
      }
      ended = true;
    };
    const auto before = s.counters().budget_exhausted;
    co_await weir::when_all(reads(), note_longest(read, longest, ended));
    CHECK(s.counters().budget_exhausted - before >= bytes / 256 - 1);
  });
  w.net.start(w.client, [&](shard& s) -> task<> {
    auto peer = co_await s.connect({w.server.address(), 7});
    const std::array<std::byte, bytes> much{};
    co_await peer.write_all(much);
    co_await weir::sleep_for(2s);
  });
  w.net.run();
  CHECK(read == bytes);
  CHECK(longest > 0);
  CHECK(longest <= 3 * 256);  // a few turns of the loop
}

TEST_CASE("lines_that_are_in_a_readers_buffer_let_others_run_all_the_same") {
  two_hosts w;
  constexpr int lines = 4096;
  int read = 0, longest = 0;
  w.net.start(w.server, [&](shard& s) -> task<> {
    auto listener = s.listen({w.server.address(), 7});
    auto peer = co_await listener.accept();
    co_await weir::sleep_for(1s);
    bool ended = false;
    auto reads = [&]() -> task<> {
      std::vector<std::byte> storage(2 * lines);
      weir::buffered_reader in(*peer, storage);
      while (co_await in.read_line()) ++read;
      ended = true;
    };
    co_await weir::when_all(reads(), note_longest(read, longest, ended));
  });
  w.net.start(w.client, [&](shard& s) -> task<> {
    auto peer = co_await s.connect({w.server.address(), 7});
    std::string much;
    for (int i = 0; i < lines; ++i) much += "x\n";
    co_await peer.write_all(much);
    peer.shutdown_send();
    co_await weir::sleep_for(2s);
  });
  w.net.run();
  CHECK(read == lines);
  CHECK(longest > 0);
  CHECK(longest <= 2 * 256);
}

TEST_CASE("who_passes_on_what_it_reads_does_not_outrun_who_takes_it") {
  for (const bool reader_first : {true, false}) {
    CAPTURE(reader_first);
    two_hosts w;
    constexpr std::size_t bytes = 32 * 1024;
    std::size_t read = 0, taken = 0, peak = 0;
    w.net.start(w.server, [&](shard& s) -> task<> {
      auto listener = s.listen({w.server.address(), 7});
      auto peer = co_await listener.accept();
      co_await weir::sleep_for(1s);  // then everything is there
      weir::channel<char> between(bytes);
      auto reads = [&]() -> task<> {
        std::array<std::byte, 1> one;
        while (read < bytes) {
          read += co_await peer->read_some(one);
          CHECK(between.try_send('x'));
          peak = std::max(peak, between.size());
        }
        between.close();
      };
      auto takes = [&]() -> task<> {
        for (;;) {
          const auto one = co_await between.receive();
          if (!one) break;
          ++taken;
        }
      };
      if (reader_first)
        co_await weir::when_all(reads(), takes());
      else
        co_await weir::when_all(takes(), reads());
    });
    w.net.start(w.client, [&](shard& s) -> task<> {
      auto peer = co_await s.connect({w.server.address(), 7});
      const std::vector<std::byte> much(bytes);
      co_await peer.write_all(much);
      co_await weir::sleep_for(2s);
    });
    w.net.run();
    CHECK(taken == bytes);
    CHECK(peak <= 2 * 256);
  }
}

TEST_CASE("a_udp_sockets_queue_is_shown_full_and_what_found_it_so") {
  two_hosts w;
  weir::event read, leave;
  w.net.start(w.server, [&](shard& s) -> task<> {
    auto socket = s.bind_udp({w.server.address(), 7}, {.receive_buffer = 16384});
    co_await read.wait();
    std::array<std::byte, 2048> buffer;
    while (!leave.is_set()) (void)co_await socket.receive_from(buffer).timeout(1s).nothrow();
  });
  w.net.start(w.client, [&](shard& s) -> task<> {
    auto socket = s.connect_udp({w.server.address(), 7});
    const std::array<std::byte, 1000> bytes{};
    for (int i = 0; i < 40; ++i) co_await socket.send(bytes);
    co_await leave.wait();
  });
  w.net.run_for(1s);
  auto shown = w.look();
  CHECK(shown.udp_sockets_total == 1);
  REQUIRE(shown.udp_sockets.size() == 1);
  auto u = shown.udp_sockets[0];
  CHECK(u.local == weir::endpoint(w.server.address(), 7));
  CHECK_FALSE(u.remote);
  CHECK(u.receive_limit == 16384u);
  CHECK(*u.receive_queued <= 16384u);
  CHECK(*u.receive_queued > 14'000u);
  CHECK(*u.datagrams_queued + *u.dropped == 40);
  CHECK(u.datagrams_queued == u.received);
  CHECK(*u.dropped > 20);
  CHECK(u.datagrams_limit == 1024u);
  CHECK(u.read_waits == 0u);
  const auto other = take_snapshot(w.client.shard(), {});
  REQUIRE(other.udp_sockets.size() == 1);
  CHECK(other.udp_sockets[0].remote == weir::endpoint(w.server.address(), 7));
  CHECK(other.udp_sockets[0].sent == 40u);

  read.set();
  w.net.run_for(500ms);
  u = w.look().udp_sockets[0];
  CHECK(u.receive_queued == 0u);
  CHECK(u.read_waits == 1u);
  const auto none = take_snapshot(w.server.shard(), {.udp_sockets = 0});
  CHECK(none.udp_sockets.empty());
  CHECK(none.udp_sockets_total == 1);
  leave.set();
  w.net.run();
}

namespace {

/// Runs a task on a shard's thread to its end.
template <class Task>
void run_on(shard& where, Task work) {
  std::latch done(1);
  where.post([&] {
    where.start(work(), [&](const std::exception_ptr& failure) {
      CHECK(failure == nullptr);
      done.count_down();
    });
  });
  done.wait();
}

weir::config on_kernel_sockets() {
  weir::config out;
  out.backend = "auto";
  return out;
}

}  // namespace

TEST_CASE("shards_are_asked_once_for_all_who_ask_at_a_time") {
  weir::shard_thread home(on_kernel_sockets(), 9);
  weir::shard_thread first(on_kernel_sockets(), 0), second(on_kernel_sockets(), 1);
  std::optional<collector> asking;
  run_on(home.shard(), [&]() -> task<> {
    asking.emplace(home.shard(), std::vector<shard*>{&first.shard(), &second.shard()});
    std::shared_ptr<const process_snapshot> one, two, three;
    auto into = [&](std::shared_ptr<const process_snapshot>& out) -> task<> {
      out = co_await asking->collect(0);
    };
    co_await weir::when_all(into(one), into(two));
    CHECK(one->shards.size() == 2);
    CHECK(one->shards[1].shard == 1);
    CHECK(one->silent.empty());
    CHECK(one == two);
    CHECK(asking->asked() == 2);
    co_await weir::sleep_for(collector::fresh);
    co_await into(three);
    CHECK(three != one);
    CHECK(asking->asked() == 4);
    asking.reset();
  });
}

TEST_CASE("kernel_udp_sockets_and_listeners_show_what_the_kernel_tells_of_them") {
  for (const std::string backend : {"uring", "asio"}) {
    weir::config settings;
    settings.backend = backend;
    settings.listen.defer_accept_ms = 1500;
    settings.listen.sharing = weir::sharing::sharded;
    if (auto probed = weir::probe_backend(backend, settings); !probed.usable) continue;
    CAPTURE(backend);
    weir::shard_thread other(settings, 0);
    run_on(other.shard(), [&]() -> task<> {
      auto& mine = other.shard();
      auto listener = mine.listen({"127.0.0.1", 0});
      auto socket = mine.bind_udp({"127.0.0.1", 0});
      auto sender = mine.connect_udp(socket.local_endpoint());
      co_await sender.send("12345");
      const auto shown = take_snapshot(mine, {});
      REQUIRE(shown.listeners.size() == 1);
      CHECK(*shown.listeners[0].defer_accept >= 2'000'000'000u);  // whole seconds, at least
      CHECK(shown.listeners[0].sharing == "sharded");
      CHECK(shown.listeners[0].policy == "hash");
      CHECK(shown.listeners[0].members == 1u);
      CHECK_FALSE(shown.listeners[0].owner_key.has_value());  // it knows none
      CHECK(shown.udp_sockets_total == 2);
      REQUIRE(shown.udp_sockets.size() == 2);
      const bool first = shown.udp_sockets[0].local == socket.local_endpoint();
      const auto& receiver = shown.udp_sockets[first ? 0 : 1];
      const auto& connected = shown.udp_sockets[first ? 1 : 0];
      CHECK(*receiver.receive_queued > 0);
      CHECK(*receiver.receive_limit > *receiver.receive_queued);
      CHECK(receiver.dropped == 0u);
      CHECK_FALSE(receiver.datagrams_queued.has_value());
      CHECK_FALSE(receiver.remote);
      CHECK(connected.remote == socket.local_endpoint());
    });
  }
}

TEST_CASE("payload_that_kernel_sockets_took_and_brought_is_counted") {
  for (const std::string backend : {"uring", "asio"}) {
    weir::config settings;
    settings.backend = backend;
    if (auto probed = weir::probe_backend(backend, settings); !probed.usable) continue;
    CAPTURE(backend);
    weir::shard_thread other(settings, 0);
    run_on(other.shard(), [&]() -> task<> {
      auto& mine = other.shard();
      const auto count = [&](std::string_view name) {
        std::uint64_t out = 0;
        for (const auto& one : take_snapshot(mine, {}).counts)
          if (one.group == "transport" && one.name == name) out += one.value;
        return out;
      };
      auto listener = mine.listen({"127.0.0.1", 0});
      auto client = co_await weir::connect(listener.local_endpoint());
      auto server = co_await listener.accept();
      REQUIRE(server.has_value());
      const std::vector<std::byte> small(7), large(300'000);
      const std::span<const std::byte> parts[] = {small, large, small};
      std::vector<std::byte> into(large.size() + 3 * small.size());
      co_await client.write_all(small);
      weir::scope writing(mine);
      writing.spawn([](auto& to, auto these) -> task<> {
        co_await to.write_all(these);
      }(client, std::span<const std::span<const std::byte>>(parts)));
      co_await server->read_exactly(into);
      co_await writing.join();
      CHECK(count("bytes_sent") == into.size());
      CHECK(count("bytes_received") == into.size());
      co_await server->write_all(small);
      co_await client.read_exactly(std::span(into).first(small.size()));
      CHECK(count("bytes_sent") == into.size() + small.size());
      CHECK(count("bytes_received") == into.size() + small.size());
    });
  }
}

TEST_CASE("connections_that_the_ring_took_before_anybody_asked_for_them_are_shown") {
  weir::config settings;
  settings.backend = "uring";
  if (auto probed = weir::probe_backend("uring", settings); !probed.usable) {
    std::printf("SKIPPED: %s\n", probed.reason.c_str());
    return;
  }
  weir::shard_thread other(settings, 0);
  run_on(other.shard(), [&]() -> task<> {
    auto& mine = other.shard();
    auto listener = mine.listen({"127.0.0.1", 0});
    std::vector<weir::tcp_stream> ends;
    ends.push_back(co_await mine.connect(listener.local_endpoint()));
    auto first = co_await listener.accept();  // the ring goes on accepting
    REQUIRE(first);
    for (int i = 0; i < 2; ++i) ends.push_back(co_await mine.connect(listener.local_endpoint()));
    auto shown = take_snapshot(mine, {});
    for (int i = 0; i < 1000 && shown.listeners.at(0).accepted_ahead != 2u; ++i) {
      co_await weir::sleep_for(1ms);
      shown = take_snapshot(mine, {});
    }
    CHECK(shown.listeners[0].accepted_ahead == 2u);
    CHECK(*shown.listeners[0].accepted_ahead_limit > 2u);
    auto second = co_await listener.accept();
    shown = take_snapshot(mine, {});
    CHECK(shown.listeners[0].accepted_ahead == 1u);
  });
}

TEST_CASE("a_shard_that_hangs_is_left_out_and_is_asked_but_once") {
  weir::shard_thread home(on_kernel_sockets(), 9);
  weir::shard_thread good(on_kernel_sockets(), 0), bad(on_kernel_sockets(), 1);
  std::latch go_on(1);
  bad.shard().post([&] { go_on.wait(); });
  std::optional<collector> asking;
  run_on(home.shard(), [&]() -> task<> {
    asking.emplace(home.shard(), std::vector<shard*>{&good.shard(), &bad.shard()});
    for (int i = 0; i < 2; ++i) {
      auto got = co_await asking->collect(0);
      CHECK(got->shards.size() == 1);
      CHECK(got->silent == std::vector<unsigned>{1});
      co_await weir::sleep_for(collector::fresh);
    }
    CHECK(asking->asked() == 3);
    go_on.count_down();
    auto got = co_await asking->collect(0);
    CHECK(got->shards.size() + got->silent.size() == 2);
  });
  // It goes with a question under way, or without.
  run_on(home.shard(), [&]() -> task<> {
    asking.reset();
    co_return;
  });
}

namespace {

std::latch* snapshot_begun = nullptr;
std::latch* snapshot_may_end = nullptr;

shard_snapshot take_a_slow_snapshot(shard& of, const snapshot_bounds& bounds) {
  snapshot_begun->count_down();
  snapshot_may_end->wait();
  return take_snapshot(of, bounds);
}

}  // namespace

TEST_CASE("an_answer_is_dropped_whose_asking_shard_went_while_it_was_made") {
  std::latch begun(1), may_end(1);
  snapshot_begun = &begun;
  snapshot_may_end = &may_end;
  weir::shard_thread target(on_kernel_sockets(), 0);
  {
    weir::shard_thread home(on_kernel_sockets(), 9);
    auto ask = [&]() -> task<> {
      collector asking(home.shard(), {&target.shard()}, &take_a_slow_snapshot);
      auto never = co_await asking.collect(0);
      CHECK(never == nullptr);
    };
    home.shard().post([&] { home.shard().start(ask(), [](const std::exception_ptr&) {}); });
    begun.wait();
  }
  may_end.count_down();
  run_on(target.shard(), []() -> task<> { co_return; });  // it has answered, and runs on
}
