// Names in a simulated network under virtual time: a name server that is slow, lossy or lies, and
// connections by name over paths that do not work.
#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "support/name_server.hpp"
#include "weir/resolve.hpp"
#include "weir/sim.hpp"

using namespace std::chrono_literals;
using namespace names_test;
using weir::duration;
using weir::endpoint;
using weir::name_error;
using weir::resolver;
using weir::resolver_settings;
using weir::shard;
using weir::task;

namespace {

const endpoint first_server("10.0.0.1", 53), second_server("10.0.0.3", 53);

/// A client with two name servers, of which it is told one.
struct world {
  weir::sim::network net{{.seed = 1}};
  weir::sim::host& here = net.add_host(
      "10.0.0.2/24", {.more_addresses = {"2001:db8::2/64"}, .settings = settings_of_client()});
  weir::sim::host& there = net.add_host("10.0.0.1/24", {.more_addresses = {"2001:db8::1/64"}});
  weir::sim::host& other = net.add_host("10.0.0.3/24");
  weir::sim::link& link = net.link(here, there, {.delay = 1ms});
  weir::sim::link& other_link = net.link(here, other, {.delay = 1ms});
  name_server names, others;
  resolver_settings settings{.servers = {first_server}, .search = {}, .hosts = {}};

  static weir::config settings_of_client() {
    weir::config out;
    out.resolve.servers = {first_server};
    return out;
  }
  world() {
    names.zone["example.org"] = {a("10.0.0.1"), a("2001:db8::1")};
    names.zone["www.example.org"] = {alias("example.org")};
    names.zone["only4.example.org"] = {a("10.0.0.1")};
    others.zone = names.zone;
  }
  /// Runs a client's script while the name servers serve.
  void run(std::function<task<>(shard&, resolver&)> script) {
    net.start(there, [this](shard& s) { return names.serve(s, first_server); });
    net.start(other, [this](shard& s) { return others.serve(s, second_server); });
    net.start(here, [&, script](shard& s) -> task<> {
      resolver r(s, settings);
      co_await script(s, r);
      there.shard().request_stop();
      other.shard().request_stop();
    });
    net.run();
  }
};

std::string text(const std::vector<weir::ip_address>& all) {
  std::string out;
  for (const auto& one : all) out += (out.empty() ? "" : " ") + one.to_string();
  return out;
}
/// As exact as the timer wheel is.
bool is_about(duration took, duration expected) {
  return took >= expected && took < expected + 1ms;
}
/// The addresses, or why there are none.
task<std::string> look_up(resolver& r, std::string name) {
  auto got = co_await r.addresses(name).nothrow();
  co_return got ? text(*got) : got.error().message();
}

}  // namespace

TEST_CASE("a_name_gives_the_addresses_of_both_families_and_aliases_are_followed") {
  world w;
  w.run([](shard&, resolver& r) -> task<> {
    auto got = co_await look_up(r, "www.Example.org");
    CHECK(got == "2001:db8::1 10.0.0.1");
    auto only4 = co_await look_up(r, "only4.example.org");
    CHECK(only4 == "10.0.0.1");
    auto none = co_await look_up(r, "nobody.example.org");
    CHECK(none == "there is no such name");
    auto v6 = co_await r.addresses("only4.example.org", weir::ip_family::v6).nothrow();
    CHECK(v6.error() == name_error::no_data);
  });
}

TEST_CASE("what_needs_no_server_asks_none_and_what_is_no_name_is_refused") {
  world w;
  w.settings.hosts = "10.9.9.9 printer printer.lan # upstairs\n";
  w.run([](shard&, resolver& r) -> task<> {
    auto text_v4 = co_await look_up(r, "192.0.2.7");
    auto text_v6 = co_await look_up(r, "2001:db8::7");
    auto local = co_await look_up(r, "db.localhost");
    auto printer = co_await look_up(r, "PRINTER");
    CHECK(text_v4 == "192.0.2.7");
    CHECK(text_v6 == "2001:db8::7");
    CHECK(local == "127.0.0.1 ::1");  // a simulated host has no ::1
    CHECK(printer == "10.9.9.9");
    auto names = co_await r.names(*weir::ip_address::parse("10.9.9.9"));
    CHECK(names == std::vector<std::string>{"printer", "printer.lan"});
    for (auto* wrong : {"", ".", "a..b", "a b", "a\nb", "a/b", "b\xc3\xbc.org"}) {
      auto got = co_await r.addresses(wrong).nothrow();
      CHECK(got.error() == std::errc::invalid_argument);
    }
    CHECK(r.counters().queries == 0);
  });
}

