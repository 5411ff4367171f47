// The stack on a thread of its own, serving shards on theirs: how they share an address (as inlined
// shards do), what happens when a ring between two threads is full, and what is refused. What one
// shard sees of it is judged by the conformance suite.
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <latch>
#include <memory>
#include <string>
#include <vector>

#include "kernel/clients.hpp"
#include "kernel/dedicated_world.hpp"
#include "kernel/namespace_test.hpp"

using namespace kernel_test;
using namespace std::chrono_literals;

namespace {

weir::task<> echo(weir::tcp_stream peer) {
  std::array<std::byte, 4096> buffer;
  for (;;) {
    auto got = co_await peer.read_some(buffer).nothrow();
    if (got.ec || got.n == 0) co_return;
    auto sent = co_await peer.write_all(std::span(buffer).first(got.n)).nothrow();
    if (sent.ec) co_return;
  }
}

/// Serves until it is cancelled; counts.
weir::task<> serve(weir::shard& s, std::uint16_t port, weir::listen_options how,
                   std::atomic<int>& accepted, std::latch& listening) {
  auto listener = s.listen({address, port}, how);
  listening.count_down();
  weir::scope sessions(s);
  for (;;) {
    auto peer = co_await listener.accept();
    if (!peer) break;
    ++accepted;
    sessions.spawn(echo(std::move(*peer)));
  }
  co_await sessions.join();
}

/// Each connection one after the other: a byte there and back.
std::string ask_many(std::uint16_t port, int n) {
  for (int i = 0; i < n; ++i) {
    auto client = connect_to(address, port);
    send_all(client.get(), "x", 1);
    ::shutdown(client.get(), SHUT_WR);
    if (auto back = read_all(client.get()); back != "x") return "answered: " + back;
  }
  return {};
}

std::string numbers(const std::vector<int>& all) {
  std::string out;
  for (int n : all) out += std::to_string(n) + " ";
  return out;
}

}  // namespace

TEST_CASE("dedicated: bytes of many connections come back whole on two shards") {
  run_in_private_network([]() -> std::string {
    world w(2);
    std::latch listening(2);
    std::array<std::atomic<int>, 2> accepted{};
    for (std::size_t i = 0; i < 2; ++i)
      w.start(i, [&, i](weir::shard& s) {
        return serve(s, 7, {.sharing = weir::sharing::sharded}, accepted[i], listening);
      });
    listening.wait();
    std::vector<std::uint64_t> sizes;
    for (std::uint64_t i = 0; i < 40; ++i) sizes.push_back(1 + i * i * 997);
    if (auto wrong = exchange_all(address, 7, sizes); !wrong.empty()) return wrong;
    if (accepted[0] + accepted[1] != 40) return "not every connection was accepted once";
    if (accepted[0] == 0 || accepted[1] == 0) return "one shard got nothing";
    return {};
  });
}

TEST_CASE("dedicated: round_robin gives every shard as many connections") {
  run_in_private_network([]() -> std::string {
    world w(3);
    std::latch listening(3);
    std::array<std::atomic<int>, 3> accepted{};
    for (std::size_t i = 0; i < 3; ++i)
      w.start(i, [&, i](weir::shard& s) {
        return serve(
            s, 7, {.sharing = weir::sharing::sharded, .policy = weir::sharding_policy::round_robin},
            accepted[i], listening);
      });
    listening.wait();
    if (auto wrong = ask_many(7, 60); !wrong.empty()) return wrong;
    for (auto& n : accepted)
      if (n != 20) return "not 20 each: " + numbers({accepted[0], accepted[1], accepted[2]});
    return {};
  });
}

TEST_CASE("dedicated: a shared listener is one queue for all shards") {
  run_in_private_network([]() -> std::string {
    world w(2);
    std::latch listening(2);
    std::array<std::atomic<int>, 2> accepted{};
    for (std::size_t i = 0; i < 2; ++i)
      w.start(i, [&, i](weir::shard& s) {
        return serve(s, 7, {.sharing = weir::sharing::shared}, accepted[i], listening);
      });
    listening.wait();
    if (auto wrong = ask_many(7, 50); !wrong.empty()) return wrong;
    if (accepted[0] + accepted[1] != 50) return numbers({accepted[0], accepted[1]});
    return {};
  });
}

