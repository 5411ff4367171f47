// A gateway in the simulator: a guest whose packets to anywhere come to it, and servers behind it.
// The request API, relays over bad links on both sides, UDP flows.
#include <doctest/doctest.h>

#include <string>

#include "sim/seeds.hpp"
#include "sim/servers.hpp"
#include "weir/relay.hpp"
#include "weir/request.hpp"
#include "weir/udp.hpp"

using namespace std::chrono_literals;
using namespace sim_test;
using weir::any_destination;
using weir::endpoint;
using weir::shard;
using weir::task;

namespace {

/// guest - gate - server; the guest has no other way.
struct gateway_world {
  explicit gateway_world(const weir::sim::network_options& options = {},
                         const weir::sim::link_options& inside = {},
                         const weir::sim::link_options& outside = {},
                         const weir::sim::host_options& how = {.more_addresses = {"10.0.2.1/24"}})
      : net(options),
        guest(net.add_host("10.0.1.2/24")),
        gate(net.add_host("10.0.1.1/24", how)),
        server(net.add_host("10.0.2.2/24")),
        in(net.link(guest, gate, inside)),
        out(net.link(gate, server, outside)) {
    net.send_others_by(guest, in);
    net.send_others_by(server, out);
  }
  endpoint at(std::uint16_t port) const { return {server.address(), port}; }

  weir::sim::network net;
  weir::sim::host& guest;
  weir::sim::host& gate;
  weir::sim::host& server;
  weir::sim::link& in;
  weir::sim::link& out;
};

task<> carry(weir::connection_request asked, weir::relay_result* result) {
  auto outside = co_await weir::connect(asked.destination()).timeout(100s).nothrow();
  if (!outside) co_return asked.refuse(outside.error());
  auto inside = co_await asked.accept().nothrow();
  if (!inside) co_return;
  auto done = co_await weir::relay(std::move(*inside), std::move(*outside));
  if (result != nullptr) *result = done;
}

task<> serve_gate(shard& here, weir::relay_result* result = nullptr) {
  auto listener = here.listen_any(any_destination::v4(), {.ask = true});
  weir::scope flows(here);
  for (;;) {
    auto asked = co_await listener.accept_request();
    if (!asked) break;
    flows.spawn(carry(std::move(*asked), result));
  }
  co_await flows.drain(10min);
}

/// What a connect() of the guest's ends with.
struct outcome {
  std::error_code ec;
  weir::duration after{};
};
outcome connect_to(gateway_world& world, const endpoint& to,
                   weir::duration limit = weir::no_limit) {
  auto& out = world.net.keep(outcome());
  world.net.start(world.guest, [&world, to, limit, &out](shard& s) -> task<> {
    const auto begun = s.now();
    auto peer = co_await s.connect(to).timeout(limit).nothrow();
    if (!peer) out.ec = peer.error();
    out.after = s.now() - begun;
    world.gate.shard().request_stop();
  });
  world.net.run();
  return out;
}

}  // namespace

TEST_CASE("gateway_accepts_only_once_the_other_side_is_connected") {
  gateway_world world({}, {.delay = 10ms}, {.delay = 200ms});
  weir::relay_result& carried = world.net.keep(weir::relay_result());
  world.net.start(world.gate, [&](shard& s) { return serve_gate(s, &carried); });
  world.net.start(world.server, [&](shard& s) { return serve_echo(s, world.at(7)); });
  weir::duration connected{};
  world.net.start(world.guest, [&](shard& s) -> task<> {
    const auto begun = s.now();
    auto peer = co_await s.connect(world.at(7));
    connected = s.now() - begun;
    CHECK(peer.remote_endpoint() == world.at(7));
    co_await peer.write_all("hello");
    std::array<std::byte, 5> back;
    co_await peer.read_exactly(back);
    peer.shutdown_send();
    const auto end = co_await peer.read_some(back);
    CHECK(end == 0);
    world.gate.shard().request_stop();
    world.server.shard().request_stop();
  });
  world.net.run();
  CHECK(connected == 420ms);  // the gate's handshake within the guest's
  CHECK(carried.a_to_b == 5);
  CHECK(carried.b_to_a == 5);
  CHECK_FALSE(carried.ec);
}