TEST_CASE("answers_are_kept_for_as_long_as_they_say_negative_ones_too") {
  world w;
  w.run([&](shard&, resolver& r) -> task<> {
    for (int i = 0; i < 2; ++i) {
      (void)co_await look_up(r, "only4.example.org");
      (void)co_await look_up(r, "nobody.example.org");
    }
    CHECK(w.names.log.size() == 4);
    CHECK(r.counters().cache_hits == 4);
    co_await weir::sleep_for(31s);  // the negative ones have gone, with AAAA of only4
    (void)co_await look_up(r, "only4.example.org");
    CHECK(w.names.log.size() == 5);
    co_await weir::sleep_for(32s);
    (void)co_await look_up(r, "only4.example.org");
    CHECK(w.names.log.size() == 7);
    r.forget();
    CHECK(r.cached() == 0);
  });
}

TEST_CASE("the_cache_of_answers_holds_no_more_than_it_is_told") {
  world w;
  w.settings.cache = 4;
  for (int i = 0; i < 10; ++i) w.names.zone["h" + std::to_string(i)] = {a("10.0.0.1")};
  w.run([](shard&, resolver& r) -> task<> {
    for (int i = 0; i < 10; ++i) {
      const auto name = "h" + std::to_string(i);
      (void)co_await r.addresses(name, weir::ip_family::v4);
      CHECK(r.cached() <= 4);
    }
    CHECK(r.counters().cache_drops == 6);
    const auto asked = r.counters().queries;
    (void)co_await r.addresses("h9", weir::ip_family::v4);
    CHECK(r.counters().queries == asked);
    (void)co_await r.addresses("h0", weir::ip_family::v4);
    CHECK(r.counters().queries == asked + 1);
  });
}

TEST_CASE("a_query_that_is_lost_is_sent_again") {
  world w;
  w.names.ignore = 1;
  w.run([](shard& s, resolver& r) -> task<> {
    const auto begin = s.now();
    auto got = co_await r.addresses("only4.example.org", weir::ip_family::v4);
    CHECK(text(got) == "10.0.0.1");
    CHECK(s.now() - begin >= 1s);
    CHECK(s.now() - begin < 1100ms);
    CHECK(r.counters().timeouts == 1);
  });
}

TEST_CASE("the_next_server_is_asked_where_one_is_silent_fails_or_refuses") {
  for (const unsigned code : {0u, server_failure, refused}) {
    CAPTURE(code);
    world w;
    w.settings.servers = {second_server, first_server};
    w.others.failure = code;
    w.others.ignore = code == 0 ? 1000 : 0;
    w.run([code](shard& s, resolver& r) -> task<> {
      const auto begin = s.now();
      auto got = co_await r.addresses("only4.example.org", weir::ip_family::v4);
      CHECK(text(got) == "10.0.0.1");
      CHECK(s.now() - begin < (code == 0 ? duration(1100ms) : duration(100ms)));
    });
  }
}

TEST_CASE("a_port_without_a_server_is_known_at_once") {
  world w;
  w.settings.servers = {endpoint("10.0.0.3", 5353), first_server};
  w.run([](shard& s, resolver& r) -> task<> {
    const auto begin = s.now();
    auto got = co_await r.addresses("only4.example.org", weir::ip_family::v4);
    CHECK(text(got) == "10.0.0.1");
    CHECK(s.now() - begin < 100ms);
  });
}

TEST_CASE("an_answer_too_long_for_a_datagram_comes_over_tcp") {
  world w;
  std::vector<record> many;
  for (int i = 1; i <= 50; ++i) many.push_back(a(("10.1.0." + std::to_string(i)).c_str()));
  w.names.zone["many.example.org"] = many;
  w.run([&](shard&, resolver& r) -> task<> {
    auto got = co_await r.addresses("many.example.org", weir::ip_family::v4);
    CHECK(got.size() == 50);
    CHECK(w.names.log == std::vector<std::string>{"many.example.org 1", "tcp many.example.org 1"});
    CHECK(r.counters().over_tcp == 1);
  });
}

