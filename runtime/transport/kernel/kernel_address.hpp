// Endpoints as the kernel's socket calls spell them, and back. The zone of a link-local address
// stands in a field of its own there.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "weir/stack/address.hpp"

namespace weir::detail::kernel {

inline ip_address address_from(const in6_addr& from, std::uint32_t interface) {
  std::array<std::uint8_t, 16> bytes;
  std::memcpy(bytes.data(), &from, bytes.size());
  return ip_address::v6(bytes).with_zone(interface);
}

/// Without its zone.
inline in6_addr address_to(const ip_address& of) {
  const auto plain = of.with_zone(0);
  in6_addr out;
  std::memcpy(&out, plain.bytes().data(), sizeof out);
  return out;
}

/// Large enough for IPv4 too, without the cost of a sockaddr_storage. Of another family it is the
/// default endpoint.
inline endpoint endpoint_from(const sockaddr_in6& from) {
  if (from.sin6_family == AF_INET6)
    return {address_from(from.sin6_addr, from.sin6_scope_id), ntohs(from.sin6_port)};
  if (from.sin6_family != AF_INET) return {};
  sockaddr_in v4;
  std::memcpy(&v4, &from, sizeof v4);
  return {ip_address::v4(ntohl(v4.sin_addr.s_addr)), ntohs(v4.sin_port)};
}

/// Writes a destination; gives its length.
inline socklen_t write_address(sockaddr_in6& into, const endpoint& where) {
  into = {};
  if (where.address.is_v6()) {
    into.sin6_family = AF_INET6;
    into.sin6_port = htons(where.port);
    into.sin6_addr = address_to(where.address);
    into.sin6_scope_id = where.address.zone();
    return sizeof into;
  }
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(where.port);
  std::memcpy(&v4.sin_addr, where.address.bytes().data(), sizeof v4.sin_addr);
  std::memcpy(&into, &v4, sizeof v4);
  return sizeof v4;
}

}  // namespace weir::detail::kernel
