// Content codings: which is chosen, what is compressed and what is not, in HTTP/1 and HTTP/2, and
// what a client makes of it; in a simulated network under virtual time.
#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/http/coding/coding.hpp"
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

std::string long_text(std::size_t size) {
  std::string out;
  for (unsigned i = 0; out.size() < size; ++i) out += "line " + std::to_string(i * 7919) + "\n";
  out.resize(size);
  return out;
}

std::string encoded(coding what, std::string_view text) {
  std::string out;
  encoder::make(what)->add(std::as_bytes(std::span(text)), encoder::then::end, out);
  return out;
}

coding chosen(std::vector<std::string_view> values) {
  std::vector<field> fields;
  for (const auto value : values) fields.push_back({"Accept-Encoding", value});
  return negotiate(fields);
}

struct world {
  weir::sim::network net{{.seed = 1}};
  weir::sim::host& there = net.add_host("10.0.0.1/24");
  weir::sim::host& here = net.add_host("10.0.0.2/24");
  server_settings serving{.compress = true};
  client_settings asking{.decode = true};
  router site;
  server_counters served;

  world() { net.link(there, here, {.delay = 1ms}); }

  void run(std::function<task<>(client&)> what) {
    net.start(there, [this](shard& s) -> task<> {
      server by(s, [this](request& r) { return site(r); }, serving);
      auto listener = s.listen({"10.0.0.1", 80});
      co_await by.run(listener);
      served = by.counters();
    });
    start_client(std::move(what));
    net.run();
  }
  /// A server that gives every connection these bytes.
  void run(const std::string& answer, std::function<task<>(client&)> what) {
    net.start(there, [answer](shard& s) -> task<> {
      auto listener = s.listen({"10.0.0.1", 80});
      for (;;) {
        auto peer = co_await listener.accept();
        if (!peer) break;
        (void)co_await peer->receive();
        co_await peer->write_all(answer);
      }
    });
    start_client(std::move(what));
    net.run();
  }

 private:
  void start_client(std::function<task<>(client&)> what) {
    net.start(here, [this, what](shard& s) -> task<> {
      {
        client web(s, asking);
        co_await what(web);
      }
      there.shard().request_stop();
    });
  }
};

const std::string site_url = "http://10.0.0.1";

std::string answer_with(const std::string& coding, const std::string& body) {
  return "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: " + coding +
         "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

/// What reading an answer's body throws, or how long it is.
task<std::string> outcome(client& web) {
  std::string said;
  try {
    auto got = co_await web.get(site_url + "/");
    auto body = co_await got.body().read_all({.max = std::size_t(1) << 30});
    said = std::to_string(body.size());
  } catch (const weir::io_error& failure) {
    said = failure.code().message();
  }
  co_return said;
}

}  // namespace

TEST_CASE("the_coding_with_the_highest_weight_is_chosen") {
  CHECK(chosen({}) == coding::identity);
  CHECK(chosen({"gzip"}) == coding::gzip);
  CHECK(chosen({"x-gzip"}) == coding::gzip);
  CHECK(chosen({"gzip, zstd"}) == coding::zstd);
  CHECK(chosen({"gzip", "zstd"}) == coding::zstd);
  CHECK(chosen({"gzip;q=1.0, zstd;q=0.9"}) == coding::gzip);
  CHECK(chosen({"zstd;q=0, gzip;q=0.001"}) == coding::gzip);
  CHECK(chosen({"GZIP ; Q=0.5"}) == coding::gzip);
  CHECK(chosen({"br, deflate"}) == coding::identity);
  CHECK(chosen({"*"}) == coding::zstd);
  CHECK(chosen({"*, zstd;q=0"}) == coding::gzip);
  CHECK(chosen({"*;q=0"}) == coding::identity);
  CHECK(chosen({"identity, gzip;q=0.5"}) == coding::identity);
  CHECK(chosen({"identity;q=0.5, gzip;q=0.5"}) == coding::gzip);
  for (const auto bad : {"gzip;q=2", "gzip;q=1.5", "gzip;q=a", "gzip;q=", "gzip;level=9",
                         "gzip;q=0.1234", ",,;", ""})
    CHECK_MESSAGE(chosen({bad}) == coding::identity, bad);
}

