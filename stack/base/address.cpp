// Text forms of addresses, prefixes and endpoints. Parsing is strict: the whole text must be the
// thing it names (RFC 4291 2.2 and RFC 5952 for IPv6, dotted decimal without leading zeros' octal
// meaning for IPv4).
#include "weir/stack/address.hpp"

#include <arpa/inet.h>
#include <net/if.h>  // lint: allow, the names of interfaces are the machine's

#include <charconv>
#include <stdexcept>

namespace weir {
namespace {

template <class Number>
std::optional<Number> parse_number(std::string_view text, Number highest) {
  Number value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value > highest)
    return std::nullopt;
  return value;
}

/// By number or by name; no zone is 0.
std::optional<std::uint32_t> parse_zone(std::string_view text) {
  auto zone = parse_number<std::uint32_t>(text, UINT32_MAX);
  char name[IFNAMSIZ] = {};
  if (!zone && !text.empty() && text.size() < sizeof name) {
    std::memcpy(name, text.data(), text.size());
    zone = if_nametoindex(name);
  }
  return zone.value_or(0) == 0 ? std::nullopt : zone;
}

}  // namespace

std::optional<ip_address> ip_address::parse(std::string_view text) {
  // inet_pton wants a terminated string; no address is longer than this.
  if (const auto percent = text.find('%'); percent != std::string_view::npos) {
    const auto plain = parse(text.substr(0, percent));
    const auto zone = parse_zone(text.substr(percent + 1));
    if (!plain || !zone) return std::nullopt;
    const auto out = plain->with_zone(*zone);
    return out.zone() == *zone ? std::optional(out) : std::nullopt;
  }
  char buffer[INET6_ADDRSTRLEN];
  if (text.empty() || text.size() >= sizeof buffer) return std::nullopt;
  std::memcpy(buffer, text.data(), text.size());
  buffer[text.size()] = '\0';
  if (std::memchr(buffer, '\0', text.size()) != nullptr) return std::nullopt;
  std::array<std::uint8_t, 4> four{};
  if (inet_pton(AF_INET, buffer, four.data()) == 1) return v4(four);
  std::array<std::uint8_t, 16> sixteen{};
  if (inet_pton(AF_INET6, buffer, sixteen.data()) != 1) return std::nullopt;
  const auto address = v6(sixteen);
  if (address.zone() == 0) return address;  // else its zeros are none
  return std::nullopt;
}

std::string ip_address::to_string() const {
  char buffer[INET6_ADDRSTRLEN];
  const auto plain = with_zone(0);
  inet_ntop(is_v4() ? AF_INET : AF_INET6, plain.bytes_.data(), buffer, sizeof buffer);
  return zone() == 0 ? buffer : buffer + ("%" + std::to_string(zone()));
}

std::optional<ip_prefix> ip_prefix::parse(std::string_view text) {
  auto slash = text.find('/');
  auto address = ip_address::parse(text.substr(0, slash));
  if (!address) return std::nullopt;
  std::uint8_t longest = address->is_v4() ? 32 : 128;
  if (slash == std::string_view::npos) return ip_prefix{*address, longest};
  auto length = parse_number<std::uint8_t>(text.substr(slash + 1), longest);
  if (!length) return std::nullopt;
  return ip_prefix{*address, *length};
}

bool ip_prefix::contains(const ip_address& other) const {
  if (other.family() != address.family()) return false;
  auto mine = address.bytes();
  auto theirs = other.bytes();
  for (std::size_t i = 0, bits = length; i < mine.size() && bits > 0; ++i) {
    auto here = bits >= 8 ? 8 : bits;
    auto mask = static_cast<std::uint8_t>(0xff << (8 - here));
    if ((mine[i] & mask) != (theirs[i] & mask)) return false;
    bits -= here;
  }
  return true;
}

std::optional<ip_address> ip_prefix::broadcast() const {
  if (!address.is_v4() || length >= 31) return std::nullopt;
  auto host_bits = length == 0 ? 0xffffffffu : (1u << (32 - length)) - 1;
  return ip_address::v4(address.to_v4_number() | host_bits);
}

std::string ip_prefix::to_string() const {
  return address.to_string() + "/" + std::to_string(length);
}

endpoint::endpoint(const char* a, std::uint16_t p) : port(p) {
  auto parsed = ip_address::parse(a);
  if (!parsed) throw std::invalid_argument("not an IP address: '" + std::string(a) + "'");
  address = *parsed;
}

std::optional<endpoint> endpoint::parse(std::string_view text) {
  auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  auto host = text.substr(0, colon);
  bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  auto address = ip_address::parse(host);
  // An IPv6 address needs its brackets, else its last group would be read as the port (RFC
  // 3986 3.2.2).
  if (!address || address->is_v6() != bracketed) return std::nullopt;
  auto port = parse_number<std::uint16_t>(text.substr(colon + 1), 65535);
  if (!port) return std::nullopt;
  return endpoint{*address, *port};
}

std::string endpoint::to_string() const {
  auto host = address.to_string();
  return (address.is_v6() ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

}  // namespace weir
