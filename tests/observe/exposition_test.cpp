// /metrics and /sockets as texts: the exposition format's rules, JSON's types, and that what a back
// end does not know is absent from both.
#include <doctest/doctest.h>

#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "runtime/observe/exposition.hpp"
#include "runtime/observe/fields.hpp"
#include "runtime/observe/sockets_json.hpp"

using namespace weir::detail;
using nlohmann::json;
using kind = exposition::kind;

namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out;
  for (std::size_t from = 0; from < text.size();) {
    auto end = text.find('\n', from);
    REQUIRE(end != std::string::npos);  // every line ends
    out.push_back(text.substr(from, end - from));
    from = end + 1;
  }
  return out;
}

bool has_line(const std::string& text, const std::string& line) {
  for (auto& one : lines_of(text))
    if (one == line) return true;
  return false;
}

shard_snapshot some_shard(unsigned index) {
  shard_snapshot out;
  out.shard = index;
  out.backend = "stack";
  out.driver = "uring";
  out.counts.push_back({"shard", "turns", "turns of the loop", 7});
  out.counts.push_back({"stack", "memory", "charged", 4096, true, unit::bytes});
  out.counts.push_back({"device", "bytes_received", "bytes read", 11});
  out.stack.emplace();
  out.stack->add(weir::stack::counter::drop_tcp_paws, 3);
  out.stack->add(weir::stack::counter::syn_cookies_sent, 9);
  auto& l = out.listeners.emplace_back();
  l.local = {"127.0.0.1", 7};
  l.accept_queue = 2;
  l.backlog = 5;
  l.accept_wait = 1'500'000'000;
  out.listeners_total = 1;
  auto& c = out.connections.emplace_back();
  c.local = {"127.0.0.1", 7};
  c.remote = {"::1", 4711};
  c.state = "established";
  c.rtt = 1500;
  c.sack = 1;
  c.send_queued = 0;
  out.connections_total = 3;
  return out;
}

process_snapshot some_process() {
  process_snapshot out;
  out.shards.push_back(some_shard(0));
  out.shards.push_back(some_shard(1));
  out.silent.push_back(2);
  return out;
}

}  // namespace

TEST_CASE("a_family_is_described_once_and_its_samples_follow_together") {
  exposition out;
  out.add("weir_a_total", kind::counter, "first", {{"shard", "0"}}, std::uint64_t{1});
  out.add("weir_b", kind::gauge, "second", {}, std::uint64_t{2});
  out.add("weir_a_total", kind::counter, "first", {{"shard", "1"}}, UINT64_MAX);
  CHECK(out.text() ==
        "# HELP weir_a_total first\n# TYPE weir_a_total counter\n"
        "weir_a_total{shard=\"0\"} 1\nweir_a_total{shard=\"1\"} 18446744073709551615\n"
        "# HELP weir_b second\n# TYPE weir_b gauge\nweir_b 2\n");
}

TEST_CASE("labels_and_help_escape_what_would_end_them") {
  exposition out;
  out.add("weir_a", kind::gauge, "a \"b\" \\ c\nd", {{"x", "1\"2\\3\n4"}, {"y", ""}}, 0.25);
  CHECK(out.text() ==
        "# HELP weir_a a \"b\" \\\\ c\\nd\n# TYPE weir_a gauge\n"
        "weir_a{x=\"1\\\"2\\\\3\\n4\",y=\"\"} 0.25\n");
}

