// The DHCP server of an Ethernet link (RFC 2131), through frames.
#include <doctest/doctest.h>

#include "unit/link_support.hpp"

using namespace weir;
using namespace weir::test;

namespace {

const auto server = addr("10.0.2.2");
const auto everybody = addr("255.255.255.255");

stack::link_options serving(std::uint32_t addresses = 1) {
  auto out = guest_link();
  auto& pool = out.dhcp.emplace();
  pool.server = *ip_prefix::parse("10.0.2.2/24");
  pool.first = addr("10.0.2.100");
  pool.addresses = addresses;
  pool.lease = 1h;
  pool.name_servers = {addr("10.0.2.3")};
  pool.mtu = 1400;
  return out;
}

mac_address client(unsigned n) {
  return {{0x52, 0x54, 0, 0, static_cast<std::uint8_t>(n >> 8), static_cast<std::uint8_t>(n)}};
}

/// A client's message, written by hand.
struct query {
  unsigned type = 1;
  mac_address mac = guest_mac;
  ip_address own, relay;
  bytes options;
  unsigned flags = 0;
  ip_address from, to = everybody;

  query& with(unsigned kind, const ip_address& value) {
    options = options + raw({kind, 4});
    for (auto byte : value.bytes()) options.push_back(std::byte(byte));
    return *this;
  }
  bytes message() const {
    bytes out(240);
    wire::put32(out.data(), 0x01010600);
    wire::put32(out.data() + 4, 0x12345678);
    wire::put16(out.data() + 10, static_cast<std::uint16_t>(flags));
    std::memcpy(out.data() + 12, own.bytes().data(), 4);
    std::memcpy(out.data() + 24, relay.bytes().data(), 4);
    wire::write_mac(out.data() + 28, mac);
    wire::put32(out.data() + 236, 0x63825363);
    return out + raw({53, 1, type}) + options + raw({255});
  }
};

bytes around(const query& q, const bytes& message) {
  ip_packet ip;
  ip.source = q.from;
  ip.destination = q.to;
  ip.protocol = 17;
  ip.payload = udp_bytes(q.from, q.to, 68, 67, message);
  return frame(q.to == everybody ? mac_address::broadcast() : own_mac, q.mac, wire::ethertype::ipv4,
               ip.build());
}

struct told {
  unsigned type = 0;
  ip_address yours;
  std::vector<std::pair<unsigned, bytes>> options;

  bytes option(unsigned kind) const {
    for (const auto& [k, value] : options)
      if (k == kind) return value;
    return {};
  }
};

/// What the last frame says; nothing where none came.
std::optional<told> ask(link_bench& b, const query& q) {
  b.sent.clear();
  CHECK(b.receive(around(q, q.message())).empty());
  if (b.sent.empty()) return std::nullopt;
  const auto ip = wire::parse_ipv4(b.last().packet);
  REQUIRE(ip.status == wire::ip_status::ok);
  wire::udp_datagram udp;
  udp.source = ip.source;
  udp.destination = ip.destination;
  REQUIRE(wire::parse_udp(ip.payload, true, udp) == wire::parse_status::ok);
  CHECK(udp.source_port == 67);
  CHECK(udp.destination_port == 68);
  REQUIRE(udp.payload.size() >= 300);
  const auto* at = udp.payload.data();
  CHECK(wire::get32(at) == 0x02010600);
  CHECK(wire::get32(at + 4) == 0x12345678);
  CHECK(wire::read_mac(at + 28) == q.mac);
  told out;
  out.yours = wire::read_v4(at + 16);
  for (std::size_t i = 240; i < udp.payload.size() && wire::get8(at + i) != 255;) {
    const auto length = wire::get8(at + i + 1);
    const auto value = udp.payload.subspan(i + 2, length);
    out.options.emplace_back(wire::get8(at + i), bytes(value.begin(), value.end()));
    i += 2u + length;
  }
  out.type = wire::get8(out.option(53).data());
  return out;
}

query discover(unsigned n = 0) {
  query out;
  if (n != 0) out.mac = client(n);
  return out;
}
query request(const char* address, unsigned n = 0) {
  auto out = discover(n);
  out.type = 3;
  return out.with(50, addr(address)).with(54, server);
}

constexpr unsigned offer = 2, ack = 5, nak = 6;

}  // namespace

