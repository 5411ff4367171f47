// A report of tasks in words, for stderr.
#include <array>
#include <cstdio>

#include "runtime/core/task_report.hpp"

namespace weir::detail {

source_at authors_place(const chain_told& chain) {
  for (const auto& frame : chain.frames)
    if (frame.where != nullptr && !in_words(frame.where).function.starts_with("weir::"))
      return frame.where;
  return chain.frames.empty() ? nullptr : chain.frames.front().where;
}

std::string for_people(duration d) {
  const auto ns = static_cast<double>(d.count());
  std::array<char, 32> text{};
  if (ns < 1e6)
    std::snprintf(text.data(), text.size(), "%.0f us", ns / 1e3);
  else if (ns < 1e9)
    std::snprintf(text.data(), text.size(), "%.1f ms", ns / 1e6);
  else
    std::snprintf(text.data(), text.size(), "%.1f s", ns / 1e9);
  return text.data();
}

std::string what_it_waits_for(const task_told& task) {
  const auto& wait = task.wait;
  std::string out(wait.operation);
  if (task.remote.port != 0)
    out += " " + task.remote.to_string();
  else if (task.local.port != 0)
    out += " " + task.local.to_string();
  if (wait.bound >= 0)
    out += " (" + std::to_string(wait.have) + " of " + std::to_string(wait.bound) + ")";
  else if (wait.have >= 0)
    out += " " + std::to_string(wait.have);
  if (wait.holder != nullptr) out += ", taken at " + short_place(wait.holder);
  if (wait.asked) out += ", asked to end";
  return out;
}

std::string where_it_belongs(const task_told& task, unsigned shard) {
  const auto& to = task.chain.belongs;
  std::string out = "shard " + std::to_string(shard);
  if (to.of == belonging_told::kind::remote && to.origin != nullptr)
    return out + ", for shard " + std::to_string(to.origin->index());
  if (to.of != belonging_told::kind::scope) return out;
  std::string scope = "scope ";
  if (!to.name.empty()) scope += std::string(to.name) + " ";
  scope += "of " + short_place(to.made) + " (" + std::to_string(to.size) + " task(s)";
  if (to.failures != 0) scope += ", " + std::to_string(to.failures) + " failed";
  if (to.refused != 0) scope += ", " + std::to_string(to.refused) + " refused";
  if (to.orphaned) scope += ", the scope itself has gone";
  return scope + "), " + out;
}

namespace {
std::string head_of(const task_told& task) {
  const auto at = authors_place(task.chain);
  return in_words(at).function + " " + short_place(at) + ": " + what_it_waits_for(task);
}
}  // namespace

std::vector<std::string> lines_by_place(const task_report& report, std::size_t most) {
  std::vector<std::string> out;
  std::uint64_t left = report.waited;
  for (const auto& group : report.groups) {
    if (out.size() == most) break;
    left -= group.count;
    out.push_back(std::to_string(group.count) + " x " + head_of(group.sample) + ", " +
                  (group.count == 1 ? "for " : "up to ") +
                  for_people(report.taken - group.sample.since) + "; " +
                  where_it_belongs(group.sample, report.shard));
  }
  if (left != 0) out.push_back("and " + std::to_string(left) + " more");
  return out;
}

std::vector<std::string> lines_by_place(shard& of, cancel_state& top, std::size_t most) {
  task_reporter reporter(of, top, {.listed = 0, .groups = 4 * most});
  while (!reporter.go_on()) {
  }
  return lines_by_place(reporter.take(), most);
}

std::vector<std::string> lines_by_task(const task_report& report, std::size_t most) {
  std::vector<std::string> out;
  for (const auto& task : report.listed) {
    if (out.size() >= most) break;
    out.push_back(head_of(task) + ", for " + for_people(report.taken - task.since));
    for (std::size_t i = 0; i < task.chain.frames.size(); ++i) {
      const auto words = in_words(task.chain.frames[i].where);
      out.push_back("    " + std::string(i == 0 ? "in " : "awaited by ") + words.function + " " +
                    short_place(task.chain.frames[i].where));
    }
    out.push_back("    " + where_it_belongs(task, report.shard));
  }
  return out;
}

}  // namespace weir::detail
