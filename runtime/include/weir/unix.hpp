// Unix sockets: streams between processes of one machine, named by a path, by an abstract name or
// not at all. On every back end that runs on a machine; in a simulation within one host.
//
//   auto listener = shard.listen(weir::unix_endpoint("/run/app.sock"));
//   auto peer = co_await weir::connect(weir::unix_endpoint("@app"));
//
// What a stream can do is any_stream's; what only these can: the peer's credentials, and passing
// descriptors.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "weir/descriptor.hpp"
#include "weir/detail/unix_awaiters.hpp"
#include "weir/stream.hpp"

namespace weir {

/// A connected Unix socket.
class unix_stream : public any_stream {
 public:
  using any_stream::any_stream;

  /// The names of its ends. A client's is unnamed, mostly.
  unix_endpoint local_endpoint() const;
  unix_endpoint remote_endpoint() const;
  /// Of the process that connected, or that listened, when it did so.
  unix_credentials peer_credentials() const;

  /// Writes all of `bytes` (one at least), and passes copies of the descriptors with them; they
  /// arrive with these bytes, which end the peer's read. The caller's own stay its own. Errors:
  /// those of write_all(); invalid_argument (no bytes, more than max_descriptors),
  /// operation_not_supported (in a simulation).
  static constexpr std::size_t max_descriptors = 253;  // SCM_MAX_FD
  detail::request<detail::descriptor_write_awaiter> write_with(std::span<const std::byte> bytes,
                                                               std::span<const int> descriptors) {
    return detail::request<detail::descriptor_write_awaiter>({&socket(), bytes, descriptors});
  }
  /// From now on descriptors that come with what is read are kept, `most` of them until they are
  /// taken. Without it, and beyond it, they are closed: a peer must not be able to use ours up.
  void expect_descriptors(std::size_t most);
  /// What came with what was read, in order.
  std::vector<unique_fd> take_descriptors();
};

/// A listening Unix socket. Connections that nobody accepted end when it goes; so does its path,
/// unless another file stands there by then.
class unix_listener {
 public:
  unix_listener() = default;
  explicit unix_listener(detail::listener_socket& socket) : socket_(&socket) {}
  unix_listener(unix_listener&& other) noexcept : socket_(std::exchange(other.socket_, nullptr)) {}
  unix_listener& operator=(unix_listener&& other) noexcept {
    if (this != &other) {
      close();
      socket_ = std::exchange(other.socket_, nullptr);
    }
    return *this;
  }
  ~unix_listener() { close(); }

  explicit operator bool() const { return socket_ != nullptr; }

  /// As tcp_listener's.
  detail::request<detail::unix_accept_awaiter> accept() {
    return detail::request<detail::unix_accept_awaiter>({&socket()});
  }
  void close() noexcept;
  unix_endpoint local_endpoint() const;
  /// The path stays when this listener goes: another process listens on the same socket.
  void keep_path();
  /// The descriptor's number; it stays the listener's. Throws operation_not_supported.
  int native_handle() const;

 private:
  detail::listener_socket& socket() const {
    assert(socket_ != nullptr && "the listener was moved from or closed");
    return *socket_;
  }
  detail::listener_socket* socket_ = nullptr;
};

/// Connects from this coroutine's shard. Errors: no_such_file_or_directory, connection_refused (the
/// file is there, and nobody listens), permission_denied, invalid_argument (unnamed). While the
/// listener's queue is full it waits.
inline detail::request<detail::unix_connect_awaiter> connect(const unix_endpoint& remote) {
  return detail::request<detail::unix_connect_awaiter>({remote});
}

/// Two ends of one connection (socketpair(2)), unnamed.
struct unix_pair {
  unix_stream first, second;
};
unix_pair make_unix_pair(shard& here);
result<unix_pair> try_make_unix_pair(shard& here);

/// As adopt_tcp() and adopt_listener() (weir/descriptor.hpp), on every back end but the simulator.
/// The path of an adopted listener stays when it goes.
unix_stream adopt_unix(shard& here, unique_fd&& fd);
result<unix_stream> try_adopt_unix(shard& here, unique_fd& fd);
unix_listener adopt_unix_listener(shard& here, unique_fd&& fd);
result<unix_listener> try_adopt_unix_listener(shard& here, unique_fd& fd);

namespace detail {

inline result<std::optional<unix_stream>> unix_accept_awaiter::outcome() {
  if (accepted != nullptr) return std::optional<unix_stream>(unix_stream(*accepted));
  if (stopped_) return std::optional<unix_stream>();
  return final_error();
}
inline std::optional<unix_stream> unix_accept_awaiter::await_resume() {
  auto got = outcome();
  if (!got) throw io_error(got.error(), "accept");
  return std::move(*got);
}

inline result<unix_stream> unix_connect_awaiter::outcome() {
  if (connected != nullptr) return unix_stream(*connected);
  return final_error();
}
inline unix_stream unix_connect_awaiter::await_resume() {
  auto got = outcome();
  if (!got) throw io_error(got.error(), "connect to " + remote.to_string());
  return std::move(*got);
}

}  // namespace detail
}  // namespace weir
