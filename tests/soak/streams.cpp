// Connections whose both ends are here. Writers and readers use every operation with timeouts and
// cancellations at random; what an operation says that it moved is what moved.
#include <deque>
#include <memory>

#include "soak/life.hpp"

namespace soak {
namespace {

using weir::tcp_stream;
using weir::transfer;

constexpr std::size_t largest = 200'000;

task<transfer> write_once(tcp_stream& to, std::span<const std::byte> bytes) {
  auto r = co_await to.write_all(bytes).nothrow();
  co_return r;
}

task<transfer> read_once(tcp_stream& from, std::span<std::byte> into, bool exactly) {
  transfer r;
  if (exactly)
    r = co_await from.read_exactly(into).nothrow();
  else
    r = co_await from.read_some(into).nothrow();
  co_return r;
}

/// Two writes at once are carried out whole and in order.
task<transfer> write_both(tcp_stream& to, std::span<const std::byte> bytes) {
  const auto half = bytes.size() / 2;
  auto both = co_await weir::when_all(write_once(to, bytes.first(half)),
                                      write_once(to, bytes.subspan(half)));
  const auto& first = std::get<0>(both);
  const auto& second = std::get<1>(both);
  co_return transfer{first.ec ? first.ec : second.ec, first.n + second.n};
}

task<transfer> write_owned(life& l, tcp_stream& to, std::span<const std::byte> bytes,
                           weir::duration limit) {
  auto memory = std::make_unique<std::byte[]>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), memory.get());
  weir::owned_buffer owned(std::move(memory), bytes.size());
  ++l.count.owned;
  auto r = co_await to.write_all(std::move(owned)).timeout(limit).nothrow();
  co_return r;
}

task<transfer> write_gathered(life& l, tcp_stream& to, std::span<const std::byte> bytes, dice& d) {
  std::vector<std::span<const std::byte>> parts;
  for (auto rest = bytes; !rest.empty();) {
    const auto n = std::min<std::size_t>(rest.size(), d.size(bytes.size()));
    if (parts.size() == 40) {
      parts.push_back(rest);
      break;
    }
    parts.push_back(rest.first(n));
    rest = rest.subspan(n);
  }
  ++l.count.gathered;
  std::span<const std::span<const std::byte>> all(parts);
  auto r = co_await to.write_all(all).timeout(d.up_to_us(5000)).nothrow();
  co_return r;
}

struct end_of_pair {
  std::uint64_t written = 0, read = 0;  // of one direction
  bool broken = false;                  // the writer met an error
  bool ended = false;                   // the reader saw the end
};

task<> writer(life& l, shard& s, tcp_stream& to, dice d, std::uint64_t key, end_of_pair& way) {
  std::vector<std::byte> memory(largest);
  std::error_code end;
  while (l.going(s)) {
    std::span<std::byte> bytes(memory.data(), d.size(largest));
    fill_pattern(key, way.written, bytes);
    transfer r;
    const auto kind = d.below(8);
    if (kind == 0)
      r = co_await to.write_all(bytes).timeout(d.up_to_us(3000)).nothrow();
    else if (kind == 1)
      r = co_await weir::with_timeout(d.up_to_us(3000), write_once(to, bytes));
    else if (kind == 2)
      r = co_await write_gathered(l, to, bytes, d);
    else if (kind == 3)
      r = co_await write_owned(l, to, bytes, d.up_to_us(5000));
    else if (kind == 4)
      r = co_await to.write_some(bytes).nothrow();
    else if (kind == 5)
      r = co_await write_both(to, bytes);
    else if (kind == 6)
      r = co_await to.write_all(bytes).more().nothrow();
    else
      r = co_await to.write_all(bytes).until_stop().nothrow();
    if (r.n > bytes.size()) l.fault("a write says that more went than there was");
    if (!r.ec && r.n == 0) l.fault("a write took nothing and named no error");
    way.written += r.n;
    if (r.ec == std::errc::timed_out) ++l.count.timeouts;
    if (r.ec == std::errc::operation_canceled) ++l.count.cancels;
    if (r.ec && !waited_out(r.ec)) {
      end = r.ec;
      break;
    }
    if (r.ec == std::errc::operation_canceled && kind != 1) break;  // this actor is cancelled
    co_await pace(l, d);
    if (d.one_in(6)) co_await weir::sleep_for(d.up_to_us(3000));  // others want the processor too
  }
  if (end) {
    way.broken = true;
    if (!expected_end(end)) l.fault("a write ended with " + end.message());
  }
  to.shutdown_send(end);
}

