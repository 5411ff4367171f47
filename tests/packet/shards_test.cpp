// Listeners that share an address over the shards of one device: who gets a connection, who may
// listen, and what becomes of connections when a member goes. All shards run in one thread under a
// virtual clock.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>
#include <set>
#include <stdexcept>

#include "packet/shard_world.hpp"
#include "stack/share/group_table.hpp"

using namespace weir;
using namespace weir::test;

TEST_CASE("every connection reaches a member of its group and is served") {
  for (const auto policy :
       {sharding_policy::hash, sharding_policy::round_robin, sharding_policy::least_loaded}) {
    for (const unsigned queues : {4u, 1u}) {
      CAPTURE(static_cast<int>(policy));
      CAPTURE(queues);
      shard_net_options options;
      options.queues = queues;
      world w(options);
      w.listen_everywhere(sharded(policy));
      REQUIRE(w.run(2000));
      CHECK(w.clients.failed == 0);
      CHECK(w.clients.answered == 2000);
      for (auto n : w.clients.by_shard) CHECK(n > 300);
      w.net.run_for(5s);
      for (auto& s : w.servers) CHECK(s.open == 0);
      for (unsigned i = 0; i < 4; ++i) CHECK(w.net.shard(i).memory_in_use() == 0);
      CHECK(w.net.set().inside().directory().count() == 0);
      CHECK(w.net.total(counter::resets_sent) == 0);
      CHECK(w.net.total(counter::handovers_dropped) == 0);
      // With a queue each, nothing but SYNs changes shards: the device learns from the answer.
      if (queues == 4) CHECK(w.net.total(counter::segments_handed_over) == 0);
      CHECK(w.net.total(counter::syns_handed_over) > 1000);
    }
  }
}

// covers: b17
TEST_CASE("the shard chosen for a 4-tuple is stable") {
  share::table groups(4, secret_of(7), 1024);
  for (unsigned i = 0; i < 4; ++i) REQUIRE(!groups.join(i, service_at, sharded()));
  std::uint64_t version = 0;
  const auto all = groups.current(version);
  groups.leave(2, service_at);
  const auto without = groups.current(version);
  REQUIRE(!groups.join(2, service_at, sharded()));
  const auto again = groups.current(version);
  std::vector<int> by_shard(4);
  for (std::uint16_t port = 1024; port < 11024; ++port) {
    const auto hash = groups.hash({service_at, endpoint("10.0.0.1", port)});
    const auto chosen = groups.pick(*all->match(service_at), hash);
    ++by_shard[chosen];
    CHECK(groups.pick(*all->match(service_at), hash) == chosen);
    CHECK(groups.home(hash) == chosen);
    // A member that leaves moves only the flows that it had, and gets them again.
    const auto meanwhile = groups.pick(*without->match(service_at), hash);
    if (chosen != 2) CHECK(meanwhile == chosen);
    if (chosen == 2) CHECK(meanwhile != 2);
    CHECK(groups.pick(*again->match(service_at), hash) == chosen);
  }
  for (auto n : by_shard) CHECK(n == doctest::Approx(2500).epsilon(0.1));
}

// covers: b17
TEST_CASE("one client port comes back to the shard that served it before") {
  world w;
  w.listen_everywhere(sharded());
  std::vector<int> served;
  for (int round = 0; round < 3; ++round) {
    for (std::uint16_t port = 5000; port < 5040; ++port) {
      const auto before = w.clients.by_shard;
      ++w.wanted;
      ++w.clients.started;
      ++w.clients.in_progress;
      REQUIRE(w.net.client().connect(w.net.now(), service_at, endpoint("10.0.0.1", port), {}));
      REQUIRE(w.net.run_until([&] { return w.clients.ended() == w.wanted; }));
      for (unsigned i = 0; i < 4; ++i)
        if (w.clients.by_shard[i] != before[i]) served.push_back(static_cast<int>(i));
    }
    w.net.run_for(120s);  // TIME_WAIT is over
  }
  REQUIRE(served.size() == 120);
  for (std::size_t i = 0; i < 40; ++i) {
    CHECK(served[i] == served[i + 40]);
    CHECK(served[i] == served[i + 80]);
  }
}

TEST_CASE("round_robin is even to one connection") {
  world w;
  w.listen_everywhere(sharded(sharding_policy::round_robin));
  REQUIRE(w.run(1000));
  for (auto n : w.clients.by_shard) CHECK(n == 250);
}

