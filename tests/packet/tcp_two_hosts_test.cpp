// Two hosts talk through a wire in memory: opening, transfer, closing, loss. Behaviour that can be
// seen on the wire segment by segment is in the packet scripts beside this file.
#include <doctest/doctest.h>

#include "packet/two_hosts.hpp"

using namespace weir;
using namespace weir::test;

namespace {

struct pair_of_sockets {
  socket_id client, server, listener;
};

pair_of_sockets open(two_hosts& net, const tcp_options& options = {},
                     const listen_options& listening = {}) {
  const auto listener = *net.b().listen(at("10.0.0.2", 80), listening);
  const auto client = *net.a().connect(net.now(), at("10.0.0.2", 80), {}, options);
  socket_id server = socket_id::none;
  CHECK(net.run_until([&] {
    auto got = net.b().accept(listener);
    if (got) server = *got;
    return server != socket_id::none;
  }));
  return {client, server, listener};
}

/// Sends `total` patterned bytes from a to b; returns how many arrived in order and unharmed before
/// `limit`.
std::uint64_t transfer(two_hosts& net, const pair_of_sockets& s, std::uint64_t total,
                       duration limit) {
  std::vector<std::byte> chunk(64 * 1024);
  std::uint64_t sent = 0, received = 0, filled_for = UINT64_MAX;
  bool intact = true, finished = false;
  const auto pattern = [](std::uint64_t i) {
    return static_cast<std::byte>((i * 2654435761u) >> 13);
  };
  net.application = [&] {
    while (sent < total) {
      const auto n = std::min<std::uint64_t>(chunk.size(), total - sent);
      // A full send queue is asked at every step: the same bytes are not made again for it.
      if (filled_for != sent)
        for (std::uint64_t i = 0; i < n; ++i) chunk[i] = pattern(sent + i);
      filled_for = sent;
      const std::span<const std::byte> parts[] = {std::span<const std::byte>(chunk).first(n)};
      auto done = net.a().send(net.now(), s.client, parts);
      if (!done) break;
      sent += *done;
      if (sent == total) (void)net.a().shutdown_send(net.now(), s.client);
    }
    for (auto head = net.b().peek(s.server); !head.empty(); head = net.b().peek(s.server)) {
      for (auto byte : head) intact = intact && byte == pattern(received++);
      net.b().consume(net.now(), s.server, head.size());
    }
    finished = net.b().at_end(s.server);
  };
  net.run_until([&] { return finished; }, limit);
  net.application = nullptr;
  CHECK(intact);
  CHECK(finished);
  return received;
}

}  // namespace

TEST_CASE("tcp_two_hosts_connect_accept_talk_and_close") {
  two_hosts net;
  auto s = open(net);
  CHECK(net.a().info(s.client)->state == tcp_state::established);
  CHECK(send_text(net.a(), net.now(), s.client, "hello").value() == 5);
  net.run_for(100ms);
  CHECK(receive_text(net.b(), net.now(), s.server) == "hello");
  CHECK(send_text(net.b(), net.now(), s.server, "world").value() == 5);
  net.run_for(100ms);
  CHECK(receive_text(net.a(), net.now(), s.client) == "world");
  net.a().close(net.now(), s.client);
  net.run_for(100ms);
  CHECK(net.b().at_end(s.server));
  net.b().close(net.now(), s.server);
  net.run_for(100ms);
  CHECK(net.a().counters()[counter::time_wait_entered] == 1);
  net.run_for(61s);
  CHECK(net.a().memory_in_use() == 0);
  CHECK(net.b().memory_in_use() == 0);
}

TEST_CASE("tcp_echo_costs_one_packet_each_way") {
  two_hosts net;
  auto s = open(net);
  net.run_for(1s);
  net.application = [&] {
    const auto text = receive_text(net.b(), net.now(), s.server);
    if (!text.empty()) CHECK(send_text(net.b(), net.now(), s.server, text).value() == text.size());
  };
  const auto before = net.packets();
  for (int i = 0; i < 10; ++i) {
    CHECK(send_text(net.a(), net.now(), s.client, "ping").value() == 4);
    CHECK(net.run_until([&] { return !receive_text(net.a(), net.now(), s.client).empty(); }, 1s));
  }
  // Ten requests, ten replies; the first round may still be acknowledged at once, the last reply by
  // timer.
  CHECK(net.packets() - before <= 22);
}

TEST_CASE("tcp_bulk_10_mib_without_loss") {
  two_hosts net;
  auto s = open(net);
  CHECK(transfer(net, s, 10u << 20, 60s) == 10u << 20);
  CHECK(net.a().info(s.client)->retransmissions == 0);
}

TEST_CASE("tcp_bulk_10_mib_under_5_percent_loss_reno") {
  host_options reno;
  reno.tcp.sack = false;
  reno.tcp.congestion = congestion_algorithm::reno;
  two_hosts net({.loss = 0.05}, reno, reno, 7);
  auto s = open(net, reno.tcp);
  CHECK(transfer(net, s, 10u << 20, 3600s) == 10u << 20);
}

TEST_CASE("tcp_bulk_10_mib_under_5_percent_loss_sack_cubic") {
  two_hosts net({.loss = 0.05}, {}, {}, 8);
  auto s = open(net);
  CHECK(transfer(net, s, 10u << 20, 3600s) == 10u << 20);
}

TEST_CASE("tcp_bulk_survives_loss_reordering_and_duplication") {
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    CAPTURE(seed);
    two_hosts net({.loss = 0.02, .duplicate = 0.02, .reorder = 0.05}, {}, {}, seed);
    auto s = open(net);
    CHECK(transfer(net, s, 1u << 20, 3600s) == 1u << 20);
    net.a().close(net.now(), s.client);
    net.b().close(net.now(), s.server);
    net.run_for(300s);
    CHECK(net.a().memory_in_use() == 0);
    CHECK(net.b().memory_in_use() == 0);
  }
}

namespace {

/// Mbit/s that one flow from a to b gets through in ten seconds of a link of 100 Mbit/s and 20 ms.
double goodput(const wire_faults& faults, const host_options& options = {},
               std::uint64_t seed = 1) {
  auto f = faults;
  f.delay = 10ms;
  f.bits_per_second = 100e6;
  two_hosts net(f, options, options, seed);
  auto s = open(net, options.tcp);
  const std::vector<std::byte> chunk(64 * 1024);
  std::uint64_t got = 0;
  net.application = [&] {
    const std::span<const std::byte> parts[] = {chunk};
    while (net.a().send(net.now(), s.client, parts)) {
    }
    for (auto head = net.b().peek(s.server); !head.empty(); head = net.b().peek(s.server)) {
      got += head.size();
      net.b().consume(net.now(), s.server, head.size());
    }
  };
  net.run_for(10s);
  CHECK(net.a().info(s.client)->timeouts == 0);
  return static_cast<double>(got) * 8 / 10 / 1e6;
}

}  // namespace

TEST_CASE("tcp_goodput_fills_a_link_without_loss") { CHECK(goodput({}) > 93); }

TEST_CASE("tcp_goodput_under_reordering_costs_under_ten_percent") {
  CHECK(goodput({.reorder = 0.01, .reorder_by = 5ms}) > 0.9 * goodput({}));
}

TEST_CASE("tcp_goodput_under_random_loss_is_what_cubic_allows") {
  CHECK(goodput({.loss = 0.001}) > 20);
  CHECK(goodput({.loss = 0.01}) > 6);
}
