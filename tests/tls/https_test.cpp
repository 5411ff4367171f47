// HTTP behind TLS in the simulated network: server and client of weir::http with each other.
#include "weir/http.hpp"

#include "tls/world.hpp"

using namespace tls_test;
namespace http = weir::http;

namespace {

task<http::response> hello(http::request& asked) {
  co_return http::text("hello " + std::string(asked.path("name")));
}

struct https_world : world {
  https_world() {
    use(trusted.issue({.name = "10.0.0.1"}));
    site.get("/hello/{name}", hello);
  }
  using script = std::function<task<>(http::client&)>;
  /// HTTPS on port 443 and HTTP on port 80 until the client's script is over.
  void run(script what) {
    net.start(server, [this](shard& s) { return serve(s); });
    net.start(client, [this, what](shard& s) -> task<> {
      {
        tls::client_context trust(trusting);
        http::client web(s, trust, settings);
        co_await what(web);
        client_counters = web.counters();
        handshakes = trust.counters();
      }
      server.shard().request_stop();
    });
    net.run();
  }

  http::router site;
  http::client_settings settings;
  http::server_counters counters;
  http::client_counters client_counters;
  tls::context_counters handshakes;

 private:
  task<> serve(shard& s) {
    tls::server_context ours(serving);
    http::server by(s, site);
    auto plain = s.listen({server.address(), 80});
    auto secured = s.listen({server.address(), 443});
    co_await weir::when_all(by.run(plain), by.run(secured, ours));
    counters = by.counters();
  }
};

task<std::string> get(http::client& web, std::string url) {
  auto got = co_await web.get(std::move(url));
  auto body = co_await got.body().read_all();
  co_return std::to_string(got.status()) + " " + body;
}

/// The way through a proxy, and nothing else.
task<> proxy(weir::tcp_listener& listener, weir::endpoint to, std::string& asked) {
  auto peer = co_await listener.accept();
  std::array<std::byte, 1> one;
  while (!asked.ends_with("\r\n\r\n")) {
    co_await peer->read_exactly(one);
    asked += static_cast<char>(one[0]);
  }
  auto there = co_await weir::connect(to);
  co_await peer->write_all("HTTP/1.1 200 Here\r\n\r\n");
  auto copy = [](any_stream& from, any_stream& into) -> task<> {
    for (;;) {
      auto some = co_await from.receive();
      if (!some) break;
      co_await into.write_all(some.bytes());
    }
    std::error_code ignored;
    into.shutdown_send(ignored);
  };
  co_await weir::when_all(copy(*peer, there), copy(there, *peer));
}

}  // namespace

TEST_CASE("requests_over_tls_share_a_kept_connection_and_its_handshake") {
  https_world w;
  w.run([](http::client& web) -> task<> {
    auto first = co_await get(web, "https://10.0.0.1/hello/a");
    CHECK(first == "200 hello a");
    auto second = co_await get(web, "https://10.0.0.1/hello/b");
    CHECK(second == "200 hello b");
    auto third = co_await get(web, "http://10.0.0.1/hello/c");  // another origin
    CHECK(third == "200 hello c");
  });
  CHECK(w.handshakes.handshakes == 1);
  CHECK(w.client_counters.connections == 2);
  CHECK(w.client_counters.reused == 1);
  CHECK(w.counters.failed_handshakes == 0);
}

TEST_CASE("a_redirect_leads_from_http_to_https") {
  https_world w;
  w.site.get("/", [](http::request&) -> task<http::response> {
    co_return http::redirect(301, "https://10.0.0.1/hello/you");
  });
  w.run([](http::client& web) -> task<> {
    auto got = co_await get(web, "http://10.0.0.1/");
    CHECK(got == "200 hello you");
  });
}

TEST_CASE("a_client_asks_nothing_of_a_server_that_it_does_not_trust") {
  https_world w;
  w.use(w.trusted.issue({.name = "elsewhere.test"}));
  w.run([](http::client& web) -> task<> {
    std::string words;
    try {
      (void)co_await get(web, "https://10.0.0.1/hello/a");
    } catch (const tls::tls_error& e) {
      words = e.details();
    }
    CHECK(words == "name mismatch: asked for 10.0.0.1, the certificate is for elsewhere.test");
  });
  CHECK(w.counters.failed_handshakes == 1);
  CHECK(w.counters.requests == 0);
}

TEST_CASE("plain_http_to_the_https_port_is_a_failed_handshake_and_others_are_served") {
  https_world w;
  w.run([](http::client& web) -> task<> {
    std::string failure;
    try {
      (void)co_await get(web, "http://10.0.0.1:443/hello/a");
    } catch (const weir::io_error& e) {
      failure = e.code().message();
    }
    CHECK_FALSE(failure.empty());
    auto got = co_await get(web, "https://10.0.0.1/hello/a");
    CHECK(got == "200 hello a");
  });
  CHECK(w.counters.failed_handshakes == 1);
}

TEST_CASE("a_kept_connection_over_tls_ends_with_a_goodbye_when_the_server_stops") {
  https_world w;
  w.net.start(w.server, [&](shard& s) -> task<> {
    tls::server_context ours(w.serving);
    http::server by(s, w.site);
    auto listener = s.listen(w.where());
    co_await by.run(listener, ours);
  });
  w.net.start(w.client, [&](shard& s) -> task<> {
    tls::client_context trust(w.trusting);
    auto plain = co_await s.connect(w.where());
    auto peer = co_await tls::connect(std::move(plain), trust, {.name = "10.0.0.1", .alpn = {}});
    co_await peer.write_all("GET /hello/a HTTP/1.1\r\nHost: x\r\n\r\n");
    std::array<std::byte, 4096> buffer;
    (void)co_await peer.read_some(buffer);
    w.server.shard().request_stop();
    auto end = co_await peer.read_some(buffer).nothrow();
    CHECK_FALSE(end.ec);  // error::truncated otherwise
    CHECK(end.n == 0);
  });
  w.net.run();
}

TEST_CASE("https_goes_through_a_proxy_that_sees_no_more_than_the_host") {
  https_world w;
  auto& between = w.net.add_host("10.0.0.3/24");
  w.net.link(w.client, between, {.delay = 1ms});
  w.net.link(w.server, between, {.delay = 1ms});
  w.settings.proxy = weir::endpoint{between.address(), 3128};
  std::string asked;
  w.net.start(between, [&](shard& s) -> task<> {
    auto listener = s.listen(*w.settings.proxy);
    co_await proxy(listener, w.where(), asked);
  });
  w.run([](http::client& web) -> task<> {
    auto got = co_await get(web, "https://10.0.0.1/hello/a");
    CHECK(got == "200 hello a");
  });
  CHECK(asked == "CONNECT 10.0.0.1:443 HTTP/1.1\r\nHost: 10.0.0.1:443\r\n\r\n");
}
