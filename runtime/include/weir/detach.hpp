// A connection goes to another shard: detach() takes it from the shard that has it, attach() makes
// it a stream again on the one that it was brought to.
//
//   auto moving = co_await weir::detach(std::move(stream));       // here
//   ...                                                           // submit_to(), a shard_channel
//   auto stream = weir::attach(there, std::move(moving));         // on `there`
//
// What goes along: the socket with its options, what was received and not read, how the connection
// ended if it did, its endpoints, what was shut down; of a Unix socket its names, and descriptors
// that came and were not taken. What stays: buffers that receive() lent, which go back to the shard
// that lent them.
//
// TCP on kernel sockets, between shards of whichever back end, and Unix sockets. The stack's and
// the simulator's connections cannot: a flow belongs to the shard to which its packets come.
#pragma once

#include <memory>
#include <utility>

#include "weir/net.hpp"
#include "weir/unix.hpp"

namespace weir {

namespace detail {

struct detached_socket;
/// Of runtime/backend/descriptor_calls.cpp, as all that has no body here.
struct close_detached {
  void operator()(detached_socket* s) const noexcept;
};
using detached_ptr = std::unique_ptr<detached_socket, close_detached>;
result<socket_base*> attach_to(shard& here, detached_ptr& moved);

template <class Stream>
class detach_awaiter;

}  // namespace detail

/// A connection without a shard. Move-only, of any thread. Closed when it goes, also on a thread
/// that is no shard's: what was written is still delivered; where something is unread the peer gets
/// a reset.
template <class Stream>
class detached {
 public:
  detached() = default;

  explicit operator bool() const { return socket_ != nullptr; }

 private:
  explicit detached(detail::detached_ptr socket) : socket_(std::move(socket)) {}
  template <class S>
  friend result<S> try_attach(shard& here, detached<S>& moved);
  friend detail::detach_awaiter<Stream>;

  detail::detached_ptr socket_;
};

namespace detail {

/// Holds the stream meanwhile, so that nobody else begins an operation on it.
struct detach_operation : operation {
  explicit detach_operation(cancel_hook c) : operation(c) {}

  socket_base& socket() const { return held.socket(); }
  /// Its home has let go of it; the home frees the socket after this call.
  void succeed(detached_ptr without_home) noexcept;

  any_stream held;
  detached_ptr taken;

 protected:
  void begin(any_stream& from) noexcept;
  static void tell(const detail::cancel_node& node, wait_told& out) noexcept;
};

template <class Stream>
class [[nodiscard]] detach_awaiter : public detach_operation {
 public:
  struct arguments {
    Stream* from;
  };
  detach_awaiter(const arguments& of, duration limit)
      : detach_operation(&hook<&detach_awaiter::request_cancel, &detach_awaiter::tell>),
        from_(of.from) {
    set_timeout(limit);
  }

  bool await_ready() const noexcept { return false; }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    return suspend(waiter, [this] { begin(*from_); });
  }
  detached<Stream> await_resume() {
    auto got = outcome();
    if (!got) throw io_error(got.error(), "detach");
    return std::move(*got);
  }

 protected:
  result<detached<Stream>> outcome() {
    if (taken != nullptr) return detached<Stream>(std::move(taken));
    if (held) static_cast<any_stream&>(*from_) = std::move(held);
    return final_error();
  }

 private:
  /// Whoever still has something of it was asked to hurry.
  static void request_cancel(operation&) noexcept {}

  Stream* from_;
};

}  // namespace detail

/// Takes the connection from its shard. Nobody may use the stream meanwhile; it is empty
/// afterwards, and on an error as it was. At once on asio and for Unix sockets; on uring it waits
/// for the receive that is under way to end, which it is told to: the kernel's answer, not the
/// peer's. A cancellation or a timeout that comes before begins nothing, and later changes nothing.
///
/// Errors: operation_not_supported (no kernel socket); device_or_resource_busy (a read, a write or
/// a peer_closed() waits); not_enough_memory (for what is unread).
inline detail::request<detail::detach_awaiter<tcp_stream>> detach(tcp_stream&& stream) {
  return detail::request<detail::detach_awaiter<tcp_stream>>({&stream});
}
inline detail::request<detail::detach_awaiter<unix_stream>> detach(unix_stream&& stream) {
  return detail::request<detail::detach_awaiter<unix_stream>>({&stream});
}

/// The stream, on this shard, by whose thread it is called. On an error `moved` still has the
/// connection: another shard may take it, or the one that it left. Errors: operation_canceled (the
/// shard was asked to stop, and is not the one that it left); operation_not_supported (the shard
/// has no kernel sockets); what the system says (no memory, too many descriptors watched).
template <class Stream>
result<Stream> try_attach(shard& here, detached<Stream>& moved) {
  auto got = detail::attach_to(here, moved.socket_);
  if (!got) return got.error();
  return Stream(**got);
}
template <class Stream>
Stream attach(shard& here, detached<Stream>&& moved) {
  auto stream = try_attach(here, moved);
  if (!stream) throw io_error(stream.error(), "attach");
  return std::move(*stream);
}

}  // namespace weir
