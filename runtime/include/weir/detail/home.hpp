// What stands behind a socket handle: the socket, as handles and readers see it; its home, which
// carries operations out (a transport, a TLS session, a test's script); and the operations
// themselves, which live in the awaiting coroutine's frame.
//
// A socket is owned by its home. A handle holds a pointer until it calls close() or abort(), after
// which the home finishes what is left by itself (cancels, flushes, closes) and frees the socket.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <system_error>

#include "weir/detail/operation.hpp"
#include "weir/stack/address.hpp"
#include "weir/stack/intrusive.hpp"

namespace weir {
struct connect_options;
struct stream_options;
}  // namespace weir

namespace weir::detail {

class home;
class transport;
struct read_operation;
struct write_operation;
struct accept_operation;
struct listener_socket;

/// What a handle sees of its socket. The home derives its own.
struct socket_base {
  home* at = nullptr;

  // The head of what was received and has not been read. A reader may take from the front without
  // calling the home: advance rx_data, lower rx_size, then note_spent(). The home, which remembers
  // where the chunk began, settles later: gives buffers back, opens the window, presents the next
  // chunk.
  const std::byte* rx_data = nullptr;
  socket_base* next_spent = nullptr;

  read_operation* reader = nullptr;                 // at most one read waits
  stack::intrusive_queue<write_operation> writers;  // carried out whole, in order

  std::uint32_t rx_size = 0;
  std::uint16_t failure = 0;  // why it ended, as stream_core numbers it; each later use repeats it
  bool spent_noted : 1 = false;
  bool received_all : 1 = false;  // nothing comes after rx_data,
  bool clean_end : 1 = false;     // since the peer has sent all it had to
  bool send_closed : 1 = false;   // shutdown_send(): no more writes
  bool fin_waits : 1 = false;     // for the writers' queue to be empty
  bool end_awaited : 1 = false;   // by a peer_end_operation
  bool receive_shut : 1 = false;  // shutdown_receive(): what still comes is dropped
};

/// A buffer that a home lends to a reader; given back through home::release().
struct lent_bytes {
  const std::byte* data = nullptr;
  std::uint32_t size = 0;
  std::uint32_t token = 0;  // the home's own: buffer id, chunk number
  void* chunk = nullptr;    // the home's own
};

/// Reads at least `minimum` bytes into `into`, fewer only at end of stream or on an error. A
/// lending read takes the next chunk instead. `filled == 0` without an error: end of stream.
struct read_operation : operation {
  read_operation(socket_base& s, std::span<std::byte> buffer, std::size_t at_least, cancel_hook c)
      : operation(c), lend(false), socket(&s), direct{buffer, at_least} {}
  /// One that lends.
  read_operation(socket_base& s, cancel_hook c) : operation(c), lend(true), socket(&s), lent() {}

  struct memory {
    std::span<std::byte> into;
    std::size_t minimum;
  };

  std::span<std::byte> into() const noexcept { return direct.into; }
  std::size_t minimum() const noexcept { return lend ? 1 : direct.minimum; }

  const bool lend;
  socket_base* socket;
  // An idle session is such an operation: it holds what its kind needs.
  union {
    memory direct;
    lent_bytes lent;  // where `lend`
  };
  std::size_t filled = 0;
};

/// Writes `parts` in order: all of them, or, where `all` is false, at least one byte. `written`
/// counts on errors too.
struct write_operation : operation, stack::queue_link<> {
  write_operation(socket_base& s, std::span<const std::byte> bytes,
                  std::span<const std::span<const std::byte>> many, bool gathers, bool whole,
                  cancel_hook c)
      : operation(c), all(whole), gathered(gathers), socket(&s), single(bytes) {
    if (gathers) several = many;
  }

  std::span<const std::span<const std::byte>> parts() const {
    return gathered ? several : std::span<const std::span<const std::byte>>(&single, 1);
  }
  /// `n` bytes went: moves on behind them, and behind parts that are empty. Gives those that were
  /// not this write's.
  std::size_t advance(std::size_t n) noexcept {
    const auto of = parts();
    for (; part < of.size(); ++part, part_offset = 0) {
      const auto left = of[part].size() - part_offset;
      const auto step = n < left ? n : left;
      written += step;
      n -= step;
      part_offset += step;
      if (step < left) break;
    }
    return n;
  }
  /// Nothing is left to write. (Not before the first advance().)
  bool carried_out() const { return part == parts().size(); }

  const bool all;
  const bool gathered;
  bool owned = false;               // an owned_write_operation
  bool passes_descriptors = false;  // a descriptor_write_operation
  bool more = false;                // more follows at once: see any_stream::write_all()
  std::uint32_t part = 0;           // the next byte to go is part_offset bytes into this one
  socket_base* socket;
  union {
    std::span<const std::byte> single;
    std::span<const std::span<const std::byte>> several;  // where `gathered`
  };
  std::size_t written = 0;
  std::size_t part_offset = 0;
};

/// Waits for the end of what the peer sends, or of the connection, whatever is unread before it.
struct peer_end_operation : operation, stack::queue_link<> {
  peer_end_operation(socket_base& s, cancel_hook c) : operation(c), socket(&s) {}

