// The HTTP/2 server in a simulated network, against frames that the test writes by hand.
#include <doctest/doctest.h>
#include <nghttp2/nghttp2.h>

#include <string>
#include <string_view>

#include "h2_world.hpp"
#include "unit/pieces_of_bodies.hpp"

using namespace h2;
using weir::shard;
using weir::task;

TEST_CASE("a_request_of_prior_knowledge_is_answered_however_it_is_cut") {
  for (const bool cut : {false, true}) {
    world w;
    w.run([&](weir::tcp_stream& peer, listener& heard) -> task<> {
      const auto all = hello + get(1, "/hello/you") + get(3, "/nothing");
      for (std::size_t at = 0; at < all.size(); at += cut ? 1 : all.size()) {
        co_await peer.write_all(std::string_view(all).substr(at, cut ? 1 : all.size()));
        if (cut) co_await weir::sleep_for(2ms);
      }
      (void)co_await hear(peer, heard);
      CHECK(heard.said == "1: 200 hello you. 3: 404 404 Not Found\n. ");
      CHECK(heard.count(settings_frame) == 2);  // its own, and the acknowledgement
    });
  }
}

TEST_CASE("answers_go_when_they_are_there_and_not_in_order") {
  world w;
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    co_await peer.write_all(hello + get(1, "/slow") + get(3, "/hello/you"));
    (void)co_await hear(peer, heard, 1500ms);
    CHECK(heard.said == "3: 200 hello you. 1: 200 slow. ");
  });
}

// covers: 9113-22
TEST_CASE("streamed_answers_have_trailers_and_broken_ones_are_reset") {
  world w;
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    co_await peer.write_all(hello + get(1, "/stream") + get(3, "/broken"));
    (void)co_await hear(peer, heard);
    CHECK(heard.said == "1: 200 piece piece piece 18 . ");
    CHECK(heard.reset(3) == NGHTTP2_INTERNAL_ERROR);
  });
  CHECK(w.counters.failures == 1);
}

TEST_CASE("an_answer_of_said_length_is_exactly_so_long_or_its_stream_is_reset") {
  for (const auto& pieces : weir::test::pieces_of_about_five) {
    CAPTURE(pieces.first);
    CAPTURE(pieces.second);
    world w;
    w.site.get("/said", [&](request&) -> task<response> {
      response out;
      out.body(pieces.writer(), 5);
      co_return out;
    });
    w.run([&](weir::tcp_stream& peer, listener& heard) -> task<> {
      co_await peer.write_all(hello + get(1, "/said"));
      (void)co_await hear(peer, heard);
      CHECK(heard.said == (pieces.as_said() ? "1: 200 xxxxx. " : ""));
      CHECK(heard.reset(1) == (pieces.as_said() ? ~0u : unsigned{NGHTTP2_INTERNAL_ERROR}));
    });
    CHECK(w.counters.failures == (pieces.as_said() ? 0 : 1));
  }
}

// covers: 9113-70, 9113-76
TEST_CASE("a_client_takes_an_answer_at_its_own_speed") {
  world w;
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    co_await peer.write_all(hello + get(1, "/big"));
    (void)co_await hear(peer, heard);
    std::size_t came = 0;
    for (const auto& f : heard.frames) came += f.type == data_frame ? f.payload.size() : 0;
    CHECK(came == 65'535);  // the window, and no more
    co_await peer.write_all(wire(window_frame, 0, 1, number32(1 << 20)) +
                            wire(window_frame, 0, 0, number32(1 << 20)));
    (void)co_await hear(peer, heard);
    CHECK(heard.said == "1: 200 " + std::string(200'000, 'b') + ". ");
  });
}

// covers: 9113-92
TEST_CASE("a_body_has_its_limit_and_the_length_that_was_said") {
  world w;
  w.settings.max_body = 50'000;
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    const std::string part(10'000, 'x');
    const auto head = [](std::uint32_t id, std::string fields = "") {
      return wire(headers_frame, end_headers, id, head_of("POST", "/echo") + fields);
    };
    std::string all = hello + head(1);
    for (int i = 0; i < 4; ++i) all += wire(data_frame, 0, 1, part);
    all += wire(data_frame, end_stream, 1, "");
    all += head(3);
    for (int i = 0; i < 6; ++i) all += wire(data_frame, 0, 3, part);  // 413, and heard out
    all += wire(data_frame, end_stream, 3, part);
    all += head(5, literal("content-length", "70000"));  // 413 at once
    all += wire(data_frame, end_stream, 5, "");
    all += head(7, literal("content-length", "3"));  // a lie
    all += wire(data_frame, end_stream, 7, "four");
    co_await peer.write_all(all);
    (void)co_await hear(peer, heard);
    CHECK(heard.said.find("1: 200 40000. ") != std::string::npos);
    CHECK(heard.said.find("3: 413 ") != std::string::npos);
    CHECK(heard.reset(5) == NGHTTP2_PROTOCOL_ERROR);
    CHECK(heard.reset(7) == NGHTTP2_PROTOCOL_ERROR);
  });
}

