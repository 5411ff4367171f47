// TLS in the simulated network: real handshakes, virtual time. What a secured stream promises, and
// what its handshake is bounded by.
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <vector>

#include "support/heap_peak.hpp"
#include "tls/world.hpp"

using namespace tls_test;

TEST_CASE("a_secured_stream_echoes_and_ends_cleanly_both_ways") {
  world w;
  bool done = false;
  w.talk(echo, [&](tls::tls_stream& peer) -> task<> {
    CHECK(peer.protocol() == "TLSv1.3");
    CHECK(peer.peer_certificate()->names == std::vector<std::string>{"server.test"});
    co_await say_hello(peer);
    done = true;
  });
  CHECK(done);
  CHECK_FALSE(w.server_failure);
  CHECK_FALSE(w.client_failure);
}

TEST_CASE("a_server_shows_the_certificate_of_the_name_that_is_asked_for") {
  const std::pair<const char*, const char*> cases[] = {
      {"server.test", "server.test"},
      {"second.test", "second.test"},
      {"any.third.test", "*.third.test"},
      {"two.labels.third.test", ""},  // no wildcard's: the first is shown, and not believed
      {"unknown.test", ""},
  };
  for (const auto version : {tls::version::tls1_2, tls::version::tls1_3})
    for (const auto& [name, shown] : cases) {
      CAPTURE(std::string(name));
      world w;
      w.serving.maximum = w.trusting.maximum = version;
      for (const std::string other : {"second.test", "*.third.test"}) {
        const auto own = w.trusted.issue({.name = other});
        w.serving.others.push_back({own.certificate, own.key});
      }
      w.how.name = name;
      std::vector<std::string> names;
      w.talk(echo, [&](tls::tls_stream& peer) -> task<> {
        names = peer.peer_certificate()->names;
        co_await say_hello(peer);
      });
      if (shown[0] == '\0')
        CHECK(w.client_failure == weir::error::untrusted);
      else
        CHECK(names == std::vector<std::string>{shown});
    }
}

TEST_CASE("contexts_with_one_secret_resume_each_other_s_sessions") {
  for (const auto version : {tls::version::tls1_2, tls::version::tls1_3})
    for (const bool shared : {true, false}) {
      world w;
      w.serving.maximum = w.trusting.maximum = version;
      std::vector<bool> resumed;
      w.net.start(w.server, [&](shard& s) -> task<> {
        auto listener = s.listen(w.where());
        for (const char one : {'a', 'b'}) {
          auto options = w.serving;
          options.ticket_secret = std::string(32, shared ? 'x' : one);
          tls::server_context context(options);
          auto peer = co_await listener.accept();
          auto secure = co_await tls::accept(std::move(*peer), context);
          co_await echo(secure);
        }
      });
      w.net.start(w.client, [&](shard& s) -> task<> {
        tls::client_context context(w.trusting);
        for (int i = 0; i < 2; ++i) {
          auto plain = co_await s.connect(w.where());
          auto peer = co_await tls::connect(std::move(plain), context, w.how);
          resumed.push_back(peer.resumed());
          co_await say_hello(peer);
        }
      });
      w.net.run();
      CHECK(resumed == std::vector<bool>{false, shared});
    }
  world w;
  w.serving.ticket_secret = "short";
  CHECK_THROWS_AS(tls::server_context(w.serving), weir::config_error);
}

TEST_CASE("the_configuration_names_further_certificates_and_the_tickets_secret") {
  world w;
  const auto other = w.trusted.issue({.name = "second.test"});
  char name[] = "/tmp/weir-tls-secret-XXXXXX";
  const int made = ::mkstemp(name);
  REQUIRE(made >= 0);
  ::close(made);
  const std::string file = name;
  std::ofstream(file) << std::string(40, 's');
  weir::config::tls_section section;
  section.others = {other.certificate + other.key};  // files, or the text itself
  section.ticket_secret = file;
  const auto read = tls::options_from(section);
  CHECK(read.ticket_secret == std::string(40, 's'));
  w.serving.others = read.others;
  w.how.name = "second.test";
  std::vector<std::string> names;
  w.talk(echo, [&](tls::tls_stream& peer) -> task<> {
    names = peer.peer_certificate()->names;
    co_await say_hello(peer);
  });
  CHECK(names == std::vector<std::string>{"second.test"});
  std::ofstream(file) << "short";
  section.certificate = other.certificate + other.key;
  CHECK_THROWS_AS(tls::server_context{section}, weir::config_error);
  std::ofstream(file).flush();
  CHECK_THROWS_AS((void)tls::options_from(section), weir::config_error);
  ::unlink(file.c_str());
  CHECK_THROWS_AS((void)tls::options_from(section), weir::config_error);
}

