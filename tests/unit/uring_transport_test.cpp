// Kernel sockets through io_uring from close by: what the conformance suite cannot see, since it is
// about this transport's own queues and pools, and what must hold on kernels that lack the newer
// requests.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "unit/descriptor_shortage.hpp"
#include "uring_world.hpp"

using namespace std::chrono_literals;
using uring_test::allowed;
using uring_test::shape;
using uring_test::world;
using weir::shard;
using weir::task;
using weir::tcp_listener;
using weir::tcp_stream;

namespace {

/// A byte that depends on its place, so that what is lost, doubled or swapped shows.
std::byte pattern(std::size_t i) { return static_cast<std::byte>((i * 2654435761u) >> 13); }

struct pair {
  tcp_stream client;
  tcp_stream server;
};

task<> make_pair(shard& s, pair& into) {
  auto listener = s.listen({"127.0.0.1", 0});
  into.client = co_await weir::connect(listener.local_endpoint());
  auto peer = co_await listener.accept();
  into.server = std::move(*peer);
}

task<> echo(tcp_stream peer) {
  std::array<std::byte, 4096> buffer;
  for (;;) {
    auto n = co_await peer.read_some(buffer);
    if (n == 0) break;
    co_await peer.write_all(std::span(buffer).first(n));
  }
}

task<> serve_echo(tcp_listener& listener, weir::scope& sessions) {
  for (;;) {
    auto peer = co_await listener.accept();
    if (!peer) break;
    sessions.spawn(echo(std::move(*peer)));
  }
}

task<> send_pattern(tcp_stream& to, std::size_t total, std::size_t piece) {
  std::vector<std::byte> chunk(piece);
  for (std::size_t sent = 0; sent < total;) {
    auto n = std::min(piece, total - sent);
    for (std::size_t i = 0; i < n; ++i) chunk[i] = pattern(sent + i);
    co_await to.write_all(std::span(chunk).first(n));
    sent += n;
  }
  to.shutdown_send();
}

task<std::size_t> expect_pattern(tcp_stream& from, std::size_t piece) {
  std::vector<std::byte> chunk(piece);
  std::size_t got = 0, wrong = 0;
  for (;;) {
    auto n = co_await from.read_some(chunk);
    if (n == 0) break;
    for (std::size_t i = 0; i < n; ++i) wrong += chunk[i] != pattern(got + i);
    got += n;
  }
  CHECK(wrong == 0);
  co_return got;
}

task<std::size_t> expect_pattern_exactly(tcp_stream& from, std::size_t total) {
  std::vector<std::byte> all(total);
  auto got = co_await from.read_exactly(all);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < got; ++i) wrong += all[i] != pattern(i);
  CHECK(wrong == 0);
  co_return got;
}

task<std::size_t> expect_pattern_lent(tcp_stream& from) {
  std::size_t got = 0, wrong = 0;
  for (;;) {
    auto lent = co_await from.receive();
    if (!lent) break;
    for (auto byte : lent.bytes()) wrong += byte != pattern(got++);
  }
  CHECK(wrong == 0);
  co_return got;
}

task<> receive_into(tcp_stream& from, std::size_t& size) {
  auto lent = co_await from.receive();
  size += lent.size();
}

/// The ordinary shape, one of a few tiny pieces, one of a kernel without the newer requests.
std::vector<shape> shapes() {
  shape ordinary, tiny, oldest;
  tiny.driver.sq_entries = 8;
  tiny.driver.cq_entries = 8;
  tiny.transport.buffers = {.count = 4, .in_ring = 4, .size = 512};
  tiny.transport.chunks_per_stream = 2;
  tiny.transport.accept_queue = 2;
  oldest.driver.rules = weir::detail::ring_rules::oldest();
  return {ordinary, tiny, oldest};
}

shape with_buffers(unsigned count, std::size_t size) {
  shape s;
  s.transport.buffers = {.count = count, .in_ring = count, .size = size};
  return s;
}

/// Waits until `done` holds, turn by turn.
template <class Condition>
task<> until(Condition done) {
  for (;;) {
    if (done()) break;
    co_await weir::sleep_for(50us);
  }
}

}  // namespace

