// Who has which card address on a link: one table for ARP and neighbour discovery, with the states
// of RFC 4861 7.3.2 (which serve IPv4 as well), and the packets that wait for an answer. Bounded in
// entries, packets and bytes; asks and sends through its owner; reads no clock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "stack/link/counters.hpp"
#include "stack/wire/ethernet.hpp"
#include "weir/stack/address.hpp"
#include "weir/stack/packets.hpp"
#include "weir/stack/time.hpp"

namespace weir::stack {

struct neighbour_limits {
  std::size_t neighbours = 256;
  std::size_t waiting_each = 3;  ///< packets to one neighbour (RFC 1122 2.3.2.2 asks for one)
  std::size_t waiting_bytes = 256 << 10;  ///< of all of them
};

enum class neighbour_state : std::uint8_t {
  incomplete,  ///< asked for, not answered yet
  reachable,   ///< answered not long ago
  stale,       ///< known, and to be verified when it is used
  delay,       ///< used since, and given some time before it is
  probe        ///< asked whether it is there still
};

/// What the table asks of the link.
class neighbour_owner {
 public:
  /// Sends a question about `target`: to `known`, or to all where that is null.
  virtual void ask(const ip_address& target, const wire::mac_address* known) = 0;
  /// Sends a packet that waited.
  virtual void send_waiting(const wire::mac_address& to, std::span<const std::byte> packet,
                            const transmit_meta& meta) = 0;

 protected:
  ~neighbour_owner() = default;
};

class neighbour_table {
 public:
  // RFC 4861 10; without its random factors, as nothing here draws numbers.
  static constexpr duration reachable_time = std::chrono::seconds(30);
  static constexpr duration delay_first_probe = std::chrono::seconds(5);
  static constexpr duration between_questions = std::chrono::seconds(1);
  static constexpr unsigned most_questions = 3;

  neighbour_table(const neighbour_limits& limits, neighbour_owner& owner, link_counters& counters);

  /// Where to send a packet to `next_hop` now; null when that is not known: keep_waiting().
  const wire::mac_address* find(instant now, const ip_address& next_hop);
  /// Takes a copy of the packet until the neighbour has answered, and asks for it where nobody did.
  /// False: there is no room.
  bool keep_waiting(instant now, const ip_address& next_hop,
                    std::span<const std::span<const std::byte>> parts, const transmit_meta& meta);

  /// Somebody of this address was heard to have this card, unasked: known, not verified.
  void heard(instant now, const ip_address& who, const wire::mac_address& mac);
  /// The same, where only those are concerned that are in the table already.
  void heard_if_known(instant now, const ip_address& who, const wire::mac_address& mac);
  struct answer {
    wire::mac_address mac;
    bool solicited = false;  ///< it answers a question, which shows that the neighbour hears us
    bool replaces = false;   ///< it may take the place of another card address that is known
  };
  /// False: nobody knows or asks for `who` (RFC 4861 7.2.5).
  bool answered(instant now, const ip_address& who, const answer& what);

  void advance(instant now);
  instant next_deadline() const { return next_; }

  std::size_t size() const { return entries_.size(); }
  std::size_t waiting_bytes() const { return waiting_bytes_; }
  /// The card of a neighbour whose card is known; null otherwise. Counts as no use of it.
  const wire::mac_address* card_of(const ip_address& who) const;
  /// Nothing known of it: null.
  const neighbour_state* state_of(const ip_address& who) const;

 private:
  struct waiting_packet {
    std::vector<std::byte> bytes;
    transmit_meta meta;
  };
  struct entry {
    ip_address address;
    wire::mac_address mac;
    neighbour_state state = neighbour_state::incomplete;
    unsigned questions = 0;
    instant deadline = instant::never();
    instant used;
    std::vector<waiting_packet> waiting;
  };

  entry* look_up(const ip_address& who);
  entry* add(instant now, const ip_address& who);
  bool evict();
  void remove(std::size_t index);
  void question(instant now, entry& e);
  void learn(instant now, entry& e, const wire::mac_address& mac, neighbour_state state);
  void set_deadline(entry& e, instant when);
  void expire(instant now, std::size_t index);

  neighbour_limits limits_;
  neighbour_owner& owner_;
  link_counters& counters_;
  std::vector<entry> entries_;  // few: a guest's link has one neighbour
  std::size_t recent_ = 0;      // the entry that was found last
  std::size_t waiting_bytes_ = 0;
  instant next_ = instant::never();
};

}  // namespace weir::stack
