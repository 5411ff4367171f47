// Connections that go to another shard: in order, to the byte, with their ends, and back; and what
// is said where they cannot.
#include <sys/ioctl.h>

#include <thread>

#include "conformance/harness.hpp"
#include "weir/detach.hpp"

// Where the sockets are the kernel's. The shards in somebody's loop are among them.
#define MOVING_CONFORMANCE(name)          \
  CONFORMANCE_VARIANT("uring", name)      \
  CONFORMANCE_VARIANT("uring 5.19", name) \
  CONFORMANCE_VARIANT("uring 6.1", name)  \
  CONFORMANCE_VARIANT("uring 6.6", name)  \
  CONFORMANCE_VARIANT("asio", name)       \
  static_assert(true, "")

namespace conformance {

namespace {

using weir::detached;
using weir::shard;
using weir::unix_stream;

constexpr std::size_t piece = 12'000;  // of which a receive buffer holds one

/// Another shard of the same back end, on a thread of its own.
class second_shard {
 public:
  explicit second_shard(const shard& like) : thread_(like.settings(), 1) {}
  shard& there() { return thread_.shard(); }

 private:
  weir::shard_thread thread_;
};

/// Waits until uring has taken what the kernel had for the stream: it is unread, and in weir's
/// hands. Elsewhere, and before multishot receives, it stays with the kernel.
task<> until_taken(side& s, const tcp_stream& stream) {
  if (s.backend != "uring" || s.here.settings().uring.profile == "5.19") co_return;
  for (int left = 1; left != 0;) {
    co_await sleep_for(1ms);
    REQUIRE(::ioctl(stream.native_handle(), FIONREAD, &left) == 0);
  }
}

task<> write_and_tell(side& s, tcp_stream& stream, std::size_t from, int step) {
  auto bytes = pattern(piece, from);
  co_await stream.write_all(bytes);
  s.signal(step);
}

task<> write_from(tcp_stream& stream, std::uint64_t from, std::uint64_t to) {
  while (from < to) {
    auto bytes = pattern(std::min<std::uint64_t>(piece, to - from), from);
    co_await stream.write_all(bytes);
    from += bytes.size();
  }
}

/// What one read of the stream gives.
task<weir::transfer> read_once(tcp_stream& stream) {
  std::array<std::byte, 100> buffer;
  auto got = co_await stream.read_some(buffer).nothrow();
  co_return got;
}
task<> read_into(tcp_stream& stream, weir::transfer& got) { got = co_await read_once(stream); }

/// On the other shard: the rest of what comes, and `answer` bytes after `from`.
task<std::uint64_t> read_rest_and_answer(detached<tcp_stream> moving, std::uint64_t from,
                                         std::uint64_t answer_from, std::uint64_t answer_to) {
  auto& here = co_await weir::this_shard();
  auto stream = weir::attach(here, std::move(moving));
  CHECK(&stream.owner() == &here);
  co_await write_from(stream, answer_from, answer_to);
  auto read = co_await read_pattern(stream, UINT64_MAX, from);
  co_return read;
}

/// On the other shard: what a read says there. The stream goes there.
task<weir::transfer> read_there(detached<tcp_stream> moving) {
  auto& here = co_await weir::this_shard();
  auto stream = weir::attach(here, std::move(moving));
  auto got = co_await read_once(stream);
  co_return got;
}

}  // namespace

/// Several pieces are unread when it leaves, one comes while it belongs to nobody, and one after.
struct connection_moves_and_its_bytes_stay_in_order_both_ways {
  static task<> subject(side& s) {
    second_shard other(s.here);
    auto stream = co_await s.accept_one();
    co_await write_from(stream, 0, 50'000);
    CHECK(co_await read_pattern(stream, 100) == 100);
    for (int step = 1; step <= 3; ++step) {
      s.signal(step);
      co_await s.wait(10 + step);
      co_await until_taken(s, stream);
    }
    auto moving = co_await weir::detach(std::move(stream));
    CHECK_FALSE(stream);
    CHECK(moving);
    s.signal(4);
    co_await s.wait(14);
    auto rest = co_await weir::submit_to(
        other.there(), read_rest_and_answer(std::move(moving), 100, 50'000, 100'000));
    CHECK(rest == 5 * piece);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await stream.write_all(pattern(100));
    for (int step = 1; step <= 4; ++step) {
      co_await s.wait(step);
      co_await write_and_tell(s, stream, 100 + static_cast<std::size_t>(step - 1) * piece,
                              10 + step);
    }
    CHECK(co_await read_pattern(stream, 100'000) == 100'000);  // it was moved by then
    co_await write_and_tell(s, stream, 100 + 4 * piece, 15);
    stream.shutdown_send();
    std::array<std::byte, 1> end;
    auto n = co_await stream.read_some(end);
    CHECK(n == 0);
  }
};
MOVING_CONFORMANCE(connection_moves_and_its_bytes_stay_in_order_both_ways);

namespace {

constexpr int hops = 100;
constexpr std::uint64_t per_hop = 20'000;

/// A part of the work of each hop, and on to the next shard.
task<detached<tcp_stream>> one_hop(detached<tcp_stream> moving, int hop) {
  auto& here = co_await weir::this_shard();
  auto stream = weir::attach(here, std::move(moving));
  const auto from = static_cast<std::uint64_t>(hop) * per_hop;
  CHECK(co_await read_pattern(stream, per_hop, from) == per_hop);
  co_await write_from(stream, from, from + per_hop);
  auto on = co_await weir::detach(std::move(stream));
  co_return on;
}

}  // namespace

struct connection_moves_to_and_fro_under_a_stream_of_bytes {
  static task<> subject(side& s) {
    second_shard other(s.here);
    auto stream = co_await s.accept_one();
    const auto remote = stream.remote_endpoint(), local = stream.local_endpoint();
    auto moving = co_await weir::detach(std::move(stream));
    for (int hop = 0; hop < hops; ++hop) {
      auto& next = hop % 2 == 0 ? other.there() : s.here;
      moving = co_await weir::submit_to(next, one_hop(std::move(moving), hop));
    }
    stream = weir::attach(s.here, std::move(moving));
    CHECK(stream.remote_endpoint() == remote);
    CHECK(stream.local_endpoint() == local);
    auto last = co_await read_once(stream);
    CHECK_FALSE(last.ec);
    CHECK(last.n == 0);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    weir::scope both(s.here);
    both.spawn(send_all(stream));
    CHECK(co_await read_pattern(stream, hops * per_hop) == hops * per_hop);
    co_await both.join();
  }
  static task<> send_all(tcp_stream& stream) {
    co_await write_pattern(stream, hops * per_hop);
    stream.shutdown_send();
  }
};
MOVING_CONFORMANCE(connection_moves_to_and_fro_under_a_stream_of_bytes);

struct end_that_came_while_a_connection_moved_is_read_behind_its_bytes {
  static task<> subject(side& s) {
    second_shard other(s.here);
    auto stream = co_await s.accept_one();
    CHECK(co_await read_pattern(stream, 100) == 100);
    s.signal(1);
    co_await s.wait(2);
    co_await until_taken(s, stream);
    auto moving = co_await weir::detach(std::move(stream));
    s.signal(3);
    co_await s.wait(4);
    auto rest = co_await weir::submit_to(other.there(),
                                         read_rest_and_answer(std::move(moving), 100, 0, 100));
    CHECK(rest == piece);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await stream.write_all(pattern(100));
    co_await s.wait(1);
    co_await write_and_tell(s, stream, 100, 2);
    co_await s.wait(3);
    stream.shutdown_send();
    s.signal(4);
    CHECK(co_await read_pattern(stream) == 100);
  }
};
MOVING_CONFORMANCE(end_that_came_while_a_connection_moved_is_read_behind_its_bytes);

/// The end may be in the receive's last completion.
struct end_that_came_with_unread_bytes_before_a_connection_moves {
  static task<> subject(side& s) {
    second_shard other(s.here);
    auto stream = co_await s.accept_one();
    CHECK(co_await read_pattern(stream, 100) == 100);
    s.signal(1);
    co_await s.wait(2);
    co_await until_taken(s, stream);
    auto moving = co_await weir::detach(std::move(stream));
    auto rest = co_await weir::submit_to(other.there(),
                                         read_rest_and_answer(std::move(moving), 100, 0, 100));
    CHECK(rest == piece);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await stream.write_all(pattern(100));
    co_await s.wait(1);
    co_await stream.write_all(pattern(piece, 100));
    stream.shutdown_send();
    s.signal(2);
    CHECK(co_await read_pattern(stream) == 100);
  }
};
MOVING_CONFORMANCE(end_that_came_with_unread_bytes_before_a_connection_moves);

struct how_a_connection_ended_goes_along_when_it_moves {
  static task<> subject(side& s) {
    second_shard other(s.here);
    auto listener = s.listen();
    auto ended = co_await listener.accept();
    auto broken = co_await listener.accept();
    const auto remote = broken->remote_endpoint();
    auto first = co_await read_once(*ended);
    CHECK_FALSE(first.ec);
    CHECK(first.n == 0);
    first = co_await read_once(*broken);
    CHECK(first.ec == std::errc::connection_reset);
    auto moving = co_await weir::detach(std::move(*ended));
    auto again = co_await weir::submit_to(other.there(), read_there(std::move(moving)));
    CHECK_FALSE(again.ec);
    CHECK(again.n == 0);
    moving = co_await weir::detach(std::move(*broken));
    *broken = weir::attach(s.here, std::move(moving));
    CHECK(broken->remote_endpoint() == remote);
    auto wrote = co_await broken->write_all("too late").nothrow();
    CHECK(wrote.ec == std::errc::connection_reset);
    moving = co_await weir::detach(std::move(*broken));
    again = co_await weir::submit_to(other.there(), read_there(std::move(moving)));
    CHECK(again.ec == std::errc::connection_reset);
    s.signal(1);
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    auto ends = co_await weir::connect(to);
    ends.shutdown_send();
    auto breaks = co_await weir::connect(to);
    breaks.abort();
    co_await s.wait(1);
  }
};
MOVING_CONFORMANCE(how_a_connection_ended_goes_along_when_it_moves);

struct reset_that_came_while_a_connection_moved_is_read {
  static task<> subject(side& s) {
    second_shard other(s.here);
    auto stream = co_await s.accept_one();
    CHECK(co_await read_pattern(stream, 100) == 100);
    auto moving = co_await weir::detach(std::move(stream));
    s.signal(1);
    co_await s.wait(2);
    auto got = co_await weir::submit_to(other.there(), read_there(std::move(moving)));
    CHECK(got.ec == std::errc::connection_reset);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await stream.write_all(pattern(100));
    co_await s.wait(1);
    stream.abort();
    co_await weir::yield();  // through the ring, where it is uring's
    co_await sleep_for(1ms);
    s.signal(2);
  }
};
MOVING_CONFORMANCE(reset_that_came_while_a_connection_moved_is_read);

struct what_was_shut_down_stays_so_when_a_connection_moves {
  static task<> subject(side& s) {
    second_shard other(s.here);
    auto stream = co_await s.accept_one();
    stream.shutdown_send();
    stream.shutdown_receive();
    auto moving = co_await weir::detach(std::move(stream));
    co_await weir::submit_to(other.there(), use(std::move(moving)));
  }
  static task<> use(detached<tcp_stream> moving) {
    auto& here = co_await weir::this_shard();
    auto stream = weir::attach(here, std::move(moving));
    auto wrote = co_await stream.write_all("-").nothrow();
    CHECK(wrote.ec == std::errc::broken_pipe);
    auto read = co_await read_once(stream);
    CHECK_FALSE(read.ec);
    CHECK(read.n == 0);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    auto end = co_await read_once(stream);
    CHECK_FALSE(end.ec);
    CHECK(end.n == 0);
  }
};
MOVING_CONFORMANCE(what_was_shut_down_stays_so_when_a_connection_moves);

/// On the shard, and on a thread that is no shard's.
struct connection_that_is_dropped_on_its_way_closes {
  static task<> subject(side& s) {
    auto listener = s.listen();
    for (int round = 0; round < 4; ++round) {
      auto stream = co_await listener.accept();
      const bool unread = round % 2 == 1;
      CHECK(co_await read_pattern(*stream, 100) == 100);
      s.signal(10 * round + 1);
      co_await s.wait(10 * round + 2);
      if (unread) co_await until_taken(s, *stream);
      auto moving = co_await weir::detach(std::move(*stream));
      if (round < 2) {
        moving = {};
      } else {
        std::thread([away = std::move(moving)] {}).join();
      }
      co_await s.wait(10 * round + 3);
    }
  }
  static task<> peer(side& s) {
    auto to = co_await s.target();
    for (int round = 0; round < 4; ++round) {
      auto stream = co_await weir::connect(to);
      co_await stream.write_all(pattern(100));
      co_await s.wait(10 * round + 1);
      if (round % 2 == 1) co_await stream.write_all(pattern(piece));
      s.signal(10 * round + 2);
      auto end = co_await read_once(stream);
      CHECK(end.n == 0);
      CHECK(end.ec == (round % 2 == 1 ? std::make_error_code(std::errc::connection_reset)
                                      : std::error_code()));
      s.signal(10 * round + 3);
    }
  }
};
MOVING_CONFORMANCE(connection_that_is_dropped_on_its_way_closes);

namespace {

/// Bytes until the peer's window is shut and the write waits.
task<> write_much(tcp_stream& stream, std::vector<std::byte>& bytes) {
  co_await stream.write_all(bytes);
}
task<> wait_for_the_end(tcp_stream& stream, bool& ended) {
  auto got = co_await stream.peer_closed();
  ended = !got.ec;
}

}  // namespace

struct connection_in_use_does_not_move_and_stays_as_it_is {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    weir::scope tasks(s.here);
    weir::transfer read;
    tasks.spawn(read_into(stream, read));
    co_await weir::yield();
    co_await refused(stream);
    s.signal(1);
    co_await tasks.join();
    CHECK(read.n == 1);
    std::vector<std::byte> much = pattern(32 << 20);
    tasks.spawn(write_much(stream, much));
    co_await weir::yield();
    co_await refused(stream);
    s.signal(2);
    co_await tasks.join();
    bool ended = false;
    tasks.spawn(wait_for_the_end(stream, ended));
    co_await weir::yield();
    co_await refused(stream);
    s.signal(3);
    co_await tasks.join();
    CHECK(ended);
    auto moving = co_await weir::detach(std::move(stream));
    stream = weir::attach(s.here, std::move(moving));
    auto end = co_await read_once(stream);
    CHECK_FALSE(end.ec);
    CHECK(end.n == 0);
  }
  static task<> refused(tcp_stream& stream) {
    auto moving = co_await weir::detach(std::move(stream)).nothrow();
    CHECK(moving.error() == std::errc::device_or_resource_busy);
    CHECK(stream);
    bool thrown = false;
    try {
      (void)co_await weir::detach(std::move(stream));
    } catch (const io_error& e) {
      thrown = e.code() == std::errc::device_or_resource_busy;
    }
    CHECK(thrown);
    CHECK(stream);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await s.wait(1);
    co_await stream.write_all("-");
    co_await s.wait(2);
    CHECK(co_await read_pattern(stream, 32 << 20) == 32 << 20);
    co_await s.wait(3);
    stream.shutdown_send();
    (void)co_await read_once(stream);
  }
};
MOVING_CONFORMANCE(connection_in_use_does_not_move_and_stays_as_it_is);

/// It goes back to the shard that it left, which may be stopping itself, and is served there to its
/// end.
struct shard_that_stops_takes_no_connection_but_its_own {
  static task<> subject(side& s) {
    second_shard other(s.here);
    auto stream = co_await s.accept_one();
    other.there().request_stop();
    s.here.request_stop();
    while (!s.here.stop_requested()) co_await weir::yield();
    auto moving = co_await weir::detach(std::move(stream));
    co_await weir::submit_to(other.there(), try_it(moving));
    stream = weir::attach(s.here, std::move(moving));
    CHECK(co_await read_pattern(stream) == 1000);
  }
  static task<> try_it(detached<tcp_stream>& moving) {
    auto& here = co_await weir::this_shard();
    CHECK(here.stop_requested());
    auto got = weir::try_attach(here, moving);
    CHECK(got.error() == std::errc::operation_canceled);
    CHECK_THROWS_AS((void)weir::attach(here, std::move(moving)), io_error);
    CHECK(moving);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await write_pattern(stream, 1000);
    stream.shutdown_send();
    (void)co_await read_once(stream);
  }
};
MOVING_CONFORMANCE(shard_that_stops_takes_no_connection_but_its_own);

struct detaching_that_was_cancelled_before_leaves_the_stream_alone {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    std::error_code why;
    weir::scope tasks(s.here);
    weir::event go;
    tasks.spawn(late(stream, go, why));
    co_await weir::yield();
    tasks.cancel();
    co_await tasks.join();
    CHECK(why == std::errc::operation_canceled);
    REQUIRE(stream);
    CHECK(co_await read_pattern(stream) == 1000);
  }
  static task<> late(tcp_stream& stream, weir::event& go, std::error_code& why) {
    (void)co_await go.wait().nothrow();
    auto moving = co_await weir::detach(std::move(stream)).nothrow();
    why = moving.error();
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await write_pattern(stream, 1000);
    stream.shutdown_send();
    (void)co_await read_once(stream);
  }
};
MOVING_CONFORMANCE(detaching_that_was_cancelled_before_leaves_the_stream_alone);

/// Whatever moves it: kernel sockets, or nothing.
struct connection_moves_or_says_that_it_cannot_and_stays_usable {
  static task<> subject(side& s) {
    auto stream = co_await s.accept_one();
    CHECK(co_await read_pattern(stream, 100) == 100);
    auto moving = co_await weir::detach(std::move(stream)).nothrow();
    CHECK(moving.has_value() == s.on_kernel());
    if (moving)
      stream = weir::attach(s.here, std::move(*moving));
    else
      CHECK(moving.error() == std::errc::operation_not_supported);
    REQUIRE(stream);
    co_await stream.write_all("still here");
    stream.shutdown_send();
    CHECK(co_await read_pattern(stream, UINT64_MAX, 100) == 1'000'000 - 100);
  }
  static task<> peer(side& s) {
    auto stream = co_await s.connect();
    co_await write_pattern(stream, 1'000'000);
    CHECK(co_await read_text(stream) == "still here");
  }
};
CONFORMANCE(connection_moves_or_says_that_it_cannot_and_stays_usable);

/// Beside the stack a shard has the machine's own sockets, and these move: here to one of Asio's
/// and back.
struct connection_of_the_network_kernel_moves_from_beside_the_stack {
  static task<> subject(side& s) {
    weir::config settings;
    settings.backend = "asio";
    weir::shard_thread other(settings, 1);
    auto listener = s.here.listen({weir::ip_address::loopback_v4(), 0}, {.network = "kernel"});
    auto client = co_await weir::connect(listener.local_endpoint(), {.network = "kernel"});
    auto peer = co_await listener.accept();
    REQUIRE(peer.has_value());
    tcp_stream server = std::move(*peer);
    co_await client.write_all("there");
    client.shutdown_send();
    auto moving = co_await weir::detach(std::move(server));
    moving = co_await weir::submit_to(other.shard(), echo_there(std::move(moving)));
    server = weir::attach(s.here, std::move(moving));
    co_await server.write_all(" and back");
    server.close();
    CHECK(co_await read_text(client) == "there and back");
  }
  static task<detached<tcp_stream>> echo_there(detached<tcp_stream> moving) {
    auto& here = co_await weir::this_shard();
    auto stream = weir::attach(here, std::move(moving));
    auto text = co_await read_text(stream);
    co_await stream.write_all(text);
    auto back = co_await weir::detach(std::move(stream));
    co_return back;
  }
  static task<> peer(side&) { co_return; }
};
CONFORMANCE_VARIANT("stack", connection_of_the_network_kernel_moves_from_beside_the_stack)
CONFORMANCE_VARIANT("dedicated", connection_of_the_network_kernel_moves_from_beside_the_stack)

// --- Unix sockets, whose other shard is one of Asio's: they are the same everywhere.

namespace {

task<std::string> read_all_there(detached<unix_stream> moving, int& passed) {
  auto& here = co_await weir::this_shard();
  auto stream = weir::attach(here, std::move(moving));
  co_await stream.write_all("answer");
  auto text = co_await read_text(stream);
  for (const auto& fd : stream.take_descriptors()) passed += fd ? 1 : 0;
  co_return text;
}

}  // namespace

task<> unix_stream_moves_with_what_was_passed_or_says_that_it_cannot(shard& s) {
  auto ends = weir::make_unix_pair(s);
  if (s.backend() == "sim") {
    auto moving = co_await weir::detach(std::move(ends.first)).nothrow();
    CHECK(moving.error() == std::errc::operation_not_supported);
    co_await ends.first.write_all("still here");
    ends.first.close();
    auto text = co_await read_text(ends.second);
    CHECK(text == "still here");
    co_return;
  }
  weir::config settings;
  settings.backend = "asio";
  weir::shard_thread other(settings, 1);
  ends.first.expect_descriptors(4);
  const std::array<int, 1> one{0};
  co_await ends.second.write_with(std::as_bytes(std::span("a", 1)), one);
  std::array<std::byte, 1> first;
  co_await ends.first.read_exactly(first);
  co_await ends.second.write_with(std::as_bytes(std::span("b", 1)), one);
  auto moving = co_await weir::detach(std::move(ends.first));
  co_await ends.second.write_all("c");
  ends.second.shutdown_send();
  int passed = 0;
  auto text = co_await weir::submit_to(other.shard(), read_all_there(std::move(moving), passed));
  CHECK(text == "bc");
  CHECK(passed == 2);
  auto answer = co_await read_text(ends.second);
  CHECK(answer == "answer");
}
UNIX_CONFORMANCE(unix_stream_moves_with_what_was_passed_or_says_that_it_cannot);

}  // namespace conformance
