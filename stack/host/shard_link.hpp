// What binds the hosts of one device together: the groups of listeners that several of them form,
// which shard a flow lives on, what is handed over because it arrived or began in the wrong place,
// and the accept queues that shards share. A host with a device to itself has one too, which does
// nothing. shard_link.cpp: whose a segment is. moving.cpp: connections and handshakes that change
// shards. shared_queue.cpp: one accept queue for several shards.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "stack/host/passive_opens.hpp"
#include "stack/share/group_table.hpp"
#include "weir/stack/shards.hpp"

namespace weir::stack {

/// Takes what other shards handed over, as if it had come from the device.
class handover_receiver {
 public:
  /// `hops`: how many shards handed it on.
  virtual void on_segment(instant now, const wire::tcp_segment& segment, unsigned hops) = 0;
  virtual void on_icmp(instant now, const icmp_report& report, unsigned hops) = 0;
  virtual void on_datagram(instant now, const wire::udp_datagram& datagram, unsigned hops) = 0;

 protected:
  ~handover_receiver() = default;
};

class shard_link final : shared_queue_watcher {
 public:
  shard_link(host_core& core, share::flow_claims& claims, flows& flows, passive_opens& opens,
             shard_set* shards, unsigned shard);

  /// Whether there are other shards.
  bool shares() const { return share_ != nullptr; }

  // --- Listening.
  std::error_code join(const endpoint& local, const listen_options& options) {
    return share_->join(shard_, local, options);
  }
  /// The listener is there: it is the group's from now on.
  void joined(std::uint32_t index);
  /// The listener goes: what it holds goes to those who stay.
  void leave(instant now, std::uint32_t index);
  /// The host goes, its listeners first.
  void leave_all(handover_receiver& receiver);
  bool taken(const endpoint& local) const { return share_->taken(local); }
  /// Whether any shard listens there.
  bool listens(const endpoint& local) {
    return share_ != nullptr && view().match(local) != nullptr;
  }
  /// How many listeners the group of this address has.
  std::uint32_t members(const endpoint& local);

  // --- Connecting.
  /// Whether some shard has this flow.
  bool has(const flow_key& flow) const {
    return share_ != nullptr &&
           share_->directory().find(share_->hash(flow)) != share::flow_directory::none;
  }
  /// Whether a flow begins here without anybody being told.
  bool at_home(const flow_key& flow) const { return share_->home(share_->hash(flow)) == shard_; }
  unsigned shard() const { return shard_; }

  // --- What arrives.
  /// False: it is this shard's; `listener` says whose, if anybody's.
  bool hand_over(instant now, const flow_key& flow, const wire::tcp_segment& segment, unsigned hops,
                 std::uint32_t& listener);
  bool hand_over(const icmp_report& report, unsigned hops);
  void take_handovers(instant now, handover_receiver& receiver);
  /// What the other shards go by when they choose a member.
  void publish();

  // --- Accepting.
  void accept_wanted(instant now, std::uint32_t index);
  void accept_unwanted(instant now, std::uint32_t index);
  /// Whether a connection in this queue may be taken without waiting for one's turn.
  bool may_accept(const listener& l);
  /// One is taken: of those that answer a wish, else for an acceptor that still waits.
  void note_accepted(listener& l);
  void serve_due_wants(instant now);

 private:
  static constexpr auto none = passive_opens::none;

  const share::snapshot& view();
  // shard_link.cpp
  bool forward(unsigned target, const wire::tcp_segment& segment, unsigned hops);
  std::span<const std::byte> whole_packet(share::handover& item,
                                          std::span<const std::byte> payload) const;
  unsigned member_for(const share::placement& where, std::uint64_t hash);
  void take(instant now, share::handover& item, handover_receiver& receiver);
  // moving.cpp
  void move_connection(std::uint32_t index, const share::group& of, unsigned target, bool answer);
  void move_half_open(std::uint32_t index, const share::group& of, unsigned target);
  void send_moved(share::handover&& item, unsigned target, const flow_key& flow);
  void adopt(instant now, share::handover& item);
  void make_way(const flow_key& flow);
  void adopt_connection(instant now, share::handover& item);
  void queue_adopted(instant now, std::uint32_t connection, std::uint32_t listener,
                     bool answers_want);
  void adopt_half_open(instant now, share::handover& item);
  // shared_queue.cpp
  void serve_shared(instant now, std::uint32_t index) override;
  bool has_queue(const listener& l);
  share::handover wish(share::handover::kind what, const listener& l) const;
  void send_want(share::handover&& item);
  void on_want(instant now, share::handover& item);
  void leave_queue(const listener& l, bool had_queue);
  void serve_wants(instant now, std::uint32_t index);
  void answer_here(std::uint32_t index);
  bool may_move(std::uint32_t connection, unsigned target);

  host_core& core_;
  share::flow_claims& claims_;
  flows& flows_;
  passive_opens& opens_;
  share::table* share_;
  unsigned shard_;
  std::shared_ptr<const share::snapshot> view_;
  std::uint64_t view_version_ = 0;
  share::batch handed_over_;
  std::vector<socket_id> wants_due_;  // listeners whose own acceptors are served at the turn's end
  instant clock_;                     // shards read their clocks apart: the latest of both
};

}  // namespace weir::stack
