// Rules of IP that show only with a transport on top: IPv6's least MTU and routing headers (RFC
// 8200), no neighbour discovery on a link without neighbours (RFC 8504), and hosts with several
// addresses (RFC 1122 3.3.4.2).
#include "packet/sending.hpp"
#include "stack/wire/bytes.hpp"
#include "stack/wire/icmp.hpp"

using namespace weir;
using namespace weir::test;

namespace {

/// `packet` with an extension header between IPv6's own and what follows.
std::vector<std::byte> with_extension(std::vector<std::byte> packet, std::uint8_t kind,
                                      std::initializer_list<unsigned> body) {
  std::vector<std::byte> header{packet[6], std::byte{0}};
  for (const auto b : body) header.push_back(static_cast<std::byte>(b));
  REQUIRE(header.size() % 8 == 0);
  header[1] = static_cast<std::byte>(header.size() / 8 - 1);
  packet[6] = static_cast<std::byte>(kind);
  const auto length = wire::get16(packet.data() + 4) + header.size();
  wire::put16(packet.data() + 4, static_cast<std::uint16_t>(length));
  packet.insert(packet.begin() + 40, header.begin(), header.end());
  return packet;
}

}  // namespace

// covers: 8200-11
TEST_CASE("the MSS of IPv6 is the link's MTU less sixty, and packets of the whole MTU are taken") {
  for (const std::uint16_t mtu : {1280, 1500, 9000}) {
    CAPTURE(mtu);
    host_options o;
    o.mtu = mtu;
    script t(o, true);
    t.listen();
    t.in("S 0 <mss 65535>");
    t.out("S. 0 ack 1 <mss " + std::to_string(mtu - 60) + ">");
    t.in(". 1 ack 1");
    REQUIRE(t.accept());
    const auto whole = static_cast<std::uint32_t>(mtu - 60);
    const auto packet = t.packet("P. " + r(1, 1 + whole) + " ack 1");
    CHECK(packet.size() == mtu);
    t.in_raw(packet);
    t.flush();
    CHECK(t.read().size() == whole);
    t.skip();
    CHECK(t.send(std::size_t{whole}).value() == whole);
    CHECK(t.take().payload.size() == whole);
    CHECK(t.taken_bytes().size() == mtu);
  }
}

// covers: 8200-13, 8200-2
TEST_CASE("an answer to a packet with a routing header carries none") {
  script t({}, true);
  t.listen();
  // Type 0 and an unknown type, both with no segments left; hop-by-hop and destination options
  // around.
  auto syn = with_extension(t.packet("S 0 <mss 1440>"), wire::routing_header,
                            {0, 0, 0, 0, 0, 0, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9});
  syn = with_extension(syn, wire::destination_options, {1, 4, 0, 0, 0, 0});
  syn = with_extension(syn, wire::hop_by_hop, {1, 4, 0, 0, 0, 0});
  t.in_raw(syn);
  t.flush();
  t.out("S. 0 ack 1");
  CHECK(t.taken_bytes()[6] == std::byte{wire::tcp_protocol});  // straight behind the IPv6 header
  CHECK(wire::read_v6(t.taken_bytes().data() + 24) == t.them);
  t.in_raw(with_extension(t.packet(". 1 ack 1"), wire::routing_header, {253, 0, 0, 0, 0, 0}));
  t.flush();
  REQUIRE(t.accept());
  CHECK(t.send(5u).value() == 5);
  t.out("P. 1:6 ack 1");
  CHECK(t.taken_bytes()[6] == std::byte{wire::tcp_protocol});
}

// covers: 8504-1
TEST_CASE("on a link without neighbours none is asked for and no solicitation answered") {
  script t({}, true);
  t.listen();
  // Nothing leaves before there is something to say: no address is probed, no router solicited.
  t.after(60s);
  t.quiet();
  std::vector<std::byte> body(16 + 8);  // the target and a source link-layer option
  std::memcpy(body.data(), t.us.bytes().data(), 16);
  body[16] = std::byte{1};
  body[17] = std::byte{1};
  std::vector<std::byte> solicitation(40 + wire::icmp_header);
  wire::ipv6_fields ip;
  ip.source = t.them;
  ip.destination = t.us;
  ip.next_header = wire::icmp_v6;
  ip.hop_limit = 255;
  ip.payload_length = static_cast<std::uint16_t>(wire::icmp_header + body.size());
  wire::emit_ipv6(solicitation.data(), ip);
  wire::emit_icmp(solicitation.data() + 40, {135, 0, 0, body}, t.them, t.us);
  solicitation.insert(solicitation.end(), body.begin(), body.end());
  t.in_raw(solicitation);
  t.flush();
  t.quiet();
  CHECK(t.count(counter::drop_icmp_unknown) == 1);
  t.in("S 0 <mss 1440>");  // the SYN-ACK goes out at once, without asking who the neighbour is
  t.out("S. 0 ack 1");
}

// covers: 1122-12, 1122-2
TEST_CASE("a host with several addresses answers from the one that was asked") {
  for (const bool v6 : {false, true}) {
    host_options o;
    o.addresses = {*ip_prefix::parse("10.0.0.1/24"),  *ip_prefix::parse("10.0.0.9/24"),
                   *ip_prefix::parse("192.0.2.1/24"), *ip_prefix::parse("fd00::1/64"),
                   *ip_prefix::parse("fd00::9/64"),   *ip_prefix::parse("2001:db8::1/64")};
    for (const char* asked : {v6 ? "fd00::9" : "10.0.0.9", v6 ? "2001:db8::1" : "192.0.2.1"}) {
      CAPTURE(asked);
      script t(o, v6);
      REQUIRE(t.h().listen({v6 ? ip_address::v6({}) : ip_address(), 80}, {.allow_wildcard = true}));
      t.us = *ip_address::parse(asked);
      t.in("S 0 <mss 1440>");
      auto s = t.take();
      CHECK(s.source == t.us);
      CHECK(s.flags == (wire::syn | wire::ack));
      t.local_port = 81;  // nobody there: the reset too
      t.in("S 0 <mss 1440>");
      s = t.take();
      CHECK(s.source == t.us);
      CHECK(s.has(wire::rst));
    }
  }
}
