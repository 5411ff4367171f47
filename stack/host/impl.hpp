// The inside of host: the tables, the queues of work, and the steps between IP and connections.
// host.cpp is the facade, input.cpp what arrives and time, listen.cpp handshakes, flows.cpp how
// flows begin and end, sockets.cpp the users' calls, udp.cpp all of UDP, memory.cpp whom a shortage
// of memory costs his connection, share.cpp what several hosts on one device have to say to each
// other, and shared_queue.cpp how they share an accept queue.
#pragma once

#include <cstdint>
#include <vector>

#include "base/slab.hpp"
#include "buffer/chunk_pool.hpp"
#include "ip/ip_layer.hpp"
#include "listen/flow_table.hpp"
#include "listen/half_open.hpp"
#include "listen/listener_table.hpp"
#include "listen/ports.hpp"
#include "listen/syn_cookie.hpp"
#include "listen/syn_pressure.hpp"
#include "share/group_table.hpp"
#include "tcp/connection.hpp"
#include "tcp/isn.hpp"
#include "tcp/stamp.hpp"
#include "tcp/time_wait.hpp"
#include "tcp/timer_wheel.hpp"
#include "udp/udp_sockets.hpp"
#include "weir/stack/host.hpp"
#include "weir/stack/shards.hpp"

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

class host::impl final : public tcp::egress {
 public:
  impl(host_options options, packet_sink& sink, std::shared_ptr<shard_set> shards, unsigned shard);
  ~impl();

  // input.cpp
  void input(instant now, std::span<const std::byte> packet, const receive_meta& meta);
  void flush(instant now);
  void advance(instant now);
  instant next_deadline() const;
  bool next_event(event& out);
  void send_segment(instant now, const wire::tcp_segment& segment,
                    std::span<const std::span<const std::byte>> payload, std::uint8_t ttl) override;
  std::uint16_t path_mtu(instant now, const ip_address& destination) const override {
    return ip_.path_mtu(now, destination);
  }
  std::uint16_t path_limit(instant now, const ip_address& destination) const override {
    return ip_.path_limit(now, destination);
  }

  // flows.cpp
  void expect(std::span<const std::span<const std::byte>> packets) noexcept;

  // share.cpp
  void take_handovers(instant now);
  listener_info info_of(const listener& l);

  // shared_queue.cpp
  void accept_wanted(instant now, socket_id id);
  void accept_unwanted(instant now, socket_id id);

  // sockets.cpp
  result<socket_id> listen(const endpoint& local, const listen_options& options);
  result<socket_id> accept(instant now, socket_id id);
  result<socket_id> connect(instant now, const endpoint& remote, const endpoint& local,
                            const tcp_options& options);
  result<lent_chunk> lend(instant now, socket_id id);
  result<lent_chunk> keep(std::span<const std::byte> bytes, void (*give_back)(void*) noexcept,
                          void* context);
  result<std::size_t> send_lent(instant now, socket_id id, const lent_chunk& from,
                                std::span<const std::byte> bytes, bool more);
  void release(instant now, const lent_chunk& lent);
  void close(instant now, socket_id id);
  void abort(instant now, socket_id id);
  void abort_connection(instant now, std::uint32_t index);
  void reset_unfinished(instant now);
  void set_user(socket_id id, void* user);
  endpoint local_endpoint(socket_id id);
  tcp_socket* find(socket_id id) {
    const auto raw = static_cast<std::uint64_t>(id);
    if ((raw & listener_bit) != 0) return nullptr;
    auto* s = sockets_.find(static_cast<std::uint32_t>(raw), static_cast<std::uint32_t>(raw >> 32));
    return s != nullptr && s->owned ? s : nullptr;
  }
  listener* find_listener(socket_id id);

  // udp.cpp
  result<socket_id> udp_bind(const endpoint& local, const udp_options& options);
  result<socket_id> udp_connect(const endpoint& remote, const endpoint& local,
                                const udp_options& options);
  std::error_code udp_connect(socket_id id, const endpoint& remote);
  result<std::size_t> udp_send(instant now, socket_id id, const endpoint* to,
                               std::span<const std::span<const std::byte>> payload);
  result<received_datagram> udp_receive(socket_id id, std::span<std::byte> into);
  void udp_close(socket_id id);
  udp_socket* find_udp(socket_id id);

  /// After a call on a socket: its events, its timer, its end.
  void settle(std::uint32_t index, instant now);
  static std::uint32_t index_of(socket_id id) {
    return static_cast<std::uint32_t>(id) & 0x7fffffffu;
  }
  tcp::context context(instant now) {
    latest_ = now;
    return {now, pool_, counters_, *this};
  }
  std::uint64_t memory_in_use() const;
  std::size_t half_open_count() const { return half_open_.size(); }
  std::size_t time_wait_count() const { return time_wait_.size(); }