TEST_CASE("a_further_certificate_without_its_key_is_refused") {
  world w;
  const auto own = w.trusted.issue({.name = "second.test"});
  w.serving.others.push_back({own.certificate, w.trusted.issue().key});
  CHECK_THROWS_AS(tls::server_context(w.serving), weir::config_error);
}

TEST_CASE("record_buffers_are_kept_by_a_bounded_number_of_sessions") {
  world w;
  std::uint64_t most = 0;
  int echoed = 0;
  w.net.start(w.server, [&](shard& s) -> task<> {
    tls::server_context context(w.serving);
    auto listener = s.listen(w.where());
    weir::scope sessions(s);
    for (int i = 0; i < 100; ++i) {
      auto peer = co_await listener.accept();
      sessions.spawn([&most, &context, peer = std::move(*peer)]() mutable -> task<> {
        auto secure = co_await tls::accept(std::move(peer), context);
        for (;;) {
          auto came = co_await secure.receive();
          if (!came) break;
          co_await secure.write_all(came.bytes());
          most = std::max(most, context.counters().with_buffers);
        }
      });
    }
    co_await sessions.join();
    CHECK(context.counters().with_buffers == 0);
  });
  w.net.start(w.client, [&](shard& s) -> task<> {
    tls::client_context context(w.trusting);
    std::vector<tls::tls_stream> all;
    for (int i = 0; i < 100; ++i) {
      auto plain = co_await s.connect(w.where());
      all.push_back(co_await tls::connect(std::move(plain), context, w.how));
    }
    for (int round = 0; round < 3; ++round)
      for (auto& peer : all) {
        co_await peer.write_all("hello");
        std::array<std::byte, 5> back;
        co_await peer.read_exactly(back);
        ++echoed;
      }
    for (auto& peer : all) co_await peer.close_notify();
  });
  w.net.run();
  CHECK(echoed == 300);
  CHECK(most == 64);
}

TEST_CASE("a_session_that_was_idle_for_a_moment_keeps_no_record_buffer") {
  world w;
  std::uint64_t busy = 0, idle = 1, again = 0;
  w.net.start(w.server, [&](shard& s) -> task<> {
    tls::server_context context(w.serving);
    auto listener = s.listen(w.where());
    auto plain = co_await listener.accept();
    auto peer = co_await tls::accept(std::move(*plain), context);
    for (auto* kept : {&busy, &again}) {
      std::array<std::byte, 5> hello;
      co_await peer.read_exactly(hello);
      *kept = context.counters().with_buffers;
      co_await peer.write_all(hello);
      co_await weir::sleep_for(1100ms);
      idle = context.counters().with_buffers;
    }
  });
  w.net.start(w.client, [&](shard& s) -> task<> {
    tls::client_context context(w.trusting);
    auto peer = co_await tls::connect(co_await s.connect(w.where()), context, w.how);
    for (int i = 0; i < 2; ++i) {
      std::array<std::byte, 5> back;
      co_await peer.write_all("hello");
      co_await peer.read_exactly(back);
      co_await weir::sleep_for(1500ms);
    }
    co_await peer.close_notify();
  });
  w.net.run();
  CHECK(busy == 1);
  CHECK(idle == 0);
  CHECK(again == 1);
}

TEST_CASE("tls_1_3_alone_is_spoken_where_it_is_the_minimum") {
  world w;
  w.serving.minimum = tls::version::tls1_3;
  w.trusting.minimum = tls::version::tls1_3;
  w.talk(echo, say_hello);
  CHECK_FALSE(w.client_failure);
}

