// The seeded suite: many connections over links that lose, reorder, duplicate, corrupt, jitter,
// throttle and cut, one world per seed. Every byte must arrive once and in order, every connection
// must end, and nothing may be left over.
#include <doctest/doctest.h>

#include <string>

#include "sim/impaired.hpp"
#include "sim/seeds.hpp"
#include "sim/servers.hpp"

using namespace std::chrono_literals;
using namespace sim_test;
using weir::endpoint;
using weir::shard;
using weir::task;

namespace {

struct world_plan {
  weir::sim::link_options there, back;
  std::vector<std::uint64_t> sizes;  // of each connection's exchange
  bool partitions = false;
  bool v6 = false;
};

world_plan draw(std::uint64_t seed) {
  auto dice = weir::sim::random_source::derived(seed, 0x706c616eull);
  world_plan plan;
  plan.there = draw_link(dice);
  plan.back = draw_link(dice);
  auto connections = 1 + dice.below(12);
  for (std::uint64_t i = 0; i < connections; ++i)
    plan.sizes.push_back(dice.chance(0.3) ? dice.below(400'000) : dice.below(5'000));
  plan.partitions = dice.chance(0.3);
  plan.v6 = dice.chance(0.3);
  return plan;
}

task<> cut_and_heal(weir::sim::link& link, std::uint64_t seed) {
  auto dice = weir::sim::random_source::derived(seed, 0x637574ull);
  for (int i = 0; i < 5; ++i) {
    co_await weir::sleep_for(dice.up_to(3s));
    link.set_down(true);
    co_await weir::sleep_for(dice.up_to(5s));
    link.set_down(false);
  }
}

std::string run_world(std::uint64_t seed, std::uint64_t* trace = nullptr) {
  auto plan = draw(seed);
  const char* pcap = std::getenv("WEIR_SIM_PCAP");
  weir::sim::network net({.seed = seed, .pcap = pcap == nullptr ? "" : pcap});
  auto& server = net.add_host("10.0.0.1/24", {.more_addresses = {"fd00::1/64"}});
  auto& client = net.add_host("10.0.0.2/24", {.more_addresses = {"fd00::2/64"}});
  auto& link = net.link(server, client);
  link.set_options(0, plan.back);
  link.set_options(1, plan.there);
  endpoint where(plan.v6 ? *weir::ip_address::parse("fd00::1") : server.address(), 7);

  net.start(server, [&](shard& s) { return serve_echo(s, where); });
  std::size_t left = plan.sizes.size();
  for (std::size_t i = 0; i < plan.sizes.size(); ++i) {
    net.start(client, [&, i](shard& s) -> task<> {
      co_await weir::sleep_for(std::chrono::milliseconds(i * 3));
      co_await exchange(s, where, seed * 1000 + i, plan.sizes[i]);
      if (--left == 0) server.shard().request_stop();
    });
  }
  if (plan.partitions) net.start(client, [&](shard&) { return cut_and_heal(link, seed); });
  net.run(6h);
  // What is left is the stacks' own: last ACKs, TIME_WAIT.
  if (!net.run_until_idle(6h)) return "the network never comes to rest";
  if (trace != nullptr) *trace = net.trace();
  for (auto* host : {&server, &client})
    if (auto what = left_over(*host); !what.empty()) return what;
  return {};
}

}  // namespace

TEST_CASE("every_byte_arrives_once_and_in_order_whatever_the_links_do") {
  for_each_seed([](std::uint64_t seed) { return run_world(seed); });
}

TEST_CASE("a_seed_replays_exactly") {
  for_each_seed(
      [](std::uint64_t seed) -> std::string {
        std::uint64_t first = 0, second = 1;
        if (auto failure = run_world(seed, &first); !failure.empty()) return failure;
        if (auto failure = run_world(seed, &second); !failure.empty()) return failure;
        return first == second ? "" : "two runs of one seed differ";
      },
      3);
}