TEST_CASE("megabytes_pass_both_ways_byte_for_byte_in_every_shape") {
  if (!allowed()) return;
  for (auto& form : shapes()) {
    world w(form);
    w.run([](shard& s) -> task<> {
      constexpr std::size_t total = 4 << 20;
      pair p, q;
      co_await make_pair(s, p);
      co_await make_pair(s, q);
      auto [a, b, c, d, e, f] = co_await weir::when_all(
          send_pattern(p.client, total, 65536), send_pattern(p.server, total, 10'007),
          expect_pattern(p.server, 3'001), expect_pattern_lent(p.client),
          send_pattern(q.client, total, 1 << 20), expect_pattern_exactly(q.server, total));
      CHECK(c == total);
      CHECK(d == total);
      CHECK(f == total);
    });
    CHECK(w.transport().open_sockets() == 0);
    CHECK(w.transport().buffers().spares() + w.transport().buffers().offered() ==
          w.transport().buffers().count());
    const auto& counted = w.transport().counters();
    CHECK(counted.connected == 2);
    CHECK(counted.accepted == 2);
    CHECK(counted.bytes_sent == 3 * (4 << 20));
    CHECK(counted.bytes_received == 3 * (4 << 20));
  }
}

TEST_CASE("many_connections_echo_through_a_pool_smaller_than_their_number") {
  if (!allowed()) return;
  for (auto& form : shapes()) {
    world w(form);
    std::size_t right = 0;
    w.run([&](shard& s) -> task<> {
      auto listener = s.listen({"127.0.0.1", 0});
      weir::scope sessions(s), acceptors(s), clients(s);
      acceptors.spawn(serve_echo(listener, sessions));
      for (int i = 0; i < 40; ++i)
        clients.spawn([](weir::endpoint to, int me, std::size_t& count) -> task<> {
          auto peer = co_await weir::connect(to);
          std::vector<std::byte> data(static_cast<std::size_t>(1 + me * 97)), back(data.size());
          for (int round = 0; round < 20; ++round) {
            for (std::size_t k = 0; k < data.size(); ++k)
              data[k] = pattern(k + static_cast<std::size_t>(round));
            co_await peer.write_all(data);
            co_await peer.read_exactly(back);
            count += back == data;
          }
        }(listener.local_endpoint(), i, right));
      co_await clients.join();
      s.request_stop();
      co_await acceptors.join();
      co_await sessions.join();
      CHECK(clients.io_errors() == 0);
    });
    CHECK(right == 40 * 20);
    CHECK(w.transport().open_sockets() == 0);
  }
}

/// Connections that are read once, so that they receive, and then not at all.
task<> make_unread(shard& s, std::vector<pair>& all) {
  std::array<std::byte, 1> one;
  for (auto& p : all) {
    co_await make_pair(s, p);
    co_await p.client.write_all("1");
    co_await p.server.read_exactly(one);
  }
}

TEST_CASE("unread_bytes_leave_buffers_to_readers_that_wait") {
  if (!allowed()) return;
  world w(with_buffers(4, 1024));
  w.run([&](shard& s) -> task<> {
    std::vector<pair> greedy(8);
    co_await make_unread(s, greedy);
    pair p;
    co_await make_pair(s, p);
    std::string much(8192, 'm');
    for (auto& g : greedy) co_await g.client.write_all(much);
    if (w.driver().features().multishot_receive)
      co_await until([&] { return w.transport().counters().stashed >= greedy.size(); });
    for (int i = 0; i < 3; ++i) {
      co_await p.client.write_all("through");
      std::array<std::byte, 7> got;
      auto n = co_await p.server.read_exactly(got);
      CHECK(n == 7);
      co_await p.client.write_all("lent");
      auto lent = co_await p.server.receive();
      CHECK(lent.size() == 4);
    }
    // And those that were behind lose nothing, by a copy or lent.
    bool lends = false;
    for (auto& g : greedy) {
      std::string got;
      while (got.size() < much.size()) {
        if (lends) {
          auto some = co_await g.server.receive();
          got.append(reinterpret_cast<const char*>(some.bytes().data()), some.size());
        } else {
          std::array<std::byte, 700> some;
          auto n = co_await g.server.read_some(some);
          got.append(reinterpret_cast<const char*>(some.data()), n);
        }
      }
      CHECK(got == much);
      lends = !lends;
    }
  });
}

TEST_CASE("a_thousand_connections_with_unread_pieces_do_not_starve_a_lending_reader") {
  if (!allowed()) return;
  world w;
  if (!w.driver().features().multishot_receive) return;
  w.run([&](shard& s) -> task<> {
    std::vector<pair> idle(1000);
    co_await make_unread(s, idle);
    for (int piece = 0; piece < 3; ++piece)
      for (auto& p : idle) {
        co_await p.client.write_all("x");
      }
    co_await until([&] { return w.transport().counters().stashed >= 700; });
    pair fresh;
    co_await make_pair(s, fresh);
    co_await fresh.client.write_all("hello");
    auto lent = co_await fresh.server.receive().timeout(10s);
    CHECK(lent.size() == 5);
    for (auto& p : idle) {
      std::array<std::byte, 3> got;
      auto n = co_await p.server.read_exactly(got);
      CHECK(n == 3);
    }
  });
}

TEST_CASE("a_flooding_peer_is_held_back_until_its_reader_catches_up") {
  if (!allowed()) return;
  world w(with_buffers(64, 1024));
  if (!w.driver().features().multishot_receive) return;
  w.run([&](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    weir::scope flood(s);
    constexpr std::size_t total = 1 << 20;
    flood.spawn(send_pattern(p.client, total, 4096));
    std::array<std::byte, 1> first;
    co_await p.server.read_exactly(first);
    CHECK(first[0] == pattern(0));
    co_await until([&] { return w.transport().counters().withdrawn >= 1; });
    std::vector<std::byte> rest(total - 1);
    co_await p.server.read_exactly(rest);
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < rest.size(); ++i) wrong += rest[i] != pattern(i + 1);
    CHECK(wrong == 0);
    co_await flood.join();
  });
}

TEST_CASE("a_flooding_peer_is_held_back_again_and_again") {
  if (!allowed()) return;
  world w(with_buffers(64, 1024));
  if (!w.driver().features().multishot_receive) return;
  w.run([&](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    weir::scope flood(s);
    constexpr std::size_t total = 1 << 20, part = 100'000;
    flood.spawn(send_pattern(p.client, total, 4096));
    std::size_t got = 0, wrong = 0;
    auto& counters = w.transport().counters();
    for (std::uint64_t round = 1; round <= 4; ++round) {
      const auto before = counters.withdrawn;
      for (const auto until_here = round * part; got < until_here;) {
        std::array<std::byte, 700> some;
        auto n = co_await p.server.read_some(some);
        for (std::size_t i = 0; i < n; ++i) wrong += some[i] != pattern(got + i);
        got += n;
      }
      co_await until([&] { return counters.withdrawn > before; });
    }
    std::vector<std::byte> rest(total - got);
    co_await p.server.read_exactly(rest);
    for (std::size_t i = 0; i < rest.size(); ++i) wrong += rest[i] != pattern(got + i);
    CHECK(wrong == 0);
    co_await flood.join();
  });
}

TEST_CASE("a_lending_reader_waits_for_a_buffer_and_gets_the_first_that_comes_back") {
  if (!allowed()) return;
  for (bool oldest : {false, true}) {
    auto form = with_buffers(4, 1024);
    if (oldest) form.driver.rules = weir::detail::ring_rules::oldest();
    world w(form);
    weir::lent_buffer outlives;
    w.run([&](shard& s) -> task<> {
      pair p;
      co_await make_pair(s, p);
      std::vector<weir::lent_buffer> held;
      for (int i = 0; i < 4; ++i) {
        co_await p.client.write_all("x");
        held.push_back(co_await p.server.receive());
      }
      co_await p.client.write_all("y");
      auto starved = co_await p.server.receive().nothrow().timeout(1ms);
      CHECK(starved.error() == std::errc::timed_out);
      weir::scope others(s);
      others.spawn([](std::vector<weir::lent_buffer>& all) -> task<> {
        co_await weir::yield();
        all.pop_back();
      }(held));
      auto served = co_await p.server.receive();
      CHECK(served.size() == 1);
      CHECK(served.bytes()[0] == std::byte{'y'});
      co_await others.join();
      p.server.close();
      outlives = std::move(held.front());
    });
    CHECK(outlives.bytes()[0] == std::byte{'x'});
    outlives.release();
    CHECK(w.transport().buffers().spares() + w.transport().buffers().offered() == 4);
  }
}

TEST_CASE("readers_of_silent_peers_keep_no_buffer_that_others_wait_for") {
  if (!allowed()) return;
  world w(with_buffers(4, 1024));
  if (!w.driver().features().multishot_receive) return;
  w.run([&](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    std::vector<weir::lent_buffer> held;
    for (int i = 0; i < 4; ++i) {
      co_await p.client.write_all("x");
      held.push_back(co_await p.server.receive());
    }
    // They begin to wait while there is no buffer, which the kernel says before it looks for bytes.
    std::vector<pair> silent(8);
    weir::scope readers(s);
    std::size_t came = 0;
    for (auto& one : silent) {
      co_await make_pair(s, one);
      readers.spawn(receive_into(one.server, came));
    }
    for (int turn = 0; turn < 20; ++turn) co_await weir::sleep_for(1ms);
    held.clear();
    for (int round = 0; round < 3; ++round) {
      co_await p.client.write_all("y");
      auto lent = co_await p.server.receive().timeout(10s).nothrow();
      CHECK((lent.has_value() && lent->size() == 1));
    }
    for (auto& one : silent) co_await one.client.write_all("z");
    co_await readers.join();
    CHECK(came == silent.size());
  });
}

TEST_CASE("a_lending_reader_that_gave_up_and_closed_leaves_the_next_buffers_to_others") {
  if (!allowed()) return;
  for (bool oldest : {false, true}) {
    CAPTURE(oldest);
    auto form = with_buffers(4, 1024);
    if (oldest) form.driver.rules = weir::detail::ring_rules::oldest();
    world w(form);
    w.run([&](shard& s) -> task<> {
      pair first, second;
      co_await make_pair(s, first);
      co_await make_pair(s, second);
      std::vector<weir::lent_buffer> held;
      for (int i = 0; i < 4; ++i) {
        co_await first.client.write_all("x");
        held.push_back(co_await first.server.receive());
      }
      co_await first.client.write_all("y");
      co_await second.client.write_all("z");
      weir::scope leaves(s), stays(s);
      std::size_t unused = 0, got = 0;
      const auto& counters = w.transport().counters();
      const auto before = counters.no_buffers;
      leaves.spawn(receive_into(first.server, unused));
      co_await weir::yield();
      if (!oldest) co_await until([&] { return counters.no_buffers > before; });
      stays.spawn(receive_into(second.server, got));
      co_await weir::yield();
      if (!oldest) co_await until([&] { return counters.no_buffers > before + 1; });
      co_await leaves.drain(0s);
      CHECK(unused == 0);
      first.server.close();
      first.client.close();
      co_await until([&] { return w.transport().closing() == 0; });
      // One of the next connection's ends is in the memory of the one that waited.
      pair third;
      co_await make_pair(s, third);
      co_await third.client.write_all("a");
      co_await third.server.write_all("b");
      stays.spawn(receive_into(third.client, got));
      stays.spawn(receive_into(third.server, got));
      co_await weir::yield();
      held.clear();
      co_await stays.join();
      CHECK(got == 3);
    });
  }
}

TEST_CASE("large_reads_go_straight_into_the_readers_memory") {
  if (!allowed()) return;
  world w(with_buffers(16, 1024));
  w.run([&](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    auto [a, got] = co_await weir::when_all(send_pattern(p.client, 4 << 20, 64 << 10),
                                            expect_pattern(p.server, 64 << 10));
    CHECK(got == 4 << 20);
  });
  CHECK(w.transport().counters().direct_receives >= 8);
}

TEST_CASE("a_cancelled_read_loses_no_byte") {
  if (!allowed()) return;
  for (auto& form : shapes()) {
    world w(form);
    w.run([](shard& s) -> task<> {
      pair p;
      co_await make_pair(s, p);
      weir::scope writer(s);
      constexpr std::size_t total = 256 << 10;
      writer.spawn(send_pattern(p.client, total, 1777));
      std::vector<std::byte> got;
      std::array<std::byte, 5000> buffer;
      for (;;) {
        auto t = co_await p.server.read_exactly(buffer).nothrow().timeout(20us);
        for (std::size_t i = 0; i < t.n; ++i) got.push_back(buffer[i]);
        if (t.ec == weir::error::end_of_stream || (!t.ec && t.n == 0)) break;
        if (t.ec) CHECK(t.ec == std::errc::timed_out);
      }
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < got.size(); ++i) wrong += got[i] != pattern(i);
      CHECK(got.size() == total);
      CHECK(wrong == 0);
      co_await writer.join();
    });
  }
}