TEST_CASE("a_megabyte_over_a_lossy_link_comes_back_whole") {
  world w({.delay = 5ms, .loss = 0.02}, 7);
  std::string sent(1'000'000, '\0');
  for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>(i * 2654435761u >> 13);
  std::string came;
  w.talk(echo, [&](tls::tls_stream& peer) -> task<> {
    auto& s = peer.owner();
    auto write = [](tls::tls_stream& to, const std::string& what) -> task<> {
      co_await to.write_all(what);
      co_await to.close_notify();
    };
    auto read = [](tls::tls_stream& from, std::string& into) -> task<> {
      into = co_await read_all(from);
    };
    weir::scope both(s);
    both.spawn(write(peer, sent));
    both.spawn(read(peer, came));
    co_await both.join();
  });
  CHECK(came == sent);
}

TEST_CASE("an_end_without_close_notify_is_a_truncation") {
  world w;
  w.talk([](tls::tls_stream& peer) -> task<> { co_await peer.write_all("half a"); },
         [](tls::tls_stream& peer) -> task<> {
           std::array<std::byte, 64> buffer;
           auto n = co_await peer.read_some(buffer);
           CHECK(n == 6);
           auto end = co_await peer.read_some(buffer).nothrow();
           CHECK(end.ec == weir::error::truncated);
           end = co_await peer.read_some(buffer).nothrow();  // and stays so
           CHECK(end.ec == weir::error::truncated);
           CHECK(peer.details().find("without close_notify") != std::string::npos);
         });
}

TEST_CASE("after_close_notify_reading_goes_on_and_writing_is_a_broken_pipe") {
  world w;
  w.talk(
      [](tls::tls_stream& peer) -> task<> {
        auto asked = co_await read_all(peer);
        CHECK(asked == "question");
        co_await peer.write_all("answer");
        co_await peer.close_notify();
      },
      [](tls::tls_stream& peer) -> task<> {
        co_await peer.write_all("question");
        co_await peer.close_notify();
        auto late = co_await peer.write_all("more").nothrow();
        CHECK(late.ec == std::errc::broken_pipe);
        auto answer = co_await peer.receive();
        CHECK(text_of(answer.bytes()) == "answer");
        auto end = co_await peer.receive();
        CHECK_FALSE(end);
      });
  CHECK_FALSE(w.client_failure);
}

TEST_CASE("a_closed_stream_s_last_bytes_go_with_the_cancelled_shard") {
  world w;
  w.talk(
      [](tls::tls_stream& peer) -> task<> {
        // More than every buffer on the way: the last record waits for a peer that never reads.
        const std::vector<std::byte> much(16u << 20);
        auto sent = co_await peer.write_all(much).timeout(100ms).nothrow();
        CHECK(sent.ec == std::errc::timed_out);
      },
      [&w](tls::tls_stream&) -> task<> {
        co_await weir::sleep_for(500ms);
        auto& server = w.server.shard();
        CHECK(server.roots() == 1);  // closed, and its bytes have stop.linger_ms to leave
        server.request_cancel();
        co_await weir::sleep_for(1ms);
        CHECK(server.roots() == 0);
      });
}

TEST_CASE("alpn_agrees_on_the_server_s_best_or_refuses") {
  world w;
  w.serving.alpn = "h2,http/1.1";
  w.how.alpn = "http/1.1,h2";
  w.talk(
      [](tls::tls_stream& peer) -> task<> {
        CHECK(peer.alpn() == "h2");
        co_await echo(peer);
      },
      [](tls::tls_stream& peer) -> task<> {
        CHECK(peer.alpn() == "h2");
        co_await say_hello(peer);
      });
  world other;
  other.serving.alpn = "h2";
  other.how.alpn = "spdy";
  other.talk(echo, say_hello);
  CHECK(other.client_failure == std::errc::protocol_error);
  CHECK(other.client_words == "no common protocol (ALPN)");
}