// covers: b18
TEST_CASE("a listener says who shares its address") {
  shard_net net;
  std::vector<socket_id> all;
  for (unsigned i = 0; i < 3; ++i)
    all.push_back(
        *net.shard(i).listen(service_at, sharded(sharding_policy::round_robin, owner_key{77})));
  auto info = *net.shard(1).info_listener(all[1]);
  CHECK(info.sharing == sharing_mode::sharded);
  CHECK(info.policy == sharding_policy::round_robin);
  CHECK(info.members == 3);
  CHECK(info.has_owner_key);
  net.shard(0).close(net.now(), all[0]);
  CHECK(net.shard(1).info_listener(all[1])->members == 2);
  const auto unkeyed = *net.shard(0).listen(at("10.0.0.3", 9), sharded());
  CHECK_FALSE(net.shard(0).info_listener(unkeyed)->has_owner_key);
}

TEST_CASE("a listener without the owner's key gets address_in_use") {
  shard_net net;
  const auto ours = static_cast<owner_key>(77), theirs = static_cast<owner_key>(78);
  REQUIRE(net.shard(0).listen(service_at, sharded(sharding_policy::hash, ours)));
  for (const auto key : {theirs, owner_key::none}) {
    auto thief = sharded(sharding_policy::hash, key);
    CHECK(net.shard(1).listen(service_at, thief).error() == std::errc::address_in_use);
    thief.sharing = sharing_mode::exclusive;
    CHECK(net.shard(1).listen(service_at, thief).error() == std::errc::address_in_use);
    thief.sharing = sharing_mode::shared;
    CHECK(net.shard(1).listen(service_at, thief).error() == std::errc::address_in_use);
  }
  CHECK(net.shard(1).listen(service_at, sharded(sharding_policy::hash, ours)));
  // With the key, but not as the first member said.
  CHECK(net.shard(2).listen(service_at, sharded(sharding_policy::round_robin, ours)).error() ==
        std::errc::invalid_argument);
}

// covers: b18
TEST_CASE("without the key nobody takes a wildcard's connections by standing on an address of it") {
  shard_net net;
  const endpoint everywhere("0.0.0.0", 80);
  auto ours = sharded(sharding_policy::hash, static_cast<owner_key>(77));
  auto theirs = sharded(sharding_policy::hash, static_cast<owner_key>(78));
  ours.allow_wildcard = theirs.allow_wildcard = true;
  const auto wide = net.shard(0).listen(everywhere, ours);
  REQUIRE(wide);
  CHECK(net.shard(1).listen(service_at, theirs).error() == std::errc::address_in_use);
  CHECK(net.shard(1).listen(service_at, {}).error() == std::errc::address_in_use);
  CHECK(net.shard(0).listen(service_at, theirs).error() == std::errc::address_in_use);
  CHECK(net.shard(1).listen(service_at, ours));
  net.shard(0).close(net.now(), *wide);
  // And the other way round: the wildcard comes second.
  CHECK(net.shard(0).listen(everywhere, theirs).error() == std::errc::address_in_use);
  CHECK(net.shard(0).listen(everywhere, ours));
}

TEST_CASE("an exclusive listener is the only one on any shard, and is found from every queue") {
  world w;
  w.servers[2].listen({});
  CHECK(w.net.shard(1).listen(service_at, {}).error() == std::errc::address_in_use);
  CHECK(w.net.shard(2).listen(service_at, {}).error() == std::errc::address_in_use);
  CHECK(w.net.shard(1).listen(service_at, sharded()).error() == std::errc::address_in_use);
  REQUIRE(w.run(500));
  CHECK(w.clients.by_shard[2] == 500);
  // Another address of the same hosts is another matter.
  CHECK(w.net.shard(1).listen(endpoint("10.0.0.3", 80), {}));
  w.servers[2].close();
  CHECK(w.net.shard(1).listen(service_at, {}));
}

