// Writing: that every byte goes, once and in order, whatever the sizes, and what ends a write
// early.
#include "conformance/harness.hpp"

namespace conformance {

template <std::uint64_t Size>
struct carries {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    CHECK(co_await read_pattern(stream, Size) == Size);
    auto whole = pattern(Size);
    CHECK(co_await stream.write_all(whole) == Size);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    auto whole = pattern(Size);
    co_await stream.write_all(whole);
    CHECK(co_await read_pattern(stream) == Size);
  }
};
using one_byte_goes_there_and_back = carries<1>;
CONFORMANCE(one_byte_goes_there_and_back);
using a_segment_goes_there_and_back = carries<1460>;
CONFORMANCE(a_segment_goes_there_and_back);
using sixteen_kib_go_there_and_back = carries<16 * 1024>;
CONFORMANCE(sixteen_kib_go_there_and_back);
using one_mib_goes_there_and_back = carries<1 << 20>;
CONFORMANCE(one_mib_goes_there_and_back);
using ten_mib_in_one_write_go_there_and_back = carries<10 << 20>;
CONFORMANCE(ten_mib_in_one_write_go_there_and_back);

struct write_some_takes_at_least_a_byte {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    auto bytes = pattern(100'000);
    std::size_t sent = 0;
    while (sent < bytes.size()) {
      auto n = co_await stream.write_some(std::span(bytes).subspan(sent));
      REQUIRE(n >= 1);
      sent += n;
    }
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    CHECK(co_await read_pattern(stream) == 100'000);
  }
};
CONFORMANCE(write_some_takes_at_least_a_byte);

/// What says that more follows is held back (200 ms at most) until it does. A side that stood still
/// for so long on a busy machine sees it early, hence some rounds.
struct write_that_says_more_waits_for_the_next {
  static constexpr int rounds = 3;
  static constexpr int written(int round) { return 10 + 2 * round; }
  static constexpr int looked(int round) { return 11 + 2 * round; }

  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    for (int round = 0; round < rounds; ++round) {
      if (round == 1) {
        weir::owned_buffer head(
            std::as_bytes(std::span("head", 4)), [](void*) noexcept {}, nullptr);
        co_await stream.write_all(std::move(head)).more();
      } else {
        co_await stream.write_all("head").more();
      }
      s.signal(written(round));
      co_await s.wait(looked(round));
      co_await stream.write_all("body");
    }
    co_await stream.write_all("last").more();
    stream.shutdown_send();
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    int held = 0;
    for (int round = 0; round < rounds; ++round) {
      co_await s.wait(written(round));
      std::array<std::byte, 8> both;
      auto early = co_await stream.read_some(both).timeout(20ms).nothrow();
      held += early.ec == std::errc::timed_out;
      s.signal(looked(round));
      co_await stream.read_exactly(std::span(both).subspan(early.n));
      CHECK(text_of(both) == "headbody");
    }
    CHECK(held > 0);
    CHECK(co_await read_text(stream) == "last");
  }
};
CONFORMANCE(write_that_says_more_waits_for_the_next);

struct gathered_write_keeps_the_order_of_its_parts {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    auto bytes = pattern(500 * 501 / 2);
    std::vector<std::span<const std::byte>>
        parts;  // 500 parts of 0, 1, 2, ... bytes: more than one sendmsg takes well
    for (std::size_t i = 0, at = 0; i <= 500; at += i, ++i)
      parts.push_back(std::span<const std::byte>(bytes).subspan(at, i));
    CHECK(co_await stream.write_all(parts) == bytes.size());
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    CHECK(co_await read_pattern(stream) == 500 * 501 / 2);
  }
};
CONFORMANCE(gathered_write_keeps_the_order_of_its_parts);

struct gathered_write_of_large_parts {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    auto bytes = pattern(3 << 20);
    std::array<std::span<const std::byte>, 3> parts = {std::span(bytes).first(1),
                                                       std::span(bytes).subspan(1, 2 << 20),
                                                       std::span(bytes).subspan((2 << 20) + 1)};
    CHECK(co_await stream.write_all(parts) == bytes.size());
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    CHECK(co_await read_pattern(stream) == 3 << 20);
  }
};
CONFORMANCE(gathered_write_of_large_parts);

struct empty_write_is_done_at_once {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    CHECK(co_await stream.write_all(std::span<const std::byte>()) == 0);
    CHECK(co_await stream.write_all(std::span<const std::span<const std::byte>>()) == 0);
    co_await stream.write_all("x");
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    CHECK(co_await read_text(stream) == "x");
  }
};
CONFORMANCE(empty_write_is_done_at_once);

struct concurrent_writes_are_whole_and_in_order {
  static constexpr std::size_t size = 300'000;
  static task<> write(tcp_stream& stream, char letter) {
    std::string text(size, letter);
    CHECK(co_await stream.write_all(text) == size);
  }
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    co_await weir::when_all(write(stream, 'a'), write(stream, 'b'), write(stream, 'c'));
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    auto text = co_await read_text(stream);
    CHECK(text == std::string(size, 'a') + std::string(size, 'b') + std::string(size, 'c'));
  }
};
CONFORMANCE(concurrent_writes_are_whole_and_in_order);

