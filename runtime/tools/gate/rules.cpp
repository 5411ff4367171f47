// Rules in text, and what they say of a destination.
#include "tools/gate/rules.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

namespace weir::gate {
namespace {

std::optional<std::uint16_t> port_in(std::string_view text) {
  std::uint16_t port = 0;
  const auto* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, port);
  if (error != std::errc() || at != end || port == 0) return std::nullopt;
  return port;
}

std::optional<port_range> ports_in(std::string_view text) {
  const auto dash = text.find('-');
  const auto first = port_in(text.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : port_in(text.substr(dash + 1));
  if (!first || !last || *last < *first) return std::nullopt;
  return port_range{*first, *last};
}

/// "ADDRESS[/LENGTH]" and what follows a colon, where it is no part of an IPv6 address.
std::pair<std::string, std::string_view> split(std::string_view text) {
  if (text.starts_with('[')) {
    const auto closed = text.find(']');
    if (closed == std::string_view::npos) return {std::string(text), {}};
    const auto rest = text.substr(closed + 1);
    const auto colon = rest.find(':');
    std::string network(text.substr(1, closed - 1));
    network += rest.substr(0, colon);
    return {network, colon == std::string_view::npos ? "" : rest.substr(colon)};
  }
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || text.find(':', colon + 1) != std::string_view::npos)
    return {std::string(text), {}};
  return {std::string(text.substr(0, colon)), text.substr(colon)};
}

bool is_mapped_or_compatible(const ip_address& address) {
  const auto bytes = address.bytes();
  if (address.is_v4()) return false;
  const bool zeros = std::all_of(bytes.begin(), bytes.begin() + 10, [](auto b) { return b == 0; });
  return zeros && ((bytes[10] == 0xff && bytes[11] == 0xff) || (bytes[10] == 0 && bytes[11] == 0));
}

bool contains(const std::vector<ip_address>& all, const ip_address& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

}  // namespace

std::optional<rule> rule::parse(std::string_view text, bool allow) {
  rule out;
  out.allow = allow;
  out.text = text;
  const auto [network, behind] = split(text);
  port_range ports;
  if (!behind.empty()) {
    const auto some = ports_in(behind.substr(1));
    if (!some) return std::nullopt;
    ports = *some;
  }
  if (network == "*") {
    out.where = {any_destination::v4(), any_destination::v6()};
    for (auto& each : out.where) each.ports = ports;
    return out;
  }
  const auto prefix = ip_prefix::parse(network);
  if (!prefix) return std::nullopt;
  out.where = {{*prefix, ports}};
  return out;
}

bool rule::matches(const endpoint& to) const {
  return std::any_of(where.begin(), where.end(),
                     [&](const auto& each) { return each.contains(to); });
}

verdict policy::judge(const endpoint& to) const {
  using enum verdict::kind;
  const auto& address = to.address;
  // An echo has no port (0), and every rule for all ports is about it too.
  const endpoint asked{address, to.port == 0 ? std::uint16_t{1} : to.port};
  for (const auto& each : rules)
    if (each.matches(asked) && (to.port != 0 || each.where.front().ports == port_range{})) {
      if (!each.allow) return {denied, to, &each};
      break;
    }
  if (to.port == 53 && contains(dns, address)) {
    if (resolver.empty()) return {unreachable, to, nullptr};
    return {allowed, resolver.front(), nullptr};
  }
  if (contains(gateway, address)) {
    if (!host_loopback) return {denied, to, nullptr};
    const auto loopback = address.is_v4() ? ip_address::v4(0x7f000001) : ip_address::loopback_v6();
    return {allowed, {loopback, to.port}, nullptr};
  }
  if (address.is_unspecified() || address.is_loopback() || address.is_multicast() ||
      address.is_limited_broadcast() || is_mapped_or_compatible(address) || contains(dns, address))
    return {denied, to, nullptr};
  return {allowed, to, nullptr};
}

}  // namespace weir::gate
