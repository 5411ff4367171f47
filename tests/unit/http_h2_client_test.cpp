// The HTTP/2 client in a simulated network under virtual time: with weir's own server, and against
// servers whose frames the test writes by hand.
#include <doctest/doctest.h>
#include <nghttp2/nghttp2.h>

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "h2_world.hpp"
#include "unit/pieces_of_bodies.hpp"

using namespace h2;
using weir::shard;
using weir::task;
using weir::tcp_stream;

namespace {

constexpr std::string_view preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

client_settings with_h2() {
  client_settings out;
  out.http2 = http2_use::always;
  return out;
}

task<std::string> fetch(client& web, std::string url) {
  auto got = co_await web.get(std::move(url));
  auto body = co_await got.body().read_all({.max = 1 << 22});
  co_return std::to_string(got.status()) + " " + body;
}
task<std::string> send(client& web, client_request& asked) {
  auto got = co_await web.send(asked);
  auto body = co_await got.body().read_all({.max = 1 << 22});
  co_return std::to_string(got.status()) + " " + body;
}
/// What it said, or how it failed.
task<std::string> outcome(client& web, std::string url) {
  std::string said;
  try {
    said = co_await fetch(web, std::move(url));
  } catch (const weir::io_error& failure) {
    said = failure.code().message();
  }
  co_return said;
}
std::string message(std::errc code) { return std::make_error_code(code).message(); }

/// With weir's server.
struct own {
  world w;
  client_counters counters;
  client_settings settings = with_h2();

  void run(std::function<task<>(client&)> what) {
    w.net.start(w.there, [this](shard& s) -> task<> {
      server by(s, w.site, w.settings);
      by.on_failure([](const std::exception_ptr&, const request&) {});
      auto at = s.listen({"10.0.0.1", 80});
      co_await by.run(at);
    });
    w.net.start(w.here, [this, what](shard& s) -> task<> {
      {
        client web(s, settings);
        co_await what(web);
        counters = web.counters();
      }
      w.there.shard().request_stop();
    });
    w.net.run();
  }
};

/// A server's side of a connection, by hand.
struct raw_peer {
  raw_peer(tcp_stream s, int n) : stream(std::move(s)), number(n) {}
  tcp_stream stream;
  int number;  // of the connection
  listener heard;
  bool ended = false;

  /// Until `done` says so or the client has ended; the preface is checked and left out.
  task<> listen(std::function<bool(const listener&)> done) {
    std::array<std::byte, 4096> buffer;
    while (!done(heard) && !ended) {
      auto got = co_await stream.read_some(buffer).timeout(20s).nothrow();
      ended = got.ec || got.n == 0;
      std::string_view text(reinterpret_cast<const char*>(buffer.data()), got.n);
      if (skipped_ < preface.size()) {
        const auto n = std::min(text.size(), preface.size() - skipped_);
        CHECK(text.substr(0, n) == preface.substr(skipped_, n));
        skipped_ += n;
        text.remove_prefix(n);
      }
      heard.hear(text);
    }
  }
  task<> wait_request(std::uint32_t id) {
    co_await listen([id](const listener& l) {
      for (const auto& f : l.frames)
        if (f.id == id && (f.flags & end_stream) != 0) return true;
      return false;
    });
  }
  task<> wait_end() {
    co_await listen([](const listener&) { return false; });
  }
  task<> say(std::string bytes) { (void)co_await stream.write_all(bytes).nothrow(); }

 private:
  std::size_t skipped_ = 0;
};

const std::string server_settings_frame = wire(settings_frame, 0, 0, "");
std::string answer(std::uint32_t id, std::string_view body) {
  return wire(headers_frame, end_headers, id, literal(":status", "200")) +
         wire(data_frame, end_stream, id, std::string(body));
}
std::string goaway(std::uint32_t last, std::uint32_t why = 0) {
  return wire(goaway_frame, 0, 0, number32(last) + number32(why));
}

using raw_script = std::function<task<>(raw_peer&)>;

struct raw {
  weir::sim::network net{{.seed = 1}};
  weir::sim::host& there = net.add_host("10.0.0.1/24");
  weir::sim::host& here = net.add_host("10.0.0.2/24");
  client_settings settings = with_h2();
  client_counters counters;

