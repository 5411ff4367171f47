// Unix sockets, pipes and character devices on whichever driver watches descriptors: plain system
// calls that do not wait, straight into and out of the program's own memory, tried first; the
// driver is asked only when the kernel has nothing to give or no room. So the kernel never holds
// memory of ours, and a cancelled operation is over at once.
//
// Never blocks, allocates nothing per operation.
#pragma once

#include <sys/types.h>

#include <memory>
#include <vector>

#include "runtime/backend/driver.hpp"
#include "runtime/backend/local_transport.hpp"
#include "runtime/backend/moves_streams.hpp"
#include "runtime/backend/watch.hpp"
#include "runtime/core/sockets/lending_pool.hpp"
#include "runtime/transport/kernel/end_watch.hpp"
#include "runtime/transport/kernel/resident_bytes.hpp"
#include "runtime/transport/watched/passed_descriptors.hpp"
#include "runtime/transport/watched/unix_address.hpp"
#include "runtime/transport/watched/watched_datagrams.hpp"
#include "weir/config.hpp"
#include "weir/detail/timer.hpp"

namespace weir {
class shard_family;
}

namespace weir::detail {

class watched_transport;

struct watched_stream final : lending_socket, watch_client, stack::list_link<> {
  /// One that is polled waits in read(2) and write(2) itself, so the kernel is asked before.
  enum class kind : std::uint8_t { socket, pipe, polled };

  explicit watched_stream(watched_transport& home);
  void readable() override;
  void writable() override;

  unique_fd fd;
  std::unique_ptr<watch> waits;
  kind of = kind::socket;
  bool shared = false;         // others have the open file: its flags are not ours
  bool maybe_readable = true;  // false after a read that got less than it asked for
  unix_endpoint local, remote;
  passed_descriptors passed;
};

struct watched_listener final : listener_socket, watch_client, stack::list_link<> {
  explicit watched_listener(watched_transport& home);
  void readable() override;
  void writable() override {}

  unique_fd fd;
  std::unique_ptr<watch> waits;
  unix_endpoint name;
  bool shared = false;  // with other shards of the program
  bound_path path;
  bool exhausted = false;  // descriptors ran out
  instant last_logged;
};

class watched_transport final : public local_transport,
                                public moves_streams,
                                private end_watch::client {
 public:
  watched_transport(driver& completions, const config& settings,
                    std::shared_ptr<shard_family> family);
  ~watched_transport() override;

  result<listener_socket*> listen(const unix_endpoint& local,
                                  const unix_listen_options& options) override;
  void start_connect(unix_connect_operation& op) override;
  void cancel_connect(unix_connect_operation& op) noexcept override;
  result<std::pair<socket_base*, socket_base*>> make_pair() override;
  unix_endpoint local_name(const socket_base& s) const override;
  unix_endpoint remote_name(const socket_base& s) const override;
  unix_endpoint listener_name(const listener_socket& l) const override;
  unix_credentials peer_of(const socket_base& s) const override;
  void keep_path(listener_socket& l) override;
  void attach(weir::shard& owner) override {
    local_transport::attach(owner);
    datagrams_.attach(owner);
  }
  local_datagrams* datagrams() override { return &datagrams_; }
  bool passes_descriptors() const override { return true; }
  void expect_descriptors(socket_base& s, std::size_t most) override;
  std::vector<unique_fd> take_descriptors(socket_base& s) override;
  result<listener_socket*> adopt_listener(unique_fd& listening) override;
  result<socket_base*> adopt_stream(unique_fd& connected) override;
  result<socket_base*> adopt_pipe(unique_fd& pipe) override;
  result<socket_base*> adopt_shared_socket(unique_fd& connected) override;

  void start_detach(detach_operation& op) override;
  result<socket_base*> attach_stream(detached_socket& moved) override;

  void release(lent_bytes& lent) noexcept override;
  void settle(socket_base&) noexcept override {}  // nothing is ever queued in front of a reader
  int native_handle(const socket_base& s) const noexcept override;
  int native_listener(const listener_socket& l) const noexcept override;

  bool sends_files(const socket_base& s) const noexcept override;

  // --- For its sockets.

  void stream_readable(watched_stream& s);
  void stream_writable(watched_stream& s) { writes_released(s); }
  void serve(watched_listener& l);
  using accepting_home::at_home;

 private:
  static constexpr std::size_t lending_size = 16 * 1024;
  static constexpr std::size_t lending_limit = 64;

  // watched_transport.cpp: made, accepted, connected, given up
  result<socket_base*> add_stream(unique_fd& fd, watched_stream::kind of,
                                  const unix_endpoint& local, const unix_endpoint& remote,
                                  bool shared = false);
  result<watched_listener*> add_listener(unique_fd& fd);
  result<unique_fd> bind_and_listen(const unix_endpoint& local, const unix_listen_options& options);
  bool try_connect(unix_connect_operation& op);
  void accept_wanted(listener_socket& l, accept_operation& op) override;
  void stop_listening(listener_socket& l) noexcept override;
  void give_up(socket_base& s, bool reset) noexcept override;
  static void connect_again(timer_node& node) noexcept;
  static void accept_again(timer_node& node) noexcept;

  // watched_transfers.cpp
  void bring_in(socket_base& s) override;
  bool lend(socket_base&, lent_bytes&) override { return false; }  // read_operation::lent is filled
  void forget_lending(socket_base& s) noexcept override;
  void take_out(socket_base& s) override;
  std::size_t take_from_file(socket_base& s, const file_range& range) noexcept override;
  std::error_code send_fin(socket_base& s) noexcept override;
  static ssize_t send_to(watched_stream& s, struct msghdr& message);
  ssize_t receive_from(watched_stream& s, std::span<std::byte> room);

  // stream_core, of the peer's end
  std::optional<std::error_code> peer_end(const socket_base& s) const noexcept override {
    return end_watch::end_of(native_handle(s));
  }
  std::error_code watch_end(socket_base& s) override { return ends_.want(native_handle(s), s); }
  void unwatch_end(socket_base& s) noexcept override { ends_.forget(native_handle(s)); }
  void end_may_be_there(socket_base& s) override { look_for_end(s); }

  struct clock : timer_node {
    clock(callback f, watched_transport& t) : timer_node(f), of(&t) {}
    watched_transport* of;
  };

  driver& driver_;
  const config& settings_;
  std::shared_ptr<shard_family> family_;
  stack::intrusive_list<watched_stream> streams_;
  stack::intrusive_list<watched_listener> listeners_;
  stack::intrusive_queue<unix_connect_operation> connecting_;  // the listener's queue is full
  clock connect_clock_{&watched_transport::connect_again, *this};
  duration connect_pause_{};
  clock accept_clock_{&watched_transport::accept_again, *this};
  lending_pool lending_{lending_size, lending_limit};
  watched_datagrams datagrams_{driver_};
  end_watch ends_{driver_, *this};
};

}  // namespace weir::detail