TEST_CASE("services_come_by_priority_and_addresses_have_names") {
  world w;
  w.names.zone["_ldap._tcp.example.org"] = {service(20, 0, 389, "spare.example.org"),
                                            service(10, 1, 389, "b.example.org"),
                                            service(10, 200, 390, "a.example.org")};
  w.names.zone["none.example.org"] = {service(0, 0, 0, "")};
  w.names.zone["1.0.0.10.in-addr.arpa"] = {{PTR, wire_name("host.example.org")},
                                           {PTR, wire_name("no name$(at) all")}};
  w.run([](shard&, resolver& r) -> task<> {
    int often = 0;
    for (int i = 0; i < 100; ++i) {
      auto got = co_await r.services("_ldap._tcp.example.org");
      REQUIRE(got.size() == 3);
      CHECK(got[2].target == "spare.example.org");
      often += got[0].target == "a.example.org" ? 1 : 0;
    }
    CHECK(often > 80);
    auto none = co_await r.services("none.example.org").nothrow();
    CHECK(none.error() == name_error::no_data);
    auto names = co_await r.names(*weir::ip_address::parse("10.0.0.1"));
    CHECK(names == std::vector<std::string>{"host.example.org"});
  });
}

TEST_CASE("short_names_are_looked_up_in_the_search_domains") {
  world w;
  w.settings.search = {"lan", "example.org"};
  w.run([&](shard&, resolver& r) -> task<> {
    auto got = co_await look_up(r, "only4");
    CHECK(got == "10.0.0.1");
    CHECK(w.names.log[0].starts_with("only4.lan "));
    auto complete = co_await look_up(r, "only4.");
    CHECK(complete == "there is no such name");
    w.names.failure = server_failure;  // what cannot be looked at ends the search
    auto failed = co_await look_up(r, "other");
    CHECK(failed == "no name server could answer");
  });
}

TEST_CASE("hostile_answers_change_nothing") {
  world w;
  w.names.lie = [](const asked& q, const std::string& honest) {
    const auto bad = wire_record(q.wire.substr(0, q.wire.size() - 4), a("10.6.6.6"));
    auto other_id = q, other_name = q, other_type = q;
    other_id.id[0] = static_cast<char>(other_id.id[0] ^ 1);
    other_name.wire[1] = 'x';
    other_type.wire[other_type.wire.size() - 3] = 16;
    const std::string loop = "\xc0" + std::string(1, static_cast<char>(12 + q.wire.size()));
    std::vector<std::pair<std::string, bool>> all;
    all.emplace_back(wire_message(other_id, plain_flags, 1, bad), false);
    all.emplace_back(wire_message(other_name, plain_flags, 1, bad), false);
    all.emplace_back(wire_message(other_type, plain_flags, 1, bad), false);
    all.emplace_back(wire_message(q, plain_flags, 1, bad), true);  // from another port
    all.emplace_back(wire_message(q, 0x0100, 1, bad), false);      // a query
    all.emplace_back(wire_message(q, plain_flags, 1, wire_record(loop, a("10.6.6.6"))), false);
    all.emplace_back(wire_message(q, plain_flags, 9, bad), false);            // fewer than it says
    all.emplace_back(wire_message(q, plain_flags, 1, bad.substr(1)), false);  // cut
    all.emplace_back(wire_message(q, plain_flags, 1, bad + std::string(9000, 'x')), false);
    all.emplace_back("", false);
    all.emplace_back(std::string(11, '\0'), false);
    all.emplace_back(honest, false);
    return all;
  };
  w.run([](shard& s, resolver& r) -> task<> {
    const auto begin = s.now();
    auto got = co_await r.addresses("only4.example.org", weir::ip_family::v4);
    CHECK(text(got) == "10.0.0.1");
    CHECK(r.counters().ignored == 10);
    CHECK(r.counters().queries == 1);
    CHECK(s.now() - begin < 100ms);
  });
}

