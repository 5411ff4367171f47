// A load's outcome for programs: JSON, CSV, HdrHistogram's log, Prometheus.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "load/report.hpp"
#include "load/wire_form.hpp"

namespace weir::load {
namespace {

using json = nlohmann::ordered_json;

constexpr int schema_version = 1;

bool shown(const series& one, std::size_t round, report_style style) {
  return one.rounds[round].failure.empty() && (one.judged[round].good() || style.anyway);
}

json problems(const std::vector<problem>& all) {
  json out = json::array();
  for (const auto& one : all)
    out.push_back({{"code", one.code}, {"what", one.what}, {"change", one.change}});
  return out;
}

json timeline(const outcome& seen) {
  json out = json::array();
  for (const auto& one : seen.slices) {
    bench::latency_histogram part;
    for (const auto& [value, count] : one.latencies) part.record(value, count);
    out.push_back({{"at_s", one.begin_s},
                   {"seconds", one.seconds},
                   {"answers", one.answers},
                   {"errors", one.errors},
                   {"p50_us", static_cast<double>(part.at(0.5)) / 1e3},
                   {"p99_us", static_cast<double>(part.at(0.99)) / 1e3},
                   {"max_us", static_cast<double>(part.max()) / 1e3}});
  }
  return out;
}

json round_of(const series& one, std::size_t i, report_style style) {
  const auto& seen = one.rounds[i];
  json out;
  out["valid"] = one.judged[i].good();
  out["spoiled_by"] = problems(one.judged[i].spoiled);
  out["notes"] = problems(one.judged[i].notes);
  out["seconds"] = seen.seconds;
  out["warmup_s"] = seen.warmup_s;
  out["errors"] = seen.errors;
  out["load"] = {{"busy", seen.busy},
                 {"lateness_p50_us", static_cast<double>(seen.lateness.at(0.5)) / 1e3},
                 {"lateness_p99_us", static_cast<double>(seen.lateness.at(0.99)) / 1e3},
                 {"lateness_max_us", static_cast<double>(seen.lateness.max()) / 1e3}};
  out["machine"] = {{"steal", seen.machine.steal},
                    {"other_load", seen.machine.others},
                    {"throttles", seen.machine.throttles},
                    {"clock_steps", seen.machine.clock_steps}};
  if (!shown(one, i, style)) return out;
  json& figures = out["figures"];
  for (const auto& row : figure_rows)
    if (row.which != figure::cpu_us || seen.server.known)
      figures[row.name] = value_of(one.of, seen, row.which);
  const auto latency = latencies_of(one.of, seen);
  out["answers"] = seen.answers;
  out["scheduled"] = seen.scheduled;
  out["corrected"] = latency.corrected;
  out["latency_ns_counts"] = counts_of(latency.shown);
  out["timeline"] = timeline(seen);
  return out;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

}  // namespace

std::string json_of(const std::vector<series>& all, const run_settings& how, report_style style) {
  json out;
  out["weir_bench_load"] = schema_version;
  out["backend"] = how.config.backend;
  out["shards"] = how.config.shard_count();
  json& targets = out["targets"] = json::array();
  for (const auto& one : all) {
    json& entry = targets.emplace_back();
    entry["url"] = one.of.to.text;
    entry["connections"] = one.of.connections;
    entry["depth"] = one.of.depth;
    entry["size"] = one.of.size;
    entry["mode"] = one.of.mode == loop::open ? "open" : "closed";
    if (one.of.mode == loop::open) entry["rate"] = one.of.rate;
    entry["valid"] = one.good();
    json& rounds = entry["rounds"] = json::array();
    for (std::size_t i = 0; i < one.rounds.size(); ++i) rounds.push_back(round_of(one, i, style));
  }
  return out.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

std::string csv_of(const std::vector<series>& all, report_style style) {
  std::string out = "url,round,valid,answers,errors";
  for (const auto& row : figure_rows) out += fmt::format(",{}", row.name);
  out += ",lateness_p99_us,spoiled_by\n";
  for (const auto& one : all)
    for (std::size_t i = 0; i < one.rounds.size(); ++i) {
      const auto& seen = one.rounds[i];
      out += fmt::format(
          "{},{},{},{},{}", quoted(one.of.to.text), i + 1, one.judged[i].good() ? 1 : 0,
          shown(one, i, style) ? fmt::format("{}", seen.answers) : "", seen.error_count());
      for (const auto& row : figure_rows) {
        const bool known = row.which != figure::cpu_us || seen.server.known;
        out += ",";
        if (shown(one, i, style) && known)
          out += fmt::format("{:.3f}", value_of(one.of, seen, row.which));
      }
      std::string why;
      for (const auto& spoiled : one.judged[i].spoiled)
        why += (why.empty() ? "" : " ") + spoiled.code;
      out += fmt::format(",{:.3f},{}\n", static_cast<double>(seen.lateness.at(0.99)) / 1e3, why);
    }
  return out;
}

std::string prometheus_of(const std::vector<series>& all, report_style style) {
  std::string out;
  const auto label = [](const series& one) {
    std::string url;
    for (const char c : one.of.to.text) {
      if (c == '"' || c == '\\') url += '\\';
      url += c;
    }
    return url;
  };
  out += "# TYPE weir_load_valid gauge\n";
  for (const auto& one : all)
    out += fmt::format("weir_load_valid{{url=\"{}\"}} {}\n", label(one), one.good() ? 1 : 0);
  out += "# TYPE weir_load_errors gauge\n";
  for (const auto& one : all)
    out += fmt::format("weir_load_errors{{url=\"{}\"}} {}\n", label(one),
                       one.rounds.back().error_count());
  for (const auto& row : figure_rows) {
    std::string name = fmt::format("weir_load_{}", row.name);
    std::replace(name.begin(), name.end(), '.', '_');
    out += fmt::format("# TYPE {} gauge\n", name);
    for (const auto& one : all)
      if ((one.good() || style.anyway) &&
          (row.which != figure::cpu_us || one.rounds.back().server.known))
        out += fmt::format("{}{{url=\"{}\"}} {}\n", name, label(one),
                           summary_of(one, row.which).median);
  }
  return out;
}

}  // namespace weir::load
