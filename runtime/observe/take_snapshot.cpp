// See take_snapshot.hpp.
#include "runtime/observe/take_snapshot.hpp"

#include <time.h>

#include <algorithm>
#include <cassert>
#include <utility>
#include <vector>

#include "runtime/backend/driver.hpp"
#include "runtime/backend/transport.hpp"
#include "weir/admin.hpp"
#include "weir/config.hpp"
#include "weir/detail/shown_counts.hpp"
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
/// Of this thread, which in a simulation is every shard's.
void add_cpu(shard_snapshot& out) {
  timespec used{};
  if (out.backend == "sim" || ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used) != 0) return;
  constexpr std::uint64_t second_ns = 1'000'000'000;
  out.counts.push_back({"shard", "cpu", "processor time of the shard's thread",
                        static_cast<std::uint64_t>(used.tv_sec) * second_ns +
                            static_cast<std::uint64_t>(used.tv_nsec),
                        false, unit::nanoseconds});
}

void add_layers(shard_snapshot& out, shown_counts& of) {
  for (const auto& one : of.read())
    out.counts.push_back({one.group, one.name, one.help, one.value, one.level});
}

/// What a network has added to the snapshot.
struct of_network {
  std::string_view name;
  std::size_t listeners, connections, udp_sockets;

  of_network(std::string_view network, const shard_snapshot& before)
      : name(network),
        listeners(before.listeners.size()),
        connections(before.connections.size()),
        udp_sockets(before.udp_sockets.size()) {}
  void mark(shard_snapshot& after) const {
    for (auto i = listeners; i < after.listeners.size(); ++i) after.listeners[i].network = name;
    for (auto i = connections; i < after.connections.size(); ++i)
      after.connections[i].network = name;
    for (auto i = udp_sockets; i < after.udp_sockets.size(); ++i)
      after.udp_sockets[i].network = name;
  }
};

void add_network(shard_snapshot& out, std::string_view name, transport& network,
                 const snapshot_bounds& bounds) {
  auto* shows = dynamic_cast<observable*>(&network);
  if (shows == nullptr) return;
  auto counts = std::exchange(out.counts, {});
  const auto host = std::exchange(out.stack, {});
  const of_network added(name, out);
  shows->observe(out, bounds);
  added.mark(out);
  // Those of the driver are the back end's too.
  std::erase_if(out.counts, [](const counted& c) {
    return c.group != "transport" && c.group != "device" && c.group != "stack" && c.group != "link";
  });
  network_snapshot one;
  one.name = name;
  one.kind = network.name();
  one.counts = std::exchange(out.counts, std::move(counts));
  one.stack = std::exchange(out.stack, host);
  out.networks.push_back(std::move(one));
}

/// The names that the program gave, and of its pages.
void add_names(shard_snapshot& out, admin_pages& of) {
  for (const auto& [name, page] : of.all()) out.pages.push_back(name);
  for (auto& one : out.listeners) one.name = of.name_of(one.local);
  for (auto& one : out.udp_sockets) one.name = of.name_of(one.local);
  if (out.listeners.size() < out.listeners_total || out.udp_sockets.size() < out.udp_sockets_total)
    return;
  of.keep_names([&](const endpoint& at) {
    const auto here = [&](const auto& one) { return one.local == at; };
    return std::any_of(out.listeners.begin(), out.listeners.end(), here) ||
           std::any_of(out.udp_sockets.begin(), out.udp_sockets.end(), here);
  });
}
void add_file_calls(shard_snapshot& out, driver& of) {
  const auto* files = of.file_calls();
  if (files == nullptr) return;
  const auto counts = files->counts();
  auto& c = out.counts;
  c.push_back({"driver", "file_calls", "calls on files by the ring", counts.done});
  c.push_back({"driver", "file_calls_refused", "calls that the ring left to the pool of offload()",
               counts.refused});
  c.push_back(
      {"driver", "file_calls_under_way", "calls that the kernel has", counts.under_way, true});
  c.push_back({"driver", "file_calls_peak", "the most calls under way at once", counts.peak, true});
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
  add_cpu(out);
  add_layers(out, of.local<shown_counts>());
  add_own_series(out, of.local<metrics>());
  const auto pool = offload_counts(of);
  c.push_back({"shard", "offload_done", "offloaded functions that ran, of all shards", pool.done});
  c.push_back(
      {"shard", "offload_refused", "offloaded functions that found the queue full", pool.refused});
  c.push_back(
      {"shard", "offload_queued", "offloaded functions that wait for a thread", pool.queued, true});
  c.push_back({"shard", "offload_running", "offloaded functions that run", pool.running, true});
  add_file_calls(out, of.driver());
  const of_network first(of.settings().default_network, out);
  if (auto* shows = dynamic_cast<observable*>(&of.transport())) shows->observe(out, bounds);
  first.mark(out);
  for (const auto& [name, network] : of.other_networks()) add_network(out, name, *network, bounds);
  add_names(out, of.local<admin_pages>());
  return out;
}

}  // namespace weir::detail