TEST_CASE("records_of_other_names_and_circles_of_aliases_are_not_believed") {
  world w;
  w.names.zone["circle.example.org"] = {alias("circle2.example.org")};
  w.names.zone["circle2.example.org"] = {alias("circle.example.org")};
  w.run([&](shard&, resolver& r) -> task<> {
    auto circle = co_await look_up(r, "circle.example.org");
    CHECK(circle == "no name server could answer");
    w.names.lie = [](const asked& q, const std::string&) {
      std::vector<std::pair<std::string, bool>> all;
      all.emplace_back(wire_message(q, plain_flags, 1,
                                    wire_record(wire_name("bank.example.org"), a("10.6.6.6"))),
                       false);
      return all;
    };
    auto got = co_await r.addresses("only4.example.org", weir::ip_family::v4).nothrow();
    CHECK(got.error() == name_error::no_data);
    w.names.lie = nullptr;
    auto bank = co_await look_up(r, "bank.example.org");
    CHECK(bank == "there is no such name");
  });
}

TEST_CASE("a_lookup_ends_by_its_timeout_by_the_resolvers_and_by_cancellation") {
  world w;
  w.names.ignore = 1000;
  w.run([&](shard& s, resolver& r) -> task<> {
    auto begin = s.now();
    auto own = co_await r.addresses("example.org").timeout(300ms).nothrow();
    CHECK(own.error() == std::errc::timed_out);
    CHECK(is_about(s.now() - begin, 300ms));
    begin = s.now();
    std::string said;
    try {
      (void)co_await r.addresses("example.org");
    } catch (const weir::io_error& e) {
      said = e.what();
      CHECK(e.code() == std::errc::timed_out);
    }
    CHECK(said.starts_with("addresses of example.org (10.0.0.1:53: "));
    CHECK(is_about(s.now() - begin, 5s));
    weir::scope some(s);
    std::error_code ended;
    auto one = [&]() -> task<> {
      auto got = co_await r.addresses("example.org").nothrow();
      ended = got.error();
    };
    some.spawn(one());
    co_await weir::sleep_for(100ms);
    some.cancel();
    co_await some.join();
    CHECK(ended == std::errc::operation_canceled);
  });
}

TEST_CASE("one_question_is_asked_once_for_all_and_outlives_the_one_who_asked_first") {
  world w;
  w.names.delays[A] = 400ms;
  w.run([&](shard& s, resolver& r) -> task<> {
    int found = 0, late = 0;
    auto ask = [&](duration limit) -> task<> {
      auto got =
          co_await r.addresses("only4.example.org", weir::ip_family::v4).timeout(limit).nothrow();
      ++(got ? found : late);
    };
    weir::scope some(s);
    some.spawn(ask(5s));
    some.spawn(ask(5s));
    some.spawn(ask(5s));
    co_await some.join();
    CHECK(found == 3);
    CHECK(w.names.log.size() == 1);
    r.forget();
    some.spawn(ask(100ms));  // gives up, and somebody else asks again
    some.spawn(ask(5s));
    co_await some.join();
    CHECK(late == 1);
    CHECK(found == 4);
    CHECK(w.names.log.size() == 3);
  });
}

// --- Connecting by name.

namespace {

/// Accepts and drops, so that there is something to connect to.
task<> accept_all(shard& s, endpoint at) {
  auto listener = s.listen(at);
  for (;;) {
    auto peer = co_await listener.accept();
    if (!peer) break;
  }
}
/// Whom a connection by name reached, and after how long.
task<std::string> reach(shard& s, std::string name, duration& took) {
  const auto begin = s.now();
  std::string out;
  try {
    auto peer = co_await weir::connect(name, 443);
    out = peer.remote_endpoint().to_string();
  } catch (const weir::connect_error& e) {
    out = e.details();
  }
  took = s.now() - begin;
  co_return out;
}

}  // namespace

TEST_CASE("connect_by_name_takes_ipv6_where_it_works") {
  world w;
  w.net.start(w.there, [](shard& s) { return accept_all(s, {"10.0.0.1", 443}); });
  w.net.start(w.there, [](shard& s) { return accept_all(s, {"2001:db8::1", 443}); });
  w.run([](shard& s, resolver&) -> task<> {
    duration took{};
    auto got = co_await reach(s, "example.org", took);
    CHECK(got == "[2001:db8::1]:443");
    CHECK(took < 10ms);
  });
}

