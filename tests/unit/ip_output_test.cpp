// What leaves the IP layer: headers, checksums, segmentation, fragments, and the way back to
// ourselves.
#include "unit/ip_support.hpp"

using namespace weir;
using namespace weir::test;
using stack::counter;

namespace {

std::vector<std::span<const std::byte>> cut(const bytes& data,
                                            std::initializer_list<std::size_t> sizes) {
  std::vector<std::span<const std::byte>> parts;
  std::size_t at = 0;
  for (auto n : sizes) {
    parts.push_back(std::span(data).subspan(at, n));
    at += n;
  }
  if (at < data.size()) parts.push_back(std::span(data).subspan(at));
  return parts;
}

// The segment as the peer would read it, checksum verified.
wire::tcp_segment read_segment(const sent_packet& p) {
  auto h = wire::parse_ip(p.data);
  REQUIRE(h.status == wire::ip_status::ok);
  REQUIRE(h.total_length == p.data.size());
  wire::tcp_segment s;
  s.source = h.source, s.destination = h.destination;
  REQUIRE(wire::parse_tcp(h.payload, true, s) == wire::parse_status::ok);
  return s;
}

stack::host_options offloading() {
  auto o = ip_options();
  o.transmit_checksum_offload = true;
  o.transmit_segmentation_offload = true;
  return o;
}

// Does what the device promises: completes the checksum.
bytes completed(const sent_packet& p) {
  auto data = p.data;
  if (!p.meta.needs_checksum) return data;
  auto from = std::span(data).subspan(p.meta.checksum_start);
  wire::put16(from.data() + p.meta.checksum_offset, wire::checksum_of(from));
  return data;
}

// A sink that counts what it is given and keeps nothing.
class measuring_sink final : public stack::packet_sink {
 public:
  bool transmit(std::span<const std::span<const std::byte>> parts,
                const stack::transmit_meta&) override {
    last_payload = parts.back().data();
    ++packets;
    return true;
  }
  const std::byte* last_payload = nullptr;
  int packets = 0;
};

}  // namespace

// covers: MUST-2, 1191-4, MUST-48, MUST-49
TEST_CASE("output_tcp_carries_headers_payload_and_a_right_checksum") {
  for (bool v6 : {false, true}) {
    ip_bench bench;
    auto s = own_segment(v6);
    s.options.timestamps = wire::tcp_timestamps{1, 2};
    s.traffic_class = 0x88, s.ecn = 2;
    auto data = pattern(333);
    CHECK(bench.ip.send_tcp(bench.now, s, cut(data, {1, 0, 100, 7}), 17));
    REQUIRE(bench.sink.sent.size() == 1);
    auto back = read_segment(bench.sink.sent[0]);
    CHECK(back.sequence == s.sequence);
    CHECK(back.options == s.options);
    CHECK(std::ranges::equal(back.payload, data));
    auto h = wire::parse_ip(bench.sink.sent[0].data);
    CHECK(h.dont_fragment);
    CHECK(h.ttl == 17);
    CHECK(h.traffic_class == 0x8a);
    auto& meta = bench.sink.sent[0].meta;
    CHECK(!meta.needs_checksum);
    CHECK(meta.header_length == (v6 ? 72 : 52));
    CHECK(meta.gso_size == 0);
    CHECK(bench.count(counter::packets_sent) == 1);
    CHECK(bench.count(counter::bytes_sent) == bench.sink.sent[0].data.size());
  }
}

TEST_CASE("output_leaves_the_checksum_to_a_device_that_completes_it") {
  for (bool v6 : {false, true}) {
    ip_bench bench(offloading());
    auto data = pattern(100);
    CHECK(bench.ip.send_tcp(bench.now, own_segment(v6), cut(data, {33})));
    auto& p = bench.sink.sent.at(0);
    CHECK(p.meta.needs_checksum);
    CHECK(p.meta.checksum_start == (v6 ? 40 : 20));
    CHECK(p.meta.checksum_offset == 16);
    CHECK(p.meta.family == (v6 ? ip_family::v6 : ip_family::v4));
    CHECK(std::ranges::equal(read_segment({completed(p), p.meta}).payload, data));
  }
}