  instant latest_;       // the last `now` that a call brought
  bool behind_ = false;  // the device had more than the last batch took
  host_options options_;
  host_counters counters_;
  buffer::chunk_pool pool_;
  std::size_t lent_ = 0;  // chunks that users hold
  ip_layer ip_;
  slab<tcp_socket> sockets_;
  listener_table listeners_;

 private:
  static constexpr std::uint32_t none = 0xffffffff;

  // input.cpp
  void take(instant now, const delivery& what);
  void on_segment(instant now, const wire::tcp_segment& segment, unsigned hops = 0);
  void on_icmp(instant now, const icmp_report& report, unsigned hops = 0);
  void on_timer(instant now, const tcp::timer_node& node);
  void flush_connections(instant now);
  void want_flush(std::uint32_t index);
  bool is_of(std::uint32_t socket, const flow_key& flow) const;
  flow_ref found_soon(const flow_key& flow);
  // listen.cpp
  void on_listener_segment(instant now, std::uint32_t index, const wire::tcp_segment& segment,
                           tcp::seq iss_floor, bool has_floor);
  void on_half_open_segment(instant now, std::uint32_t index, const wire::tcp_segment& segment);
  void complete(instant now, std::uint32_t index, const wire::tcp_segment& segment);
  void add_accepted(instant now, const flow_key& flow, const tcp::handshake& agreed,
                    std::uint32_t listener_index, const wire::tcp_segment& segment);
  void send_cookie(instant now, listener& l, const wire::tcp_segment& segment);
  bool postpone(instant now, std::span<const std::byte> packet);
  void expect_syns(std::span<const std::span<const std::byte>> packets) const noexcept;
  bool accept_cookie(instant now, std::uint32_t index, const wire::tcp_segment& segment);
  void send_syn_ack(instant now, half_open& entry, const tcp_options& how);
  void on_half_open_timer(instant now, std::uint32_t index);
  void unlink_half_open(std::uint32_t index);
  void drop_half_open(std::uint32_t index);
  void reset_half_open(instant now, std::uint32_t index);
  void refuse(instant now, const half_open& e);
  std::uint32_t add_listener(const endpoint& at, const listen_options& options);
  void link_half_open(std::uint32_t index, std::uint32_t listener_index);
  void append_accepted(std::uint32_t listener_index, std::uint32_t index);
  std::uint32_t accepted_at(std::uint32_t listener_index, std::uint32_t position) const;
  std::uint32_t take_accepted(std::uint32_t listener_index, std::uint32_t position = 0);
  void close_listener(instant now, std::uint32_t index);
  static std::uint16_t listen_window(const tcp_options& how) {
    return tcp::syn_window(how.receive_buffer);
  }
  static std::uint8_t listen_shift(const tcp_options& how) {
    return how.window_scaling ? tcp::window_shift_for(how.receive_buffer) : std::uint8_t{0};
  }
  // flows.cpp
  const flow_key& key_of(flow_ref ref) const;
  flow_ref find_flow(const flow_key& flow) const;
  void answer_with_reset(instant now, const wire::tcp_segment& segment);
  void detach(std::uint32_t index);
  void enter_time_wait(std::uint32_t index, instant now);
  void on_time_wait_segment(instant now, std::uint32_t index, const wire::tcp_segment& segment);
  void drop_time_wait(std::uint32_t index);
  void link_time_wait(std::uint32_t index);
  void unlink_time_wait(std::uint32_t index);
  void free_socket(std::uint32_t index, instant now);
  // memory.cpp
  void add_orphan(std::uint32_t index);
  void remove_orphan(std::uint32_t index);
  void reset_orphan(instant now, std::uint32_t index);
  void relieve_shortage(instant now);
  void reset_orphans(instant now, duration stalled);
  void reset_fullest(instant now, duration stalled, buffer::shortage enough);
  // udp.cpp
  void on_datagram(instant now, const wire::udp_datagram& datagram, unsigned hops = 0);
  void on_udp_icmp(instant now, const icmp_report& report, unsigned hops);
  bool hand_over_datagram(const flow_key& flow, share::handover&& item,
                          std::span<const std::byte> payload);
  result<endpoint> choose_udp_port(const ip_address& address);
  std::error_code check_destination(const ip_address& from, const endpoint& to) const;
  void post_udp(std::uint32_t index, ready what);
  socket_id udp_id(std::uint32_t index) const {
    return static_cast<socket_id>(std::uint64_t{udp_.generation(index)} << 32 | udp_bit | index);
  }
  static std::uint32_t udp_index(socket_id id) { return index_of(id) & ~udp_bit; }
  // share.cpp
  const share::snapshot& view();
  bool hand_over(instant now, const flow_key& flow, const wire::tcp_segment& segment, unsigned hops,
                 std::uint32_t& listener_index);
  bool forward(unsigned target, const wire::tcp_segment& segment, unsigned hops);
  unsigned member_for(const share::placement& where, std::uint64_t hash);
  bool hand_over(const icmp_report& report, unsigned hops);
  bool cookie_is_good(instant now, const share::placement& where, const flow_key& flow,
                      const wire::tcp_segment& segment) const;
  bool cookies_recently(instant now, const listener& l) const;
  void note_cookie(instant now, listener& l);
  std::error_code join_group(const endpoint& local, const listen_options& options);
  unsigned claim_flow(const flow_key& flow, bool places_freely);
  void forget_flow(const flow_key& flow);
  void leave_group(instant now, std::uint32_t index);
  void leave_all(instant now);
  void move_connection(std::uint32_t index, const share::group& of, unsigned target, bool answer);
  void move_half_open(std::uint32_t index, const share::group& of, unsigned target);
  void send_moved(share::handover&& item, unsigned target, const flow_key& flow);
  void take(instant now, share::handover& item);
  void make_way(const flow_key& flow);
  void adopt_connection(instant now, share::handover& item);
  void adopt_half_open(instant now, share::handover& item);
  // shared_queue.cpp
  bool has_queue(const listener& l);
  bool accept_full(const listener& l) const;
  share::handover wish(share::handover::kind what, const listener& l) const;
  void send_want(share::handover&& item);
  void on_want(instant now, share::handover& item);
  void leave_queue(const listener& l, bool had_queue);
  void serve_wants(instant now, std::uint32_t index);
  void serve_due_wants(instant now);
  void serve_shared(instant now, std::uint32_t index);
  void answer_here(std::uint32_t index);
  bool may_accept(const listener& l);
  void note_accepted(listener& l);
  bool may_move(std::uint32_t index, unsigned target);
  // events
  void post(std::uint32_t index, ready what);
  void post_listener(std::uint32_t index, ready what);
  socket_id id_of(std::uint32_t index) const {
    return static_cast<socket_id>(std::uint64_t{sockets_.generation(index)} << 32 | index);
  }
  socket_id listener_id(std::uint32_t index) const {
    return static_cast<socket_id>(std::uint64_t{listeners_.all().generation(index)} << 32 |
                                  listener_bit | index);
  }
  void queue_event(socket_id id);

