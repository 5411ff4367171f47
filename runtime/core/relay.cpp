// Two directions and, where there are limits, who watches them. The first that fails cancels the
// rest; the streams are reset when nobody uses them any more.
#include "weir/relay.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <span>
#include <utility>

#include "weir/scope.hpp"
#include "weir/shard.hpp"
#include "weir/timing.hpp"

namespace weir {

namespace {

/// Of one shard: how many of its relays write from what was lent to them (`most_pieces` at most
/// each).
struct lent_to_relays {
  explicit lent_to_relays(shard&) {}
  unsigned count = 0;
};

struct two_ways {
  two_ways(any_stream one, any_stream other)
      : a(std::move(one)),
        b(std::move(other)),
        parts(a.owner()),
        moved(a.owner().now()),
        lent(&a.owner().local<lent_to_relays>()) {}

  void over(std::error_code why) {
    if (!ended_by) ended_by = why;
    parts.cancel();
  }
  void direction_ended() {
    if (--directions == 0) parts.cancel();  // who watches goes too
  }

  any_stream a, b;
  scope parts;
  instant moved;
  lent_to_relays* lent;
  unsigned directions = 2;
  std::error_code ended_by;
};

/// Bytes that a read would have at once. The stream keeps its socket from the public, not from us.
struct presented : any_stream {
  static std::size_t by(const any_stream& s) { return (s.*&presented::socket)().rx_size; }
};

/// What is written together: what waits behind the first piece goes along.
constexpr std::size_t most_pieces = 8;
constexpr std::size_t enough_bytes = std::size_t{256} * 1024;

/// Writes what was lent, with what is there already behind it.
task<transfer> pass_on_lent(any_stream& from, any_stream& to, lent_buffer first,
                            lent_to_relays& lent) {
  std::array<lent_buffer, most_pieces> held;
  std::array<std::span<const std::byte>, most_pieces> bytes;
  std::size_t count = 1, size = first.size();
  bytes[0] = first.bytes();
  held[0] = std::move(first);
  ++lent.count;
  while (count < most_pieces && size < enough_bytes && presented::by(from) != 0) {
    auto more = co_await from.receive().nothrow();
    if (!more || !*more) break;  // the next read is told again
    bytes[count] = more->bytes();
    size += more->size();
    held[count++] = std::move(*more);
  }
  auto wrote =
      co_await to.write_all(std::span<const std::span<const std::byte>>(bytes.data(), count))
          .nothrow();
  --lent.count;
  transfer done = wrote;
  co_return done;
}

/// Gives what was lent back at once, and writes a copy: too much is lent already.
task<transfer> pass_on_copied(any_stream& to, lent_buffer got) {
  const auto size = got.size();
  auto copy = std::make_unique_for_overwrite<std::byte[]>(size);
  std::memcpy(copy.get(), got.bytes().data(), size);
  got.release();
  auto wrote = co_await to.write_all(owned_buffer(std::move(copy), size)).nothrow();
  transfer done = wrote;
  co_return done;
}

task<> carry(two_ways& of, any_stream& from, any_stream& to, std::uint64_t& carried) {
  for (;;) {
    auto got = co_await from.receive().nothrow();
    if (!got) co_return of.over(got.error());
    if (!*got) break;
    auto passed = of.lent->count < relay_lent ? pass_on_lent(from, to, std::move(*got), *of.lent)
                                              : pass_on_copied(to, std::move(*got));
    auto done = co_await std::move(passed);
    carried += done.n;
    of.moved = from.owner().now();
    if (done.ec) co_return of.over(done.ec);
  }
  std::error_code gone;  // which its own direction says
  to.shutdown_send(gone);
  of.direction_ended();
}

task<> watch(two_ways& of, relay_limits limits) {
  auto& here = of.a.owner();
  const auto last = here.now() + std::max(limits.total, duration(0));
  for (;;) {
    const auto due = std::min(of.moved + std::max(limits.idle, duration(0)), last);
    if (due <= here.now()) co_return of.over(timeout_error());
    co_await sleep_for(due - here.now());
  }
}

}  // namespace

task<relay_result> relay(any_stream a, any_stream b, relay_limits limits) {
  two_ways of(std::move(a), std::move(b));
  relay_result result;
  of.parts.spawn(carry(of, of.a, of.b, result.a_to_b));
  of.parts.spawn(carry(of, of.b, of.a, result.b_to_a));
  if (limits.idle != no_limit || limits.total != no_limit) of.parts.spawn(watch(of, limits));
  co_await of.parts.join();
  result.ec = of.ended_by;
  if (result.ec) {
    of.a.abort();
    of.b.abort();
  }
  co_return result;
}

}  // namespace weir
