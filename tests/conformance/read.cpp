// Reading: what read_some, read_exactly and receive give, when they wait, and how they end.
#include "conformance/harness.hpp"

namespace conformance {

namespace {

/// Nothing but a connection that the subject may use as it likes; ends when the subject says so.
task<> hold_until_done(side& s) {
  auto stream = co_await s.connect();
  co_await s.wait(99);
}

}  // namespace

struct read_some_gives_what_was_sent {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    std::array<std::byte, 64> buffer;
    auto n = co_await stream.read_some(buffer);
    CHECK(text_of(std::span(buffer).first(n)) == "weir");
    s.signal(1);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await stream.write_all("weir");
    co_await s.wait(1);
  }
};
CONFORMANCE(read_some_gives_what_was_sent);

struct read_some_waits_for_data {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    s.signal(1);
    std::array<std::byte, 64> buffer;
    CHECK(co_await stream.read_some(buffer) == 1);
    s.signal(2);
    CHECK(co_await stream.read_some(buffer) == 1);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(1);
    co_await stream.write_all("a");
    co_await s.wait(2);
    co_await stream.write_all("b");
    std::array<std::byte, 1> end;
    (void)co_await stream.read_some(end).nothrow();
  }
};
CONFORMANCE(read_some_waits_for_data);

struct read_until_stop_ends_when_stop_is_requested {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    std::array<std::byte, 64> buffer;
    s.signal(1);
    CHECK(co_await stream.read_some(buffer).until_stop() == 1);  // nobody asked yet
    auto late = co_await stream.read_some(buffer).timeout(5ms).until_stop().nothrow();
    CHECK(late.ec == std::errc::timed_out);
    s.here.post([&s] { s.here.request_stop(); });
    auto got = co_await stream.read_some(buffer).until_stop().nothrow();
    CHECK(got.ec == std::errc::operation_canceled);
    CHECK(got.n == 0);
    got = co_await stream.read_exactly(buffer).nothrow().until_stop();  // and stays so
    CHECK(got.ec == std::errc::operation_canceled);
    auto lent = co_await stream.receive().until_stop().nothrow();
    REQUIRE_FALSE(lent.has_value());
    CHECK(lent.error() == std::errc::operation_canceled);
    // The stream lives on, for whoever still has something to do.
    s.signal(2);
    CHECK(co_await stream.read_some(buffer) == 1);
    CHECK(co_await stream.write_some(std::as_bytes(std::span("b", 1))) == 1);
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(1);
    co_await stream.write_all("a");
    co_await s.wait(2);
    co_await stream.write_all("a");
    std::array<std::byte, 1> answer;
    CHECK(co_await stream.read_some(answer) == 1);
    co_await s.wait(99);
  }
};
CONFORMANCE(read_until_stop_ends_when_stop_is_requested);

struct small_buffer_keeps_the_rest_for_the_next_read {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    co_await s.wait(1);
    std::array<std::byte, 7> buffer;
    std::vector<std::byte> all;
    while (auto n = co_await stream.read_some(buffer))
      all.insert(all.end(), buffer.begin(), buffer.begin() + static_cast<long>(n));
    CHECK(all == pattern(1000));
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await stream.write_all(pattern(1000));
    s.signal(1);
  }
};
CONFORMANCE(small_buffer_keeps_the_rest_for_the_next_read);

struct end_of_stream_is_zero_and_stays_zero {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    std::array<std::byte, 16> buffer;
    for (int i = 0; i < 3; ++i) CHECK(co_await stream.read_some(buffer) == 0);
    auto lent = co_await stream.receive();
    CHECK_FALSE(lent);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    stream.shutdown_send();
    std::array<std::byte, 1> end;
    (void)co_await stream.read_some(end).nothrow();
  }
};
CONFORMANCE(end_of_stream_is_zero_and_stays_zero);

struct data_before_the_end_is_read_first {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    co_await s.wait(1);
    CHECK(co_await read_pattern(stream) == 5000);
  }
  static task<> peer(side& s) {
    {
      auto stream = co_await s.connect();
      co_await stream.write_all(pattern(5000));
    }
    s.signal(1);
  }
};
CONFORMANCE(data_before_the_end_is_read_first);

