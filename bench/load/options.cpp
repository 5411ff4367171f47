// See options.hpp.
#include "load/options.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

#include "load/agents.hpp"
#include "weir/runtime.hpp"

namespace weir::load {
namespace {

using json = nlohmann::json;

duration seconds(double value) { return duration(static_cast<std::int64_t>(value * 1e9)); }

std::string read_file(const std::string& path) {
  std::ifstream in(path);
  if (!in) throw std::invalid_argument(path + " cannot be read");
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void check_header(const std::string& line) {
  const auto colon = line.find(':');
  if (colon == 0 || colon == std::string::npos || line.find_first_of("\r\n") != std::string::npos)
    throw std::invalid_argument(fmt::format("`{}` is no header field: Name: value", line));
}

request usual_request(const options& o) {
  request out;
  out.method = o.method;
  out.headers = o.headers;
  for (const auto& line : out.headers) check_header(line);
  out.body = o.body_file.empty() ? o.body : read_file(o.body_file);
  out.command = o.command;
  out.think = seconds(o.think_ms / 1e3);
  return out;
}

/// "\n" and "\r" as a shell's user writes them.
std::string unescaped(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char next = text[i] == '\\' && i + 1 < text.size() ? text[i + 1] : '\0';
    if (next == 'n' || next == 'r' || next == '\\') {
      out += next == 'n' ? '\n' : next == 'r' ? '\r' : '\\';
      ++i;
    } else {
      out += text[i];
    }
  }
  return out;
}

void set_arrivals(const options& o, plan& out) {
  if (!o.replay.empty()) {
    out.mode = loop::open;
    out.arrivals = arrival::recorded;
    out.instants = read_instants(o.replay);
    return;
  }
  if (o.rate == 0) return;
  out.mode = loop::open;
  out.rate = o.rate;
  out.burst = o.burst;
  out.arrivals = o.arrivals == "constant"  ? arrival::constant
                 : o.arrivals == "poisson" ? arrival::poisson
                                           : arrival::bursts;
}

request read_request(const json& from, const request& usual) {
  request out = usual;
  for (const auto& [name, value] : from.items()) {
    if (name == "weight")
      out.weight = value.get<double>();
    else if (name == "method")
      out.method = value.get<std::string>();
    else if (name == "path")
      out.path = value.get<std::string>();
    else if (name == "headers")
      out.headers = value.get<std::vector<std::string>>();
    else if (name == "body")
      out.body = value.get<std::string>();
    else if (name == "body_file")
      out.body = read_file(value.get<std::string>());
    else if (name == "command")
      out.command = value.get<std::string>();
    else if (name == "think_ms")
      out.think = seconds(value.get<double>() / 1e3);
    else
      throw std::invalid_argument(fmt::format("`{}` is no part of a request", name));
  }
  for (const auto& line : out.headers) check_header(line);
  if (!(out.weight >= 0)) throw std::invalid_argument("a weight is 0 or more");
  return out;
}

}  // namespace

std::vector<request> read_mix(const std::string& path, const request& usual) {
  std::vector<request> out;
  try {
    const auto all = json::parse(read_file(path));
    if (!all.is_array()) throw std::invalid_argument("it has to be a JSON array of requests");
    for (const auto& one : all) out.push_back(read_request(one, usual));
  } catch (const std::exception& error) {
    throw std::invalid_argument(fmt::format("{}: {}", path, error.what()));
  }
  if (out.empty()) throw std::invalid_argument(path + ": there is no request in it");
  return out;
}

std::vector<std::uint64_t> read_instants(const std::string& path) {
  std::istringstream in(read_file(path));
  std::vector<std::uint64_t> out;
  std::string line;
  for (std::size_t number = 1; std::getline(in, line); ++number) {
    if (line.empty() || line[0] == '#') continue;
    double at = 0;
    const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), at);
    const auto ns = static_cast<std::uint64_t>(at * 1e9);
    if (error != std::errc{} || !(at >= 0) || (!out.empty() && ns < out.back()))
      throw std::invalid_argument(
          fmt::format("{}:{}: `{}`: seconds from the start, rising", path, number, line));
    out.push_back(ns);
  }
  if (out.empty()) throw std::invalid_argument(path + ": there is no instant in it");
  return out;
}