TEST_CASE("gateway_tells_the_guest_the_truth") {
  {
    gateway_world world;
    world.net.start(world.gate, [](shard& s) { return serve_gate(s); });
    CHECK(connect_to(world, world.at(9)).ec == std::errc::connection_refused);
  }
  for (const auto why : {std::errc::network_unreachable, std::errc::host_unreachable,
                         std::errc::permission_denied, std::errc::connection_refused}) {
    gateway_world world;
    world.net.start(world.gate, [why](shard& s) -> task<> {
      auto listener = s.listen_any(any_destination::v4(), {.ask = true});
      for (;;) {
        auto asked = co_await listener.accept_request();
        if (!asked) break;
        CHECK(asked->source().address == weir::ip_address::v4(0x0a000102));
        CHECK(asked->destination() == endpoint("10.0.2.2", 9));
        asked->refuse(std::make_error_code(why));
        CHECK_FALSE(*asked);
      }
    });
    const auto got = connect_to(world, world.at(9), 3s);
    // To weir's own stack an unreachable network is no reason to give up (RFC 9293 MUST-56).
    const bool reset = why == std::errc::connection_refused;
    const bool prohibited = why == std::errc::permission_denied;
    CHECK(got.ec == (reset        ? why
                     : prohibited ? std::errc::host_unreachable
                                  : std::errc::timed_out));
    using weir::stack::counter;
    CHECK((world.guest.stack().counters()[counter::icmp_errors_received] == 0) == reset);
  }
}

TEST_CASE("gateway_is_silent_about_what_it_drops") {
  gateway_world world;
  world.net.start(world.gate, [](shard& s) -> task<> {
    auto listener = s.listen_any(any_destination::v4(), {.ask = true});
    for (;;) {
      auto asked = co_await listener.accept_request();
      if (!asked) break;
      asked->drop();
    }
  });
  CHECK(connect_to(world, world.at(9), 20s).ec == std::errc::timed_out);
}

TEST_CASE("a_request_that_is_dropped_or_not_answered_in_time_is_refused") {
  for (const bool kept : {false, true}) {
    gateway_world world;
    world.net.start(world.gate, [kept](shard& s) -> task<> {
      auto listener = s.listen_any(any_destination::v4(), {.ask = true, .answer_within = 5s});
      auto asked = co_await listener.accept_request();
      if (!kept) asked.reset();
      auto none = co_await listener.accept_request();
      CHECK_FALSE(none);
      if (!kept) co_return;
      auto stream = co_await asked->accept().nothrow();
      CHECK(stream.error() == std::errc::connection_aborted);
    });
    const auto got = connect_to(world, world.at(9));
    CHECK(got.ec == std::errc::connection_refused);
    CHECK((got.after >= 5s) == kept);
  }
}

TEST_CASE("an_answer_that_is_cancelled_resets_the_guest") {
  gateway_world world({}, {.delay = 100ms});
  world.net.start(world.gate, [](shard& s) -> task<> {
    auto listener = s.listen_any(any_destination::v4(), {.ask = true});
    auto asked = co_await listener.accept_request();
    auto stream = co_await asked->accept().timeout(50ms).nothrow();
    CHECK(stream.error() == std::errc::timed_out);
    CHECK_FALSE(*asked);
    auto none = co_await listener.accept_request();
    CHECK_FALSE(none);
  });
  world.net.start(world.guest, [&](shard& s) -> task<> {
    auto peer = co_await s.connect(world.at(9));
    std::array<std::byte, 1> buffer;
    auto end = co_await peer.read_some(buffer).nothrow();
    CHECK(end.ec == std::errc::connection_reset);
    world.gate.shard().request_stop();
  });
  world.net.run();
}

TEST_CASE("accept_and_accept_request_are_for_listeners_of_their_kind") {
  gateway_world world;
  world.net.start(world.gate, [](shard& s) -> task<> {
    auto asking = s.listen_any(any_destination::v4(), {.ask = true});
    auto plain = s.listen({"10.0.1.1", 80});
    CHECK(asking.local_endpoint() == endpoint("0.0.0.0", 0));
    auto stream = co_await asking.accept().nothrow();
    CHECK(stream.error() == std::errc::operation_not_supported);
    auto request = co_await plain.accept_request().nothrow();
    CHECK(request.error() == std::errc::operation_not_supported);
    CHECK(s.try_listen_any(any_destination::v4()).error() == std::errc::address_in_use);
  });
  world.net.run();
}

