// See exposition.hpp.
#include "runtime/observe/exposition.hpp"

#include <fmt/format.h>

#include "runtime/observe/fields.hpp"

namespace weir::detail {
namespace {

using kind = exposition::kind;

/// In HELP a quotation mark stands for itself; in a label's value it does not.
void add_escaped(std::string& to, std::string_view text, bool quotes) {
  if (text.find_first_of("\\\n\"") == std::string_view::npos) {
    to += text;
    return;
  }
  for (char c : text) {
    if (c == '\\')
      to += "\\\\";
    else if (c == '\n')
      to += "\\n";
    else if (c == '"' && quotes)
      to += "\\\"";
    else
      to += c;
  }
}

std::string number(double value) { return fmt::format("{}", value); }

/// weir_listener_accept_wait_seconds_total: base units, and "_total" for what only grows.
std::string name_of(std::string_view group, std::string_view name, unit in, bool level) {
  auto named = std::string_view(in == unit::bytes         ? "_bytes"
                                : in == unit::nanoseconds ? "_seconds"
                                                          : "");
  if (!named.empty() && name.starts_with(named.substr(1))) named = "";  // bytes_received
  return fmt::format("weir_{}_{}{}{}", group, name, named, level ? "" : "_total");
}

void add_value(exposition& out, const std::string& name, bool level, std::string_view help,
               const exposition::labels& with, unit in, std::uint64_t value) {
  const auto what = level ? kind::gauge : kind::counter;
  if (in == unit::nanoseconds)
    out.add(name, what, help, with, static_cast<double>(value) / 1e9);
  else
    out.add(name, what, help, with, value);
}

void add_stack(exposition& out, const exposition::labels& shard,
               const stack::host_counters& counters) {
  constexpr std::string_view drop = "drop_";
  for (std::size_t i = 0; i < stack::host_counters::size; ++i) {
    const auto which = static_cast<stack::counter>(i);
    const auto name = stack::name(which);
    if (name.starts_with(drop)) {
      auto with = shard;
      with.emplace_back("reason", name.substr(drop.size()));
      out.add("weir_stack_drops_total", kind::counter, "packets that the stack dropped, by reason",
              with, counters[which]);
    } else {
      out.add(fmt::format("weir_stack_{}_total", name), kind::counter,
              fmt::format("the stack's counter {}", name), shard, counters[which]);
    }
  }
}

void add_listeners(exposition& out, const exposition::labels& shard, const shard_snapshot& from) {
  std::map<std::string, unsigned> seen;
  for (const auto& l : from.listeners) {
    auto with = shard;
    auto where = l.local.to_string();
    const auto member = seen[where + ' ' + l.network]++;
    with.emplace_back("listener", std::move(where));
    if (!l.network.empty()) with.emplace_back("network", l.network);
    // Two on one address and port share it; each is a series of its own.
    if (member != 0) with.emplace_back("member", std::to_string(member));
    if (!l.sharing.empty() || !l.name.empty() || !l.network.empty()) {
      auto described = with;
      if (!l.name.empty()) described.emplace_back("name", l.name);
      if (!l.sharing.empty()) described.emplace_back("sharing", l.sharing);
      if (!l.policy.empty()) described.emplace_back("policy", l.policy);
      out.add("weir_listener_info", kind::gauge,
              "its name, network, and how the address is shared; always 1", described,
              std::uint64_t{1});
    }
    for (const auto& f : listener_fields)
      if (const auto& value = l.*f.value)
        add_value(out, name_of("listener", f.name, f.in, f.level), f.level, f.help, with, f.in,
                  *value);
  }
}

void add_udp_sockets(exposition& out, const exposition::labels& shard, const shard_snapshot& from) {
  std::map<std::string, unsigned> seen;
  for (const auto& s : from.udp_sockets) {
    auto with = shard;
    auto where = s.local.to_string();
    if (s.remote) where += " to " + s.remote->to_string();
    const auto member = seen[where + ' ' + s.network]++;
    with.emplace_back("socket", std::move(where));
    if (!s.network.empty()) with.emplace_back("network", s.network);
    if (member != 0) with.emplace_back("member", std::to_string(member));
    for (const auto& f : udp_fields)
      if (const auto& value = s.*f.value)
        add_value(out, name_of("udp", f.name, f.in, f.level), f.level, f.help, with, f.in, *value);
  }
}

/// Bounds are powers of two; those at both ends are put together.
void add_powers(exposition& out, const std::string& name, std::string_view help,
                const exposition::labels& with, const power_histogram& from, std::size_t first,
                std::size_t last, double unit) {
  std::vector<double> bounds;
  std::vector<std::uint64_t> counts = {0};
  for (std::size_t i = 0; i < from.counts.size(); ++i) {
    counts.back() += from.counts[i];
    if (i < first || i > last) continue;
    // Bucket i holds values below 2^i: whole numbers up to 2^i - 1.
    bounds.push_back((static_cast<double>(std::uint64_t{1} << i) - 1) * unit);
    counts.push_back(0);
  }
  out.add_histogram(name, help, with, bounds, counts, static_cast<double>(from.sum) * unit);
}

void add_loop(exposition& out, const exposition::labels& shard, const shard_histograms& from) {
  constexpr double ns = 1e-9;
  constexpr std::size_t first_ns = 12, last_ns = 34;  // 4 us to 17 s
  constexpr std::size_t last_ready = 16;
  add_powers(out, "weir_shard_turn_seconds", "how long the loop's turns took, without their wait",
             shard, from.turn_ns, first_ns, last_ns, ns);
  add_powers(out, "weir_shard_ready_coroutines", "coroutines that a turn resumed", shard,
             from.ready, 1, last_ready, 1);
  add_powers(out, "weir_shard_timer_late_seconds", "by how much deadlines were judged late", shard,
             from.timer_late_ns, first_ns, last_ns, ns);
}

/// The families of the back end's own, with one label more.
void add_network(exposition& out, const exposition::labels& shard, const network_snapshot& from) {
  auto with = shard;
  with.emplace_back("network", from.name);
  auto described = with;
  described.emplace_back("kind", from.kind);
  out.add("weir_network_info", kind::gauge, "a network beside the back end's; always 1", described,
          std::uint64_t{1});
  for (const auto& c : from.counts)
    add_value(out, name_of(c.group, c.name, c.in, c.level), c.level, c.help, with, c.in, c.value);
  if (from.stack) add_stack(out, with, *from.stack);
}

void add_shard(exposition& out, const shard_snapshot& from) {
  const exposition::labels shard = {{"shard", std::to_string(from.shard)}};
  auto described = shard;
  described.emplace_back("backend", from.backend);
  described.emplace_back("driver", from.driver);
  out.add("weir_shard_info", kind::gauge, "what the shard is made of; always 1", described,
          std::uint64_t{1});
  for (const auto& c : from.counts)
    add_value(out, name_of(c.group, c.name, c.in, c.level), c.level, c.help, shard, c.in, c.value);
  out.add("weir_listeners", kind::gauge, "listening sockets", shard,
          std::uint64_t{from.listeners_total});
  out.add("weir_connections", kind::gauge, "connections, whatever their state", shard,
          std::uint64_t{from.connections_total});
  out.add("weir_udp_sockets", kind::gauge, "UDP sockets", shard,
          std::uint64_t{from.udp_sockets_total});
  add_loop(out, shard, from.histograms);
  if (from.stack) add_stack(out, shard, *from.stack);
  for (const auto& one : from.networks) add_network(out, shard, one);
  add_listeners(out, shard, from);
  add_udp_sockets(out, shard, from);
}

void add_process(exposition& out, const process_facts& process) {
  out.add("weir_build_info", kind::gauge, "the version; always 1",
          {{"version", process.version}, {"program", process.program}}, std::uint64_t{1});
  out.add("weir_start_time_seconds", kind::gauge, "when the program began, in seconds since 1970",
          {}, process.started);
  const auto add_known = [&](const char* name, kind what, const char* help, const known& value) {
    if (value) out.add(name, what, help, {}, *value);
  };
  const auto& usage = process.usage;
  add_known("weir_process_resident_bytes", kind::gauge, "memory that the process has",
            usage.resident);
  add_known("weir_process_memory_limit_bytes", kind::gauge,
            "memory that its control group, or the machine, allows", usage.memory_limit);
  add_known("weir_process_descriptors", kind::gauge, "descriptors that are open",
            usage.descriptors);
  add_known("weir_process_descriptors_limit", kind::gauge, "as many as may be open",
            usage.descriptors_limit);
  if (usage.cpu_ns)
    out.add("weir_process_cpu_seconds_total", kind::counter, "processor time of all threads", {},
            static_cast<double>(*usage.cpu_ns) / 1e9);
  out.add("weir_observe_requests_total", kind::counter, "requests answered by this endpoint", {},
          process.requests);
  out.add("weir_observe_refused_requests_total", kind::counter,
          "requests that this endpoint refused", {}, process.refused_requests);
  out.add("weir_observe_refused_clients_total", kind::counter,
          "clients refused because this endpoint answered too many others", {},
          process.refused_clients);
  out.add("weir_observe_displaced_clients_total", kind::counter,
          "clients closed while they waited, since another one came", {},
          process.displaced_clients);
  out.add("weir_observe_questions_total", kind::counter, "snapshots asked of shards", {},
          process.questions);
}

}  // namespace

void exposition::add(const std::string& name, kind what, std::string_view help, const labels& with,
                     std::uint64_t value) {
  add_line(family_of(name, what, help), name, with, std::to_string(value));
}

void exposition::add(const std::string& name, kind what, std::string_view help, const labels& with,
                     double value) {
  add_line(family_of(name, what, help), name, with, number(value));
}

void exposition::add_histogram(const std::string& name, std::string_view help, const labels& with,
                               std::span<const double> bounds,
                               std::span<const std::uint64_t> counts, double sum) {
  auto& to = family_of(name, kind::histogram, help);
  const auto bucket = name + "_bucket";
  auto bounded = with;
  auto& bound = bounded.emplace_back("le", std::string()).second;
  std::uint64_t all = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    all += counts[i];
    bound = i < bounds.size() ? number(bounds[i]) : "+Inf";
    add_line(to, bucket, bounded, std::to_string(all));
  }
  add_line(to, name + "_sum", with, number(sum));
  add_line(to, name + "_count", with, std::to_string(all));
}

