// Unix sockets of a simulated host: streams of memory between its coroutines, and a table of names.
// Nothing is lost and nothing takes time; a full queue makes its writer wait, as everywhere.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "runtime/backend/local_transport.hpp"
#include "runtime/core/sockets/lending_pool.hpp"
#include "runtime/sim/sim_datagrams.hpp"
#include "weir/config.hpp"
#include "weir/detail/timer.hpp"

namespace weir::detail {

class sim_local final : public local_transport {
 public:
  explicit sim_local(const config& settings);
  ~sim_local() override;

  result<listener_socket*> listen(const unix_endpoint& local,
                                  const unix_listen_options& options) override;
  void start_connect(unix_connect_operation& op) override;
  void cancel_connect(unix_connect_operation& op) noexcept override;
  result<std::pair<socket_base*, socket_base*>> make_pair() override;
  unix_endpoint local_name(const socket_base& s) const override;
  unix_endpoint remote_name(const socket_base& s) const override;
  unix_endpoint listener_name(const listener_socket& l) const override;
  /// Process 1, user 0: a simulated host runs one program.
  unix_credentials peer_of(const socket_base&) const override { return {1, 0, 0}; }

  void attach(weir::shard& owner) override {
    local_transport::attach(owner);
    datagrams_.attach(owner);
  }
  local_datagrams* datagrams() override { return &datagrams_; }

  void release(lent_bytes& lent) noexcept override;
  void settle(socket_base& s) noexcept override;

 private:
  static constexpr std::size_t queue_size = 64 * 1024;
  static constexpr std::size_t lending_size = 16 * 1024;
  static constexpr std::size_t lending_limit = 64;

  struct end;
  struct listening;

  end& add_end(const unix_endpoint& local, const unix_endpoint& remote);
  std::pair<end*, end*> add_pair(const unix_endpoint& from, const unix_endpoint& to);
  void gone(end& s, bool reset) noexcept;
  static void writers_go_on(timer_node& node) noexcept;
  bool join(listening& l, unix_connect_operation& op);
  void take_connections(listening& l);

  void bring_in(socket_base& s) override;
  bool lend(socket_base& s, lent_bytes& lent) override;
  void forget_lending(socket_base& s) noexcept override;
  void take_out(socket_base& s) override;
  std::error_code send_fin(socket_base& s) noexcept override;
  void give_up(socket_base& s, bool reset) noexcept override;
  std::error_code watch_end(socket_base&) override { return {}; }  // receiving_over() tells
  void accept_wanted(listener_socket& l, accept_operation& op) override;
  void stop_listening(listener_socket& l) noexcept override;

  struct clock : timer_node {
    explicit clock(sim_local& l) : timer_node(&sim_local::writers_go_on), of(&l) {}
    sim_local* of;
  };

  const config& settings_;
  clock room_{*this};  // somebody made room for a writer that waits
  std::vector<std::unique_ptr<listening>> listeners_;
  stack::intrusive_list<end> ends_;
  unsigned names_drawn_ = 0;
  lending_pool lending_{lending_size, lending_limit};
  sim_datagrams datagrams_;
};

}  // namespace weir::detail