TEST_CASE("every_metric_of_a_snapshot_is_well_formed_and_no_series_comes_twice") {
  const auto text =
      to_metrics(some_process(), {.program = "pro\"gram", .version = "1.2.3", .pid = 1});
  std::set<std::string> described, series;
  std::string family;
  bool histogram = false;
  for (auto& line : lines_of(text)) {
    CAPTURE(line);
    if (line.starts_with("# HELP ")) {
      family = line.substr(7, line.find(' ', 7) - 7);
      CHECK(described.insert(family).second);
      CHECK(family.starts_with("weir_"));
      continue;
    }
    if (line.starts_with("# TYPE ")) {
      CHECK(line.substr(7).starts_with(family + " "));
      // What only grows is a counter and is called _total, and nothing else is.
      CHECK(line.ends_with(" counter") == family.ends_with("_total"));
      histogram = line.ends_with(" histogram");
      continue;
    }
    const auto end = line.rfind(' ');
    auto name = line.substr(0, line.find_first_of("{ "));
    for (const std::string part : {"_bucket", "_sum", "_count"})
      if (histogram && name == family + part) name = family;
    CHECK(name == family);
    CHECK(series.insert(line.substr(0, end)).second);
    CHECK(line.find_first_not_of("0123456789.e+-", end + 1) == std::string::npos);
  }
  CHECK(has_line(text, "weir_build_info{version=\"1.2.3\",program=\"pro\\\"gram\"} 1"));
  CHECK(has_line(text, "weir_shard_answered{shard=\"1\"} 1"));
  CHECK(has_line(text, "weir_shard_answered{shard=\"2\"} 0"));
  CHECK(has_line(text, "weir_shard_turns_total{shard=\"1\"} 7"));
  CHECK(has_line(text, "weir_stack_memory_bytes{shard=\"0\"} 4096"));
  CHECK(has_line(text, "weir_device_bytes_received_total{shard=\"0\"} 11"));
  CHECK(has_line(text, "weir_connections{shard=\"0\"} 3"));
}

TEST_CASE("a_histograms_buckets_grow_and_end_with_all") {
  exposition out;
  const std::vector<double> bounds = {0.5, 2};
  const std::vector<std::uint64_t> counts = {1, 0, 4};
  out.add_histogram("took", "time", {{"a", "b"}}, bounds, counts, 12.5);
  CHECK(out.text() ==
        "# HELP took time\n# TYPE took histogram\n"
        "took_bucket{a=\"b\",le=\"0.5\"} 1\ntook_bucket{a=\"b\",le=\"2\"} 1\n"
        "took_bucket{a=\"b\",le=\"+Inf\"} 5\ntook_sum{a=\"b\"} 12.5\ntook_count{a=\"b\"} 5\n");
}

TEST_CASE("the_programs_own_series_are_summed_over_the_shards") {
  auto from = some_process();
  for (auto& shard : from.shards) {
    own_series counter, gauge, took;
    counter.of = {"orders", "taken", weir::metrics::kind::counter, {{"kind", "b"}}};
    counter.counter = 20 + shard.shard;
    gauge.of = {"depth", "of a queue", weir::metrics::kind::gauge, {}};
    gauge.gauge = 0.5;
    took.of = {"took", "time", weir::metrics::kind::histogram, {}};
    took.bounds = {1};
    took.counts = {2, 1};
    took.sum = 4;
    shard.own = {counter, gauge, took};
  }
  const auto text = to_metrics(from, {});
  CHECK(has_line(text, "# TYPE orders_total counter"));
  CHECK(has_line(text, "orders_total{kind=\"b\"} 41"));
  CHECK(has_line(text, "depth 1"));
  CHECK(has_line(text, "took_bucket{le=\"1\"} 4"));
  CHECK(has_line(text, "took_bucket{le=\"+Inf\"} 6"));
  CHECK(has_line(text, "took_sum 8"));
}

TEST_CASE("how_turns_are_spread_is_a_histogram_whose_buckets_hold_whole_powers") {
  auto from = some_process();
  auto& loop = from.shards[0].histograms;
  loop.ready.add(1);
  loop.ready.add(3);
  loop.ready.add(4);
  const auto text = to_metrics(from, {});
  CHECK(has_line(text, "weir_shard_ready_coroutines_bucket{shard=\"0\",le=\"1\"} 1"));
  CHECK(has_line(text, "weir_shard_ready_coroutines_bucket{shard=\"0\",le=\"3\"} 2"));
  CHECK(has_line(text, "weir_shard_ready_coroutines_bucket{shard=\"0\",le=\"7\"} 3"));
  CHECK(has_line(text, "weir_shard_ready_coroutines_sum{shard=\"0\"} 8"));
}

