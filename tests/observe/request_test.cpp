// What the admin endpoint takes a request for, and whose name it answers to.
#include <doctest/doctest.h>

#include "observe/admin_session.hpp"

using namespace weir::detail;
using what = admin_request::what;

TEST_CASE("a_target_is_one_of_three_pages_or_nothing") {
  CHECK(read_target("/", "").wanted == what::page);
  CHECK(read_target("/metrics", "").wanted == what::metrics);
  CHECK(read_target("/sockets", "").wanted == what::sockets);
  CHECK(read_target("/metrics", "?x=1").wanted == what::metrics);
  for (auto* none :
       {"", "*", "/metrics/", "//metrics", "/Metrics", "/../metrics", "/index.html", "/sockets/x"})
    CHECK(read_target(none, "").wanted == what::nothing);
}

TEST_CASE("a_query_bounds_the_connections_and_is_refused_beyond") {
  CHECK(read_target("/sockets", "").connections == admin_site::shown_connections);
  CHECK(read_target("/sockets", "?connections=0").connections == 0);
  CHECK(read_target("/sockets", "?connections=4096").connections == 4096);
  for (auto* bad : {"?connections=4097", "?connections=-1", "?connections=", "?connections=1x",
                    "?connections=99999999999999999999999", "?", "?c=1"})
    CHECK(read_target("/sockets", bad).wanted == what::bad);
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
