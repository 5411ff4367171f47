// Ends of connections: half-close, close, abort, and what either side sees of them.
#include "conformance/harness.hpp"
#include "runtime/backend/transport.hpp"

namespace conformance {

struct half_closed_stream_still_receives {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    stream.shutdown_send();
    CHECK(co_await read_pattern(stream) == 100'000);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    std::array<std::byte, 1> end;
    CHECK(co_await stream.read_some(end) == 0);
    co_await write_pattern(stream, 100'000);
  }
};
CONFORMANCE(half_closed_stream_still_receives);

struct answer_after_the_peer_half_closed {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    CHECK(co_await read_text(stream) == "question");
    co_await stream.write_all("answer");
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await stream.write_all("question");
    stream.shutdown_send();
    CHECK(co_await read_text(stream) == "answer");
  }
};
CONFORMANCE(answer_after_the_peer_half_closed);

namespace {

task<> read_once(tcp_stream& stream, weir::transfer& got) {
  std::array<std::byte, 100> buffer;
  got = co_await stream.read_some(buffer).nothrow();
}

}  // namespace

struct reading_that_was_shut_is_at_its_end_and_sending_goes_on {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    weir::transfer waited{{}, 1};
    weir::scope tasks(s.here);
    tasks.spawn(read_once(stream, waited));
    co_await weir::yield();
    stream.shutdown_receive();
    co_await tasks.join();
    CHECK_FALSE(waited.ec);
    CHECK(waited.n == 0);
    s.signal(1);
    co_await s.wait(2);
    std::array<std::byte, 100> buffer;
    auto n = co_await stream.read_some(buffer);
    CHECK(n == 0);
    auto lent = co_await stream.receive();
    CHECK_FALSE(lent);
    std::error_code again;
    stream.shutdown_receive(again);
    CHECK_FALSE(again);
    co_await write_pattern(stream, 100'000);
    co_await s.wait(3);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(1);
    co_await stream.write_all("nobody reads this");
    s.signal(2);
    CHECK(co_await read_pattern(stream, 100'000) == 100'000);
    s.signal(3);
  }
};
CONFORMANCE(reading_that_was_shut_is_at_its_end_and_sending_goes_on);

struct what_was_received_is_dropped_when_reading_is_shut {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    CHECK(co_await read_pattern(stream, 10) == 10);
    co_await s.wait(1);
    stream.shutdown_receive();
    auto lent = co_await stream.receive();
    CHECK_FALSE(lent);
    s.signal(2);
    co_await s.wait(3);
    std::array<std::byte, 100> buffer;
    auto got = co_await stream.read_exactly(buffer).nothrow();
    CHECK(got.ec == weir::error::end_of_stream);
    CHECK(got.n == 0);
    co_await stream.write_all("goodbye");
  }
  // On the stack as much as the peer likes is acknowledged and dropped, and the close is orderly.
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await write_pattern(stream, 50'000);
    s.signal(1);
    co_await s.wait(2);
    const bool on_kernel = s.other->on_kernel();
    co_await write_pattern(stream, on_kernel ? 1000 : 2'000'000);
    s.signal(3);
    if (!on_kernel) CHECK(co_await read_text(stream) == "goodbye");
  }
};
CONFORMANCE(what_was_received_is_dropped_when_reading_is_shut);

/// The first piece has just been read to its end, and the second waits behind it.
struct reading_is_shut_between_two_pieces {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    std::array<std::byte, 5> buffer;
    co_await stream.read_exactly(std::span(buffer).first(1));
    s.signal(1);
    co_await s.wait(2);
    co_await sleep_for(2ms);
    s.signal(3);
    co_await s.wait(4);
    co_await sleep_for(2ms);
    co_await stream.read_exactly(buffer);
    CHECK(text_of(buffer) == "first");
    stream.shutdown_receive();
    auto n = co_await stream.read_some(buffer);
    CHECK(n == 0);
    s.signal(5);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await stream.write_all("-");
    co_await s.wait(1);
    co_await stream.write_all("first");
    s.signal(2);
    co_await s.wait(3);
    co_await stream.write_all("second");
    s.signal(4);
    co_await s.wait(5);
  }
};
CONFORMANCE(reading_is_shut_between_two_pieces);

struct reading_of_a_connection_that_broke_cannot_be_shut {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    s.signal(1);
    std::array<std::byte, 1> buffer;
    auto got = co_await stream.read_some(buffer).nothrow();
    CHECK(got.ec == std::errc::connection_reset);
    std::error_code error;
    stream.shutdown_receive(error);
    CHECK(error == std::errc::not_connected);
    CHECK_THROWS_AS(stream.shutdown_receive(), io_error);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(1);
    stream.abort();
  }
};
CONFORMANCE(reading_of_a_connection_that_broke_cannot_be_shut);

struct shutdown_twice_is_harmless {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    std::error_code error;
    stream.shutdown_send(error);
    CHECK_FALSE(error);
    stream.shutdown_send(error);
    CHECK((!error || error == std::errc::not_connected));
    CHECK(co_await read_text(stream) == "");
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    CHECK(co_await read_text(stream) == "");
  }
};
CONFORMANCE(shutdown_twice_is_harmless);

struct close_delivers_what_was_written {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    auto bytes = pattern(1 << 20);
    co_await stream.write_all(bytes);
    stream.close();
    CHECK_FALSE(stream);
    co_await s.wait(1);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await sleep_for(20ms);
    CHECK(co_await read_pattern(stream) == 1 << 20);
    s.signal(1);
  }
};
CONFORMANCE(close_delivers_what_was_written);