TEST_CASE("every_counter_of_the_stack_appears_by_itself") {
  const auto text = to_metrics(some_process(), {});
  for (std::size_t i = 0; i < weir::stack::host_counters::size; ++i) {
    const std::string name(weir::stack::name(static_cast<weir::stack::counter>(i)));
    CAPTURE(name);
    const auto value = name == "drop_tcp_paws" ? " 3" : name == "syn_cookies_sent" ? " 9" : " 0";
    const auto series = name.starts_with("drop_") ? "weir_stack_drops_total{shard=\"0\",reason=\"" +
                                                        name.substr(5) + "\"}"
                                                  : "weir_stack_" + name + "_total{shard=\"0\"}";
    CHECK(has_line(text, series + value));
  }
}

TEST_CASE("a_listener_shows_what_is_known_and_nothing_else") {
  const auto text = to_metrics(some_process(), {});
  CHECK(has_line(text, "weir_listener_accept_queue{shard=\"0\",listener=\"127.0.0.1:7\"} 2"));
  CHECK(has_line(
      text, "weir_listener_accept_wait_seconds_total{shard=\"0\",listener=\"127.0.0.1:7\"} 1.5"));
  CHECK(text.find("weir_listener_syn_queue") == std::string::npos);
  CHECK(text.find("weir_listener_accepted") == std::string::npos);
}

TEST_CASE("two_listeners_on_one_address_are_two_series") {
  process_snapshot two;
  two.shards.push_back(some_shard(0));
  two.shards[0].listeners.push_back(two.shards[0].listeners[0]);
  const auto text = to_metrics(two, {});
  CHECK(has_line(text, "weir_listener_backlog{shard=\"0\",listener=\"127.0.0.1:7\"} 5"));
  CHECK(
      has_line(text, "weir_listener_backlog{shard=\"0\",listener=\"127.0.0.1:7\",member=\"1\"} 5"));
}

TEST_CASE("json_has_types_and_leaves_out_what_is_not_known") {
  const auto text =
      to_sockets_json(some_process(), {.program = "a\"b\\\n\xff", .version = "1", .pid = 12}, 10);
  const auto all = json::parse(text);
  CHECK(all["pid"] == 12);
  CHECK(all["program"] == "a\"b\\\n\xef\xbf\xbd");
  CHECK(all["silent_shards"] == json::array({2}));
  CHECK(all["listeners_left_out"] == 0);
  CHECK(all["connections_left_out"] == 4);
  REQUIRE(all["shards"].size() == 2);
  CHECK(all["shards"][1]["stack"]["drop_tcp_paws"] == 3);
  CHECK(all["shards"][1]["counts"]["stack_memory"] == 4096);
  REQUIRE(all["listeners"].size() == 2);
  CHECK(all["listeners"][0] == json::parse(R"({"shard":0,"local":"127.0.0.1:7","accept_queue":2,
      "backlog":5,"accept_wait_us":1500000.0})"));
  REQUIRE(all["connections"].size() == 2);
  CHECK(all["connections"][1] == json::parse(R"({"shard":1,"local":"127.0.0.1:7",
      "remote":"[::1]:4711","state":"established","send_queued":0,"rtt_us":1.5,"sack":true})"));
  CHECK(all["connections"][1]["sack"].is_boolean());
  CHECK(all["connections"][1]["send_queued"].is_number_unsigned());
}

