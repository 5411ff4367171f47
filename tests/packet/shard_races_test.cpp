// What is on its way between the shards of one device when listeners, groups and hosts come and
// go: handshakes, connections and wishes to accept that arrive late are served by who is there
// now, or given up; none is lost, and none leaves a trace in the directory of flows.
#include <doctest/doctest.h>

#include <random>

#include "packet/shard_world.hpp"
#include "stack/share/group_table.hpp"

using namespace weir;
using namespace weir::test;

namespace {

constexpr sharding_policy policies[] = {sharding_policy::hash, sharding_policy::round_robin,
                                        sharding_policy::least_loaded};

/// Every way in which shards can share an address.
std::vector<listen_options> every_sharing() {
  std::vector<listen_options> out;
  for (const auto policy : policies) out.push_back(sharded(policy));
  out.push_back(shared());
  return out;
}

std::size_t flows_noted(world& w) { return w.net.set().inside().directory().count(); }

std::size_t handshakes(world& w) {
  std::size_t n = 0;
  for (unsigned i = 0; i < w.net.size(); ++i) n += w.net.shard(i).half_open_entries();
  return n;
}

std::uint32_t queued(world& w) {
  std::uint32_t n = 0;
  for (auto& s : w.servers)
    if (s.listener != socket_id::none) n += s.self().info_listener(s.listener)->accept_queue;
  return n;
}

shard_net_options two_shards() {
  shard_net_options out;
  out.shards = 2;
  return out;
}

}  // namespace

// --- The group goes while something is on its way to a member.

TEST_CASE("handshakes that reach a shard after its last listener went are reset") {
  for (const auto& how : every_sharing()) {
    for (const unsigned first : {0u, 1u}) {
      CAPTURE(static_cast<int>(how.sharing));
      CAPTURE(static_cast<int>(how.policy));
      CAPTURE(first);
      world w(two_shards());
      w.listen_everywhere(how);
      w.wanted = 16;
      w.net.run_for(1ms);  // the SYNs are there, what answers the SYN-ACKs is not
      REQUIRE(handshakes(w) == 16);
      w.servers[first].close();  // its handshakes wait in the other's inbox
      w.servers[1 - first].close();
      REQUIRE(w.net.run_until([&] { return w.clients.ended() == 16; }, 1s));
      CHECK(w.clients.failed == 16);
      CHECK(handshakes(w) == 0);
      CHECK(flows_noted(w) == 0);
    }
  }
}

TEST_CASE("a host that goes as the last of its group leaves no flow in the directory") {
  for (const auto& how : every_sharing()) {
    CAPTURE(static_cast<int>(how.sharing));
    CAPTURE(static_cast<int>(how.policy));
    world w(two_shards());
    for (auto& s : w.servers) s.accepts = false;
    w.listen_everywhere(how);
    w.wanted = 16;
    w.net.run_for(2ms);
    w.wanted = 32;
    w.net.run_for(1ms);
    REQUIRE(handshakes(w) == 16);
    // Both hosts go; what the first hands over reaches the second on its way out.
    for (auto& s : w.servers) s.listener = socket_id::none;
    w.net.kill(0);
    w.net.kill(1);
    CHECK(flows_noted(w) == 0);
  }
}

TEST_CASE("acknowledgements that wait for a host that goes as the last of its group find nobody") {
  for (const auto& how : every_sharing()) {
    for (const unsigned last : {0u, 1u}) {
      CAPTURE(static_cast<int>(how.sharing));
      CAPTURE(static_cast<int>(how.policy));
      CAPTURE(last);
      world w(two_shards());
      for (auto& s : w.servers) s.accepts = false;
      w.listen_everywhere(how);
      w.wanted = 16;
      w.net.run_for(1ms);
      REQUIRE(handshakes(w) == 16);
      // All packets now come by the other shard, which hands those of the last one on.
      w.net.steer = [last](std::span<const std::byte>) { return static_cast<int>(1 - last); };
      w.net.frozen[last] = true;
      w.net.run_for(2ms);
      w.servers[1 - last].close();
      w.servers[last].listener = socket_id::none;
      w.net.kill(last);
      w.net.kill(1 - last);
      CHECK(flows_noted(w) == 0);
    }
  }
}

