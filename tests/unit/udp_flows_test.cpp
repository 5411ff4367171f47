// UDP to others' addresses: flows, their sockets, their bound and their end.
#include "unit/udp_support.hpp"

using namespace weir;
using namespace weir::test;
using namespace std::chrono_literals;

namespace {

ip_address elsewhere(bool v6) { return addr(v6 ? "2001:db8:9::9" : "203.0.113.9"); }

struct flow_bench : udp_bench {
  explicit flow_bench(const stack::udp_flow_options& how = {}) : udp_bench() {
    v4 = *host.udp_bind_any(any_destination::v4(), how);
    v6 = *host.udp_bind_any(any_destination::v6(), how);
  }
  void to_other(bool six, std::string_view payload, std::uint16_t from_port = 40000,
                std::uint16_t to_port = 53) {
    ip_packet p;
    p.source = peer(six), p.destination = elsewhere(six), p.protocol = 17;
    p.payload = udp_bytes(p.source, p.destination, from_port, to_port, text(payload));
    in(p.build());
  }
  socket_id accept(bool six = false) {
    auto id = host.udp_accept(six ? v6 : v4);
    REQUIRE(id);
    return *id;
  }
  bool any_flow(bool six = false) { return host.udp_accept(six ? v6 : v4).has_value(); }
  bool event_of(socket_id id, stack::ready wanted) {
    stack::event what;
    bool seen = false;
    while (host.next_event(what)) seen |= what.socket == id && any(what.what, wanted);
    return seen;
  }
  void after(duration d) {
    now = now + d;
    host.advance(now);
  }

  socket_id v4, v6;
};

}  // namespace

TEST_CASE("a_datagram_to_another_begins_a_flow_and_its_answer_comes_from_there") {
  for (bool v6 : {false, true}) {
    flow_bench b;
    b.to_other(v6, "query");
    stack::event what;
    REQUIRE(b.host.next_event(what));
    CHECK(what.socket == (v6 ? b.v6 : b.v4));
    CHECK(what.what == stack::ready::acceptable);
    CHECK_FALSE(b.host.next_event(what));  // nobody has the flow yet
    const auto flow = b.accept(v6);
    CHECK(b.event_of(flow, stack::ready::readable));
    CHECK_FALSE(b.any_flow(v6));
    CHECK(b.host.local_endpoint(flow) == endpoint(elsewhere(v6), 53));
    CHECK(b.host.remote_endpoint(flow) == peer_at(v6, 40000));
    CHECK(b.receive(flow) == "query");
    CHECK_FALSE(b.send(flow, text("answer")));
    REQUIRE(b.sent() == 1);
    const auto sent = as_udp(b.sink.sent[0]);
    CHECK(sent.from == endpoint(elsewhere(v6), 53));
    CHECK(sent.to == peer_at(v6, 40000));
    b.to_other(v6, "again");  // the same flow
    CHECK(b.receive(flow) == "again");
    CHECK_FALSE(b.any_flow(v6));
    b.to_other(v6, "other", 40001);
    CHECK(b.any_flow(v6));
  }
}

TEST_CASE("flows_leave_what_is_bound_to_others") {
  flow_bench b;
  const auto own = b.bind(own_at(false, 53));
  b.datagram(false, 53, text("mine"));
  CHECK(b.receive(own) == "mine");
  CHECK_FALSE(b.any_flow());
  b.datagram(false, 54, text("anybody's"));
  const auto flow = b.accept();
  CHECK(b.host.local_endpoint(flow) == own_at(false, 54));
  CHECK_FALSE(b.host.udp_connect(flow, peer_at(false, 1)) == std::error_code());
  // Its end leaves the port unreachable, as ever.
  b.host.close(b.now, b.v4);
  b.skip();
  b.datagram(false, 55, text("nobody's"));
  CHECK(as_icmp(b.sink.sent[0]).type == wire::icmp4::unreachable);
}

TEST_CASE("a_narrower_destination_has_its_flows_and_the_same_one_twice_is_refused") {
  flow_bench b;
  CHECK(b.host.udp_bind_any(any_destination::v4()).error() == std::errc::address_in_use);
  CHECK(b.host.udp_bind_any({{}, {0, 5}}).error() == std::errc::invalid_argument);
  const auto dns = *b.host.udp_bind_any({*ip_prefix::parse("203.0.113.0/24"), {53, 53}});
  b.to_other(false, "query");
  CHECK(b.host.udp_accept(dns));
  b.to_other(false, "else", 40000, 54);
  CHECK(b.any_flow());
}

