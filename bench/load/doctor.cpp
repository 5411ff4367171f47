// See doctor.hpp: one function for each subject.
#include "load/doctor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

namespace weir::load {
namespace {

using level = finding::level;

constexpr double notable_steal = 0.01;      // of the time since the machine started
constexpr std::uint64_t slow_exit_us = 50;  // of a sleeping state
constexpr double crowded_irqs = 0.8;        // of all device interrupts on one core

const std::string cpu_base = "sys/devices/system/cpu/";

finding governor(const machine& of) {
  const auto found = of.read(cpu_base + "cpu0/cpufreq/scaling_governor");
  if (!found) return {"governor", level::unknown, "the machine does not tell (a virtual one?)", ""};
  if (*found == "performance") return {"governor", level::good, "performance", ""};
  return {"governor", level::spoils, *found + ": cores change their frequency with the load",
          "cpupower frequency-set -g performance"};
}

finding turbo(const machine& of) {
  const auto intel = of.read(cpu_base + "intel_pstate/no_turbo");
  const auto other = of.read(cpu_base + "cpufreq/boost");
  if (!intel && !other) return {"turbo", level::unknown, "the machine does not tell", ""};
  const bool on = intel ? *intel == "0" : *other == "1";
  if (!on) return {"turbo", level::good, "off", ""};
  return {"turbo", level::spoils, "on: how fast a core is depends on heat and on its neighbours",
          intel ? "echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo"
                : "echo 0 > /sys/devices/system/cpu/cpufreq/boost"};
}

finding siblings(const machine& of) {
  const auto active = of.read(cpu_base + "smt/active");
  if (!active) return {"SMT", level::unknown, "the machine does not tell", ""};
  if (*active != "1") return {"SMT", level::good, "off", ""};
  std::string pairs;
  for (const auto& core : of.cores())
    if (const auto list = of.read(cpu_base + core + "/topology/thread_siblings_list"))
      if (pairs.find(*list + " ") == std::string::npos) pairs += *list + " ";
  return {
      "SMT", level::spoils, "on: these share a core: " + pairs,
      "give server and load cores of their own, or echo off > /sys/devices/system/cpu/smt/control"};
}

finding sleeping_states(const machine& of) {
  const auto states = of.list(cpu_base + "cpu0/cpuidle", "state");
  if (states.empty())
    return {"C-states", level::unknown, "the machine does not tell (a virtual one?)", ""};
  std::string slow;
  for (const auto& state : states) {
    const auto base = cpu_base + "cpu0/cpuidle/" + state;
    const auto latency = of.read(base + "/latency");
    if (!latency || of.read(base + "/disable").value_or("0") == "1") continue;
    if (std::strtoull(latency->c_str(), nullptr, 10) > slow_exit_us)
      slow += fmt::format("{}{} ({} us)", slow.empty() ? "" : ", ",
                          of.read(base + "/name").value_or(state), *latency);
  }
  if (slow.empty()) return {"C-states", level::good, "none takes long to leave", ""};
  return {"C-states", level::spoils, "an idle core needs long to wake: " + slow,
          "cpupower idle-set -D 50, or --spin"};
}

finding steal(const machine& of) {
  const auto times = of.cpu_times();
  if (times.all() == 0) return {"steal", level::unknown, "the machine does not tell", ""};
  const double share = static_cast<double>(times.steal) / static_cast<double>(times.all());
  if (share <= notable_steal)
    return {"steal", level::good, fmt::format("{:.2f}% since it started", share * 100), ""};
  return {"steal", level::spoils,
          fmt::format("the host kept {:.1f}% of this machine's time since it started", share * 100),
          "a machine of your own; else compare within one run only"};
}

finding other_load(const machine& of) {
  const auto text = of.read("proc/loadavg");
  if (!text) return {"other load", level::unknown, "the machine does not tell", ""};
  const double load = std::strtod(text->c_str(), nullptr);
  if (load < 0.3) return {"other load", level::good, fmt::format("{:.2f} runs", load), ""};
  return {"other load", level::spoils,
          fmt::format("{:.1f} others run or wait on {} cores", load, of.cores().size()),
          "end them, or wait: figures of a busy machine are its, not the server's"};
}

finding clock_source(const machine& of) {
  const auto base = std::string("sys/devices/system/clocksource/clocksource0/");
  const auto found = of.read(base + "current_clocksource");
  if (!found) return {"clock", level::unknown, "the machine does not tell", ""};
  if (*found == "tsc" || *found == "kvm-clock" || *found == "arch_sys_counter" ||
      *found == "hyperv_clocksource_tsc_page")
    return {"clock", level::good, *found, ""};
  return {"clock", level::spoils, *found + ": each reading of the time is a system call, or slow",
          "a kernel that trusts the TSC (clocksource=tsc)"};
}

finding nodes(const machine& of) {
  const auto all = of.list("sys/devices/system/node", "node");
  if (all.size() <= 1) return {"NUMA", level::good, "one node", ""};
  std::string cores;
  for (const auto& node : all)
    cores += fmt::format("{}{}: {}", cores.empty() ? "" : "; ", node,
                         of.read("sys/devices/system/node/" + node + "/cpulist").value_or("?"));
  return {"NUMA", level::spoils, fmt::format("{} nodes ({})", all.size(), cores),
          "numactl --cpunodebind=0 --membind=0 for server and load"};
}

/// Which core takes the devices' interrupts: lines of /proc/interrupts that begin with a number.
finding interrupts(const machine& of) {
  std::istringstream in(of.read("proc/interrupts").value_or(""));
  std::string line;
  std::getline(in, line);
  const auto cores =
      static_cast<std::size_t>(std::count(line.begin(), line.end(), 'C'));  // "CPU0  CPU1 ..."
  std::vector<std::uint64_t> sums(cores);
  while (std::getline(in, line)) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    if (name.empty() || name[0] < '0' || name[0] > '9') continue;
    for (auto& sum : sums) {
      std::uint64_t count = 0;
      if (words >> count) sum += count;
    }
  }
  std::uint64_t all = 0;
  for (const auto sum : sums) all += sum;
  if (cores < 2 || all == 0) return {"interrupts", level::unknown, "nothing to tell", ""};
  const auto most = std::max_element(sums.begin(), sums.end());
  const double share = static_cast<double>(*most) / static_cast<double>(all);
  if (share <= crowded_irqs) return {"interrupts", level::good, "spread over the cores", ""};
  return {"interrupts", level::spoils,
          fmt::format("cpu{} takes {:.0f}% of the devices' interrupts", most - sums.begin(),
                      share * 100),
          "keep the server off that core, or spread them (/proc/irq/*/smp_affinity)"};
}

finding core_count(const machine& of) {
  const auto cores = of.cores().size();
  if (cores == 0) return {"cores", level::unknown, "the machine does not tell", ""};
  if (cores > 1) return {"cores", level::good, fmt::format("{}", cores), ""};
  return {"cores", level::spoils, "one: server and load share it", "a second machine for the load"};
}

}  // namespace

std::vector<finding> examine(const machine& of) {
  return {core_count(of), governor(of),   turbo(of),        siblings(of), sleeping_states(of),
          steal(of),      other_load(of), clock_source(of), nodes(of),    interrupts(of)};
}

std::string text_of(const std::vector<finding>& all) {
  std::string out;
  std::size_t bad = 0;
  for (const auto& one : all) {
    const auto* word = one.how == level::good ? "good" : one.how == level::unknown ? "?" : "SPOILS";
    out += fmt::format("{:<12} {:<7} {}\n", one.subject, word, one.what);
    if (!one.change.empty()) out += fmt::format("{:<20} -> {}\n", "", one.change);
    if (one.how == level::spoils) ++bad;
  }
  out += bad == 0 ? "Nothing was found that spoils a measurement.\n"
                  : fmt::format("{} of {} things will spoil figures here.\n", bad, all.size());
  return out;
}

}  // namespace weir::load