TEST_CASE("a_write_cancelled_midway_reports_what_went") {
  if (!allowed()) return;
  world w;
  w.run([](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    std::vector<std::byte> much(32 << 20);
    for (std::size_t i = 0; i < much.size(); ++i) much[i] = pattern(i);
    auto stuck = co_await p.client.write_all(much).nothrow().timeout(2ms);
    CHECK(stuck.ec == std::errc::timed_out);
    CHECK(stuck.n > 0);
    CHECK(stuck.n < much.size());
    p.client.shutdown_send();
    auto got = co_await expect_pattern(p.server, 65536);
    CHECK(got == stuck.n);
  });
}

TEST_CASE("a_queued_write_that_is_cancelled_leaves_the_others_whole") {
  if (!allowed()) return;
  world w;
  w.run([](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    constexpr std::size_t size = 8 << 20;
    weir::scope writers(s);
    auto writer = [](tcp_stream& to, char c) -> task<> {
      std::string text(size, c);
      co_await to.write_all(text);
    };
    writers.spawn(writer(p.client, 'a'));
    co_await weir::yield();
    std::string never(size, 'n');
    auto canceled = co_await p.client.write_all(never).nothrow().timeout(1ms);
    CHECK(canceled.ec == std::errc::timed_out);
    CHECK(canceled.n == 0);
    writers.spawn(writer(p.client, 'b'));
    std::string got(2 * size, ' ');
    co_await p.server.read_exactly(std::as_writable_bytes(std::span(got)));
    CHECK(got == std::string(size, 'a') + std::string(size, 'b'));
    co_await writers.join();
  });
}

