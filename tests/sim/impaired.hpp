// What the seeded tests on the runtime share: links that lose, reorder, duplicate, corrupt, jitter
// and throttle, as a seed has it, and what may not be left of a run.
#pragma once

#include <string>

#include "weir/sim.hpp"

namespace sim_test {

inline weir::sim::link_options draw_link(weir::sim::random_source& dice) {
  using namespace std::chrono_literals;
  weir::sim::link_options how;
  how.delay = 50us + dice.up_to(60ms);
  if (dice.chance(0.5)) how.jitter = dice.up_to(20ms);
  if (dice.chance(0.7)) how.loss = static_cast<double>(dice.below(80)) / 1000;
  if (dice.chance(0.5)) how.reorder = static_cast<double>(dice.below(100)) / 1000;
  if (dice.chance(0.5)) how.duplicate = static_cast<double>(dice.below(50)) / 1000;
  if (dice.chance(0.5)) how.corrupt = static_cast<double>(dice.below(30)) / 1000;
  if (dice.chance(0.4))
    how.rate = 100'000 + dice.below(5'000'000),
    how.queue = 16'384 + static_cast<std::uint32_t>(dice.below(200'000));
  if (dice.chance(0.2)) how.mtu = static_cast<std::uint16_t>(1280 + dice.below(220));
  return how;
}

inline std::string left_over(weir::sim::host& host) {
  std::size_t connections = 0;
  host.stack().for_each_connection([&](const weir::stack::tcp_info&) { ++connections; });
  if (connections != 0)
    return host.name() + " still has " + std::to_string(connections) + " connections";
  if (auto bytes = host.stack().memory_in_use(); bytes != 0)
    return host.name() + " still holds " + std::to_string(bytes) + " bytes";
  if (host.shard().roots() != 0) return host.name() + " still runs coroutines";
  return {};
}

}  // namespace sim_test
