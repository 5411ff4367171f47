// A host whose memory others want for themselves: thousands of peers that never read, sessions that
// were given up and cannot be delivered, senders that nobody reads. Whoever behaves is served
// within a second throughout, in virtual time.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "packet/two_hosts.hpp"

using namespace weir;
using namespace weir::test;

namespace {

const endpoint chargen_at("10.0.0.2", 19);  // sends as long as it can
const endpoint service_at("10.0.0.2", 80);  // answers each request
const endpoint deaf_at("10.0.0.2", 9);      // accepts and reads nothing
constexpr std::size_t answer_size = 2000;

host_options small_host(std::uint64_t memory) {
  host_options out;
  out.limits.memory = memory;
  out.limits.icmp_errors_per_second = 0;
  return out;
}

/// Host a with all the clients; host b, whose memory is short, with all the servers.
struct world {
  explicit world(host_options server) : net({.delay = 1ms}, {}, server) {
    listen_options many;
    many.backlog = 1u << 16;
    many.syn_backlog = 1u << 16;
    for (const auto& where : {chargen_at, service_at, deaf_at})
      listeners.push_back(*net.b().listen(where, many));
    net.application = [this] { step(); };
  }
  ~world() { net.application = nullptr; }

  void step() {
    serve();
    take_answers();
    if (probing && net.now() >= next_probe) {
      next_probe = net.now() + 100ms;
      probe();
    }
  }