namespace {

/// Waits a moment for a connection, often and in vain, and keeps listening.
weir::task<> give_up_accepting(weir::shard& s, std::uint16_t port, std::latch& listening,
                               std::latch& gave_up) {
  auto listener = s.listen({address, port}, {.sharing = weir::sharing::shared});
  listening.count_down();
  for (int i = 0; i < 20; ++i) (void)co_await listener.accept().timeout(1ms).nothrow();
  gave_up.count_down();
  weir::event never;
  co_await never.wait();
}

}  // namespace

TEST_CASE("either placement: an accept that gave up takes no connection from other shards") {
  for (const auto where : {weir::placement::inline_, weir::placement::dedicated}) {
    for (const std::size_t first : {0u, 1u}) {
      CAPTURE(static_cast<int>(where));
      CAPTURE(first);  // to listen: it has the queue
      run_in_private_network([&]() -> std::string {
        std::latch one_listens(1), both_listen(1), gave_up(1);
        std::atomic<int> accepted = 0;
        world w(2, {}, where);
        const auto start = [&](std::size_t i, std::latch& listening) {
          w.start(i, [&, i](weir::shard& s) {
            return i == 0 ? give_up_accepting(s, 7, listening, gave_up)
                          : serve(s, 7, {.sharing = weir::sharing::shared}, accepted, listening);
          });
          listening.wait();
        };
        start(first, one_listens);
        start(1 - first, both_listen);
        gave_up.wait();
        if (auto wrong = ask_many(7, 30); !wrong.empty()) return wrong;
        return accepted == 30 ? "" : "accepted elsewhere: " + numbers({30 - accepted});
      });
    }
  }
}

TEST_CASE("dedicated: who may join a listener is decided as on every stack") {
  run_in_private_network([]() -> std::string {
    world w(2);
    const auto sharded = weir::listen_options{.sharing = weir::sharing::sharded, .owner_key = 5};
    auto first = call_on(w.shard(0), [&] { return w.shard(0).try_listen({address, 7}, sharded); });
    auto alone = call_on(w.shard(0), [&] { return w.shard(0).try_listen({address, 9}); });
    std::string out;
    const auto expect = [&](const char* what, std::error_code got, std::errc wanted) {
      if (out.empty() && got != wanted) out = std::string(what) + ": " + got.message();
    };
    if (!first || !alone) return "cannot listen";
    expect("exclusive", w.refusal(1, 9, {}), std::errc::address_in_use);
    expect("no key", w.refusal(1, 7, {.sharing = weir::sharing::sharded}),
           std::errc::address_in_use);
    expect("wrong key", w.refusal(1, 7, {.sharing = weir::sharing::sharded, .owner_key = 6}),
           std::errc::address_in_use);
    expect("the same shard", w.refusal(0, 7, sharded), std::errc::address_in_use);
    expect("another policy",
           w.refusal(1, 7,
                     {.sharing = weir::sharing::sharded,
                      .policy = weir::sharding_policy::round_robin,
                      .owner_key = 5}),
           std::errc::invalid_argument);
    if (out.empty() && w.refusal(1, 7, sharded)) out = "the key does not open";
    call_on(w.shard(0), [&] {
      first->close();
      alone->close();
      return 0;
    });
    if (out.empty() && w.refusal(1, 9, {})) out = "the port was not freed";
    return out;
  });
}