TEST_CASE("small_writes_that_queue_leave_in_one_send") {
  if (!allowed()) return;
  world w;
  w.run([&](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    weir::scope writers(s);
    for (int i = 0; i < 200; ++i)
      writers.spawn([](tcp_stream& to, int me) -> task<> {
        auto text = std::to_string(1000 + me);
        co_await to.write_all(text);
      }(p.client, i));
    std::string got(800, ' ');
    co_await p.server.read_exactly(std::as_writable_bytes(std::span(got)));
    co_await writers.join();
    std::string expected;
    for (int i = 0; i < 200; ++i) expected += std::to_string(1000 + i);
    CHECK(got == expected);
  });
  CHECK(w.transport().counters().coalesced_sends >= 3);
  CHECK(w.transport().counters().sends + w.transport().counters().prompt_sends <= 10);
}

TEST_CASE("a_full_queue_of_unclaimed_connections_withdraws_the_accept") {
  if (!allowed()) return;
  shape form;
  form.transport.accept_queue = 2;
  world w(form);
  w.run([&](shard& s) -> task<> {
    auto listener = s.listen({"127.0.0.1", 0});
    std::vector<tcp_stream> clients, servers;
    for (int i = 0; i < 30; ++i)
      clients.push_back(co_await weir::connect(listener.local_endpoint()));
    for (int i = 0; i < 30; ++i) {
      auto peer = co_await listener.accept();
      servers.push_back(std::move(*peer));
      co_await weir::yield();
    }
    for (int i = 0; i < 30; ++i) {
      auto& c = clients[static_cast<std::size_t>(i)];
      CHECK(c.local_endpoint() == servers[static_cast<std::size_t>(i)].remote_endpoint());
    }
    CHECK(w.transport().counters().accepted == 30);
    CHECK(w.transport().counters().accept_refused == 0);
  });
}