// covers: 9113-80
TEST_CASE("a_client_that_sends_beyond_its_window_is_cut_off") {
  world w;
  w.site.post("/late", [](request& r) -> task<response> {
    co_await weir::sleep_for(1s);
    auto body = co_await r.body().read_all();
    co_return text(std::to_string(body.size()));
  });
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    const auto send = [](std::uint32_t id, int parts) {
      auto all = wire(headers_frame, end_headers, id, head_of("POST", "/late"));
      for (int i = 0; i < parts; ++i) all += wire(data_frame, 0, id, std::string(16'384, 'x'));
      return all;
    };
    co_await peer.write_all(hello);
    (void)co_await hear(peer, heard, 50ms);
    const auto all = wire(settings_frame, ack, 0, "") + send(1, 4) +
                     wire(data_frame, end_stream, 1, "") + send(3, 5);
    co_await peer.write_all(all);
    (void)co_await hear(peer, heard, 3s);
    CHECK(heard.said == "1: 200 65536. ");
    CHECK(heard.reset(3) == NGHTTP2_FLOW_CONTROL_ERROR);
  });
}

// covers: 9113-90, 9113-95, 9113-100
TEST_CASE("heads_that_are_no_request_s_are_refused_by_status") {
  world w;
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    const auto ask = [](std::uint32_t id, const std::string& head) {
      return wire(headers_frame, end_headers | end_stream, id, head);
    };
    co_await peer.write_all(hello + ask(1, head_of("GET", "/", "a b")) +
                            ask(3, head_of("GET", "/", "x") + literal("host", "y")) +
                            ask(5, head_of("GET", "/hello/x") + literal("expect", "more")) +
                            ask(7, literal(":method", "GET") + literal(":scheme", "http") +
                                       literal(":path", "/") + literal(":authority", "")) +
                            ask(9, head_of("GET", "/") + literal("connection", "close")));
    (void)co_await hear(peer, heard);
    CHECK(heard.said.find("3: 400") != std::string::npos);
    CHECK(heard.said.find("5: 417") != std::string::npos);
    for (const std::uint32_t id : {1u, 7u, 9u}) CHECK(heard.reset(id) == NGHTTP2_PROTOCOL_ERROR);
  });
}

// covers: 9113-96
TEST_CASE("a_cookie_in_pieces_is_one_field") {
  world w;
  w.site.get("/cookie",
             [](request& r) -> task<response> { co_return text(std::string(r.field("cookie"))); });
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    const auto all =
        hello + wire(headers_frame, end_headers | end_stream, 1,
                     head_of("GET", "/cookie") + literal("cookie", "a=1") + literal("x", "y") +
                         literal("cookie", "b=2") + literal("cookie", "c=3"));
    co_await peer.write_all(all);
    (void)co_await hear(peer, heard);
    CHECK(heard.said == "1: 200 a=1; b=2; c=3. ");
  });
}

TEST_CASE("trailers_that_come_with_their_request_are_no_fields_of_it_and_it_is_handled_once") {
  world w;
  int handled = 0;
  w.site.post("/trailers", [&](request& r) -> task<response> {
    ++handled;
    auto body = co_await r.body().read_all();
    body += " " + std::string(r.field("x-role")) + " ";
    for (const auto& f : r.body().trailers())
      body += std::string(f.name) + "=" + std::string(f.value);
    co_return text(body);
  });
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    const auto all = hello + wire(headers_frame, end_headers, 1, head_of("POST", "/trailers")) +
                     wire(data_frame, 0, 1, "abc") +
                     wire(headers_frame, end_headers | end_stream, 1, literal("x-role", "admin"));
    co_await peer.write_all(all);
    (void)co_await hear(peer, heard);
    CHECK(heard.said == "1: 200 abc  x-role=admin. ");
  });
  CHECK(handled == 1);
}

TEST_CASE("a_head_beyond_its_limits_is_431") {
  world w;
  w.settings.max_head = 2000;
  w.settings.max_fields = 10;
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    std::string many;
    for (int i = 0; i < 20; ++i) many += literal("a", "b");
    co_await peer.write_all(
        hello +
        wire(headers_frame, end_headers | end_stream, 1,
             head_of("GET", "/hello/x") + literal("long", std::string(3000, 'x'))) +
        wire(headers_frame, end_headers | end_stream, 3, head_of("GET", "/hello/x") + many));
    (void)co_await hear(peer, heard);
    CHECK(heard.said.find("1: 431") != std::string::npos);
    CHECK(heard.said.find("3: 431") != std::string::npos);
  });
}