// covers: b19
TEST_CASE("a member that leaves hands its queue to the others and wakes them") {
  world w;
  w.listen_everywhere(sharded(sharding_policy::round_robin));
  for (auto& s : w.servers) s.accepts = false;
  w.wanted = 40;
  w.net.run_for(100ms);
  for (unsigned i = 0; i < 4; ++i)
    REQUIRE(w.net.shard(i).info_listener(w.servers[i].listener)->accept_queue == 10);
  w.servers[1].accepts = w.servers[2].accepts = w.servers[3].accepts = true;
  w.net.run_for(1ms);
  w.net.on_shard = nullptr;  // nobody looks unless an event says so
  w.servers[0].close();
  w.net.run_for(1ms);
  std::uint64_t inherited = 0;
  for (unsigned i = 1; i < 4; ++i) {
    event what;
    bool woken = false;
    while (w.net.shard(i).next_event(what))
      woken |= what.socket == w.servers[i].listener && any(what.what, ready::acceptable);
    CHECK(woken);
    inherited += w.net.shard(i).info_listener(w.servers[i].listener)->accept_queue;
  }
  CHECK(inherited == 10);
  w.net.on_shard = [&](unsigned i) { w.servers[i].step(); };
  REQUIRE(w.net.run_until([&] { return w.clients.ended() == 40; }));
  CHECK(w.clients.answered == 40);
  CHECK(w.clients.by_shard[0] == 0);
  CHECK(w.net.total(counter::connections_taken_over) == 10);
}

// covers: b19
TEST_CASE("connections that a shard accepted stay with it when its listener goes") {
  world w;
  w.clients.stay = true;
  w.listen_everywhere(sharded());
  REQUIRE(w.run(200));
  w.servers[0].close();
  // They are idle for longer than the device remembers its flows, then talk again.
  w.net.run_for(10s);
  for (auto id : w.clients.stayed) REQUIRE(send_text(w.net.client(), w.net.now(), id, "?"));
  const auto before = w.clients.by_shard;
  std::uint64_t answered = 0;
  w.net.on_client = [&] {
    event what;
    while (w.net.client().next_event(what)) {
      std::byte who;
      const auto n = w.net.client().receive(w.net.now(), what.socket, std::span(&who, 1));
      if (n && *n == 1) ++answered;
    }
  };
  CHECK(w.net.run_until([&] { return answered == 200; }, 1s));
  CHECK(before[0] > 0);
  CHECK(w.net.total(counter::segments_handed_over) > 0);
  CHECK(w.net.total(counter::resets_sent) == 0);
}

TEST_CASE(
    "half-open handshakes move with the queue, and data that came early with the connection") {
  shard_net_options options;
  options.delay = 50ms;
  world w(options);
  w.listen_everywhere(sharded(sharding_policy::round_robin));
  w.wanted = 100;
  w.net.run_for(120ms);  // SYNs are answered, nobody has seen the answers' answers
  REQUIRE(w.net.shard(0).info_listener(w.servers[0].listener)->syn_queue == 25);
  w.servers[0].close();
  w.servers[1].accepts = w.servers[2].accepts = w.servers[3].accepts = false;
  w.net.run_for(150ms);  // established by now, each with a byte of data
  w.servers[1].close();
  w.servers[2].accepts = w.servers[3].accepts = true;
  REQUIRE(w.net.run_until([&] { return w.clients.ended() == 100; }, 500ms));
  CHECK(w.clients.answered == 100);
  CHECK(w.clients.by_shard[2] + w.clients.by_shard[3] == 100);
  CHECK(w.net.client().counters()[counter::retransmissions] == 0);
  w.net.run_for(5s);
  for (unsigned i = 0; i < 4; ++i) CHECK(w.net.shard(i).memory_in_use() == 0);
}

TEST_CASE("the last member that leaves resets what nobody will take") {
  world w;
  w.listen_everywhere(sharded());
  for (auto& s : w.servers) s.accepts = false;
  w.wanted = 40;
  w.net.run_for(100ms);
  for (auto& s : w.servers) s.close();
  REQUIRE(w.net.run_until([&] { return w.clients.ended() == 40; }, 1s));
  CHECK(w.clients.failed == 40);
  for (unsigned i = 0; i < 4; ++i) CHECK(w.net.shard(i).memory_in_use() == 0);
  CHECK(w.net.set().inside().directory().count() == 0);
  CHECK(w.net.set().groups().empty());
}

