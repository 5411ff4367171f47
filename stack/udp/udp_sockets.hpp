// The UDP sockets of one host: which socket a datagram belongs to, and the bounded queue in which
// it waits there. It sends nothing, chooses no port and knows no events; udp.cpp does. RFC
// 768, RFC 1122 4.1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include "stack/base/flow_key.hpp"
#include "stack/base/hash_index.hpp"
#include "stack/base/slab.hpp"
#include "stack/buffer/chunk_pool.hpp"
#include "weir/stack/counters.hpp"
#include "weir/stack/info.hpp"
#include "weir/stack/lent_datagram.hpp"
#include "weir/stack/options.hpp"
#include "weir/stack/sockets.hpp"

namespace weir::stack {

struct udp_socket {
  endpoint local, remote;
  endpoint bound;  ///< where it was bound; `local` has an address of its own once it is connected
  udp_options options;
  void* user = nullptr;
  std::error_code error;                                           ///< to be reported once
  std::uint32_t head = hash_index::none, tail = hash_index::none;  ///< of the receive queue
  std::uint32_t queued = 0;                                        ///< in it, and lent out of it
  std::uint32_t queued_bytes = 0;
  std::uint64_t received = 0, sent = 0, dropped = 0, icmp_errors = 0;
  std::uint8_t last_icmp_type = 0, last_icmp_code = 0;
  // What an ICMP error may be about: the last destination, and the longest packet that went there.
  endpoint last_destination;
  std::uint32_t longest_packet = 0;
  ready pending = ready::none;
  bool connected = false;
  bool event_queued = false;

  // Of one that takes others' datagrams: the flows that began here, the one idle for longest first.
  std::optional<any_destination> any;
  udp_flow_options flow_options;
  std::uint32_t flows = 0, oldest = hash_index::none, youngest = hash_index::none;
  std::uint32_t unaccepted_head = hash_index::none, unaccepted_tail = hash_index::none;
  // Of such a flow: where it began, its neighbours there, and who waits to be accepted behind it.
  bool is_flow = false;
  bool accepted = false;
  bool echo = false;  ///< of ICMP
  bool over = false;  ///< it was idle for too long: its error stays
  std::uint32_t begun_at = hash_index::none;
  std::uint32_t older = hash_index::none, younger = hash_index::none;
  std::uint32_t next_unaccepted = hash_index::none;
  instant used;

  bool has_user() const { return !is_flow || accepted; }
  std::error_code take_error() { return over ? error : std::exchange(error, {}); }
  udp_info info() const;
};

class udp_sockets {
 public:
  static constexpr std::uint32_t none = hash_index::none;

  /// The pool outlives this.
  udp_sockets(siphash_key key, buffer::chunk_pool& pool) : key_(key), pool_(pool) {}
  ~udp_sockets();
  udp_sockets(const udp_sockets&) = delete;
  udp_sockets& operator=(const udp_sockets&) = delete;

  /// The socket for a datagram to `local` from `remote`: on that very address, else on the wildcard
  /// of its family; a connected one takes its remote's datagrams only. Of several it is the one
  /// that is connected to the remote, else one of those without a remote, by hash.
  std::uint32_t match(const endpoint& local, const endpoint& remote) const;
  /// The socket that sends from `local` to `remote`, whatever it is connected to.
  std::uint32_t sender(const endpoint& local, const endpoint& remote) const;
  /// Whether a new socket there would take datagrams from one that exists, or the other way round.
  bool conflicts(const endpoint& local) const;
  /// Whether those that it conflicts with are `sharded` and at this very address.
  bool may_join(const endpoint& local) const;

  std::uint32_t add(const endpoint& local, const udp_options& options);
  void remove(std::uint32_t index);

  // Flows of others' addresses.
  std::size_t any_size() const { return any_.size(); }
  bool conflicts(const any_destination& where, bool echo) const;
  std::uint32_t add_any(const any_destination& where, const udp_flow_options& options);
  std::uint32_t match_any(const endpoint& local, bool echo) const;
  std::uint32_t flow(const endpoint& local, const endpoint& remote, bool echo = false) const;
  bool flows_full(std::uint32_t any) const {
    return sockets_[any].flows >= sockets_[any].flow_options.flows;
  }
  std::uint32_t add_flow(std::uint32_t any, instant now, const endpoint& local,
                         const endpoint& remote);
  std::uint32_t take_unaccepted(std::uint32_t any);
  void forget_unaccepted(std::uint32_t flow);
  void drop_unaccepted(std::uint32_t any);
  /// A datagram went one way or the other.
  void touch(std::uint32_t index, instant now) {
    if (sockets_[index].is_flow) touch_flow(index, now);
  }
  /// A flow whose idle time is over, and which no datagram finds any more; none.
  std::uint32_t take_expired(instant now);
  instant next_deadline() const;

  /// Ties the socket to `remote`; `source` is the address that it sends from. Drops what others
  /// have sent.
  void connect(std::uint32_t index, const ip_address& source, const endpoint& remote);

  /// What is kept of a datagram beside its bytes.
  struct arrival {
    endpoint from;
    ip_address to;
    std::uint8_t ecn = 0;
  };
  /// Queues a datagram. Gives why it had to be dropped, or nothing.
  enum class admission : std::uint8_t { queued, queue_full, no_memory };
  admission push(std::uint32_t index, const arrival& of, std::span<const std::byte> payload);
  /// Takes the oldest; there is one.
  received_datagram pop(std::uint32_t index, std::span<std::byte> into);
  /// The same, its bytes stay.
  lent_datagram lend(std::uint32_t index);
  void give_back(std::uint32_t index, std::uint32_t token);

  udp_socket& operator[](std::uint32_t index) { return sockets_[index]; }
  std::uint32_t generation(std::uint32_t index) const { return sockets_.generation(index); }
  udp_socket* find(std::uint32_t index, std::uint32_t generation) {
    return sockets_.find(index, generation);
  }
  std::size_t size() const { return sockets_.size(); }
  template <class Visit>
  void for_each(Visit&& visit) const {
    for (std::uint32_t i = 0; i < sockets_.capacity(); ++i)
      if (sockets_.live(i)) visit(sockets_[i]);
  }

 private:
  struct record {
    arrival of;
    buffer::chunk* bytes = nullptr;  // none for a datagram without payload
    std::uint32_t size = 0;
    std::uint32_t next = none;
  };

  std::uint32_t exact(const endpoint& local) const;
  std::uint32_t bound(const endpoint& local) const;
  std::uint32_t member(const endpoint& local, const endpoint& remote) const;
  template <class Matches>
  std::uint32_t among(const endpoint& local, Matches&& matches) const;
  void touch_flow(std::uint32_t index, instant now);
  void leave_any(std::uint32_t flow);
  void forget_any(std::uint32_t index);
  void append(udp_socket& s, std::uint32_t record);
  std::uint32_t take_head(udp_socket& s);
  void discard(udp_socket& s, std::uint32_t record);
  static std::uint32_t cost(std::size_t size);

  siphash_key key_;
  buffer::chunk_pool& pool_;
  hash_index index_;
  hash_index flow_index_;           // by both endpoints
  std::vector<std::uint32_t> any_;  // in the order in which they are asked
  slab<udp_socket, 16> sockets_;
  slab<record>
      records_;  // grows to the most that ever waited at once, never beyond the sockets' bounds
};

}  // namespace weir::stack
