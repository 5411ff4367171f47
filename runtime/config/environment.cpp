// Reads WEIR_* environment variables into settings.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "config/keys.hpp"

namespace weir::detail {
namespace {

// Variables of weir's own scripts, tests and benchmarks, which their children inherit.
constexpr std::array<std::string_view, 4> not_ours = {"WEIR_JOBS", "WEIR_SIM_", "WEIR_TEST_",
                                                      "WEIR_BENCH_"};

bool belongs_to_the_tooling(std::string_view name) {
  return std::any_of(not_ours.begin(), not_ours.end(), [&](std::string_view other) {
    return other.ends_with('_') ? name.starts_with(other) : name == other;
  });
}

std::vector<std::string> split_at_commas(std::string_view text) {
  std::vector<std::string> out;
  for (;;) {
    auto comma = text.find(',');
    auto part = text.substr(0, comma);
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    out.emplace_back(part);
    if (comma == std::string_view::npos) return out;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace

std::vector<setting> read_environment(std::span<const std::string> environment) {
  std::vector<setting> settings;
  for (auto& entry : environment) {
    auto equals = entry.find('=');
    if (!entry.starts_with("WEIR_") || equals == std::string::npos) continue;
    auto name = entry.substr(0, equals);
    auto value = entry.substr(equals + 1);
    if (belongs_to_the_tooling(name)) continue;
    auto known = std::find_if(keys().begin(), keys().end(),
                              [&](auto& k) { return k.environment() == name; });
    if (known == keys().end()) {
      std::vector<std::string> names;
      for (auto& k : keys()) names.push_back(k.environment());
      throw config_error(
          fmt::format("environment variable {}: no such key{}", name, did_you_mean(name, names)));
    }
    auto values =
        known->kind == key_kind::list ? split_at_commas(value) : std::vector<std::string>{value};
    settings.push_back({&*known, std::move(values), "environment variable " + name});
  }
  return settings;
}

}  // namespace weir::detail
