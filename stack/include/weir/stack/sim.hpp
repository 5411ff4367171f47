// A simulated network: nodes joined by links with delay, loss, reordering, duplication, corruption,
// a rate and a queue, under a virtual clock and one seed. It carries IP packets between whoever
// owns the nodes (stack hosts, shards, test scripts) and knows nothing of them. No system call, no
// thread, no real clock: the same seed and the same calls give the same packets at the same virtual
// nanosecond, on every machine.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weir/stack/address.hpp"
#include "weir/stack/time.hpp"

namespace weir::sim {

/// A small generator (xoshiro256**, seeded through splitmix64) that is the same on every platform,
/// which the standard library's distributions are not.
class random_source {
 public:
  explicit random_source(std::uint64_t seed);
  std::uint64_t next();
  /// 0 ... bound - 1; 0 when `bound` is 0.
  std::uint64_t below(std::uint64_t bound);
  /// True with this probability (0 ... 1).
  bool chance(double probability);
  /// 0 ... limit, evenly.
  duration up_to(duration limit);
  /// A generator of its own for purpose number `stream`: what one consumes does not move the
  /// others.
  static random_source derived(std::uint64_t seed, std::uint64_t stream);

 private:
  std::array<std::uint64_t, 4> state_;
};

/// One direction of a link. Probabilities are per packet, 0 ... 1.
struct link_options {
  duration delay = std::chrono::microseconds(100);  ///< propagation, one way
  duration jitter{};  ///< up to this much more, evenly; the order is kept
  double loss = 0;
  double reorder = 0;        ///< held back, so that later packets overtake
  duration reorder_delay{};  ///< by this much; 0: as much as `delay`, at least 1 ms
  double duplicate = 0;      ///< delivered twice, the copy up to reorder_delay later
  double corrupt =
      0;  ///< one bit flipped, anywhere in the packet (which every Internet checksum detects)
  std::uint64_t rate = 0;           ///< bytes per second; 0: no limit
  std::uint32_t queue = 256 << 10;  ///< bytes that may wait for the rate; more is dropped
  std::uint16_t mtu = 0;            ///< longer packets are dropped; 0: no limit
  bool announce_mtu =
      true;  ///< such a drop is told by ICMP (RFC 1191, RFC 8201); false makes a black hole
};

/// What one direction of a link did. Counters only grow.
struct link_counters {
  std::uint64_t sent = 0, delivered = 0, bytes = 0;
  std::uint64_t lost = 0, reordered = 0, duplicated = 0, corrupted = 0;
  std::uint64_t queue_full = 0, too_long = 0, down = 0;
};

enum class node_id : std::uint32_t {};

/// Two nodes, joined. Owned by its fabric. Direction 0 leads from the first node to the second.
class link {
 public:
  link(node_id a, node_id b, const link_options& options, std::uint64_t seed, std::uint64_t number);

  /// Of both directions, or of one. Packets that travel already are not touched.
  void set_options(const link_options& options);
  void set_options(int direction, const link_options& options) {
    ways_[way(direction)].options = options;
  }
  const link_options& options(int direction) const { return ways_[way(direction)].options; }
  /// A partition: everything that is sent is lost until the link is up again. What travels still
  /// arrives.
  void set_down(bool down) { set_down(0, down), set_down(1, down); }
  void set_down(int direction, bool down) { ways_[way(direction)].down = down; }
  const link_counters& counters(int direction) const { return ways_[way(direction)].counters; }
  node_id node(int end) const { return ends_[way(end)]; }

 private:
  friend class fabric;
  struct one_way {
    link_options options;
    link_counters counters;
    random_source random;
    instant free_at;              // when the rate lets the next packet start
    instant last_arrival;         // of what keeps its order
    std::uint64_t in_flight = 0;  // bytes
    bool down = false;
  };
  static std::size_t way(int direction) { return direction == 0 ? 0 : 1; }
  std::array<node_id, 2> ends_;
  std::array<one_way, 2> ways_;
};

/// What happened to a packet, for a tap.
enum class fate : std::uint8_t {
  sent,
  delivered,
  lost,
  corrupted,
  duplicated,
  reordered,
  queue_full,
  too_long,
  down
};
std::string_view name(fate f);

/// The network. A packet goes to the neighbour that owns its destination address, else to the
/// node's gateway (send_others_by()); what has none is counted and dropped. There are no routers: a
/// path is one link, with whatever delay, rate and losses it is to have.
class fabric {
 public:
  /// Bytes on the way in one direction of a link; more is dropped as queue_full, whatever the
  /// options say.
  static constexpr std::uint64_t max_in_flight = 256u << 20;

  using receiver = std::function<void(std::span<const std::byte>)>;
  using tap =
      std::function<void(instant, const link&, int direction, fate, std::span<const std::byte>)>;

  explicit fabric(std::uint64_t seed);
  ~fabric();
  fabric(const fabric&) = delete;
  fabric& operator=(const fabric&) = delete;

  std::uint64_t seed() const;
  instant now() const;

  /// `deliver` is called from advance_to() for each packet that arrives; the bytes are valid during
  /// the call.
  node_id add_node(std::string name, std::vector<ip_address> addresses, receiver deliver);
  link& join(node_id a, node_id b, const link_options& options = {});
  /// What no neighbour of `from` owns leaves by this link.
  void send_others_by(node_id from, link& over);
  std::string_view node_name(node_id node) const;

  /// One IP packet, gathered from parts, leaves `from` now.
  void send(node_id from, std::span<const std::span<const std::byte>> parts);

  /// When the next packet arrives; never() when none travels.
  instant next_event() const;
  /// Moves the clock to `t` (never back) and delivers everything that arrives until then, in order.
  void advance_to(instant t);

  /// A hash over every packet that was sent or delivered and when: equal for equal runs.
  std::uint64_t trace() const;
  std::uint64_t unroutable() const;
  std::size_t in_flight() const;
  void set_tap(tap t);

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace weir::sim