  static constexpr std::uint32_t listener_bit = 0x80000000u;
  static constexpr std::uint32_t udp_bit = 0x40000000u;

  flow_table flows_;
  std::uint32_t last_found_ = none;  // the connection of the last segment; perhaps gone since
  // Those that expect() found for the packets to come, in their order; perhaps wrong ones.
  static constexpr std::size_t most_announced = 16;
  std::array<std::uint32_t, most_announced> announced_;
  std::uint8_t announced_count_ = 0, announced_next_ = 0;
  slab<half_open> half_open_;
  slab<tcp::time_wait_entry> time_wait_;
  std::uint32_t time_wait_head_ = none, time_wait_tail_ = none;
  std::uint32_t oldest_orphan_ = none, youngest_orphan_ = none, orphans_ = 0;
  instant relieve_at_ = instant::never();  // when a shortage is looked at again
  std::uint32_t looked_to_ = 0;            // how far it came in sockets_
  struct queue_size {
    std::uint32_t index, charged;
  };
  std::vector<queue_size> stalled_;
  tcp::timer_wheel wheel_;
  tcp::isn_source isn_;
  port_allocator ports_;
  syn_cookies cookies_;
  syn_pressure pressure_;
  std::uint32_t pressed_ = none;  // the listener whose SYNs were last put off
  bool answer_it_ = false;        // postpone() let the packet pass that is being taken
  tcp::options_ref accepted_options_;
  udp_sockets udp_;
  port_allocator udp_ports_;
  std::uint32_t udp_opened_ = 0;
  std::uint32_t unaccepted_ = 0;  // in all accept queues
  // Where several hosts share a device; else null.
  std::shared_ptr<shard_set> shards_;
  share::table* share_ = nullptr;
  unsigned shard_ = 0;
  std::shared_ptr<const share::snapshot> view_;
  std::uint64_t view_version_ = 0;
  std::shared_ptr<const share::snapshot> udp_view_;
  std::uint64_t udp_view_version_ = 0;
  share::batch handed_over_;
  std::vector<socket_id> wants_due_;
  instant share_clock_;
  bool gone_ = false;
  std::vector<std::uint32_t> flush_, flushing_;
  std::vector<socket_id> events_;
  std::size_t events_taken_ = 0;
};

}  // namespace weir::stack