struct close_with_unread_data_resets_the_peer {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    std::array<std::byte, 10> some;
    co_await stream.read_exactly(some);
    co_await s.wait(1);
    co_await sleep_for(5ms);  // the rest is here by now, and nobody reads it
    stream.close();
    s.signal(2);
    co_await s.wait(3);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await stream.write_all(pattern(1000));
    s.signal(1);
    co_await s.wait(2);
    std::array<std::byte, 10> buffer;
    auto got = co_await stream.read_some(buffer).timeout(10s).nothrow();
    CHECK(got.ec == std::errc::connection_reset);
    s.signal(3);
  }
};
CONFORMANCE(close_with_unread_data_resets_the_peer);

struct abort_resets_the_peer {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    co_await s.wait(1);
    stream.abort();
    CHECK_FALSE(stream);
    co_await s.wait(2);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    s.signal(1);
    std::array<std::byte, 10> buffer;
    auto got = co_await stream.read_some(buffer).timeout(10s).nothrow();
    CHECK(got.ec == std::errc::connection_reset);
    s.signal(2);
  }
};
CONFORMANCE(abort_resets_the_peer);

struct both_sides_close_at_once {
  static task<> subject(side& s) {
    auto listener = s.listen();
    for (int i = 0; i < 20; ++i) {
      auto stream = co_await listener.accept();
      REQUIRE(stream.has_value());
    }
    s.signal(1);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    for (int i = 0; i < 20; ++i) auto stream = co_await weir::connect(to);
    co_await s.wait(1);
  }
};
CONFORMANCE(both_sides_close_at_once);

struct peer_that_closes_ends_the_session {
  static task<> subject(side& s) {
    auto listener = s.listen();
    for (int i = 0; i < 20; ++i) {
      auto stream = co_await listener.accept();
      REQUIRE(stream.has_value());
      co_await stream->write_all("bye");
      CHECK(co_await read_text(*stream) == "bye");
    }
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    for (int i = 0; i < 20; ++i) {
      auto stream = co_await weir::connect(to);
      co_await stream.write_all("bye");
      stream.shutdown_send();
      CHECK(co_await read_text(stream) == "bye");
    }
  }
};
CONFORMANCE(peer_that_closes_ends_the_session);

struct moved_from_stream_is_empty {
  static task<std::string> reads(tcp_stream stream) { co_return co_await read_text(stream); }
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    auto moved = std::move(stream);
    CHECK_FALSE(stream);
    CHECK(moved);
    CHECK(co_await reads(std::move(moved)) == "moved");
    CHECK_FALSE(moved);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await stream.write_all("moved");
  }
};
CONFORMANCE(moved_from_stream_is_empty);

struct close_while_the_peer_writes_ends_its_write {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    std::array<std::byte, 1000> some;
    co_await stream.read_exactly(some);
    stream.close();
    co_await s.wait(1);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    auto bytes = pattern(64 << 20);
    auto wrote = co_await stream.write_all(bytes).timeout(20s).nothrow();
    CHECK((wrote.ec == std::errc::connection_reset || wrote.ec == std::errc::broken_pipe));
    s.signal(1);
  }
};
CONFORMANCE(close_while_the_peer_writes_ends_its_write);

struct closed_sockets_leave_nothing_behind {
  static task<> subject(side& s) {
    {
      auto listener = s.listen();
      for (int i = 0; i < 50; ++i) {
        auto stream = co_await listener.accept();
        REQUIRE(stream.has_value());
        if (i % 3 == 0) {
          stream->abort();
        } else {
          CHECK(co_await read_text(*stream) == "x");
        }
      }
    }
    s.signal(1);
    for (int i = 0; i < 2000 && s.here.transport().closing() != 0; ++i) co_await sleep_for(1ms);
    CHECK(s.here.transport().closing() == 0);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    for (int i = 0; i < 50; ++i) {
      auto stream = co_await weir::connect(to).nothrow();
      if (!stream) continue;  // the subject may have aborted already, or at any point from here on
      auto wrote = co_await stream->write_all("x").nothrow();
      if (wrote.ec) continue;
      std::error_code ignored;
      stream->shutdown_send(ignored);
      std::array<std::byte, 1> end;
      (void)co_await stream->read_some(end).nothrow();
    }
    co_await s.wait(1);
  }
};
CONFORMANCE(closed_sockets_leave_nothing_behind);

/// What a back end keeps for a connection is used again.
struct connections_know_nothing_of_those_before {
  static constexpr int rounds = 12;
  static task<> use(tcp_stream& stream, int round) {
    if (round % 3 == 0) {  // to its end
      CHECK(co_await read_pattern(stream) == 5000);
    } else if (round % 3 == 1) {  // in part: the rest is there, and unread
      CHECK(co_await read_pattern(stream, 1000) == 1000);
    } else {
      co_await write_pattern(stream, 100);
      stream.abort();
    }
  }
  static task<> subject(side& s) {
    for (int round = 0; round < rounds; ++round) {
      auto stream = co_await s.connect();
      co_await s.wait(1 + round);
      co_await use(stream, round);
    }
  }
  static task<> peer(side& s) {
    auto listener = s.listen();
    for (int round = 0; round < rounds; ++round) {
      auto stream = co_await listener.accept();
      REQUIRE(stream.has_value());
      co_await stream->write_all(pattern(5000));
      stream->shutdown_send();
      s.signal(1 + round);
      std::array<std::byte, 200> end;
      (void)co_await stream->read_exactly(end).nothrow();
    }
  }
};
CONFORMANCE(connections_know_nothing_of_those_before);

}  // namespace conformance
