// The sockets of asio_transport: kernel TCP sockets, non-blocking, in the driver's set. Transfers
// are plain system calls into the caller's own buffers, tried first; a wait begins only when the
// kernel has nothing to give.
//
// So the kernel never holds a buffer of ours: cancelling an operation takes it off its queue, and
// it is over.
#pragma once

#include <deque>
#include <memory>

#include "runtime/core/sockets/lending_pool.hpp"
#include "runtime/core/sockets/listener_core.hpp"
#include "runtime/driver/asio/watched_descriptor.hpp"
#include "runtime/observe/snapshot.hpp"
#include "runtime/transport/kernel/kernel_socket.hpp"

namespace weir::detail {

class asio_transport;

/// What streams, listeners and connection attempts have in common. Each is in its transport's list
/// until it is freed.
class asio_socket : public watched_descriptor, public stack::list_link<> {
 public:
  explicit asio_socket(asio_transport& home);

  /// The socket's owner gave it up: its descriptor is closed now, and its memory goes, at the
  /// latest when the driver has handed out what came.
  virtual void give_up() noexcept;
  /// Shows itself, as a listener or a connection, if there is room for one more.
  virtual void observe(shard_snapshot& into, const snapshot_bounds& bounds) const = 0;
  bool given_up() const { return given_up_; }

 protected:
  ~asio_socket() override;
  asio_transport& home() const { return *home_; }
  void count_system_call() const noexcept;

 private:
  asio_transport* home_;
  bool given_up_ = false;
};

class asio_stream final : public lending_socket, public asio_socket {
 public:
  explicit asio_stream(asio_transport& home);

  /// For the waiting read: what the kernel has, straight into its memory.
  void bring_in();
  /// For the waiting writes.
  void take_out();
  void start_connect(connect_operation& op);
  /// Ends the operation; the attempt is given up.
  void finish_connect(std::error_code error);

  void observe(shard_snapshot& into, const snapshot_bounds& bounds) const override;

  endpoint local_end, remote_end;
  /// What another shard had received, and nobody read: before all that the kernel has. rx_data
  /// shows what of it is left.
  std::unique_ptr<std::byte[]> brought;

 private:
  void readable() override;
  void writable() override;
  void connect_progress();

  connect_operation* connecting_ = nullptr;
  bool maybe_readable_ = true;  // false after a read that got less than it asked for
};

class asio_listener final : public listener_socket, public asio_socket {
 public:
  asio_listener(asio_transport& home, const endpoint& where);
  /// Others of this program listen there too: what is left when this one goes is theirs.
  void join(sharing how);
  /// A connection that another shard's listener left to this one.
  void adopt(int fd);
  std::uint64_t group_member() const { return group_member_; }
  void leave_to_others() noexcept { left_to_others_ = true; }

  /// Accepts for those who wait.
  void serve();
  /// The same after descriptors ran out.
  void retry();
  void give_up() noexcept override;
  void observe(shard_snapshot& into, const snapshot_bounds& bounds) const override;

  asio_listener* next_exhausted = nullptr;
  bool exhausted = false;

 private:
  /// Connections that failed before they were taken, skipped in one go.
  static constexpr unsigned failures_per_turn = 64;

  void readable() override { serve(); }
  void writable() override {}
  int accept_one(asio_stream*& taken);
  int make_stream(kernel::unique_fd accepted, const endpoint& remote, asio_stream*& taken);

  std::uint64_t group_member_ = 0;  // 0: alone
  sharing how_ = sharing::exclusive;
  std::deque<int> adopted_;
  bool left_to_others_ = false;  // another process accepts from the same socket
  std::uint64_t taken_ = 0;      // connections that were accepted
  instant last_logged_;
};

}  // namespace weir::detail
