// The HTTP server's request parser: what it takes, what it refuses and with which status, and that
// no cut of the bytes changes either.
#include <doctest/doctest.h>

#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "http/wire/request_parser.hpp"

using http::request_parser;
using outcome = request_parser::outcome;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

/// What a parser made of a text: "GET /a keep", "HEAD /b close", "POST", "431", "more", joined by
/// commas.
std::string summary(std::string_view text, std::size_t chunk = SIZE_MAX,
                    const http::request_limits& limits = {}) {
  request_parser parser(limits);
  std::string out;
  auto note = [&](const std::string& what) { out += (out.empty() ? "" : ", ") + what; };
  for (std::size_t at = 0; at < text.size(); at += std::min(chunk, text.size() - at)) {
    auto bytes = bytes_of(text.substr(at, chunk));
    while (!bytes.empty()) {
      auto what = parser.feed(bytes);
      if (what == outcome::refused) {
        note(std::to_string(parser.refusal()));
        return out;
      }
      if (what == outcome::more) break;
      auto& r = parser.current();
      note(std::string(r.method == http::method::get    ? "GET "
                       : r.method == http::method::head ? "HEAD "
                                                        : "other ") +
           std::string(r.target) + (r.keep_alive ? " keep" : " close"));
    }
  }
  if (!parser.idle()) note("more");
  return out;
}

/// The same whatever way the bytes are cut.
std::string same_in_all_cuts(std::string_view text, const http::request_limits& limits = {}) {
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

TEST_CASE("a_request_is_taken_whole_and_in_any_pieces") {
  CHECK(same_in_all_cuts(get("/plaintext?x=1")) == "GET /plaintext?x=1 keep");
  CHECK(same_in_all_cuts("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n") == "HEAD / keep");
  CHECK(same_in_all_cuts("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n") == "other * keep");
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

TEST_CASE("a_body_is_counted_and_dropped") {
  CHECK(same_in_all_cuts("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" +
                         get("/next")) == "other /x keep, GET /next keep");
  CHECK(same_in_all_cuts("POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                         "3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nTrailer: y\r\n\r\n" +
                         get("/next")) == "other /x keep, GET /next keep");
}

TEST_CASE("a_body_beyond_its_limit_is_413") {
  http::request_limits limits{.head = 1024, .body = 4};
  CHECK(same_in_all_cuts("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd", limits) ==
        "other / keep");
  CHECK(same_in_all_cuts("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n", limits) ==
        "413");
  CHECK(
      same_in_all_cuts(
          "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n",
          limits) == "413");
}

TEST_CASE("chunk_extensions_and_trailers_without_end_are_413") {
  http::request_limits limits{.head = 256, .body = 16};
  std::string chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  CHECK(same_in_all_cuts(chunked + "1;" + std::string(1000, 'a'), limits) == "413");
  std::string trailers;
  for (int i = 0; i < 100; ++i) trailers += "A: b\r\n";
  CHECK(same_in_all_cuts(chunked + "0\r\n" + trailers, limits) == "413");
}

TEST_CASE("a_body_that_is_malformed_beyond_its_limit_is_413_however_it_is_cut") {
  http::request_limits limits{.head = 256, .body = 16};
  std::string chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  // 2 * 16 + 256 bytes of transfer are allowed, and they count from the end of the head.
  auto with_extension = [&](std::size_t n) {
    return chunked + "3;" + std::string(n, 'a') + "\x11";
  };
  CHECK(same_in_all_cuts(with_extension(285), limits) == "400");
  CHECK(same_in_all_cuts(with_extension(286), limits) == "413");
}

TEST_CASE("a_head_beyond_its_limit_is_431_and_a_target_beyond_it_414") {
  http::request_limits limits{.head = 256, .body = 16};
  CHECK(same_in_all_cuts(get("/", "X: " + std::string(300, 'a') + "\r\n"), limits) == "431");
  CHECK(same_in_all_cuts(get("/", "X:" + std::string(300, ' ') + "a\r\n"), limits) == "431");
  std::string many;
  for (int i = 0; i < 100; ++i) many += "A: b\r\n";
  CHECK(same_in_all_cuts(get("/", many), limits) == "431");
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
  CHECK(same_in_all_cuts("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: "
                         "chunked\r\n\r\n") == "400");
  CHECK(same_in_all_cuts(
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n") ==
        "400");
}

TEST_CASE("a_request_needs_one_host") {  // RFC 9112 3.2
  CHECK(same_in_all_cuts("GET / HTTP/1.1\r\n\r\n") == "400");
  CHECK(same_in_all_cuts("GET / HTTP/1.1\r\nHost: x\r\nhOsT: y\r\n\r\n") == "400");
  CHECK(same_in_all_cuts("GET / HTTP/1.1\r\nHosting: x\r\n\r\n") == "400");
}

TEST_CASE("a_method_that_nobody_knows_is_501_and_a_version_505") {
  CHECK(summary("BREW / HTTP/1.1\r\nHost: x\r\n\r\n") == "501");
  CHECK(summary("GET / HTTP/2.0\r\nHost: x\r\n\r\n") == "505");
  CHECK(summary("GET / HTTP/9.9\r\nHost: x\r\n\r\n") == "505");
  CHECK(summary("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == "505");
}

TEST_CASE("who_asks_before_sending_a_body_gets_the_final_answer") {
  std::string fields = "Host: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
  CHECK(same_in_all_cuts("POST / HTTP/1.1\r\n" + fields) == "405");
  CHECK(same_in_all_cuts("GET / HTTP/1.1\r\n" + fields) == "417");
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
  http::request_limits limits{.head = 200, .body = 16};
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
    // An unknown method is 501 or 400 according to how much of it is there when it is refused.
    auto whole = summary(text, SIZE_MAX, limits), cut = summary(text, 1 + random() % 9, limits);
    auto same_refusal = [](std::string s) {
      return s.ends_with("501") ? s.replace(s.size() - 3, 3, "400") : s;
    };
    CHECK(same_refusal(whole) == same_refusal(cut));
  }
}

TEST_CASE("the_host_is_handed_on_whatever_way_the_bytes_are_cut") {
  for (std::size_t chunk : {1, 2, 5, 1000}) {
    CAPTURE(chunk);
    request_parser parser({});
    std::vector<std::string> hosts;
    const std::string_view text =
        "GET / HTTP/1.1\r\nX: no\r\nHoSt: \t a.example:80 \t\r\nHosts: b\r\n\r\n"
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.1\r\nHost:\r\nY: z\r\n\r\n";
    for (std::size_t at = 0; at < text.size(); at += chunk) {
      auto bytes = bytes_of(text.substr(at, chunk));
      while (!bytes.empty() && parser.feed(bytes) == outcome::complete)
        hosts.emplace_back(parser.current().host);
      CHECK(parser.refusal() == 0);
    }
    CHECK(hosts == std::vector<std::string>{"a.example:80", "", ""});
  }
}
