// ARP of an Ethernet link, the frames that it takes, and packets that wait for an answer.
#include <doctest/doctest.h>

#include "unit/link_support.hpp"

using namespace weir;
using namespace weir::test;

namespace {

const wire::arp_message guest_asks{false, guest_mac, {}, addr("10.0.2.100"), addr("10.0.2.2")};

bytes packet(const char* from, const char* to, std::size_t size) {
  ip_packet out;
  out.source = addr(from);
  out.destination = addr(to);
  out.protocol = 6;
  out.payload = pattern(size);
  return out.build();
}

bytes packet_to(const char* to, std::size_t size = 32) {
  return packet(addr(to).is_v6() ? "fd77:6569:7200::2" : "10.0.2.2", to, size);
}

bytes from_guest(const char* to) { return packet("10.0.2.100", to, 20); }

}  // namespace

TEST_CASE("arp_question_about_our_address_is_answered_to_who_asked") {
  link_bench b;
  // As Linux sends it, byte by byte, with the padding of a short frame.
  auto asked =
      raw({0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0,    0x12, 0x34, 0x56, 8,    6,
           0,    1,    8,    0,    6,    4,    0,    1,    0x52, 0x54, 0,    0x12, 0x34, 0x56,
           10,   0,    2,    100,  0,    0,    0,    0,    0,    0,    10,   0,    2,    2});
  CHECK(b.receive(asked + bytes(18)).empty());
  REQUIRE(b.sent.size() == 1);
  CHECK(b.last().header.destination == guest_mac);
  CHECK(b.last().header.source == own_mac);
  CHECK(b.last().packet == raw({0,  1, 8, 0, 6,    4,    0, 2,    0x02, 0x77, 10, 0, 2, 2,
                                10, 0, 2, 2, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 10, 0, 2, 100}));
  CHECK(b.count(link_counter::arp_answered) == 1);
  // Who asked is known by it: no question of our own.
  b.sent.clear();
  CHECK(b.transmit(packet_to("10.0.2.100")));
  REQUIRE(b.sent.size() == 1);
  CHECK(b.last().header.destination == guest_mac);
  CHECK(b.last().header.type == wire::ethertype::ipv4);
}

TEST_CASE("arp_question_about_others_is_not_answered") {
  link_bench b;
  auto message = guest_asks;
  message.target = addr("10.0.2.77");
  b.receive_arp(message, mac_address::broadcast());
  CHECK(b.sent.empty());
  CHECK(b.link.neighbours().size() == 0);
  message.target = addr("10.0.2.3");  // the second of ours
  b.receive_arp(message, mac_address::broadcast());
  CHECK(b.sent.size() == 1);
}

TEST_CASE("arp_probe_is_answered_and_teaches_nothing") {
  link_bench b;
  auto probe = guest_asks;
  probe.sender = {};
  b.receive_arp(probe, mac_address::broadcast());
  CHECK(b.sent.size() == 1);
  CHECK(b.link.neighbours().size() == 0);
}

TEST_CASE("arp_that_is_malformed_or_forged_is_dropped_by_its_reason") {
  link_bench b;
  const auto good = arp_bytes(guest_asks);
  const auto drops = [&](std::size_t at, unsigned value, link_counter why) {
    auto wrong = good;
    wrong[at] = std::byte(value);
    const auto before = b.count(why);
    CHECK(b.receive(frame(own_mac, guest_mac, wire::ethertype::arp, wrong)).empty());
    CAPTURE(at);
    CHECK(b.count(why) == before + 1);
  };
  for (const auto& [at, value] :
       {std::pair{1, 2u}, {2, 6u}, {4, 8u}, {5, 16u}, {7, 3u}, {14, 224u}, {14, 127u}, {8, 0x53u}})
    drops(static_cast<std::size_t>(at), value, link_counter::drop_arp_malformed);
  drops(13, 1, link_counter::drop_arp_forged);
  drops(15, 1, link_counter::drop_arp_off_link);
  for (std::size_t n = 0; n < good.size(); ++n)
    b.receive(frame(own_mac, guest_mac, wire::ethertype::arp, std::span(good).first(n)));
  CHECK(b.count(link_counter::drop_arp_malformed) == 8 + good.size());
  CHECK(b.sent.empty());
  CHECK(b.link.neighbours().size() == 0);
}

TEST_CASE("arp_answer_that_nobody_asked_for_is_dropped") {
  link_bench b;
  b.receive_arp({true, guest_mac, own_mac, addr("10.0.2.100"), addr("10.0.2.2")});
  CHECK(b.count(link_counter::drop_arp_unasked) == 1);
  CHECK(b.link.neighbours().size() == 0);
}

TEST_CASE("gratuitous_arp_corrects_what_is_known_and_adds_nothing") {
  link_bench b;
  const wire::arp_message moved{false, other_mac, {}, addr("10.0.2.100"), addr("10.0.2.100")};
  b.receive_arp(moved, mac_address::broadcast(), other_mac);
  CHECK(b.link.neighbours().size() == 0);
  b.introduce("10.0.2.100");
  b.receive_arp(moved, mac_address::broadcast(), other_mac);
  CHECK(b.transmit(packet_to("10.0.2.100")));
  CHECK(b.last().header.destination == other_mac);
}

TEST_CASE("our_address_is_defended_once_in_a_while") {
  link_bench b;
  const wire::arp_message claim{false, other_mac, {}, addr("10.0.2.2"), addr("10.0.2.2")};
  for (int i = 0; i < 5; ++i) b.receive_arp(claim, mac_address::broadcast(), other_mac);
  CHECK(b.sent.size() == 1);
  CHECK(b.last().header.destination == mac_address::broadcast());
  CHECK(b.count(link_counter::address_conflicts) == 5);
  b.pass(10s);
  b.receive_arp(claim, mac_address::broadcast(), other_mac);
  CHECK(b.sent.size() == 2);
}

