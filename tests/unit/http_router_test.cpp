// Which handler answers which request.
#include <doctest/doctest.h>

#include <string>

#include "weir/http/router.hpp"
#include "weir/sim.hpp"

using namespace weir::http;

namespace {

struct nobody final : weir::http::detail::body_source {
  weir::task<std::span<const std::byte>> read_body() override {
    co_return std::span<const std::byte>();
  }
  std::span<const field> body_trailers() const override { return {}; }
};

/// A handler that says its name and the parts of the path.
handler named(std::string word) {
  return [word](request& r) -> weir::task<response> {
    co_return text(word + " " + std::string(r.path("a")) + "|" + std::string(r.path("b")));
  };
}

struct asker {
  router site;
  std::string allow;

  std::string ask(method how, std::string_view path) {
    std::string out;
    weir::sim::network net;
    auto& host = net.add_host("10.0.0.1/24");
    net.start(host, [&](weir::shard& s) -> weir::task<> {
      weir::http::detail::request_parts parts;
      parts.method = how;
      parts.path = path;
      nobody none;
      request asked(s, {}, parts, body_reader(none));
      auto made = co_await site(asked);
      for (auto& [key, value] : made.fields())
        if (key == "Allow") allow = value;
      out =
          made.status() == 200 ? std::get<std::string>(made.body()) : std::to_string(made.status());
    });
    net.run();
    return out;
  }
};

}  // namespace

TEST_CASE("a_route_is_found_by_its_method_and_segments") {
  asker a;
  a.site.get("/", named("top")).get("/x/{a}", named("one")).get("/x/y", named("literal"));
  a.site.get("/x/{a}/{b}", named("two")).post("/x/{a}", named("post"));
  a.site.get("/f/{a...}", named("rest")).get("/g/", named("folder"));
  CHECK(a.ask(method::get, "/") == "top |");
  CHECK(a.ask(method::get, "/x/1") == "one 1|");
  CHECK(a.ask(method::head, "/x/1") == "one 1|");
  CHECK(a.ask(method::get, "/x/y") == "literal |");
  CHECK(a.ask(method::get, "/x/%79") == "literal |");
  CHECK(a.ask(method::get, "/x/a%20b/%2f") == "two a b|/");
  CHECK(a.ask(method::post, "/x/y") == "post y|");
  CHECK(a.ask(method::get, "/f/1/2/") == "rest 1/2/|");
  CHECK(a.ask(method::get, "/f/") == "rest |");
  CHECK(a.ask(method::get, "/g/") == "folder |");
  for (auto* none : {"/x", "/x/", "/x/1/", "/x/1/2/3", "/f", "/g", "//", "/y"}) {
    CAPTURE(std::string(none));
    CHECK(a.ask(method::get, none) == "404");
  }
  CHECK(a.ask(method::get, "/x/%zz") == "400");
}

TEST_CASE("a_path_that_other_methods_have_is_405_and_says_which") {
  asker a;
  a.site.get("/x", named("get")).put("/x", named("put")).post("/y", named("post"));
  CHECK(a.ask(method::delete_, "/x") == "405");
  CHECK(a.allow == "GET, HEAD, PUT");
  CHECK(a.ask(method::head, "/y") == "405");
  CHECK(a.allow == "POST");
  a.site.otherwise(named("other"));
  CHECK(a.ask(method::get, "/z") == "other |");
  CHECK(a.ask(method::get, "/y") == "405");
}

TEST_CASE("a_pattern_that_is_none_is_refused_when_it_is_added") {
  router r;
  for (auto* bad : {"", "x", "/{}", "/{a", "/a}", "/{a...}/b", "/{...}", "/x{a}"}) {
    CAPTURE(std::string(bad));
    CHECK_THROWS_AS(r.get(bad, named("x")), std::invalid_argument);
  }
}

TEST_CASE("a_json_string_is_escaped") {
  CHECK(json_string("a\"b\\c\n\xc3\xa4") == "\"a\\\"b\\\\c\\u000a\xc3\xa4\"");
}

TEST_CASE("an_answers_fields_cannot_inject") {
  response r;
  CHECK_THROWS_AS(r.field("A", "b\r\nC: d"), std::invalid_argument);
  CHECK_THROWS_AS(r.field("A", std::string_view("b\0c", 3)), std::invalid_argument);
  CHECK_THROWS_AS(r.field("A:", "b"), std::invalid_argument);
  CHECK_THROWS_AS(r.field("", "b"), std::invalid_argument);
  CHECK_THROWS_AS(r.field("Content-length", "1"), std::invalid_argument);
  CHECK_THROWS_AS(redirect(301, "/\r\nX: y"), std::invalid_argument);
  CHECK(r.fields().empty());
}