TEST_CASE("a wish to accept that outlived its group is ignored and counted") {
  listen_options exclusive;
  for (const auto& again : {exclusive, sharded(), shared()}) {
    CAPTURE(static_cast<int>(again.sharing));
    world w(two_shards());
    w.servers[0].listen(shared());
    w.servers[1].listen(shared());
    w.net.frozen[0] = true;  // it has the queue, and does not hear
    w.servers[1].self().accept_wanted(w.net.now(), w.servers[1].listener);
    w.servers[1].close();
    w.servers[0].close();
    w.servers[0].acceptors = 0;
    w.servers[0].listen(again);
    w.net.frozen[0] = false;
    w.net.run_for(1ms);
    CHECK(w.net.total(counter::handovers_outdated) == 2);  // wanted, then forget
    REQUIRE(w.run(20));
    CHECK(w.clients.by_shard[0] == 20);
    CHECK(w.net.total(counter::connections_handed_over) == 0);
  }
}

TEST_CASE("what waited for a group that went is not given to whoever listens there next") {
  for (const auto& how : every_sharing()) {
    CAPTURE(static_cast<int>(how.sharing));
    CAPTURE(static_cast<int>(how.policy));
    world w(two_shards());
    for (auto& s : w.servers) s.accepts = false;
    w.listen_everywhere(how);
    w.wanted = 16;
    w.net.run_for(10ms);
    REQUIRE(queued(w) == 16);
    w.wanted = 20;
    w.net.run_for(1ms);
    REQUIRE(handshakes(w) == 4);
    w.net.frozen[1] = true;
    w.servers[0].close();  // what it has waits in the inbox of the other
    w.servers[1].close();
    w.servers[1].listen(sharded(sharding_policy::hash, owner_key{42}));
    w.net.frozen[1] = false;
    REQUIRE(w.net.run_until([&] { return w.clients.ended() == 20; }, 1s));
    CHECK(w.clients.failed == 20);
    CHECK(queued(w) == 0);
    CHECK(handshakes(w) == 0);
    CHECK(flows_noted(w) == 0);
  }
}

// --- A shared queue.

TEST_CASE("a connection that completes on a shard without the shared queue goes to it") {
  // Cookies are checked where the flow is at home, whoever has the queue.
  shard_net_options options;
  options.delay = 20ms;
  for (const unsigned accepting : {0u, 3u}) {
    CAPTURE(accepting);
    world w(options);
    for (auto& s : w.servers) s.accepts = s.index == accepting;
    auto how = shared();
    how.syn_backlog = 1;
    w.listen_everywhere(how);
    CHECK(w.run(400, 60s));
    CHECK(w.net.total(counter::syn_cookies_accepted) > 100);
    CHECK(w.clients.by_shard[accepting] == 400);
    CHECK(w.clients.failed == 0);
  }
}

TEST_CASE("a SYN that was on its way to the shared queue is served though the queue moved") {
  world w;
  for (auto& s : w.servers) s.accepts = s.index == 2;
  w.listen_everywhere(shared());
  w.net.frozen[0] = true;
  w.net.steer = [](std::span<const std::byte>) { return 1; };
  w.wanted = 10;
  w.net.run_for(10ms);  // the SYNs wait in the inbox of shard 0
  w.servers[0].close();
  w.servers[0].listen(shared());  // the last member now
  w.net.frozen[0] = false;
  CHECK(w.net.run_until([&] { return w.clients.ended() == 10; }, 1s));
  CHECK(w.clients.by_shard[2] == 10);
}