TEST_CASE("a_broken_ipv6_path_costs_connect_by_name_at_most_300_ms") {
  world w;
  w.names.zone["broken.example.org"] = {a("2001:db8::99"), a("2001:db8::98"), a("10.0.0.1")};
  w.net.start(w.there, [](shard& s) { return accept_all(s, {"10.0.0.1", 443}); });
  w.run([](shard& s, resolver&) -> task<> {
    duration took{};
    auto got = co_await reach(s, "broken.example.org", took);
    CHECK(got == "10.0.0.1:443");
    CHECK(took >= 250ms);
    CHECK(took <= 300ms);
  });
}

TEST_CASE("connect_by_name_waits_50_ms_for_a_late_answer_about_ipv6_and_no_longer") {
  for (const duration late : {duration(30ms), duration(2s)}) {
    world w;
    w.names.delays[AAAA] = late;
    w.net.start(w.there, [](shard& s) { return accept_all(s, {"10.0.0.1", 443}); });
    w.net.start(w.there, [](shard& s) { return accept_all(s, {"2001:db8::1", 443}); });
    w.run([late](shard& s, resolver&) -> task<> {
      duration took{};
      auto got = co_await reach(s, "example.org", took);
      CHECK(got == (late < 50ms ? "[2001:db8::1]:443" : "10.0.0.1:443"));
      CHECK(took < 60ms);
    });
  }
}

TEST_CASE("connect_by_name_says_what_became_of_each_address") {
  world w;
  w.names.zone["mixed.example.org"] = {a("2001:db8::99"), a("10.0.0.1"), a("10.0.0.3")};
  w.run([](shard& s, resolver&) -> task<> {
    duration took{};
    auto refused_all = co_await reach(s, "example.org", took);
    CHECK(refused_all == "[2001:db8::1]:443: Connection refused; 10.0.0.1:443: Connection refused");
    CHECK(took < 20ms);
    auto none = co_await reach(s, "nobody.example.org", took);
    CHECK(none == "there is no such name");
    std::string said, details;
    std::error_code code;
    const auto begin = s.now();
    try {
      (void)co_await weir::connect("mixed.example.org", 443).timeout(400ms);
    } catch (const weir::connect_error& e) {
      said = e.what();
      details = e.details();
      code = e.code();
    }
    CHECK(code == std::errc::timed_out);
    CHECK(is_about(s.now() - begin, 400ms));
    CHECK(details ==
          "[2001:db8::99]:443: no answer yet; 10.0.0.1:443: Connection refused; "
          "10.0.0.3:443: Connection refused");
    CHECK(said.starts_with("connect to mixed.example.org port 443 ([2001:db8::99]:443"));
    auto port_zero = co_await weir::connect("example.org", 0).nothrow();
    CHECK(port_zero.error() == std::errc::address_not_available);
  });
}

TEST_CASE("connect_by_name_tries_32_addresses_and_no_more") {
  world w;
  auto& many = w.names.zone["many.example.org"];
  for (int i = 0; i < 40; ++i) many.push_back(a("10.0.0.1"));
  w.run([](shard& s, resolver&) -> task<> {
    duration took{};
    auto got = co_await reach(s, "many.example.org", took);
    CHECK(std::ranges::count(got, ';') == 31);
  });
}

TEST_CASE("a_name_server_on_a_lossy_link_gives_the_same_run_for_the_same_seed") {
  auto trace = [] {
    world w;
    w.link.set_options({.delay = 5ms, .jitter = 3ms, .loss = 0.1, .duplicate = 0.1});
    int found = 0;
    w.settings.cache = 0;
    w.run([&found](shard&, resolver& r) -> task<> {
      for (int i = 0; i < 50; ++i) {
        auto got = co_await look_up(r, "example.org");
        found += got == "2001:db8::1 10.0.0.1" ? 1 : 0;
      }
    });
    CHECK(found >= 45);
    return w.net.trace();
  };
  CHECK(trace() == trace());
}
