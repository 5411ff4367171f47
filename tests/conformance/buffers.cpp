// Buffers that are handed over: received ones that are sent on, the application's own that a write
// takes over, and that each comes back exactly once, whatever ends the write.
#include <cstring>

#include "conformance/harness.hpp"

namespace conformance {

namespace {

/// The application's memory, and how often it came back.
struct memory {
  explicit memory(std::size_t size, std::uint64_t from = 0) : bytes(pattern(size, from)) {}
  weir::owned_buffer owned() { return {bytes, &memory::back, this}; }
  static void back(void* self) noexcept { ++static_cast<memory*>(self)->released; }

  std::vector<std::byte> bytes;
  int released = 0;
};

}  // namespace

struct owned_buffer_arrives_and_comes_back_once {
  static task<> subject(side& s) {
    memory small(100), large(100'000, 100);
    {
      auto stream = co_await s.accept_one();
      auto n = co_await stream.write_all(small.owned());
      CHECK(n == 100);
      n = co_await stream.write_all(large.owned());
      CHECK(n == 100'000);
      // The peer answers when it has everything.
      std::array<std::byte, 1> answer;
      co_await stream.read_exactly(answer);
      CHECK(small.released == 1);
      CHECK(large.released == 1);
    }
    CHECK(small.released == 1);
    CHECK(large.released == 1);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    CHECK(co_await read_pattern(stream, 100'100) == 100'100);
    co_await stream.write_all("!");
  }
};
CONFORMANCE(owned_buffer_arrives_and_comes_back_once);

struct received_buffers_are_sent_on {
  static constexpr std::uint64_t total = 4 << 20;
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    std::uint64_t sent = 0;
    for (;;) {
      auto lent = co_await stream.receive();
      if (!lent) break;
      const auto size = lent.size();
      auto n = co_await stream.write_all(std::move(lent));
      CHECK(n == size);
      sent += n;
    }
    CHECK(sent == total);
  }
  static task<> writes(tcp_stream& stream) {
    co_await write_pattern(stream, total);
    stream.shutdown_send();
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    auto [sent, got] = co_await weir::when_all(writes(stream), read_pattern(stream));
    (void)sent;
    CHECK(got == total);
  }
};
CONFORMANCE(received_buffers_are_sent_on);

struct owned_buffer_may_be_larger_than_every_queue {
  static constexpr std::size_t size = 24 << 20;
  static task<> subject(side& s) {
    memory large(size);
    auto stream = co_await s.accept_one();
    s.signal(1);
    auto n = co_await stream.write_all(large.owned());
    CHECK(n == size);
    std::array<std::byte, 1> answer;
    co_await stream.read_exactly(answer);
    CHECK(large.released == 1);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(1);
    CHECK(co_await read_pattern(stream, size) == size);
    co_await stream.write_all("!");
  }
};
CONFORMANCE(owned_buffer_may_be_larger_than_every_queue);

struct owned_write_that_times_out_gives_its_buffer_back {
  static task<> subject(side& s) {
    memory large(64 << 20);
    auto stream = co_await s.accept_one();
    auto got = co_await stream.write_all(large.owned()).timeout(50ms).nothrow();
    CHECK(got.ec == std::errc::timed_out);
    CHECK(got.n > 0);
    CHECK(got.n < large.bytes.size());
    stream.abort();
    CHECK(large.released == 1);
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(99);
  }
};
CONFORMANCE(owned_write_that_times_out_gives_its_buffer_back);

struct owned_buffers_of_a_connection_that_is_reset_come_back {
  static task<> subject(side& s) {
    std::vector<std::unique_ptr<memory>> all;
    auto stream = co_await s.accept_one();
    s.signal(1);
    std::error_code ended;
    while (!ended) {
      auto& one = *all.emplace_back(std::make_unique<memory>(300'000));
      auto got = co_await stream.write_all(one.owned()).timeout(10s).nothrow();
      ended = got.ec;
    }
    CHECK((ended == std::errc::connection_reset || ended == std::errc::broken_pipe));
    stream.close();
    for (const auto& one : all) CHECK(one->released == 1);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(1);
    stream.abort();
  }
};
CONFORMANCE(owned_buffers_of_a_connection_that_is_reset_come_back);

struct owned_buffer_is_sent_without_what_was_left_out {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    auto text = std::make_unique<std::byte[]>(9);
    std::memcpy(text.get(), "<<owned>>", 9);
    weir::owned_buffer buffer(std::move(text), 9);
    buffer.remove_prefix(2);
    buffer.remove_suffix(2);
    CHECK(text_of(buffer.bytes()) == "owned");
    auto n = co_await stream.write_all(std::move(buffer));
    CHECK(n == 5);
    CHECK(buffer.size() == 0);
    auto lent = co_await stream.receive();
    CHECK_FALSE(lent);
    n = co_await stream.write_all(std::move(lent));  // the end of the stream is no bytes to send
    CHECK(n == 0);
    co_await stream.write_all(", sent");
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    stream.shutdown_send();
    CHECK(co_await read_text(stream) == "owned, sent");
  }
};
CONFORMANCE(owned_buffer_is_sent_without_what_was_left_out);

struct owned_buffer_that_is_not_sent_comes_back {
  static task<> subject(side& s) {
    memory never(10), broken(10), moved(10);
    {
      auto unsent = never.owned();
      auto other = moved.owned();
      other = std::move(unsent);
      CHECK(moved.released == 1);
      CHECK(never.released == 0);
    }
    CHECK(never.released == 1);
    auto stream = co_await s.accept_one();
    stream.shutdown_send();
    auto got = co_await stream.write_all(broken.owned()).nothrow();
    CHECK(got.ec == std::errc::broken_pipe);
    CHECK(broken.released == 1);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    CHECK(co_await read_text(stream) == "");
  }
};
CONFORMANCE(owned_buffer_that_is_not_sent_comes_back);

// --- Peers that do not read.

struct peer_that_never_reads_is_given_up_after_the_user_timeout {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    stream.set_options({.user_timeout = 1s});
    auto bytes = pattern(1 << 20);
    std::error_code ended;
    while (!ended) {
      auto got = co_await stream.write_all(bytes).timeout(60s).nothrow();
      ended = got.ec;
    }
    // io_uring tells of the bytes that went before the end rather than of the end, once.
    CHECK((ended == std::errc::timed_out ||
           (s.backend == "uring" && ended == std::errc::broken_pipe)));
    // Not the write's own time: the connection's.
    auto after = co_await stream.write_all(bytes).timeout(60s).nothrow();
    CHECK(after.ec);
    s.signal(99);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(99);  // answers every probe, and reads nothing
  }
};
CONFORMANCE(peer_that_never_reads_is_given_up_after_the_user_timeout);

}  // namespace conformance
