// Connections between shards, from close by: what shards show of them, shards of different back
// ends, and what becomes of descriptors. What all back ends do alike is in conformance/moving.cpp.
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <deque>
#include <filesystem>
#include <string>
#include <vector>

#include "runtime/core/flight_recorder.hpp"
#include "runtime/observe/take_snapshot.hpp"
#include "unit/back_ends.hpp"
#if WEIR_WITH_SIM
#include "weir/sim.hpp"
#endif

using namespace std::chrono_literals;
using back_ends::on_kernel_back_ends;
using weir::detached;
using weir::shard;
using weir::task;
using weir::tcp_stream;

namespace {

struct pair {
  tcp_stream client, server;
};
task<> make(shard& s, pair& into) {
  auto listener = s.listen({"127.0.0.1", 0});
  into.client = co_await s.connect(listener.local_endpoint());
  auto peer = co_await listener.accept();
  into.server = std::move(*peer);
}

/// What a shard shows of its connections.
struct shown {
  std::size_t connections = 0;
  std::uint64_t detached = 0, attached = 0, unread = 0;
};
shown look(shard& s) {
  const auto taken = weir::detail::take_snapshot(s, {.connections = 100});
  shown out{.connections = taken.connections_total};
  for (const auto& each : taken.counts) {
    if (each.name == std::string_view("detached")) out.detached = each.value;
    if (each.name == std::string_view("attached")) out.attached = each.value;
  }
  for (const auto& each : taken.connections) out.unread += each.receive_queued.value_or(0);
  return out;
}

using kind = weir::detail::flight_event::kind;
bool recorded(const shard& s, kind what) {
  std::array<weir::detail::flight_event, 100> events;
  const auto n = s.recorder()->last(events);
  return std::any_of(events.begin(), events.begin() + static_cast<std::ptrdiff_t>(n),
                     [what](const auto& each) { return each.what == what; });
}

/// Takes it, looks, and gives it back.
task<detached<tcp_stream>> look_with_it(detached<tcp_stream> moving, shown& with) {
  auto& here = co_await weir::this_shard();
  auto stream = weir::attach(here, std::move(moving));
  with = look(here);
  if (!recorded(here, kind::attached)) with = {};
  auto on = co_await weir::detach(std::move(stream));
  co_return on;
}

std::size_t open_descriptors() {
  namespace fs = std::filesystem;
  const auto all = fs::directory_iterator("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

std::string bytes_of(std::size_t size) {
  std::string text(size, '-');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i % 23);
  return text;
}

/// Writes this much, of which a shard on uring takes all though nobody reads.
task<> leave_unread(pair& both, const std::string& text) {
  std::array<std::byte, 1> first;
  co_await both.client.write_all(std::string_view(text).substr(0, 1));
  co_await both.server.read_exactly(first);
  co_await both.client.write_all(std::string_view(text).substr(1));
  for (int left = 1; left != 0;) {
    co_await weir::sleep_for(1ms);
    REQUIRE(::ioctl(both.server.native_handle(), FIONREAD, &left) == 0);
  }
}

/// A body on a shard of uring, beside one of Asio's.
void on_uring_beside_asio(const std::function<task<>(shard&, shard&)>& body) {
  weir::config uring, asio;
  uring.backend = "uring";
  asio.backend = "asio";
  if (!weir::probe_backend("uring", uring).usable || !weir::probe_backend("asio", asio).usable) {
    std::printf("SKIPPED: uring or asio is missing\n");
    return;
  }
  weir::shard_thread other(asio, 1);
  auto s = weir::make_shard(0, uring);
  back_ends::run_on(*s, [&](shard& here) { return body(here, other.shard()); });
}

}  // namespace

TEST_CASE("a_connection_is_shown_and_counted_where_it_is") {
  on_kernel_back_ends([](shard& s) -> task<> {
    weir::shard_thread other(s.settings(), 1);
    pair both;
    co_await make(s, both);
    CHECK(look(s).connections == 2);
    auto moving = co_await weir::detach(std::move(both.server));
    CHECK(look(s).connections == 1);
    CHECK(recorded(s, kind::detached));
    shown there;
    moving = co_await weir::submit_to(other.shard(), look_with_it(std::move(moving), there));
    CHECK(there.connections == 1);
    CHECK(there.attached == 1);
    CHECK(there.detached == 0);
    moving = co_await weir::submit_to(other.shard(), look_with_it(std::move(moving), there));
    CHECK(there.attached == 2);
    CHECK(there.detached == 1);
    both.server = weir::attach(s, std::move(moving));
    const auto here = look(s);
    CHECK(here.connections == 2);
    CHECK(here.detached == 1);
    CHECK(here.attached == 1);
  });
}

TEST_CASE("descriptors_of_connections_that_move_are_neither_lost_nor_kept") {
  on_kernel_back_ends([](shard& s) -> task<> {
    const auto before = open_descriptors();
    for (int round = 0; round < 20; ++round) {
      pair both;
      co_await make(s, both);
      auto moving = co_await weir::detach(std::move(both.server));
      if (round % 2 == 0) both.server = weir::attach(s, std::move(moving));
    }
    while (open_descriptors() != before) co_await weir::sleep_for(1ms);  // closed by the ring
  });
}

TEST_CASE("what_uring_had_received_is_read_on_asio_and_the_rest_on_uring_again") {
  on_uring_beside_asio([](shard& here, shard& there) -> task<> {
    const auto text = bytes_of(36'000);
    pair both;
    co_await make(here, both);
    co_await leave_unread(both, text);
    auto moving = co_await weir::detach(std::move(both.server));
    struct seen {
      std::string read, lent;
      shown before, after;
    } got;
    const auto use = [](detached<tcp_stream> m, seen& out) -> task<detached<tcp_stream>> {
      auto& s = co_await weir::this_shard();
      auto stream = weir::attach(s, std::move(m));
      out.before = look(s);
      std::array<std::byte, 1000> some;
      co_await stream.read_exactly(some);
      out.read = weir::as_text(some);
      auto on = co_await weir::detach(std::move(stream));
      stream = weir::attach(s, std::move(on));
      co_await stream.read_exactly(some);
      out.read += weir::as_text(some);
      out.after = look(s);
      auto rest = co_await weir::detach(std::move(stream));
      co_return rest;
    };
    moving = co_await weir::submit_to(there, use(std::move(moving), got));
    CHECK(got.read == text.substr(1, 2000));
    CHECK(got.before.unread == text.size() - 1);
    CHECK(got.after.unread == text.size() - 2001);
    both.server = weir::attach(here, std::move(moving));
    co_await both.client.write_all("end");
    std::string rest(text.size() - 2001 + 3, ' ');
    co_await both.server.read_exactly(std::as_writable_bytes(std::span(rest)));
    CHECK(rest == text.substr(2001) + "end");
  });
}

TEST_CASE("what_was_brought_to_asio_is_lent_once_a_buffer_is_there") {
  on_uring_beside_asio([](shard& here, shard& there) -> task<> {
    constexpr unsigned all_buffers = 64;
    const auto text = bytes_of(30'000);
    pair both;
    co_await make(here, both);
    co_await leave_unread(both, text);
    auto moving = co_await weir::detach(std::move(both.server));
    const auto use = [](detached<tcp_stream> m, std::string& out) -> task<> {
      auto& s = co_await weir::this_shard();
      pair other;
      co_await make(s, other);
      std::deque<weir::lent_buffer> held;
      for (unsigned i = 0; i < all_buffers; ++i) {
        co_await other.client.write_all("-");
        auto lent = co_await other.server.receive();
        held.push_back(std::move(lent));
      }
      auto stream = weir::attach(s, std::move(m));
      auto none = co_await stream.receive().timeout(1ms).nothrow();
      if (none || none.error() != std::errc::timed_out) co_return;
      held.pop_front();
      auto lent = co_await stream.receive();
      out = weir::as_text(lent.bytes());
    };
    std::string lent;
    co_await weir::submit_to(there, use(std::move(moving), lent));
    CHECK(lent == text.substr(1));
  });
}

TEST_CASE("unread_bytes_that_were_brought_make_the_close_a_reset") {
  on_uring_beside_asio([](shard& here, shard& there) -> task<> {
    pair both;
    co_await make(here, both);
    co_await leave_unread(both, bytes_of(5000));
    auto moving = co_await weir::detach(std::move(both.server));
    const auto take = [](detached<tcp_stream> m) -> task<> {
      auto& s = co_await weir::this_shard();
      auto stream = weir::attach(s, std::move(m));
    };
    co_await weir::submit_to(there, take(std::move(moving)));
    std::array<std::byte, 1> byte;
    auto end = co_await both.client.read_some(byte).nothrow();
    CHECK(end.ec == std::errc::connection_reset);
  });
}

#if WEIR_WITH_SIM
TEST_CASE("a_simulated_shard_has_no_place_for_a_connection_of_the_kernel_s") {
  on_kernel_back_ends([](shard& s) -> task<> {
    pair both;
    co_await make(s, both);
    auto moving = co_await weir::detach(std::move(both.server));
    std::error_code why;
    weir::sim::network net({.seed = 1});
    net.start(net.add_host("10.0.0.1/24"), [&](shard& simulated) -> task<> {
      why = weir::try_attach(simulated, moving).error();
      co_return;
    });
    net.run();
    CHECK(why == std::errc::operation_not_supported);
    both.server = weir::attach(s, std::move(moving));
    co_await both.server.write_all("-");
    std::array<std::byte, 1> byte;
    co_await both.client.read_exactly(byte);
  });
}
#endif
