// Results as JSON, and the comparison of two such files. The numbers of every round are kept, so
// that a later comparison can judge a difference against the spread.
#include <fmt/core.h>

#include <cerrno>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <system_error>

#include "report.hpp"

namespace weir::bench {
namespace {

using json = nlohmann::ordered_json;

constexpr int format_version = 1;

json to_json(const server_outcome& s) {
  json out;
  out["server"] = s.spec.label;
  if (!s.error.empty()) out["error"] = s.error;
  if (s.rounds.empty()) return out;
  json& metrics = out["metrics"];
  for (std::size_t i = 0; i < metric_count; ++i) {
    const summary total = s.of(static_cast<metric>(i));
    json rounds = json::array();
    for (const auto& round : s.rounds) rounds.push_back(round.values[i]);
    metrics[std::string(metric_descriptions[i].name)] = {{"median", total.median},
                                                         {"low", total.low},
                                                         {"high", total.high},
                                                         {"rounds", std::move(rounds)}};
  }
  if (!s.syscalls.empty())
    out["system_calls_per_request"] = {{"total", s.syscalls_total()}, {"by_name", s.syscalls}};
  if (!s.syscalls_note.empty()) out["system_calls_note"] = s.syscalls_note;
  if (s.allocations >= 0) out["heap_allocations_per_request"] = s.allocations;
  if (s.unfinished > 0) out["unfinished"] = s.unfinished;
  json buckets = json::array();
  s.latency.for_each(
      [&](std::uint64_t value_ns, std::uint64_t count) { buckets.push_back({value_ns, count}); });
  out["latency_ns_counts"] = std::move(buckets);
  return out;
}

json load_file(const std::string& path) {
  std::ifstream in(path);
  if (!in) throw std::runtime_error(fmt::format("{} cannot be read", path));
  json out = json::parse(in, nullptr, false);
  if (out.is_discarded() || !out.is_object() || out.value("weir_bench", 0) != format_version)
    throw std::runtime_error(
        fmt::format("{} is not a result of weir-bench, version {}", path, format_version));
  return out;
}

const json* find_named(const json& list, const char* key, const std::string& name) {
  for (const auto& entry : list)
    if (entry.value(key, "") == name) return &entry;
  return nullptr;
}

summary read_summary(const json& metric) {
  return summarize(metric.at("rounds").get<std::vector<double>>());
}

std::string compare_servers(const json& before, const json& after) {
  std::string out;
  for (const auto& description : metric_descriptions) {
    const std::string name(description.name);
    if (!before.contains("metrics") || !after.contains("metrics"))
      return "    no figures on one side\n";
    if (!before["metrics"].contains(name) || !after["metrics"].contains(name)) continue;
    const summary old = read_summary(before["metrics"][name]);
    const summary now = read_summary(after["metrics"][name]);
    const double change = old.median == 0 ? 0 : (now.median / old.median - 1) * 100;
    const verdict v = compare(old, now);
    std::string judgement =
        v == verdict::too_few_rounds ? "too few rounds to tell" : "within the spread";
    if (v == verdict::higher || v == verdict::lower)
      judgement = (v == verdict::higher) == description.more_is_better ? "better" : "worse";
    out += fmt::format("    {:<32} {:>12.2f} -> {:>12.2f}  {:>+7.1f}%  {}\n", name, old.median,
                       now.median, change, judgement);
  }
  return out;
}

}  // namespace

void save_json(const run_outcome& run, const std::string& path) {
  json out;
  out["weir_bench"] = format_version;
  out["machine"] = {{"kernel", run.machine.kernel},
                    {"processor", run.machine.processor},
                    {"cores", run.machine.cores},
                    {"server_cpu", run.machine.server_cpu},
                    {"load_cpu", run.machine.load_cpu}};
  out["settings"] = {{"rounds", run.settings.rounds},
                     {"warmup_s", static_cast<double>(run.settings.warmup_ns) / 1e9},
                     {"duration_s", static_cast<double>(run.settings.duration_ns) / 1e9},
                     {"load_spins", run.settings.spin}};
  json& cells = out["cells"] = json::array();
  for (const auto& c : run.cells) {
    json& entry = cells.emplace_back();
    entry["title"] = title_of(c.what);
    for (const auto& s : scenarios)
      if (s.kind == c.what.kind) entry["scenario"] = s.name;
    entry["connections"] = c.what.connections;
    entry["size"] = c.what.size;
    entry["depth"] = c.what.depth;
    entry["mode"] = c.what.mode == load_mode::open ? "open" : "closed";
    if (c.what.mode == load_mode::open) {
      entry["rate"] = c.what.rate;
      entry["arrivals"] = c.what.arrival_kind == arrivals::poisson ? "poisson" : "constant";
    }
    json& servers = entry["servers"] = json::array();
    for (const auto& s : c.servers) servers.push_back(to_json(s));
  }
  std::ofstream file(path);
  file << out.dump(1) << "\n";
  file.flush();
  if (!file) throw std::system_error(errno, std::system_category(), path);
}

std::string compare_files(const std::string& before_path, const std::string& after_path) {
  const json before = load_file(before_path);
  const json after = load_file(after_path);
  std::string out;
  try {
    for (const auto& new_cell : after.at("cells")) {
      const std::string title = new_cell.at("title");
      const json* old_cell = find_named(before.at("cells"), "title", title);
      if (old_cell == nullptr) continue;
      out += title + "\n";
      for (const auto& new_server : new_cell.at("servers")) {
        const std::string label = new_server.at("server");
        const json* old_server = find_named(old_cell->at("servers"), "server", label);
        if (old_server == nullptr) continue;
        out += fmt::format("  {}\n{}", label, compare_servers(*old_server, new_server));
      }
    }
  } catch (const json::exception& error) {
    throw std::runtime_error(
        fmt::format("comparing {} with {}: {}", before_path, after_path, error.what()));
  }
  return out.empty() ? "the two files have no cell in common\n" : out;
}

}  // namespace weir::bench
