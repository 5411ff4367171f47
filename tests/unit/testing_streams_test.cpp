// weir/testing.hpp: the scripted, the cutting and the failing stream; and buffered_reader, which is
// written against any_stream, on all three.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "core_world.hpp"
#include "weir/reader.hpp"
#include "weir/testing.hpp"

using namespace std::chrono_literals;
using core_test::world;
using weir::any_stream;
using weir::shard;
using weir::task;
using weir::testing::ends;
using weir::testing::expects;
using weir::testing::fails;
using weir::testing::gives;
using weir::testing::script;

namespace {

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A little protocol: a line, an answer, a body by length, a line, the end.
task<std::string> converse(any_stream& peer) {
  std::array<std::byte, 32> storage;
  weir::buffered_reader reader(peer, storage);
  auto got = co_await reader.read_until("\r\n");
  std::string seen = text_of(got);
  co_await peer.write_all("length?");
  got = co_await reader.read_exactly(7);
  seen += text_of(got);
  got = co_await reader.read_until("\r\n");
  seen += text_of(got);
  co_await peer.write_all("bye");
  auto end = co_await reader.read_exactly(1).nothrow();
  if (end.error() != weir::error::end_of_stream) throw weir::io_error(end.error(), "no end");
  co_return seen;
}

const std::vector<weir::testing::step> conversation = {
    gives("hello"), gives("\r\n"), expects("length?"), gives("seven b\r"), gives("\n"),
    expects("bye"), ends()};
const std::string conversed = "hello\r\nseven b\r\n";

}  // namespace

TEST_CASE("a_script_gives_its_pieces_in_its_order_and_ends") {
  world w;
  w.run([](shard& s) -> task<> {
    script peer(s, {gives("abc"), gives("d"), expects("ok"), gives("e"), ends()});
    auto stream = peer.stream();
    std::array<std::byte, 8> buffer;
    auto n = co_await stream.read_some(buffer);
    CHECK(text_of(std::span(buffer).first(n)) == "abc");
    n = co_await stream.read_some(buffer);
    CHECK(text_of(std::span(buffer).first(n)) == "d");
    auto early = co_await stream.read_some(buffer).timeout(1s).nothrow();
    CHECK(early.ec == std::errc::timed_out);  // "e" waits for "ok"
    CHECK(peer.complaint() == "step 3: expected \"ok\", nothing was written");
    co_await stream.write_all("ok");
    auto lent = co_await stream.receive();
    CHECK(text_of(lent.bytes()) == "e");
    CHECK(co_await stream.read_some(buffer) == 0);
    stream.shutdown_send();
    stream.close();
    CHECK(peer.complaint() == "");
    CHECK(peer.closed());
    CHECK(peer.send_ended());
    CHECK_FALSE(peer.aborted());
  });
}

TEST_CASE("a_script_wakes_the_read_that_waits_for_what_follows_a_write") {
  world w;
  w.run([](shard& s) -> task<> {
    script peer(s, {expects("question"), gives("answer")});
    auto stream = peer.stream();
    auto ask = [](any_stream& to) -> task<> { co_await to.write_all("question"); };
    auto listen = [](any_stream& from, std::string& heard) -> task<> {
      std::array<std::byte, 6> buffer;
      co_await from.read_exactly(buffer);
      heard = text_of(buffer);
    };
    std::string heard;
    weir::scope both(s);
    both.spawn(listen(stream, heard));
    both.spawn(ask(stream));
    co_await both.join();
    CHECK(heard == "answer");
  });
}

TEST_CASE("a_script_complains_of_what_it_does_not_expect") {
  world w;
  w.run([](shard& s) -> task<> {
    script peer(s, {expects("right")});
    auto stream = peer.stream();
    co_await stream.write_all("ri");
    auto wrong = co_await stream.write_all("gg").nothrow();
    CHECK(wrong.ec == std::errc::protocol_error);
    CHECK(peer.complaint() == "step 1: expected \"ght\", written \"gg\"");
    script over(s, {});
    auto silent = over.stream();
    CHECK((co_await silent.write_all("x").nothrow()).ec == std::errc::protocol_error);
    CHECK(over.complaint() == "step 1: the script is over, written \"x\"");
  });
}