struct many_small_writes_arrive_in_order {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    CHECK(co_await write_pattern(stream, 20'000, 13) == 20'000);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    CHECK(co_await read_pattern(stream) == 20'000);
  }
};
CONFORMANCE(many_small_writes_arrive_in_order);

struct both_directions_at_once {
  static constexpr std::uint64_t size = 4 << 20;
  static task<> writes(tcp_stream& stream) {
    co_await write_pattern(stream, size);
    stream.shutdown_send();
  }
  static task<> both(tcp_stream stream) {
    auto [sent, got] = co_await weir::when_all(writes(stream), read_pattern(stream));
    (void)sent;
    CHECK(got == size);
  }
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    co_await both(std::move(stream));
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await both(std::move(stream));
  }
};
CONFORMANCE(both_directions_at_once);

struct write_to_a_reader_that_stopped_times_out_and_says_how_far_it_got {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    auto bytes = pattern(64 << 20);
    auto wrote = co_await stream.write_all(bytes).timeout(300ms).nothrow();
    CHECK(wrote.ec == std::errc::timed_out);
    CHECK(wrote.n > 0);
    CHECK(wrote.n < bytes.size());
    s.signal(1, wrote.n);
    stream.shutdown_send();
    co_await s.wait(2);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    auto sent = co_await s.wait(1);
    CHECK(co_await read_pattern(stream) == sent);  // not a byte less, not a byte more
    s.signal(2);
  }
};
CONFORMANCE(write_to_a_reader_that_stopped_times_out_and_says_how_far_it_got);

struct blocked_write_can_be_cancelled {
  static task<> writes(tcp_stream& stream, std::error_code& seen) {
    auto bytes = pattern(64 << 20);
    auto wrote = co_await stream.write_all(bytes).nothrow();
    seen = wrote.ec;
  }
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    std::error_code seen;
    weir::scope tasks(s.here);
    tasks.spawn(writes(stream, seen));
    co_await sleep_for(50ms);
    tasks.cancel();
    co_await tasks.join();
    CHECK(seen == std::errc::operation_canceled);
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(99);
  }
};
CONFORMANCE(blocked_write_can_be_cancelled);

/// Before whoever sends elsewhere (a kernel, another thread) was asked; nor is he asked later.
struct write_that_is_cancelled_in_its_first_turn_sends_what_it_says {
  static task<> writes(tcp_stream& stream, std::span<const std::byte> bytes, std::uint64_t& sent) {
    const auto wrote = co_await stream.write_all(bytes).nothrow();
    CHECK(wrote.ec == std::errc::operation_canceled);
    sent += wrote.n;
  }
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    const auto bytes = pattern(64 << 20);
    std::uint64_t sent = 0;
    auto raced =
        co_await weir::when_any(writes(stream, bytes, sent), []() -> task<> { co_return; }());
    CHECK(raced.index() == 1);
    co_await sleep_for(1ms);  // and nothing that is written now hides it
    co_await stream.write_all(pattern(1000, sent));
    stream.shutdown_send();
    s.signal(1, sent + 1000);
    co_await s.wait(2);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    const auto came = co_await read_pattern(stream);
    CHECK(came == co_await s.wait(1));
    s.signal(2);
  }
};
CONFORMANCE(write_that_is_cancelled_in_its_first_turn_sends_what_it_says);

struct write_goes_on_when_the_reader_reads_again {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    auto bytes = pattern(32 << 20);
    CHECK(co_await stream.write_all(bytes) == bytes.size());
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await sleep_for(50ms);
    CHECK(co_await read_pattern(stream) == 32 << 20);
  }
};
CONFORMANCE(write_goes_on_when_the_reader_reads_again);

struct write_after_shutdown_is_broken_pipe {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    stream.shutdown_send();
    auto wrote = co_await stream.write_all("x").nothrow();
    CHECK(wrote.ec == std::errc::broken_pipe);
    CHECK(wrote.n == 0);
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(99);
  }
};
CONFORMANCE(write_after_shutdown_is_broken_pipe);

struct write_to_a_peer_that_is_gone_fails {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    s.signal(1);
    co_await s.wait(2);
    std::error_code seen;
    // The first write may still be taken: the reset comes in answer to it.
    for (int i = 0; i < 1000 && !seen; ++i) {
      auto wrote = co_await stream.write_all("are you there?").nothrow();
      seen = wrote.ec;
      co_await sleep_for(1ms);
    }
    CHECK((seen == std::errc::broken_pipe || seen == std::errc::connection_reset));
  }
  static task<> peer(side& s) {
    {
      auto stream = co_await s.connect();
      co_await s.wait(1);
    }
    s.signal(2);
  }
};
CONFORMANCE(write_to_a_peer_that_is_gone_fails);

struct write_until_stop_ends_when_stop_is_requested {
  static constexpr std::uint64_t far_too_much = 64 << 20;

  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    const auto bytes = pattern(far_too_much);
    s.here.post([&s] { s.here.request_stop(); });
    const auto sent = co_await stream.write_all(bytes).until_stop().nothrow();
    CHECK(sent.ec == std::errc::operation_canceled);
    CHECK(sent.n < bytes.size());
    s.signal(1, sent.n);  // what has gone is told, and it is what arrives
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    const auto sent = co_await s.wait(1);
    CHECK(co_await read_pattern(stream, sent) == sent);
  }
};
CONFORMANCE(write_until_stop_ends_when_stop_is_requested);

}  // namespace conformance
