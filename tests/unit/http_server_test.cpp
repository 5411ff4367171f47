// The HTTP server in a simulated network under virtual time: what its connections do to the byte
// and to the second.
#include <doctest/doctest.h>

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "unit/pieces_of_bodies.hpp"
#include "weir/http.hpp"
#include "weir/sim.hpp"
#include "weir/weir.hpp"

using namespace std::chrono_literals;
using namespace weir::http;
using weir::shard;
using weir::task;
using weir::tcp_stream;

namespace {

/// A server on one host, and a client's script on another.
struct world {
  weir::sim::network net{{.seed = 1}};
  weir::sim::host& there = net.add_host("10.0.0.1/24");
  weir::sim::host& here = net.add_host("10.0.0.2/24");
  server_settings settings;
  router site;
  std::vector<std::string> log;
  server_counters counters;
  int failures = 0;

  world() {
    net.link(there, here, {.delay = 1ms});
    site.get("/hello", [](request&) -> task<response> { co_return text("hello"); });
  }

  /// Serves until the client's script has ended.
  void run(std::function<task<>(shard&)> script) {
    net.start(there, [this](shard& s) -> task<> {
      server by(s, [this](request& r) { return site(r); }, settings);
      by.on_access([this](const access_entry& a) { log.push_back(common_log_line(a, 0)); });
      by.on_failure([this](const std::exception_ptr&, const request&) { ++failures; });
      auto listener = s.listen({"10.0.0.1", 80});
      co_await by.run(listener);
      counters = by.counters();
    });
    net.start(here, [&, script](shard& s) -> task<> {
      co_await script(s);
      there.shard().request_stop();
    });
    net.run();
  }
  task<tcp_stream> connect(shard& s) {
    auto peer = co_await s.connect({"10.0.0.1", 80});
    co_return peer;
  }
};

/// What comes until the server ends the connection; "RESET" at the end where it is one.
task<std::string> receive_all(tcp_stream& peer) {
  std::string out;
  std::array<std::byte, 4096> buffer;
  for (;;) {
    auto got = co_await peer.read_some(buffer).nothrow();
    out.append(reinterpret_cast<const char*>(buffer.data()), got.n);
    if (got.ec) out += "RESET";
    if (got.ec || got.n == 0) co_return out;
  }
}

task<std::string> receive_until(tcp_stream& peer, std::string_view end) {
  std::string out;
  std::array<std::byte, 1> one;
  while (!out.ends_with(end)) {
    auto n = co_await peer.read_some(one);
    if (n == 0) break;
    out += static_cast<char>(one[0]);
  }
  co_return out;
}

/// One conversation: everything is sent, then everything is read.
std::string talk(world& w, std::string text) {
  std::string out;
  w.run([&](shard& s) -> task<> {
    auto peer = co_await w.connect(s);
    co_await peer.write_all(text);
    out = co_await receive_all(peer);
  });
  return out;
}

std::string get(std::string_view path, std::string_view fields = "") {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: x\r\n" + std::string(fields) + "\r\n";
}
std::string last(std::string_view path) { return get(path, "Connection: close\r\n"); }
std::string body_of(std::string_view answer) {
  const auto end = answer.find("\r\n\r\n");
  return end == std::string_view::npos ? "no answer" : std::string(answer.substr(end + 4));
}
bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}
std::size_t count(std::string_view text, std::string_view part) {
  std::size_t n = 0;
  for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

}  // namespace

TEST_CASE("answers_come_in_order_and_those_that_can_leave_together") {
  world w;
  std::size_t reads = 0;
  w.run([&](shard& s) -> task<> {
    auto peer = co_await w.connect(s);
    std::string many;
    for (int i = 0; i < 20; ++i) many += get(i % 2 == 0 ? "/hello" : "/none");
    co_await peer.write_all(many + last("/hello"));
    std::string out;
    std::array<std::byte, 16384> buffer;
    for (;;) {
      auto n = co_await peer.read_some(buffer);
      if (n == 0) break;
      ++reads;
      out.append(reinterpret_cast<const char*>(buffer.data()), n);
    }
    CHECK(count(out, "\r\n\r\nhelloHTTP/1.1 404 Not Found\r\n") == 10);
    CHECK(count(out, "HTTP/1.1 200 OK\r\n") == 11);
    CHECK(out.ends_with("\r\n\r\nhello"));
  });
  CHECK(reads <= 5);  // segments, not answers
  CHECK(w.counters.requests == 21);
}

