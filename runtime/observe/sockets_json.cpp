// See sockets_json.hpp.
#include "observe/sockets_json.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "observe/fields.hpp"

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

json shard_of(const shard_snapshot& from) {
  json out = {{"shard", from.shard},
              {"backend", from.backend},
              {"driver", from.driver},
              {"listeners", from.listeners_total},
              {"connections", from.connections_total},
              {"udp_sockets", from.udp_sockets_total}};
  json counts = json::object();
  for (const auto& c : from.counts)
    counts[std::string(c.group) + "_" + std::string(c.name)] = c.value;
  out["counts"] = std::move(counts);
  if (!from.stack) return out;
  json host = json::object();
  for (std::size_t i = 0; i < stack::host_counters::size; ++i) {
    const auto which = static_cast<stack::counter>(i);
    host[std::string(stack::name(which))] = (*from.stack)[which];
  }
  out["stack"] = std::move(host);
  return out;
}

json listener_of(const listener_snapshot& from, unsigned shard) {
  json out = {{"shard", shard}, {"local", from.local.to_string()}};
  if (!from.sharing.empty()) out["sharing"] = from.sharing;
  if (!from.policy.empty()) out["policy"] = from.policy;
  add_fields(out, from, listener_fields);
  return out;
}

json udp_socket_of(const udp_snapshot& from, unsigned shard) {
  json out = {{"shard", shard}, {"local", from.local.to_string()}};
  if (from.remote) out["remote"] = from.remote->to_string();
  add_fields(out, from, udp_fields);
  return out;
}

json connection_of(const connection_snapshot& from, unsigned shard) {
  json out = {{"shard", shard},
              {"local", from.local.to_string()},
              {"remote", from.remote.to_string()},
              {"state", from.state}};
  if (!from.congestion.empty()) out["congestion"] = from.congestion;
  if (!from.phase.empty()) out["congestion_state"] = from.phase;
  add_fields(out, from, connection_fields);
  return out;
}

}  // namespace

std::string to_sockets_json(const process_snapshot& from, const process_facts& process,
                            std::size_t connections) {
  json out = {{"program", process.program},
              {"pid", process.pid},
              {"version", process.version},
              {"started", process.started}};
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
  out["listeners"] = std::move(listeners);
  out["connections"] = std::move(shown);
  out["udp_sockets"] = std::move(udp_sockets);
  // What is no UTF-8 (a program's name) becomes a replacement character, not an exception.
  return out.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace weir::detail