TEST_CASE("output_hands_a_super_segment_over_whole_where_the_device_cuts_it") {
  for (bool v6 : {false, true}) {
    ip_bench bench(offloading());
    auto s = own_segment(v6);
    s.gso_size = 1400;
    auto data = pattern(50000);
    CHECK(bench.ip.send_tcp(bench.now, s, cut(data, {16384, 16384, 16384})));
    REQUIRE(bench.sink.sent.size() == 1);
    auto& p = bench.sink.sent[0];
    CHECK(p.meta.gso_size == 1400);
    CHECK(p.meta.needs_checksum);
    CHECK(p.meta.header_length == (v6 ? 60 : 40));
    CHECK(std::ranges::equal(read_segment({completed(p), p.meta}).payload, data));
  }
}

// covers: SHLD-27, SHLD-28
TEST_CASE("output_cuts_a_super_segment_itself_where_the_device_cannot") {
  for (bool v6 : {false, true})
    for (bool checksum : {false, true}) {
      auto options = ip_options();
      options.transmit_checksum_offload = checksum;
      ip_bench bench(options);
      auto s = own_segment(v6);
      s.flags = wire::ack | wire::psh | wire::fin | wire::cwr;
      s.options.timestamps = wire::tcp_timestamps{1, 2};
      s.gso_size = 1000;
      auto data = pattern(3500);
      CHECK(bench.ip.send_tcp(bench.now, s, cut(data, {1, 999, 1500})));
      REQUIRE(bench.sink.sent.size() == 4);
      bytes together;
      for (std::size_t i = 0; i < 4; ++i) {
        auto& p = bench.sink.sent[i];
        sent_packet done{completed(p), p.meta};
        auto back = read_segment(done);
        CHECK(p.meta.gso_size == 0);
        CHECK(p.meta.needs_checksum == checksum);
        CHECK(back.sequence == s.sequence + 1000 * i);
        CHECK(back.payload.size() == (i < 3 ? 1000 : 500));
        CHECK(back.has(wire::psh) == (i == 3));
        CHECK(back.has(wire::fin) == (i == 3));
        CHECK(back.has(wire::cwr) == (i == 0));
        CHECK(back.options == s.options);
        together = together + back.payload;
      }
      CHECK(together == data);
    }
}

TEST_CASE("output_of_one_segment_is_no_super_segment_whatever_its_size_limit") {
  ip_bench bench(offloading());
  auto s = own_segment(false);
  s.gso_size = 1000;
  auto data = pattern(1000);
  CHECK(bench.ip.send_tcp(bench.now, s, cut(data, {})));
  CHECK(bench.sink.sent.at(0).meta.gso_size == 0);
}

TEST_CASE("output_over_64_kib_is_cut_even_with_offloads") {
  ip_bench bench(offloading());
  auto s = own_segment(false);
  s.gso_size = 1400;
  auto data = pattern(65536);
  CHECK(bench.ip.send_tcp(bench.now, s, cut(data, {65000})));
  CHECK(bench.sink.sent.size() == 47);
}

// covers: 1122-11
TEST_CASE("output_never_exceeds_the_mtu") {
  for (bool v6 : {false, true}) {
    ip_bench bench;
    auto headers = v6 ? 60u : 40u;
    auto fits = pattern(1500 - headers), over = pattern(1501 - headers);
    CHECK(bench.ip.send_tcp(bench.now, own_segment(v6), cut(fits, {})));
    CHECK(!bench.ip.send_tcp(bench.now, own_segment(v6), cut(over, {})));
    auto s = own_segment(v6);
    s.gso_size = static_cast<std::uint16_t>(1501 - headers);
    auto large = pattern(9000);
    CHECK(!bench.ip.send_tcp(bench.now, s, cut(large, {})));
    CHECK(bench.sink.sent.size() == 1);
  }
}

