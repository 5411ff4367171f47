// The DHCPv6 server of an Ethernet link (RFC 8415), through frames.
#include <doctest/doctest.h>

#include "stack/wire/dhcpv6.hpp"
#include "unit/link_support.hpp"

using namespace weir;
using namespace weir::test;

namespace {

const auto guest = addr("fe80::5054:ff:fe12:3456");
const auto all_servers = addr("ff02::1:2");
const bytes server_id = raw({0, 3, 0, 1, 0x02, 0x77, 10, 0, 2, 2});

constexpr unsigned solicit = 1, advertise = 2, request = 3, confirm = 4, renew = 5, rebind = 6,
                   reply = 7, release = 8, decline = 9, inform = 11;
constexpr unsigned no_addresses = 2, no_binding = 3, not_on_link = 4, use_multicast = 5,
                   no_prefix = 6;

stack::link_options serving(std::uint32_t addresses = 1) {
  auto out = guest_link();
  auto& pool = out.dhcpv6.emplace();
  pool.network = *ip_prefix::parse("fd77:6569:7200::2/64");
  pool.first = addr("fd77:6569:7200::100");
  pool.addresses = addresses;
  pool.preferred = 1h;
  pool.valid = 2h;
  pool.name_servers = {addr("fd77:6569:7200::3")};
  return out;
}

bytes number(std::size_t size, std::uint32_t value) {
  bytes out(size);
  for (std::size_t i = 0; i < size; ++i)
    out[size - 1 - i] = std::byte(i < sizeof value ? value >> (8 * i) & 255 : 0);
  return out;
}
bytes option(unsigned kind, const bytes& value) {
  return number(2, kind) + number(2, static_cast<std::uint32_t>(value.size())) + value;
}
bytes bytes_of(const ip_address& address) {
  bytes out;
  for (auto each : address.bytes()) out.push_back(std::byte(each));
  return out;
}
bytes id_of(unsigned n) { return raw({0, 4, n >> 8, n & 255, 7}); }

/// A client's message, written by hand.
struct query {
  query(unsigned t, unsigned n = 1) : type(t), options(option(1, id_of(n))) {}
  query& with(unsigned kind, const bytes& value) {
    options = options + option(kind, value);
    return *this;
  }
  query& to_us() { return with(2, server_id); }
  /// An association of addresses, and those that it names.
  query& wants(std::initializer_list<const char*> addresses = {}, std::uint32_t id = 77) {
    auto body = number(4, id) + number(8, 0);
    for (const auto* each : addresses) body = body + option(5, bytes_of(addr(each)) + bytes(8));
    return with(3, body);
  }
  bytes message() const { return number(1, type) + raw({0x12, 0x34, 0x56}) + options; }

  unsigned type;
  bytes options;
  ip_address from = guest, to = all_servers;
};

bytes around(const query& q, const bytes& message) {
  ip_packet ip;
  ip.source = q.from;
  ip.destination = q.to;
  ip.protocol = 17;
  ip.payload = udp_bytes(q.from, q.to, 546, 547, message);
  return frame(q.to.is_multicast() ? wire::group_mac(q.to) : own_mac, guest_mac,
               wire::ethertype::ipv6, ip.build());
}

struct told {
  unsigned type = 0;
  bytes options;

