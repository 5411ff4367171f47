// Opening connections: both sides, options, refusals (TCP.md rows 20-26, RFC 9293 3.10.7.3).
#include <doctest/doctest.h>

#include "packet/icmp_quote.hpp"

using namespace weir;
using namespace weir::test;

// covers: MUST-14, MUST-16, SHLD-5, b23
TEST_CASE("connect_syn_has_linux_options_and_completes") {
  script t;
  t.connect();
  const auto syn = t.take();
  CHECK(syn.flags == wire::syn);
  CHECK(syn.options.mss == 1460);
  CHECK(syn.options.sack_permitted);
  CHECK(syn.options.timestamps.has_value());
  CHECK(syn.options.window_scale == 7);
  CHECK(syn.window == 65535);
  t.in("S. 0 ack 1 <mss 1400,sackOK,TS 10 " + std::to_string(syn.options.timestamps->value) +
       ",wscale 2>");
  t.out(". 1 ack 1 <TS 0 10>");
  CHECK(any(t.events(), ready::connected));
  CHECK(t.state() == tcp_state::established);
  CHECK(t.info().send_mss == 1400 - 12);  // MUST-16: option bytes taken off
  CHECK(t.info().send_window == 65535);   // row 23: the window in a SYN is never scaled
}

// covers: MUST-22, MUST-23
TEST_CASE("connect_syn_is_retransmitted_with_doubling_and_times_out") {
  script t;
  t.connect();
  t.out("S 0");
  for (auto wait : {1s, 2s, 4s, 8s, 16s, 32s, 64s}) {
    const auto took = t.until_sent(100s);
    CHECK(took >= wait);
    CHECK(took < wait + 1ms);
    t.out("S 0");
  }
  t.after(119s);  // the timeout is capped at 120 s; MUST-23 asks for three minutes in all
  CHECK(t.state() == tcp_state::syn_sent);
  t.after(2s);
  t.quiet();
  CHECK(any(t.events(), ready::failed));
  CHECK(t.error() == std::errc::timed_out);
}

// covers: 9293-E5
TEST_CASE("connect_refused_by_a_reset_that_acknowledges_the_syn") {
  script t;
  t.connect();
  t.out("S 0");
  t.in("R 0 win 0");  // no ACK: ignored (RFC 5961 3.2)
  CHECK(t.state() == tcp_state::syn_sent);
  t.in("R. 0 ack 1");
  t.quiet();
  CHECK(t.error() == std::errc::connection_refused);
  CHECK(any(t.events(), ready::failed));
  CHECK(t.count(counter::failed_opens) == 1);
}

// covers: 9293-E4
TEST_CASE("connect_unacceptable_ack_is_answered_with_rst") {
  script t;
  t.connect();
  t.out("S 0");
  t.in(". 0 ack 0");
  t.out("R 0");
  t.in("S. 0 ack 2");
  t.out("R 2");
  t.in("R. 0 ack 2");
  t.quiet();
  CHECK(t.state() == tcp_state::syn_sent);
}

// covers: MUST-10, 9293-E6, b20
TEST_CASE("simultaneous_open_connects_both") {
  script t;
  t.connect();
  t.out("S 0");
  t.in("S 0 <mss 1460>");
  t.out("S. 0 ack 1");
  CHECK(t.state() == tcp_state::syn_received);
  t.in("S. 0 ack 1 <mss 1460>");  // the peer's answer to our SYN
  t.skip();
  t.in(". 1 ack 1");
  CHECK(t.state() == tcp_state::established);
  CHECK(any(t.events(), ready::connected));
  CHECK(t.send(5u).value() == 5);
  t.out("P. 1:6 ack 1");
}

// covers: MUST-10, b20
TEST_CASE("simultaneous_open_between_two_stacks") {
  two_hosts net;
  const auto a = *net.a().connect(net.now(), at("10.0.0.2", 2000), at("10.0.0.1", 1000), {});
  const auto b = *net.b().connect(net.now(), at("10.0.0.1", 1000), at("10.0.0.2", 2000), {});
  net.run_for(5s);
  CHECK(net.a().info(a)->state == tcp_state::established);
  CHECK(net.b().info(b)->state == tcp_state::established);
  CHECK(send_text(net.a(), net.now(), a, "hi").value() == 2);
  net.run_for(1s);
  CHECK(receive_text(net.b(), net.now(), b) == "hi");
}

// covers: MUST-11, 9293-E10
TEST_CASE("reset_in_syn_received_from_an_active_open_refuses") {
  script t;
  t.connect();
  t.out("S 0");
  t.in("S 0 <mss 1460>");
  t.out("S. 0 ack 1");
  t.in("R 1 win 0");
  CHECK(t.error() == std::errc::connection_refused);
}

