// Reassembly in both families: RFC 815, RFC 1122 3.3.2, RFC 1858, RFC 5722, RFC 8200 4.5.
#include "stack/ip/reassembly.hpp"

#include <algorithm>

#include "unit/ip_support.hpp"

using namespace weir;
using namespace weir::test;
using stack::counter;

namespace {

// The payload that was delivered, or nothing.
std::optional<bytes> payload_of(const stack::delivery& d) {
  auto* u = std::get_if<wire::udp_datagram>(&d);
  if (u == nullptr) return std::nullopt;
  return bytes(u->payload.begin(), u->payload.end());
}

}  // namespace

TEST_CASE("reassembly_puts_fragments_together_in_every_order") {
  for (bool v6 : {false, true}) {
    auto fragments = udp_fragments(v6, 2000, 504);
    REQUIRE(fragments.size() == 4);
    std::vector<std::size_t> order = {0, 1, 2, 3};
    do {
      ip_bench bench;
      for (std::size_t i = 0; i < 3; ++i) REQUIRE(nothing(bench.in(fragments[order[i]])));
      auto d = bench.in(fragments[order[3]]);
      REQUIRE(payload_of(d) == pattern(2000));
      REQUIRE(bench.ip.next_deadline().is_never());
      REQUIRE(bench.count(counter::datagrams_reassembled) == 1);
    } while (std::next_permutation(order.begin(), order.end()));
  }
}

// covers: 1122-3, 8200-6
TEST_CASE("reassembly_takes_the_largest_datagram") {
  ip_bench bench;
  auto fragments = udp_fragments(false, 65507, 1480);
  for (std::size_t i = 0; i + 1 < fragments.size(); ++i) REQUIRE(nothing(bench.in(fragments[i])));
  CHECK(payload_of(bench.in(fragments.back())) == pattern(65507));
  ip_bench bench6;
  fragments = udp_fragments(true, 65527, 1448);
  for (std::size_t i = 0; i + 1 < fragments.size(); ++i) REQUIRE(nothing(bench6.in(fragments[i])));
  CHECK(payload_of(bench6.in(fragments.back())) == pattern(65527));
}

TEST_CASE("reassembly_keeps_datagrams_apart_by_identification_source_and_protocol") {
  for (bool v6 : {false, true}) {
    ip_bench bench;
    auto a = udp_fragments(v6, 900, 504, 1), b = udp_fragments(v6, 900, 504, 2);
    CHECK(nothing(bench.in(a[0])));
    CHECK(nothing(bench.in(b[1])));
    CHECK(payload_of(bench.in(a[1])) == pattern(900));
    CHECK(payload_of(bench.in(b[0])) == pattern(900));
  }
}

// covers: 8200-9
TEST_CASE("reassembly_survives_exact_duplicates") {
  for (bool v6 : {false, true}) {
    ip_bench bench;
    auto fragments = udp_fragments(v6, 900, 504);
    CHECK(nothing(bench.in(fragments[0])));
    CHECK(nothing(bench.in(fragments[0])));
    CHECK(payload_of(bench.in(fragments[1])) == pattern(900));
  }
}

// covers: 815-1, 8200-9
TEST_CASE("reassembly_drops_the_whole_datagram_on_any_overlap_and_all_that_still_comes_of_it") {
  for (bool v6 : {false, true}) {
    struct {
      std::uint32_t offset;
      std::size_t size;
      bool more;
    } overlaps[] = {{496, 64, true}, {0, 8, true},   {0, 1200, true},
                    {8, 8, true},    {496, 8, true}, {500 / 8 * 8, 3, false}};
    for (auto& o : overlaps) {
      if (v6 && o.offset == 0 && o.size < 8) continue;
      ip_bench bench;
      auto fragments = udp_fragments(v6, 900, 504);
      CHECK(nothing(bench.in(fragments[0])));
      CHECK(nothing(bench.in(fragment_packet(v6, 77, o.offset, o.more, pattern(o.size, 99)))));
      CHECK(bench.count(counter::drop_fragment_overlap) == 1);
      CHECK(nothing(bench.in(fragments[1])));
      CHECK(nothing(bench.in(fragments[0])));
      CHECK(bench.sink.sent.empty());
      // Later a datagram of the same identification is a new one.
      bench.now = bench.now + std::chrono::seconds(61);
      bench.ip.advance(bench.now);
      CHECK(nothing(bench.in(fragments[0])));
      CHECK(payload_of(bench.in(fragments[1])) == pattern(900));
    }
  }
}

TEST_CASE("reassembly_refuses_two_ends_and_bytes_beyond_the_end") {
  for (bool v6 : {false, true}) {
    ip_bench bench;
    bench.in(fragment_packet(v6, 1, 800, false, pattern(10)));
    bench.in(fragment_packet(v6, 1, 1600, false, pattern(10)));
    bench.in(fragment_packet(v6, 2, 800, false, pattern(10)));
    bench.in(fragment_packet(v6, 2, 1600, true, pattern(16)));
    bench.in(fragment_packet(v6, 3, 1600, true, pattern(16)));
    bench.in(fragment_packet(v6, 3, 800, false, pattern(10)));
    CHECK(bench.count(counter::drop_fragment_malformed) == 3);
  }
}

