// SYN floods (RFC 4987): what they cost, whom they turn away, and what cookies can and cannot
// carry.
#include "listen/syn_cookie.hpp"
#include "packet/sending.hpp"

using namespace weir;
using namespace weir::test;

namespace {

/// A SYN from an address that nobody answers at.
std::vector<std::byte> spoofed_syn(script& t, std::uint32_t n) {
  const auto them = t.them;
  const auto port = t.peer_port;
  t.them = ip_address::v4(0x0b000000u + n);
  t.peer_port = static_cast<std::uint16_t>(1024 + n % 60000);
  auto out = t.packet("S 0 <mss 1460,sackOK,wscale 7>");
  t.them = them;
  t.peer_port = port;
  return out;
}

}  // namespace

// covers: 4987-1, 4987-2
TEST_CASE("a flood costs a bounded amount and harms no established connection") {
  script t;
  t.listen(80, {.syn_backlog = 64});
  t.establish("<mss 1460>");
  const auto before = t.h().memory_in_use();
  for (std::uint32_t n = 0; n < 100'000; ++n) {
    t.in_raw(spoofed_syn(t, n));
    if (n % 1000 == 0) {
      t.flush();
      t.skip();
      t.in("P. " + r(1 + n / 1000, 2 + n / 1000) + " ack 1");
      t.skip();
    }
    REQUIRE(t.h().memory_in_use() - before <= 64 * 128 + 65536);
  }
  CHECK(t.h().info_listener(t.listener)->syn_queue == 64);
  CHECK(t.read() == script::stream(0, 100));
  CHECK(t.state() == tcp_state::established);
  // Those that nobody completes go in their time, and the queue is free again.
  t.after(200s);
  t.skip();
  CHECK(t.h().info_listener(t.listener)->syn_queue == 0);
}

