// The IP layer's input on packets that mean harm: noise, changed packets, floods of fragments. It
// may drop all of it; it may not crash, hold more than its bounds, or send more than it is allowed.
#include "unit/ip_support.hpp"

using namespace weir;
using namespace weir::test;
using stack::counter;

namespace {

std::vector<bytes> seeds() {
  std::vector<bytes> out;
  for (bool v6 : {false, true}) {
    out.push_back(tcp_packet(v6, pattern(40)));
    out.push_back(from_peer(v6, 17, udp_bytes(peer(v6), own(v6), 5000, 7, pattern(9))).build());
    out.push_back(
        from_peer(v6, v6 ? 58 : 1, icmp_bytes(peer(v6), own(v6), v6 ? 128 : 8, 0, 1, pattern(30)))
            .build());
    out.push_back(error_packet(v6, v6 ? 2 : 3, v6 ? 0 : 4, 1300, own_tcp_packet(v6)));
    for (auto& f : udp_fragments(v6, 300, 96)) out.push_back(f);
  }
  out.push_back(from_peer(true, 0,
                          raw({60, 0, 1, 4, 0, 0, 0, 0}) + raw({6, 0, 0x9e, 3, 0, 0, 0, 0}) +
                              tcp_bytes(peer_segment(true)))
                    .build());
  return out;
}

}  // namespace

TEST_CASE("hostile_packets_do_no_harm_and_the_replies_stay_bounded") {
  std::mt19937_64 random(21);
  auto packets = seeds();
  auto options = ip_options();
  options.limits.reassembly_bytes = 16 << 10;
  options.limits.icmp_errors_per_second = 100;
  ip_bench bench(options);
  for (int i = 0; i < 60000; ++i) {
    auto data = packets[random() % packets.size()];
    for (auto n = random() % 4; n > 0; --n)
      data[random() % data.size()] = std::byte(random() & 0xff);
    if (random() % 8 == 0) data.resize(random() % (data.size() + 1));
    bool fix =
        data.size() >= 20 && std::to_integer<unsigned>(data[0]) >> 4 == 4 && random() % 4 != 0;
    if (fix && (std::to_integer<unsigned>(data[0]) & 15) * 4 <= data.size())
      fix_ipv4_checksum(data);
    exact_copy copy(data);
    stack::receive_meta meta{
        .checksum_good = random() % 2 == 0,
        .gso_size = static_cast<std::uint16_t>(random() % 3 == 0 ? random() : 0)};
    auto d = bench.ip.input(bench.now, copy.view(), meta);
    if (auto* u = std::get_if<wire::udp_datagram>(&d))
      bench.ip.send_port_unreachable(bench.now, *u);
    if (auto* r = std::get_if<stack::icmp_report>(&d)) bench.ip.lower_path_mtu(bench.now, *r);
    for (auto& p : bench.sink.sent) REQUIRE(p.data.size() <= 1500);
    bench.sink.sent.clear();
    if (i % 100 == 0) {
      bench.now = bench.now + std::chrono::milliseconds(random() % 200);
      bench.ip.advance(bench.now);
    }
  }
  auto seconds = static_cast<std::uint64_t>((bench.now - at_ms(0)).count() / 1'000'000'000 + 1);
  CHECK(bench.count(counter::icmp_errors_sent) <= seconds * 100);
  CHECK(bench.count(counter::packets_received) == 60000);
  CHECK(bench.count(counter::datagrams_reassembled) > 0);
  CHECK(bench.count(counter::icmp_echo_answered) > 0);
}

TEST_CASE("hostile_fragments_in_every_arrangement_never_deliver_what_was_not_sent") {
  // Random cuts of two datagrams under one identification: what is delivered is one of them, whole.
  std::mt19937_64 random(22);
  auto a = udp_bytes(peer(false), own(false), 1, 2, pattern(200, 1));
  auto b = udp_bytes(peer(false), own(false), 1, 2, pattern(200, 2));
  int delivered = 0;
  for (int round = 0; round < 3000; ++round) {
    ip_bench bench;
    for (int i = 0; i < 24; ++i) {
      auto& whole = round % 3 != 0 || random() % 2 == 0 ? a : b;
      auto begin = random() % (whole.size() / 8) * 8;
      auto end = std::min(whole.size(), begin + (1 + random() % 8) * 8);
      if (round % 2 == 0) begin = begin / 32 * 32, end = std::min(whole.size(), begin + 32);
      bytes data(whole.begin() + static_cast<std::ptrdiff_t>(begin),
                 whole.begin() + static_cast<std::ptrdiff_t>(end));
      auto d = bench.in(
          fragment_packet(false, 9, static_cast<std::uint32_t>(begin), end < whole.size(), data));
      if (auto* u = std::get_if<wire::udp_datagram>(&d)) {
        ++delivered;
        bool is_a = std::ranges::equal(u->payload, pattern(200, 1));
        bool is_b = std::ranges::equal(u->payload, pattern(200, 2));
        REQUIRE((is_a || is_b));
      }
    }
  }
  CHECK(delivered > 100);
}
