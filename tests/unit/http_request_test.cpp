// The request parser: what it takes, what it refuses and with which status, and that no cut of the
// bytes changes either.
#include <doctest/doctest.h>

#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/http/wire/request_parser.hpp"

using namespace weir::http;
using wire::request_limits;
using wire::request_parser;
using outcome = request_parser::outcome;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

/// What a parser made of a text: "GET /a keep", "HEAD /b close", "POST /c (hello) keep", "431",
/// "more", joined by commas.
std::string summary(std::string_view text, std::size_t chunk = SIZE_MAX,
                    const request_limits& limits = {}) {
  request_parser parser(limits);
  std::string out, body;
  auto note = [&](const std::string& what) { out += (out.empty() ? "" : ", ") + what; };
  for (std::size_t at = 0; at < text.size(); at += std::min(chunk, text.size() - at)) {
    auto bytes = bytes_of(text.substr(at, chunk));
    for (;;) {
      auto what = parser.feed(bytes);
      if (what == outcome::refused) {
        note(std::to_string(parser.refusal()));
        return out;
      }
      if (what == outcome::more) break;
      if (what == outcome::content) {
        auto piece = parser.content();
        body.append(reinterpret_cast<const char*>(piece.data()), piece.size());
      }
      if (what != outcome::complete) continue;
      auto& r = parser.head();
      if (!body.empty()) body = " (" + body + ")";
      for (auto& t : parser.trailers())
        body += " " + std::string(t.name) + "=" + std::string(t.value);
      note(std::string(r.method_name) + " " + std::string(r.target) + body +
           (r.keep_alive ? " keep" : " close"));
      body.clear();
    }
  }
  if (!parser.idle()) note("more");
  return out;
}

/// The same whatever way the bytes are cut.
std::string same_in_all_cuts(std::string_view text, const request_limits& limits = {}) {
  auto whole = summary(text, SIZE_MAX, limits);
  for (std::size_t chunk : {1, 2, 3, 7, 16, 61}) {
    CAPTURE(chunk);
    CHECK(summary(text, chunk, limits) == whole);
  }
  return whole;
}

constexpr std::string_view host = "Host: x\r\n";

std::string get(std::string_view target, std::string_view fields = "") {
  return "GET " + std::string(target) + " HTTP/1.1\r\n" + std::string(host) + std::string(fields) +
         "\r\n";
}

}  // namespace

TEST_CASE("an_empty_line_in_two_pieces_between_requests_begins_none") {
  request_parser parser({});
  for (const std::string_view text : {"\r", "\n", "\r\n"}) {
    auto piece = std::as_bytes(std::span(text));
    CHECK(parser.feed(piece) == request_parser::outcome::more);
    CHECK(parser.idle() == (text != "\r"));
  }
  const std::string_view text = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  auto piece = std::as_bytes(std::span(text));
  CHECK(parser.feed(piece) == request_parser::outcome::head);
}

TEST_CASE("a_request_is_taken_whole_and_in_any_pieces") {
  CHECK(same_in_all_cuts(get("/plaintext?x=1")) == "GET /plaintext?x=1 keep");
  CHECK(same_in_all_cuts("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n") == "HEAD / keep");
  CHECK(same_in_all_cuts("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n") == "OPTIONS * keep");
}

TEST_CASE("pipelined_requests_come_one_by_one") {
  CHECK(same_in_all_cuts(get("/a") + get("/b") + get("/c", "Connection: close\r\n")) ==
        "GET /a keep, GET /b keep, GET /c close");
}

TEST_CASE("empty_lines_before_a_request_are_skipped") {
  CHECK(same_in_all_cuts("\r\n\r\n" + get("/a") + "\r\n" + get("/b")) ==
        "GET /a keep, GET /b keep");
}

TEST_CASE("an_http_1_0_request_closes_unless_it_asks_otherwise") {
  CHECK(same_in_all_cuts("GET / HTTP/1.0\r\n\r\n") == "GET / close");
  CHECK(same_in_all_cuts("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n") == "GET / keep");
}

TEST_CASE("a_body_is_given_without_its_framing") {
  CHECK(same_in_all_cuts("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" +
                         get("/next")) == "POST /x (hello) keep, GET /next keep");
  CHECK(same_in_all_cuts("POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n"
                         "3\r\nabc\r\n2;ext=1\r\nde\r\n000 ; x\r\nTrailer: y\r\nOther:\r\n\r\n" +
                         get("/next")) == "POST /x (abcde) Trailer=y Other= keep, GET /next keep");
  CHECK(same_in_all_cuts("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n") ==
        "POST /x keep");
}

