// The HTTP client in a simulated network under virtual time, against weir's server and against
// servers that say whatever the test makes them say.
#include <doctest/doctest.h>

#include <array>
#include <functional>
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

/// What a raw server does with its n-th connection.
using script = std::function<task<>(tcp_stream&, int n)>;

struct world {
  weir::sim::network net{{.seed = 1}};
  weir::sim::host& there = net.add_host("10.0.0.1/24");
  weir::sim::host& here = net.add_host("10.0.0.2/24");
  client_settings settings;
  client::connector connect;
  router site;
  std::vector<std::string> seen;  // what the raw server was sent, by connection
  client_counters counters;

  world() { net.link(there, here, {.delay = 1ms}); }

  /// weir's server on port 80 and the client's script.
  void run(std::function<task<>(client&)> what) {
    net.start(there, [this](shard& s) -> task<> {
      server by(s, [this](request& r) { return site(r); });
      auto listener = s.listen({"10.0.0.1", 80});
      co_await by.run(listener);
    });
    start_client(std::move(what));
    net.run();
  }
  /// A raw server on port 80 and the client's script.
  void run(script raw, std::function<task<>(client&)> what) {
    net.start(there, [this, raw](shard& s) -> task<> {
      auto listener = s.listen({"10.0.0.1", 80});
      weir::scope sessions(s);
      for (int n = 0;; ++n) {
        auto peer = co_await listener.accept();
        if (!peer) break;
        seen.emplace_back();
        sessions.spawn(one_session(std::move(*peer), raw, n));
      }
      co_await sessions.drain(1h);
    });
    start_client(std::move(what));
    net.run();
  }
  /// Reads until there is an empty line, and notes it.
  task<> read_head(tcp_stream& peer, int n) {
    auto& text = seen[static_cast<std::size_t>(n)];
    const auto from = text.size();
    std::array<std::byte, 1> one;
    while (text.find("\r\n\r\n", from) == std::string::npos) {
      auto got = co_await peer.read_some(one);
      if (got == 0) co_return;
      seen[static_cast<std::size_t>(n)] += static_cast<char>(one[0]);
    }
  }

 private:
  static task<> one_session(tcp_stream peer, script raw, int n) { co_await raw(peer, n); }
  void start_client(std::function<task<>(client&)> what) {
    net.start(here, [this, what](shard& s) -> task<> {
      {
        client web(s, settings, connect);
        co_await what(web);
        counters = web.counters();
      }
      there.shard().request_stop();
    });
  }
};

/// Answers every head with these bytes, and ends.
script says(world& w, std::string answer) {
  return [&w, answer](tcp_stream& peer, int n) -> task<> {
    co_await w.read_head(peer, n);
    co_await peer.write_all(answer);
  };
}

task<std::string> fetch(client& web, std::string url) {
  auto got = co_await web.get(std::move(url));
  auto body = co_await got.body().read_all();
  co_return std::to_string(got.status()) + " " + body;
}

/// The same, or what it threw.
task<std::string> outcome(client& web, std::string url) {
  std::string said;
  try {
    said = co_await fetch(web, std::move(url));
  } catch (const weir::io_error& failure) {
    said = failure.code().message();
  }
  co_return said;
}

const std::string base = "http://10.0.0.1";
const auto protocol_error = std::make_error_code(std::errc::protocol_error).message();
const auto end_of_stream = make_error_code(weir::error::end_of_stream).message();
const auto timed_out = weir::timeout_error().message();

}  // namespace

TEST_CASE("requests_in_a_row_use_one_connection") {
  world w;
  w.site.get("/{n}",
             [](request& r) -> task<response> { co_return text(std::string(r.path("n"))); });
  w.run([&](client& web) -> task<> {
    for (int i = 0; i < 5; ++i) {
      auto said = co_await fetch(web, base + "/" + std::to_string(i));
      CHECK(said == "200 " + std::to_string(i));
    }
  });
  CHECK(w.counters.connections == 1);
  CHECK(w.counters.reused == 4);
}