  /// Of `from`, or of an option's own options: the first of this kind.
  static std::optional<bytes> find(std::span<const std::byte> from, unsigned kind) {
    while (from.size() >= 4) {
      const std::size_t size = wire::get16(from.data() + 2);
      REQUIRE(size + 4 <= from.size());
      if (wire::get16(from.data()) == kind) {
        const auto value = from.subspan(4, size);
        return bytes(value.begin(), value.end());
      }
      from = from.subspan(4 + size);
    }
    return std::nullopt;
  }
  std::optional<bytes> option(unsigned kind) const { return find(options, kind); }
  bytes in_association(unsigned kind) const {
    const auto body = option(3);
    if (!body || body->size() < 12) return {};
    return find(std::span(*body).subspan(12), kind).value_or(bytes());
  }
  /// What was given; unspecified: nothing.
  ip_address address() const {
    const auto body = in_association(5);
    return body.size() < 24 ? ip_address() : wire::read_v6(body.data());
  }
  std::uint32_t valid() const { return wire::get32(in_association(5).data() + 20); }
  /// Of the association; 0: none is told.
  unsigned why() const {
    const auto body = in_association(13);
    return body.empty() ? 0 : wire::get16(body.data());
  }
  /// Of the message; 99: none is told.
  unsigned status() const {
    const auto body = option(13);
    return body ? wire::get16(body->data()) : 99;
  }
};

/// What the last frame says; nothing where none came.
std::optional<told> ask(link_bench& b, const query& q) {
  b.sent.clear();
  CHECK(b.receive(around(q, q.message())).empty());
  if (b.sent.empty()) return std::nullopt;
  CHECK(b.last().header.destination == guest_mac);
  const auto ip = wire::parse_ipv6(b.last().packet);
  REQUIRE(ip.status == wire::ip_status::ok);
  CHECK(ip.source == addr("fe80::77:aff:fe00:202"));
  CHECK(ip.destination == q.from);
  wire::udp_datagram udp;
  udp.source = ip.source;
  udp.destination = ip.destination;
  REQUIRE(wire::parse_udp(ip.payload, true, udp) == wire::parse_status::ok);
  CHECK(udp.source_port == 547);
  CHECK(udp.destination_port == 546);
  REQUIRE(udp.payload.size() >= 4);
  CHECK((wire::get32(udp.payload.data()) & 0xffffff) == 0x123456);
  told out;
  out.type = wire::get8(udp.payload.data());
  const auto options = udp.payload.subspan(4);
  out.options = bytes(options.begin(), options.end());
  CHECK(out.option(1) == told::find(q.options, 1));
  CHECK(out.option(2) == server_id);
  return out;
}

}  // namespace

TEST_CASE("dhcpv6_client_gets_an_address_and_the_name_server") {
  link_bench b(serving());
  const auto offered = ask(b, query(solicit).wants());
  REQUIRE(offered);
  CHECK(offered->type == advertise);
  CHECK(offered->address() == addr("fd77:6569:7200::100"));
  CHECK(offered->option(7) == raw({255}));  // it need not wait for others
  const auto given = ask(b, query(request).to_us().wants({"fd77:6569:7200::100"}));
  REQUIRE(given);
  CHECK(given->type == reply);
  CHECK(given->address() == addr("fd77:6569:7200::100"));
  CHECK(given->option(23) == bytes_of(addr("fd77:6569:7200::3")));
  const auto association = *given->option(3);
  CHECK(wire::get32(association.data()) == 77);
  CHECK(wire::get32(association.data() + 4) == 1800);
  CHECK(wire::get32(association.data() + 8) == 2880);
  CHECK(wire::get32(given->in_association(5).data() + 16) == 3600);
  CHECK(given->valid() == 7200);
  CHECK(b.count(link_counter::dhcpv6_advertises) == 1);
  CHECK(b.count(link_counter::dhcpv6_replies) == 1);
}

TEST_CASE("dhcpv6_rapid_commit_needs_two_messages_only") {
  link_bench b(serving());
  const auto given = ask(b, query(solicit).wants().with(14, {}));
  REQUIRE(given);
  CHECK(given->type == reply);
  CHECK(given->option(14) == bytes());
  CHECK(given->address() == addr("fd77:6569:7200::100"));
  b.pass(1h);  // longer than an offer is kept
  CHECK(ask(b, query(solicit, 2).wants())->why() == no_addresses);
}

TEST_CASE("dhcpv6_pool_that_is_given_out_says_so_until_a_lease_ends") {
  link_bench b(serving(3));
  for (unsigned i = 1; i <= 3; ++i) {
    const auto given = ask(b, query(solicit, i).wants().with(14, {}));
    REQUIRE(given);
    CHECK(given->address() != ip_address());
  }
  const auto none = ask(b, query(solicit, 4).wants().with(14, {}));
  REQUIRE(none);
  CHECK(none->type == advertise);
  CHECK(none->address() == ip_address());
  CHECK(none->why() == no_addresses);
  CHECK(ask(b, query(request, 4).to_us().wants())->why() == no_addresses);
  CHECK(b.count(link_counter::drop_dhcp_pool_empty) == 2);
  CHECK(ask(b, query(solicit, 2).wants())->address() == addr("fd77:6569:7200::101"));
  b.pass(2h);
  CHECK(ask(b, query(solicit, 4).wants())->why() == 0);
}

