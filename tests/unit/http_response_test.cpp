// The HTTP server's answers as bytes.
#include <doctest/doctest.h>

#include <string>

#include "runtime/http/wire/response.hpp"

using namespace weir::http::wire;

namespace {

std::string joined(response_writer& writer) {
  std::string out;
  for (auto& part : writer.parts())
    out.append(reinterpret_cast<const char*>(part.data()), part.size());
  return out;
}

constexpr std::int64_t some_time = 784111777;  // RFC 9110 5.6.7's own example

}  // namespace

TEST_CASE("the_date_is_in_the_form_that_the_rfc_gives") {
  date_cache date;
  CHECK(date.at(some_time) == "Sun, 06 Nov 1994 08:49:37 GMT");
  CHECK(date.at(some_time + 1) == "Sun, 06 Nov 1994 08:49:38 GMT");
  CHECK(date.fields_at(some_time) == "Server: weir\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
}

TEST_CASE("an_answer_has_its_head_and_body") {
  date_cache date;
  response_writer writer(date);
  response what;
  what.body = "Hello";
  writer.add(what, some_time);
  CHECK(joined(writer) ==
        "HTTP/1.1 200 OK\r\nServer: weir\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: "
        "text/plain\r\n"
        "Content-Length: 5\r\n\r\nHello");
}

TEST_CASE("head_gets_the_length_and_not_the_body") {
  date_cache date;
  response_writer writer(date);
  response what;
  what.body = "Hello";
  what.send_body = false;
  writer.add(what, some_time);
  auto text = joined(writer);
  CHECK(text.find("Content-Length: 5\r\n") != std::string::npos);
  CHECK(text.ends_with("\r\n\r\n"));
}

TEST_CASE("a_status_says_what_it_means_and_closes_when_told") {
  date_cache date;
  response_writer writer(date);
  response like;
  like.keep_alive = false;
  writer.add_status(405, like, some_time);
  auto text = joined(writer);
  CHECK(text.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"));
  CHECK(text.find("Allow: GET, HEAD\r\n") != std::string::npos);
  CHECK(text.find("Connection: close\r\n") != std::string::npos);
  CHECK(text.ends_with("\r\n\r\n405 Method Not Allowed\n"));
}

TEST_CASE("a_batch_is_few_parts_and_a_large_body_is_not_copied") {
  date_cache date;
  response_writer writer(date);
  std::string large(5000, 'x');
  response small_one, large_one;
  small_one.body = "small";
  large_one.body = large;
  for (int i = 0; i < 10; ++i) writer.add(small_one, some_time);
  CHECK(writer.parts().size() == 1);
  writer.add(large_one, some_time);
  REQUIRE(writer.parts().size() == 2);
  CHECK(static_cast<const void*>(writer.parts()[1].data()) == large.data());
  writer.add(small_one, some_time);
  CHECK(writer.parts().size() == 3);
  CHECK_FALSE(writer.empty());
  writer.clear();
  CHECK(writer.empty());
}

TEST_CASE("answers_of_a_batch_leave_in_order_whole_and_once") {
  date_cache date;
  response_writer writer(date), alone(date);
  const std::string large(5000, 'x'), larger(7000, 'y');
  std::string one_by_one;
  const auto add = [&](std::string_view body) {
    response what;
    what.body = body;
    writer.add(what, some_time);
    alone.clear();
    alone.add(what, some_time);
    one_by_one += joined(alone);
  };
  for (const std::string_view body : {"first", "second"}) add(body);
  for (const std::string_view body :
       {std::string_view(large), std::string_view("between"), std::string_view("large ones"),
        std::string_view(larger), std::string_view(large), std::string_view("last")})
    add(body);
  CHECK(writer.parts().size() == 7);  // text and large bodies by turns
  CHECK((joined(writer) == one_by_one));
}

TEST_CASE("a_batch_is_full_at_a_bound") {
  date_cache date;
  response_writer writer(date);
  response what;
  what.body = "x";
  int added = 0;
  for (; !writer.full() && added < 100'000; ++added) writer.add(what, some_time);
  CHECK(added < 1000);
}
