// peer_closed(): the peer's end is heard of by whoever reads nothing.
#include "conformance/harness.hpp"

#include "weir/unix.hpp"

namespace conformance {

namespace {

task<> wait_for_end(weir::any_stream& stream, weir::peer_end& seen) {
  seen = co_await stream.peer_closed().nothrow();
}

}  // namespace

struct peer_closed_tells_of_a_half_close_behind_unread_bytes {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    auto early = co_await stream.peer_closed().timeout(5ms).nothrow();
    CHECK(early.ec == std::errc::timed_out);
    s.signal(1);
    auto end = co_await stream.peer_closed();
    CHECK_FALSE(end.why);
    // Again, and at once; and all that was sent is there to be read.
    end = co_await stream.peer_closed();
    CHECK_FALSE(end.why);
    const auto read = co_await read_pattern(stream);
    CHECK(read == 3000);
    end = co_await stream.peer_closed();
    CHECK_FALSE(end.why);
    co_await stream.write_all("still heard");
    s.signal(2);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(1);
    co_await write_pattern(stream, 3000);
    stream.shutdown_send();
    auto text = co_await read_text(stream);
    CHECK(text == "still heard");
    co_await s.wait(2);
  }
};
CONFORMANCE(peer_closed_tells_of_a_half_close_behind_unread_bytes);

struct peer_closed_tells_of_a_reset {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    s.signal(1);
    auto end = co_await stream.peer_closed();
    CHECK(end.why == std::errc::connection_reset);
    std::array<std::byte, 64> buffer;
    auto got = co_await stream.read_exactly(buffer).nothrow();
    CHECK(got.ec == std::errc::connection_reset);
    end = co_await stream.peer_closed();
    CHECK(end.why == std::errc::connection_reset);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(1);
    co_await stream.write_all("a few bytes");
    stream.abort();
  }
};
CONFORMANCE(peer_closed_tells_of_a_reset);

struct peer_closed_stands_beside_reads_and_others_of_its_kind {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    weir::scope tasks(s.here);
    weir::peer_end first, second, given_up;
    tasks.spawn(wait_for_end(stream, first));
    tasks.spawn(wait_for_end(stream, second));
    {
      weir::scope others(s.here);
      others.spawn(wait_for_end(stream, given_up));
      co_await weir::yield();
      others.cancel();
      co_await others.join();
    }
    CHECK(given_up.ec == std::errc::operation_canceled);
    s.signal(1);
    const auto read = co_await read_pattern(stream);
    CHECK(read == 200'000);
    co_await tasks.join();
    CHECK_FALSE(first.ec);
    CHECK_FALSE(first.why);
    CHECK_FALSE(second.ec);
    CHECK_FALSE(second.why);
    s.signal(2);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(1);
    co_await write_pattern(stream, 200'000);
    stream.shutdown_send();
    co_await s.wait(2);
  }
};
CONFORMANCE(peer_closed_stands_beside_reads_and_others_of_its_kind);

struct peer_closed_of_one_of_many {
  static constexpr std::size_t count = 40;
  static task<> subject(side& s) {
    auto listener = s.listen();
    std::vector<tcp_stream> streams;
    for (std::size_t i = 0; i < count; ++i) {
      auto one = co_await listener.accept();
      REQUIRE(one.has_value());
      std::array<std::byte, 1> number;
      co_await one->read_exactly(number);
      CHECK(std::to_integer<std::size_t>(number[0]) == i);
      streams.push_back(std::move(*one));
    }
    std::array<weir::peer_end, count> ends;
    weir::scope tasks(s.here);
    for (std::size_t i = 0; i < count; ++i) tasks.spawn(wait_for_end(streams[i], ends[i]));
    s.signal(1);
    co_await tasks.join();
    for (std::size_t i = 0; i < count; ++i) {
      CHECK_FALSE(ends[i].ec);
      CHECK((ends[i].why == std::errc::connection_reset) == (i % 2 == 1));
    }
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    std::vector<tcp_stream> streams;
    for (std::size_t i = 0; i < count; ++i) {
      auto one = co_await weir::connect(to);
      const auto number = static_cast<std::byte>(i);
      co_await one.write_all(std::span(&number, 1));
      streams.push_back(std::move(one));
    }
    co_await s.wait(1);
    for (std::size_t i = 0; i < count; ++i) {
      if (i % 2 == 1)
        streams[i].abort();
      else
        streams[i].shutdown_send();
    }
    co_await s.wait(99);
  }
};
CONFORMANCE(peer_closed_of_one_of_many);

task<> peer_closed_of_unix_streams(weir::shard& s) {
  auto pair = weir::make_unix_pair(s);
  auto early = co_await pair.first.peer_closed().timeout(2ms).nothrow();
  CHECK(early.ec == std::errc::timed_out);
  weir::scope tasks(s);
  weir::peer_end seen;
  tasks.spawn(wait_for_end(pair.first, seen));
  co_await pair.second.write_all("bye");
  pair.second.shutdown_send();
  co_await tasks.join();
  CHECK_FALSE(seen.ec);
  CHECK_FALSE(seen.why);
  auto text = co_await read_text(pair.first);
  CHECK(text == "bye");
  auto end = co_await pair.first.peer_closed();
  CHECK_FALSE(end.why);
}
UNIX_CONFORMANCE(peer_closed_of_unix_streams);

}  // namespace conformance
