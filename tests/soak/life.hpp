// One life of a soak: what its actors share. A life is a back end, a seed and a while; actors are
// coroutines that open, use and close sockets at random. Each actor draws from a generator of its
// own, derived from the seed and the actor's number, so that a seed replays what they decide
// (and, in the simulator, everything).
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weir/sim.hpp"
#include "weir/weir.hpp"

namespace soak {

using namespace std::chrono_literals;
using weir::endpoint;
using weir::shard;
using weir::task;

/// What happened, for the line at the end: a life in which nothing happened proves nothing.
struct counts {
  std::atomic<std::uint64_t> bytes{0}, connects{0}, accepts{0}, listens{0}, lent{0}, owned{0},
      gathered{0}, timeouts{0}, cancels{0}, aborts{0}, submits{0}, moves{0}, datagrams{0},
      children{0};
  std::string text() const;
  std::uint64_t sum() const;
};

/// A generator and the draws that actors make from it.
class dice {
 public:
  dice(std::uint64_t seed, std::uint64_t actor)
      : source_(weir::sim::random_source::derived(seed, actor)) {}

  std::uint64_t below(std::uint64_t bound) { return source_.below(bound); }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  /// Up to this many microseconds; now and then none.
  weir::duration up_to_us(std::uint64_t most) {
    return one_in(16) ? weir::duration{} : std::chrono::microseconds(below(most));
  }
  /// 1 ... most, mostly small.
  std::size_t size(std::size_t most) {
    return 1 + static_cast<std::size_t>(one_in(4) ? below(most) : below(most / 50 + 1));
  }
  std::uint64_t next() { return source_.next(); }

 private:
  weir::sim::random_source source_;
};

class life {
 public:
  life(std::string_view back_end, std::uint64_t s) : backend(back_end), seed(s) {}

  const std::string backend;
  const std::uint64_t seed;
  /// Where listeners come and go; each stands for `ports` ports.
  std::vector<endpoint> servers;
  static constexpr std::uint16_t ports = 3;
  counts count;

  bool simulated() const { return backend == "sim"; }
  /// Actors go on while this is true: neither is the life over nor was the shard asked to stop.
  bool going(const shard& s) const { return !over_ && !s.stop_requested(); }
  void end() { over_ = true; }
  dice actor() { return {seed, actors_++}; }
  dice actor(std::uint64_t number) const { return {seed, number}; }

  /// Something that must not be. Prints it; the life fails and goes on. Any thread.
  void fault(const std::string& what);
  bool failed() const { return faults_ != 0; }

 private:
  std::atomic<bool> over_{false};
  std::atomic<std::uint64_t> faults_{0};
  std::atomic<std::uint64_t> actors_{1'000'000};  // beyond those with numbers of their own
};

/// Byte `index` of the stream with this key.
inline std::byte byte_at(std::uint64_t key, std::uint64_t index) {
  const auto x = (key ^ (index >> 3)) * 0x9e3779b97f4a7c15u;
  return static_cast<std::byte>(x >> (8 * (index & 7)));
}
void fill_pattern(std::uint64_t key, std::uint64_t from, std::span<std::byte> into);
/// Faults when the bytes are not those of the stream from this place on.
bool check(life& l, const char* where, std::uint64_t key, std::uint64_t from,
           std::span<const std::byte> bytes);

/// How a read or write may end without a fault: the peer went, the wait was over.
bool expected_end(std::error_code ec);
inline bool waited_out(std::error_code ec) {
  return ec == std::errc::timed_out || ec == std::errc::operation_canceled;
}

/// Waits this long; false when it was cancelled meanwhile.
task<bool> nap(weir::duration time);

/// Between two steps: lets time pass, now and then. In the simulator it passes only while everybody
/// waits, so there always.
task<> pace(const life& l, dice& d);

// What lives (each returns when the life is over, or when it is cancelled).

/// Connections from this address to itself: what was written is read, to the byte.
task<> exact_pairs(life& l, shard& s, weir::ip_address own, unsigned number);
/// Opens and closes listeners on one port of the servers' in every sharing mode, and echoes; the
/// connections go on to others now and then.
task<> listeners(life& l, shard& s, endpoint at, std::vector<shard*> others, unsigned number);
/// Connects to one of the servers, sends, compares what is echoed, and leaves in some way.
task<> clients(life& l, shard& s, unsigned number);
/// Sends tasks to other shards, and gives up on some.
task<> submitters(life& l, shard& s, std::vector<shard*> others, unsigned number);
/// UDP sockets that come and go; every datagram says what must be in it.
task<> datagrams(life& l, shard& s, endpoint at, unsigned number);
/// Programs that are started, given up, fed, waited for, killed, forgotten.
task<> children(life& l, shard& s, unsigned number);

/// All of them on one shard; `own` is where its listeners stand.
task<> inhabit(life& l, shard& s, endpoint own, std::vector<shard*> others, unsigned number);

}  // namespace soak