  socket_base* socket;
  std::error_code why;  // that the connection broke; none: the peer has sent all that it had to
};

/// Takes the next connection of a listener.
struct accept_operation : operation, stack::queue_link<> {
  accept_operation(listener_socket& s, cancel_hook c) : operation(c), socket(&s) {}

  listener_socket* socket;
  bool wants_request = false;  // instead of a connection
  socket_base* accepted = nullptr;
  socket_base* offered = nullptr;  // the home's own
};

/// What a listener's handle sees of its socket.
struct listener_socket : socket_base {
  stack::intrusive_queue<accept_operation> acceptors;  // served in order
  bool asks = false;                                   // it gives out requests
  endpoint local;
};

/// Answers a request to connect.
struct answer_operation : operation {
  explicit answer_operation(cancel_hook c) : operation(c) {}

  socket_base* request = nullptr;
  socket_base* connected = nullptr;
};

/// Opens a connection.
struct connect_operation : operation {
  connect_operation(const endpoint& to, const connect_options& how, cancel_hook c)
      : operation(c), remote(to), options(&how) {}

  endpoint remote;
  const connect_options* options;
  socket_base* connected = nullptr;
  transport* through = nullptr;
  socket_base* attempt = nullptr;  // the home's own
};

/// Of a regular file that is open.
struct file_range {
  int fd;
  std::uint64_t offset;
  std::uint64_t size;
};

/// Carries out the operations of one kind of stream on one shard. start_*() either completes the
/// operation before it returns, or later from the driver's turn; the operation's memory stays put
/// until then. cancel_*() makes a pending operation complete soon: with operation_canceled, or with
/// its result when that came first. Nothing here resumes a coroutine.
class home {
 public:
  home() = default;
  home(const home&) = delete;
  home& operator=(const home&) = delete;
  virtual ~home() = default;

  /// Where its sockets are used.
  weir::shard& owner() const { return *owner_; }

  virtual void start_read(read_operation& op) = 0;
  virtual void start_write(write_operation& op) = 0;
  virtual void cancel_read(read_operation& op) noexcept = 0;
  virtual void cancel_write(write_operation& op) noexcept = 0;

  virtual void start_peer_end(peer_end_operation& op) {
    op.complete(std::make_error_code(std::errc::operation_not_supported));
  }
  virtual void cancel_peer_end(peer_end_operation&) noexcept {}

  /// Ends the sending direction after what was written.
  virtual std::error_code shutdown_send(socket_base& socket) noexcept = 0;
  /// Nothing more is read: what is there and what still comes is dropped.
  virtual std::error_code shutdown_receive(socket_base&) noexcept {
    return std::make_error_code(std::errc::operation_not_supported);
  }
  /// Gives the socket up; it is the home's from here on. No operation is pending on it (asserted
  /// by the handle).
  virtual void close(socket_base& socket) noexcept = 0;
  /// The same with a reset.
  virtual void abort(socket_base& socket) noexcept = 0;
  /// Takes back what a lending read gave out. The socket may have been closed meanwhile.
  virtual void release(lent_bytes& lent) noexcept = 0;
  /// Readers took from rx_data.
  virtual void settle(socket_base& socket) noexcept = 0;

  /// The default endpoint where there is none.
  virtual endpoint local_endpoint(const socket_base&) const { return {}; }
  virtual endpoint remote_endpoint(const socket_base&) const { return {}; }
  /// Of a stream; -1 where there is none.
  virtual int native_handle(const socket_base&) const noexcept { return -1; }
  /// Whether bytes of files may go to that socket without a copy.
  virtual bool sends_files(const socket_base&) const noexcept { return false; }
  /// What of the beginning of that range lies in memory, as much as the socket takes at once
  /// without a copy. 0: read it and write it; so it waits for room, and says what is wrong.
  virtual std::size_t send_from_file(socket_base&, const file_range&) noexcept { return 0; }
  /// An option that cannot be honoured is operation_not_supported.
  virtual std::error_code set_options(socket_base&, const stream_options&) {
    return std::make_error_code(std::errc::operation_not_supported);
  }

 protected:
  void set_owner(weir::shard& owner) { owner_ = &owner; }

 private:
  weir::shard* owner_ = nullptr;
};

/// Of runtime/core/net.cpp. Throws operation_not_supported.
int native_handle_of(const socket_base& stream);
int native_handle_of(const listener_socket& listener);
bool leave_to_others(listener_socket& listener) noexcept;
bool successor_listens(const listener_socket& listener) noexcept;

/// Of runtime/core/shard.cpp: a reader took so many bytes from socket.rx_data.
void note_spent(socket_base& socket, std::size_t bytes) noexcept;

}  // namespace weir::detail
