// Kernel sockets through Asio: streams, listeners, connecting, cancelling, running out of
// descriptors, shutting down.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "asio_world.hpp"
#include "runtime/transport/kernel/kernel_socket.hpp"
#include "unit/descriptor_shortage.hpp"

using namespace std::chrono_literals;
using asio_test::world;
using weir::shard;
using weir::task;
using weir::tcp_listener;
using weir::tcp_stream;

namespace {

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

/// A byte that depends on its place, so that what is lost, doubled or swapped shows.
std::byte pattern(std::size_t i) { return static_cast<std::byte>((i * 2654435761u) >> 13); }

struct pair {
  tcp_stream client;
  tcp_stream server;
};

task<> connect_to(weir::endpoint where, tcp_stream& into) { into = co_await weir::connect(where); }

task<> make_pair(shard& s, pair& into) {
  auto listener = s.listen({"127.0.0.1", 0});
  co_await weir::when_all(connect_to(listener.local_endpoint(), into.client),
                          [](tcp_listener& l, tcp_stream& out) -> task<> {
                            auto peer = co_await l.accept();
                            out = std::move(*peer);
                          }(listener, into.server));
}

task<> receive_into(tcp_stream& from, std::size_t& size) {
  auto lent = co_await from.receive();
  size = lent.size();
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

/// A listening socket that nobody accepts from, with a full queue: connecting to it hangs.
class deaf_listener {
 public:
  deaf_listener() {
    fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(fd_, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0);
    REQUIRE(::listen(fd_, 0) == 0);
    socklen_t size = sizeof a;
    REQUIRE(::getsockname(fd_, reinterpret_cast<sockaddr*>(&a), &size) == 0);
    where_ = {weir::ip_address::loopback_v4(), ntohs(a.sin_port)};
    filler_ = ::socket(AF_INET, SOCK_STREAM, 0);
    REQUIRE(::connect(filler_, reinterpret_cast<sockaddr*>(&a), sizeof a) == 0);
  }
  ~deaf_listener() {
    ::close(filler_);
    ::close(fd_);
  }
  weir::endpoint where() const { return where_; }

 private:
  int fd_ = -1, filler_ = -1;
  weir::endpoint where_;
};

}  // namespace

TEST_CASE("echo_comes_back") {
  world w;
  w.run([](shard& s) -> task<> {
    auto listener = s.listen({"127.0.0.1", 0});
    weir::scope sessions(s);
    weir::scope acceptors(s);
    acceptors.spawn(serve_echo(listener, sessions));
    auto peer = co_await weir::connect(listener.local_endpoint());
    CHECK(peer.remote_endpoint() == listener.local_endpoint());
    co_await peer.write_all("hello");
    std::array<std::byte, 5> back;
    auto n = co_await peer.read_exactly(back);
    CHECK(n == 5);
    CHECK(std::ranges::equal(back, bytes("hello")));
    peer.close();
    s.request_stop();
    co_await acceptors.join();
    co_await sessions.join();
  });
}

TEST_CASE("echo_over_ipv6") {
  world w;
  w.run([](shard& s) -> task<> {
    auto listener = s.try_listen({"::1", 0});
    if (!listener) {
      std::printf("SKIPPED: no IPv6 on the loopback interface: %s\n",
                  listener.error().message().c_str());
      co_return;
    }
    tcp_stream client;
    co_await weir::when_all(
        connect_to(listener->local_endpoint(), client),
        [](tcp_listener& l) -> task<> {
          auto peer = co_await l.accept();
          CHECK(peer->remote_endpoint().address.is_v6());
          co_await echo(std::move(*peer));
        }(*listener),
        [](tcp_stream& c) -> task<> {
          while (!c) co_await weir::yield();
          co_await c.write_all("six");
          c.shutdown_send();
          std::array<std::byte, 8> back;
          auto n = co_await c.read_some(back);
          CHECK(n == 3);
        }(client));
  });
}

TEST_CASE("ten_mebibytes_pass_both_ways_at_once_byte_for_byte") {
  world w;
  w.run([](shard& s) -> task<> {
    constexpr std::size_t total = 10 << 20;
    pair p;
    co_await make_pair(s, p);
    auto [a, b, got_at_server, got_at_client] = co_await weir::when_all(
        send_pattern(p.client, total, 65536), send_pattern(p.server, total, 10'007),
        expect_pattern(p.server, 3'001), expect_pattern_lent(p.client));
    CHECK(got_at_server == total);
    CHECK(got_at_client == total);
  });
  CHECK(w.transport().lending().lent() == 0);
  const auto& counted = w.transport().counters();
  CHECK(counted.connected == 1);
  CHECK(counted.accepted == 1);
  CHECK(counted.bytes_sent == 20 << 20);
  CHECK(counted.bytes_received == 20 << 20);
}

TEST_CASE("gathered_write_of_many_parts_is_one_write") {
  world w;
  w.run([](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    // More parts than one sendmsg(2) takes here, empty ones among them, more bytes than the socket
    // takes at once.
    std::vector<std::byte> data(6 << 20);
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = pattern(i);
    std::vector<std::span<const std::byte>> parts;
    for (std::size_t at = 0, step = 1; at < data.size(); step = step * 5 % 70'001 + 1) {
      auto n = std::min(step, data.size() - at);
      parts.push_back(std::span(data).subspan(at, n));
      if (parts.size() % 7 == 0) parts.push_back({});
      at += n;
    }
    auto write = [](tcp_stream& to,
                    std::span<const std::span<const std::byte>> what) -> task<std::size_t> {
      auto n = co_await to.write_all(what);
      to.shutdown_send();
      co_return n;
    };
    auto [written, got] =
        co_await weir::when_all(write(p.client, parts), expect_pattern(p.server, 50'000));
    CHECK(written == data.size());
    CHECK(got == data.size());
  });
}

TEST_CASE("overlapping_writes_are_carried_out_whole_and_in_order") {
  world w;
  w.run([](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    constexpr std::size_t size = 3 << 20;
    weir::scope writers(s);
    for (char letter : {'a', 'b', 'c'})
      writers.spawn([](tcp_stream& to, char c) -> task<> {
        std::string text(size, c);
        co_await to.write_all(text);
      }(p.client, letter));
    std::vector<std::byte> got(3 * size);
    auto n = co_await p.server.read_exactly(got);
    CHECK(n == got.size());
    co_await writers.join();
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < got.size(); ++i)
      wrong += got[i] != static_cast<std::byte>('a' + i / size);
    CHECK(wrong == 0);
  });
}

TEST_CASE("write_some_writes_what_the_socket_takes") {
  world w;
  w.run([](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    std::vector<std::byte> much(32 << 20);
    auto first = co_await p.client.write_some(much);
    CHECK(first > 0);
    CHECK(first < much.size());
  });
}

TEST_CASE("half_close_ends_one_direction_only") {
  world w;
  w.run([](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    co_await p.client.write_all("request");
    p.client.shutdown_send();
    std::array<std::byte, 64> buffer;
    auto n = co_await p.server.read_exactly(std::span(buffer).first(7));
    CHECK(n == 7);
    auto end = co_await p.server.read_some(buffer);
    CHECK(end == 0);
    auto again = co_await p.server.read_some(buffer);
    CHECK(again == 0);
    co_await p.server.write_all("answer");
    auto back = co_await p.client.read_some(buffer);
    CHECK(back == 6);
    auto refused = co_await p.client.write_all("more").nothrow();
    CHECK(refused.ec == std::errc::broken_pipe);
  });
}

TEST_CASE("half_close_waits_for_writes_that_are_under_way") {
  world w;
  w.run([](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    constexpr std::size_t size = 12 << 20;
    weir::scope writers(s);
    writers.spawn([](tcp_stream& to) -> task<> {
      std::string text(size, 'x');
      co_await to.write_all(text);
    }(p.client));
    co_await weir::yield();
    p.client.shutdown_send();
    std::vector<std::byte> got(size);
    auto n = co_await p.server.read_exactly(got);
    CHECK(n == size);
    auto end = co_await p.server.read_some(got);
    CHECK(end == 0);
    co_await writers.join();
  });
}

TEST_CASE("read_exactly_tells_how_far_it_got_when_the_stream_ends") {
  world w;
  w.run([](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    co_await p.client.write_all("abc");
    p.client.close();
    std::array<std::byte, 8> buffer;
    auto got = co_await p.server.read_exactly(buffer).nothrow();
    CHECK(got.ec == weir::error::end_of_stream);
    CHECK(got.n == 3);
    // One byte is no exception.
    auto one = co_await p.server.read_exactly(std::span(buffer).first(1)).nothrow();
    CHECK(one.ec == weir::error::end_of_stream);
    auto some = co_await p.server.read_some(std::span(buffer).first(1)).nothrow();
    CHECK(!some.ec);
    CHECK(some.n == 0);
  });
}

TEST_CASE("read_exactly_waits_for_its_last_byte") {
  world w;
  w.run([](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    weir::scope writers(s);
    writers.spawn([](tcp_stream& to) -> task<> {
      for (int i = 0; i < 8; ++i) {
        co_await to.write_all("x");
        for (int turn = 0; turn < 3; ++turn) co_await weir::yield();
      }
    }(p.client));
    std::array<std::byte, 8> buffer;
    auto got = co_await p.server.read_exactly(buffer);
    CHECK(got == 8);
    co_await writers.join();
  });
}

TEST_CASE("abort_is_a_reset_to_the_peer") {
  world w;
  w.run([](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    p.client.abort();
    std::array<std::byte, 8> buffer;
    auto got = co_await p.server.read_some(buffer).nothrow();
    CHECK(got.ec == std::errc::connection_reset);
  });
}

TEST_CASE("close_delivers_what_was_written") {
  world w;
  w.run([](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    std::string text(100'000, 'x');
    co_await p.client.write_all(text);
    p.client.close();
    std::vector<std::byte> got(text.size());
    auto n = co_await p.server.read_exactly(got);
    CHECK(n == text.size());
    auto end = co_await p.server.read_some(got);
    CHECK(end == 0);
  });
}

TEST_CASE("close_with_unread_data_is_a_reset") {
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

TEST_CASE("write_to_a_reset_connection_fails_with_broken_pipe_or_reset") {
  world w;
  w.run([](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    p.server.abort();
    std::error_code ec;
    while (!ec) {
      auto done = co_await p.client.write_all("x").nothrow();
      ec = done.ec;
    }
    bool expected = ec == std::errc::broken_pipe || ec == std::errc::connection_reset;
    CHECK(expected);
  });
}

TEST_CASE("read_times_out_and_the_stream_lives_on") {
  world w;
  w.run([](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    std::array<std::byte, 8> buffer;
    for (int i = 0; i < 3; ++i) {
      auto late = co_await p.server.read_some(buffer).nothrow().timeout(1ms);
      CHECK(late.ec == std::errc::timed_out);
      CHECK(late.n == 0);
    }
    co_await p.client.write_all("late");
    auto got = co_await p.server.read_some(buffer);
    CHECK(got == 4);
    auto lent = co_await p.server.receive().nothrow().timeout(1ms);
    CHECK(lent.error() == std::errc::timed_out);
    co_await p.client.write_all("later");
    auto chunk = co_await p.server.receive();
    CHECK(chunk.size() == 5);
  });
}

TEST_CASE("write_times_out_when_the_peer_does_not_read_and_tells_how_far_it_got") {
  world w;
  w.run([](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    std::vector<std::byte> much(64 << 20);
    auto stuck = co_await p.client.write_all(much).nothrow().timeout(5ms);
    CHECK(stuck.ec == std::errc::timed_out);
    CHECK(stuck.n > 0);
    CHECK(stuck.n < much.size());
    // What it says was sent is what arrives.
    weir::scope readers(s);
    std::size_t received = 0;
    readers.spawn([](tcp_stream& from, std::size_t& total) -> task<> {
      std::vector<std::byte> buffer(1 << 20);
      for (;;) {
        auto n = co_await from.read_some(buffer);
        if (n == 0) break;
        total += n;
      }
    }(p.server, received));
    p.client.close();
    co_await readers.join();
    CHECK(received == stuck.n);
  });
}

TEST_CASE("write_that_waits_behind_another_can_be_cancelled_alone") {
  world w;
  w.run([](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    constexpr std::size_t size = 24 << 20;
    weir::scope writers(s);
    writers.spawn([](tcp_stream& to) -> task<> {
      std::string text(size, 'a');
      co_await to.write_all(text);
    }(p.client));
    co_await weir::yield();
    auto behind = co_await p.client.write_all("b").nothrow().timeout(1ms);
    CHECK(behind.ec == std::errc::timed_out);
    CHECK(behind.n == 0);
    writers.spawn([](tcp_stream& to) -> task<> { co_await to.write_all("c"); }(p.client));
    std::vector<std::byte> got(size + 1);
    auto n = co_await p.server.read_exactly(got);
    CHECK(n == got.size());
    CHECK(got.back() == std::byte{'c'});
    co_await writers.join();
  });
}

TEST_CASE("cancelled_read_leaves_nothing_behind") {
  world w;
  w.run([](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    weir::scope readers(s);
    std::error_code seen;
    readers.spawn([](tcp_stream& from, std::error_code& ec) -> task<> {
      std::array<std::byte, 8> buffer;
      auto got = co_await from.read_some(buffer).nothrow();
      ec = got.ec;
    }(p.server, seen));
    co_await weir::yield();
    co_await weir::yield();
    readers.cancel();
    co_await readers.join();
    CHECK(seen == std::errc::operation_canceled);
    // The stream is usable, and may also go at once while Asio still holds the wait.
    p.server.close();
  });
  CHECK(w.transport().closing() == 0);
}

TEST_CASE("second_read_at_the_same_time_is_refused") {
  world w;
  w.run([](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    weir::scope readers(s);
    readers.spawn([](tcp_stream& from) -> task<> {
      std::array<std::byte, 8> buffer;
      auto n = co_await from.read_some(buffer);
      CHECK(n == 1);
    }(p.server));
    co_await weir::yield();
    std::array<std::byte, 8> buffer;
    auto refused = co_await p.server.read_some(buffer).nothrow();
    CHECK(refused.ec == std::errc::device_or_resource_busy);
    co_await p.client.write_all("x");
    co_await readers.join();
  });
}

TEST_CASE("connect_to_a_closed_port_is_refused") {
  world w;
  w.run([](shard& s) -> task<> {
    weir::endpoint gone;
    {
      auto listener = s.listen({"127.0.0.1", 0});
      gone = listener.local_endpoint();
    }
    auto got = co_await weir::connect(gone).nothrow();
    REQUIRE(!got);
    CHECK(got.error() == std::errc::connection_refused);
    bool thrown = false;
    try {
      co_await weir::connect(gone);
    } catch (const weir::io_error& e) {
      thrown = e.code() == std::errc::connection_refused;
    }
    CHECK(thrown);
  });
}

TEST_CASE("connect_times_out_and_can_be_cancelled") {
  world w;
  deaf_listener deaf;
  w.run([&](shard& s) -> task<> {
    auto got = co_await weir::connect(deaf.where()).nothrow().timeout(2ms);
    REQUIRE(!got);
    CHECK(got.error() == std::errc::timed_out);
    weir::scope attempts(s);
    std::error_code seen;
    attempts.spawn([](weir::endpoint to, std::error_code& ec) -> task<> {
      auto attempt = co_await weir::connect(to).nothrow();
      ec = attempt.error();
    }(deaf.where(), seen));
    co_await weir::yield();
    co_await weir::yield();
    attempts.cancel();
    co_await attempts.join();
    CHECK(seen == std::errc::operation_canceled);
  });
}

TEST_CASE("connect_to_no_address_is_an_error") {
  world w;
  w.run([](shard&) -> task<> {
    auto any = co_await weir::connect({"0.0.0.0", 80}).nothrow();
    CHECK(any.error() == std::errc::address_not_available);
    auto no_port = co_await weir::connect({"127.0.0.1", 0}).nothrow();
    CHECK(no_port.error() == std::errc::address_not_available);
  });
}

TEST_CASE("connect_binds_to_the_local_endpoint_that_was_asked_for") {
  world w;
  w.run([](shard& s) -> task<> {
    auto listener = s.listen({"127.0.0.1", 0});
    weir::connect_options options;
    options.local = {"127.0.0.9", 0};
    auto peer = co_await weir::connect(listener.local_endpoint(), options);
    CHECK(peer.local_endpoint().address == *weir::ip_address::parse("127.0.0.9"));
    auto accepted = co_await listener.accept();
    CHECK(accepted->remote_endpoint() == peer.local_endpoint());
    CHECK(accepted->local_endpoint() == listener.local_endpoint());
    options.local = {"198.51.100.1", 0};
    auto strange = co_await weir::connect(listener.local_endpoint(), options).nothrow();
    CHECK(strange.error() == std::errc::address_not_available);
  });
}

TEST_CASE("listening_twice_on_one_port_is_refused_and_works_again_after_the_first_is_gone") {
  world w;
  w.run([](shard& s) -> task<> {
    auto first = s.listen({"127.0.0.1", 0});
    auto where = first.local_endpoint();
    auto second = s.try_listen(where);
    REQUIRE(!second);
    CHECK(second.error() == std::errc::address_in_use);
    // A connection that lives on, or waits in TIME_WAIT, does not keep the port.
    auto peer = co_await weir::connect(where);
    auto accepted = co_await first.accept();
    accepted->close();
    first.close();
    auto third = s.try_listen(where);
    CHECK(third.has_value());
  });
}

TEST_CASE("many_acceptors_are_served_in_order_and_may_leave") {
  world w;
  w.run([](shard& s) -> task<> {
    auto listener = s.listen({"127.0.0.1", 0});
    std::vector<int> order;
    weir::scope acceptors(s);
    auto acceptor = [](tcp_listener& l, int me, std::vector<int>& out) -> task<> {
      auto peer = co_await l.accept();
      if (peer) out.push_back(me);
    };
    acceptors.spawn(acceptor(listener, 1, order));
    co_await weir::yield();
    auto late = co_await listener.accept().nothrow().timeout(1ms);
    CHECK(late.error() == std::errc::timed_out);
    acceptors.spawn(acceptor(listener, 2, order));
    acceptors.spawn(acceptor(listener, 3, order));
    co_await weir::yield();
    auto a = co_await weir::connect(listener.local_endpoint());
    auto b = co_await weir::connect(listener.local_endpoint());
    while (order.size() < 2) co_await weir::sleep_for(100us);
    CHECK(order == std::vector<int>{1, 2});
    s.request_stop();
    co_await acceptors.join();
    CHECK(order.size() == 2);
  });
}

TEST_CASE("listener_that_closes_ends_a_waiting_accept") {
  world w;
  w.run([](shard& s) -> task<> {
    auto listener = s.listen({"127.0.0.1", 0});
    weir::scope acceptors(s);
    std::error_code seen;
    acceptors.spawn([](tcp_listener& l, std::error_code& ec) -> task<> {
      auto got = co_await l.accept().nothrow();
      ec = got.error();
    }(listener, seen));
    co_await weir::yield();
    listener.close();
    co_await acceptors.join();
    CHECK(seen == weir::error::closed);
  });
}

TEST_CASE("accept_waits_out_a_lack_of_descriptors") {
  world w;
  w.run([&](shard& s) -> task<> {
    auto listener = s.listen({"127.0.0.1", 0});
    auto waiting = co_await weir::connect(listener.local_endpoint());
    unit_test::no_more_descriptors tight;
    auto none = co_await weir::connect(listener.local_endpoint()).nothrow();
    CHECK(none.error() == std::errc::too_many_files_open);
    auto late = co_await listener.accept().nothrow().timeout(120ms);
    CHECK(late.error() == std::errc::timed_out);
    CHECK(w.transport().counters().accept_exhausted >= 2);
    // A descriptor becomes free: the connection that waited is taken.
    weir::scope others(s);
    others.spawn([](tcp_stream stream) -> task<> {
      co_await weir::yield();
      stream.close();
    }(std::move(waiting)));
    auto peer = co_await listener.accept().timeout(10s);
    CHECK(peer.has_value());
    co_await others.join();
  });
}

TEST_CASE("a_descriptor_that_becomes_free_wakes_an_acceptor_at_once") {
  unit_test::what_is_closed_wakes_an_acceptor_at_once<world>();
}

TEST_CASE("listener_goes_while_it_waits_for_a_descriptor") {
  world w;
  w.run([&](shard& s) -> task<> {
    auto listener = s.listen({"127.0.0.1", 0});
    auto waiting = co_await weir::connect(listener.local_endpoint());
    unit_test::no_more_descriptors tight;
    auto late = co_await listener.accept().nothrow().timeout(1ms);
    CHECK(late.error() == std::errc::timed_out);
    listener.close();
  });
  CHECK(w.transport().next_deadline().is_never());
}

TEST_CASE("receive_waits_when_every_buffer_is_lent") {
  world w;
  w.run([&](shard& s) -> task<> {
    constexpr auto limit = std::size_t{64};
    pair p;
    co_await make_pair(s, p);
    std::vector<weir::lent_buffer> held;
    for (std::size_t i = 0; i < limit; ++i) {
      co_await p.client.write_all("x");
      held.push_back(co_await p.server.receive());
    }
    CHECK(w.transport().lending().lent() == limit);
    co_await p.client.write_all("y");
    auto starved = co_await p.server.receive().nothrow().timeout(1ms);
    CHECK(starved.error() == std::errc::timed_out);
    CHECK(w.transport().lending().starved() == 1);
    weir::scope others(s);
    others.spawn([](std::vector<weir::lent_buffer>& all) -> task<> {
      co_await weir::yield();
      all.pop_back();
    }(held));
    auto served = co_await p.server.receive();
    CHECK(served.size() == 1);
    CHECK(served.bytes()[0] == std::byte{'y'});
    CHECK(w.transport().lending().starved() == 2);
    co_await others.join();
    // A lent buffer outlives its stream.
    p.server.close();
    p.client.close();
    CHECK(held.front().bytes()[0] == std::byte{'x'});
  });
  CHECK(w.transport().lending().lent() == 0);
}

TEST_CASE("a_lending_reader_that_gave_up_and_closed_leaves_the_next_buffer_to_others") {
  world w;
  w.run([&](shard& s) -> task<> {
    pair first, second;
    co_await make_pair(s, first);
    co_await make_pair(s, second);
    std::vector<weir::lent_buffer> held;
    for (int i = 0; i < 64; ++i) {
      co_await first.client.write_all("x");
      held.push_back(co_await first.server.receive());
    }
    co_await first.client.write_all("y");
    co_await second.client.write_all("z");
    weir::scope leaves(s), stays(s);
    std::size_t unused = 0, got = 0;
    const auto& lending = w.transport().lending();
    leaves.spawn(receive_into(first.server, unused));
    while (lending.starved() < 1) co_await weir::yield();
    stays.spawn(receive_into(second.server, got));
    while (lending.starved() < 2) co_await weir::yield();
    co_await leaves.drain(0s);
    CHECK(unused == 0);
    first.server.close();
    held.pop_back();
    co_await stays.join();
    CHECK(got == 1);
  });
}

namespace {

task<> note_first_byte(tcp_stream peer, int& seen) {
  std::array<std::byte, 1> one;
  auto n = co_await peer.read_some(one);
  seen += static_cast<int>(n);
}

task<> accept_readers(tcp_listener& listener, weir::scope& readers, int count, int& seen) {
  for (int i = 0; i < count; ++i) {
    auto peer = co_await listener.accept();
    readers.spawn(note_first_byte(std::move(*peer), seen));
  }
}

task<> yield_until(bool& over) {
  while (!over) co_await weir::yield();
}

/// Two sockets that throw a datagram to and fro, which is always there already.
task<> play_until(shard& s, bool& over) {
  auto left = s.bind_udp({"127.0.0.1", 0});
  auto right = s.connect_udp(left.local_endpoint());
  std::array<std::byte, 16> ball{};
  while (!over) {
    co_await right.send(ball);
    auto got = co_await left.receive_from(ball);
    co_await left.send_to(ball, got.from);
    co_await right.receive(ball);
  }
}

/// Connected without the shard's help. What it sent has arrived once the kernel has no
/// unacknowledged byte.
struct raw_client {
  explicit raw_client(const weir::endpoint& to) : fd(::socket(AF_INET, SOCK_STREAM, 0)) {
    weir::detail::kernel::socket_address address(to);
    REQUIRE(::connect(fd.get(), address.data(), address.size) == 0);
  }
  void send_one() { REQUIRE(::send(fd.get(), "x", 1, MSG_NOSIGNAL) == 1); }
  void wait_until_arrived() {
    for (int unacknowledged = 1; unacknowledged != 0; std::this_thread::yield())
      REQUIRE(::ioctl(fd.get(), SIOCOUTQ, &unacknowledged) == 0);
  }
  weir::detail::kernel::unique_fd fd;
};

/// In how many turns of the shard all of 32 waiting connections are served, beside what never
/// waits.
std::uint64_t turns_to_serve_all_beside(std::function<task<>(shard&, bool& over)> busy) {
  constexpr int count = 32;
  std::uint64_t turns = 0;
  world w;
  w.run([&](shard& s) -> task<> {
    auto listener = s.listen({"127.0.0.1", 0});
    int seen = 0;
    weir::scope readers(s), others(s);
    others.spawn(accept_readers(listener, readers, count, seen));
    std::vector<raw_client> clients;
    for (int i = 0; i < count; ++i) clients.emplace_back(listener.local_endpoint());
    while (readers.size() < count) co_await weir::yield();
    bool over = false;
    others.spawn(busy(s, over));
    for (int i = 0; i < 8; ++i) co_await weir::yield();
    for (auto& client : clients) client.send_one();
    for (auto& client : clients) client.wait_until_arrived();
    const auto begun = s.counters().turns;
    while (seen < count) co_await weir::yield();
    turns = s.counters().turns - begun;
    over = true;
    co_await readers.join();
    co_await others.join();
  });
  return turns;
}

}  // namespace

TEST_CASE("connections_that_are_ready_are_served_at_once_however_busy_the_shard_is") {
  CHECK(turns_to_serve_all_beside([](shard&, bool& over) { return yield_until(over); }) <= 2);
  CHECK(turns_to_serve_all_beside(&play_until) <= 2);
}

namespace {

constexpr std::size_t large = 64 << 10;

/// The most that passed in one turn, counted call by call until all have passed.
struct turn_share {
  void pass(shard& s, std::size_t n) {
    if (std::exchange(turn, s.counters().turns) != s.counters().turns) in_turn = 0;
    most = std::max(most, in_turn += n);
  }
  std::uint64_t turn = 0;
  std::size_t in_turn = 0;
  std::size_t most = 0;
};

/// Lets a thread pump the peer's side meanwhile, with blocking calls.
template <class Pump, class Body>
turn_share share_of_a_turn(Pump pump, Body body) {
  turn_share seen;
  world w;
  w.run([&](shard& s) -> task<> {
    auto listener = s.listen({"127.0.0.1", 0});
    raw_client peer(listener.local_endpoint());
    auto accepted = co_await listener.accept();
    std::thread thread([&] { pump(peer.fd.get()); });
    co_await body(s, *accepted, seen);
    accepted->close();
    thread.join();
  });
  return seen;
}

}  // namespace

TEST_CASE("large_reads_that_never_wait_end_the_turn_at_a_mebibyte") {
  const auto seen = share_of_a_turn(
      [](int fd) {
        std::vector<std::byte> block(1 << 20);
        while (::send(fd, block.data(), block.size(), MSG_NOSIGNAL) > 0) {
        }
      },
      [](shard& s, tcp_stream& from, turn_share& share) -> task<> {
        std::vector<std::byte> block(large);
        for (std::size_t total = 0; total < 64 << 20;) {
          const auto n = co_await from.read_some(block);
          share.pass(s, n);
          total += n;
        }
      });
  CHECK(seen.most <= (1 << 20) + large);
}

TEST_CASE("large_writes_that_never_wait_end_the_turn_at_a_mebibyte") {
  const auto seen = share_of_a_turn(
      [](int fd) {
        std::vector<std::byte> block(1 << 20);
        while (::recv(fd, block.data(), block.size(), 0) > 0) {
        }
      },
      [](shard& s, tcp_stream& to, turn_share& share) -> task<> {
        std::vector<std::byte> block(large);
        for (std::size_t total = 0; total < 64 << 20; total += large) {
          co_await to.write_all(block);
          share.pass(s, large);
        }
      });
  CHECK(seen.most <= (1 << 20) + large);
}

TEST_CASE("large_datagrams_that_never_wait_end_the_turn_at_a_mebibyte") {
  turn_share seen;
  world w;
  w.run([&](shard& s) -> task<> {
    auto left = s.bind_udp({"127.0.0.1", 0});
    auto right = s.connect_udp(left.local_endpoint());
    std::vector<std::byte> ball(60'000);
    for (int i = 0; i < 200; ++i) {
      co_await right.send(ball);
      seen.pass(s, ball.size());
      const auto got = co_await left.receive_from(ball);
      seen.pass(s, got.n);
    }
  });
  CHECK(seen.most <= (1 << 20) + 60'000);
}

TEST_CASE("shutdown_under_load_leaves_nothing") {
  world w;
  std::size_t echoed = 0;
  w.run([&](shard& s) -> task<> {
    auto listener = s.listen({"127.0.0.1", 0});
    weir::scope sessions(s), acceptors(s), clients(s);
    acceptors.spawn(serve_echo(listener, sessions));
    for (int i = 0; i < 64; ++i)
      clients.spawn([](weir::endpoint to, std::size_t& count, int me) -> task<> {
        auto peer = co_await weir::connect(to);
        std::vector<std::byte> data(static_cast<std::size_t>(1 + me * 997));
        for (;;) {
          co_await peer.write_all(data);
          auto n = co_await peer.read_exactly(data);
          count += n;
        }
      }(listener.local_endpoint(), echoed, i));
    while (echoed < (4u << 20)) co_await weir::yield();
    sessions.cancel();
    acceptors.cancel();
    clients.cancel();
    co_await sessions.join();
    co_await acceptors.join();
    co_await clients.join();
  });
  CHECK(echoed > 0);
  CHECK(w.transport().closing() == 0);
}

TEST_CASE("a_socket_that_is_closed_is_gone_at_once") {
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
  // No turn of the driver after the end.
  w.shard().run_until([&] { return ended; });
  CHECK(w.transport().closing() == 0);
}

namespace {

/// How a round of echoes over all connections went that were there together.
struct round_cost {
  std::uint64_t calls = 0;
  std::uint64_t turns = 0;
};

/// The last of a few rounds: what a connection costs once has been paid.
round_cost cost_of_a_round(int connections) {
  round_cost out;
  world w;
  w.run([&](shard& s) -> task<> {
    auto listener = s.listen({"127.0.0.1", 0});
    weir::scope sessions(s), acceptors(s);
    acceptors.spawn(serve_echo(listener, sessions));
    std::vector<raw_client> clients;
    for (int i = 0; i < connections; ++i) clients.emplace_back(listener.local_endpoint());
    for (int round = 0; round < 4; ++round) {
      for (auto& client : clients) client.send_one();
      for (auto& client : clients) client.wait_until_arrived();
      const auto calls = s.driver().system_calls(), turns = s.counters().turns;
      for (auto& client : clients) {
        char byte;
        while (::recv(client.fd.get(), &byte, 1, MSG_DONTWAIT) != 1) co_await weir::yield();
      }
      out = {s.driver().system_calls() - calls, s.counters().turns - turns};
    }
    clients.clear();
    listener.close();
    acceptors.cancel();
    co_await acceptors.join();
    co_await sessions.join();
  });
  return out;
}

/// Reads to the end, whichever that is; a read that waits in vain would be late.
task<> read_to_the_end(tcp_stream& from, std::size_t& total, std::error_code& end) {
  std::array<std::byte, 64> buffer;
  for (;;) {
    const auto got = co_await from.read_some(buffer).timeout(20s).nothrow();
    total += got.n;
    end = got.ec;
    if (got.n == 0) co_return;
  }
}

/// What a reader hears that waits while its peer sends a byte and then ends as `how` says, all
/// before the kernel is asked again.
std::error_code end_behind_a_byte(std::function<void(raw_client&)> how, std::size_t& read) {
  std::error_code end;
  world w;
  w.run([&](shard& s) -> task<> {
    auto listener = s.listen({"127.0.0.1", 0});
    raw_client client(listener.local_endpoint());
    auto accepted = co_await listener.accept();
    weir::scope readers(s);
    readers.spawn(read_to_the_end(*accepted, read, end));
    for (int i = 0; i < 4; ++i) co_await weir::yield();
    client.send_one();
    client.wait_until_arrived();
    how(client);
    co_await readers.join();
  });
  return end;
}

}  // namespace

TEST_CASE("an_echo_is_a_receive_and_a_send_and_waiting_costs_no_call") {
  const auto cost = cost_of_a_round(32);
  CHECK(cost.calls <= 2 * 32 + cost.turns);  // each turn looks once
  CHECK(cost.turns <= 4);
}

TEST_CASE("an_end_that_comes_with_the_last_bytes_is_heard") {
  std::size_t read = 0;
  const auto end = end_behind_a_byte(
      [](raw_client& client) {
        REQUIRE(::shutdown(client.fd.get(), SHUT_WR) == 0);
        client.wait_until_arrived();
      },
      read);
  CHECK_FALSE(end);
  CHECK(read == 1);
}

TEST_CASE("a_reset_that_comes_with_the_last_bytes_is_heard") {
  std::size_t read = 0;
  const auto end = end_behind_a_byte(
      [](raw_client& client) {
        const linger at_once{1, 0};
        REQUIRE(::setsockopt(client.fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) ==
                0);
        client.fd.reset();
      },
      read);
  CHECK(end == std::errc::connection_reset);
  CHECK(read <= 1);
}

TEST_CASE("what_came_while_nobody_read_is_there_for_the_next_read") {
  world w;
  w.run([&](shard& s) -> task<> {
    auto listener = s.listen({"127.0.0.1", 0});
    raw_client client(listener.local_endpoint());
    auto accepted = co_await listener.accept();
    std::array<std::byte, 64> buffer;
    for (int i = 0; i < 3; ++i) {
      client.send_one();
      const auto first = co_await accepted->read_some(buffer).timeout(20s);
      CHECK(first == 1);
      client.send_one();
      client.wait_until_arrived();
      for (int turn = 0; turn < 4; ++turn) co_await weir::yield();  // it is told to nobody
      const auto second = co_await accepted->read_some(buffer).timeout(20s);
      CHECK(second == 1);
    }
  });
}

TEST_CASE("calls_between_two_asio_shards_wake_the_one_that_sleeps") {
  std::promise<shard*> running;
  weir::event* stop = nullptr;
  std::thread thread([&] {
    world there;
    there.run([&](shard& s) -> task<> {
      weir::event asked_to_stop;
      stop = &asked_to_stop;
      running.set_value(&s);
      co_await asked_to_stop.wait();
    });
  });
  auto& other = *running.get_future().get();
  world here;
  here.run([&](shard& s) -> task<> {
    auto served_there = [](weir::endpoint to) -> task<std::size_t> {
      auto peer = co_await weir::connect(to);
      co_await peer.write_all("across");
      std::array<std::byte, 6> back;
      auto n = co_await peer.read_exactly(back);
      co_return n;
    };
    auto listener = s.listen({"127.0.0.1", 0});
    weir::scope sessions(s), acceptors(s);
    acceptors.spawn(serve_echo(listener, sessions));
    for (int i = 0; i < 200; ++i) {
      auto n = co_await weir::submit_to(other, served_there(listener.local_endpoint()));
      REQUIRE(n == 6);
    }
    listener.close();
    acceptors.cancel();
    co_await acceptors.join();
    co_await sessions.join();
  });
  other.post([&] { stop->set(); });
  thread.join();
}

TEST_CASE("stream_options_reach_the_socket") {
  world w;
  w.run([](shard& s) -> task<> {
    pair p;
    co_await make_pair(s, p);
    weir::stream_options options;
    options.nodelay = false;
    options.keep_alive = true;
    options.cork = true;
    options.receive_buffer = 32768;
    p.server.set_options(options);
    co_await p.server.write_all("held back");
    std::array<std::byte, 32> buffer;
    auto held = co_await p.client.read_some(buffer).nothrow().timeout(5ms);
    CHECK(held.ec == std::errc::timed_out);
    weir::stream_options uncork;
    uncork.cork = false;
    p.server.set_options(uncork);
    auto n = co_await p.client.read_some(buffer);
    CHECK(n == 9);
  });
}
