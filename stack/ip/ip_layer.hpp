// IP of one host, both families: what may come in, what goes out and from where. It validates,
// reassembles, answers echo requests and sends ICMP errors itself; segments, datagrams and the
// errors that concern a transport it hands up. No system call, no clock, no thread; nothing that
// arrives can throw, assert or allocate without bound. RFC 791, 792, 1122 3, 1191, 4443, 6864,
// 8200, 8201.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "stack/wire/tcp.hpp"
#include "stack/wire/udp.hpp"
#include "weir/stack/counters.hpp"
#include "weir/stack/options.hpp"
#include "weir/stack/packets.hpp"

namespace weir::stack {

enum class icmp_kind : std::uint8_t {
  network_unreachable,   ///< v4 3/0, 3/6, 3/11; v6 1/0
  host_unreachable,      ///< v4 3/1, 3/7, 3/8, 3/12; v6 1/3
  protocol_unreachable,  ///< v4 3/2; v6 4/1 (unrecognized next header)
  port_unreachable,      ///< v4 3/3; v6 1/4
  source_route_failed,   ///< v4 3/5
  prohibited,            ///< v4 3/9, 3/10, 3/13-15; v6 1/1, 1/2, 1/5-7
  packet_too_big,        ///< v4 3/4; v6 2
  time_exceeded,         ///< v4 11; v6 3
  parameter_problem,     ///< v4 12; v6 4/0, 4/2
  unknown_error          ///< v6: an error type or code that no one knows (RFC 4443 2.4 a): soft
};

/// An ICMP error about a packet that one of our addresses sent. It proves nothing yet: the
/// transport checks that the flow exists and that `sequence` is in flight (RFC 5927 4).
struct icmp_report {
  icmp_kind kind = icmp_kind::host_unreachable;
  std::uint8_t type = 0, code = 0;  ///< as on the wire, of the family of `remote`
  std::uint8_t protocol = 0;        ///< wire::tcp_protocol or wire::udp_protocol
  ip_address reporter;              ///< who says so
  endpoint local, remote;           ///< the quoted packet's source and destination
  std::uint32_t sequence = 0;       ///< the quoted TCP sequence number
  std::uint32_t mtu = 0;  ///< packet_too_big: the next hop's; 0 when an old router did not say
  std::uint32_t quoted_length = 0;  ///< packet_too_big: total length of the packet that did not fit
};

/// An echo request to an address that is not one of the host's own.
struct echo_request {
  ip_address source, destination;
  std::uint16_t identifier = 0;
  std::span<const std::byte> data;  ///< sequence number and what follows it
};

/// What input() has for a transport: nothing, a segment, a datagram, an echo request or an error.
/// Spans are valid until the next call of input(), input_looped() or advance().
using delivery =
    std::variant<std::monostate, wire::tcp_segment, wire::udp_datagram, icmp_report, echo_request>;

/// A SYN or a datagram that ends here.
struct refused_packet {
  endpoint from, to;
  std::uint8_t protocol = 0;
  std::uint32_t sequence = 0;  ///< of TCP
  refusal why = refusal::port_unreachable;
  std::uint16_t too_long_for = 0;  ///< an MTU: then it is this, and not `why`
};

class ip_layer {
 public:
  /// Payload parts that one send may gather.
  static constexpr std::size_t max_parts = 64;
  /// Packets to our own addresses that wait for input_looped(): more are dropped, as by a full
  /// device.
  static constexpr std::size_t max_looped = 1024;

  /// All three outlive this.
  ip_layer(const host_options& options, packet_sink& sink, host_counters& counters);
  ~ip_layer();
  ip_layer(const ip_layer&) = delete;
  ip_layer& operator=(const ip_layer&) = delete;