TEST_CASE("dhcpv6_offer_that_is_not_taken_is_free_again") {
  link_bench b(serving());
  CHECK(ask(b, query(solicit, 1).wants())->why() == 0);
  CHECK(ask(b, query(solicit, 2).wants())->why() == no_addresses);
  b.pass(30s);
  CHECK(ask(b, query(solicit, 2).wants())->why() == 0);
}

TEST_CASE("dhcpv6_client_has_one_address_however_often_it_asks") {
  link_bench b(serving(8));
  const auto first = ask(b, query(solicit).wants({"fd77:6569:7200::105"}).with(14, {}));
  CHECK(first->address() == addr("fd77:6569:7200::105"));
  const auto again = ask(b, query(request).to_us().wants({"fd77:6569:7200::106"}));
  CHECK(again->address() == addr("fd77:6569:7200::105"));
  // A second association, one of temporary addresses and one of prefixes get nothing, and hear why.
  const auto more = ask(b, query(solicit)
                               .wants()
                               .wants({}, 78)
                               .with(4, number(4, 79))
                               .with(25, number(4, 80) + bytes(8)));
  REQUIRE(more);
  CHECK(more->address() == addr("fd77:6569:7200::105"));
  const auto temporary = *more->option(4), prefixes = *more->option(25);
  CHECK(told::find(std::span(temporary).subspan(4), 13) == number(2, no_addresses));
  CHECK(told::find(std::span(prefixes).subspan(12), 13) == number(2, no_prefix));
}

TEST_CASE("dhcpv6_renewal_and_rebinding_extend_what_the_client_has") {
  link_bench b(serving());
  ask(b, query(solicit).wants().with(14, {}));
  b.pass(90min);
  CHECK(ask(b, query(renew).to_us().wants({"fd77:6569:7200::100"}))->valid() == 7200);
  b.pass(90min);
  CHECK(ask(b, query(rebind).wants({"fd77:6569:7200::100"}))->valid() == 7200);
  b.pass(90min);
  CHECK(ask(b, query(solicit, 2).wants())->why() == no_addresses);
  // What it no longer has, and what is of another network, it is told to forget.
  CHECK(ask(b, query(renew, 2).to_us().wants({"fd77:6569:7200::100"}))->why() == no_binding);
  const auto moved = ask(b, query(renew, 2).to_us().wants({"fd00::9"}));
  CHECK(moved->address() == addr("fd00::9"));
  CHECK(moved->valid() == 0);
  CHECK_FALSE(ask(b, query(rebind, 2).wants({"fd77:6569:7200::100"})));
  CHECK(b.count(link_counter::drop_dhcp_unknown_client) == 1);
  b.pass(2h);  // remembered from before: free, and theirs again
  CHECK(ask(b, query(rebind, 2).wants({"fd77:6569:7200::100"}))->valid() == 7200);
}

TEST_CASE("dhcpv6_confirm_says_whether_addresses_are_of_this_link") {
  link_bench b(serving());
  CHECK(ask(b, query(confirm).wants({"fd77:6569:7200::5"}))->status() == 0);
  CHECK(ask(b, query(confirm).wants({"fd77:6569:7200::5", "fd00::9"}))->status() == not_on_link);
  CHECK_FALSE(ask(b, query(confirm).wants()));
  CHECK(ask(b, query(request).to_us().wants({"fd00::9"}))->why() == not_on_link);
}

