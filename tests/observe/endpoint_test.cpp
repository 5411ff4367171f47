// The admin endpoint and weir-ss from outside: what they show of a running server on each back end,
// what hostile clients get, and where the endpoint may listen.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <latch>
#include <string>
#include <vector>

#include "observe/admin_client.hpp"
#include "weir/admin.hpp"
#include "weir/runtime.hpp"

using namespace programs;
using namespace observe_test;

namespace {

/// The connection whose peer is this client.
const json* connection_of(const json& sockets, const client& c) {
  sockaddr_in own{};
  socklen_t size = sizeof own;
  REQUIRE(::getsockname(c.fd(), reinterpret_cast<sockaddr*>(&own), &size) == 0);
  const auto port = ":" + std::to_string(ntohs(own.sin_port));
  for (auto& one : sockets["connections"])
    if (one["remote"].get<std::string>().ends_with(port)) return &one;
  return nullptr;
}

std::string at(const backend& on, int port) { return on.address + ":" + std::to_string(port); }

}  // namespace

ON_EVERY_BACKEND(metrics_and_sockets_show_listeners_and_connections) {
  observed server(on, services(), {"--echo", at(on, 7), "--discard", at(on, 9)});
  client first(on.address, 7), second(on.address, 7);
  first.send("hello");
  CHECK(first.receive(5) == "hello");
  second.send("you");
  CHECK(second.receive(3) == "you");

  auto seen = server.wait_for([&](const json& s) {
    auto* c = connection_of(s, first);
    return c != nullptr && (*c)["bytes_sent"] == 5 && (*c)["send_queued"] == 0;
  });
  REQUIRE(seen["listeners"].size() == 2);
  std::vector<std::string> locals = {seen["listeners"][0]["local"], seen["listeners"][1]["local"]};
  CHECK(std::count(locals.begin(), locals.end(), at(on, 7)) == 1);
  CHECK(std::count(locals.begin(), locals.end(), at(on, 9)) == 1);
  CHECK(seen["shards"][0]["backend"] == on.name);
  const auto& c = *connection_of(seen, first);
  CHECK(c["local"] == at(on, 7));
  CHECK(c["state"] == "established");
  CHECK(c["bytes_received"] == 5);
  CHECK(c["receive_queued"] == 0);
  CHECK(c["read_waits"] == true);
  CHECK(c["rtt_us"] > 0);
  CHECK(c["congestion_window"] >= c["send_mss"]);
  CHECK(c["retransmissions"] == 0);
  CHECK(c["congestion_state"] == "open");
  for (const auto* what : {"lost", "sacked", "retransmitted"}) CHECK(c[what] == 0);
  CHECK(c["reordering"] == false);
  // What the kernel does not tell is absent, and the stack knows all of it.
  CHECK(c.contains("timeouts") == (on.name == "stack"));
  CHECK(seen["listeners"][0].contains("syn_queue") == (on.name == "stack"));

  const auto text = server.metrics();
  const auto listener = "{shard=\"0\",listener=\"" + at(on, 7) + "\"}";
  CHECK(value_of(text, "weir_listener_accepted_total" + listener) == 2);
  CHECK(value_of(text, "weir_listener_accept_queue" + listener) == 0);
  CHECK(value_of(text, "weir_listener_backlog" + listener) == 1024);
  CHECK(value_of(text, "weir_connections{shard=\"0\"}") >= 2);
  CHECK(value_of(text, "weir_shard_answered{shard=\"0\"}") == 1);
  CHECK(value_of(text, "weir_shard_turns_total{shard=\"0\"}") > 0);
  CHECK(has_series(text, "weir_stack_drops_total") == (on.name == "stack"));
  CHECK(has_series(text, "weir_kernel_listen_overflows_total ") == (on.name != "stack"));
  if (on.name == "stack") CHECK(value_of(text, "weir_stack_passive_opens_total{shard=\"0\"}") == 2);
  server.program.signal(SIGTERM);
  first.end_of_stream();
  second.end_of_stream();
  CHECK(server.program.wait() == 0);
}