// covers: 815-1
TEST_CASE("reassembly_refuses_the_ping_of_death") {
  ip_bench bench;
  CHECK(nothing(bench.in(fragment_packet(false, 1, 65528, false, pattern(8), 1))));
  CHECK(nothing(bench.in(fragment_packet(false, 1, 65512, false, pattern(8), 1))));
  CHECK(bench.count(counter::drop_fragment_malformed) == 2);
  CHECK(bench.ip.next_deadline().is_never());
  // IPv6 says so: 8200-7.
  CHECK(nothing(bench.in(fragment_packet(true, 1, 65528, false, pattern(8), 58))));
  REQUIRE(bench.sink.sent.size() == 1);
  auto problem = as_icmp(bench.sink.sent[0]);
  CHECK(problem.type == 4);
  CHECK(problem.code == 0);
  CHECK(problem.rest == 42);
}

// covers: 8200-7, 8200-8
// RFC 1858 3.
TEST_CASE("reassembly_refuses_tiny_and_ragged_fragments") {
  ip_bench bench;
  CHECK(
      nothing(bench.in(fragment_packet(false, 1, 0, true, pattern(16), 6))));  // half a TCP header
  CHECK(nothing(
      bench.in(fragment_packet(false, 1, 8, false, pattern(16), 6))));        // its flags replaced
  CHECK(nothing(bench.in(fragment_packet(false, 1, 0, true, pattern(15)))));  // no multiple of 8
  CHECK(nothing(bench.in(fragment_packet(false, 1, 8, false, {}))));          // nothing at all
  CHECK(nothing(bench.in(fragment_packet(true, 1, 8, false, {}))));
  CHECK(bench.count(counter::drop_fragment_malformed) == 5);
  CHECK(bench.sink.sent.empty());
  CHECK(nothing(bench.in(fragment_packet(true, 1, 0, true, pattern(16), 6))));
  REQUIRE(bench.sink.sent.size() == 1);
  CHECK(as_icmp(bench.sink.sent[0]).code == 3);
  CHECK(nothing(bench.in(fragment_packet(true, 1, 16, true, pattern(15), 6))));
  REQUIRE(bench.sink.sent.size() == 2);
  CHECK(as_icmp(bench.sink.sent[1]).code == 0);
  CHECK(as_icmp(bench.sink.sent[1]).rest == 4);
}

// covers: 1122-3, 8200-6
TEST_CASE("reassembly_times_out_after_a_minute_and_says_so_if_the_first_fragment_came") {
  for (bool v6 : {false, true})
    for (bool first : {false, true}) {
      ip_bench bench;
      auto fragments = udp_fragments(v6, 900, 504);
      CHECK(nothing(bench.in(fragments[first ? 0 : 1])));
      CHECK(bench.ip.next_deadline() == bench.now + std::chrono::seconds(60));
      bench.ip.advance(bench.now + std::chrono::milliseconds(59999));
      CHECK(bench.count(counter::drop_fragment_timeout) == 0);
      bench.ip.advance(bench.now + std::chrono::seconds(60));
      CHECK(bench.count(counter::drop_fragment_timeout) == 1);
      CHECK(bench.ip.next_deadline().is_never());
      REQUIRE(bench.sink.sent.size() == (first ? 1 : 0));
      if (!first) continue;
      auto error = as_icmp(bench.sink.sent[0]);
      CHECK(error.type == (v6 ? 3 : 11));
      CHECK(error.code == 1);
      auto room = v6 ? 1232u : 548u;
      CHECK(std::ranges::equal(
          error.body,
          std::span(fragments[0]).first(std::min<std::size_t>(room, fragments[0].size()))));
    }
}

TEST_CASE("reassembly_deadline_is_not_extended_by_later_fragments") {
  ip_bench bench;
  auto start = bench.now;
  auto fragments = udp_fragments(false, 2000, 504);
  bench.in(fragments[0]);
  bench.now = start + std::chrono::seconds(50);
  bench.in(fragments[1]);
  CHECK(bench.ip.next_deadline() == start + std::chrono::seconds(60));
}

TEST_CASE("reassembly_memory_is_bounded_and_the_oldest_go_first") {
  stack::host_counters counters;
  stack::reassembler r(64 << 10, counters);
  for (unsigned id = 0; id < 2000; ++id) {
    auto packet = fragment_packet(id % 2 == 0, id, 800, true, pattern(64));
    r.add(at_ms(id), packet, wire::parse_ip(packet));
    REQUIRE(r.bytes_held() <= 64 << 10);
  }
  CHECK(r.datagrams_held() > 100);
  CHECK(counters[counter::drop_fragment_limit] == 2000 - r.datagrams_held());
  // The newest is still there: its rest completes it.
  auto packet = fragment_packet(false, 1999, 864, false, pattern(3));
  CHECK(r.add(at_ms(2000), packet, wire::parse_ip(packet)).empty());
  packet = fragment_packet(false, 1999, 0, true, pattern(800));
  CHECK(r.add(at_ms(2000), packet, wire::parse_ip(packet)).size() == 887);
}