struct read_into_an_empty_buffer_takes_nothing_at_once {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    auto some = co_await stream.read_some({}).nothrow();
    CHECK(!some.ec);
    CHECK(some.n == 0);
    auto exactly = co_await stream.read_exactly({}).nothrow();
    CHECK(!exactly.ec);
    CHECK(exactly.n == 0);
    s.signal(99);
  }
  static task<> peer(side& s) { return hold_until_done(s); }
};
CONFORMANCE(read_into_an_empty_buffer_takes_nothing_at_once);

struct read_timeout_is_timed_out_and_not_early {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    std::array<std::byte, 16> buffer;
    auto before = s.here.now();
    auto got = co_await stream.read_some(buffer).timeout(20ms).nothrow();
    CHECK(got.ec == std::errc::timed_out);
    CHECK(got.n == 0);
    CHECK(s.here.now() - before >= 20ms);
    bool thrown = false;
    try {
      co_await stream.read_some(buffer).timeout(1ms);
    } catch (const io_error& error) {
      thrown = error.code() == std::errc::timed_out;
    }
    CHECK(thrown);
    s.signal(99);
  }
  static task<> peer(side& s) { return hold_until_done(s); }
};
CONFORMANCE(read_timeout_is_timed_out_and_not_early);

struct read_that_timed_out_loses_no_data {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    std::array<std::byte, 16> buffer;
    for (int i = 0; i < 3; ++i) {
      auto got = co_await stream.read_some(buffer).timeout(2ms).nothrow();
      CHECK(got.ec == std::errc::timed_out);
    }
    s.signal(1);
    CHECK(co_await read_text(stream) == "after the timeout");
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(1);
    co_await stream.write_all("after the timeout");
  }
};
CONFORMANCE(read_that_timed_out_loses_no_data);

struct reads_racing_with_their_timeouts_lose_no_data {
  static constexpr std::uint64_t total = 200'000;
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    std::array<std::byte, 777> buffer;
    std::uint64_t seen = 0;
    for (;;) {
      auto got = co_await stream.read_some(buffer).timeout(50us).nothrow();
      for (std::size_t i = 0; i < got.n; ++i) REQUIRE(buffer[i] == pattern_at(seen + i));
      seen += got.n;
      if (!got.ec && got.n == 0) break;
      if (got.ec) REQUIRE(got.ec == std::errc::timed_out);
    }
    CHECK(seen == total);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    for (std::uint64_t sent = 0; sent < total; sent += 2000) {
      co_await stream.write_all(pattern(2000, sent));
      co_await sleep_for(60us);
    }
  }
};
CONFORMANCE(reads_racing_with_their_timeouts_lose_no_data);

struct read_can_be_cancelled_and_the_stream_goes_on {
  static task<std::size_t> reads(tcp_stream& stream) {
    std::array<std::byte, 16> buffer;
    co_return co_await stream.read_some(buffer);
  }
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    auto raced =
        co_await weir::when_any(reads(stream), []() -> task<> { co_await sleep_for(5ms); }());
    CHECK(raced.index() == 1);
    s.signal(1);
    CHECK(co_await read_text(stream) == "still here");
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(1);
    co_await stream.write_all("still here");
  }
};
CONFORMANCE(read_can_be_cancelled_and_the_stream_goes_on);

struct cancelled_task_reports_operation_canceled {
  static task<> reads(tcp_stream& stream, std::error_code& seen) {
    std::array<std::byte, 16> buffer;
    auto got = co_await stream.read_some(buffer).nothrow();
    seen = got.ec;
  }
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    std::error_code seen;
    weir::scope tasks(s.here);
    tasks.spawn(reads(stream, seen));
    co_await sleep_for(2ms);
    tasks.cancel();
    co_await tasks.join();
    CHECK(seen == std::errc::operation_canceled);
    s.signal(99);
  }
  static task<> peer(side& s) { return hold_until_done(s); }
};
CONFORMANCE(cancelled_task_reports_operation_canceled);

struct second_read_at_a_time_is_busy {
  static task<> reads(tcp_stream& stream, std::string& text) {
    std::array<std::byte, 16> buffer;
    auto n = co_await stream.read_some(buffer);
    text = text_of(std::span(buffer).first(n));
  }
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    weir::scope tasks(s.here);
    std::string text;
    tasks.spawn(reads(stream, text));
    co_await weir::yield();
    std::array<std::byte, 16> buffer;
    auto got = co_await stream.read_some(buffer).nothrow();
    CHECK(got.ec == std::errc::device_or_resource_busy);
    s.signal(1);
    co_await tasks.join();
    CHECK(text == "one");
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(1);
    co_await stream.write_all("one");
    co_await s.wait(99);
  }
};
CONFORMANCE(second_read_at_a_time_is_busy);

