// See machine.hpp.
#include "load/machine.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

namespace weir::load {
namespace {

/// "name: 123" in a text of lines.
std::uint64_t number_after(const std::string& text, const std::string& name) {
  const auto at = text.find("\n" + name);
  if (at == std::string::npos) return 0;
  return std::strtoull(text.c_str() + at + 1 + name.size(), nullptr, 10);
}

constexpr double ticks_per_s = 100;  // USER_HZ, on every machine of Linux

}  // namespace

std::optional<std::string> machine::read(const std::string& path) const {
  std::ifstream in(root_ / path);
  if (!in) return {};
  std::ostringstream text;
  text << in.rdbuf();
  std::string out = text.str();
  while (!out.empty() && (out.back() == '\n' || out.back() == ' ')) out.pop_back();
  return out;
}

std::vector<std::string> machine::list(const std::string& directory,
                                       const std::string& begin) const {
  std::vector<std::string> out;
  std::error_code error;
  for (std::filesystem::directory_iterator at(root_ / directory, error), end; !error && at != end;
       at.increment(error))
    if (auto name = at->path().filename().string(); name.starts_with(begin))
      out.push_back(std::move(name));
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<std::string> machine::cores() const {
  auto out = list("sys/devices/system/cpu", "cpu");
  std::erase_if(out, [](const std::string& name) {
    return name.size() < 4 || name.find_first_not_of("0123456789", 3) != std::string::npos;
  });
  return out;
}

machine::times machine::cpu_times() const {
  times out;
  std::istringstream line(read("proc/stat").value_or(""));
  std::string name;
  std::uint64_t user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft = 0;
  line >> name >> user >> nice >> system >> idle >> wait >> irq >> soft >> out.steal;
  out.busy = user + nice + system + irq + soft;
  out.idle = idle + wait;
  return out;
}

std::uint64_t machine::throttles() const {
  std::uint64_t sum = 0;
  for (const auto& core : cores())
    for (const auto* what : {"core_throttle_count", "package_throttle_count"})
      if (const auto text =
              read(fmt::format("sys/devices/system/cpu/{}/thermal_throttle/{}", core, what)))
        sum += std::strtoull(text->c_str(), nullptr, 10);
  return sum;
}

process_figures machine::process(pid_t pid) const {
  process_figures out;
  const auto base = fmt::format("proc/{}", pid);
  for (const auto& thread : list(base + "/task", "")) {
    const auto used = read(fmt::format("{}/task/{}/schedstat", base, thread));
    if (!used) continue;
    out.known = true;
    out.cpu_s += static_cast<double>(std::strtoull(used->c_str(), nullptr, 10)) / 1e9;
    if (const auto status = read(fmt::format("{}/task/{}/status", base, thread)))
      out.switches += number_after(*status, "voluntary_ctxt_switches:") +
                      number_after(*status, "nonvoluntary_ctxt_switches:");
  }
  if (const auto status = read(base + "/status"))
    out.resident_bytes = number_after(*status, "VmRSS:") * 1024;
  return out;
}

process_figures machine::group(const std::string& cgroup) const {
  process_figures out;
  const auto base = fmt::format("sys/fs/cgroup/{}", cgroup);
  const auto used = read(base + "/cpu.stat");
  if (!used) return out;
  out.known = true;
  out.cpu_s = static_cast<double>(number_after("\n" + *used, "usage_usec")) / 1e6;
  out.resident_bytes =
      std::strtoull(read(base + "/memory.current").value_or("0").c_str(), nullptr, 10);
  return out;
}

process_figures machine::figures(const watched_server& of) const {
  if (!of.cgroup.empty()) return group(of.cgroup);
  return of.pid > 0 ? process(of.pid) : process_figures{};
}

process_figures used_between(const process_figures& begin, const process_figures& end) {
  process_figures out = end;
  out.known = begin.known && end.known;
  out.cpu_s -= begin.cpu_s;
  out.switches -= begin.switches;
  return out;
}

void machine_watch::begin() {
  times_ = machine_.cpu_times();
  throttles_ = machine_.throttles();
  own_begin_ = machine_.process(::getpid());
  server_begin_ = machine_.figures(server_);
}

void machine_watch::end() {
  const auto times = machine_.cpu_times();
  const auto all = static_cast<double>(times.all() - times_.all());
  const auto own = machine_.process(::getpid());
  server_seen_ = used_between(server_begin_, machine_.figures(server_));
  if (all > 0) {
    seen_.steal = static_cast<double>(times.steal - times_.steal) / all;
    const double ours = (own.cpu_s - own_begin_.cpu_s + server_seen_.cpu_s) * ticks_per_s;
    seen_.others = std::max(0.0, static_cast<double>(times.busy - times_.busy) - ours) / all;
  }
  seen_.throttles = machine_.throttles() - throttles_;
}

}  // namespace weir::load
