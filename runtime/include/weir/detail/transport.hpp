// Where sockets live: the interface between the public streams and a back end (kernel sockets
// through io_uring, kernel sockets through Asio, our own stack). One transport per shard; it is
// called from that shard's thread only.
//
// A socket is owned by its transport. A stream holds a pointer until it calls close() or abort(),
// after which the transport finishes what is left by itself (cancels, flushes, closes) and frees
// the socket.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <system_error>

#include "weir/detail/operation.hpp"
#include "weir/stack/address.hpp"
#include "weir/stack/result.hpp"

namespace weir {
struct listen_options;
struct connect_options;
struct stream_options;
}  // namespace weir

namespace weir::detail {

class transport;
class datagram_transport;
struct read_operation;
struct write_operation;
struct accept_operation;

/// What a stream or listener sees of its socket. The transport derives its own.
struct socket_base {
  weir::shard* owner = nullptr;

  // The head of what was received and has not been read. A reader may take from the front without
  // calling the transport: advance rx_data, lower rx_size, then note_spent(). The transport, which
  // remembers where the chunk began, settles later: gives buffers back, opens the window, presents
  // the next chunk.
  const std::byte* rx_data = nullptr;
  socket_base* next_spent = nullptr;

  read_operation* reader = nullptr;         // at most one read waits
  write_operation* first_writer = nullptr;  // writes wait in order; each is carried out whole
  write_operation* last_writer = nullptr;

  std::uint32_t rx_size = 0;
  bool spent_noted = false;
};

/// Scratch space for the transport in every operation, so that nothing is allocated per operation.
struct transport_scratch {
  static constexpr std::size_t size = 16;
  alignas(8) std::byte bytes[size];

  template <class T>
  T& as() {
    static_assert(sizeof(T) <= size && alignof(T) <= 8 && std::is_trivially_destructible_v<T>);
    return *reinterpret_cast<T*>(bytes);
  }
};

/// A buffer that a transport lends to a reader; given back through transport::release().
struct lent_bytes {
  const std::byte* data = nullptr;
  std::uint32_t size = 0;
  std::uint32_t token = 0;  // the transport's own: buffer id, chunk number
  void* chunk = nullptr;    // the transport's own
};

/// Reads at least `minimum` bytes into `into`, fewer only at end of stream or on an error. A
/// lending read takes the next chunk instead. `filled == 0` without an error: end of stream.
struct read_operation : operation {
  read_operation(socket_base& s, std::span<std::byte> buffer, std::size_t at_least, cancel_hook c)
      : operation(c), lend(false), socket(&s), into(buffer), minimum(at_least) {}
  /// One that lends.
  read_operation(socket_base& s, cancel_hook c)
      : operation(c), lend(true), socket(&s), lent(), minimum(1) {}

  const bool lend;
  socket_base* socket;
  // An idle session is such an operation: it holds what its kind needs.
  union {
    std::span<std::byte> into;
    lent_bytes lent;  // where `lend`
  };
  std::size_t minimum;
  std::size_t filled = 0;
};

/// Writes `parts` in order: all of them, or, where `all` is false, at least one byte. `written`
/// counts on errors too.
struct write_operation : operation {
  write_operation(socket_base& s, std::span<const std::byte> bytes,
                  std::span<const std::span<const std::byte>> many, bool gathers, bool whole,
                  cancel_hook c)
      : operation(c), all(whole), gathered(gathers), socket(&s), single(bytes) {
    if (gathers) several = many;
  }

  std::span<const std::span<const std::byte>> parts() const {
    return gathered ? several : std::span<const std::span<const std::byte>>(&single, 1);
  }

  const bool all;
  const bool gathered;
  bool owned = false;  // an owned_write_operation
  socket_base* socket;
  union {
    std::span<const std::byte> single;
    std::span<const std::span<const std::byte>> several;  // where `gathered`
  };
  std::size_t written = 0;
  write_operation* next_writer = nullptr;
  transport_scratch scratch;
};

/// Takes the next connection of a listener.
struct accept_operation : operation {
  accept_operation(socket_base& s, cancel_hook c) : operation(c), socket(&s) {}
  accept_operation(accept_operation&&) = default;

  socket_base* socket;
  socket_base* accepted = nullptr;
  accept_operation* next_acceptor = nullptr;
  transport_scratch scratch;
};

/// Opens a connection.
struct connect_operation : operation {
  connect_operation(const endpoint& to, const connect_options* how, cancel_hook c)
      : operation(c), remote(to), options(how) {}
  connect_operation(connect_operation&&) = default;

  endpoint remote;
  const connect_options* options;
  socket_base* connected = nullptr;
  transport_scratch scratch;
};

/// One shard's sockets. start_*() either completes the operation before it returns, or later from
/// the driver's turn; the operation's memory stays put until then. cancel_*() makes a pending
/// operation complete soon: with operation_canceled, or with its result when that came first.
/// Nothing here resumes a coroutine.
class transport {
 public:
  virtual ~transport() = default;

  /// Called once by the shard that owns this transport, before anything else.
  virtual void attach(weir::shard& owner) = 0;
  /// "uring", "asio", "stack", "sim".
  virtual std::string_view name() const = 0;

  virtual result<socket_base*> listen(const endpoint& local, const listen_options& options) = 0;
  virtual void start_accept(accept_operation& op) = 0;
  virtual void start_connect(connect_operation& op) = 0;
  virtual void start_read(read_operation& op) = 0;
  virtual void start_write(write_operation& op) = 0;
  virtual void cancel_accept(accept_operation& op) noexcept = 0;
  virtual void cancel_connect(connect_operation& op) noexcept = 0;
  virtual void cancel_read(read_operation& op) noexcept = 0;
  virtual void cancel_write(write_operation& op) noexcept = 0;

  /// Ends the sending direction after what was written.
  virtual std::error_code shutdown_send(socket_base& socket) noexcept = 0;
  /// Gives the socket up; it is the transport's from here on. No operation is pending on it
  /// (asserted by the stream).
  virtual void close(socket_base& socket) noexcept = 0;
  /// The same with a reset.
  virtual void abort(socket_base& socket) noexcept = 0;
  /// Takes back what a lending read gave out. The socket may have been closed meanwhile.
  virtual void release(lent_bytes& lent) noexcept = 0;
  /// Readers took from rx_data of these sockets, linked by next_spent.
  virtual void settle(socket_base* spent) noexcept = 0;

  virtual endpoint local_endpoint(const socket_base& socket) const = 0;
  virtual endpoint remote_endpoint(const socket_base& socket) const = 0;
  /// An option that this back end cannot honour is operation_not_supported.
  virtual std::error_code set_options(socket_base& socket, const stream_options& options) = 0;

  /// Where the datagram sockets live (weir/detail/datagram.hpp); null where there are none.
  virtual datagram_transport* datagrams() noexcept { return nullptr; }

  /// Before the shard waits: send what is due, run the transport's own timers. Called once per turn
  /// of the loop.
  virtual void before_wait(instant now) = 0;
  /// When before_wait() must run again at the latest.
  virtual instant next_deadline() const = 0;
  /// Sockets that were given up and are not gone yet; a shard ends only when none is left.
  virtual std::size_t closing() const = 0;
  /// The shard ends now: whatever is still closing is reset.
  virtual void abandon() noexcept = 0;
  /// Why no socket works here any more, and none ever will: the stack's device is gone.
  virtual std::error_code failure() const noexcept { return {}; }
};

/// Of runtime/core/shard.cpp: a reader took from socket.rx_data.
void note_spent(socket_base& socket) noexcept;

}  // namespace weir::detail
