// The transport on kernel sockets through Asio: one shard's sockets, the buffers that it lends, and
// the listeners that wait for a descriptor. The transfers themselves are asio_socket's.
#pragma once

#include <memory>
#include <vector>

#include "runtime/backend/adopts_sockets.hpp"
#include "runtime/backend/moves_streams.hpp"
#include "runtime/backend/transport.hpp"
#include "runtime/observe/snapshot.hpp"
#include "runtime/transport/asio/asio_datagrams.hpp"
#include "runtime/transport/asio/asio_socket.hpp"
#include "runtime/transport/kernel/end_watch.hpp"
#include "runtime/transport/kernel/kernel_info.hpp"
#include "runtime/transport/kernel/listener_groups.hpp"
#include "runtime/transport/kernel/resident_bytes.hpp"

namespace weir {
class shard_family;
}

namespace weir::detail {

class asio_driver;

class asio_transport final : public transport,
                             public adopts_sockets,
                             public moves_streams,
                             public observable,
                             private end_watch::client {
 public:
  asio_transport(asio_driver& completions, const config& settings,
                 std::shared_ptr<shard_family> family = nullptr);
  ~asio_transport() override;

  void attach(weir::shard& owner) override {
    transport::attach(owner);
    datagrams_.attach(owner);
  }
  bool on_kernel() const noexcept override { return true; }
  std::string_view name() const override { return "asio"; }
  result<listener_socket*> listen(const endpoint& local, const listen_options& options) override;
  void start_connect(connect_operation& op) override;
  void cancel_connect(connect_operation& op) noexcept override;
  void release(lent_bytes& lent) noexcept override;
  void settle(socket_base& socket) noexcept override;
  endpoint local_endpoint(const socket_base& socket) const override;
  endpoint remote_endpoint(const socket_base& socket) const override;
  std::error_code set_options(socket_base& socket, const stream_options& options) override;
  datagram_transport* datagrams() noexcept override { return &datagrams_; }
  void before_wait(instant now) override;
  instant next_deadline() const override { return retry_at_; }
  std::size_t closing() const override { return closing_ + datagrams_.closing(); }
  void abandon() noexcept override;
  result<listener_socket*> adopt_listener(kernel::unique_fd& listening) override;
  result<socket_base*> adopt_stream(kernel::unique_fd& connected) override;
  result<datagram_socket*> adopt_datagrams(kernel::unique_fd& bound) override {
    return datagrams_.adopt(bound);
  }
  void start_detach(detach_operation& op) override;
  result<socket_base*> attach_stream(detached_socket& moved) override;
  int native_handle(const socket_base& stream) const noexcept override;
  bool sends_files(const socket_base&) const noexcept override {
    return !kernel::sigpipe_is_deadly();
  }
  bool leave_to_others(listener_socket& listener) noexcept override {
    static_cast<asio_listener&>(listener).leave_to_others();
    return true;
  }
  int native_listener(const listener_socket& listener) const noexcept override;
  void observe(shard_snapshot& into, const snapshot_bounds& bounds) override;

  const kernel::tcp_counters& counters() const { return counters_; }
  const asio_datagrams& datagram_sockets() const { return datagrams_; }

  // --- For its sockets.

  asio_driver& completions() const { return *driver_; }
  using listener_core::fail_acceptors;
  using listener_core::hand_out;
  using stream_core::bytes_came;
  using stream_core::gather;
  using stream_core::receiving_over;
  using stream_core::sending_failed;
  using stream_core::sent;
  using stream_core::writes_released;
  using transport::at_home;
  using transport::connected;
  instant now() const { return now_; }
  kernel::tcp_counters& count() { return counters_; }
  lending_pool& lending() { return lending_; }
  kernel::listener_groups& groups();
  void adopt(std::uint64_t member, const endpoint& local, int fd);
  void note_grouped(asio_listener& listener) { grouped_.push_back(&listener); }
  void forget_grouped(asio_listener& listener) noexcept { std::erase(grouped_, &listener); }
  void enter(asio_socket& socket) noexcept { sockets_.push_front(socket); }
  void leave(asio_socket& socket) noexcept;
  void closing_begins() noexcept;
  /// There is a descriptor again, or will be by the end of this turn.
  void descriptor_freed() noexcept;
  void wait_for_descriptor(asio_listener& listener) noexcept;
  void forget_exhausted(asio_listener& listener) noexcept;

 private:
  static constexpr std::size_t lending_size = 64 * 1024;
  static constexpr std::size_t lending_limit = 64;

  result<listener_socket*> add_listener(kernel::unique_fd& listening, sharing how);
  result<asio_stream*> take_in(kernel::unique_fd& connected, const endpoint& local,
                               const endpoint& remote);
  void bring_in(socket_base& s) override;
  bool lend(socket_base& s, lent_bytes& lent) override;
  void forget_lending(socket_base& s) noexcept override;
  void take_out(socket_base& s) override;
  std::size_t take_from_file(socket_base& s, const file_range& range) noexcept override;
  std::error_code send_fin(socket_base& s) noexcept override;
  std::error_code stop_receiving(socket_base& s) noexcept override;
  void give_up(socket_base& s, bool reset) noexcept override;
  void accept_wanted(listener_socket& l, accept_operation& op) override;
  void stop_listening(listener_socket& l) noexcept override;

  // stream_core, of the peer's end
  std::optional<std::error_code> peer_end(const socket_base& s) const noexcept override {
    return end_watch::end_of(native_handle(s));
  }
  std::error_code watch_end(socket_base& s) override { return ends_.want(native_handle(s), s); }
  void unwatch_end(socket_base& s) noexcept override { ends_.forget(native_handle(s)); }
  void end_may_be_there(socket_base& s) override { look_for_end(s); }

  asio_driver* driver_;
  const config* settings_;
  std::shared_ptr<shard_family> family_;
  asio_datagrams datagrams_;
  stack::intrusive_list<asio_socket> sockets_;
  std::size_t closing_ = 0;
  std::vector<asio_listener*> grouped_;
  asio_listener* exhausted_ = nullptr;
  instant retry_at_ = instant::never();
  instant now_;
  lending_pool lending_{lending_size, lending_limit};
  kernel::tcp_counters counters_;
  end_watch ends_;
};

}  // namespace weir::detail
