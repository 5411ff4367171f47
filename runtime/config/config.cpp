// What a configuration answers about itself: defaults of its lists, its form as a file, and the
// checks that involve more than one key.
#include "weir/config.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "runtime/config/keys.hpp"
#include "runtime/core/log.hpp"

namespace weir {
namespace {

constexpr std::uint16_t smallest_mtu_v6 = 1280;  // RFC 8200 5

constexpr std::array<std::string_view, 5> backend_words = {"uring", "asio", "stack", "sim", "auto"};

/// A TOML basic string.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (unsigned char c : text) {
    if (c == '"' || c == '\\')
      out += std::string("\\") + static_cast<char>(c);
    else if (c < 0x20 || c == 0x7f)
      out += fmt::format("\\u{:04X}", c);
    else
      out += static_cast<char>(c);
  }
  return out + '"';
}

/// One of TOML's integers, whose digits say the same when they are read back.
bool is_number(const std::string& text) {
  constexpr std::size_t most_digits = 18;
  if (text.empty() || text.size() > most_digits || (text[0] == '0' && text.size() > 1))
    return false;
  return text.find_first_not_of("0123456789") == std::string::npos;
}

std::string toml_value(const detail::key& k, const std::vector<std::string>& values) {
  if (k.kind == detail::key_kind::list) {
    std::string out;
    for (auto& one : values) out += (out.empty() ? "" : ", ") + quoted(one);
    return "[" + out + "]";
  }
  bool bare = k.kind == detail::key_kind::boolean ||
              ((k.kind == detail::key_kind::number || k.kind == detail::key_kind::plain) &&
               is_number(values[0]));
  return bare ? values[0] : quoted(values[0]);
}

/// An address in this network that is not the given one, for a suggestion.
std::string neighbour_of(const ip_prefix& prefix) {
  std::array<std::uint8_t, 16> bytes{};
  auto from = prefix.address.bytes();
  std::copy(from.begin(), from.end(), bytes.begin());
  auto& last = bytes[from.size() - 1];
  last = static_cast<std::uint8_t>((last & 0x03) == 1 ? last + 1 : (last & ~0x03) | 1);
  ip_prefix out{prefix.address.is_v4() ? ip_address::v4({bytes[0], bytes[1], bytes[2], bytes[3]})
                                       : ip_address::v6(bytes),
                prefix.length};
  return out.to_string();
}

}  // namespace

std::vector<ip_prefix> config::stack_addresses() const {
  if (!stack.address.empty()) return stack.address;
  return {{ip_address::v4({198, 18, 0, 2}),
           24}};  // RFC 2544: set apart for benchmarks, so nobody's own
}

std::vector<ip_prefix> config::stack_host_addresses() const {
  if (!stack.host_address.empty()) return stack.host_address;
  return {{ip_address::v4({198, 18, 0, 1}), 24}};
}

std::string config::to_toml() const { return detail::to_toml(detail::keys(), *this); }

config_error::config_error(const std::string& what) : std::runtime_error(detail::printable(what)) {}