// covers: 9293-E13
TEST_CASE("syn_received_ack_outside_the_window_is_reset") {
  script t;
  t.listen();
  t.in("S 0 <mss 1460>");
  t.out("S. 0 ack 1");
  t.in(". 1 ack 5");
  t.out("R 5");
  t.in(". 1 ack 0");
  t.out("R 0");
  t.in(". 1 ack 1");
  CHECK(t.accept());
}

// covers: b22
TEST_CASE("no_window_scaling_unless_both_sides_offered_it") {
  script t;
  t.establish("<mss 1460>", 1000);
  CHECK(t.info().send_window_shift == 0);
  CHECK(t.info().receive_window_shift == 0);
  t.in("P. 1:2 ack 1 win 500");
  CHECK(t.info().send_window == 500);
  script scaled;
  scaled.establish("<mss 1460,wscale 3>", 1000);
  scaled.in("P. 1:2 ack 1 win 500");
  CHECK(scaled.info().send_window == 500 << 3);
  CHECK(scaled.info().receive_window_shift == 7);
}

// covers: b23
TEST_CASE("the_window_in_a_syn_is_never_scaled") {
  script passive;
  passive.listen();
  passive.in("S 0 win 1000 <mss 1460,wscale 7>");
  const auto answer = passive.take();
  CHECK(answer.options.window_scale == 7);
  CHECK(answer.window == 65535);  // 64 KiB as it stands, not 8 MiB
  passive.in(". 1 ack 1 win 10");
  REQUIRE(passive.accept());
  CHECK(passive.info().send_window == 10 << 7);  // from the ACK on it is
  CHECK(passive.info().receive_window == 65535);

  script active;
  active.connect();
  CHECK(active.take().window == 65535);
  active.in("S. 0 ack 1 win 1000 <mss 1460,wscale 7>");
  CHECK(active.info().send_window == 1000);
  CHECK(active.take().window == (65536 >> 7));
  active.in(". 1 ack 1 win 1000");
  CHECK(active.info().send_window == 1000 << 7);

  script both;  // simultaneous open: neither SYN nor SYN-ACK
  both.connect();
  both.out("S 0");
  both.in("S 0 win 1000 <mss 1460,wscale 7>");
  CHECK(both.take().window == 65535);
  both.in("S. 0 ack 1 win 1000 <mss 1460,wscale 7>");
  CHECK(both.info().send_window == 1000);
  both.in(". 1 ack 1 win 1000");
  CHECK(both.info().send_window == 1000 << 7);
}

// covers: REC-1
TEST_CASE("window_shift_above_14_counts_as_14") {
  script t;
  t.establish("<mss 1460,wscale 15>", 1);
  t.in("P. 1:2 ack 1 win 2");
  CHECK(t.info().send_window_shift == 14);
  CHECK(t.info().send_window == 2 << 14);
}

// covers: MUST-15, b24
TEST_CASE("mss_zero_or_tiny_is_clamped_and_absent_is_536") {
  for (const auto& [option, expected] : std::vector<std::pair<std::string, int>>{
           {"<mss 0>", 64}, {"<mss 1>", 64}, {"", 536}, {"<mss 9000>", 1460}}) {
    CAPTURE(option);
    script t;
    t.establish(option);
    CHECK(t.info().send_mss == expected);
  }
  script six({}, true);
  six.establish("");
  CHECK(six.info().send_mss == 1220);
}

// covers: MUST-15, b24
TEST_CASE("mss_zero_or_tiny_in_the_answer_to_our_syn_is_clamped_too") {
  for (const auto& [option, expected] : std::vector<std::pair<std::string, int>>{
           {"<mss 0>", 64}, {"<mss 1>", 64}, {"", 536}, {"<mss 9000>", 1460}}) {
    CAPTURE(option);
    script t;
    t.connect();
    t.out("S 0");
    t.in("S. 0 ack 1 " + option);
    t.out(". 1 ack 1");
    CHECK(t.info().send_mss == expected);
  }
}

// covers: MUST-16, b25
TEST_CASE("effective_mss_subtracts_option_bytes") {
  script t;
  t.establish("<mss 1460,TS 100 0>");
  CHECK(t.info().send_mss == 1448);
  CHECK(t.send(3000u).value() == 3000);
  const auto first = t.take();
  CHECK(first.payload.size() == 1448);
  CHECK(first.options.timestamps->echo == 101);
}