struct read_exactly_gathers_what_comes_in_pieces {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    std::vector<std::byte> whole(3000);
    CHECK(co_await stream.read_exactly(whole) == whole.size());
    CHECK(whole == pattern(3000));
    std::array<std::byte, 10> rest;
    co_await stream.read_exactly(rest);
    CHECK(rest[9] == pattern_at(3009));
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    for (std::uint64_t at = 0; at < 3010; at += 10) {
      co_await stream.write_all(pattern(10, at));
      if (at % 500 == 0) co_await sleep_for(1ms);
    }
    co_await s.wait(99);
  }
};
CONFORMANCE(read_exactly_gathers_what_comes_in_pieces);

struct read_exactly_cut_short_says_how_far_it_got {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    std::array<std::byte, 100> buffer;
    auto got = co_await stream.read_exactly(buffer).nothrow();
    CHECK(got.ec == weir::error::end_of_stream);
    CHECK(got.n == 60);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await stream.write_all(pattern(60));
  }
};
CONFORMANCE(read_exactly_cut_short_says_how_far_it_got);

struct read_exactly_that_times_out_says_how_far_it_got {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    co_await s.wait(1);
    std::array<std::byte, 100> buffer;
    auto got = co_await stream.read_exactly(buffer).timeout(50ms).nothrow();
    CHECK(got.ec == std::errc::timed_out);
    CHECK(got.n == 60);
    CHECK(buffer[59] == pattern_at(59));
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await stream.write_all(pattern(60));
    s.signal(1);
    co_await s.wait(99);
  }
};
CONFORMANCE(read_exactly_that_times_out_says_how_far_it_got);

struct receive_lends_what_was_sent {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    auto lent = co_await stream.receive();
    CHECK(text_of(lent.bytes()) == "lent");
    lent.release();
    auto end = co_await stream.receive();
    CHECK_FALSE(end);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await stream.write_all("lent");
  }
};
CONFORMANCE(receive_lends_what_was_sent);

struct lent_buffers_carry_a_long_stream {
  static constexpr std::uint64_t total = 4 << 20;
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    std::uint64_t seen = 0;
    for (;;) {
      auto lent = co_await stream.receive();
      if (!lent) break;
      auto bytes = lent.bytes();
      std::size_t same = 0;
      while (same < bytes.size() && bytes[same] == pattern_at(seen + same)) ++same;
      REQUIRE(same == bytes.size());
      seen += bytes.size();
    }
    CHECK(seen == total);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await write_pattern(stream, total);
  }
};
CONFORMANCE(lent_buffers_carry_a_long_stream);

struct lent_buffer_outlives_its_stream {
  static task<> subject(side& s) {
    weir::lent_buffer kept;
    {
      auto stream = co_await s.accept_one();
      kept = co_await stream.receive();
    }
    co_await sleep_for(2ms);
    CHECK(text_of(kept.bytes()) == "kept");
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await stream.write_all("kept");
    co_await s.wait(99);
  }
};
CONFORMANCE(lent_buffer_outlives_its_stream);