// covers: 9113-29
TEST_CASE("requests_at_once_are_bounded_and_more_than_was_allowed_end_the_connection") {
  world w;
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    co_await peer.write_all(hello);
    (void)co_await hear(peer, heard, 50ms);
    std::string all = wire(settings_frame, ack, 0, "");
    for (std::uint32_t i = 0; i < 110; ++i) all += get(2 * i + 1, "/slow");
    co_await peer.write_all(all);
    const bool ended = co_await hear(peer, heard, 10s);
    CHECK(ended);
    CHECK(heard.goodbye() == NGHTTP2_PROTOCOL_ERROR);
  });
  CHECK(w.most_running <= 100);
}

TEST_CASE("resets_make_no_handlers_without_end") {  // CVE-2023-44487
  world w;
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    std::string all = hello;
    for (std::uint32_t i = 0; i < 1000; ++i)
      all += get(2 * i + 1, "/slow") + wire(reset_frame, 0, 2 * i + 1, number32(NGHTTP2_CANCEL));
    (void)co_await peer.write_all(all).nothrow();
    const auto begun = peer.owner().now();
    const bool ended = co_await hear(peer, heard, 60s);
    CHECK(ended);
    CHECK(peer.owner().now() - begun < 2s);
    CHECK(heard.goodbye() == NGHTTP2_INTERNAL_ERROR);  // what nghttp2 calls it
  });
  CHECK(w.most_running <= 100);
  CHECK(w.counters.floods == 1);
}

TEST_CASE("floods_of_frames_end_their_connection") {
  for (const std::string what : {"pings", "settings", "continuations", "empty data"}) {
    CAPTURE(what);
    world w;
    w.run([&](weir::tcp_stream& peer, listener& heard) -> task<> {
      std::string all = hello;
      if (what == "continuations") all += wire(headers_frame, 0, 1, head_of("GET", "/hello/x"));
      if (what == "empty data") all += wire(headers_frame, end_headers, 1, head_of("GET", "/slow"));
      for (int i = 0; i < 5000; ++i) {
        if (what == "pings") all += wire(ping_frame, 0, 0, "12345678");
        if (what == "settings") all += wire(settings_frame, 0, 0, "");
        if (what == "continuations") all += wire(continuation_frame, 0, 1, literal("a", "b"));
        if (what == "empty data") all += wire(data_frame, 0, 1, "");
      }
      const auto begun = peer.owner().now();
      (void)co_await peer.write_all(all).nothrow();
      const bool ended = co_await hear(peer, heard, 100s);
      CHECK(ended);
      CHECK(peer.owner().now() - begun < 1s);
      CHECK(heard.goodbye() == NGHTTP2_ENHANCE_YOUR_CALM);
    });
    CHECK(w.counters.floods == 1);
    CHECK(w.counters.refused_requests == 0);
  }
}

TEST_CASE("refused_requests_that_are_not_heard_of_pile_up_to_a_bound") {
  world w;
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    // Its settings are never acknowledged, so nghttp2 refuses what is beyond them one by one.
    std::string all = hello;
    for (std::uint32_t i = 0; i < 100'000; ++i) all += get(2 * i + 1, "/slow");
    (void)co_await peer.write_all(all).timeout(3s).nothrow();  // and nothing is read meanwhile
    const bool ended = co_await hear(peer, heard, 100s);
    CHECK(ended);
    CHECK(heard.goodbye() == NGHTTP2_ENHANCE_YOUR_CALM);
  });
  CHECK(w.counters.floods == 1);
  CHECK(w.counters.refused_streams > 0);
}

