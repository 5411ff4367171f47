// The awaiters of Unix sockets: accept(), connect(), and a write that passes descriptors. All else
// is that of every stream.
#pragma once

#include <optional>
#include <span>

#include "weir/detail/net_awaiters.hpp"
#include "weir/unix_endpoint.hpp"

namespace weir {
class unix_stream;
}

namespace weir::detail {

class [[nodiscard]] unix_accept_awaiter : public accept_awaiter {
 public:
  using accept_awaiter::accept_awaiter;
  std::optional<unix_stream> await_resume();

 protected:
  result<std::optional<unix_stream>> outcome();
};

/// Opens a connection.
struct unix_connect_operation : operation, stack::queue_link<> {
  unix_connect_operation(const unix_endpoint& to, cancel_hook c) : operation(c), remote(to) {}

  unix_endpoint remote;
  socket_base* connected = nullptr;
};

class [[nodiscard]] unix_connect_awaiter : public unix_connect_operation {
 public:
  struct arguments {
    unix_endpoint remote;
  };
  unix_connect_awaiter(const arguments& of, duration limit)
      : unix_connect_operation(of.remote, &hook<&unix_connect_awaiter::request_cancel>) {
    set_timeout(limit);
  }

  bool await_ready() noexcept { return false; }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    return suspend(waiter, [this] { begin(); });
  }
  unix_stream await_resume();

 protected:
  result<unix_stream> outcome();

 private:
  void begin() noexcept;
  static void request_cancel(operation& op) noexcept;
};

/// A write with descriptors. Only the home of Unix sockets gets one.
struct descriptor_write_operation : write_operation {
  descriptor_write_operation(socket_base& s, std::span<const std::byte> bytes,
                             std::span<const int> with, cancel_hook c)
      : write_operation(s, bytes, {}, false, true, c), descriptors(with) {
    passes_descriptors = true;
  }

  std::span<const int> descriptors;
};

class [[nodiscard]] descriptor_write_awaiter : public descriptor_write_operation {
 public:
  struct arguments {
    socket_base* socket;
    std::span<const std::byte> bytes;
    std::span<const int> descriptors;
  };
  descriptor_write_awaiter(const arguments& of, duration limit)
      : descriptor_write_operation(*of.socket, of.bytes, of.descriptors,
                                   &hook<&write_awaiter::request_cancel, &write_awaiter::tell>) {
    set_timeout(limit);
  }

  bool await_ready() noexcept { return false; }
  template <weir_promise Promise>
  bool await_suspend(std::coroutine_handle<Promise> waiter) {
    return suspend(waiter, [this] { begin(); });
  }
  std::size_t await_resume() {
    auto done = outcome();
    if (done.ec) throw io_error(done.ec, "write_with");
    return done.n;
  }

 protected:
  transfer outcome() const noexcept { return {final_error(), written}; }

 private:
  void begin() noexcept;
};

}  // namespace weir::detail
