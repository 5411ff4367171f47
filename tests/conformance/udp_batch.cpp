// UDP in batches: many datagrams in a call, what their headers say beside the bytes, and pieces of
// several datagrams, on every back end.
#include "conformance/harness.hpp"

namespace conformance {

namespace {

using weir::ecn_mark;
using weir::incoming_datagram;
using weir::outgoing_datagram;
using weir::udp_socket;

udp_socket bind(side& s, weir::ip_address at, const weir::udp_options& how = {}) {
  auto socket = s.here.bind_udp({at, 0}, how);
  s.signal(port_known, socket.local_endpoint().port);
  return socket;
}

/// Room for some datagrams.
struct slots {
  explicit slots(std::size_t count, std::size_t bytes = 2048) : memory(count * bytes), all(count) {
    for (std::size_t i = 0; i < count; ++i)
      all[i].buffer = std::span(memory).subspan(i * bytes, bytes);
  }
  std::span<incoming_datagram> first(std::size_t n) { return std::span(all).first(n); }

  std::vector<std::byte> memory;
  std::vector<incoming_datagram> all;
};

outgoing_datagram to(const weir::endpoint& where, std::span<const std::byte> bytes) {
  return {.bytes = bytes, .to = where};
}

}  // namespace

struct udp_batch_brings_what_waits_in_order {
  static constexpr std::size_t count = 100;
  static task<> subject(side& s) {
    auto socket = bind(s, s.address);
    co_await s.wait(1);
    slots room(udp_socket::max_batch);
    std::size_t came = 0, calls = 0;
    while (came < count) {
      const auto n = co_await socket.receive_batch(room.all);
      REQUIRE(n >= 1);
      ++calls;
      for (const auto& one : room.first(n)) {
        ++came;
        REQUIRE(one.n == came * 7 % 1400);
        CHECK(one.size == one.n);
        CHECK(one.segment == 0);
        CHECK(one.from.address == s.other->address);
        CHECK(one.to.address == s.address);
        const auto expected = pattern(one.n, came);
        CHECK(std::equal(expected.begin(), expected.end(), one.bytes().begin()));
      }
    }
    CHECK(came == count);
    CHECK(calls < count);
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto where = co_await s.target();
    auto socket = s.here.bind_udp({s.address, 0});
    std::vector<std::vector<std::byte>> bytes;
    std::vector<outgoing_datagram> batch;
    for (std::size_t i = 1; i <= count; ++i) bytes.push_back(pattern(i * 7 % 1400, i));
    for (const auto& one : bytes) batch.push_back(to(where, one));
    const auto sent = co_await socket.send_batch(batch);
    CHECK(sent == count);
    s.signal(1);
    co_await s.wait(99);
  }
};
CONFORMANCE(udp_batch_brings_what_waits_in_order);

struct udp_ecn_marks_go_out_and_come_in {
  static constexpr std::array marks{ecn_mark::capable_0, ecn_mark::capable_1, ecn_mark::congestion,
                                    ecn_mark::not_capable};
  static task<> expect_marks(udp_socket& socket) {
    slots room(1);
    for (const auto mark : marks) {
      const auto n = co_await socket.receive_batch(room.all);
      REQUIRE(n == 1);
      CHECK(room.all[0].mark == mark);
    }
  }
  static task<> send_marks(udp_socket& socket, const weir::endpoint& where) {
    const auto bytes = pattern(100);
    std::vector<outgoing_datagram> batch;
    for (const auto mark : marks) batch.push_back({.bytes = bytes, .to = where, .mark = mark});
    const auto sent = co_await socket.send_batch(batch);
    CHECK(sent == marks.size());
  }
  static task<> subject(side& s) {
    for (const bool v6 : {false, true}) {
      auto socket = s.here.bind_udp({v6 ? s.address_v6 : s.address, 0});
      s.signal(v6 ? 2 : 1, socket.local_endpoint().port);
      co_await expect_marks(socket);
      const auto port = co_await s.wait(v6 ? 4 : 3);
      co_await send_marks(
          socket, {v6 ? s.other->address_v6 : s.other->address, static_cast<std::uint16_t>(port)});
    }
    co_await s.wait(99);
  }
  static task<> peer(side& s) {
    for (const bool v6 : {false, true}) {
      const auto port = co_await s.wait(v6 ? 2 : 1);
      auto socket = s.here.connect_udp(
          {v6 ? s.other->address_v6 : s.other->address, static_cast<std::uint16_t>(port)});
      co_await send_marks(socket, {});
      s.signal(v6 ? 4 : 3, socket.local_endpoint().port);
      co_await expect_marks(socket);
    }
    s.signal(99);
  }
};
CONFORMANCE(udp_ecn_marks_go_out_and_come_in);

struct udp_answer_leaves_from_the_address_that_was_asked {
  static task<> subject(side& s) {
    for (const bool v6 : {false, true}) {
      const auto any = v6 ? weir::ip_address::v6({}) : weir::ip_address();
      const auto own = v6 ? s.address_v6 : s.address;
      auto socket = s.here.bind_udp({any, 0}, {.allow_wildcard = true});
      s.signal(v6 ? 2 : 1, socket.local_endpoint().port);
      slots room(4);
      const auto n = co_await socket.receive_batch(room.all);
      REQUIRE(n == 1);
      const auto& asked = room.all[0];
      CHECK(asked.to.address == own);
      CHECK((asked.to.interface != 0) == s.on_kernel());
      const outgoing_datagram answer{.bytes = asked.bytes(), .to = asked.from, .from = asked.to};
      const auto sent = co_await socket.send_batch(std::span(&answer, 1));
      CHECK(sent == 1);
      auto wrong = answer;
      wrong.from = {v6 ? *weir::ip_address::parse("2001:db8::7") : weir::ip_address::v4(0xc0000207),
                    0};
      auto foreign = co_await socket.send_batch(std::span(&wrong, 1)).nothrow();
      CHECK(foreign.ec == std::errc::address_not_available);
      wrong.from = {{}, 12345};
      auto nowhere = co_await socket.send_batch(std::span(&wrong, 1)).nothrow();
      CHECK(nowhere.ec == std::errc::no_such_device);
      wrong.from = {v6 ? s.address : s.address_v6, 0};
      auto other = co_await socket.send_batch(std::span(&wrong, 1)).nothrow();
      CHECK(other.ec == std::errc::address_family_not_supported);
    }
    s.signal(99);
  }
  static task<> peer(side& s) {
    for (const bool v6 : {false, true}) {
      const auto port = co_await s.wait(v6 ? 2 : 1);
      const weir::endpoint where(v6 ? s.other->address_v6 : s.other->address,
                                 static_cast<std::uint16_t>(port));
      auto socket = s.here.bind_udp({v6 ? s.address_v6 : s.address, 0});
      const auto question = pattern(50);
      co_await socket.send_to(question, where);
      std::array<std::byte, 64> buffer;
      const auto got = co_await socket.receive_from(buffer);
      CHECK(got.n == question.size());
      CHECK(got.from == where);
    }
    co_await s.wait(99);
  }
};
CONFORMANCE(udp_answer_leaves_from_the_address_that_was_asked);

struct udp_segments_arrive_as_datagrams {
  static constexpr std::size_t segment = 1200, whole = 10 * segment + 77;
  static task<> subject(side& s) {
    auto socket = bind(s, s.address);
    std::array<std::byte, 2048> buffer;
    for (std::size_t at = 0; at < whole; at += segment) {
      const auto got = co_await socket.receive_from(buffer);
      REQUIRE(got.n == std::min(segment, whole - at));
      CHECK(buffer[0] == pattern_at(at));
      CHECK(buffer[got.n - 1] == pattern_at(at + got.n - 1));
    }
    // One that is no longer than a segment is one datagram.
    auto last = co_await socket.receive_from(buffer);
    CHECK(last.n == 5);
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto where = co_await s.target();
    auto socket = s.here.bind_udp({s.address, 0});
    const auto bytes = pattern(whole), little = pattern(5);
    const std::array batch{outgoing_datagram{.bytes = bytes, .to = where, .segment = segment},
                           outgoing_datagram{.bytes = little, .to = where, .segment = segment}};
    const auto sent = co_await socket.send_batch(batch);
    CHECK(sent == 2);
    co_await s.wait(99);
  }
};
CONFORMANCE(udp_segments_arrive_as_datagrams);

struct udp_joined_datagrams_say_where_they_are_cut {
  static constexpr std::size_t segment = 1000, count = 60;
  static task<> subject(side& s) {
    auto socket = bind(s, s.address, {.gro = true});
    std::array<std::byte, 16> buffer;
    auto plain = co_await socket.receive_from(buffer).nothrow();
    CHECK(plain.ec == std::errc::invalid_argument);
    s.signal(1);
    slots room(4, udp_socket::max_payload);
    std::size_t came = 0;
    while (came < count * segment) {
      const auto n = co_await socket.receive_batch(room.all);
      for (const auto& one : room.first(n)) {
        REQUIRE(one.size == one.n);
        CHECK((one.segment == 0 ? one.n == segment : one.segment == segment));
        const auto expected = pattern(one.n, came);
        CHECK(std::equal(expected.begin(), expected.end(), one.bytes().begin()));
        came += one.n;
      }
    }
    CHECK(came == count * segment);
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto where = co_await s.target();
    auto socket = s.here.connect_udp(where);
    co_await s.wait(1);
    const auto bytes = pattern(count * segment);
    const outgoing_datagram piece{.bytes = bytes, .segment = segment};
    const auto sent = co_await socket.send_batch(std::span(&piece, 1));
    CHECK(sent == 1);
    co_await s.wait(99);
  }
};
CONFORMANCE(udp_joined_datagrams_say_where_they_are_cut);

struct udp_batch_is_sent_up_to_one_that_cannot_be {
  static task<> subject(side& s) {
    auto where = co_await s.target();
    auto socket = s.here.bind_udp({s.address, 0});
    const auto bytes = pattern(10), much = pattern(udp_socket::max_payload_v4 + 1);
    std::array batch{to(where, bytes), to(where, bytes), to({where.address, 0}, bytes),
                     to(where, bytes)};
    auto done = co_await socket.send_batch(batch).nothrow();
    CHECK(done.ec == std::errc::invalid_argument);
    CHECK(done.n == 2);
    batch[0] = to(where, much);
    done = co_await socket.send_batch(batch).nothrow();
    CHECK(done.ec == std::errc::message_size);
    CHECK(done.n == 0);
    batch[0] = to(where, std::span(much).first(6500));
    batch[0].segment = 100;  // 65 of them
    done = co_await socket.send_batch(batch).nothrow();
    CHECK(done.ec == std::errc::message_size);
    done = co_await socket.send_batch({}).nothrow();
    CHECK(!done.ec);
    CHECK(done.n == 0);
    std::error_code thrown;
    try {
      co_await socket.send_batch(batch);
    } catch (const io_error& e) {
      thrown = e.code();
    }
    CHECK(thrown == std::errc::message_size);
    s.signal(1);
    co_await s.wait(99);
  }
  static task<> peer(side& s) {
    auto socket = bind(s, s.address);
    co_await s.wait(1);
    slots room(8);
    std::size_t came = 0;
    while (came < 2) came += co_await socket.receive_batch(room.all);
    CHECK(came == 2);
    auto more = co_await socket.receive_batch(room.all).timeout(5ms).nothrow();
    CHECK(more.ec == std::errc::timed_out);
    s.signal(99);
  }
};
CONFORMANCE(udp_batch_is_sent_up_to_one_that_cannot_be);

struct udp_batch_waits_and_may_be_given_up {
  static task<> receives(udp_socket& socket, weir::transfer& seen) {
    slots room(2);
    seen = co_await socket.receive_batch(room.all).nothrow();
  }
  static task<> subject(side& s) {
    auto socket = bind(s, s.address);
    slots room(2);
    for (int i = 0; i < 3; ++i) {
      auto late = co_await socket.receive_batch(room.all).timeout(5ms).nothrow();
      CHECK(late.ec == std::errc::timed_out);
      weir::transfer seen;
      weir::scope tasks(s.here);
      tasks.spawn(receives(socket, seen));
      co_await weir::yield();
      auto second = co_await socket.receive_batch(room.all).nothrow();
      CHECK(second.ec == std::errc::device_or_resource_busy);
      tasks.cancel();
      co_await tasks.join();
      CHECK(seen.ec == std::errc::operation_canceled);
    }
    auto nothing = co_await socket.receive_batch({}).nothrow();
    CHECK(nothing.ec == std::errc::invalid_argument);
    std::array<incoming_datagram, 1> without_room;
    nothing = co_await socket.receive_batch(without_room).nothrow();
    CHECK(nothing.ec == std::errc::invalid_argument);
    s.signal(1);
    const auto n = co_await socket.receive_batch(room.all);
    CHECK(n == 1);
    CHECK(room.all[0].n == 3);
    // A datagram that was longer than its buffer says so.
    room.all[0].buffer = room.all[0].buffer.first(10);
    s.signal(2);
    const auto cut = co_await socket.receive_batch(room.first(1));
    CHECK(cut == 1);
    CHECK(room.all[0].n == 10);
    CHECK(room.all[0].size == 500);
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto where = co_await s.target();
    auto socket = s.here.connect_udp(where);
    co_await s.wait(1);
    co_await socket.send(pattern(3));
    co_await s.wait(2);
    co_await socket.send(pattern(500));
    co_await s.wait(99);
  }
};
CONFORMANCE(udp_batch_waits_and_may_be_given_up);

struct udp_batch_of_a_connected_socket_is_its_remotes {
  static task<> subject(side& s) {
    auto socket = bind(s, s.address);
    const auto remote = co_await s.wait(1);  // all but the last were sent
    socket.connect({s.other->address, static_cast<std::uint16_t>(remote)});
    s.signal(2);
    slots room(8);
    std::size_t came = 0;
    while (came < 3) {
      const auto n = co_await socket.receive_batch(room.all);
      for (const auto& one : room.first(n)) CHECK(one.n == ++came);
    }
    CHECK(came == 3);
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto where = co_await s.target();
    auto mine = s.here.bind_udp({s.address, 0});
    auto other = s.here.bind_udp({s.address, 0});
    co_await other.send_to(pattern(99), where);
    co_await mine.send_to(pattern(1), where);
    co_await other.send_to(pattern(99), where);
    co_await mine.send_to(pattern(2), where);
    s.signal(1, mine.local_endpoint().port);
    co_await s.wait(2);
    co_await mine.send_to(pattern(3), where);
    co_await s.wait(99);
  }
};
CONFORMANCE(udp_batch_of_a_connected_socket_is_its_remotes);

struct udp_batch_ends_with_the_shard {
  static task<> subject(side& s) {
    auto socket = bind(s, s.address);
    slots room(2);
    weir::scope tasks(s.here);
    s.here.request_stop();
    const auto n = co_await socket.receive_batch(room.all);
    CHECK(n == 0);
    auto again = co_await socket.receive_batch(room.all).nothrow();
    CHECK(again.ec == weir::error::closed);
  }
  static task<> peer(side&) { co_return; }
};
CONFORMANCE(udp_batch_ends_with_the_shard);

}  // namespace conformance
