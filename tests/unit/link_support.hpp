// What the tests of link/ share: a link with a guest across it, and frames written by hand.
#pragma once

#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "stack/link/ethernet_link.hpp"
#include "unit/wire_support.hpp"

namespace weir::test {

using namespace std::chrono_literals;
using stack::link_counter;
using wire::mac_address;

inline constexpr mac_address own_mac{{0x02, 0x77, 10, 0, 2, 2}};
inline constexpr mac_address guest_mac{{0x52, 0x54, 0, 0x12, 0x34, 0x56}};
inline constexpr mac_address other_mac{{0x52, 0x54, 0, 0, 0, 9}};

inline bytes frame(const mac_address& to, const mac_address& from, std::uint16_t type,
                   std::span<const std::byte> packet) {
  bytes out(wire::ethernet_header);
  wire::emit_ethernet(out.data(), {to, from, type});
  return out + packet;
}

inline bytes arp_bytes(const wire::arp_message& message) {
  bytes out(wire::arp_size);
  wire::emit_arp(out.data(), message);
  return out;
}

inline stack::link_options guest_link() {
  stack::link_options out;
  out.mac = own_mac;
  out.addresses = {*ip_prefix::parse("10.0.2.2/24"), *ip_prefix::parse("10.0.2.3/32"),
                   *ip_prefix::parse("fd77:6569:7200::2/64")};
  return out;
}

/// A link, its clock, and what it sent.
class link_bench final : private stack::frame_sink {
 public:
  struct sent_frame {
    wire::ethernet_fields header;
    bytes packet;
    stack::transmit_meta meta;
  };

  explicit link_bench(stack::link_options options = guest_link())
      : link(std::move(options), *this) {}

  /// A frame of the guest's, and what of it is the host's.
  bytes receive(const bytes& what, const stack::receive_meta& meta = {}) {
    const exact_copy copy(what);
    const auto packet = link.input(now, copy.view(), meta);
    return {packet.begin(), packet.end()};
  }
  bytes receive_arp(const wire::arp_message& message, const mac_address& to = own_mac,
                    const mac_address& from = guest_mac) {
    return receive(frame(to, from, wire::ethertype::arp, arp_bytes(message)));
  }
  /// The guest has this address and answers questions about it.
  void introduce(const char* address, const mac_address& mac = guest_mac) {
    receive_arp({false, mac, {}, addr(address), addr("10.0.2.2")}, own_mac, mac);
    sent.clear();
  }
  bool transmit(const bytes& packet, const stack::transmit_meta& meta = {}) {
    const std::span<const std::byte> parts[] = {packet};
    return link.output(now, parts, meta);
  }
  void pass(duration time) {
    for (const auto end = now + time;;) {
      const auto next = link.next_deadline();
      if (next > end) {
        now = end;
        return;
      }
      now = std::max(now, next);
      link.advance(now);
    }
  }
  std::uint64_t count(link_counter c) const { return link.counters()[c]; }
  /// The last frame that was sent.
  const sent_frame& last() const { return sent.back(); }

  instant now = instant::from_ns(1'000'000'000);
  std::vector<sent_frame> sent;
  bool full = false;
  stack::ethernet_link link;

 private:
  bool send_frame(std::span<const std::byte, wire::ethernet_header> header,
                  std::span<const std::span<const std::byte>> packet,
                  const stack::transmit_meta& meta) override {
    if (full) return false;
    bytes whole;
    for (const auto& part : packet) whole = std::move(whole) + part;
    sent.push_back({*wire::parse_ethernet(header), std::move(whole), meta});
    return true;
  }
};

}  // namespace weir::test
