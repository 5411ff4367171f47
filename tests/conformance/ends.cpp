// The end of a connection as each later use says it, and what sockets refuse: one answer on every
// back end.
#include <atomic>

#include "conformance/harness.hpp"

namespace conformance {

struct reset_is_said_by_each_later_use {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    s.signal(1);
    std::array<std::byte, 16> buffer;
    for (int i = 0; i < 3; ++i) {
      auto got = co_await stream.read_some(buffer).nothrow();
      CHECK(got.ec == std::errc::connection_reset);
      auto lent = co_await stream.receive().nothrow();
      CHECK(lent.error() == std::errc::connection_reset);
      auto wrote = co_await stream.write_all("after").nothrow();
      CHECK(wrote.ec == std::errc::connection_reset);
      CHECK(wrote.n == 0);
    }
    std::error_code error;
    stream.shutdown_send(error);
    CHECK(error == std::errc::not_connected);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(1);
    stream.abort();
  }
};
CONFORMANCE(reset_is_said_by_each_later_use);

struct reset_that_a_write_meets_first_is_said_to_reads_too {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    s.signal(1);
    co_await s.wait(2);
    std::error_code seen;
    while (!seen) {  // the reset may still be on its way
      auto wrote = co_await stream.write_all("x").nothrow();
      seen = wrote.ec;
      co_await sleep_for(1ms);
    }
    CHECK(seen == std::errc::connection_reset);
    std::array<std::byte, 16> buffer;
    auto got = co_await stream.read_some(buffer).nothrow();
    CHECK(got.ec == std::errc::connection_reset);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(1);
    stream.abort();
    s.signal(2);
  }
};
CONFORMANCE(reset_that_a_write_meets_first_is_said_to_reads_too);

struct clean_end_stays_clean_when_a_reset_follows {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    std::array<std::byte, 16> buffer;
    CHECK(co_await stream.read_some(buffer) == 0);
    s.signal(1);
    std::error_code seen;
    while (!seen) {  // the peer has gone: a write is answered by a reset
      auto wrote = co_await stream.write_all("x").nothrow();
      seen = wrote.ec;
      co_await sleep_for(1ms);
    }
    CHECK(seen == std::errc::connection_reset);
    for (int i = 0; i < 2; ++i) {
      CHECK(co_await stream.read_some(buffer) == 0);
      auto again = co_await stream.write_all("x").nothrow();
      CHECK(again.ec == std::errc::connection_reset);
    }
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    stream.shutdown_send();
    co_await s.wait(1);
  }
};
CONFORMANCE(clean_end_stays_clean_when_a_reset_follows);

struct endpoints_are_known_after_a_reset {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    const auto local = stream.local_endpoint(), remote = stream.remote_endpoint();
    CHECK(remote.port != 0);
    s.signal(1);
    std::array<std::byte, 1> byte;
    auto got = co_await stream.read_some(byte).nothrow();
    CHECK(got.ec == std::errc::connection_reset);
    CHECK(stream.remote_endpoint() == remote);
    CHECK(stream.local_endpoint() == local);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(1);
    stream.abort();
  }
};
CONFORMANCE(endpoints_are_known_after_a_reset);

/// The peer answers every probe and reads nothing: the write and the read that wait are both told,
/// the write with what went.
struct user_timeout_is_said_to_the_write_and_to_the_read {
  static task<> read_until_the_end(tcp_stream& stream, std::error_code& how) {
    std::array<std::byte, 16> buffer;
    auto got = co_await stream.read_some(buffer).nothrow();
    how = got.ec;
    CHECK(got.n == 0);
  }
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    stream.set_options({.user_timeout = 1s});
    std::error_code read_said;
    weir::scope reading(s.here);
    reading.spawn(read_until_the_end(stream, read_said));
    auto bytes = pattern(16 << 20);
    auto wrote = co_await stream.write_all(bytes).timeout(60s).nothrow();
    CHECK(wrote.ec == std::errc::timed_out);
    CHECK(wrote.n > 0);
    CHECK(wrote.n < bytes.size());
    co_await reading.join();
    CHECK(read_said == std::errc::timed_out);
    auto after = co_await stream.write_all(bytes).timeout(60s).nothrow();
    CHECK(after.ec == std::errc::timed_out);
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(99);
  }
};
CONFORMANCE(user_timeout_is_said_to_the_write_and_to_the_read);

