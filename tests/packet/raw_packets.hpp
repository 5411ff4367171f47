// What the scripts' notation cannot say: TCP and IP options byte by byte. Pure functions on
// packets; the IPv4 header's checksum is made good, script::in_raw() vouches for TCP's.
#pragma once

#include <cstdint>
#include <vector>

#include "packet/script.hpp"
#include "stack/wire/checksum.hpp"
#include "stack/wire/ip.hpp"

namespace weir::test {

using octets = std::vector<std::uint8_t>;

inline void put_octets(std::vector<std::byte>& into, std::size_t where, std::uint32_t value,
                       int bytes) {
  for (int i = 0; i < bytes; ++i)
    into[where + static_cast<std::size_t>(i)] =
        static_cast<std::byte>(value >> (8 * (bytes - 1 - i)));
}

/// Sets the IPv4 header's length fields and checksum anew after bytes went in.
inline void finish_ipv4(std::vector<std::byte>& packet, std::size_t header) {
  packet[0] = static_cast<std::byte>(0x40 | header / 4);
  put_octets(packet, 2, static_cast<std::uint32_t>(packet.size()), 2);
  put_octets(packet, 10, 0, 2);
  wire::internet_sum sum;
  sum.add(std::span(packet).first(header));
  put_octets(packet, 10, sum.checksum(), 2);
}

/// An IPv4 packet of script::packet() (whose TCP header has no options) with these instead; their
/// length is a multiple of four.
inline std::vector<std::byte> with_tcp_options(std::vector<std::byte> packet,
                                               const octets& options) {
  constexpr std::size_t ip = wire::min_ipv4_header, tcp = wire::min_tcp_header;
  REQUIRE(options.size() % 4 == 0);
  REQUIRE((std::to_integer<int>(packet[ip + 12]) >> 4) == 5);
  std::vector<std::byte> bytes;
  for (auto o : options) bytes.push_back(static_cast<std::byte>(o));
  packet.insert(packet.begin() + ip + tcp, bytes.begin(), bytes.end());
  packet[ip + 12] = static_cast<std::byte>((tcp + options.size()) / 4 << 4);
  finish_ipv4(packet, ip);
  return packet;
}

/// An IPv4 packet with these IP options.
inline std::vector<std::byte> with_ip_options(std::vector<std::byte> packet,
                                              const octets& options) {
  REQUIRE(options.size() % 4 == 0);
  std::vector<std::byte> bytes;
  for (auto o : options) bytes.push_back(static_cast<std::byte>(o));
  packet.insert(packet.begin() + wire::min_ipv4_header, bytes.begin(), bytes.end());
  finish_ipv4(packet, wire::min_ipv4_header + options.size());
  return packet;
}

}  // namespace weir::test