TEST_CASE("a_reader_of_a_byte_now_and_then_is_given_up_and_one_at_the_least_rate_is_not") {
  for (const bool steady : {false, true}) {
    CAPTURE(steady);
    world w;
    w.settings.write_timeout = 30s;
    w.site.get("/long",
               [](request&) -> task<response> { co_return text(std::string(3'000'000, 'b')); });
    w.run([&](weir::tcp_stream& peer, listener& heard) -> task<> {
      co_await peer.write_all(hello + get(1, "/long"));
      (void)co_await hear(peer, heard);
      const auto open = [](std::uint32_t n) {
        return wire(window_frame, 0, 1, number32(n)) + wire(window_frame, 0, 0, number32(n));
      };
      const auto begun = peer.owner().now();
      while (peer.owner().now() - begun < 400s && heard.reset(1) == ~0u && heard.said.empty()) {
        co_await peer.write_all(open(steady ? 270'000 : 1));
        (void)co_await hear(peer, heard, 25s);
      }
      const auto took = peer.owner().now() - begun;
      CHECK(heard.said.empty() != steady);
      CHECK((heard.reset(1) == NGHTTP2_INTERNAL_ERROR) != steady);
      if (!steady) CHECK(took < 60s);
    });
    CHECK(w.counters.slow_readers == (steady ? 0 : 1));
  }
}

TEST_CASE("what_was_refused_is_counted_by_its_reason") {
  world w;
  w.settings.max_body = 1000;
  w.settings.body_timeout = 5s;
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    const auto head = [](std::uint32_t id) {
      return wire(headers_frame, end_headers, id, head_of("POST", "/echo"));
    };
    const auto all = hello + head(1) + wire(data_frame, end_stream, 1, std::string(2000, 'x')) +
                     head(3) + wire(data_frame, 0, 3, "slow");
    co_await peer.write_all(all);
    (void)co_await hear(peer, heard, 8s);
    CHECK(heard.said.find("1: 413") != std::string::npos);
    CHECK(heard.said.find("3: 408") != std::string::npos);
  });
  CHECK(w.counters.refused_bodies == 1);
  CHECK(w.counters.slow_bodies == 1);
  CHECK(w.counters.refusals == 2);
  CHECK(w.counters.refused_requests == 0);
  CHECK(w.counters.floods == 0);
}

TEST_CASE("an_answer_whose_head_cannot_be_sent_is_reset_with_and_without_a_body") {
  world w;
  for (const bool body : {false, true})
    w.site.get(body ? "/full" : "/empty", [body](request&) -> task<response> {
      response out(body ? 200 : 204);
      out.field("X", std::string(70'000, 'x'));  // beyond what nghttp2 sends
      if (body) out.body(std::string("text"));
      co_return out;
    });
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    co_await peer.write_all(hello + get(1, "/empty") + get(3, "/full"));
    (void)co_await hear(peer, heard, 5s);
    CHECK(heard.said.empty());
    CHECK(heard.reset(1) == NGHTTP2_INTERNAL_ERROR);
    CHECK(heard.reset(3) == NGHTTP2_INTERNAL_ERROR);
  });
}

TEST_CASE("an_interim_status_is_no_answer") {
  world w;
  w.site.get("/early", [](request&) -> task<response> { co_return response(103); });
  w.run([](weir::tcp_stream& peer, listener& heard) -> task<> {
    co_await peer.write_all(hello + get(1, "/early"));
    (void)co_await hear(peer, heard, 5s);
    CHECK(heard.said.starts_with("1: 500"));
  });
  CHECK(w.counters.failures == 1);
}

TEST_CASE("a_connection_between_requests_ends_in_time_and_so_does_a_slow_head") {
  for (const std::string what : {"nothing", "a slow head", "a request"}) {
    CAPTURE(what);
    world w;
    w.settings.idle_timeout = 20s;
    w.settings.head_timeout = 5s;
    w.run([&](weir::tcp_stream& peer, listener& heard) -> task<> {
      co_await peer.write_all(hello);
      const auto begin = wire(headers_frame, 0, 1, head_of("GET", "/hello/x"));
      if (what == "a slow head") co_await peer.write_all(begin);
      if (what == "a request") co_await peer.write_all(get(1, "/slow"));
      const auto begun = peer.owner().now();
      const bool ended = co_await hear(peer, heard, 100s);
      CHECK(ended);
      CHECK(heard.goodbye() == NGHTTP2_NO_ERROR);
      const auto took = peer.owner().now() - begun;
      CHECK(took > (what == "a slow head" ? 4s : 19s));
      CHECK(took < (what == "a slow head" ? 6s : 22s));
    });
  }
}

// covers: 9113-31
TEST_CASE("the_stop_says_goodbye_and_answers_what_was_asked") {
  world w;
  w.net.start(w.there, [&](shard& s) -> task<> {
    server by(s, w.site, w.settings);
    auto at = s.listen({"10.0.0.1", 80});
    co_await by.run(at);
  });
  w.net.start(w.here, [&](shard& s) -> task<> {
    auto peer = co_await s.connect({"10.0.0.1", 80});
    listener heard;
    co_await peer.write_all(hello + get(1, "/slow"));
    (void)co_await hear(peer, heard, 100ms);
    w.there.shard().request_stop();
    const bool ended = co_await hear(peer, heard, 5s);
    CHECK(ended);
    CHECK(heard.said == "1: 200 slow. ");
    CHECK(heard.goodbye() == NGHTTP2_NO_ERROR);
    CHECK(read32(heard.last(goaway_frame)->payload) == 1);
  });
  w.net.run();
}