// covers: 1122-2, 1122-13, MUST-46
TEST_CASE("output_only_from_our_own_addresses_and_to_somebody") {
  ip_bench bench;
  auto s = own_segment(false);
  s.source = addr("198.18.0.3");
  CHECK(!bench.ip.send_tcp(bench.now, s, {}));
  for (auto bad :
       {"0.0.0.0", "255.255.255.255", "198.18.0.255", "224.0.0.1", "127.0.0.1", "2001:db8::1"}) {
    s = own_segment(false);
    s.destination = addr(bad);
    CHECK_MESSAGE(!bench.ip.send_tcp(bench.now, s, {}), bad);
    if (s.destination.is_v4() && !s.destination.is_loopback())
      CHECK(!bench.ip.is_unicast(s.destination));
  }
  CHECK(bench.sink.sent.empty());
}

// covers: 1122-13
TEST_CASE("output_from_a_loopback_address_stays_inside") {
  auto options = ip_options();
  options.addresses.push_back(*ip_prefix::parse("127.0.0.1/8"));
  ip_bench bench(options);
  auto s = own_segment(false);
  s.source = addr("127.0.0.1");
  CHECK(!bench.ip.send_tcp(bench.now, s, {}));
  CHECK(bench.sink.sent.empty());
  s.destination = own(false);
  CHECK(bench.ip.send_tcp(bench.now, s, {}));
  CHECK(bench.ip.has_looped());
}

// covers: 1122-4
TEST_CASE("output_never_sends_a_ttl_of_zero") {
  for (bool v6 : {false, true}) {
    ip_bench bench;
    CHECK(bench.ip.send_tcp(bench.now, own_segment(v6), {}, 0));
    CHECK(wire::parse_ip(bench.sink.sent.at(0).data).ttl == 1);
  }
}

TEST_CASE("output_to_a_full_device_is_counted_and_told") {
  ip_bench bench;
  bench.sink.full = true;
  CHECK(!bench.ip.send_tcp(bench.now, own_segment(false), {}));
  CHECK(bench.count(counter::device_full) == 1);
  CHECK(bench.count(counter::packets_sent) == 0);
}

TEST_CASE("output_udp_is_whole_while_it_fits_and_fragmented_beyond") {
  for (bool v6 : {false, true})
    for (bool offload : {false, true}) {
      auto options = ip_options();
      options.transmit_checksum_offload = offload;
      ip_bench bench(options);
      wire::udp_datagram d;
      d.source = own(v6), d.destination = peer(v6), d.source_port = 7, d.destination_port = 5000;
      auto headers = v6 ? 48u : 28u;
      auto other = ip_options();
      other.addresses = {*ip_prefix::parse(v6 ? "2001:db8::1/64" : "198.18.0.1/24")};
      ip_bench receiver(other);
      for (std::size_t n :
           {0u, 1u, 1500u - headers, 1501u - headers, 5000u, v6 ? 65527u : 65507u}) {
        auto data = pattern(n);
        bench.sink.sent.clear();
        REQUIRE(bench.ip.send_udp(bench.now, d, cut(data, {n / 3, n / 5})));
        CHECK((bench.sink.sent.size() == 1) == (n + headers <= 1500));
        for (std::size_t i = 0; i < bench.sink.sent.size(); ++i) {
          auto& p = bench.sink.sent[i];
          REQUIRE(p.data.size() <= 1500);
          auto got = receiver.in(completed(p));
          bool last = i + 1 == bench.sink.sent.size();
          REQUIRE(nothing(got) != last);
          if (last) REQUIRE(std::ranges::equal(std::get<wire::udp_datagram>(got).payload, data));
        }
      }
      auto data = pattern(v6 ? 65528 : 65508);
      CHECK(!bench.ip.send_udp(bench.now, d, cut(data, {})));
    }
}