TEST_CASE("a_body_that_is_not_read_costs_its_connection") {
  world w;
  w.site.get("/", [](request&) -> task<response> { co_return text(std::string(100'000, 'x')); });
  w.run([&](client& web) -> task<> {
    {
      auto unread = co_await web.get(base + "/");
      CHECK(unread.status() == 200);
    }
    auto said = co_await fetch(web, base + "/");
    CHECK(said.size() == 100'004);
  });
  CHECK(w.counters.connections == 2);
}

TEST_CASE("bodies_go_out_whole_and_piece_by_piece") {
  world w;
  w.site.post("/", [](request& r) -> task<response> {
    auto body = co_await r.body().read_all();
    std::string said(r.field("content-length"));
    said += "|" + std::string(r.field("transfer-encoding")) + "|" + body;
    for (auto& t : r.body().trailers()) said += "|" + std::string(t.value);
    co_return text(said);
  });
  w.run([&](client& web) -> task<> {
    client_request whole(method::post, base);
    whole.body(std::string("hello"));
    auto one = co_await web.send(whole);
    auto said = co_await one.body().read_all();
    CHECK(said == "5||hello");

    client_request pieces(method::post, base);
    pieces.body([](body_writer& to) -> task<> {
      co_await to.write("hel");
      co_await to.write("lo");
      to.trailer("Sum", "5");
    });
    auto two = co_await web.send(pieces);
    said = co_await two.body().read_all();
    CHECK(said == "|chunked|hello|5");

    client_request known(method::post, base);
    known.body([](body_writer& to) -> task<> { co_await to.write("hello"); }, 5);
    known.expect_continue();
    auto three = co_await web.send(known);
    said = co_await three.body().read_all();
    CHECK(said == "5||hello");
  });
}

TEST_CASE("an_early_answer_is_heard_while_the_body_is_still_being_sent") {
  world w;
  w.run(
      [&](tcp_stream& peer, int n) -> task<> {
        co_await w.read_head(peer, n);
        co_await peer.write_all("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
        co_await weir::sleep_for(1min);  // and reads nothing
      },
      [&](client& web) -> task<> {
        client_request large(method::post, base);
        large.body(std::string(50'000'000, 'x'));
        auto got = co_await web.send(large);
        CHECK(got.status() == 413);
        auto body = co_await got.body().read_all();
        CHECK(body == "no");
      });
}

TEST_CASE("an_upload_may_take_longer_than_an_answer") {
  world w;
  w.site.post("/", [](request& r) -> task<response> {
    std::size_t total = 0;
    for (;;) {
      auto piece = co_await r.body().read();
      if (piece.empty()) break;
      total += piece.size();
    }
    co_return text(std::to_string(total));
  });
  w.settings.head_timeout = 5s;
  w.settings.write_timeout = 5s;
  w.run([&](client& web) -> task<> {
    client_request slow(method::post, base);
    slow.body([](body_writer& to) -> task<> {
      for (int i = 0; i < 20; ++i) {
        co_await to.write(std::string(20'000, 'x'));
        co_await weir::sleep_for(1s);
      }
    });
    auto got = co_await web.send(slow);
    auto said = co_await got.body().read_all();
    CHECK(said == "400000");
  });
}

TEST_CASE("redirects_are_followed_as_browsers_do") {
  world w;
  const auto to = [](int status, std::string where) {
    return [status, where](request&) -> task<response> { co_return redirect(status, where); };
  };
  w.site.get("/a", to(301, "b/c?d#e")).get("/b/c", to(302, "../f")).post("/p", to(303, "/f"));
  w.site.post("/q", to(307, "/r")).get("/loop", to(302, "/loop"));
  w.site.get("/f", [](request& r) -> task<response> {
    co_return text(std::string(r.method_name()) + std::string(r.field("authorization")));
  });
  w.site.post("/r", [](request& r) -> task<response> {
    auto body = co_await r.body().read_all();
    co_return text("again " + body);
  });
  w.settings.max_redirects = 5;
  w.run([&](client& web) -> task<> {
    auto got = co_await web.get(base + "/a");
    CHECK(got.from().to_string() == base + "/f");
    auto said = co_await got.body().read_all();
    CHECK(said == "GET");
    client_request seen(method::post, base + "/p");
    seen.body(std::string("x")).field("Authorization", "me");
    auto other = co_await web.send(seen);
    said = co_await other.body().read_all();
    CHECK(said == "GETme");
    client_request kept(method::post, base + "/q");
    kept.body(std::string("x"));
    auto again = co_await web.send(kept);
    said = co_await again.body().read_all();
    CHECK(said == "again x");
    auto round = co_await web.get(base + "/loop");
    CHECK(round.status() == 302);
  });
  CHECK(w.counters.redirects == 2 + 1 + 1 + 5);
  CHECK(w.counters.connections == 1);
}

TEST_CASE("what_names_a_user_does_not_go_to_another_origin") {
  world w;
  std::string there, elsewhere;
  w.net.start(w.there, [&](shard& s) -> task<> {
    auto listener = s.listen({"10.0.0.1", 81});
    auto peer = co_await listener.accept();
    std::array<std::byte, 1024> buffer;
    auto n = co_await peer->read_some(buffer);
    elsewhere.assign(reinterpret_cast<const char*>(buffer.data()), n);
    co_await peer->write_all("HTTP/1.1 204 No Content\r\n\r\n");
  });
  w.run(
      says(w, "HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1:81/x\r\nContent-Length: 0\r\n\r\n"),
      [&](client& web) -> task<> {
        client_request asked(method::get, base + "/");
        asked.field("Authorization", "me").field("Cookie", "a=b").field("X-Mine", "c");
        auto got = co_await web.send(asked);
        CHECK(got.status() == 204);
      });
  CHECK(w.seen[0].find("Authorization: me\r\nCookie: a=b\r\nX-Mine: c\r\n") != std::string::npos);
  CHECK(elsewhere.starts_with("GET /x HTTP/1.1\r\nHost: 10.0.0.1:81\r\nX-Mine: c\r\n"));
  CHECK(elsewhere.find("me") == std::string::npos);
}

TEST_CASE("a_kept_connection_that_ended_is_replaced_where_that_is_safe") {
  const std::string good = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  for (bool safe : {true, false}) {
    world w;
    w.run(
        [&](tcp_stream& peer, int n) -> task<> {
          co_await w.read_head(peer, n);
          co_await peer.write_all(good);
          if (n == 0) {  // the next request is read, and gets no answer
            co_await w.read_head(peer, n);
            co_return;
          }
          co_await weir::sleep_for(1s);
        },
        [&](client& web) -> task<> {
          auto said = co_await fetch(web, base + "/1");
          CHECK(said == "200 ok");
          client_request again(safe ? method::put : method::post, base + "/2");
          again.body(std::string("x"));
          try {
            auto got = co_await web.send(again);
            CHECK(safe);
            CHECK(got.status() == 200);
          } catch (const weir::io_error&) {
            CHECK_FALSE(safe);
          }
        });
    CHECK(w.counters.repeated == (safe ? 1 : 0));
  }
}

TEST_CASE("a_kept_connection_that_the_server_closed_is_not_used") {
  world w;
  w.run(says(w, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), [&](client& web) -> task<> {
    for (int i = 0; i < 3; ++i) {
      client_request one(method::post, base);
      auto got = co_await web.send(one);
      CHECK(got.status() == 200);
      (void)co_await got.body().read_all();
      co_await weir::sleep_for(1s);
    }
  });
  CHECK(w.counters.connections == 3);
  CHECK(w.counters.repeated == 0);
}

TEST_CASE("no_more_connections_to_an_origin_than_allowed_and_the_others_wait") {
  world w;
  int now = 0, most = 0;
  w.site.get("/", [&](request&) -> task<response> {
    most = std::max(most, ++now);
    co_await weir::sleep_for(1s);
    --now;
    co_return text("ok");
  });
  w.settings.max_connections_per_origin = 3;
  w.run([&](client& web) -> task<> {
    std::vector<task<std::string>> all;
    for (int i = 0; i < 10; ++i) all.push_back(fetch(web, base));
    auto said = co_await weir::when_all(std::move(all));
    for (auto& one : said) CHECK(one == "200 ok");
  });
  CHECK(most == 3);
  CHECK(w.counters.connections == 3);
}

TEST_CASE("an_answer_ends_where_its_framing_says") {
  const std::pair<const char*, std::string> cases[] = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200 ok"},
      {"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", "200 ok"},
      {"HTTP/1.1 200 OK\r\n\r\nuntil the end", "200 until the end"},
      {"HTTP/1.0 200 OK\r\n\r\nuntil the end", "200 until the end"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "200 ok"},
      {"HTTP/1.1 204 No Content\r\n\r\n", "204 "},
      {"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "304 "},
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\nok",
       "200 ok"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", end_of_stream},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", end_of_stream},
      {"HTTP/1.1 200 OK\r\nContent-", end_of_stream},
      {"", end_of_stream},
      {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: "
       "chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
       protocol_error},
      {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", protocol_error},
      {"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", protocol_error},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", protocol_error},
      {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", protocol_error},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", protocol_error},
      {"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", protocol_error},
      {"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", protocol_error},
      {"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", protocol_error},
      {"HTTP/2.0 200 OK\r\n\r\n", protocol_error},
      {"HTTP/1.1 20 OK\r\n\r\n", protocol_error},
      {"HTTP/1.1 2000 OK\r\n\r\n", protocol_error},
      {"SSH-2.0-x\r\n", protocol_error},
  };
  for (auto& [answer, expected] : cases) {
    CAPTURE(std::string(answer));
    world w;
    std::string said;
    w.run(says(w, answer), [&](client& web) -> task<> { said = co_await outcome(web, base); });
    CHECK(said == expected);
  }
}

TEST_CASE("heads_without_end_and_interim_answers_without_end_are_refused") {
  for (std::string piece : {"A: b\r\n", "HTTP/1.1 100 Continue\r\n\r\n"}) {
    world w;
    w.settings.max_head = 1000;
    std::string said;
    w.run(
        [&](tcp_stream& peer, int n) -> task<> {
          co_await w.read_head(peer, n);
          std::string all = piece[0] == 'A' ? "HTTP/1.1 200 OK\r\n" : "";
          for (int i = 0; i < 1000; ++i) all += piece;
          (void)co_await peer.write_all(all).nothrow();
        },
        [&](client& web) -> task<> { said = co_await outcome(web, base); });
    CHECK(said == protocol_error);
  }
}

TEST_CASE("bytes_after_an_answer_are_no_answer_to_the_next_request") {
  world w;
  w.run(
      [&](tcp_stream& peer, int n) -> task<> {
        co_await w.read_head(peer, n);
        co_await peer.write_all(n == 0 ? "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1."
                                         "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nXX"
                                       : "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n2.");
        co_await weir::sleep_for(1min);
      },
      [&](client& web) -> task<> {
        auto one = co_await fetch(web, base);
        CHECK(one == "200 1.");
        auto two = co_await fetch(web, base);
        CHECK(two == "200 2.");
      });
}

TEST_CASE("each_phase_has_its_timeout") {
  enum { connecting, writing, head, body };
  for (auto phase : {connecting, writing, head, body}) {
    CAPTURE(static_cast<int>(phase));
    world w;
    w.settings.connect_timeout = 3s;
    w.settings.write_timeout = 5s;
    w.settings.head_timeout = phase == writing ? 1h : 7s;
    w.settings.body_timeout = 9s;
    if (phase == connecting) w.settings.proxy = weir::endpoint{"10.0.0.77", 80};
    std::string said;
    weir::duration took{};
    w.run(
        [&](tcp_stream& peer, int n) -> task<> {
          co_await w.read_head(peer, n);
          if (phase == body)
            co_await peer.write_all("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx");
          co_await weir::sleep_for(1min);
        },
        [&](client& web) -> task<> {
          const auto begun = w.net.now();
          try {
            client_request asked(method::post, base);
            if (phase == writing) asked.body(std::string(50'000'000, 'x'));
            auto got = co_await web.send(asked);
            (void)co_await got.body().read_all();
          } catch (const weir::io_error& failure) {
            said = failure.code().message();
          }
          took = w.net.now() - begun;
        });
    if (phase == connecting) continue;  // nobody answers for that address: an error of its own
    CHECK(said == timed_out);
    const weir::duration least = phase == writing ? 5s : phase == head ? 7s : 9s;
    CHECK(took >= least);
    CHECK(took < least + 1s);
  }
}

TEST_CASE("a_proxy_is_given_the_whole_url") {
  world w;
  w.settings.proxy = weir::endpoint{"10.0.0.1", 80};
  w.run(says(w, "HTTP/1.1 204 No Content\r\n\r\n"), [&](client& web) -> task<> {
    auto said = co_await fetch(web, "http://example.org/a?b");
    CHECK(said == "204 ");
  });
  CHECK(w.seen[0].starts_with("GET http://example.org/a?b HTTP/1.1\r\nHost: example.org\r\n"));
}

TEST_CASE("an_answer_to_head_has_no_body_whatever_it_says") {
  world w;
  w.site.get("/", [](request&) -> task<response> { co_return text("hello"); });
  w.run([&](client& web) -> task<> {
    for (int i = 0; i < 2; ++i) {
      client_request asked(method::head, base);
      auto got = co_await web.send(asked);
      CHECK(got.field("Content-Length") == "5");  // and nobody has to read the body
    }
  });
  CHECK(w.counters.connections == 1);
}

TEST_CASE("urls_are_taken_apart_and_references_resolved") {
  const auto u = url::parse("HTTP://Example.ORG:8080/a/b?c#d");
  REQUIRE(u);
  CHECK(u->host == "example.org");
  CHECK(u->port == 8080);
  CHECK(u->target == "/a/b?c");
  CHECK(u->to_string() == "http://example.org:8080/a/b?c");
  CHECK(url::parse("http://[::1]:81")->host == "::1");
  CHECK(url::parse("http://[::1]:81")->to_string() == "http://[::1]:81/");
  CHECK(url::parse("https://a?b")->target == "/?b");
  for (auto* bad :
       {"", "a", "/a", "ftp://a/", "http://", "http:///", "http://u@a/", "http://a b/",
        "http://a/b c", "http://a/\r\nX: y", "http://a:0/", "http://a:99999/", "http://a/\xff"})
    CHECK_FALSE(url::parse(bad));
  const auto at = url::parse("http://a/b/c/d?q");  // RFC 3986 5.4
  for (auto [reference, expected] :
       {std::pair("g", "http://a/b/c/g"), std::pair("./g", "http://a/b/c/g"),
        std::pair("g/", "http://a/b/c/g/"), std::pair("/g", "http://a/g"),
        std::pair("//g", "http://g/"), std::pair("?y", "http://a/b/c/d?y"),
        std::pair("g?y#s", "http://a/b/c/g?y"), std::pair("", "http://a/b/c/d?q"),
        std::pair(".", "http://a/b/c/"), std::pair("..", "http://a/b/"),
        std::pair("../../g", "http://a/g"), std::pair("../../../g", "http://a/g"),
        std::pair("https://h/x", "https://h/x")}) {
    CAPTURE(std::string(reference));
    const auto got = at->resolve(reference);
    REQUIRE(got);
    CHECK(got->to_string() == expected);
  }
  CHECK_FALSE(at->resolve("mailto:x"));
  CHECK_FALSE(at->resolve("g h"));
}

TEST_CASE("a_request_s_body_of_said_length_is_exactly_so_long") {
  for (const auto& pieces : weir::test::pieces_of_about_five) {
    CAPTURE(pieces.first);
    CAPTURE(pieces.second);
    world w;
    w.site.post("/", [](request& r) -> task<response> {
      auto body = co_await r.body().read_all();
      co_return text(body);
    });
    bool refused = false;
    w.run([&](client& web) -> task<> {
      client_request asked(method::post, base);
      asked.body(pieces.writer(), 5);
      try {
        auto got = co_await web.send(asked);
        auto body = co_await got.body().read_all();
        CHECK(body == "xxxxx");
      } catch (const std::logic_error&) {
        refused = true;
      }
      auto next = co_await web.get(base);
      CHECK(next.status() == 405);
    });
    CHECK(refused != pieces.as_said());
  }
}

TEST_CASE("a_switch_to_another_protocol_that_nobody_asked_for_is_no_answer") {
  world w;
  w.run(says(w, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
        [&](client& web) -> task<> {
          for (int i = 0; i < 2; ++i) {
            auto said = co_await outcome(web, base);
            CHECK(said == protocol_error);
          }
        });
  CHECK(w.counters.connections == 2);
  CHECK(w.counters.reused == 0);
}

TEST_CASE("a_request_without_a_body_asks_nobody_to_go_on") {
  world w;
  w.run(says(w, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), [&](client& web) -> task<> {
    client_request asked(method::get, base);
    asked.expect_continue();
    auto got = co_await web.send(asked);
    CHECK(got.status() == 200);
  });
  CHECK(w.seen.at(0).find("Expect") == std::string::npos);
}

TEST_CASE("the_oldest_idle_connection_makes_way_and_an_expired_one_is_closed") {
  world w;
  w.settings.max_idle_connections = 4;
  w.settings.idle_timeout = 10s;
  std::vector<weir::instant> ended(6);
  w.connect = [](shard& s, const url&) -> task<weir::any_stream> {
    weir::any_stream out = co_await s.connect({"10.0.0.1", 80});
    co_return out;
  };
  w.run(
      [&](tcp_stream& peer, int n) -> task<> {
        std::array<std::byte, 1> one;
        for (;;) {
          co_await w.read_head(peer, n);
          if (!w.seen[static_cast<std::size_t>(n)].ends_with("\r\n\r\n")) break;
          w.seen[static_cast<std::size_t>(n)] += "|";
          co_await peer.write_all("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
        (void)co_await peer.read_some(one).nothrow();
        ended.at(static_cast<std::size_t>(n)) = w.net.now();
      },
      [&](client& web) -> task<> {
        const auto begun = w.net.now();
        // Six origins by six names; the connector leads all of them to one host.
        for (int i = 0; i < 6; ++i) {
          auto said = co_await fetch(web, "http://10.0.0.1:" + std::to_string(8000 + i));
          CHECK(said == "200 ");
          co_await weir::sleep_for(1s);
        }
        for (int i = 0; i < 2; ++i) CHECK(ended[static_cast<std::size_t>(i)] != weir::instant());
        CHECK(ended[2] == weir::instant());
        auto said = co_await fetch(web, "http://10.0.0.1:8005");  // a kept one
        CHECK(said == "200 ");
        co_await weir::sleep_for(20s);
        for (const auto& at : ended) {
          CHECK(at != weir::instant());
          CHECK(at - begun < 17s);
        }
      });
  CHECK(w.counters.reused == 1);
}

TEST_CASE("an_answer_that_is_none_is_the_error_also_while_the_body_is_still_being_sent") {
  world w;
  w.run(
      [&](tcp_stream& peer, int n) -> task<> {
        co_await w.read_head(peer, n);
        co_await peer.write_all("nonsense\r\n\r\n");
        co_await weir::sleep_for(1min);  // and reads nothing
      },
      [&](client& web) -> task<> {
        client_request large(method::post, base);
        large.body(std::string(50'000'000, 'x'));
        std::error_code error;
        try {
          (void)co_await web.send(large);
        } catch (const weir::io_error& failure) {
          error = failure.code();
        }
        CHECK(error == std::errc::protocol_error);
      });
}

TEST_CASE("a_program_s_keys_set_its_client") {
  client_settings made;
  made.max_connections_per_origin = 64;
  weir::config_parser parser("test", "A test.");
  add_client_keys(parser, made);
  const auto help = parser.help();
  CHECK(help.find("--client.connect_timeout_ms N") != std::string::npos);
  CHECK(help.find("wait [64]") != std::string::npos);
  (void)parser.parse({"--client.connect_timeout_ms", "250", "--client.body_timeout_ms", "0",
                      "--client.max_idle_connections", "7", "--client.proxy", "10.0.0.9:3128"},
                     {"WEIR_CLIENT_MAX_REDIRECTS=3"});
  CHECK(made.connect_timeout == 250ms);
  CHECK(made.body_timeout == weir::no_limit);
  CHECK(made.max_idle_connections == 7);
  CHECK(made.max_redirects == 3);
  CHECK(made.proxy == weir::endpoint("10.0.0.9", 3128));
  CHECK(made.head_timeout == client_settings{}.head_timeout);
  CHECK(made.max_connections_per_origin == 64);
  for (const auto* wrong : {"--client.max_connections_per_origin=0", "--client.max_redirects=-1",
                            "--client.head_timeout_ms=1s", "--client.proxy=nobody"}) {
    CAPTURE(wrong);
    CHECK_THROWS_AS((void)parser.parse({wrong}, {}), weir::config_error);
  }
}

TEST_CASE("a_client_s_keys_take_what_lies_within_their_bounds_and_nothing_else") {
  struct bounds {
    std::string key;
    std::uint64_t least, most;
    std::uint64_t (*of)(const client_settings&);
  };
  const bounds all[] = {
      {"max_redirects", 0, 100, [](auto& s) -> std::uint64_t { return s.max_redirects; }},
      {"max_head", 256, 1 << 20, [](auto& s) -> std::uint64_t { return s.max_head; }},
      {"max_connections_per_origin", 1, 100'000,
       [](auto& s) -> std::uint64_t { return s.max_connections_per_origin; }},
      {"max_idle_connections", 0, 100'000,
       [](auto& s) -> std::uint64_t { return s.max_idle_connections; }},
      {"most_expansion", 1, 1'000'000, [](auto& s) -> std::uint64_t { return s.most_expansion; }},
  };
  for (const auto& [key, least, most, of] : all) {
    CAPTURE(key);
    client_settings made;
    weir::config_parser parser("test", "A test.");
    add_client_keys(parser, made);
    const auto given = [&](std::uint64_t value) {
      return "--client." + key + "=" + std::to_string(value);
    };
    for (const auto value : {least, most}) {
      (void)parser.parse({given(value)}, {});
      CHECK(of(made) == value);
    }
    CHECK_THROWS_AS((void)parser.parse({given(most + 1)}, {}), weir::config_error);
    if (least != 0) CHECK_THROWS_AS((void)parser.parse({given(least - 1)}, {}), weir::config_error);
  }
}

TEST_CASE("a_client_that_keeps_no_connection_opens_one_for_each_request") {
  world w;
  w.settings.max_idle_connections = 0;
  w.site.get("/", [](request&) -> task<response> { co_return text("hello"); });
  w.run([](client& web) -> task<> {
    for (int i = 0; i < 3; ++i) {
      auto said = co_await fetch(web, base);
      CHECK(said == "200 hello");
    }
  });
  CHECK(w.counters.connections == 3);
}
