// ARP of an Ethernet link: RFC 826, and RFC 5227 where two claim an address.
#include "stack/link/ethernet_link.hpp"

namespace weir::stack {

void ethernet_link::on_arp(instant now, const wire::ethernet_fields& frame, packet_bytes bytes) {
  const auto message = wire::parse_arp(bytes);
  if (!message) return counters_.add(link_counter::drop_arp_malformed);
  if (message->sender_mac != frame.source) return counters_.add(link_counter::drop_arp_forged);
  if (!message->sender.is_unspecified()) {
    if (is_own(message->sender)) return defend(now, message->sender);
    if (!is_on_link(message->sender)) return counters_.add(link_counter::drop_arp_off_link);
  }
  const bool announces = message->sender == message->target;
  if (!message->reply && is_own(message->target)) {
    // A probe (RFC 5227 1.1) has no sender yet: it is answered, and nothing is learned.
    if (!message->sender.is_unspecified()) neighbours_.heard(now, message->sender, frame.source);
    counters_.add(link_counter::arp_answered);
    return send_arp({true, options_.mac, message->sender_mac, message->target, message->sender},
                    frame.source);
  }
  // RFC 826: what concerns others corrects what is known, and adds nothing.
  if (!message->reply || announces) {
    if (!message->sender.is_unspecified())
      neighbours_.heard_if_known(now, message->sender, frame.source);
    return;
  }
  const bool to_us = frame.destination == options_.mac && is_own(message->target);
  if (!neighbours_.answered(now, message->sender, {frame.source, to_us, true}))
    counters_.add(link_counter::drop_arp_unasked);
}

// RFC 5227 2.4 b: it is said once more whose the address is, seldom enough that two who defend the
// same one do not fill the link.
void ethernet_link::defend(instant now, const ip_address& address) {
  counters_.add(link_counter::address_conflicts);
  if (now < next_defence_) return;
  next_defence_ = now + between_defences;
  send_arp({false, options_.mac, {}, address, address}, wire::mac_address::broadcast());
}

void ethernet_link::send_arp(const wire::arp_message& message, const wire::mac_address& to) {
  std::array<std::byte, wire::arp_size> bytes;
  wire::emit_arp(bytes.data(), message);
  send_whole(to, wire::ethertype::arp, bytes);
}

}  // namespace weir::stack
