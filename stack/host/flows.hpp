// The flows of a host: connections, handshakes that wait for their last step, and TIME_WAIT. One
// table finds them all. Each has its timer, its place in the directory of flows and, if it is a
// connection, its events, its place among those that have something to send, and after its user
// closed it its place among the orphans. How handshakes begin and complete is passive_opens'; what
// moves between shards is shard_link's.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "stack/base/slab.hpp"
#include "stack/host/core.hpp"
#include "stack/host/event_queue.hpp"
#include "stack/listen/flow_table.hpp"
#include "stack/listen/half_open.hpp"
#include "stack/share/flow_claims.hpp"
#include "stack/tcp/connection.hpp"
#include "stack/tcp/stamp.hpp"
#include "stack/tcp/time_wait.hpp"

namespace weir::stack {

/// A connection with what the host keeps about it.
struct tcp_socket {
  tcp_socket(const flow_key& flow, tcp::options_ref options)
      : connection(flow, std::move(options)) {}
  explicit tcp_socket(tcp::connection&& moved) : connection(std::move(moved)) {}

  /// Its place in an accept queue.
  struct place_in_queue {
    std::uint32_t next;
    tcp::stamp since;
  };
  /// Its place among those that were closed, in that order.
  struct place_among_orphans {
    std::uint32_t older, younger;
  };

  [[no_unique_address]] tcp::connection connection;
  ready pending = ready::none;
  bool event_queued : 1 = false;
  bool in_flush : 1 = false;
  bool attached : 1 = false;  ///< segments still find it
  bool owned : 1 = false;     ///< a user holds its id
  bool orphan : 1 = false;    ///< a user closed it, and it lives on to deliver what is queued
  tcp::timer_node timer;
  union {
    void* user = nullptr;        ///< while `owned`
    place_in_queue queued;       ///< before
    place_among_orphans closed;  ///< after
  };
};

/// Very many are kept: eight cache lines each, and none shared with a neighbour.
static_assert(slab<tcp_socket>::bytes_each == 512);

class flows {
 public:
  static constexpr std::uint32_t none = 0xffffffff;

  flows(host_core& core, event_queue& events, share::flow_claims& claims);
  ~flows();

  // --- Finding.
  flow_ref find(const flow_key& flow) const;
  /// The same for a segment that arrived, which often belongs to a flow that was announced.
  flow_ref find_next(const flow_key& flow);
  /// host::expect().
  void expect(std::span<const std::span<const std::byte>> packets) noexcept;
  std::uint64_t memory_in_use() const;
  /// Tells the other shards that all of them end.
  void forget_all();

  // --- Connections.
  tcp_socket& operator[](std::uint32_t index) { return sockets_[index]; }
  const tcp_socket& operator[](std::uint32_t index) const { return sockets_[index]; }
  bool live(std::uint32_t index) const { return sockets_.live(index); }
  std::size_t size() const { return sockets_.size(); }
  /// Indexes run from 0 to here.
  std::uint32_t capacity() const { return sockets_.capacity(); }
  bool full() const { return sockets_.size() >= core_.options.limits.connections; }
  socket_id id_of(std::uint32_t index) const {
    return static_cast<socket_id>(std::uint64_t{sockets_.generation(index)} << 32 | index);
  }
  std::uint32_t generation(std::uint32_t index) const { return sockets_.generation(index); }
  tcp_socket* find(std::uint32_t index, std::uint32_t generation) {
    return sockets_.find(index, generation);
  }
  /// The user's.
  tcp_socket* find(socket_id id) {
    if ((static_cast<std::uint64_t>(id) & request_bits) != 0) return nullptr;
    auto* s = sockets_.find(static_cast<std::uint32_t>(id), generation_of(id));
    return s != nullptr && s->owned ? s : nullptr;
  }
  /// A new one, which segments find from now on.
  std::uint32_t add(const flow_key& flow, tcp::options_ref options);
  /// One that comes from another shard. `attached`: segments still look for it.
  std::uint32_t adopt(tcp::connection&& moved, bool attached);
  /// Takes one out of the tables, for another shard; the flow goes on.
  tcp::connection take_out(std::uint32_t index);
  void post(std::uint32_t index, ready what) {
    // Before accept() nobody asks; it tells what happened meanwhile.
    if (auto& s = sockets_[index]; s.owned) events_.post(s, id_of(index), what);
  }
  /// After a call on a connection: its events, its timer, its end.
  void settle(std::uint32_t index, instant now);
  void want_flush(std::uint32_t index);
  /// Sends what connections have to send.
  void flush(instant now);
  void on_timer(instant now, std::uint32_t index);
  /// The user gives it up: it lives on as long as it has something to deliver.
  void close(instant now, std::uint32_t index);
  void abort(instant now, std::uint32_t index);
  /// The host needs its memory.
  void give_up(instant now, std::uint32_t index);
  std::uint32_t oldest_orphan() const { return oldest_orphan_; }
  std::uint32_t orphan_after(std::uint32_t index) const { return sockets_[index].closed.younger; }
  /// Ends one that no user has, with a reset.
  void reset(instant now, std::uint32_t index);

  // --- Handshakes.
  half_open& handshake(std::uint32_t index) { return half_open_[index]; }
  half_open* find_handshake(std::uint32_t index, std::uint32_t generation) {
    return half_open_.find(index, generation);
  }
  std::uint32_t handshake_generation(std::uint32_t index) const {
    return half_open_.generation(index);
  }
  std::size_t handshakes() const { return half_open_.size(); }
  std::uint32_t add(const half_open& entry);
  /// The entry goes; the flow may go on.
  void erase_handshake(std::uint32_t index);

  // --- TIME_WAIT.
  const tcp::time_wait_entry& waiting(std::uint32_t index) const { return time_wait_[index]; }
  std::size_t time_wait_entries() const { return time_wait_.size(); }
  void drop_time_wait(std::uint32_t index);
  /// Of anything but a SYN that may open the flow anew.
  void on_time_wait_segment(instant now, std::uint32_t index, const wire::tcp_segment& segment);

 private:
  const flow_key& key_of(flow_ref ref) const;
  bool is_of(std::uint32_t socket, const flow_key& flow) const;
  void detach(std::uint32_t index);
  void enter_time_wait(std::uint32_t index, instant now);
  void link_time_wait(std::uint32_t index);
  void unlink_time_wait(std::uint32_t index);
  void answer_in_time_wait(instant now, tcp::time_wait_entry& t);
  void free(std::uint32_t index, instant now);
  void add_orphan(std::uint32_t index);
  void remove_orphan(std::uint32_t index);

  host_core& core_;
  event_queue& events_;
  share::flow_claims& claims_;
  flow_table table_;
  slab<tcp_socket> sockets_;
  slab<half_open> half_open_;
  slab<tcp::time_wait_entry> time_wait_;
  std::uint32_t last_found_ = none;  // the connection of the last segment; perhaps gone since
  // Those that expect() found for the packets to come, in their order; perhaps wrong ones.
  static constexpr std::size_t most_announced = 16;
  std::array<std::uint32_t, most_announced> announced_;
  std::uint8_t announced_count_ = 0, announced_next_ = 0;
  // Lists of indexes, since what lies in a slab is named so, and half as long as pointers.
  std::uint32_t time_wait_head_ = none, time_wait_tail_ = none;
  std::uint32_t oldest_orphan_ = none, youngest_orphan_ = none, orphans_ = 0;
  std::vector<std::uint32_t> flush_, flushing_;
};

}  // namespace weir::stack
