// What --upstream takes: the proxy's kind, its place, and a user and a password in which %XX stands
// for a byte.
#include <doctest/doctest.h>

#include <string>

#include "runtime/tools/gate/upstream.hpp"

using weir::endpoint;
using weir::gate::upstream;

namespace {

/// What was understood, with "|" between its parts; or "refused".
std::string parts_of(const std::string& text) {
  upstream out;
  std::string why;
  if (!upstream::parse(text, out, why)) return "refused";
  const std::string how = out.how == upstream::protocol::http ? "http" : "socks5";
  return how + "|" + out.where.to_string() + "|" + out.who.user + "|" + out.who.password;
}

std::string why_not(const std::string& text) {
  upstream out;
  std::string why;
  return upstream::parse(text, out, why) ? "no error" : why;
}

}  // namespace

TEST_CASE("an_upstream_is_a_scheme_and_a_place_and_perhaps_who_asks") {
  CHECK(parts_of("socks5://192.0.2.1:1080") == "socks5|192.0.2.1:1080||");
  CHECK(parts_of("http://[2001:db8::1]:3128/") == "http|[2001:db8::1]:3128||");
  CHECK(parts_of("http://me@192.0.2.1:3128") == "http|192.0.2.1:3128|me|");
  CHECK(parts_of("socks5://me:a:b@c@192.0.2.1:1") == "socks5|192.0.2.1:1|me|a:b@c");
  CHECK(parts_of("socks5://localhost:65535").ends_with(":65535||"));
  for (const std::string bad : {"192.0.2.1:1080", "ftp://192.0.2.1:1080", "://192.0.2.1:1080",
                                "socks5://@192.0.2.1:1080", "socks5://:word@192.0.2.1:1080"}) {
    CAPTURE(bad);
    CHECK(why_not(bad).starts_with("must be socks5"));
  }
}

TEST_CASE("an_upstream_without_a_port_that_can_be_is_refused_and_its_place_is_said") {
  for (const std::string where : {"", "192.0.2.1:0", "192.0.2.1", "192.0.2.1:65536", "localhost:0",
                                  "localhost", ":1080", "[2001:db8::1]"}) {
    CAPTURE(where);
    CHECK(why_not("http://" + where)
              .starts_with("no address is known of " + where + ": must be socks5://"));
  }
}

TEST_CASE("percent_signs_in_an_upstreams_user_and_password_stand_for_bytes") {
  const auto who = [](const std::string& user, const std::string& password) {
    const auto text = parts_of("socks5://" + user + ":" + password + "@192.0.2.1:1080");
    const std::string before = "socks5|192.0.2.1:1080|";
    return text.starts_with(before) ? text.substr(before.size()) : text;
  };
  CHECK(who("%41", "%7a") == "A|z");                // from the first byte to the last
  CHECK(who("a%3Ab", "pa%20ss") == "a:b|pa ss");    // what follows is as it was
  CHECK(who("%40%40x", "1%252%25") == "@@x|1%2%");  // one behind the other
  CHECK(who("me", "%C3%A9%00%ff") == std::string("me|\xc3\xa9\0\xff", 7));
  for (const std::string bad :
       {"%", "%4", "a%", "a%4", "%zz", "%4z", "%z4", "abc%-1", "%+1", "% 1", "%%41"}) {
    CAPTURE(bad);
    CHECK(who(bad, "") == "refused");
    CHECK(who("me", bad) == "refused");
  }
}

TEST_CASE("an_upstreams_user_and_password_are_at_most_255_bytes") {
  std::string most;
  for (int i = 0; i < 255; ++i) most += i % 2 == 0 ? "%41" : "b";
  CHECK(parts_of("http://" + most + ":" + most + "@192.0.2.1:1080") != "refused");
  CHECK(parts_of("http://" + most + "c:x@192.0.2.1:1080") == "refused");
  CHECK(parts_of("http://me:" + most + "c@192.0.2.1:1080") == "refused");
}