TEST_CASE("later_connections_resume_the_session_of_the_first") {
  for (const bool old : {false, true}) {
    CAPTURE(old);
    world w;
    if (old) w.serving.maximum = tls::version::tls1_2;
    constexpr int connections = 3;
    std::uint64_t resumed = 0, handshakes = 0;
    w.net.start(w.server, [&](shard& s) -> task<> {
      tls::server_context context(w.serving);
      auto listener = s.listen(w.where());
      for (int i = 0; i < connections; ++i) {
        auto peer = co_await listener.accept();
        auto secure = co_await tls::accept(std::move(*peer), context);
        co_await echo(secure);
      }
      resumed = context.counters().resumed;
      handshakes = context.counters().handshakes;
    });
    w.net.start(w.client, [&](shard& s) -> task<> {
      tls::client_context context(w.trusting);
      for (int i = 0; i < connections; ++i) {
        auto plain = co_await s.connect(w.where());
        auto secure = co_await tls::connect(std::move(plain), context, w.how);
        CHECK(secure.protocol() == (old ? "TLSv1.2" : "TLSv1.3"));
        CHECK(secure.resumed() == (i != 0));
        co_await say_hello(secure);
      }
    });
    w.net.run();
    CHECK(resumed == connections - 1);
    CHECK(handshakes == connections);
  }
}

TEST_CASE("a_peer_that_says_nothing_ends_the_handshake_in_time") {
  world w;
  weir::instant ended;
  w.net.start(w.server, [&](shard& s) -> task<> {
    auto listener = s.listen(w.where());
    auto peer = co_await listener.accept();
    std::array<std::byte, 4096> buffer;
    for (;;) {
      auto got = co_await peer->read_some(buffer).nothrow();
      if (got.ec || got.n == 0) break;
    }
  });
  w.net.start(w.client, [&](shard& s) -> task<> {
    tls::client_context context(w.trusting);
    any_stream plain = co_await s.connect(w.where());
    auto made = co_await tls::connect(std::move(plain), context, w.how).nothrow();
    CHECK(made.error() == std::errc::timed_out);
    CHECK(context.last_failure() == "the peer did not finish the handshake in time");
    ended = s.now();
  });
  w.net.run();
  CHECK(ended - weir::instant() > 10s);
  CHECK(ended - weir::instant() < 11s);
}

TEST_CASE("a_flood_of_half_handshakes_costs_the_oldest_of_them") {
  world w;
  w.serving.handshakes = 4;
  constexpr int flood = 10;
  tls::context_counters counted;
  w.net.start(w.server, [&](shard& s) -> task<> {
    tls::server_context context(w.serving);
    auto listener = s.listen(w.where());
    weir::scope sessions(s);
    auto session = [](weir::tcp_stream plain, tls::server_context& ours) -> task<> {
      auto made = co_await tls::accept(std::move(plain), ours).nothrow();
      if (made) co_await echo(*made);
    };
    for (int i = 0; i <= flood; ++i) {
      auto peer = co_await listener.accept();
      sessions.spawn(session(std::move(*peer), context));
    }
    co_await sessions.join();
    counted = context.counters();
  });
  w.net.start(w.client, [&](shard& s) -> task<> {
    tls::client_context context(w.trusting);
    std::vector<weir::tcp_stream> silent;
    for (int i = 0; i < flood; ++i) silent.push_back(co_await s.connect(w.where()));
    auto plain = co_await s.connect(w.where());
    auto secure = co_await tls::connect(std::move(plain), context, w.how);
    co_await say_hello(secure);
    std::array<std::byte, 1> one;
    auto end = co_await silent.front().read_some(one).timeout(1s).nothrow();
    CHECK(end.ec == std::errc::connection_reset);
  });
  w.net.run();
  CHECK(counted.handshakes == 1);
  CHECK(counted.displaced == flood + 1 - 4);
  CHECK(counted.failed == flood);
}

namespace {

/// A client's hello, as it stands in the first bytes of a connection.
task<> record_hello(shard& s, world& w, std::string& into) {
  auto listener = s.listen({w.server.address(), 444});
  auto peer = co_await listener.accept();
  std::array<std::byte, 4096> buffer;
  auto n = co_await peer->read_some(buffer);
  into = text_of(std::span(buffer).first(n));
}

}  // namespace

