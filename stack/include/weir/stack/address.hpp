// Addresses as every layer of weir spells them: IPv4 and IPv6 addresses, endpoints (address and
// port), prefixes. Values only: nothing here resolves a name or touches the system, but for the
// names of interfaces that zones are read with. Bytes are in
// network order, ports in host order.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace weir {

enum class ip_family : std::uint8_t { v4, v6 };

/// An IPv4 or IPv6 address. The default is the IPv4 unspecified address, 0.0.0.0.
class ip_address {
 public:
  constexpr ip_address() = default;

  /// From four bytes in network order, as they stand in a header.
  static constexpr ip_address v4(std::array<std::uint8_t, 4> bytes) {
    ip_address out;
    for (std::size_t i = 0; i < 4; ++i) out.bytes_[i] = bytes[i];
    return out;
  }
  /// From a number in host order: v4(0x7f000001) is 127.0.0.1.
  static constexpr ip_address v4(std::uint32_t host_order) {
    return v4({static_cast<std::uint8_t>(host_order >> 24),
               static_cast<std::uint8_t>(host_order >> 16),
               static_cast<std::uint8_t>(host_order >> 8), static_cast<std::uint8_t>(host_order)});
  }
  static constexpr ip_address v6(std::array<std::uint8_t, 16> bytes) {
    ip_address out;
    out.bytes_ = bytes;
    out.family_ = ip_family::v6;
    return out;
  }
  /// From text ("127.0.0.1", "::1"); nothing when it is not an address. Names are not resolved.
  static std::optional<ip_address> parse(std::string_view text);

  static constexpr ip_address loopback_v4() { return v4(0x7f000001u); }
  static constexpr ip_address loopback_v6() {
    return v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
  }

  constexpr ip_family family() const { return family_; }
  constexpr bool is_v4() const { return family_ == ip_family::v4; }
  constexpr bool is_v6() const { return family_ == ip_family::v6; }

  /// The address in network order: 4 or 16 bytes.
  constexpr std::span<const std::uint8_t> bytes() const {
    return {bytes_.data(), is_v4() ? std::size_t{4} : std::size_t{16}};
  }
  /// An IPv4 address as a number in host order (the leading four bytes of an IPv6 one).
  constexpr std::uint32_t to_v4_number() const {
    return std::uint32_t{bytes_[0]} << 24 | std::uint32_t{bytes_[1]} << 16 |
           std::uint32_t{bytes_[2]} << 8 | std::uint32_t{bytes_[3]};
  }

  constexpr bool is_unspecified() const {
    for (auto byte : bytes_)
      if (byte != 0) return false;
    return true;
  }
  constexpr bool is_loopback() const { return is_v4() ? bytes_[0] == 127 : *this == loopback_v6(); }
  /// 224.0.0.0/4 or ff00::/8.
  constexpr bool is_multicast() const {
    return is_v4() ? (bytes_[0] & 0xf0) == 0xe0 : bytes_[0] == 0xff;
  }
  /// 255.255.255.255 only: a subnet's broadcast address needs the prefix, see ip_prefix.
  constexpr bool is_limited_broadcast() const { return is_v4() && to_v4_number() == 0xffffffffu; }
  /// 169.254.0.0/16 or fe80::/10.
  constexpr bool is_link_local() const {
    return is_v4() ? bytes_[0] == 169 && bytes_[1] == 254
                   : bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80;
  }

  /// The interface, by its index, that an IPv6 link-local address is meant on (RFC 4007); 0: none
  /// is named. It stands in four bytes that are zero in such an address (RFC 4291 2.5.6), and is
  /// part of its value. Written "fe80::1%2"; read with an interface's name, too.
  constexpr std::uint32_t zone() const {
    if (!is_v6() || bytes_[0] != 0xfe || bytes_[1] != 0x80 || bytes_[2] != 0 || bytes_[3] != 0)
      return 0;
    return std::uint32_t{bytes_[4]} << 24 | std::uint32_t{bytes_[5]} << 16 |
           std::uint32_t{bytes_[6]} << 8 | std::uint32_t{bytes_[7]};
  }
  /// The same address in that zone; the address itself where it can have none.
  constexpr ip_address with_zone(std::uint32_t interface) const {
    auto out = *this;
    if (!is_v6() || bytes_[0] != 0xfe || bytes_[1] != 0x80 || bytes_[2] != 0 || bytes_[3] != 0)
      return out;
    for (unsigned i = 0; i < 4; ++i)
      out.bytes_[4 + i] = static_cast<std::uint8_t>(interface >> (24 - 8 * i));
    return out;
  }

  std::string to_string() const;

  constexpr bool operator==(const ip_address&) const = default;
  constexpr auto operator<=>(const ip_address&) const = default;

 private:
  std::array<std::uint8_t, 16> bytes_{};
  ip_family family_ = ip_family::v4;
};

/// An address with a prefix length: 198.18.0.2/24.
struct ip_prefix {
  ip_address address;
  std::uint8_t length = 0;

  /// "198.18.0.2/24"; without a slash the whole address (/32 or /128).
  static std::optional<ip_prefix> parse(std::string_view text);
  /// Whether `other` lies in the same network.
  bool contains(const ip_address& other) const;
  /// The IPv4 subnet's directed broadcast address; nothing for /31, /32 and IPv6.
  std::optional<ip_address> broadcast() const;
  std::string to_string() const;
  bool operator==(const ip_prefix&) const = default;
};

/// Where a socket is bound or connected to.
struct endpoint {
  ip_address address;
  std::uint16_t port = 0;

  constexpr endpoint() = default;
  constexpr endpoint(ip_address a, std::uint16_t p) : address(a), port(p) {}
  /// From an address in text; throws std::invalid_argument when it is not one (names are not
  /// resolved).
  endpoint(const char* a, std::uint16_t p);

  /// "127.0.0.1:7" or "[::1]:7"; nothing when it is neither.
  static std::optional<endpoint> parse(std::string_view text);
  std::string to_string() const;

  constexpr bool operator==(const endpoint&) const = default;
  constexpr auto operator<=>(const endpoint&) const = default;
};

}  // namespace weir

template <>
struct std::hash<weir::endpoint> {
  std::size_t operator()(const weir::endpoint& e) const noexcept {
    std::uint64_t h = 0xcbf29ce484222325ull ^ e.port;
    for (auto byte : e.address.bytes()) h = (h ^ byte) * 0x100000001b3ull;
    return static_cast<std::size_t>(h ^ (h >> 29));
  }
};
