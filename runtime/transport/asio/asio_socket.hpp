// The sockets of asio_transport: kernel TCP sockets, non-blocking, waited for through Asio's
// reactor. Transfers are plain system calls into the caller's own buffers, tried first; the reactor
// is asked only when the kernel has nothing to give.
//
// So the kernel never holds a buffer of ours: cancelling an operation takes it off its queue, and
// it is over.
#pragma once

#include <deque>

#include "driver/asio/watched_descriptor.hpp"
#include "observe/snapshot.hpp"
#include "transport/kernel/kernel_socket.hpp"
#include "weir/detail/transport.hpp"

namespace weir::detail {

class asio_transport;

/// What streams, listeners and connection attempts have in common. Each is in its transport's list
/// until it is freed.
class asio_socket : public socket_base, public watched_descriptor {
 public:
  explicit asio_socket(asio_transport& home);

  /// The socket's owner gave it up: its descriptor is closed now, its memory goes when no wait
  /// refers to it any more.
  virtual void give_up() noexcept;
  /// The transport goes before this object does.
  void orphan() noexcept { home_ = nullptr; }
  /// Shows itself, as a listener or a connection, if there is room for one more.
  virtual void observe(shard_snapshot& into, const snapshot_bounds& bounds) const = 0;
  bool given_up() const { return given_up_; }

  asio_socket* previous_socket = nullptr;
  asio_socket* next_socket = nullptr;

 protected:
  ~asio_socket() override;
  asio_transport& home() const { return *home_; }
  void count_system_call() const noexcept;

 private:
  asio_transport* home_;
  bool given_up_ = false;
};

class asio_stream final : public asio_socket {
 public:
  using asio_socket::asio_socket;

  void start_read(read_operation& op);
  void start_write(write_operation& op);
  void start_connect(connect_operation& op, const endpoint& to);
  void cancel_read(read_operation& op) noexcept;
  void cancel_write(write_operation& op) noexcept;
  /// Completes the operation; the attempt is given up.
  void cancel_connect() noexcept;
  std::error_code shutdown_send() noexcept;
  /// There is a buffer to lend again.
  void lending_possible();

  void observe(shard_snapshot& into, const snapshot_bounds& bounds) const override;
  void set_remote(const endpoint& where) { remote_ = where; }
  endpoint remote() const { return remote_; }

  asio_stream* next_starved = nullptr;  // waits for a buffer to lend
  bool starved = false;

 private:
  /// How one attempt to transfer ended.
  enum class progress : std::uint8_t { finished, blocked };

  void readable() override;
  void writable() override;
  progress try_read(read_operation& op, std::error_code& error);
  progress try_lend(read_operation& op, std::error_code& error);
  progress try_write(write_operation& op, std::error_code& error);
  void run_writers();
  void connect_progress();
  void finish_connect(std::error_code error);

  endpoint remote_;
  connect_operation* connecting_ = nullptr;
  bool maybe_readable_ = true;  // false after a read that got less than it asked for
  bool shutdown_wanted_ = false;
};

class asio_listener final : public asio_socket {
 public:
  asio_listener(asio_transport& home, const endpoint& local) : asio_socket(home), local_(local) {}
  /// Others of this program listen there too: what is left when this one goes is theirs.
  void join(sharing how);
  /// A connection that another shard's listener left to this one.
  void adopt(int fd);
  std::uint64_t group_member() const { return group_member_; }

  void start_accept(accept_operation& op);
  void cancel_accept(accept_operation& op) noexcept;
  void give_up() noexcept override;
  void observe(shard_snapshot& into, const snapshot_bounds& bounds) const override;
  endpoint local() const { return local_; }
  /// Accepts for those who wait, after descriptors ran out.
  void retry();

  asio_listener* next_exhausted = nullptr;
  bool exhausted = false;

 private:
  /// Connections that failed before they were taken, skipped in one go.
  static constexpr unsigned failures_per_turn = 64;

  void readable() override { serve(); }
  void writable() override {}
  void serve();
  int accept_one(asio_stream*& taken);
  int make_stream(kernel::unique_fd accepted, const endpoint& remote, asio_stream*& taken);
  void answer_first(std::error_code error, asio_stream* taken);

  endpoint local_;
  std::uint64_t group_member_ = 0;  // 0: alone
  bool one_socket_ = false;         // for all of them
  sharing how_ = sharing::exclusive;
  std::deque<int> adopted_;
  std::uint64_t taken_ = 0;  // connections that were accepted
  accept_operation* first_ = nullptr;
  accept_operation* last_ = nullptr;
  instant last_logged_;
};

}  // namespace weir::detail