ON_EVERY_BACKEND(an_accept_queue_is_seen_filling) {
  observed server(on, lazy_server(), {"--lazy", at(on, 7), "--listen.backlog", "8"});
  auto before = server.sockets();
  REQUIRE(before["listeners"].size() == 1);
  CHECK(before["listeners"][0]["accept_queue"] == 0);
  CHECK(before["listeners"][0]["backlog"] == 8);
  std::vector<client> clients;
  for (std::size_t i = 1; i <= 3; ++i) {
    clients.emplace_back(on.address, 7);
    // The last ACK may be under way still.
    auto seen =
        server.wait_for([&](const json& s) { return s["listeners"][0]["accept_queue"] == i; });
    CHECK(seen["listeners"][0]["accepted"] == 0);
  }
  auto listed = server.ss({"-tlnp"});
  INFO(listed.out, listed.err);
  CHECK(listed.code == 0);
  CHECK(listed.out.starts_with("State"));
  CHECK(listed.out.find("LISTEN       3       8") != std::string::npos);
  CHECK(listed.out.find(at(on, 7)) != std::string::npos);
  CHECK(listed.out.find("users:((\"lazy_server\",pid=") != std::string::npos);
  clients.clear();
}

ON_EVERY_BACKEND(a_reader_that_stops_is_seen_as_a_full_send_queue) {
  observed server(on, services(), {"--chargen", at(on, 19)});
  client c(on.address, 19);
  auto seen = server.wait_for([&](const json& s) {
    auto* one = connection_of(s, c);
    return one != nullptr && (*one)["write_waits"] == true && (*one)["send_queued"] > 65536;
  });
  const auto& one = *connection_of(seen, c);
  CHECK(one["send_limit"] > 0);
  CHECK(one["memory"] > 0);

  auto shown = server.ss({"-ti"});
  INFO(shown.out, shown.err);
  CHECK(shown.code == 0);
  CHECK(shown.out.find("ESTAB") != std::string::npos);
  CHECK(shown.out.find("write_waits") != std::string::npos);
  CHECK(shown.out.find(" rtt:") != std::string::npos);
  CHECK(shown.out.find(" cwnd:") != std::string::npos);
  CHECK(shown.out.find(" retrans:") != std::string::npos);
  CHECK(shown.out.find(" shard:0") != std::string::npos);
  auto raw = server.ss({"--json"});
  CHECK(raw.code == 0);
  CHECK(json::parse(raw.out)["program"] == "services");
  // It drains, and that is seen too.
  c.receive(1 << 20);
  auto later = server.wait_for([&](const json& s) {
    auto* now = connection_of(s, c);
    return now != nullptr && (*now)["bytes_sent"] > one["bytes_sent"];
  });
  c.vanish();
  server.wait_for([](const json& s) { return s["connections"].empty(); });
}