TEST_CASE("head_has_the_fields_of_get_and_no_body") {
  world w;
  const auto out = talk(w, "HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n" + last("/hello"));
  CHECK(has(out, "Content-Length: 5\r\n\r\nHTTP/1.1 200"));
}

TEST_CASE("statuses_without_a_body_have_neither_body_nor_length") {
  world w;
  for (int status : {204, 304})
    w.site.get("/" + std::to_string(status), [status](request&) -> task<response> {
      response out(status);
      out.body(std::string("not to be sent"));
      co_return out;
    });
  const auto out = talk(w, get("/204") + get("/304") + last("/hello"));
  CHECK_FALSE(has(out, "not to be sent"));
  CHECK(count(out, "Content-Length") == 1);
}

TEST_CASE("a_streamed_body_is_chunked_and_may_have_trailers") {
  world w;
  w.site.get("/s", [](request&) -> task<response> {
    response out;
    out.body([](body_writer& to) -> task<> {
      co_await to.write("hello ");
      co_await to.write("");
      co_await to.write("world");
      to.trailer("Sum", "11");
    });
    co_return out;
  });
  const auto out = talk(w, get("/s") + last("/hello"));
  CHECK(has(out, "\r\nTransfer-Encoding: chunked\r\n"));
  CHECK(has(out, "\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\nSum: 11\r\n\r\nHTTP/1.1 200 OK"));
}

