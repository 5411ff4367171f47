// Whatever arrives: random and mutated segments against a host with live connections, random user
// calls under a bad network, and no allocation in steady state. What is checked: no crash (the
// sanitizer builds), bounds, no leak.
#include <doctest/doctest.h>

#include <cstdlib>
#include <new>
#include <random>

#include "packet/script.hpp"

using namespace weir;
using namespace weir::test;

TEST_CASE("random_segments_never_break_bounds_or_leak") {
  for (unsigned seed = 1; seed <= 12; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    host_options o;
    o.limits.memory = 1u << 20;
    o.limits.connections = 20;
    o.limits.time_wait = 8;
    script t(o);
    t.listen(80, {.backlog = 4, .syn_backlog = 4});
    std::vector<socket_id> open;
    const auto near = [&](std::uint32_t base) -> std::uint32_t {
      switch (random() % 6) {
        case 0: return static_cast<std::uint32_t>(random());
        case 1: return static_cast<std::uint32_t>(base + 65535 - random() % 4);
        default: return static_cast<std::uint32_t>(base + random() % 3000 - 200);
      }
    };
    for (int step = 0; step < 4000; ++step) {
      t.peer_port = static_cast<std::uint16_t>(1000 + random() % 6);
      std::uint32_t sequence = 1, acknowledgment = 1;
      if (!open.empty() && random() % 4 != 0) {
        const auto s = open[random() % open.size()];
        t.peer_port =
            t.h().remote_endpoint(s).port == 0 ? t.peer_port : t.h().remote_endpoint(s).port;
        if (const auto info = t.h().info(s)) {
          sequence = static_cast<std::uint32_t>(info->bytes_received) + 1;
          acknowledgment = static_cast<std::uint32_t>(info->bytes_sent) + 1;
        }
      }
      std::string flags;
      for (const char c : std::string_view("FSRP.UEC"))
        if (random() % (c == '.' ? 5 : 6) == 0 || (c == '.' && random() % 5 != 0)) flags += c;
      if (flags.empty()) flags = ".";
      if (random() % 8 == 0) flags = "S";
      const auto begin = near(sequence);
      const auto length = static_cast<std::uint32_t>(random() % 3 == 0 ? 0 : random() % 1400);
      std::string line =
          flags + " " + std::to_string(begin) + ":" + std::to_string(begin + length) + " ack " +
          std::to_string(near(acknowledgment)) + " win " + std::to_string(random() % 65536);
      std::string options;
      if (random() % 3 == 0)
        options += " TS " + std::to_string(random() % 2000) + " " + std::to_string(random() % 2000);
      if (random() % 3 == 0) {
        const auto left = near(acknowledgment);
        options += " sack " + std::to_string(left) + ":" +
                   std::to_string(static_cast<std::uint32_t>(left + random() % 3000));
      }
      if (random() % 4 == 0)
        options += " mss " + std::to_string(random() % 65536) + " sackOK wscale " +
                   std::to_string(random() % 256);
      // The sack list must come last in the notation.
      if (const auto at = options.find(" sack ");
          at != std::string::npos && options.find(" mss") != std::string::npos) {
        options = options.substr(0, at);
      }
      auto packet = t.packet(begin + length < begin ? flags + " " + std::to_string(begin)
                                                    : line + " <" + options + ">");
      if (random() % 10 == 0 && !packet.empty())
        packet[20 + random() % (packet.size() - 20)] ^= std::byte{0x55};
      receive_meta meta;
      meta.checksum_good = true;
      if (random() % 10 == 0) meta.gso_size = static_cast<std::uint16_t>(random() % 2000);
      t.h().input(t.now(), packet, meta);
      if (random() % 3 == 0) t.flush();
      if (random() % 10 == 0) t.after(std::chrono::milliseconds(random() % 3000));
      if (auto got = t.h().accept(t.listener)) open.push_back(*got);
      if (!open.empty()) {
        const auto i = random() % open.size();
        t.socket = open[i];
        switch (random() % 12) {
          case 0: (void)t.send(random() % 20000u); break;
          case 1: (void)t.read(); break;
          case 2: (void)t.read_some(random() % 500u); break;
          case 3: (void)t.h().shutdown_send(t.now(), open[i]); break;
          case 4:
            if (random() % 5 == 0) {
              if (random() % 2 == 0)
                t.h().close(t.now(), open[i]);
              else
                t.h().abort(t.now(), open[i]);
              open.erase(open.begin() + static_cast<std::ptrdiff_t>(i));
            }
            break;
          case 5: (void)t.h().set_cork(t.now(), open[i], random() % 2 == 0); break;
          default: break;
        }
      }
      event e;
      while (random() % 2 == 0 && t.h().next_event(e)) {
      }
      if (t.sent() > 200) t.skip();
      REQUIRE(t.h().memory_in_use() <= (1u << 20) + 4 * 128 + 8 * 136);
      const auto l = *t.h().info_listener(t.listener);
      REQUIRE(l.syn_queue <= 4);
      REQUIRE(l.accept_queue <= 4);
    }
    for (auto s : open) t.h().abort(t.now(), s);
    t.h().close(t.now(), t.listener);
    t.after(3600s);
    CHECK(t.h().memory_in_use() == 0);
    CHECK(t.h().next_deadline().is_never());
  }
}