TEST_CASE("reassembly_of_one_datagram_is_bounded_in_bytes_and_fragments") {
  stack::host_counters counters;
  stack::reassembler r(4096, counters);
  for (std::uint32_t i = 0; i < 100; ++i) {
    auto packet = fragment_packet(false, 1, i * 64, true, pattern(64));
    CHECK(r.add(at_ms(0), packet, wire::parse_ip(packet)).empty());
    REQUIRE(r.bytes_held() <= 4096);
  }
  CHECK(counters[counter::drop_fragment_limit] == 1);
  stack::reassembler wide(1 << 20, counters);
  for (std::uint32_t i = 0; i <= stack::reassembler::max_fragments; ++i) {
    auto packet = fragment_packet(false, 1, i * 16, true, pattern(8));
    wide.add(at_ms(0), packet, wire::parse_ip(packet));
  }
  CHECK(counters[counter::drop_fragment_limit] == 2);
  CHECK(wide.bytes_held() < 1024);
}

TEST_CASE("reassembly_charges_the_headers_that_it_keeps") {
  stack::host_counters counters;
  stack::reassembler r(64 << 10, counters);
  auto options = raw({44, 255, 1, 254});
  options.resize(2048);  // 256 bytes of padding, then a good deal of Pad1
  for (unsigned id = 0; id < 100; ++id) {
    bytes header(8);
    wire::emit_ipv6_fragment(header.data(), 17, 0, true, id);
    auto packet = from_peer(true, 60, options + header + pattern(8)).build();
    auto parsed = wire::parse_ip(packet);
    REQUIRE(parsed.is_fragment);
    r.add(at_ms(id), packet, parsed);
    REQUIRE(r.datagrams_held() * packet.size() <= 64 << 10);
  }
}

TEST_CASE("reassembly_without_any_memory_drops_every_fragment") {
  auto options = ip_options();
  options.limits.reassembly_bytes = 0;
  ip_bench bench(options);
  for (auto& f : udp_fragments(true, 2000, 504)) CHECK(nothing(bench.in(f)));
  CHECK(bench.count(counter::drop_fragment_limit) == 4);
}

// covers: 3168-8
TEST_CASE("reassembly_keeps_congestion_marks_and_drops_impossible_mixes") {
  for (bool v6 : {false, true}) {
    struct {
      std::uint8_t first, second;
      int expected;
    } cases[] = {{0, 0, 0}, {2, 2, 2}, {1, 1, 1}, {2, 3, 3}, {3, 1, 3}, {0, 3, -1}, {3, 0, -1}};
    for (auto& c : cases) {
      ip_bench bench;
      auto a = udp_fragments(v6, 900, 504, 9, c.first),
           b = udp_fragments(v6, 900, 504, 9, c.second);
      bench.in(a[0]);
      auto d = bench.in(b[1]);
      auto* u = std::get_if<wire::udp_datagram>(&d);
      CHECK((u != nullptr) == (c.expected >= 0));
      if (u != nullptr) CHECK(u->ecn == c.expected);
    }
  }
}

TEST_CASE("reassembly_checks_the_transport_checksum_of_the_whole") {
  ip_bench bench;
  auto fragments = udp_fragments(false, 900, 504);
  fragments[1].back() ^= std::byte{1};
  bench.in(fragments[0], {.checksum_good = true, .gso_size = 0});
  CHECK(nothing(bench.in(fragments[1], {.checksum_good = true, .gso_size = 0})));
  CHECK(bench.count(counter::drop_udp_checksum) == 1);
}

TEST_CASE("reassembly_refuses_fragments_within_fragments") {
  ip_bench bench;
  bytes inner(8);
  wire::emit_ipv6_fragment(inner.data(), 17, 0, true, 5);
  auto data = inner + pattern(56);
  CHECK(nothing(bench.in(fragment_packet(true, 1, 0, true, data, 44))));
  CHECK(nothing(bench.in(fragment_packet(true, 1, 64, false, pattern(8), 44))));
  CHECK(bench.count(counter::drop_fragment_malformed) == 1);
  CHECK(bench.ip.next_deadline().is_never());
}

TEST_CASE("reassembly_judges_extension_headers_in_the_fragmented_part") {
  ip_bench bench;
  auto udp = udp_bytes(peer(true), own(true), 5000, 7, pattern(100));
  auto whole = raw({17, 0, 1, 4, 0, 0, 0, 0}) + udp;
  bytes a(whole.begin(), whole.begin() + 64), b(whole.begin() + 64, whole.end());
  CHECK(nothing(bench.in(fragment_packet(true, 1, 0, true, a, 60))));
  CHECK(payload_of(bench.in(fragment_packet(true, 1, 64, false, b, 60))) == pattern(100));
  a[2] = std::byte{0x80};
  bench.in(fragment_packet(true, 2, 0, true, a, 60));
  CHECK(nothing(bench.in(fragment_packet(true, 2, 64, false, b, 60))));
  REQUIRE(bench.sink.sent.size() == 1);
  CHECK(as_icmp(bench.sink.sent[0]).code == 2);
}
