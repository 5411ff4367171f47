// The stack transport's own duties, in a simulated network: lent and owned buffers, writes in
// order, options, and that nothing of a socket stays when it goes.
#include <doctest/doctest.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "runtime/transport/stack/stack_transport.hpp"
#include "weir/net.hpp"
#include "weir/scope.hpp"
#include "weir/sim.hpp"
#include "weir/timing.hpp"

using namespace std::chrono_literals;
using weir::shard;
using weir::task;
using weir::tcp_stream;

namespace {

/// Two hosts; a server coroutine gets the one connection that a client coroutine makes.
struct two_hosts {
  using side = std::function<task<>(shard&, tcp_stream&)>;

  void run(side server_side, side client_side) {
    net.start(server, [this, server_side](shard& s) { return serve(s, server_side); });
    net.start(client, [this, client_side](shard& s) { return connect(s, client_side); });
    net.run();
  }
  task<> serve(shard& s, const side& body) {
    auto listener = s.listen({server.address(), 1});
    auto peer = co_await listener.accept();
    co_await body(s, *peer);
  }
  task<> connect(shard& s, const side& body) {
    auto peer = co_await s.connect({server.address(), 1});
    co_await body(s, peer);
  }
  static weir::detail::stack_transport& transport(weir::sim::host& h) {
    return static_cast<weir::detail::stack_transport&>(h.shard().transport());
  }

  weir::sim::network net{{.seed = 1}};
  weir::sim::host& server = net.add_host("10.0.0.1/24");
  weir::sim::host& client = net.add_host("10.0.0.2/24");
  weir::sim::link& link = net.link(server, client, {.delay = 1ms});
};

task<std::string> read_to_end(tcp_stream& peer) {
  std::string out;
  std::array<char, 1000> chunk;
  for (;;) {
    auto n = co_await peer.read_some(std::as_writable_bytes(std::span(chunk)));
    if (n == 0) break;
    out.append(chunk.data(), n);
  }
  co_return out;
}

task<> write_text(tcp_stream& peer, std::string text) { co_await peer.write_all(text); }

}  // namespace

