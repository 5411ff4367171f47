// The service of a dedicated stack: what the stack's own thread does for the shards. It carries out
// their notes on the host, turns the host's events into notes for them, and lets their listeners
// share an address, since the host sees one listener only. UDP is in datagram_service.hpp. Runs on
// the stack's thread, waits for nobody, and drops nothing: what finds a ring full stays where it is
// until there is room.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <system_error>
#include <vector>

#include "runtime/transport/stack/dedicated/channel.hpp"
#include "runtime/transport/stack/dedicated/datagram_service.hpp"
#include "runtime/transport/stack/sockets_owner.hpp"
#include "stack/base/siphash.hpp"
#include "weir/options.hpp"
#include "weir/stack/host.hpp"

namespace weir::detail {

class stack_transport;

/// One shard's listener: who waits in it, and, in a sharded group, what waits for it.
struct dedicated_member {
  channel* home = nullptr;
  dedicated_socket* first_waiting = nullptr;
  dedicated_socket* last_waiting = nullptr;
  std::deque<stack::socket_id> queue;  // bounded by the listener's backlog
  struct dedicated_group* group = nullptr;
};

/// The listeners of one address: the host's one, and the members in the order of joining.
struct dedicated_group {
  stack::socket_id id = stack::socket_id::none;
  endpoint local;
  stack::listen_options options;
  std::vector<std::unique_ptr<dedicated_member>> members;
  std::size_t turn = 0;

  bool sharded() const { return options.sharing == stack::sharing_mode::sharded; }
};

class stack_service final : public sockets_owner {
 public:
  /// Takes the sockets of `stack`, which outlives their last event.
  explicit stack_service(stack_transport& stack);
  ~stack_service();

  // --- For the shards' transports, on the stack's thread.

  void join(channel& c);
  /// Ends all that the channel has: connections with a reset.
  void leave(channel& c);
  /// Carries out the notes that are there.
  void hear(channel& c);
  std::error_code listen(channel& c, dedicated_listener& record, const endpoint& local,
                         const stack::listen_options& options);
  void close_listener(dedicated_listener& record);
  /// Of the whole group. False also while this shard has not been told of all that was accepted.
  bool leave_to_others(channel& c, const dedicated_listener& record);
  /// As tcp_listener says it. Any thread.
  bool successor_listens() const noexcept;
  std::error_code set_options(dedicated_socket& s, const stream_options& options);
  /// What connections have that were not told otherwise.
  const stack::tcp_options& tcp() const { return host_.options().tcp; }
  datagram_service& datagrams() { return datagrams_; }

  /// transport::failure() of all shards. Any thread.
  std::error_code failure() const noexcept { return {failed_.load(), std::generic_category()}; }

 private:
  // sockets_owner
  void handle(const stack::event& what) override;
  void fail_everything(std::error_code error) override;
  void end_turn() override;
  void observe(shard_snapshot& into, const snapshot_bounds& bounds) override;

  void carry_out(channel& c, const up_note& note);
  void consume(dedicated_socket& s, std::uint32_t count);
  void start_accept(channel& c, dedicated_socket& s);
  void start_connect(channel& c, dedicated_socket& s);
  void start_write(dedicated_socket& s);
  void cancel(dedicated_socket& s);
  void finish_connect(dedicated_socket& s, stack::ready what);
  void pump(dedicated_socket& s);
  void end(dedicated_socket& s, bool reset);

  dedicated_group* find(const endpoint& local);
  std::error_code join_group(dedicated_group& g, const stack::listen_options& options,
                             const channel& c) const;
  void serve(dedicated_group& g);
  void deal(dedicated_group& g);
  void place(dedicated_group& g, stack::socket_id id);
  dedicated_member* oldest_waiting(dedicated_group& g);
  void hand_out(dedicated_member& m, stack::socket_id id);
  void remove_waiting(dedicated_socket& s);
  void leave_group(dedicated_member& m);

  void link(channel& c, dedicated_socket& s, stack::socket_id id);
  void unlink(dedicated_socket& s);
  void over(dedicated_socket& s, std::error_code outcome);
  void fill(dedicated_socket& s, down_note& note);
  void told(dedicated_socket& s, const down_note& note);
  void look(dedicated_socket& s, down_note& note);
  void look_for_peer_over(dedicated_socket& s, down_note& note);
  void tell_shard(channel& c);

  stack_transport& transport_;
  stack::host& host_;
  datagram_service datagrams_;
  std::vector<channel*> channels_;
  std::vector<std::unique_ptr<dedicated_group>> groups_;
  std::error_code device_error_;
  std::atomic<int> failed_{0};  // the same for other threads
  std::uint64_t waits_ = 0;     // numbers those who wait, so that the first of all members is found
  stack::siphash_key hash_key_;
};

}  // namespace weir::detail