  raw() { net.link(there, here, {.delay = 1ms}); }
  void run(raw_script server, std::function<task<>(client&)> what) {
    net.start(there, [server](shard& s) -> task<> {
      auto listener = s.listen({"10.0.0.1", 80});
      weir::scope sessions(s);
      for (int n = 0;; ++n) {
        auto peer = co_await listener.accept();
        if (!peer) break;
        sessions.spawn(one_session(std::move(*peer), server, n));
      }
      co_await sessions.drain(1h);
    });
    net.start(here, [this, what](shard& s) -> task<> {
      {
        client web(s, settings);
        co_await what(web);
        counters = web.counters();
      }
      there.shard().request_stop();
    });
    net.run();
  }

 private:
  static task<> one_session(tcp_stream peer, raw_script server, int n) {
    raw_peer made(std::move(peer), n);
    co_await server(made);
  }
};

/// What a client says to these bytes after its first request, as talk::told() has it.
std::string client_told(const std::string& bytes) {
  raw w;
  std::string out, said;
  const auto server = [&](raw_peer& peer) -> task<> {
    co_await peer.say(server_settings_frame + wire(settings_frame, ack, 0, ""));
    co_await peer.wait_request(1);
    co_await peer.say(bytes);
    co_await peer.wait_end();
    if (peer.number != 0) co_return;
    for (const auto& f : peer.heard.frames)
      if (f.type == reset_frame)
        out += std::to_string(f.id) + " reset " + std::to_string(read32(f.payload)) + ". ";
    if (peer.heard.goodbye() != ~0u)
      out += "goodbye " + std::to_string(peer.heard.goodbye()) + ". ";
  };
  w.settings.head_timeout = 5s;
  w.run(server, [&](client& web) -> task<> { said = co_await outcome(web, "http://10.0.0.1/"); });
  return out + said + ". ";
}

}  // namespace

TEST_CASE("requests_share_one_connection_and_are_answered_in_their_own_time") {
  own o;
  o.run([&](client& web) -> task<> {
    auto first = co_await fetch(web, "http://10.0.0.1/hello/one");
    CHECK(first == "200 hello one");
    const auto begun = o.w.net.now();
    std::string slow, fast;
    const auto get_slow = [&]() -> task<> { slow = co_await fetch(web, "http://10.0.0.1/slow"); };
    const auto get_fast = [&]() -> task<> {
      fast = co_await fetch(web, "http://10.0.0.1/hello/two");
      CHECK(o.w.net.now() - begun < 500ms);
    };
    co_await weir::when_all(get_slow(), get_fast());
    CHECK(slow == "200 slow");
    CHECK(fast == "200 hello two");
  });
  CHECK(o.counters.connections == 1);
  CHECK(o.counters.requests == 3);
  CHECK(o.counters.reused == 2);
}

TEST_CASE("many_at_once_open_one_connection_and_wait_for_their_turn") {
  own o;
  int answered = 0;
  o.run([&](client& web) -> task<> {
    weir::scope tasks(o.w.here.shard());
    for (int i = 0; i < 250; ++i)
      tasks.spawn([&]() -> task<> {
        auto said = co_await fetch(web, "http://10.0.0.1/slow");
        answered += said == "200 slow";
      });
    co_await tasks.join();
  });
  CHECK(answered == 250);
  CHECK(o.counters.connections == 1);
  CHECK(o.w.most_running <= 100);
}