TEST_CASE("a host that goes leaves its groups, and what it had queued lives on") {
  world w;
  w.listen_everywhere(sharded(sharding_policy::round_robin));
  for (auto& s : w.servers) s.accepts = false;
  w.wanted = 40;
  w.net.run_for(100ms);
  w.net.kill(3);
  for (auto& s : w.servers) s.accepts = true;
  REQUIRE(w.net.run_until([&] { return w.clients.ended() == 40; }, 5s));
  CHECK(w.clients.answered == 40);
  CHECK(w.clients.by_shard[3] == 0);
  // Nothing new goes there.
  REQUIRE(w.run(100));
  CHECK(w.clients.failed == 0);
}

TEST_CASE("a hundred thousand short connections while shards join and leave every 100 ms") {
  for (const auto policy :
       {sharding_policy::round_robin, sharding_policy::hash, sharding_policy::least_loaded}) {
    CAPTURE(static_cast<int>(policy));
    world w;
    w.listen_everywhere(sharded(policy));
    std::function<void()> churn, changed, hijack;
    unsigned next = 0;
    churn = [&] {
      // Two stay for good; the other two go and come.
      auto& s = w.servers[2 + next++ % 2];
      if (s.listener != socket_id::none)
        s.close();
      else
        s.listen(sharded(policy));
      changed();
      hijack();
      w.net.at_time(w.net.now() + 100ms, churn);
    };
    w.net.at_time(w.net.now() + 100ms, churn);
    // Who accepts looks at his queue only now and then, so that something is there to inherit.
    std::function<void()> look = [&] {
      for (auto& s : w.servers) s.accepts = true;
      w.net.at_time(w.net.now() + 3ms, look);
    };
    look();
    w.net.on_shard = [&](unsigned i) {
      w.servers[i].step();
      w.servers[i].accepts = false;
    };
    // What each gets is compared with its share of what was chosen while it was a member: of a
    // thousand SYNs while four were there, 250 each.
    std::vector<double> due(4);
    std::uint64_t chosen = 0;
    std::vector<unsigned> present = {0, 1, 2, 3};
    const auto settle_up = [&] {
      const auto now = w.clients.started;
      for (auto i : present)
        due[i] += static_cast<double>(now - chosen) / static_cast<double>(present.size());
      chosen = now;
      present.clear();
      for (unsigned i = 0; i < 4; ++i)
        if (w.servers[i].listener != socket_id::none) present.push_back(i);
    };
    changed = settle_up;
    // Somebody without the group's key tries to join all the while, there and nearer.
    std::uint64_t refused = 0;
    hijack = [&] {
      for (const auto key : {owner_key::none, owner_key{1234}}) {
        auto theirs = sharded(policy, key);
        if (key == owner_key::none) theirs.sharing = sharing_mode::exclusive;
        const auto got = w.net.shard(next % 4).listen(service_at, theirs);
        CHECK(got.error() == std::errc::address_in_use);
        refused += got ? 0 : 1;
      }
    };
    const bool all = w.run(100'000, 600s);
    settle_up();
    CHECK(all);
    CHECK(refused >= 30);
    CHECK(w.clients.failed == 0);
    CHECK(w.clients.answered == 100'000);
    CHECK(w.net.total(counter::resets_sent) == 0);
    const auto moved = w.net.total(counter::connections_taken_over);
    std::printf("%s: %s by shard, %llu queued connections moved\n",
                policy == sharding_policy::hash          ? "hash"
                : policy == sharding_policy::round_robin ? "round_robin"
                                                         : "least_loaded",
                balance_of(w).c_str(), static_cast<unsigned long long>(moved));
    if (policy == sharding_policy::round_robin) {
      // A member that leaves hands on what it has not accepted: not served where it was chosen.
      CHECK(w.imbalance({0, 1}) < 0.05);
      for (unsigned i = 0; i < 4; ++i) {
        CAPTURE(i);
        const auto got = static_cast<double>(w.net.shard(i).counters()[counter::syn_received]);
        CHECK(got > due[i] * 0.95);
        CHECK(got < due[i] * 1.05);
      }
    }
    CHECK(next >= 15);
    CHECK(moved > 200);
  }
}

TEST_CASE("the balance of short and of long connections over the shards") {
  for (const bool stay : {false, true}) {
    for (const auto policy :
         {sharding_policy::round_robin, sharding_policy::hash, sharding_policy::least_loaded}) {
      world w;
      w.clients.stay = stay;
      w.listen_everywhere(sharded(policy));
      REQUIRE(w.run(8000));
      std::printf("%-5s %-12s: %s\n", stay ? "long" : "short",
                  policy == sharding_policy::hash          ? "hash"
                  : policy == sharding_policy::round_robin ? "round_robin"
                                                           : "least_loaded",
                  balance_of(w).c_str());
      const auto limit = policy == sharding_policy::hash ? 0.15 : 0.05;
      CHECK(w.imbalance({0, 1, 2, 3}) < limit);
    }
  }
}

TEST_CASE("least_loaded takes the first that has least, and begins at another each time") {
  for (const unsigned count : {1u, 2u, 3u, 5u, 6u}) {
    CAPTURE(count);
    // Every second shard listens, and the last joined first.
    share::table groups(2 * count, secret_of(7), 1024);
    for (unsigned i = count; i-- > 0;)
      REQUIRE(!groups.join(2 * i, service_at, sharded(sharding_policy::least_loaded)));
    std::uint64_t version = 0;
    const auto all = groups.current(version);
    const auto& where = *all->match(service_at);
    for (std::uint32_t turn = 0; turn < 2 * count; ++turn)
      for (unsigned loads = 0; loads < 1u << count; ++loads) {
        CAPTURE(turn);
        CAPTURE(loads);
        const auto busy = [&](unsigned i) { return (loads >> i % count & 1) != 0; };
        for (unsigned i = 0; i < count; ++i) groups.publish(where.members[i], busy(i) ? 8 : 7, 0);
        where.of->turn = turn;
        auto wanted = turn;
        for (unsigned i = 0; i < count && busy(wanted); ++i) ++wanted;
        CHECK(groups.pick(where, 0) == where.members[wanted % count]);
      }
  }
}

TEST_CASE("least_loaded weighs what waits for accept, and what it chose since the shard spoke") {
  share::table groups(2, secret_of(7), 1024);
  for (unsigned i = 0; i < 2; ++i)
    REQUIRE(!groups.join(i, service_at, sharded(sharding_policy::least_loaded)));
  std::uint64_t version = 0;
  const auto all = groups.current(version);
  // One that waits weighs sixteen.
  groups.publish(0, 1, 1);
  groups.publish(1, 15, 0);
  std::vector<unsigned> chosen;
  for (int i = 0; i < 5; ++i) {
    all->match(service_at)->of->turn = 0;
    chosen.push_back(groups.pick(*all->match(service_at), 0));
  }
  CHECK(chosen == std::vector<unsigned>{1, 1, 0, 1, 0});
}

TEST_CASE("least_loaded does not feed a shard that is busy") {
  SUBCASE("it accepts nothing: its queue is looked at") {
    world w;
    w.listen_everywhere(sharded(sharding_policy::least_loaded));
    w.servers[1].accepts = false;
    w.wanted = 2000;
    w.at_once = 50;
    w.net.run_for(2s);
    CHECK(w.net.shard(1).info_listener(w.servers[1].listener)->accept_queue < 20);
    CHECK(w.clients.answered > 1900);
    w.servers[1].accepts = true;
    REQUIRE(w.net.run_until([&] { return w.clients.ended() == 2000; }));
    CHECK(w.clients.failed == 0);
    // Once it is idle again it gets its share.
    const auto before = w.clients.by_shard[1];
    REQUIRE(w.run(2000));
    CHECK(w.clients.by_shard[1] - before > 300);
  }
  SUBCASE("it holds many connections already") {
    world w;
    w.clients.stay = true;
    w.servers[1].listen(sharded(sharding_policy::least_loaded));
    REQUIRE(w.run(300));
    for (unsigned i : {0u, 2u, 3u}) w.servers[i].listen(sharded(sharding_policy::least_loaded));
    REQUIRE(w.run(900));
    CHECK(w.imbalance({0, 1, 2, 3}) < 0.1);
  }
  SUBCASE("it does not get to run at all: what waits for it is looked at") {
    world w;
    w.listen_everywhere(sharded(sharding_policy::least_loaded));
    w.net.frozen[1] = true;
    // The device's queue of a shard that does not run is nobody else's to read: only what the
    // others get can be kept away from it.
    w.net.steer = [](std::span<const std::byte> p) { return std::to_integer<int>(p[21]) % 2 * 2; };
    w.wanted = 1000;
    w.at_once = 50;
    w.net.run_for(1s);
    CHECK(w.clients.answered > 950);
    w.net.frozen[1] = false;
    REQUIRE(w.net.run_until([&] { return w.clients.ended() == 1000; }));
    CHECK(w.clients.failed == 0);
    CHECK(w.clients.by_shard[1] < 50);
  }
}

TEST_CASE("a shared queue serves acceptors on every shard, in the order of waiting") {
  world w;
  for (auto& s : w.servers) s.acceptors = 1;
  w.listen_everywhere(shared());
  w.at_once = 1;  // one at a time: who waits longest is next
  REQUIRE(w.run(400));
  CHECK(w.clients.failed == 0);
  for (auto n : w.clients.by_shard) CHECK(n == 100);
  w.at_once = 200;
  REQUIRE(w.run(4000));
  CHECK(w.clients.failed == 0);
  for (auto n : w.clients.by_shard) CHECK(n >= 200);
  w.net.run_for(5s);
  for (unsigned i = 0; i < 4; ++i) CHECK(w.net.shard(i).memory_in_use() == 0);
}

TEST_CASE("a shared queue has one bound, and only who waits gets a connection") {
  world w;
  auto options = shared();
  options.backlog = 10;
  for (auto& s : w.servers) s.accepts = false;
  w.listen_everywhere(options);
  w.wanted = 30;
  w.net.run_for(200ms);
  std::uint32_t queued = 0;
  for (unsigned i = 0; i < 4; ++i)
    queued += w.net.shard(i).info_listener(w.servers[i].listener)->accept_queue;
  CHECK(queued == 10);
  CHECK(w.net.shard(0).info_listener(w.servers[0].listener)->accept_queue == 10);
  w.servers[3].accepts = true;
  REQUIRE(w.net.run_until([&] { return w.clients.ended() == 30; }));
  CHECK(w.clients.by_shard[3] == 30);
}

TEST_CASE("an acceptor that stops waiting takes no connection with it") {
  world w;
  for (auto& s : w.servers) s.accepts = false;
  w.listen_everywhere(shared());
  auto& net = w.net;
  net.shard(2).accept_wanted(net.now(), w.servers[2].listener);
  net.run_for(1ms);
  // Its wish is served at the very moment when it is withdrawn.
  net.frozen[2] = true;
  w.wanted = 1;
  net.run_for(20ms);
  net.shard(2).accept_unwanted(net.now(), w.servers[2].listener);
  net.frozen[2] = false;
  net.run_for(1ms);
  w.servers[1].accepts = true;
  REQUIRE(net.run_until([&] { return w.clients.ended() == 1; }, 1s));
  CHECK(w.clients.by_shard[1] == 1);
}

TEST_CASE("a shared queue outlives the shard that had it") {
  world w;
  for (auto& s : w.servers) s.acceptors = 2;
  w.listen_everywhere(shared());
  std::function<void()> churn;
  unsigned next = 0;
  churn = [&] {
    // The first member, which has the queue, always goes.
    const auto groups = w.net.set().groups();
    REQUIRE(groups.size() == 1);
    auto& first = w.servers[groups[0].members[0]];
    first.close();
    for (auto& s : w.servers)
      if (s.listener == socket_id::none && &s != &first) s.listen(shared());
    ++next;
    w.net.at_time(w.net.now() + 50ms, churn);
  };
  w.net.at_time(w.net.now() + 50ms, churn);
  const bool all = w.run(20'000, 300s);
  CHECK(all);
  CHECK(w.clients.failed == 0);
  CHECK(next > 5);
  CHECK(w.net.total(counter::resets_sent) == 0);
}

TEST_CASE("cookies of one shard are good on another") {
  for (const unsigned queues : {4u, 1u}) {
    CAPTURE(queues);
    shard_net_options options;
    options.queues = queues;
    options.delay = 20ms;
    world w(options);
    auto how = sharded(sharding_policy::round_robin);
    how.syn_backlog = 2;
    w.listen_everywhere(how);
    REQUIRE(w.run(400));
    CHECK(w.clients.failed == 0);
    CHECK(w.clients.answered == 400);
    CHECK(w.net.total(counter::syn_cookies_accepted) > 100);
  }
}

TEST_CASE("a cookie is good though the shard where its flow is at home does not listen") {
  shard_net_options options;
  options.delay = 20ms;
  for (const auto policy : {sharding_policy::hash, sharding_policy::round_robin}) {
    CAPTURE(static_cast<int>(policy));
    world w(options);
    w.net.run_for(300s);  // times are differences, however late it is
    auto how = sharded(policy);
    how.syn_backlog = 1;
    w.servers[1].listen(how);
    w.servers[2].listen(how);
    REQUIRE(w.run(400, 60s));
    CHECK(w.net.total(counter::syn_cookies_accepted) > 100);
    CHECK(w.clients.failed == 0);
    w.net.run_for(300s);
    CHECK(w.net.set().inside().directory().count() == 0);
  }
}

TEST_CASE("connections that a shard opens are answered on it, whatever queue the answer takes") {
  shard_net_options options;
  options.queues = 1;
  shard_net net(options);
  const auto far = *net.client().listen(endpoint("10.0.0.1", 9), {});
  std::vector<socket_id> ids;
  std::set<std::uint16_t> ports;
  for (unsigned i = 0; i < 4; ++i) {
    for (int k = 0; k < 50; ++k) {
      const auto id = net.shard(i).connect(net.now(), endpoint("10.0.0.1", 9), {}, {});
      REQUIRE(id);
      ids.push_back(*id);
      ports.insert(net.shard(i).local_endpoint(*id).port);
    }
  }
  CHECK(ports.size() == 200);
  int connected = 0;
  net.on_shard = [&](unsigned i) {
    event what;
    while (net.shard(i).next_event(what))
      if (any(what.what, ready::connected)) ++connected;
  };
  CHECK(net.run_until([&] { return connected == 200; }, 1s));
  CHECK(net.total(counter::resets_sent) == 0);
  // One 4-tuple is one connection, on whichever shard.
  const endpoint own("10.0.0.2", 4000);
  CHECK(net.shard(1).connect(net.now(), endpoint("10.0.0.1", 9), own, {}));
  CHECK(net.shard(2).connect(net.now(), endpoint("10.0.0.1", 9), own, {}).error() ==
        std::errc::address_in_use);
  (void)far;
}

TEST_CASE("a directory without room sends flows where they need no entry") {
  shard_net_options options;
  options.directory = 8;
  options.queues = 1;
  world w(options);
  w.clients.stay = true;
  w.listen_everywhere(sharded(sharding_policy::round_robin));
  REQUIRE(w.run(1000));
  CHECK(w.clients.failed == 0);
  CHECK(w.net.total(counter::flow_directory_full) > 100);
  CHECK(w.net.set().inside().directory().count() <= 64);
}

TEST_CASE("an inbox that is full drops segments, never a connection that moves") {
  share::inbox box;
  box.open(true);
  std::vector<std::byte> payload(1000);
  std::size_t taken = 0;
  for (;; ++taken) {
    share::handover one;
    const auto how = box.post(std::move(one), payload);
    if (how == share::posted::full) break;
    REQUIRE(how == share::posted::yes);
  }
  CHECK(taken == share::inbox::max_segments);
  share::handover move;
  move.what = share::handover::kind::want;
  CHECK(box.post(std::move(move)) == share::posted::yes);
  share::batch all;
  box.take(all);
  CHECK(all.items.size() == taken + 1);
  CHECK(box.pending() == 0);
  share::handover one;
  std::vector<std::byte> large(share::inbox::max_bytes + 1);
  CHECK(box.post(std::move(one), large) == share::posted::full);
  box.open(false);
  share::handover late;
  CHECK(box.post(std::move(late)) == share::posted::closed);
}

TEST_CASE("what a shard that hangs does not take is bounded, counted and made good") {
  world w;
  w.servers[1].listen(sharded());
  w.net.frozen[1] = true;
  w.net.steer = [](std::span<const std::byte>) { return 0; };  // the device knows one queue only
  constexpr std::uint64_t clients = 8192 + 300;
  w.wanted = w.at_once = clients;
  w.net.run_for(500ms);
  CHECK(w.net.total(counter::syns_handed_over) == 8192);
  CHECK(w.net.total(counter::handovers_dropped) == clients - 8192);
  w.net.frozen[1] = false;
  REQUIRE(w.net.run_until([&] { return w.clients.ended() == clients; }, 120s));
  CHECK(w.clients.failed == 0);
}

TEST_CASE("a device is shared by 255 shards at most") {
  CHECK_NOTHROW(shard_set(255, secret_of(1), 16));
  CHECK_THROWS_AS(shard_set(256, secret_of(1), 16), std::invalid_argument);
  CHECK_THROWS_AS(shard_set(0, secret_of(1), 16), std::invalid_argument);
}
