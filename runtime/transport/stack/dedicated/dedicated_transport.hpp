// stack.placement = "dedicated", as a shard sees it: a transport whose sockets live with the stack
// on another thread. It turns operations into notes for that thread and its notes into completed
// operations; it has no device, no timers and no protocol of its own, and makes no system call.
// UDP is in dedicated_datagrams.hpp. Listening, closing a listener and setting options wait for the
// stack's answer; nothing else does.
//
// Reads and their cancelling are this shard's alone, since received bytes are shown to it. A write,
// an accept and a connect are with the stack until it says that they are over.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "runtime/backend/transport.hpp"
#include "runtime/core/sockets/socket_pool.hpp"
#include "runtime/observe/snapshot.hpp"
#include "runtime/transport/stack/dedicated/channel.hpp"
#include "runtime/transport/stack/dedicated/dedicated_datagrams.hpp"
#include "weir/config.hpp"

namespace weir::detail {

class dedicated_stack;

class dedicated_transport final : public transport, public observable {
 public:
  dedicated_transport(std::shared_ptr<dedicated_stack> stack,
                      const config::listen_section& defaults);
  ~dedicated_transport() override;

  void attach(weir::shard& owner) override;
  std::string_view name() const override { return "stack"; }

  result<listener_socket*> listen(const endpoint& local, const listen_options& options) override;
  bool successor_listens() const noexcept override;
  bool leave_to_others(listener_socket& listener) noexcept override;
  void start_connect(connect_operation& op) override;
  void cancel_connect(connect_operation& op) noexcept override;
  void release(lent_bytes& lent) noexcept override;
  void settle(socket_base& s) noexcept override;
  endpoint local_endpoint(const socket_base& socket) const override;
  endpoint remote_endpoint(const socket_base& socket) const override;
  std::error_code set_options(socket_base& socket, const stream_options& options) override;
  datagram_transport* datagrams() noexcept override { return &datagrams_; }
  void before_wait(instant now) override;
  instant next_deadline() const override { return instant::never(); }
  std::size_t closing() const override { return closing_; }
  void abandon() noexcept override;
  std::error_code failure() const noexcept override;
  void observe(shard_snapshot& into, const snapshot_bounds& bounds) override;

  /// Takes the notes that are there.
  void hear();

 private:
  using socket = dedicated_socket;

  socket& make_socket(socket::role what);
  void free_socket(socket& s) noexcept;
  void request(socket& s, std::uint16_t bits) noexcept { ask_later(*channel_, s, bits); }
  void tell_stack();
  static void on_down_bell(message& m) noexcept;
  static void on_up_bell(message& m) noexcept;
  void take(const down_note& note);
  void accepted(socket& s, const down_note& note);
  void connected(socket& s, const down_note& note);
  void shown(socket& s, const down_note& note);
  void account(socket& s) noexcept;
  void write_over(socket& s, std::error_code outcome);

  // stream_core, listener_core
  void bring_in(socket_base&) override {}  // the stack's notes tell what came
  bool lend(socket_base& s, lent_bytes& lent) override;
  void forget_lending(socket_base& s) noexcept override;
  void take_out(socket_base& s) override;
  bool writing_elsewhere(socket_base& s, const write_operation& op) noexcept override;
  std::error_code send_fin(socket_base& s) noexcept override;
  std::error_code stop_receiving(socket_base& s) noexcept override;
  std::optional<std::error_code> peer_end(const socket_base& s) const noexcept override {
    const auto& half = static_cast<const socket&>(s);
    return half.peer_over ? std::optional(half.peer_over_by) : std::nullopt;
  }
  std::error_code watch_end(socket_base&) override { return {}; }  // the stack tells it unasked
  void give_up(socket_base& s, bool reset) noexcept override;
  void accept_wanted(listener_socket& l, accept_operation& op) override;
  bool accepting_elsewhere(listener_socket& l, accept_operation& op) noexcept override;
  void accept_closed(accept_operation& op) noexcept override;
  void stop_listening(listener_socket& l) noexcept override;

  static constexpr std::size_t lending_size = 16 * 1024;
  static constexpr std::size_t lending_limit = 1024;

  std::shared_ptr<dedicated_stack> stack_;
  const config::listen_section& defaults_;
  std::shared_ptr<channel> channel_;
  bool detached_ = false;
  bool rang_ = true;  // for all that was put

  socket_pool<socket> sockets_;  // connections, and accepts
  std::size_t closing_ = 0;
  lending_pool lending_{lending_size, lending_limit};
  std::vector<std::unique_ptr<dedicated_listener>> listeners_;
  dedicated_datagrams datagrams_;
};

}  // namespace weir::detail