TEST_CASE("connections_that_nobody_accepted_are_reset_with_their_listener") {
  if (!allowed()) return;
  world w;
  w.run([&](shard& s) -> task<> {
    auto listener = s.listen({"127.0.0.1", 0});
    std::vector<tcp_stream> clients;
    for (int i = 0; i < 3; ++i)
      clients.push_back(co_await weir::connect(listener.local_endpoint()));
    auto one =
        co_await listener.accept();  // the others are in the transport's queue or the kernel's
    co_await until([&] {
      return w.transport().counters().accepted == 3 || !w.driver().features().multishot_accept;
    });
    listener.close();
    std::array<std::byte, 1> buffer;
    for (int i = 1; i < 3; ++i) {
      auto got = co_await clients[static_cast<std::size_t>(i)].read_some(buffer).nothrow();
      CHECK(got.ec == std::errc::connection_reset);
    }
    co_await one->write_all("!");
    auto n = co_await clients[0].read_some(buffer);
    CHECK(n == 1);
  });
}

TEST_CASE("a_lack_of_descriptors_is_waited_out_without_spinning") {
  if (!allowed()) return;
  world w;
  w.run([&](shard& s) -> task<> {
    auto listener = s.listen({"127.0.0.1", 0});
    auto waiting = co_await weir::connect(listener.local_endpoint());
    unit_test::no_more_descriptors tight;
    auto began = s.now();
    weir::scope others(s);
    tcp_stream peer;
    others.spawn([](tcp_listener& l, tcp_stream& into) -> task<> {
      auto got = co_await l.accept();
      if (got) into = std::move(*got);
    }(listener, peer));
    auto& counters = w.transport().counters();
    while (counters.accept_exhausted < 4) co_await weir::sleep_for(5ms);
    // The first attempt and one for each delay that has passed, no more.
    auto delays =
        static_cast<std::uint64_t>((s.now() - began) / weir::detail::kernel::accept_retry_delay);
    CHECK(counters.accept_exhausted <= delays + 2);
    CHECK(!peer);
    others.spawn([](tcp_stream stream) -> task<> {
      co_await weir::yield();
      stream.close();
    }(std::move(waiting)));
    co_await others.join();
    CHECK(peer);
  });
}

TEST_CASE("a_descriptor_that_becomes_free_wakes_an_acceptor_at_once") {
  if (allowed()) unit_test::what_is_closed_wakes_an_acceptor_at_once<world>();
}

TEST_CASE("read_to_the_end_and_close_is_no_reset") {
  if (!allowed()) return;
  world w;
  w.run([](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    for (int i = 0; i < 20; ++i) {
      co_await make_pair(s, p);
      co_await p.client.write_all("request");
      std::array<std::byte, 7> got;
      co_await p.server.read_exactly(got);
      co_await p.server.write_all("answer");
      p.server.close();
      std::string back(6, ' ');
      auto n = co_await p.client.read_exactly(std::as_writable_bytes(std::span(back)));
      CHECK(n == 6);
      auto end = co_await p.client.read_some(got);
      CHECK(end == 0);
    }
  });
}

TEST_CASE("unread_chunks_make_the_close_a_reset") {
  if (!allowed()) return;
  world w;
  w.run([](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    co_await p.client.write_all("unread");
    std::array<std::byte, 1> one;
    co_await p.server.read_exactly(one);
    p.server.close();
    auto got = co_await p.client.read_some(one).nothrow();
    CHECK(got.ec == std::errc::connection_reset);
  });
}

TEST_CASE("a_connect_that_is_cancelled_leaves_no_descriptor") {
  if (!allowed()) return;
  int before = ::dup(0);
  ::close(before);
  {
    world w;
    int opened = ::dup(0);
    ::close(opened);
    w.run([](shard& s) -> task<> {
      auto listener = s.listen({"127.0.0.1", 0}, {.backlog = 1});
      std::vector<tcp_stream> filling;
      for (int i = 0; i < 64; ++i) {
        auto next = co_await weir::connect(listener.local_endpoint()).nothrow().timeout(3ms);
        if (!next) {
          CHECK(next.error() == std::errc::timed_out);
          break;
        }
        filling.push_back(std::move(*next));
      }
      CHECK(filling.size() < 64);
    });
    CHECK(w.transport().open_sockets() == 0);
    w.driver().flush();
    int after = ::dup(0);
    ::close(after);
    CHECK(after == opened);
  }
  int after = ::dup(0);
  ::close(after);
  CHECK(after == before);
}

