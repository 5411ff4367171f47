// Rules of the gate in text, and names whose addresses the guest was answered.
#include <doctest/doctest.h>

#include "runtime/tools/gate/rules.hpp"

using namespace std::chrono_literals;
using weir::endpoint;
using weir::instant;
using weir::ip_address;
using weir::gate::name_book;
using weir::gate::policy;
using weir::gate::rule;
using kind = weir::gate::verdict::kind;

namespace {

const instant start = instant() + 1h;
endpoint at(const char* text) { return *endpoint::parse(text); }

policy of(std::initializer_list<const char*> allowed, std::initializer_list<const char*> denied) {
  policy out;
  for (const auto* text : allowed) out.rules.push_back(*rule::parse(text, true));
  for (const auto* text : denied) out.rules.push_back(*rule::parse(text, false));
  return out;
}

}  // namespace

TEST_CASE("rules_are_networks_and_names_with_ports_or_without") {
  for (const auto* good :
       {"10.0.0.0/8", "192.0.2.7:443", "[2001:db8::]/32:80-90", "*", "*:25", "example.org",
        "Example.ORG.", "*.example.org", "a.b-c.example.org:443", "xn--bcher-kva.example:80-90"})
    CHECK_MESSAGE(rule::parse(good, true), good);
  for (const auto* bad :
       {"", "localhost", "10.0.0", "10.0.0.256", "10.0.0.0/8:0", "a..org", ".example.org", "*.",
        "*example.org", "exa mple.org", "example.org/8", "example.org:x", "-:80"})
    CHECK_MESSAGE(!rule::parse(bad, true), bad);
}

TEST_CASE("a_rule_by_name_is_about_the_addresses_that_were_answered_for_it") {
  const auto rules = of({"www.example.org:443", "*.cdn.test"}, {"*"});
  name_book names;
  const auto judged = [&](const char* to, instant when = start) {
    return rules.judge(at(to), names, when).what;
  };
  CHECK(judged("192.0.2.1:443") == kind::denied);
  const std::array one{*ip_address::parse("192.0.2.1")}, two{*ip_address::parse("2001:db8::2")};
  names.note("www.example.org", one, 1h, start);
  names.note("cdn.test", two, 1h, start);
  CHECK(judged("192.0.2.1:443") == kind::allowed);
  CHECK(judged("192.0.2.1:80") == kind::denied);
  CHECK(judged("192.0.2.2:443") == kind::denied);
  CHECK(judged("[2001:db8::2]:443") == kind::denied);  // the name itself is not below it
  names.note("a.cdn.test", two, 1s, start);
  CHECK(judged("[2001:db8::2]:443") == kind::allowed);
  CHECK(judged("[2001:db8::2]:443", start + name_book::least_lifetime) == kind::allowed);
  CHECK(judged("[2001:db8::2]:443", start + name_book::least_lifetime + 1s) == kind::denied);
  CHECK(judged("192.0.2.1:443", start + 59min) == kind::allowed);
  CHECK(judged("192.0.2.1:443", start + 61min) == kind::denied);
}

TEST_CASE("addresses_of_names_are_bounded_and_the_oldest_are_forgotten") {
  const auto rules = of({"example.org"}, {"*"});
  name_book names;
  const auto number = [](std::uint32_t n) { return ip_address::v4(0x0a000000u + n); };
  for (std::uint32_t n = 0; n < name_book::most + 10; ++n)
    names.note("example.org", std::array{number(n)}, 1h, start + std::chrono::milliseconds(n));
  CHECK(names.size() == name_book::most);
  CHECK(names.forgotten() == 10);
  const auto later = start + 1min;
  CHECK(rules.judge({number(9), 80}, names, later).what == kind::denied);
  CHECK(rules.judge({number(10), 80}, names, later).what == kind::allowed);
  // Many names of one address: the last ones count.
  for (int i = 0; i < 1000; ++i)
    names.note("n" + std::to_string(i) + ".test", std::array{number(10)}, 1h, later);
  CHECK(rules.judge({number(10), 80}, names, later).what == kind::denied);
}