TEST_CASE("requests_beyond_the_bound_wait_for_room_and_are_served_when_they_come_again") {
  gateway_world world;
  weir::scope* holding = nullptr;
  world.net.start(world.gate, [&](shard& s) -> task<> {
    auto listener = s.listen_any(any_destination::v4(), {.syn_backlog = 2, .ask = true});
    std::vector<weir::connection_request> held;
    for (int i = 0; i < 2; ++i) {
      auto asked = co_await listener.accept_request();
      held.push_back(std::move(*asked));
    }
    co_await weir::sleep_for(100ms);
    CHECK(world.gate.stack().counters()[weir::stack::counter::syn_asked_overflow] == 3);
    held.clear();
    for (int i = 0; i < 3; ++i) {
      auto asked = co_await listener.accept_request();
      CHECK(s.now() > weir::instant::from_ns(900'000'000));
      asked->refuse();
    }
  });
  (void)holding;
  for (int i = 0; i < 5; ++i)
    world.net.start(world.guest, [&](shard& s) -> task<> {
      auto peer = co_await s.connect(world.at(9)).nothrow();
      CHECK(peer.error() == std::errc::connection_refused);
    });
  world.net.run();
}

// --- UDP.

namespace {

task<> carry_datagrams(weir::udp_socket from, int& ended) {
  auto outside = (co_await weir::this_shard()).connect_udp(from.local_endpoint());
  std::array<std::byte, 2048> buffer;
  for (;;) {
    auto got = co_await from.receive(buffer).nothrow();
    if (!got) break;
    (void)co_await outside.send(std::span(buffer).first(got.n)).nothrow();
    auto answer = co_await outside.receive(buffer).timeout(1s).nothrow();
    if (answer.ec == std::errc::connection_refused) {
      from.refuse();
      break;
    }
    if (answer) (void)co_await from.send(std::span(buffer).first(answer.n)).nothrow();
  }
  ++ended;
}

task<> serve_udp_gate(shard& s, weir::udp_flow_options how, int& ended) {
  auto listener = s.listen_any_udp(any_destination::v4(), how);
  weir::scope flows(s);
  for (;;) {
    auto flow = co_await listener.accept();
    if (!flow) break;
    flows.spawn(carry_datagrams(std::move(*flow), ended));
  }
  co_await flows.drain(10min);
}

}  // namespace

TEST_CASE("gateway_carries_datagrams_and_a_flow_ends_when_it_is_idle") {
  gateway_world world({}, {.delay = 1ms}, {.delay = 1ms});
  int& ended = world.net.keep(0);
  world.net.start(world.gate, [&](shard& s) { return serve_udp_gate(s, {.idle = 30s}, ended); });
  world.net.start(world.server, [&](shard& s) -> task<> {
    auto socket = s.bind_udp(world.at(53));
    std::array<std::byte, 2048> buffer;
    for (;;) {
      auto got = co_await socket.receive_from(buffer);
      if (!got) break;
      CHECK(got.from.address == weir::ip_address::v4(0x0a000201));  // the gate's own
      co_await socket.send_to(std::span(buffer).first(got.n), got.from);
    }
  });
  world.net.start(world.guest, [&](shard& s) -> task<> {
    std::array<std::byte, 2048> buffer;
    auto socket = s.connect_udp(world.at(53));
    for (std::size_t size : {0u, 1u, 1000u, 2000u}) {
      std::vector<std::byte> bytes(size, std::byte{7});
      co_await socket.send(bytes);
      auto got = co_await socket.receive(buffer).timeout(1s);
      CHECK(got.n == size);
    }
    auto closed = s.connect_udp(world.at(54));
    co_await closed.send("x");
    auto got = co_await closed.receive(buffer).timeout(1s).nothrow();
    CHECK(got.ec == std::errc::connection_refused);
    CHECK(ended == 1);
    co_await weir::sleep_for(31s);
    CHECK(ended == 2);
    world.gate.shard().request_stop();
    world.server.shard().request_stop();
  });
  world.net.run();
}

TEST_CASE("flows_beyond_the_bound_are_dropped_and_counted") {
  gateway_world world;
  int& ended = world.net.keep(0);
  world.net.start(world.gate,
                  [&](shard& s) { return serve_udp_gate(s, {.flows = 10, .idle = 5s}, ended); });
  world.net.start(world.guest, [&](shard& s) -> task<> {
    for (int i = 0; i < 50; ++i) {
      auto socket = s.connect_udp(world.at(53));
      co_await socket.send("x");
    }
    co_await weir::sleep_for(1ms);
    auto& counters = world.gate.stack().counters();
    CHECK(counters[weir::stack::counter::udp_flows_begun] == 10);
    CHECK(counters[weir::stack::counter::drop_udp_flows_full] == 40);
    world.gate.shard().request_stop();
  });
  world.net.run();
  CHECK(ended == 10);
}