TEST_CASE("packet_waits_for_the_answer_and_keeps_its_offload") {
  link_bench b;
  stack::transmit_meta meta;
  meta.needs_checksum = true;
  meta.checksum_start = 20;
  meta.checksum_offset = 16;
  meta.header_length = 40;
  meta.gso_size = 1460;
  const auto large = packet_to("10.0.2.100", 4000);
  CHECK(b.transmit(large, meta));
  REQUIRE(b.sent.size() == 1);
  CHECK(b.last().header.type == wire::ethertype::arp);
  CHECK(b.last().header.destination == mac_address::broadcast());
  b.receive_arp({true, guest_mac, own_mac, addr("10.0.2.100"), addr("10.0.2.2")});
  REQUIRE(b.sent.size() == 2);
  CHECK(b.last().header.destination == guest_mac);
  CHECK(b.last().packet == large);
  CHECK(b.last().meta.checksum_start == 34);
  CHECK(b.last().meta.header_length == 54);
  CHECK(b.last().meta.checksum_offset == 16);
  CHECK(b.last().meta.gso_size == 1460);
  CHECK(b.link.neighbours().waiting_bytes() == 0);
}

TEST_CASE("nobody_answers_and_the_packets_are_given_up") {
  link_bench b;
  for (int i = 0; i < 3; ++i) CHECK(b.transmit(packet_to("10.0.2.9")));
  b.pass(2900ms);
  CHECK(b.sent.size() == 3);  // three questions, a second apart
  CHECK(b.count(link_counter::drop_unresolved) == 0);
  b.pass(200ms);
  CHECK(b.count(link_counter::drop_unresolved) == 3);
  CHECK(b.count(link_counter::neighbours_lost) == 1);
  CHECK(b.link.neighbours().size() == 0);
  CHECK(b.link.neighbours().waiting_bytes() == 0);
  CHECK(b.link.next_deadline().is_never());
}

TEST_CASE("packets_to_other_networks_take_the_router_or_none") {
  link_bench none;
  CHECK_FALSE(none.transmit(packet_to("192.0.2.1")));
  CHECK(none.count(link_counter::drop_no_route) == 1);
  auto options = guest_link();
  options.router_v4 = addr("10.0.2.100");
  link_bench b(options);
  b.introduce("10.0.2.100");
  CHECK(b.transmit(packet_to("192.0.2.1")));
  CHECK(b.last().header.destination == guest_mac);
  // Groups and everybody have cards of their own.
  CHECK(b.transmit(packet_to("224.0.0.251")));
  CHECK(b.last().header.destination == mac_address{{1, 0, 0x5e, 0, 0, 251}});
  CHECK(b.transmit(packet_to("ff02::fb")));
  CHECK(b.last().header.destination == mac_address{{0x33, 0x33, 0, 0, 0, 0xfb}});
  CHECK(b.transmit(packet_to("255.255.255.255")));
  CHECK(b.last().header.destination == mac_address::broadcast());
}

TEST_CASE("device_without_room_is_told_to_the_host") {
  link_bench b;
  b.introduce("10.0.2.100");
  b.full = true;
  CHECK_FALSE(b.transmit(packet_to("10.0.2.100")));
  CHECK(b.count(link_counter::frames_refused) == 1);
}

TEST_CASE("frames_for_others_are_dropped_by_their_reason") {
  link_bench b;
  const auto outwards = from_guest("203.0.113.9");
  CHECK(b.receive(frame(own_mac, guest_mac, wire::ethertype::ipv4, outwards)) == outwards);
  struct row {
    mac_address to, from;
    std::uint16_t type;
    link_counter why;
  };
  for (const auto& r :
       {row{other_mac, guest_mac, wire::ethertype::ipv4, link_counter::drop_not_ours},
        row{own_mac, own_mac, wire::ethertype::ipv4, link_counter::drop_bad_source},
        row{own_mac, {}, wire::ethertype::ipv4, link_counter::drop_bad_source},
        row{own_mac, mac_address::broadcast(), wire::ethertype::ipv4,
            link_counter::drop_bad_source},
        row{own_mac, guest_mac, 0x8100, link_counter::drop_unknown_type},
        row{own_mac, guest_mac, 46, link_counter::drop_unknown_type},
        row{mac_address::broadcast(), guest_mac, wire::ethertype::ipv4,
            link_counter::drop_group_frame}}) {
    const auto before = b.count(r.why);
    CHECK(b.receive(frame(r.to, r.from, r.type, outwards)).empty());
    CHECK(b.count(r.why) == before + 1);
  }
  const auto whole = frame(own_mac, guest_mac, wire::ethertype::ipv4, {});
  for (std::size_t n = 0; n < whole.size(); ++n)
    CHECK(b.receive(bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n))).empty());
  CHECK(b.count(link_counter::drop_short_frame) == 14);
  const auto to_all = from_guest("10.0.2.255");
  CHECK(b.receive(frame(mac_address::broadcast(), guest_mac, wire::ethertype::ipv4, to_all)) ==
        to_all);
}

TEST_CASE("link_announces_its_addresses") {
  link_bench b;
  b.link.announce(b.now);
  REQUIRE(b.sent.size() == 2);
  const auto told = wire::parse_arp(b.sent[0].packet);
  REQUIRE(told);
  CHECK(told->sender == addr("10.0.2.2"));
  CHECK(told->target == addr("10.0.2.2"));
  CHECK(b.sent[0].header.destination == mac_address::broadcast());
}