std::string post(std::string_view fields, std::string_view body = "") {
  return "POST / HTTP/1.1\r\nHost: x\r\n" + std::string(fields) + "\r\n" + std::string(body);
}
std::string post_chunked(std::string_view body) {
  return post("Transfer-Encoding: chunked\r\n", body);
}

TEST_CASE("a_body_beyond_its_limit_is_413") {
  request_limits limits{.head = 1024, .body = 4};
  CHECK(same_in_all_cuts(post("Content-Length: 4\r\n", "abcd"), limits) == "POST / (abcd) keep");
  CHECK(same_in_all_cuts(post("Content-Length: 5\r\n"), limits) == "413");
  CHECK(same_in_all_cuts(post("Content-Length: 18446744073709551615\r\n"), limits) == "413");
  CHECK(same_in_all_cuts(post_chunked("3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"), limits) ==
        "POST / (abcd) keep");
  CHECK(same_in_all_cuts(post_chunked("3\r\nabc\r\n2\r\nde\r\n"), limits) == "413");
  for (auto* size : {"5", "00000000000000005", "ffffffff", "fffffffffffffff", "ffffffffffffffff",
                     "10000000000000000"}) {
    CAPTURE(size);
    CHECK(same_in_all_cuts(post_chunked(size + std::string("\r\n")), limits) == "413");
  }
}

TEST_CASE("chunk_extensions_count_against_a_limit_of_their_own") {
  request_limits limits{.head = 256, .body = 1000, .extensions = 16};
  // Of all chunks together, and neither head nor body has a part in it.
  std::string many;
  for (int i = 0; i < 16; ++i) many += "1;\r\na\r\n";
  CHECK(same_in_all_cuts(post_chunked(many + "0\r\n\r\n"), limits) ==
        "POST / (" + std::string(16, 'a') + ") keep");
  CHECK(same_in_all_cuts(post_chunked(many + "0;\r\n\r\n"), limits) == "413");
  CHECK(same_in_all_cuts(post_chunked("1;" + std::string(1000, 'a')), limits) == "413");
  std::string without;
  for (int i = 0; i < 500; ++i) without += "1\r\na\r\n";
  CHECK(same_in_all_cuts(post_chunked(without + "0\r\n\r\n"), limits) ==
        "POST / (" + std::string(500, 'a') + ") keep");
}

TEST_CASE("trailers_have_the_heads_limit_again_and_are_431_beyond") {
  request_limits limits{.head = 256, .body = 16};
  std::string trailers;
  for (int i = 0; i < 100; ++i) trailers += "A: b\r\n";
  CHECK(same_in_all_cuts(post_chunked("0\r\n" + trailers), limits) == "431");
  CHECK(same_in_all_cuts(post_chunked("0\r\nA: " + std::string(200, 'b') + "\r\n\r\n"), limits) ==
        "POST / A=" + std::string(200, 'b') + " keep");
}

// What one reader forgives and another does not is where a second request hides.
TEST_CASE("a_chunked_body_is_read_to_the_letter") {
  for (auto* bad : {"xyz\r\n",
                    "\r\n",
                    ";a\r\n",
                    " 3\r\nabc\r\n",
                    "+3\r\nabc\r\n",
                    "-3\r\nabc\r\n",
                    "0x3\r\nabc\r\n",
                    "3\nabc\r\n",
                    "3\rabc\r\n",
                    "3\r\rabc\r\n",
                    "3\r\nabcd\r\n",
                    "3\r\nabc\n",
                    "3\r\nabc\rx",
                    "3\r\nabc\r\r\n",
                    "3 x\r\nabc\r\n",
                    "3;a\nb\r\nabc\r\n",
                    "3;a\rb\r\nabc\r\n",
                    "0\r\n\n",
                    "0\r\n\rx",
                    "0\r\nA: b\n\r\n",
                    "0\r\nA: b\r\n\rx",
                    "0\r\nA: b\r\n c\r\n\r\n",
                    "0\r\nA : b\r\n\r\n",
                    "0\r\nnone\r\n\r\n",
                    "0\r\n: b\r\n\r\n"}) {
    CAPTURE(std::string(bad));
    CHECK(same_in_all_cuts(post_chunked(bad)) == "400");
  }
}

