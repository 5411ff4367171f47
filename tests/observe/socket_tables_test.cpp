// weir-ss's tables, from the JSON that a server would give, and from what one would not.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "runtime/tools/socket_tables.hpp"

using nlohmann::json;

namespace {

json sockets() {
  return json::parse(R"({"program":"services","pid":12,"listeners":[
      {"shard":0,"local":"127.0.0.1:7","accept_queue":2,"backlog":5,"accepted":3},
      {"shard":1,"local":"[::1]:4711","accept_queue":0,"backlog":1024,"syn_queue":3,"syn_backlog":256,
       "accepted":12345,"accept_overflows":1,"cookies_sent":7,"accept_wait_longest_us":1500.0}],
    "connections":[
      {"shard":0,"local":"127.0.0.1:7","remote":"127.0.0.1:50000","state":"established",
       "receive_queued":1,"send_queued":200000,"rtt_us":42.5,"rtt_variance_us":10.0,"rto_us":200000.0,
       "congestion":"cubic","congestion_window":14480,"sack":true,"timestamps":false,"retransmissions":4},
      {"shard":1,"local":"[::1]:4711","remote":"[::1]:50001","state":"close_wait"}]})");
}

}  // namespace

TEST_CASE("listeners_are_shown_as_ss_shows_them_and_the_unknown_as_a_dash") {
  CHECK(ss::to_tables(sockets(), {.listening = true}) ==
        "State   Recv-Q  Send-Q  SYN-Q  Local Address:Port  Accepted  Overflows  Cookies  Shard\n"
        "LISTEN       2       5      -  127.0.0.1:7                3          -        -      0\n"
        "LISTEN       0    1024  3/256  [::1]:4711             12345          1        7      1\n");
}

TEST_CASE("connections_are_shown_as_ss_shows_them") {
  CHECK(ss::to_tables(sockets(), {}) ==
        "State       Recv-Q  Send-Q  Local Address:Port  Peer Address:Port\n"
        "ESTAB            1  200000  127.0.0.1:7         127.0.0.1:50000\n"
        "CLOSE-WAIT       -       -  [::1]:4711          [::1]:50001\n");
}

TEST_CASE("info_adds_a_line_of_what_is_known") {
  const auto text = ss::to_tables(sockets(), {.info = true, .header = false});
  CHECK(text.find("\n\t sack cubic rto:200 rtt:0.0425/0.01 cwnd:14480 retrans:4 shard:0\n") !=
        std::string::npos);
  CHECK(text.find("\n\t shard:1\n") != std::string::npos);
  // What is usual is not said.
  auto all = sockets();
  auto& c = all["connections"][0];
  c["congestion_state"] = "open";
  c["lost"] = c["sacked"] = c["retransmitted"] = 0;
  c["reordering"] = false;
  CHECK(ss::to_tables(all, {.info = true}).find(" cubic rto:200") != std::string::npos);
  c["congestion_state"] = "recovery";
  c["lost"] = 2896;
  c["reordering"] = true;
  CHECK(ss::to_tables(all, {.info = true}).find(" cubic recovery reordering rto:200") !=
        std::string::npos);
  CHECK(ss::to_tables(all, {.info = true}).find(" lost:2896 sacked:0") != std::string::npos);
  const auto listeners = ss::to_tables(sockets(), {.listening = true, .info = true});
  CHECK(listeners.find("\t longest_wait_ms:1.5\n") != std::string::npos);
}

TEST_CASE("info_has_one_order_whatever_is_known") {
  auto all = sockets();
  all["listeners"] = json::parse(R"([{"local":"127.0.0.1:7","shard":0,"accepted_ahead":1,
      "accepted_ahead_limit":16,"deferred":11,"defer_accept_us":30000000.0,"owner_key":true,
      "policy":"hash","sharing":"sharded","members":4,"accept_wait_longest_us":1500.0,
      "accept_wait_us":500.0,"cookies_accepted":5,"syn_expired":6,"syn_overflows":7,
      "syn_queue_peak":8,"accept_queue_peak":9}])");
  CHECK(ss::to_tables(all, {.listening = true, .info = true})
            .ends_with("\n\t peak:9 syn_peak:8 syn_overflows:7 syn_expired:6 cookies_accepted:5 "
                       "wait_ms:0.5 longest_wait_ms:1.5 members:4 sharing:sharded/hash key:given "
                       "defer_ms:30000 deferred:11 ahead:1/16\n"));
  all["connections"] = json::parse(R"([{"local":"127.0.0.1:7","remote":"127.0.0.1:9","shard":2,
      "state":"established","write_waits":true,"read_waits":true,"receive_limit":3,"send_limit":4,
      "bytes_received":5,"bytes_retransmitted":6,"bytes_sent":7,"receive_mss":8,"send_mss":9,
      "rtt_us":2000.0,"rtt_variance_us":1000.0,"rto_us":200000.0,"send_window_shift":1,
      "receive_window_shift":2,"congestion":"cubic","sack":true,"timestamps":true}])");
  CHECK(ss::to_tables(all, {.info = true})
            .ends_with("\n\t ts sack cubic wscale:1,2 rto:200 rtt:2/1 mss:9 rcvmss:8 bytes_sent:7 "
                       "bytes_retrans:6 bytes_received:5 snd_buf:4 rcv_buf:3 shard:2 read_waits "
                       "write_waits\n"));
}