// covers: MUST-7, b26
TEST_CASE("malformed_option_lengths_do_no_harm") {
  // The bytes after the fixed header, wherever they come from, end the parsing; the SYN itself
  // still counts.
  for (std::vector<std::uint8_t> options : {std::vector<std::uint8_t>{2, 0, 0, 0},
                                            {2, 1, 5, 5},
                                            {2, 40, 0, 0},
                                            {8, 10, 1, 1},
                                            {1, 1, 1, 3},
                                            {0, 9, 9, 9},
                                            {5, 255, 0, 0},
                                            {254, 3, 1, 2}}) {
    script t;
    t.listen();
    auto p = t.packet("S 0");
    p[2] = std::byte{0};
    p[3] = static_cast<std::byte>(44);
    p[20 + 12] = std::byte{0x60};
    for (auto o : options) p.push_back(static_cast<std::byte>(o));
    // The IPv4 header's checksum changes with its length.
    std::uint32_t sum = 0;
    p[10] = p[11] = std::byte{0};
    for (std::size_t i = 0; i < 20; i += 2) {
      sum += std::to_integer<std::uint32_t>(p[i]) << 8 | std::to_integer<std::uint32_t>(p[i + 1]);
    }
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~((sum & 0xffff) + (sum >> 16));
    p[10] = static_cast<std::byte>(sum >> 8);
    p[11] = static_cast<std::byte>(sum);
    t.in_raw(p);
    t.flush();
    t.out("S. 0 ack 1");
    t.in(". 1 ack 1");
    CHECK(t.accept());
    CHECK(t.info().send_mss == 536);
  }
}

// covers: MUST-3
TEST_CASE("bad_checksum_is_dropped_without_a_reply") {
  script t;
  t.listen();
  const auto p = t.packet("S 0");
  receive_meta
      meta;  // the device vouches for nothing, and the notation leaves the checksum at zero
  t.h().input(t.now(), p, meta);
  t.flush();
  t.quiet();
  CHECK(t.count(counter::drop_tcp_checksum) == 1);
}

// covers: MUST-46
TEST_CASE("connect_validates_its_arguments") {
  script t;
  const auto why = [&](const endpoint& remote, const endpoint& local = {}) {
    return t.h().connect(t.now(), remote, local, {}).error();
  };
  CHECK(why(at("224.0.0.1", 80)) == std::errc::invalid_argument);
  CHECK(why(at("255.255.255.255", 80)) == std::errc::invalid_argument);
  CHECK(why(at("10.0.0.255", 80)) == std::errc::invalid_argument);
  CHECK(why(at("0.0.0.0", 80)) == std::errc::invalid_argument);
  CHECK(why({t.them, 0}) == std::errc::invalid_argument);
  CHECK(why({t.them, 80}, at("10.0.0.77", 0)) == std::errc::address_not_available);
  host_options only_v4;
  only_v4.addresses = {*ip_prefix::parse("10.0.0.1/24")};
  script four(only_v4);
  CHECK(four.h().connect(four.now(), at("fd00::9", 80), {}, {}).error() ==
        std::errc::network_unreachable);
  REQUIRE(t.h().connect(t.now(), {t.them, 80}, {t.us, 5000}, {}));
  CHECK(why({t.them, 80}, {t.us, 5000}) == std::errc::address_in_use);
  REQUIRE(t.h().connect(t.now(), {t.them, 81}, {t.us, 5000}, {}));
}

TEST_CASE("isn_differs_by_tuple_and_grows_for_the_same_one") {
  script t;
  t.connect();
  const auto first = t.take().sequence;
  t.h().close(t.now(), t.socket);
  t.peer_port = 40001;
  t.connect();
  const auto other = t.take().sequence;
  CHECK(first != other);
  t.h().close(t.now(), t.socket);
  t.peer_port = 40000;
  t.after(10s);
  auto again = t.h().connect(t.now(), {t.them, 40000}, {t.us, t.local_port}, {});
  REQUIRE(again);
  CHECK(t.count(counter::active_opens) == 3);
}

TEST_CASE("ephemeral_ports_do_not_repeat_and_avoid_listeners") {
  script t;
  std::vector<bool> seen(65536);
  for (int i = 0; i < 200; ++i) {
    const auto s = *t.h().connect(t.now(), {t.them, 80}, {}, {});
    const auto port = t.h().local_endpoint(s).port;
    CHECK(port >= 1024);
    CHECK_FALSE(seen[port]);
    seen[port] = true;
  }
}

// covers: MUST-54, SHLD-26
TEST_CASE("icmp_is_believed_only_about_what_is_in_flight") {
  script t;
  t.connect();
  const auto syn = t.take();
  const auto unreachable = [&](std::uint8_t code, std::uint32_t sequence) {
    auto about = syn;
    about.sequence = sequence;
    t.in_raw(icmp_about(t, about, 3, code));
    t.flush();
  };
  unreachable(3, syn.sequence + 1000);  // forged: not in flight
  CHECK(t.state() == tcp_state::syn_sent);
  unreachable(1, syn.sequence);  // soft: keeps trying (MUST-56)
  CHECK(t.state() == tcp_state::syn_sent);
  unreachable(3, syn.sequence);  // hard
  CHECK(t.error() == std::errc::connection_refused);
}
