// What one seed draws: a whole scenario. Two hosts with their limits and TCP settings, the link
// between them and what happens to it, the connections and how each end of them behaves. Drawing it
// is apart from running it, so that a plan can be printed beside a failure.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "weir/stack/host.hpp"
#include "weir/stack/sim.hpp"

namespace sim_test {

/// How an end leaves its connection.
enum class ending : std::uint8_t {
  orderly,        ///< sends everything, shuts down, reads to the end of the stream, closes
  close_early,    ///< closes after its last byte: what the peer still sends meets a reset
  abort_on_time,  ///< resets at an instant of its own
};

/// One end of a connection: what it sends, how it reads, how it leaves.
struct end_plan {
  std::uint64_t size = 0;  ///< bytes that it sends
  std::uint32_t write_chunk = 1, read_chunk = 1;
  weir::duration write_pause{}, read_pause{};
  std::uint64_t stall_after = UINT64_MAX;  ///< having read this much, it stops reading
  weir::duration stall{};
  bool peeks = false;  ///< peek() and consume() in place of receive()
  bool corks = false;  ///< holds and releases small segments as it writes
  bool changes_options = false;
  /// Closes only when everything is acknowledged. One that does not leaves an orphan, which the
  /// stack delivers in bounded time: too short for a peer that stalls on a lossy link.
  bool lingers = false;
  ending leaves = ending::orderly;
  weir::duration abort_at{};  ///< after it was opened
};

struct connection_plan {
  int client = 0;  ///< which host opens it
  bool v6 = false;
  bool simultaneous = false;  ///< both open it at one instant, without a listener
  weir::duration start{};
  weir::stack::tcp_options options;  ///< of the client, or of both
  std::array<end_plan, 2> ends;      ///< the client's first
};

/// Something that happens to the link.
struct link_event {
  enum class kind : std::uint8_t { options, mtu, down, up } what = kind::options;
  weir::duration at{};
  int direction = 0;
  bool both = false;
  weir::sim::link_options options;  ///< with `options`
  std::uint16_t mtu = 0;            ///< with `mtu`
  bool announce = true;
};

struct world_plan {
  std::uint64_t seed = 0;
  std::array<weir::stack::host_options, 2> hosts;
  std::array<weir::stack::listen_options, 2> listening;
  std::array<weir::duration, 2> accept_delay{};  ///< a listener's user looks this often; 0: at once
  std::array<weir::sim::link_options, 2> ways;
  std::array<double, 2> congestion{};  ///< what leaves a host is marked CE with this probability
  std::vector<link_event> events;
  std::vector<connection_plan> connections;
  bool acknowledges_first = false;  ///< the hosts are flushed before the applications run
  /// Partitions, limits or overflowing queues that may end a connection which did nothing wrong.
  bool connections_may_fail = false;
};

world_plan draw_world(std::uint64_t seed);
/// One line or more for a failure's report.
std::string describe(const world_plan& plan);

}  // namespace sim_test
