// An Ethernet link under a host: frames in, IP packets out, and back. It asks and answers by ARP
// (RFC 826, RFC 5227) and neighbour discovery (RFC 4861), tells guests of the network by router
// advertisements (RFC 8106) and DHCP (RFC 2131, RFC 8415), and counts whatever it drops. No I/O, no
// clock, no thread; what nobody needs an address resolved for allocates nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "stack/link/counters.hpp"
#include "stack/link/dhcp_server.hpp"
#include "stack/link/dhcpv6_server.hpp"
#include "stack/link/neighbours.hpp"
#include "stack/wire/discovery.hpp"
#include "stack/wire/ethernet.hpp"
#include "stack/wire/ip.hpp"
#include "weir/stack/address.hpp"
#include "weir/stack/packets.hpp"
#include "weir/stack/time.hpp"

namespace weir::stack {

/// Where a link's frames go.
class frame_sink {
 public:
  /// Takes one frame: its Ethernet header and the packet behind it, in parts. Offsets in `meta`
  /// count from the frame's first byte. Everything is valid only during the call. False: the device
  /// has no room.
  virtual bool send_frame(std::span<const std::byte, wire::ethernet_header> header,
                          std::span<const std::span<const std::byte>> packet,
                          const transmit_meta& meta) = 0;

 protected:
  ~frame_sink() = default;
};

struct link_options {
  wire::mac_address mac;
  /// Answered for. Their networks are on the link; the first of a family is whom questions are
  /// from.
  std::vector<ip_prefix> addresses;
  /// Where packets to other networks go; without one they are dropped.
  std::optional<ip_address> router_v4, router_v6;
  /// What guests are told of the network, by router advertisements and by DHCP; or nothing.
  std::optional<wire::router_facts> advertised;
  std::optional<dhcp_pool> dhcp;
  std::optional<dhcpv6_pool> dhcpv6;  ///< router advertisements say so (RFC 4861 4.2: M and O)
  neighbour_limits limits;
};

/// A card address of the link's own choice for a host with this address: locally administered, the
/// same each time.
wire::mac_address mac_for(const ip_address& address);

class ethernet_link final : private neighbour_owner {
 public:
  /// How often guests are told of the network unasked (RFC 4861 6.2.1 allows 4 to 1800 s).
  static constexpr duration between_advertisements = std::chrono::seconds(200);
  /// An address of ours that another claims is defended so often at most (RFC 5227 2.4 b).
  static constexpr duration between_defences = std::chrono::seconds(10);

  ethernet_link(link_options options, frame_sink& sink);

  /// Tells the link of our addresses, and guests of the network.
  void announce(instant now);
  /// Takes a frame. Gives the IP packet in it that is for the host; empty where there is none.
  std::span<const std::byte> input(instant now, std::span<const std::byte> frame,
                                   const receive_meta& meta);
  /// Sends an IP packet of the host's, headers first: the first part holds the IP header. What
  /// waits for an answer counts as sent. False: it went nowhere.
  bool output(instant now, std::span<const std::span<const std::byte>> packet,
              const transmit_meta& meta);
  void advance(instant now);
  instant next_deadline() const;

  const link_counters& counters() const { return counters_; }
  const neighbour_table& neighbours() const { return neighbours_; }
  const wire::mac_address& mac() const { return options_.mac; }

 private:
  using packet_bytes = std::span<const std::byte>;

  // neighbour_owner
  void ask(const ip_address& target, const wire::mac_address* known) override;
  void send_waiting(const wire::mac_address& to, packet_bytes packet,
                    const transmit_meta& meta) override;

  bool is_own(const ip_address& address) const;
  bool is_on_link(const ip_address& address) const;
  ip_address own_towards(const ip_address& target) const;
  packet_bytes drop(link_counter why);

  // Of IP: whether the packet is the link's own business, and what to do with it.
  packet_bytes input_v4(instant now, const wire::ethernet_fields& frame, packet_bytes packet,
                        const receive_meta& meta);
  packet_bytes input_v6(instant now, const wire::ethernet_fields& frame, packet_bytes packet,
                        const receive_meta& meta);

  void on_arp(instant now, const wire::ethernet_fields& frame, packet_bytes bytes);
  void defend(instant now, const ip_address& address);
  void send_arp(const wire::arp_message& message, const wire::mac_address& to);

  void on_discovery(instant now, const wire::ethernet_fields& frame, packet_bytes packet);
  void on_solicitation(instant now, const wire::ethernet_fields& frame, const ip_address& source,
                       const wire::discovery_message& message);
  void on_advertisement(instant now, const wire::discovery_message& message);
  void on_router_solicitation(instant now, const wire::ethernet_fields& frame,
                              const ip_address& source, const wire::discovery_message& message);
  void advertise(const ip_address& to, const wire::mac_address& mac);

  void on_dhcp(instant now, const wire::ethernet_fields& frame, const wire::ip_header& ip,
               const receive_meta& meta);
  void send_dhcp(const wire::dhcp_answer& answer);

  bool is_for_dhcpv6(const wire::ip_header& ip) const;
  void on_dhcpv6(instant now, const wire::ethernet_fields& frame, const wire::ip_header& ip,
                 const receive_meta& meta);
  void send_dhcpv6(const wire::dhcpv6_answer& answer, const ip_address& to,
                   const wire::mac_address& mac);

  bool send(const wire::mac_address& to, std::uint16_t type, std::span<const packet_bytes> packet,
            transmit_meta meta);
  bool send_whole(const wire::mac_address& to, std::uint16_t type, packet_bytes packet);

  link_options options_;
  frame_sink& sink_;
  link_counters counters_;
  neighbour_table neighbours_;
  std::optional<dhcp_server> dhcp_;
  std::optional<dhcpv6_server> dhcpv6_;
  ip_address link_local_;
  bool has_v6_ = false;
  instant next_advertisement_ = instant::never();
  instant next_defence_;
};

}  // namespace weir::stack