TEST_CASE("dhcpv6_release_and_decline_are_the_lessees_only") {
  link_bench b(serving());
  const auto all = {"fd77:6569:7200::100"};
  ask(b, query(solicit, 1).wants().with(14, {}));
  const auto foreign = ask(b, query(release, 2).to_us().wants(all));
  CHECK(foreign->status() == 0);
  CHECK(foreign->why() == no_binding);
  CHECK(ask(b, query(solicit, 2).wants())->why() == no_addresses);
  const auto own = ask(b, query(release, 1).to_us().wants(all));
  CHECK(own->status() == 0);
  CHECK(own->why() == 0);
  CHECK(b.count(link_counter::dhcp_releases) == 1);
  CHECK(ask(b, query(solicit, 2).wants().with(14, {}))->why() == 0);
  CHECK(ask(b, query(decline, 2).to_us().wants(all))->status() == 0);
  CHECK(b.count(link_counter::dhcp_declines) == 1);
  CHECK(ask(b, query(solicit, 2).wants())->why() == no_addresses);  // somebody else uses it
  b.pass(10min);
  CHECK(ask(b, query(solicit, 2).wants())->why() == 0);
}

TEST_CASE("dhcpv6_information_request_tells_the_options_and_leases_nothing") {
  link_bench b(serving());
  auto anonymous = query(inform);
  anonymous.options.clear();
  const auto answer = ask(b, anonymous);
  REQUIRE(answer);
  CHECK(answer->type == reply);
  CHECK(answer->option(23) == bytes_of(addr("fd77:6569:7200::3")));
  CHECK_FALSE(answer->option(3));
  CHECK(ask(b, query(inform).to_us()));
  CHECK_FALSE(ask(b, query(inform).wants()));
  CHECK(b.count(link_counter::drop_dhcp_malformed) == 1);
}

TEST_CASE("dhcpv6_that_is_for_another_server_or_relayed_is_dropped_by_its_reason") {
  link_bench b(serving());
  for (const auto type : {request, renew, release, decline}) {
    CHECK_FALSE(ask(b, query(type).with(2, id_of(9)).wants()));
    CHECK_FALSE(ask(b, query(type).wants()));
  }
  CHECK_FALSE(ask(b, query(inform).with(2, id_of(9))));
  CHECK(b.count(link_counter::drop_dhcp_not_for_us) == 5);
  CHECK(b.count(link_counter::drop_dhcp_malformed) == 4);
  for (const auto type : {solicit, confirm, rebind})
    CHECK_FALSE(ask(b, query(type).to_us().wants({"fd77:6569:7200::100"})));
  CHECK(b.count(link_counter::drop_dhcp_malformed) == 7);
  // Around a solicitation: a relay's header, and the message as an option of it.
  const auto inner = query(solicit).wants().message();
  auto relayed = query(12);
  relayed.options = bytes(30) + option(9, inner);
  CHECK_FALSE(ask(b, relayed));
  relayed.type = 13;
  CHECK_FALSE(ask(b, relayed));
  CHECK(b.count(link_counter::drop_dhcp_relayed) == 2);
  for (const auto type : {0u, advertise, reply, 10u, 14u, 255u})
    CHECK_FALSE(ask(b, query(type).to_us().wants()));
  CHECK(b.count(link_counter::drop_dhcp_malformed) == 13);
}

TEST_CASE("dhcpv6_by_unicast_is_sent_back_to_the_group") {
  link_bench b(serving());
  for (const auto type : {request, renew, release, decline}) {
    auto direct = query(type).to_us().wants({"fd77:6569:7200::100"});
    direct.from = addr("fd77:6569:7200::100");
    direct.to = addr("fd77:6569:7200::2");
    const auto answer = ask(b, direct);
    REQUIRE(answer);
    CHECK(answer->type == reply);
    CHECK(answer->status() == use_multicast);
    CHECK_FALSE(answer->option(3));
  }
  auto direct = query(solicit).wants();
  direct.to = addr("fe80::77:aff:fe00:202");
  CHECK_FALSE(ask(b, direct));
  CHECK(b.count(link_counter::drop_dhcp_malformed) == 1);
}

