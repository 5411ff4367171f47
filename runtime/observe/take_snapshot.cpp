// See take_snapshot.hpp.
#include "observe/take_snapshot.hpp"

#include <cassert>
#include <utility>
#include <vector>

#include "backend/driver.hpp"
#include "backend/transport.hpp"
#include "weir/metrics.hpp"
#include "weir/offload.hpp"
#include "weir/shard.hpp"

namespace weir::detail {

namespace {
void add_own_series(shard_snapshot& out, metrics& of) {
  for (const auto& one : of.all()) {
    auto& to = out.own.emplace_back();
    to.of = one;
    switch (one.what) {
      case metrics::kind::counter: to.counter = of.counter_of(one).value(); break;
      case metrics::kind::gauge: to.gauge = of.gauge_of(one).value(); break;
      case metrics::kind::histogram:
        to.bounds = of.histogram_of(one).bounds();
        to.counts = of.histogram_of(one).counts();
        to.sum = of.histogram_of(one).sum();
        break;
    }
  }
  out.counts.push_back(
      {"shard", "metrics_refused", "series of the program's own that found no room", of.refused()});
}
}  // namespace

shard_snapshot take_snapshot(shard& of, const snapshot_bounds& bounds) {
  assert(of.on_this_thread());
  shard_snapshot out;
  out.shard = of.index();
  out.backend = of.backend();
  out.driver = of.driver().name();
  out.stopping = of.stop_requested();
  out.histograms = of.histograms();
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
  add_own_series(out, of.local<metrics>());
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