struct write_after_shutdown_is_refused_while_another_waits {
  static task<> blocked(tcp_stream& stream, std::span<const std::byte> bytes) {
    auto wrote = co_await stream.write_all(bytes).nothrow();
    CHECK(!wrote.ec);
    CHECK(wrote.n == bytes.size());
  }
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    auto bytes = pattern(16 << 20);
    weir::scope writing(s.here);
    writing.spawn(blocked(stream, bytes));
    co_await weir::yield();
    co_await weir::yield();
    stream.shutdown_send();
    auto late = co_await stream.write_all("late").nothrow();
    CHECK(late.ec == std::errc::broken_pipe);
    CHECK(late.n == 0);
    s.signal(1);
    co_await writing.join();
    s.signal(2);
    co_await s.wait(3);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(1);
    CHECK(co_await read_pattern(stream) == 16 << 20);  // and its end comes right behind
    s.signal(3);
    co_await s.wait(2);
  }
};
CONFORMANCE(write_after_shutdown_is_refused_while_another_waits);

struct cancelling_the_last_queued_write_leaves_the_others_whole {
  static task<> write(tcp_stream& stream, std::span<const std::byte> bytes) {
    auto wrote = co_await stream.write_all(bytes).nothrow();
    CHECK(!wrote.ec);
  }
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    auto bytes = pattern(8 << 20);
    weir::scope writing(s.here);
    writing.spawn(write(stream, bytes));
    co_await weir::yield();
    auto cancelled = co_await stream.write_all("never").timeout(1ms).nothrow();
    CHECK(cancelled.ec == std::errc::timed_out);
    CHECK(cancelled.n == 0);
    auto rest = pattern(100'000, 8 << 20);
    writing.spawn(write(stream, rest));
    s.signal(1);
    co_await writing.join();
    stream.shutdown_send();
    co_await s.wait(2);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(1);
    CHECK(co_await read_pattern(stream) == (8 << 20) + 100'000);
    s.signal(2);
  }
};
CONFORMANCE(cancelling_the_last_queued_write_leaves_the_others_whole);

struct closed_listener_ends_its_accepts_as_closed {
  static task<> waits(tcp_listener& listener, std::error_code& how) {
    auto peer = co_await listener.accept().nothrow();
    how = peer.error();
  }
  static task<> subject(side& s) {
    auto listener = s.listen();
    std::error_code first, second;
    weir::scope waiting(s.here);
    waiting.spawn(waits(listener, first));
    waiting.spawn(waits(listener, second));
    co_await weir::yield();
    co_await weir::yield();
    listener.close();
    co_await waiting.join();
    CHECK(first == weir::error::closed);
    CHECK(second == weir::error::closed);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    CHECK(to.port != 0);
  }
};
CONFORMANCE(closed_listener_ends_its_accepts_as_closed);

/// A request that was not handed to the kernel yet must not go out on a descriptor that is the next
/// listener's by then.
struct listener_closed_in_the_turn_of_its_accept_leaves_the_next_alone {
  static task<> waits(tcp_listener& listener) {
    auto peer = co_await listener.accept().nothrow();
    CHECK(peer.error() == weir::error::closed);
  }
  static task<> closes(side& s, tcp_listener& listener, tcp_listener& next) {
    listener.close();
    next = s.here.listen({s.address, 0});
    co_return;
  }
  static task<> subject(side& s) {
    for (int i = 0; i < 8; ++i) {
      auto listener = s.here.listen({s.address, 0});
      tcp_listener next;
      weir::scope both(s.here);
      both.spawn(waits(listener));
      both.spawn(closes(s, listener, next));
      co_await both.join();
      s.signal(10 + i, next.local_endpoint().port);
      auto peer = co_await next.accept();
      co_await peer->write_all("served");
    }
  }
  static task<> peer(side& s) {
    for (int i = 0; i < 8; ++i) {
      const auto port = co_await s.wait(10 + i);
      auto stream = co_await weir::connect({s.other->address, static_cast<std::uint16_t>(port)});
      CHECK(co_await read_text(stream) == "served");
    }
  }
};
CONFORMANCE(listener_closed_in_the_turn_of_its_accept_leaves_the_next_alone);

struct connect_to_nobody_is_address_not_available {
  static task<> subject(side& s) {
    for (const endpoint& to : {endpoint{s.address, 0}, endpoint{weir::ip_address(), 80},
                               endpoint{weir::ip_address::v6({}), 80}}) {
      auto stream = co_await weir::connect(to).nothrow();
      CHECK(stream.error() == std::errc::address_not_available);
    }
    auto mapped = co_await weir::connect(*endpoint::parse("[::ffff:127.0.0.1]:80")).nothrow();
    CHECK(mapped.error() == std::errc::invalid_argument);
    auto listener = s.here.try_listen(*endpoint::parse("[::ffff:127.0.0.1]:0"));
    CHECK(listener.error() == std::errc::invalid_argument);
    auto socket = s.here.try_bind_udp(*endpoint::parse("[::ffff:127.0.0.1]:0"));
    CHECK((socket.error() == std::errc::invalid_argument ||
           socket.error() == std::errc::operation_not_supported));
  }
  static task<> peer(side&) { co_return; }
};
CONFORMANCE(connect_to_nobody_is_address_not_available);

struct connection_to_itself_is_refused {
  static task<> subject(side& s) {
    auto listener = s.here.listen({s.address, 0});
    const auto free = listener.local_endpoint();
    listener.close();
    auto stream = co_await weir::connect(free, {.local = free}).nothrow();
    CHECK(stream.error() == std::errc::connection_refused);
  }
  static task<> peer(side&) { co_return; }
};
CONFORMANCE(connection_to_itself_is_refused);

struct negative_time_is_no_time {
  static task<> forever(tcp_stream& stream) {
    std::array<std::byte, 1> byte;
    co_await stream.read_exactly(byte);
  }
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    std::array<std::byte, 1> byte;
    auto got = co_await stream.read_some(byte).timeout(-1s).nothrow();
    CHECK(got.ec == std::errc::timed_out);
    co_await sleep_for(-1s);
    std::error_code ended;
    try {
      co_await weir::with_timeout(-1s, forever(stream));
    } catch (const io_error& error) {
      ended = error.code();
    }
    CHECK(ended == std::errc::timed_out);
    weir::scope endless(s.here);
    endless.spawn(forever(stream));
    auto drained = co_await endless.drain(-1s);
    CHECK(drained.cancelled == 1);
    s.signal(1);
    auto unbounded = co_await stream.read_some(byte).timeout(weir::no_limit);
    CHECK(unbounded == 1);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(1);
    co_await stream.write_all("x");
  }
};
CONFORMANCE(negative_time_is_no_time);

