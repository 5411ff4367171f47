// Neighbour discovery and router advertisements of an Ethernet link (RFC 4861, RFC 8106).
#include <doctest/doctest.h>

#include "unit/link_support.hpp"

using namespace weir;
using namespace weir::test;

namespace {

const auto own = addr("fd77:6569:7200::2");
const auto guest = addr("fd77:6569:7200::100");
const auto guest_local = wire::link_local(guest_mac);

struct said {
  ip_address from = guest, to = wire::solicited_node(own);
  std::uint8_t type = wire::discovery::solicitation, code = 0, hop_limit = 255;
  std::uint32_t rest = 0;
  bytes body;

  bytes packet() const {
    ip_packet out;
    out.source = from;
    out.destination = to;
    out.protocol = wire::icmp_v6;
    out.ttl = hop_limit;
    out.payload = icmp_bytes(from, to, type, code, rest, body);
    return out.build();
  }
};

bytes target_and(const ip_address& target, const bytes& options = {}) {
  bytes out(16);
  std::memcpy(out.data(), target.bytes().data(), 16);
  return out + options;
}

bytes link_option(unsigned kind, const mac_address& mac) {
  auto out = raw({kind, 1, 0, 0, 0, 0, 0, 0});
  wire::write_mac(out.data() + 2, mac);
  return out;
}

said question() {
  said out;
  out.body = target_and(own, link_option(1, guest_mac));
  return out;
}

said answer(std::uint32_t flags = 0x60000000u) {
  said out;
  out.to = own;
  out.type = wire::discovery::advertisement;
  out.rest = flags;
  out.body = target_and(guest, link_option(2, guest_mac));
  return out;
}

void receive(link_bench& b, const said& what) {
  const auto to = what.to.is_multicast() ? wire::group_mac(what.to) : own_mac;
  CHECK(b.receive(frame(to, guest_mac, wire::ethertype::ipv6, what.packet())).empty());
}

bytes packet_to_guest() {
  ip_packet out;
  out.source = own;
  out.destination = guest;
  out.protocol = 6;
  out.payload = pattern(20);
  return out.build();
}

stack::link_options advertising() {
  auto out = guest_link();
  auto& facts = out.advertised.emplace();
  facts.prefix = *ip_prefix::parse("fd77:6569:7200::2/64");
  facts.mtu = 1400;
  facts.name_servers = {addr("fd77:6569:7200::3")};
  return out;
}

}  // namespace

// covers: 8504-1
TEST_CASE("neighbour_solicitation_is_answered_to_who_asked") {
  link_bench b;
  receive(b, question());
  REQUIRE(b.sent.size() == 1);
  CHECK(b.last().header.destination == guest_mac);
  const auto ip = wire::parse_ipv6(b.last().packet);
  CHECK(ip.source == own);
  CHECK(ip.destination == guest);
  wire::discovery_message told;
  REQUIRE(wire::parse_discovery(ip, told) == wire::discovery_status::ok);
  CHECK(told.type == wire::discovery::advertisement);
  CHECK(told.solicited);
  CHECK(told.override_known);
  CHECK_FALSE(told.router);
  CHECK(told.target == own);
  CHECK(told.target_link == own_mac);
  b.sent.clear();
  CHECK(b.transmit(packet_to_guest()));
  CHECK(b.last().header.destination == guest_mac);
  CHECK(b.last().packet == packet_to_guest());
}

// covers: 8504-1
TEST_CASE("duplicate_address_probe_is_answered_to_all_nodes") {
  link_bench b;
  said probe;
  probe.from = ip_address::v6({});
  probe.body = target_and(own);
  receive(b, probe);
  REQUIRE(b.sent.size() == 1);
  CHECK(b.last().header.destination == mac_address{{0x33, 0x33, 0, 0, 0, 1}});
  wire::discovery_message told;
  CHECK(wire::parse_discovery(wire::parse_ipv6(b.last().packet), told) ==
        wire::discovery_status::ok);
  CHECK_FALSE(told.solicited);
  CHECK(b.link.neighbours().size() == 0);
  probe.body = target_and(addr("fd77:6569:7200::77"));
  receive(b, probe);
  CHECK(b.sent.size() == 1);
}

// covers: 8504-1
TEST_CASE("neighbour_of_the_host_is_asked_for_by_its_group") {
  link_bench b;
  CHECK(b.transmit(packet_to_guest()));
  REQUIRE(b.sent.size() == 1);
  const auto ip = wire::parse_ipv6(b.last().packet);
  CHECK(ip.ttl == 255);
  CHECK(ip.destination == addr("ff02::1:ff00:100"));
  CHECK(b.last().header.destination == mac_address{{0x33, 0x33, 0xff, 0, 1, 0}});
  wire::discovery_message told;
  REQUIRE(wire::parse_discovery(ip, told) == wire::discovery_status::ok);
  CHECK(told.target == guest);
  CHECK(told.source_link == own_mac);
  receive(b, answer());
  REQUIRE(b.sent.size() == 2);
  CHECK(b.last().packet == packet_to_guest());
}

