// Very many flows between two stacks in one program, and what each keeps. With WEIR_FULL=1 as many
// as are promised: 100,000.
#include <doctest/doctest.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>

#include "sim/servers.hpp"
#include "support/networks.hpp"

using namespace std::chrono_literals;
using namespace sim_test;
using weir::endpoint;
using weir::shard;
using weir::task;

namespace {

std::size_t resident() {
  std::ifstream file("/proc/self/statm");
  std::size_t size = 0, resident = 0;
  file >> size >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

constexpr unsigned ports = 8;  // of the server: one has 28,000 flows from one client at most

task<> echo_small(weir::tcp_stream peer) {
  for (;;) {
    auto got = co_await peer.receive();
    if (!got) break;
    co_await peer.write_all(got.bytes());
  }
}

task<> serve_small(shard& here, endpoint where) {
  auto listener = here.listen(where, {.backlog = 65535});
  weir::scope sessions(here);
  for (;;) {
    auto peer = co_await listener.accept();
    if (!peer) break;
    sessions.spawn(echo_small(std::move(*peer)));
  }
  sessions.cancel();
  co_await sessions.join();
}

struct flow_counts {
  unsigned open = 0, answered = 0;
};

task<> one_flow(endpoint to, weir::event& all_open, weir::event& over, flow_counts& counts,
                unsigned wanted) {
  auto peer = co_await weir::connect(to);
  if (++counts.open == wanted) all_open.set();
  co_await all_open.wait();
  const auto said = std::to_string(counts.answered);
  co_await peer.write_all(said);
  std::array<std::byte, 16> back;
  auto got = co_await peer.read_exactly(std::span(back).first(said.size()));
  if (got == said.size()) ++counts.answered;
  co_await over.wait();
}

unsigned how_many() {
  const auto* full = std::getenv("WEIR_FULL");
  return full != nullptr && *full == '1' ? 100'000 : 5'000;
}

endpoint one_of(const char* address, unsigned number) {
  return {address, static_cast<std::uint16_t>(7000 + number % ports)};
}

constexpr weir::sim::link_options roomy = {.delay = 1ms, .queue = 64u << 20};

weir::sim::host_options room_for(unsigned flows) {
  weir::sim::host_options how;
  how.limits.connections = flows + 1000;
  how.limits.memory = std::size_t{1} << 30;
  how.settings.listen.syn_backlog = 65536;
  return how;
}

/// Opens so many flows from `client` to the ports of `to`, has each answered while all are open,
/// and gives what memory one took, everything included.
std::size_t open_all(weir::sim::network& net, weir::sim::host& client, const char* to,
                     unsigned flows) {
  auto& all_open = net.keep(std::make_unique<weir::event>());
  auto& over = net.keep(std::make_unique<weir::event>());
  auto& counts = net.keep(flow_counts());
  const auto before = resident();
  net.start(client, [&all_open, &over, &counts, to, flows](shard& s) -> task<> {
    weir::scope all(s);
    for (unsigned i = 0; i < flows; ++i) {
      all.spawn(one_flow(one_of(to, i), *all_open, *over, counts, flows));
      if (i % 256 == 255) co_await weir::sleep_for(1ms);  // backlogs are bounded
    }
    co_await all.join();
  });
  CHECK(net.run_until([&] { return counts.answered == flows; }, 10min));
  net.run_for(5s);
  const auto each = (resident() - before) / flows;
  CHECK(counts.open == flows);
  over->set();
  net.run();
  CHECK(client.stack().counters()[weir::stack::counter::active_opens] == flows);
  return each;
}

}  // namespace

TEST_CASE("very_many_flows_between_two_stacks_are_open_at_once") {
  const auto flows = how_many();
  weir::sim::network net({.seed = 9});
  auto& server = net.add_host("10.0.0.1/24", room_for(flows));
  auto& client = net.add_host("10.0.0.2/24", room_for(flows));
  net.link(server, client, roomy);
  for (unsigned p = 0; p < ports; ++p)
    net.serve(server, [p](shard& s) { return serve_small(s, one_of("10.0.0.1", p)); });
  const auto each = open_all(net, client, "10.0.0.1", flows);
  std::printf("%u flows, both ends and their coroutines: %zu bytes each\n", flows, each);
}

TEST_CASE("very_many_relays_between_two_stacks_of_one_shard_are_open_at_once") {
  const auto flows = how_many();
  weir::sim::network net({.seed = 10});
  auto& server = net.add_host("10.8.0.1/24", room_for(flows));
  auto& client = net.add_host("10.7.0.1/24", room_for(flows));
  auto& gate = net.add_host("10.6.0.1/24");
  auto& lan = net.add_network(gate, "lan", "10.7.0.2/24", room_for(flows));
  auto& wan = net.add_network(gate, "wan", "10.8.0.2/24", room_for(flows));
  net.link(client, lan, roomy);
  net.link(wan, server, roomy);
  for (unsigned p = 0; p < ports; ++p) {
    net.serve(server, [p](shard& s) { return serve_small(s, one_of("10.8.0.1", p)); });
    net.serve(gate, [p](shard& s) {
      return networks_test::serve_relay(
          s.listen(one_of("10.7.0.2", p), {.backlog = 65535, .network = "lan"}),
          one_of("10.8.0.1", p), "wan");
    });
  }
  const auto each = open_all(net, client, "10.7.0.2", flows);
  std::printf("%u relays, their four ends and all coroutines: %zu bytes each\n", flows, each);
  CHECK(wan.stack().counters()[weir::stack::counter::active_opens] == flows);
}