/// One read of some kind: false at the end of the stream, or when nothing more can come.
task<bool> read_a_part(life& l, tcp_stream& from, dice& d, std::span<std::byte> memory,
                       std::uint64_t key, end_of_pair& way) {
  std::span<std::byte> into(memory.data(), d.size(memory.size()));
  transfer r;
  const auto kind = d.below(5);
  if (kind == 0)
    r = co_await from.read_some(into).timeout(d.up_to_us(1500)).nothrow();
  else if (kind == 1)
    r = co_await from.read_exactly(into).timeout(d.up_to_us(1500)).nothrow();
  else if (kind == 2)
    r = co_await weir::with_timeout(d.up_to_us(1500), read_once(from, into, d.one_in(2)));
  else
    r = co_await read_once(from, into, kind == 3);
  if (!check(l, "read", key, way.read, std::span(into).first(r.n))) co_return false;
  way.read += r.n;
  if (r.ec == std::errc::timed_out) ++l.count.timeouts;
  if (r.ec == std::errc::operation_canceled) {
    ++l.count.cancels;
    co_return kind == 2;  // its own limit, most likely: then the next read tells
  }
  if (waited_out(r.ec)) co_return true;
  way.ended = r.ec == weir::error::end_of_stream || (!r.ec && r.n == 0);
  if (r.ec && !expected_end(r.ec)) l.fault("a read ended with " + r.ec.message());
  co_return !r.ec && r.n != 0;
}

task<> reader(life& l, tcp_stream& from, dice d, std::uint64_t key, end_of_pair& way) {
  std::vector<std::byte> memory(largest);
  std::deque<weir::lent_buffer> held;
  for (;;) {
    if (held.size() > 3 || (!held.empty() && d.one_in(3))) held.pop_front();
    if (d.one_in(64)) co_await weir::sleep_for(d.up_to_us(2000));
    if (!d.one_in(5)) {
      const bool more = co_await read_a_part(l, from, d, memory, key, way);
      if (!more) break;
      continue;
    }
    auto lent = co_await from.receive().timeout(d.up_to_us(2000)).nothrow();
    if (!lent) {
      if (lent.error() == std::errc::timed_out) continue;
      if (!expected_end(lent.error())) l.fault("a receive ended with " + lent.error().message());
      break;
    }
    way.ended = !*lent;
    if (way.ended) break;
    ++l.count.lent;
    if (!check(l, "receive", key, way.read, lent->bytes())) break;
    way.read += lent->size();
    held.push_back(std::move(*lent));
  }
}

/// Both directions of one connection, until the life ends or one end is cut off.
task<> use_both_ends(life& l, shard& s, tcp_stream& a, tcp_stream& b, dice& d) {
  end_of_pair there, back;
  const auto key = d.next();
  weir::scope both(s);
  both.spawn(writer(l, s, a, dice(key, 1), key, there));
  both.spawn(reader(l, b, dice(key, 2), key, there));
  both.spawn(writer(l, s, b, dice(key, 3), ~key, back));
  both.spawn(reader(l, a, dice(key, 4), ~key, back));
  co_await both.join();
  for (const auto* way : {&there, &back}) {
    if (way->read > way->written) l.fault("more was read than was written");
    if (way->ended && !way->broken && way->read != way->written)
      l.fault("of " + std::to_string(way->written) + " bytes " + std::to_string(way->read) +
              " were read, and the stream ended cleanly");
  }
  if (d.one_in(3)) {
    ++l.count.aborts;
    a.abort();
  }
}

}  // namespace

task<> exact_pairs(life& l, shard& s, weir::ip_address own, unsigned number) {
  auto d = l.actor(number);
  auto listener = s.listen({own, 0});
  while (l.going(s)) {
    auto a = co_await weir::connect(listener.local_endpoint()).timeout(10s).nothrow();
    if (!a) {
      if (!waited_out(a.error())) l.fault("connect to oneself: " + a.error().message());
      if (a.error() == std::errc::operation_canceled) co_return;
      continue;
    }
    auto b = co_await listener.accept().timeout(10s).nothrow();
    if (b && !*b) co_return;  // asked to stop
    if (!b) continue;
    ++l.count.connects;
    tcp_stream accepted = std::move(**b);
    co_await use_both_ends(l, s, *a, accepted, d);
  }
}

}  // namespace soak
