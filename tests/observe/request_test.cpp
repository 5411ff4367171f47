// What the admin endpoint takes a request for, and whose name it answers to.
#include <doctest/doctest.h>

#include "runtime/observe/admin_session.hpp"
#include "runtime/observe/process_usage.hpp"

using namespace weir::detail;
using what = admin_request::what;

TEST_CASE("a_target_is_one_of_the_pages_or_nothing") {
  CHECK(read_target("/", "").wanted == what::page);
  CHECK(read_target("/metrics", "").wanted == what::metrics);
  CHECK(read_target("/sockets", "").wanted == what::sockets);
  CHECK(read_target("/tasks", "").wanted == what::tasks);
  CHECK(read_target("/healthz", "").wanted == what::health);
  CHECK(read_target("/readyz", "").wanted == what::readiness);
  CHECK(read_target("/metrics", "?x=1").wanted == what::metrics);
  for (auto* none :
       {"", "*", "/metrics/", "//metrics", "/Metrics", "/../metrics", "/index.html", "/sockets/x"})
    CHECK(read_target(none, "").wanted == what::nothing);
}

TEST_CASE("a_page_of_the_programs_own_gets_its_query_as_it_came") {
  const auto asked = read_target("/own/cache", "?a=%20&b");
  CHECK(asked.wanted == what::own);
  CHECK(asked.own == "cache");
  CHECK(asked.query == "a=%20&b");
  CHECK(read_target("/own/", "").wanted == what::nothing);
  CHECK(read_target("/own", "").wanted == what::nothing);
}

TEST_CASE("what_a_content_type_may_be_holds_no_line_end") {
  CHECK(is_content_type("text/html; charset=utf-8"));
  CHECK_FALSE(is_content_type(""));
  CHECK_FALSE(is_content_type("text/html\r\nX: y"));
  CHECK_FALSE(is_content_type(std::string(129, 'a')));
}

TEST_CASE("the_control_groups_path_is_found_where_there_is_one") {
  CHECK(control_group_in("0::/user.slice/a.scope\n") == "/user.slice/a.scope");
  CHECK(control_group_in("12:cpu:/x\n0::/\n") == "/");
  for (auto* none : {"", "12:cpu:/x\n", "0::\n", "0:", "garbage"})
    CHECK(control_group_in(none).empty());
}

TEST_CASE("a_query_bounds_the_connections_and_is_refused_beyond") {
  CHECK(read_target("/sockets", "").connections == admin_site::shown_connections);
  CHECK(read_target("/sockets", "?connections=0").connections == 0);
  CHECK(read_target("/sockets", "?connections=4096").connections == 4096);
  for (auto* bad : {"?connections=4097", "?connections=-1", "?connections=", "?connections=1x",
                    "?connections=99999999999999999999999", "?", "?c=1"})
    CHECK(read_target("/sockets", bad).wanted == what::bad);
}

TEST_CASE("a_query_bounds_the_tasks_and_says_how_long_they_waited") {
  const auto asked = read_target("/tasks", "?listed=7&stuck_ms=10000").tasks;
  CHECK(asked.listed == 7);
  CHECK(asked.at_least == std::chrono::seconds(10));
  CHECK(read_target("/tasks", "").tasks.listed == admin_site::shown_tasks);
  for (auto* bad : {"?listed=100001", "?listed=", "?stuck_ms=-1", "?stuck_ms=9999999999", "?x=1",
                    "?listed=1&x=2"})
    CHECK(read_target("/tasks", bad).wanted == what::bad);
}

TEST_CASE("how_many_events_are_asked_for_is_bounded") {
  CHECK(read_target("/recorder", "").wanted == what::recorder);
  CHECK(read_target("/recorder", "").events == admin_site::shown_events);
  CHECK(read_target("/recorder", "?events=100000").events == 100'000);
  for (auto* bad : {"?events=100001", "?events=", "?events=-1", "?listed=1", "?events=1&events=2"})
    CHECK(read_target("/recorder", bad).wanted == what::bad);
}

TEST_CASE("what_a_page_of_another_site_asks_is_known") {
  using weir::http::field;
  const auto cross = [](std::vector<field> fields) {
    return is_cross_site(fields, "127.0.0.1:9100");
  };
  CHECK_FALSE(cross({}));
  CHECK_FALSE(cross({{"Sec-Fetch-Site", "same-origin"}}));
  CHECK_FALSE(cross({{"Sec-Fetch-Site", "none"}}));
  CHECK_FALSE(cross({{"Origin", "http://127.0.0.1:9100"}}));
  CHECK(cross({{"sec-fetch-site", "cross-site"}}));
  CHECK(cross({{"Sec-Fetch-Site", "same-site"}}));
  CHECK(cross({{"Origin", "http://evil.example"}}));
  CHECK(cross({{"origin", "http://127.0.0.1:8080"}}));
  CHECK(cross({{"Origin", "null"}}));
}

TEST_CASE("only_names_that_are_surely_this_machine_are_answered_to") {
  for (auto* own : {"127.0.0.1", "127.0.0.1:9100", "127.9.9.9:1", "localhost", "LocalHost:80",
                    "[::1]", "[::1]:9100", "localhost:", ""}) {
    CAPTURE(own);
    CHECK(is_own_host(own, true));
    CHECK(is_own_host(own, false));
  }
  for (auto* other :
       {"evil.example", "evil.example:9100", "localhost.evil.example", "127.0.0.1.evil.example",
        "x", "127.0.0.1:80:80", "127.0.0.1:a", "[::1", "::1", "[::1]x", "[::1]9100", "localhost ",
        "2130706433", "0x7f000001", "user@127.0.0.1"}) {
    CAPTURE(other);
    CHECK_FALSE(is_own_host(other, true));
    CHECK_FALSE(is_own_host(other, false));
  }
  // An address cannot be made to point elsewhere, so it is a name to answer to where the endpoint
  // was opened to other machines.
  for (auto* address : {"192.0.2.1:9100", "[2001:db8::1]:9100", "0.0.0.0:9100"}) {
    CAPTURE(address);
    CHECK_FALSE(is_own_host(address, true));
    CHECK(is_own_host(address, false));
  }
}
