// An Ethernet link on sequences of frames, packets of its host's and clocks that jump. Checksums
// and addresses are put right for most frames, so that the fuzzer gets past them. Nothing may
// break, what is sent is right, and every bound holds.
#include <algorithm>
#include <array>
#include <vector>

#include "fuzz/fuzz_support.hpp"
#include "stack/link/ethernet_link.hpp"
#include "stack/wire/bytes.hpp"
#include "stack/wire/checksum.hpp"
#include "stack/wire/udp.hpp"

using namespace weir;
using namespace weir::fuzz;
namespace wire = weir::stack::wire;

namespace {

constexpr wire::mac_address own_mac{{2, 0x77, 10, 0, 2, 2}}, guest_mac{{2, 0, 0, 0, 0, 9}};
constexpr std::size_t most_neighbours = 8, most_waiting = 4096;

class checking_sink final : public stack::frame_sink {
 public:
  bool send_frame(std::span<const std::byte, wire::ethernet_header> header,
                  std::span<const std::span<const std::byte>> packet,
                  const stack::transmit_meta&) override {
    const auto fields = wire::parse_ethernet(header);
    claim(fields && fields->source == own_mac, "what is sent is ours");
    claim(!fields->destination.is_zero(), "what is sent has a receiver");
    claim(packet.size() == 1, "packets here are in one piece");
    if (fields->type == wire::ethertype::arp) {
      const auto message = wire::parse_arp(packet[0]);
      claim(message && message->sender_mac == own_mac, "ARP that is sent parses");
    } else if (!host_sends) {
      const auto ip = wire::parse_ip(packet[0]);
      claim(ip.status == wire::ip_status::ok && ip.total_length == packet[0].size(),
            "what is sent parses");
      check_checksum(ip);
    }
    return ++sent % 7 != 0;
  }
  bool host_sends = false;  ///< a packet of the host's, or one that waited
  int sent = 0;

