// What the path carries: routers' word (RFC 1191, RFC 8201), black holes and probes (RFC 4821). The
// search itself is tests/unit's; here it is seen on the wire.
#include <doctest/doctest.h>

#include "packet/icmp_quote.hpp"

using namespace weir;
using namespace weir::test;

namespace {

void too_big(script& t, const wire::tcp_segment& about, std::uint32_t mtu) {
  const bool v6 = t.us.is_v6();
  t.in_raw(icmp_about(t, about, v6 ? 2 : 3, v6 ? 0 : 4, mtu, 1500));
  t.flush();
}

host_options probing(path_probing mode) {
  host_options o;
  o.tcp.probing = mode;
  return o;
}

/// A connection of two hosts whose packets above `largest` vanish without a word, towards b.
struct black_hole {
  explicit black_hole(std::size_t largest, host_options options = {}, bool v6 = false)
      : limit(largest), net({}, with(options, v6, 1), with(options, v6, 2)) {
    net.filter = [this](int to, std::span<const std::byte> packet) {
      sizes.push_back(packet.size());
      if (to == 0 || packet.size() <= limit) return true;
      ++swallowed;
      return false;
    };
    const auto server = v6 ? at("fd00::2", 80) : at("10.0.0.2", 80);
    const auto listener = *net.b().listen(server);
    client = *net.a().connect(net.now(), server, {}, options.tcp);
    REQUIRE(net.run_until([&] {
      auto got = net.b().accept(listener);
      if (got) peer = *got;
      return peer != socket_id::none;
    }));
  }
  static host_options with(host_options o, bool v6, int n) {
    const std::string end = std::to_string(n) + (v6 ? "/64" : "/24");
    o.addresses = {*ip_prefix::parse((v6 ? "fd00::" : "10.0.0.") + end)};
    return o;
  }
  /// Sends `total` bytes; how long it took until all had arrived.
  duration transfer(std::size_t total) {
    const auto begin = net.now();
    const std::string text(total, 'x');
    std::size_t sent = 0, got = 0;
    net.application = [&] {
      while (sent < total) {
        auto n = send_text(net.a(), net.now(), client, std::string_view(text).substr(sent));
        if (!n) break;
        sent += *n;
      }
      got += receive_text(net.b(), net.now(), peer).size();
    };
    CHECK(net.run_until([&] { return got == total; }, 300s));
    net.application = nullptr;
    const auto took = net.now() - begin;
    net.run_for(100ms);  // the last acknowledgements
    return took;
  }
  /// Transfers now and then, which is when a search goes on.
  void settle() {
    for (int i = 0; i < 20; ++i) {
      (void)transfer(100'000);
      net.run_for(1s);
    }
  }
  tcp_info info() { return *net.a().info(client); }
  std::uint64_t count(counter c) { return net.a().counters()[c]; }

  std::size_t limit;
  std::size_t swallowed = 0;
  std::vector<std::size_t> sizes;
  two_hosts net;
  socket_id client = socket_id::none, peer = socket_id::none;
};

}  // namespace

// covers: 1191-1, 1191-3, 8201-2, b54
TEST_CASE("path_mtu_from_a_router_cuts_anew_at_once_and_is_no_congestion") {
  for (const bool six : {false, true}) {
    CAPTURE(six);
    const std::uint32_t fixed = six ? 60 : 40;
    script t({}, six);
    t.establish("<mss 1440>");
    CHECK(t.send(4000u).value() == 4000);
    const auto first = t.take();
    CHECK(first.payload.size() == 1440);
    t.skip();
    const auto window = t.info().congestion_window;
    too_big(t, first, 1300);
    const auto mss = 1300 - fixed;
    CHECK(t.take().payload.size() == mss);
    CHECK(t.take().payload.size() == mss);
    t.skip();
    CHECK(t.info().path_mtu == 1300);
    // 5681-6: the window shrinks with the segments, and in proportion.
    CHECK(t.info().congestion_window >= std::uint64_t{window} * mss / 1440);
    CHECK(t.info().slow_start_threshold > 1u << 20);
    CHECK(t.info().fast_retransmits == 0);
    // The same word again: nothing is sent a second time.
    too_big(t, first, 1300);
    t.quiet();
  }
}

// covers: 1191-1
TEST_CASE("path_mtu_without_a_next_hop_goes_down_by_plateaus_quickly") {
  script t;
  t.establish("<mss 1460>");
  CHECK(t.send(1460u).value() == 1460);
  std::vector<std::uint16_t> seen;
  for (int i = 0; i < 3; ++i) {
    const auto sent = t.take();
    t.skip();
    t.in_raw(icmp_about(t, sent, 3, 4, 0, t.info().path_mtu));
    t.flush();
    seen.push_back(t.info().path_mtu);
  }
  CHECK(seen == std::vector<std::uint16_t>{1492, 1006, 552});
}

// covers: 1191-2, 8201-1, icmp-4
TEST_CASE("path_mtu_is_never_raised_by_icmp_nor_taken_below_its_floor") {
  for (const bool six : {false, true}) {
    CAPTURE(six);
    script t({}, six);
    t.establish("<mss 1440>");
    CHECK(t.send(4000u).value() == 4000);
    const auto first = t.take();
    t.skip();
    too_big(t, first, 1400);
    CHECK(t.info().path_mtu == 1400);
    too_big(t, first, 1450);
    too_big(t, first, 9000);
    CHECK(t.info().path_mtu == 1400);
    too_big(t, first, 40);
    CHECK(t.info().path_mtu == (six ? 1400 : 552));
    t.skip();
    // What was acknowledged since proves that it got through: too late (RFC 5927 7.2).
    t.in(". 1 ack 4001");
    too_big(t, first, six ? 1280 : 600);
    CHECK(t.info().path_mtu == (six ? 1400 : 552));
  }
}

// covers: 8201-4, MUST-16
TEST_CASE("path_mtu_above_the_peers_mss_does_not_lengthen_segments") {
  script t;
  t.establish("<mss 800>");
  CHECK(t.send(4000u).value() == 4000);
  const auto first = t.take();
  CHECK(first.payload.size() == 800);
  t.skip();
  too_big(t, first, 1200);
  CHECK(t.info().send_mss == 800);
  t.quiet();
}

// covers: 1191-4
TEST_CASE("every_segment_has_df_set") {
  black_hole b(1500);
  std::size_t seen = 0, without = 0;
  b.net.filter = [&](int, std::span<const std::byte> packet) {
    ++seen;
    if ((std::to_integer<int>(packet[6]) & 0x40) == 0) ++without;
    return true;
  };
  (void)b.transfer(100'000);
  b.net.a().close(b.net.now(), b.client);
  b.net.run_for(1s);
  CHECK(seen > 70);
  CHECK(without == 0);
}

// covers: 8201-3
TEST_CASE("path_mtu_that_is_known_is_where_a_connection_begins_that_a_cookie_made") {
  script t;
  t.listen(80, {.syn_backlog = 0});
  const auto open = [&] {
    t.in("S 0 <mss 1460>");
    t.out("S. 0 ack 1");
    t.in(". 1 ack 1");
    REQUIRE(t.accept());
  };
  open();
  CHECK(t.info().path_mtu == 1500);
  CHECK(t.send(1460u).value() == 1460);
  too_big(t, t.take(), 1200);
  t.skip();
  ++t.peer_port;
  open();
  CHECK(t.count(counter::syn_cookies_accepted) == 2);
  CHECK(t.info().path_mtu == 1200);
  CHECK(t.send(1460u).value() == 1460);
  CHECK(t.take().payload.size() == 1160);
}

// covers: 8201-3
TEST_CASE("path_mtu_that_one_connection_learnt_reaches_the_others_of_the_path") {
  script t;
  t.establish("<mss 1460>");
  const auto first = t.socket;
  t.peer_port = 40001;
  t.establish("<mss 1460>");
  CHECK(t.send(1460u).value() == 1460);
  too_big(t, t.take(), 1200);
  t.out(". 1:1161 ack 1");
  t.skip();
  // A third starts with it; the first, whose long segment is lost, asks before it sends it again.
  t.peer_port = 40002;
  t.in("S 0 <mss 1460>");
  CHECK(t.take().options.mss == 1160);
  t.in(". 1 ack 1");
  REQUIRE(t.accept());
  CHECK(t.info().path_mtu == 1200);
  t.socket = first;
  CHECK(t.send(1460u).value() == 1460);
  CHECK(t.take().payload.size() == 1460);
  t.skip();
  (void)t.until_sent();
  CHECK(t.take().payload.size() == 1160);
  CHECK(t.info().path_mtu == 1200);
}

// covers: 4821-4
TEST_CASE("black_hole_is_found_by_repeated_timeouts_and_left_by_shorter_segments") {
  for (const bool six : {false, true}) {
    CAPTURE(six);
    black_hole b(1300, {}, six);
    CHECK(b.transfer(1'000'000) < 10s);
    CHECK(b.count(counter::path_black_holes) == 1);
    CHECK(b.info().path_mtu == (six ? 1280 : 1024));
    b.settle();
    CHECK(b.info().path_mtu <= 1300);
    CHECK(b.info().path_mtu + 8 >= 1300);  // and the search came back up to what fits
    CHECK(b.info().timeouts <= 4);
  }
}

// covers: 4821-4
TEST_CASE("black_hole_detection_halves_down_to_the_floor_and_no_further") {
  for (const bool six : {false, true}) {
    CAPTURE(six);
    script t({}, six);
    t.establish("<mss 1440 sackOK>");
    CHECK(t.send(14000u).value() == 14000);
    t.skip();
    std::vector<std::uint16_t> sizes;
    for (int i = 0; i < 12; ++i) {
      (void)t.until_sent();
      t.skip();
      if (sizes.empty() || sizes.back() != t.info().path_mtu) sizes.push_back(t.info().path_mtu);
    }
    if (six)
      CHECK(sizes == std::vector<std::uint16_t>{1500, 1280});
    else
      CHECK(sizes == std::vector<std::uint16_t>{1500, 1024, 512, 256, 128, 68});
  }
}

// covers: 4821-4
TEST_CASE("short_segments_that_are_lost_are_no_black_hole") {
  script t;
  t.establish("<mss 1460 sackOK>");
  CHECK(t.send(500u).value() == 500);
  t.skip();
  t.after(120s);
  CHECK(t.info().timeouts > 5);
  CHECK(t.info().path_mtu == 1500);
  CHECK(t.count(counter::path_black_holes) == 0);
}

// covers: 4821-4
TEST_CASE("an_outage_that_looked_like_a_black_hole_leaves_full_segments_behind") {
  for (const bool sack : {true, false}) {
    CAPTURE(sack);
    host_options options;
    options.tcp.sack = sack;
    black_hole b(1500, options);
    (void)b.transfer(100'000);
    b.limit = 0;
    const std::string text(20'000, 'x');
    CHECK(send_text(b.net.a(), b.net.now(), b.client, text).value() == text.size());
    b.net.run_for(8s);
    CHECK(b.info().path_mtu < 1500);
    b.limit = 1500;
    CHECK(b.net.run_until([&] { return b.info().unacknowledged == 0; }, 60s));
    (void)b.transfer(20'000);
    CHECK(b.info().path_mtu == 1500);
  }
}

// covers: 4821-1
TEST_CASE("always_probing_starts_at_the_base_and_searches_up_to_what_fits") {
  for (const std::size_t largest : {1500, 1432, 1100}) {
    CAPTURE(largest);
    auto options = probing(path_probing::always);
    black_hole b(largest, options);
    CHECK(b.info().path_mtu == 1024);
    b.sizes.clear();
    b.settle();
    // A search ends when it has come close; what is lost meanwhile is probes only.
    CHECK(b.info().path_mtu <= largest);
    CHECK(b.info().path_mtu + 8 >= largest);
    CHECK(b.info().timeouts == 0);
    CHECK(b.swallowed == b.count(counter::path_probes_lost));
    CHECK(b.swallowed <= 10);
    for (const auto size : b.sizes) CHECK(size <= 1500);
  }
  auto options = probing(path_probing::always);
  options.tcp.probe_base = 600;  // configurable
  black_hole b(1500, options);
  CHECK(b.info().path_mtu == 600);
}

// covers: 4821-2, 4821-3
TEST_CASE("lost_probe_alone_is_no_congestion_and_a_larger_mtu_does_not_raise_the_window") {
  auto options = probing(path_probing::always);
  script t(options);
  t.establish("<mss 1460 sackOK>");
  CHECK(t.info().send_mss == 984);
  CHECK(t.send(984u * 10).value() == 9840);
  t.skip();
  t.in(". 1 ack 9841");  // slow start: the window is now large enough
  CHECK(t.send(40'000u).value() == 40'000);
  const auto probe = t.take();
  CHECK(probe.payload.size() == 1460);
  CHECK(t.count(counter::path_probes_sent) == 1);
  t.skip();
  const auto window = t.info().congestion_window;
  // Everything behind it arrives, it does not: sent again in pieces, and nothing else happens.
  const auto begin = 9841 + 1460;
  t.in(". 1 ack 9841 <sack " + std::to_string(begin) + ":" + std::to_string(begin + 4 * 984) + ">");
  const auto first = t.take();
  CHECK(first.sequence == probe.sequence);
  CHECK(first.payload.size() == 984);
  CHECK(t.take().payload.size() == 476);
  t.skip();
  CHECK(t.info().congestion_window >= window);
  CHECK(t.info().fast_retransmits == 0);
  CHECK(t.info().slow_start_threshold > 1u << 20);
  CHECK(t.count(counter::path_probes_lost) == 1);
  // Rate limited: the next one waits, although there is data.
  t.in(". 1 ack " + std::to_string(begin + 4 * 984));
  while (t.sent() > 0) CHECK(t.take().payload.size() <= 984);

  // A success: longer segments, the same window in bytes.
  script u(options);
  u.establish("<mss 1460 sackOK>");
  CHECK(u.send(9840u).value() == 9840);
  u.skip();
  u.in(". 1 ack 9841");
  CHECK(u.send(40'000u).value() == 40'000);
  CHECK(u.take().payload.size() == 1460);
  u.skip();
  const auto before = u.info().congestion_window;
  u.in(". 1 ack 11301");
  CHECK(u.info().send_mss == 1460);
  CHECK(u.info().congestion_window <= before + 1460);
}

// covers: 4821-2
TEST_CASE("lost_probe_alone_is_no_congestion_without_SACK_either") {
  script t(probing(path_probing::always));
  t.establish("<mss 1460>");
  CHECK(t.info().send_mss == 984);
  CHECK(t.send(984u * 10).value() == 9840);
  t.skip();
  t.in(". 1 ack 9841");
  CHECK(t.send(40'000u).value() == 40'000);
  const auto probe = t.take();
  CHECK(probe.payload.size() == 1460);
  t.skip();
  const auto window = t.info().congestion_window;
  // Three duplicates tell of the whole packet; those that follow tell of nothing else.
  for (int i = 0; i < 2; ++i) t.arrive(". 1 ack 9841");
  t.flush();
  t.skip();
  for (int i = 0; i < 3; ++i) t.arrive(". 1 ack 9841");
  t.flush();
  const auto again = t.take();
  CHECK(again.sequence == probe.sequence);
  CHECK(again.payload.size() == 984);
  CHECK(t.take().payload.size() == 476);
  t.skip();
  t.in(". 1 ack 9841");
  CHECK(t.info().congestion_window >= window);
  CHECK(t.info().fast_retransmits == 0);
  CHECK(t.info().slow_start_threshold > 1u << 20);
  CHECK(t.count(counter::path_probes_lost) == 1);
  CHECK(t.info().timeouts == 0);
}

// covers: 4821-2
TEST_CASE("loss_beside_the_probe_is_congestion") {
  script t(probing(path_probing::always));
  t.establish("<mss 1460 sackOK>");
  CHECK(t.send(984u * 10).value() == 9840);
  t.skip();
  t.in(". 1 ack 9841");
  CHECK(t.send(40'000u).value() == 40'000);
  CHECK(t.take().payload.size() == 1460);
  t.skip();
  // The probe and the segment behind it are missing.
  const auto begin = 9841 + 1460 + 984;
  t.in(". 1 ack 9841 <sack " + std::to_string(begin) + ":" + std::to_string(begin + 4 * 984) + ">");
  CHECK(t.info().fast_retransmits == 1);
  CHECK(t.info().slow_start_threshold < 1u << 20);
}

// covers: 4821-5
TEST_CASE("probe_needs_data_behind_it_and_the_search_is_taken_up_again_after_ten_minutes") {
  script t(probing(path_probing::always));
  t.establish("<mss 1460 sackOK>");
  CHECK(t.send(984u * 10).value() == 9840);
  t.skip();
  t.in(". 1 ack 9841");
  CHECK(t.send(4 * 984u).value() == 4 * 984);  // no more than the followers
  while (t.sent() > 0) CHECK(t.take().payload.size() <= 984);
  CHECK(t.count(counter::path_probes_sent) == 0);

  // A path that widens: ten minutes after the router's word, not earlier, a longer packet is tried.
  black_hole b(1200, probing(path_probing::black_hole));
  const auto cut = [&] { return b.info().path_mtu; };
  (void)b.transfer(200'000);
  b.settle();
  const auto low = cut();
  CHECK(low <= 1200);
  CHECK(low + 8 >= 1200);
  b.limit = 1500;
  b.net.run_for(5min);
  (void)b.transfer(200'000);
  CHECK(cut() == low);
  b.net.run_for(6min);
  (void)b.transfer(200'000);
  CHECK(cut() == 1500);
}

// covers: 1191-2, 8201-3
TEST_CASE("path_mtu_of_a_router_is_probed_beyond_after_ten_minutes_only") {
  script t;
  t.establish("<mss 1460 sackOK>");
  CHECK(t.send(1460u).value() == 1460);
  too_big(t, t.take(), 1200);
  t.out(". 1:1161 ack 1");
  t.skip();
  t.in(". 1 ack 1461");
  std::uint32_t at = 1461;
  const auto push = [&] {
    std::size_t longest = 0;
    CHECK(t.send(40'000u).value() == 40'000);
    for (std::uint32_t done = 0; done < 40'000;) {
      std::uint32_t n = 0;
      while (t.sent() > 0) {
        const auto s = t.take();
        n += static_cast<std::uint32_t>(s.payload.size());
        longest = std::max(longest, s.payload.size());
      }
      REQUIRE(n > 0);
      done += n;
      at += n;
      t.in(". 1 ack " + std::to_string(at));
    }
    return longest;
  };
  CHECK(push() == 1160);
  t.after(9min);
  CHECK(push() == 1160);
  t.after(61s);
  CHECK(push() == 1460);
  CHECK(t.info().path_mtu == 1500);
}

// covers: MUST-16
TEST_CASE("path_of_the_smallest_size_carries_everything_and_no_packet_is_longer") {
  // RFC 791: every host takes 68 bytes. Options are cut to it too, selective acknowledgements
  // first.
  for (std::uint16_t mtu = 68; mtu <= 116; mtu += 4)
    for (const bool timestamps : {true, false}) {
      CAPTURE(mtu);
      CAPTURE(timestamps);
      const auto with = [&](const char* address) {
        host_options o;
        o.addresses = {*ip_prefix::parse(address)};
        o.mtu = mtu;
        o.tcp.timestamps = timestamps;
        return o;
      };
      wire_faults faults;
      faults.loss = 0.05;
      two_hosts net(faults, with("10.0.0.1/24"), with("10.0.0.2/24"), mtu);
      std::size_t longest = 0;
      net.filter = [&](int, std::span<const std::byte> packet) {
        longest = std::max(longest, packet.size());
        return true;
      };
      const auto server = endpoint{*ip_address::parse("10.0.0.2"), 80};
      const auto listener = *net.b().listen(server);
      const auto client = *net.a().connect(net.now(), server, {}, with("10.0.0.1/24").tcp);
      auto peer = socket_id::none;
      REQUIRE(net.run_until([&] {
        if (auto got = net.b().accept(listener)) peer = *got;
        return peer != socket_id::none;
      }));
      // Both ways at once, so that data carries what is to be acknowledged.
      std::size_t sent[2] = {}, got[2] = {};
      constexpr std::size_t total = 6000;
      net.application = [&] {
        for (const int i : {0, 1}) {
          auto& h = i == 0 ? net.a() : net.b();
          const auto s = i == 0 ? client : peer;
          const std::string text(total - sent[i], 'x');
          if (auto n = send_text(h, net.now(), s, text)) sent[i] += *n;
          got[i] += receive_text(h, net.now(), s).size();
        }
      };
      CHECK(net.run_until([&] { return got[0] == total && got[1] == total; }, 10min));
      CHECK(longest <= mtu);
      CHECK(longest > mtu - 8u);
    }
}