TEST_CASE("shutdown_under_load_leaves_nothing_in_every_shape") {
  if (!allowed()) return;
  for (auto& form : shapes()) {
    int before = ::dup(0);
    ::close(before);
    {
      world w(form);
      std::size_t echoed = 0;
      w.run([&](shard& s) -> task<> {
        auto listener = s.listen({"127.0.0.1", 0});
        weir::scope sessions(s), acceptors(s), clients(s);
        acceptors.spawn(serve_echo(listener, sessions));
        for (int i = 0; i < 48; ++i)
          clients.spawn([](weir::endpoint to, std::size_t& count, int me) -> task<> {
            auto peer = co_await weir::connect(to);
            std::vector<std::byte> data(static_cast<std::size_t>(1 + me * 397));
            for (;;) {
              co_await peer.write_all(data);
              auto n = co_await peer.read_exactly(data);
              count += n;
            }
          }(listener.local_endpoint(), echoed, i));
        co_await until([&] { return echoed > (1u << 20); });
        sessions.cancel();
        acceptors.cancel();
        clients.cancel();
        co_await sessions.join();
        co_await acceptors.join();
        co_await clients.join();
      });
      CHECK(w.transport().open_sockets() == 0);
      CHECK(w.transport().buffers().spares() + w.transport().buffers().offered() ==
            w.transport().buffers().count());
    }
    int after = ::dup(0);
    ::close(after);
    CHECK(after == before);
  }
}

TEST_CASE("a_shard_that_goes_at_once_closes_what_is_still_closing") {
  if (!allowed()) return;
  int before = ::dup(0);
  ::close(before);
  {
    world w;
    bool ended = false;
    w.shard().start(
        [](shard& s) -> task<> {
          auto listener = s.listen({"127.0.0.1", 0});
          pair p;
          co_await make_pair(s, p);
          std::array<std::byte, 8> buffer;
          auto late = co_await p.server.read_some(buffer).nothrow().timeout(1ms);
          CHECK(late.ec == std::errc::timed_out);
        }(w.shard()),
        [&](std::exception_ptr) { ended = true; });
    w.shard().run_until([&] { return ended; });
    CHECK(w.transport().closing() > 0);
  }
  int after = ::dup(0);
  ::close(after);
  CHECK(after == before);
}

TEST_CASE("nodelay_is_inherited_by_accepted_sockets") {
  if (!allowed()) return;
  for (bool wanted : {true, false}) {
    auto settings = uring_test::uring_config();
    settings.tcp.nodelay = wanted;
    world w({}, settings);
    w.run([&](shard& s) -> task<> {
      pair p;
      co_await make_pair(s, p);
      // Both ends' descriptors are among the process's first ones.
      int value = -1, found = 0;
      for (int fd = 3; fd < 256; ++fd) {
        socklen_t size = sizeof value;
        if (::getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &size) == 0) {
          ++found;
          CHECK((value != 0) == wanted);
        }
      }
      CHECK(found >= 2);
    });
  }
}

TEST_CASE("an_echo_costs_few_system_calls_under_load") {
  if (!allowed()) return;
  world w;
  constexpr std::size_t rounds = 200, peers = 32;
  std::uint64_t calls = 0;
  w.run([&](shard& s) -> task<> {
    auto listener = s.listen({"127.0.0.1", 0});
    weir::scope sessions(s), acceptors(s), clients(s);
    acceptors.spawn(serve_echo(listener, sessions));
    std::vector<tcp_stream> streams;
    for (std::size_t i = 0; i < peers; ++i)
      streams.push_back(co_await weir::connect(listener.local_endpoint()));
    auto before = w.driver().system_calls();
    for (auto& stream : streams)
      clients.spawn([](tcp_stream& peer) -> task<> {
        std::array<std::byte, 64> data{};
        for (std::size_t i = 0; i < rounds; ++i) {
          co_await peer.write_all(data);
          co_await peer.read_exactly(data);
        }
      }(stream));
    co_await clients.join();
    calls = w.driver().system_calls() - before;
    streams.clear();
    s.request_stop();
    co_await acceptors.join();
    co_await sessions.join();
  });
  // Client and server share the ring: four operations a round, and far less than one call.
  CHECK(calls < rounds * peers);
}

namespace {

/// Threads that the kernel made for requests that it could not run at once.
unsigned worker_threads() {
  unsigned out = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream comm(task.path() / "comm");
    std::string name;
    if (std::getline(comm, name) && name.starts_with("iou-wrk-")) ++out;
  }
  return out;
}

task<> ask_and_close(shard& s, weir::endpoint where, std::size_t size) {
  auto peer = co_await weir::connect(where);
  weir::scope sending(s);
  sending.spawn(send_pattern(peer, size, 65536));
  auto n = co_await expect_pattern(peer, 65536);
  CHECK(n == size);
  co_await sending.join();
}

}  // namespace