TEST_CASE("dhcpv6_that_is_malformed_or_forged_is_dropped_by_its_reason") {
  link_bench b(serving());
  const auto q = query(solicit).wants({"fd77:6569:7200::100"});
  const auto good = q.message();
  const auto drops = [&](const bytes& message) {
    const auto before = b.count(link_counter::drop_dhcp_malformed);
    b.receive(around(q, message));
    CHECK(b.count(link_counter::drop_dhcp_malformed) == before + 1);
  };
  // At 13, the client's identifier and nothing else: a solicitation for options only.
  for (std::size_t n = 0; n < good.size(); ++n)
    if (n != 13) drops(bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n)));
  const auto with = [&](unsigned kind, const bytes& value) { return good + option(kind, value); };
  drops(with(1, id_of(2)));   // two clients
  drops(with(3, bytes(11)));  // associations that are too short
  drops(with(4, bytes(3)));
  drops(with(25, bytes(11)));
  drops(with(14, bytes(1)));                         // a flag with a value
  drops(with(3, bytes(12) + bytes(3)));              // half an option in it
  drops(with(3, bytes(12) + option(5, bytes(23))));  // an address that is too short
  drops(with(3, bytes(12) + option(5, bytes(24) + raw({0, 13, 0, 9}))));  // its option goes beyond
  drops(good + raw({0, 6, 0xff, 0xff}));
  drops(raw({1, 1, 2, 3}) + option(1, raw({0, 4})));  // identifiers: too short,
  drops(raw({1, 1, 2, 3}) + option(1, bytes(131)));   // too long
  drops(raw({1, 1, 2, 3}));                           // and none
  drops(raw({3, 1, 2, 3}) + option(1, id_of(1)) + option(2, raw({0, 4})));  // of the server
  drops(raw({3, 1, 2, 3}) + option(1, id_of(1)) + option(2, bytes(131)));
  CHECK(b.sent.empty());
  CHECK(ask(b, query(solicit).with(99, bytes(400)).wants()));  // what is unknown is skipped
  b.sent.clear();
  auto elsewhere = q;
  elsewhere.from = addr("2001:db8::9");
  CHECK_FALSE(ask(b, elsewhere));
  elsewhere.from = addr("fe80::77:aff:fe00:202");
  CHECK_FALSE(ask(b, elsewhere));
  CHECK(b.count(link_counter::drop_dhcp_forged) == 2);
  auto broken = around(q, good);
  broken[14 + 40 + 8 + 4 + 8] ^= std::byte{1};  // of the client's identifier
  b.receive(broken);
  CHECK(b.count(link_counter::drop_dhcp_checksum) == 1);
  CHECK(b.sent.empty());
  b.receive(broken, {.checksum_good = true, .gso_size = 0});  // never crossed a wire
  CHECK(b.sent.size() == 1);
}

TEST_CASE("dhcpv6_identifiers_may_be_as_short_and_as_long_as_can_be") {
  for (const std::size_t size : {3u, 4u, 129u, 130u}) {
    CAPTURE(size);
    const auto id = raw({0, 4}) + pattern(size - 2);
    auto client = query(solicit);
    client.options = option(1, id);
    link_bench b(serving());
    const auto offer = ask(b, client.wants());
    REQUIRE(offer);
    CHECK(offer->type == advertise);
    CHECK(offer->option(1) == id);
    // A server's of such a size is another's.
    CHECK_FALSE(ask(b, query(request).with(2, id).wants()));
    CHECK(b.count(link_counter::drop_dhcp_not_for_us) == 1);
    CHECK(b.count(link_counter::drop_dhcp_malformed) == 0);
  }
}

TEST_CASE("dhcpv6_is_spoken_of_by_router_advertisements_where_it_is_there") {
  constexpr std::size_t flags_at = wire::ipv6_header + 5;
  for (const bool serves : {false, true}) {
    auto options = serves ? serving() : guest_link();
    options.advertised.emplace().prefix = *ip_prefix::parse("fd77:6569:7200::2/64");
    link_bench b(options);
    b.link.announce(b.now);
    REQUIRE_FALSE(b.sent.empty());
    REQUIRE(b.last().packet.size() > flags_at);
    CHECK(wire::get8(&b.last().packet[wire::ipv6_header]) == 134);
    CHECK(wire::get8(&b.last().packet[flags_at]) == (serves ? 0xc0 : 0));
  }
}

TEST_CASE("link_without_a_pool_leaves_dhcpv6_to_the_host") {
  link_bench b;
  const auto q = query(solicit).wants();
  CHECK_FALSE(b.receive(around(q, q.message())).empty());
}