TEST_CASE("dedicated: a member that leaves hands its queue to the others") {
  run_in_private_network([]() -> std::string {
    world w(2);
    const auto how = weir::listen_options{.sharing = weir::sharing::sharded,
                                          .policy = weir::sharding_policy::round_robin};
    auto leaves = call_on(w.shard(0), [&] { return w.shard(0).listen({address, 7}, how); });
    auto stays = call_on(w.shard(1), [&] { return w.shard(1).listen({address, 7}, how); });
    std::vector<kernel_test::fd> clients;  // nobody accepts: they wait, ten in each queue
    for (int i = 0; i < 20; ++i) {
      clients.push_back(connect_to(address, 7));
      send_all(clients.back().get(), "x", 1);
      ::shutdown(clients.back().get(), SHUT_WR);
    }
    call_on(w.shard(0), [&] {
      leaves.close();
      return 0;
    });
    std::promise<void> done;
    w.start(1, [&](weir::shard& s) -> weir::task<> {
      weir::scope sessions(s);
      for (int i = 0; i < 20; ++i) {
        auto peer = co_await stays.accept();
        if (!peer) co_return;
        sessions.spawn(echo(std::move(*peer)));
      }
      co_await sessions.join();
      stays.close();
      done.set_value();
    });
    std::string out;
    for (auto& client : clients)
      if (out.empty() && read_all(client.get()) != "x") out = "one was not answered";
    if (out.empty() && done.get_future().wait_for(patience) != std::future_status::ready)
      out = "not all were accepted";
    return out;
  });
}

namespace {

/// More connections than a ring holds notes.
constexpr std::size_t crowd = weir::detail::channel::notes + 176;

weir::config crowded() {
  weir::config settings;
  settings.listen.backlog = 2048;
  return settings;
}

std::string connect_crowd(std::vector<kernel_test::fd>& clients, std::uint16_t port,
                          const std::atomic<int>& accepted) {
  for (std::size_t i = 0; i < crowd; ++i) clients.push_back(connect_to(address, port));
  const auto until = std::chrono::steady_clock::now() + patience;
  while (accepted != static_cast<int>(crowd))
    if (std::chrono::steady_clock::now() > until) return "not all were accepted";
  return {};
}

/// Every client gets one byte; an error text, or nothing.
std::string read_crowd(const std::vector<kernel_test::fd>& clients) {
  for (auto& client : clients) {
    char byte = 0;
    if (::recv(client.get(), &byte, 1, MSG_WAITALL) != 1 || byte != 'x') return "one got nothing";
  }
  return {};
}

}  // namespace

TEST_CASE("dedicated: a full ring to a shard delays notes, is counted, and loses nothing") {
  run_in_private_network([]() -> std::string {
    world w(1, crowded());
    std::latch listening(1);
    std::atomic<int> accepted{};
    w.start(0, [&](weir::shard& s) { return serve(s, 7, {}, accepted, listening); });
    listening.wait();
    std::vector<kernel_test::fd> clients;
    if (auto wrong = connect_crowd(clients, 7, accepted); !wrong.empty()) return wrong;
    {
      standstill shard(w.shard(0));
      for (auto& client : clients) send_all(client.get(), "x", 1);
      if (!w.reaches(w.stack(), "shard_rings_full", 1)) return "the ring did not fill";
      if (w.count(w.stack(), "shard_rings_depth") != weir::detail::channel::notes)
        return "a ring holds more or less than it is said to";
      if (w.count(w.stack(), "shard_rings_peak") != weir::detail::channel::notes)
        return "the peak is not what is there";
      const auto put = w.count(w.stack(), "shard_rings_notes");  // those of the accepts too
      if (put < weir::detail::channel::notes + crowd || put > 100 * crowd)
        return "notes were not counted: " + std::to_string(put);
    }
    return read_crowd(clients);
  });
}

TEST_CASE("dedicated: a stack that has nothing to tell has told nothing") {
  run_in_private_network([]() -> std::string {
    world w(2);
    if (w.count(w.stack(), "shards_served") != 2) return "not every shard is served";
    for (const char* name :
         {"shard_rings_notes", "shard_rings_depth", "shard_rings_peak", "shard_rings_full"})
      if (w.count(w.stack(), name) != 0) return name;
    return {};
  });
}

TEST_CASE("dedicated: a shard that goes is forgotten once, and with all that it had") {
  run_in_private_network([]() -> std::string {
    world w(2);
    std::latch listening(1);
    std::atomic<int> accepted{};
    w.start(1, [&](weir::shard& s) { return serve(s, 7, {}, accepted, listening); });
    listening.wait();
    w.end(1);
    if (w.count(w.stack(), "shards_served") != 1) return "it is served still";
    if (w.refusal(0, 7, {})) return "its address is taken still";
    return {};
  });
  run_in_private_network([]() -> std::string {
    world w(2);
    const auto before = w.count(w.stack(), "messages");
    w.end(1);
    const auto told = w.count(w.stack(), "messages") - before - 1;  // less the question itself
    return told == 1 ? "" : "it was told of " + std::to_string(told) + " times";
  });
}