TEST_CASE("connecting_echoing_and_closing_hand_nothing_to_worker_threads") {
  if (!allowed()) return;
  const auto before = worker_threads();  // of other rings of this process
  world w;
  w.run([before](shard& s) -> task<> {
    auto listener = s.listen({"127.0.0.1", 0});
    weir::scope sessions(s);
    weir::scope accepting(s);
    accepting.spawn(serve_echo(listener, sessions));
    for (const std::size_t size : {std::size_t{1}, std::size_t{64}, std::size_t{1} << 20})
      co_await ask_and_close(s, listener.local_endpoint(), size);
    // A worker stays for seconds after its last request: one that was ever needed shows here.
    CHECK(worker_threads() <= before);
    accepting.cancel();
    co_await accepting.join();
    co_await sessions.join();
  });
}

TEST_CASE("a_peer_that_sends_byte_by_byte_keeps_no_worker_thread_busy") {
  if (!allowed()) return;
  const auto before = worker_threads();
  // Without multishot receives a large read goes straight to its own memory, in one request that
  // is woken for every byte.
  shape form;
  form.driver.rules = weir::detail::ring_rules::oldest();
  world w(form);
  w.run([before](shard& s) -> task<> {
    pair ends;
    co_await make_pair(s, ends);
    constexpr std::size_t bytes = 400;
    weir::scope sending(s);
    sending.spawn(send_pattern(ends.client, bytes, 1));
    std::vector<std::byte> whole(bytes);
    co_await ends.server.read_exactly(std::span(whole));
    CHECK(whole[bytes - 1] == pattern(bytes - 1));
    CHECK(worker_threads() <= before);
    co_await sending.join();
  });
}

/// Plain blocking sockets of the test, so that the peer needs nothing of the shard.
struct plain_clients {
  std::vector<int> all;
  ~plain_clients() {
    for (int fd : all) ::close(fd);
  }
  void connect(const weir::endpoint& to) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    all.push_back(fd);
    weir::detail::kernel::socket_address address(to);
    REQUIRE(::connect(fd, address.data(), address.size) == 0);
  }
};

TEST_CASE("bytes_that_came_in_time_are_read_however_long_the_shard_computed") {
  if (!allowed()) return;
  for (auto& form : shapes()) {
    world w(form);
    w.run([&](shard& s) -> task<> {
      auto listener = s.listen({"127.0.0.1", 0});
      plain_clients clients;
      std::size_t served = 0, late = 0;
      weir::scope reading(s);
      std::vector<tcp_stream> streams;
      for (int i = 0; i < 400; ++i) {
        clients.connect(listener.local_endpoint());
        auto peer = co_await listener.accept();
        streams.push_back(std::move(*peer));
      }
      for (auto& each : streams)
        reading.spawn([](tcp_stream& stream, std::size_t& good, std::size_t& bad) -> task<> {
          std::array<std::byte, 1> byte;
          auto got = co_await stream.read_some(byte).timeout(500ms).nothrow();
          ++(got.n == 1 ? good : bad);
        }(each, served, late));
      co_await weir::yield();
      const auto until = std::chrono::steady_clock::now() + 600ms;
      for (int fd : clients.all) (void)::send(fd, "x", 1, MSG_NOSIGNAL);
      while (std::chrono::steady_clock::now() < until) {
      }
      co_await reading.join();
      CHECK(served == 400);
      CHECK(late == 0);
    });
  }
}

TEST_CASE("a_writer_that_comes_right_back_needs_no_turn_for_each_write") {
  if (!allowed()) return;
  world w;
  w.run([&](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    const auto before = s.counters().turns;
    for (int i = 0; i < 2000; ++i) co_await p.client.write_all("message");
    CHECK(s.counters().turns - before <= 20);
    std::string got(14000, ' ');
    co_await p.server.read_exactly(std::as_writable_bytes(std::span(got)));
    CHECK(got.substr(7, 14) == "messagemessage");
  });
}

TEST_CASE("a_gathered_write_of_many_parts_goes_on_without_a_turn_for_each_batch") {
  if (!allowed()) return;
  world w;
  w.run([&](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    std::vector<std::span<const std::byte>> parts(1000, std::as_bytes(std::span("0123456", 7)));
    const auto before = s.counters().turns;
    co_await p.client.write_all(parts);
    CHECK(s.counters().turns - before <= 4);
    std::string got(7000, ' ');
    co_await p.server.read_exactly(std::as_writable_bytes(std::span(got)));
    CHECK(got.substr(6993) == "0123456");
  });
}

TEST_CASE("a_request_that_was_not_submitted_does_not_outlive_its_listener") {
  if (!allowed()) return;
  for (auto& form : shapes()) {
    world w(form);
    w.run([](shard& s) -> task<> {
      plain_clients clients;
      tcp_listener first = s.listen({"127.0.0.1", 0}), next;
      weir::scope both(s);
      both.spawn([](tcp_listener& l) -> task<> {
        auto peer = co_await l.accept().nothrow();
        CHECK(peer.error() == weir::error::closed);
      }(first));
      // In the same turn: the next one has the descriptor's number, and a connection that waits.
      both.spawn(
          [](shard& here, tcp_listener& old, tcp_listener& fresh, plain_clients& all) -> task<> {
            old.close();
            fresh = here.listen({"127.0.0.1", 0});
            all.connect(fresh.local_endpoint());
            co_return;
          }(s, first, next, clients));
      co_await both.join();
      auto peer = co_await next.accept().timeout(10s);
      co_await peer->write_all("x");
      char byte = 0;
      CHECK(::recv(clients.all.back(), &byte, 1, 0) == 1);
    });
  }
}

