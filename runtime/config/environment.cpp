// Reads WEIR_* environment variables into settings.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "runtime/config/keys.hpp"

namespace weir::detail {
namespace {

constexpr std::string_view prefix = "WEIR_";

// Variables of weir's own scripts, tests and benchmarks, which their children inherit.
constexpr std::array<std::string_view, 5> not_ours = {"WEIR_JOBS", "WEIR_FULL", "WEIR_SIM_",
                                                      "WEIR_TEST_", "WEIR_BENCH_"};

bool belongs_to_the_tooling(std::string_view name) {
  return std::any_of(not_ours.begin(), not_ours.end(), [&](std::string_view other) {
    return other.ends_with('_') ? name.starts_with(other) : name == other;
  });
}

/// Of WEIR_NETWORK_LAN_DEVICE: a network's name has no underscore.
std::span<const key> keys_in_reach(std::string_view variable, network_keys& networks) {
  constexpr std::string_view head = "WEIR_NETWORK_";
  if (!variable.starts_with(head)) return {};
  const auto rest = variable.substr(head.size());
  std::string name(rest.substr(0, rest.find('_')));
  for (char& c : name)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return networks.of(name);
}

}  // namespace

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

std::vector<setting> read_environment(std::span<const std::string> environment,
                                      std::span<const key> weirs_and_own, network_keys& networks,
                                      std::vector<std::string>& warnings) {
  std::vector<setting> settings;
  for (auto& entry : environment) {
    auto equals = entry.find('=');
    if (!entry.starts_with(prefix) || equals == std::string::npos) continue;
    auto name = entry.substr(0, equals);
    auto value = entry.substr(equals + 1);
    const auto of_network = keys_in_reach(name, networks);
    const auto table = of_network.empty() ? weirs_and_own : of_network;
    auto known =
        std::find_if(table.begin(), table.end(), [&](auto& k) { return k.environment() == name; });
    if (known == table.end()) {
      if (belongs_to_the_tooling(name)) continue;
      std::vector<std::string> names;
      for (auto& k : table) names.push_back(k.environment());
      warnings.push_back(fmt::format("environment variable {}: no such key, ignored{}", name,
                                     did_you_mean(name, names, prefix.size())));
      continue;
    }
    auto values =
        known->kind == key_kind::list ? split_at_commas(value) : std::vector<std::string>{value};
    settings.push_back({&*known, std::move(values), "environment variable " + name});
  }
  return settings;
}

}  // namespace weir::detail
