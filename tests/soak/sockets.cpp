// Sockets' random lives: listeners that come and go in every sharing mode, sessions that echo,
// clients that connect, compare and leave in some way.
#include <deque>
#include <memory>

#include "soak/life.hpp"

namespace soak {
namespace {

using weir::tcp_stream;

/// What a client sends first: the key of what follows.
using header = std::array<std::byte, 8>;

std::uint64_t key_of(const header& bytes) {
  std::uint64_t key = 0;
  for (auto b : bytes) key = key << 8 | static_cast<std::uint8_t>(b);
  return key;
}
header header_of(std::uint64_t key) {
  header out;
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::byte>(key >> (56 - 8 * i));
  return out;
}

/// Sends back what is due of the stream, and sometimes less.
task<bool> echo_due(life& l, tcp_stream& peer, dice& d, std::uint64_t key, std::uint64_t read,
                    std::uint64_t& echoed) {
  std::vector<std::byte> memory;
  while (echoed < read) {
    memory.resize(std::min<std::uint64_t>(read - echoed, 8000));
    fill_pattern(key, echoed, memory);
    auto r = co_await peer.write_all(memory).timeout(d.up_to_us(50'000)).nothrow();
    echoed += r.n;
    if (r.ec && r.ec != std::errc::timed_out) {
      if (!expected_end(r.ec)) l.fault("an echo ended with " + r.ec.message());
      co_return false;
    }
    if (r.ec && d.one_in(4)) co_return false;
  }
  co_return true;
}

/// Takes lent bytes and sends these on, as they are. Gives how many went, or nothing at the end.
task<std::optional<std::size_t>> relay_lent(life& l, tcp_stream& peer, dice& d, std::uint64_t key,
                                            std::uint64_t read) {
  auto lent = co_await peer.receive().timeout(d.up_to_us(20'000)).nothrow();
  if (!lent && lent.error() == std::errc::timed_out) co_return 0;
  if (!lent || !*lent) co_return std::nullopt;
  ++l.count.lent;
  if (!check(l, "session's receive", key, read, lent->bytes())) co_return std::nullopt;
  const auto size = lent->size();
  weir::owned_buffer on(std::move(*lent));
  ++l.count.owned;
  auto r = co_await peer.write_all(std::move(on)).nothrow();
  if (r.ec) co_return std::nullopt;
  if (r.n != size) l.fault("an owned write says that another number of bytes went");
  co_return size;
}

using shards = std::vector<shard*>;

/// What a session knows of its connection, whichever shard has it.
struct echoing {
  std::uint64_t key = 0, read = 0, echoed = 0, limit = 0;
};

task<> session_there(life& l, const shards& others, weir::detached<tcp_stream> moving, dice d,
                     echoing at);

/// Takes the connection to another shard, which goes on with it, or loses it on the way. False: it
/// stays.
task<bool> moved_on(life& l, const shards& others, tcp_stream& peer, dice& d, const echoing& at) {
  auto moving = co_await weir::detach(std::move(peer)).nothrow();
  if (!moving) {
    const auto why = moving.error();
    if (why != std::errc::operation_not_supported && why != std::errc::operation_canceled)
      l.fault("detach: " + why.message());
    co_return false;
  }
  ++l.count.moves;
  if (d.one_in(10)) co_return true;
  auto& there = *others[d.below(others.size())];
  co_await weir::submit_to(there, session_there(l, others, std::move(*moving), d, at));
  co_return true;
}

/// Echoes one connection until it ends, or until it has had enough, or has gone elsewhere.
task<> echo(life& l, shard& s, const shards& others, tcp_stream peer, dice d, echoing at) {
  std::vector<std::byte> memory(5000);
  while (l.going(s) && at.read < at.limit) {
    co_await pace(l, d);
    if (!others.empty() && d.one_in(16)) {
      const bool gone = co_await moved_on(l, others, peer, d, at);
      if (gone) co_return;
    }
    if (at.echoed == at.read && d.one_in(4)) {
      auto went = co_await relay_lent(l, peer, d, at.key, at.read);
      if (!went) co_return;
      at.read += *went;
      at.echoed += *went;
      continue;
    }
    std::span<std::byte> into(memory.data(), d.size(memory.size()));
    auto r = co_await peer.read_some(into).timeout(d.up_to_us(20'000)).until_stop().nothrow();
    if (!check(l, "session's read", at.key, at.read, into.first(r.n))) co_return;
    at.read += r.n;
    const bool timed_out = r.ec == std::errc::timed_out;
    if (timed_out && d.one_in(8)) break;
    if (r.ec && !timed_out) {
      if (!expected_end(r.ec)) l.fault("a session's read ended with " + r.ec.message());
      co_return;
    }
    if (!r.ec && r.n == 0) break;  // the client has sent all
    const bool more = co_await echo_due(l, peer, d, at.key, at.read, at.echoed);
    if (!more) break;
  }
  if (d.one_in(8)) {
    ++l.count.aborts;
    peer.abort();
  }
}

task<> session_there(life& l, const shards& others, weir::detached<tcp_stream> moving, dice d,
                     echoing at) {
  auto& here = co_await weir::this_shard();
  auto peer = weir::try_attach(here, moving);
  if (!peer) {
    if (peer.error() != std::errc::operation_canceled) l.fault("attach: " + peer.error().message());
    co_return;  // the shard stops
  }
  co_await echo(l, here, others, std::move(*peer), d, at);
}

task<> session(life& l, shard& s, const shards& others, tcp_stream peer, std::uint64_t seed) {
  dice d(seed, 0);
  header first;
  auto head = co_await peer.read_exactly(first).timeout(d.up_to_us(200'000)).nothrow();
  if (head.ec) co_return;
  echoing at{.key = key_of(first)};
  at.limit = d.one_in(4) ? d.below(20'000) : 1u << 20;
  co_await echo(l, s, others, std::move(peer), d, at);
}

/// One of those who wait on a listener, until it is closed.
task<> acceptor(life& l, shard& s, const shards& others, weir::tcp_listener& from,
                weir::scope& sessions, dice d) {
  while (from) {
    auto peer = co_await from.accept().timeout(d.up_to_us(3000)).nothrow();
    if (!peer) {
      if (peer.error() == std::errc::timed_out) continue;
      if (!expected_end(peer.error())) l.fault("an accept ended with " + peer.error().message());
      co_return;
    }
    if (!*peer) co_return;  // asked to stop
    ++l.count.accepts;
    if (!d.one_in(20)) sessions.spawn(session(l, s, others, std::move(**peer), d.next()));
  }
}

weir::listen_options any_options(const life& l, const shard& s, dice& d) {
  constexpr weir::sharing modes[] = {weir::sharing::exclusive, weir::sharing::shared,
                                     weir::sharing::sharded};
  constexpr weir::sharding_policy policies[] = {weir::sharding_policy::hash,
                                                weir::sharding_policy::round_robin,
                                                weir::sharding_policy::least_loaded};
  weir::listen_options o;
  // By the life: most listeners of one life agree, so that they meet.
  o.sharing = d.one_in(5) ? modes[d.below(3)] : modes[l.seed % 3];
  if (d.one_in(2)) o.backlog = static_cast<std::uint32_t>(1 + d.below(16));
  if (s.backend() == "stack" || s.backend() == "sim") {
    o.policy = policies[d.one_in(5) ? d.below(3) : l.seed / 3 % 3];
    if (d.one_in(3)) o.syn_backlog = static_cast<std::uint32_t>(1 + d.below(16));
    if (d.one_in(3)) o.overflow = weir::overflow::reset;
    if (d.one_in(8)) o.defer_accept = std::chrono::milliseconds(d.below(50));
    if (d.one_in(20)) o.owner_key = 7;
  }
  return o;
}

/// Leaves a connection in one of the ways in which clients leave.
task<> leave(life& l, tcp_stream& c, dice& d) {
  const auto how = d.below(4);
  if (how == 0) {
    ++l.count.aborts;
    c.abort();
  } else if (how == 1) {
    std::error_code ignored;
    c.shutdown_send(ignored);
    std::array<std::byte, 300> rest;
    auto r = co_await c.read_some(rest).timeout(d.up_to_us(3000)).nothrow();
    if (r.ec && !expected_end(r.ec)) l.fault("a last read ended with " + r.ec.message());
  } else if (how == 2) {
    std::error_code broken;
    c.shutdown_receive(broken);
    if (broken && broken != std::errc::not_connected)
      l.fault("shutdown_receive: " + broken.message());
    std::array<std::byte, 300> none;
    auto r = co_await c.read_some(none).nothrow();
    if (!broken && r.n != 0) l.fault("bytes were read after shutdown_receive()");
    if (!broken && r.ec && r.ec != std::errc::operation_canceled)
      l.fault("a read after shutdown_receive() ended with " + r.ec.message());
  }
}

/// A read that loses its race may have taken bytes all the same: it says so itself.
task<> read_once(tcp_stream& from, std::span<std::byte> into, weir::transfer& got) {
  got = co_await from.read_some(into).nothrow();
}
task<> wait_for(weir::duration time) { co_await weir::sleep_for(time); }

/// Reads some of what is echoed, racing a timer. False when there is no more.
task<bool> compare_some(life& l, tcp_stream& c, dice& d, std::uint64_t key, std::uint64_t sent,
                        std::uint64_t& back) {
  std::array<std::byte, 3000> memory;
  weir::transfer got;
  auto race = co_await weir::when_any(read_once(c, memory, got), wait_for(d.up_to_us(3000)));
  if (got.ec && !expected_end(got.ec)) l.fault("a client's read: " + got.ec.message());
  const auto n = got.n;
  if (n == 0) co_return race.index() == 1 && waited_out(got.ec);
  if (back + n > sent) l.fault("more came back than was sent");
  const bool right = check(l, "client", key, back, std::span(memory).first(n));
  back += n;
  co_return right;
}

/// One client's life, from its connect to its end.
task<bool> one_client(life& l, dice& d) {
  endpoint to = l.servers[d.below(l.servers.size())];
  to.port = static_cast<std::uint16_t>(to.port + d.below(life::ports));
  auto c = co_await weir::connect(to).timeout(d.up_to_us(20'000)).nothrow();
  if (!c) {
    const auto why = c.error();
    if (why == std::errc::operation_canceled) co_return false;
    if (!waited_out(why) && why != std::errc::connection_refused &&
        why != std::errc::connection_reset)
      l.fault("a connect ended with " + why.message());
    const bool slept = co_await nap(d.up_to_us(500));
    co_return slept;
  }
  ++l.count.connects;
  const auto key = d.next();
  const auto head = header_of(key);
  auto first = co_await c->write_all(head).nothrow();
  std::uint64_t sent = 0, back = 0;
  std::vector<std::byte> memory(3000);
  bool alive = !first.ec;
  for (auto rounds = d.below(8); alive && rounds > 0; --rounds) {
    co_await pace(l, d);
    std::span<std::byte> bytes(memory.data(), d.size(memory.size()));
    fill_pattern(key, sent, bytes);
    auto w = co_await c->write_all(bytes).timeout(d.up_to_us(5000)).nothrow();
    sent += w.n;
    if (w.ec == std::errc::operation_canceled) co_return false;
    if (w.ec && !expected_end(w.ec)) l.fault("a client's write ended with " + w.ec.message());
    alive = !w.ec || w.ec == std::errc::timed_out;
    if (alive) alive = co_await compare_some(l, *c, d, key, sent, back);
  }
  co_await leave(l, *c, d);
  co_return true;
}

}  // namespace

task<> listeners(life& l, shard& s, endpoint at, std::vector<shard*> others, unsigned number) {
  auto d = l.actor(number);
  weir::scope sessions(s, {.max = 200});
  while (l.going(s)) {
    auto made = s.try_listen(at, any_options(l, s, d));
    if (!made) {
      const auto why = made.error();
      // Another key, or another mode or policy than the group's (docs/sharing.md).
      if (why != std::errc::address_in_use && why != std::errc::permission_denied &&
          why != std::errc::invalid_argument)
        l.fault("listen: " + why.message());
      const bool slept = co_await nap(1ms);
      if (!slept) break;
      continue;
    }
    ++l.count.listens;
    weir::tcp_listener listener = std::move(*made);
    weir::scope waiting(s);
    for (auto n = 1 + d.below(3); n > 0; --n)
      waiting.spawn(acceptor(l, s, others, listener, sessions, dice(d.next(), 0)));
    const bool slept = co_await nap(d.up_to_us(30'000));
    listener.close();
    co_await waiting.join();
    if (!slept) break;
  }
  const auto patience = d.up_to_us(100'000);
  co_await sessions.drain(patience);
}

task<> clients(life& l, shard& s, unsigned number) {
  auto d = l.actor(number);
  while (l.going(s)) {
    co_await pace(l, d);
    const bool more = co_await one_client(l, d);
    if (!more) co_return;
  }
}

}  // namespace soak