TEST_CASE("dedicated: a full ring to the stack delays notes, is counted, and loses nothing") {
  run_in_private_network([]() -> std::string {
    world w(1, crowded());
    std::latch listening(1);
    std::atomic<int> accepted{};
    weir::event go;
    w.start(0, [&](weir::shard& s) -> weir::task<> {
      auto listener = s.listen({address, 7});
      listening.count_down();
      weir::scope sessions(s);
      auto greet = [](weir::tcp_stream peer, weir::event& when) -> weir::task<> {
        co_await when.wait();
        co_await peer.write_all("x");
      };
      for (std::size_t i = 0; i < crowd; ++i) {
        auto peer = co_await listener.accept();
        if (!peer) break;
        sessions.spawn(greet(std::move(*peer), go));
        ++accepted;
      }
      co_await sessions.join();
    });
    listening.wait();
    std::vector<kernel_test::fd> clients;
    if (auto wrong = connect_crowd(clients, 7, accepted); !wrong.empty()) return wrong;
    {
      standstill stack(w.stack());
      w.shard(0).post([&] { go.set(); });
      if (!w.reaches(w.shard(0), "stack_ring_full", 1)) return "the ring did not fill";
    }
    return read_crowd(clients);
  });
}

TEST_CASE("dedicated: members' queues and the listener's own are bounded by the backlog") {
  run_in_private_network([]() -> std::string {
    weir::config settings;
    settings.listen.backlog = 2;
    world w(2, settings);
    const auto how = weir::listen_options{.sharing = weir::sharing::sharded};
    std::array<weir::tcp_listener, 2> listeners;
    for (std::size_t i = 0; i < 2; ++i)
      listeners[i] = call_on(w.shard(i), [&] { return w.shard(i).listen({address, 7}, how); });
    const auto shown = [&](auto member) -> std::uint64_t {
      return call_on(w.stack(), [&] {
        return *(weir::detail::take_snapshot(w.stack(), {}).listeners.at(0).*member);
      });
    };
    const auto reaches = [&](auto member, std::uint64_t wanted) {
      const auto until = std::chrono::steady_clock::now() + patience;
      while (shown(member) < wanted) {
        if (std::chrono::steady_clock::now() > until) return false;
        ::usleep(200);
      }
      return true;
    };
    using weir::detail::listener_snapshot;
    std::vector<kernel_test::fd> clients;  // two for each member, and two in the listener's queue
    for (int i = 0; i < 6; ++i) clients.push_back(connect_to(address, 7));
    std::string out;
    if (!reaches(&listener_snapshot::accept_queue, 2)) out = "the queues hold another number";
    auto one_more = std::async(std::launch::async, [] { return connect_to(address, 7); });
    if (out.empty() && !reaches(&listener_snapshot::accept_overflows, 1)) out = "no overflow";
    if (out.empty() && shown(&listener_snapshot::accept_queue) != 2) out = "the bound did not hold";
    std::latch done(2);
    for (std::size_t i = 0; i < 2; ++i)
      w.start(i, [&, i](weir::shard& s) -> weir::task<> {
        weir::scope sessions(s);
        for (;;) {
          auto peer = co_await listeners[i].accept();
          if (!peer) break;
          sessions.spawn(echo(std::move(*peer)));
        }
        co_await sessions.join();
        listeners[i].close();
        done.count_down();
      });
    clients.push_back(one_more.get());
    for (auto& client : clients) send_all(client.get(), "x", 1);
    if (auto wrong = read_crowd(clients); out.empty()) out = wrong;
    for (std::size_t i = 0; i < 2; ++i) w.shard(i).request_stop();
    clients.clear();
    done.wait();
    return out;
  });
}

