// See task_tables.hpp.
#include "runtime/tools/task_tables.hpp"

#include <algorithm>
#include <charconv>
#include <map>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "runtime/core/log.hpp"

namespace ps {
namespace {

using nlohmann::json;

std::string words(const json& of, const char* key) {
  return weir::detail::printable(of.at(key).get<std::string>());
}

std::string for_people(std::int64_t us) {
  const auto value = static_cast<double>(us);
  if (us < 1000) return fmt::format("{} us", us);
  if (us < 1'000'000) return fmt::format("{:.1f} ms", value / 1e3);
  if (us < 600'000'000) return fmt::format("{:.1f} s", value / 1e6);
  return fmt::format("{:.1f} min", value / 6e7);
}

std::string scope_in_words(const json& belongs) {
  if (belongs.at("to") != "scope") return "";
  std::string out = "scope ";
  if (belongs.contains("name")) out += words(belongs, "name") + " ";
  out += fmt::format("of {}, {} task(s)", words(belongs, "place"),
                     belongs.at("tasks").get<std::uint64_t>());
  for (const char* what : {"failures", "refused"})
    if (const auto n = belongs.at(what).get<std::uint64_t>(); n != 0)
      out += fmt::format(", {} {}", n, what);
  if (belongs.contains("orphaned")) out += ", the scope itself has gone";
  return out;
}

std::string head_of(const json& task) {
  return fmt::format("{:>10}  {:<24}  {}  ({})",
                     for_people(task.at("waited_us").get<std::int64_t>()), words(task, "place"),
                     words(task, "waits_for"), words(task, "function"));
}

std::string as_list(const json& all, bool header) {
  std::string out;
  if (header)
    out += fmt::format("{:>10}  {:<24}  {}\n", "WAITED", "PLACE", "WAITS FOR  (FUNCTION)");
  for (const auto& task : all.at("tasks")) out += head_of(task) + "\n";
  return out;
}

/// A coroutine, and those that it waits for.
struct node {
  std::string line;
  std::vector<std::uint64_t> below;
};

void add_tree(std::string& out, const std::map<std::uint64_t, node>& nodes, std::uint64_t at,
              std::size_t depth) {
  const auto& one = nodes.at(at);
  out += std::string(2 * depth, ' ') + one.line + "\n";
  for (const auto below : one.below) add_tree(out, nodes, below, depth + 1);
}

std::string as_tree(const json& all) {
  struct root {
    std::string line;
    std::vector<std::uint64_t> below;
  };
  std::map<std::string, root> roots;
  std::map<std::uint64_t, node> nodes;
  for (const auto& task : all.at("tasks")) {
    const auto shard = fmt::format("shard {}", task.at("shard").get<unsigned>());
    const auto scope = scope_in_words(task.at("belongs"));
    const auto& chain = task.at("chain");
    bool known = false;
    for (std::size_t i = 0; i < chain.size(); ++i) {
      const auto frame = chain[i].at("frame").get<std::uint64_t>();
      auto [found, fresh] = nodes.try_emplace(frame);
      if (fresh)
        found->second.line =
            fmt::format("{} {}", words(chain[i], "function"), words(chain[i], "place"));
      if (i == 0)
        found->second.line += fmt::format(": {}, {}", words(task, "waits_for"),
                                          for_people(task.at("waited_us").get<std::int64_t>()));
      else
        found->second.below.push_back(chain[i - 1].at("frame").get<std::uint64_t>());
      known = !fresh;
      if (known && i != 0) break;
    }
    if (!known && !chain.empty()) {
      auto& to = roots[shard + (scope.empty() ? "" : ", " + scope)];
      to.below.push_back(chain.back().at("frame").get<std::uint64_t>());
    }
  }
  std::string out;
  for (const auto& [line, to] : roots) {
    out += line + "\n";
    for (const auto below : to.below) add_tree(out, nodes, below, 1);
  }
  return out;
}

/// The same place on several shards is one line.
std::string as_groups(const json& all, bool header) {
  struct sum {
    std::uint64_t count = 0;
    std::int64_t longest = 0;
    const json* sample = nullptr;
  };
  std::map<std::string, sum> sums;
  for (const auto& group : all.at("groups")) {
    auto& to = sums[words(group, "place") + "\n" + words(group, "operation") + "\n" +
                    words(group, "function")];
    to.count += group.at("count").get<std::uint64_t>();
    const auto waited = group.at("waited_us").get<std::int64_t>();
    to.sample = &group;  // what is shown is the same in all, or there is one task only
    to.longest = std::max(to.longest, waited);
  }
  std::vector<sum> sorted;
  for (const auto& [key, one] : sums) sorted.push_back(one);
  std::sort(sorted.begin(), sorted.end(), [](const sum& a, const sum& b) {
    return a.count != b.count ? a.count > b.count : a.longest > b.longest;
  });
  std::string out;
  if (header)
    out += fmt::format("{:>9}  {:>10}  {:<24}  {}\n", "COUNT", "LONGEST", "PLACE",
                       "WAITS FOR  (FUNCTION)");
  for (const auto& one : sorted)
    out += fmt::format("{:>9}  {:>10}  {:<24}  {}  ({})\n", one.count, for_people(one.longest),
                       words(*one.sample, "place"),
                       words(*one.sample, one.count == 1 ? "waits_for" : "operation"),
                       words(*one.sample, "function"));
  return out;
}

}  // namespace

std::string to_text(const json& tasks, form as, bool header) {
  switch (as) {
    case form::tree: return as_tree(tasks);
    case form::groups: return as_groups(tasks, header);
    case form::list: break;
  }
  return as_list(tasks, header);
}

std::optional<std::uint64_t> milliseconds_in(std::string_view text) {
  constexpr std::uint64_t longest_ms = 1'000'000'000;
  double number = 0;
  const auto* const end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || !(number >= 0)) return {};
  const std::string_view unit(at, static_cast<std::size_t>(end - at));
  double each = 0;
  if (unit == "ms") each = 1;
  if (unit.empty() || unit == "s") each = 1000;
  if (unit == "m" || unit == "min") each = 60'000;
  if (unit == "h") each = 3'600'000;
  if (each == 0 || number * each > static_cast<double>(longest_ms)) return {};
  return static_cast<std::uint64_t>(number * each);
}

}  // namespace ps