struct reads_and_lent_buffers_may_take_turns {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    std::vector<std::byte> all;
    std::array<std::byte, 100> buffer;
    for (bool lend = false;; lend = !lend) {
      if (lend) {
        auto lent = co_await stream.receive();
        if (!lent) break;
        all.insert(all.end(), lent.bytes().begin(), lent.bytes().end());
      } else {
        auto n = co_await stream.read_some(buffer);
        if (n == 0) break;
        all.insert(all.end(), buffer.begin(), buffer.begin() + static_cast<long>(n));
      }
    }
    CHECK(all == pattern(50'000));
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await write_pattern(stream, 50'000, 5000);
  }
};
CONFORMANCE(reads_and_lent_buffers_may_take_turns);

struct read_until_gives_lines_however_they_arrive {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    std::array<std::byte, 64> storage;
    weir::buffered_reader reader(stream, storage);
    for (std::string_view expected : {"first\r\n", "second, in pieces\r\n", "\r\n"}) {
      auto line = co_await reader.read_until("\r\n");
      CHECK(text_of(line) == expected);
    }
    auto body = co_await reader.read_exactly(10);
    CHECK(text_of(body) == "0123456789");
    auto rest = co_await reader.read_until("\n").nothrow();
    REQUIRE_FALSE(rest.has_value());
    CHECK(rest.error() == weir::error::end_of_stream);
    CHECK(text_of(reader.buffered()) == "no end");
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await stream.write_all("first\r\nsecond, ");
    co_await sleep_for(2ms);
    co_await stream.write_all("in pieces\r");
    co_await sleep_for(2ms);
    co_await stream.write_all("\n\r\n01234567");
    co_await sleep_for(2ms);
    co_await stream.write_all("89no end");
  }
};
CONFORMANCE(read_until_gives_lines_however_they_arrive);

struct read_line_gives_lines_until_the_end {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    std::array<std::byte, 32> storage;
    weir::buffered_reader reader(stream, storage);
    std::vector<std::string> lines;
    while (auto line = co_await reader.read_line().timeout(10s)) lines.emplace_back(*line);
    CHECK(lines == std::vector<std::string>{"first", "", "third, in pieces", "a\rb", ""});
    CHECK_FALSE(co_await reader.read_line());  // the end stays
    auto end = co_await reader.read_line().nothrow();
    REQUIRE(end.has_value());
    CHECK_FALSE(*end);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await stream.write_all("first\r\n\nthird, ");
    co_await sleep_for(2ms);
    co_await stream.write_all("in pieces\r");
    co_await sleep_for(2ms);
    co_await stream.write_all("\na\rb\n\r\n");
  }
};
CONFORMANCE(read_line_gives_lines_until_the_end);

struct an_end_within_a_line_is_no_end {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    std::array<std::byte, 32> storage;
    weir::buffered_reader reader(stream, storage);
    auto line = co_await reader.read_line();
    REQUIRE(line);
    CHECK(*line == "whole");
    auto cut = co_await reader.read_line().nothrow();
    REQUIRE_FALSE(cut.has_value());
    CHECK(cut.error() == weir::error::end_of_stream);
    CHECK(text_of(reader.buffered()) == "cut");
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await stream.write_all("whole\ncut");
  }
};
CONFORMANCE(an_end_within_a_line_is_no_end);

struct read_until_is_bounded_by_its_buffer_and_its_time {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    std::array<std::byte, 16> storage;
    weir::buffered_reader reader(stream, storage);
    auto slow = co_await reader.read_until("\n").timeout(20ms).nothrow();
    REQUIRE_FALSE(slow.has_value());
    CHECK(slow.error() == std::errc::timed_out);
    s.signal(1);
    auto line = co_await reader.read_until("\n").nothrow();
    REQUIRE_FALSE(line.has_value());
    CHECK(line.error() == weir::error::limit_exceeded);
    CHECK(reader.buffered().size() == storage.size());
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(1);
    co_await stream.write_all("a line that is longer than the reader's buffer\n");
    co_await s.wait(99);
  }
};
CONFORMANCE(read_until_is_bounded_by_its_buffer_and_its_time);

struct reset_is_read_as_connection_reset {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    s.signal(1);
    std::array<std::byte, 16> buffer;
    auto got = co_await stream.read_some(buffer).timeout(10s).nothrow();
    CHECK(got.ec == std::errc::connection_reset);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(1);
    stream.abort();
  }
};
CONFORMANCE(reset_is_read_as_connection_reset);

struct reset_wakes_a_lending_read {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    s.signal(1);
    auto got = co_await stream.receive().timeout(10s).nothrow();
    REQUIRE_FALSE(got.has_value());
    CHECK(got.error() == std::errc::connection_reset);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(1);
    stream.abort();
  }
};
CONFORMANCE(reset_wakes_a_lending_read);

struct stream_that_stops_being_read_holds_its_peer_back {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    auto sent = co_await s.wait(1);  // the peer could write no more
    CHECK(co_await read_pattern(stream) == sent);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    std::uint64_t sent = 0;
    // 64 MiB is more than every buffer on the way may hold.
    for (;;) {
      REQUIRE(sent < (64u << 20));
      auto chunk = pattern(256 * 1024, sent);
      auto wrote = co_await stream.write_all(chunk).timeout(300ms).nothrow();
      sent += wrote.n;
      if (!wrote.ec) continue;
      CHECK(wrote.ec == std::errc::timed_out);
      break;
    }
    s.signal(1, sent);
  }
};
CONFORMANCE(stream_that_stops_being_read_holds_its_peer_back);

}  // namespace conformance