TEST_CASE("a_head_beyond_its_limit_is_431_and_a_target_beyond_it_414") {
  request_limits limits{.head = 256, .body = 16};
  CHECK(same_in_all_cuts(get("/", "X: " + std::string(300, 'a') + "\r\n"), limits) == "431");
  CHECK(same_in_all_cuts(get("/", "X:" + std::string(300, ' ') + "a\r\n"), limits) == "431");
  std::string many;
  for (int i = 0; i < 100; ++i) many += "A: b\r\n";
  CHECK(same_in_all_cuts(get("/", many), limits) == "431");
  CHECK(same_in_all_cuts(get("/", "A: b\r\nC: d\r\n"), {.fields = 2}) == "431");
  CHECK(same_in_all_cuts(get("/", "A: b\r\nC: d\r\n"), {.fields = 3}) == "GET / keep");
  CHECK(same_in_all_cuts(get("/" + std::string(300, 'a')), limits) == "414");
  // Each request has the whole limit again.
  auto nearly = get("/", "X: " + std::string(200, 'a') + "\r\n");
  CHECK(same_in_all_cuts(nearly + nearly, limits) == "GET / keep, GET / keep");
}

TEST_CASE("malformed_requests_are_400") {
  CHECK(same_in_all_cuts("\x16\x03\x01\x02") == "400");  // a TLS client
  CHECK(same_in_all_cuts("garbage\r\n\r\n") == "400");
  CHECK(same_in_all_cuts("get / HTTP/1.1\r\nHost: x\r\n\r\n") == "400");
  CHECK(same_in_all_cuts("GET\r\n\r\n") == "400");
  CHECK(same_in_all_cuts("GET / HTTP/1.1\r\nHost x\r\n\r\n") == "400");
  CHECK(same_in_all_cuts(get("/", "bad field: x\r\n")) == "400");
  CHECK(same_in_all_cuts(get("/", "Content-Length : 5\r\n")) == "400");
  CHECK(same_in_all_cuts(get("/", "b@d: x\r\n")) == "400");
  CHECK(same_in_all_cuts(get("/", ": x\r\n")) == "400");
  CHECK(same_in_all_cuts("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5x\r\n\r\n") == "400");
  CHECK(same_in_all_cuts("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n") == "400");
  CHECK(same_in_all_cuts(
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n") == "400");
}

TEST_CASE("two_lengths_of_one_body_are_400") {  // RFC 9112 6.3: what request smuggling is made of
  for (auto* fields :
       {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n", "Content-Length: +5\r\n", "Content-Length: 5 5\r\n",
        "Content-Length: 0x5\r\n", "Content-Length:\r\n", "Content-Length: 5,\r\n"}) {
    CAPTURE(std::string(fields));
    CHECK(same_in_all_cuts(post(fields, "hello")) == "400");
  }
}

TEST_CASE("a_transfer_coding_is_chunked_and_nothing_else") {  // nginx: 501 for every other
  for (auto* fields :
       {"Transfer-Encoding: identity\r\n", "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n", "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: chunked;x\r\n", "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding:\r\n", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"}) {
    CAPTURE(std::string(fields));
    const auto status = same_in_all_cuts(post(fields, "0\r\n\r\n"));
    const bool refused = status == "400" || status == "501";
    CHECK_MESSAGE(refused, status);
  }
}

TEST_CASE("a_head_ends_at_an_empty_line_and_every_line_at_cr_lf") {
  const std::string hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";
  for (auto* head : {
           "GET / HTTP/1.1\r\nHost: x\r\n\rX",  // llhttp 8.1.0 takes any byte for the LF
           "GET / HTTP/1.1\r\nHost: x\r\n\r\r\n",
           "GET / HTTP/1.1\r\nHost: x\n\r\n",  // a bare LF
           "GET / HTTP/1.1\nHost: x\r\n\r\n",
           "GET / HTTP/1.1\r\nHost: x\r\n\n",
           "GET / HTTP/1.1\r\nHost: x\r\nA:\rb\r\n\r\n",  // a bare CR, at a value's start
           "GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n",
           "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\r\n\r\n",
           "GET / HTTP/1.1\rHost: x\r\n\r\n",
           "\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
           "\rGET / HTTP/1.1\r\nHost: x\r\n\r\n",
           "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",  // folded (RFC 9112 5.2)
           "GET / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n 5\r\n\r\n",
           "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n\tchunked\r\n\r\n",
           "GET / HTTP/1.1\r\n Host: x\r\n\r\n",
           "GET / HTTP/1.1\r\nHost: x\r\nA: b\x01\r\n\r\n",
           "GET / HTTP/1.1\r\nHost: x\r\nA: b\x7f\r\n\r\n",
           "GET /a\tb HTTP/1.1\r\nHost: x\r\n\r\n",
           "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
           "GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
           "GET /  HTTP/1.1\r\nHost: x\r\n\r\n",
           "GET / HTTP/1.1 \r\nHost: x\r\n\r\n",
           " GET / HTTP/1.1\r\nHost: x\r\n\r\n",
           "GET / http/1.1\r\nHost: x\r\n\r\n",
           "GET / HTTP/1.10\r\nHost: x\r\n\r\n",
       }) {
    CAPTURE(std::string(head));
    CHECK(same_in_all_cuts(head + hidden) == "400");
  }
  constexpr char with_zero[] = "GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n";
  const std::string zero(with_zero, sizeof with_zero - 1);
  CHECK(same_in_all_cuts(zero) == "400");
}

TEST_CASE("what_is_no_request_line_is_refused_before_its_head_ends") {
  CHECK(same_in_all_cuts("GET /\r\n") == "400");  // HTTP/0.9
  CHECK(same_in_all_cuts("hello\r\n") == "400");
  CHECK(same_in_all_cuts("GET / HTTP/2.0\r\n") == "505");
}

TEST_CASE("http_1_0_has_no_transfer_coding_and_no_expectation") {
  CHECK(same_in_all_cuts("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") ==
        "400");  // RFC 9112 6.1
  request_parser parser({});
  auto bytes = bytes_of("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na");
  CHECK(parser.feed(bytes) == outcome::head);
  CHECK_FALSE(parser.head().expects_continue);  // RFC 9110 10.1.1
  CHECK(same_in_all_cuts("POST / HTTP/1.0\r\nExpect: x\r\n\r\n") == "POST / close");
}

TEST_CASE("a_minor_version_that_is_not_known_yet_is_1_1") {  // RFC 9110 2.5
  CHECK(same_in_all_cuts("GET / HTTP/1.2\r\nHost: x\r\n\r\n") == "GET / keep");
  CHECK(same_in_all_cuts("GET / HTTP/1.9\r\nHost: x\r\nConnection: x, Close\r\n\r\n") ==
        "GET / close");
}

TEST_CASE("a_request_needs_one_host") {  // RFC 9112 3.2
  CHECK(same_in_all_cuts("GET / HTTP/1.1\r\n\r\n") == "400");
  CHECK(same_in_all_cuts("GET / HTTP/1.1\r\nHost: x\r\nhOsT: y\r\n\r\n") == "400");
  CHECK(same_in_all_cuts("GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n") == "400");
  CHECK(same_in_all_cuts("GET / HTTP/1.1\r\nHosting: x\r\n\r\n") == "400");
}

TEST_CASE("a_host_is_one_name_or_address_with_an_optional_port") {
  for (auto* good : {"a", "a.example", "a.example:80", "127.0.0.1", "[::1]", "[::1]:80",
                     "a:", "xn--bcher-kva.example", "a_b"}) {
    CAPTURE(good);
    CHECK(wire::is_host(good));
    CHECK(same_in_all_cuts("GET / HTTP/1.1\r\nHost: " + std::string(good) + "\r\n\r\n") ==
          "GET / keep");
  }
  for (auto* bad :
       {"",    "a, b", "a,b", "a/b", "a b",    "a\tb",   "u@a",  "a:80:80", "a:x", "a:70000",
        ":80", "[::1", "::1", "[]",  "[::1]x", "[a.b]g", "a\\b", "a?b",     "a#b", "http://a"}) {
    CAPTURE(std::string(bad));
    CHECK_FALSE(wire::is_host(bad));
    for (auto* version : {"1.1", "1.0"})
      CHECK(same_in_all_cuts("GET / HTTP/" + std::string(version) + "\r\nHost: " + bad +
                             "\r\n\r\n") == "400");
  }
}

TEST_CASE("a_target_has_one_of_four_forms") {  // RFC 9112 3.2
  struct form {
    const char* target;
    method of;
    const char *authority, *path, *query;
  };
  for (auto& f :
       {form{"/a/b?c=d?e#f", method::get, "", "/a/b", "?c=d?e"},
        form{"/?", method::get, "", "/", "?"}, form{"//a", method::get, "", "//a", ""},
        form{"HTTP://A.example:80/b?c", method::get, "A.example:80", "/b", "?c"},
        form{"http://a", method::get, "a", "/", ""},
        form{"https://a?b", method::get, "a", "/", "?b"},
        form{"http://a", method::options, "a", "*", ""}, form{"*", method::options, "", "*", ""},
        form{"a:80", method::connect, "a:80", "", ""}}) {
    CAPTURE(f.target);
    const auto parts = wire::parse_target(f.target, f.of);
    REQUIRE(parts);
    CHECK(parts->authority == f.authority);
    CHECK(parts->path == f.path);
    CHECK(parts->query == f.query);
  }
  for (auto* bad : {"", "a", "*", "ftp://a/", "http:/a", "http://", "http:///a", "http://u@a/",
                    "://a", "?a", "a:80"})
    CHECK_FALSE(wire::parse_target(bad, method::get));
  CHECK_FALSE(wire::parse_target("/", method::connect));
  CHECK_FALSE(wire::parse_target("a", method::connect));
}

TEST_CASE("a_method_that_nobody_knows_is_501_and_a_version_505") {
  CHECK(same_in_all_cuts("BREW / HTTP/1.1\r\nHost: x\r\n\r\n") == "501");
  CHECK(same_in_all_cuts("GET / HTTP/2.0\r\nHost: x\r\n\r\n") == "505");
  CHECK(same_in_all_cuts("GET / HTTP/9.9\r\nHost: x\r\n\r\n") == "505");
  CHECK(same_in_all_cuts("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == "505");
}

TEST_CASE("who_asks_before_sending_a_body_is_said_to") {
  request_parser parser({});
  auto bytes =
      bytes_of("PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\n");
  CHECK(parser.feed(bytes) == outcome::head);
  CHECK(parser.head().expects_continue);
  CHECK(parser.head().has_body());
  CHECK(parser.feed(bytes) == outcome::more);
  CHECK(same_in_all_cuts(get("/", "Expect: something\r\n")) == "417");
}

TEST_CASE("an_offer_to_upgrade_is_ignored") {  // RFC 9110 7.8
  CHECK(same_in_all_cuts(get("/a", "Connection: Upgrade\r\nUpgrade: h2c\r\n") + get("/b")) ==
        "GET /a keep, GET /b keep");
}

TEST_CASE("half_a_request_is_neither_complete_nor_idle") {
  CHECK(same_in_all_cuts("GET / HT") == "more");
  CHECK(same_in_all_cuts("GET / HTTP/1.1\r\nHost: x\r\n") == "more");
  CHECK(same_in_all_cuts("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe") == "more");
  CHECK(request_parser({}).idle());
}

TEST_CASE("mutated_requests_do_no_harm_and_are_cut_independently") {
  auto seed_text =
      get("/a%20b?c=d", "Accept: */*\r\nConnection: keep-alive\r\n") +
      "POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" +
      get("/z");
  std::mt19937 random(7);
  request_limits limits{.head = 200, .body = 16};
  for (int round = 0; round < 3000; ++round) {
    auto text = seed_text;
    for (auto changes = random() % 4 + 1; changes > 0; --changes) {
      auto at = random() % text.size();
      switch (random() % 3) {
        case 0: text[at] = static_cast<char>(random()); break;
        case 1: text.erase(at, random() % 8); break;
        default: text.insert(at, text.substr(random() % text.size(), random() % 32)); break;
      }
    }
    CAPTURE(text);
    CHECK(summary(text, SIZE_MAX, limits) == summary(text, 1 + random() % 9, limits));
  }
}

TEST_CASE("the_host_is_handed_on_whatever_way_the_bytes_are_cut") {
  for (std::size_t chunk : {1, 2, 5, 1000}) {
    CAPTURE(chunk);
    request_parser parser({});
    std::vector<std::string> hosts;
    const std::string_view text =
        "GET / HTTP/1.1\r\nX: no\r\nHoSt: \t a.example:80 \t\r\nHosts: b\r\n\r\n"
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        "GET http://b:1/ HTTP/1.1\r\nHost: c\r\n\r\n";
    for (std::size_t at = 0; at < text.size(); at += chunk) {
      auto bytes = bytes_of(text.substr(at, chunk));
      for (auto what = parser.feed(bytes); what != outcome::more; what = parser.feed(bytes))
        if (what == outcome::complete) hosts.emplace_back(parser.head().host);
      CHECK(parser.refusal() == 0);
    }
    CHECK(hosts == std::vector<std::string>{"a.example:80", "", "b:1"});
  }
}