ON_EVERY_BACKEND(the_server_ends_cleanly_while_it_is_watched) {
  observed server(on, services(), {"--echo", at(on, 7)});
  client idle(server.endpoint.address, server.endpoint.port);
  client asking(server.endpoint.address, server.endpoint.port);
  asking.send("GET /sockets HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(asking.receive(12) == "HTTP/1.1 200");
  client half(server.endpoint.address, server.endpoint.port);
  half.send("GET /metr");
  server.program.signal(SIGTERM);
  CHECK(server.program.wait() == 0);
  CHECK(server.program.err().find("the admin endpoint ended") == std::string::npos);
}

TEST_CASE("each_shard_is_asked_on_its_own") {
  if (!own_network() || !usable("asio")) return;
  observed server(backend_called("asio"), services(), {"--shards", "2", "--echo", "127.0.0.1:7"});
  auto seen = server.sockets();
  REQUIRE(seen["shards"].size() == 2);
  CHECK(seen["shards"][1]["shard"] == 1);
  REQUIRE(seen["listeners"].size() == 2);
  CHECK(seen["listeners"][0]["shard"] != seen["listeners"][1]["shard"]);
  const auto text = server.metrics();
  for (auto* shard : {"0", "1"})
    CHECK(value_of(text, std::string("weir_listeners{shard=\"") + shard + "\"}") == 1);
}

// --- What only the stack knows.

TEST_CASE("an_overflowing_accept_queue_is_counted") {
  if (!own_network() || !usable("stack")) return;
  const auto on = backend_called("stack");
  observed server(on, lazy_server(), {"--lazy", at(on, 7), "--listen.backlog", "1"});
  client first(on.address, 7);
  server.wait_for([](const json& s) { return s["listeners"][0]["accept_queue"] == 1; });
  const int second = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(7);
  REQUIRE(::inet_pton(AF_INET, on.address.c_str(), &to.sin_addr) == 1);
  CHECK(::connect(second, reinterpret_cast<sockaddr*>(&to), sizeof to) == -1);  // in progress
  server.wait_for([](const json& s) { return s["listeners"][0]["accept_overflows"] >= 1; });
  CHECK(value_of(server.metrics(), "weir_stack_accept_queue_overflow_total{shard=\"0\"}") >= 1);
  ::close(second);
}

namespace {

std::uint16_t checksum(const void* from, std::size_t size, std::uint32_t sum) {
  const auto* bytes = static_cast<const std::uint8_t*>(from);
  for (std::size_t i = 0; i + 1 < size; i += 2)
    sum += static_cast<std::uint32_t>(bytes[i] << 8 | bytes[i + 1]);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return htons(static_cast<std::uint16_t>(~sum));
}

/// A SYN from an address that nobody has, so that its answer is lost.
void send_spoofed_syn(const std::string& to, std::uint16_t port, std::uint16_t from_port) {
  struct {
    iphdr ip{};
    tcphdr tcp{};
  } packet;
  packet.ip.version = 4;
  packet.ip.ihl = 5;
  packet.ip.ttl = 64;
  packet.ip.protocol = IPPROTO_TCP;
  packet.ip.saddr = ::inet_addr("198.18.0.77");
  packet.ip.daddr = ::inet_addr(to.c_str());
  packet.tcp.source = htons(from_port);
  packet.tcp.dest = htons(port);
  packet.tcp.seq = htonl(1);
  packet.tcp.doff = 5;
  packet.tcp.syn = 1;
  packet.tcp.window = htons(1000);
  std::uint32_t pseudo = IPPROTO_TCP + sizeof packet.tcp;
  for (auto address : {ntohl(packet.ip.saddr), ntohl(packet.ip.daddr)})
    pseudo += (address >> 16) + (address & 0xffff);
  packet.tcp.check = checksum(&packet.tcp, sizeof packet.tcp, pseudo);
  const int raw = ::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
  REQUIRE(raw >= 0);
  sockaddr_in target{};
  target.sin_family = AF_INET;
  target.sin_addr.s_addr = packet.ip.daddr;
  CHECK(::sendto(raw, &packet, sizeof packet, 0, reinterpret_cast<sockaddr*>(&target),
                 sizeof target) == sizeof packet);
  ::close(raw);
}

}  // namespace

TEST_CASE("a_syn_queue_is_seen_filling_and_cookies_follow") {
  if (!own_network() || !usable("stack")) return;
  const auto on = backend_called("stack");
  observed server(on, lazy_server(), {"--lazy", at(on, 7), "--listen.syn_backlog", "4"});
  for (std::uint16_t i = 0; i < 4; ++i)
    send_spoofed_syn(on.address, 7, static_cast<std::uint16_t>(1000 + i));
  auto seen = server.wait_for([](const json& s) { return s["listeners"][0]["syn_queue"] == 4; });
  CHECK(seen["listeners"][0]["syn_backlog"] == 4);
  CHECK(seen["listeners"][0]["cookies_sent"] == 0);
  send_spoofed_syn(on.address, 7, 2000);
  seen = server.wait_for([](const json& s) { return s["listeners"][0]["cookies_sent"] == 1; });
  CHECK(seen["listeners"][0]["syn_overflows"] == 1);
  auto listed = server.ss({"-l"});
  INFO(listed.out, listed.err);
  CHECK(listed.out.find(" 4/4 ") != std::string::npos);
}

TEST_CASE("the_endpoint_of_a_private_network_is_reached_from_outside_of_it") {
  if (!own_network() || !usable("stack")) return;
  observed server(backend_called("stack"), services(),
                  {"--stack.private_net", "--echo", "198.18.0.2:7"});
  auto seen = server.sockets();
  CHECK(seen["listeners"][0]["local"] == "198.18.0.2:7");
  CHECK(server.ss({"-l"}).out.find("198.18.0.2:7") != std::string::npos);
  server.program.signal(SIGTERM);
  CHECK(server.program.wait() == 0);
}

// --- Clients that mean no good.

namespace {

backend plain() { return backend_called("asio"); }

}  // namespace

TEST_CASE("what_is_no_request_for_a_page_gets_its_status") {
  if (!own_network() || !usable("asio")) return;
  observed server(plain(), services(), {"--echo", "127.0.0.1:7"});
  const std::string close = "Connection: close\r\n\r\n", host = "Host: 127.0.0.1\r\n";
  const auto get = [&](const std::string& target) { return "GET " + target + " HTTP/1.1\r\n"; };
  const std::vector<std::pair<std::string, int>> cases = {
      {get("/") + host + close, 200},
      {get("/metrics") + "Host: localhost:1\r\n" + close, 200},
      {get("/nothing") + host + close, 404},
      {get("/sockets?connections=5000") + host + close, 400},
      {get("/sockets?connections=1&x=2") + host + close, 400},
      {get("/metrics") + "Host: evil.example\r\n" + close, 421},
      {get("/sockets") + "Host: 127.0.0.1.evil.example:80\r\n" + close, 421},
      {get("http://evil.example/sockets") + host + close, 421},
      {get("/sockets") + "Host: 192.0.2.1\r\n" + close, 421},
      {get("/sockets") + "\r\n", 400},
      {get("/sockets") + host + "Host: evil.example\r\n" + close, 400},
      {"POST /metrics HTTP/1.1\r\n" + host + "Content-Length: 2\r\n" + close + "hi", 405},
      {"POST / HTTP/1.1\r\n" + host + "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n", 405},
      {"DELETE / HTTP/1.1\r\n" + host + close, 405},
      {"OPTIONS * HTTP/1.1\r\n" + host + close, 405},
      {"POST / HTTP/1.1\r\n" + host + "Content-Length: 100000\r\n\r\n", 413},
      {get("/" + std::string(20'000, 'a')), 414},
      {get("/") + host + "X: " + std::string(20'000, 'a'), 431},
      {"\x16\x03\x01\x02\x01", 400},
      {std::string(1000, '\0'), 400},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {get("/") + "Host : 127.0.0.1\r\n\r\n", 400},
      {get("/") + host + "\rGET /metrics HTTP/1.1\r\n" + host + "\r\n", 400},  // a hidden request
      {"GET /metrics HTTP/1.0\nHost: localhost\n\n", 400},
  };
  for (auto& [bytes, status] : cases) {
    CAPTURE(bytes.substr(0, 100));
    const auto answer = parse_reply(server.raw(bytes));
    CHECK(answer.status == status);
    CHECK(answer.head.find("Access-Control-Allow-Origin") == std::string::npos);
  }
  const auto text = server.metrics();
  CHECK(value_of(text, "weir_observe_requests_total") == 3);  // this one included
  CHECK(value_of(text, "weir_observe_refused_requests_total") == cases.size() - 2);
}

TEST_CASE("head_has_no_body_and_types_are_told") {
  if (!own_network() || !usable("asio")) return;
  observed server(plain(), services(), {"--echo", "127.0.0.1:7"});
  for (auto [target, type] : {std::pair("/", "text/html; charset=utf-8"),
                              std::pair("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
                              std::pair("/sockets", "application/json")}) {
    const auto head = parse_reply(server.raw(
        "HEAD " + std::string(target) + " HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n"));
    CHECK(head.status == 200);
    CHECK(head.body.empty());
    CHECK(head.head.find("Content-Type: " + std::string(type) + "\r\n") != std::string::npos);
    CHECK(head.head.find("Content-Length: 0\r\n") == std::string::npos);
    const auto got = server.get(target);
    CHECK(got.head.find("Content-Length: " + std::to_string(got.body.size()) + "\r\n") !=
          std::string::npos);
    CHECK(got.head.find("X-Content-Type-Options: nosniff\r\n") != std::string::npos);
    CHECK(got.head.find("Content-Security-Policy: default-src 'none'") != std::string::npos);
  }
}

TEST_CASE("requests_in_a_row_on_one_connection_are_answered_in_order") {
  if (!own_network() || !usable("asio")) return;
  observed server(plain(), services(), {"--echo", "127.0.0.1:7"});
  const std::string host = "Host: localhost\r\n";
  const auto all =
      server.raw("GET /sockets HTTP/1.1\r\n" + host + "\r\nHEAD /metrics HTTP/1.1\r\n" + host +
                 "\r\nGET /none HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n");
  const auto json_at = all.find("application/json"), text_at = all.find("version=0.0.4"),
             none_at = all.find("HTTP/1.1 404");
  CHECK(json_at < text_at);
  CHECK(text_at < none_at);
  CHECK(none_at != std::string::npos);
}

TEST_CASE("clients_that_wait_give_way_to_whoever_asks") {
  if (!own_network() || !usable("asio")) return;
  observed server(plain(), services(), {"--echo", "127.0.0.1:7"});
  // Not for /metrics: its text is kept for a moment, and would be of before.
  const std::string ask = "GET /sockets HTTP/1.1\r\nHost: localhost\r\n";
  std::vector<client> waiting;
  for (int i = 0; i < 16; ++i) waiting.emplace_back(server.endpoint.address, server.endpoint.port);
  for (std::size_t i = 0; i < waiting.size(); ++i)  // none, half of one, or one before
    if (i % 3 != 0) waiting[i].send(i % 3 == 1 ? ask : ask + "\r\n");
  const auto served = server.metrics();
  CHECK(value_of(served, "weir_observe_refused_clients_total") == 0);
  CHECK(value_of(served, "weir_observe_displaced_clients_total") == 1);
  for (int i = 0; i < 40; ++i) CHECK(server.get("/").status == 200);
  client c("127.0.0.1", 7);  // and the server itself is none the worse
  c.send("x");
  CHECK(c.receive(1) == "x");
}

TEST_CASE("a_request_that_does_not_end_is_refused_in_time") {
  if (!own_network() || !usable("asio")) return;
  observed server(plain(), services(), {"--echo", "127.0.0.1:7"});
  CHECK(parse_reply(server.raw("GET /metrics HTTP/1.1\r\nHost: loc")).status == 408);
}

// --- Where it may listen.

TEST_CASE("an_address_that_cannot_be_had_ends_the_program_before_it_serves") {
  if (!own_network() || !usable("asio")) return;
  const auto start = [](const std::string& where, std::vector<std::string> more = {}) {
    std::vector<std::string> words = {services(),    "--backend",        "asio", "--echo",
                                      "127.0.0.1:7", "--observe.listen", where};
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  };
  auto wild = start("0.0.0.0:9100");
  CHECK(wild.code == 2);
  CHECK(wild.err.find("observe.listen = '0.0.0.0:9100'") != std::string::npos);
  CHECK(wild.err.find("listen.allow_wildcard") != std::string::npos);
  CHECK(wild.out.empty());
  auto absent = start("192.0.2.1:9100");
  CHECK(absent.code == 2);
  CHECK(absent.err.find("no interface of this machine has it") != std::string::npos);
  observed other(plain(), services(), {"--echo", "127.0.0.1:8"});
  auto taken = start(other.address);
  CHECK(taken.code == 2);
  CHECK(taken.err.find("choose another port") != std::string::npos);
}

TEST_CASE("an_endpoint_that_others_can_reach_says_so") {
  if (!own_network() || !usable("asio")) return;
  process server({services(), "--backend", "asio", "--echo", "127.0.0.1:7", "--observe.listen",
                  "0.0.0.0:0", "--listen.allow_wildcard"});
  server.wait_error_line("weir: observing on http://0.0.0.0:");
  const auto line = server.wait_error_line("weir: observe.listen 0.0.0.0:");
  CHECK(line.find("can be reached by other machines") != std::string::npos);
}

// --- weir-ss without a server.

TEST_CASE("weir_ss_says_what_is_wrong_in_one_line") {
  if (!own_network() || !usable("asio")) return;
  auto nobody = run({weir_ss(), "127.0.0.1:9"});
  CHECK(nobody.code == 1);
  CHECK(nobody.err.find("127.0.0.1:9: nothing listens there") != std::string::npos);
  CHECK(nobody.err.find("--observe.listen 127.0.0.1:9") != std::string::npos);
  auto which = run({weir_ss()});
  CHECK(which.code == 2);
  CHECK(which.err.find("WEIR_OBSERVE_LISTEN") != std::string::npos);
  auto unknown = run({weir_ss(), "-z", "127.0.0.1:9"});
  CHECK(unknown.code == 2);
  CHECK(unknown.err.find("-z") != std::string::npos);
  auto help = run({weir_ss(), "-h"});
  CHECK(help.code == 0);
  CHECK(help.out.find("--listening") != std::string::npos);

  process web({http_server(), "--backend", "asio", "--http", "127.0.0.1:80"});
  web.wait_line("listening ");
  auto other = run({weir_ss(), "127.0.0.1:80"});
  CHECK(other.code == 1);
  CHECK(other.err.find("no admin endpoint of weir") != std::string::npos);
  process echo({services(), "--backend", "asio", "--chargen", "127.0.0.1:19"});
  echo.wait_line("listening ");
  auto noise = run({weir_ss(), "127.0.0.1:19"});
  CHECK(noise.code == 1);
  CHECK(noise.err.find("weir-ss: 127.0.0.1:19: ") != std::string::npos);
}

TEST_CASE("weir_ss_finds_the_server_through_the_configuration") {
  if (!own_network() || !usable("asio")) return;
  observed server(plain(), services(), {"--echo", "127.0.0.1:7"});
  const auto listed = server.ss({"-l"}).out;
  CHECK(run({weir_ss(), "-l", "--observe.listen", server.address}).out == listed);
  CHECK(run({weir_ss(), "-l", "http://" + server.address + "/"}).out == listed);
  CHECK(run({weir_ss(), "-l"}, {.environment = {"WEIR_OBSERVE_LISTEN=" + server.address}}).out ==
        listed);
}

TEST_CASE("shards_made_without_run_are_served_and_a_page_that_hangs_is_given_up") {
  if (!own_network() || !usable(kernel_backend)) return;
  weir::config settings;
  settings.backend = kernel_backend;
  settings.observe.listen = "127.0.0.1:0";
  CHECK_THROWS_AS(weir::admin_server(weir::config(), {}), weir::config_error);
  weir::shard_thread first(settings, 0), second(settings, 1);
  std::latch go_on(1);
  const auto on = [](weir::shard_thread& thread, auto what) {
    std::latch done(1);
    thread.shard().post([&] {
      what(thread.shard().local<weir::admin_pages>());
      done.count_down();
    });
    done.wait();
  };
  on(first, [](weir::admin_pages& pages) {
    pages.add("both",
              [](std::string_view) { return weir::admin_answer{200, "text/plain", "first"}; });
  });
  on(second, [&](weir::admin_pages& pages) {
    pages.add("both",
              [](std::string_view) { return weir::admin_answer{200, "text/plain", "second"}; });
    pages.add("hangs", [&](std::string_view) {
      go_on.wait();
      return weir::admin_answer{200, "text/plain", "late"};
    });
    pages.add("forged", [](std::string_view) {
      return weir::admin_answer{200, "text/plain\r\nX-Forged: 1", "x"};
    });
    pages.add("large", [](std::string_view) {
      return weir::admin_answer{200, "text/plain",
                                std::string(weir::admin_pages::most_body + 1, 'x')};
    });
  });
  weir::admin_server admin(settings, {&first.shard(), &second.shard()});
  const auto get = [&](const std::string& target) {
    client c("127.0.0.1", admin.where().port);
    c.try_send("GET " + target + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    return parse_reply(c.receive_all());
  };
  CHECK(get("/healthz").status == 200);
  CHECK(get("/own/both").body == "first");
  CHECK(get("/own/forged").status == 500);
  CHECK(get("/own/large").status == 500);
  CHECK(get("/own/none").status == 404);
  CHECK(json::parse(get("/sockets").body)["pages"].size() == 4);
  CHECK(get("/own/hangs").status == 503);
  CHECK(get("/own/hangs").status == 503);  // the shard is not asked again
  go_on.count_down();
  // What it says late is dropped, and it is asked anew.
  while (get("/own/hangs").status != 200) {
  }
}