// covers: 4987-3
TEST_CASE("a cookie depends on time, peer and secret, and stands for the nearest MSS below") {
  const flow_key flow{{"10.0.0.1", 80}, {"10.0.0.2", 4000}};
  const syn_cookies ours({1, 2}), other({1, 3});
  const auto irs = tcp::seq(777);
  const auto at = [](int seconds) {
    return instant::from_ns(std::int64_t{seconds} * 1'000'000'000);
  };
  const auto made = ours.make(at(0), flow, irs, 1460);
  CHECK(ours.make(at(63), flow, irs, 1460) == made);
  CHECK(ours.make(at(64), flow, irs, 1460) != made);
  CHECK(other.make(at(0), flow, irs, 1460) != made);
  CHECK(ours.make(at(0), flow, irs + 1, 1460) != made);
  CHECK(ours.make(at(0), {flow.local, {"10.0.0.2", 4001}}, irs, 1460) != made);
  for (const auto& [offered, stands] :
       std::vector<std::pair<std::uint16_t, std::uint16_t>>{{64, 64},
                                                            {535, 64},
                                                            {536, 536},
                                                            {1219, 1024},
                                                            {1300, 1220},
                                                            {1400, 1360},
                                                            {1459, 1440},
                                                            {1460, 1460},
                                                            {8000, 1460},
                                                            {9000, 8940}}) {
    CAPTURE(offered);
    CHECK(ours.check(at(0), flow, irs, ours.make(at(0), flow, irs, offered)) == stands);
  }
  CHECK(ours.check(at(127), flow, irs, made) == 1460);
  CHECK_FALSE(ours.check(at(128), flow, irs, made));
  // The timestamp holds the rest, and never runs ahead of its clock.
  for (std::uint32_t clock : {0u, 63u, 64u, 1'000'000u, 0xffffffffu}) {
    const auto value = syn_cookies::encode(clock, std::uint8_t{9}, true, true);
    CHECK(static_cast<std::int32_t>(value - clock) <= 0);
    CHECK(clock - value < 128);
    CHECK(syn_cookies::shift_of(value) == 9);
    CHECK(syn_cookies::sack_of(value));
    CHECK(syn_cookies::ecn_of(value));
    CHECK_FALSE(syn_cookies::shift_of(syn_cookies::encode(clock, std::nullopt, false, false)));
  }
}

// covers: 4987-4
TEST_CASE("cookies come under pressure only, and afterwards the options are complete again") {
  script t;
  t.listen(80, {.syn_backlog = 1});
  const std::string offer = "S 0 <mss 1460,sackOK,wscale 7>";
  t.peer_port = 1001;
  t.in(offer);
  t.out("S. 0 ack 1 <mss 1460,sackOK,wscale 7>");  // a place in the queue
  t.peer_port = 1002;
  t.in(offer);
  t.out("S. 0 ack 1 <mss 1460>");  // a cookie: no timestamp to carry the rest
  CHECK(t.h().info_listener(t.listener)->cookies_sent == 1);
  t.peer_port = 1001;
  t.in("R 1 win 0");  // the pressure is gone
  t.peer_port = 1003;
  t.in(offer);
  t.out("S. 0 ack 1 <mss 1460,sackOK,wscale 7>");
  CHECK(t.h().info_listener(t.listener)->cookies_sent == 1);
}

// covers: 4987-6
TEST_CASE("a lost SYN-ACK with a cookie is not repeated; the client's SYN brings it again") {
  script t;
  t.listen(80, {.syn_backlog = 0});
  t.in("S 0 <mss 1460>");
  const auto lost = t.take().sequence;
  t.after(120s);
  t.quiet();  // nothing is kept that could repeat it
  t.in("S 0 <mss 1460>");
  CHECK(t.take().sequence != lost);  // another period
  // The client's last ACK is lost: the server knows of no connection, so if it is the one to speak
  // first, both wait - until the client sends anything.
  t.after(30s);
  t.quiet();
  CHECK_FALSE(t.accept());
  t.in("P. 1:6 ack 1");
  REQUIRE(t.accept());
  CHECK(t.read() == script::stream(0, 5));
}

// covers: 4987-6
TEST_CASE("the queue is used first: a client that found a place has its SYN-ACK repeated") {
  script t;
  t.listen(80, {.syn_backlog = 1});
  t.in("S 0 <mss 1460>");
  t.out("S. 0 ack 1");
  CHECK(exactly(t.until_sent(), 1s));
  t.out("S. 0 ack 1");
  CHECK(t.h().info_listener(t.listener)->cookies_sent == 0);
}

// covers: 4987-7
TEST_CASE("in a flood of ten thousand SYNs a second all clients connect within one round trip") {
  two_hosts net({.delay = 5ms});
  script source;  // makes the packets only
  source.us = *ip_address::parse("10.0.0.2");
  const auto l = *net.b().listen(at("10.0.0.2", 80), {.backlog = 1000, .syn_backlog = 128});
  std::uint32_t n = 0;
  const auto begin = net.now();
  net.application = [&] {
    const auto due = static_cast<std::uint32_t>((net.now() - begin).count() / 100'000);
    for (; n < due; ++n) {
      const auto syn = spoofed_syn(source, n);
      net.b().input(net.now(), syn, {.checksum_good = true});
    }
  };
  constexpr int clients = 200;
  duration worst{};
  for (int i = 0; i < clients; ++i) {
    net.run_for(4ms);
    const auto since = net.now();
    const auto c = *net.a().connect(net.now(), at("10.0.0.2", 80), {}, {});
    REQUIRE(net.run_until([&] { return net.a().info(c)->state == tcp_state::established; }, 3s));
    worst = std::max(worst, net.now() - since);
    net.run_for(6ms);
    CHECK(net.b().accept(l));
  }
  CHECK(n > 20'000);
  CHECK(net.b().info_listener(l)->cookies_sent > 10'000);
  CHECK(worst <= 11ms);  // one round trip: the flood delays nobody
  CHECK(net.b().info_listener(l)->accept_overflows == 0);
}