TEST_CASE("a_script_s_failure_is_said_by_each_later_use") {
  world w;
  w.run([](shard& s) -> task<> {
    script peer(s, {gives("a"), fails(std::errc::timed_out)});
    auto stream = peer.stream();
    std::array<std::byte, 8> buffer;
    CHECK(co_await stream.read_some(buffer) == 1);
    CHECK((co_await stream.read_some(buffer).nothrow()).ec == std::errc::timed_out);
    CHECK((co_await stream.read_some(buffer).nothrow()).ec == std::errc::timed_out);
    CHECK((co_await stream.write_all("x").nothrow()).ec == std::errc::timed_out);
    stream.abort();
    CHECK(peer.aborted());
    // What is no errno stays what it is, too.
    script cut_off(s, {fails(make_error_code(weir::error::truncated))});
    auto short_one = cut_off.stream();
    CHECK((co_await short_one.read_some(buffer).nothrow()).ec == weir::error::truncated);
    CHECK((co_await short_one.write_all("x").nothrow()).ec == weir::error::truncated);
  });
}

TEST_CASE("a_reader_reads_the_same_wherever_the_bytes_are_cut") {
  world w;
  w.run([](shard& s) -> task<> {
    std::size_t places = 0;
    for (weir::testing::cut at{0};; at = {at.place + 1}) {
      script peer(s, conversation);
      auto stream = weir::testing::cutting(peer.stream(), at);
      auto seen = co_await converse(stream);
      CHECK(seen == conversed);
      CHECK(peer.complaint() == "");
      stream.close();
      co_await weir::sleep_for(1ms);  // the layer lets go of its inner stream
      CHECK(peer.closed());
      if (at.place != 0 && !at.reached) break;
      ++places;
    }
    CHECK(places == conversed.size());  // the longer direction's; place 0 stands for its last
  });
}

TEST_CASE("a_reader_says_whichever_operation_of_its_stream_fails") {
  world w;
  w.run([](shard& s) -> task<> {
    std::size_t failures = 0;
    for (std::size_t n = 0;; ++n) {
      weir::testing::fault at{n, std::make_error_code(std::errc::host_unreachable)};
      script peer(s, conversation);
      auto stream = weir::testing::failing(peer.stream(), at);
      std::error_code failure;
      std::string seen;
      try {
        seen = co_await converse(stream);
      } catch (const weir::io_error& e) {
        failure = e.code();
      }
      stream.close();
      co_await weir::sleep_for(1ms);
      CHECK(peer.closed());
      if (!at.reached) {
        CHECK(seen == conversed);
        break;
      }
      ++failures;
      CHECK(failure == std::errc::host_unreachable);
    }
    CHECK(failures == 7);  // four pieces and the end were read, two answers written
  });
}

TEST_CASE("a_layer_delivers_what_was_written_and_the_half_close_behind_it") {
  world w;
  w.run([](shard& s) -> task<> {
    script peer(s, {expects("all of it"), ends()});
    {
      weir::testing::cut at{4};
      auto stream = weir::testing::cutting(peer.stream(), at);
      co_await stream.write_all("all of it");
      stream.shutdown_send();
      CHECK((co_await stream.write_all("more").nothrow()).ec == std::errc::broken_pipe);
      std::array<std::byte, 4> buffer;
      CHECK(co_await stream.read_some(buffer) == 0);
    }
    co_await weir::sleep_for(1ms);
    CHECK(peer.complaint() == "");
    CHECK(peer.send_ended());
    CHECK(peer.closed());
  });
}

TEST_CASE("a_lent_buffer_outlives_the_layer_that_lent_it") {
  world w;
  w.run([](shard& s) -> task<> {
    script peer(s, {gives("kept"), ends()});
    weir::testing::cut at{2};
    auto stream = weir::testing::cutting(peer.stream(), at);
    auto lent = co_await stream.receive();
    CHECK(text_of(lent.bytes()) == "ke");
    stream.close();
    co_await weir::sleep_for(1ms);
    CHECK(peer.closed());
    CHECK(text_of(lent.bytes()) == "ke");
  });
}