 private:
  static void check_checksum(const wire::ip_header& ip) {
    wire::internet_sum sum;
    sum.add_pseudo(ip.source, ip.destination, ip.protocol,
                   static_cast<std::uint32_t>(ip.payload.size()));
    sum.add(ip.payload);
    claim(sum.checksum() == 0, "what is sent has its checksum");
  }
};

stack::link_options options() {
  stack::link_options o;
  o.mac = own_mac;
  o.addresses = {*ip_prefix::parse("10.0.2.2/24"), *ip_prefix::parse("fd00::2/64")};
  o.router_v4 = *ip_address::parse("10.0.2.100");
  auto& facts = o.advertised.emplace();
  facts.prefix = *ip_prefix::parse("fd00::2/64");
  facts.name_servers.assign(20, *ip_address::parse("fd00::3"));
  auto& pool = o.dhcp.emplace();
  pool.server = *ip_prefix::parse("10.0.2.2/24");
  pool.first = *ip_address::parse("10.0.2.100");
  pool.addresses = 3;
  pool.name_servers.assign(20, *ip_address::parse("10.0.2.3"));
  pool.mtu = 1500;
  auto& pool6 = o.dhcpv6.emplace();
  pool6.network = *ip_prefix::parse("fd00::2/64");
  pool6.first = *ip_address::parse("fd00::ffff:ffff");  // and on behind the last word's end
  pool6.addresses = 3;
  pool6.name_servers.assign(20, *ip_address::parse("fd00::3"));
  o.limits.neighbours = most_neighbours;
  o.limits.waiting_bytes = most_waiting;
  return o;
}

// A DHCPv6 query: to the group or to us, by the bits of `how`, which may name us as its server.
std::vector<std::byte> dhcpv6_query(std::span<const std::byte> bytes, std::uint8_t how) {
  constexpr std::size_t head = 14 + 40 + 8;
  const auto type = bytes.first(std::min<std::size_t>(bytes.size(), 4));
  std::vector<std::byte> out(head);
  out.insert(out.end(), type.begin(), type.end());
  if ((how & 4) != 0) {
    const auto id = wire::dhcpv6_id_of(own_mac);
    const std::array option = {std::byte{}, std::byte{2}, std::byte{}, std::byte{id.size()}};
    out.insert(out.end(), option.begin(), option.end());
    out.insert(out.end(), id.begin(), id.end());
  }
  const auto options = bytes.subspan(type.size());
  out.insert(out.end(), options.begin(), options.end());
  wire::emit_ethernet(out.data(), {own_mac, guest_mac, wire::ethertype::ipv6});
  const auto length = static_cast<std::uint16_t>(out.size() - head + 8);
  wire::ipv6_fields ip;
  ip.source = *ip_address::parse((how & 16) != 0 ? "fd00::9" : "fe80::9");
  ip.destination = *ip_address::parse((how & 16) != 0 ? "fd00::2" : "ff02::1:2");
  ip.next_header = wire::udp_protocol;
  ip.payload_length = length;
  wire::emit_ipv6(out.data() + 14, ip);
  auto* const udp = out.data() + 54;
  wire::emit_udp_header(udp, 546, 547, length);
  wire::internet_sum sum;
  sum.add_pseudo(ip.source, ip.destination, wire::udp_protocol, length);
  sum.add({udp, length});
  wire::put16(udp + 6, sum.checksum() == 0 ? 0xffff : sum.checksum());
  return out;
}

// Puts the right headers before the fuzzer's bytes, by the bits of `how`: a DHCP query of either
// family, a message of neighbour discovery, ARP, or nothing of it.
std::vector<std::byte> mended(std::span<const std::byte> bytes, std::uint8_t how) {
  if ((how & 3) == 0) return {bytes.begin(), bytes.end()};
  if ((how & 0x82) == 0x82) return dhcpv6_query(bytes, how);
  const bool discovery = (how & 3) == 2, arp = (how & 3) == 3;
  const std::size_t head = arp ? 14 : discovery ? 14 + 40 : 14 + 28;
  std::vector<std::byte> out(head);
  out.insert(out.end(), bytes.begin(), bytes.end());
  auto* at = out.data();
  const auto type = arp         ? wire::ethertype::arp
                    : discovery ? wire::ethertype::ipv6
                                : wire::ethertype::ipv4;
  wire::emit_ethernet(at,
                      {(how & 4) != 0 ? wire::mac_address::broadcast() : own_mac, guest_mac, type});
  const auto length = static_cast<std::uint16_t>(bytes.size());
  wire::internet_sum sum;
  if (discovery && length >= 8) {
    wire::ipv6_fields ip;
    ip.source = *ip_address::parse((how & 8) != 0 ? "fd00::9" : "::");
    ip.destination = *ip_address::parse((how & 16) != 0 ? "fd00::2" : "ff02::1:ff00:2");
    ip.next_header = wire::icmp_v6;
    ip.hop_limit = 255;
    ip.payload_length = length;
    wire::emit_ipv6(at + 14, ip);
    at[head] = std::byte(133 + (wire::get8(at + head) & 3));
    at[head + 1] = {};
    wire::put16(at + head + 2, 0);
    sum.add_pseudo(ip.source, ip.destination, wire::icmp_v6, length);
    sum.add({at + head, length});
    wire::put16(at + head + 2, sum.checksum());
  } else if (arp && length >= 28) {
    wire::emit_arp(at + 14,
                   {(how & 8) != 0, guest_mac, own_mac, wire::read_v4(at + 28),
                    (how & 16) != 0 ? *ip_address::parse("10.0.2.2") : wire::read_v4(at + 38)});
  } else if (!arp && !discovery) {
    wire::ipv4_fields ip;
    ip.destination = *ip_address::parse("255.255.255.255");
    ip.protocol = wire::udp_protocol;
    ip.total_length = static_cast<std::uint16_t>(28 + length);
    wire::emit_ipv4(at + 14, ip);
    wire::emit_udp_header(at + 34, 68, 67, static_cast<std::uint16_t>(8 + length));
    if (length >= 240) {
      wire::put32(at + head, 0x01010600);
      wire::write_mac(at + head + 28, guest_mac);
      wire::put32(at + head + 236, 0x63825363);
      if ((how & 8) != 0) wire::put32(at + head + 24, 0);
    }
  }
  return out;
}

// Of the host's: to an address on the link, or elsewhere.
void send(stack::ethernet_link& link, instant now, input& in) {
  std::array<std::byte, 64> packet{};
  if ((in.number8() & 1) != 0) {
    wire::ipv6_fields ip;
    ip.destination = *ip_address::parse("fd00::1");
    wire::emit_ipv6(packet.data(), ip);
    packet[39] = std::byte(in.number8());
    packet[24] = std::byte(in.number8() % 4 == 0 ? 0xff : 0xfd);
  } else {
    wire::ipv4_fields ip;
    ip.destination = ip_address::v4(0x0a000200u + in.number16());
    wire::emit_ipv4(packet.data(), ip);
  }
  const std::span<const std::byte> parts[] = {packet};
  link.output(now, parts, {});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  checking_sink sink;
  stack::ethernet_link link(options(), sink);
  input in(data, size);
  auto now = instant::from_ns(1'000'000'000);
  link.announce(now);
  while (!in.empty()) {
    const auto how = in.number8();
    if (how == 0xff) {
      now += std::chrono::milliseconds(in.number16());
      sink.host_sends = true;
      link.advance(now);
    } else if (how >= 0xe0) {
      sink.host_sends = true;
      send(link, now, in);
    } else {
      const auto frame = mended(in.take(in.number8() * ((how & 32) != 0 ? 2u : 1u)), how);
      stack::receive_meta meta;
      meta.checksum_good = (how & 64) != 0 || (how & 3) == 1;
      sink.host_sends = link.neighbours().waiting_bytes() != 0;
      claim_inside(link.input(now, frame, meta), frame, "what the host gets lies in the frame");
    }
    sink.host_sends = false;
    claim(link.neighbours().size() <= most_neighbours, "neighbours within their bound");
    claim(link.neighbours().waiting_bytes() <= most_waiting, "waiting packets within their bound");
    claim(link.next_deadline() > now || how != 0xff, "time moves on");
  }
  return 0;
}