TEST_CASE("ten_thousand_half_done_handshakes_are_bounded_and_others_are_served_beside_them") {
  world w;
  constexpr int flood = 10'000, honest = 20;
  const auto limit = w.serving.handshakes;
  REQUIRE(limit == 1024);  // the default
  tls::context_counters counted;
  weir::test::heap_peak heap;
  std::string hello;
  w.net.start(w.server, [&](shard& s) -> task<> {
    co_await record_hello(s, w, hello);
    tls::server_context context(w.serving);
    auto listener = s.listen(w.where());
    weir::scope sessions(s);
    const auto session = [](weir::tcp_stream plain, tls::server_context& ours) -> task<> {
      auto made = co_await tls::accept(std::move(plain), ours).nothrow();
      if (made) co_await echo(*made);
    };
    for (int i = 0; i < flood + honest; ++i) {
      auto peer = co_await listener.accept();
      sessions.spawn(session(std::move(*peer), context));
      heap.look();
    }
    co_await sessions.join();
    counted = context.counters();
  });
  int served = 0;
  w.net.start(w.client, [&](shard& s) -> task<> {
    tls::client_context context(w.trusting);
    auto first = co_await s.connect({w.server.address(), 444});
    auto cut_off = co_await tls::connect(std::move(first), context, w.how).nothrow();
    CHECK(!cut_off);
    REQUIRE(hello.size() > 100);
    co_await weir::sleep_for(10ms);
    std::vector<weir::tcp_stream> silent;
    heap = {};
    for (int i = 0; i < flood; ++i) {
      auto& one = silent.emplace_back(co_await s.connect(w.where()));
      // Every other one is answered, and never goes on; the rest stop in the middle of their hello.
      const auto part = std::string_view(hello).substr(0, i % 2 == 0 ? hello.size() : 50);
      co_await one.write_all(part);
      if (i % (flood / honest) != 0) continue;
      auto plain = co_await s.connect(w.where());
      const auto begun = s.now();
      auto secure = co_await tls::connect(std::move(plain), context, w.how);
      co_await say_hello(secure);
      served += s.now() - begun < 1s;
    }
  });
  w.net.run();
  CHECK(served == honest);
  CHECK(counted.handshakes == honest);
  CHECK(counted.displaced + limit + honest >=
        flood);  // an honest one leaves its place to a silent one
  MESSAGE("heap: ", heap.grown());
  CHECK(heap.grown() < 300'000'000);
}

TEST_CASE("a_reload_is_for_new_handshakes_and_one_that_fails_changes_nothing") {
  world w;
  const auto second = w.trusted.issue({.name = "second.test"});
  w.net.start(w.server, [&](shard& s) -> task<> {
    tls::server_context context(w.serving);
    auto listener = s.listen(w.where());
    weir::scope sessions(s);
    const auto session = [](weir::tcp_stream plain, tls::server_context& ours) -> task<> {
      auto made = co_await tls::accept(std::move(plain), ours).nothrow();
      if (made) co_await echo(*made);
    };
    for (int i = 0; i < 3; ++i) {
      auto peer = co_await listener.accept();
      sessions.spawn(session(std::move(*peer), context));
      co_await weir::sleep_for(100ms);  // until it is made
      auto options = w.serving;
      options.certificate = second.certificate;
      if (i == 0) {
        options.key = second.key;
        context.reload(options);
      } else {  // the other's key
        CHECK_THROWS_AS(context.reload(options), weir::config_error);
      }
    }
    co_await sessions.join();
  });
  w.net.start(w.client, [&](shard& s) -> task<> {
    tls::client_context context(w.trusting);
    std::vector<tls::tls_stream> standing;
    for (const char* name : {"server.test", "second.test", "second.test"}) {
      auto plain = co_await s.connect(w.where());
      standing.push_back(co_await tls::connect(std::move(plain), context, {.name = name}));
      CHECK(standing.back().peer_certificate()->names == std::vector<std::string>{name});
      CHECK_FALSE(standing.back().resumed());
      co_await weir::sleep_for(200ms);
    }
    for (auto& one : standing) co_await say_hello(one);
  });
  w.net.run();
}

