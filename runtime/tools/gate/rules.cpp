// Rules in text, and what they say of a destination.
#include "runtime/tools/gate/rules.hpp"

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

/// A host's name of two labels or more, the last of them no number (RFC 1123 2.1), in lower case;
/// else nothing.
[[maybe_unused]] std::string host_name_in(std::string_view text) {
  std::string out;
  std::size_t label = 0, labels = 1;
  bool digits = true;
  if (text.ends_with('.')) text.remove_suffix(1);
  if (text.empty() || text.size() > 253) return {};
  for (char c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const bool digit = c >= '0' && c <= '9';
    if (c == '.') {
      if (label == 0) return {};
      label = 0;
      digits = true;
      ++labels;
    } else {
      if (!digit && !(c >= 'a' && c <= 'z') && c != '-' && c != '_') return {};
      if (++label > 63) return {};
      digits = digits && digit;
    }
    out += c;
  }
  return label == 0 || digits || labels < 2 ? std::string() : out;
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
  if (prefix) {
    out.where = {{*prefix, ports}};
    return out;
  }
#if WEIR_GATE_NAMES
  out.below = network.starts_with("*.");
  out.name = host_name_in(std::string_view(network).substr(out.below ? 2 : 0));
#endif
  if (out.name.empty()) return std::nullopt;
  out.where = {any_destination::v4(), any_destination::v6()};
  for (auto& each : out.where) each.ports = ports;
  return out;
}

bool rule::is_about(std::string_view host_name) const {
  if (name.empty()) return false;
  if (!below) return host_name == name;
  return host_name.size() > name.size() + 1 && host_name.ends_with(name) &&
         host_name[host_name.size() - name.size() - 1] == '.';
}

bool rule::matches(const endpoint& to, const name_book& names, instant now) const {
  return std::any_of(where.begin(), where.end(),
                     [&](const auto& each) { return each.contains(to); }) &&
         (name.empty() || names.answered(to.address, *this, now));
}

void name_book::note(const std::string& name, std::span<const ip_address> addresses,
                     duration lifetime, instant now) {
  const auto until = now + std::max<duration>(lifetime, least_lifetime);
  for (const auto& address : addresses) {
    if (known_.size() >= most && !known_.contains(address)) {
      const auto last = [](const auto& one) { return one.second.back().until; };
      known_.erase(std::ranges::min_element(known_, {}, last));
      ++forgotten_;
    }
    auto& names = known_[address];
    std::erase_if(names, [&](const entry& one) { return one.name == name || one.until < now; });
    if (names.size() >= most_names) names.erase(names.begin());
    names.push_back({name, until});
  }
}

bool name_book::answered(const ip_address& address, const rule& by, instant now) const {
  const auto found = known_.find(address);
  return found != known_.end() && std::ranges::any_of(found->second, [&](const entry& one) {
           return one.until >= now && by.is_about(one.name);
         });
}

bool policy::knows(std::string_view host_name) const {
  return std::ranges::any_of(rules, [&](const rule& one) { return one.is_about(host_name); });
}

bool policy::has_names() const {
  return std::ranges::any_of(rules, [](const rule& one) { return !one.name.empty(); });
}

bool policy::is_resolver(const endpoint& to) const {
  return to.port == 53 && contains(dns, to.address);
}

verdict policy::judge(const endpoint& to, const name_book& names, instant now) const {
  using enum verdict::kind;
  const auto& address = to.address;
  // An echo has no port (0), and every rule for all ports is about it too.
  const endpoint asked{address, to.port == 0 ? std::uint16_t{1} : to.port};
  for (const auto& each : rules)
    if (each.matches(asked, names, now) &&
        (to.port != 0 || each.where.front().ports == port_range{})) {
      if (!each.allow) return {denied, to, &each};
      break;
    }
  if (is_resolver(to)) {
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