// --- Relays over links that lose, reorder, double and corrupt.

namespace {

struct relay_plan {
  weir::sim::link_options in, out;
  std::vector<std::uint64_t> there, back;  // bytes of each connection, either way
};

weir::sim::link_options draw_link(weir::sim::random_source& dice) {
  weir::sim::link_options how;
  how.delay = 50us + dice.up_to(40ms);
  if (dice.chance(0.5)) how.jitter = dice.up_to(20ms);
  if (dice.chance(0.7)) how.loss = static_cast<double>(dice.below(60)) / 1000;
  if (dice.chance(0.5)) how.reorder = static_cast<double>(dice.below(100)) / 1000;
  if (dice.chance(0.5)) how.duplicate = static_cast<double>(dice.below(50)) / 1000;
  if (dice.chance(0.5)) how.corrupt = static_cast<double>(dice.below(30)) / 1000;
  return how;
}

relay_plan draw(std::uint64_t seed) {
  auto dice = weir::sim::random_source::derived(seed, 0x67617465ull);
  relay_plan plan{draw_link(dice), draw_link(dice), {}, {}};
  const auto connections = 1 + dice.below(4);
  for (std::uint64_t i = 0; i < connections; ++i) {
    plan.there.push_back(dice.chance(0.3) ? dice.below(100'000) : dice.below(3'000));
    plan.back.push_back(dice.chance(0.3) ? dice.below(100'000) : dice.below(3'000));
  }
  return plan;
}

/// Its number comes first, so that the server knows what is to come.
task<> one_client(shard& s, endpoint to, std::uint64_t number, std::uint64_t there,
                  std::uint64_t back) {
  auto peer = co_await s.connect(to);
  const std::array<std::byte, 1> name{static_cast<std::byte>(number)};
  co_await peer.write_all(name);
  weir::scope both(s);
  both.spawn(write_pattern(peer, number, there));
  both.spawn(read_pattern(peer, 100 + number, back));
  co_await both.join();
}

task<> one_session(weir::tcp_stream peer, const relay_plan& plan) {
  std::array<std::byte, 1> name;
  co_await peer.read_exactly(name);
  const auto number = std::to_integer<std::size_t>(name[0]);
  weir::scope both(peer.owner());
  both.spawn(write_pattern(peer, 100 + number, plan.back.at(number)));
  both.spawn(read_pattern(peer, number, plan.there.at(number)));
  co_await both.join();
}

task<> serve_sessions(shard& s, endpoint at, const relay_plan& plan) {
  auto listener = s.listen(at);
  weir::scope sessions(s);
  for (std::size_t i = 0; i < plan.there.size(); ++i) {
    auto peer = co_await listener.accept();
    sessions.spawn(one_session(std::move(*peer), plan));
  }
  co_await sessions.join();
}

std::string run_relays(std::uint64_t seed) {
  const char* pcap = std::getenv("WEIR_SIM_PCAP");
  gateway_world world({.seed = seed, .pcap = pcap == nullptr ? "" : pcap}, {}, {});
  auto& plan = world.net.keep(draw(seed));
  world.in.set_options(plan.in);
  world.out.set_options(plan.out);
  weir::relay_result& last = world.net.keep(weir::relay_result());
  world.net.start(world.gate, [&](shard& s) { return serve_gate(s, &last); });
  world.net.start(world.server, [&](shard& s) { return serve_sessions(s, world.at(7), plan); });
  world.net.start(world.guest, [&](shard& s) -> task<> {
    weir::scope clients(s);
    for (std::size_t i = 0; i < plan.there.size(); ++i)
      clients.spawn(one_client(s, world.at(7), i, plan.there[i], plan.back[i]));
    co_await clients.join();
    world.gate.shard().request_stop();
  });
  world.net.run();
  world.net.run_until_idle(2h);
  if (last.ec) return "a relay ended with: " + last.ec.message();
  for (auto* host : {&world.guest, &world.gate, &world.server}) {
    std::size_t left = 0;
    host->stack().for_each_connection([&](const weir::stack::tcp_info&) { ++left; });
    if (left != 0) return host->name() + " still has " + std::to_string(left) + " connections";
    if (host->stack().half_open_entries() != 0) return host->name() + " has half-open entries";
  }
  return {};
}

}  // namespace

TEST_CASE("relays_over_lossy_links_carry_every_byte_once_and_in_order") {
  for_each_seed(run_relays, 100);
}