/// However long the shard computes, and however many readers wait: what has arrived is read before
/// a deadline is judged.
struct bytes_that_came_in_time_beat_a_late_deadline {
  static constexpr std::size_t readers = 300;
  static inline std::atomic<bool> sent{false};

  static task<> read(tcp_stream stream, std::size_t& served, std::size_t& late) {
    std::array<std::byte, 1> byte;
    auto got = co_await stream.read_some(byte).timeout(1s).nothrow();
    ++(got.n == 1 ? served : late);
  }
  static task<> subject(side& s) {
    sent = false;
    auto listener = s.listen({.backlog = 512});
    std::vector<tcp_stream> streams;
    while (streams.size() < readers) streams.push_back(std::move(*co_await listener.accept()));
    std::size_t served = 0, late = 0;
    weir::scope reading(s.here);
    for (auto& stream : streams) reading.spawn(read(std::move(stream), served, late));
    co_await weir::yield();
    s.signal(1);
    if (s.backend == "sim") {
      co_await reading.join();
    } else {
      // The peer may need this thread to send; where it has its own it needs none of ours.
      const bool alone = !s.on_kernel();
      while (!alone && !sent) co_await weir::yield();
      const auto until = std::chrono::steady_clock::now() + 1200ms;
      while (!sent || std::chrono::steady_clock::now() < until) {
      }
      co_await reading.join();
    }
    CHECK(served == readers);
    CHECK(late == 0);
    s.signal(2);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    std::vector<tcp_stream> streams;
    while (streams.size() < readers) streams.push_back(co_await weir::connect(to));
    co_await s.wait(1);
    for (auto& stream : streams) co_await stream.write_all("x");
    sent = true;
    co_await s.wait(2);
  }
};
CONFORMANCE(bytes_that_came_in_time_beat_a_late_deadline);

}  // namespace conformance