  /// One packet from the device. May send (echo reply, ICMP error).
  delivery input(instant now, std::span<const std::byte> packet, const receive_meta& meta);
  /// The same for the usual packet, a plain TCP segment for us (wire/plain.hpp): true, and `out`,
  /// fresh before, is what input() would have delivered. False: nothing happened; ask input().
  bool input_plain(std::span<const std::byte> packet, const receive_meta& meta,
                   wire::tcp_segment& out);
  /// The packet that the last delivery of input() came in, whole where it came in fragments. Valid
  /// as long as the delivery.
  std::span<const std::byte> delivered() const;
  /// Packets that were sent to one of our own addresses do not reach the device: they wait here,
  /// oldest first. The host takes them in flush() and advance(), until has_looped() is false or its
  /// own bound is met.
  bool has_looped() const;
  delivery input_looped(instant now);
  /// Gives up incomplete datagrams that are too old, forgets old path MTUs.
  void advance(instant now);
  /// When advance() is due; the origin of time while looped packets wait.
  instant next_deadline() const;

  /// Sends one TCP segment: `segment` gives addresses (source set), ports and all header fields but
  /// the payload, which is gathered from `payload` without a copy. `segment.gso_size` non-zero cuts
  /// it into segments of that many bytes (FIN and PSH on the last one, CWR on the first, RFC 9293
  /// SHLD-27): by the device where it can, else here. DF is set (RFC 1191 3). False: the device
  /// took not all of it, the packet is over the MTU, or the source is not ours. Allocates nothing
  /// unless the destination is ours.
  bool send_tcp(instant now, const wire::tcp_segment& segment,
                std::span<const std::span<const std::byte>> payload, std::uint8_t ttl = 64);
  /// The same for a UDP datagram; one that is larger than the MTU is fragmented.
  bool send_udp(instant now, const wire::udp_datagram& datagram,
                std::span<const std::span<const std::byte>> payload, std::uint8_t ttl = 64);
  /// The reply to an echo request; `data` as there. False: the device has no room.
  bool send_echo_reply(instant now, const echo_request& reply);
  /// Says that a packet leads nowhere, in the name of its destination; what of it the sender needs
  /// to recognise it is made up again.
  void send_unreachable(instant now, const refused_packet& what);
  /// Answers a datagram that no socket wants (RFC 1122 4.1.3.1, RFC 4443 3.1).
  void send_port_unreachable(instant now, const wire::udp_datagram& datagram);

  /// Packets to this network are taken from now on, and sent from it. False: too many of them.
  bool take_also(const ip_prefix& network);
  /// Whether `address` is one of the host's own.
  bool is_local(const ip_address& address) const;
  /// Whether a packet may be sent to `address`, and a connection opened: not multicast, broadcast
  /// or unspecified (RFC 9293 MUST-46, RFC 1122 3.2.1.3).
  bool is_unicast(const ip_address& address) const;
  /// The source address for `destination`: of its own subnet, else the first of the same family and
  /// scope; empty when the host has none of that family (RFC 1122 3.3.4.3, RFC 6724 5).
  std::optional<ip_address> source_for(const ip_address& destination) const;

  /// What fits through the path to `destination`, IP header included; at most the device's MTU.
  std::uint16_t path_mtu(instant now, const ip_address& destination) const;
  /// What a probe may try (RFC 4821 7.2): the device's MTU, or less where a router said so.
  std::uint16_t path_limit(instant now, const ip_address& destination) const;
  /// Takes a packet_too_big that the transport has validated. Returns the path MTU if it became
  /// smaller: never below 68 (v4: 552 unless the device's own is smaller) or 1280 (v6), never
  /// larger (RFC 1191 3, RFC 8201 4).
  std::optional<std::uint16_t> lower_path_mtu(instant now, const icmp_report& report);
  /// The same from the transport's own black-hole detection or probing (RFC 4821); may raise it up
  /// to the device's MTU.
  void set_path_mtu(instant now, const ip_address& destination, std::uint16_t mtu);

 private:
  class impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace weir::stack