TEST_CASE("dhcp_client_gets_an_address_and_all_it_needs") {
  link_bench b(serving());
  const auto offered = ask(b, discover());
  REQUIRE(offered);
  CHECK(offered->type == offer);
  CHECK(offered->yours == addr("10.0.2.100"));
  CHECK(b.last().header.destination == guest_mac);
  CHECK(wire::parse_ipv4(b.last().packet).destination == addr("10.0.2.100"));
  const auto given = ask(b, request("10.0.2.100"));
  REQUIRE(given);
  CHECK(given->type == ack);
  CHECK(given->yours == addr("10.0.2.100"));
  CHECK(given->option(54) == raw({10, 0, 2, 2}));
  CHECK(given->option(1) == raw({255, 255, 255, 0}));
  CHECK(given->option(3) == raw({10, 0, 2, 2}));
  CHECK(given->option(6) == raw({10, 0, 2, 3}));
  CHECK(given->option(26) == raw({0x05, 0x78}));
  CHECK(given->option(51) == raw({0, 0, 0x0e, 0x10}));
  CHECK(given->option(58) == raw({0, 0, 0x07, 0x08}));
  CHECK(b.count(link_counter::dhcp_acks) == 1);
}

TEST_CASE("dhcp_answer_goes_where_the_client_hears_it") {
  link_bench b(serving());
  auto deaf = discover();
  deaf.flags = 0x8000;
  REQUIRE(ask(b, deaf));
  CHECK(b.last().header.destination == mac_address::broadcast());
  CHECK(wire::parse_ipv4(b.last().packet).destination == everybody);
  REQUIRE(ask(b, request("10.0.2.100")));
  query renewing;
  renewing.type = 3;
  renewing.own = renewing.from = addr("10.0.2.100");
  renewing.to = server;
  const auto again = ask(b, renewing);
  REQUIRE(again);
  CHECK(again->type == ack);
  CHECK(wire::parse_ipv4(b.last().packet).destination == addr("10.0.2.100"));
}

TEST_CASE("dhcp_pool_that_is_given_out_offers_nothing_until_a_lease_ends") {
  link_bench b(serving(3));
  for (unsigned i = 1; i <= 3; ++i) {
    const auto offered = ask(b, discover(i));
    REQUIRE(offered);
    CHECK(ask(b, request(offered->yours.to_string().c_str(), i))->type == ack);
  }
  CHECK_FALSE(ask(b, discover(4)));
  CHECK(b.count(link_counter::drop_dhcp_pool_empty) == 1);
  CHECK(ask(b, discover(2))->yours == addr("10.0.2.101"));  // who has one is offered it again
  b.pass(1h);
  CHECK(ask(b, discover(4))->type == offer);
}

TEST_CASE("dhcp_offer_that_is_not_taken_is_free_again") {
  link_bench b(serving());
  CHECK(ask(b, discover(1)));
  CHECK_FALSE(ask(b, discover(2)));
  b.pass(30s);
  CHECK(ask(b, discover(2)));
  // Another server's offer was chosen.
  auto elsewhere = discover(2);
  elsewhere.type = 3;
  elsewhere.with(54, addr("10.0.2.9")).with(50, addr("10.0.2.50"));
  CHECK_FALSE(ask(b, elsewhere));
  CHECK(b.count(link_counter::drop_dhcp_not_for_us) == 1);
  CHECK(ask(b, discover(3)));
}

TEST_CASE("dhcp_request_for_what_is_anothers_is_refused_to_all") {
  link_bench b(serving(2));
  CHECK(ask(b, request("10.0.2.100", 1))->type == ack);
  auto refused = ask(b, request("10.0.2.100", 2));
  REQUIRE(refused);
  CHECK(refused->type == nak);
  CHECK(refused->option(51).empty());
  CHECK(b.last().header.destination == mac_address::broadcast());
  CHECK(ask(b, request("10.0.2.99", 2))->type == nak);
  CHECK(ask(b, request("192.168.1.5", 2))->type == nak);
  CHECK(b.count(link_counter::dhcp_naks) == 3);
}

