// [network.NAME]: which keys there are once a place has named a network, and the network that is
// the back end.
#include <algorithm>
#include <utility>

#include "runtime/config/keys.hpp"

namespace weir::detail {

bool is_network_name(std::string_view name) {
  const auto lower = [](char c) { return c >= 'a' && c <= 'z'; };
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  return !name.empty() && name.size() <= 16 && lower(name.front()) &&
         std::ranges::all_of(name, [&](char c) { return lower(c) || digit(c); });
}

std::span<const key> network_keys::of(std::string_view name) {
  if (!is_network_name(name)) return {};
  auto found = made_.find(name);
  if (found == made_.end())
    found = made_.emplace(std::string(name), keys_of_network(std::string(name))).first;
  return found->second;
}

std::vector<key> network_keys::of_any() { return keys_of_network("NAME"); }

config with_default_network(config settings) {
  const auto named =
      std::ranges::find(settings.networks, settings.backend, &config::network_section::name);
  if (named == settings.networks.end()) return settings;
  settings.default_network = named->name;
  settings.backend = named->backend == "kernel" ? "auto" : "stack";
  if (named->backend == "kernel") return settings;
  const auto before = std::exchange(settings.stack, named->stack);
  settings.stack.placement = before.placement;
  settings.stack.private_net = before.private_net;
  return settings;
}

}  // namespace weir::detail