TEST_CASE("discovery_message_is_judged_as_rfc_4861_asks") {
  link_bench b;
  const auto drops = [&](const said& what, link_counter why) {
    const auto before = b.count(why);
    receive(b, what);
    CHECK(b.count(why) == before + 1);
  };
  const auto changed = [](said what, auto&& change) {
    change(what);
    return what;
  };
  using enum link_counter;
  const auto ns = question(), na = answer();
  drops(changed(ns, [](said& s) { s.hop_limit = 254; }), drop_discovery_hop_limit);
  drops(changed(na, [](said& s) { s.hop_limit = 64; }), drop_discovery_hop_limit);
  for (const auto& what : {ns, na}) {
    drops(changed(what, [](said& s) { s.code = 1; }), drop_discovery_malformed);
    drops(changed(what, [](said& s) { s.body.resize(15); }), drop_discovery_malformed);
    drops(changed(what, [](said& s) { s.body[17] = std::byte{0}; }), drop_discovery_malformed);
    drops(changed(what, [](said& s) { s.body[17] = std::byte{2}; }), drop_discovery_malformed);
    drops(changed(what, [](said& s) { s.body.resize(20); }), drop_discovery_malformed);
    drops(changed(what, [](said& s) { s.body[0] = std::byte{0xff}; }), drop_discovery_malformed);
    drops(changed(what, [](said& s) { s.body[18] = std::byte{0x01}; }), drop_discovery_malformed);
  }
  // Who has no address yet names no card, and asks the group.
  drops(changed(ns, [](said& s) { s.from = ip_address::v6({}); }), drop_discovery_malformed);
  drops(changed(ns,
                [](said& s) {
                  s.from = ip_address::v6({});
                  s.to = own;
                  s.body.resize(16);
                }),
        drop_discovery_malformed);
  // An answer to all is no answer to a question.
  drops(changed(na, [](said& s) { s.to = wire::all_nodes(); }), drop_discovery_malformed);
  drops(changed(ns, [](said& s) { s.from = addr("2001:db8::1"); }), drop_discovery_off_link);
  drops(changed(na, [](said& s) { s.body = target_and(addr("2001:db8::1")); }),
        drop_discovery_off_link);
  drops(na, drop_discovery_unasked);
  auto wrong = ns.packet();
  wrong[42] ^= std::byte{1};
  b.receive(frame(own_mac, guest_mac, wire::ethertype::ipv6, wrong));
  CHECK(b.count(drop_discovery_checksum) == 1);
  CHECK(b.sent.empty());
  CHECK(b.link.neighbours().size() == 0);
}

TEST_CASE("router_messages_of_others_lead_nowhere") {
  link_bench b;
  for (const std::uint8_t type : {wire::discovery::router_advertisement, std::uint8_t{137}}) {
    said what;
    what.from = guest_local;
    what.to = wire::all_nodes();
    what.type = type;
    what.body = bytes(32);
    receive(b, what);
  }
  said asks;
  asks.from = guest_local;
  asks.to = addr("ff02::2");
  asks.type = wire::discovery::router_solicitation;
  receive(b, asks);  // we are no router
  CHECK(b.count(link_counter::drop_router_message) == 3);
  CHECK(b.sent.empty());
}

TEST_CASE("our_address_that_another_advertises_is_counted") {
  link_bench b;
  auto claim = answer(0x20000000u);
  claim.body = target_and(own, link_option(2, guest_mac));
  receive(b, claim);
  CHECK(b.count(link_counter::address_conflicts) == 1);
}

TEST_CASE("router_tells_of_its_network_when_asked_and_once_in_a_while") {
  link_bench b(advertising());
  said asks;
  asks.from = guest_local;
  asks.to = addr("ff02::2");
  asks.type = wire::discovery::router_solicitation;
  asks.body = link_option(1, guest_mac);
  receive(b, asks);
  REQUIRE(b.sent.size() == 1);
  CHECK(b.last().header.destination == guest_mac);
  const auto ip = wire::parse_ipv6(b.last().packet);
  CHECK(ip.status == wire::ip_status::ok);
  CHECK(ip.ttl == 255);
  CHECK(ip.source == wire::link_local(own_mac));
  CHECK(ip.destination == guest_local);
  wire::icmp_message icmp;
  REQUIRE(wire::parse_icmp(ip.payload, ip.source, ip.destination, icmp) == wire::parse_status::ok);
  CHECK(icmp.type == 134);
  CHECK(icmp.rest == (64u << 24 | 1800u));
  bytes wanted(8);
  wanted = wanted + raw({1, 1, 0x02, 0x77, 10, 0, 2, 2}) + raw({5, 1, 0, 0, 0, 0, 0x05, 0x78}) +
           raw({3, 4, 64, 0xc0, 0, 1, 0x51, 0x80, 0, 0, 0x38, 0x40, 0, 0, 0, 0}) +
           target_and(addr("fd77:6569:7200::")) + raw({25, 3, 0, 0, 0, 0, 0x07, 0x08}) +
           target_and(addr("fd77:6569:7200::3"));
  CHECK(bytes(icmp.body.begin(), icmp.body.end()) == wanted);
  // Who has no address yet is told at its card all the same.
  asks.from = ip_address::v6({});
  asks.body.clear();
  receive(b, asks);
  CHECK(b.last().header.destination == guest_mac);
  CHECK(wire::parse_ipv6(b.last().packet).destination == wire::all_nodes());
  b.sent.clear();
  b.link.announce(b.now);
  b.pass(401s);
  int told = 0;
  for (const auto& each : b.sent)
    told += each.header.destination == wire::group_mac(wire::all_nodes()) ? 1 : 0;
  CHECK(told == 3);
}

TEST_CASE("router_is_called_one_by_its_answers") {
  link_bench b(advertising());
  receive(b, question());
  wire::discovery_message told;
  wire::parse_discovery(wire::parse_ipv6(b.last().packet), told);
  CHECK(told.router);
  // Its link-local address is answered for, too: guests know it as their router.
  auto local = question();
  local.to = wire::solicited_node(wire::link_local(own_mac));
  local.body = target_and(wire::link_local(own_mac), link_option(1, guest_mac));
  receive(b, local);
  CHECK(b.sent.size() == 2);
}