exposition::family& exposition::family_of(const std::string& name, kind what,
                                          std::string_view help) {
  auto found = index_.find(name);
  if (found == index_.end()) {
    const auto* type = what == kind::counter ? "counter"
                       : what == kind::gauge ? "gauge"
                                             : "histogram";
    found = index_.emplace(name, families_.size()).first;
    std::string head = "# HELP " + name + ' ';
    add_escaped(head, help, false);
    head += "\n# TYPE " + name + ' ' + type + '\n';
    families_.push_back({name, std::move(head), {}});
  }
  return families_[found->second];
}

void exposition::add_line(family& to, const std::string& name, const labels& with,
                          const std::string& value) {
  auto& samples = to.samples;
  samples += name;
  char before = '{';
  for (const auto& [label, text] : with) {
    samples += before;
    samples += label;
    samples += "=\"";
    add_escaped(samples, text, true);
    samples += '"';
    before = ',';
  }
  if (!with.empty()) samples += '}';
  samples += ' ';
  samples += value;
  samples += '\n';
}

std::string exposition::text() const {
  std::string out;
  for (const auto& f : families_) out += f.head + f.samples;
  return out;
}

namespace {

/// The same series of several shards is one: counters and histograms are added, and gauges too.
void add_own_series(exposition& out, const process_snapshot& from) {
  std::vector<own_series> sums;
  std::map<std::pair<std::string, std::vector<std::pair<std::string, std::string>>>, std::size_t>
      index;
  for (const auto& shard : from.shards)
    for (const auto& one : shard.own) {
      const auto [found, fresh] = index.try_emplace({one.of.name, one.of.labels}, sums.size());
      if (fresh) {
        sums.push_back(one);
        continue;
      }
      auto& to = sums[found->second];
      if (to.of.what != one.of.what || to.bounds != one.bounds) continue;  // shards disagree
      to.counter += one.counter;
      to.gauge += one.gauge;
      to.sum += one.sum;
      for (std::size_t i = 0; i < to.counts.size(); ++i) to.counts[i] += one.counts[i];
    }
  for (const auto& one : sums) {
    exposition::labels with;
    for (const auto& [name, value] : one.of.labels) with.emplace_back(name, value);
    if (one.of.what == metrics::kind::counter)
      out.add(one.of.name + "_total", kind::counter, one.of.help, with, one.counter);
    else if (one.of.what == metrics::kind::gauge)
      out.add(one.of.name, kind::gauge, one.of.help, with, one.gauge);
    else
      out.add_histogram(one.of.name, one.of.help, with, one.bounds, one.counts, one.sum);
  }
}

void add_stalls(exposition& out, const process_facts& process) {
  for (const auto& one : process.stalls) {
    const exposition::labels with = {
        {"shard", std::to_string(one.shard)},
        {"function", one.resumed == nullptr ? "" : in_words(one.resumed).function},
        {"place", one.resumed == nullptr ? "" : short_place(one.resumed)}};
    out.add("weir_stalls_total", kind::counter,
            "turns that took longer than tasks.stall_ms, by the coroutine that was resumed last",
            with, one.count);
    out.add("weir_stall_seconds_total", kind::counter, "the time of these turns", with,
            static_cast<double>(one.sum.count()) / 1e9);
    out.add("weir_stall_longest_seconds", kind::gauge, "the longest of these turns", with,
            static_cast<double>(one.longest.count()) / 1e9);
  }
}

}  // namespace

std::string to_metrics(const process_snapshot& from, const process_facts& process) {
  exposition out;
  add_process(out, process);
  for (const auto& shard : from.shards)
    out.add("weir_shard_answered", kind::gauge, "whether the shard answered in time",
            {{"shard", std::to_string(shard.shard)}}, std::uint64_t{1});
  for (auto silent : from.silent)
    out.add("weir_shard_answered", kind::gauge, "whether the shard answered in time",
            {{"shard", std::to_string(silent)}}, std::uint64_t{0});
  add_stalls(out, process);
  add_own_series(out, from);
  bool kernel = false;
  for (const auto& shard : from.shards) {
    add_shard(out, shard);
    kernel |= shard.backend == "uring" || shard.backend == "asio";
  }
  if (!kernel) return out.text();
  for (const auto& c : process.kernel)
    out.add(fmt::format("weir_kernel_{}_total", c.name), kind::counter,
            fmt::format("{}, on every listener of the network namespace", c.help), {}, c.value);
  return out.text();
}

}  // namespace weir::detail