TEST_CASE("a_layer_lends_a_long_piece_bit_by_bit_in_its_order") {
  world w;
  w.run([](shard& s) -> task<> {
    std::string all;
    while (all.size() < 50'000) all += std::to_string(all.size()) + ' ';
    script peer(s, {gives(all), ends()});
    weir::testing::cut at{1'000'000};  // nowhere: all in one piece
    auto stream = weir::testing::cutting(peer.stream(), at);
    std::array<std::byte, 100> buffer;
    auto n = co_await stream.read_some(buffer);
    auto seen = text_of(std::span(buffer).first(n));
    std::vector<weir::lent_buffer> kept;
    for (;;) {
      auto lent = co_await stream.receive();
      if (!lent) break;
      CHECK(lent.size() <= 16 * 1024);
      seen += text_of(lent.bytes());
      kept.push_back(std::move(lent));
    }
    CHECK(kept.size() == 4);
    CHECK((seen == all));
    seen.resize(100);
    for (const auto& lent : kept) seen += text_of(lent.bytes());  // still as they were
    CHECK((seen == all));
  });
}

TEST_CASE("a_cancelled_read_of_a_layer_loses_nothing") {
  world w;
  w.run([](shard& s) -> task<> {
    script peer(s, {expects("x"), gives("later")});
    weir::testing::cut at{1};
    auto stream = weir::testing::cutting(peer.stream(), at);
    std::array<std::byte, 5> buffer;
    CHECK((co_await stream.read_some(buffer).timeout(1s).nothrow()).ec == std::errc::timed_out);
    co_await stream.write_all("x");
    CHECK(co_await stream.read_exactly(buffer) == 5);
    CHECK(text_of(buffer) == "later");
  });
}

TEST_CASE("a_failure_is_no_end_of_lines") {
  world w;
  w.run([](shard& s) -> task<> {
    script peer(s, {gives("one\ntoo long for it\n")});
    script broken(s, {gives("one\n"), fails(std::errc::connection_reset)});
    auto long_lines = peer.stream();
    auto reset = broken.stream();
    std::array<std::byte, 8> storage;
    for (auto* stream : {&long_lines, &reset}) {
      weir::buffered_reader reader(*stream, storage);
      auto line = co_await reader.read_line();
      CHECK(line == "one");
      auto next = co_await reader.read_line().nothrow();
      REQUIRE_FALSE(next.has_value());
      CHECK(next.error() == (stream == &reset ? std::make_error_code(std::errc::connection_reset)
                                              : weir::error::limit_exceeded));
    }
  });
}

TEST_CASE("a_reader_s_nothing_is_a_stream_s_nothing") {
  world w;
  w.run([](shard& s) -> task<> {
    script peer(s, {gives("abc")});
    auto stream = peer.stream();
    std::array<std::byte, 8> storage;
    weir::buffered_reader reader(stream, storage);
    reader.consume(5);
    CHECK(reader.buffered().empty());
    auto none = co_await reader.read_exactly(0);
    CHECK(none.empty());
    CHECK(co_await stream.read_exactly({}) == 0);
    none = co_await reader.read_exactly(0).until_stop();
    CHECK(none.empty());
    CHECK(co_await stream.read_exactly({}).until_stop() == 0);
    auto all = co_await reader.read_exactly(3);
    CHECK(text_of(all) == "abc");
    reader.consume(5);
    CHECK(reader.buffered().empty());

    s.request_stop();
    co_await weir::sleep_for(1ms);
    auto stopped = co_await reader.read_exactly(0).until_stop().nothrow();
    CHECK(stopped.has_value());
    CHECK_FALSE((co_await stream.read_exactly({}).until_stop().nothrow()).ec);
    auto waits = co_await reader.read_exactly(1).until_stop().nothrow();
    CHECK(waits.error() == std::errc::operation_canceled);
  });
}

TEST_CASE("reading_nothing_from_a_reader_for_ever_can_be_cancelled") {
  world w;
  w.run([](shard& s) -> task<> {
    script peer(s, {});
    auto stream = peer.stream();
    std::array<std::byte, 8> storage;
    weir::buffered_reader reader(stream, storage);
    std::size_t turns = 0;
    auto spin = [](weir::buffered_reader& r, std::size_t& n) -> task<> {
      for (; n < 1'000'000; ++n) (void)co_await r.read_exactly(0);
    };
    weir::scope spinning(s);
    spinning.spawn(spin(reader, turns));
    co_await weir::yield();
    co_await weir::yield();
    spinning.cancel();
    co_await spinning.join();
    CHECK(turns < 1'000'000);
  });
}