TEST_CASE("a_flow_that_is_idle_for_its_time_is_over_and_the_next_datagram_begins_another") {
  flow_bench b({.idle = 10s});
  b.to_other(false, "one");
  auto flow = b.accept();
  b.after(9s);
  CHECK_FALSE(b.send(flow, text("answer")));  // not idle
  b.after(9s);
  b.to_other(false, "two");
  b.after(9s);
  CHECK(b.receive(flow) == "one");
  (void)b.event_of(flow, stack::ready::readable);
  b.after(2s);
  CHECK(b.event_of(flow, stack::ready::readable));
  CHECK(b.receive(flow) == "two");  // what came is still there
  CHECK(b.receive_error(flow) == std::errc::timed_out);
  CHECK(b.receive_error(flow) == std::errc::timed_out);
  CHECK(b.send(flow, text("late")) == std::errc::timed_out);
  CHECK(b.count(counter::udp_flows_expired) == 1);
  b.to_other(false, "three");
  const auto next = b.accept();
  CHECK(b.receive(next) == "three");
  b.host.close(b.now, flow);
  b.to_other(false, "four");
  CHECK(b.receive(next) == "four");
  // Nobody took this one.
  b.to_other(false, "five", 40001);
  b.after(20s);
  CHECK_FALSE(b.any_flow());
  CHECK(b.host.next_deadline().is_never());
}

TEST_CASE("a_full_table_of_flows_drops_what_would_begin_another_and_counts_it") {
  flow_bench b({.flows = 3, .idle = 10s});
  for (std::uint16_t i = 0; i < 5; ++i)
    b.to_other(false, "x", static_cast<std::uint16_t>(5000 + i));
  CHECK(b.count(counter::udp_flows_begun) == 3);
  CHECK(b.count(counter::drop_udp_flows_full) == 2);
  CHECK(b.sent() == 0);
  CHECK(b.host.info_udp(b.v4)->dropped == 2);
  std::vector<socket_id> flows;
  for (std::uint16_t i = 0; i < 3; ++i) {
    flows.push_back(b.accept());
    CHECK(b.host.remote_endpoint(flows.back()).port == 5000 + i);
  }
  b.to_other(false, "y", 5001);  // those that are there go on
  CHECK(b.receive(flows[1]) == "x");
  CHECK(b.receive(flows[1]) == "y");
  b.host.close(b.now, flows[0]);
  b.to_other(false, "z", 5004);
  CHECK(b.receive(b.accept()) == "z");
}

TEST_CASE("a_flow_ends_in_the_order_of_its_last_use") {
  flow_bench b({.idle = 10s});
  std::array<socket_id, 3> flows;
  for (std::uint16_t i = 0; i < 3; ++i) {
    b.to_other(false, "x", static_cast<std::uint16_t>(5000 + i));
    flows[i] = b.accept();
    CHECK(b.receive(flows[i]) == "x");
    b.after(1s);
  }
  CHECK_FALSE(b.send(flows[0], text("used")));
  CHECK_FALSE(b.send(flows[1], text("used")));
  CHECK_FALSE(b.send(flows[0], text("used")));
  b.after(9500ms);
  CHECK(b.receive_error(flows[2]) == std::errc::timed_out);
  CHECK(b.receive(flows[0]) == "-");
  CHECK(b.receive(flows[1]) == "-");
  b.after(1s);
  CHECK(b.receive_error(flows[0]) == std::errc::timed_out);
  CHECK(b.receive_error(flows[1]) == std::errc::timed_out);
}

TEST_CASE("a_flow_outlives_where_it_began") {
  flow_bench b({.idle = 10s});
  b.to_other(false, "one");
  const auto flow = b.accept();
  b.to_other(false, "untaken", 40001);
  b.host.close(b.now, b.v4);
  b.after(60s);
  b.to_other(false, "two");
  CHECK(b.receive(flow) == "one");
  CHECK(b.receive(flow) == "two");
  b.host.close(b.now, flow);
  CHECK(b.host.memory_in_use() == 0);
}

TEST_CASE("a_flow_is_refused_by_icmp_that_its_sender_recognises") {
  for (bool v6 : {false, true}) {
    flow_bench b;
    b.to_other(v6, "query");
    const auto flow = b.accept(v6);
    b.host.udp_refuse(b.now, flow);
    b.host.udp_refuse(b.now, flow, stack::refusal::host_unreachable);
    b.host.udp_refuse(b.now, flow, stack::refusal::silence);
    REQUIRE(b.sent() == 2);
    const auto first = as_icmp(b.sink.sent[0]);
    CHECK(first.source == elsewhere(v6));
    CHECK(first.type == (v6 ? 1 : 3));
    CHECK(first.code == (v6 ? 4 : 3));
    const auto quoted = wire::parse_quoted(first.body);
    CHECK(quoted.source == peer(v6));
    CHECK(quoted.destination == elsewhere(v6));
    CHECK(quoted.protocol == 17);
    CHECK(wire::get16(quoted.transport.data()) == 40000);
    CHECK(wire::get16(quoted.transport.data() + 2) == 53);
    CHECK(as_icmp(b.sink.sent[1]).code == (v6 ? 3 : 1));
  }
}