TEST_CASE("random_lives_under_a_bad_network_end_and_leak_nothing") {
  for (unsigned seed = 1; seed <= 10; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    host_options small;
    small.tcp.receive_buffer = 20000 + random() % 200000;
    small.tcp.send_buffer = 20000 + random() % 200000;
    two_hosts net({.loss = 0.05, .duplicate = 0.05, .reorder = 0.1}, small, small, seed);
    const auto l = *net.b().listen(at("10.0.0.2", 80), {.backlog = 8, .syn_backlog = 8});
    std::vector<std::pair<host*, socket_id>> all;
    for (int step = 0; step < 600; ++step) {
      if (all.size() < 30 && random() % 3 == 0) {
        if (auto c = net.a().connect(net.now(), at("10.0.0.2", 80), {}, small.tcp))
          all.emplace_back(&net.a(), *c);
      }
      if (auto got = net.b().accept(l)) all.emplace_back(&net.b(), *got);
      if (!all.empty()) {
        const auto i = random() % all.size();
        auto [h, s] = all[i];
        switch (random() % 8) {
          case 0:
          case 1:
          case 2: (void)send_text(*h, net.now(), s, std::string(random() % 30000, 'x')); break;
          case 3:
          case 4: (void)receive_text(*h, net.now(), s); break;
          case 5: (void)h->shutdown_send(net.now(), s); break;
          case 6:
            h->close(net.now(), s);
            all.erase(all.begin() + static_cast<std::ptrdiff_t>(i));
            break;
          default:
            if (random() % 4 == 0) {
              h->abort(net.now(), s);
              all.erase(all.begin() + static_cast<std::ptrdiff_t>(i));
            }
            break;
        }
      }
      net.run_for(std::chrono::milliseconds(random() % 60));
    }
    for (auto [h, s] : all) h->close(net.now(), s);
    net.b().close(net.now(), l);
    net.run_for(3600s);
    CHECK(net.a().memory_in_use() == 0);
    CHECK(net.b().memory_in_use() == 0);
    std::size_t left = 0;
    net.a().for_each_connection([&](const tcp_info&) { ++left; });
    net.b().for_each_connection([&](const tcp_info&) { ++left; });
    CHECK(left == 0);
    CHECK(net.a().next_deadline().is_never());
    CHECK(net.b().next_deadline().is_never());
  }
}

TEST_CASE("partition_and_heal") {
  two_hosts net;
  const auto l = *net.b().listen(at("10.0.0.2", 80), {});
  const auto a = *net.a().connect(net.now(), at("10.0.0.2", 80), {}, {});
  socket_id b = socket_id::none;
  REQUIRE(net.run_until([&] {
    if (auto got = net.b().accept(l)) b = *got;
    return b != socket_id::none;
  }));
  CHECK(send_text(net.a(), net.now(), a, "before").value() == 6);
  net.run_for(1s);
  net.filter = [](int, std::span<const std::byte>) { return false; };
  CHECK(send_text(net.a(), net.now(), a, " during").value() == 7);
  net.run_for(100s);
  net.filter = nullptr;
  net.run_for(130s);
  CHECK(receive_text(net.b(), net.now(), b) == "before during");
}

TEST_CASE("listener_and_client_on_one_host_talk_through_themselves") {
  script t;
  t.listen(80);
  const auto client = *t.h().connect(t.now(), {t.us, 80}, {}, {});
  for (int i = 0; i < 5; ++i) t.after(10ms);
  REQUIRE(t.accept());
  CHECK(send_text(t.h(), t.now(), client, "to myself").value() == 9);
  for (int i = 0; i < 5; ++i) t.after(10ms);
  CHECK(t.read() == "to myself");
  t.quiet();  // nothing of it left the host
}