namespace {

task<> read_until_cancelled(tcp_stream& from) {
  std::array<std::byte, 64> buffer;
  auto got = co_await from.read_some(buffer).nothrow();
  CHECK(got.ec == std::errc::operation_canceled);
}

task<> lend_until_cancelled(tcp_stream& from) {
  auto got = co_await from.receive().nothrow();
  REQUIRE_FALSE(got.has_value());
  CHECK(got.error() == std::errc::operation_canceled);
}

task<> write_until_cancelled(tcp_stream& to) {
  const std::vector<std::byte> much(16 << 20, std::byte{1});
  auto got = co_await to.write_all(much).nothrow();
  CHECK(got.ec == std::errc::operation_canceled);
}

/// Gives the stream up in the turn in which `work` on it began, opens a connection, which gets the
/// descriptor's number where that is free, and says whether its first byte is its own.
template <class Work>
task<> give_up_and_connect(shard& s, Work work) {
  pair old, fresh;
  co_await make_pair(s, old);
  auto listener = s.listen({"127.0.0.1", 0});
  weir::scope doing(s), others(s);
  doing.spawn(work(old.server));
  others.spawn([](weir::scope& all, pair& gone, pair& made, tcp_listener& from) -> task<> {
    all.cancel();
    co_await all.join();
    gone.server.abort();
    made.client = co_await weir::connect(from.local_endpoint());
  }(doing, old, fresh, listener));
  fresh.server = std::move(*co_await listener.accept());
  co_await others.join();
  std::array<std::byte, 2> got{};
  co_await fresh.client.write_all("ab");
  co_await fresh.server.read_exactly(got).timeout(10s);
  CHECK(got == std::array{std::byte{'a'}, std::byte{'b'}});
  co_await fresh.server.write_all("cd");
  co_await fresh.client.read_exactly(got).timeout(10s);
  CHECK(got == std::array{std::byte{'c'}, std::byte{'d'}});
}

}  // namespace

TEST_CASE("a_request_that_was_not_submitted_does_not_outlive_its_stream") {
  if (!allowed()) return;
  for (auto& form : shapes()) {
    world w(form);
    w.run([](shard& s) -> task<> {
      co_await give_up_and_connect(s, read_until_cancelled);
      co_await give_up_and_connect(s, lend_until_cancelled);
      co_await give_up_and_connect(s, write_until_cancelled);
    });
  }
}

TEST_CASE("an_attempt_that_was_not_submitted_connects_nobody_else_s_socket") {
  if (!allowed()) return;
  for (auto& form : shapes()) {
    world w(form);
    w.run([](shard& s) -> task<> {
      auto wrong = s.listen({"127.0.0.1", 0}), right = s.listen({"127.0.0.1", 0});
      weir::scope trying(s);
      trying.spawn([](weir::endpoint to) -> task<> {
        auto made = co_await weir::connect(to).nothrow();
        if (made) CHECK(made->remote_endpoint() == to);  // the kernel may have been faster
      }(wrong.local_endpoint()));
      tcp_stream made;
      weir::scope others(s);
      others.spawn([](weir::scope& all, tcp_stream& into, tcp_listener& to) -> task<> {
        all.cancel();
        into = co_await weir::connect(to.local_endpoint());
      }(trying, made, right));
      co_await others.join();
      CHECK(made.remote_endpoint() == right.local_endpoint());
      auto peer = co_await right.accept().timeout(10s);
      REQUIRE(peer);
      CHECK(peer->remote_endpoint() == made.local_endpoint());
      co_await trying.join();
    });
  }
}

TEST_CASE("a_datagram_s_request_that_was_not_submitted_does_not_outlive_its_socket") {
  if (!allowed()) return;
  for (auto& form : shapes()) {
    world w(form);
    w.run([](shard& s) -> task<> {
      auto old = s.bind_udp({"127.0.0.1", 0});
      const auto where = old.local_endpoint();
      weir::scope receiving(s);
      receiving.spawn([](weir::udp_socket& from) -> task<> {
        std::array<std::byte, 64> buffer;
        auto got = co_await from.receive_from(buffer).nothrow();
        CHECK(got.ec == std::errc::operation_canceled);
      }(old));
      weir::udp_socket fresh;
      weir::scope others(s);
      others.spawn([](shard& on, weir::scope& all, weir::udp_socket& from,
                      weir::udp_socket& into) -> task<> {
        all.cancel();
        co_await all.join();
        const auto at = from.local_endpoint();
        from.close();
        into = on.bind_udp(at);
      }(s, receiving, old, fresh));
      co_await others.join();
      auto sender = s.connect_udp(where);
      co_await sender.send("ab");
      std::array<std::byte, 64> buffer;
      auto got = co_await fresh.receive_from(buffer).timeout(10s);
      CHECK(got.n == 2);
      CHECK(got.from == sender.local_endpoint());
    });
  }
}
