// See sockets_json.hpp.
#include "runtime/observe/sockets_json.hpp"

#include <algorithm>
#include <set>
#include <string>

#include <nlohmann/json.hpp>

#include "runtime/observe/fields.hpp"

namespace weir::detail {
namespace {

using json = nlohmann::ordered_json;

template <class Snapshot, class Fields>
void add_fields(json& out, const Snapshot& from, const Fields& fields) {
  for (const auto& f : fields) {
    const auto& value = from.*f.value;
    if (!value) continue;
    const std::string name(f.name);
    if (f.in == unit::nanoseconds)
      out[name + "_us"] = static_cast<double>(*value) / 1000;
    else if (f.in == unit::flag)
      out[name] = *value != 0;
    else
      out[name] = *value;
  }
}

template <class Snapshot>
void add_names(json& out, const Snapshot& from) {
  if (!from.name.empty()) out["name"] = from.name;
  if (!from.network.empty()) out["network"] = from.network;
}

json process_of(const process_facts& from) {
  json out = json::object();
  const auto add = [&](const char* name, const known& value) {
    if (value) out[name] = *value;
  };
  add("resident", from.usage.resident);
  add("memory_limit", from.usage.memory_limit);
  add("descriptors", from.usage.descriptors);
  add("descriptors_limit", from.usage.descriptors_limit);
  if (from.usage.cpu_ns) out["cpu_us"] = *from.usage.cpu_ns / 1000;
  return out;
}

/// Absent where nobody watches.
void add_stalls(json& out, const process_facts& from) {
  if (from.stall_limit == duration::zero()) return;
  auto all = json::array();
  for (const auto& one : from.stalls) {
    json stall = {{"shard", one.shard},
                  {"count", one.count},
                  {"longest_us", one.longest.count() / 1000},
                  {"sum_us", one.sum.count() / 1000}};
    if (one.resumed != nullptr) {
      stall["function"] = in_words(one.resumed).function;
      stall["place"] = short_place(one.resumed);
    }
    all.push_back(std::move(stall));
  }
  out["stalls"] = std::move(all);
  out["stall_limit_us"] = from.stall_limit.count() / 1000;
}

/// The program's own counters and gauges; histograms are for /metrics.
void add_own(json& out, const process_snapshot& from) {
  for (const auto& shard : from.shards)
    for (const auto& one : shard.own) {
      if (one.of.what == metrics::kind::histogram) continue;
      const bool counts = one.of.what == metrics::kind::counter;
      json labels = json::object();
      for (const auto& [name, value] : one.of.labels) labels[name] = value;
      json series = {{"shard", shard.shard},
                     {"name", one.of.name},
                     {"help", one.of.help},
                     {"grows", counts},
                     {"labels", std::move(labels)}};
      if (counts)
        series["value"] = one.counter;
      else
        series["value"] = one.gauge;
      out.push_back(std::move(series));
    }
}

json stack_of(const stack::host_counters& from) {
  json host = json::object();
  for (std::size_t i = 0; i < stack::host_counters::size; ++i) {
    const auto which = static_cast<stack::counter>(i);
    host[std::string(stack::name(which))] = from[which];
  }
  return host;
}

/// The networks beside the back end's.
json networks_of(const shard_snapshot& from) {
  json out = json::array();
  for (const auto& one : from.networks) {
    json network = {{"name", one.name}, {"kind", one.kind}};
    json counts = json::object();
    for (const auto& c : one.counts)
      counts[std::string(c.group) + "_" + std::string(c.name)] = c.value;
    network["counts"] = std::move(counts);
    if (one.stack) network["stack"] = stack_of(*one.stack);
    out.push_back(std::move(network));
  }
  return out;
}

json shard_of(const shard_snapshot& from) {
  json out = {{"shard", from.shard},
              {"backend", from.backend},
              {"driver", from.driver},
              {"listeners", from.listeners_total},
              {"connections", from.connections_total},
              {"udp_sockets", from.udp_sockets_total}};
  json counts = json::object();
  for (const auto& c : from.counts) {
    const auto name = std::string(c.group) + "_" + std::string(c.name);
    if (c.in == unit::nanoseconds)
      counts[name + "_us"] = c.value / 1000;
    else
      counts[name] = c.value;
  }
  for (const auto& one : from.networks)
    for (const auto& c : one.counts)
      if (c.group == "transport") counts[one.name + "_" + std::string(c.name)] = c.value;
  out["counts"] = std::move(counts);
  if (!from.networks.empty()) out["networks"] = networks_of(from);
  if (from.stopping) out["stopping"] = true;
  out["turn_ns_powers"] = from.histograms.turn_ns.counts;
  out["timer_late_ns_powers"] = from.histograms.timer_late_ns.counts;
  if (from.stack) out["stack"] = stack_of(*from.stack);
  return out;
}

json listener_of(const listener_snapshot& from, unsigned shard) {
  json out = {{"shard", shard}, {"local", from.local.to_string()}};
  add_names(out, from);
  if (!from.sharing.empty()) out["sharing"] = from.sharing;
  if (!from.policy.empty()) out["policy"] = from.policy;
  add_fields(out, from, listener_fields);
  return out;
}

json udp_socket_of(const udp_snapshot& from, unsigned shard) {
  json out = {{"shard", shard}, {"local", from.local.to_string()}};
  add_names(out, from);
  if (from.remote) out["remote"] = from.remote->to_string();
  add_fields(out, from, udp_fields);
  return out;
}

json connection_of(const connection_snapshot& from, unsigned shard) {
  json out = {{"shard", shard},
              {"local", from.local.to_string()},
              {"remote", from.remote.to_string()},
              {"state", from.state}};
  if (!from.network.empty()) out["network"] = from.network;
  if (!from.congestion.empty()) out["congestion"] = from.congestion;
  if (!from.phase.empty()) out["congestion_state"] = from.phase;
  add_fields(out, from, connection_fields);
  return out;
}

}  // namespace

std::string to_sockets_json(const process_snapshot& from, const process_facts& process,
                            std::size_t connections) {
  json out = {{"program", process.program},         {"pid", process.pid},
              {"version", process.version},         {"started", process.started},
              {"taken_us", from.taken.ns() / 1000}, {"process", process_of(process)}};
  add_stalls(out, process);
  json kernel = json::object();
  for (const auto& one : process.kernel) kernel[std::string(one.name)] = one.value;
  if (!kernel.empty()) out["kernel"] = std::move(kernel);
  auto shards = json::array(), listeners = json::array(), shown = json::array(),
       udp_sockets = json::array();
  std::size_t listeners_total = 0, connections_total = 0, udp_sockets_total = 0;
  for (const auto& shard : from.shards) {
    shards.push_back(shard_of(shard));
    listeners_total += shard.listeners_total;
    connections_total += shard.connections_total;
    udp_sockets_total += shard.udp_sockets_total;
    for (const auto& s : shard.udp_sockets) udp_sockets.push_back(udp_socket_of(s, shard.shard));
    for (const auto& l : shard.listeners) listeners.push_back(listener_of(l, shard.shard));
    const auto most = std::min(connections, shard.connections.size());
    for (std::size_t i = 0; i < most; ++i)
      shown.push_back(connection_of(shard.connections[i], shard.shard));
  }
  out["listeners_left_out"] = listeners_total - listeners.size();
  out["connections_left_out"] = connections_total - shown.size();
  out["udp_sockets_left_out"] = udp_sockets_total - udp_sockets.size();
  out["silent_shards"] = from.silent;
  out["shards"] = std::move(shards);
  auto own = json::array();
  add_own(own, from);
  out["own"] = std::move(own);
  std::set<std::string> pages;
  for (const auto& shard : from.shards) pages.insert(shard.pages.begin(), shard.pages.end());
  out["pages"] = pages;
  out["listeners"] = std::move(listeners);
  out["connections"] = std::move(shown);
  out["udp_sockets"] = std::move(udp_sockets);
  // What is no UTF-8 (a program's name) becomes a replacement character, not an exception.
  return out.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace weir::detail