TEST_CASE("to_http_1_0_a_streamed_body_ends_with_the_connection") {
  world w;
  w.site.get("/s", [](request&) -> task<response> {
    response out;
    out.body([](body_writer& to) -> task<> {
      co_await to.write("hello");
      to.trailer("Sum", "5");
    });
    co_return out;
  });
  const auto out = talk(w, "GET /s HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  CHECK(has(out, "\r\nConnection: close\r\n"));
  CHECK_FALSE(has(out, "chunked"));
  CHECK(body_of(out) == "hello");
}

TEST_CASE("a_body_of_said_length_is_exactly_so_long_or_the_connection_breaks") {
  for (const auto& pieces : weir::test::pieces_of_about_five) {
    CAPTURE(pieces.first);
    CAPTURE(pieces.second);
    world w;
    w.site.get("/s", [&](request&) -> task<response> {
      response out;
      out.body(pieces.writer(), 5);
      co_return out;
    });
    const auto out = talk(w, get("/s") + last("/hello"));
    CHECK(out.ends_with("RESET") != pieces.as_said());
    CHECK(w.failures != pieces.as_said());
  }
}

TEST_CASE("an_answer_that_breaks_off_is_seen_to_break_off") {
  world w;
  w.site.get("/s", [](request&) -> task<response> {
    response out;
    out.body([](body_writer& to) -> task<> {
      co_await to.write("half");
      throw std::runtime_error("no more");
    });
    co_return out;
  });
  const auto out = talk(w, get("/s") + last("/hello"));
  CHECK(out.ends_with("RESET"));
  CHECK(w.failures == 1);
}

TEST_CASE("a_handler_that_throws_is_500_and_a_status_error_its_status") {
  world w;
  w.site.get("/bad", [](request&) -> task<response> {
    throw std::runtime_error("bad");
    co_return text("");
  });
  w.site.get("/409", [](request&) -> task<response> {
    throw status_error(409);
    co_return text("");
  });
  const auto out = talk(w, get("/409") + get("/bad") + get("/hello"));
  CHECK(has(out, "HTTP/1.1 409 Conflict\r\n"));
  CHECK(has(out, "HTTP/1.1 500 Internal Server Error\r\n"));
  CHECK_FALSE(has(out, "hello"));  // the connection ended with the 500
  CHECK(w.failures == 1);
  CHECK(w.counters.failures == 1);
}

namespace {

/// POST /count says how much came and the trailers; it is given every piece.
void count_bodies(world& w) {
  w.site.post("/count", [](request& r) -> task<response> {
    std::size_t total = 0;
    for (;;) {
      auto piece = co_await r.body().read();
      if (piece.empty()) break;
      total += piece.size();
    }
    std::string said = std::to_string(total);
    for (auto& t : r.body().trailers())
      said += " " + std::string(t.name) + "=" + std::string(t.value);
    co_return text(said);
  });
}

std::string post(std::string_view fields, std::string_view body = "") {
  return "POST /count HTTP/1.1\r\nHost: x\r\n" + std::string(fields) + "\r\n" + std::string(body);
}

}  // namespace

TEST_CASE("a_body_comes_piece_by_piece_however_it_is_framed") {
  world w;
  count_bodies(w);
  const std::string large(300'000, 'x');
  const auto out = talk(w, post("Content-Length: 300000\r\n", large) +
                               post("Transfer-Encoding: chunked\r\n",
                                    "3\r\nabc\r\n493e0\r\n" + large + "\r\n0\r\nA: b\r\n\r\n") +
                               post("Content-Length: 0\r\n") + post("") + last("/hello"));
  CHECK(has(out, "\r\n\r\n300000HTTP/1.1"));
  CHECK(has(out, "\r\n\r\n300003 A=bHTTP/1.1"));
  CHECK(count(out, "\r\n\r\n0HTTP/1.1") == 2);
  CHECK(out.ends_with("hello"));
}

TEST_CASE("what_a_handler_leaves_of_a_body_is_dropped_and_the_connection_goes_on") {
  world w;
  w.site.post("/count", [](request&) -> task<response> { co_return text("unread"); });
  const auto out =
      talk(w, post("Content-Length: 200000\r\n", std::string(200'000, 'x')) + last("/hello"));
  CHECK(has(out, "\r\n\r\nunreadHTTP/1.1 200 OK"));
  CHECK(out.ends_with("hello"));
}

TEST_CASE("who_asks_first_is_told_to_go_on_when_the_body_is_wanted") {
  world w;
  count_bodies(w);
  w.run([&](shard& s) -> task<> {
    auto peer = co_await w.connect(s);
    co_await peer.write_all(post("Expect: 100-continue\r\nContent-Length: 5\r\n"));
    const auto go_on = co_await receive_until(peer, "\r\n\r\n");
    CHECK(go_on == "HTTP/1.1 100 Continue\r\n\r\n");
    co_await peer.write_all("hello" + last("/hello"));
    const auto out = co_await receive_all(peer);
    CHECK(out.starts_with("HTTP/1.1 200 OK\r\n"));
    CHECK(has(out, "\r\n\r\n5HTTP/1.1 200"));
  });
  CHECK(w.counters.refused_requests == 0);
}

TEST_CASE("who_asks_first_and_is_refused_gets_the_answer_alone_and_the_end") {
  world w;
  w.site.post("/count", [](request&) -> task<response> { co_return plain_status(403); });
  const auto out = talk(w, post("Expect: 100-continue\r\nContent-Length: 5\r\n"));
  CHECK(out.starts_with("HTTP/1.1 403 Forbidden\r\n"));
  CHECK(has(out, "\r\nConnection: close\r\n"));
}

TEST_CASE("a_producer_is_as_fast_as_its_reader") {
  world w;
  std::uint64_t produced = 0;
  w.site.get("/s", [&](request&) -> task<response> {
    response out;
    out.body([&](body_writer& to) -> task<> {
      const std::string block(10'000, 'x');
      for (int i = 0; i < 10'000; ++i) {  // 100 MB
        co_await to.write(block);
        produced += block.size();
      }
    });
    co_return out;
  });
  w.settings.write_timeout = 1h;
  w.run([&](shard& s) -> task<> {
    auto peer = co_await w.connect(s);
    co_await peer.write_all(last("/s"));
    co_await weir::sleep_for(10min);
    CHECK(produced < 20'000'000);
    const auto before = produced;
    co_await weir::sleep_for(10min);
    CHECK(produced == before);
    const auto out = co_await receive_all(peer);
    CHECK(out.size() > 100'000'000);
  });
}

TEST_CASE("a_reader_is_as_fast_as_its_handler") {
  world w;
  weir::event go_on;
  w.settings.max_body = 1u << 30;  // and the handler's own time is not the client's
  w.site.post("/count", [&](request& r) -> task<response> {
    co_await go_on.wait();
    auto all = co_await r.body().read_all({.max = 1u << 30});
    co_return text(std::to_string(all.size()));
  });
  w.run([&](shard& s) -> task<> {
    auto peer = co_await w.connect(s);
    const std::string large(50'000'000, 'x');
    co_await peer.write_all(post("Connection: close\r\nContent-Length: 50000000\r\n"));
    auto sent = co_await peer.write_all(large).timeout(1h).nothrow();
    CHECK(sent.ec == std::errc::timed_out);
    CHECK(sent.n < 20'000'000);
    go_on.set();
    co_await peer.write_all(std::string_view(large).substr(sent.n));
    const auto out = co_await receive_all(peer);
    CHECK(body_of(out) == "50000000");
  });
}

TEST_CASE("a_long_answer_to_a_slow_reader_takes_as_long_as_it_needs") {
  world w;
  w.site.get("/large",
             [](request&) -> task<response> { co_return text(std::string(20'000'000, 'x')); });
  w.run([&](shard& s) -> task<> {
    auto peer = co_await w.connect(s);
    co_await peer.write_all(last("/large"));
    std::vector<std::byte> buffer(100'000);
    std::size_t got = 0;
    for (;;) {  // 100 KB a second: seven times the write's time
      auto n = co_await peer.read_exactly(buffer).nothrow();
      got += n.n;
      if (n.ec || n.n == 0) break;
      co_await weir::sleep_for(1s);
    }
    CHECK(got > 20'000'000);
  });
}

TEST_CASE("a_body_beyond_its_limit_is_refused_with_413_where_it_is_read") {
  world w;
  count_bodies(w);
  w.settings.max_body = 10;
  CHECK(talk(w, post("Content-Length: 11\r\n", "hello hello")).starts_with("HTTP/1.1 413 "));
  world v;
  count_bodies(v);
  v.settings.max_body = 10;
  const auto out = talk(v, post("Transfer-Encoding: chunked\r\n", "9\r\nhello hel\r\n2\r\nlo\r\n"));
  CHECK(out.starts_with("HTTP/1.1 413 "));
  CHECK(has(out, "\r\nConnection: close\r\n"));
}

TEST_CASE("a_body_that_drips_is_408_when_its_time_is_over_and_one_that_flows_is_not") {
  world w;
  count_bodies(w);
  w.settings.body_timeout = 10s;
  w.settings.least_body_rate = 1000;
  w.run([&](shard& s) -> task<> {
    auto slow = co_await w.connect(s);
    const auto begun = s.now();
    co_await slow.write_all(post("Content-Length: 100000\r\n"));
    for (int i = 0; i < 20; ++i) {  // a byte a second
      auto sent = co_await slow.write_all("x").nothrow();
      if (sent.ec || s.now() - begun > 12s) break;
      co_await weir::sleep_for(1s);
    }
    const auto out = co_await receive_all(slow);
    CHECK(out.starts_with("HTTP/1.1 408 "));
    auto steady = co_await w.connect(s);
    co_await steady.write_all(post("Connection: close\r\nContent-Length: 100000\r\n"));
    for (int i = 0; i < 50; ++i) {  // 50 s for it all, at twice the least rate
      co_await steady.write_all(std::string(2000, 'x'));
      co_await weir::sleep_for(1s);
    }
    const auto good = co_await receive_all(steady);
    CHECK(body_of(good) == "100000");
  });
}

TEST_CASE("a_head_that_drips_is_408_to_the_second") {
  world w;
  w.settings.head_timeout = 10s;
  w.run([&](shard& s) -> task<> {
    auto peer = co_await w.connect(s);
    co_await weir::sleep_for(30s);  // before the first byte it is idle, which is another limit
    const auto begun = s.now();
    co_await peer.write_all("GET / HTTP/1.1\r\n");
    for (int i = 0; i < 9; ++i) {
      co_await weir::sleep_for(1s);
      co_await peer.write_all("A: b\r\n");
    }
    const auto out = co_await receive_all(peer);
    CHECK(out.starts_with("HTTP/1.1 408 "));
    CHECK(s.now() - begun >= 10s);
    CHECK(s.now() - begun < 10s + 100ms);
  });
}

// A close with unread bytes is a reset, and what had not arrived of the answer is lost.
TEST_CASE("no_end_of_a_connection_takes_a_good_answer_with_it") {
  enum { closing, idle, stopping };
  for (auto how : {closing, idle, stopping}) {
    CAPTURE(static_cast<int>(how));
    world w;
    w.settings.idle_timeout = 1s;
    w.site.get("/large", [](request&) -> task<response> {
      co_return text(std::string(60'000, 'x'));  // the socket takes it at once, the client does not
    });
    weir::stream_options small;
    small.receive_buffer = 8192;
    w.run([&](shard& s) -> task<> {
      auto peer = co_await s.connect({"10.0.0.1", 80}, {.stream = small});
      const auto ask = how == closing ? last("/large") : get("/large");
      co_await peer.write_all(ask);
      co_await weir::sleep_for(500ms);
      if (how == stopping) w.there.shard().request_stop();
      co_await weir::sleep_for(1s);
      co_await peer.write_all("\n");
      co_await weir::sleep_for(100ms);
      const auto out = co_await receive_all(peer);
      CHECK(body_of(out).size() == 60'000);
    });
  }
}

TEST_CASE("a_client_that_keeps_sending_after_the_last_answer_is_let_go_in_the_end") {
  world w;
  w.run([&](shard& s) -> task<> {
    auto peer = co_await w.connect(s);
    const auto begun = s.now();
    co_await peer.write_all(last("/hello"));
    for (;;) {
      auto sent = co_await peer.write_all("x").nothrow();
      if (sent.ec) break;
      co_await weir::sleep_for(1s);
    }
    CHECK(s.now() - begun >= 30s);
    CHECK(s.now() - begun < 33s);
  });
}

TEST_CASE("the_stop_ends_idle_connections_and_lets_requests_be_answered") {
  world w;
  w.settings.drain = 1h;
  w.site.get("/slow", [](request&) -> task<response> {
    co_await weir::sleep_for(10s);
    co_return text("slow");
  });
  w.run([&](shard& s) -> task<> {
    auto idle = co_await w.connect(s);
    co_await idle.write_all(get("/hello"));
    co_await receive_until(idle, "hello");
    co_await weir::sleep_for(5s);  // its answer has long arrived
    auto busy = co_await w.connect(s);
    co_await busy.write_all(get("/slow") + get("/hello"));
    co_await weir::sleep_for(1s);
    w.there.shard().request_stop();
    const auto asked = s.now();
    const auto nothing = co_await receive_all(idle);
    CHECK(nothing.empty());
    CHECK(s.now() - asked < 100ms);
    const auto out = co_await receive_all(busy);
    CHECK(body_of(out) == "slow");
    CHECK(has(out, "\r\nConnection: close\r\n"));
  });
}

TEST_CASE("a_connection_beyond_the_limit_is_closed_and_counted") {
  world w;
  w.settings.max_connections = 1;
  w.run([&](shard& s) -> task<> {
    auto first = co_await w.connect(s);
    co_await first.write_all(get("/hello"));
    co_await receive_until(first, "hello");
    auto second = co_await w.connect(s);
    const auto nothing = co_await receive_all(second);
    CHECK(nothing.empty());
    co_await first.write_all(last("/hello"));
    const auto out = co_await receive_all(first);
    CHECK(body_of(out) == "hello");
  });
  CHECK(w.counters.connections == 1);
  CHECK(w.counters.refused_connections == 1);
}

TEST_CASE("a_log_line_cannot_be_forged") {
  world w;
  (void)talk(w, get("/hello?\"\\\xff") + "GET / HTTP/1.1\r\nHost: x\r\nA: \x1b[31m\r\n\r\n");
  REQUIRE(w.log.size() == 2);
  CHECK(w.log[0] ==
        "10.0.0.2 - - [01/Jan/1970:00:00:00 +0000] \"GET /hello?\\x22\\x5c\\xff HTTP/1.1\" 200 5");
  CHECK(w.log[1] == "10.0.0.2 - - [01/Jan/1970:00:00:00 +0000] \"-\" 400 16");
}

TEST_CASE("a_connection_can_be_taken_over_with_what_the_client_has_sent_already") {
  world w;
  w.site.get("/up", [](request&) -> task<response> {
    response out(101);
    out.field("Upgrade", "echo").upgrade([](weir::any_stream& peer, std::string early) -> task<> {
      std::array<std::byte, 64> buffer;
      co_await peer.write_all("[" + early + "]");
      for (;;) {
        auto n = co_await peer.read_some(buffer);
        if (n == 0) break;
        co_await peer.write_all(std::span<const std::byte>(buffer).first(n));
      }
    });
    co_return out;
  });
  w.run([&](shard& s) -> task<> {
    auto peer = co_await w.connect(s);
    co_await peer.write_all(get("/up", "Connection: Upgrade\r\nUpgrade: echo\r\n") + "early");
    const auto head = co_await receive_until(peer, "\r\n\r\n");
    CHECK(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
    CHECK(has(head, "\r\nConnection: Upgrade\r\n"));
    co_await peer.write_all("late");
    peer.shutdown_send();
    const auto out = co_await receive_all(peer);
    CHECK(out == "[early]late");
  });
}

TEST_CASE("equal_seeds_give_equal_traces") {
  std::vector<std::uint64_t> traces;
  for (int i = 0; i < 2; ++i) {
    world w;
    (void)talk(w, get("/hello") + last("/none"));
    traces.push_back(w.net.trace());
  }
  CHECK(traces[0] == traces[1]);
}

TEST_CASE("an_empty_configuration_gives_the_default_settings") {
  const auto made = settings_from(weir::config{}.http);
  const server_settings defaults;
  CHECK(made.max_head == defaults.max_head);
  CHECK(made.max_fields == defaults.max_fields);
  CHECK(made.max_body == defaults.max_body);
  CHECK(made.max_connections == defaults.max_connections);
  CHECK(made.head_timeout == defaults.head_timeout);
  CHECK(made.body_timeout == defaults.body_timeout);
  CHECK(made.idle_timeout == defaults.idle_timeout);
  CHECK(made.write_timeout == defaults.write_timeout);
  CHECK(made.drain == defaults.drain);
  weir::config endless;
  endless.http.idle_timeout_ms = 0;
  CHECK(settings_from(endless.http).idle_timeout == weir::no_limit);
}

TEST_CASE("events_are_framed_whatever_stands_in_their_data") {
  CHECK(event_text({.data = "one"}) == "data: one\n\n");
  CHECK(event_text({.data = "a\nb\r\nc\rid: 7"}) == "data: a\ndata: b\ndata: c\ndata: id: 7\n\n");
  CHECK(event_text({.data = "ends\n"}) == "data: ends\ndata: \n\n");
  CHECK(event_text({.data = "x", .name = "tick", .id = "4", .retry = 1500ms}) ==
        "event: tick\nid: 4\nretry: 1500\ndata: x\n\n");
  CHECK(event_text({.data = "", .id = "4"}) == "id: 4\n\n");
  CHECK_THROWS_AS(event_text({.data = ""}), std::invalid_argument);
  CHECK_THROWS_AS(event_text({.data = "x", .name = "a\nb"}), std::invalid_argument);
  CHECK_THROWS_AS(event_text({.data = "x", .id = "a\rdata: b"}), std::invalid_argument);
}

TEST_CASE("an_event_stream_goes_on_until_its_client_goes") {
  world w;
  int told = 0;
  bool ended = false;
  w.site.get("/ticks", [&](request&) -> task<response> {
    co_return event_stream([&](event_writer& to) -> task<> {
      struct leave {
        bool& to;
        ~leave() { to = true; }
      } leaves{ended};
      for (;; ++told) {
        const auto text = "tick " + std::to_string(told);
        const server_event next{.data = text};
        co_await to.send(next);
        co_await weir::sleep_for(1s);
        co_await to.keep_alive();
      }
    });
  });
  w.run([&](shard& s) -> task<> {
    auto peer = co_await w.connect(s);
    co_await peer.write_all("GET /ticks HTTP/1.1\r\nHost: x\r\n\r\n");
    auto got = co_await receive_until(peer, "data: tick 2\n\n");
    CHECK(got.find("Content-Type: text/event-stream\r\n") != std::string::npos);
    CHECK(got.find("data: tick 0\n\n") != std::string::npos);
    peer.close();
    co_await weir::sleep_for(5s);
    CHECK(ended);
  });
  CHECK(told >= 2);
  CHECK(told < 6);
}

TEST_CASE("bodies_that_are_refused_are_counted_by_their_reason") {
  world w;
  count_bodies(w);
  w.settings.max_body = 1000;
  w.settings.body_timeout = 5s;
  w.run([&](shard& s) -> task<> {
    for (const std::string& text :
         {post("Transfer-Encoding: chunked\r\n", "7d0\r\n" + std::string(2000, 'x')),  // 413
          post("Content-Length: 100\r\n", "slow"),                                     // 408
          post("Transfer-Encoding: chunked\r\n", "x\r\n"),                             // 400
          "POST /none HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" +
              std::string("x\r\n")}) {  // 400, dropped
      auto peer = co_await w.connect(s);
      co_await peer.write_all(text);
      (void)co_await receive_all(peer);
    }
  });
  CHECK(w.counters.refused_bodies == 3);
  CHECK(w.counters.slow_bodies == 1);
  CHECK(w.counters.refusals == 3);
  CHECK(w.counters.refused_requests == 0);
  CHECK(w.failures == 0);
}

TEST_CASE("a_client_that_does_not_read_is_counted") {
  world w;
  w.settings.write_timeout = 5s;
  w.site.get("/big",
             [](request&) -> task<response> { co_return text(std::string(20'000'000, 'x')); });
  w.run([&](shard& s) -> task<> {
    auto peer = co_await w.connect(s);
    co_await peer.write_all(get("/big"));
    co_await weir::sleep_for(10s);
  });
  CHECK(w.counters.slow_readers == 1);
}

TEST_CASE("an_interim_status_as_the_answer_is_the_handler_s_failure") {
  for (const int status : {100, 101, 103}) {
    world w;
    w.site.get("/", [status](request&) -> task<response> { co_return response(status); });
    const auto out = talk(w, get("/"));
    CHECK(out.starts_with("HTTP/1.1 500 "));
  }
}

TEST_CASE("a_connection_is_taken_over_only_where_its_client_asks_for_it_and_has_no_body") {
  const std::string asks = "Connection: Upgrade\r\nUpgrade: echo\r\n";
  const std::pair<std::string, const char*> cases[] = {
      {get("/up", asks), "101"},
      {get("/up"), "500"},
      {get("/up", "Upgrade: echo\r\n"), "500"},
      {get("/up", "Connection: Upgrade\r\n"), "500"},
      {"GET /up HTTP/1.0\r\nHost: x\r\n" + asks + "\r\n", "500"},
      {get("/up", asks + "Content-Length: 5\r\n") + "hello", "400"},
  };
  for (const auto& [text, status] : cases) {
    CAPTURE(text);
    world w;
    bool taken = false;
    w.site.get("/up", [&](request&) -> task<response> {
      response out;  // and says no status
      out.field("Upgrade", "echo").upgrade([&](weir::any_stream& peer, std::string) -> task<> {
        taken = true;
        co_await peer.write_all("taken");
      });
      co_return out;
    });
    const auto out = talk(w, get("/hello") + text);
    const auto second = out.substr(out.find("hello") + 5);
    CHECK(second.substr(9, 3) == status);
    CHECK(taken == (std::string_view(status) == "101"));
    CHECK(w.counters.failures == (std::string_view(status) == "500"));
    REQUIRE(w.log.size() == 2);
    const auto bytes = std::string_view(status) == "101" ? std::string("0")
                                                         : std::to_string(body_of(second).size());
    CHECK(w.log[1].ends_with(std::string(" ") + status + " " + bytes));
  }
}

TEST_CASE("a_connection_that_was_taken_over_and_failed_is_counted_and_reported") {
  for (const bool own : {false, true}) {
    world w;
    w.site.get("/up", [own](request&) -> task<response> {
      response out(101);
      out.field("Upgrade", "echo").upgrade([own](weir::any_stream& peer, std::string) -> task<> {
        if (own) throw std::runtime_error("no more");
        std::array<std::byte, 1> one;
        co_await peer.read_exactly(one);
      });
      co_return out;
    });
    w.run([&](shard& s) -> task<> {
      auto peer = co_await w.connect(s);
      co_await peer.write_all(get("/up", "Connection: Upgrade\r\nUpgrade: echo\r\n"));
      peer.shutdown_send();
      (void)co_await receive_all(peer);
    });
    CHECK(w.counters.failed_upgrades == 1);
    CHECK(w.failures == own);
    CHECK(w.log.size() == 1);
  }
}