TEST_CASE("a_lent_buffer_shows_what_was_sent_and_an_empty_one_the_end") {
  two_hosts world;
  std::string got;
  world.run(
      [&](shard&, tcp_stream& peer) -> task<> {
        for (;;) {
          auto lent = co_await peer.receive();
          if (!lent) break;
          got.append(reinterpret_cast<const char*>(lent.bytes().data()), lent.size());
        }
      },
      [](shard&, tcp_stream& peer) -> task<> {
        co_await write_text(peer, std::string(50'000, 'x') + "end");
        peer.shutdown_send();
      });
  CHECK(got.size() == 50'003);
  CHECK(got.substr(50'000) == "end");
}

TEST_CASE("a_lent_buffer_outlives_its_stream") {
  two_hosts world;
  world.run(
      [](shard&, tcp_stream& peer) -> task<> {
        auto lent = co_await peer.receive();
        peer.close();
        co_await weir::sleep_for(10ms);
        CHECK(lent.size() == 5);
        CHECK(std::memcmp(lent.bytes().data(), "hello", 5) == 0);
      },
      [](shard&, tcp_stream& peer) -> task<> {
        co_await write_text(peer, "hello");
        auto got = co_await read_to_end(peer);
        CHECK(got.empty());
      });
}

TEST_CASE("buffers_that_are_held_stop_the_sender_and_their_release_lets_it_go_on") {
  two_hosts world;
  std::size_t total = 0;
  world.run(
      [&](shard&, tcp_stream& peer) -> task<> {
        std::vector<weir::lent_buffer> held;
        for (;;) {
          auto lent = co_await peer.receive().timeout(10s).nothrow();
          if (!lent) break;
          total += lent->size();
          held.push_back(std::move(*lent));
        }
        // The window is shut, and nothing else bounds how many may be held.
        CHECK(total >= 48 * 1024);
        CHECK(total <= 6 << 20);
        CHECK(held.size() > 1);
        std::uint32_t charged = 0;
        world.server.stack().for_each_connection([&](const weir::stack::tcp_info& info) {
          charged += info.memory;
          CHECK(info.lent == total);
        });
        CHECK(charged >= total);
        CHECK(world.server.stack().lent_chunks() == held.size());
        // Reading by copy finds nothing either.
        std::array<std::byte, 1> one;
        auto copied = co_await peer.read_some(one).timeout(1s).nothrow();
        CHECK(copied.ec == std::errc::timed_out);
        held.clear();
        for (;;) {
          auto lent = co_await peer.receive();
          if (!lent) break;
          total += lent.size();
        }
      },
      [](shard&, tcp_stream& peer) -> task<> {
        co_await write_text(peer, std::string(20'000'000, 'm'));
        peer.shutdown_send();
      });
  CHECK(total == 20'000'000);
  CHECK(world.net.run_until_idle());
  CHECK(world.server.stack().memory_in_use() == 0);
}

TEST_CASE("a_lent_buffer_is_charged_to_the_host_until_it_goes_and_may_go_last") {
  two_hosts world;
  weir::lent_buffer kept;
  world.run(
      [&](shard&, tcp_stream& peer) -> task<> {
        kept = co_await peer.receive();
        peer.abort();
      },
      [](shard&, tcp_stream& peer) -> task<> {
        co_await write_text(peer, std::string(1000, 'm'));
        std::array<std::byte, 1> one;
        auto got = co_await peer.read_some(one).nothrow();
        CHECK(got.ec == std::errc::connection_reset);
      });
  CHECK(world.net.run_until_idle());
  CHECK(world.server.stack().memory_in_use() >= 1000);
  CHECK(kept.bytes()[999] == std::byte{'m'});
  kept.release();
  CHECK(world.server.stack().memory_in_use() == 0);
}

namespace {

/// Memory that knows when it was given back.
struct watched {
  explicit watched(std::size_t size, char fill = 'w') : text(size, fill) {}
  weir::owned_buffer buffer() { return {std::as_bytes(std::span(text)), &watched::release, this}; }
  static void release(void* self) noexcept {
    auto& w = *static_cast<watched*>(self);
    ++w.released;
    w.text.assign(w.text.size(), '!');
  }
  std::string text;
  int released = 0;
};

}  // namespace

TEST_CASE("an_owned_buffer_is_held_until_it_is_acknowledged") {
  watched memory(5000);
  two_hosts world;
  std::string got;
  world.run([&](shard&, tcp_stream& peer) -> task<> { got = co_await read_to_end(peer); },
            [&](shard&, tcp_stream& peer) -> task<> {
              auto n = co_await peer.write_all(memory.buffer());
              CHECK(n == 5000);
              CHECK(memory.released == 0);  // on its way
              CHECK(world.client.stack().memory_in_use() >= 5000);
              co_await weir::sleep_for(100ms);
              CHECK(memory.released == 1);
              CHECK(world.client.stack().memory_in_use() == 0);
              peer.shutdown_send();
            });
  CHECK(got == std::string(5000, 'w'));
  CHECK(memory.released == 1);
}

TEST_CASE("an_owned_buffer_is_sent_again_from_its_own_memory") {
  watched memory(5000);
  two_hosts world;
  std::string got;
  world.run([&](shard&, tcp_stream& peer) -> task<> { got = co_await read_to_end(peer); },
            [&](shard&, tcp_stream& peer) -> task<> {
              world.link.set_down(true);
              co_await peer.write_all(memory.buffer());
              co_await weir::sleep_for(5s);
              CHECK(memory.released == 0);
              world.link.set_down(false);
              peer.shutdown_send();
            });
  CHECK(got == std::string(5000, 'w'));
  CHECK(world.net.run_until_idle());
  CHECK(memory.released == 1);
}

TEST_CASE("an_owned_buffer_comes_back_once_whatever_ends_the_connection") {
  enum class end { abort, reset_by_peer, close_then_silence, timeout };
  for (auto how : {end::abort, end::reset_by_peer, end::close_then_silence, end::timeout}) {
    CAPTURE(static_cast<int>(how));
    watched small(3000), large(50'000'000);
    two_hosts world;
    world.run(
        [&](shard&, tcp_stream& peer) -> task<> {
          co_await weir::sleep_for(5s);
          if (how == end::reset_by_peer) peer.abort();
          co_await weir::sleep_for(2h);
        },
        [&](shard&, tcp_stream& peer) -> task<> {
          co_await peer.write_all(small.buffer());
          // More than the send queue takes: it waits in the operation.
          auto tried = co_await peer.write_all(large.buffer()).timeout(2s).nothrow();
          CHECK(tried.ec == std::errc::timed_out);
          CHECK(tried.n > 0);
          CHECK(tried.n < large.text.size());
          CHECK(large.released == 0);  // its beginning is queued
          CHECK(small.released == 1);
          if (how == end::abort) {
            peer.abort();
            CHECK(large.released == 1);
          } else if (how == end::reset_by_peer) {
            co_await weir::sleep_for(10s);
            CHECK(large.released == 1);
          } else if (how == end::close_then_silence) {
            world.link.set_down(true);
            peer.close();
            CHECK(large.released == 0);
          } else {
            world.link.set_down(true);
            co_await weir::sleep_for(1h);
            CHECK(large.released == 1);
          }
        });
    world.net.run_for(1h);
    CHECK(small.released == 1);
    CHECK(large.released == 1);
    CHECK(world.client.stack().memory_in_use() == 0);
  }
}

TEST_CASE("an_owned_buffer_goes_with_the_host_at_the_latest") {
  watched memory(5000);
  {
    two_hosts world;
    world.net.start(world.client, [&](shard& s) -> task<> {
      auto listener = s.listen({world.client.address(), 2});
      auto peer = co_await s.connect({world.client.address(), 2});
      auto other = co_await listener.accept();
      world.link.set_down(true);
      co_await peer.write_all(memory.buffer());
      peer.close();
    });
    world.net.run_for(1ms);
  }
  CHECK(memory.released == 1);
}

TEST_CASE("what_is_received_is_sent_on_from_the_chunk_that_it_came_in") {
  two_hosts world;
  std::string got;
  std::string sent;
  for (int i = 0; i < 300'000; ++i) sent += static_cast<char>('a' + i * 7 % 26);
  std::size_t without_copy = 0;
  world.run(
      [&](shard&, tcp_stream& peer) -> task<> {
        for (;;) {
          auto lent = co_await peer.receive();
          if (!lent) break;
          const auto before = world.server.stack().memory_in_use();
          const auto size = lent.size();
          auto n = co_await peer.write_all(std::move(lent));
          CHECK(n == size);
          CHECK_FALSE(lent);
          // Only the note that it is kept is new: a copy would have cost as much again.
          if (size >= 1000 && world.server.stack().memory_in_use() <= before + 100) ++without_copy;
        }
        peer.shutdown_send();
      },
      [&](shard& s, tcp_stream& peer) -> task<> {
        weir::scope writer(s);
        writer.spawn([](tcp_stream& to, std::string text) -> task<> {
          co_await to.write_all(text);
          to.shutdown_send();
        }(peer, sent));
        got = co_await read_to_end(peer);
        co_await writer.join();
      });
  CHECK(without_copy > 0);
  CHECK(got == sent);
  CHECK(world.net.run_until_idle());
  CHECK(world.server.stack().memory_in_use() == 0);
}

TEST_CASE("lent_bytes_that_are_written_as_a_span_are_sent_from_the_chunk_that_they_came_in") {
  two_hosts world;
  std::string got;
  std::string sent;
  for (int i = 0; i < 300'000; ++i) sent += static_cast<char>('a' + i * 7 % 26);
  std::size_t without_copy = 0;
  world.run(
      [&](shard&, tcp_stream& peer) -> task<> {
        for (;;) {
          auto lent = co_await peer.receive();
          if (!lent) break;
          const auto before = world.server.stack().memory_in_use();
          const auto size = lent.size();
          // The first half, from the chunk's begin, and the rest, which is copied.
          const auto half = size < 8000 ? size : size / 2;
          auto n = co_await peer.write_all(lent.bytes().first(half));
          CHECK(n == half);
          if (size >= 1000 && world.server.stack().memory_in_use() <= before + 100) ++without_copy;
          co_await peer.write_all(lent.bytes().subspan(half));
        }
        peer.shutdown_send();
      },
      [&](shard& s, tcp_stream& peer) -> task<> {
        weir::scope writer(s);
        writer.spawn([](tcp_stream& to, std::string text) -> task<> {
          co_await to.write_all(text);
          to.shutdown_send();
        }(peer, sent));
        got = co_await read_to_end(peer);
        co_await writer.join();
      });
  CHECK(without_copy > 0);
  CHECK(got == sent);
  CHECK(world.net.run_until_idle());
  CHECK(world.server.stack().memory_in_use() == 0);
}

TEST_CASE("lent_marks_know_what_is_lent_and_forget_what_was_given_back") {
  weir::detail::lent_marks marks;
  std::vector<std::byte> memory(70 * 2000);
  std::vector<weir::stack::lent_chunk> chunks;
  for (std::uint32_t i = 0; i < 70; ++i)
    chunks.push_back({memory.data() + std::size_t{i} * 2000, 2000, i, nullptr});
  for (const auto& c : chunks) marks.lent(c);
  std::size_t known = 0;
  for (const auto& c : chunks) {
    const auto* found = marks.find(c.bytes());
    if (found == nullptr) continue;  // its place was another's
    ++known;
    CHECK(found->token == c.token);
    CHECK(marks.find(c.bytes().first(1024)) == found);
    CHECK(marks.find(c.bytes().first(1023)) == nullptr);
    CHECK(marks.find(c.bytes().subspan(1)) == nullptr);
    CHECK(marks.find({c.data, c.size + 1}) == nullptr);
  }
  CHECK(known >= 20);
  CHECK(known <= weir::detail::lent_marks::count);
  for (const auto& c : chunks) marks.released(c.data);
  for (const auto& c : chunks) CHECK(marks.find(c.bytes()) == nullptr);
}

TEST_CASE("a_read_that_waits_is_served_from_the_packet_and_the_next_ones_get_what_it_left") {
  for (const bool exactly : {false, true}) {
    two_hosts world;
    std::string sent;
    for (int i = 0; i < 200'000; ++i) sent += static_cast<char>('a' + i * 11 % 26);
    std::string got;
    world.run(
        [&](shard&, tcp_stream& peer) -> task<> {
          std::array<char, 1100> piece;
          for (;;) {
            const auto into = std::as_writable_bytes(std::span(piece));
            if (exactly) {
              auto n = co_await peer.read_exactly(into).nothrow();
              got.append(piece.data(), n.n);
              if (n.ec) break;
            } else {
              auto n = co_await peer.read_some(into);
              if (n == 0) break;
              got.append(piece.data(), n);
            }
            if (got.size() % 5 == 0) co_await weir::sleep_for(3ms);
          }
        },
        [&](shard&, tcp_stream& peer) -> task<> {
          for (std::size_t at = 0; at < sent.size(); at += 5000) {
            co_await peer.write_all(std::string_view(sent).substr(at, 5000));
            if (at % 3 == 0) co_await weir::sleep_for(2ms);
          }
          peer.shutdown_send();
        });
    CHECK(got == sent);
    CHECK(world.net.run_until_idle());
    CHECK(world.server.stack().memory_in_use() == 0);
  }
}

TEST_CASE("a_write_of_many_parts_arrives_in_order") {
  two_hosts world;
  std::string got;
  world.run([&](shard&, tcp_stream& peer) -> task<> { got = co_await read_to_end(peer); },
            [](shard&, tcp_stream& peer) -> task<> {
              std::vector<std::string> texts;
              for (int i = 0; i < 200; ++i)
                texts.push_back(i % 5 == 0 ? "" : std::to_string(i) + ",");
              std::vector<std::span<const std::byte>> parts;
              for (const auto& text : texts) parts.push_back(std::as_bytes(std::span(text)));
              auto n = co_await peer.write_all(parts);
              CHECK(n > 0);
              peer.shutdown_send();
            });
  std::string want;
  for (int i = 0; i < 200; ++i)
    if (i % 5 != 0) want += std::to_string(i) + ",";
  CHECK(got == want);
}

TEST_CASE("overlapping_writes_are_carried_out_whole_and_the_fin_comes_last") {
  two_hosts world;
  std::string got;
  world.run(
      [&](shard&, tcp_stream& peer) -> task<> {
        co_await weir::sleep_for(5s);  // until the sender's queues are full
        got = co_await read_to_end(peer);
      },
      [](shard& s, tcp_stream& peer) -> task<> {
        weir::scope writers(s);
        for (char c : {'a', 'b', 'c'}) writers.spawn(write_text(peer, std::string(10'000'000, c)));
        co_await weir::yield();
        peer.shutdown_send();
        auto after = co_await peer.write_all("more").nothrow();
        CHECK(after.ec == std::errc::broken_pipe);
        co_await writers.join();
      });
  REQUIRE(got.size() == 30'000'000);
  CHECK(got.find_first_not_of('a') == 10'000'000);
  CHECK(got.find_first_not_of('b', 10'000'000) == 20'000'000);
  CHECK(got.find_first_not_of('c', 20'000'000) == std::string::npos);
}

TEST_CASE("a_cancelled_write_lets_the_next_one_through") {
  two_hosts world;
  std::string got;
  world.run(
      [&](shard&, tcp_stream& peer) -> task<> {
        co_await weir::sleep_for(10s);
        got = co_await read_to_end(peer);
      },
      [](shard& s, tcp_stream& peer) -> task<> {
        weir::scope next(s);
        std::string much(30'000'000, 'a');
        next.spawn([](tcp_stream& to) -> task<> {
          co_await weir::sleep_for(1s);
          co_await to.write_all("end");
        }(peer));
        auto first = co_await peer.write_all(much).timeout(2s).nothrow();
        CHECK(first.ec == std::errc::timed_out);
        CHECK(first.n > 0);
        CHECK(first.n < much.size());
        co_await next.join();
        peer.shutdown_send();
      });
  CHECK(got.ends_with("aend"));
}

TEST_CASE("options_of_a_listener_reach_the_stack") {
  two_hosts world;
  auto error_of = [&](const weir::listen_options& how) {
    auto tried = world.server.shard().try_listen({world.server.address(), 5}, how);
    return tried ? std::error_code{} : tried.error();
  };
  CHECK(!error_of({.sharing = weir::sharing::shared}));
  CHECK(!error_of({.sharing = weir::sharing::sharded}));
  CHECK(!error_of({.policy = weir::sharding_policy::least_loaded}));
  {
    auto keyed = world.server.shard().try_listen(
        {world.server.address(), 5}, {.sharing = weir::sharing::sharded, .owner_key = 1});
    REQUIRE(keyed);
    CHECK(error_of({.sharing = weir::sharing::sharded, .owner_key = 2}) ==
          std::errc::address_in_use);
    CHECK(error_of({}) == std::errc::address_in_use);
  }
  auto good = world.server.shard().try_listen({world.server.address(), 5},
                                              {.backlog = 3, .syn_backlog = 4});
  REQUIRE(good);
  bool seen = false;
  world.server.stack().for_each_listener([&](const weir::stack::listener_info& info) {
    seen = info.local.port == 5 && info.backlog == 3 && info.syn_backlog == 4;
  });
  CHECK(seen);
}

TEST_CASE("stream_options_reach_the_stack") {
  two_hosts world;
  world.run([](shard&, tcp_stream& peer) -> task<> { co_await read_to_end(peer); },
            [](shard&, tcp_stream& peer) -> task<> {
              peer.set_options({.nodelay = false, .keep_alive = true, .cork = true});
              co_await write_text(peer, "held");
              co_await weir::sleep_for(100ms);
              peer.set_options({.cork = false});
              peer.shutdown_send();
            });
}

TEST_CASE("what_was_received_before_a_reset_is_read_before_its_error") {
  two_hosts world;
  world.run(
      [](shard&, tcp_stream& peer) -> task<> {
        co_await weir::sleep_for(1s);
        std::array<char, 100> chunk;
        auto first = co_await peer.read_some(std::as_writable_bytes(std::span(chunk))).nothrow();
        CHECK(!first.ec);
        CHECK(first.n == 5);
        auto second = co_await peer.read_some(std::as_writable_bytes(std::span(chunk))).nothrow();
        CHECK(second.ec == std::errc::connection_reset);
      },
      [](shard&, tcp_stream& peer) -> task<> {
        co_await write_text(peer, "hello");
        co_await weir::sleep_for(100ms);
        peer.abort();
      });
}

TEST_CASE("sockets_go_back_to_the_pool") {
  two_hosts world;
  for (int round = 0; round < 3; ++round)
    world.run([](shard&, tcp_stream& peer) -> task<> { co_await read_to_end(peer); },
              [](shard&, tcp_stream& peer) -> task<> { co_await write_text(peer, "x"); });
  CHECK(two_hosts::transport(world.server).sockets() == 0);
  CHECK(two_hosts::transport(world.client).sockets() == 0);
  CHECK(world.net.run_until_idle());
  CHECK(two_hosts::transport(world.server).closing() == 0);
  CHECK(world.server.stack().memory_in_use() == 0);
}

TEST_CASE("a_closed_connection_is_closing_until_its_fin_is_acknowledged") {
  two_hosts world;
  world.run([](shard&, tcp_stream& peer) -> task<> { co_await read_to_end(peer); },
            [&](shard&, tcp_stream& peer) -> task<> {
              co_await write_text(peer, "x");
              world.link.set_down(true);
              peer.close();
              CHECK(two_hosts::transport(world.client).closing() == 1);
              co_await weir::sleep_for(1s);
              CHECK(two_hosts::transport(world.client).closing() == 1);
              world.link.set_down(false);
            });
  world.net.run_for(1min);
  CHECK(two_hosts::transport(world.client).closing() == 0);
}