TEST_CASE("a_flow_s_sender_is_told_of_a_path_that_takes_less") {
  for (bool v6 : {false, true}) {
    flow_bench b;
    b.to_other(v6, "query");
    const auto flow = b.accept(v6);
    b.host.udp_tell_too_long(b.now, flow, 1300);
    REQUIRE(b.sent() == 1);
    const auto said = as_icmp(b.sink.sent[0]);
    CHECK(said.source == elsewhere(v6));
    CHECK(said.type == (v6 ? 2 : 3));
    CHECK(said.code == (v6 ? 0 : 4));
    CHECK(said.rest == 1300);
    const auto quoted = wire::parse_quoted(said.body);
    CHECK(quoted.source == peer(v6));
    CHECK(quoted.destination == elsewhere(v6));
    CHECK(wire::get16(quoted.transport.data()) == 40000);
    CHECK(b.receive(flow) == "query");  // the flow goes on
    CHECK_FALSE(b.send(flow, text("answer")));
  }
}

TEST_CASE("a_flows_peer_that_has_gone_refuses_it_once") {
  flow_bench b;
  b.to_other(false, "query");
  const auto flow = b.accept();
  CHECK(b.receive(flow) == "query");
  CHECK_FALSE(b.send(flow, text("answer")));
  ip_packet p;
  p.source = peer(false), p.destination = elsewhere(false), p.protocol = 1;
  p.payload = icmp_bytes(p.source, p.destination, 3, 3, 0, b.sink.sent[0].data);
  b.in(p.build());
  CHECK(b.receive_error(flow) == std::errc::connection_refused);
  CHECK(b.receive(flow) == "-");
}

TEST_CASE("echo_requests_to_others_are_flows_whose_answers_are_echo_replies") {
  for (bool v6 : {false, true}) {
    flow_bench b;
    const auto all = v6 ? any_destination::v6() : any_destination::v4();
    const auto ask = [&](std::uint16_t id, std::uint16_t sequence, std::string_view body) {
      ip_packet p;
      p.source = peer(v6), p.destination = elsewhere(v6), p.protocol = v6 ? 58 : 1;
      p.payload = icmp_bytes(p.source, p.destination, v6 ? 128 : 8, 0,
                             std::uint32_t{id} << 16 | sequence, text(body));
      b.in(p.build());
    };
    ask(7, 1, "nobody");
    CHECK(b.count(counter::icmp_echo_ignored) == 1);
    CHECK(b.sent() == 0);
    const auto echoes = *b.host.udp_bind_any(all, {.flows = 2, .idle = 10s, .echo = true});
    CHECK(b.host.udp_bind_any(all, {.echo = true}).error() == std::errc::address_in_use);
    ask(0, 1, "abc");
    const auto flow = b.host.udp_accept(echoes);
    REQUIRE(flow);
    CHECK(b.host.local_endpoint(*flow) == endpoint(elsewhere(v6), 0));
    CHECK(b.host.remote_endpoint(*flow) == peer_at(v6, 0));
    CHECK(b.receive(*flow) == std::string("\0\1abc", 5));
    ask(0, 2, "");
    CHECK(b.receive(*flow) == std::string("\0\2", 2));
    CHECK_FALSE(b.send(*flow, text(std::string_view("\0\2xyz", 5))));
    CHECK(b.send(*flow, text("1")) == std::errc::invalid_argument);
    REQUIRE(b.sent() == 1);
    const auto reply = as_icmp(b.sink.sent[0]);
    CHECK(reply.source == elsewhere(v6));
    CHECK(reply.destination == peer(v6));
    CHECK(reply.type == (v6 ? 129 : 0));
    CHECK(reply.rest == 2);
    CHECK(reply.body == text("xyz"));
    // UDP with the same numbers is another flow, and the bound is the table's.
    b.to_other(v6, "udp", 7, 7);
    CHECK(b.receive(b.accept(v6)) == "udp");
    ask(8, 1, "");
    ask(9, 1, "");
    CHECK(b.count(counter::drop_udp_flows_full) == 1);
    b.after(11s);
    CHECK(b.receive_error(*flow) == std::errc::timed_out);
  }
}