TEST_CASE("a_long_text_is_compressed_for_who_asks_in_either_version") {
  for (const auto version : {http2_use::never, http2_use::always}) {
    for (const auto what : {coding::gzip, coding::zstd}) {
      for (const std::size_t size : {5'000, 1'000'000}) {
        world w;
        w.asking.http2 = version;
        const auto text = long_text(size);
        w.site.get("/", [&](request&) -> task<response> {
          auto out = weir::http::text(text);
          out.field("ETag", "\"abc\"");
          co_return out;
        });
        std::string plain, wire;
        w.run([&](client& web) -> task<> {
          client_request raw(method::get, site_url + "/");
          raw.field("Accept-Encoding", name(what));
          auto got = co_await web.send(raw);
          wire = co_await got.body().read_all();
          CHECK_FALSE(got.decoded());
          CHECK(got.field("content-encoding") == name(what));
          CHECK(got.field("vary") == "Accept-Encoding");
          CHECK(got.field("etag") == "W/\"abc\"");
          client_request none(method::get, site_url + "/");
          none.field("Accept-Encoding", "identity");
          auto as_is = co_await web.send(none);
          plain = co_await as_is.body().read_all();
          CHECK(as_is.field("vary") == "Accept-Encoding");
          CHECK(as_is.field("etag") == "\"abc\"");
          CHECK_FALSE(as_is.field("content-length").empty());
        });
        CHECK(plain == text);
        CHECK(wire.size() < text.size() / 2);
        CHECK(w.served.compressed == 1);
        std::string back(text.size() + 1, '\0');
        auto rest = std::as_bytes(std::span(wire));
        std::size_t had = 0;
        for (auto by = decoder::make(what); !by->complete();) {
          auto n = by->read(rest, std::as_writable_bytes(std::span(back)).subspan(had));
          REQUIRE(n);
          had += *n;
        }
        CHECK(std::string_view(back).substr(0, had) == text);
      }
    }
  }
}

TEST_CASE("a_client_decompresses_where_it_was_told_to") {
  world w;
  const auto text = long_text(300'000);
  w.site.get("/", [&](request&) -> task<response> { co_return weir::http::text(text); });
  std::string body;
  w.run([&](client& web) -> task<> {
    auto got = co_await web.get(site_url + "/");
    CHECK(got.decoded());
    body = co_await got.body().read_all();
    auto again = co_await web.get(site_url + "/");  // the connection goes on
    CHECK(again.decoded());
    (void)co_await again.body().read_all();
    CHECK(web.counters().connections == 1);
  });
  CHECK(body == text);
  CHECK(w.served.compressed == 2);
}

TEST_CASE("what_is_small_encoded_a_part_or_no_text_goes_as_it_is") {
  world w;
  const auto text = long_text(5'000);
  const auto add = [&](const char* path, std::function<void(response&)> change) {
    w.site.get(path, [&text, change](request&) -> task<response> {
      auto out = weir::http::text(text);
      change(out);
      co_return out;
    });
  };
  add("/small", [](response& r) { r.body(std::string(1023, 'x')); });
  add("/encoded", [](response& r) { r.field("Content-Encoding", "br"); });
  add("/part", [](response& r) { r.status(206).field("Content-Range", "bytes 0-4999/9999"); });
  add("/image", [](response& r) { r.replace("Content-Type", "image/png"); });
  add("/kept", [](response& r) { r.field("Cache-Control", "private, no-transform"); });
  add("/events", [](response& r) { r.replace("Content-Type", "text/event-stream"); });
  add("/gone", [](response& r) { r.status(500); });
  w.run([&](client& web) -> task<> {
    for (const auto path : {"/small", "/encoded", "/part", "/image", "/kept", "/events", "/gone"}) {
      CAPTURE(path);
      auto got = co_await web.get(site_url + path);
      CHECK_FALSE(got.decoded());
      CHECK_FALSE(got.field("content-length").empty());
      CHECK(got.field("vary").empty());
      (void)co_await got.body().read_all();
    }
  });
  CHECK(w.served.compressed == 0);
}

TEST_CASE("each_piece_of_a_streamed_answer_reaches_the_client_compressed") {
  for (const auto version : {http2_use::never, http2_use::always}) {
    world w;
    w.asking.http2 = version;
    weir::event seen;
    w.site.get("/", [&](request&) -> task<response> {
      response out;
      out.field("Content-Type", "text/plain").body([&seen](body_writer& to) -> task<> {
        co_await to.write("the first piece");
        co_await seen.wait();
        co_await to.write(", and the second");
      });
      co_return out;
    });
    std::vector<std::string> pieces;
    w.run([&](client& web) -> task<> {
      auto got = co_await web.get(site_url + "/");
      CHECK(got.decoded());
      for (;;) {
        auto piece = co_await got.body().read();
        if (piece.empty()) break;
        pieces.emplace_back(reinterpret_cast<const char*>(piece.data()), piece.size());
        if (pieces.size() == 1) co_await weir::sleep_for(1s);
        w.there.shard().post([&] { seen.set(); });
      }
    });
    REQUIRE(pieces.size() == 2);
    CHECK(pieces[0] == "the first piece");
    CHECK(pieces[1] == ", and the second");
  }
}

TEST_CASE("a_streamed_answer_of_said_length_is_exactly_so_long_before_it_is_compressed") {
  for (const auto version : {http2_use::never, http2_use::always}) {
    for (const auto& pieces : weir::test::pieces_of_about_five) {
      CAPTURE(pieces.first);
      CAPTURE(pieces.second);
      world w;
      w.asking.http2 = version;
      w.serving.compress_least = 1;
      w.site.get("/", [&](request&) -> task<response> {
        response out;
        out.field("Content-Type", "text/plain").body(pieces.writer(), 5);
        co_return out;
      });
      w.run([&](client& web) -> task<> {
        const auto said = co_await outcome(web);
        CHECK((said == "5") == pieces.as_said());
      });
      CHECK(w.served.compressed == 1);
      CHECK(w.served.failures == (pieces.as_said() ? 0 : 1));
    }
  }
}

TEST_CASE("more_bodies_at_once_than_allowed_go_uncompressed_and_are_counted") {
  world w;
  w.serving.compress_at_once = 1;
  w.asking.http2 = http2_use::never;
  weir::event go;
  w.site.get("/", [&](request&) -> task<response> {
    response out;
    out.field("Content-Type", "text/plain").body([&go](body_writer& to) -> task<> {
      co_await to.write("hello");
      co_await go.wait();
    });
    co_return out;
  });
  w.run([&](client& web) -> task<> {
    auto first = co_await web.get(site_url + "/");
    auto second = co_await web.get(site_url + "/");
    CHECK(first.decoded());
    CHECK_FALSE(second.decoded());
    CHECK(second.field("vary") == "Accept-Encoding");
    w.there.shard().post([&] { go.set(); });
    (void)co_await first.body().read_all();
    (void)co_await second.body().read_all();
    auto third = co_await web.get(site_url + "/");
    CHECK(third.decoded());
    (void)co_await third.body().read_all();
  });
  CHECK(w.served.compressed == 2);
  CHECK(w.served.uncompressed == 1);
}

TEST_CASE("a_head_request_is_told_the_coding_and_compresses_nothing") {
  world w;
  w.site.get("/", [](request&) -> task<response> { co_return weir::http::text(long_text(9'000)); });
  w.run([&](client& web) -> task<> {
    client_request asked(method::head, site_url + "/");
    auto got = co_await web.send(asked);
    CHECK(got.field("content-encoding") == "zstd");
    CHECK(got.field("content-length").empty());
    auto body = co_await got.body().read_all();
    CHECK(body.empty());
  });
}

TEST_CASE("a_client_that_has_the_compressed_answer_is_told_its_own_tag") {
  world w;
  w.site.get("/", [](request&) -> task<response> {
    response out(304);
    out.field("ETag", "\"abc\"");
    co_return out;
  });
  w.run([&](client& web) -> task<> {
    for (const std::string tag : {"W/\"abc\"", "\"abc\""}) {
      client_request asked(method::get, site_url + "/");
      asked.field("If-None-Match", tag);
      auto got = co_await web.send(asked);
      CHECK(got.field("etag") == tag);
      (void)co_await got.body().read_all();
    }
  });
}

TEST_CASE("compression_is_off_unless_it_was_asked_for") {
  world w;
  w.serving.compress = false;
  w.site.get("/", [](request&) -> task<response> { co_return weir::http::text(long_text(9'000)); });
  w.run([&](client& web) -> task<> {
    auto got = co_await web.get(site_url + "/");
    CHECK_FALSE(got.decoded());
    CHECK(got.field("vary").empty());
    (void)co_await got.body().read_all();
  });
}

TEST_CASE("a_compression_bomb_ends_with_an_error") {
  for (const auto what : {coding::gzip, coding::zstd}) {
    world w;
    const auto bomb = encoded(what, std::string(64 * 1024 * 1024, '\0'));
    CHECK(bomb.size() < 100'000);
    w.run(answer_with(std::string(name(what)), bomb), [&](client& web) -> task<> {
      const auto said = co_await outcome(web);
      CHECK(said == make_error_code(weir::error::limit_exceeded).message());
    });
  }
}

TEST_CASE("a_compressed_body_that_is_cut_or_changed_is_an_error") {
  for (const auto what : {coding::gzip, coding::zstd}) {
    const auto whole = encoded(what, long_text(20'000));
    auto changed = whole;
    changed[changed.size() / 2] = static_cast<char>(changed[changed.size() / 2] ^ 0x55);
    const auto twice = whole + whole;  // members, or frames
    const auto wrong = std::make_error_code(std::errc::protocol_error).message();
    const std::vector<std::pair<std::string, std::string>> cases = {
        {whole, "20000"},
        {twice, "40000"},
        {whole.substr(0, whole.size() - 1), wrong},
        {whole.substr(0, 3), wrong},
        {"no such coding", wrong},
        {"", "0"}};
    for (const auto& [sent, expected] : cases) {
      world w;
      w.run(answer_with(std::string(name(what)), sent), [&, &is = expected](client& web) -> task<> {
        const auto said = co_await outcome(web);
        CHECK(said == is);
      });
    }
    world w;
    w.run(answer_with(std::string(name(what)), changed), [&](client& web) -> task<> {
      const auto said = co_await outcome(web);
      CHECK((said == wrong || what == coding::zstd));  // zstd's frames have no checksum here
    });
  }
}

TEST_CASE("a_coding_that_is_not_known_is_given_as_it_came") {
  world w;
  w.run(answer_with("br", "what it is"), [&](client& web) -> task<> {
    auto got = co_await web.get(site_url + "/");
    CHECK_FALSE(got.decoded());
    const auto body = co_await got.body().read_all();
    CHECK(body == "what it is");
  });
}

TEST_CASE("without_an_expansion_allowed_a_body_ends_at_its_first_mebibyte") {
  for (const std::size_t size : {std::size_t{1} << 20, (std::size_t{1} << 20) + 1}) {
    world w;
    w.asking.most_expansion = 0;
    w.site.get("/", [&](request&) -> task<response> {
      co_return weir::http::text(std::string(size, 'x'));
    });
    std::error_code error;
    std::size_t came = 0;
    w.run([&](client& web) -> task<> {
      auto got = co_await web.get(site_url + "/");
      try {
        auto body = co_await got.body().read_all({.max = 2 << 20});
        came = body.size();
      } catch (const weir::io_error& failure) {
        error = failure.code();
      }
    });
    if (size == 1 << 20)
      CHECK(came == size);
    else
      CHECK(error == weir::error::limit_exceeded);
  }
}
