// A simulated host with several interfaces, a stack on each: networks by name, in virtual time.
#include <doctest/doctest.h>

#include <string>

#include "runtime/observe/take_snapshot.hpp"
#include "support/networks.hpp"
#include "weir/sim.hpp"

using namespace std::chrono_literals;
using namespace networks_test;
using weir::endpoint;
using weir::shard;
using weir::task;

namespace {

endpoint at(const char* text) { return *endpoint::parse(text); }

/// left - gate - right: the gate has an interface to each, and a first one that nobody is at.
struct world {
  explicit world(const weir::sim::network_options& options = {},
                 const weir::sim::link_options& how = {})
      : net(options),
        left(net.add_host("10.7.0.1/24")),
        gate(net.add_host("10.6.0.1/24", {.name = "gate"})),
        right(net.add_host("10.8.0.1/24")),
        lan(net.add_network(gate, "lan", "10.7.0.2/24")),
        wan(net.add_network(gate, "wan", "10.8.0.2/24")) {
    net.link(left, lan, how);
    net.link(wan, right, how);
  }

  weir::sim::network net;
  weir::sim::host& left;
  weir::sim::host& gate;
  weir::sim::host& right;
  weir::sim::interface& lan;
  weir::sim::interface& wan;
};

task<> serve_everywhere(shard& here) {
  weir::scope all(here);
  for (const auto* network : {"lan", "wan"}) {
    const auto where = at(std::string_view(network) == "lan" ? "10.7.0.2:7" : "10.8.0.2:7");
    all.spawn(serve_echo(here.listen(where, {.network = network})));
    all.spawn(serve_echo(here.bind_udp(where, {.network = network})));
  }
  all.spawn(
      serve_relay(here.listen(at("10.7.0.2:9"), {.network = "lan"}), at("10.8.0.1:7"), "wan"));
  co_await all.join();
}

task<> serve_at(shard& here, endpoint where) {
  weir::scope all(here);
  all.spawn(serve_echo(here.listen(where)));
  all.spawn(serve_echo(here.bind_udp(where)));
  co_await all.join();
}

}  // namespace