TEST_CASE("a_key_is_renewed_after_so_many_bytes_and_nobody_notices") {
  world w;
  w.serving.key_bytes = 50'000;
  std::string sent(400'000, 'x'), came;
  w.talk(
      [&](tls::tls_stream& peer) -> task<> {
        for (std::size_t at = 0; at < sent.size(); at += 1000)
          co_await peer.write_all(std::string_view(sent).substr(at, 1000));
        co_await peer.close_notify();
      },
      [&](tls::tls_stream& peer) -> task<> { came = co_await read_all(peer); });
  CHECK_FALSE(w.client_failure);
  CHECK_FALSE(w.server_failure);
  CHECK((came == sent));
  CHECK(w.renewed_keys == 8);
}

TEST_CASE("a_seed_makes_two_runs_the_same_byte_by_byte") {
  authority issuer;
  const auto certificate = issuer.issue();
  const auto run = [&](std::uint64_t seed) {
    world w({.delay = 5ms, .loss = 0.05}, 3);
    w.use(certificate);
    w.trusting.authorities = issuer.certificate();
    w.serving.insecure_seed = seed;
    w.serving.tickets = false;
    w.trusting.insecure_seed = seed + 1;
    std::string ciphertext;
    auto& between = w.net.add_host("10.0.0.3/24");
    w.net.link(w.client, between, {.delay = 5ms, .loss = 0.05});
    w.net.link(w.server, between, {.delay = 5ms, .loss = 0.05});
    w.net.start(between, [&](shard& s) -> task<> {
      auto listener = s.listen({between.address(), 443});
      auto here = co_await listener.accept();
      auto there = co_await s.connect(w.where());
      auto copy = [&](any_stream& from, any_stream& to) -> task<> {
        for (;;) {
          auto some = co_await from.receive();
          if (!some) break;
          ciphertext += text_of(some.bytes());
          co_await to.write_all(some.bytes());
        }
        std::error_code ignored;
        to.shutdown_send(ignored);
      };
      co_await weir::when_all(copy(*here, there), copy(there, *here));
    });
    w.net.start(w.server, [&](shard& s) -> task<> {
      tls::server_context context(w.serving);
      auto listener = s.listen(w.where());
      auto peer = co_await listener.accept();
      auto secure = co_await tls::accept(std::move(*peer), context);
      co_await echo(secure);
    });
    w.net.start(w.client, [&](shard& s) -> task<> {
      tls::client_context context(w.trusting);
      auto plain = co_await s.connect({between.address(), 443});
      auto secure = co_await tls::connect(std::move(plain), context, w.how);
      co_await say_hello(secure);
    });
    w.net.run();
    return ciphertext;
  };
  const auto first = run(7);
  CHECK(first.size() > 1000);
  const bool same = first == run(7), other = first == run(8);
  CHECK(same);
  CHECK_FALSE(other);
}

TEST_CASE("plain_http_to_a_tls_port_is_called_by_its_name") {
  world w;
  w.net.start(w.server, [&](shard& s) -> task<> {
    tls::server_context context(w.serving);
    auto listener = s.listen(w.where());
    auto peer = co_await listener.accept();
    any_stream plain = std::move(*peer);
    auto made = co_await tls::accept(std::move(plain), context).nothrow();
    CHECK(made.error() == std::errc::protocol_error);
    CHECK(context.last_failure() == "the peer speaks plain HTTP to a port that is TLS's");
  });
  w.net.start(w.client, [&](shard& s) -> task<> {
    auto plain = co_await s.connect(w.where());
    co_await plain.write_all("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    std::array<std::byte, 64> buffer;
    (void)co_await plain.read_some(buffer).nothrow();
  });
  w.net.run();
}

TEST_CASE("a_handshake_s_bytes_are_bounded") {
  world w;
  w.trusting.handshake_bytes = 100;
  w.talk(echo, say_hello);
  CHECK(w.client_failure == weir::error::limit_exceeded);
}