plan plan_of(const options& o, const std::string& url) {
  plan out;
  out.to = parse_target(url);
  if (!o.service.empty()) out.to.what = parse_service(o.service);
  const auto usual = usual_request(o);
  out.requests = o.mix.empty() ? std::vector{usual} : read_mix(o.mix, usual);
  out.connections = o.connections;
  out.size = o.size;
  out.answer_size = o.answer_size;
  out.delimiter = unescaped(o.delimiter);
  if (out.to.what == service::exchange)
    for (auto& one : out.requests) one.body = unescaped(one.body);
  out.record_type = o.record_type;
  set_arrivals(o, out);
  out.depth = o.depth != 0 ? o.depth : out.to.datagrams() && out.mode == loop::open ? 1000 : 1;
  out.window = seconds(o.duration_s);
  if (o.warmup != "auto") {
    double s = 0;
    const auto [end, error] =
        std::from_chars(o.warmup.data(), o.warmup.data() + o.warmup.size(), s);
    if (error != std::errc{} || !(s >= 0) || s > 3600)
      throw std::invalid_argument(fmt::format("--warmup `{}`: seconds, or auto", o.warmup));
    out.warmup = seconds(s);
  }
  if (out.arrivals == arrival::recorded && !out.warmup) out.warmup = duration();
  if (out.window < std::chrono::seconds(10)) out.slice = std::chrono::milliseconds(250);
  out.timeout = seconds(o.timeout_s);
  out.requests_per_connection = o.no_keep_alive ? 1 : o.requests_per_connection;
  out.seed = o.seed;
  out.spins = o.spin;
  out.verify = !o.insecure;
  out.authorities = o.authorities;
  return out;
}

std::vector<plan> plans_of(const options& o) {
  const auto check = [&](const char* name, std::size_t count) {
    if (count > 1 && count != o.urls.size())
      throw std::invalid_argument(
          fmt::format("{}: one for all targets, or one for each of the {}", name, o.urls.size()));
  };
  check("--pid", o.pids.size());
  check("--cgroup", o.cgroups.size());
  std::vector<plan> out;
  for (std::size_t i = 0; i < o.urls.size(); ++i) {
    auto& one = out.emplace_back(plan_of(o, o.urls[i]));
    if (!o.pids.empty()) one.server.pid = o.pids[o.pids.size() == 1 ? 0 : i];
    if (!o.cgroups.empty()) one.server.cgroup = o.cgroups[o.cgroups.size() == 1 ? 0 : i];
  }
  return out;
}

run_settings settings_from(std::vector<std::string> words) {
  config_parser parser("weir-bench load", "");
  run_settings out;
  out.config = resolve_backend(parser.parse(words, {}));
  out.words = std::move(words);
  return out;
}

run_settings settings_of(const options& o) {
  std::vector<std::string> words{"--backend", o.backend, "--shards", std::to_string(o.shards)};
  if (o.pin) words.emplace_back("--pin");
  if (o.spin) words.insert(words.end(), {"--busy_poll_us", "1000000"});
  for (const auto& key : o.keys) {
    if (key.find('=') == std::string::npos)
      throw std::invalid_argument(fmt::format("--key `{}`: KEY=VALUE", key));
    words.push_back("--" + key);
  }
  auto out = settings_from(std::move(words));
  out.live = o.live && !o.quiet;
  if (!o.agents.empty() || !o.server_agent.empty())
    out.others = std::make_shared<agents>(o.agents, o.server_agent);
  return out;
}

tolerances tolerances_of(const options& o) {
  tolerances out;
  out.errors = o.max_errors / 100;
  out.spins = o.spin;
  return out;
}

}  // namespace weir::load
