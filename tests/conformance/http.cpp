// HTTP over the streams of every back end, in both versions, in the clear and secured: server and
// client, bodies both ways, requests at once, the stop.
#include "weir/http.hpp"

#include "conformance/serving.hpp"
#if CONFORMANCE_TLS
#include "tls/certificates.hpp"
#include "weir/tls.hpp"
#endif

namespace conformance {

namespace {

namespace http = weir::http;

http::router site_of() {
  http::router site;
  site.get("/hello/{name}", [](http::request& asked) -> task<http::response> {
    co_return http::text(std::to_string(asked.major_version()) + " " +
                         std::string(asked.path("name")));
  });
  site.post("/echo", [](http::request& asked) -> task<http::response> {
    auto body = co_await asked.body().read_all();
    co_return http::text(body);
  });
  site.get("/stream", [](http::request&) -> task<http::response> {
    http::response out;
    out.field("Content-Type", "text/plain").body([](http::body_writer& to) -> task<> {
      for (int i = 0; i < 200; ++i) co_await to.write(std::string(1000, 's'));
    });
    co_return out;
  });
  return site;
}

task<std::string> body_of(http::client& web, http::client_request& asked) {
  auto got = co_await web.send(asked);
  auto body = co_await got.body().read_all();
  co_return body;
}

task<> ask_all(http::client& web, const std::string& base, const std::string& version) {
  http::client_request hello(http::method::get, base + "/hello/you");
  auto said = co_await body_of(web, hello);
  CHECK(said == version + " you");
  http::client_request post(http::method::post, base + "/echo");
  const std::string long_text(200'000, 'p');
  post.body(long_text);
  said = co_await body_of(web, post);
  const bool same = said == long_text;
  CHECK(same);
  http::client_request stream(http::method::get, base + "/stream");
  std::string first, second;
  const auto get_first = [&]() -> task<> { first = co_await body_of(web, stream); };
  const auto get_second = [&]() -> task<> { second = co_await body_of(web, stream); };
  co_await weir::when_all(get_first(), get_second());
  CHECK(first.size() == 200'000);
  CHECK(second.size() == 200'000);
}

}  // namespace

template <bool H2>
struct http_in_the_clear {
  static task<> serve(side& me) {
    const auto site = site_of();
    http::server server(me.here, [&](http::request& asked) { return site(asked); });
    co_await serve_until_done(
        me, [&](weir::any_stream peer) { return server.session(std::move(peer)); });
    CHECK(server.counters().requests == 4);
    CHECK(server.counters().failures == 0);
  }
  static task<> ask(side& me) {
    const auto where = co_await me.target();
    const auto base = "http://" + where.to_string();
    {
      http::client web(me.here, speaking(H2 ? http::http2_use::always : http::http2_use::never));
      co_await ask_all(web, base, H2 ? "2" : "1");
      CHECK(web.counters().connections == (H2 ? 1 : 2));
    }
    me.signal(1);
  }
};

/// A stream, a text and a long text, compressed on the way and decompressed by the client.
struct http_compressed {
  static task<> serve(side& me) {
    const auto site = site_of();
    http::server server(me.here, [&](http::request& asked) { return site(asked); },
                        {.compress = true});
    co_await serve_until_done(
        me, [&](weir::any_stream peer) { return server.session(std::move(peer)); });
    CHECK(server.counters().compressed == 2);
  }
  static task<> ask(side& me) {
    const auto where = co_await me.target();
    const auto base = "http://" + where.to_string();
    {
      http::client web(me.here, {.decode = true});
      http::client_request post(http::method::post, base + "/echo");
      std::string text;
      while (text.size() < 200'000) text += std::to_string(text.size()) + ", ";
      post.body(text);
      auto got = co_await web.send(post);
      CHECK(got.decoded());
      const auto back = co_await got.body().read_all();
      const bool same = back == text;
      CHECK(same);
      got = co_await web.get(base + "/stream");
      CHECK(got.decoded());
      const auto stream = co_await got.body().read_all();
      CHECK(stream.size() == 200'000);
    }
    me.signal(1);
  }
};

using http_1_is_answered = serving<http_in_the_clear<false>>;
using http_1_is_asked = asking<http_in_the_clear<false>>;
CONFORMANCE(http_1_is_answered);
CONFORMANCE(http_1_is_asked);
#if CONFORMANCE_CODINGS
using http_1_compresses_its_answers = serving<http_compressed>;
using http_1_decompresses_answers = asking<http_compressed>;
CONFORMANCE(http_1_compresses_its_answers);
CONFORMANCE(http_1_decompresses_answers);
#endif
#if CONFORMANCE_HTTP2
using http_2_is_answered = serving<http_in_the_clear<true>>;
using http_2_is_asked = asking<http_in_the_clear<true>>;
CONFORMANCE(http_2_is_answered);
CONFORMANCE(http_2_is_asked);
#endif

#if CONFORMANCE_TLS && CONFORMANCE_HTTP2
namespace {

namespace tls = weir::tls;

/// What both sides of a case know.
struct web_certificates {
  web_certificates() {
    tls_test::authority authority;
    const auto own = authority.issue();
    serving.certificate = own.certificate;
    serving.key = own.key;
    trusting.authorities = authority.certificate();
  }
  tls::context_options serving, trusting;
};
const web_certificates& made() {
  static const web_certificates all;
  return all;
}

}  // namespace

struct http_behind_tls {
  static task<> serve(side& me) {
    tls::server_context ours(made().serving);
    const auto site = site_of();
    http::server server(me.here, [&](http::request& asked) { return site(asked); });
    const auto secured = [&](weir::any_stream plain) -> task<> {
      auto peer = co_await tls::accept(std::move(plain), ours, {.alpn = "h2,http/1.1"});
      co_await server.session(std::move(peer));
    };
    co_await serve_until_done(me, secured);
    CHECK(server.counters().requests == 4);
    CHECK(ours.counters().handshakes == 1);
  }
  static task<> ask(side& me) {
    const auto where = co_await me.target();
    tls::client_context trust(made().trusting);
    const auto connect = [where](weir::shard& here, const http::url&) -> task<weir::any_stream> {
      weir::any_stream made = co_await here.connect(where);
      co_return made;
    };
    {
      http::client web(me.here, trust, {}, connect);
      co_await ask_all(web, "https://server.test", "2");
    }
    me.signal(1);
  }
};
using https_agrees_on_http_2_and_is_answered = serving<http_behind_tls>;
using https_agrees_on_http_2_and_is_asked = asking<http_behind_tls>;
CONFORMANCE(https_agrees_on_http_2_and_is_answered);
CONFORMANCE(https_agrees_on_http_2_and_is_asked);
#endif

}  // namespace conformance
