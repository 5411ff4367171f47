// The nearest known name to one that is not known.
#include <algorithm>
#include <numeric>

#include "runtime/config/keys.hpp"

namespace weir::detail {
namespace {

/// Levenshtein's distance, where swapping two neighbours costs one as well.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] =
          std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0u : 1u)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

constexpr std::size_t longest_name = 64;  // no key is longer; a longer name has no near one

}  // namespace

std::string did_you_mean(std::string_view given, std::span<const std::string> candidates,
                         std::size_t alike) {
  if (given.size() > longest_name) return "";
  given.remove_prefix(alike);
  const std::string* nearest = nullptr;
  std::size_t least = 0;
  for (auto& candidate : candidates) {
    const auto name = std::string_view(candidate).substr(alike);
    auto distance = edit_distance(given, name);
    // "backlog" for "listen.backlog": the whole name, its section left out.
    if (name.size() > given.size() && given.size() >= 3 && name.ends_with(given) &&
        name[name.size() - given.size() - 1] == '.')
      distance = 1;
    if (nearest != nullptr && distance >= least) continue;
    nearest = &candidate;
    least = distance;
  }
  if (nearest == nullptr || least > std::max<std::size_t>(2, given.size() / 3)) return "";
  return "; did you mean '" + *nearest + "'?";
}

}  // namespace weir::detail