TEST_CASE("a shared queue keeps its bound wherever its connections complete") {
  shard_net_options options;
  options.delay = 20ms;
  world w(options);
  for (auto& s : w.servers) s.accepts = false;
  auto how = shared();
  how.syn_backlog = 1;
  how.backlog = 10;
  w.listen_everywhere(how);
  w.wanted = 40;
  w.net.run_for(500ms);
  CHECK(queued(w) == 10);
  CHECK(w.net.total(counter::syn_cookies_sent) > 10);
  // Room again, exactly as much as was made.
  w.servers[1].accepts = true;
  CHECK(w.net.run_until([&] { return w.clients.ended() == 40; }, 60s));
  CHECK(w.clients.failed == 0);
  w.servers[1].accepts = false;
  w.servers[1].self().accept_unwanted(w.net.now(), w.servers[1].listener);
  w.servers[1].waiting = 0;
  w.wanted = 80;
  w.net.run_for(500ms);
  CHECK(queued(w) == 10);
}

TEST_CASE("a full directory keeps connections of a shared queue where they are found") {
  shard_net_options options;
  options.directory = 8;
  world w(options);
  w.clients.stay = true;
  for (auto& s : w.servers) s.acceptors = 2;
  w.listen_everywhere(shared());
  CHECK(w.run(300, 60s));
  CHECK(w.clients.failed == 0);
  CHECK(w.net.total(counter::flow_directory_full) > 0);
}

TEST_CASE("acceptors that wait on other shards are served after the shard with the queue closed") {
  for (const bool host_too : {false, true}) {
    CAPTURE(host_too);
    shard_net_options options;
    options.shards = 3;
    world w(options);
    for (auto& s : w.servers) s.accepts = s.index != 0;
    w.listen_everywhere(shared());
    w.net.run_for(1ms);  // both wait, and ask only once
    w.servers[1].acceptors = w.servers[2].acceptors = 0;
    if (host_too) {
      w.servers[0].listener = socket_id::none;
      w.net.kill(0);
    } else {
      w.servers[0].close();
    }
    REQUIRE(w.run(2, 1s));
    CHECK(w.clients.by_shard[1] == 1);
    CHECK(w.clients.by_shard[2] == 1);
  }
}

TEST_CASE("an acceptor that was answered is served though its shard becomes the queue's") {
  shard_net_options options;
  options.shards = 3;
  world w(options);
  for (auto& s : w.servers) s.accepts = false;
  w.listen_everywhere(shared());
  auto& second = w.servers[1];
  second.self().accept_wanted(w.net.now(), second.listener);
  w.wanted = 1;
  w.net.run_for(10ms);  // the answer is there, and nobody has looked
  w.servers[0].close();
  CHECK(second.self().accept(second.listener));
}

TEST_CASE("who gave up waiting on a shared queue is asked no more") {
  world w;
  w.servers[1].accepts = true;
  for (auto& s : w.servers) s.accepts = s.index == 1;
  w.servers[1].acceptors = 3;
  w.listen_everywhere(shared());
  for (int k = 0; k < 3; ++k) {
    w.net.shard(2).accept_wanted(w.net.now(), w.servers[2].listener);
    w.net.run_for(1ms);
    w.net.shard(2).accept_unwanted(w.net.now(), w.servers[2].listener);
  }
  w.net.run_for(1ms);
  REQUIRE(w.run(30, 1s));
  CHECK(w.clients.by_shard[1] == 30);
  CHECK(w.net.total(counter::connections_handed_over) == 30);  // none by way of shard 2
}

TEST_CASE("who withdraws one of two wishes keeps the place of the older one") {
  shard_net_options options;
  options.shards = 3;
  world w(options);
  for (auto& s : w.servers) s.accepts = false;
  w.listen_everywhere(shared());
  for (const unsigned i : {1u, 2u, 1u}) {
    w.net.shard(i).accept_wanted(w.net.now(), w.servers[i].listener);
    w.net.run_for(1ms);
  }
  w.net.shard(1).accept_unwanted(w.net.now(), w.servers[1].listener);
  w.net.run_for(1ms);
  w.wanted = 1;
  w.net.run_for(10ms);
  CHECK(w.net.shard(1).accept(w.servers[1].listener));
}