TEST_CASE("networks_of_a_simulated_host_are_separate_and_joined_by_a_relay") {
  world w({.seed = 5}, {.delay = 5ms, .loss = 0.02});
  w.net.serve(w.gate, serve_everywhere);
  w.net.serve(w.right, [](shard& s) { return serve_at(s, at("10.8.0.1:7")); });
  w.net.start(w.left, [](shard&) -> task<> {
    co_await talk_tcp(at("10.7.0.2:7"), "", 100'000);
    co_await talk_tcp(at("10.7.0.2:9"), "", 200'000);  // and on, through the gate
  });
  w.net.start(w.right, [](shard&) -> task<> { co_await talk_tcp(at("10.8.0.2:7"), "", 50'000); });
  w.net.start(w.gate, [](shard&) -> task<> { co_await talk_tcp(at("10.8.0.1:7"), "wan", 30'000); });
  w.net.run();
  using stack_counter = weir::stack::counter;
  CHECK(w.lan.stack().counters()[stack_counter::passive_opens] == 2);
  CHECK(w.wan.stack().counters()[stack_counter::passive_opens] == 1);
  CHECK(w.gate.stack().counters()[stack_counter::passive_opens] == 0);
}

TEST_CASE("networks_of_a_simulated_host_carry_datagrams_by_name") {
  world w;
  w.net.serve(w.gate, serve_everywhere);
  w.net.serve(w.right, [](shard& s) { return serve_at(s, at("10.8.0.1:7")); });
  w.net.start(w.left, [](shard&) -> task<> { co_await talk_udp(at("10.7.0.2:7"), ""); });
  w.net.start(w.gate, [](shard&) -> task<> { co_await talk_udp(at("10.8.0.1:7"), "wan"); });
  w.net.run();
}

TEST_CASE("networks_of_a_simulated_host_do_not_reach_each_others_neighbours") {
  world w;
  w.net.serve(w.right, [](shard& s) { return serve_at(s, at("10.8.0.1:7")); });
  auto& outcome = w.net.keep(std::error_code());
  w.net.start(w.gate, [&](shard&) -> task<> {
    auto peer = co_await weir::connect(at("10.8.0.1:7"), {.network = "lan"}).timeout(5s).nothrow();
    outcome = peer ? std::error_code() : peer.error();
  });
  w.net.run();
  CHECK(outcome);
}

TEST_CASE("networks_are_shown_with_their_sockets") {
  world w;
  weir::detail::shard_snapshot& shown = w.net.keep(weir::detail::shard_snapshot());
  w.net.serve(w.gate, serve_everywhere);
  w.net.start(w.left, [](shard&) -> task<> { co_await talk_tcp(at("10.7.0.2:7"), "", 1000); });
  w.net.run_for(1s);
  w.net.start(w.gate, [&](shard& s) -> task<> {
    shown = weir::detail::take_snapshot(s, {.connections = 100});
    co_return;
  });
  w.net.run();
  REQUIRE(shown.listeners.size() == 3);
  for (const auto& one : shown.listeners)
    CHECK(one.network == (one.local.to_string().starts_with("10.7.") ? "lan" : "wan"));
  REQUIRE(shown.networks.size() == 2);
  CHECK(shown.networks[0].name == "lan");
  CHECK(shown.networks[0].kind == "sim");
  REQUIRE(shown.networks[0].stack);
  CHECK((*shown.networks[0].stack)[weir::stack::counter::passive_opens] == 1);
  REQUIRE(shown.stack);
  CHECK((*shown.stack)[weir::stack::counter::passive_opens] == 0);
}

TEST_CASE("a_network_that_is_not_there_is_an_error_that_names_those_that_are") {
  world w;
  std::string& said = w.net.keep(std::string());
  w.net.start(w.gate, [&](shard& s) -> task<> {
    const auto tried = s.try_listen(at("10.7.0.2:7"), {.network = "lam"});
    CHECK(tried.error() == std::errc::operation_not_supported);
    try {
      auto peer = co_await weir::connect(at("10.7.0.1:7"), {.network = "lam"});
    } catch (const weir::io_error& error) {
      said = error.what();
    }
  });
  w.net.run();
  CHECK(said.find("there is no network 'lam'; there are sim, lan, wan") != std::string::npos);
}

TEST_CASE("a_network_called_kernel_stands_for_the_machines_sockets") {
  weir::sim::network net;
  auto& gate = net.add_host("10.7.0.2/24");
  auto& outside = net.add_host("10.8.0.1/24");
  auto& kernel = net.add_network(gate, "kernel", "10.8.0.2/24");
  net.link(kernel, outside);
  net.serve(outside, [](shard& s) { return serve_at(s, at("10.8.0.1:7")); });
  net.start(gate, [](shard&) -> task<> { co_await talk_tcp(at("10.8.0.1:7"), "kernel", 1000); });
  net.run();
  CHECK(&gate.interface("kernel") == &kernel);
  CHECK_THROWS_AS(net.add_network(gate, "kernel", "10.9.0.2/24"), std::invalid_argument);
  CHECK_THROWS_AS(net.add_network(gate, "lan", "10.9.0.2/x"), std::invalid_argument);
}

TEST_CASE("several_networks_run_the_same_from_the_same_seed") {
  const auto trace = [](std::uint64_t seed) {
    world w({.seed = seed}, {.delay = 3ms, .jitter = 1ms, .loss = 0.05});
    w.net.serve(w.gate, serve_everywhere);
    w.net.serve(w.right, [](shard& s) { return serve_at(s, at("10.8.0.1:7")); });
    w.net.start(w.left, [](shard&) -> task<> { co_await talk_tcp(at("10.7.0.2:9"), "", 50'000); });
    w.net.run();
    return w.net.trace();
  };
  CHECK(trace(3) == trace(3));
  CHECK(trace(3) != trace(4));
}