TEST_CASE("bodies_go_both_ways_at_any_size_and_trailers_too") {
  own o;
  std::string trailer;
  o.w.site.post("/trailers", [&](request& r) -> task<response> {
    auto body = co_await r.body().read_all();
    for (const auto& f : r.body().trailers()) trailer = std::string(f.name) + std::string(f.value);
    co_return text(body);
  });
  o.run([&](client& web) -> task<> {
    client_request text_body(method::post, "http://10.0.0.1/echo");
    text_body.body(std::string(300'000, 'x'));
    auto said = co_await send(web, text_body);
    CHECK(said == "200 300000");
    client_request pieces(method::post, "http://10.0.0.1/echo");
    pieces.body([](body_writer& to) -> task<> {
      for (int i = 0; i < 100; ++i) co_await to.write(std::string(1000, 'p'));
    });
    said = co_await send(web, pieces);
    CHECK(said == "200 100000");
    client_request with_trailer(method::post, "http://10.0.0.1/trailers");
    with_trailer.body([](body_writer& to) -> task<> {
      co_await to.write("abc");
      to.trailer("X-Sum", "3");
    });
    said = co_await send(web, with_trailer);
    CHECK(said == "200 abc");
    CHECK(trailer == "x-sum3");
    client_request asks_first(method::post, "http://10.0.0.1/echo");
    asks_first.body(std::string(5, 'x')).expect_continue();
    said = co_await send(web, asks_first);
    CHECK(said == "200 5");
    said = co_await fetch(web, "http://10.0.0.1/big");
    CHECK(said == "200 " + std::string(200'000, 'b'));
    auto streamed = co_await web.get("http://10.0.0.1/stream");
    auto body = co_await streamed.body().read_all();
    CHECK(body == "piece piece piece ");
    const auto trailers = streamed.body().trailers();
    REQUIRE(trailers.size() == 1);
    CHECK(trailers[0].value == "18");
    client_request head(method::head, "http://10.0.0.1/big");
    auto got = co_await web.send(head);
    CHECK(got.field("content-length") == "200000");
    body = co_await got.body().read_all();
    CHECK(body.empty());
  });
  CHECK(o.counters.connections == 1);
}

TEST_CASE("an_answer_that_breaks_off_is_no_answer_and_others_go_on") {
  own o;
  o.run([&](client& web) -> task<> {
    auto broken = co_await outcome(web, "http://10.0.0.1/broken");
    CHECK(broken == message(std::errc::connection_reset));
    auto next = co_await fetch(web, "http://10.0.0.1/hello/next");
    CHECK(next == "200 hello next");
  });
  CHECK(o.counters.connections == 1);
}

TEST_CASE("an_answer_that_nobody_reads_is_reset_and_holds_no_other") {
  own o;
  o.run([&](client& web) -> task<> {
    {
      auto dropped = co_await web.get("http://10.0.0.1/big");
      CHECK(dropped.status() == 200);
    }
    auto kept = co_await web.get("http://10.0.0.1/big");  // unread: its window closes, no other's
    auto next = co_await fetch(web, "http://10.0.0.1/big");
    CHECK(next.size() == 200'004);
    auto body = co_await kept.body().read_all();
    CHECK(body.size() == 200'000);
  });
  CHECK(o.counters.connections == 1);
}

TEST_CASE("a_request_has_its_time_and_the_connection_outlives_it") {
  own o;
  o.settings.head_timeout = 300ms;
  o.run([&](client& web) -> task<> {
    auto late = co_await outcome(web, "http://10.0.0.1/slow");
    CHECK(late == message(std::errc::timed_out));
    auto next = co_await fetch(web, "http://10.0.0.1/hello/next");
    CHECK(next == "200 hello next");
  });
  CHECK(o.counters.connections == 1);
}

// covers: 9113-2, 9113-3, 9113-7, 9113-93, 9113-95
TEST_CASE("a_client_begins_with_its_preface_and_sends_lower_case_fields") {
  raw w;
  const auto server = [&](raw_peer& peer) -> task<> {
    co_await peer.say(server_settings_frame);
    co_await peer.wait_request(1);  // checks the preface
    REQUIRE_FALSE(peer.heard.frames.empty());
    CHECK(peer.heard.frames[0].type == settings_frame);
    CHECK(peer.heard.frames[0].flags == 0);
    co_await peer.say(answer(1, "hi"));
    co_await peer.wait_end();
    std::string fields;
    for (const auto& [name, value] : peer.heard.fields) fields += name + "=" + value + " ";
    CHECK(fields ==
          ":method=GET :scheme=http :authority=10.0.0.1 :path=/x?y x-upper=1 te=trailers "
          "user-agent=weir ");
    std::size_t acks = 0;
    for (const auto& f : peer.heard.frames) {
      acks += f.type == settings_frame && f.flags == ack;
      CHECK(f.id < 1u << 31);
      CHECK((f.id == 0 || f.id % 2 == 1));
    }
    CHECK(acks == 1);
  };
  w.run(server, [](client& web) -> task<> {
    client_request asked(method::get, "http://10.0.0.1/x?y");
    asked.field("X-Upper", "1").field("Keep-Alive", "5").field("Upgrade", "h2c");
    asked.field("Proxy-Connection", "x").field("TE", "trailers");
    auto said = co_await send(web, asked);
    CHECK(said == "200 hi");
  });
}

// covers: 9113-28
TEST_CASE("a_client_opens_no_more_streams_than_the_server_takes") {
  raw w;
  const auto server = [](raw_peer& peer) -> task<> {
    co_await peer.say(wire(settings_frame, 0, 0, std::string("\0\3", 2) + number32(1)));
    for (const std::uint32_t id : {1u, 3u, 5u}) {
      co_await peer.wait_request(id);
      co_await weir::sleep_for(200ms);
      for (const auto& f : peer.heard.frames) CHECK(f.id <= id);
      co_await peer.say(answer(id, std::to_string(id)));
    }
    co_await peer.wait_end();
  };
  w.run(server, [](client& web) -> task<> {
    auto first = co_await fetch(web, "http://10.0.0.1/");
    CHECK(first == "200 1");
    std::string a, b;
    const auto get_a = [&]() -> task<> { a = co_await fetch(web, "http://10.0.0.1/"); };
    const auto get_b = [&]() -> task<> { b = co_await fetch(web, "http://10.0.0.1/"); };
    co_await weir::when_all(get_a(), get_b());
    CHECK(a == "200 3");
    CHECK(b == "200 5");
  });
  CHECK(w.counters.connections == 1);
}

// covers: 9113-65
TEST_CASE("after_a_goodbye_requests_go_to_another_connection_and_unprocessed_ones_again") {
  raw w;
  std::vector<std::string> log;
  const auto server = [&](raw_peer& peer) -> task<> {
    co_await peer.say(server_settings_frame);
    co_await peer.wait_request(1);
    if (peer.number == 0) {
      co_await peer.wait_request(3);
      co_await peer.say(goaway(1) + answer(1, "first"));  // 3 was not processed
      co_await peer.wait_end();
      for (const auto& f : peer.heard.frames) CHECK(f.id <= 3);
    } else {
      co_await peer.say(answer(1, "again"));
      co_await peer.wait_request(3);
      co_await peer.say(answer(3, "later"));
      co_await peer.wait_end();
    }
  };
  w.run(server, [](client& web) -> task<> {
    std::string a, b;
    const auto get_a = [&]() -> task<> { a = co_await fetch(web, "http://10.0.0.1/a"); };
    const auto post_b = [&]() -> task<> {
      client_request asked(method::post, "http://10.0.0.1/b");
      asked.body("text");
      b = co_await send(web, asked);
    };
    co_await weir::when_all(get_a(), post_b());
    CHECK(a == "200 first");
    CHECK(b == "200 again");
    auto c = co_await fetch(web, "http://10.0.0.1/c");
    CHECK(c == "200 later");
  });
  CHECK(w.counters.connections == 2);
  CHECK(w.counters.repeated == 1);
}

TEST_CASE("a_refused_request_is_sent_again_and_not_for_ever") {
  for (const bool always : {false, true}) {
    raw w;
    int asked = 0;
    const auto server = [&](raw_peer& peer) -> task<> {
      co_await peer.say(server_settings_frame);
      for (std::uint32_t id = 1; !peer.ended; id += 2) {
        co_await peer.wait_request(id);
        if (peer.ended) break;
        ++asked;
        if (always || id == 1)
          co_await peer.say(wire(reset_frame, 0, id, number32(NGHTTP2_REFUSED_STREAM)));
        else
          co_await peer.say(answer(id, "done"));
      }
    };
    w.run(server, [&](client& web) -> task<> {
      auto said = co_await outcome(web, "http://10.0.0.1/");
      CHECK(said == (always ? message(std::errc::connection_reset) : "200 done"));
    });
    CHECK(asked == (always ? 4 : 2));
    CHECK(w.counters.connections == 1);
  }
}

TEST_CASE("of_a_connection_that_ended_only_what_can_be_repeated_is_repeated") {
  for (const bool post : {false, true}) {
    raw w;
    const auto server = [&](raw_peer& peer) -> task<> {
      co_await peer.say(server_settings_frame);
      co_await peer.wait_request(1);
      co_await peer.say(answer(1, std::to_string(peer.number)));
      if (peer.number == 0) co_await peer.wait_request(3);  // and ends
      if (peer.number == 1) co_await peer.wait_end();
    };
    w.run(server, [&](client& web) -> task<> {
      auto said = co_await fetch(web, "http://10.0.0.1/");
      CHECK(said == "200 0");
      client_request asked(post ? method::post : method::get, "http://10.0.0.1/");
      if (post) asked.body("x");
      std::string second;
      try {
        second = co_await send(web, asked);
      } catch (const weir::io_error& failure) {
        second = "failed";
      }
      CHECK(second == (post ? "failed" : "200 1"));
    });
  }
}

// covers: 9113-35, 9113-54, 9113-59
TEST_CASE("a_server_that_pushes_is_told_goodbye") {
  const auto said = message(std::errc::protocol_error);
  CHECK(client_told(wire(push_frame, end_headers, 1, number32(2) + head_of("GET", "/"))) ==
        "goodbye 1. " + said + ". ");
  CHECK(client_told(wire(settings_frame, 0, 0, std::string("\0\2", 2) + number32(1))) ==
        "goodbye 1. " + said + ". ");
}

// covers: 9113-4, 9113-11, 9113-13, 9113-20, 9113-26, 9113-34, 9113-40
// covers: 9113-43, 9113-48, 9113-51, 9113-55
// covers: 9113-62, 9113-63, 9113-68, 9113-72, 9113-75
TEST_CASE("a_server_s_frames_that_must_not_be_end_the_connection") {
  const auto said = ". " + message(std::errc::protocol_error) + ". ";
  const auto head = literal(":status", "200");
  const std::pair<std::string, int> cases[] = {
      {wire(data_frame, 0, 0, "x"), 1},
      {wire(data_frame, 0, 5, "x"), 1},
      {wire(headers_frame, end_headers, 0, head), 1},
      {wire(headers_frame, end_headers, 2, head), 1},
      {wire(headers_frame, end_headers, 1, std::string("\xff\xff\xff\xff\xff\xff\xff")), 9},
      {wire(headers_frame, 0, 1, head) + wire(ping_frame, 0, 0, "12345678"), 1},
      {wire(headers_frame, 0, 1, head) + wire(0x20, 0, 0, ""), 1},
      {wire(reset_frame, 0, 0, number32(8)), 1},
      {wire(reset_frame, 0, 7, number32(8)), 1},
      {wire(settings_frame, 0, 1, ""), 1},
      {wire(settings_frame, 0, 0, "12345"), 6},
      {wire(settings_frame, 0, 0, std::string("\0\4", 2) + number32(1u << 31)), 3},
      {wire(ping_frame, 0, 1, "12345678"), 1},
      {wire(ping_frame, 0, 0, "1234567"), 6},
      {wire(continuation_frame, end_headers, 1, head), 1},
      {wire(window_frame, 0, 0, number32(0)), 1},
      {wire(window_frame, 0, 0, number32(0x7fffffff)), 3},
      {wire(ping_frame, 0, 0, std::string(16'385, 'x')), 6},
  };
  for (const auto& [bytes, why] : cases) {
    CAPTURE(bytes.substr(0, 30));
    CHECK(client_told(bytes) == "goodbye " + std::to_string(why) + said);
  }
}

// covers: 9113-90, 9113-92, 9113-93, 9113-94, 9113-95, 9113-97, 9113-99
TEST_CASE("a_malformed_answer_is_reset_and_nobody_takes_it_for_one") {
  const auto ok = literal(":status", "200");
  const std::string heads[] = {
      literal("server", "x"),
      literal(":status", ""),
      literal(":status", "2000"),
      literal(":status", "101"),
      ok + ok,
      ok + literal(":path", "/"),
      ok + literal("Upper", "case"),
      ok + literal("connection", "close"),
      ok + literal("transfer-encoding", "chunked"),
      ok + literal("x", "a\nb"),
      literal("a", "b") + ok,
  };
  for (const auto& block : heads) {
    CAPTURE(block);
    const auto told = client_told(wire(headers_frame, end_headers | end_stream, 1, block));
    CHECK(told.starts_with("1 reset 1. "));
    CHECK(told.find("200") == std::string::npos);
  }
  const auto short_body =
      client_told(wire(headers_frame, end_headers, 1, ok + literal("content-length", "3")) +
                  wire(data_frame, end_stream, 1, "four"));
  CHECK(short_body.starts_with("1 reset 1. "));
}

// covers: 9113-60, 9113-24, 9113-6
TEST_CASE("a_client_answers_pings_while_it_waits_and_passes_over_what_it_does_not_know") {
  raw w;
  const auto server = [](raw_peer& peer) -> task<> {
    co_await peer.say(server_settings_frame + wire(0x99, 0xff, 0, "what"));
    co_await peer.wait_request(1);
    co_await peer.say(wire(ping_frame, 0, 0, "question") +
                      wire(priority_frame, 0, 3, number32(0) + "\1"));
    co_await peer.listen([](const listener& l) { return l.count(ping_frame) != 0; });
    const auto* pong = peer.heard.last(ping_frame);
    CHECK(pong->payload == "question");
    CHECK(pong->flags == ack);
    co_await peer.say(wire(headers_frame, end_headers, 1, literal(":status", "103")) +
                      answer(1, "at last"));
    co_await peer.wait_end();
  };
  w.run(server, [](client& web) -> task<> {
    auto said = co_await fetch(web, "http://10.0.0.1/");
    CHECK(said == "200 at last");
  });
}

TEST_CASE("a_body_of_said_length_is_exactly_so_long_over_http_2_too") {
  for (const auto& pieces : weir::test::pieces_of_about_five) {
    CAPTURE(pieces.first);
    CAPTURE(pieces.second);
    own o;
    bool refused = false;
    std::string said;
    o.run([&](client& web) -> task<> {
      client_request asked(method::post, "http://10.0.0.1/echo");
      asked.body(pieces.writer(), 5);
      try {
        said = co_await send(web, asked);
      } catch (const std::logic_error&) {
        refused = true;
      }
      auto next = co_await fetch(web, "http://10.0.0.1/hello/next");
      CHECK(next == "200 hello next");
    });
    CHECK(refused != pieces.as_said());
    CHECK(said == (pieces.as_said() ? "200 5" : ""));
  }
}

TEST_CASE("of_a_piece_that_makes_a_body_longer_than_was_said_nothing_goes") {
  own o;
  bool refused = false;
  std::string said;
  o.run([&](client& web) -> task<> {
    client_request asked(method::post, "http://10.0.0.1/echo");
    asked.body(
        [&](body_writer& to) -> task<> {
          co_await to.write("xxx");
          try {
            co_await to.write("yyyyyy");
          } catch (const std::logic_error&) {
            refused = true;  // and what went is a whole body
          }
        },
        3);
    said = co_await send(web, asked);
  });
  CHECK(refused);
  CHECK(said == "200 3");
}

TEST_CASE("a_server_that_takes_a_byte_now_and_then_is_given_up") {
  raw w;
  w.settings.write_timeout = 10s;
  const auto server = [&](raw_peer& peer) -> task<> {
    co_await peer.say(server_settings_frame);
    co_await peer.listen([](const listener& l) { return l.count(data_frame) != 0; });
    for (int i = 0; i < 50 && !peer.ended; ++i) {
      co_await peer.say(wire(window_frame, 0, 1, number32(1)));
      co_await weir::sleep_for(5s);
    }
  };
  w.run(server, [&](client& web) -> task<> {
    client_request asked(method::post, "http://10.0.0.1/");
    asked.body(std::string(200'000, 'x'));
    const auto begun = w.net.now();
    std::error_code error;
    try {
      (void)co_await send(web, asked);
    } catch (const weir::io_error& failure) {
      error = failure.code();
    }
    CHECK(error == std::errc::timed_out);
    CHECK(w.net.now() - begun < 15s);
  });
}

TEST_CASE("an_idle_connection_says_goodbye_in_time") {
  raw w;
  w.settings.idle_timeout = 5s;
  weir::duration took{};
  const auto server = [&](raw_peer& peer) -> task<> {
    co_await peer.say(server_settings_frame);
    co_await peer.wait_request(1);
    co_await peer.say(answer(1, "x"));
    const auto begun = w.net.now();
    co_await peer.wait_end();
    took = w.net.now() - begun;
    CHECK(peer.heard.goodbye() == NGHTTP2_NO_ERROR);
  };
  w.run(server, [](client& web) -> task<> {
    auto said = co_await fetch(web, "http://10.0.0.1/");
    CHECK(said == "200 x");
    co_await weir::sleep_for(10s);
  });
  CHECK(took >= 4900ms);
  CHECK(took < 6s);
}

TEST_CASE("a_head_beyond_the_limit_and_endless_interim_answers_are_refused") {
  for (const bool interim : {false, true}) {
    raw w;
    w.settings.max_head = 2000;
    const auto server = [&](raw_peer& peer) -> task<> {
      co_await peer.say(server_settings_frame);
      co_await peer.wait_request(1);
      std::string bytes;
      for (int i = 0; i < 30 && interim; ++i)
        bytes += wire(headers_frame, end_headers, 1, literal(":status", "103"));
      if (!interim)
        bytes = wire(headers_frame, end_headers, 1,
                     literal(":status", "200") + literal("x", std::string(3000, 'x')));
      co_await peer.say(bytes + wire(data_frame, end_stream, 1, "late"));
      co_await peer.wait_end();
    };
    w.run(server, [](client& web) -> task<> {
      auto said = co_await outcome(web, "http://10.0.0.1/");
      CHECK(said == message(std::errc::protocol_error));
    });
  }
}