TEST_CASE("the shard with the shared queue takes nothing before the others were heard") {
  world w(two_shards());
  for (auto& s : w.servers) s.accepts = false;
  w.listen_everywhere(shared());
  w.wanted = 4;
  w.net.run_for(10ms);
  auto& first = w.servers[0];
  first.self().accept_wanted(w.net.now(), first.listener);
  CHECK_FALSE(first.self().accept(first.listener));
  first.self().flush(w.net.now());  // its turn ends
  CHECK(first.self().accept(first.listener));
  CHECK_FALSE(first.self().accept(first.listener));
}

TEST_CASE("with a full directory an acceptor is told of what completed on its own shard") {
  auto options = two_shards();
  options.directory = 8;
  world w(options);
  for (auto& s : w.servers) s.accepts = false;
  w.listen_everywhere(shared());
  auto& directory = w.net.set().inside().directory();
  for (std::uint64_t i = 1; i < 10'000; ++i) (void)directory.assign(i * 0x9e3779b97f4a7c15ull, 0);
  auto& second = w.servers[1];
  unsigned told = 0;
  w.net.on_shard = [&](unsigned i) {
    event what;
    while (w.net.shard(i).next_event(what))
      if (what.socket == second.listener && any(what.what, ready::acceptable)) ++told;
  };
  w.wanted = 16;
  w.net.run_for(20ms);
  auto waiting = second.self().info_listener(second.listener)->accept_queue;
  REQUIRE(waiting > 0);  // no segment would find them elsewhere
  REQUIRE(queued(w) == 16);
  told = 0;
  second.self().accept_wanted(w.net.now(), second.listener);
  w.net.run_for(1ms);
  CHECK(told == 1);
  for (; waiting > 0; --waiting) REQUIRE(second.self().accept(second.listener));
  CHECK_FALSE(second.self().accept(second.listener));
  // Who waits already is told when one comes.
  second.self().accept_wanted(w.net.now(), second.listener);
  w.net.run_for(1ms);
  while (w.net.shard(0).accept(w.servers[0].listener)) {
  }
  w.net.run_for(1ms);
  if (!second.self().accept(second.listener)) {
    told = 0;
    w.wanted = 32;
    w.net.run_for(20ms);
    CHECK(told > 0);
    CHECK(second.self().accept(second.listener));
  }
}

TEST_CASE("in random lives of a shared queue nobody waits while a connection does") {
  for (unsigned seed = 0; seed < 60; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto chance = [&](unsigned one_in) { return random() % one_in == 0; };
    shard_net_options options;
    options.shards = 3;
    options.queues = seed % 2 == 0 ? 3 : 1;
    world w(options);
    auto how = shared();
    how.backlog = 6;
    how.syn_backlog = 1 + seed % 3;
    const auto live = [&](server& s) {
      if (s.listener == socket_id::none) {
        if (chance(4)) s.listen(how);
        return;
      }
      if (chance(12)) return s.close();
      s.accepts = chance(2);
      if (!s.accepts && s.waiting > 0 && chance(2)) {
        --s.waiting;
        s.self().accept_unwanted(w.net.now(), s.listener);
      }
    };
    for (int step = 0; step < 300; ++step) {
      for (auto& s : w.servers)
        if (w.net.now() > instant{} && chance(3)) live(s);
      for (unsigned i = 0; i < 3; ++i) w.net.frozen[i] = chance(4);
      if (chance(40)) {
        auto& s = w.servers[random() % 3];
        s.listener = socket_id::none;
        s.waiting = 0;
        w.net.kill(s.index);
        w.net.revive(s.index);
      }
      w.wanted += random() % 3;
      w.net.run_for(random() % 5 * 500us);
    }
    for (unsigned i = 0; i < 3; ++i) w.net.frozen[i] = false;
    for (auto& s : w.servers) {
      s.accepts = false;
      if (s.listener == socket_id::none) s.listen(how);
    }
    // Whatever others still wait for is withdrawn: from now on one serves all.
    for (auto& s : w.servers)
      for (; s.waiting > 0; --s.waiting) s.self().accept_unwanted(w.net.now(), s.listener);
    w.net.run_for(100ms);
    auto& last = w.servers[seed % 3];
    last.accepts = true;
    w.net.run_for(1s);
    CHECK(queued(w) == 0);
    w.net.run_for(200s);
    const auto before = w.clients.by_shard[last.index];
    const auto ended = w.clients.ended();
    const auto failed = w.clients.failed;
    w.wanted = w.clients.started + 20;
    CHECK(w.net.run_until([&] { return w.clients.ended() == ended + 20; }, 10s));
    CHECK(w.clients.failed == failed);
    CHECK(w.clients.by_shard[last.index] == before + 20);
  }
}

TEST_CASE("a connection that its acceptor's shard has no room for costs the shared queue nothing") {
  auto options = two_shards();
  options.limits.connections = 3;
  world w(options);
  w.clients.stay = true;
  auto how = shared();
  how.backlog = 4;
  w.servers[0].accepts = false;
  w.listen_everywhere(how);
  REQUIRE(w.run(3, 1s));  // the second shard has as many as it may
  for (std::uint64_t refused = 1; refused <= 8; ++refused) {
    REQUIRE(w.run(1, 1s));
    CHECK(w.clients.failed == refused);
  }
  CHECK(w.net.shard(1).counters()[counter::connections_refused_limit] == 8);
  for (const auto id : w.clients.stayed) w.net.client().close(w.net.now(), id);
  REQUIRE(w.net.run_until([&] { return w.servers[1].open == 0; }, 1s));
  w.clients.stay = false;
  w.at_once = 1;
  REQUIRE(w.run(20, 10s));
  CHECK(w.clients.by_shard[1] == 23);
  CHECK(w.clients.failed == 8);
}

// --- A flow that moves while its segments are on their way.

namespace {

/// One client's connection that waits in the accept queue of the first of two shards.
struct waiting_connection {
  explicit waiting_connection(const shard_net_options& options) : w(options) {
    for (auto& s : w.servers) s.accepts = false;
    w.net.on_client = nullptr;
    w.net.steer = [this](std::span<const std::byte> packet) {
      if (syn.empty()) syn.assign(packet.begin(), packet.end());
      last.assign(packet.begin(), packet.end());
      return queue;
    };
    w.servers[0].listen(sharded(sharding_policy::round_robin));
    client = *w.net.client().connect(w.net.now(), service_at, {}, {});
    w.net.run_for(10ms);
    REQUIRE(w.servers[0].self().info_listener(w.servers[0].listener)->accept_queue == 1);
    for (unsigned i = 1; i < w.net.size(); ++i)
      w.servers[i].listen(sharded(sharding_policy::round_robin));
  }
  void ask() { REQUIRE(send_text(w.net.client(), w.net.now(), client, "?")); }
  bool answered_by(unsigned shard) {
    w.servers[shard].accepts = true;
    std::byte who{0xff};
    const bool came = w.net.run_until(
        [&] {
          const auto n = w.net.client().receive(w.net.now(), client, std::span(&who, 1));
          return n && *n == 1;
        },
        10s);
    return came && who == static_cast<std::byte>(shard);
  }

  world w;
  socket_id client = socket_id::none;
  std::vector<std::byte> syn, last;  // of what came
  int queue = 0;                     // of the device, for what comes
};

}  // namespace

TEST_CASE("a segment that comes before the connection that it is for is repeated, not reset") {
  waiting_connection one(two_shards());
  auto& net = one.w.net;
  net.frozen[1] = true;
  one.w.servers[0].close();  // the connection waits in the second shard's inbox
  one.queue = 1;
  one.ask();
  net.run_for(5ms);
  net.shard(1).input(net.now(), one.last);
  CHECK(net.total(counter::handovers_early) == 1);
  net.frozen[1] = false;
  CHECK(one.answered_by(1));
  CHECK(net.total(counter::resets_sent) == 0);
}

TEST_CASE("a segment follows a connection that moved on, without being repeated") {
  auto options = two_shards();
  options.shards = 3;
  waiting_connection one(options);
  auto& net = one.w.net;
  one.w.servers[2].close();
  one.queue = 2;
  net.frozen[0] = true;
  one.ask();
  net.run_for(2ms);  // handed to the first shard, which does not look
  one.w.servers[0].close();
  net.frozen[0] = false;
  CHECK(one.answered_by(1));
  CHECK(net.total(counter::segments_handed_over) >= 2);
  CHECK(net.total(counter::handovers_dropped) == 0);
  CHECK(net.client().counters()[counter::retransmissions] == 0);
}

TEST_CASE("a connection that moves takes the place of a handshake that an old SYN began") {
  waiting_connection one(two_shards());
  auto& net = one.w.net;
  net.frozen[1] = true;
  one.w.servers[0].close();
  one.queue = 1;
  net.shard(1).input(net.now(), one.syn);
  REQUIRE(handshakes(one.w) == 1);
  net.frozen[1] = false;
  net.run_for(1ms);
  CHECK(handshakes(one.w) == 0);
  one.ask();
  CHECK(one.answered_by(1));
  net.client().close(net.now(), one.client);
  net.run_for(200s);
  CHECK(flows_noted(one.w) == 0);
}

// --- The directory of flows.

TEST_CASE("a host that goes leaves no flow of its connections in TIME_WAIT in the directory") {
  for (const auto policy : {sharding_policy::round_robin, sharding_policy::least_loaded}) {
    CAPTURE(static_cast<int>(policy));
    world w(two_shards());
    w.listen_everywhere(sharded(policy));
    w.net.on_shard = [&](unsigned i) {  // the servers close first
      auto& self = w.net.shard(i);
      while (const auto got = self.accept(w.servers[i].listener)) self.close(w.net.now(), *got);
    };
    w.net.on_client = [&] {
      event what;
      while (w.net.client().next_event(what))
        if (any(what.what, ready::readable)) w.net.client().close(w.net.now(), what.socket);
    };
    for (int i = 0; i < 20; ++i) REQUIRE(w.net.client().connect(w.net.now(), service_at, {}, {}));
    w.net.run_for(100ms);
    CHECK(flows_noted(w) == 20);
    for (auto& s : w.servers) s.listener = socket_id::none;
    w.net.kill(0);
    w.net.kill(1);
    CHECK(flows_noted(w) == 0);
  }
}

TEST_CASE("handshakes that expire or are reset leave no flow in the directory") {
  for (const auto& how : every_sharing()) {
    for (const bool reset : {false, true}) {
      CAPTURE(static_cast<int>(how.sharing));
      CAPTURE(static_cast<int>(how.policy));
      CAPTURE(reset);
      world w;
      w.listen_everywhere(how);
      std::vector<socket_id> opened;
      for (int k = 0; k < 40; ++k) {
        const auto id = w.net.client().connect(w.net.now(), service_at, {}, {});
        REQUIRE(id);
        opened.push_back(*id);
      }
      w.net.run_for(1ms);
      REQUIRE(handshakes(w) == 40);
      if (how.policy != sharding_policy::hash) CHECK(flows_noted(w) == 40);
      if (reset)
        for (const auto id : opened) w.net.client().abort(w.net.now(), id);
      for (const auto id : opened) w.net.client().close(w.net.now(), id);
      w.net.run_for(reset ? duration(5ms) : duration(180s));
      CHECK(handshakes(w) == 0);
      CHECK(flows_noted(w) == 0);
    }
  }
}
