// UDP where the stack stands on a thread of its own: how shards share a port, where datagrams wait
// while their shard does nothing, what becomes of sends that the stack does not come to, and how
// sockets end under traffic. What one shard sees of it is judged by the conformance suite.
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <latch>
#include <string>
#include <vector>

#include "kernel/clients.hpp"
#include "kernel/dedicated_world.hpp"
#include "kernel/namespace_test.hpp"

using namespace kernel_test;
using namespace std::chrono_literals;

namespace {

constexpr weir::udp_options sharded{.sharing = weir::sharing::sharded};

/// Waits for a datagram; its text, or "-".
std::string hear(int socket) {
  pollfd ready{socket, POLLIN, 0};
  if (::poll(&ready, 1, 30'000) != 1) return "-";
  std::array<char, 64> text{};
  const auto n = ::recv(socket, text.data(), text.size(), 0);
  return n < 0 ? "-" : std::string(text.data(), static_cast<std::size_t>(n));
}

bool say(int socket, const std::string& what) {
  return ::send(socket, what.data(), what.size(), 0) == static_cast<ssize_t>(what.size());
}

/// Tells everybody who asks which shard he has met.
weir::task<> answer(weir::udp_socket& socket, std::size_t shard) {
  std::array<std::byte, 64> buffer;
  while (auto got = co_await socket.receive_from(buffer))
    (void)co_await socket.send_to(std::to_string(shard), got.from).nothrow();
}

weir::task<> serve(weir::shard& s, std::latch& bound) {
  auto socket = s.bind_udp({address, 7}, sharded);
  bound.count_down();
  co_await answer(socket, s.index());
}

weir::detail::udp_snapshot shown(world& w) {
  return call_on(w.stack(), [&] {
    const auto all = weir::detail::take_snapshot(w.stack(), {}).udp_sockets;
    return all.empty() ? weir::detail::udp_snapshot() : all.front();
  });
}

template <class Reached>
bool comes(Reached&& reached) {
  for (const auto until = std::chrono::steady_clock::now() + patience; !reached();) {
    if (std::chrono::steady_clock::now() > until) return false;
    ::usleep(200);
  }
  return true;
}

}  // namespace

TEST_CASE("dedicated: each senders datagrams go to one of the shards that share a port") {
  run_in_private_network([]() -> std::string {
    world w(2);
    std::latch bound(2);
    for (std::size_t i = 0; i < 2; ++i) w.start(i, [&](weir::shard& s) { return serve(s, bound); });
    bound.wait();
    std::array<int, 2> met{};
    for (int i = 0; i < 40; ++i) {
      auto client = udp_to(address, 7);
      std::string first;
      for (int j = 0; j < 3; ++j) {
        if (!say(client.get(), "who?")) return "not sent";
        const auto who = hear(client.get());
        if (j == 0) first = who;
        if (who != first || (who != "0" && who != "1")) return "another answer: " + who;
      }
      ++met[first == "1"];
    }
    return met[0] > 0 && met[1] > 0 ? "" : "one shard got nothing";
  });
}

TEST_CASE("dedicated: a port is its shards alone unless all share it, and free once it is closed") {
  run_in_private_network([]() -> std::string {
    world w(2);
    const auto bind = [&](std::size_t i, std::uint16_t port, const weir::udp_options& how) {
      return call_on(w.shard(i), [&] { return w.shard(i).try_bind_udp({address, port}, how); });
    };
    const auto close = [&](std::size_t i, weir::udp_socket& socket) {
      call_on(w.shard(i), [&] {
        socket.close();
        return 0;
      });
    };
    auto alone = bind(0, 9, {}), first = bind(0, 7, sharded);
    if (!alone || !first) return "cannot bind";
    if (bind(1, 9, {}) || bind(1, 9, sharded) || bind(1, 7, {})) return "bound beside another";
    if (bind(1, 8, {.sharing = weir::sharing::shared}).error() !=
        std::errc::operation_not_supported)
      return "one queue for several shards";
    auto second = bind(1, 7, sharded);
    if (!second) return "does not share: " + second.error().message();
    close(0, *alone);
    auto again = bind(1, 9, {});
    if (!again) return "was not freed: " + again.error().message();
    // What came to the one that goes comes to the other from now on.
    close(0, *first);
    w.start(1, [&](weir::shard&) -> weir::task<> {
      auto mine = std::move(*second);
      co_await answer(mine, 1);
    });
    std::string out;
    for (int i = 0; i < 20 && out.empty(); ++i) {
      auto client = udp_to(address, 7);
      if (!say(client.get(), "who?") || hear(client.get()) != "1") out = "nobody answers";
    }
    close(1, *again);
    return out;
  });
}

TEST_CASE(
    "dedicated: datagrams wait in their sockets queue, which is bounded and counts the rest") {
  run_in_private_network([]() -> std::string {
    world w(1);
    auto socket = call_on(w.shard(0), [&] {
      return w.shard(0).bind_udp({address, 7}, {.receive_buffer = 64 * 1024});
    });
    auto client = udp_to(address, 7);
    std::uint64_t sent = 0;
    weir::detail::udp_snapshot full;
    {
      standstill shard(w.shard(0));
      const auto overflows = [&] {
        for (int i = 0; i < 100; ++i)
          if (say(client.get(), std::to_string(sent))) ++sent;
        full = shown(w);
        return *full.dropped > 0;
      };
      if (!comes(overflows)) return "the queue did not overflow";
    }
    if (*full.receive_queued > *full.receive_limit || *full.datagrams_queued != *full.received)
      return "the bound did not hold";
    if (*full.datagrams_queued <= weir::detail::dedicated_datagram_socket::window)
      return "no more than the shard is shown";
    std::promise<std::string> done;
    w.start(0, [&](weir::shard&) -> weir::task<> {
      std::array<std::byte, 64> buffer;
      std::string last, wrong;
      std::uint64_t n = 0;
      for (; n < *full.received && wrong.empty(); ++n) {  // in order, all of them
        auto got = co_await socket.receive_from(buffer).timeout(30s).nothrow();
        if (got.ec) wrong = got.ec.message();
        const std::string text(reinterpret_cast<const char*>(buffer.data()), got.n);
        const bool later = text.size() > last.size() || (text.size() == last.size() && text > last);
        if (!later) wrong = last + " is followed by " + text;
        last = text;
      }
      socket.close();
      done.set_value(wrong);
    });
    return done.get_future().get();
  });
}

TEST_CASE(
    "dedicated: a send that the stack has not come to may be given up, another is carried out") {
  run_in_private_network([]() -> std::string {
    world w(1);
    std::latch bound(1), asked(1), given_up(1);
    std::promise<std::string> done;
    std::error_code with_the_stack, unheard, behind, after;
    weir::event go;
    w.start(0, [&](weir::shard& s) -> weir::task<> {
      auto socket = s.bind_udp({address, 7});
      std::array<std::byte, 64> buffer;
      bound.count_down();
      const auto question = co_await socket.receive_from(buffer);
      asked.count_down();
      auto send = [](weir::udp_socket& from, const char* text, weir::endpoint to,
                     weir::duration limit, std::error_code& how) -> weir::task<> {
        auto sent = co_await from.send_to(text, to).timeout(limit).nothrow();
        how = sent.ec;
      };
      co_await go.wait();
      weir::scope in_vain(s), all(s);
      auto cancel = [](weir::scope& what) -> weir::task<> {
        what.cancel();
        co_return;
      };
      in_vain.spawn(send(socket, "unheard", question.from, 30s, unheard));
      all.spawn(send(socket, "heard", question.from, 1ms, with_the_stack));
      all.spawn(cancel(in_vain));  // in the turn in which both begin
      co_await weir::sleep_for(5ms);
      co_await send(socket, "behind", question.from, 1ms, behind);
      given_up.count_down();
      co_await all.join();
      co_await in_vain.join();
      co_await send(socket, "after", question.from, 30s, after);
      done.set_value("");
    });
    bound.wait();
    auto client = udp_to(address, 7);
    if (!say(client.get(), "who?")) return "not sent";
    asked.wait();
    {
      standstill stack(w.stack());
      w.shard(0).post([&] { go.set(); });
      given_up.wait();
    }
    if (auto wrong = done.get_future().get(); !wrong.empty()) return wrong;
    if (unheard != std::errc::operation_canceled || behind != std::errc::timed_out)
      return "was not given up: " + unheard.message() + ", " + behind.message();
    if (with_the_stack || after) return "was not sent: " + with_the_stack.message();
    const auto first = hear(client.get()), second = hear(client.get());
    return first == "heard" && second == "after" ? "" : "came: " + first + ", " + second;
  });
}

TEST_CASE("dedicated: a socket that closes gives back what its shard was shown and did not read") {
  run_in_private_network([]() -> std::string {
    world w(1);
    const auto before = w.count(w.stack(), "memory");
    constexpr unsigned some = weir::detail::dedicated_datagram_socket::window + 8;
    for (int round = 0; round < 3; ++round) {
      auto socket = call_on(w.shard(0), [&] { return w.shard(0).bind_udp({address, 7}); });
      auto client = udp_to(address, 7);
      for (unsigned i = 0; i < some; ++i)
        if (!say(client.get(), "x")) return "not sent";
      if (!comes([&] { return *shown(w).received == some; })) return "did not come";
      const auto charged = w.count(w.stack(), "memory");
      call_on(w.shard(0), [&] {
        socket.close();
        return 0;
      });
      if (charged <= before) return "nothing was charged";
      if (const auto left = w.count(w.stack(), "memory"); left != before)
        return std::to_string(left - before) + " bytes are charged still";
    }
    return "";
  });
}

TEST_CASE("dedicated: sockets come and go under traffic") {
  run_in_private_network([]() -> std::string {
    world w(1);
    std::atomic<bool> over = false;
    std::promise<std::string> done;
    w.start(0, [&](weir::shard& s) -> weir::task<> {
      std::vector<std::byte> memory(8 * 64);
      std::array<weir::incoming_datagram, 8> room;
      for (std::size_t i = 0; i < room.size(); ++i)
        room[i].buffer = std::span(memory).subspan(i * 64, 64);
      std::size_t came = 0;
      for (int i = 0; i < 300 || came == 0; ++i) {
        auto socket = s.bind_udp({address, 7});
        auto got = co_await socket.receive_batch(room).timeout(i % 2 == 0 ? 0ms : 2ms).nothrow();
        came += got.n;
        // Some in the very turn in which they received.
        if (got.n != 0 && i % 3 == 0) (void)co_await socket.send_to("x", room[0].from).nothrow();
        // With others in its queue, shown and not.
      }
      over = true;
      done.set_value("");
    });
    auto client = udp_to(address, 7);
    while (!over)
      for (int i = 0; i < 50; ++i) (void)!::send(client.get(), "x", 1, MSG_DONTWAIT);
    done.get_future().get();
    const auto left = [&] { return w.count(w.stack(), "memory"); };
    return comes([&] { return left() == 0; }) ? "" : std::to_string(left()) + " bytes are left";
  });
}

TEST_CASE("dedicated: a device that fails ends a receive that waits, and every send") {
  run_in_private_network([]() -> std::string {
    world w(1);
    std::latch waits(1);
    std::promise<std::string> done;
    w.start(0, [&](weir::shard& s) -> weir::task<> {
      auto socket = s.bind_udp({address, 7});
      std::array<std::byte, 8> buffer;
      s.post([&] { waits.count_down(); });
      auto got = co_await socket.receive_from(buffer).nothrow();
      auto again = co_await socket.receive_from(buffer).nothrow();
      auto sent = co_await socket.send_to("x", {"198.18.0.1", 9}).nothrow();
      auto other = s.try_bind_udp({address, 8});
      const auto broken = std::errc::io_error;
      const bool told = got.ec == broken && again.ec == broken && sent.ec == broken && !other &&
                        other.error() == broken;
      done.set_value(told ? "" : "ended otherwise: " + got.ec.message());
    });
    waits.wait();
    w.stack().post(
        [&] { w.sockets_owner().fail_everything(std::make_error_code(std::errc::io_error)); });
    auto outcome = done.get_future();
    return outcome.wait_for(patience) == std::future_status::ready ? outcome.get()
                                                                   : "something still waits";
  });
}