TEST_CASE("dhcp_client_that_comes_back_keeps_its_address") {
  link_bench b(serving(8));
  auto rebooting = discover(7);
  rebooting.type = 3;
  rebooting.with(50, addr("10.0.2.105"));  // RFC 2131 4.3.2, INIT-REBOOT: no server is named
  CHECK(ask(b, rebooting)->yours == addr("10.0.2.105"));
  b.pass(2h);
  CHECK(ask(b, discover(8))->yours != addr("10.0.2.105"));
  CHECK(ask(b, discover(7))->yours == addr("10.0.2.105"));
}

TEST_CASE("dhcp_release_and_decline_are_the_lessees_only") {
  link_bench b(serving());
  CHECK(ask(b, request("10.0.2.100", 1))->type == ack);
  auto release = discover(2);
  release.type = 7;
  release.own = release.from = addr("10.0.2.100");
  release.to = server;
  release.with(54, server);
  CHECK_FALSE(ask(b, release));
  CHECK(b.count(link_counter::drop_dhcp_unknown_client) == 1);
  release.mac = client(1);
  CHECK_FALSE(ask(b, release));
  CHECK(b.count(link_counter::dhcp_releases) == 1);
  CHECK(ask(b, request("10.0.2.100", 2))->type == ack);
  auto decline = request("10.0.2.100", 2);
  decline.type = 4;
  CHECK_FALSE(ask(b, decline));
  CHECK(b.count(link_counter::dhcp_declines) == 1);
  CHECK_FALSE(ask(b, discover(2)));  // somebody else uses it
  b.pass(10min);
  CHECK(ask(b, discover(2)));
}

TEST_CASE("dhcp_inform_tells_the_options_and_leases_nothing") {
  link_bench b(serving());
  auto inform = discover(3);
  inform.type = 8;
  inform.own = inform.from = addr("10.0.2.44");
  const auto answer = ask(b, inform);
  REQUIRE(answer);
  CHECK(answer->type == ack);
  CHECK(answer->yours.is_unspecified());
  CHECK(answer->option(51).empty());
  CHECK(answer->option(6) == raw({10, 0, 2, 3}));
  CHECK(ask(b, discover(4)));
}

TEST_CASE("dhcp_that_is_malformed_or_forged_is_dropped_by_its_reason") {
  link_bench b(serving());
  const auto good = discover().with(50, addr("10.0.2.100")).message();
  const auto q = discover();
  const auto drops = [&](const bytes& message) {
    const auto before = b.count(link_counter::drop_dhcp_malformed);
    b.receive(around(q, message));
    CHECK(b.count(link_counter::drop_dhcp_malformed) == before + 1);
  };
  const auto changed = [&](std::size_t at, unsigned value) {
    auto out = good;
    out[at] = std::byte(value);
    return out;
  };
  for (std::size_t n = 0; n < 243; ++n)
    drops(bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n)));
  drops(changed(0, 2));  // an answer
  drops(changed(1, 6));  // another kind of card
  drops(changed(2, 16));
  drops(changed(28, 1));   // a group's card
  drops(changed(236, 0));  // the magic number
  drops(changed(241, 2));  // a type of two bytes
  drops(changed(242, 2));  // a server's type
  drops(changed(242, 99));
  drops(changed(244, 3));    // an address of three bytes
  drops(changed(244, 200));  // beyond the end
  auto relayed = discover();
  relayed.relay = addr("10.9.9.9");
  CHECK_FALSE(ask(b, relayed));
  CHECK(b.count(link_counter::drop_dhcp_relayed) == 1);
  auto forged = around(q, good);
  forged[11] ^= std::byte{1};  // the frame's sender
  b.receive(forged);
  CHECK(b.count(link_counter::drop_dhcp_forged) == 1);
  auto broken = around(q, good);
  broken[14 + 28 + 100] ^= std::byte{1};  // of a name that nobody reads
  b.receive(broken);
  CHECK(b.count(link_counter::drop_dhcp_checksum) == 1);
  CHECK(b.sent.empty());
  b.receive(broken, {.checksum_good = true, .gso_size = 0});  // never crossed a wire
  CHECK(b.sent.size() == 1);
}

TEST_CASE("link_without_a_pool_leaves_dhcp_to_the_host") {
  link_bench b;
  CHECK_FALSE(b.receive(around(discover(), discover().message())).empty());
}