namespace detail {

std::string to_toml(std::span<const key> table, const config& settings) {
  std::vector<std::string> sections = {""};  // what is in none comes first: TOML has it so
  for (auto& k : table)
    if (std::find(sections.begin(), sections.end(), k.section()) == sections.end())
      sections.push_back(k.section());
  std::string out;
  for (auto& section : sections) {
    if (!section.empty()) out += "\n[" + section + "]\n";
    for (auto& k : table) {
      if (k.section() != section) continue;
      const auto short_name = section.empty() ? k.name : k.name.substr(section.size() + 1);
      const auto values = k.show(settings);
      if (k.secret && values != k.show(config{}))
        out += fmt::format("# {} is set, and not shown\n", short_name);
      else if (k.kind == key_kind::plain && values[0].empty())
        out += fmt::format("# {} is not set\n", short_name);
      else
        out += fmt::format("{} = {}\n", short_name, toml_value(k, values));
    }
  }
  return out;
}

namespace {

using places = std::function<std::string(std::string_view)>;

/// The two ends of a device: what weir's stack has, and what the kernel has.
void check_ends(const std::string& section, const config::stack_section& stack,
                const std::vector<ip_prefix>& ours, const std::vector<ip_prefix>& theirs,
                const places& place_of) {
  const auto address_key = section + ".address", host_key = section + ".host_address";
  for (auto& address : ours) {
    auto same_net = std::find_if(theirs.begin(), theirs.end(), [&](auto& host) {
      return host.length == address.length && host.contains(address.address);
    });
    if (same_net == theirs.end())
      throw config_error(fmt::format("{}: {} {}: no {} lies in its network; add {} {}",
                                     place_of(address_key), address_key, address.to_string(),
                                     host_key, host_key, neighbour_of(address)));
    for (auto& host : theirs)
      if (host.address == address.address)
        throw config_error(fmt::format("{}: {} {}: is a {} too; the two ends need an address each",
                                       place_of(host_key), host_key, host.to_string(),
                                       address_key));
    if (std::count_if(ours.begin(), ours.end(),
                      [&](auto& a) { return a.address == address.address; }) > 1)
      throw config_error(fmt::format("{}: {} {}: is given twice", place_of(address_key),
                                     address_key, address.to_string()));
    if (address.address.is_v6() && stack.mtu < smallest_mtu_v6)
      throw config_error(fmt::format("{}: {}.mtu = {}: must be at least {} with an IPv6 {}",
                                     place_of(section + ".mtu"), section, stack.mtu,
                                     smallest_mtu_v6, address_key));
  }
  for (auto& host : theirs)
    if (std::none_of(ours.begin(), ours.end(), [&](auto& a) { return a.contains(host.address); }))
      throw config_error(fmt::format("{}: {} {}: no {} lies in its network; add {} {}",
                                     place_of(host_key), host_key, host.to_string(), address_key,
                                     address_key, neighbour_of(host)));
}

void check_queues(const std::string& section, const config& settings, unsigned queues,
                  const places& place_of) {
  if (queues > settings.shard_count())
    throw config_error(
        fmt::format("{}: {}.queues = {}: at most one for each of the shards ({}), which read them",
                    place_of(section + ".queues"), section, queues, settings.shard_count()));
}

void check_network(const config::network_section& one, const config& settings,
                   const places& place_of) {
  const auto section = "network." + one.name;
  const auto place = place_of(section + ".backend");
  if (std::ranges::find(backend_words, one.name) != backend_words.end() || one.name == "kernel")
    throw config_error(fmt::format("{}: [{}]: the name is taken; choose another", place, section));
  if (one.backend == "kernel") {
    for (const auto* key :
         {".device", ".link", ".address", ".host_address", ".route", ".mtu", ".offload", ".queues"})
      if (const auto set = place_of(section + key); set != "default")
        throw config_error(fmt::format("{}: {}{}: has no meaning where {}.backend is 'kernel'", set,
                                       section, key, section));
    return;
  }
  const auto& stack = one.stack;
  if (stack.address.empty() || stack.host_address.empty())
    throw config_error(
        fmt::format("{}: {}.{}: is needed, such as {}", place, section,
                    stack.address.empty() ? "address" : "host_address",
                    stack.address.empty() ? "192.0.2.2/24" : neighbour_of(stack.address.front())));
  check_ends(section, stack, stack.address, stack.host_address, place_of);
  check_queues(section, settings, stack.queues, place_of);
  const auto refuse_device = [&](const std::string& other) {
    throw config_error(fmt::format("{}: {}.device = '{}': {} has it too; each stack needs its own",
                                   place_of(section + ".device"), section, stack.device, other));
  };
  if (settings.backend == "stack" && stack.device == settings.stack.device)
    refuse_device("[stack]");
  for (const auto& other : settings.networks) {
    if (&other == &one) break;
    if (other.backend != "kernel" && other.stack.device == stack.device)
      refuse_device("[network." + other.name + "]");
  }
}

/// `given` is to be a network's name.
void check_name(std::string_view key, const std::string& given, const config& settings,
                const std::string& or_else, const places& place_of) {
  std::vector<std::string> names;
  for (const auto& one : settings.networks) names.push_back(one.name);
  if (key != "backend") names.emplace_back("kernel");
  if (std::ranges::find(names, given) != names.end()) return;
  for (const auto& word : backend_words) names.emplace_back(word);
  throw config_error(fmt::format("{}: {} = '{}': must be {}{}", place_of(key), key, given, or_else,
                                 did_you_mean(given, names)));
}

}  // namespace

void check_together(const config& settings, const places& place_of) {
  check_ends("stack", settings.stack, settings.stack_addresses(), settings.stack_host_addresses(),
             place_of);
  check_queues("stack", settings, settings.stack.queues, place_of);
  for (const auto& one : settings.networks) check_network(one, settings, place_of);
  if (std::ranges::find(backend_words, settings.backend) == backend_words.end())
    check_name("backend", settings.backend, settings,
               settings.networks.empty()
                   ? "uring, asio, stack, sim or auto"
                   : "uring, asio, stack, sim or auto, or the name of a [network.NAME]",
               place_of);
  const std::string known = "'kernel', or the name of a [network.NAME]";
  if (!settings.resolve.network.empty())
    check_name("resolve.network", settings.resolve.network, settings, known, place_of);
  if (!settings.observe.network.empty())
    check_name("observe.network", settings.observe.network, settings, known, place_of);
}

}  // namespace detail
}  // namespace weir
