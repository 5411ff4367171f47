// See take_snapshot.hpp.
#include "observe/take_snapshot.hpp"

#include <cassert>
#include <utility>
#include <vector>

#include "backend/driver.hpp"
#include "backend/transport.hpp"
#include "weir/offload.hpp"

namespace weir::detail {

shard_snapshot take_snapshot(shard& of, const snapshot_bounds& bounds) {
  assert(of.on_this_thread());
  shard_snapshot out;
  out.shard = of.index();
  out.backend = of.backend();
  out.driver = of.driver().name();
  const auto& own = of.counters();
  auto& c = out.counts;
  c.push_back({"shard", "turns", "turns of the loop", own.turns});
  c.push_back({"shard", "resumed", "coroutines resumed", own.resumed});
  c.push_back({"shard", "messages", "messages from other threads", own.messages});
  c.push_back({"shard", "timers_fired", "timers that fired", own.timers_fired});
  c.push_back({"shard", "budget_exhausted", "operations that had to let others run first",
               own.budget_exhausted});
  c.push_back(
      {"shard", "tasks", "coroutines started on the shard and not ended", of.roots(), true});
  c.push_back({"driver", "system_calls", "system calls made by the driver and its clients",
               of.driver().system_calls()});
  const auto pool = offload_counts(of);
  c.push_back({"shard", "offload_done", "offloaded functions that ran, of all shards", pool.done});
  c.push_back(
      {"shard", "offload_refused", "offloaded functions that found the queue full", pool.refused});
  c.push_back(
      {"shard", "offload_queued", "offloaded functions that wait for a thread", pool.queued, true});
  c.push_back({"shard", "offload_running", "offloaded functions that run", pool.running, true});
  if (auto* shows = dynamic_cast<observable*>(&of.transport())) shows->observe(out, bounds);
  for (const auto& [name, network] : of.other_networks()) {
    auto* shows = dynamic_cast<observable*>(network);
    if (shows == nullptr) continue;
    auto before = std::exchange(c, {});
    shows->observe(out, bounds);
    for (auto& each : c) {
      if (each.group != "transport") continue;  // the others are the back end's too
      each.group = name;
      before.push_back(each);
    }
    c = std::move(before);
  }
  return out;
}

}  // namespace weir::detail