TEST_CASE("all_shows_both_tables_and_processes_who_holds_them") {
  const auto text = ss::to_tables(sockets(), {.all = true, .processes = true, .header = false});
  CHECK(text.find("LISTEN") < text.find("ESTAB"));
  CHECK(text.find("users:((\"services\",pid=12,shard=1))\n") != std::string::npos);
  CHECK(text.find("State") == std::string::npos);
}

TEST_CASE("udp_sockets_have_a_table_of_their_own") {
  auto all = sockets();
  CHECK_THROWS_AS(ss::to_tables(all, {.udp = true}), json::exception);  // a server of before
  all["udp_sockets"] = json::parse(R"([
      {"shard":0,"local":"127.0.0.1:53","receive_queued":4096,"receive_limit":262144,
       "datagrams_queued":4,"datagrams_limit":1024,"received":10,"sent":6,"dropped":3,
       "icmp_errors":0,"read_waits":true},
      {"shard":1,"local":"[::1]:5353","remote":"[::1]:9","receive_queued":0,"dropped":0}])");
  const std::string table =
      "State   Recv-Q   Limit  Datagrams  Local Address:Port  Peer Address:Port  Received  Sent  "
      "Dropped  Shard\n"
      "UNCONN    4096  262144     4/1024  127.0.0.1:53        *                        10     6  "
      "      3      0\n"
      "ESTAB        0       -          -  [::1]:5353          [::1]:9                   -     -  "
      "      0      1\n";
  CHECK(ss::to_tables(all, {.udp = true}) == table);
  CHECK(ss::to_tables(all, {.listening = true, .udp = true}) == table);
  CHECK(ss::to_tables(all, {.all = true}).ends_with("\n\n" + table));
  CHECK(ss::to_tables(all, {.tcp = true, .udp = true}) == ss::to_tables(all, {}) + "\n" + table);
  CHECK(ss::to_tables(all, {.udp = true, .info = true}).find("\t icmp_errors:0 read_waits\n") !=
        std::string::npos);
}

TEST_CASE("info_of_a_listener_says_who_shares_it_and_whether_it_has_a_key_but_not_which") {
  auto all = sockets();
  auto& l = all["listeners"][0];
  l["sharing"] = "sharded";
  l["policy"] = "round_robin";
  l["members"] = 4;
  l["owner_key"] = true;
  l["defer_accept_us"] = 3'000'000.0;
  l["deferred"] = 2;
  CHECK(
      ss::to_tables(all, {.listening = true, .info = true})
          .find("\t members:4 sharing:sharded/round_robin key:given defer_ms:3000 deferred:2\n") !=
      std::string::npos);
}

TEST_CASE("nothing_there_is_a_line_of_titles") {
  auto none = sockets();
  none["connections"] = json::array();
  CHECK(ss::to_tables(none, {}) ==
        "State  Recv-Q  Send-Q  Local Address:Port  Peer Address:Port\n");
}

TEST_CASE("a_server_that_lies_gets_no_control_character_onto_the_terminal") {
  auto evil = sockets();
  evil["connections"][0]["local"] = "\x1b[2J\n";
  evil["connections"][0]["state"] = "\x1b]0;x\x07";
  evil["program"] = "\x7f\x01";
  const auto text = ss::to_tables(evil, {.info = true, .processes = true});
  for (char c : text) CHECK((static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t'));
}

TEST_CASE("what_is_no_answer_of_an_admin_endpoint_is_an_exception") {
  for (auto* text : {"{}", "[]", "null", R"({"connections":7})", R"({"connections":[7]})",
                     R"({"connections":[{"state":"x"}]})", R"({"connections":[{"state":7}]})"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(ss::to_tables(json::parse(text), {}), json::exception);
  }
}