namespace {

weir::task<> connect_in_vain(std::atomic<int>& otherwise) {
  const auto got = co_await weir::connect({"198.18.0.77", 9}).nothrow();
  if (got.error() != std::errc::operation_canceled) ++otherwise;
}
weir::task<> nothing() { co_return; }

}  // namespace

TEST_CASE("dedicated: a connect that was given up is given up by the stack too") {
  run_in_private_network([]() -> std::string {
    std::latch given_up(1), listening(1);
    std::atomic<int> accepted = 0, otherwise = 0;
    world w(1);
    w.start(0, [&](weir::shard& s) -> weir::task<> {
      for (int i = 0; i < 20; ++i) {  // just when the stack hears of it, and when it is under way
        const auto limit = i % 2 == 0 ? 0ms : 3ms;
        auto got = co_await weir::connect({"198.18.0.77", 9}).timeout(limit).nothrow();
        if (got.error() != std::errc::timed_out) ++otherwise;
        co_await weir::when_any(connect_in_vain(otherwise), nothing());  // and before that
        co_await weir::yield();
      }
      given_up.count_down();
      co_await serve(s, 7, {}, accepted, listening);
    });
    given_up.wait();
    if (otherwise != 0) return "a connect to nobody ended otherwise";
    const auto left = [&] {
      return call_on(w.stack(),
                     [&] { return weir::detail::take_snapshot(w.stack(), {}).connections_total; });
    };
    for (const auto until = std::chrono::steady_clock::now() + patience; left() != 0;) {
      if (std::chrono::steady_clock::now() > until) return "the stack goes on connecting";
      ::usleep(200);
    }
    listening.wait();
    return ask_many(7, 30);
  });
}

TEST_CASE("dedicated: a device that fails ends whatever waits, on the shard that waits") {
  run_in_private_network([]() -> std::string {
    world w(1);
    std::latch listening(1), under_way(1);
    std::promise<std::string> result;
    std::error_code read_ended, write_ended, accept_ended, connect_ended;
    w.start(0, [&](weir::shard& s) -> weir::task<> {
      auto listener = s.listen({address, 7});
      listening.count_down();
      auto quiet = co_await listener.accept();
      auto stuck = co_await listener.accept();
      if (!quiet || !stuck) co_return result.set_value("no connection");
      weir::scope all(s);
      auto reads = [](weir::tcp_stream& from, std::error_code& end) -> weir::task<> {
        std::array<std::byte, 8> buffer;
        auto got = co_await from.read_some(buffer).nothrow();
        end = got.ec;
      };
      auto writes = [](weir::tcp_stream& to, std::error_code& end) -> weir::task<> {
        std::vector<std::byte> much(64 << 20);
        auto sent = co_await to.write_all(much).nothrow();
        end = sent.ec;
      };
      auto accepts = [](weir::tcp_listener& from, std::error_code& end) -> weir::task<> {
        auto got = co_await from.accept().nothrow();
        end = got.error();
      };
      auto connects = [](std::error_code& end) -> weir::task<> {
        auto got = co_await weir::connect({"198.18.0.77", 9}).nothrow();  // nobody is there
        end = got.error();
      };
      all.spawn(reads(*quiet, read_ended));
      all.spawn(writes(*stuck, write_ended));
      all.spawn(accepts(listener, accept_ended));
      all.spawn(connects(connect_ended));
      co_await weir::yield();
      under_way.count_down();
      co_await all.join();
      auto later = co_await weir::connect({"198.18.0.1", 9}).nothrow();
      auto again = s.try_listen({address, 8});
      const bool refused = !later && !again && later.error() == std::errc::io_error &&
                           again.error() == std::errc::io_error;
      result.set_value(refused ? "" : "something goes on without a device");
    });
    listening.wait();
    auto first = connect_to(address, 7), second = connect_to(address, 7);
    under_way.wait();
    w.stack().post(
        [&] { w.sockets_owner().fail_everything(std::make_error_code(std::errc::io_error)); });
    auto outcome = result.get_future();
    if (outcome.wait_for(patience) != std::future_status::ready) return "something still waits";
    for (auto error : {read_ended, write_ended, accept_ended, connect_ended})
      if (error != std::errc::io_error) return "ended otherwise: " + error.message();
    return outcome.get();
  });
}