  // --- The servers.
  void serve() {
    auto& b = net.b();
    for (std::size_t i = 0; i < listeners.size(); ++i)
      while (const auto got = b.accept(net.now(), listeners[i])) {
        if (i == 0) {
          sessions.insert(*got);
          chargen(*got);
        } else if (i == 1) {
          requests[*got] = 0;
          answer(*got);
        } else {
          unread.insert(*got);
        }
      }
    event what;
    while (b.next_event(what)) {
      if (any(what.what, ready::failed)) {
        ++reset_here;
        if (b.error(what.socket) == std::errc::no_buffer_space) ++without_room;
        sessions.erase(what.socket);
        requests.erase(what.socket);
        unread.erase(what.socket);
        b.close(net.now(), what.socket);
      } else if (sessions.contains(what.socket)) {
        chargen(what.socket);
      } else if (requests.contains(what.socket)) {
        answer(what.socket);
      }
    }
  }
  void chargen(socket_id id) {
    static const std::string text(50'000, 'x');
    while (send_text(net.b(), net.now(), id, text)) {
    }
  }
  void answer(socket_id id) {
    auto& b = net.b();
    auto& left = requests[id];
    if (!receive_text(b, net.now(), id).empty()) left += answer_size;
    if (b.at_end(id) || b.error(id)) {
      b.close(net.now(), id);
      requests.erase(id);
      return;
    }
    while (left > 0) {
      const auto n = send_text(b, net.now(), id, std::string(left, 'y'));
      if (!n) return;
      left -= *n;
    }
  }
  /// The servers give up every session of chargen.
  void give_up() {
    for (const auto id : std::exchange(sessions, {})) net.b().close(net.now(), id);
  }

  // --- The clients.
  struct client {
    instant since;
    std::size_t got = 0;
  };
  /// Connects `n` clients to `where`, who never read and take few bytes.
  void connect_idlers(const endpoint& where, std::size_t n) {
    tcp_options options;
    options.receive_buffer = 4096;
    for (std::size_t i = 0; i < n; ++i) {
      const auto id = net.a().connect(net.now(), where, {}, options);
      REQUIRE(id);
      idlers.insert(*id);
      if (i % 20 == 19) net.run_for(1ms);
    }
    net.run_for(50ms);
  }
  void probe() {
    const auto id = net.a().connect(net.now(), service_at, {}, {});
    REQUIRE(id);
    clients[*id] = {net.now()};
  }
  void take_answers() {
    auto& a = net.a();
    event what;
    while (a.next_event(what)) {
      const auto found = clients.find(what.socket);
      if (found == clients.end()) {
        if (any(what.what, ready::failed)) {
          ++idlers_reset;
          idlers.erase(what.socket);
          a.close(net.now(), what.socket);
        } else if (floods && any(what.what, ready::connected | ready::writable)) {
          static const std::string text(50'000, 'z');
          while (send_text(a, net.now(), what.socket, text)) {
          }
        }
        continue;
      }
      if (any(what.what, ready::failed)) {
        ++failed;
      } else {
        if (any(what.what, ready::connected)) (void)send_text(a, net.now(), what.socket, "?");
        found->second.got += receive_text(a, net.now(), what.socket).size();
        if (found->second.got < answer_size) continue;
        longest = std::max(longest, net.now() - found->second.since);
        ++served;
      }
      a.close(net.now(), what.socket);
      clients.erase(found);
    }
  }
  /// Healthy clients come every 100 ms while `d` passes; how long one of them waited at most.
  duration longest_wait(duration d) {
    longest = {};
    for (const auto end = net.now() + d; net.now() < end; net.run_for(100ms)) probe();
    probing = false;
    for (const auto& [id, c] : clients) longest = std::max(longest, net.now() - c.since);
    return longest;
  }

  two_hosts net;
  std::vector<socket_id> listeners;
  std::set<socket_id> sessions, unread;
  std::map<socket_id, std::size_t> requests;  // bytes of the answer that are still to be sent
  std::set<socket_id> idlers;
  std::map<socket_id, client> clients;
  bool probing = false, floods = false;
  instant next_probe;
  duration longest{};
  std::uint64_t served = 0, failed = 0, reset_here = 0, without_room = 0, idlers_reset = 0;
  std::uint64_t count(counter c) { return net.b().counters()[c]; }
};

}  // namespace

TEST_CASE("thousands of peers that never read leave a healthy client its second") {
  world w(small_host(16u << 20));
  w.probing = true;
  w.connect_idlers(chargen_at, 4000);
  CHECK(w.longest_wait(100s) < 1s);
  CHECK(w.net.b().memory_in_use() <= 16u << 20);
  // Given up: they must not hold the memory for their peers either.
  w.give_up();
  CHECK(w.longest_wait(100s) < 1s);
  CHECK(w.failed == 0);
  CHECK(w.served > 1900);
  CHECK(w.net.b().memory_in_use() < 1u << 20);
  // More of them than the reserve has small chunks for.
  w.connect_idlers(chargen_at, 8000);
  CHECK(w.longest_wait(30s) < 1s);
  CHECK(w.failed == 0);
  CHECK(w.net.b().memory_in_use() <= 16u << 20);
}

TEST_CASE("thousands of senders that nobody reads leave a healthy client its second") {
  world w(small_host(16u << 20));
  w.floods = true;
  w.probing = true;
  w.connect_idlers(deaf_at, 4000);
  CHECK(w.longest_wait(60s) < 1s);
  CHECK(w.failed == 0);
  CHECK(w.net.b().memory_in_use() <= 16u << 20);
}

TEST_CASE("under a shortage orphans go first, then the fullest queues that make no progress") {
  auto options = small_host(16u << 20);
  SUBCASE("nobody is reset where the policy says so, and small answers go out all the same") {
    options.limits.shortage = shortage_policy::refuse;
    world w(options);
    w.connect_idlers(chargen_at, 1000);
    CHECK(w.longest_wait(60s) < 1s);
    CHECK(w.count(counter::shortage_orphans_reset) == 0);
    CHECK(w.count(counter::shortage_stalled_reset) == 0);
    CHECK(w.sessions.size() == 1000);
  }
  SUBCASE("orphans only") {
    options.limits.shortage = shortage_policy::reset_orphans;
    world w(options);
    w.connect_idlers(chargen_at, 1000);
    w.net.run_for(30s);
    CHECK(w.count(counter::shortage_stalled_reset) == 0);
    w.give_up();
    w.net.run_for(2s);
    CHECK(w.count(counter::shortage_orphans_reset) > 0);
    CHECK(w.count(counter::shortage_stalled_reset) == 0);
    CHECK(w.reset_here == 0);
    CHECK(w.longest_wait(10s) < 1s);
  }
  SUBCASE("orphans before queues, and of these the fullest") {
    world w(options);
    w.connect_idlers(chargen_at, 500);
    const std::set<socket_id> first = w.sessions;
    w.connect_idlers(chargen_at, 500);  // those that came later hold less
    for (const auto id : first) {
      w.net.b().close(w.net.now(), id);
      w.sessions.erase(id);
    }
    w.net.run_for(9s);
    CHECK(w.count(counter::shortage_orphans_reset) > 0);
    CHECK(w.count(counter::shortage_stalled_reset) == 0);
    // Those that stay fill what became free, and then the fullest of them go.
    std::uint32_t fullest = 0;
    socket_id full_one{};
    for (const auto id : w.sessions) {
      const auto memory = w.net.b().info(id)->memory;
      if (memory > fullest) fullest = memory, full_one = id;
    }
    w.connect_idlers(chargen_at, 1000);
    w.net.run_for(30s);
    CHECK(w.without_room > 0);
    CHECK(w.count(counter::shortage_stalled_reset) == w.without_room);
    CHECK_FALSE(w.sessions.contains(full_one));
  }
}

TEST_CASE("a peer that reads slowly keeps its connection while those that do not lose theirs") {
  world w(small_host(8u << 20));  // the idlers take a part of the reserve too
  w.connect_idlers(chargen_at, 1);
  const auto slow = *w.idlers.begin();
  w.connect_idlers(chargen_at, 400);
  for (int second = 0; second < 60; ++second) {
    std::byte some[4096];
    (void)w.net.a().receive(w.net.now(), slow, some);
    w.net.run_for(1s);
  }
  CHECK(w.idlers_reset > 0);
  CHECK(w.idlers.contains(slow));
}

TEST_CASE("what was closed and finds no taker is given up in time, with a reset") {
  auto options = small_host(1ull << 30);
  for (const bool answers : {true, false}) {
    CAPTURE(answers);
    world w(options);
    w.connect_idlers(chargen_at, 100);
    w.give_up();
    if (!answers) w.net.filter = [](int to, std::span<const std::byte>) { return to == 0; };
    w.net.run_for(59s);
    CHECK(w.count(counter::orphans_reaped) == 0);
    w.net.run_for(2s);
    CHECK(w.count(counter::orphans_reaped) == 100);
    CHECK(w.idlers_reset == 100);
    CHECK(w.net.b().memory_in_use() == 0);
  }
}

TEST_CASE("an orphan whose peer takes what is queued is left its time") {
  world w(small_host(1ull << 30));
  w.connect_idlers(chargen_at, 1);
  const auto slow = *w.idlers.begin();
  const auto queued = w.net.b().info(*w.sessions.begin())->send_queued;
  w.give_up();
  std::size_t got = 0;
  for (int step = 0; step < 100 && !w.net.a().at_end(slow); ++step) {
    std::byte some[8192];
    for (;;) {
      const auto n = w.net.a().receive(w.net.now(), slow, some);
      if (!n || *n == 0) break;
      got += *n;
    }
    w.net.run_for(30s);
  }
  CHECK(got >= queued);
  CHECK(w.net.a().at_end(slow));
  CHECK(w.count(counter::orphans_reaped) == 0);
}

TEST_CASE("connections that were closed are bounded in number, and the oldest goes") {
  auto options = small_host(1ull << 30);
  options.limits.orphans = 100;
  world w(options);
  w.connect_idlers(chargen_at, 1000);
  const auto first = *w.idlers.begin();
  w.give_up();
  CHECK(w.count(counter::orphans_over_limit) == 900);
  w.net.run_for(10ms);
  CHECK(w.idlers_reset == 900);
  CHECK_FALSE(w.idlers.contains(first));
}

TEST_CASE("memory that the application lends a host keeps to its share") {
  two_hosts net({}, small_host(1u << 20));
  std::vector<std::byte> bytes(32u << 10);
  std::vector<lent_chunk> kept;
  const auto nothing = [](void*) noexcept {};
  CHECK_FALSE(net.a().keep(std::vector<std::byte>(200u << 10), nothing, nullptr));
  while (const auto one = net.a().keep(bytes, nothing, nullptr)) kept.push_back(*one);
  CHECK(kept.size() > 10);
  // An eighth of all stays for what arrives and small sends, and of the rest some.
  CHECK(net.a().memory_in_use() < (7u << 20) / 8);
  for (const auto& one : kept) net.a().release(net.now(), one);
  CHECK(net.a().memory_in_use() == 0);
}

TEST_CASE("datagrams that nobody reads leave the reserve alone") {
  two_hosts net({.delay = 1ms}, {}, small_host(1u << 20));
  udp_options deep;
  deep.receive_buffer = 8u << 20;
  deep.receive_datagrams = 1u << 16;
  const auto full = *net.b().udp_bind(endpoint("10.0.0.2", 53), deep);
  const auto other = *net.b().udp_bind(endpoint("10.0.0.2", 54), deep);
  const auto from = *net.a().udp_bind(endpoint("10.0.0.1", 0));
  const std::string text(1000, 'x');
  const std::span<const std::byte> parts[] = {bytes_of(text)};
  const endpoint to("10.0.0.2", 53), another("10.0.0.2", 54);
  for (int i = 0; i < 2000; ++i) {
    (void)net.a().udp_send(net.now(), from, &to, parts);
    net.run_for(1ms);
  }
  CHECK(net.b().counters()[counter::drop_udp_memory] > 0);
  CHECK(net.b().memory_in_use() < (7u << 20) / 8 + 4096);
  (void)net.a().udp_send(net.now(), from, &another, parts);
  net.run_for(10ms);
  CHECK(net.b().info_udp(other)->queued == 1);
  (void)full;
}