TEST_CASE("who_shares_an_address_and_udp_sockets_are_series_and_members_of_their_own") {
  process_snapshot one;
  auto& shard = one.shards.emplace_back(some_shard(0));
  auto& l = shard.listeners[0];
  l.sharing = "sharded";
  l.policy = "round_robin";
  l.members = 4;
  l.owner_key = 1;
  l.defer_accept = 1'500'000'000;
  l.deferred = 2;
  for (int i = 0; i < 2; ++i) {
    auto& u = shard.udp_sockets.emplace_back();
    u.local = {"127.0.0.1", 53};
    u.receive_queued = 4096;
    u.dropped = 3;
  }
  shard.udp_sockets[1].remote = weir::endpoint("::1", 9);
  shard.udp_sockets_total = 5;
  shard.listeners_total = 3;
  const auto text = to_metrics(one, {});
  CHECK(has_line(text,
                 "weir_listener_info{shard=\"0\",listener=\"127.0.0.1:7\",sharing=\"sharded\","
                 "policy=\"round_robin\"} 1"));
  CHECK(has_line(text, "weir_listener_members{shard=\"0\",listener=\"127.0.0.1:7\"} 4"));
  CHECK(has_line(text, "weir_listener_owner_key{shard=\"0\",listener=\"127.0.0.1:7\"} 1"));
  CHECK(has_line(text,
                 "weir_listener_defer_accept_seconds{shard=\"0\",listener=\"127.0.0.1:7\"} 1.5"));
  CHECK(has_line(text, "weir_listener_deferred_total{shard=\"0\",listener=\"127.0.0.1:7\"} 2"));
  CHECK(has_line(text, "weir_udp_sockets{shard=\"0\"} 5"));
  CHECK(has_line(text, "weir_udp_receive_queued_bytes{shard=\"0\",socket=\"127.0.0.1:53\"} 4096"));
  CHECK(has_line(text, "weir_udp_dropped_total{shard=\"0\",socket=\"127.0.0.1:53 to [::1]:9\"} 3"));
  CHECK(text.find("weir_udp_sent") == std::string::npos);
  const auto all = json::parse(to_sockets_json(one, {}, 10));
  CHECK(all["listeners"][0]["sharing"] == "sharded");
  CHECK(all["listeners"][0]["policy"] == "round_robin");
  CHECK(all["listeners"][0]["owner_key"] == true);
  CHECK(all["udp_sockets_left_out"] == 3);
  CHECK(all["listeners_left_out"] == 2);
  CHECK(all["udp_sockets"][0] ==
        json::parse(R"({"shard":0,"local":"127.0.0.1:53","receive_queued":4096,"dropped":3})"));
  CHECK(all["udp_sockets"][1]["remote"] == "[::1]:9");
}

TEST_CASE("json_shows_no_more_connections_than_asked_for") {
  const auto all = json::parse(to_sockets_json(some_process(), {}, 0));
  CHECK(all["connections"].empty());
  CHECK(all["connections_left_out"] == 6);
}

TEST_CASE("no_two_fields_have_one_name") {
  std::set<std::string_view> names;
  for (auto& f : listener_fields) CHECK(names.insert(f.name).second);
  names.clear();
  for (auto& f : connection_fields) CHECK(names.insert(f.name).second);
  names.clear();
  for (auto& f : udp_fields) CHECK(names.insert(f.name).second);
}

TEST_CASE("the_kernels_counts_are_found_by_name_whatever_their_order") {
  const auto counts = parse_kernel_counts(
      "Foo: ListenDrops\nFoo: 9\nTcpExt: SyncookiesSent Other ListenOverflows ListenDrops\n"
      "TcpExt: 1 2 18446744073709551615 x\nIpExt: a\nIpExt: 1\n");
  REQUIRE(counts.size() == 2);
  CHECK(counts[0].name == "cookies_sent");
  CHECK(counts[0].value == 1);
  CHECK(counts[1].name == "listen_overflows");
  CHECK(counts[1].value == UINT64_MAX);
  for (auto* none : {"", "TcpExt:", "TcpExt: ListenDrops",
                     "TcpExt: ListenDrops\nTcpExt:", "TcpExt: ListenDrops\nTcpExt: -1\n", "\n\n"})
    CHECK(parse_kernel_counts(none).empty());
}

TEST_CASE("the_kernels_counts_are_shown_for_kernel_sockets_only") {
  process_facts facts;
  facts.kernel = {{"listen_overflows", "h", 5}};
  auto from = some_process();
  CHECK(to_metrics(from, facts).find("weir_kernel_") == std::string::npos);
  from.shards[0].backend = "uring";
  CHECK(has_line(to_metrics(from, facts), "weir_kernel_listen_overflows_total 5"));
}