// covers: 6864-1
TEST_CASE("output_fragments_have_identifications_that_do_not_repeat_or_follow_from_each_other") {
  for (bool v6 : {false, true}) {
    ip_bench bench;
    wire::udp_datagram d;
    d.source = own(v6), d.destination = peer(v6);
    auto data = pattern(2000);
    std::vector<std::uint32_t> seen;
    for (int i = 0; i < 100; ++i) {
      bench.sink.sent.clear();
      REQUIRE(bench.ip.send_udp(bench.now, d, cut(data, {})));
      auto a = wire::parse_ip(bench.sink.sent[0].data), b = wire::parse_ip(bench.sink.sent[1].data);
      CHECK(a.identification == b.identification);
      seen.push_back(a.identification);
    }
    std::sort(seen.begin(), seen.end());
    CHECK(std::unique(seen.begin(), seen.end()) == seen.end());
    // Another destination's numbers start elsewhere, and another secret's too.
    d.destination = addr(v6 ? "2001:db8::77" : "198.18.0.77");
    bench.sink.sent.clear();
    CHECK(bench.ip.send_udp(bench.now, d, cut(data, {})));
    auto elsewhere = wire::parse_ip(bench.sink.sent[0].data).identification;
    CHECK(!std::binary_search(seen.begin(), seen.end(), elsewhere));
  }
}

TEST_CASE("output_to_ourselves_loops_back_without_the_device") {
  for (bool v6 : {false, true}) {
    auto options = offloading();
    options.addresses.push_back(*ip_prefix::parse("127.0.0.1/8"));
    options.addresses.push_back(*ip_prefix::parse("::1/128"));
    ip_bench bench(options);
    for (auto& self : {own(v6), v6 ? ip_address::loopback_v6() : ip_address::loopback_v4()}) {
      auto s = own_segment(v6);
      s.source = s.destination = self;
      s.gso_size = 1400;
      auto data = pattern(20000);
      CHECK(bench.ip.send_tcp(bench.now, s, cut(data, {100})));
      CHECK(bench.sink.sent.empty());
      REQUIRE(bench.ip.has_looped());
      CHECK(bench.ip.next_deadline() == instant{});
      auto d = bench.ip.input_looped(bench.now);
      auto* got = std::get_if<wire::tcp_segment>(&d);
      REQUIRE(got != nullptr);
      CHECK(got->source == self);
      CHECK(got->gso_size == 1400);
      CHECK(std::ranges::equal(got->payload, data));
      CHECK(!bench.ip.has_looped());
      CHECK(bench.ip.next_deadline().is_never());
      CHECK(nothing(bench.ip.input_looped(bench.now)));
    }
  }
}

TEST_CASE("output_to_ourselves_is_bounded") {
  ip_bench bench;
  auto s = own_segment(false);
  s.destination = own(false);
  for (std::size_t i = 0; i < stack::ip_layer::max_looped; ++i)
    REQUIRE(bench.ip.send_tcp(bench.now, s, {}));
  CHECK(!bench.ip.send_tcp(bench.now, s, {}));
  CHECK(bench.count(counter::device_full) == 1);
  std::size_t looped = 0;
  for (; bench.ip.has_looped(); ++looped) bench.ip.input_looped(bench.now);
  CHECK(looped == stack::ip_layer::max_looped);
}

TEST_CASE("output_to_ourselves_over_udp_without_a_socket_comes_back_as_a_report") {
  ip_bench bench;
  wire::udp_datagram d;
  d.source = d.destination = own(true), d.source_port = 1, d.destination_port = 2;
  auto data = pattern(3000);
  CHECK(bench.ip.send_udp(bench.now, d, cut(data, {})));
  auto got = bench.ip.input_looped(bench.now);
  REQUIRE(std::holds_alternative<wire::udp_datagram>(got));
  bench.ip.send_port_unreachable(bench.now, std::get<wire::udp_datagram>(got));
  got = bench.ip.input_looped(bench.now);
  REQUIRE(std::holds_alternative<stack::icmp_report>(got));
  CHECK(std::get<stack::icmp_report>(got).kind == stack::icmp_kind::port_unreachable);
  CHECK(bench.sink.sent.empty());
}

TEST_CASE("output_does_not_copy_the_payload") {
  auto options = offloading();
  stack::host_counters counters;
  measuring_sink sink;
  stack::ip_layer ip(options, sink, counters);
  auto data = pattern(1000);
  std::span<const std::byte> parts[] = {std::span(data).first(10), std::span(data).subspan(10)};
  CHECK(ip.send_tcp(at_ms(0), own_segment(false), parts));
  CHECK(sink.last_payload == data.data() + 10);
}
