// The path MTU cache: RFC 1191, RFC 8201.
#include "stack/ip/path_mtu.hpp"

#include "unit/ip_support.hpp"

using namespace weir;
using namespace weir::test;
using stack::path_mtu_cache;

namespace {

stack::icmp_report too_big(bool v6, std::uint32_t mtu, std::uint32_t quoted = 1500) {
  stack::icmp_report r;
  r.kind = stack::icmp_kind::packet_too_big;
  r.remote = {peer(v6), 80};
  r.mtu = mtu, r.quoted_length = quoted;
  return r;
}

}  // namespace

// covers: 1191-1
TEST_CASE("path_mtu_is_the_devices_until_a_router_says_less") {
  for (bool v6 : {false, true}) {
    ip_bench bench;
    CHECK(bench.ip.path_mtu(bench.now, peer(v6)) == 1500);
    CHECK(bench.ip.lower_path_mtu(bench.now, too_big(v6, 1400)) == 1400);
    CHECK(bench.ip.path_mtu(bench.now, peer(v6)) == 1400);
    CHECK(bench.ip.path_mtu(bench.now, addr(v6 ? "2001:db8::9" : "198.18.0.9")) == 1500);
  }
}

// covers: 1191-2, 8201-1
TEST_CASE("path_mtu_is_never_raised_by_an_error") {
  for (bool v6 : {false, true}) {
    ip_bench bench;
    CHECK(bench.ip.lower_path_mtu(bench.now, too_big(v6, 1400)) == 1400);
    CHECK(!bench.ip.lower_path_mtu(bench.now, too_big(v6, 1400)));
    CHECK(!bench.ip.lower_path_mtu(bench.now, too_big(v6, 1450)));
    CHECK(!bench.ip.lower_path_mtu(bench.now, too_big(v6, 65535)));
    CHECK(bench.ip.path_mtu(bench.now, peer(v6)) == 1400);
  }
}

// covers: icmp-4, 8201-1
TEST_CASE("path_mtu_has_a_floor_against_forged_errors") {
  ip_bench bench;
  CHECK(!bench.ip.lower_path_mtu(bench.now, too_big(true, 1279)));
  CHECK(bench.ip.lower_path_mtu(bench.now, too_big(true, 1280)) == 1280);
  CHECK(bench.ip.lower_path_mtu(bench.now, too_big(false, 68)) == 552);
  CHECK(!bench.ip.lower_path_mtu(bench.now, too_big(false, 1)));
  auto options = ip_options();
  options.addresses.resize(1);
  options.mtu = 296;
  ip_bench narrow(options);
  CHECK(!narrow.ip.lower_path_mtu(narrow.now, too_big(false, 68)));
  CHECK(narrow.ip.path_mtu(narrow.now, peer(false)) == 296);
}

// covers: 1191-1
TEST_CASE("path_mtu_without_a_number_goes_down_the_plateaus") {
  auto options = ip_options();
  options.mtu = 9000;
  ip_bench bench(options);
  std::uint16_t expected[] = {8166, 4352, 2002, 1492, 1006, 552};
  std::uint32_t length = 9000;
  for (auto next : expected) {
    CHECK(bench.ip.lower_path_mtu(bench.now, too_big(false, 0, length)) == next);
    length = next;
  }
  CHECK(!bench.ip.lower_path_mtu(bench.now, too_big(false, 0, length)));
}

// covers: 1191-2, 8201-3
TEST_CASE("path_mtu_is_forgotten_after_ten_minutes_and_not_before_five") {
  ip_bench bench;
  CHECK(bench.ip.next_deadline().is_never());
  bench.ip.lower_path_mtu(bench.now, too_big(true, 1300));
  auto later = bench.now + std::chrono::minutes(5);
  bench.ip.advance(later);
  CHECK(bench.ip.path_mtu(later, peer(true)) == 1300);
  CHECK(bench.ip.next_deadline() == bench.now + std::chrono::minutes(10));
  later = bench.now + std::chrono::minutes(10);
  CHECK(bench.ip.path_mtu(later, peer(true)) == 1500);
  bench.ip.advance(later);
  CHECK(bench.ip.next_deadline().is_never());
}

TEST_CASE("path_mtu_found_by_probing_may_rise_up_to_the_devices") {
  ip_bench bench;
  bench.ip.lower_path_mtu(bench.now, too_big(false, 600));
  bench.ip.set_path_mtu(bench.now, peer(false), 1000);
  CHECK(bench.ip.path_mtu(bench.now, peer(false)) == 1000);
  bench.ip.set_path_mtu(bench.now, peer(false), 9000);
  CHECK(bench.ip.path_mtu(bench.now, peer(false)) == 1500);
  bench.ip.set_path_mtu(bench.now, peer(false), 10);
  CHECK(bench.ip.path_mtu(bench.now, peer(false)) == 68);
  bench.ip.set_path_mtu(bench.now, peer(true), 10);
  CHECK(bench.ip.path_mtu(bench.now, peer(true)) == 1280);
}

TEST_CASE("path_mtu_cache_is_bounded_and_loses_its_oldest") {
  path_mtu_cache cache(1500);
  for (std::uint32_t i = 0; i < path_mtu_cache::max_entries + 10; ++i)
    cache.lower(at_ms(i), ip_address::v4(0x0a000000 + i), 1000, 0);
  CHECK(cache.size() == path_mtu_cache::max_entries);
  auto now = at_ms(path_mtu_cache::max_entries + 10);
  CHECK(cache.get(now, ip_address::v4(0x0a000000)) == 1500);
  CHECK(cache.get(now, ip_address::v4(0x0a000000 + 10)) == 1000);
}
